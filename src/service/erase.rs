//! Erase: the saga (docs/spec/08-erasure.md). Crash-safe, idempotent, and resumed at start by the same function.
//!
//! | step | what | who can still open the person's data |
//! | --- | --- | --- |
//! | 1 | append `erasure.requested`; from that event on the sequencer refuses blocks about the person | key holders |
//! | 2 | durable fence in the key store; leases drain, caches drop (T1) | root on the machine |
//! | 3 | vault: the erasure stands in the journal, the next epoch key in a fresh slot | the same |
//! | 4 | one atomic key-store write: keys, identity and handle rows gone, touched buckets under new keys, suppression row and applied mark written | forensics on the key store's files together with the old epoch key |
//! | 5 | vault: the old epoch key destroyed, or retired for the backups taken under it (T2) | nobody; a restore of such a backup until the horizon |
//! | 6 | verify: no key row is left, no key is lent, sampled blocks do not open, the identity does not resolve | |
//! | 7 | append `erasure.completed`, which names what is still pending | |
//! | 8 | in the background ([`purge`]): ciphertext and residue leave the files (T3, T4) | |
//! | 9 | at the horizon: `epoch.destroyed` (T5, `epochs`) | |
//!
//! Steps 1 to 5 run for all requests that wait together (`queue`), 6 and 7 for each alone.

mod certificate;
mod purge;
mod queue;
mod saga;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::append::blocking;
use super::{Caller, Code, Error, FieldError, Ledger, Service};
use crate::keystore::vault::JournalEntry;
use crate::keystore::{ErasureOrder, Resolution, SubjectState};
use crate::spec::ids::{Category, Handle, SubjectId, Timestamp};
use crate::spec::system::{Basis, Reason};
pub(crate) use certificate::SignedCertificate;
pub(crate) use purge::NextLook;
pub(super) use purge::PURGES;
pub use purge::{Purge, Purging};
pub(crate) use queue::Queue;
pub(crate) use saga::{Erasure, Recorded};
pub(super) use saga::{STREAM, recorded, sealed_blocks};

/// The most subjects of one request.
const MAX_SUBJECTS: usize = 1_000;
/// The most categories of one request.
const MAX_CATEGORIES: usize = 64;

/// `POST /erasures`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct ErasureRequest {
    /// By the caller's ids; this or `handles`.
    #[schema(min_items = 1, max_items = 1000)]
    pub subjects: Option<Vec<SubjectId>>,
    /// By handles; this or `subjects`.
    #[schema(min_items = 1, max_items = 1000)]
    pub handles: Option<Vec<Handle>>,
    /// Only these; absent: the whole person.
    #[schema(min_items = 1, max_items = 64)]
    pub categories: Option<Vec<Category>>,
    /// The legal ground.
    pub basis: Basis,
    /// Why.
    pub reason: Reason,
    /// Free text; sealed under the person's key, and dies with it.
    #[schema(max_length = 4096)]
    pub note: Option<String>,
    /// Whether to wait under a legal hold.
    #[serde(default)]
    pub wait: bool,
}

/// An erasure as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ErasureView {
    /// The request.
    pub id: Uuid,
    /// `erasing`; `completed` once the keys are destroyed; `final` once nothing is pending.
    #[schema(pattern = "^(erasing|completed|final)$")]
    pub state: &'static str,
    /// Whom it is about.
    pub subjects: Vec<ErasedSubjectView>,
    /// Only these categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// One month later: the legal limit (GDPR Art. 12(3)).
    pub due_at: Timestamp,
    /// T2: when the old epoch key was destroyed, or retired until `epoch_key_due_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys_destroyed_at: Option<Timestamp>,
    /// Until when the old epoch key lives for the sake of backups; absent: it was destroyed at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch_key_due_at: Option<Timestamp>,
    /// When the keys were found destroyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// What it left pending, and what of it is gone since.
    pub residues: Vec<ResidueView>,
    /// Where the certificate is.
    pub certificate: String,
}

/// Something that an erasure left pending.
#[derive(Debug, Clone, PartialEq, Serialize, utoipa::ToSchema)]
pub struct ResidueView {
    /// Its code, as the certificate has it.
    pub residue: String,
    /// `pending` or `removed`.
    #[schema(pattern = "^(pending|removed)$")]
    pub state: &'static str,
    /// When it was found gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
}

/// A subject of an erasure.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ErasedSubjectView {
    /// Absent for a person who was erased before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// `erasing`, `erased` or `already_erased`.
    #[schema(pattern = "^(erasing|erased|already_erased)$")]
    pub state: &'static str,
}

