//! What only this engine's files can show: swapped and damaged rows, foreign and missing parts, plaintext in files.

mod newcomers;
mod scrub;
mod trial;

use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::env::System;
use crate::keystore::conformance::keystore::{
    self as conformance, AT_ONCE, ONE, TWO, bytes, destroy, id, order, provision,
};
use crate::keystore::vault::file::FileVault;
use crate::keystore::{Fence, Remains, Resolution, wrap};
use crate::spec::ids::Handle;

const NOW: Timestamp = Timestamp(1_000_000);

struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: TempDir::new().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys")
    }

    fn mirrors(&self) -> [PathBuf; 1] {
        [self.folder.path().join("vault")]
    }

    fn create(&self) -> RocksKeyStore {
        let vault = Arc::new(FileVault::create(&self.mirrors(), Arc::new(System)).unwrap());
        let store = RocksKeyStore::create(&self.path(), vault, Arc::new(System)).unwrap();
        [ONE, TWO]
            .into_iter()
            .for_each(|ledger| store.create_ledger(ledger, NOW).unwrap());
        store
    }

    fn open(&self) -> Result<RocksKeyStore, KeyStoreError> {
        let vault = Arc::new(FileVault::open(&self.mirrors(), Arc::new(System))?);
        RocksKeyStore::open(&self.path(), vault, Arc::new(System))
    }
}

impl RocksKeyStore {
    fn put(&self, row: &[u8], value: &[u8]) {
        let mut batch = WriteBatch::default();
        batch.put(row, value);
        self.db.write(batch).unwrap();
    }

    fn delete(&self, row: &[u8]) {
        let mut batch = WriteBatch::default();
        batch.delete(row);
        self.db.write(batch).unwrap();
    }

    fn rows(&self, table: Table) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut rows = BTreeMap::new();
        self.db
            .scan(&[table as u8], |row, value| {
                rows.insert(row.to_vec(), value.to_vec());
                Ok(())
            })
            .unwrap();
        rows
    }

    fn row_of(&self, key: &KeyRef) -> Vec<u8> {
        let ledger = self.ledger(ONE).unwrap();
        let people::Row::Open(bucket) = self.place_of(&ledger, key.handle).unwrap() else {
            panic!("no handle row")
        };
        rows::key(ONE, bucket, key.handle, &key.category, key.generation)
    }
}

fn on_a_new_store(run: conformance::Test<'_>) {
    let place = Place::new();
    run(Arc::new(place.create()), &|old| {
        drop(old);
        Arc::new(place.open().unwrap())
    });
}

#[test]
fn the_rocksdb_key_store_keeps_the_contract() {
    conformance::all(&on_a_new_store);
}

#[test]
fn the_rocksdb_key_store_keeps_the_contract_between_making_and_end() {
    crate::keystore::conformance::life::all(&on_a_new_store);
}

#[test]
fn the_rocksdb_key_store_tells_what_is_left_behind_its_fences() {
    crate::keystore::conformance::trial::all(&on_a_new_store);
}

#[test]
fn a_missing_key_store_is_refused_and_not_created() {
    let place = Place::new();
    drop(place.create());
    std::fs::remove_dir_all(place.path()).unwrap();
    assert!(matches!(place.open(), Err(KeyStoreError::Foreign(_))));
    assert!(!place.path().exists());
}

#[test]
fn a_missing_vault_is_refused() {
    let place = Place::new();
    drop(place.create());
    std::fs::remove_dir_all(&place.mirrors()[0]).unwrap();
    assert!(matches!(place.open(), Err(KeyStoreError::Foreign(_))));
}

#[test]
fn a_foreign_vault_is_refused() {
    let (one, two) = (Place::new(), Place::new());
    drop((one.create(), two.create()));
    std::fs::remove_dir_all(&one.mirrors()[0]).unwrap();
    std::fs::rename(&two.mirrors()[0], &one.mirrors()[0]).unwrap();
    assert!(matches!(one.open(), Err(KeyStoreError::Foreign(_))));
}

#[test]
fn a_vault_that_lost_a_ledgers_keys_is_refused_and_makes_no_new_ones() {
    let place = Place::new();
    drop(place.create());
    let slots = place.mirrors()[0].join("slots");
    let length = std::fs::metadata(&slots).unwrap().len() as usize;
    std::fs::write(&slots, vec![0; length]).unwrap();
    assert!(matches!(
        place.open(),
        Err(KeyStoreError::Foreign(_) | KeyStoreError::Vault { .. })
    ));
    assert_eq!(std::fs::read(&slots).unwrap(), vec![0; length]);
}

