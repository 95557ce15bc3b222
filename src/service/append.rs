//! Append: validate, provision keys, seal, sequence; and tell a repeat from a conflict.
//!
//! Keys are durable before an event is queued. A repeat is found by its id in the plan and compared here, outside the
//! writer: public content as received, personal content by opening the stored blocks. No digest of plaintext is kept, and
//! where a block is gone the answer is neither equal nor different.

mod answer;
mod prepare;
mod repeat;

pub use answer::{AppendAnswer, Proof};
pub(crate) use prepare::Prepared;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tracing::Instrument;

use super::guard::personal_data_in;
use super::request::{ActorRequest, AppendRequest, BatchRequest, EventRequest, Expected};
use super::{Code, Error, FieldError, Ledger, Service};
use crate::sequencer::{Append, ExpectedVersion, Refusal};
use crate::spec::ids::{EventType, StreamName};
use crate::spec::system::{self, RESERVED_PREFIXES};

/// What types of Oubliette's own events begin with, beyond the reserved prefixes. No verifier relies on them; but a reader
/// who asks by type must not meet a caller's.
const OWN_PREFIXES: [&str; 6] = [
    "api_key.",
    "backup.",
    "export.",
    "personal_data.",
    "redaction.",
    "report.",
];

/// Whether a type is one that callers may not use.
pub(super) fn is_own_type(event_type: &EventType) -> bool {
    let mut prefixes = OWN_PREFIXES.iter();
    system::is_reserved(event_type) || prefixes.any(|prefix| event_type.as_str().starts_with(prefix))
}

/// The types of them that the server writes.
const OWN_TYPES: [&str; 9] = [
    "api_key.created",
    "api_key.revoked",
    "backup.started",
    "export.created",
    "export.downloaded",
    "personal_data.revealed",
    "redaction.completed",
    "redaction.recorded",
    "report.created",
];

/// Whether events of a type are Oubliette's own as far as their headers tell: a ledger of another server may have callers'
/// under the prefixes that no verifier relies on.
pub(super) fn is_told_own(event_type: &EventType) -> bool {
    system::is_reserved(event_type) || OWN_TYPES.contains(&event_type.as_str())
}

/// Different categories that one request may name: they are a vocabulary, not data.
const MAX_CATEGORIES: usize = 64;

/// A valid request to append, whatever its form was.
#[derive(Debug)]
pub struct AppendCall {
    /// Checked per stream, at its first event.
    pub(crate) expected: Vec<(StreamName, ExpectedVersion)>,
    /// The events with their streams.
    pub(crate) events: Vec<(StreamName, EventRequest)>,
    /// W3C trace context.
    pub(crate) trace_parent: Option<Box<str>>,
    /// Which proof to answer with.
    pub(crate) proof: Proof,
}

impl AppendCall {
    /// Events for one stream.
    pub fn to_stream(stream: StreamName, request: AppendRequest, proof: Proof) -> Self {
        let expected = request
            .expected_version
            .map(|Expected(expected)| (stream.clone(), expected));
        let events = request
            .events
            .into_iter()
            .map(|event| (stream.clone(), event))
            .collect();
        Self {
            expected: expected.into_iter().collect(),
            events,
            trace_parent: None,
            proof,
        }
    }

    /// Events for several streams.
    ///
    /// # Errors
    /// `invalid_field` for an expected version that would not be checked: the stream's first event has none.
    pub fn batch(request: BatchRequest, proof: Proof) -> Result<Self, Error> {
        let (mut expected, mut events) = (Vec::new(), Vec::new());
        let mut checked = HashMap::new();
        for (at, event) in request.events.into_iter().enumerate() {
            let (stream, version, event) = event.split();
            match (checked.get(&stream), version) {
                (None, version) => {
                    checked.insert(stream.clone(), version.is_some());
                    expected.extend(version.map(|Expected(version)| (stream.clone(), version)));
                }
                (Some(false), Some(_)) => {
                    return Err(Error::field(
                        format!("/events/{at}/expected_version"),
                        "is checked at the stream's first event in the batch; give it there",
                    ));
                }
                (Some(_), _) => {}
            }
            events.push((stream, event));
        }
        Ok(Self {
            expected,
            events,
            trace_parent: None,
            proof,
        })
    }

