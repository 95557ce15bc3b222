//! Faults at every step of a destruction: of the vault before and after each of its calls, of the key store's write done
//! and not done. Afterwards, with and without a new start, the end is the same: the erased person opens nowhere,
//! everybody else as before, and the vault holds the keys that it should and no other. Copies of the files: `copies`.

mod copies;

use std::path::PathBuf;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tempfile::TempDir;

use super::database::Fault;
use super::*;
use crate::env::System;
use crate::keystore::conformance::keystore::{AT_ONCE, ONE, bytes, id, order, provision};
use crate::keystore::vault::file::FileVault;
use crate::keystore::vault::{EpochKey, EpochState, JournalEntry, Secret};
use crate::keystore::{Remains, Resolution};

/// Fails one call, before or after it is done.
struct FaultyVault {
    inner: FileVault,
    /// Calls until the one that fails.
    left: AtomicUsize,
    done: AtomicBool,
    hit: AtomicBool,
}

impl FaultyVault {
    fn call<T>(&self, call: impl FnOnce() -> Result<T, KeyStoreError>) -> Result<T, KeyStoreError> {
        let fault = || {
            self.hit.store(true, SeqCst);
            Err(KeyStoreError::Vault {
                reason: "a fault of the test".into(),
                source: None,
            })
        };
        match self.left.fetch_sub(1, SeqCst) {
            1 if self.done.load(SeqCst) => call().and_then(|_| fault()),
            1 => fault(),
            _ => call(),
        }
    }
}

impl Vault for FaultyVault {
    fn store(&self) -> StoreId {
        self.inner.store()
    }
    fn create_ledger(&self, ledger: LedgerId, now: Timestamp) -> Result<(), KeyStoreError> {
        self.inner.create_ledger(ledger, now)
    }
    fn epochs(&self, ledger: LedgerId) -> Result<Vec<EpochKey>, KeyStoreError> {
        self.call(|| self.inner.epochs(ledger))
    }
    fn mint_epoch(&self, ledger: LedgerId, after: Epoch, now: Timestamp) -> Result<Epoch, KeyStoreError> {
        self.call(|| self.inner.mint_epoch(ledger, after, now))
    }
    fn wrap_master(&self, l: LedgerId, e: Epoch, aad: &[u8], master: &[u8; 32]) -> Result<Vec<u8>, KeyStoreError> {
        self.call(|| self.inner.wrap_master(l, e, aad, master))
    }
    fn unwrap_master(&self, l: LedgerId, e: Epoch, aad: &[u8], wrapped: &[u8]) -> Result<Secret, KeyStoreError> {
        self.call(|| self.inner.unwrap_master(l, e, aad, wrapped))
    }
    fn mark_backed_up(&self, ledger: LedgerId, epoch: Epoch, at: Timestamp) -> Result<(), KeyStoreError> {
        self.inner.mark_backed_up(ledger, epoch, at)
    }
    fn retire_epoch(&self, l: LedgerId, e: Epoch, since: Timestamp, until: Timestamp) -> Result<(), KeyStoreError> {
        self.call(|| self.inner.retire_epoch(l, e, since, until))
    }
    fn destroy_epoch(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError> {
        self.call(|| self.inner.destroy_epoch(ledger, epoch))
    }
    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.inner.bucket_hash_key(ledger)
    }
    fn suppression_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.inner.suppression_key(ledger)
    }
    fn journal(&self, ledger: LedgerId, entries: &[JournalEntry]) -> Result<(), KeyStoreError> {
        self.inner.journal(ledger, entries)
    }
    fn journaled(&self, ledger: LedgerId) -> Result<Vec<JournalEntry>, KeyStoreError> {
        self.inner.journaled(ledger)
    }
    fn keep_checkpoint(&self, ledger: LedgerId, size: u64, note: &str) -> Result<(), KeyStoreError> {
        self.inner.keep_checkpoint(ledger, size, note)
    }
    fn ledgers(&self) -> Result<Vec<LedgerId>, KeyStoreError> {
        self.inner.ledgers()
    }
    fn checkpoint(&self, ledger: LedgerId) -> Result<Option<(u64, String)>, KeyStoreError> {
        self.inner.checkpoint(ledger)
    }
}

