//! Erasures that wait: for a second key (four eyes), for the release of a hold, for the end of their grace.
//!
//! ```text
//! erasure.submitted ─┬─ (pending_approval) ── erasure.approved ─┐
//!                    ├─ (held, until nothing blocks it) ────────┤
//!                    └─ (requested: fenced, until the grace is over) ── erasure.requested ── the saga
//! at each of them: erasure.cancellation_requested, erasure.cancelled
//! ```
//!
//! Everything is folded from the stream of erasures. Whoever moves one of them on holds the lock of erasures, so that of a
//! cancellation, a hold and the beginning of the destruction exactly one comes first: `erasure.requested` is the point of
//! no return. Of a frozen log they go on all the same: the log that goes on from it records each act, with the `origin`.
//! The grace withholds the keys in the key store, reversibly. A tick and the start go through the same function.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::super::hold::{Hold, Holds};
use super::super::own::{By, Fold, Recorded, Unreadable, recorded};
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use super::payload::{RECOVERED, REQUESTED, Requested, STREAM};
use super::{ErasedSubjectView, ErasureView};
use crate::keystore::{Withheld, Withholding};
use crate::sequencer::NewEvent;
use crate::spec::ids::{Handle, Timestamp};

const SUBMITTED: &str = "erasure.submitted";
pub(super) const APPROVED: &str = "erasure.approved";
pub(super) const CANCELLATION_REQUESTED: &str = "erasure.cancellation_requested";
pub(super) const CANCELLED: &str = "erasure.cancelled";

/// The proof that the lock of erasures is held.
pub(in crate::service) type Turn<'a> = MutexGuard<'a, ()>;

/// The payload of `erasure.submitted`: what `erasure.requested` will say, and for what it waits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Submitted {
    #[serde(flatten)]
    pub(super) requested: Requested,
    /// Whether a second key must approve it.
    pub(super) four_eyes: bool,
    /// Seconds between fence and destruction.
    pub(super) grace_seconds: u64,
}

/// The payload of `erasure.approved` and `erasure.cancellation_requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Signed {
    pub(super) request: Uuid,
    #[serde(flatten)]
    pub(super) by: By,
}

/// The payload of `erasure.cancelled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Cancelled {
    pub(super) request: Uuid,
    /// The API keys that wanted it.
    pub(super) by: Vec<String>,
}

/// An erasure that waits, or waited, as the ledger tells it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) submitted: Recorded<Submitted>,
    pub(super) approved: Option<Recorded<Signed>>,
    pub(super) cancellation: Option<Recorded<Signed>>,
    /// By these API keys; none if that cannot be read.
    pub(super) cancelled: Option<Vec<String>>,
    /// Whether `erasure.requested` stands in the ledger.
    pub(super) started: bool,
    /// When a log that goes on put its end on record, its course being lost.
    pub(super) recovered: Option<Timestamp>,
    /// An event after it that cannot be read and may have cancelled it.
    unclear: Option<u64>,
}

/// Where one stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    Started,
    Recovered,
    Cancelled,
    /// The event at this index cannot be read: it may be a cancellation.
    Unclear(u64),
    PendingApproval,
    /// By these holds and restrictions.
    Held(Vec<Uuid>),
    /// Until this time.
    Grace(Timestamp),
    Due,
}

impl Waiting {
    fn new(submitted: Recorded<Submitted>) -> Self {
        Self {
            submitted,
            approved: None,
            cancellation: None,
            cancelled: None,
            started: false,
            recovered: None,
            unclear: None,
        }
    }

    pub(super) fn id(&self) -> Uuid {
        self.submitted.payload.requested.request
    }

    pub(super) fn handles(&self) -> impl Iterator<Item = Handle> {
        self.submitted
            .payload
            .requested
            .subjects
            .iter()
            .map(|named| named.handle)
    }

    pub(super) fn is_open(&self) -> bool {
        !self.started && self.cancelled.is_none() && self.recovered.is_none()
    }

    /// When the grace is over: counted from the approval, where there must be one.
    fn grace_end(&self) -> Timestamp {
        let begun = self
            .approved
            .as_ref()
            .map_or(self.submitted.recorded_at, |approved| approved.recorded_at);
        let grace = self.submitted.payload.grace_seconds.saturating_mul(1_000_000);
        Timestamp(begun.0.saturating_add(grace))
    }

    pub(super) fn withholdings(&self) -> Vec<Withholding> {
        let requested = &self.submitted.payload.requested;
        let withholding = |handle| Withholding {
            id: requested.request,
            handle,
            categories: requested.categories.clone(),
            why: Withheld::Grace,
        };
        self.handles().map(withholding).collect()
    }

