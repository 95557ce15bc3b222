//! New generations of a living person's keys, on demand.
//!
//! As for a change of epoch ([`super::rotation`]) it is noted beside the events before anything changes whose keys they are,
//! and the note leaves in the write of `subject.keys_renewed`: what was minted is told, at the latest at the next start.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::super::access::internal;
use super::super::{Caller, Code, Error, Ledger, Service};
use super::settled;
use crate::keystore::{KeyRef, Refusal};
use crate::spec::ids::{Category, Handle};

const STREAM: &str = "$subjects";
const RENEWED: &str = "subject.keys_renewed";
const RECORD: &str = "keys_renewal";

/// A subject's new keys, and the payload of `subject.keys_renewed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct KeysRenewed {
    /// The subject.
    pub handle: Handle,
    /// The keys that seal from now on.
    pub keys: Vec<RenewedKey>,
    /// The API key that asked.
    pub by: String,
}

/// A category's new key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RenewedKey {
    /// The category.
    pub category: Category,
    /// Its generation.
    pub generation: u32,
}

/// `POST /subjects/{handle}/rotations`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// Only these; absent: all that have a key.
    #[schema(min_items = 1, max_items = 64)]
    pub categories: Option<Vec<Category>>,
}

/// Keys that may have been minted.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    handle: Handle,
    /// Before that.
    newest: Vec<RenewedKey>,
    by: String,
}

impl Service {
    /// Mints the next generation of a subject's keys. What was sealed before stays open.
    ///
    /// # Errors
    /// `subject_not_found`, `subject_erasing`, `subject_erased`; whatever appending may answer.
    pub async fn renew_keys(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        handle: Handle,
        request: RenewRequest,
    ) -> Result<KeysRenewed, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        if request
            .categories
            .as_ref()
            .is_some_and(|named| !(1..=64).contains(&named.len()))
        {
            return Err(Error::field(
                "/categories",
                "must name 1 to 64 categories, or be absent for all",
            ));
        }
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), caller.key.id.clone());
        // A task of its own: a caller who hangs up must not leave new keys without their record.
        let task = tokio::spawn(async move {
            let _turn = on.erasing.turn.lock().await;
            // The record of an earlier renewal comes first: its note would be lost.
            service.settle_pending(&on).await?;
            let renewed = service.renew_and_record(&on, by, (handle, request)).await;
            renewed.inspect_err(|_| on.unrecorded.store(true, Ordering::Release))
        });
        task.await.map_err(internal)?
    }

    async fn renew_and_record(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: String,
        (handle, request): (Handle, RenewRequest),
    ) -> Result<KeysRenewed, Error> {
        let noted = by.clone();
        let mint = move |service: &Self, ledger: &Ledger| {
            let (id, categories) = (ledger.record.id, request.categories.as_deref());
            let pending = Pending {
                handle,
                newest: newest(service.keystore.keys_of(id, handle)?),
                by: noted,
            };
            service.note_pending(ledger, RECORD, &pending)?;
            let minted = service.keystore.renew_keys(id, handle, categories)?;
            minted.map_err(|refusal| match refusal {
                Refusal::Erasing(_) => Error::new(Code::SubjectErasing, "this person is being erased"),
                Refusal::Erased(_) => Error::new(Code::Erased, "this person was erased"),
                Refusal::Restricted => Error::new(Code::SubjectRestricted, "this person's data is restricted"),
                Refusal::Unavailable => Error::new(Code::SubjectNotFound, "this ledger has no such handle"),
            })
        };
        let minted = self.blocking(ledger, mint).await?;
        let renewed = KeysRenewed {
            handle,
            keys: newest(minted),
            by,
        };
        self.record_renewal(ledger, &renewed).await?;
        Ok(renewed)
    }

    async fn record_renewal(&self, ledger: &Ledger, renewed: &KeysRenewed) -> Result<(), Error> {
        let event = self.system_event(STREAM, RENEWED, renewed, None)?;
        let done = vec![settled(ledger, RECORD)];
        self.append_patiently(ledger, &event, done).await.map(drop)
    }

    /// Puts new keys on record that were minted before it came to that.
    pub(super) async fn settle_renewal(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        match self.blocking(ledger, Self::unrecorded_keys).await? {
            Some(renewed) if !ledger.is_frozen() => self.record_renewal(ledger, &renewed).await,
            _ => Ok(()),
        }
    }

    /// The keys that were minted and that no event tells of. Those of a person who was erased since are gone.
    fn unrecorded_keys(&self, ledger: &Ledger) -> Result<Option<KeysRenewed>, Error> {
        let Some(pending) = self.pending::<Pending>(ledger, RECORD)? else {
            return Ok(None);
        };
        let Pending {
            handle,
            newest: before,
            by,
        } = pending;
        let keys = match self.keystore.keys_of(ledger.record.id, handle) {
            Ok(keys) => keys,
            Err(error) => {
                // One person's damaged row must not keep the ends of epochs from being recorded.
                tracing::error!(ledger = %ledger.record.name, error = %error, "new keys of a person cannot be put on record");
                return Ok(None);
            }
        };
        let mut keys = newest(keys);
        let was_minted = |key: &RenewedKey| {
            let before = before.iter().find(|before| before.category == key.category);
            before.is_some_and(|before| before.generation < key.generation)
        };
        keys.retain(was_minted);
        if keys.is_empty() {
            self.store.put_records(&[settled(ledger, RECORD)])?;
            return Ok(None);
        }
        Ok(Some(KeysRenewed { handle, keys, by }))
    }
}

/// The newest key of each category.
fn newest(keys: Vec<KeyRef>) -> Vec<RenewedKey> {
    let mut newest = BTreeMap::new();
    for key in keys {
        let generation = newest.entry(key.category).or_insert(key.generation);
        *generation = key.generation.max(*generation);
    }
    let key = |(category, generation)| RenewedKey { category, generation };
    newest.into_iter().map(key).collect()
}
