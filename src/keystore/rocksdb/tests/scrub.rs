//! After a scrub no file of the key store holds a byte of what was destroyed before it.

use super::*;

/// Every row of these tables: its key and its value.
fn secrets(store: &RocksKeyStore, handle: Handle) -> Vec<Vec<u8>> {
    let of_handle = |(row, value): (Vec<u8>, Vec<u8>)| {
        let named = memchr::memmem::find(&row, handle.as_bytes()).is_some();
        named.then_some([row, value])
    };
    let keys = store.rows(Table::Key).into_iter().filter_map(of_handle).flatten();
    let handles = store.rows(Table::Handle).into_iter().filter_map(of_handle).flatten();
    keys.chain(handles).collect()
}

fn is_in_a_file(place: &Place, needle: &[u8]) -> bool {
    let names = crate::env::file_names(&place.path()).unwrap();
    names.iter().any(|name| {
        let file = std::fs::read(place.path().join(name)).unwrap();
        memchr::memmem::find(&file, needle).is_some()
            || memchr::memmem::find(&file, hex::encode_upper(needle).as_bytes()).is_some()
    })
}

fn person(number: usize) -> String {
    format!("person-{number}")
}

#[test]
fn what_was_destroyed_is_in_the_files_before_a_scrub_and_in_none_after() {
    let place = Place::new();
    let store = place.create();
    let keys: Vec<_> = (0..300)
        .map(|number| provision(&store, ONE, &person(number), "default").unwrap())
        .collect();
    // In files of every kind: sorted at the bottom, sorted above, in the log.
    let engine = store.db.engine();
    engine.flush().unwrap();
    engine.compact_range(None::<&[u8]>, None::<&[u8]>);
    provision(&store, ONE, &person(3), "marketing").unwrap();
    engine.flush().unwrap();
    provision(&store, ONE, &person(3), "invoice").unwrap();
    let gone = [3, 0, 299, 150];
    let identities: Vec<_> = store.rows(Table::Identity).into_iter().collect();
    let mut doomed: Vec<_> = gone.iter().flat_map(|at| secrets(&store, keys[*at].handle)).collect();
    assert!(doomed.len() >= 2 * (2 * gone.len() + 2), "{}", doomed.len());
    let orders: Vec<_> = gone.iter().map(|at| order(1, keys[*at].handle, None)).collect();
    store.fence(ONE, &orders).unwrap();
    let kept = bytes(&store, ONE, &keys[1]).unwrap();
    destroy(&store, ONE, &orders, 1).unwrap();
    let left = store.rows(Table::Identity);
    doomed.extend(
        identities
            .into_iter()
            .filter(|(row, _)| !left.contains_key(row))
            .flat_map(|(row, value)| [row, value]),
    );
    assert!(
        doomed
            .iter()
            .filter(|value| value.len() > 8)
            .all(|value| is_in_a_file(&place, value))
    );
    assert!(store.scrub().unwrap());
    for value in doomed.iter().filter(|value| value.len() > 8) {
        assert!(!is_in_a_file(&place, value), "{}", hex::encode(value));
    }
    // The others are whole, now and later, and a second scrub changes nothing.
    assert!(store.scrub().unwrap());
    let store = reopened(&place, store);
    assert_eq!(bytes(&store, ONE, &keys[1]).unwrap(), kept);
    assert!(!secrets(&store, keys[1].handle).is_empty());
    for (number, key) in keys.iter().enumerate() {
        let expected = !gone.contains(&number);
        assert_eq!(store.key(ONE, key).unwrap().is_ok(), expected, "{number}");
    }
}

#[test]
fn a_reader_that_holds_an_old_file_is_told_of_and_nobody_waits_for_a_scrub() {
    let place = Place::new();
    let store = place.create();
    let key = provision(&store, ONE, "ada", "default").unwrap();
    let engine = store.db.engine();
    engine.flush().unwrap();
    std::thread::scope(|scope| {
        let reader = engine.raw_iterator();
        let scrubbing = scope.spawn(|| store.scrub().unwrap());
        while !scrubbing.is_finished() {
            let other = provision(&store, ONE, "bob", "default").unwrap();
            assert!(bytes(&store, ONE, &other).is_ok() && bytes(&store, ONE, &key).is_ok());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        drop(reader);
        assert!(!scrubbing.join().unwrap());
    });
    assert!(store.scrub().unwrap());
}
