//! What is refused, and that every refusal is a problem document of a published code.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::support::Data;

#[test]
fn a_body_that_is_no_json_is_malformed_and_a_wrong_field_is_named() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let post = |body: &[u8]| client.post_bytes("streams/s/events", body);
    for malformed in [
        "",
        "{",
        "nonsense",
        "{\"events\":[]} x",
        "[",
        "{\"events\":[{\"type\":\"t\",}]}",
        "\u{feff}{\"events\":[]}",
    ] {
        post(malformed.as_bytes()).problem(400, "malformed_json");
    }
    post(b"{\"events\":[{\"type\":\"t\",\"data\":\"\xff\"}]}").problem(400, "malformed_json");
    for (body, pointer) in [
        (json!({"events": []}), "/events"),
        (json!({}), ""),
        (json!({"events": [{"type": "t"}], "extra": 1}), "/extra"),
        (json!({"events": [{"type": "t", "extra": 1}]}), "/events/0/extra"),
        (
            json!({"events": [{"type": "t", "personal": [{"subject": "a", "data": 1, "extra": 1}]}]}),
            "/events/0/personal/0/extra",
        ),
        (json!({"events": [{"type": "t", "id": "x"}]}), "/events/0/id"),
        (json!({"events": [{"type": ""}]}), "/events/0/type"),
        (json!({"events": [{"type": "with space"}]}), "/events/0/type"),
        (json!({"events": [{"type": "t".repeat(129)}]}), "/events/0/type"),
        (json!({"events": [{"type": "ü"}]}), "/events/0/type"),
        (json!({"events": [{}]}), "/events/0"),
        (
            json!({"events": [{"type": "t", "schema_version": 0}]}),
            "/events/0/schema_version",
        ),
        (
            json!({"events": [{"type": "t", "schema_version": -1}]}),
            "/events/0/schema_version",
        ),
        (
            json!({"events": [{"type": "t", "occurred_at": "yesterday"}]}),
            "/events/0/occurred_at",
        ),
        (
            json!({"events": [{"type": "t", "occurred_at": "2026-13-01T00:00:00Z"}]}),
            "/events/0/occurred_at",
        ),
        (json!({"events": [{"type": "t", "actor": 5}]}), "/events/0/actor"),
        (json!({"events": [{"type": "t", "actor": ""}]}), "/events/0/actor"),
        (
            json!({"events": [{"type": "t", "actor": {"subject": "a", "x": 1}}]}),
            "/events/0/actor",
        ),
        (
            json!({"events": [{"type": "t", "correlation_id": ""}]}),
            "/events/0/correlation_id",
        ),
        (
            json!({"events": [{"type": "t", "causation_id": "c".repeat(257)}]}),
            "/events/0/causation_id",
        ),
        (json!({"events": [{"type": "t", "tags": [""]}]}), "/events/0/tags"),
        (
            json!({"events": [{"type": "t", "tags": vec!["x"; 33]}]}),
            "/events/0/tags",
        ),
        (json!({"events": [{"type": "t", "tags": "x"}]}), "/events/0/tags"),
        (
            json!({"events": [{"type": "t", "personal": [{"subject": "", "data": 1}]}]}),
            "/events/0/personal/0/subject",
        ),
        (
            json!({"events": [{"type": "t", "personal": [{"subject": "s".repeat(257), "data": 1}]}]}),
            "/events/0/personal/0/subject",
        ),
        (
            json!({"events": [{"type": "t", "personal": [{"subject": "a"}]}]}),
            "/events/0/personal/0/data",
        ),
        (
            json!({"events": [{"type": "t", "personal": vec![json!({"subject": "a", "data": 1}); 257]}]}),
            "/events/0/personal",
        ),
    ] {
        let problem = client.post("streams/s/events", &body).problem(422, "invalid_field");
        let pointers: Vec<_> = problem["errors"]
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap())
            .collect();
        assert!(pointers.contains(&pointer), "{body}: {problem}");
    }
    client.get("streams/s/events").problem(404, "stream_not_found");
    assert_eq!(client.get("events/0").expect(200)["type"], "ledger.created");
}

