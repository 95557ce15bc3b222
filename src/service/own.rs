//! Oubliette's own events as a source of state: what acts there were is folded from their streams, so that it is as
//! durable as the ledger and needs no rows beside it.

mod fold;

pub(crate) use fold::Kept;
pub(super) use fold::{Fold, Unreadable};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::internal;
use super::append::subject_erased;
use super::read::StoredEvent;
use super::{Caller, Code, Error, FieldError, Ledger, Service};
use crate::keystore::{Resolution, SubjectState, Withheld};
use crate::sequencer::{Appended, NewEvent};
use crate::spec::ids::{Handle, SubjectId, Timestamp};

/// The API key behind an act, and its roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct By {
    pub(super) by: String,
    pub(super) roles: Vec<String>,
}

impl By {
    pub(super) fn of(caller: &Caller) -> Self {
        Self {
            by: caller.key.id.clone(),
            roles: caller.key.roles.iter().map(|role| role.as_str().to_owned()).collect(),
        }
    }
}

/// One of Oubliette's own events, read.
#[derive(Debug, Clone)]
pub(crate) struct Recorded<T> {
    pub(crate) index: u64,
    pub(crate) recorded_at: Timestamp,
    pub(crate) payload: T,
}

/// Reads the payload of an own event.
pub(super) fn recorded<T: DeserializeOwned>(event: &StoredEvent) -> Result<Recorded<T>, Error> {
    let damaged = || {
        let detail = format!(
            "the {} at index {} cannot be read",
            event.header.event_type, event.index
        );
        Error::new(Code::Damaged, detail)
    };
    let data = event.data().ok_or_else(damaged)?;
    let payload = serde_json::from_slice(&data.bytes).map_err(|error| damaged().caused_by(error))?;
    Ok(Recorded {
        index: event.index,
        recorded_at: event.header.recorded_at,
        payload,
    })
}

/// What an own event says, and whom it is found under.
pub(super) struct Act<'a, T> {
    pub(super) stream: &'static str,
    pub(super) event_type: &'static str,
    pub(super) payload: &'a T,
    /// The act's id: the event's correlation id.
    pub(super) id: Uuid,
    /// The living people that it is about.
    pub(super) handles: &'a [Handle],
}

impl Service {
    /// An own event about a log: where another log records it, it names the `origin`.
    pub(super) fn event_about<T: Serialize>(
        &self,
        ledger: &Ledger,
        (stream, event_type): (&'static str, &'static str),
        payload: &T,
        id: Uuid,
    ) -> Result<NewEvent, Error> {
        let data = serde_json::to_value(payload).map_err(internal)?;
        self.system_event(stream, event_type, &ledger.told(data), Some(id.to_string()))
    }

    /// Records an act.
    pub(super) async fn record_act<T: Serialize>(&self, ledger: &Ledger, act: Act<'_, T>) -> Result<Appended, Error> {
        let mut event = self.event_about(ledger, (act.stream, act.event_type), act.payload, act.id)?;
        event.subjects = act.handles.iter().map(|handle| (*handle, None)).collect();
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await
    }

    /// What was recorded just now, as reading it would give it.
    pub(super) fn as_recorded<T>(&self, appended: &Appended, payload: T) -> Recorded<T> {
        let placed = appended.events.first();
        let (index, recorded_at) = placed.map_or((0, self.clock.now()), |placed| (placed.index, placed.recorded_at));
        Recorded {
            index,
            recorded_at,
            payload,
        }
    }

    /// Ends what is withheld under an id.
    pub(super) fn give_back(&self, ledger: &Ledger, id: Uuid) -> Result<(), Error> {
        Ok(ledger.fencing.step(|| self.keystore.give_back(ledger.record.id, id))?)
    }

    /// The living person that a request names by the caller's id or by handle.
    ///
    /// # Errors
    /// `invalid_field` unless it is exactly one of the two; `subject_not_found`, `subject_erased`, `subject_erasing`.
    pub(super) fn living_one(
        &self,
        ledger: &Ledger,
        subject: Option<&SubjectId>,
        handle: Option<Handle>,
    ) -> Result<Handle, Error> {
        match (subject, handle) {
            (Some(subject), None) => self.living_subject(ledger, subject, "/subject"),
            (None, Some(handle)) => self.living(ledger, handle, "/handle").map(|()| handle),
            _ => Err(Error::field("/subject", "give either `subject` or `handle`")),
        }
    }

    /// As [`Service::living`], by the caller's id.
    pub(super) fn living_subject(&self, ledger: &Ledger, subject: &SubjectId, pointer: &str) -> Result<Handle, Error> {
        match self.keystore.resolve(ledger.record.id, subject)? {
            Resolution::Known(handle) => self.living(ledger, handle, pointer).map(|()| handle),
            Resolution::Erased => Err(subject_erased(pointer)),
            Resolution::Unknown => Err(never_seen(pointer)),
        }
    }

    /// Refuses who is erased, or whose erasure can no longer be stopped. Somebody in the grace of an erasure is living.
    pub(super) fn living(&self, ledger: &Ledger, handle: Handle, pointer: &str) -> Result<(), Error> {
        match self.keystore.state(ledger.record.id, handle)? {
            SubjectState::Active | SubjectState::Restricted => Ok(()),
            SubjectState::Erasing(request) if self.is_grace(ledger, handle, request) => Ok(()),
            SubjectState::Erasing(_) => Err(at(Code::SubjectErasing, pointer, "this person is being erased")),
            SubjectState::Erased(_) => Err(subject_erased(pointer)),
            SubjectState::Unknown => Err(never_seen(pointer)),
        }
    }

    /// Whether keys of somebody are withheld for the grace of this erasure.
    pub(super) fn is_grace(&self, ledger: &Ledger, handle: Handle, request: Uuid) -> bool {
        let withheld = self.keystore.withheld_of(ledger.record.id, handle);
        withheld
            .iter()
            .any(|withheld| withheld.id == request && withheld.why == Withheld::Grace)
    }
}

/// An error about one field.
pub(super) fn at(code: Code, pointer: &str, detail: impl Into<String>) -> Error {
    let error = FieldError {
        pointer: pointer.into(),
        detail: detail.into(),
    };
    Error::fields(code, vec![error])
}

pub(super) fn never_seen(pointer: &str) -> Error {
    at(
        Code::SubjectNotFound,
        pointer,
        "this ledger has never seen this person; nothing was recorded",
    )
}
