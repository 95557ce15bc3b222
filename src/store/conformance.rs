//! The contract of a ledger store as tests, for every engine. `Fresh` gives each test an empty store, and a way to close
//! it and open it again; nothing here names an engine.

use std::sync::Arc;

use uuid::Uuid;

use super::{
    Batch, Direction, Head, HeaderRow, LedgerBatch, LedgerNumber, LedgerRecord, LedgerStore, Lookup, RecordWrite,
    Removal, Scrub, SequencedEvent, StoreError, StreamRow,
};
use crate::spec::edge::FullTile;
use crate::spec::event::{Actor, Body, BodyKind, Header, Meta};
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::ids::{EventRef, Handle, LedgerId, StreamRef, Timestamp};
use crate::spec::tiles::{TILE_WIDTH, TileId, encode_tile};

type Store = Arc<dyn LedgerStore>;

/// Closes a store (which nobody else may hold) and opens it again.
pub(crate) type Reopen<'a> = &'a dyn Fn(Store) -> Store;

/// One test.
pub(crate) type Test<'a> = &'a dyn Fn(Store, Reopen<'_>);

/// Runs all of them; each on a new store.
pub(crate) fn all(fresh: &dyn Fn(Test<'_>)) {
    fresh(&a_new_store_is_empty);
    fresh(&a_commit_is_there_as_a_whole_and_outlives_a_reopening);
    fresh(&a_commit_on_another_head_writes_nothing_at_all);
    fresh(&one_moved_head_refuses_the_whole_group);
    fresh(&of_racing_commits_exactly_one_wins);
    fresh(&rows_come_in_order_and_ranges_stop_where_they_end);
    fresh(&lookups_find_exactly_their_events_in_both_directions);
    fresh(&no_value_is_found_under_a_prefix_of_it);
    fresh(&streams_are_listed_by_name_and_read_by_version);
    fresh(&ledgers_do_not_see_each_other);
    fresh(&a_checkpoint_covers_every_size_up_to_its_own);
    fresh(&a_removed_body_is_gone_with_its_rows_and_its_authority_is_told);
    fresh(&a_removal_on_another_head_removes_nothing);
    fresh(&after_a_scrub_everything_else_is_what_it_was);
    fresh(&records_are_written_replaced_and_deleted_with_a_commit_or_alone);
}

fn record(number: u32) -> LedgerRecord {
    LedgerRecord {
        number: LedgerNumber(number),
        id: LedgerId([9; 16]),
        name: format!("l{number}").parse().unwrap(),
        origin: format!("o.example/l{number}").parse().unwrap(),
    }
}

const ONE: LedgerNumber = LedgerNumber(1);

/// What one event is to be; everything else follows from its index.
#[derive(Clone)]
struct Sketch {
    stream: &'static str,
    version: u64,
    event_type: &'static str,
    tags: Vec<&'static str>,
    correlation: Option<&'static str>,
    handles: Vec<Handle>,
    actor: Option<Handle>,
}

fn plain(stream: &'static str, version: u64) -> Sketch {
    Sketch {
        stream,
        version,
        event_type: "t",
        tags: Vec::new(),
        correlation: None,
        handles: Vec::new(),
        actor: None,
    }
}

fn id(ledger: LedgerNumber, index: u64) -> Uuid {
    Uuid::from_u128(u128::from(ledger.0) << 64 | u128::from(index))
}

fn stream_ref(name: &str) -> StreamRef {
    let mut bytes = [0; 16];
    name.bytes().zip(&mut bytes).for_each(|(from, to)| *to = from);
    StreamRef(bytes)
}

fn event(ledger: LedgerNumber, index: u64, sketch: &Sketch) -> SequencedEvent {
    let mut meta = Meta::new(id(ledger, index), sketch.stream.parse().unwrap());
    meta.tags = sketch.tags.iter().map(|tag| (*tag).into()).collect();
    meta.correlation_id = sketch.correlation.map(Into::into);
    meta.actor = sketch.actor.map(Actor::Subject);
    let salt = [u8::try_from(index % 256).unwrap(); 32];
    let mut bodies = vec![
        (BodyKind::Meta, salt, meta.encode()),
        (BodyKind::Data, salt, format!("{index}").into_bytes()),
    ];
    bodies.extend(
        sketch
            .handles
            .iter()
            .map(|handle| (BodyKind::Sealed, salt, handle.as_bytes().to_vec())),
    );
    let commitment = |(kind, salt, bytes): &(BodyKind, [u8; 32], Vec<u8>)| {
        Body {
            kind: *kind,
            salt: *salt,
            bytes: bytes.clone(),
        }
        .commitment()
    };
    let header = Header {
        origin: "o.example/x".parse().unwrap(),
        index,
        previous: (index > 0).then(|| Hash::from([1; 32])),
        event_ref: EventRef([2; 16]),
        stream_ref: stream_ref(sketch.stream),
        stream_version: sketch.version,
        event_type: sketch.event_type.parse().unwrap(),
        schema_version: 1,
        recorded_at: Timestamp(1_000 + index),
        bodies: bodies.iter().map(commitment).collect(),
    };
    SequencedEvent {
        row: HeaderRow {
            index,
            header: header.encode(),
            signature: vec![7; 40],
        },
        bodies,
        meta,
        event_type: header.event_type,
        stream_ref: header.stream_ref,
        stream_version: sketch.version,
        handles: sketch.handles.clone(),
    }
}

/// The next batch of a ledger that stands at `expected`.
fn next(ledger: u32, expected: Option<Head>, sketches: &[Sketch]) -> LedgerBatch {
    let number = LedgerNumber(ledger);
    let first = expected.map_or(0, |head| head.size);
    let events: Vec<_> = (first..)
        .zip(sketches)
        .map(|(index, sketch)| event(number, index, sketch))
        .collect();
    let last = events.last().unwrap();
    let size = first + events.len() as u64;
    let head = Head {
        size,
        last: leaf_hash(&last.row.header),
        recorded_at: Timestamp(1_000 + size - 1),
    };
    let streams = sketches.iter().map(|sketch| {
        let row = StreamRow {
            stream_ref: stream_ref(sketch.stream),
            version: sketch.version,
        };
        (sketch.stream.parse().unwrap(), row)
    });
    LedgerBatch {
        ledger: record(ledger),
        expected,
        head,
        removals: Vec::new(),
        streams: streams.collect(),
        events,
        tiles: Vec::new(),
        checkpoint: format!("checkpoint of {size}"),
    }
}

/// Events of one stream of ledger 1, each with one sealed block.
pub(crate) fn of_one_stream(expected: Option<Head>, indexes: std::ops::Range<u64>) -> LedgerBatch {
    let about = |index| Sketch {
        handles: vec![Handle([5; 16])],
        ..plain("s", index + 1)
    };
    next(1, expected, &indexes.map(about).collect::<Vec<_>>())
}

fn commit(store: &Store, ledger: LedgerBatch) -> Head {
    let head = ledger.head;
    store
        .commit(&Batch {
            ledgers: vec![ledger],
            records: Vec::new(),
        })
        .unwrap();
    head
}

fn many(stream: &'static str, count: u64) -> Vec<Sketch> {
    (1..=count).map(|version| plain(stream, version)).collect()
}

fn a_new_store_is_empty(store: Store, _: Reopen<'_>) {
    assert_eq!(store.ledgers().unwrap(), []);
    assert_eq!(store.head(ONE).unwrap(), None);
    assert_eq!(store.headers(ONE, 0..10).unwrap(), []);
    assert_eq!(store.bodies(ONE, 0..10).unwrap(), []);
    assert_eq!(store.checkpoint(ONE, 0).unwrap(), None);
    assert_eq!(store.indexes_of(ONE, &[id(ONE, 0)]).unwrap(), [None]);
    assert_eq!(store.stream_rows(ONE, &["s".parse().unwrap()]).unwrap(), [None]);
    assert_eq!(store.streams(ONE, None, 10).unwrap(), []);
    assert_eq!(store.records(None, "k").unwrap(), []);
}

fn a_commit_is_there_as_a_whole_and_outlives_a_reopening(store: Store, reopen: Reopen<'_>) {
    let handle = Handle([5; 16]);
    let sketches = [
        plain("a", 1),
        Sketch {
            handles: vec![handle],
            ..plain("b", 1)
        },
    ];
    let mut batch = next(1, None, &sketches);
    let tile = FullTile {
        id: TileId::new(0, 0, TILE_WIDTH).unwrap(),
        hashes: vec![Hash::from([3; 32]); 256],
    };
    batch.tiles = vec![tile.clone()];
    let (events, head) = (batch.events.clone(), batch.head);
    let api_key = RecordWrite {
        ledger: None,
        kind: "api-key",
        id: "x".into(),
        value: Some(b"v".to_vec()),
    };
    store
        .commit(&Batch {
            ledgers: vec![batch],
            records: vec![api_key],
        })
        .unwrap();
    let name = store.id();
    let store = reopen(store);
    assert_eq!(store.id(), name, "the store's own id changed");
    assert_eq!(store.ledgers().unwrap(), [record(1)]);
    assert_eq!(store.head(ONE).unwrap(), Some(head));
    assert_eq!(
        store.headers(ONE, 0..2).unwrap(),
        events.iter().map(|event| event.row.clone()).collect::<Vec<_>>()
    );
    let bodies = store.bodies(ONE, 0..2).unwrap();
    let places: Vec<_> = bodies.iter().map(|body| (body.index, body.ordinal)).collect();
    assert_eq!(places, [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)]);
    for body in &bodies {
        let (_, salt, bytes) = &events[usize::try_from(body.index).unwrap()].bodies[usize::from(body.ordinal)];
        assert_eq!((&body.salt, &body.bytes), (salt, bytes));
    }
    assert_eq!(
        store.indexes_of(ONE, &[id(ONE, 1), id(ONE, 7), id(ONE, 0)]).unwrap(),
        [Some(1), None, Some(0)]
    );
    let full = TileId::new(0, 0, TILE_WIDTH).unwrap();
    let other = TileId::new(0, 1, TILE_WIDTH).unwrap();
    assert_eq!(
        store.tiles(ONE, &[other, full]).unwrap(),
        [None, Some(encode_tile(&tile.hashes))]
    );
    assert_eq!(
        store.record(None, "api-key", "x").unwrap().as_deref(),
        Some(b"v".as_slice())
    );
    assert_eq!(store.checkpoint(ONE, 1).unwrap(), Some((2, "checkpoint of 2".into())));
}

fn a_commit_on_another_head_writes_nothing_at_all(store: Store, _: Reopen<'_>) {
    let head = commit(&store, next(1, None, &many("s", 3)));
    let wrong = [
        None,
        Some(Head { size: 2, ..head }),
        Some(Head { size: 4, ..head }),
        Some(Head {
            last: Hash::from([0; 32]),
            ..head
        }),
        Some(Head {
            recorded_at: Timestamp(0),
            ..head
        }),
    ];
    for expected in wrong {
        let mut batch = next(1, expected, &[plain("other", 1)]);
        batch.tiles = vec![FullTile {
            id: TileId::new(0, 9, TILE_WIDTH).unwrap(),
            hashes: vec![Hash::from([3; 32]); 256],
        }];
        let records = vec![RecordWrite {
            ledger: None,
            kind: "k",
            id: "x".into(),
            value: Some(vec![1]),
        }];
        let refused = store.commit(&Batch {
            ledgers: vec![batch],
            records,
        });
        assert!(
            matches!(refused, Err(StoreError::HeadMoved)),
            "{expected:?}: {refused:?}"
        );
    }
    assert_eq!(store.head(ONE).unwrap(), Some(head));
    assert_eq!(store.headers(ONE, 0..99).unwrap().len(), 3);
    assert_eq!(store.bodies(ONE, 0..99).unwrap().len(), 6);
    assert_eq!(store.stream_rows(ONE, &["other".parse().unwrap()]).unwrap(), [None]);
    assert_eq!(store.record(None, "k", "x").unwrap(), None);
    assert_eq!(
        store.tiles(ONE, &[TileId::new(0, 9, TILE_WIDTH).unwrap()]).unwrap(),
        [None]
    );
    // And a ledger that does not exist has no head to expect.
    let refused = store.commit(&Batch {
        ledgers: vec![next(2, Some(head), &[plain("s", 1)])],
        records: Vec::new(),
    });
    assert!(matches!(refused, Err(StoreError::HeadMoved)));
    assert_eq!(store.ledgers().unwrap(), [record(1)]);
}

fn one_moved_head_refuses_the_whole_group(store: Store, _: Reopen<'_>) {
    let head = commit(&store, next(1, None, &many("s", 1)));
    let right = next(2, None, &many("s", 1));
    let wrong = next(1, Some(Head { size: 9, ..head }), &[plain("s", 2)]);
    for ledgers in [vec![right.clone(), wrong.clone()], vec![wrong, right]] {
        let refused = store.commit(&Batch {
            ledgers,
            records: Vec::new(),
        });
        assert!(matches!(refused, Err(StoreError::HeadMoved)));
        assert_eq!(store.head(LedgerNumber(2)).unwrap(), None);
    }
    let both = vec![next(2, None, &many("s", 1)), next(1, Some(head), &[plain("s", 2)])];
    store
        .commit(&Batch {
            ledgers: both,
            records: Vec::new(),
        })
        .unwrap();
    assert_eq!(store.head(ONE).unwrap().unwrap().size, 2);
    assert_eq!(store.ledgers().unwrap(), [record(1), record(2)]);
}

/// The contract lets one thread commit at a time; readers may race it, and never see a part.
fn of_racing_commits_exactly_one_wins(store: Store, _: Reopen<'_>) {
    let mut head = commit(&store, next(1, None, &many("s", 1)));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                let size = store.head(ONE).unwrap().unwrap().size;
                assert_eq!(
                    store.headers(ONE, 0..size).unwrap().len() as u64,
                    size,
                    "a head without its headers"
                );
                assert_eq!(
                    store.bodies(ONE, 0..size).unwrap().len() as u64,
                    2 * size,
                    "headers without their bodies"
                );
                assert_eq!(store.indexes_of(ONE, &[id(ONE, size - 1)]).unwrap(), [Some(size - 1)]);
                if size > 300 {
                    return;
                }
            }
        });
        while head.size <= 300 {
            let sketches: Vec<_> = (0..7).map(|n| plain("s", head.size + n + 1)).collect();
            let batch = Batch {
                ledgers: vec![next(1, Some(head), &sketches)],
                records: Vec::new(),
            };
            store.commit(&batch).unwrap();
            assert!(
                matches!(store.commit(&batch), Err(StoreError::HeadMoved)),
                "the same batch was written twice"
            );
            head = batch.ledgers[0].head;
        }
        reader.join().unwrap();
    });
}

