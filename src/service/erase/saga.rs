//! The steps, and what the ledger tells of an erasure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::access::internal;
use super::super::append::blocking;
use super::super::epochs::EpochDestroyed;
use super::super::ledger::system_name;
use super::super::own::By;
pub(crate) use super::super::own::Recorded;
pub(in crate::service) use super::super::own::recorded;
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use super::{ErasedSubjectView, ErasureRequest, ErasureView, Targets, order};
use crate::keystore::vault::{Epoch, JournalEntry};
use crate::keystore::{Destroyed, ErasureOrder, Remains, Suppression, Wanted};
use crate::sequencer::{Appended, Fence, NewEvent, Placed};
use crate::spec::event::BodyKind;
use crate::spec::ids::{Category, Handle, Origin, SubjectId, Timestamp};
use crate::spec::seal::SealedBlock;
use crate::spec::system::{Basis, Epochs, ErasureRecovered, ErasureResidueRemoved, Reason};
use crate::store::{Direction, Lookup, RecordWrite};

pub(in crate::service) const STREAM: &str = "$erasures";
pub(super) const REQUESTED: &str = "erasure.requested";
const COMPLETED: &str = "erasure.completed";
pub(in crate::service) const RECOVERED: &str = "erasure.recovered";
pub(super) const RESIDUE_REMOVED: &str = "erasure.residue_removed";
/// Blocks of a subject that are tried after the destruction, and of all subjects of a request together. At least one of
/// each is.
const SAMPLE: u64 = 32;
const SAMPLE_TOGETHER: u64 = 512;

/// How long a full queue is left alone.
const QUEUE_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);

/// The payload of `erasure.requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requested {
    pub(crate) request: Uuid,
    /// The frozen log whose people these are; absent: this very log's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
    pub(crate) subjects: Vec<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) categories: Option<Vec<Category>>,
    pub(crate) basis: Basis,
    pub(crate) reason: Reason,
    pub(crate) due_at: Timestamp,
    /// When it was asked for, if it waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) submitted_at: Option<Timestamp>,
    /// What is kept of the subject ids; absent: a keyed hash, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suppression: Option<SuppressionRecord>,
    /// People of the request who were erased before.
    pub(crate) already_erased: u64,
    /// Subject ids or handles that were given.
    #[serde(default)]
    pub(crate) identifiers: u64,
    /// The API key that asked, and its roles.
    pub(crate) by: String,
    pub(crate) roles: Vec<String>,
}

/// What is kept of the subject ids: `"none"`, or `{"until": ...}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SuppressionRecord {
    None,
    Until(Timestamp),
}

impl Requested {
    /// What is kept of the subject ids.
    pub(crate) fn suppression(&self) -> Suppression {
        match self.suppression {
            None => Suppression::Forever,
            Some(SuppressionRecord::None) => Suppression::None,
            Some(SuppressionRecord::Until(time)) => Suppression::Until(time),
        }
    }
}

/// `{"handle": ...}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) handle: Handle,
}

/// The payload of `erasure.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Completed {
    pub(crate) request: Uuid,
    pub(crate) subjects: Vec<Outcome>,
    /// T1: access was fenced.
    pub(crate) fenced_at: Timestamp,
    /// The live keys were deleted, and all others are under another epoch key.
    pub(crate) keys_deleted_at: Timestamp,
    /// T2: the old epoch key was destroyed, or retired until `epoch_key_due_at`.
    pub(crate) keys_destroyed_at: Timestamp,
    /// The change of epoch; of several, from the first to the last.
    pub(crate) epochs: Epochs,
    /// Until when the last of `retired_epochs` lives; absent: no backup opens what was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch_key_due_at: Option<Timestamp>,
    /// The epochs up to the first of `epochs` whose keys live on for the sake of backups, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired_epochs: Vec<Epoch>,
    /// What the destroyed keys were used with.
    pub(crate) algorithms: Vec<String>,
    /// Bits of each destroyed key.
    pub(crate) key_bits: u16,
    pub(crate) verification: Verified,
    /// What this erasure has not reached yet.
    pub(crate) pending: Vec<String>,
}

/// What steps 2 to 5 did for one erasure.
#[derive(Debug, Clone)]
pub(super) struct Deleted {
    orders: Vec<Destroyed>,
    left: Remains,
    fenced_at: Timestamp,
    deleted_at: Timestamp,
    destroyed_at: Timestamp,
    /// The retired epochs under whose backups the people may be, and until when their keys live.
    retired: BTreeMap<Epoch, Timestamp>,
}

