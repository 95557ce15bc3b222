//! Verify: a whole ledger from its store, by the same engine that verifies bundles. The server's jobs, the command line
//! on a data directory and `fsck` come here; nothing is written to the ledger.

mod fsck;
mod job;

use std::collections::BTreeSet;

use rayon::prelude::*;

pub(super) use job::Running;
pub use job::{VerificationRequest, VerificationView};

use super::pace::Pace;
use crate::keystore::KeyRef;
use crate::spec::checkpoint::Checkpoint;
use crate::spec::edge::Edge;
use crate::spec::event::Header;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::note::{VerifierKey, open as open_note};
use crate::spec::report::{Finding, FindingCode, Object, Report};
use crate::spec::seal::SealedBlock;
use crate::spec::system::Position;
use crate::spec::tiles::encode_tile;
use crate::spec::verify::{End, Entry, Options, Record, RecordBody, Trust, Verification};
use crate::store::{LedgerNumber, LedgerRecord, LedgerStore, StoreError};

/// Events that are read and verified at once, at the most.
const CHUNK: u64 = 2_048;

/// What is known of the ledger outside its store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Anchor {
    /// Nothing is at hand; the report says so.
    #[default]
    None,
    /// There should be a checkpoint, and it cannot be read.
    Unreadable,
    /// A checkpoint: its size, and the signed note.
    Checkpoint(u64, String),
}

/// What is verified beyond the events themselves.
#[derive(Default)]
pub struct Scope<'a> {
    /// Tells whether the key of a block can be had or is recorded as erased; absent where no key store is at hand. A block
    /// whose key is simply not there is `key_unavailable`, never erased.
    pub has_key: Option<&'a (dyn Fn(&KeyRef) -> bool + Sync)>,
    /// The checkpoint that is kept outside the store: a ledger that is shorter was truncated or rolled back.
    pub kept: Anchor,
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
    scope: Scope<'_>,
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
        Anchor::Checkpoint(kept, note) if *kept <= size => verification.expect_checkpoint("vault", note.as_bytes()),
        Anchor::Checkpoint(kept, _) => {
            let found = format!("{size} events");
            verification.add(Finding::new(
                None,
                "vault",
                FindingCode::RolledBack,
                format!("{kept} events"),
                found,
            ));
        }
        Anchor::Unreadable => {
            let expected = "the last checkpoint, kept outside the store";
            verification.add(Finding::new(
                None,
                "vault",
                FindingCode::CheckpointUnchecked,
                expected,
                "unreadable, or none",
            ));
        }
        Anchor::None => {}
    }
    let mut tree = Edge::new();
    let mut late = Late::default();
    std::thread::scope(|threads| {
        // The next piece is read while this one is verified.
        let (pieces, read) = std::sync::mpsc::sync_channel(1);
        threads.spawn(move || read_pieces(store, ledger.number, size, &pieces));
        read.into_iter().try_for_each(|piece| -> Result<(), StoreError> {
            let Piece { end, entries, notes } = piece?;
            verification.feed(&entries);
            late.look(store, ledger.number, size, &entries)?;
            grow_and_check(&mut verification, &mut tree, (store, ledger), &entries, &notes)?;
            check_scope(&mut verification, &scope, (store, ledger), &entries)?;
            progress(end, size);
            Ok(())
        })
    })?;
    if let Some(head) = head {
        check_head(&mut verification, &head.last, store, ledger.number, size)?;
    }
    for index in &late.authorities {
        let record = read_records(store, ledger.number, *index..*index + 1)?.pop();
        record.iter().for_each(|record| verification.late_authority(record));
    }
    let mut report = verification.finish(End::Reached);
    if !late.authorities.is_empty() {
        let note = "Bodies were removed while the ledger was read: the events that say so stand beyond what was verified, \
                    and were checked by their signatures alone.";
        report.notes.push(note.to_owned());
    }
    if scope.kept == Anchor::None {
        let note = "No checkpoint from outside the store was compared: a ledger that was cut or rolled back as a whole would pass.";
        report.notes.push(note.to_owned());
    }
    Ok(report)
}

