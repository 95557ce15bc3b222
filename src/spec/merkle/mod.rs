//! The Merkle tree of RFC 6962 §2.1 and RFC 9162 §2.1: roots, proofs and their verification.
//!
//! The tree over leaves `0..n` splits at the largest power of two below `n`. Each hash of a proof is the root of one
//! subtree of that split ([`Span`]); a complete subtree is a stored node ([`NodeId`]), an incomplete one ends at the
//! tree's right edge and folds from a few nodes. Building a proof is thus pure arithmetic ([`ProofPlan`]) and one read
//! of nodes through a [`HashReader`], which may be a database, tiles ([`crate::spec::tiles`]) or the writer's own
//! memory ([`crate::spec::edge`]). Builders trust the reader; verifiers trust nothing but the roots that they are
//! given.
//!
//! Sizes and leaf indexes are `u64`, leaves are counted from 0, and a range is `first` and `count`.

mod plan;
mod span;
mod verify;

use thiserror::Error;

pub use plan::{
    BuildError, ProofPlan, consistency_plan, consistency_proof, inclusion_plan, inclusion_proof, range_plan,
    range_proof, root, root_plan,
};
pub use span::{NodeId, Span, fold};
pub use verify::{VerifyError, consistency_root, inclusion_root, verify_consistency, verify_inclusion, verify_range};

use super::hash::Hash;

/// Answers the hashes of complete subtrees.
pub trait HashReader {
    /// Why a read failed.
    type Error;

    /// The hashes of `ids`, one for each and in the same order. All of them are complete at the size of the tree that
    /// the caller asked about.
    ///
    /// # Errors
    /// When any of them cannot be answered: there are no partial answers.
    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error>;
}

/// The question does not fit the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BoundsError {
    /// No such leaf.
    #[error("leaf {index} is outside a tree of {size} leaves")]
    Index {
        /// The leaf that was asked for.
        index: u64,
        /// The number of leaves.
        size: u64,
    },
    /// The range is empty or leaves the tree.
    #[error("{count} leaves from {first} on are not a range in a tree of {size} leaves")]
    Range {
        /// First leaf of the range.
        first: u64,
        /// Leaves in the range.
        count: u64,
        /// Leaves in the tree.
        size: u64,
    },
    /// The newer tree is smaller than the older one.
    #[error("a tree cannot shrink from {from} to {to} leaves")]
    Shrinks {
        /// Size of the older tree.
        from: u64,
        /// Size of the newer tree.
        to: u64,
    },
}

#[cfg(test)]
pub(crate) mod naive;
#[cfg(test)]
mod tests;
