//! Lending keys: fences first, then the cache, then row by row from the handle to the key.

use std::ops::Deref;
use std::sync::Arc;

use super::RocksKeyStore;
use super::gate::Pass;
use super::ledger::{BucketKey, Ledger, broken};
use super::people::{Row, warn_closed};
use super::rows::{self, ACTIVE};
use crate::keystore::memory::Secret32;
use crate::keystore::wrap;
use crate::keystore::{KeyLease, KeyRef, KeyStoreError, Refusal};
use crate::spec::ids::LedgerId;
use crate::spec::seal::SubjectKey;

/// A key on loan. The key goes before the pass: when a fence has seen all passes come back, no key is out.
pub(super) struct Lent {
    key: Arc<Secret32>,
    _pass: Pass,
}

impl Lent {
    pub(super) fn new(key: impl Into<Arc<Secret32>>, pass: Pass) -> Self {
        Self {
            key: key.into(),
            _pass: pass,
        }
    }
}

impl Deref for Lent {
    type Target = SubjectKey;
    fn deref(&self) -> &SubjectKey {
        self.key.as_subject_key()
    }
}

impl RocksKeyStore {
    pub(super) fn lend(
        &self,
        ledger: LedgerId,
        key: &KeyRef,
        to_seal: bool,
    ) -> Result<Result<KeyLease, Refusal>, KeyStoreError> {
        // IMPORTANT: the pass before the fences, see `gate`.
        let pass = self.gate.enter();
        let category = Some(&key.category);
        if let Some(refusal) = self.fences.refusal_of(ledger, key.handle, category, key.generation) {
            return Ok(Err(refusal));
        }
        if !to_seal && self.fences.life.is_restricted(ledger, key.handle, category) {
            return Ok(Err(Refusal::Restricted));
        }
        let secret = match self.caches.key(ledger, key) {
            Some(secret) => secret,
            None => match self.unwrap_key(ledger, key)? {
                Ok(secret) => secret,
                Err(refusal) => return Ok(Err(refusal)),
            },
        };
        Ok(Ok(KeyLease::new(Lent::new(secret, pass))))
    }

    fn unwrap_key(&self, ledger: LedgerId, key: &KeyRef) -> Result<Result<Arc<Secret32>, Refusal>, KeyStoreError> {
        const UNAVAILABLE: Refusal = Refusal::Unavailable;
        let Ok(ledger) = self.ledger(ledger) else {
            return Ok(Err(UNAVAILABLE));
        };
        let Row::Open(number) = self.place_of(&ledger, key.handle)? else {
            return Ok(Err(UNAVAILABLE));
        };
        let top = ledger.top.read();
        let Row::Open(bucket) = self.bucket(&ledger, &top, number)? else {
            return Ok(Err(UNAVAILABLE));
        };
        let row = rows::key(ledger.id, number, key.handle, &key.category, key.generation);
        let Some(stored) = self.db.get(&row)? else {
            return Ok(Err(UNAVAILABLE));
        };
        match self.open_key(&bucket, &row, &stored)? {
            Some((ACTIVE, secret)) => {
                let secret = Arc::new(secret);
                self.caches.keep_key(ledger.id, key.clone(), Arc::clone(&secret));
                Ok(Ok(secret))
            }
            _ => {
                warn_closed("subject key");
                Ok(Err(UNAVAILABLE))
            }
        }
    }

    /// State and key of a key row; `None` if it does not open.
    pub(super) fn open_key(
        &self,
        bucket: &BucketKey,
        row: &[u8],
        stored: &[u8],
    ) -> Result<Option<(u8, Secret32)>, KeyStoreError> {
        let Some((state, wrapped)) = stored.split_first() else {
            return Ok(None);
        };
        let mut secret = self.arena.take().map_err(broken)?;
        let opened = wrap::unwrap_into(
            &bucket.wrap,
            (row, &key_clear(bucket, *state)),
            wrapped,
            secret.as_mut_slice(),
        );
        Ok(opened.map(|()| (*state, secret)))
    }

    /// A new key under `bucket`: the key, and the value of its row.
    pub(super) fn mint_key(&self, bucket: &BucketKey, row: &[u8]) -> Result<(Secret32, Vec<u8>), KeyStoreError> {
        let mut secret = self.arena.take().map_err(broken)?;
        self.entropy.fill(secret.as_mut_slice());
        let value = self.wrap_key(bucket, row, ACTIVE, &secret)?;
        Ok((secret, value))
    }

    /// The value of a key row.
    pub(super) fn wrap_key(
        &self,
        bucket: &BucketKey,
        row: &[u8],
        state: u8,
        secret: &[u8; 32],
    ) -> Result<Vec<u8>, KeyStoreError> {
        let place = (row, key_clear(bucket, state));
        let wrapped = wrap::wrap(&bucket.wrap, (place.0, &place.1), secret, self.entropy.as_ref())
            .ok_or(KeyStoreError::Damaged("subject key"))?;
        Ok([&[state], wrapped.as_slice()].concat())
    }

    /// The applied mark of a ledger.
    pub(super) fn applied_mark(&self, ledger: &Ledger) -> Result<Option<u64>, KeyStoreError> {
        let row = rows::row(rows::Table::Applied, ledger.id, &[]);
        let Some(stored) = self.db.get(&row)? else {
            return Ok(None);
        };
        let mark = ledger.unmark(&row, &stored).and_then(|clear| clear.try_into().ok());
        mark.map(u64::from_be_bytes)
            .map(Some)
            .ok_or(KeyStoreError::Damaged("applied mark"))
    }
}

/// What a key row binds besides its own key: the epoch of its bucket key, and the state.
fn key_clear(bucket: &BucketKey, state: u8) -> [u8; 5] {
    let [a, b, c, d] = bucket.born.to_be_bytes();
    [a, b, c, d, state]
}
