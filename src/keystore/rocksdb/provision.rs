//! Provisioning: the known from the cache, the rest through one group commit that mints handle and keys.
//!
//! The caller holds a pass from before it looks at the fences until its answer is durable and cached. So a fence waits
//! for what is being minted, and sees all of it.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rocksdb::WriteBatch;

use super::RocksKeyStore;
use super::buckets::{Page, page_of};
use super::ledger::{BucketKey, Ledger};
use super::people::{Person, Row, seal_identity};
use super::rows::{self, Bucket};
use crate::keystore::memory::Secret32;
use crate::keystore::{KeyRef, KeyStoreError, Refusal, Wanted};
use crate::spec::ids::{Category, Handle, LedgerId, SubjectId};

/// A subject and perhaps a category, to be found or minted.
pub(super) struct Ask {
    ledger: Arc<Ledger>,
    subject: SubjectId,
    category: Option<Category>,
}

/// What was found or minted; generation 0 where no key was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    handle: Handle,
    generation: u32,
}

fn named(answer: Result<Settled, Refusal>, want: &Wanted) -> Result<KeyRef, Refusal> {
    answer.map(|settled| KeyRef {
        handle: settled.handle,
        category: want.category.clone(),
        generation: settled.generation,
    })
}

impl RocksKeyStore {
    pub(super) fn provision_keys(
        &self,
        ledger: LedgerId,
        wanted: &[Wanted],
    ) -> Result<Vec<Result<KeyRef, Refusal>>, KeyStoreError> {
        let asks = wanted.iter().map(|want| (&want.subject, Some(&want.category)));
        let answers = self.provision_all(ledger, asks)?;
        Ok(answers
            .into_iter()
            .zip(wanted)
            .map(|(answer, want)| named(answer, want))
            .collect())
    }

    pub(super) fn provision_people(
        &self,
        ledger: LedgerId,
        subjects: &[SubjectId],
    ) -> Result<Vec<Result<Handle, Refusal>>, KeyStoreError> {
        let answers = self.provision_all(ledger, subjects.iter().map(|subject| (subject, None)))?;
        Ok(answers
            .into_iter()
            .map(|answer| answer.map(|settled| settled.handle))
            .collect())
    }

