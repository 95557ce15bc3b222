//! The payloads of Oubliette's own events, as far as verifiers read them.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::spec::ids::{Category, Handle, Origin, Timestamp};

/// Where a body stands: `[leaf index, ordinal]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "(u64, u16)", into = "(u64, u16)")]
pub struct Position {
    /// The event's leaf index.
    pub index: u64,
    /// The body's place in the header's list.
    pub ordinal: u16,
}

impl From<(u64, u16)> for Position {
    fn from((index, ordinal): (u64, u16)) -> Self {
        Self { index, ordinal }
    }
}

impl From<Position> for (u64, u16) {
    fn from(position: Position) -> Self {
        (position.index, position.ordinal)
    }
}

/// The legal ground of an erasure, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Basis {
    /// GDPR Article 17(1)(a): no longer necessary.
    #[serde(rename = "art17_1_a")]
    Art17_1A,
    /// GDPR Article 17(1)(b): consent withdrawn.
    #[serde(rename = "art17_1_b")]
    Art17_1B,
    /// GDPR Article 17(1)(c): objection.
    #[serde(rename = "art17_1_c")]
    Art17_1C,
    /// GDPR Article 17(1)(d): unlawfully processed.
    #[serde(rename = "art17_1_d")]
    Art17_1D,
    /// GDPR Article 17(1)(e): legal obligation to erase.
    #[serde(rename = "art17_1_e")]
    Art17_1E,
    /// GDPR Article 17(1)(f): collected from a child.
    #[serde(rename = "art17_1_f")]
    Art17_1F,
    /// The retention period is over.
    Retention,
    /// Another ground.
    Other,
}

/// Why an erasure was made, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum Reason {
    /// The person asked.
    Request,
    /// The person objected.
    Objection,
    /// The data was held unlawfully.
    Unlawful,
    /// A law demands it.
    LegalDuty,
    /// The retention period is over.
    Retention,
    /// Another reason.
    Other,
}

/// A subject within an erasure event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ErasedSubject {
    /// The handle; leads to nobody once the erasure is done.
    pub handle: Handle,
}

/// What is kept of the ids of erased people: `"none"`, or `{"until": ...}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Suppressed {
    /// Nothing.
    None,
    /// A keyed hash, until then.
    Until(Timestamp),
}

/// The payload of `erasure.requested`, as far as verifiers read it; more fields may stand beside these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureRequested {
    /// The request's id.
    pub request: Uuid,
    /// The subjects.
    pub subjects: Vec<ErasedSubject>,
    /// The categories; absent: all, also those never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    /// The legal ground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Basis>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When it must be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// When it came in, if it waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// Whom the requester wants notified (GDPR Art. 19), as words for groups of recipients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipients: Option<Vec<Category>>,
    /// What is kept of the subject ids; absent: a keyed hash, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression: Option<Suppressed>,
    /// How many more people the request named who had been erased before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub already_erased: Option<u64>,
    /// The API key that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
    /// Its roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<Box<str>>>,
    /// The frozen log whose people they are; absent: those of the log that holds the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// The payload of `erasure.completed`, as far as verifiers read it; more fields may stand beside these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureCompleted {
    /// The request's id.
    pub request: Uuid,
    /// The subjects, and what was destroyed of each.
    pub subjects: Vec<DestroyedSubject>,
    /// When access was fenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fenced_at: Option<Timestamp>,
    /// When the old epoch key was destroyed, or retired until `epoch_key_due_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_destroyed_at: Option<Timestamp>,
    /// The change of epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<Epochs>,
    /// Until when the last of `retired_epochs` lives; absent: no backup opens what was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_key_due_at: Option<Timestamp>,
    /// The epochs whose keys live on for the sake of backups; at least one if `epoch_key_due_at` is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired_epochs: Vec<u32>,
    /// What the destroyed keys were used with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<Box<str>>>,
    /// Bits of each destroyed key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_bits: Option<u16>,
    /// How the destruction was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<RecordedCheck>,
    /// What the erasure had not reached yet, as codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<Box<str>>>,
}

/// The payload of `erasure.recovered`: an erasure of a frozen log, known from outside it; more fields may stand beside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureRecovered {
    /// The frozen log.
    pub origin: Origin,
    /// Where `erasure.requested` stood there.
    pub index: u64,
    /// The request's id.
    pub request: Uuid,
    /// The subjects, whose keys are destroyed.
    pub subjects: Vec<ErasedSubject>,
    /// The categories; absent: all, also those never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
}

/// From which epoch to which a ledger's keys went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epochs {
    /// The epoch before.
    pub from: u32,
    /// The epoch since.
    pub to: u32,
}

impl fmt::Display for Epochs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

/// The payload of `epoch.destroyed`, as far as verifiers read it; more fields may stand beside these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochDestroyed {
    /// Whose key is gone.
    pub epoch: u32,
    /// When it was destroyed.
    pub destroyed_at: Timestamp,
}

/// What was destroyed of one subject, as far as the event states it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DestroyedSubject {
    /// The handle.
    pub handle: Handle,
    /// Keys destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_destroyed: Option<u64>,
    /// Whether the row that led from the subject id to the handle was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_destroyed: Option<bool>,
    /// Blocks that were sealed under those keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<u64>,
}

/// How a destruction was checked, as far as the event states it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedCheck {
    /// Blocks that were tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<u64>,
    /// Blocks that opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<u64>,
    /// Whether an identity still resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_resolves: Option<bool>,
    /// Key rows about the subjects that the key store still had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_left: Option<u64>,
}

/// The payload of `erasure.residue_removed`, as far as verifiers read it; more fields may stand beside these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureResidueRemoved {
    /// The erasure's request id.
    pub request: Uuid,
    /// What is gone: one of the codes that `erasure.completed` named as pending.
    pub residue: Box<str>,
    /// When it was found gone.
    pub at: Timestamp,
    /// The events that authorised the removal of bodies, by leaf index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purges: Option<Vec<u64>>,
    /// Whether one of them lists the bodies of one person alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alone: Option<bool>,
    /// What became of everything that is made from the person's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<Vec<DerivedStore>>,
}

/// Something that is made from events and could hold personal data too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DerivedStore {
    /// Which, as a word.
    pub store: Box<str>,
    /// `purged`, `dropped`, `not_kept` or `memory_only`.
    pub state: Box<str>,
    /// When, for what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// Why bodies were purged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ground {
    /// An erasure, named by its request id.
    Erasure,
    /// The retention period is over.
    Retention,
}

/// The payload of `bodies.purged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodiesPurged {
    /// Why.
    pub ground: Ground,
    /// The request ids of the erasures that it serves; present if and only if the ground is an erasure. Several people's
    /// bodies are listed together so that the list tells nobody which of them belonged together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Vec<Uuid>>,
    /// Which bodies; all of them stand before this event.
    pub positions: Vec<Position>,
}

/// The payload of `bodies.redacted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodiesRedacted {
    /// Why, as a code of the operator's: a word, never free text about a person.
    pub ground: Box<str>,
    /// Which bodies; all of them stand before this event.
    pub positions: Vec<Position>,
}

/// The payload of `leak.reported`, as far as verifiers read it; more fields may stand beside these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakReported {
    /// The report's id.
    pub leak: Uuid,
    /// The bodies in clear that hold personal data; all of them stand before this event.
    pub positions: Vec<Position>,
    /// Whose data it is, as far as that is known; absent: nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<Vec<Handle>>,
}

/// The payload of `leak.withdrawn`, as far as verifiers read it; more fields may stand beside these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakWithdrawn {
    /// The report that was mistaken.
    pub leak: Uuid,
}
