//! What is measured (docs/operations.md, Metrics): histograms as things happen, gauges when somebody asks.
//!
//! Labels are ledger names, codes, states and kinds: never a stream, a tag or a person.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Histogram, counter, gauge};
use parking_lot::Mutex;

use super::append::AppendAnswer;
use super::erase::{ErasureView, STREAM};
use super::ledger::system_name;
use super::recent::Recent;
use super::verify::VerificationView;
use super::{Code, Error, Ledger, Service};
use crate::keystore::KeyStoreError;
use crate::spec::ids::Timestamp;
use crate::spec::report::Verdict;
use crate::store::{Direction, LedgerNumber};

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

/// Where something does not answer that is no part of this process.
const NO_ANSWER: &str = "key store or vault does not answer. Look at the vault's devices";

/// Handles and what the last look found.
pub(super) struct Meters {
    append_seconds: Histogram,
    verified: Mutex<HashMap<LedgerNumber, Option<(Timestamp, &'static str)>>>,
    erasures: Mutex<HashMap<LedgerNumber, Arc<Tally>>>,
    keys: Recent<Option<Arc<KeyStoreError>>>,
    measured: Recent<()>,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            append_seconds: metrics::histogram!("oubliette_append_seconds"),
            verified: Mutex::default(),
            erasures: Mutex::default(),
            keys: Recent::default(),
            measured: Recent::default(),
        }
    }
}

/// A ledger's erasures as they stood at a version of their stream.
#[derive(Default)]
struct Tally {
    version: u64,
    states: HashMap<&'static str, u64>,
    /// Pending residues; one that is gone everywhere is shown at 0.
    residues: BTreeMap<String, u64>,
    open_until: Vec<Timestamp>,
}

