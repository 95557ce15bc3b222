//! Certificates as signed documents and as pages: what they say beside the keys, and that both verify.

use oubliette::spec::certificate::{Certificate, Disclosed, Status, verify_certificate};
use oubliette::spec::report::{FindingCode, Verdict};
use oubliette::spec::signature::read_unverified;
use oubliette::spec::verify::Trust;
use serde_json::{Value, json};

use crate::support::{Answer, Client, Data, eventually};

fn read(document: &[u8]) -> Certificate {
    read_unverified(document).unwrap()
}

fn certificate_of(client: &Client, erasure: &Value, form: &str) -> Answer {
    let id = erasure["id"].as_str().unwrap();
    client.get(&format!("erasures/{id}/certificate?format={form}"))
}

/// The certificate of an erasure, which verifies.
pub(crate) fn certificate(client: &Client, erasure: &Value) -> Certificate {
    let answer = certificate_of(client, erasure, "cose");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let found = verify_certificate(&answer.body, &Trust::default());
    assert_eq!(found.verdict, Verdict::Valid, "{found}");
    read(&answer.body)
}

fn sealed(subject: &str) -> Value {
    json!({"type": "t", "data": 1, "personal": [{"subject": subject, "data": "Ada Example"}]})
}

fn erasure(subject: &str) -> Value {
    json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"})
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

fn trusted(data: &Data) -> Trust {
    Trust {
        keys: vec![data.vkey().parse().unwrap()],
        ..Trust::default()
    }
}

/// The page of a certificate, which verifies, and no other bytes do.
fn checked_page(data: &Data, answer: &Answer) -> String {
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    let found = verify_certificate(&answer.body, &trusted(data));
    assert_eq!(found.verdict, Verdict::Valid, "{found}");
    let page = answer.text();
    let forged = page.replacen("<main>", "<main> ", 1);
    let found = verify_certificate(forged.as_bytes(), &trusted(data));
    assert_eq!(found.findings[0].code, FindingCode::FactMismatch, "{found}");
    assert!(!page.contains("Ada Example") && !page.contains("\"ada\"") && !page.contains("://"));
    page
}

#[test]
fn a_page_says_at_once_whether_it_is_provisional_or_final_and_verifies() {
    let data = Data::new();
    let server = data.serve_with(&[
        ("OUBLIETTE_ERASURE_PURGE", "deferred"),
        ("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "2"),
    ]);
    let client = server.client();
    client.append("s", sealed("ada"));
    let done = client.post("erasures", &erasure("ada")).expect(202);
    let provisional = certificate_of(&client, &done, "html");
    let page = checked_page(&data, &provisional);
    assert!(page.contains("<strong>PROVISIONAL</strong>") && !page.contains("<strong>FINAL</strong>"));
    assert_eq!(certificate(&client, &done).status, Status::Provisional);
    eventually("nothing is pending", || {
        let path = format!("erasures/{}", done["id"].as_str().unwrap());
        client.get(&path).expect(200)["state"] == "final"
    });
    let page = checked_page(&data, &certificate_of(&client, &done, "html"));
    assert!(page.contains("<strong>FINAL</strong>") && !page.contains("<strong>PROVISIONAL</strong>"));
    assert_eq!(certificate(&client, &done).status, Status::Final);
    for query in ["format=pdf", "form=html", "format="] {
        let path = format!("erasures/{}/certificate?{query}", done["id"].as_str().unwrap());
        client.get(&path).problem(422, "invalid_field");
    }
}

#[test]
fn a_page_of_a_redaction_verifies_and_says_whether_the_files_are_rewritten() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let index = client.append("s", json!({"type": "t", "data": "leak"}))["index"].clone();
    let request = json!({"events": [{"index": index, "bodies": ["data"]}], "reason": "secret"});
    let redaction = client.post("redactions", &request).expect(202);
    let path = format!("redactions/{}", redaction["id"].as_str().unwrap());
    eventually("the redaction is completed", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    let page = checked_page(&data, &client.get(&format!("{path}/certificate?format=html")));
    assert!(page.contains("Certificate of redaction") && page.contains("<strong>FINAL</strong>"));
    let document = client.get(&format!("{path}/certificate"));
    assert_eq!(
        document.header("content-type"),
        "application/cose; cose-type=\"cose-sign1\""
    );
}

#[test]
fn recipients_are_those_that_opened_the_data_before_the_fence_and_those_that_were_named() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let revealer = server.client_as(&["reader", "revealer"], None);
    client.append("s", sealed("ada"));
    client.append("other", sealed("bob"));
    revealer.get("streams/s/events?reveal=true").expect(200);
    revealer.get("streams/s/events?reveal=true").expect(200);
    revealer.get("streams/other/events?reveal=true").expect(200);
    client.post("subjects/access", &json!({"subject": "ada"})).expect(200);
    let opened = json!({"format": "ndjson", "reveal": true});
    let export = client.post("exports", &opened).expect(201);
    assert_eq!(client.get(export["content"].as_str().unwrap()).status, 200);
    let sealed_export = client.post("exports", &json!({"format": "ndjson"})).expect(201);
    assert_eq!(client.get(sealed_export["content"].as_str().unwrap()).status, 200);

    let named = json!(["payroll-provider", "tax-office"]);
    let done = client
        .post("erasures", &with(erasure("ada"), "recipients", named))
        .expect(202);
    let first = certificate(&client, &done);
    let words: Vec<_> = first.recipients.named.iter().map(ToString::to_string).collect();
    assert_eq!(words, ["payroll-provider", "tax-office"]);
    let told: Vec<_> = first
        .recipients
        .disclosed
        .iter()
        .map(|line| (line.what, line.times, line.roles.len()))
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told.contains(&(Disclosed::Revealed, 2, 2)),
        "the revealer, for ada alone"
    );
    assert!(told.iter().any(|line| (line.0, line.1) == (Disclosed::Revealed, 1)));
    assert!(told.iter().any(|line| (line.0, line.1) == (Disclosed::Exported, 1)));
    let by = first.by.as_ref().unwrap();
    assert_eq!(
        (&*by.key, first.submitted_at),
        (data.made["id"].as_str().unwrap(), None)
    );
    // What is opened later changes nothing.
    revealer.get("streams/other/events?reveal=true").expect(200);
    assert_eq!(certificate(&client, &done).recipients, first.recipients);

    for (named, code) in [
        (json!(["Payroll Provider"]), "invalid_field"),
        (json!(["a", "a"]), "invalid_field"),
        (json!(["4111111111111111"]), "personal_data_refused"),
        (json!("payroll"), "invalid_field"),
        (
            Value::from((0..65).map(|n| format!("r{n}")).collect::<Vec<_>>()),
            "invalid_field",
        ),
    ] {
        let request = with(erasure("bob"), "recipients", named);
        client.post("erasures", &request).problem(422, code);
    }
}

