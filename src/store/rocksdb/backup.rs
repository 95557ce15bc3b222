//! Copying the store while it is in use, and what a restore changes in a copy.

use std::path::Path;

use rocksdb::checkpoint::Checkpoint;

use super::super::{LedgerNumber, LedgerRecord, LedgerStore, StoreError};
use super::{RocksStore, classify, schema, synced};
use crate::spec::ids::LedgerName;

impl RocksStore {
    /// See `LedgerStore::copy_to`. RocksDB's own checkpoint: sorted files are linked where the folder lies on the same file
    /// system and copied where it does not; what only memory and the log hold is written out first.
    pub(super) fn write_copy(&self, folder: &Path) -> Result<(), StoreError> {
        let checkpoint = Checkpoint::new(&self.db).map_err(classify)?;
        checkpoint.create_checkpoint(folder).map_err(classify)
    }

    /// Gives a ledger another name in paths; its origin, and so every header and checkpoint, stays. Durable. For a restore,
    /// which frees the name for the log that goes on.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] if there is no such ledger, or another has the name.
    pub fn rename(&self, ledger: LedgerNumber, name: LedgerName) -> Result<(), StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            table: schema::SYSTEM,
            what: what.into(),
        };
        let ledgers = self.ledgers()?;
        if ledgers.iter().any(|other| other.name == name) {
            return Err(damaged("another ledger has the name"));
        }
        let found = ledgers.into_iter().find(|known| known.number == ledger);
        let record = LedgerRecord {
            name,
            ..found.ok_or_else(|| damaged("the ledger is not registered"))?
        };
        let value = serde_json::to_vec(&record).map_err(|error| StoreError::Io(Box::new(error)))?;
        self.db
            .put_cf_opt(self.table(schema::SYSTEM)?, schema::registry(ledger), value, &synced())
            .map_err(classify)
    }
}
