//! Erasures against their limit: one calendar month (GDPR Art. 12(3)).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Period, seconds};
use crate::spec::ids::Timestamp;
use crate::spec::system::{Basis, Reason};

/// Erasures that were open or ended in the period, as they stood at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportErasures))]
pub struct Erasures {
    /// How many.
    pub total: u64,
    /// Asked for within the period.
    pub requested: u64,
    /// Completed within the period.
    pub completed: u64,
    /// Of all, completed after their limit.
    pub completed_late: u64,
    /// Of all, still open at the end of the period, within their limit.
    pub open: u64,
    /// Of all, still open at the end of the period, beyond their limit.
    pub overdue: u64,
    /// Of all, taken back before they had begun.
    pub cancelled: u64,
    /// Of those that were open, not begun: they waited for an approval, a hold, or the end of their grace.
    pub waiting: u64,
    /// Late ones first, the latest at the top.
    pub list: Vec<ErasureLine>,
    /// Not listed.
    pub omitted: u64,
}

/// How an erasure stood at the end of the period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum ErasureState {
    /// Completed within the limit.
    Completed,
    /// Completed after it.
    CompletedLate,
    /// Open, within the limit.
    Open,
    /// Open, beyond it.
    Overdue,
    /// Taken back before it had begun.
    Cancelled,
}

impl ErasureState {
    /// Whether the limit was passed.
    pub const fn is_late(self) -> bool {
        matches!(self, Self::CompletedLate | Self::Overdue)
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Completed => "completed in time",
            Self::CompletedLate => "completed late",
            Self::Open => "open, in time",
            Self::Overdue => "open, overdue",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct ErasureLine {
    /// The request.
    pub request: Uuid,
    /// How it stood.
    pub state: ErasureState,
    /// When it came in: recorded, be it that it waited.
    pub requested_at: Timestamp,
    /// When it began, if that was before the end of the period; from here on it cannot be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_at: Option<Timestamp>,
    /// When it was taken back, if that was before the end of the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_at: Option<Timestamp>,
    /// One calendar month after it came in (GDPR Art. 12(3)), as recorded with the request.
    pub due_at: Timestamp,
    /// When its completion was recorded, if that was before the end of the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// Seconds that it took, or had taken by the end of the period.
    pub seconds: u64,
    /// Seconds beyond the limit.
    pub seconds_late: u64,
    /// People.
    pub subjects: u64,
    /// The legal ground.
    pub basis: Basis,
    /// Why.
    pub reason: Reason,
    /// What it has not reached, as codes.
    pub pending: Vec<Box<str>>,
}

impl ErasureLine {
    /// Sets state, `seconds` and `seconds_late` from the times, as of a moment.
    pub fn settle(&mut self, as_of: Timestamp) {
        let end = self.completed_at.or(self.cancelled_at).unwrap_or(as_of);
        self.seconds = seconds(self.requested_at, end);
        self.seconds_late = end.0.saturating_sub(self.due_at.0).div_ceil(1_000_000);
        if self.completed_at.is_none() && self.cancelled_at.is_some() {
            (self.state, self.seconds_late) = (ErasureState::Cancelled, 0);
            return;
        }
        self.state = match (self.completed_at.is_some(), end > self.due_at) {
            (true, false) => ErasureState::Completed,
            (true, true) => ErasureState::CompletedLate,
            (false, false) => ErasureState::Open,
            (false, true) => ErasureState::Overdue,
        };
    }
}

impl Erasures {
    /// Counts, sorts (late ones first, the latest at the top, then by request) and cuts after `most`.
    pub fn of(mut list: Vec<ErasureLine>, period: Period, most: usize) -> Self {
        let within = |time: Timestamp| (period.from..period.to).contains(&time);
        let count = |wanted: &dyn Fn(&ErasureLine) -> bool| list.iter().filter(|line| wanted(line)).count() as u64;
        let (requested, completed) = (
            count(&|line| within(line.requested_at)),
            count(&|line| line.completed_at.is_some_and(within)),
        );
        let of_state = |state| count(&|line| line.state == state);
        let [completed_late, open, overdue, cancelled] = [
            ErasureState::CompletedLate,
            ErasureState::Open,
            ErasureState::Overdue,
            ErasureState::Cancelled,
        ]
        .map(of_state);
        let is_open = |line: &ErasureLine| matches!(line.state, ErasureState::Open | ErasureState::Overdue);
        let waiting = count(&|line| is_open(line) && line.begun_at.is_none());
        let total = list.len() as u64;
        list.sort_by_key(|line| (std::cmp::Reverse(line.seconds_late), line.requested_at, line.request));
        list.truncate(most);
        Self {
            total,
            requested,
            completed,
            completed_late,
            open,
            overdue,
            cancelled,
            waiting,
            omitted: total - list.len() as u64,
            list,
        }
    }

    /// Those beyond their limit.
    pub fn late(&self) -> u64 {
        self.completed_late.saturating_add(self.overdue)
    }
}
