//! Damaged events of Oubliette's own, and damaged rows of single people: they stop what they are about, and nothing else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::damage::open;
use crate::support::{Client, Data, eventually};

fn sealed(subject: &str) -> Value {
    json!({"type": "t", "personal": [{"subject": subject, "category": "c", "data": subject}]})
}

fn erasure(subject: &str) -> Value {
    json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"})
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

/// The state of the first block of a person's stream, opened where it opens.
fn state(client: &Client, subject: &str) -> String {
    let read = client.get(&format!("streams/{subject}/events?reveal=true")).expect(200);
    read["events"][0]["personal"][0]["state"].as_str().unwrap().to_owned()
}

/// The indexes of the events of a type.
fn indexes(client: &Client, event_type: &str) -> Vec<u64> {
    let events = client.read_all(&format!("events?type={event_type}"), 100);
    events.iter().map(|event| event["index"].as_u64().unwrap()).collect()
}

/// Deletes bodies of events of the first ledger.
fn delete_bodies(data: &Data, bodies: &[(u64, u16)]) {
    change_bodies(data, bodies, |_| None);
}

/// Leaves half of the envelopes of events: nothing can be made of the events any more.
fn halve_envelopes(data: &Data, events: &[u64]) {
    let envelopes: Vec<_> = events.iter().map(|index| (*index, 0)).collect();
    change_bodies(data, &envelopes, |row| Some(row[..row.len() / 2].to_vec()));
}

fn change_bodies(data: &Data, bodies: &[(u64, u16)], change: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    let db = open(&data.path().join("ledger"));
    let family = db.cf_handle("bodies").unwrap();
    for (index, ordinal) in bodies {
        let key = [
            &1_u32.to_be_bytes()[..],
            &index.to_be_bytes()[..],
            &ordinal.to_be_bytes()[..],
        ]
        .concat();
        let row = db.get_cf(family, &key).unwrap().expect("a body that is there");
        match change(&row) {
            Some(row) => db.put_cf(family, &key, row).unwrap(),
            None => db.delete_cf(family, &key).unwrap(),
        }
    }
}

#[test]
fn a_hold_that_cannot_be_read_holds_everybody_until_it_is_released() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for person in ["ada", "bob", "carl", "dora"] {
        client.append(person, sealed(person));
    }
    let hold = |subject: &str| {
        let hold = json!({"subjects": [subject], "ground": "case"});
        client.post("holds", &hold).expect(201)["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (of_ada, of_bob, _of_dora) = (hold("ada"), hold("bob"), hold("dora"));
    let events = indexes(&client, "hold.placed");
    server.stop();
    delete_bodies(&data, &[(events[0], 1), (events[2], 0), (events[2], 1)]);
    let server = data.serve();
    let client = server.client();
    let holds = client.get("holds").expect(200)["holds"].take();
    let states: Vec<_> = holds.as_array().unwrap().iter().map(|hold| &hold["state"]).collect();
    assert_eq!(states, ["unreadable", "active", "unreadable"], "{holds}");
    assert_eq!(
        (&holds[2]["id"], &holds[2]["index"]),
        (&json!(of_ada), &json!(events[0]))
    );
    let refused = client.post("erasures", &erasure("carl")).problem(409, "legal_hold");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains(&of_ada) && detail.contains(&events[0].to_string()),
        "{refused}"
    );
    let waits = client
        .post("erasures", &with(erasure("carl"), "wait", json!(true)))
        .expect(202);
    assert_eq!(waits["state"], "held");
    // The others go on as ever, and those that cannot be read end by their ids.
    for id in [of_bob.as_str(), of_ada.as_str(), holds[0]["id"].as_str().unwrap()] {
        assert_eq!(state(&client, "carl"), "clear");
        assert_eq!(client.delete(&format!("holds/{id}")).expect(200)["state"], "released");
    }
    assert_eq!(state(&client, "carl"), "erased");
    client.post("erasures", &erasure("bob")).expect(202);
    server.stop();
    let server = data.serve();
    let holds = server.client().get("holds").expect(200);
    assert!(
        holds["holds"]
            .as_array()
            .unwrap()
            .iter()
            .all(|hold| hold["state"] == "released")
    );
}

#[test]
fn an_event_of_an_erasure_that_cannot_be_read_stops_no_other() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let second = server.client_as(&["officer", "reader"], None);
    for person in ["ada", "bob", "carl", "dora", "eve"] {
        client.append(person, sealed(person));
    }
    let ended = ["ada", "bob"].map(|person| client.post("erasures", &erasure(person)).expect(202));
    for (person, grace) in [("dora", 600), ("eve", 2)] {
        let waits = with(erasure(person), "grace_seconds", json!(grace));
        let waits = client.post("erasures", &waits).expect(202);
        let path = format!("erasures/{}/cancellations", waits["id"].as_str().unwrap());
        client.post(&path, &json!({})).expect(202);
        assert_eq!(second.post(&path, &json!({})).expect(202)["state"], "cancelled");
    }
    let (completed, cancelled) = (
        indexes(&client, "erasure.completed"),
        indexes(&client, "erasure.cancelled"),
    );
    server.stop();
    // Of eve's cancellation not even the envelope is left: whose it was cannot be told.
    delete_bodies(
        &data,
        &[
            (completed[0], 1),
            (cancelled[0], 1),
            (cancelled[1], 0),
            (cancelled[1], 1),
        ],
    );
    let server = data.serve();
    let client = server.client();
    // What was completed is found so once more, and recorded.
    assert_eq!(indexes(&client, "erasure.completed").len(), 3);
    for erasure in &ended {
        let id = erasure["id"].as_str().unwrap();
        assert_eq!(client.get(&format!("erasures/{id}")).expect(200)["state"], "completed");
        assert_eq!(client.get(&format!("erasures/{id}/certificate")).status, 200);
    }
    assert_eq!(
        client.get("erasures").expect(200)["erasures"].as_array().unwrap().len(),
        4
    );
    assert_eq!(
        client.post("erasures", &erasure("carl")).expect(202)["state"],
        "completed"
    );
    std::thread::sleep(Duration::from_secs(8));
    // Nobody is erased against a cancellation, whether it can be read or not.
    assert_eq!(state(&client, "dora"), "clear");
    assert_ne!(state(&client, "eve"), "erased");
    assert_eq!(indexes(&client, "erasure.requested").len(), 3);
    assert!(data.log().contains("cannot be read"), "{}", data.log());
}

