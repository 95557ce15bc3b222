//! The ledger's store: headers, bodies, tiles, checkpoints and the indexes that find them.
//!
//! Engines implement [`LedgerStore`]; the conformance suite runs against each. Everything above relies on three
//! promises: a commit is atomic and durable or did not happen; it happens only on the head it was planned on; what was
//! committed is never changed, but for bodies, each of which can be purged alone. This layer never sees a key or a
//! plaintext of personal data. See `rocksdb/README.md` for the life of an event on disk.

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
pub(crate) mod conformance;
pub mod error;
pub mod rocksdb;

use std::ops::Range;

pub use error::StoreError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::spec::edge::FullTile;
use crate::spec::event::{BodyKind, Meta};
use crate::spec::hash::Hash;
use crate::spec::ids::{EventType, Handle, LedgerId, LedgerName, Origin, StreamName, StreamRef, Timestamp};
use crate::spec::tiles::TileId;

/// A ledger's number within one store, from 1, in the order of creation. It leads every row key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LedgerNumber(pub u32);

/// A ledger, as registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRecord {
    /// Its number in this store.
    pub number: LedgerNumber,
    /// Its id in key store and vault.
    pub id: LedgerId,
    /// Its name in paths.
    pub name: LedgerName,
    /// Its global name.
    pub origin: Origin,
}

/// Where a ledger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of events.
    pub size: u64,
    /// Leaf hash of the last event.
    pub last: Hash,
    /// When the last event was recorded.
    pub recorded_at: Timestamp,
}

/// A header with its signature, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRow {
    /// Leaf index.
    pub index: u64,
    /// The deterministic encoding.
    pub header: Vec<u8>,
    /// COSE_Sign1 with detached payload.
    pub signature: Vec<u8>,
}

/// A body, as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyRow {
    /// Leaf index of its event.
    pub index: u64,
    /// Position in the header's list.
    pub ordinal: u16,
    /// The salt of its commitment.
    pub salt: [u8; 32],
    /// The committed bytes.
    pub bytes: Vec<u8>,
}

/// An event ready to be written.
#[derive(Debug, Clone)]
pub struct SequencedEvent {
    /// Header and signature.
    pub row: HeaderRow,
    /// Kind, salt and bytes of each body, in order.
    pub bodies: Vec<(BodyKind, [u8; 32], Vec<u8>)>,
    /// The meta body once more, decoded, for the indexes.
    pub meta: Meta,
    /// The event's type.
    pub event_type: EventType,
    /// Its stream.
    pub stream_ref: StreamRef,
    /// Its place there.
    pub stream_version: u64,
    /// Every data subject it concerns, each once.
    pub handles: Vec<Handle>,
}

/// A stream's name row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamRow {
    /// Its random reference.
    pub stream_ref: StreamRef,
    /// Number of events in it.
    pub version: u64,
}

/// A row that the service keeps beside the events (API keys, finished jobs): `kind` and `id` name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordWrite {
    /// The ledger, or `None` for the whole store.
    pub ledger: Option<LedgerNumber>,
    /// What it is.
    pub kind: &'static str,
    /// Which one.
    pub id: String,
    /// Its content; `None` deletes it.
    pub value: Option<Vec<u8>>,
}

/// A body that leaves the store for good, with the index rows that lead to it and to nothing that stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// Leaf index of its event.
    pub index: u64,
    /// Position in the header's list.
    pub ordinal: u16,
    /// Its kind, which says where it lies.
    pub kind: BodyKind,
    /// Index rows of its event that go with it. Types stay: the header names them.
    pub lookups: Vec<Lookup>,
    /// The name row of a stream, if no event names the stream any more.
    pub stream: Option<StreamName>,
}

/// Where removed bodies lay: what [`LedgerStore::scrub`] rewrites.
#[derive(Debug, Clone, Default)]
pub struct Scrub {
    /// The removed bodies: index, ordinal, kind.
    pub bodies: Vec<(u64, u16, BodyKind)>,
    /// Subjects whose lookup rows were removed.
    pub handles: Vec<Handle>,
    /// Whether tags, correlation ids or stream names were removed too: every such row of the ledger is rewritten.
    pub names: bool,
}

/// What one commit adds to one ledger.
#[derive(Debug, Clone)]
pub struct LedgerBatch {
    /// The ledger; registered by this batch if `expected` is `None`.
    pub ledger: LedgerRecord,
    /// The head that this was planned on; `None` for a ledger that does not exist yet.
    pub expected: Option<Head>,
    /// The head afterwards.
    pub head: Head,
    /// The events, in order.
    pub events: Vec<SequencedEvent>,
    /// Bodies that leave, each with the leaf index of the event that is the authority: one of `events`.
    pub removals: Vec<(u64, Removal)>,
    /// Name rows of the streams that grew; they are written after what is removed.
    pub streams: Vec<(StreamName, StreamRow)>,
    /// Tiles that filled up.
    pub tiles: Vec<FullTile>,
    /// The checkpoint of `head.size`, a signed note.
    pub checkpoint: String,
}

/// One atomic, durable write.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// At most one entry a ledger.
    pub ledgers: Vec<LedgerBatch>,
    /// Records that become true with it.
    pub records: Vec<RecordWrite>,
}

/// What an index can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// Events that concern a data subject.
    Handle(Handle),
    /// Events of a type.
    Type(EventType),
    /// Events with a correlation id.
    Correlation(Box<str>),
    /// Events with a tag.
    Tag(Box<str>),
}

