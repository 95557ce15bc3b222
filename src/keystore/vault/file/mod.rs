//! The file vault: key slots, erasure journal and last checkpoints in a private folder, mirrored.
//!
//! ```text
//! <mirror>/            0700, one or more, each on a device of its own
//!   vault              magic, format, vault id, checksum; written last, so a folder without it is no vault
//!   lock               held while a process has the vault open
//!   slots              see `slots`: 512 bytes each, overwritten in place
//!   journal/<ledger>   see `journal`: append-only
//!   checkpoint/<ledger>  see `checkpoint`: replaced as a whole
//! ```
//!
//! A write counts when every mirror has it, synced and read back (through the system's cache: this finds short and
//! misdirected writes, not a disk that lies). A read takes any valid mirror and repairs damaged slots on the others.
//! A mirror that is missing or unreadable at start leaves the vault readable, refuses writes and shows in
//! [`FileVault::health`]: copy a good mirror in its place while the server is stopped. In-place overwriting destroys on
//! ordinary file systems; copy-on-write ones, snapshots and an SSD's controller may keep the old sector: see
//! `docs/operations.md`. Out of scope: what the keys wrap.

mod checkpoint;
mod journal;
mod mirror;
mod slots;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use self::mirror::{Found, Mirror, vault_refusal};
use self::slots::{Kind, Name, Slots};
use super::{Epoch, JournalEntry, Secret, Vault, VaultId};
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::spec::ids::LedgerId;

/// A vault in mirrored folders.
pub struct FileVault {
    owner: VaultId,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
}

struct State {
    mirrors: Vec<Mirror>,
    unusable: Vec<MirrorHealth>,
    slots: Slots,
    /// Sizes of the checkpoints kept, as far as they were read.
    sizes: HashMap<LedgerId, u64>,
}

/// How one mirror does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorHealth {
    /// Its folder.
    pub path: PathBuf,
    /// Why it is not in use; `None` if it is.
    pub problem: Option<String>,
    /// Slots repaired from another mirror since the vault was opened. More than 0 asks for a look at the disk.
    pub repaired: u64,
}

/// How the vault does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultHealth {
    /// Every mirror, those in use first.
    pub mirrors: Vec<MirrorHealth>,
    /// Slots that no mirror can give back: keys that may be lost.
    pub lost_slots: usize,
}

impl VaultHealth {
    /// Whether every mirror is in use and nothing was damaged.
    pub fn is_good(&self) -> bool {
        self.lost_slots == 0
            && self
                .mirrors
                .iter()
                .all(|mirror| mirror.problem.is_none() && mirror.repaired == 0)
    }
}

/// What a vault keeps of a ledger's last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Nothing.
    Absent,
    /// Something that cannot be read, or is damaged.
    Unreadable,
    /// Its size, and the signed note, not verified.
    Checkpoint(u64, String),
}

/// The last checkpoint that a vault in these folders keeps of a ledger, without opening the vault: for whoever verifies
/// and may not write.
pub fn kept_checkpoint(folders: &[PathBuf], ledger: LedgerId) -> Kept {
    checkpoint::peek(folders, ledger)
}

impl FileVault {
    /// Makes a new, empty vault with a random id. A folder that holds a vault is refused.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if there is a vault already, [`KeyStoreError::Vault`] if a folder cannot be written.
    pub fn create(mirrors: &[PathBuf], entropy: Arc<dyn Entropy>) -> Result<Self, KeyStoreError> {
        if mirrors.is_empty() {
            return Err(vault_refusal("it needs at least one folder"));
        }
        let owner = VaultId(entropy.bytes());
        let mirrors = mirrors
            .iter()
            .map(|path| Mirror::create(path))
            .collect::<Result<Vec<_>, _>>()?;
        let slots = Slots::create(owner, &mirrors)?;
        mirrors.iter().try_for_each(|mirror| mirror.claim(owner))?;
        let state = State {
            mirrors,
            unusable: Vec::new(),
            slots,
            sizes: HashMap::new(),
        };
        Ok(Self {
            owner,
            entropy,
            state: Mutex::new(state),
        })
    }

