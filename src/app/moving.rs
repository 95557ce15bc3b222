//! Moving the vault: to other folders, into a token, or out of one. The server is stopped; the data directory is locked.
//!
//! ```text
//! start and stop with the old vault → the new vault made, marked as unfinished → keys, journal, checkpoints carried →
//! ONE write of the key store → the old vault marked as left → its keys destroyed → start with the new one, on record → mark gone
//! ```
//!
//! The write is the commit point: before it the old vault serves as it did, after it only the move itself opens either. The same
//! command goes on from wherever it broke off: what was not committed is discarded and begun anew.

use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::{App, AppError, lock, restore, vault};
use crate::config::Settings;
use crate::env::{Clock, Entropy, System};
use crate::keystore::KeyStoreError;
use crate::keystore::rocksdb::RocksKeyStore;
use crate::keystore::vault::file::{self, Departure, FileVault, Move};
use crate::keystore::vault::{Epoch, EpochState, KeyPlace, Vault};
use crate::service::backup;
use crate::service::epochs::VaultMoved;
use crate::spec::ids::LedgerName;

/// A vault that was moved.
#[derive(Debug, Serialize)]
pub struct MovedVault {
    /// Where the epoch keys were.
    pub from: KeyPlace,
    /// Where they are.
    pub to: KeyPlace,
    /// The new vault's folders.
    pub vault_dirs: Vec<PathBuf>,
    /// Whether it and the key store share a device, so that one volume snapshot copies both.
    pub vault_shares_device: bool,
    /// The ledgers, by name.
    pub ledgers: Vec<MovedLedger>,
}

/// A ledger whose keys were wrapped anew.
#[derive(Debug, Serialize)]
pub struct MovedLedger {
    /// Its name.
    pub ledger: LedgerName,
    /// The epoch before.
    pub from: Epoch,
    /// The epoch since.
    pub to: Epoch,
}

/// What is done when the next step begins. Tests stop there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    Settled,
    /// Before each thing that goes of what an earlier call left.
    Discarding,
    Made,
    Carried,
    Written,
    Left,
    Emptied,
    Recorded,
}

type Steps<'a> = &'a (dyn Fn(Done) -> Result<(), AppError> + Sync);

/// Moves the vault of `settings` to where `target` has it; all else in `target` is the same.
///
/// # Errors
/// [`AppError`]. Before the key store's write nothing has changed; after it the same call goes on.
pub async fn move_vault(settings: &Settings, target: &Settings, forget_backups: bool) -> Result<MovedVault, AppError> {
    run(settings, target, forget_backups, &|_| Ok(())).await
}

async fn run(
    settings: &Settings,
    target: &Settings,
    forget_backups: bool,
    steps: Steps<'_>,
) -> Result<MovedVault, AppError> {
    restore::refuse_unfinished(settings)?;
    refuse_places(settings, target)?;
    App::harden();
    let mut held = lock::Lock::take(&settings.data)?;
    if !is_committed(settings, target)? {
        // What broke off in the server ends under the old vault, and what does not belong together is found.
        drop(held);
        App::open(settings).await?.close().await;
        steps(Done::Settled)?;
        held = lock::Lock::take(&settings.data)?;
        commit(settings, target, forget_backups, steps)?;
        steps(Done::Written)?;
    }
    let moved = unfinished(target)?;
    leave(settings, target, &moved)?;
    steps(Done::Left)?;
    // IMPORTANT: from here on the new vault alone has the keys.
    refuse_damaged(&open(target)?, "new")?;
    file::empty(&settings.vault_paths(), vault::device(settings)?.as_deref())?;
    steps(Done::Emptied)?;
    arrive(target, held, moved, steps).await
}

/// Refuses folders in which a vault must not lie, and those that are another's.
fn refuse_places(settings: &Settings, target: &Settings) -> Result<(), AppError> {
    let folders = target.vault_paths();
    let mut others = settings.vault_paths();
    others.extend([settings.ledger_path(), settings.keystore_path(), settings.keys_path()]);
    for (at, folder) in folders.iter().enumerate() {
        let before = folders.iter().take(at);
        if others.iter().chain(before).any(|other| backup::touch(folder, other)) {
            return Err(AppError::VaultPlace(folder.clone()));
        }
    }
    let unfinished = file::arriving(&folders)?;
    let own = file::identity(&settings.vault_paths())?.ok_or_else(|| foreign("the vault to be moved is missing"))?;
    match file::departed(&settings.vault_paths())? {
        Some(departure) => match (unfinished, file::identity(&folders)?) {
            (Some(found), _) if found.vault == departure.to => Ok(()),
            (None, Some((id, _))) if id == departure.to => Err(foreign(
                "the vault was moved there already, and that is finished; set vault_dirs to it",
            )),
            _ => Err(foreign("the vault was moved, to another one than this")),
        },
        None => match unfinished {
            Some(found) if found.from == own.0 => Ok(()),
            Some(_) => Err(foreign("another vault is being moved to this place")),
            None => refuse_used(&folders),
        },
    }
}

