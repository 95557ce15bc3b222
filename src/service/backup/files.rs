//! The files of a backup: synced and hashed, the manifest last.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::super::{Code, Error};
use super::places::{Target, unusable};
use crate::spec::backup::{CopiedFile, Part};
use crate::spec::hash::Hash;

/// The manifest's name in a backup's folders.
pub const MANIFEST: &str = "manifest.cose";

/// The longest manifest.
const MAX_MANIFEST: u64 = 256 << 20;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The manifest in a folder of a backup, not verified; `None` if there is none.
///
/// # Errors
/// If it cannot be read.
pub fn read_manifest(folder: &Path) -> std::io::Result<Option<Vec<u8>>> {
    let file = match File::open(folder.join(MANIFEST)) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(MAX_MANIFEST).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

impl Target {
    /// Makes every file durable and tells what is in it.
    pub(super) fn sync_and_hash(&self) -> Result<Vec<CopiedFile>, Error> {
        let mut files = Vec::new();
        for part in Part::ALL {
            let folder = self.part(part);
            for entry in std::fs::read_dir(&folder).map_err(|error| unusable(&folder, error))? {
                let path = entry.map_err(|error| unusable(&folder, error))?.path();
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.ok_or_else(|| Error::new(Code::Internal, "a file of a copy has a strange name"))?;
                let (size, sha256) = sync_and_hash(&path).map_err(|error| unusable(&path, error))?;
                files.push(CopiedFile {
                    part,
                    name: name.into(),
                    size,
                    sha256,
                });
            }
            sync(&folder)?;
        }
        files.sort_by(|a, b| (a.part, &a.name).cmp(&(b.part, &b.name)));
        Ok(files)
    }

    /// Writes the manifest: from here on there is a backup.
    pub(super) fn write_manifest(&self, document: &[u8]) -> Result<(), Error> {
        // The part that holds the ledgers comes last: who finds a manifest there has both.
        if self.keystore_to != self.to {
            write(&self.keystore_to, document)?;
        }
        write(&self.to, document)
    }
}

fn write(folder: &Path, document: &[u8]) -> Result<(), Error> {
    let (beside, path) = (folder.join("manifest.new"), folder.join(MANIFEST));
    let written = || {
        let mut options = File::options();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(document)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    };
    written().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        unusable(&path, error)
    })?;
    sync(folder)?;
    folder.parent().map_or(Ok(()), sync)
}

fn sync(folder: &Path) -> Result<(), Error> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| unusable(folder, error))
}

fn sync_and_hash(path: &Path) -> std::io::Result<(u64, Hash)> {
    let mut file = File::open(path)?;
    file.sync_all()?;
    let (mut sha256, mut size, mut chunk) = (Sha256::new(), 0_u64, vec![0; CHUNK]);
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok((size, Hash::from(<[u8; 32]>::from(sha256.finalize()))));
        }
        sha256.update(chunk.get(..read).unwrap_or_default());
        size += read as u64;
    }
}
