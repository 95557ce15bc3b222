//! What a redaction is asked with, and how officers see it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::Error;
use crate::spec::certificate::KnownBackup;
use crate::spec::event::BodyKind;
use crate::spec::ids::Timestamp;
use crate::spec::system::Position;

/// The most events of one request.
const MAX_EVENTS: usize = 1_000;

/// `POST /redactions`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct RedactionRequest {
    /// What is to leave.
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<RedactedEvent>,
    /// Why.
    pub reason: RedactionReason,
}

/// An event of which bodies leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct RedactedEvent {
    /// Leaf index.
    pub index: u64,
    /// Which bodies, each once.
    #[schema(min_items = 1, max_items = 2)]
    pub bodies: Vec<PublicBody>,
}

/// A body in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
pub enum PublicBody {
    /// The envelope: stream name, id, actor, tags and so on.
    Meta,
    /// The payload.
    Data,
}

impl PublicBody {
    pub(super) fn kind(self) -> BodyKind {
        match self {
            Self::Meta => BodyKind::Meta,
            Self::Data => BodyKind::Data,
        }
    }

    pub(super) fn of(position: &Position) -> Self {
        if position.ordinal == 0 { Self::Meta } else { Self::Data }
    }

    pub(super) fn ordinal(self) -> u16 {
        u16::from(self == Self::Data)
    }
}

impl RedactedEvent {
    /// Where the bodies stand.
    pub(in crate::service) fn positions(&self) -> impl Iterator<Item = Position> {
        self.bodies.iter().map(|body| (self.index, body.ordinal()).into())
    }
}

/// Bodies by their events; the positions ascend.
pub(in crate::service) fn events_of(positions: &[Position]) -> Vec<RedactedEvent> {
    let of_one = |positions: &[Position]| RedactedEvent {
        index: positions.first().map_or(0, |position| position.index),
        bodies: positions.iter().map(PublicBody::of).collect(),
    };
    positions.chunk_by(|a, b| a.index == b.index).map(of_one).collect()
}

/// Why bodies are redacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(utoipa::ToSchema)]
pub enum RedactionReason {
    /// Personal data stood in clear.
    PersonalData,
    /// A password, a key or another secret.
    Secret,
    /// It must not be kept.
    Unlawful,
    /// Another reason.
    Other,
}

impl RedactionReason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::PersonalData => "personal_data",
            Self::Secret => "secret",
            Self::Unlawful => "unlawful",
            Self::Other => "other",
        }
    }
}

/// A redaction as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RedactionView {
    /// Which.
    pub id: Uuid,
    /// `redacted`: nobody reads it through this server; `completed`: the files were written anew, too.
    #[schema(pattern = "^(redacted|completed)$")]
    pub state: &'static str,
    /// Why, as a code.
    pub reason: String,
    /// When the bodies left.
    pub redacted_at: Timestamp,
    /// When the files in which they lay had been written anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The index of the event that is the authority.
    pub authority: u64,
    /// How many bodies left.
    pub removed: RemovedBodies,
    /// Of which events.
    pub events: Vec<RedactedEvent>,
    /// Backups on record, begun before the files were written anew: they may hold the bodies until they are deleted. Copies
    /// that were made by other means are not known.
    pub backups: Vec<KnownBackup>,
    /// Where the certificate is.
    pub certificate: String,
}

/// How many bodies left, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RemovedBodies {
    /// Envelopes.
    pub meta: u64,
    /// Payloads.
    pub data: u64,
}

/// Each body is named once, and there are not too many.
pub(in crate::service) fn check(events: &[RedactedEvent]) -> Result<(), Error> {
    if !(1..=MAX_EVENTS).contains(&events.len()) {
        return Err(Error::field("/events", format!("must name 1 to {MAX_EVENTS} events")));
    }
    let mut seen = HashSet::new();
    for (at, event) in events.iter().enumerate() {
        if event.bodies.is_empty() {
            return Err(Error::field(
                format!("/events/{at}/bodies"),
                "must name `data`, `meta` or both",
            ));
        }
        for (body, kind) in event.bodies.iter().enumerate() {
            if !seen.insert((event.index, *kind)) {
                let pointer = format!("/events/{at}/bodies/{body}");
                return Err(Error::field(pointer, "is named twice in this request"));
            }
        }
    }
    Ok(())
}
