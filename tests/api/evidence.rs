//! Evidence: verifications, exports, certificates and receipts, and what an independent program says of them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::receipts::Keys;
use crate::support::{Client, Data, eventually, id};

/// The offline verifier's report on a file, and its exit code.
fn verify(file: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
        .arg(file)
        .arg("--json")
        .args(arguments)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.code(), report)
}

fn filled(client: &Client) {
    for n in 0..30 {
        let event = json!({"id": id(n), "type": if n % 2 == 0 { "even" } else { "odd" }, "tags": ["g"], "data": {"n": n as u64},
            "personal": [{"subject": format!("p{}", n % 3), "data": format!("secret of {}", n % 3)}]});
        client.append(&format!("s{}", n % 4), event);
    }
}

fn verified(client: &Client, ledger: &str) -> Value {
    let job = client
        .post(&format!("/v1/ledgers/{ledger}/verifications"), &json!({}))
        .expect(202);
    let path = format!("/v1/ledgers/{ledger}/verifications/{}", job["id"].as_str().unwrap());
    eventually("the verification ends", || {
        client.get(&path).expect(200)["state"] != "running"
    });
    let done = client.get(&path).expect(200);
    assert_eq!(done["state"], "done", "{done}");
    done
}

fn export(client: &Client, request: &Value) -> Vec<u8> {
    let made = client.post("exports", request).expect(201);
    let content = client.get(made["content"].as_str().unwrap());
    assert_eq!(content.status, 200);
    content.body
}

#[test]
fn a_verification_reads_everything_and_is_kept() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    filled(&client);
    client
        .post(
            "erasures",
            &json!({"subjects": ["p1"], "basis": "other", "reason": "request"}),
        )
        .expect(202);
    let done = verified(&client, "main");
    let report = &done["report"];
    assert_eq!(
        (&report["verdict"], &report["findings"]),
        (&json!("valid"), &json!([])),
        "{report}"
    );
    assert!(report["checked"]["events"].as_u64().unwrap() >= 34, "{report}");
    assert_eq!(report["checked"]["signatures"], report["checked"]["events"]);
    let again = client.post("verifications", &json!({"fast": true})).expect(202)["id"].clone();
    eventually("it is listed", || {
        let listed = client.get("verifications").expect(200);
        let listed = listed["verifications"].as_array().unwrap();
        listed.len() == 2 && listed.iter().all(|job| job["state"] == "done")
    });
    assert_ne!(again, done["id"]);
    let page = client.get("verifications?limit=1").expect(200);
    assert_eq!((&page["verifications"][0]["id"], &page["next"]), (&again, &again));
    let page = client
        .get(&format!("verifications?limit=1&cursor={}", again.as_str().unwrap()))
        .expect(200);
    assert_eq!(
        (&page["verifications"][0]["id"], &page["next"]),
        (&done["id"], &Value::Null)
    );
    client.get("verifications?limit=0").problem(422, "invalid_field");
    client.get("verifications?cursor=x").problem(422, "invalid_field");
    // Without a body, and with a wrong one.
    assert_eq!(client.send("POST", "verifications", &[], b"").status, 202);
    client
        .post("verifications", &json!({"fast": "yes"}))
        .problem(422, "invalid_field");
    client.get("verifications/x").problem(404, "not_found");
    client
        .get(&format!("verifications/{}", id(1)))
        .problem(404, "not_found");
    client.post("/v1/ledgers", &json!({"ledger": "second"})).expect(201);
    let path = format!("/v1/ledgers/second/verifications/{}", done["id"].as_str().unwrap());
    client.get(&path).problem(404, "not_found");
    assert_eq!(verified(&client, "second")["report"]["verdict"], "valid");
    server.stop();
    let server = data.serve();
    let kept = server
        .client()
        .get(&format!("verifications/{}", done["id"].as_str().unwrap()))
        .expect(200);
    assert_eq!(kept, done);
}

#[test]
fn a_bundle_convinces_somebody_who_has_nothing_but_the_key() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    filled(&client);
    let old = data.path().join("../old-checkpoint");
    std::fs::write(&old, client.get("log/checkpoint").body).unwrap();
    client
        .post(
            "erasures",
            &json!({"subjects": ["p1"], "basis": "other", "reason": "request"}),
        )
        .expect(202);
    let made = client.post("exports", &json!({"format": "bundle"})).expect(201);
    let content = client.get(made["content"].as_str().unwrap()).body;
    assert_eq!(
        client.get(made["content"].as_str().unwrap()).body,
        content,
        "a second download is another bundle"
    );
    let file = data.path().join("../bundle");
    std::fs::write(&file, &content).unwrap();
    let (exit, report) = verify(&file, &["--key", data.vkey(), "--against", old.to_str().unwrap()]);
    assert_eq!(
        (exit, &report["verdict"], &report["trust"]),
        (Some(0), &json!("valid"), &json!("pinned")),
        "{report}"
    );
    assert_eq!(report["tree_size"], made["tree_size"]);
    let (exit, report) = verify(&file, &[]);
    assert_eq!((exit, &report["trust"]), (Some(0), &json!("self_consistent")));
    // Another ledger's key is not its.
    let other = Data::new();
    let (exit, report) = verify(&file, &["--key", other.vkey()]);
    assert_eq!(exit, Some(1), "{report}");
    // No plaintext in it, of anybody.
    let has = |needle: &str| content.windows(needle.len()).any(|window| window == needle.as_bytes());
    assert!(!has("secret of") && has("even"));
    // And any byte that changes is found.
    let mut dice = crate::support::Dice::new(9);
    for _ in 0..40 {
        let at = usize::try_from(dice.below(content.len() as u64)).unwrap();
        let mut changed = content.clone();
        changed[at] ^= 1 << dice.below(8);
        std::fs::write(&file, &changed).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
            .arg(&file)
            .args(["--key", data.vkey()])
            .output()
            .unwrap();
        assert!(
            matches!(output.status.code(), Some(1..=2)),
            "byte {at} changed: {output:?}"
        );
    }
}

