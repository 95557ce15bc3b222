//! The file vault: key slots, erasure journal and last checkpoints in a private folder, mirrored.
//!
//! ```text
//! <mirror>/            0700, one or more, each on a device of its own
//!   vault              magic, format, vault id, checksum; written last, so a folder without it is no vault
//!   lock               held while a process has the vault open
//!   slots              see `slots`: 512 bytes each, overwritten in place
//!   journal/<ledger>   see `journal`: append-only
//!   checkpoint/<ledger>  see `checkpoint`: replaced as a whole
//!   closed             there while nothing can have come after the checkpoints: see [`FileVault::close`]
//! ```
//!
//! A write counts when every mirror has it, synced and read back (through the system's cache: this finds short and
//! misdirected writes, not a disk that lies). A read takes any valid mirror and repairs damaged slots on the others.
//! A mirror that is missing or unreadable at start leaves the vault readable, refuses writes and shows in
//! [`FileVault::health`]: copy a good mirror in its place while the server is stopped. In-place overwriting destroys on
//! ordinary file systems; copy-on-write ones, snapshots and an SSD's controller may keep the old sector: see
//! `docs/operations.md`.
//!
//! With a [`Device`] the epoch keys are in it and nowhere else. The slots then say which there are and what became of
//! them, the keys of buckets and suppression are derived under a root key of the device, and so is the MAC that slots and
//! journal carry (`stamp`). A slot is written after its key was made and overwritten after its key was destroyed: a crash
//! leaves a key that no slot names, or a slot without its key, which opens nothing. An old copy of the folder names too few
//! keys as well: so no key is made over one that is there, and none goes because the folder lacks it until the key store
//! has opened under a newer one ([`Vault::destroy_unnamed`]).
//! Checkpoints are signed by their ledger and carry a checksum alone. Out of scope: what the keys wrap.

mod checkpoint;
mod journal;
mod mirror;
mod slots;
mod stamp;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use self::mirror::{Found, Mirror, Owner, vault_refusal};
use self::slots::{Kind, Name, Slots, Times};
use self::stamp::Stamp;
use super::device::Device;
use super::{Epoch, EpochKey, EpochState, JournalEntry, Secret, Vault, VaultId};
use crate::env::Entropy;
use crate::keystore::{KeyStoreError, wrap};
use crate::spec::ids::{LedgerId, Timestamp};

/// The mark that no checkpoint is missing.
const CLOSED: &str = "closed";

