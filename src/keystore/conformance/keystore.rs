//! The contract of a key store. `reopen` closes and opens the same store again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use crate::env::System;
use crate::keystore::vault::{Epoch, EpochState, Vault};
use crate::keystore::{
    Destroyed, EpochChange, ErasureOrder, Fence, Horizon, KeyRef, KeyStore, KeyStoreError, Refusal, Remains, RequestId,
    Resolution, SubjectState, Wanted,
};
use crate::spec::ids::{Handle, LedgerId, SubjectId, Timestamp};

pub(crate) const ONE: LedgerId = LedgerId([1; 16]);
pub(crate) const TWO: LedgerId = LedgerId([2; 16]);

/// A store with ledgers [`ONE`] and [`TWO`], and how to close and open it again.
pub(crate) type Reopen<'a> = &'a dyn Fn(Option<Arc<dyn KeyStore>>) -> Arc<dyn KeyStore>;

/// One test.
pub(crate) type Test<'a> = &'a dyn Fn(Arc<dyn KeyStore>, Reopen<'_>);

/// Runs all of them; each on a new store.
pub(crate) fn all(fresh: &dyn Fn(Test<'_>)) {
    fresh(&what_was_minted_is_found_again);
    fresh(&answers_have_the_order_of_the_question);
    fresh(&ledgers_and_subjects_and_categories_have_keys_of_their_own);
    fresh(&a_handle_alone_has_no_keys);
    fresh(&handles_come_in_the_order_asked_and_one_for_each_person);
    fresh(&an_unknown_key_is_unavailable_and_not_erased);
    fresh(&who_is_new_is_forgotten_or_confirmed);
    fresh(&an_unknown_ledger_is_refused);
    fresh(&a_fenced_subject_is_refused_in_every_category);
    fresh(&a_fenced_category_leaves_the_others);
    fresh(&destroying_needs_a_fence_of_the_same_scope);
    fresh(&a_destroyed_subject_leads_nowhere);
    fresh(&a_destroyed_category_stays_refused);
    fresh(&fences_only_get_stronger);
    fresh(&destroying_again_gives_the_same_counts_and_never_moves_the_mark_back);
    fresh(&a_failed_destruction_destroys_nothing);
    fresh(&eight_threads_get_one_handle_each_for_a_thousand_subjects);
    fresh(&a_fence_waits_for_leases_and_nothing_is_lent_after_it);
    fresh(&a_thread_with_a_lease_gets_another_while_a_fence_waits);
    fresh(&nothing_is_minted_after_a_fence_returned);
    fresh(&every_destruction_changes_the_epoch_and_the_old_key_goes);
    fresh(&several_orders_go_in_one_change_of_epoch);
    fresh(&an_epoch_with_a_backup_is_retired_until_the_horizon);
    fresh(&an_epoch_changes_without_an_erasure_and_every_key_stays_what_it_is);
    fresh(&the_next_generation_seals_and_the_last_one_still_opens);
    fresh(&new_keys_and_changes_of_epoch_do_not_get_in_each_others_way);
}

pub(crate) fn id(subject: &str) -> SubjectId {
    subject.parse().unwrap()
}

fn handle_of(store: &dyn KeyStore, subject: &str) -> Result<Handle, Refusal> {
    store.provision_handles(ONE, &[id(subject)]).unwrap().remove(0)
}

pub(crate) fn want(subject: &str, category: &str) -> Wanted {
    Wanted {
        subject: id(subject),
        category: category.parse().unwrap(),
    }
}

pub(crate) fn provision(
    store: &dyn KeyStore,
    ledger: LedgerId,
    subject: &str,
    category: &str,
) -> Result<KeyRef, Refusal> {
    store
        .provision(ledger, &[want(subject, category)])
        .unwrap()
        .pop()
        .unwrap()
}

pub(crate) fn order(request: u8, handle: Handle, categories: Option<&[&str]>) -> ErasureOrder {
    let categories = categories.map(|names| names.iter().map(|name| name.parse().unwrap()).collect());
    ErasureOrder {
        request: RequestId::from_bytes([request; 16]),
        handle,
        categories,
    }
}

/// Old epoch keys go at once.
pub(crate) const AT_ONCE: Horizon<'static> = Horizon {
    clock: &System,
    length: Duration::ZERO,
};

/// Subject keys and identities that the orders destroyed, all together.
pub(crate) fn destroy(
    store: &dyn KeyStore,
    ledger: LedgerId,
    orders: &[ErasureOrder],
    mark: u64,
) -> Result<(u64, u64), KeyStoreError> {
    let done = store.destroy(ledger, orders, mark, &AT_ONCE)?;
    assert_eq!(done.left, Remains::default());
    assert!(done.deleted_at <= done.destroyed_at);
    let sum = |(keys, identities), order: &Destroyed| (keys + order.keys, identities + order.identities);
    Ok(done.orders.iter().fold((0, 0), sum))
}

pub(crate) fn request(n: u8) -> RequestId {
    RequestId::from_bytes([n; 16])
}

/// The key's bytes, or why there are none.
pub(crate) fn bytes(store: &dyn KeyStore, ledger: LedgerId, key: &KeyRef) -> Result<[u8; 32], Refusal> {
    store.key(ledger, key).unwrap().map(|lease| *lease.expose())
}

fn what_was_minted_is_found_again(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    assert_eq!(key.generation, 1);
    let secret = bytes(&*store, ONE, &key).unwrap();
    assert_ne!(secret, [0; 32]);
    let check = |store: &dyn KeyStore| {
        store.create_ledger(ONE, Timestamp(1)).unwrap();
        assert_eq!(bytes(store, ONE, &key).unwrap(), secret);
        assert_eq!(provision(store, ONE, "ada", "default").unwrap(), key);
        assert_eq!(handle_of(store, "ada").unwrap(), key.handle);
        assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Known(key.handle));
        assert_eq!(store.state(ONE, key.handle).unwrap(), SubjectState::Active);
        assert_eq!(store.keys_of(ONE, key.handle).unwrap(), std::slice::from_ref(&key));
    };
    check(&*store);
    check(&*reopen(Some(store)));
}

