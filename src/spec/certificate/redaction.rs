//! The certificate of a redaction: which bodies left, why, when, and which copies may still hold them
//! (docs/spec/09-evidence.md).
//!
//! ```text
//! document = COSE_Sign1 (certificate key, kind certificate) over the deterministic CBOR of [`RedactionCertificate`]
//! ```

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Certificate;
use super::page::render_redaction;
use super::verify::{alone, finish, unreadable};
use crate::spec::event::Meta;
use crate::spec::evidence::{Evidence, Review};
use crate::spec::ids::{Origin, Timestamp};
use crate::spec::json;
use crate::spec::report::{FindingCode, Report};
use crate::spec::signature::read_unverified;
use crate::spec::system::{Authority, Position};
use crate::spec::verify::{Keyring, Trust};

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
    /// Backups of the ledger's store that were begun before its files were written anew.
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
    /// Those that the ledger has on record (`backup.started`), oldest first.
    pub known: Vec<KnownBackup>,
    /// What that means, for people.
    pub text: Box<str>,
}

/// A backup that a ledger has on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct KnownBackup {
    /// Its id.
    pub id: Uuid,
    /// When it began: the recorded time of its `backup.started`.
    pub started_at: Timestamp,
    /// The index of that event.
    pub index: u64,
}

/// Whether a signed file is a certificate of redaction: by its form; one that has neither form, by what it names.
pub(super) fn is_redaction(file: &[u8]) -> bool {
    if read_unverified::<RedactionCertificate>(file).is_ok() {
        return true;
    }
    let format = REDACTION_FORMAT.as_bytes();
    read_unverified::<Certificate>(file).is_err() && file.windows(format.len()).any(|window| window == format)
}

/// Verifies a certificate of redaction alone; `page` is the page that carries it.
pub(super) fn verify_redaction(document: &[u8], trust: &Trust, page: Option<&[u8]>) -> Report {
    let certificate: RedactionCertificate = match read_unverified(document) {
        Ok(certificate) => certificate,
        Err(error) => return alone(unreadable("certificate", "a signed certificate of redaction", error)),
    };
    let mut review = Review::anchored(trust, &certificate.anchors, &certificate.checkpoint);
    review.signed_by::<RedactionCertificate>(Keyring::certificate_key, document);
    review.compare(None, "format", &REDACTION_FORMAT.to_owned(), &certificate.format);
    let size = ("tree_size", certificate.tree_size);
    review.stands_under(("origin", &certificate.origin), Some(size));
    let unshown = check_evidence(&mut review, &certificate);
    let notes = notes(&certificate, &unshown);
    let render = || render_redaction(&certificate, document);
    finish(review, (notes, SHOWN), page, render)
}

/// The stream of redactions.
const STREAM: &str = "$redactions";

/// The payload of `redaction.completed`.
#[derive(Serialize, Deserialize)]
struct Completed {
    redaction: Uuid,
    at: Timestamp,
}

/// Compares what the certificate states with what its events say. Gives the members that no event shows.
fn check_evidence(review: &mut Review<'_>, certificate: &RedactionCertificate) -> Vec<&'static str> {
    let mut unshown = vec!["role", "backups"];
    let (mut first, mut completed) = (None, None);
    for (number, event) in certificate.evidence.iter().enumerate() {
        let examined = review.evidence(&format!("evidence/{number}"), event);
        if number == 0 {
            first = Some(examined);
        } else if let Some(header) = examined.header.as_ref().filter(|_| examined.signed)
            && header.event_type.as_str() == "redaction.completed"
        {
            completed = completed.or_else(|| completion(event).filter(|one| one.redaction == certificate.redaction));
        }
    }
    let redacted = first.as_ref().filter(|event| event.signed);
    let Some((event, Some(Authority::Redacted(redacted)))) = redacted.map(|event| (event, &event.authority)) else {
        let expected = "a valid bodies.redacted";
        review.find(None, "evidence/0", FindingCode::EvidenceAbsent, expected, "none");
        return unshown;
    };
    let index = Some(event.index);
    match certificate
        .evidence
        .first()
        .and_then(meta)
        .and_then(|meta| meta.correlation_id)
    {
        Some(id) => review.compare(index, "redaction", &id.to_string(), &certificate.redaction.to_string()),
        None => unshown.insert(0, "redaction"),
    }
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
    let time = |at: Option<Timestamp>| at.map_or_else(|| "none".to_owned(), |at| at.to_string());
    let (signed, stated) = (completed.map(|completed| completed.at), certificate.files_rewritten_at);
    review.compare(index, "files_rewritten_at", &time(signed), &time(stated));
    unshown
}

fn meta(event: &Evidence) -> Option<Meta> {
    let body = event.bodies.iter().find(|body| body.ordinal == 0)?;
    Meta::decode(&body.bytes.0).ok()
}

/// What an event says of a completion: one of Oubliette's own, since nobody else writes to its streams.
fn completion(event: &Evidence) -> Option<Completed> {
    meta(event).filter(|meta| meta.stream.as_str() == STREAM)?;
    let body = event.bodies.iter().find(|body| body.ordinal == 1)?;
    json::read(&body.bytes.0).ok()
}

/// What a certificate that holds shows.
const SHOWN: &str = "It shows that the ledger recorded the removal of these bodies and that its operator signed it; that no \
                     copy of them exists elsewhere cannot be seen from here.";

fn notes(certificate: &RedactionCertificate, unshown: &[&str]) -> Vec<String> {
    let mut notes = vec![
        SHOWN.to_owned(),
        format!("It covers the ledger {} and no other.", certificate.origin),
        match certificate.files_rewritten_at {
            Some(at) => {
                format!("The ledger recorded that the files in which the bodies lay had been written anew at {at}.")
            }
            None => "The files in which the bodies lay had not been written anew yet.".to_owned(),
        },
        format!(
            "On the word of the certificate alone, shown by no event in it: {}.",
            unshown.join(", ")
        ),
        format!(
            "Backups on record that may hold the bodies: {}. {}",
            certificate.backups.known.len(),
            certificate.backups.text
        ),
    ];
    notes.extend(certificate.limits.iter().map(ToString::to_string));
    notes
}
