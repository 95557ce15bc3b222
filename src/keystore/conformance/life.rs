//! The contract of what happens between a key's making and its end: withheld for a time, opened again, suppressed.

use std::sync::Arc;

use super::keystore::{AT_ONCE, ONE, Reopen, TWO, Test, bytes, id, order, provision, request};
use crate::keystore::{
    KeyRef, KeyStore, Refusal, Reopened, Resolution, SubjectState, Suppression, Withheld, Withholding,
};
use crate::spec::ids::{Handle, Timestamp};

/// Runs all of them; each on a new store.
pub(crate) fn all(fresh: &dyn Fn(Test<'_>)) {
    fresh(&what_is_restricted_is_sealed_with_and_not_opened);
    fresh(&what_is_in_its_grace_is_neither_and_comes_back);
    fresh(&withholding_waits_for_leases);
    fresh(&a_fence_counts_before_what_is_withheld);
    fresh(&a_reopened_category_has_a_new_key_and_the_old_generation_stays_erased);
    fresh(&a_reopening_is_over_the_erasures_that_it_names_only);
    fresh(&an_erased_person_is_reopened_in_two_steps);
    fresh(&suppressions_end_when_they_were_to_or_are_never_written);
    fresh(&holders_are_those_with_a_key_of_the_category);
}

fn withholding(n: u8, handle: Handle, categories: Option<&[&str]>, why: Withheld) -> Withholding {
    let order = order(n, handle, categories);
    Withholding {
        id: order.request,
        handle,
        categories: order.categories,
        why,
    }
}

fn seals(store: &dyn KeyStore, key: &KeyRef) -> Result<[u8; 32], Refusal> {
    store.sealing_key(ONE, key).unwrap().map(|lease| *lease.expose())
}

fn what_is_restricted_is_sealed_with_and_not_opened(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let invoice = provision(&*store, ONE, "ada", "invoice").unwrap();
    let other = provision(&*store, ONE, "ada", "other").unwrap();
    let bob = provision(&*store, ONE, "bob", "invoice").unwrap();
    let secret = bytes(&*store, ONE, &invoice).unwrap();
    let of_invoice = withholding(1, invoice.handle, Some(&["invoice"]), Withheld::Restricted);
    store.withhold(ONE, std::slice::from_ref(&of_invoice)).unwrap();
    store.withhold(ONE, std::slice::from_ref(&of_invoice)).unwrap();
    let check = |store: &dyn KeyStore| {
        assert_eq!(bytes(store, ONE, &invoice), Err(Refusal::Restricted));
        assert_eq!(seals(store, &invoice), Ok(secret));
        assert!(bytes(store, ONE, &other).is_ok() && bytes(store, ONE, &bob).is_ok());
        assert_eq!(store.state(ONE, invoice.handle).unwrap(), SubjectState::Active);
        assert_eq!(store.withheld(ONE), std::slice::from_ref(&of_invoice));
        assert_eq!(store.withheld(TWO), []);
    };
    check(&*store);
    let store = reopen(Some(store));
    check(&*store);
    // The whole person, with categories never seen.
    let whole = withholding(2, invoice.handle, None, Withheld::Restricted);
    store.withhold(ONE, &[whole]).unwrap();
    let new = provision(&*store, ONE, "ada", "new").unwrap();
    assert_eq!(bytes(&*store, ONE, &new), Err(Refusal::Restricted));
    assert!(seals(&*store, &new).is_ok());
    assert_eq!(store.state(ONE, invoice.handle).unwrap(), SubjectState::Restricted);
    for n in [2, 2, 9] {
        store.give_back(ONE, request(n)).unwrap();
    }
    assert_eq!(
        bytes(&*store, ONE, &invoice),
        Err(Refusal::Restricted),
        "the first one stays"
    );
    store.give_back(ONE, request(1)).unwrap();
    let store = reopen(Some(store));
    assert_eq!(bytes(&*store, ONE, &invoice), Ok(secret));
    assert_eq!(store.withheld(ONE), []);
}

fn what_is_in_its_grace_is_neither_and_comes_back(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "invoice").unwrap();
    let secret = bytes(&*store, ONE, &key).unwrap();
    store
        .withhold(ONE, &[withholding(1, key.handle, None, Withheld::Grace)])
        .unwrap();
    let refused = Refusal::Erasing(request(1));
    let check = |store: &dyn KeyStore| {
        assert_eq!(bytes(store, ONE, &key), Err(refused));
        assert_eq!(seals(store, &key), Err(refused));
        assert_eq!(provision(store, ONE, "ada", "invoice"), Err(refused));
        assert_eq!(provision(store, ONE, "ada", "new"), Err(refused));
        assert_eq!(store.state(ONE, key.handle).unwrap(), SubjectState::Erasing(request(1)));
        assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Known(key.handle));
        // A hold asks what there is to hold.
        assert_eq!(store.keys_of(ONE, key.handle).unwrap(), std::slice::from_ref(&key));
    };
    check(&*store);
    let store = reopen(Some(store));
    check(&*store);
    store.give_back(ONE, request(1)).unwrap();
    assert_eq!(bytes(&*store, ONE, &key), Ok(secret));
    assert_eq!(provision(&*store, ONE, "ada", "invoice"), Ok(key));
}

