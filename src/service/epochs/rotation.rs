//! A change of epoch on demand.
//!
//! Who asks, and from which epoch on, is kept as a record beside the events before anything changes, and leaves in the write
//! of `epoch.changed`. So a change that became durable is told by the ledger: by the tick, before the next one, at the latest at
//! the next start. `changed_at` is then when it was found, and where it led to follows from the changes after it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::super::access::internal;
use super::super::{Caller, Error, Ledger, Service};
use super::{CHANGED, EpochChanged, STREAM, VaultMoved, settled};
use crate::keystore::vault::Epoch;

const RECORD: &str = "epoch_change";

/// A change that may have been made.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    from: Epoch,
    by: String,
}

impl Service {
    /// Wraps all keys of a ledger anew, under a new epoch key. Nobody is erased and no proof changes.
    ///
    /// # Errors
    /// If key store or vault cannot be written; whatever appending may answer.
    pub async fn rotate_epoch(self: &Arc<Self>, ledger: &Arc<Ledger>, caller: &Caller) -> Result<EpochChanged, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), caller.key.id.clone());
        // A task of its own: a caller who hangs up must not leave a change without its record.
        let task = tokio::spawn(async move {
            let _turn = on.erasing.turn.lock().await;
            // The record of an earlier change comes first: its note would be lost.
            service.settle_pending(&on).await?;
            let changed = service.change_epoch(&on, by).await;
            changed.inspect_err(|_| on.unrecorded.store(true, Ordering::Release))
        });
        task.await.map_err(internal)?
    }

    async fn change_epoch(self: &Arc<Self>, ledger: &Arc<Ledger>, by: String) -> Result<EpochChanged, Error> {
        let renew = move |service: &Self, ledger: &Ledger| service.renew_epoch(ledger, by);
        let changed = self.blocking(ledger, renew).await?;
        self.record_change(ledger, &changed).await?;
        Ok(changed)
    }

    fn renew_epoch(&self, ledger: &Ledger, by: String) -> Result<EpochChanged, Error> {
        let from = self.keystore.epoch(ledger.record.id)?;
        let pending = Pending { from, by };
        self.note_pending(ledger, RECORD, &pending)?;
        let (change, changed_at) = self.keystore.renew_epoch(ledger.record.id, &self.horizon())?;
        Ok(EpochChanged {
            from: change.from,
            to: change.to,
            changed_at,
            epoch_key_due_at: self.retired(ledger)?.get(&change.from).copied(),
            vault: None,
            by: pending.by,
        })
    }

    async fn record_change(&self, ledger: &Ledger, changed: &EpochChanged) -> Result<(), Error> {
        let event = self.system_event(STREAM, CHANGED, changed, None)?;
        let done = vec![settled(ledger, RECORD)];
        self.append_patiently(ledger, &event, done).await.map(drop)
    }

    /// Puts on record that a ledger's keys went to another vault. Repeating it changes nothing.
    ///
    /// # Errors
    /// Whatever appending may answer.
    pub async fn record_move(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        (from, to): (Epoch, Epoch),
        moved: VaultMoved,
    ) -> Result<(), Error> {
        // A frozen log records nothing any more, and the log that goes on counts epochs of its own.
        if ledger.is_frozen() || self.is_recorded(ledger, to)? {
            return Ok(());
        }
        let changed = EpochChanged {
            from,
            to,
            changed_at: self.clock.now(),
            epoch_key_due_at: None,
            vault: Some(moved),
            by: "vault move".to_owned(),
        };
        let event = self.system_event(STREAM, CHANGED, &changed, None)?;
        self.append_at_last(ledger, &event).await.map(drop)
    }

    /// Whether a change to this epoch is on record.
    fn is_recorded(&self, ledger: &Ledger, to: Epoch) -> Result<bool, Error> {
        self.kept_fold(ledger, &ledger.epochs, |book| {
            book.changed.values().any(|changed| *changed == to)
        })
    }

    /// Puts a change on record that broke off before it was.
    pub(super) async fn settle_rotation(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        match self.blocking(ledger, Self::broken_off).await? {
            Some(changed) if !ledger.is_frozen() => self.record_change(ledger, &changed).await,
            _ => Ok(()),
        }
    }

    /// The change that was asked for and made, and that no event tells of.
    fn broken_off(&self, ledger: &Ledger) -> Result<Option<EpochChanged>, Error> {
        let Some(Pending { from, by }) = self.pending(ledger, RECORD)? else {
            return Ok(None);
        };
        let now = self.keystore.epoch(ledger.record.id)?;
        let mut told = self.kept_fold(ledger, &ledger.epochs, |book| book.changed.clone())?;
        // What an erasure changed stands with its fences, in the very write that changed it.
        let fences = self.keystore.fences(ledger.record.id)?;
        let destroyed = fences.iter().filter_map(|fence| fence.destroyed);
        told.extend(destroyed.map(|destroyed| (destroyed.from, destroyed.to)));
        let Some(to) = untold(from, now, &told) else {
            self.store.put_records(&[settled(ledger, RECORD)])?;
            return Ok(None);
        };
        Ok(Some(EpochChanged {
            from,
            to,
            changed_at: self.clock.now(),
            epoch_key_due_at: self.retired(ledger)?.get(&from).copied(),
            vault: None,
            by,
        }))
    }
}

/// Where a change from an epoch led to; `None` if none was made, or one of those that are told. The changes after it began
/// where it ended.
fn untold(from: Epoch, now: Epoch, told: &BTreeMap<Epoch, Epoch>) -> Option<Epoch> {
    if told.contains_key(&from) {
        return None;
    }
    let after = told.range(from.saturating_add(1)..=now).next();
    Some(after.map_or(now, |(began, _)| *began)).filter(|to| *to > from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_apart_from_those_before_and_after_it() {
        let told = |changes: &[(Epoch, Epoch)]| changes.iter().copied().collect();
        let erasures = [(2, 4), (5, 6), (6, 9)];
        // Between them: from 4 to 5; nothing else is missing.
        assert_eq!(untold(4, 9, &told(&erasures)), Some(5));
        assert_eq!(untold(2, 9, &told(&erasures)), None);
        assert_eq!(untold(6, 9, &told(&erasures)), None);
        assert_eq!(
            (untold(9, 9, &told(&erasures)), untold(9, 11, &told(&erasures))),
            (None, Some(11))
        );
        assert_eq!(untold(3, 2, &told(&[])), None);
    }
}
