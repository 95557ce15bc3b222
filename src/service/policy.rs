//! What an operator sets about the life of personal data: grace, four eyes, suppression, retention.

use std::fmt;
use std::str::FromStr;

use jiff::{Span, ToSpan};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::access::internal;
use super::append::is_own_type;
use super::{Error, Service};
use crate::keystore::Suppression;
use crate::spec::ids::{Category, EventType, Timestamp};

/// The longest grace in seconds, 30 days: an erasure is due within a month (GDPR Art. 12(3)).
pub const MAX_GRACE_SECONDS: u64 = 30 * 86_400;

/// The widest grid onto which the end of a suppression is rounded, in microseconds: 30 days.
const GRID: u64 = 30 * 86_400 * 1_000_000;

/// What is set.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Seconds between the fence of an erasure and its destruction; 0: none.
    pub grace_seconds: u64,
    /// Whether a second API key must approve an erasure.
    pub four_eyes: bool,
    /// What is kept of a subject id after an erasure.
    pub suppression: SuppressionRule,
    /// The retention rules.
    pub retention: Vec<RetentionRule>,
}

/// `forever`, `none`, or a period.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SuppressionRule {
    /// A keyed hash, for ever.
    #[default]
    Forever,
    /// A keyed hash for this time.
    For(Period),
    /// Nothing: the same subject id is a new person.
    None,
}

/// A length of time as people write it: `90d`, `6mo`, `7y`, or ISO 8601 (`P7Y`). Months and years are the calendar's (UTC).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Period {
    text: String,
    span: PeriodSpan,
}

/// A span; compared by its fields, which is what two settings have in common.
#[derive(Debug, Clone, Copy)]
struct PeriodSpan(Span);

impl PartialEq for PeriodSpan {
    fn eq(&self, other: &Self) -> bool {
        self.0.fieldwise() == other.0.fieldwise()
    }
}

impl Eq for PeriodSpan {}

/// How long data is kept: that of a category, or the sealed blocks of an event type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionRule {
    /// What people call it: it stands in reports and in the ledger.
    pub name: String,
    /// The category whose data it is about; this or `event_type`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// The type of the events whose sealed blocks it is about; this or `category`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// How long: of a category, after the newest event with a subject's data of it; of an event type, after the event.
    pub keep: Period,
    /// What becomes of it then; it follows from what the rule is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<RetentionAction>,
}

/// What becomes of data that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(utoipa::ToSchema)]
pub enum RetentionAction {
    /// Of a category: the subject's keys of it are destroyed.
    EraseKeys,
    /// Of an event type: the sealed blocks leave the ledger's store. Their keys live.
    PurgeBodies,
}

/// What a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// The data of a category.
    Category(&'a Category),
    /// The sealed blocks in events of a type.
    EventType(&'a EventType),
}

impl RetentionRule {
    /// What it is about; `None` if it names both or neither, which settings refuse.
    pub fn scope(&self) -> Option<Scope<'_>> {
        match (&self.category, &self.event_type) {
            (Some(category), None) => Some(Scope::Category(category)),
            (None, Some(event_type)) => Some(Scope::EventType(event_type)),
            _ => None,
        }
    }

    /// What becomes of what is due.
    pub fn action(&self) -> RetentionAction {
        match self.event_type {
            Some(_) => RetentionAction::PurgeBodies,
            None => RetentionAction::EraseKeys,
        }
    }

    /// What is wrong with it, and the mend.
    ///
    /// # Errors
    /// In words.
    pub fn check(&self) -> Result<(), &'static str> {
        match self.scope() {
            None => return Err("has a rule that names not exactly one of `category` and `event_type`"),
            Some(Scope::EventType(event_type)) if is_own_type(event_type) => {
                return Err("has a rule for events of Oubliette's own, which are never removed; name a type of yours");
            }
            Some(_) => {}
        }
        if self.action.is_some_and(|action| action != self.action()) {
            return Err(
                "has an action that does not fit: `erase_keys` goes with `category`, `purge_bodies` with \
                        `event_type`; leave it out",
            );
        }
        match self.name.len() {
            1..=100 => Ok(()),
            _ => Err("has a rule without a name; give it one of 1 to 100 bytes"),
        }
    }
}