    /// `withheld`: whether its grace began, and keys are withheld for it.
    fn view(&self, stage: &Stage, withheld: bool) -> ErasureView {
        let requested = &self.submitted.payload.requested;
        let (state, subject_state) = match stage {
            Stage::Started => ("erasing", "erasing"),
            Stage::Recovered => ("completed", "erased"),
            Stage::Cancelled => ("cancelled", "active"),
            Stage::PendingApproval => ("pending_approval", "active"),
            Stage::Held(_) | Stage::Unclear(_) if withheld => ("held", "erasing"),
            Stage::Held(_) | Stage::Unclear(_) => ("held", "active"),
            Stage::Grace(_) | Stage::Due => ("requested", "erasing"),
        };
        let named = self.handles().map(|handle| (Some(handle), subject_state));
        let before = (0..requested.already_erased).map(|_| (None, "already_erased"));
        let subjects = named
            .chain(before)
            .map(|(handle, state)| ErasedSubjectView { handle, state });
        let holds = match stage {
            Stage::Held(holds) => holds.clone(),
            _ => Vec::new(),
        };
        let destroy_after = match stage {
            Stage::Grace(until) => Some(*until),
            _ => None,
        };
        ErasureView {
            id: requested.request,
            state,
            subjects: subjects.collect(),
            categories: requested.categories.clone(),
            requested_at: self.submitted.recorded_at,
            due_at: requested.due_at,
            keys_destroyed_at: None,
            epoch_key_due_at: None,
            completed_at: self.recovered,
            residues: Vec::new(),
            destroy_after,
            holds,
            approved_by: self.approved.as_ref().map(|approved| approved.payload.by.by.clone()),
            cancellation_by: self.cancelled_by(),
            certificate: None,
        }
    }

    /// The API keys that want it cancelled, or have it cancelled.
    fn cancelled_by(&self) -> Vec<String> {
        match (&self.cancelled, &self.cancellation) {
            (Some(by), _) => by.clone(),
            (None, Some(first)) => vec![first.payload.by.by.clone()],
            (None, None) => Vec::new(),
        }
    }
}

impl Service {
    /// The event `erasure.submitted`, without a note.
    pub(super) fn submitted_event(&self, ledger: &Ledger, submitted: &Submitted) -> Result<NewEvent, Error> {
        let id = submitted.requested.request;
        let mut event = self.event_about(ledger, (STREAM, SUBMITTED), submitted, id)?;
        let subjects = submitted.requested.subjects.iter();
        event.subjects = subjects.map(|named| (named.handle, None)).collect();
        Ok(event)
    }

    /// What is recorded of an erasure that waits or waited.
    pub(super) fn find_waiting(&self, ledger: &Ledger, id: Uuid) -> Result<Option<Waiting>, Error> {
        let waits = self.fold_of(ledger, id, Waits::of_all())?;
        if let (None, Some(event)) = (waits.find(id), waits.unreadable.first()) {
            return Err(event.error());
        }
        Ok(waits.find(id).cloned())
    }

    pub(super) fn stage(&self, ledger: &Ledger, holds: &Holds, waiting: &Waiting) -> Result<Stage, Error> {
        if waiting.started {
            return Ok(Stage::Started);
        }
        if waiting.recovered.is_some() {
            return Ok(Stage::Recovered);
        }
        if waiting.cancelled.is_some() {
            return Ok(Stage::Cancelled);
        }
        if let Some(index) = waiting.unclear {
            return Ok(Stage::Unclear(index));
        }
        if waiting.submitted.payload.four_eyes && waiting.approved.is_none() {
            return Ok(Stage::PendingApproval);
        }
        let blocking = self.blockers(ledger, holds, waiting)?;
        if !blocking.is_empty() {
            return Ok(Stage::Held(blocking));
        }
        let end = waiting.grace_end();
        Ok(if self.clock.now() < end {
            Stage::Grace(end)
        } else {
            Stage::Due
        })
    }

