//! What a redaction removes: the bodies, and every index row that led to an event because of them alone.

use std::collections::{BTreeMap, BTreeSet};

use super::super::erase::sealed_blocks;
use super::super::read::StoredEvent;
use super::super::{Code, Error, FieldError, Ledger, Service};
use super::{PublicBody, RedactedEvent, RedactionRequest, RemovedBodies};
use crate::sequencer::ExpectedVersion;
use crate::spec::event::{Actor, BodyKind, Meta};
use crate::spec::ids::{StreamName, StreamRef};
use crate::spec::system::{Position, is_reserved};
use crate::store::{Direction, Lookup, Removal};

/// Events whose envelopes are looked for at once.
const CHUNK: usize = 512;

/// What leaves, in the order of the places, and the versions at which streams must stand whose names leave too.
#[derive(Debug, Default)]
pub(super) struct Doomed {
    pub(super) removals: Vec<Removal>,
    pub(super) expected: Vec<(StreamName, ExpectedVersion)>,
}

impl Doomed {
    pub(super) fn positions(&self) -> Vec<Position> {
        let position = |removal: &Removal| Position::from((removal.index, removal.ordinal));
        self.removals.iter().map(position).collect()
    }

    pub(super) fn counts(&self) -> RemovedBodies {
        let count = |kind| self.removals.iter().filter(|removal| removal.kind == kind).count() as u64;
        RemovedBodies {
            meta: count(BodyKind::Meta),
            data: count(BodyKind::Data),
        }
    }
}

impl Service {
    /// Finds what leaves. Every body must be there and may leave, or nothing happens.
    pub(super) fn doom_bodies(&self, ledger: &Ledger, request: &RedactionRequest) -> Result<Doomed, Error> {
        let (size, holds) = (self.view(ledger)?.size(), self.active_holds(ledger)?);
        let mut bodies: BTreeMap<u64, BTreeSet<PublicBody>> = BTreeMap::new();
        for (at, event) in request.events.iter().enumerate() {
            let pointer = format!("/events/{at}");
            let stored = self.clear_event(ledger, size, at, event)?;
            if let Some(hold) = self.hold_on_event(ledger, &holds, &stored)? {
                let detail = format!("event {} is under {}; release it first", event.index, hold.named());
                return Err(named(Code::LegalHold, &pointer, detail));
            }
            bodies.entry(event.index).or_default().extend(&event.bodies);
        }
        let mut doomed = Doomed::default();
        let mut unnamed: BTreeMap<StreamName, (StreamRef, BTreeSet<u64>)> = BTreeMap::new();
        for (index, kinds) in &bodies {
            let event = self.stored_event(ledger, *index)?;
            for kind in kinds {
                let mut lookups = Vec::new();
                if let (PublicBody::Meta, Some(meta)) = (kind, &event.meta) {
                    lookups = lookups_of(&event, meta);
                    let stream = unnamed.entry(meta.stream.clone());
                    stream
                        .or_insert((event.header.stream_ref, BTreeSet::new()))
                        .1
                        .insert(*index);
                }
                doomed.removals.push(Removal {
                    index: *index,
                    ordinal: kind.ordinal(),
                    kind: kind.kind(),
                    lookups,
                    stream: None,
                });
            }
        }
        for (name, (stream, indexes)) in unnamed {
            if let Some(version) = self.version_if_unnamed(ledger, &name, stream, &indexes)? {
                let of_stream = |removal: &&mut Removal| {
                    removal.kind == BodyKind::Meta && indexes.last().is_some_and(|last| *last == removal.index)
                };
                if let Some(removal) = doomed.removals.iter_mut().find(of_stream) {
                    removal.stream = Some(name.clone());
                }
                doomed.expected.push((name, ExpectedVersion::Exactly(version)));
            }
        }
        Ok(doomed)
    }

