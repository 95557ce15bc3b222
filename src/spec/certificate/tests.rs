//! Certificates that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use super::*;
use crate::spec::report::{FindingCode, Report, TrustState, Verdict};
use crate::spec::testing::TestLedger;
use crate::spec::verify::Trust;

fn verify(document: &[u8]) -> Report {
    verify_certificate(document, &Trust::default())
}

type Tweak = (&'static str, fn(&mut Certificate));

fn codes(report: &Report) -> Vec<FindingCode> {
    report.findings.iter().map(|finding| finding.code).collect()
}

#[test]
fn a_certificate_is_checked_alone() {
    let ledger = TestLedger::sample();
    let document = ledger.sign_certificate(&ledger.certificate());
    assert!(is_certificate(&document));
    let report = verify(&document);
    assert_eq!(
        (report.verdict, report.trust),
        (Verdict::Valid, TrustState::SelfConsistent),
        "{report}"
    );
    assert_eq!(
        (
            report.checked.events,
            report.checked.signatures,
            report.checked.checkpoints
        ),
        (3, 4, 1)
    );
    assert_eq!(report.key, Some(ledger.vkey().to_string()));
    assert!(report.to_string().contains("provisional"), "{report}");
    let trust = Trust {
        keys: vec![ledger.vkey()],
        ..Trust::default()
    };
    assert_eq!(verify_certificate(&document, &trust).trust, TrustState::Pinned);
    let other = Trust {
        keys: vec![TestLedger::with("audit.example.com/main", 2).vkey()],
        ..Trust::default()
    };
    assert_eq!(
        codes(&verify_certificate(&document, &other)),
        [FindingCode::KeyNotPinned]
    );
}

#[test]
fn every_flipped_byte_is_found() {
    let ledger = TestLedger::sample();
    let document = ledger.sign_certificate(&ledger.certificate());
    for at in 0..document.len() {
        let mut bad = document.clone();
        bad[at] ^= 0x21;
        assert!(is_certificate(&bad));
        let report = verify(&bad);
        assert_eq!(report.verdict, Verdict::Tampered, "byte {at}");
    }
    for length in 0..document.len() {
        assert_ne!(verify(&document[..length]).verdict, Verdict::Valid);
    }
}

#[test]
fn what_the_certificate_says_must_be_what_its_events_say() {
    let ledger = TestLedger::sample();
    let tweaks: [Tweak; 16] = [
        ("format", |c| c.format = "oubliette/certificate/v9".into()),
        ("origin", |c| c.origin = "x.example/y".parse().unwrap()),
        ("request", |c| c.request = Uuid::from_u128(1)),
        ("basis", |c| c.basis = Basis::Art17_1B),
        ("reason", |c| c.reason = Reason::Unlawful),
        ("subjects", |c| c.subjects[0].handle = Handle([1; 16])),
        ("no subjects", |c| c.subjects.clear()),
        ("categories", |c| {
            c.subjects[0].categories = Some(vec![Category::default()])
        }),
        ("completed_at", |c| c.completed_at = Some(Timestamp(1))),
        ("tree_size_before", |c| c.tree_size_before += 1),
        ("tree_size_after", |c| c.tree_size_after += 1),
        ("opened", |c| c.verification.opened = 1),
        ("identity", |c| c.verification.identity_resolves = true),
        ("times", |c| c.times.t2 = Some(Timestamp(1))),
        ("final", |c| (c.status, c.times.t2) = (Status::Final, None)),
        ("proof", |c| {
            c.evidence[0].inclusion.hashes[0] = crate::spec::hash::Hash::from([0; 32])
        }),
    ];
    for (what, tweak) in tweaks {
        let mut certificate = ledger.certificate();
        tweak(&mut certificate);
        let report = verify(&ledger.sign_certificate(&certificate));
        assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
    }
}

#[test]
fn evidence_that_is_absent_or_of_another_event_is_not_valid() {
    let ledger = TestLedger::sample();
    let tweaks: [fn(&mut Certificate, &TestLedger); 6] = [
        |c, _| c.evidence.clear(),
        |c, _| drop(c.evidence.pop()),
        |c, _| c.evidence.swap(0, 1),
        |c, _| c.anchors.clear(),
        |c, ledger| c.evidence[0] = ledger.evidence(1),
        |c, _| c.evidence[1].bodies.truncate(1),
    ];
    for tweak in tweaks {
        let mut certificate = ledger.certificate();
        tweak(&mut certificate, &ledger);
        let report = verify(&ledger.sign_certificate(&certificate));
        assert_ne!(report.verdict, Verdict::Valid, "{report}");
    }
}

#[test]
fn a_certificate_by_another_key_or_under_anothers_checkpoint_is_found() {
    let (ledger, other) = (TestLedger::sample(), TestLedger::with("audit.example.com/main", 2));
    let report = verify(&other.sign_certificate(&ledger.certificate()));
    assert_eq!(codes(&report), [FindingCode::SignatureUnknownKey]);
    let mut certificate = ledger.certificate();
    certificate.checkpoint = other.head();
    let report = verify(&ledger.sign_certificate(&certificate));
    assert!(codes(&report).contains(&FindingCode::CheckpointSignature));
}
