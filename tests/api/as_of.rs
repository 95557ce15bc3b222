//! Time travel: streams and the ledger as of times, indexes and versions, before and after an erasure.

use oubliette::spec::hash::Hash;
use oubliette::spec::merkle::verify_consistency;
use serde_json::{Value, json};

use crate::support::receipts::{Keys, hashes, root_of};
use crate::support::{Client, Data, Server};

/// Order 7: placed with a name, paid, moved to another street; other streams in between.
fn fill(client: &Client) -> Vec<Value> {
    let steps = [
        (
            "order-7",
            json!({"type": "placed", "data": {"total": 12.5, "lines": [1, 2], "note": "leave it"},
            "personal": [{"subject": "ada", "category": "billing", "data": {"name": "Ada Example", "street": "Old St"}}]}),
        ),
        ("order-8", json!({"type": "placed", "data": {"total": 1}})),
        ("order-7", json!({"type": "paid", "data": {"paid": true, "note": null}})),
        ("order-8", json!({"type": "paid"})),
        (
            "order-7",
            json!({"type": "moved", "data": {"lines": [1]},
            "personal": [{"subject": "ada", "category": "billing", "data": {"street": "New St"}},
                         {"subject": "bob", "data": {"name": "Bob Example"}}]}),
        ),
    ];
    let receipt = |(stream, event): (&str, Value)| {
        std::thread::sleep(std::time::Duration::from_millis(2));
        client.append(stream, event)
    };
    steps.into_iter().map(receipt).collect()
}

fn index(receipt: &Value) -> u64 {
    receipt["index"].as_u64().unwrap()
}

fn state(client: &Client, query: &str) -> Value {
    client.get(&format!("streams/order-7/state?{query}")).expect(200)
}

/// The one field of a category, whoever's it is.
fn field<'a>(state: &'a Value, category: &str) -> &'a Value {
    let people = state["personal"].as_object().unwrap().values();
    let mut found = people.filter_map(|fields| fields.get(category));
    let field = found.next().unwrap_or_else(|| panic!("no {category}: {state}"));
    assert!(found.next().is_none());
    field
}

fn with_server(test: impl FnOnce(&Data, &Server, &Client)) {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    test(&data, &server, &client);
}

#[test]
fn a_stream_stands_as_its_events_up_to_the_moment_say() {
    with_server(|_, _, client| {
        let receipts = fill(client);
        let placed = json!({"total": 12.5, "lines": [1, 2], "note": "leave it"});
        let paid = json!({"total": 12.5, "lines": [1, 2], "paid": true});
        let moved = json!({"total": 12.5, "lines": [1], "paid": true});
        let at = |receipt: usize, name: &str| receipts[receipt][name].to_string().trim_matches('"').to_owned();
        for (query, version, expected) in [
            (format!("as_of_index={}", at(0, "index")), 1, &placed),
            (format!("as_of_index={}", at(1, "index")), 1, &placed),
            (format!("as_of_index={}", at(2, "index")), 2, &paid),
            (format!("as_of_index={}", at(3, "index")), 2, &paid),
            (format!("as_of_index={}", at(4, "index")), 3, &moved),
            (format!("as_of_time={}", at(0, "recorded_at")), 1, &placed),
            (format!("as_of_time={}", at(3, "recorded_at")), 2, &paid),
            (format!("as_of_time={}", at(4, "recorded_at")), 3, &moved),
            ("as_of_version=1".into(), 1, &placed),
            ("as_of_version=2".into(), 2, &paid),
            ("as_of_version=3".into(), 3, &moved),
            (String::new(), 3, &moved),
        ] {
            let found = state(client, &query);
            assert_eq!(
                (&found["stream_version"], &found["state"]),
                (&json!(version), expected),
                "{query}"
            );
            assert_eq!(found["not_folded"], json!([]));
            assert_eq!(found["stream"], "order-7");
        }
        // A version is the moment of its event; what was recorded in between is not in it.
        assert_eq!(state(client, "as_of_version=2")["index"], receipts[2]["index"]);
        assert_eq!(
            state(client, "as_of_version=2")["recorded_at"],
            receipts[2]["recorded_at"]
        );
    });
}

