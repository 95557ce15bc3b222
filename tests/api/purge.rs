//! After an erasure: ciphertext and residue leave the files, and everything else stays provable.

use std::process::Command;

use oubliette::store::rocksdb::RocksStore;
use oubliette::store::{LedgerNumber, LedgerStore};
use serde_json::{Value, json};

use crate::support::people::{self, found_in, sealed, verified};
use crate::support::receipts::Keys;
use crate::support::{Client, Data, Dice, eventually, id, run};

const PROMPT: [(&str, &str); 1] = [("OUBLIETTE_ERASURE_PURGE", "prompt")];

pub(crate) fn erase(client: &Client, request: &Value) -> Value {
    let mut request = request.clone();
    (request["basis"], request["reason"]) = (json!("art17_1_b"), json!("request"));
    client.post("erasures", &request).expect(202)
}

fn residue(client: &Client, erasure: &Value, code: &str) -> Value {
    let view = client
        .get(&format!("erasures/{}", erasure["id"].as_str().unwrap()))
        .expect(200);
    let residues = view["residues"].as_array().unwrap();
    residues
        .iter()
        .find(|residue| residue["residue"] == code)
        .unwrap()
        .clone()
}

fn is_removed(client: &Client, erasure: &Value, code: &str) -> bool {
    residue(client, erasure, code)["state"] == "removed"
}

pub(crate) fn purged(client: &Client, erasure: &Value) {
    eventually("ciphertext is removed", || is_removed(client, erasure, "ciphertext"));
    assert!(is_removed(client, erasure, "key_store_files"));
}

pub(crate) fn purges(client: &Client) -> Vec<Value> {
    client.read_all("events?type=bodies.purged", 100)
}

pub(crate) fn certificate(client: &Client, erasure: &Value) -> Vec<u8> {
    let id = erasure["id"].as_str().unwrap();
    let answer = client.get(&format!("erasures/{id}/certificate"));
    assert_eq!(answer.status, 200);
    answer.body
}

