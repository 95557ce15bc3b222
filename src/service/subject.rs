//! Data subjects: from the caller's id to the handle, and the state of a handle.

use std::sync::Arc;

use serde::Serialize;

use super::append::subject_erased;
use super::{Code, Error, Ledger, Service};
use crate::keystore::{Refusal, Resolution, SubjectState};
use crate::spec::ids::{Handle, SubjectId};

/// A subject by handle.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SubjectView {
    /// The handle.
    pub handle: Handle,
    /// `active`, `restricted`, `erasing` or `erased`.
    #[schema(pattern = "^(active|restricted|erasing|erased)$")]
    pub state: &'static str,
    /// Where the certificate is, once there is an erasure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

impl Service {
    /// The handle of a person, minted if new.
    ///
    /// # Errors
    /// `subject_erased`, `subject_erasing`.
    pub async fn subject_handle(self: &Arc<Self>, ledger: &Arc<Ledger>, subject: SubjectId) -> Result<Handle, Error> {
        self.blocking(ledger, |service, ledger| {
            let handle = service.keystore.provision_handles(ledger.record.id, &[subject])?.pop();
            let refused = |refusal| match refusal {
                Refusal::Erased(_) => subject_erased("/subject"),
                Refusal::Erasing(_) => Error::new(Code::SubjectErasing, "this person is being erased"),
                Refusal::Restricted => Error::new(Code::SubjectRestricted, "this person's data is restricted"),
                Refusal::Unavailable => Error::new(Code::KeyUnavailable, "the key store cannot say"),
            };
            let handle = handle.unwrap_or(Err(Refusal::Unavailable)).map_err(refused)?;
            service.tell(ledger, &[handle])?;
            Ok(handle)
        })
        .await
    }

    /// Looks a person up by id.
    ///
    /// # Errors
    /// `erased` and nothing else once erased; `subject_not_found` if never seen.
    pub fn look_up_subject(&self, ledger: &Ledger, subject: &SubjectId) -> Result<SubjectView, Error> {
        match self.keystore.resolve(ledger.record.id, subject)? {
            Resolution::Erased => Err(Error::new(Code::Erased, "this person was erased")),
            Resolution::Unknown => Err(Error::new(
                Code::SubjectNotFound,
                "this ledger has never seen this person",
            )),
            Resolution::Known(handle) => {
                let view = self.subject(ledger, handle)?;
                self.tell(ledger, &[handle])?;
                Ok(view)
            }
        }
    }

    /// Before a caller is told handles, or an event names them outside its header: from then on they are not forgotten, with or
    /// without an event about them.
    ///
    /// # Errors
    /// If the key store fails.
    pub(super) fn tell(&self, ledger: &Ledger, handles: &[Handle]) -> Result<(), Error> {
        Ok(self.keystore.confirm(ledger.record.id, handles)?)
    }

    /// The state of a handle.
    ///
    /// # Errors
    /// `subject_not_found`.
    pub fn subject(&self, ledger: &Ledger, handle: Handle) -> Result<SubjectView, Error> {
        let (state, request) = match self.keystore.state(ledger.record.id, handle)? {
            SubjectState::Active => ("active", None),
            SubjectState::Restricted => ("restricted", None),
            SubjectState::Erasing(request) => ("erasing", Some(request)),
            SubjectState::Erased(request) => ("erased", Some(request)),
            SubjectState::Unknown => {
                return Err(Error::new(Code::SubjectNotFound, "this ledger has no such handle"));
            }
        };
        let path = |request| format!("/v1/ledgers/{}/erasures/{request}/certificate", ledger.record.name);
        Ok(SubjectView {
            handle,
            state,
            certificate: request.map(path),
        })
    }
}