/// A vault in mirrored folders.
pub struct FileVault {
    owner: VaultId,
    stamp: Arc<Stamp>,
    device: Option<Arc<dyn Device>>,
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
        Self::create_with(mirrors, None, entropy)
    }

    /// As [`FileVault::create`], with the keys in a device.
    ///
    /// # Errors
    /// As [`FileVault::create`], and [`KeyStoreError::Vault`] if the device makes no key.
    pub fn create_with(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyStoreError> {
        if mirrors.is_empty() {
            return Err(vault_refusal("it needs at least one folder"));
        }
        let owner = VaultId(entropy.bytes());
        let mirrors = mirrors
            .iter()
            .map(|path| Mirror::create(path))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(device) = &device {
            device.make_root(&root_name(owner))?;
        }
        let stamp = stamp(owner, device.as_deref())?;
        let slots = Slots::create(Arc::clone(&stamp), &mirrors)?;
        let claim = Owner {
            id: owner,
            has_device: device.is_some(),
        };
        mirrors.iter().try_for_each(|mirror| mirror.claim(claim))?;
        mark_closed(&mirrors, owner)?;
        let state = State {
            mirrors,
            unusable: Vec::new(),
            slots,
            sizes: HashMap::new(),
        };
        Ok(Self {
            owner,
            stamp,
            device,
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
        Self::open_mirrors(mirrors, None, entropy, false)
    }

    /// Opens a vault to read alone, also beside a server that has it open: takes no lock, repairs nothing, destroys nothing
    /// in the device, refuses every write.
    ///
    /// # Errors
    /// As [`FileVault::open_with`].
    pub fn open_to_read(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyStoreError> {
        Self::open_mirrors(mirrors, device, entropy, true)
    }

    /// As [`FileVault::open`], with the keys in a device. Keys in it that no slot names stay: see
    /// [`Vault::destroy_unnamed`].
    ///
    /// # Errors
    /// As [`FileVault::open`]; [`KeyStoreError::Foreign`] if the vault's keys are elsewhere.
    pub fn open_with(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyStoreError> {
        Self::open_mirrors(mirrors, device, entropy, false)
    }

    fn open_mirrors(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
        to_read: bool,
    ) -> Result<Self, KeyStoreError> {
        let (mut usable, mut unusable, mut owner) = (Vec::new(), Vec::new(), None);
        for path in mirrors {
            match Mirror::open(path, to_read)? {
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
        let Some(Owner { id: owner, has_device }) = owner else {
            return Err(no_vault(&unusable));
        };
        if has_device != device.is_some() {
            return Err(KeyStoreError::Foreign(
                if has_device {
                    "the vault keeps its epoch keys in an HSM; set vault_kind = \"pkcs11\""
                } else {
                    "the vault keeps its epoch keys in its files; set vault_kind = \"file\""
                }
                .to_owned(),
            ));
        }
        let stamp = stamp(owner, device.as_deref())?;
        let slots = Slots::open(Arc::clone(&stamp), &mut usable)?;
        let state = State {
            mirrors: usable,
            unusable,
            slots,
            sizes: HashMap::new(),
        };
        let vault = Self {
            owner,
            stamp,
            device,
            entropy,
            state: Mutex::new(state),
        };
        vault.warn_of_unnamed()?;
        Ok(vault)
    }

    /// Whether the vault was closed by who wrote to it last: then its checkpoints are the ledgers' last ones. They lag
    /// otherwise, and events may have been acknowledged that it never heard of.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if a mirror cannot be read.
    pub fn is_closed(&self) -> Result<bool, KeyStoreError> {
        for mirror in &self.state.lock().mirrors {
            if mirror.read(Path::new(CLOSED))?.as_deref() != Some(self.owner.0.as_slice()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Says that ledgers may grow from here on. Before the first of them does.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if that cannot be made durable.
    pub fn begin(&self) -> Result<(), KeyStoreError> {
        let state = self.state.lock();
        state
            .mirrors
            .iter()
            .try_for_each(|mirror| mirror.remove(Path::new(CLOSED)))
    }

    /// Says that no ledger grows any more and that all last checkpoints are here.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if a mirror is away or cannot be written.
    pub fn close(&self) -> Result<(), KeyStoreError> {
        let state = self.state.lock();
        state.for_writing()?;
        mark_closed(&state.mirrors, self.owner)
    }

    /// The epoch keys in the device whose names begin with `prefix` and that no slot names.
    fn unnamed(&self, device: &dyn Device, state: &State, prefix: &str) -> Result<Vec<String>, KeyStoreError> {
        let named: HashSet<String> = state
            .slots
            .all_epochs()
            .map(|(ledger, epoch)| key_name(self.owner, ledger, epoch))
            .collect();
        let mut names = device.names(prefix)?;
        names.retain(|name| !named.contains(name));
        Ok(names)
    }

    fn warn_of_unnamed(&self) -> Result<(), KeyStoreError> {
        let Some(device) = self.device.as_deref() else {
            return Ok(());
        };
        let unnamed = self.unnamed(device, &self.state.lock(), &epoch_prefix(self.owner))?;
        if !unnamed.is_empty() {
            tracing::warn!(
                keys = unnamed.len(),
                "the HSM holds epoch keys that the vault's folders do not name: left by a crash, or the folders are an older copy"
            );
        }
        Ok(())
    }

    /// A key that is derived in the device, for a ledger that the vault knows.
    fn derived(&self, device: &dyn Device, purpose: &str, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        if self.state.lock().slots.epochs(ledger).next().is_none() {
            return Err(vault_refusal("it holds no such key of this ledger"));
        }
        let text = [purpose.as_bytes(), ledger.as_bytes()].concat();
        device.mac(&root_name(self.owner), &text)
    }

    /// Makes the key of an epoch, and then its slot. In a device it takes the next number under which there is no key: one
    /// that no slot names may be in use by a key store that these folders are too old for.
    fn make_epoch(
        &self,
        state: &mut State,
        ledger: LedgerId,
        mut epoch: Epoch,
        now: Timestamp,
    ) -> Result<Epoch, KeyStoreError> {
        let key = match &self.device {
            None => self.fresh(),
            Some(device) => {
                // Nothing is made that could not be named.
                state.for_writing()?;
                while device.holds(&key_name(self.owner, ledger, epoch))? {
                    epoch = after(epoch)?;
                }
                device.make_key(&key_name(self.owner, ledger, epoch))?;
                Secret::default()
            }
        };
        state.add(epoch_name(ledger, epoch), [now.0, 0], &key)?;
        Ok(epoch)
    }

    /// The device, and the name of an epoch's key in it, if a slot has that name.
    fn in_device(&self, ledger: LedgerId, epoch: Epoch) -> Result<Option<(&dyn Device, String)>, KeyStoreError> {
        let Some(device) = self.device.as_deref() else {
            return Ok(None);
        };
        if !self.state.lock().slots.holds(epoch_name(ledger, epoch)) {
            return Err(vault_refusal("it holds no such key of this ledger"));
        }
        Ok(Some((device, key_name(self.owner, ledger, epoch))))
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

fn after(epoch: Epoch) -> Result<Epoch, KeyStoreError> {
    let next = epoch.checked_add(1);
    next.ok_or_else(|| vault_refusal("there are no more epochs"))
}

fn root_name(owner: VaultId) -> String {
    format!("oubliette {} root", hex::encode(owner.0))
}

fn epoch_prefix(owner: VaultId) -> String {
    format!("oubliette {} epoch ", hex::encode(owner.0))
}

fn key_name(owner: VaultId, ledger: LedgerId, epoch: Epoch) -> String {
    format!("{}{ledger} {epoch}", epoch_prefix(owner))
}

fn stamp(owner: VaultId, device: Option<&dyn Device>) -> Result<Arc<Stamp>, KeyStoreError> {
    let key = device.map(|device| device.mac(&root_name(owner), b"oubliette/vault/files/v1"));
    Ok(Arc::new(Stamp {
        owner,
        key: key.transpose()?,
    }))
}

fn epoch_name(ledger: LedgerId, epoch: Epoch) -> Name {
    Name {
        ledger,
        kind: Kind::Epoch,
        epoch,
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

fn mark_closed(mirrors: &[Mirror], owner: VaultId) -> Result<(), KeyStoreError> {
    let mut mirrors = mirrors.iter();
    mirrors.try_for_each(|mirror| mirror.replace(Path::new(CLOSED), &owner.0))
}

impl State {
    /// A write is durable on every mirror or refused: one that is away would come back without it.
    fn for_writing(&self) -> Result<(), KeyStoreError> {
        if self.mirrors.iter().any(Mirror::is_to_read) {
            return Err(vault_refusal("it was opened to be read alone"));
        }
        match self.unusable.first() {
            None => Ok(()),
            Some(mirror) => Err(vault_refusal(format!(
                "the mirror {} cannot be used ({}); copy a good one in its place",
                mirror.path.display(),
                mirror.problem.as_deref().unwrap_or_default()
            ))),
        }
    }

    fn add(&mut self, name: Name, times: Times, key: &Secret) -> Result<(), KeyStoreError> {
        self.for_writing()?;
        self.slots.add(&self.mirrors, name, times, key)
    }

    /// Writes a note about an epoch whose key is there, once.
    fn note(&mut self, name: Name, times: Times) -> Result<(), KeyStoreError> {
        if !self.slots.holds(epoch_name(name.ledger, name.epoch)) {
            return Err(vault_refusal("it holds no such epoch key of this ledger"));
        }
        if self.slots.holds(name) {
            return Ok(());
        }
        self.add(name, times, &Secret::default())
    }

    fn destroy(&mut self, name: Name) -> Result<(), KeyStoreError> {
        if !self.slots.holds(name) {
            return Ok(());
        }
        self.for_writing()?;
        self.slots.destroy(&self.mirrors, name)
    }

    fn epochs(&self, ledger: LedgerId) -> Vec<EpochKey> {
        let mut in_use = false;
        let note = |kind, epoch| self.slots.times(Name { ledger, kind, epoch });
        let epoch = |(epoch, [born, _]): (Epoch, Times)| {
            let state = match note(Kind::Retired, epoch) {
                Some([since, until]) => EpochState::Retired {
                    since: Timestamp(since),
                    until: Timestamp(until),
                },
                None if std::mem::replace(&mut in_use, true) => EpochState::Fresh,
                None => EpochState::Current,
            };
            EpochKey {
                epoch,
                state,
                born: Timestamp(born),
                backed_up: note(Kind::BackedUp, epoch).map(|[at, _]| Timestamp(at)),
            }
        };
        self.slots.epochs(ledger).map(epoch).collect()
    }

    /// Refuses to leave a ledger without a key that is in use or may be.
    fn another_is_kept(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError> {
        let retired = |key: &EpochKey| matches!(key.state, EpochState::Retired { .. });
        let kept = |key: &EpochKey| key.epoch != epoch && !retired(key);
        let epochs = self.epochs(ledger);
        let spare =
            epochs.iter().all(|key| key.epoch != epoch) || epochs.iter().any(|key| key.epoch == epoch && retired(key));
        if spare || epochs.iter().any(kept) {
            Ok(())
        } else {
            Err(vault_refusal(
                "the only epoch key in use is neither retired nor destroyed",
            ))
        }
    }
}

impl Vault for FileVault {
    fn owner(&self) -> VaultId {
        self.owner
    }

    fn create_ledger(&self, ledger: LedgerId, now: Timestamp) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        let kept = [Kind::BucketHash, Kind::Suppression];
        for kind in kept.into_iter().filter(|_| self.device.is_none()) {
            let name = Name { ledger, kind, epoch: 0 };
            if !state.slots.holds(name) {
                state.add(name, [now.0, 0], &self.fresh())?;
            }
        }
        // IMPORTANT: the epoch key last; a ledger that has one is complete.
        if state.slots.epochs(ledger).next().is_none() {
            self.make_epoch(&mut state, ledger, 1, now)?;
        }
        Ok(())
    }

    fn epochs(&self, ledger: LedgerId) -> Result<Vec<EpochKey>, KeyStoreError> {
        Ok(self.state.lock().epochs(ledger))
    }

    fn mint_epoch(&self, ledger: LedgerId, after: Epoch, now: Timestamp) -> Result<Epoch, KeyStoreError> {
        let mut state = self.state.lock();
        let epochs = state.epochs(ledger);
        let newest = epochs
            .last()
            .ok_or_else(|| vault_refusal("it does not know this ledger"))?;
        if newest.epoch > after && newest.state == EpochState::Fresh {
            return Ok(newest.epoch);
        }
        let epoch = self::after(newest.epoch.max(after))?;
        self.make_epoch(&mut state, ledger, epoch, now)
    }

    fn wrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        master: &[u8; 32],
    ) -> Result<Vec<u8>, KeyStoreError> {
        if let Some((device, name)) = self.in_device(ledger, epoch)? {
            return device.encrypt(&name, self.entropy.bytes(), aad, master);
        }
        let key = self.read(epoch_name(ledger, epoch))?;
        wrap::wrap(&key, (aad, &[]), master, self.entropy.as_ref()).ok_or(KeyStoreError::Damaged("epoch master"))
    }

    fn unwrap_master(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        aad: &[u8],
        wrapped: &[u8],
    ) -> Result<Secret, KeyStoreError> {
        if let Some((device, name)) = self.in_device(ledger, epoch)? {
            return device.decrypt(&name, aad, wrapped);
        }
        let (key, mut master) = (self.read(epoch_name(ledger, epoch))?, Secret::default());
        wrap::unwrap_into(&key, (aad, &[]), wrapped, master.as_mut_slice())
            .map(|()| master)
            .ok_or(KeyStoreError::Damaged("epoch master"))
    }

    fn mark_backed_up(&self, ledger: LedgerId, epoch: Epoch, at: Timestamp) -> Result<(), KeyStoreError> {
        let kind = Kind::BackedUp;
        self.state.lock().note(Name { ledger, kind, epoch }, [at.0, 0])
    }

    fn retire_epoch(
        &self,
        ledger: LedgerId,
        epoch: Epoch,
        since: Timestamp,
        until: Timestamp,
    ) -> Result<(), KeyStoreError> {
        let (mut state, kind) = (self.state.lock(), Kind::Retired);
        state.another_is_kept(ledger, epoch)?;
        state.note(Name { ledger, kind, epoch }, [since.0, until.0])
    }

    fn destroy_epoch(&self, ledger: LedgerId, epoch: Epoch) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        state.another_is_kept(ledger, epoch)?;
        if let Some(device) = &self.device {
            state.for_writing()?;
            // Also where no slot names it.
            device.destroy(&key_name(self.owner, ledger, epoch))?;
        }
        // IMPORTANT: the key first. Notes without a key are nothing, a key without its note would be in use again.
        [Kind::Epoch, Kind::Retired, Kind::BackedUp]
            .into_iter()
            .try_for_each(|kind| state.destroy(Name { ledger, kind, epoch }))
    }

    fn bucket_hash_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        if let Some(device) = self.device.as_deref() {
            return self.derived(device, "oubliette/vault/bucket-hash/v1", ledger);
        }
        self.read(Name {
            ledger,
            kind: Kind::BucketHash,
            epoch: 0,
        })
    }

    fn suppression_key(&self, ledger: LedgerId) -> Result<Secret, KeyStoreError> {
        if let Some(device) = self.device.as_deref() {
            return self.derived(device, "oubliette/vault/suppression/v1", ledger);
        }
        self.read(Name {
            ledger,
            kind: Kind::Suppression,
            epoch: 0,
        })
    }

    fn journal(&self, ledger: LedgerId, entries: &[JournalEntry]) -> Result<(), KeyStoreError> {
        let mut state = self.state.lock();
        state.for_writing()?;
        journal::append(&mut state.mirrors, &self.stamp, ledger, entries)
    }

    fn journaled(&self, ledger: LedgerId) -> Result<Vec<JournalEntry>, KeyStoreError> {
        journal::entries(&self.state.lock().mirrors, &self.stamp, ledger)
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

    fn destroy_unnamed(&self, ledger: LedgerId, own: Epoch) -> Result<(), KeyStoreError> {
        let state = self.state.lock();
        let Some(device) = self.device.as_deref() else {
            return Ok(());
        };
        let is_whole = state.for_writing().is_ok() && state.slots.lost() == 0;
        if !is_whole || !state.slots.holds(epoch_name(ledger, own)) {
            return Ok(());
        }
        let prefix = format!("{}{ledger} ", epoch_prefix(self.owner));
        for name in self.unnamed(device, &state, &prefix)? {
            let epoch = name.strip_prefix(&prefix).and_then(|epoch| epoch.parse::<Epoch>().ok());
            if epoch.is_some_and(|epoch| epoch < own) {
                tracing::warn!(epoch, "an epoch key that a crash left in the HSM is destroyed");
                device.destroy(&name)?;
            }
        }
        Ok(())
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
