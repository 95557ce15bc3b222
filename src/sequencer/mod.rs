//! The sequencer: the single writer of all ledgers of a store.
//!
//! ```text
//! submit → pool (bounded) → plan (pure) → sign (parallel) → commit (one synced write) → publish → replies
//! ```
//!
//! Everything that waits is planned together and written as one group, so that a thousand small ledgers share one synced
//! write. While a group is being written, the next one is planned on top of it and signed. Publishing hands readers a new
//! [`View`]: they see what is durable and nothing else. A failed commit is an unknown state and therefore fatal: the
//! writer is poisoned, everybody who waits is refused, and it goes on only after it has read the heads again through the
//! same code that starts it. Out of scope: keys of persons, plaintext, HTTP.

mod clock;
mod error;
mod fences;
mod load;
mod meters;
mod plan;
mod pool;
mod writer;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use parking_lot::RwLock;
use tokio::sync::oneshot;
use uuid::Uuid;

pub use error::{OpenError, Refusal};
pub use fences::Fence;
pub use pool::Limits;

use crate::env::{Clock, Entropy};
use crate::spec::edge::Edge;
use crate::spec::event::Body;
use crate::spec::hash::Hash;
use crate::spec::ids::{Category, EventRef, EventType, Handle, StreamName, StreamRef, Timestamp};
use crate::spec::note::SignerKey;
use crate::spec::signature::Signer;
use crate::store::{Head, LedgerNumber, LedgerRecord, LedgerStore, RecordWrite, Removal, SequencedEvent};

/// A ledger's signing keys, as the writer needs them.
#[derive(Debug)]
pub struct LedgerKeys {
    /// Signs headers.
    pub event: Signer,
    /// Signs checkpoints.
    pub checkpoint: SignerKey,
}

/// What a caller knows of a stream's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpectedVersion {
    /// Anything.
    #[default]
    Any,
    /// The stream has no event.
    NoStream,
    /// The stream has an event.
    StreamExists,
    /// Exactly this one, from 1.
    Exactly(u64),
}

/// An event before it is sequenced: sealed, committed to, but without a place.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// Minted by the caller of the sequencer, since sealed blocks are bound to it.
    pub event_ref: EventRef,
    /// Its type.
    pub event_type: EventType,
    /// Its payload's schema version, from 1.
    pub schema_version: u32,
    /// The meta body, decoded.
    pub meta: crate::spec::event::Meta,
    /// All bodies, meta first, with their commitments.
    pub bodies: Vec<(Body, Hash)>,
    /// The subjects and categories of its sealed blocks, and of an actor who is one.
    pub subjects: Vec<(Handle, Option<Category>)>,
    /// Whether the id is the caller's (and may be taken) or fresh.
    pub caller_chose_id: bool,
}

/// Events that are appended together or not at all.
#[derive(Debug)]
pub struct Append {
    /// The ledger.
    pub ledger: LedgerNumber,
    /// Checked per stream, before its first event here.
    pub expected: Vec<(StreamName, ExpectedVersion)>,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
    /// Fences that begin with the first of these events.
    pub fences: Vec<Fence>,
    /// Records that become true with them.
    pub records: Vec<RecordWrite>,
    /// Bodies that leave in the same write; the first of these events is the authority, and they all stand before it.
    pub removals: Vec<Removal>,
}

/// A ledger as it stands, durable, with all that proofs over its newest events need.
#[derive(Debug)]
pub struct View {
    /// The ledger.
    pub ledger: LedgerRecord,
    /// Its head; `None` before its first event.
    pub head: Option<Head>,
    /// The right edge of its tree at the head.
    pub edge: Edge,
    /// The signed checkpoint of the head; empty before its first event.
    pub checkpoint: String,
}

impl View {
    /// Number of events.
    pub fn size(&self) -> u64 {
        self.head.map_or(0, |head| head.size)
    }
}

/// What became of an append.
#[derive(Debug)]
pub struct Appended {
    /// The events in the order given.
    pub events: Vec<Placed>,
    /// The ledger right after the group in which they were committed.
    pub view: Arc<View>,
}

/// Where an event came to stand.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Its id.
    pub id: Uuid,
    /// Its leaf index.
    pub index: u64,
    /// Its stream.
    pub stream_ref: StreamRef,
    /// Its version there.
    pub stream_version: u64,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Its leaf hash.
    pub leaf_hash: Hash,
    /// Its header.
    pub header: Vec<u8>,
    /// Its signature.
    pub signature: Vec<u8>,
}

