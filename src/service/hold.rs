//! Legal holds: what must not be erased, for now. Placed and released as events of the stream `$holds`; which are in force
//! is folded from it.
//!
//! A hold covers data by people, categories and streams, whichever of them it names: data must fit all that are named. It
//! is placed under the lock of erasures, so it stands either before an erasure begins, and blocks it, or after it, and
//! then it is refused: what is being destroyed cannot be held any more.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::append::blocking;
use super::erase::sealed_blocks;
use super::own::{Act, By, Recorded, at, recorded};
use super::read::StoredEvent;
use super::{Caller, Code, Error, Ledger, Service};
use crate::spec::event::{Actor, Header};
use crate::spec::ids::{Category, Handle, StreamName, StreamRef, SubjectId, Timestamp};
use crate::store::{Direction, Lookup};

const STREAM: &str = "$holds";
const PLACED: &str = "hold.placed";
const RELEASED: &str = "hold.released";
/// The most people, categories or streams of a hold.
const MAX: usize = 1_000;
/// Headers that are read at once where streams are held.
const CHUNK: usize = 1_024;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// A hold as the ledger tells it.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    placed: Recorded<Placed>,
    released: Option<Recorded<Released>>,
}

/// A hold as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct HoldView {
    /// The hold.
    pub id: Uuid,
    /// `active`, `released` or `expired`.
    #[schema(pattern = "^(active|released|expired)$")]
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
    /// Why.
    pub ground: Category,
    /// When it began.
    pub placed_at: Timestamp,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was released.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_at: Option<Timestamp>,
    /// The API key that placed it.
    pub by: String,
}

impl Hold {
    pub(super) fn id(&self) -> Uuid {
        self.placed.payload.hold
    }

    pub(super) fn ground(&self) -> &Category {
        &self.placed.payload.ground
    }

    fn state(&self, now: Timestamp) -> &'static str {
        let expired = self.placed.payload.expires_at.is_some_and(|end| end <= now);
        match &self.released {
            Some(_) => "released",
            None if expired => "expired",
            None => "active",
        }
    }

    fn view(&self, now: Timestamp) -> HoldView {
        let Placed {
            hold,
            scope,
            ground,
            expires_at,
            by,
        } = self.placed.payload.clone();
        HoldView {
            id: hold,
            state: self.state(now),
            handles: scope.handles,
            categories: scope.categories,
            streams: scope.streams,
            ground,
            placed_at: self.placed.recorded_at,
            expires_at,
            released_at: self.released.as_ref().map(|released| released.recorded_at),
            by: by.by,
        }
    }
}

