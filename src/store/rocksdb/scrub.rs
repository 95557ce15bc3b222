//! Making removed bodies leave the files: a delete in RocksDB only covers a row, and its bytes stay in the log and in the
//! sorted files until these are written anew.
//!
//! 1. All write buffers are flushed, so that the log is rolled and the old logs go.
//! 2. Of each column family the files that hold a removed row's place are compacted down to the bottommost level, which
//!    forced compaction writes anew without what is deleted. Neighbours go together; others are left alone.
//! 3. The old files must be gone from the folder: an open reader keeps one, and then this has not succeeded.
//!
//! Bounded by the files that are touched, whatever the number of bodies; paced by the caller.

use std::collections::BTreeMap;

use rocksdb::{BottommostLevelCompaction, CompactOptions, FlushOptions, LiveFile, WriteOptions};

use super::super::{LedgerNumber, Lookup, Scrub, StoreError};
use super::{RocksStore, classify, schema};
use crate::env;
use crate::spec::event::BodyKind;

/// A row in [`schema::SYSTEM`] that is written so that there is something to flush, and the log is rolled.
const SCRUBBED_KEY: &[u8] = b"scrubbed";

/// Keys, or ranges of keys, that were deleted in one column family.
type Touched = Vec<(Vec<u8>, Vec<u8>)>;

/// Files that lie side by side.
struct Span {
    start: Vec<u8>,
    end: Vec<u8>,
    bytes: u64,
}

impl RocksStore {
    /// See `LedgerStore::scrub`.
    pub(super) fn rewrite(
        &self,
        ledger: LedgerNumber,
        removed: &Scrub,
        pause: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StoreError> {
        let io = |error| StoreError::Io(Box::new(error));
        let before = env::file_names(self.db.path()).map_err(io)?;
        let logs = before.into_iter().filter(|name| name.ends_with(".log"));
        let mut old: Vec<String> = logs.collect();
        self.roll_log()?;
        for (table, touched) in touched(ledger, removed) {
            for span in self.spans(table, &touched, &mut old)? {
                let mut options = CompactOptions::default();
                options.set_exclusive_manual_compaction(false);
                options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
                let (start, end) = (Some(&span.start), Some(&span.end));
                self.db.compact_range_cf_opt(self.table(table)?, start, end, &options);
                if !pause(span.bytes) {
                    return Ok(false);
                }
            }
        }
        env::wait_until_gone(self.db.path(), &old).map_err(io)
    }

    /// After this every log that was there before is of no use any more, and RocksDB deletes it.
    fn roll_log(&self) -> Result<(), StoreError> {
        let mark = (self.table(schema::SYSTEM)?, SCRUBBED_KEY, []);
        self.db
            .put_cf_opt(mark.0, mark.1, mark.2, &WriteOptions::default())
            .map_err(classify)?;
        let tables = schema::ALL.iter().map(|name| self.table(name));
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        self.db
            .flush_cfs_opt(&tables, &FlushOptions::default())
            .map_err(classify)
    }

    /// The places of all files that may hold a touched row, whatever their level, joined where they meet. Their names are
    /// added to `old`: afterwards they must be gone.
    fn spans(&self, table: &'static str, touched: &Touched, old: &mut Vec<String>) -> Result<Vec<Span>, StoreError> {
        let mut spans: Vec<Span> = Vec::new();
        let mut files = self.db.live_files().map_err(classify)?;
        files.retain(|file| file.column_family_name == table);
        files.sort_by(|a, b| a.start_key.cmp(&b.start_key));
        for file in files {
            let Some((start, end)) = range_of(&file).filter(|range| meets(touched, range)) else {
                continue;
            };
            old.push(file.name.trim_start_matches('/').to_owned());
            let bytes = file.size as u64;
            match spans.last_mut().filter(|last| last.end >= start) {
                Some(last) => {
                    last.end = std::mem::take(&mut last.end).max(end);
                    last.bytes += bytes;
                }
                None => spans.push(Span { start, end, bytes }),
            }
        }
        Ok(spans)
    }
}

fn range_of(file: &LiveFile) -> Option<(Vec<u8>, Vec<u8>)> {
    file.start_key.clone().zip(file.end_key.clone())
}

/// Whether one of the ranges, which ascend and do not overlap, meets the file's.
fn meets(touched: &Touched, (start, end): &(Vec<u8>, Vec<u8>)) -> bool {
    let first = touched.partition_point(|(_, last)| last < start);
    touched.get(first).is_some_and(|(first, _)| first <= end)
}

/// What was deleted, by column family.
fn touched(ledger: LedgerNumber, removed: &Scrub) -> BTreeMap<&'static str, Touched> {
    let mut tables: BTreeMap<&'static str, Touched> = BTreeMap::new();
    for (index, ordinal, kind) in &removed.bodies {
        let table = match kind {
            BodyKind::Sealed => schema::SEALED,
            BodyKind::Meta | BodyKind::Data => schema::BODIES,
        };
        let key = schema::body(ledger, *index, *ordinal);
        tables.entry(table).or_default().push((key.clone(), key));
    }
    for handle in &removed.handles {
        let all = schema::lookup_range(ledger, &Lookup::Handle(*handle), &(0..u64::MAX));
        tables.entry(schema::LOOKUP).or_default().push((all.start, all.end));
    }
    if removed.names {
        let whole = (schema::stream(ledger, None), schema::stream(LedgerNumber(ledger.0.saturating_add(1)), None));
        tables.insert(schema::LOOKUP, vec![whole.clone()]);
        tables.insert(schema::STREAMS, vec![whole]);
    }
    for ranges in tables.values_mut() {
        ranges.sort();
    }
    tables
}