fn answers_have_the_order_of_the_question(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let known = provision(&*store, ONE, "b", "default").unwrap();
    let erased = provision(&*store, ONE, "e", "default").unwrap();
    store.fence(ONE, &[order(1, erased.handle, None)]).unwrap();
    let wanted = [
        want("a", "x"),
        want("b", "default"),
        want("e", "x"),
        want("a", "x"),
        want("c", "x"),
        want("a", "y"),
    ];
    let answers = store.provision(ONE, &wanted).unwrap();
    assert_eq!(answers[1], Ok(known));
    assert_eq!(answers[2], Err(Refusal::Erasing(request(1))));
    assert_eq!(answers[0], answers[3], "the same pair twice is one key");
    let handle = |n: usize| answers[n].as_ref().unwrap().handle;
    assert_eq!(handle(0), handle(5), "one subject, one handle");
    assert_ne!(handle(0), handle(4));
    assert_eq!(answers[5].as_ref().unwrap().category.as_str(), "y");
    assert_eq!(store.provision(ONE, &wanted).unwrap(), answers);
    assert_eq!(store.provision(ONE, &[]).unwrap(), []);
}

fn ledgers_and_subjects_and_categories_have_keys_of_their_own(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let (mut handles, mut secrets) = (BTreeSet::new(), BTreeSet::new());
    for ledger in [ONE, TWO] {
        for subject in ["ada", "bob"] {
            for category in ["default", "invoice"] {
                let key = provision(&*store, ledger, subject, category).unwrap();
                handles.insert(key.handle);
                secrets.insert(bytes(&*store, ledger, &key).unwrap());
            }
        }
    }
    assert_eq!((handles.len(), secrets.len()), (4, 8));
}

fn handles_come_in_the_order_asked_and_one_for_each_person(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let ben = handle_of(&*store, "ben").unwrap();
    let people = ["ada", "ben", "ada", "eve"].map(id);
    let handles = store.provision_handles(ONE, &people).unwrap();
    let [ada, again, twice, eve] = handles.try_into().unwrap();
    assert_eq!((again, twice.unwrap()), (Ok(ben), ada.unwrap()));
    assert!(ada != Ok(ben) && eve != Ok(ben) && ada != eve);
    assert_eq!(store.provision_handles(ONE, &[]).unwrap(), []);
}

fn a_handle_alone_has_no_keys(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let handle = handle_of(&*store, "ada").unwrap();
    assert_eq!(store.keys_of(ONE, handle).unwrap(), []);
    assert_eq!(store.state(ONE, handle).unwrap(), SubjectState::Active);
    assert_eq!(provision(&*store, ONE, "ada", "default").unwrap().handle, handle);
}

