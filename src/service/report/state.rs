//! How things stood: the history, the anchor, people, erasures, verifications, refusals.

use std::collections::HashSet;

use serde::Deserialize;
use uuid::Uuid;

use super::super::erase::{Erasure, Requested, STREAM};
use super::super::own::{Recorded, recorded};
use super::super::verify::VerificationView;
use super::super::{Code, Error, Ledger, Service};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::compliance::{
    Anchors, Covering, ErasureLine, ErasureState, Erasures, Integrity, MAX_ROWS, Period, Place, Refused, Subjects,
    UnreadableEvent, VaultAnchor, VaultState, VerificationLine, Verifications, governing, seconds, statement,
};
use crate::spec::ids::Timestamp;
use crate::spec::note::Note;
use crate::spec::report::Verdict;

/// Erasures that are listed: more than of other acts, for each is a person's right.
const MAX_ERASURES: usize = 10_000;
/// Findings of a verification that are named.
const NAMED_FINDINGS: usize = 5;

impl Service {
    /// The tree at the end of the period, and the last verification that covers it.
    pub(super) fn integrity(&self, ledger: &Ledger, end: u64, views: &[VerificationView]) -> Result<Integrity, Error> {
        let (_, checkpoint) = self.checkpoint_covering(ledger, end.saturating_sub(1))?;
        let found = views.iter().filter_map(|view| self.covering(ledger, view).transpose());
        let mut by_time = found.collect::<Result<Vec<_>, _>>()?;
        by_time.sort_by_key(|found| found.finished_at);
        let verification = governing(end, &by_time).cloned();
        let mut integrity = Integrity {
            verdict: verification.as_ref().map(|governing| governing.verdict),
            tree_size: end,
            root: self.root_of_size(ledger, end)?,
            checkpoint,
            verification,
            last: by_time.pop(),
            statement: "".into(),
        };
        integrity.statement = statement(&integrity).into();
        Ok(integrity)
    }

    /// What a verification says of the ledger as it is; `None` if it was valid for another history.
    fn covering(&self, ledger: &Ledger, view: &VerificationView) -> Result<Option<Covering>, Error> {
        let (Some(report), Some(finished_at)) = (&view.report, view.finished_at) else {
            return Ok(None);
        };
        let here = report.tree_size <= self.view(ledger)?.size();
        let same = here && report.root == Some(self.root_of_size(ledger, report.tree_size)?);
        Ok((same || report.verdict != Verdict::Valid).then(|| Covering {
            id: view.id,
            finished_at,
            tree_size: report.tree_size,
            verdict: report.verdict,
            findings: findings(report),
            fast: report.fast,
        }))
    }

    /// What the vault keeps.
    pub(super) fn anchors(&self, ledger: &Ledger, now: Timestamp) -> Result<Anchors, Error> {
        Ok(Anchors {
            vault: self.vault_anchor(ledger, now)?,
            witnesses: 0,
            timestamps: 0,
        })
    }

    /// Compared as at start.
    fn vault_anchor(&self, ledger: &Ledger, now: Timestamp) -> Result<Option<VaultAnchor>, Error> {
        let mut anchor = VaultAnchor {
            state: VaultState::Unreadable,
            tree_size: 0,
            covers_until: None,
            age_seconds: 0,
            events_since: 0,
        };
        let (kept, note) = match self.kept_checkpoint(ledger) {
            Ok(Some(kept)) => kept,
            Ok(None) => return Ok(None),
            Err(_) => return Ok(Some(anchor)),
        };
        let read: Option<Checkpoint> = note.parse::<Note>().ok().and_then(|note| note.text().parse().ok());
        let Some(read) = read else {
            return Ok(Some(anchor));
        };
        let size = self.view(ledger)?.size();
        anchor.tree_size = kept;
        anchor.state = if kept > size {
            VaultState::Ahead
        } else if read.size == kept
            && read.root == self.root_of_size(ledger, kept)?
            && read.origin.as_str() == ledger.record.origin.as_str()
        {
            VaultState::Agrees
        } else {
            VaultState::Contradicts
        };
        if let Some(last) = kept.checked_sub(1).filter(|_| kept <= size) {
            anchor.events_since = size - kept;
            match self.recorded_at(ledger, last) {
                Err(error) if error.code == Code::Damaged => {} // named among the events that cannot be read
                covers_until => {
                    let covers_until = covers_until?;
                    anchor.covers_until = Some(covers_until);
                    anchor.age_seconds = seconds(covers_until, now);
                }
            }
        }
        Ok(Some(anchor))
    }

