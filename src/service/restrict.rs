//! Restriction of processing (GDPR Art. 18): a reversible refusal to open what is sealed about a person. Storing goes on.
//!
//! Each restriction and its end is an event of the stream `$restrictions`, and durable in the key store. The event comes
//! first both times; at start what the ledger says is carried over to the key store, so that neither a crash between the
//! two nor an older key store lifts a restriction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::own::{Act, By, Fold, Recorded, Unreadable, recorded};
use super::read::StoredEvent;
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::{Withheld, Withholding};
use crate::spec::ids::{Category, Handle, SubjectId, Timestamp};

const STREAM: &str = "$restrictions";
const PLACED: &str = "restriction.placed";
const LIFTED: &str = "restriction.lifted";
/// The most categories of a restriction.
const MAX_CATEGORIES: usize = 64;

/// Why a person's data is restricted, as a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[derive(utoipa::ToSchema)]
pub enum RestrictionReason {
    /// GDPR Article 18(1)(a): the person contests the accuracy.
    AccuracyContested,
    /// GDPR Article 18(1)(b): unlawful, and the person does not want it erased.
    Unlawful,
    /// GDPR Article 18(1)(c): the person needs it for legal claims.
    LegalClaims,
    /// GDPR Article 18(1)(d): the person objected.
    Objection,
    /// Another reason.
    Other,
}

/// `POST /restrictions`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct RestrictionRequest {
    /// By the caller's id; this or `handle`.
    pub subject: Option<SubjectId>,
    /// By handle; this or `subject`.
    pub handle: Option<Handle>,
    /// Only these; absent: the whole person.
    #[schema(min_items = 1, max_items = 64)]
    pub categories: Option<Vec<Category>>,
    /// Why.
    pub reason: RestrictionReason,
}

/// The payload of `restriction.placed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    restriction: Uuid,
    handle: Handle,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<Category>>,
    reason: RestrictionReason,
    #[serde(flatten)]
    by: By,
}

/// The payload of `restriction.lifted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Lifted {
    restriction: Uuid,
    #[serde(flatten)]
    by: By,
}

/// A restriction as the ledger tells it.
#[derive(Debug, Clone)]
pub(super) struct Restriction {
    placed: Recorded<Placed>,
    lifted: Option<Recorded<Lifted>>,
}

/// A restriction as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RestrictionView {
    /// The restriction.
    pub id: Uuid,
    /// `active` or `lifted`.
    #[schema(pattern = "^(active|lifted)$")]
    pub state: &'static str,
    /// Whom it is about.
    pub handle: Handle,
    /// Only these categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    /// Why.
    pub reason: RestrictionReason,
    /// When it began.
    pub placed_at: Timestamp,
    /// When it was lifted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifted_at: Option<Timestamp>,
    /// The API key that placed it.
    pub by: String,
}

impl Restriction {
    pub(super) fn id(&self) -> Uuid {
        self.placed.payload.restriction
    }

    fn withholding(&self) -> Withholding {
        let Placed {
            restriction,
            handle,
            categories,
            ..
        } = self.placed.payload.clone();
        Withholding {
            id: restriction,
            handle,
            categories,
            why: Withheld::Restricted,
        }
    }

    fn view(&self) -> RestrictionView {
        let Placed {
            restriction,
            handle,
            categories,
            reason,
            by,
        } = self.placed.payload.clone();
        RestrictionView {
            id: restriction,
            state: if self.lifted.is_some() { "lifted" } else { "active" },
            handle,
            categories,
            reason,
            placed_at: self.placed.recorded_at,
            lifted_at: self.lifted.as_ref().map(|lifted| lifted.recorded_at),
            by: by.by,
        }
    }
}

