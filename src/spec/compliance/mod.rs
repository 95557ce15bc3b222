//! The compliance report: what a ledger shows of a period, signed (docs/spec/12-report.md).
//!
//! ```text
//! document = COSE_Sign1 (certificate key, kind report) over the deterministic CBOR of [`ComplianceReport`]
//! file     = [`SignedReport`]: the document, the event that records its hash with its proof, anchors, a checkpoint
//! page     = HTML made from that alone ([`render_page`]), the file embedded in it
//! ```
//!
//! Counts come from the ledger as it stood at the end of the period. What comes from elsewhere (the key store, records of
//! the store) says so and is not proved by the ledger. A verdict is only one that a verification computed. People are counted,
//! API keys are named by their ids, and filters of exports by the fields that they looked at. Out of scope: gathering the numbers (`service`).

mod acts;
mod beside;
mod erasures;
mod life;
mod page;
mod said;
mod verify;

#[cfg(test)]
mod tests;

pub use acts::{ExportAct, Exports, KeyAct, Keys, Reveal, Reveals, RoleCount, SigningKeyLine};
pub use beside::{Place, Refused, RefusedDay, Unreadable, UnreadableEvent, VerificationLine, Verifications};
pub use erasures::{ErasureLine, ErasureState, Erasures};
pub use life::{BackupLine, Backups, KnownCopy, Proceeding, Proceedings, Rotation, RotationAct, Rotations};
pub use page::render as render_page;
pub use said::{governing, limits, proceedings, statement};
pub use verify::{is_report, verdict_word, verify_report};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::evidence::{Base64, Evidence};
use super::hash::Hash;
use super::ids::{EventType, LedgerName, Origin, Timestamp};
use super::report::Verdict;

/// The format that reports name.
pub const FORMAT: &str = "oubliette/compliance-report/v1";

/// The format that files with a signed report name.
pub const SIGNED_FORMAT: &str = "oubliette/signed-report/v1";

/// The type of the event that records a report's hash.
pub const REPORT_CREATED: &str = "report.created";

/// The kind of report that such an event names.
pub const KIND: &str = "compliance";

/// The stream of those events.
pub const REPORT_STREAM: &str = "$reports";

/// Rows that a list of acts holds; the rest are counted.
pub const MAX_ROWS: usize = 1_000;

/// Microseconds of a day.
pub const DAY: u64 = 86_400_000_000;

/// A report, as it is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ComplianceReport {
    /// [`FORMAT`].
    pub format: String,
    /// Which report.
    pub id: Uuid,
    /// The ledger's name on its server.
    pub ledger: LedgerName,
    /// The ledger.
    pub origin: Origin,
    /// What it is about.
    pub period: Period,
    /// When it was made.
    pub made_at: Timestamp,
    /// Who asked.
    pub by: By,
    /// Whether the history holds.
    pub integrity: Integrity,
    /// What is kept outside the ledger's store to compare with.
    pub anchors: Anchors,
    /// Events of the period.
    pub events: Events,
    /// People, by state.
    pub subjects: Subjects,
    /// Erasures that were open or ended in the period.
    pub erasures: Erasures,
    /// Legal holds.
    pub holds: Proceedings,
    /// Restrictions of processing (GDPR Art. 18).
    pub restrictions: Proceedings,
    /// Runs of the retention rules.
    pub retention: Proceedings,
    /// Redactions of what should not have been written.
    pub redactions: Proceedings,
    /// Reports that personal data stands in clear.
    pub leaks: Proceedings,
    /// Backups, and until when they open.
    pub backups: Backups,
    /// Changes of the keys under which personal data is sealed.
    pub rotations: Rotations,
    /// Signing keys and API keys.
    pub keys: Keys,
    /// Personal data that was opened.
    pub reveals: Reveals,
    /// Exports.
    pub exports: Exports,
    /// Verifications that began in the period.
    pub verifications: Verifications,
    /// Appends refused because a person is erased.
    pub refused: Refused,
    /// Oubliette's own events that are damaged: what they record is missing above.
    pub unreadable: Unreadable,
    /// What the report does not show, in plain words.
    pub limits: Vec<Box<str>>,
}

/// A period of recorded time, half-open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Period {
    /// The first moment in it.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// Whether it was over when the report was made.
    pub ended: bool,
}

/// An API key that acted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct By {
    /// The key's id.
    pub key: Box<str>,
    /// Its roles then.
    pub roles: Vec<Box<str>>,
}

