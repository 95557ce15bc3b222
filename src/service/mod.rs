//! The service: one file per verb, without HTTP. It joins what must not know each other: the ledger's store and
//! sequencer on one side, the key store on the other. Only `append`, `read` and `erase` ever hold a key and a ciphertext
//! in one scope.

pub mod access;
pub mod append;
pub mod as_of;
pub mod backup;
pub mod cloudevents;
pub mod epochs;
pub mod erase;
pub mod error;
pub mod export;
pub mod fencing;
pub mod guard;
pub mod hold;
pub mod ledger;
mod measure;
mod newcomers;
mod own;
mod pace;
pub mod policy;
pub mod prove;
pub mod read;
mod recent;
mod records;
pub mod redact;
mod refused;
pub mod rehearse;
mod removed;
pub mod reopen;
pub mod report;
pub mod request;
pub mod restrict;
pub mod retention;
pub mod rollback;
pub mod subject;
pub mod subject_access;
pub mod verify;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

pub use access::{Caller, Role};
pub use error::{Code, Error, FieldError, Kind};
pub use ledger::Ledger;

use crate::env::{Clock, Entropy};
use crate::keystore::KeyStore;
use crate::sequencer::{Append, Appended, ExpectedVersion, NewEvent, Sequencer, View};
use crate::spec::ids::{LedgerName, StreamName};
use crate::store::LedgerStore;

/// Limits on what one request may hold (docs/api.md).
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of `data`, or of one personal block.
    pub body: usize,
    /// Events in a batch.
    pub batch_events: usize,
    /// Bytes of a request.
    pub batch_bytes: usize,
    /// Personal blocks of an event.
    pub personal: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            batch_events: 1_000,
            batch_bytes: 16 << 20,
            personal: 256,
        }
    }
}

/// What the service does, whatever carries the requests.
pub struct Service {
    pub(crate) store: Arc<dyn LedgerStore>,
    pub(crate) keystore: Arc<dyn KeyStore>,
    pub(crate) sequencer: Sequencer,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) limits: Limits,
    pub(crate) guard: bool,
    policy: policy::Policy,
    pub(crate) purging: erase::Purging,
    /// Set when the server stops: work in the background ends at its next step.
    pub(crate) stopping: AtomicBool,
    ledgers: RwLock<HashMap<LedgerName, Arc<Ledger>>>,
    signing_keys: Arc<dyn ledger::SigningKeyStore>,
    access: access::Keys,
    founding: tokio::sync::Mutex<()>,
    /// How long an epoch key outlives its epoch for the sake of backups.
    horizon: std::time::Duration,
    /// Held by what removes bodies: one at a time, so that no body is removed twice.
    removing: tokio::sync::Mutex<()>,
    verifying: verify::Running,
    meters: measure::Meters,
    reporting: Arc<tokio::sync::Semaphore>,
    folding: Arc<tokio::sync::Semaphore>,
    refused: refused::Counters,
    backups: backup::Backups,
}

/// What the service is made of.
pub struct Components {
    /// The ledgers' store.
    pub store: Arc<dyn LedgerStore>,
    /// The key store.
    pub keystore: Arc<dyn KeyStore>,
    /// The writer, running.
    pub sequencer: Sequencer,
    /// Where signing keys live.
    pub signing_keys: Arc<dyn ledger::SigningKeyStore>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Limits.
    pub limits: Limits,
    /// Whether the PII guard is on.
    pub guard: bool,
    /// What is set about the life of personal data.
    pub policy: policy::Policy,
    /// Where backups may go.
    pub backup_places: backup::Places,
    /// How long an epoch key outlives its epoch for the sake of backups.
    pub horizon: std::time::Duration,
    /// How residues of erasures are removed.
    pub purging: erase::Purging,
}

