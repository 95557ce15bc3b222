//! A vault for a rehearsal: everything is read, nothing is changed.

use std::sync::Arc;

use super::{Epoch, EpochKey, EpochState, JournalEntry, Secret, StoreId, Vault};
use crate::keystore::KeyStoreError;
use crate::spec::ids::{LedgerId, Timestamp};

/// Reads through to a vault and lets nothing be written. A retired epoch opens like one in use, so that a copy from a backup
/// opens as it lies there. What is written again at every start (journal entries, checkpoints) is taken and forgotten; a new
/// key is refused.
pub struct Reading(Arc<dyn Vault>);

impl Reading {
    /// Reads this vault.
    pub fn new(vault: Arc<dyn Vault>) -> Self {
        Self(vault)
    }
}

fn refused() -> KeyStoreError {
    KeyStoreError::Vault {
        reason: "it was opened to be read alone".into(),
        source: None,
    }
}

impl Vault for Reading {
    fn store(&self) -> StoreId {
        self.0.store()
    }

    fn create_ledger(&self, _: LedgerId, _: Timestamp) -> Result<(), KeyStoreError> {
        Err(refused())
    }

    fn epochs(&self, ledger: LedgerId) -> Result<Vec<EpochKey>, KeyStoreError> {
        let mut epochs = self.0.epochs(ledger)?;
        for key in &mut epochs {
            if matches!(key.state, EpochState::Retired { .. }) {
                key.state = EpochState::Fresh;
            }
        }
        Ok(epochs)
    }

    fn mint_epoch(&self, _: LedgerId, _: Epoch, _: Timestamp) -> Result<Epoch, KeyStoreError> {
        Err(refused())
    }

    fn wrap_master(&self, _: LedgerId, _: Epoch, _: &[u8], _: &[u8; 32]) -> Result<Vec<u8>, KeyStoreError> {
        Err(refused())
    }

    fn unwrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret, KeyStoreError> {
        self.0.unwrap_master(ledger, epoch, aad, wrapped)
    }

    fn mark_backed_up(&self, _: LedgerId, _: Epoch, _: Timestamp) -> Result<(), KeyStoreError> {
        Err(refused())
    }

    fn retire_epoch(&self, _: LedgerId, _: Epoch, _: Timestamp, _: Timestamp) -> Result<(), KeyStoreError> {
        Err(refused())
    }

    fn destroy_epoch(&self, _: LedgerId, _: Epoch) -> Result<(), KeyStoreError> {
        Err(refused())
    }

    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.0.bucket_hash_key(ledger)
    }

    fn suppression_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.0.suppression_key(ledger)
    }

    fn journal(&self, _: LedgerId, _: &[JournalEntry]) -> Result<(), KeyStoreError> {
        Ok(())
    }

    fn journaled(&self, ledger: LedgerId) -> Result<Vec<JournalEntry>, KeyStoreError> {
        self.0.journaled(ledger)
    }

    fn keep_checkpoint(&self, _: LedgerId, _: u64, _: &str) -> Result<(), KeyStoreError> {
        Ok(())
    }

    fn ledgers(&self) -> Result<Vec<LedgerId>, KeyStoreError> {
        self.0.ledgers()
    }

    fn checkpoint(&self, ledger: LedgerId) -> Result<Option<(u64, String)>, KeyStoreError> {
        self.0.checkpoint(ledger)
    }

    fn is_healthy(&self) -> bool {
        self.0.is_healthy()
    }
}
