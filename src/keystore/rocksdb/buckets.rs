//! Bucket keys, 64 to a row: a *page*, one wrap under the master. So a change of epoch re-wraps 64 rows of 2.3 KiB and
//! not 4,096 (docs/adr/0018-change-of-epoch.md), and a first subject in a bucket rewrites one small row.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::RocksKeyStore;
use super::ledger::{BucketKey, Ledger, Top, broken};
use super::people::{Row, warn_closed};
use super::rows::{self, BUCKETS, Bucket};
use crate::env::Entropy;
use crate::keystore::vault::Epoch;
use crate::keystore::{KeyStoreError, wrap};
use crate::spec::ids::LedgerId;

/// Buckets in a page.
const BUCKETS_IN_PAGE: Bucket = 64;

/// Pages of a ledger.
pub(super) const PAGES: u8 = (BUCKETS / BUCKETS_IN_PAGE) as u8;

/// Bytes of an entry: the epoch in which the key was made, 0 for no key, and the key.
const ENTRY: usize = 36;

/// The bucket keys of a page in clear. Outside the arena, for the moment of a call.
pub(super) struct Page {
    number: u8,
    text: Zeroizing<Vec<u8>>,
}

pub(super) fn page_of(bucket: Bucket) -> u8 {
    // Below `PAGES`, as a bucket is below `BUCKETS`.
    (bucket / BUCKETS_IN_PAGE) as u8
}

impl Page {
    pub(super) fn empty(number: u8) -> Self {
        let text = Zeroizing::new(vec![0; usize::from(BUCKETS_IN_PAGE) * ENTRY]);
        Self { number, text }
    }

    /// Birth and key of a bucket, if it has one.
    pub(super) fn key(&self, bucket: Bucket) -> Option<(Epoch, &[u8; 32])> {
        let (born, key) = self.text.get(place(bucket))?.split_first_chunk::<4>()?;
        let born = Epoch::from_be_bytes(*born);
        (born > 0).then_some((born, key.try_into().ok()?))
    }

    pub(super) fn set(&mut self, bucket: Bucket, born: Epoch, key: &[u8; 32]) {
        let entry = born.to_be_bytes().into_iter().chain(*key);
        if let Some(place) = self.text.get_mut(place(bucket)) {
            place.iter_mut().zip(entry).for_each(|(place, byte)| *place = byte);
        }
    }

    /// Row key and value under a master.
    pub(super) fn close(
        &self,
        ledger: LedgerId,
        top: &Top,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, Vec<u8>), KeyStoreError> {
        let (row, epoch) = (rows::page(ledger, self.number), top.epoch.to_be_bytes());
        let wrapped = wrap::wrap(&top.master, (&row, &epoch), &self.text, entropy)
            .ok_or(KeyStoreError::Damaged("bucket keys"))?;
        Ok((row, [epoch.as_slice(), &wrapped].concat()))
    }
}

fn place(bucket: Bucket) -> std::ops::Range<usize> {
    let start = usize::from(bucket % BUCKETS_IN_PAGE) * ENTRY;
    start..start + ENTRY
}

impl RocksKeyStore {
    /// A page, from its row.
    pub(super) fn page(&self, ledger: &Ledger, top: &Top, number: u8) -> Result<Row<Page>, KeyStoreError> {
        let row = rows::page(ledger.id, number);
        let Some(stored) = self.db.get(&row)? else {
            return Ok(Row::Missing);
        };
        let opened = rows::split_epoch(&stored)
            .filter(|(epoch, _)| *epoch == top.epoch)
            .and_then(|(epoch, wrapped)| wrap::unwrap(&top.master, (&row, &epoch.to_be_bytes()), wrapped));
        match opened {
            Some(text) if text.len() == usize::from(BUCKETS_IN_PAGE) * ENTRY => Ok(Row::Open(Page { number, text })),
            _ => {
                warn_closed("bucket keys");
                Ok(Row::Closed)
            }
        }
    }

    /// A bucket's key. Whoever asks holds `top` until it is done with the rows that the key opens.
    pub(super) fn bucket(
        &self,
        ledger: &Ledger,
        top: &Top,
        number: Bucket,
    ) -> Result<Row<Arc<BucketKey>>, KeyStoreError> {
        if let Some(bucket) = self.caches.bucket(ledger.id, number) {
            return Ok(Row::Open(bucket));
        }
        let page = match self.page(ledger, top, page_of(number))? {
            Row::Open(page) => page,
            Row::Missing => return Ok(Row::Missing),
            Row::Closed => return Ok(Row::Closed),
        };
        let Some((born, key)) = page.key(number) else {
            return Ok(Row::Missing);
        };
        let bucket = Arc::new(BucketKey::derive(number, born, key, &self.arena)?);
        self.caches.keep_bucket(ledger.id, Arc::clone(&bucket));
        Ok(Row::Open(bucket))
    }

    /// A fresh bucket key: raw, and derived.
    pub(super) fn fresh_bucket(
        &self,
        number: Bucket,
        born: Epoch,
    ) -> Result<(crate::keystore::memory::Secret32, Arc<BucketKey>), KeyStoreError> {
        let mut key = self.arena.take().map_err(broken)?;
        self.entropy.fill(key.as_mut_slice());
        let derived = BucketKey::derive(number, born, &key, &self.arena)?;
        Ok((key, Arc::new(derived)))
    }
}
