//! Looking people up: bucket keys, identity rows, handle rows. Mints nothing.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::RocksKeyStore;
use super::ledger::{BucketKey, Ledger};
use super::rows::{self, Bucket};
use crate::env::Entropy;
use crate::keystore::wrap;
use crate::keystore::{Census, KeyRef, KeyStoreError, Refusal, Resolution, SubjectState};
use crate::spec::ids::{Category, Handle, LedgerId, SubjectId};

/// Subject ids are padded to a multiple of this, so that a row's length says little about them.
const PAD: usize = 64;

/// A row that is not there, does not open, or does.
pub(super) enum Row<T> {
    Missing,
    /// Damaged, swapped, or wrapped by another vault: reported as unavailable, never as erased.
    Closed,
    Open(T),
}

/// What a subject id leads to.
pub(super) enum Person {
    New,
    Known(Handle),
    Refused(Refusal),
}

/// Warns without naming anybody.
pub(super) fn warn_closed(table: &'static str) {
    tracing::warn!(
        table,
        "a row of the key store does not open: damaged, swapped, or wrapped by another vault"
    );
}

impl RocksKeyStore {
    /// What the rows say about a subject, fences aside. `bucket` is the subject's own, if it has a key.
    pub(super) fn look_up(
        &self,
        ledger: &Ledger,
        bucket: Option<&BucketKey>,
        subject: &SubjectId,
    ) -> Result<Person, KeyStoreError> {
        // IMPORTANT: the identity first, the suppression after it. `destroy` removes one and writes the other at once,
        // so whoever no longer finds the identity finds the suppression; the other way round both could be missed, and
        // an erased person would look new.
        if let Some(bucket) = bucket {
            let row = rows::identity(ledger.id, bucket.number, &bucket.tag(subject));
            if let Some(stored) = self.db.get(&row)? {
                return Ok(match open_identity(bucket, &row, &stored) {
                    Some((handle, id)) if id == *subject => Person::Known(handle),
                    _ => {
                        warn_closed("identity");
                        Person::Refused(Refusal::Unavailable)
                    }
                });
            }
        }
        match self.db.get(&ledger.suppression_row(subject))? {
            Some(_) => Ok(Person::Refused(Refusal::Erased(None))),
            None => Ok(Person::New),
        }
    }

    /// [`RocksKeyStore::look_up`] with the bucket found for it.
    pub(super) fn find_person(&self, ledger: &Ledger, subject: &SubjectId) -> Result<(Bucket, Person), KeyStoreError> {
        let (number, top) = (ledger.bucket_of(subject), ledger.top.read());
        let person = match self.bucket(ledger, &top, number)? {
            Row::Open(bucket) => self.look_up(ledger, Some(&bucket), subject)?,
            Row::Missing => self.look_up(ledger, None, subject)?,
            Row::Closed => Person::Refused(Refusal::Unavailable),
        };
        Ok((number, person))
    }

    pub(super) fn resolve_person(&self, ledger: LedgerId, subject: &SubjectId) -> Result<Resolution, KeyStoreError> {
        let _pass = self.gate.enter();
        let ledger = self.ledger(ledger)?;
        match self.find_person(&ledger, subject)?.1 {
            Person::Known(handle) => Ok(Resolution::Known(handle)),
            Person::New => Ok(Resolution::Unknown),
            Person::Refused(Refusal::Erased(_)) => Ok(Resolution::Erased),
            Person::Refused(_) => Err(KeyStoreError::Damaged("identity")),
        }
    }

    /// The bucket of a handle.
    pub(super) fn place_of(&self, ledger: &Ledger, handle: Handle) -> Result<Row<Bucket>, KeyStoreError> {
        let row = rows::handle(ledger.id, handle);
        let Some(stored) = self.db.get(&row)? else {
            return Ok(Row::Missing);
        };
        let Some(place) = ledger.unmark(&row, &stored).and_then(rows::parse_handle) else {
            warn_closed("handle");
            return Ok(Row::Closed);
        };
        Ok(Row::Open(place))
    }

    /// The newest generation of a category's key.
    pub(super) fn generation(
        &self,
        ledger: &Ledger,
        bucket: Bucket,
        handle: Handle,
        category: &Category,
    ) -> Result<Option<u32>, KeyStoreError> {
        let prefix = rows::category(ledger.id, bucket, handle, category);
        let last = self.db.last(&prefix)?;
        Ok(last
            .and_then(|row| row.strip_prefix(prefix.as_slice())?.try_into().ok())
            .map(u32::from_be_bytes))
    }

