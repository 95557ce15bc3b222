//! What must be found, and what must not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::spec::note::VerifierKey;
use crate::spec::report::Verdict;
use crate::spec::testing::{REQUEST, TestLedger};

/// Ways to verify: strictly and in batches.
const BOTH: [Options; 2] = [
    Options {
        fast: false,
        selection: false,
    },
    Options {
        fast: true,
        selection: false,
    },
];

fn entries(records: &[Record]) -> Vec<Entry> {
    records.iter().cloned().map(Entry::Event).collect()
}

fn run(head: &str, entries: &[Entry], trust: &Trust, options: Options, chunk: usize) -> Report {
    let mut verification = Verification::new(Object::Ledger, trust.clone(), options);
    verification.expect_head("checkpoint", head.as_bytes());
    entries.chunks(chunk.max(1)).for_each(|chunk| verification.feed(chunk));
    verification.finish(End::Reached)
}

fn verify(ledger: &TestLedger) -> Report {
    verify_with(ledger, &Trust::default())
}

fn verify_with(ledger: &TestLedger, trust: &Trust) -> Report {
    let reports = BOTH.map(|options| run(&ledger.head(), &entries(&ledger.records), trust, options, 1_000));
    let [strict, fast] = reports;
    assert_eq!((strict.verdict, &strict.findings), (fast.verdict, &fast.findings));
    strict
}

fn codes(report: &Report) -> Vec<(Option<u64>, FindingCode)> {
    report
        .findings
        .iter()
        .map(|finding| (finding.index, finding.code))
        .collect()
}

#[track_caller]
fn assert_tampered(report: &Report, index: u64, code: FindingCode) {
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(codes(report).contains(&(Some(index), code)), "{:#?}", report.findings);
}

#[track_caller]
fn assert_only(report: &Report, index: Option<u64>, code: FindingCode) {
    assert_eq!(codes(report), [(index, code)], "{:#?}", report.findings);
}

#[test]
fn an_intact_ledger_is_valid_and_everything_in_it_was_checked() {
    let ledger = TestLedger::sample();
    let report = verify(&ledger);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    assert_eq!(report.trust, TrustState::SelfConsistent);
    assert_eq!(
        report.checked,
        Checked {
            events: 7,
            signatures: 7,
            bodies: 13,
            checkpoints: 1
        }
    );
    assert_eq!(
        report.bodies,
        Bodies {
            present: 13,
            erased: 3,
            ..Bodies::default()
        }
    );
    assert_eq!((report.tree_size, report.root), (7, Some(ledger.root(7))));
    assert_eq!(report.key, Some(ledger.vkey().to_string()));
}

#[test]
fn a_pinned_key_of_the_ledger_pins_and_any_other_is_a_finding() {
    let (ledger, other) = (TestLedger::sample(), TestLedger::with("audit.example.com/main", 2));
    let trust = |keys: &[VerifierKey]| Trust {
        keys: keys.to_vec(),
        ..Trust::default()
    };
    let report = verify_with(&ledger, &trust(&[other.vkey(), ledger.vkey()]));
    assert_eq!((report.verdict, report.trust), (Verdict::Valid, TrustState::Pinned));
    let event_key = |ledger: &TestLedger| {
        let (name, key) = (ledger.vkey().name().clone(), ledger.event.public().as_bytes());
        VerifierKey::new(name, crate::spec::note::SignatureType::Ed25519, key).unwrap()
    };
    assert_eq!(
        verify_with(&ledger, &trust(&[event_key(&ledger)])).trust,
        TrustState::Pinned
    );
    for key in [other.vkey(), event_key(&other)] {
        let report = verify_with(&ledger, &trust(&[key]));
        assert_eq!(
            (report.verdict, report.trust),
            (Verdict::Tampered, TrustState::SelfConsistent)
        );
        assert_only(&report, None, FindingCode::KeyNotPinned);
    }
}