    /// Adds the trace context of the request.
    pub fn with_trace_parent(self, trace_parent: Option<&str>) -> Self {
        let fits = |text: &&str| text.len() <= 128 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        Self {
            trace_parent: trace_parent.filter(fits).map(Into::into),
            ..self
        }
    }
}

impl Service {
    /// Appends events, all or none, and answers with signed receipts.
    ///
    /// # Errors
    /// Every code of docs/api.md, Append.
    pub async fn append(self: &Arc<Self>, ledger: &Arc<Ledger>, call: AppendCall) -> Result<AppendAnswer, Error> {
        let started = std::time::Instant::now();
        let span = span!("append", events = call.events.len());
        let answer = self.append_checked(ledger, call).instrument(span).await;
        self.meters.append(started.elapsed(), &answer);
        if let Err(error) = &answer {
            self.count_refusal(ledger, error.code).await;
        }
        answer
    }

    async fn append_checked(self: &Arc<Self>, ledger: &Arc<Ledger>, call: AppendCall) -> Result<AppendAnswer, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        self.check(&call)?;
        let (call, prepared) = traced!(self.prepare(ledger, call), "prepare").await?;
        let Prepared { events, sketches } = prepared;
        let append = Append {
            ledger: ledger.record.number,
            expected: call.expected.clone(),
            events,
            fences: Vec::new(),
            records: Vec::new(),
            removals: Vec::new(),
        };
        match self.submit(append).await? {
            Ok(appended) => AppendAnswer::first(appended, sketches, call.proof, ledger),
            Err(Refusal::IdsTaken(indexes)) => {
                let (service, ledger) = (Arc::clone(self), Arc::clone(ledger));
                blocking(move || service.repeat(&ledger, &call, &indexes)).await
            }
            Err(Refusal::Fenced(handle)) => Err(self.fenced(ledger, handle)?),
            Err(refusal) => Err(refusal.into()),
        }
    }

    fn fenced(&self, ledger: &Ledger, handle: crate::spec::ids::Handle) -> Result<Error, Error> {
        Ok(match self.keystore.state(ledger.record.id, handle)? {
            crate::keystore::SubjectState::Erased(_) => subject_erased(""),
            _ => Refusal::Fenced(handle).into(),
        })
    }

    /// The rules that a request can break without looking at the ledger.
    fn check(&self, call: &AppendCall) -> Result<(), Error> {
        if call.events.is_empty() {
            return Err(Error::field("/events", "must hold at least one event"));
        }
        if call.events.len() > self.limits.batch_events {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "a batch holds at most {} events; send several",
                    self.limits.batch_events
                ),
            ));
        }
        let mut wrong = Vec::new();
        for (at, (stream, event)) in call.events.iter().enumerate() {
            self.check_event(at, stream, event, &mut wrong)?;
        }
        let blocks = call.events.iter().flat_map(|(_, event)| &event.personal);
        if blocks.map(|block| &block.category).collect::<HashSet<_>>().len() > MAX_CATEGORIES {
            return Err(Error::field(
                "/events",
                format!("may name at most {MAX_CATEGORIES} different categories"),
            ));
        }
        if !wrong.is_empty() {
            return Err(Error::fields(Code::InvalidField, wrong));
        }
        if self.guard { refuse_personal_data(call) } else { Ok(()) }
    }

    fn check_event(
        &self,
        at: usize,
        stream: &StreamName,
        event: &EventRequest,
        wrong: &mut Vec<FieldError>,
    ) -> Result<(), Error> {
        let mut field = |name: &str, detail: &str| {
            wrong.push(FieldError {
                pointer: format!("/events/{at}/{name}"),
                detail: detail.into(),
            });
        };
        if stream.is_system() {
            field(
                "stream",
                "streams that begin with $ are Oubliette's own; choose another name",
            );
        }
        if is_own_type(&event.event_type) {
            let prefixes = [&RESERVED_PREFIXES[..], &OWN_PREFIXES].concat().join(", ");
            field(
                "type",
                &format!("types that begin with one of {prefixes} are Oubliette's own; choose another name"),
            );
        }
        if event.schema_version == 0 {
            field("schema_version", "starts at 1");
        }
        let texts = [
            ("correlation_id", event.correlation_id.as_deref()),
            ("causation_id", event.causation_id.as_deref()),
        ];
        for (name, text) in texts {
            if text.is_some_and(|text| !matches!(text.len(), 1..=256)) {
                field(name, "must be 1 to 256 bytes");
            }
        }
        if let Some(ActorRequest::Name(name)) = &event.actor
            && !matches!(name.len(), 1..=256)
        {
            field("actor", "must be 1 to 256 bytes");
        }
        if event.tags.len() > 32 || event.tags.iter().any(|tag| !matches!(tag.len(), 1..=128)) {
            field("tags", "must be at most 32 texts of 1 to 128 bytes");
        }
        if event.personal.len() > self.limits.personal {
            field("personal", "holds too many blocks");
        }
        for (block, personal) in event.personal.iter().enumerate() {
            if personal.data.is_none() {
                field(&format!("personal/{block}/data"), "is missing or null");
            }
        }
        let bodies = event
            .personal
            .iter()
            .map(|personal| &personal.data)
            .chain([&event.data]);
        if bodies.flatten().any(|data| data.get().len() > self.limits.body) {
            let detail = format!(
                "/events/{at}: data and each personal block hold at most {} bytes",
                self.limits.body
            );
            return Err(Error::new(Code::TooLarge, detail));
        }
        Ok(())
    }
}

