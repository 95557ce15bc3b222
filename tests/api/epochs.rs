//! Epochs: what an erasure says of its keys, retirement and horizon, rotation.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use oubliette::env::System;
use oubliette::keystore::vault::Vault;
use oubliette::keystore::vault::file::FileVault;
use oubliette::spec::ids::{LedgerId, Timestamp};
use serde_json::{Value, json};

use crate::support::{Client, Data, copy_folder, eventually, run};

fn sealed(client: &Client, subject: &str) {
    client.append(
        "s",
        json!({"type": "t", "personal": [{"subject": subject, "data": subject}]}),
    );
}

fn states(client: &Client) -> Vec<String> {
    let events = client.read_all("streams/s/events?reveal=true", 100);
    let state = |event: &Value| event["personal"][0]["state"].as_str().unwrap().to_owned();
    events.iter().map(state).collect()
}

fn erase(client: &Client, subjects: &[&str]) -> Value {
    let request = json!({"subjects": subjects, "basis": "art17_1_b", "reason": "request"});
    client.post("erasures", &request).expect(202)
}

fn payloads(client: &Client, event_type: &str) -> Vec<Value> {
    let page = client.get(&format!("events?type={event_type}&limit=1000")).expect(200);
    let events = page["events"].as_array().unwrap();
    events.iter().map(|event| event["data"].clone()).collect()
}

/// The verifier's report on the certificate of an erasure.
fn certified(data: &Data, client: &Client, erasure: &Value) -> Value {
    let file = data.path().join("../certificate");
    let answer = client.get(erasure["certificate"].as_str().unwrap());
    assert_eq!(answer.status, 200);
    std::fs::write(&file, &answer.body).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
        .args([file.to_str().unwrap(), "--key", data.vkey(), "--json"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn mirrors(data: &Data) -> [PathBuf; 2] {
    ["a", "b"].map(|name| data.path().join("vault").join(name))
}

/// Looks at the vault while no server has it open.
fn with_vault<T>(data: &Data, look: impl FnOnce(&FileVault, LedgerId) -> T) -> T {
    let vault = FileVault::open(&mirrors(data), Arc::new(System)).unwrap();
    let ledger = vault.ledgers().unwrap()[0];
    look(&vault, ledger)
}

fn epochs(data: &Data) -> Vec<u32> {
    with_vault(data, |vault, ledger| {
        vault.epochs(ledger).unwrap().iter().map(|key| key.epoch).collect()
    })
}

fn back_up(data: &Data, epoch: u32) {
    with_vault(data, |vault, ledger| {
        vault.mark_backed_up(ledger, epoch, Timestamp(1)).unwrap()
    });
}

#[test]
fn an_erasure_without_a_backup_destroys_the_epoch_key_at_once_and_says_so() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    ["ada", "bob"].into_iter().for_each(|subject| sealed(&client, subject));
    let done = erase(&client, &["ada"]);
    assert_eq!(done["state"], "completed");
    assert!(done.get("epoch_key_due_at").is_none());
    let completed = &payloads(&client, "erasure.completed")[0];
    assert_eq!(completed["epochs"], json!({"from": 1, "to": 2}));
    assert_eq!(completed["pending"], json!(["key_store_files", "ciphertext"]));
    assert_eq!(
        (&completed["key_bits"], &completed["algorithms"][0]),
        (&json!(256), &json!("AES-256-GCM"))
    );
    let time = |field: &str| completed[field].as_str().unwrap().to_owned();
    let order = ["fenced_at", "keys_deleted_at", "keys_destroyed_at"].map(time);
    assert!(order.is_sorted(), "{order:?}");
    assert_eq!(done["keys_destroyed_at"], completed["keys_destroyed_at"]);
    let report = certified(&data, &client, &done);
    assert_eq!(report["verdict"], "valid", "{report}");
    assert!(!report["notes"].to_string().contains("epoch_key"), "{report}");
    assert_eq!(states(&client), ["erased", "clear"]);
    server.stop();
    assert_eq!(epochs(&data), [2]);
    let server = data.serve();
    assert_eq!(states(&server.client()), ["erased", "clear"]);
}

#[test]
fn a_backed_up_epoch_is_retired_and_dies_at_its_horizon_while_the_server_runs() {
    let data = Data::new();
    let server = data.serve();
    ["ada", "bob"]
        .into_iter()
        .for_each(|subject| sealed(&server.client(), subject));
    server.stop();
    back_up(&data, 1);
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "4")]);
    let client = server.client();
    let done = erase(&client, &["ada"]);
    let due = done["epoch_key_due_at"].as_str().unwrap();
    assert!(done["keys_destroyed_at"].as_str().unwrap() < due);
    let report = certified(&data, &client, &done);
    assert_eq!(report["verdict"], "valid", "{report}");
    assert!(report["notes"].to_string().contains("epoch_key"), "{report}");
    eventually("the key is destroyed", || {
        !payloads(&client, "epoch.destroyed").is_empty()
    });
    let gone = &payloads(&client, "epoch.destroyed")[0];
    assert_eq!(
        (&gone["epoch"], &gone["due_at"]),
        (&json!(1), &done["epoch_key_due_at"])
    );
    assert!(gone["destroyed_at"].as_str().unwrap() >= due);
    let report = certified(&data, &client, &done);
    assert_eq!(report["verdict"], "valid", "{report}");
    assert!(!report["notes"].to_string().contains("epoch_key"), "{report}");
    assert_eq!(states(&client), ["erased", "clear"]);
    server.stop();
    assert_eq!(epochs(&data), [2]);
}