fn who_is_new_is_forgotten_or_confirmed(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let keys: Vec<_> = (0..5)
        .map(|n| provision(&*store, ONE, &format!("new-{n}"), "c").unwrap())
        .collect();
    let actor = handle_of(&*store, "actor").unwrap();
    let mut new = store.new_handles(ONE, None, 10).unwrap();
    let mut all: Vec<_> = keys.iter().map(|key| key.handle).chain([actor]).collect();
    all.sort();
    assert_eq!(new, all);
    assert_eq!(store.new_handles(TWO, None, 10).unwrap(), []);
    let first = store.new_handles(ONE, None, 2).unwrap();
    assert_eq!(
        (&first[..], &new[2..]),
        (&all[..2], &store.new_handles(ONE, Some(all[1]), 10).unwrap()[..])
    );

    // One is confirmed, one fenced: both stay, whatever is asked. The others go, with their keys.
    store.confirm(ONE, &[keys[0].handle]).unwrap();
    store.fence(ONE, &[order(1, keys[1].handle, Some(&["c"]))]).unwrap();
    assert_eq!(store.forget_new(ONE, &all).unwrap(), 4);
    let store = reopen(Some(store));
    assert!(bytes(&*store, ONE, &keys[0]).is_ok());
    assert_eq!(store.state(ONE, keys[1].handle).unwrap(), SubjectState::Active);
    for n in 2..5 {
        assert_eq!(
            store.resolve(ONE, &id(&format!("new-{n}"))).unwrap(),
            Resolution::Unknown
        );
        assert_eq!(bytes(&*store, ONE, &keys[n]), Err(Refusal::Unavailable));
        assert_eq!(store.keys_of(ONE, keys[n].handle).unwrap(), []);
    }
    assert_eq!(store.census(ONE).unwrap().active, 2);
    new = store.new_handles(ONE, None, 10).unwrap();
    assert_eq!(new, [keys[1].handle]);

    // Not suppressed: the next append mints another handle.
    let again = provision(&*store, ONE, "new-2", "c").unwrap();
    assert_ne!(again.handle, keys[2].handle);
    assert_eq!(store.forget_new(ONE, &[Handle([9; 16])]).unwrap(), 0);
}

fn an_unknown_key_is_unavailable_and_not_erased(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    let nobody = KeyRef {
        handle: Handle([9; 16]),
        ..key.clone()
    };
    let later = KeyRef {
        generation: 2,
        ..key.clone()
    };
    let elsewhere = KeyRef {
        category: "invoice".parse().unwrap(),
        ..key.clone()
    };
    for unknown in [&nobody, &later, &elsewhere] {
        assert_eq!(bytes(&*store, ONE, unknown), Err(Refusal::Unavailable));
    }
    assert_eq!(
        bytes(&*store, TWO, &key),
        Err(Refusal::Unavailable),
        "a key of another ledger"
    );
    assert_eq!(store.resolve(ONE, &id("nobody")).unwrap(), Resolution::Unknown);
    assert_eq!(store.state(ONE, Handle([9; 16])).unwrap(), SubjectState::Unknown);
    assert_eq!(store.keys_of(ONE, Handle([9; 16])).unwrap(), []);
}

fn an_unknown_ledger_is_refused(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let unknown = LedgerId([9; 16]);
    assert!(store.provision(unknown, &[want("ada", "default")]).is_err());
    assert!(store.resolve(unknown, &id("ada")).is_err());
    assert!(store.fence(unknown, &[order(1, Handle([1; 16]), None)]).is_err());
}

fn a_fenced_subject_is_refused_in_every_category(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    let bob = provision(&*store, ONE, "bob", "default").unwrap();
    let whole = order(7, key.handle, None);
    store.fence(ONE, std::slice::from_ref(&whole)).unwrap();
    store.fence(ONE, std::slice::from_ref(&whole)).unwrap();
    let erasing = Refusal::Erasing(request(7));
    let check = |store: &dyn KeyStore| {
        assert_eq!(bytes(store, ONE, &key), Err(erasing));
        assert_eq!(provision(store, ONE, "ada", "default"), Err(erasing));
        assert_eq!(provision(store, ONE, "ada", "never-seen"), Err(erasing));
        assert_eq!(handle_of(store, "ada"), Err(erasing));
        assert_eq!(store.state(ONE, key.handle).unwrap(), SubjectState::Erasing(request(7)));
        assert_eq!(store.keys_of(ONE, key.handle).unwrap(), []);
        assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Known(key.handle));
        assert_eq!(
            store.fences(ONE).unwrap(),
            [Fence {
                order: whole.clone(),
                destroyed: None
            }]
        );
        assert_eq!(store.fences(TWO).unwrap(), []);
        assert!(bytes(store, ONE, &bob).is_ok());
    };
    check(&*store);
    check(&*reopen(Some(store)));
}