    fn provision_all<'a>(
        &self,
        ledger: LedgerId,
        asks: impl Iterator<Item = (&'a SubjectId, Option<&'a Category>)>,
    ) -> Result<Vec<Result<Settled, Refusal>>, KeyStoreError> {
        let _pass = self.gate.enter();
        let (mut answers, mut unknown) = (Vec::new(), Vec::new());
        for (subject, category) in asks {
            let cached = self.cached(ledger, subject, category);
            if cached.is_none() {
                unknown.push((subject, category));
            }
            answers.push(cached);
        }
        let mut settled = if unknown.is_empty() {
            Vec::new().into_iter()
        } else {
            self.settle(&self.ledger(ledger)?, unknown)?.into_iter()
        };
        let unavailable = || Err(Refusal::Unavailable);
        Ok(answers
            .into_iter()
            .map(|cached| cached.or_else(|| settled.next()).unwrap_or_else(unavailable))
            .collect())
    }

    /// The answers for all pairs if the cache has every one.
    pub(super) fn known_keys(&self, ledger: LedgerId, wanted: &[Wanted]) -> Option<Vec<Result<KeyRef, Refusal>>> {
        let _pass = self.gate.enter();
        wanted
            .iter()
            .map(|want| Some(named(self.cached(ledger, &want.subject, Some(&want.category))?, want)))
            .collect()
    }

    /// The answer that cache and fences give; `None` if they do not know.
    fn cached(
        &self,
        ledger: LedgerId,
        subject: &SubjectId,
        category: Option<&Category>,
    ) -> Option<Result<Settled, Refusal>> {
        let known = self.caches.person(ledger, subject)?;
        if let Some(refusal) = self.fences.refusal(ledger, known.handle, category) {
            return Some(Err(refusal));
        }
        let generation = match category {
            Some(category) => known.categories.iter().find(|(named, _)| named == category)?.1,
            None => 0,
        };
        Some(Ok(Settled {
            handle: known.handle,
            generation,
        }))
    }

    /// Looks up what the cache does not know, and has the rest minted.
    fn settle<'a>(
        &self,
        ledger: &Arc<Ledger>,
        asks: impl IntoIterator<Item = (&'a SubjectId, Option<&'a Category>)>,
    ) -> Result<Vec<Result<Settled, Refusal>>, KeyStoreError> {
        let (mut answers, mut missing) = (Vec::new(), Vec::new());
        for (subject, category) in asks {
            let found = self.stored(ledger, subject, category)?;
            if found.is_none() {
                missing.push(Ask {
                    ledger: Arc::clone(ledger),
                    subject: subject.clone(),
                    category: category.cloned(),
                });
            }
            answers.push(found);
        }
        let mut minted = if missing.is_empty() {
            Vec::new()
        } else {
            self.mint(missing)?
        }
        .into_iter();
        Ok(answers
            .into_iter()
            .filter_map(|found| found.or_else(|| minted.next()))
            .collect())
    }

    /// The answer that rows and fences give; `None` if something is to be minted.
    fn stored(
        &self,
        ledger: &Ledger,
        subject: &SubjectId,
        category: Option<&Category>,
    ) -> Result<Option<Result<Settled, Refusal>>, KeyStoreError> {
        let (bucket, handle) = match self.find_person(ledger, subject)? {
            (bucket, Person::Known(handle)) => (bucket, handle),
            (_, Person::Refused(refusal)) => return Ok(Some(Err(refusal))),
            (_, Person::New) => return Ok(None),
        };
        if let Some(refusal) = self.fences.refusal(ledger.id, handle, category) {
            return Ok(Some(Err(refusal)));
        }
        let generation = match category {
            Some(category) => self.generation(ledger, bucket, handle, category)?,
            None => Some(0),
        };
        let Some(generation) = generation else { return Ok(None) };
        self.caches.know(
            ledger.id,
            subject,
            handle,
            category.map(|category| (category, generation)),
        );
        Ok(Some(Ok(Settled { handle, generation })))
    }

    fn mint(&self, asks: Vec<Ask>) -> Result<Vec<Result<Settled, Refusal>>, KeyStoreError> {
        let answer = self.minting.submit(asks, |group| {
            // No change of epoch writes between what is looked up here and what is written.
            let _rows = self.writing.lock();
            let mut draft = Draft::new(self);
            let answers: Result<Vec<Vec<_>>, _> = group
                .iter()
                .map(|asks| asks.iter().map(|ask| draft.settle(ask)).collect())
                .collect();
            let answers = answers?;
            let written = draft.commit();
            self.unwritable.store(written.is_err(), Ordering::Release);
            written?;
            for (ask, answer) in group.iter().flatten().zip(answers.iter().flatten()) {
                if let Ok(settled) = answer {
                    let key = ask.category.as_ref().map(|category| (category, settled.generation));
                    self.caches.know(ask.ledger.id, &ask.subject, settled.handle, key);
                }
            }
            Ok(answers)
        });
        match answer {
            Some(Ok(answers)) => Ok(answers),
            Some(Err(error)) => {
                Err(Arc::try_unwrap(error).unwrap_or_else(|shared| KeyStoreError::Store(shared.into())))
            }
            None => Err(KeyStoreError::Store("the thread that wrote for this one failed".into())),
        }
    }
}

/// A subject's bucket key and handle, where there are any.
type Found = (Option<Arc<BucketKey>>, Option<Handle>);

/// One group's write, and what stands in it already: a later ask of the group must find what an earlier one minted.
struct Draft<'a> {
    store: &'a RocksKeyStore,
    batch: WriteBatch,
    buckets: HashMap<(LedgerId, Bucket), Arc<BucketKey>>,
    /// Pages with new bucket keys.
    pages: HashMap<(LedgerId, u8), (Arc<Ledger>, Page)>,
    /// Buckets in which a row was put.
    touched: HashSet<(LedgerId, Bucket)>,
    /// Identity row → handle.
    people: HashMap<Vec<u8>, Handle>,
    /// Key rows.
    keys: HashSet<Vec<u8>>,
    secrets: Vec<(LedgerId, KeyRef, Secret32)>,
}

impl<'a> Draft<'a> {
    fn new(store: &'a RocksKeyStore) -> Self {
        Self {
            store,
            batch: WriteBatch::default(),
            buckets: HashMap::new(),
            pages: HashMap::new(),
            touched: HashSet::new(),
            people: HashMap::new(),
            keys: HashSet::new(),
            secrets: Vec::new(),
        }
    }

