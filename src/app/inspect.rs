//! Verifies a data directory that nobody serves. Writes nothing, needs no keys.

use super::lock::Lock;
use super::{AppError, Settings};
use crate::keystore::vault::file::{Kept, kept_checkpoint};
use crate::service::verify::{Anchor, Scope, verify_store};
use crate::service::{Code, Error};
use crate::spec::ids::LedgerName;
use crate::spec::report::Report;
use crate::spec::verify::{Options, Trust};
use crate::store::LedgerStore;
use crate::store::rocksdb::RocksStore;

/// What to verify of a data directory, and against what.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What the reader knows from elsewhere.
    pub trust: Trust,
    /// How to verify.
    pub options: Options,
    /// Whether the store's indexes are checked too (`fsck`).
    pub indexes: bool,
}

/// Verifies one ledger. `progress` is told the events done and the events there are.
///
/// # Errors
/// [`AppError`] if the directory is being served, or cannot be read. What the ledger holds is never an error.
pub fn inspect(
    settings: &Settings,
    name: &LedgerName,
    inspection: Inspection,
    progress: impl FnMut(u64, u64),
) -> Result<Report, AppError> {
    let _lock = Lock::take_existing(&settings.data)?;
    let store = RocksStore::open_read_only(&settings.ledger_path())?;
    let ledger = store.ledgers()?.into_iter().find(|ledger| ledger.name == *name);
    let ledger =
        ledger.ok_or_else(|| Error::new(Code::LedgerNotFound, format!("there is no ledger {name} in this store")))?;
    let folders = settings.vault_paths();
    let frozen = crate::service::rollback::frozen(&store, &ledger.origin)?;
    let kept = match kept_checkpoint(&folders, ledger.id) {
        _ if frozen.is_some() => frozen.map_or(Anchor::None, Anchor::Frozen),
        Kept::Checkpoint(size, note) => Anchor::Checkpoint(size, note),
        // A copy without its vault can still be verified; a vault without its checkpoint is another matter.
        Kept::Absent if !folders.iter().any(|folder| folder.exists()) => Anchor::None,
        Kept::Absent | Kept::Unreadable => Anchor::Unreadable,
    };
    let scope = Scope {
        kept,
        indexes: inspection.indexes,
        has_key: None,
    };
    Ok(verify_store(
        &store,
        &ledger,
        inspection.trust,
        inspection.options,
        scope,
        progress,
    )?)
}