/// A store with people of whom one is to be erased.
struct Scene {
    _folder: TempDir,
    path: PathBuf,
    mirrors: [PathBuf; 2],
    vault: Arc<FaultyVault>,
    store: Option<RocksKeyStore>,
    ada: KeyRef,
    others: Vec<(String, KeyRef, [u8; 32])>,
}

const HORIZON: Horizon<'static> = Horizon {
    clock: &System,
    length: Duration::from_secs(3_600),
};

impl Scene {
    fn new(backed_up: bool) -> Self {
        let folder = TempDir::new().unwrap();
        let mirrors = ["a", "b"].map(|name| folder.path().join(name));
        let vault = Arc::new(FaultyVault {
            inner: FileVault::create(&mirrors, Arc::new(System)).unwrap(),
            left: AtomicUsize::new(0),
            done: AtomicBool::new(false),
            hit: AtomicBool::new(false),
        });
        let path = folder.path().join("keys");
        let store = RocksKeyStore::create(&path, vault.clone(), Arc::new(System)).unwrap();
        store.create_ledger(ONE, Timestamp(1)).unwrap();
        let ada = provision(&store, ONE, "ada", "default").unwrap();
        let bucket = store.ledger(ONE).unwrap().bucket_of(&id("ada"));
        // Somebody of the same bucket is among them.
        let near = (0..).map(|n| format!("near-{n}"));
        let near = near.filter(|subject| store.ledger(ONE).unwrap().bucket_of(&id(subject)) == bucket);
        let subjects = near.take(1).chain(["bob".to_owned(), "carl".to_owned()]);
        let others = subjects.map(|subject| {
            let key = provision(&store, ONE, &subject, "default").unwrap();
            let secret = bytes(&store, ONE, &key).unwrap();
            (subject, key, secret)
        });
        let others = others.collect();
        if backed_up {
            store.mark_backed_up(ONE, Timestamp(1)).unwrap();
        }
        store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
        Self {
            _folder: folder,
            path,
            mirrors,
            vault,
            store: Some(store),
            ada,
            others,
        }
    }

    fn store(&self) -> &RocksKeyStore {
        self.store.as_ref().unwrap()
    }

    fn destroy(&self) -> Result<(), KeyStoreError> {
        let order = order(1, self.ada.handle, None);
        let done = self.store().destroy(ONE, &[order], 7, &HORIZON)?;
        assert_eq!((done.left, done.orders.len()), (Remains::default(), 1));
        assert_eq!((done.orders[0].keys, done.orders[0].identities), (1, 1));
        Ok(())
    }

    /// Closes all of it as a crash would, and opens it again.
    fn restart(self) -> Self {
        let Self {
            _folder,
            path,
            mirrors,
            vault,
            store,
            ada,
            others,
        } = self;
        drop(store);
        drop(vault);
        let vault = Arc::new(FaultyVault {
            inner: FileVault::open(&mirrors, Arc::new(System)).unwrap(),
            left: AtomicUsize::new(0),
            done: AtomicBool::new(false),
            hit: AtomicBool::new(false),
        });
        let store = RocksKeyStore::open(&path, vault.clone(), Arc::new(System)).unwrap();
        let scene = Self {
            _folder,
            path,
            mirrors,
            vault,
            store: Some(store),
            ada,
            others,
        };
        scene.everybody_else_opens();
        scene
    }

    fn everybody_else_opens(&self) {
        for (subject, key, secret) in &self.others {
            assert_eq!(bytes(self.store(), ONE, key).unwrap(), *secret);
            assert_eq!(provision(self.store(), ONE, subject, "default").unwrap(), *key);
        }
        assert!(bytes(self.store(), ONE, &self.ada).is_err(), "she is fenced");
    }

