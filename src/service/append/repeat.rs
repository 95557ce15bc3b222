//! A repeat: the ids are taken, and the question is whether by the same content.

use super::super::read::StoredEvent;
use super::super::removed::Removal;
use super::super::request::{ActorRequest, EventRequest};
use super::super::{Code, Error, Ledger, Service};
use super::answer::{AppendAnswer, Inclusion, Proof, RangeProof, ReceiptEvent};
use super::prepare::Sketch;
use super::{AppendCall, subject_erased};
use crate::keystore::{KeyRef, Refusal, Resolution};
use crate::sequencer::Placed;
use crate::spec::event::{Actor, BodyKind};
use crate::spec::hash::leaf_hash;
use crate::spec::ids::{StreamName, SubjectId};
use crate::spec::seal::SealedBlock;

impl Service {
    /// Compares a request with the events that hold its ids, and answers with their first receipts.
    ///
    /// # Errors
    /// `idempotency_conflict` for other content or a mixture of new and repeated ids; `subject_erased` or `body_purged`
    /// where a body that must be compared is gone.
    pub(super) fn repeat(
        &self,
        ledger: &Ledger,
        call: &AppendCall,
        indexes: &[Option<u64>],
    ) -> Result<AppendAnswer, Error> {
        let mut stored = Vec::with_capacity(indexes.len());
        for (at, (index, (stream, event))) in indexes.iter().zip(&call.events).enumerate() {
            let index = index.ok_or_else(|| {
                Error::new(
                    Code::IdempotencyConflict,
                    format!("/events/{at} is new, but others of this batch are stored already; send new and repeated events apart"),
                )
            })?;
            let found = self.stored_event(ledger, index)?;
            if !self.is_same(ledger, at, stream, event, &found)? {
                let detail = format!("/events/{at}: the id is taken by the event at index {index} with other content");
                return Err(Error {
                    index: Some(index),
                    ..Error::new(Code::IdempotencyConflict, detail)
                });
            }
            stored.push(found);
        }
        self.first_receipts(ledger, call.proof, stored)
    }