fn refuse_used(folders: &[PathBuf]) -> Result<(), AppError> {
    for folder in folders {
        if !file::is_free(folder)? {
            return Err(AppError::Used(folder.clone()));
        }
    }
    Ok(())
}

fn foreign(text: &str) -> AppError {
    KeyStoreError::Foreign(text.to_owned()).into()
}

fn unfinished(target: &Settings) -> Result<Move, AppError> {
    let found = file::arriving(&target.vault_paths())?;
    found.ok_or_else(|| foreign("the new vault does not know that it is being moved into"))
}

/// Whether the key store hangs under the new vault already.
fn is_committed(settings: &Settings, target: &Settings) -> Result<bool, AppError> {
    if file::departed(&settings.vault_paths())?.is_some() {
        return Ok(true);
    }
    // The list of changes comes last: without it the new vault is not whole.
    match file::arriving(&target.vault_paths())? {
        Some(found) if !found.changes.is_empty() => {}
        _ => return Ok(false),
    }
    let new = open(target)?;
    Ok(RocksKeyStore::hangs_under(&settings.keystore_path(), &new)?)
}

fn open(settings: &Settings) -> Result<FileVault, KeyStoreError> {
    FileVault::open_to_move(&settings.vault_paths(), vault::device(settings)?, Arc::new(System))
}

/// Everything up to the key store's write.
fn commit(settings: &Settings, target: &Settings, forget_backups: bool, steps: Steps<'_>) -> Result<(), AppError> {
    let old = vault::open(settings, Arc::new(System))?;
    refuse_damaged(&old, "old")?;
    let ledgers = RocksKeyStore::ledgers_at(&settings.keystore_path())?;
    if !forget_backups {
        refuse_backups(&old, &ledgers)?;
    }
    let (folders, device) = (target.vault_paths(), vault::device(target)?);
    if let Some(unfinished) = file::arriving(&folders)? {
        file::discard(&folders, device.as_deref(), &unfinished, || steps(Done::Discarding))?;
    }
    refuse_used(&folders)?;
    let new = FileVault::create_to_move(&folders, device, Arc::new(System), &old)?;
    steps(Done::Made)?;
    new.take_over(&old, &ledgers, System.now())?;
    steps(Done::Carried)?;
    let entropy: &dyn Entropy = &System;
    Ok(RocksKeyStore::rehang(&settings.keystore_path(), &old, &new, entropy)?)
}

/// A move takes a vault as a whole, and leaves a whole one.
fn refuse_damaged(vault: &FileVault, which: &str) -> Result<(), AppError> {
    if vault.is_whole() {
        return Ok(());
    }
    let reason =
        format!("a mirror of the {which} vault is away, or a slot of it is damaged; mend that, and move it then");
    Err(KeyStoreError::Vault { reason, source: None }.into())
}

/// Epoch keys stay in the old vault and are destroyed with it: so die the backups under them.
fn refuse_backups(old: &FileVault, ledgers: &[crate::spec::ids::LedgerId]) -> Result<(), AppError> {
    for ledger in ledgers {
        let opens_a_backup = |key: &crate::keystore::vault::EpochKey| {
            key.backed_up.is_some() || matches!(key.state, EpochState::Retired { .. })
        };
        if old.epochs(*ledger)?.iter().any(opens_a_backup) {
            return Err(AppError::BackupsWouldExpire);
        }
    }
    Ok(())
}

fn leave(settings: &Settings, target: &Settings, moved: &Move) -> Result<(), AppError> {
    let departure = Departure {
        to: moved.vault,
        folders: target.vault_paths(),
    };
    Ok(file::leave(&settings.vault_paths(), &departure)?)
}

/// Starts with the new vault, puts the move on record in every ledger, and ends it.
async fn arrive(target: &Settings, held: lock::Lock, moved: Move, steps: Steps<'_>) -> Result<MovedVault, AppError> {
    let vault = Arc::new(open(target)?);
    let (from, to) = (moved.from_place, vault.place());
    let app = App::open_with(target, held, Arc::clone(&vault), Arc::new(System)).await?;
    let mut ledgers = Vec::new();
    for ledger in app.service().all_ledgers() {
        let Some(change) = moved.changes.iter().find(|change| change.ledger == ledger.record.id) else {
            continue;
        };
        let (from_epoch, to_epoch) = (change.from, change.to);
        app.service()
            .record_move(&ledger, (from_epoch, to_epoch), VaultMoved { from, to })
            .await?;
        ledgers.push(MovedLedger {
            ledger: ledger.record.name.clone(),
            from: from_epoch,
            to: to_epoch,
        });
    }
    steps(Done::Recorded)?;
    vault.arrived()?;
    app.close().await;
    Ok(MovedVault {
        from,
        to,
        vault_dirs: target.vault_paths(),
        vault_shares_device: lock::same_device(&target.keystore_path(), &target.vault_paths()),
        ledgers,
    })
}

#[cfg(test)]
mod tests;
