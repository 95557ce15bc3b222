//! What comes from beside the ledger, or could not be read of it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::MAX_ROWS;
use crate::spec::ids::Timestamp;
use crate::spec::report::{FindingCode, Verdict};

/// Verifications on the server, from its own records: the ledger does not prove them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportVerifications))]
pub struct Verifications {
    /// How many began in the period.
    pub total: u64,
    /// Of these, with findings.
    pub with_findings: u64,
    /// Of these, broken off.
    pub failed: u64,
    /// In order.
    pub list: Vec<VerificationLine>,
    /// Not listed.
    pub omitted: u64,
}

/// One verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct VerificationLine {
    /// Which.
    pub id: Uuid,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Events that it read.
    pub tree_size: u64,
    /// What it found; absent: it broke off or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// How many findings.
    pub findings: u64,
    /// The first few.
    pub first: Vec<Place>,
}

/// Where a verification found something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = EventPlace))]
pub struct Place {
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    /// The field.
    pub field: Box<str>,
    /// Why.
    pub code: FindingCode,
}

/// Requests to append that were refused because a person is erased or being erased. Counted beside the ledger: not proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportRefused))]
pub struct Refused {
    /// How many, on days that begin in the period or contain its first moment.
    pub total: u64,
    /// By day (UTC), days without any left out.
    pub by_day: Vec<RefusedDay>,
    /// Always false.
    pub proved: bool,
}

/// Refused requests of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct RefusedDay {
    /// Its first moment.
    pub day: Timestamp,
    /// The person was erased.
    pub erased: u64,
    /// The person was being erased.
    pub erasing: u64,
}

/// Events, recorded before the end of the period, that could not be read: Oubliette's own, and those without a readable header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportUnreadable))]
pub struct Unreadable {
    /// How many.
    pub total: u64,
    /// By index.
    pub list: Vec<UnreadableEvent>,
    /// Not listed.
    pub omitted: u64,
}

/// An event that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct UnreadableEvent {
    /// Where it stands.
    pub index: u64,
    /// The section that lacks it: `erasures`, `reveals`, `exports`, `keys`, `holds`, `restrictions`, `retention`, `redactions`,
    /// `leaks`, `backups` or `rotations`; `events` for an event whose header cannot be read, of whatever type it was.
    pub section: Box<str>,
}

impl Unreadable {
    /// Sorts, counts each event once, and cuts after [`MAX_ROWS`].
    pub fn of(mut list: Vec<UnreadableEvent>) -> Self {
        list.sort_unstable();
        list.dedup_by_key(|event| event.index);
        let total = list.len() as u64;
        list.truncate(MAX_ROWS);
        Self {
            total,
            omitted: total - list.len() as u64,
            list,
        }
    }
}
