//! Legal holds: what must not be erased, for now. Placed and released as events of the stream `$holds`; which are in force
//! is folded from it.
//!
//! A hold covers data by people, categories and streams, whichever of them it names: data must fit all that are named. It
//! is placed under the lock of erasures, so it stands either before an erasure begins, and blocks it, or after it, and
//! then it is refused: what is being destroyed cannot be held any more.
//!
//! A hold whose event cannot be read holds everybody: what it covers is not known, and what is erased does not come back.
//! Its id is its event's correlation id, or made of the index where that cannot be read either; it is released by it.

mod book;
mod cover;

use std::sync::Arc;

pub(super) use book::Hold;
pub(crate) use book::HoldBook;
pub(super) use cover::Holds;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::own::{Act, By, at};
use super::{Caller, Code, Error, Ledger, Service};
use crate::sequencer::NewEvent;
use crate::spec::ids::{Category, Handle, StreamName, SubjectId, Timestamp};

const STREAM: &str = "$holds";
const PLACED: &str = "hold.placed";
const RELEASED: &str = "hold.released";
/// The most people, categories or streams of a hold.
const MAX: usize = 1_000;

/// `POST /holds`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct HoldRequest {
    /// People by the caller's ids.
    #[schema(min_items = 1, max_items = 1000)]
    pub subjects: Option<Vec<SubjectId>>,
    /// People by handle.
    #[schema(min_items = 1, max_items = 1000)]
    pub handles: Option<Vec<Handle>>,
    /// Only data of these categories.
    #[schema(min_items = 1, max_items = 1000)]
    pub categories: Option<Vec<Category>>,
    /// Only people with data in these streams.
    #[schema(min_items = 1, max_items = 1000)]
    pub streams: Option<Vec<StreamName>>,
    /// Why, as a code of the operator's, such as `litigation-17`; it stays in clear.
    #[schema(pattern = "^[a-z0-9][a-z0-9._-]{0,63}$")]
    pub ground: Category,
    /// Free text; sealed under the first person's key. Needs `subjects`.
    #[schema(max_length = 4096)]
    pub note: Option<String>,
    /// When it ends by itself.
    pub expires_at: Option<Timestamp>,
}

/// What a hold covers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Scope {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handles: Option<Vec<Handle>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    categories: Option<Vec<Category>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    streams: Option<Vec<StreamName>>,
}

/// The payload of `hold.placed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Placed {
    hold: Uuid,
    #[serde(flatten)]
    scope: Scope,
    ground: Category,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(flatten)]
    by: By,
}

/// The payload of `hold.released`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Released {
    hold: Uuid,
    #[serde(flatten)]
    by: By,
}

