//! Sections about the life of personal data beside erasures.

use maud::{Markup, html};

use super::super::{BackupLine, ComplianceReport, Proceeding, Proceedings, Rotation};
use super::section::by;
use crate::spec::page::parts::{code, moment, section, table, text};
use crate::spec::page::words::{count, counted, date_time};

/// A section of proceedings.
struct Kind {
    id: &'static str,
    title: &'static str,
    /// One of them, and several.
    nouns: (&'static str, &'static str),
    note: &'static str,
    /// The heading of the column of codes.
    code: &'static str,
}

impl Kind {
    fn section(&self, all: &Proceedings) -> Markup {
        let row = |line: &Proceeding| {
            let [key, roles] = by(&line.by);
            let counts: Vec<_> = line
                .counts
                .iter()
                .map(|(what, number)| format!("{} {}", what.replace('_', " "), count(*number)))
                .collect();
            (
                "",
                vec![
                    text(date_time(line.begun_at)),
                    text(&line.state),
                    moment(line.ended_at),
                    text(line.code.as_deref().unwrap_or("–")),
                    text(counts.join(", ")),
                    code(line.id),
                    key,
                    roles,
                    text(count(line.index)),
                ],
            )
        };
        let columns = [
            "Begun",
            "State",
            "Ended",
            self.code,
            "About",
            "Id",
            "API key",
            "Roles",
            "#Recorded at",
        ];
        section(
            self.id,
            self.title,
            &html! {
                p { (counted(all.total, self.nouns.0, self.nouns.1)) " open or ended in the period: "
                    (count(all.begun)) " begun, " (count(all.ended)) " ended in it, " (count(all.open)) " open at its end." }
                p class="note" { (self.note) }
                @if !all.list.is_empty() { (table(&columns, &all.list.iter().map(row).collect::<Vec<_>>(), all.omitted)) }
            },
        )
    }
}

pub(super) fn holds(report: &ComplianceReport) -> Markup {
    let kind = Kind {
        id: "holds",
        title: "Legal holds",
        nouns: ("hold", "holds"),
        note: "A hold keeps data from erasures and retention. An erasure that waits for one stands above, against its month.",
        code: "Ground",
    };
    kind.section(&report.holds)
}

pub(super) fn restrictions(report: &ComplianceReport) -> Markup {
    let kind = Kind {
        id: "restrictions",
        title: "Restrictions (GDPR Art. 18)",
        nouns: ("restriction", "restrictions"),
        note: "Restricted data is kept and not opened, until the restriction is lifted.",
        code: "Reason",
    };
    kind.section(&report.restrictions)
}

pub(super) fn retention(report: &ComplianceReport) -> Markup {
    let kind = Kind {
        id: "retention",
        title: "Retention runs",
        nouns: ("run", "runs"),
        note: "Of rules by category: people whose data was due, erased, and kept by holds or restrictions. Of rules by type of event: sealed blocks that were due, left the ledger's store (purged), and were kept; their keys live. Dry runs are not recorded.",
        code: "Reason",
    };
    kind.section(&report.retention)
}

pub(super) fn redactions(report: &ComplianceReport) -> Markup {
    let kind = Kind {
        id: "redactions",
        title: "Redactions",
        nouns: ("redaction", "redactions"),
        note: "What should not have been written left the ledger's store. A redaction ends when the files in which it lay were written anew; backups may hold it longer.",
        code: "Reason",
    };
    kind.section(&report.redactions)
}

pub(super) fn leaks(report: &ComplianceReport) -> Markup {
    let kind = Kind {
        id: "leaks",
        title: "Personal data in clear",
        nouns: ("reported leak", "reported leaks"),
        note: "Somebody reported that personal data stands in clear. A leak ends when all of it is redacted, or the report was withdrawn as mistaken. What nobody reported is not known.",
        code: "Reason",
    };
    kind.section(&report.leaks)
}

pub(super) fn backups(report: &ComplianceReport) -> Markup {
    let backups = &report.backups;
    let row = |line: &BackupLine| {
        let [key, roles] = by(&line.by);
        let known = line.known.as_ref();
        let opens = match known {
            None => "not known".to_owned(),
            Some(known) if known.expired => "no more: the key is destroyed".to_owned(),
            Some(known) => known.keys_die_at.map_or_else(
                || "the epoch is in use".to_owned(),
                |at| format!("until {}", date_time(at)),
            ),
        };
        (
            "",
            vec![
                text(date_time(line.begun_at)),
                text(known.map_or("–", |known| &known.state)),
                text(known.map_or_else(|| "–".to_owned(), |known| known.epoch.to_string())),
                text(opens),
                code(line.backup),
                key,
                roles,
                text(count(line.index)),
            ],
        )
    };
    let columns = [
        "Begun",
        "State",
        "#Epoch",
        "Keys in it open",
        "Backup",
        "API key",
        "Roles",
        "#Recorded at",
    ];
    section(
        "backups",
        "Backups",
        &html! {
            p { (counted(backups.begun, "backup was", "backups were")) " begun in the period; of all on record, "
                (count(backups.total)) " were begun in it or could still be opened." }
            p class="note" { "That a backup was begun is an event of the ledger. Its state, and until when the keys in it open, come from the server's records when the report was made; the ledger does not prove them. Copies that were made by other means are not known." }
            @if !backups.list.is_empty() { (table(&columns, &backups.list.iter().map(row).collect::<Vec<_>>(), backups.omitted)) }
        },
    )
}

pub(super) fn rotations(report: &ComplianceReport) -> Markup {
    let rotations = &report.rotations;
    let row = |line: &Rotation| {
        let epochs = match (line.from, line.to) {
            (Some(from), Some(to)) => format!("{from} to {to}"),
            (Some(epoch), None) => epoch.to_string(),
            _ => "–".to_owned(),
        };
        (
            "",
            vec![
                text(date_time(line.at)),
                text(line.act.words()),
                text(epochs),
                line.by.as_ref().map_or_else(|| text("–"), code),
                text(count(line.index)),
            ],
        )
    };
    section(
        "rotations",
        "Changes of keys",
        &html! {
            p { (counted(rotations.changed, "change", "changes")) " of epoch, "
                (counted(rotations.destroyed, "retired epoch key", "retired epoch keys")) " destroyed, keys of "
                (counted(rotations.renewed, "person", "people")) " renewed." }
            p class="note" { "Of the keys under which personal data is sealed. A change of epoch wraps all of them anew; each erasure brings one, which several may share." }
            @if !rotations.list.is_empty() { (table(&["When", "Act", "Epochs", "API key", "#Recorded at"], &rotations.list.iter().map(row).collect::<Vec<_>>(), rotations.omitted)) }
        },
    )
}
