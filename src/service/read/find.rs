//! Which events a read is about: one index leads, everything else is filtered.

use std::ops::Range;

use super::super::{Code, Error, Ledger, Service};
use super::{EventView, Reveal, StoredEvent};
use crate::spec::ids::{EventType, Handle, StreamName, StreamRef, Timestamp};
use crate::store::{Direction, Lookup};

/// Events that one page looks at before it hands back a cursor, found or not.
const MAX_LOOKED_AT: usize = 20_000;
/// Events that are read from the store at once, at the most, and to begin with, while nothing is known of their size.
const CHUNK: usize = 128;
const FIRST_CHUNK: usize = 8;
/// Bytes of bodies with which a page ends, however many events are missing to its limit.
const PAGE_BYTES: usize = 16 << 20;
/// Events that lie side by side, on average, from which ranges are read.
const RUN: usize = 4;

/// What to read. Absent fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Events of a stream.
    pub stream: Option<StreamName>,
    /// Events of a stream by its random reference.
    pub stream_ref: Option<StreamRef>,
    /// Events of a type.
    pub event_type: Option<EventType>,
    /// Events with a tag.
    pub tag: Option<Box<str>>,
    /// Events that concern a data subject.
    pub handle: Option<Handle>,
    /// Events with a correlation id.
    pub correlation_id: Option<Box<str>>,
    /// Recorded at or after.
    pub from: Option<Timestamp>,
    /// Recorded before.
    pub to: Option<Timestamp>,
    /// Only indexes beyond this one, in the direction of the read.
    pub after: Option<u64>,
    /// Whether Oubliette's own events are wanted.
    pub system: bool,
    /// Oldest or newest first.
    pub direction: Direction,
}

/// A page of events.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[schema(as = EventPage)]
pub struct Page {
    /// The events.
    pub events: Vec<EventView>,
    /// Where the next page begins; absent at the end.
    pub next: Option<String>,
}

/// A page of streams.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct StreamPage {
    /// The streams, by name.
    pub streams: Vec<StreamView>,
    /// Where the next page begins; absent at the end.
    pub next: Option<StreamName>,
}

/// A stream.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct StreamView {
    /// Its name.
    pub stream: StreamName,
    /// Its random reference.
    pub stream_ref: StreamRef,
    /// Number of events in it.
    pub version: u64,
}

impl Service {
    /// One page: up to `limit` events, or fewer where they are large. Nothing beyond the head of now is in it.
    ///
    /// # Errors
    /// `stream_not_found` for a stream that never was.
    pub fn page(&self, ledger: &Ledger, filter: &Filter, limit: usize, reveal: Reveal) -> Result<Page, Error> {
        let (events, next) = span!("find").in_scope(|| self.find(ledger, filter, limit))?;
        let span = span!("keystore.open", events = events.len(), reveal = reveal == Reveal::Open);
        let _opening = span.enter();
        let view = |event| self.event_view(ledger, event, reveal);
        let events = events.into_iter().map(view).collect::<Result<_, _>>()?;
        Ok(Page {
            events,
            next: next.map(|index| index.to_string()),
        })
    }

