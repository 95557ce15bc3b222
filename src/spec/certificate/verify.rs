//! Checking a certificate: signed by the certificate key of the ledger that its anchor creates, saying what its events say
//! (`compare`), and nothing that contradicts itself or the bundle around it.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::compare::{Removed, check_completed, check_requested};
use super::redaction::{is_redaction, verify_redaction};
use super::{Certificate, FORMAT, Status, Times, page, suppression};
use crate::spec::evidence::{Evidence, Review};
use crate::spec::hash::Hash;
use crate::spec::ids::Handle;
use crate::spec::report::{Finding, FindingCode, Findings, Object, Report, TrustState, Verdict};
use crate::spec::signature::{Kind, read_unverified};
use crate::spec::verify::{Keyring, Record, Trust};

/// Whether a file is a certificate, of erasure or of redaction, be it a damaged one: it names its content type or its format near the beginning.
pub fn is_certificate(file: &[u8]) -> bool {
    let contains = |text: &str| file.windows(text.len()).any(|window| window == text.as_bytes());
    page::KIND.is(file) || contains(Kind::Certificate.content_type()) || contains(FORMAT) || is_redaction(file)
}

/// Verifies a certificate alone, of erasure or of redaction: the signed document, or a page.
pub fn verify_certificate(file: &[u8], trust: &Trust) -> Report {
    if !page::KIND.is(file) {
        return verify_document(file, trust, None);
    }
    match page::embedded(file) {
        Ok(document) => verify_document(&document, trust, Some(file)),
        Err(error) => alone(unreadable(
            "page",
            "the signed certificate that the page was made from",
            error,
        )),
    }
}

/// `page` is the page that carries the document.
fn verify_document(document: &[u8], trust: &Trust, page: Option<&[u8]>) -> Report {
    if is_redaction(document) {
        return verify_redaction(document, trust, page);
    }
    let certificate: Certificate = match read_unverified(document) {
        Ok(certificate) => certificate,
        Err(error) => return alone(unreadable("certificate", SIGNED, error)),
    };
    let mut review = Review::anchored(trust, &certificate.anchors, &certificate.checkpoint);
    let unshown = check(&mut review, document, &certificate);
    let notes = notes(&certificate, &unshown);
    let render = || page::render(&certificate, document);
    finish(review, (notes, SHOWN), page, render)
}

/// Compares the page, if there is one, and reports. What a certificate shows is said only if it holds.
pub(super) fn finish(
    mut review: Review<'_>,
    (mut notes, shown): (Vec<String>, &str),
    page: Option<&[u8]>,
    render: impl FnOnce() -> String,
) -> Report {
    if let Some(page) = page {
        page::KIND.check(&mut review, page, render);
        notes
            .push("The signature covers the data in the page; the page was made anew from it and compared.".to_owned());
    }
    match review.findings.verdict() {
        Verdict::Valid => {}
        Verdict::Incomplete => notes.retain(|note| !note.starts_with("The signature covers")),
        Verdict::Tampered => notes.retain(|note| note != shown && !note.starts_with("The signature covers")),
    }
    review.finish(Object::Certificate, notes)
}

/// The report on a file that is no certificate.
pub(super) fn alone(finding: Finding) -> Report {
    let mut findings = Findings::default();
    findings.push(finding);
    Report::new(Object::Certificate, TrustState::SelfConsistent, findings)
}

/// What a bundle tells of its ledger, for a certificate that is in it.
pub(in crate::spec) trait Surrounding {
    /// Whether this event stands in the bundle at its index, header and signature to the byte.
    fn holds(&self, event: &Record) -> bool;
    /// Leaves that the bundle has.
    fn size(&self) -> u64;
    /// The indexes of the reports of leaks that name one of these people.
    fn leaks_about(&self, handles: &[Handle]) -> Vec<u64>;
    /// The root at this size, if one of the bundle's own checkpoints states it and it was met.
    fn root(&self, size: u64) -> Option<Hash>;
}

