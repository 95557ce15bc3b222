//! What the ledger tells of erasures.

use std::collections::{BTreeMap, HashMap};

use uuid::Uuid;

use super::super::epochs::EpochDestroyed;
use super::super::own::{Fold, Recorded, Unreadable, recorded};
use super::super::read::StoredEvent;
use super::super::{Error, Ledger, Service};
use super::payload::{
    COMPLETED, Completed, EPOCH_KEY, Named, RECOVERED, REQUESTED, RESIDUE_REMOVED, Requested, STREAM,
};
use super::purge::Purge;
use super::{ErasedSubjectView, ErasureView, order};
use crate::keystore::ErasureOrder;
use crate::keystore::vault::Epoch;
use crate::sequencer::{Fence, Placed};
use crate::spec::certificate::KeyCopies;
use crate::spec::ids::Timestamp;
use crate::spec::system::{ErasureRecovered, ErasureResidueRemoved};

/// An erasure as the ledger tells it.
#[derive(Debug, Clone)]
pub(crate) struct Erasure {
    pub(crate) requested: Recorded<Requested>,
    pub(crate) completed: Option<Recorded<Completed>>,
    /// How many heirs further on it is recorded: 0 in the log itself.
    pub(crate) heirs: usize,
    /// When a log that goes on put it on record again, its own end being lost.
    pub(crate) recovered: Option<Timestamp>,
    /// Those of its retired epochs whose keys were destroyed at their horizon.
    pub(crate) epochs_destroyed: Vec<Recorded<EpochDestroyed>>,
    /// What was pending and is gone since.
    pub(crate) removed: Vec<Recorded<ErasureResidueRemoved>>,
}

impl Erasure {
    /// One that is about to be recorded.
    pub(super) fn new(payload: Requested) -> Self {
        Self::of(Recorded {
            index: 0,
            recorded_at: Timestamp(0),
            payload,
        })
    }

    /// One of which nothing is known but its request.
    fn of(requested: Recorded<Requested>) -> Self {
        Self {
            requested,
            completed: None,
            heirs: 0,
            recovered: None,
            epochs_destroyed: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Where its request came to stand.
    pub(super) fn place(&mut self, placed: &Placed) {
        (self.requested.index, self.requested.recorded_at) = (placed.index, placed.recorded_at);
    }

    /// Whether everybody whom it named had been erased before: it destroys nothing, and nothing of it is certified.
    pub(super) fn is_of_nobody(&self) -> bool {
        self.requested.payload.subjects.is_empty()
    }

    /// Whether its end is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.completed.is_none() && self.recovered.is_none()
    }

    /// What is still to come, of what was pending when it was completed.
    pub(crate) fn pending(&self) -> Vec<&str> {
        let pending = self.completed.iter().flat_map(|completed| &completed.payload.pending);
        pending
            .map(String::as_str)
            .filter(|code| self.gone(code).is_none())
            .collect()
    }

    /// When something that was pending was gone.
    pub(super) fn gone(&self, code: &str) -> Option<Timestamp> {
        if code == EPOCH_KEY {
            return self.last_epoch_destroyed();
        }
        self.removed(code).map(|removed| removed.at)
    }

    /// The retired epochs under whose keys backups hold the people's keys, and when each key was destroyed.
    pub(super) fn key_copies(&self) -> Vec<KeyCopies> {
        let retired = self.completed.iter().flat_map(|event| &event.payload.retired_epochs);
        let copies = |epoch: &Epoch| {
            let event = self.epochs_destroyed.iter().find(|event| event.payload.epoch == *epoch);
            KeyCopies {
                epoch: *epoch,
                destroyed_at: event.map(|event| event.payload.destroyed_at),
            }
        };
        retired.map(copies).collect()
    }

    /// When the last of the retired epoch keys was destroyed: every backup that holds the people's keys hangs under one.
    fn last_epoch_destroyed(&self) -> Option<Timestamp> {
        let copies = self.key_copies();
        let all: Option<Vec<_>> = copies.iter().map(|copies| copies.destroyed_at).collect();
        all?.into_iter().max()
    }

    pub(super) fn orders(&self) -> Vec<ErasureOrder> {
        let requested = &self.requested.payload;
        let order = |named: &Named| order(requested.request, named.handle, requested.categories.as_ref());
        requested.subjects.iter().map(order).collect()
    }

    pub(super) fn fences(&self) -> impl Iterator<Item = Fence> {
        self.orders()
            .into_iter()
            .map(|order| Fence::closed(order.handle, order.categories))
    }

    pub(super) fn view(&self, ledger: &Ledger) -> ErasureView {
        let requested = &self.requested.payload;
        let (state, subject_state) = match &self.completed {
            Some(_) if self.pending().is_empty() => ("final", "erased"),
            Some(_) => ("completed", "erased"),
            None if self.recovered.is_some() => ("completed", "erased"),
            None => ("erasing", "erasing"),
        };
        let completed = self.completed.as_ref().map(|completed| &completed.payload);
        let named = requested
            .subjects
            .iter()
            .map(|named| (Some(named.handle), subject_state));
        let before = (0..requested.already_erased).map(|_| (None, "already_erased"));
        let subjects = named
            .chain(before)
            .map(|(handle, state)| ErasedSubjectView { handle, state });
        ErasureView {
            id: requested.request,
            state,
            subjects: subjects.collect(),
            categories: requested.categories.clone(),
            requested_at: requested.submitted_at.unwrap_or(self.requested.recorded_at),
            due_at: requested.due_at,
            keys_destroyed_at: completed.map(|completed| completed.keys_destroyed_at),
            epoch_key_due_at: completed.and_then(|completed| completed.epoch_key_due_at),
            completed_at: self
                .completed
                .as_ref()
                .map(|completed| completed.recorded_at)
                .or(self.recovered),
            destroy_after: None,
            holds: Vec::new(),
            approved_by: None,
            cancellation_by: Vec::new(),
            residues: self.residues(),
            certificate: (!self.is_of_nobody()).then(|| {
                let (name, request) = (&ledger.record.name, requested.request);
                format!("/v1/ledgers/{name}/erasures/{request}/certificate")
            }),
        }
    }
}

impl Service {
    /// The erasure of a request id.
    pub(in crate::service) fn find_erasure(&self, ledger: &Ledger, id: Uuid) -> Result<Option<Erasure>, Error> {
        let (erasures, unreadable) = if ledger.is_frozen() {
            (self.erasures_about(ledger)?, Vec::new())
        } else {
            let history = self.fold_of(ledger, id, History::default())?;
            (self.with_epochs(ledger, history.erasures)?, history.unreadable)
        };
        let found = erasures
            .into_iter()
            .find(|erasure| erasure.requested.payload.request == id);
        match (found, unreadable.first()) {
            (None, Some(event)) => Err(event.error()),
            (found, _) => Ok(found),
        }
    }

