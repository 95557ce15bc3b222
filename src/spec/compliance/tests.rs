//! Reports that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use serde_json::json;
use sha2::{Digest, Sha256};

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

fn proceeding(id: u128, begun: &str, ended: Option<&str>) -> Proceeding {
    Proceeding {
        id: Uuid::from_u128(id),
        index: 1,
        begun_at: time(begun),
        ended_at: ended.map(time),
        state: if ended.is_some() { "released" } else { "active" }.into(),
        code: Some(HOSTILE.into()),
        by: By {
            key: "00ff".into(),
            roles: vec!["officer".into()],
        },
        counts: [("people".into(), 2)].into(),
    }
}

/// One that ended before the period, one that ended in it, one that is open, one that began after it.
fn proceedings() -> Proceedings {
    let list = vec![
        proceeding(4, "2026-03-01T00:00:00Z", None),
        proceeding(3, "2026-02-03T00:00:00Z", None),
        proceeding(2, "2026-01-03T00:00:00Z", Some("2026-02-04T00:00:00Z")),
        proceeding(1, "2026-01-03T00:00:00Z", Some("2026-01-04T00:00:00Z")),
    ];
    Proceedings::of(list, period(), 10)
}

fn backups() -> Backups {
    let line = |index: u64, begun: &str, expired: bool| BackupLine {
        backup: Uuid::from_u128(u128::from(index)),
        index,
        begun_at: time(begun),
        by: By {
            key: "00ff".into(),
            roles: Vec::new(),
        },
        known: Some(KnownCopy {
            state: "completed".into(),
            epoch: 3,
            keys_die_at: (!expired).then(|| time("2026-03-07T00:00:00Z")),
            expired,
        }),
    };
    let list = vec![
        line(1, "2026-01-03T00:00:00Z", true),
        line(2, "2026-01-04T00:00:00Z", false),
        line(3, "2026-02-04T00:00:00Z", true),
    ];
    Backups::of(list, period())
}

