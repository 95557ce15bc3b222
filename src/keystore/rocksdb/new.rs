//! Handles that are new: minted for an append of which nobody knows yet whether it made an event.

use std::collections::{HashMap, HashSet};

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::ledger::Ledger;
use super::people::{Row, open_identity};
use super::rows::{self, Bucket, Table};
use crate::keystore::KeyStoreError;
use crate::spec::ids::{Handle, LedgerId};

impl RocksKeyStore {
    pub(super) fn unconfirmed(
        &self,
        ledger: LedgerId,
        after: Option<Handle>,
        limit: usize,
    ) -> Result<Vec<Handle>, KeyStoreError> {
        let (prefix, from) = (
            rows::row(Table::New, ledger, &[]),
            after.map(|after| rows::new(ledger, after)),
        );
        let mut handles = Vec::new();
        self.db.scan_from(&prefix, from.as_deref(), |row, _| {
            let handle = row
                .strip_prefix(prefix.as_slice())
                .and_then(|handle| handle.try_into().ok());
            handles.push(Handle(handle.ok_or(KeyStoreError::Damaged("new handle"))?));
            Ok(handles.len() < limit)
        })?;
        Ok(handles)
    }

    pub(super) fn confirm_handles(&self, ledger: LedgerId, handles: &[Handle]) -> Result<(), KeyStoreError> {
        let mut batch = WriteBatch::default();
        for handle in handles {
            let new = rows::new(ledger, *handle);
            if self.db.get(&new)?.is_some() {
                batch.delete(new);
            }
        }
        if batch.is_empty() {
            return Ok(());
        }
        self.db.write(batch)
    }

    pub(super) fn forget_unconfirmed(&self, ledger: LedgerId, handles: &[Handle]) -> Result<u64, KeyStoreError> {
        let (_one_at_a_time, _rows) = (self.admin.lock(), self.writing.lock());
        let ledger = self.ledger(ledger)?;
        let (mut batch, mut doomed, mut damaged) =
            (WriteBatch::default(), HashMap::<Bucket, HashSet<Handle>>::new(), 0);
        for handle in handles {
            let new = rows::new(ledger.id, *handle);
            if self.db.get(&new)?.is_none() || self.fences.knows(ledger.id, *handle) {
                continue;
            }
            match self.place_of(&ledger, *handle)? {
                Row::Open(bucket) => {
                    doomed.entry(bucket).or_default().insert(*handle);
                }
                Row::Missing => batch.delete(new),
                Row::Closed => damaged += 1,
            }
        }
        let mut forgotten = HashSet::new();
        for (bucket, handles) in &doomed {
            let gone = self.forget_in(&ledger, *bucket, handles, &mut batch)?;
            damaged += handles.len() - gone.len();
            forgotten.extend(gone);
        }
        if !batch.is_empty() {
            self.db.write(batch)?;
        }
        if damaged > 0 {
            tracing::error!(ledger = %ledger.id, people = damaged, "rows of people whom no event names are damaged: they stay, and are looked at again by the next start");
        }
        self.caches.purge(ledger.id, |handle| forgotten.contains(&handle));
        Ok(forgotten.len() as u64)
    }

    /// Puts the end of these handles' rows into the batch. All of each person, or nothing: half of one is a lie. Gives those that
    /// go.
    fn forget_in(
        &self,
        ledger: &Ledger,
        number: Bucket,
        handles: &HashSet<Handle>,
        batch: &mut WriteBatch,
    ) -> Result<HashSet<Handle>, KeyStoreError> {
        let mut found = HashSet::new();
        let Row::Open(bucket) = self.bucket(ledger, &ledger.top.read(), number)? else {
            return Ok(found);
        };
        self.db
            .scan(&rows::within(Table::Identity, ledger.id, number), |row, value| {
                if let Some((handle, _)) = open_identity(&bucket, row, value)
                    && handles.contains(&handle)
                {
                    found.insert(handle);
                    batch.delete(row);
                }
                Ok(())
            })?;
        for handle in &found {
            self.db.scan(&rows::keys(ledger.id, number, *handle), |row, _| {
                batch.delete(row);
                Ok(())
            })?;
            batch.delete(rows::handle(ledger.id, *handle));
            batch.delete(rows::new(ledger.id, *handle));
        }
        Ok(found)
    }
}
