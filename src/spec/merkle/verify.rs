//! Verification: a proof has exactly the hashes that its sizes call for, and they lead to the given root.

use thiserror::Error;

use super::{BoundsError, Span, range_plan};
use crate::spec::hash::{Hash, node_hash};

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// It claims something about leaves or sizes that cannot be.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// It is too short or too long.
    #[error("the proof has {found} hashes where {expected} are due")]
    Length {
        /// Hashes that a proof for these sizes has.
        expected: usize,
        /// Hashes that it has.
        found: usize,
    },
    /// It leads to another root than the one given: the leaf, the proof or the root is wrong.
    #[error("the proof leads to root {found}, not to {expected}")]
    Root {
        /// The root that was given.
        expected: Hash,
        /// The root that the proof leads to.
        found: Hash,
    },
    /// A consistency proof from the empty tree proves nothing.
    #[error("every tree extends the empty one: there is nothing to prove")]
    FromEmpty,
    /// A consistency proof leads to another old root than the one given.
    #[error("the proof leads to old root {found}, not to {expected}")]
    OldRoot {
        /// The old root that was given.
        expected: Hash,
        /// The old root that the proof leads to.
        found: Hash,
    },
}

/// Checks that `leaf`, a leaf hash, is at `index` in the tree of `size` leaves under `root` (RFC 9162 §2.1.3.2).
///
/// # Errors
/// [`VerifyError`] says what is wrong.
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), VerifyError> {
    expect_root(root, inclusion_root(leaf, index, size, proof)?)
}

/// The root to which the proof leads that `leaf`, a leaf hash, is at `index` in a tree of `size` leaves. It says nothing
/// until that root is known to be the log's.
///
/// # Errors
/// [`VerifyError::Bounds`] and [`VerifyError::Length`].
pub fn inclusion_root(leaf: &Hash, index: u64, size: u64, proof: &[Hash]) -> Result<Hash, VerifyError> {
    if index >= size {
        return Err(BoundsError::Index { index, size }.into());
    }
    let path = Path::above(index, 0, size);
    path.expect_length(proof.len(), 0)?;
    Ok(path.climb(leaf, proof))
}

/// Checks that the tree of `to` leaves under `root_to` extends the tree of `from` leaves under `root_from`
/// (RFC 9162 §2.1.4.2). Of equal sizes the proof is empty and the roots must be equal.
///
/// # Errors
/// [`VerifyError`] says what is wrong. IMPORTANT: an empty old tree is an error too. Every tree extends it, so that no
/// proof would say anything about `root_to`: a caller that begins with the empty tree has to decide on its own to trust
/// that root.
pub fn verify_consistency(
    from: u64,
    to: u64,
    root_from: &Hash,
    root_to: &Hash,
    proof: &[Hash],
) -> Result<(), VerifyError> {
    expect_root(root_to, consistency_root(from, to, root_from, proof)?)
}

/// The root to which the proof leads that a tree of `to` leaves extends the one of `from` leaves under `root_from`. It
/// says nothing until that root is known to be the log's.
///
/// # Errors
/// As [`verify_consistency`], but for the new root.
pub fn consistency_root(from: u64, to: u64, root_from: &Hash, proof: &[Hash]) -> Result<Hash, VerifyError> {
    if from > to {
        return Err(BoundsError::Shrinks { from, to }.into());
    }
    if from == 0 {
        return Err(VerifyError::FromEmpty);
    }
    if from == to {
        expect_length(0, proof.len())?;
        return Ok(*root_from);
    }
    let path = Path::above(from - 1, from.trailing_zeros(), to);
    let (seed, siblings) = if from.is_power_of_two() {
        path.expect_length(proof.len(), 0)?;
        (root_from, proof)
    } else {
        path.expect_length(proof.len(), 1)?;
        proof
            .split_first()
            .ok_or(VerifyError::Length { expected: 1, found: 0 })?
    };
    expect_old_root(root_from, path.climb_left(seed, siblings))?;
    Ok(path.climb(seed, siblings))
}

