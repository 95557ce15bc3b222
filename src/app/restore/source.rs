//! A backup as it lies there: its manifest, its files, and what they must fit.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::DecodePrivateKey;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::{AppError, lock};
use super::Restore;
use crate::keystore::vault::Vault;
use crate::service::backup::read_manifest;
use crate::spec::backup::{CopiedFile, Manifest, Part};
use crate::spec::hash::Hash;
use crate::spec::signature::{PublicKey, key_id};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// A backup whose manifest is signed.
pub(super) struct Source {
    pub(super) manifest: Manifest,
    from: PathBuf,
    keystore_from: PathBuf,
}

impl Source {
    /// Reads the manifest and verifies it under a certificate key of the folder `keys`. Of the keys' private halves nothing is
    /// kept.
    pub(super) fn open(restore: &Restore, keys: &Path) -> Result<Self, AppError> {
        let document = document(restore)?;
        let id = key_id(&document).map_err(|error| AppError::BackupDamaged(format!("its manifest: {error}")))?;
        let key = certificate_key(keys, &id)?;
        Self::opened(restore, &document, &key)
    }

    /// As [`Source::open`], with a public key that is known from elsewhere.
    pub(super) fn opened(restore: &Restore, document: &[u8], key: &PublicKey) -> Result<Self, AppError> {
        let manifest = Manifest::open(document, key);
        let manifest = manifest.map_err(|error| AppError::BackupDamaged(format!("its manifest: {error}")))?;
        Ok(Self {
            manifest,
            from: restore.from.clone(),
            keystore_from: restore.keystore_from.clone().unwrap_or_else(|| restore.from.clone()),
        })
    }

    /// The folder of a part.
    pub(super) fn part(&self, part: Part) -> PathBuf {
        let within = match part {
            Part::Ledger => &self.from,
            Part::Keystore => &self.keystore_from,
        };
        within.join(part.folder())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.manifest.files.iter().map(|file| file.size).sum()
    }

    /// Refuses a vault of another store, and epochs whose keys are destroyed.
    pub(super) fn check_vault(&self, vault: &dyn Vault) -> Result<(), AppError> {
        if self.manifest.store.0 != vault.store().0 {
            let detail = "it was taken of another store than the one that this vault was made with";
            return Err(AppError::BackupForeign(detail.into()));
        }
        for ledger in &self.manifest.ledgers {
            let epochs = vault.epochs(ledger.id)?;
            if epochs.is_empty() {
                let detail = format!("this vault knows no ledger {}; is it an older copy?", ledger.origin);
                return Err(AppError::BackupForeign(detail));
            }
            if !epochs.iter().any(|key| key.epoch == ledger.epoch) {
                return Err(AppError::BackupExpired {
                    ledger: ledger.ledger.clone(),
                    epoch: ledger.epoch,
                });
            }
        }
        Ok(())
    }

    /// Reads every file and compares it with the manifest.
    pub(super) fn check_files(&self) -> Result<(), AppError> {
        for file in &self.manifest.files {
            self.read(file, &mut std::io::sink())?;
        }
        for part in Part::ALL {
            let folder = self.part(part);
            let entries = std::fs::read_dir(&folder).map_err(|error| damaged(&folder, &error))?;
            for entry in entries.flatten() {
                let name = entry.file_name();
                let known = |file: &&CopiedFile| file.part == part && name == *file.name;
                if !self.manifest.files.iter().any(|file| known(&file)) {
                    let strange = entry.path().display().to_string();
                    return Err(AppError::BackupDamaged(format!("{strange} is not in its manifest")));
                }
            }
        }
        Ok(())
    }

    /// Copies a part into a new folder, hashing what it copies.
    pub(super) fn copy(&self, part: Part, target: &Path) -> Result<(), AppError> {
        let io = |path: &Path, source| AppError::Io {
            path: path.to_owned(),
            source,
        };
        lock::create_private(target).map_err(|error| io(target, error))?;
        for file in self.manifest.files.iter().filter(|file| file.part == part) {
            let path = target.join(&*file.name);
            let mut options = File::options();
            let copy = options.write(true).create_new(true).mode(0o600).open(&path);
            let mut copy = copy.map_err(|error| io(&path, error))?;
            self.read(file, &mut copy)?;
            copy.sync_all().map_err(|error| io(&path, error))?;
        }
        super::sync(target).map_err(|error| io(target, error))
    }

    fn read(&self, expected: &CopiedFile, to: &mut dyn Write) -> Result<(), AppError> {
        let path = self.part(expected.part).join(&*expected.name);
        let mut file = File::open(&path).map_err(|error| damaged(&path, &error))?;
        let (mut sha256, mut size, mut chunk) = (Sha256::new(), 0_u64, vec![0; CHUNK]);
        loop {
            let read = file.read(&mut chunk).map_err(|error| damaged(&path, &error))?;
            let bytes = chunk.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            sha256.update(bytes);
            size += read as u64;
            to.write_all(bytes).map_err(|source| AppError::Io {
                path: path.clone(),
                source,
            })?;
        }
        let hash = Hash::from(<[u8; 32]>::from(sha256.finalize()));
        if (size, hash) == (expected.size, expected.sha256) {
            Ok(())
        } else {
            Err(AppError::BackupDamaged(format!(
                "{} is not the file of its manifest",
                path.display()
            )))
        }
    }
}

/// The manifest's bytes, the same in both folders.
pub(super) fn document(restore: &Restore) -> Result<Vec<u8>, AppError> {
    let read = |folder: &PathBuf| {
        let read = read_manifest(folder).map_err(|source| AppError::Io {
            path: folder.clone(),
            source,
        })?;
        read.ok_or_else(|| AppError::BackupIncomplete(folder.clone()))
    };
    let document = read(&restore.from)?;
    if let Some(apart) = &restore.keystore_from
        && read(apart)? != document
    {
        let detail = format!("{} and {} are of two backups", restore.from.display(), apart.display());
        return Err(AppError::BackupForeign(detail));
    }
    Ok(document)
}

fn damaged(path: &Path, error: &std::io::Error) -> AppError {
    AppError::BackupDamaged(format!("{}: {error}", path.display()))
}

/// The public half of the certificate key of this id among the signing keys.
fn certificate_key(keys: &Path, id: &Hash) -> Result<PublicKey, AppError> {
    let folders = std::fs::read_dir(keys).map_err(|source| AppError::Io {
        path: keys.to_owned(),
        source,
    })?;
    let public = |folder: std::fs::DirEntry| {
        let text = std::fs::read_to_string(folder.path().join("certificate.pem")).map(Zeroizing::new);
        let key = SigningKey::from_pkcs8_pem(&text.ok()?).ok()?;
        PublicKey::new(key.verifying_key().as_bytes()).ok()
    };
    let mut known = folders.flatten().filter_map(public);
    known.find(|key| key.id() == *id).ok_or_else(|| {
        let detail = format!(
            "its manifest is signed by the key {id}, which is not in {}",
            keys.display()
        );
        AppError::BackupForeign(detail)
    })
}
