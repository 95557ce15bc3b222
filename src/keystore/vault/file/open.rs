//! Making and opening a vault: whose its folders are, which of them can be used, and whether it was closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::keys::{root_name, stamp};
use super::mirror::{Found, Mirror, Owner, vault_refusal};
use super::moving;
use super::slots::Slots;
use super::state::State;
use super::{FileVault, MirrorHealth};
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::keystore::vault::device::Device;
use crate::keystore::vault::{StoreId, VaultId};

/// The mark that no checkpoint is missing.
const CLOSED: &str = "closed";

/// For what a vault is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// To be used.
    Use,
    /// To be read alone.
    Read,
    /// To finish the move into it or out of it.
    Move,
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
        let (id, store) = (VaultId(entropy.bytes()), StoreId(entropy.bytes()));
        let has_device = device.is_some();
        let owner = Owner {
            id,
            store,
            has_device,
            is_carried: false,
        };
        Self::make(mirrors, device, entropy, owner)
    }

    /// Makes a vault with this identity.
    pub(super) fn make(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
        owner: Owner,
    ) -> Result<Self, KeyStoreError> {
        if mirrors.is_empty() {
            return Err(vault_refusal("it needs at least one folder"));
        }
        let mirrors = mirrors
            .iter()
            .map(|path| Mirror::create(path))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(device) = &device {
            device.make_root(&root_name(owner.id))?;
        }
        let stamp = stamp(owner.id, device.as_deref())?;
        let slots = Slots::create(Arc::clone(&stamp), &mirrors)?;
        mirrors.iter().try_for_each(|mirror| mirror.claim(owner))?;
        mark_closed(&mirrors, owner.id)?;
        let state = State::new(mirrors, Vec::new(), slots);
        Ok(Self {
            id: owner.id,
            store: owner.store,
            is_carried: owner.is_carried,
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
        Self::open_mirrors(mirrors, None, entropy, Opening::Use)
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
        Self::open_mirrors(mirrors, device, entropy, Opening::Read)
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
        Self::open_mirrors(mirrors, device, entropy, Opening::Use)
    }

    pub(super) fn open_mirrors(
        mirrors: &[PathBuf],
        device: Option<Arc<dyn Device>>,
        entropy: Arc<dyn Entropy>,
        opening: Opening,
    ) -> Result<Self, KeyStoreError> {
        let Mirrors {
            mut usable,
            unusable,
            owner,
        } = Mirrors::open(mirrors, opening == Opening::Read)?;
        for mirror in &unusable {
            tracing::error!(path = %mirror.path.display(), problem = mirror.problem, "a mirror of the vault cannot be used");
        }
        let Owner {
            id,
            store,
            has_device,
            is_carried,
        } = owner;
        if opening != Opening::Move {
            moving::refuse_moved(mirrors)?;
        }
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
        let stamp = stamp(id, device.as_deref())?;
        let slots = Slots::open(Arc::clone(&stamp), &mut usable)?;
        let vault = Self {
            id,
            store,
            is_carried,
            stamp,
            device,
            entropy,
            state: Mutex::new(State::new(usable, unusable, slots)),
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
            if mirror.read(Path::new(CLOSED))?.as_deref() != Some(self.id.0.as_slice()) {
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
        mark_closed(&state.mirrors, self.id)
    }
}

/// The mirrors of one vault.
pub(super) struct Mirrors {
    pub(super) usable: Vec<Mirror>,
    pub(super) unusable: Vec<MirrorHealth>,
    pub(super) owner: Owner,
}

impl Mirrors {
    /// Those in these folders, of which one is usable at least.
    pub(super) fn open(folders: &[PathBuf], to_read: bool) -> Result<Self, KeyStoreError> {
        let (mut usable, mut unusable, mut owner) = (Vec::new(), Vec::new(), None);
        for path in folders {
            match Mirror::open(path, to_read)? {
                Found::Usable(mirror, found) if *owner.get_or_insert(found) == found => usable.push(mirror),
                Found::Usable(..) => {
                    let text = format!("{} holds another vault", path.display());
                    return Err(KeyStoreError::Foreign(text));
                }
                Found::Unusable(problem) => unusable.push(MirrorHealth {
                    path: path.clone(),
                    problem: Some(problem),
                    repaired: 0,
                }),
            }
        }
        let owner = owner.ok_or_else(|| no_vault(&unusable))?;
        Ok(Self {
            usable,
            unusable,
            owner,
        })
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

fn mark_closed(mirrors: &[Mirror], vault: VaultId) -> Result<(), KeyStoreError> {
    let mut mirrors = mirrors.iter();
    mirrors.try_for_each(|mirror| mirror.replace(Path::new(CLOSED), &vault.0))
}
