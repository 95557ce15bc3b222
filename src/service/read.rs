//! Reads: single events and pages of them, with the state of every body, personal data opened only on request.
//!
//! Erased data is a state, not an error and not null. A reveal is itself recorded before anything leaves.

mod apart;
mod find;
mod open;

use std::collections::BTreeSet;

pub use find::{Filter, Page, StreamPage, StreamView};
pub(super) use open::{key_of, open_under};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::access::internal;
use super::removed::{Removal, Removed};
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::{KeyRef, Refusal};
use crate::spec::event::{Actor, BodyKind, Header, Meta};
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::ids::{Category, EventType, Handle, StreamName, StreamRef, Timestamp};
use crate::spec::seal::SealedBlock;
pub use crate::store::Direction;
use crate::store::{BodyRow, HeaderRow};

/// An event as it is stored, decoded.
#[derive(Debug)]
pub(crate) struct StoredEvent {
    pub(crate) index: u64,
    pub(crate) header: Header,
    pub(crate) header_bytes: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) meta: Option<Meta>,
    pub(crate) bodies: Vec<BodyRow>,
}

impl StoredEvent {
    fn decode(row: HeaderRow, header: Header, bodies: Vec<BodyRow>) -> Result<Self, Error> {
        let meta = bodies.first().filter(|body| body.ordinal == 0);
        let meta = meta
            .map(|body| Meta::decode(&body.bytes))
            .transpose()
            .map_err(|error| damaged(row.index).caused_by(error))?;
        Ok(Self {
            index: row.index,
            header,
            header_bytes: row.header,
            signature: row.signature,
            meta,
            bodies,
        })
    }

    /// Bodies that the header commits to and that are not there.
    pub(crate) fn absent(&self) -> Vec<(u64, u16, BodyKind)> {
        let committed = (0_u16..).zip(&self.header.bodies);
        let absent = committed.filter(|(ordinal, _)| self.body(*ordinal).is_none());
        absent.map(|(ordinal, body)| (self.index, ordinal, body.kind)).collect()
    }

    pub(crate) fn weight(&self) -> usize {
        self.bodies.iter().map(|body| body.bytes.len()).sum()
    }

    pub(crate) fn body(&self, ordinal: u16) -> Option<&BodyRow> {
        self.bodies.iter().find(|body| body.ordinal == ordinal)
    }

    pub(crate) fn data(&self) -> Option<&BodyRow> {
        let committed = self.header.bodies.get(1).filter(|body| body.kind == BodyKind::Data);
        committed.and_then(|_| self.body(1))
    }
}

/// An event as readers see it (docs/api.md, Read).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct EventView {
    /// Leaf index.
    pub index: u64,
    /// The caller's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// Stream name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Version in the stream.
    pub stream_version: u64,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// Version of the payload's schema.
    pub schema_version: u32,
    /// When it was sequenced.
    pub recorded_at: Timestamp,
    /// When it happened, as the caller said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occurred_at: Option<Timestamp>,
    /// Who acted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<ActorView>,
    /// What it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<Box<str>>,
    /// What caused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<Box<str>>,
    /// Labels.
    pub tags: Vec<Box<str>>,
    /// The stream's random reference.
    pub stream_ref: StreamRef,
    /// Whether the envelope is there.
    pub meta_state: BodyState,
    /// The index of the event that removed the envelope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub meta_authority: Option<u64>,
    /// The public payload, the exact bytes received.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Whether the payload is there; absent if the event never had one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_state: Option<BodyState>,
    /// The index of the event that removed the payload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_authority: Option<u64>,
    /// The sealed blocks.
    pub personal: Vec<PersonalView>,
    /// What a verifier needs.
    pub verification: Verification,
}

/// Who acted.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[derive(utoipa::ToSchema)]
pub enum ActorView {
    /// A name.
    Name(Box<str>),
    /// A data subject.
    Subject {
        /// By handle.
        handle: Handle,
    },
}

/// Whether a public body is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
pub enum BodyState {
    /// It is.
    Present,
    /// It was removed: an officer found that it should not have been written.
    Redacted,
    /// It was removed with a purge.
    Purged,
    /// It is not, and nothing says why: run a verification.
    Missing,
}

/// A sealed block as readers see it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct PersonalView {
    /// Position in the header's list of bodies.
    pub ordinal: u16,
    /// Data subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Generation of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
    /// Its state.
    pub state: PersonalState,
    /// The data in clear, if revealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Where the certificate of its erasure is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// The index of the event that removed the block; nothing else is known of it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<u64>,
}

