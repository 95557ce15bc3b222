//! The key store in a RocksDB of its own. Layouts: `rows`; keys: `ledger`; formats: `migrations`; all of it in prose:
//! `src/keystore/README.md`.
//!
//! | path | what happens |
//! | --- | --- |
//! | `provision`, known | pass → cache → fences; no lock, no disk |
//! | `provision`, new | pass → look up → group commit: look up again, mint, one synced write → caches |
//! | `key` | pass → fences → cache, or unwrap row by row; the pass goes with the lease |
//! | `fence` | durable rows → fences in memory → drain the passes → purge the caches |
//! | `destroy` | fresh epoch key → touched buckets under new keys → one synced write → fences in memory → old epoch key |
//! | `scrub` | flush → forced compaction → log and manifest rolled → the old files must be gone |
//!
//! Invariants: a store opens only with the vault it was made with; nobody reads a fence before having a pass; what does
//! not unwrap is unavailable, never erased; whoever opens rows holds the ledger's `top`, whoever puts rows under a bucket
//! key holds `writing` and names the bucket in `changed`.

mod backup;
mod buckets;
mod caches;
mod database;
mod epoch;
mod erase;
mod fences;
mod gate;
mod group;
mod ledger;
mod lend;
mod migrations;
mod moving;
mod new;
mod people;
mod provision;
mod renew;
mod rewrap;
mod rows;
mod scrub;
mod suppress;
mod trial;
mod withhold;

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use rocksdb::WriteBatch;

use self::caches::Caches;
use self::database::Database;
use self::fences::Fences;
use self::gate::Gate;
use self::group::Group;
use self::ledger::{Ledger, broken};
use self::provision::{Ask, Settled};
use self::rows::{Bucket, Table};
use super::memory::Arena;
use super::vault::{Epoch, StoreId, Vault};
use super::{
    Census, Destruction, EpochChange, ErasureOrder, Fence, Horizon, KeyLease, KeyRef, KeyStore, KeyStoreError, Places,
    Refusal, Remains, Reopened, RequestId, Resolution, SubjectState, Suppression, Trial, Wanted, Withholding,
};
use crate::env::Entropy;
use crate::spec::ids::{Category, Handle, LedgerId, SubjectId, Timestamp};

/// The key store of all ledgers of one data directory.
pub struct RocksKeyStore {
    db: Database,
    vault: Arc<dyn Vault>,
    entropy: Arc<dyn Entropy>,
    arena: Arc<Arena>,
    ledgers: RwLock<HashMap<LedgerId, Arc<Ledger>>>,
    fences: Fences,
    gate: Arc<Gate>,
    caches: Caches,
    minting: Group<Vec<Ask>, Vec<Result<Settled, Refusal>>, KeyStoreError>,
    /// Whether the last write of a group failed.
    unwritable: AtomicBool,
    /// Held by what creates ledgers, fences, destroys and changes epochs: one at a time.
    admin: Mutex<()>,
    /// When the next suppression row of a ledger expires, at the earliest.
    expiring: Mutex<HashMap<LedgerId, u64>>,
    /// Held from looking rows up to writing them under a bucket key.
    writing: Mutex<()>,
    /// While a change of epoch works out its buckets: those in which a row was put meanwhile.
    changed: Mutex<Option<HashSet<(LedgerId, Bucket)>>>,
}

