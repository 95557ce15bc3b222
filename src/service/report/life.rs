//! The life of personal data beside erasures: proceedings with a beginning and an end, backups, changes of keys. Each is
//! folded from its own stream up to the end of the period; events that are damaged are noted, and left out.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::super::own::recorded;
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service, leak, redact};
use crate::spec::certificate::LeakRecord;
use crate::spec::compliance::{
    BackupLine, Backups, By, KnownCopy, MAX_ROWS, Period, Proceeding, Proceedings, Rotation, RotationAct, Rotations,
    UnreadableEvent,
};
use crate::spec::ids::{Handle, Timestamp};
use crate::spec::system::{Authority, Position, SystemType};

/// A kind of proceeding, as its stream tells it.
struct Course {
    stream: &'static str,
    /// The type that begins one, and how it stands then.
    begins: (&'static str, &'static str),
    /// The type that ends one, and how it stands then.
    ends: (&'static str, &'static str),
}

const HOLDS: Course = Course {
    stream: "$holds",
    begins: ("hold.placed", "active"),
    ends: ("hold.released", "released"),
};
const RESTRICTIONS: Course = Course {
    stream: "$restrictions",
    begins: ("restriction.placed", "active"),
    ends: ("restriction.lifted", "lifted"),
};
const RETENTION: Course = Course {
    stream: "$retention",
    begins: ("retention.started", "running"),
    ends: ("retention.completed", "completed"),
};
const REDACTIONS: Course = Course {
    stream: redact::STREAM,
    begins: ("bodies.redacted", "redacted"),
    ends: ("redaction.completed", "completed"),
};
const LEAKS: Course = Course {
    stream: leak::STREAM,
    begins: ("leak.reported", "open"),
    ends: ("leak.withdrawn", "withdrawn"),
};

/// What the events of proceedings say, as far as a report tells it.
#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    by: Option<Box<str>>,
    #[serde(default)]
    roles: Vec<Box<str>>,
    ground: Option<Box<str>>,
    reason: Option<Box<str>>,
    handle: Option<Handle>,
    handles: Option<Vec<IgnoredAny>>,
    categories: Option<Vec<IgnoredAny>>,
    streams: Option<Vec<IgnoredAny>>,
    expires_at: Option<Timestamp>,
    positions: Option<Vec<Position>>,
    erasures: Option<Vec<IgnoredAny>>,
    rules: Option<Vec<Rule>>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    due: u64,
    #[serde(default)]
    erased: u64,
    #[serde(default)]
    held: u64,
    #[serde(default)]
    restricted: u64,
}

impl Said {
    fn count(&self, counts: &mut BTreeMap<Box<str>, u64>) {
        let length = |items: &Option<Vec<IgnoredAny>>| items.as_ref().map(|items| items.len() as u64);
        let events = self.positions.as_ref().map(|positions| {
            let indexes: std::collections::BTreeSet<_> = positions.iter().map(|position| position.index).collect();
            indexes.len() as u64
        });
        let of_rules = |of: fn(&Rule) -> u64| self.rules.as_ref().map(|rules| rules.iter().map(of).sum());
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
            ("due", of_rules(|rule| rule.due)),
            ("erased", of_rules(|rule| rule.erased)),
            ("held", of_rules(|rule| rule.held)),
            ("restricted", of_rules(|rule| rule.restricted)),
        ];
        for (what, number) in all {
            if let Some(number) = number {
                counts.insert(what.into(), number);
            }
        }
    }

    /// The key that acted, where it is named.
    fn actor(&self) -> Option<By> {
        let key = self.by.clone()?;
        Some(By {
            key,
            roles: self.roles.clone(),
        })
    }
}

/// The payload of an event that changed keys.
#[derive(Deserialize)]
struct Changed {
    from: Option<u32>,
    to: Option<u32>,
    epoch: Option<u32>,
    by: Option<Box<str>>,
    epochs: Option<crate::spec::system::Epochs>,
}

