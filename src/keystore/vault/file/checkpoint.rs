//! The last checkpoint of a ledger: one small file per mirror, replaced as a whole.
//!
//! ```text
//! magic "OUBCKPT1" | vault id 16 | ledger id 16 | size u64 | note | SHA-256 of all before        integers big-endian
//! ```

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::VaultId;
use super::mirror::{Mirror, vault_refusal};
use crate::keystore::KeyStoreError;
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

/// The largest whole checkpoint of a ledger under any of the folders, read as they lie: nothing is opened, locked or
/// repaired, and whose vault it is stays unasked. The caller verifies the note.
pub(super) fn peek(folders: &[PathBuf], ledger: LedgerId) -> Option<(u64, String)> {
    let read = |folder: &PathBuf| {
        let bytes = std::fs::read(folder.join(file(ledger))).ok()?;
        let owner = VaultId(bytes.get(8..24)?.try_into().ok()?);
        parse(owner, ledger, &bytes)
    };
    folders.iter().filter_map(read).max()
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
