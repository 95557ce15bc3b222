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

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;
use uuid::Uuid;

use super::super::append::blocking;
use super::super::own::{Act, By, Recorded, recorded};
use super::super::{Caller, Code, Error, Ledger, Service};
use super::saga::{Erasure, Named, RECOVERED, REQUESTED, Requested, STREAM};
use super::{ErasedSubjectView, ErasureView};
use crate::keystore::{SubjectState, Withheld, Withholding};
use crate::spec::ids::{Handle, Timestamp};

const SUBMITTED: &str = "erasure.submitted";
const APPROVED: &str = "erasure.approved";
const CANCELLATION_REQUESTED: &str = "erasure.cancellation_requested";
const CANCELLED: &str = "erasure.cancelled";

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
struct Signed {
    request: Uuid,
    #[serde(flatten)]
    by: By,
}

/// The payload of `erasure.cancelled`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Cancelled {
    request: Uuid,
    /// The API keys that wanted it.
    by: Vec<String>,
}

/// An erasure that waits, or waited, as the ledger tells it.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    submitted: Recorded<Submitted>,
    approved: Option<Recorded<Signed>>,
    cancellation: Option<Recorded<Signed>>,
    cancelled: Option<Recorded<Cancelled>>,
    /// Whether `erasure.requested` stands in the ledger.
    started: bool,
    /// When a log that goes on put its end on record, its course being lost.
    recovered: Option<Timestamp>,
}

/// Where one stands.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    Started,
    Recovered,
    Cancelled,
    PendingApproval,
    /// By these holds and restrictions.
    Held(Vec<Uuid>),
    /// Until this time.
    Grace(Timestamp),
    Due,
}

impl Waiting {
    fn id(&self) -> Uuid {
        self.submitted.payload.requested.request
    }

    fn handles(&self) -> impl Iterator<Item = Handle> {
        self.submitted
            .payload
            .requested
            .subjects
            .iter()
            .map(|named| named.handle)
    }

    fn is_open(&self) -> bool {
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

    fn withholdings(&self) -> Vec<Withholding> {
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
            Stage::Held(_) if withheld => ("held", "erasing"),
            Stage::Held(_) => ("held", "active"),
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
            (Some(cancelled), _) => cancelled.payload.by.clone(),
            (None, Some(first)) => vec![first.payload.by.by.clone()],
            (None, None) => Vec::new(),
        }
    }
}