fn withholding_waits_for_leases(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "invoice").unwrap();
    let lease = store.key(ONE, &key).unwrap().ok();
    let other = Arc::clone(&store);
    let handle = key.handle;
    let withhold = std::thread::spawn(move || {
        let restriction = withholding(1, handle, None, Withheld::Restricted);
        other.withhold(ONE, &[restriction]).unwrap();
    });
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(!withhold.is_finished());
    drop(lease);
    withhold.join().unwrap();
    assert_eq!(bytes(&*store, ONE, &key), Err(Refusal::Restricted));
}

fn a_fence_counts_before_what_is_withheld(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "invoice").unwrap();
    for (n, why) in [(1, Withheld::Restricted), (2, Withheld::Grace)] {
        store.withhold(ONE, &[withholding(n, key.handle, None, why)]).unwrap();
    }
    let order = order(2, key.handle, None);
    store.fence(ONE, std::slice::from_ref(&order)).unwrap();
    store.destroy(ONE, &[order], 7, &AT_ONCE).unwrap();
    assert_eq!(bytes(&*store, ONE, &key), Err(Refusal::Erased(Some(request(2)))));
    store.give_back(ONE, request(2)).unwrap();
    store.give_back(ONE, request(1)).unwrap();
    assert_eq!(bytes(&*store, ONE, &key), Err(Refusal::Erased(Some(request(2)))));
}

fn erase(store: &dyn KeyStore, n: u8, handle: Handle, categories: Option<&[&str]>) {
    let order = order(n, handle, categories);
    store.fence(ONE, std::slice::from_ref(&order)).unwrap();
    store.destroy(ONE, &[order], u64::from(n), &AT_ONCE).unwrap();
}

fn reopened(handle: Handle, generation: u32, over: &[u8]) -> Reopened {
    Reopened {
        handle,
        category: "invoice".parse().unwrap(),
        generation,
        over: over.iter().copied().map(request).collect(),
    }
}

fn reopen_one(store: &dyn KeyStore, reopened: Reopened) {
    assert_eq!(
        store.reopen_categories(ONE, std::slice::from_ref(&reopened)).unwrap(),
        [reopened]
    );
}

fn a_reopened_category_has_a_new_key_and_the_old_generation_stays_erased(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let first = provision(&*store, ONE, "ada", "invoice").unwrap();
    erase(&*store, 1, first.handle, Some(&["invoice"]));
    assert_eq!(
        provision(&*store, ONE, "ada", "invoice"),
        Err(Refusal::Erased(Some(request(1))))
    );
    let reopen_all = |all: &[Reopened]| store.reopen_categories(ONE, all).unwrap();
    let newest = reopened(first.handle, 5, &[1]);
    assert_eq!(reopen_all(std::slice::from_ref(&newest)), [newest]);
    // An older one does not turn it back, and a repeat opens nothing.
    assert_eq!(
        reopen_all(&[2, 5].map(|generation| reopened(first.handle, generation, &[1]))),
        []
    );
    let second = provision(&*store, ONE, "ada", "invoice").unwrap();
    assert_eq!((second.handle, second.generation), (first.handle, 5));
    let secret = bytes(&*store, ONE, &second).unwrap();
    let store = reopen(Some(store));
    assert_eq!(bytes(&*store, ONE, &second), Ok(secret));
    assert_eq!(provision(&*store, ONE, "ada", "invoice"), Ok(second.clone()));
    assert_eq!(bytes(&*store, ONE, &first), Err(Refusal::Erased(Some(request(1)))));
    assert_eq!(store.keys_of(ONE, first.handle).unwrap(), [second]);
    assert_eq!(store.reopened(ONE), [reopened(first.handle, 5, &[1])]);
    assert_eq!(store.reopened_of(ONE, first.handle), store.reopened(ONE));
    assert_eq!(store.fences_of(ONE, first.handle), store.fences(ONE).unwrap());
    assert_eq!(store.reopened_of(ONE, Handle([9; 16])), []);
}

