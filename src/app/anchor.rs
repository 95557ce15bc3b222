//! The anchor outside the ledger's store: the vault keeps the last checkpoint, and start compares.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::AppError;
use crate::keystore::KeyStoreError;
use crate::keystore::vault::Vault;
use crate::keystore::vault::file::FileVault;
use crate::sequencer::{Publish, View};
use crate::service::Service;
use crate::spec::checkpoint::Checkpoint;
use crate::spec::ids::{LedgerId, LedgerName};
use crate::spec::note::Note;

/// How far the vault's checkpoint may lag behind the ledger.
const CADENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Newest {
    views: HashMap<LedgerId, Arc<View>>,
    closed: bool,
}

#[derive(Default)]
struct Mailbox {
    newest: Mutex<Newest>,
    arrived: Condvar,
}

impl Publish for Mailbox {
    fn published(&self, view: &Arc<View>) {
        self.newest.lock().views.insert(view.ledger.id, Arc::clone(view));
        self.arrived.notify_one();
    }
}

/// Hands checkpoints to the vault, at most one a second and ledger, and the last ones when it is dropped. Then it closes the
/// vault, if nothing can come after them.
pub(super) struct Keeper {
    mailbox: Arc<Mailbox>,
    vault: Arc<FileVault>,
    /// Whether the vault knows the last checkpoint of every ledger, but for those in the mailbox.
    is_anchored: AtomicBool,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Keeper {
    pub(super) fn start(vault: Arc<FileVault>) -> Result<Self, KeyStoreError> {
        let is_anchored = AtomicBool::new(vault.is_closed()?);
        let mailbox = Arc::<Mailbox>::default();
        let thread = {
            let (mailbox, vault) = (Arc::clone(&mailbox), Arc::clone(&vault));
            std::thread::Builder::new()
                .name("anchor".into())
                .spawn(move || keep(&mailbox, &*vault))
                .ok()
        };
        Ok(Self {
            mailbox,
            vault,
            is_anchored,
            thread,
        })
    }

    /// Says that what is appended from here on may be acknowledged to somebody.
    ///
    /// # Errors
    /// If that cannot be made durable.
    pub(super) fn begin(&self) -> Result<(), KeyStoreError> {
        self.vault.begin()
    }

    /// Tells the vault how far every ledger has come: a crash may have kept that from it.
    pub(super) fn anchor(&self, service: &Service) -> Result<(), AppError> {
        for ledger in service.all_ledgers().iter().filter(|ledger| !ledger.is_frozen()) {
            let (size, note) = service.checkpoint(ledger)?;
            if let Err(error) = self.vault.keep_checkpoint(ledger.record.id, size, &note) {
                tracing::error!(ledger = %ledger.record.name, error = %error, "the vault did not take the last checkpoint");
                return Ok(());
            }
        }
        self.is_anchored.store(true, Ordering::Release);
        Ok(())
    }

    pub(super) fn publisher(&self) -> Arc<dyn Publish> {
        self.mailbox.clone()
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.mailbox.newest.lock().closed = true;
        self.mailbox.arrived.notify_all();
        let Some(thread) = self.thread.take() else { return };
        // Who else holds the mailbox may still append.
        let is_last = thread.join().is_ok() && Arc::strong_count(&self.mailbox) == 1;
        let is_whole = self.is_anchored.load(Ordering::Acquire) && self.mailbox.newest.lock().views.is_empty();
        if is_last
            && is_whole
            && let Err(error) = self.vault.close()
        {
            tracing::warn!(error = %error, "the vault could not be closed: a restore will take it that events are missing");
        }
    }
}

fn keep(mailbox: &Mailbox, vault: &dyn Vault) {
    loop {
        let (views, closed) = {
            let mut newest = mailbox.newest.lock();
            while newest.views.is_empty() && !newest.closed {
                mailbox.arrived.wait(&mut newest);
            }
            (std::mem::take(&mut newest.views), newest.closed)
        };
        for (ledger, view) in views {
            if let Err(error) = vault.keep_checkpoint(ledger, view.size(), &view.checkpoint) {
                tracing::error!(ledger = %view.ledger.name, error = %error, "the vault did not take the last checkpoint");
                // Tried again, unless a newer one has come meanwhile.
                mailbox.newest.lock().views.entry(ledger).or_insert(view);
            }
        }
        if closed {
            return;
        }
        let mut newest = mailbox.newest.lock();
        if !newest.closed {
            mailbox
                .arrived
                .wait_while_for(&mut newest, |newest| !newest.closed, CADENCE);
        }
    }
}

/// Refuses a store that has lost a ledger which the vault remembers, unless a log goes on from it.
pub(super) fn check_registered(service: &Service, vault: &dyn Vault) -> Result<(), AppError> {
    let registered: Vec<_> = service
        .registered_ledgers()?
        .into_iter()
        .map(|ledger| ledger.id)
        .collect();
    for id in vault.ledgers()?.into_iter().filter(|id| !registered.contains(id)) {
        let kept = vault.checkpoint(id)?.and_then(|(_, note)| parse(&note));
        let continued = kept.as_ref().and_then(|kept| {
            let continued = service.continued(&kept.origin.as_str().parse().ok()?)?;
            Some((continued.checkpoint().ok()?, continued.restored.tree_size))
        });
        if kept.is_none() || continued != kept.map(|kept| (kept, 0)) {
            return Err(AppError::LedgerLost(id));
        }
    }
    Ok(())
}

fn parse(note: &str) -> Option<Checkpoint> {
    note.parse::<Note>().ok()?.text().parse().ok()
}

/// Refuses a ledger that is shorter than the vault's last checkpoint or has another root at its size, unless it is frozen
/// and the log that goes on from it says just that.
pub(super) fn check(service: &Service, name: &LedgerName) -> Result<(), AppError> {
    let ledger = service.ledger(name)?;
    let rolled_back = |what: String| AppError::RolledBack {
        ledger: name.clone(),
        what,
    };
    let (now, _) = service.checkpoint(&ledger)?;
    let kept = service.kept_checkpoint(&ledger)?;
    let continued = service.continued(&ledger.record.origin);
    if let Some(continued) = &continued {
        let root = service.root_of_size(&ledger, now)?;
        if (continued.restored.tree_size, continued.restored.root) != (now, root) {
            let (size, root) = (continued.restored.tree_size, continued.restored.root);
            return Err(rolled_back(format!(
                "the log that goes on from it froze it at {size} events with the root {root}"
            )));
        }
    }
    let Some((size, note)) = kept else {
        // The vault is told of the first event before the ledger is known to anybody; a crash can come between the two.
        return if now <= 1 || continued.is_some() {
            Ok(())
        } else {
            Err(rolled_back("the vault keeps no checkpoint of it".into()))
        };
    };
    let kept = parse(&note).ok_or_else(|| rolled_back("its checkpoint in the vault is damaged".into()))?;
    let same = |checkpoint: &Checkpoint| checkpoint.size == size && kept.size == size && kept.root == checkpoint.root;
    if now < size {
        let known = continued.and_then(|continued| continued.checkpoint().ok());
        // IMPORTANT: the heir must know the very checkpoint that the vault keeps, or more was lost than it tells.
        return match known {
            Some(known) if same(&known) && known.origin == kept.origin => Ok(()),
            _ => Err(rolled_back(format!(
                "the vault has seen {size} events, the store holds {now}"
            ))),
        };
    }
    let root = service.root_of_size(&ledger, size)?;
    if kept.size != size || kept.root != root || kept.origin.as_str() != ledger.record.origin.as_str() {
        return Err(rolled_back(format!(
            "at {size} events its root is {root}, not {}",
            kept.root
        )));
    }
    Ok(())
}
