//! The keys of one ledger that are always in memory, and what they place, mark and open.
//!
//! ```text
//! bucket   = first 12 bits of HMAC(bucket-hash key, ledger ‖ 1 ‖ subject id)
//! suppression row = HMAC(suppression key, ledger ‖ 0 ‖ subject id)
//! row mac  = first 16 bytes of HMAC(row key, row ‖ value),  row key = HMAC(suppression key, "oubliette/keystore/v1/row")
//! wrap key = HMAC(bucket key, "oubliette/keystore/v1/wrap"),  tag key = HMAC(bucket key, "oubliette/keystore/v1/tag")
//! tag      = HMAC(tag key, subject id)
//! ```
//!
//! A bucket key is never used itself: one derived key wraps, the other tags. Rows that hold no secret but must not be
//! altered (handles, fences, the mark) carry a MAC under a key of the vault, which outlives every epoch as they do.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use parking_lot::RwLock;
use subtle::ConstantTimeEq;

use super::rows::{self, Bucket, Table};
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::keystore::memory::{Arena, Secret32};
use crate::keystore::vault::{Epoch, EpochState, Secret, Vault};
use crate::keystore::wrap;
use crate::spec::ids::{LedgerId, SubjectId};

const MAC: usize = 16;

/// One ledger's keys.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) id: LedgerId,
    bucket_hash: Secret32,
    suppression: Secret32,
    rows: Secret32,
    /// Read by whoever opens rows, from the first row to the last, so that all are of one epoch; written by a change of
    /// epoch, together with the rows. Nobody takes it twice.
    pub(super) top: RwLock<Top>,
    /// The newest epoch under which a write was tried. If that write failed, it may have become durable all the same.
    pub(super) attempted: AtomicU32,
}

/// What a change of epoch replaces.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) epoch: Epoch,
    pub(super) master: Secret32,
}

/// The keys of one bucket, derived.
#[derive(Debug)]
pub(super) struct BucketKey {
    pub(super) number: Bucket,
    /// The epoch in which the bucket key was made. Bound by everything under it, so that giving a bucket a new key
    /// leaves nothing of the old one openable, and a new epoch alone re-wraps bucket keys only.
    pub(super) born: Epoch,
    pub(super) wrap: Secret32,
    tag: Secret32,
}

/// Key and value of a row.
pub(super) type Stored = (Vec<u8>, Vec<u8>);

/// Why a row gives nothing.
pub(super) fn broken(error: std::io::Error) -> KeyStoreError {
    KeyStoreError::Store(Box::new(error))
}

fn no_key(id: LedgerId, epoch: Epoch) -> KeyStoreError {
    KeyStoreError::Foreign(format!(
        "ledger {id} is at epoch {epoch} in the key store, and the vault has no key of it. If `oubliette vault move` broke off, run it \
         again as before; else put the vault back that belongs to the key store"
    ))
}

/// Row key and value of a master under an epoch key.
pub(super) fn wrap_master(
    id: LedgerId,
    epoch: Epoch,
    master: &[u8; 32],
    vault: &dyn Vault,
) -> Result<(Vec<u8>, Vec<u8>), KeyStoreError> {
    let wrapped = vault.wrap_master(id, epoch, &master_aad(id, epoch), master)?;
    let row = rows::row(Table::Master, id, &[]);
    Ok((row, [epoch.to_be_bytes().as_slice(), &wrapped].concat()))
}

/// What the wrap of an epoch master is bound to.
fn master_aad(id: LedgerId, epoch: Epoch) -> Vec<u8> {
    [rows::row(Table::Master, id, &[]).as_slice(), &epoch.to_be_bytes()].concat()
}

impl Ledger {
    /// Wraps a new epoch master for a ledger that has none; gives row key and value.
    pub(super) fn mint_master(
        id: LedgerId,
        vault: &dyn Vault,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, Vec<u8>), KeyStoreError> {
        let epochs = vault.epochs(id)?;
        let current = epochs.iter().find(|key| key.state == EpochState::Current);
        let epoch = current.ok_or_else(|| no_key(id, 1))?.epoch;
        let mut master = Secret::default();
        entropy.fill(master.as_mut_slice());
        wrap_master(id, epoch, &master, vault)
    }

    /// Unwraps a ledger's master with the vault's keys.
    pub(super) fn load(
        id: LedgerId,
        master_row: &[u8],
        vault: &dyn Vault,
        arena: &Arc<Arena>,
    ) -> Result<Self, KeyStoreError> {
        let (epoch, wrapped) = rows::split_epoch(master_row).ok_or(KeyStoreError::Damaged("epoch master"))?;
        let epochs = vault.epochs(id)?;
        match epochs.iter().find(|key| key.epoch == epoch).map(|key| key.state) {
            Some(EpochState::Fresh | EpochState::Current) => {}
            Some(EpochState::Retired { .. }) => {
                let text = format!("ledger {id} is at epoch {epoch}, which is retired: this is a copy from a backup");
                return Err(KeyStoreError::Foreign(text));
            }
            None => return Err(no_key(id, epoch)),
        }
        Self::unwrap(id, (epoch, wrapped), vault, arena)
    }

