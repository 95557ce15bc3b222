//! The verification of a whole ledger, streaming: the same for a store and for a bundle (docs/spec/11-verification.md).
//!
//! ```text
//! event by event, in parallel    canonical header · strict signature by the event key of that index · commitments ·
//!                                formats of meta and sealed blocks · leaf hash = SHA-256(0x00 || header)
//! then in order                  index = the one before + 1 · previous = leaf hash of the one before · same origin ·
//!                                time never decreases · stream versions gapless · tree (RFC 6962, section 2.1)
//! at checkpoints                 root = the signed one · signature by the checkpoint key
//! at the end                     size = the head's · every absent body is named by an authority (`absence`) · the keys
//!                                or checkpoints that the reader brought are met
//! ```
//!
//! The first event must be `ledger.created` at index 0: it names the keys, and the event key that it names must have signed
//! it. Feed entries in the order of their indexes; a finding never stops the rest, so several places are named at once.
//! What is not fed is not valid: the head tells how many events there must be.
//!
//! Events that are left out ([`Entry::Gap`]) count as leaves only. A stream may then have gained as many versions as events
//! were left out. Memory: about 50 bytes for each stream and 30 for each absent body, besides the chunk.
//!
//! Out of scope: that event ids and event refs are unique (an index of all of them is the store's affair, and no proof
//! rests on it), and opening sealed blocks.

mod absence;
mod chain;
mod checkpoints;
mod examine;
mod keyring;
mod notes;
mod own;
mod record;
mod tree;
mod trust;

#[cfg(test)]
mod tests;

pub use keyring::Keyring;
pub use record::{Entry, Record, RecordBody};
pub use trust::Trust;

pub(super) use checkpoints::{chain as error_chain, read_unverified as read_checkpoint, verify_note};
pub(super) use examine::{Examined, examine, place as body_place, signature_code};
pub(super) use trust::check_pins;

use super::hash::Hash;
use super::ids::Handle;
use super::report::{Bodies, Checked, Finding, FindingCode, Findings, Object, Report, TrustState};
use super::system::Position;
use absence::Absences;
use chain::Chain;
use checkpoints::{Checkpoints, Purpose};
use own::OwnEvents;

/// How to verify.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Verify event signatures in batches: about twice as fast, and not the strict predicate. The report says so.
    pub fast: bool,
    /// The reader asked for a selection of events: that some are left out is then no finding. Undeclared, it still is.
    pub selection: bool,
}

/// How far a verification has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Leaves so far.
    pub leaves: u64,
    /// Leaves in all, if the head says so.
    pub of: Option<u64>,
    /// Findings so far.
    pub findings: u64,
}

/// Whether all was fed that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Yes.
    Reached,
    /// No: the file could not be read to its end. A finding of the caller says where.
    CutShort,
}

/// A verification under way.
#[derive(Debug)]
pub struct Verification {
    object: Object,
    trust: Trust,
    options: Options,
    keyring: Option<Keyring>,
    started: bool,
    chain: Chain,
    absences: Absences,
    checkpoints: Checkpoints,
    /// Kept for bundles alone: only they carry documents that repeat events.
    own: Option<OwnEvents>,
    findings: Findings,
    checked: Checked,
    bodies: Bodies,
    left_out: u64,
}

impl Verification {
    /// Begins, with what the reader knows from elsewhere.
    pub fn new(object: Object, trust: Trust, options: Options) -> Self {
        let (mut checkpoints, mut findings) = (Checkpoints::default(), Findings::default());
        for (number, note) in (1..).zip(&trust.against) {
            checkpoints.expect(Purpose::Against, &format!("--against {number}"), note, &mut findings);
        }
        Self {
            object,
            trust,
            options,
            keyring: None,
            started: false,
            chain: Chain::default(),
            absences: Absences::default(),
            checkpoints,
            own: (object == Object::Bundle).then(OwnEvents::default),
            findings,
            checked: Checked::default(),
            bodies: Bodies::default(),
            left_out: 0,
        }
    }

    /// Gives the signed checkpoint that states size and root of the whole. Before the first entry.
    pub fn expect_head(&mut self, place: &str, note: &[u8]) {
        self.checkpoints.expect(Purpose::Head, place, note, &mut self.findings);
    }

    /// Gives another of the ledger's own checkpoints, before its size is passed: one that comes later stays unchecked.
    pub fn expect_checkpoint(&mut self, place: &str, note: &[u8]) {
        self.checkpoints
            .expect(Purpose::OnTheWay, place, note, &mut self.findings);
    }

