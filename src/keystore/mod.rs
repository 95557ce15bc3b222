//! The key store: who a handle is, and the keys that open what is sealed about them (docs/spec/08-erasure.md).
//!
//! ```text
//! epoch key        in the vault, never in a database and never in a backup with it
//!   └ epoch master   one row, wrapped by the epoch key
//!       └ bucket keys  one of 4,096 per subject: first 12 bits of HMAC(bucket-hash key, ledger ‖ 1 ‖ subject id)
//!           ├ subject keys   (handle, category, generation), wrapped by the bucket key
//!           └ identity rows  HMAC(bucket key, subject id) → sealed {handle, subject id}
//! ```
//!
//! Every wrap binds ledger, bucket, handle, category, generation, epoch and state as AAD, so rows cannot be swapped.
//! This layer never sees an event or a ciphertext of the ledger, and the ledger's store never sees a key: one dump,
//! one backup, one bug must not hold both. An unknown key is an error, never "erased": only a fence says erased.

#[cfg(test)]
pub(crate) mod conformance;
pub mod error;
mod life;
pub mod memory;
pub mod rocksdb;
pub mod vault;
mod wrap;

use std::ops::Deref;
use std::sync::Arc;

pub use error::KeyStoreError;
pub use life::{Reopened, Suppression, Withheld, Withholding};

use crate::env::Clock;
use crate::spec::ids::{Category, Handle, LedgerId, SubjectId, Timestamp};
use crate::spec::seal::SubjectKey;

/// Identifies an erasure request: random, no personal data.
pub type RequestId = uuid::Uuid;

/// A person and a purpose for which a key is wanted.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The caller's id for the person.
    pub subject: SubjectId,
    /// The category of the data.
    pub category: Category,
}

/// The names of one subject key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyRef {
    /// The data subject.
    pub handle: Handle,
    /// The category.
    pub category: Category,
    /// From 1; grows when an erased category of a living subject is opened again.
    pub generation: u32,
}

/// Why no key is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Erased: a fence or a suppression row says so. Carries the request where it is known (not by suppression).
    #[error("erased")]
    Erased(Option<RequestId>),
    /// An erasure is under way.
    #[error("being erased")]
    Erasing(RequestId),
    /// Restricted (GDPR Art. 18): kept, not to be opened.
    #[error("restricted")]
    Restricted,
    /// No such key and no fence: lost, or of another key store. Never to be read as erased.
    #[error("key unavailable")]
    Unavailable,
}

/// A subject key on loan. While any lease lives, a fence waits: hold it for one seal or open, never across a wait.
pub struct KeyLease {
    key: Box<dyn Deref<Target = SubjectKey>>,
}

impl KeyLease {
    /// For engines: wraps whatever guards the key.
    pub fn new(guard: impl Deref<Target = SubjectKey> + 'static) -> Self {
        Self { key: Box::new(guard) }
    }
}

impl Deref for KeyLease {
    type Target = SubjectKey;
    fn deref(&self) -> &SubjectKey {
        &self.key
    }
}

/// What a subject id leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// Known, with its handle (whose state may be erasing).
    Known(Handle),
    /// The id belongs to an erased person (suppression row); leads nowhere else.
    Erased,
    /// Never seen.
    Unknown,
}

/// The state of a subject as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectState {
    /// Keys live.
    Active,
    /// Fenced, keys not yet destroyed.
    Erasing(RequestId),
    /// Keys and identity destroyed.
    Erased(RequestId),
    /// Restricted as a whole (GDPR Art. 18): kept, not to be opened.
    Restricted,
    /// No row: never seen here, or lost.
    Unknown,
}

/// What one erasure order covers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErasureOrder {
    /// The request.
    pub request: RequestId,
    /// The data subject.
    pub handle: Handle,
    /// Only these categories; `None`: the whole subject with its identity, and categories never seen.
    pub categories: Option<Vec<Category>>,
}

/// A durable fence, as the sequencer and the saga need it at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// What is fenced.
    pub order: ErasureOrder,
    /// What was destroyed, once it is; kept with the fence, so that no crash loses the counts.
    pub destroyed: Option<Destroyed>,
}

/// What was destroyed by one order, and with which change of epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Destroyed {
    /// Subject keys deleted.
    pub keys: u64,
    /// Identity rows deleted, each replaced by a suppression row (0 when only categories were erased).
    pub identities: u64,
    /// The epoch before.
    pub from: vault::Epoch,
    /// The epoch since.
    pub to: vault::Epoch,
}

/// Where an engine had the rows of a subject: numbers of its own, empty where it does not know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places(Vec<u16>);

/// What the rows of one subject key's name give past fences and caches.
#[derive(Default)]
pub struct Trial {
    /// Rows found.
    pub rows: u64,
    /// A key that one of them gave.
    pub key: Option<KeyLease>,
}

