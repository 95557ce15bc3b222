//! Oubliette's own events: the types that callers may not use, and the payloads that verifiers rely on
//! (docs/spec/08-erasure.md).
//!
//! ```text
//! ledger.created    the keys (keys.rs); at index 0 and nowhere else
//! erasure.requested {request, subjects: [{handle}], ?categories, ?basis, ?reason, ?due_at, ?submitted_at, ?recipients, ?by, ?roles}
//! erasure.completed {request, subjects: [{handle, ?keys_destroyed, ?identity_destroyed, ?blocks}], ?fenced_at,
//!                    ?keys_destroyed_at, ?epochs: {from, to}, ?epoch_key_due_at, ?retired_epochs, ?algorithms, ?key_bits, ?verification,
//!                    ?pending}
//! erasure.recovered {origin, index, request, subjects: [{handle}], ?categories}
//! epoch.changed     a ledger's keys were wrapped anew without an erasure
//! epoch.destroyed   {epoch, destroyed_at}: the key of a past epoch, kept for backups, is gone
//! erasure.residue_removed {request, residue, at, ?purges: [index], ?alone, ?derived}: what was pending has left the files
//! bodies.purged     {ground: "erasure" | "retention", ?requests, positions: [[index, ordinal], ...]}
//! erasure.submitted, erasure.approved, erasure.cancellation_requested, erasure.cancelled
//!                   an erasure that waits, and what becomes of it
//! bodies.redacted   {ground, positions: [[index, ordinal], ...]}
//! leak.reported     {leak, positions: [[index, ordinal], ...], ?handles}: personal data stands in clear there
//! leak.withdrawn    {leak}: it does not
//! hold.placed, hold.released, restriction.placed, restriction.lifted, subject.reopened, subject.keys_renewed,
//! retention.started, retention.completed
//!                   acts that bind no verifier
//! ```
//!
//! An event is Oubliette's own by its reserved type *and* its `$` stream. Its `meta` and `data` are never purged or
//! redacted, whatever another event claims, and every bundle carries it: a missing body is excused by such an event and by
//! nothing else. Payloads are JSON. A reserved type that is not in this list comes from a newer version: a verifier says
//! so and does not guess. Out of scope: what the acts do (`service`).

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{Category, EventType, Handle, Origin, Timestamp};
use super::json;
use super::keys::LEDGER_CREATED;

/// The beginnings of types that callers may not use, and that verifiers rely on.
pub const RESERVED_PREFIXES: [&str; 10] = [
    "ledger.",
    "key.",
    "epoch.",
    "erasure.",
    "bodies.",
    "hold.",
    "leak.",
    "restriction.",
    "subject.",
    "retention.",
];

/// How many positions one event may name.
pub const MAX_POSITIONS: usize = 10_000;

/// How many erasures one purge may serve.
pub const MAX_REQUESTS: usize = 1_000;

/// Whether a type is Oubliette's own, known to this version or not. Events of such types are authorities: their `meta` and
/// `data` are never purged, and every bundle carries them.
pub fn is_reserved(event_type: &EventType) -> bool {
    RESERVED_PREFIXES
        .iter()
        .any(|prefix| event_type.as_str().starts_with(prefix))
}

/// The reserved types that this version knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SystemType {
    /// The first event, with the keys.
    LedgerCreated,
    /// An erasure was asked for and the subjects are fenced.
    ErasureRequested,
    /// The keys are destroyed and the destruction is verified.
    ErasureCompleted,
    /// An erasure that a rollback took out of the ledger, put on record again.
    ErasureRecovered,
    /// All keys were wrapped under a new epoch key without an erasure.
    EpochChanged,
    /// Something that an erasure had left pending is gone.
    ErasureResidueRemoved,
    /// The last key copy under an old epoch has expired.
    EpochDestroyed,
    /// Bodies were removed after an erasure or by retention.
    BodiesPurged,
    /// Bodies were removed because they should not have been written.
    BodiesRedacted,
    /// An erasure was asked for and waits: for a second key, for a hold, or for the end of its grace.
    ErasureSubmitted,
    /// A second key approved an erasure that waits.
    ErasureApproved,
    /// A first key wants an erasure that waits cancelled.
    ErasureCancellationRequested,
    /// An erasure that waited will not be carried out.
    ErasureCancelled,
    /// An officer put on record that bodies in clear hold personal data.
    LeakReported,
    /// Such a report was mistaken.
    LeakWithdrawn,
    /// A legal hold begins.
    HoldPlaced,
    /// A legal hold ends.
    HoldReleased,
    /// A subject's data is restricted (GDPR Art. 18).
    RestrictionPlaced,
    /// A restriction ends.
    RestrictionLifted,
    /// A subject, or a category of one, may be written about again after an erasure.
    SubjectReopened,
    /// A subject's keys got a new generation.
    KeysRenewed,
    /// A run of the retention rules begins.
    RetentionStarted,
    /// A run of the retention rules ended, with counts.
    RetentionCompleted,
}

