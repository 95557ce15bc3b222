//! Roles: a plain set, none implies another, and a key may be bound to ledgers.

use serde_json::{Value, json};

use crate::support::{Client, Data};

const ROLES: [&str; 6] = ["writer", "reader", "revealer", "auditor", "officer", "admin"];

/// Method, path, body, and the roles any of which suffices.
fn routes() -> Vec<(&'static str, &'static str, Value, &'static [&'static str])> {
    let event = json!({"events": [{"type": "t"}]});
    let batch = json!({"events": [{"stream": "s", "type": "t"}]});
    let erasure = json!({"subjects": ["nobody"], "basis": "other", "reason": "other"});
    vec![
        ("POST", "streams/s/events", event, &["writer"]),
        ("POST", "events", batch, &["writer"]),
        ("POST", "subjects", json!({"subject": "somebody"}), &["writer"]),
        ("GET", "events", Value::Null, &["reader"]),
        ("GET", "events/0", Value::Null, &["reader"]),
        ("GET", "streams", Value::Null, &["reader"]),
        ("GET", "streams/s/events", Value::Null, &["reader"]),
        ("GET", "streams/s/state", Value::Null, &["reader"]),
        ("GET", "streams/s/state/diff", Value::Null, &["reader"]),
        ("GET", "as-of", Value::Null, &["reader"]),
        ("GET", "log/checkpoint", Value::Null, &["reader", "auditor"]),
        ("GET", "log/tile/0/000.p/1", Value::Null, &["reader", "auditor"]),
        ("GET", "proofs/inclusion?index=0", Value::Null, &["reader", "auditor"]),
        ("GET", "proofs/consistency?from=1", Value::Null, &["reader", "auditor"]),
        ("GET", "events/0/proof", Value::Null, &["reader", "auditor"]),
        ("GET", "keys", Value::Null, &ROLES),
        ("POST", "subjects/lookup", json!({"subject": "nobody"}), &["officer"]),
        (
            "GET",
            "subjects/00000000000000000000000000000000",
            Value::Null,
            &["officer"],
        ),
        ("POST", "epochs", Value::Null, &["officer", "admin"]),
        (
            "POST",
            "subjects/00000000000000000000000000000000/rotations",
            json!({}),
            &["officer", "admin"],
        ),
        ("POST", "erasures", erasure, &["officer"]),
        ("GET", "erasures", Value::Null, &["officer", "auditor"]),
        (
            "GET",
            "erasures/00000000-0000-4000-8000-000000000000",
            Value::Null,
            &["officer", "auditor"],
        ),
        ("GET", "events/0/receipt", Value::Null, &["reader", "auditor"]),
        (
            "GET",
            "erasures/00000000-0000-4000-8000-000000000000/certificate",
            Value::Null,
            &["officer", "auditor"],
        ),
        (
            "POST",
            "redactions",
            json!({"events": [{"index": 9_999, "bodies": ["data"]}], "reason": "other"}),
            &["officer"],
        ),
        ("GET", "redactions", Value::Null, &["officer", "auditor"]),
        (
            "GET",
            "redactions/00000000-0000-4000-8000-000000000000",
            Value::Null,
            &["officer", "auditor"],
        ),
        (
            "GET",
            "redactions/00000000-0000-4000-8000-000000000000/certificate",
            Value::Null,
            &["officer", "auditor"],
        ),
        ("GET", "reports/compliance", Value::Null, &["officer", "auditor"]),
        ("POST", "verifications", json!({"fast": true}), &["auditor"]),
        ("GET", "verifications", Value::Null, &["auditor"]),
        (
            "GET",
            "verifications/00000000-0000-4000-8000-000000000000",
            Value::Null,
            &["auditor"],
        ),
        ("POST", "exports", json!({"format": "bundle"}), &["auditor"]),
        ("GET", "exports", Value::Null, &["auditor"]),
        (
            "GET",
            "exports/00000000-0000-4000-8000-000000000000",
            Value::Null,
            &["auditor"],
        ),
        (
            "GET",
            "exports/00000000-0000-4000-8000-000000000000/content",
            Value::Null,
            &["auditor"],
        ),
        ("GET", "/metrics", Value::Null, &["admin"]),
        ("GET", "/v1/ledgers", Value::Null, &["admin"]),
        ("POST", "/v1/ledgers", json!({"ledger": "Not A Name"}), &["admin"]),
        ("GET", "/v1/api-keys", Value::Null, &["admin"]),
        ("POST", "/v1/api-keys", json!({"name": "", "roles": []}), &["admin"]),
        ("DELETE", "/v1/api-keys/0000000000000000", Value::Null, &["admin"]),
    ]
}