fn rows_come_in_order_and_ranges_stop_where_they_end(store: Store, _: Reopen<'_>) {
    commit(&store, next(1, None, &many("s", 600)));
    for range in [0..600, 0..1, 255..257, 599..600, 250..520] {
        let headers: Vec<_> = store
            .headers(ONE, range.clone())
            .unwrap()
            .iter()
            .map(|row| row.index)
            .collect();
        assert_eq!(headers, range.clone().collect::<Vec<_>>());
        let bodies: Vec<_> = store
            .bodies(ONE, range.clone())
            .unwrap()
            .iter()
            .map(|row| (row.index, row.ordinal))
            .collect();
        assert_eq!(
            bodies,
            range.flat_map(|index| [(index, 0), (index, 1)]).collect::<Vec<_>>()
        );
    }
    assert_eq!(
        store.headers(ONE, 590..9_999).unwrap().len(),
        10,
        "a range past the head stops there"
    );
    let wanted = [7, 599, 600, 3, 3];
    let at: Vec<_> = store.headers_at(ONE, &wanted).unwrap();
    let single = |index: u64| store.headers(ONE, index..index + 1).unwrap().pop();
    assert_eq!(at, wanted.map(single));
    let bodies = [
        (599, 1, BodyKind::Data),
        (3, 0, BodyKind::Meta),
        (3, 9, BodyKind::Sealed),
        (600, 1, BodyKind::Data),
        (4, 1, BodyKind::Data),
    ];
    let single = |(index, ordinal, _): (u64, u16, BodyKind)| {
        let rows = store.bodies(ONE, index..index + 1).unwrap();
        rows.into_iter().find(|row| row.ordinal == ordinal)
    };
    assert_eq!(store.bodies_at(ONE, &bodies).unwrap(), bodies.map(single));
    assert_eq!(store.headers(ONE, 600..601).unwrap(), []);
    assert_eq!(store.headers(ONE, 5..5).unwrap(), []);
    assert_eq!(store.bodies(ONE, 5..5).unwrap(), []);
}