impl SystemType {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::LedgerCreated,
        Self::ErasureRequested,
        Self::ErasureCompleted,
        Self::ErasureRecovered,
        Self::EpochChanged,
        Self::ErasureResidueRemoved,
        Self::EpochDestroyed,
        Self::BodiesPurged,
        Self::BodiesRedacted,
        Self::ErasureSubmitted,
        Self::ErasureApproved,
        Self::ErasureCancellationRequested,
        Self::ErasureCancelled,
        Self::LeakReported,
        Self::LeakWithdrawn,
        Self::HoldPlaced,
        Self::HoldReleased,
        Self::RestrictionPlaced,
        Self::RestrictionLifted,
        Self::SubjectReopened,
        Self::KeysRenewed,
        Self::RetentionStarted,
        Self::RetentionCompleted,
    ];

    /// The type as headers write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LedgerCreated => LEDGER_CREATED,
            Self::ErasureRequested => "erasure.requested",
            Self::ErasureCompleted => "erasure.completed",
            Self::ErasureRecovered => "erasure.recovered",
            Self::EpochChanged => "epoch.changed",
            Self::ErasureResidueRemoved => "erasure.residue_removed",
            Self::EpochDestroyed => "epoch.destroyed",
            Self::BodiesPurged => "bodies.purged",
            Self::BodiesRedacted => "bodies.redacted",
            Self::ErasureSubmitted => "erasure.submitted",
            Self::ErasureApproved => "erasure.approved",
            Self::ErasureCancellationRequested => "erasure.cancellation_requested",
            Self::ErasureCancelled => "erasure.cancelled",
            Self::LeakReported => "leak.reported",
            Self::LeakWithdrawn => "leak.withdrawn",
            Self::HoldPlaced => "hold.placed",
            Self::HoldReleased => "hold.released",
            Self::RestrictionPlaced => "restriction.placed",
            Self::RestrictionLifted => "restriction.lifted",
            Self::SubjectReopened => "subject.reopened",
            Self::KeysRenewed => "subject.keys_renewed",
            Self::RetentionStarted => "retention.started",
            Self::RetentionCompleted => "retention.completed",
        }
    }

    /// The known type of this name.
    pub fn from_type(event_type: &EventType) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str() == event_type.as_str())
    }
}

impl fmt::Display for SystemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

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

/// What one of Oubliette's own events authorises or establishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// An erasure exists from here on.
    ErasureRequested(ErasureRequested),
    /// An erasure is done.
    ErasureCompleted(ErasureCompleted),
    /// An erasure is on record again.
    ErasureRecovered(ErasureRecovered),
    /// The key of a past epoch is gone.
    EpochDestroyed(EpochDestroyed),
    /// Something that an erasure had left pending is gone.
    ResidueRemoved(ErasureResidueRemoved),
    /// Bodies are purged.
    Purged(BodiesPurged),
    /// Bodies are redacted.
    Redacted(BodiesRedacted),
    /// Bodies in clear hold personal data.
    LeakReported(LeakReported),
    /// They do not.
    LeakWithdrawn(LeakWithdrawn),
    /// Nothing that a verifier acts upon.
    Nothing,
}

/// The payload is not one of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a payload of {system_type}: {detail}")]
pub struct InvalidPayload {
    /// The type.
    pub system_type: SystemType,
    /// What is wrong.
    pub detail: String,
}

impl Authority {
    /// Reads the payload of an event of this type. `ledger.created` is read by `keys`.
    ///
    /// # Errors
    /// [`InvalidPayload`] if it is not of the type's form or breaks one of its rules.
    pub fn read(system_type: SystemType, data: &[u8]) -> Result<Self, InvalidPayload> {
        let invalid = |detail: String| InvalidPayload { system_type, detail };
        let authority = match system_type {
            SystemType::LedgerCreated
            | SystemType::EpochChanged
            | SystemType::ErasureSubmitted
            | SystemType::ErasureApproved
            | SystemType::ErasureCancellationRequested
            | SystemType::ErasureCancelled
            | SystemType::HoldPlaced
            | SystemType::HoldReleased
            | SystemType::RestrictionPlaced
            | SystemType::RestrictionLifted
            | SystemType::SubjectReopened
            | SystemType::KeysRenewed
            | SystemType::RetentionStarted
            | SystemType::RetentionCompleted => Self::Nothing,
            SystemType::EpochDestroyed => Self::EpochDestroyed(json::read(data).map_err(invalid)?),
            SystemType::ErasureRequested => Self::ErasureRequested(json::read(data).map_err(invalid)?),
            SystemType::ErasureCompleted => Self::ErasureCompleted(json::read(data).map_err(invalid)?),
            SystemType::ErasureRecovered => Self::ErasureRecovered(json::read(data).map_err(invalid)?),
            SystemType::ErasureResidueRemoved => Self::ResidueRemoved(json::read(data).map_err(invalid)?),
            SystemType::BodiesPurged => Self::Purged(json::read(data).map_err(invalid)?),
            SystemType::BodiesRedacted => Self::Redacted(json::read(data).map_err(invalid)?),
            SystemType::LeakReported => Self::LeakReported(json::read(data).map_err(invalid)?),
            SystemType::LeakWithdrawn => Self::LeakWithdrawn(json::read(data).map_err(invalid)?),
        };
        authority.check().map_err(|rule| invalid(rule.to_owned()))?;
        Ok(authority)
    }

