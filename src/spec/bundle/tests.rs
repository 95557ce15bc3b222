//! Bundles that hold, and every way in which one may not.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{self, Read};

use super::reader::PREFIX;
use super::*;
use crate::spec::report::{FindingCode, Report, TrustState, Verdict};
use crate::spec::signature::{Kind, Signer};
use crate::spec::testing::{REQUEST, TestLedger};
use crate::spec::verify::{Options, Trust};

fn verify_with(bytes: &[u8], trust: Trust, options: Options) -> Result<Report, BundleError> {
    verify_bundle(bytes, trust, options, &mut |_| {})
}

fn verify(bytes: &[u8]) -> Result<Report, BundleError> {
    verify_with(bytes, Trust::default(), Options::default())
}

type Tweak = (&'static str, fn(&mut Manifest));

fn codes(report: &Report) -> Vec<FindingCode> {
    report.findings.iter().map(|finding| finding.code).collect()
}

#[track_caller]
fn assert_tampered(report: &Report, code: FindingCode) {
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(codes(report).contains(&code), "{:#?}", report.findings);
}

/// The sample ledger with its certificate.
fn sample() -> (TestLedger, Vec<u8>) {
    let ledger = TestLedger::sample();
    let certificate = ledger.sign_certificate(&ledger.certificate());
    let bundle = ledger.bundle_of(None, &[(REQUEST, certificate)], |_| true);
    (ledger, bundle)
}

/// The members of an archive: name and content.
fn members(bundle: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = ustar::Archive::new(bundle);
    let next = || match archive.next().unwrap() {
        ustar::Next::Member(member) => Some((member.name, member.content)),
        _ => None,
    };
    std::iter::from_fn(next).collect()
}

fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        ustar::write_member(&mut out, name, content).unwrap();
    }
    ustar::write_end(&mut out).unwrap();
    out
}

/// An archive whose manifest fits its members, signed by the ledger itself: what a lying operator can make.
fn signed_archive(ledger: &TestLedger, members: &[(String, Vec<u8>)], tweak: impl FnOnce(&mut Manifest)) -> Vec<u8> {
    let entry = |(name, content): &(String, Vec<u8>)| MemberEntry {
        name: name.clone(),
        size: content.len() as u64,
        sha256: Hash::from(<[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(content))),
    };
    let mut manifest = Manifest {
        format: FORMAT.into(),
        origin: ledger.origin.clone(),
        tree_size: ledger.size(),
        root: ledger.root(ledger.size()),
        events: ledger.size(),
        selection: None,
        members: members.iter().map(entry).collect(),
    };
    tweak(&mut manifest);
    let signer = Signer::new(Kind::Manifest, ledger.certificate.clone()).unwrap();
    let signed = (MANIFEST_NAME.to_owned(), signer.sign_document(&manifest).unwrap());
    archive(&[members, &[signed]].concat())
}

#[test]
fn a_bundle_of_everything_is_valid() {
    let (ledger, bundle) = sample();
    let mut calls = 0;
    let report = verify_bundle(
        bundle.as_slice(),
        Trust::default(),
        Options::default(),
        &mut |progress| {
            calls += 1;
            assert_eq!((progress.leaves, progress.of), (7, Some(7)));
        },
    );
    let report = report.unwrap();
    assert_eq!(
        (report.verdict, report.trust, calls),
        (Verdict::Valid, TrustState::SelfConsistent, 1),
        "{report}"
    );
    assert_eq!(
        (report.checked.events, report.checked.checkpoints, report.bodies.erased),
        (7, 3, 3)
    );
    assert_eq!(report.root, Some(ledger.root(7)));
    let trust = Trust {
        keys: vec![ledger.vkey()],
        ..Trust::default()
    };
    let options = Options {
        fast: true,
        ..Options::default()
    };
    let report = verify_with(&bundle, trust, options).unwrap();
    assert_eq!(
        (report.verdict, report.trust, report.fast),
        (Verdict::Valid, TrustState::Pinned, true)
    );
}