/// In which order a read goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
pub enum Direction {
    /// Oldest first.
    #[default]
    Forward,
    /// Newest first.
    Backward,
}

/// A store of ledgers. All methods block and may be called from many threads; `commit` by one at a time.
pub trait LedgerStore: Send + Sync {
    /// The store's own random id, which key store and vault repeat.
    fn id(&self) -> LedgerId;

    /// The registered ledgers, by number.
    ///
    /// # Errors
    /// [`StoreError`], as for every read below.
    fn ledgers(&self) -> Result<Vec<LedgerRecord>, StoreError>;

    /// The head, or `None` for a ledger that is not registered.
    ///
    /// # Errors
    /// [`StoreError`].
    fn head(&self, ledger: LedgerNumber) -> Result<Option<Head>, StoreError>;

    /// Writes a batch: all of it, synced to the device, or nothing. Compares every ledger's stored head with the
    /// expected one first.
    ///
    /// # Errors
    /// [`StoreError::HeadMoved`]: nothing was written. Any other error is *fatal*: the write may or may not be there,
    /// and the caller must read the head again before it plans anything.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Headers of a range of indexes, ascending; stops at the head.
    ///
    /// # Errors
    /// [`StoreError`].
    fn headers(&self, ledger: LedgerNumber, indexes: Range<u64>) -> Result<Vec<HeaderRow>, StoreError>;

    /// Bodies of a range of indexes, ascending by index, then ordinal. Purged ones are absent.
    ///
    /// # Errors
    /// [`StoreError`].
    fn bodies(&self, ledger: LedgerNumber, indexes: Range<u64>) -> Result<Vec<BodyRow>, StoreError>;

    /// The header at each of these indexes, or `None`; one read for all of them.
    ///
    /// # Errors
    /// [`StoreError`].
    fn headers_at(&self, ledger: LedgerNumber, indexes: &[u64]) -> Result<Vec<Option<HeaderRow>>, StoreError>;

    /// Each of these bodies (index, ordinal, kind), or `None` if it was purged; one read for all of a kind.
    ///
    /// # Errors
    /// [`StoreError`].
    fn bodies_at(
        &self,
        ledger: LedgerNumber,
        bodies: &[(u64, u16, BodyKind)],
    ) -> Result<Vec<Option<BodyRow>>, StoreError>;

    /// For each body (index, ordinal) that was removed, the leaf index of the event that is the authority; `None` for
    /// every other. It is written with the removal: a body that is not there and has none is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn removed(&self, ledger: LedgerNumber, bodies: &[(u64, u16)]) -> Result<Vec<Option<u64>>, StoreError>;

    /// Rewrites the files in which removed bodies lay, and rolls the log, so that their bytes are in none of the store's
    /// files any more. Repeating it is harmless. `pause` is called after each piece with the bytes rewritten, and may wait
    /// or say stop (false). `false`: stopped, or a reader still holds an old file; try again later.
    ///
    /// # Errors
    /// [`StoreError`].
    fn scrub(
        &self,
        ledger: LedgerNumber,
        removed: &Scrub,
        pause: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StoreError>;

    /// The index of each event id, or `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn indexes_of(&self, ledger: LedgerNumber, ids: &[Uuid]) -> Result<Vec<Option<u64>>, StoreError>;

    /// The name row of each stream, or `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn stream_rows(&self, ledger: LedgerNumber, names: &[StreamName]) -> Result<Vec<Option<StreamRow>>, StoreError>;

    /// Streams in the order of their names, after `after`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn streams(
        &self,
        ledger: LedgerNumber,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, StreamRow)>, StoreError>;

    /// Indexes of a stream's events whose versions lie in the range.
    ///
    /// # Errors
    /// [`StoreError`].
    fn stream_events(
        &self,
        ledger: LedgerNumber,
        stream: StreamRef,
        versions: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError>;

    /// Indexes in the range for which the lookup holds.
    ///
    /// # Errors
    /// [`StoreError`].
    fn find(
        &self,
        ledger: LedgerNumber,
        lookup: &Lookup,
        indexes: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError>;

    /// Full tiles, each 8,192 bytes, or `None`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn tiles(&self, ledger: LedgerNumber, ids: &[TileId]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// The first checkpoint whose size is at least `size`.
    ///
    /// # Errors
    /// [`StoreError`].
    fn checkpoint(&self, ledger: LedgerNumber, size: u64) -> Result<Option<(u64, String)>, StoreError>;

    /// One record.
    ///
    /// # Errors
    /// [`StoreError`].
    fn record(&self, ledger: Option<LedgerNumber>, kind: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// All records of a kind, by id.
    ///
    /// # Errors
    /// [`StoreError`].
    fn records(&self, ledger: Option<LedgerNumber>, kind: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Bytes on disk by kind of data: `headers`, `bodies`, `sealed`, `tree`, `indexes`, `other`, and `log` for what was
    /// written last and not yet sorted into them. Empty for an engine without files.
    ///
    /// # Errors
    /// [`StoreError`].
    fn disk_bytes(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        Ok(Vec::new())
    }

    /// Writes records apart from any commit; atomic and durable.
    ///
    /// # Errors
    /// [`StoreError`].
    fn put_records(&self, records: &[RecordWrite]) -> Result<(), StoreError>;
}
