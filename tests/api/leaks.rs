//! Reports that personal data stands in clear: while one names a person and is not settled, no certificate is given.

use oubliette::spec::certificate::{LeakOutcome, verify_certificate};
use oubliette::spec::report::Verdict;
use oubliette::spec::verify::Trust;
use serde_json::{Value, json};

use crate::certificates::certificate;
use crate::support::{Answer, Client, Data, backups};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Events about ada, of whom the second has her name in clear; gives their indexes.
fn filled(client: &Client) -> [u64; 2] {
    [json!({"total": 1}), json!({"memo": "call Ada back"})].map(|data| {
        let personal = json!([{"subject": "ada", "data": "A"}]);
        let event = json!({"type": "t", "data": data, "personal": personal});
        client.append("s", event)["index"].as_u64().unwrap()
    })
}

fn erase(client: &Client, subject: &str) -> Value {
    let request = json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"});
    client.post("erasures", &request).expect(202)
}

fn report(client: &Client, index: u64, who: Value) -> Answer {
    let mut request = json!({"events": [{"index": index, "bodies": ["data"]}]});
    request
        .as_object_mut()
        .unwrap()
        .extend(who.as_object().unwrap().clone());
    client.post("leaks", &request)
}

fn redact(client: &Client, index: u64) {
    let request = json!({"events": [{"index": index, "bodies": ["data"]}], "reason": "personal_data"});
    client.post("redactions", &request).expect(202);
}

#[test]
fn a_certificate_waits_until_the_leak_is_redacted_and_then_tells_of_it() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let [_, index] = filled(&client);
    let leak = report(&client, index, json!({"subjects": ["ada"]})).expect(201);
    assert_eq!((&leak["state"], &leak["standing"]), (&json!("open"), &leak["events"]));
    assert!(!leak.to_string().contains("ada"), "the caller's id is not in it");
    let erasure = erase(&client, "ada");
    for form in ["", "?format=html"] {
        let path = format!("{}{form}", text(&erasure["certificate"]));
        let problem = client.get(&path).problem(409, "leak_not_redacted");
        assert_eq!(problem["index"], index);
        let detail = text(&problem["detail"]);
        assert!(
            detail.contains(&index.to_string()) && detail.contains("redact") && detail.contains(text(&leak["id"])),
            "{detail}"
        );
    }
    // Somebody else's is given.
    client.append("s", json!({"type": "t", "personal": [{"subject": "bob", "data": "B"}]}));
    let other = erase(&client, "bob");
    assert!(certificate(&client, &other).clear.leaks.is_empty());
    redact(&client, index);
    let given = certificate(&client, &erasure);
    let told = &given.clear.leaks[0];
    assert_eq!(
        (told.leak.to_string().as_str(), told.outcome, told.events.as_slice()),
        (text(&leak["id"]), LeakOutcome::Redacted, [index].as_slice())
    );
    assert!(!given.clear.examined && given.clear.nameless == 0);
    let seen = client.get(&format!("leaks/{}", text(&leak["id"]))).expect(200);
    assert_eq!((&seen["state"], &seen["standing"]), (&json!("redacted"), &json!([])));
    assert_eq!(seen["settled_at"], told.settled_at.to_string());
    assert_eq!(client.get("leaks").expect(200)["leaks"][0], seen);
    // It is the same in a bundle, and the ledger with these events is valid.
    let export = client.post("exports", &json!({"format": "bundle"})).expect(201);
    let bundle = client.get(text(&export["content"])).body;
    let options = oubliette::spec::verify::Options::default();
    let found =
        oubliette::spec::bundle::verify_bundle(bundle.as_slice(), Trust::default(), options, &mut |_| {}).unwrap();
    assert_eq!(found.verdict, Verdict::Valid, "{found}");
}

#[test]
fn a_leak_that_is_found_after_the_erasure_takes_the_certificate_back_by_handle() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let [first, second] = filled(&client);
    let erasure = erase(&client, "ada");
    let before = client.get(text(&erasure["certificate"])).body;
    report(&client, second, json!({"subjects": ["ada"]})).problem(409, "subject_erased");
    let handle = &erasure["subjects"][0]["handle"];
    let leak = report(&client, second, json!({"handles": [handle, handle]})).expect(201);
    assert_eq!(leak["handles"], json!([handle]));
    client
        .get(text(&erasure["certificate"]))
        .problem(409, "leak_not_redacted");
    // The bundle has the report in the place of the certificate.
    let export = client.post("exports", &json!({"format": "bundle"})).expect(201);
    let bundle = client.get(text(&export["content"])).body;
    assert!(memchr::memmem::find(&bundle, b"leak.reported").is_some());
    assert!(memchr::memmem::find(&bundle, b"oubliette/certificate/v1").is_none());
    // A mistaken report is withdrawn, and both are told.
    let withdrawn = client.delete(&format!("leaks/{}", text(&leak["id"]))).expect(200);
    assert_eq!(withdrawn["state"], "withdrawn");
    let again = client.delete(&format!("leaks/{}", text(&leak["id"]))).expect(200);
    assert_eq!(again, withdrawn, "nothing more was recorded");
    let given = certificate(&client, &erasure);
    assert_eq!(given.clear.leaks[0].outcome, LeakOutcome::Withdrawn);
    let after = client.get(text(&erasure["certificate"])).body;
    assert_ne!(before, after);
    assert_eq!(verify_certificate(&before, &Trust::default()).verdict, Verdict::Valid);
    // One that names nobody stands in no one's way, and is counted.
    report(&client, first, json!({})).expect(201);
    assert_eq!(certificate(&client, &erasure).clear.nameless, 0, "as of its last event");
    let other = client.append("s", json!({"type": "t", "personal": [{"subject": "eve", "data": "E"}]}));
    assert!(other["index"].as_u64().unwrap() > first);
    assert_eq!(certificate(&client, &erase(&client, "eve")).clear.nameless, 1);
}

