//! The composition root: settings → stores → service → server. The only place that names engines.

mod anchor;
mod inspect;
mod keyfiles;
mod lock;
mod moving;
mod restore;
mod server;
mod tls;
mod vault;

use std::sync::Arc;

use crate::config::Settings;
use crate::env::{Clock, Entropy, System};
use crate::keystore::rocksdb::RocksKeyStore;
use crate::keystore::vault::Vault;
use crate::keystore::vault::file::FileVault;
use crate::sequencer::{self, Fence, Sequencer};
use crate::service::access::{NewApiKey, ShownApiKey};
use crate::service::ledger::{CreatedLedger, SigningKeyStore};
use crate::service::{Code, Components, Error, Limits, Role, Service, backup};
use crate::spec::ids::{LedgerId, LedgerName, Origin};
use crate::store::rocksdb::RocksStore;
use crate::store::{LedgerStore, StoreError};

pub use crate::http::openapi::text as openapi;
pub use inspect::{Inspection, inspect};
pub use lock::{LockError, is_served};
pub use moving::{MovedLedger, MovedVault, move_vault};
pub use restore::{Drilled, DrilledLedger, Restore, Restored, drill, restore};
pub use server::{LocalServer, check, serve};
pub use tls::TlsError;

/// An open data directory. Dropping it finishes what is accepted and gives the directory free.
pub struct App {
    service: Arc<Service>,
    vault: Arc<FileVault>,
    keeper: anchor::Keeper,
    _lock: lock::Lock,
}

/// Why a data directory cannot be made or opened.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// Somebody has it open.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The ledgers' store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Key store, vault or signing keys.
    #[error(transparent)]
    Keys(#[from] crate::keystore::KeyStoreError),
    /// A rule of the service.
    #[error(transparent)]
    Service(#[from] Error),
    /// The folder is used already.
    #[error("{0} is not empty; nothing was changed. Name a new directory")]
    Used(std::path::PathBuf),
    /// A ledger that is shorter than, or another than, what stands outside its store.
    #[error(
        "the ledger {ledger} is not the one that the vault remembers: {what}. It was truncated or rolled back; nothing was \
         changed and nothing is served. Put the right ledger store back, or restore a backup with `oubliette restore \
         --accept-rollback`"
    )]
    RolledBack {
        /// The ledger.
        ledger: LedgerName,
        /// What does not fit.
        what: String,
    },
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; choose another address with --listen")]
    Listen {
        /// As asked for.
        address: std::net::SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// A ledger of which the store knows nothing any more.
    #[error(
        "the vault remembers a ledger (id {0}) that the ledger store does not hold: the store was rolled back. Nothing was \
         changed and nothing is served. Put the right ledger store back"
    )]
    LedgerLost(LedgerId),
    /// More connections than files may be open.
    #[error(
        "max_connections: {connections} connections and {others} other files do not fit under this process's limit of \
         {limit} open files; set max_connections to at most {fitting}, or raise the limit (`ulimit -n`, LimitNOFILE= in a \
         systemd unit)"
    )]
    OpenFiles {
        /// As set.
        connections: usize,
        /// What everything else needs.
        others: usize,
        /// The hard limit.
        limit: u64,
        /// What `max_connections` may be.
        fitting: u64,
    },
    /// Certificate or key of the listener.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// A restore that was not finished.
    #[error(
        "{0} was being restored, and that was not finished: it is not whole and is not served. Remove it, and run \
         `oubliette restore` again into a new directory"
    )]
    RestoreUnfinished(std::path::PathBuf),
    /// A folder that holds no whole backup.
    #[error("{0} holds no whole backup: there is no manifest, so it was never finished. Use another backup")]
    BackupIncomplete(std::path::PathBuf),
    /// A backup that is not what its manifest says.
    #[error("the backup is damaged: {0}. Use another one; nothing was restored")]
    BackupDamaged(String),
    /// A backup of another store.
    #[error("the backup does not belong here: {0}. Nothing was restored")]
    BackupForeign(String),
    /// A backup whose keys are destroyed.
    #[error(
        "the backup has expired: the keys of ledger {ledger} hang under epoch {epoch}, whose key was destroyed when its \
         horizon had passed, or when the vault was moved. Nothing was restored; use a younger backup"
    )]
    BackupExpired {
        /// The ledger.
        ledger: LedgerName,
        /// The epoch.
        epoch: u32,
    },
    /// A backup after which there may have been events of which the vault was never told.
    #[error(
        "the vault was not closed: who wrote to it last crashed, was killed, or still runs. Its checkpoints lag by up to a \
         second, so that acknowledged events of {origin} may be missing from this backup although the vault knows of none. \
         Nothing was restored. If the old directory is whole, start and stop it, and use a backup from after that; else, with \
         --accept-rollback, the old log is frozen as the backup has it, and a new one goes on under {heir}"
    )]
    VaultNotClosed {
        /// The log that would be frozen.
        origin: String,
        /// The log that would go on.
        heir: Origin,
    },
    /// A backup that is older than what the vault remembers.
    #[error(
        "the backup is older than what the vault remembers: {lost} events or more of {origin} would be lost. Nothing was \
         restored. With --accept-rollback the old log is frozen as the backup has it, and a new one goes on under {heir}"
    )]
    RollbackNotAccepted {
        /// The log that would be frozen.
        origin: String,
        /// The log that would go on.
        heir: Origin,
        /// The fewest events that would be lost.
        lost: u64,
    },
    /// A place where a vault must not lie.
    #[error(
        "{0} lies where the old vault, a store or the signing keys lie, or within another of the new folders; nothing was \
         changed. Name folders apart, best on devices of their own"
    )]
    VaultPlace(std::path::PathBuf),
    /// Backups that open with the keys of the vault that is to be left.
    #[error(
        "backups of the key store were taken under keys of this vault, which cannot leave it and would be destroyed: no such \
         backup opens after a move. Nothing was changed. Wait until their horizon has passed, or move with --forget-backups \
         and take a backup at once"
    )]
    BackupsWouldExpire,
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

