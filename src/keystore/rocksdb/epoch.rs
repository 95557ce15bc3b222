//! The change of epoch: the one write after which nothing that was deleted hangs under a living key (steps 3 to 5 of
//! the saga).
//!
//! ```text
//! vault: fresh epoch key → work out the touched buckets → ONE synced write → vault: old epoch key destroyed or retired
//! ```
//!
//! The write is the commit point. What a crash leaves is told by comparing the key store's epoch with the vault's list,
//! and settled by the function that ends every change ([`RocksKeyStore::settle_vault`]): an older key goes, and so does a
//! newer one that never came into use. The latter goes before the next change as well, for a restore that broke off may
//! have used it. A write that *failed* may be durable all the same, so its key is kept until a later write is known to be,
//! and that one is made under yet another epoch.
//!
//! Others meanwhile: keys that are cached are lent all the time. New rows are written while the buckets are worked out;
//! a bucket that got one is worked out again under the lock of the writers. Only for the write itself do those wait who
//! open or put rows. The cost is that of the touched buckets and of 64 pages, whatever the number of events.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::buckets::PAGES;
use super::ledger::{Ledger, Top, broken, wrap_master};
use super::people::Row;
use super::rewrap::{Orders, Turned};
use super::rows::Bucket;
use crate::keystore::vault::{Epoch, EpochState};
use crate::keystore::{EpochChange, Horizon, KeyStoreError};
use crate::spec::ids::Timestamp;

/// Buckets worked out by one thread before another is worth its start.
const SHARE: usize = 16;

/// The buckets of a change, and the orders that meet each.
pub(super) type Touched<'a> = BTreeMap<Bucket, Orders<'a>>;

impl RocksKeyStore {
    /// Steps 3 and 4. `seal` adds the rest of the one write, from what goes. The caller holds the admin lock.
    pub(super) fn turn(
        &self,
        ledger: &Ledger,
        touched: &Touched<'_>,
        horizon: &Horizon<'_>,
        seal: impl FnOnce(&mut WriteBatch, EpochChange, &[Turned]) -> Result<(), KeyStoreError>,
    ) -> Result<EpochChange, KeyStoreError> {
        let from = ledger.top.read().epoch;
        let after = ledger.attempted.load(Ordering::Acquire).max(from);
        self.destroy_untried(ledger, after)?;
        let to = self.vault.mint_epoch(ledger.id, after, horizon.clock.now())?;
        let change = EpochChange { from, to };
        {
            // IMPORTANT: whoever has looked rows up and not written them yet names no bucket: it is waited for, or its rows
            // would stay under the bucket key that goes.
            let _rows = self.writing.lock();
            *self.changed.lock() = Some(HashSet::new());
        }
        let written = self.work_out(ledger, touched, to).and_then(|turned| {
            let _rows = self.writing.lock();
            let changed = self.changed.lock().take().unwrap_or_default();
            let turned = self.catch_up(ledger, touched, turned, &changed, to)?;
            self.replace(ledger, touched, change, &turned, seal)
        });
        *self.changed.lock() = None;
        written.map(|()| change)
    }

    /// Destroys the keys of epochs after `tried`. No write of this store was tried under them, but a restore that broke off
    /// may have left an erased person's rows under one: IMPORTANT: none of them may become the key in use.
    fn destroy_untried(&self, ledger: &Ledger, tried: Epoch) -> Result<(), KeyStoreError> {
        for key in self.vault.epochs(ledger.id)? {
            if key.epoch > tried && !matches!(key.state, EpochState::Retired { .. }) {
                self.vault.destroy_epoch(ledger.id, key.epoch)?;
            }
        }
        Ok(())
    }

