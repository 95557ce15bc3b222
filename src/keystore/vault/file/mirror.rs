//! One mirror: a directory with its owner file, its lock and durable file operations.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::keystore::KeyStoreError;
use crate::keystore::vault::{StoreId, VaultId};

/// Of a vault that keeps its keys in its own files, and of one whose keys are in a device.
const OWNER_MAGICS: [&[u8; 8]; 2] = [b"OUBVAULT", b"OUBVLTHW"];

/// The newest layout of the files; grows when a reader of an older version would misread them.
const FORMAT: u32 = 2;

/// A mirror in use. Holds the lock as long as it lives.
#[derive(Debug)]
pub(super) struct Mirror {
    pub(super) path: PathBuf,
    pub(super) repaired: u64,
    _lock: Option<File>,
}

/// Whose a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) id: VaultId,
    /// Whom the vault serves.
    pub(super) store: StoreId,
    /// Whether a device keeps the keys.
    pub(super) has_device: bool,
    /// Whether another vault kept the keys of buckets and suppression before: then the slots hold them, also beside a device.
    pub(super) is_carried: bool,
}

/// What a directory turned out to be.
pub(super) enum Found {
    Usable(Mirror, Owner),
    Unusable(String),
}

pub(super) fn vault_error(reason: impl Into<String>, source: io::Error) -> KeyStoreError {
    KeyStoreError::Vault {
        reason: reason.into(),
        source: Some(source),
    }
}

pub(super) fn vault_refusal(reason: impl Into<String>) -> KeyStoreError {
    KeyStoreError::Vault {
        reason: reason.into(),
        source: None,
    }
}

impl Mirror {
    /// Makes the directories and takes the lock. The owner file comes last, with [`Mirror::claim`].
    pub(super) fn create(path: &Path) -> Result<Self, KeyStoreError> {
        if path.join("vault").exists() {
            return Err(KeyStoreError::Foreign(format!(
                "a vault exists already in {}",
                path.display()
            )));
        }
        for folder in [path.to_path_buf(), path.join("journal"), path.join("checkpoint")] {
            make_folder(&folder)?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            repaired: 0,
            _lock: Some(lock(path)?),
        })
    }

    /// Writes the owner file: from here on the directory is a mirror of this vault.
    pub(super) fn claim(&self, owner: Owner) -> Result<(), KeyStoreError> {
        let mut bytes = [
            magic(owner.has_device).as_slice(),
            &FORMAT.to_be_bytes(),
            &owner.id.0,
            &owner.store.0,
            &[u8::from(owner.is_carried)],
        ]
        .concat();
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        self.replace(Path::new("vault"), &bytes)
    }

    /// Opens a mirror. What is missing or unreadable is `Unusable`; a lock held elsewhere or a newer format refuses. To read
    /// alone no lock is taken, and nothing is ever written.
    pub(super) fn open(path: &Path, to_read: bool) -> Result<Found, KeyStoreError> {
        let bytes = match std::fs::read(path.join("vault")) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Found::Unusable("there is no vault".into())),
            Err(e) => return Ok(Found::Unusable(format!("the owner file cannot be read: {e}"))),
        };
        let Some(owner) = parse_owner(&bytes)? else {
            return Ok(Found::Unusable("the owner file is damaged".into()));
        };
        Ok(Found::Usable(
            Self {
                path: path.to_path_buf(),
                repaired: 0,
                _lock: if to_read { None } else { Some(lock(path)?) },
            },
            owner,
        ))
    }

    pub(super) fn context(&self, file: &Path) -> String {
        self.path.join(file).display().to_string()
    }

    /// Replaces a small file as a whole: temporary file, sync, rename, sync of the folder.
    pub(super) fn replace(&self, file: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
        replace(&self.path, file, bytes)
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&self, file: &Path) -> Result<(), KeyStoreError> {
        match std::fs::remove_file(self.path.join(file)) {
            Ok(()) => sync_folder(&self.path),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(vault_error(format!("cannot remove {}", self.context(file)), e)),
        }
    }

    /// A file as a whole; `None` if there is none.
    pub(super) fn read(&self, file: &Path) -> Result<Option<Vec<u8>>, KeyStoreError> {
        read(&self.path, file)
    }

    /// Whether nothing may be written.
    pub(super) fn is_to_read(&self) -> bool {
        self._lock.is_none()
    }

    /// Opens a file for reading and writing in place, creating it if it is missing.
    pub(super) fn edit(&self, file: &Path) -> Result<File, KeyStoreError> {
        let path = self.path.join(file);
        let failed = |e| vault_error(format!("cannot open {}", self.context(file)), e);
        if self.is_to_read() {
            return File::open(&path).map_err(failed);
        }
        match private().open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let created = private().create_new(true).open(&path).map_err(failed)?;
                sync_folder(path.parent().unwrap_or(&self.path))?;
                Ok(created)
            }
            other => other.map_err(failed),
        }
    }
}