#[test]
fn an_erasure_that_waited_is_certified_with_the_time_when_it_came_in() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada"));
    let hold = client
        .post("holds", &json!({"subjects": ["ada"], "ground": "litigation-17"}))
        .expect(201);
    let waits = client
        .post("erasures", &with(erasure("ada"), "wait", json!(true)))
        .expect(202);
    client
        .delete(&format!("holds/{}", hold["id"].as_str().unwrap()))
        .expect(200);
    let certificate = certificate(&client, &waits);
    let submitted_at = certificate.submitted_at.unwrap();
    assert_eq!(submitted_at.to_string(), waits["requested_at"].as_str().unwrap());
    assert!(submitted_at < certificate.requested_at);
    assert_eq!(
        certificate.due_at.unwrap().to_string(),
        waits["due_at"].as_str().unwrap()
    );
}

/// Whom a backup still opens, although the second erasure destroys nothing.
#[test]
fn an_erasure_of_people_who_were_all_erased_before_has_no_certificate() {
    let data = Data::new();
    let server = crate::support::backups::serve(&data);
    let client = server.client();
    for subject in ["ada", "bob"] {
        client.append("s", sealed(subject));
    }
    crate::support::backups::back_up(&client, &crate::support::backups::beside(&data, "backup"));
    let first = client.post("erasures", &erasure("ada")).expect(202);
    assert!(first["epoch_key_due_at"].is_string(), "{first}");
    let again = client.post("erasures", &erasure("ada")).expect(202);
    assert_eq!(again["subjects"], json!([{"state": "already_erased"}]));
    assert!(again.get("certificate").is_none(), "{again}");
    let path = format!("erasures/{}/certificate", again["id"].as_str().unwrap());
    for form in ["cose", "html"] {
        let problem = client.get(&format!("{path}?format={form}")).problem(404, "not_found");
        assert!(
            problem["detail"].as_str().unwrap().contains("was erased before"),
            "{problem}"
        );
        assert!(!problem.to_string().contains(first["id"].as_str().unwrap()));
    }
    assert_eq!(certificate(&client, &first).already_erased, None);
    // Beside somebody who was not, they are counted.
    let both = with(erasure("bob"), "subjects", json!(["ada", "bob"]));
    let both = client.post("erasures", &both).expect(202);
    let given = certificate(&client, &both);
    assert_eq!((given.subjects.len(), given.already_erased), (1, Some(1)));
    assert!(certificate_of(&client, &both, "html").text().contains("Erased before"));
    // Neither counts as a change of keys, nor stands in a bundle.
    let report = client
        .get("reports/compliance?from=2020-01-01&to=2100-01-01")
        .expect(200);
    let changes = report["report"]["rotations"]["list"].as_array().unwrap().clone();
    let changes = changes.iter().filter(|line| line["act"] == "changed_by_erasure");
    assert_eq!(changes.count(), 2);
}

#[test]
fn what_a_certificate_says_of_the_check_is_what_was_done() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for _ in 0..40 {
        client.append("s", sealed("ada"));
    }
    let done = client.post("erasures", &erasure("ada")).expect(202);
    let check = certificate(&client, &done).verification;
    assert_eq!((check.sampled, check.opened, check.keys_left), (32, 0, Some(0)));
    let words = check.text.unwrap();
    assert!(words.contains("tried") && !words.contains("opened again"), "{words}");
}