    fn is_at_its_end(&self, backed_up: bool) {
        self.everybody_else_opens();
        assert_eq!(self.store().resolve(ONE, &id("ada")).unwrap(), Resolution::Erased);
        let epoch = self.store().epoch(ONE).unwrap();
        let epochs = self.vault.epochs(ONE).unwrap();
        let retired = |key: &EpochKey| matches!(key.state, EpochState::Retired { .. });
        let (old, new): (Vec<_>, Vec<_>) = epochs.into_iter().partition(retired);
        assert_eq!(
            new.iter().map(|key| (key.epoch, key.state)).collect::<Vec<_>>(),
            [(epoch, EpochState::Current)]
        );
        assert_eq!(
            old.iter().map(|key| key.epoch).collect::<Vec<_>>(),
            if backed_up { vec![1] } else { vec![] }
        );
    }
}

#[test]
fn a_fault_of_the_vault_at_any_call_leaves_nothing_but_a_repetition() {
    let mut faults = 0;
    for (backed_up, done, restart) in (0..8_u8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0)) {
        for call in 1.. {
            let scene = Scene::new(backed_up);
            scene.vault.done.store(done, SeqCst);
            scene.vault.left.store(call, SeqCst);
            let first = scene.destroy();
            if !scene.vault.hit.load(SeqCst) {
                assert!(first.is_ok() && call > 4, "{call}");
                scene.vault.left.store(0, SeqCst);
                scene.is_at_its_end(backed_up);
                break;
            }
            faults += 1;
            assert!(first.is_err());
            scene.everybody_else_opens();
            let scene = if restart { scene.restart() } else { scene };
            scene.destroy().unwrap();
            scene.is_at_its_end(backed_up);
            scene.restart().is_at_its_end(backed_up);
        }
    }
    assert!(faults >= 32, "{faults}");
}

#[test]
fn a_write_that_failed_and_one_that_is_durable_all_the_same_end_alike() {
    for (backed_up, fault) in [
        (false, Fault::NotWritten),
        (true, Fault::NotWritten),
        (false, Fault::Written),
        (true, Fault::Written),
    ] {
        let scene = Scene::new(backed_up);
        *scene.store().db.fault.lock() = Some(fault);
        assert!(scene.destroy().is_err());
        let listed = || {
            scene
                .vault
                .epochs(ONE)
                .unwrap()
                .iter()
                .map(|key| key.epoch)
                .collect::<Vec<_>>()
        };
        assert_eq!(listed(), [1, 2], "both keys live as long as nobody knows");
        scene.store().settle_epochs(ONE, &AT_ONCE).unwrap();
        assert_eq!(listed(), [1, 2]);
        let scene = scene.restart();
        scene.store().settle_epochs(ONE, &HORIZON).unwrap();
        assert_eq!(
            scene.store().epoch(ONE).unwrap(),
            if fault == Fault::Written { 2 } else { 1 }
        );
        scene.destroy().unwrap();
        scene.is_at_its_end(backed_up);
    }
}

#[test]
fn after_a_failed_write_the_next_one_is_made_under_yet_another_epoch() {
    let scene = Scene::new(false);
    *scene.store().db.fault.lock() = Some(Fault::NotWritten);
    assert!(scene.destroy().is_err());
    scene.everybody_else_opens();
    scene.destroy().unwrap();
    assert_eq!(
        scene.store().epoch(ONE).unwrap(),
        3,
        "what was tried under 2 may lie in the files"
    );
    scene.is_at_its_end(false);
}

#[test]
fn a_failed_change_without_an_erasure_changes_nothing() {
    let scene = Scene::new(false);
    *scene.store().db.fault.lock() = Some(Fault::NotWritten);
    assert!(scene.store().renew_epoch(ONE, &AT_ONCE).is_err());
    scene.everybody_else_opens();
    let scene = scene.restart();
    scene.store().settle_epochs(ONE, &AT_ONCE).unwrap();
    assert_eq!(
        scene.vault.epochs(ONE).unwrap().len(),
        1,
        "the key that never came into use is gone"
    );
}
