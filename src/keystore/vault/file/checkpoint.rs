//! The last checkpoint of a ledger: one small file per mirror, replaced as a whole.
//!
//! ```text
//! magic "OUBCKPT1" | vault id 16 | ledger id 16 | size u64 | note | SHA-256 of all before        integers big-endian
//! ```

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::Kept;
use super::mirror::{Mirror, vault_error, vault_refusal};
use crate::keystore::KeyStoreError;
use crate::keystore::vault::VaultId;
use crate::spec::ids::LedgerId;

const MAGIC: &[u8; 8] = b"OUBCKPT1";

fn file(ledger: LedgerId) -> PathBuf {
    PathBuf::from("checkpoint").join(ledger.to_string())
}

/// Replaces the checkpoint on every mirror.
pub(super) fn keep(
    mirrors: &[Mirror],
    owner: VaultId,
    ledger: LedgerId,
    size: u64,
    note: &str,
) -> Result<(), KeyStoreError> {
    let mut bytes = [
        MAGIC.as_slice(),
        &owner.0,
        ledger.as_bytes(),
        &size.to_be_bytes(),
        note.as_bytes(),
    ]
    .concat();
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    mirrors
        .iter()
        .try_for_each(|mirror| mirror.replace(&file(ledger), &bytes))
}

/// The largest checkpoint of all mirrors. A damaged file is passed over while another mirror has a whole one.
pub(super) fn largest(
    mirrors: &[Mirror],
    owner: VaultId,
    ledger: LedgerId,
) -> Result<Option<(u64, String)>, KeyStoreError> {
    let mut largest: Option<(u64, String)> = None;
    let mut damaged = None;
    for mirror in mirrors {
        let Some(bytes) = mirror.read(&file(ledger))? else {
            continue;
        };
        match parse(owner, ledger, &bytes) {
            Some(found) => largest = largest.max(Some(found)),
            None => damaged = Some(mirror.context(&file(ledger))),
        }
    }
    match (largest, damaged) {
        (None, Some(file)) => Err(vault_refusal(format!(
            "the checkpoint {file} is damaged, and no mirror has another"
        ))),
        (found, _) => Ok(found),
    }
}

/// The ledgers of which any mirror keeps a checkpoint.
pub(super) fn ledgers(mirrors: &[Mirror]) -> Result<Vec<LedgerId>, KeyStoreError> {
    let mut ledgers = Vec::new();
    for mirror in mirrors {
        let entries = match std::fs::read_dir(mirror.path.join("checkpoint")) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(vault_error(mirror.context(Path::new("checkpoint")), error)),
        };
        let names = entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<LedgerId>().ok());
        ledgers.extend(names);
    }
    ledgers.sort_unstable();
    ledgers.dedup();
    Ok(ledgers)
}

/// What lies in vault folders of a ledger's last checkpoint, read as it lies: nothing is opened, locked or repaired, and
/// whose vault it is stays unasked. The caller verifies the note.
pub(super) fn peek(folders: &[PathBuf], ledger: LedgerId) -> Kept {
    let read = |folder: &PathBuf| match std::fs::read(folder.join(file(ledger))) {
        Ok(bytes) => {
            let owner = bytes.get(8..24).and_then(|owner| owner.try_into().ok()).map(VaultId);
            let found = owner.and_then(|owner| parse(owner, ledger, &bytes));
            found.map_or(Kept::Unreadable, |(size, note)| Kept::Checkpoint(size, note))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Kept::Absent,
        Err(_) => Kept::Unreadable,
    };
    folders.iter().map(read).max().unwrap_or(Kept::Absent)
}

fn parse(owner: VaultId, ledger: LedgerId, bytes: &[u8]) -> Option<(u64, String)> {
    let (content, checksum) = bytes.split_last_chunk::<32>()?;
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (vault, rest) = rest.split_first_chunk::<16>()?;
    let (of, rest) = rest.split_first_chunk::<16>()?;
    let (size, note) = rest.split_first_chunk::<8>()?;
    let here = magic == MAGIC && *vault == owner.0 && *of == ledger.0;
    if !here || Sha256::digest(content)[..] != checksum[..] {
        return None;
    }
    Some((u64::from_be_bytes(*size), String::from_utf8(note.to_vec()).ok()?))
}