#[test]
fn the_certificate_key_pins_nothing_since_anyone_can_announce_it() {
    let ledger = TestLedger::sample();
    let name = ledger.vkey().name().clone();
    let key = ledger.certificate.verifying_key();
    let key = VerifierKey::new(name, crate::spec::note::SignatureType::Ed25519, key.as_bytes()).unwrap();
    let report = verify_with(
        &ledger,
        &Trust {
            keys: vec![key],
            ..Trust::default()
        },
    );
    assert_only(&report, None, FindingCode::KeyNotPinned);
}

#[test]
fn another_origin_than_the_pinned_one_is_a_finding() {
    let trust = |origin: &str| Trust {
        origin: Some(origin.parse().unwrap()),
        ..Trust::default()
    };
    assert_eq!(
        verify_with(&TestLedger::sample(), &trust("audit.example.com/main")).verdict,
        Verdict::Valid
    );
    let report = verify_with(&TestLedger::sample(), &trust("audit.example.com/other"));
    assert_only(&report, None, FindingCode::OriginMismatch);
}

#[test]
fn every_event_dropped_repeated_or_swapped_is_found_at_its_place() {
    let ledger = TestLedger::sample();
    let head = ledger.head();
    for at in 0..ledger.records.len() {
        let mut dropped = ledger.records.clone();
        dropped.remove(at);
        let mut repeated = ledger.records.clone();
        repeated.insert(at, ledger.records[at].clone());
        let mut cases = vec![(at, dropped), (at, repeated)];
        if at > 0 {
            let mut swapped = ledger.records.clone();
            swapped.swap(at - 1, at);
            cases.push((at - 1, swapped));
        }
        for (place, records) in cases {
            for options in BOTH {
                let report = run(&head, &entries(&records), &Trust::default(), options, 3);
                assert_eq!(report.verdict, Verdict::Tampered);
                let first = report.findings.first().unwrap();
                let named = match first.index {
                    Some(index) => index.abs_diff(place as u64) <= 1,
                    None => first.code == FindingCode::TooFewEvents && place == 6,
                };
                assert!(named, "{place}: {:#?}", report.findings);
            }
        }
    }
}

#[test]
fn a_shortened_ledger_is_found_by_its_checkpoint() {
    let ledger = TestLedger::sample();
    for length in 0..7 {
        let report = run(
            &ledger.head(),
            &entries(&ledger.records[..length]),
            &Trust::default(),
            BOTH[0],
            10,
        );
        assert_eq!(report.verdict, Verdict::Tampered);
        assert!(codes(&report).contains(&(None, FindingCode::TooFewEvents)));
    }
}

#[test]
fn events_beyond_the_checkpoint_are_found() {
    let ledger = TestLedger::sample();
    let report = run(
        &ledger.checkpoint_at(6),
        &entries(&ledger.records),
        &Trust::default(),
        BOTH[0],
        10,
    );
    assert_only(&report, None, FindingCode::TooManyEvents);
}

#[test]
fn without_a_checkpoint_a_ledger_is_incomplete() {
    let mut verification = Verification::new(Object::Ledger, Trust::default(), Options::default());
    verification.feed(&entries(&TestLedger::sample().records));
    let report = verification.finish(End::Reached);
    assert_eq!(report.verdict, Verdict::Incomplete);
    assert_only(&report, None, FindingCode::CheckpointAbsent);
}

#[test]
fn every_flipped_byte_of_every_event_is_found_in_that_event() {
    let ledger = TestLedger::sample();
    let head = ledger.head();
    let flip = |at: usize, part: &dyn Fn(&mut Record) -> Option<&mut u8>| {
        let mut records = ledger.records.clone();
        let Some(byte) = part(&mut records[at]) else {
            return false;
        };
        *byte ^= 0x04;
        let report = run(&head, &entries(&records), &Trust::default(), BOTH[0], 10);
        assert_eq!(report.verdict, Verdict::Tampered);
        let named = report.findings.iter().any(|finding| finding.index == Some(at as u64));
        assert!(named, "{at}: {:#?}", report.findings);
        true
    };
    for at in 0..ledger.records.len() {
        (0..)
            .take_while(|byte| flip(at, &|record| record.header.get_mut(*byte)))
            .for_each(drop);
        (0..)
            .take_while(|byte| flip(at, &|record| record.signature.get_mut(*byte)))
            .for_each(drop);
        for body in 0..ledger.records[at].bodies.len() {
            let salt = |byte: &usize| flip(at, &|record| record.bodies[body].salt.get_mut(*byte));
            (0..).take_while(salt).for_each(drop);
            let bytes = |byte: &usize| flip(at, &|record| record.bodies[body].bytes.get_mut(*byte));
            (0..).take_while(bytes).for_each(drop);
        }
    }
}