/// The state of a sealed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[derive(utoipa::ToSchema)]
pub enum PersonalState {
    /// It could be opened, and was not.
    Sealed,
    /// Opened.
    Clear,
    /// Kept, not to be opened.
    Restricted,
    /// An erasure is under way.
    Erasing,
    /// Its key is destroyed, or it was removed after that.
    Erased,
    /// Removed by retention.
    Purged,
    /// Removed: it should not have been written.
    Redacted,
    /// Opened, and beyond what a fold can hold. Only in folded states.
    NotFoldable,
    /// Its key cannot be had: never to be read as erased.
    KeyUnavailable,
    /// The block itself is not there, and nothing says why.
    Missing,
}

impl BodyState {
    fn of(removed: Option<Removed>) -> Self {
        match removed.map(|removed| removed.removal) {
            None => Self::Missing,
            Some(Removal::Redacted) => Self::Redacted,
            Some(Removal::Purged | Removal::Erased) => Self::Purged,
        }
    }
}

impl PersonalState {
    fn removed(removal: Removal) -> Self {
        match removal {
            Removal::Erased => Self::Erased,
            Removal::Purged => Self::Purged,
            Removal::Redacted => Self::Redacted,
        }
    }

    pub(super) fn of(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Restricted => Self::Restricted,
            Refusal::Erasing(_) => Self::Erasing,
            Refusal::Erased(_) => Self::Erased,
            Refusal::Unavailable => Self::KeyUnavailable,
        }
    }
}

/// What a verifier needs of an event.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EventVerification)]
pub struct Verification {
    /// Base64.
    #[schema(content_encoding = "base64")]
    pub header: String,
    /// Base64, COSE_Sign1.
    #[schema(content_encoding = "base64")]
    pub signature: String,
    /// Leaf hash.
    pub leaf_hash: Hash,
    /// Leaf hash of the event before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<Hash>,
    /// The key that the signature names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Hash>,
}

/// What of the personal data leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reveal {
    /// Nothing.
    Sealed,
    /// What can be opened.
    Open,
}

/// Which blocks a read opened: what the record of a reveal names.
#[derive(Debug, Default, Clone)]
pub struct Opened {
    events: BTreeSet<u64>,
    handles: BTreeSet<Handle>,
    blocks: usize,
}

impl Opened {
    pub(crate) fn add(&mut self, index: u64, handle: Option<Handle>) {
        self.events.insert(index);
        self.handles.extend(handle);
        self.blocks += 1;
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }
}

impl Service {
    pub(crate) fn stored_event(&self, ledger: &Ledger, index: u64) -> Result<StoredEvent, Error> {
        let event = self.stored_events_at(ledger, &[index])?.pop();
        event.ok_or_else(|| Error::new(Code::EventNotFound, format!("there is no event at index {index}")))
    }

    pub(crate) fn stored_events(
        &self,
        ledger: &Ledger,
        indexes: std::ops::Range<u64>,
    ) -> Result<Vec<StoredEvent>, Error> {
        let end = indexes.end.min(self.view(ledger)?.size());
        let indexes = indexes.start..end;
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let headers = self.store.headers(ledger.record.number, indexes.clone())?;
        let mut bodies = self.store.bodies(ledger.record.number, indexes)?.into_iter().peekable();
        let of = |row: HeaderRow| {
            let mut own = Vec::new();
            while let Some(body) = bodies.next_if(|body| body.index <= row.index) {
                own.push(body);
            }
            let header = decode_header(&row)?;
            StoredEvent::decode(row, header, own)
        };
        headers.into_iter().map(of).collect()
    }

    /// Events that lie apart, in the order asked for, each row by its key: cheaper than one search of a range for each.
    pub(crate) fn stored_events_at(&self, ledger: &Ledger, indexes: &[u64]) -> Result<Vec<StoredEvent>, Error> {
        let (number, size) = (ledger.record.number, self.view(ledger)?.size());
        let indexes: Vec<u64> = indexes.iter().copied().filter(|index| *index < size).collect();
        let rows = self.store.headers_at(number, &indexes)?.into_iter().flatten();
        let headers = rows
            .map(|row| decode_header(&row).map(|header| (row, header)))
            .collect::<Result<Vec<_>, _>>()?;
        let committed = headers.iter().flat_map(|(row, header)| {
            let bodies = (0_u16..).zip(&header.bodies);
            bodies.map(|(ordinal, body)| (row.index, ordinal, body.kind))
        });
        let mut bodies = self
            .store
            .bodies_at(number, &committed.collect::<Vec<_>>())?
            .into_iter();
        let of = |(row, header): (HeaderRow, Header)| {
            let own = bodies.by_ref().take(header.bodies.len()).flatten().collect();
            StoredEvent::decode(row, header, own)
        };
        headers.into_iter().map(of).collect()
    }