/// The ledger at the end of the period, and the last verification that covers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportIntegrity))]
pub struct Integrity {
    /// Of that verification; absent: none covers the end of the period, so nothing is claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Events recorded before the end of the period.
    pub tree_size: u64,
    /// The root of the tree of that size.
    pub root: Hash,
    /// The first signed note of at least that size.
    pub checkpoint: String,
    /// The verification, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Covering>,
    /// The last verification of the ledger as it is, be it the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Covering>,
    /// The same in words.
    pub statement: Box<str>,
}

/// A verification that covers the end of the period, or that found a contradiction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Covering {
    /// Which.
    pub id: Uuid,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Events that it read, from the first on.
    pub tree_size: u64,
    /// What it found, over all.
    pub verdict: Verdict,
    /// How many findings.
    pub findings: u64,
    /// Whether signatures were verified in batches.
    pub fast: bool,
}

/// What is kept outside the ledger's store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportAnchors))]
pub struct Anchors {
    /// The last checkpoint that the vault keeps; absent: it keeps none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultAnchor>,
    /// Witnesses that have cosigned: none in this version.
    pub witnesses: u64,
    /// Timestamps by a third party: none in this version.
    pub timestamps: u64,
}

/// The checkpoint that the vault keeps, seen when the report was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct VaultAnchor {
    /// How it compares with the ledger.
    pub state: VaultState,
    /// Its size; 0 if it could not be read.
    pub tree_size: u64,
    /// When its last event was recorded; absent where the ledger has no such event, or it could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers_until: Option<Timestamp>,
    /// Seconds from then until the report was made.
    pub age_seconds: u64,
    /// Events that it does not cover yet.
    pub events_since: u64,
}

/// How the vault's checkpoint compares with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum VaultState {
    /// The ledger has its root at its size.
    Agrees,
    /// The ledger has another root at its size.
    Contradicts,
    /// It is of a larger size than the ledger: the ledger was rolled back.
    Ahead,
    /// It could not be read.
    Unreadable,
}

/// Events of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportEvents))]
pub struct Events {
    /// The first index in the period.
    pub first_index: u64,
    /// The first index after it.
    pub end_index: u64,
    /// How many.
    pub total: u64,
    /// Of these, Oubliette's own.
    pub own: u64,
    /// By type, most frequent first.
    pub by_type: Vec<TypeCount>,
    /// Events of types that are not listed.
    pub unlisted: u64,
    /// Events whose header cannot be read: they have neither type nor day here, and their own recorded time is not known.
    pub unreadable: u64,
    /// By day (UTC), days without events left out.
    pub by_day: Vec<DayCount>,
}

/// Events of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct TypeCount {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// How many.
    pub count: u64,
    /// Whether it is one of Oubliette's own.
    pub own: bool,
}

/// Events of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct DayCount {
    /// Its first moment.
    pub day: Timestamp,
    /// Events of callers.
    pub callers: u64,
    /// Events of Oubliette's own.
    pub own: u64,
}

/// People by state, as the key store says when the report is made; the ledger does not prove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportSubjects))]
pub struct Subjects {
    /// With keys.
    pub active: u64,
    /// Of these, with at least one category erased.
    pub partly_erased: u64,
    /// Fenced, keys not yet deleted.
    pub erasing: u64,
    /// Keys and identity deleted.
    pub erased: u64,
}

/// The file: a signed report with what proves that the ledger recorded it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct SignedReport {
    /// [`SIGNED_FORMAT`].
    pub format: String,
    /// The report for readers; must be the signed one. Absent in pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "server", schema(value_type = Option<ComplianceReport>))]
    pub report: Option<Value>,
    /// The COSE_Sign1.
    pub document: Base64,
    /// The event that records the document's hash.
    pub recorded: Evidence,
    /// From the report's tree size to the checkpoint's; empty if either is the whole or nothing.
    pub consistency: Vec<Hash>,
    /// The key events: `ledger.created` first.
    pub anchors: Vec<Evidence>,
    /// The signed note under which the events are proved.
    pub checkpoint: String,
}

/// The payload of `report.created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportCreated {
    /// Which report.
    pub report: Uuid,
    /// Always `compliance`.
    pub kind: Box<str>,
    /// The period's first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// SHA-256 of the signed document.
    pub sha256: Hash,
    /// In which form it was asked for.
    pub form: Box<str>,
    /// The API key that asked.
    pub by: Box<str>,
    /// Its roles.
    pub roles: Vec<Box<str>>,
}

/// Whole seconds between two times, 0 if they are the other way round.
pub fn seconds(from: Timestamp, to: Timestamp) -> u64 {
    to.0.saturating_sub(from.0) / 1_000_000
}

/// The first moment of a time's day (UTC).
pub fn day_of(time: Timestamp) -> Timestamp {
    Timestamp(time.0 - time.0 % DAY)
}