#[test]
fn a_signature_by_another_key_is_found() {
    let mut ledger = TestLedger::sample();
    let other = TestLedger::with("audit.example.com/main", 2);
    ledger.records[2].signature = other.event.sign_detached(&ledger.records[2].header);
    assert_only(&verify(&ledger), Some(2), FindingCode::SignatureUnknownKey);
    ledger.records[2].signature = ledger.event.sign_detached(b"another header");
    assert_only(&verify(&ledger), Some(2), FindingCode::SignatureInvalid);
    ledger.records[2].signature = Vec::new();
    assert_only(&verify(&ledger), Some(2), FindingCode::SignatureMalformed);
}

#[test]
fn a_ledger_whose_first_event_announces_another_event_key_is_found() {
    let mut ledger = TestLedger::sample();
    let other = TestLedger::with("audit.example.com/main", 2);
    ledger.records[0] = other.records[0].clone();
    let report = verify(&ledger);
    assert_tampered(&report, 1, FindingCode::SignatureUnknownKey);
    assert_tampered(&report, 1, FindingCode::PreviousMismatch);
}

#[test]
fn a_ledger_that_does_not_begin_with_its_keys_is_not_one() {
    let ledger = TestLedger::sample();
    let report = run(
        &ledger.head(),
        &entries(&ledger.records[1..]),
        &Trust::default(),
        BOTH[0],
        10,
    );
    assert_tampered(&report, 1, FindingCode::LedgerCreatedInvalid);
    assert_eq!((report.checked.signatures, report.key), (0, None));
    let nothing = run(&ledger.head(), &[], &Trust::default(), BOTH[0], 10);
    assert_eq!(nothing.verdict, Verdict::Tampered);
}

#[test]
fn ledger_created_stands_at_index_0_alone() {
    let mut ledger = TestLedger::sample();
    let created = serde_json::to_value(ledger.created()).unwrap();
    let index = ledger.system("ledger.created", &created);
    assert_only(&verify(&ledger), Some(index), FindingCode::LedgerCreatedInvalid);
}

#[test]
fn a_missing_body_without_authority_is_tampering() {
    for position in [(1, 0), (1, 1), (3, 0), (3, 1)] {
        let mut ledger = TestLedger::sample();
        ledger.remove(&[position]);
        let report = verify(&ledger);
        assert_only(&report, Some(position.0), FindingCode::Missing);
        assert_eq!((report.verdict, report.bodies.missing), (Verdict::Tampered, 1));
    }
}

#[test]
fn a_missing_body_is_what_its_authority_says() {
    let mut ledger = TestLedger::sample();
    ledger.remove(&[(1, 1), (3, 0), (3, 1)]);
    ledger.system("bodies.redacted", &json!({"ground": "leak", "positions": [[1, 1]]}));
    ledger.system(
        "bodies.purged",
        &json!({"ground": "retention", "positions": [[3, 0], [3, 1]]}),
    );
    ledger.purge(&[(1, 0)]);
    let report = verify(&ledger);
    assert_eq!(report.verdict, Verdict::Valid, "{report}");
    let expected = Bodies {
        present: 15,
        erased: 3,
        purged: 3,
        redacted: 1,
        ..Bodies::default()
    };
    assert_eq!(report.bodies, expected);
}

#[test]
fn erased_wins_over_purged() {
    let mut ledger = TestLedger::new();
    ledger.append("order-1", "order.placed", None, 2);
    ledger.erase();
    ledger.remove(&[(1, 1), (1, 2)]);
    ledger.system(
        "bodies.purged",
        &json!({"ground": "retention", "positions": [[1, 1], [1, 2]]}),
    );
    ledger.purge(&[(1, 1)]);
    ledger.system("bodies.redacted", &json!({"ground": "leak", "positions": [[1, 1]]}));
    let report = verify(&ledger);
    assert_eq!(
        (report.verdict, report.bodies.erased, report.bodies.purged),
        (Verdict::Valid, 1, 1)
    );
}

