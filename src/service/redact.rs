//! Redact: the `data` or `meta` of events leaves for good, because somebody wrote there what does not belong there
//! (docs/spec/08-erasure.md, `bodies.redacted`).
//!
//! | step | what | who can still read it |
//! | --- | --- | --- |
//! | 1 | `bodies.redacted` commits with the removal of the bodies and of the index rows that they alone gave | who reads the store's files |
//! | 2 | in the background: the files in which they lay are written anew; `redaction.completed` | who has a backup of before |
//!
//! Proofs stay what they are: headers and commitments are not touched. Oubliette's own events cannot be redacted. There is no
//! note: free text about a leak tends to repeat it, and no key would seal it.

mod certificate;
mod doomed;
mod request;

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::internal;
use super::erase::NextLook;
use super::own::{self, By, Fold, Unreadable, recorded};
use super::read::StoredEvent;
use super::{Caller, Code, Error, Ledger, Service};
use crate::sequencer::{Append, Refusal};
use crate::spec::certificate::KnownBackup;
use crate::spec::ids::Timestamp;
use crate::spec::system::{BodiesRedacted, Position};
use crate::store::Scrub;
use doomed::Doomed;
pub use request::{PublicBody, RedactedEvent, RedactionReason, RedactionRequest, RedactionView, RemovedBodies};
pub(super) use request::{check, events_of};

/// The stream of the redactions.
pub(super) const STREAM: &str = "$redactions";
const REDACTED: &str = "bodies.redacted";
const RECORDED: &str = "redaction.recorded";
const COMPLETED: &str = "redaction.completed";
/// Completions that are recorded in one write.
const AT_ONCE: usize = 100;
/// How often a request is planned anew while its streams grow.
const ATTEMPTS: usize = 16;
/// Before something that failed is tried again.
const RETRY: std::time::Duration = std::time::Duration::from_secs(30);

/// The payload of `redaction.recorded`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Recorded {
    redaction: Uuid,
    removed: RemovedBodies,
    #[serde(flatten)]
    by: By,
}

/// The payload of `redaction.completed`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Completed {
    redaction: Uuid,
    at: Timestamp,
}

/// A redaction as the ledger tells it.
#[derive(Debug, Clone)]
struct Redaction {
    id: Uuid,
    authority: u64,
    redacted_at: Timestamp,
    payload: BodiesRedacted,
    completed: Option<(u64, Completed)>,
}

impl Redaction {
    fn removed(&self) -> RemovedBodies {
        let positions = &self.payload.positions;
        let count = |body| {
            positions
                .iter()
                .filter(|position| PublicBody::of(position) == body)
                .count() as u64
        };
        RemovedBodies {
            meta: count(PublicBody::Meta),
            data: count(PublicBody::Data),
        }
    }

    /// Of all backups that were begun, those whose copy may hold the bodies: until the files are written anew, what was
    /// removed lies in them.
    fn backups(&self, begun: &[KnownBackup]) -> Vec<KnownBackup> {
        let end = self.completed.map_or(u64::MAX, |(index, _)| index);
        begun.iter().filter(|backup| backup.index < end).cloned().collect()
    }

    fn view(&self, ledger: &Ledger, begun: &[KnownBackup]) -> RedactionView {
        RedactionView {
            id: self.id,
            state: if self.completed.is_some() {
                "completed"
            } else {
                "redacted"
            },
            reason: self.payload.ground.to_string(),
            redacted_at: self.redacted_at,
            completed_at: self.completed.map(|(_, completed)| completed.at),
            authority: self.authority,
            removed: self.removed(),
            events: events_of(&self.payload.positions),
            backups: self.backups(begun),
            certificate: format!("/v1/ledgers/{}/redactions/{}/certificate", ledger.record.name, self.id),
        }
    }
}

