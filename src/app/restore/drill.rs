//! A drill: proves that a backup can be put back, without touching anything live.
//!
//! It reads the backup where it lies, the vault without its lock, and no signing key: it cannot sign. The key store's part is
//! copied into a private temporary folder, where the erasures that the vault's journal and the ledgers know are applied by the
//! function that does it at every start. The manifest must be signed by the certificate key that a ledger of the backup itself
//! announces, and the vault's last checkpoint must be signed by that ledger's checkpoint key. Out of scope: what the vault
//! remembers beyond the backup.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use serde::Serialize;
use uuid::Uuid;

use super::super::{AppError, lock, vault};
use super::Restore;
use super::source::{Source, document};
use crate::config::Settings;
use crate::env::{Clock, Entropy, System};
use crate::keystore::rocksdb::RocksKeyStore;
use crate::keystore::vault::{Reading, Vault};
use crate::sequencer::{self, Publish, Sequencer, View};
use crate::service::ledger::{SigningKeyStore, SigningKeys};
use crate::service::rehearse::Sample;
use crate::service::rollback;
use crate::service::verify::{Anchor, Scope, verify_store};
use crate::service::{Code, Components, Error, Ledger, Limits, Service, backup};
use crate::spec::backup::Part;
use crate::spec::checkpoint;
use crate::spec::ids::{LedgerName, Origin, Timestamp};
use crate::spec::note::VerifierKey;
use crate::spec::report::{Report, Verdict};
use crate::spec::signature::key_id;
use crate::spec::verify::{Options, Trust};
use crate::store::LedgerStore;
use crate::store::rocksdb::RocksStore;

/// Sealed blocks that are tried of each ledger.
const SAMPLE: u64 = 1_000;

/// What a drill found.
#[derive(Debug, Serialize)]
pub struct Drilled {
    /// The backup.
    pub backup: Uuid,
    /// When it was taken.
    pub taken_at: Timestamp,
    /// Whether nothing speaks against putting it back.
    pub proven: bool,
    /// Files that are what the manifest says.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Each ledger.
    pub ledgers: Vec<DrilledLedger>,
}

/// What a drill found of a ledger.
#[derive(Debug, Serialize)]
pub struct DrilledLedger {
    /// Its name.
    pub ledger: LedgerName,
    /// Its origin.
    pub origin: Origin,
    /// Its full verification.
    pub report: Report,
    /// Events that the vault remembers beyond the backup: putting it back would lose them.
    pub behind: u64,
    /// The epoch under which its keys hang.
    pub epoch: u32,
    /// People with a handle, by state, after all erasures known today.
    pub people: People,
    /// What the newest sealed blocks gave.
    pub sample: Sample,
}

/// People by state.
#[derive(Debug, Serialize)]
pub struct People {
    /// Not erased.
    pub active: u64,
    /// Of these, with a category erased.
    pub partly_erased: u64,
    /// Fenced; their keys are not lent.
    pub erasing: u64,
    /// Erased.
    pub erased: u64,
}

/// A private folder that is gone afterwards.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), error = %error, "the drill's copy of the key store could not be removed");
        }
    }
}

/// Gives no key: nobody can sign.
struct NoKeys;

impl SigningKeyStore for NoKeys {
    fn load(&self, _: &LedgerName) -> Result<SigningKeys, Error> {
        Err(no_keys())
    }

    fn create(&self, _: &LedgerName) -> Result<SigningKeys, Error> {
        Err(no_keys())
    }
}

fn no_keys() -> Error {
    Error::new(Code::KeyUnavailable, "a drill loads no signing keys")
}

struct Nobody;

impl Publish for Nobody {
    fn published(&self, _: &Arc<View>) {}
}

