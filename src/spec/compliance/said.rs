//! What a report says in words, made from its other members: by the maker and by the verifier alike.

use super::{Backups, ComplianceReport, Covering, Integrity, Proceedings, Rotations};
use crate::spec::ids::Timestamp;
use crate::spec::report::Verdict;

const LIMITS: [&str; 10] = [
    "It covers one ledger of one server. The same person may be known under other handles in other ledgers.",
    "It covers what was recorded. What never reached the ledger, or was read from its files, leaves no trace here.",
    "A verdict is that of the verification that it names, made by the server that the report is about. Whoever does not trust \
     that server takes a bundle and verifies it offline.",
    "A checkpoint kept by the same operator shows a rollback only while the operator does not replace both. No witness and no \
     timestamp by a third party stands behind this version.",
    "A completed erasure means that access was fenced and that live keys were deleted from the key store; the identity only where \
     a person was erased as a whole, and not where categories were named. Residue in files, ciphertext, and old epoch keys \
     kept for backups are named in its certificate as still pending.",
    "Personal data that callers wrote into fields that stay in clear, and copies that were revealed or exported, are outside \
     of every erasure.",
    "Reads of what is in clear are not recorded, so they are not counted.",
    "People by state, live API keys, verifications, refused appends and until when backups open come from the server's own \
     records; the ledger does not prove them. Copies that were made by other means are not known.",
    "Requests that people made outside of this system, and the time before an erasure was recorded here, are not seen: the \
     month may have begun earlier.",
    "Leaks are those that somebody reported: nobody reads what stays in clear.",
];

/// What a report does not show.
pub fn limits() -> Vec<Box<str>> {
    LIMITS.map(Into::into).to_vec()
}

/// Which of a ledger's verifications, by the time of their end, speaks for its first `end` events: the last one that read
/// them all. One that found a contradiction speaks whatever it read, until a strict one that read them all finds nothing
/// wrong; signatures in batches take back nothing that a strict one found.
pub fn governing<'a>(end: u64, by_time: impl IntoIterator<Item = &'a Covering>) -> Option<&'a Covering> {
    let mut governing: Option<&Covering> = None;
    for found in by_time {
        let takes_over = match (found.verdict, governing) {
            (Verdict::Tampered, _) => true,
            _ if found.tree_size < end => false,
            (_, None) => true,
            (Verdict::Valid, Some(old)) if found.fast => {
                old.verdict == Verdict::Valid || old.fast && old.verdict == Verdict::Incomplete
            }
            (Verdict::Valid, Some(_)) => true,
            (Verdict::Incomplete, Some(old)) => old.verdict != Verdict::Tampered,
        };
        if takes_over {
            governing = Some(found);
        }
    }
    governing
}

/// The statement that goes with the other members.
pub fn statement(integrity: &Integrity) -> String {
    let end = integrity.tree_size;
    let Some(covering) = &integrity.verification else {
        return match &integrity.last {
            Some(last) => format!(
                "Not verified: no verification covers the end of the period. The last one ended at {}, read {} of the {end} \
                 events, and says nothing about the rest.",
                clock(last.finished_at),
                last.tree_size
            ),
            None => "Not verified: no verification of this ledger as it is was made on this server.".to_owned(),
        };
    };
    let read = if covering.tree_size >= end {
        format!(
            "{} events from the first on, among them all {end} up to the end of the period,",
            covering.tree_size
        )
    } else {
        format!(
            "{} of the {end} events up to the end of the period,",
            covering.tree_size
        )
    };
    let mut words = format!(
        "The verification of {} read {read} and {}",
        clock(covering.finished_at),
        found(covering)
    );
    if let Some(last) = integrity.last.as_ref().filter(|last| last.id != covering.id) {
        words += &format!(
            " It speaks here although a later one, of {}, read {} events and {}",
            clock(last.finished_at),
            last.tree_size,
            found(last)
        );
    }
    words
}

