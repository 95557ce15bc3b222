//! Reports that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::json;
use sha2::{Digest, Sha256};

mod life;
mod page;

use super::*;
use crate::spec::hash::leaf_hash;
use crate::spec::merkle::consistency_proof;
use crate::spec::merkle::naive::Naive;
use crate::spec::report::{Report, TrustState};
use crate::spec::signature::{Kind, Signer};
use crate::spec::system::{Basis, Reason};
use crate::spec::testing::TestLedger;
use crate::spec::verify::Trust;

const HOSTILE: &str = "<script>alert('x')</script>&\"=1";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn line(request: u128, requested: &str, due: &str, completed: Option<&str>, as_of: &str) -> ErasureLine {
    let mut line = ErasureLine {
        request: Uuid::from_u128(request),
        state: ErasureState::Open,
        requested_at: time(requested),
        begun_at: completed.map(|_| time(requested)),
        cancelled_at: None,
        due_at: time(due),
        completed_at: completed.map(time),
        seconds: 0,
        seconds_late: 0,
        subjects: 1,
        basis: Basis::Art17_1A,
        reason: Reason::Request,
        pending: vec!["epoch_key".into()],
    };
    line.settle(time(as_of));
    line
}

fn period() -> Period {
    Period {
        from: time("2026-02-01T00:00:00Z"),
        to: time("2026-03-01T00:00:00Z"),
        ended: true,
    }
}

fn erasures() -> Erasures {
    let as_of = "2026-03-01T00:00:00Z";
    let lines = vec![
        line(
            1,
            "2026-02-03T00:00:00Z",
            "2026-03-03T00:00:00Z",
            Some("2026-02-03T00:00:09Z"),
            as_of,
        ),
        line(
            2,
            "2026-01-01T00:00:00Z",
            "2026-02-01T00:00:00Z",
            Some("2026-02-03T00:00:00Z"),
            as_of,
        ),
        line(3, "2026-01-02T00:00:00Z", "2026-02-02T00:00:00Z", None, as_of),
        line(4, "2026-02-20T00:00:00Z", "2026-03-20T00:00:00Z", None, as_of),
    ];
    Erasures::of(lines, period(), 10)
}

/// A report on all of a ledger, with a hostile name wherever a caller can put one.
fn report(ledger: &TestLedger) -> ComplianceReport {
    let by = By {
        key: "00ff".into(),
        roles: vec!["officer".into()],
    };
    let at = time("2026-02-03T00:00:00Z");
    let size = ledger.size();
    let mut report = ComplianceReport {
        format: FORMAT.into(),
        id: Uuid::from_u128(7),
        ledger: "main".parse().unwrap(),
        origin: ledger.origin.clone(),
        period: period(),
        made_at: time("2026-03-02T00:00:00Z"),
        by: by.clone(),
        integrity: Integrity {
            verdict: Some(Verdict::Valid),
            tree_size: size,
            root: ledger.root(size),
            checkpoint: ledger.head(),
            verification: Some(Covering {
                id: Uuid::from_u128(8),
                finished_at: at,
                tree_size: size,
                verdict: Verdict::Valid,
                findings: 0,
                fast: false,
            }),
            last: None,
            statement: "".into(),
        },
        anchors: Anchors {
            vault: None,
            witnesses: 0,
            timestamps: 0,
        },
        events: Events {
            first_index: 0,
            end_index: size,
            total: size,
            own: 0,
            by_type: vec![TypeCount {
                event_type: "a-type".parse().unwrap(),
                count: size,
                own: false,
            }],
            unlisted: 0,
            unreadable: 0,
            by_day: vec![DayCount {
                day: day_of(at),
                callers: size,
                own: 0,
            }],
        },
        subjects: Subjects {
            active: 2,
            partly_erased: 1,
            erasing: 0,
            erased: 1,
        },
        erasures: erasures(),
        holds: life::proceedings(),
        restrictions: Proceedings::of(Vec::new(), period(), 10),
        retention: Proceedings::of(Vec::new(), period(), 10),
        redactions: Proceedings::of(Vec::new(), period(), 10),
        leaks: Proceedings::of(Vec::new(), period(), 10),
        backups: life::backups(),
        rotations: life::rotations(),
        keys: Keys {
            signing: Vec::new(),
            live_by_role: Vec::new(),
            recorded_here: false,
            created_by_role: Vec::new(),
            revoked_by_role: Vec::new(),
            acts: vec![KeyAct {
                at,
                index: 1,
                act: "created".into(),
                key: "00ff".into(),
                roles: vec![HOSTILE.into()],
                by: "init".into(),
            }],
            omitted: 0,
        },
        reveals: Reveals {
            requests: 1,
            blocks: 1,
            list: vec![Reveal {
                at,
                index: 2,
                by: by.clone(),
                events: 1,
                blocks: 1,
                people: 1,
            }],
            omitted: 0,
        },
        exports: Exports {
            created: 1,
            downloaded: 0,
            parts: 0,
            left: 0,
            opened: 0,
            list: vec![ExportAct {
                at,
                index: 3,
                act: "created".into(),
                export: Uuid::from_u128(9),
                by,
                opened: true,
                what: Some(HOSTILE.into()),
            }],
            omitted: 0,
        },
        verifications: Verifications {
            total: 0,
            with_findings: 0,
            failed: 0,
            list: Vec::new(),
            omitted: 0,
        },
        unreadable: Unreadable::of(Vec::new()),
        refused: Refused {
            total: 3,
            by_day: vec![RefusedDay {
                day: day_of(at),
                erased: 2,
                erasing: 1,
            }],
            proved: false,
        },
        limits: limits(),
    };
    say(&mut report);
    report
}