#[test]
fn exports_are_recorded_and_opened_ones_need_a_revealer() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    filled(&client);
    let lines = |request: &Value| -> Vec<Value> {
        let text = String::from_utf8(export(&client, request)).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = lines(&json!({"format": "ndjson"}));
    let indexes: Vec<_> = all.iter().map(|event| event["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..indexes.len() as u64).collect::<Vec<_>>());
    assert!(
        all.iter()
            .flat_map(|event| event["personal"].as_array().unwrap())
            .all(|block| block["state"] == "sealed")
    );
    assert_eq!(lines(&json!({"format": "ndjson", "type": "even"})).len(), 15);
    assert_eq!(lines(&json!({"format": "ndjson", "stream": "s1"})).len(), 8);
    assert_eq!(
        lines(&json!({"format": "ndjson", "from_index": 5, "to_index": 9})).len(),
        4
    );
    let opened = json!({"format": "ndjson", "reveal": true, "tag": "g"});
    let auditor = server.client_as(&["auditor"], None);
    auditor.post("exports", &opened).problem(403, "forbidden");
    let made = client.post("exports", &opened).expect(201);
    let content = made["content"].as_str().unwrap().to_owned();
    auditor.get(&content).problem(403, "forbidden");
    assert!(client.get(&content).text().contains("secret of 1"));
    client
        .post(
            "erasures",
            &json!({"subjects": ["p1"], "basis": "other", "reason": "request"}),
        )
        .expect(202);
    let later = client.get(&content).text();
    assert!(
        later.contains("secret of 2") && !later.contains("secret of 1"),
        "an old export brings an erased person back"
    );
    let records = client.get("events?type=export.created&limit=100").expect(200);
    assert_eq!(records["events"].as_array().unwrap().len(), 5);
    for (wrong, status, code) in [
        (json!({}), 422, "invalid_field"),
        (json!({"format": "pdf"}), 422, "invalid_field"),
        (json!({"format": "bundle", "reveal": true}), 422, "invalid_field"),
        (
            json!({"format": "ndjson", "from_index": 9, "to_index": 5}),
            422,
            "invalid_field",
        ),
        (json!({"format": "ndjson", "from_index": 99_999}), 422, "invalid_field"),
        (json!({"format": "ndjson", "unknown": 1}), 422, "invalid_field"),
        (
            json!({"format": "ndjson", "tag": "ada@example.com"}),
            422,
            "personal_data_refused",
        ),
        (
            json!({"format": "ndjson", "stream": "ada@example.com"}),
            422,
            "personal_data_refused",
        ),
    ] {
        client.post("exports", &wrong).problem(status, code);
    }
    client.get("exports/x").problem(404, "not_found");
    client
        .get(&format!("exports/{}/content", id(1)))
        .problem(404, "not_found");
    client.post("/v1/ledgers", &json!({"ledger": "second"})).expect(201);
    client
        .get(&content.replace("/main/", "/second/"))
        .problem(404, "not_found");
}

#[test]
fn a_certificate_of_erasure_stands_on_its_own() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    filled(&client);
    let done = client
        .post(
            "erasures",
            &json!({"subjects": ["p1", "p2"], "basis": "art17_1_b", "reason": "request"}),
        )
        .expect(202);
    let answer = client.get(done["certificate"].as_str().unwrap());
    assert_eq!(answer.status, 200);
    let file = data.path().join("../certificate");
    std::fs::write(&file, &answer.body).unwrap();
    let (exit, report) = verify(&file, &["--key", data.vkey()]);
    assert_eq!(
        (exit, &report["verdict"], &report["trust"]),
        (Some(0), &json!("valid"), &json!("pinned")),
        "{report}"
    );
    for person in ["p1", "p2"] {
        let named = format!("\"{person}\"");
        assert!(
            !answer
                .body
                .windows(named.len())
                .any(|window| window == named.as_bytes())
        );
    }
    for at in (0..answer.body.len()).step_by(answer.body.len() / 40) {
        let mut changed = answer.body.clone();
        changed[at] ^= 4;
        std::fs::write(&file, &changed).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
            .arg(&file)
            .args(["--key", data.vkey()])
            .output()
            .unwrap();
        assert!(
            matches!(output.status.code(), Some(1..=2)),
            "byte {at} changed: {output:?}"
        );
    }
    client
        .get(&format!("erasures/{}/certificate", id(1)))
        .problem(404, "not_found");
    server
        .client_as(&["reader", "writer", "revealer", "admin"], None)
        .get(done["certificate"].as_str().unwrap())
        .problem(403, "forbidden");
}

#[test]
fn receipts_and_proofs_verify_offline() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    filled(&client);
    let keys = Keys::of(&client, "main", data.vkey());
    let file = data.path().join("../evidence");
    for index in [2, 3, 7, 31] {
        for kind in ["receipt", "proof"] {
            let answer = client.get(&format!("events/{index}/{kind}"));
            assert_eq!(answer.status, 200);
            std::fs::write(&file, &answer.body).unwrap();
            let (exit, report) = verify(&file, &["--key", data.vkey(), "--origin", &keys.origin]);
            assert_eq!(
                (exit, &report["verdict"], &report["trust"]),
                (Some(0), &json!("valid"), &json!("pinned")),
                "{index} {kind}: {report}"
            );
        }
    }
    // What an append answers is a receipt itself, for whoever knows both keys.
    let published = client.get("keys").expect(200);
    let event_key = published["keys"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["role"] == "event")
        .unwrap()["vkey"]
        .clone();
    let answer = client
        .post("streams/s/events", &json!({"events": [{"type": "t", "data": 5}]}))
        .expect(201);
    std::fs::write(&file, answer.to_string()).unwrap();
    let (exit, report) = verify(&file, &["--key", data.vkey(), "--key", event_key.as_str().unwrap()]);
    assert_eq!((exit, &report["verdict"]), (Some(0), &json!("valid")), "{report}");
    let (exit, report) = verify(&file, &["--key", data.vkey()]);
    assert_eq!((exit, &report["verdict"]), (Some(1), &json!("incomplete")), "{report}");
    client.get("events/999/receipt").problem(404, "event_not_found");
}