fn found(covering: &Covering) -> String {
    let found = match covering.verdict {
        Verdict::Valid => "found nothing wrong",
        Verdict::Incomplete => "could not check everything",
        Verdict::Tampered => "found that the evidence contradicts itself",
    };
    let batches = if covering.fast {
        " Signatures were verified in batches, which is not the strict check."
    } else {
        ""
    };
    format!("{found}.{batches}")
}

/// To the second.
fn clock(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19)
        .map_or(text.clone(), |text| format!("{} UTC", text.replace('T', " ")))
}

/// What a report says twice, as pairs: where, what its other members come to, what it says.
pub(super) fn twice(report: &ComplianceReport) -> Vec<(&'static str, String, String)> {
    let mut pairs = sums(report);
    let integrity = &report.integrity;
    pairs.push((
        "integrity, statement",
        statement(integrity),
        integrity.statement.to_string(),
    ));
    pairs.push(("limits", limits().join(" "), report.limits.join(" ")));
    let erasures = &report.erasures;
    let as_of = report.period.to.min(report.made_at);
    let settled: Vec<_> = erasures
        .list
        .iter()
        .map(|line| {
            let mut line = line.clone();
            line.settle(as_of);
            line
        })
        .collect();
    for (line, settled) in erasures
        .list
        .iter()
        .zip(&settled)
        .filter(|(line, settled)| line != settled)
        .take(1)
    {
        let words = |line: &super::ErasureLine| {
            format!(
                "{}: {}, {} s, late by {} s",
                line.request,
                line.state.words(),
                line.seconds,
                line.seconds_late
            )
        };
        pairs.push(("erasures, list", words(settled), words(line)));
    }
    if erasures.omitted == 0 {
        let again = super::Erasures::of(settled, report.period, usize::MAX);
        let words = |of: &super::Erasures| {
            format!(
                "{} in all, {} asked for, {} completed, {} late, {} open, {} overdue, {} cancelled, {} waiting",
                of.total, of.requested, of.completed, of.completed_late, of.open, of.overdue, of.cancelled, of.waiting
            )
        };
        pairs.push(("erasures", words(&again), words(erasures)));
        if again.list != erasures.list {
            pairs.push(("erasures, list", "late ones first".into(), "another order".into()));
        }
    }
    pairs.extend(life(report));
    pairs
}

/// Proceedings, backups and rotations, where nothing is left out.
fn life(report: &ComplianceReport) -> Vec<(&'static str, String, String)> {
    let mut pairs = Vec::new();
    for (place, section) in proceedings(report) {
        let ends = section.list.iter().filter_map(|line| line.ended_at);
        if let Some(end) = ends.max().filter(|end| *end > report.made_at) {
            pairs.push((place, format!("ends up to {}", report.made_at), format!("one at {end}")));
        }
        if section.omitted == 0 {
            let again = Proceedings::of(section.list.clone(), report.period, usize::MAX);
            let words = |of: &Proceedings| {
                format!(
                    "{} in all, {} begun, {} ended, {} open",
                    of.total, of.begun, of.ended, of.open
                )
            };
            pairs.push((place, words(&again), words(section)));
        }
    }
    let (backups, rotations) = (&report.backups, &report.rotations);
    if backups.omitted == 0 {
        let again = Backups::of(backups.list.clone(), report.period);
        let words = |of: &Backups| format!("{} in all, {} begun", of.total, of.begun);
        pairs.push(("backups", words(&again), words(backups)));
    }
    if rotations.omitted == 0 {
        let again = Rotations::of(rotations.list.clone(), usize::MAX);
        let words = |of: &Rotations| {
            format!(
                "{} epochs changed, {} destroyed, {} renewed",
                of.changed, of.destroyed, of.renewed
            )
        };
        pairs.push(("rotations", words(&again), words(rotations)));
    }
    pairs
}