    fn settle(&mut self, ask: &Ask) -> Result<Result<Settled, Refusal>, KeyStoreError> {
        let ledger = &ask.ledger;
        let (bucket, handle) = match self.find(ledger, &ask.subject)? {
            Ok(found) => found,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let refusal = handle.and_then(|handle| self.store.fences.refusal(ledger.id, handle, ask.category.as_ref()));
        if let Some(refusal) = refusal {
            return Ok(Err(refusal));
        }
        // From here on it is minted, or there already.
        let bucket = match bucket {
            Some(bucket) => bucket,
            None => self.mint_bucket(ledger, ledger.bucket_of(&ask.subject))?,
        };
        let handle = match handle {
            Some(handle) => handle,
            None => self.mint_person(ledger, &bucket, &ask.subject)?,
        };
        let generation = match &ask.category {
            Some(category) => self.key(ledger, &bucket, handle, category)?,
            None => 0,
        };
        Ok(Ok(Settled { handle, generation }))
    }

    /// Bucket key and handle of a subject, as far as store or draft have them.
    fn find(&self, ledger: &Ledger, subject: &SubjectId) -> Result<Result<Found, Refusal>, KeyStoreError> {
        let (number, top) = (ledger.bucket_of(subject), ledger.top.read());
        let bucket = match self.buckets.get(&(ledger.id, number)) {
            Some(bucket) => Some(Arc::clone(bucket)),
            None => match self.store.bucket(ledger, &top, number)? {
                Row::Open(bucket) => Some(bucket),
                Row::Missing => None,
                Row::Closed => return Ok(Err(Refusal::Unavailable)),
            },
        };
        let row = bucket
            .as_ref()
            .map(|bucket| rows::identity(ledger.id, number, &bucket.tag(subject)));
        if let Some(handle) = row.and_then(|row| self.people.get(&row)) {
            return Ok(Ok((bucket, Some(*handle))));
        }
        Ok(match self.store.look_up(ledger, bucket.as_deref(), subject)? {
            Person::Refused(refusal) => Err(refusal),
            Person::Known(handle) => Ok((bucket, Some(handle))),
            Person::New => Ok((bucket, None)),
        })
    }

    fn mint_bucket(&mut self, ledger: &Arc<Ledger>, number: Bucket) -> Result<Arc<BucketKey>, KeyStoreError> {
        let top = ledger.top.read();
        let (_, page) = match self.pages.entry((ledger.id, page_of(number))) {
            Entry::Occupied(page) => page.into_mut(),
            Entry::Vacant(place) => {
                let page = match self.store.page(ledger, &top, page_of(number))? {
                    Row::Open(page) => page,
                    Row::Missing => Page::empty(page_of(number)),
                    Row::Closed => return Err(KeyStoreError::Damaged("bucket keys")),
                };
                place.insert((Arc::clone(ledger), page))
            }
        };
        let (key, bucket) = self.store.fresh_bucket(number, top.epoch)?;
        page.set(number, top.epoch, &key);
        self.buckets.insert((ledger.id, number), Arc::clone(&bucket));
        Ok(bucket)
    }

    fn mint_person(
        &mut self,
        ledger: &Ledger,
        bucket: &BucketKey,
        subject: &SubjectId,
    ) -> Result<Handle, KeyStoreError> {
        let handle = Handle(self.store.entropy.bytes());
        let (row, value) = seal_identity(ledger.id, bucket, handle, subject, self.store.entropy.as_ref())?;
        self.batch.put(&row, value);
        self.touched.insert((ledger.id, bucket.number));
        self.people.insert(row, handle);
        let row = rows::handle(ledger.id, handle);
        self.batch.put(&row, ledger.mark(&row, &bucket.number.to_be_bytes()));
        self.batch.put(rows::new(ledger.id, handle), []);
        Ok(handle)
    }

    /// The generation of the category's key, found or minted.
    fn key(
        &mut self,
        ledger: &Ledger,
        bucket: &BucketKey,
        handle: Handle,
        category: &Category,
    ) -> Result<u32, KeyStoreError> {
        let reopened = self.store.fences.life.reopened(ledger.id, handle, category);
        let first = reopened.map_or(1, |reopened| reopened.generation);
        let row = rows::key(ledger.id, bucket.number, handle, category, first);
        if self.keys.contains(&row) {
            return Ok(first);
        }
        if let Some(generation) = self.store.generation(ledger, bucket.number, handle, category)? {
            return Ok(generation);
        }
        let (secret, value) = self.store.mint_key(bucket, &row)?;
        self.batch.put(&row, value);
        self.touched.insert((ledger.id, bucket.number));
        self.keys.insert(row);
        self.secrets.push((
            ledger.id,
            KeyRef {
                handle,
                category: category.clone(),
                generation: first,
            },
            secret,
        ));
        Ok(first)
    }

    /// Makes all of it durable at once; only then do the caches know it.
    fn commit(mut self) -> Result<(), KeyStoreError> {
        for (ledger, page) in self.pages.values() {
            let (row, value) = page.close(ledger.id, &ledger.top.read(), self.store.entropy.as_ref())?;
            self.batch.put(row, value);
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        // Before the write: one that fails may be durable all the same.
        if let Some(changed) = self.store.changed.lock().as_mut() {
            changed.extend(self.touched);
        }
        self.store.db.write(self.batch)?;
        for ((ledger, _), bucket) in self.buckets {
            self.store.caches.keep_bucket(ledger, bucket);
        }
        for (ledger, key, secret) in self.secrets {
            self.store.caches.keep_key(ledger, key, Arc::new(secret));
        }
        Ok(())
    }
}
