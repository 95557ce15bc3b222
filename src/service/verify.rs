//! Verify: a whole ledger from its store, by the same engine that verifies bundles. The server's jobs, the command line
//! on a data directory and `fsck` come here; nothing is written to the ledger.

mod fsck;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::internal;
use super::{Caller, Code, Error, Ledger, Service};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::edge::Edge;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::ids::Timestamp;
use crate::spec::note::{VerifierKey, open as open_note};
use crate::spec::report::{Finding, FindingCode, Object, Report};
use crate::spec::tiles::encode_tile;
use crate::spec::verify::{End, Entry, Options, Record, RecordBody, Trust, Verification};
use crate::store::{LedgerNumber, LedgerRecord, LedgerStore, StoreError};

const RECORD: &str = "verification";
/// Events that are read and verified at once.
const CHUNK: u64 = 2_048;
/// Verifications that may run at once.
const MAX_RUNNING: usize = 2;

/// What is verified beyond the events themselves.
#[derive(Debug, Default)]
pub struct Scope {
    /// The checkpoint that the vault keeps, with its size: a ledger that is shorter was truncated or rolled back.
    pub kept: Option<(u64, String)>,
    /// Whether the store's indexes are checked too (`fsck`).
    pub indexes: bool,
}

/// Verifies a ledger from its store. `progress` is told the events done and the events there are.
///
/// # Errors
/// If the store cannot be read; what it holds is never an error but a finding.
pub fn verify_store(
    store: &dyn LedgerStore,
    ledger: &LedgerRecord,
    trust: Trust,
    options: Options,
    scope: Scope,
    mut progress: impl FnMut(u64, u64),
) -> Result<Report, StoreError> {
    let head = store.head(ledger.number)?;
    let size = head.map_or(0, |head| head.size);
    let mut verification = Verification::new(Object::Ledger, trust, options);
    match store.checkpoint(ledger.number, size)? {
        Some((_, note)) => verification.expect_head("checkpoint", note.as_bytes()),
        None => verification.expect_head("checkpoint", b""),
    }
    match &scope.kept {
        Some((kept, note)) if *kept <= size => verification.expect_checkpoint("vault", note.as_bytes()),
        Some((kept, _)) => {
            let found = format!("{size} events");
            verification.add(Finding::new(
                None,
                "vault",
                FindingCode::RolledBack,
                format!("{kept} events"),
                found,
            ));
        }
        None => {}
    }
    let mut tree = Edge::new();
    let mut first = 0;
    while first < size {
        let end = size.min(first + CHUNK);
        let entries = read_entries(store, ledger.number, first..end)?;
        let notes = checkpoints(store, ledger.number, first..end)?;
        verification.feed(&entries);
        grow_and_check(&mut verification, &mut tree, (store, ledger), &entries, &notes)?;
        if scope.indexes {
            fsck::check_indexes(store, ledger.number, &entries)?
                .into_iter()
                .for_each(|finding| verification.add(finding));
        }
        first = end;
        progress(first, size);
    }
    if let Some(head) = head {
        check_head(&mut verification, &head.last, store, ledger.number, size)?;
    }
    Ok(verification.finish(End::Reached))
}

/// Events with the bodies that are there.
pub(crate) fn read_entries(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    indexes: std::ops::Range<u64>,
) -> Result<Vec<Entry>, StoreError> {
    Ok(read_records(store, ledger, indexes)?
        .into_iter()
        .map(Entry::Event)
        .collect())
}

/// Events with the bodies that are there.
pub(crate) fn read_records(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    indexes: std::ops::Range<u64>,
) -> Result<Vec<Record>, StoreError> {
    let headers = store.headers(ledger, indexes.clone())?;
    let mut bodies = store.bodies(ledger, indexes)?.into_iter().peekable();
    let record = |row: crate::store::HeaderRow| {
        let mut own = Vec::new();
        while let Some(body) = bodies.next_if(|body| body.index <= row.index) {
            if body.index == row.index {
                own.push(RecordBody {
                    ordinal: body.ordinal,
                    salt: body.salt,
                    bytes: body.bytes,
                });
            }
        }
        Record {
            index: row.index,
            header: row.header,
            signature: row.signature,
            bodies: own,
        }
    };
    Ok(headers.into_iter().map(record).collect())
}

