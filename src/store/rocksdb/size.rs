//! Bytes on disk, by kind of data.

use super::super::StoreError;
use super::{RocksStore, classify, schema};

/// Which column families hold which kind.
const KINDS: [(&str, &[&str]); 6] = [
    ("headers", &[schema::HEADERS]),
    ("bodies", &[schema::BODIES]),
    ("sealed", &[schema::SEALED]),
    ("tree", &[schema::TILES, schema::CHECKPOINTS]),
    (
        "indexes",
        &[schema::IDS, schema::STREAMS, schema::STREAM_EVENTS, schema::LOOKUP],
    ),
    ("other", &[schema::SYSTEM, schema::RECORDS, schema::REMOVED]),
];

impl RocksStore {
    /// See `LedgerStore::disk_bytes`.
    pub(super) fn bytes_by_kind(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let mut kinds = Vec::with_capacity(KINDS.len() + 1);
        for (kind, tables) in KINDS {
            let mut bytes = 0;
            for table in tables {
                let property = self
                    .db
                    .property_int_value_cf(self.table(table)?, "rocksdb.total-sst-files-size");
                bytes += property.map_err(classify)?.unwrap_or(0);
            }
            kinds.push((kind, bytes));
        }
        kinds.push(("log", self.log_bytes()?));
        Ok(kinds)
    }

    fn log_bytes(&self) -> Result<u64, StoreError> {
        let files = std::fs::read_dir(self.db.path()).map_err(|error| StoreError::Io(Box::new(error)))?;
        let logs = files
            .flatten()
            .filter(|file| file.path().extension().is_some_and(|ending| ending == "log"));
        Ok(logs.filter_map(|log| log.metadata().ok()).map(|log| log.len()).sum())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_column_family_is_of_one_kind() {
        let mut counted: Vec<_> = KINDS.iter().flat_map(|(_, tables)| tables.iter().copied()).collect();
        let mut all = schema::ALL.to_vec();
        counted.sort_unstable();
        all.sort_unstable();
        assert_eq!(counted, all);
    }
}
