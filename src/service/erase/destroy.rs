//! Steps 2 to 5, for several erasures at once; one whose keys cannot be destroyed keeps no other from it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::{Error, Ledger, Service};
use super::history::Erasure;
use super::queue::not_answered;
use crate::keystore::vault::{Epoch, JournalEntry};
use crate::keystore::{Destroyed, Destruction, ErasureOrder, Places, Remains};
use crate::spec::ids::Timestamp;

/// What steps 2 to 5 did for one erasure.
#[derive(Debug, Clone)]
pub(super) struct Deleted {
    pub(super) orders: Vec<Destroyed>,
    /// For each of them, where the key store had the person.
    pub(super) places: Vec<Places>,
    pub(super) left: Remains,
    pub(super) fenced_at: Timestamp,
    pub(super) deleted_at: Timestamp,
    pub(super) destroyed_at: Timestamp,
    /// The retired epochs under whose backups the people may be, and until when their keys live.
    pub(super) retired: BTreeMap<Epoch, Timestamp>,
}

impl Service {
    /// Steps 2 to 5 of several erasures: an answer for each, in their order. Every step may be repeated.
    ///
    /// # Errors
    /// If none of them could be fenced or journaled.
    pub(super) async fn delete_together(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        erasures: &[Erasure],
    ) -> Result<Vec<Result<Deleted, Error>>, Error> {
        let all = erasures.to_vec();
        self.blocking(ledger, move |service, ledger| service.delete(ledger, &all))
            .await
    }

    fn delete(&self, ledger: &Ledger, erasures: &[Erasure]) -> Result<Vec<Result<Deleted, Error>>, Error> {
        let (id, vault) = (ledger.record.id, self.keystore.vault());
        let orders: Vec<_> = erasures
            .iter()
            .map(|erasure| (erasure.requested.index, erasure.orders()))
            .collect();
        let all: Vec<_> = orders.iter().flat_map(|(_, orders)| orders).cloned().collect();
        for erasure in erasures {
            let requested = &erasure.requested.payload;
            self.keystore.suppress(id, requested.request, requested.suppression())?;
        }
        span!("erasure.fence", subjects = all.len())
            .in_scope(|| ledger.fencing.step(|| self.keystore.fence(id, &all)))?;
        let fenced_at = self.clock.now();
        let entries = erasures.iter().flat_map(|erasure| {
            let index = erasure.requested.index;
            let entry = move |order| JournalEntry { order, index };
            erasure.orders().into_iter().map(entry)
        });
        span!("erasure.journal").in_scope(|| vault.journal(id, &entries.collect::<Vec<_>>()))?;
        let destroying = span!("erasure.destroy", subjects = all.len());
        let done = destroying.in_scope(|| self.destroy_apart(ledger, &orders));
        let retired = self.retired(ledger)?;
        let deleted = |done: Destruction| {
            // A backup under any earlier epoch has their keys, too.
            let from = done.orders.iter().map(|order| order.from).max().unwrap_or_default();
            let reach = retired.iter().filter(|(epoch, _)| **epoch <= from);
            Deleted {
                retired: reach.map(|(epoch, until)| (*epoch, *until)).collect(),
                orders: done.orders,
                places: done.places,
                left: done.left,
                fenced_at,
                deleted_at: done.deleted_at,
                destroyed_at: done.destroyed_at,
            }
        };
        Ok(done.into_iter().map(|done| done.map(deleted)).collect())
    }

    /// Destroys what each of several erasures orders, by the index of its request, in one change of epoch. Where a damaged row keeps one of them from it,
    /// the others go without it, halved until it stands alone: one damaged row costs as many changes of epoch as halvings.
    pub(super) fn destroy_apart(
        &self,
        ledger: &Ledger,
        orders: &[(u64, Vec<ErasureOrder>)],
    ) -> Vec<Result<Destruction, Error>> {
        let (id, horizon) = (ledger.record.id, self.horizon());
        let all: Vec<_> = orders.iter().flat_map(|(_, orders)| orders).cloned().collect();
        // IMPORTANT: no higher than what is destroyed here: the mark says what an older key store lacks.
        let mark = orders.iter().map(|(index, _)| *index).max().unwrap_or_default();
        let destroyed = ledger.fencing.step(|| self.keystore.destroy(id, &all, mark, &horizon));
        match destroyed {
            Ok(done) => {
                let (mut each, mut places) = (done.orders.iter().copied(), done.places.iter().cloned());
                let mut own = |orders: &[ErasureOrder]| Destruction {
                    orders: each.by_ref().take(orders.len()).collect(),
                    places: places.by_ref().take(orders.len()).collect(),
                    ..done.clone()
                };
                orders.iter().map(|(_, orders)| Ok(own(orders))).collect()
            }
            Err(error) if orders.len() > 1 && error.is_of_one_person() => {
                tracing::error!(error = %error, "keys of somebody cannot be destroyed; destroying those of the others");
                let (first, second) = orders.split_at(orders.len() / 2);
                let mut apart = self.destroy_apart(ledger, first);
                apart.extend(self.destroy_apart(ledger, second));
                apart
            }
            Err(error) => {
                let error = Error::from(error);
                orders.iter().map(|_| Err(not_answered(&error))).collect()
            }
        }
    }

    /// Steps 2 to 7 of erasures that broke off somewhere. One that cannot be finished keeps no other from it.
    ///
    /// # Errors
    /// That of the first that cannot be finished.
    pub(super) async fn finish(self: &Arc<Self>, ledger: &Arc<Ledger>, erasures: Vec<Erasure>) -> Result<(), Error> {
        let deleted = self.delete_together(ledger, &erasures).await?;
        let mut finished = Ok(());
        for (erasure, deleted) in erasures.into_iter().zip(deleted) {
            let request = erasure.requested.payload.request;
            if let Err(error) = self.finish_one(ledger, erasure, deleted).await {
                tracing::error!(%request, error = %error, "an erasure cannot be finished");
                finished = finished.and(Err(error));
            }
        }
        finished
    }

    async fn finish_one(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        erasure: Erasure,
        deleted: Result<Deleted, Error>,
    ) -> Result<(), Error> {
        let (mut deleted, orders) = (deleted?, erasure.orders());
        // Nobody looked yet, if the key store had carried it out before: everywhere then.
        let look = move |service: &Self, ledger: &Ledger| service.left_anywhere(ledger, &orders);
        deleted.left = self.blocking(ledger, look).await?;
        self.complete(ledger, erasure, deleted).await.map(drop)
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
}
