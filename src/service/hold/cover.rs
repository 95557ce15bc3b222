//! What holds cover: people, by handle, category and stream, and events.

use std::collections::HashSet;

use super::super::erase::sealed_blocks;
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use super::{Hold, HoldBook};
use crate::spec::event::{Actor, Header};
use crate::spec::ids::{Category, Handle, StreamRef};
use crate::store::{Direction, Lookup};

/// Headers that are read at once where streams are held.
const CHUNK: usize = 1_024;

/// The holds in force, ready to be asked about many people.
pub(in crate::service) struct Holds {
    active: Vec<(Hold, Option<HashSet<StreamRef>>)>,
}

impl Holds {
    /// A hold that keeps a whole stream as it is.
    pub(in crate::service) fn on_stream(&self, stream: StreamRef) -> Option<&Hold> {
        let covers = |(hold, streams): &&(Hold, Option<HashSet<StreamRef>>)| {
            let Some(scope) = hold.scope() else { return true };
            scope.handles.is_none() && streams.as_ref().is_some_and(|streams| streams.contains(&stream))
        };
        self.active.iter().find(covers).map(|(hold, _)| hold)
    }
}

impl Service {
    /// The holds in force now.
    pub(in crate::service) fn active_holds(&self, ledger: &Ledger) -> Result<Holds, Error> {
        let now = self.clock.now();
        let in_force = |book: &HoldBook| book.all().filter(|hold| hold.is_active(now)).cloned().collect();
        let holds: Vec<Hold> = self.fold_now(ledger, &ledger.holds, in_force)?;
        let mut active = Vec::with_capacity(holds.len());
        for hold in holds {
            let streams = match hold.scope().and_then(|scope| scope.streams.as_ref()) {
                Some(names) => {
                    let rows = self.store.stream_rows(ledger.record.number, names)?;
                    Some(rows.into_iter().flatten().map(|row| row.stream_ref).collect())
                }
                None => None,
            };
            active.push((hold, streams));
        }
        Ok(Holds { active })
    }

    /// The holds that cover data of a person: of these categories, or any.
    pub(in crate::service) fn holds_on<'a>(
        &self,
        ledger: &Ledger,
        holds: &'a Holds,
        handle: Handle,
        categories: Option<&[Category]>,
    ) -> Result<Vec<&'a Hold>, Error> {
        let mut covering = Vec::new();
        for (hold, streams) in &holds.active {
            let Some(scope) = hold.scope() else {
                covering.push(hold);
                continue;
            };
            if scope
                .handles
                .as_ref()
                .is_some_and(|handles| handles.binary_search(&handle).is_err())
            {
                continue;
            }
            if let Some(held) = &scope.categories
                && !self.has_any(ledger, handle, held, categories, scope.handles.is_some())?
            {
                continue;
            }
            if let Some(streams) = streams
                && !self.is_in_streams(ledger, handle, streams)?
            {
                continue;
            }
            covering.push(hold);
        }
        Ok(covering)
    }

    /// A hold that keeps an event as it is: on its stream, or on a person who has a block in it or is its actor.
    pub(in crate::service) fn hold_on_event<'a>(
        &self,
        ledger: &Ledger,
        holds: &'a Holds,
        event: &StoredEvent,
    ) -> Result<Option<&'a Hold>, Error> {
        if let Some(hold) = holds.on_stream(event.header.stream_ref) {
            return Ok(Some(hold));
        }
        let mut people: HashSet<Handle> = sealed_blocks(event).map(|(_, block)| block.handle).collect();
        if let Some(Actor::Subject(handle)) = event.meta.as_ref().and_then(|meta| meta.actor.as_ref()) {
            people.insert(*handle);
        }
        for handle in people {
            if let Some(hold) = self.holds_on(ledger, holds, handle, None)?.first() {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }

    /// Whether an erasure of these categories would reach a held one. A hold that names the person counts before there is
    /// any data; one that names categories alone needs a live key of theirs.
    fn has_any(
        &self,
        ledger: &Ledger,
        handle: Handle,
        held: &[Category],
        erased: Option<&[Category]>,
        named: bool,
    ) -> Result<bool, Error> {
        let reached: Vec<_> = held
            .iter()
            .filter(|category| erased.is_none_or(|erased| erased.contains(category)))
            .collect();
        if reached.is_empty() || named {
            return Ok(!reached.is_empty());
        }
        let keys = self.keystore.keys_of(ledger.record.id, handle)?;
        Ok(keys.iter().any(|key| reached.contains(&&key.category)))
    }

    fn is_in_streams(&self, ledger: &Ledger, handle: Handle, streams: &HashSet<StreamRef>) -> Result<bool, Error> {
        let (number, size) = (ledger.record.number, self.view(ledger)?.size());
        let lookup = Lookup::Handle(handle);
        let indexes = self
            .store
            .find(number, &lookup, 0..size, Direction::Forward, usize::MAX)?;
        for chunk in indexes.chunks(CHUNK) {
            for row in self.store.headers_at(number, chunk)?.into_iter().flatten() {
                let header = Header::decode(&row.header).map_err(|error| {
                    Error::new(Code::Damaged, format!("the header of index {}", row.index)).caused_by(error)
                })?;
                if streams.contains(&header.stream_ref) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