/// Verifies a certificate that a bundle of this ledger carries under this request id: alone, and against the bundle. Gives
/// findings whose fields start with `place`, and how many signatures hold.
pub(in crate::spec) fn check_in_bundle(
    document: &[u8],
    request: &Uuid,
    keyring: &Keyring,
    bundle: &impl Surrounding,
    place: &str,
) -> (Findings, u64) {
    let mut findings = Findings::default();
    let certificate: Certificate = match read_unverified(document) {
        Ok(certificate) => certificate,
        Err(error) => {
            findings.push(unreadable(place, SIGNED, error));
            return (findings, 0);
        }
    };
    let trust = Trust {
        keys: vec![keyring.checkpoint_key().clone()],
        ..Trust::default()
    };
    let mut review = Review::new(&trust, &certificate.anchors, &certificate.checkpoint);
    review.compare(None, "request", request, &certificate.request);
    review.opens_under::<Certificate>(keyring.certificate_key(), document);
    check(&mut review, document, &certificate);
    compare_events(&mut review, &certificate, bundle);
    compare_leaks(&mut review, &certificate, bundle);
    compare_checkpoint(&mut review, bundle);
    let (findings, signatures) = review.into_findings();
    (findings.within(place), signatures)
}

/// An event that a certificate repeats is the one that the bundle has, or the ledger shows two histories.
fn compare_events(review: &mut Review<'_>, certificate: &Certificate, bundle: &impl Surrounding) {
    for (part, events) in [("evidence", &certificate.evidence), ("anchors", &certificate.anchors)] {
        for (number, event) in events.iter().map(Evidence::record).enumerate() {
            if !bundle.holds(&event) {
                let expected = "the event of Oubliette's own that the bundle has at this index";
                let place = format!("{part}/{number}");
                review.find(Some(event.index), place, FindingCode::FactMismatch, expected, "another");
            }
        }
    }
}

/// A certificate tells of every leak that names its people and stands before its checkpoint.
fn compare_leaks(review: &mut Review<'_>, certificate: &Certificate, bundle: &impl Surrounding) {
    let handles: Vec<_> = certificate.subjects.iter().map(|subject| subject.handle).collect();
    let told: BTreeSet<_> = certificate.evidence.iter().map(|event| event.record().index).collect();
    let leaks = bundle.leaks_about(&handles).into_iter();
    for index in leaks.filter(|index| *index < certificate.tree_size_after && !told.contains(index)) {
        let (expected, found) = (
            "this leak.reported among the evidence",
            "none: it names people of this certificate",
        );
        review.find(
            Some(index),
            "clear, leaks",
            FindingCode::ErasureNotShown,
            expected,
            found,
        );
    }
}

/// The bundle's leaves are those that the certificate's checkpoint covers: one of the bundle's own checkpoints says so.
fn compare_checkpoint(review: &mut Review<'_>, bundle: &impl Surrounding) {
    let Some((size, root)) = review.checkpoint().map(|checkpoint| (checkpoint.size, checkpoint.root)) else {
        return;
    };
    if size > bundle.size() {
        let (expected, found) = (format!("{size} events or more"), format!("{} events", bundle.size()));
        return review.find(None, "checkpoint", FindingCode::TooFewEvents, expected, found);
    }
    match bundle.root(size) {
        Some(met) if met == root => {}
        Some(met) => review.find(None, "checkpoint", FindingCode::RootMismatch, root, met),
        None => {
            let expected = format!("a checkpoint of size {size} among those of the bundle");
            review.find(
                None,
                "checkpoint",
                FindingCode::CheckpointAbsent,
                expected,
                "none that holds",
            );
        }
    }
}

/// What a file should be.
const SIGNED: &str = "a signed certificate";

pub(super) fn unreadable(place: &str, expected: &str, found: impl ToString) -> Finding {
    Finding::new(None, place, FindingCode::DocumentInvalid, expected, found.to_string())
}