    /// The index of an event named by index or by id.
    ///
    /// # Errors
    /// `event_not_found`.
    pub fn index_of(&self, ledger: &Ledger, name: &str) -> Result<u64, Error> {
        let unknown = || Error::new(Code::EventNotFound, "there is no event of this index or id");
        let size = self.view(ledger)?.size();
        let index = match (name.parse::<u64>(), name.parse::<Uuid>()) {
            (Ok(index), _) => Some(index),
            (_, Ok(id)) => self.store.indexes_of(ledger.record.number, &[id])?.pop().flatten(),
            _ => None,
        };
        index.filter(|index| *index < size).ok_or_else(unknown)
    }

    /// One event.
    ///
    /// # Errors
    /// `event_not_found`.
    pub fn event(&self, ledger: &Ledger, index: u64, reveal: Reveal) -> Result<EventView, Error> {
        let event = self.stored_event(ledger, index)?;
        self.event_view(ledger, event, reveal)
    }

    pub(crate) fn event_view(&self, ledger: &Ledger, event: StoredEvent, reveal: Reveal) -> Result<EventView, Error> {
        let removed = self.removed(ledger, &event.absent())?;
        let removed_at = |ordinal| removed.get(&(event.index, ordinal)).copied();
        let mut personal = Vec::new();
        for (ordinal, _) in (0_u16..)
            .zip(&event.header.bodies)
            .filter(|(_, body)| body.kind == BodyKind::Sealed)
        {
            personal.push(self.personal_view(ledger, &event, (ordinal, removed_at(ordinal)), reveal)?);
        }
        let data = event
            .data()
            .map(|body| String::from_utf8(body.bytes.clone()))
            .transpose()
            .map_err(internal)?;
        let data = data.map(RawValue::from_string).transpose().map_err(internal)?;
        let has_data = event.header.bodies.iter().any(|body| body.kind == BodyKind::Data);
        let state = |present: bool, ordinal: u16| {
            if present {
                (BodyState::Present, None)
            } else {
                let removed = removed_at(ordinal);
                (BodyState::of(removed), removed.map(|removed| removed.authority))
            }
        };
        let (meta_state, meta_authority) = state(event.meta.is_some(), 0);
        let (data_state, data_authority) = match has_data.then(|| state(data.is_some(), 1)) {
            Some((state, authority)) => (Some(state), authority),
            None => (None, None),
        };
        let verification = verification(&event);
        let StoredEvent {
            index, header, meta, ..
        } = event;
        let meta = meta.map(|meta| (meta.id, meta));
        let (id, meta) = meta.map_or((None, None), |(id, meta)| (Some(id), Some(meta)));
        let mut view = EventView {
            index,
            id,
            stream: None,
            stream_version: header.stream_version,
            event_type: header.event_type,
            schema_version: header.schema_version,
            recorded_at: header.recorded_at,
            occurred_at: None,
            actor: None,
            correlation_id: None,
            causation_id: None,
            tags: Vec::new(),
            stream_ref: header.stream_ref,
            meta_state,
            meta_authority,
            data_state,
            data_authority,
            data,
            personal,
            verification,
        };
        if let Some(meta) = meta {
            view.stream = Some(meta.stream);
            view.occurred_at = meta.occurred_at;
            view.actor = meta.actor.map(|actor| match actor {
                Actor::Name(name) => ActorView::Name(name),
                Actor::Subject(handle) => ActorView::Subject { handle },
            });
            view.correlation_id = meta.correlation_id;
            view.causation_id = meta.causation_id;
            view.tags = meta.tags;
        }
        Ok(view)
    }

