//! What is left of keys that were destroyed: tried past fences and caches, for the check after a destruction.

use super::RocksKeyStore;
use super::buckets::page_of;
use super::ledger::{BucketKey, Ledger, Top};
use super::lend::Lent;
use super::people::Row;
use super::rows::{self, BUCKETS, Bucket};
use crate::keystore::{KeyLease, KeyRef, KeyStoreError, Places, Trial};
use crate::spec::ids::LedgerId;

impl RocksKeyStore {
    pub(super) fn try_all(
        &self,
        ledger: LedgerId,
        places: &Places,
        keys: &[KeyRef],
    ) -> Result<Vec<Trial>, KeyStoreError> {
        let (_pass, ledger) = (self.gate.enter(), self.ledger(ledger)?);
        let top = ledger.top.read();
        let everywhere: Vec<Bucket>;
        let buckets = if places.0.is_empty() {
            everywhere = (0..BUCKETS).collect();
            &everywhere
        } else {
            &places.0
        };
        keys.iter()
            .map(|key| self.try_one(&ledger, &top, buckets, key))
            .collect()
    }

    fn try_one(&self, ledger: &Ledger, top: &Top, buckets: &[Bucket], key: &KeyRef) -> Result<Trial, KeyStoreError> {
        let mut trial = Trial::default();
        for bucket in buckets {
            let row = rows::key(ledger.id, *bucket, key.handle, &key.category, key.generation);
            let Some(stored) = self.db.get(&row)? else { continue };
            trial.rows += 1;
            let Some(bucket) = self.bucket_anew(ledger, top, *bucket)? else {
                continue;
            };
            if let Some((_, secret)) = self.open_key(&bucket, &row, &stored)? {
                trial.key = Some(KeyLease::new(Lent::new(secret, self.gate.enter())));
            }
        }
        Ok(trial)
    }

    /// A bucket's key from its row, whatever the cache holds.
    fn bucket_anew(&self, ledger: &Ledger, top: &Top, number: Bucket) -> Result<Option<BucketKey>, KeyStoreError> {
        let Row::Open(page) = self.page(ledger, top, page_of(number))? else {
            return Ok(None);
        };
        let key = page.key(number);
        key.map(|(born, key)| BucketKey::derive(number, born, key, &self.arena))
            .transpose()
    }
}
