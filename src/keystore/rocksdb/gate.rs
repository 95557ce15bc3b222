//! Passes for those who use keys, and a way to wait until every pass that was out has come back.
//!
//! A pass is counted on one of two sides. [`Gate::drain`] turns new passes to the other side, waits until the first is
//! empty, and does the same once more the other way: afterwards each side was empty at some moment since the call. So
//! every pass taken before it has come back, a stream of new ones cannot starve it, and a thread that holds a pass may
//! take another while a drain is under way. A read-write lock would fail in one or the other.
//!
//! Whoever takes a pass looks at the fences *after*; whoever fences sets them *before* it drains. Then a user saw the
//! fence or is waited for. A thread that drains while it holds a pass waits for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use parking_lot::{Condvar, Mutex};

#[derive(Debug, Default)]
pub(super) struct Gate {
    /// The side on which new passes are counted.
    odd: AtomicBool,
    out: (AtomicUsize, AtomicUsize),
    draining: AtomicBool,
    /// Held for a whole drain: one at a time.
    drain: Mutex<()>,
    /// Held between counting and waiting.
    count: Mutex<()>,
    returned: Condvar,
}

/// Counted from [`Gate::enter`] until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    gate: Arc<Gate>,
    odd: bool,
}

impl Gate {
    pub(super) fn enter(self: &Arc<Self>) -> Pass {
        let odd = self.odd.load(SeqCst);
        self.side(odd).fetch_add(1, SeqCst);
        Pass {
            gate: Arc::clone(self),
            odd,
        }
    }

    /// Returns when every pass taken before the call has been dropped.
    pub(super) fn drain(&self) {
        let _one_at_a_time = self.drain.lock();
        let mut count = self.count.lock();
        self.draining.store(true, SeqCst);
        for _ in 0..2 {
            let before = self.odd.fetch_xor(true, SeqCst);
            while self.side(before).load(SeqCst) > 0 {
                self.returned.wait(&mut count);
            }
        }
        self.draining.store(false, SeqCst);
    }

    fn side(&self, odd: bool) -> &AtomicUsize {
        if odd { &self.out.1 } else { &self.out.0 }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let last = self.gate.side(self.odd).fetch_sub(1, SeqCst) == 1;
        // A drain says that it drains before it counts, so it has seen this return or is seen here.
        if last && self.gate.draining.load(SeqCst) {
            // With the lock held the drain is waiting, not between its count and its wait.
            let _count = self.gate.count.lock();
            self.gate.returned.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_drain_waits_for_passes_that_are_out_while_others_come_and_go() {
        let gate = Arc::new(Gate::default());
        let (out, done) = (gate.enter(), Arc::new(AtomicBool::new(false)));
        let drain = std::thread::spawn({
            let (gate, done) = (Arc::clone(&gate), Arc::clone(&done));
            move || {
                gate.drain();
                done.store(true, SeqCst);
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        // Taken while the drain waits: it neither blocks nor deadlocks.
        drop(gate.enter());
        assert!(!done.load(SeqCst), "a pass is out");
        drop(out);
        drain.join().unwrap();
        assert!(done.load(SeqCst));
    }

    #[test]
    fn a_drain_waits_for_a_pass_counted_on_the_side_that_was_current_long_ago() {
        for odd in [false, true] {
            let gate = Arc::new(Gate::default());
            // Whoever reads the side and is then suspended during other drains is counted on either side.
            gate.side(odd).fetch_add(1, SeqCst);
            let late = Pass {
                gate: Arc::clone(&gate),
                odd,
            };
            let drain = std::thread::spawn(move || gate.drain());
            std::thread::sleep(Duration::from_millis(20));
            assert!(!drain.is_finished());
            drop(late);
            drain.join().unwrap();
        }
    }

    #[test]
    fn a_stream_of_passes_does_not_starve_a_drain() {
        let (gate, stop) = (Arc::new(Gate::default()), Arc::new(AtomicBool::new(false)));
        let users: Vec<_> = (0..3)
            .map(|_| {
                let (gate, stop) = (Arc::clone(&gate), Arc::clone(&stop));
                std::thread::spawn(move || {
                    let mut held = gate.enter();
                    while !stop.load(SeqCst) {
                        // Overlapping: one is always out.
                        let next = gate.enter();
                        drop(std::mem::replace(&mut held, next));
                    }
                })
            })
            .collect();
        (0..200).for_each(|_| gate.drain());
        stop.store(true, SeqCst);
        users.into_iter().for_each(|user| user.join().unwrap());
        assert_eq!((gate.out.0.load(SeqCst), gate.out.1.load(SeqCst)), (0, 0));
    }
}