fn export(client: &Client, request: &Value) -> String {
    client.post("exports", request).expect(201)["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

pub(crate) fn verification(client: &Client) -> Value {
    people::verification(client, "main")
}

#[test]
fn after_a_purge_blocks_read_as_erased_and_everything_still_proves() {
    let data = Data::new();
    let server = data.serve_with(&PROMPT);
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let both = json!({"id": id(1), "type": "t", "data": 1, "personal": [{"subject": "ada", "data": "A"}, {"subject": "bob", "data": "B"}]});
    let first = client.append("s", both.clone());
    let index = first["index"].as_u64().unwrap();
    let handle = first["personal"][0]["handle"].as_str().unwrap().to_owned();
    client.append("s", sealed("ada", "more"));
    let bundle = export(&client, &json!({"format": "bundle"}));
    let selection = export(&client, &json!({"format": "bundle", "type": "t"}));
    let leaves = keys.ledger(&client, "main");
    let before = client.get(&bundle);
    verified(&before.body);
    let erasure = erase(&client, &json!({"subjects": ["ada"], "note": "she asked"}));
    purged(&client, &erasure);

    // The blocks of ada, the note of the request among them; nothing of bob's.
    let purge = purges(&client).pop().unwrap();
    let authority = purge["index"].as_u64().unwrap();
    assert_eq!(purge["data"]["requests"], json!([erasure["id"]]));
    let requested = client.read_all("events?type=erasure.requested", 10)[0]["index"].clone();
    assert_eq!(
        purge["data"]["positions"],
        json!([[index, 2], [index + 1, 2], [requested, 2]])
    );
    let event = client.get(&format!("events/{index}?reveal=true")).expect(200);
    let erased = json!({"ordinal": 2, "state": "erased", "authority": authority});
    assert_eq!(event["personal"][0], erased);
    assert_eq!(
        (&event["personal"][1]["state"], &event["personal"][1]["data"]),
        (&json!("clear"), &json!("B"))
    );
    assert_eq!(
        client.get(&format!("events/{}", index + 1)).expect(200)["personal"],
        json!([erased])
    );
    let about = client.read_all(&format!("events?handle={handle}"), 10);
    assert_eq!(
        about.len(),
        1,
        "only the request is still found by the handle: {about:?}"
    );

    // As of before the erasure it is the same, and a state says what is not in it.
    let state = client
        .get(&format!("streams/s/state?as_of_index={index}&reveal=true"))
        .expect(200);
    assert_eq!(state["not_folded"][0]["state"], "erased", "{state}");
    assert_eq!(state["not_folded"][0]["body"], "personal");

    // The receipt still verifies, and names no key of the block that is gone.
    let receipt = client.get(&format!("events/{index}/receipt"));
    assert_eq!(receipt.json()["events"][0]["personal"][0], json!({"ordinal": 2}));
    verified(&receipt.body);
    // A repeat is neither equal nor different.
    for (event, code) in [
        (both.clone(), "subject_erased"),
        (
            json!({"id": id(1), "type": "t", "data": 1, "personal": [{"subject": "eve", "data": "A"}, {"subject": "bob", "data": "B"}]}),
            "subject_erased",
        ),
    ] {
        let answer = client
            .post("streams/s/events", &json!({"events": [event]}))
            .problem(409, code);
        assert!(
            answer["errors"][0]["pointer"]
                .as_str()
                .unwrap()
                .starts_with("/events/0/personal/0"),
            "{answer}"
        );
    }

    let report = verification(&client);
    assert_eq!(report["verdict"], "valid", "{report:#}");
    assert_eq!(
        (&report["bodies"]["erased"], &report["bodies"]["missing"]),
        (&json!(3), &json!(0))
    );
    assert!(keys.ledger(&client, "main").starts_with(&leaves));
    // Exports that were asked for before carry the authority, whole or selected.
    let after = client.get(&bundle);
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(verified(&after.body)["bodies"]["erased"], 3);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), client.get(&selection).body).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
        .args(["--json", "--selection", file.path().to_str().unwrap()])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&report["verdict"], &report["bodies"]["missing"]),
        (&json!("valid"), &json!(0)),
        "{report:#}"
    );
    let lines = client.get(&export(&client, &json!({"format": "ndjson"}))).text();
    assert!(
        lines.contains(&erased.to_string().replace(' ', "")) || lines.contains("\"authority\""),
        "{lines}"
    );
    let table = client.get(&export(&client, &json!({"format": "csv"}))).text();
    assert!(table.contains("\"\"authority\"\":"), "{table}");
    // fsck: no index row is missing, none is wrong.
    server.stop();
    let output = run(&["fsck", "--data", data.path().to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(report["verdict"], "valid", "{report:#}");
}

#[test]
fn the_certificate_dates_what_is_gone_and_names_what_is_not() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "3")]);
    let client = server.client();
    client.append("s", sealed("ada", "A"));
    let erasure = erase(&client, &json!({"subjects": ["ada"]}));
    let early = verified(&certificate(&client, &erasure));
    let notes = |report: &Value| report["notes"].to_string();
    assert!(notes(&early).contains("Possible residue, ciphertext"), "{early:#}");
    purged(&client, &erasure);
    let document = certificate(&client, &erasure);
    let late = verified(&document);
    assert_eq!(
        late["checked"]["events"], 5,
        "created, requested, completed and two that say what is gone"
    );
    // No backup was taken: nothing is left.
    assert!(!notes(&late).contains("Possible residue"), "{late:#}");
    assert!(!notes(&late).contains("provisional"), "{late:#}");
    assert!(
        !notes(&late).contains("times, t3") && !notes(&late).contains("times, t4"),
        "{late:#}"
    );
    assert!(
        notes(&late).contains("lists the positions of the removed blocks of this person together"),
        "{late:#}"
    );
    assert_eq!(certificate(&client, &erasure), document, "the same at every request");
    let removed = client.read_all("events?type=erasure.residue_removed", 10);
    let residues: Vec<_> = removed
        .iter()
        .map(|event| event["data"]["residue"].as_str().unwrap())
        .collect();
    assert_eq!(residues, ["key_store_files", "ciphertext"]);
    let derived = removed[1]["data"]["derived"].as_array().unwrap();
    assert!(
        derived
            .iter()
            .any(|store| store["store"] == "block_caches" && store["state"] == "memory_only")
    );
    for event in &removed {
        assert_eq!(
            residue(&client, &erasure, event["data"]["residue"].as_str().unwrap())["removed_at"],
            event["data"]["at"]
        );
    }
    // A bundle carries it as it is, and an older export as it is now.
    let bundle = client.get(&export(&client, &json!({"format": "bundle"})));
    verified(&bundle.body);
}

