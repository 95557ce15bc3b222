//! The contract on RocksDB, and what is RocksDB's alone: formats, locks, folders.

use std::sync::Arc;

use super::super::conformance;
use super::super::{Batch, Head, LedgerNumber, LedgerStore, RecordWrite, Removal, Scrub, StoreError};
use super::{RocksStore, schema, synced};
use crate::env::{Entropy, System};
use crate::spec::event::BodyKind;
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

/// A ledger of one stream with sealed blocks of random bytes, as a store keeps them.
fn filled(store: &RocksStore, events: u64) -> (Head, Vec<Vec<u8>>) {
    let (mut head, mut blocks) = (None, Vec::new());
    for first in (0..events).step_by(100) {
        let mut batch = conformance::of_one_stream(head, first..(first + 100).min(events));
        for event in &mut batch.events {
            let mut block = vec![0; 200];
            System.fill(&mut block);
            event.bodies[2].2.clone_from(&block);
            blocks.push(block);
        }
        head = Some(batch.head);
        let ledgers = vec![batch];
        let records = Vec::new();
        store.commit(&Batch { ledgers, records }).unwrap();
    }
    (head.unwrap(), blocks)
}

fn is_in_a_file(store: &RocksStore, needle: &[u8]) -> bool {
    let names = crate::env::file_names(store.db.path()).unwrap();
    names.iter().any(|name| {
        let file = std::fs::read(store.db.path().join(name)).unwrap();
        memchr::memmem::find(&file, needle).is_some()
    })
}

#[test]
fn after_a_scrub_no_file_holds_a_removed_block_and_every_other_block_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = RocksStore::create(folder.path(), ID).unwrap();
    let (head, blocks) = filled(&store, 600);
    let sealed = store.table(schema::SEALED).unwrap();
    // In the log, in files of an upper level, and at the bottom.
    store.db.flush_cf(sealed).unwrap();
    store.db.compact_range_cf(sealed, None::<&[u8]>, None::<&[u8]>);
    let gone: Vec<u64> = vec![3, 4, 250, 599];
    assert!(gone.iter().all(|index| is_in_a_file(&store, &blocks[*index as usize])));
    let mut purge = conformance::of_one_stream(Some(head), 600..601);
    let removal = |index| Removal {
        index,
        ordinal: 2,
        kind: BodyKind::Sealed,
        lookups: Vec::new(),
        stream: None,
    };
    purge.removals = gone.iter().map(|index| (600, removal(*index))).collect();
    let ledgers = vec![purge];
    let records = Vec::new();
    store.commit(&Batch { ledgers, records }).unwrap();
    assert!(gone.iter().all(|index| is_in_a_file(&store, &blocks[*index as usize])));
    let scrub = Scrub {
        bodies: gone.iter().map(|index| (*index, 2, BodyKind::Sealed)).collect(),
        ..Scrub::default()
    };
    // A reader that holds the old files is told of, not ignored.
    let number = LedgerNumber(1);
    let reader = store.db.raw_iterator_cf(sealed);
    assert!(!store.scrub(number, &scrub, &mut |_| true).unwrap());
    drop(reader);
    assert!(!store.scrub(number, &scrub, &mut |_| false).unwrap(), "stopped");
    assert!(store.scrub(number, &scrub, &mut |_| true).unwrap());
    for (index, block) in (0..).zip(&blocks) {
        let row = store
            .bodies_at(number, &[(index, 2, BodyKind::Sealed)])
            .unwrap()
            .pop()
            .unwrap();
        assert_eq!(row.is_some(), !gone.contains(&index), "{index}");
        assert_eq!(is_in_a_file(&store, block), !gone.contains(&index), "{index}");
    }
}
