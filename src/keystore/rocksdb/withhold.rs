//! Keys withheld for a time, and categories opened again: rows and memory of both.

use std::collections::{HashMap, HashSet};

use parking_lot::RwLock;
use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::ledger::Ledger;
use super::rows::{self, Table};
use crate::keystore::{KeyStoreError, Reopened, RequestId, Withheld, Withholding};
use crate::spec::ids::{Category, Handle, LedgerId};

/// Both, by subject.
#[derive(Debug, Default)]
pub(super) struct Life {
    withheld: RwLock<HashMap<(LedgerId, Handle), Vec<Withholding>>>,
    reopened: RwLock<HashMap<(LedgerId, Handle), Vec<Reopened>>>,
}

impl Life {
    /// The erasure in whose grace the category (`None`: the handle) is.
    pub(super) fn grace(&self, ledger: LedgerId, handle: Handle, category: Option<&Category>) -> Option<RequestId> {
        self.find(ledger, handle, category, Withheld::Grace)
    }

    /// Whether the category (`None`: the subject as a whole) is restricted.
    pub(super) fn is_restricted(&self, ledger: LedgerId, handle: Handle, category: Option<&Category>) -> bool {
        self.find(ledger, handle, category, Withheld::Restricted).is_some()
    }

    fn find(&self, ledger: LedgerId, handle: Handle, category: Option<&Category>, why: Withheld) -> Option<RequestId> {
        let all = self.withheld.read();
        let covering = all.get(&(ledger, handle))?.iter().find(|withheld| {
            let named = match (&withheld.categories, category) {
                (None, _) => true,
                (Some(named), Some(category)) => named.contains(category),
                (Some(_), None) => false,
            };
            withheld.why == why && named
        });
        covering.map(|withheld| withheld.id)
    }

    /// The newest reopening of a category.
    pub(super) fn reopened(&self, ledger: LedgerId, handle: Handle, category: &Category) -> Option<Reopened> {
        let all = self.reopened.read();
        let of = all.get(&(ledger, handle))?;
        of.iter().find(|reopened| reopened.category == *category).cloned()
    }

    pub(super) fn knows(&self, ledger: LedgerId, handle: Handle) -> bool {
        let of = (ledger, handle);
        self.withheld.read().contains_key(&of) || self.reopened.read().contains_key(&of)
    }

    fn withhold(&self, ledger: LedgerId, withholding: Withholding) {
        let mut all = self.withheld.write();
        let of = all.entry((ledger, withholding.handle)).or_default();
        of.retain(|known| known.id != withholding.id);
        of.push(withholding);
    }

    fn give_back(&self, ledger: LedgerId, handle: Handle, id: RequestId) {
        let mut all = self.withheld.write();
        if let Some(of) = all.get_mut(&(ledger, handle)) {
            of.retain(|known| known.id != id);
            if of.is_empty() {
                all.remove(&(ledger, handle));
            }
        }
    }

    fn reopen(&self, ledger: LedgerId, reopened: Reopened) {
        let mut all = self.reopened.write();
        let of = all.entry((ledger, reopened.handle)).or_default();
        of.retain(|known| known.category != reopened.category);
        of.push(reopened);
    }

    pub(super) fn withheld_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Withholding> {
        self.withheld.read().get(&(ledger, handle)).cloned().unwrap_or_default()
    }

    fn all_withheld(&self, ledger: LedgerId) -> Vec<Withholding> {
        of_ledger(&self.withheld.read(), ledger)
    }

    pub(super) fn reopened_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Reopened> {
        self.reopened.read().get(&(ledger, handle)).cloned().unwrap_or_default()
    }

    pub(super) fn all_reopened(&self, ledger: LedgerId) -> Vec<Reopened> {
        of_ledger(&self.reopened.read(), ledger)
    }
}

fn of_ledger<T: Clone>(all: &HashMap<(LedgerId, Handle), Vec<T>>, ledger: LedgerId) -> Vec<T> {
    let own = all.iter().filter(|((of, _), _)| *of == ledger);
    own.flat_map(|(_, items)| items.iter().cloned()).collect()
}

impl RocksKeyStore {
    pub(super) fn load_withheld(&self, row: &[u8], value: &[u8]) -> Result<(), KeyStoreError> {
        const DAMAGED: KeyStoreError = KeyStoreError::Damaged("withheld");
        let ledger = self.ledger(rows::ledger_of(row).ok_or(DAMAGED)?)?;
        let clear = ledger.unmark(row, value).ok_or(DAMAGED)?;
        let withholding = parse_withheld(row, clear).ok_or(DAMAGED)?;
        self.fences.life.withhold(ledger.id, withholding);
        Ok(())
    }

    pub(super) fn load_reopened(&self, row: &[u8], value: &[u8]) -> Result<(), KeyStoreError> {
        const DAMAGED: KeyStoreError = KeyStoreError::Damaged("reopened");
        let ledger = self.ledger(rows::ledger_of(row).ok_or(DAMAGED)?)?;
        let clear = ledger.unmark(row, value).ok_or(DAMAGED)?;
        self.fences
            .life
            .reopen(ledger.id, parse_reopened(row, clear).ok_or(DAMAGED)?);
        Ok(())
    }

