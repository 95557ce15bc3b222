//! What happens to a subject's keys between their making and their end: withheld for a time, opened again, and what is
//! kept of an id after an erasure.

use super::RequestId;
use crate::spec::ids::{Category, Handle, Timestamp};

/// Why keys are withheld, and from whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Withheld {
    /// Restricted (GDPR Art. 18): nothing is opened; new data is stored.
    Restricted,
    /// An erasure in its grace: nothing is opened and nothing is stored, but nothing is destroyed yet either.
    Grace,
}

/// Keys that are withheld for a time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Withholding {
    /// The restriction, or the erasure.
    pub id: RequestId,
    /// The data subject.
    pub handle: Handle,
    /// Only these categories; `None`: the whole subject, and categories never seen.
    pub categories: Option<Vec<Category>>,
    /// Why.
    pub why: Withheld,
}

/// A category of a living subject that was opened again after an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reopened {
    /// The data subject.
    pub handle: Handle,
    /// The category.
    pub category: Category,
    /// The first generation after the erasure.
    pub generation: u32,
    /// The erasures that no longer close it.
    pub over: Vec<RequestId>,
}

/// What is kept of a subject id after its erasure, so that the person is not taken for a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Suppression {
    /// A keyed hash, for ever.
    #[default]
    Forever,
    /// A keyed hash until this time.
    Until(Timestamp),
    /// Nothing.
    None,
}
