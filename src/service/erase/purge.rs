//! Step 8 of the saga, in the background: what an erasure left pending leaves the files (docs/spec/08-erasure.md).
//!
//! | | what | recorded as |
//! | --- | --- | --- |
//! | 1 | the sealed blocks that completed erasures cover leave the ledger's store, in parts of at most 10,000 | `bodies.purged`, in the same write |
//! | 2 | the key store's files are written anew (T3) | `erasure.residue_removed`, `key_store_files` |
//! | 3 | the ledger store's files in which the blocks lay are written anew (T4) | `erasure.residue_removed`, `ciphertext` |
//!
//! Whatever breaks off is found again by the same look: blocks by the index of the subject's handle, which goes with them;
//! what is recorded by the events. So it starts anew at the next look and after a restart. Erasures wait a while so that
//! several share one list, which then tells nobody which blocks belonged to one person; `prompt` does not wait.

mod blocks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use metrics::histogram;
use serde::{Deserialize, Serialize};

use super::super::ledger::system_name;
use super::super::{Code, Error, Ledger, Service};
use super::history::Erasure;
use super::payload::{RESIDUE_REMOVED, STREAM};
use super::residue::{derived, is_alone, residue_removed, scrub_of, serves};
use crate::sequencer::{Append, Appended, NewEvent};
use crate::spec::ids::Timestamp;
use crate::spec::system::{BodiesPurged, ErasureResidueRemoved};
use crate::store::{Direction, Lookup, Removal, Scrub};
pub(in crate::service) use blocks::removals_of;

/// The stream of the purges.
pub(in crate::service) const PURGES: &str = "$purges";
pub(in crate::service) const PURGED: &str = "bodies.purged";
/// The residues that this removes, as `erasure.completed` names them.
pub(in crate::service) const KEY_STORE_FILES: &str = "key_store_files";
pub(in crate::service) const CIPHERTEXT: &str = "ciphertext";

/// Erasures that are gathered at once.
const MAX_GATHERED: usize = 1_000;
/// Between two parts, so that events of callers have their turn.
const PART_PAUSE: Duration = Duration::from_millis(20);
/// Bytes a second that are written anew, on average: a fraction of what a slow disk takes.
const BYTES_PER_SECOND: u64 = 64 << 20;
/// Before something that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// When ciphertext leaves the ledger's store after an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purge {
    /// After a while, several people's together.
    #[default]
    Deferred,
    /// At once; one person's blocks may then be listed together, for ever.
    Prompt,
    /// Never: sealed blocks stay, without a key.
    Never,
}

/// How residues are removed.
#[derive(Debug, Clone, Copy)]
pub struct Purging {
    /// Whether and when sealed blocks leave.
    pub purge: Purge,
    /// How long erasures are gathered, from the first one.
    pub delay: Duration,
}

impl Default for Purging {
    fn default() -> Self {
        Self {
            purge: Purge::default(),
            delay: Duration::from_secs(600),
        }
    }
}

impl Purging {
    fn delay(&self) -> Duration {
        if self.purge == Purge::Prompt {
            Duration::ZERO
        } else {
            self.delay
        }
    }
}

/// When to look at a ledger's residues next: µs since 1970; `u64::MAX`: when another erasure completes.
#[derive(Debug, Default)]
pub(crate) struct NextLook(AtomicU64);

impl NextLook {
    pub(in crate::service) fn after(time: Timestamp, pause: Duration) -> Timestamp {
        Timestamp(
            time.0
                .saturating_add(u64::try_from(pause.as_micros()).unwrap_or(u64::MAX)),
        )
    }

    pub(in crate::service) fn at_latest(&self, time: Timestamp) {
        self.0.fetch_min(time.0, Ordering::AcqRel);
    }

    /// Whether it is time; then nothing is planned any more.
    pub(in crate::service) fn is_due(&self, now: Timestamp) -> bool {
        self.0.load(Ordering::Acquire) <= now.0 && self.0.swap(u64::MAX, Ordering::AcqRel) <= now.0
    }
}

/// A `bodies.purged`, and its index.
pub(in crate::service) type Purged = (u64, BodiesPurged);

