//! A key store goes from one vault to another: one write, in which every ledger's bucket keys are wrapped under a new master of
//! an epoch of the new vault. Nobody has the store open.

use std::path::Path;

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::database::Database;
use super::ledger::Ledger;
use super::rows;
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::keystore::memory::Arena;
use crate::keystore::vault::Vault;
use crate::spec::ids::LedgerId;

impl RocksKeyStore {
    /// The ledgers of the key store in `path`.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if there is none, [`KeyStoreError::Store`].
    pub fn ledgers_at(path: &Path) -> Result<Vec<LedgerId>, KeyStoreError> {
        let masters = Database::open_known(path)?.masters()?;
        Ok(masters.into_iter().map(|(ledger, _)| ledger).collect())
    }

    /// Whether the key store in `path` hangs under this vault: its keys open every ledger's master.
    ///
    /// # Errors
    /// As [`RocksKeyStore::ledgers_at`]; [`KeyStoreError::Vault`] if the vault cannot say.
    pub fn hangs_under(path: &Path, vault: &dyn Vault) -> Result<bool, KeyStoreError> {
        for (ledger, master) in Database::open_known(path)?.masters()? {
            let (epoch, _) = rows::split_epoch(&master).ok_or(KeyStoreError::Damaged("epoch master"))?;
            // A vault that has no key of this epoch is not asked: its refusal would look like its absence.
            if !vault.epochs(ledger)?.iter().any(|key| key.epoch == epoch) {
                return Ok(false);
            }
            match Ledger::check(ledger, Some(&master), vault) {
                Ok(()) => {}
                Err(KeyStoreError::Damaged(_)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Takes the key store in `path` from the vault `from` to the present epochs of `to`, in one atomic, synced write of all
    /// ledgers: some 150 KiB a ledger. `to` keeps the same keys of buckets and suppression. No key of a vault is destroyed.
    ///
    /// # Errors
    /// [`KeyStoreError`]. If the write failed it may be durable all the same: [`RocksKeyStore::hangs_under`] tells.
    pub fn rehang(path: &Path, from: &dyn Vault, to: &dyn Vault, entropy: &dyn Entropy) -> Result<(), KeyStoreError> {
        let (db, arena, mut batch) = (Database::open_known(path)?, Arena::new(), WriteBatch::default());
        for (id, master) in db.masters()? {
            let ledger = Ledger::load(id, &master, from, &arena)?;
            let epoch = ledger.present_epoch(to)?;
            db.wrap_again(&ledger, (to, epoch), entropy, &mut batch)?;
        }
        db.write(batch)
    }
}
