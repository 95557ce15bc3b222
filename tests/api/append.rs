//! Append: shapes, receipts, expected versions.

use serde_json::{Value, json};

use crate::support::receipts::Keys;
use crate::support::{Data, id};

fn keys_of(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn a_receipt_proves_the_callers_own_content_offline() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    // The payload is committed as the bytes received: odd spacing, escapes and number forms included.
    let payload = r#"{ "total" : 12.50, "text":"\u00e9\/\n", "n":1e3,"again":[ ] }"#;
    let body = format!(
        r#"{{"expected_version":"no_stream","events":[{{"id":"{}","type":"order.placed","schema_version":3,
        "occurred_at":"2026-01-02T03:04:05.678901+02:00","actor":"shop","correlation_id":"c-1","causation_id":"c-0",
        "tags":["b","a"],"data":{payload},"personal":[{{"subject":"ada","category":"invoice","data":{{"name":"Ada"}}}}]}}]}}"#,
        id(1)
    );
    let answer = client.post_bytes("streams/order-7/events", body.as_bytes()).expect(201);
    assert_eq!(keys_of(&answer), ["checkpoint", "events"]);
    let receipt = &answer["events"][0];
    assert_eq!(
        keys_of(receipt),
        [
            "header",
            "id",
            "inclusion",
            "index",
            "key_id",
            "leaf_hash",
            "meta",
            "personal",
            "recorded_at",
            "salts",
            "signature",
            "stream",
            "stream_version"
        ]
    );
    assert_eq!(keys_of(&receipt["salts"]), ["data", "meta"]);
    assert_eq!(
        keys_of(&receipt["personal"][0]),
        ["category", "generation", "handle", "ordinal"]
    );
    assert_eq!(keys_of(&receipt["inclusion"]), ["hashes", "leaf_index", "tree_size"]);
    assert_eq!(
        (&receipt["id"], &receipt["stream"], &receipt["stream_version"]),
        (&json!(id(1)), &json!("order-7"), &json!(1))
    );
    let keys = Keys::of(&client, "main", data.vkey());
    let checked = keys.answer(&answer, &[Some(payload)]);
    let (header, meta, _) = &checked[0];
    assert_eq!((header.event_type.as_str(), header.schema_version), ("order.placed", 3));
    assert_eq!(meta.occurred_at.unwrap().to_string(), "2026-01-02T01:04:05.678901Z");
    assert_eq!(
        (meta.correlation_id.as_deref(), meta.causation_id.as_deref()),
        (Some("c-1"), Some("c-0"))
    );
    assert_eq!(meta.tags, ["b".into(), "a".into()]);
    // And the same bytes come back.
    assert!(client.get("events?type=order.placed").text().contains(payload));
}

#[test]
fn every_kind_of_proof_leads_to_the_signed_checkpoint() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let mut sent = 0;
    for (proof, count) in [
        ("", 1),
        ("?proof=each", 5),
        ("?proof=range", 7),
        ("?proof=none", 3),
        ("?proof=range", 1),
        ("?proof=range", 300),
    ] {
        let events: Vec<_> = (0..count).map(|n| json!({"type": "t", "data": sent + n})).collect();
        sent += count;
        let answer = client
            .post(&format!("streams/s/events{proof}"), &json!({"events": events}))
            .expect(201);
        let payloads: Vec<_> = (sent - count..sent).map(|n| n.to_string()).collect();
        keys.answer(
            &answer,
            &payloads.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>(),
        );
        let has_inclusion = answer["events"]
            .as_array()
            .unwrap()
            .iter()
            .all(|event| event["inclusion"].is_object());
        assert_eq!(has_inclusion, proof.is_empty() || proof == "?proof=each", "{proof}");
        assert_eq!(answer["range"].is_object(), proof == "?proof=range", "{proof}");
    }
    client
        .post("streams/s/events?proof=all", &json!({"events": [{"type": "t"}]}))
        .problem(422, "invalid_field");
}

