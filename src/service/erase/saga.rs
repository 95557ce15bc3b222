//! The steps around the destruction of the keys: the request, the check, the record of the end.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::access::internal;
use super::super::own::By;
use super::super::read::{StoredEvent, key_of, open_under};
use super::super::{Code, Error, Ledger, Service};
use super::destroy::Deleted;
use super::history::Erasure;
use super::note::frozen_note;
use super::payload::{
    COMPLETED, Completed, EPOCH_KEY, Named, Outcome, PENDING, REQUESTED, Requested, STREAM, Verified,
};
use super::{ErasureRequest, Targets};
use crate::keystore::{ErasureOrder, KeyLease, KeyRef, Places, Suppression};
use crate::sequencer::{Appended, NewEvent};
use crate::spec::event::BodyKind;
use crate::spec::ids::Timestamp;
use crate::spec::seal::SealedBlock;
use crate::spec::system::{Epochs, Position, Suppressed};
use crate::store::{Direction, Lookup, RecordWrite};

/// Blocks of a subject that are tried after the destruction, and of all subjects of a request together. At least one of
/// each is.
const SAMPLE: u64 = 32;
const SAMPLE_TOGETHER: u64 = 512;

/// How long a full queue is left alone.
const QUEUE_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// The algorithms of the keys that an erasure destroys.
const ALGORITHMS: [&str; 3] = ["AES-256-GCM", "HKDF-SHA-256", "HMAC-SHA-256"];

/// Bits of every key that it destroys.
const KEY_BITS: u16 = 256;

impl Service {
    /// What a request will be recorded as.
    pub(super) fn requested(
        &self,
        ledger: &Ledger,
        by: By,
        request: &ErasureRequest,
        targets: &Targets,
    ) -> Result<Requested, Error> {
        if ledger.is_frozen() && request.note.is_some() {
            return Err(frozen_note());
        }
        let now = self.clock.now();
        let suppression = match self.policy.suppression.at(now)? {
            Suppression::Forever => None,
            Suppression::None => Some(Suppressed::None),
            Suppression::Until(time) => Some(Suppressed::Until(time)),
        };
        Ok(Requested {
            request: self.fresh_id(),
            origin: ledger.is_frozen().then(|| ledger.record.origin.clone()),
            subjects: targets.handles.iter().map(|handle| Named { handle: *handle }).collect(),
            categories: request.categories.clone(),
            basis: request.basis,
            reason: request.reason,
            due_at: one_month_after(now)?,
            submitted_at: None,
            run: None,
            recipients: request.recipients.clone().filter(|named| !named.is_empty()),
            // Without a whole person there is no id to suppress.
            suppression: suppression.filter(|_| request.categories.is_none()),
            already_erased: targets.already_erased,
            identifiers: [
                request.subjects.as_ref().map(Vec::len),
                request.handles.as_ref().map(Vec::len),
            ]
            .into_iter()
            .flatten()
            .map(|given| given as u64)
            .sum(),
            by: by.by,
            roles: by.roles,
        })
    }

