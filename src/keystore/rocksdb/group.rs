//! Group commit: concurrent callers share one run of the work.
//!
//! Who finds nobody at work takes all that waits, runs it and hands out the answers; who comes meanwhile waits for the
//! next run. So runs never overlap (the work needs no lock of its own), and the more callers, the fewer synced writes.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Callers' requests `Q`, answered with `A`, or together with one error `E`.
pub(super) struct Group<Q, A, E> {
    queue: Mutex<Queue<Q, A, E>>,
    turn: Condvar,
}

struct Queue<Q, A, E> {
    waiting: Vec<(Q, Arc<Slot<A, E>>)>,
    at_work: bool,
}

type Slot<A, E> = Mutex<Option<Result<A, Arc<E>>>>;

impl<Q, A, E> Default for Group<Q, A, E> {
    fn default() -> Self {
        Self {
            queue: Mutex::new(Queue {
                waiting: Vec::new(),
                at_work: false,
            }),
            turn: Condvar::new(),
        }
    }
}

impl<Q, A, E> Group<Q, A, E> {
    /// Has `request` answered by `work`, together with what else waits. `work` answers one for one, in order; a request
    /// for which it has no answer, because it panicked, is answered with `None`.
    pub(super) fn submit(&self, request: Q, work: impl FnOnce(&[Q]) -> Result<Vec<A>, E>) -> Option<Result<A, Arc<E>>> {
        let slot = Arc::new(Slot::new(None));
        let mut queue = self.queue.lock();
        queue.waiting.push((request, Arc::clone(&slot)));
        while queue.at_work {
            self.turn.wait(&mut queue);
            if Arc::strong_count(&slot) == 1 {
                return slot.lock().take();
            }
        }
        queue.at_work = true;
        let (requests, slots): (Vec<_>, Vec<_>) = std::mem::take(&mut queue.waiting).into_iter().unzip();
        drop(queue);
        let shift = Shift { group: self, slots };
        match work(&requests) {
            Ok(answers) => shift
                .slots
                .iter()
                .zip(answers)
                .for_each(|(slot, answer)| *slot.lock() = Some(Ok(answer))),
            Err(error) => {
                let error = Arc::new(error);
                shift
                    .slots
                    .iter()
                    .for_each(|slot| *slot.lock() = Some(Err(Arc::clone(&error))));
            }
        }
        drop(shift);
        slot.lock().take()
    }
}

/// Ends the run, also when the work panics: the callers' slots are let go, the next may work.
struct Shift<'a, Q, A, E> {
    group: &'a Group<Q, A, E>,
    slots: Vec<Arc<Slot<A, E>>>,
}

impl<Q, A, E> Drop for Shift<'_, Q, A, E> {
    fn drop(&mut self) {
        let mut queue = self.group.queue.lock();
        self.slots.clear();
        queue.at_work = false;
        self.group.turn.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn callers_share_runs_and_each_gets_its_own_answer() {
        let (group, runs) = (Group::<u32, u32, ()>::default(), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for n in 0..64 {
                let (group, runs) = (&group, &runs);
                scope.spawn(move || {
                    let answer = group.submit(n, |requests| {
                        runs.lock().push(requests.len());
                        std::thread::sleep(Duration::from_millis(2));
                        Ok(requests.iter().map(|n| n * 2).collect())
                    });
                    assert_eq!(answer, Some(Ok(n * 2)));
                });
            }
        });
        let runs = runs.into_inner();
        assert_eq!(runs.iter().sum::<usize>(), 64);
        assert!(runs.len() < 40, "{} runs for 64 callers", runs.len());
    }

    #[test]
    fn an_error_reaches_every_caller_of_its_run_and_the_next_run_works() {
        let group = Group::<u32, u32, &str>::default();
        assert_eq!(group.submit(1, |_| Err("no")), Some(Err(Arc::new("no"))));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| group.submit(1, |_| panic!("oh"))));
        assert!(panicked.is_err());
        assert_eq!(group.submit(1, |n| Ok(n.to_vec())), Some(Ok(1)));
    }
}
