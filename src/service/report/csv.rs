//! The report as rows for a spreadsheet: one row a fact, the section in the first column. Not signed: it names the hash of the
//! signed document and where the ledger records it.
//!
//! A text that a spreadsheet would take for a formula gets an apostrophe in front, as in exports. Rows of the section
//! `omitted` count what the lists leave out.

use ::csv::{Terminator, WriterBuilder};
use sha2::{Digest, Sha256};

use super::super::Error;
use super::super::access::internal;
use super::super::export::csv::safe;
use crate::spec::compliance::{By, ComplianceReport, VaultState, proceedings, verdict_word};
use crate::spec::ids::Timestamp;

const HEAD: [&str; 7] = ["section", "time", "item", "state", "count", "seconds", "detail"];

/// A row; what does not apply stays empty.
#[derive(Default)]
struct Row<'a> {
    section: &'a str,
    time: Option<Timestamp>,
    item: String,
    state: &'a str,
    count: Option<u64>,
    seconds: Option<u64>,
    detail: String,
}

fn row(section: &str) -> Row<'_> {
    Row {
        section,
        ..Row::default()
    }
}

/// All rows.
pub(super) fn write(report: &ComplianceReport, document: &[u8], index: u64) -> Result<Vec<u8>, Error> {
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    writer.write_record(HEAD).map_err(internal)?;
    let sections = [
        about(report, document, index),
        erasures(report),
        counts(report),
        life(report),
        acts(report),
        beside(report),
    ];
    for row in sections.into_iter().flatten() {
        let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
        let time = row.time.map(|time| time.to_string()).unwrap_or_default();
        let fields = [
            row.section.to_owned(),
            time,
            safe(&row.item).into_owned(),
            row.state.to_owned(),
            number(row.count),
            number(row.seconds),
            safe(&row.detail).into_owned(),
        ];
        writer.write_record(fields).map_err(internal)?;
    }
    writer
        .into_inner()
        .map_err(|error| internal(std::io::Error::other(error.to_string())))
}

fn about<'a>(report: &'a ComplianceReport, document: &[u8], index: u64) -> Vec<Row<'a>> {
    let fact = |item: &str, detail: String| Row {
        item: item.into(),
        detail,
        ..row("report")
    };
    let at = |item: &str, time| Row {
        item: item.into(),
        time: Some(time),
        ..row("report")
    };
    let verdict = report
        .integrity
        .verdict
        .and_then(|verdict| serde_json::to_value(verdict).ok());
    let verdict = verdict
        .and_then(|verdict| verdict.as_str().map(str::to_owned))
        .unwrap_or_else(|| "not verified".into());
    let mut rows = vec![
        fact(
            "signed",
            "no: this file is for reading; take the JSON or HTML form as evidence".into(),
        ),
        fact("document sha256", hex::encode(Sha256::digest(document))),
        fact("recorded at index", index.to_string()),
        fact("id", report.id.to_string()),
        fact("origin", report.origin.to_string()),
        at("period from", report.period.from),
        at("period to", report.period.to),
        at("made at", report.made_at),
        fact("verdict", verdict),
        fact("integrity", report.integrity.statement.to_string()),
        Row {
            item: "events at the end".into(),
            count: Some(report.integrity.tree_size),
            ..row("report")
        },
        fact("root", report.integrity.root.to_string()),
    ];
    if let Some(vault) = &report.anchors.vault {
        rows.push(Row {
            item: "vault checkpoint".into(),
            time: vault.covers_until,
            state: match vault.state {
                VaultState::Agrees => "agrees",
                VaultState::Contradicts => "contradicts",
                VaultState::Ahead => "ahead",
                VaultState::Unreadable => "unreadable",
            },
            count: Some(vault.tree_size),
            seconds: Some(vault.age_seconds),
            ..row("report")
        });
    }
    rows
}