impl Service {
    /// Redacts bodies. When it returns, no read of this server gives them any more; the files follow.
    ///
    /// # Errors
    /// `invalid_field`, `event_not_found`, `body_purged`, `legal_hold` (nothing is recorded then); whatever appending may
    /// answer.
    pub async fn redact(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: RedactionRequest,
    ) -> Result<RedactionView, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        check(&request.events)?;
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        // A task of its own: a caller who hangs up must not keep what is removed from being written out of the files.
        let redacting = async move {
            let redacted = service.remove_bodies(&on, by, Arc::new(request)).await;
            // It may be recorded although its append failed; `complete_redactions` looks.
            on.redacted.at_latest(Timestamp(0));
            redacted
        };
        tokio::spawn(redacting).await.map_err(internal)?
    }

    async fn remove_bodies(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        by: By,
        request: Arc<RedactionRequest>,
    ) -> Result<RedactionView, Error> {
        let _turn = self.removing.lock().await;
        // A hold stands either before this, and refuses it, or after it.
        let _holds = ledger.erasing.turn.lock().await;
        let id = self.fresh_id();
        for _ in 0..ATTEMPTS {
            let asked = Arc::clone(&request);
            let doom = move |service: &Self, ledger: &Ledger| service.doom_bodies(ledger, &asked);
            let doomed = self.blocking(ledger, doom).await?;
            match self.append_redaction(ledger, &by, (id, request.reason), doomed).await? {
                Err(Refusal::WrongExpectedVersion { .. }) => {} // a stream has grown: its name may stay
                Err(refusal) => return Err(refusal.into()),
                Ok(()) => {
                    let view = move |service: &Self, ledger: &Ledger| service.redaction(ledger, id);
                    return self.blocking(ledger, view).await;
                }
            }
        }
        let detail = "the streams of these events grow too fast; try again in a moment";
        Err(Error::new(Code::Overloaded, detail))
    }

    async fn append_redaction(
        &self,
        ledger: &Ledger,
        by: &By,
        (id, reason): (Uuid, RedactionReason),
        doomed: Doomed,
    ) -> Result<Result<(), Refusal>, Error> {
        let authority = BodiesRedacted {
            ground: reason.as_str().into(),
            positions: doomed.positions(),
        };
        let recorded = Recorded {
            redaction: id,
            removed: doomed.counts(),
            by: by.clone(),
        };
        let correlation = Some(id.to_string());
        let append = Append {
            ledger: ledger.record.number,
            expected: doomed.expected,
            events: vec![
                self.system_event(STREAM, REDACTED, &authority, correlation.clone())?,
                self.system_event(STREAM, RECORDED, &recorded, correlation)?,
            ],
            fences: Vec::new(),
            records: Vec::new(),
            removals: doomed.removals,
        };
        Ok(self.submit(append).await?.map(drop))
    }

    /// Writes the files anew in which redacted bodies lay. Called every few seconds; looks only where there is something to
    /// do. What fails is logged and tried again.
    pub async fn complete_redactions(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            let now = self.clock.now();
            // IMPORTANT: what a failed commit made durable all the same is seen only once the writer has recovered.
            if ledger.is_frozen() || !self.is_ready() || !ledger.redacted.is_due(now) {
                continue;
            }
            if let Err(error) = self.complete_redactions_of(&ledger).await {
                tracing::error!(ledger = %ledger.record.name, error = %error, "a redaction cannot be completed; trying again");
                ledger.redacted.at_latest(NextLook::after(now, RETRY));
            }
        }
    }

    async fn complete_redactions_of(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let all = self.blocking(ledger, Self::all_redactions).await?;
        let open: Vec<_> = all
            .into_iter()
            .filter(|redaction| redaction.completed.is_none())
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        let scrub = scrub_of(&open);
        let scrubbed = self.blocking(ledger, move |service, ledger| service.scrub_store(ledger, &scrub));
        if !scrubbed.await? {
            let detail = "files of the ledger store are still held";
            return Err(Error::new(Code::NotReady, detail));
        }
        let at = self.clock.now();
        let event = |redaction: &Redaction| {
            let completed = Completed {
                redaction: redaction.id,
                at,
            };
            self.system_event(STREAM, COMPLETED, &completed, Some(redaction.id.to_string()))
        };
        for part in open.chunks(AT_ONCE) {
            let events = part.iter().map(event).collect::<Result<Vec<_>, Error>>()?;
            self.append_removal(ledger, events, Vec::new()).await?;
        }
        Ok(())
    }

    /// One redaction.
    ///
    /// # Errors
    /// `not_found`.
    pub fn redaction(&self, ledger: &Ledger, id: Uuid) -> Result<RedactionView, Error> {
        let redaction = self.find_redaction(ledger, id)?;
        Ok(redaction.view(ledger, &self.begun_backups(ledger)?))
    }

    fn find_redaction(&self, ledger: &Ledger, id: Uuid) -> Result<Redaction, Error> {
        let known = self.fold_of(ledger, id, Redactions::default())?;
        let found = known.places.get(&id).and_then(|place| known.all.get(*place));
        match (found, known.unreadable.first()) {
            (Some(redaction), _) => Ok(redaction.clone()),
            (None, Some(event)) => Err(event.error()),
            (None, None) => Err(Error::new(Code::NotFound, "there is no redaction of this id")),
        }
    }

    /// All redactions, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn redactions(&self, ledger: &Ledger) -> Result<Vec<RedactionView>, Error> {
        let mut all = self.all_redactions(ledger)?;
        all.reverse();
        let begun = self.begun_backups(ledger)?;
        Ok(all.iter().map(|redaction| redaction.view(ledger, &begun)).collect())
    }

    fn all_redactions(&self, ledger: &Ledger) -> Result<Vec<Redaction>, Error> {
        Ok(self.fold_own(ledger, Redactions::default())?.all)
    }
}

/// All redactions, in the order of their events. An end that cannot be read is found again.
#[derive(Default)]
struct Redactions {
    all: Vec<Redaction>,
    places: HashMap<Uuid, usize>,
    unreadable: Vec<Unreadable>,
}

impl Fold for Redactions {
    const STREAM: &'static str = STREAM;
    const OF_OTHER_LOGS: bool = true;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        let id = event.meta.as_ref().and_then(|meta| meta.correlation_id.as_deref());
        let id: Option<Uuid> = id.and_then(|id| id.parse().ok());
        match event.header.event_type.as_str() {
            REDACTED => {
                let redacted: own::Recorded<BodiesRedacted> = recorded(event)?;
                let nameless = || Error::new(Code::Damaged, "a redaction without its id");
                let id = id.ok_or_else(nameless)?;
                self.places.insert(id, self.all.len());
                self.all.push(Redaction {
                    id,
                    authority: redacted.index,
                    redacted_at: redacted.recorded_at,
                    payload: redacted.payload,
                    completed: None,
                });
            }
            COMPLETED => {
                let completed: own::Recorded<Completed> = recorded(event)?;
                let place = self.places.get(&completed.payload.redaction);
                if let Some(redaction) = place.and_then(|place| self.all.get_mut(*place)) {
                    redaction.completed = Some((completed.index, completed.payload));
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

/// One pass over the files for all of them.
fn scrub_of(open: &[Redaction]) -> Scrub {
    let place = |position: &Position| (position.index, position.ordinal, PublicBody::of(position).kind());
    let positions = open.iter().flat_map(|redaction| &redaction.payload.positions);
    Scrub {
        bodies: positions.map(place).collect(),
        handles: Vec::new(),
        names: open.iter().any(|redaction| redaction.removed().meta > 0),
    }
}
