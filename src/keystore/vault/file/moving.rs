//! Moving a vault: what the new one and the old one remember of it, so that it can be finished from wherever it broke off.
//!
//! ```text
//! new: mark `moving` → keys, journal and checkpoints carried over → (the key store's one write) →
//! old: mark `moved` → every key destroyed → (on record in the ledgers) → new: mark gone
//! ```
//!
//! A vault with either mark is refused by everybody but the move. Before the key store's write the old vault is as it was and
//! the new one can be discarded; after it the old one's keys open nothing that is in use. No epoch key is carried: the new
//! vault makes one for each ledger, under a number above all of the old one's, and retired keys are destroyed with the old one.
//! Whether the write was done the caller asks the key store. Out of scope: copies of the old vault that were made by hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::keys::{KEPT, after, root_name};
use super::mirror::{Found, Mirror, Owner, read, replace, sync_folder, vault_error, vault_refusal};
use super::open::{Mirrors, Opening};
use super::slots::{self, Slots};
use super::stamp::Stamp;
use super::{FileVault, keys};
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::keystore::vault::device::Device;
use crate::keystore::vault::{Epoch, EpochState, JournalEntry, KeyPlace, StoreId, Vault, VaultId};
use crate::spec::ids::{LedgerId, Timestamp};

/// In a vault that is being moved into.
const MOVING: &str = "moving";
/// In a vault that was moved away.
const MOVED: &str = "moved";
/// Entries of a journal that are carried in one record.
const ENTRIES: usize = 1_000;

/// What a vault that is being moved into remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The new vault.
    pub vault: VaultId,
    /// The old one.
    pub from: VaultId,
    /// Where the old one keeps its epoch keys.
    pub from_place: KeyPlace,
    /// Where the new one keeps its own.
    pub place: KeyPlace,
    /// The ledgers whose keys go along; empty until all of them are carried.
    pub changes: Vec<Change>,
}

/// A ledger's change of epoch by a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The ledger.
    #[serde(with = "of_ledger")]
    pub ledger: LedgerId,
    /// Its epoch in the old vault.
    pub from: Epoch,
    /// Its epoch in the new one.
    pub to: Epoch,
}

/// What a vault that was moved away remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Departure {
    /// The new vault.
    pub to: VaultId,
    /// Its folders, as they were named.
    pub folders: Vec<PathBuf>,
}

mod of_ledger {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::spec::ids::LedgerId;

    pub(super) fn serialize<S: Serializer>(ledger: &LedgerId, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(ledger)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<LedgerId, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|_| D::Error::custom("not the id of a ledger"))
    }
}

/// What the vault in these folders remembers of a move into it that is not finished.
///
/// # Errors
/// [`KeyStoreError::Vault`] if a mark cannot be read.
pub fn arriving(folders: &[PathBuf]) -> Result<Option<Move>, KeyStoreError> {
    mark(folders, MOVING)
}

/// What the vault in these folders remembers of a move out of it.
///
/// # Errors
/// As [`arriving`].
pub fn departed(folders: &[PathBuf]) -> Result<Option<Departure>, KeyStoreError> {
    mark(folders, MOVED)
}

fn mark<T: DeserializeOwned>(folders: &[PathBuf], name: &str) -> Result<Option<T>, KeyStoreError> {
    for folder in folders {
        if let Some(bytes) = read(folder, Path::new(name))? {
            let damaged = |_| vault_refusal(format!("the mark {} is damaged", folder.join(name).display()));
            return serde_json::from_slice(&bytes).map(Some).map_err(damaged);
        }
    }
    Ok(None)
}

fn write<T: Serialize>(folder: &Path, name: &str, mark: &T) -> Result<(), KeyStoreError> {
    let bytes = serde_json::to_vec(mark).map_err(|error| vault_refusal(error.to_string()))?;
    replace(folder, Path::new(name), &bytes)
}

/// Refuses a vault that was moved away, and one whose arrival is not finished.
pub(super) fn refuse_moved(folders: &[PathBuf]) -> Result<(), KeyStoreError> {
    if let Some(departure) = departed(folders)? {
        return Err(KeyStoreError::Foreign(format!(
            "the vault is being moved, or was moved: if `oubliette vault move` has not ended, run it again as before; else set \
             vault_dirs = {:?}, and the vault_kind of the new one",
            departure.folders
        )));
    }
    if arriving(folders)?.is_some() {
        return Err(KeyStoreError::Foreign(
            "a move into this vault is not finished; run `oubliette vault move` again, as before".to_owned(),
        ));
    }
    Ok(())
}

/// Who the vault in these folders is, and whom it serves; `None` if there is none. Nothing is opened.
///
/// # Errors
/// [`KeyStoreError::NewerFormat`].
pub fn identity(folders: &[PathBuf]) -> Result<Option<(VaultId, StoreId)>, KeyStoreError> {
    for folder in folders {
        if let Found::Usable(_, owner) = Mirror::open(folder, true)? {
            return Ok(Some((owner.id, owner.store)));
        }
    }
    Ok(None)
}