impl AppError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        use crate::keystore::KeyStoreError;
        match self {
            Self::Lock(_) | Self::Store(StoreError::InUse) | Self::Keys(KeyStoreError::InUse) => "data_dir_in_use",
            Self::Store(StoreError::Missing(_)) => "not_a_data_dir",
            Self::Store(StoreError::NewerFormat { .. }) | Self::Keys(KeyStoreError::NewerFormat { .. }) => {
                "newer_format"
            }
            Self::Store(StoreError::Damaged { .. }) => "damaged",
            Self::Store(_) | Self::Io { .. } => "storage_failed",
            Self::Keys(_) => "key_unavailable",
            Self::Service(error) => error.code.as_str(),
            Self::Used(_) => "data_dir_used",
            Self::Tls(_) | Self::OpenFiles { .. } => "invalid_configuration",
            Self::Listen { .. } => "address_unavailable",
            Self::RolledBack { .. } | Self::LedgerLost(_) => "ledger_rolled_back",
            Self::VaultPlace(_) => "vault_place_refused",
            Self::BackupsWouldExpire => "backups_would_expire",
            Self::RestoreUnfinished(_) => "restore_unfinished",
            Self::BackupIncomplete(_) => "backup_incomplete",
            Self::BackupDamaged(_) => "backup_damaged",
            Self::BackupForeign(_) => "backup_foreign",
            Self::BackupExpired { .. } => "backup_expired",
            Self::RollbackNotAccepted { .. } | Self::VaultNotClosed { .. } => "rollback_not_accepted",
        }
    }
}

/// What `init` made.
#[derive(Debug, serde::Serialize)]
pub struct Initialised {
    /// The first API key, with every role; shown once.
    #[serde(flatten)]
    pub key: ShownApiKey,
    /// The first ledger.
    #[serde(flatten)]
    pub ledger: CreatedLedger,
    /// Whether vault and key store share a device, so that one volume snapshot copies both.
    pub vault_shares_device: bool,
}