#[test]
fn the_same_ledger_gives_the_same_bytes_in_the_stated_order() {
    let (_, bundle) = sample();
    assert_eq!(bundle, sample().1);
    let names: Vec<_> = members(&bundle).into_iter().map(|(name, _)| name).collect();
    let certificate = format!("certificates/{REQUEST}.cbor");
    let events = "events/00000000000000000000.cbor";
    assert_eq!(
        names,
        [
            "README.txt",
            "checkpoint",
            "checkpoints.cbor",
            events,
            &certificate,
            "manifest.cbor"
        ]
    );
}

#[test]
fn every_flipped_byte_is_found() {
    // Each of a small bundle, and a sample of those of one with all kinds of members.
    for (bundle, step) in [(TestLedger::small().bundle(), 1), (sample().1, 29)] {
        for at in (0..bundle.len()).step_by(step) {
            let mut bad = bundle.clone();
            bad[at] ^= 0x41;
            let report = verify(&bad).unwrap();
            assert_eq!(report.verdict, Verdict::Tampered, "byte {at}: {report}");
            assert!(report.findings.iter().all(|finding| !finding.field.is_empty()));
        }
    }
}

#[test]
fn an_altered_size_is_tampering_even_if_the_file_ends_before_it() {
    let bundle = TestLedger::small().bundle();
    for at in 124..135 {
        let mut bad = bundle.clone();
        bad[at] ^= 1;
        let report = verify(&bad).unwrap();
        assert_eq!(report.verdict, Verdict::Tampered, "byte {at}: {report}");
    }
}

#[test]
fn a_flipped_byte_in_the_events_names_the_event() {
    let (ledger, bundle) = sample();
    for record in &ledger.records {
        let at = bundle
            .windows(record.header.len())
            .position(|window| window == record.header)
            .unwrap();
        let mut bad = bundle.clone();
        bad[at + record.header.len() - 1] ^= 1;
        let report = verify(&bad).unwrap();
        assert!(
            report
                .findings
                .iter()
                .any(|finding| finding.index == Some(record.index)),
            "{report}"
        );
        assert_tampered(&report, FindingCode::MemberMismatch);
    }
}

#[test]
fn every_cut_is_found_and_says_where() {
    let bundle = TestLedger::small().bundle();
    for length in 0..bundle.len() {
        match verify(&bundle[..length]) {
            Ok(report) => {
                assert_eq!(report.verdict, Verdict::Incomplete, "cut to {length}: {report}");
                let truncated = report
                    .findings
                    .iter()
                    .find(|finding| finding.code == FindingCode::Truncated);
                assert!(truncated.unwrap().found.contains(&format!("byte {length}")), "{report}");
            }
            Err(error) => assert!(matches!(error, BundleError::NotABundle) && length < README_NAME.len()),
        }
    }
}

#[test]
fn bytes_after_the_end_are_found() {
    let (_, mut bundle) = sample();
    bundle.push(0);
    assert_tampered(&verify(&bundle).unwrap(), FindingCode::TrailingBytes);
}

#[test]
fn other_files_are_not_bundles() {
    let mut foreign = Vec::new();
    ustar::write_member(&mut foreign, "hello.txt", b"hello").unwrap();
    ustar::write_end(&mut foreign).unwrap();
    for file in [b"".as_slice(), b"{}", &[0; 2048], &[0xff; 2048], &foreign] {
        assert!(matches!(verify(file), Err(BundleError::NotABundle)));
        assert!(!is_bundle(&file[..file.len().min(PREFIX)]));
    }
}

#[test]
fn a_read_error_is_not_a_verdict() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let (_, bundle) = sample();
    for length in [0, 100, 5_000, bundle.len()] {
        let input = bundle[..length].chain(Broken);
        let result = verify_bundle(input, Trust::default(), Options::default(), &mut |_| {});
        assert!(matches!(result, Err(BundleError::Io(_))));
    }
}

