//! Building roots and proofs: first which subtrees, by arithmetic alone, then their hashes, by one read.

use std::iter;

use thiserror::Error;

use super::{BoundsError, HashReader, NodeId, Span, fold};
use crate::spec::hash::{Hash, empty_root};

/// Which subtrees a proof consists of, in its order. Pure: it needs no hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProofPlan {
    spans: Vec<Span>,
}

/// Why a root or a proof could not be built.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildError<E> {
    /// The question does not fit the tree.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// The reader failed.
    #[error("the tree's nodes could not be read")]
    Read(#[source] E),
    /// The reader broke its contract: not one hash for each node.
    #[error("asked for {expected} nodes, got {found}")]
    Count {
        /// Nodes that were asked for.
        expected: usize,
        /// Hashes that came back.
        found: usize,
    },
}

impl ProofPlan {
    /// One subtree for each hash of the proof.
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The stored nodes to read, in the order in which [`ProofPlan::assemble`] takes their hashes.
    pub fn node_ids(&self) -> Vec<NodeId> {
        self.spans.iter().flat_map(|span| span.peaks()).collect()
    }

    /// The proof, from the hashes of [`ProofPlan::node_ids`]. `None` if there is not one hash for each node.
    pub fn assemble(&self, hashes: &[Hash]) -> Option<Vec<Hash>> {
        let mut rest = hashes;
        let mut take = |span: &Span| {
            let (peaks, others) = rest.split_at_checked(span.peak_count())?;
            rest = others;
            fold(peaks)
        };
        let proof = self.spans.iter().map(&mut take).collect::<Option<Vec<_>>>()?;
        rest.is_empty().then_some(proof)
    }

    /// The proof, with its nodes read from `reader` at once; nothing is read for an empty proof.
    ///
    /// # Errors
    /// [`BuildError::Read`] and [`BuildError::Count`].
    pub fn read<R: HashReader>(&self, reader: &R) -> Result<Vec<Hash>, BuildError<R::Error>> {
        let ids = self.node_ids();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let hashes = reader.nodes(&ids).map_err(BuildError::Read)?;
        self.assemble(&hashes).ok_or(BuildError::Count {
            expected: ids.len(),
            found: hashes.len(),
        })
    }
}

/// What [`root`] needs: the tree itself, nothing for the empty one.
pub fn root_plan(size: u64) -> ProofPlan {
    ProofPlan {
        spans: Span::whole(size).into_iter().collect(),
    }
}

/// `MTH(D[0:size])` (RFC 6962 §2.1).
///
/// # Errors
/// [`BuildError::Read`] and [`BuildError::Count`].
pub fn root<R: HashReader>(size: u64, reader: &R) -> Result<Hash, BuildError<R::Error>> {
    Ok(root_plan(size).read(reader)?.pop().unwrap_or_else(empty_root))
}

/// What [`inclusion_proof`] needs.
///
/// # Errors
/// [`BoundsError::Index`].
pub fn inclusion_plan(index: u64, size: u64) -> Result<ProofPlan, BoundsError> {
    let tree = Span::whole(size)
        .filter(|_| index < size)
        .ok_or(BoundsError::Index { index, size })?;
    Ok(ProofPlan {
        spans: siblings(index, tree),
    })
}

/// `PATH(index, D[0:size])` (RFC 6962 §2.1.1): the siblings on the way from the leaf up to the root.
///
/// # Errors
/// [`BuildError::Bounds`] if there is no such leaf, and those of [`ProofPlan::read`].
pub fn inclusion_proof<R: HashReader>(index: u64, size: u64, reader: &R) -> Result<Vec<Hash>, BuildError<R::Error>> {
    inclusion_plan(index, size)?.read(reader)
}

/// What [`consistency_proof`] needs.
///
/// The proof follows the path of the last old leaf, from the largest complete subtree that ends with it upwards. That
/// subtree itself leads the proof, unless it is the whole old tree, whose root the verifier has.
///
/// # Errors
/// [`BoundsError::Shrinks`].
pub fn consistency_plan(from: u64, to: u64) -> Result<ProofPlan, BoundsError> {
    if from > to {
        return Err(BoundsError::Shrinks { from, to });
    }
    let Some(tree) = Span::whole(to).filter(|_| 0 < from && from < to) else {
        return Ok(ProofPlan { spans: Vec::new() });
    };
    let level = from.trailing_zeros();
    let lead = (!from.is_power_of_two()).then(|| Span::ending_at(from, level));
    let above = siblings(from - 1, tree).into_iter().skip(level as usize);
    Ok(ProofPlan {
        spans: lead.into_iter().chain(above).collect(),
    })
}