/// What was destroyed of one subject, as the key store counted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) handle: Handle,
    /// Subject keys destroyed.
    pub(crate) keys_destroyed: u64,
    /// Whether an identity row was destroyed, and a suppression row written in its place.
    pub(crate) identity_destroyed: bool,
    /// Events of the ledger that concern the subject.
    pub(crate) events: u64,
    /// Blocks that were sealed under those keys.
    pub(crate) blocks: u64,
}

/// How the destruction was verified.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// Blocks that were tried.
    pub(crate) sampled: u64,
    /// Blocks that opened: 0, or the erasure does not complete.
    pub(crate) opened: u64,
    /// Key rows about the subjects that the key store still holds, fences left aside: 0, or it does not complete.
    pub(crate) keys_left: u64,
    /// Whether an identity still resolves: false, or the erasure does not complete.
    pub(crate) identity_resolves: bool,
}

/// What is still possible after this stage, whatever the vault did.
pub(crate) const PENDING: [&str; 2] = ["key_store_files", "ciphertext"];

/// Pending as long as the old epoch key is retired and not destroyed.
pub(crate) const EPOCH_KEY: &str = "epoch_key";

/// The algorithms of the keys that an erasure destroys.
const ALGORITHMS: [&str; 3] = ["AES-256-GCM", "HKDF-SHA-256", "HMAC-SHA-256"];

/// Bits of every key that it destroys.
const KEY_BITS: u16 = 256;

/// An erasure as the ledger tells it.
#[derive(Debug, Clone)]
pub(crate) struct Erasure {
    pub(crate) requested: Recorded<Requested>,
    pub(crate) completed: Option<Recorded<Completed>>,
    /// How many heirs further on it is recorded: 0 in the log itself.
    pub(crate) heirs: usize,
    /// When a log that goes on put it on record again, its own end being lost.
    pub(crate) recovered: Option<Timestamp>,
    /// Those of its retired epochs whose keys were destroyed at their horizon.
    pub(crate) epochs_destroyed: Vec<Recorded<EpochDestroyed>>,
    /// What was pending and is gone since.
    pub(crate) removed: Vec<Recorded<ErasureResidueRemoved>>,
}

impl Erasure {
    /// One that is about to be recorded.
    pub(super) fn new(payload: Requested) -> Self {
        Self {
            requested: Recorded {
                index: 0,
                recorded_at: Timestamp(0),
                payload,
            },
            completed: None,
            heirs: 0,
            recovered: None,
            epochs_destroyed: Vec::new(),
            removed: Vec::new(),
        }
    }

    /// Where its request came to stand.
    pub(super) fn place(&mut self, placed: &Placed) {
        (self.requested.index, self.requested.recorded_at) = (placed.index, placed.recorded_at);
    }

    /// Whether its end is still to come.
    pub(super) fn is_open(&self) -> bool {
        self.completed.is_none() && self.recovered.is_none()
    }

    /// What is still to come, of what was pending when it was completed.
    pub(crate) fn pending(&self) -> Vec<&str> {
        let pending = self.completed.iter().flat_map(|completed| &completed.payload.pending);
        pending
            .map(String::as_str)
            .filter(|code| self.gone(code).is_none())
            .collect()
    }

    /// When something that was pending was gone.
    pub(super) fn gone(&self, code: &str) -> Option<Timestamp> {
        if code == EPOCH_KEY {
            return self.last_epoch_destroyed();
        }
        self.removed(code).map(|removed| removed.at)
    }

    /// When the last of the retired epoch keys was destroyed: every backup that holds the people's keys hangs under one.
    fn last_epoch_destroyed(&self) -> Option<Timestamp> {
        let retired = &self.completed.as_ref()?.payload.retired_epochs;
        let destroyed = |epoch: &Epoch| {
            let event = self.epochs_destroyed.iter().find(|event| event.payload.epoch == *epoch);
            event.map(|event| event.payload.destroyed_at)
        };
        let all: Option<Vec<_>> = retired.iter().map(destroyed).collect();
        all?.into_iter().max()
    }

    pub(super) fn orders(&self) -> Vec<ErasureOrder> {
        let requested = &self.requested.payload;
        let order = |named: &Named| order(requested.request, named.handle, requested.categories.as_ref());
        requested.subjects.iter().map(order).collect()
    }

