//! Counting the events of the period: one pass over their headers.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::super::append::is_own_type;
use super::super::{Code, Error, Ledger, Service};
use super::acts::Acts;
use crate::spec::compliance::{DAY, DayCount, Events, TypeCount};
use crate::spec::event::Header;
use crate::spec::ids::{EventType, Timestamp};

/// Headers that are read at once.
const CHUNK: u64 = 4_096;
/// Different types that are told apart; events of any more are counted together.
const MAX_TYPES: usize = 10_000;
/// Types that are listed.
const LISTED_TYPES: usize = 500;
/// Days that are told apart: more than a century.
const MAX_DAYS: usize = 40_000;

#[derive(Default)]
struct Counts {
    types: HashMap<EventType, u64>,
    further: u64,
    days: BTreeMap<u64, (u64, u64)>,
    own: u64,
}

impl Service {
    /// Counts the events of a range of indexes, and gathers the acts that are among them.
    pub(super) fn count_events(&self, ledger: &Ledger, range: Range<u64>) -> Result<(Events, Acts), Error> {
        let (mut counts, mut acts, mut at) = (Counts::default(), Acts::default(), range.start);
        while at < range.end {
            let end = range.end.min(at.saturating_add(CHUNK));
            let rows = self.store.headers(ledger.record.number, at..end)?;
            if rows.len() as u64 != end - at {
                return Err(Error::new(
                    Code::Damaged,
                    format!("headers from index {at} on are missing; verify the ledger"),
                ));
            }
            for row in rows {
                let damaged =
                    |error| Error::new(Code::Damaged, format!("the header of index {}", row.index)).caused_by(error);
                let header = Header::decode(&row.header).map_err(damaged)?;
                counts.add(&header);
                if Acts::wants(header.event_type.as_str()) {
                    let event = self.stored_event(ledger, row.index);
                    acts.add(header.event_type.as_str(), row.index, event)?;
                }
            }
            at = end;
        }
        Ok((counts.finish(&range), acts))
    }
}

impl Counts {
    fn add(&mut self, header: &Header) {
        let own = is_own_type(&header.event_type);
        self.own += u64::from(own);
        let room = self.types.len() < MAX_TYPES || own;
        match self.types.get_mut(&header.event_type) {
            Some(count) => *count += 1,
            None if room => drop(self.types.insert(header.event_type.clone(), 1)),
            None => self.further += 1,
        }
        let mut day = header.recorded_at.0 / DAY;
        if self.days.len() >= MAX_DAYS && !self.days.contains_key(&day) {
            day = self.days.last_key_value().map_or(day, |(last, _)| *last);
        }
        let (callers, system) = self.days.entry(day).or_default();
        *(if own { system } else { callers }) += 1;
    }

    fn finish(self, range: &Range<u64>) -> Events {
        let line = |(event_type, count): (EventType, u64)| TypeCount {
            own: is_own_type(&event_type),
            event_type,
            count,
        };
        let mut by_type: Vec<_> = self.types.into_iter().map(line).collect();
        by_type.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.event_type.cmp(&b.event_type)));
        let cut = by_type.split_off(by_type.len().min(LISTED_TYPES));
        let day = |(day, (callers, own)): (u64, (u64, u64))| DayCount {
            day: Timestamp(day * DAY),
            callers,
            own,
        };
        Events {
            first_index: range.start,
            end_index: range.end,
            total: range.end - range.start,
            own: self.own,
            by_type,
            unlisted: cut.iter().map(|line| line.count).sum::<u64>() + self.further,
            by_day: self.days.into_iter().map(day).collect(),
        }
    }
}
