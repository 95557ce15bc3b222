//! The single writer on a store that fails: in both ways, and with many ledgers at once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ed25519_dalek::SigningKey;
use oubliette::env::{Entropy, System};
use oubliette::sequencer::{Append, ExpectedVersion, LedgerKeys, Limits, NewEvent, Publish, Refusal, Sequencer, View};
use oubliette::spec::checkpoint;
use oubliette::spec::event::{Body, BodyKind, Header, Meta};
use oubliette::spec::hash::{Hash, leaf_hash};
use oubliette::spec::ids::{EventRef, LedgerId};
use oubliette::spec::note::SignerKey;
use oubliette::spec::signature::{Kind, Signer, Verifier};
use oubliette::store::rocksdb::RocksStore;
use oubliette::store::{LedgerNumber, LedgerRecord, LedgerStore, Removal};
use uuid::Uuid;

use crate::faulty::{Failing, Faulty};
use crate::support::eventually;
use crate::support::receipts::root_of;

/// Remembers the largest size that was ever published of each ledger.
#[derive(Default)]
struct Published(std::sync::Mutex<HashMap<LedgerNumber, u64>>);

impl Publish for Published {
    fn published(&self, view: &Arc<View>) {
        let mut sizes = self.0.lock().unwrap();
        let size = sizes.entry(view.ledger.number).or_default();
        assert!(
            view.size() > *size,
            "a checkpoint of {} was published after one of {size}",
            view.size()
        );
        *size = view.size();
    }
}

fn record(number: u32) -> LedgerRecord {
    LedgerRecord {
        number: LedgerNumber(number),
        id: LedgerId([u8::try_from(number % 251).unwrap(); 16]),
        name: format!("l{number}").parse().unwrap(),
        origin: format!("o.example/l{number}").parse().unwrap(),
    }
}

fn secret() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

fn keys(record: &LedgerRecord) -> LedgerKeys {
    LedgerKeys {
        event: Signer::new(Kind::Header, secret()).unwrap(),
        checkpoint: SignerKey::new(record.origin.as_str().parse().unwrap(), secret()),
    }
}

fn start(store: &Arc<Faulty>, ledgers: u32) -> Sequencer {
    let system = Arc::new(System);
    let sequencer = Sequencer::start(
        store.clone(),
        system.clone(),
        system,
        Arc::new(Published::default()),
        Limits::default(),
    );
    for number in 1..=ledgers {
        let record = record(number);
        let keys = keys(&record);
        sequencer.open_ledger(record, keys, Vec::new()).unwrap();
    }
    sequencer
}

fn event(stream: &str, number: u128) -> NewEvent {
    let entropy: &dyn Entropy = &System;
    let meta = Meta::new(Uuid::from_u128(number), stream.parse().unwrap());
    let body = Body {
        kind: BodyKind::Meta,
        salt: entropy.bytes(),
        bytes: meta.encode(),
    };
    let hash = body.commitment().hash;
    NewEvent {
        event_ref: EventRef(entropy.bytes()),
        event_type: "t".parse().unwrap(),
        schema_version: 1,
        meta,
        bodies: vec![(body, hash)],
        subjects: Vec::new(),
        caller_chose_id: true,
    }
}

fn append(ledger: u32, stream: &str, ids: Range<u128>) -> Append {
    Append {
        ledger: LedgerNumber(ledger),
        expected: vec![(stream.parse().unwrap(), ExpectedVersion::Any)],
        events: ids.map(|id| event(stream, id)).collect(),
        fences: Vec::new(),
        records: Vec::new(),
        removals: Vec::new(),
    }
}