    /// Opens a vault and repairs slots that one mirror lost and another has.
    ///
    /// # Errors
    /// [`KeyStoreError::Foreign`] if no folder holds a vault or two hold different ones, [`KeyStoreError::InUse`],
    /// [`KeyStoreError::NewerFormat`], [`KeyStoreError::Vault`] if a folder cannot be read or repaired.
    pub fn open(mirrors: &[PathBuf], entropy: Arc<dyn Entropy>) -> Result<Self, KeyStoreError> {
        let (mut usable, mut unusable, mut owner) = (Vec::new(), Vec::new(), None);
        for path in mirrors {
            match Mirror::open(path)? {
                Found::Usable(mirror, id) => {
                    if *owner.get_or_insert(id) != id {
                        return Err(KeyStoreError::Foreign(format!(
                            "{} holds another vault",
                            path.display()
                        )));
                    }
                    usable.push(mirror);
                }
                Found::Unusable(problem) => {
                    tracing::error!(path = %path.display(), problem, "a mirror of the vault cannot be used");
                    unusable.push(MirrorHealth {
                        path: path.clone(),
                        problem: Some(problem),
                        repaired: 0,
                    });
                }
            }
        }
        let Some(owner) = owner else {
            return Err(no_vault(&unusable));
        };
        let slots = Slots::open(owner, &mut usable)?;
        let state = State {
            mirrors: usable,
            unusable,
            slots,
            sizes: HashMap::new(),
        };
        Ok(Self {
            owner,
            entropy,
            state: Mutex::new(state),
        })
    }

    /// How the mirrors do.
    pub fn health(&self) -> VaultHealth {
        let state = self.state.lock();
        let in_use = |mirror: &Mirror| MirrorHealth {
            path: mirror.path.clone(),
            problem: None,
            repaired: mirror.repaired,
        };
        VaultHealth {
            mirrors: state
                .mirrors
                .iter()
                .map(in_use)
                .chain(state.unusable.iter().cloned())
                .collect(),
            lost_slots: state.slots.lost(),
        }
    }

    /// Makes the key of the next epoch, durable in a fresh slot. From here on it is the current one.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the ledger is unknown or a mirror cannot be written.
    pub fn advance_epoch(&self, ledger: LedgerId) -> Result<Epoch, KeyStoreError> {
        let mut state = self.state.lock();
        let newest = state
            .slots
            .newest(ledger)
            .ok_or_else(|| vault_refusal("it does not know this ledger"))?;
        let epoch = newest
            .checked_add(1)
            .ok_or_else(|| vault_refusal("there are no more epochs"))?;
        state.add(
            Name {
                ledger,
                kind: Kind::Epoch,
                epoch,
            },
            self.fresh(),
        )?;
        Ok(epoch)
    }

    /// Overwrites the key of a past epoch in place, on every mirror. Repeating it changes nothing.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the epoch is the current one or a mirror cannot be written; the key may then live on
    /// that mirror, so the call must be repeated until it succeeds.
    pub fn destroy_epoch(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        if state.slots.newest(ledger).is_none_or(|newest| newest <= epoch) {
            return Err(vault_refusal("only a past epoch's key is ever destroyed"));
        }
        state.for_writing()?;
        let State { mirrors, slots, .. } = &mut *state;
        slots.destroy(
            mirrors,
            Name {
                ledger,
                kind: Kind::Epoch,
                epoch,
            },
        )
    }

    fn fresh(&self) -> Secret {
        let mut key = Secret::default();
        self.entropy.fill(key.as_mut_slice());
        key
    }

    fn read(&self, name: Name) -> Result<Secret, KeyStoreError> {
        let State { mirrors, slots, .. } = &mut *self.state.lock();
        slots.read(mirrors, name)
    }
}

