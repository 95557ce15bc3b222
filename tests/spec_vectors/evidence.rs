//! Receipts, certificates and `.tlog-proof` files of the same ledger (chapter 09).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oubliette::spec::certificate::verify_certificate;
use oubliette::spec::evidence::{verify_proof, verify_receipt};
use serde_json::{Value, json};

use crate::bundles::trust;
use crate::ledger::{
    CHECKPOINT_KEY, EVENT_KEY, HANDLE, ORIGIN, REQUEST, Record, STRANGER, chain, checkpoint, events, head, leaves,
    outcome, path, root, vkey,
};
use crate::{bad, good, same, text};

pub(crate) fn records() -> Vec<Record> {
    chain(&events())
}

fn inclusion(records: &[Record], index: usize) -> Value {
    let hashes: Vec<_> = path(index, &leaves(records)).into_iter().map(hex::encode).collect();
    json!({"leaf_index": index, "tree_size": records.len(), "hashes": hashes})
}

pub(crate) fn evidence(records: &[Record], index: usize) -> Value {
    let record = &records[index];
    let body = |(ordinal, salt, bytes): &(u16, [u8; 32], Vec<u8>)| json!({"ordinal": ordinal, "salt": STANDARD.encode(salt), "bytes": STANDARD.encode(bytes)});
    json!({
        "header": STANDARD.encode(&record.header), "signature": STANDARD.encode(&record.signature),
        "bodies": record.bodies.iter().map(body).collect::<Value>(), "inclusion": inclusion(records, index),
    })
}

/// The receipt of the last event, which has data and a sealed block.
fn receipt(records: &[Record]) -> Value {
    let record = &records[7];
    let meta = &record.bodies[0];
    let id = oubliette::spec::event::Meta::decode(&meta.2).unwrap().id;
    let event = json!({
        "id": id, "index": 7, "stream": "order-8", "stream_version": 1, "recorded_at": "2026-01-01T00:00:07.000000Z",
        "leaf_hash": hex::encode(record.leaf()), "key_id": hex::encode(crate::keys::public(EVENT_KEY).1),
        "header": STANDARD.encode(&record.header), "signature": STANDARD.encode(&record.signature),
        "meta": STANDARD.encode(&meta.2),
        "salts": {"meta": STANDARD.encode(meta.1), "data": STANDARD.encode(record.bodies[1].1)},
        "personal": [{"ordinal": 2, "handle": hex::encode(HANDLE), "category": "billing", "generation": 1}],
        "inclusion": inclusion(records, 7),
    });
    json!({"events": [event], "checkpoint": head(records), "anchors": [evidence(records, 0)]})
}

pub(crate) fn with(base: &Value, pointer: &str, value: impl Into<Value>) -> Value {
    let mut altered = base.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = altered.pointer_mut(parent).unwrap();
    match parent {
        Value::Array(items) => items[member.parse::<usize>().unwrap()] = value.into(),
        _ => parent[member] = value.into(),
    }
    altered
}

pub(crate) fn without(base: &Value, pointer: &str) -> Value {
    let mut altered = base.clone();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    altered
        .pointer_mut(parent)
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove(member);
    altered
}

/// A base64 member with its last byte flipped.
fn flipped(base: &Value, pointer: &str) -> Value {
    let mut bytes = STANDARD
        .decode(base.pointer(pointer).unwrap().as_str().unwrap())
        .unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    with(base, pointer, STANDARD.encode(bytes))
}

pub(crate) fn reader(keys: &[u8]) -> Value {
    json!({"keys": keys.iter().map(|seed| vkey(*seed)).collect::<Value>(), "against": []})
}

pub(crate) fn fields(kind: &str, object: impl Into<Value>, reader: Value) -> Value {
    let mut fields = json!({"kind": kind, "object": object.into(), "reader": reader});
    fields["expected"] = outcome(&report(&fields));
    fields
}

pub(crate) fn shows(name: &str, code: &str, reason: &str, fields: Value) -> Value {
    let codes = fields["expected"]["codes"].as_array().unwrap();
    assert!(codes.iter().any(|found| found == code), "{name}: {codes:?}");
    bad(name, reason, fields)
}

pub(crate) fn vectors() -> Vec<Value> {
    let mut vectors = receipts();
    vectors.extend(receipt_facts());
    vectors.extend(crate::certificates::vectors());
    vectors.extend(crate::certificates::pages());
    vectors.extend(crate::leaks::certificates());
    vectors.extend(proofs());
    vectors
}

