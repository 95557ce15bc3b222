//! The sections of the page, each with its source and what it does not say.

use maud::{Markup, html};

use super::super::verify::verdict_word;
use super::super::{By, ComplianceReport, RoleCount, VaultState};
use super::chart::{self, Bar};
use crate::spec::page::parts::{code, figure, moment, number, section, table, text, word};
use crate::spec::page::words::{count, counted, date, date_time, duration};

/// Types and erasures that the charts show; the tables have all.
const CHARTED: usize = 15;

pub(super) fn by(by: &By) -> [Markup; 2] {
    [code(&by.key), text(by.roles.join(", "))]
}

pub(super) fn integrity(report: &ComplianceReport) -> Markup {
    let integrity = &report.integrity;
    let anchor = report.anchors.vault.as_ref();
    section(
        "integrity",
        "Is the history whole?",
        &html! {
            p { strong { (integrity.statement) } }
            dl {
                dt { "Events" } dd { (count(integrity.tree_size)) " at the end of the period" }
                dt { "Root hash" } dd { code { (integrity.root) } }
                @if let Some(covering) = &integrity.verification {
                    dt { "Verified" } dd { (date_time(covering.finished_at)) ", " (count(covering.tree_size)) " events, "
                        (verdict_word(covering.verdict)) ", " (counted(covering.findings, "finding", "findings"))
                        @if covering.fast { ", signatures in batches" } }
                }
                dt { "Kept outside" } dd {
                    @match anchor {
                        Some(anchor) if anchor.state == VaultState::Unreadable => "the vault's checkpoint could not be read",
                        Some(anchor) => {
                            "the vault's checkpoint of " (counted(anchor.tree_size, "event", "events"))
                            @match anchor.state {
                                VaultState::Agrees => " agrees with the ledger",
                                VaultState::Contradicts => strong { " contradicts the ledger: its history was replaced" },
                                _ => strong { " is ahead of the ledger: the ledger was rolled back" },
                            }
                            @if let Some(until) = anchor.covers_until {
                                "; it covers it up to " (date_time(until)) " (" (duration(anchor.age_seconds)) " before this report; "
                                (counted(anchor.events_since, "event", "events")) " since)"
                            }
                        }
                        None => "the vault keeps no checkpoint"
                    }
                }
                dt { "Third parties" } dd { "no witness and no timestamp: this version has none" }
            }
            h3 { "Checkpoint that covers the end of the period" }
            pre { (integrity.checkpoint) }
        },
    )
}

pub(super) fn erasures(report: &ComplianceReport) -> Markup {
    let erasures = &report.erasures;
    let row = |line: &super::super::ErasureLine| {
        let late = if line.seconds_late > 0 {
            text(duration(line.seconds_late))
        } else {
            text("–")
        };
        let cells = vec![
            code(line.request),
            text(line.state.words()),
            text(date_time(line.requested_at)),
            moment(line.begun_at),
            text(date_time(line.due_at)),
            moment(line.completed_at.or(line.cancelled_at)),
            text(duration(line.seconds)),
            late,
            number(line.subjects),
            text(word(&line.basis)),
            text(word(&line.reason)),
        ];
        (if line.state.is_late() { "late" } else { "" }, cells)
    };
    let columns = [
        "Request",
        "State",
        "Requested",
        "Begun",
        "Due",
        "Ended",
        "#Took",
        "#Late by",
        "#People",
        "Ground",
        "Reason",
    ];
    let charted: Vec<_> = erasures.list.iter().take(CHARTED).cloned().collect();
    section(
        "erasures",
        "Erasures",
        &html! {
            p { (counted(erasures.total, "erasure was", "erasures were")) " open or ended in the period: "
                (count(erasures.requested)) " asked for, " (count(erasures.completed)) " completed in it. "
                (count(erasures.completed_late)) " completed late, " (count(erasures.overdue)) " overdue and "
                (count(erasures.open)) " open in time at its end; " (count(erasures.waiting)) " of the open ones waited and had not begun. "
                (count(erasures.cancelled)) " were taken back." }
            p class="note" { "The limit is one calendar month from the recorded request (GDPR Art. 12(3)); waiting counts. Completed means: access fenced, live keys deleted from the key "
                "store, of whole people the identity, too; opening of samples was tried, and none opened. What an erasure had not reached is listed in its certificate." }
            @if !charted.is_empty() {
                (figure("Time taken, against the limit", &html! { "per erasure; the dashed line is its limit"
                    span class="key done" {} "in time" span class="key open" {} "open" span class="key late" {} "late" },
                    &chart::durations("Time that erasures took, against one month", &charted)))
                (table(&columns, &erasures.list.iter().map(row).collect::<Vec<_>>(), erasures.omitted))
            }
        },
    )
}