#[test]
fn a_refusal_does_not_repeat_what_stood_in_a_wrong_place() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for event in [
        json!({"type": "t", "schema_version": "ada@example.com"}),
        json!({"type": "t", "personal": "ada@example.com"}),
        json!({"type": "t", "ada@example.com": 1}),
    ] {
        let answer = client.post("streams/s/events", &json!({"events": [event]}));
        let problem = answer.problem(422, "invalid_field");
        assert!(!problem.to_string().contains("ada"), "{problem}");
    }
    for path in ["events?direction=ada@example.com", "events?ada@example.com=1"] {
        let problem = client.get(path).problem(422, "invalid_field");
        assert!(!problem.to_string().contains("ada"), "{problem}");
    }
}

#[test]
fn limits_are_what_the_contract_says() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let mebibyte = "x".repeat((1 << 20) - 2);
    client.append("s", json!({"type": "t", "data": mebibyte}));
    client.append(
        "s",
        json!({"type": "t", "personal": [{"subject": "a", "data": mebibyte}]}),
    );
    client.append(
        "s",
        json!({"type": "t".repeat(128), "personal": vec![json!({"subject": "a", "data": 1}); 256]}),
    );
    let larger = format!("{mebibyte}x");
    client
        .post("streams/s/events", &json!({"events": [{"type": "t", "data": larger}]}))
        .problem(413, "too_large");
    let sealed = json!({"events": [{"type": "t", "personal": [{"subject": "a", "data": larger}]}]});
    client.post("streams/s/events", &sealed).problem(413, "too_large");
    let longest = "s".repeat(256);
    client.append(
        &longest,
        json!({"type": "t", "personal": [{"subject": "s".repeat(256), "data": 1}]}),
    );
    client
        .post(
            &format!("streams/{longest}s/events"),
            &json!({"events": [{"type": "t"}]}),
        )
        .problem(422, "invalid_field");
    client
        .post("streams/a%0Ab/events", &json!({"events": [{"type": "t"}]}))
        .problem(422, "invalid_field");
    // 17 events of a mebibyte each are more than a request may hold.
    let batch = json!({"events": vec![json!({"type": "t", "data": mebibyte}); 17]});
    client.post("streams/s/events", &batch).problem(413, "too_large");
    let batch = json!({"events": vec![json!({"type": "t", "data": mebibyte}); 15]});
    client.post("streams/s/events?proof=none", &batch).expect(201);
}

#[test]
fn deeply_nested_payloads_are_kept_or_refused_but_never_fell_the_server() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for body in [
        format!(r#"{{"events":[{{"type":"t","data":{deep}}}]}}"#),
        format!(r#"{{"events":[{{"type":"t","personal":[{{"subject":"a","data":{deep}}}]}}]}}"#),
        format!(r#"{{"events":{deep}}}"#),
        format!(r#"{{"events":[{{"type":"t","actor":{deep}}}]}}"#),
        format!(r#"{{"events":[{{"type":"t","tags":{deep}}}]}}"#),
        deep.clone(),
    ] {
        let status = client.post_bytes("streams/deep/events", body.as_bytes()).status;
        assert!([201, 400, 422].contains(&status), "{status}");
    }
    assert_eq!(client.get("events?reveal=true&limit=1000").status, 200);
    client.append("s", json!({"type": "t"}));
}

#[test]
fn the_guard_refuses_what_names_a_person_in_every_field_that_stays_in_clear() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for person in [
        "ada@example.com",
        "+49 30 1234567",
        "DE89370400440532013000",
        "4111 1111 1111 1111",
    ] {
        for (field, value) in [
            ("actor", json!(person)),
            ("correlation_id", json!(person)),
            ("causation_id", json!(format!("cause {person}"))),
            ("tags", json!(["fine", person])),
            ("stream", json!(person)),
            ("personal", json!([{"subject": person, "category": person, "data": 1}])),
        ] {
            let mut event = json!({"stream": "s", "type": "t"});
            event[field] = value;
            let answer = client.post("events", &json!({"events": [event]}));
            // A category has a closed character set of its own.
            if field == "personal" && answer.json()["code"] == "invalid_field" {
                continue;
            }
            let problem = answer.problem(422, "personal_data_refused");
            let pointer = problem["errors"][0]["pointer"].as_str().unwrap();
            assert!(
                pointer.starts_with(&format!("/events/0/{field}")),
                "{person} in {field}: {pointer}"
            );
            assert!(
                !problem.to_string().contains(person),
                "the refusal repeats what it refuses: {problem}"
            );
        }
    }
    for event_type in [
        "4111111111111111",
        "tel:4111-1111-1111-1111",
        "acct/DE89370400440532013000",
    ] {
        let problem = client
            .post("streams/s/events", &json!({"events": [{"type": event_type}]}))
            .problem(422, "personal_data_refused");
        assert_eq!(problem["errors"][0]["pointer"], "/events/0/type");
    }
    client
        .post("streams/ada@example.com/events", &json!({"events": [{"type": "t"}]}))
        .problem(422, "personal_data_refused");
    client.get("streams/s/events").problem(404, "stream_not_found");
    // Subject ids are sealed, and UUIDs are excepted.
    client.append("s", json!({"type": "t", "correlation_id": "41111111-1111-4111-8111-111111111111", "personal": [{"subject": "ada@example.com", "data": "+49 30 1234567"}]}));
}

#[test]
fn what_begins_with_a_dollar_and_reserved_types_are_oubliettes_own() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for stream in ["$ledger", "$erasures", "$anything", "$"] {
        let problem = client
            .post(&format!("streams/{stream}/events"), &json!({"events": [{"type": "t"}]}))
            .problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], "/events/0/stream");
        client
            .post("events", &json!({"events": [{"stream": stream, "type": "t"}]}))
            .problem(422, "invalid_field");
    }
    for event_type in [
        "ledger.created",
        "ledger.x",
        "key.rotated",
        "epoch.destroyed",
        "erasure.requested",
        "erasure.completed",
        "bodies.purged",
    ] {
        let problem = client
            .post("streams/s/events", &json!({"events": [{"type": event_type}]}))
            .problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], "/events/0/type", "{event_type}");
    }
    client.append("s", json!({"type": "ledgers.created"}));
}