    /// People by state, now.
    pub(super) fn count_subjects(&self, ledger: &Ledger) -> Result<Subjects, Error> {
        let census = self.keystore.census(ledger.record.id)?;
        Ok(Subjects {
            active: census.active,
            partly_erased: census.partly_erased,
            erasing: census.erasing,
            erased: census.erased,
        })
    }

    /// Erasures that were open in the period or ended in it, as they stood at its end.
    pub(super) fn report_erasures(
        &self,
        ledger: &Ledger,
        (period, end): (Period, u64),
        now: Timestamp,
        unreadable: &mut Vec<UnreadableEvent>,
    ) -> Result<Erasures, Error> {
        let as_of = period.to.min(now);
        let (erasures, damaged) = self.readable_erasures(ledger)?;
        let damaged = damaged.into_iter().filter(|index| *index < end);
        unreadable.extend(damaged.map(|index| UnreadableEvent {
            index,
            section: "erasures".into(),
        }));
        let begun: HashSet<_> = erasures
            .iter()
            .map(|erasure| erasure.requested.payload.request)
            .collect();
        let lines = erasures.iter().filter_map(|erasure| line(erasure, period, as_of));
        let mut lines: Vec<_> = lines.collect();
        let mut scope = super::life::Scope {
            ledger,
            period,
            made_at: now,
            end,
            unreadable,
        };
        let mut waiting = self.waiting_erasures(&mut scope)?;
        waiting.retain(|line| !begun.contains(&line.request));
        lines.extend(waiting.into_iter().map(|mut line| {
            line.settle(as_of);
            line
        }));
        Ok(Erasures::of(lines, period, MAX_ERASURES))
    }

    /// Erasures that were submitted before the end of the period, and those of them that were taken back. Those that began
    /// are among them.
    fn waiting_erasures(&self, scope: &mut super::life::Scope<'_>) -> Result<Vec<ErasureLine>, Error> {
        let (mut lines, period) = (Vec::<ErasureLine>::new(), scope.period);
        self.each_own(scope, STREAM, "erasures", |event| {
            match event.header.event_type.as_str() {
                "erasure.submitted" => lines.push(submitted(&recorded(event)?)),
                "erasure.cancelled" => {
                    let cancelled = recorded::<Cancelled>(event)?;
                    let of = |line: &&mut ErasureLine| line.request == cancelled.payload.request;
                    if let Some(line) = lines.iter_mut().find(of) {
                        line.cancelled_at = Some(cancelled.recorded_at);
                    }
                }
                // An end that a rollback took away, and that was put on record again.
                "erasure.recovered" => {
                    let recovered = recorded::<Cancelled>(event)?;
                    lines.retain(|line| line.request != recovered.payload.request);
                }
                _ => {}
            }
            Ok(())
        })?;
        lines.retain(|line| line.cancelled_at.is_none_or(|end| end >= period.from));
        Ok(lines)
    }

    /// All verifications, oldest first.
    pub(super) fn verifications_by_age(&self, ledger: &Ledger) -> Result<Vec<VerificationView>, Error> {
        let mut views = self.verifications(ledger)?;
        views.reverse();
        Ok(views)
    }

    /// Appends refused for erased people.
    pub(super) fn report_refused(&self, ledger: &Ledger, period: Period) -> Result<Refused, Error> {
        let by_day = self.refused_days(ledger, period.from, period.to)?;
        let total = by_day
            .iter()
            .map(|day| day.erased.saturating_add(day.erasing))
            .fold(0, u64::saturating_add);
        Ok(Refused {
            total,
            by_day,
            proved: false,
        })
    }
}