pub(super) fn subjects(report: &ComplianceReport) -> Markup {
    let subjects = &report.subjects;
    let states = [
        ("active", "With keys", subjects.active),
        ("erasing", "Being erased", subjects.erasing),
        ("erased", "Erased", subjects.erased),
    ];
    let bars: Vec<_> = states
        .iter()
        .map(|(class, label, value)| Bar {
            label: (*label).into(),
            value: *value,
            class,
        })
        .collect();
    section(
        "subjects",
        "People",
        &html! {
            p class="note" { "As the key store said when the report was made; the ledger does not prove it. Of the people with keys, "
                (count(subjects.partly_erased)) " had at least one category erased." }
            (figure("People by state", &html! { "number of people" }, &chart::rows("People by state", &bars)))
            (table(&["State", "#People"], &states.map(|(_, label, value)| ("", vec![text(label), number(value)])), 0))
        },
    )
}

pub(super) fn events(report: &ComplianceReport) -> Markup {
    let events = &report.events;
    let (days, unit) = chart::days("Events recorded over time", &events.by_day);
    let bar = |line: &super::super::TypeCount| Bar {
        label: line.event_type.to_string(),
        value: line.count,
        class: if line.own { "own" } else { "callers" },
    };
    let bars: Vec<_> = events.by_type.iter().take(CHARTED).map(bar).collect();
    let keys = html! { span class="key callers" {} "callers" span class="key own" {} "Oubliette's own" };
    let by_type = |line: &super::super::TypeCount| {
        (
            "",
            vec![
                code(&line.event_type),
                number(line.count),
                text(if line.own { "Oubliette" } else { "callers" }),
            ],
        )
    };
    let by_day = |line: &super::super::DayCount| {
        (
            "",
            vec![
                text(date(line.day)),
                number(line.callers),
                number(line.own),
                number(line.callers.saturating_add(line.own)),
            ],
        )
    };
    section(
        "events",
        "Events",
        &html! {
            p { (counted(events.total, "event", "events")) " in the period, "
                (count(events.own)) " of them Oubliette's own" @if events.unreadable > 0 { ", and " strong { (count(events.unreadable)) " whose header cannot be read" } } ". Indexes " (events.first_index) " up to, not including, " (events.end_index) "." }
            @if events.total > 0 {
                (figure("Events over time", &html! { "events a " (unit) ", UTC" (keys) }, &days))
                (table(&["Day (UTC)", "#Callers", "#Oubliette's own", "#All"], &events.by_day.iter().map(by_day).collect::<Vec<_>>(), 0))
                (figure("Events by type", &html! { "number of events, the most frequent types" (keys) }, &chart::rows("Events by type", &bars)))
                (table(&["Type", "#Events", "Written by"], &events.by_type.iter().map(by_type).collect::<Vec<_>>(), events.unlisted))
            }
        },
    )
}

