//! The vault: epoch keys and the few facts that must survive a rollback of both databases.
//!
//! It holds, per ledger: the epoch keys, which never leave it, the bucket-hash key, the suppression key, the erasure
//! journal and the last checkpoint. It belongs on another device than the databases and is never part of a backup of
//! theirs. Engines: [`mod@file`], whose keys may
//! be in a [`device`], such as an HSM over [`pkcs11`]. Out of scope: what the keys wrap, and which epoch the key store is at.
//!
//! Life of an epoch key: *fresh* (minted, not yet in use) → *current* → *retired* (opens old backups alone, until its
//! horizon) → destroyed. Of the keys that are not retired the lowest number is the current one, the others are fresh: so
//! a change of epoch has one commit point, the key store's own write, and the vault needs no second one.

pub mod device;
pub mod file;
pub mod pkcs11;
mod reading;

pub use reading::Reading;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ErasureOrder, KeyStoreError};
use crate::spec::ids::{LedgerId, Timestamp};

/// 32 secret bytes.
pub type Secret = Zeroizing<[u8; 32]>;

/// A number of an epoch, from 1.
pub type Epoch = u32;

/// The random id of a store: its ledgers' store, its key store, its backups and its vault carry the same, so that none is
/// mistaken for another's. It goes along when a vault moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StoreId(pub [u8; 16]);

/// A vault's own random id: the same on every mirror, in every block and in the name of every key of a device. A vault that is
/// moved gets another, so that no file of the old one is taken for a mirror of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct VaultId(#[serde(with = "hex::serde")] pub [u8; 16]);

/// Where a vault keeps its epoch keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub enum KeyPlace {
    /// In its files.
    #[serde(rename = "file")]
    File,
    /// In a hardware security module, over PKCS#11.
    #[serde(rename = "pkcs11")]
    Pkcs11,
}

/// What an epoch key may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochState {
    /// Minted, and not yet the key store's.
    Fresh,
    /// The key store's own.
    Current,
    /// Opens backups of the key store alone.
    Retired {
        /// When it was replaced.
        since: Timestamp,
        /// When it is due to be destroyed.
        until: Timestamp,
    },
}

/// An epoch whose key the vault holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochKey {
    /// Its number.
    pub epoch: Epoch,
    /// What it may be used for.
    pub state: EpochState,
    /// When the key was made.
    pub born: Timestamp,
    /// When a backup of the key store was first taken under it.
    pub backed_up: Option<Timestamp>,
}

/// One erasure, remembered outside both databases so that no restore brings the person back.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JournalEntry {
    /// What was ordered.
    pub order: ErasureOrder,
    /// The leaf index of `erasure.requested`.
    pub index: u64,
}

/// Where epoch keys live. Every write is durable and read back before its method returns.
pub trait Vault: Send + Sync {
    /// Whose vault this is: the same on every mirror, never changed.
    fn store(&self) -> StoreId;

    /// Makes the first epoch key (number 1, or the next that is free in a device), the bucket-hash key and the suppression key of a ledger. Repeating it
    /// changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if it cannot be written on every mirror.
    fn create_ledger(&self, ledger: LedgerId, now: Timestamp) -> Result<(), KeyStoreError>;

    /// The epochs whose keys are there, in order. Empty for a ledger that it does not know.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the vault cannot be asked.
    fn epochs(&self, ledger: LedgerId) -> Result<Vec<EpochKey>, KeyStoreError>;

    /// Makes the key of an epoch with a number above `after`, durable and read back on every mirror. If there is a fresh
    /// one above it already, that one is the answer.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the ledger is unknown or a mirror cannot be written.
    fn mint_epoch(&self, ledger: LedgerId, after: Epoch, now: Timestamp) -> Result<Epoch, KeyStoreError>;

    /// Wraps an epoch master under an epoch key, bound to `aad`. The form of the answer is the engine's own.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if there is no such key or it cannot be used.
    fn wrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        master: &[u8; 32],
    ) -> Result<Vec<u8>, KeyStoreError>;

    /// Opens what [`Vault::wrap_master`] made, also under a retired key.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if there is no such key or it cannot be used, [`KeyStoreError::Damaged`] if `wrapped` is
    /// not its own or bound to something else.
    fn unwrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret, KeyStoreError>;

    /// Notes that a backup of the key store was taken under this epoch. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if there is no such key or a mirror cannot be written.
    fn mark_backed_up(&self, ledger: LedgerId, epoch: Epoch, at: Timestamp) -> Result<(), KeyStoreError>;

    /// Whether a backup was taken under this epoch.
    ///
    /// # Errors
    /// As [`Vault::epochs`].
    fn backed_up(&self, ledger: LedgerId, epoch: Epoch) -> Result<bool, KeyStoreError> {
        let epochs = self.epochs(ledger)?;
        Ok(epochs.iter().any(|key| key.epoch == epoch && key.backed_up.is_some()))
    }

    /// Keeps a replaced epoch's key for backups alone, from `since` until `until`. Repeating it changes nothing, not even
    /// the times.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if there is no such key, no other would be in use, or a mirror cannot be written.
    fn retire_epoch(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(), KeyStoreError>;

    /// Destroys an epoch's key on every mirror, read back. A key that is not there any more is no error.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if no other key would be in use, or a mirror cannot be written: the key may then live on
    /// it, so the call is to be repeated until it succeeds.
    fn destroy_epoch(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError>;

    /// Destroys keys of a ledger that the vault itself does not name and that are of an epoch before `own`, the key
    /// store's: a crash left them. Only once the key store has opened and is settled, for an old copy of the vault names
    /// too few as well; and nothing while a part of the vault is missing.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the keys cannot be listed or one cannot be destroyed.
    fn destroy_unnamed(&self, _ledger: LedgerId, _own: Epoch) -> Result<(), KeyStoreError> {
        Ok(())
    }

    /// The key that places subjects in buckets.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if no mirror holds it.
    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError>;

    /// The key of the suppression rows.
    ///
    /// # Errors
    /// As [`Vault::bucket_hash_key`].
    fn suppression_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError>;

    /// Adds erasures to the journal. Entries that stand there already are not added again.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if it cannot be written on every mirror.
    fn journal(&self, ledger: LedgerId, entries: &[JournalEntry]) -> Result<(), KeyStoreError>;

    /// The journal, in order.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if no mirror can be read, or one is damaged anywhere but in its torn last entry.
    fn journaled(&self, ledger: LedgerId) -> Result<Vec<JournalEntry>, KeyStoreError>;

    /// Keeps the ledger's last checkpoint (a signed note). An older size than the one kept is ignored.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if it cannot be written on every mirror.
    fn keep_checkpoint(&self, ledger: LedgerId, size: u64, note: &str) -> Result<(), KeyStoreError>;

    /// The ledgers of which a checkpoint is kept on any mirror: what the ledger store must still know.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if no mirror can be read.
    fn ledgers(&self) -> Result<Vec<LedgerId>, KeyStoreError>;

    /// The checkpoint kept, the largest of all mirrors.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if no mirror can be read.
    fn checkpoint(&self, ledger: LedgerId) -> Result<Option<(u64, String)>, KeyStoreError>;

    /// Whether every mirror is in use and nothing was lost. A vault that is not may still be read, and refuses writes.
    fn is_healthy(&self) -> bool {
        true
    }

    /// Bytes on disk, over all mirrors; 0 for an engine without files.
    fn disk_bytes(&self) -> u64 {
        0
    }
}