#[test]
fn the_end_of_an_epoch_that_cannot_be_read_is_recorded_again() {
    let data = Data::new();
    let settings = [("OUBLIETTE_ERASURE_HORIZON_SECONDS", "1")];
    let server = data.serve_with(&settings);
    let client = server.client();
    client.append("ada", sealed("ada"));
    client.append("bob", sealed("bob"));
    server.stop();
    let to = data.path().with_file_name("backup");
    let backup = crate::support::run(&[
        "backup",
        "--data",
        data.path().to_str().unwrap(),
        "--to",
        to.to_str().unwrap(),
    ]);
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));
    let server = data.serve_with(&settings);
    let client = server.client();
    client.post("erasures", &erasure("ada")).expect(202);
    eventually("the epoch's end is recorded", || {
        indexes(&client, "epoch.destroyed").len() == 1
    });
    let event = indexes(&client, "epoch.destroyed")[0];
    server.stop();
    delete_bodies(&data, &[(event, 1)]);
    let server = data.serve_with(&settings);
    let client = server.client();
    eventually("the epoch's end is recorded again", || {
        indexes(&client, "epoch.destroyed").len() == 2
    });
    assert_eq!(
        client.post("erasures", &erasure("bob")).expect(202)["state"],
        "completed"
    );
    let erasures = client.get("erasures").expect(200)["erasures"].take();
    let of_ada = &erasures[1]["residues"].as_array().unwrap()[2];
    assert_eq!(
        (&of_ada["residue"], &of_ada["state"]),
        (&json!("epoch_key"), &json!("removed"))
    );
}

#[test]
fn a_person_whose_row_is_damaged_keeps_nobody_else_from_being_erased() {
    let data = Data::new();
    let server = data.serve();
    let ada = server.client().append("ada", sealed("ada"))["personal"][0]["handle"].clone();
    server.stop();
    {
        let db = open(&data.path().join("keystore"));
        let rows = db.iterator(rocksdb::IteratorMode::Start).map(Result::unwrap);
        let identities: Vec<_> = rows.filter(|(key, _)| key[0] == b'i').collect();
        assert_eq!(identities.len(), 1);
        let (key, value) = &identities[0];
        let mut value = value.to_vec();
        *value.last_mut().unwrap() ^= 1;
        db.put(key, value).unwrap();
    }
    let server = data.serve();
    let client = server.client();
    let others: Vec<_> = (0..24).map(|n| format!("person-{n}")).collect();
    for person in &others {
        client.append(person, sealed(person));
    }
    let of_ada = json!({"handles": [ada], "basis": "art17_1_b", "reason": "request"});
    std::thread::scope(|scope| {
        scope.spawn(|| client.post("erasures", &of_ada).problem(503, "key_unavailable"));
        for person in &others {
            let client = &client;
            scope.spawn(move || {
                let erased = client.post("erasures", &erasure(person)).expect(202);
                assert_eq!(erased["state"], "completed", "{person}");
            });
        }
    });
    assert_eq!(state(&client, "ada"), "erasing");
    // Nor does she stand in the way of a start, which takes up what is open.
    server.stop();
    let server = data.serve();
    let client = server.client();
    assert_eq!(state(&client, "ada"), "erasing");
    assert!(others.iter().all(|person| state(&client, person) == "erased"));
    client.append("new", sealed("new"));
    assert_eq!(
        client.post("erasures", &erasure("new")).expect(202)["state"],
        "completed"
    );
}