/// Checks that `leaves`, all of them leaf hashes, are at `first` and after in the tree of `size` leaves under `root`.
///
/// # Errors
/// [`VerifyError`] says what is wrong.
pub fn verify_range(leaves: &[Hash], first: u64, size: u64, proof: &[Hash], root: &Hash) -> Result<(), VerifyError> {
    let count = leaves.len() as u64;
    expect_length(range_plan(first, count, size)?.spans().len(), proof.len())?;
    let bounds = BoundsError::Range { first, count, size };
    let tree = Span::whole(size).ok_or(bounds)?;
    let mut rebuild = Rebuild {
        first,
        leaves,
        proof: proof.iter(),
    };
    let found = rebuild.root_of(tree).ok_or(bounds)?;
    expect_root(root, found)
}

/// A tree being rebuilt from a range of its leaves and the subtrees around them.
struct Rebuild<'a> {
    first: u64,
    leaves: &'a [Hash],
    proof: std::slice::Iter<'a, Hash>,
}

impl Rebuild<'_> {
    /// Visits the subtrees from left to right, which is the order of the proof. `None` when the proof is used up. No
    /// deeper than the tree, 64 levels.
    fn root_of(&mut self, span: Span) -> Option<Hash> {
        let end = self.first + self.leaves.len() as u64;
        if span.end() <= self.first || end <= span.start() {
            return self.proof.next().copied();
        }
        match span.halves() {
            Some((left, right)) => {
                let left = self.root_of(left)?;
                Some(node_hash(&left, &self.root_of(right)?))
            }
            None => self
                .leaves
                .get(usize::try_from(span.start() - self.first).ok()?)
                .copied(),
        }
    }
}

/// The way from a node up to the root: on which side each sibling is.
///
/// Up to the height where the paths of this leaf and of the last leaf meet, the bits of the index tell; above it the
/// node is on the right edge, where there are left siblings only, one for each set bit left.
struct Path {
    index: u64,
    level: u32,
    meets: u32,
    above: u32,
}

impl Path {
    /// The way up from the node of `level` that holds leaf `index`, which is below `size`.
    fn above(index: u64, level: u32, size: u64) -> Self {
        let meets = u64::BITS - (index ^ (size - 1)).leading_zeros();
        let above = index.checked_shr(meets).unwrap_or(0).count_ones();
        Self {
            index,
            level,
            meets,
            above,
        }
    }

    fn expect_length(&self, found: usize, lead: usize) -> Result<(), VerifyError> {
        expect_length(lead + self.siblings_are_left().count(), found)
    }

    fn siblings_are_left(&self) -> impl Iterator<Item = bool> {
        let index = self.index;
        let below = (self.level..self.meets).map(move |height| index >> height & 1 == 1);
        below.chain(std::iter::repeat_n(true, self.above as usize))
    }

    /// The root that `seed` and its siblings lead to.
    fn climb(&self, seed: &Hash, siblings: &[Hash]) -> Hash {
        self.siblings_are_left()
            .zip(siblings)
            .fold(*seed, |hash, (is_left, sibling)| {
                if is_left {
                    node_hash(sibling, &hash)
                } else {
                    node_hash(&hash, sibling)
                }
            })
    }

    /// The root of the tree that ends with `seed`: right siblings did not exist then.
    fn climb_left(&self, seed: &Hash, siblings: &[Hash]) -> Hash {
        let left = self.siblings_are_left().zip(siblings).filter(|(is_left, _)| *is_left);
        left.fold(*seed, |hash, (_, sibling)| node_hash(sibling, &hash))
    }
}

fn expect_length(expected: usize, found: usize) -> Result<(), VerifyError> {
    if expected == found {
        Ok(())
    } else {
        Err(VerifyError::Length { expected, found })
    }
}

fn expect_root(expected: &Hash, found: Hash) -> Result<(), VerifyError> {
    if *expected == found {
        Ok(())
    } else {
        Err(VerifyError::Root {
            expected: *expected,
            found,
        })
    }
}

fn expect_old_root(expected: &Hash, found: Hash) -> Result<(), VerifyError> {
    if *expected == found {
        Ok(())
    } else {
        Err(VerifyError::OldRoot {
            expected: *expected,
            found,
        })
    }
}