    /// Unwraps a ledger's master, also one under a retired epoch.
    pub(super) fn unwrap(
        id: LedgerId,
        (epoch, wrapped): (Epoch, &[u8]),
        vault: &dyn Vault,
        arena: &Arc<Arena>,
    ) -> Result<Self, KeyStoreError> {
        let keep = |key: &[u8; 32]| arena.keep(key).map_err(broken);
        let master = keep(&*vault.unwrap_master(id, epoch, &master_aad(id, epoch), wrapped)?)?;
        let suppression = keep(&*vault.suppression_key(id)?)?;
        let rows = keep(&wrap::mac(&suppression, &[b"oubliette/keystore/v1/row"]))?;
        Ok(Self {
            id,
            bucket_hash: keep(&*vault.bucket_hash_key(id)?)?,
            suppression,
            rows,
            top: RwLock::new(Top { epoch, master }),
            attempted: AtomicU32::new(epoch),
        })
    }

    /// The epoch that the vault has in use.
    pub(super) fn present_epoch(&self, vault: &dyn Vault) -> Result<Epoch, KeyStoreError> {
        let epochs = vault.epochs(self.id)?;
        let current = epochs.iter().find(|key| key.state == EpochState::Current);
        let current = current.ok_or_else(|| no_key(self.id, self.top.read().epoch))?;
        Ok(current.epoch)
    }

    /// The same pages of bucket keys under a new master of another epoch, and the new master's row.
    pub(super) fn wrap_again(
        &self,
        pages: Vec<Stored>,
        epoch: Epoch,
        vault: &dyn Vault,
        entropy: &dyn Entropy,
    ) -> Result<Vec<Stored>, KeyStoreError> {
        const DAMAGED: KeyStoreError = KeyStoreError::Damaged("bucket keys");
        let top = self.top.read();
        let mut master = Secret::default();
        entropy.fill(master.as_mut_slice());
        let mut again = vec![wrap_master(self.id, epoch, &master, vault)?];
        for (row, stored) in pages {
            let (of, wrapped) = rows::split_epoch(&stored).ok_or(DAMAGED)?;
            let text = wrap::unwrap(&top.master, (&row, &of.to_be_bytes()), wrapped).ok_or(DAMAGED)?;
            let wrapped = wrap::wrap(&master, (&row, &epoch.to_be_bytes()), &text, entropy).ok_or(DAMAGED)?;
            let value = [epoch.to_be_bytes().as_slice(), &wrapped].concat();
            again.push((row, value));
        }
        Ok(again)
    }

    /// Whether the vault opens the ledger's master now.
    pub(super) fn check(id: LedgerId, master_row: Option<&[u8]>, vault: &dyn Vault) -> Result<(), KeyStoreError> {
        let master = master_row.and_then(rows::split_epoch);
        let (epoch, wrapped) = master.ok_or(KeyStoreError::Damaged("epoch master"))?;
        vault
            .unwrap_master(id, epoch, &master_aad(id, epoch), wrapped)
            .map(drop)
    }

    pub(super) fn bucket_of(&self, subject: &SubjectId) -> Bucket {
        let [a, b, ..] = wrap::mac(
            &self.bucket_hash,
            &[self.id.as_bytes(), &[1], subject.expose().as_bytes()],
        );
        Bucket::from_be_bytes([a, b]) >> 4
    }

    pub(super) fn suppression_row(&self, subject: &SubjectId) -> Vec<u8> {
        let mark = wrap::mac(
            &self.suppression,
            &[self.id.as_bytes(), &[0], subject.expose().as_bytes()],
        );
        rows::row(Table::Suppression, self.id, &[&mark])
    }

    /// The value to store for a row that is open to read but not to change.
    pub(super) fn mark(&self, row: &[u8], clear: &[u8]) -> Vec<u8> {
        let mac = wrap::mac(&self.rows, &[row, clear]);
        clear.iter().chain(mac.iter().take(MAC)).copied().collect()
    }

    /// The clear value of a marked row; `None` if it was altered.
    pub(super) fn unmark<'a>(&self, row: &[u8], stored: &'a [u8]) -> Option<&'a [u8]> {
        let (clear, mac) = stored.split_last_chunk::<MAC>()?;
        let expected = wrap::mac(&self.rows, &[row, clear]);
        bool::from(expected.get(..MAC)?.ct_eq(mac)).then_some(clear)
    }
}

impl BucketKey {
    pub(super) fn derive(
        number: Bucket,
        born: Epoch,
        key: &[u8; 32],
        arena: &Arc<Arena>,
    ) -> Result<Self, KeyStoreError> {
        let derived = |label: &[u8]| arena.keep(&wrap::mac(key, &[label])).map_err(broken);
        let (wrap, tag) = (
            derived(b"oubliette/keystore/v1/wrap")?,
            derived(b"oubliette/keystore/v1/tag")?,
        );
        Ok(Self {
            number,
            born,
            wrap,
            tag,
        })
    }

    pub(super) fn tag(&self, subject: &SubjectId) -> [u8; 32] {
        wrap::mac(&self.tag, &[subject.expose().as_bytes()])
    }
}