fn lookups_find_exactly_their_events_in_both_directions(store: Store, _: Reopen<'_>) {
    let (ada, bob) = (Handle([1; 16]), Handle([2; 16]));
    let sketch = |index: u64| {
        let mut sketch = plain("s", index + 1);
        sketch.event_type = ["ta", "tb", "tc"][usize::try_from(index % 3).unwrap()];
        sketch.tags = if index.is_multiple_of(5) {
            vec!["five", "all"]
        } else {
            vec!["all"]
        };
        sketch.correlation = index.is_multiple_of(7).then_some("seven");
        sketch.handles = if index.is_multiple_of(11) { vec![ada] } else { vec![] };
        sketch.actor = index.is_multiple_of(13).then_some(bob);
        sketch
    };
    let mut head = None;
    for chunk in (0..700).collect::<Vec<u64>>().chunks(90) {
        head = Some(commit(
            &store,
            next(1, head, &chunk.iter().map(|index| sketch(*index)).collect::<Vec<_>>()),
        ));
    }
    type Holds = fn(u64) -> bool;
    let cases: [(Lookup, Holds); 7] = [
        (Lookup::Type("tb".parse().unwrap()), |index| index % 3 == 1),
        (Lookup::Tag("five".into()), |index| index % 5 == 0),
        (Lookup::Tag("all".into()), |_| true),
        (Lookup::Correlation("seven".into()), |index| index % 7 == 0),
        (Lookup::Handle(ada), |index| index % 11 == 0),
        (Lookup::Handle(bob), |index| index % 13 == 0),
        (Lookup::Tag("none".into()), |_| false),
    ];
    for (lookup, holds) in cases {
        for range in [
            0..700,
            0..1,
            1..700,
            100..101,
            255..257,
            256..512,
            300..300,
            699..700,
            650..5_000,
        ] {
            let mut expected: Vec<_> = range.clone().filter(|index| *index < 700 && holds(*index)).collect();
            for direction in [Direction::Forward, Direction::Backward] {
                for limit in [1, 10, 10_000] {
                    let found = store.find(ONE, &lookup, range.clone(), direction, limit).unwrap();
                    let wanted: Vec<_> = expected.iter().copied().take(limit).collect();
                    assert_eq!(found, wanted, "{lookup:?} in {range:?} {direction:?} by {limit}");
                }
                expected.reverse();
            }
        }
    }
}

