//! What a key store finds of keys behind fences, whoever left them there.

use std::sync::Arc;

use super::keystore::{AT_ONCE, ONE, Reopen, Test, bytes, destroy, order, provision, request};
use crate::keystore::{KeyRef, KeyStore, Places, Refusal};

/// Runs all of them; each on a new store.
pub(crate) fn all(fresh: &dyn Fn(Test<'_>)) {
    fresh(&a_key_that_a_fence_covers_is_found_and_given);
    fresh(&of_a_destroyed_key_nothing_is_found);
}

/// Rows of a key's name, and the key that they give.
pub(crate) fn tried(store: &dyn KeyStore, places: &Places, key: &KeyRef) -> (u64, Option<[u8; 32]>) {
    let mut trials = store.try_keys(ONE, places, std::slice::from_ref(key)).unwrap();
    assert_eq!(trials.len(), 1);
    let trial = trials.remove(0);
    (trial.rows, trial.key.map(|lease| *lease.expose()))
}

fn a_key_that_a_fence_covers_is_found_and_given(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let ada = provision(&*store, ONE, "ada", "default").unwrap();
    let secret = bytes(&*store, ONE, &ada).unwrap();
    store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
    let check = |store: &dyn KeyStore| {
        assert_eq!(bytes(store, ONE, &ada), Err(Refusal::Erasing(request(1))));
        assert_eq!(tried(store, &Places::default(), &ada), (1, Some(secret)));
        assert_eq!(
            bytes(store, ONE, &ada),
            Err(Refusal::Erasing(request(1))),
            "nothing is kept of a trial"
        );
    };
    check(&*store);
    check(&*reopen(Some(store)));
}

fn of_a_destroyed_key_nothing_is_found(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&*store, ONE, subject, "default").unwrap());
    let kept = provision(&*store, ONE, "bob", "invoice").unwrap();
    let orders = [order(1, ada.handle, None), order(2, bob.handle, Some(&["default"]))];
    store.fence(ONE, &orders).unwrap();
    let places = store.destroy(ONE, &orders, 1, &AT_ONCE).unwrap().places;
    assert_eq!(places.len(), 2);
    for (key, place) in [&ada, &bob].into_iter().zip(&places) {
        assert_eq!(
            (tried(&*store, place, key), tried(&*store, &Places::default(), key)),
            ((0, None), (0, None))
        );
    }
    let secret = bytes(&*store, ONE, &kept).unwrap();
    assert_eq!(
        tried(&*store, &places[1], &kept),
        (1, Some(secret)),
        "it looks where the person was"
    );
    let store = reopen(Some(store));
    assert_eq!(destroy(&*store, ONE, &orders, 1).unwrap(), (2, 1));
    let again = store.destroy(ONE, &orders, 1, &AT_ONCE).unwrap().places;
    assert_eq!(
        tried(&*store, &again[1], &kept),
        (1, Some(secret)),
        "and everywhere, if that is not known"
    );
}
