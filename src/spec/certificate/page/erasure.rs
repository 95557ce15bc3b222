//! The page of a certificate of erasure.

use maud::{Markup, html};

use super::super::{
    Certificate, CertifiedLeak, CertifiedSubject, Disclosed, Disclosure, FrozenLeak, KeyCopies, Status,
};
use super::words::{basis, reason, state, store};
use super::{banner, limits, proof};
use crate::spec::ids::Timestamp;
use crate::spec::page::parts::{code, number, prose, section, table, text};
use crate::spec::page::words::{count, counted, date_time};
use crate::spec::system::Basis;

pub(super) fn body(certificate: &Certificate) -> Markup {
    html! {
        (head(certificate))
        main {
            (status(certificate))
            (residues(certificate))
            (request(certificate))
            (destroyed(certificate))
            (steps(certificate))
            (copies(certificate))
            (check(certificate))
            (derived(certificate))
            (recipients(certificate))
            (clear(certificate))
            (suppression(certificate))
            (limits(&certificate.limits))
            (proof(&certificate.origin, &certificate.evidence, certificate.tree_size_after, &certificate.checkpoint))
        }
    }
}

fn head(certificate: &Certificate) -> Markup {
    html! {
        header {
            h1 { "Certificate of erasure" }
            p class="origin" { (certificate.origin) }
            dl {
                dt { "Erasure" } dd { code { (certificate.request) } }
                dt { "People" } dd { (count(certificate.subjects.len() as u64)) }
                dt { "Completed" } dd { (optional(certificate.completed_at)) (in_time(certificate)) }
            }
        }
    }
}

fn optional(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "–".to_owned(), date_time)
}

/// The legal month runs from a person's request. A period of retention that is over has none.
fn has_legal_month(certificate: &Certificate) -> bool {
    certificate.basis != Basis::Retention
}

fn in_time(certificate: &Certificate) -> Markup {
    if !has_legal_month(certificate) {
        return html! {};
    }
    match (certificate.completed_at, certificate.due_at) {
        (Some(done), Some(due)) if done <= due => html! { ", within the legal month" },
        (Some(_), Some(due)) => html! { ", " strong { "late" } ": it was due at " (date_time(due)) },
        _ => html! {},
    }
}

fn status(certificate: &Certificate) -> Markup {
    match certificate.status {
        Status::Final => banner(
            "good",
            "FINAL",
            &html! { "The keys are destroyed, and nothing that this system knows of is still to go." },
        ),
        Status::Provisional => banner(
            "open",
            "PROVISIONAL",
            &html! {
                "The keys are destroyed: the server opens nothing of this data any more. But "
                (counted(certificate.residues.len() as u64, "thing is", "things are"))
                " still to go, listed next. A final certificate comes when all of them are gone: ask for it again."
            },
        ),
    }
}

/// Only where there is one.
fn residues(certificate: &Certificate) -> Markup {
    if certificate.residues.is_empty() {
        return html! {};
    }
    let row = |residue: &super::super::Residue| ("", vec![text(store(&residue.code)), text(&residue.text)]);
    let rows: Vec<_> = certificate.residues.iter().map(row).collect();
    section(
        "residues",
        "What is still to go",
        &prose(&["What", "What it means"], &rows),
    )
}

fn request(certificate: &Certificate) -> Markup {
    section(
        "request",
        "The request",
        &html! {
            dl {
                dt { "Ground" } dd { (basis(certificate.basis)) }
                dt { "Reason" } dd { (reason(certificate.reason)) }
                dt { "Asked for" } dd {
                    "in the role " (certificate.role)
                    @if let Some(by) = &certificate.by { ", with API key " code { (by.key) } " (" (by.roles.join(", ")) ")" }
                }
                @if let Some(submitted_at) = certificate.submitted_at {
                    dt { "Came in" } dd { (date_time(submitted_at)) ", and waited" }
                }
                dt { "Began" } dd { (date_time(certificate.requested_at)) }
                @if let Some(due_at) = certificate.due_at.filter(|_| has_legal_month(certificate)) {
                    dt { "Due" } dd { (date_time(due_at)) ": one calendar month after it came in (GDPR Art. 12(3))" }
                }
                @if let Some(before) = certificate.already_erased {
                    dt { "Erased before" } dd { (counted(before, "more person", "more people")) " of the request: by earlier erasures, of which this certificate says nothing" }
                }
                @if let Some(covers) = &certificate.covers {
                    dt { "Frozen log" } dd { "the people were those of " (covers) ", which this ledger goes on from" }
                }
            }
        },
    )
}