fn a_fenced_category_leaves_the_others(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let [marketing, invoice] = ["marketing", "invoice"].map(|c| provision(&*store, ONE, "ada", c).unwrap());
    store
        .fence(ONE, &[order(1, marketing.handle, Some(&["marketing", "never-seen"]))])
        .unwrap();
    assert_eq!(bytes(&*store, ONE, &marketing), Err(Refusal::Erasing(request(1))));
    assert_eq!(
        provision(&*store, ONE, "ada", "never-seen"),
        Err(Refusal::Erasing(request(1)))
    );
    assert!(bytes(&*store, ONE, &invoice).is_ok());
    assert!(provision(&*store, ONE, "ada", "another").is_ok());
    assert_eq!(store.state(ONE, invoice.handle).unwrap(), SubjectState::Active);
    assert_eq!(handle_of(&*store, "ada"), Ok(invoice.handle));
}

fn destroying_needs_a_fence_of_the_same_scope(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    let named = order(1, key.handle, Some(&["invoice"]));
    store.fence(ONE, std::slice::from_ref(&named)).unwrap();
    for unfenced in [
        order(1, key.handle, None),
        order(2, key.handle, Some(&["invoice"])),
        order(1, Handle([9; 16]), None),
    ] {
        assert!(destroy(&*store, ONE, &[named.clone(), unfenced], 5).is_err());
    }
    assert!(
        store.fence(ONE, &[order(1, key.handle, None)]).is_err(),
        "a request does not change its scope"
    );
    assert_eq!(store.applied(ONE).unwrap(), None);
    assert!(bytes(&*store, ONE, &key).is_ok());
}

fn a_destroyed_subject_leads_nowhere(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    provision(&*store, ONE, "ada", "invoice").unwrap();
    let elsewhere = provision(&*store, TWO, "ada", "default").unwrap();
    let whole = order(3, key.handle, None);
    store.fence(ONE, std::slice::from_ref(&whole)).unwrap();
    let destroyed = destroy(&*store, ONE, std::slice::from_ref(&whole), 41).unwrap();
    assert_eq!(destroyed, (2, 1));
    let check = |store: &dyn KeyStore| {
        assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Erased);
        assert_eq!(provision(store, ONE, "ada", "default"), Err(Refusal::Erased(None)));
        assert_eq!(handle_of(store, "ada"), Err(Refusal::Erased(None)));
        assert_eq!(bytes(store, ONE, &key), Err(Refusal::Erased(Some(request(3)))));
        assert_eq!(store.state(ONE, key.handle).unwrap(), SubjectState::Erased(request(3)));
        assert_eq!(store.keys_of(ONE, key.handle).unwrap(), []);
        assert_eq!(
            store.fences(ONE).unwrap(),
            [Fence {
                order: whole.clone(),
                destroyed: Some(Destroyed {
                    keys: 2,
                    identities: 1,
                    from: 1,
                    to: 2
                })
            }]
        );
        assert_eq!(store.applied(ONE).unwrap(), Some(41));
        assert_eq!(store.applied(TWO).unwrap(), None);
        assert!(bytes(store, TWO, &elsewhere).is_ok(), "an erasure covers one ledger");
        assert_eq!(
            store.resolve(TWO, &id("ada")).unwrap(),
            Resolution::Known(elsewhere.handle)
        );
    };
    check(&*store);
    check(&*reopen(Some(store)));
}

