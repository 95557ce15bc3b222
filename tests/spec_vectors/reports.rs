//! Compliance reports of the ledger in the bundles, as files (chapter 12).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oubliette::spec::compliance::{limits, verify_report};
use oubliette::spec::encoding::encode_document;
use serde_json::{Value, json};

use crate::bundles::trust;
use crate::evidence::{evidence, reader, with, without};
use crate::ledger::{
    CERTIFICATE_KEY, CHECKPOINT_KEY, EVENT_KEY, Event, ORIGIN, REQUEST, Record, STRANGER, chain, checkpoint, cose,
    events, head, leaves, outcome, root, sha256,
};
use crate::{bad, good, same, text};

const ID: &str = "0190163d-8694-739b-8aea-966c26f8ad92";
const FROM: &str = "2026-01-01T00:00:00.000000Z";
const TO: &str = "2026-01-02T00:00:00.000000Z";
/// 2026-01-02T00:00:01Z.
const RECORDED: u64 = 1_767_312_001_000_000;

/// On the first eight events, which are of the first of January.
fn report() -> Value {
    let records = chain(&events());
    let time = |second: u32| format!("2026-01-01T00:00:{second:02}.000000Z");
    let of_type = |name: &str, count: u64, own: bool| json!({"type": name, "count": count, "own": own});
    json!({
        "format": "oubliette/compliance-report/v1", "id": ID, "ledger": "main", "origin": ORIGIN,
        "period": {"from": FROM, "to": TO, "ended": true}, "made_at": TO,
        "by": {"key": "00ff", "roles": ["auditor"]},
        "integrity": {
            "tree_size": 8, "root": hex::encode(root(&leaves(&records))), "checkpoint": head(&records),
            "statement": "Not verified: no verification of this ledger as it is was made on this server.",
        },
        "anchors": {"witnesses": 0, "timestamps": 0},
        "events": {
            "first_index": 0, "end_index": 8, "total": 8, "own": 4, "unlisted": 0, "unreadable": 0,
            "by_type": [
                of_type("order.placed", 2, false), of_type("bodies.purged", 1, true), of_type("customer.renamed", 1, false),
                of_type("erasure.completed", 1, true), of_type("erasure.requested", 1, true),
                of_type("ledger.created", 1, true), of_type("order.paid", 1, false),
            ],
            "by_day": [{"day": FROM, "callers": 4, "own": 4}],
        },
        "subjects": {"active": 0, "partly_erased": 0, "erasing": 0, "erased": 1},
        "erasures": {
            "total": 1, "requested": 1, "completed": 1, "completed_late": 0, "open": 0, "overdue": 0,
            "cancelled": 0, "waiting": 0, "omitted": 0,
            "list": [{
                "request": REQUEST, "state": "completed", "requested_at": time(4), "begun_at": time(4), "due_at": "2026-02-01T00:00:04.000000Z",
                "completed_at": time(5), "seconds": 1, "seconds_late": 0, "subjects": 1, "basis": "art17_1_a",
                "reason": "request", "pending": ["epoch_key"],
            }],
        },
        "holds": proceedings(&[]), "restrictions": proceedings(&[]), "retention": proceedings(&[]),
        "redactions": proceedings(&[]),
        "leaks": proceedings(&[json!({
            "id": ID, "index": 3, "begun_at": time(3), "ended_at": time(6), "state": "withdrawn",
            "by": {"key": "00ff", "roles": ["officer"]}, "counts": {"bodies": 1, "events": 1, "people": 1},
        })]),
        "backups": {
            "total": 1, "begun": 1, "omitted": 0,
            "list": [{
                "backup": ID, "index": 4, "begun_at": time(4), "by": {"key": "00ff", "roles": ["admin"]},
                "known": {"state": "completed", "epoch": 4, "keys_die_at": "2026-01-08T00:00:05.000000Z", "expired": false},
            }],
        },
        "rotations": {
            "changed": 1, "destroyed": 0, "renewed": 0, "omitted": 0,
            "list": [{"at": time(5), "index": 5, "act": "changed_by_erasure", "from": 4, "to": 5}],
        },
        "keys": {
            "signing": [], "live_by_role": [{"role": "auditor", "count": 1}], "created_by_role": [], "revoked_by_role": [],
            "recorded_here": true, "acts": [], "omitted": 0,
        },
        "reveals": {"requests": 0, "blocks": 0, "list": [], "omitted": 0},
        "exports": {"created": 0, "downloaded": 0, "parts": 0, "left": 0, "opened": 0, "list": [], "omitted": 0},
        "verifications": {"total": 0, "with_findings": 0, "failed": 0, "list": [], "omitted": 0},
        "refused": {"total": 0, "by_day": [], "proved": false},
        "unreadable": {"total": 1, "list": [{"index": 2, "section": "reveals"}], "omitted": 0},
        "limits": limits(),
    })
}