/// What sections about a period have in common.
pub(super) struct Scope<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) period: Period,
    /// The first index after the period.
    pub(super) end: u64,
    pub(super) unreadable: &'a mut Vec<UnreadableEvent>,
}

/// The sections about the life of personal data.
pub(super) struct Life {
    pub(super) holds: Proceedings,
    pub(super) restrictions: Proceedings,
    pub(super) retention: Proceedings,
    pub(super) redactions: Proceedings,
    pub(super) leaks: Proceedings,
    pub(super) backups: Backups,
    pub(super) rotations: Rotations,
}

impl Service {
    /// All of them.
    pub(super) fn report_life(&self, scope: &mut Scope<'_>) -> Result<Life, Error> {
        Ok(Life {
            holds: self.proceedings(scope, &HOLDS, "holds")?,
            restrictions: self.proceedings(scope, &RESTRICTIONS, "restrictions")?,
            retention: self.proceedings(scope, &RETENTION, "retention")?,
            redactions: self.proceedings(scope, &REDACTIONS, "redactions")?,
            leaks: self.reported_leaks(scope)?,
            backups: self.reported_backups(scope)?,
            rotations: self.rotations(scope)?,
        })
    }

    /// Reads the events of an own stream before the end of the period. One that is damaged is noted as missing in a section.
    pub(super) fn each_own(
        &self,
        scope: &mut Scope<'_>,
        stream: &'static str,
        section: &'static str,
        mut read: impl FnMut(&StoredEvent) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for index in self.own_indexes(scope.ledger, stream, 0)? {
            if index >= scope.end {
                break;
            }
            match self.stored_event(scope.ledger, index).and_then(|event| read(&event)) {
                Err(error) if error.code == Code::Damaged => scope.unreadable.push(UnreadableEvent {
                    index,
                    section: section.into(),
                }),
                done => done?,
            }
        }
        Ok(())
    }

    fn proceedings(&self, scope: &mut Scope<'_>, course: &Course, section: &'static str) -> Result<Proceedings, Error> {
        let all = self.all_proceedings(scope, course, section)?;
        Ok(Proceedings::of(all, scope.period, MAX_ROWS))
    }

    fn all_proceedings(
        &self,
        scope: &mut Scope<'_>,
        course: &Course,
        section: &'static str,
    ) -> Result<Vec<Proceeding>, Error> {
        let (mut all, mut places) = (Vec::<Proceeding>::new(), HashMap::<Uuid, usize>::new());
        let as_of = scope.period.to;
        self.each_own(scope, course.stream, section, |event| {
            let (id, said) = (id_of(event)?, recorded::<Said>(event)?.payload);
            let known = places.get(&id).and_then(|place| all.get_mut(*place));
            let event_type = event.header.event_type.as_str();
            match known {
                None if event_type == course.begins.0 => {
                    places.insert(id, all.len());
                    all.push(begun(event, id, &said, course.begins.1, as_of));
                }
                None => {}
                Some(known) => {
                    said.count(&mut known.counts);
                    if event_type == course.ends.0 && known.ended_at.is_none() {
                        (known.ended_at, known.state) = (Some(event.header.recorded_at), course.ends.1.into());
                    } else if let Some(by) = said.actor() {
                        known.by = by;
                    }
                }
            }
            Ok(())
        })?;
        Ok(all)
    }

    /// Leaks, which end with the redaction of the last body, too.
    fn reported_leaks(&self, scope: &mut Scope<'_>) -> Result<Proceedings, Error> {
        let mut all = self.all_proceedings(scope, &LEAKS, "leaks")?;
        let mut record = LeakRecord::default();
        for (stream, section) in [(leak::STREAM, "leaks"), (redact::STREAM, "redactions")] {
            self.each_own(scope, stream, section, |event| {
                let known = SystemType::from_type(&event.header.event_type);
                let data = event.data().map(|data| &data.bytes);
                let authority = known.zip(data).map(|(known, data)| Authority::read(known, data));
                if let Some(Ok(authority)) = authority {
                    record.add(event.index, event.header.recorded_at, &authority);
                }
                Ok(())
            })?;
        }
        for leak in record.reports() {
            let line = all.iter_mut().find(|line| line.index == leak.index);
            if let (Some(line), Some(end)) = (line, record.settled(leak)) {
                (line.ended_at, line.state) = (Some(end.at), end.outcome.to_string().into());
            }
        }
        Ok(Proceedings::of(all, scope.period, MAX_ROWS))
    }