fn no_value_is_found_under_a_prefix_of_it(store: Store, _: Reopen<'_>) {
    let tagged = |version, tag| Sketch {
        tags: vec![tag],
        correlation: Some(tag),
        ..plain("s", version)
    };
    commit(
        &store,
        next(
            1,
            None,
            &[tagged(1, "a"), tagged(2, "ab"), tagged(3, "a\0"), tagged(4, "b")],
        ),
    );
    for (index, text) in (0..).zip(["a", "ab", "a\0", "b"]) {
        for lookup in [Lookup::Tag(text.into()), Lookup::Correlation(text.into())] {
            assert_eq!(
                store.find(ONE, &lookup, 0..4, Direction::Forward, 10).unwrap(),
                [index],
                "{lookup:?}"
            );
        }
    }
    // One value in two indexes does not leak from one into the other.
    assert!(
        store
            .find(ONE, &Lookup::Type("a".parse().unwrap()), 0..4, Direction::Forward, 10)
            .unwrap()
            .is_empty()
    );
}

fn streams_are_listed_by_name_and_read_by_version(store: Store, reopen: Reopen<'_>) {
    let first = [plain("b", 1), plain("a", 1), plain("b", 2), plain("ab", 1)];
    let mut batch = next(1, None, &first);
    // Of a stream that grew twice the batch holds the last row alone.
    batch.streams.remove(0);
    let head = commit(&store, batch);
    commit(&store, next(1, Some(head), &[plain("b", 3), plain("a", 2)]));
    let store = reopen(store);
    let names = |after: Option<&str>, limit| -> Vec<(String, u64)> {
        let after = after.map(|name| name.parse().unwrap());
        let rows = store.streams(ONE, after.as_ref(), limit).unwrap();
        rows.into_iter()
            .map(|(name, row)| (name.as_str().to_owned(), row.version))
            .collect()
    };
    let expected = [("a".to_owned(), 2), ("ab".to_owned(), 1), ("b".to_owned(), 3)];
    assert_eq!(names(None, 10), expected);
    assert_eq!(names(None, 2), expected[..2]);
    assert_eq!(names(Some("a"), 10), expected[1..]);
    assert_eq!(names(Some("aa"), 1), expected[1..2]);
    assert_eq!(names(Some("b"), 10), []);
    let of = |versions, direction, limit| {
        store
            .stream_events(ONE, stream_ref("b"), versions, direction, limit)
            .unwrap()
    };
    assert_eq!(of(1..4, Direction::Forward, 10), [0, 2, 4]);
    assert_eq!(of(1..u64::MAX, Direction::Backward, 2), [4, 2]);
    assert_eq!(of(2..3, Direction::Forward, 10), [2]);
    assert!(of(4..9, Direction::Forward, 10).is_empty());
    assert!(
        store
            .stream_events(ONE, stream_ref("none"), 1..9, Direction::Forward, 10)
            .unwrap()
            .is_empty()
    );
}

