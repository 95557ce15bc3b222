//! Checkpoints that a ledger must meet on the way: at their size its root must be theirs, and its key must have signed
//! them.

use std::collections::BTreeMap;

use crate::spec::checkpoint::{self, Checkpoint, CheckpointError};
use crate::spec::hash::Hash;
use crate::spec::note::Note;
use crate::spec::report::{Finding, FindingCode, Findings};

use super::keyring::Keyring;

/// What a checkpoint is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It states the size and root of the whole.
    Head,
    /// One of the ledger's own on the way.
    OnTheWay,
    /// The reader kept it.
    Against,
}

#[derive(Debug)]
struct Expected {
    purpose: Purpose,
    place: String,
    note: String,
    checkpoint: Checkpoint,
}

/// The checkpoints whose size is still to come.
#[derive(Debug, Default)]
pub(super) struct Checkpoints {
    to_come: BTreeMap<u64, Vec<Expected>>,
    head: Option<u64>,
    /// The roots of those that hold, by size.
    met: BTreeMap<u64, Hash>,
    /// How many hold.
    pub(super) hold: u64,
    /// Whether one that the reader kept holds, and covers at least the first event.
    pub(super) pinned: bool,
}

/// Reads a note's checkpoint without verifying it.
pub(crate) fn read_unverified(note: &[u8]) -> Result<(String, Checkpoint), String> {
    let text = std::str::from_utf8(note).map_err(|_| "not UTF-8".to_owned())?;
    let note: Note = text.parse().map_err(chain)?;
    let checkpoint = note.text().parse().map_err(chain::<CheckpointError>)?;
    Ok((text.to_owned(), checkpoint))
}

/// An error with its causes in one line.
pub(crate) fn chain<E: std::error::Error>(error: E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Verifies a checkpoint under the ledger's key; the finding says what is wrong.
pub(crate) fn verify_note(note: &str, place: &str, keyring: &Keyring) -> Result<Checkpoint, Finding> {
    let keys = [keyring.checkpoint_key().clone()];
    match checkpoint::open(note, keyring.name(), &keys) {
        Ok(opened) => Ok(opened.checkpoint),
        Err(CheckpointError::OtherOrigin { expected, found }) => {
            Err(Finding::new(None, place, FindingCode::OriginMismatch, expected, found))
        }
        Err(error) => {
            let code = match error {
                CheckpointError::Note(_) | CheckpointError::NotByLog => FindingCode::CheckpointSignature,
                _ => FindingCode::CheckpointMalformed,
            };
            let expected = format!("a checkpoint signed by {}", keyring.checkpoint_key());
            Err(Finding::new(None, place, code, expected, chain(error)))
        }
    }
}

impl Checkpoints {
    /// Expects a checkpoint. Its size must not have been passed yet, else it counts as unchecked.
    pub(super) fn expect(&mut self, purpose: Purpose, place: &str, note: &[u8], findings: &mut Findings) {
        match read_unverified(note) {
            Ok((note, checkpoint)) => {
                if purpose == Purpose::Head {
                    self.head = Some(checkpoint.size);
                }
                let place = place.to_owned();
                let size = checkpoint.size;
                self.to_come.entry(size).or_default().push(Expected {
                    purpose,
                    place,
                    note,
                    checkpoint,
                });
            }
            Err(error) => {
                let expected = "a signed checkpoint";
                findings.push(Finding::new(
                    None,
                    place,
                    FindingCode::CheckpointMalformed,
                    expected,
                    error,
                ));
            }
        }
    }

    /// The size that the head states.
    pub(super) fn head(&self) -> Option<u64> {
        self.head
    }

    /// The root at this size, if a checkpoint of it holds.
    pub(super) fn met(&self, size: u64) -> Option<Hash> {
        self.met.get(&size).copied()
    }

    /// Whether a checkpoint of this size is expected.
    pub(super) fn is_due(&self, size: u64) -> bool {
        self.to_come.first_key_value().is_some_and(|(first, _)| *first <= size)
    }

    /// Compares the checkpoints of this size with the root that the leaves have.
    pub(super) fn reach(&mut self, size: u64, root: &Hash, keyring: Option<&Keyring>, findings: &mut Findings) {
        while let Some(first) = self.to_come.first_entry().filter(|first| *first.key() <= size) {
            for expected in first.remove() {
                match keyring {
                    Some(keyring) if expected.checkpoint.size == size => {
                        self.compare(&expected, root, keyring, findings);
                    }
                    _ => findings.push(unchecked(&expected)),
                }
            }
        }
    }

    fn compare(&mut self, expected: &Expected, root: &Hash, keyring: &Keyring, findings: &mut Findings) {
        let place = &expected.place;
        if let Err(finding) = verify_note(&expected.note, place, keyring) {
            return findings.push(finding);
        }
        if expected.checkpoint.root != *root {
            let place = format!("{place}, root at size {}", expected.checkpoint.size);
            return findings.push(Finding::new(
                None,
                place,
                FindingCode::RootMismatch,
                expected.checkpoint.root,
                root,
            ));
        }
        self.met.insert(expected.checkpoint.size, *root);
        self.hold += 1;
        self.pinned |= expected.purpose == Purpose::Against && expected.checkpoint.size > 0;
    }

    /// Reports those that were not met by a tree of `size` leaves; all of them as unchecked if the end was not read.
    pub(super) fn close(&mut self, size: u64, whole: bool, findings: &mut Findings) {
        for expected in std::mem::take(&mut self.to_come).into_values().flatten() {
            let code = match expected.purpose {
                _ if !whole || expected.checkpoint.size <= size => {
                    findings.push(unchecked(&expected));
                    continue;
                }
                Purpose::Head | Purpose::OnTheWay => FindingCode::TooFewEvents,
                Purpose::Against => FindingCode::RolledBack,
            };
            let at_least = format!("{} events or more", expected.checkpoint.size);
            findings.push(Finding::new(
                None,
                expected.place,
                code,
                at_least,
                format!("{size} events"),
            ));
        }
    }
}

fn unchecked(expected: &Expected) -> Finding {
    let size = expected.checkpoint.size;
    let due = format!("root {} at size {size}", expected.checkpoint.root);
    Finding::new(
        None,
        &*expected.place,
        FindingCode::CheckpointUnchecked,
        due,
        "no root to compare it with",
    )
}