#[test]
fn every_refusal_of_the_router_itself_is_a_problem_too() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for path in [
        "/",
        "/v1",
        "/v1/nothing",
        "/v1/ledgers/main",
        "/v1/ledgers/main/nothing",
        "/v2/ledgers",
        "/v1/ledgers/main/streams/a/b/events",
        "//v1/ledgers",
    ] {
        client.get(path).problem(404, "not_found");
    }
    for (method, path) in [
        ("DELETE", "/v1/ledgers"),
        ("PUT", "/v1/ledgers/main/events"),
        ("PATCH", "/v1/ledgers/main/streams/s/events"),
        ("POST", "/v1/ledgers/main/keys"),
        ("DELETE", "/v1/ledgers/main/erasures"),
        ("GET", "/v1/ledgers/main/subjects"),
        ("POST", "/healthz"),
        ("PUT", "/v1/api-keys/x"),
        ("POST", "/v1/ledgers/main/log/checkpoint"),
    ] {
        client.send(method, path, &[], b"").problem(405, "method_not_allowed");
    }
    for path in [
        "events?limit=x",
        "events?limit=0",
        "events?limit=1001",
        "events?unknown=1",
        "events?direction=up",
        "events?from=now",
        "events?after=-1",
        "events?handle=zz",
        "events?cursor=x",
        "streams?limit=0",
        "proofs/inclusion",
        "proofs/inclusion?index=x",
        "proofs/consistency?from=x",
        "events/0?reveal=maybe",
        "events?type=a%20b",
    ] {
        client.get(path).problem(422, "invalid_field");
    }
    client
        .get("events?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z")
        .problem(422, "invalid_field");
    for (path, code) in [
        ("events/99", "event_not_found"),
        ("events/18446744073709551616", "event_not_found"),
        ("events/x", "event_not_found"),
        ("events/00000000-0000-4000-8000-000000000000", "event_not_found"),
        ("events/99/proof", "event_not_found"),
        ("streams/none/events", "stream_not_found"),
        ("events?stream=none", "stream_not_found"),
        ("erasures/x", "not_found"),
        ("erasures/00000000-0000-4000-8000-000000000000", "not_found"),
        ("subjects/00000000000000000000000000000000", "subject_not_found"),
        ("subjects/x", "subject_not_found"),
        ("/v1/ledgers/none/events", "ledger_not_found"),
        ("/v1/ledgers/NOT-a-name/events", "ledger_not_found"),
        ("log/tile/0/001", "not_found"),
        ("log/tile/x", "not_found"),
        ("log/tile/0/000.p/0", "not_found"),
        ("log/tile/64/000", "not_found"),
        ("log/tile/0/000.p/255", "not_found"),
        ("log/tile/entries/999", "not_found"),
    ] {
        client.get(path).problem(404, code);
    }
    client.delete("/v1/api-keys/0000000000000000").problem(404, "not_found");
}

