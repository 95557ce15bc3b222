//! Fencing and destroying: the key store's part of the erasure saga (steps 2 and 4).

use std::collections::{HashMap, HashSet};

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::epoch::Touched;
use super::fences::covers;
use super::ledger::Ledger;
use super::people::{Row, open_identity};
use super::rewrap::{Orders, Turned};
use super::rows::{self, BUCKETS, Bucket, Table};
use crate::keystore::{
    Destroyed, Destruction, EpochChange, ErasureOrder, Fence, Horizon, KeyStoreError, Places, Remains,
};
use crate::spec::ids::{Handle, LedgerId};

impl RocksKeyStore {
    pub(super) fn set_fences(&self, ledger: LedgerId, orders: &[ErasureOrder]) -> Result<(), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let keys = self.ledger(ledger)?;
        let mut batch = WriteBatch::default();
        for order in orders {
            match self.fences.find(ledger, order) {
                Some(fence) if same_scope(&fence.order, order) => {}
                Some(_) => {
                    return Err(KeyStoreError::Damaged(
                        "fence: the request covers something else already",
                    ));
                }
                None => put_fence(
                    &mut batch,
                    &keys,
                    Fence {
                        order: order.clone(),
                        destroyed: None,
                    },
                ),
            }
        }
        if !batch.is_empty() {
            self.db.write(batch)?;
        }
        // IMPORTANT: durable, then in memory, then drained, then purged. A key lent before the fence was seen is waited
        // for; one lent after it does not exist; and what the last lease left in the caches goes at the end.
        orders.iter().for_each(|order| {
            self.fences.set(
                ledger,
                Fence {
                    order: order.clone(),
                    destroyed: None,
                },
            )
        });
        self.gate.drain();
        let handles: HashSet<_> = orders.iter().map(|order| order.handle).collect();
        self.caches.purge(ledger, |handle| handles.contains(&handle));
        Ok(())
    }

    pub(super) fn destroy_keys(
        &self,
        ledger: LedgerId,
        orders: &[ErasureOrder],
        mark: u64,
        horizon: &Horizon<'_>,
    ) -> Result<Destruction, KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let ledger = self.ledger(ledger)?;
        let pending = self.pending(&ledger, orders)?;
        let (mut left, mut deleted_at) = (Remains::default(), horizon.clock.now());
        let mut places_of = HashMap::new();
        if !pending.is_empty() {
            let (places, bare) = self.places(&ledger, &pending)?;
            let mut fences = Vec::new();
            self.turn(&ledger, &places, horizon, |batch, change, turned| {
                fences = counted(&pending, change, turned);
                bare.iter().for_each(|row| batch.delete(row));
                fences.iter().for_each(|fence| put_fence(batch, &ledger, fence.clone()));
                self.put_mark(batch, &ledger, mark)
            })?;
            deleted_at = horizon.clock.now();
            fences.into_iter().for_each(|fence| self.fences.set(ledger.id, fence));
            left = self.left_behind(&ledger, &places, &pending)?;
            places_of = by_handle(&places);
        }
        let destroyed_at = self.settle_vault(&ledger, horizon)?;
        let done = |order| self.fences.find(ledger.id, order).and_then(|fence| fence.destroyed);
        Ok(Destruction {
            orders: orders.iter().map(|order| done(order).unwrap_or_default()).collect(),
            places: orders
                .iter()
                .map(|order| places_of.get(&order.handle).cloned().unwrap_or_default())
                .collect(),
            left,
            deleted_at,
            destroyed_at,
        })
    }

    /// The orders that are not carried out yet, each once.
    fn pending<'a>(&self, ledger: &Ledger, orders: &'a [ErasureOrder]) -> Result<Vec<&'a ErasureOrder>, KeyStoreError> {
        let (mut pending, mut seen) = (Vec::new(), HashSet::new());
        for order in orders {
            let fence = self.fences.find(ledger.id, order).ok_or(KeyStoreError::NotFenced)?;
            if !same_scope(&fence.order, order) {
                return Err(KeyStoreError::NotFenced);
            }
            if fence.destroyed.is_none() && seen.insert((order.request, order.handle)) {
                pending.push(order);
            }
        }
        Ok(pending)
    }

    pub(super) fn remaining(&self, ledger: LedgerId, order: &ErasureOrder) -> Result<Remains, KeyStoreError> {
        let ledger = self.ledger(ledger)?;
        (0..BUCKETS).try_fold(self.leads(&ledger, order)?, |left, bucket| {
            let keys = left.keys + self.keys_left(&ledger, bucket, order)?;
            Ok(Remains { keys, ..left })
        })
    }

    /// What is still there of these orders, in the buckets where it was: read from the database, behind the fences.
    fn left_behind(
        &self,
        ledger: &Ledger,
        places: &Touched<'_>,
        orders: &[&ErasureOrder],
    ) -> Result<Remains, KeyStoreError> {
        let mut left = Remains::default();
        for order in orders {
            left.leads_to_identity |= self.leads(ledger, order)?.leads_to_identity;
        }
        for (bucket, orders) in places {
            for (_, order) in orders.values().flatten() {
                left.keys += self.keys_left(ledger, *bucket, order)?;
            }
        }
        Ok(left)
    }

    fn leads(&self, ledger: &Ledger, order: &ErasureOrder) -> Result<Remains, KeyStoreError> {
        let handle = self.db.get(&rows::handle(ledger.id, order.handle))?;
        Ok(Remains {
            keys: 0,
            leads_to_identity: order.categories.is_none() && handle.is_some(),
        })
    }

    fn keys_left(&self, ledger: &Ledger, bucket: Bucket, order: &ErasureOrder) -> Result<u64, KeyStoreError> {
        let (prefix, mut left) = (rows::keys(ledger.id, bucket, order.handle), 0);
        self.db.scan(&prefix, |row, _| {
            let (category, _) = rows::parse_key(row, &prefix).ok_or(KeyStoreError::Damaged("subject key"))?;
            left += u64::from(covers(order, Some(&category)));
            Ok(())
        })?;
        Ok(left)
    }

    /// The mark never goes back: a repeated, older order has been applied all the same.
    fn put_mark(&self, batch: &mut WriteBatch, ledger: &Ledger, mark: u64) -> Result<(), KeyStoreError> {
        if self.applied_mark(ledger)?.is_none_or(|applied| applied < mark) {
            let row = rows::row(Table::Applied, ledger.id, &[]);
            batch.put(&row, ledger.mark(&row, &mark.to_be_bytes()));
        }
        Ok(())
    }

    /// The buckets that hold the orders' subjects, and handle rows that no identity row will take along.
    fn places<'a>(
        &self,
        ledger: &Ledger,
        orders: &[&'a ErasureOrder],
    ) -> Result<(Touched<'a>, Vec<Vec<u8>>), KeyStoreError> {
        let (mut places, mut lost) = (Touched::new(), Orders::new());
        for (at, order) in orders.iter().enumerate() {
            let orders = match self.place_of(ledger, order.handle)? {
                Row::Open(bucket) => places.entry(bucket).or_default(),
                Row::Missing | Row::Closed => &mut lost,
            };
            orders.entry(order.handle).or_default().push((at, *order));
        }
        let mut bare = Vec::new();
        if !lost.is_empty() {
            self.sweep(ledger, &lost, &mut places)?;
            // A damaged handle row of a whole subject goes too, found or not.
            let whole = lost.values().flatten().filter(|(_, order)| order.categories.is_none());
            bare.extend(whole.map(|(_, order)| rows::handle(ledger.id, order.handle)));
        }
        Ok((places, bare))
    }

    /// Looks through the whole ledger for subjects whose handle row is missing or damaged (an old copy, a repair): an
    /// erasure that finds nothing must have looked everywhere. Opens every identity; some 2 s for a million subjects.
    fn sweep<'a>(&self, ledger: &Ledger, lost: &Orders<'a>, places: &mut Touched<'a>) -> Result<(), KeyStoreError> {
        tracing::warn!(
            subjects = lost.len(),
            "subjects to erase have no handle row; looking through the whole ledger"
        );
        let top = ledger.top.read();
        for number in 0..BUCKETS {
            let mut found = HashSet::new();
            for handle in lost.keys() {
                if self.db.last(&rows::keys(ledger.id, number, *handle))?.is_some() {
                    found.insert(*handle);
                }
            }
            match self.bucket(ledger, &top, number)? {
                Row::Open(bucket) => {
                    self.db
                        .scan(&rows::within(Table::Identity, ledger.id, number), |row, value| {
                            let (handle, _) =
                                open_identity(&bucket, row, value).ok_or(KeyStoreError::Damaged("identity"))?;
                            found.extend(lost.contains_key(&handle).then_some(handle));
                            Ok(())
                        })?
                }
                Row::Missing => {}
                // Whom it holds cannot be told: it would be a lie to say that nothing was found.
                Row::Closed => return Err(KeyStoreError::Damaged("bucket keys")),
            }
            for handle in found {
                let orders = lost.get(&handle).cloned().unwrap_or_default();
                places.entry(number).or_default().insert(handle, orders);
            }
        }
        Ok(())
    }
}