/// Those of a period in which all of them began and ended.
fn proceedings(list: &[Value]) -> Value {
    let number = list.len();
    json!({"total": number, "begun": number, "ended": number, "open": 0, "list": list, "omitted": 0})
}

/// RFC 6962, 2.1.2: from the first `first` leaves to all.
fn subproof(first: usize, leaves: &[[u8; 32]], is_known: bool) -> Vec<[u8; 32]> {
    if first == leaves.len() {
        return if is_known { Vec::new() } else { vec![root(leaves)] };
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut proof, other) = if first <= split {
        (subproof(first, left, is_known), root(right))
    } else {
        (subproof(first - split, right, false), root(left))
    };
    proof.push(other);
    proof
}

fn document(kind: &str, seed: u8, report: &Value) -> Vec<u8> {
    cose(kind, seed, &encode_document(report).unwrap(), true)
}

fn created(document: &[u8]) -> Value {
    json!({
        "report": ID, "kind": "compliance", "from": FROM, "to": TO, "sha256": hex::encode(sha256(&[document])),
        "form": "json", "by": "00ff", "roles": ["auditor"],
    })
}

/// The ledger with the record of the report, and one more event.
fn recorded(stream: &'static str, event_type: &'static str, created: Value) -> Vec<Record> {
    let mut all = events();
    let mut record = Event::new(stream, 1, event_type, Some(created));
    record.time = RECORDED;
    let mut later = Event::new("order-9", 1, "order.placed", None);
    later.time = RECORDED + 1;
    all.extend([record, later]);
    chain(&all)
}

fn file(report: &Value, document: &[u8], records: &[Record]) -> Value {
    let consistency: Vec<_> = subproof(8, &leaves(records), true)
        .into_iter()
        .map(hex::encode)
        .collect();
    json!({
        "format": "oubliette/signed-report/v1", "report": report, "document": STANDARD.encode(document),
        "recorded": evidence(records, 8), "consistency": consistency, "anchors": [evidence(records, 0)],
        "checkpoint": head(records),
    })
}

/// Signed and recorded as it should be.
fn sealed(report: &Value) -> Value {
    let document = document("report", CERTIFICATE_KEY, report);
    let records = recorded("$reports", "report.created", created(&document));
    file(report, &document, &records)
}

fn fields(object: &Value, keys: &[u8]) -> Value {
    let mut fields = json!({"object": object.to_string(), "reader": reader(keys)});
    fields["expected"] = outcome(&found(&fields));
    fields
}

fn shows(name: &str, code: &str, reason: &str, object: &Value) -> Value {
    let fields = fields(object, &[CHECKPOINT_KEY]);
    let codes = fields["expected"]["codes"].as_array().unwrap();
    assert!(codes.iter().any(|found| found == code), "{name}: {codes:?}");
    bad(name, reason, fields)
}

pub(crate) fn vectors() -> Vec<Value> {
    let plain = sealed(&report());
    let mut vectors = vec![
        good("with a pinned key", fields(&plain, &[CHECKPOINT_KEY])),
        good("with no key", fields(&plain, &[])),
        good(
            "without the copy for readers",
            fields(&without(&plain, "/report"), &[CHECKPOINT_KEY]),
        ),
        bad("a stranger's key pinned", "another ledger", fields(&plain, &[STRANGER])),
    ];
    vectors.extend(of_the_file(&plain));
    vectors.extend(of_the_document());
    vectors.extend(of_the_record());
    vectors
}

fn of_the_file(plain: &Value) -> Vec<Value> {
    let records = recorded("$reports", "report.created", json!({}));
    let altered = |pointer: &str, value: Value| with(plain, pointer, value);
    let stranger = checkpoint(ORIGIN, 10, &root(&leaves(&records)), STRANGER);
    vec![
        shows(
            "the copy says otherwise",
            "fact_mismatch",
            "not what was signed",
            &altered("/report/erasures/overdue", json!(1)),
        ),
        shows(
            "the copy lacks a member",
            "fact_mismatch",
            "not what was signed",
            &without(plain, "/report/limits"),
        ),
        shows(
            "no proof of growth",
            "proof_invalid",
            "the ledger may be another",
            &altered("/consistency", json!([])),
        ),
        shows(
            "a hash of the proof exchanged",
            "proof_invalid",
            "leads to another root",
            &altered("/consistency/0", json!("07".repeat(32))),
        ),
        shows(
            "checkpoint by a stranger",
            "checkpoint_signature",
            "not by the ledger",
            &altered("/checkpoint", json!(stranger)),
        ),
        shows(
            "no anchors",
            "signature_unchecked",
            "no keys",
            &altered("/anchors", json!([])),
        ),
        shows(
            "another event as the record",
            "fact_mismatch",
            "no report.created",
            &altered("/recorded", evidence(&records, 7)),
        ),
        shows(
            "another format",
            "fact_mismatch",
            "from another version",
            &altered("/format", json!("oubliette/signed-report/v2")),
        ),
        shows(
            "an unknown member",
            "document_invalid",
            "the object is closed",
            &altered("/note", json!("x")),
        ),
    ]
}