#[test]
fn a_request_larger_than_the_limit_is_refused_with_or_without_a_length() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client
        .post_bytes("streams/s/events", &vec![b' '; (16 << 20) + 1])
        .problem(413, "too_large");
    // Chunked, so that the size is not known beforehand.
    let address = server.url.strip_prefix("http://").unwrap();
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    let head = format!(
        "POST /v1/ledgers/main/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\nauthorization: Bearer {}\r\n\r\n",
        data.key()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b' '; 1 << 20], b"\r\n"].concat();
    for _ in 0..17 {
        if socket.write_all(&chunk).is_err() {
            break;
        }
    }
    let _ = socket.write_all(b"0\r\n\r\n");
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(
        answer.contains("application/problem+json") && answer.contains("too_large"),
        "{answer}"
    );
    client.append("s", json!({"type": "t"}));
}

#[test]
fn a_path_that_is_no_utf_8_is_a_problem() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for path in [
        "streams/%FF/events",
        "events/%FF",
        "erasures/%C3%28",
        "subjects/%FF",
        "/v1/ledgers/%FF/events",
    ] {
        let answer = client.get(path);
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.status);
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{path}: {}",
            answer.status
        );
        assert!(answer.json()["code"].is_string(), "{path}");
    }
}

#[test]
fn who_shows_no_or_a_wrong_key_is_told_so_and_nothing_else() {
    let data = Data::new();
    let server = data.serve();
    let (client, stranger) = (server.client(), server.stranger());
    let paths = [
        "/v1/ledgers",
        "/v1/api-keys",
        "/v1/ledgers/main/events",
        "/v1/ledgers/none/events",
        "/v1/ledgers/main/keys",
        "/v1/ledgers/main/log/checkpoint",
    ];
    let good = data.key();
    let last = if good.ends_with('0') { '1' } else { '0' };
    let almost = format!("{}{last}", &good[..good.len() - 1]);
    let upper = good.to_uppercase();
    for path in paths {
        stranger.get(path).problem(401, "unauthenticated");
        for wrong in [
            "obl_",
            "obl__",
            "nonsense",
            &almost,
            &upper,
            &good[..good.len() - 1],
            &format!("{good}0"),
        ] {
            server.client_with(wrong).get(path).problem(401, "unauthenticated");
        }
        for scheme in ["Basic", "bearer2", "Token"] {
            stranger
                .send("GET", path, &[("authorization", &format!("{scheme} {good}"))], b"")
                .problem(401, "unauthenticated");
        }
        stranger
            .send("GET", path, &[("authorization", good)], b"")
            .problem(401, "unauthenticated");
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(stranger.get(path).status, 200);
    }
    let made = client
        .post("/v1/api-keys", &json!({"name": "short-lived", "roles": ["reader"]}))
        .expect(201);
    let short_lived = server.client_with(made["api_key"].as_str().unwrap());
    assert_eq!(short_lived.get("events").status, 200);
    assert_eq!(
        client
            .delete(&format!("/v1/api-keys/{}", made["id"].as_str().unwrap()))
            .status,
        204
    );
    short_lived.get("events").problem(401, "unauthenticated");
    let listed = client.get("/v1/api-keys").expect(200);
    let secrets = |key: &Value| key.get("secret_sha256").is_some() || key.get("api_key").is_some();
    assert!(!listed["api_keys"].as_array().unwrap().iter().any(secrets), "{listed}");
}

#[test]
fn an_api_key_needs_a_name_that_names_nobody_and_known_roles_and_ledgers() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for wrong in [
        json!({"name": "", "roles": ["reader"]}),
        json!({"name": "x", "roles": []}),
        json!({"name": "x", "roles": ["root"]}),
        json!({"name": "ada@example.com", "roles": ["reader"]}),
        json!({"name": "x"}),
        json!({"roles": ["reader"]}),
        json!({"name": "x", "roles": ["reader"], "extra": 1}),
        json!({"name": "a\nb", "roles": ["reader"]}),
        json!({"name": "x".repeat(101), "roles": ["reader"]}),
    ] {
        client.post("/v1/api-keys", &wrong).problem(422, "invalid_field");
    }
    client
        .post(
            "/v1/api-keys",
            &json!({"name": "x", "roles": ["reader"], "ledgers": ["none"]}),
        )
        .problem(404, "ledger_not_found");
    assert_eq!(
        client.get("/v1/api-keys").expect(200)["api_keys"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
