//! The file vault: key slots, erasure journal and last checkpoints in a private folder, mirrored.
//!
//! ```text
//! <mirror>/            0700, one or more, each on a device of its own
//!   vault              magic, format, vault id, store id, whether keys were carried into it, checksum; written last, so a
//!                      folder without it is no vault
//!   lock               held while a process has the vault open
//!   slots              see `slot` and `slots`: 512 bytes each, overwritten in place
//!   journal/<ledger>   see `journal`: append-only
//!   checkpoint/<ledger>  see `checkpoint`: replaced as a whole
//!   closed             there while nothing can have come after the checkpoints: see [`FileVault::close`]
//!   moving, moved      see `moving`: a vault that is being moved into, and one that was moved away
//! ```
//!
//! A write counts when every mirror has it, synced and read back (through the system's cache: this finds short and
//! misdirected writes, not a disk that lies). A read takes any valid mirror and repairs damaged slots on the others.
//! A mirror that is missing or unreadable at start leaves the vault readable, refuses writes and shows in
//! [`FileVault::health`]: copy a good mirror in its place while the server is stopped. In-place overwriting destroys on
//! ordinary file systems; copy-on-write ones, snapshots and an SSD's controller may keep the old sector: see
//! `docs/operations.md`.
//!
//! With a [`Device`] the epoch keys are in it and nowhere else. The slots then say which there are and what became of
//! them, the keys of buckets and suppression are derived under a root key of the device, and so is the MAC that slots and
//! journal carry (`stamp`). A slot is written after its key was made and overwritten after its key was destroyed: a crash
//! leaves a key that no slot names, or a slot without its key, which opens nothing. An old copy of the folder names too few
//! keys as well: so no key is made over one that is there, and none goes because the folder lacks it until the key store
//! has opened under a newer one ([`Vault::destroy_unnamed`]).
//! Checkpoints are signed by their ledger and carry a checksum alone. Out of scope: what the keys wrap.

mod checkpoint;
mod engine;
mod journal;
mod keys;
mod mirror;
mod moving;
mod open;
mod slot;
mod slots;
mod stamp;
mod state;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use self::mirror::Mirror;
use self::stamp::Stamp;
use self::state::State;
use super::device::Device;
use super::{StoreId, VaultId};
use crate::env::Entropy;
use crate::spec::ids::LedgerId;

pub use self::moving::{Change, Departure, Move, arriving, departed, discard, empty, identity, is_free, leave};

/// A vault in mirrored folders.
pub struct FileVault {
    id: VaultId,
    store: StoreId,
    /// Whether the slots hold the keys of buckets and suppression beside a device, too.
    is_carried: bool,
    stamp: Arc<Stamp>,
    device: Option<Arc<dyn Device>>,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
}

/// How one mirror does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorHealth {
    /// Its folder.
    pub path: PathBuf,
    /// Why it is not in use; `None` if it is.
    pub problem: Option<String>,
    /// Slots repaired from another mirror since the vault was opened. More than 0 asks for a look at the disk.
    pub repaired: u64,
}

impl MirrorHealth {
    /// Why nothing is written while it is as it is.
    fn refusal(&self) -> String {
        format!(
            "the mirror {} cannot be used ({}); copy a good one in its place",
            self.path.display(),
            self.problem.as_deref().unwrap_or_default()
        )
    }
}

/// How the vault does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultHealth {
    /// Every mirror, those in use first.
    pub mirrors: Vec<MirrorHealth>,
    /// Slots that no mirror can give back: keys that may be lost.
    pub lost_slots: usize,
}

impl VaultHealth {
    /// Whether every mirror is in use and nothing was damaged.
    pub fn is_good(&self) -> bool {
        self.lost_slots == 0
            && self
                .mirrors
                .iter()
                .all(|mirror| mirror.problem.is_none() && mirror.repaired == 0)
    }
}

/// What a vault keeps of a ledger's last checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Nothing.
    Absent,
    /// Something that cannot be read, or is damaged.
    Unreadable,
    /// Its size, and the signed note, not verified.
    Checkpoint(u64, String),
}

/// The last checkpoint that a vault in these folders keeps of a ledger, without opening the vault: for whoever verifies
/// and may not write.
pub fn kept_checkpoint(folders: &[PathBuf], ledger: LedgerId) -> Kept {
    checkpoint::peek(folders, ledger)
}

impl FileVault {
    /// How the mirrors do.
    pub fn health(&self) -> VaultHealth {
        let state = self.state.lock();
        let in_use = |mirror: &Mirror| MirrorHealth {
            path: mirror.path.clone(),
            problem: None,
            repaired: mirror.repaired,
        };
        VaultHealth {
            mirrors: state
                .mirrors
                .iter()
                .map(in_use)
                .chain(state.unusable.iter().cloned())
                .collect(),
            lost_slots: state.slots.lost(),
        }
    }
}

#[cfg(test)]
mod tests;