#[test]
fn members_dropped_repeated_or_swapped_are_found() {
    let (ledger, bundle) = sample();
    let all = members(&bundle);
    for at in 0..all.len() {
        let mut dropped = all.clone();
        dropped.remove(at);
        let mut repeated = all.clone();
        repeated.insert(at, all[at].clone());
        for case in [dropped, repeated] {
            if let Ok(report) = verify(&archive(&case)) {
                assert_eq!(report.verdict, Verdict::Tampered, "{at}: {report}");
            }
        }
        if at > 0 {
            let mut swapped = all.clone();
            swapped.swap(at - 1, at);
            let report = verify(&archive(&swapped)).ok();
            assert!(report.is_none_or(|report| report.verdict == Verdict::Tampered));
        }
    }
    let mut foreign = all.clone();
    foreign.insert(3, ("extra".into(), b"x".to_vec()));
    assert_tampered(&verify(&archive(&foreign)).unwrap(), FindingCode::MemberUnexpected);
    // Even if the operator signs a manifest that fits.
    let mut foreign = all[..all.len() - 1].to_vec();
    foreign.insert(3, ("extra".into(), b"x".to_vec()));
    let report = verify(&signed_archive(&ledger, &foreign, |_| {})).unwrap();
    assert_eq!(codes(&report), [FindingCode::MemberUnexpected]);
}

#[test]
fn a_manifest_of_another_ledger_or_with_other_facts_is_found() {
    let (ledger, bundle) = sample();
    let all = members(&bundle);
    let before = &all[..all.len() - 1];
    assert_eq!(
        verify(&signed_archive(&ledger, before, |_| {})).unwrap().verdict,
        Verdict::Valid
    );
    let tweaks: [Tweak; 5] = [
        ("format", |manifest| manifest.format = "oubliette/bundle/v9".into()),
        ("origin", |manifest| manifest.origin = "x.example/y".parse().unwrap()),
        ("tree_size", |manifest| manifest.tree_size += 1),
        ("root", |manifest| manifest.root = Hash::from([0; 32])),
        ("events", |manifest| manifest.events -= 1),
    ];
    for (field, tweak) in tweaks {
        let report = verify(&signed_archive(&ledger, before, tweak)).unwrap();
        assert_eq!(codes(&report), [FindingCode::FactMismatch]);
        assert_eq!(report.findings[0].field, format!("manifest.cbor, {field}"));
    }
    let stranger = TestLedger::with("audit.example.com/main", 2);
    let mut forged = TestLedger::sample();
    forged.certificate = stranger.certificate;
    let report = verify(&signed_archive(&forged, before, |_| {})).unwrap();
    assert_eq!(codes(&report), [FindingCode::SignatureUnknownKey]);
}

#[test]
fn a_certificate_in_a_bundle_is_checked_under_the_bundles_keys() {
    let (ledger, _) = sample();
    let forge = |certificate: Vec<u8>| verify(&ledger.bundle_of(None, &[(REQUEST, certificate)], |_| true)).unwrap();
    let other = TestLedger::with("audit.example.com/main", 2);
    let certificate = ledger.certificate();
    assert_eq!(forge(ledger.sign_certificate(&certificate)).verdict, Verdict::Valid);
    assert_tampered(
        &forge(other.sign_certificate(&certificate)),
        FindingCode::SignatureUnknownKey,
    );
    let mut wrong = certificate.clone();
    wrong.verification.opened = 1;
    assert_tampered(&forge(ledger.sign_certificate(&wrong)), FindingCode::ErasureNotShown);
    assert_tampered(&forge(b"no certificate".to_vec()), FindingCode::DocumentInvalid);
    let other_request = uuid::Uuid::from_u128(7);
    let bundle = ledger.bundle_of(None, &[(other_request, ledger.sign_certificate(&certificate))], |_| {
        true
    });
    assert_tampered(&verify(&bundle).unwrap(), FindingCode::FactMismatch);
}

#[test]
fn more_notes_than_a_reader_takes_are_refused() {
    let ledger = TestLedger::small();
    let mut all = members(&ledger.bundle());
    all.pop();
    let notes = all.iter().position(|(name, _)| name == CHECKPOINTS_NAME).unwrap();
    for (count, code) in [
        (MAX_ITEMS, FindingCode::CheckpointMalformed),
        (MAX_ITEMS + 1, FindingCode::MemberInvalid),
    ] {
        all[notes].1 = vec![0x40; count];
        let report = verify(&signed_archive(&ledger, &all, |_| {})).unwrap();
        assert_eq!((report.verdict, report.findings[0].code), (Verdict::Tampered, code));
    }
    let head = BundleHead {
        further: vec![String::new(); MAX_ITEMS + 1],
        ..ledger.bundle_head()
    };
    let result = BundleWriter::new(Vec::new(), head);
    assert!(matches!(result, Err(BundleWriteError::TooManyCheckpoints(_))));
}