#[test]
fn an_authority_excuses_only_the_position_that_it_names() {
    let mut ledger = TestLedger::new();
    ledger.append("order-1", "order.placed", Some("1"), 1);
    ledger.append("order-1", "order.placed", Some("2"), 1);
    ledger.erase();
    ledger.purge(&[(1, 2)]);
    ledger.remove(&[(2, 2)]);
    assert_only(&verify(&ledger), Some(2), FindingCode::Missing);
}

#[test]
fn an_event_of_another_type_is_no_authority() {
    let mut ledger = TestLedger::new();
    ledger.append("order-1", "order.placed", Some("1"), 0);
    ledger.remove(&[(1, 1)]);
    let data = json!({"ground": "retention", "positions": [[1, 1]]}).to_string();
    ledger.append("order-1", "notes.bodies.purged", Some(&data), 0);
    ledger.append("$bodies", "Bodies.purged", Some(&data), 0);
    assert_only(&verify(&ledger), Some(1), FindingCode::Missing);
}

#[test]
fn an_event_in_a_callers_stream_is_no_authority() {
    let mut ledger = TestLedger::new();
    ledger.append("order-1", "order.placed", Some("1"), 0);
    ledger.remove(&[(1, 1)]);
    let data = json!({"ground": "retention", "positions": [[1, 1]]}).to_string();
    ledger.append("order-1", "bodies.purged", Some(&data), 0);
    let report = verify(&ledger);
    assert_eq!(
        codes(&report),
        [
            (Some(2), FindingCode::AuthorityInvalid),
            (Some(1), FindingCode::Missing)
        ]
    );
}

#[test]
fn an_authority_that_breaks_its_rules_excuses_nothing() {
    for data in [
        json!({"ground": "erasure", "requests": [REQUEST], "positions": [[1, 1]]}), // no such request before it
        json!({"ground": "erasure", "positions": [[1, 1]]}),
        json!({"ground": "retention", "positions": [[1, 1]], "also": 1}),
        json!({"ground": "retention", "positions": "all"}),
    ] {
        let mut ledger = TestLedger::new();
        ledger.append("order-1", "order.placed", Some("1"), 0);
        ledger.remove(&[(1, 1)]);
        ledger.system("bodies.purged", &data);
        let report = verify(&ledger);
        assert_eq!(
            codes(&report),
            [
                (Some(2), FindingCode::AuthorityInvalid),
                (Some(1), FindingCode::Missing)
            ]
        );
    }
}

#[test]
fn an_authority_speaks_of_the_past_alone() {
    let mut ledger = TestLedger::new();
    ledger.system("bodies.purged", &json!({"ground": "retention", "positions": [[2, 1]]}));
    ledger.append("order-1", "order.placed", Some("1"), 0);
    ledger.remove(&[(2, 1)]);
    let report = verify(&ledger);
    assert_eq!(
        codes(&report),
        [
            (Some(1), FindingCode::AuthorityInvalid),
            (Some(2), FindingCode::Missing)
        ]
    );
}

#[test]
fn a_forged_authority_excuses_nothing() {
    let mut ledger = TestLedger::sample();
    ledger.records[6].signature = TestLedger::with("x.example/y", 2)
        .event
        .sign_detached(&ledger.records[6].header);
    let report = verify(&ledger);
    assert_tampered(&report, 6, FindingCode::SignatureUnknownKey);
    assert_tampered(&report, 1, FindingCode::Missing);
    assert_eq!(report.bodies.missing, 3);
}

#[test]
fn the_public_bodies_of_oubliettes_own_events_are_never_excused() {
    for event in [4, 5, 6] {
        for ordinal in [0, 1] {
            let mut ledger = TestLedger::sample();
            ledger.remove(&[(event, ordinal)]);
            let claim = json!({"ground": "retention", "positions": [[event, ordinal]]});
            ledger.system("bodies.purged", &claim);
            assert_tampered(&verify(&ledger), event, FindingCode::Missing);
        }
    }
}

