//! Making destroyed keys leave the files (T3). A delete only covers a row; its bytes stay in the log, in sorted files and,
//! as the bounds of files, in the manifest.
//!
//! Flush, so that the log is rolled; forced compaction of every level, the bottommost too, which writes all files anew
//! without what is deleted; then changes of the manifest until it was begun anew, too. In the end none of the files is left
//! that were there before: what was deleted before the call is in no file. A reader that keeps one is waited for some
//! seconds, and told.
//!
//! It rewrites the whole key store, some 150 bytes a key: a million people take seconds. Out of scope: blocks that the file
//! system or the device has freed and not yet written over (docs/threat-model.md).

use rocksdb::{BottommostLevelCompaction, CompactOptions, DB, FlushOptions, WriteOptions};

use super::database::Database;
use super::rows;
use crate::env;
use crate::keystore::KeyStoreError;
use crate::keystore::rocksdb::ledger::broken;

/// A file that nothing overlaps is only moved to the bottommost level by the first pass; the second writes it anew.
const PASSES: usize = 2;

/// Changes after which the manifest must have been begun anew; two are enough.
const MANIFEST_CHANGES: usize = 8;

impl Database {
    /// See `KeyStore::scrub`.
    pub(super) fn scrub(&self) -> Result<bool, KeyStoreError> {
        let db = self.engine();
        let mut old = env::file_names(db.path()).map_err(broken)?;
        old.retain(|name| holds_rows(name));
        touch(db)?;
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for _ in 0..PASSES {
            db.compact_range_opt(None::<&[u8]>, None::<&[u8]>, &options);
            let left = |name: &String| name.ends_with(".sst") && db.path().join(name).exists();
            if !old.iter().any(left) {
                break;
            }
        }
        for _ in 0..MANIFEST_CHANGES {
            let manifest = old.iter().find(|name| name.starts_with("MANIFEST-"));
            if manifest.is_none_or(|name| !db.path().join(name).exists()) {
                break;
            }
            touch(db)?;
        }
        env::wait_until_gone(db.path(), &old).map_err(broken)
    }
}

/// A small change, durable in a file of its own: rolls the log and changes the manifest.
fn touch(db: &DB) -> Result<(), KeyStoreError> {
    db.put_opt(rows::store_row("scrubbed"), [], &WriteOptions::default())?;
    let mut options = FlushOptions::default();
    options.set_wait(true);
    Ok(db.flush_opt(&options)?)
}

/// Whether a file of RocksDB's may hold rows or their keys.
fn holds_rows(name: &str) -> bool {
    [".log", ".sst", ".blob"].iter().any(|ending| name.ends_with(ending)) || name.starts_with("MANIFEST-")
}
