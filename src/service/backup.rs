//! Backups: a copy of the ledgers' store and of the key store, taken while both are in use (docs/spec/13-backup.md).
//!
//! 1. The vault marks every ledger's present epoch: a key copy under it may exist from here on.
//! 2. `backup.started` is appended to every ledger, so that the copy itself holds its record.
//! 3. The ledgers' store is copied, then the key store. Keys are durable before the events that need them, so whatever the
//!    first copy needs is in the second. Neither appends nor erasures wait.
//! 4. What the keys look like (epochs, applied erasures, fences) is compared with what it was before: a change means that the
//!    two copies may not fit, and all of it starts over, [`ATTEMPTS`] times at the most.
//! 5. Every file is synced and hashed; the keys are compared once more; the signed manifest is written last.
//!
//! A backup without its manifest is none. Nothing of the vault and no signing key is in it. Out of scope: putting a backup
//! back (`app::restore`).

mod files;
mod known;
mod places;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use files::{MANIFEST, read_manifest};
pub use places::{Places, touch};

use super::access::internal;
use super::append::blocking;
use super::{Caller, Code, Error, Ledger, Service};
use crate::spec::backup::{CopiedLedger, FORMAT, Manifest, Part};
use crate::spec::ids::{LedgerId, LedgerName, Origin, Timestamp};
use crate::store::RecordWrite;
use places::Target;

const RECORD: &str = "backup";
const STREAM: &str = "$backups";
/// How often a copy is begun again because keys changed meanwhile.
const ATTEMPTS: u32 = 5;

/// `POST /v1/backups`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct BackupRequest {
    /// The folder to make, under the server's `backup_dir`; absolute, or relative to it.
    #[schema(value_type = String, min_length = 1, max_length = 1024)]
    pub to: PathBuf,
    /// Another folder for the key store's part; absent: the same.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 1024)]
    pub keystore_to: Option<PathBuf>,
}

/// How a backup does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupState {
    /// It is being made.
    Running,
    /// It is whole.
    Completed,
    /// It could not be made; what there is of it is none.
    Failed,
    /// The server ended before it was whole.
    BrokenOff,
}

/// A backup as admins see it.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackupView {
    /// Which.
    pub id: Uuid,
    /// How it does.
    pub state: BackupState,
    /// The API key that asked.
    pub by: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; absent also where the server ended before it could keep that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Where it lies, and its manifest.
    #[schema(value_type = String)]
    pub to: PathBuf,
    /// Where the key store's part lies.
    #[schema(value_type = String)]
    pub keystore_to: PathBuf,
    /// The ledgers, and the epochs under which their keys hang.
    pub ledgers: Vec<BackedUpLedger>,
    /// Files.
    pub files: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// How often the copy was begun.
    pub attempts: u32,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl BackupView {
    /// Takes over what a manifest says.
    fn hold(&mut self, manifest: &Manifest) {
        self.files = manifest.files.len() as u64;
        self.bytes = manifest.files.iter().map(|file| file.size).sum();
        self.ledgers = manifest.ledgers.iter().map(backed_up).collect();
    }
}

/// A ledger in a backup.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BackedUpLedger {
    /// Its name when it was copied.
    pub ledger: LedgerName,
    /// Its origin.
    pub origin: Origin,
    /// Its id in key store and vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{32}$")]
    pub id: Option<LedgerId>,
    /// The epoch under which its keys were copied.
    pub epoch: u32,
    /// Events in the copy; absent where it did not come to that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tree_size: Option<u64>,
    /// When the epoch's key dies, and with it every key in this copy; absent: not set, the epoch is in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_dies_at: Option<Timestamp>,
    /// Whether the epoch's key is destroyed: this copy opens nothing of this ledger any more.
    #[serde(default)]
    pub expired: bool,
}

/// Where backups may go, and the one that is being made.
pub(super) struct Backups {
    places: Places,
    turn: Arc<tokio::sync::Mutex<()>>,
    running: Mutex<Option<BackupView>>,
}

impl Backups {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            turn: Arc::default(),
            running: Mutex::default(),
        }
    }
}

/// The turn of one backup. Dropped, be it because the backup panicked, nothing is running any more.
struct Running {
    service: Arc<Service>,
    _turn: tokio::sync::OwnedMutexGuard<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        *self.service.backups.running.lock() = None;
    }
}

/// What the keys of a ledger look like: two copies between which none of it changed fit each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keys {
    epoch: u32,
    applied: Option<u64>,
    steps: u64,
}

