//! Fencing and destroying: the key store's part of the erasure saga (steps 2 and 4).

use std::collections::{BTreeSet, HashMap, HashSet};

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::fences::covers;
use super::ledger::Ledger;
use super::people::{Row, open_identity};
use super::rows::{self, BUCKETS, Bucket, Table};
use crate::keystore::{Destroyed, ErasureOrder, Fence, KeyStoreError, Remains};
use crate::spec::ids::{Handle, LedgerId, SubjectId};

/// The rows that a destruction removes, each counted once, and the people whose ids it suppresses.
#[derive(Default)]
struct Doomed {
    keys: BTreeSet<Vec<u8>>,
    identities: BTreeSet<Vec<u8>>,
    handles: BTreeSet<Vec<u8>>,
    subjects: Vec<SubjectId>,
}

impl Doomed {
    fn counts(&self) -> Destroyed {
        Destroyed {
            keys: self.keys.len() as u64,
            identities: self.identities.len() as u64,
        }
    }
}

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
    ) -> Result<Destroyed, KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let ledger = self.ledger(ledger)?;
        let (mut pending, mut done) = (Vec::new(), Destroyed::default());
        for order in orders {
            match self.fences.find(ledger.id, order) {
                Some(fence) if !same_scope(&fence.order, order) => return Err(KeyStoreError::NotFenced),
                Some(Fence {
                    destroyed: Some(before),
                    ..
                }) => done = done + before,
                Some(_) if pending.contains(&order) => {}
                Some(_) => pending.push(order),
                None => return Err(KeyStoreError::NotFenced),
            }
        }
        let doomed: Vec<Doomed> = pending
            .iter()
            .map(|order| self.doom(&ledger, &[order]))
            .collect::<Result<_, _>>()?;
        let fences: Vec<Fence> = pending
            .iter()
            .zip(&doomed)
            .map(|(order, doomed)| Fence {
                order: (*order).clone(),
                destroyed: Some(doomed.counts()),
            })
            .collect();
        let batch = self.destruction(&ledger, &doomed, &fences, mark)?;
        if !batch.is_empty() {
            self.db.write(batch)?;
        }
        for fence in fences {
            done = done + fence.destroyed.unwrap_or_default();
            self.fences.set(ledger.id, fence);
        }
        Ok(done)
    }

    pub(super) fn remaining(&self, ledger: LedgerId, order: &ErasureOrder) -> Result<Remains, KeyStoreError> {
        let known = self.ledger(ledger)?;
        let mut doomed = Doomed::default();
        for bucket in 0..BUCKETS {
            self.doom_keys(&known, bucket, order, &mut doomed)?;
        }
        let handle = self.db.get(&rows::handle(ledger, order.handle))?;
        Ok(Remains {
            keys: doomed.keys.len() as u64,
            leads_to_identity: order.categories.is_none() && handle.is_some(),
        })
    }

    /// The one write of a destruction. Empty if there is nothing to do.
    fn destruction(
        &self,
        ledger: &Ledger,
        doomed: &[Doomed],
        fences: &[Fence],
        mark: u64,
    ) -> Result<WriteBatch, KeyStoreError> {
        let mut batch = WriteBatch::default();
        for (doomed, fence) in doomed.iter().zip(fences) {
            let rows = doomed.keys.iter().chain(&doomed.identities).chain(&doomed.handles);
            rows.for_each(|row| batch.delete(row));
            for subject in &doomed.subjects {
                self.put_suppression(&mut batch, ledger, fence.order.request, subject)?;
            }
        }
        for fence in fences {
            put_fence(&mut batch, ledger, fence.clone());
        }
        // The mark never goes back: a repeated, older order has been applied all the same.
        if self.applied_mark(ledger)?.is_none_or(|applied| applied < mark) {
            let row = rows::row(Table::Applied, ledger.id, &[]);
            batch.put(&row, ledger.mark(&row, &mark.to_be_bytes()));
        }
        Ok(batch)
    }

    /// Finds all rows that the orders cover. Changes nothing.
    fn doom(&self, ledger: &Ledger, orders: &[&ErasureOrder]) -> Result<Doomed, KeyStoreError> {
        let (mut doomed, mut lost) = (Doomed::default(), HashMap::<Handle, Vec<&ErasureOrder>>::new());
        for order in orders {
            match self.place_of(ledger, order.handle)? {
                Row::Open((bucket, tag)) => {
                    self.doom_keys(ledger, bucket, order, &mut doomed)?;
                    if order.categories.is_none() {
                        let row = rows::identity(ledger.id, bucket, &tag);
                        self.doom_identity(ledger, bucket, (row, None), order.handle, &mut doomed)?;
                    }
                }
                Row::Missing | Row::Closed => lost.entry(order.handle).or_default().push(order),
            }
        }
        if !lost.is_empty() {
            self.sweep(ledger, &lost, &mut doomed)?;
        }
        Ok(doomed)
    }

    fn doom_keys(
        &self,
        ledger: &Ledger,
        bucket: Bucket,
        order: &ErasureOrder,
        doomed: &mut Doomed,
    ) -> Result<(), KeyStoreError> {
        let prefix = rows::keys(ledger.id, bucket, order.handle);
        self.db.scan(&prefix, |row, _| {
            let (category, _) = rows::parse_key(row, &prefix).ok_or(KeyStoreError::Damaged("subject key"))?;
            if covers(order, Some(&category)) {
                doomed.keys.insert(row.to_vec());
            }
            Ok(())
        })
    }

    /// Dooms an identity row, which must open and name this very handle: never another person's.
    fn doom_identity(
        &self,
        ledger: &Ledger,
        bucket: Bucket,
        (row, value): (Vec<u8>, Option<&[u8]>),
        handle: Handle,
        doomed: &mut Doomed,
    ) -> Result<(), KeyStoreError> {
        const DAMAGED: KeyStoreError = KeyStoreError::Damaged("identity");
        let read;
        let value = match value {
            Some(value) => value,
            None => {
                read = self.db.get(&row)?.ok_or(DAMAGED)?;
                &read
            }
        };
        let Row::Open(bucket) = self.bucket(ledger, bucket)? else {
            return Err(DAMAGED);
        };
        match open_identity(&bucket, &row, value) {
            Some((named, subject)) if named == handle => doomed.subjects.push(subject),
            _ => return Err(DAMAGED),
        }
        doomed.identities.insert(row);
        doomed.handles.insert(rows::handle(ledger.id, handle));
        Ok(())
    }

    /// Looks through the whole ledger for subjects whose handle row is missing or damaged (an old copy, a repair): an
    /// erasure that finds nothing must have looked everywhere. Opens every identity; some 2 s for a million subjects.
    fn sweep(
        &self,
        ledger: &Ledger,
        lost: &HashMap<Handle, Vec<&ErasureOrder>>,
        doomed: &mut Doomed,
    ) -> Result<(), KeyStoreError> {
        tracing::warn!(
            subjects = lost.len(),
            "subjects to erase have no handle row; looking through the whole ledger"
        );
        for number in 0..BUCKETS {
            for order in lost.values().flatten() {
                self.doom_keys(ledger, number, order, doomed)?;
            }
            let bucket = match self.bucket(ledger, number)? {
                Row::Open(bucket) => bucket,
                Row::Missing => continue,
                // Whom it holds cannot be told: it would be a lie to say that nothing was found.
                Row::Closed => return Err(KeyStoreError::Damaged("bucket key")),
            };
            self.db.scan(
                &rows::row(Table::Identity, ledger.id, &[&number.to_be_bytes()]),
                |row, value| {
                    let (handle, _) = open_identity(&bucket, row, value).ok_or(KeyStoreError::Damaged("identity"))?;
                    if lost
                        .get(&handle)
                        .is_some_and(|orders| orders.iter().any(|order| order.categories.is_none()))
                    {
                        self.doom_identity(ledger, number, (row.to_vec(), Some(value)), handle, doomed)?;
                    }
                    Ok(())
                },
            )?;
        }
        // A damaged handle row of a whole subject goes too, found or not.
        let whole = lost.values().flatten().filter(|order| order.categories.is_none());
        doomed
            .handles
            .extend(whole.map(|order| rows::handle(ledger.id, order.handle)));
        Ok(())
    }
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