#[test]
fn a_body_that_is_there_although_it_was_purged_is_found() {
    let mut ledger = TestLedger::sample();
    ledger.system("bodies.purged", &json!({"ground": "retention", "positions": [[3, 1]]}));
    assert_only(&verify(&ledger), Some(3), FindingCode::PurgedButPresent);
}

#[test]
fn bodies_out_of_order_or_beyond_the_header_are_found() {
    let mut ledger = TestLedger::sample();
    ledger.records[3].bodies.swap(0, 1);
    assert_tampered(&verify(&ledger), 3, FindingCode::BodyUnexpected);
    let mut ledger = TestLedger::sample();
    let again = ledger.records[3].bodies[1].clone();
    ledger.records[3].bodies.push(again);
    assert_only(&verify(&ledger), Some(3), FindingCode::BodyUnexpected);
}

#[test]
fn an_unknown_type_of_oubliettes_own_makes_the_report_incomplete() {
    let mut ledger = TestLedger::sample();
    let index = ledger.system("key.rotated", &json!({}));
    let report = verify(&ledger);
    assert_only(&report, Some(index), FindingCode::UnknownSystemEvent);
    assert_eq!(report.verdict, Verdict::Incomplete);
}

#[test]
fn time_that_goes_backwards_is_found() {
    let mut ledger = TestLedger::sample();
    let index = ledger.append_as("order-1", "order.late", None, 0, |header| {
        header.recorded_at.0 -= 10_000
    });
    assert_only(&verify(&ledger), Some(index), FindingCode::TimeDecreased);
}

#[test]
fn a_stream_version_that_is_skipped_or_repeated_is_found() {
    for change in [1_i64, -1] {
        let mut ledger = TestLedger::sample();
        let index = ledger.append_as("order-1", "order.late", None, 0, |header| {
            header.stream_version = header.stream_version.saturating_add_signed(change);
        });
        assert_only(&verify(&ledger), Some(index), FindingCode::StreamVersionMismatch);
    }
}

#[test]
fn a_wrong_link_or_origin_is_found_even_if_it_is_signed() {
    let mut ledger = TestLedger::sample();
    let index = ledger.append_as("order-1", "order.late", None, 0, |header| {
        header.previous = Some([3; 32].into())
    });
    assert_only(&verify(&ledger), Some(index), FindingCode::PreviousMismatch);
    let mut ledger = TestLedger::sample();
    let other = "audit.example.com/other";
    let index = ledger.append_as("order-1", "order.late", None, 0, |header| {
        header.origin = other.parse().unwrap()
    });
    assert_only(&verify(&ledger), Some(index), FindingCode::OriginMismatch);
    let mut ledger = TestLedger::sample();
    let index = ledger.append_as("order-1", "order.late", None, 0, |header| header.index += 1);
    assert_only(&verify(&ledger), Some(index), FindingCode::IndexMismatch);
}

#[test]
fn a_body_that_holds_but_is_not_of_its_format_is_found() {
    use crate::spec::event::{Body, BodyKind};
    let mut ledger = TestLedger::sample();
    let index = ledger.append_as("order-1", "order.late", None, 1, |header| {
        let body = Body {
            kind: BodyKind::Sealed,
            salt: [1; 32],
            bytes: b"no block".to_vec(),
        };
        header.bodies[1] = body.commitment();
    });
    let body = &mut ledger.records[index as usize].bodies[1];
    (body.salt, body.bytes) = ([1; 32], b"no block".to_vec());
    assert_only(&verify(&ledger), Some(index), FindingCode::BodyInvalid);
}

fn with_head(ledger: &TestLedger, head: &str) -> Report {
    run(head, &entries(&ledger.records), &Trust::default(), BOTH[0], 10)
}

