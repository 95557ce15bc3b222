//! What was done about the life of personal data beside erasures: holds, restrictions, retention runs, redactions and leaks,
//! which begin and end; backups; changes of keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{By, MAX_ROWS, Period};
use crate::spec::ids::Timestamp;

/// Proceedings of one kind that were open or ended in the period, as they stood at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportProceedings))]
pub struct Proceedings {
    /// How many.
    pub total: u64,
    /// Begun within the period.
    pub begun: u64,
    /// Ended within the period.
    pub ended: u64,
    /// Of all, still open at the end of the period.
    pub open: u64,
    /// In order of their beginning.
    pub list: Vec<Proceeding>,
    /// Not listed.
    pub omitted: u64,
}

/// A hold, a restriction, a retention run, a redaction or a leak.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportProceeding))]
pub struct Proceeding {
    /// Which.
    pub id: Uuid,
    /// The event that began it.
    pub index: u64,
    /// When that was recorded.
    pub begun_at: Timestamp,
    /// When it ended, if that was before the end of the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it stood, as a word.
    pub state: Box<str>,
    /// Its ground or reason, as the ledger's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Box<str>>,
    /// Who began it.
    pub by: By,
    /// What it is about, in numbers.
    pub counts: BTreeMap<Box<str>, u64>,
}

impl Proceedings {
    /// Keeps what was open in the period or ended in it, counts, and cuts after `most`.
    pub fn of(mut list: Vec<Proceeding>, period: Period, most: usize) -> Self {
        let within = |time: Timestamp| (period.from..period.to).contains(&time);
        list.retain(|line| line.begun_at < period.to && line.ended_at.is_none_or(|end| end >= period.from));
        list.sort_by_key(|line| (line.begun_at, line.index));
        let count = |wanted: &dyn Fn(&Proceeding) -> bool| list.iter().filter(|line| wanted(line)).count() as u64;
        let (begun, ended, open) = (
            count(&|line| within(line.begun_at)),
            count(&|line| line.ended_at.is_some_and(within)),
            count(&|line| line.ended_at.is_none()),
        );
        let total = list.len() as u64;
        list.truncate(most);
        Self {
            total,
            begun,
            ended,
            open,
            omitted: total - list.len() as u64,
            list,
        }
    }
}

/// Backups that were begun in the period, and earlier ones with which keys could still be opened when the report was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportBackups))]
pub struct Backups {
    /// How many.
    pub total: u64,
    /// Of these, begun within the period.
    pub begun: u64,
    /// In order.
    pub list: Vec<BackupLine>,
    /// Not listed.
    pub omitted: u64,
}

/// A backup that the ledger has on record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportBackup))]
pub struct BackupLine {
    /// Which.
    pub backup: Uuid,
    /// The event that records it.
    pub index: u64,
    /// When that was recorded.
    pub begun_at: Timestamp,
    /// Who asked for it.
    pub by: By,
    /// What the server's records say of it; absent: nothing. The ledger does not prove it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known: Option<KnownCopy>,
}

/// A backup as the server's records had it when the report was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportBackupKnown))]
pub struct KnownCopy {
    /// `running`, `completed`, `failed` or `broken_off`.
    pub state: Box<str>,
    /// The epoch under which this ledger's keys are in it.
    pub epoch: u32,
    /// When that epoch's key dies; absent: not set, the epoch is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_die_at: Option<Timestamp>,
    /// Whether it is dead: the copy opens nothing any more.
    pub expired: bool,
}

impl Backups {
    /// Keeps those of the period and those that still open, counts, and cuts.
    pub fn of(mut list: Vec<BackupLine>, period: Period) -> Self {
        list.retain(|line| {
            let opens = line.known.as_ref().is_none_or(|known| !known.expired);
            line.begun_at < period.to && (opens || line.begun_at >= period.from)
        });
        list.sort_by_key(|line| line.index);
        let begun = list.iter().filter(|line| line.begun_at >= period.from).count() as u64;
        let total = list.len() as u64;
        list.truncate(MAX_ROWS);
        Self {
            total,
            begun,
            omitted: total - list.len() as u64,
            list,
        }
    }
}

/// Changes of the keys under which personal data is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportRotations))]
pub struct Rotations {
    /// Changes of epoch: all keys wrapped anew under another epoch key.
    pub changed: u64,
    /// Retired epoch keys that were destroyed.
    pub destroyed: u64,
    /// People who got keys of a new generation.
    pub renewed: u64,
    /// In order.
    pub list: Vec<Rotation>,
    /// Not listed.
    pub omitted: u64,
}

/// A change of keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = ReportRotation))]
pub struct Rotation {
    /// When it was recorded.
    pub at: Timestamp,
    /// The event that records it.
    pub index: u64,
    /// Which kind.
    pub act: RotationAct,
    /// The epoch before, or whose key was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u32>,
    /// The epoch since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u32>,
    /// The API key that asked for it, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Box<str>>,
}

/// A kind of change of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum RotationAct {
    /// A change of epoch that was asked for.
    Changed,
    /// A change of epoch by an erasure; several erasures may share one.
    ChangedByErasure,
    /// A retired epoch key was destroyed.
    Destroyed,
    /// A person's keys got a new generation.
    Renewed,
}

impl RotationAct {
    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Changed => "epoch changed",
            Self::ChangedByErasure => "epoch changed by an erasure",
            Self::Destroyed => "retired epoch key destroyed",
            Self::Renewed => "a person's keys renewed",
        }
    }
}

impl Rotations {
    /// Counts, sorts and cuts after `most`.
    pub fn of(mut list: Vec<Rotation>, most: usize) -> Self {
        list.sort_by_key(|line| line.index);
        let of_act = |act| list.iter().filter(|line| line.act == act).count() as u64;
        let mut by_erasures: Vec<_> = list
            .iter()
            .filter(|line| line.act == RotationAct::ChangedByErasure)
            .map(|line| line.to)
            .collect();
        by_erasures.sort_unstable();
        by_erasures.dedup();
        let changed = of_act(RotationAct::Changed).saturating_add(by_erasures.len() as u64);
        let (destroyed, renewed) = (of_act(RotationAct::Destroyed), of_act(RotationAct::Renewed));
        let omitted = list.len().saturating_sub(most) as u64;
        list.truncate(most);
        Self {
            changed,
            destroyed,
            renewed,
            list,
            omitted,
        }
    }
}
