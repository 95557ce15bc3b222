//! Certificates of erasure, and their pages (chapter 09).

use oubliette::spec::certificate::{Certificate, render_page};
use oubliette::spec::encoding::encode_document;
use serde_json::{Value, json};

use crate::evidence::{evidence, fields, reader, records, shows, with, without};
use crate::good;
use crate::ledger::{
    CERTIFICATE_KEY, CHECKPOINT_KEY, EVENT_KEY, HANDLE, ORIGIN, REQUEST, Record, STRANGER, cose, head,
};

fn document(kind: &str, seed: u8, certificate: &Value) -> Vec<u8> {
    cose(kind, seed, &encode_document(certificate).unwrap(), true)
}

/// A signed certificate, checked under the ledger's pinned key.
pub(crate) fn signed(kind: &str, seed: u8, certificate: &Value) -> Value {
    let object = hex::encode(document(kind, seed, certificate));
    fields("certificate", object, reader(&[CHECKPOINT_KEY]))
}

pub(crate) fn certificate(records: &[Record]) -> Value {
    let time = |second: u32| format!("2026-01-01T00:00:{second:02}.000000Z");
    json!({
        "format": "oubliette/certificate/v1", "status": "provisional", "origin": ORIGIN, "request": REQUEST,
        "basis": "art17_1_a", "reason": "request", "role": "officer",
        "by": {"key": "00ff", "roles": ["officer"]}, "requested_at": time(4),
        "due_at": "2026-02-01T00:00:04.000000Z", "completed_at": time(5),
        "subjects": [{"handle": hex::encode(HANDLE), "keys_destroyed": 2, "identity_destroyed": true, "blocks_sealed": 2}],
        "times": {"t1": time(4)}, "algorithms": ["AES-256-GCM"],
        "verification": {"sampled": 2, "opened": 0, "identity_resolves": false},
        "residues": [{"code": "epoch_key", "text": "The epoch key has not been changed."}],
        "recipients": {
            "named": [], "omitted": 0, "unreadable": 0, "text": "As far as the ledger knows.",
            "disclosed": [{"what": "revealed", "key": "00fe", "roles": ["revealer"], "times": 2, "first_at": time(2), "last_at": time(3)}],
        },
        "clear": {"examined": false, "leaks": [], "nameless": 0, "text": "Fields in clear were not examined."},
        "suppression": {"active": true, "basis": "a keyed hash of the subject id is kept"},
        "other_ledgers_examined": false, "limits": ["It covers the one ledger that it names."],
        "tree_size_before": 4, "tree_size_after": records.len(),
        "evidence": [evidence(records, 4), evidence(records, 5)], "anchors": [evidence(records, 0)],
        "checkpoint": head(records),
    })
}

