//! Verification jobs: they run beside everything else, tell how far they are, and their reports are kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::access::internal;
use super::super::{Caller, Code, Error, Ledger, Service};
use super::{Anchor, Scope, verify_store};
use crate::keystore::{KeyRef, Refusal};
use crate::spec::ids::Timestamp;
use crate::spec::report::Report;
use crate::spec::verify::{Options, Trust};
use crate::store::LedgerNumber;

const RECORD: &str = "verification";
/// Verifications that may run at once.
const MAX_RUNNING: usize = 2;

/// `POST /verifications`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct VerificationRequest {
    /// Whether to verify signatures in batches, which is not the strict predicate.
    #[serde(default)]
    pub fast: bool,
}

/// A verification as auditors see it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[schema(as = VerificationJob)]
pub struct VerificationView {
    /// Which.
    pub id: Uuid,
    /// `running`, `done` or `failed`.
    #[schema(pattern = "^(running|done|failed)$")]
    pub state: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Events done.
    pub done: u64,
    /// Events there are.
    pub of: u64,
    /// The report, at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Why it failed: the store could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Verifications that run.
#[derive(Default)]
pub(in crate::service) struct Running(Mutex<Vec<(LedgerNumber, Arc<Job>)>>);

struct Job {
    view: VerificationView,
    done: AtomicU64,
}

/// Takes a job off the list, however it ends.
struct Leave<'a>(&'a Service, &'a Arc<Job>);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0
            .verifying
            .0
            .lock()
            .retain(|(_, other)| !Arc::ptr_eq(other, self.1));
    }
}

impl Service {
    /// Starts a verification of everything and answers at once.
    ///
    /// # Errors
    /// `overloaded` if two run already.
    pub fn start_verification(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        _caller: &Caller,
        request: &VerificationRequest,
    ) -> Result<VerificationView, Error> {
        let of = self.view(ledger)?.size();
        let view = VerificationView {
            id: self.fresh_id(),
            state: "running".into(),
            started_at: self.clock.now(),
            finished_at: None,
            done: 0,
            of,
            report: None,
            error: None,
        };
        let job = Arc::new(Job {
            view: view.clone(),
            done: AtomicU64::new(0),
        });
        {
            let mut running = self.verifying.0.lock();
            if running.len() >= MAX_RUNNING {
                return Err(Error::new(
                    Code::Overloaded,
                    "two verifications run already; wait for one to end",
                ));
            }
            running.push((ledger.record.number, Arc::clone(&job)));
        }
        let (service, ledger) = (Arc::clone(self), Arc::clone(ledger));
        let options = Options {
            fast: request.fast,
            ..Options::default()
        };
        let started = std::thread::Builder::new()
            .name("verify".into())
            .spawn(move || service.run_verification(&ledger, &job, options));
        started.map(|_| view).map_err(internal)
    }

    fn run_verification(&self, ledger: &Ledger, job: &Arc<Job>, options: Options) {
        let _running = Leave(self, job);
        let mut view = job.view.clone();
        let trust = Trust {
            origin: Some(ledger.record.origin.clone()),
            ..Trust::default()
        };
        let id = ledger.record.id;
        let has_key = |key: &KeyRef| !matches!(self.keystore.key(id, key), Ok(Err(Refusal::Unavailable)) | Err(_));
        let scope = Scope {
            has_key: Some(&has_key),
            kept: match (self.continued(&ledger.record.origin), self.kept_checkpoint(ledger)) {
                (Some(continued), _) => Anchor::Frozen(continued.restored),
                (None, Ok(Some((size, note)))) => Anchor::Checkpoint(size, note),
                (None, Ok(None) | Err(_)) => Anchor::Unreadable,
            },
            indexes: false,
        };
        let verified = verify_store(&*self.store, &ledger.record, trust, options, scope, |done, _| {
            job.done.store(done, Ordering::Relaxed)
        });
        view.finished_at = Some(self.clock.now());
        match verified {
            Ok(report) => {
                (view.state, view.done, view.of, view.report) =
                    ("done".into(), report.tree_size, report.tree_size, Some(report))
            }
            Err(error) => (view.state, view.error) = ("failed".into(), Some(error.to_string())),
        }
        self.meters.verified(ledger.record.number, &view);
        if let Err(error) = self.keep_record(ledger, RECORD, view.id, &view) {
            tracing::error!(error = %error, "the report of a verification could not be kept");
        }
    }

    /// One verification, running or done.
    ///
    /// # Errors
    /// `not_found`.
    pub fn verification(&self, ledger: &Ledger, id: Uuid) -> Result<VerificationView, Error> {
        let running = self.running(ledger).into_iter().find(|view| view.id == id);
        match running {
            Some(view) => Ok(view),
            None => self.kept_record(ledger, RECORD, id),
        }
    }

    /// All verifications, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn verifications(&self, ledger: &Ledger) -> Result<Vec<VerificationView>, Error> {
        let mut views = self.running(ledger);
        let mut kept: Vec<VerificationView> = self.kept_records(ledger, RECORD)?;
        kept.reverse();
        views.extend(kept);
        Ok(views)
    }

    pub(in crate::service) fn running(&self, ledger: &Ledger) -> Vec<VerificationView> {
        let running = self.verifying.0.lock();
        let own = running.iter().filter(|(number, _)| *number == ledger.record.number);
        own.map(|(_, job)| VerificationView {
            done: job.done.load(Ordering::Relaxed),
            ..job.view.clone()
        })
        .collect()
    }
}