impl Placed {
    fn of(event: &SequencedEvent, leaf_hash: Hash, recorded_at: Timestamp) -> Self {
        Self {
            id: event.meta.id,
            index: event.row.index,
            stream_ref: event.stream_ref,
            stream_version: event.stream_version,
            recorded_at,
            leaf_hash,
            header: event.row.header.clone(),
            signature: event.row.signature.clone(),
        }
    }
}

type Answer = Result<Appended, Refusal>;
type Views = RwLock<HashMap<LedgerNumber, Arc<ArcSwap<View>>>>;

/// Is told of every published checkpoint; must return at once.
pub trait Publish: Send + Sync {
    /// A new head is durable.
    fn published(&self, view: &Arc<View>);
}

/// What the writer works with.
pub(crate) struct Parts {
    store: Arc<dyn LedgerStore>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    publish: Arc<dyn Publish>,
    keys: RwLock<HashMap<LedgerNumber, Arc<LedgerKeys>>>,
    views: Views,
    poisoned: AtomicBool,
}

/// The handle to the single writer. Dropping it finishes what is accepted and stops the threads.
pub struct Sequencer {
    parts: Arc<Parts>,
    pool: Arc<pool::Pool>,
    writer: Option<std::thread::JoinHandle<()>>,
}

impl Sequencer {
    /// Starts the writer over all ledgers of the store. Ledgers are opened one by one with [`Sequencer::open_ledger`].
    pub fn start(
        store: Arc<dyn LedgerStore>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        publish: Arc<dyn Publish>,
        limits: Limits,
    ) -> Self {
        let (keys, views) = (RwLock::default(), RwLock::default());
        let poisoned = AtomicBool::new(false);
        let parts = Arc::new(Parts {
            store,
            clock,
            entropy,
            publish,
            keys,
            views,
            poisoned,
        });
        let pool = Arc::new(pool::Pool::new(limits));
        let writer = {
            let (parts, pool) = (Arc::clone(&parts), Arc::clone(&pool));
            std::thread::Builder::new()
                .name("sequencer".into())
                .spawn(move || writer::run(&parts, &pool))
                .ok()
        };
        // Without a thread nothing would ever be answered.
        parts.poisoned.store(writer.is_none(), Ordering::Release);
        Self { parts, pool, writer }
    }

    /// Makes a ledger known to the writer: a registered one with its fences, or a new one, which its first append will
    /// register. Reads the head, the tree's edge and the last checkpoint from the store and compares them.
    ///
    /// # Errors
    /// [`OpenError`] if the store's rows do not fit each other.
    pub fn open_ledger(&self, ledger: LedgerRecord, keys: LedgerKeys, fences: Vec<Fence>) -> Result<(), OpenError> {
        let view = load::view(&*self.parts.store, &ledger)?;
        let number = ledger.number;
        self.parts.keys.write().insert(number, Arc::new(keys));
        self.parts
            .views
            .write()
            .insert(number, Arc::new(ArcSwap::from_pointee(view)));
        self.pool.fence(number, fences);
        Ok(())
    }

    /// Refuses subjects from now on, before anything that is submitted later.
    pub fn fence(&self, ledger: LedgerNumber, fences: Vec<Fence>) {
        self.pool.fence(ledger, fences);
    }

    /// Queues events. The answer comes when they are durable, or refused.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] if the queue is full, [`Refusal::Unavailable`] if the writer is poisoned or stopping.
    pub fn submit(&self, append: Append) -> Result<oneshot::Receiver<Answer>, Refusal> {
        if !self.is_healthy() {
            return Err(Refusal::Unavailable);
        }
        self.pool.push(append)
    }

    /// The ledger as it stands.
    pub fn view(&self, ledger: LedgerNumber) -> Option<Arc<View>> {
        self.parts.view(ledger)
    }

    /// Whether the last commit succeeded and appends are taken.
    pub fn is_healthy(&self) -> bool {
        !self.parts.poisoned.load(Ordering::Acquire)
    }

    /// Events waiting to be sequenced.
    pub fn waiting(&self) -> usize {
        self.pool.waiting()
    }
}

impl Parts {
    fn view(&self, ledger: LedgerNumber) -> Option<Arc<View>> {
        self.views.read().get(&ledger).map(|view| view.load_full())
    }
}

impl Drop for Sequencer {
    fn drop(&mut self) {
        self.pool.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