#[test]
fn moments_in_the_future_are_the_head_and_those_before_the_beginning_are_nothing() {
    with_server(|_, _, client| {
        let receipts = fill(client);
        let head = index(&receipts[4]);
        for query in [
            "as_of_time=9999-12-31T23:59:59Z",
            "as_of_index=18446744073709551615",
            "as_of_version=18446744073709551615",
            "as_of_index=1000",
            "as_of_version=4",
        ] {
            let found = state(client, query);
            assert_eq!(
                (&found["index"], &found["stream_version"]),
                (&json!(head), &json!(3)),
                "{query}"
            );
            assert!(
                found.get("consistency").is_none(),
                "{query}: the head has its own checkpoint"
            );
        }
        for (query, index) in [
            ("as_of_time=1970-01-01T00:00:00Z", Value::Null),
            ("as_of_index=0", json!(0)),
            ("as_of_version=0", json!(index(&receipts[0]) - 1)),
        ] {
            let found = state(client, query);
            assert_eq!(
                (&found["stream_version"], &found["state"]),
                (&json!(0), &Value::Null),
                "{query}"
            );
            assert_eq!(found["index"], index, "{query}");
            assert_eq!(found["personal"], json!({}));
        }
        let nothing = client.get("as-of?time=1970-01-01T00:00:00Z").expect(200);
        assert_eq!((&nothing["tree_size"], &nothing["index"]), (&json!(0), &Value::Null));
        assert_eq!((&nothing["streams"], &nothing["types"]), (&json!(0), &json!({})));
        client.get("streams/never/state").problem(404, "stream_not_found");
        client
            .get("streams/never/state?as_of_index=0")
            .problem(404, "stream_not_found");
        client.get("streams/never/state/diff").problem(404, "stream_not_found");
    });
}

#[test]
fn what_makes_no_sense_is_refused_by_the_fields_name() {
    with_server(|_, _, client| {
        fill(client);
        for (path, pointer) in [
            (
                "streams/order-7/state?as_of_time=2026-01-01T00:00:00Z&as_of_index=1",
                "as_of_time",
            ),
            ("streams/order-7/state?as_of_index=1&as_of_version=1", "as_of_index"),
            ("streams/order-7/state?as_of_time=yesterday", "as_of_time"),
            ("streams/order-7/state?as_of_time=1969-12-31T23:59:59Z", "as_of_time"),
            ("streams/order-7/state?as_of_time=", "as_of_time"),
            ("streams/order-7/state?as_of_index=-1", "as_of_index"),
            ("streams/order-7/state?as_of_index=18446744073709551616", "as_of_index"),
            ("streams/order-7/state?as_of_version=two", "as_of_version"),
            ("streams/order-7/state?time=2026-01-01T00:00:00Z", "query"),
            ("streams/order-7/state?reveal=perhaps", "query"),
            ("streams/order-7/state/diff?from_index=1&from_version=1", "from_index"),
            (
                "streams/order-7/state/diff?to_index=1&to_time=2026-01-01T00:00:00Z",
                "to_time",
            ),
            ("streams/order-7/state/diff?from_version=3&to_version=1", "from"),
            ("streams/order-7/state/diff?to_time=never", "to_time"),
            ("as-of?time=2026-01-01T00:00:00Z&index=1", "time"),
            ("as-of?time=2026-13-01T00:00:00Z", "time"),
            ("as-of?index=1e3", "index"),
            ("as-of?version=1", "query"),
        ] {
            let problem = client.get(path).problem(422, "invalid_field");
            assert_eq!(problem["errors"][0]["pointer"], pointer, "{path}: {problem}");
            assert!(!problem.to_string().contains("yesterday"), "{problem}");
        }
        client
            .get("streams/ada%40example.com/state")
            .problem(422, "personal_data_refused");
    });
}