/// The events beyond the verified ones that removed bodies before these could be read.
#[derive(Default)]
struct Late {
    authorities: BTreeSet<u64>,
}

impl Late {
    fn look(
        &mut self,
        store: &dyn LedgerStore,
        ledger: LedgerNumber,
        size: u64,
        entries: &[Entry],
    ) -> Result<(), StoreError> {
        let absent: Vec<_> = entries.iter().filter_map(Entry::event).flat_map(absent).collect();
        if !absent.is_empty() {
            let authorities = store.removed(ledger, &absent)?.into_iter().flatten();
            self.authorities.extend(authorities.filter(|index| *index >= size));
        }
        Ok(())
    }
}

/// Bodies that the header commits to and that are not there.
pub(crate) fn absent(record: &Record) -> Vec<(u64, u16)> {
    let committed = Header::decode(&record.header).map_or(0, |header| header.bodies.len());
    if committed == record.bodies.len() {
        return Vec::new();
    }
    let ordinals = 0..u16::try_from(committed).unwrap_or(u16::MAX);
    let is_absent = |ordinal: &u16| record.bodies.iter().all(|body| body.ordinal != *ordinal);
    ordinals
        .filter(is_absent)
        .map(|ordinal| (record.index, ordinal))
        .collect()
}

/// The sealed blocks whose keys cannot be had.
fn keyless(entries: &[Entry], has_key: &(dyn Fn(&KeyRef) -> bool + Sync)) -> Vec<Position> {
    let bodies = entries.par_iter().filter_map(Entry::event).flat_map_iter(|event| {
        event
            .bodies
            .iter()
            .filter(|body| body.ordinal > 0)
            .map(|body| (event.index, body))
    });
    let keyless = bodies.filter_map(|(index, body)| {
        // Public data is no sealed block and does not decode as one; what should and does not is a finding already.
        let block = SealedBlock::decode(&body.bytes).ok()?;
        let key = KeyRef {
            handle: block.handle,
            category: block.category,
            generation: block.generation,
        };
        (!has_key(&key)).then(|| Position::from((index, body.ordinal)))
    });
    keyless.collect()
}

/// What is read at once: events, and the checkpoints whose sizes they reach.
struct Piece {
    end: u64,
    entries: Vec<Entry>,
    notes: Vec<(u64, String)>,
}

/// Reads the ledger piece by piece, until its end, an error, or nobody who takes them.
fn read_pieces(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    size: u64,
    pieces: &std::sync::mpsc::SyncSender<Result<Piece, StoreError>>,
) {
    let mut pace = Pace::new(0..size, CHUNK);
    while let Some(range) = pace.next() {
        let piece = read_piece(store, ledger, range, &mut pace);
        let failed = piece.is_err();
        if pieces.send(piece).is_err() || failed {
            return;
        }
    }
}

fn read_piece(
    store: &dyn LedgerStore,
    ledger: LedgerNumber,
    range: std::ops::Range<u64>,
    pace: &mut Pace,
) -> Result<Piece, StoreError> {
    let entries = read_entries(store, ledger, range.clone())?;
    pace.saw(entries.iter().filter_map(Entry::event).map(weight).sum());
    let notes = checkpoints(store, ledger, range.clone())?;
    let end = range.end;
    Ok(Piece { end, entries, notes })
}

/// What is verified beyond the events themselves, if it was asked for.
fn check_scope(
    verification: &mut Verification,
    scope: &Scope<'_>,
    (store, ledger): (&dyn LedgerStore, &LedgerRecord),
    entries: &[Entry],
) -> Result<(), StoreError> {
    if let Some(has_key) = scope.has_key {
        let keyless = keyless(entries, has_key);
        keyless
            .into_iter()
            .for_each(|position| verification.key_unavailable(position));
    }
    if scope.indexes {
        let findings = fsck::check_indexes(store, ledger.number, entries)?;
        findings.into_iter().for_each(|finding| verification.add(finding));
    }
    Ok(())
}

/// Bytes of an event's bodies.
pub(crate) fn weight(record: &Record) -> usize {
    record.bodies.iter().map(|body| body.bytes.len()).sum()
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
