//! Making removed bodies leave the files: a delete in RocksDB only covers a row, and its bytes stay in the log and in the
//! sorted files until these are written anew.
//!
//! 1. All write buffers are flushed, so that the log is rolled and the old logs go.
//! 2. Of each column family the places that hold a removed row are compacted down to the bottommost level, which forced
//!    compaction writes anew without what is deleted: one bottommost file after the other, untouched ones left alone.
//! 3. The manifest, which names the first and last key of every file there was, is begun anew.
//! 4. The old files must be gone from the folder: an open reader keeps one, and then this has not succeeded.
//!
//! Bounded by the files that are touched, whatever the number of bodies, at worst the whole column family; paced by the
//! caller.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::slice::Iter;

use rocksdb::{BottommostLevelCompaction, CompactOptions, FlushOptions, WriteOptions};

use super::super::{LedgerNumber, Lookup, Scrub, StoreError};
use super::{RocksStore, classify, schema};
use crate::env;
use crate::spec::event::BodyKind;

/// A row in [`schema::SYSTEM`] that is written so that there is something to flush, and the log is rolled.
const SCRUBBED_KEY: &[u8] = b"scrubbed";

/// The beginning of the manifest's name, and changes after which it must have been begun anew; two are enough.
const MANIFEST: &str = "MANIFEST-";
const MANIFEST_CHANGES: usize = 8;

/// After the first pass a file may be left that only was moved to the bottommost level, since nothing overlaps it, or that
/// holds no removed row although its range meets one: a further pass writes it anew from end to end.
const PASSES: usize = 4;

/// Keys, or ranges of keys, that were deleted in one column family.
type Touched = Vec<(Vec<u8>, Vec<u8>)>;

/// What is compacted at once: the place of a file, or of what lies between files.
#[derive(Debug, PartialEq, Eq)]
struct Span {
    /// Of the file; empty for what lies between.
    name: String,
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
        let rolled = |name: &String| name.ends_with(".log") || name.starts_with(MANIFEST);
        let mut old: Vec<String> = before.into_iter().filter(rolled).collect();
        self.roll_log()?;
        for (table, touched) in touched(ledger, removed) {
            let files = self.files(table, |start, end| meets(&touched, start, end))?;
            let names: Vec<_> = files.iter().map(|(_, file)| file.name.clone()).collect();
            let mut spans = cover(&touched, files);
            for _ in 0..PASSES {
                for span in spans {
                    self.compact(table, &span)?;
                    if !pause(span.bytes) {
                        return Ok(false);
                    }
                }
                let mut left = self.files(table, |_, _| true)?;
                left.retain(|(_, file)| names.contains(&file.name));
                spans = left.into_iter().map(|(_, file)| file).collect();
            }
            old.extend(names);
        }
        for _ in 0..MANIFEST_CHANGES {
            let manifest = old.iter().find(|name| name.starts_with(MANIFEST));
            if manifest.is_none_or(|name| !self.db.path().join(name).exists()) {
                break;
            }
            self.roll_log()?;
        }
        env::wait_until_gone(self.db.path(), &old).map_err(io)
    }

    fn compact(&self, table: &'static str, span: &Span) -> Result<(), StoreError> {
        let mut options = CompactOptions::default();
        options.set_exclusive_manual_compaction(false);
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        let (start, end) = (Some(&span.start), Some(&span.end));
        self.db.compact_range_cf_opt(self.table(table)?, start, end, &options);
        Ok(())
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

    /// The files whose places are wanted, in order, each with whether it is of the bottommost level.
    fn files(&self, table: &str, wanted: impl Fn(&[u8], &[u8]) -> bool) -> Result<Vec<(bool, Span)>, StoreError> {
        let mut files = self.db.live_files().map_err(classify)?;
        files.retain(|file| file.column_family_name == table);
        let bottom = files.iter().map(|file| file.level).max().unwrap_or(0);
        let mut found = Vec::with_capacity(files.len());
        for file in files {
            let Some((start, end)) = file.start_key.zip(file.end_key) else {
                continue;
            };
            if wanted(&start, &end) {
                let name = file.name.trim_start_matches('/').to_owned();
                let bytes = file.size as u64;
                let span = Span {
                    name,
                    start,
                    end,
                    bytes,
                };
                found.push((file.level == bottom && bottom > 0, span));
            }
        }
        found.sort_by(|(_, a), (_, b)| a.start.cmp(&b.start));
        Ok(found)
    }
}