fn say(report: &mut ComplianceReport) {
    report.integrity.last.clone_from(&report.integrity.verification);
    report.integrity.statement = statement(&report.integrity).into();
}

/// Signs it as of before its own record, with a hand in the payload of that.
fn seal_with(
    ledger: &mut TestLedger,
    report: &ComplianceReport,
    stream: &str,
    tweak: fn(&mut ReportCreated),
) -> SignedReport {
    let signer = Signer::new(Kind::Report, ledger.certificate.clone()).unwrap();
    let document = signer.sign_document(report).unwrap();
    let mut created = ReportCreated {
        report: report.id,
        kind: "compliance".into(),
        from: report.period.from,
        to: report.period.to,
        sha256: Hash::from(<[u8; 32]>::from(Sha256::digest(&document))),
        form: "json".into(),
        by: "00ff".into(),
        roles: vec!["officer".into()],
    };
    tweak(&mut created);
    ledger.time = time("2026-03-02T00:00:01Z").0;
    let index = ledger.append(stream, REPORT_CREATED, Some(&json!(created).to_string()), 0);
    ledger.append("later", "thing.happened", None, 0);
    let leaves = ledger.records.iter().map(|record| leaf_hash(&record.header)).collect();
    let consistency = match report.integrity.tree_size {
        0 => Vec::new(),
        from => consistency_proof(from, ledger.size(), &Naive { leaves }).unwrap(),
    };
    SignedReport {
        format: SIGNED_FORMAT.into(),
        report: Some(serde_json::to_value(report).unwrap()),
        document: Base64(document),
        recorded: ledger.evidence(index),
        consistency,
        anchors: vec![ledger.evidence(0)],
        checkpoint: ledger.head(),
    }
}

fn seal(ledger: &mut TestLedger, report: &ComplianceReport) -> SignedReport {
    seal_with(ledger, report, REPORT_STREAM, |_| {})
}

fn verify(signed: &SignedReport) -> Report {
    verify_report(&serde_json::to_vec(signed).unwrap(), &Trust::default())
}

fn fields(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.field.as_str()).collect()
}

