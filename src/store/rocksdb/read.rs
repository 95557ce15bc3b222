//! Reads. Ranges are bounded by the caller, who never asks past the head it knows.

use std::ops::Range;

use rocksdb::{ColumnFamily, DBPinnableSlice, ReadOptions};
use uuid::Uuid;

use super::super::{
    Batch, BodyRow, Direction, Head, HeaderRow, LedgerNumber, LedgerRecord, LedgerStore, Lookup, RecordWrite, Scrub,
    StoreError, StreamRow,
};
use super::{RocksStore, classify, commit, schema};
use crate::spec::event::{BodyKind, Header};
use crate::spec::ids::{EventType, LedgerId, StreamName, StreamRef};
use crate::spec::tiles::TileId;

/// Indexes from which a range is read as a whole: ahead of need, and past the cache, which serves those who come back.
const LONG: u64 = 1_000;
const READ_AHEAD: usize = 2 << 20;

type Row<'a> = (&'a [u8], &'a [u8]);

fn damaged(table: &'static str, what: impl ToString) -> StoreError {
    StoreError::Damaged {
        table,
        what: what.to_string(),
    }
}

impl RocksStore {
    pub(super) fn read_head(&self, ledger: LedgerNumber) -> Result<Option<Head>, StoreError> {
        let row = self
            .db
            .get_pinned_cf(self.table(schema::SYSTEM)?, schema::head(ledger))
            .map_err(classify)?;
        row.map(|row| commit::decode_head(&row).ok_or_else(|| damaged(schema::SYSTEM, "head")))
            .transpose()
    }

    /// Rows whose keys lie in the range, in the order asked for, until `take` says stop.
    fn scan(
        &self,
        table: &'static str,
        keys: Range<Vec<u8>>,
        direction: Direction,
        take: impl FnMut(Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.scan_with(ReadOptions::default(), table, keys, direction, take)
    }

    fn scan_with(
        &self,
        mut options: ReadOptions,
        table: &'static str,
        keys: Range<Vec<u8>>,
        direction: Direction,
        mut take: impl FnMut(Row<'_>) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        if keys.start >= keys.end {
            return Ok(());
        }
        options.set_iterate_lower_bound(keys.start);
        options.set_iterate_upper_bound(keys.end);
        let mut rows = self.db.raw_iterator_cf_opt(self.table(table)?, options);
        match direction {
            Direction::Forward => rows.seek_to_first(),
            Direction::Backward => rows.seek_to_last(),
        }
        while let Some(row) = rows.item() {
            if !take(row)? {
                return Ok(());
            }
            match direction {
                Direction::Forward => rows.next(),
                Direction::Backward => rows.prev(),
            }
        }
        // The end of the range, or an error.
        rows.status().map_err(classify)
    }

    fn read_bodies(
        &self,
        table: &'static str,
        ledger: LedgerNumber,
        indexes: Range<u64>,
        out: &mut Vec<BodyRow>,
    ) -> Result<(), StoreError> {
        let keys = schema::numbered(ledger, indexes.start)..schema::numbered(ledger, indexes.end);
        self.scan_with(by_index(&indexes), table, keys, Direction::Forward, |(key, value)| {
            let (index, ordinal) = schema::split_body(key).ok_or_else(|| damaged(table, "key"))?;
            out.push(decode_body(table, (index, ordinal), value)?);
            Ok(true)
        })
    }

    /// The rows of the keys. One alone goes the shorter way.
    fn many(&self, table: &ColumnFamily, keys: &[Vec<u8>]) -> Vec<Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>> {
        match keys {
            [key] => vec![self.db.get_pinned_cf(table, key)],
            keys => self.db.batched_multi_get_cf(table, keys, false),
        }
    }

    /// The bodies of one table, in the order asked for.
    fn bodies_in(
        &self,
        table: &'static str,
        ledger: LedgerNumber,
        bodies: impl Iterator<Item = (u64, u16)> + Clone,
    ) -> Result<Vec<Option<BodyRow>>, StoreError> {
        let keys: Vec<_> = bodies
            .clone()
            .map(|(index, ordinal)| schema::body(ledger, index, ordinal))
            .collect();
        let rows = self.many(self.table(table)?, &keys);
        rows.into_iter()
            .zip(bodies)
            .map(|(row, place)| {
                let row = row.map_err(classify)?;
                row.map(|row| decode_body(table, place, &row)).transpose()
            })
            .collect()
    }

    /// The indexes of one block that are of the type, in order of the direction.
    fn of_type(
        &self,
        ledger: LedgerNumber,
        event_type: &EventType,
        indexes: Range<u64>,
        direction: Direction,
    ) -> Result<Vec<u64>, StoreError> {
        let mut found = Vec::new();
        for row in self.headers(ledger, indexes)? {
            let header = Header::decode(&row.header).map_err(|error| damaged(schema::HEADERS, error))?;
            if header.event_type == *event_type {
                found.push(row.index);
            }
        }
        if direction == Direction::Backward {
            found.reverse();
        }
        Ok(found)
    }
}

impl LedgerStore for RocksStore {
    fn id(&self) -> LedgerId {
        self.id
    }