fn ledgers_do_not_see_each_other(store: Store, _: Reopen<'_>) {
    let handle = Handle([1; 16]);
    let tagged = |count: u64| -> Vec<_> {
        (1..=count)
            .map(|version| Sketch {
                tags: vec!["g"],
                handles: vec![handle],
                ..plain("s", version)
            })
            .collect()
    };
    for (ledger, count) in [(1, 3), (2, 5), (256, 2)] {
        commit(&store, next(ledger, None, &tagged(count)));
    }
    for (ledger, count) in [(1, 3), (2, 5), (256, 2)] {
        let number = LedgerNumber(ledger);
        let size = usize::try_from(count).unwrap();
        assert_eq!(store.headers(number, 0..99).unwrap().len(), size);
        assert_eq!(store.bodies(number, 0..99).unwrap().len(), 3 * size);
        assert_eq!(store.streams(number, None, 99).unwrap().len(), 1);
        assert_eq!(store.checkpoint(number, 0).unwrap().unwrap().0, count);
        assert_eq!(
            store.checkpoint(number, count + 1).unwrap(),
            None,
            "another ledger's checkpoint"
        );
        for lookup in [
            Lookup::Tag("g".into()),
            Lookup::Handle(handle),
            Lookup::Type("t".parse().unwrap()),
        ] {
            assert_eq!(
                store
                    .find(number, &lookup, 0..99, Direction::Forward, 99)
                    .unwrap()
                    .len(),
                size,
                "{lookup:?}"
            );
        }
        let others = id(LedgerNumber(if ledger == 1 { 2 } else { 1 }), 0);
        assert_eq!(store.indexes_of(number, &[others]).unwrap(), [None]);
    }
    let numbers: Vec<_> = store.ledgers().unwrap().iter().map(|ledger| ledger.number.0).collect();
    assert_eq!(numbers, [1, 2, 256]);
}

