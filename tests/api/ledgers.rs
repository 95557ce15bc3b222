//! Several ledgers in one store: apart from each other in everything.

use serde_json::{Value, json};

use crate::support::receipts::Keys;
use crate::support::{Data, id};

#[test]
fn ledgers_have_keys_origins_and_positions_of_their_own() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let made = client.post("/v1/ledgers", &json!({"ledger": "second"})).expect(201);
    assert!(made["recovery_key"].is_string());
    let (first, second) = (
        Keys::of(&client, "main", data.vkey()),
        Keys::of(&client, "second", made["vkey"].as_str().unwrap()),
    );
    assert_ne!(first.origin, second.origin);
    client.append("s", json!({"id": id(1), "type": "t", "data": 1}));
    let other = client
        .post(
            "/v1/ledgers/second/streams/s/events",
            &json!({"expected_version": "no_stream", "events": [{"id": id(1), "type": "t", "data": 2}]}),
        )
        .expect(201);
    second.answer(&other, &[Some("2")]);
    assert_eq!(other["events"][0]["index"], 1);
    first.ledger(&client, "main");
    second.ledger(&client, "second");
    let listed = client.get("/v1/ledgers").expect(200);
    let names: Vec<_> = listed["ledgers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|ledger| ledger["ledger"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["main", "second"]);
    client
        .post("/v1/ledgers", &json!({"ledger": "second"}))
        .problem(409, "ledger_exists");
    client
        .post("/v1/ledgers", &json!({"ledger": "main"}))
        .problem(409, "ledger_exists");
    for wrong in [
        json!({}),
        json!({"ledger": ""}),
        json!({"ledger": "Upper"}),
        json!({"ledger": "a".repeat(64)}),
        json!({"ledger": "../x"}),
        json!({"ledger": "a/b"}),
        json!({"ledger": "-a"}),
        json!({"ledger": "x", "origin": first.origin}),
        json!({"ledger": "x", "recovery_public_key": "00"}),
        json!({"ledger": "x", "extra": 1}),
    ] {
        client.post("/v1/ledgers", &wrong).problem(422, "invalid_field");
    }
    server.stop();
    let server = data.serve();
    first.ledger(&server.client(), "main");
    second.ledger(&server.client(), "second");
}

#[test]
fn the_same_person_in_two_ledgers_is_two_people() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.post("/v1/ledgers", &json!({"ledger": "second"})).expect(201);
    let handles = ["main", "second"].map(|ledger| {
        let event = json!({"events": [{"type": "t", "personal": [{"subject": "ada", "data": ledger}]}]});
        client
            .post(&format!("/v1/ledgers/{ledger}/streams/s/events"), &event)
            .expect(201)["events"][0]["personal"][0]["handle"]
            .clone()
    });
    assert_ne!(handles[0], handles[1]);
    let erasure = json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request"});
    client.post("/v1/ledgers/main/erasures", &erasure).expect(202);
    // A handle of one ledger is nobody in the other.
    client
        .post(
            "/v1/ledgers/main/erasures",
            &json!({"handles": [handles[1]], "basis": "other", "reason": "other"}),
        )
        .problem(404, "subject_not_found");
    let mut server = Some(server);
    for restarted in [false, true] {
        if restarted {
            server.take().unwrap().stop();
            server = Some(data.serve());
        }
        let client = server.as_ref().unwrap().client();
        let block = |ledger: &str| -> Value {
            client
                .get(&format!("/v1/ledgers/{ledger}/streams/s/events?reveal=true"))
                .expect(200)["events"][0]["personal"][0]
                .clone()
        };
        assert_eq!(block("main")["state"], "erased");
        assert_eq!(
            (&block("second")["state"], &block("second")["data"]),
            (&json!("clear"), &json!("second"))
        );
        client
            .post("/v1/ledgers/main/subjects/lookup", &json!({"subject": "ada"}))
            .problem(410, "erased");
        assert_eq!(
            client
                .post("/v1/ledgers/second/subjects/lookup", &json!({"subject": "ada"}))
                .expect(200)["handle"],
            handles[1]
        );
        assert_eq!(
            client.get("/v1/ledgers/second/erasures").expect(200)["erasures"],
            json!([])
        );
    }
}