fn a_destroyed_category_stays_refused(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let [marketing, invoice] = ["marketing", "invoice"].map(|c| provision(&*store, ONE, "ada", c).unwrap());
    let named = order(4, marketing.handle, Some(&["marketing"]));
    store.fence(ONE, std::slice::from_ref(&named)).unwrap();
    assert_eq!(destroy(&*store, ONE, &[named], 1).unwrap(), (1, 0));
    let check = |store: &dyn KeyStore| {
        let erased = Err(Refusal::Erased(Some(request(4))));
        assert_eq!(provision(store, ONE, "ada", "marketing"), erased);
        assert_eq!(bytes(store, ONE, &marketing).map(drop), erased.clone().map(drop));
        assert!(bytes(store, ONE, &invoice).is_ok());
        assert_eq!(
            store.keys_of(ONE, invoice.handle).unwrap(),
            std::slice::from_ref(&invoice)
        );
        assert_eq!(
            store.resolve(ONE, &id("ada")).unwrap(),
            Resolution::Known(invoice.handle)
        );
        assert_eq!(store.state(ONE, invoice.handle).unwrap(), SubjectState::Active);
    };
    check(&*store);
    check(&*reopen(Some(store)));
}

fn fences_only_get_stronger(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let [marketing, invoice] = ["marketing", "invoice"].map(|c| provision(&*store, ONE, "ada", c).unwrap());
    let handle = invoice.handle;
    let (part, whole, late) = (
        order(1, handle, Some(&["marketing"])),
        order(2, handle, None),
        order(3, handle, None),
    );
    store.fence(ONE, std::slice::from_ref(&part)).unwrap();
    destroy(&*store, ONE, std::slice::from_ref(&part), 1).unwrap();
    store.fence(ONE, std::slice::from_ref(&whole)).unwrap();
    assert_eq!(bytes(&*store, ONE, &marketing), Err(Refusal::Erased(Some(request(1)))));
    assert_eq!(bytes(&*store, ONE, &invoice), Err(Refusal::Erasing(request(2))));
    assert_eq!(destroy(&*store, ONE, std::slice::from_ref(&whole), 2).unwrap(), (1, 1));
    store.fence(ONE, &[part, whole.clone(), late.clone()]).unwrap();
    let store = reopen(Some(store));
    assert_eq!(store.state(ONE, handle).unwrap(), SubjectState::Erased(request(2)));
    assert_eq!(destroy(&*store, ONE, &[late], 3).unwrap(), (0, 0));
    assert_eq!(store.state(ONE, handle).unwrap(), SubjectState::Erased(request(2)));
    assert!(store.fences(ONE).unwrap().iter().all(|fence| fence.destroyed.is_some()));
}

fn destroying_again_gives_the_same_counts_and_never_moves_the_mark_back(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&*store, ONE, subject, "default").unwrap());
    let (first, second) = (order(1, ada.handle, None), order(2, bob.handle, None));
    store.fence(ONE, &[first.clone(), second.clone()]).unwrap();
    assert_eq!(destroy(&*store, ONE, std::slice::from_ref(&first), 10).unwrap().0, 1);
    let one = (1, 1);
    assert_eq!(destroy(&*store, ONE, std::slice::from_ref(&first), 10).unwrap(), one);
    // One order given twice, one repeated: each is answered with its own count.
    let orders = [second.clone(), first.clone(), second];
    assert_eq!(destroy(&*store, ONE, &orders, 12).unwrap(), (3, 3));
    let store = reopen(Some(store));
    assert_eq!(destroy(&*store, ONE, std::slice::from_ref(&first), 10).unwrap(), one);
    assert_eq!(store.remains(ONE, &first).unwrap(), Remains::default());
    assert_eq!(store.applied(ONE).unwrap(), Some(12));
    let nobody = order(9, Handle([9; 16]), None);
    store.fence(ONE, std::slice::from_ref(&nobody)).unwrap();
    assert_eq!(
        destroy(&*store, ONE, &[nobody], 13).unwrap(),
        (0, 0),
        "a subject never seen here"
    );
    assert_eq!(
        store.state(ONE, Handle([9; 16])).unwrap(),
        SubjectState::Erased(request(9))
    );
}

fn a_failed_destruction_destroys_nothing(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&*store, ONE, subject, "default").unwrap());
    let (fenced, unfenced) = (order(1, ada.handle, None), order(1, bob.handle, None));
    store.fence(ONE, std::slice::from_ref(&fenced)).unwrap();
    assert!(destroy(&*store, ONE, &[fenced.clone(), unfenced], 1).is_err());
    assert_eq!(store.state(ONE, ada.handle).unwrap(), SubjectState::Erasing(request(1)));
    assert_eq!(destroy(&*store, ONE, &[fenced], 1).unwrap(), (1, 1));
    assert!(bytes(&*store, ONE, &bob).is_ok());
}

