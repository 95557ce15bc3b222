//! Epoch keys in time: rotation on demand, and the end of retired keys at their horizon.
//!
//! A retired key lives for the sake of backups. Each second, and at start, those that are due are destroyed and that is
//! recorded as `epoch.destroyed`. The ledger remembers what was retired (`erasure.completed`, `epoch.changed`): so a crash
//! between the destruction and its record loses nothing but the exact time, and a later one stands in its place.

mod renewal;
mod rotation;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::access::internal;
use super::own::{Fold, Recorded, Unreadable, recorded};
use super::read::StoredEvent;
use super::{Code, Error, Ledger, Service};
use crate::keystore::Horizon;
use crate::keystore::vault::{Epoch, EpochKey, EpochState, KeyPlace};
use crate::spec::ids::Timestamp;
use crate::store::RecordWrite;
pub use renewal::{KeysRenewed, RenewRequest, RenewedKey};

const STREAM: &str = "$epochs";
const CHANGED: &str = "epoch.changed";
const DESTROYED: &str = "epoch.destroyed";
/// One record of each kind at a time: what it is about happens under the turn of its ledger.
const PENDING: &str = "pending";

/// How long erasures that are being completed are waited for before the end of a key is recorded.
const COMPLETION: Duration = Duration::from_secs(5);

/// The payload of `epoch.changed`: a change of epoch without an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EpochChanged {
    /// The epoch before.
    pub from: Epoch,
    /// The epoch since.
    pub to: Epoch,
    /// When the old key was destroyed, or retired until `epoch_key_due_at`.
    pub changed_at: Timestamp,
    /// Until when the old key lives, for backups taken under it; absent: it was destroyed at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_key_due_at: Option<Timestamp>,
    /// There if the keys went to another vault: the old key was destroyed in the one that they left, and so was every retired one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<VaultMoved>,
    /// The API key that asked; `vault move` for a move.
    pub by: String,
}

/// From where to where the epoch keys of a vault went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct VaultMoved {
    /// Where the old vault kept them.
    pub from: KeyPlace,
    /// Where the new one does.
    pub to: KeyPlace,
}

/// The payload of `epoch.destroyed`: a retired epoch key is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EpochDestroyed {
    pub(crate) epoch: Epoch,
    pub(crate) retired_at: Timestamp,
    pub(crate) due_at: Timestamp,
    /// After a crash in between: when its absence was found.
    pub(crate) destroyed_at: Timestamp,
}

/// A retired epoch: since when, and until when.
type Retired = (Timestamp, Timestamp);