/// The bottommost ones of the touched files, and between them the touched places that lie in upper levels alone.
fn cover(touched: &Touched, files: Vec<(bool, Span)>) -> Vec<Span> {
    let (mut spans, mut rest) = (Vec::<Span>::new(), touched.iter().peekable());
    let (bottommost, upper): (Vec<_>, Vec<_>) = files.into_iter().partition(|(bottommost, _)| *bottommost);
    let mut above: u64 = upper.iter().map(|(_, file)| file.bytes).sum();
    let mut alone = |rest: &mut Peekable<Iter<'_, (Vec<u8>, Vec<u8>)>>, until: Option<&[u8]>| {
        let mut gap: Option<Span> = None;
        while let Some((start, end)) = rest.next_if(|place| until.is_none_or(|until| place.0.as_slice() < until)) {
            let span = gap.get_or_insert_with(|| Span {
                name: String::new(),
                start: start.clone(),
                end: end.clone(),
                bytes: std::mem::take(&mut above),
            });
            span.end = std::mem::take(&mut span.end).max(end.clone());
        }
        gap
    };
    for (_, file) in bottommost {
        spans.extend(alone(&mut rest, Some(&file.start)));
        while rest.next_if(|(start, _)| *start <= file.end).is_some() {}
        spans.push(file);
    }
    spans.extend(alone(&mut rest, None));
    spans
}

/// Whether one of the ranges, which ascend and do not overlap, meets the file's.
fn meets(touched: &Touched, start: &[u8], end: &[u8]) -> bool {
    let first = touched.partition_point(|(_, last)| last.as_slice() < start);
    touched.get(first).is_some_and(|(first, _)| first.as_slice() <= end)
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
        let whole = (
            schema::stream(ledger, None),
            schema::stream(LedgerNumber(ledger.0.saturating_add(1)), None),
        );
        tables.insert(schema::LOOKUP, vec![whole.clone()]);
        tables.insert(schema::STREAMS, vec![whole]);
    }
    for ranges in tables.values_mut() {
        ranges.sort();
    }
    tables
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn span(name: &str, start: u8, end: u8, bytes: u64) -> Span {
        Span {
            name: name.into(),
            start: vec![start],
            end: vec![end],
            bytes,
        }
    }

    #[test]
    fn bottommost_files_are_taken_whole_and_what_lies_above_alone_is_not_forgotten() {
        let touched: Touched = [5, 7, 31, 33, 60, 61].map(|key| (vec![key], vec![key])).to_vec();
        let files = vec![
            (true, span("a", 0, 6, 10)),
            (true, span("b", 7, 20, 10)),
            (false, span("c", 30, 70, 4)),
            (true, span("d", 59, 60, 10)),
        ];
        let expected = [
            span("a", 0, 6, 10),
            span("b", 7, 20, 10),
            span("", 31, 33, 4),
            span("d", 59, 60, 10),
            span("", 61, 61, 0),
        ];
        assert_eq!(cover(&touched, files), expected);
        assert!(cover(&Vec::new(), Vec::new()).is_empty());
    }

    #[test]
    fn a_file_is_met_by_what_lies_within() {
        let touched: Touched = vec![(vec![5], vec![5]), (vec![9], vec![12])];
        for (start, end, met) in [
            (0, 4, false),
            (0, 5, true),
            (6, 8, false),
            (10, 11, true),
            (12, 20, true),
            (13, 20, false),
        ] {
            assert_eq!(meets(&touched, &[start], &[end]), met, "{start} to {end}");
        }
    }
}