#[test]
fn a_member_of_more_entries_than_are_examined_at_once_is_verified_whole() {
    let mut ledger = TestLedger::new();
    ledger.append_many(2_500);
    let all = members(&ledger.bundle());
    let is_events = |name: &str| name.starts_with("events/");
    let mut merged: Vec<_> = all.iter().filter(|(name, _)| !is_events(name)).cloned().collect();
    merged.pop();
    let events = all.iter().filter(|(name, _)| is_events(name));
    let events = events.flat_map(|(_, content)| content.clone()).collect();
    merged.push((events_name(0), events));
    let report = verify(&signed_archive(&ledger, &merged, |_| {})).unwrap();
    assert_eq!(
        (report.verdict, report.checked.events),
        (Verdict::Valid, 2_501),
        "{report}"
    );
}

/// The sample without its last event, the purge.
fn before_the_purge() -> TestLedger {
    let mut ledger = TestLedger::sample();
    ledger.records.pop();
    ledger
}

#[test]
fn a_certificate_repeats_the_events_of_its_bundle_to_the_byte() {
    let ledger = TestLedger::sample();
    // Another history under the same keys: what an operator could show to the person whose erasure it is.
    let mut other = TestLedger::new();
    other.append_many(2);
    other.erase();
    let mut resigned = ledger.certificate();
    let twin = TestLedger::with("audit.example.com/main", 2);
    resigned.evidence[1].signature.0 = twin.event.sign_detached(&resigned.evidence[1].header.0);
    for certificate in [other.certificate(), resigned] {
        let document = ledger.sign_certificate(&certificate);
        let report = verify(&ledger.bundle_of(None, &[(REQUEST, document)], |_| true)).unwrap();
        assert_tampered(&report, FindingCode::FactMismatch);
        let place = format!("certificates/{REQUEST}.cbor, evidence/1");
        assert!(report.findings.iter().any(|finding| finding.field == place), "{report}");
    }
}

#[test]
fn the_checkpoint_of_a_certificate_is_among_those_of_its_bundle() {
    let (ledger, shorter) = (TestLedger::sample(), before_the_purge());
    let certificates = [(REQUEST, shorter.sign_certificate(&shorter.certificate()))];
    let with = |further: &[u64]| {
        let head = BundleHead {
            further: further.iter().map(|size| ledger.checkpoint_at(*size)).collect(),
            ..ledger.bundle_head()
        };
        verify(&ledger.bundle_from(head, &certificates, |_| true)).unwrap()
    };
    assert_eq!(with(&[1, 6]).verdict, Verdict::Valid);
    for further in [&[][..], &[1], &[1, 5]] {
        let report = with(further);
        assert_eq!(
            (report.verdict, codes(&report)),
            (Verdict::Incomplete, vec![FindingCode::CheckpointAbsent])
        );
    }
}

#[test]
fn a_certificate_under_a_later_or_another_checkpoint_contradicts_its_bundle() {
    let (ledger, shorter) = (TestLedger::sample(), before_the_purge());
    let later = [(REQUEST, ledger.sign_certificate(&ledger.certificate()))];
    let report = verify(&shorter.bundle_of(None, &later, |_| true)).unwrap();
    assert_tampered(&report, FindingCode::TooFewEvents);
    // The same erasure, then another event instead of the purge: a fork right behind it.
    let mut forked = before_the_purge();
    forked.append("s", "t", None, 0);
    let document = forked.sign_certificate(&forked.certificate());
    let report = verify(&ledger.bundle_of(None, &[(REQUEST, document)], |_| true)).unwrap();
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Tampered, vec![FindingCode::RootMismatch])
    );
}

