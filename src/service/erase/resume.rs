//! Erasures that broke off are taken up: at start before anything is served, and by a tick.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::super::{Error, Ledger, Service};
use super::history::Erasure;
use super::queue;
use crate::keystore::ErasureOrder;
use crate::keystore::vault::JournalEntry;
use crate::spec::ids::Timestamp;

impl Service {
    /// Applies every erasure that the ledger or the vault's journal knows to the key store, so that an old key store brings
    /// nobody back. Before anything is served.
    ///
    /// # Errors
    /// If store, key store or vault fails.
    pub async fn apply_erasures(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        self.blocking(ledger, Self::apply_missing).await
    }

    fn apply_missing(&self, ledger: &Ledger) -> Result<(), Error> {
        let (id, vault) = (ledger.record.id, self.keystore.vault());
        let fences = self.keystore.fences(id)?;
        let done: HashSet<_> = fences
            .iter()
            .filter(|fence| fence.destroyed.is_some())
            .map(|fence| &fence.order)
            .collect();
        for erasure in &self.erasures_about(ledger)? {
            let requested = &erasure.requested.payload;
            self.keystore.suppress(id, requested.request, requested.suppression())?;
        }
        let recorded = self.recorded_orders(ledger)?;
        let journaled = vault.journaled(id)?;
        // A vault that was put back from an older copy lacks what came after it: the next restore will need it.
        let known: HashSet<_> = journaled.iter().map(|entry| &entry.order).collect();
        let unjournaled: Vec<_> = recorded
            .iter()
            .filter(|entry| !known.contains(&entry.order))
            .cloned()
            .collect();
        if !unjournaled.is_empty()
            && let Err(error) = vault.journal(id, &unjournaled)
        {
            tracing::error!(error = %error, "the vault's journal lacks erasures that the ledger records, and takes none");
        }
        let all = journaled.into_iter().chain(recorded);
        let missing: HashSet<_> = all.filter(|entry| !done.contains(&entry.order)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.apply(ledger, missing.into_iter().collect())
    }

    fn apply(&self, ledger: &Ledger, missing: Vec<JournalEntry>) -> Result<(), Error> {
        tracing::warn!(
            orders = missing.len(),
            "erasures are missing in the key store; applying them"
        );
        let id = ledger.record.id;
        let orders: Vec<_> = missing.iter().map(|entry| entry.order.clone()).collect();
        // Without the fence nothing may be served. What comes after it can wait: nobody opens the data any more.
        ledger.fencing.step(|| self.keystore.fence(id, &orders))?;
        let mut of_requests: BTreeMap<Uuid, (u64, Vec<ErasureOrder>)> = BTreeMap::new();
        for JournalEntry { order, index } in missing.iter().cloned() {
            let (highest, orders) = of_requests.entry(order.request).or_default();
            *highest = index.max(*highest);
            orders.push(order);
        }
        let of_requests: Vec<_> = of_requests.into_values().collect();
        let applied = match self.keystore.vault().journal(id, &missing) {
            Ok(()) => self.destroy_apart(ledger, &of_requests),
            Err(error) => vec![Err(error.into())],
        };
        for error in applied.into_iter().filter_map(Result::err) {
            tracing::error!(error = %error, "an erasure is fenced, but its keys could not be destroyed");
            ledger.unfinished.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// What a log's erasures order.
    pub(in crate::service) fn recorded_orders(&self, ledger: &Ledger) -> Result<Vec<JournalEntry>, Error> {
        let erasures = self.erasures_about(ledger)?;
        let entries = erasures.iter().flat_map(|erasure| {
            let index = erasure.requested.index;
            let entry = move |order| JournalEntry { order, index };
            erasure.orders().into_iter().map(entry)
        });
        Ok(entries.collect())
    }

    /// Finishes erasures that broke off while the server ran on: a full disk, a vault that was away. Called every few
    /// seconds; looks only where something broke off.
    pub async fn retry_erasures(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            if !ledger.unfinished.load(Ordering::Acquire) {
                continue;
            }
            let _turn = ledger.erasing.turn.lock().await;
            // IMPORTANT: what a failed commit made durable all the same is seen only once the writer has recovered.
            if !self.sequencer.is_healthy() {
                continue;
            }
            ledger.unfinished.store(false, Ordering::Release);
            let resumed = self.resume_erasures(&ledger).await;
            let applied = self.apply_erasures(&ledger).await;
            // A completion whose append failed may be durable all the same: then nobody planned a look at what it left.
            ledger.residues.at_latest(Timestamp(0));
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
        // IMPORTANT: asked before the ledger is read: what is not in it by then is recorded as completed, or open.
        let completing = ledger.erasing.completing();
        let open = self.blocking(ledger, Self::open_erasures).await?;
        let open: Vec<_> = open
            .into_iter()
            .filter(|erasure| !completing.contains(&erasure.requested.payload.request))
            .collect();
        if open.is_empty() {
            return Ok(());
        }
        self.sequencer
            .fence(ledger.record.number, open.iter().flat_map(Erasure::fences).collect());
        let orders: Vec<_> = open.iter().flat_map(Erasure::orders).collect();
        let fence = move |service: &Self, ledger: &Ledger| {
            let id = ledger.record.id;
            Ok(ledger.fencing.step(|| service.keystore.fence(id, &orders))?)
        };
        self.blocking(ledger, fence).await?;
        for part in queue::parts(open) {
            tracing::info!(erasures = part.len(), "finishing erasures that were interrupted");
            if let Err(error) = self.finish(ledger, part).await {
                tracing::error!(error = %error, "erasures cannot be finished; trying again");
                ledger.unfinished.store(true, Ordering::Release);
            }
        }
        Ok(())
    }

    /// The erasures of a log's people that did not come to their end.
    fn open_erasures(&self, ledger: &Ledger) -> Result<Vec<Erasure>, Error> {
        if ledger.is_frozen() {
            // What was open in a log when it was frozen is for `apply_erasures`, and is on record as recovered.
            let mut about = self.erasures_about(ledger)?;
            about.retain(|erasure| erasure.is_open() && erasure.heirs > 0);
            return Ok(about);
        }
        self.kept_fold(ledger, &ledger.unended, |unended| {
            let open = unended.all().filter(|erasure| erasure.is_open());
            let own = open.filter(|erasure| erasure.requested.payload.origin.is_none());
            own.cloned().collect()
        })
    }
}
