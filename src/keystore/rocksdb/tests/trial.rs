//! Key rows that a destruction left, or that came back.

use super::*;
use crate::keystore::conformance::trial::tried;
use crate::keystore::{Places, Refusal};

/// Ada, erased; her key's row and value, and the key.
fn erased(store: &RocksKeyStore) -> (KeyRef, Vec<u8>, Vec<u8>, [u8; 32]) {
    let ada = provision(store, ONE, "ada", "default").unwrap();
    let (row, secret) = (store.row_of(&ada), bytes(store, ONE, &ada).unwrap());
    let value = store.rows(Table::Key).remove(&row).unwrap();
    let order = [order(1, ada.handle, None)];
    store.fence(ONE, &order).unwrap();
    destroy(store, ONE, &order, 1).unwrap();
    (ada, row, value, secret)
}

#[test]
fn a_key_row_that_was_copied_back_is_found_and_opens_under_no_key() {
    let place = Place::new();
    let store = place.create();
    let (ada, row, value, _) = erased(&store);
    assert_eq!(tried(&store, &Places::default(), &ada), (0, None));
    store.put(&row, &value);
    assert_eq!(
        tried(&store, &Places::default(), &ada),
        (1, None),
        "its bucket has another key"
    );
    assert_eq!(store.remains(ONE, &order(1, ada.handle, None)).unwrap().keys, 1);
}

#[test]
fn a_key_row_that_hangs_under_the_epoch_in_use_gives_its_key() {
    let place = Place::new();
    let store = place.create();
    let (ada, row, _, secret) = erased(&store);
    let ledger = store.ledger(ONE).unwrap();
    let bucket = u16::from_be_bytes(row[17..19].try_into().unwrap());
    let value = {
        let top = ledger.top.read();
        let people::Row::Open(bucket) = store.bucket(&ledger, &top, bucket).unwrap() else {
            panic!("no bucket key")
        };
        store.wrap_key(&bucket, &row, rows::ACTIVE, &secret).unwrap()
    };
    store.put(&row, &value);
    let store = reopened(&place, store);
    assert_eq!(
        bytes(&store, ONE, &ada),
        Err(Refusal::Erased(Some(conformance::request(1))))
    );
    assert_eq!(tried(&store, &Places::default(), &ada), (1, Some(secret)));
}