/// Everything that the store holds of a ledger fits together. Gives ids and leaf hashes by index.
fn verify(store: &dyn LedgerStore, record: &LedgerRecord) -> Vec<(Uuid, Hash)> {
    let head = store.head(record.number).unwrap().unwrap();
    let rows = store.headers(record.number, 0..head.size).unwrap();
    assert_eq!(rows.len() as u64, head.size);
    let verifier = Verifier::new(
        Kind::Header,
        Signer::new(Kind::Header, secret()).unwrap().public().clone(),
    );
    let (mut leaves, mut previous, mut versions) = (Vec::new(), None, HashMap::new());
    for (index, row) in rows.iter().enumerate() {
        let header = Header::decode(&row.header).unwrap();
        verifier.verify_detached(&row.signature, &row.header).unwrap();
        assert_eq!((header.index, header.previous), (index as u64, previous));
        let version = versions.entry(header.stream_ref).or_insert(0);
        *version += 1;
        assert_eq!(header.stream_version, *version);
        previous = Some(leaf_hash(&row.header));
        leaves.push(leaf_hash(&row.header));
    }
    assert_eq!(previous, Some(head.last));
    let (size, note) = store.checkpoint(record.number, head.size).unwrap().unwrap();
    let key = SignerKey::new(record.origin.as_str().parse().unwrap(), secret());
    let tree = checkpoint::open(&note, key.verifier().name(), &[key.verifier().clone()])
        .unwrap()
        .checkpoint;
    assert_eq!((size, tree.size, tree.root), (head.size, head.size, root_of(&leaves)));
    let bodies = store.bodies(record.number, 0..head.size).unwrap();
    assert_eq!(bodies.len(), leaves.len());
    let ids: Vec<_> = bodies
        .iter()
        .map(|body| Meta::decode(&body.bytes).unwrap().id)
        .collect();
    for (index, found) in store.indexes_of(record.number, &ids).unwrap().into_iter().enumerate() {
        assert_eq!(found, Some(index as u64), "an id leads elsewhere: stored twice?");
    }
    ids.into_iter().zip(leaves).collect()
}

#[test]
fn many_ledgers_share_one_write_and_keep_their_own_chains() {
    let folder = tempfile::tempdir().unwrap();
    let store = Faulty::new(folder.path(), 0, Failing::Lost);
    let sequencer = start(&store, 200);
    let answers: Vec<_> = (0..10_u128)
        .flat_map(|round| (1..=200_u32).map(move |ledger| (round, ledger)))
        .map(|(round, ledger)| {
            sequencer
                .submit(append(ledger, &format!("s{}", round % 3), round * 2..round * 2 + 2))
                .unwrap()
        })
        .collect();
    assert_eq!(answers.len(), 2_000);
    for answer in answers {
        answer.blocking_recv().unwrap().unwrap();
    }
    let commits = store.commits.load(Ordering::SeqCst);
    assert!(
        commits < 500,
        "{commits} writes for 2,000 appends: ledgers do not share them"
    );
    drop(sequencer);
    for number in 1..=200 {
        assert_eq!(verify(&*store, &record(number)).len(), 20);
    }
    // And from the files, by a fresh start.
    drop(store);
    let store = RocksStore::open(folder.path()).unwrap();
    assert_eq!(store.ledgers().unwrap().len(), 200);
    verify(&store, &record(77));
}

/// Whether the commit of a removal fails with everything written or nothing: body and authority are never apart.
#[test]
fn a_body_and_its_authority_are_never_apart_whatever_a_failing_commit_left() {
    for failing in [Failing::Lost, Failing::Persisted] {
        let folder = tempfile::tempdir().unwrap();
        let store = Faulty::new(folder.path(), 2, failing);
        let sequencer = start(&store, 1);
        let number = LedgerNumber(1);
        let submit = |append| {
            sequencer
                .submit(append)
                .map(|answer| answer.blocking_recv().unwrap_or(Err(Refusal::Unavailable)))
        };
        submit(append(1, "s", 0..3)).unwrap().unwrap();
        let purge = |id: u128, index| Append {
            removals: vec![Removal {
                index,
                ordinal: 0,
                kind: BodyKind::Meta,
                lookups: Vec::new(),
                stream: None,
            }],
            ..append(1, "$purges", id..id + 1)
        };
        assert!(submit(purge(10, 1)).unwrap().is_err(), "the second commit fails");
        let size = store.head(number).unwrap().unwrap().size;
        let is_there = |index| store.bodies_at(number, &[(index, 0, BodyKind::Meta)]).unwrap()[0].is_some();
        let removed = store.removed(number, &[(1, 0)]).unwrap()[0];
        match failing {
            Failing::Lost => assert_eq!((size, is_there(1), removed), (3, true, None)),
            Failing::Persisted => assert_eq!((size, is_there(1), removed), (4, false, Some(3))),
        }
        // The writer heals, and the authority of the next removal is the event that comes to stand.
        eventually("appends are taken again", || sequencer.is_healthy());
        submit(purge(11, 2)).unwrap().unwrap();
        assert_eq!(store.removed(number, &[(2, 0)]).unwrap(), [Some(size)]);
        assert!(is_there(0) && !is_there(2));
        drop(sequencer);
    }
}