impl RocksKeyStore {
    /// Makes a new, empty key store in `path` that belongs to `vault`. A store that exists is refused.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if there is a store already, [`KeyStoreError::Store`] if it cannot be written.
    pub fn create(path: &Path, vault: Arc<dyn Vault>, entropy: Arc<dyn Entropy>) -> Result<Self, KeyStoreError> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(broken)?;
        let db = Database::open(path, true)?;
        // A store without a format row was never finished: it holds nothing yet.
        if migrations::format(&db)?.is_some() {
            return Err(KeyStoreError::Foreign(format!(
                "a key store exists already in {}",
                path.display()
            )));
        }
        let mut first = WriteBatch::default();
        first.put(rows::store_row("owner"), vault.store().0);
        migrations::migrate(&db, 0, first)?;
        // The folder's own name must outlive a crash, too.
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::File::open(parent)
            .and_then(|folder| folder.sync_all())
            .map_err(broken)?;
        Self::load(db, vault, entropy)
    }

    /// Opens a key store with the vault it was made with; brings an older format up to date.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if the store is missing or of another vault, [`KeyStoreError::InUse`],
    /// [`KeyStoreError::NewerFormat`], [`KeyStoreError::Damaged`] if a master or fence does not open (what is fenced
    /// must be known before anything is lent), [`KeyStoreError::Vault`], [`KeyStoreError::Store`].
    pub fn open(path: &Path, vault: Arc<dyn Vault>, entropy: Arc<dyn Entropy>) -> Result<Self, KeyStoreError> {
        let missing = || KeyStoreError::Foreign(format!("the key store is missing in {}", path.display()));
        if !Database::exists(path) {
            return Err(missing());
        }
        let db = Database::open(path, false)?;
        let format = migrations::format(&db)?.ok_or_else(missing)?;
        // IMPORTANT: before anything else is read: a newer format may mean all of it differently.
        migrations::check(format)?;
        let owner = db
            .get(&rows::store_row("owner"))?
            .and_then(|bytes| bytes.try_into().ok())
            .map(StoreId);
        if owner != Some(vault.store()) {
            return Err(KeyStoreError::Foreign(
                "the vault belongs to another store than the one that this is the key store of".into(),
            ));
        }
        migrations::migrate(&db, format, WriteBatch::default())?;
        Self::load(db, vault, entropy)
    }

    /// Bytes of secret memory that could not be locked and might reach swap.
    pub fn unlocked_bytes(&self) -> usize {
        self.arena.unlocked_bytes()
    }

    fn load(db: Database, vault: Arc<dyn Vault>, entropy: Arc<dyn Entropy>) -> Result<Self, KeyStoreError> {
        let store = Self {
            db,
            vault,
            entropy,
            arena: Arena::new(),
            ledgers: RwLock::default(),
            fences: Fences::default(),
            gate: Arc::default(),
            caches: Caches::default(),
            minting: Group::default(),
            unwritable: AtomicBool::new(false),
            admin: Mutex::new(()),
            expiring: Mutex::default(),
            writing: Mutex::new(()),
            changed: Mutex::default(),
        };
        store.db.scan(&[Table::Master as u8], |row, value| {
            let id = rows::ledger_of(row).ok_or(KeyStoreError::Damaged("epoch master"))?;
            store.load_ledger(id, value)
        })?;
        store
            .db
            .scan(&[Table::Fence as u8], |row, value| store.load_fence(row, value))?;
        store
            .db
            .scan(&[Table::Withheld as u8], |row, value| store.load_withheld(row, value))?;
        store
            .db
            .scan(&[Table::Reopened as u8], |row, value| store.load_reopened(row, value))?;
        store.db.scan(&[Table::Suppression as u8], |row, value| {
            store.load_suppression(row, value)
        })?;
        Ok(store)
    }

    fn load_ledger(&self, id: LedgerId, master_row: &[u8]) -> Result<(), KeyStoreError> {
        let ledger = Ledger::load(id, master_row, self.vault.as_ref(), &self.arena)?;
        self.ledgers.write().insert(id, Arc::new(ledger));
        Ok(())
    }

    fn load_fence(&self, row: &[u8], value: &[u8]) -> Result<(), KeyStoreError> {
        const DAMAGED: KeyStoreError = KeyStoreError::Damaged("fence");
        let ledger = self.ledger(rows::ledger_of(row).ok_or(DAMAGED)?)?;
        let clear = ledger.unmark(row, value).ok_or(DAMAGED)?;
        self.fences
            .set(ledger.id, rows::parse_fence(row, clear).ok_or(DAMAGED)?);
        Ok(())
    }

    fn ledger(&self, id: LedgerId) -> Result<Arc<Ledger>, KeyStoreError> {
        let known = self.ledgers.read().get(&id).cloned();
        known.ok_or_else(|| KeyStoreError::Foreign(format!("it does not know ledger {id}")))
    }
}

