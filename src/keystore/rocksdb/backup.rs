//! Copying the database while it is in use, and taking a copy into use again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use rocksdb::WriteBatch;
use rocksdb::checkpoint::Checkpoint;

use super::RocksKeyStore;
use super::database::Database;
use super::ledger::Ledger;
use super::migrations;
use super::rows::{self, Table};
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::keystore::memory::Arena;
use crate::keystore::vault::{Epoch, EpochState, Vault};
use crate::spec::ids::{LedgerId, Timestamp};

impl Database {
    /// RocksDB's own checkpoint: sorted files are linked where the folder lies on the same file system and copied where it
    /// does not; what only memory and the log hold is written out first.
    pub(super) fn copy_to(&self, folder: &Path) -> Result<(), KeyStoreError> {
        Ok(Checkpoint::new(&self.db)?.create_checkpoint(folder)?)
    }

    /// Opens a key store that is there, of a format that is known.
    pub(super) fn open_known(path: &Path) -> Result<Self, KeyStoreError> {
        if !Self::exists(path) {
            return Err(KeyStoreError::Foreign(format!(
                "the key store is missing in {}",
                path.display()
            )));
        }
        let db = Self::open(path, false)?;
        // IMPORTANT: before anything else is read: a newer format may mean all of it differently.
        migrations::check(migrations::format(&db)?.unwrap_or_default())?;
        Ok(db)
    }

    /// Every ledger's master, as it is stored.
    pub(super) fn masters(&self) -> Result<Vec<(LedgerId, Vec<u8>)>, KeyStoreError> {
        let mut masters = Vec::new();
        self.scan(&[Table::Master as u8], |row, value| {
            let id = rows::ledger_of(row).ok_or(KeyStoreError::Damaged("epoch master"))?;
            masters.push((id, value.to_vec()));
            Ok(())
        })?;
        Ok(masters)
    }

    /// Adds to a write: a ledger's pages of bucket keys under a new master of an epoch of `vault`.
    pub(super) fn wrap_again(
        &self,
        ledger: &Ledger,
        (vault, epoch): (&dyn Vault, Epoch),
        entropy: &dyn Entropy,
        batch: &mut WriteBatch,
    ) -> Result<(), KeyStoreError> {
        let mut pages = Vec::new();
        self.scan(&rows::row(Table::Bucket, ledger.id, &[]), |row, value| {
            pages.push((row.to_vec(), value.to_vec()));
            Ok(())
        })?;
        for (row, value) in ledger.wrap_again(pages, epoch, vault, entropy)? {
            batch.put(row, value);
        }
        Ok(())
    }
}

impl RocksKeyStore {
    /// Brings a copy from a backup, in `path`, to the vault's present epochs: where its own is retired by now, the bucket
    /// keys are wrapped again under a new master, one write a ledger. No key of the vault is destroyed by it.
    ///
    /// A copy that lacks erasures of the journal comes under a fresh key of its own, never under the one in use: should
    /// the restore break off here, the next change of epoch or the next start of whoever has the vault destroys that key as one
    /// that never came into use, and with it what the copy holds of the erased. `apply_erasures` comes after it, before
    /// anything opens, and changes the epoch again.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if the vault has no key of a ledger's epoch any more: the copy is expired. Otherwise as
    /// [`RocksKeyStore::open`].
    pub fn adopt(path: &Path, vault: &dyn Vault, entropy: &dyn Entropy, now: Timestamp) -> Result<(), KeyStoreError> {
        let db = Database::open_known(path)?;
        let arena = Arena::new();
        let masters = db.masters()?;
        masters
            .iter()
            .try_for_each(|(id, value)| adopt(&db, (*id, value), (vault, now), entropy, &arena))
    }
}

fn adopt(
    db: &Database,
    (id, value): (LedgerId, &[u8]),
    (vault, now): (&dyn Vault, Timestamp),
    entropy: &dyn Entropy,
    arena: &Arc<Arena>,
) -> Result<(), KeyStoreError> {
    let (epoch, wrapped) = rows::split_epoch(value).ok_or(KeyStoreError::Damaged("epoch master"))?;
    let state = vault.epochs(id)?.into_iter().find(|key| key.epoch == epoch);
    match state.map(|key| key.state) {
        Some(EpochState::Fresh | EpochState::Current) => return Ok(()),
        Some(EpochState::Retired { .. }) => {}
        None => {
            let text = format!("the keys of ledger {id} hang under epoch {epoch}, whose key is destroyed");
            return Err(KeyStoreError::Foreign(text));
        }
    }
    let ledger = Ledger::unwrap(id, (epoch, wrapped), vault, arena)?;
    let to = if lacks_erasures(db, &ledger, vault)? {
        let newest = vault.epochs(id)?.last().map_or(epoch, |key| key.epoch);
        vault.mint_epoch(id, newest, now)?
    } else {
        ledger.present_epoch(vault)?
    };
    let mut batch = WriteBatch::default();
    db.wrap_again(&ledger, (vault, to), entropy, &mut batch)?;
    db.write(batch)
}

/// Whether the journal names erasures that this copy has not carried out.
fn lacks_erasures(db: &Database, ledger: &Ledger, vault: &dyn Vault) -> Result<bool, KeyStoreError> {
    const DAMAGED: KeyStoreError = KeyStoreError::Damaged("fence");
    let mut done = HashSet::new();
    db.scan(&rows::row(Table::Fence, ledger.id, &[]), |row, value| {
        let clear = ledger.unmark(row, value).ok_or(DAMAGED)?;
        let fence = rows::parse_fence(row, clear).ok_or(DAMAGED)?;
        done.extend(fence.destroyed.is_some().then_some(fence.order));
        Ok(())
    })?;
    let journaled = vault.journaled(ledger.id)?;
    Ok(journaled.iter().any(|entry| !done.contains(&entry.order)))
}
