//! What the events of proceedings say, in numbers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::spec::compliance::By;
use crate::spec::ids::{Handle, Timestamp};
use crate::spec::system::Position;

/// What the events of proceedings say, as far as a report tells it.
#[derive(Default, Deserialize)]
pub(super) struct Said {
    #[serde(default)]
    by: Option<Box<str>>,
    #[serde(default)]
    roles: Vec<Box<str>>,
    pub(super) ground: Option<Box<str>>,
    pub(super) reason: Option<Box<str>>,
    handle: Option<Handle>,
    handles: Option<Vec<IgnoredAny>>,
    categories: Option<Vec<IgnoredAny>>,
    streams: Option<Vec<IgnoredAny>>,
    pub(super) expires_at: Option<Timestamp>,
    positions: Option<Vec<Position>>,
    erasures: Option<Vec<IgnoredAny>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Rule {
    /// Of a rule about sealed blocks; the others are about people.
    event_type: Option<IgnoredAny>,
    #[serde(default)]
    due: u64,
    #[serde(default)]
    erased: u64,
    #[serde(default)]
    purged: u64,
    #[serde(default)]
    held: u64,
    #[serde(default)]
    restricted: u64,
}

/// What a run of retention counts of people, and of sealed blocks.
type Counted = (&'static str, fn(&Rule) -> u64);
const OF_PEOPLE: [Counted; 4] = [
    ("people_due", |rule| rule.due),
    ("people_erased", |rule| rule.erased),
    ("people_held", |rule| rule.held),
    ("people_restricted", |rule| rule.restricted),
];
const OF_BLOCKS: [Counted; 4] = [
    ("blocks_due", |rule| rule.due),
    ("blocks_purged", |rule| rule.purged),
    ("blocks_held", |rule| rule.held),
    ("blocks_restricted", |rule| rule.restricted),
];

impl Said {
    pub(super) fn count(&self, counts: &mut BTreeMap<Box<str>, u64>) {
        let length = |items: &Option<Vec<IgnoredAny>>| items.as_ref().map(|items| items.len() as u64);
        let events = self.positions.as_ref().map(|positions| {
            let indexes: std::collections::BTreeSet<_> = positions.iter().map(|position| position.index).collect();
            indexes.len() as u64
        });
        let all = [
            (
                "people",
                length(&self.handles).or_else(|| self.handle.as_ref().map(|_| 1)),
            ),
            ("categories", length(&self.categories)),
            ("streams", length(&self.streams)),
            ("events", events),
            (
                "bodies",
                self.positions.as_ref().map(|positions| positions.len() as u64),
            ),
            ("erasures", length(&self.erasures)),
            ("rules", self.rules.as_ref().map(|rules| rules.len() as u64)),
        ];
        for (what, number) in all {
            if let Some(number) = number {
                counts.insert(what.into(), number);
            }
        }
        let rules = self.rules.as_deref().unwrap_or_default();
        let (of_blocks, of_people): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.event_type.is_some());
        for (rules, all) in [(of_people, OF_PEOPLE), (of_blocks, OF_BLOCKS)] {
            for (what, of) in all.into_iter().filter(|_| !rules.is_empty()) {
                counts.insert(what.into(), rules.iter().map(|rule| of(rule)).sum());
            }
        }
    }

    /// The key that acted, where it is named.
    pub(super) fn actor(&self) -> Option<By> {
        let key = self.by.clone()?;
        Some(By {
            key,
            roles: self.roles.clone(),
        })
    }
}

pub(super) fn nobody() -> By {
    By {
        key: "-".into(),
        roles: Vec::new(),
    }
}