impl Meters {
    pub(super) fn append(&self, took: Duration, answer: &Result<AppendAnswer, Error>) {
        match answer {
            Ok(_) => self.append_seconds.record(took),
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

/// Says in the log what could not be measured.
fn is_failed(what: &str, measured: Result<(), Error>) -> bool {
    if let Err(error) = &measured {
        tracing::warn!(what, error = %error, "a metric could not be brought up to date");
    }
    measured.is_err()
}

#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}

impl Service {
    /// Whether events are taken and keys can be had. Key store and vault are asked at most once a second; blocks.
    ///
    /// # Errors
    /// `not_ready` if the writer is poisoned, `key_unavailable` if key store or vault cannot be read, or the key store
    /// cannot be written.
    pub fn readiness(&self) -> Result<(), Error> {
        if !self.is_ready() {
            let detail = "the last commit failed; the writer tries again every second. Look at the server's log and the \
                          free space of the disk";
            return Err(Error::new(Code::NotReady, detail));
        }
        let Some(failed) = self.meters.keys.get(|| self.keystore.check().err().map(Arc::new)) else {
            return Err(Error::new(Code::KeyUnavailable, NO_ANSWER));
        };
        failed.map_or(Ok(()), |error| {
            // Whoever asks needs no key, so the folders stand in the log alone.
            let detail = "keys cannot be had: key store or vault fails. The server's log names the part";
            Err(Error::new(Code::KeyUnavailable, detail).caused_by(error))
        })
    }

    /// Brings every gauge up to date, at most once a second. What cannot be measured keeps its last value, is counted by
    /// `oubliette_measure_failed`, and keeps nothing else from being measured. Blocks.
    ///
    /// # Errors
    /// `not_ready` if a measurement that somebody else began hangs.
    pub fn measure(&self) -> Result<(), Error> {
        let measured = self.meters.measured.get(|| self.measure_all());
        measured.ok_or_else(|| Error::new(Code::NotReady, NO_ANSWER))
    }

    /// Says in the gauges that a measurement hangs, and whether it is for key store or vault.
    pub fn unmeasured(&self) {
        gauge!("oubliette_measure_failed").set(1.0);
        if self.meters.keys.is_stuck() {
            gauge!("oubliette_ready").set(0.0);
            gauge!("oubliette_vault_healthy").set(0.0);
        }
    }

    fn measure_all(&self) {
        gauge!("oubliette_queue_events").set(float(self.sequencer.waiting() as u64));
        let mut failed = u64::from(is_failed("the disk's use", self.measure_disk()));
        for ledger in self.all_ledgers() {
            let name = ledger.record.name.to_string();
            // The verdict first: it is what a damaged ledger is known by.
            for (what, measured) in [
                ("verifications", self.measure_verifications(&ledger, &name)),
                ("the checkpoint", self.measure_checkpoint(&ledger, &name)),
                ("erasures", self.measure_erasures(&ledger, &name)),
            ] {
                failed += u64::from(is_failed(&format!("{what} of the ledger {name}"), measured));
            }
        }
        gauge!("oubliette_measure_failed").set(float(failed));
        // The vault last: where it hangs, everything else has been measured.
        let flag = |name: &'static str, on: bool| gauge!(name).set(if on { 1.0 } else { 0.0 });
        flag("oubliette_ready", self.readiness().is_ok());
        flag("oubliette_vault_healthy", self.keystore.vault().is_healthy());
        gauge!("oubliette_disk_bytes", "kind" => "vault").set(float(self.keystore.vault().disk_bytes()));
    }

    fn measure_disk(&self) -> Result<(), Error> {
        gauge!("oubliette_disk_bytes", "kind" => "keystore").set(float(self.keystore.disk_bytes()));
        for (kind, bytes) in self.store.disk_bytes()? {
            gauge!("oubliette_disk_bytes", "kind" => kind).set(float(bytes));
        }
        Ok(())
    }

    fn measure_checkpoint(&self, ledger: &Ledger, name: &str) -> Result<(), Error> {
        self.measure_proofs(name);
        let view = self.view(ledger)?;
        gauge!("oubliette_checkpoint_size_events", "ledger" => name.to_owned()).set(float(view.size()));
        if let Some(head) = view.head {
            let at = seconds(head.recorded_at);
            gauge!("oubliette_checkpoint_timestamp_seconds", "ledger" => name.to_owned()).set(at);
        }
        Ok(())
    }

    fn measure_erasures(&self, ledger: &Ledger, name: &str) -> Result<(), Error> {
        let tally = self.tally(ledger)?;
        for state in ERASURE_STATES {
            let count = tally.states.get(state).copied().unwrap_or(0);
            gauge!("oubliette_erasures", "ledger" => name.to_owned(), "state" => state).set(float(count));
        }
        for (residue, count) in &tally.residues {
            gauge!("oubliette_residues_pending", "ledger" => name.to_owned(), "residue" => residue.clone())
                .set(float(*count));
        }
        let now = self.clock.now();
        let overdue = tally.open_until.iter().filter(|due| **due < now).count();
        gauge!("oubliette_erasures_overdue", "ledger" => name.to_owned()).set(float(overdue as u64));
        Ok(())
    }

    /// The history is read again only when its stream has grown.
    fn tally(&self, ledger: &Ledger) -> Result<Arc<Tally>, Error> {
        let number = ledger.record.number;
        let row = self.store.stream_rows(number, &[system_name(STREAM)?])?.pop().flatten();
        let Some(row) = row else { return Ok(Arc::default()) };
        let known = self.meters.erasures.lock().get(&number).cloned();
        if let Some(known) = known.filter(|known| known.version == row.version) {
            return Ok(known);
        }
        // Stored, but not published yet: such a tally is not the one of this version, and not kept.
        let versions = row.version..row.version.saturating_add(1);
        let newest = self
            .store
            .stream_events(number, row.stream_ref, versions, Direction::Forward, 1)?;
        let size = self.view(ledger)?.size();
        let is_whole = newest.iter().all(|index| *index < size);
        let tally = Arc::new(Tally::of(row.version, &self.erasures(ledger)?));
        if is_whole {
            self.meters.erasures.lock().insert(number, Arc::clone(&tally));
        }
        Ok(tally)
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
    fn of(version: u64, erasures: &[ErasureView]) -> Self {
        let mut tally = Self {
            version,
            ..Self::default()
        };
        for erasure in erasures {
            *tally.states.entry(erasure.state).or_default() += 1;
            for residue in &erasure.residues {
                let count = tally.residues.entry(residue.residue.clone()).or_default();
                *count += u64::from(residue.state == "pending");
            }
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
            residues: Vec::new(),
            subjects: Vec::new(),
            categories: None,
            requested_at: Timestamp(0),
            due_at: Timestamp(due_at),
            keys_destroyed_at: None,
            epoch_key_due_at: None,
            completed_at: None,
            destroy_after: None,
            holds: Vec::new(),
            approved_by: None,
            cancellation_by: Vec::new(),
            certificate: None,
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