fn destroyed(certificate: &Certificate) -> Markup {
    let row = |subject: &CertifiedSubject| {
        let categories = subject.categories.as_ref().map_or_else(
            || "all, and the identity".to_owned(),
            |named| named.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        );
        let identity = if subject.identity_destroyed {
            "destroyed"
        } else {
            "kept"
        };
        (
            "",
            vec![
                code(subject.handle),
                text(categories),
                subject.keys_destroyed.map_or_else(|| text("not counted"), number),
                text(identity),
                number(subject.blocks_sealed),
            ],
        )
    };
    let rows: Vec<_> = certificate.subjects.iter().map(row).collect();
    let bits = certificate.key_bits.map(|bits| format!(", {bits} bits each"));
    section(
        "destroyed",
        "What was destroyed",
        &html! {
            p { "Keys, by cryptographic erase: what was sealed under them is still a part of the history's proofs, and opens with no key. "
                "A handle is a random number; it led to a person through the identity row, and leads nowhere where that is destroyed." }
            (table(&["Handle", "Categories", "#Keys", "Identity row", "#Blocks sealed under them"], &rows, 0))
            p class="note" { "The keys were used with " (certificate.algorithms.join(", ")) (bits.unwrap_or_default()) "." }
        },
    )
}

fn steps(certificate: &Certificate) -> Markup {
    let times = &certificate.times;
    let key_copies = match (times.t5, certificate.epoch_key_due_at) {
        (None, Some(due)) => format!("still to go: at {} at the latest", date_time(due)),
        _ => done(times.t5),
    };
    let steps = [
        (
            "T1",
            "Access fenced: nothing new is stored, nothing is opened",
            done(times.t1),
        ),
        ("T2", "Live keys destroyed", done(times.t2)),
        (
            "T3",
            "Old copies of the keys gone from the key store's files",
            done(times.t3),
        ),
        (
            "T4",
            "Sealed blocks gone from the files of the ledger's store",
            done(times.t4),
        ),
        (
            "T5",
            "No epoch key is left under which a backup holds the keys",
            key_copies,
        ),
    ];
    let rows = steps.map(|(step, words, time)| ("", vec![text(step), text(words), text(time)]));
    section("steps", "When", &prose(&["Step", "What", "Done"], &rows))
}

fn done(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "still to go".to_owned(), date_time)
}

fn copies(certificate: &Certificate) -> Markup {
    let row = |copies: &KeyCopies| {
        let due = certificate.epoch_key_due_at.map(date_time).unwrap_or_default();
        let state = copies.destroyed_at.map_or_else(
            || format!("kept until {due} at the latest"),
            |at| format!("destroyed {}", date_time(at)),
        );
        ("", vec![text(copies.epoch), text(state)])
    };
    let rows: Vec<_> = certificate.key_copies.iter().map(row).collect();
    section(
        "copies",
        "Copies of the keys",
        &html! {
            @if let Some(epochs) = &certificate.epochs {
                p { "The erasure took the ledger's keys from epoch " (epochs.from) " to epoch " (epochs.to)
                    ": what an older file or backup has of the erased keys hangs under the key of an older epoch." }
            }
            @if rows.is_empty() {
                p { "No backup was on record that holds them: the old epoch key was destroyed at T2." }
            } @else {
                p { "Backups taken under these epochs hold copies, which open only while that epoch's key exists:" }
                (prose(&["#Epoch", "Its key"], &rows))
            }
        },
    )
}

fn check(certificate: &Certificate) -> Markup {
    let check = &certificate.verification;
    let keys_left = check.keys_left.map(|keys| {
        html! { dt { "Key rows left" } dd { (count(keys)) } }
    });
    section(
        "check",
        "How it was checked",
        &html! {
            @if let Some(words) = &check.text { p { (words) } }
            dl {
                dt { "Blocks tried" } dd { (count(check.sampled)) }
                dt { "Blocks that opened" } dd { (count(check.opened)) }
                @if let Some(keys_left) = keys_left { (keys_left) }
                dt { "Identity" } dd { @if check.identity_resolves { strong { "still resolves" } } @else { "does not resolve" } }
                @if let Some(epoch) = check.epoch { dt { "Keys in use" } dd { "those of epoch " (epoch) } }
            }
        },
    )
}

