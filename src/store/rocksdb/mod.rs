#![doc = include_str!("README.md")]

mod backup;
mod commit;
mod migrations;
mod read;
mod schema;
mod scrub;
mod size;

use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rocksdb::{Cache, ColumnFamily, DB, DBRecoveryMode, FlushOptions, LogLevel, Options, WriteOptions};

use super::StoreError;
use crate::spec::ids::LedgerId;

/// Memory for cached blocks, indexes and filters.
const CACHE_BYTES: usize = 192 << 20;
/// Memory for all write buffers together.
const WRITE_BUFFER_BYTES: usize = 64 << 20;
/// Past this much log the oldest write buffer is flushed, so that an idle column family does not pin old logs: it is what a
/// start after a crash reads, and so how long that takes.
const MAX_WAL_BYTES: u64 = 128 << 20;

/// A ledger store on RocksDB.
pub struct RocksStore {
    db: DB,
    id: LedgerId,
}

impl std::fmt::Debug for RocksStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RocksStore({})", self.db.path().display())
    }
}

impl RocksStore {
    /// Makes an empty store under `path` with the given random id.
    ///
    /// # Errors
    /// [`StoreError::Exists`] if there is one already.
    pub fn create(path: &Path, id: LedgerId) -> Result<Self, StoreError> {
        if is_store(path) {
            return Err(StoreError::Exists(path.to_owned()));
        }
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| StoreError::Io(Box::new(error)))?;
        let store = Self::open_at(path, true, id)?;
        migrations::initialise(&store)?;
        Ok(store)
    }

    /// Opens a store, bringing an older format up to date.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::InUse`], [`StoreError::NewerFormat`], [`StoreError::Io`].
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !is_store(path) {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let mut store = Self::open_at(path, false, LedgerId([0; 16]))?;
        migrations::run(&store)?;
        store.id = migrations::store_id(&store)?;
        Ok(store)
    }

    /// Opens a store that nobody else has open, for reading; nothing in the directory is changed.
    ///
    /// # Errors
    /// As [`RocksStore::open`]. Whether a server has it open must be known by other means (a lock file).
    pub fn open_read_only(path: &Path) -> Result<Self, StoreError> {
        if !is_store(path) {
            return Err(StoreError::Missing(path.to_owned()));
        }
        let cache = block_cache();
        let db = DB::open_cf_descriptors_read_only(&database_options(false)?, path, schema::descriptors(&cache), false);
        let mut store = Self {
            db: db.map_err(classify)?,
            id: LedgerId([0; 16]),
        };
        migrations::refuse_newer(&store)?;
        store.id = migrations::store_id(&store)?;
        Ok(store)
    }

    fn open_at(path: &Path, create: bool, id: LedgerId) -> Result<Self, StoreError> {
        let cache = block_cache();
        let db = DB::open_cf_descriptors(&database_options(create)?, path, schema::descriptors(&cache));
        Ok(Self {
            db: db.map_err(classify)?,
            id,
        })
    }

    fn table(&self, name: &'static str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or(StoreError::Damaged {
            table: name,
            what: "the column family is missing".into(),
        })
    }
}

impl Drop for RocksStore {
    /// Everything is durable already. What the log alone holds is sorted in, so that the next start has no log to read; if
    /// that fails (a full disk, a store opened for reading), it reads it.
    fn drop(&mut self) {
        let tables: Vec<_> = schema::ALL.iter().filter_map(|name| self.db.cf_handle(name)).collect();
        let _ = self.db.flush_cfs_opt(&tables, &FlushOptions::default());
    }
}

/// Not the LRU cache: it is cut into shards of a mebibyte, and a filter that is larger than its shard is never kept.
fn block_cache() -> Cache {
    Cache::new_hyper_clock_cache(CACHE_BYTES, 0)
}

fn is_store(path: &Path) -> bool {
    path.join("CURRENT").exists()
}

fn database_options(create: bool) -> Result<Options, StoreError> {
    // The manifest names the first and last key of every file there ever was, and some keys hold what callers wrote: each
    // change begins a new one. It takes some 200 bytes a file.
    let manifest = "max_manifest_file_size=1;max_manifest_space_amp_pct=0";
    let mut options = Options::default().get_options_from_string(manifest).map_err(classify)?;
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(MAX_WAL_BYTES);
    options.set_db_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(4);
    // It would tell the keys of rows.
    options.set_log_level(LogLevel::Warn);
    options.set_max_open_files(512);
    Ok(options)
}

fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options.set_memtable_insert_hint_per_batch(true);
    options
}

fn classify(error: rocksdb::Error) -> StoreError {
    // RocksDB has no kind of its own for a lock that is held, and names paths, which may hold any word.
    let text = error.as_ref();
    if text.contains("lock hold by current process") || text.contains("While lock file") {
        StoreError::InUse
    } else {
        StoreError::Io(Box::new(error))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests;
