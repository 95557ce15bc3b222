//! The keys of a vault: their names in a device, what is derived there, and what the slots hold.
//!
//! ```text
//! in a device   bucket-hash and suppression key = HMAC(root, purpose ‖ ledger)
//! moved there   the same keys as before, in slots: key ⊕ HMAC(root, "oubliette/vault/carried/v1" ‖ kind ‖ ledger)
//! ```
//!
//! What hangs under these two keys cannot be made anew (a suppression row holds no subject id), so they go along when a vault
//! moves. Root and vault id are of one vault alone and a carried key never changes: no mask is used for two keys.

use std::collections::HashSet;
use std::sync::Arc;

use super::FileVault;
use super::mirror::vault_refusal;
use super::slots::{Kind, Name};
use super::stamp::Stamp;
use super::state::State;
use crate::keystore::KeyStoreError;
use crate::keystore::vault::device::Device;
use crate::keystore::vault::{Epoch, Secret, VaultId};
use crate::spec::ids::{LedgerId, Timestamp};

/// The keys of a ledger that outlive every epoch.
pub(super) const KEPT: [Kind; 2] = [Kind::BucketHash, Kind::Suppression];

impl FileVault {
    /// The epoch keys in the device whose names begin with `prefix` and that no slot names.
    pub(super) fn unnamed(
        &self,
        device: &dyn Device,
        state: &State,
        prefix: &str,
    ) -> Result<Vec<String>, KeyStoreError> {
        let named: HashSet<String> = state
            .slots
            .all_epochs()
            .map(|(ledger, epoch)| key_name(self.id, ledger, epoch))
            .collect();
        let mut names = device.names(prefix)?;
        names.retain(|name| !named.contains(name));
        Ok(names)
    }

    pub(super) fn warn_of_unnamed(&self) -> Result<(), KeyStoreError> {
        let Some(device) = self.device.as_deref() else {
            return Ok(());
        };
        let unnamed = self.unnamed(device, &self.state.lock(), &epoch_prefix(self.id))?;
        if !unnamed.is_empty() {
            tracing::warn!(
                keys = unnamed.len(),
                "the HSM holds epoch keys that the vault's folders do not name: left by a crash, or the folders are an older copy"
            );
        }
        Ok(())
    }

    /// A key of a ledger that outlives every epoch.
    pub(super) fn kept(&self, kind: Kind, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        let name = kept_name(kind, ledger);
        let Some(device) = self.device.as_deref() else {
            return self.read(name);
        };
        let is_in_slot = {
            let slots = &self.state.lock().slots;
            // IMPORTANT: a slot that is lost may have held the carried key, and another would take everybody for new.
            let may_be_lost = self.is_carried && slots.lost() > 0 && !slots.holds(name);
            if slots.epochs(ledger).next().is_none() || may_be_lost {
                return Err(slots.absent());
            }
            slots.holds(name)
        };
        if is_in_slot {
            return Ok(masked(&self.read(name)?, &self.mask(device, kind, ledger)?));
        }
        let purpose: &[u8] = match kind {
            Kind::BucketHash => b"oubliette/vault/bucket-hash/v1",
            _ => b"oubliette/vault/suppression/v1",
        };
        device.mac(&root_name(self.id), &[purpose, ledger.as_bytes()].concat())
    }

    /// Writes a key that another vault kept into a slot of this one, once.
    pub(super) fn keep(&self, kind: Kind, ledger: LedgerId, key: &Secret, now: Timestamp) -> Result<(), KeyStoreError> {
        let stored = match self.device.as_deref() {
            Some(device) => masked(key, &self.mask(device, kind, ledger)?),
            None => key.clone(),
        };
        let (mut state, name) = (self.state.lock(), kept_name(kind, ledger));
        if state.slots.holds(name) {
            return Ok(());
        }
        state.add(name, [now.0, 0], &stored)
    }

    fn mask(&self, device: &dyn Device, kind: Kind, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        let text = [b"oubliette/vault/carried/v1", &[kind as u8][..], ledger.as_bytes()].concat();
        device.mac(&root_name(self.id), &text)
    }

    /// Makes the key of an epoch, and then its slot. In a device it takes the next number under which there is no key: one
    /// that no slot names may be in use by a key store that these folders are too old for.
    pub(super) fn make_epoch(
        &self,
        state: &mut State,
        ledger: LedgerId,
        mut epoch: Epoch,
        now: Timestamp,
    ) -> Result<Epoch, KeyStoreError> {
        let key = match &self.device {
            None => self.fresh(),
            Some(device) => {
                // Nothing is made that could not be named.
                state.for_writing()?;
                while device.holds(&key_name(self.id, ledger, epoch))? {
                    epoch = after(epoch)?;
                }
                device.make_key(&key_name(self.id, ledger, epoch))?;
                Secret::default()
            }
        };
        state.add(epoch_name(ledger, epoch), [now.0, 0], &key)?;
        Ok(epoch)
    }

    /// The device, and the name of an epoch's key in it, if a slot has that name.
    pub(super) fn in_device(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
    ) -> Result<Option<(&dyn Device, String)>, KeyStoreError> {
        let Some(device) = self.device.as_deref() else {
            return Ok(None);
        };
        if !self.state.lock().slots.holds(epoch_name(ledger, epoch)) {
            return Err(vault_refusal("it holds no such key of this ledger"));
        }
        Ok(Some((device, key_name(self.id, ledger, epoch))))
    }

    pub(super) fn fresh(&self) -> Secret {
        let mut key = Secret::default();
        self.entropy.fill(key.as_mut_slice());
        key
    }

    pub(super) fn read(&self, name: Name) -> Result<Secret, KeyStoreError> {
        let State { mirrors, slots, .. } = &mut *self.state.lock();
        slots.read(mirrors, name)
    }
}

pub(super) fn after(epoch: Epoch) -> Result<Epoch, KeyStoreError> {
    let next = epoch.checked_add(1);
    next.ok_or_else(|| vault_refusal("there are no more epochs"))
}

pub(super) fn root_name(vault: VaultId) -> String {
    format!("oubliette {} root", hex::encode(vault.0))
}

pub(super) fn epoch_prefix(vault: VaultId) -> String {
    format!("oubliette {} epoch ", hex::encode(vault.0))
}

pub(super) fn key_name(vault: VaultId, ledger: LedgerId, epoch: Epoch) -> String {
    format!("{}{ledger} {epoch}", epoch_prefix(vault))
}

pub(super) fn stamp(vault: VaultId, device: Option<&dyn Device>) -> Result<Arc<Stamp>, KeyStoreError> {
    let key = device.map(|device| device.mac(&root_name(vault), b"oubliette/vault/files/v1"));
    Ok(Arc::new(Stamp {
        owner: vault,
        key: key.transpose()?,
    }))
}

pub(super) fn epoch_name(ledger: LedgerId, epoch: Epoch) -> Name {
    Name {
        ledger,
        kind: Kind::Epoch,
        epoch,
    }
}

pub(super) fn kept_name(kind: Kind, ledger: LedgerId) -> Name {
    Name { ledger, kind, epoch: 0 }
}

fn masked(key: &Secret, mask: &Secret) -> Secret {
    let mut out = Secret::default();
    let bytes = key.iter().zip(mask.iter()).map(|(key, mask)| key ^ mask);
    out.iter_mut().zip(bytes).for_each(|(place, byte)| *place = byte);
    out
}
