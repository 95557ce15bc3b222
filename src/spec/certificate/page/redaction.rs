//! The page of a certificate of redaction.

use maud::{Markup, html};

use super::super::{KnownBackup, RedactionCertificate};
use super::{banner, limits, proof};
use crate::spec::page::parts::{code, number, prose, section, table, text};
use crate::spec::page::words::{count, counted, date_time};
use crate::spec::system::Position;

pub(super) fn body(certificate: &RedactionCertificate) -> Markup {
    html! {
        header {
            h1 { "Certificate of redaction" }
            p class="origin" { (certificate.origin) }
            dl {
                dt { "Redaction" } dd { code { (certificate.redaction) } }
                dt { "Reason" } dd { (reason(&certificate.reason)) }
                dt { "Asked for" } dd { "in the role " (certificate.role) }
                dt { "Removed" } dd { (date_time(certificate.redacted_at)) }
                @if let Some(at) = certificate.files_rewritten_at { dt { "Files rewritten" } dd { (date_time(at)) } }
            }
        }
        main {
            (status(certificate))
            (positions(&certificate.positions))
            (backups(certificate))
            (limits(&certificate.limits))
            (proof(&certificate.origin, &certificate.evidence, certificate.tree_size, &certificate.checkpoint))
        }
    }
}

fn reason(code: &str) -> String {
    match code {
        "personal_data" => "personal data stood in clear".to_owned(),
        "secret" => "a password, a key or another secret".to_owned(),
        "unlawful" => "it must not be kept".to_owned(),
        "other" => "another reason".to_owned(),
        _ => code.to_owned(),
    }
}

fn status(certificate: &RedactionCertificate) -> Markup {
    let bodies = counted(certificate.positions.len() as u64, "body", "bodies");
    match certificate.files_rewritten_at {
        Some(_) => banner(
            "good",
            "FINAL",
            &html! { (bodies) " left the ledger's store, and the files in which they lay were written anew. Backups may still hold them: see below." },
        ),
        None => banner(
            "open",
            "PROVISIONAL",
            &html! { (bodies) " left the ledger's store, and the server shows them to nobody any more. But the files in which they lay are still to be written anew. A final certificate comes then: ask for it again." },
        ),
    }
}

fn positions(positions: &[Position]) -> Markup {
    let row = |position: &Position| {
        let body = match position.ordinal {
            0 => "meta: the envelope".to_owned(),
            1 => "data: the payload".to_owned(),
            ordinal => format!("body {ordinal}: a sealed block"),
        };
        ("", vec![number(position.index), text(body)])
    };
    let rows: Vec<_> = positions.iter().map(row).collect();
    section(
        "bodies",
        "What was removed",
        &html! {
            p { "The history keeps that each of these events happened, when, and a salted commitment to what was removed, which does not give it back." }
            (prose(&["#Event", "Body"], &rows))
        },
    )
}

fn backups(certificate: &RedactionCertificate) -> Markup {
    let row = |backup: &KnownBackup| {
        (
            "",
            vec![
                text(date_time(backup.started_at)),
                text(count(backup.index)),
                code(backup.id),
            ],
        )
    };
    let rows: Vec<_> = certificate.backups.known.iter().map(row).collect();
    section(
        "backups",
        "Backups that may still hold it",
        &html! {
            @if rows.is_empty() { p { "The ledger has none on record." } }
            @else { (table(&["Begun", "#Recorded at", "Backup"], &rows, 0)) }
            p class="note" { (certificate.backups.text) }
        },
    )
}