/// The buckets that were touched, by the people who were in them.
fn by_handle(places: &Touched<'_>) -> HashMap<Handle, Places> {
    let mut of = HashMap::<Handle, Places>::new();
    for (bucket, orders) in places {
        for handle in orders.keys() {
            of.entry(*handle).or_default().0.push(*bucket);
        }
    }
    of
}

/// The fences of a destruction, with what goes by each.
fn counted(orders: &[&ErasureOrder], change: EpochChange, turned: &[Turned]) -> Vec<Fence> {
    let mut counts = vec![(0, 0); orders.len()];
    for (at, keys, identities) in turned.iter().flat_map(|turned| &turned.gone) {
        if let Some(count) = counts.get_mut(*at) {
            *count = (count.0 + keys, count.1 + identities);
        }
    }
    let fence = |(order, (keys, identities)): (&&ErasureOrder, (u64, u64))| Fence {
        order: (*order).clone(),
        destroyed: Some(Destroyed {
            keys,
            identities,
            from: change.from,
            to: change.to,
        }),
    };
    orders.iter().zip(counts).map(fence).collect()
}

fn put_fence(batch: &mut WriteBatch, ledger: &Ledger, fence: Fence) {
    let row = rows::fence(ledger.id, &fence.order);
    let value = ledger.mark(&row, &rows::encode_fence(&fence));
    batch.put(row, value);
}

fn same_scope(a: &ErasureOrder, b: &ErasureOrder) -> bool {
    match (&a.categories, &b.categories) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.iter().all(|category| b.contains(category)) && b.iter().all(|category| a.contains(category))
        }
        _ => false,
    }
}
