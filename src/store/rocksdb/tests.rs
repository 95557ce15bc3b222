//! The contract on RocksDB, and what is RocksDB's alone: formats, locks, folders.

use std::sync::Arc;

use super::super::conformance;
use super::super::{LedgerStore, RecordWrite, StoreError};
use super::{RocksStore, schema, synced};
use crate::spec::ids::LedgerId;

const ID: LedgerId = LedgerId([4; 16]);

#[test]
fn keeps_the_contract_of_a_ledger_store() {
    conformance::all(&|test| {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn LedgerStore> = Arc::new(RocksStore::create(folder.path(), ID).unwrap());
        test(store, &|store| {
            assert_eq!(Arc::strong_count(&store), 1, "the store is still held");
            drop(store);
            Arc::new(RocksStore::open(folder.path()).unwrap())
        });
    });
}

#[test]
fn a_clean_end_leaves_no_log_to_read_and_all_that_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::create(folder.path(), ID).unwrap();
    let record = |value: &[u8]| RecordWrite {
        ledger: None,
        kind: "test",
        id: "one".into(),
        value: Some(value.to_vec()),
    };
    store.put_records(&[record(b"kept")]).unwrap();
    let log = |store: &RocksStore| {
        let kinds = store.disk_bytes().unwrap();
        kinds.into_iter().find(|(kind, _)| *kind == "log").unwrap().1
    };
    assert!(log(&store) > 0, "what was just written stands in the log");
    drop(store);
    let store = RocksStore::open_read_only(folder.path()).unwrap();
    assert_eq!(log(&store), 0);
    assert_eq!(
        store.record(None, "test", "one").unwrap().as_deref(),
        Some(&b"kept"[..])
    );
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::create(folder.path(), ID).unwrap();
    let system = store.table(schema::SYSTEM).unwrap();
    store
        .db
        .put_cf_opt(system, schema::FORMAT_KEY, 77_u32.to_be_bytes(), &synced())
        .unwrap();
    drop(store);
    for _ in 0..2 {
        let known = match RocksStore::open(folder.path()) {
            Err(StoreError::NewerFormat { found: 77, known }) => known,
            other => panic!("{other:?}"),
        };
        assert!(known < 77);
        assert!(matches!(
            RocksStore::open_read_only(folder.path()),
            Err(StoreError::NewerFormat { found: 77, .. })
        ));
    }
}

#[test]
fn a_format_that_is_no_number_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::create(folder.path(), ID).unwrap();
    let system = store.table(schema::SYSTEM).unwrap();
    store
        .db
        .put_cf_opt(system, schema::FORMAT_KEY, b"one", &synced())
        .unwrap();
    drop(store);
    assert!(matches!(
        RocksStore::open(folder.path()),
        Err(StoreError::Damaged { .. })
    ));
}

#[test]
fn a_store_is_made_once_and_opened_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("blocks, locks and deadlocks");
    assert!(matches!(RocksStore::open(&path), Err(StoreError::Missing(_))));
    let store = RocksStore::create(&path, ID).unwrap();
    assert!(matches!(RocksStore::create(&path, ID), Err(StoreError::Exists(_))));
    assert!(matches!(RocksStore::open(&path), Err(StoreError::InUse)));
    drop(store);
    assert_eq!(RocksStore::open(&path).unwrap().id(), ID);
    // A fault that is no lock is not taken for one, whatever words the path holds.
    std::fs::write(path.join("CURRENT"), "MANIFEST-999999\n").unwrap();
    let refused = RocksStore::open(&path);
    assert!(matches!(refused, Err(StoreError::Io(_))), "{refused:?}");
}
