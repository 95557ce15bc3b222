//! Idempotency: an exact repeat finds its first answer, anything else is refused.

use serde_json::{Value, json};

use crate::support::receipts::Keys;
use crate::support::{Client, Data, id};

fn full_event() -> Value {
    json!({"id": id(1), "type": "order.placed", "schema_version": 2, "occurred_at": "2026-01-02T03:04:05Z",
        "actor": {"subject": "ada"}, "correlation_id": "c", "causation_id": "d", "tags": ["x", "y"], "data": {"a": 1},
        "personal": [{"subject": "ada", "category": "invoice", "data": {"name": "Ada"}}, {"subject": "bob", "data": 5}]})
}

fn append(client: &Client, event: &Value, expected: &Value) -> crate::support::Answer {
    client.post(
        "streams/s/events",
        &json!({"expected_version": expected, "events": [event]}),
    )
}

#[test]
fn an_exact_repeat_gets_the_first_receipts_whatever_version_it_expects() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let first = append(&client, &full_event(), &json!("no_stream")).expect(201);
    for expected in [
        json!("no_stream"),
        json!("any"),
        json!("stream_exists"),
        json!(99),
        Value::Null,
    ] {
        assert_eq!(
            append(&client, &full_event(), &expected).expect(200),
            first,
            "{expected}"
        );
    }
    let keys = Keys::of(&client, "main", data.vkey());
    // Later events change nothing about it; neither does a restart.
    for n in 0..300 {
        client.append("other", json!({"type": "t", "data": n}));
    }
    assert_eq!(append(&client, &full_event(), &json!(99)).expect(200), first);
    server.stop();
    let server = data.serve();
    let client = server.client();
    let again = append(&client, &full_event(), &json!(99)).expect(200);
    assert_eq!(again, first);
    keys.answer(&again, &[Some(r#"{"a":1}"#)]);
    assert_eq!(client.read_all("streams/s/events", 10).len(), 1);
}

#[test]
fn repeats_of_a_batch_keep_their_kind_of_proof() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let batch = json!({"events": (1..=9).map(|n| json!({"stream": format!("s{}", n % 2), "id": id(n), "type": "t", "data": n})).collect::<Vec<_>>()});
    let payloads: Vec<_> = (1..=9).map(|n| n.to_string()).collect();
    let payloads: Vec<_> = payloads.iter().map(|text| Some(text.as_str())).collect();
    client.append("before", json!({"type": "t"}));
    for proof in ["each", "range", "none"] {
        let status = if proof == "each" { 201 } else { 200 };
        let answer = client.post(&format!("events?proof={proof}"), &batch).expect(status);
        keys.answer(&answer, &payloads);
        assert_eq!(answer["range"].is_object(), proof == "range");
        assert_eq!(answer["events"][0]["inclusion"].is_object(), proof == "each");
        client.append("between", json!({"type": "t"}));
    }
}

#[test]
fn other_content_under_the_same_id_is_a_conflict_field_by_field() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let first = append(&client, &full_event(), &Value::Null).expect(201);
    let changed = |name: &str, value: Value| {
        let mut event = full_event();
        event[name] = value;
        event
    };
    let personal = |change: fn(&mut Value)| {
        let mut event = full_event();
        change(&mut event["personal"]);
        event
    };
    let without = |name: &str| {
        let mut event = full_event();
        event.as_object_mut().unwrap().remove(name);
        event
    };
    let mut others = vec![
        changed("type", json!("order.changed")),
        changed("schema_version", json!(3)),
        changed("occurred_at", json!("2026-01-02T03:04:05.000001Z")),
        changed("actor", json!("ada")),
        changed("actor", json!({"subject": "bob"})),
        changed("correlation_id", json!("C")),
        changed("causation_id", json!("x")),
        changed("tags", json!(["y", "x"])),
        changed("tags", json!(["x"])),
        changed("data", json!({"a": 2})),
        changed("data", Value::Null),
        personal(|blocks| blocks[0]["data"] = json!({"name": "ada"})),
        personal(|blocks| blocks[0]["category"] = json!("default")),
        personal(|blocks| blocks[1]["subject"] = json!("ada")),
        personal(|blocks| blocks[1]["subject"] = json!("never seen")),
        personal(|blocks| blocks.as_array_mut().unwrap().reverse()),
        personal(|blocks| drop(blocks.as_array_mut().unwrap().pop())),
        personal(|blocks| {
            blocks
                .as_array_mut()
                .unwrap()
                .push(json!({"subject": "ada", "data": 1}))
        }),
    ];
    others.extend(
        [
            "schema_version",
            "occurred_at",
            "actor",
            "correlation_id",
            "causation_id",
            "tags",
            "data",
            "personal",
        ]
        .map(without),
    );
    for other in &others {
        let problem = append(&client, other, &Value::Null).problem(409, "idempotency_conflict");
        assert_eq!(problem["index"], first["events"][0]["index"], "{other}");
    }
    // The same id in another stream, and the same payload with other bytes.
    client
        .post("streams/t/events", &json!({"events": [full_event()]}))
        .problem(409, "idempotency_conflict");
    let spaced = json!({"events": [full_event()]})
        .to_string()
        .replace(r#"{"a":1}"#, r#"{"a": 1}"#);
    client
        .post_bytes("streams/s/events", spaced.as_bytes())
        .problem(409, "idempotency_conflict");
    client.get("streams/t/events").problem(404, "stream_not_found");
    append(&client, &full_event(), &Value::Null).expect(200);
}

#[test]
fn new_and_repeated_ids_in_one_batch_are_refused_as_a_whole() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"id": id(1), "type": "t"}));
    for ids in [[1, 2], [2, 1]] {
        let events = ids.map(|n| json!({"id": id(n), "type": "t"}));
        client
            .post("streams/s/events", &json!({"events": events}))
            .problem(409, "idempotency_conflict");
    }
    let twice = json!({"events": [{"id": id(3), "type": "t"}, {"id": id(3), "type": "t"}]});
    client.post("streams/s/events", &twice).problem(422, "invalid_field");
    let nameless = json!({"events": [{"id": id(1), "type": "t"}, {"type": "t"}]});
    client
        .post("streams/s/events", &nameless)
        .problem(409, "idempotency_conflict");
    assert_eq!(client.read_all("streams/s/events", 10).len(), 1);
}