#[test]
fn a_key_store_that_exists_is_not_made_again() {
    let place = Place::new();
    let vault = Arc::clone(&place.create().vault);
    let again = RocksKeyStore::create(&place.path(), vault, Arc::new(System));
    assert!(matches!(again, Err(KeyStoreError::Foreign(_))));
}

#[test]
fn a_key_store_in_use_is_refused() {
    let place = Place::new();
    let store = place.create();
    let again = RocksKeyStore::open(&place.path(), Arc::clone(&store.vault), Arc::new(System));
    assert!(matches!(again, Err(KeyStoreError::InUse)));
}

#[test]
fn a_newer_format_is_refused() {
    let place = Place::new();
    place.create().put(&rows::store_row("format"), &9_u32.to_be_bytes());
    assert!(matches!(
        place.open(),
        Err(KeyStoreError::NewerFormat { found: 9, known: 1 })
    ));
}

#[test]
fn a_store_of_an_epoch_that_is_retired_or_destroyed_is_refused() {
    let place = Place::new();
    drop(place.create());
    let vault = || FileVault::open(&place.mirrors(), Arc::new(System)).unwrap();
    assert_eq!(vault().mint_epoch(ONE, 1, NOW).unwrap(), 2);
    drop(place.open().unwrap());
    vault().retire_epoch(ONE, 1, NOW, NOW).unwrap();
    assert!(matches!(place.open(), Err(KeyStoreError::Foreign(_))));
    vault().destroy_epoch(ONE, 1).unwrap();
    assert!(matches!(place.open(), Err(KeyStoreError::Foreign(_))));
}

#[test]
fn a_ledger_whose_master_is_gone_gets_no_new_one() {
    let place = Place::new();
    let store = place.create();
    provision(&store, ONE, "ada", "default").unwrap();
    store.delete(&rows::row(Table::Master, ONE, &[]));
    drop(store);
    let store = place.open().unwrap();
    assert!(matches!(store.create_ledger(ONE, NOW), Err(KeyStoreError::Damaged(_))));
    for table in rows::OF_A_LEDGER {
        let (place, row) = (Place::new(), rows::row(table, ONE, &[b"left"]));
        let store = place.create();
        store.delete(&rows::row(Table::Master, ONE, &[]));
        drop(store);
        let store = place.open().unwrap();
        store.put(&row, b"something");
        assert!(
            matches!(store.create_ledger(ONE, NOW), Err(KeyStoreError::Damaged(_))),
            "{table:?}"
        );
    }
}

/// Opens the store again, so that nothing comes from a cache.
fn reopened(place: &Place, store: RocksKeyStore) -> RocksKeyStore {
    drop(store);
    place.open().unwrap()
}

#[test]
fn a_key_row_written_over_anothers_is_unavailable() {
    let place = Place::new();
    let store = place.create();
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&store, ONE, subject, "default").unwrap());
    let invoice = provision(&store, ONE, "ada", "invoice").unwrap();
    let value = store.db.get(&store.row_of(&ada)).unwrap().unwrap();
    for other in [
        &bob,
        &invoice,
        &KeyRef {
            generation: 2,
            ..ada.clone()
        },
    ] {
        store.put(&store.row_of(other), &value);
    }
    let store = reopened(&place, store);
    assert!(bytes(&store, ONE, &ada).is_ok());
    for other in [
        &bob,
        &invoice,
        &KeyRef {
            generation: 2,
            ..ada.clone()
        },
    ] {
        assert_eq!(bytes(&store, ONE, other), Err(Refusal::Unavailable));
    }
}

