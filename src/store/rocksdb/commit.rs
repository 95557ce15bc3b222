//! The one write: compare the heads, gather all rows, write them synced.

use rocksdb::{ColumnFamily, WriteBatch};

use super::super::{Batch, Head, LedgerBatch, LedgerNumber, Lookup, RecordWrite, Removal, SequencedEvent, StoreError};
use super::{RocksStore, classify, schema, synced};
use crate::spec::event::{Actor, BodyKind};
use crate::spec::hash::Hash;
use crate::spec::ids::{EventType, Timestamp};
use crate::spec::tiles::encode_tile;

type Table<'a> = &'a ColumnFamily;

/// The column families that events go to.
struct Tables<'a> {
    headers: Table<'a>,
    bodies: Table<'a>,
    sealed: Table<'a>,
    ids: Table<'a>,
    stream_events: Table<'a>,
    lookup: Table<'a>,
}

impl RocksStore {
    /// See `LedgerStore::commit`.
    pub(super) fn write(&self, batch: &Batch) -> Result<(), StoreError> {
        for ledger in &batch.ledgers {
            if self.read_head(ledger.ledger.number)? != ledger.expected {
                return Err(StoreError::HeadMoved);
            }
        }
        let mut rows = WriteBatch::with_capacity_bytes(log_size(batch));
        for ledger in &batch.ledgers {
            self.add_ledger(&mut rows, ledger)?;
        }
        self.add_records(&mut rows, &batch.records)?;
        self.db.write_opt(rows, &synced()).map_err(classify)
    }

    /// See `LedgerStore::put_records`.
    pub(super) fn write_records(&self, records: &[RecordWrite]) -> Result<(), StoreError> {
        let mut rows = WriteBatch::default();
        self.add_records(&mut rows, records)?;
        self.db.write_opt(rows, &synced()).map_err(classify)
    }

    fn add_ledger(&self, rows: &mut WriteBatch, batch: &LedgerBatch) -> Result<(), StoreError> {
        let number = batch.ledger.number;
        let tables = Tables {
            headers: self.table(schema::HEADERS)?,
            bodies: self.table(schema::BODIES)?,
            sealed: self.table(schema::SEALED)?,
            ids: self.table(schema::IDS)?,
            stream_events: self.table(schema::STREAM_EVENTS)?,
            lookup: self.table(schema::LOOKUP)?,
        };
        add_events(rows, &tables, number, &batch.events);
        let streams = self.table(schema::STREAMS)?;
        let removed = self.table(schema::REMOVED)?;
        for (authority, removal) in &batch.removals {
            let key = schema::body(number, removal.index, removal.ordinal);
            rows.put_cf(removed, key, authority.to_be_bytes());
            remove(rows, &tables, streams, number, removal);
        }
        for (name, row) in &batch.streams {
            let value = [row.stream_ref.as_bytes().as_slice(), &row.version.to_be_bytes()].concat();
            rows.put_cf(streams, schema::stream(number, Some(name)), value);
        }
        let tiles = self.table(schema::TILES)?;
        for tile in &batch.tiles {
            rows.put_cf(tiles, schema::tile(number, &tile.id), encode_tile(&tile.hashes));
        }
        rows.put_cf(
            self.table(schema::CHECKPOINTS)?,
            schema::numbered(number, batch.head.size),
            batch.checkpoint.as_bytes(),
        );
        let system = self.table(schema::SYSTEM)?;
        if batch.expected.is_none() {
            let record = serde_json::to_vec(&batch.ledger).map_err(|error| StoreError::Io(Box::new(error)))?;
            rows.put_cf(system, schema::registry(number), record);
        }
        rows.put_cf(system, schema::head(number), encode_head(&batch.head));
        Ok(())
    }

    fn add_records(&self, rows: &mut WriteBatch, records: &[RecordWrite]) -> Result<(), StoreError> {
        let table = self.table(schema::RECORDS)?;
        for record in records {
            let key = schema::record(record.ledger, record.kind, &record.id);
            match &record.value {
                Some(value) => rows.put_cf(table, key, value),
                None => rows.delete_cf(table, key),
            }
        }
        Ok(())
    }
}

fn remove(rows: &mut WriteBatch, tables: &Tables<'_>, streams: Table<'_>, number: LedgerNumber, removal: &Removal) {
    let table = match removal.kind {
        BodyKind::Sealed => tables.sealed,
        BodyKind::Meta | BodyKind::Data => tables.bodies,
    };
    rows.delete_cf(table, schema::body(number, removal.index, removal.ordinal));
    for lookup in &removal.lookups {
        // Rows by type stand for a whole block of events.
        if !matches!(lookup, Lookup::Type(_)) {
            rows.delete_cf(tables.lookup, schema::lookup(number, lookup, removal.index));
        }
    }
    if let Some(name) = &removal.stream {
        rows.delete_cf(streams, schema::stream(number, Some(name)));
    }
}

