//! Column families and row keys. Integers are big-endian and the ledger's number leads, so that rows of one ledger lie
//! together in order and compaction moves files instead of rewriting them.

use std::ops::Range;

use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, Options};
use uuid::Uuid;

use super::super::{LedgerNumber, Lookup};
use crate::spec::ids::{EventType, StreamName, StreamRef};
use crate::spec::tiles::TileId;

/// Format version, store id, ledger registry, heads.
pub(super) const SYSTEM: &str = "system";
/// (ledger, index) → header, signature.
pub(super) const HEADERS: &str = "headers";
/// (ledger, index, ordinal) → salt, bytes: meta and data.
pub(super) const BODIES: &str = "bodies";
/// (ledger, index, ordinal) → salt, bytes: sealed blocks.
pub(super) const SEALED: &str = "sealed";
/// (ledger, index, ordinal) of a removed body → leaf index of the event that is the authority.
pub(super) const REMOVED: &str = "removed";
/// (ledger, level, tile) → 256 hashes.
pub(super) const TILES: &str = "tiles";
/// (ledger, size) → signed note.
pub(super) const CHECKPOINTS: &str = "checkpoints";
/// (ledger, event id) → index.
pub(super) const IDS: &str = "ids";
/// (ledger, name) → stream ref, version.
pub(super) const STREAMS: &str = "streams";
/// (ledger, stream ref, version) → index.
pub(super) const STREAM_EVENTS: &str = "stream_events";
/// (ledger, kind, value, index) → nothing. Types are kept by block of 256 indexes, everything else exactly.
pub(super) const LOOKUP: &str = "lookup";
/// (scope, kind, id) → the service's own records.
pub(super) const RECORDS: &str = "records";

/// Every column family.
pub(super) const ALL: [&str; 12] = [
    SYSTEM,
    HEADERS,
    BODIES,
    SEALED,
    REMOVED,
    TILES,
    CHECKPOINTS,
    IDS,
    STREAMS,
    STREAM_EVENTS,
    LOOKUP,
    RECORDS,
];

/// Indexes in one block of the lookup by type.
pub(super) const TYPE_BLOCK: u64 = 256;

pub(super) const FORMAT_KEY: &[u8] = b"format";
pub(super) const STORE_ID_KEY: &[u8] = b"store-id";

/// Column families with their options. `cache` is shared by all.
pub(super) fn descriptors(cache: &Cache) -> Vec<ColumnFamilyDescriptor> {
    ALL.into_iter()
        .map(|name| ColumnFamilyDescriptor::new(name, options(name, cache)))
        .collect()
}

fn options(name: &str, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In parts of 4 KiB: the index or filter of a whole file is hundreds of times that, and a miss would read all of it.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4 * 1024);
    table.set_pin_top_level_index_and_filter(true);
    table.set_format_version(6);
    let mut options = Options::default();
    if matches!(name, IDS | STREAMS) {
        table.set_bloom_filter(10.0, false);
        // Most ids that are asked for are new: the filter over the memtable spares the search.
        options.set_memtable_whole_key_filtering(true);
        options.set_memtable_prefix_bloom_ratio(0.05);
    }
    options.set_block_based_table_factory(&table);
    let incompressible = matches!(name, SEALED | TILES);
    options.set_compression_type(if incompressible {
        DBCompressionType::None
    } else {
        DBCompressionType::Lz4
    });
    options.set_write_buffer_size(match name {
        HEADERS | BODIES | SEALED | TILES => 16 << 20,
        IDS | STREAM_EVENTS | LOOKUP => 8 << 20,
        _ => 4 << 20,
    });
    options.set_max_write_buffer_number(3);
    if matches!(name, IDS | STREAM_EVENTS | LOOKUP) {
        // Their keys come in no order, so every merge rewrites the next level as a whole, up to 256 MiB: it waits until
        // there is much to merge.
        options.set_level_zero_file_num_compaction_trigger(12);
        options.set_level_zero_slowdown_writes_trigger(36);
        options.set_level_zero_stop_writes_trigger(48);
    }
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_target_file_size_base(64 << 20);
    options
}

fn ledger_key(ledger: LedgerNumber, capacity: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(4 + capacity);
    key.extend_from_slice(&ledger.0.to_be_bytes());
    key
}

/// `ledger/<number>` in [`SYSTEM`].
pub(super) fn registry(ledger: LedgerNumber) -> Vec<u8> {
    [b"ledger/".as_slice(), &ledger.0.to_be_bytes()].concat()
}

