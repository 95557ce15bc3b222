//! What is kept of a subject id after an erasure: how a destruction writes it, how it expires, how a reopening lifts it.

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::ledger::Ledger;
use super::rows::{self, Table};
use crate::keystore::{KeyStoreError, RequestId, Resolution, Suppression};
use crate::spec::ids::{Category, Handle, LedgerId, SubjectId, Timestamp};

/// A row and its value.
type Put = (Vec<u8>, Vec<u8>);

impl RocksKeyStore {
    pub(super) fn set_suppression(
        &self,
        ledger: LedgerId,
        request: RequestId,
        suppression: Suppression,
    ) -> Result<(), KeyStoreError> {
        let clear = match suppression {
            // What a destruction does that nothing was said about.
            Suppression::Forever => return Ok(()),
            Suppression::None => vec![0],
            Suppression::Until(time) => [&[1], time.0.to_be_bytes().as_slice()].concat(),
        };
        let keys = self.ledger(ledger)?;
        let row = suppress_row(ledger, request);
        let value = keys.mark(&row, &clear);
        if self.db.get(&row)?.as_ref() == Some(&value) {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.put(row, value);
        self.db.write(batch)
    }

    /// The row that a destruction keeps of a subject id, if it keeps any.
    pub(super) fn suppression_of(
        &self,
        ledger: &Ledger,
        request: RequestId,
        subject: &SubjectId,
    ) -> Result<Option<Put>, KeyStoreError> {
        const DAMAGED: KeyStoreError = KeyStoreError::Damaged("suppression");
        let said = suppress_row(ledger.id, request);
        let row = ledger.suppression_row(subject);
        let Some(stored) = self.db.get(&said)? else {
            return Ok(Some((row, Vec::new())));
        };
        match ledger.unmark(&said, &stored).ok_or(DAMAGED)? {
            [0] => Ok(None),
            [1, until @ ..] => {
                let value = ledger.mark(&row, until);
                let until = until.try_into().map(u64::from_be_bytes).map_err(|_| DAMAGED)?;
                // Before the write: a sweep that comes too early finds nothing and looks again at the next end.
                let mut expiring = self.expiring.lock();
                let next = expiring.entry(ledger.id).or_insert(until);
                *next = until.min(*next);
                Ok(Some((row, value)))
            }
            _ => Err(DAMAGED),
        }
    }

    /// Remembers when the next suppression row expires.
    pub(super) fn load_suppression(&self, row: &[u8], value: &[u8]) -> Result<(), KeyStoreError> {
        if value.is_empty() {
            return Ok(());
        }
        let ledger = self.ledger(rows::ledger_of(row).ok_or(KeyStoreError::Damaged("suppression"))?)?;
        if let Some(until) = expiry(&ledger, row, value) {
            let mut expiring = self.expiring.lock();
            let next = expiring.entry(ledger.id).or_insert(until);
            *next = until.min(*next);
        }
        Ok(())
    }

    pub(super) fn forget_expired(&self, ledger: LedgerId, now: Timestamp) -> Result<u64, KeyStoreError> {
        let is_due = |next: &u64| *next <= now.0;
        if !self.expiring.lock().get(&ledger).is_some_and(is_due) {
            return Ok(0);
        }
        let _one_at_a_time = self.admin.lock();
        let keys = self.ledger(ledger)?;
        let (mut batch, mut forgotten, mut next) = (WriteBatch::default(), 0, None::<u64>);
        self.db
            .scan(&rows::row(Table::Suppression, ledger, &[]), |row, value| {
                match expiry(&keys, row, value) {
                    Some(until) if until <= now.0 => {
                        batch.delete(row);
                        forgotten += 1;
                    }
                    Some(until) => next = Some(next.map_or(until, |next| next.min(until))),
                    None => {}
                }
                Ok(())
            })?;
        self.db.write(batch)?;
        let mut expiring = self.expiring.lock();
        match next {
            Some(next) => drop(expiring.insert(ledger, next)),
            None => drop(expiring.remove(&ledger)),
        }
        Ok(forgotten)
    }

    pub(super) fn note_reopening(
        &self,
        ledger: LedgerId,
        id: RequestId,
        subject: &SubjectId,
    ) -> Result<Resolution, KeyStoreError> {
        let found = self.resolve_person(ledger, subject)?;
        if found != Resolution::Erased {
            return Ok(found);
        }
        let keys = self.ledger(ledger)?;
        let suppression = keys.suppression_row(subject);
        let row = reopening_row(ledger, id);
        let mark = suppression.get(17..).unwrap_or_default();
        let mut batch = WriteBatch::default();
        batch.put(&row, keys.mark(&row, mark));
        self.db.write(batch)?;
        Ok(found)
    }

    pub(super) fn end_reopening(&self, ledger: LedgerId, id: RequestId, carry_out: bool) -> Result<(), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let keys = self.ledger(ledger)?;
        let row = reopening_row(ledger, id);
        let Some(stored) = self.db.get(&row)? else {
            return Ok(());
        };
        let mark = keys
            .unmark(&row, &stored)
            .ok_or(KeyStoreError::Damaged("noted reopening"))?;
        let mut batch = WriteBatch::default();
        if carry_out {
            batch.delete(rows::row(Table::Suppression, ledger, &[mark]));
            // One of an act that failed would lift the next suppression of the same id.
            self.notes_of(&keys, mark)?
                .into_iter()
                .for_each(|note| batch.delete(note));
        }
        batch.delete(row);
        self.db.write(batch)
    }

