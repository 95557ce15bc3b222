//! The data directory's lock, and what must be known of the folders before anything is opened.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Held as long as the directory is open; the operating system drops it with the process.
pub(super) struct Lock {
    _file: Option<File>,
}

/// Why the directory cannot be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else holds it.
    #[error("{0} is open in another process; use --url to talk to the server that serves it, or stop that first")]
    InUse(PathBuf),
    /// The lock file cannot be opened.
    #[error("{0} cannot be locked")]
    Io(PathBuf, #[source] io::Error),
}

impl Lock {
    pub(super) fn take(data: &Path) -> Result<Self, LockError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(data.join("LOCK"));
        let file = file.map_err(|error| LockError::Io(data.to_owned(), error))?;
        if file.try_lock().is_ok() {
            Ok(Self { _file: Some(file) })
        } else {
            Err(LockError::InUse(data.to_owned()))
        }
    }

    /// Takes the lock without making its file: for reading alone, also from a copy that has none.
    pub(super) fn take_existing(data: &Path) -> Result<Self, LockError> {
        let Ok(file) = File::open(data.join("LOCK")) else {
            return Ok(Self { _file: None });
        };
        if file.try_lock().is_ok() {
            Ok(Self { _file: Some(file) })
        } else {
            Err(LockError::InUse(data.to_owned()))
        }
    }
}

/// Whether a process has the directory open. Changes nothing.
pub fn is_served(data: &Path) -> bool {
    OpenOptions::new()
        .read(true)
        .open(data.join("LOCK"))
        .is_ok_and(|file| file.try_lock().is_err())
}

/// Makes a folder that only its owner can enter.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Whether any of the folders lies on the device of `path`.
pub(super) fn same_device(path: &Path, others: &[PathBuf]) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    others
        .iter()
        .any(|other| device(path).is_some() && device(path) == device(other))
}
