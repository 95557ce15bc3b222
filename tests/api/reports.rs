//! Compliance reports: what happened is in them, they verify offline, and what is not known is not claimed.

use oubliette::spec::compliance::verify_report;
use oubliette::spec::report::{Report, Verdict};
use oubliette::spec::verify::Trust;
use serde_json::{Value, json};

use crate::support::{Client, Data, eventually};

const PERIOD: &str = "from=2020-01-01&to=2100-01-01";

fn ask(client: &Client, query: &str) -> crate::support::Answer {
    client.get(&format!("reports/compliance?{query}"))
}

fn report(client: &Client) -> Value {
    ask(client, PERIOD).expect(200)["report"].take()
}

fn check(data: &Data, file: &[u8]) -> Report {
    let keys = vec![data.vkey().parse().unwrap()];
    verify_report(
        file,
        &Trust {
            keys,
            ..Trust::default()
        },
    )
}

fn event(subject: &str) -> Value {
    json!({"type": "order.placed", "data": 1, "personal": [{"subject": subject, "data": {"name": "Ada Example"}}]})
}

fn erase(client: &Client, request: &Value) -> Value {
    client.post("erasures", request).expect(202)
}

fn verify(client: &Client) {
    let job = client.post("verifications", &json!({})).expect(202);
    let path = format!("verifications/{}", job["id"].as_str().unwrap());
    eventually("a verification ends", || {
        client.get(&path).expect(200)["state"] == "done"
    });
}

#[test]
fn a_report_tells_what_happened_and_verifies_in_every_form() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for subject in ["ada", "bob", "eve"] {
        client.append("orders", event(subject));
    }
    erase(
        &client,
        &json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request"}),
    );
    erase(
        &client,
        &json!({"subjects": ["bob"], "categories": ["default"], "basis": "art17_1_b", "reason": "request"}),
    );
    client.get("events?reveal=true").expect(200);
    let export = client
        .post("exports", &json!({"format": "ndjson", "reveal": true, "tag": "<b>=1"}))
        .expect(201);
    assert_eq!(client.get(export["content"].as_str().unwrap()).status, 200);
    let again = client.post("streams/orders/events", &json!({"events": [event("ada")]}));
    again.problem(409, "subject_erased");
    let made = client
        .post("/v1/api-keys", &json!({"name": "<i>@x", "roles": ["auditor"]}))
        .expect(201);
    client.delete(&format!("/v1/api-keys/{}", made["id"].as_str().unwrap()));
    verify(&client);

    let answer = ask(&client, PERIOD);
    let file = answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    let report = &file["report"];
    assert_eq!(report["integrity"]["verdict"], "valid");
    assert_eq!(report["period"]["ended"], false);
    assert_eq!(
        report["subjects"],
        json!({"active": 2, "partly_erased": 1, "erasing": 0, "erased": 1})
    );
    assert_eq!(
        [
            &report["erasures"]["total"],
            &report["erasures"]["completed"],
            &report["erasures"]["overdue"]
        ],
        [2, 2, 0]
    );
    assert_eq!(report["erasures"]["list"][0]["state"], "completed");
    assert_eq!(
        [&report["reveals"]["requests"], &report["reveals"]["list"][0]["people"]],
        [1, 1]
    );
    assert!(
        report["reveals"]["list"][0]["by"]["roles"]
            .as_array()
            .unwrap()
            .contains(&json!("revealer"))
    );
    assert_eq!(
        [
            &report["exports"]["created"],
            &report["exports"]["downloaded"],
            &report["exports"]["opened"]
        ],
        [1, 1, 1]
    );
    assert_eq!(report["exports"]["list"][0]["what"], "ndjson, filtered by tag");
    assert_eq!(report["anchors"]["vault"]["state"], "agrees", "{report}");
    assert_eq!([&report["exports"]["left"], &report["exports"]["parts"]], [1, 0]);
    assert_eq!(
        report["keys"]["revoked_by_role"],
        json!([{"role": "auditor", "count": 1}])
    );
    assert_eq!(
        [&report["refused"]["total"], &report["refused"]["by_day"][0]["erased"]],
        [1, 1]
    );
    assert_eq!(
        [&report["refused"]["proved"], &report["keys"]["recorded_here"]],
        [false, true]
    );
    assert_eq!(report["verifications"]["total"], 1);
    let orders = report["events"]["by_type"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["type"] == "order.placed");
    assert_eq!(
        orders.unwrap(),
        &json!({"type": "order.placed", "count": 3, "own": false})
    );
    assert_eq!(
        check(&data, &answer.body).verdict,
        Verdict::Valid,
        "{}",
        check(&data, &answer.body)
    );

    let head = client.send("HEAD", "reports/compliance", &[], b"");
    assert_eq!(head.status, 405, "made, it would be recorded");
    let recorded = client.get("events?type=report.created").expect(200);
    assert_eq!(recorded["events"].as_array().unwrap().len(), 1);
    assert_eq!(recorded["events"][0]["stream"], "$reports");
    assert_eq!(recorded["events"][0]["data"]["report"], report["id"]);

    let page = ask(&client, &format!("{PERIOD}&format=html"));
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(
        check(&data, &page.body).verdict,
        Verdict::Valid,
        "{}",
        check(&data, &page.body)
    );
    let text = page.text();
    for name in ["&lt;b&gt;=1", "&lt;i&gt;@x", "<b>=1", "<i>@x"] {
        assert!(!text.contains(name), "neither filters nor names of keys: {name}");
    }
    let forged = text.replacen("completed in time", "completed late", 1);
    assert_eq!(check(&data, forged.as_bytes()).verdict, Verdict::Tampered);

    let rows = ask(&client, &format!("{PERIOD}&format=csv"));
    assert_eq!(
        (rows.status, rows.header("content-type")),
        (200, "text/csv; charset=utf-8")
    );
    let rows = rows.text();
    assert!(
        rows.starts_with("section,time,item,state,count,seconds,detail\r\n") && rows.contains("not proved"),
        "{rows}"
    );
    for text in [&file.to_string(), &text, &rows] {
        assert!(!text.contains("Ada Example") && !text.contains("\"ada\""));
    }
}

