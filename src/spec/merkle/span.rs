//! Subtrees as arithmetic: the complete ones that are stored, and those of the RFC 6962 split.

use crate::spec::hash::{Hash, node_hash};

/// A complete subtree: the one over leaves `index·2^level .. (index+1)·2^level`. Level 0 is the leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId {
    /// Binary logarithm of its number of leaves, at most 63.
    pub level: u8,
    /// Its place among the subtrees of this level, counted from the left.
    pub index: u64,
}

impl NodeId {
    /// The node of `level` at `index`.
    pub const fn new(level: u8, index: u64) -> Self {
        Self { level, index }
    }

    /// Whether all its leaves are among the first `size`.
    pub fn is_within(self, size: u64) -> bool {
        size.checked_shr(self.level.into())
            .is_some_and(|complete| self.index < complete)
    }
}

/// A subtree that the RFC 6962 split of some tree makes: leaves `start..end`.
///
/// `start` is a multiple of the smallest power of two that is no less than its length, so the subtree is complete if
/// that length is a power of two; otherwise it ends at the right edge of its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    start: u64,
    end: u64,
}

impl Span {
    /// The tree itself: the first `size` leaves. `None` for the empty tree, which has no nodes.
    pub fn whole(size: u64) -> Option<Self> {
        (size > 0).then_some(Self { start: 0, end: size })
    }

    /// The complete subtree of `2^level` leaves that ends before leaf `end`.
    pub(super) const fn ending_at(end: u64, level: u32) -> Self {
        Self {
            start: end - (1 << level),
            end,
        }
    }

    /// Its first leaf.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// The leaf after its last one.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Its left and right child, split at the largest power of two below its length; `None` for a leaf.
    pub fn halves(self) -> Option<(Self, Self)> {
        let top = (self.end - self.start - 1).checked_ilog2()?;
        let middle = self.start + (1 << top);
        Some((
            Self {
                start: self.start,
                end: middle,
            },
            Self {
                start: middle,
                end: self.end,
            },
        ))
    }

    /// The stored node that it is, if it is complete.
    pub fn node(self) -> Option<NodeId> {
        let leaves = self.end - self.start;
        let level = leaves.trailing_zeros();
        leaves
            .is_power_of_two()
            .then(|| NodeId::new(level as u8, self.start >> level))
    }

    /// The complete subtrees that it folds from, left to right and so from large to small: one for each set bit of its
    /// length.
    pub fn peaks(self) -> impl Iterator<Item = NodeId> {
        let leaves = self.end - self.start;
        (0..64u8)
            .rev()
            .filter(move |level| leaves >> level & 1 == 1)
            .map(move |level| {
                let larger_ones = (leaves >> level) - 1;
                NodeId::new(level, (self.start >> level) + larger_ones)
            })
    }

    /// How many [`Span::peaks`] it has.
    pub const fn peak_count(self) -> usize {
        (self.end - self.start).count_ones() as usize
    }
}

/// The root over neighbouring complete subtrees from left to right, such as [`Span::peaks`]: the two rightmost hash to
/// one until one is left. `None` of nothing.
pub fn fold(hashes: &[Hash]) -> Option<Hash> {
    let (last, others) = hashes.split_last()?;
    Some(others.iter().rfold(*last, |right, left| node_hash(left, &right)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_tree_of_seven_splits_as_in_the_rfc() {
        let tree = Span::whole(7).unwrap();
        let (left, right) = tree.halves().unwrap();
        assert_eq!((left.start(), left.end(), right.start(), right.end()), (0, 4, 4, 7));
        assert_eq!(left.node(), Some(NodeId::new(2, 0)));
        assert_eq!(right.node(), None);
        assert_eq!(
            right.peaks().collect::<Vec<_>>(),
            [NodeId::new(1, 2), NodeId::new(0, 6)]
        );
    }

    #[test]
    fn the_largest_tree_does_not_overflow() {
        let tree = Span::whole(u64::MAX).unwrap();
        assert_eq!(tree.peaks().count(), 64);
        assert!(tree.peaks().all(|node| node.is_within(u64::MAX)));
        assert_eq!(tree.halves().unwrap().1.start(), 1 << 63);
    }

    #[test]
    fn a_node_is_within_a_tree_that_has_all_its_leaves() {
        assert!(NodeId::new(2, 1).is_within(8));
        assert!(!NodeId::new(2, 1).is_within(7));
        assert!(!NodeId::new(64, 0).is_within(u64::MAX));
    }

    #[test]
    fn a_leaf_has_no_halves_and_the_empty_tree_no_span() {
        assert_eq!(Span::whole(1).unwrap().halves(), None);
        assert_eq!(Span::whole(0), None);
        assert_eq!(fold(&[]), None);
    }
}