/// The stored checkpoints whose sizes lie in (start, end].
fn checkpoints(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    indexes: std::ops::Range<u64>,
) -> Result<Vec<(u64, String)>, StoreError> {
    let (mut notes, mut size) = (Vec::new(), indexes.start + 1);
    while let Some((found, note)) = store
        .checkpoint(ledger, size)?
        .filter(|(found, _)| *found <= indexes.end)
    {
        notes.push((found, note));
        size = found + 1;
    }
    Ok(notes)
}

/// What the store keeps beside the events must be what the events give: the checkpoint of every commit, every full tile.
fn grow_and_check(
    verification: &mut Verification,
    tree: &mut Edge,
    (store, ledger): (&dyn LedgerStore, &LedgerRecord),
    entries: &[Entry],
    notes: &[(u64, String)],
) -> Result<(), StoreError> {
    let leaves: Vec<Hash> = entries
        .par_iter()
        .filter_map(Entry::event)
        .map(|event| leaf_hash(&event.header))
        .collect();
    let (mut due, mut roots) = (notes.iter().peekable(), Vec::with_capacity(notes.len()));
    for leaf in leaves {
        tree.append(leaf);
        if let Some((size, note)) = due.next_if(|(size, _)| *size == tree.size()) {
            roots.push((*size, note, tree.root()));
        }
    }
    let key = verification.keyring().map(|keyring| keyring.checkpoint_key().clone());
    let check = |(size, note, root): &(u64, &String, Hash)| check_note(ledger, key.as_ref()?, *size, note, root);
    let bad: Vec<Finding> = roots.par_iter().filter_map(check).collect();
    bad.into_iter().for_each(|finding| verification.add(finding));
    let size = tree.size();
    tree.retire(size);
    let tiles = tree.drain_full_tiles();
    let ids: Vec<_> = tiles.iter().map(|tile| tile.id).collect();
    for (tile, stored) in tiles.iter().zip(store.tiles(ledger.number, &ids)?) {
        if stored.as_ref() != Some(&encode_tile(&tile.hashes)) {
            let found = if stored.is_some() { "other hashes" } else { "none" };
            let place = tile.id.to_string();
            verification.add(Finding::new(
                None,
                &place,
                FindingCode::FactMismatch,
                "the hashes of its events",
                found,
            ));
        }
    }
    Ok(())
}

fn check_note(ledger: &LedgerRecord, key: &VerifierKey, size: u64, note: &str, root: &Hash) -> Option<Finding> {
    let place = format!("checkpoints/{size}");
    let finding = |code, expected: String, found: String| Some(Finding::new(None, &place, code, expected, found));
    let opened = match open_note(note, std::slice::from_ref(key)) {
        Ok(opened) => opened,
        Err(error) => {
            return finding(
                FindingCode::CheckpointSignature,
                format!("a checkpoint signed by {key}"),
                error.to_string(),
            );
        }
    };
    let expected = format!("{}, {size}, {root}", ledger.origin);
    match opened.text.parse::<Checkpoint>() {
        Ok(stated)
            if stated.size == size && stated.root == *root && stated.origin.as_str() == ledger.origin.as_str() =>
        {
            None
        }
        Ok(stated) => finding(
            FindingCode::RootMismatch,
            expected,
            format!("{}, {}, {}", stated.origin, stated.size, stated.root),
        ),
        Err(error) => finding(FindingCode::CheckpointMalformed, expected, error.to_string()),
    }
}

fn check_head(
    verification: &mut Verification,
    last: &Hash,
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    size: u64,
) -> Result<(), StoreError> {
    let row = store.headers(ledger, size.saturating_sub(1)..size)?.pop();
    let found = row.map(|row| leaf_hash(&row.header));
    if found.as_ref() != Some(last) {
        let found = found.map_or_else(|| "none".to_owned(), |hash| hash.to_string());
        let index = Some(size.saturating_sub(1));
        verification.add(Finding::new(
            index,
            "head",
            FindingCode::FactMismatch,
            last.to_string(),
            found,
        ));
    }
    Ok(())
}

