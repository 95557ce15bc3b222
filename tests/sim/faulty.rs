//! A real store whose commits fail when they are told to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use oubliette::spec::event::BodyKind;
use oubliette::spec::ids::{LedgerId, StreamName, StreamRef};
use oubliette::spec::tiles::TileId;
use oubliette::store::rocksdb::RocksStore;
use oubliette::store::{
    Batch, BodyRow, Direction, Head, HeaderRow, LedgerNumber, LedgerRecord, LedgerStore, Lookup, RecordWrite, Scrub,
    StoreError, StreamRow,
};
use uuid::Uuid;

/// What becomes of a commit that fails.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) enum Failing {
    /// Nothing was written.
    Lost,
    /// All of it was written, but nobody was told so.
    Persisted,
}

/// A real store whose n-th commits fail.
pub(crate) struct Faulty {
    inner: RocksStore,
    pub(crate) commits: AtomicU64,
    pub(crate) events: AtomicUsize,
    /// Every how many commits one fails; 0: never.
    every: u64,
    failing: Failing,
    /// The number of another that fails.
    told: std::sync::Mutex<Option<(u64, Failing)>>,
}

impl Faulty {
    pub(crate) fn new(folder: &std::path::Path, every: u64, failing: Failing) -> Arc<Self> {
        let inner = RocksStore::create(folder, LedgerId([9; 16])).unwrap();
        Arc::new(Self {
            inner,
            commits: AtomicU64::new(0),
            events: AtomicUsize::new(0),
            every,
            failing,
            told: std::sync::Mutex::default(),
        })
    }

    /// Of the commits from now on, from 1, this one fails.
    pub(crate) fn fail(&self, nth: u64, failing: Failing) {
        let now = self.commits.load(Ordering::SeqCst);
        *self.told.lock().unwrap() = Some((now + nth, failing));
    }
}

impl LedgerStore for Faulty {
    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        let number = 1 + self.commits.fetch_add(1, Ordering::SeqCst);
        let told = self.told.lock().unwrap().filter(|(of, _)| *of == number);
        let fails = told.is_some() || (self.every > 0 && number.is_multiple_of(self.every));
        let failing = told.map_or(self.failing, |(_, failing)| failing);
        if !fails || failing == Failing::Persisted {
            self.inner.commit(batch)?;
            self.events.fetch_add(
                batch.ledgers.iter().map(|ledger| ledger.events.len()).sum(),
                Ordering::SeqCst,
            );
        }
        if fails {
            Err(StoreError::Io("the test says so".into()))
        } else {
            Ok(())
        }
    }

    fn id(&self) -> LedgerId {
        self.inner.id()
    }
    fn ledgers(&self) -> Result<Vec<LedgerRecord>, StoreError> {
        self.inner.ledgers()
    }
    fn head(&self, ledger: LedgerNumber) -> Result<Option<Head>, StoreError> {
        self.inner.head(ledger)
    }
    fn headers(&self, ledger: LedgerNumber, indexes: Range<u64>) -> Result<Vec<HeaderRow>, StoreError> {
        self.inner.headers(ledger, indexes)
    }
    fn bodies(&self, ledger: LedgerNumber, indexes: Range<u64>) -> Result<Vec<BodyRow>, StoreError> {
        self.inner.bodies(ledger, indexes)
    }
    fn headers_at(&self, ledger: LedgerNumber, indexes: &[u64]) -> Result<Vec<Option<HeaderRow>>, StoreError> {
        self.inner.headers_at(ledger, indexes)
    }
    fn bodies_at(
        &self,
        ledger: LedgerNumber,
        bodies: &[(u64, u16, BodyKind)],
    ) -> Result<Vec<Option<BodyRow>>, StoreError> {
        self.inner.bodies_at(ledger, bodies)
    }
    fn removed(&self, ledger: LedgerNumber, bodies: &[(u64, u16)]) -> Result<Vec<Option<u64>>, StoreError> {
        self.inner.removed(ledger, bodies)
    }
    fn scrub(
        &self,
        ledger: LedgerNumber,
        removed: &Scrub,
        pause: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StoreError> {
        self.inner.scrub(ledger, removed, pause)
    }
    fn indexes_of(&self, ledger: LedgerNumber, ids: &[Uuid]) -> Result<Vec<Option<u64>>, StoreError> {
        self.inner.indexes_of(ledger, ids)
    }
    fn stream_rows(&self, ledger: LedgerNumber, names: &[StreamName]) -> Result<Vec<Option<StreamRow>>, StoreError> {
        self.inner.stream_rows(ledger, names)
    }
    fn streams(
        &self,
        ledger: LedgerNumber,
        after: Option<&StreamName>,
        limit: usize,
    ) -> Result<Vec<(StreamName, StreamRow)>, StoreError> {
        self.inner.streams(ledger, after, limit)
    }
    fn stream_events(
        &self,
        ledger: LedgerNumber,
        stream: StreamRef,
        versions: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.inner.stream_events(ledger, stream, versions, direction, limit)
    }
    fn find(
        &self,
        ledger: LedgerNumber,
        lookup: &Lookup,
        indexes: Range<u64>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        self.inner.find(ledger, lookup, indexes, direction, limit)
    }
    fn tiles(&self, ledger: LedgerNumber, ids: &[TileId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.inner.tiles(ledger, ids)
    }
    fn checkpoint(&self, ledger: LedgerNumber, size: u64) -> Result<Option<(u64, String)>, StoreError> {
        self.inner.checkpoint(ledger, size)
    }
    fn record(&self, ledger: Option<LedgerNumber>, kind: &str, id: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.record(ledger, kind, id)
    }
    fn records(&self, ledger: Option<LedgerNumber>, kind: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.inner.records(ledger, kind)
    }
    fn put_records(&self, records: &[RecordWrite]) -> Result<(), StoreError> {
        self.inner.put_records(records)
    }
}
