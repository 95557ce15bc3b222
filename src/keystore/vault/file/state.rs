//! What an open vault holds in memory, and the rules by which its slots change.

use std::collections::HashMap;

use super::MirrorHealth;
use super::journal::Heads;
use super::keys::epoch_name;
use super::mirror::{Mirror, vault_refusal};
use super::slots::{Kind, Name, Slots, Times};
use crate::keystore::KeyStoreError;
use crate::keystore::vault::{Epoch, EpochKey, EpochState, Secret};
use crate::spec::ids::{LedgerId, Timestamp};

pub(super) struct State {
    pub(super) mirrors: Vec<Mirror>,
    pub(super) unusable: Vec<MirrorHealth>,
    pub(super) slots: Slots,
    /// Sizes of the checkpoints kept, as far as they were read.
    pub(super) sizes: HashMap<LedgerId, u64>,
    pub(super) heads: Heads,
}

impl State {
    pub(super) fn new(mirrors: Vec<Mirror>, unusable: Vec<MirrorHealth>, slots: Slots) -> Self {
        Self {
            mirrors,
            unusable,
            slots,
            sizes: HashMap::new(),
            heads: Heads::new(),
        }
    }

    /// A write is durable on every mirror or refused: one that is away would come back without it.
    pub(super) fn for_writing(&self) -> Result<(), KeyStoreError> {
        if self.mirrors.iter().any(Mirror::is_to_read) {
            return Err(vault_refusal("it was opened to be read alone"));
        }
        match self.unusable.first() {
            None => Ok(()),
            Some(mirror) => Err(vault_refusal(mirror.refusal())),
        }
    }

    pub(super) fn add(&mut self, name: Name, times: Times, key: &Secret) -> Result<(), KeyStoreError> {
        self.for_writing()?;
        self.slots.add(&self.mirrors, name, times, key)
    }

    /// Writes a note about an epoch whose key is there, once.
    pub(super) fn note(&mut self, name: Name, times: Times) -> Result<(), KeyStoreError> {
        if !self.slots.holds(epoch_name(name.ledger, name.epoch)) {
            return Err(vault_refusal("it holds no such epoch key of this ledger"));
        }
        if self.slots.holds(name) {
            return Ok(());
        }
        self.add(name, times, &Secret::default())
    }

    pub(super) fn destroy(&mut self, name: Name) -> Result<(), KeyStoreError> {
        if !self.slots.holds(name) {
            return Ok(());
        }
        self.for_writing()?;
        self.slots.destroy(&self.mirrors, name)
    }

    pub(super) fn epochs(&self, ledger: LedgerId) -> Vec<EpochKey> {
        let mut in_use = false;
        let note = |kind, epoch| self.slots.times(Name { ledger, kind, epoch });
        let epoch = |(epoch, [born, _]): (Epoch, Times)| {
            let state = match note(Kind::Retired, epoch) {
                Some([since, until]) => EpochState::Retired {
                    since: Timestamp(since),
                    until: Timestamp(until),
                },
                None if std::mem::replace(&mut in_use, true) => EpochState::Fresh,
                None => EpochState::Current,
            };
            EpochKey {
                epoch,
                state,
                born: Timestamp(born),
                backed_up: note(Kind::BackedUp, epoch).map(|[at, _]| Timestamp(at)),
            }
        };
        self.slots.epochs(ledger).map(epoch).collect()
    }

    /// Refuses to leave a ledger without a key that is in use or may be.
    pub(super) fn another_is_kept(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError> {
        let retired = |key: &EpochKey| matches!(key.state, EpochState::Retired { .. });
        let kept = |key: &EpochKey| key.epoch != epoch && !retired(key);
        let epochs = self.epochs(ledger);
        let spare =
            epochs.iter().all(|key| key.epoch != epoch) || epochs.iter().any(|key| key.epoch == epoch && retired(key));
        if spare || epochs.iter().any(kept) {
            Ok(())
        } else {
            Err(vault_refusal(
                "the only epoch key in use is neither retired nor destroyed",
            ))
        }
    }
}