#[test]
fn a_handle_row_written_over_anothers_opens_nothing_and_erases_nobody_else() {
    let place = Place::new();
    let store = place.create();
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&store, ONE, subject, "default").unwrap());
    let value = store.db.get(&rows::handle(ONE, bob.handle)).unwrap().unwrap();
    store.put(&rows::handle(ONE, ada.handle), &value);
    let store = reopened(&place, store);
    assert_eq!(bytes(&store, ONE, &ada), Err(Refusal::Unavailable));
    store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
    let destroyed = destroy(&store, ONE, &[order(1, ada.handle, None)], 1).unwrap();
    assert_eq!(destroyed, (1, 1), "found by looking through the ledger");
    assert_eq!(store.resolve(ONE, &id("ada")).unwrap(), Resolution::Erased);
    assert!(bytes(&store, ONE, &bob).is_ok());
    assert_eq!(store.resolve(ONE, &id("bob")).unwrap(), Resolution::Known(bob.handle));
}

#[test]
fn an_identity_row_written_over_anothers_is_no_identity() {
    let place = Place::new();
    let store = place.create();
    ["ada", "bob"]
        .into_iter()
        .for_each(|subject| drop(provision(&store, ONE, subject, "default").unwrap()));
    let identities = store.rows(Table::Identity);
    let [(a, _), (_, b)] = [
        identities.iter().next().unwrap(),
        identities.iter().next_back().unwrap(),
    ];
    store.put(a, b);
    let store = reopened(&place, store);
    let answers = ["ada", "bob"].map(|subject| provision(&store, ONE, subject, "default"));
    assert_eq!(
        answers
            .iter()
            .filter(|answer| **answer == Err(Refusal::Unavailable))
            .count(),
        1
    );
    assert_eq!(store.rows(Table::Identity).len(), 2, "nobody is minted anew");
}

#[test]
fn a_lost_handle_row_does_not_save_a_person_from_erasure() {
    let place = Place::new();
    let store = place.create();
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&store, ONE, subject, "default").unwrap());
    store.delete(&rows::handle(ONE, ada.handle));
    let store = reopened(&place, store);
    assert_eq!(bytes(&store, ONE, &ada), Err(Refusal::Unavailable), "lost, not erased");
    store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
    assert_eq!(destroy(&store, ONE, &[order(1, ada.handle, None)], 1).unwrap(), (1, 1));
    assert_eq!(
        (store.rows(Table::Identity).len(), store.rows(Table::Key).len()),
        (1, 1)
    );
    assert!(bytes(&store, ONE, &bob).is_ok());
}

#[test]
fn a_flipped_bit_in_any_byte_of_any_row_is_found() {
    let place = Place::new();
    let mut store = place.create();
    let ada = provision(&store, ONE, "ada", "default").unwrap();
    let gone = provision(&store, ONE, "gone", "default").unwrap();
    let (part, whole) = (order(1, ada.handle, Some(&["marketing"])), order(2, gone.handle, None));
    store.fence(ONE, &[part, whole.clone()]).unwrap();
    destroy(&store, ONE, &[whole], 77).unwrap();
    let tables = [
        Table::Master,
        Table::Bucket,
        Table::Key,
        Table::Identity,
        Table::Handle,
        Table::Fence,
        Table::Applied,
    ];
    let ours = |row: &Vec<u8>| rows::ledger_of(row) == Some(ONE);
    for (table, (row, value)) in tables
        .into_iter()
        .flat_map(|t| store.rows(t).into_iter().filter(|(r, _)| ours(r)).map(move |r| (t, r)))
        .collect::<Vec<_>>()
    {
        // Ada's are the rows that are read below; the other page serves nobody any more.
        let bucket = u16::from_be_bytes(store.row_of(&ada)[17..19].try_into().unwrap());
        if table == Table::Bucket && row[17] != buckets::page_of(bucket) {
            continue;
        }
        for at in 0..value.len() {
            // Reopening takes a while: the first bytes, then every fifth, so that each field is met.
            if at > 6 && at % (value.len() / 30).max(5) != 0 {
                continue;
            }
            let mut altered = value.clone();
            altered[at] ^= 1 << (at % 8);
            store.put(&row, &altered);
            drop(store);
            let opened = place.open();
            let found = match &opened {
                Err(error) => matches!(error, KeyStoreError::Damaged(_) | KeyStoreError::Foreign(_)),
                Ok(store) => {
                    bytes(store, ONE, &ada) == Err(Refusal::Unavailable)
                        || provision(store, ONE, "ada", "default") == Err(Refusal::Unavailable)
                        || matches!(store.applied(ONE), Err(KeyStoreError::Damaged(_)))
                }
            };
            assert!(found, "{table:?}, byte {at}");
            drop(opened);
            store = mended(&place, &row, &value);
        }
    }
    assert!(bytes(&store, ONE, &ada).is_ok());
}