fn receipts() -> Vec<Value> {
    let records = records();
    let plain = receipt(&records);
    let made = |receipt: &Value, keys: &[u8]| fields("receipt", receipt.to_string(), reader(keys));
    let alone = without(&plain, "/anchors");
    let both = [EVENT_KEY, CHECKPOINT_KEY];
    let ranged = {
        let hashes: Vec<_> = path(7, &leaves(&records)).into_iter().rev().map(hex::encode).collect();
        let range = json!({"first": 7, "count": 1, "tree_size": 8, "hashes": hashes});
        with(&without(&plain, "/events/0/inclusion"), "/range", range)
    };
    let data = |bytes: &[u8]| {
        let mut vector = json!({
            "kind": "receipt", "object": plain.to_string(), "reader": reader(&[CHECKPOINT_KEY]), "data": hex::encode(bytes),
        });
        vector["expected"] = outcome(&report(&vector));
        vector
    };
    vec![
        good(
            "receipt: with anchors and a pinned key",
            made(&plain, &[CHECKPOINT_KEY]),
        ),
        good("receipt: with anchors and no key", made(&plain, &[])),
        good("receipt: without anchors, both keys pinned", made(&alone, &both)),
        good("receipt: with a range", made(&ranged, &[CHECKPOINT_KEY])),
        good("receipt: with its data", data(br#"{"total":7}"#)),
        good("receipt: with its data and a line break", data(b"{\"total\":7}\n")),
        shows(
            "receipt: with other data",
            "data_mismatch",
            "not what was committed to",
            data(br#"{"total":8}"#),
        ),
        shows(
            "receipt: without anchors, checkpoint key pinned",
            "signature_unchecked",
            "the event key is not known",
            made(&alone, &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: without anchors and keys",
            "signature_unchecked",
            "no key is known",
            made(&alone, &[]),
        ),
        shows(
            "receipt: a stranger's key pinned",
            "key_not_pinned",
            "another ledger",
            made(&plain, &[STRANGER]),
        ),
        shows(
            "receipt: no proof",
            "proof_absent",
            "neither inclusion nor range",
            made(&without(&plain, "/events/0/inclusion"), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: range of two",
            "proof_invalid",
            "one event is there",
            made(&with(&ranged, "/range/count", 2), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: range from 6",
            "proof_invalid",
            "the event is at 7",
            made(&with(&ranged, "/range/first", 6), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: proof in another size",
            "proof_invalid",
            "not the checkpoint's size",
            made(&with(&plain, "/events/0/inclusion/tree_size", 9), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: proof of another leaf",
            "proof_invalid",
            "not the event's index",
            made(&with(&plain, "/events/0/inclusion/leaf_index", 6), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: a hash of the proof exchanged",
            "proof_invalid",
            "leads to another root",
            made(
                &with(&plain, "/events/0/inclusion/hashes/0", "07".repeat(32)),
                &[CHECKPOINT_KEY],
            ),
        ),
        shows(
            "receipt: checkpoint by a stranger",
            "checkpoint_signature",
            "not by the ledger",
            made(
                &with(
                    &plain,
                    "/checkpoint",
                    checkpoint(ORIGIN, 8, &root(&leaves(&records)), STRANGER),
                ),
                &[CHECKPOINT_KEY],
            ),
        ),
        shows(
            "receipt: checkpoint of another root",
            "proof_invalid",
            "leads to another root",
            made(
                &with(&plain, "/checkpoint", checkpoint(ORIGIN, 8, &[7; 32], CHECKPOINT_KEY)),
                &[CHECKPOINT_KEY],
            ),
        ),
        shows(
            "receipt: checkpoint of another origin",
            "origin_mismatch",
            "another ledger",
            made(
                &with(
                    &plain,
                    "/checkpoint",
                    checkpoint("other.example/main", 8, &root(&leaves(&records)), CHECKPOINT_KEY),
                ),
                &[CHECKPOINT_KEY],
            ),
        ),
        shows(
            "receipt: anchor is another event",
            "ledger_created_invalid",
            "no ledger.created",
            made(&with(&plain, "/anchors/0", evidence(&records, 2)), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: no events",
            "evidence_absent",
            "at least one",
            made(&with(&plain, "/events", json!([])), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: an unknown member",
            "unknown_field",
            "from a newer version",
            made(&with(&plain, "/note", "x"), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: an unknown member of the event",
            "unknown_field",
            "from a newer version",
            made(&with(&plain, "/events/0/note", "x"), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: an unknown member of a proof",
            "document_invalid",
            "the object is closed",
            made(&with(&plain, "/events/0/inclusion/note", "x"), &[CHECKPOINT_KEY]),
        ),
        shows(
            "receipt: base64 without padding",
            "document_invalid",
            "not canonical",
            made(
                &with(
                    &plain,
                    "/events/0/header",
                    plain["events"][0]["header"]
                        .as_str()
                        .unwrap()
                        .trim_end_matches('=')
                        .to_owned()
                        + "A",
                ),
                &[CHECKPOINT_KEY],
            ),
        ),
        shows(
            "receipt: not JSON",
            "document_invalid",
            "not JSON",
            fields("receipt", "{", reader(&[CHECKPOINT_KEY])),
        ),
    ]
}

/// Facts beside the signed bytes.
fn receipt_facts() -> Vec<Value> {
    let plain = receipt(&records());
    let altered = |pointer: &str, value: Value| {
        fields(
            "receipt",
            with(&plain, pointer, value).to_string(),
            reader(&[CHECKPOINT_KEY]),
        )
    };
    let broken = |pointer: &str| {
        fields(
            "receipt",
            flipped(&plain, pointer).to_string(),
            reader(&[CHECKPOINT_KEY]),
        )
    };
    let mut vectors: Vec<_> = [
        ("id", json!(REQUEST)),
        ("stream", json!("order-9")),
        ("stream_version", json!(2)),
        ("recorded_at", json!("2026-01-01T00:00:08.000000Z")),
        ("leaf_hash", json!("07".repeat(32))),
        ("key_id", json!("07".repeat(32))),
        ("personal", json!([])),
    ]
    .into_iter()
    .map(|(member, value)| {
        let vector = altered(&format!("/events/0/{member}"), value);
        shows(
            &format!("receipt: another {member}"),
            "fact_mismatch",
            "not what the signed bytes say",
            vector,
        )
    })
    .collect();
    vectors.push(shows(
        "receipt: header flipped",
        "signature_invalid",
        "not what was signed",
        broken("/events/0/header"),
    ));
    vectors.push(shows(
        "receipt: signature flipped",
        "signature_invalid",
        "does not verify",
        broken("/events/0/signature"),
    ));
    vectors.push(shows(
        "receipt: meta flipped",
        "body_mismatch",
        "not what was committed to",
        broken("/events/0/meta"),
    ));
    vectors.push(shows(
        "receipt: salt of meta flipped",
        "body_mismatch",
        "not what was committed to",
        broken("/events/0/salts/meta"),
    ));
    vectors.push(shows(
        "receipt: another index",
        "fact_mismatch",
        "not the header's",
        altered("/events/0/index", json!(6)),
    ));
    vectors
}

fn proofs() -> Vec<Value> {
    let records = records();
    let proof = |extra: &[u8], index: usize, checkpoint: &str| {
        let hashes: String = path(index, &leaves(&records))
            .iter()
            .map(|hash| STANDARD.encode(hash) + "\n")
            .collect();
        format!(
            "c2sp.org/tlog-proof@v1\nextra {}\nindex {index}\n{hashes}\n{checkpoint}",
            STANDARD.encode(extra)
        )
    };
    let plain = proof(&records[2].header, 2, &head(&records));
    let made = |proof: &str, keys: &[u8]| fields("proof", proof, reader(keys));
    let pinned = [CHECKPOINT_KEY];
    vec![
        good("proof: pinned", made(&plain, &pinned)),
        shows(
            "proof: no key",
            "signature_unchecked",
            "no key is known",
            made(&plain, &[]),
        ),
        shows(
            "proof: a stranger's key",
            "checkpoint_signature",
            "not by a pinned key",
            made(&plain, &[STRANGER]),
        ),
        shows(
            "proof: of another event",
            "proof_invalid",
            "leads to another root",
            made(&proof(&records[3].header, 2, &head(&records)), &pinned),
        ),
        shows(
            "proof: extra is no header",
            "header_invalid",
            "no header",
            made(&proof(b"x", 2, &head(&records)), &pinned),
        ),
        shows(
            "proof: no extra",
            "header_invalid",
            "nothing to prove",
            made(
                &plain
                    .lines()
                    .filter(|line| !line.starts_with("extra"))
                    .map(|line| line.to_owned() + "\n")
                    .collect::<String>(),
                &pinned,
            ),
        ),
        shows(
            "proof: not a proof",
            "document_invalid",
            "another first line",
            made(&plain.replacen("@v1", "@v2", 1), &pinned),
        ),
    ]
}

fn report(vector: &Value) -> oubliette::spec::report::Report {
    let mut reader = vector["reader"].clone();
    reader["selection"] = false.into();
    let trust = trust(&reader);
    let object = text(vector, "object");
    match text(vector, "kind") {
        "receipt" => {
            let data = vector
                .get("data")
                .map(|data| hex::decode(data.as_str().unwrap()).unwrap());
            verify_receipt(object.as_bytes(), data.as_deref(), &trust)
        }
        "certificate" => verify_certificate(&hex::decode(object).unwrap(), &trust),
        "page" => verify_certificate(object.as_bytes(), &trust),
        _ => verify_proof(object.as_bytes(), &trust),
    }
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    let found = outcome(&report(vector));
    same("expected", &vector["expected"], found.clone())?;
    Ok(found["verdict"] == "valid")
}
