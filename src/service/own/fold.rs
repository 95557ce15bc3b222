//! Reading own streams: what acts came to is folded from their events, each read once and kept as far as it matters.
//!
//! An event that cannot be read does not hide those after it: the fold is told where it stands and what is still known of
//! it, and decides. What has no better answer takes it as not recorded. It is logged, a verification finds it.

use parking_lot::Mutex;
use serde::Deserialize;
use uuid::Uuid;

use super::super::ledger::system_name;
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use crate::spec::event::Header;
use crate::spec::ids::{EventType, Origin, Timestamp};
use crate::store::{Direction, Lookup};

/// Events that are read at once.
const CHUNK: usize = 128;

/// What the events of an own stream come to.
pub(in crate::service) trait Fold {
    /// The stream.
    const STREAM: &'static str;

    /// Whether events about other logs, which this one goes on from, are for it.
    const OF_OTHER_LOGS: bool = false;

    /// Takes the next event in.
    ///
    /// # Errors
    /// `damaged` if its payload cannot be read: [`Fold::unreadable`] comes next.
    fn add(&mut self, event: &StoredEvent) -> Result<(), Error>;

    /// Takes note of an event that cannot be read.
    fn unreadable(&mut self, event: Unreadable);
}

/// What is known of an event that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::service) struct Unreadable {
    pub(in crate::service) index: u64,
    /// As its header has it.
    pub(in crate::service) event_type: Option<EventType>,
    pub(in crate::service) recorded_at: Option<Timestamp>,
    /// As its envelope has it: the act's id.
    pub(in crate::service) id: Option<Uuid>,
}

impl Unreadable {
    fn of(event: &StoredEvent) -> Self {
        let id = event.meta.as_ref().and_then(|meta| meta.correlation_id.as_deref());
        Self {
            index: event.index,
            event_type: Some(event.header.event_type.clone()),
            recorded_at: Some(event.header.recorded_at),
            id: id.and_then(|id| id.parse().ok()),
        }
    }

    /// Whether its type is this one.
    pub(in crate::service) fn is(&self, event_type: &str) -> bool {
        self.event_type
            .as_ref()
            .is_some_and(|known| known.as_str() == event_type)
    }

    /// As an error.
    pub(in crate::service) fn error(&self) -> Error {
        let what = self.event_type.as_ref().map_or("event", EventType::as_str);
        let detail = format!("the {what} at index {} cannot be read: verify the ledger", self.index);
        Error {
            index: Some(self.index),
            ..Error::new(Code::Damaged, detail)
        }
    }
}

/// A fold that is kept, and how many events of its stream are in it.
#[derive(Debug, Default)]
pub(crate) struct Kept<F>(Mutex<(u64, F)>);

impl<F> Kept<F> {
    pub(in crate::service) fn new(fold: F) -> Self {
        Self(Mutex::new((0, fold)))
    }
}

/// Which events of a stream count.
#[derive(Clone, Copy)]
enum About<'a> {
    /// All that the log records.
    All,
    /// Those that name no other log.
    Itself,
    /// Those that name this one.
    Log(&'a Origin),
}

impl About<'_> {
    /// Of a log's own.
    fn of<F: Fold>(ledger: &Ledger) -> Self {
        match F::OF_OTHER_LOGS || ledger.continues.is_empty() {
            true => Self::All,
            false => Self::Itself,
        }
    }

    fn covers(self, event: &StoredEvent) -> bool {
        match self {
            Self::All => true,
            Self::Itself => origin_of(event).is_none(),
            Self::Log(origin) => origin_of(event).as_ref() == Some(origin),
        }
    }
}

/// The frozen log that an own event is about; `None`: the log that it stands in.
fn origin_of(event: &StoredEvent) -> Option<Origin> {
    #[derive(Deserialize)]
    struct Named {
        origin: Option<Origin>,
    }
    serde_json::from_slice::<Named>(&event.data()?.bytes).ok()?.origin
}

impl Service {
    /// What the events of a log's own stream come to, those left out that are about another log; of a frozen log with those
    /// of the logs that go on from it.
    pub(in crate::service) fn fold_about<F: Fold>(&self, ledger: &Ledger, mut fold: F) -> Result<F, Error> {
        self.fold_on(ledger, &mut 0, About::of::<F>(ledger), &mut fold)?;
        for heir in ledger.heirs() {
            self.fold_on(heir, &mut 0, About::Log(&ledger.record.origin), &mut fold)?;
        }
        Ok(fold)
    }

    /// What the events of an own stream come to that a log itself records.
    pub(in crate::service) fn fold_own<F: Fold>(&self, ledger: &Ledger, mut fold: F) -> Result<F, Error> {
        self.fold_on(ledger, &mut 0, About::of::<F>(ledger), &mut fold)?;
        Ok(fold)
    }

    /// Reads a fold as [`Service::fold_about`] gives it; of a log that grows one that is kept.
    pub(in crate::service) fn fold_now<F: Fold + Default, T>(
        &self,
        ledger: &Ledger,
        kept: &Kept<F>,
        read: impl FnOnce(&F) -> T,
    ) -> Result<T, Error> {
        if ledger.is_frozen() {
            return Ok(read(&self.fold_about(ledger, F::default())?));
        }
        self.kept_fold(ledger, kept, read)
    }

    /// Reads a fold as [`Service::fold_own`] gives it, which is kept: only what came since is taken in.
    pub(in crate::service) fn kept_fold<F: Fold, T>(
        &self,
        ledger: &Ledger,
        kept: &Kept<F>,
        read: impl FnOnce(&F) -> T,
    ) -> Result<T, Error> {
        let mut kept = kept.0.lock();
        let (seen, fold) = &mut *kept;
        self.fold_on(ledger, seen, About::of::<F>(ledger), fold)?;
        Ok(read(fold))
    }

