//! Certificates as HTML pages (`spec::page`), each made from the signed certificate alone: whether it is final or provisional
//! stands at the top, in words and in colour.

mod erasure;
mod redaction;
mod words;

use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::{Certificate, RedactionCertificate};
use crate::spec::evidence::{Base64, Evidence};
use crate::spec::json;
use crate::spec::page::Kind;
use crate::spec::page::parts::{code, prose, section, text};
use crate::spec::page::words::count;

/// The pages of certificates.
pub(super) const KIND: Kind = Kind {
    renderer: "oubliette-certificate-page/1",
    id: "oubliette-certificate",
};

/// The format that the block of data names.
const FORMAT: &str = "oubliette/signed-certificate/v1";

/// The block of data in a page.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Embedded {
    /// [`FORMAT`].
    format: String,
    /// The COSE_Sign1.
    document: Base64,
}

/// The page of a certificate of erasure; `document` is the signed certificate.
pub fn render(certificate: &Certificate, document: &[u8]) -> String {
    let title = format!("Certificate of erasure: {}", certificate.origin);
    page(&title, &erasure::body(certificate), document)
}

/// The page of a certificate of redaction; `document` is the signed certificate.
pub fn render_redaction(certificate: &RedactionCertificate, document: &[u8]) -> String {
    let title = format!("Certificate of redaction: {}", certificate.origin);
    page(&title, &redaction::body(certificate), document)
}

fn page(title: &str, body: &Markup, document: &[u8]) -> String {
    let embedded = Embedded {
        format: FORMAT.to_owned(),
        document: Base64(document.to_vec()),
    };
    KIND.page(title, body, &embedded)
}

/// The signed certificate that a page carries.
///
/// # Errors
/// What is wrong with the block of data.
pub(super) fn embedded(file: &[u8]) -> Result<Vec<u8>, String> {
    let block = KIND.embedded(file).ok_or("no block of data")?;
    let embedded: Embedded = json::read(block)?;
    if embedded.format != FORMAT {
        return Err(format!("the format {}", embedded.format));
    }
    Ok(embedded.document.0)
}

/// What a reader must see first.
fn banner(class: &str, status: &str, words: &Markup) -> Markup {
    html! { div class={ "status " (class) } { strong { (status) } p { (words) } } }
}

fn limits(limits: &[Box<str>]) -> Markup {
    section(
        "limits",
        "What this certificate does not say",
        &html! { ul { @for limit in limits { li { (limit) } } } },
    )
}

/// The events behind it, and how to check all of it.
fn proof(origin: &dyn std::fmt::Display, evidence: &[Evidence], size: u64, checkpoint: &str) -> Markup {
    let kinds = evidence.iter().map(|event| {
        let record = event.record();
        let header = crate::spec::event::Header::decode(&record.header);
        let kind = header.map_or_else(|_| "unreadable".to_owned(), |header| header.event_type.to_string());
        ("", vec![text(count(record.index)), code(kind)])
    });
    section(
        "proof",
        "What proves it, and how to check it",
        &html! {
            p { "These events of the ledger " (origin) " say what is stated above. Each is in this file, signed, with its proof under the checkpoint below." }
            (prose(&["#Index", "Event"], &kinds.collect::<Vec<_>>()))
            h3 { "Checkpoint of " (count(size)) " events" }
            pre { (checkpoint) }
            p { "Check this file offline, with a key of the ledger that you know from elsewhere:" }
            pre { "oubliette-verify FILE --key VKEY" }
            p class="note" { "The signature covers the data that this page was made from. The verifier makes the page anew from that data and compares it to the byte: save the file, do not copy or reformat it." }
        },
    )
}
