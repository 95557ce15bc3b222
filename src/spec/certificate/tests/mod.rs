//! Certificates that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod epochs;
mod leaks;
mod page;
mod people;

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
    let tweaks: [Tweak; 38] = [
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
        ("covers", |c| c.covers = Some("x.example/frozen".parse().unwrap())),
        ("tree_size_before", |c| c.tree_size_before += 1),
        ("tree_size_after", |c| c.tree_size_after += 1),
        ("opened", |c| c.verification.opened = 1),
        ("identity", |c| c.verification.identity_resolves = true),
        ("times", |c| c.times.t2 = Some(Timestamp(1))),
        ("final without T3 to T5", |c| {
            c.status = Status::Final;
            c.residues.clear();
        }),
        ("final without T2", |c| (*c, c.times.t2) = (finished(c), None)),
        ("final with a residue", |c| {
            let residues = c.residues.clone();
            (*c, c.residues) = (finished(c), residues);
        }),
        ("requested_at", |c| c.requested_at.0 += 1),
        ("due_at", |c| c.due_at = Some(Timestamp(1_800_000_000_000_000))),
        ("no completed_at", |c| c.completed_at = None),
        ("subject twice", |c| c.subjects.push(c.subjects[0].clone())),
        ("keys_destroyed", |c| c.subjects[0].keys_destroyed = Some(2)),
        ("no keys_destroyed", |c| c.subjects[0].keys_destroyed = None),
        ("identity_destroyed", |c| c.subjects[0].identity_destroyed = false),
        ("blocks_sealed", |c| c.subjects[0].blocks_sealed = 4),
        ("t1", |c| c.times.t1 = Some(Timestamp(c.requested_at.0 + 1))),
        ("no t1", |c| c.times.t1 = None),
        ("sampled", |c| c.verification.sampled = 4),
        ("no residues", |c| c.residues.clear()),
        ("other residues", |c| c.residues[0].code = "ciphertext".into()),
        ("one more residue", |c| {
            c.residues.push(Residue {
                code: "epoch_key".into(),
                text: "".into(),
            });
        }),
        ("other ledgers", |c| c.other_ledgers_examined = true),
        ("nothing kept of the id", |c| c.suppression.active = false),
        ("kept for a time", |c| c.suppression.until = Some(Timestamp(1))),
        ("a frozen log's leak", |c| {
            c.clear.frozen.push(FrozenLeak {
                leak: Uuid::from_u128(9),
                reported_at: Timestamp(1),
                events: vec![1],
                outcome: None,
                settled_at: None,
            });
        }),
        ("opened with others", |c| {
            (c.verification.opened, c.verification.sampled) = (3, 3)
        }),
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

/// A final certificate of the same erasure.
fn finished(certificate: &Certificate) -> Certificate {
    let mut done = certificate.clone();
    let t2 = done.times.t2;
    (done.status, done.times.t3, done.times.t4, done.times.t5) = (Status::Final, t2, t2, t2);
    done.residues.clear();
    done
}

#[test]
fn a_final_certificate_has_all_times_and_no_residue_and_says_what_its_events_do_not() {
    let mut ledger = TestLedger::sample();
    let at = ledger.certificate().completed_at.unwrap();
    let gone = serde_json::json!({"request": crate::spec::testing::REQUEST, "residue": "backups", "at": at});
    let index = ledger.system("erasure.residue_removed", &gone);
    let mut certificate = finished(&ledger.certificate());
    let early = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(
        early.verdict,
        Verdict::Tampered,
        "what was pending is not shown as gone: {early}"
    );
    certificate.evidence.push(ledger.evidence(index));
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let alone = report.notes.iter().find(|note| note.contains("alone")).unwrap();
    assert!(
        alone.contains("times, t2, times, t3, times, t4, times, t5, role, recipients, disclosed"),
        "{alone}"
    );
}

/// A ledger whose erasure left nothing pending in the end, and its certificate.
fn removed() -> (TestLedger, Certificate) {
    let mut ledger = TestLedger::sample();
    let at = Timestamp(ledger.certificate().completed_at.unwrap().0 + 1_000);
    let index = ledger.system(
        "erasure.residue_removed",
        &serde_json::json!({"request": crate::spec::testing::REQUEST, "residue": "key_store_files", "at": at}),
    );
    let derived = serde_json::json!([{"store": "handle_index", "state": "purged", "at": at}]);
    ledger.system(
        "erasure.residue_removed",
        &serde_json::json!({"request": crate::spec::testing::REQUEST, "residue": "ciphertext", "at": at, "derived": derived}),
    );
    let mut certificate = ledger.certificate();
    certificate
        .evidence
        .extend([ledger.evidence(index), ledger.evidence(index + 1)]);
    (certificate.times.t3, certificate.times.t4) = (Some(at), Some(at));
    certificate.derived = serde_json::from_value(derived).unwrap();
    (ledger, certificate)
}

#[test]
fn what_is_recorded_as_gone_is_compared() {
    let (ledger, certificate) = removed();
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let alone = report.notes.iter().find(|note| note.contains("alone")).unwrap();
    assert!(
        alone.contains("times, t2, role, recipients, disclosed, clear, nameless."),
        "{alone}"
    );
    let tweaks: [Tweak; 6] = [
        ("no t3", |c| c.times.t3 = None),
        ("another t4", |c| {
            c.times.t4 = Some(Timestamp(c.times.t4.unwrap().0 + 1))
        }),
        ("no derived", |c| c.derived.clear()),
        ("other derived", |c| c.derived[0].state = "not_kept".into()),
        ("a residue that is gone", |c| {
            c.residues.push(Residue {
                code: "ciphertext".into(),
                text: "".into(),
            });
        }),
        ("of another erasure", |c| c.request = Uuid::from_u128(1)),
    ];
    for (what, tweak) in tweaks {
        let mut tweaked = certificate.clone();
        tweak(&mut tweaked);
        let report = verify(&ledger.sign_certificate(&tweaked));
        assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
    }
}

#[test]
fn a_residue_that_was_pending_and_is_gone_is_no_residue() {
    let mut ledger = TestLedger::sample();
    let at = ledger.certificate().completed_at.unwrap();
    let gone = serde_json::json!({"request": crate::spec::testing::REQUEST, "residue": "backups", "at": at});
    let index = ledger.system("erasure.residue_removed", &gone);
    let mut certificate = ledger.certificate();
    certificate.evidence.push(ledger.evidence(index));
    let stays = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(codes(&stays), [FindingCode::FactMismatch], "{stays}");
    certificate.residues.clear();
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
}

#[test]
fn a_certificate_of_redaction_says_what_its_event_says() {
    let mut ledger = TestLedger::sample();
    let positions = [(1, 1), (3, 0)];
    ledger.remove(&positions);
    let authority = serde_json::json!({"ground": "secret", "positions": positions});
    let index = ledger.system("bodies.redacted", &authority);
    let id = Uuid::from_u128(7);
    let completed = serde_json::json!({"redaction": id, "at": Timestamp(9_000_000)}).to_string();
    let completed = ledger.append("$redactions", "redaction.completed", Some(&completed), 0);
    let base = ledger.certificate();
    let header = crate::spec::event::Header::decode(&ledger.evidence(index).record().header).unwrap();
    let certificate = RedactionCertificate {
        format: REDACTION_FORMAT.into(),
        origin: base.origin.clone(),
        redaction: id,
        reason: "secret".into(),
        role: "officer".into(),
        redacted_at: header.recorded_at,
        files_rewritten_at: Some(Timestamp(9_000_000)),
        positions: positions.map(Into::into).to_vec(),
        backups: Backups {
            known: Vec::new(),
            text: "oubliette/erasure/v1".into(),
        },
        limits: vec!["one ledger".into()],
        tree_size: base.tree_size_after,
        evidence: vec![ledger.evidence(index), ledger.evidence(completed)],
        anchors: base.anchors.clone(),
        checkpoint: base.checkpoint.clone(),
    };
    let document = ledger.sign_certificate(&certificate);
    assert!(is_certificate(&document));
    let report = verify(&document);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let page = render_redaction_page(&certificate, &document);
    assert_eq!(
        verify(page.as_bytes()).verdict,
        Verdict::Valid,
        "{}",
        verify(page.as_bytes())
    );
    let forged = page
        .replacen("left the ledger&#39;s store", "stayed", 1)
        .replacen("FINAL", "DONE", 1);
    assert_eq!(verify(forged.as_bytes()).verdict, Verdict::Tampered);
    let unshown = |note: &String| note.contains("shown by no event") && note.contains("role, backups");
    assert!(report.notes.iter().any(unshown), "{report}");
    type Tweak = (&'static str, fn(&mut RedactionCertificate));
    let tweaks: [Tweak; 9] = [
        ("format", |c| c.format = "oubliette/redaction/v1x".into()),
        ("origin", |c| c.origin = "x.example/y".parse().unwrap()),
        ("reason", |c| c.reason = "other".into()),
        ("a position less", |c| c.positions.truncate(1)),
        ("another position", |c| c.positions[0] = (1, 0).into()),
        ("time", |c| c.redacted_at.0 += 1),
        ("another time of rewriting", |c| {
            c.files_rewritten_at = Some(Timestamp(1))
        }),
        ("not rewritten", |c| c.files_rewritten_at = None),
        ("tree size", |c| c.tree_size += 1),
    ];
    for (what, tweak) in tweaks {
        let mut tweaked = certificate.clone();
        tweak(&mut tweaked);
        let report = verify(&ledger.sign_certificate(&tweaked));
        assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
    }
    let unproved = RedactionCertificate {
        evidence: vec![base.evidence[0].clone()],
        ..certificate
    };
    assert!(codes(&verify(&ledger.sign_certificate(&unproved))).contains(&FindingCode::EvidenceAbsent));
    for at in (0..document.len()).step_by(7) {
        let mut bad = document.clone();
        bad[at] ^= 0x21;
        assert_ne!(verify(&bad).verdict, Verdict::Valid, "byte {at}");
    }
}

#[test]
fn what_an_older_event_does_not_state_is_not_compared_but_named() {
    let mut ledger = TestLedger::new();
    let subjects = serde_json::json!([{"handle": crate::spec::testing::ADA}]);
    for event_type in ["erasure.requested", "erasure.completed"] {
        ledger.system(
            event_type,
            &serde_json::json!({"request": crate::spec::testing::REQUEST, "subjects": subjects}),
        );
    }
    let report = verify(&ledger.sign_certificate(&ledger.certificate()));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let alone = report.notes.iter().find(|note| note.contains("alone")).unwrap();
    for field in [
        "basis",
        "reason",
        "keys_destroyed",
        "identity_destroyed",
        "blocks_sealed",
        "times, t1",
        "sampled",
        "residues",
        "suppression",
    ] {
        assert!(alone.contains(field), "{alone}");
    }
}

#[test]
fn words_of_a_certificate_do_not_steer_the_terminal() {
    let ledger = TestLedger::sample();
    let mut certificate = ledger.certificate();
    certificate.limits.push("\u{1b}[1A\rVALID\u{2028}\u{202e}".into());
    certificate.residues[0].text = "\nVALID".into();
    let report = verify(&ledger.sign_certificate(&certificate));
    let notes = report.notes.join("");
    assert!(notes.contains(r"\u{1b}[1A\u{d}VALID\u{2028}\u{202e}") && notes.contains(r"\u{a}VALID"));
    assert!(!notes.chars().any(char::is_control));
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
