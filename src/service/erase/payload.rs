//! What the events of an erasure say (docs/spec/08-erasure.md).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::keystore::Suppression;
use crate::keystore::vault::Epoch;
use crate::spec::ids::{Category, Handle, Origin, Timestamp};
use crate::spec::system::{Basis, Epochs, Reason, Suppressed};

pub(in crate::service) const STREAM: &str = "$erasures";
pub(super) const REQUESTED: &str = "erasure.requested";
pub(in crate::service) const COMPLETED: &str = "erasure.completed";
pub(in crate::service) const RECOVERED: &str = "erasure.recovered";
pub(super) const RESIDUE_REMOVED: &str = "erasure.residue_removed";

/// The payload of `erasure.requested`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Requested {
    pub(crate) request: Uuid,
    /// The frozen log whose people these are; absent: this very log's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) origin: Option<Origin>,
    pub(crate) subjects: Vec<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) categories: Option<Vec<Category>>,
    pub(crate) basis: Basis,
    pub(crate) reason: Reason,
    pub(crate) due_at: Timestamp,
    /// When it was asked for, if it waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) submitted_at: Option<Timestamp>,
    /// Groups of recipients that the requester named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recipients: Option<Vec<Category>>,
    /// The run of retention that erases; absent: somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Uuid>,
    /// What is kept of the subject ids; absent: a keyed hash, for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) suppression: Option<Suppressed>,
    /// People of the request who were erased before.
    pub(crate) already_erased: u64,
    /// Subject ids or handles that were given.
    #[serde(default)]
    pub(crate) identifiers: u64,
    /// The API key that asked, and its roles.
    pub(crate) by: String,
    pub(crate) roles: Vec<String>,
}

impl Requested {
    /// What is kept of the subject ids.
    pub(crate) fn suppression(&self) -> Suppression {
        match self.suppression {
            None => Suppression::Forever,
            Some(Suppressed::None) => Suppression::None,
            Some(Suppressed::Until(time)) => Suppression::Until(time),
        }
    }
}

/// `{"handle": ...}`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) handle: Handle,
}

/// The payload of `erasure.completed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Completed {
    pub(crate) request: Uuid,
    pub(crate) subjects: Vec<Outcome>,
    /// T1: access was fenced.
    pub(crate) fenced_at: Timestamp,
    /// The live keys were deleted, and all others are under another epoch key.
    pub(crate) keys_deleted_at: Timestamp,
    /// T2: the old epoch key was destroyed, or retired until `epoch_key_due_at`.
    pub(crate) keys_destroyed_at: Timestamp,
    /// The change of epoch; of several, from the first to the last.
    pub(crate) epochs: Epochs,
    /// Until when the last of `retired_epochs` lives; absent: no backup opens what was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) epoch_key_due_at: Option<Timestamp>,
    /// The epochs up to the first of `epochs` whose keys live on for the sake of backups, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) retired_epochs: Vec<Epoch>,
    /// What the destroyed keys were used with.
    pub(crate) algorithms: Vec<String>,
    /// Bits of each destroyed key.
    pub(crate) key_bits: u16,
    pub(crate) verification: Verified,
    /// What this erasure has not reached yet.
    pub(crate) pending: Vec<String>,
}

/// What was destroyed of one subject, as the key store counted it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) handle: Handle,
    /// Subject keys destroyed.
    pub(crate) keys_destroyed: u64,
    /// Whether an identity row was destroyed, and a suppression row written in its place.
    pub(crate) identity_destroyed: bool,
    /// Events of the ledger that concern the subject.
    pub(crate) events: u64,
    /// Blocks that were sealed under those keys.
    pub(crate) blocks: u64,
}

/// How the destruction was verified.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verified {
    /// Blocks that were tried.
    pub(crate) sampled: u64,
    /// Blocks that opened: 0, or the erasure does not complete.
    pub(crate) opened: u64,
    /// Key rows about the subjects that the key store still holds, fences left aside: 0, or it does not complete.
    pub(crate) keys_left: u64,
    /// Whether an identity still resolves: false, or the erasure does not complete.
    pub(crate) identity_resolves: bool,
}

/// What is still possible after this stage, whatever the vault did.
pub(crate) const PENDING: [&str; 2] = ["key_store_files", "ciphertext"];

/// Pending as long as the old epoch key is retired and not destroyed.
pub(crate) const EPOCH_KEY: &str = "epoch_key";