impl ErasureRequest {
    /// How many people it names.
    fn people(&self) -> usize {
        self.subjects.as_ref().map_or(0, Vec::len) + self.handles.as_ref().map_or(0, Vec::len)
    }
}

/// Whom a request turned out to be about.
struct Targets {
    handles: Vec<Handle>,
    already_erased: u64,
}

impl Service {
    /// Erases people. Returns once the keys are destroyed and that is recorded.
    ///
    /// # Errors
    /// `subject_not_found` (nothing is recorded), `subject_erasing`, `invalid_field`; whatever appending may answer.
    pub async fn erase(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: ErasureRequest,
    ) -> Result<ErasureView, Error> {
        check(&request)?;
        let (service, ledger, caller) = (Arc::clone(self), Arc::clone(ledger), caller.clone());
        // A task of its own: a caller who hangs up must not leave the erasure half done.
        let erasing = async move { service.erase_in_turn(&ledger, caller, Arc::new(request)).await };
        let task = tokio::spawn(traced!(erasing, "erase"));
        task.await.map_err(super::access::internal)?
    }

    /// Finds the handles. Every id must be known, or nothing happens. `named` are those of requests before this one, which
    /// are not fenced yet.
    fn targets(&self, ledger: &Ledger, request: &ErasureRequest, named: &HashSet<Handle>) -> Result<Targets, Error> {
        let mut targets = Targets {
            handles: Vec::new(),
            already_erased: 0,
        };
        for (at, subject) in request.subjects.iter().flatten().enumerate() {
            match self.keystore.resolve(ledger.record.id, subject)? {
                Resolution::Known(handle) => {
                    self.target(ledger, (handle, named), &format!("/subjects/{at}"), &mut targets)?
                }
                Resolution::Erased => targets.already_erased += 1,
                Resolution::Unknown => return Err(not_found(&format!("/subjects/{at}"))),
            }
        }
        for (at, handle) in request.handles.iter().flatten().enumerate() {
            self.target(ledger, (*handle, named), &format!("/handles/{at}"), &mut targets)?;
        }
        Ok(targets)
    }

    fn target(
        &self,
        ledger: &Ledger,
        (handle, named): (Handle, &HashSet<Handle>),
        pointer: &str,
        targets: &mut Targets,
    ) -> Result<(), Error> {
        match self.keystore.state(ledger.record.id, handle)? {
            SubjectState::Active if named.contains(&handle) => return Err(being_erased(pointer)),
            SubjectState::Active if targets.handles.contains(&handle) => {}
            SubjectState::Active => targets.handles.push(handle),
            SubjectState::Erased(_) => targets.already_erased += 1,
            SubjectState::Erasing(_) => return Err(being_erased(pointer)),
            SubjectState::Unknown => return Err(not_found(pointer)),
        }
        Ok(())
    }

    /// One erasure.
    ///
    /// # Errors
    /// `not_found`.
    pub fn erasure(&self, ledger: &Ledger, id: Uuid) -> Result<ErasureView, Error> {
        let erasure = self.find_erasure(ledger, id)?;
        let erasure = erasure.ok_or_else(|| Error::new(Code::NotFound, "there is no erasure of this id"))?;
        Ok(erasure.view(ledger))
    }