    fn ledgers(&self) -> Result<Vec<LedgerRecord>, StoreError> {
        let keys = schema::registry(LedgerNumber(0))..schema::registry(LedgerNumber(u32::MAX));
        let mut ledgers = Vec::new();
        self.scan(schema::SYSTEM, keys, Direction::Forward, |(_, value)| {
            ledgers.push(serde_json::from_slice(value).map_err(|error| damaged(schema::SYSTEM, error))?);
            Ok(true)
        })?;
        Ok(ledgers)
    }

    fn head(&self, ledger: LedgerNumber) -> Result<Option<Head>, StoreError> {
        self.read_head(ledger)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.write(batch)
    }

    fn headers(&self, ledger: LedgerNumber, indexes: Range<u64>) -> Result<Vec<HeaderRow>, StoreError> {
        let keys = schema::numbered(ledger, indexes.start)..schema::numbered(ledger, indexes.end);
        let mut rows = Vec::new();
        self.scan_with(
            by_index(&indexes),
            schema::HEADERS,
            keys,
            Direction::Forward,
            |(key, value)| {
                let index = schema::trailing_number(key).ok_or_else(|| damaged(schema::HEADERS, "key"))?;
                rows.push(decode_header(index, value)?);
                Ok(true)
            },
        )?;
        Ok(rows)
    }

    fn bodies(&self, ledger: LedgerNumber, indexes: Range<u64>) -> Result<Vec<BodyRow>, StoreError> {
        let mut rows = Vec::new();
        self.read_bodies(schema::BODIES, ledger, indexes.clone(), &mut rows)?;
        let public = rows.len();
        self.read_bodies(schema::SEALED, ledger, indexes, &mut rows)?;
        if rows.len() > public && public > 0 {
            rows.sort_by_key(|row| (row.index, row.ordinal));
        }
        Ok(rows)
    }

    fn headers_at(&self, ledger: LedgerNumber, indexes: &[u64]) -> Result<Vec<Option<HeaderRow>>, StoreError> {
        let table = self.table(schema::HEADERS)?;
        let keys: Vec<_> = indexes.iter().map(|index| schema::numbered(ledger, *index)).collect();
        let rows = self.many(table, &keys);
        rows.into_iter()
            .zip(indexes)
            .map(|(row, index)| {
                let row = row.map_err(classify)?;
                row.map(|row| decode_header(*index, &row)).transpose()
            })
            .collect()
    }

    fn bodies_at(
        &self,
        ledger: LedgerNumber,
        bodies: &[(u64, u16, BodyKind)],
    ) -> Result<Vec<Option<BodyRow>>, StoreError> {
        let of = |sealed: bool| {
            let wanted = bodies
                .iter()
                .filter(move |(_, _, kind)| (*kind == BodyKind::Sealed) == sealed);
            wanted.map(|(index, ordinal, _)| (*index, *ordinal))
        };
        let mut public = self.bodies_in(schema::BODIES, ledger, of(false))?.into_iter();
        let mut sealed = self.bodies_in(schema::SEALED, ledger, of(true))?.into_iter();
        let row = |(_, _, kind): &(u64, u16, BodyKind)| match kind {
            BodyKind::Sealed => sealed.next().flatten(),
            BodyKind::Meta | BodyKind::Data => public.next().flatten(),
        };
        Ok(bodies.iter().map(row).collect())
    }