/// An empty ledger store in a new folder, without anything around it: benchmarks measure the store alone with it.
///
/// # Errors
/// If the folder cannot be written.
pub fn empty_store(path: &std::path::Path) -> Result<Arc<dyn LedgerStore>, AppError> {
    Ok(Arc::new(RocksStore::create(path, LedgerId([0; 16]))?))
}

/// Bytes on disk by kind of data, of a ledger store that nobody serves: benchmarks tell with it what an event takes.
///
/// # Errors
/// If the store cannot be read.
pub fn disk_bytes(ledger: &std::path::Path) -> Result<Vec<(&'static str, u64)>, AppError> {
    Ok(RocksStore::open_read_only(ledger)?.disk_bytes()?)
}

/// Backups go under one folder, and never where something of the store itself lies.
fn backup_places(settings: &Settings) -> backup::Places {
    let mut apart_from = vec![settings.ledger_path(), settings.keystore_path(), settings.keys_path()];
    apart_from.extend(settings.vault_paths());
    backup::Places {
        root: settings.backup_dir.clone(),
        apart_from,
        open: Box::new(|path| Ok(Arc::new(RocksStore::open_read_only(path)?))),
    }
}

struct Opened {
    store: Arc<RocksStore>,
    keystore: Arc<RocksKeyStore>,
    vault: Arc<FileVault>,
}

impl App {
    /// Makes a data directory with the ledger `main` and an API key with every role.
    ///
    /// # Errors
    /// [`AppError::Used`] if there is anything in it; nothing is changed then.
    pub async fn init(settings: &Settings, origin: Option<Origin>) -> Result<(Self, Initialised), AppError> {
        let used = std::fs::read_dir(&settings.data).is_ok_and(|mut entries| entries.next().is_some());
        if used || settings.ledger_path().join("CURRENT").exists() {
            return Err(AppError::Used(settings.data.clone()));
        }
        let entropy: Arc<dyn Entropy> = Arc::new(System);
        let io = |source| AppError::Io {
            path: settings.data.clone(),
            source,
        };
        lock::create_private(&settings.data).map_err(io)?;
        let lock = lock::Lock::take(&settings.data)?;
        Self::harden();
        let vault = Arc::new(vault::create(settings, Arc::clone(&entropy))?);
        let keystore = RocksKeyStore::create(&settings.keystore_path(), vault.clone(), Arc::clone(&entropy))?;
        let store = RocksStore::create(&settings.ledger_path(), LedgerId(vault.store().0))?;
        let opened = Opened {
            store: Arc::new(store),
            keystore: Arc::new(keystore),
            vault,
        };
        let app = Self::assemble(settings, opened, lock, &entropy)?;
        app.keeper.begin()?;
        let origin = match origin {
            Some(origin) => origin,
            None => format!("oubliette.local/{}/main", hex::encode(entropy.bytes::<6>()))
                .parse()
                .map_err(|_| Error::new(Code::Internal, "the default origin is not valid"))?,
        };
        let name: LedgerName = "main"
            .parse()
            .map_err(|_| Error::new(Code::Internal, "the name main is not valid"))?;
        let ledger = app.service.found_ledger(name, origin, None).await?;
        let roles = Role::ALL.into_iter().collect();
        let first = NewApiKey {
            name: "first key, made by init".into(),
            roles,
            ledgers: None,
        };
        let key = app.service.create_api_key("init", first).await?;
        let vault_shares_device = lock::same_device(&settings.keystore_path(), &settings.vault_paths());
        Ok((
            app,
            Initialised {
                key,
                ledger,
                vault_shares_device,
            },
        ))
    }

    /// Opens a data directory: checks that its parts belong together and that no ledger was rolled back, and finishes
    /// erasures that were interrupted.
    ///
    /// # Errors
    /// [`AppError`]; nothing is served then.
    pub async fn open(settings: &Settings) -> Result<Self, AppError> {
        restore::refuse_unfinished(settings)?;
        let entropy: Arc<dyn Entropy> = Arc::new(System);
        if !settings.ledger_path().join("CURRENT").exists() {
            return Err(StoreError::Missing(settings.ledger_path()).into());
        }
        let lock = lock::Lock::take(&settings.data)?;
        Self::harden();
        let vault = Arc::new(vault::open(settings, Arc::clone(&entropy))?);
        Self::open_with(settings, lock, vault, entropy).await
    }