    /// Step 1. From this event on the sequencer refuses what names the subjects.
    pub(super) async fn request_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        request: &Arc<ErasureRequest>,
        payload: Requested,
    ) -> Result<Erasure, Error> {
        let first = payload.subjects.first().map(|named| named.handle);
        let (event, asked) = (self.requested_event(&payload)?, Arc::clone(request));
        let seal = move |service: &Self, ledger: &Ledger| service.seal_note(ledger, &asked, first, event);
        let event = self.blocking(ledger, seal).await?;
        self.record_request(ledger, payload, event).await
    }

    /// The event `erasure.requested`, without a note.
    pub(super) fn requested_event(&self, payload: &Requested) -> Result<NewEvent, Error> {
        let mut event = self.system_event(STREAM, REQUESTED, payload, Some(payload.request.to_string()))?;
        event.subjects = payload.subjects.iter().map(|named| (named.handle, None)).collect();
        Ok(event)
    }

    /// Records that an erasure begins.
    pub(super) async fn record_request(
        &self,
        ledger: &Ledger,
        payload: Requested,
        event: NewEvent,
    ) -> Result<Erasure, Error> {
        let mut erasure = Erasure::new(payload);
        let fences = erasure.fences().collect();
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], fences, Vec::new())
            .await;
        // It may be recorded all the same; `retry_erasures` looks.
        let appended = appended.inspect_err(|_| ledger.unfinished.store(true, Ordering::Release))?;
        if let Some(placed) = appended.events.first() {
            erasure.place(placed);
        }
        Ok(erasure)
    }

    /// Steps 6 and 7.
    pub(super) async fn complete(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        erasure: Erasure,
        deleted: Deleted,
    ) -> Result<Erasure, Error> {
        let from = erasure.clone();
        let check = move |service: &Self, ledger: &Ledger| {
            let span = span!("erasure.verify");
            span.in_scope(|| service.completion(ledger, &from, &deleted))
        };
        let payload = self.blocking(ledger, check).await?;
        let request = payload.request;
        let event = self.system_event(STREAM, COMPLETED, &payload, Some(request.to_string()))?;
        let appended = traced!(self.append_at_last(ledger, &event), "erasure.complete", %request).await?;
        let completed = Some(self.as_recorded(&appended, payload));
        ledger.residues.at_latest(Timestamp(0));
        Ok(Erasure { completed, ..erasure })
    }

    /// The keys are gone and the ledger must say so: a full queue is waited for.
    pub(in crate::service) async fn append_at_last(
        &self,
        ledger: &Ledger,
        event: &NewEvent,
    ) -> Result<Appended, Error> {
        self.append_patiently(ledger, event, Vec::new()).await
    }

    /// As [`Service::append_at_last`], with records beside the event.
    pub(in crate::service) async fn append_patiently(
        &self,
        ledger: &Ledger,
        event: &NewEvent,
        records: Vec<RecordWrite>,
    ) -> Result<Appended, Error> {
        loop {
            let events = vec![event.clone()];
            match self
                .append_system(ledger, Vec::new(), events, Vec::new(), records.clone())
                .await
            {
                Err(error) if error.code == Code::Overloaded => tokio::time::sleep(QUEUE_PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// Step 6, and what it found as the payload of step 7.
    fn completion(&self, ledger: &Ledger, erasure: &Erasure, deleted: &Deleted) -> Result<Completed, Error> {
        let orders = erasure.orders();
        let mut verification = Verified {
            sampled: 0,
            opened: 0,
            keys_left: deleted.left.keys,
            identity_resolves: deleted.left.leads_to_identity,
        };
        let sample = (SAMPLE_TOGETHER / (orders.len() as u64).max(1)).clamp(1, SAMPLE);
        let mut subjects = Vec::with_capacity(orders.len());
        for ((order, destroyed), places) in orders.iter().zip(&deleted.orders).zip(&deleted.places) {
            let (events, blocks) = self.verify_destroyed(ledger, (order, places), sample, &mut verification)?;
            subjects.push(Outcome {
                handle: order.handle,
                keys_destroyed: destroyed.keys,
                identity_destroyed: destroyed.identities > 0,
                events,
                blocks,
            });
        }
        if verification.opened > 0 || verification.keys_left > 0 || verification.identity_resolves {
            let detail =
                "an erased person's data can still be opened; the erasure stays open and is tried again at start";
            return Err(Error::new(Code::Damaged, detail));
        }
        let due_at = deleted.retired.values().max().copied();
        let pending = PENDING.into_iter().chain(due_at.map(|_| EPOCH_KEY));
        let epochs = deleted.orders.iter().map(|order| (order.from, order.to));
        Ok(Completed {
            request: erasure.requested.payload.request,
            subjects,
            fenced_at: deleted.fenced_at,
            keys_deleted_at: deleted.deleted_at,
            keys_destroyed_at: deleted.destroyed_at,
            epochs: Epochs {
                from: epochs.clone().map(|(from, _)| from).min().unwrap_or_default(),
                to: epochs.map(|(_, to)| to).max().unwrap_or_default(),
            },
            epoch_key_due_at: due_at,
            retired_epochs: deleted.retired.keys().copied().collect(),
            algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
            key_bits: KEY_BITS,
            verification,
            pending: pending.map(str::to_owned).collect(),
        })
    }

    /// Tries the newest blocks. Gives the events that concern the subject and the blocks that the order covers.
    fn verify_destroyed(
        &self,
        ledger: &Ledger,
        (order, places): (&ErasureOrder, &Places),
        sample: u64,
        seen: &mut Verified,
    ) -> Result<(u64, u64), Error> {
        let size = self.view(ledger)?.size();
        let lookup = Lookup::Handle(order.handle);
        let indexes = self
            .store
            .find(ledger.record.number, &lookup, 0..size, Direction::Backward, usize::MAX)?;
        let (concerned, mut blocks) = (indexes.len() as u64, 0);
        let mut newest: HashMap<KeyRef, Vec<Position>> = HashMap::new();
        for index in indexes {
            // What cannot be read cannot be tried either: the ciphertext stays pending (`purge`).
            let Some(event) = self.readable_events(ledger, &[index], &mut Vec::new())?.pop() else {
                continue;
            };
            for (ordinal, block) in sealed_blocks(&event) {
                let covered = order
                    .categories
                    .as_ref()
                    .is_none_or(|categories| categories.contains(&block.category));
                if block.handle != order.handle || !covered {
                    continue;
                }
                blocks += 1;
                if blocks <= sample {
                    let position = Position { index, ordinal };
                    newest.entry(key_of(&block)).or_default().push(position);
                }
            }
        }
        self.try_to_open(ledger, places, newest, seen)?;
        Ok((concerned, blocks))
    }

    /// Tries to open blocks with whatever the key store's database still has of their keys, past fences and caches.
    fn try_to_open(
        &self,
        ledger: &Ledger,
        places: &Places,
        blocks: HashMap<KeyRef, Vec<Position>>,
        seen: &mut Verified,
    ) -> Result<(), Error> {
        let (keys, blocks): (Vec<_>, Vec<_>) = blocks.into_iter().unzip();
        let trials = self.keystore.try_keys(ledger.record.id, places, &keys)?;
        let mut rows = 0;
        for (trial, blocks) in trials.into_iter().zip(blocks) {
            rows += trial.rows;
            for position in blocks {
                seen.sampled += 1;
                if let Some(lease) = &trial.key {
                    seen.opened += u64::from(self.opens_under(ledger, lease, position)?);
                }
            }
        }
        seen.keys_left = seen.keys_left.max(rows);
        Ok(())
    }

    fn opens_under(&self, ledger: &Ledger, lease: &KeyLease, position: Position) -> Result<bool, Error> {
        let event = self.stored_event(ledger, position.index)?;
        let mut blocks = sealed_blocks(&event).filter(|(ordinal, _)| *ordinal == position.ordinal);
        Ok(blocks.any(|(ordinal, block)| open_under(lease, &event.header, ordinal, &block).is_ok()))
    }
}

pub(in crate::service) fn sealed_blocks(event: &StoredEvent) -> impl Iterator<Item = (u16, SealedBlock)> {
    event.bodies.iter().filter_map(|body| {
        let kind = event.header.bodies.get(usize::from(body.ordinal))?.kind;
        let block = (kind == BodyKind::Sealed)
            .then(|| SealedBlock::decode(&body.bytes).ok())
            .flatten()?;
        Some((body.ordinal, block))
    })
}

/// The legal limit: one calendar month (GDPR Art. 12(3)).
fn one_month_after(time: Timestamp) -> Result<Timestamp, Error> {
    use jiff::ToSpan;
    let micros = i64::try_from(time.0).map_err(internal)?;
    let start = jiff::Timestamp::from_microsecond(micros)
        .map_err(internal)?
        .to_zoned(jiff::tz::TimeZone::UTC);
    let due = start.checked_add(1.month()).map_err(internal)?.timestamp();
    u64::try_from(due.as_microsecond()).map(Timestamp).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_month_is_a_calendar_month() {
        let due = |text: &str| {
            text.parse()
                .ok()
                .and_then(|time| one_month_after(time).ok())
                .map(|due| due.to_string())
                .unwrap_or_default()
        };
        assert_eq!(due("2026-01-31T10:00:00Z"), "2026-02-28T10:00:00.000000Z");
        assert_eq!(due("2026-11-21T10:00:00Z"), "2026-12-21T10:00:00.000000Z");
    }
}