#[test]
fn a_report_that_cannot_be_is_refused_with_the_field_and_nothing_is_recorded() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let [index, _] = filled(&client);
    let size = |client: &Client| client.get("log/checkpoint").text().lines().nth(1).map(str::to_owned);
    let before = size(&client);
    let body = |index: u64, bodies: &[&str]| json!({"events": [{"index": index, "bodies": bodies}]});
    for (request, status, code, pointer) in [
        (json!({"events": []}), 422, "invalid_field", "/events"),
        (body(index, &[]), 422, "invalid_field", "/events/0/bodies"),
        (
            body(index, &["data", "data"]),
            422,
            "invalid_field",
            "/events/0/bodies/1",
        ),
        (body(0, &["data"]), 422, "invalid_field", "/events/0/bodies/0"),
        (body(9_999, &["data"]), 404, "event_not_found", "/events/0/index"),
    ] {
        let problem = client.post("leaks", &request).problem(status, code);
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
    let both = json!({"subjects": ["ada"], "handles": ["00000000000000000000000000000000"]});
    report(&client, index, both).problem(422, "invalid_field");
    report(&client, index, json!({"subjects": ["stranger"]})).problem(404, "subject_not_found");
    report(&client, index, json!({"handles": ["00000000000000000000000000000000"]})).problem(404, "subject_not_found");
    report(&client, index, json!({"handles": []})).problem(422, "invalid_field");
    report(&client, index, json!({"note": "x"})).problem(422, "invalid_field");
    let unknown = "leaks/0190163d-8694-739b-8aea-966c26f8ad91";
    client.get(unknown).problem(404, "not_found");
    client.delete(unknown).problem(404, "not_found");
    client.get("leaks/x").problem(404, "not_found");
    assert_eq!(size(&client), before);
    let auditor = server.client_as(&["auditor"], None);
    report(&auditor, index, json!({})).problem(403, "forbidden");
    auditor.delete(unknown).problem(403, "forbidden");
    auditor.get("leaks").expect(200);
    redact(&client, index);
    report(&client, index, json!({})).problem(409, "body_purged");
}

#[test]
fn what_stands_in_clear_in_a_frozen_log_is_told_since_nothing_mends_it() {
    let data = Data::new();
    let server = backups::serve(&data);
    let client = server.client();
    let [first, second] = filled(&client);
    let redacted = report(&client, first, json!({"subjects": ["ada"]})).expect(201);
    let open = report(&client, second, json!({"subjects": ["ada"]})).expect(201);
    report(&client, second, json!({})).expect(201);
    redact(&client, first);
    let to = backups::beside(&data, "backup");
    backups::back_up(&client, &to);
    filled(&client);
    server.stop();
    let (place, _) = backups::Place::restored(&data, &to, &["--accept-rollback"]);
    let server = place.serve();
    let client = server.client();
    let frozen = |path: &str| format!("/v1/ledgers/main-r1/{path}");
    client
        .delete(&frozen(&format!("leaks/{}", text(&open["id"]))))
        .problem(409, "ledger_frozen");
    let request = json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request"});
    let done = client.post(&frozen("erasures"), &request).expect(202);
    let answer = client.get(text(&done["certificate"]));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = verify_certificate(&answer.body, &Trust::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found}");
    let given: oubliette::spec::certificate::Certificate =
        oubliette::spec::signature::read_unverified(&answer.body).unwrap();
    assert!(given.covers.is_some() && given.clear.leaks.is_empty());
    let told: Vec<_> = given
        .clear
        .frozen
        .iter()
        .map(|leak| (leak.leak.to_string(), leak.events.clone(), leak.outcome))
        .collect();
    let id = |leak: &Value| text(&leak["id"]).to_owned();
    assert_eq!(
        told,
        [
            (id(&redacted), vec![first], Some(LeakOutcome::Redacted)),
            (id(&open), vec![second], None)
        ]
    );
    assert_eq!(given.clear.nameless, 1);
    let page = client
        .get(&format!("{}?format=html", text(&done["certificate"])))
        .text();
    assert!(page.contains("Reports of the frozen log"), "{page}");
    // Neither are its epochs those of the log that goes on.
    let made = client
        .get("reports/compliance?from=2020-01-01&to=2100-01-01")
        .expect(200);
    let list = made["report"]["rotations"]["list"].as_array().unwrap();
    assert!(list.iter().all(|line| line["act"] != "changed_by_erasure"), "{list:?}");
}