fn erasures(report: &ComplianceReport) -> Vec<Row<'_>> {
    let erasures = &report.erasures;
    let totals = [
        ("open or ended", erasures.total),
        ("requested", erasures.requested),
        ("completed", erasures.completed),
        ("completed late", erasures.completed_late),
        ("open", erasures.open),
        ("overdue", erasures.overdue),
        ("cancelled", erasures.cancelled),
        ("waiting", erasures.waiting),
    ];
    let mut rows: Vec<_> = totals
        .map(|(item, count)| Row {
            item: item.into(),
            count: Some(count),
            ..row("erasures")
        })
        .into();
    rows.extend(erasures.list.iter().map(|line| {
        let completed = match (line.completed_at, line.cancelled_at, line.begun_at) {
            (Some(time), ..) => format!("completed {time}"),
            (None, Some(time), _) => format!("cancelled {time}"),
            (None, None, Some(_)) => "not completed".to_owned(),
            (None, None, None) => "waits".to_owned(),
        };
        Row {
            time: Some(line.requested_at),
            item: line.request.to_string(),
            state: line.state.words(),
            count: Some(line.subjects),
            seconds: Some(line.seconds),
            detail: format!("due {}; {completed}; late by {} s", line.due_at, line.seconds_late),
            ..row("erasure")
        }
    }));
    rows
}

fn counts(report: &ComplianceReport) -> Vec<Row<'_>> {
    let subjects = &report.subjects;
    let states = [
        ("active", subjects.active),
        ("partly erased", subjects.partly_erased),
        ("erasing", subjects.erasing),
        ("erased", subjects.erased),
    ];
    let mut rows: Vec<_> = states
        .map(|(state, count)| Row {
            state,
            count: Some(count),
            ..row("people")
        })
        .into();
    rows.extend(report.events.by_type.iter().map(|line| Row {
        item: line.event_type.to_string(),
        state: if line.own { "own" } else { "callers" },
        count: Some(line.count),
        ..row("events by type")
    }));
    if report.events.unlisted > 0 {
        rows.push(Row {
            state: "unlisted",
            count: Some(report.events.unlisted),
            ..row("events by type")
        });
    }
    if report.events.unreadable > 0 {
        rows.push(Row {
            state: "unreadable",
            count: Some(report.events.unreadable),
            ..row("events by type")
        });
    }
    for day in &report.events.by_day {
        for (state, count) in [("callers", day.callers), ("own", day.own)] {
            rows.push(Row {
                time: Some(day.day),
                state,
                count: Some(count),
                ..row("events by day")
            });
        }
    }
    rows
}

fn who(by: &By) -> String {
    format!("key {} ({})", by.key, by.roles.join(" "))
}

fn acts(report: &ComplianceReport) -> Vec<Row<'_>> {
    let mut rows = vec![Row {
        count: Some(report.reveals.requests),
        ..row("reveals")
    }];
    rows.extend(report.reveals.list.iter().map(|line| Row {
        time: Some(line.at),
        item: line.index.to_string(),
        count: Some(line.blocks),
        detail: format!("{}; {} events; {} people", who(&line.by), line.events, line.people),
        ..row("reveal")
    }));
    rows.push(Row {
        count: Some(report.exports.left),
        ..row("exports")
    });
    rows.extend(report.exports.list.iter().map(|line| Row {
        time: Some(line.at),
        item: line.export.to_string(),
        state: &line.act,
        detail: format!(
            "{}; {}; {}",
            who(&line.by),
            if line.opened { "opened" } else { "sealed" },
            line.what.as_deref().unwrap_or_default()
        ),
        ..row("export")
    }));
    rows.extend(report.keys.signing.iter().map(|line| Row {
        item: line.key_id.to_string(),
        detail: format!("{:?} key from index {}", line.role, line.from),
        ..row("signing key")
    }));
    rows.extend(report.keys.acts.iter().map(|line| Row {
        time: Some(line.at),
        item: line.key.to_string(),
        state: &line.act,
        detail: format!("({}) by {}", line.roles.join(" "), line.by),
        ..row("api key")
    }));
    rows
}

