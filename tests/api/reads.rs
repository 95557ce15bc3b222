//! Reads: every filter, both directions, pages of every length.

use serde_json::{Value, json};

use crate::support::{Client, Data, id};

fn indexes(events: &[Value]) -> Vec<u64> {
    events.iter().map(|event| event["index"].as_u64().unwrap()).collect()
}

/// 120 events over four streams, three types and a few tags; every tenth concerns ada.
fn fill(client: &Client) {
    for batch in 0..4 {
        let event = |n: u64| {
            let mut event = json!({"stream": format!("s{}", n % 4), "id": id(u128::from(n)), "type": format!("t{}", n % 3), "data": n,
                "tags": [format!("g{}", n % 5), "all"], "correlation_id": format!("c{}", n / 7)});
            if n.is_multiple_of(10) {
                event["personal"] = json!([{"subject": "ada", "data": n}]);
            }
            event
        };
        let events: Vec<_> = (batch * 30..batch * 30 + 30).map(event).collect();
        client.post("events?proof=none", &json!({"events": events})).expect(201);
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
}

#[test]
fn every_filter_finds_exactly_its_events_in_both_directions_and_in_pages_of_any_length() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    let ada = client.post("subjects/lookup", &json!({"subject": "ada"})).expect(200)["handle"]
        .as_str()
        .unwrap()
        .to_owned();
    let all = client.read_all("events", 1_000);
    let stream_ref = all.iter().find(|event| event["stream"] == "s1").unwrap()["stream_ref"]
        .as_str()
        .unwrap()
        .to_owned();
    let time = |at: usize| all[at]["recorded_at"].as_str().unwrap().to_owned();
    let (early, late) = (time(40), time(100));
    let is = |name: &'static str, value: &str| {
        let value = value.to_owned();
        Box::new(move |event: &Value| event[name] == value.as_str()) as Box<dyn Fn(&Value) -> bool>
    };
    let tagged = |tag: &'static str| {
        Box::new(move |event: &Value| event["tags"].as_array().unwrap().contains(&json!(tag)))
            as Box<dyn Fn(&Value) -> bool>
    };
    let concerns = {
        let ada = ada.clone();
        move |event: &Value| {
            event["personal"]
                .as_array()
                .unwrap()
                .iter()
                .any(|block| block["handle"] == ada.as_str())
        }
    };
    let between = {
        let (early, late) = (early.clone(), late.clone());
        move |event: &Value| (early.as_str()..late.as_str()).contains(&event["recorded_at"].as_str().unwrap())
    };
    type Case = (String, Box<dyn Fn(&Value) -> bool>);
    let cases: Vec<Case> = vec![
        ("events".into(), Box::new(|_| true)),
        (
            "events?system=false".into(),
            Box::new(|event| !event["stream"].as_str().unwrap().starts_with('$')),
        ),
        ("events?stream=s2".into(), is("stream", "s2")),
        ("streams/s3/events".into(), is("stream", "s3")),
        (format!("events?stream_ref={stream_ref}"), is("stream", "s1")),
        ("events?type=t1".into(), is("type", "t1")),
        ("events?type=none".into(), Box::new(|_| false)),
        ("events?tag=g3".into(), tagged("g3")),
        ("events?tag=all".into(), tagged("all")),
        ("events?tag=g".into(), Box::new(|_| false)),
        ("events?correlation_id=c5".into(), is("correlation_id", "c5")),
        (format!("events?handle={ada}"), Box::new(concerns.clone())),
        (format!("events?from={early}&to={late}"), Box::new(between.clone())),
        (format!("events?from={early}&to={early}"), Box::new(|_| false)),
        (format!("events?type=t0&tag=g0&from={early}"), {
            let early = early.clone();
            Box::new(move |event| {
                event["type"] == "t0"
                    && event["tags"][0] == "g0"
                    && event["recorded_at"].as_str().unwrap() >= early.as_str()
            })
        }),
        (
            "streams/s0/events?type=t2&tag=g1".into(),
            Box::new(|event| event["stream"] == "s0" && event["type"] == "t2" && event["tags"][0] == "g1"),
        ),
        (
            format!("events?handle={ada}&type=t0"),
            Box::new(move |event| concerns(event) && event["type"] == "t0"),
        ),
        (
            "events?after=50".into(),
            Box::new(|event| event["index"].as_u64().unwrap() > 50),
        ),
        (
            "events?after=50&tag=all".into(),
            Box::new(|event| {
                event["index"].as_u64().unwrap() > 50 && event["tags"].as_array().unwrap().contains(&json!("all"))
            }),
        ),
        ("events?stream=s0&after=9999".into(), Box::new(|_| false)),
    ];
    for (path, holds) in &cases {
        let mut expected: Vec<_> = indexes(&all.iter().filter(|event| holds(event)).cloned().collect::<Vec<_>>());
        for limit in [1, 2, 7, 29, 1_000] {
            assert_eq!(indexes(&client.read_all(path, limit)), expected, "{path} by {limit}");
        }
        if path.contains("after=") {
            continue;
        }
        expected.reverse();
        let backward = format!("{path}{}direction=backward", if path.contains('?') { '&' } else { '?' });
        for limit in [1, 7, 1_000] {
            assert_eq!(
                indexes(&client.read_all(&backward, limit)),
                expected,
                "{backward} by {limit}"
            );
        }
    }
    assert_eq!(
        indexes(&client.read_all("events?after=50&direction=backward", 9)),
        (0..50).rev().collect::<Vec<_>>()
    );
}

