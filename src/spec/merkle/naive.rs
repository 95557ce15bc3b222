//! RFC 6962 §2.1 word for word, slow and obvious: what the tests of the layer compare with.

use std::convert::Infallible;

use super::{HashReader, NodeId};
use crate::spec::hash::{Hash, empty_root, leaf_hash, node_hash};

/// Every leaf hash of a tree; leaf `i` is the decimal text of `i`.
pub(crate) struct Naive {
    pub(crate) leaves: Vec<Hash>,
}

impl Naive {
    pub(crate) fn new(size: u64) -> Self {
        Self {
            leaves: (0..size).map(|i| leaf_hash(i.to_string().as_bytes())).collect(),
        }
    }

    pub(crate) fn root(&self, size: usize) -> Hash {
        mth(self.leaves.get(..size).unwrap_or_default())
    }

    pub(crate) fn node(&self, id: NodeId) -> Hash {
        let first = (id.index << id.level) as usize;
        mth(self.leaves.get(first..first + (1 << id.level)).unwrap_or_default())
    }

    pub(crate) fn inclusion(&self, index: usize, size: usize) -> Vec<Hash> {
        path(index, self.leaves.get(..size).unwrap_or_default())
    }

    pub(crate) fn consistency(&self, from: usize, to: usize) -> Vec<Hash> {
        subproof(from, self.leaves.get(..to).unwrap_or_default(), true)
    }

    pub(crate) fn range(&self, first: usize, count: usize, size: usize) -> Vec<Hash> {
        outside(self.leaves.get(..size).unwrap_or_default(), 0, first, first + count)
    }
}

impl HashReader for Naive {
    type Error = Infallible;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error> {
        Ok(ids.iter().map(|id| self.node(*id)).collect())
    }
}

fn halves(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

/// `MTH(D[n])`.
pub(crate) fn mth(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => empty_root(),
        [leaf] => *leaf,
        _ => node_hash(&mth(halves(leaves).0), &mth(halves(leaves).1)),
    }
}

/// `PATH(m, D[n])`.
fn path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = halves(leaves);
    let (mut below, sibling) = if m < left.len() {
        (path(m, left), mth(right))
    } else {
        (path(m - left.len(), right), mth(left))
    };
    below.push(sibling);
    below
}

/// `SUBPROOF(m, D[n], b)`.
fn subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if m == leaves.len() {
        return if whole { Vec::new() } else { vec![mth(leaves)] };
    }
    let (left, right) = halves(leaves);
    let (mut below, sibling) = if m <= left.len() {
        (subproof(m, left, whole), mth(right))
    } else {
        (subproof(m - left.len(), right, false), mth(left))
    };
    below.push(sibling);
    below
}

/// The maximal subtrees, from left to right, without a leaf of `first..end`; `offset` leaves are left of `leaves`.
fn outside(leaves: &[Hash], offset: usize, first: usize, end: usize) -> Vec<Hash> {
    if end <= offset || offset + leaves.len() <= first {
        return vec![mth(leaves)];
    }
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = halves(leaves);
    let mut hashes = outside(left, offset, first, end);
    hashes.extend(outside(right, offset + left.len(), first, end));
    hashes
}