impl KeyStore for RocksKeyStore {
    fn create_ledger(&self, ledger: LedgerId, now: Timestamp) -> Result<(), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        if self.ledgers.read().contains_key(&ledger) {
            return Ok(());
        }
        // Rows of a ledger without its master are what is left of a lost one: a new master would bury them.
        for table in rows::OF_A_LEDGER {
            if self.db.last(&rows::row(table, ledger, &[]))?.is_some() {
                return Err(KeyStoreError::Damaged("epoch master"));
            }
        }
        self.vault.create_ledger(ledger, now)?;
        // A crash here leaves vault keys without a master; the next call uses them.
        let (row, value) = Ledger::mint_master(ledger, self.vault.as_ref(), self.entropy.as_ref())?;
        let mut batch = WriteBatch::default();
        batch.put(row, &value);
        self.db.write(batch)?;
        self.load_ledger(ledger, &value)
    }

    fn known(&self, ledger: LedgerId, wanted: &[Wanted]) -> Option<Vec<Result<KeyRef, Refusal>>> {
        self.known_keys(ledger, wanted)
    }

    fn provision(&self, ledger: LedgerId, wanted: &[Wanted]) -> Result<Vec<Result<KeyRef, Refusal>>, KeyStoreError> {
        self.provision_keys(ledger, wanted)
    }

    fn provision_handles(
        &self,
        ledger: LedgerId,
        subjects: &[SubjectId],
    ) -> Result<Vec<Result<Handle, Refusal>>, KeyStoreError> {
        self.provision_people(ledger, subjects)
    }

    fn new_handles(&self, ledger: LedgerId, after: Option<Handle>, limit: usize) -> Result<Vec<Handle>, KeyStoreError> {
        self.unconfirmed(ledger, after, limit)
    }

    fn confirm(&self, ledger: LedgerId, handles: &[Handle]) -> Result<(), KeyStoreError> {
        self.confirm_handles(ledger, handles)
    }

    fn forget_new(&self, ledger: LedgerId, handles: &[Handle]) -> Result<u64, KeyStoreError> {
        self.forget_unconfirmed(ledger, handles)
    }

    fn key(&self, ledger: LedgerId, key: &KeyRef) -> Result<Result<KeyLease, Refusal>, KeyStoreError> {
        self.lend(ledger, key, false)
    }

    fn sealing_key(&self, ledger: LedgerId, key: &KeyRef) -> Result<Result<KeyLease, Refusal>, KeyStoreError> {
        self.lend(ledger, key, true)
    }

    fn withhold(&self, ledger: LedgerId, withholdings: &[Withholding]) -> Result<(), KeyStoreError> {
        self.set_withheld(ledger, withholdings)
    }

    fn give_back(&self, ledger: LedgerId, id: RequestId) -> Result<(), KeyStoreError> {
        self.end_withheld(ledger, id)
    }

    fn withheld(&self, ledger: LedgerId) -> Vec<Withholding> {
        self.all_withheld(ledger)
    }

    fn withheld_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Withholding> {
        self.fences.life.withheld_of(ledger, handle)
    }

    fn reopen_categories(&self, ledger: LedgerId, reopened: &[Reopened]) -> Result<Vec<Reopened>, KeyStoreError> {
        self.open_categories_again(ledger, reopened)
    }

    fn reopened(&self, ledger: LedgerId) -> Vec<Reopened> {
        self.fences.life.all_reopened(ledger)
    }

    fn reopened_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Reopened> {
        self.fences.life.reopened_of(ledger, handle)
    }

    fn prepare_reopening(
        &self,
        ledger: LedgerId,
        id: RequestId,
        subject: &SubjectId,
    ) -> Result<Resolution, KeyStoreError> {
        self.note_reopening(ledger, id, subject)
    }

    fn settle_reopening(&self, ledger: LedgerId, id: RequestId, carry_out: bool) -> Result<(), KeyStoreError> {
        self.end_reopening(ledger, id, carry_out)
    }

    fn noted_reopenings(&self, ledger: LedgerId) -> Result<Vec<RequestId>, KeyStoreError> {
        self.all_noted(ledger)
    }

    fn suppress(&self, ledger: LedgerId, request: RequestId, suppression: Suppression) -> Result<(), KeyStoreError> {
        self.set_suppression(ledger, request, suppression)
    }

    fn forget_suppressed(&self, ledger: LedgerId, now: Timestamp) -> Result<u64, KeyStoreError> {
        self.forget_expired(ledger, now)
    }

    fn holders(&self, ledger: LedgerId, category: &Category) -> Result<Vec<Handle>, KeyStoreError> {
        self.holders_of(ledger, category)
    }

    fn resolve(&self, ledger: LedgerId, subject: &SubjectId) -> Result<Resolution, KeyStoreError> {
        self.resolve_person(ledger, subject)
    }

    fn state(&self, ledger: LedgerId, handle: Handle) -> Result<SubjectState, KeyStoreError> {
        match self.fences.state(ledger, handle) {
            Some(state) => Ok(state),
            None if self.fences.life.is_restricted(ledger, handle, None) => Ok(SubjectState::Restricted),
            None if self.db.get(&rows::handle(ledger, handle))?.is_some() => Ok(SubjectState::Active),
            None => Ok(SubjectState::Unknown),
        }
    }

    fn census(&self, ledger: LedgerId) -> Result<Census, KeyStoreError> {
        self.count_people(ledger)
    }

    fn keys_of(&self, ledger: LedgerId, handle: Handle) -> Result<Vec<KeyRef>, KeyStoreError> {
        self.live_keys(ledger, handle)
    }

    fn fence(&self, ledger: LedgerId, orders: &[ErasureOrder]) -> Result<(), KeyStoreError> {
        self.set_fences(ledger, orders)
    }

    fn destroy(
        &self,
        ledger: LedgerId,
        orders: &[ErasureOrder],
        mark: u64,
        horizon: &Horizon<'_>,
    ) -> Result<Destruction, KeyStoreError> {
        self.destroy_keys(ledger, orders, mark, horizon)
    }

    fn epoch(&self, ledger: LedgerId) -> Result<Epoch, KeyStoreError> {
        Ok(self.ledger(ledger)?.top.read().epoch)
    }

    fn renew_epoch(&self, ledger: LedgerId, horizon: &Horizon<'_>) -> Result<(EpochChange, Timestamp), KeyStoreError> {
        self.turn_alone(ledger, horizon)
    }

    fn settle_epochs(&self, ledger: LedgerId, horizon: &Horizon<'_>) -> Result<(), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let keys = self.ledger(ledger)?;
        self.settle_vault(&keys, horizon)?;
        let own = keys.top.read().epoch;
        if let Err(error) = self.vault.destroy_unnamed(ledger, own) {
            // They were never in use.
            tracing::warn!(error = %error, "epoch keys that a crash left stay for now");
        }
        Ok(())
    }

    fn mark_backed_up(&self, ledger: LedgerId, at: Timestamp) -> Result<Epoch, KeyStoreError> {
        // A change of epoch is over as a whole, or has not begun.
        let _one_at_a_time = self.admin.lock();
        let epoch = self.epoch(ledger)?;
        self.vault.mark_backed_up(ledger, epoch, at)?;
        Ok(epoch)
    }

    fn renew_keys(
        &self,
        ledger: LedgerId,
        handle: Handle,
        categories: Option<&[Category]>,
    ) -> Result<Result<Vec<KeyRef>, Refusal>, KeyStoreError> {
        self.mint_next(ledger, handle, categories)
    }

    fn scrub(&self) -> Result<bool, KeyStoreError> {
        self.db.scrub()
    }

    fn try_keys(&self, ledger: LedgerId, places: &Places, keys: &[KeyRef]) -> Result<Vec<Trial>, KeyStoreError> {
        self.try_all(ledger, places, keys)
    }

    fn remains(&self, ledger: LedgerId, order: &ErasureOrder) -> Result<Remains, KeyStoreError> {
        self.remaining(ledger, order)
    }

    fn fences(&self, ledger: LedgerId) -> Result<Vec<Fence>, KeyStoreError> {
        Ok(self.fences.all(ledger))
    }

    fn fences_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Fence> {
        self.fences.of(ledger, handle)
    }

    fn applied(&self, ledger: LedgerId) -> Result<Option<u64>, KeyStoreError> {
        self.applied_mark(&*self.ledger(ledger)?)
    }

    fn check(&self) -> Result<(), KeyStoreError> {
        let owner = rows::store_row("owner");
        let value = self.db.get(&owner)?.ok_or(KeyStoreError::Damaged("owner"))?;
        if self.unwritable.load(Ordering::Acquire) {
            // Nobody may come to mint as long as this fails, so it is tried here, with a row that stays what it is.
            let mut again = WriteBatch::default();
            again.put(owner, value);
            self.db.write(again)?;
            self.unwritable.store(false, Ordering::Release);
        }
        let ledgers: Vec<_> = self.ledgers.read().keys().copied().collect();
        for ledger in ledgers {
            let master = self.db.get(&rows::row(Table::Master, ledger, &[]))?;
            Ledger::check(ledger, master.as_deref(), self.vault.as_ref())?;
        }
        Ok(())
    }

    fn copy_to(&self, folder: &Path) -> Result<(), KeyStoreError> {
        self.db.copy_to(folder)
    }

    fn disk_bytes(&self) -> u64 {
        self.db.disk_bytes()
    }

    fn vault(&self) -> &Arc<dyn Vault> {
        &self.vault
    }
}

#[cfg(test)]
mod faults;
#[cfg(test)]
mod tests;
