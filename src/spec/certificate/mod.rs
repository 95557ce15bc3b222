//! The certificate of erasure: what was destroyed, when, what is left, and the events that prove it
//! (docs/spec/09-evidence.md).
//!
//! ```text
//! document = COSE_Sign1 (certificate key, kind certificate) over the deterministic CBOR of [`Certificate`]
//! ```
//!
//! It names nobody: subjects are handles, which lead nowhere after the erasure. It carries the events of the erasure and
//! the ledger's key event with proofs under one checkpoint, so that it can be checked alone. It says what it does not
//! say: residues that may still exist, other ledgers, copies that were exported. Its words are those of the product: it
//! never claims anonymity or deletion everywhere.
//!
//! Its readable form is a page made from the signed document alone ([`render_page`]). Out of scope: making the numbers true
//! (`service`).

mod compare;
mod leaks;
mod page;
mod recipients;
mod redaction;
mod suppression;
mod verify;

#[cfg(test)]
mod tests;

pub use leaks::{CertifiedLeak, FrozenLeak, LeakOutcome, LeakRecord, ReportedLeak, Settled};
pub use page::{render as render_page, render_redaction as render_redaction_page};
pub use recipients::{Disclosed, Disclosure, Recipients};
pub use redaction::{Backups, KnownBackup, REDACTION_FORMAT, RedactionCertificate};
pub use verify::{is_certificate, verify_certificate};

pub(super) use verify::{Surrounding, check_in_bundle};

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::evidence::Evidence;
use super::ids::{Category, Handle, Origin, Timestamp};
use super::system::{Basis, DerivedStore, Epochs, Reason};

/// The format that certificates name.
pub const FORMAT: &str = "oubliette/certificate/v1";

/// A certificate of erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// [`FORMAT`].
    pub format: String,
    /// Whether anything is still to come.
    pub status: Status,
    /// The ledger.
    pub origin: Origin,
    /// The erasure's request id.
    pub request: Uuid,
    /// The legal ground.
    pub basis: Basis,
    /// Why.
    pub reason: Reason,
    /// The role in which it was asked for.
    pub role: Box<str>,
    /// The API key that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<AskedBy>,
    /// When the request came in, if it waited before it began: from here on the legal month runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub submitted_at: Option<Timestamp>,
    /// When it began: the recorded time of `erasure.requested`.
    pub requested_at: Timestamp,
    /// When it had to be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// When `erasure.completed` was recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// The frozen log whose people were erased; absent: those of the ledger itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covers: Option<Origin>,
    /// What was destroyed, by handle.
    pub subjects: Vec<CertifiedSubject>,
    /// How many more people the request named who had been erased before: this certificate does not speak of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub already_erased: Option<u64>,
    /// The steps.
    pub times: Times,
    /// The change of epoch that took the keys away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<Epochs>,
    /// Until when the old epoch key lives for the sake of backups; absent: it was destroyed at `t2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch_key_due_at: Option<Timestamp>,
    /// The copies of the erased keys that the system knows of: those in backups, by the epoch under whose key they hang.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_copies: Vec<KeyCopies>,
    /// The algorithms of the keys that were destroyed.
    pub algorithms: Vec<Box<str>>,
    /// Bits of each key that was destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_bits: Option<u16>,
    /// How the destruction was checked.
    pub verification: DestructionCheck,
    /// Where something may still be.
    pub residues: Vec<Residue>,
    /// What became of everything that is made from the person's data, as far as it was looked after.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<DerivedStore>,
    /// Who is to be notified (GDPR Art. 19), as far as the ledger knows.
    pub recipients: Recipients,
    /// What of the ledger stays in clear, and was not examined.
    pub clear: ClearParts,
    /// Whether the same subject id is refused from now on.
    pub suppression: Suppression,
    /// Always false: an erasure covers the one ledger that it names.
    pub other_ledgers_examined: bool,
    /// What the certificate does not say, in plain words.
    pub limits: Vec<Box<str>>,
    /// Events in the ledger when the erasure was requested: the index of `erasure.requested`.
    pub tree_size_before: u64,
    /// Events in the ledger under the checkpoint of this certificate.
    pub tree_size_after: u64,
    /// `erasure.requested`, then `erasure.completed`, then what came of it.
    pub evidence: Vec<Evidence>,
    /// The key events: `ledger.created` first.
    pub anchors: Vec<Evidence>,
    /// The signed note under which all of the evidence is proved.
    pub checkpoint: String,
}