type Lease = HashMap<LedgerId, Keys>;

/// How one attempt ended.
enum Attempt {
    Whole(Manifest),
    /// Keys changed meanwhile.
    Disturbed,
}

impl Service {
    /// Begins a backup and answers at once.
    ///
    /// # Errors
    /// `invalid_field` for a folder that may not be, `backup_running`; whatever appending may answer.
    pub async fn start_backup(self: &Arc<Self>, caller: &Caller, request: BackupRequest) -> Result<BackupView, Error> {
        for (pointer, path) in [
            ("/to", Some(&request.to)),
            ("/keystore_to", request.keystore_to.as_ref()),
        ] {
            if let Some(text) = path.and_then(|path| path.to_str()) {
                self.refuse_personal(pointer, text)?;
            }
        }
        let turn = Arc::clone(&self.backups.turn).try_lock_owned().map_err(|_| {
            let detail = "a backup is being made; wait for it (GET /v1/backups) and ask again";
            Error::new(Code::BackupRunning, detail)
        })?;
        let service = Arc::clone(self);
        let target = blocking(move || service.backups.places.prepare(&request)).await?;
        let running = Running {
            service: Arc::clone(self),
            _turn: turn,
        };
        let view = match self.record_backup(caller, &target).await {
            Ok(view) => view,
            Err(error) => {
                target.clear();
                return Err(error);
            }
        };
        let started = view.clone();
        tokio::task::spawn_blocking(move || {
            let running = running;
            running.service.run_backup(started, &target);
        });
        Ok(view)
    }

    /// Marks the epochs, appends the records, and keeps the view: in this order, so that no copy can exist that nobody knows
    /// of.
    async fn record_backup(self: &Arc<Self>, caller: &Caller, target: &Target) -> Result<BackupView, Error> {
        let service = Arc::clone(self);
        let ledgers = blocking(move || service.mark_epochs()).await?;
        let view = BackupView {
            id: self.fresh_id(),
            state: BackupState::Running,
            by: caller.key.id.clone(),
            started_at: self.clock.now(),
            finished_at: None,
            to: target.to.clone(),
            keystore_to: target.keystore_to.clone(),
            ledgers,
            files: 0,
            bytes: 0,
            attempts: 1,
            error: None,
        };
        let data = serde_json::json!({"backup": view.id, "by": caller.key.id, "roles": caller.key.roles});
        for ledger in self.all_ledgers().iter().filter(|ledger| !ledger.is_frozen()) {
            let event = self.system_event(STREAM, "backup.started", &data, Some(view.id.to_string()))?;
            self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
                .await?;
        }
        // Before the record: a reader between the two would take the backup for broken off.
        *self.backups.running.lock() = Some(view.clone());
        self.keep_backup(&view)?;
        Ok(view)
    }

    fn mark_epochs(&self) -> Result<Vec<BackedUpLedger>, Error> {
        let mark = |ledger: Arc<Ledger>| {
            Ok(BackedUpLedger {
                ledger: ledger.record.name.clone(),
                origin: ledger.record.origin.clone(),
                id: Some(ledger.record.id),
                epoch: self.mark_backed_up(ledger.record.id)?,
                tree_size: None,
                epoch_dies_at: None,
                expired: false,
            })
        };
        self.all_ledgers().into_iter().map(mark).collect()
    }

    fn run_backup(&self, mut view: BackupView, target: &Target) {
        let made = self.make_backup(&mut view, target);
        view.finished_at = Some(self.clock.now());
        match made {
            Ok(()) => {
                view.state = BackupState::Completed;
                tracing::info!(backup = %view.id, files = view.files, bytes = view.bytes, "a backup is whole");
            }
            Err(error) => {
                tracing::error!(backup = %view.id, error = %error, cause = ?error.source, "a backup failed; there is none");
                (view.state, view.error) = (BackupState::Failed, Some(error.detail));
                target.clear();
            }
        }
        if let Err(error) = self.keep_backup(&view) {
            tracing::error!(backup = %view.id, error = %error, "how a backup ended could not be kept");
        }
    }

    fn make_backup(&self, view: &mut BackupView, target: &Target) -> Result<(), Error> {
        for attempt in 1..=ATTEMPTS {
            view.attempts = attempt;
            *self.backups.running.lock() = Some(view.clone());
            match self.attempt_backup(view, target)? {
                Attempt::Whole(manifest) => {
                    view.hold(&manifest);
                    return self.finish_backup(&manifest, target);
                }
                Attempt::Disturbed => {
                    tracing::warn!(backup = %view.id, attempt, "keys changed during a backup; it starts over");
                    target.clear_parts()?;
                    view.ledgers = self.mark_epochs()?;
                }
            }
        }
        let detail = format!("erasures changed the keys during each of {ATTEMPTS} attempts; try again when fewer run");
        Err(Error::new(Code::NotReady, detail))
    }