fn life(report: &ComplianceReport) -> Vec<Row<'_>> {
    let mut rows = Vec::new();
    for (section, all) in proceedings(report) {
        for (state, count) in [("begun", all.begun), ("ended", all.ended), ("open", all.open)] {
            rows.push(Row {
                state,
                count: Some(count),
                ..row(section)
            });
        }
        rows.extend(all.list.iter().map(|line| {
            let counts = line.counts.iter().map(|(what, number)| format!("; {what} {number}"));
            let ended = line.ended_at.map_or_else(String::new, |at| format!("; ended {at}"));
            Row {
                time: Some(line.begun_at),
                item: line.id.to_string(),
                state: &line.state,
                detail: format!(
                    "{}; {}{ended}{}",
                    line.code.as_deref().unwrap_or("-"),
                    who(&line.by),
                    counts.collect::<String>()
                ),
                ..row(section)
            }
        }));
    }
    rows.extend(report.backups.list.iter().map(|line| {
        let known = line.known.as_ref();
        let opens = known.map_or_else(
            || "not known".to_owned(),
            |known| match (known.expired, known.keys_die_at) {
                (true, _) => "opens no more".to_owned(),
                (false, Some(at)) => format!("opens until {at}"),
                (false, None) => "opens: its epoch is in use".to_owned(),
            },
        );
        Row {
            time: Some(line.begun_at),
            item: line.backup.to_string(),
            state: known.map_or("", |known| &known.state),
            detail: format!("{}; {opens}, from the server's records, not proved", who(&line.by)),
            ..row("backup")
        }
    }));
    rows.extend(report.rotations.list.iter().map(|line| {
        Row {
            time: Some(line.at),
            item: line.index.to_string(),
            state: line.act.words(),
            detail: [line.from, line.to]
                .into_iter()
                .flatten()
                .map(|epoch| format!("epoch {epoch}"))
                .collect::<Vec<_>>()
                .join(" to "),
            ..row("rotation")
        }
    }));
    rows
}

fn beside(report: &ComplianceReport) -> Vec<Row<'_>> {
    let mut rows: Vec<_> = report
        .verifications
        .list
        .iter()
        .map(|line| Row {
            time: Some(line.started_at),
            item: line.id.to_string(),
            state: line.verdict.map_or("no verdict", verdict_word),
            count: Some(line.findings),
            detail: format!(
                "findings in {} events; from the server's records, not proved",
                line.tree_size
            ),
            ..row("verification")
        })
        .collect();
    for day in &report.refused.by_day {
        for (state, count) in [("erased", day.erased), ("erasing", day.erasing)] {
            let detail = "not proved".to_owned();
            rows.push(Row {
                time: Some(day.day),
                state,
                count: Some(count),
                detail,
                ..row("refused appends")
            });
        }
    }
    for event in &report.unreadable.list {
        rows.push(Row {
            item: event.index.to_string(),
            state: "unreadable",
            detail: event.section.to_string(),
            ..row("damaged event")
        });
    }
    let omitted = [
        ("erasure", report.erasures.omitted),
        ("reveal", report.reveals.omitted),
        ("export", report.exports.omitted),
        ("api key", report.keys.omitted),
        ("verification", report.verifications.omitted),
        ("damaged event", report.unreadable.omitted),
        ("backup", report.backups.omitted),
        ("rotation", report.rotations.omitted),
    ];
    let of_life = proceedings(report).map(|(section, all)| (section, all.omitted));
    let omitted = omitted.into_iter().chain(of_life).filter(|(_, count)| *count > 0);
    rows.extend(omitted.map(|(section, count)| Row {
        item: section.into(),
        count: Some(count),
        ..row("omitted")
    }));
    rows.extend(report.limits.iter().map(|limit| Row {
        detail: limit.to_string(),
        ..row("not shown")
    }));
    rows
}
