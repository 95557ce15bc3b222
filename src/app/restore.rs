//! Putting a backup back (docs/spec/13-backup.md): into a new directory, with the vault and the signing keys as they are now.
//!
//! Everything is checked before anything is written: the manifest's signature, every file, that store and vault belong
//! together, that the epochs still live, that nothing was rolled back or that it is accepted. Then a mark makes the target
//! unfinished, the files are copied and hashed again, the key store is brought to the present epochs, and the directory is
//! opened by the code that opens it at every start: erasures that the vault's journal or the ledgers know are applied before
//! anything is served. The mark goes last.

mod drill;
mod source;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use uuid::Uuid;

pub use drill::{Drilled, DrilledLedger, drill};

use self::source::Source;
use super::{App, AppError, Opened, lock, vault};
use crate::config::Settings;
use crate::env::{Clock, Entropy, System};
use crate::keystore::rocksdb::RocksKeyStore;
use crate::service::access::{NewApiKey, ShownApiKey};
use crate::service::ledger::RecoveryKey;
use crate::service::rollback::{self, Rollback};
use crate::service::{Role, Service};
use crate::spec::backup::Part;
use crate::spec::ids::{LedgerName, Origin, Timestamp};
use crate::store::rocksdb::RocksStore;

/// Stands in a directory as long as its restore is not finished.
const UNFINISHED: &str = "RESTORE-UNFINISHED";

/// What to put back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The backup.
    pub from: PathBuf,
    /// The key store's part, where it lies apart.
    pub keystore_from: Option<PathBuf>,
    /// Whether events that the vault remembers may be lost.
    pub accept_rollback: bool,
    /// Whether the API keys of the backup work again, also those that were revoked since.
    pub keep_api_keys: bool,
}

/// What was put back.
#[derive(Debug, Serialize)]
pub struct Restored {
    /// The backup.
    pub backup: Uuid,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Bytes of its files.
    pub bytes: u64,
    /// The ledgers, by name.
    pub ledgers: Vec<RestoredLedger>,
    /// Logs that were rolled back, and those that go on.
    pub rollbacks: Vec<RolledBack>,
    /// API keys that work again as they did when the backup was taken.
    pub api_keys: u64,
    /// API keys of the backup that were revoked.
    pub api_keys_revoked: u64,
    /// The one that was made in their place; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<ShownApiKey>,
}

/// A ledger that was put back.
#[derive(Debug, Serialize)]
pub struct RestoredLedger {
    /// Its name.
    pub ledger: LedgerName,
    /// Its origin.
    pub origin: Origin,
    /// Its events.
    pub tree_size: u64,
    /// Whether it is frozen.
    pub frozen: bool,
}

/// A rollback that was accepted.
#[derive(Debug, Serialize)]
pub struct RolledBack {
    /// The log that goes on, by name.
    pub ledger: LedgerName,
    /// Its origin.
    pub origin: Origin,
    /// Its checkpoint key, for auditors to pin.
    pub vkey: String,
    /// What it goes on from.
    pub continues: Vec<Origin>,
    /// The fewest events that are lost.
    pub lost: u64,
    /// Erasures that the lost events told of, on record again.
    pub erasures_recovered: u64,
    /// The private recovery key where one had to be minted; shown once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_key: Option<RecoveryKey>,
}

/// Refuses a directory whose restore was not finished.
pub(super) fn refuse_unfinished(settings: &Settings) -> Result<(), AppError> {
    if settings.data.join(UNFINISHED).exists() {
        return Err(AppError::RestoreUnfinished(settings.data.clone()));
    }
    Ok(())
}

/// Puts a backup back into the new directory that the settings name, with their vault and signing keys.
///
/// # Errors
/// [`AppError`]. Before the first file is copied nothing was changed; after that the directory is refused as unfinished.
pub async fn restore(settings: &Settings, restore: &Restore) -> Result<Restored, AppError> {
    let entropy: Arc<dyn Entropy> = Arc::new(System);
    refuse_used(settings)?;
    let source = Source::open(restore, &settings.keys_path())?;
    let vault = Arc::new(vault::open(settings, Arc::clone(&entropy))?);
    source.check_vault(&*vault)?;
    source.check_files()?;
    let rollbacks = {
        let copy = RocksStore::open_read_only(&source.part(Part::Ledger))?;
        rollback::find(&copy, &*vault, vault.is_closed()?)?
    };
    refuse_rollback(&rollbacks, restore.accept_rollback)?;

    let lock = begin(&settings.data)?;
    source.copy(Part::Ledger, &settings.ledger_path())?;
    source.copy(Part::Keystore, &settings.keystore_path())?;
    super::App::harden();
    RocksKeyStore::adopt(&settings.keystore_path(), &*vault, &*entropy, System.now())?;
    let keystore = RocksKeyStore::open(&settings.keystore_path(), vault.clone(), Arc::clone(&entropy))?;
    let store = RocksStore::open(&settings.ledger_path())?;
    for rollback in &rollbacks {
        if let Some((number, name)) = &rollback.frozen {
            store.rename(*number, name.clone())?;
        }
    }
    let opened = Opened {
        store: Arc::new(store),
        keystore: Arc::new(keystore),
        vault,
    };
    let app = App::assemble(settings, opened, lock, &entropy)?;
    let rolled_back = go_on(&app, &rollbacks).await?;
    let mut restored = told(&app, &source, rolled_back)?;
    if !restore.keep_api_keys {
        (restored.api_keys_revoked, restored.api_keys) = (restored.api_keys, 0);
        restored.api_key = Some(renew_api_keys(app.service()).await?);
    }
    drop(app);
    finish(&settings.data)?;
    Ok(restored)
}

