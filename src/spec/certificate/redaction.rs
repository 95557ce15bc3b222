//! The certificate of a redaction: which bodies left, why, when, and which copies may still hold them
//! (docs/spec/09-evidence.md).
//!
//! ```text
//! document = COSE_Sign1 (certificate key, kind certificate) over the deterministic CBOR of [`RedactionCertificate`]
//! ```

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::spec::evidence::{Evidence, Review};
use crate::spec::ids::{Origin, Timestamp};
use crate::spec::report::{Finding, FindingCode, Findings, Object, Report, TrustState, Verdict};
use crate::spec::signature::read_unverified;
use crate::spec::system::{Authority, Position};
use crate::spec::verify::{Trust, signature_code};

/// The format that certificates of redaction name.
pub const REDACTION_FORMAT: &str = "oubliette/redaction/v1";

/// A certificate of redaction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedactionCertificate {
    /// [`REDACTION_FORMAT`].
    pub format: String,
    /// The ledger.
    pub origin: Origin,
    /// The redaction's id.
    pub redaction: Uuid,
    /// Why, as a code.
    pub reason: Box<str>,
    /// The role in which it was asked for.
    pub role: Box<str>,
    /// When the bodies left: the recorded time of `bodies.redacted`.
    pub redacted_at: Timestamp,
    /// When the files in which they lay had been written anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_rewritten_at: Option<Timestamp>,
    /// Which bodies: those of the event, in its order.
    pub positions: Vec<Position>,
    /// Copies of the ledger's store that were taken before.
    pub backups: Backups,
    /// What the certificate does not say, in plain words.
    pub limits: Vec<Box<str>>,
    /// Events in the ledger under the checkpoint of this certificate.
    pub tree_size: u64,
    /// `bodies.redacted`, then what came of it.
    pub evidence: Vec<Evidence>,
    /// The key events: `ledger.created` first.
    pub anchors: Vec<Evidence>,
    /// The signed note under which all of the evidence is proved.
    pub checkpoint: String,
}

/// Backups that may still hold what was redacted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backups {
    /// Whether the system knows them.
    pub known: bool,
    /// What is known, for people.
    pub text: Box<str>,
}

/// Whether a signed file is a certificate of redaction, be it a damaged one.
pub(super) fn is_redaction(file: &[u8]) -> bool {
    let format = REDACTION_FORMAT.as_bytes();
    file.windows(format.len()).any(|window| window == format)
}

/// Verifies a certificate of redaction alone.
pub(super) fn verify_redaction(document: &[u8], trust: &Trust) -> Report {
    let certificate: RedactionCertificate = match read_unverified(document) {
        Ok(certificate) => certificate,
        Err(error) => {
            let mut findings = Findings::default();
            let expected = "a signed certificate of redaction";
            findings.push(Finding::new(
                None,
                "certificate",
                FindingCode::DocumentInvalid,
                expected,
                error,
            ));
            return Report::new(Object::Certificate, TrustState::SelfConsistent, findings);
        }
    };
    let mut review = Review::new(trust, &certificate.anchors, &certificate.checkpoint);
    if certificate.anchors.is_empty() {
        review.find(None, "anchors", FindingCode::EvidenceAbsent, "ledger.created", "none");
    }
    check_signature(&mut review, document);
    review.compare(None, "format", &REDACTION_FORMAT.to_owned(), &certificate.format);
    if let Some(checkpoint) = review.checkpoint().cloned() {
        let origin = checkpoint.origin.as_str().to_owned();
        review.compare(None, "origin", &origin, &certificate.origin.as_str().to_owned());
        review.compare(None, "tree_size", &checkpoint.size, &certificate.tree_size);
    }
    check_evidence(&mut review, &certificate);
    let mut notes = notes(&certificate);
    if review.findings.verdict() == Verdict::Tampered {
        notes.retain(|note| note != SHOWN);
    }
    review.finish(Object::Certificate, notes)
}

fn check_signature(review: &mut Review<'_>, document: &[u8]) {
    let Some(keyring) = review.keyring() else {
        let expected = "anchors that name the certificate key";
        return review.find(None, "signature", FindingCode::SignatureUnchecked, expected, "none");
    };
    let key = keyring.certificate_key();
    let expected = format!("a signature by key {}", key.public().id());
    match key.open_document::<RedactionCertificate>(document) {
        Ok(_) => review.checked.signatures += 1,
        Err(error) => review.find(None, "signature", signature_code(&error), expected, error),
    }
}

fn check_evidence(review: &mut Review<'_>, certificate: &RedactionCertificate) {
    let mut evidence = certificate.evidence.iter().enumerate();
    let first = evidence.next().map(|(_, event)| review.evidence("evidence/0", event));
    for (number, event) in evidence {
        review.evidence(&format!("evidence/{number}"), event);
    }
    let redacted = first.as_ref().filter(|event| event.signed);
    let Some((event, Some(Authority::Redacted(redacted)))) = redacted.map(|event| (event, &event.authority)) else {
        let expected = "a valid bodies.redacted";
        return review.find(None, "evidence/0", FindingCode::EvidenceAbsent, expected, "none");
    };
    let index = Some(event.index);
    review.compare(
        index,
        "reason",
        &redacted.ground.to_string(),
        &certificate.reason.to_string(),
    );
    let words = |positions: &[Position]| format!("{positions:?}");
    review.compare(
        index,
        "positions",
        &words(&redacted.positions),
        &words(&certificate.positions),
    );
    if let Some(header) = &event.header {
        review.compare(index, "redacted_at", &header.recorded_at, &certificate.redacted_at);
    }
    let rewritten = certificate.files_rewritten_at;
    if rewritten.is_some_and(|at| at < certificate.redacted_at) {
        let expected = "a time after redacted_at";
        review.find(
            index,
            "files_rewritten_at",
            FindingCode::FactMismatch,
            expected,
            "an earlier one",
        );
    }
}

/// What a certificate that holds shows.
const SHOWN: &str = "It shows that the ledger recorded the removal of these bodies and that its operator signed it; that no \
                     copy of them exists elsewhere cannot be seen from here.";

fn notes(certificate: &RedactionCertificate) -> Vec<String> {
    let mut notes = vec![
        SHOWN.to_owned(),
        format!("It covers the ledger {} and no other.", certificate.origin),
        match certificate.files_rewritten_at {
            Some(at) => format!(
                "On the word of the certificate alone: the files in which the bodies lay had been written anew at {at}."
            ),
            None => "The files in which the bodies lay had not been written anew yet.".to_owned(),
        },
        format!("Backups: {}", certificate.backups.text),
    ];
    notes.extend(certificate.limits.iter().map(ToString::to_string));
    notes
}
