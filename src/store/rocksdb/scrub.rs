//! Making removed bodies leave the files: a delete in RocksDB only covers a row, and its bytes stay in the log and in the
//! sorted files until these are written anew.
//!
//! 1. All write buffers are flushed, so that the log is rolled and the old logs go.
//! 2. Of each column family the places that hold a removed row are compacted down to the bottommost level, which forced
//!    compaction writes anew without what is deleted: one bottommost file after the other, untouched ones left alone.
//! 3. The old files must be gone from the folder: an open reader keeps one, and then this has not succeeded.
//!
//! Bounded by the files that are touched, whatever the number of bodies, at worst the whole column family; paced by the
//! caller.

use std::collections::BTreeMap;

use rocksdb::{BottommostLevelCompaction, CompactOptions, FlushOptions, WriteOptions};

use super::super::{LedgerNumber, Lookup, Scrub, StoreError};
use super::{RocksStore, classify, schema};
use crate::env;
use crate::spec::event::BodyKind;

/// A row in [`schema::SYSTEM`] that is written so that there is something to flush, and the log is rolled.
const SCRUBBED_KEY: &[u8] = b"scrubbed";

/// Keys, or ranges of keys, that were deleted in one column family.
type Touched = Vec<(Vec<u8>, Vec<u8>)>;

/// What is compacted at once.
#[derive(Debug, PartialEq, Eq)]
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

    /// What to compact so that every touched row is written anew: the bottommost files that hold one, and what lies in upper
    /// levels alone. The names of all files that may hold a touched row are added to `old`: afterwards they must be gone.
    fn spans(&self, table: &'static str, touched: &Touched, old: &mut Vec<String>) -> Result<Vec<Span>, StoreError> {
        let mut files = self.db.live_files().map_err(classify)?;
        files.retain(|file| file.column_family_name == table);
        files.sort_by(|a, b| a.start_key.cmp(&b.start_key));
        let bottom = files.iter().map(|file| file.level).max().unwrap_or(0);
        let (mut bottommost, mut upper) = (Vec::new(), 0);
        for file in files {
            let Some((start, end)) = file.start_key.zip(file.end_key) else {
                continue;
            };
            let (touches, bytes) = (meets(touched, &start, &end), file.size as u64);
            if touches {
                old.push(file.name.trim_start_matches('/').to_owned());
            }
            if file.level == bottom && bottom > 0 {
                bottommost.push((touches, Span { start, end, bytes }));
            } else if touches {
                upper += bytes;
            }
        }
        Ok(cover(touched, bottommost, upper))
    }
}

/// The touched files of the bottommost level, and between them what lies in upper levels alone, which takes `upper` bytes.
fn cover(touched: &Touched, bottommost: Vec<(bool, Span)>, upper: u64) -> Vec<Span> {
    let (mut spans, mut rest, mut above) = (Vec::<Span>::new(), touched.iter().peekable(), upper);
    let mut alone = |rest: &mut std::iter::Peekable<std::slice::Iter<'_, _>>, until: Option<&[u8]>| {
        let mut gap: Option<Span> = None;
        while let Some((start, end)) = rest.next_if(|(start, _): &&(Vec<u8>, Vec<u8>)| {
            until.is_none_or(|until| start.as_slice() < until)
        }) {
            let span = gap.get_or_insert_with(|| Span {
                start: start.clone(),
                end: end.clone(),
                bytes: std::mem::take(&mut above),
            });
            span.end = std::mem::take(&mut span.end).max(end.clone());
        }
        gap
    };
    for (touches, file) in bottommost {
        spans.extend(alone(&mut rest, Some(&file.start)));
        while rest.next_if(|(start, _)| *start <= file.end).is_some() {}
        if touches {
            spans.push(file);
        }
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
        let whole = (schema::stream(ledger, None), schema::stream(LedgerNumber(ledger.0.saturating_add(1)), None));
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

    fn span(start: u8, end: u8, bytes: u64) -> Span {
        Span {
            start: vec![start],
            end: vec![end],
            bytes,
        }
    }

    #[test]
    fn untouched_files_are_left_alone_and_what_lies_above_is_not_forgotten() {
        let touched: Touched = [5, 7, 31, 33, 60, 61].map(|key| (vec![key], vec![key])).to_vec();
        let files = vec![
            (true, span(0, 6, 10)),
            (true, span(7, 20, 10)),
            (false, span(40, 50, 10)),
        ];
        assert_eq!(
            cover(&touched, files, 4),
            [span(0, 6, 10), span(7, 20, 10), span(31, 33, 4), span(60, 61, 0)]
        );
        assert!(cover(&Vec::new(), vec![(false, span(0, 9, 1))], 0).is_empty());
    }

    #[test]
    fn a_file_is_met_by_what_lies_within() {
        let touched: Touched = vec![(vec![5], vec![5]), (vec![9], vec![12])];
        for (start, end, met) in [(0, 4, false), (0, 5, true), (6, 8, false), (10, 11, true), (12, 20, true), (13, 20, false)] {
            assert_eq!(meets(&touched, &[start], &[end]), met, "{start} to {end}");
        }
    }
}