/// Begins the logs that go on, opens all others, and puts lost erasures on record.
async fn go_on(app: &App, rollbacks: &[Rollback]) -> Result<Vec<RolledBack>, AppError> {
    let (service, mut done) = (app.service(), Vec::new());
    for rollback in rollbacks {
        let recovery_key = service.go_on(rollback).await?;
        done.push(RolledBack {
            ledger: rollback.name.clone(),
            origin: rollback.origin.clone(),
            vkey: service.ledger(&rollback.name)?.vkey(),
            continues: rollback.continues.iter().map(|one| one.origin.clone()).collect(),
            lost: rollback.lost(),
            erasures_recovered: 0,
            recovery_key,
        });
    }
    app.open_ledgers().await?;
    for (rollback, done) in rollbacks.iter().zip(&mut done) {
        done.erasures_recovered = service.recover_erasures(rollback).await?;
    }
    Ok(done)
}

/// Revokes every API key of the backup and makes one for an admin: one that was revoked since must not work again.
async fn renew_api_keys(service: &Service) -> Result<ShownApiKey, AppError> {
    const BY: &str = "restore";
    for key in service.api_keys() {
        service.revoke_api_key(BY, &key.id).await?;
    }
    let new = NewApiKey {
        name: "admin key, made by restore".into(),
        roles: [Role::Admin].into_iter().collect(),
        ledgers: None,
    };
    Ok(service.create_api_key(BY, new).await?)
}

fn told(app: &App, source: &Source, rollbacks: Vec<RolledBack>) -> Result<Restored, AppError> {
    let service = app.service();
    let mut ledgers = Vec::new();
    for ledger in service.all_ledgers() {
        ledgers.push(RestoredLedger {
            ledger: ledger.record.name.clone(),
            origin: ledger.record.origin.clone(),
            tree_size: service.checkpoint(&ledger)?.0,
            frozen: ledger.is_frozen(),
        });
    }
    Ok(Restored {
        backup: source.manifest.backup,
        taken_at: source.manifest.taken_at,
        bytes: source.bytes(),
        ledgers,
        rollbacks,
        api_keys: service.api_keys().len() as u64,
        api_keys_revoked: 0,
        api_key: None,
    })
}

fn refuse_used(settings: &Settings) -> Result<(), AppError> {
    refuse_unfinished(settings)?;
    for folder in [&settings.data, &settings.ledger_path(), &settings.keystore_path()] {
        match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
            Ok(false) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Ok(true) => return Err(AppError::Used(folder.clone())),
            Err(source) => {
                let path = folder.clone();
                return Err(AppError::Io { path, source });
            }
        }
    }
    Ok(())
}

fn refuse_rollback(rollbacks: &[Rollback], accepted: bool) -> Result<(), AppError> {
    match rollbacks.first() {
        Some(rollback) if !accepted => {
            let origins: Vec<_> = rollback.continues.iter().map(|one| one.origin.as_str()).collect();
            let (origin, heir) = (origins.join(", "), rollback.origin.clone());
            Err(match rollback.lost() {
                0 => AppError::VaultNotClosed { origin, heir },
                lost => AppError::RollbackNotAccepted { origin, heir, lost },
            })
        }
        _ => Ok(()),
    }
}

/// Makes the directory, unfinished from its beginning.
fn begin(data: &Path) -> Result<lock::Lock, AppError> {
    let io = |source| AppError::Io {
        path: data.to_owned(),
        source,
    };
    lock::create_private(data).map_err(io)?;
    let lock = lock::Lock::take(data)?;
    let mark = std::fs::File::create(data.join(UNFINISHED)).and_then(|mark| mark.sync_all());
    mark.and_then(|()| sync(data)).map_err(io)?;
    Ok(lock)
}

/// IMPORTANT: the last thing of all: from here on the directory may be served.
fn finish(data: &Path) -> Result<(), AppError> {
    let removed = std::fs::remove_file(data.join(UNFINISHED)).and_then(|()| sync(data));
    removed.map_err(|source| AppError::Io {
        path: data.to_owned(),
        source,
    })
}

fn sync(folder: &Path) -> std::io::Result<()> {
    std::fs::File::open(folder)?.sync_all()?;
    match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => std::fs::File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