fn a_reopening_is_over_the_erasures_that_it_names_only(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let first = provision(&*store, ONE, "ada", "invoice").unwrap();
    erase(&*store, 1, first.handle, Some(&["invoice"]));
    reopen_one(&*store, reopened(first.handle, 2, &[1]));
    let second = provision(&*store, ONE, "ada", "invoice").unwrap();
    erase(&*store, 2, first.handle, Some(&["invoice"]));
    let store = reopen(Some(store));
    assert_eq!(bytes(&*store, ONE, &second), Err(Refusal::Erased(Some(request(2)))));
    assert_eq!(
        provision(&*store, ONE, "ada", "invoice"),
        Err(Refusal::Erased(Some(request(2))))
    );
    // The whole person is never opened again under this handle, whatever a reopening names.
    reopen_one(&*store, reopened(first.handle, 3, &[1, 2]));
    let third = provision(&*store, ONE, "ada", "invoice").unwrap();
    erase(&*store, 3, first.handle, None);
    reopen_one(&*store, reopened(first.handle, 4, &[1, 2, 3]));
    let fourth = KeyRef {
        generation: 4,
        ..third.clone()
    };
    assert_eq!(bytes(&*store, ONE, &fourth), Err(Refusal::Erased(Some(request(3)))));
    assert!(matches!(bytes(&*store, ONE, &third), Err(Refusal::Erased(Some(_)))));
}

fn an_erased_person_is_reopened_in_two_steps(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let ada = id("ada");
    let nobody = store.prepare_reopening(ONE, request(8), &ada).unwrap();
    assert_eq!(nobody, Resolution::Unknown);
    let first = provision(&*store, ONE, "ada", "invoice").unwrap();
    let living = store.prepare_reopening(ONE, request(8), &ada).unwrap();
    assert_eq!(living, Resolution::Known(first.handle));
    assert!(store.noted_reopenings(ONE).unwrap().is_empty());
    erase(&*store, 1, first.handle, None);
    for n in [8, 9, 10] {
        assert_eq!(
            store.prepare_reopening(ONE, request(n), &ada).unwrap(),
            Resolution::Erased
        );
    }
    // Noted, without effect.
    let store = reopen(Some(store));
    assert_eq!(
        store.noted_reopenings(ONE).unwrap(),
        [request(8), request(9), request(10)]
    );
    assert_eq!(store.resolve(ONE, &ada).unwrap(), Resolution::Erased);
    store.settle_reopening(ONE, request(8), false).unwrap();
    assert_eq!(store.resolve(ONE, &ada).unwrap(), Resolution::Erased);
    store.settle_reopening(ONE, request(9), true).unwrap();
    store.settle_reopening(ONE, request(9), true).unwrap();
    assert!(store.noted_reopenings(ONE).unwrap().is_empty());
    assert_eq!(store.resolve(ONE, &ada).unwrap(), Resolution::Unknown);
    let second = provision(&*store, ONE, "ada", "invoice").unwrap();
    assert_ne!(second.handle, first.handle);
    assert_eq!(bytes(&*store, ONE, &first), Err(Refusal::Erased(Some(request(1)))));
    // And erased again: what was noted before, and went with the act that lifted the suppression, lifts this one no more.
    erase(&*store, 2, second.handle, None);
    store.settle_reopening(ONE, request(10), true).unwrap();
    assert_eq!(store.resolve(ONE, &ada).unwrap(), Resolution::Erased);
}

fn suppressions_end_when_they_were_to_or_are_never_written(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let until = |time| Suppression::Until(Timestamp(time));
    for (n, subject, suppression) in [
        (1, "a", until(1_000)),
        (2, "b", until(2_000)),
        (3, "c", Suppression::None),
        (4, "d", Suppression::Forever),
    ] {
        let key = provision(&*store, ONE, subject, "invoice").unwrap();
        store.suppress(ONE, request(n), suppression).unwrap();
        erase(&*store, n, key.handle, None);
    }
    let found = |store: &dyn KeyStore| ["a", "b", "c", "d"].map(|subject| store.resolve(ONE, &id(subject)).unwrap());
    use Resolution::{Erased, Unknown};
    assert_eq!(found(&*store), [Erased, Erased, Unknown, Erased]);
    assert_eq!(store.forget_suppressed(ONE, Timestamp(999)).unwrap(), 0);
    let store = reopen(Some(store));
    assert_eq!(store.forget_suppressed(ONE, Timestamp(1_000)).unwrap(), 1);
    assert_eq!(store.forget_suppressed(TWO, Timestamp(u64::MAX)).unwrap(), 0);
    assert_eq!(found(&*store), [Unknown, Erased, Unknown, Erased]);
    assert_eq!(store.forget_suppressed(ONE, Timestamp(u64::MAX)).unwrap(), 1);
    assert_eq!(found(&*store), [Unknown, Unknown, Unknown, Erased]);
}

fn holders_are_those_with_a_key_of_the_category(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let mut expected: Vec<_> = ["a", "b", "c"]
        .map(|subject| provision(&*store, ONE, subject, "invoice").unwrap().handle)
        .to_vec();
    provision(&*store, ONE, "a", "invoice2").unwrap();
    provision(&*store, ONE, "d", "inv").unwrap();
    provision(&*store, TWO, "e", "invoice").unwrap();
    let gone = expected.pop().unwrap();
    erase(&*store, 1, gone, Some(&["invoice"]));
    let mut holders = store.holders(ONE, &"invoice".parse().unwrap()).unwrap();
    holders.sort_unstable();
    expected.sort_unstable();
    assert_eq!(holders, expected);
}