/// Only once somebody looked.
fn derived(certificate: &Certificate) -> Markup {
    if certificate.derived.is_empty() {
        return html! {};
    }
    let row = |derived: &crate::spec::system::DerivedStore| {
        (
            "",
            vec![
                text(store(&derived.store)),
                text(state(&derived.state)),
                text(optional(derived.at)),
            ],
        )
    };
    let rows: Vec<_> = certificate.derived.iter().map(row).collect();
    section(
        "derived",
        "What is made from the data",
        &prose(&["Store", "State", "When"], &rows),
    )
}

fn recipients(certificate: &Certificate) -> Markup {
    let recipients = &certificate.recipients;
    let row = |line: &Disclosure| {
        let what = match line.what {
            Disclosed::Revealed => "opened data of these people",
            Disclosed::Exported => "took an opened export",
        };
        (
            "",
            vec![
                text(what),
                code(&line.key),
                number(line.times),
                text(date_time(line.first_at)),
                text(date_time(line.last_at)),
                text(line.roles.join(", ")),
            ],
        )
    };
    let rows: Vec<_> = recipients.disclosed.iter().map(row).collect();
    section(
        "recipients",
        "Recipients to notify (GDPR Art. 19)",
        &html! {
            p { "Named with the request: "
                @if recipients.named.is_empty() { "none" } @else {
                    @for (at, name) in recipients.named.iter().enumerate() { @if at > 0 { ", " } code { (name) } }
                } "." }
            @if rows.is_empty() { p { "The ledger has no record that data of these people was opened." } }
            @else { (table(&["What", "API key", "#Times", "First", "Last", "Roles"], &rows, recipients.omitted)) }
            @if recipients.unreadable > 0 {
                p class="warn" { (counted(recipients.unreadable, "record", "records")) " of reveals or exports cannot be read: what they say is missing here. Verify the ledger." }
            }
            p class="note" { (recipients.text) }
        },
    )
}

fn clear(certificate: &Certificate) -> Markup {
    let clear = &certificate.clear;
    let row = |leak: &CertifiedLeak| {
        (
            "",
            vec![
                code(leak.leak),
                text(date_time(leak.reported_at)),
                text(indexes(&leak.events)),
                text(leak.outcome),
                text(date_time(leak.settled_at)),
            ],
        )
    };
    let rows: Vec<_> = clear.leaks.iter().map(row).collect();
    let frozen: Vec<_> = clear.frozen.iter().map(frozen_leak).collect();
    section(
        "clear",
        "What stands in clear",
        &html! {
            p { strong { "Not examined." } " " (clear.text) }
            @if !rows.is_empty() {
                p { "Reports that personal data of these people stood in clear:" }
                (table(&["Report", "When", "Events", "Outcome", "Settled"], &rows, 0))
            }
            @if !frozen.is_empty() {
                p class="warn" { "Reports of the frozen log that personal data of these people stands in clear there. It takes neither a redaction nor a withdrawal any more: what stands, stands for as long as that log is kept." }
                (table(&["Report", "When", "Events of the frozen log", "Outcome", "Settled"], &frozen, 0))
            }
            @if clear.nameless > 0 {
                p class="warn" { (counted(clear.nameless, "report", "reports")) " of personal data in clear named nobody, and the data stands: whether it is about these people is not known." }
            }
        },
    )
}

fn frozen_leak(leak: &FrozenLeak) -> (&'static str, Vec<Markup>) {
    let outcome = leak
        .outcome
        .map_or_else(|| "stands".to_owned(), |outcome| outcome.to_string());
    (
        "",
        vec![
            code(leak.leak),
            text(date_time(leak.reported_at)),
            text(indexes(&leak.events)),
            text(outcome),
            text(optional(leak.settled_at)),
        ],
    )
}

fn indexes(events: &[u64]) -> String {
    events.iter().map(|index| count(*index)).collect::<Vec<_>>().join("; ")
}

fn suppression(certificate: &Certificate) -> Markup {
    let suppression = &certificate.suppression;
    section(
        "suppression",
        "If the same identifier comes again",
        &html! {
            @match (suppression.active, suppression.until) {
                (true, None) => p { "It is refused, for ever." },
                (true, Some(until)) => p { "It is refused until " (date_time(until)) "." },
                (false, _) => p { "It is taken for a new person, or the person was not erased as a whole: no trace of the identifier is kept for refusing it." },
            }
            @if let Some(basis) = &suppression.basis { p class="note" { "What is kept: " (basis) "." } }
        },
    )
}