#[test]
fn a_report_is_checked_alone_and_under_a_pinned_key() {
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let signed = seal(&mut ledger, &report);
    let file = serde_json::to_vec_pretty(&signed).unwrap();
    assert!(is_report(&file));
    let found = verify_report(&file, &Trust::default());
    assert_eq!(
        (found.verdict, found.trust),
        (Verdict::Valid, TrustState::SelfConsistent),
        "{found}"
    );
    let trust = Trust {
        keys: vec![ledger.vkey()],
        ..Trust::default()
    };
    let found = verify_report(&file, &trust);
    assert_eq!(
        (found.verdict, found.trust),
        (Verdict::Valid, TrustState::Pinned),
        "{found}"
    );
    let other = TestLedger::with("audit.example.com/main", 2);
    let trust = Trust {
        keys: vec![other.vkey()],
        ..Trust::default()
    };
    assert_eq!(verify_report(&file, &trust).verdict, Verdict::Tampered);
}

#[test]
fn a_readable_copy_that_was_changed_is_named_by_its_field() {
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let signed = seal(&mut ledger, &report);
    for (pointer, field) in [
        ("/erasures/overdue", "report/erasures/overdue"),
        ("/erasures/list/0/state", "report/erasures/list/0/state"),
        ("/integrity/verdict", "report/integrity/verdict"),
        ("/limits/0", "report/limits/0"),
    ] {
        let mut changed = signed.clone();
        *changed.report.as_mut().unwrap().pointer_mut(pointer).unwrap() = json!("another");
        let found = verify(&changed);
        assert_eq!(
            (found.verdict, fields(&found)),
            (Verdict::Tampered, vec![field]),
            "{found}"
        );
    }
    let mut changed = signed.clone();
    changed
        .report
        .as_mut()
        .unwrap()
        .as_object_mut()
        .unwrap()
        .remove("limits");
    assert_eq!(fields(&verify(&changed)), ["report/limits"]);
}