/// The sections of proceedings, by name.
pub fn proceedings(report: &ComplianceReport) -> [(&'static str, &Proceedings); 5] {
    [
        ("holds", &report.holds),
        ("restrictions", &report.restrictions),
        ("retention", &report.retention),
        ("redactions", &report.redactions),
        ("leaks", &report.leaks),
    ]
}

/// Totals against the rows of their lists and the number of those left out.
fn sums(report: &ComplianceReport) -> Vec<(&'static str, String, String)> {
    let rows = |listed: usize, omitted: u64| (listed as u64).saturating_add(omitted);
    let (exports, reveals, verifications) = (&report.exports, &report.reveals, &report.verifications);
    let left = exports
        .created
        .saturating_add(exports.downloaded)
        .saturating_add(exports.parts);
    let mut sums = vec![
        (
            "erasures, total",
            rows(report.erasures.list.len(), report.erasures.omitted),
            report.erasures.total,
        ),
        (
            "reveals, requests",
            rows(reveals.list.len(), reveals.omitted),
            reveals.requests,
        ),
        ("exports", rows(exports.list.len(), exports.omitted), left),
        (
            "verifications, total",
            rows(verifications.list.len(), verifications.omitted),
            verifications.total,
        ),
        (
            "unreadable, total",
            rows(report.unreadable.list.len(), report.unreadable.omitted),
            report.unreadable.total,
        ),
        (
            "refused, total",
            report
                .refused
                .by_day
                .iter()
                .map(|day| day.erased.saturating_add(day.erasing))
                .fold(0, u64::saturating_add),
            report.refused.total,
        ),
    ];
    for (place, section) in proceedings(report) {
        sums.push((place, rows(section.list.len(), section.omitted), section.total));
    }
    let backups = &report.backups;
    sums.push(("backups", rows(backups.list.len(), backups.omitted), backups.total));
    let header_less = report
        .unreadable
        .list
        .iter()
        .filter(|event| &*event.section == "events");
    if report.unreadable.omitted == 0 {
        let count = header_less.count() as u64;
        sums.push(("events, unreadable", count, report.events.unreadable));
    }
    if reveals.omitted == 0 {
        let blocks = reveals.list.iter().map(|line| line.blocks).fold(0, u64::saturating_add);
        sums.push(("reveals, blocks", blocks, reveals.blocks));
    }
    if verifications.omitted == 0 {
        let with = verifications.list.iter().filter(|line| line.findings > 0).count() as u64;
        sums.push(("verifications, with_findings", with, verifications.with_findings));
    }
    let words = |(place, expected, stated): (_, u64, u64)| (place, expected.to_string(), stated.to_string());
    sums.into_iter().map(words).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn covering(at: u64, tree_size: u64, verdict: Verdict, fast: bool) -> Covering {
        Covering {
            id: Uuid::from_u128(u128::from(at)),
            finished_at: Timestamp(at),
            tree_size,
            verdict,
            findings: 0,
            fast,
        }
    }

    #[test]
    fn what_was_found_is_taken_back_by_a_strict_and_whole_verification_alone() {
        use Verdict::{Incomplete, Tampered, Valid};
        for (found, expected) in [
            (vec![(10, Valid, false)], Some(1)),
            (vec![(9, Valid, false)], None),
            (vec![(10, Valid, false), (4, Tampered, false)], Some(2)),
            (vec![(10, Tampered, false), (12, Valid, true)], Some(1)),
            (vec![(10, Tampered, true), (12, Valid, true)], Some(1)),
            (vec![(10, Tampered, false), (12, Incomplete, false)], Some(1)),
            (vec![(10, Tampered, false), (12, Valid, false)], Some(2)),
            (vec![(4, Tampered, false), (10, Valid, false)], Some(2)),
            (vec![(10, Incomplete, false), (12, Valid, true)], Some(1)),
            (vec![(10, Incomplete, true), (12, Valid, true)], Some(2)),
            (vec![(10, Valid, false), (12, Incomplete, false)], Some(2)),
        ] {
            let all: Vec<_> = (1..)
                .zip(&found)
                .map(|(at, (size, verdict, fast))| covering(at, *size, *verdict, *fast))
                .collect();
            let governing = governing(10, &all).map(|covering| covering.finished_at.0);
            assert_eq!(governing, expected, "{found:?}");
        }
    }
}