/// `head/<number>` in [`SYSTEM`].
pub(super) fn head(ledger: LedgerNumber) -> Vec<u8> {
    [b"head/".as_slice(), &ledger.0.to_be_bytes()].concat()
}

/// Key by a number: headers by index, checkpoints by size.
pub(super) fn numbered(ledger: LedgerNumber, number: u64) -> Vec<u8> {
    let mut key = ledger_key(ledger, 8);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// Key of a body.
pub(super) fn body(ledger: LedgerNumber, index: u64, ordinal: u16) -> Vec<u8> {
    let mut key = numbered(ledger, index);
    key.extend_from_slice(&ordinal.to_be_bytes());
    key
}

/// Reads index and ordinal back from a body's key.
pub(super) fn split_body(key: &[u8]) -> Option<(u64, u16)> {
    let index = u64::from_be_bytes(key.get(4..12)?.try_into().ok()?);
    let ordinal = u16::from_be_bytes(key.get(12..)?.try_into().ok()?);
    Some((index, ordinal))
}

/// The last eight bytes of a key: index, version or size.
pub(super) fn trailing_number(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|bytes| u64::from_be_bytes(*bytes))
}

/// Key of a full tile.
pub(super) fn tile(ledger: LedgerNumber, id: &TileId) -> Vec<u8> {
    let mut key = ledger_key(ledger, 9);
    key.push(id.level());
    key.extend_from_slice(&id.index().to_be_bytes());
    key
}

/// Key of an event id.
pub(super) fn id(ledger: LedgerNumber, id: &Uuid) -> Vec<u8> {
    let mut key = ledger_key(ledger, 16);
    key.extend_from_slice(id.as_bytes());
    key
}

/// Key of a stream's name.
pub(super) fn stream(ledger: LedgerNumber, name: Option<&StreamName>) -> Vec<u8> {
    let name = name.map_or("", StreamName::as_str);
    let mut key = ledger_key(ledger, name.len());
    key.extend_from_slice(name.as_bytes());
    key
}

/// Key of an event in its stream.
pub(super) fn stream_event(ledger: LedgerNumber, stream: StreamRef, version: u64) -> Vec<u8> {
    let mut key = ledger_key(ledger, 24);
    key.extend_from_slice(stream.as_bytes());
    key.extend_from_slice(&version.to_be_bytes());
    key
}

/// Key of a lookup row. The value's length stands before it, so that no value is a prefix of another.
pub(super) fn lookup(ledger: LedgerNumber, lookup: &Lookup, index: u64) -> Vec<u8> {
    let number = if matches!(lookup, Lookup::Type(_)) {
        index / TYPE_BLOCK
    } else {
        index
    };
    match lookup {
        Lookup::Handle(handle) => lookup_key(ledger, b'h', handle.as_bytes(), number),
        Lookup::Type(event_type) => lookup_key(ledger, b't', event_type.as_str().as_bytes(), number),
        Lookup::Correlation(text) => lookup_key(ledger, b'c', text.as_bytes(), number),
        Lookup::Tag(text) => lookup_key(ledger, b'g', text.as_bytes(), number),
    }
}

/// Key of the lookup row by type.
pub(super) fn lookup_type(ledger: LedgerNumber, event_type: &EventType, index: u64) -> Vec<u8> {
    lookup_key(ledger, b't', event_type.as_str().as_bytes(), index / TYPE_BLOCK)
}

pub(super) fn lookup_key(ledger: LedgerNumber, kind: u8, value: &[u8], number: u64) -> Vec<u8> {
    let mut key = ledger_key(ledger, 11 + value.len());
    key.push(kind);
    key.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    key.extend_from_slice(value);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The keys that bound a lookup over a range of indexes.
pub(super) fn lookup_range(ledger: LedgerNumber, what: &Lookup, indexes: &Range<u64>) -> Range<Vec<u8>> {
    let last = lookup(ledger, what, indexes.end.saturating_sub(1));
    lookup(ledger, what, indexes.start)..successor(last)
}

/// Key of a record.
pub(super) fn record(ledger: Option<LedgerNumber>, kind: &str, id: &str) -> Vec<u8> {
    let mut key = ledger_key(ledger.unwrap_or(LedgerNumber(0)), 2 + kind.len() + id.len());
    key.extend_from_slice(kind.as_bytes());
    key.push(0);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The smallest key after `key`.
pub(super) fn successor(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}
