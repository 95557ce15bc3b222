//! Rules for an event type: the sealed blocks of events that are old enough leave the ledger's store, and its files.
//!
//! The keys are per subject and category and live on. So nothing is destroyed that a copy of the blocks would need: backups
//! of before open them until they are deleted, which each run says. What must be out of reach of every copy is erased.

use std::sync::Arc;

use uuid::Uuid;

use super::super::erase::{PURGED, PURGES, removals_of, sealed_blocks};
use super::super::hold::Holds;
use super::super::read::StoredEvent;
use super::super::{Error, Ledger, Service};
use super::RuleOutcome;
use crate::spec::event::BodyKind;
use crate::spec::ids::{EventType, Timestamp};
use crate::spec::seal::SealedBlock;
use crate::spec::system::{BodiesPurged, Ground, MAX_POSITIONS};
use crate::store::{Direction, Lookup, Removal, Scrub};

/// Events that are looked at in one turn, with erasures and holds waiting, and that are read at once.
const TURN: usize = 1_024;
const CHUNK: usize = 32;
/// How often the files are written anew before it is left to the next run.
const ATTEMPTS: usize = 3;

/// What becomes of a block whose time is over.
enum Fate {
    /// Its key is gone, or going: it is for the erasure.
    Erased,
    Held,
    Restricted,
    Purged,
}

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
                purges.extend(self.purge_part(ledger, run, part).await?);
                outcome.purged += part.len() as u64;
            }
        }
        Ok(purges)
    }

    async fn purge_part(&self, ledger: &Ledger, run: Uuid, part: &[Removal]) -> Result<Option<u64>, Error> {
        let positions = part.iter().map(|removal| (removal.index, removal.ordinal).into());
        let payload = BodiesPurged {
            ground: Ground::Retention,
            requests: None,
            positions: positions.collect(),
        };
        let event = self.system_event(PURGES, PURGED, &payload, Some(run.to_string()))?;
        let appended = self.append_removal(ledger, vec![event], part.to_vec()).await?;
        metrics::counter!("oubliette_purged_bodies_total", "ledger" => ledger.record.name.to_string())
            .increment(part.len() as u64);
        Ok(appended.events.first().map(|placed| placed.index))
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
        let mut removals = Vec::new();
        for chunk in events.chunks(CHUNK) {
            for event in self.stored_events_at(ledger, chunk)? {
                let mut purged = Vec::new();
                for (ordinal, block) in sealed_blocks(&event) {
                    match self.fate(ledger, holds, &event, &block)? {
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

    fn fate(&self, ledger: &Ledger, holds: &Holds, event: &StoredEvent, block: &SealedBlock) -> Result<Fate, Error> {
        let (handle, categories) = (block.handle, std::slice::from_ref(&block.category));
        let held = holds.on_stream(event.header.stream_ref).is_some();
        Ok(if self.is_erased(ledger, block) {
            Fate::Erased
        } else if held || !self.holds_on(ledger, holds, handle, Some(categories))?.is_empty() {
            Fate::Held
        } else if !self.restrictions_on(ledger, handle, Some(categories)).is_empty() {
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
                let bodies = service.unscrubbed(ledger)?;
                let scrub = Scrub {
                    bodies,
                    handles: Vec::new(),
                    names: false,
                };
                Ok(scrub.bodies.is_empty() || service.scrub_store(ledger, &scrub)?)
            };
            if self.blocking(ledger, scrub).await? {
                return Ok(Some(self.clock.now()));
            }
        }
        tracing::warn!(ledger = %ledger.record.name, "files in which purged blocks lay are still held; the next run of retention tries again");
        Ok(None)
    }

    /// The blocks that retention purged since the last run after which the files were written anew.
    fn unscrubbed(&self, ledger: &Ledger) -> Result<Vec<(u64, u16, BodyKind)>, Error> {
        let since = self.scrubbed_until(ledger)?;
        let purges = self.purges_since(ledger, since)?.into_iter();
        let own = purges.filter(|(_, purge)| purge.ground == Ground::Retention);
        let positions = own.flat_map(|(_, purge)| purge.positions);
        Ok(positions
            .map(|position| (position.index, position.ordinal, BodyKind::Sealed))
            .collect())
    }
}
