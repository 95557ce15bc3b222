//! What is asked for: whom to erase, of which categories, why and when.

use std::collections::HashSet;

use serde::Deserialize;

use super::super::Error;
use super::super::policy::MAX_GRACE_SECONDS;
use super::super::restrict::check_categories;
use crate::spec::ids::{Category, Handle, SubjectId};
use crate::spec::system::{Basis, Reason};

/// The most subjects of one request.
const MAX_SUBJECTS: usize = 1_000;
/// The most groups of recipients of one request.
const MAX_RECIPIENTS: usize = 64;
/// The most categories of one request.
const MAX_CATEGORIES: usize = 64;

/// `POST /erasures`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct ErasureRequest {
    /// By the caller's ids; this or `handles`.
    #[schema(min_items = 1, max_items = 1000)]
    pub subjects: Option<Vec<SubjectId>>,
    /// By handles; this or `subjects`.
    #[schema(min_items = 1, max_items = 1000)]
    pub handles: Option<Vec<Handle>>,
    /// Only these; absent: the whole person.
    #[schema(min_items = 1, max_items = 64)]
    pub categories: Option<Vec<Category>>,
    /// The legal ground.
    pub basis: Basis,
    /// Why.
    pub reason: Reason,
    /// Free text; sealed under the person's key, and dies with it.
    #[schema(max_length = 4096)]
    pub note: Option<String>,
    /// Whether to wait under a legal hold or a restriction.
    #[serde(default)]
    pub wait: bool,
    /// Seconds between the fence, at once, and the destruction, in which it can be cancelled; at most 30 days. The setting
    /// `erasure_grace_seconds` is the least.
    #[schema(maximum = 2_592_000)]
    pub grace_seconds: Option<u64>,
    /// Groups of recipients to notify (GDPR Art. 19): words such as `payroll-provider`, never people. They stay in clear.
    #[schema(max_items = 64)]
    pub recipients: Option<Vec<Category>>,
}

impl ErasureRequest {
    /// How many people it names.
    pub(super) fn people(&self) -> usize {
        self.subjects.as_ref().map_or(0, Vec::len) + self.handles.as_ref().map_or(0, Vec::len)
    }
}

pub(super) fn check(request: &ErasureRequest) -> Result<(), Error> {
    let given = [
        request.subjects.as_ref().map(Vec::len),
        request.handles.as_ref().map(Vec::len),
    ];
    let count = match given {
        [Some(count), None] | [None, Some(count)] => count,
        _ => return Err(Error::field("/subjects", "give either `subjects` or `handles`")),
    };
    if !(1..=MAX_SUBJECTS).contains(&count) {
        return Err(Error::field(
            "/subjects",
            format!("must name 1 to {MAX_SUBJECTS} people"),
        ));
    }
    check_categories(request.categories.as_deref(), MAX_CATEGORIES)?;
    if let Some(recipients) = &request.recipients {
        let distinct: HashSet<_> = recipients.iter().collect();
        if recipients.len() > MAX_RECIPIENTS || distinct.len() != recipients.len() {
            let detail = format!("must name at most {MAX_RECIPIENTS} different groups of recipients");
            return Err(Error::field("/recipients", detail));
        }
    }
    if request.note.as_ref().is_some_and(|note| note.len() > 4_096) {
        return Err(Error::field("/note", "must be at most 4,096 bytes"));
    }
    if request.grace_seconds.is_some_and(|grace| grace > MAX_GRACE_SECONDS) {
        return Err(Error::field(
            "/grace_seconds",
            format!("must be at most {MAX_GRACE_SECONDS} (30 days): an erasure is due within a month"),
        ));
    }
    Ok(())
}
