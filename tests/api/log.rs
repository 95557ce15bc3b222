//! The log as tiles, and proofs between many sizes.

use oubliette::spec::cose_receipt::{self, Proof};
use oubliette::spec::hash::Hash;
use oubliette::spec::merkle::{verify_consistency, verify_inclusion};
use oubliette::spec::note::{KeyName, VerifierKey};
use oubliette::spec::signature::PublicKey;
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

/// Levels 1 and 2 begin to fill here.
#[test]
fn tiles_around_the_first_full_tile_of_level_one_give_the_checkpoints_root() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    // A ledger of one event, its own creation.
    client.post("/v1/ledgers", &json!({"ledger": "tiny"})).expect(201);
    let note = client.get("/v1/ledgers/tiny/log/checkpoint").text();
    let leaf = client.get("/v1/ledgers/tiny/log/tile/0/000.p/1").body;
    let root = Hash::try_from(leaf.as_slice()).unwrap();
    assert!(note.contains(&format!("\n1\n{}\n\n", root.to_base64())), "{note}");
    for path in ["0/000.p/2", "0/000", "1/000.p/1", "entries/000"] {
        client
            .get(&format!("/v1/ledgers/tiny/log/tile/{path}"))
            .problem(404, "not_found");
    }
    let mut leaves: Vec<Hash> = Vec::new();
    for size in [65_535, 65_536, 65_537, 70_000] {
        let tree = keys.open(&grow_to(&client, &keys, size));
        let now = leaves_from_tiles(&client, size);
        assert_eq!(root_of(&now), tree.root, "size {size}");
        assert!(now.starts_with(&leaves), "size {size}");
        leaves = now;
        let missing = [
            ("log/tile/1/001.p/1", 65_537 + 255),
            ("log/tile/2/000.p/1", 65_536),
            ("log/tile/1/000", 65_536),
        ];
        for (path, from) in missing {
            let status = if size < from { 404 } else { 200 };
            assert_eq!(client.get(path).status, status, "{path} at {size}");
        }
    }
    let mut dice = Dice::new(70_000);
    for size in [65_535, 65_536, 65_537, 70_000] {
        let root = root_of(&leaves[..usize::try_from(size).unwrap()]);
        for index in [0, 255, 256, 65_534, dice.below(size), size - 1] {
            let answer = client
                .get(&format!("proofs/inclusion?index={index}&tree_size={size}"))
                .expect(200);
            let leaf = &leaves[usize::try_from(index).unwrap()];
            verify_inclusion(leaf, index, size, &hashes(&answer["hashes"]), &root).unwrap();
        }
        let from = 1 + dice.below(size);
        let old = root_of(&leaves[..usize::try_from(from).unwrap()]);
        let answer = client
            .get(&format!("proofs/consistency?from={from}&to={size}"))
            .expect(200);
        verify_consistency(from, size, &old, &root, &hashes(&answer["hashes"])).unwrap();
        assert_eq!(answer["from_root"], old.to_string());
        assert_eq!(answer["root"], root.to_string());
    }
}