    fn is_same(
        &self,
        ledger: &Ledger,
        at: usize,
        stream: &StreamName,
        request: &EventRequest,
        found: &StoredEvent,
    ) -> Result<bool, Error> {
        let purged = |what: &str| Error {
            index: Some(found.index),
            ..Error::new(
                Code::BodyPurged,
                format!(
                    "/events/{at}: the event at index {} cannot be compared any more: its {what} is purged",
                    found.index
                ),
            )
        };
        let meta = found.meta.as_ref().ok_or_else(|| purged("meta"))?;
        let same_meta = meta.stream == *stream
            && found.header.event_type == request.event_type
            && found.header.schema_version == request.schema_version
            && meta.occurred_at == request.occurred_at
            && meta.correlation_id == request.correlation_id
            && meta.causation_id == request.causation_id
            && meta.tags == request.tags
            && self.is_same_actor(ledger, meta.actor.as_ref(), request.actor.as_ref())?;
        let commits_to_data = found.header.bodies.iter().any(|body| body.kind == BodyKind::Data);
        if !same_meta || commits_to_data != request.data.is_some() {
            return Ok(false);
        }
        if let Some(data) = &request.data {
            let stored = found.data().ok_or_else(|| purged("data"))?;
            if stored.bytes != data.get().as_bytes() {
                return Ok(false);
            }
        }
        let first = found
            .header
            .bodies
            .iter()
            .position(|body| body.kind == BodyKind::Sealed);
        let first = first.unwrap_or(found.header.bodies.len());
        if found.header.bodies.len() - first != request.personal.len() {
            return Ok(false);
        }
        for (block, personal) in request.personal.iter().enumerate() {
            let ordinal = u16::try_from(first + block).unwrap_or(u16::MAX);
            let pointer = format!("/events/{at}/personal/{block}");
            let Some(body) = found.body(ordinal) else {
                return Err(match self.removal(ledger, found, ordinal)? {
                    Some(Removal::Erased) => Error {
                        index: Some(found.index),
                        ..subject_erased(&pointer)
                    },
                    _ => purged("personal data"),
                });
            };
            let sealed = SealedBlock::decode(&body.bytes).map_err(super::super::access::internal)?;
            let plaintext = personal.data.as_ref().map_or("null", |data| data.get());
            let owner = self.owns(ledger, &personal.subject, &sealed, &pointer)?;
            if !owner || sealed.category != personal.category {
                return Ok(false);
            }
            let opened = self.open_block(ledger, &found.header, ordinal, &sealed)?;
            let opened = opened.map_err(|refusal| Error {
                index: Some(found.index),
                ..gone(refusal, &pointer)
            })?;
            if opened.as_slice() != plaintext.as_bytes() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn removal(&self, ledger: &Ledger, found: &StoredEvent, ordinal: u16) -> Result<Option<Removal>, Error> {
        let removed = self.removed(ledger, &found.absent())?;
        Ok(removed.get(&(found.index, ordinal)).map(|removed| removed.removal))
    }

    fn is_same_actor(
        &self,
        ledger: &Ledger,
        stored: Option<&Actor>,
        asked: Option<&ActorRequest>,
    ) -> Result<bool, Error> {
        Ok(match (stored, asked) {
            (None, None) => true,
            (Some(Actor::Name(stored)), Some(ActorRequest::Name(asked))) => stored == asked,
            (Some(Actor::Subject(stored)), Some(ActorRequest::Subject(asked))) => {
                self.keystore.resolve(ledger.record.id, &asked.subject)? == Resolution::Known(*stored)
            }
            _ => false,
        })
    }

    fn owns(&self, ledger: &Ledger, subject: &SubjectId, block: &SealedBlock, pointer: &str) -> Result<bool, Error> {
        match self.keystore.resolve(ledger.record.id, subject)? {
            Resolution::Known(handle) => Ok(handle == block.handle),
            Resolution::Unknown => Ok(false),
            Resolution::Erased => Err(subject_erased(pointer)),
        }
    }

    /// An event's receipt with the key events that it rests on: evidence that can be checked alone.
    ///
    /// # Errors
    /// `event_not_found`; `body_purged` if its envelope is gone.
    pub fn receipt(&self, ledger: &Ledger, index: u64) -> Result<AppendAnswer, Error> {
        let (size, _) = self.checkpoint_covering(ledger, index)?;
        let event = self.stored_event(ledger, index)?;
        let anchors = vec![self.evidence(ledger, 0, size)?];
        Ok(AppendAnswer {
            anchors,
            ..self.first_receipts(ledger, Proof::Each, vec![event])?
        })
    }

    /// The receipts that the first append gave, with proofs in the first checkpoint that covers them all.
    fn first_receipts(&self, ledger: &Ledger, proof: Proof, stored: Vec<StoredEvent>) -> Result<AppendAnswer, Error> {
        let last = stored.iter().map(|event| event.index).max().unwrap_or(0);
        let (size, checkpoint) = self.checkpoint_covering(ledger, last)?;
        let mut events = Vec::with_capacity(stored.len());
        for event in stored {
            let inclusion = match proof {
                Proof::Each => Some(Inclusion {
                    leaf_index: event.index,
                    tree_size: size,
                    hashes: self.inclusion_hashes(ledger, event.index, size)?,
                }),
                _ => None,
            };
            let (placed, sketch) = event.into_receipt_parts()?;
            events.push(ReceiptEvent::new(placed, sketch, ledger.event_key.id(), inclusion));
        }
        let indexes: Vec<_> = events.iter().map(|event| event.index).collect();
        let in_one_run = indexes.is_sorted_by(|a, b| *b == a + 1);
        let range = match (proof, indexes.first()) {
            (Proof::Range, Some(first)) if in_one_run => {
                let count = indexes.len() as u64;
                let hashes = self.range_hashes(ledger, *first, count, size)?;
                Some(RangeProof {
                    first: *first,
                    count,
                    tree_size: size,
                    hashes,
                })
            }
            _ => None,
        };
        Ok(AppendAnswer {
            events,
            range,
            checkpoint,
            anchors: Vec::new(),
            repeated: true,
        })
    }
}

impl StoredEvent {
    fn into_receipt_parts(self) -> Result<(Placed, Sketch), Error> {
        let purged = |what: &str| Error {
            index: Some(self.index),
            ..Error::new(
                Code::BodyPurged,
                format!(
                    "the event at index {} has no receipt any more: its {what} is purged",
                    self.index
                ),
            )
        };
        let meta = self.meta.as_ref().ok_or_else(|| purged("meta"))?;
        let (meta_body, data) = (self.body(0), self.data());
        let commits_to_data = self.header.bodies.iter().any(|body| body.kind == BodyKind::Data);
        if commits_to_data && data.is_none() {
            return Err(purged("data"));
        }
        let committed = (0_u16..).zip(&self.header.bodies);
        let sealed = committed.filter(|(_, body)| body.kind == BodyKind::Sealed);
        let sealed = sealed.map(|(ordinal, _)| {
            let block = self
                .body(ordinal)
                .and_then(|body| SealedBlock::decode(&body.bytes).ok());
            let key = block.map(|block| KeyRef {
                handle: block.handle,
                category: block.category,
                generation: block.generation,
            });
            (ordinal, key)
        });
        let sketch = Sketch {
            stream: meta.stream.clone(),
            meta: meta_body.map(|body| body.bytes.clone()).unwrap_or_default(),
            meta_salt: meta_body.map(|body| body.salt).unwrap_or_default(),
            data_salt: data.map(|body| body.salt),
            personal: sealed.collect(),
        };
        let placed = Placed {
            id: meta.id,
            index: self.index,
            stream_ref: self.header.stream_ref,
            stream_version: self.header.stream_version,
            recorded_at: self.header.recorded_at,
            leaf_hash: leaf_hash(&self.header_bytes),
            header: self.header_bytes,
            signature: self.signature,
        };
        Ok((placed, sketch))
    }
}

fn gone(refusal: Refusal, pointer: &str) -> Error {
    match refusal {
        Refusal::Erased(_) | Refusal::Erasing(_) => subject_erased(pointer),
        Refusal::Restricted => Error::new(Code::SubjectRestricted, format!("{pointer}: the data is restricted")),
        Refusal::Unavailable => Error::new(Code::KeyUnavailable, format!("{pointer}: the key cannot be had")),
    }
}