/// Writers go on through failing commits; whoever is refused asks again with the same ids.
fn through_failures(every: u64, failing: Failing) {
    let folder = tempfile::tempdir().unwrap();
    let store = Faulty::new(folder.path(), every, failing);
    let sequencer = start(&store, 3);
    let unavailable = AtomicUsize::new(0);
    let acknowledged: Vec<(u32, Uuid, u64, Hash)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6_u32)
            .map(|writer| {
                let (sequencer, unavailable) = (&sequencer, &unavailable);
                scope.spawn(move || {
                    let ledger = 1 + writer % 3;
                    let mut acknowledged = Vec::new();
                    for number in 0..12_u128 {
                        let first = u128::from(writer) * 1_000_000 + number * 100;
                        let ids = first..first + 1 + number % 5;
                        loop {
                            let answer = sequencer.submit(append(ledger, &format!("w{writer}"), ids.clone()));
                            match answer.map(|answer| answer.blocking_recv().unwrap_or(Err(Refusal::Unavailable))) {
                                Ok(Ok(appended)) => {
                                    let view = &appended.view;
                                    for event in &appended.events {
                                        assert!(event.index < view.size());
                                        acknowledged.push((ledger, event.id, event.index, event.leaf_hash));
                                    }
                                    break;
                                }
                                Ok(Err(Refusal::Unavailable)) | Err(Refusal::Unavailable) => {
                                    unavailable.fetch_add(1, Ordering::SeqCst);
                                    std::thread::sleep(std::time::Duration::from_millis(30));
                                }
                                // Written, although nobody was told: the repeat finds all of it or nothing.
                                Ok(Err(Refusal::IdsTaken(indexes))) => {
                                    assert!(
                                        indexes.iter().all(Option::is_some),
                                        "a batch was written in part: {indexes:?}"
                                    );
                                    assert_eq!(failing, Failing::Persisted, "a refused append was written");
                                    break;
                                }
                                other => panic!("{:?}", other.map(|answer| answer.map(drop))),
                            }
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(
        unavailable.load(Ordering::SeqCst) > 0,
        "no commit failed while anybody waited"
    );
    assert!(acknowledged.len() > 50);
    eventually("the writer takes appends again", || sequencer.is_healthy());
    for number in 1..=3 {
        let held = verify(&*store, &record(number));
        let view = sequencer.view(LedgerNumber(number)).unwrap();
        assert_eq!(view.size(), held.len() as u64, "the writer is not where the store is");
        for (_, id, index, leaf) in acknowledged.iter().filter(|(ledger, ..)| *ledger == number) {
            assert_eq!(
                held[usize::try_from(*index).unwrap()],
                (*id, *leaf),
                "an acknowledged event is lost or another"
            );
        }
        // Every batch was asked for until it was there: 12 batches of two writers.
        assert_eq!(held.len(), 2 * (0..12).map(|number| 1 + number % 5).sum::<usize>());
    }
    drop(sequencer);
    drop(store);
    let reopened = RocksStore::open(folder.path()).unwrap();
    (1..=3).for_each(|number| drop(verify(&reopened, &record(number))));
}

#[test]
fn a_commit_that_failed_and_was_not_written_is_forgotten_by_everybody() {
    through_failures(5, Failing::Lost);
}

#[test]
fn a_commit_that_failed_and_was_written_all_the_same_is_found_again() {
    through_failures(5, Failing::Persisted);
}

#[test]
fn a_failing_store_refuses_everybody_who_waits_and_then_goes_on_from_the_right_head() {
    for failing in [Failing::Lost, Failing::Persisted] {
        let folder = tempfile::tempdir().unwrap();
        let store = Faulty::new(folder.path(), 2, failing);
        let sequencer = start(&store, 1);
        let send = |number: u128| {
            sequencer
                .submit(append(1, "s", number..number + 1))
                .unwrap()
                .blocking_recv()
                .unwrap()
        };
        assert_eq!(send(1).unwrap().events[0].index, 0);
        assert_eq!(send(2).unwrap_err(), Refusal::Unavailable);
        assert!(!sequencer.is_healthy());
        assert_eq!(
            sequencer.submit(append(1, "s", 3..4)).unwrap_err(),
            Refusal::Unavailable
        );
        eventually("the writer takes appends again", || sequencer.is_healthy());
        let next = send(4).unwrap();
        let before = u64::from(failing == Failing::Persisted);
        assert_eq!(
            (next.events[0].index, next.events[0].stream_version),
            (1 + before, 2 + before),
            "{failing:?}"
        );
        drop(sequencer);
        verify(&*store, &record(1));
    }
}
