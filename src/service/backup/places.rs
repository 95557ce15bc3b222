//! Where a backup may go: under one folder, in new folders, and never where the stores, the vault or the keys lie.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::super::{Code, Error};
use super::{BackupRequest, MANIFEST};
use crate::spec::backup::Part;
use crate::store::{LedgerStore, StoreError};

/// Opens a copy of the ledgers' store for reading.
type Open = dyn Fn(&Path) -> Result<Arc<dyn LedgerStore>, StoreError> + Send + Sync;

/// Where backups may go.
pub struct Places {
    /// The folder under which they must lie; `None`: nowhere.
    pub root: Option<PathBuf>,
    /// Folders that they must not touch: stores, vault, keys.
    pub apart_from: Vec<PathBuf>,
    /// Opens a copy of the ledgers' store for reading.
    pub open: Box<Open>,
}

/// The folders of one backup.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) to: PathBuf,
    pub(super) keystore_to: PathBuf,
}

impl Target {
    /// The folder of a part.
    pub(super) fn part(&self, part: Part) -> PathBuf {
        let within = match part {
            Part::Ledger => &self.to,
            Part::Keystore => &self.keystore_to,
        };
        within.join(part.folder())
    }

    /// Keeps everybody else out of a part that was copied: the engine makes its folder as the umask says.
    pub(super) fn close(&self, part: Part) -> Result<(), Error> {
        let folder = self.part(part);
        make_private(&folder).map_err(|error| unusable(&folder, error))
    }

    /// Removes what there is of both parts.
    pub(super) fn clear_parts(&self) -> Result<(), Error> {
        for part in Part::ALL {
            let folder = self.part(part);
            if folder.exists() {
                std::fs::remove_dir_all(&folder).map_err(|error| unusable(&folder, error))?;
            }
        }
        Ok(())
    }

    /// Leaves nothing that could be taken for a backup: the manifests go first, so that what cannot be removed is none.
    pub(super) fn clear(&self) {
        for folder in [&self.to, &self.keystore_to] {
            let _ = std::fs::remove_file(folder.join(MANIFEST));
        }
        if let Err(error) = self.clear_parts() {
            tracing::warn!(error = %error, "what is left of a backup could not be removed");
        }
        // These were empty or not there before.
        let _ = (std::fs::remove_dir(&self.to), std::fs::remove_dir(&self.keystore_to));
    }
}

pub(super) fn unusable(path: &Path, error: std::io::Error) -> Error {
    Error::new(Code::StorageFailed, format!("{}: {error}", path.display())).caused_by(error)
}

impl Places {
    /// Opens a copy of the ledgers' store for reading.
    pub(super) fn open(&self, folder: &Path) -> Result<Arc<dyn LedgerStore>, Error> {
        Ok((self.open)(folder)?)
    }

    /// Makes the folders of a backup. They must be new, or empty.
    pub(super) fn prepare(&self, request: &BackupRequest) -> Result<Target, Error> {
        let to = self.allowed("/to", &request.to)?;
        let keystore_to = match &request.keystore_to {
            Some(path) => self.allowed("/keystore_to", path)?,
            None => to.clone(),
        };
        if to != keystore_to && (to.starts_with(&keystore_to) || keystore_to.starts_with(&to)) {
            let detail = "must be the folder of `to`, or lie apart from it";
            return Err(Error::field("/keystore_to", detail));
        }
        let places = [("/to", &to), ("/keystore_to", &keystore_to)];
        for (pointer, folder) in places {
            check_empty(pointer, folder)?;
        }
        for (_, folder) in places {
            make(folder).map_err(|error| unusable(folder, error))?;
        }
        Ok(Target { to, keystore_to })
    }