    pub(super) fn fences(&self) -> impl Iterator<Item = Fence> {
        self.orders()
            .into_iter()
            .map(|order| Fence::closed(order.handle, order.categories))
    }

    pub(super) fn view(&self, ledger: &Ledger) -> ErasureView {
        let requested = &self.requested.payload;
        let (state, subject_state) = match &self.completed {
            Some(_) if self.pending().is_empty() => ("final", "erased"),
            Some(_) => ("completed", "erased"),
            None if self.recovered.is_some() => ("completed", "erased"),
            None => ("erasing", "erasing"),
        };
        let completed = self.completed.as_ref().map(|completed| &completed.payload);
        let named = requested
            .subjects
            .iter()
            .map(|named| (Some(named.handle), subject_state));
        let before = (0..requested.already_erased).map(|_| (None, "already_erased"));
        let subjects = named
            .chain(before)
            .map(|(handle, state)| ErasedSubjectView { handle, state });
        ErasureView {
            id: requested.request,
            state,
            subjects: subjects.collect(),
            categories: requested.categories.clone(),
            requested_at: requested.submitted_at.unwrap_or(self.requested.recorded_at),
            due_at: requested.due_at,
            keys_destroyed_at: completed.map(|completed| completed.keys_destroyed_at),
            epoch_key_due_at: completed.and_then(|completed| completed.epoch_key_due_at),
            completed_at: self
                .completed
                .as_ref()
                .map(|completed| completed.recorded_at)
                .or(self.recovered),
            destroy_after: None,
            holds: Vec::new(),
            approved_by: None,
            cancellation_by: Vec::new(),
            residues: self.residues(),
            certificate: Some(format!(
                "/v1/ledgers/{}/erasures/{}/certificate",
                ledger.record.name, requested.request
            )),
        }
    }
}

impl Service {
    /// What a request will be recorded as.
    pub(super) fn requested(
        &self,
        ledger: &Ledger,
        by: By,
        request: &ErasureRequest,
        targets: &Targets,
    ) -> Result<Requested, Error> {
        if ledger.is_frozen() && request.note.is_some() {
            return Err(frozen_note());
        }
        let now = self.clock.now();
        let suppression = match self.policy.suppression.at(now)? {
            Suppression::Forever => None,
            Suppression::None => Some(SuppressionRecord::None),
            Suppression::Until(time) => Some(SuppressionRecord::Until(time)),
        };
        Ok(Requested {
            request: self.fresh_id(),
            origin: ledger.is_frozen().then(|| ledger.record.origin.clone()),
            subjects: targets.handles.iter().map(|handle| Named { handle: *handle }).collect(),
            categories: request.categories.clone(),
            basis: request.basis,
            reason: request.reason,
            due_at: one_month_after(now)?,
            submitted_at: None,
            // Without a whole person there is no id to suppress.
            suppression: suppression.filter(|_| request.categories.is_none()),
            already_erased: targets.already_erased,
            identifiers: [
                request.subjects.as_ref().map(Vec::len),
                request.handles.as_ref().map(Vec::len),
            ]
            .into_iter()
            .flatten()
            .map(|given| given as u64)
            .sum(),
            by: by.by,
            roles: by.roles,
        })
    }

