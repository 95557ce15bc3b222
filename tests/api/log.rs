//! The log as tiles, and proofs between many sizes.

use oubliette::spec::hash::Hash;
use oubliette::spec::merkle::{verify_consistency, verify_inclusion};
use oubliette::spec::note::KeyName;
use oubliette::spec::tlog_proof::TlogProof;
use serde_json::json;

use crate::support::receipts::{Keys, hashes, leaves_from_tiles, root_of};
use crate::support::{Client, Data, Dice};

/// Appends until the ledger has `size` events; gives the checkpoint's note of that size.
fn grow_to(client: &Client, keys: &Keys, size: u64) -> String {
    loop {
        let note = client.get("log/checkpoint").text();
        let now = keys.open(&note).size;
        if now == size {
            return note;
        }
        let events: Vec<_> = (now..size.min(now + 1_000))
            .map(|n| json!({"type": "t", "data": n}))
            .collect();
        client
            .post("streams/s/events?proof=none", &json!({"events": events}))
            .expect(201);
    }
}

#[test]
fn tiles_of_every_size_around_a_full_one_give_the_checkpoints_root() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let mut seen: Vec<Hash> = Vec::new();
    for size in [3, 254, 255, 256, 257, 511, 512, 513, 1_280] {
        let tree = keys.open(&grow_to(&client, &keys, size));
        let leaves = leaves_from_tiles(&client, size);
        assert_eq!(root_of(&leaves), tree.root, "size {size}");
        assert!(
            leaves.starts_with(&seen),
            "the log of size {size} does not extend the one before"
        );
        seen = leaves;
    }
    // Partials of every earlier size stay, and are prefixes; what the tree does not have is not there.
    for width in [1, 2, 100, 255] {
        assert_eq!(client.get(&format!("log/tile/0/000.p/{width}")).body.len(), 32 * width);
        assert_eq!(client.get(&format!("log/tile/0/004.p/{width}")).body.len(), 32 * width);
    }
    for path in [
        "log/tile/0/005.p/1",
        "log/tile/1/000",
        "log/tile/1/000.p/6",
        "log/tile/2/000.p/1",
        "log/tile/entries/005.p/1",
    ] {
        client.get(path).problem(404, "not_found");
    }
    assert_eq!(client.get("log/tile/1/000.p/5").status, 200);
    assert_eq!(leaves_from_tiles(&client, 1_280), keys.ledger(&client, "main"));
    // The same from a fresh start, where nothing is in memory.
    server.stop();
    let server = data.serve();
    assert_eq!(leaves_from_tiles(&server.client(), 1_280), seen);
}

#[test]
fn proofs_between_all_kinds_of_sizes_verify() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    grow_to(&client, &keys, 600);
    let leaves = keys.ledger(&client, "main");
    let root = |size: u64| root_of(&leaves[..usize::try_from(size).unwrap()]);
    let mut dice = Dice::new(7);
    let edges = [1, 2, 3, 4, 5, 127, 128, 129, 255, 256, 257, 511, 512, 513, 599, 600];
    let pairs = edges.iter().flat_map(|from| edges.iter().map(move |to| (*from, *to)));
    let random: Vec<_> = (0..60).map(|_| (1 + dice.below(600), 1 + dice.below(600))).collect();
    for (from, to) in pairs.chain(random).filter(|(from, to)| from <= to) {
        let answer = client
            .get(&format!("proofs/consistency?from={from}&to={to}"))
            .expect(200);
        verify_consistency(from, to, &root(from), &root(to), &hashes(&answer["hashes"]))
            .unwrap_or_else(|error| panic!("{from}..{to}: {error}"));
        let index = dice.below(to);
        let answer = client
            .get(&format!("proofs/inclusion?index={index}&tree_size={to}"))
            .expect(200);
        assert_eq!(
            (&answer["leaf_index"], &answer["tree_size"], &answer["root"]),
            (&json!(index), &json!(to), &json!(root(to).to_string()))
        );
        let leaf = &leaves[usize::try_from(index).unwrap()];
        verify_inclusion(leaf, index, to, &hashes(&answer["hashes"]), &root(to))
            .unwrap_or_else(|error| panic!("{index} in {to}: {error}"));
    }
    for wrong in [
        "proofs/consistency?from=5&to=4",
        "proofs/consistency?from=1&to=601",
        "proofs/inclusion?index=600&tree_size=600",
        "proofs/inclusion?index=0&tree_size=601",
        "proofs/inclusion?index=0&tree_size=0",
    ] {
        client.get(wrong).problem(422, "invalid_field");
    }
    let latest = client.get("proofs/inclusion?index=0").expect(200);
    assert_eq!(latest["tree_size"], 600);
}

#[test]
fn an_events_proof_travels_as_a_file() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    grow_to(&client, &keys, 300);
    let leaves = keys.ledger(&client, "main");
    let origin: KeyName = keys.origin.parse().unwrap();
    for index in [0, 1, 2, 127, 255, 256, 299] {
        let answer = client.get(&format!("events/{index}/proof"));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "text/plain; charset=utf-8")
        );
        let proof: TlogProof = answer.text().parse().unwrap();
        assert_eq!(
            oubliette::spec::hash::leaf_hash(&proof.extra),
            leaves[index],
            "the proof carries another header"
        );
        proof
            .verify(&leaves[index], &origin, &[data.vkey().parse().unwrap()])
            .unwrap();
        assert!(
            proof
                .verify(&leaves[(index + 1) % 300], &origin, &[data.vkey().parse().unwrap()])
                .is_err()
        );
    }
}

#[test]
fn checkpoints_that_anybody_saw_are_consistent_while_events_pour_in() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let notes = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let client = &client;
                scope.spawn(move || {
                    for n in 0..40 {
                        let events = vec![json!({"type": "t", "data": n}); 1 + n % 9];
                        client
                            .post(&format!("streams/w{writer}/events"), &json!({"events": events}))
                            .expect(201);
                    }
                })
            })
            .collect();
        let mut notes = Vec::new();
        while writers.iter().any(|writer| !writer.is_finished()) {
            notes.push(client.get("log/checkpoint").text());
        }
        notes
    });
    let leaves = keys.ledger(&client, "main");
    let mut before = 0;
    for note in notes {
        let tree = keys.open(&note);
        assert!(tree.size >= before, "the log shrank from {before} to {}", tree.size);
        assert_eq!(root_of(&leaves[..usize::try_from(tree.size).unwrap()]), tree.root);
        before = tree.size;
    }
}