    /// Every erasure of a log's people: those that it records itself, and where it is frozen those that the logs record which
    /// go on from it. Without those whose request cannot be read.
    pub(in crate::service) fn erasures_about(&self, ledger: &Ledger) -> Result<Vec<Erasure>, Error> {
        let mut about = self.all_erasures(ledger)?;
        about.retain(|erasure| erasure.requested.payload.origin.is_none());
        for (heirs, heir) in (1..).zip(ledger.heirs()) {
            let history = self.fold_own(heir, History::default())?;
            let is_about = |erasure: &Erasure| erasure.requested.payload.origin.as_ref() == Some(&ledger.record.origin);
            let recorded = self.with_epochs(heir, history.erasures)?.into_iter().filter(is_about);
            about.extend(recorded.map(|erasure| Erasure { heirs, ..erasure }));
            let recovered = history.recovered.into_iter();
            let recovered: HashMap<_, _> = recovered
                .map(|recovered| (recovered.payload.request, recovered.recorded_at))
                .collect();
            for erasure in about.iter_mut().filter(|erasure| erasure.completed.is_none()) {
                erasure.recovered = recovered.get(&erasure.id()).copied().or(erasure.recovered);
            }
        }
        Ok(about)
    }

    /// Every erasure that a log records, in the order of the requests. Without those whose request cannot be read.
    pub(in crate::service) fn all_erasures(&self, ledger: &Ledger) -> Result<Vec<Erasure>, Error> {
        Ok(self.readable_erasures(ledger)?.0)
    }

    /// As [`Service::all_erasures`], with the indexes of the events that cannot be read.
    pub(in crate::service) fn readable_erasures(&self, ledger: &Ledger) -> Result<(Vec<Erasure>, Vec<u64>), Error> {
        let history = self.fold_own(ledger, History::default())?;
        let unreadable = history.unreadable.iter().map(|event| event.index).collect();
        Ok((self.with_epochs(ledger, history.erasures)?, unreadable))
    }

