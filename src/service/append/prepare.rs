//! Provisioning and sealing: from a request to events that only lack a place.

use std::sync::Arc;

use super::super::request::{ActorRequest, EventRequest};
use super::super::{Code, Error, FieldError, Ledger, Service};
use super::{AppendCall, blocking, subject_erased};
use crate::keystore::{KeyLease, KeyRef, Refusal, Wanted};
use crate::sequencer::NewEvent;
use crate::spec::event::{Actor, Body, BodyKind, Meta};
use crate::spec::hash::Hash;
use crate::spec::ids::{EventRef, Handle, StreamName, SubjectId};
use crate::spec::seal::{self, BlockContext};

/// Bytes of payload, and blocks, past which sealing leaves the server's own threads.
const INLINE_BYTES: usize = 64 * 1024;
const INLINE_BLOCKS: usize = 128;

/// Events ready for the sequencer, and what their receipts will say of their bodies.
pub(crate) struct Prepared {
    pub(crate) events: Vec<NewEvent>,
    pub(crate) sketches: Vec<Sketch>,
}

/// What a receipt says of an event's bodies.
pub(crate) struct Sketch {
    pub(crate) stream: StreamName,
    pub(crate) meta: Vec<u8>,
    pub(crate) meta_salt: [u8; 32],
    pub(crate) data_salt: Option<[u8; 32]>,
    /// The names of the key of each sealed block that is there.
    pub(crate) personal: Vec<(u16, Option<KeyRef>)>,
}

impl Service {
    /// Provisions all keys of a call in one go, then seals. On this thread if nothing must be written and little sealed.
    pub(super) async fn prepare(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        call: AppendCall,
    ) -> Result<(AppendCall, Prepared), Error> {
        let wanted = wanted(&call);
        let known = if wanted.is_empty() {
            Some(Vec::new())
        } else {
            self.keystore.known(ledger.record.id, &wanted)
        };
        let bytes: usize = call
            .events
            .iter()
            .flat_map(|(_, event)| &event.personal)
            .map(|block| size(&block.data))
            .sum();
        let actors = actors(&call);
        match known {
            Some(keys) if bytes < INLINE_BYTES && keys.len() <= INLINE_BLOCKS && actors.is_empty() => {
                let prepared = self.seal_all(ledger, &call, keys, Vec::new())?;
                Ok((call, prepared))
            }
            _ => {
                let (service, ledger) = (Arc::clone(self), Arc::clone(ledger));
                blocking(move || {
                    let keys = match known {
                        Some(keys) => keys,
                        None => span!("keystore.provision", blocks = wanted.len())
                            .in_scope(|| service.keystore.provision(ledger.record.id, &wanted))?,
                    };
                    let actors = service.keystore.provision_handles(ledger.record.id, &actors)?;
                    let prepared = service.seal_all(&ledger, &call, keys, actors)?;
                    Ok((call, prepared))
                })
                .await
            }
        }
    }

    fn seal_all(
        &self,
        ledger: &Ledger,
        call: &AppendCall,
        keys: Vec<Result<KeyRef, Refusal>>,
        actors: Vec<Result<Handle, Refusal>>,
    ) -> Result<Prepared, Error> {
        let span = span!("seal", blocks = keys.len());
        let _sealing = span.enter();
        let (mut keys, mut actors) = (keys.into_iter(), actors.into_iter());
        let mut prepared = Prepared {
            events: Vec::new(),
            sketches: Vec::new(),
        };
        for (at, (stream, event)) in call.events.iter().enumerate() {
            let actor = actor(at, event, &mut actors)?;
            let mut own = Vec::with_capacity(event.personal.len());
            for block in 0..event.personal.len() {
                let answer = keys.next().unwrap_or(Err(Refusal::Unavailable));
                own.push(
                    answer.map_err(|refusal| refused(refusal, &format!("/events/{at}/personal/{block}/subject")))?,
                );
            }
            let (event, sketch) = self.seal_event(ledger, call, stream, event, actor, own)?;
            prepared.events.push(event);
            prepared.sketches.push(sketch);
        }
        Ok(prepared)
    }