fn ask(client: &Client, method: &str, path: &str, body: &Value) -> crate::support::Answer {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    client.send(method, path, &[], body.as_bytes())
}

#[test]
fn every_role_opens_its_own_routes_and_no_other() {
    let data = Data::new();
    let server = data.serve();
    server.client().append("s", json!({"type": "t"}));
    let stranger = server.stranger();
    for role in ROLES {
        let client = server.client_as(&[role], None);
        for (method, path, body, allowed) in routes() {
            let answer = ask(&client, method, path, &body);
            if allowed.contains(&role) {
                assert!(
                    ![401, 403, 405, 500].contains(&answer.status),
                    "{role} {method} {path}: {answer:?}"
                );
            } else {
                answer.problem(403, "forbidden");
            }
        }
    }
    for (method, path, body, _) in routes() {
        ask(&stranger, method, path, &body).problem(401, "unauthenticated");
    }
}

#[test]
fn all_other_roles_together_do_not_make_up_for_the_one_that_is_missing() {
    let data = Data::new();
    let server = data.serve();
    server.client().append("s", json!({"type": "t"}));
    for role in ROLES {
        let others: Vec<_> = ROLES.into_iter().filter(|other| *other != role).collect();
        let client = server.client_as(&others, None);
        for (method, path, body, allowed) in routes() {
            let answer = ask(&client, method, path, &body);
            assert_eq!(
                answer.status == 403,
                allowed == [role],
                "{others:?} {method} {path}: {}",
                answer.status
            );
        }
    }
}

#[test]
fn entries_need_an_auditor_and_opened_data_a_revealer_who_reads() {
    let data = Data::new();
    let server = data.serve();
    server
        .client()
        .append("s", json!({"type": "t", "personal": [{"subject": "ada", "data": 1}]}));
    for role in ROLES {
        let client = server.client_as(&[role], None);
        let entries = client.get("log/tile/entries/000.p/1");
        if role == "auditor" {
            assert_eq!(entries.status, 200);
        } else {
            entries.problem(403, "forbidden");
        }
        for path in [
            "events?reveal=true",
            "events/1?reveal=true",
            "streams/s/events?reveal=true",
        ] {
            client.get(path).problem(403, "forbidden");
        }
    }
    let both = server.client_as(&["reader", "revealer"], None);
    assert_eq!(
        both.get("streams/s/events?reveal=true").expect(200)["events"][0]["personal"][0]["state"],
        "clear"
    );
}

#[test]
fn a_key_bound_to_one_ledger_is_nothing_in_another_and_nothing_on_the_store() {
    let data = Data::new();
    let server = data.serve();
    server
        .client()
        .post("/v1/ledgers", &json!({"ledger": "second"}))
        .expect(201);
    server.client().append("s", json!({"type": "t"}));
    let bound = server.client_as(&ROLES, Some(&["second"]));
    for (method, path, body, _) in routes() {
        ask(&bound, method, path, &body).problem(403, "forbidden");
    }
    // It does not even learn which ledgers there are.
    bound.get("/v1/ledgers/none/events").problem(403, "forbidden");
    for (method, path, body, _) in routes().into_iter().filter(|(_, path, ..)| !path.starts_with('/')) {
        let answer = ask(&bound, method, &format!("/v1/ledgers/second/{path}"), &body);
        assert!(
            ![401, 403, 405, 500].contains(&answer.status),
            "{method} {path}: {answer:?}"
        );
    }
}