#[test]
fn every_part_of_the_proof_is_needed() {
    type Tweak = (&'static str, fn(&mut SignedReport));
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let signed = seal(&mut ledger, &report);
    let tweaks: [Tweak; 7] = [
        ("document", |signed| *signed.document.0.last_mut().unwrap() ^= 1),
        ("format", |signed| signed.format.push('2')),
        ("consistency", |signed| signed.consistency.clear()),
        ("recorded", |signed| signed.recorded = signed.anchors[0].clone()),
        ("inclusion", |signed| {
            signed.recorded.inclusion.hashes[0] = Hash::from([0; 32])
        }),
        ("checkpoint", |signed| {
            signed.checkpoint = signed.checkpoint.replace("main\n", "other\n")
        }),
        ("no data", |signed| signed.recorded.bodies.truncate(1)),
    ];
    for (what, tweak) in tweaks {
        let mut changed = signed.clone();
        tweak(&mut changed);
        assert_eq!(verify(&changed).verdict, Verdict::Tampered, "{what}");
    }
    let mut bare = signed.clone();
    bare.anchors.clear();
    assert_eq!(verify(&bare).verdict, Verdict::Incomplete);
}

#[test]
fn a_report_must_be_the_one_that_the_ledger_recorded() {
    type Tweak = (&'static str, fn(&mut ReportCreated));
    let tweaks: [Tweak; 3] = [
        ("recorded, sha256", |created| created.sha256 = Hash::from([0; 32])),
        ("document, id", |created| created.report = Uuid::from_u128(1)),
        ("document, period, from", |created| created.from.0 += 1),
    ];
    for (field, tweak) in tweaks {
        let mut ledger = TestLedger::sample();
        let report = report(&ledger);
        let found = verify(&seal_with(&mut ledger, &report, REPORT_STREAM, tweak));
        assert_eq!(
            (found.verdict, fields(&found)),
            (Verdict::Tampered, vec![field]),
            "{found}"
        );
    }
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let found = verify(&seal_with(&mut ledger, &report, "reports", |_| {}));
    assert_eq!(
        (found.verdict, fields(&found)),
        (Verdict::Tampered, vec!["recorded"]),
        "{found}"
    );
}

#[test]
fn a_report_that_contradicts_itself_is_found_though_it_is_signed() {
    type Tweak = (&'static str, fn(&mut ComplianceReport));
    let tweaks: [Tweak; 19] = [
        ("document, holds", |report| report.holds.open = 0),
        ("document, leaks", |report| report.leaks.total = 1),
        ("document, redactions", |report| {
            report.redactions.list = vec![life::proceeding(
                1,
                "2026-01-03T00:00:00Z",
                Some("2026-01-04T00:00:00Z"),
            )];
            report.redactions.total = 1;
        }),
        ("document, backups", |report| report.backups.begun = 2),
        ("document, rotations", |report| report.rotations.changed = 3),
        ("document, events, by_type", |report| report.events.unreadable = 1),
        ("document, unreadable, total", |report| report.unreadable.total = 7),
        ("document, erasures", |report| report.erasures.overdue = 0),
        ("document, erasures, list", |report| {
            report.erasures.list[0].state = ErasureState::Completed
        }),
        ("document, reveals, blocks", |report| report.reveals.blocks = 0),
        ("document, exports", |report| report.exports.downloaded = 1),
        ("document, limits", |report| report.limits.truncate(1)),
        ("document, made_at", |report| {
            report.made_at = time("2026-02-27T00:00:00Z")
        }),
        ("document, events, by_type", |report| {
            report.events.by_type[0].count += 1
        }),
        ("document, events, by_day", |report| report.events.by_day.clear()),
        ("document, integrity, verdict", |report| {
            report.integrity.verification = None
        }),
        ("document, integrity, verdict", |report| {
            report.integrity.verification.as_mut().unwrap().tree_size -= 1
        }),
        ("document, integrity, verdict", |report| {
            report.integrity.verification.as_mut().unwrap().verdict = Verdict::Tampered
        }),
        ("document, integrity, root", |report| {
            report.integrity.root = Hash::from([0; 32])
        }),
    ];
    for (field, tweak) in tweaks {
        let mut ledger = TestLedger::sample();
        let mut report = report(&ledger);
        tweak(&mut report);
        say(&mut report);
        let found = verify(&seal(&mut ledger, &report));
        assert_eq!(found.verdict, Verdict::Tampered, "{found}");
        assert_eq!(fields(&found)[0], field, "{found}");
    }
}

#[test]
fn a_statement_of_its_own_is_found_and_nothing_is_said_to_be_shown() {
    let mut ledger = TestLedger::sample();
    let mut report = report(&ledger);
    report.integrity.statement = "Nothing was ever wrong.".into();
    let found = verify(&seal(&mut ledger, &report));
    assert_eq!(fields(&found), ["document, integrity, statement"], "{found}");
    assert!(found.notes.is_empty(), "{found}");
}

#[test]
fn a_period_before_the_ledger_began_is_about_the_empty_tree() {
    let mut ledger = TestLedger::sample();
    let mut report = report(&ledger);
    report.integrity.tree_size = 0;
    report.integrity.root = Hash::from(<[u8; 32]>::from(Sha256::digest(b"")));
    (report.integrity.verdict, report.integrity.verification) = (None, None);
    say(&mut report);
    report.events = Events {
        first_index: 0,
        end_index: 0,
        total: 0,
        own: 0,
        by_type: Vec::new(),
        unlisted: 0,
        unreadable: 0,
        by_day: Vec::new(),
    };
    let signed = seal(&mut ledger, &report);
    assert_eq!(verify(&signed).verdict, Verdict::Valid, "{}", verify(&signed));
    let page = render_page(&report, &signed);
    assert!(page.contains("No event was recorded in this period") && page.contains("not verified"));
}

#[test]
fn what_is_no_report_is_not_taken_for_one() {
    let ledger = TestLedger::sample();
    let receipt = serde_json::to_vec(&ledger.receipt(&[1])).unwrap();
    for file in [
        b"".as_slice(),
        b"{}",
        b"<!DOCTYPE html><p>",
        &receipt,
        b"{\"format\":\"other\"}",
    ] {
        assert!(!is_report(file));
    }
    let found = verify_report(b"{\"format\":\"oubliette/signed-report/v1\"}", &Trust::default());
    assert_eq!(found.verdict, Verdict::Tampered);
}
