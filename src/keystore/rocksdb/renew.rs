//! Rotation without erasing: a new epoch for all of a ledger's keys, a new generation of one subject's.

use std::collections::BTreeMap;

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::epoch::Touched;
use super::people::Row;
use super::rows;
use crate::keystore::{EpochChange, Horizon, KeyRef, KeyStoreError, Refusal};
use crate::spec::ids::{Category, Handle, LedgerId, Timestamp};

impl RocksKeyStore {
    pub(super) fn turn_alone(
        &self,
        ledger: LedgerId,
        horizon: &Horizon<'_>,
    ) -> Result<(EpochChange, Timestamp), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let ledger = self.ledger(ledger)?;
        let change = self.turn(&ledger, &Touched::new(), horizon, |_, _, _| Ok(()))?;
        Ok((change, self.settle_vault(&ledger, horizon)?))
    }

    /// Mints the next generation of a living subject's keys. Keys of older generations stay as they are.
    pub(super) fn mint_next(
        &self,
        ledger: LedgerId,
        handle: Handle,
        categories: Option<&[Category]>,
    ) -> Result<Result<Vec<KeyRef>, Refusal>, KeyStoreError> {
        let _pass = self.gate.enter();
        let ledger = self.ledger(ledger)?;
        if let Some(refusal) = self.fences.refusal(ledger.id, handle, None) {
            return Ok(Err(refusal));
        }
        let _rows = self.writing.lock();
        let top = ledger.top.read();
        let Row::Open(number) = self.place_of(&ledger, handle)? else {
            return Ok(Err(Refusal::Unavailable));
        };
        let Row::Open(bucket) = self.bucket(&ledger, &top, number)? else {
            return Ok(Err(Refusal::Unavailable));
        };
        let (prefix, mut newest) = (rows::keys(ledger.id, number, handle), BTreeMap::new());
        self.db.scan(&prefix, |row, _| {
            let (category, generation) = rows::parse_key(row, &prefix).ok_or(KeyStoreError::Damaged("subject key"))?;
            newest.insert(category, generation);
            Ok(())
        })?;
        let (mut batch, mut minted) = (WriteBatch::default(), Vec::new());
        for (category, generation) in newest {
            let wanted = categories.is_none_or(|wanted| wanted.contains(&category));
            if !wanted || self.fences.refusal(ledger.id, handle, Some(&category)).is_some() {
                continue;
            }
            let generation = generation.checked_add(1).ok_or(KeyStoreError::Damaged("generation"))?;
            let row = rows::key(ledger.id, number, handle, &category, generation);
            batch.put(&row, self.mint_key(&bucket, &row)?.1);
            minted.push(KeyRef {
                handle,
                category,
                generation,
            });
        }
        if !minted.is_empty() {
            // Before the write: one that fails may be durable all the same.
            if let Some(changed) = self.changed.lock().as_mut() {
                changed.insert((ledger.id, number));
            }
            self.db.write(batch)?;
            // What was sealed under an older generation a moment ago stays open.
            self.caches.forget_people(ledger.id, handle);
        }
        Ok(Ok(minted))
    }
}
