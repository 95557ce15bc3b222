//! What the committer measures. Recording is a push without a lock; without a recorder it is nothing.

use std::time::Instant;

use metrics::{Counter, Histogram};

use crate::store::{Batch, StoreError};

/// Handles, taken once per committer.
pub(super) struct Meters {
    seconds: Histogram,
    events: Histogram,
    failed: Counter,
    appended: Counter,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            seconds: metrics::histogram!("oubliette_commit_seconds"),
            events: metrics::histogram!("oubliette_commit_events"),
            failed: metrics::counter!("oubliette_commits_failed_total"),
            appended: metrics::counter!("oubliette_events_appended_total"),
        }
    }
}

impl Meters {
    /// Runs one commit and records how it went.
    pub(super) fn commit(
        &self,
        batch: &Batch,
        write: impl FnOnce() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let started = Instant::now();
        let written = write();
        self.seconds.record(started.elapsed());
        let events: u32 = batch
            .ledgers
            .iter()
            .map(|ledger| u32::try_from(ledger.events.len()).unwrap_or(u32::MAX))
            .sum();
        self.events.record(f64::from(events));
        match written {
            Ok(()) => self.appended.increment(of_callers(batch)),
            Err(_) => self.failed.increment(1),
        }
        written
    }
}

/// Events in streams that are not Oubliette's own.
fn of_callers(batch: &Batch) -> u64 {
    let events = batch.ledgers.iter().flat_map(|ledger| &ledger.events);
    events.filter(|event| !event.meta.stream.is_system()).count() as u64
}
