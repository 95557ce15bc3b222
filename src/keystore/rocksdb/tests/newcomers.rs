//! People who are first seen while the epoch changes.

use std::time::Duration;

use super::*;
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
    assert_eq!(store.resolve(ONE, &id(&newcomer)).unwrap(), Resolution::Known(minted.handle));
    assert_eq!(bytes(&store, ONE, &minted).unwrap(), secret);
}