    /// Feeds the next entries. A thousand events or so at once keep all processors busy.
    pub fn feed(&mut self, entries: &[Entry]) {
        self.start(entries.first());
        let examined = examine::examine_all(entries, self.keyring.as_ref(), self.options.fast);
        for (entry, examined) in entries.iter().zip(examined) {
            match (entry, examined) {
                (Entry::Event(record), Some(event)) => {
                    if let Some(own) = &mut self.own {
                        own.keep(record, &event);
                    }
                    self.event(event);
                }
                (Entry::Gap { first, leaves }, _) => self.gap(*first, leaves),
                (Entry::Event(_), None) => {} // every event is examined
            }
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress {
            leaves: self.chain.size(),
            of: self.checkpoints.head(),
            findings: self.findings.count(),
        }
    }

    /// The ledger's keys, once the first entry was fed and if they are valid.
    pub fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }

    /// Leaves so far, and their root unless indexes were out of order.
    pub fn tree(&self) -> (u64, Option<Hash>) {
        (self.chain.size(), (!self.chain.broken).then(|| self.chain.root()))
    }

    /// Events so far that were there, and that were left out.
    pub fn counts(&self) -> (u64, u64) {
        (self.checked.events, self.left_out)
    }

    /// Compares an event that a document beside the ledger repeats with the one at its index. Events of the ledger's own
    /// alone can be compared, and in a bundle alone.
    pub(super) fn holds_own(&self, record: &Record) -> bool {
        self.own.as_ref().is_some_and(|own| own.holds(record))
    }

    /// The indexes of the reports of leaks that name one of these people, in a bundle.
    pub(super) fn own_leaks_about(&self, handles: &[Handle]) -> Vec<u64> {
        self.own.as_ref().map_or_else(Vec::new, |own| own.leaks_about(handles))
    }

    /// The root that a checkpoint of this size stated, if one was met on the way.
    pub(super) fn met_root(&self, size: u64) -> Option<Hash> {
        self.checkpoints.met(size)
    }

    /// Adds a finding of the caller's, about the container for instance.
    pub fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds the findings about a document beside the ledger.
    pub(super) fn add_all(&mut self, findings: Findings) {
        self.findings.merge(findings);
    }

    /// Counts signatures of the caller's that hold.
    pub(super) fn add_signatures(&mut self, count: u64) {
        self.checked.signatures += count;
    }

    /// Notes that a sealed block cannot be opened although nothing says that its key was destroyed. Only a server can tell.
    pub fn key_unavailable(&mut self, position: Position) {
        self.bodies.key_unavailable += 1;
        let place = format!("sealed/{}", position.ordinal);
        let expected = "the block's key, or the record of an erasure";
        self.add(Finding::new(
            Some(position.index),
            place,
            FindingCode::KeyUnavailable,
            expected,
            "neither",
        ));
    }

    /// Gives an event that stands beyond the verified prefix and authorised the removal of bodies while the prefix was being
    /// read. It counts only if its own signature, header, `meta` and `data` hold.
    pub fn late_authority(&mut self, record: &Record) {
        let Some(keyring) = self.keyring.as_ref().filter(|_| record.index >= self.chain.size()) else {
            return;
        };
        let examined = examine(record, Some(keyring.event_key(record.index)));
        if let Some(authority) = examined.authority.filter(|_| examined.signed) {
            self.absences.apply_late(&authority);
        }
    }

    fn start(&mut self, first: Option<&Entry>) {
        let Some(first) = first.filter(|_| !self.started) else {
            return;
        };
        self.started = true;
        let keyring = match first {
            Entry::Event(record) => Keyring::from_first(record),
            Entry::Gap { .. } => Err("it is left out".to_owned()),
        };
        match keyring {
            Ok(keyring) => self.keyring = Some(keyring),
            Err(found) => self.add(Finding::new(
                Some(first.first()),
                "first event",
                FindingCode::LedgerCreatedInvalid,
                "ledger.created at index 0 with the ledger's keys",
                found,
            )),
        }
        let empty = self.chain.root();
        self.checkpoints
            .reach(0, &empty, self.keyring.as_ref(), &mut self.findings);
    }