fn eight_threads_get_one_handle_each_for_a_thousand_subjects(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let subjects: Vec<_> = (0..1_000).map(|n| format!("subject-{n}")).collect();
    let answers: Vec<Vec<KeyRef>> = std::thread::scope(|scope| {
        let workers = (0..8_usize).map(|worker| {
            let (store, subjects) = (&store, &subjects);
            scope.spawn(move || {
                let mut keys = vec![None; subjects.len()];
                // Each in another order, in groups of 20, so that they meet.
                let order: Vec<_> = (0..subjects.len())
                    .map(|n| (n * 7 + worker * 131) % subjects.len())
                    .collect();
                for group in order.chunks(20) {
                    let wanted: Vec<_> = group.iter().map(|n| want(&subjects[*n], "default")).collect();
                    for (n, key) in group.iter().zip(store.provision(ONE, &wanted).unwrap()) {
                        keys[*n] = Some(key.unwrap());
                    }
                }
                keys.into_iter().map(Option::unwrap).collect()
            })
        });
        workers
            .collect::<Vec<_>>()
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    assert!(answers.iter().all(|keys| *keys == answers[0]));
    assert_eq!(
        answers[0].iter().map(|key| key.handle).collect::<BTreeSet<_>>().len(),
        1_000
    );
    let store = reopen(Some(store));
    let again = |subject: &String| provision(&*store, ONE, subject, "default").unwrap();
    assert_eq!(subjects.iter().map(again).collect::<Vec<_>>(), answers[0]);
}

fn a_fence_waits_for_leases_and_nothing_is_lent_after_it(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    let (fenced, out) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let before = fenced.load(SeqCst);
                    match store.key(ONE, &key).unwrap() {
                        Ok(lease) => {
                            out.fetch_add(1, SeqCst);
                            assert!(!before, "a key was lent after the fence had returned");
                            std::thread::yield_now();
                            assert_ne!(lease.expose(), &[0; 32]);
                            assert!(!fenced.load(SeqCst), "the fence returned while a lease was out");
                            out.fetch_sub(1, SeqCst);
                        }
                        Err(refusal) => return assert_eq!(refusal, Refusal::Erasing(request(1))),
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(20));
        store.fence(ONE, &[order(1, key.handle, None)]).unwrap();
        assert_eq!(out.load(SeqCst), 0);
        fenced.store(true, SeqCst);
    });
}

fn a_thread_with_a_lease_gets_another_while_a_fence_waits(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&*store, ONE, subject, "default").unwrap());
    let lease = store.key(ONE, &ada).unwrap().unwrap();
    let returned = Arc::new(AtomicBool::new(false));
    let fence = std::thread::spawn({
        let (store, returned) = (Arc::clone(&store), Arc::clone(&returned));
        move || {
            store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
            returned.store(true, SeqCst);
        }
    });
    std::thread::sleep(Duration::from_millis(30));
    assert!(bytes(&*store, ONE, &bob).is_ok());
    assert!(provision(&*store, ONE, "carl", "default").is_ok());
    assert!(!returned.load(SeqCst), "a lease is out");
    drop(lease);
    fence.join().unwrap();
}

fn nothing_is_minted_after_a_fence_returned(store: Arc<dyn KeyStore>, _: Reopen<'_>) {
    let handle = handle_of(&*store, "ada").unwrap();
    let minted = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                let store = &store;
                scope.spawn(move || {
                    (0..)
                        .map(|n| provision(&**store, ONE, "ada", &format!("c{worker}-{n}")))
                        .take_while(Result::is_ok)
                        .count()
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(30));
        store.fence(ONE, &[order(1, handle, None)]).unwrap();
        let destroyed = destroy(&*store, ONE, &[order(1, handle, None)], 1).unwrap();
        let minted: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(destroyed.0, minted as u64, "every key minted was there to be destroyed");
        minted
    });
    assert!(minted > 0);
    assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Erased);
}

/// The numbers of the epochs whose keys the vault holds.
fn epochs(vault: &dyn Vault, ledger: LedgerId) -> Vec<Epoch> {
    vault.epochs(ledger).unwrap().iter().map(|key| key.epoch).collect()
}