fn a_checkpoint_covers_every_size_up_to_its_own(store: Store, reopen: Reopen<'_>) {
    let mut head = None;
    for count in [1, 4, 3] {
        let first = head.map_or(0, |head: Head| head.size);
        let sketches: Vec<_> = (0..count).map(|n| plain("s", first + n + 1)).collect();
        head = Some(commit(&store, next(1, head, &sketches)));
    }
    let store = reopen(store);
    for (asked, found) in [(0, 1), (1, 1), (2, 5), (5, 5), (6, 8), (8, 8)] {
        assert_eq!(
            store.checkpoint(ONE, asked).unwrap(),
            Some((found, format!("checkpoint of {found}")))
        );
    }
    assert_eq!(store.checkpoint(ONE, 9).unwrap(), None);
}

/// Three events of a stream about one subject, the second with a tag and a correlation id of its own.
fn three_about(handle: Handle) -> Vec<Sketch> {
    let about = |version| Sketch {
        handles: vec![handle],
        ..plain("s", version)
    };
    let mut second = about(2);
    (second.tags, second.correlation) = (vec!["leak"], Some("c-1"));
    vec![about(1), second, about(3)]
}

fn removal(index: u64, ordinal: u16, kind: BodyKind, lookups: Vec<Lookup>) -> Removal {
    Removal {
        index,
        ordinal,
        kind,
        lookups,
        stream: None,
    }
}