/// Checks all that a certificate says. Gives the names of members that its events do not state.
fn check(review: &mut Review<'_>, document: &[u8], certificate: &Certificate) -> Vec<&'static str> {
    review.signed_by::<Certificate>(Keyring::certificate_key, document);
    review.compare(None, "format", &FORMAT.to_owned(), &certificate.format);
    let size = ("tree_size_after", certificate.tree_size_after);
    review.stands_under(("origin", &certificate.origin), Some(size));
    let mut evidence = certificate.evidence.iter().enumerate();
    let first = evidence.next().map(|(_, event)| review.evidence("evidence/0", event));
    let second = evidence.next().map(|(_, event)| review.evidence("evidence/1", event));
    let mut removed = Removed::default();
    for (number, event) in evidence {
        let event = review.evidence(&format!("evidence/{number}"), event);
        removed.add(review, certificate, event);
    }
    let mut unshown = check_requested(review, certificate, first.as_ref());
    unshown.extend(check_completed(review, certificate, second.as_ref(), &removed));
    unshown.extend(suppression::check(review, certificate, first.as_ref(), second.as_ref()));
    removed.check_leaks(review, certificate);
    check_statements(review, certificate);
    unshown.extend(["role", "recipients, disclosed", "clear, nameless"]);
    if certificate.covers.is_some() {
        unshown.push("clear, frozen");
    }
    unshown
}

fn check_statements(review: &mut Review<'_>, certificate: &Certificate) {
    let check = &certificate.verification;
    let mut shown = |holds: bool, field: &str, expected: &str, found: String| {
        if !holds {
            review.find(None, field, FindingCode::ErasureNotShown, expected, found);
        }
    };
    shown(check.opened == 0, "verification, opened", "0", check.opened.to_string());
    shown(
        !check.identity_resolves,
        "verification, identity_resolves",
        "false",
        "true".to_owned(),
    );
    shown(
        check.keys_left.unwrap_or(0) == 0,
        "verification, keys_left",
        "0",
        check.keys_left.unwrap_or(0).to_string(),
    );
    let people = certificate.subjects.len();
    shown(people > 0, "subjects", "one or more", people.to_string());
    let (covers, frozen) = (certificate.covers.is_some(), certificate.clear.frozen.len());
    let expected = "none: the people are not those of a frozen log";
    shown(covers || frozen == 0, "clear, frozen", expected, frozen.to_string());
    let times = &certificate.times;
    let expected = "t1, then t2, then the others";
    shown(times.are_in_order(), "times", expected, format!("{times:?}"));
    if certificate.status == Status::Final {
        let Times { t2, t3, t4, t5, .. } = &certificate.times;
        let copies = certificate
            .key_copies
            .iter()
            .all(|copies| copies.destroyed_at.is_some());
        let done = [t2, t3, t4, t5].into_iter().all(Option::is_some) && certificate.completed_at.is_some() && copies;
        let expected = "a completed erasure with T2 to T5, every copy of the keys destroyed, and no residue";
        shown(
            done && certificate.residues.is_empty(),
            "status",
            expected,
            "final".to_owned(),
        );
    }
    review.compare(
        None,
        "other_ledgers_examined",
        &false,
        &certificate.other_ledgers_examined,
    );
}

/// What a certificate that holds shows.
const SHOWN: &str = "It shows that the ledger recorded this erasure and that its operator signed what was done; that every \
                     copy of a key is gone cannot be seen from here.";

fn notes(certificate: &Certificate, unshown: &[&str]) -> Vec<String> {
    let mut notes = vec![
        SHOWN.to_owned(),
        format!("It covers the ledger {} and no other.", certificate.origin),
    ];
    if certificate.status == Status::Provisional {
        notes.push("It is provisional: the residues that it lists are still to go.".to_owned());
    }
    if !unshown.is_empty() {
        notes.push(format!(
            "On the word of the certificate alone, since its events do not state it: {}.",
            unshown.join(", ")
        ));
    }
    notes.extend(
        certificate
            .residues
            .iter()
            .map(|residue| format!("Possible residue, {}: {}", residue.code, residue.text)),
    );
    notes.extend(certificate.limits.iter().map(ToString::to_string));
    notes
}