    /// Streams in the order of their names, after `after`, and where to go on.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn streams(
        &self,
        ledger: &Ledger,
        after: Option<&StreamName>,
        limit: usize,
        system: bool,
    ) -> Result<StreamPage, Error> {
        let rows = self.store.streams(ledger.record.number, after, limit)?;
        let next = rows
            .last()
            .filter(|_| rows.len() == limit)
            .map(|(name, _)| name.clone());
        let wanted = rows.into_iter().filter(|(name, _)| system || !name.is_system());
        let streams = wanted.map(|(stream, row)| StreamView {
            stream,
            stream_ref: row.stream_ref,
            version: row.version,
        });
        Ok(StreamPage {
            streams: streams.collect(),
            next,
        })
    }

    /// The events of one page, and where to go on.
    pub(in crate::service) fn find(
        &self,
        ledger: &Ledger,
        filter: &Filter,
        limit: usize,
    ) -> Result<(Vec<StoredEvent>, Option<u64>), Error> {
        let mut range = self.bounds(ledger, filter)?;
        let stream = self.stream_ref(ledger, filter)?;
        let (mut found, mut looked_at, mut bytes, mut chunk) = (Vec::new(), 0, 0, FIRST_CHUNK);
        loop {
            // No more than can be of use: events can be large.
            let most = limit.saturating_sub(found.len()).clamp(1, chunk);
            let indexes = self.candidates(ledger, filter, stream, &range, most)?;
            let Some(last) = indexes.last().copied() else {
                return Ok((found, None));
            };
            let mut weight = 0;
            for event in self.load(ledger, &indexes)? {
                let index = event.index;
                weight += event.weight();
                if matches(filter, stream, &event) {
                    bytes += event.weight();
                    found.push(event);
                }
                if found.len() == limit || bytes >= PAGE_BYTES {
                    let more = advance(&range, index, filter.direction);
                    let more = !more.is_empty() && !self.candidates(ledger, filter, stream, &more, 1)?.is_empty();
                    return Ok((found, more.then_some(index)));
                }
            }
            looked_at += indexes.len();
            chunk = next_chunk(weight / indexes.len(), PAGE_BYTES - bytes);
            range = advance(&range, last, filter.direction);
            if looked_at >= MAX_LOOKED_AT && !range.is_empty() {
                return Ok((found, Some(last)));
            }
        }
    }

    /// The indexes that times and cursor leave.
    fn bounds(&self, ledger: &Ledger, filter: &Filter) -> Result<Range<u64>, Error> {
        let size = self.view(ledger)?.size();
        let start = filter.from.map_or(Ok(0), |from| self.first_at_or_after(ledger, from))?;
        let end = filter.to.map_or(Ok(size), |to| self.first_at_or_after(ledger, to))?;
        let range = start..end.min(size);
        Ok(filter
            .after
            .map_or(range.clone(), |after| advance(&range, after, filter.direction)))
    }

    /// The first index recorded at or after a time, or the size: binary search, since times never decrease.
    pub(crate) fn first_at_or_after(&self, ledger: &Ledger, time: Timestamp) -> Result<u64, Error> {
        let (mut low, mut high) = (0, self.view(ledger)?.size());
        while low < high {
            let middle = low + (high - low) / 2;
            let row = self.store.headers(ledger.record.number, middle..middle + 1)?.pop();
            let row =
                row.ok_or_else(|| Error::new(Code::Damaged, format!("the header of index {middle} is missing")))?;
            let header = crate::spec::event::Header::decode(&row.header)
                .map_err(|error| Error::new(Code::Damaged, format!("the header of index {middle}")).caused_by(error))?;
            if header.recorded_at < time {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    fn stream_ref(&self, ledger: &Ledger, filter: &Filter) -> Result<Option<StreamRef>, Error> {
        let Some(name) = &filter.stream else {
            return Ok(filter.stream_ref);
        };
        let row = self
            .store
            .stream_rows(ledger.record.number, std::slice::from_ref(name))?
            .pop()
            .flatten();
        let row = row.ok_or_else(|| Error::new(Code::StreamNotFound, "there is no stream of this name"))?;
        Ok(Some(row.stream_ref))
    }

    fn candidates(
        &self,
        ledger: &Ledger,
        filter: &Filter,
        stream: Option<StreamRef>,
        range: &Range<u64>,
        most: usize,
    ) -> Result<Vec<u64>, Error> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        if let (Some(stream), None) = (stream, filter.handle) {
            return self.stream_candidates(ledger, stream, range, filter.direction, most);
        }
        let lookup = if let Some(handle) = filter.handle {
            Lookup::Handle(handle)
        } else if let Some(id) = &filter.correlation_id {
            Lookup::Correlation(id.clone())
        } else if let Some(tag) = &filter.tag {
            Lookup::Tag(tag.clone())
        } else if let Some(event_type) = &filter.event_type {
            Lookup::Type(event_type.clone())
        } else {
            let chunk = most as u64;
            return Ok(match filter.direction {
                Direction::Forward => (range.start..range.end.min(range.start + chunk)).collect(),
                Direction::Backward => (range.start.max(range.end.saturating_sub(chunk))..range.end)
                    .rev()
                    .collect(),
            });
        };
        Ok(self
            .store
            .find(ledger.record.number, &lookup, range.clone(), filter.direction, most)?)
    }

    /// Versions and indexes of a stream grow together, so the range of indexes becomes one of versions by binary search.
    fn stream_candidates(
        &self,
        ledger: &Ledger,
        stream: StreamRef,
        range: &Range<u64>,
        direction: Direction,
        most: usize,
    ) -> Result<Vec<u64>, Error> {
        let Some(last) = self.last_version(ledger, stream)? else {
            return Ok(Vec::new());
        };
        let version_at = |index| self.first_version_from(ledger, stream, last, index);
        let versions = version_at(range.start)?..version_at(range.end)?;
        Ok(self
            .store
            .stream_events(ledger.record.number, stream, versions, direction, most)?)
    }

    /// The last version of a stream that is stored; `None` for a stream without events.
    pub(crate) fn last_version(&self, ledger: &Ledger, stream: StreamRef) -> Result<Option<u64>, Error> {
        let last = self
            .store
            .stream_events(ledger.record.number, stream, 1..u64::MAX, Direction::Backward, 1)?;
        last.first()
            .map(|index| self.stored_version(ledger, *index))
            .transpose()
    }

    /// The first version of a stream at or after an index, up to one past the last.
    pub(crate) fn first_version_from(
        &self,
        ledger: &Ledger,
        stream: StreamRef,
        last: u64,
        index: u64,
    ) -> Result<u64, Error> {
        if index == 0 {
            return Ok(1);
        }
        // Most reads reach past the end.
        if self
            .index_of_version(ledger, stream, last)?
            .is_some_and(|found| found < index)
        {
            return Ok(last.saturating_add(1));
        }
        let (mut low, mut high) = (1, last);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.index_of_version(ledger, stream, middle)?;
            if found.is_some_and(|found| found < index) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }

    /// The index of a version of a stream.
    pub(crate) fn index_of_version(
        &self,
        ledger: &Ledger,
        stream: StreamRef,
        version: u64,
    ) -> Result<Option<u64>, Error> {
        let versions = version..version.saturating_add(1);
        let found = self
            .store
            .stream_events(ledger.record.number, stream, versions, Direction::Forward, 1)?;
        Ok(found.first().copied())
    }

    fn stored_version(&self, ledger: &Ledger, index: u64) -> Result<u64, Error> {
        let row = self.store.headers(ledger.record.number, index..index + 1)?.pop();
        let header = row.and_then(|row| crate::spec::event::Header::decode(&row.header).ok());
        header
            .map(|header| header.stream_version)
            .ok_or_else(|| Error::new(Code::Damaged, format!("the header of index {index}")))
    }

    /// Loads events in the order of the indexes: neighbours as ranges, scattered ones by their keys.
    fn load(&self, ledger: &Ledger, indexes: &[u64]) -> Result<Vec<StoredEvent>, Error> {
        let runs = indexes.chunk_by(|a, b| a.abs_diff(*b) == 1).count();
        if runs * RUN > indexes.len() {
            return self.stored_events_at(ledger, indexes);
        }
        let mut events = Vec::with_capacity(indexes.len());
        for run in indexes.chunk_by(|a, b| a.abs_diff(*b) == 1) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else {
                continue;
            };
            let mut loaded = self.stored_events(ledger, *first.min(last)..first.max(last) + 1)?;
            if first > last {
                loaded.reverse();
            }
            events.extend(loaded);
        }
        Ok(events)
    }
}