/// The holds in force, ready to be asked about many people.
pub(super) struct Holds {
    active: Vec<(Hold, Option<HashSet<StreamRef>>)>,
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
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        let (payload, event) = blocking(move || {
            let payload = Placed {
                hold: id,
                scope: service.hold_scope(&on, &request)?,
                ground: request.ground,
                expires_at: request.expires_at,
                by,
            };
            let mut event = service.event_about(&on, (STREAM, PLACED), &payload, id)?;
            let handles = payload.scope.handles.iter().flatten();
            event.subjects = handles.map(|handle| (*handle, None)).collect();
            let first = payload.scope.handles.as_ref().and_then(|handles| handles.first());
            let note = request.note.as_deref().zip(first.copied());
            let event = match note {
                Some((note, first)) => {
                    let subjects = request.subjects.as_deref().unwrap_or_default();
                    service.seal_note_about(&on, (note, Category::default()), (subjects, first), event)?
                }
                None => event,
            };
            Ok((payload, event))
        })
        .await?;
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await?;
        let (index, recorded_at) = appended
            .events
            .first()
            .map_or((0, self.clock.now()), |placed| (placed.index, placed.recorded_at));
        let placed = Recorded {
            index,
            recorded_at,
            payload,
        };
        let hold = Hold { placed, released: None };
        Ok(hold.view(self.clock.now()))
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
            let (reader, of) = (Arc::clone(&service), Arc::clone(&on));
            let hold = blocking(move || reader.all_holds(&of)).await?;
            let hold = hold.into_iter().find(|hold| hold.id() == id);
            let hold = hold.ok_or_else(|| Error::new(Code::NotFound, "there is no hold of this id"))?;
            if hold.released.is_some() {
                return Ok(hold.view(service.clock.now()));
            }
            let payload = Released { hold: id, by };
            let act = Act {
                stream: STREAM,
                event_type: RELEASED,
                payload: &payload,
                id,
                handles: &[],
            };
            let appended = service.record_act(&on, act).await?;
            let released = appended.events.first().map(|placed| Recorded {
                index: placed.index,
                recorded_at: placed.recorded_at,
                payload,
            });
            service.advance_waiting(&on, &turn).await;
            Ok(Hold { released, ..hold }.view(service.clock.now()))
        });
        task.await.map_err(super::access::internal)?
    }

    fn all_holds(&self, ledger: &Ledger) -> Result<Vec<Hold>, Error> {
        let mut holds: Vec<Hold> = Vec::new();
        for event in self.events_about(ledger, STREAM)? {
            match event.header.event_type.as_str() {
                PLACED => holds.push(Hold {
                    placed: recorded(&event)?,
                    released: None,
                }),
                RELEASED => {
                    let released: Recorded<Released> = recorded(&event)?;
                    let hold = holds.iter_mut().find(|hold| hold.id() == released.payload.hold);
                    if let Some(hold) = hold {
                        hold.released = Some(released);
                    }
                }
                _ => {}
            }
        }
        Ok(holds)
    }

    /// All holds, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn holds(&self, ledger: &Ledger) -> Result<Vec<HoldView>, Error> {
        let now = self.clock.now();
        let holds = self.all_holds(ledger)?;
        Ok(holds.iter().rev().map(|hold| hold.view(now)).collect())
    }

    /// One hold.
    ///
    /// # Errors
    /// `not_found`.
    pub fn hold(&self, ledger: &Ledger, id: Uuid) -> Result<HoldView, Error> {
        let hold = self.all_holds(ledger)?.into_iter().find(|hold| hold.id() == id);
        let hold = hold.ok_or_else(|| Error::new(Code::NotFound, "there is no hold of this id"))?;
        Ok(hold.view(self.clock.now()))
    }

    /// The holds in force now.
    pub(super) fn active_holds(&self, ledger: &Ledger) -> Result<Holds, Error> {
        let now = self.clock.now();
        let mut active = Vec::new();
        for hold in self.all_holds(ledger)? {
            if hold.state(now) != "active" {
                continue;
            }
            let streams = match &hold.placed.payload.scope.streams {
                Some(names) => {
                    let rows = self.store.stream_rows(ledger.record.number, names)?;
                    Some(rows.into_iter().flatten().map(|row| row.stream_ref).collect())
                }
                None => None,
            };
            active.push((hold, streams));
        }
        Ok(Holds { active })
    }

    /// The holds that cover data of a person: of these categories, or any.
    pub(super) fn holds_on<'a>(
        &self,
        ledger: &Ledger,
        holds: &'a Holds,
        handle: Handle,
        categories: Option<&[Category]>,
    ) -> Result<Vec<&'a Hold>, Error> {
        let mut covering = Vec::new();
        for (hold, streams) in &holds.active {
            let scope = &hold.placed.payload.scope;
            if scope.handles.as_ref().is_some_and(|handles| !handles.contains(&handle)) {
                continue;
            }
            if let Some(held) = &scope.categories
                && !self.has_any(ledger, handle, held, categories, scope.handles.is_some())?
            {
                continue;
            }
            if let Some(streams) = streams
                && !self.is_in_streams(ledger, handle, streams)?
            {
                continue;
            }
            covering.push(hold);
        }
        Ok(covering)
    }

    /// A hold that keeps an event as it is: on its stream, or on a person who has a block in it or is its actor.
    pub(super) fn hold_on_event<'a>(
        &self,
        ledger: &Ledger,
        holds: &'a Holds,
        event: &StoredEvent,
    ) -> Result<Option<&'a Hold>, Error> {
        let stream = event.header.stream_ref;
        let of_stream = |(hold, streams): &&(Hold, Option<HashSet<StreamRef>>)| {
            let everybody = hold.placed.payload.scope.handles.is_none();
            everybody && streams.as_ref().is_some_and(|streams| streams.contains(&stream))
        };
        if let Some((hold, _)) = holds.active.iter().find(of_stream) {
            return Ok(Some(hold));
        }
        let mut people: HashSet<Handle> = sealed_blocks(event).map(|(_, block)| block.handle).collect();
        if let Some(Actor::Subject(handle)) = event.meta.as_ref().and_then(|meta| meta.actor.as_ref()) {
            people.insert(*handle);
        }
        for handle in people {
            if let Some(hold) = self.holds_on(ledger, holds, handle, None)?.first() {
                return Ok(Some(hold));
            }
        }
        Ok(None)
    }

    /// Whether an erasure of these categories would reach a held one. A hold that names the person counts before there is
    /// any data; one that names categories alone needs a live key of theirs.
    fn has_any(
        &self,
        ledger: &Ledger,
        handle: Handle,
        held: &[Category],
        erased: Option<&[Category]>,
        named: bool,
    ) -> Result<bool, Error> {
        let reached: Vec<_> = held
            .iter()
            .filter(|category| erased.is_none_or(|erased| erased.contains(category)))
            .collect();
        if reached.is_empty() || named {
            return Ok(!reached.is_empty());
        }
        let keys = self.keystore.keys_of(ledger.record.id, handle)?;
        Ok(keys.iter().any(|key| reached.contains(&&key.category)))
    }

    fn is_in_streams(&self, ledger: &Ledger, handle: Handle, streams: &HashSet<StreamRef>) -> Result<bool, Error> {
        let (number, size) = (ledger.record.number, self.view(ledger)?.size());
        let lookup = Lookup::Handle(handle);
        let indexes = self
            .store
            .find(number, &lookup, 0..size, Direction::Forward, usize::MAX)?;
        for chunk in indexes.chunks(CHUNK) {
            for row in self.store.headers_at(number, chunk)?.into_iter().flatten() {
                let header = Header::decode(&row.header).map_err(|error| {
                    Error::new(Code::Damaged, format!("the header of index {}", row.index)).caused_by(error)
                })?;
                if streams.contains(&header.stream_ref) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
