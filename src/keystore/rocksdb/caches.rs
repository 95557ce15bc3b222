//! Bounded caches of what was looked up: who is who, subject keys, bucket keys.
//!
//! Subject ids and keys are zeroized when they are evicted (`SubjectId` and `Secret32` do so on drop), keys live in the
//! arena. A fence purges what it covers after it drained the gate; nothing is put in but under a pass, so nothing comes
//! back. The caches never decide: fences are asked before an answer is taken from here.

use std::hash::Hash;
use std::sync::Arc;

use quick_cache::Equivalent;
use quick_cache::sync::Cache;

use super::ledger::BucketKey;
use super::rows::Bucket;
use crate::keystore::KeyRef;
use crate::keystore::memory::Secret32;
use crate::spec::ids::{Category, Handle, LedgerId, SubjectId};

/// Subjects known by id. An entry takes some 200 bytes.
const PEOPLE: usize = 100_000;

/// Subject keys: 2 MiB of locked memory.
const KEYS: usize = 65_536;

/// Bucket keys, two slots each: 1 MiB of locked memory.
const BUCKETS: usize = 16_384;

/// What is known of a subject.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) handle: Handle,
    /// Categories with a key, and its generation.
    pub(super) categories: Vec<(Category, u32)>,
}

#[derive(Debug, Hash, PartialEq, Eq)]
struct Person(LedgerId, SubjectId);

#[derive(Hash)]
struct PersonRef<'a>(LedgerId, &'a SubjectId);

impl Equivalent<Person> for PersonRef<'_> {
    fn equivalent(&self, person: &Person) -> bool {
        self.0 == person.0 && *self.1 == person.1
    }
}

#[derive(Debug, Hash, PartialEq, Eq)]
struct KeyName(LedgerId, KeyRef);

#[derive(Hash)]
struct KeyNameRef<'a>(LedgerId, &'a KeyRef);

impl Equivalent<KeyName> for KeyNameRef<'_> {
    fn equivalent(&self, name: &KeyName) -> bool {
        self.0 == name.0 && *self.1 == name.1
    }
}

/// All caches of a key store.
pub(super) struct Caches {
    people: Cache<Person, Arc<Known>>,
    keys: Cache<KeyName, Arc<Secret32>>,
    buckets: Cache<(LedgerId, Bucket), Arc<BucketKey>>,
}

impl Default for Caches {
    fn default() -> Self {
        Self {
            people: Cache::new(PEOPLE),
            keys: Cache::new(KEYS),
            buckets: Cache::new(BUCKETS),
        }
    }
}

impl Caches {
    pub(super) fn person(&self, ledger: LedgerId, subject: &SubjectId) -> Option<Arc<Known>> {
        self.people.get(&PersonRef(ledger, subject))
    }

    /// Remembers a subject, and with a category that it has a key.
    pub(super) fn know(&self, ledger: LedgerId, subject: &SubjectId, handle: Handle, key: Option<(&Category, u32)>) {
        let known = self.person(ledger, subject).filter(|known| known.handle == handle);
        let mut known = known.map_or(
            Known {
                handle,
                categories: Vec::new(),
            },
            |known| Known::clone(&known),
        );
        if let Some((category, generation)) = key {
            known.categories.retain(|(named, _)| named != category);
            known.categories.push((category.clone(), generation));
        }
        self.people.insert(Person(ledger, subject.clone()), Arc::new(known));
    }

    pub(super) fn key(&self, ledger: LedgerId, key: &KeyRef) -> Option<Arc<Secret32>> {
        self.keys.get(&KeyNameRef(ledger, key))
    }

    pub(super) fn keep_key(&self, ledger: LedgerId, key: KeyRef, secret: Arc<Secret32>) {
        self.keys.insert(KeyName(ledger, key), secret);
    }

    pub(super) fn bucket(&self, ledger: LedgerId, bucket: Bucket) -> Option<Arc<BucketKey>> {
        self.buckets.get(&(ledger, bucket))
    }

    pub(super) fn keep_bucket(&self, ledger: LedgerId, bucket: Arc<BucketKey>) {
        self.buckets.insert((ledger, bucket.number), bucket);
    }

    /// Drops what is known of a subject's generations.
    pub(super) fn forget_people(&self, ledger: LedgerId, handle: Handle) {
        self.people
            .retain(|Person(of, _), known| *of != ledger || known.handle != handle);
    }

    /// Drops what another bucket key has replaced.
    pub(super) fn forget_bucket(&self, ledger: LedgerId, bucket: Bucket) {
        self.buckets.remove(&(ledger, bucket));
    }

    /// Drops all that belongs to these subjects, whatever the category.
    pub(super) fn purge(&self, ledger: LedgerId, covered: impl Fn(Handle) -> bool) {
        self.people
            .retain(|Person(of, _), known| *of != ledger || !covered(known.handle));
        self.keys
            .retain(|KeyName(of, key), _| *of != ledger || !covered(key.handle));
    }
}
