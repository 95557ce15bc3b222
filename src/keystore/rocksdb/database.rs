//! RocksDB as the key store uses it: one column family (none can pin the log of another), synced writes, and nothing
//! that keeps deleted bytes longer than it must: no recycled logs, no log archive, no blobs, no compression (so that a
//! search for a secret in the files means something). See "Where a deleted key survives" in docs/adr.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, DBRecoveryMode, LogLevel, Options, PrefixRange, ReadOptions,
    WriteBatch, WriteOptions,
};

use crate::keystore::KeyStoreError;

/// Bytes of memory for blocks read from disk: wrapped rows only.
const BLOCK_CACHE: usize = 32 << 20;

/// Bytes of a memtable.
const WRITE_BUFFER: usize = 16 << 20;

pub(super) struct Database {
    pub(super) db: DB,
    synced: WriteOptions,
    /// The next write fails: after it was done, or before.
    #[cfg(test)]
    pub(super) fault: parking_lot::Mutex<Option<Fault>>,
}

/// How a write fails in a test.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Written,
    NotWritten,
    /// It does not fail, but takes so long.
    Slow(std::time::Duration),
}

impl From<rocksdb::Error> for KeyStoreError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl Database {
    /// Opens the database in `path`, which exists.
    pub(super) fn open(path: &Path, create: bool) -> Result<Self, KeyStoreError> {
        let db = DB::open(&options(create)?, path).map_err(|error| {
            let text = error.as_ref();
            // RocksDB has no kind of its own for a lock that is held.
            let locked = text.contains("lock hold by current process") || text.contains("While lock file");
            if locked { KeyStoreError::InUse } else { error.into() }
        })?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self {
            db,
            synced,
            #[cfg(test)]
            fault: parking_lot::Mutex::default(),
        })
    }

    /// Whether a database was ever made in `path`.
    pub(super) fn exists(path: &Path) -> bool {
        path.join("CURRENT").exists()
    }

    pub(super) fn get(&self, row: &[u8]) -> Result<Option<Vec<u8>>, KeyStoreError> {
        Ok(self.db.get(row)?)
    }

    /// RocksDB itself, for what rewrites its files.
    pub(super) fn engine(&self) -> &DB {
        &self.db
    }

    /// Bytes of all its files.
    pub(super) fn disk_bytes(&self) -> u64 {
        crate::env::folder_bytes(self.db.path()).unwrap_or(0)
    }

    /// Writes the batch as a whole, synced.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<(), KeyStoreError> {
        #[cfg(test)]
        if let Some(fault) = self.fault.lock().take() {
            if let Fault::Slow(time) = fault {
                std::thread::sleep(time);
                return Ok(self.db.write_opt(batch, &self.synced)?);
            }
            if fault == Fault::Written {
                self.db.write_opt(batch, &self.synced)?;
            }
            return Err(KeyStoreError::Store("a fault of the test".into()));
        }
        Ok(self.db.write_opt(batch, &self.synced)?)
    }

    /// All rows whose key starts with `prefix`, in order.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        mut each: impl FnMut(&[u8], &[u8]) -> Result<(), KeyStoreError>,
    ) -> Result<(), KeyStoreError> {
        self.scan_from(prefix, None, |row, value| each(row, value).map(|()| true))
    }

    /// The rows whose key starts with `prefix`, in order, those after `after` alone, as long as `each` wants more.
    pub(super) fn scan_from(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, KeyStoreError>,
    ) -> Result<(), KeyStoreError> {
        let mut rows = self.db.raw_iterator_opt(within(prefix));
        match after {
            None => rows.seek_to_first(),
            Some(after) => rows.seek([after, &[0]].concat()),
        }
        while let Some((row, value)) = rows.item() {
            if !each(row, value)? {
                break;
            }
            rows.next();
        }
        Ok(rows.status()?)
    }

    /// The key of the last row that starts with `prefix`.
    pub(super) fn last(&self, prefix: &[u8]) -> Result<Option<Vec<u8>>, KeyStoreError> {
        let mut rows = self.db.raw_iterator_opt(within(prefix));
        rows.seek_to_last();
        rows.status()?;
        Ok(rows.key().map(<[u8]>::to_vec))
    }
}

fn within(prefix: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_iterate_range(PrefixRange(prefix));
    options
}

fn options(create: bool) -> Result<Options, rocksdb::Error> {
    let mut table = BlockBasedOptions::default();
    table.set_bloom_filter(10.0, false);
    table.set_block_cache(&Cache::new_lru_cache(BLOCK_CACHE));
    // The manifest names the first and last key of every file there ever was: each change begins a new one. It is small.
    let manifest = "max_manifest_file_size=1;max_manifest_space_amp_pct=0";
    let mut options = Options::default().get_options_from_string(manifest)?;
    options.create_if_missing(create);
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(WRITE_BUFFER);
    options.set_compression_type(DBCompressionType::None);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_paranoid_checks(true);
    options.set_max_open_files(256);
    options.set_keep_log_file_num(2);
    // IMPORTANT: each of these, set otherwise, keeps deleted keys on disk (tried, bytes searched in the files).
    options.set_recycle_log_file_num(0);
    options.set_wal_ttl_seconds(0);
    options.set_wal_size_limit_mb(0);
    options.set_enable_blob_files(false);
    // It would tell the keys of rows.
    options.set_log_level(LogLevel::Warn);
    Ok(options)
}
