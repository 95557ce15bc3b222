//! Counts what changes the answers that are made of a ledger: fences and destroyed keys, and keys that could not be had.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::spec::ids::Timestamp;

/// The counters of a ledger. They begin with the time of its opening, so that no value of an earlier run comes again.
#[derive(Debug)]
pub(crate) struct Fencing {
    steps: AtomicU64,
    unavailable: AtomicU64,
}

/// The counters at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Moves before and after each fence and each destruction of keys.
    pub steps: u64,
    /// Moves where an export met a key that could not be had.
    pub unavailable: u64,
}

impl Fencing {
    pub(super) fn new(opened: Timestamp) -> Self {
        Self {
            steps: AtomicU64::new(opened.0),
            unavailable: AtomicU64::new(0),
        }
    }

    /// Runs a step that takes keys away. What was made before it, or across its beginning or end, has another stamp than
    /// what is made after it.
    pub(super) fn step<T>(&self, step: impl FnOnce() -> T) -> T {
        self.steps.fetch_add(1, Ordering::SeqCst);
        let done = step();
        self.steps.fetch_add(1, Ordering::SeqCst);
        done
    }

    pub(super) fn met_unavailable(&self) {
        self.unavailable.fetch_add(1, Ordering::SeqCst);
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            steps: self.steps.load(Ordering::SeqCst),
            unavailable: self.unavailable.load(Ordering::SeqCst),
        }
    }
}