/// `PROOF(from, D[0:to])` (RFC 6962 §2.1.2). Empty if the sizes are equal or `from` is 0; the
/// latter proves nothing, and the verifier says so.
///
/// # Errors
/// [`BuildError::Bounds`] if `from` exceeds `to`, and those of [`ProofPlan::read`].
pub fn consistency_proof<R: HashReader>(from: u64, to: u64, reader: &R) -> Result<Vec<Hash>, BuildError<R::Error>> {
    consistency_plan(from, to)?.read(reader)
}

/// What [`range_proof`] needs: the left siblings of the first leaf and the right siblings of the last.
///
/// # Errors
/// [`BoundsError::Range`].
pub fn range_plan(first: u64, count: u64, size: u64) -> Result<ProofPlan, BoundsError> {
    let bounds = BoundsError::Range { first, count, size };
    let end = first
        .checked_add(count)
        .filter(|end| count > 0 && *end <= size)
        .ok_or(bounds)?;
    let tree = Span::whole(size).ok_or(bounds)?;
    let left = siblings(first, tree)
        .into_iter()
        .rev()
        .filter(|span| span.end() <= first);
    let right = siblings(end - 1, tree).into_iter().filter(|span| span.start() >= end);
    Ok(ProofPlan {
        spans: left.chain(right).collect(),
    })
}

/// The roots, from left to right, of the maximal subtrees of the tree that hold none of the leaves
/// `first .. first+count`: with those leaves they give the root. Of all leaves the proof is empty, of one leaf it is
/// the inclusion proof in another order.
///
/// # Errors
/// [`BuildError::Bounds`] if the range is empty or leaves the tree, and those of [`ProofPlan::read`].
pub fn range_proof<R: HashReader>(
    first: u64,
    count: u64,
    size: u64,
    reader: &R,
) -> Result<Vec<Hash>, BuildError<R::Error>> {
    range_plan(first, count, size)?.read(reader)
}

/// The siblings on the way from leaf `index` up to the root of `tree`.
fn siblings(index: u64, tree: Span) -> Vec<Span> {
    let mut here = tree;
    let step = || {
        let (left, right) = here.halves()?;
        let (child, sibling) = if index < right.start() {
            (left, right)
        } else {
            (right, left)
        };
        here = child;
        Some(sibling)
    };
    let mut spans: Vec<_> = iter::from_fn(step).collect();
    spans.reverse();
    spans
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::merkle::naive::Naive;

    #[test]
    fn questions_outside_the_tree_are_refused() {
        assert_eq!(inclusion_plan(0, 0), Err(BoundsError::Index { index: 0, size: 0 }));
        assert_eq!(inclusion_plan(7, 7), Err(BoundsError::Index { index: 7, size: 7 }));
        assert_eq!(consistency_plan(8, 7), Err(BoundsError::Shrinks { from: 8, to: 7 }));
        for (first, count, size) in [(0, 0, 7), (7, 1, 7), (3, 5, 7), (1, u64::MAX, u64::MAX), (0, 1, 0)] {
            assert_eq!(
                range_plan(first, count, size),
                Err(BoundsError::Range { first, count, size })
            );
        }
    }

    #[test]
    fn a_reader_that_answers_too_few_or_too_many_hashes_is_caught() {
        struct Off(usize);
        impl HashReader for Off {
            type Error = std::convert::Infallible;
            fn nodes(&self, _: &[NodeId]) -> Result<Vec<Hash>, Self::Error> {
                Ok(vec![empty_root(); self.0])
            }
        }
        for found in [0, 3, 5] {
            assert_eq!(
                inclusion_proof(0, 7, &Off(found)),
                Err(BuildError::Count { expected: 4, found })
            );
        }
    }

    #[test]
    fn the_empty_tree_is_answered_without_a_read() {
        assert_eq!(root(0, &Naive::new(0)), Ok(empty_root()));
        assert!(root_plan(0).node_ids().is_empty());
        assert_eq!(consistency_proof(0, 5, &Naive::new(5)), Ok(Vec::new()));
    }

    #[test]
    fn the_largest_trees_do_not_overflow() {
        let plans = [
            inclusion_plan(u64::MAX - 1, u64::MAX),
            consistency_plan(u64::MAX - 1, u64::MAX),
            range_plan(u64::MAX - 1, 1, u64::MAX),
        ];
        for plan in plans.into_iter().flatten() {
            assert!(plan.node_ids().into_iter().all(|id| id.is_within(u64::MAX)));
        }
    }
}