/// How many events to read next, if they are as large as the last ones were, so that the rest of the page is not passed by
/// much.
fn next_chunk(average: usize, rest: usize) -> usize {
    (rest / average.max(1)).clamp(1, CHUNK)
}

/// What of a range remains once the read is past `index`.
fn advance(range: &Range<u64>, index: u64, direction: Direction) -> Range<u64> {
    match direction {
        Direction::Forward => range.start.max(index.saturating_add(1))..range.end,
        Direction::Backward => range.start..range.end.min(index),
    }
}

/// Everything but the handle, for which the index alone can tell: an erasure names people in its payload.
fn matches(filter: &Filter, stream: Option<StreamRef>, event: &StoredEvent) -> bool {
    let meta = event.meta.as_ref();
    let is_system = meta.is_some_and(|meta| meta.stream.is_system());
    (filter.system || !is_system)
        && stream.is_none_or(|stream| event.header.stream_ref == stream)
        && filter
            .event_type
            .as_ref()
            .is_none_or(|wanted| event.header.event_type == *wanted)
        && filter
            .tag
            .as_ref()
            .is_none_or(|tag| meta.is_some_and(|meta| meta.tags.contains(tag)))
        && filter
            .correlation_id
            .is_none_or_equal(meta.and_then(|meta| meta.correlation_id.as_ref()))
}

trait NoneOrEqual<T> {
    /// Whether nothing is wanted, or exactly this.
    fn is_none_or_equal(&self, found: Option<&T>) -> bool;
}

impl<T: PartialEq> NoneOrEqual<T> for Option<T> {
    fn is_none_or_equal(&self, found: Option<&T>) -> bool {
        self.is_none() || self.as_ref() == found
    }
}