pub(crate) fn vectors() -> Vec<Value> {
    let records = records();
    let plain = certificate(&records);
    let by = |certificate: &Value| signed("certificate", CERTIFICATE_KEY, certificate);
    let altered = |pointer: &str, value: Value| by(&with(&plain, pointer, value));
    let finished = |plain: &Value| {
        let mut done = with(plain, "/status", "final");
        for (step, second) in [("t2", 5), ("t3", 6), ("t4", 7), ("t5", 8)] {
            let time = format!("2026-01-01T00:00:0{second}.000000Z");
            done = with(&done, &format!("/times/{step}"), time);
        }
        with(&done, "/residues", json!([]))
    };
    let mut vectors = vec![
        good("certificate: provisional", by(&plain)),
        shows(
            "certificate: final though something was pending",
            "fact_mismatch",
            "no event says that it is gone",
            by(&finished(&plain)),
        ),
        shows(
            "certificate: a count left out",
            "fact_mismatch",
            "the event states it",
            by(&without(&plain, "/subjects/0/keys_destroyed")),
        ),
        shows(
            "certificate: by a stranger",
            "signature_unknown_key",
            "not the certificate key",
            signed("certificate", STRANGER, &plain),
        ),
        shows(
            "certificate: by the event key",
            "signature_unknown_key",
            "not the certificate key",
            signed("certificate", EVENT_KEY, &plain),
        ),
        shows(
            "certificate: signed as a manifest",
            "signature_malformed",
            "another content type",
            signed("manifest", CERTIFICATE_KEY, &plain),
        ),
        shows(
            "certificate: without anchors",
            "evidence_absent",
            "no keys",
            altered("/anchors", json!([])),
        ),
        shows(
            "certificate: without evidence",
            "evidence_absent",
            "no events",
            altered("/evidence", json!([])),
        ),
        shows(
            "certificate: without the completion",
            "evidence_absent",
            "not completed",
            altered("/evidence", json!([evidence(&records, 4)])),
        ),
        shows(
            "certificate: evidence swapped",
            "evidence_absent",
            "request first, completion second",
            altered("/evidence", json!([evidence(&records, 5), evidence(&records, 4)])),
        ),
        shows(
            "certificate: evidence of another event",
            "evidence_absent",
            "no erasure.requested",
            altered("/evidence/0", evidence(&records, 2)),
        ),
        shows(
            "certificate: evidence without its data",
            "missing",
            "the data is not there",
            by(&{
                let mut altered = plain.clone();
                altered["evidence"][0]["bodies"].as_array_mut().unwrap().pop();
                altered
            }),
        ),
        shows(
            "certificate: blocks opened",
            "erasure_not_shown",
            "a block opened",
            altered("/verification/opened", json!(1)),
        ),
        shows(
            "certificate: identity resolves",
            "erasure_not_shown",
            "the identity resolves",
            altered("/verification/identity_resolves", json!(true)),
        ),
        shows(
            "certificate: times out of order",
            "erasure_not_shown",
            "t1 after t2",
            altered("/times/t2", json!("2026-01-01T00:00:03.000000Z")),
        ),
        shows(
            "certificate: final without T2",
            "erasure_not_shown",
            "keys not destroyed",
            altered("/status", json!("final")),
        ),
        shows(
            "certificate: an unknown member",
            "document_invalid",
            "the document is closed",
            altered("/note", json!("x")),
        ),
        shows(
            "certificate: nobody asked",
            "fact_mismatch",
            "the event states it",
            by(&without(&plain, "/by")),
        ),
        shows(
            "certificate: examined",
            "fact_mismatch",
            "nobody reads what is in clear",
            altered("/clear/examined", json!(true)),
        ),
        shows(
            "certificate: key rows left",
            "erasure_not_shown",
            "keys not destroyed",
            altered("/verification/keys_left", json!(1)),
        ),
        shows(
            "certificate: nobody",
            "erasure_not_shown",
            "it is about nobody",
            altered("/subjects", json!([])),
        ),
        shows(
            "certificate: leaks of a frozen log",
            "erasure_not_shown",
            "the people are not those of a frozen log",
            altered(
                "/clear/frozen",
                json!([{"leak": REQUEST, "reported_at": "2026-01-01T00:00:02.000000Z", "events": [1]}]),
            ),
        ),
        shows(
            "certificate: the id kept for a time",
            "fact_mismatch",
            "for ever, as the request has it",
            altered("/suppression/until", json!("2028-12-01T00:00:00.000000Z")),
        ),
        shows(
            "certificate: no recipients",
            "document_invalid",
            "a required member is missing",
            by(&without(&plain, "/recipients")),
        ),
        shows(
            "certificate: an unknown status",
            "document_invalid",
            "unknown code",
            altered("/status", json!("done")),
        ),
    ];
    let facts = [
        ("format", json!("oubliette/certificate/v2")),
        ("origin", json!("other.example/main")),
        ("request", json!("0190163d-8694-739b-8aea-966c26f8ad92")),
        ("basis", json!("art17_1_b")),
        ("reason", json!("objection")),
        ("submitted_at", json!("2026-01-01T00:00:03.000000Z")),
        ("by", json!({"key": "00fe", "roles": ["officer"]})),
        ("key_copies", json!([{"epoch": 3}])),
        ("due_at", json!("2026-03-01T00:00:04.000000Z")),
        ("completed_at", json!("2026-01-01T00:00:06.000000Z")),
        ("subjects", json!([])),
        ("already_erased", json!(1)),
        ("suppression", json!({"active": false})),
        ("tree_size_before", json!(3)),
        ("tree_size_after", json!(9)),
    ];
    vectors.extend(facts.into_iter().map(|(member, value)| {
        let vector = altered(&format!("/{member}"), value);
        shows(
            &format!("certificate: another {member}"),
            "fact_mismatch",
            "not what the events say",
            vector,
        )
    }));
    vectors.push(shows(
        "certificate: fewer categories",
        "fact_mismatch",
        "the request is about all",
        altered("/subjects/0/categories", json!(["billing"])),
    ));
    vectors
}

/// Pages: what a verifier without this renderer cannot check is its reader's, not a vector's.
pub(crate) fn pages() -> Vec<Value> {
    let plain = certificate(&records());
    let document = document("certificate", CERTIFICATE_KEY, &plain);
    let typed: Certificate = serde_json::from_value(plain).unwrap();
    let page = render_page(&typed, &document);
    let checked = |page: &str| fields("page", page, reader(&[CHECKPOINT_KEY]));
    let data = page.find("{\"format\"").unwrap();
    vec![
        good("page: as it was made", checked(&page)),
        shows(
            "page: another word",
            "fact_mismatch",
            "not what the renderer makes",
            checked(&page.replacen("PROVISIONAL", "FINAL", 1)),
        ),
        shows(
            "page: by another renderer",
            "page_unchecked",
            "only its data is checked",
            checked(&page.replace("certificate-page/1", "certificate-page/9")),
        ),
        shows(
            "page: cut before its data",
            "document_invalid",
            "no data",
            checked(&page[..data]),
        ),
        shows(
            "page: data of another format",
            "document_invalid",
            "from another version",
            checked(&page.replacen("signed-certificate/v1", "signed-certificate/v2", 1)),
        ),
    ]
}