#[test]
fn a_verdict_is_only_claimed_where_a_verification_covers_the_period() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let first = report(&client);
    assert!(first["integrity"].get("verdict").is_none() && first["integrity"].get("verification").is_none());
    assert!(
        first["integrity"]["statement"]
            .as_str()
            .unwrap()
            .starts_with("Not verified")
    );
    verify(&client);
    client.append("s", json!({"type": "t"}));
    let later = report(&client);
    assert!(later["integrity"].get("verdict").is_none());
    assert!(
        later["integrity"]["statement"]
            .as_str()
            .unwrap()
            .contains("says nothing about the rest")
    );
    // A period before the ledger began, and one without length.
    for (query, size) in [
        ("from=2020-01-01&to=2020-02-01", 0),
        ("from=2020-01-01&to=2020-01-01", 0),
    ] {
        let answer = ask(&client, query);
        let empty = answer.expect(200);
        assert_eq!(
            [
                &empty["report"]["events"]["total"],
                &empty["report"]["integrity"]["tree_size"]
            ],
            [0, size]
        );
        assert_eq!(
            check(&data, &answer.body).verdict,
            Verdict::Valid,
            "{}",
            check(&data, &answer.body)
        );
        assert!(
            ask(&client, &format!("{query}&format=html"))
                .text()
                .contains("No event was recorded in this period")
        );
    }
    assert_eq!(ask(&client, "").expect(200)["report"]["period"]["ended"], true);
}

#[test]
fn a_bad_request_is_refused_with_the_field_and_nothing_is_recorded() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for (query, pointer) in [
        ("from=2026-03-01&to=2026-02-01", "to"),
        ("from=2026-03-01", "to"),
        ("to=2026-03-01", "from"),
        ("from=soon&to=2026-03-01", "from"),
        ("from=2026-03-01&to=2026-13-01", "to"),
        ("from=2026-03-01&to=2026-04-01&format=pdf", "query"),
        ("since=2026-03-01", "query"),
    ] {
        let problem = ask(&client, query).problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{query}: {problem}");
    }
    client
        .post("streams/s/events", &json!({"events": [{"type": "report.created"}]}))
        .problem(422, "invalid_field");
    assert_eq!(
        client.get("log/checkpoint").text().lines().nth(1),
        Some("2"),
        "ledger and first key, no more"
    );
}

#[test]
fn refusals_are_counted_durably_and_other_refusals_are_not() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", event("ada"));
    erase(
        &client,
        &json!({"subjects": ["ada"], "basis": "other", "reason": "other"}),
    );
    for _ in 0..3 {
        client
            .post("streams/s/events", &json!({"events": [event("ada")]}))
            .problem(409, "subject_erased");
    }
    client
        .post(
            "streams/s/events",
            &json!({"expected_version": 99, "events": [{"type": "t"}]}),
        )
        .problem(409, "wrong_expected_version");
    server.kill();
    let server = data.serve();
    let client = server.client();
    client
        .post("streams/s/events", &json!({"events": [event("ada")]}))
        .problem(409, "subject_erased");
    assert_eq!(report(&client)["refused"]["total"], 4);
}

#[test]
fn a_second_ledger_says_where_acts_on_keys_are_recorded() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.post("/v1/ledgers", &json!({"ledger": "second"})).expect(201);
    let answer = client.get(&format!("/v1/ledgers/second/reports/compliance?{PERIOD}"));
    let report = &answer.expect(200)["report"];
    assert_eq!(report["keys"]["recorded_here"], false);
    assert_eq!(report["keys"]["acts"], json!([]));
    assert_eq!(report["keys"]["live_by_role"][0], json!({"role": "admin", "count": 1}));
}