#[test]
fn events_without_data_have_no_data_and_null_is_no_payload() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let answer = client
        .post(
            "streams/s/events",
            &json!({"events": [{"type": "t"}, {"type": "t", "data": false}]}),
        )
        .expect(201);
    keys.answer(&answer, &[None, Some("false")]);
    let events = client.read_all("streams/s/events", 10);
    assert!(events[0].get("data").is_none() && events[0].get("data_state").is_none());
    assert_eq!(
        (&events[1]["data"], &events[1]["data_state"]),
        (&json!(false), &json!("present"))
    );
}

#[test]
fn a_batch_is_atomic_over_streams_and_checks_each_at_its_first_event() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let batch = json!({"events": [
        {"stream": "a", "expected_version": "no_stream", "type": "t", "data": 1},
        {"stream": "b", "expected_version": 0, "type": "t", "data": 2},
        {"stream": "a", "expected_version": 77, "type": "t", "data": 3},
    ]});
    let answer = client.post("events?proof=range", &batch).expect(201);
    keys.answer(&answer, &[Some("1"), Some("2"), Some("3")]);
    let places: Vec<_> = answer["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["stream"].clone(), event["stream_version"].clone()))
        .collect();
    assert_eq!(
        places,
        [(json!("a"), json!(1)), (json!("b"), json!(1)), (json!("a"), json!(2))]
    );
    // One stream that moved refuses all of them.
    let refused = json!({"events": [
        {"stream": "c", "expected_version": "no_stream", "type": "t"},
        {"stream": "b", "expected_version": 5, "type": "t"},
    ]});
    let problem = client.post("events", &refused).problem(409, "wrong_expected_version");
    assert_eq!(problem["current_version"], 1);
    client.get("streams/c/events").problem(404, "stream_not_found");
    keys.ledger(&client, "main");
}

#[test]
fn an_expected_version_that_a_batch_would_not_check_is_refused() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let batch = json!({"events": [
        {"stream": "a", "type": "t"},
        {"stream": "b", "expected_version": 0, "type": "t"},
        {"stream": "a", "expected_version": 0, "type": "t"},
    ]});
    let problem = client.post("events", &batch).problem(422, "invalid_field");
    assert_eq!(problem["errors"][0]["pointer"], "/events/2/expected_version");
    let batch = json!({"events": [{"stream": "a", "type": "t"}]}).to_string();
    for version in ["\"0\"", "\"7\"", "*"] {
        let problem = client
            .send("POST", "events", &[("if-match", version)], batch.as_bytes())
            .problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], "If-Match");
    }
    client.get("streams/a/events").problem(404, "stream_not_found");
}

#[test]
fn expected_version_in_all_its_forms() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let try_with = |stream: &str, expected: Value| {
        client.post(
            &format!("streams/{stream}/events"),
            &json!({"expected_version": expected, "events": [{"type": "t"}]}),
        )
    };
    for wrong in [json!("stream_exists"), json!(1), json!(u64::MAX)] {
        assert_eq!(
            try_with("new", wrong.clone()).problem(409, "wrong_expected_version")["current_version"],
            0,
            "{wrong}"
        );
    }
    for (stream, right) in [
        ("n1", json!("no_stream")),
        ("n2", json!(0)),
        ("n3", json!("any")),
        ("n4", Value::Null),
    ] {
        try_with(stream, right).expect(201);
    }
    for right in [json!(1), json!("stream_exists"), json!("any")] {
        try_with("n1", right).expect(201);
    }
    for wrong in [json!("no_stream"), json!(0), json!(3), json!(5)] {
        assert_eq!(
            try_with("n1", wrong.clone()).problem(409, "wrong_expected_version")["current_version"],
            4,
            "{wrong}"
        );
    }
    for nonsense in [json!("soon"), json!(-1), json!(1.5), json!([]), json!("4"), json!(true)] {
        let problem = try_with("n1", nonsense.clone()).problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], "/expected_version", "{nonsense}");
    }
}