/// Puts a row back without opening the store as such.
fn mended(place: &Place, row: &[u8], value: &[u8]) -> RocksKeyStore {
    let db = Database::open(&place.path(), false).unwrap();
    let mut batch = WriteBatch::default();
    batch.put(row, value);
    db.write(batch).unwrap();
    drop(db);
    place.open().unwrap()
}

#[test]
fn a_suppression_row_is_empty_and_leads_nowhere() {
    let place = Place::new();
    let store = place.create();
    let ada = provision(&store, ONE, "ada", "default").unwrap();
    store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
    destroy(&store, ONE, &[order(1, ada.handle, None)], 1).unwrap();
    let rows = store.rows(Table::Suppression);
    assert_eq!(rows.len(), 1);
    assert!(rows.values().all(Vec::is_empty));
    let handle = ada.handle.as_bytes().as_slice();
    assert!(
        rows.keys()
            .all(|row| row.len() == 49 && !row.windows(16).any(|window| window == handle))
    );
    assert!(
        [Table::Key, Table::Identity, Table::Handle]
            .into_iter()
            .all(|table| store.rows(table).is_empty())
    );
}

#[test]
fn no_file_of_key_store_or_vault_holds_a_subject_id_or_a_key_in_clear() {
    const CANARY: &str = "canary.person+42@example.com";
    let place = Place::new();
    let store = place.create();
    let key = provision(&store, ONE, CANARY, "default").unwrap();
    let secret = bytes(&store, ONE, &key).unwrap();
    let gone = provision(&store, TWO, CANARY, "default").unwrap();
    store.fence(TWO, &[order(1, gone.handle, None)]).unwrap();
    destroy(&store, TWO, &[order(1, gone.handle, None)], 1).unwrap();
    assert_eq!(files_with(&place, CANARY.as_bytes()), [""; 0]);
    // Reopening turns the log into a table file.
    let store = reopened(&place, store);
    assert_eq!(bytes(&store, ONE, &key).unwrap(), secret);
    assert_eq!(files_with(&place, CANARY.as_bytes()), [""; 0]);
    assert_eq!(files_with(&place, &secret), [""; 0]);
    assert!(
        !files_with(&place, key.handle.as_bytes()).is_empty(),
        "the search finds what is there"
    );
}