#[test]
fn cloud_events_are_taken_in_all_three_modes() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let event = |event_id: &str| json!({"specversion": "1.0", "id": event_id, "source": "/shop", "type": "order.placed", "stream": "order-1", "time": "2026-01-02T03:04:05Z", "data": {"n": 1}});
    let send = |media: &str, body: &Value| {
        client.send(
            "POST",
            "events",
            &[("content-type", media)],
            body.to_string().as_bytes(),
        )
    };
    let structured = send("application/cloudevents+json", &event(&id(1))).expect(201);
    assert_eq!(structured["events"][0]["id"], id(1));
    keys.answer(&structured, &[Some(r#"{"n":1}"#)]);
    // An id that is no UUID becomes one, always the same, so that a repeat is a repeat.
    let first = send("application/cloudevents+json; charset=utf-8", &event("A-1")).expect(201);
    assert_eq!(send("application/cloudevents+json", &event("A-1")).expect(200), first);
    let mut elsewhere = event("A-1");
    elsewhere["source"] = json!("/other");
    assert_ne!(
        send("application/cloudevents+json", &elsewhere).expect(201)["events"][0]["id"],
        first["events"][0]["id"]
    );
    let batch = send(
        "application/cloudevents-batch+json",
        &json!([event("B-1"), event("B-2")]),
    )
    .expect(201);
    assert_eq!(batch["events"].as_array().unwrap().len(), 2);
    let binary = client.send(
        "POST",
        "events",
        &[
            ("content-type", "application/json"),
            ("ce-specversion", "1.0"),
            ("ce-id", "C-1"),
            ("ce-source", "/shop"),
            ("ce-type", "order.placed"),
            ("ce-stream", "order-1"),
        ],
        br#"{"n": 2}"#,
    );
    keys.answer(&binary.expect(201), &[Some(r#"{"n": 2}"#)]);
    assert_eq!(client.read_all("streams/order-1/events", 10).len(), 6);
    for (name, value) in [
        ("id", json!("ada@example.com")),
        ("source", json!("mailto:ada@example.com")),
        ("subject", json!("ada@example.com")),
    ] {
        let mut wrong = event("X");
        wrong[name] = value;
        if name == "subject" {
            wrong.as_object_mut().unwrap().remove("stream");
        }
        let problem = send("application/cloudevents+json", &wrong).problem(422, "personal_data_refused");
        assert!(!problem.to_string().contains("ada@example.com"), "{problem}");
    }
    let mut unknown = event("X");
    unknown["myextension"] = json!("x");
    send("application/cloudevents+json", &unknown).problem(422, "invalid_field");
    let mut old = event("X");
    old["specversion"] = json!("0.3");
    send("application/cloudevents+json", &old).problem(422, "invalid_field");
    let mut system = event("X");
    system["stream"] = json!("$erasures");
    send("application/cloudevents+json", &system).problem(422, "invalid_field");
    send("application/cloudevents+json", &json!([event("X")])).problem(422, "invalid_field");
}