    /// The path as the system knows it, if a backup may lie there.
    fn allowed(&self, pointer: &str, path: &Path) -> Result<PathBuf, Error> {
        let Some(root) = &self.root else {
            let detail =
                "this server writes no backups: set backup_dir, or use `oubliette backup --data` on its machine";
            return Err(Error::field(pointer, detail));
        };
        let root = root
            .canonicalize()
            .map_err(|error| Error::field(pointer, format!("backup_dir cannot be used: {error}")))?;
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
        if path.as_os_str().is_empty() || !path.components().all(plain) {
            return Err(Error::field(pointer, "must name a folder, without `.` and `..`"));
        }
        let path =
            resolved(&root.join(path)).map_err(|error| Error::field(pointer, format!("cannot be used: {error}")))?;
        if !path.starts_with(&root) || path == root {
            return Err(Error::field(pointer, "must lie under the server's backup_dir"));
        }
        let mut around = path.ancestors().skip(1).take_while(|above| above.starts_with(&root));
        if around.any(|above| above.join(MANIFEST).exists()) {
            let detail = "must not lie within another backup, of which it would become a part";
            return Err(Error::field(pointer, detail));
        }
        if self.apart_from.iter().any(|other| touch(&path, other)) {
            return Err(Error::field(
                pointer,
                "must not lie where the stores, the vault or the signing keys lie",
            ));
        }
        Ok(path)
    }
}

/// Whether one folder is the other or lies in it, links resolved.
pub fn touch(a: &Path, b: &Path) -> bool {
    let [a, b] = [a, b].map(|path| resolved(path).unwrap_or_else(|_| path.to_owned()));
    a.starts_with(&b) || b.starts_with(&a)
}

/// Resolves links as far as the path exists: what is made below goes where this says.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    let mut missing = Vec::new();
    let mut known = path;
    loop {
        match known.canonicalize() {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path, part| path.join(part))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !known.is_symlink() => {
                let (Some(parent), Some(name)) = (known.parent(), known.file_name()) else {
                    return Err(error);
                };
                missing.push(name);
                known = if parent.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    parent
                };
            }
            Err(error) => return Err(error),
        }
    }
}

fn check_empty(pointer: &str, folder: &Path) -> Result<(), Error> {
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::field(pointer, "holds something already; name a new folder")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(unusable(folder, error)),
    }
}

fn make(folder: &Path) -> std::io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    make_private(folder)
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_stays_under_its_root_and_apart_from_what_it_copies() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("backups");
        let vault = root.join("vault");
        std::fs::create_dir_all(&vault).unwrap();
        std::fs::create_dir(folder.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), root.join("link")).unwrap();
        std::fs::create_dir_all(root.join("full/inside")).unwrap();
        std::fs::create_dir_all(root.join("older/ledger")).unwrap();
        std::fs::write(root.join("older").join(MANIFEST), b"x").unwrap();
        let places = Places {
            root: Some(root.clone()),
            apart_from: vec![vault.clone()],
            open: Box::new(|path| Err(StoreError::Missing(path.to_owned()))),
        };
        let prepare = |to: &Path| {
            places.prepare(&BackupRequest {
                to: to.to_owned(),
                keystore_to: None,
            })
        };
        for refused in [
            Path::new(""),
            Path::new(".."),
            Path::new("../elsewhere"),
            Path::new("a/../../elsewhere"),
            Path::new("/tmp"),
            Path::new("link/x"),
            Path::new("vault/x"),
            Path::new("full"),
            Path::new("older/x"),
            Path::new("older/ledger/x/y"),
            &root,
            &vault,
            folder.path(),
        ] {
            let error = prepare(refused).unwrap_err();
            assert_eq!(error.code, Code::InvalidField, "{}: {error}", refused.display());
        }
        for allowed in [Path::new("a"), Path::new("b/c"), &root.join("d")] {
            assert!(prepare(allowed).unwrap().to.starts_with(root.canonicalize().unwrap()));
        }
        let apart = |to: &str, keystore_to: &str| {
            places.prepare(&BackupRequest {
                to: to.into(),
                keystore_to: Some(keystore_to.into()),
            })
        };
        for (to, keystore_to) in [("e", "full"), ("e", "e/keys"), ("e/store", "e"), ("e", "older/x")] {
            assert_eq!(apart(to, keystore_to).unwrap_err().code, Code::InvalidField);
            assert!(!root.join("e").exists(), "{to} {keystore_to}: nothing is made");
        }
        std::fs::create_dir(root.join("open")).unwrap();
        std::fs::set_permissions(root.join("open"), std::fs::Permissions::from_mode(0o777)).unwrap();
        let target = apart("open", "f").unwrap();
        for made in [&target.to, &target.keystore_to] {
            assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert!(folder.path().join("elsewhere").read_dir().unwrap().next().is_none());
        let nowhere = Places { root: None, ..places };
        assert!(nowhere.allowed("/to", Path::new("a")).is_err());
    }
}