    /// Handle rows without a fence of the whole subject are active; whoever is erased has none any more.
    pub(super) fn count_people(&self, ledger: LedgerId) -> Result<Census, KeyStoreError> {
        let mut fenced: HashMap<Handle, (bool, bool)> = HashMap::new();
        for fence in self.fences.all(ledger) {
            let state = fenced.entry(fence.order.handle).or_default();
            state.0 |= fence.order.categories.is_none();
            state.1 |= fence.destroyed.is_some();
        }
        let mut census = Census::default();
        for handle in fenced
            .iter()
            .filter(|(_, (whole, _))| *whole)
            .map(|(handle, _)| *handle)
        {
            match self.fences.state(ledger, handle) {
                Some(SubjectState::Erased(_)) => census.erased += 1,
                _ => census.erasing += 1,
            }
        }
        let prefix = rows::row(rows::Table::Handle, ledger, &[]);
        self.db.scan(&prefix, |row, _| {
            let handle = row
                .strip_prefix(prefix.as_slice())
                .and_then(|handle| handle.try_into().ok());
            let handle = Handle(handle.ok_or(KeyStoreError::Damaged("handle"))?);
            let (whole, destroyed) = fenced.get(&handle).copied().unwrap_or_default();
            census.active += u64::from(!whole);
            census.partly_erased += u64::from(!whole && destroyed);
            Ok(())
        })?;
        Ok(census)
    }

    pub(super) fn live_keys(&self, ledger: LedgerId, handle: Handle) -> Result<Vec<KeyRef>, KeyStoreError> {
        let _pass = self.gate.enter();
        let ledger = self.ledger(ledger)?;
        let mut keys = Vec::new();
        let bucket = match self.place_of(&ledger, handle)? {
            Row::Open(place) => place,
            Row::Missing => return Ok(keys),
            Row::Closed => return Err(KeyStoreError::Damaged("handle")),
        };
        let prefix = rows::keys(ledger.id, bucket, handle);
        self.db.scan(&prefix, |row, _| {
            let (category, generation) = rows::parse_key(row, &prefix).ok_or(KeyStoreError::Damaged("subject key"))?;
            if self.fences.refusal(ledger.id, handle, Some(&category)).is_none() {
                keys.push(KeyRef {
                    handle,
                    category,
                    generation,
                });
            }
            Ok(())
        })?;
        Ok(keys)
    }
}

/// Row key and value of an identity.
pub(super) fn seal_identity(
    ledger: LedgerId,
    bucket: &BucketKey,
    handle: Handle,
    subject: &SubjectId,
    entropy: &dyn Entropy,
) -> Result<(Vec<u8>, Vec<u8>), KeyStoreError> {
    let row = rows::identity(ledger, bucket.number, &bucket.tag(subject));
    let text = identity_text(handle, subject);
    let value = wrap::wrap(&bucket.wrap, (&row, &bucket.born.to_be_bytes()), &text, entropy);
    Ok((row, value.ok_or(KeyStoreError::Damaged("identity"))?))
}

/// The plaintext of an identity row.
fn identity_text(handle: Handle, subject: &SubjectId) -> Zeroizing<Vec<u8>> {
    let id = subject.expose().as_bytes();
    let length = (18 + id.len()).next_multiple_of(PAD);
    let mut text = Zeroizing::new(Vec::with_capacity(length));
    text.extend_from_slice(handle.as_bytes());
    // A subject id has at most 256 bytes.
    text.extend_from_slice(&(id.len() as u16).to_be_bytes());
    text.extend_from_slice(id);
    text.resize(length, 0);
    text
}

/// Opens an identity row.
pub(super) fn open_identity(bucket: &BucketKey, row: &[u8], stored: &[u8]) -> Option<(Handle, SubjectId)> {
    let text = wrap::unwrap(&bucket.wrap, (row, &bucket.born.to_be_bytes()), stored)?;
    let (handle, rest) = text.split_first_chunk::<16>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let id = std::str::from_utf8(rest.get(..usize::from(u16::from_be_bytes(*length)))?).ok()?;
    Some((Handle(*handle), id.parse().ok()?))
}