fn found(store: &Store, lookup: &Lookup) -> Vec<u64> {
    store.find(ONE, lookup, 0..100, Direction::Forward, 100).unwrap()
}

fn a_removed_body_is_gone_with_its_rows_and_its_authority_is_told(store: Store, reopen: Reopen<'_>) {
    let handle = Handle([5; 16]);
    let head = commit(&store, next(1, None, &three_about(handle)));
    let mut purge = next(1, Some(head), &[plain("$purges", 1)]);
    let leak = [Lookup::Tag("leak".into()), Lookup::Correlation("c-1".into())];
    purge.removals = vec![
        (3, removal(0, 2, BodyKind::Sealed, vec![Lookup::Handle(handle)])),
        (3, removal(1, 0, BodyKind::Meta, leak.to_vec())),
        (
            3,
            removal(2, 1, BodyKind::Data, vec![Lookup::Type("t".parse().unwrap())]),
        ),
    ];
    let head = commit(&store, purge);
    let store = reopen(store);
    let bodies = store.bodies(ONE, 0..3).unwrap();
    let left: Vec<_> = bodies.iter().map(|body| (body.index, body.ordinal)).collect();
    assert_eq!(left, [(0, 0), (0, 1), (1, 1), (1, 2), (2, 0), (2, 2)]);
    let asked = [(0, 2), (0, 1), (1, 0), (2, 1), (7, 0)];
    let removed = store.removed(ONE, &asked).unwrap();
    assert_eq!(removed, [Some(3), None, Some(3), Some(3), None]);
    assert_eq!(store.removed(LedgerNumber(2), &asked).unwrap(), [None; 5]);
    assert_eq!(found(&store, &Lookup::Handle(handle)), [1, 2]);
    leak.iter().for_each(|lookup| assert!(found(&store, lookup).is_empty()));
    // The header names the type: rows by type stay, and so does the id.
    assert_eq!(found(&store, &Lookup::Type("t".parse().unwrap())), [0, 1, 2, 3]);
    assert_eq!(store.indexes_of(ONE, &[id(ONE, 1)]).unwrap(), [Some(1)]);
    assert_eq!(store.headers(ONE, 0..9).unwrap().len(), 4);
    // A name that leaves, and is taken again in the same write.
    let mut redaction = next(1, Some(head), &[plain("s", 1)]);
    redaction.removals = vec![(
        4,
        Removal {
            stream: Some("s".parse().unwrap()),
            ..removal(0, 0, BodyKind::Meta, Vec::new())
        },
    )];
    let names = redaction.streams.clone();
    let head = commit(&store, redaction);
    assert_eq!(
        store.stream_rows(ONE, &[names[0].0.clone()]).unwrap(),
        [Some(names[0].1)]
    );
    let mut redaction = next(1, Some(head), &[plain("$redactions", 1)]);
    redaction.removals = vec![(
        5,
        Removal {
            stream: Some("s".parse().unwrap()),
            ..removal(4, 0, BodyKind::Meta, Vec::new())
        },
    )];
    commit(&store, redaction);
    assert_eq!(store.stream_rows(ONE, &[names[0].0.clone()]).unwrap(), [None]);
}

fn a_removal_on_another_head_removes_nothing(store: Store, _: Reopen<'_>) {
    let handle = Handle([5; 16]);
    let first = commit(&store, next(1, None, &three_about(handle)));
    commit(&store, next(1, Some(first), &many("t", 1)));
    let mut late = next(1, Some(first), &[plain("$purges", 1)]);
    late.removals = vec![(3, removal(0, 2, BodyKind::Sealed, vec![Lookup::Handle(handle)]))];
    let batch = Batch {
        ledgers: vec![late],
        records: Vec::new(),
    };
    assert!(matches!(store.commit(&batch), Err(StoreError::HeadMoved)));
    assert_eq!(store.removed(ONE, &[(0, 2)]).unwrap(), [None]);
    assert!(store.bodies_at(ONE, &[(0, 2, BodyKind::Sealed)]).unwrap()[0].is_some());
    assert_eq!(found(&store, &Lookup::Handle(handle)), [0, 1, 2]);
}