fn every_destruction_changes_the_epoch_and_the_old_key_goes(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&*store, ONE, subject, "default").unwrap());
    let secret = bytes(&*store, ONE, &bob).unwrap();
    let order = order(1, ada.handle, None);
    store.fence(ONE, std::slice::from_ref(&order)).unwrap();
    destroy(&*store, ONE, std::slice::from_ref(&order), 1).unwrap();
    assert_eq!((store.epoch(ONE).unwrap(), epochs(&**store.vault(), ONE)), (2, vec![2]));
    assert_eq!((store.epoch(TWO).unwrap(), epochs(&**store.vault(), TWO)), (1, vec![1]));
    destroy(&*store, ONE, &[order], 1).unwrap();
    assert_eq!(store.epoch(ONE).unwrap(), 2, "what was done needs no other epoch");
    let store = reopen(Some(store));
    assert_eq!(store.epoch(ONE).unwrap(), 2);
    assert_eq!(bytes(&*store, ONE, &bob).unwrap(), secret);
    assert_eq!(provision(&*store, ONE, "bob", "default").unwrap(), bob);
}

fn several_orders_go_in_one_change_of_epoch(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let keys: Vec<_> = (0..40)
        .map(|n| provision(&*store, ONE, &format!("s-{n}"), "default").unwrap())
        .collect();
    let secrets: Vec<_> = keys.iter().map(|key| bytes(&*store, ONE, key).unwrap()).collect();
    let orders: Vec<_> = keys.iter().step_by(2).map(|key| order(1, key.handle, None)).collect();
    store.fence(ONE, &orders).unwrap();
    let done = store.destroy(ONE, &orders, 1, &AT_ONCE).unwrap();
    let each = Destroyed {
        keys: 1,
        identities: 1,
        from: 1,
        to: 2,
    };
    assert_eq!(done.orders, vec![each; 20]);
    let store = reopen(Some(store));
    for (n, (key, secret)) in keys.iter().zip(&secrets).enumerate() {
        let found = bytes(&*store, ONE, key);
        let subject = store.resolve(ONE, &id(&format!("s-{n}"))).unwrap();
        if n % 2 == 0 {
            assert_eq!(found, Err(Refusal::Erased(Some(request(1)))));
            assert_eq!(subject, Resolution::Erased);
        } else {
            assert_eq!(found, Ok(*secret));
            assert_eq!(subject, Resolution::Known(key.handle));
        }
    }
}

fn an_epoch_with_a_backup_is_retired_until_the_horizon(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let week = Horizon {
        length: Duration::from_secs(604_800),
        ..AT_ONCE
    };
    let [ada, bob] = ["ada", "bob"].map(|subject| order(1, handle_of(&*store, subject).unwrap(), None));
    assert_eq!(store.mark_backed_up(ONE, Timestamp(5)).unwrap(), 1);
    store.fence(ONE, &[ada.clone(), bob.clone()]).unwrap();
    let done = store.destroy(ONE, &[ada], 1, &week).unwrap();
    let retired = store.vault().epochs(ONE).unwrap()[0];
    let EpochState::Retired { since, until } = retired.state else {
        panic!("{retired:?}")
    };
    assert_eq!(until.0 - since.0, 604_800_000_000);
    assert!(since <= done.destroyed_at);
    // No backup was taken since: this one goes at once, and the retired one stays.
    store.destroy(ONE, &[bob], 2, &week).unwrap();
    assert_eq!(epochs(&**store.vault(), ONE), [1, 3]);
    let store = reopen(Some(store));
    store.settle_epochs(ONE, &AT_ONCE).unwrap();
    assert_eq!(
        epochs(&**store.vault(), ONE),
        [1, 3],
        "what is retired waits for its own time"
    );
    store.mark_backed_up(ONE, Timestamp(5)).unwrap();
    store.renew_epoch(ONE, &AT_ONCE).unwrap();
    assert_eq!(
        epochs(&**store.vault(), ONE),
        [1, 4],
        "with no horizon a backup is worth nothing"
    );
}