impl Service {
    /// Puts the service together and reads the API keys. Ledgers are opened with [`Service::open_ledger`].
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn new(parts: Components) -> Result<Self, Error> {
        let access = access::Keys::load(&*parts.store)?;
        let Components {
            store,
            keystore,
            sequencer,
            signing_keys,
            clock,
            entropy,
            limits,
            guard,
            policy,
            backup_places,
            horizon,
            purging,
        } = parts;
        Ok(Self {
            store,
            keystore,
            sequencer,
            clock,
            entropy,
            limits,
            guard,
            policy,
            purging,
            stopping: AtomicBool::new(false),
            ledgers: RwLock::default(),
            signing_keys,
            access,
            founding: tokio::sync::Mutex::new(()),
            horizon,
            removing: tokio::sync::Mutex::new(()),
            verifying: verify::Running::default(),
            meters: measure::Meters::default(),
            reporting: Arc::new(tokio::sync::Semaphore::new(report::MAX_RUNNING)),
            folding: Arc::new(tokio::sync::Semaphore::new(as_of::MAX_RUNNING)),
            refused: refused::Counters::default(),
            backups: backup::Backups::new(backup_places),
        })
    }

    /// Runs work that may wait for the disk off the server's threads, with the id of the request in what it logs. The
    /// work goes on when the caller is gone.
    ///
    /// # Errors
    /// Those of the work.
    pub(crate) async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        work: impl FnOnce(&Self, &Ledger) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (service, ledger) = (Arc::clone(self), Arc::clone(ledger));
        append::blocking(move || work(&service, &ledger)).await
    }

    /// The ledger of this name.
    ///
    /// # Errors
    /// `ledger_not_found`.
    pub fn ledger(&self, name: &LedgerName) -> Result<Arc<Ledger>, Error> {
        let ledger = self.ledgers.read().get(name).cloned();
        ledger.ok_or_else(|| Error::new(Code::LedgerNotFound, format!("there is no ledger {name}")))
    }

    /// All ledgers, by number.
    pub fn all_ledgers(&self) -> Vec<Arc<Ledger>> {
        let mut ledgers: Vec<_> = self.ledgers.read().values().cloned().collect();
        ledgers.sort_by_key(|ledger| ledger.record.number);
        ledgers
    }

    /// Refuses text that stays in clear and looks like a person.
    ///
    /// # Errors
    /// `personal_data_refused`.
    pub fn refuse_personal(&self, pointer: &str, text: &str) -> Result<(), Error> {
        let found = self.guard.then(|| guard::personal_data_in(text)).flatten();
        found.map_or(Ok(()), |pattern| {
            let detail = format!("holds what looks like {pattern}; use a handle, or send it in a request's body");
            let errors = vec![FieldError {
                pointer: pointer.into(),
                detail,
            }];
            Err(Error::fields(Code::PersonalDataRefused, errors))
        })
    }

    /// Whether the writer takes events.
    pub fn is_ready(&self) -> bool {
        self.sequencer.is_healthy()
    }

    /// Ends work in the background at its next step; what it leaves is taken up at the next start.
    pub fn stop_background(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// A fresh id for a request that brought none.
    pub fn request_id(&self) -> String {
        hex::encode(self.entropy.bytes::<16>())
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn view(&self, ledger: &Ledger) -> Result<Arc<View>, Error> {
        let view = self.sequencer.view(ledger.record.number);
        view.ok_or_else(|| Error::new(Code::LedgerNotFound, "the ledger is not open"))
    }

    /// Appends one of Oubliette's own events, to the log that goes on where this one is frozen. Unlike a caller's, it is not
    /// compared with anything.
    pub(crate) async fn append_system(
        &self,
        ledger: &Ledger,
        expected: Vec<(StreamName, ExpectedVersion)>,
        events: Vec<NewEvent>,
        fences: Vec<crate::sequencer::Fence>,
        records: Vec<crate::store::RecordWrite>,
    ) -> Result<Appended, Error> {
        let append = Append {
            ledger: ledger.log().record.number,
            expected,
            events,
            fences,
            records,
            removals: Vec::new(),
        };
        self.submit(append).await?.map_err(Error::from)
    }

    pub(crate) async fn submit(&self, append: Append) -> Result<Result<Appended, crate::sequencer::Refusal>, Error> {
        match self.sequencer.submit(append) {
            Err(refusal) => Ok(Err(refusal)),
            Ok(answer) => Ok(answer.await.unwrap_or(Err(crate::sequencer::Refusal::Unavailable))),
        }
    }
}