impl Service {
    /// Restricts a person's data. Once this answers nothing of it is opened any more.
    ///
    /// # Errors
    /// `invalid_field`, `subject_not_found`, `subject_erased`, `subject_erasing`; whatever appending may answer.
    pub async fn restrict(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: RestrictionRequest,
    ) -> Result<RestrictionView, Error> {
        check_categories(request.categories.as_deref(), MAX_CATEGORIES)?;
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let _turn = on.erasing.turn.lock().await;
            let (subject, handle) = (request.subject, request.handle);
            let living = move |service: &Self, ledger: &Ledger| service.living_one(ledger, subject.as_ref(), handle);
            let payload = Placed {
                restriction: service.fresh_id(),
                handle: service.blocking(&on, living).await?,
                categories: request.categories,
                reason: request.reason,
                by,
            };
            let placed = service.place_restriction(&on, payload).await;
            placed.inspect_err(|_| on.leave_unsettled())
        });
        task.await.map_err(super::access::internal)?
    }

    /// Records a restriction, then withholds the keys. IMPORTANT: where that breaks off in between, or the event may be
    /// durable although its append failed, the tick and the start carry it out: `carry_over_restrictions`.
    async fn place_restriction(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        payload: Placed,
    ) -> Result<RestrictionView, Error> {
        let act = Act {
            stream: STREAM,
            event_type: PLACED,
            payload: &payload,
            id: payload.restriction,
            handles: &[payload.handle],
        };
        let appended = self.record_act(ledger, act).await?;
        let restriction = Restriction {
            placed: self.as_recorded(&appended, payload),
            lifted: None,
        };
        let withholding = restriction.withholding();
        let withhold = move |service: &Self, ledger: &Ledger| {
            let id = ledger.record.id;
            Ok(ledger.fencing.step(|| service.keystore.withhold(id, &[withholding]))?)
        };
        self.blocking(ledger, withhold).await?;
        Ok(restriction.view())
    }

    /// Lifts a restriction; an erasure that waited for it runs. Repeating it changes nothing.
    ///
    /// # Errors
    /// `not_found`; whatever appending may answer.
    pub async fn lift_restriction(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<RestrictionView, Error> {
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let turn = on.erasing.turn.lock().await;
            let find = move |service: &Self, ledger: &Ledger| service.find_restriction(ledger, id);
            let restriction = service.blocking(&on, find).await?;
            let lifted = service.end_restriction(&on, restriction, by).await;
            let restriction = lifted.inspect_err(|_| on.leave_unsettled())?;
            service.advance_waiting(&on, &turn).await;
            Ok(restriction.view())
        });
        task.await.map_err(super::access::internal)?
    }

    async fn end_restriction(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        mut restriction: Restriction,
        by: By,
    ) -> Result<Restriction, Error> {
        let id = restriction.id();
        if restriction.lifted.is_none() {
            let payload = Lifted { restriction: id, by };
            let act = Act {
                stream: STREAM,
                event_type: LIFTED,
                payload: &payload,
                id,
                handles: &[],
            };
            let appended = self.record_act(ledger, act).await?;
            restriction.lifted = Some(self.as_recorded(&appended, payload));
        }
        let give_back = move |service: &Self, ledger: &Ledger| service.give_back(ledger, id);
        self.blocking(ledger, give_back).await?;
        Ok(restriction)
    }

    fn find_restriction(&self, ledger: &Ledger, id: Uuid) -> Result<Restriction, Error> {
        let known = self.fold_of(ledger, id, Restrictions::default())?;
        match (known.find(id), known.unreadable.first()) {
            (Some(restriction), _) => Ok(restriction.clone()),
            (None, Some(event)) => Err(event.error()),
            (None, None) => Err(Error::new(Code::NotFound, "there is no restriction of this id")),
        }
    }

    /// All restrictions that can be read, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn restrictions(&self, ledger: &Ledger) -> Result<Vec<RestrictionView>, Error> {
        let known = self.fold_about(ledger, Restrictions::default())?;
        Ok(known.all.iter().rev().map(Restriction::view).collect())
    }

    /// One restriction.
    ///
    /// # Errors
    /// `not_found`.
    pub fn restriction(&self, ledger: &Ledger, id: Uuid) -> Result<RestrictionView, Error> {
        self.find_restriction(ledger, id).map(|restriction| restriction.view())
    }

    /// The restrictions in force on data of a person: of these categories, or any.
    pub(super) fn restrictions_on(
        &self,
        ledger: &Ledger,
        handle: Handle,
        categories: Option<&[Category]>,
    ) -> Vec<Uuid> {
        let withheld = self.keystore.withheld_of(ledger.record.id, handle);
        let covers = |withheld: &&Withholding| {
            let meets = match (&withheld.categories, categories) {
                (Some(restricted), Some(categories)) => restricted.iter().any(|category| categories.contains(category)),
                _ => true,
            };
            withheld.why == Withheld::Restricted && meets
        };
        withheld.iter().filter(covers).map(|withheld| withheld.id).collect()
    }

    /// Brings the key store to what the ledger says of restrictions. Before anything is served.
    ///
    /// # Errors
    /// If the store or the key store fails.
    pub(super) fn carry_over_restrictions(&self, ledger: &Ledger) -> Result<(), Error> {
        let id = ledger.record.id;
        let known: HashSet<_> = self.keystore.withheld(id).into_iter().collect();
        let recorded = self.fold_about(ledger, Restrictions::default())?;
        let (lifted, active): (Vec<_>, Vec<_>) = recorded
            .all
            .into_iter()
            .partition(|restriction| restriction.lifted.is_some());
        let missing: Vec<_> = active
            .iter()
            .map(Restriction::withholding)
            .filter(|withholding| !known.contains(withholding))
            .collect();
        if !missing.is_empty() {
            tracing::warn!(
                count = missing.len(),
                "restrictions are missing in the key store; applying them"
            );
            ledger.fencing.step(|| self.keystore.withhold(id, &missing))?;
        }
        let withheld: HashSet<_> = known.iter().map(|withheld| withheld.id).collect();
        for restriction in lifted {
            if withheld.contains(&restriction.id()) {
                self.give_back(ledger, restriction.id())?;
            }
        }
        Ok(())
    }
}