    fn removed(&self, ledger: LedgerNumber, bodies: &[(u64, u16)]) -> Result<Vec<Option<u64>>, StoreError> {
        let table = self.table(schema::REMOVED)?;
        let keys = bodies
            .iter()
            .map(|(index, ordinal)| schema::body(ledger, *index, *ordinal));
        let keys: Vec<_> = keys.collect();
        let rows = self.db.batched_multi_get_cf(table, &keys, false);
        rows.into_iter()
            .map(|row| match row.map_err(classify)? {
                None => Ok(None),
                Some(row) => schema::trailing_number(&row)
                    .map(Some)
                    .ok_or_else(|| damaged(schema::REMOVED, "row")),
            })
            .collect()
    }

    fn scrub(
        &self,
        ledger: LedgerNumber,
        removed: &Scrub,
        pause: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StoreError> {
        self.rewrite(ledger, removed, pause)
    }

    fn indexes_of(&self, ledger: LedgerNumber, ids: &[Uuid]) -> Result<Vec<Option<u64>>, StoreError> {
        let table = self.table(schema::IDS)?;
        let keys: Vec<_> = ids.iter().map(|id| schema::id(ledger, id)).collect();
        let rows = self.many(table, &keys);
        rows.into_iter()
            .map(|row| match row.map_err(classify)? {
                None => Ok(None),
                Some(row) => schema::trailing_number(&row)
                    .map(Some)
                    .ok_or_else(|| damaged(schema::IDS, "row")),
            })
            .collect()
    }

    fn stream_rows(&self, ledger: LedgerNumber, names: &[StreamName]) -> Result<Vec<Option<StreamRow>>, StoreError> {
        let table = self.table(schema::STREAMS)?;
        let keys: Vec<_> = names.iter().map(|name| schema::stream(ledger, Some(name))).collect();
        let rows = self.many(table, &keys);
        rows.into_iter()
            .map(|row| match row.map_err(classify)? {
                None => Ok(None),
                Some(row) => decode_stream(&row)
                    .map(Some)
                    .ok_or_else(|| damaged(schema::STREAMS, "row")),
            })
            .collect()
    }

    fn streams(
        &self,
        ledger: LedgerNumber,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, StreamRow)>, StoreError> {
        let start = schema::successor(schema::stream(ledger, after));
        let start = if after.is_none() {
            schema::stream(ledger, None)
        } else {
            start
        };
        let keys = start..schema::stream(LedgerNumber(ledger.0.saturating_add(1)), None);
        let mut streams = Vec::new();
        self.scan(schema::STREAMS, keys, Direction::Forward, |(key, value)| {
            let name = key
                .get(4..)
                .and_then(|name| std::str::from_utf8(name).ok())
                .and_then(|name| name.parse().ok());
            let row = name
                .zip(decode_stream(value))
                .ok_or_else(|| damaged(schema::STREAMS, "row"))?;
            streams.push(row);
            Ok(streams.len() < limit)
        })?;
        Ok(streams)
    }

    fn stream_events(
        &self,
        ledger: LedgerNumber,
        stream: StreamRef,
        versions: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        let start = schema::stream_event(ledger, stream, versions.start);
        let keys = start..schema::stream_event(ledger, stream, versions.end);
        let mut indexes = Vec::new();
        self.scan(schema::STREAM_EVENTS, keys, direction, |(_, value)| {
            indexes.push(schema::trailing_number(value).ok_or_else(|| damaged(schema::STREAM_EVENTS, "row"))?);
            Ok(indexes.len() < limit)
        })?;
        Ok(indexes)
    }

    fn find(
        &self,
        ledger: LedgerNumber,
        lookup: &Lookup,
        indexes: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        if indexes.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        let keys = schema::lookup_range(ledger, lookup, &indexes);
        self.scan(schema::LOOKUP, keys, direction, |(key, _)| {
            let number = schema::trailing_number(key).ok_or_else(|| damaged(schema::LOOKUP, "key"))?;
            if let Lookup::Type(event_type) = lookup {
                let first = number.saturating_mul(schema::TYPE_BLOCK);
                let block = first.max(indexes.start)..(first + schema::TYPE_BLOCK).min(indexes.end);
                found.extend(self.of_type(ledger, event_type, block, direction)?);
            } else {
                found.push(number);
            }
            Ok(found.len() < limit)
        })?;
        found.truncate(limit);
        Ok(found)
    }

    fn tiles(&self, ledger: LedgerNumber, ids: &[TileId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let table = self.table(schema::TILES)?;
        let keys: Vec<_> = ids.iter().map(|id| schema::tile(ledger, id)).collect();
        let rows = self.many(table, &keys);
        rows.into_iter()
            .map(|row| Ok(row.map_err(classify)?.map(|row| row.to_vec())))
            .collect()
    }

    fn checkpoint(&self, ledger: LedgerNumber, size: u64) -> Result<Option<(u64, String)>, StoreError> {
        let keys = schema::numbered(ledger, size)..schema::numbered(LedgerNumber(ledger.0.saturating_add(1)), 0);
        let mut found = None;
        self.scan(schema::CHECKPOINTS, keys, Direction::Forward, |(key, value)| {
            let size = schema::trailing_number(key).ok_or_else(|| damaged(schema::CHECKPOINTS, "key"))?;
            let note = String::from_utf8(value.into()).map_err(|error| damaged(schema::CHECKPOINTS, error))?;
            found = Some((size, note));
            Ok(false)
        })?;
        Ok(found)
    }

    fn record(&self, ledger: Option<LedgerNumber>, kind: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.db
            .get_cf(self.table(schema::RECORDS)?, schema::record(ledger, kind, id))
            .map_err(classify)
    }

    fn records(&self, ledger: Option<LedgerNumber>, kind: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let start = schema::record(ledger, kind, "");
        let mut end = start.clone();
        end.pop();
        end.push(1);
        let prefix = start.len();
        let mut records = Vec::new();
        self.scan(schema::RECORDS, start..end, Direction::Forward, |(key, value)| {
            let id = key.get(prefix..).and_then(|id| std::str::from_utf8(id).ok());
            records.push((
                id.ok_or_else(|| damaged(schema::RECORDS, "key"))?.to_owned(),
                value.into(),
            ));
            Ok(true)
        })?;
        Ok(records)
    }

    fn disk_bytes(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        self.bytes_by_kind()
    }

    fn put_records(&self, records: &[RecordWrite]) -> Result<(), StoreError> {
        self.write_records(records)
    }
}

fn decode_header(index: u64, row: &[u8]) -> Result<HeaderRow, StoreError> {
    let (header, signature) = split_header(row).ok_or_else(|| damaged(schema::HEADERS, index))?;
    Ok(HeaderRow {
        index,
        header: header.to_vec(),
        signature: signature.to_vec(),
    })
}

fn decode_body(table: &'static str, (index, ordinal): (u64, u16), row: &[u8]) -> Result<BodyRow, StoreError> {
    let (salt, bytes) = row
        .split_first_chunk()
        .ok_or_else(|| damaged(table, format!("body of {index}")))?;
    Ok(BodyRow {
        index,
        ordinal,
        salt: *salt,
        bytes: bytes.to_vec(),
    })
}

/// How a range of indexes is read.
fn by_index(indexes: &Range<u64>) -> ReadOptions {
    let mut options = ReadOptions::default();
    if indexes.end.saturating_sub(indexes.start) >= LONG {
        options.fill_cache(false);
        options.set_readahead_size(READ_AHEAD);
    }
    options
}

fn split_header(row: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = row.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

fn decode_stream(row: &[u8]) -> Option<StreamRow> {
    let stream_ref = StreamRef::try_from(row.get(..16)?).ok()?;
    let version = u64::from_be_bytes(row.get(16..)?.try_into().ok()?);
    Some(StreamRow { stream_ref, version })
}
