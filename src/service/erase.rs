//! Erase: the saga (docs/spec/08-erasure.md). Crash-safe, idempotent, and resumed at start by the same function.
//!
//! | step | what | who can still open the person's data |
//! | --- | --- | --- |
//! | 1 | append `erasure.requested`; from that event on the sequencer refuses blocks about the person | key holders |
//! | 2 | durable fence in the key store; leases drain, caches drop (T1) | root on the machine |
//! | 3 | vault: the erasure stands in the journal, the next epoch key in a fresh slot | the same |
//! | 4 | one atomic key-store write: keys, identity and handle rows gone, touched buckets under new keys, suppression row and applied mark written | forensics on the key store's files together with the old epoch key |
//! | 5 | vault: the old epoch key destroyed, or retired for the backups taken under it (T2) | nobody; a restore of such a backup until the horizon |
//! | 6 | verify: no key row is left, sampled blocks do not open under what is left of their keys, the identity does not resolve | |
//! | 7 | append `erasure.completed`, which names what is still pending | |
//! | 8 | in the background ([`purge`]): ciphertext and residue leave the files (T3, T4) | |
//! | 9 | at the horizon: `epoch.destroyed` (T5, `epochs`) | |
//!
//! Steps 1 to 5 run for all requests that wait together (`queue`), 6 and 7 for each alone.

mod advance;
mod approve;
mod certificate;
mod destroy;
mod history;
mod note;
mod payload;
mod purge;
mod queue;
mod recipients;
mod request;
mod residue;
mod resume;
mod saga;
mod waiting;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Serialize;
use uuid::Uuid;

use super::own::{By, never_seen};
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::{ErasureOrder, Resolution, SubjectState};
use crate::spec::ids::{Category, Handle, Timestamp};
pub use certificate::CertificateForm;
pub(crate) use certificate::SignedCertificate;
pub(crate) use history::{Erasure, Unended};
pub(crate) use payload::Requested;
pub(super) use payload::{COMPLETED, RECOVERED, STREAM};
pub(crate) use purge::NextLook;
pub(super) use purge::{PURGES, removals_of};
pub use purge::{Purge, Purging};
pub(crate) use queue::Queue;
pub(crate) use recipients::KnownRecipients;
pub use request::ErasureRequest;
use request::check;
pub(super) use saga::sealed_blocks;
use waiting::Submitted;
pub(crate) use waiting::Waits;

/// An erasure as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ErasureView {
    /// The request.
    pub id: Uuid,
    /// `pending_approval`, `held`, `requested` (in its grace), `erasing`; `completed` once the keys are destroyed; `final`
    /// once nothing is pending; `cancelled`.
    #[schema(pattern = "^(pending_approval|held|requested|erasing|completed|final|cancelled)$")]
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
    /// When its grace is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destroy_after: Option<Timestamp>,
    /// The holds and restrictions that it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Uuid>,
    /// The second API key, under four eyes; while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// The API keys that want it cancelled, or had it cancelled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cancellation_by: Vec<String>,
    /// What it left pending, and what of it is gone since.
    pub residues: Vec<ResidueView>,
    /// Where the certificate is; absent before it has begun, and where every person was erased before: of such an erasure
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
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
    /// `active` (nothing was done yet), `erasing`, `erased` or `already_erased`.
    #[schema(pattern = "^(active|erasing|erased|already_erased)$")]
    pub state: &'static str,
}

/// Whom a request turned out to be about.
struct Targets {
    handles: Vec<Handle>,
    already_erased: u64,
}

/// What becomes of a request.
enum Decision {
    /// It begins at once.
    Begin(Box<Requested>),
    /// It is recorded and waits.
    Wait(Box<(Submitted, crate::sequencer::NewEvent)>),
}