pub(super) fn reveals(report: &ComplianceReport) -> Markup {
    let reveals = &report.reveals;
    let row = |line: &super::super::Reveal| {
        let [key, roles] = by(&line.by);
        (
            "",
            vec![
                text(date_time(line.at)),
                key,
                roles,
                number(line.events),
                number(line.blocks),
                number(line.people),
                text(line.index),
            ],
        )
    };
    let columns = [
        "When",
        "API key",
        "Roles",
        "#Events",
        "#Blocks",
        "#People",
        "#Recorded at",
    ];
    section(
        "reveals",
        "Personal data opened",
        &html! {
            p { (counted(reveals.requests, "request", "requests")) " opened " (counted(reveals.blocks, "block", "blocks"))
                " of personal data. Each is an event of the ledger, recorded before the data left. Opened exports stand below." }
            @if !reveals.list.is_empty() { (table(&columns, &reveals.list.iter().map(row).collect::<Vec<_>>(), reveals.omitted)) }
        },
    )
}

pub(super) fn exports(report: &ComplianceReport) -> Markup {
    let exports = &report.exports;
    let row = |line: &super::super::ExportAct| {
        let [key, roles] = by(&line.by);
        let what = line.what.as_deref().unwrap_or("–");
        let opened = if line.opened { "opened" } else { "sealed" };
        (
            "",
            vec![
                text(date_time(line.at)),
                text(&line.act),
                code(line.export),
                key,
                roles,
                text(opened),
                text(what),
                text(line.index),
            ],
        )
    };
    let columns = [
        "When",
        "Act",
        "Export",
        "API key",
        "Roles",
        "Personal data",
        "What",
        "#Recorded at",
    ];
    section(
        "exports",
        "Exports",
        &html! {
            p { (counted(exports.created, "export", "exports")) " asked for, " (counted(exports.left, "export", "exports")) " left: " (counted(exports.downloaded, "download", "downloads"))
                " of the whole, " (count(exports.parts)) " of parts, " (count(exports.opened)) " of these with personal data opened." }
            @if !exports.list.is_empty() { (table(&columns, &exports.list.iter().map(row).collect::<Vec<_>>(), exports.omitted)) }
        },
    )
}

pub(super) fn keys(report: &ComplianceReport) -> Markup {
    let keys = &report.keys;
    let signing = |line: &super::super::SigningKeyLine| {
        let to = line.to.map_or_else(|| "now".to_owned(), |to| to.to_string());
        (
            "",
            vec![text(word(&line.role)), code(line.key_id), number(line.from), text(to)],
        )
    };
    let act = |line: &super::super::KeyAct| {
        (
            "",
            vec![
                text(date_time(line.at)),
                text(&line.act),
                code(&line.key),
                text(line.roles.join(", ")),
                code(&line.by),
                text(line.index),
            ],
        )
    };
    let of = |counts: &[RoleCount], role: &str| {
        counts
            .iter()
            .find(|line| *line.role == *role)
            .map_or(0, |line| line.count)
    };
    let roles = ["writer", "reader", "revealer", "auditor", "officer", "admin"].map(|role| {
        (
            "",
            vec![
                text(role),
                number(of(&keys.live_by_role, role)),
                number(of(&keys.created_by_role, role)),
                number(of(&keys.revoked_by_role, role)),
            ],
        )
    });
    let columns = ["When", "Act", "API key", "Roles", "By", "#Recorded at"];
    section(
        "keys",
        "Keys",
        &html! {
            h3 { "Signing keys" }
            (table(&["Signs", "Key id", "#From index", "#To"], &keys.signing.iter().map(signing).collect::<Vec<_>>(), 0))
            h3 { "API keys by role" }
            @if !keys.recorded_here {
                p class="warn" { "Acts on API keys are recorded in the first ledger of this server, and this is another: created and revoked keys are not shown here." }
            }
            (table(&["Role", "#Live when made", "#Created", "#Revoked"], &roles, 0))
            p class="note" { "A key with several roles counts in each. The number of live keys comes from the server's records. The acts are those on every API key of this server, whichever ledgers it is for, and come from the ledger." }
            @if !keys.acts.is_empty() { (table(&columns, &keys.acts.iter().map(act).collect::<Vec<_>>(), keys.omitted)) }
        },
    )
}

