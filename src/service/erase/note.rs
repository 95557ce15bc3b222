//! Free text beside an act: sealed under the key of a living person whom it is about, and gone with that key.

use super::super::access::internal;
use super::super::{Code, Error, Ledger, Service};
use super::ErasureRequest;
use crate::keystore::{Resolution, Wanted};
use crate::sequencer::NewEvent;
use crate::spec::event::BodyKind;
use crate::spec::ids::{Category, Handle, SubjectId};

impl Service {
    /// The note is sealed under the first subject's key, in a category that this erasure destroys.
    pub(super) fn seal_note(
        &self,
        ledger: &Ledger,
        request: &ErasureRequest,
        handle: Option<Handle>,
        event: NewEvent,
    ) -> Result<NewEvent, Error> {
        let Some(note) = &request.note else { return Ok(event) };
        let categories = request.categories.as_ref();
        let category = categories.and_then(|categories| categories.first()).cloned();
        let subjects = request.subjects.as_deref().unwrap_or_default();
        let Some(handle) = handle else {
            return Err(nobody_to_seal_under());
        };
        self.seal_note_about(ledger, (note, category.unwrap_or_default()), (subjects, handle), event)
    }

    /// Adds a note to an own event, sealed under the key of the living person of this handle, who is one of the subjects.
    pub(in crate::service) fn seal_note_about(
        &self,
        ledger: &Ledger,
        (note, category): (&str, Category),
        (subjects, handle): (&[SubjectId], Handle),
        mut event: NewEvent,
    ) -> Result<NewEvent, Error> {
        if ledger.is_frozen() {
            return Err(frozen_note());
        }
        let subject = subjects.iter().find(|subject| {
            let resolved = self.keystore.resolve(ledger.record.id, subject).ok();
            resolved == Some(Resolution::Known(handle))
        });
        let subject = subject.ok_or_else(nobody_to_seal_under)?.clone();
        let key = self
            .keystore
            .provision(ledger.record.id, &[Wanted { subject, category }])?
            .pop();
        let unavailable = || {
            Error::new(
                Code::KeyUnavailable,
                "the note cannot be sealed: the person's key cannot be had",
            )
        };
        let key = key.and_then(Result::ok).ok_or_else(unavailable)?;
        let lease = self
            .keystore
            .sealing_key(ledger.record.id, &key)?
            .map_err(|_| unavailable())?;
        let ordinal = u16::try_from(event.bodies.len()).unwrap_or(u16::MAX);
        let text = serde_json::to_vec(note).map_err(internal)?;
        let sealed = self.seal_under(&lease, ledger, (event.event_ref, ordinal), &key, &text);
        event.bodies.push(self.body(BodyKind::Sealed, sealed));
        Ok(event)
    }
}

pub(super) fn frozen_note() -> Error {
    Error::field("/note", "cannot be sealed for a log that is frozen; leave it out")
}

fn nobody_to_seal_under() -> Error {
    Error::field(
        "/note",
        "is sealed under the person's key, so it needs `subjects` with a living person",
    )
}
