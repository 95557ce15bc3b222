//! The bundle: a ledger, or a selection from it, as one file that proves itself (docs/spec/10-bundle.md).
//!
//! ```text
//! README.txt                     what this is and how to verify it; the same in every bundle of this version
//! checkpoint                     the signed note of the tree's size and root
//! checkpoints.cbor               optional: CBOR sequence of byte strings, further notes of at most that size
//! events/<first index>.cbor ...  the leaves in order (`chunk`); 20 digits; cut before 1,001 entries or 4 MiB
//! certificates/<request>.cbor    signed certificates of erasure, in the order of their names
//! manifest.cbor                  COSE_Sign1 by the certificate key over the [`Manifest`]
//! ```
//!
//! One canonical archive (`ustar`), members in this order, so that the same ledger always gives the same bytes and every
//! byte is either fixed, signed, hashed by something signed, or compared with something that is. The further notes stand
//! before the events, since a reader that keeps no tree can only compare a root when it passes its size.
//!
//! A selection (a range of indexes, a filter) leaves events out: of those only the leaf hashes are there, so that the root
//! can still be computed. Oubliette's own events ([`is_reserved`](super::system::is_reserved)) are always included, since
//! they hold the keys and excuse missing bodies. Writing and reading need memory for one chunk.
//!
//! Out of scope: opened personal data (another export), compression (would add a parser before the first check).

mod chunk;
mod reader;
mod ustar;
mod verify;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{BundleReader, Member, is_bundle};
pub use verify::verify_bundle;
pub use writer::{BundleHead, BundleWriteError, BundleWriter};

use std::io;

use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::ids::Origin;

/// The format that manifests name.
pub const FORMAT: &str = "oubliette/bundle/v1";

/// The text of `README.txt`.
pub const README: &str = include_str!("README.txt");

/// Its first line, by which a damaged bundle is still recognised.
const TITLE: &str = "Oubliette bundle, version 1\n";

/// The most entries of one `events/` member, and the most notes of `checkpoints.cbor`, that a reader takes: a byte of
/// theirs can be many bytes in memory.
const MAX_ITEMS: usize = 1 << 16;

const README_NAME: &str = "README.txt";
const CHECKPOINT_NAME: &str = "checkpoint";
const CHECKPOINTS_NAME: &str = "checkpoints.cbor";
const MANIFEST_NAME: &str = "manifest.cbor";

/// The signed list of what is in a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The ledger.
    pub origin: Origin,
    /// Leaves in the tree.
    pub tree_size: u64,
    /// The root over them.
    pub root: Hash,
    /// Events that are included.
    pub events: u64,
    /// What was asked for; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selection: Option<Selection>,
    /// Every other member, in order.
    pub members: Vec<MemberEntry>,
}

/// Which events were asked for. Oubliette's own come along in any case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The first leaf index of the range.
    pub first: u64,
    /// The leaf index after the last of the range; at most the tree size.
    pub end: u64,
    /// What else the events had to meet, in words for people: no verifier can check it. Absent: nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
}

impl Selection {
    /// Whether it lets the event at this index be left out.
    pub fn may_leave_out(&self, index: u64) -> bool {
        self.filter.is_some() || !(self.first..self.end).contains(&index)
    }
}

/// A member as the manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberEntry {
    /// Its name in the archive.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Hash,
}

/// Why a file could not be verified as a bundle at all.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It is not one.
    #[error("not an Oubliette bundle")]
    NotABundle,
    /// It could not be read.
    #[error("the bundle could not be read")]
    Io(#[from] io::Error),
}

fn events_name(first: u64) -> String {
    format!("events/{first:020}.cbor")
}

fn certificate_name(request: &uuid::Uuid) -> String {
    format!("certificates/{request}.cbor")
}