#[test]
fn if_match_is_the_same_check_and_both_together_are_refused() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let send = |header: &str, body: &Value| {
        client.send(
            "POST",
            "streams/s/events",
            &[("if-match", header)],
            body.to_string().as_bytes(),
        )
    };
    let event = json!({"events": [{"type": "t"}]});
    send("\"0\"", &event).expect(201);
    send("\"1\"", &event).expect(201);
    assert_eq!(
        send("\"1\"", &event).problem(409, "wrong_expected_version")["current_version"],
        2
    );
    for malformed in ["2", "\"x\"", "W/\"2\"", "*", "\"-1\"", ""] {
        send(malformed, &event).problem(422, "invalid_field");
    }
    send("\"2\"", &json!({"expected_version": 2, "events": [{"type": "t"}]})).problem(422, "invalid_field");
    assert_eq!(client.read_all("streams/s/events", 10).len(), 2);
}

#[test]
fn one_event_may_concern_several_people_and_an_actor_who_is_one() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let event = json!({"type": "t", "actor": {"subject": "ada"}, "data": {}, "personal": [
        {"subject": "ada", "data": 1}, {"subject": "bob", "category": "invoice", "data": 2},
        {"subject": "ada", "category": "invoice", "data": 3}, {"subject": "ada", "data": 4}]});
    let answer = client.post("streams/s/events", &json!({"events": [event]})).expect(201);
    let checked = keys.answer(&answer, &[Some("{}")]);
    let blocks = answer["events"][0]["personal"].as_array().unwrap();
    let shown: Vec<_> = blocks
        .iter()
        .map(|block| {
            (
                block["ordinal"].clone(),
                block["category"].clone(),
                block["generation"].clone(),
            )
        })
        .collect();
    let expected = [(2, "default"), (3, "invoice"), (4, "invoice"), (5, "default")];
    assert_eq!(
        shown,
        expected.map(|(ordinal, category)| (json!(ordinal), json!(category), json!(1)))
    );
    let ada = blocks[0]["handle"].as_str().unwrap();
    let bob = blocks[1]["handle"].as_str().unwrap();
    assert_eq!(
        (blocks[2]["handle"].as_str(), blocks[3]["handle"].as_str()),
        (Some(ada), Some(ada))
    );
    assert_ne!(ada, bob);
    let Some(oubliette::spec::event::Actor::Subject(actor)) = &checked[0].1.actor else {
        panic!("the actor is no handle")
    };
    assert_eq!(actor.to_string(), ada);
    for handle in [ada, bob] {
        assert_eq!(client.read_all(&format!("events?handle={handle}"), 10).len(), 1);
    }
    let read = client.get("events?stream=s").expect(200);
    assert_eq!(read["events"][0]["actor"], json!({"handle": ada}));
    // The handle can be had beforehand, and stays.
    assert_eq!(
        client.post("subjects", &json!({"subject": "bob"})).expect(200)["handle"],
        bob
    );
}

#[test]
fn a_thousand_events_are_one_batch_and_one_more_is_too_large() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let events: Vec<_> = (0..1_001).map(|n| json!({"type": "t", "data": n})).collect();
    let answer = client
        .post("streams/s/events", &json!({"events": events[..1_000]}))
        .expect(201);
    let payloads: Vec<_> = (0..1_000).map(|n| n.to_string()).collect();
    keys.answer(
        &answer,
        &payloads.iter().map(|text| Some(text.as_str())).collect::<Vec<_>>(),
    );
    client
        .post("streams/s/events", &json!({"events": events}))
        .problem(413, "too_large");
    assert_eq!(client.read_all("streams/s/events?system=false", 1_000).len(), 1_000);
    keys.ledger(&client, "main");
}

#[test]
fn stream_names_of_all_scripts_and_with_reserved_characters_work_in_paths() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for (name, encoded) in [
        ("a/b", "a%2Fb"),
        ("ä ö", "%C3%A4%20%C3%B6"),
        ("q?x=1&y#z", "q%3Fx=1&y%23z"),
        ("100%", "100%25"),
        ("%2F", "%252F"),
        ("a+b", "a+b"),
        ("..", "%2E%2E"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
    ] {
        let receipt = client.append(encoded, json!({"type": "t"}));
        assert_eq!(receipt["stream"], name);
        let read = client.get(&format!("streams/{encoded}/events")).expect(200);
        assert_eq!(read["events"][0]["stream"], name);
    }
}