impl Service {
    /// Erases people. Returns once the keys are destroyed and that is recorded, or once it is recorded that the erasure
    /// waits.
    ///
    /// # Errors
    /// `subject_not_found` (nothing is recorded), `subject_erasing`, `legal_hold`, `subject_restricted`, `invalid_field`;
    /// whatever appending may answer.
    pub async fn erase(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: ErasureRequest,
    ) -> Result<ErasureView, Error> {
        check(&request)?;
        for (at, word) in request.recipients.iter().flatten().enumerate() {
            self.refuse_personal(&format!("/recipients/{at}"), word.as_str())?;
        }
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
                Resolution::Unknown => return Err(never_seen(&format!("/subjects/{at}"))),
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
            SubjectState::Active | SubjectState::Restricted if named.contains(&handle) => {
                return Err(being_erased(pointer));
            }
            SubjectState::Active | SubjectState::Restricted if targets.handles.contains(&handle) => {}
            SubjectState::Active | SubjectState::Restricted => targets.handles.push(handle),
            SubjectState::Erased(_) => targets.already_erased += 1,
            SubjectState::Erasing(_) => return Err(being_erased(pointer)),
            SubjectState::Unknown => return Err(never_seen(pointer)),
        }
        Ok(())
    }

    /// Erases living people of these handles at once, whatever else is set; the caller holds the lock and has looked for
    /// holds. `run` is the run of retention that wants it. Gives the request.
    pub(super) async fn erase_living(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        (run, by): (Uuid, By),
        request: &Arc<ErasureRequest>,
        handles: &[Handle],
    ) -> Result<Uuid, Error> {
        let targets = Targets {
            handles: handles.to_vec(),
            already_erased: 0,
        };
        let payload = Requested {
            run: Some(run),
            ..self.requested(ledger, by, request, &targets)?
        };
        let id = payload.request;
        let erased = match self.request_erasure(ledger, request, payload).await {
            Ok(erasure) => self.run_saga(ledger, erasure).await,
            Err(error) => Err(error),
        };
        if erased.is_err() {
            ledger.unfinished.store(true, Ordering::Release);
        }
        erased.map(|_| id)
    }

    /// Steps 2 to 7 of one erasure, by who has the turn.
    async fn run_saga(self: &Arc<Self>, ledger: &Arc<Ledger>, erasure: Erasure) -> Result<Erasure, Error> {
        let mut deleted = self.delete_together(ledger, std::slice::from_ref(&erasure)).await?;
        let missing = || Error::new(Code::Internal, "an unexpected fault; see the server's log");
        let deleted = deleted.pop().ok_or_else(missing)??;
        self.complete(ledger, erasure, deleted).await
    }

    /// Whom a request is about, and whether it waits. `named` are those of requests before this one, which are not fenced
    /// yet.
    fn decide(
        &self,
        ledger: &Ledger,
        by: By,
        request: &ErasureRequest,
        named: &HashSet<Handle>,
    ) -> Result<Decision, Error> {
        let targets = self.targets(ledger, request, named)?;
        let held = self.refuse_held(ledger, request, &targets)?;
        let requested = self.requested(ledger, by, request, &targets)?;
        let grace_seconds = request.grace_seconds.unwrap_or(0).max(self.policy.grace_seconds);
        let waits = held || self.policy.four_eyes || grace_seconds > 0;
        if !waits || requested.subjects.is_empty() {
            return Ok(Decision::Begin(Box::new(requested)));
        }
        let submitted = Submitted {
            requested,
            four_eyes: self.policy.four_eyes,
            grace_seconds,
        };
        let first = submitted.requested.subjects.first().map(|named| named.handle);
        let event = self.seal_note(ledger, request, first, self.submitted_event(ledger, &submitted)?)?;
        Ok(Decision::Wait(Box::new((submitted, event))))
    }

    /// Whether holds or restrictions keep these people from being erased, and the request waits for them.
    fn refuse_held(&self, ledger: &Ledger, request: &ErasureRequest, targets: &Targets) -> Result<bool, Error> {
        let (holds, categories) = (self.active_holds(ledger)?, request.categories.as_deref());
        for handle in &targets.handles {
            if let Some(hold) = self.holds_on(ledger, &holds, *handle, categories)?.first() {
                if request.wait {
                    return Ok(true);
                }
                let detail = format!(
                    "this person's data is under {}; release it, or send `wait`: then the erasure runs when nothing holds \
                     it any more",
                    hold.named()
                );
                return Err(Error {
                    index: hold.unreadable_event(),
                    ..Error::new(Code::LegalHold, detail)
                });
            }
            if let Some(id) = self.restrictions_on(ledger, *handle, categories).first() {
                if request.wait {
                    return Ok(true);
                }
                let detail = format!(
                    "this person's data is restricted ({id}), which keeps it for the person; lift the restriction, or send \
                     `wait`"
                );
                return Err(Error::new(Code::SubjectRestricted, detail));
            }
        }
        Ok(false)
    }

    /// One erasure.
    ///
    /// # Errors
    /// `not_found`.
    pub fn erasure(&self, ledger: &Ledger, id: Uuid) -> Result<ErasureView, Error> {
        // In this order: one that begins in between is found by the second look.
        if let Some(waiting) = self.waiting_view(ledger, id)? {
            return Ok(waiting);
        }
        let erasure = self.find_erasure(ledger, id)?;
        let erasure = erasure.ok_or_else(|| Error::new(Code::NotFound, "there is no erasure of this id"))?;
        Ok(erasure.view(ledger))
    }

    /// All erasures, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn erasures(&self, ledger: &Ledger) -> Result<Vec<ErasureView>, Error> {
        let waiting = self.waiting_views(ledger)?;
        // Those that begin in between are in both: as begun, since the sort is stable.
        let begun = self.erasures_about(ledger)?;
        let mut views: Vec<_> = begun.iter().map(|erasure| erasure.view(ledger)).collect();
        views.extend(waiting);
        // Ids are in the order of time (UUIDv7), and an erasure that waited keeps its own.
        views.sort_by_key(|view| std::cmp::Reverse(view.id));
        views.dedup_by_key(|view| view.id);
        Ok(views)
    }
}

fn being_erased(pointer: &str) -> Error {
    let detail = format!("{pointer}: this person is being erased by another request");
    Error::new(Code::SubjectErasing, detail)
}

fn order(request: Uuid, handle: Handle, categories: Option<&Vec<Category>>) -> ErasureOrder {
    ErasureOrder {
        request,
        handle,
        categories: categories.cloned(),
    }
}