    /// What keeps these people's data from being erased: holds, and restrictions.
    fn blockers(&self, ledger: &Ledger, holds: &Holds, waiting: &Waiting) -> Result<Vec<Uuid>, Error> {
        let categories = waiting.submitted.payload.requested.categories.as_deref();
        let mut found = Vec::new();
        for handle in waiting.handles() {
            let covering = self.holds_on(ledger, holds, handle, categories)?;
            found.extend(covering.into_iter().map(Hold::id));
            found.extend(self.restrictions_on(ledger, handle, categories));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The view of an erasure that waits or was cancelled; `None` if it has begun or never waited.
    pub(super) fn waiting_view(&self, ledger: &Ledger, id: Uuid) -> Result<Option<ErasureView>, Error> {
        let waiting = self.find_waiting(ledger, id)?.filter(|waiting| !waiting.started);
        let Some(waiting) = waiting else { return Ok(None) };
        self.view_waiting(ledger, &self.active_holds(ledger)?, &waiting)
            .map(Some)
    }

    /// The views of all erasures that wait or were cancelled.
    pub(super) fn waiting_views(&self, ledger: &Ledger) -> Result<Vec<ErasureView>, Error> {
        let (waits, holds) = (self.fold_about(ledger, Waits::of_all())?, self.active_holds(ledger)?);
        let waiting = waits.all().filter(|waiting| !waiting.started);
        waiting
            .map(|waiting| self.view_waiting(ledger, &holds, waiting))
            .collect()
    }

    fn view_waiting(&self, ledger: &Ledger, holds: &Holds, waiting: &Waiting) -> Result<ErasureView, Error> {
        let stage = self.stage(ledger, holds, waiting)?;
        let withheld = waiting
            .handles()
            .any(|handle| self.is_grace(ledger, handle, waiting.id()));
        Ok(waiting.view(&stage, withheld))
    }
}

/// The erasures of a log that wait; with `of_all` those that waited, too.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    keeps_ended: bool,
    waiting: BTreeMap<u64, Waiting>,
    /// By the events' correlation id.
    places: HashMap<Box<str>, u64>,
    unreadable: Vec<Unreadable>,
}

impl Waits {
    fn of_all() -> Self {
        Self {
            keeps_ended: true,
            ..Self::default()
        }
    }

    /// In the order of the requests.
    pub(super) fn all(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.values()
    }

    fn find(&self, id: Uuid) -> Option<&Waiting> {
        let place = self.places.get(id.to_string().as_str())?;
        self.waiting.get(place)
    }

    fn change(&mut self, id: &str, change: impl FnOnce(&mut Waiting)) {
        let Some(index) = self.places.get(id).copied() else {
            return;
        };
        let Some(waiting) = self.waiting.get_mut(&index) else {
            return;
        };
        change(waiting);
        if !waiting.is_open() && !self.keeps_ended {
            self.waiting.remove(&index);
            self.places.remove(id);
        }
    }
}

impl Fold for Waits {
    const STREAM: &'static str = STREAM;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        let event_type = event.header.event_type.as_str();
        if event_type == SUBMITTED {
            let submitted: Recorded<Submitted> = recorded(event)?;
            let id = submitted.payload.requested.request.to_string();
            self.places.insert(id.into(), event.index);
            self.waiting.insert(event.index, Waiting::new(submitted));
            return Ok(());
        }
        let correlation = event.meta.as_ref().and_then(|meta| meta.correlation_id.as_deref());
        let Some(id) = correlation else {
            return Err(Error::new(Code::Damaged, "an event of an erasure without its id"));
        };
        match event_type {
            APPROVED => {
                let approved = recorded(event)?;
                self.change(id, |waiting| waiting.approved = Some(approved));
            }
            CANCELLATION_REQUESTED => {
                let first = recorded(event)?;
                self.change(id, |waiting| waiting.cancellation = Some(first));
            }
            CANCELLED => {
                let cancelled: Recorded<Cancelled> = recorded(event)?;
                self.change(id, |waiting| waiting.cancelled = Some(cancelled.payload.by));
            }
            REQUESTED => self.change(id, |waiting| waiting.started = true),
            RECOVERED => self.change(id, |waiting| waiting.recovered = Some(event.header.recorded_at)),
            _ => {}
        }
        Ok(())
    }

    /// An erasure is never carried out against a cancellation that cannot be read: late is mended, destroyed is not.
    fn unreadable(&mut self, event: Unreadable) {
        let may_cancel = event.event_type.is_none() || event.is(CANCELLED);
        match event.id {
            Some(id) if event.is(CANCELLED) => {
                self.change(&id.to_string(), |waiting| waiting.cancelled = Some(Vec::new()));
            }
            None if may_cancel => {
                for waiting in self.waiting.values_mut() {
                    waiting.unclear = waiting.unclear.or(Some(event.index));
                }
            }
            _ => {}
        }
        if self.keeps_ended {
            self.unreadable.push(event);
        }
    }
}