/// All restrictions, in the order of their events. One that cannot be read stays withheld, in the key store; an end that
/// cannot be read ends nothing, and can be repeated.
#[derive(Debug, Default)]
struct Restrictions {
    all: Vec<Restriction>,
    places: HashMap<Uuid, usize>,
    unreadable: Vec<Unreadable>,
}

impl Restrictions {
    fn find(&self, id: Uuid) -> Option<&Restriction> {
        self.all.get(*self.places.get(&id)?)
    }
}

impl Fold for Restrictions {
    const STREAM: &'static str = STREAM;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match event.header.event_type.as_str() {
            PLACED => {
                let placed: Recorded<Placed> = recorded(event)?;
                self.places.insert(placed.payload.restriction, self.all.len());
                self.all.push(Restriction { placed, lifted: None });
            }
            LIFTED => {
                let lifted: Recorded<Lifted> = recorded(event)?;
                let place = self.places.get(&lifted.payload.restriction);
                if let Some(known) = place.and_then(|place| self.all.get_mut(*place)) {
                    known.lifted = Some(lifted);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn unreadable(&mut self, event: Unreadable) {
        self.unreadable.push(event);
    }
}

/// Categories that a request may name, if it names any.
pub(super) fn check_categories(categories: Option<&[Category]>, most: usize) -> Result<(), Error> {
    let Some(categories) = categories else { return Ok(()) };
    let distinct: HashSet<_> = categories.iter().collect();
    if categories.is_empty() || categories.len() > most || distinct.len() != categories.len() {
        let detail = format!("must name 1 to {most} different categories, or be absent for the whole person");
        return Err(Error::field("/categories", detail));
    }
    Ok(())
}