fn an_epoch_changes_without_an_erasure_and_every_key_stays_what_it_is(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let key = provision(&*store, ONE, "ada", "default").unwrap();
    let secret = bytes(&*store, ONE, &key).unwrap();
    let (change, _) = store.renew_epoch(ONE, &AT_ONCE).unwrap();
    assert_eq!(change, EpochChange { from: 1, to: 2 });
    let later = provision(&*store, ONE, "later", "default").unwrap();
    assert_eq!(
        store.renew_epoch(ONE, &AT_ONCE).unwrap().0,
        EpochChange { from: 2, to: 3 }
    );
    let check = |store: &dyn KeyStore| {
        assert_eq!(bytes(store, ONE, &key).unwrap(), secret);
        assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Known(key.handle));
        assert_eq!(provision(store, ONE, "later", "default").unwrap(), later);
    };
    check(&*store);
    check(&*reopen(Some(store)));
}

fn the_next_generation_seals_and_the_last_one_still_opens(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let [first, invoice] = ["default", "invoice"].map(|category| provision(&*store, ONE, "ada", category).unwrap());
    let secret = bytes(&*store, ONE, &first).unwrap();
    let named = ["default".parse().unwrap(), "never-seen".parse().unwrap()];
    let minted = store.renew_keys(ONE, first.handle, Some(&named)).unwrap().unwrap();
    let second = KeyRef {
        generation: 2,
        ..first.clone()
    };
    assert_eq!(minted, std::slice::from_ref(&second));
    let store = reopen(Some(store));
    assert_eq!(provision(&*store, ONE, "ada", "default").unwrap(), second);
    assert_eq!(provision(&*store, ONE, "ada", "invoice").unwrap(), invoice);
    assert_eq!(bytes(&*store, ONE, &first).unwrap(), secret);
    assert_ne!(bytes(&*store, ONE, &second).unwrap(), secret);
    assert_eq!(store.renew_keys(ONE, first.handle, None).unwrap().unwrap().len(), 2);
    assert_eq!(provision(&*store, ONE, "ada", "default").unwrap().generation, 3);
    assert_eq!(
        store.renew_keys(ONE, Handle([9; 16]), None).unwrap(),
        Err(Refusal::Unavailable)
    );
    store.fence(ONE, &[order(1, first.handle, None)]).unwrap();
    assert_eq!(
        store.renew_keys(ONE, first.handle, None).unwrap(),
        Err(Refusal::Erasing(request(1)))
    );
    assert_eq!(
        destroy(&*store, ONE, &[order(1, first.handle, None)], 1).unwrap(),
        (5, 1),
        "every generation goes"
    );
}

fn new_keys_and_changes_of_epoch_do_not_get_in_each_others_way(store: Arc<dyn KeyStore>, reopen: Reopen<'_>) {
    let known = provision(&*store, ONE, "known", "default").unwrap();
    let secret = bytes(&*store, ONE, &known).unwrap();
    let victims: Vec<_> = (0..20)
        .map(|n| handle_of(&*store, &format!("victim-{n}")).unwrap())
        .collect();
    let stop = AtomicBool::new(false);
    let minted: Vec<Vec<(String, KeyRef, [u8; 32])>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3)
            .map(|worker| {
                let (store, stop) = (&store, &stop);
                scope.spawn(move || {
                    let mut minted = Vec::new();
                    for n in (0..).take_while(|_| !stop.load(SeqCst)) {
                        let subject = format!("new-{worker}-{n}");
                        let key = provision(&**store, ONE, &subject, "default").unwrap();
                        let secret = bytes(&**store, ONE, &key).unwrap();
                        minted.push((subject, key, secret));
                        // Nobody is unknown or unavailable for a moment.
                        let (subject, key, secret) = &minted[n / 2];
                        assert_eq!(store.resolve(ONE, &id(subject)).unwrap(), Resolution::Known(key.handle));
                        assert_eq!(bytes(&**store, ONE, key).unwrap(), *secret);
                    }
                    minted
                })
            })
            .collect();
        for (n, victim) in (1..).zip(&victims) {
            let order = order(n, *victim, None);
            store.fence(ONE, std::slice::from_ref(&order)).unwrap();
            destroy(&*store, ONE, &[order], u64::from(n)).unwrap();
        }
        stop.store(true, SeqCst);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    assert!(minted.iter().all(|minted| minted.len() > 10));
    let store = reopen(Some(store));
    assert_eq!(store.epoch(ONE).unwrap(), 21);
    assert_eq!(bytes(&*store, ONE, &known).unwrap(), secret);
    for (subject, key, secret) in minted.iter().flatten() {
        assert_eq!(provision(&*store, ONE, subject, "default").unwrap(), *key);
        assert_eq!(bytes(&*store, ONE, key).unwrap(), *secret);
    }
}