fn files_with(place: &Place, needle: &[u8]) -> Vec<String> {
    let (mut folders, mut found) = (vec![place.folder.path().to_path_buf()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else if std::fs::read(entry.path())
                .unwrap()
                .windows(needle.len())
                .any(|window| window == needle)
            {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[test]
fn purging_takes_a_fenced_subject_out_of_the_caches_and_leaves_the_others() {
    let place = Place::new();
    let store = place.create();
    let [ada, bob] = ["ada", "bob"].map(|subject| provision(&store, ONE, subject, "default").unwrap());
    store.fence(ONE, &[order(1, ada.handle, None)]).unwrap();
    assert!(store.caches.person(ONE, &id("ada")).is_none() && store.caches.key(ONE, &ada).is_none());
    assert!(store.caches.person(ONE, &id("bob")).is_some() && store.caches.key(ONE, &bob).is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Provision(usize, usize, usize),
    Fence(usize, usize, Option<usize>),
    Destroy,
    Reopen,
}

const SUBJECTS: [&str; 4] = ["ada", "bob", "carl", "dora"];
const CATEGORIES: [&str; 3] = ["default", "invoice", "marketing"];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, 0..4_usize, 0..3_usize).prop_map(|(l, s, c)| Step::Provision(l, s, c)),
        2 => (0..2_usize, 0..4_usize, proptest::option::of(0..3_usize)).prop_map(|(l, s, c)| Step::Fence(l, s, c)),
        2 => Just(Step::Destroy),
        1 => Just(Step::Reopen),
    ]
}

/// What the store should hold: keys by ledger, subject and category, and what is fenced.
#[derive(Default)]
struct Model {
    handles: BTreeMap<(usize, usize), Handle>,
    keys: BTreeMap<(usize, usize, usize), (KeyRef, [u8; 32])>,
    fenced: Vec<(usize, usize, Fence)>,
}

impl Model {
    fn covered(&self, ledger: usize, subject: usize, category: usize) -> bool {
        let category = CATEGORIES[category].parse().unwrap();
        self.fenced
            .iter()
            .any(|(l, s, f)| (*l, *s) == (ledger, subject) && fences::covers(&f.order, Some(&category)))
    }

    fn run(&mut self, store: &RocksKeyStore, step: &Step) {
        match *step {
            Step::Provision(l, s, c) => {
                let answer = provision(store, [ONE, TWO][l], SUBJECTS[s], CATEGORIES[c]);
                assert_eq!(answer.is_err(), self.covered(l, s, c));
                if let Ok(key) = answer {
                    assert_eq!(*self.handles.entry((l, s)).or_insert(key.handle), key.handle);
                    let secret = bytes(store, [ONE, TWO][l], &key).unwrap();
                    self.keys.entry((l, s, c)).or_insert((key, secret));
                }
            }
            Step::Fence(l, s, category) => {
                let Some(handle) = self.handles.get(&(l, s)) else {
                    return;
                };
                let named = category.map(|c| [CATEGORIES[c]]);
                let order = order(
                    self.fenced.len() as u8 + 1,
                    *handle,
                    named.as_ref().map(|c| c.as_slice()),
                );
                store.fence([ONE, TWO][l], std::slice::from_ref(&order)).unwrap();
                self.fenced.push((l, s, Fence { order, destroyed: None }));
            }
            Step::Destroy => {
                let Some((l, _, fence)) = self.fenced.iter_mut().find(|(_, _, fence)| fence.destroyed.is_none()) else {
                    return;
                };
                let (ledger, orders) = ([ONE, TWO][*l], [fence.order.clone()]);
                let destroyed = store.destroy(ledger, &orders, 1, &AT_ONCE).unwrap().orders;
                fence.destroyed = destroyed.first().copied();
                assert_eq!(store.destroy(ledger, &orders, 1, &AT_ONCE).unwrap().orders, destroyed);
                assert_eq!(store.remains(ledger, &fence.order).unwrap(), Remains::default());
            }
            Step::Reopen => {}
        }
    }

    /// Whether a row names a subject of whom something was destroyed.
    fn erased_names(&self, row: &[u8]) -> bool {
        let erased = self.fenced.iter().filter(|(_, _, fence)| fence.destroyed.is_some());
        erased
            .map(|(_, _, fence)| fence.order.handle)
            .any(|handle| row.windows(16).any(|window| window == handle.as_bytes()))
    }

    /// Every key not covered by a fence gives the same bytes as ever; every one covered gives none.
    fn check(&self, store: &RocksKeyStore) {
        for ((l, s, c), (key, secret)) in &self.keys {
            match bytes(store, [ONE, TWO][*l], key) {
                Ok(found) => assert!(found == *secret && !self.covered(*l, *s, *c)),
                Err(Refusal::Erasing(_) | Refusal::Erased(Some(_))) => assert!(self.covered(*l, *s, *c)),
                Err(refusal) => panic!("{refusal:?}"),
            }
        }
    }
}

/// The row keys that name a subject: keys and handles. What the rows hold changes with every epoch; `Model::check` opens
/// all of it.
fn rows_of_others(store: &RocksKeyStore, model: &Model) -> std::collections::BTreeSet<Vec<u8>> {
    let tables = [Table::Key, Table::Handle];
    let rows = tables.iter().flat_map(|table| store.rows(*table).into_keys());
    rows.filter(|row| !model.erased_names(row)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn erasing_one_leaves_what_the_others_can_open_unchanged(steps in proptest::collection::vec(step(), 1..40)) {
        let place = Place::new();
        let (mut store, mut model) = (place.create(), Model::default());
        for step in &steps {
            let before = rows_of_others(&store, &model);
            model.run(&store, step);
            if matches!(step, Step::Destroy) {
                let after = rows_of_others(&store, &model);
                prop_assert!(before.iter().all(|row| model.erased_names(row) || after.contains(row)), "another's row is gone");
            }
            if matches!(step, Step::Reopen) {
                store = reopened(&place, store);
            }
            model.check(&store);
        }
        let identities = store.rows(Table::Identity).len();
        let whole = model.fenced.iter().filter(|(_, _, f)| f.destroyed.is_some() && f.order.categories.is_none());
        let erased: std::collections::BTreeSet<_> = whole.map(|(_, _, f)| f.order.handle).collect();
        prop_assert_eq!(identities, model.handles.len() - erased.len());
    }
}

/// `cargo test --lib cost_of -- --ignored --nocapture`
#[test]
#[ignore = "measures, asserts nothing"]
#[allow(clippy::disallowed_methods)]
fn cost_of_the_common_calls() {
    let place = Place::new();
    let store = place.create();
    let wanted = [conformance::want("ada@example.com", "default")];
    let key = provision(&store, ONE, "ada@example.com", "default").unwrap();
    let time = |name: &str, n: u32, f: &mut dyn FnMut(u32)| {
        let start = std::time::Instant::now();
        (0..n).for_each(f);
        println!("{name}: {:?}", start.elapsed() / n);
    };
    time("provision, cached", 1_000_000, &mut |_| {
        drop(std::hint::black_box(store.provision(ONE, &wanted)))
    });
    time("key, cached", 1_000_000, &mut |_| {
        drop(std::hint::black_box(store.key(ONE, &key)))
    });
    time("provision, new, one caller", 2_000, &mut |n| {
        drop(provision(&store, ONE, &format!("new-{n}"), "default"))
    });
    let many = |n: u32| {
        (0..1_000)
            .map(|m| conformance::want(&format!("many-{n}-{m}"), "default"))
            .collect::<Vec<_>>()
    };
    time("provision, 1,000 new at once", 20, &mut |n| {
        drop(store.provision(ONE, &many(n)))
    });
    let store = reopened(&place, store);
    time("provision, known, not cached", 2_000, &mut |n| {
        drop(provision(&store, ONE, &format!("new-{n}"), "default"))
    });
    time("resolve", 2_000, &mut |n| {
        drop(store.resolve(ONE, &id(&format!("new-{n}"))))
    });
}

/// What the list of bucket keys costs in three forms (docs/adr/0018-change-of-epoch.md): a row a key, a page of 64, one row for all.
/// `cargo test --release --lib cost_of_a -- --ignored --nocapture`
#[test]
#[ignore = "measures, asserts nothing"]
#[allow(clippy::disallowed_methods)]
fn cost_of_a_new_master() {
    let place = Place::new();
    let store = place.create();
    let time = |name: &str, n: u32, f: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        (0..n).for_each(|_| f());
        println!("{name}: {:?}", start.elapsed() / n);
    };
    let (old, new, entry) = ([1; 32], [2; 32], 36_usize);
    for (name, rows, size) in [
        ("4,096 rows", 4_096_u32, entry),
        ("64 pages", 64, 64 * entry),
        ("1 row", 1, 4_096 * entry),
    ] {
        let row = |n: u32| [b"x".as_slice(), &n.to_be_bytes()].concat();
        let mut first = WriteBatch::default();
        for n in 0..rows {
            first.put(
                row(n),
                wrap::wrap(&old, (&row(n), b""), &vec![7; size], &System).unwrap(),
            );
        }
        store.db.write(first).unwrap();
        time(name, 20, &mut || {
            let mut batch = WriteBatch::default();
            for n in 0..rows {
                let stored = store.db.get(&row(n)).unwrap().unwrap();
                let text = wrap::unwrap(&old, (&row(n), b""), &stored).unwrap();
                std::hint::black_box(wrap::wrap(&new, (&row(n), b""), &text, &System).unwrap());
                batch.put(row(n), stored);
            }
            store.db.write(batch).unwrap();
        });
    }
    for n in 0..20 {
        let wanted: Vec<_> = (0..1_000)
            .map(|m| conformance::want(&format!("s-{n}-{m}"), "default"))
            .collect();
        store.provision(ONE, &wanted).unwrap();
    }
    time("change, 20,000 subjects", 20, &mut || {
        assert!(store.renew_epoch(ONE, &AT_ONCE).is_ok())
    });
}

#[test]
fn after_a_write_that_failed_the_check_writes_again_before_it_is_content() {
    let place = Place::new();
    let store = place.create();
    store.unwritable.store(true, Ordering::Release);
    let owner = store.db.get(&rows::store_row("owner")).unwrap();
    store.check().unwrap();
    assert!(!store.unwritable.load(Ordering::Acquire));
    drop(store);
    assert_eq!(place.open().unwrap().db.get(&rows::store_row("owner")).unwrap(), owner);
}
