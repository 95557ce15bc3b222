//! Checking a report: signed by the certificate key of the ledger that its anchor creates, recorded there, about a tree that
//! the ledger has grown out of, and, for a page, rendered from it to the byte.

use serde_json::Value;

use super::{
    ComplianceReport, FORMAT, KIND, REPORT_CREATED, REPORT_STREAM, ReportCreated, SIGNED_FORMAT, SignedReport, page,
    said,
};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::evidence::Review;
use crate::spec::hash::Hash;
use crate::spec::ids::Timestamp;
use crate::spec::json;
use crate::spec::merkle::verify_consistency;
use crate::spec::note::Note;
use crate::spec::report::{Finding, FindingCode, Findings, Object, Report, TrustState, Verdict};
use crate::spec::signature::{SignatureError, read_unverified};
use crate::spec::verify::{Examined, Keyring, Trust, verify_note};
use sha2::{Digest, Sha256};

/// How many differing fields are named.
const MAX_DIFFERENCES: usize = 20;
/// Microseconds that may lie between the making of a report and its record.
const MAX_GAP: u64 = super::DAY;

/// Whether a file is a signed report, as JSON or as a page, be it a damaged one.
pub fn is_report(file: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Probe {
        format: String,
    }
    if page::KIND.is(file) {
        return true;
    }
    let begins: Vec<u8> = file
        .iter()
        .take(256)
        .filter(|byte| !byte.is_ascii_whitespace())
        .copied()
        .collect();
    begins.starts_with(b"{\"format\":\"oubliette/signed-report/")
        || serde_json::from_slice::<Probe>(file).is_ok_and(|probe| probe.format == SIGNED_FORMAT)
}

/// Verifies a signed report: a JSON file, or a page.
pub fn verify_report(file: &[u8], trust: &Trust) -> Report {
    let is_page = page::KIND.is(file);
    let embedded = if is_page { page::KIND.embedded(file) } else { Some(file) };
    let Some(embedded) = embedded else {
        return unreadable("page", "the signed report that the page was made from", "none");
    };
    let signed: SignedReport = match json::read(embedded) {
        Ok(signed) => signed,
        Err(error) => return unreadable("report", "a signed report in JSON", &error),
    };
    let report: ComplianceReport = match read_unverified(&signed.document.0) {
        Ok(report) => report,
        Err(error) => return unreadable("document", "a signed compliance report", &error_words(&error)),
    };
    let mut review = Review::anchored(trust, &signed.anchors, &signed.checkpoint);
    review.signed_by::<ComplianceReport>(Keyring::report_key, &signed.document.0);
    review.compare(None, "format", &SIGNED_FORMAT.to_owned(), &signed.format);
    review.compare(None, "document, format", &FORMAT.to_owned(), &report.format);
    review.stands_under(("document, origin", &report.origin), None);
    check_recorded(&mut review, &signed, &report);
    check_tree(&mut review, &signed, &report);
    check_sums(&mut review, &report);
    if let Some(shown) = &signed.report {
        check_shown(&mut review, &report, shown);
    }
    if is_page {
        page::KIND.check(&mut review, file, || page::render(&report, &signed));
    }
    let notes = if review.findings.verdict() == Verdict::Valid {
        notes(&review, &report, is_page)
    } else {
        Vec::new()
    };
    review.finish(Object::ComplianceReport, notes)
}

fn error_words(error: &SignatureError) -> String {
    match error {
        SignatureError::Document(inner) => format!("{error}: {inner}"),
        _ => error.to_string(),
    }
}

fn unreadable(place: &str, expected: &str, found: &str) -> Report {
    let mut findings = Findings::default();
    findings.push(Finding::new(None, place, FindingCode::DocumentInvalid, expected, found));
    Report::new(Object::ComplianceReport, TrustState::SelfConsistent, findings)
}