/// What a destruction did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destruction {
    /// One for each order, in their order.
    pub orders: Vec<Destroyed>,
    /// For each order, where its subject was; not known where it had been carried out before.
    pub places: Vec<Places>,
    /// What was found behind the fences once the write was done: nothing, or something is wrong. Not looked for where an
    /// order had been carried out before: see [`KeyStore::remains`].
    pub left: Remains,
    /// When the rows were deleted; for orders that had been carried out before, a later time.
    pub deleted_at: Timestamp,
    /// When the old epoch key was destroyed or retired; for orders that had been carried out before, a later time.
    pub destroyed_at: Timestamp,
}

/// A change of epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochChange {
    /// The epoch before.
    pub from: vault::Epoch,
    /// The epoch since.
    pub to: vault::Epoch,
}

/// How long the key of an epoch outlives it for the sake of backups.
#[derive(Clone, Copy)]
pub struct Horizon<'a> {
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// From the change of epoch on; zero: not at all.
    pub length: std::time::Duration,
}

impl Horizon<'_> {
    /// When a key replaced at `since` is due to be destroyed.
    pub fn after(&self, since: Timestamp) -> Timestamp {
        let length = u64::try_from(self.length.as_micros()).unwrap_or(u64::MAX);
        Timestamp(since.0.saturating_add(length).min(Timestamp::MAX.0))
    }
}

/// How many people a ledger knows, by state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// With a handle and no fence of the whole subject.
    pub active: u64,
    /// Of these, with a category destroyed.
    pub partly_erased: u64,
    /// Fenced as a whole, keys not yet destroyed.
    pub erasing: u64,
    /// Keys and identity destroyed.
    pub erased: u64,
}

/// Rows about a subject that are still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Remains {
    /// Subject keys that the order covers.
    pub keys: u64,
    /// Whether the row is there that leads from the handle to the identity.
    pub leads_to_identity: bool,
}

/// The key store of all ledgers of one data directory.
///
/// Every write is durable (synced) when its method returns, unless said otherwise. Methods block; call them from a
/// thread that may. All may be called from many threads at once.
pub trait KeyStore: Send + Sync {
    /// Creates the rows and vault keys of a new ledger. Repeating it for a ledger that exists changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if store or vault cannot be written.
    fn create_ledger(&self, ledger: LedgerId, now: Timestamp) -> Result<(), KeyStoreError>;

    /// What [`KeyStore::provision`] would answer, if memory alone can tell for every pair: never waits, never writes.
    fn known(&self, ledger: LedgerId, wanted: &[Wanted]) -> Option<Vec<Result<KeyRef, Refusal>>>;

    /// Finds or mints handle and key for each wanted pair. New keys are durable before this returns (group commit:
    /// concurrent calls share one synced write); one subject asked for by two callers gets one handle.
    ///
    /// The answer has the order of `wanted`; a refused pair mints nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store or vault fails as a whole.
    fn provision(&self, ledger: LedgerId, wanted: &[Wanted]) -> Result<Vec<Result<KeyRef, Refusal>>, KeyStoreError>;

    /// Finds or mints handles alone, without any key: for actors and for streams named by handle. Durable, in the order
    /// of `subjects`, and however many there are in one synced write.
    ///
    /// # Errors
    /// As [`KeyStore::provision`].
    fn provision_handles(
        &self,
        ledger: LedgerId,
        subjects: &[SubjectId],
    ) -> Result<Vec<Result<Handle, Refusal>>, KeyStoreError>;

    /// Handles minted since they were last [confirmed](KeyStore::confirm), in order, after `after` and at most `limit`: no
    /// event may name them, because the append that wanted them was refused or broke off.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn new_handles(&self, ledger: LedgerId, after: Option<Handle>, limit: usize) -> Result<Vec<Handle>, KeyStoreError>;

    /// Notes that these handles are known outside: events name them, or a caller was told. Handles that are not new change
    /// nothing, and cost no write.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the write fails.
    fn confirm(&self, ledger: LedgerId, handles: &[Handle]) -> Result<(), KeyStoreError>;

    /// Deletes all rows of new handles, as if they had never been minted; no suppression, no change of epoch: nothing is
    /// sealed under their keys. Only while nothing is being appended. Those that are confirmed, fenced or withheld stay.
    /// So do those near whom a row is damaged, as a whole. Tells how many went.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails; then all stay.
    fn forget_new(&self, ledger: LedgerId, handles: &[Handle]) -> Result<u64, KeyStoreError>;

    /// Lends a key. Checks the fences now, whatever a cache holds.
    ///
    /// # Errors
    /// The inner [`Refusal`] is an answer; [`KeyStoreError`] if the store fails.
    fn key(&self, ledger: LedgerId, key: &KeyRef) -> Result<Result<KeyLease, Refusal>, KeyStoreError>;

