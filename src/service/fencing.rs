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

    /// Makes an answer until no key was taken away meanwhile, so that what leaves was readable, as a whole, when it left.
    pub(super) fn unfenced<T, E>(&self, mut make: impl FnMut() -> Result<T, E>) -> Result<T, E> {
        loop {
            let before = self.stamp();
            let answer = make()?;
            if self.stamp() == before {
                return Ok(answer);
            }
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    /// A fence falls while the answer is being made: after the first block was looked at, before the second.
    #[test]
    fn an_answer_never_mixes_what_was_read_before_a_fence_and_after_it() {
        let (fencing, fenced, mut made) = (Fencing::new(Timestamp(7)), AtomicBool::new(false), 0);
        let answer = fencing.unfenced(|| {
            made += 1;
            let first = fenced.load(Ordering::SeqCst);
            if made == 1 {
                fencing.step(|| fenced.store(true, Ordering::SeqCst));
            }
            Ok::<_, ()>([first, fenced.load(Ordering::SeqCst)])
        });
        assert_eq!((answer.unwrap(), made), ([true, true], 2));
    }

    #[test]
    fn an_answer_that_cannot_be_made_is_not_tried_again() {
        let (fencing, mut made) = (Fencing::new(Timestamp(7)), 0);
        let answer: Result<(), _> = fencing.unfenced(|| {
            made += 1;
            fencing.step(|| ());
            Err("damaged")
        });
        assert_eq!((answer, made), (Err("damaged"), 1));
    }
}