    /// The event of which a request names bodies in clear, as its `at`th; each body must be there.
    pub(in crate::service) fn clear_event(
        &self,
        ledger: &Ledger,
        size: u64,
        at: usize,
        event: &RedactedEvent,
    ) -> Result<StoredEvent, Error> {
        let pointer = format!("/events/{at}");
        if event.index >= size {
            let detail = format!("there is no event at index {}", event.index);
            return Err(named(Code::EventNotFound, &format!("{pointer}/index"), detail));
        }
        let stored = self.stored_event(ledger, event.index)?;
        for (body, kind) in event.bodies.iter().enumerate() {
            self.check_body(ledger, &stored, *kind, &format!("{pointer}/bodies/{body}"))?;
        }
        Ok(stored)
    }

    fn check_body(&self, ledger: &Ledger, event: &StoredEvent, body: PublicBody, pointer: &str) -> Result<(), Error> {
        let own = event.meta.as_ref().is_some_and(|meta| meta.stream.is_system());
        if own || is_reserved(&event.header.event_type) {
            let detail = "belongs to one of Oubliette's own events, which say what happened; they are never redacted";
            return Err(Error::field(pointer, detail));
        }
        let ordinal = body.ordinal();
        let committed = event.header.bodies.get(usize::from(ordinal));
        if committed.is_none_or(|committed| committed.kind != body.kind()) {
            return Err(Error::field(pointer, "does not exist: the event never had one"));
        }
        if event.body(ordinal).is_some() {
            return Ok(());
        }
        let removed = self.removed(ledger, &event.absent())?;
        let (state, authority) = match removed.get(&(event.index, ordinal)) {
            Some(removed) => (removed.removal.as_str(), format!(" by event {}", removed.authority)),
            None => ("missing", ": verify the ledger".to_owned()),
        };
        let detail = format!("of event {} is {state} already{authority}", event.index);
        Err(Error {
            index: Some(event.index),
            ..named(Code::BodyPurged, pointer, detail)
        })
    }

    /// The version of a stream none of whose other events holds its name any more.
    fn version_if_unnamed(
        &self,
        ledger: &Ledger,
        name: &StreamName,
        stream: StreamRef,
        doomed: &BTreeSet<u64>,
    ) -> Result<Option<u64>, Error> {
        let number = ledger.record.number;
        let row = self.store.stream_rows(number, std::slice::from_ref(name))?.pop();
        // A name that was given up and taken again belongs to another stream.
        let Some(row) = row.flatten().filter(|row| row.stream_ref == stream) else {
            return Ok(None);
        };
        let mut version = 1;
        while version <= row.version {
            let end = version.saturating_add(CHUNK as u64).min(row.version.saturating_add(1));
            let indexes = self
                .store
                .stream_events(number, stream, version..end, Direction::Forward, CHUNK)?;
            let others = indexes.into_iter().filter(|index| !doomed.contains(index));
            let metas: Vec<_> = others.map(|index| (index, 0, BodyKind::Meta)).collect();
            if self.store.bodies_at(number, &metas)?.iter().any(Option::is_some) {
                return Ok(None);
            }
            version = end;
        }
        Ok(Some(row.version))
    }
}

/// The index rows that an envelope alone gave its event. The id leads to it still.
fn lookups_of(event: &StoredEvent, meta: &Meta) -> Vec<Lookup> {
    let mut lookups: Vec<_> = meta.tags.iter().cloned().map(Lookup::Tag).collect();
    lookups.extend(meta.correlation_id.clone().map(Lookup::Correlation));
    if let Some(Actor::Subject(handle)) = meta.actor
        && sealed_blocks(event).all(|(_, block)| block.handle != handle)
    {
        lookups.push(Lookup::Handle(handle));
    }
    lookups
}

fn named(code: Code, pointer: &str, detail: String) -> Error {
    Error::fields(
        code,
        vec![FieldError {
            pointer: pointer.into(),
            detail,
        }],
    )
}