#[test]
fn a_checkpoint_of_another_ledger_key_or_tree_is_refused() {
    let ledger = TestLedger::sample();
    let mut other_tree = TestLedger::new();
    other_tree.append_many(6);
    assert_only(&with_head(&ledger, &other_tree.head()), None, FindingCode::RootMismatch);
    let mut other_key = TestLedger::sample();
    other_key.checkpoint = TestLedger::with("audit.example.com/main", 2).checkpoint;
    assert_only(
        &with_head(&ledger, &other_key.head()),
        None,
        FindingCode::CheckpointSignature,
    );
    let mut other_ledger = TestLedger::with("audit.example.com/other", 2);
    other_ledger.append_many(6);
    let report = with_head(&ledger, &other_ledger.head());
    assert_eq!(report.verdict, Verdict::Tampered);
    assert_only(&report, None, FindingCode::CheckpointSignature);
    let unsigned = with_head(&ledger, "no note");
    assert_tampered_code(&unsigned, FindingCode::CheckpointMalformed);
}

#[track_caller]
fn assert_tampered_code(report: &Report, code: FindingCode) {
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(
        codes(report).iter().any(|(_, found)| *found == code),
        "{:#?}",
        report.findings
    );
}

#[test]
fn checkpoints_on_the_way_are_compared_and_late_ones_are_said_to_be_unchecked() {
    let ledger = TestLedger::sample();
    let mut verification = Verification::new(Object::Ledger, Trust::default(), Options::default());
    verification.expect_head("head", ledger.head().as_bytes());
    for size in 1..7 {
        verification.expect_checkpoint("row", ledger.checkpoint_at(size).as_bytes());
    }
    verification.feed(&entries(&ledger.records));
    assert_eq!(verification.finish(End::Reached).checked.checkpoints, 7);
    let mut verification = Verification::new(Object::Ledger, Trust::default(), Options::default());
    verification.expect_head("head", ledger.head().as_bytes());
    verification.feed(&entries(&ledger.records));
    verification.expect_checkpoint("row", ledger.checkpoint_at(3).as_bytes());
    let report = verification.finish(End::Reached);
    assert_only(&report, None, FindingCode::CheckpointUnchecked);
    assert_eq!(report.verdict, Verdict::Incomplete);
}

#[test]
fn a_kept_checkpoint_must_be_met() {
    let ledger = TestLedger::sample();
    let against = |note: String| {
        verify_with(
            &ledger,
            &Trust {
                against: vec![note.into_bytes()],
                ..Trust::default()
            },
        )
    };
    for size in 1..=7 {
        let report = against(ledger.checkpoint_at(size));
        assert_eq!((report.verdict, report.trust), (Verdict::Valid, TrustState::Pinned));
    }
    let mut longer = TestLedger::sample();
    longer.append("order-1", "order.late", None, 0);
    assert_only(&against(longer.head()), None, FindingCode::RolledBack);
    let mut forked = TestLedger::new();
    forked.append_many(4);
    let report = against(forked.head());
    assert_only(&report, None, FindingCode::RootMismatch);
    assert_eq!(report.trust, TrustState::SelfConsistent);
    assert_only(
        &against(TestLedger::with("x.example/y", 2).head()),
        None,
        FindingCode::CheckpointSignature,
    );
}

#[test]
fn left_out_events_keep_the_root_and_may_advance_streams() {
    let mut ledger = TestLedger::sample();
    ledger.append("order-1", "order.late", None, 0);
    let mut all = entries(&ledger.records);
    for index in [1, 2, 3] {
        let leaf = crate::spec::hash::leaf_hash(&ledger.records[index].header);
        all[index] = Entry::Gap {
            first: index as u64,
            leaves: vec![leaf],
        };
    }
    let report = run(&ledger.head(), &all, &Trust::default(), BOTH[0], 10);
    assert_only(&report, None, FindingCode::NotIncluded);
    let asked_for = Options {
        fast: false,
        selection: true,
    };
    let report = run(&ledger.head(), &all, &Trust::default(), asked_for, 10);
    assert_eq!(
        (report.verdict, report.events_not_included),
        (Verdict::Valid, 3),
        "{report}"
    );
    all[2] = Entry::Gap {
        first: 2,
        leaves: vec![[0; 32].into()],
    };
    assert_tampered_code(
        &run(&ledger.head(), &all, &Trust::default(), BOTH[0], 10),
        FindingCode::RootMismatch,
    );
}