/// Runs blocking work off the server's threads, with the id of the request in what it logs.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let span = tracing::Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
        .await
        .map_err(super::access::internal)?
}

pub(super) fn subject_erased(pointer: &str) -> Error {
    let detail = "this person was erased here; a new relationship needs an explicit reopening";
    if pointer.is_empty() {
        return Error::new(Code::SubjectErased, detail);
    }
    Error::fields(
        Code::SubjectErased,
        vec![FieldError {
            pointer: pointer.into(),
            detail: detail.into(),
        }],
    )
}

fn refuse_personal_data(call: &AppendCall) -> Result<(), Error> {
    let mut found = Vec::new();
    // The pointer is only written where something was found: this runs over every field of every event.
    let mut look = |text: &str, pointer: &dyn Fn() -> String| {
        if let Some(pattern) = personal_data_in(text) {
            let detail = format!(
                "holds what looks like {pattern}; this field stays in clear for ever. Put it into `personal`, or use a handle"
            );
            found.push(FieldError {
                pointer: pointer(),
                detail,
            });
        }
    };
    for (at, (stream, event)) in call.events.iter().enumerate() {
        look(stream.as_str(), &|| format!("/events/{at}/stream"));
        look(event.event_type.as_str(), &|| format!("/events/{at}/type"));
        if let Some(ActorRequest::Name(name)) = &event.actor {
            look(name, &|| format!("/events/{at}/actor"));
        }
        for (name, text) in [
            ("correlation_id", &event.correlation_id),
            ("causation_id", &event.causation_id),
        ] {
            text.iter()
                .for_each(|text| look(text, &|| format!("/events/{at}/{name}")));
        }
        for (tag, text) in event.tags.iter().enumerate() {
            look(text, &|| format!("/events/{at}/tags/{tag}"));
        }
        for (block, personal) in event.personal.iter().enumerate() {
            look(personal.category.as_str(), &|| {
                format!("/events/{at}/personal/{block}/category")
            });
        }
    }
    if found.is_empty() {
        Ok(())
    } else {
        Err(Error::fields(Code::PersonalDataRefused, found))
    }
}