fn after_a_scrub_everything_else_is_what_it_was(store: Store, reopen: Reopen<'_>) {
    let handle = Handle([5; 16]);
    let mut head = commit(&store, next(1, None, &three_about(handle)));
    commit(&store, next(2, None, &three_about(handle)));
    let mut purge = next(1, Some(head), &[plain("$purges", 1)]);
    purge.removals = vec![(3, removal(0, 2, BodyKind::Sealed, vec![Lookup::Handle(handle)]))];
    head = commit(&store, purge);
    let all = |store: &Store| {
        let streams = store.streams(ONE, None, 100).unwrap();
        let rows = (
            store.headers(ONE, 0..100).unwrap(),
            store.bodies(ONE, 0..100).unwrap(),
            streams,
        );
        let tags = found(store, &Lookup::Tag("leak".into()));
        let other = LedgerNumber(2);
        (
            rows,
            tags,
            found(store, &Lookup::Handle(handle)),
            store.bodies(other, 0..100).unwrap(),
            store.head(ONE).unwrap(),
        )
    };
    let before = all(&store);
    let scrub = Scrub {
        bodies: vec![(0, 2, BodyKind::Sealed), (99, 0, BodyKind::Meta)],
        handles: vec![handle],
        names: true,
    };
    assert!(
        store.scrub(ONE, &Scrub::default(), &mut |_| true).unwrap(),
        "nothing to do"
    );
    for _ in 0..2 {
        assert!(store.scrub(ONE, &scrub, &mut |_| true).unwrap());
        assert_eq!(all(&store), before);
    }
    commit(&store, next(1, Some(head), &many("after", 2)));
    let store = reopen(store);
    assert_eq!(store.headers(ONE, 0..100).unwrap().len(), 6);
    assert_eq!(store.removed(ONE, &[(0, 2)]).unwrap(), [Some(3)]);
}

fn records_are_written_replaced_and_deleted_with_a_commit_or_alone(store: Store, reopen: Reopen<'_>) {
    let write = |ledger: Option<u32>, kind: &'static str, id: &str, value: Option<&str>| RecordWrite {
        ledger: ledger.map(LedgerNumber),
        kind,
        id: id.into(),
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    let listed = |store: &Store, ledger: Option<u32>, kind: &str| -> Vec<(String, String)> {
        let records = store.records(ledger.map(LedgerNumber), kind).unwrap();
        records
            .into_iter()
            .map(|(id, value)| (id, String::from_utf8(value).unwrap()))
            .collect()
    };
    let pair = |id: &str, value: &str| (id.to_owned(), value.to_owned());
    store
        .put_records(&[
            write(None, "k", "b", Some("1")),
            write(None, "k", "a", Some("2")),
            write(None, "kk", "c", Some("3")),
        ])
        .unwrap();
    store.put_records(&[write(Some(1), "k", "a", Some("4"))]).unwrap();
    assert_eq!(listed(&store, None, "k"), [pair("a", "2"), pair("b", "1")]);
    assert_eq!(listed(&store, None, "kk"), [pair("c", "3")]);
    assert_eq!(listed(&store, Some(1), "k"), [pair("a", "4")]);
    assert_eq!(listed(&store, Some(2), "k"), []);
    let batch = Batch {
        ledgers: vec![next(1, None, &many("s", 1))],
        records: vec![write(None, "k", "a", None), write(None, "k", "b", Some("5"))],
    };
    store.commit(&batch).unwrap();
    let store = reopen(store);
    assert_eq!(listed(&store, None, "k"), [pair("b", "5")]);
    assert_eq!(store.record(None, "k", "a").unwrap(), None);
    assert_eq!(
        store.record(Some(ONE), "k", "a").unwrap().as_deref(),
        Some(b"4".as_slice())
    );
    store
        .put_records(&[write(Some(1), "k", "a", None), write(Some(1), "k", "never there", None)])
        .unwrap();
    assert_eq!(listed(&store, Some(1), "k"), []);
}