    /// All erasures, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn erasures(&self, ledger: &Ledger) -> Result<Vec<ErasureView>, Error> {
        let mut views: Vec<_> = self
            .all_erasures(ledger)?
            .iter()
            .map(|erasure| erasure.view(ledger))
            .collect();
        views.reverse();
        Ok(views)
    }

    /// Applies every erasure that the ledger or the vault's journal knows to the key store, so that an old key store brings
    /// nobody back. Before anything is served.
    ///
    /// # Errors
    /// If store, key store or vault fails.
    pub async fn apply_erasures(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        blocking(move || {
            let id = on.record.id;
            let fences = service.keystore.fences(id)?;
            let done: HashSet<_> = fences
                .iter()
                .filter(|fence| fence.destroyed.is_some())
                .map(|fence| &fence.order)
                .collect();
            let recorded = service.all_erasures(&on)?;
            let recorded = recorded.iter().flat_map(|erasure| {
                erasure.orders().into_iter().map(|order| JournalEntry {
                    order,
                    index: erasure.requested.index,
                })
            });
            let journaled = service.keystore.vault().journaled(id)?;
            let missing: HashSet<_> = journaled
                .into_iter()
                .chain(recorded)
                .filter(|entry| !done.contains(&entry.order))
                .collect();
            if missing.is_empty() {
                return Ok(());
            }
            let missing: Vec<_> = missing.into_iter().collect();
            tracing::warn!(
                orders = missing.len(),
                "erasures are missing in the key store; applying them"
            );
            let orders: Vec<_> = missing.iter().map(|entry| entry.order.clone()).collect();
            // Without the fence nothing may be served. What comes after it can wait: nobody opens the data any more.
            on.fencing.step(|| service.keystore.fence(id, &orders))?;
            let mark = missing.iter().map(|entry| entry.index).max().unwrap_or_default();
            let applied = service.keystore.vault().journal(id, &missing);
            let destroy = || service.keystore.destroy(id, &orders, mark, &service.horizon());
            if let Err(error) = applied.and_then(|()| on.fencing.step(destroy)) {
                tracing::error!(error = %error, "erasures are fenced, but their keys could not be destroyed");
                on.unfinished.store(true, Ordering::Release);
            }
            Ok(())
        })
        .await
    }

    /// Finishes erasures that broke off while the server ran on: a full disk, a vault that was away. Called every few
    /// seconds; looks only where something broke off.
    pub async fn retry_erasures(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            if !ledger.unfinished.load(Ordering::Acquire) {
                continue;
            }
            let _turn = ledger.erasing.turn.lock().await;
            ledger.unfinished.store(false, Ordering::Release);
            let resumed = self.resume_erasures(&ledger).await;
            let applied = self.apply_erasures(&ledger).await;
            if let Err(error) = resumed.and(applied) {
                tracing::error!(ledger = %ledger.record.name, error = %error, "erasures cannot be taken up; trying again");
                ledger.unfinished.store(true, Ordering::Release);
            }
        }
    }

    /// Finishes what a crash left open: fences first, for all of them, then each saga. Before anything is served. A saga
    /// that cannot be finished now is logged and tried again; its subject stays fenced.
    ///
    /// # Errors
    /// If a fence cannot be set.
    pub async fn resume_erasures(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let open: Vec<_> = self
            .all_erasures(ledger)?
            .into_iter()
            .filter(|erasure| erasure.completed.is_none())
            .collect();
        let orders: Vec<_> = open.iter().flat_map(Erasure::orders).collect();
        if orders.is_empty() && open.is_empty() {
            return Ok(());
        }
        self.sequencer
            .fence(ledger.record.number, open.iter().flat_map(Erasure::fences).collect());
        let (service, on) = (Arc::clone(self), Arc::clone(ledger));
        blocking(move || Ok(on.fencing.step(|| service.keystore.fence(on.record.id, &orders))?)).await?;
        for part in queue::parts(open) {
            tracing::info!(erasures = part.len(), "finishing erasures that were interrupted");
            if let Err(error) = self.finish(ledger, part).await {
                tracing::error!(error = %error, "erasures cannot be finished; trying again");
                ledger.unfinished.store(true, Ordering::Release);
            }
        }
        Ok(())
    }
}

fn check(request: &ErasureRequest) -> Result<(), Error> {
    let given = [
        request.subjects.as_ref().map(Vec::len),
        request.handles.as_ref().map(Vec::len),
    ];
    let count = match given {
        [Some(count), None] | [None, Some(count)] => count,
        _ => return Err(Error::field("/subjects", "give either `subjects` or `handles`")),
    };
    if !(1..=MAX_SUBJECTS).contains(&count) {
        return Err(Error::field(
            "/subjects",
            format!("must name 1 to {MAX_SUBJECTS} people"),
        ));
    }
    if let Some(categories) = &request.categories {
        let distinct: HashSet<_> = categories.iter().collect();
        if categories.is_empty() || categories.len() > MAX_CATEGORIES || distinct.len() != categories.len() {
            let detail =
                format!("must name 1 to {MAX_CATEGORIES} different categories, or be absent for the whole person");
            return Err(Error::field("/categories", detail));
        }
    }
    if request.note.as_ref().is_some_and(|note| note.len() > 4_096) {
        return Err(Error::field("/note", "must be at most 4,096 bytes"));
    }
    Ok(())
}

fn being_erased(pointer: &str) -> Error {
    let detail = format!("{pointer}: this person is being erased by another request");
    Error::new(Code::SubjectErasing, detail)
}

fn not_found(pointer: &str) -> Error {
    let detail = "this ledger has never seen this person; nothing was recorded".to_owned();
    Error::fields(
        Code::SubjectNotFound,
        vec![FieldError {
            pointer: pointer.into(),
            detail,
        }],
    )
}

fn order(request: Uuid, handle: Handle, categories: Option<&Vec<Category>>) -> ErasureOrder {
    ErasureOrder {
        request,
        handle,
        categories: categories.cloned(),
    }
}
