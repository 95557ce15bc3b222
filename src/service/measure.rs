//! What is measured (docs/operations.md, Metrics): histograms as things happen, gauges when somebody asks.
//!
//! Labels are ledger names, codes, states and kinds: never a stream, a tag or a person.

use std::collections::HashMap;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge};
use parking_lot::Mutex;

use super::append::AppendAnswer;
use super::erase::ErasureView;
use super::verify::VerificationView;
use super::{Code, Error, Ledger, Service};
use crate::spec::ids::Timestamp;
use crate::spec::report::Verdict;
use crate::store::LedgerNumber;

/// States that an erasure can be in; each is shown, at 0 too.
const ERASURE_STATES: [&str; 7] = [
    "held",
    "pending_approval",
    "requested",
    "erasing",
    "completed",
    "final",
    "cancelled",
];
/// How a verification can have ended.
const VERDICTS: [&str; 4] = ["valid", "incomplete", "tampered", "failed"];

/// Handles and what the last look found.
pub(super) struct Meters {
    append_seconds: Histogram,
    appended: Counter,
    verified: Mutex<HashMap<LedgerNumber, Option<(Timestamp, &'static str)>>>,
    erasures: Mutex<HashMap<LedgerNumber, Tally>>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            append_seconds: metrics::histogram!("oubliette_append_seconds"),
            appended: metrics::counter!("oubliette_events_appended_total"),
            verified: Mutex::default(),
            erasures: Mutex::default(),
        }
    }
}

/// A ledger's erasures as they stood at a size.
#[derive(Default)]
struct Tally {
    size: u64,
    states: HashMap<&'static str, u64>,
    open_until: Vec<Timestamp>,
}

impl Meters {
    pub(super) fn append(&self, took: Duration, answer: &Result<AppendAnswer, Error>) {
        match answer {
            Ok(answer) => {
                self.append_seconds.record(took);
                if !answer.repeated {
                    self.appended.increment(answer.events.len() as u64);
                }
            }
            Err(error) => counter!("oubliette_appends_refused_total", "code" => error.code.as_str()).increment(1),
        }
    }

    pub(super) fn verified(&self, ledger: LedgerNumber, view: &VerificationView) {
        self.verified.lock().insert(ledger, outcome(view));
    }
}

fn outcome(view: &VerificationView) -> Option<(Timestamp, &'static str)> {
    let verdict = match view.report.as_ref().map(|report| report.verdict) {
        Some(Verdict::Valid) => "valid",
        Some(Verdict::Incomplete) => "incomplete",
        Some(Verdict::Tampered) => "tampered",
        None => "failed",
    };
    view.finished_at.map(|at| (at, verdict))
}

/// Seconds since 1970, as Prometheus counts.
#[allow(clippy::cast_precision_loss)]
fn seconds(time: Timestamp) -> f64 {
    time.0 as f64 / 1e6
}

#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

impl Service {
    /// Whether events are taken and keys can be had. Reads the vault; blocks.
    ///
    /// # Errors
    /// `not_ready` if the writer is poisoned, `key_unavailable` if key store or vault cannot be read.
    pub fn readiness(&self) -> Result<(), Error> {
        if !self.is_ready() {
            let detail = "the last commit failed; the writer tries again every second. Look at the server's log and the \
                          free space of the disk";
            return Err(Error::new(Code::NotReady, detail));
        }
        self.keystore.check().map_err(|error| {
            // Whoever asks needs no key, so the folders stand in the log alone.
            let detail = "keys cannot be had: key store or vault cannot be read. The server's log names the part";
            Error::new(Code::KeyUnavailable, detail).caused_by(error)
        })
    }

    /// Brings every gauge up to date. Blocks.
    ///
    /// # Errors
    /// If store or key store cannot be read.
    pub fn measure(&self) -> Result<(), Error> {
        let flag = |name: &'static str, on: bool| gauge!(name).set(if on { 1.0 } else { 0.0 });
        flag("oubliette_ready", self.readiness().is_ok());
        flag("oubliette_vault_healthy", self.keystore.vault().is_healthy());
        gauge!("oubliette_queue_events").set(float(self.sequencer.waiting() as u64));
        for (kind, bytes) in self.store.disk_bytes()? {
            gauge!("oubliette_disk_bytes", "kind" => kind).set(float(bytes));
        }
        gauge!("oubliette_disk_bytes", "kind" => "keystore").set(float(self.keystore.disk_bytes()));
        gauge!("oubliette_disk_bytes", "kind" => "vault").set(float(self.keystore.vault().disk_bytes()));
        self.all_ledgers()
            .iter()
            .try_for_each(|ledger| self.measure_ledger(ledger))
    }

