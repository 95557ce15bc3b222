//! People whom no event names yet: while the epoch changes, and near rows that are damaged.

use std::time::Duration;

use super::*;
use crate::keystore::rocksdb::buckets::page_of;
use crate::keystore::rocksdb::database::Fault;

/// Somebody who is being written when a change begins is wrapped anew with the others, and found under one handle.
#[test]
fn whoever_is_being_written_when_a_change_begins_is_not_left_under_the_old_key() {
    let place = Place::new();
    let store = place.create();
    let ada = provision(&store, ONE, "ada", "default").unwrap();
    let bucket = store.ledger(ONE).unwrap().bucket_of(&id("ada"));
    let mut others = (0..).map(|n| format!("newcomer-{n}"));
    let of_hers = |subject: &String| store.ledger(ONE).unwrap().bucket_of(&id(subject)) == bucket;
    let newcomer = others.find(of_hers).unwrap();
    let order = [order(1, ada.handle, None)];
    store.fence(ONE, &order).unwrap();
    *store.db.fault.lock() = Some(Fault::Slow(Duration::from_millis(500)));
    let minted = std::thread::scope(|scope| {
        let minting = scope.spawn(|| provision(&store, ONE, &newcomer, "default").unwrap());
        std::thread::sleep(Duration::from_millis(200));
        destroy(&store, ONE, &order, 1).unwrap();
        minting.join().unwrap()
    });
    let secret = bytes(&store, ONE, &minted).unwrap();
    let store = reopened(&place, store);
    assert_eq!(
        store.resolve(ONE, &id(&newcomer)).unwrap(),
        Resolution::Known(minted.handle)
    );
    assert_eq!(bytes(&store, ONE, &minted).unwrap(), secret);
}

/// What `make` adds to a table: one row.
fn added(store: &RocksKeyStore, table: Table, make: impl FnOnce()) -> (Vec<u8>, Vec<u8>) {
    let before = store.rows(table);
    make();
    let mut after = store.rows(table).into_iter();
    after.find(|(row, _)| !before.contains_key(row)).unwrap()
}

#[test]
fn newcomers_near_damaged_rows_stay_as_a_whole_and_the_others_are_forgotten() {
    let place = Place::new();
    let store = place.create();
    let mut pages = HashSet::new();
    let subjects = (0..).map(|number| format!("new-{number}"));
    let apart = |subject: &String| pages.insert(page_of(store.ledger(ONE).unwrap().bucket_of(&id(subject))));
    let subjects: Vec<_> = subjects.filter(apart).take(4).collect();
    let tables = [Table::Handle, Table::Identity, Table::Bucket];
    for (subject, table) in subjects.iter().zip(tables) {
        let (row, mut value) = added(&store, table, || drop(provision(&store, ONE, subject, "c").unwrap()));
        *value.last_mut().unwrap() ^= 1;
        store.put(&row, &value);
    }
    let whole = provision(&store, ONE, &subjects[3], "c").unwrap();
    let store = reopened(&place, store);
    let mut new = store.new_handles(ONE, None, 10).unwrap();
    assert_eq!(new.len(), 4);
    for forgotten in [1, 0] {
        assert_eq!(store.forget_new(ONE, &new).unwrap(), forgotten);
    }
    assert_eq!(store.resolve(ONE, &id(&subjects[3])).unwrap(), Resolution::Unknown);
    new.retain(|handle| *handle != whole.handle);
    assert_eq!(store.new_handles(ONE, None, 10).unwrap(), new, "for the next start");
    for table in [Table::Handle, Table::Identity, Table::Key] {
        assert_eq!(store.rows(table).len(), 3);
    }
}