    /// The rows of noted reopenings of one subject id, by the key of its suppression row.
    pub(super) fn notes_of(&self, ledger: &Ledger, mark: &[u8]) -> Result<Vec<Vec<u8>>, KeyStoreError> {
        let mut notes = Vec::new();
        self.db
            .scan(&rows::row(Table::Reopening, ledger.id, &[]), |row, value| {
                if ledger.unmark(row, value) == Some(mark) {
                    notes.push(row.to_vec());
                }
                Ok(())
            })?;
        Ok(notes)
    }

    pub(super) fn all_noted(&self, ledger: LedgerId) -> Result<Vec<RequestId>, KeyStoreError> {
        let prefix = rows::row(Table::Reopening, ledger, &[]);
        let mut noted = Vec::new();
        self.db.scan(&prefix, |row, _| {
            let id = row.strip_prefix(prefix.as_slice()).map(RequestId::from_slice);
            noted.extend(id.and_then(Result::ok));
            Ok(())
        })?;
        Ok(noted)
    }

    pub(super) fn holders_of(&self, ledger: LedgerId, category: &Category) -> Result<Vec<Handle>, KeyStoreError> {
        let prefix = rows::row(Table::Key, ledger, &[]);
        let mut holders = Vec::new();
        self.db.scan(&prefix, |row, _| {
            let name = row.strip_prefix(prefix.as_slice()).and_then(|rest| rest.get(2..));
            let (handle, rest) = name
                .and_then(|name| name.split_first_chunk::<16>())
                .ok_or(KeyStoreError::Damaged("subject key"))?;
            let of = rows::take_category(rest)
                .ok_or(KeyStoreError::Damaged("subject key"))?
                .0;
            // Generations of one subject lie side by side.
            if of == *category && holders.last() != Some(&Handle(*handle)) {
                holders.push(Handle(*handle));
            }
            Ok(())
        })?;
        Ok(holders)
    }
}

/// When a row expires; `None`: never, and so does one that was altered.
fn expiry(ledger: &Ledger, row: &[u8], value: &[u8]) -> Option<u64> {
    let until = ledger.unmark(row, value)?;
    until.try_into().map(u64::from_be_bytes).ok()
}

fn suppress_row(ledger: LedgerId, request: RequestId) -> Vec<u8> {
    rows::row(Table::Suppress, ledger, &[request.as_bytes()])
}

fn reopening_row(ledger: LedgerId, id: RequestId) -> Vec<u8> {
    rows::row(Table::Reopening, ledger, &[id.as_bytes()])
}
