//! Oubliette's own events: the types that callers may not use, and the payloads that verifiers rely on
//! (docs/spec/08-erasure.md).
//!
//! ```text
//! ledger.created    the keys (keys.rs); at index 0 and nowhere else
//! erasure.requested {request, subjects: [{handle}], ?categories, ?basis, ?reason, ?due_at, ?submitted_at, ?recipients,
//!                    ?suppression, ?already_erased, ?by, ?roles}
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

mod payload;

use std::fmt;

pub use payload::*;

use super::ids::EventType;
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
        match self.named().len() {
            0 if matches!(self, Self::Purged(_) | Self::Redacted(_) | Self::LeakReported(_)) => Err("no positions"),
            0..=MAX_POSITIONS => Ok(()),
            _ => Err("too many positions"),
        }
    }

    /// The bodies that it names; all of them stand before the event.
    pub fn named(&self) -> &[Position] {
        match self {
            Self::LeakReported(leak) => &leak.positions,
            _ => self.positions(),
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