/// What an erasure left pending.
fn pending(client: &Client, erasure: &Value) -> Vec<Value> {
    let view = client.get(&format!("erasures/{}", erasure["id"].as_str().unwrap()));
    let residues = view.expect(200)["residues"].as_array().unwrap().clone();
    let pending = residues.iter().filter(|residue| residue["state"] == "pending");
    pending.map(|residue| residue["residue"].clone()).collect()
}

#[test]
fn an_event_that_cannot_be_read_keeps_nobody_from_being_erased_and_nobody_elses_blocks_in_the_files() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let damaged = client.append("ada", sealed("ada"))["index"].as_u64().unwrap();
    for person in ["ada", "bob", "carl"] {
        client.append(person, sealed(person));
    }
    server.stop();
    halve_envelopes(&data, &[damaged]);
    let settings = [("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "2")];
    let server = data.serve_with(&settings);
    let client = server.client();
    let erased = ["ada", "bob"].map(|person| client.post("erasures", &erasure(person)).expect(202));
    assert!(erased.iter().all(|erased| erased["state"] == "completed"), "{erased:?}");
    eventually("bob's blocks are gone", || pending(&client, &erased[1]).is_empty());
    // What is left of her cannot be told, nor that nothing is.
    assert_eq!(pending(&client, &erased[0]), ["ciphertext"]);
    assert_eq!(state(&client, "bob"), "erased");
    let metrics = client.get("/metrics").text();
    assert!(metrics.contains("oubliette_unread_events_total"), "{metrics}");
    server.stop();
    // Nor does it hurry the next one's.
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "4")]);
    let client = server.client();
    std::thread::sleep(Duration::from_secs(4));
    let carl = client.post("erasures", &erasure("carl")).expect(202);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(pending(&client, &carl), ["key_store_files", "ciphertext"]);
    eventually("carl's blocks are gone", || pending(&client, &carl).is_empty());
    assert_eq!(pending(&client, &erased[0]), ["ciphertext"]);
}

#[test]
fn a_purge_that_cannot_be_read_keeps_no_later_erasure_from_its_end() {
    let data = Data::new();
    let settings = [("OUBLIETTE_ERASURE_PURGE", "prompt")];
    let server = data.serve_with(&settings);
    let client = server.client();
    for person in ["ada", "bob"] {
        client.append(person, sealed(person));
    }
    let ada = client.post("erasures", &erasure("ada")).expect(202);
    eventually("ada's blocks are gone", || pending(&client, &ada).is_empty());
    let (purged, removed) = (
        indexes(&client, "bodies.purged"),
        indexes(&client, "erasure.residue_removed"),
    );
    server.stop();
    // Whether the files were written anew is not known either.
    let ends: Vec<_> = removed.iter().map(|index| (*index, 1)).collect();
    delete_bodies(&data, &ends);
    halve_envelopes(&data, &purged);
    let server = data.serve_with(&settings);
    let client = server.client();
    let bob = client.post("erasures", &erasure("bob")).expect(202);
    eventually("bob's blocks are gone", || pending(&client, &bob).is_empty());
    assert_eq!(pending(&client, &ada), ["ciphertext"]);
}

#[test]
fn an_event_that_cannot_be_read_stops_no_retention_and_is_taken_for_new_where_it_may_be() {
    let data = Data::new();
    let rules = r#"[{name = "logs", event_type = "t", keep = "8s"}, {name = "c", category = "c", keep = "8s"}]"#;
    let settings = [("OUBLIETTE_RETENTION", rules)];
    let server = data.serve_with(&settings);
    let client = server.client();
    let old = client.append("ada", sealed("ada"))["index"].as_u64().unwrap();
    let kept = |person: &str| {
        let mut event = sealed(person);
        event["type"] = json!("kept");
        event
    };
    let of_carl = ["ada", "bob", "carl"].map(|person| client.append(person, kept(person)))[2]["index"].clone();
    client.append("bob", sealed("bob"));
    std::thread::sleep(Duration::from_secs(9));
    let new = client.append("carl", kept("carl"))["index"].as_u64().unwrap();
    server.stop();
    halve_envelopes(&data, &[old, new]);
    let server = data.serve_with(&settings);
    let client = server.client();
    let run = client.post("retention/runs", &json!({"dry_run": false})).expect(201);
    assert_eq!(
        (&run["rules"][0]["purged"], &run["rules"][1]["erased"]),
        (&json!(1), &json!(2)),
        "{run}"
    );
    assert_eq!(state(&client, "bob"), "erased");
    let of_carl = client.get(&format!("events/{of_carl}?reveal=true")).expect(200);
    assert_eq!(of_carl["personal"][0]["state"], "clear");
    // Of whom nothing is certain above the generations in use, a wide gap is left.
    let generation = |person: &str| client.append(person, kept(person))["personal"][0]["generation"].clone();
    assert_eq!((generation("bob"), generation("carl")), (json!(2), json!(1)));
    assert!(generation("ada").as_u64().unwrap() > 1_000);
}
