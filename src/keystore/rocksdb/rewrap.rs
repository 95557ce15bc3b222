//! A bucket gets a new key: what an erasure covers goes, everybody else's rows are wrapped and tagged anew.
//!
//! Reads and computes only; [`super::epoch`] writes. A row that does not open is kept as it is: it is unavailable
//! before and after, and nobody's row goes because it is damaged.

use std::collections::{HashMap, HashSet};

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::fences::covers;
use super::ledger::{BucketKey, Ledger, Top};
use super::people::{Row, open_identity, seal_identity, warn_closed};
use super::rows::{self, Bucket, Table};
use crate::keystore::memory::Secret32;
use crate::keystore::vault::Epoch;
use crate::keystore::{ErasureOrder, KeyStoreError};
use crate::spec::ids::Handle;

/// An order, and where it stands among the orders of its destruction.
pub(super) type Numbered<'a> = (usize, &'a ErasureOrder);

/// The orders that meet a bucket, by subject.
pub(super) type Orders<'a> = HashMap<Handle, Vec<Numbered<'a>>>;

/// What becomes of one bucket.
#[derive(Default)]
pub(super) struct Turned {
    deletes: Vec<Vec<u8>>,
    puts: Vec<(Vec<u8>, Vec<u8>)>,
    /// For each order met: subject keys and identities that go, each row counted once.
    pub(super) gone: Vec<(usize, u64, u64)>,
    /// The new key; `None` if the bucket never had one.
    pub(super) key: Option<Secret32>,
}

impl Turned {
    pub(super) fn write(&self, batch: &mut WriteBatch) {
        self.deletes.iter().for_each(|row| batch.delete(row));
        self.puts.iter().for_each(|(row, value)| batch.put(row, value));
    }
}

impl RocksKeyStore {
    /// Works out a bucket under a new key, born in `born`.
    pub(super) fn turn_bucket(
        &self,
        ledger: &Ledger,
        top: &Top,
        number: Bucket,
        orders: &Orders<'_>,
        born: Epoch,
    ) -> Result<Turned, KeyStoreError> {
        let mut turned = Turned::default();
        let old = match self.bucket(ledger, top, number)? {
            Row::Open(old) => old,
            // Whom it holds cannot be told: it would be a lie to say that nothing was found.
            Row::Closed => return Err(KeyStoreError::Damaged("bucket keys")),
            Row::Missing => {
                self.turn_keys(ledger, number, None, orders, &mut turned)?;
                return Ok(turned);
            }
        };
        let (key, new) = self.fresh_bucket(number, born)?;
        turned.key = Some(key);
        self.turn_keys(ledger, number, Some((&old, &new)), orders, &mut turned)?;
        self.turn_identities(ledger, number, (&old, &new), orders, &mut turned)?;
        Ok(turned)
    }

    fn turn_keys(
        &self,
        ledger: &Ledger,
        number: Bucket,
        buckets: Option<(&BucketKey, &BucketKey)>,
        orders: &Orders<'_>,
        turned: &mut Turned,
    ) -> Result<(), KeyStoreError> {
        self.db
            .scan(&rows::within(Table::Key, ledger.id, number), |row, value| {
                const DAMAGED: KeyStoreError = KeyStoreError::Damaged("subject key");
                let (handle, prefix) = rows::split_key(row).ok_or(DAMAGED)?;
                if let Some(orders) = orders.get(&handle) {
                    let (category, _) = rows::parse_key(row, prefix).ok_or(DAMAGED)?;
                    if let Some((at, _)) = orders.iter().find(|(_, order)| covers(order, Some(&category))) {
                        turned.gone.push((*at, 1, 0));
                        turned.deletes.push(row.to_vec());
                        return Ok(());
                    }
                }
                let Some((old, new)) = buckets else { return Ok(()) };
                match self.open_key(old, row, value)? {
                    Some((state, secret)) => {
                        let value = self.wrap_key(new, row, state, &secret)?;
                        turned.puts.push((row.to_vec(), value));
                    }
                    None => warn_closed("subject key"),
                }
                Ok(())
            })
    }

    fn turn_identities(
        &self,
        ledger: &Ledger,
        number: Bucket,
        (old, new): (&BucketKey, &BucketKey),
        orders: &Orders<'_>,
        turned: &mut Turned,
    ) -> Result<(), KeyStoreError> {
        let mut found = HashSet::new();
        self.db
            .scan(&rows::within(Table::Identity, ledger.id, number), |row, value| {
                let Some((handle, subject)) = open_identity(old, row, value) else {
                    warn_closed("identity");
                    return Ok(());
                };
                turned.deletes.push(row.to_vec());
                found.insert(handle);
                if let Some((at, order)) = orders.get(&handle).and_then(|orders| orders.iter().find(is_whole)) {
                    turned.gone.push((*at, 0, 1));
                    turned.deletes.push(rows::handle(ledger.id, handle));
                    let suppression = ledger.suppression_row(&subject);
                    let mark = suppression.get(17..).unwrap_or_default();
                    turned.deletes.extend(self.notes_of(ledger, mark)?);
                    turned
                        .puts
                        .extend(self.suppression_of(ledger, order.request, &subject)?);
                } else {
                    let entropy = self.entropy.as_ref();
                    turned
                        .puts
                        .push(seal_identity(ledger.id, new, handle, &subject, entropy)?);
                }
                Ok(())
            })?;
        // Whoever is said to be here and is not found may be behind a damaged row: not a person to call erased.
        for (handle, orders) in orders {
            let missing = !found.contains(handle) && orders.iter().any(|order| is_whole(&order));
            if missing && let Row::Open(_) = self.place_of(ledger, *handle)? {
                return Err(KeyStoreError::Damaged("identity"));
            }
        }
        Ok(())
    }
}

fn is_whole((_, order): &&Numbered<'_>) -> bool {
    order.categories.is_none()
}
