//! The vault: epoch keys and the few facts that must survive a rollback of both databases.
//!
//! It holds, per ledger: the epoch keys in slots that are overwritten in place, the bucket-hash key, the suppression
//! key, the erasure journal and the last checkpoint. It belongs on another device than the databases and is never part
//! of a backup of theirs. Engines: [`mod@file`]. Out of scope: what the keys wrap.

pub mod file;

use zeroize::Zeroizing;

use super::{ErasureOrder, KeyStoreError};
use crate::spec::ids::LedgerId;

/// 32 secret bytes.
pub type Secret = Zeroizing<[u8; 32]>;

/// A number of an epoch, from 1.
pub type Epoch = u32;

/// A vault's random id. The key store that belongs to it carries the same, so that neither is mistaken for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VaultId(pub [u8; 16]);

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
    /// Who this vault is: minted with it, the same on every mirror, never changed.
    fn owner(&self) -> VaultId;

    /// Makes the first epoch key, the bucket-hash key and the suppression key of a ledger. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if it cannot be written on every mirror.
    fn create_ledger(&self, ledger: LedgerId) -> Result<(), KeyStoreError>;

    /// The current epoch and its key.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if no mirror holds a valid slot.
    fn epoch_key(&self, ledger: LedgerId) -> Result<(Epoch, Secret), KeyStoreError>;

    /// The key that places subjects in buckets.
    ///
    /// # Errors
    /// As [`Vault::epoch_key`].
    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError>;

    /// The key of the suppression rows.
    ///
    /// # Errors
    /// As [`Vault::epoch_key`].
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