pub(super) fn verifications(report: &ComplianceReport) -> Markup {
    let verifications = &report.verifications;
    let row = |line: &super::super::VerificationLine| {
        let verdict = line.verdict.map_or("no verdict", verdict_word);
        let place = |place: &super::super::Place| match place.index {
            Some(index) => format!("{} at event {index}, {}", place.code, place.field),
            None => format!("{}, {}", place.code, place.field),
        };
        let places: Vec<_> = line.first.iter().map(place).collect();
        let kind = if line.findings > 0 { "late" } else { "" };
        (
            kind,
            vec![
                text(date_time(line.started_at)),
                text(verdict),
                number(line.tree_size),
                number(line.findings),
                text(places.join("; ")),
            ],
        )
    };
    section(
        "verifications",
        "Verifications",
        &html! {
            p { (counted(verifications.total, "verification", "verifications")) " began in the period; "
                (count(verifications.with_findings)) " had findings, " (count(verifications.failed)) " broke off." }
            p class="note" { "From the server's own records; the ledger does not prove them. Verifications made elsewhere, from bundles, are not known here." }
            @if !verifications.list.is_empty() {
                (table(&["Began", "Verdict", "#Events", "#Findings", "The first findings"], &verifications.list.iter().map(row).collect::<Vec<_>>(), verifications.omitted))
            }
        },
    )
}

pub(super) fn refused(report: &ComplianceReport) -> Markup {
    let refused = &report.refused;
    let row = |day: &super::super::RefusedDay| ("", vec![text(date(day.day)), number(day.erased), number(day.erasing)]);
    section(
        "refused",
        "Appends refused for erased people",
        &html! {
            p { (counted(refused.total, "request", "requests")) " to append were refused because they named a person who is erased or being erased." }
            p class="warn" { "Not proved: these are counters beside the ledger. Whoever can write the server's files can change them." }
            @if !refused.by_day.is_empty() {
                (table(&["Day (UTC)", "#Person erased", "#Person being erased"], &refused.by_day.iter().map(row).collect::<Vec<_>>(), 0))
            }
        },
    )
}

/// Only where there is one: readers must not overlook it, nor get used to it.
pub(super) fn unreadable(report: &ComplianceReport) -> Markup {
    let unreadable = &report.unreadable;
    if unreadable.total == 0 {
        return html! {};
    }
    let row = |event: &super::super::UnreadableEvent| ("late", vec![number(event.index), text(&event.section)]);
    section(
        "unreadable",
        "Damaged records",
        &html! {
            p class="warn" { (counted(unreadable.total, "event", "events")) " cannot be read. What they record is missing in the sections named here: an erasure whose completion cannot be read stands as open. An event that is missing in " code { "events" } " has no readable header: its type and its time are not known. Verify the ledger." }
            (table(&["#Event", "Missing in"], &unreadable.list.iter().map(row).collect::<Vec<_>>(), unreadable.omitted))
        },
    )
}

pub(super) fn limits(report: &ComplianceReport) -> Markup {
    section(
        "limits",
        "What this report does not show",
        &html! {
            ul { @for limit in &report.limits { li { (limit) } } }
        },
    )
}

pub(super) fn proof(report: &ComplianceReport) -> Markup {
    section(
        "proof",
        "How to check this page",
        &html! {
            p { "The report is signed with the certificate key of " (report.origin) ", and its hash is recorded in the ledger. This file carries both. Check it offline, "
                "with a key of the ledger that you know from elsewhere:" }
            pre { "oubliette-verify FILE --key VKEY" }
            p class="note" { "The signature covers the data that this page was made from. The verifier makes the page anew from that data and compares it to the byte: save the file, do not copy or reformat it." }
        },
    )
}