/// Table by table, and indexes in the order of their keys: a row's place in a memtable is then near the one before,
/// which is still in the processor's cache.
fn add_events(rows: &mut WriteBatch, tables: &Tables<'_>, number: LedgerNumber, events: &[SequencedEvent]) {
    for event in events {
        let key = schema::numbered(number, event.row.index);
        rows.put_cf(tables.headers, key, encode_header_row(event));
    }
    add_bodies(rows, tables.bodies, number, events, |kind| kind != BodyKind::Sealed);
    add_bodies(rows, tables.sealed, number, events, |kind| kind == BodyKind::Sealed);
    let at = |event: &SequencedEvent| event.row.index.to_be_bytes();
    let ids = events
        .iter()
        .map(|event| (schema::id(number, &event.meta.id), at(event)));
    add_sorted(rows, tables.ids, ids.collect());
    let places = events.iter().map(|event| {
        (
            schema::stream_event(number, event.stream_ref, event.stream_version),
            at(event),
        )
    });
    add_sorted(rows, tables.stream_events, places.collect());
    let (mut lookups, mut types) = (Vec::with_capacity(events.len()), Types::default());
    for event in events {
        add_lookups(&mut lookups, number, event);
        types.add(&mut lookups, number, &event.event_type, event.row.index);
    }
    add_sorted(rows, tables.lookup, lookups.into_iter().map(|key| (key, [])).collect());
}

fn add_bodies(
    rows: &mut WriteBatch,
    table: Table<'_>,
    number: LedgerNumber,
    events: &[SequencedEvent],
    wanted: impl Fn(BodyKind) -> bool,
) {
    for event in events {
        for (ordinal, (kind, salt, bytes)) in (0_u16..).zip(&event.bodies) {
            if wanted(*kind) {
                let key = schema::body(number, event.row.index, ordinal);
                rows.put_cf(table, key, [salt.as_slice(), bytes].concat());
            }
        }
    }
}

fn add_sorted<const N: usize>(rows: &mut WriteBatch, table: Table<'_>, mut sorted: Vec<(Vec<u8>, [u8; N])>) {
    sorted.sort_unstable();
    for (key, value) in sorted {
        rows.put_cf(table, key, value);
    }
}

fn add_lookups(keys: &mut Vec<Vec<u8>>, number: LedgerNumber, event: &SequencedEvent) {
    let mut add = |kind, value: &[u8]| keys.push(schema::lookup_key(number, kind, value, event.row.index));
    for handle in &event.handles {
        add(b'h', handle.as_bytes());
    }
    if let Some(Actor::Subject(handle)) = &event.meta.actor
        && !event.handles.contains(handle)
    {
        add(b'h', handle.as_bytes());
    }
    if let Some(text) = &event.meta.correlation_id {
        add(b'c', text.as_bytes());
    }
    for tag in &event.meta.tags {
        add(b'g', tag.as_bytes());
    }
}

/// About how many bytes a batch takes in the log: a little more, so that it does not grow while rows are put.
fn log_size(batch: &Batch) -> usize {
    let body = |(_, _, bytes): &(BodyKind, [u8; 32], Vec<u8>)| bytes.len() + 64;
    let event = |event: &SequencedEvent| {
        let bodies: usize = event.bodies.iter().map(body).sum();
        256 + event.row.header.len() + event.row.signature.len() + bodies + 48 * event.meta.tags.len()
    };
    let ledger = |ledger: &LedgerBatch| {
        let events: usize = ledger.events.iter().map(event).sum();
        2048 + events + 160 * ledger.removals.len() + 96 * ledger.streams.len() + 8_300 * ledger.tiles.len()
    };
    4096 + batch.ledgers.iter().map(ledger).sum::<usize>()
}

/// Writes each type's row once a block of a batch, not once an event.
#[derive(Default)]
struct Types<'e> {
    block: u64,
    seen: Vec<&'e EventType>,
}

impl<'e> Types<'e> {
    fn add(&mut self, keys: &mut Vec<Vec<u8>>, ledger: LedgerNumber, event_type: &'e EventType, index: u64) {
        if index / schema::TYPE_BLOCK != self.block {
            self.block = index / schema::TYPE_BLOCK;
            self.seen.clear();
        }
        if !self.seen.contains(&event_type) {
            self.seen.push(event_type);
            keys.push(schema::lookup_type(ledger, event_type, index));
        }
    }
}

/// `u16 header length ‖ header ‖ signature`.
fn encode_header_row(event: &SequencedEvent) -> Vec<u8> {
    let (header, signature) = (&event.row.header, &event.row.signature);
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX).to_be_bytes();
    [length.as_slice(), header, signature].concat()
}

/// `u64 size ‖ last leaf hash ‖ u64 µs`.
fn encode_head(head: &Head) -> Vec<u8> {
    [
        head.size.to_be_bytes().as_slice(),
        head.last.as_bytes(),
        &head.recorded_at.0.to_be_bytes(),
    ]
    .concat()
}

pub(super) fn decode_head(row: &[u8]) -> Option<Head> {
    let size = u64::from_be_bytes(row.get(..8)?.try_into().ok()?);
    let last = Hash::try_from(row.get(8..40)?).ok()?;
    let recorded_at = Timestamp(u64::from_be_bytes(row.get(40..)?.try_into().ok()?));
    Some(Head {
        size,
        last,
        recorded_at,
    })
}
