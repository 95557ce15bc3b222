//! What many may ask for and nobody needs fresher than a second.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long an answer is good.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The last answer and when it was found. Who asks while it is being found waits for it.
#[derive(Debug)]
pub(super) struct Recent<T>(Mutex<Option<(Instant, T)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Recent<T> {
    /// The last answer if it is young enough, else what `find` finds.
    pub(super) fn get(&self, find: impl FnOnce() -> T) -> T {
        let mut last = self.0.lock();
        if let Some((_, answer)) = last.as_ref().filter(|(found, _)| found.elapsed() < GOOD_FOR) {
            return answer.clone();
        }
        let answer = find();
        *last = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[cfg(test)]
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
                scope.spawn(|| assert_eq!(recent.get(look), 0));
            }
        });
        std::thread::sleep(GOOD_FOR);
        assert_eq!(recent.get(look), 1);
    }
}