fn no_vault(unusable: &[MirrorHealth]) -> KeyStoreError {
    let problems = unusable.iter().map(|mirror| {
        format!(
            "{}: {}",
            mirror.path.display(),
            mirror.problem.as_deref().unwrap_or_default()
        )
    });
    KeyStoreError::Foreign(format!(
        "the vault is missing ({})",
        problems.collect::<Vec<_>>().join("; ")
    ))
}

impl State {
    /// A write is durable on every mirror or refused: one that is away would come back without it.
    fn for_writing(&self) -> Result<(), KeyStoreError> {
        match self.unusable.first() {
            None => Ok(()),
            Some(mirror) => Err(vault_refusal(format!(
                "the mirror {} cannot be used ({}); copy a good one in its place",
                mirror.path.display(),
                mirror.problem.as_deref().unwrap_or_default()
            ))),
        }
    }

    fn add(&mut self, name: Name, key: Secret) -> Result<(), KeyStoreError> {
        self.for_writing()?;
        self.slots.add(&self.mirrors, name, &key)
    }
}

impl Vault for FileVault {
    fn owner(&self) -> VaultId {
        self.owner
    }

    fn create_ledger(&self, ledger: LedgerId) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        for kind in [Kind::BucketHash, Kind::Suppression] {
            let name = Name { ledger, kind, epoch: 0 };
            if !state.slots.holds(name) {
                state.add(name, self.fresh())?;
            }
        }
        // IMPORTANT: the epoch key last; a ledger that has one is complete.
        match state.slots.newest(ledger) {
            Some(_) => Ok(()),
            None => state.add(
                Name {
                    ledger,
                    kind: Kind::Epoch,
                    epoch: 1,
                },
                self.fresh(),
            ),
        }
    }

    fn epoch_key(&self, ledger: LedgerId) -> Result<(Epoch, Secret), KeyStoreError> {
        let State { mirrors, slots, .. } = &mut *self.state.lock();
        let epoch = slots.newest(ledger).unwrap_or_default();
        Ok((
            epoch,
            slots.read(
                mirrors,
                Name {
                    ledger,
                    kind: Kind::Epoch,
                    epoch,
                },
            )?,
        ))
    }

    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.read(Name {
            ledger,
            kind: Kind::BucketHash,
            epoch: 0,
        })
    }

    fn suppression_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        self.read(Name {
            ledger,
            kind: Kind::Suppression,
            epoch: 0,
        })
    }

    fn journal(&self, ledger: LedgerId, entries: &[JournalEntry]) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        state.for_writing()?;
        journal::append(&mut state.mirrors, self.owner, ledger, entries)
    }

    fn journaled(&self, ledger: LedgerId) -> Result<Vec<JournalEntry>, KeyStoreError> {
        journal::entries(&self.state.lock().mirrors, self.owner, ledger)
    }

    fn keep_checkpoint(&self, ledger: LedgerId, size: u64, note: &str) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        state.for_writing()?;
        let kept = match state.sizes.get(&ledger) {
            Some(size) => Some(*size),
            None => checkpoint::largest(&state.mirrors, self.owner, ledger)?.map(|(size, _)| size),
        };
        if kept.is_some_and(|kept| kept > size) {
            return Ok(());
        }
        checkpoint::keep(&state.mirrors, self.owner, ledger, size, note)?;
        state.sizes.insert(ledger, size);
        Ok(())
    }

    fn ledgers(&self) -> Result<Vec<LedgerId>, KeyStoreError> {
        checkpoint::ledgers(&self.state.lock().mirrors)
    }

    fn checkpoint(&self, ledger: LedgerId) -> Result<Option<(u64, String)>, KeyStoreError> {
        checkpoint::largest(&self.state.lock().mirrors, self.owner, ledger)
    }

    fn is_healthy(&self) -> bool {
        self.health().is_good()
    }

    fn disk_bytes(&self) -> u64 {
        let folders = self.health().mirrors.into_iter().map(|mirror| mirror.path);
        folders
            .map(|folder| crate::env::folder_bytes(&folder).unwrap_or(0))
            .fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
