//! A key store that says it destroyed keys and did not, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use oubliette::keystore::rocksdb::RocksKeyStore;
use oubliette::keystore::vault::{Epoch, Vault};
use oubliette::keystore::{
    Census, Destroyed, Destruction, EpochChange, ErasureOrder, Fence, Horizon, KeyLease, KeyRef, KeyStore,
    KeyStoreError, Places, Refusal, Remains, Reopened, RequestId, Resolution, SubjectState, Suppression, Trial, Wanted,
    Withholding,
};
use oubliette::spec::ids::{Category, Handle, LedgerId, SubjectId, Timestamp};

pub(crate) struct Forgetful {
    inner: RocksKeyStore,
    forgets: AtomicBool,
}

impl Forgetful {
    pub(crate) fn new(inner: RocksKeyStore) -> Arc<Self> {
        Arc::new(Self {
            inner,
            forgets: AtomicBool::new(false),
        })
    }

    /// The next destruction is one in name only.
    pub(crate) fn forget_once(&self) {
        self.forgets.store(true, Ordering::SeqCst);
    }
}

type Answer<T> = Result<T, KeyStoreError>;

macro_rules! pass_on {
    ($(fn $name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        $(fn $name(&self, $($argument: $type),*) -> $answer {
            self.inner.$name($($argument),*)
        })*
    };
}

impl KeyStore for Forgetful {
    fn destroy(&self, l: LedgerId, orders: &[ErasureOrder], mark: u64, horizon: &Horizon<'_>) -> Answer<Destruction> {
        if !self.forgets.swap(false, Ordering::SeqCst) {
            return self.inner.destroy(l, orders, mark, horizon);
        }
        let now = horizon.clock.now();
        Ok(Destruction {
            orders: orders.iter().map(|_| Destroyed::default()).collect(),
            places: orders.iter().map(|_| Places::default()).collect(),
            left: Remains::default(),
            deleted_at: now,
            destroyed_at: now,
        })
    }

    fn vault(&self) -> &Arc<dyn Vault> {
        self.inner.vault()
    }

    pass_on! {
        fn create_ledger(l: LedgerId, now: Timestamp) -> Answer<()>;
        fn known(l: LedgerId, wanted: &[Wanted]) -> Option<Vec<Result<KeyRef, Refusal>>>;
        fn provision(l: LedgerId, wanted: &[Wanted]) -> Answer<Vec<Result<KeyRef, Refusal>>>;
        fn provision_handles(l: LedgerId, subjects: &[SubjectId]) -> Answer<Vec<Result<Handle, Refusal>>>;
        fn new_handles(l: LedgerId, after: Option<Handle>, limit: usize) -> Answer<Vec<Handle>>;
        fn confirm(l: LedgerId, handles: &[Handle]) -> Answer<()>;
        fn forget_new(l: LedgerId, handles: &[Handle]) -> Answer<u64>;
        fn key(l: LedgerId, key: &KeyRef) -> Answer<Result<KeyLease, Refusal>>;
        fn sealing_key(l: LedgerId, key: &KeyRef) -> Answer<Result<KeyLease, Refusal>>;
        fn withhold(l: LedgerId, withholdings: &[Withholding]) -> Answer<()>;
        fn give_back(l: LedgerId, id: RequestId) -> Answer<()>;
        fn withheld(l: LedgerId) -> Vec<Withholding>;
        fn withheld_of(ledger: LedgerId, handle: Handle) -> Vec<Withholding>;
        fn reopen_categories(l: LedgerId, reopened: &[Reopened]) -> Answer<Vec<Reopened>>;
        fn reopened(l: LedgerId) -> Vec<Reopened>;
        fn reopened_of(l: LedgerId, handle: Handle) -> Vec<Reopened>;
        fn prepare_reopening(l: LedgerId, id: RequestId, subject: &SubjectId) -> Answer<Resolution>;
        fn settle_reopening(l: LedgerId, id: RequestId, carry_out: bool) -> Answer<()>;
        fn noted_reopenings(l: LedgerId) -> Answer<Vec<RequestId>>;
        fn suppress(l: LedgerId, request: RequestId, suppression: Suppression) -> Answer<()>;
        fn forget_suppressed(l: LedgerId, now: Timestamp) -> Answer<u64>;
        fn holders(l: LedgerId, category: &Category) -> Answer<Vec<Handle>>;
        fn resolve(l: LedgerId, subject: &SubjectId) -> Answer<Resolution>;
        fn state(l: LedgerId, handle: Handle) -> Answer<SubjectState>;
        fn census(l: LedgerId) -> Answer<Census>;
        fn keys_of(l: LedgerId, handle: Handle) -> Answer<Vec<KeyRef>>;
        fn fence(l: LedgerId, orders: &[ErasureOrder]) -> Answer<()>;
        fn epoch(l: LedgerId) -> Answer<Epoch>;
        fn renew_epoch(l: LedgerId, horizon: &Horizon<'_>) -> Answer<(EpochChange, Timestamp)>;
        fn settle_epochs(l: LedgerId, horizon: &Horizon<'_>) -> Answer<()>;
        fn mark_backed_up(l: LedgerId, at: Timestamp) -> Answer<Epoch>;
        fn renew_keys(l: LedgerId, h: Handle, categories: Option<&[Category]>) -> Answer<Result<Vec<KeyRef>, Refusal>>;
        fn scrub() -> Answer<bool>;
        fn try_keys(l: LedgerId, places: &Places, keys: &[KeyRef]) -> Answer<Vec<Trial>>;
        fn remains(l: LedgerId, order: &ErasureOrder) -> Answer<Remains>;
        fn fences(l: LedgerId) -> Answer<Vec<Fence>>;
        fn fences_of(l: LedgerId, handle: Handle) -> Vec<Fence>;
        fn applied(l: LedgerId) -> Answer<Option<u64>>;
    }
}