    /// Lends a key to seal with. As [`KeyStore::key`], but a restricted subject's key is lent, too: a restriction leaves
    /// storing (GDPR Art. 18(2)).
    ///
    /// # Errors
    /// As [`KeyStore::key`].
    fn sealing_key(&self, ledger: LedgerId, key: &KeyRef) -> Result<Result<KeyLease, Refusal>, KeyStoreError>;

    /// Withholds keys for a time: durable, leases drained, caches purged, as [`KeyStore::fence`], but reversible. Repeating
    /// it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if it could not be made durable; nothing is withheld then.
    fn withhold(&self, ledger: LedgerId, withholdings: &[Withholding]) -> Result<(), KeyStoreError>;

    /// Ends what was withheld under an id. Unknown ids change nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the write fails; it stays withheld then.
    fn give_back(&self, ledger: LedgerId, id: RequestId) -> Result<(), KeyStoreError>;

    /// All that is withheld in a ledger.
    fn withheld(&self, ledger: LedgerId) -> Vec<Withholding>;

    /// What is withheld of one subject, from memory.
    fn withheld_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Withholding>;

    /// Opens erased categories of living subjects again, all in one write: from now on keys of theirs are of this generation
    /// or a later one. Fences other than those that are named still close them. Each category of a subject stands there once.
    /// Gives those that were not open before: repeating it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the write fails; nothing is opened then.
    fn reopen_categories(&self, ledger: LedgerId, reopened: &[Reopened]) -> Result<Vec<Reopened>, KeyStoreError>;

    /// The newest reopening of each category.
    fn reopened(&self, ledger: LedgerId) -> Vec<Reopened>;

    /// The newest reopening of each category of one subject.
    fn reopened_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Reopened>;

    /// Notes under an id that an erased person is to be reopened, durably and without any effect yet. Answers what the
    /// subject id leads to; only for an erased person anything is noted.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the write fails.
    fn prepare_reopening(
        &self,
        ledger: LedgerId,
        id: RequestId,
        subject: &SubjectId,
    ) -> Result<Resolution, KeyStoreError>;

    /// Carries a noted reopening out (the suppression row goes) or drops it; in one write with the note. Unknown ids
    /// change nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the write fails.
    fn settle_reopening(&self, ledger: LedgerId, id: RequestId, carry_out: bool) -> Result<(), KeyStoreError>;

    /// The noted reopenings.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn noted_reopenings(&self, ledger: LedgerId) -> Result<Vec<RequestId>, KeyStoreError>;

    /// Says how a request's destruction suppresses the ids of its subjects; durable, before [`KeyStore::destroy`]. Without
    /// it they are suppressed for ever. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the write fails.
    fn suppress(&self, ledger: LedgerId, request: RequestId, suppression: Suppression) -> Result<(), KeyStoreError>;

    /// Deletes the suppression rows that have expired, and tells how many. Looks at nothing as long as none has.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn forget_suppressed(&self, ledger: LedgerId, now: Timestamp) -> Result<u64, KeyStoreError>;

    /// The subjects that have a key of a category: one pass over the keys, nothing is decrypted.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn holders(&self, ledger: LedgerId, category: &Category) -> Result<Vec<Handle>, KeyStoreError>;

    /// Looks a person up by the caller's id. Mints nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn resolve(&self, ledger: LedgerId, subject: &SubjectId) -> Result<Resolution, KeyStoreError>;

    /// The state of a subject.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn state(&self, ledger: LedgerId, handle: Handle) -> Result<SubjectState, KeyStoreError>;

    /// Counts people by state: one pass over the handles, nothing is decrypted.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn census(&self, ledger: LedgerId) -> Result<Census, KeyStoreError>;

    /// The live keys of a subject, by name.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn keys_of(&self, ledger: LedgerId, handle: Handle) -> Result<Vec<KeyRef>, KeyStoreError>;

    /// T1: fences subjects durably (one write for all), waits until every lease that was out has come back, and drops
    /// cached keys. Afterwards no key of theirs is lent and none is minted. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the fence could not be made durable; nothing is fenced then.
    fn fence(&self, ledger: LedgerId, orders: &[ErasureOrder]) -> Result<(), KeyStoreError>;