/// Whether a vault may be made in a folder: it is missing, or empty.
///
/// # Errors
/// [`KeyStoreError::Vault`] if it cannot be read.
pub fn is_free(folder: &Path) -> Result<bool, KeyStoreError> {
    match std::fs::read_dir(folder) {
        // What a crash may leave of the mark.
        Ok(mut entries) => Ok(entries.all(|entry| entry.is_ok_and(|entry| entry.file_name() == "moving.new"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(vault_error(format!("cannot read {}", folder.display()), error)),
    }
}

/// Removes what an unfinished move left in the new vault. IMPORTANT: only where the key store does not hang under it. `going` is
/// called before each thing goes.
///
/// # Errors
/// [`KeyStoreError::Vault`] if something cannot be removed, or the device that keeps the keys is not given; it is to be repeated
/// then. Whatever `going` says.
pub fn discard<E: From<KeyStoreError>>(
    folders: &[PathBuf],
    device: Option<&dyn Device>,
    unfinished: &Move,
    mut going: impl FnMut() -> Result<(), E>,
) -> Result<(), E> {
    if unfinished.place == KeyPlace::Pkcs11 && device.is_none() {
        return Err(vault_refusal(
            "the move that broke off was into an HSM, which holds keys of it; name that HSM again",
        )
        .into());
    }
    let mut own = Vec::new();
    for folder in folders {
        if arriving(std::slice::from_ref(folder))?.is_some_and(|found| found.vault == unfinished.vault) {
            own.push(folder);
        }
    }
    // IMPORTANT: first of all, everywhere: from here on nobody takes what is left for a whole vault.
    let nothing = Move {
        changes: Vec::new(),
        ..unfinished.clone()
    };
    for folder in &own {
        going()?;
        write(folder, MOVING, &nothing)?;
    }
    for name in made_in(device, unfinished.vault)? {
        going()?;
        device.map_or(Ok(()), |device| device.destroy(&name))?;
    }
    own.into_iter().try_for_each(|folder| remove_all(folder, &mut going))
}

/// The mark last: without it nobody would know whose the rest is.
fn remove_all<E: From<KeyStoreError>>(folder: &Path, going: &mut impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let unread = |error| vault_error(format!("cannot read {}", folder.display()), error);
    slots::blank(folder)?;
    for entry in std::fs::read_dir(folder).map_err(unread)? {
        let entry = entry.map_err(unread)?;
        if entry.file_name() != MOVING {
            going()?;
            remove(&entry.path(), entry.file_type().map_err(unread)?.is_dir())?;
        }
    }
    sync_folder(folder)?;
    going()?;
    remove(&folder.join(MOVING), false)?;
    Ok(sync_folder(folder)?)
}

fn remove(path: &Path, is_folder: bool) -> Result<(), KeyStoreError> {
    let removed = if is_folder {
        std::fs::remove_dir_all(path)
    } else {
        std::fs::remove_file(path)
    };
    removed.map_err(|error| vault_error(format!("cannot remove {}", path.display()), error))
}

/// Marks the old vault as moved away, on every mirror. Repeating it changes nothing.
///
/// # Errors
/// [`KeyStoreError::Vault`] if a mirror is away or cannot be written.
pub fn leave(folders: &[PathBuf], departure: &Departure) -> Result<(), KeyStoreError> {
    let (mirrors, _) = all(folders)?;
    mirrors
        .iter()
        .try_for_each(|mirror| write(&mirror.path, MOVED, departure))
}

/// Destroys every key of a vault that was moved away, on every mirror and in its device. Repeating it changes nothing.
///
/// # Errors
/// [`KeyStoreError::Vault`] if a mirror or the device is away: a key may live on it, so it is to be repeated.
pub fn empty(folders: &[PathBuf], device: Option<&dyn Device>) -> Result<(), KeyStoreError> {
    let (mut mirrors, owner) = all(folders)?;
    if departed(folders)?.is_none() {
        return Err(vault_refusal("it was not moved away, so no key of it is destroyed"));
    }
    if owner.has_device {
        let device = device.ok_or_else(|| vault_refusal("its keys are in an HSM; set vault_kind = \"pkcs11\""))?;
        let mut names = made_in(Some(device), owner.id)?.into_iter();
        return names.try_for_each(|name| device.destroy(&name));
    }
    let stamp = Arc::new(Stamp {
        owner: owner.id,
        key: None,
    });
    Slots::open(stamp, &mut mirrors)?.destroy_all(&mirrors)
}

/// Every mirror of a vault, locked.
fn all(folders: &[PathBuf]) -> Result<(Vec<Mirror>, Owner), KeyStoreError> {
    let Mirrors {
        usable,
        unusable,
        owner,
    } = Mirrors::open(folders, false)?;
    match unusable.first() {
        None => Ok((usable, owner)),
        Some(mirror) => Err(vault_refusal(mirror.refusal())),
    }
}

/// The keys of a vault in its device, in the order in which they are to go: the root last, for the files open with it.
fn made_in(device: Option<&dyn Device>, vault: VaultId) -> Result<Vec<String>, KeyStoreError> {
    let Some(device) = device else { return Ok(Vec::new()) };
    let mut names = device.names(&keys::epoch_prefix(vault))?;
    names.push(root_name(vault));
    Ok(names)
}

fn place(has_device: bool) -> KeyPlace {
    if has_device { KeyPlace::Pkcs11 } else { KeyPlace::File }
}

impl FileVault {
    /// Makes a vault for another one's store, with the mark that it is being moved into. The folders must be free.
    ///
    /// # Errors
    /// As [`FileVault::create_with`].
    pub fn create_to_move(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
        from: &Self,
    ) -> Result<Self, KeyStoreError> {
        let owner = Owner {
            id: VaultId(entropy.bytes()),
            store: from.store,
            has_device: device.is_some(),
            is_carried: true,
        };
        let begun = Move {
            vault: owner.id,
            from: from.id,
            from_place: from.place(),
            place: place(device.is_some()),
            changes: Vec::new(),
        };
        // IMPORTANT: before anything else, in the device too: what is made without a mark could not be found again.
        for folder in mirrors {
            super::mirror::make_folder(folder)?;
            write(folder, MOVING, &begun)?;
        }
        Self::make(mirrors, device, entropy, owner)
    }

    /// Opens a vault that is being moved into, or out of.
    ///
    /// # Errors
    /// As [`FileVault::open_with`].
    pub fn open_to_move(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, KeyStoreError> {
        Self::open_mirrors(mirrors, device, entropy, Opening::Move)
    }

    /// Its own id.
    pub fn id(&self) -> VaultId {
        self.id
    }

    /// Where its epoch keys are.
    pub fn place(&self) -> KeyPlace {
        place(self.device.is_some())
    }

    /// Whether every mirror is in use and no key is lost.
    pub fn is_whole(&self) -> bool {
        let state = self.state.lock();
        state.unusable.is_empty() && state.slots.lost() == 0
    }

    /// Takes over what `from` keeps of these ledgers, but for its epoch keys, of which each ledger gets a new one; and every
    /// checkpoint. Ends with the changes in the mark.
    ///
    /// # Errors
    /// [`KeyStoreError`] of either vault; then this one is to be discarded.
    pub fn take_over(&self, from: &Self, ledgers: &[LedgerId], now: Timestamp) -> Result<Move, KeyStoreError> {
        let mut changes = Vec::new();
        for ledger in ledgers {
            changes.push(self.carry(from, *ledger, now)?);
        }
        for ledger in from.ledgers()? {
            if let Some((size, note)) = from.checkpoint(ledger)? {
                self.keep_checkpoint(ledger, size, &note)?;
            }
        }
        if !from.is_closed()? {
            self.begin()?;
        }
        let moved = Move {
            vault: self.id,
            from: from.id,
            from_place: from.place(),
            place: self.place(),
            changes,
        };
        let state = self.state.lock();
        let mut mirrors = state.mirrors.iter();
        mirrors.try_for_each(|mirror| write(&mirror.path, MOVING, &moved))?;
        Ok(moved)
    }

    fn carry(&self, from: &Self, ledger: LedgerId, now: Timestamp) -> Result<Change, KeyStoreError> {
        for kind in KEPT {
            let key = from.kept(kind, ledger)?;
            self.keep(kind, ledger, &key, now)?;
        }
        let journaled = from.journaled(ledger)?;
        for entries in journaled.chunks(ENTRIES) {
            self.journal(ledger, entries)?;
        }
        let epochs = from.epochs(ledger)?;
        let current = epochs.iter().find(|key| key.state == EpochState::Current);
        let (Some(current), Some(newest)) = (current, epochs.last()) else {
            return Err(vault_refusal("it knows no epoch of a ledger of the key store"));
        };
        let to = self.make_epoch(&mut self.state.lock(), ledger, after(newest.epoch)?, now)?;
        self.is_as(from, ledger, &journaled)?;
        Ok(Change {
            ledger,
            from: current.epoch,
            to,
        })
    }

    /// Reads back what was carried.
    fn is_as(&self, from: &Self, ledger: LedgerId, journaled: &[JournalEntry]) -> Result<(), KeyStoreError> {
        for kind in KEPT {
            if self.kept(kind, ledger)? != from.kept(kind, ledger)? {
                return Err(vault_refusal(
                    "a key that was carried over is not the one that the old vault keeps",
                ));
            }
        }
        if self.journaled(ledger)? != journaled {
            return Err(vault_refusal(
                "the journal that was carried over is not the old vault's",
            ));
        }
        Ok(())
    }

    /// Says that the move into this vault is finished: from here on it is like any other.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if a mirror is away or cannot be written.
    pub fn arrived(&self) -> Result<(), KeyStoreError> {
        let state = self.state.lock();
        state.for_writing()?;
        let mut mirrors = state.mirrors.iter();
        mirrors.try_for_each(|mirror| mirror.remove(Path::new(MOVING)))
    }
}
