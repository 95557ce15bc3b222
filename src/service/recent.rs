//! What many may ask for and nobody needs fresher than a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long an answer is good.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How long whoever asks waits for a look that somebody else has begun.
const PATIENCE: Duration = Duration::from_secs(2);

/// The last answer and when it was found. Who asks while it is being found waits for it, but not for ever: what is looked at
/// may hang.
#[derive(Debug)]
pub(super) struct Recent<T> {
    last: Mutex<Option<(Instant, T)>>,
    looking_since: Mutex<Option<Instant>>,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self {
            last: Mutex::new(None),
            looking_since: Mutex::new(None),
        }
    }
}

/// A look under way.
struct Look<'a>(&'a Mutex<Option<Instant>>);

impl<'a> Look<'a> {
    fn begin(since: &'a Mutex<Option<Instant>>) -> Self {
        *since.lock() = Some(Instant::now());
        Self(since)
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        *self.0.lock() = None;
    }
}

impl<T: Clone> Recent<T> {
    /// The last answer if it is young enough, else what `find` finds; `None` if somebody's look has hung for two seconds.
    pub(super) fn get(&self, find: impl FnOnce() -> T) -> Option<T> {
        if self.is_stuck() {
            return None;
        }
        let mut last = self.last.try_lock_for(PATIENCE)?;
        if let Some((_, answer)) = last.as_ref().filter(|(found, _)| found.elapsed() < GOOD_FOR) {
            return Some(answer.clone());
        }
        let look = Look::begin(&self.looking_since);
        let answer = find();
        drop(look);
        *last = Some((Instant::now(), answer.clone()));
        Some(answer)
    }

    /// Whether a look has taken longer than anybody waits.
    pub(super) fn is_stuck(&self) -> bool {
        self.looking_since
            .lock()
            .is_some_and(|since| since.elapsed() >= PATIENCE)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn one_look_serves_all_who_ask_within_a_second() {
        let (recent, looks) = (Recent::default(), AtomicUsize::new(0));
        let look = || {
            std::thread::sleep(Duration::from_millis(20));
            looks.fetch_add(1, Ordering::Relaxed)
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(recent.get(look), Some(0)));
            }
        });
        std::thread::sleep(GOOD_FOR);
        assert_eq!(recent.get(look), Some(1));
    }

    #[test]
    fn a_look_that_hangs_holds_up_nobody_for_long_and_is_taken_up_again() {
        let recent = &Recent::default();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let hangs = scope.spawn(move || recent.get(|| wait.recv().map(|()| 7).unwrap()));
            while recent.looking_since.lock().is_none() {
                std::thread::yield_now();
            }
            let asked = Instant::now();
            assert_eq!(recent.get(|| unreachable!("one looks")), None);
            assert!(asked.elapsed() >= PATIENCE && recent.is_stuck());
            let again = Instant::now();
            assert_eq!(recent.get(|| unreachable!("one looks")), None);
            assert!(again.elapsed() < PATIENCE / 2, "known to be stuck, nobody waits");
            go.send(()).unwrap();
            assert_eq!(hangs.join().unwrap(), Some(7));
        });
        assert_eq!((recent.get(|| 8), recent.is_stuck()), (Some(7), false));
    }
}
