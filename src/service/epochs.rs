//! Epoch keys in time: rotation on demand, and the end of retired keys at their horizon.
//!
//! A retired key lives for the sake of backups. Each second, and at start, those that are due are destroyed and that is
//! recorded as `epoch.destroyed`. The ledger remembers what was retired (`erasure.completed`, `epoch.changed`): so a crash
//! between the destruction and its record loses nothing but the exact time, and a later one stands in its place.

mod rotation;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::own::{Fold, Recorded, Unreadable, recorded};
use super::read::StoredEvent;
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::vault::{Epoch, EpochKey, EpochState, KeyPlace};
use crate::keystore::{Horizon, Refusal};
use crate::spec::ids::{Category, Handle, Timestamp};

const STREAM: &str = "$epochs";
const CHANGED: &str = "epoch.changed";
const DESTROYED: &str = "epoch.destroyed";
const SUBJECTS: &str = "$subjects";
const RENEWED: &str = "subject.keys_renewed";

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

/// A subject's new keys, and the payload of `subject.keys_renewed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeysRenewed {
    /// The subject.
    pub handle: Handle,
    /// The keys that seal from now on.
    pub keys: Vec<RenewedKey>,
    /// The API key that asked.
    pub by: String,
}

/// A category's new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RenewedKey {
    /// The category.
    pub category: Category,
    /// Its generation.
    pub generation: u32,
}

/// `POST /subjects/{handle}/rotations`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Only these; absent: all that have a key.
    #[schema(min_items = 1, max_items = 64)]
    pub categories: Option<Vec<Category>>,
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

    /// Mints the next generation of a subject's keys. What was sealed before stays open.
    ///
    /// # Errors
    /// `subject_not_found`, `subject_erasing`, `subject_erased`; whatever appending may answer.
    pub async fn renew_keys(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        handle: Handle,
        request: RenewRequest,
    ) -> Result<KeysRenewed, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        if request
            .categories
            .as_ref()
            .is_some_and(|named| !(1..=64).contains(&named.len()))
        {
            return Err(Error::field(
                "/categories",
                "must name 1 to 64 categories, or be absent for all",
            ));
        }
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), caller.key.id.clone());
        // A task of its own: a caller who hangs up must not leave new keys without their record.
        let task = tokio::spawn(async move { service.renew_and_record(&on, by, (handle, request)).await });
        task.await.map_err(super::access::internal)?
    }

    async fn renew_and_record(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: String,
        (handle, request): (Handle, RenewRequest),
    ) -> Result<KeysRenewed, Error> {
        let mint = move |service: &Self, ledger: &Ledger| {
            let (id, categories) = (ledger.record.id, request.categories.as_deref());
            let minted = service.keystore.renew_keys(id, handle, categories)?;
            minted.map_err(|refusal| match refusal {
                Refusal::Erasing(_) => Error::new(Code::SubjectErasing, "this person is being erased"),
                Refusal::Erased(_) => Error::new(Code::Erased, "this person was erased"),
                Refusal::Restricted => Error::new(Code::SubjectRestricted, "this person's data is restricted"),
                Refusal::Unavailable => Error::new(Code::SubjectNotFound, "this ledger has no such handle"),
            })
        };
        let minted = self.blocking(ledger, mint).await?;
        let keys = minted.into_iter().map(|key| RenewedKey {
            category: key.category,
            generation: key.generation,
        });
        let keys = keys.collect();
        let renewed = KeysRenewed { handle, keys, by };
        let event = self.system_event(SUBJECTS, RENEWED, &renewed, None)?;
        self.append_at_last(ledger, &event).await?;
        Ok(renewed)
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
        self.settle_rotation(ledger).await?;
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

/// What a log records of its epochs. What cannot be read is not recorded, and is recorded again once it is found.
#[derive(Debug, Default)]
pub(crate) struct EpochBook {
    destroyed: HashMap<Epoch, Recorded<EpochDestroyed>>,
    /// Without an erasure.
    retired: BTreeMap<Epoch, Retired>,
    /// Without an erasure: the epochs that changes led to.
    changed_to: HashSet<Epoch>,
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
                self.changed_to.insert(changed.to);
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