impl Service {
    /// Records an erasure that waits, and moves it on as far as it goes now.
    pub(super) async fn submit_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        submitted: Submitted,
        event: crate::sequencer::NewEvent,
        turn: &Turn<'_>,
    ) -> Result<ErasureView, Error> {
        let id = submitted.requested.request;
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await?;
        ledger.waiting.store(true, Ordering::Release);
        self.advance_waiting(ledger, turn).await;
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        blocking(move || service.erasure(&on, id)).await
    }

    /// The event `erasure.submitted`, without a note.
    pub(super) fn submitted_event(
        &self,
        ledger: &Ledger,
        submitted: &Submitted,
    ) -> Result<crate::sequencer::NewEvent, Error> {
        let id = submitted.requested.request;
        let mut event = self.event_about(ledger, (STREAM, SUBMITTED), submitted, id)?;
        let subjects = submitted.requested.subjects.iter();
        event.subjects = subjects.map(|named| (named.handle, None)).collect();
        Ok(event)
    }

    /// Every erasure that waits or waited, in the order of the requests.
    fn all_waiting(&self, ledger: &Ledger) -> Result<Vec<Waiting>, Error> {
        let mut all: Vec<Waiting> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for event in self.events_about(ledger, STREAM)? {
            let correlation = event.meta.as_ref().and_then(|meta| meta.correlation_id.clone());
            let event_type = event.header.event_type.as_str();
            if event_type == SUBMITTED {
                let submitted: Recorded<Submitted> = recorded(&event)?;
                places.insert(submitted.payload.requested.request.to_string(), all.len());
                all.push(Waiting {
                    submitted,
                    approved: None,
                    cancellation: None,
                    cancelled: None,
                    started: false,
                    recovered: None,
                });
                continue;
            }
            let place = correlation.and_then(|id| places.get(&*id).copied());
            let Some(waiting) = place.and_then(|place| all.get_mut(place)) else {
                continue;
            };
            match event_type {
                APPROVED => waiting.approved = Some(recorded(&event)?),
                CANCELLATION_REQUESTED => waiting.cancellation = Some(recorded(&event)?),
                CANCELLED => waiting.cancelled = Some(recorded(&event)?),
                REQUESTED => waiting.started = true,
                RECOVERED => waiting.recovered = Some(event.header.recorded_at),
                _ => {}
            }
        }
        Ok(all)
    }

    fn find_waiting(&self, ledger: &Ledger, id: Uuid) -> Result<Option<Waiting>, Error> {
        Ok(self.all_waiting(ledger)?.into_iter().find(|waiting| waiting.id() == id))
    }

    fn stage(&self, ledger: &Ledger, waiting: &Waiting) -> Result<Stage, Error> {
        if waiting.started {
            return Ok(Stage::Started);
        }
        if waiting.recovered.is_some() {
            return Ok(Stage::Recovered);
        }
        if waiting.cancelled.is_some() {
            return Ok(Stage::Cancelled);
        }
        if waiting.submitted.payload.four_eyes && waiting.approved.is_none() {
            return Ok(Stage::PendingApproval);
        }
        let categories = waiting.submitted.payload.requested.categories.as_deref();
        let handles: Vec<_> = waiting.handles().collect();
        let blocking = self.blockers(ledger, &handles, categories)?;
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
    pub(super) fn blockers(
        &self,
        ledger: &Ledger,
        handles: &[Handle],
        categories: Option<&[crate::spec::ids::Category]>,
    ) -> Result<Vec<Uuid>, Error> {
        let holds = self.active_holds(ledger)?;
        let mut found = Vec::new();
        for handle in handles {
            let covering = self.holds_on(ledger, &holds, *handle, categories)?;
            found.extend(covering.into_iter().map(super::super::hold::Hold::id));
            found.extend(self.restrictions_on(ledger, *handle, categories));
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// The view of an erasure that waits or was cancelled; `None` if it has begun or never waited.
    pub(super) fn waiting_view(&self, ledger: &Ledger, id: Uuid) -> Result<Option<ErasureView>, Error> {
        let waiting = self.find_waiting(ledger, id)?.filter(|waiting| !waiting.started);
        waiting.map(|waiting| self.view_waiting(ledger, &waiting)).transpose()
    }

    /// The views of all erasures that wait or were cancelled.
    pub(super) fn waiting_views(&self, ledger: &Ledger) -> Result<Vec<ErasureView>, Error> {
        let waiting = self.all_waiting(ledger)?.into_iter().filter(|waiting| !waiting.started);
        waiting.map(|waiting| self.view_waiting(ledger, &waiting)).collect()
    }

    fn view_waiting(&self, ledger: &Ledger, waiting: &Waiting) -> Result<ErasureView, Error> {
        let stage = self.stage(ledger, waiting)?;
        Ok(waiting.view(&stage, self.is_grace(ledger, waiting.id())))
    }

    /// Approves an erasure under four eyes.
    ///
    /// # Errors
    /// `not_found`, `second_key_needed`, `erasure_settled`; whatever appending may answer.
    pub async fn approve_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ErasureView, Error> {
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let turn = on.erasing.turn.lock().await;
            let (waiting, stage) = service.waiting_now(&on, id).await?;
            if stage != Stage::PendingApproval {
                return Err(settled("this erasure waits for no approval"));
            }
            if waiting.submitted.payload.requested.by == by.by {
                return Err(second_key(
                    "the API key that asked for an erasure cannot approve it; use another one",
                ));
            }
            service.sign(&on, APPROVED, id, by).await?;
            service.advance_waiting(&on, &turn).await;
            drop(turn);
            blocking(move || service.erasure(&on, id)).await
        });
        task.await.map_err(super::super::access::internal)?
    }

    /// Takes an erasure back before it has begun: at once while it waits for an approval, else with the second of two
    /// different keys.
    ///
    /// # Errors
    /// `not_found`, `second_key_needed`, `erasure_settled` once it has begun or was cancelled; whatever appending may
    /// answer.
    pub async fn cancel_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ErasureView, Error> {
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let turn = on.erasing.turn.lock().await;
            let (waiting, stage) = service.waiting_now(&on, id).await?;
            let keys = match (&stage, &waiting.cancellation) {
                (Stage::Started | Stage::Recovered, _) => {
                    return Err(settled("this erasure has begun and cannot be taken back"));
                }
                (Stage::Cancelled, _) => return Err(settled("this erasure was cancelled")),
                (Stage::PendingApproval, _) => vec![by.by],
                (_, None) => {
                    service.sign(&on, CANCELLATION_REQUESTED, id, by).await?;
                    drop(turn);
                    return blocking(move || service.erasure(&on, id)).await;
                }
                (_, Some(first)) if first.payload.by.by == by.by => {
                    return Err(second_key("a second, different API key must ask for it, too"));
                }
                (_, Some(first)) => vec![first.payload.by.by.clone(), by.by],
            };
            let payload = Cancelled { request: id, by: keys };
            let act = Act {
                stream: STREAM,
                event_type: CANCELLED,
                payload: &payload,
                id,
                handles: &[],
            };
            service.record_act(&on, act).await?;
            // IMPORTANT: a crash here leaves the keys withheld; the start gives them back.
            drop(turn);
            blocking(move || {
                on.fencing.step(|| service.keystore.give_back(on.record.id, id))?;
                service.erasure(&on, id)
            })
            .await
        });
        task.await.map_err(super::super::access::internal)?
    }

    async fn waiting_now(self: &Arc<Self>, ledger: &Arc<Ledger>, id: Uuid) -> Result<(Waiting, Stage), Error> {
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        blocking(move || match service.find_waiting(&on, id)? {
            Some(waiting) => {
                let stage = service.stage(&on, &waiting)?;
                Ok((waiting, stage))
            }
            None if service.find_erasure(&on, id)?.is_some() => {
                Err(settled("this erasure has begun and cannot be taken back"))
            }
            None => Err(Error::new(Code::NotFound, "there is no erasure of this id")),
        })
        .await
    }

    async fn sign(&self, ledger: &Ledger, event_type: &'static str, request: Uuid, by: By) -> Result<(), Error> {
        let payload = Signed { request, by };
        let act = Act {
            stream: STREAM,
            event_type,
            payload: &payload,
            id: request,
            handles: &[],
        };
        self.record_act(ledger, act).await.map(drop)
    }

    /// Moves on every erasure that waits: withholds keys for a grace, begins what is due. What cannot be moved on now is
    /// logged and tried again.
    pub(in crate::service) async fn advance_waiting(self: &Arc<Self>, ledger: &Arc<Ledger>, _: &Turn<'_>) {
        if !ledger.waiting.load(Ordering::Acquire) {
            return;
        }
        match self.advance_all(ledger).await {
            Ok(waiting) => ledger.waiting.store(waiting, Ordering::Release),
            Err(error) => {
                tracing::error!(ledger = %ledger.record.name, error = %error, "erasures that wait cannot be moved on; trying again");
            }
        }
    }

    /// Whether any still waits afterwards.
    async fn advance_all(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<bool, Error> {
        let mut waits = false;
        for (waiting, stage) in self.staged(ledger).await? {
            let moved = match stage {
                Stage::Grace(_) => self.withhold(ledger, &waiting).await.map(|()| false),
                Stage::Due => self.begin(ledger, &waiting).await,
                _ => Ok(false),
            };
            if let Err(error) = &moved {
                let request = waiting.id();
                tracing::error!(%request, error = %error, "an erasure that waits cannot be moved on; trying again");
            }
            waits |= !moved.unwrap_or(false);
        }
        Ok(waits)
    }

    /// Where all stand that wait; what was withheld for others is given back.
    async fn staged(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<Vec<(Waiting, Stage)>, Error> {
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        blocking(move || {
            let all = service.all_waiting(&on)?;
            service.end_graces(&on, &all)?;
            let open = all.into_iter().filter(Waiting::is_open);
            let staged = open.map(|waiting| service.stage(&on, &waiting).map(|stage| (waiting, stage)));
            staged.collect()
        })
        .await
    }

    async fn withhold(self: &Arc<Self>, ledger: &Arc<Ledger>, waiting: &Waiting) -> Result<(), Error> {
        let (service, on, withholdings) = (Arc::clone(self), Arc::clone(ledger), waiting.withholdings());
        blocking(move || {
            let id = on.record.id;
            let known = service.keystore.withheld(id);
            let missing: Vec<_> = withholdings.into_iter().filter(|new| !known.contains(new)).collect();
            if !missing.is_empty() {
                on.fencing.step(|| service.keystore.withhold(id, &missing))?;
            }
            Ok(())
        })
        .await
    }

    /// Gives back what was withheld for erasures that are cancelled or over.
    fn end_graces(&self, ledger: &Ledger, all: &[Waiting]) -> Result<(), Error> {
        let withheld = self.keystore.withheld(ledger.record.id);
        let mut graces: Vec<_> = withheld
            .iter()
            .filter(|withheld| withheld.why == Withheld::Grace)
            .map(|withheld| withheld.id)
            .collect();
        graces.dedup();
        for id in graces {
            let waiting = all.iter().find(|waiting| waiting.id() == id);
            let over = match waiting {
                Some(waiting) if waiting.started => {
                    let erasure = self.find_erasure(ledger, id)?;
                    erasure.is_some_and(|erasure| erasure.completed.is_some())
                }
                Some(waiting) => waiting.cancelled.is_some() || waiting.recovered.is_some(),
                // Nothing in this ledger says that it may be given back.
                None => false,
            };
            if over {
                ledger.fencing.step(|| self.keystore.give_back(ledger.record.id, id))?;
            }
        }
        Ok(())
    }

    /// The point of no return. Gives whether it begun: not while another erasure of one of its people is under way.
    async fn begin(self: &Arc<Self>, ledger: &Arc<Ledger>, waiting: &Waiting) -> Result<bool, Error> {
        let (service, on, of) = (Arc::clone(self), Arc::clone(ledger), waiting.clone());
        let Some(payload) = blocking(move || service.requested_now(&on, &of)).await? else {
            return Ok(false);
        };
        let mut event = self.system_event(STREAM, REQUESTED, &payload, Some(payload.request.to_string()))?;
        event.subjects = payload.subjects.iter().map(|named| (named.handle, None)).collect();
        let mut erasure = Erasure::new(payload);
        let fences = erasure.fences().collect();
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], fences, Vec::new())
            .await;
        // It may be recorded all the same; `retry_erasures` looks.
        let appended = appended.inspect_err(|_| ledger.unfinished.store(true, Ordering::Release))?;
        if let Some(placed) = appended.events.first() {
            erasure.place(placed);
        }
        let done = match ledger.is_frozen() {
            // What the frozen log lost may have carried it out before.
            true => self.finish(ledger, vec![erasure]).await,
            false => self.run_saga(ledger, erasure).await.map(drop),
        };
        if let Err(error) = done {
            ledger.unfinished.store(true, Ordering::Release);
            tracing::error!(request = %waiting.id(), error = %error, "an erasure cannot be finished; trying again");
            return Ok(false);
        }
        let (service, on, id) = (Arc::clone(self), Arc::clone(ledger), waiting.id());
        blocking(move || Ok(on.fencing.step(|| service.keystore.give_back(on.record.id, id))?)).await?;
        Ok(true)
    }

    /// What `erasure.requested` says now: people who were erased in between are counted, not named again.
    fn requested_now(&self, ledger: &Ledger, waiting: &Waiting) -> Result<Option<Requested>, Error> {
        let mut payload = waiting.submitted.payload.requested.clone();
        let mut subjects = Vec::new();
        for handle in waiting.handles() {
            match self.keystore.state(ledger.record.id, handle)? {
                SubjectState::Erased(request) if request != waiting.id() => payload.already_erased += 1,
                SubjectState::Erasing(request) if request != waiting.id() && !self.is_grace(ledger, request) => {
                    return Ok(None);
                }
                _ => subjects.push(Named { handle }),
            }
        }
        payload.subjects = subjects;
        payload.submitted_at = Some(waiting.submitted.recorded_at);
        payload.origin = ledger.is_frozen().then(|| ledger.record.origin.clone());
        Ok(Some(payload))
    }

    /// Looks after erasures that wait, and after what has expired; called every few seconds.
    pub async fn tick(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            if ledger.waiting.load(Ordering::Acquire) {
                let turn = ledger.erasing.turn.lock().await;
                self.advance_waiting(&ledger, &turn).await;
            }
            let (service, on) = (Arc::clone(self), Arc::clone(&ledger));
            let forgotten = blocking(move || service.forget_suppressed(&on)).await;
            if let Err(error) = forgotten {
                tracing::error!(ledger = %ledger.record.name, error = %error, "expired suppressions cannot be deleted");
            }
            if let Err(error) = self.confirm_newcomers(&ledger).await {
                tracing::error!(ledger = %ledger.record.name, error = %error, "it cannot be looked whether events name new people");
            }
        }
    }

    fn forget_suppressed(&self, ledger: &Ledger) -> Result<(), Error> {
        let forgotten = self.keystore.forget_suppressed(ledger.record.id, self.clock.now())?;
        if forgotten > 0 {
            tracing::info!(ledger = %ledger.record.name, forgotten, "suppressions of erased people have expired");
        }
        Ok(())
    }

    /// Brings the key store to what the ledger says of reopenings and restrictions, and drops expired suppressions. Before
    /// erasures are taken up, and before anything is served.
    ///
    /// # Errors
    /// If store or key store fails.
    pub async fn carry_over(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        blocking(move || {
            service.forget_suppressed(&on)?;
            service.carry_over_reopenings(&on)?;
            service.carry_over_restrictions(&on)
        })
        .await
    }

    /// Takes up erasures that wait. After [`Service::carry_over`], before anything is served.
    ///
    /// # Errors
    /// If the store cannot be read, or the keys of a grace cannot be withheld.
    pub async fn resume_waiting(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let _turn = ledger.erasing.turn.lock().await;
        // IMPORTANT: first of all and for all of them: without it nothing may be served.
        for (waiting, stage) in self.staged(ledger).await? {
            if matches!(stage, Stage::Grace(_)) {
                self.withhold(ledger, &waiting).await?;
            }
        }
        let waits = self.advance_all(ledger).await?;
        ledger.waiting.store(waits, Ordering::Release);
        Ok(())
    }
}

fn settled(detail: &str) -> Error {
    Error::new(Code::ErasureSettled, detail)
}

fn second_key(detail: &str) -> Error {
    Error::new(Code::SecondKeyNeeded, detail)
}
