//! Receipts and proofs that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::spec::merkle::naive::Naive;
use crate::spec::merkle::range_proof;
use crate::spec::note::SignatureType;
use crate::spec::report::{FindingCode, Report, TrustState, Verdict};
use crate::spec::testing::TestLedger;
use crate::spec::tlog_proof::TlogProof;
use crate::spec::verify::Trust;

type Tweak<T> = (&'static str, fn(&mut T));

fn json(receipt: &Receipt) -> Vec<u8> {
    serde_json::to_vec_pretty(receipt).unwrap()
}

fn verify(receipt: &Receipt) -> Report {
    verify_receipt(&json(receipt), None, &Trust::default())
}

fn codes(report: &Report) -> Vec<FindingCode> {
    report.findings.iter().map(|finding| finding.code).collect()
}

fn pinned(ledger: &TestLedger) -> Trust {
    Trust {
        keys: vec![ledger.vkey()],
        ..Trust::default()
    }
}

#[test]
fn a_receipt_with_anchors_is_checked_alone() {
    let ledger = TestLedger::sample();
    let receipt = ledger.receipt(&[1, 2, 3]);
    assert!(is_receipt(&json(&receipt)));
    let report = verify(&receipt);
    assert_eq!(
        (report.verdict, report.trust),
        (Verdict::Valid, TrustState::SelfConsistent),
        "{report}"
    );
    assert_eq!((report.checked.events, report.checked.signatures), (4, 4));
    let report = verify_receipt(&json(&receipt), None, &pinned(&ledger));
    assert_eq!((report.verdict, report.trust), (Verdict::Valid, TrustState::Pinned));
}

#[test]
fn without_anchors_only_pinned_keys_say_anything() {
    let ledger = TestLedger::sample();
    let receipt = Receipt {
        anchors: Vec::new(),
        ..ledger.receipt(&[1])
    };
    let report = verify(&receipt);
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert_eq!(codes(&report), [FindingCode::SignatureUnchecked; 2]);
    let report = verify_receipt(&json(&receipt), None, &pinned(&ledger));
    assert_eq!(
        (report.verdict, report.trust),
        (Verdict::Incomplete, TrustState::Pinned)
    );
    assert_eq!(
        codes(&report),
        [FindingCode::SignatureUnchecked],
        "the event's own signature"
    );
    let mut trust = pinned(&ledger);
    let name = ledger.vkey().name().clone();
    let event_key =
        |name, kind| crate::spec::note::VerifierKey::new(name, kind, ledger.event.public().as_bytes()).unwrap();
    for other in [
        event_key("other.example/main".parse().unwrap(), SignatureType::Ed25519),
        event_key(name.clone(), SignatureType::Cosignature),
    ] {
        let mut trust = pinned(&ledger);
        trust.keys.push(other);
        let report = verify_receipt(&json(&receipt), None, &trust);
        assert_eq!(
            codes(&report),
            [FindingCode::SignatureUnchecked],
            "a key of another name or type is none of this ledger's events"
        );
    }
    trust.keys.push(event_key(name, SignatureType::Ed25519));
    let report = verify_receipt(&json(&receipt), None, &trust);
    assert_eq!(
        (report.verdict, report.trust),
        (Verdict::Valid, TrustState::Pinned),
        "{report}"
    );
    let stranger = TestLedger::with("audit.example.com/main", 2);
    let report = verify_receipt(&json(&receipt), None, &pinned(&stranger));
    assert_eq!(report.verdict, Verdict::Tampered);
}

#[test]
fn one_proof_may_serve_a_run_of_events() {
    let ledger = TestLedger::sample();
    let mut receipt = ledger.receipt(&[1, 2, 3]);
    receipt.events.iter_mut().for_each(|event| event.inclusion = None);
    assert_eq!(codes(&verify(&receipt)), [FindingCode::ProofAbsent; 3]);
    assert_eq!(verify(&receipt).verdict, Verdict::Incomplete);
    let leaves = ledger
        .records
        .iter()
        .map(|record| crate::spec::hash::leaf_hash(&record.header))
        .collect();
    let hashes = range_proof(1, 3, 7, &Naive { leaves }).unwrap();
    receipt.range = Some(ReceiptRange {
        first: 1,
        count: 3,
        tree_size: 7,
        hashes,
    });
    let report = verify(&receipt);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let tweaks: [fn(&mut ReceiptRange); 4] = [
        |range| range.first += 1,
        |range| range.count -= 1,
        |range| range.tree_size -= 1,
        |range| range.hashes.truncate(1),
    ];
    for tweak in tweaks {
        let mut receipt = receipt.clone();
        tweak(receipt.range.as_mut().unwrap());
        assert_eq!(codes(&verify(&receipt)), [FindingCode::ProofInvalid]);
    }
}

#[test]
fn every_flipped_byte_of_a_receipt_is_found() {
    let ledger = TestLedger::sample();
    let file = serde_json::to_vec(&ledger.receipt(&[1])).unwrap();
    let trust = pinned(&ledger);
    for at in 0..file.len() {
        for flip in [1, 0x20] {
            let mut bad = file.clone();
            bad[at] ^= flip;
            let report = verify_receipt(&bad, Some(br#"{"total":3}"#), &trust);
            // Handle, category and generation of a sealed block are what a receipt cannot prove, and the report says so.
            let text = String::from_utf8_lossy(&file[..at]);
            let unproved = text.contains("\"personal\"") && !text.contains("\"inclusion\"");
            assert!(unproved || report.verdict != Verdict::Valid, "byte {at}");
        }
    }
}

#[test]
fn a_receipt_has_one_form() {
    let ledger = TestLedger::sample();
    let good = serde_json::to_value(ledger.receipt(&[1])).unwrap();
    let tweaks: [Tweak<serde_json::Value>; 6] = [
        ("salts", |v| {
            v["salts"] = serde_json::json!([v["salts"]["meta"], v["salts"]["data"]])
        }),
        ("inclusion", |v| {
            let proof = &v["inclusion"];
            v["inclusion"] = serde_json::json!([proof["leaf_index"], proof["tree_size"], proof["hashes"]]);
        }),
        ("block", |v| {
            let block = &v["personal"][0];
            let values = [
                &block["ordinal"],
                &block["handle"],
                &block["category"],
                &block["generation"],
            ];
            v["personal"][0] = serde_json::json!(values);
        }),
        ("id", |v| v["id"] = v["id"].as_str().unwrap().replace('-', "").into()),
        ("time", |v| {
            v["recorded_at"] = v["recorded_at"].as_str().unwrap().replace('Z', "+00:00").into()
        }),
        ("event", |v| *v = serde_json::json!([v])),
    ];
    for (what, tweak) in tweaks {
        let mut bad = good.clone();
        tweak(&mut bad["events"][0]);
        let report = verify_receipt(&serde_json::to_vec(&bad).unwrap(), None, &Trust::default());
        assert_eq!(codes(&report), [FindingCode::DocumentInvalid], "{what}");
    }
}

#[test]
fn stated_facts_must_be_the_signed_ones() {
    let ledger = TestLedger::sample();
    let tweaks: [Tweak<ReceiptEvent>; 9] = [
        ("id", |event| event.id = uuid::Uuid::from_u128(77)),
        ("stream", |event| event.stream = "order-9".parse().unwrap()),
        ("stream_version", |event| event.stream_version += 1),
        ("recorded_at", |event| event.recorded_at.0 += 1),
        ("leaf_hash", |event| event.leaf_hash = Hash::from([0; 32])),
        ("key_id", |event| event.key_id = Hash::from([0; 32])),
        ("personal", |event| event.personal.clear()),
        ("salts", |event| event.salts.data = None),
        ("meta", |event| event.meta.0[5] ^= 1),
    ];
    for (what, tweak) in tweaks {
        let mut receipt = ledger.receipt(&[1]);
        tweak(&mut receipt.events[0]);
        assert_eq!(verify(&receipt).verdict, Verdict::Tampered, "{what}");
    }
}

#[test]
fn a_field_of_a_newer_version_makes_a_receipt_incomplete() {
    let mut receipt = TestLedger::sample().receipt(&[1]);
    receipt.events[0].unknown.insert("colour".into(), "blue".into());
    let report = verify(&receipt);
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Incomplete, vec![FindingCode::UnknownField])
    );
}

#[test]
fn data_that_the_holder_supplies_is_compared_byte_for_byte() {
    let ledger = TestLedger::sample();
    let with =
        |indexes: &[u64], data: &[u8]| verify_receipt(&json(&ledger.receipt(indexes)), Some(data), &Trust::default());
    assert_eq!(with(&[1], br#"{"total":3}"#).verdict, Verdict::Valid);
    assert_eq!(with(&[1], b"{\"total\":3}\n").verdict, Verdict::Valid);
    assert_eq!(with(&[1, 2, 3], b"[]").verdict, Verdict::Valid);
    for (indexes, data) in [
        (&[1][..], br#"{"total": 3}"#.as_slice()),
        (&[1, 3], b"4"),
        (&[2], b"{}"),
        (&[1], b""),
    ] {
        let report = with(indexes, data);
        assert_eq!(
            (report.verdict, codes(&report)),
            (Verdict::Tampered, vec![FindingCode::DataMismatch])
        );
    }
}

#[test]
fn a_receipt_against_a_kept_checkpoint_of_its_size() {
    let ledger = TestLedger::sample();
    let file = json(&ledger.receipt(&[1]));
    let against = |note: String| {
        verify_receipt(
            &file,
            None,
            &Trust {
                against: vec![note.into_bytes()],
                ..Trust::default()
            },
        )
    };
    assert_eq!(against(ledger.head()).trust, TrustState::Pinned);
    assert_eq!(
        codes(&against(ledger.checkpoint_at(3))),
        [FindingCode::CheckpointUnchecked]
    );
    let mut forked = TestLedger::new();
    forked.append_many(6);
    assert_eq!(codes(&against(forked.head())), [FindingCode::RootMismatch]);
}

fn proof(ledger: &TestLedger, index: u64) -> String {
    let proof = TlogProof {
        extra: ledger.records[index as usize].header.clone(),
        index,
        path: ledger.inclusion(index).hashes,
        checkpoint: ledger.head().parse().unwrap(),
    };
    proof.to_string()
}

#[test]
fn a_proof_holds_under_a_pinned_key_alone() {
    let ledger = TestLedger::sample();
    let file = proof(&ledger, 3);
    let report = verify_proof(file.as_bytes(), &pinned(&ledger));
    assert_eq!(
        (report.verdict, report.trust),
        (Verdict::Valid, TrustState::Pinned),
        "{report}"
    );
    let report = verify_proof(file.as_bytes(), &Trust::default());
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Incomplete, vec![FindingCode::SignatureUnchecked])
    );
    let origin = |origin: &str| Trust {
        origin: Some(origin.parse().unwrap()),
        ..pinned(&ledger)
    };
    assert_eq!(
        verify_proof(file.as_bytes(), &origin("audit.example.com/main")).verdict,
        Verdict::Valid
    );
    assert_eq!(
        verify_proof(file.as_bytes(), &origin("x.example/y")).verdict,
        Verdict::Tampered
    );
}

#[test]
fn every_flipped_byte_of_a_proof_is_found() {
    let ledger = TestLedger::sample();
    let file = proof(&ledger, 3);
    for at in 0..file.len() {
        let mut bad = file.clone().into_bytes();
        bad[at] ^= 1;
        assert_ne!(
            verify_proof(&bad, &pinned(&ledger)).verdict,
            Verdict::Valid,
            "byte {at}"
        );
    }
}
