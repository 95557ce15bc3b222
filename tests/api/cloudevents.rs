//! CloudEvents: the same event in every mode, and nothing dropped on the way.

use serde_json::json;

use crate::support::Data;

const STRUCTURED: (&str, &str) = ("content-type", "application/cloudevents+json");

#[test]
fn structured_and_binary_mode_are_the_same_event() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "a%20b%25"),
        ("ce-source", "/caf%C3%A9"),
        ("ce-type", "t"),
        ("ce-subject", "\"Stra%C3%9Fe 7\""),
        ("content-type", "application/json"),
    ];
    let first = client.send("POST", "events", &binary, b"{\"x\":1}").expect(201);
    assert_eq!(first["events"][0]["stream"], "Straße 7");
    let event = json!({"specversion": "1.0", "id": "a b%", "source": "/café", "type": "t", "subject": "Straße 7",
        "datacontenttype": "application/json", "data": {"x": 1}});
    let body = event.to_string();
    let again = client
        .send("POST", "events", &[STRUCTURED], body.as_bytes())
        .expect(200);
    assert_eq!(again["events"][0]["id"], first["events"][0]["id"]);
}

#[test]
fn the_guard_sees_what_was_meant() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for name in ["ce-id", "ce-source", "ce-subject"] {
        let mut headers = vec![("ce-specversion", "1.0"), ("ce-type", "t")];
        headers.push((name, "ada%40example.com"));
        for (other, value) in [("ce-id", "1"), ("ce-source", "/a")] {
            if other != name {
                headers.push((other, value));
            }
        }
        let problem = client
            .send("POST", "events", &headers, b"")
            .problem(422, "personal_data_refused");
        assert!(!problem.to_string().contains("ada"), "{problem}");
    }
}

#[test]
fn headers_that_would_be_dropped_are_refused_by_name() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for (name, value) in [
        ("ce-id", "2"),
        ("ce-data", "{}"),
        ("ce-datacontenttype", "text/plain"),
        ("ce-subject", "100%"),
    ] {
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/a"),
            ("ce-type", "t"),
            (name, value),
        ];
        let problem = client
            .send("POST", "events", &headers, b"")
            .problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], name);
    }
}

#[test]
fn long_names_are_refused_before_they_are_looked_into() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let long = "1 ".repeat(4 << 20);
    let event = json!({"specversion": "1.0", "id": long, "source": "/a", "type": "t"});
    let body = event.to_string();
    let problem = client
        .send("POST", "events", &[STRUCTURED], body.as_bytes())
        .problem(422, "invalid_field");
    assert_eq!(problem["errors"][0]["pointer"], "/0/id");
}