#[test]
fn findings_about_a_certificate_count_even_when_they_are_no_longer_listed() {
    let ledger = TestLedger::sample();
    let mut certificate = ledger.certificate();
    // More than a hundred findings that leave the verdict at incomplete stand before the one that does not.
    let mut bare = ledger.evidence(1);
    bare.bodies.clear();
    certificate.evidence.extend(std::iter::repeat_n(bare, 60));
    let document = ledger.sign_certificate(&certificate);
    let report = verify(&ledger.bundle_of(None, &[(REQUEST, document)], |_| true)).unwrap();
    assert_eq!(report.verdict, Verdict::Tampered);
    assert!(codes(&report).iter().all(|code| *code == FindingCode::EvidenceAbsent));
    assert_eq!(report.findings_omitted, 80);
}

#[test]
fn words_of_a_bundle_do_not_steer_the_terminal() {
    let ledger = TestLedger::sample();
    let filter = Selection {
        filter: Some("x\u{1b}]0;y\u{7}\u{202e}\nVALID".into()),
        ..range(0, 7)
    };
    let report = verify(&ledger.bundle_of(Some(filter), &[], |_| false)).unwrap();
    let note = report.notes.last().unwrap();
    assert!(note.contains(r"x\u{1b}]0;y\u{7}\u{202e}\u{a}VALID"), "{note}");
}

fn range(first: u64, end: u64) -> Selection {
    Selection {
        first,
        end,
        filter: None,
    }
}

#[test]
fn a_selection_is_incomplete_unless_it_was_asked_for() {
    let ledger = TestLedger::sample();
    let bundle = ledger.bundle_of(Some(range(1, 3)), &[], |index| (1..3).contains(&index));
    let report = verify(&bundle).unwrap();
    // Events 0, 4, 5 and 6 are Oubliette's own and come along.
    assert_eq!((report.checked.events, report.events_not_included), (6, 1));
    assert_eq!(
        (report.verdict, codes(&report)),
        (Verdict::Incomplete, vec![FindingCode::NotIncluded])
    );
    let options = Options {
        selection: true,
        ..Options::default()
    };
    let report = verify_with(&bundle, Trust::default(), options).unwrap();
    assert_eq!((report.verdict, report.events_not_included), (Verdict::Valid, 1));
    assert!(report.to_string().contains("1 events are left out"), "{report}");
}

#[test]
fn a_filter_may_leave_out_events_within_its_range_and_a_range_may_not() {
    let ledger = TestLedger::sample();
    let options = Options {
        selection: true,
        ..Options::default()
    };
    let filter = Selection {
        filter: Some("type = order.paid".into()),
        ..range(0, 7)
    };
    let bundle = ledger.bundle_of(Some(filter), &[], |index| index == 2);
    let report = verify_with(&bundle, Trust::default(), options).unwrap();
    assert_eq!(
        (report.verdict, report.events_not_included),
        (Verdict::Valid, 2),
        "{report}"
    );
    // The same members under a manifest that declares a range without filter, or nothing.
    let all = members(&bundle);
    for selection in [Some(range(0, 7)), Some(range(3, 7)), None] {
        let tweak = |manifest: &mut Manifest| (manifest.selection, manifest.events) = (selection.clone(), 5);
        let report = verify_with(
            &signed_archive(&ledger, &all[..all.len() - 1], tweak),
            Trust::default(),
            options,
        );
        let report = report.unwrap();
        let outside = selection.is_some_and(|selection| selection.first == 3);
        let expected = if outside { Some(3) } else { Some(1) };
        assert_eq!(report.verdict, Verdict::Tampered);
        assert_eq!(
            (report.findings[0].code, report.findings[0].index),
            (FindingCode::UndeclaredGap, expected)
        );
    }
}

