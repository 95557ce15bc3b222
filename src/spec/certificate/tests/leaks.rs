//! Leaks that name people of a certificate, recipients, and who asked.

use serde_json::{Value, json};

use super::*;
use crate::spec::testing::{ADA, REQUEST};

const LEAK: Uuid = Uuid::from_u128(9);

/// The sample with a report that event 1 has data of the erased person in clear, then what `end` says.
fn leaked(end: Option<(&str, Value)>) -> (TestLedger, Certificate) {
    let mut ledger = TestLedger::sample();
    let positions = [(1, 1), (3, 1)];
    let report = json!({"leak": LEAK, "positions": positions, "handles": [ADA], "by": "00ff", "roles": ["officer"]});
    let reported = ledger.system("leak.reported", &report);
    let settled = end.map(|(event_type, data)| {
        if event_type == "bodies.redacted" {
            ledger.remove(&positions);
        }
        ledger.system(event_type, &data)
    });
    let mut certificate = ledger.certificate();
    certificate.evidence.push(ledger.evidence(reported));
    let time = |index| header(&ledger, index).recorded_at;
    if let Some(settled) = settled {
        certificate.evidence.push(ledger.evidence(settled));
        certificate.clear.leaks = vec![CertifiedLeak {
            leak: LEAK,
            reported_at: time(reported),
            events: vec![1, 3],
            outcome: LeakOutcome::Redacted,
            settled_at: time(settled),
        }];
    }
    (ledger, certificate)
}

fn header(ledger: &TestLedger, index: u64) -> crate::spec::event::Header {
    crate::spec::event::Header::decode(&ledger.evidence(index).record().header).unwrap()
}

fn redacted() -> Option<(&'static str, Value)> {
    let data = json!({"ground": "personal_data", "positions": [[1, 1], [3, 1]]});
    Some(("bodies.redacted", data))
}

#[test]
fn a_leak_that_names_the_person_must_be_settled_and_told() {
    let (ledger, certificate) = leaked(redacted());
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let tweaks: [Tweak; 7] = [
        ("not told", |c| c.clear.leaks.clear()),
        ("told as withdrawn", |c| {
            c.clear.leaks[0].outcome = LeakOutcome::Withdrawn
        }),
        ("another time", |c| c.clear.leaks[0].settled_at.0 += 1),
        ("fewer events", |c| c.clear.leaks[0].events.truncate(1)),
        ("another report", |c| c.clear.leaks[0].leak = REQUEST),
        ("the redaction not shown", |c| drop(c.evidence.pop())),
        ("examined", |c| c.clear.examined = true),
    ];
    for (what, tweak) in tweaks {
        let mut tweaked = certificate.clone();
        tweak(&mut tweaked);
        let report = verify(&ledger.sign_certificate(&tweaked));
        assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
    }
}

#[test]
fn a_withdrawn_report_is_told_as_such_and_an_open_one_is_found() {
    let (ledger, mut certificate) = leaked(Some(("leak.withdrawn", json!({"leak": LEAK}))));
    assert_eq!(
        verify(&ledger.sign_certificate(&certificate)).verdict,
        Verdict::Tampered
    );
    certificate.clear.leaks[0].outcome = LeakOutcome::Withdrawn;
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let (ledger, certificate) = leaked(None);
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(codes(&report), [FindingCode::ErasureNotShown], "{report}");
    let partly = json!({"ground": "personal_data", "positions": [[1, 1]]});
    let (ledger, certificate) = leaked(Some(("bodies.redacted", partly)));
    let report = verify(&ledger.sign_certificate(&certificate));
    assert!(codes(&report).contains(&FindingCode::ErasureNotShown), "{report}");
}

#[test]
fn a_bundle_shows_a_leak_that_a_certificate_hides() {
    let (ledger, told) = leaked(redacted());
    let check = |certificate: &Certificate| {
        let document = ledger.sign_certificate(certificate);
        let bundle = ledger.bundle_of(None, &[(REQUEST, document)], |_| true);
        let options = crate::spec::verify::Options::default();
        crate::spec::bundle::verify_bundle(bundle.as_slice(), Trust::default(), options, &mut |_| {}).unwrap()
    };
    assert_eq!(check(&told).verdict, Verdict::Valid, "{}", check(&told));
    let mut hidden = told;
    hidden.evidence.truncate(2);
    hidden.clear.leaks.clear();
    assert_eq!(verify(&ledger.sign_certificate(&hidden)).verdict, Verdict::Valid);
    let report = check(&hidden);
    assert_eq!(codes(&report), [FindingCode::ErasureNotShown], "{report}");
}

#[test]
fn what_was_recorded_with_the_request_is_compared() {
    let mut ledger = TestLedger::new();
    let submitted_at = Timestamp(1_000_000_000_000_000);
    let subjects = json!([{"handle": ADA}]);
    let requested = json!({"request": REQUEST, "subjects": subjects, "submitted_at": submitted_at,
        "recipients": ["payroll", "tax-office"], "by": "00ff", "roles": ["officer", "admin"]});
    ledger.system("erasure.requested", &requested);
    let check = json!({"sampled": 3, "opened": 0, "keys_left": 0, "identity_resolves": false});
    let completed = json!({"request": REQUEST, "subjects": subjects, "verification": check});
    ledger.system("erasure.completed", &completed);
    let mut certificate = ledger.certificate();
    certificate.submitted_at = Some(submitted_at);
    certificate.recipients.named = vec!["payroll".parse().unwrap(), "tax-office".parse().unwrap()];
    certificate.by = Some(AskedBy {
        key: "00ff".into(),
        roles: vec!["officer".into(), "admin".into()],
    });
    certificate.verification.keys_left = Some(0);
    let report = verify(&ledger.sign_certificate(&certificate));
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let tweaks: [Tweak; 9] = [
        ("no submission", |c| c.submitted_at = None),
        ("another submission", |c| c.submitted_at = Some(Timestamp(1))),
        ("fewer recipients", |c| drop(c.recipients.named.pop())),
        ("no recipients", |c| c.recipients.named.clear()),
        ("nobody asked", |c| c.by = None),
        ("another key", |c| c.by.as_mut().unwrap().key = "11".into()),
        ("another role", |c| c.by.as_mut().unwrap().roles.truncate(1)),
        ("key rows left", |c| c.verification.keys_left = Some(1)),
        ("key rows not told", |c| c.verification.keys_left = None),
    ];
    for (what, tweak) in tweaks {
        let mut tweaked = certificate.clone();
        tweak(&mut tweaked);
        let report = verify(&ledger.sign_certificate(&tweaked));
        assert_eq!(report.verdict, Verdict::Tampered, "{what}: {report}");
    }
}
