//! The life of personal data beside erasures: proceedings with a beginning and an end, backups, changes of keys. Each is
//! folded from its own stream up to the end of the period; events that are damaged are noted, and left out.

mod said;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Deserialize;
use serde::de::IgnoredAny;
use uuid::Uuid;

use super::super::own::recorded;
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service, leak, redact};
use crate::spec::certificate::LeakRecord;
use crate::spec::compliance::{
    BackupLine, Backups, KnownCopy, MAX_ROWS, Period, Proceeding, Proceedings, Rotation, RotationAct, Rotations,
    UnreadableEvent,
};
use crate::spec::ids::{Origin, Timestamp};
use crate::spec::system::{Authority, SystemType};
use said::{Said, nobody};

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

/// The payload of an event that changed keys.
#[derive(Deserialize)]
struct Changed {
    from: Option<u32>,
    to: Option<u32>,
    epoch: Option<u32>,
    by: Option<Box<str>>,
    epochs: Option<crate::spec::system::Epochs>,
    request: Option<Uuid>,
    origin: Option<Origin>,
    subjects: Option<Vec<IgnoredAny>>,
}

impl Changed {
    /// A frozen log has epochs of its own.
    fn is_of_another_log(&self) -> bool {
        self.origin.is_some()
    }

    /// Where everybody was erased before, nothing was destroyed.
    fn names_nobody(&self) -> bool {
        self.subjects.as_ref().is_some_and(Vec::is_empty)
    }
}

/// What sections about a period have in common.
pub(super) struct Scope<'a> {
    pub(super) ledger: &'a Ledger,
    pub(super) period: Period,
    pub(super) made_at: Timestamp,
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
        let mut expiries = Vec::new();
        self.each_own(scope, course.stream, section, |event| {
            let (id, said) = (id_of(event)?, recorded::<Said>(event)?.payload);
            let known = places.get(&id).and_then(|place| all.get_mut(*place));
            let event_type = event.header.event_type.as_str();
            match known {
                None if event_type == course.begins.0 => {
                    places.insert(id, all.len());
                    expiries.push(said.expires_at);
                    all.push(begun(event, id, &said, course.begins.1));
                }
                None => {}
                Some(known) => {
                    said.count(&mut known.counts);
                    let ends = event_type == course.ends.0;
                    if ends && known.ended_at.is_none() {
                        (known.ended_at, known.state) = (Some(event.header.recorded_at), course.ends.1.into());
                    } else if let Some(by) = said.actor().filter(|_| !ends) {
                        known.by = by;
                    }
                }
            }
            Ok(())
        })?;
        for (line, expires_at) in all.iter_mut().zip(expiries) {
            expire(line, expires_at, scope);
        }
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
        // Erasures that changed no epoch of this log.
        let mut elsewhere = HashSet::new();
        let from = scope.period.from;
        for stream in ["$epochs", "$erasures", "$subjects"] {
            self.each_own(scope, stream, "rotations", |event| {
                let act = match event.header.event_type.as_str() {
                    "erasure.requested" => {
                        let said = recorded::<Changed>(event)?.payload;
                        if said.is_of_another_log() || said.names_nobody() {
                            elsewhere.extend(said.request);
                        }
                        return Ok(());
                    }
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
                if said.is_of_another_log() || said.request.is_some_and(|request| elsewhere.contains(&request)) {
                    return Ok(());
                }
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

fn begun(event: &StoredEvent, id: Uuid, said: &Said, state: &str) -> Proceeding {
    let mut counts = BTreeMap::new();
    said.count(&mut counts);
    Proceeding {
        id,
        index: event.index,
        begun_at: event.header.recorded_at,
        ended_at: None,
        state: state.into(),
        code: said.ground.clone().or_else(|| said.reason.clone()),
        by: said.actor().unwrap_or_else(nobody),
        counts,
    }
}

/// What ends by itself has no event that says so. It ends in the period, when the report is made at the latest, and not after
/// somebody ended it.
fn expire(line: &mut Proceeding, expires_at: Option<Timestamp>, scope: &Scope<'_>) {
    let over = |end: &Timestamp| *end < scope.period.to && *end <= scope.made_at;
    let first = |end: &Timestamp| line.ended_at.is_none_or(|ended| *end < ended);
    if let Some(end) = expires_at.filter(over).filter(first) {
        (line.ended_at, line.state) = (Some(end), "expired".into());
    }
}

/// The id of an act: its events' correlation id.
fn id_of(event: &StoredEvent) -> Result<Uuid, Error> {
    let id = event.meta.as_ref().and_then(|meta| meta.correlation_id.as_deref());
    let damaged = || Error::new(Code::Damaged, format!("the event at index {} has no id", event.index));
    id.and_then(|id| id.parse().ok()).ok_or_else(damaged)
}