/// Makes a folder that only its owner can enter, with those above it, all of them durable.
pub(super) fn make_folder(folder: &Path) -> Result<(), KeyStoreError> {
    let holders = holders_of_new(folder);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|e| vault_error(format!("cannot create {}", folder.display()), e))?;
    holders.into_iter().try_for_each(sync_folder)
}

/// The folders in which an entry is new once `folder` is made, lowest first. The lowest is among them in any case: a crash may
/// have come between making the folder and syncing that.
pub(super) fn holders_of_new(folder: &Path) -> Vec<&Path> {
    let mut holders = Vec::new();
    for made in folder.ancestors() {
        let Some(holder) = made.parent() else { break };
        let holder = if holder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            holder
        };
        holders.push(holder);
        if holder.exists() {
            break;
        }
    }
    holders
}

/// As [`Mirror::replace`], in a folder that is no mirror yet.
pub(super) fn replace(folder: &Path, file: &Path, bytes: &[u8]) -> Result<(), KeyStoreError> {
    let target = folder.join(file);
    let temporary = target.with_extension("new");
    let failed = |e| vault_error(format!("cannot write {}", target.display()), e);
    let mut options = private();
    let mut written = options.create(true).truncate(true).open(&temporary).map_err(failed)?;
    written
        .write_all(bytes)
        .and_then(|()| written.sync_all())
        .map_err(failed)?;
    // A crash before the rename leaves the old file, one after it the new file; both are whole.
    std::fs::rename(&temporary, &target).map_err(failed)?;
    sync_folder(target.parent().unwrap_or(folder))?;
    match read(folder, file)? {
        Some(back) if back == bytes => Ok(()),
        _ => Err(vault_refusal(format!(
            "{} does not read back as written",
            target.display()
        ))),
    }
}

/// As [`Mirror::read`].
pub(super) fn read(folder: &Path, file: &Path) -> Result<Option<Vec<u8>>, KeyStoreError> {
    let path = folder.join(file);
    let failed = |e| vault_error(format!("cannot read {}", path.display()), e);
    let mut bytes = Vec::new();
    match File::open(&path) {
        Ok(mut opened) => opened.read_to_end(&mut bytes).map(|_| Some(bytes)).map_err(failed),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(failed(e)),
    }
}

fn magic(has_device: bool) -> &'static [u8; 8] {
    let [files, device] = OWNER_MAGICS;
    if has_device { device } else { files }
}

fn parse_owner(bytes: &[u8]) -> Result<Option<Owner>, KeyStoreError> {
    let Some((content, checksum)) = bytes.split_last_chunk::<32>() else {
        return Ok(None);
    };
    let Some((magic, rest)) = content.split_first_chunk::<8>() else {
        return Ok(None);
    };
    let Some((format, owner)) = rest.split_first_chunk::<4>() else {
        return Ok(None);
    };
    if !OWNER_MAGICS.contains(&magic) || Sha256::digest(content)[..] != checksum[..] {
        return Ok(None);
    }
    let has_device = magic == OWNER_MAGICS[1];
    match u32::from_be_bytes(*format) {
        // Before vaults could move: a vault had the id of its store.
        1 => Ok(owner.try_into().ok().map(|id| Owner {
            id: VaultId(id),
            store: StoreId(id),
            has_device,
            is_carried: false,
        })),
        FORMAT => Ok(parse_identity(owner, has_device)),
        found => Err(KeyStoreError::NewerFormat { found, known: FORMAT }),
    }
}

fn parse_identity(bytes: &[u8], has_device: bool) -> Option<Owner> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (store, rest) = rest.split_first_chunk()?;
    let is_carried = match rest {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    Some(Owner {
        id: VaultId(*id),
        store: StoreId(*store),
        has_device,
        is_carried,
    })
}

fn lock(path: &Path) -> Result<File, KeyStoreError> {
    let failed = |e| vault_error(format!("cannot lock {}", path.display()), e);
    let file = private()
        .create(true)
        .truncate(false)
        .open(path.join("lock"))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(KeyStoreError::InUse),
        Err(TryLockError::Error(e)) => Err(failed(e)),
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

pub(super) fn sync_folder(path: &Path) -> Result<(), KeyStoreError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| vault_error(format!("cannot sync the folder {}", path.display()), e))
}
