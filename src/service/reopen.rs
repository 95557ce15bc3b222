//! Reopening after an erasure: an explicit, recorded act of the stream `$subjects`.
//!
//! | | what | crash-safe because |
//! | --- | --- | --- |
//! | an erased person | the suppression row goes; a new handle is minted. Nothing links the two: the event names neither | what is to be lifted is noted under the event's id before the event, and at start carried out if the event is there |
//! | an erased category of a living person | the next generation of its key, under the same handle | the event holds all of it, and is applied again at start |
//!
//! What was erased stays erased.

mod generations;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::own::{Act, By, Fold, Recorded, Unreadable, at, never_seen, recorded};
use super::read::StoredEvent;
use super::restrict::check_categories;
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::{Reopened, Resolution};
use crate::sequencer;
use crate::spec::ids::{Category, Handle, SubjectId};
use generations::closes;

const STREAM: &str = "$subjects";
const REOPENED: &str = "subject.reopened";
/// The most categories of a reopening.
const MAX_CATEGORIES: usize = 64;

/// Why, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(utoipa::ToSchema)]
pub enum ReopeningReason {
    /// The person came back.
    NewRelationship,
    /// The person consented again.
    Consent,
    /// A law demands that data is kept from now on.
    LegalDuty,
    /// The erasure was a mistake; what was erased is gone all the same.
    Mistake,
    /// The retention period of what was erased was over.
    Retention,
    /// Another reason.
    Other,
}

/// `POST /reopenings`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct ReopeningRequest {
    /// The caller's id of the person.
    pub subject: SubjectId,
    /// Erased categories of a living person; absent: an erased person.
    #[schema(min_items = 1, max_items = 64)]
    pub categories: Option<Vec<Category>>,
    /// Why.
    pub reason: ReopeningReason,
}

/// What a reopening gave.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReopeningView {
    /// The reopening.
    pub id: Uuid,
    /// The person's handle from now on: a new one for an erased person.
    pub handle: Handle,
    /// The categories, with the first generation of their new keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<ReopenedCategory>>,
}

/// A category that was opened again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReopenedCategory {
    /// The category.
    pub category: Category,
    /// Of its keys from now on.
    pub generation: u32,
}

/// The payload of `subject.reopened`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Payload {
    reopening: Uuid,
    /// Living people; absent for one who was erased as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subjects: Option<Vec<Person>>,
    reason: ReopeningReason,
    #[serde(flatten)]
    by: By,
}

impl Payload {
    fn reopened(&self) -> impl Iterator<Item = Reopened> {
        let people = self.subjects.iter().flatten();
        people.flat_map(|person| {
            person.categories.iter().map(|named| Reopened {
                handle: person.handle,
                category: named.reopened.category.clone(),
                generation: named.reopened.generation,
                over: named.over.clone(),
            })
        })
    }
}

/// A living person, and what is opened again of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Person {
    handle: Handle,
    categories: Vec<Named>,
}

/// A category, and the erasures that no longer close it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    #[serde(flatten)]
    reopened: ReopenedCategory,
    over: Vec<Uuid>,
}