impl FromStr for Period {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const MEND: &str = "must be a period such as 90d, 6mo or 7y";
        let span: Span = text.parse().map_err(|_| MEND)?;
        // It must be longer than nothing, and lead somewhere in the calendar.
        let start = jiff::Timestamp::UNIX_EPOCH.to_zoned(jiff::tz::TimeZone::UTC);
        let end = start.checked_add(span).map_err(|_| MEND)?;
        if end <= start || end > start.checked_add(1_000.years()).map_err(|_| MEND)? {
            return Err(MEND);
        }
        Ok(Self {
            text: text.to_owned(),
            span: PeriodSpan(span),
        })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Period {
    /// The time that lies this long before another; 1970 if there is none.
    ///
    /// # Errors
    /// If the other time is beyond the calendar.
    pub fn before(&self, time: Timestamp) -> Result<Timestamp, Error> {
        shifted(time, -self.span.0)
    }

    /// The time that lies this long after another.
    ///
    /// # Errors
    /// If it is beyond the calendar.
    pub fn after(&self, time: Timestamp) -> Result<Timestamp, Error> {
        shifted(time, self.span.0)
    }
}

fn shifted(time: Timestamp, span: Span) -> Result<Timestamp, Error> {
    let micros = i64::try_from(time.0).map_err(internal)?;
    let start = jiff::Timestamp::from_microsecond(micros).map_err(internal)?;
    let end = start.to_zoned(jiff::tz::TimeZone::UTC).checked_add(span);
    let micros = end.map_err(internal)?.timestamp().as_microsecond();
    Ok(Timestamp(u64::try_from(micros).unwrap_or(0)))
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_text!(Period, SuppressionRule);

impl FromStr for SuppressionRule {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "forever" => Ok(Self::Forever),
            "none" => Ok(Self::None),
            period => period
                .parse()
                .map(Self::For)
                .map_err(|_| "must be forever, none, or a period such as 90d or 2y"),
        }
    }
}

impl fmt::Display for SuppressionRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.write_str("forever"),
            Self::For(period) => period.fmt(f),
            Self::None => f.write_str("none"),
        }
    }
}

impl SuppressionRule {
    /// What an erasure of now keeps. An end is rounded up onto a grid as wide as the period, 30 days at the most: its exact
    /// time would lead from the row to the erasure that wrote it.
    ///
    /// # Errors
    /// If the end is beyond the calendar.
    pub fn at(&self, now: Timestamp) -> Result<Suppression, Error> {
        Ok(match self {
            Self::Forever => Suppression::Forever,
            Self::None => Suppression::None,
            Self::For(period) => {
                let end = period.after(now)?.0;
                let grid = end.saturating_sub(now.0).clamp(1, GRID);
                Suppression::Until(Timestamp(end.div_ceil(grid).saturating_mul(grid)))
            }
        })
    }
}

impl Service {
    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_the_calendars() {
        let time: Timestamp = "2026-03-31T10:00:00Z".parse().unwrap();
        let before = |text: &str| text.parse::<Period>().unwrap().before(time).unwrap().to_string();
        assert_eq!(before("1mo"), "2026-02-28T10:00:00.000000Z");
        assert_eq!(before("7y"), "2019-03-31T10:00:00.000000Z");
        assert_eq!(before("90d"), "2025-12-31T10:00:00.000000Z");
        assert_eq!(before("900y"), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn what_is_no_period_is_refused() {
        for text in ["", "soon", "-3d", "0s", "3", "2000y", "forever"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_rule_is_about_a_category_or_an_event_type_and_its_action_follows() {
        let rule = |fields: &str| {
            let text = format!(r#"{{"name": "n", "keep": "90d"{fields}}}"#);
            serde_json::from_str::<RetentionRule>(&text).unwrap()
        };
        let of_type = rule(r#", "event_type": "login""#);
        assert_eq!(
            (of_type.check(), of_type.action()),
            (Ok(()), RetentionAction::PurgeBodies)
        );
        let of_category = rule(r#", "category": "c", "action": "erase_keys""#);
        assert_eq!(
            (of_category.check(), of_category.action()),
            (Ok(()), RetentionAction::EraseKeys)
        );
        for wrong in [
            "",
            r#", "category": "c", "event_type": "login""#,
            r#", "category": "c", "action": "purge_bodies""#,
            r#", "event_type": "login", "action": "erase_keys""#,
            r#", "event_type": "erasure.requested""#,
            r#", "event_type": "export.created""#,
        ] {
            assert!(rule(wrong).check().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_suppression_ends_on_a_grid_and_never_early() {
        let now = Timestamp(1_700_000_000_123_456);
        let until = |text: &str| match text.parse::<SuppressionRule>().unwrap().at(now).unwrap() {
            Suppression::Until(until) => until.0,
            other => panic!("{other:?}"),
        };
        let (day, second) = (86_400_000_000, 1_000_000);
        assert_eq!(until("1y") % GRID, 0);
        assert!((now.0 + 365 * day..now.0 + 397 * day).contains(&until("1y")));
        assert!((now.0 + 2 * second..=now.0 + 4 * second).contains(&until("2s")));
        let at = |text: &str| text.parse::<SuppressionRule>().unwrap().at(now).unwrap();
        assert_eq!((at("forever"), at("none")), (Suppression::Forever, Suppression::None));
        assert!("sometimes".parse::<SuppressionRule>().is_err());
    }
}