    fn seal_event(
        &self,
        ledger: &Ledger,
        call: &AppendCall,
        stream: &StreamName,
        request: &EventRequest,
        actor: Option<Actor>,
        keys: Vec<KeyRef>,
    ) -> Result<(NewEvent, Sketch), Error> {
        let event_ref = EventRef(self.entropy.bytes());
        let meta = Meta {
            id: request.id.unwrap_or_else(|| self.fresh_id()),
            stream: stream.clone(),
            occurred_at: request.occurred_at,
            actor,
            correlation_id: request.correlation_id.clone(),
            causation_id: request.causation_id.clone(),
            trace_parent: call.trace_parent.clone(),
            tags: request.tags.clone(),
        };
        let encoded = meta.encode();
        let mut bodies = vec![self.body(BodyKind::Meta, encoded.clone())];
        if let Some(data) = &request.data {
            bodies.push(self.body(BodyKind::Data, data.get().as_bytes().to_vec()));
        }
        let data_salt = bodies.get(1).map(|(body, _)| body.salt);
        let mut subjects: Vec<(Handle, _)> = Vec::with_capacity(keys.len() + 1);
        let mut personal = Vec::with_capacity(keys.len());
        for (block, key) in request.personal.iter().zip(keys) {
            let ordinal = u16::try_from(bodies.len()).unwrap_or(u16::MAX);
            let plaintext = block.data.as_ref().map_or("null", |data| data.get());
            let sealed = self.seal_block(ledger, event_ref, ordinal, &key, plaintext.as_bytes())?;
            bodies.push(self.body(BodyKind::Sealed, sealed));
            subjects.push((key.handle, Some((key.category.clone(), key.generation))));
            personal.push((ordinal, Some(key)));
        }
        if let Some(Actor::Subject(handle)) = &meta.actor {
            subjects.push((*handle, None));
        }
        let meta_salt = bodies.first().map(|(body, _)| body.salt).unwrap_or_default();
        let sketch = Sketch {
            stream: stream.clone(),
            meta: encoded,
            meta_salt,
            data_salt,
            personal,
        };
        let event = NewEvent {
            event_ref,
            event_type: request.event_type.clone(),
            schema_version: request.schema_version,
            meta,
            bodies,
            subjects,
            caller_chose_id: request.id.is_some(),
        };
        Ok((event, sketch))
    }

    fn seal_block(
        &self,
        ledger: &Ledger,
        event_ref: EventRef,
        ordinal: u16,
        key: &KeyRef,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, Error> {
        let lease = self
            .keystore
            .sealing_key(ledger.record.id, key)?
            .map_err(|refusal| refused(refusal, ""))?;
        Ok(self.seal_under(&lease, ledger, (event_ref, ordinal), key, plaintext))
    }

    /// Seals a block for its place under a key on loan; the bytes of the sealed body.
    pub(crate) fn seal_under(
        &self,
        lease: &KeyLease,
        ledger: &Ledger,
        (event_ref, ordinal): (EventRef, u16),
        key: &KeyRef,
        plaintext: &[u8],
    ) -> Vec<u8> {
        let context = BlockContext {
            origin: &ledger.record.origin,
            event_ref,
            ordinal,
            handle: key.handle,
            category: &key.category,
            generation: key.generation,
        };
        seal::seal(lease, &context, self.entropy.bytes(), plaintext).encode()
    }

    /// A body under a fresh salt, with its commitment.
    pub(crate) fn body(&self, kind: BodyKind, bytes: Vec<u8>) -> (Body, Hash) {
        let body = Body {
            kind,
            salt: self.entropy.bytes(),
            bytes,
        };
        let hash = body.commitment().hash;
        (body, hash)
    }
}

fn size(data: &Option<Box<serde_json::value::RawValue>>) -> usize {
    data.as_ref().map_or(0, |data| data.get().len())
}

/// The actor of an event; the handles of those who are subjects come in order.
fn actor(
    at: usize,
    event: &EventRequest,
    handles: &mut impl Iterator<Item = Result<Handle, Refusal>>,
) -> Result<Option<Actor>, Error> {
    match &event.actor {
        None => Ok(None),
        Some(ActorRequest::Name(name)) => Ok(Some(Actor::Name(name.clone()))),
        Some(ActorRequest::Subject(_)) => {
            let handle = handles.next().unwrap_or(Err(Refusal::Unavailable));
            let handle = handle.map_err(|refusal| refused(refusal, &format!("/events/{at}/actor/subject")))?;
            Ok(Some(Actor::Subject(handle)))
        }
    }
}

/// The subjects who act, in the order of the events.
fn actors(call: &AppendCall) -> Vec<SubjectId> {
    let subject = |actor: &ActorRequest| match actor {
        ActorRequest::Subject(subject) => Some(subject.subject.clone()),
        ActorRequest::Name(_) => None,
    };
    let actors = call.events.iter().filter_map(|(_, event)| event.actor.as_ref());
    actors.filter_map(subject).collect()
}

fn wanted(call: &AppendCall) -> Vec<Wanted> {
    let blocks = call.events.iter().flat_map(|(_, event)| &event.personal);
    blocks
        .map(|block| Wanted {
            subject: block.subject.clone(),
            category: block.category.clone(),
        })
        .collect()
}

/// Why no key was given, as an answer to the one who appends.
fn refused(refusal: Refusal, pointer: &str) -> Error {
    let field = |code, detail: &str| {
        Error::fields(
            code,
            vec![FieldError {
                pointer: pointer.into(),
                detail: detail.into(),
            }],
        )
    };
    match refusal {
        Refusal::Erased(_) => subject_erased(pointer),
        Refusal::Erasing(_) => field(Code::SubjectErasing, "this person is being erased"),
        Refusal::Restricted => field(Code::SubjectRestricted, "this person's data is restricted"),
        Refusal::Unavailable => field(
            Code::KeyUnavailable,
            "the key of this person cannot be had; see the server's log",
        ),
    }
}