    fn reported_backups(&self, scope: &mut Scope<'_>) -> Result<Backups, Error> {
        let mut list = Vec::new();
        self.each_own(scope, "$backups", "backups", |event| {
            let said = recorded::<Said>(event)?.payload;
            list.push(BackupLine {
                backup: id_of(event)?,
                index: event.index,
                begun_at: event.header.recorded_at,
                by: said.actor().unwrap_or_else(nobody),
                known: None,
            });
            Ok(())
        })?;
        let views = self.readable_backups()?;
        for line in &mut list {
            let view = views.iter().find(|view| view.id == line.backup);
            let origin = &scope.ledger.record.origin;
            let copy = view.and_then(|view| view.ledgers.iter().find(|copy| copy.origin == *origin));
            line.known = view.zip(copy).map(|(view, copy)| KnownCopy {
                state: super::state::word(&view.state),
                epoch: copy.epoch,
                keys_die_at: copy.epoch_dies_at,
                expired: copy.expired,
            });
        }
        Ok(Backups::of(list, scope.period))
    }

    fn rotations(&self, scope: &mut Scope<'_>) -> Result<Rotations, Error> {
        let mut list = Vec::new();
        let from = scope.period.from;
        for stream in ["$epochs", "$erasures", "$subjects"] {
            self.each_own(scope, stream, "rotations", |event| {
                let act = match event.header.event_type.as_str() {
                    "epoch.changed" => RotationAct::Changed,
                    "epoch.destroyed" => RotationAct::Destroyed,
                    "erasure.completed" => RotationAct::ChangedByErasure,
                    "subject.keys_renewed" => RotationAct::Renewed,
                    _ => return Ok(()),
                };
                if event.header.recorded_at < from {
                    return Ok(());
                }
                let said = recorded::<Changed>(event)?.payload;
                list.push(Rotation {
                    at: event.header.recorded_at,
                    index: event.index,
                    act,
                    from: said.from.or(said.epoch).or(said.epochs.map(|epochs| epochs.from)),
                    to: said.to.or(said.epochs.map(|epochs| epochs.to)),
                    by: said.by,
                });
                Ok(())
            })?;
        }
        Ok(Rotations::of(list, MAX_ROWS))
    }
}

fn begun(event: &StoredEvent, id: Uuid, said: &Said, state: &str, as_of: Timestamp) -> Proceeding {
    let mut counts = BTreeMap::new();
    said.count(&mut counts);
    // What ends by itself has no event that says so.
    let expired = said.expires_at.filter(|end| *end < as_of);
    Proceeding {
        id,
        index: event.index,
        begun_at: event.header.recorded_at,
        ended_at: expired,
        state: if expired.is_some() { "expired" } else { state }.into(),
        code: said.ground.clone().or_else(|| said.reason.clone()),
        by: said.actor().unwrap_or_else(nobody),
        counts,
    }
}

fn nobody() -> By {
    By {
        key: "-".into(),
        roles: Vec::new(),
    }
}

/// The id of an act: its events' correlation id.
fn id_of(event: &StoredEvent) -> Result<Uuid, Error> {
    let id = event.meta.as_ref().and_then(|meta| meta.correlation_id.as_deref());
    let damaged = || Error::new(Code::Damaged, format!("the event at index {} has no id", event.index));
    id.and_then(|id| id.parse().ok()).ok_or_else(damaged)
}