#[test]
fn with_never_the_ciphertext_stays_and_the_key_stores_files_are_rewritten_all_the_same() {
    let data = Data::new();
    let server = data.serve_with(&[
        ("OUBLIETTE_ERASURE_PURGE", "never"),
        ("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "0"),
    ]);
    let client = server.client();
    client.append("s", sealed("ada", "A"));
    let erasure = erase(&client, &json!({"subjects": ["ada"]}));
    eventually("T3", || is_removed(&client, &erasure, "key_store_files"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert!(!is_removed(&client, &erasure, "ciphertext"));
    assert!(purges(&client).is_empty());
    // Another word later, and it goes.
    server.stop();
    let server = data.serve_with(&PROMPT);
    purged(&server.client(), &erasure);
    data.refused_with(&[("OUBLIETTE_ERASURE_PURGE", "sometimes")]);
}

fn sealed_bytes(data: &Data) -> Vec<Vec<u8>> {
    let store = RocksStore::open_read_only(&data.path().join("ledger")).unwrap();
    let bodies = store.bodies(LedgerNumber(1), 0..1_000).unwrap();
    let of_callers = bodies.into_iter().filter(|body| body.ordinal == 2);
    of_callers.map(|body| body.bytes).collect()
}

fn holds(data: &Data, needle: &[u8]) -> bool {
    !found_in(&data.path(), needle).is_empty()
}

#[test]
fn no_file_of_the_data_directory_holds_the_ciphertext_after_a_purge() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "the first block about her"));
    client.append("s", sealed("bob", "what is about him"));
    client.append("s", sealed("ada", "the second block about her"));
    server.stop();
    let blocks = sealed_bytes(&data);
    assert!(blocks.len() == 3 && blocks.iter().all(|block| holds(&data, block)));
    let server = data.serve_with(&PROMPT);
    let erasure = erase(&server.client(), &json!({"subjects": ["ada"]}));
    purged(&server.client(), &erasure);
    let found = |at: usize| holds(&data, &blocks[at]);
    assert_eq!(
        [found(0), found(1), found(2)],
        [false, true, false],
        "while the server runs"
    );
    server.stop();
    assert_eq!([found(0), found(1), found(2)], [false, true, false], "after it ended");
}

#[test]
fn a_purge_of_25000_blocks_goes_in_parts_and_outlives_kill_9_at_any_time() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let block = json!({"subject": "ada", "data": 1});
    let event = json!({"stream": "s", "type": "t", "personal": vec![block; 100]});
    let batch = json!({"events": vec![event; 50]});
    for _ in 0..5 {
        assert_eq!(client.post("events?proof=none", &batch).status, 201);
    }
    client.append("s", sealed("bob", "B"));
    let erasure = erase(&client, &json!({"subjects": ["ada"]}));
    server.stop();
    let mut dice = Dice::new(7);
    for round in 0..12 {
        let server = data.serve_with(&PROMPT);
        std::thread::sleep(std::time::Duration::from_millis(300 + round * 40 + dice.below(200)));
        server.kill();
    }
    let server = data.serve_with(&PROMPT);
    let client = server.client();
    purged(&client, &erasure);
    let lists = purges(&client);
    let positions = |list: &Value| list["data"]["positions"].as_array().unwrap().clone();
    assert_eq!(
        lists.iter().map(|list| positions(list).len()).collect::<Vec<_>>(),
        [10_000, 10_000, 5_000]
    );
    let mut all: Vec<_> = lists
        .iter()
        .flat_map(positions)
        .map(|position| position.to_string())
        .collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 25_000, "a block was removed twice");
    let removed = client.read_all("events?type=erasure.residue_removed", 10);
    assert_eq!(removed.len(), 2, "{removed:?}");
    assert_eq!(removed[1]["data"]["purges"].as_array().unwrap().len(), 3);
    let report = verification(&client);
    assert_eq!(
        (&report["verdict"], &report["bodies"]["erased"]),
        (&json!("valid"), &json!(25_000)),
        "{report:#}"
    );
    verified(&client.get(&export(&client, &json!({"format": "bundle"}))).body);
}

#[test]
fn reads_exports_and_verifications_beside_purges_never_see_tampering() {
    let data = Data::new();
    let server = data.serve_with(&PROMPT);
    let client = server.client();
    for person in 0..12 {
        for _ in 0..20 {
            client.append("s", sealed(&format!("p{person}"), "x"));
        }
    }
    let asked = export(&client, &json!({"format": "bundle"}));
    std::thread::scope(|scope| {
        let erasing = scope.spawn(|| {
            let erase = |person| erase(&client, &json!({"subjects": [format!("p{person}")]}));
            let erasures: Vec<_> = (0..10).map(erase).collect();
            erasures.iter().for_each(|erasure| purged(&client, erasure));
        });
        while !erasing.is_finished() {
            for event in client.read_all("events?reveal=true&system=false", 1_000) {
                for block in event["personal"].as_array().unwrap() {
                    let state = block["state"].as_str().unwrap();
                    assert!(["clear", "erasing", "erased"].contains(&state), "{event}");
                }
            }
            assert_eq!(verification(&client)["verdict"], "valid");
            // A download may break off; what comes whole holds.
            if let Ok(answer) = client.try_send("GET", &asked, &[], b"") {
                verified(&answer.body);
            }
        }
    });
    verified(&client.get(&asked).body);
}