#[test]
fn a_backup_under_an_earlier_epoch_keeps_a_later_erasure_from_being_final() {
    let data = Data::new();
    let server = data.serve();
    ["ada", "bob"]
        .into_iter()
        .for_each(|subject| sealed(&server.client(), subject));
    server.stop();
    back_up(&data, 1);
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "8")]);
    let client = server.client();
    let ada = erase(&client, &["ada"]);
    let bob = erase(&client, &["bob"]);
    assert_eq!(bob["epoch_key_due_at"], ada["epoch_key_due_at"]);
    let completed = payloads(&client, "erasure.completed");
    assert_eq!(completed[1]["epochs"], json!({"from": 2, "to": 3}));
    for completed in &completed {
        assert_eq!(completed["retired_epochs"], json!([1]));
        assert!(completed["pending"].as_array().unwrap().contains(&json!("epoch_key")));
    }
    let report = certified(&data, &client, &bob);
    assert_eq!(report["verdict"], "valid", "{report}");
    assert!(report["notes"].to_string().contains("epoch_key"), "{report}");
    eventually("the key is destroyed", || {
        !payloads(&client, "epoch.destroyed").is_empty()
    });
    for erasure in [&ada, &bob] {
        let report = certified(&data, &client, erasure);
        assert_eq!(report["verdict"], "valid", "{report}");
        assert!(!report["notes"].to_string().contains("epoch_key"), "{report}");
    }
    server.stop();
    assert_eq!(epochs(&data), [3]);
    let server = data.serve();
    assert_eq!(payloads(&server.client(), "epoch.destroyed").len(), 1, "once");
}

#[test]
fn a_retired_epoch_whose_horizon_passed_while_the_server_was_down_dies_at_the_next_start() {
    let data = Data::new();
    let server = data.serve();
    sealed(&server.client(), "ada");
    server.stop();
    back_up(&data, 1);
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "3")]);
    erase(&server.client(), &["ada"]);
    server.stop();
    assert_eq!(epochs(&data), [1, 2], "it is retired");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let server = data.serve();
    assert_eq!(
        payloads(&server.client(), "epoch.destroyed").len(),
        1,
        "before anything is served"
    );
    server.stop();
    assert_eq!(epochs(&data), [2]);
    // A crash between the destruction and its record: the record comes at the next start.
    let data = Data::new();
    let server = data.serve();
    sealed(&server.client(), "ada");
    server.stop();
    back_up(&data, 1);
    let server = data.serve();
    erase(&server.client(), &["ada"]);
    server.stop();
    with_vault(&data, |vault, ledger| vault.destroy_epoch(ledger, 1).unwrap());
    let server = data.serve();
    assert_eq!(payloads(&server.client(), "epoch.destroyed").len(), 1);
    server.stop();
    let server = data.serve();
    assert_eq!(payloads(&server.client(), "epoch.destroyed").len(), 1, "once");
}

#[test]
fn with_no_horizon_a_backup_keeps_no_key_alive() {
    let data = Data::new();
    let server = data.serve();
    sealed(&server.client(), "ada");
    server.stop();
    back_up(&data, 1);
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "0")]);
    assert!(erase(&server.client(), &["ada"]).get("epoch_key_due_at").is_none());
    server.stop();
    assert_eq!(epochs(&data), [2]);
}