#[test]
fn an_id_of_oubliettes_own_events_is_taken_too() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let own = client.get("events/0").expect(200)["id"].as_str().unwrap().to_owned();
    let problem = client
        .post("streams/s/events", &json!({"events": [{"id": own, "type": "t"}]}))
        .problem(409, "idempotency_conflict");
    assert_eq!(problem["index"], 0);
}

#[test]
fn a_repeat_after_the_persons_erasure_is_neither_equal_nor_different() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let sealed = json!({"id": id(1), "type": "t", "personal": [{"subject": "ada", "data": "secret"}]});
    let acted = json!({"id": id(2), "type": "t", "actor": {"subject": "ada"}});
    let free = json!({"id": id(3), "type": "t", "data": 1});
    for event in [&sealed, &acted, &free] {
        append(&client, event, &Value::Null).expect(201);
    }
    client
        .post(
            "erasures",
            &json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request"}),
        )
        .expect(202);
    append(&client, &sealed, &Value::Null).problem(409, "subject_erased");
    append(&client, &acted, &Value::Null).problem(409, "subject_erased");
    let mut guess = sealed.clone();
    guess["personal"][0]["data"] = json!("another");
    append(&client, &guess, &Value::Null).problem(409, "subject_erased");
    append(&client, &free, &Value::Null).expect(200);
}

#[test]
fn many_repeats_at_once_store_one_event() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16)
            .map(|_| scope.spawn(|| append(&client, &full_event(), &json!("no_stream"))))
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let statuses = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((statuses(201), statuses(200)), (1, 15), "{answers:?}");
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()));
    assert_eq!(client.read_all("streams/s/events", 10).len(), 1);
}
