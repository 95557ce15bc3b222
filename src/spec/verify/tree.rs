//! The tree as a verifier needs it: the root over the leaves so far (RFC 6962, section 2.1), in O(log size) memory.

use crate::spec::hash::{Hash, empty_root, node_hash};
use crate::spec::merkle::fold;

/// The complete subtrees that cover the leaves from left to right, one for each bit of the size.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    size: u64,
    peaks: Vec<Hash>,
}

impl Tree {
    /// Adds a leaf hash on the right.
    pub(super) fn append(&mut self, leaf: Hash) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// Leaves in the tree.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The root over them.
    pub(super) fn root(&self) -> Hash {
        fold(&self.peaks).unwrap_or_else(empty_root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::merkle::naive::Naive;

    #[test]
    fn the_root_is_that_of_the_definition_at_every_size() {
        let naive = Naive::new(200);
        let mut tree = Tree::default();
        for (size, leaf) in naive.leaves.iter().enumerate() {
            assert_eq!(tree.root(), naive.root(size));
            tree.append(*leaf);
        }
        assert_eq!((tree.size(), tree.root()), (200, naive.root(200)));
    }
}