/// The ledger says that it made this very document.
fn check_recorded(review: &mut Review<'_>, signed: &SignedReport, report: &ComplianceReport) {
    let event = review.evidence("recorded", &signed.recorded);
    let index = Some(event.index);
    if !is_record(&event) {
        let (expected, found) = (format!("{REPORT_CREATED} in {REPORT_STREAM}"), "another event");
        return review.find(index, "recorded", FindingCode::FactMismatch, expected, found);
    }
    let data = signed.recorded.bodies.iter().find(|body| body.ordinal == 1);
    let created: ReportCreated = match data.map_or(Err("no data".to_owned()), |body| json::read(&body.bytes.0)) {
        Ok(created) => created,
        Err(error) => {
            let expected = format!("the payload of {REPORT_CREATED}");
            return review.find(index, "recorded, data", FindingCode::BodyInvalid, expected, error);
        }
    };
    let hash = Hash::from(<[u8; 32]>::from(Sha256::digest(&signed.document.0)));
    review.compare(index, "recorded, sha256", &created.sha256, &hash);
    review.compare(index, "document, id", &created.report, &report.id);
    review.compare(index, "recorded, kind", &KIND.to_owned(), &created.kind.into_string());
    review.compare(index, "document, by, key", &created.by, &report.by.key);
    review.compare(
        index,
        "document, by, roles",
        &created.roles.join(", "),
        &report.by.roles.join(", "),
    );
    if let Some(header) = &event.header {
        check_made_at(review, index, header.recorded_at, report);
    }
    review.compare(index, "document, period, from", &created.from, &report.period.from);
    review.compare(index, "document, period, to", &created.to, &report.period.to);
    if report.integrity.tree_size > event.index {
        let expected = format!("at most {}, where the report is recorded", event.index);
        let found = report.integrity.tree_size;
        review.find(
            index,
            "document, integrity, tree_size",
            FindingCode::FactMismatch,
            expected,
            found,
        );
    }
}

/// Made before it was recorded and not long before, and its period ended by then if it says so.
fn check_made_at(review: &mut Review<'_>, index: Option<u64>, recorded_at: Timestamp, report: &ComplianceReport) {
    let made_at = report.made_at;
    if made_at > recorded_at || recorded_at.0 - made_at.0 > MAX_GAP {
        let expected = format!("at most a day before {recorded_at}, where it is recorded");
        review.find(index, "document, made_at", FindingCode::FactMismatch, expected, made_at);
    }
    if report.period.ended && report.period.to > made_at {
        let found = "true, for a period that ends later";
        review.find(
            index,
            "document, period, ended",
            FindingCode::FactMismatch,
            "false",
            found,
        );
    }
}

fn is_record(event: &Examined) -> bool {
    let of_type = event
        .header
        .as_ref()
        .is_some_and(|header| header.event_type.as_str() == REPORT_CREATED);
    of_type
        && event
            .meta
            .as_ref()
            .is_some_and(|meta| meta.stream.as_str() == REPORT_STREAM)
}

/// The ledger under the checkpoint has grown out of the tree that the report names.
fn check_tree(review: &mut Review<'_>, signed: &SignedReport, report: &ComplianceReport) {
    let (size, root) = (report.integrity.tree_size, report.integrity.root);
    if let Some(keyring) = review.keyring() {
        match verify_note(&report.integrity.checkpoint, "document, integrity, checkpoint", keyring) {
            Ok(checkpoint) => {
                review.checked.checkpoints += 1;
                if checkpoint.size == size {
                    review.compare(None, "document, integrity, root", &checkpoint.root, &root);
                } else if checkpoint.size < size {
                    let (place, code) = ("document, integrity, checkpoint", FindingCode::TooFewEvents);
                    review.find(None, place, code, format!("{size} events or more"), checkpoint.size);
                }
            }
            Err(finding) => review.findings.push(finding),
        }
    }
    let Some(outer) = review.checkpoint().cloned() else {
        return;
    };
    let own = report.integrity.checkpoint.parse::<Note>().ok();
    let own: Option<Checkpoint> = own.and_then(|note| note.text().parse().ok());
    if let Some(own) = own.filter(|own| own.size == outer.size) {
        review.compare(None, "document, integrity, checkpoint", &outer.root, &own.root);
    }
    if size == 0 {
        // Every tree extends the empty one: only its root says anything.
        return review.compare(
            None,
            "document, integrity, root",
            &Hash::from(<[u8; 32]>::from(Sha256::digest(b""))),
            &root,
        );
    }
    if let Err(error) = verify_consistency(size, outer.size, &root, &outer.root, &signed.consistency) {
        let expected = format!("a proof from {size} events under {root} to {} events", outer.size);
        review.find(None, "consistency", FindingCode::ProofInvalid, expected, error);
    }
}

