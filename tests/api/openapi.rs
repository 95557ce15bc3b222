//! The OpenAPI document and its page: current, public, and on their own; and what running against it brought to light.

use serde_json::{Value, json};

use crate::support::{Data, run};

#[test]
fn the_committed_document_is_current() {
    let made = run(&["openapi"]);
    assert!(made.status.success());
    assert!(
        made.stdout == include_bytes!("../../docs/openapi.json"),
        "docs/openapi.json is stale; make it anew: cargo run -- openapi > docs/openapi.json"
    );
}

#[test]
fn a_server_gives_the_document_and_a_page_without_a_key() {
    let data = Data::new();
    let server = data.serve();
    let stranger = server.stranger();
    let document = stranger.get("/openapi.json");
    assert_eq!(document.header("content-type"), "application/json");
    let committed: Value = serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap();
    assert_eq!(document.expect(200), committed);
    assert_eq!(committed["openapi"], "3.1.0");

    let page = stranger.get("/docs");
    assert_eq!(page.status, 200);
    let policy = page.header("content-security-policy");
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains("http"),
        "{policy}"
    );
    let text = page.text();
    for word in ["<script", "src=", "@import", "url(", "href=\"http", "<link"] {
        assert!(!text.contains(word), "the page holds {word}");
    }
    for (path, item) in committed["paths"].as_object().unwrap() {
        assert!(text.contains(path), "{path}");
        for operation in item.as_object().unwrap().values() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(text.contains(&format!("id=\"{id}\"")), "{id}");
        }
    }
    for name in committed["components"]["schemas"].as_object().unwrap().keys() {
        assert!(text.contains(&format!("id=\"{name}\"")), "{name}");
    }
}

#[test]
fn a_method_that_a_route_does_not_take_is_told_which_it_takes() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for (method, path, allowed) in [
        ("PUT", "/v1/ledgers", "GET, POST, HEAD"),
        ("POST", "keys", "GET, HEAD"),
        ("DELETE", "log/tile/0/000", "GET, HEAD"),
        ("PATCH", "streams/s/events", "GET, POST, HEAD"),
        ("GET", "/v1/api-keys/0123456789abcdef", "DELETE"),
        ("GET", "subjects/lookup", "POST"),
        ("POST", "/docs", "GET, HEAD"),
    ] {
        let refused = client.send(method, path, &[], b"");
        refused.problem(405, "method_not_allowed");
        assert_eq!(refused.header("allow"), allowed, "{method} {path}");
    }
}

#[test]
fn an_export_is_not_filtered_by_an_empty_tag() {
    let data = Data::new();
    let server = data.serve();
    let refused = server.client().post("exports", &json!({"format": "csv", "tag": ""}));
    let problem = refused.problem(422, "invalid_field");
    assert_eq!(problem["errors"][0]["pointer"], "/tag");
}

#[test]
fn a_long_source_of_a_cloudevent_is_refused_by_its_own_name() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let send = |source: String| {
        let event = json!({"specversion": "1.0", "id": "1", "type": "t", "source": source});
        let kind = [("content-type", "application/cloudevents+json")];
        client.send("POST", "events", &kind, event.to_string().as_bytes())
    };
    send("x".repeat(121)).expect(201);
    let problem = send("x".repeat(122)).problem(422, "invalid_field");
    assert_eq!(problem["errors"][0]["pointer"], "/0/source");
}

#[test]
fn no_route_takes_parameters_that_it_does_not_know() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"type": "t"}));
    let document = client.get("/openapi.json").expect(200);
    for (path, item) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{ledger}", "main")
            .replace("{stream}", "s")
            .replace("{event}", "0")
            .replace("{path}", "0/000.p/1")
            .replace("{handle}", &"0".repeat(32))
            .replace("{id}", "0190163d-8694-739b-8aea-966c26f8ad91");
        assert!(!path.contains('{'), "{path}");
        for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
            let refused = client.send(&method.to_uppercase(), &format!("{path}?nonsense=1"), &[], b"");
            refused.problem(422, "invalid_field");
        }
    }
}

#[test]
fn nothing_stays_in_caches_that_does_not_say_so() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"type": "t"}));
    for (path, kept) in [
        ("/v1/api-keys", "no-store"),
        ("/readyz", "no-store"),
        ("events", "no-store"),
        ("streams/s/state", "no-store"),
        ("/nowhere", "no-store"),
        ("log/checkpoint", "private, max-age=1"),
        ("/openapi.json", "no-cache"),
    ] {
        assert_eq!(client.get(path).header("cache-control"), kept, "{path}");
    }
}
