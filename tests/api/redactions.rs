//! What should not stand in clear leaves, and the ledger stays whole.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::people::found_in;
use crate::support::receipts::Keys;
use crate::support::{Client, Data, eventually, id, run};

const LEAK: &str = "leak-4f81c0-in-clear";

fn redact(client: &Client, index: u64, bodies: &[&str]) -> crate::support::Answer {
    let request = json!({"events": [{"index": index, "bodies": bodies}], "reason": "personal_data"});
    client.post("redactions", &request)
}

fn completed(client: &Client, redaction: &Value) -> Value {
    let path = format!("redactions/{}", redaction["id"].as_str().unwrap());
    eventually("the redaction is completed", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    client.get(&path).expect(200)
}

fn verify(content: &[u8]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
        .args(["--json", file.path().to_str().unwrap()])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn holds_leak(data: &Data) -> bool {
    !found_in(&data.path().join("ledger"), LEAK.as_bytes()).is_empty()
}

#[test]
fn redacted_bodies_are_gone_from_reads_and_files_and_everything_still_proves() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let event = json!({"id": id(1), "type": "t", "data": {"iban": LEAK}, "tags": ["kept", format!("t-{LEAK}")], "correlation_id": LEAK,
        "personal": [{"subject": "ada", "data": "A"}]});
    let index = client.append("s", event.clone())["index"].as_u64().unwrap();
    client.append("s", json!({"type": "t", "data": 2}));
    let named = client.append(&format!("stream-{LEAK}"), json!({"id": id(2), "type": "t", "data": 3}));
    let alone = named["index"].as_u64().unwrap();
    let stream_ref = client.get(&format!("events/{alone}")).expect(200)["stream_ref"].clone();
    let asked = client.post("exports", &json!({"format": "bundle"})).expect(201)["content"]
        .as_str()
        .unwrap()
        .to_owned();
    let leaves = keys.ledger(&client, "main");
    assert!(holds_leak(&data));

    let data_only = redact(&client, index, &["data"]).expect(202);
    assert_eq!(data_only["removed"], json!({"meta": 0, "data": 1}));
    assert_eq!(data_only["backups"], json!([]));
    let read = client.get(&format!("events/{index}?reveal=true")).expect(200);
    assert_eq!(
        (&read["data_state"], &read["data_authority"]),
        (&json!("redacted"), &data_only["authority"])
    );
    assert!(read.get("data").is_none() && read["stream"] == "s" && read["personal"][0]["data"] == "A");
    // A repeat cannot be compared any more, and the receipt is gone with the salt.
    let problem = client
        .post("streams/s/events", &json!({"events": [event]}))
        .problem(409, "body_purged");
    assert_eq!(problem["index"], index);
    let problem = client
        .get(&format!("events/{index}/receipt"))
        .problem(409, "body_purged");
    assert_eq!(problem["index"], index);
    client.get(&format!("events/{index}/proof"));
    let problem = redact(&client, index, &["data"]).problem(409, "body_purged");
    assert_eq!(problem["index"], index);

    let request = json!({"events": [{"index": index, "bodies": ["meta"]}, {"index": alone, "bodies": ["data", "meta"]}], "reason": "secret"});
    let rest = client.post("redactions", &request).expect(202);
    assert_eq!(rest["removed"], json!({"meta": 2, "data": 1}));
    let read = client.get(&format!("events/{index}?reveal=true")).expect(200);
    assert_eq!(
        (&read["meta_state"], &read["meta_authority"]),
        (&json!("redacted"), &rest["authority"])
    );
    for field in ["id", "stream", "correlation_id", "occurred_at"] {
        assert!(read.get(field).is_none(), "{read}");
    }
    assert_eq!((&read["tags"], &read["personal"][0]["data"]), (&json!([]), &json!("A")));
    // Neither tag nor correlation id nor the stream's name leads to it; its id and the stream's reference do.
    for filter in [
        "tag=kept".to_owned(),
        format!("tag=t-{LEAK}"),
        format!("correlation_id={LEAK}"),
    ] {
        assert!(client.read_all(&format!("events?{filter}"), 10).is_empty(), "{filter}");
    }
    client
        .get(&format!("streams/stream-{LEAK}/events"))
        .problem(404, "stream_not_found");
    assert!(!client.get("streams").text().contains(LEAK));
    let by_ref = client.read_all(&format!("events?stream_ref={}", stream_ref.as_str().unwrap()), 10);
    assert_eq!((by_ref.len(), &by_ref[0]["index"]), (1, &json!(alone)));
    assert_eq!(client.get(&format!("events/{}", id(2))).expect(200)["index"], alone);
    assert_eq!(client.read_all("streams/s/events", 10).len(), 2);
    // The name is free: what it names now is another stream.
    let again = client.append(&format!("stream-{LEAK}"), json!({"type": "t"}));
    assert_eq!(again["stream_version"], 1);
    let other = client.get(&format!("events/{}", again["index"])).expect(200);
    assert_ne!(other["stream_ref"], stream_ref);
    let third = redact(&client, again["index"].as_u64().unwrap(), &["meta"]).expect(202);

    for redaction in [&data_only, &rest, &third] {
        completed(&client, redaction);
    }
    assert!(!holds_leak(&data), "a file still holds what was redacted");
    let state = client.get("streams/s/state").expect(200);
    assert_eq!(state["not_folded"][0]["state"], "redacted", "{state}");
    let job = client.post("verifications", &json!({})).expect(202);
    let path = format!("verifications/{}", job["id"].as_str().unwrap());
    eventually("verified", || client.get(&path).expect(200)["state"] == "done");
    let report = client.get(&path).expect(200)["report"].clone();
    assert_eq!(
        (&report["verdict"], &report["bodies"]["redacted"]),
        (&json!("valid"), &json!(5)),
        "{report:#}"
    );
    assert!(keys.ledger(&client, "main").starts_with(&leaves));
    let bundle = verify(&client.get(&asked).body);
    assert_eq!(
        (&bundle["verdict"], &bundle["bodies"]["redacted"]),
        (&json!("valid"), &json!(5)),
        "{bundle:#}"
    );

    let list = client.get("redactions").expect(200);
    let ids: Vec<_> = list["redactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|redaction| redaction["id"].clone())
        .collect();
    assert_eq!(ids, [third["id"].clone(), rest["id"].clone(), data_only["id"].clone()]);
    let certificate = client.get(rest["certificate"].as_str().unwrap());
    let report = verify(&certificate.body);
    assert_eq!(
        (&report["verdict"], &report["object"]),
        (&json!("valid"), &json!("certificate")),
        "{report:#}"
    );
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("Backups on record that may hold the bodies: 0") && notes.contains("written anew at"),
        "{notes}"
    );
    for at in (0..certificate.body.len()).step_by(97) {
        let mut bad = certificate.body.clone();
        bad[at] ^= 0x21;
        assert_ne!(verify(&bad)["verdict"], "valid", "byte {at}");
    }
    server.stop();
    assert!(!holds_leak(&data));
    let output = run(&["fsck", "--data", data.path().to_str().unwrap(), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(report["verdict"], "valid", "{report:#}");
}

#[test]
fn what_cannot_be_redacted_is_refused_by_name_and_nothing_is_recorded() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let index = client.append("s", json!({"type": "t"}))["index"].as_u64().unwrap();
    let events = |list: Value| json!({"events": list, "reason": "personal_data"});
    let one = |index: u64, bodies: Value| events(json!([{"index": index, "bodies": bodies}]));
    for (wrong, status, code, pointer) in [
        (one(99, json!(["data"])), 404, "event_not_found", "/events/0/index"),
        (one(index, json!(["data"])), 422, "invalid_field", "/events/0/bodies/0"),
        (one(index, json!([])), 422, "invalid_field", "/events/0/bodies"),
        (
            one(index, json!(["meta", "meta"])),
            422,
            "invalid_field",
            "/events/0/bodies/1",
        ),
        (one(index, json!(["sealed"])), 422, "invalid_field", ""),
        (one(0, json!(["data"])), 422, "invalid_field", "/events/0/bodies/0"),
        (events(json!([])), 422, "invalid_field", "/events"),
        (
            json!({"events": [{"index": index, "bodies": ["meta"]}]}),
            422,
            "invalid_field",
            "",
        ),
        (
            json!({"events": [{"index": index, "bodies": ["meta"]}], "reason": "a whim"}),
            422,
            "invalid_field",
            "",
        ),
        (
            json!({"events": [{"index": index, "bodies": ["meta"]}], "reason": "other", "note": "x"}),
            422,
            "invalid_field",
            "",
        ),
        (
            events(json!([{"index": index, "bodies": ["meta"]}, {"index": index, "bodies": ["meta"]}])),
            422,
            "invalid_field",
            "/events/1/bodies/0",
        ),
    ] {
        let problem = client.post("redactions", &wrong).problem(status, code);
        let found = problem["errors"][0]["pointer"].as_str().unwrap_or_default();
        assert!(pointer.is_empty() || found == pointer, "{wrong}: {problem}");
    }
    for (role, allowed) in [
        ("writer", false),
        ("reader", false),
        ("auditor", false),
        ("admin", false),
        ("officer", true),
    ] {
        let answer = redact(&server.client_as(&[role], None), index, &["meta"]);
        if allowed {
            answer.expect(202);
        } else {
            answer.problem(403, "forbidden");
        }
    }
    assert_eq!(
        client.get("redactions").expect(200)["redactions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    client.get("redactions/7").problem(404, "not_found");
    client
        .get("redactions/00000000-0000-4000-8000-000000000000/certificate")
        .problem(404, "not_found");
    // Its own record cannot be redacted either.
    let authority = client.get("redactions").expect(200)["redactions"][0]["authority"]
        .as_u64()
        .unwrap();
    for own in [authority, authority + 1] {
        redact(&client, own, &["data"]).problem(422, "invalid_field");
    }
}

#[test]
fn a_redaction_that_broke_off_is_completed_at_the_next_start() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let index = client.append("s", json!({"type": "t", "data": LEAK}))["index"]
        .as_u64()
        .unwrap();
    let redaction = redact(&client, index, &["data"]).expect(202);
    server.kill();
    let server = data.serve();
    completed(&server.client(), &redaction);
    assert!(!holds_leak(&data));
    let records = server.client().read_all("events?type=redaction.completed", 10);
    assert_eq!(records.len(), 1);
}

#[test]
fn the_command_redacts_and_keeps_the_certificate() {
    let data = Data::new();
    let server = data.serve();
    let index = server.client().append("s", json!({"type": "t", "data": LEAK}))["index"].to_string();
    server.stop();
    let file = data.path().join("redaction.cose");
    let output = run(&[
        "redact",
        "--data",
        data.path().to_str().unwrap(),
        "--event",
        &index,
        "--body",
        "data",
        "--reason",
        "secret",
        "--certificate-out",
        file.to_str().unwrap(),
        "--json",
    ]);
    assert!(output.status.success(), "{output:?}");
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&view["reason"], &view["removed"]["data"]),
        (&json!("secret"), &json!(1))
    );
    assert_eq!(verify(&std::fs::read(file).unwrap())["verdict"], "valid");
    for wrong in [
        vec!["--body", "data", "--reason", "other"],
        vec!["--event", &index, "--body", "salt", "--reason", "other"],
    ] {
        let path = data.path();
        let arguments = [vec!["redact", "--data", path.to_str().unwrap()], wrong].concat();
        assert_eq!(run(&arguments).status.code(), Some(2));
    }
}

#[test]
fn what_a_hold_keeps_is_not_redacted() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let index = |event: &Value| event["index"].as_u64().unwrap();
    let held = index(&client.append("held", json!({"type": "t", "data": 1})));
    let block = index(&client.append(
        "s",
        json!({"type": "t", "data": 1, "personal": [{"subject": "ada", "data": "A"}]}),
    ));
    let acted = index(&client.append("s", json!({"type": "t", "data": 1, "actor": {"subject": "ada"}})));
    let free = index(&client.append("s", json!({"type": "t", "data": 1})));
    let hold = |scope: Value| {
        let mut request = json!({"ground": "litigation-1"});
        request
            .as_object_mut()
            .unwrap()
            .extend(scope.as_object().unwrap().clone());
        client.post("holds", &request).expect(201)["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let holds = [hold(json!({"streams": ["held"]})), hold(json!({"subjects": ["ada"]}))];
    for (index, bodies) in [(held, "meta"), (held, "data"), (block, "data"), (acted, "meta")] {
        let problem = redact(&client, index, &[bodies]).problem(409, "legal_hold");
        assert!(problem.to_string().contains("litigation-1"), "{problem}");
    }
    redact(&client, free, &["data"]).expect(202);
    for id in holds {
        client.delete(&format!("holds/{id}")).expect(200);
    }
    for index in [held, block, acted] {
        redact(&client, index, &["data", "meta"]).expect(202);
    }
}

#[test]
fn a_redaction_names_the_backups_that_may_hold_what_left() {
    let data = Data::new();
    let server = crate::support::backups::serve(&data);
    let client = server.client();
    let index = client.append("s", json!({"type": "t", "data": LEAK}))["index"]
        .as_u64()
        .unwrap();
    let before = crate::support::backups::back_up(&client, &crate::support::backups::beside(&data, "before"));
    let redaction = redact(&client, index, &["data"]).expect(202);
    let known = json!([{"id": before["id"], "started_at": redaction["backups"][0]["started_at"], "index": index + 1}]);
    assert_eq!(redaction["backups"], known);
    completed(&client, &redaction);
    crate::support::backups::back_up(&client, &crate::support::backups::beside(&data, "after"));
    let view = completed(&client, &redaction);
    assert_eq!(view["backups"], known, "the later one holds nothing of it");
    let certificate = client.get(redaction["certificate"].as_str().unwrap());
    let report = verify(&certificate.body);
    assert_eq!(report["verdict"], "valid", "{report:#}");
    assert!(
        report["notes"].to_string().contains("may hold the bodies: 1"),
        "{report:#}"
    );
}