fn of_the_document() -> Vec<Value> {
    let signed = |kind: &str, seed: u8| {
        let document = document(kind, seed, &report());
        let records = recorded("$reports", "report.created", created(&document));
        file(&report(), &document, &records)
    };
    let mut vectors = vec![
        shows(
            "signed by a stranger",
            "signature_unknown_key",
            "not the certificate key",
            &signed("report", STRANGER),
        ),
        shows(
            "signed by the event key",
            "signature_unknown_key",
            "not the certificate key",
            &signed("report", EVENT_KEY),
        ),
        shows(
            "signed as a certificate",
            "signature_malformed",
            "another content type",
            &signed("certificate", CERTIFICATE_KEY),
        ),
    ];
    for (name, reason, pointer, value) in [
        (
            "a verdict without a verification",
            "nobody computed it",
            "/integrity/verdict",
            json!("valid"),
        ),
        (
            "another statement",
            "its words are fixed",
            "/integrity/statement",
            json!("Verified."),
        ),
        ("fewer limits", "their words are fixed", "/limits", json!(["None."])),
        (
            "ended too early",
            "made before its end",
            "/made_at",
            json!("2026-01-01T23:59:59.000000Z"),
        ),
        (
            "another root",
            "not of that size",
            "/integrity/root",
            json!("07".repeat(32)),
        ),
        (
            "a type counted twice",
            "the sum is the total",
            "/events/by_type/0/count",
            json!(3),
        ),
        ("a day left out", "the sum is the total", "/events/by_day", json!([])),
        (
            "an end that is not the tree's",
            "events end with the tree",
            "/events/end_index",
            json!(7),
        ),
        (
            "an erasure called late",
            "it was in time",
            "/erasures/list/0/state",
            json!("completed_late"),
        ),
        (
            "an erasure not counted",
            "the list has one",
            "/erasures/completed",
            json!(0),
        ),
        (
            "a reveal not listed",
            "the total is the list",
            "/reveals/requests",
            json!(1),
        ),
        (
            "a damaged event not listed",
            "the total is the list",
            "/unreadable/total",
            json!(2),
        ),
        (
            "an event without a header not named",
            "the sums are the total",
            "/events/unreadable",
            json!(1),
        ),
        (
            "a hold that nobody placed",
            "the total is the list",
            "/holds/total",
            json!(1),
        ),
        ("a leak called open", "it ended in the period", "/leaks/open", json!(1)),
        ("a backup not counted", "the list has one", "/backups/begun", json!(0)),
        (
            "a change of epoch not counted",
            "the list has one",
            "/rotations/changed",
            json!(0),
        ),
        (
            "an erasure that waits and was completed",
            "it is not open",
            "/erasures/waiting",
            json!(1),
        ),
        (
            "a refusal of no day",
            "the total is the days",
            "/refused/total",
            json!(1),
        ),
    ] {
        vectors.push(shows(
            name,
            if pointer == "/integrity/root" {
                "proof_invalid"
            } else {
                "fact_mismatch"
            },
            reason,
            &sealed(&with(&report(), pointer, value)),
        ));
    }
    vectors.push(shows(
        "an unknown member of the report",
        "document_invalid",
        "the object is closed",
        &sealed(&with(&report(), "/note", "x")),
    ));
    vectors
}

fn of_the_record() -> Vec<Value> {
    let document = document("report", CERTIFICATE_KEY, &report());
    let created = created(&document);
    let under = |created: Value| file(&report(), &document, &recorded("$reports", "report.created", created));
    let mut vectors: Vec<_> = [
        ("sha256", json!("07".repeat(32))),
        ("report", json!(REQUEST)),
        ("from", json!(TO)),
        ("to", json!("2026-01-03T00:00:00.000000Z")),
        ("by", json!("00fe")),
        ("roles", json!(["admin"])),
    ]
    .into_iter()
    .map(|(member, value)| {
        let altered = with(&created, &format!("/{member}"), value);
        shows(
            &format!("recorded with another {member}"),
            "fact_mismatch",
            "not this report",
            &under(altered),
        )
    })
    .collect();
    let elsewhere = recorded("reports", "report.created", created.clone());
    vectors.push(shows(
        "recorded in a caller's stream",
        "fact_mismatch",
        "anybody can write there",
        &file(&report(), &document, &elsewhere),
    ));
    let other = recorded("$reports", "report.made", created);
    vectors.push(shows(
        "recorded as another type",
        "fact_mismatch",
        "no report.created",
        &file(&report(), &document, &other),
    ));
    vectors
}

fn found(vector: &Value) -> oubliette::spec::report::Report {
    verify_report(text(vector, "object").as_bytes(), &trust(&vector["reader"]))
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    let found = found(vector);
    same("expected", &vector["expected"], outcome(&found))?;
    Ok(vector["expected"]["verdict"] == "valid")
}