/// Rehearses a restore. `trust` is what the reader knows of the ledgers from elsewhere; `scratch` a folder for the copy of the
/// key store. `progress` is told the events done and the events there are.
///
/// # Errors
/// [`AppError`] where it does not come to a report: the backup is not whole, damaged, foreign or expired.
pub async fn drill(
    settings: &Settings,
    restore: &Restore,
    trust: &Trust,
    scratch: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<Drilled, AppError> {
    let entropy: Arc<dyn Entropy> = Arc::new(System);
    let document = document(restore)?;
    let store = open_store(restore)?;
    let source = Source::opened(restore, &document, &announced(&*store, &document)?)?;
    let vault: Arc<dyn Vault> = Arc::new(vault::open_to_read(settings, Arc::clone(&entropy))?);
    source.check_vault(&*vault)?;
    source.check_files()?;
    let scratch = Scratch(scratch.join(format!("oubliette-drill-{}", hex::encode(entropy.bytes::<8>()))));
    lock::create_private(&scratch.0).map_err(|error| AppError::Io {
        path: scratch.0.clone(),
        source: error,
    })?;
    let keys = scratch.0.join("keystore");
    source.copy(Part::Keystore, &keys)?;
    super::super::App::harden();
    let vault: Arc<dyn Vault> = Arc::new(Reading::new(vault));
    let keystore = Arc::new(RocksKeyStore::open(&keys, Arc::clone(&vault), Arc::clone(&entropy))?);
    let service = Arc::new(assemble(&store, keystore, &entropy)?);
    let mut ledgers = Vec::new();
    for record in store.ledgers()? {
        let name = record.name.clone();
        service.open_to_read(record, throw_away(&*entropy))?;
        let ledger = service.ledger(&name)?;
        service.apply_erasures(&ledger).await?;
        let report = verify(&*store, &ledger, &*vault, trust, &mut progress)?;
        ledgers.push(examine(&*store, &service, &ledger, &source, &*vault, report)?);
    }
    let fine = |one: &DrilledLedger| one.report.verdict == Verdict::Valid && one.sample.unavailable == 0;
    Ok(Drilled {
        backup: source.manifest.backup,
        taken_at: source.manifest.taken_at,
        proven: ledgers.iter().all(fine),
        files: source.manifest.files.len() as u64,
        bytes: source.bytes(),
        ledgers,
    })
}

fn open_store(restore: &Restore) -> Result<Arc<RocksStore>, AppError> {
    let folder = restore.from.join(Part::Ledger.folder());
    Ok(Arc::new(RocksStore::open_read_only(&folder)?))
}

/// The certificate key that signed the manifest, as one of the backup's own ledgers announces it.
fn announced(store: &dyn LedgerStore, document: &[u8]) -> Result<crate::spec::signature::PublicKey, AppError> {
    let id = key_id(document).map_err(|error| AppError::BackupDamaged(format!("its manifest: {error}")))?;
    let announced = rollback::certificate_keys(store)?;
    let key = announced.into_iter().find(|key| key.id() == id);
    key.ok_or_else(|| AppError::BackupForeign("its manifest is not signed by a key of its ledgers".into()))
}

fn assemble(
    store: &Arc<RocksStore>,
    keystore: Arc<RocksKeyStore>,
    entropy: &Arc<dyn Entropy>,
) -> Result<Service, AppError> {
    let clock: Arc<dyn Clock> = Arc::new(System);
    let limits = sequencer::Limits::default();
    let (clock_of_writer, entropy_of_writer) = (Arc::clone(&clock), Arc::clone(entropy));
    let sequencer = Sequencer::start(
        store.clone(),
        clock_of_writer,
        entropy_of_writer,
        Arc::new(Nobody),
        limits,
    );
    Ok(Service::new(Components {
        store: store.clone(),
        keystore,
        sequencer,
        signing_keys: Arc::new(NoKeys),
        clock,
        entropy: Arc::clone(entropy),
        limits: Limits::default(),
        guard: true,
        policy: crate::service::policy::Policy::default(),
        horizon: std::time::Duration::ZERO,
        purging: crate::service::erase::Purging::default(),
        backup_places: backup::Places {
            root: None,
            apart_from: Vec::new(),
            open: Box::new(|path| Ok(Arc::new(RocksStore::open_read_only(path)?))),
        },
    })?)
}

/// Keys of nobody's: the service wants some, and what they would sign is worth nothing.
fn throw_away(entropy: &dyn Entropy) -> SigningKeys {
    let key = || SigningKey::from_bytes(&zeroize::Zeroizing::new(entropy.bytes()));
    SigningKeys {
        event: key(),
        checkpoint: key(),
        certificate: key(),
    }
}

/// The vault's checkpoint is compared where the backup reaches it. Where it does not, the backup is older, which `behind` says.
fn verify(
    store: &dyn LedgerStore,
    ledger: &Ledger,
    vault: &dyn Vault,
    trust: &Trust,
    progress: &mut impl FnMut(u64, u64),
) -> Result<Report, AppError> {
    let size = store.head(ledger.record.number)?.map_or(0, |head| head.size);
    let frozen = rollback::frozen(store, &ledger.record.origin)?;
    let kept = match vault.checkpoint(ledger.record.id)? {
        _ if frozen.is_some() => frozen.map_or(Anchor::None, Anchor::Frozen),
        Some((kept, note)) if kept <= size => Anchor::Checkpoint(kept, note),
        _ => Anchor::None,
    };
    let scope = Scope {
        kept,
        indexes: true,
        has_key: None,
    };
    let options = Options::default();
    Ok(verify_store(
        store,
        &ledger.record,
        trust.clone(),
        options,
        scope,
        progress,
    )?)
}

fn examine(
    store: &dyn LedgerStore,
    service: &Service,
    ledger: &Ledger,
    source: &Source,
    vault: &dyn Vault,
    report: Report,
) -> Result<DrilledLedger, AppError> {
    let census = service.census(ledger)?;
    let copied = source.manifest.ledgers.iter().find(|one| one.id == ledger.record.id);
    let copied =
        copied.ok_or_else(|| AppError::BackupDamaged("it holds a ledger that is not in its manifest".into()))?;
    let stated = copied
        .head()
        .map_err(|error| AppError::BackupDamaged(error.to_string()))?;
    if (stated.size, Some(stated.root)) != (report.tree_size, report.root) {
        let detail = format!("ledger {} is not the one of its manifest", ledger.record.name);
        return Err(AppError::BackupDamaged(detail));
    }
    let kept = vault.checkpoint(ledger.record.id)?;
    if let Some((_, note)) = &kept
        && !signed_by(note, &report)
    {
        let detail = "the vault's last checkpoint is not signed by the ledger's checkpoint key";
        return Err(AppError::BackupForeign(detail.into()));
    }
    let is_frozen = rollback::frozen(store, &ledger.record.origin)?.is_some();
    let kept = kept.filter(|_| !is_frozen).map_or(0, |(size, _)| size);
    Ok(DrilledLedger {
        ledger: ledger.record.name.clone(),
        origin: ledger.record.origin.clone(),
        behind: kept.saturating_sub(report.tree_size),
        epoch: copied.epoch,
        people: People {
            active: census.active,
            partly_erased: census.partly_erased,
            erasing: census.erasing,
            erased: census.erased,
        },
        sample: service.sample_keys(ledger, SAMPLE)?,
        report,
    })
}

/// Whether a checkpoint is signed by the key that a verified ledger announces.
fn signed_by(note: &str, report: &Report) -> bool {
    let key = report.key.as_ref().and_then(|key| key.parse::<VerifierKey>().ok());
    key.is_some_and(|key| checkpoint::open(note, &key.name().clone(), &[key]).is_ok())
}