    fn personal_view(
        &self,
        ledger: &Ledger,
        event: &StoredEvent,
        (ordinal, removed): (u16, Option<Removed>),
        reveal: Reveal,
    ) -> Result<PersonalView, Error> {
        let state = removed.map_or(PersonalState::Missing, |removed| {
            PersonalState::removed(removed.removal)
        });
        let mut view = PersonalView {
            ordinal,
            handle: None,
            category: None,
            generation: None,
            state,
            data: None,
            certificate: None,
            authority: removed.map(|removed| removed.authority),
        };
        let Some(body) = event.body(ordinal) else {
            return Ok(view);
        };
        let block = SealedBlock::decode(&body.bytes).map_err(|error| {
            Error::new(Code::Damaged, format!("the block {ordinal} of index {}", event.index)).caused_by(error)
        })?;
        let opened = match reveal {
            Reveal::Open => self.open_block(ledger, &event.header, ordinal, &block)?.map(Some),
            Reveal::Sealed => {
                let key = key_of(&block);
                self.keystore.key(ledger.record.id, &key)?.map(|_| None)
            }
        };
        view.state = match &opened {
            Ok(None) => PersonalState::Sealed,
            Ok(Some(_)) => PersonalState::Clear,
            Err(refusal) => PersonalState::of(*refusal),
        };
        view.certificate = opened
            .as_ref()
            .err()
            .and_then(|refusal| certificate_of(ledger, refusal));
        if let Ok(Some(plaintext)) = opened {
            let text = std::str::from_utf8(&plaintext).map_err(internal)?;
            view.data = Some(RawValue::from_string(text.to_owned()).map_err(internal)?);
        }
        (view.handle, view.category, view.generation) =
            (Some(block.handle), Some(block.category), Some(block.generation));
        Ok(view)
    }

    /// Takes back what was fenced while a reveal was being recorded. After this check the answer is on its way: what leaves
    /// was readable when it left.
    ///
    /// # Errors
    /// If the key store cannot be read.
    pub fn withdraw_fenced(&self, ledger: &Ledger, events: &mut [EventView]) -> Result<(), Error> {
        for block in events.iter_mut().flat_map(|event| &mut event.personal) {
            let (Some(handle), Some(category), Some(generation)) = (block.handle, &block.category, block.generation)
            else {
                continue;
            };
            if block.data.is_none() {
                continue;
            }
            let key = KeyRef {
                handle,
                category: category.clone(),
                generation,
            };
            if let Err(refusal) = self.keystore.key(ledger.record.id, &key)?.map(drop) {
                (block.state, block.data) = (PersonalState::of(refusal), None);
                block.certificate = certificate_of(ledger, &refusal);
            }
        }
        Ok(())
    }

    /// Records that personal data was opened, before it leaves: by which key, which events, how many blocks, about whom.
    /// Nothing is recorded where nothing was opened.
    ///
    /// # Errors
    /// Whatever appending may answer; then nothing may leave.
    pub async fn record_reveal(&self, ledger: &Ledger, caller: &Caller, events: &[EventView]) -> Result<(), Error> {
        let mut opened = Opened::default();
        for event in events {
            for block in event
                .personal
                .iter()
                .filter(|block| block.state == PersonalState::Clear)
            {
                opened.add(event.index, block.handle);
            }
        }
        self.record_opened(ledger, caller, &opened).await
    }

    /// As [`Service::record_reveal`], for blocks that were opened for something else than single events.
    ///
    /// # Errors
    /// Whatever appending may answer; then nothing may leave.
    pub async fn record_opened(&self, ledger: &Ledger, caller: &Caller, opened: &Opened) -> Result<(), Error> {
        if opened.blocks == 0 {
            return Ok(());
        }
        let data = ledger.told(serde_json::json!({
            "key": caller.key.id, "roles": caller.key.roles, "blocks": opened.blocks, "events": opened.events,
            "handles": opened.handles,
        }));
        let event = self.system_event("$reveals", "personal_data.revealed", &data, None)?;
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await
            .map(drop)
    }
}

fn decode_header(row: &HeaderRow) -> Result<Header, Error> {
    Header::decode(&row.header).map_err(|error| damaged(row.index).caused_by(error))
}

fn damaged(index: u64) -> Error {
    Error::new(Code::Damaged, format!("the event at index {index} is damaged"))
}

/// Where the certificate of the erasure is that a refusal names.
pub(super) fn certificate_of(ledger: &Ledger, refusal: &Refusal) -> Option<String> {
    let (Refusal::Erased(Some(request)) | Refusal::Erasing(request)) = refusal else {
        return None;
    };
    let name = &ledger.record.name;
    Some(format!("/v1/ledgers/{name}/erasures/{request}/certificate"))
}

fn verification(event: &StoredEvent) -> Verification {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    Verification {
        header: STANDARD.encode(&event.header_bytes),
        signature: STANDARD.encode(&event.signature),
        leaf_hash: leaf_hash(&event.header_bytes),
        previous: event.header.previous,
        key_id: crate::spec::signature::key_id(&event.signature).ok(),
    }
}