#[test]
fn an_event_is_found_by_index_and_by_id_and_reads_the_same_everywhere() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    for event in client.read_all("events", 50) {
        assert_eq!(client.get(&format!("events/{}", event["index"])).expect(200), event);
        assert_eq!(
            client
                .get(&format!("events/{}", event["id"].as_str().unwrap()))
                .expect(200),
            event
        );
    }
    let upper = id(5).to_uppercase();
    assert_eq!(client.get(&format!("events/{upper}")).expect(200)["id"], id(5));
}

#[test]
fn a_page_can_be_had_as_lines() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    let page = client.get("events?limit=10").expect(200);
    let lines = client.send("GET", "events?limit=10", &[("accept", "application/x-ndjson")], b"");
    assert_eq!(
        (lines.status, lines.header("content-type")),
        (200, "application/x-ndjson")
    );
    let parsed: Vec<Value> = lines
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(parsed), page["events"]);
    assert_eq!(lines.header("oubliette-next"), page["next"].as_str().unwrap());
    assert!(lines.text().ends_with('\n'));
}

#[test]
fn streams_are_listed_by_name_in_pages() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    let list = |query: &str, limit: usize| {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("streams?limit={limit}{query}{cursor}")).expect(200);
            for stream in page["streams"].as_array().unwrap() {
                names.push((
                    stream["stream"].as_str().unwrap().to_owned(),
                    stream["version"].as_u64().unwrap(),
                ));
            }
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={}", next.replace('$', "%24")),
                None => return names,
            }
        }
    };
    let expected: Vec<_> = ["s0", "s1", "s2", "s3"].map(|name| (name.to_owned(), 30)).into();
    for limit in [1, 3, 100] {
        assert_eq!(list("&system=false", limit), expected);
        let all = list("", limit);
        assert!(
            all.is_sorted() && all.ends_with(&expected) && all.contains(&("$ledger".into(), 1)),
            "{all:?}"
        );
    }
}

#[test]
fn an_event_shows_what_its_caller_said_and_what_a_verifier_needs() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = crate::support::receipts::Keys::of(&client, "main", data.vkey());
    let sent = json!({"id": id(1), "type": "t", "schema_version": 4, "occurred_at": "2026-01-02T03:04:05.000006Z", "actor": "shop",
        "correlation_id": "c", "causation_id": "d", "tags": ["x"], "data": {"k": [1, null]}, "personal": [{"subject": "ada", "category": "invoice", "data": 1}]});
    let receipt = client.append("s", sent.clone());
    let read = client.get(&format!("events/{}", id(1))).expect(200);
    for name in [
        "id",
        "type",
        "schema_version",
        "occurred_at",
        "actor",
        "correlation_id",
        "causation_id",
        "tags",
        "data",
    ] {
        assert_eq!(read[name], sent[name], "{name}");
    }
    for name in ["index", "id", "stream", "stream_version", "recorded_at"] {
        assert_eq!(read[name], receipt[name], "{name}");
    }
    for name in ["header", "signature", "leaf_hash", "key_id"] {
        assert_eq!(read["verification"][name], receipt[name], "{name}");
    }
    assert_eq!(
        (&read["meta_state"], &read["data_state"]),
        (&json!("present"), &json!("present"))
    );
    let block = &read["personal"][0];
    assert_eq!(
        (&block["state"], &block["category"], &block["generation"]),
        (&json!("sealed"), &json!("invoice"), &json!(1))
    );
    assert!(block.get("data").is_none());
    keys.header(&read["verification"]);
    let before = client
        .get(&format!("events/{}", read["index"].as_u64().unwrap() - 1))
        .expect(200);
    assert_eq!(read["verification"]["previous"], before["verification"]["leaf_hash"]);
}

#[test]
fn head_answers_as_get_does_without_a_body() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"type": "t", "data": {"x": 1}}));
    let export = client.post("exports", &json!({"format": "ndjson"})).expect(201);
    let content = format!("exports/{}/content", export["id"].as_str().unwrap());
    for path in [
        "/healthz",
        "events?limit=2",
        "events/0",
        "log/checkpoint",
        "keys",
        &content,
    ] {
        let (get, head) = (client.get(path), client.send("HEAD", path, &[], b""));
        assert_eq!((get.status, head.status), (200, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{path}");
    }
    assert_eq!(client.send("HEAD", "events/99", &[], b"").status, 404);
    client.append("s", json!({"type": "t", "personal": [{"subject": "ada", "data": 1}]}));
    for path in [
        "events?reveal=true",
        "streams/s/events?reveal=true",
        "events/2?reveal=true",
        "streams/s/state?reveal=true",
        "streams/s/state/diff?reveal=true",
    ] {
        assert_eq!(client.send("HEAD", path, &[], b"").status, 422, "{path}");
    }
    let reveals = client.get("events?type=personal_data.revealed").expect(200);
    assert_eq!(reveals["events"], json!([]), "nothing left, so nothing is recorded");
    assert_eq!(client.send("HEAD", "subjects/lookup", &[], b"").status, 405);
    assert_eq!(server.stranger().send("HEAD", "events", &[], b"").status, 401);
}