    fn event(&mut self, mut event: Examined) {
        self.checked.events += 1;
        self.checked.signatures += u64::from(event.signed);
        self.checked.bodies += event.present;
        self.bodies.present += event.present;
        self.bodies.missing += event.lost;
        self.findings.extend(std::mem::take(&mut event.findings));
        let origin = self.keyring.as_ref().map(Keyring::origin);
        let skipped = self.chain.event(&event, origin, &mut self.findings);
        self.skip(skipped);
        if event.header.is_none() {
            self.absences.push_unknown(event.index, event.index.saturating_add(1));
        }
        for (ordinal, kind) in event.absent {
            self.absences.push(
                Position {
                    index: event.index,
                    ordinal,
                },
                kind,
            );
        }
        if let Some(authority) = event.authority.filter(|_| event.signed) {
            self.absences.apply(event.index, &authority, &mut self.findings);
        }
        self.meet_checkpoints();
    }

    fn gap(&mut self, first: u64, leaves: &[Hash]) {
        for (offset, leaf) in (0..).zip(leaves) {
            let index = first.saturating_add(offset);
            let skipped = self.chain.gap(index, *leaf, &mut self.findings);
            self.skip(skipped);
            self.meet_checkpoints();
        }
        self.left_out += leaves.len() as u64;
        self.absences
            .push_unknown(first, first.saturating_add(leaves.len() as u64));
    }

    fn skip(&mut self, skipped: Option<(u64, u64)>) {
        if let Some((first, end)) = skipped {
            self.absences.push_unknown(first, end);
        }
    }

    fn meet_checkpoints(&mut self) {
        if self.checkpoints.is_due(self.chain.size()) && !self.chain.broken {
            let root = self.chain.root();
            self.checkpoints
                .reach(self.chain.size(), &root, self.keyring.as_ref(), &mut self.findings);
        }
    }

    /// Ends and reports.
    pub fn finish(mut self, end: End) -> Report {
        let whole = end == End::Reached;
        if whole && !self.started {
            let expected = "ledger.created at index 0";
            self.add(Finding::new(
                None,
                "events",
                FindingCode::LedgerCreatedInvalid,
                expected,
                "no events",
            ));
        }
        self.close_head(whole);
        self.close_selection();
        self.checkpoints
            .close(self.chain.size(), whole && !self.chain.broken, &mut self.findings);
        self.checked.checkpoints += self.checkpoints.hold;
        std::mem::take(&mut self.absences).close(whole, &mut self.bodies, &mut self.findings);
        // What was cut off before the keys were read accuses nobody: that it is cut off is said already.
        let keys_read = whole || self.keyring.is_some();
        let pinned = keys_read && check_pins(&self.trust, self.keyring.as_ref(), &mut self.findings);
        let pinned = pinned || self.checkpoints.pinned;
        self.report(if pinned {
            TrustState::Pinned
        } else {
            TrustState::SelfConsistent
        })
    }

    fn close_head(&mut self, whole: bool) {
        let size = self.chain.size();
        match self.checkpoints.head() {
            Some(head) if whole && head < size => {
                let (expected, found) = (format!("{head} events"), format!("{size} events"));
                self.add(Finding::new(
                    None,
                    "events",
                    FindingCode::TooManyEvents,
                    expected,
                    found,
                ));
            }
            None if whole => {
                let expected = "a signed checkpoint of the whole";
                self.add(Finding::new(
                    None,
                    "checkpoint",
                    FindingCode::CheckpointAbsent,
                    expected,
                    "none",
                ));
            }
            _ => {}
        }
    }

    fn close_selection(&mut self) {
        if self.left_out > 0 && !self.options.selection {
            let expected = "all events, unless a selection was asked for";
            let found = format!(
                "{} events; of {} only the leaf hashes",
                self.checked.events, self.left_out
            );
            self.add(Finding::new(
                None,
                "selection",
                FindingCode::NotIncluded,
                expected,
                found,
            ));
        }
    }

    fn report(self, trust: TrustState) -> Report {
        let (tree_size, root) = self.tree();
        let mut report = Report::new(self.object, trust, self.findings);
        report.origin = self.keyring.as_ref().map(|keyring| keyring.origin().clone());
        report.key = self
            .keyring
            .as_ref()
            .map(|keyring| keyring.checkpoint_key().to_string());
        (report.tree_size, report.root) = (tree_size, root);
        (report.checked, report.bodies) = (self.checked, self.bodies);
        (report.events_not_included, report.fast) = (self.left_out, self.options.fast);
        report.notes = notes::notes(&report);
        report
    }
}
