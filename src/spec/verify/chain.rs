//! The part of a verification that needs the order: indexes, links, time, streams and the tree.

use std::collections::HashMap;

use crate::spec::event::Header;
use crate::spec::hash::Hash;
use crate::spec::ids::{Origin, StreamRef, Timestamp};
use crate::spec::report::{Finding, FindingCode, Findings};

use super::examine::Examined;
use super::tree::Tree;

/// Where a stream stood when it was last seen.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    version: u64,
    /// Events without a readable header up to then; each since may have been one of this stream.
    unread: u64,
}

/// What the next event must continue.
#[derive(Debug, Default)]
pub(super) struct Chain {
    tree: Tree,
    next: u64,
    previous: Option<Hash>,
    time: Timestamp,
    /// About 50 bytes for each stream.
    streams: HashMap<StreamRef, Seen>,
    unread: u64,
    /// Whether indexes were missing, repeated or swapped, so that the root means nothing.
    pub(super) broken: bool,
}

impl Chain {
    /// Leaves so far.
    pub(super) fn size(&self) -> u64 {
        self.tree.size()
    }

    /// The root over them.
    pub(super) fn root(&self) -> Hash {
        self.tree.root()
    }

    /// Adds an event. Gives the indexes before it that are missing, if any are.
    pub(super) fn event(
        &mut self,
        event: &Examined,
        origin: Option<&Origin>,
        findings: &mut Findings,
    ) -> Option<(u64, u64)> {
        let skipped = self.step(event.index, findings);
        let linked = event.index == self.next;
        match &event.header {
            Some(header) => {
                self.link(event.index, header, linked, findings);
                self.order(event.index, header, origin, findings);
            }
            None => self.unread = self.unread.saturating_add(1),
        }
        self.append(event.leaf, event.index);
        skipped
    }

    /// Adds the leaf hash of an event that is left out.
    pub(super) fn gap(&mut self, index: u64, leaf: Hash, findings: &mut Findings) -> Option<(u64, u64)> {
        let skipped = self.step(index, findings);
        self.unread = self.unread.saturating_add(1);
        self.append(leaf, index);
        skipped
    }

    fn append(&mut self, leaf: Hash, index: u64) {
        self.previous = Some(leaf);
        self.next = index.saturating_add(1);
        self.tree.append(leaf);
    }

    fn step(&mut self, index: u64, findings: &mut Findings) -> Option<(u64, u64)> {
        if index == self.next {
            return None;
        }
        self.broken = true;
        findings.push(Finding::new(
            Some(index),
            "index",
            FindingCode::IndexMismatch,
            self.next,
            index,
        ));
        let skipped = (index > self.next).then_some((self.next, index))?;
        self.unread = self.unread.saturating_add(skipped.1 - skipped.0);
        Some(skipped)
    }

    fn link(&self, index: u64, header: &Header, linked: bool, findings: &mut Findings) {
        let mut add = |field: &str, code, expected: String, found: String| {
            findings.push(Finding::new(Some(index), field, code, expected, found));
        };
        if header.index != index {
            add(
                "index",
                FindingCode::IndexMismatch,
                index.to_string(),
                header.index.to_string(),
            );
        }
        if linked && header.previous != self.previous {
            let text = |hash: &Option<Hash>| hash.map_or("none".to_owned(), |hash| hash.to_string());
            add(
                "previous",
                FindingCode::PreviousMismatch,
                text(&self.previous),
                text(&header.previous),
            );
        }
    }

    fn order(&mut self, index: u64, header: &Header, origin: Option<&Origin>, findings: &mut Findings) {
        let mut add = |field: &str, code, expected: String, found: String| {
            findings.push(Finding::new(Some(index), field, code, expected, found));
        };
        if let Some(origin) = origin.filter(|origin| **origin != header.origin) {
            add(
                "origin",
                FindingCode::OriginMismatch,
                origin.to_string(),
                header.origin.to_string(),
            );
        }
        if header.recorded_at < self.time {
            let expected = format!("{} or later", self.time);
            add(
                "recorded_at",
                FindingCode::TimeDecreased,
                expected,
                header.recorded_at.to_string(),
            );
        }
        self.time = self.time.max(header.recorded_at);
        let seen = self.streams.entry(header.stream_ref).or_default();
        let lowest = seen.version.saturating_add(1);
        let highest = lowest.saturating_add(self.unread.saturating_sub(seen.unread));
        if !(lowest..=highest).contains(&header.stream_version) {
            let expected = if lowest == highest {
                lowest.to_string()
            } else {
                format!("{lowest} to {highest}")
            };
            add(
                "stream_version",
                FindingCode::StreamVersionMismatch,
                expected,
                header.stream_version.to_string(),
            );
        }
        *seen = Seen {
            version: seen.version.max(header.stream_version),
            unread: self.unread,
        };
    }
}
