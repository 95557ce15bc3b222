//! Rules for a category: the keys of subjects whose data is due are destroyed.

use std::sync::Arc;

use uuid::Uuid;

use super::super::erase::{ErasureRequest, sealed_blocks};
use super::super::own::By;
use super::super::reopen::ReopeningReason;
use super::super::{Error, Ledger, Service};
use super::{BATCH, RuleOutcome};
use crate::keystore::SubjectState;
use crate::spec::ids::{Category, Handle, Timestamp};
use crate::spec::system::{Basis, Reason};
use crate::store::{Direction, Lookup};

/// Events that are read at once.
const CHUNK: usize = 32;

impl Service {
    /// Erases the category of everybody of whom it is due.
    pub(super) async fn erase_category(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        run: (Uuid, &By),
        category: &Category,
        outcome: &mut RuleOutcome,
    ) -> Result<Vec<Uuid>, Error> {
        let (of, mut counted) = (category.clone(), outcome.clone());
        let due = move |service: &Self, ledger: &Ledger| {
            let due = service.due_subjects(ledger, &of, &mut counted)?;
            Ok((due, counted))
        };
        let (due, counted) = self.blocking(ledger, due).await?;
        *outcome = counted;
        let mut erasures = Vec::new();
        for batch in due.chunks(BATCH) {
            let erased = self.erase_due(ledger, run, category, batch.to_vec(), outcome).await?;
            erasures.extend(erased);
        }
        Ok(erasures)
    }

    /// Erases the category of a batch of subjects, as far as it is still due and nothing holds it.
    async fn erase_due(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        (run, by): (Uuid, &By),
        category: &Category,
        handles: Vec<Handle>,
        outcome: &mut RuleOutcome,
    ) -> Result<Option<Uuid>, Error> {
        let _turn = ledger.erasing.turn.lock().await;
        let (of, mut counted) = (category.clone(), outcome.clone());
        let free = move |service: &Self, ledger: &Ledger| {
            // Once more, now that nothing else erases or holds: data that came since the count stays.
            let still = service.still_due(ledger, &of, handles, counted.cutoff)?;
            let free = service.unblocked(ledger, &of, still, &mut counted)?;
            Ok((free, counted))
        };
        let (free, counted) = self.blocking(ledger, free).await?;
        *outcome = counted;
        if free.is_empty() {
            return Ok(None);
        }
        let done = self.erase_and_reopen(ledger, (run, by), category, &free).await;
        // What was erased and not reopened is looked after by the tick.
        let id = done.inspect_err(|_| ledger.leave_unsettled())?;
        outcome.erased += free.len() as u64;
        Ok(Some(id))
    }

    async fn erase_and_reopen(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        (run, by): (Uuid, &By),
        category: &Category,
        free: &[Handle],
    ) -> Result<Uuid, Error> {
        let request = Arc::new(ErasureRequest {
            subjects: None,
            handles: Some(free.to_vec()),
            categories: Some(vec![category.clone()]),
            basis: Basis::Retention,
            reason: Reason::Retention,
            note: None,
            wait: false,
            grace_seconds: None,
            recipients: None,
        });
        let id = self.erase_living(ledger, (run, by.clone()), &request, free).await?;
        let reopened = free.iter().map(|handle| (*handle, vec![category.clone()])).collect();
        self.reopen_all(ledger, by.clone(), reopened, ReopeningReason::Retention)
            .await?;
        Ok(id)
    }

    /// The subjects whose data of a category is due.
    pub(super) fn due_subjects(
        &self,
        ledger: &Ledger,
        category: &Category,
        outcome: &mut RuleOutcome,
    ) -> Result<Vec<Handle>, Error> {
        let holders = self.keystore.holders(ledger.record.id, category)?;
        let due = self.still_due(ledger, category, holders, outcome.cutoff)?;
        outcome.due = due.len() as u64;
        Ok(due)
    }

    fn still_due(
        &self,
        ledger: &Ledger,
        category: &Category,
        handles: Vec<Handle>,
        cutoff: Timestamp,
    ) -> Result<Vec<Handle>, Error> {
        let end = self.first_at_or_after(ledger, cutoff)?;
        let mut due = Vec::new();
        for handle in handles {
            let state = self.keystore.state(ledger.record.id, handle)?;
            if !matches!(state, SubjectState::Active | SubjectState::Restricted) {
                continue;
            }
            // IMPORTANT: what somebody else erases, or erased, is not ours to open again.
            if !self.closing(ledger, (handle, category)).is_empty() {
                continue;
            }
            let reopened = self.keystore.reopened_of(ledger.record.id, handle).into_iter();
            let mut generations = reopened.filter(|reopened| reopened.category == *category);
            let from = generations.next().map_or(1, |reopened| reopened.generation);
            let block = (handle, category, from);
            // A key without any block is of an append that is under way, or never was used: it is not due.
            // IMPORTANT: an event that cannot be read counts as new data, never as old: late is mended, destroyed is not.
            if !self.has_block(ledger, block, end..u64::MAX, true)? && self.has_block(ledger, block, 0..end, false)? {
                due.push(handle);
            }
        }
        Ok(due)
    }

    /// Whether an event in the range has a block of the subject's category, of this key generation or a later one; `unclear`
    /// if none has that can be read, and one cannot.
    fn has_block(
        &self,
        ledger: &Ledger,
        (handle, category, generation): (Handle, &Category, u32),
        range: std::ops::Range<u64>,
        unclear: bool,
    ) -> Result<bool, Error> {
        let end = range.end.min(self.view(ledger)?.size());
        let lookup = Lookup::Handle(handle);
        let number = ledger.record.number;
        let range = range.start.min(end)..end;
        let indexes = self
            .store
            .find(number, &lookup, range, Direction::Backward, usize::MAX)?;
        let mut unread = Vec::new();
        for chunk in indexes.chunks(CHUNK) {
            for event in self.readable_events(ledger, chunk, &mut unread)? {
                let mut blocks = sealed_blocks(&event);
                if blocks.any(|(_, block)| {
                    block.handle == handle && block.category == *category && block.generation >= generation
                }) {
                    return Ok(true);
                }
            }
        }
        Ok(unclear && !unread.is_empty())
    }

    /// Those whom neither hold nor restriction keeps; the others are counted.
    pub(super) fn unblocked(
        &self,
        ledger: &Ledger,
        category: &Category,
        handles: Vec<Handle>,
        outcome: &mut RuleOutcome,
    ) -> Result<Vec<Handle>, Error> {
        let (holds, categories) = (self.active_holds(ledger)?, std::slice::from_ref(category));
        let mut free = Vec::new();
        for handle in handles {
            if !self.holds_on(ledger, &holds, handle, Some(categories))?.is_empty() {
                outcome.held += 1;
            } else if !self.restrictions_on(ledger, handle, Some(categories)).is_empty() {
                outcome.restricted += 1;
            } else {
                free.push(handle);
            }
        }
        Ok(free)
    }
}