/// Verifications that began in the period.
pub(super) fn verifications_in(views: &[VerificationView], period: Period) -> Verifications {
    let began = |view: &&VerificationView| (period.from..period.to).contains(&view.started_at);
    let all: Vec<_> = views.iter().filter(began).collect();
    let lines: Vec<_> = all.iter().map(|view| verification_line(view)).collect();
    Verifications {
        total: lines.len() as u64,
        with_findings: lines.iter().filter(|line| line.findings > 0).count() as u64,
        failed: all.iter().filter(|view| view.error.is_some()).count() as u64,
        omitted: lines.len().saturating_sub(MAX_ROWS) as u64,
        list: lines.into_iter().take(MAX_ROWS).collect(),
    }
}

fn findings(report: &crate::spec::report::Report) -> u64 {
    (report.findings.len() as u64).saturating_add(report.findings_omitted)
}

/// An erasure as it stood; `None` if it was neither open in the period nor ended in it.
fn line(erasure: &Erasure, period: Period, as_of: Timestamp) -> Option<ErasureLine> {
    let requested = &erasure.requested;
    let completed = erasure
        .completed
        .as_ref()
        .filter(|completed| completed.recorded_at < period.to);
    let requested_at = requested.payload.submitted_at.unwrap_or(requested.recorded_at);
    let ended_before = completed.is_some_and(|completed| completed.recorded_at < period.from);
    if requested_at >= period.to || ended_before {
        return None;
    }
    let mut line = ErasureLine {
        request: requested.payload.request,
        state: ErasureState::Open,
        requested_at,
        begun_at: Some(requested.recorded_at).filter(|begun| *begun < period.to),
        cancelled_at: None,
        due_at: requested.payload.due_at,
        completed_at: completed.map(|completed| completed.recorded_at),
        seconds: 0,
        seconds_late: 0,
        subjects: requested.payload.subjects.len() as u64,
        basis: requested.payload.basis,
        reason: requested.payload.reason,
        pending: completed
            .map(|completed| {
                completed
                    .payload
                    .pending
                    .iter()
                    .map(|code| code.as_str().into())
                    .collect()
            })
            .unwrap_or_default(),
    };
    line.settle(as_of);
    Some(line)
}

/// The payload of `erasure.cancelled`, and what `erasure.recovered` has in common with it.
#[derive(Deserialize)]
struct Cancelled {
    request: Uuid,
}

/// An erasure that waits.
fn submitted(event: &Recorded<Requested>) -> ErasureLine {
    let payload = &event.payload;
    ErasureLine {
        request: payload.request,
        state: ErasureState::Open,
        requested_at: event.recorded_at,
        begun_at: None,
        cancelled_at: None,
        due_at: payload.due_at,
        completed_at: None,
        seconds: 0,
        seconds_late: 0,
        subjects: payload.subjects.len() as u64,
        basis: payload.basis,
        reason: payload.reason,
        pending: Vec::new(),
    }
}

/// The word that JSON has for a value.
pub(super) fn word(value: &impl serde::Serialize) -> Box<str> {
    let word = serde_json::to_value(value).ok();
    word.as_ref()
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .into()
}

fn verification_line(view: &VerificationView) -> VerificationLine {
    let report = view.report.as_ref();
    let named = report.iter().flat_map(|report| &report.findings).take(NAMED_FINDINGS);
    VerificationLine {
        id: view.id,
        started_at: view.started_at,
        finished_at: view.finished_at,
        tree_size: report.map_or(0, |report| report.tree_size),
        verdict: report.map(|report| report.verdict),
        findings: report.map_or(0, findings),
        first: named
            .map(|finding| Place {
                index: finding.index,
                field: finding.field.as_str().into(),
                code: finding.code,
            })
            .collect(),
    }
}