#[test]
fn what_must_be_included_cannot_be_left_out() {
    let ledger = TestLedger::sample();
    let mut head = ledger.bundle_head();
    let needed = |head: &BundleHead, index: usize| {
        let mut writer = BundleWriter::new(Vec::new(), head.clone()).unwrap();
        ledger.records[..index]
            .iter()
            .for_each(|record| writer.include(record).unwrap());
        writer.leave_out(index as u64, &ledger.records[index].header)
    };
    assert!(
        matches!(needed(&head, 1), Err(BundleWriteError::Needed(1))),
        "nothing was declared"
    );
    head.selection = Some(range(2, 7));
    assert!(
        matches!(needed(&head, 0), Err(BundleWriteError::Needed(0))),
        "ledger.created"
    );
    assert!(needed(&head, 1).is_ok());
    assert!(
        matches!(needed(&head, 2), Err(BundleWriteError::Needed(2))),
        "within the range"
    );
    head.selection = Some(Selection {
        filter: Some("none".into()),
        ..range(0, 7)
    });
    assert!(needed(&head, 3).is_ok());
    for own in [4, 5, 6] {
        assert!(matches!(needed(&head, own), Err(BundleWriteError::Needed(_))), "{own}");
    }
}

#[test]
fn a_writer_takes_every_leaf_once_and_in_order() {
    let ledger = TestLedger::sample();
    let mut writer = BundleWriter::new(Vec::new(), ledger.bundle_head()).unwrap();
    writer.include(&ledger.records[0]).unwrap();
    for wrong in [0, 2] {
        let result = writer.include(&ledger.records[wrong]);
        assert!(matches!(result, Err(BundleWriteError::OutOfOrder { expected: 1, .. })));
    }
    let result = writer.certificate(REQUEST, b"");
    assert!(matches!(
        result,
        Err(BundleWriteError::OutOfOrder { expected: 1, found: 7 })
    ));
    assert!(writer.finish(|_| Ok(Vec::new())).is_err());
}

#[test]
fn a_large_ledger_is_cut_into_chunks_and_its_gaps_too() {
    let mut ledger = TestLedger::new();
    ledger.append_many(2_500);
    let names = |bundle: &[u8]| -> Vec<String> {
        members(bundle)
            .into_iter()
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("events/"))
            .collect()
    };
    let bundle = ledger.bundle();
    let chunk = |first: u64| format!("events/{first:020}.cbor");
    assert_eq!(names(&bundle), [chunk(0), chunk(1_000), chunk(2_000)]);
    assert_eq!(verify(&bundle).unwrap().verdict, Verdict::Valid);
    let bundle = ledger.bundle_of(Some(range(2_000, 2_400)), &[], |index| (2_000..2_400).contains(&index));
    assert_eq!(names(&bundle), [chunk(0)]);
    let options = Options {
        selection: true,
        ..Options::default()
    };
    let report = verify_with(&bundle, Trust::default(), options).unwrap();
    assert_eq!(
        (report.verdict, report.events_not_included),
        (Verdict::Valid, 2_100),
        "{report}"
    );
    let dense = Selection {
        filter: Some("odd".into()),
        ..range(0, 2_501)
    };
    let bundle = ledger.bundle_of(Some(dense), &[], |index| index % 2 == 1);
    assert_eq!(names(&bundle).len(), 3);
    assert_eq!(
        verify_with(&bundle, Trust::default(), options).unwrap().verdict,
        Verdict::Valid
    );
}

#[test]
fn a_long_event_has_a_chunk_of_its_own() {
    let mut ledger = TestLedger::new();
    let long = format!("\"{}\"", "x".repeat(5 << 20));
    ledger.append("s", "t", Some(&long), 0);
    ledger.append("s", "t", None, 0);
    let bundle = ledger.bundle();
    assert_eq!(
        members(&bundle)
            .iter()
            .filter(|(name, _)| name.starts_with("events/"))
            .count(),
        3
    );
    assert_eq!(verify(&bundle).unwrap().verdict, Verdict::Valid);
}

#[test]
fn a_bundle_against_a_kept_checkpoint() {
    let (ledger, bundle) = sample();
    let against = |note: String| {
        let trust = Trust {
            against: vec![note.into_bytes()],
            ..Trust::default()
        };
        verify_with(&bundle, trust, Options::default()).unwrap()
    };
    let report = against(ledger.checkpoint_at(4));
    assert_eq!((report.verdict, report.trust), (Verdict::Valid, TrustState::Pinned));
    let mut longer = TestLedger::sample();
    longer.append("s", "t", None, 0);
    assert_eq!(codes(&against(longer.head())), [FindingCode::RolledBack]);
}