    /// As [`App::open`], with a vault that is open.
    async fn open_with(
        settings: &Settings,
        lock: lock::Lock,
        vault: Arc<FileVault>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, AppError> {
        let keystore = RocksKeyStore::open(&settings.keystore_path(), vault.clone(), Arc::clone(&entropy))?;
        let store = RocksStore::open(&settings.ledger_path())?;
        if store.id().0 != vault.store().0 {
            let detail = "key store and vault belong to another ledger store; put the matching ones back";
            return Err(crate::keystore::KeyStoreError::Foreign(detail.into()).into());
        }
        if !vault.health().is_good() {
            tracing::warn!(health = ?vault.health(), "the vault is damaged or lacks a mirror");
        }
        let opened = Opened {
            store: Arc::new(store),
            keystore: Arc::new(keystore),
            vault,
        };
        let app = Self::assemble(settings, opened, lock, &entropy)?;
        app.keeper.begin()?;
        app.open_ledgers().await?;
        Ok(app)
    }

    /// Before any key is read.
    fn harden() {
        if let Err(error) = crate::keystore::memory::harden_process() {
            tracing::warn!(error = %error, "core dumps could not be switched off");
        }
    }

    fn assemble(
        settings: &Settings,
        opened: Opened,
        lock: lock::Lock,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, AppError> {
        let Opened { store, keystore, vault } = opened;
        let clock: Arc<dyn Clock> = Arc::new(System);
        let keeper = anchor::Keeper::start(vault.clone())?;
        let limits = sequencer::Limits {
            waiting_events: settings.queue_events,
            ..Default::default()
        };
        let sequencer = Sequencer::start(
            store.clone(),
            clock.clone(),
            Arc::clone(entropy),
            keeper.publisher(),
            limits,
        );
        let signing_keys: Arc<dyn SigningKeyStore> =
            Arc::new(keyfiles::KeyFiles::new(settings.keys_path(), Arc::clone(entropy)));
        let service = Service::new(Components {
            store,
            keystore,
            sequencer,
            signing_keys,
            clock,
            entropy: Arc::clone(entropy),
            limits: Limits::default(),
            guard: settings.pii_guard,
            policy: settings.policy(),
            backup_places: backup_places(settings),
            horizon: std::time::Duration::from_secs(settings.erasure_horizon_seconds),
            purging: settings.purging(),
        })?;
        Ok(Self {
            service: Arc::new(service),
            vault,
            keeper,
            _lock: lock,
        })
    }

    async fn open_ledgers(&self) -> Result<(), AppError> {
        let service = &self.service;
        // A log that goes on from another has the larger number, and must be open before that one.
        for record in service.registered_ledgers()?.into_iter().rev() {
            if service.ledger(&record.name).is_ok() {
                continue;
            }
            let fences = service.key_fences(record.id)?;
            let fence = |fence: crate::keystore::Fence| Fence::closed(fence.order.handle, fence.order.categories);
            let name = record.name.clone();
            service.open_ledger(record, fences.into_iter().map(fence).collect())?;
            anchor::check(service, &name)?;
        }
        anchor::check_registered(service, &*self.vault)?;
        for ledger in service.all_ledgers() {
            service.check_keys_known(&ledger)?;
        }
        for ledger in service.all_ledgers() {
            service.carry_over(&ledger).await?;
            service.resume_erasures(&ledger).await?;
            service.apply_erasures(&ledger).await?;
            service.resume_retention(&ledger).await;
            service.resume_waiting(&ledger).await?;
            service.settle_epochs(&ledger).await?;
            service.forget_newcomers(&ledger).await?;
        }
        self.keeper.anchor(service)
    }

    /// The service.
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }
}

#[cfg(test)]
mod tests;