/// An API key that asked for an erasure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedBy {
    /// Its id.
    pub key: Box<str>,
    /// Its roles then.
    pub roles: Vec<Box<str>>,
}

/// Copies of the erased keys in the backups of one epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyCopies {
    /// The epoch, whose key opens them.
    pub epoch: u32,
    /// When that key was destroyed, and they with it; absent: it is kept, until `epoch_key_due_at` at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destroyed_at: Option<Timestamp>,
}

impl fmt::Display for KeyCopies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.destroyed_at {
            Some(at) => write!(f, "epoch {}, destroyed at {at}", self.epoch),
            None => write!(f, "epoch {}, kept", self.epoch),
        }
    }
}

/// The parts of the ledger that stay in clear: no erasure reaches them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClearParts {
    /// Always false: nobody read them for this certificate.
    pub examined: bool,
    /// Reported leaks that name people of this certificate; all are settled.
    pub leaks: Vec<CertifiedLeak>,
    /// Reported leaks of the frozen log that name people of this certificate; that log takes neither a redaction nor a
    /// withdrawal any more. Only where `covers` is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<FrozenLeak>,
    /// Reported leaks that name nobody and whose bodies stand: whom they are about is not known.
    pub nameless: u64,
    /// What that means, for people.
    pub text: Box<str>,
}

/// Whether anything is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The keys are destroyed; residues are still to go.
    Provisional,
    /// The last residue that the system knows of is gone.
    Final,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Provisional => "provisional",
            Self::Final => "final",
        })
    }
}

/// What was destroyed of one subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedSubject {
    /// The handle.
    pub handle: Handle,
    /// The categories; absent: all, also those never seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Category>>,
    /// Keys destroyed; absent if a crash between destruction and record lost the count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_destroyed: Option<u64>,
    /// Whether the row that led from the subject id to the handle was destroyed.
    pub identity_destroyed: bool,
    /// Blocks that were sealed under those keys.
    pub blocks_sealed: u64,
}

/// When the steps were done, as far as they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// T1: access fenced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t1: Option<Timestamp>,
    /// T2: live keys destroyed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t2: Option<Timestamp>,
    /// T3: residue compacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t3: Option<Timestamp>,
    /// T4: ciphertext removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t4: Option<Timestamp>,
    /// T5: recoverable key copies expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t5: Option<Timestamp>,
}

impl Times {
    /// Whether T1 is not after T2, and none of T3 to T5, which take their own time, before it.
    pub fn are_in_order(&self) -> bool {
        let before = |a: Option<Timestamp>, b: Option<Timestamp>| a.zip(b).is_none_or(|(a, b)| a <= b);
        let later = [self.t2, self.t3, self.t4, self.t5];
        later.into_iter().all(|time| before(self.t1, time)) && later.into_iter().all(|time| before(self.t2, time))
    }
}

/// How the destruction was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DestructionCheck {
    /// Blocks that were tried with what was left of their keys.
    pub sampled: u64,
    /// Blocks that opened: must be none.
    pub opened: u64,
    /// Whether the identity still resolves: must not.
    pub identity_resolves: bool,
    /// Key rows about the people that the key store still had: must be none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_left: Option<u64>,
    /// The epoch whose key was in use for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u32>,
    /// How it was done and with which keys, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Box<str>>,
}

/// A place where something of the erased data may still be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Residue {
    /// A word for programs, such as `database_files`, `backups`, `epoch_key`, `ciphertext`.
    pub code: Box<str>,
    /// The same for people.
    pub text: Box<str>,
}

/// Whether the same subject id is refused from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suppression {
    /// Whether it is.
    pub active: bool,
    /// Until when; absent: for ever, or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// On what ground the keyed hash of the subject id is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basis: Option<Box<str>>,
}