impl Service {
    /// Removes residues where it is time to. Called every few seconds; looks only where an erasure completed. What fails is
    /// logged and tried again.
    pub async fn remove_residues(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            // IMPORTANT: a frozen log has no event that could authorise it: its sealed blocks stay.
            if ledger.is_frozen() || !self.is_ready() || !ledger.residues.is_due(self.clock.now()) {
                continue;
            }
            match self.remove_residues_of(&ledger).await {
                Ok(Some(next)) => ledger.residues.at_latest(next),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(ledger = %ledger.record.name, error = %error, "residues of erasures cannot be removed; trying again");
                    ledger.residues.at_latest(NextLook::after(self.clock.now(), RETRY));
                }
            }
        }
    }

    /// Tells when to look again, if anything is left.
    async fn remove_residues_of(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<Option<Timestamp>, Error> {
        let purge = self.purging.purge;
        let work = move |service: &Self, ledger: &Ledger| {
            let unpurged = ledger.unpurged.lock().clone();
            let has_work = |erasure: &&Erasure| match unpurged.contains(&erasure.id()) {
                true => erasure.has_pending(KEY_STORE_FILES),
                false => erasure.has_work(purge),
            };
            // What a frozen log left is not in this one's store rows: nothing may be recorded as gone from there.
            service.kept_fold(ledger, &ledger.unended, |unended| {
                let own = unended
                    .all()
                    .filter(|erasure| erasure.requested.payload.origin.is_none());
                own.filter(has_work).cloned().collect()
            })
        };
        let mut open: Vec<Erasure> = self.blocking(ledger, work).await?;
        let completed = open.iter().filter_map(|erasure| erasure.completed.as_ref());
        let Some(first) = completed.map(|completed| completed.recorded_at).min() else {
            return Ok(None);
        };
        let due = NextLook::after(first, self.purging.delay());
        if due > self.clock.now() {
            return Ok(Some(due));
        }
        let more = open.len() > MAX_GATHERED;
        open.truncate(MAX_GATHERED);
        if purge != Purge::Never {
            self.purge_blocks(ledger, &open).await?;
        }
        let now = self.clock.now();
        if !self.scrub_keys(ledger, &open).await? || (purge != Purge::Never && !self.scrub_blocks(ledger, open).await?)
        {
            return Ok(Some(NextLook::after(now, RETRY)));
        }
        Ok(more.then_some(now))
    }

    /// Appends events of Oubliette's own, the first of which removes bodies: a full queue is waited for.
    pub(in crate::service) async fn append_removal(
        &self,
        ledger: &Ledger,
        events: Vec<NewEvent>,
        removals: Vec<Removal>,
    ) -> Result<Appended, Error> {
        loop {
            let append = Append {
                ledger: ledger.record.number,
                expected: Vec::new(),
                events: events.clone(),
                fences: Vec::new(),
                records: Vec::new(),
                removals: removals.clone(),
            };
            match self.submit(append).await?.map_err(Error::from) {
                Err(error) if error.code == Code::Overloaded => tokio::time::sleep(PART_PAUSE).await,
                answer => return answer,
            }
        }
    }

    /// T3. Whether the key store's files hold nothing of the erased any more.
    async fn scrub_keys(self: &Arc<Self>, ledger: &Arc<Ledger>, open: &[Erasure]) -> Result<bool, Error> {
        let pending: Vec<_> = open
            .iter()
            .filter(|erasure| erasure.has_pending(KEY_STORE_FILES))
            .collect();
        if pending.is_empty() {
            return Ok(true);
        }
        let started = Instant::now();
        let scrub = |service: &Self, _: &Ledger| Ok(service.keystore.scrub()?);
        if !self.blocking(ledger, scrub).await? {
            tracing::warn!("files of the key store are still held or could not be written anew; trying again");
            return Ok(false);
        }
        histogram!("oubliette_scrub_seconds", "store" => "keystore").record(started.elapsed());
        let at = self.clock.now();
        let removed = pending
            .into_iter()
            .map(|erasure| residue_removed(erasure, KEY_STORE_FILES, at));
        self.record_removed(ledger, removed.collect()).await.map(|()| true)
    }

    /// T4. Whether the ledger store's files hold no block of the erased any more.
    async fn scrub_blocks(self: &Arc<Self>, ledger: &Arc<Ledger>, open: Vec<Erasure>) -> Result<bool, Error> {
        let mut pending = open;
        pending.retain(|erasure| erasure.has_pending(CIPHERTEXT));
        let Some(first) = pending.iter().map(|erasure| erasure.requested.index).min() else {
            return Ok(true);
        };
        let (purges, unread) = self
            .blocking(ledger, move |service, ledger| service.purges_since(ledger, first))
            .await?;
        // A purge that cannot be read may have served all that were completed by then.
        let served = |erasure: &Erasure| {
            let completed = erasure.completed.as_ref().map(|completed| completed.index);
            unread.iter().any(|purge| completed.is_some_and(|index| index < *purge))
        };
        let unpurged = pending.iter().filter(|erasure| served(erasure)).map(Erasure::id);
        ledger.unpurged.lock().extend(unpurged);
        let scrub = scrub_of(&pending, &purges);
        let started = Instant::now();
        let scrubbed = self.blocking(ledger, move |service, ledger| service.scrub_store(ledger, &scrub));
        if !scrubbed.await? {
            tracing::warn!("files of the ledger store are still held or could not be written anew; trying again");
            return Ok(false);
        }
        histogram!("oubliette_scrub_seconds", "store" => "ledger").record(started.elapsed());
        // What was found has left the files. Whose blocks could not all be found stays pending.
        pending.retain(|erasure| !ledger.unpurged.lock().contains(&erasure.id()));
        if pending.is_empty() {
            return Ok(true);
        }
        let at = self.clock.now();
        let removed = pending.iter().map(|erasure| {
            let own: Vec<_> = purges.iter().filter(|(_, purge)| serves(purge, erasure)).collect();
            ErasureResidueRemoved {
                purges: Some(own.iter().map(|(index, _)| *index).collect()),
                alone: Some(own.iter().any(|(_, purge)| is_alone(purge, erasure))),
                derived: Some(derived(erasure, at)),
                ..residue_removed(erasure, CIPHERTEXT, at)
            }
        });
        self.record_removed(ledger, removed.collect()).await.map(|()| true)
    }

    /// Rewrites the files in which removed bodies lay, at a bounded rate, until the server stops.
    pub(in crate::service) fn scrub_store(&self, ledger: &Ledger, scrub: &Scrub) -> Result<bool, Error> {
        let mut pause = |bytes: u64| {
            let until = Instant::now() + Duration::from_millis(bytes.saturating_mul(1_000) / BYTES_PER_SECOND);
            while Instant::now() < until && !self.stopping.load(Ordering::Acquire) {
                std::thread::sleep(PART_PAUSE);
            }
            !self.stopping.load(Ordering::Acquire)
        };
        Ok(self.store.scrub(ledger.record.number, scrub, &mut pause)?)
    }

    async fn record_removed(&self, ledger: &Ledger, removed: Vec<ErasureResidueRemoved>) -> Result<(), Error> {
        let event = |removed: &ErasureResidueRemoved| {
            let request = Some(removed.request.to_string());
            self.system_event(STREAM, RESIDUE_REMOVED, removed, request)
        };
        let events = removed.iter().map(event).collect::<Result<Vec<_>, _>>()?;
        self.append_removal(ledger, events, Vec::new()).await.map(drop)
    }

    /// Every `bodies.purged` after an index, and the indexes of those that cannot be read.
    pub(in crate::service) fn purges_since(
        &self,
        ledger: &Ledger,
        index: u64,
    ) -> Result<(Vec<Purged>, Vec<u64>), Error> {
        let lookup = Lookup::Type(system_name(PURGED)?);
        let indexes = index..self.view(ledger)?.size();
        let (number, all) = (ledger.record.number, usize::MAX);
        let found = self.store.find(number, &lookup, indexes, Direction::Forward, all)?;
        let (mut purges, mut unread) = (Vec::with_capacity(found.len()), Vec::new());
        for index in found {
            for event in self.readable_events(ledger, &[index], &mut unread)? {
                match event.data().map(|data| serde_json::from_slice(&data.bytes)) {
                    Some(Ok(purge)) => purges.push((index, purge)),
                    _ => unread.push(index),
                }
            }
        }
        Ok((purges, unread))
    }
}
