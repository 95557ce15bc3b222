//! Whom a certificate is about: what is kept of their ids, who had been erased before, and whose month it is.

use serde_json::{Value, json};

use super::*;
use crate::spec::testing::{ADA, REQUEST};

/// An erasure of which the request says something more, and the certificate that goes with it.
fn with(more: &Value, destroyed: bool) -> (TestLedger, Certificate) {
    let mut ledger = TestLedger::new();
    let mut requested = json!({"request": REQUEST, "subjects": [{"handle": ADA}]});
    requested
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    ledger.system("erasure.requested", &requested);
    let subjects = json!([{"handle": ADA, "identity_destroyed": destroyed}]);
    ledger.system("erasure.completed", &json!({"request": REQUEST, "subjects": subjects}));
    let mut certificate = ledger.certificate();
    certificate.subjects[0].identity_destroyed = destroyed;
    if requested.get("categories").is_some() {
        certificate.subjects[0].categories = Some(vec![Category::default()]);
    }
    (ledger, certificate)
}

fn verdict(ledger: &TestLedger, certificate: &Certificate) -> Verdict {
    verify(&ledger.sign_certificate(certificate)).verdict
}

#[test]
fn what_is_kept_of_an_id_is_what_the_request_says_of_whole_people() {
    let until = Timestamp(2_000_000_000_000_000);
    for (more, destroyed, kept) in [
        (json!({}), true, (true, None)),
        (json!({}), false, (false, None)),
        (json!({"suppression": "none"}), true, (false, None)),
        (json!({"suppression": {"until": until}}), true, (true, Some(until))),
        (json!({"suppression": {"until": until}}), false, (false, None)),
        (json!({"categories": ["default"]}), false, (false, None)),
    ] {
        let (ledger, mut certificate) = with(&more, destroyed);
        for stated in [(true, None), (false, None), (true, Some(until)), (false, Some(until))] {
            (certificate.suppression.active, certificate.suppression.until) = stated;
            let expected = if stated == kept {
                Verdict::Valid
            } else {
                Verdict::Tampered
            };
            assert_eq!(verdict(&ledger, &certificate), expected, "{more} {stated:?}");
        }
    }
}

#[test]
fn who_was_erased_before_is_told_as_the_request_counts_them() {
    for (recorded, stated, expected) in [
        (json!({"already_erased": 2}), Some(2), Verdict::Valid),
        (json!({"already_erased": 2}), Some(1), Verdict::Tampered),
        (json!({"already_erased": 2}), None, Verdict::Tampered),
        (json!({"already_erased": 0}), None, Verdict::Valid),
        (json!({"already_erased": 0}), Some(1), Verdict::Tampered),
        (json!({}), Some(1), Verdict::Valid),
    ] {
        let (ledger, mut certificate) = with(&recorded, true);
        certificate.already_erased = stated;
        assert_eq!(verdict(&ledger, &certificate), expected, "{recorded} {stated:?}");
        let page = render_page(&certificate, b"");
        assert_eq!(page.contains("Erased before"), stated.is_some());
    }
}

#[test]
fn a_period_of_retention_has_no_legal_month() {
    let (_, mut certificate) = with(&json!({}), true);
    certificate.due_at = Some(Timestamp(u64::MAX / 2));
    certificate.basis = Basis::Art17_1B;
    let page = render_page(&certificate, b"");
    assert!(page.contains("within the legal month") && page.contains("Art. 12(3)"));
    certificate.basis = Basis::Retention;
    let page = render_page(&certificate, b"");
    assert!(!page.contains("legal month") && !page.contains("Art. 12(3)"), "{page}");
}

#[test]
fn an_erasure_of_nobody_is_not_certified() {
    let mut ledger = TestLedger::new();
    for event_type in ["erasure.requested", "erasure.completed"] {
        ledger.system(event_type, &json!({"request": REQUEST, "subjects": []}));
    }
    let mut certificate = ledger.certificate();
    certificate.subjects.clear();
    let report = verify(&ledger.sign_certificate(&certificate));
    assert!(codes(&report).contains(&FindingCode::ErasureNotShown), "{report}");
}

#[test]
fn leaks_of_a_frozen_log_stand_on_the_word_of_the_certificate() {
    let frozen = "x.example/frozen";
    let (ledger, mut certificate) = with(&json!({"origin": frozen}), true);
    certificate.covers = Some(frozen.parse().unwrap());
    certificate.clear.frozen = vec![FrozenLeak {
        leak: Uuid::from_u128(9),
        reported_at: Timestamp(1),
        events: vec![7],
        outcome: None,
        settled_at: None,
    }];
    let document = ledger.sign_certificate(&certificate);
    let report = verify(&document);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let alone = report.notes.iter().find(|note| note.contains("alone")).unwrap();
    assert!(alone.contains("clear, frozen"), "{alone}");
    assert!(render_page(&certificate, &document).contains("stands in clear there"));
}

#[test]
fn an_event_that_names_what_does_not_stand_before_it_is_no_evidence() {
    for (event_type, own) in [
        ("leak.reported", false),
        ("leak.reported", true),
        ("bodies.redacted", true),
    ] {
        let mut ledger = TestLedger::sample();
        let index = ledger.size() + u64::from(!own);
        let data = match event_type {
            "leak.reported" => json!({"leak": REQUEST, "positions": [[index, 1]], "handles": [Handle([9; 16])]}),
            _ => json!({"ground": "secret", "positions": [[index, 1]]}),
        };
        let at = ledger.system(event_type, &data);
        let mut certificate = ledger.certificate();
        certificate.evidence.push(ledger.evidence(at));
        let report = verify(&ledger.sign_certificate(&certificate));
        assert_eq!(
            codes(&report),
            [FindingCode::AuthorityInvalid],
            "{event_type}: {report}"
        );
    }
}