/// A hold as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct HoldView {
    /// The hold.
    pub id: Uuid,
    /// `active`, `released`, `expired`, or `unreadable`: its event is damaged, and it holds everybody until it is released.
    #[schema(pattern = "^(active|released|expired|unreadable)$")]
    pub state: &'static str,
    /// Only these people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handles: Option<Vec<Handle>>,
    /// Only data of these categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    /// Only people with data in these streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Vec<StreamName>>,
    /// Why; absent if that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ground: Option<Category>,
    /// The index of its event.
    pub index: u64,
    /// When it began; absent if that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placed_at: Option<Timestamp>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// The API key that placed it; absent if that cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Service {
    /// Places a hold.
    ///
    /// # Errors
    /// `invalid_field`, `subject_not_found`, `subject_erased`, `subject_erasing` (nothing is held then); whatever appending
    /// may answer.
    pub async fn place_hold(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: HoldRequest,
    ) -> Result<HoldView, Error> {
        self.check_hold(&request)?;
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        // A task of its own: a caller who hangs up must not give the turn away while the hold is being recorded.
        let task = tokio::spawn(async move {
            let _turn = on.erasing.turn.lock().await;
            service.hold_in_turn(&on, by, request).await
        });
        task.await.map_err(super::access::internal)?
    }

    async fn hold_in_turn(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: By,
        request: HoldRequest,
    ) -> Result<HoldView, Error> {
        let id = self.fresh_id();
        let prepare = move |service: &Self, ledger: &Ledger| service.hold_event(ledger, (id, by), request);
        let (payload, event) = self.blocking(ledger, prepare).await?;
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await?;
        let hold = Hold::placed(self.as_recorded(&appended, payload));
        Ok(hold.view(self.clock.now()))
    }

    fn hold_event(
        &self,
        ledger: &Ledger,
        (id, by): (Uuid, By),
        request: HoldRequest,
    ) -> Result<(Placed, NewEvent), Error> {
        let payload = Placed {
            hold: id,
            scope: self.hold_scope(ledger, &request)?,
            ground: request.ground,
            expires_at: request.expires_at,
            by,
        };
        let mut event = self.event_about(ledger, (STREAM, PLACED), &payload, id)?;
        let handles = payload.scope.handles.iter().flatten();
        event.subjects = handles.map(|handle| (*handle, None)).collect();
        let first = payload.scope.handles.as_ref().and_then(|handles| handles.first());
        if let Some((note, first)) = request.note.as_deref().zip(first.copied()) {
            let subjects = request.subjects.as_deref().unwrap_or_default();
            event = self.seal_note_about(ledger, (note, Category::default()), (subjects, first), event)?;
        }
        Ok((payload, event))
    }

    fn check_hold(&self, request: &HoldRequest) -> Result<(), Error> {
        let lengths = [
            ("/subjects", request.subjects.as_ref().map(Vec::len)),
            ("/handles", request.handles.as_ref().map(Vec::len)),
            ("/categories", request.categories.as_ref().map(Vec::len)),
            ("/streams", request.streams.as_ref().map(Vec::len)),
        ];
        if lengths.iter().all(|(_, length)| length.is_none()) {
            let detail = "say what is held: `subjects` or `handles`, `categories`, `streams`";
            return Err(Error::field("/subjects", detail));
        }
        for (pointer, length) in lengths {
            if length.is_some_and(|length| !(1..=MAX).contains(&length)) {
                return Err(Error::field(pointer, format!("must name 1 to {MAX}, or be absent")));
            }
        }
        if request.subjects.is_some() && request.handles.is_some() {
            return Err(Error::field("/handles", "give either `subjects` or `handles`"));
        }
        if request.note.is_some() && request.subjects.is_none() {
            let detail = "is sealed under the person's key, so it needs `subjects`";
            return Err(Error::field("/note", detail));
        }
        if request.note.as_ref().is_some_and(|note| note.len() > 4_096) {
            return Err(Error::field("/note", "must be at most 4,096 bytes"));
        }
        if request.expires_at.is_some_and(|end| end <= self.clock.now()) {
            return Err(Error::field("/expires_at", "must lie in the future"));
        }
        self.refuse_personal("/ground", request.ground.as_str())?;
        for (place, stream) in request.streams.iter().flatten().enumerate() {
            self.refuse_personal(&format!("/streams/{place}"), stream.as_str())?;
        }
        Ok(())
    }

    fn hold_scope(&self, ledger: &Ledger, request: &HoldRequest) -> Result<Scope, Error> {
        let mut handles = Vec::new();
        for (place, subject) in request.subjects.iter().flatten().enumerate() {
            handles.push(self.living_subject(ledger, subject, &format!("/subjects/{place}"))?);
        }
        for (place, handle) in request.handles.iter().flatten().enumerate() {
            self.living(ledger, *handle, &format!("/handles/{place}"))?;
            handles.push(*handle);
        }
        handles.sort_unstable();
        handles.dedup();
        let streams = request.streams.clone();
        let rows = self
            .store
            .stream_rows(ledger.record.number, streams.as_deref().unwrap_or_default())?;
        if let Some(place) = rows.iter().position(Option::is_none) {
            let detail = "there is no stream of this name";
            return Err(at(Code::StreamNotFound, &format!("/streams/{place}"), detail));
        }
        Ok(Scope {
            handles: (!handles.is_empty()).then_some(handles),
            categories: request.categories.clone(),
            streams,
        })
    }

    /// Releases a hold; what waited for it runs. Repeating it changes nothing.
    ///
    /// # Errors
    /// `not_found`; whatever appending may answer.
    pub async fn release_hold(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<HoldView, Error> {
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        // A task of its own: a caller who hangs up must not keep what waits waiting.
        let task = tokio::spawn(async move {
            let turn = on.erasing.turn.lock().await;
            let find = move |service: &Self, ledger: &Ledger| service.find_hold(ledger, id);
            let mut hold = service.blocking(&on, find).await?;
            if hold.released.is_none() {
                let payload = Released { hold: id, by };
                let act = Act {
                    stream: STREAM,
                    event_type: RELEASED,
                    payload: &payload,
                    id,
                    handles: &[],
                };
                let appended = service.record_act(&on, act).await?;
                hold.released = Some(service.as_recorded(&appended, payload));
                service.advance_waiting(&on, &turn).await;
            }
            Ok(hold.view(service.clock.now()))
        });
        task.await.map_err(super::access::internal)?
    }

    /// All holds, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn holds(&self, ledger: &Ledger) -> Result<Vec<HoldView>, Error> {
        let now = self.clock.now();
        let views = |book: &HoldBook| book.all().rev().map(|hold| hold.view(now)).collect();
        self.fold_now(ledger, &ledger.holds, views)
    }

    /// One hold.
    ///
    /// # Errors
    /// `not_found`.
    pub fn hold(&self, ledger: &Ledger, id: Uuid) -> Result<HoldView, Error> {
        Ok(self.find_hold(ledger, id)?.view(self.clock.now()))
    }

    fn find_hold(&self, ledger: &Ledger, id: Uuid) -> Result<Hold, Error> {
        let found = self.fold_now(ledger, &ledger.holds, |book| book.find(id).cloned())?;
        found.ok_or_else(|| Error::new(Code::NotFound, "there is no hold of this id"))
    }
}
