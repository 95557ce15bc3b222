//! Counting the events of the period: one pass over their headers.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::super::append::is_told_own;
use super::super::{Error, Ledger, Service};
use super::acts::Acts;
use crate::spec::compliance::{DAY, DayCount, Events, TypeCount, UnreadableEvent};
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
    unreadable: u64,
}

impl Service {
    /// Counts the events of a range of indexes, and gathers the acts that are among them.
    pub(super) fn count_events(&self, ledger: &Ledger, range: Range<u64>) -> Result<(Events, Acts), Error> {
        let (mut counts, mut acts, mut at) = (Counts::default(), Acts::default(), range.start);
        while at < range.end {
            let end = range.end.min(at.saturating_add(CHUNK));
            let mut rows = self.headers_apart(ledger, at..end)?.into_iter().peekable();
            for index in at..end {
                let row = rows.next_if(|row| row.index == index);
                let Some(header) = row.and_then(|row| Header::decode(&row.header).ok()) else {
                    // One event that nobody can read does not make the others unknown.
                    counts.unreadable += 1;
                    let section = "events".into();
                    acts.unreadable.push(UnreadableEvent { index, section });
                    continue;
                };
                counts.add(&header);
                if Acts::wants(header.event_type.as_str()) {
                    let event = self.stored_event(ledger, index);
                    acts.add(header.event_type.as_str(), index, event)?;
                }
            }
            at = end;
        }
        Ok((counts.finish(&range), acts))
    }

    /// The first index recorded at or after a time, or the size: binary search, since times never decrease. An event without a
    /// readable header counts as recorded when the next one with such was.
    pub(super) fn first_readable_from(&self, ledger: &Ledger, time: Timestamp) -> Result<u64, Error> {
        let (mut low, mut high) = (0, self.view(ledger)?.size());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.first_recorded(ledger, middle..high)? {
                Some((index, recorded_at)) if recorded_at < time => low = index + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }

    /// The first event of a range with a readable header, and when it was recorded.
    fn first_recorded(&self, ledger: &Ledger, range: Range<u64>) -> Result<Option<(u64, Timestamp)>, Error> {
        let mut at = range.start;
        // Nearly always the first one can be read: no more than that is asked for.
        let mut length = 1;
        while at < range.end {
            let end = range.end.min(at.saturating_add(length));
            for row in self.headers_apart(ledger, at..end)? {
                if let Ok(header) = Header::decode(&row.header) {
                    return Ok(Some((row.index, header.recorded_at)));
                }
            }
            (at, length) = (end, CHUNK);
        }
        Ok(None)
    }
}

impl Counts {
    fn add(&mut self, header: &Header) {
        let own = is_told_own(&header.event_type);
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
            own: is_told_own(&event_type),
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
            unreadable: self.unreadable,
            by_day: self.days.into_iter().map(day).collect(),
        }
    }
}