    fn attempt_backup(&self, view: &BackupView, target: &Target) -> Result<Attempt, Error> {
        let before = self.lease()?;
        let taken_at = self.clock.now();
        self.store.copy_to(&target.part(Part::Ledger))?;
        target.close(Part::Ledger)?;
        // IMPORTANT: the key store after the ledgers: a key is durable before the event that needs it.
        self.keystore.copy_to(&target.part(Part::Keystore))?;
        target.close(Part::Keystore)?;
        if self.lease()? != before {
            return Ok(Attempt::Disturbed);
        }
        let files = target.sync_and_hash()?;
        let ledgers = self.copied_ledgers(target, &before)?;
        if self.lease()? != before {
            return Ok(Attempt::Disturbed);
        }
        let marked = |ledger: &CopiedLedger| {
            view.ledgers
                .iter()
                .any(|one| one.id == Some(ledger.id) && one.epoch == ledger.epoch)
        };
        if !ledgers.iter().all(marked) {
            return Ok(Attempt::Disturbed);
        }
        Ok(Attempt::Whole(Manifest {
            format: FORMAT.into(),
            backup: view.id,
            store: self.store.id(),
            taken_at,
            ledgers,
            files,
        }))
    }

    /// The ledgers as the copy holds them.
    fn copied_ledgers(&self, target: &Target, lease: &Lease) -> Result<Vec<CopiedLedger>, Error> {
        let copy = self.backups.places.open(&target.part(Part::Ledger))?;
        let copied = |record: crate::store::LedgerRecord| {
            let missing = || {
                Error::new(
                    Code::Damaged,
                    format!("the copy of ledger {} has no checkpoint", record.name),
                )
            };
            let head = copy.head(record.number)?.ok_or_else(missing)?;
            let (_, checkpoint) = copy.checkpoint(record.number, head.size)?.ok_or_else(missing)?;
            let keys = lease.get(&record.id);
            Ok(CopiedLedger {
                id: record.id,
                ledger: record.name,
                origin: record.origin,
                checkpoint,
                // A ledger that was made meanwhile has no mark, so this attempt does not count.
                epoch: keys.map_or(0, |keys| keys.epoch),
                applied: keys.and_then(|keys| keys.applied),
            })
        };
        copy.ledgers()?.into_iter().map(copied).collect()
    }

    fn finish_backup(&self, manifest: &Manifest, target: &Target) -> Result<(), Error> {
        let ledgers = self.all_ledgers();
        let signer = ledgers.first().map(|ledger| &ledger.backups);
        let signer = signer.ok_or_else(|| Error::new(Code::LedgerNotFound, "there is no ledger yet"))?;
        let document = signer.sign_document(manifest).map_err(internal)?;
        target.write_manifest(&document)
    }

    fn lease(&self) -> Result<Lease, Error> {
        let keys = |ledger: Arc<Ledger>| {
            let id = ledger.record.id;
            // Steps first: they move before anything else does.
            let steps = ledger.stamp().steps;
            let (epoch, applied) = (self.keystore.epoch(id)?, self.keystore.applied(id)?);
            Ok((id, Keys { epoch, applied, steps }))
        };
        self.all_ledgers().into_iter().map(keys).collect()
    }

    fn keep_backup(&self, view: &BackupView) -> Result<(), Error> {
        let record = RecordWrite {
            ledger: None,
            kind: RECORD,
            id: view.id.to_string(),
            value: Some(serde_json::to_vec(view).map_err(internal)?),
        };
        Ok(self.store.put_records(&[record])?)
    }

    /// Makes it durable that key copies under the present epoch may exist; gives that.
    fn mark_backed_up(&self, ledger: LedgerId) -> Result<u32, Error> {
        Ok(self.keystore.mark_backed_up(ledger, self.clock.now())?)
    }
}

fn backed_up(ledger: &CopiedLedger) -> BackedUpLedger {
    BackedUpLedger {
        ledger: ledger.ledger.clone(),
        origin: ledger.origin.clone(),
        id: Some(ledger.id),
        epoch: ledger.epoch,
        tree_size: ledger.head().ok().map(|head| head.size),
        epoch_dies_at: None,
        expired: false,
    }
}