#[test]
fn personal_data_is_opened_for_a_revealer_only_is_recorded_and_dies_in_every_past() {
    with_server(|_, server, client| {
        fill(client);
        let sealed = state(client, "as_of_version=1");
        assert_eq!(field(&sealed, "billing")["state"], "sealed");
        assert!(field(&sealed, "billing").get("data").is_none());
        let reveals = || client.read_all("events?type=personal_data.revealed", 100);
        assert!(reveals().is_empty());
        let reader = server.client_as(&["reader"], None);
        reader
            .get("streams/order-7/state?reveal=true")
            .problem(403, "forbidden");
        reader
            .get("streams/order-7/state/diff?reveal=true")
            .problem(403, "forbidden");
        assert!(reveals().is_empty());

        let old = state(client, "as_of_version=1&reveal=true");
        let clear = json!({"name": "Ada Example", "street": "Old St"});
        assert_eq!(
            (&field(&old, "billing")["state"], &field(&old, "billing")["data"]),
            (&json!("clear"), &clear)
        );
        let now = state(client, "reveal=true");
        assert_eq!(
            field(&now, "billing")["data"],
            json!({"name": "Ada Example", "street": "New St"})
        );
        assert_eq!(field(&now, "billing")["blocks"], 2);
        assert_eq!(field(&now, "default")["data"], json!({"name": "Bob Example"}));
        let recorded = reveals();
        assert_eq!(recorded.len(), 2);
        assert_eq!(recorded[1]["data"]["blocks"], 3);
        assert_eq!(recorded[1]["data"]["handles"].as_array().unwrap().len(), 2);
        // A state that opens nothing is not recorded.
        state(client, "as_of_version=0&reveal=true");
        assert_eq!(reveals().len(), 2);

        let diff = client
            .get("streams/order-7/state/diff?from_version=1&reveal=true")
            .expect(200);
        assert_eq!(
            field(&diff, "billing")["patch"],
            json!([{"op": "replace", "path": "/street", "value": "New St"}])
        );
        assert_eq!(reveals().len(), 3);

        let order = json!({"subjects": ["ada"], "basis": "art17_1_a", "reason": "request"});
        client.post("erasures", &order).expect(202);
        for query in ["as_of_version=1&reveal=true", "reveal=true", "as_of_version=1"] {
            let after = state(client, query);
            let billing = field(&after, "billing");
            assert_eq!(billing["state"], "erased", "{query}: {after}");
            assert!(billing.get("data").is_none());
            let certificate = client.get(billing["certificate"].as_str().unwrap());
            assert_eq!(certificate.status, 200);
            assert!(!after.to_string().contains("Ada"), "{after}");
        }
        let after = state(client, "reveal=true");
        assert_eq!(
            field(&after, "default")["data"],
            json!({"name": "Bob Example"}),
            "another person's data stays"
        );
        assert_eq!(after["state"], now["state"], "public state is not touched");
        let diff = client
            .get("streams/order-7/state/diff?from_version=1&reveal=true")
            .expect(200);
        assert_eq!(field(&diff, "billing")["state"], "erased");
        assert!(field(&diff, "billing").get("patch").is_none());
    });
}

/// JSON that is accepted and that no fold can hold: it is listed, and the rest stays readable.
#[test]
fn a_body_beyond_what_a_fold_can_hold_is_listed_and_the_rest_is_folded() {
    with_server(|_, _, client| {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let unfoldable = ["1e999".to_owned(), "\"\\ud800\"".to_owned(), deep];
        client.append(
            "odd",
            json!({"type": "t", "data": {"a": 1}, "personal": [{"subject": "p", "data": {"x": 1}}]}),
        );
        for value in &unfoldable {
            let body = format!(
                "{{\"events\":[{{\"type\":\"t\",\"data\":{{\"v\":{value}}},\"personal\":[{{\"subject\":\"p\",\"data\":{{\"v\":{value}}}}}]}}]}}"
            );
            let json_type = [("content-type", "application/json")];
            let answer = client.send("POST", "streams/odd/events", &json_type, body.as_bytes());
            assert_eq!(answer.status, 201, "{value}: {}", answer.text());
        }
        client.append("odd", json!({"type": "t", "data": {"b": 2}}));
        let answer = client.get("streams/odd/state?reveal=true");
        assert_eq!(answer.header("cache-control"), "no-store");
        let state = answer.expect(200);
        assert_eq!(state["state"], json!({"a": 1, "b": 2}), "{state}");
        let listed: Vec<_> = state["not_folded"].as_array().unwrap().iter().collect();
        assert_eq!(listed.len(), 3);
        assert!(
            listed
                .iter()
                .all(|body| body["state"] == "not_foldable" && body["body"] == "data")
        );
        let person = field(&state, "default");
        assert_eq!((&person["state"], person.get("data")), (&json!("not_foldable"), None));
        assert_eq!(person["not_folded"], json!([{"stream_version": 1, "state": "clear"}]));
        let diff = client.get("streams/odd/state/diff?from_version=1");
        assert_eq!(diff.header("cache-control"), "no-store");
        assert_eq!(
            diff.expect(200)["patch"],
            json!([{"op": "add", "path": "/b", "value": 2}])
        );
    });
}

#[test]
fn moments_within_one_version_have_no_difference_whichever_is_the_later() {
    with_server(|_, _, client| {
        fill(client);
        client.append("late", json!({"type": "t", "data": {"a": 1}}));
        for query in [
            "to_index=3",
            "from_version=999&to_version=1",
            "from_index=900&to_version=1",
        ] {
            let diff = client.get(&format!("streams/late/state/diff?{query}")).expect(200);
            assert_eq!(diff["patch"], json!([]), "{query}: {diff}");
            assert_eq!(diff["from"]["tree_size"], diff["to"]["tree_size"], "{query}");
        }
        client
            .get("streams/late/state/diff?from_version=1&to_index=3")
            .problem(422, "invalid_field");
    });
}

