//! Rules for an event type: the sealed blocks of events that are old enough leave the ledger's store, and its files.
//!
//! The keys are per subject and category and live on. So nothing is destroyed that a copy of the blocks would need: backups
//! of before open them until they are deleted, which each run says. What must be out of reach of every copy is erased.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use uuid::Uuid;

use super::super::erase::{removals_of, sealed_blocks};
use super::super::hold::Holds;
use super::super::read::StoredEvent;
use super::super::{Error, Ledger, Service};
use super::RuleOutcome;
use crate::spec::event::BodyKind;
use crate::spec::ids::{Category, EventType, Handle, Timestamp};
use crate::spec::seal::SealedBlock;
use crate::spec::system::{Ground, MAX_POSITIONS};
use crate::store::{Direction, Lookup, Removal, Scrub};

/// Events that are looked at in one turn, with erasures and holds waiting, and that are read at once.
const TURN: usize = 1_024;
const CHUNK: usize = 32;
/// How often the files are written anew before it is left to the next run.
const ATTEMPTS: usize = 3;

/// What becomes of people's data of a category, as far as it was looked at within one turn.
type KeptData = HashMap<(Handle, Category), Fate>;

/// What becomes of a block whose time is over.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// Its key is gone, or going: it is for the erasure.
    Erased,
    Held,
    Restricted,
    Purged,
}

/// Where a body stood: index, ordinal and kind.
type Place = (u64, u16, BodyKind);

impl Service {
    /// Counts what is due.
    pub(super) fn count_bodies(
        &self,
        ledger: &Ledger,
        event_type: &EventType,
        outcome: &mut RuleOutcome,
    ) -> Result<(), Error> {
        let (holds, events) = (
            self.active_holds(ledger)?,
            self.old_events(ledger, event_type, outcome)?,
        );
        self.due_bodies(ledger, &holds, &events, outcome).map(drop)
    }

    /// Removes what is due. Gives the indexes of the events that say so.
    pub(super) async fn purge_type(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        run: Uuid,
        event_type: &EventType,
        outcome: &mut RuleOutcome,
    ) -> Result<Vec<u64>, Error> {
        let (of, asked) = (event_type.clone(), outcome.clone());
        let find = move |service: &Self, ledger: &Ledger| service.old_events(ledger, &of, &asked);
        let events = self.blocking(ledger, find).await?;
        let mut purges = Vec::new();
        for events in events.chunks(TURN) {
            // No body is removed twice, and a hold stands before this, or after it.
            let _removing = self.removing.lock().await;
            let _holds = ledger.erasing.turn.lock().await;
            let (events, mut counted) = (events.to_vec(), outcome.clone());
            let due = move |service: &Self, ledger: &Ledger| {
                let holds = service.active_holds(ledger)?;
                let removals = service.due_bodies(ledger, &holds, &events, &mut counted)?;
                Ok((removals, counted))
            };
            let (removals, counted) = self.blocking(ledger, due).await?;
            *outcome = counted;
            for part in removals.chunks(MAX_POSITIONS) {
                let run = Some(run.to_string());
                let purge = self.append_purge(ledger, (Ground::Retention, None), run, part.to_vec());
                purges.extend(purge.await?);
                outcome.purged += part.len() as u64;
            }
        }
        Ok(purges)
    }

    /// The events of a type that are old enough.
    fn old_events(&self, ledger: &Ledger, event_type: &EventType, outcome: &RuleOutcome) -> Result<Vec<u64>, Error> {
        let end = self.first_at_or_after(ledger, outcome.cutoff)?;
        let lookup = Lookup::Type(event_type.clone());
        let number = ledger.record.number;
        Ok(self
            .store
            .find(number, &lookup, 0..end, Direction::Forward, usize::MAX)?)
    }

    /// The blocks of events that are due and nothing keeps, in the order of their places; all are counted.
    fn due_bodies(
        &self,
        ledger: &Ledger,
        holds: &Holds,
        events: &[u64],
        outcome: &mut RuleOutcome,
    ) -> Result<Vec<Removal>, Error> {
        let (mut removals, mut kept) = (Vec::new(), KeptData::new());
        for chunk in events.chunks(CHUNK) {
            for event in self.readable_events(ledger, chunk, &mut Vec::new())? {
                let mut purged = Vec::new();
                for (ordinal, block) in sealed_blocks(&event) {
                    match self.fate(ledger, (holds, &mut kept), &event, &block)? {
                        Fate::Erased => continue,
                        Fate::Held => outcome.held += 1,
                        Fate::Restricted => outcome.restricted += 1,
                        Fate::Purged => purged.push(ordinal),
                    }
                    outcome.due += 1;
                }
                removals.extend(removals_of(&event, |ordinal, _| purged.contains(&ordinal)));
            }
        }
        Ok(removals)
    }

    fn fate(
        &self,
        ledger: &Ledger,
        (holds, kept): (&Holds, &mut KeptData),
        event: &StoredEvent,
        block: &SealedBlock,
    ) -> Result<Fate, Error> {
        if self.is_erased(ledger, block) {
            return Ok(Fate::Erased);
        }
        if holds.on_stream(event.header.stream_ref).is_some() {
            return Ok(Fate::Held);
        }
        match kept.entry((block.handle, block.category.clone())) {
            Entry::Occupied(known) => Ok(*known.get()),
            Entry::Vacant(unknown) => {
                let fate = self.fate_of_data(ledger, holds, block.handle, &block.category)?;
                Ok(*unknown.insert(fate))
            }
        }
    }

    fn fate_of_data(&self, ledger: &Ledger, holds: &Holds, handle: Handle, category: &Category) -> Result<Fate, Error> {
        let categories = Some(std::slice::from_ref(category));
        Ok(if !self.holds_on(ledger, holds, handle, categories)?.is_empty() {
            Fate::Held
        } else if !self.restrictions_on(ledger, handle, categories).is_empty() {
            Fate::Restricted
        } else {
            Fate::Purged
        })
    }

    /// Writes the files anew in which purged blocks lie, those of earlier runs that did not come to it too. Gives when they
    /// were found so.
    pub(super) async fn scrub_purged(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<Option<Timestamp>, Error> {
        for _ in 0..ATTEMPTS {
            let scrub = |service: &Self, ledger: &Ledger| {
                let (bodies, is_all) = service.unscrubbed(ledger)?;
                let scrub = Scrub {
                    bodies,
                    handles: Vec::new(),
                    names: false,
                };
                Ok((scrub.bodies.is_empty() || service.scrub_store(ledger, &scrub)?, is_all))
            };
            match self.blocking(ledger, scrub).await? {
                (true, true) => return Ok(Some(self.clock.now())),
                // Of what a purge that cannot be read removed nothing is known.
                (true, false) => return Ok(None),
                (false, _) => {}
            }
        }
        tracing::warn!(ledger = %ledger.record.name, "files in which purged blocks lay are still held; the next run of retention tries again");
        Ok(None)
    }

    /// The blocks that retention purged since the last run after which the files were written anew, and whether these are all.
    fn unscrubbed(&self, ledger: &Ledger) -> Result<(Vec<Place>, bool), Error> {
        let since = self.scrubbed_until(ledger)?;
        let (purges, unread) = self.purges_since(ledger, since)?;
        let own = purges
            .into_iter()
            .filter(|(_, purge)| purge.ground == Ground::Retention);
        let positions = own.flat_map(|(_, purge)| purge.positions);
        let bodies = positions.map(|position| (position.index, position.ordinal, BodyKind::Sealed));
        Ok((bodies.collect(), unread.is_empty()))
    }
}