    pub(super) fn set_withheld(&self, ledger: LedgerId, withholdings: &[Withholding]) -> Result<(), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let keys = self.ledger(ledger)?;
        let mut batch = WriteBatch::default();
        for withholding in withholdings {
            put(
                &mut batch,
                &keys,
                withheld_row(ledger, withholding),
                &encode_withheld(withholding),
            );
        }
        self.db.write(batch)?;
        // IMPORTANT: durable, in memory, drained, purged: as a fence.
        for withholding in withholdings {
            self.fences.life.withhold(ledger, withholding.clone());
        }
        self.gate.drain();
        self.purge(ledger, withholdings.iter().map(|withholding| withholding.handle));
        Ok(())
    }

    pub(super) fn end_withheld(&self, ledger: LedgerId, id: RequestId) -> Result<(), KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let own: Vec<_> = self
            .all_withheld(ledger)
            .into_iter()
            .filter(|withheld| withheld.id == id)
            .collect();
        if own.is_empty() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        own.iter()
            .for_each(|withheld| batch.delete(withheld_row(ledger, withheld)));
        self.db.write(batch)?;
        own.iter()
            .for_each(|withheld| self.fences.life.give_back(ledger, withheld.handle, id));
        Ok(())
    }

    pub(super) fn all_withheld(&self, ledger: LedgerId) -> Vec<Withholding> {
        self.fences.life.all_withheld(ledger)
    }

    pub(super) fn open_categories_again(
        &self,
        ledger: LedgerId,
        reopened: &[Reopened],
    ) -> Result<Vec<Reopened>, KeyStoreError> {
        let _one_at_a_time = self.admin.lock();
        let keys = self.ledger(ledger)?;
        let is_new = |reopened: &&Reopened| {
            let known = self.fences.life.reopened(ledger, reopened.handle, &reopened.category);
            known.is_none_or(|known| known.generation < reopened.generation)
        };
        let new: Vec<_> = reopened.iter().filter(is_new).cloned().collect();
        if new.is_empty() {
            return Ok(new);
        }
        let mut batch = WriteBatch::default();
        for reopened in &new {
            let (row, value) = (reopened_row(ledger, reopened), encode_reopened(reopened));
            put(&mut batch, &keys, row, &value);
        }
        self.db.write(batch)?;
        for reopened in &new {
            self.fences.life.reopen(ledger, reopened.clone());
        }
        self.purge(ledger, new.iter().map(|reopened| reopened.handle));
        Ok(new)
    }

    fn purge(&self, ledger: LedgerId, handles: impl Iterator<Item = Handle>) {
        let handles: HashSet<_> = handles.collect();
        self.caches.purge(ledger, |handle| handles.contains(&handle));
    }
}

fn put(batch: &mut WriteBatch, ledger: &Ledger, row: Vec<u8>, clear: &[u8]) {
    let value = ledger.mark(&row, clear);
    batch.put(row, value);
}

fn withheld_row(ledger: LedgerId, withholding: &Withholding) -> Vec<u8> {
    let parts = [withholding.handle.as_bytes().as_slice(), withholding.id.as_bytes()];
    rows::row(Table::Withheld, ledger, &parts)
}

fn encode_withheld(withholding: &Withholding) -> Vec<u8> {
    let why = match withholding.why {
        Withheld::Restricted => 1,
        Withheld::Grace => 2,
    };
    let mut value = vec![why, u8::from(withholding.categories.is_some())];
    let categories = withholding.categories.iter().flatten();
    categories.for_each(|category| rows::push_category(&mut value, category));
    value
}

fn parse_withheld(row: &[u8], value: &[u8]) -> Option<Withholding> {
    let (handle, id) = row.get(17..)?.split_first_chunk::<16>()?;
    let (why, scoped, mut rest) = match value {
        [1, scope @ (0 | 1), rest @ ..] => (Withheld::Restricted, *scope == 1, rest),
        [2, scope @ (0 | 1), rest @ ..] => (Withheld::Grace, *scope == 1, rest),
        _ => return None,
    };
    let mut categories = Vec::new();
    while !rest.is_empty() {
        let category;
        (category, rest) = rows::take_category(rest)?;
        categories.push(category);
    }
    Some(Withholding {
        id: RequestId::from_slice(id).ok()?,
        handle: Handle(*handle),
        categories: scoped.then_some(categories),
        why,
    })
}

fn reopened_row(ledger: LedgerId, reopened: &Reopened) -> Vec<u8> {
    let mut row = rows::row(Table::Reopened, ledger, &[reopened.handle.as_bytes()]);
    rows::push_category(&mut row, &reopened.category);
    row
}

fn encode_reopened(reopened: &Reopened) -> Vec<u8> {
    let mut value = reopened.generation.to_be_bytes().to_vec();
    reopened
        .over
        .iter()
        .for_each(|request| value.extend_from_slice(request.as_bytes()));
    value
}

fn parse_reopened(row: &[u8], value: &[u8]) -> Option<Reopened> {
    let (handle, category) = row.get(17..)?.split_first_chunk::<16>()?;
    let (category, rest) = rows::take_category(category)?;
    let (generation, over) = value.split_first_chunk::<4>()?;
    let (over, left) = over.as_chunks::<16>();
    (rest.is_empty() && left.is_empty()).then(|| Reopened {
        handle: Handle(*handle),
        category,
        generation: u32::from_be_bytes(*generation),
        over: over.iter().map(|request| RequestId::from_bytes(*request)).collect(),
    })
}