fn rotations() -> Rotations {
    let line = |index: u64, act, from: Option<u32>, to: Option<u32>| Rotation {
        at: time("2026-02-03T00:00:00Z"),
        index,
        act,
        from,
        to,
        by: None,
    };
    let list = vec![
        line(9, RotationAct::Renewed, None, None),
        line(2, RotationAct::ChangedByErasure, Some(1), Some(2)),
        line(3, RotationAct::ChangedByErasure, Some(1), Some(2)),
        line(4, RotationAct::Changed, Some(2), Some(3)),
        line(5, RotationAct::Destroyed, Some(1), None),
    ];
    Rotations::of(list, 10)
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
        holds: proceedings(),
        restrictions: Proceedings::of(Vec::new(), period(), 10),
        retention: Proceedings::of(Vec::new(), period(), 10),
        redactions: Proceedings::of(Vec::new(), period(), 10),
        leaks: Proceedings::of(Vec::new(), period(), 10),
        backups: backups(),
        rotations: rotations(),
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
            report.redactions.list = vec![proceeding(1, "2026-01-03T00:00:00Z", Some("2026-01-04T00:00:00Z"))];
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

/// The name of the renderer stands for its output: with another output comes another name, and another hash here.
#[test]
fn a_renderer_makes_the_same_bytes_for_ever() {
    let mut ledger = TestLedger::sample();
    let mut report = report(&ledger);
    report.limits = vec!["Not all.".into()];
    let mut signed = seal(&mut ledger, &report);
    signed.document = Base64(b"fixed".to_vec());
    signed.recorded = ledger.evidence(0);
    (signed.anchors, signed.consistency) = (Vec::new(), Vec::new());
    signed.checkpoint = "fixed".into();
    report.integrity.checkpoint = "fixed".into();
    let page = render_page(&report, &signed);
    assert_eq!(page::KIND.renderer, "oubliette-report-page/2");
    assert_eq!(
        hex::encode(Sha256::digest(page)),
        "2e9a4c9659fe08a1d41d6e47f67f28e83bc4c53b168b65ed3e49f3a483753326"
    );
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
fn a_page_is_valid_as_it_was_made_and_no_byte_else() {
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let signed = seal(&mut ledger, &report);
    let page = render_page(&report, &signed);
    assert!(is_report(page.as_bytes()));
    let check = |page: &str| verify_report(page.as_bytes(), &Trust::default());
    assert_eq!(check(&page).verdict, Verdict::Valid, "{}", check(&page));
    for (from, to, section) in [
        ("open, overdue", "completed", "page, erasures"),
        ("It covers one ledger", "It covers every ledger", "page, limits"),
        ("</main>", "<p>One more.</p></main>", "page, proof"),
    ] {
        let found = check(&page.replacen(from, to, 1));
        assert_eq!(found.verdict, Verdict::Tampered, "{found}");
        assert!(found.findings[0].field.starts_with(section), "{found}");
    }
    let found = check(&page.replace("oubliette-report-page/2", "oubliette-report-page/3"));
    assert_eq!(
        (found.verdict, found.findings[0].code),
        (Verdict::Incomplete, FindingCode::PageUnchecked)
    );
    assert_eq!(check(&(page.clone() + "<p>after</p>")).verdict, Verdict::Tampered);
    assert_eq!(
        check(
            page.split("oubliette-signed")
                .next()
                .unwrap()
                .split("{\"format\"")
                .next()
                .unwrap()
        )
        .verdict,
        Verdict::Tampered
    );
}

#[test]
fn hostile_names_stay_text_in_the_page() {
    let mut ledger = TestLedger::sample();
    let report = report(&ledger);
    let page = render_page(&report, &seal(&mut ledger, &report));
    assert_eq!(page.matches("<script").count(), 1, "the block of data and nothing else");
    assert_eq!(page.matches("&lt;script&gt;alert(").count(), 4);
    assert!(
        !page.contains("<script>") && !page.contains("http://") && !page.contains("https://") && !page.contains("src=")
    );
}

#[test]
fn late_erasures_come_first_and_are_counted_apart() {
    let erasures = erasures();
    let order: Vec<_> = erasures
        .list
        .iter()
        .map(|line| (line.request.as_u128(), line.state))
        .collect();
    assert_eq!(
        order,
        [
            (3, ErasureState::Overdue),
            (2, ErasureState::CompletedLate),
            (1, ErasureState::Completed),
            (4, ErasureState::Open),
        ]
    );
    assert_eq!((erasures.total, erasures.requested, erasures.completed), (4, 2, 2));
    assert_eq!(
        (
            erasures.completed_late,
            erasures.overdue,
            erasures.open,
            erasures.late()
        ),
        (1, 1, 1, 2)
    );
    assert_eq!(erasures.list[1].seconds_late, 2 * 86_400);
    assert_eq!(erasures.list[2].seconds, 9);
    let cut = Erasures::of(erasures.list, period(), 1);
    assert_eq!((cut.list.len(), cut.omitted, cut.total, cut.open), (1, 3, 4, 1));
}

#[test]
fn what_was_open_in_the_period_is_in_the_report_as_it_stood_at_its_end() {
    let holds = proceedings();
    let ids: Vec<_> = holds.list.iter().map(|line| line.id.as_u128()).collect();
    assert_eq!(ids, [2, 3]);
    assert_eq!((holds.total, holds.begun, holds.ended, holds.open), (2, 1, 1, 1));
    let cut = Proceedings::of(holds.list, period(), 1);
    assert_eq!((cut.list.len(), cut.omitted, cut.total, cut.open), (1, 1, 2, 1));
    let backups = backups();
    let kept: Vec<_> = backups.list.iter().map(|line| line.index).collect();
    assert_eq!((kept.as_slice(), backups.begun), ([2, 3].as_slice(), 1));
    let rotations = rotations();
    assert_eq!(
        (rotations.changed, rotations.destroyed, rotations.renewed),
        (2, 1, 1),
        "two erasures shared a change"
    );
}

#[test]
fn an_erasure_that_waits_counts_against_its_month_and_one_that_was_taken_back_does_not() {
    let mut waiting = line(
        5,
        "2026-01-10T00:00:00Z",
        "2026-02-10T00:00:00Z",
        None,
        "2026-03-01T00:00:00Z",
    );
    let mut cancelled = waiting.clone();
    (cancelled.request, cancelled.cancelled_at) = (Uuid::from_u128(6), Some(time("2026-02-20T00:00:00Z")));
    cancelled.settle(time("2026-03-01T00:00:00Z"));
    waiting.settle(time("2026-03-01T00:00:00Z"));
    let erasures = Erasures::of(vec![cancelled, waiting], period(), 10);
    assert_eq!(
        (erasures.overdue, erasures.cancelled, erasures.waiting, erasures.late()),
        (1, 1, 1, 1)
    );
    assert_eq!(erasures.list[1].seconds_late, 0);
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