    /// T2: deletes subject keys, and for whole subjects the identity and handle rows and writes the suppression row, all
    /// in one change of epoch: an atomic write that gives every bucket it touches a new key, wraps all that survives anew
    /// and moves the applied mark to `mark` (the leaf index of `erasure.requested`, of several the last). Then the old
    /// epoch key is destroyed, or retired if a backup was taken under it. Only fenced orders are accepted. Repeating it
    /// changes nothing and answers the same, but for the times; it finishes what broke off.
    ///
    /// # Errors
    /// [`KeyStoreError`] if an order is not fenced or the write fails; then nothing is destroyed. Also if the vault could
    /// not do its last part: then it is to be repeated.
    fn destroy(
        &self,
        ledger: LedgerId,
        orders: &[ErasureOrder],
        mark: u64,
        horizon: &Horizon<'_>,
    ) -> Result<Destruction, KeyStoreError>;

    /// The epoch under which the ledger's keys are.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if the ledger is unknown.
    fn epoch(&self, ledger: LedgerId) -> Result<vault::Epoch, KeyStoreError>;

    /// Changes the epoch without erasing anybody. Gives the time when the old key was destroyed or retired.
    ///
    /// # Errors
    /// [`KeyStoreError`] if store or vault cannot be written.
    fn renew_epoch(&self, ledger: LedgerId, horizon: &Horizon<'_>) -> Result<(EpochChange, Timestamp), KeyStoreError>;

    /// Finishes what a change of epoch left in the vault when it broke off. Before anything is served.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`].
    fn settle_epochs(&self, ledger: LedgerId, horizon: &Horizon<'_>) -> Result<(), KeyStoreError>;

    /// Notes in the vault that a backup is taken under the ledger's present epoch, and gives that. A backup calls it
    /// before it copies anything, and starts over if [`KeyStore::epoch`] is another at its end.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`].
    fn mark_backed_up(&self, ledger: LedgerId, at: Timestamp) -> Result<vault::Epoch, KeyStoreError>;

    /// Mints the next generation of a living subject's keys, of these categories or of all. What is sealed from now on
    /// is sealed under it; older generations stay open. Categories without a key, or fenced, are left out.
    ///
    /// # Errors
    /// The inner [`Refusal`] is an answer; [`KeyStoreError`] if the store fails.
    fn renew_keys(
        &self,
        ledger: LedgerId,
        handle: Handle,
        categories: Option<&[Category]>,
    ) -> Result<Result<Vec<KeyRef>, Refusal>, KeyStoreError>;

    /// Makes everything that was deleted or overwritten leave the files: write buffers flushed, all sorted files written
    /// anew, log and manifest rolled, the old ones deleted. Nobody waits for it. `false`: an old file is still held, or it
    /// was stopped by a failure of the engine; try again later. Repeating it is harmless.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn scrub(&self) -> Result<bool, KeyStoreError>;

    /// Tries what is left of subject keys, past every fence: the rows of each name are looked for in the database, in these
    /// places (unknown: everywhere), and unwrapped with bucket keys that are read anew, under the epoch in use. No cache is
    /// asked or filled. In the order of `keys`. For the check after a destruction, and for nothing else.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails. A row that does not unwrap is an answer.
    fn try_keys(&self, ledger: LedgerId, places: &Places, keys: &[KeyRef]) -> Result<Vec<Trial>, KeyStoreError>;

    /// What an order still leaves in the database, whatever fences and caches say: for the check after a destruction.
    /// Looks through every bucket.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn remains(&self, ledger: LedgerId, order: &ErasureOrder) -> Result<Remains, KeyStoreError>;

    /// All fences of a ledger, for start-up.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn fences(&self, ledger: LedgerId) -> Result<Vec<Fence>, KeyStoreError>;

    /// The fences of one subject, from memory.
    fn fences_of(&self, ledger: LedgerId, handle: Handle) -> Vec<Fence>;

    /// The leaf index of the last erasure applied, or `None`.
    ///
    /// # Errors
    /// [`KeyStoreError`] if the store fails.
    fn applied(&self, ledger: LedgerId) -> Result<Option<u64>, KeyStoreError>;

    /// Whether keys can be had now: reads a row of its own, and has the vault open each ledger's master.
    ///
    /// # Errors
    /// [`KeyStoreError`], naming the part that fails.
    fn check(&self) -> Result<(), KeyStoreError> {
        Ok(())
    }

    /// Copies the whole store, as it is between two writes, into `folder`, which does not exist. Writes go on meanwhile. The
    /// copy is durable once the caller has synced its files. Nothing of the vault is in it.
    ///
    /// # Errors
    /// [`KeyStoreError`]; what is in the folder then is no store.
    fn copy_to(&self, folder: &std::path::Path) -> Result<(), KeyStoreError> {
        Err(KeyStoreError::Store(
            format!("this engine cannot be copied to {}", folder.display()).into(),
        ))
    }

    /// Bytes on disk, without the vault; 0 for an engine without files.
    fn disk_bytes(&self) -> u64 {
        0
    }

    /// The vault that holds this store's epoch keys.
    fn vault(&self) -> &Arc<dyn vault::Vault>;
}