/// What the report says twice, it says alike.
fn check_sums(review: &mut Review<'_>, report: &ComplianceReport) {
    let events = &report.events;
    let listed: u64 = events
        .by_type
        .iter()
        .map(|line| line.count)
        .fold(events.unlisted.saturating_add(events.unreadable), u64::saturating_add);
    let days = events.by_day.iter().map(|day| day.callers.saturating_add(day.own));
    for (field, stated) in [
        (
            "end_index - first_index",
            events.end_index.saturating_sub(events.first_index),
        ),
        ("by_type", listed),
        ("by_day", days.fold(events.unreadable, u64::saturating_add)),
    ] {
        review.compare(None, format!("document, events, {field}"), &events.total, &stated);
    }
    review.compare(
        None,
        "document, events, end_index",
        &report.integrity.tree_size,
        &events.end_index,
    );
    for (place, expected, stated) in said::twice(report) {
        review.compare(None, format!("document, {place}"), &expected, &stated);
    }
    let integrity = &report.integrity;
    let by_time = integrity.verification.iter().chain(&integrity.last);
    let ordered = integrity
        .verification
        .iter()
        .zip(&integrity.last)
        .all(|(governing, last)| governing.finished_at <= last.finished_at);
    let governing = said::governing(integrity.tree_size, by_time)
        .filter(|governing| ordered && Some(*governing) == integrity.verification.as_ref());
    let verdict = governing.map(|governing| governing.verdict);
    if verdict != report.integrity.verdict {
        let words = |verdict: Option<Verdict>| verdict.map_or("none", verdict_word);
        let place = "document, integrity, verdict";
        review.find(
            None,
            place,
            FindingCode::FactMismatch,
            words(verdict),
            words(report.integrity.verdict),
        );
    }
}

/// The word for a verdict.
pub const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Valid => "valid",
        Verdict::Incomplete => "incomplete",
        Verdict::Tampered => "tampered",
    }
}

/// The readable copy is the signed report.
fn check_shown(review: &mut Review<'_>, report: &ComplianceReport, shown: &Value) {
    let signed = serde_json::to_value(report).unwrap_or_default();
    let mut differences = Vec::new();
    compare_values(&signed, shown, "report", &mut differences);
    for (place, signed, shown) in differences {
        review.find(None, place, FindingCode::FactMismatch, signed, shown);
    }
}

fn compare_values(signed: &Value, shown: &Value, place: &str, found: &mut Vec<(String, String, String)>) {
    if found.len() >= MAX_DIFFERENCES || signed == shown {
        return;
    }
    let nothing = Value::Null;
    match (signed, shown) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let (a, b) = (a.get(name).unwrap_or(&nothing), b.get(name).unwrap_or(&nothing));
                compare_values(a, b, &format!("{place}/{name}"), found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            for at in 0..a.len().max(b.len()) {
                let (a, b) = (a.get(at).unwrap_or(&nothing), b.get(at).unwrap_or(&nothing));
                compare_values(a, b, &format!("{place}/{at}"), found);
            }
        }
        _ => {
            let words = |value: &Value| {
                if value.is_null() {
                    "nothing".to_owned()
                } else {
                    value.to_string()
                }
            };
            found.push((place.to_owned(), words(signed), words(shown)));
        }
    }
}

/// What a valid report shows, and does not. With findings nothing of it was shown.
fn notes(review: &Review<'_>, report: &ComplianceReport, is_page: bool) -> Vec<String> {
    let mut notes = vec![
        format!(
            "It shows that the operator of {} signed this report, that the ledger recorded it, and that the ledger has grown \
             out of the history that it is about. Whether its counts are right is shown by the ledger or a bundle alone.",
            report.origin
        ),
        "People by state, verifications and refused appends come from beside the ledger, on the operator's word."
            .to_owned(),
    ];
    if report.integrity.verdict.is_none() {
        notes.push(
            "The report claims no verdict on the history: no verification covered the end of its period.".to_owned(),
        );
    }
    if !report.period.ended {
        notes.push("The period was not over when the report was made.".to_owned());
    }
    let own = report.integrity.checkpoint.parse::<Note>().ok();
    let own: Option<Checkpoint> = own.and_then(|note| note.text().parse().ok());
    let outer = review.checkpoint().map(|checkpoint| checkpoint.size);
    if let Some(own) = own.filter(|own| own.size != report.integrity.tree_size && Some(own.size) != outer) {
        notes.push(format!(
            "The checkpoint of {} events in the report is signed; its root was compared with nothing.",
            own.size
        ));
    }
    if is_page {
        notes
            .push("The signature covers the data in the page; the page was made anew from it and compared.".to_owned());
    }
    notes
}