    fn with_epochs(&self, ledger: &Ledger, mut erasures: Vec<Erasure>) -> Result<Vec<Erasure>, Error> {
        self.kept_fold(ledger, &ledger.epochs, |book| {
            for erasure in &mut erasures {
                if erasure.requested.payload.origin.is_some() {
                    continue; // of a frozen log, which has epochs of its own
                }
                let Some(completed) = &erasure.completed else { continue };
                let retired = completed.payload.retired_epochs.iter();
                let later = retired.filter_map(|epoch| book.destroyed(*epoch));
                let later = later.filter(|event| event.index > completed.index);
                erasure.epochs_destroyed = later.cloned().collect();
            }
        })?;
        Ok(erasures)
    }
}

/// What an event says of an erasure.
enum Step {
    /// It was asked for.
    Requested(Recorded<Requested>),
    /// Its keys were found destroyed.
    Completed(Recorded<Completed>),
    /// Something that was pending is gone.
    Removed(Recorded<ErasureResidueRemoved>),
    /// A log that goes on put it on record, its end being lost.
    Recovered(Recorded<ErasureRecovered>),
}

/// Reads one event of an erasure; `None` for any other.
fn step(event: &StoredEvent) -> Result<Option<Step>, Error> {
    Ok(match event.header.event_type.as_str() {
        REQUESTED => Some(Step::Requested(recorded(event)?)),
        COMPLETED => Some(Step::Completed(recorded(event)?)),
        RESIDUE_REMOVED => Some(Step::Removed(recorded(event)?)),
        RECOVERED => Some(Step::Recovered(recorded(event)?)),
        _ => None,
    })
}

/// All erasures, in the order of the requests. What cannot be read is not recorded: an erasure whose completion that is runs
/// to its end once more, and the later completion counts.
#[derive(Default)]
struct History {
    erasures: Vec<Erasure>,
    places: HashMap<Uuid, usize>,
    recovered: Vec<Recorded<ErasureRecovered>>,
    unreadable: Vec<Unreadable>,
}

impl History {
    fn find(&mut self, request: Uuid) -> Option<&mut Erasure> {
        let place = self.places.get(&request)?;
        self.erasures.get_mut(*place)
    }
}

impl Fold for History {
    const STREAM: &'static str = STREAM;
    const OF_OTHER_LOGS: bool = true;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match step(event)? {
            Some(Step::Requested(requested)) => {
                self.places.insert(requested.payload.request, self.erasures.len());
                self.erasures.push(Erasure::of(requested));
            }
            Some(Step::Completed(completed)) => {
                if let Some(erasure) = self.find(completed.payload.request) {
                    erasure.completed = Some(completed);
                }
            }
            Some(Step::Removed(removed)) => {
                if let Some(erasure) = self.find(removed.payload.request) {
                    erasure.removed.push(removed);
                }
            }
            Some(Step::Recovered(recovered)) => self.recovered.push(recovered),
            None => {}
        }
        Ok(())
    }

    fn unreadable(&mut self, event: Unreadable) {
        self.unreadable.push(event);
    }
}

/// The erasures of a log that are not completed, or left residues that are still to be removed; and the epochs whose keys
/// erasures retired. The others are forgotten.
#[derive(Debug)]
pub(crate) struct Unended {
    purge: Purge,
    erasures: BTreeMap<u64, Erasure>,
    places: HashMap<Uuid, u64>,
    /// Since when, and until when.
    pub(in crate::service) retired: BTreeMap<Epoch, (Timestamp, Timestamp)>,
}

impl Unended {
    pub(in crate::service) fn under(purge: Purge) -> Self {
        Self {
            purge,
            erasures: BTreeMap::new(),
            places: HashMap::new(),
            retired: BTreeMap::new(),
        }
    }

    /// In the order of the requests.
    pub(super) fn all(&self) -> impl Iterator<Item = &Erasure> {
        self.erasures.values()
    }

    fn change(&mut self, request: Uuid, change: impl FnOnce(&mut Erasure)) {
        let Some(index) = self.places.get(&request).copied() else {
            return;
        };
        let Some(erasure) = self.erasures.get_mut(&index) else {
            return;
        };
        change(erasure);
        // What a frozen log left stays in its files: nothing is removed from there.
        let has_work = erasure.requested.payload.origin.is_none() && erasure.has_work(self.purge);
        if erasure.completed.is_some() && !has_work {
            self.erasures.remove(&index);
            self.places.remove(&request);
        }
    }

    fn retire(&mut self, completed: &Completed) {
        let Some(until) = completed.epoch_key_due_at else {
            return;
        };
        for epoch in &completed.retired_epochs {
            let times = (completed.keys_destroyed_at, until);
            if *epoch == completed.epochs.from {
                self.retired.insert(*epoch, times);
            } else {
                // Retired before; what did it may have left no record.
                self.retired.entry(*epoch).or_insert(times);
            }
        }
    }
}

impl Fold for Unended {
    const STREAM: &'static str = STREAM;
    const OF_OTHER_LOGS: bool = true;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match step(event)? {
            Some(Step::Requested(requested)) => {
                self.places.insert(requested.payload.request, requested.index);
                self.erasures.insert(requested.index, Erasure::of(requested));
            }
            Some(Step::Completed(completed)) => {
                let request = completed.payload.request;
                let own = self.places.get(&request).and_then(|index| self.erasures.get(index));
                // A frozen log has epochs of its own.
                if own.is_some_and(|erasure| erasure.requested.payload.origin.is_none()) {
                    self.retire(&completed.payload);
                }
                self.change(request, |erasure| erasure.completed = Some(completed));
            }
            Some(Step::Removed(removed)) => {
                let request = removed.payload.request;
                self.change(request, |erasure| erasure.removed.push(removed));
            }
            Some(Step::Recovered(_)) | None => {}
        }
        Ok(())
    }

    /// What it would have said is found again: a completion by finishing once more, a removal by looking.
    fn unreadable(&mut self, _: Unreadable) {}
}