    /// As [`Service::fold_about`], of the events of one act: those that carry its id. An act of another log is none of this
    /// one's, though this one may record it.
    pub(in crate::service) fn fold_of<F: Fold>(&self, ledger: &Ledger, id: Uuid, mut fold: F) -> Result<F, Error> {
        if ledger.is_frozen() {
            return self.fold_about(ledger, fold);
        }
        let (size, number) = (self.view(ledger)?.size(), ledger.record.number);
        let lookup = Lookup::Correlation(id.to_string().into());
        let indexes = self
            .store
            .find(number, &lookup, 0..size, Direction::Forward, usize::MAX)?;
        let about = About::of::<F>(ledger);
        for event in self.read_own(ledger, &self.of_stream(ledger, F::STREAM, &indexes)?)? {
            if event.as_ref().map_or(true, |event| about.covers(event)) {
                take_in(&mut fold, event)?;
            }
        }
        Ok(fold)
    }

    /// Those of a stream, and those of which that cannot be told. IMPORTANT: by the headers alone: callers may give any number
    /// of their own events the id of an act.
    fn of_stream(&self, ledger: &Ledger, name: &'static str, indexes: &[u64]) -> Result<Vec<u64>, Error> {
        let number = ledger.record.number;
        let Some(stream) = self.store.stream_rows(number, &[system_name(name)?])?.pop().flatten() else {
            return Ok(Vec::new());
        };
        let mut own = Vec::new();
        for chunk in indexes.chunks(CHUNK) {
            for (index, row) in chunk.iter().zip(self.store.headers_at(number, chunk)?) {
                let header = row.and_then(|row| Header::decode(&row.header).ok());
                if header.is_none_or(|header| header.stream_ref == stream.stream_ref) {
                    own.push(*index);
                }
            }
        }
        Ok(own)
    }

    /// The events of an own stream, for what must not be told from a part of them.
    ///
    /// # Errors
    /// `damaged` if one of them cannot be read.
    pub(in crate::service) fn own_events(
        &self,
        ledger: &Ledger,
        name: &'static str,
    ) -> Result<Vec<StoredEvent>, Error> {
        self.stored_events_at(ledger, &self.own_indexes(ledger, name, 0)?)
    }

    /// Takes in what is published after the first `seen` events of the stream.
    fn fold_on<F: Fold>(&self, ledger: &Ledger, seen: &mut u64, about: About<'_>, fold: &mut F) -> Result<(), Error> {
        let indexes = self.own_indexes(ledger, F::STREAM, *seen)?;
        for chunk in indexes.chunks(CHUNK) {
            // IMPORTANT: all of them are read before any is taken in: what fails comes again as a whole.
            for event in self.read_own(ledger, chunk)? {
                if event.as_ref().map_or(true, |event| about.covers(event)) {
                    take_in(fold, event)?;
                }
                *seen += 1;
            }
        }
        Ok(())
    }

    /// Events, or what is known of them.
    fn read_own(&self, ledger: &Ledger, indexes: &[u64]) -> Result<Vec<Result<StoredEvent, Unreadable>>, Error> {
        let events = self.events_apart(ledger, indexes)?.into_iter();
        let known = |event: Result<StoredEvent, u64>| match event {
            Ok(event) => Ok(Ok(event)),
            Err(index) => self.unreadable_at(ledger, index).map(Err),
        };
        events.map(known).collect()
    }

    fn unreadable_at(&self, ledger: &Ledger, index: u64) -> Result<Unreadable, Error> {
        let row = self.store.headers_at(ledger.record.number, &[index])?.pop().flatten();
        let header = row.and_then(|row| Header::decode(&row.header).ok());
        Ok(Unreadable {
            index,
            event_type: header.as_ref().map(|header| header.event_type.clone()),
            recorded_at: header.map(|header| header.recorded_at),
            id: None,
        })
    }

    /// Where the events of an own stream stand that are published, without the first `seen` of them.
    pub(in crate::service) fn own_indexes(
        &self,
        ledger: &Ledger,
        name: &'static str,
        seen: u64,
    ) -> Result<Vec<u64>, Error> {
        let number = ledger.record.number;
        let Some(row) = self.store.stream_rows(number, &[system_name(name)?])?.pop().flatten() else {
            return Ok(Vec::new());
        };
        // IMPORTANT: the row may run ahead of what is published, never behind: what is left out now comes next time.
        let (versions, size) = (
            seen.saturating_add(1)..row.version.saturating_add(1),
            self.view(ledger)?.size(),
        );
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let mut indexes = self
            .store
            .stream_events(number, row.stream_ref, versions, Direction::Forward, usize::MAX)?;
        indexes.retain(|index| *index < size);
        Ok(indexes)
    }
}

fn take_in<F: Fold>(fold: &mut F, event: Result<StoredEvent, Unreadable>) -> Result<(), Error> {
    let unreadable = match event {
        Ok(event) => match fold.add(&event) {
            Err(error) if error.code == Code::Damaged => Unreadable::of(&event),
            added => return added,
        },
        Err(unreadable) => unreadable,
    };
    let event_type = unreadable.event_type.as_ref().map(EventType::as_str);
    tracing::error!(
        index = unreadable.index,
        stream = F::STREAM,
        event_type,
        "one of Oubliette's own events cannot be read: verify the ledger"
    );
    fold.unreadable(unreadable);
    Ok(())
}
