//! The contract of a vault, kept by folders and, where there is one, a device.

use super::keys::{KEPT, after, epoch_name, epoch_prefix, kept_name, key_name};
use super::mirror::vault_refusal;
use super::slots::{Kind, Name};
use super::{FileVault, checkpoint, journal};
use crate::keystore::vault::{Epoch, EpochKey, EpochState, JournalEntry, Secret, StoreId, Vault};
use crate::keystore::{KeyStoreError, wrap};
use crate::spec::ids::{LedgerId, Timestamp};

impl Vault for FileVault {
    fn store(&self) -> StoreId {
        self.store
    }

    fn create_ledger(&self, ledger: LedgerId, now: Timestamp) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        for kind in KEPT.into_iter().filter(|_| self.device.is_none()) {
            let name = kept_name(kind, ledger);
            if !state.slots.holds(name) {
                state.add(name, [now.0, 0], &self.fresh())?;
            }
        }
        // IMPORTANT: the epoch key last; a ledger that has one is complete.
        if state.slots.epochs(ledger).next().is_none() {
            self.make_epoch(&mut state, ledger, 1, now)?;
        }
        Ok(())
    }

    fn epochs(&self, ledger: LedgerId) -> Result<Vec<EpochKey>, KeyStoreError> {
        Ok(self.state.lock().epochs(ledger))
    }

    fn mint_epoch(&self, ledger: LedgerId, above: Epoch, now: Timestamp) -> Result<Epoch, KeyStoreError> {
        let mut state = self.state.lock();
        let epochs = state.epochs(ledger);
        let newest = epochs
            .last()
            .ok_or_else(|| vault_refusal("it does not know this ledger"))?;
        if newest.epoch > above && newest.state == EpochState::Fresh {
            return Ok(newest.epoch);
        }
        let epoch = after(newest.epoch.max(above))?;
        self.make_epoch(&mut state, ledger, epoch, now)
    }

    fn wrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        master: &[u8; 32],
    ) -> Result<Vec<u8>, KeyStoreError> {
        if let Some((device, name)) = self.in_device(ledger, epoch)? {
            return device.encrypt(&name, self.entropy.bytes(), aad, master);
        }
        let key = self.read(epoch_name(ledger, epoch))?;
        wrap::wrap(&key, (aad, &[]), master, self.entropy.as_ref()).ok_or(KeyStoreError::Damaged("epoch master"))
    }

    fn unwrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret, KeyStoreError> {
        if let Some((device, name)) = self.in_device(ledger, epoch)? {
            return device.decrypt(&name, aad, wrapped);
        }
        let (key, mut master) = (self.read(epoch_name(ledger, epoch))?, Secret::default());
        wrap::unwrap_into(&key, (aad, &[]), wrapped, master.as_mut_slice())
            .map(|()| master)
            .ok_or(KeyStoreError::Damaged("epoch master"))
    }

    fn mark_backed_up(&self, ledger: LedgerId, epoch: Epoch, at: Timestamp) -> Result<(), KeyStoreError> {
        let kind = Kind::BackedUp;
        self.state.lock().note(Name { ledger, kind, epoch }, [at.0, 0])
    }

    fn retire_epoch(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(), KeyStoreError> {
        let (mut state, kind) = (self.state.lock(), Kind::Retired);
        state.another_is_kept(ledger, epoch)?;
        state.note(Name { ledger, kind, epoch }, [since.0, until.0])
    }

    fn destroy_epoch(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        state.another_is_kept(ledger, epoch)?;
        if let Some(device) = &self.device {
            state.for_writing()?;
            // Also where no slot names it.
            device.destroy(&key_name(self.id, ledger, epoch))?;
        }
        // IMPORTANT: the key first. Notes without a key are nothing, a key without its note would be in use again.
        [Kind::Epoch, Kind::Retired, Kind::BackedUp]
            .into_iter()
            .try_for_each(|kind| state.destroy(Name { ledger, kind, epoch }))
    }

    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.kept(Kind::BucketHash, ledger)
    }

    fn suppression_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.kept(Kind::Suppression, ledger)
    }

    fn journal(&self, ledger: LedgerId, entries: &[JournalEntry]) -> Result<(), KeyStoreError> {
        let state = &mut *self.state.lock();
        state.for_writing()?;
        journal::append(&mut state.mirrors, &self.stamp, &mut state.heads, ledger, entries)
    }

    fn journaled(&self, ledger: LedgerId) -> Result<Vec<JournalEntry>, KeyStoreError> {
        let state = &mut *self.state.lock();
        journal::entries(&state.mirrors, &self.stamp, &mut state.heads, ledger)
    }

    fn keep_checkpoint(&self, ledger: LedgerId, size: u64, note: &str) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        state.for_writing()?;
        let kept = match state.sizes.get(&ledger) {
            Some(size) => Some(*size),
            None => checkpoint::largest(&state.mirrors, self.id, ledger)?.map(|(size, _)| size),
        };
        if kept.is_some_and(|kept| kept > size) {
            return Ok(());
        }
        checkpoint::keep(&state.mirrors, self.id, ledger, size, note)?;
        state.sizes.insert(ledger, size);
        Ok(())
    }

    fn ledgers(&self) -> Result<Vec<LedgerId>, KeyStoreError> {
        checkpoint::ledgers(&self.state.lock().mirrors)
    }

    fn checkpoint(&self, ledger: LedgerId) -> Result<Option<(u64, String)>, KeyStoreError> {
        checkpoint::largest(&self.state.lock().mirrors, self.id, ledger)
    }

    fn destroy_unnamed(&self, ledger: LedgerId, own: Epoch) -> Result<(), KeyStoreError> {
        let state = self.state.lock();
        let Some(device) = self.device.as_deref() else {
            return Ok(());
        };
        let is_whole = state.for_writing().is_ok() && state.slots.lost() == 0;
        if !is_whole || !state.slots.holds(epoch_name(ledger, own)) {
            return Ok(());
        }
        let prefix = format!("{}{ledger} ", epoch_prefix(self.id));
        for name in self.unnamed(device, &state, &prefix)? {
            let epoch = name.strip_prefix(&prefix).and_then(|epoch| epoch.parse::<Epoch>().ok());
            if epoch.is_some_and(|epoch| epoch < own) {
                tracing::warn!(epoch, "an epoch key that a crash left in the HSM is destroyed");
                device.destroy(&name)?;
            }
        }
        Ok(())
    }

    fn is_healthy(&self) -> bool {
        self.health().is_good()
    }

    fn disk_bytes(&self) -> u64 {
        let folders = self.health().mirrors.into_iter().map(|mirror| mirror.path);
        folders
            .map(|folder| crate::env::folder_bytes(&folder).unwrap_or(0))
            .fold(0, u64::saturating_add)
    }
}