    fn measure_ledger(&self, ledger: &Ledger) -> Result<(), Error> {
        let name = ledger.record.name.to_string();
        let view = self.view(ledger)?;
        gauge!("oubliette_checkpoint_size_events", "ledger" => name.clone()).set(float(view.size()));
        if let Some(head) = view.head {
            gauge!("oubliette_checkpoint_timestamp_seconds", "ledger" => name.clone()).set(seconds(head.recorded_at));
        }
        self.measure_erasures(ledger, &name, view.size())?;
        self.measure_verifications(ledger, &name)
    }

    fn measure_erasures(&self, ledger: &Ledger, name: &str, size: u64) -> Result<(), Error> {
        let mut tallies = self.meters.erasures.lock();
        let tally = tallies.entry(ledger.record.number).or_default();
        if tally.size != size {
            *tally = Tally::of(size, &self.erasures(ledger)?);
        }
        for state in ERASURE_STATES {
            let count = tally.states.get(state).copied().unwrap_or(0);
            gauge!("oubliette_erasures", "ledger" => name.to_owned(), "state" => state).set(float(count));
        }
        let now = self.clock.now();
        let overdue = tally.open_until.iter().filter(|due| **due < now).count();
        gauge!("oubliette_erasures_overdue", "ledger" => name.to_owned()).set(float(overdue as u64));
        Ok(())
    }

    fn measure_verifications(&self, ledger: &Ledger, name: &str) -> Result<(), Error> {
        let running = self.running(ledger);
        let (done, of) = running
            .iter()
            .fold((0, 0), |(done, of), job| (done + job.done, of + job.of));
        gauge!("oubliette_verifications_running", "ledger" => name.to_owned()).set(float(running.len() as u64));
        gauge!("oubliette_verification_done_events", "ledger" => name.to_owned()).set(float(done));
        gauge!("oubliette_verification_goal_events", "ledger" => name.to_owned()).set(float(of));
        let known = self.meters.verified.lock().get(&ledger.record.number).copied();
        let last = match known {
            Some(last) => last,
            None => {
                // Once per start: what an earlier process found.
                let last = self.verifications(ledger)?.iter().find_map(outcome);
                *self.meters.verified.lock().entry(ledger.record.number).or_insert(last)
            }
        };
        let Some((at, verdict)) = last else { return Ok(()) };
        gauge!("oubliette_verification_timestamp_seconds", "ledger" => name.to_owned()).set(seconds(at));
        for one in VERDICTS {
            let value = if one == verdict { 1.0 } else { 0.0 };
            gauge!("oubliette_verification_verdict", "ledger" => name.to_owned(), "verdict" => one).set(value);
        }
        Ok(())
    }
}

impl Tally {
    fn of(size: u64, erasures: &[ErasureView]) -> Self {
        let mut tally = Self {
            size,
            ..Self::default()
        };
        for erasure in erasures {
            *tally.states.entry(erasure.state).or_default() += 1;
            if !["completed", "final", "cancelled"].contains(&erasure.state) {
                tally.open_until.push(erasure.due_at);
            }
        }
        tally
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn erasure(state: &'static str, due_at: u64) -> ErasureView {
        ErasureView {
            id: uuid::Uuid::nil(),
            state,
            subjects: Vec::new(),
            categories: None,
            requested_at: Timestamp(0),
            due_at: Timestamp(due_at),
            completed_at: None,
            certificate: String::new(),
        }
    }

    #[test]
    fn what_is_done_is_never_overdue() {
        let tally = Tally::of(
            9,
            &[erasure("erasing", 5), erasure("completed", 5), erasure("erasing", 7)],
        );
        assert_eq!(tally.states.get("erasing"), Some(&2));
        assert_eq!(tally.states.get("completed"), Some(&1));
        assert_eq!(tally.open_until, [Timestamp(5), Timestamp(7)]);
    }
}