    /// All touched buckets, in order; on several threads if there are many.
    fn work_out(&self, ledger: &Ledger, touched: &Touched<'_>, to: Epoch) -> Result<Vec<Turned>, KeyStoreError> {
        let buckets: Vec<_> = touched.iter().collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = buckets.len().div_ceil(threads).max(SHARE);
        let work = |part: &[(&Bucket, &Orders<'_>)]| -> Result<Vec<Turned>, KeyStoreError> {
            let top = ledger.top.read();
            let turn = |(number, orders): &(&Bucket, &Orders<'_>)| self.turn_bucket(ledger, &top, **number, orders, to);
            part.iter().map(turn).collect()
        };
        if buckets.len() <= share {
            return work(&buckets);
        }
        std::thread::scope(|scope| {
            let parts: Vec<_> = buckets.chunks(share).map(|part| scope.spawn(|| work(part))).collect();
            let mut all = Vec::with_capacity(buckets.len());
            for part in parts {
                let failed = || KeyStoreError::Store("a thread that worked out buckets failed".into());
                all.extend(part.join().map_err(|_| failed())??);
            }
            Ok(all)
        })
    }

    /// Works those buckets out again in which a row was put meanwhile.
    fn catch_up(
        &self,
        ledger: &Ledger,
        touched: &Touched<'_>,
        turned: Vec<Turned>,
        changed: &HashSet<(crate::spec::ids::LedgerId, Bucket)>,
        to: Epoch,
    ) -> Result<Vec<Turned>, KeyStoreError> {
        let top = ledger.top.read();
        let again = touched.iter().zip(turned).map(|((number, orders), turned)| {
            if changed.contains(&(ledger.id, *number)) {
                self.turn_bucket(ledger, &top, *number, orders, to)
            } else {
                Ok(turned)
            }
        });
        again.collect()
    }

    /// Step 4, and the same in memory. The caller holds the lock of the writers.
    fn replace(
        &self,
        ledger: &Ledger,
        touched: &Touched<'_>,
        change: EpochChange,
        turned: &[Turned],
        seal: impl FnOnce(&mut WriteBatch, EpochChange, &[Turned]) -> Result<(), KeyStoreError>,
    ) -> Result<(), KeyStoreError> {
        let mut master = self.arena.take().map_err(broken)?;
        self.entropy.fill(master.as_mut_slice());
        let next = Top {
            epoch: change.to,
            master,
        };
        let mut batch = WriteBatch::default();
        turned.iter().for_each(|turned| turned.write(&mut batch));
        self.put_pages(ledger, touched, turned, &next, &mut batch)?;
        let (row, value) = wrap_master(ledger.id, change.to, &next.master, self.vault.as_ref())?;
        batch.put(row, value);
        seal(&mut batch, change, turned)?;
        let mut top = ledger.top.write();
        // IMPORTANT: before the write: if it fails, nobody knows whether it is durable, and this epoch's key must live.
        ledger.attempted.store(change.to, Ordering::Release);
        self.db.write(batch)?;
        *top = next;
        touched
            .keys()
            .for_each(|bucket| self.caches.forget_bucket(ledger.id, *bucket));
        Ok(())
    }

    /// Every page under the new master, the touched buckets with their new keys.
    fn put_pages(
        &self,
        ledger: &Ledger,
        touched: &Touched<'_>,
        turned: &[Turned],
        next: &Top,
        batch: &mut WriteBatch,
    ) -> Result<(), KeyStoreError> {
        let top = ledger.top.read();
        for number in 0..PAGES {
            let mut page = match self.page(ledger, &top, number)? {
                Row::Open(page) => page,
                Row::Missing => continue,
                // Once it is under no living master a copy of it could mend nothing any more.
                Row::Closed => return Err(KeyStoreError::Damaged("bucket keys")),
            };
            let new = touched.keys().zip(turned);
            for (bucket, turned) in new.filter(|(bucket, _)| super::buckets::page_of(**bucket) == number) {
                if let Some(key) = &turned.key {
                    page.set(*bucket, next.epoch, key);
                }
            }
            let (row, value) = page.close(ledger.id, next, self.entropy.as_ref())?;
            batch.put(row, value);
        }
        Ok(())
    }

    /// Step 5, for whatever stands open: of the keys that are not the key store's own and not retired, those under which
    /// a backup was taken are retired, the others destroyed. Gives the time when that was done. The caller holds the
    /// admin lock.
    pub(super) fn settle_vault(&self, ledger: &Ledger, horizon: &Horizon<'_>) -> Result<Timestamp, KeyStoreError> {
        let (own, attempted) = (ledger.top.read().epoch, ledger.attempted.load(Ordering::Acquire));
        for key in self.vault.epochs(ledger.id)? {
            let in_doubt = key.epoch > own && key.epoch <= attempted;
            if key.epoch == own || in_doubt || matches!(key.state, EpochState::Retired { .. }) {
                continue;
            }
            let now = horizon.clock.now();
            if key.epoch < own && key.backed_up.is_some() && !horizon.length.is_zero() {
                self.vault.retire_epoch(ledger.id, key.epoch, now, horizon.after(now))?;
            } else {
                self.vault.destroy_epoch(ledger.id, key.epoch)?;
            }
        }
        Ok(horizon.clock.now())
    }
}
