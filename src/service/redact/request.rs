//! What is asked for: which bodies of which events leave, and why.

use serde::{Deserialize, Serialize};

use super::super::Error;
use crate::spec::event::BodyKind;
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

pub(super) fn check(request: &RedactionRequest) -> Result<(), Error> {
    if !(1..=MAX_EVENTS).contains(&request.events.len()) {
        return Err(Error::field("/events", format!("must name 1 to {MAX_EVENTS} events")));
    }
    let mut seen = std::collections::HashSet::new();
    for (at, event) in request.events.iter().enumerate() {
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