#[test]
fn erasures_that_wait_share_their_changes_of_epoch() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let subjects: Vec<_> = (0..24).map(|n| format!("p{n}")).collect();
    subjects.iter().for_each(|subject| sealed(&client, subject));
    sealed(&client, "bob");
    std::thread::scope(|scope| {
        for subject in &subjects {
            let client = server.client();
            scope.spawn(move || assert_eq!(erase(&client, &[subject])["state"], "completed"));
        }
        // The same person in two requests: one of them is told.
        let client = server.client();
        scope.spawn(move || {
            let request = json!({"subjects": ["bob"], "basis": "art17_1_b", "reason": "request"});
            client.post("erasures", &request).expect(202);
        });
    });
    let completed = payloads(&client, "erasure.completed");
    assert_eq!(completed.len(), 25);
    let changes: std::collections::BTreeSet<_> = completed.iter().map(|done| done["epochs"]["to"].as_u64()).collect();
    assert!(changes.len() < 25, "{changes:?}");
    assert!(states(&client).iter().all(|state| state == "erased"));
}

#[test]
fn a_rotation_changes_the_epoch_and_no_proof_and_nobodys_data() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    sealed(&client, "ada");
    let event = client.get("events?type=t").expect(200)["events"][0].clone();
    let changed = client.send("POST", "epochs", &[], b"").expect(201);
    assert_eq!((&changed["from"], &changed["to"]), (&json!(1), &json!(2)));
    assert_eq!(payloads(&client, "epoch.changed"), std::slice::from_ref(&changed));
    assert_eq!(client.get("events?type=t").expect(200)["events"][0], event);
    assert_eq!(states(&client), ["clear"]);
    let admin = server.client_as(&["admin"], None);
    admin.send("POST", "epochs", &[], b"").expect(201);
    let reader = server.client_as(&["reader", "writer", "auditor", "revealer"], None);
    reader.send("POST", "epochs", &[], b"").problem(403, "forbidden");
    server.stop();
    let output = run(&[
        "key",
        "rotate-epoch",
        "--data",
        data.path().to_str().unwrap(),
        "--ledger",
        "main",
    ]);
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(words.contains("epoch 4 since now"), "{output:?}");
    let server = data.serve();
    assert_eq!(states(&server.client()), ["clear"]);
}

#[test]
fn a_new_generation_seals_and_the_old_one_still_opens() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    sealed(&client, "ada");
    let handle = client.post("subjects", &json!({"subject": "ada"})).expect(200)["handle"].clone();
    let path = format!("subjects/{}/rotations", handle.as_str().unwrap());
    let renewed = client.post(&path, &json!({})).expect(201);
    assert_eq!(renewed["keys"], json!([{"category": "default", "generation": 2}]));
    sealed(&client, "ada");
    let events = client.read_all("streams/s/events", 10);
    let generations: Vec<_> = events.iter().map(|event| &event["personal"][0]["generation"]).collect();
    assert_eq!(generations, [1, 2]);
    assert_eq!(states(&client), ["clear", "clear"]);
    assert_eq!(payloads(&client, "subject.keys_renewed").len(), 1);
    client
        .post(&path, &json!({"categories": []}))
        .problem(422, "invalid_field");
    client
        .post(&path, &json!({"nonsense": 1}))
        .problem(422, "invalid_field");
    let nobody = format!("subjects/{}/rotations", "0".repeat(32));
    client.post(&nobody, &json!({})).problem(404, "subject_not_found");
    erase(&client, &["ada"]);
    assert_eq!(states(&client), ["erased", "erased"]);
    client.post(&path, &json!({})).problem(410, "erased");
    assert_eq!(
        payloads(&client, "subject.keys_renewed").len(),
        1,
        "a refusal records nothing"
    );
}

/// Found by the model (docs/model.md).
#[test]
fn a_key_that_is_recorded_as_destroyed_does_not_come_back_with_an_older_vault() {
    let data = Data::new();
    let horizon = [("OUBLIETTE_ERASURE_HORIZON_SECONDS", "1")];
    let server = data.serve_with(&horizon);
    ["ada", "bob"]
        .iter()
        .for_each(|subject| sealed(&server.client(), subject));
    server.stop();
    back_up(&data, 1);
    let old = data.copy();
    let server = data.serve_with(&horizon);
    erase(&server.client(), &["ada"]);
    eventually("the end of epoch 1 is on record", || {
        !payloads(&server.client(), "epoch.destroyed").is_empty()
    });
    server.stop();
    assert_eq!(epochs(&data), [2]);
    for part in ["vault", "keystore"] {
        std::fs::remove_dir_all(data.path().join(part)).unwrap();
        copy_folder(&old.path().join(part), &data.path().join(part));
    }
    // Also with a longer horizon: it would be retired once more otherwise.
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "3600")]);
    assert_eq!(states(&server.client()), ["erased", "clear"]);
    server.stop();
    assert_eq!(epochs(&data), [2]);
}