    /// Step 1. From this event on the sequencer refuses what names the subjects.
    pub(super) async fn request_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        request: &Arc<ErasureRequest>,
        payload: Requested,
    ) -> Result<Erasure, Error> {
        let mut event = self.system_event(STREAM, REQUESTED, &payload, Some(payload.request.to_string()))?;
        event.subjects = payload.subjects.iter().map(|named| (named.handle, None)).collect();
        let first = payload.subjects.first().map(|named| named.handle);
        let (service, on, asked) = (Arc::clone(self), Arc::clone(ledger), Arc::clone(request));
        let event = blocking(move || service.seal_note(&on, &asked, first, event)).await?;
        let mut erasure = Erasure::new(payload);
        let fences = erasure.fences().collect();
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], fences, Vec::new())
            .await?;
        if let Some(placed) = appended.events.first() {
            erasure.place(placed);
        }
        Ok(erasure)
    }

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
            resolved == Some(crate::keystore::Resolution::Known(handle))
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

    /// Steps 2 to 7 of erasures that broke off somewhere.
    pub(super) async fn finish(self: &Arc<Self>, ledger: &Arc<Ledger>, erasures: Vec<Erasure>) -> Result<(), Error> {
        let deleted = self.delete_together(ledger, &erasures).await?;
        for (erasure, mut deleted) in erasures.into_iter().zip(deleted) {
            let (service, on, orders) = (Arc::clone(self), Arc::clone(ledger), erasure.orders());
            // Nobody looked yet, if the key store had carried it out before: everywhere then.
            deleted.left = blocking(move || service.left_anywhere(&on, &orders)).await?;
            self.complete(ledger, erasure, deleted).await?;
        }
        Ok(())
    }

    fn left_anywhere(&self, ledger: &Ledger, orders: &[ErasureOrder]) -> Result<Remains, Error> {
        let mut left = Remains::default();
        for order in orders {
            let found = self.keystore.remains(ledger.record.id, order)?;
            left.keys += found.keys;
            left.leads_to_identity |= found.leads_to_identity;
        }
        Ok(left)
    }

    /// Steps 6 and 7.
    pub(super) async fn complete(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        erasure: Erasure,
        deleted: Deleted,
    ) -> Result<Erasure, Error> {
        let (service, on, from) = (Arc::clone(self), Arc::clone(ledger), erasure.clone());
        let completion = blocking(move || {
            let span = span!("erasure.verify");
            span.in_scope(|| service.completion(&on, &from, &deleted))
        });
        let payload = completion.await?;
        let request = payload.request;
        let event = self.system_event(STREAM, COMPLETED, &payload, Some(request.to_string()))?;
        let appended = traced!(self.append_at_last(ledger, &event), "erasure.complete", %request).await?;
        let placed = appended.events.first();
        let completed = placed.map(|placed| Recorded {
            index: placed.index,
            recorded_at: placed.recorded_at,
            payload,
        });
        ledger.residues.at_latest(Timestamp(0));
        Ok(Erasure { completed, ..erasure })
    }

    /// The keys are gone and the ledger must say so: a full queue is waited for.
    pub(in crate::service) async fn append_at_last(
        &self,
        ledger: &Ledger,
        event: &NewEvent,
    ) -> Result<Appended, Error> {
        self.append_patiently(ledger, event, Vec::new()).await
    }

    /// As [`Service::append_at_last`], with records beside the event.
    pub(in crate::service) async fn append_patiently(
        &self,
        ledger: &Ledger,
        event: &NewEvent,
        records: Vec<RecordWrite>,
    ) -> Result<Appended, Error> {
        loop {
            let events = vec![event.clone()];
            match self
                .append_system(ledger, Vec::new(), events, Vec::new(), records.clone())
                .await
            {
                Err(error) if error.code == Code::Overloaded => tokio::time::sleep(QUEUE_PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// Steps 2 to 5, for several at once. Every one may be repeated.
    pub(super) fn delete(&self, ledger: &Ledger, erasures: &[Erasure]) -> Result<Vec<Deleted>, Error> {
        let (id, vault) = (ledger.record.id, self.keystore.vault());
        let orders: Vec<_> = erasures.iter().flat_map(Erasure::orders).collect();
        for erasure in erasures {
            let requested = &erasure.requested.payload;
            self.keystore.suppress(id, requested.request, requested.suppression())?;
        }
        span!("erasure.fence", subjects = orders.len())
            .in_scope(|| ledger.fencing.step(|| self.keystore.fence(id, &orders)))?;
        let fenced_at = self.clock.now();
        let entries = erasures.iter().flat_map(|erasure| {
            let index = erasure.requested.index;
            let entry = move |order| JournalEntry { order, index };
            erasure.orders().into_iter().map(entry)
        });
        span!("erasure.journal").in_scope(|| vault.journal(id, &entries.collect::<Vec<_>>()))?;
        let mark = erasures.iter().map(|erasure| erasure.requested.index).max();
        let destroying = span!("erasure.destroy", subjects = orders.len());
        let done = destroying.in_scope(|| {
            ledger.fencing.step(|| {
                self.keystore
                    .destroy(id, &orders, mark.unwrap_or_default(), &self.horizon())
            })
        })?;
        let retired = self.retired(ledger)?;
        let mut orders = done.orders.into_iter();
        let deleted = erasures.iter().map(|erasure| {
            let orders: Vec<_> = orders.by_ref().take(erasure.requested.payload.subjects.len()).collect();
            // A backup under any earlier epoch has their keys, too.
            let from = orders.iter().map(|order| order.from).max().unwrap_or_default();
            let reach = retired.iter().filter(|(epoch, _)| **epoch <= from);
            Deleted {
                retired: reach.map(|(epoch, until)| (*epoch, *until)).collect(),
                orders,
                left: done.left,
                fenced_at,
                deleted_at: done.deleted_at,
                destroyed_at: done.destroyed_at,
            }
        });
        Ok(deleted.collect())
    }

    /// Step 6, and what it found as the payload of step 7.
    fn completion(&self, ledger: &Ledger, erasure: &Erasure, deleted: &Deleted) -> Result<Completed, Error> {
        let orders = erasure.orders();
        let mut verification = Verified {
            sampled: 0,
            opened: 0,
            keys_left: deleted.left.keys,
            identity_resolves: deleted.left.leads_to_identity,
        };
        let sample = (SAMPLE_TOGETHER / (orders.len() as u64).max(1)).clamp(1, SAMPLE);
        let mut subjects = Vec::with_capacity(orders.len());
        for (order, destroyed) in orders.iter().zip(&deleted.orders) {
            let (events, blocks) = self.verify_destroyed(ledger, order, sample, &mut verification)?;
            subjects.push(Outcome {
                handle: order.handle,
                keys_destroyed: destroyed.keys,
                identity_destroyed: destroyed.identities > 0,
                events,
                blocks,
            });
        }
        if verification.opened > 0 || verification.keys_left > 0 || verification.identity_resolves {
            let detail =
                "an erased person's data can still be opened; the erasure stays open and is tried again at start";
            return Err(Error::new(Code::Damaged, detail));
        }
        let due_at = deleted.retired.values().max().copied();
        let pending = PENDING.into_iter().chain(due_at.map(|_| EPOCH_KEY));
        let epochs = deleted.orders.iter().map(|order| (order.from, order.to));
        Ok(Completed {
            request: erasure.requested.payload.request,
            subjects,
            fenced_at: deleted.fenced_at,
            keys_deleted_at: deleted.deleted_at,
            keys_destroyed_at: deleted.destroyed_at,
            epochs: Epochs {
                from: epochs.clone().map(|(from, _)| from).min().unwrap_or_default(),
                to: epochs.map(|(_, to)| to).max().unwrap_or_default(),
            },
            epoch_key_due_at: due_at,
            retired_epochs: deleted.retired.keys().copied().collect(),
            algorithms: ALGORITHMS.map(str::to_owned).to_vec(),
            key_bits: KEY_BITS,
            verification,
            pending: pending.map(str::to_owned).collect(),
        })
    }

    /// Tries the newest blocks. Gives the events that concern the subject and the blocks that the order covers.
    fn verify_destroyed(
        &self,
        ledger: &Ledger,
        order: &ErasureOrder,
        sample: u64,
        seen: &mut Verified,
    ) -> Result<(u64, u64), Error> {
        let size = self.view(ledger)?.size();
        let lookup = Lookup::Handle(order.handle);
        let indexes = self
            .store
            .find(ledger.record.number, &lookup, 0..size, Direction::Backward, usize::MAX)?;
        let (concerned, mut blocks) = (indexes.len() as u64, 0);
        for index in indexes {
            let event = self.stored_event(ledger, index)?;
            for (ordinal, block) in sealed_blocks(&event) {
                let covered = order
                    .categories
                    .as_ref()
                    .is_none_or(|categories| categories.contains(&block.category));
                if block.handle != order.handle || !covered {
                    continue;
                }
                blocks += 1;
                if blocks <= sample {
                    seen.sampled += 1;
                    seen.opened += u64::from(self.open_block(ledger, &event.header, ordinal, &block)?.is_ok());
                }
            }
        }
        Ok((concerned, blocks))
    }

    /// The erasure of a request id.
    pub(in crate::service) fn find_erasure(&self, ledger: &Ledger, id: Uuid) -> Result<Option<Erasure>, Error> {
        if ledger.is_frozen() {
            let mut all = self.erasures_about(ledger)?.into_iter();
            return Ok(all.find(|erasure| erasure.requested.payload.request == id));
        }
        let size = self.view(ledger)?.size();
        let lookup = Lookup::Correlation(id.to_string().into());
        let indexes = self
            .store
            .find(ledger.record.number, &lookup, 0..size, Direction::Forward, usize::MAX)?;
        let mut history = History::default();
        for index in indexes {
            history.add(&self.stored_event(ledger, index)?)?;
        }
        let mut found = self.with_epochs(ledger, history.erasures)?.into_iter();
        Ok(found.find(|erasure| erasure.requested.payload.request == id))
    }

    /// Every erasure of a log's people: those that it records itself, and where it is frozen those that the logs record which
    /// go on from it.
    pub(in crate::service) fn erasures_about(&self, ledger: &Ledger) -> Result<Vec<Erasure>, Error> {
        let mut about = self.all_erasures(ledger)?;
        about.retain(|erasure| erasure.requested.payload.origin.is_none());
        for (heirs, heir) in (1..).zip(ledger.heirs()) {
            let events = self.erasure_events(heir)?;
            about.extend(
                self.with_epochs(heir, History::of(&events)?.erasures)?
                    .into_iter()
                    .filter_map(|erasure| {
                        let is_about = erasure.requested.payload.origin.as_ref() == Some(&ledger.record.origin);
                        is_about.then_some(Erasure { heirs, ..erasure })
                    }),
            );
            for event in events
                .iter()
                .filter(|event| event.header.event_type.as_str() == RECOVERED)
            {
                let recovered: Recorded<ErasureRecovered> = recorded(event)?;
                let request = recovered.payload.request;
                let mut open = about.iter_mut().filter(|erasure| erasure.completed.is_none());
                if let Some(erasure) = open.find(|erasure| erasure.requested.payload.request == request) {
                    erasure.recovered = Some(recovered.recorded_at);
                }
            }
        }
        Ok(about)
    }

    /// Every erasure that a log records, in the order of the requests.
    pub(in crate::service) fn all_erasures(&self, ledger: &Ledger) -> Result<Vec<Erasure>, Error> {
        let history = History::of(&self.erasure_events(ledger)?)?;
        self.with_epochs(ledger, history.erasures)
    }

    /// As [`Service::all_erasures`], without the events that are damaged, and the indexes of those.
    pub(in crate::service) fn readable_erasures(&self, ledger: &Ledger) -> Result<(Vec<Erasure>, Vec<u64>), Error> {
        let (mut history, mut damaged) = (History::default(), Vec::new());
        for index in self.own_indexes(ledger, STREAM, 0)? {
            let read = self.stored_event(ledger, index).and_then(|event| history.add(&event));
            match read {
                Err(error) if error.code == Code::Damaged => damaged.push(index),
                read => read?,
            }
        }
        // Where the ends of epochs cannot be read, their keys stand as pending.
        match self.with_epochs(ledger, history.erasures.clone()) {
            Err(error) if error.code == Code::Damaged => Ok((history.erasures, damaged)),
            erasures => Ok((erasures?, damaged)),
        }
    }

    /// The events of a log's erasures, in order.
    pub(in crate::service) fn erasure_events(&self, ledger: &Ledger) -> Result<Vec<StoredEvent>, Error> {
        self.own_stream(ledger, STREAM)
    }

    /// The events of one of Oubliette's own streams.
    pub(in crate::service) fn own_stream(
        &self,
        ledger: &Ledger,
        name: &'static str,
    ) -> Result<Vec<StoredEvent>, Error> {
        let indexes = self.own_indexes(ledger, name, 0)?.into_iter();
        indexes.map(|index| self.stored_event(ledger, index)).collect()
    }

    /// Where the events of such a stream stand that are published, without the first `seen` of them.
    pub(in crate::service) fn own_indexes(
        &self,
        ledger: &Ledger,
        name: &'static str,
        seen: u64,
    ) -> Result<Vec<u64>, Error> {
        let number = ledger.record.number;
        let Some(row) = self.store.stream_rows(number, &[system_name(name)?])?.pop().flatten() else {
            return Ok(Vec::new());
        };
        let (versions, size) = (seen + 1..row.version + 1, self.view(ledger)?.size());
        if versions.is_empty() {
            return Ok(Vec::new());
        }
        let mut indexes = self
            .store
            .stream_events(number, row.stream_ref, versions, Direction::Forward, usize::MAX)?;
        indexes.retain(|index| *index < size);
        Ok(indexes)
    }

    fn with_epochs(&self, ledger: &Ledger, mut erasures: Vec<Erasure>) -> Result<Vec<Erasure>, Error> {
        let destroyed = self.destroyed_epochs(ledger)?;
        for erasure in &mut erasures {
            if erasure.requested.payload.origin.is_some() {
                continue; // of a frozen log, which has epochs of its own
            }
            let Some(completed) = &erasure.completed else { continue };
            let retired = completed.payload.retired_epochs.iter();
            let later = retired.filter_map(|epoch| destroyed.get(epoch).filter(|event| event.index > completed.index));
            erasure.epochs_destroyed = later.cloned().collect();
        }
        Ok(erasures)
    }
}

pub(in crate::service) fn sealed_blocks(event: &StoredEvent) -> impl Iterator<Item = (u16, SealedBlock)> {
    event.bodies.iter().filter_map(|body| {
        let kind = event.header.bodies.get(usize::from(body.ordinal))?.kind;
        let block = (kind == BodyKind::Sealed)
            .then(|| SealedBlock::decode(&body.bytes).ok())
            .flatten()?;
        Some((body.ordinal, block))
    })
}

/// What an event says of an erasure.
enum Step {
    /// It was asked for.
    Requested(Recorded<Requested>),
    /// Its keys were found destroyed.
    Completed(Recorded<Completed>),
    /// Something that was pending is gone.
    Removed(Recorded<ErasureResidueRemoved>),
}

/// Reads one event of an erasure; `None` for any other.
fn step(event: &StoredEvent) -> Result<Option<Step>, Error> {
    // A type that callers cannot write, in a stream that they cannot write to: one that lacks its envelope is not passed over.
    if event.meta.as_ref().is_some_and(|meta| meta.stream.as_str() != STREAM) {
        return Ok(None);
    }
    Ok(match event.header.event_type.as_str() {
        REQUESTED => Some(Step::Requested(recorded(event)?)),
        COMPLETED => Some(Step::Completed(recorded(event)?)),
        RESIDUE_REMOVED => Some(Step::Removed(recorded(event)?)),
        _ => None,
    })
}

/// Erasures, gathered from their events.
#[derive(Default)]
struct History {
    erasures: Vec<Erasure>,
    places: HashMap<Uuid, usize>,
}

impl History {
    fn of(events: &[StoredEvent]) -> Result<Self, Error> {
        let mut history = Self::default();
        events.iter().try_for_each(|event| history.add(event))?;
        Ok(history)
    }

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match step(event)? {
            Some(Step::Requested(requested)) => {
                self.places.insert(requested.payload.request, self.erasures.len());
                self.erasures.push(Erasure {
                    requested,
                    completed: None,
                    heirs: 0,
                    recovered: None,
                    epochs_destroyed: Vec::new(),
                    removed: Vec::new(),
                });
            }
            Some(Step::Completed(completed)) => {
                let place = self.places.get(&completed.payload.request);
                if let Some(erasure) = place.and_then(|place| self.erasures.get_mut(*place)) {
                    erasure.completed = Some(completed);
                }
            }
            Some(Step::Removed(removed)) => {
                let place = self.places.get(&removed.payload.request);
                if let Some(erasure) = place.and_then(|place| self.erasures.get_mut(*place)) {
                    erasure.removed.push(removed);
                }
            }
            None => {}
        }
        Ok(())
    }
}

fn frozen_note() -> Error {
    Error::field("/note", "cannot be sealed for a log that is frozen; leave it out")
}

fn nobody_to_seal_under() -> Error {
    Error::field(
        "/note",
        "is sealed under the person's key, so it needs `subjects` with a living person",
    )
}

/// The legal limit: one calendar month (GDPR Art. 12(3)).
fn one_month_after(time: Timestamp) -> Result<Timestamp, Error> {
    use jiff::ToSpan;
    let micros = i64::try_from(time.0).map_err(internal)?;
    let start = jiff::Timestamp::from_microsecond(micros)
        .map_err(internal)?
        .to_zoned(jiff::tz::TimeZone::UTC);
    let due = start.checked_add(1.month()).map_err(internal)?.timestamp();
    u64::try_from(due.as_microsecond()).map(Timestamp).map_err(internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legal_month_is_a_calendar_month() {
        let due = |text: &str| {
            text.parse()
                .ok()
                .and_then(|time| one_month_after(time).ok())
                .map(|due| due.to_string())
                .unwrap_or_default()
        };
        assert_eq!(due("2026-01-31T10:00:00Z"), "2026-02-28T10:00:00.000000Z");
        assert_eq!(due("2026-11-21T10:00:00Z"), "2026-12-21T10:00:00.000000Z");
    }
}