impl Service {
    pub(super) fn horizon(&self) -> Horizon<'_> {
        Horizon {
            clock: &*self.clock,
            length: self.horizon,
        }
    }

    /// Finishes changes of epoch that broke off, and destroys what is due. Before anything is served.
    ///
    /// # Errors
    /// If the key store cannot say where it is.
    pub async fn settle_epochs(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let settle = |service: &Self, ledger: &Ledger| {
            service.keystore.settle_epochs(ledger.record.id, &service.horizon())?;
            Ok(())
        };
        self.blocking(ledger, settle).await?;
        self.blocking(ledger, Self::destroy_again).await?;
        self.expire_epochs_of(ledger).await
    }

    /// Destroys retired keys that the ledger records as destroyed: they came back with an older copy of the vault. One of the
    /// same number that was made later is another key.
    fn destroy_again(&self, ledger: &Ledger) -> Result<(), Error> {
        let (id, vault) = (ledger.record.id, self.keystore.vault());
        let mut retired = vault.epochs(id)?;
        retired.retain(|key| matches!(key.state, EpochState::Retired { .. }));
        self.kept_fold(ledger, &ledger.epochs, |book| {
            let is_gone = |gone: &Recorded<EpochDestroyed>, key: &EpochKey| key.born <= gone.payload.destroyed_at;
            retired.retain(|key| book.destroyed(key.epoch).is_some_and(|gone| is_gone(gone, key)));
        })?;
        for key in retired {
            tracing::warn!(ledger = %ledger.record.name, epoch = key.epoch, "the vault holds an epoch key that is recorded as destroyed: it was put back from an older copy; destroying it again");
            vault.destroy_epoch(id, key.epoch)?;
        }
        Ok(())
    }

    /// Destroys the retired epoch keys that are due, in every ledger. Called every few seconds.
    pub async fn expire_epochs(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            let due = self.due(&ledger).unwrap_or(true);
            if !due && !ledger.unrecorded.load(Ordering::Acquire) {
                continue;
            }
            if let Err(error) = self.expire_epochs_of(&ledger).await {
                tracing::error!(ledger = %ledger.record.name, error = %error, "an epoch key that is due could not be destroyed; trying again");
            }
        }
    }

    fn due(&self, ledger: &Ledger) -> Result<bool, Error> {
        let now = self.clock.now();
        Ok(self.retired(ledger)?.into_values().any(|until| until <= now))
    }

    async fn expire_epochs_of(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        ledger.unrecorded.store(true, Ordering::Release);
        let _turn = ledger.erasing.turn.lock().await;
        // IMPORTANT: first, and by the vault's own list: no event that cannot be read or written keeps a key alive.
        let destroyed = self.blocking(ledger, Self::destroy_due).await?;
        self.settle_pending(ledger).await?;
        // An erasure that counts a key as living is completed before that key is recorded as gone.
        if !ledger.erasing.completed_within(COMPLETION).await {
            return Ok(());
        }
        let unrecorded = move |service: &Self, ledger: &Ledger| service.unrecorded_epochs(ledger, destroyed);
        for gone in self.blocking(ledger, unrecorded).await? {
            if ledger.is_frozen() {
                // A frozen log records nothing any more, and the log that goes on counts epochs of its own.
                tracing::info!(ledger = %ledger.record.name, epoch = gone.epoch, "a retired epoch key of a frozen log is destroyed");
                continue;
            }
            let event = self.system_event(STREAM, DESTROYED, &gone, None)?;
            self.append_at_last(ledger, &event).await?;
        }
        ledger.unrecorded.store(false, Ordering::Release);
        Ok(())
    }

    /// Puts changes of epoch and new keys on record that broke off before they were; the caller holds the turn.
    async fn settle_pending(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        self.settle_rotation(ledger).await?;
        self.settle_renewal(ledger).await
    }

    /// What was noted before something changed that an event is to tell.
    fn pending<T: DeserializeOwned>(&self, ledger: &Ledger, kind: &'static str) -> Result<Option<T>, Error> {
        let Some(bytes) = self.store.record(Some(ledger.record.number), kind, PENDING)? else {
            return Ok(None);
        };
        let damaged = |error| Error::new(Code::Damaged, format!("the record {kind}")).caused_by(error);
        serde_json::from_slice(&bytes).map(Some).map_err(damaged)
    }

    /// Notes it, durably.
    fn note_pending<T: Serialize>(&self, ledger: &Ledger, kind: &'static str, noted: &T) -> Result<(), Error> {
        let note = RecordWrite {
            value: Some(serde_json::to_vec(noted).map_err(internal)?),
            ..settled(ledger, kind)
        };
        Ok(self.store.put_records(&[note])?)
    }

    /// Destroys what is due. Gives what it destroyed.
    fn destroy_due(&self, ledger: &Ledger) -> Result<Vec<EpochDestroyed>, Error> {
        let (id, vault, now) = (ledger.record.id, self.keystore.vault(), self.clock.now());
        let mut destroyed = Vec::new();
        for key in vault.epochs(id)? {
            if let EpochState::Retired { since, until } = key.state
                && until <= now
            {
                vault.destroy_epoch(id, key.epoch)?;
                destroyed.push(EpochDestroyed {
                    epoch: key.epoch,
                    retired_at: since,
                    due_at: until,
                    destroyed_at: self.clock.now(),
                });
            }
        }
        Ok(destroyed)
    }

    /// All that is gone and not recorded: what was destroyed just now, and what the ledger says was retired and the vault
    /// does not have any more.
    fn unrecorded_epochs(&self, ledger: &Ledger, destroyed: Vec<EpochDestroyed>) -> Result<Vec<EpochDestroyed>, Error> {
        let held = self.keystore.vault().epochs(ledger.record.id)?;
        let held: HashSet<_> = held.into_iter().map(|key| key.epoch).collect();
        let mut retirements = self.kept_fold(ledger, &ledger.unended, |unended| unended.retired.clone())?;
        let mut gone: BTreeMap<_, _> = destroyed.into_iter().map(|gone| (gone.epoch, gone)).collect();
        self.kept_fold(ledger, &ledger.epochs, |book| {
            retirements.extend(&book.retired);
            for (epoch, (retired_at, due_at)) in retirements {
                if !held.contains(&epoch) && !book.destroyed.contains_key(&epoch) {
                    gone.entry(epoch).or_insert(EpochDestroyed {
                        epoch,
                        retired_at,
                        due_at,
                        destroyed_at: self.clock.now(),
                    });
                }
            }
        })?;
        Ok(gone.into_values().collect())
    }

    /// The epochs whose keys are retired, and until when.
    pub(super) fn retired(&self, ledger: &Ledger) -> Result<HashMap<Epoch, Timestamp>, Error> {
        let epochs = self.keystore.vault().epochs(ledger.record.id)?;
        let retired = epochs.into_iter().filter_map(|key| match key.state {
            EpochState::Retired { until, .. } => Some((key.epoch, until)),
            EpochState::Fresh | EpochState::Current => None,
        });
        Ok(retired.collect())
    }
}

/// Drops what was noted.
fn settled(ledger: &Ledger, kind: &'static str) -> RecordWrite {
    RecordWrite {
        ledger: Some(ledger.record.number),
        kind,
        id: PENDING.into(),
        value: None,
    }
}

/// What a log records of its epochs. What cannot be read is not recorded, and is recorded again once it is found.
#[derive(Debug, Default)]
pub(crate) struct EpochBook {
    destroyed: HashMap<Epoch, Recorded<EpochDestroyed>>,
    /// Without an erasure.
    retired: BTreeMap<Epoch, Retired>,
    /// Without an erasure: from which epoch a change led to which.
    changed: BTreeMap<Epoch, Epoch>,
}

impl EpochBook {
    /// The record that an epoch's retired key is destroyed.
    pub(super) fn destroyed(&self, epoch: Epoch) -> Option<&Recorded<EpochDestroyed>> {
        self.destroyed.get(&epoch)
    }
}

impl Fold for EpochBook {
    const STREAM: &'static str = STREAM;
    const OF_OTHER_LOGS: bool = true;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match event.header.event_type.as_str() {
            DESTROYED => {
                let event: Recorded<EpochDestroyed> = recorded(event)?;
                self.destroyed.insert(event.payload.epoch, event);
            }
            CHANGED => {
                let changed = recorded::<EpochChanged>(event)?.payload;
                self.changed.insert(changed.from, changed.to);
                let until = changed.epoch_key_due_at;
                self.retired
                    .extend(until.map(|until| (changed.from, (changed.changed_at, until))));
            }
            _ => {}
        }
        Ok(())
    }

    fn unreadable(&mut self, _: Unreadable) {}
}