/// `POST /verifications`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VerificationRequest {
    /// Whether to verify signatures in batches, which is not the strict predicate.
    #[serde(default)]
    pub fast: bool,
}

/// A verification as auditors see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerificationView {
    /// Which.
    pub id: Uuid,
    /// `running`, `done` or `failed`.
    pub state: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Events done.
    pub done: u64,
    /// Events there are.
    pub of: u64,
    /// The report, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Why it failed: the store could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Verifications that run.
#[derive(Default)]
pub(super) struct Running(Mutex<Vec<(LedgerNumber, Arc<Job>)>>);

struct Job {
    view: VerificationView,
    done: AtomicU64,
}

impl Service {
    /// Starts a verification of everything and answers at once.
    ///
    /// # Errors
    /// `overloaded` if two run already.
    pub fn start_verification(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        _caller: &Caller,
        request: &VerificationRequest,
    ) -> Result<VerificationView, Error> {
        let of = self.view(ledger)?.size();
        let view = VerificationView {
            id: self.fresh_id(),
            state: "running".into(),
            started_at: self.clock.now(),
            finished_at: None,
            done: 0,
            of,
            report: None,
            error: None,
        };
        let job = Arc::new(Job {
            view: view.clone(),
            done: AtomicU64::new(0),
        });
        {
            let mut running = self.verifying.0.lock();
            if running.len() >= MAX_RUNNING {
                return Err(Error::new(
                    Code::Overloaded,
                    "two verifications run already; wait for one to end",
                ));
            }
            running.push((ledger.record.number, Arc::clone(&job)));
        }
        let (service, ledger) = (Arc::clone(self), Arc::clone(ledger));
        let options = Options {
            fast: request.fast,
            ..Options::default()
        };
        let started = std::thread::Builder::new()
            .name("verify".into())
            .spawn(move || service.run_verification(&ledger, &job, options));
        started.map(|_| view).map_err(internal)
    }

    fn run_verification(&self, ledger: &Ledger, job: &Arc<Job>, options: Options) {
        let mut view = job.view.clone();
        let trust = Trust {
            origin: Some(ledger.record.origin.clone()),
            ..Trust::default()
        };
        let scope = Scope {
            kept: self.kept_checkpoint(ledger).ok().flatten(),
            indexes: false,
        };
        let verified = verify_store(&*self.store, &ledger.record, trust, options, scope, |done, _| {
            job.done.store(done, Ordering::Relaxed)
        });
        view.finished_at = Some(self.clock.now());
        match verified {
            Ok(report) => {
                (view.state, view.done, view.of, view.report) =
                    ("done".into(), report.tree_size, report.tree_size, Some(report))
            }
            Err(error) => (view.state, view.error) = ("failed".into(), Some(error.to_string())),
        }
        if let Err(error) = self.keep_record(ledger, RECORD, view.id, &view) {
            tracing::error!(error = %error, "the report of a verification could not be kept");
        }
        self.verifying.0.lock().retain(|(_, other)| !Arc::ptr_eq(other, job));
    }

    /// One verification, running or done.
    ///
    /// # Errors
    /// `not_found`.
    pub fn verification(&self, ledger: &Ledger, id: Uuid) -> Result<VerificationView, Error> {
        let running = self.running(ledger).into_iter().find(|view| view.id == id);
        match running {
            Some(view) => Ok(view),
            None => self.kept_record(ledger, RECORD, id),
        }
    }

    /// All verifications, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn verifications(&self, ledger: &Ledger) -> Result<Vec<VerificationView>, Error> {
        let mut views = self.running(ledger);
        let mut kept: Vec<VerificationView> = self.kept_records(ledger, RECORD)?;
        kept.reverse();
        views.extend(kept);
        Ok(views)
    }

    fn running(&self, ledger: &Ledger) -> Vec<VerificationView> {
        let running = self.verifying.0.lock();
        let own = running.iter().filter(|(number, _)| *number == ledger.record.number);
        own.map(|(_, job)| VerificationView {
            done: job.done.load(Ordering::Relaxed),
            ..job.view.clone()
        })
        .collect()
    }
}