impl Service {
    /// Reopens an erased person, or erased categories of a living one.
    ///
    /// # Errors
    /// `subject_not_found`, `not_erased`, `subject_erased` (categories of an erased person), `subject_erasing`,
    /// `invalid_field`, `ledger_frozen`; whatever appending may answer.
    pub async fn reopen(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: ReopeningRequest,
    ) -> Result<ReopeningView, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        check_categories(request.categories.as_deref(), MAX_CATEGORIES)?;
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let _turn = on.erasing.turn.lock().await;
            match request.categories {
                None => service.reopen_person(&on, by, request.subject, request.reason).await,
                Some(categories) => {
                    let who = (request.subject, categories);
                    service.reopen_categories(&on, by, who, request.reason).await
                }
            }
        });
        task.await.map_err(super::access::internal)?
    }

    async fn reopen_person(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: By,
        subject: SubjectId,
        reason: ReopeningReason,
    ) -> Result<ReopeningView, Error> {
        let (id, who) = (self.fresh_id(), subject.clone());
        let prepare = move |service: &Self, ledger: &Ledger| {
            let found = service.keystore.prepare_reopening(ledger.record.id, id, &who)?;
            Ok(found)
        };
        match self.blocking(ledger, prepare).await? {
            Resolution::Erased => {}
            Resolution::Unknown => return Err(never_seen("/subject")),
            Resolution::Known(_) => {
                let detail = "this person is not erased; name the `categories` that are";
                return Err(at(Code::NotErased, "/subject", detail));
            }
        }
        let payload = Payload {
            reopening: id,
            subjects: None,
            reason,
            by,
        };
        // IMPORTANT: noted, then recorded, then carried out. An append that fails may have been written all the same, so
        // the note stays: the tick, or the start, looks what the ledger says.
        let lifted = self.lift_suppression(ledger, &payload).await;
        lifted.inspect_err(|_| ledger.leave_unsettled())?;
        let handle = self.subject_handle(ledger, subject).await?;
        Ok(ReopeningView {
            id,
            handle,
            categories: None,
        })
    }

    async fn lift_suppression(self: &Arc<Self>, ledger: &Arc<Ledger>, payload: &Payload) -> Result<(), Error> {
        let id = payload.reopening;
        self.record_reopening(ledger, payload).await?;
        let settle = move |service: &Self, ledger: &Ledger| {
            service.keystore.settle_reopening(ledger.record.id, id, true)?;
            Ok(())
        };
        self.blocking(ledger, settle).await
    }

    async fn record_reopening(&self, ledger: &Ledger, payload: &Payload) -> Result<(), Error> {
        let people = payload.subjects.iter().flatten();
        let handles: Vec<_> = people.map(|person| person.handle).collect();
        let act = Act {
            stream: STREAM,
            event_type: REOPENED,
            payload,
            id: payload.reopening,
            handles: &handles,
        };
        self.record_act(ledger, act).await.map(drop)
    }

    async fn reopen_categories(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: By,
        (subject, categories): (SubjectId, Vec<Category>),
        reason: ReopeningReason,
    ) -> Result<ReopeningView, Error> {
        let living = move |service: &Self, ledger: &Ledger| service.living_subject(ledger, &subject, "/subject");
        let handle = self.blocking(ledger, living).await?;
        let (id, people) = self.reopen_all(ledger, by, vec![(handle, categories)], reason).await?;
        let named = people.into_iter().flat_map(|person| person.categories);
        Ok(ReopeningView {
            id,
            handle,
            categories: Some(named.map(|named| named.reopened).collect()),
        })
    }

    /// Opens erased categories of living people again; the caller holds the lock.
    pub(super) async fn reopen_all(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: By,
        who: Vec<(Handle, Vec<Category>)>,
        reason: ReopeningReason,
    ) -> Result<(Uuid, Vec<Person>), Error> {
        let people = self
            .blocking(ledger, move |service, ledger| service.to_reopen(ledger, &who))
            .await?;
        let payload = Payload {
            reopening: self.fresh_id(),
            subjects: Some(people),
            reason,
            by,
        };
        let reopened = self.record_and_reopen(ledger, payload).await;
        reopened.inspect_err(|_| ledger.leave_unsettled())
    }

    async fn record_and_reopen(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        payload: Payload,
    ) -> Result<(Uuid, Vec<Person>), Error> {
        self.record_reopening(ledger, &payload).await?;
        let carry_out = move |service: &Self, ledger: &Ledger| {
            let opened = service.carry_out(ledger, std::iter::once(&payload))?;
            service.open_again(ledger, opened);
            Ok((payload.reopening, payload.subjects.unwrap_or_default()))
        };
        self.blocking(ledger, carry_out).await
    }

    /// Opens in the key store what reopenings say. Gives what was not open before.
    fn carry_out<'a>(
        &self,
        ledger: &Ledger,
        reopenings: impl Iterator<Item = &'a Payload>,
    ) -> Result<Vec<Reopened>, Error> {
        let id = ledger.record.id;
        let generation = |handle, category: &Category| {
            let open = self.keystore.reopened_of(id, handle).into_iter();
            let mut open = open.filter(|open| open.category == *category);
            open.next().map(|open| open.generation)
        };
        // The last one of a category is over all that those before it were over.
        let mut new: BTreeMap<(Handle, Category), Reopened> = BTreeMap::new();
        for reopened in reopenings.flat_map(Payload::reopened) {
            let of = (reopened.handle, reopened.category.clone());
            let known = new.get(&of).map(|new| new.generation);
            let known = known.or_else(|| generation(reopened.handle, &reopened.category));
            if known.is_none_or(|known| known < reopened.generation) {
                new.insert(of, reopened);
            }
        }
        if new.is_empty() {
            return Ok(Vec::new());
        }
        let new: Vec<_> = new.into_values().collect();
        Ok(ledger.fencing.step(|| self.keystore.reopen_categories(id, &new))?)
    }

    /// Lets the sequencer take generations that reopenings opened, unless a later erasure closes them.
    pub(super) fn open_again(&self, ledger: &Ledger, reopened: Vec<Reopened>) {
        let is_open = |reopened: &Reopened| {
            let fences = self.keystore.fences_of(ledger.record.id, reopened.handle);
            !fences
                .iter()
                .any(|fence| closes(fence, &reopened.category, &reopened.over))
        };
        let open = reopened.into_iter().filter(is_open).map(|reopened| sequencer::Fence {
            handle: reopened.handle,
            categories: Some(vec![reopened.category]),
            open_from: Some(reopened.generation),
        });
        let open: Vec<_> = open.collect();
        if !open.is_empty() {
            self.sequencer.fence(ledger.record.number, open);
        }
    }

    /// Finishes reopenings that broke off, and brings the key store to what the ledger says. Under the lock of erasures, or
    /// before anything is served, and before erasures are taken up. Gives the categories that were not open before.
    ///
    /// # Errors
    /// If the store or the key store fails.
    pub(super) fn carry_over_reopenings(&self, ledger: &Ledger) -> Result<Vec<Reopened>, Error> {
        let id = ledger.record.id;
        let reopenings = self.fold_own(ledger, Reopenings::default())?.0;
        let opened = self.carry_out(ledger, reopenings.values())?;
        for noted in self.keystore.noted_reopenings(id)? {
            self.keystore
                .settle_reopening(id, noted, reopenings.contains_key(&noted))?;
        }
        Ok(opened)
    }
}

/// All reopenings, by id, which is in the order of time. One that cannot be read opens nothing that is not open already.
#[derive(Default)]
struct Reopenings(BTreeMap<Uuid, Payload>);

impl Fold for Reopenings {
    const STREAM: &'static str = STREAM;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        if event.header.event_type.as_str() == REOPENED {
            let reopening: Recorded<Payload> = recorded(event)?;
            self.0.insert(reopening.payload.reopening, reopening.payload);
        }
        Ok(())
    }

    fn unreadable(&mut self, _: Unreadable) {}
}