#[test]
fn a_public_log_shows_hashes_to_everybody_and_entries_to_auditors() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG_PUBLIC", "[main, nowhere]")]);
    let (client, stranger) = (server.client(), server.stranger());
    client.post("/v1/ledgers", &json!({"ledger": "closed"})).expect(201);
    let keys = Keys::of(&client, "main", data.vkey());
    grow_to(&client, &keys, 300);
    let note = stranger.get("log/checkpoint");
    assert_eq!((note.status, note.header("cache-control")), (200, "public, max-age=1"));
    assert_eq!(note.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(keys.open(&note.text()).size, 300);
    for (path, caching) in [
        ("log/tile/0/000", "public, max-age=31536000, immutable"),
        ("log/tile/0/001.p/44", "public, max-age=60"),
        ("log/tile/1/000.p/1", "public, max-age=60"),
    ] {
        let tile = stranger.get(path);
        assert_eq!((tile.status, tile.header("cache-control")), (200, caching), "{path}");
        assert_eq!(tile.header("content-type"), "application/octet-stream");
        let head = stranger.send("HEAD", path, &[], b"");
        assert_eq!(
            (head.status, head.header("cache-control"), head.body.len()),
            (200, caching, 0)
        );
    }
    stranger.get("log/tile/0/002.p/1").problem(404, "not_found");
    // All else needs a key as before, and entries the role.
    for path in [
        "log/tile/entries/000",
        "log/tile/entries/000.p/1",
        "proofs/inclusion?index=0",
        "proofs/consistency?from=1",
        "events/0/proof",
        "keys",
        "/v1/ledgers/closed/log/checkpoint",
        "/v1/ledgers/closed/log/tile/0/000.p/1",
        "/v1/ledgers/nowhere/log/checkpoint",
        "/v1/ledgers/elsewhere/log/checkpoint",
    ] {
        stranger.get(path).problem(401, "unauthenticated");
    }
    let writer = server.client_as(&["writer"], None);
    writer.get("log/tile/entries/000").problem(403, "forbidden");
    assert_eq!(writer.get("log/tile/0/000").status, 200);
    let entries = server.client_as(&["auditor"], None).get("log/tile/entries/000");
    assert_eq!(
        (entries.status, entries.header("cache-control")),
        (200, "private, max-age=31536000, immutable")
    );
    assert_eq!(entries.header("content-type"), "application/octet-stream");
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
fn an_events_proof_leads_to_the_checkpoint_that_was_asked_for() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    for size in [10, 20, 300] {
        grow_to(&client, &keys, size);
    }
    let leaves = keys.ledger(&client, "main");
    let origin: KeyName = keys.origin.parse().unwrap();
    for (index, asked, found) in [
        (3, 4, 10),
        (3, 10, 10),
        (3, 11, 20),
        (3, 20, 20),
        (3, 21, 300),
        (12, 300, 300),
    ] {
        let answer = client.get(&format!("events/{index}/proof?tree_size={asked}"));
        let name = format!("attachment; filename=\"{index}.tlog-proof\"");
        assert_eq!(answer.header("content-disposition"), name);
        let proof: TlogProof = answer.text().parse().unwrap();
        let opened = proof
            .verify(&leaves[index], &origin, &[data.vkey().parse().unwrap()])
            .unwrap();
        assert_eq!(opened.checkpoint.size, found, "{index} in {asked}");
    }
    for wrong in [
        "events/3/proof?tree_size=0",
        "events/3/proof?tree_size=3",
        "events/3/proof?tree_size=301",
        "events/3/proof?size=4",
    ] {
        client.get(wrong).problem(422, "invalid_field");
    }
    client
        .get("events/18446744073709551615/proof?tree_size=1")
        .problem(404, "event_not_found");
}

#[test]
fn proofs_are_given_as_cose_receipts_too() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    grow_to(&client, &keys, 300);
    let leaves = keys.ledger(&client, "main");
    let root = |size: usize| root_of(&leaves[..size]);
    let vkey: VerifierKey = data.vkey().parse().unwrap();
    let key = PublicKey::new(vkey.public_key()).unwrap();
    for (index, size) in [(0, 1), (0, 300), (255, 256), (256, 257), (299, 300)] {
        let path = format!("proofs/inclusion?index={index}&tree_size={size}&format=cose");
        let receipt = client.get(&path).body;
        let (proof, found) = cose_receipt::verify_inclusion(&receipt, &key, &leaves[index]).unwrap();
        assert_eq!(found, root(size));
        let Proof::Inclusion { size: s, index: i, .. } = proof else {
            panic!("{proof:?}")
        };
        assert_eq!((s, i), (size as u64, index as u64));
        assert!(cose_receipt::verify_inclusion(&receipt, &key, &leaves[(index + 1) % 300]).is_err());
        let path = format!("proofs/consistency?from={}&to={size}&format=cose", index + 1);
        let receipt = client.get(&path).body;
        let (_, found) = cose_receipt::verify_consistency(&receipt, &key, &root(index + 1)).unwrap();
        assert_eq!(found, root(size));
    }
    let unknown = client.get("proofs/inclusion?index=0&format=xml");
    unknown.problem(422, "invalid_field");
    client
        .get("proofs/consistency?from=0&format=cose")
        .problem(422, "invalid_field");
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
