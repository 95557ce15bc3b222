//! A change of epoch on demand.
//!
//! Who asks, and from which epoch on, is kept as a record beside the events before anything changes, and leaves in the write
//! of `epoch.changed`. So a change that became durable is told by the ledger, at the latest at the next start; after a crash
//! in between, `changed_at` is when it was found.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::super::access::internal;
use super::super::{Caller, Code, Error, Ledger, Service};
use super::{CHANGED, EpochChanged, STREAM, VaultMoved};
use crate::keystore::vault::Epoch;
use crate::store::RecordWrite;

const RECORD: &str = "epoch_change";
/// One at a time: a ledger changes its epoch under its turn.
const ID: &str = "pending";

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
            let changed = service
                .blocking(&on, move |service, on| service.renew_epoch(on, by))
                .await?;
            service.record_change(&on, &changed).await?;
            Ok(changed)
        });
        task.await.map_err(internal)?
    }

    fn renew_epoch(&self, ledger: &Ledger, by: String) -> Result<EpochChanged, Error> {
        let from = self.keystore.epoch(ledger.record.id)?;
        let pending = Pending { from, by };
        let record = pending_change(ledger, Some(serde_json::to_vec(&pending).map_err(internal)?));
        self.store.put_records(&[record])?;
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
        let done = vec![pending_change(ledger, None)];
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
        self.kept_fold(ledger, &ledger.epochs, |book| book.changed_to.contains(&to))
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
        let Some(bytes) = self.store.record(Some(ledger.record.number), RECORD, ID)? else {
            return Ok(None);
        };
        let damaged = |error| Error::new(Code::Damaged, "the record of a change of epoch").caused_by(error);
        let Pending { from, by } = serde_json::from_slice(&bytes).map_err(damaged)?;
        let to = self.keystore.epoch(ledger.record.id)?;
        let completed = self.all_erasures(ledger)?.into_iter().filter_map(|erasure| {
            let is_own = erasure.requested.payload.origin.is_none();
            erasure.completed.filter(|_| is_own)
        });
        let mut ends = completed.map(|completed| completed.payload.epochs.to);
        if to <= from || ends.any(|end| end == to) || self.is_recorded(ledger, to)? {
            // Nothing was changed, or what did it says so.
            self.store.put_records(&[pending_change(ledger, None)])?;
            return Ok(None);
        }
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

fn pending_change(ledger: &Ledger, value: Option<Vec<u8>>) -> RecordWrite {
    RecordWrite {
        ledger: Some(ledger.record.number),
        kind: RECORD,
        id: ID.into(),
        value,
    }
}