#[test]
fn the_difference_of_two_moments_is_a_patch_that_leads_from_one_to_the_other() {
    with_server(|_, _, client| {
        let receipts = fill(client);
        for (from, to) in [(0, 3), (0, 1), (1, 2), (1, 3), (2, 2)] {
            let diff = client
                .get(&format!(
                    "streams/order-7/state/diff?from_version={from}&to_version={to}"
                ))
                .expect(200);
            let [mut before, after] = [from, to].map(|version| state(client, &format!("as_of_version={version}")));
            let patch: json_patch::Patch = serde_json::from_value(diff["patch"].clone()).unwrap();
            json_patch::patch(&mut before["state"], &patch).unwrap();
            assert_eq!(before["state"], after["state"], "{from} to {to}: {diff}");
            assert_eq!(
                (&diff["from"]["stream_version"], &diff["to"]["stream_version"]),
                (&json!(from), &json!(to))
            );
            assert_eq!(diff["to"]["root"], after["root"]);
        }
        let diff = client
            .get(&format!(
                "streams/order-7/state/diff?from_time={}",
                receipts[2]["recorded_at"].as_str().unwrap()
            ))
            .expect(200);
        assert_eq!(diff["from"]["stream_version"], 2);
        let billing = field(&diff, "billing");
        assert_eq!(
            (&billing["state"], &billing["stream_versions"]),
            (&json!("sealed"), &json!([3]))
        );
        let none = client
            .get("streams/order-7/state/diff?from_version=1&to_version=2")
            .expect(200);
        assert_eq!(none["personal"], json!({}), "nobody's data came in between");
    });
}

/// Root, checkpoint and consistency proof of every size, checked by the library's verifiers against the event's own leaves.
#[test]
fn what_was_true_then_is_proved_by_the_checkpoint_that_covers_it() {
    with_server(|data, _, client| {
        fill(client);
        // Checkpoints are kept once a group: a batch leaves sizes without one.
        let events = vec![json!({"type": "many"}); 9];
        client
            .post("streams/many/events", &json!({"events": events}))
            .expect(201);
        let keys = Keys::of(client, "main", data.vkey());
        let leaves = keys.ledger(client, "main");
        let mut with_proof = 0;
        for size in 1..=leaves.len() {
            let found = client.get(&format!("as-of?index={}", size - 1)).expect(200);
            assert_eq!((&found["tree_size"], &found["index"]), (&json!(size), &json!(size - 1)));
            let root: Hash = found["root"].as_str().unwrap().parse().unwrap();
            assert_eq!(root, root_of(&leaves[..size]), "size {size}");
            let checkpoint = keys.open(found["checkpoint"].as_str().unwrap());
            if let Some(consistency) = found.get("consistency") {
                with_proof += 1;
                assert_eq!(
                    (&consistency["from"], &consistency["to"]),
                    (&json!(size), &json!(checkpoint.size))
                );
                let proof = hashes(&consistency["hashes"]);
                verify_consistency(size as u64, checkpoint.size, &root, &checkpoint.root, &proof).unwrap();
            } else {
                assert_eq!((checkpoint.size, checkpoint.root), (size as u64, root));
            }
        }
        assert!(with_proof >= 8, "{with_proof}");
        let all = client.get("as-of").expect(200);
        assert_eq!(all["types"]["many"], 9);
        assert_eq!(all["types"]["placed"], 2);
        assert_eq!(
            all["streams"],
            client.get("streams?limit=1000").expect(200)["streams"]
                .as_array()
                .unwrap()
                .len()
        );
        let bare = client.get("as-of?counts=false").expect(200);
        assert!(bare.get("types").is_none() && bare.get("streams").is_none());
        assert_eq!(bare["root"], all["root"]);
    });
}

/// Every version of a longer stream, against a fold written here.
#[test]
fn every_version_of_a_long_stream_is_the_fold_of_what_came_before() {
    with_server(|_, _, client| {
        let mut expected = vec![Value::Null];
        for batch in 0..8 {
            let event = |n: u64| {
                json!({"stream": if n.is_multiple_of(3) { "other" } else { "long" }, "type": "t",
                "data": {format!("k{}", n % 7): n, "last": n}})
            };
            let events: Vec<_> = (batch * 100..batch * 100 + 100).map(event).collect();
            for event in events.iter().filter(|event| event["stream"] == "long") {
                let mut state = expected.last().unwrap().clone();
                if state.is_null() {
                    state = json!({});
                }
                for (name, value) in event["data"].as_object().unwrap() {
                    state[name] = value.clone();
                }
                expected.push(state);
            }
            client.post("events?proof=none", &json!({"events": events})).expect(201);
        }
        for version in [0, 1, 31, 32, 33, 95, 96, 97, 500, expected.len() - 1] {
            let found = client
                .get(&format!("streams/long/state?as_of_version={version}"))
                .expect(200);
            assert_eq!(found["state"], expected[version], "version {version}");
        }
    });
}