#[test]
fn many_findings_are_counted_and_the_first_hundred_are_listed() {
    let mut ledger = TestLedger::new();
    ledger.append_many(150);
    (1..151).for_each(|index| ledger.remove(&[(index, 1)]));
    let report = verify(&ledger);
    assert_eq!((report.findings.len(), report.findings_omitted), (100, 50));
    assert_eq!(report.bodies.missing, 150);
}

#[test]
fn an_unavailable_key_is_its_own_state() {
    let ledger = TestLedger::sample();
    let mut verification = Verification::new(Object::Ledger, Trust::default(), Options::default());
    verification.expect_head("checkpoint", ledger.head().as_bytes());
    verification.feed(&entries(&ledger.records));
    verification.key_unavailable(Position { index: 1, ordinal: 2 });
    let report = verification.finish(End::Reached);
    assert_eq!(
        (report.verdict, report.bodies.key_unavailable),
        (Verdict::Incomplete, 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_report_does_not_depend_on_the_chunks(
        chunk in 1..10_usize, damage in proptest::option::of((0..7_usize, any::<prop::sample::Index>())), fast: bool,
    ) {
        let mut ledger = TestLedger::sample();
        let head = ledger.head();
        if let Some((record, at)) = damage {
            let header = &mut ledger.records[record].header;
            let at = at.index(header.len());
            header[at] ^= 1;
        }
        let options = Options { fast, selection: false };
        let whole = run(&head, &entries(&ledger.records), &Trust::default(), options, 100);
        prop_assert_eq!(damage.is_none(), whole.verdict == Verdict::Valid);
        prop_assert_eq!(run(&head, &entries(&ledger.records), &Trust::default(), options, chunk), whole);
    }

    #[test]
    fn garbage_is_never_valid_and_never_panics(records in proptest::collection::vec(
        (any::<u64>(), proptest::collection::vec(any::<u8>(), 0..50), proptest::collection::vec(any::<u8>(), 0..50)), 0..5,
    )) {
        let records: Vec<_> = records
            .into_iter()
            .map(|(index, header, signature)| Entry::Event(Record { index, header, signature, bodies: vec![] }))
            .collect();
        let head = TestLedger::new().head();
        prop_assert_eq!(run(&head, &records, &Trust::default(), BOTH[0], 2).verdict, Verdict::Tampered);
    }
}

#[test]
fn what_left_while_a_ledger_was_read_is_excused_by_a_later_event_that_holds_and_by_nothing_else() {
    let mut ledger = TestLedger::sample();
    let size = ledger.size();
    ledger.remove(&[(1, 1)]);
    let late = ledger.system(
        "bodies.redacted",
        &json!({"ground": "leak", "positions": [[1, 1], [3, 1]]}),
    );
    let read = |authority: &dyn Fn(&mut Record)| {
        let mut verification = Verification::new(Object::Ledger, Trust::default(), Options::default());
        verification.expect_head("checkpoint", ledger.checkpoint_at(size).as_bytes());
        let entries: Vec<_> = ledger.records[..size as usize]
            .iter()
            .cloned()
            .map(Entry::Event)
            .collect();
        verification.feed(&entries);
        let mut record = ledger.records[late as usize].clone();
        authority(&mut record);
        verification.late_authority(&record);
        verification.finish(End::Reached)
    };
    let report = read(&|_| {});
    assert_eq!(
        (report.verdict, report.bodies.redacted, report.bodies.missing),
        (Verdict::Valid, 1, 0),
        "{report}"
    );
    let spoilt: [fn(&mut Record); 4] = [
        |record| record.index = 1,
        |record| record.signature[30] ^= 1,
        |record| record.bodies[1].bytes[3] ^= 1,
        |record| record.bodies.truncate(1),
    ];
    for spoil in spoilt {
        let report = read(&spoil);
        assert_eq!(
            (report.verdict, report.bodies.missing),
            (Verdict::Tampered, 1),
            "{report}"
        );
    }
}