    fn check(&self) -> Result<(), &'static str> {
        if let Self::Purged(purged) = self {
            let requests = purged.requests.as_ref().map(Vec::len);
            match (purged.ground, requests) {
                (Ground::Erasure, Some(1..=MAX_REQUESTS)) | (Ground::Retention, None) => {}
                (Ground::Erasure, _) => return Err("an erasure names 1 to 1,000 request ids"),
                (Ground::Retention, Some(_)) => return Err("request ids belong to erasures, and to nothing else"),
            }
        }
        let named = match self {
            Self::LeakReported(leak) => leak.positions.len(),
            _ => self.positions().len(),
        };
        match named {
            0 if matches!(self, Self::Purged(_) | Self::Redacted(_) | Self::LeakReported(_)) => Err("no positions"),
            0..=MAX_POSITIONS => Ok(()),
            _ => Err("too many positions"),
        }
    }

    /// The bodies whose removal it authorises.
    pub fn positions(&self) -> &[Position] {
        match self {
            Self::Purged(purged) => &purged.positions,
            Self::Redacted(redacted) => &redacted.positions,
            _ => &[],
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn reserved_types_are_recognised_by_their_beginning() {
        for (text, reserved) in [
            ("ledger.created", true),
            ("key.rotated", true),
            ("bodies.purged", true),
            ("epoch.destroyed", true),
            ("erasure.anything", true),
            ("hold.placed", true),
            ("subject.reopened", true),
            ("subjects.reopened", false),
            ("bodies", false),
            ("order.bodies.purged", false),
            ("Bodies.purged", false),
            ("ledgers.created", false),
        ] {
            assert_eq!(is_reserved(&text.parse().unwrap()), reserved, "{text}");
        }
        for known in SystemType::ALL {
            let event_type: EventType = known.as_str().parse().unwrap();
            assert!(is_reserved(&event_type));
            assert_eq!(SystemType::from_type(&event_type), Some(known));
        }
    }

    #[test]
    fn a_purge_names_its_ground_and_positions() {
        let read = |text: &str| Authority::read(SystemType::BodiesPurged, text.as_bytes());
        let id = "00000000-0000-4000-8000-000000000000";
        let good = read(&format!(
            r#"{{"ground":"erasure","requests":["{id}"],"positions":[[7,2],[9,0]]}}"#
        ))
        .unwrap();
        assert_eq!(
            good.positions(),
            [Position { index: 7, ordinal: 2 }, Position { index: 9, ordinal: 0 }]
        );
        assert!(read(r#"{"ground":"retention","positions":[[7,2]]}"#).is_ok());
        for (what, text) in [
            (
                "erasure without request",
                r#"{"ground":"erasure","positions":[[7,2]]}"#.to_owned(),
            ),
            (
                "retention with request",
                format!(r#"{{"ground":"retention","requests":["{id}"],"positions":[[7,2]]}}"#),
            ),
            (
                "erasure of no request",
                r#"{"ground":"erasure","requests":[],"positions":[[7,2]]}"#.into(),
            ),
            (
                "a request that is no list",
                format!(r#"{{"ground":"erasure","requests":"{id}","positions":[[7,2]]}}"#),
            ),
            ("no positions", r#"{"ground":"retention","positions":[]}"#.into()),
            ("unknown ground", r#"{"ground":"whim","positions":[[7,2]]}"#.into()),
            (
                "unknown field",
                r#"{"ground":"retention","positions":[[7,2]],"x":1}"#.into(),
            ),
            (
                "field twice",
                r#"{"ground":"retention","positions":[[7,2]],"positions":[[8,2]]}"#.into(),
            ),
            (
                "bad position",
                r#"{"ground":"retention","positions":[[7,70000]]}"#.into(),
            ),
            ("an array of the values", r#"["retention",[[7,2]]]"#.into()),
            (
                "positions as objects",
                r#"{"ground":"retention","positions":[{"index":7,"ordinal":2}]}"#.into(),
            ),
            (
                "a request in capitals",
                format!(
                    r#"{{"ground":"erasure","requests":["{}"],"positions":[[7,2]]}}"#,
                    id.replace('4', "F")
                ),
            ),
            ("no JSON", "x".into()),
        ] {
            assert!(read(&text).is_err(), "{what}");
        }
    }

    #[test]
    fn codes_of_bases_and_reasons_are_those_of_the_interface() {
        assert_eq!(serde_json::to_value(Basis::Art17_1A).unwrap(), "art17_1_a");
        assert_eq!(serde_json::to_value(Basis::Retention).unwrap(), "retention");
        assert_eq!(serde_json::to_value(Reason::LegalDuty).unwrap(), "legal_duty");
    }
}
