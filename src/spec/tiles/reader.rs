//! Nodes of the tree from tiles: the hashes of a tile as they are, what lies between two tile levels recomputed.

use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

use super::{NodePlace, TileId, subtree_root};
use crate::spec::hash::Hash;
use crate::spec::merkle::{HashReader, NodeId};

/// Answers tiles.
pub trait TileReader {
    /// Why a read failed.
    type Error;

    /// The hashes of `tiles`, one list for each and in the same order, each exactly as long as its tile is wide. The
    /// tiles are distinct.
    ///
    /// # Errors
    /// When any of them cannot be answered: there are no partial answers.
    fn tiles(&self, tiles: &[TileId]) -> Result<Vec<Vec<Hash>>, Self::Error>;
}

/// A [`HashReader`] over the tiles of a tree of a fixed size. Each call reads each tile that it needs once, as wide as
/// it is at that size. The tiles are trusted: a proof from false ones does not verify.
#[derive(Debug, Clone)]
pub struct TiledHashes<R> {
    tiles: R,
    size: u64,
}

/// Why a node could not be answered from tiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TiledError<E> {
    /// The reader failed.
    #[error("a tile could not be read")]
    Read(#[source] E),
    /// The tree does not have all leaves of this node.
    #[error("node {} of level {} is not complete in a tree of {size} leaves", node.index, node.level)]
    Outside {
        /// The node that was asked for.
        node: NodeId,
        /// The size of the tree.
        size: u64,
    },
    /// The reader did not answer one list for each tile, or a list of another length.
    #[error("the reader did not answer the hashes of the tiles that it was asked for")]
    Shape,
}

impl<R> TiledHashes<R> {
    /// The tree of `size` leaves whose tiles `tiles` answers.
    pub const fn new(tiles: R, size: u64) -> Self {
        Self { tiles, size }
    }

    /// The tile that holds `node`, and the hashes in it below the node.
    fn locate(&self, node: NodeId) -> Option<(TileId, Range<usize>)> {
        let place = NodePlace::from(node);
        let tile = TileId::at(place.level, place.tile, self.size).filter(|_| node.is_within(self.size))?;
        let first = place.inner_index << place.inner_level;
        Some((tile, first..first + (1 << place.inner_level)))
    }
}

impl<R: TileReader> TiledHashes<R> {
    fn read(&self, mut wanted: Vec<TileId>) -> Result<BTreeMap<TileId, Vec<Hash>>, TiledError<R::Error>> {
        wanted.sort_unstable();
        wanted.dedup();
        let found = self.tiles.tiles(&wanted).map_err(TiledError::Read)?;
        let as_asked = |(tile, hashes): (&TileId, &Vec<Hash>)| hashes.len() == usize::from(tile.width());
        if found.len() != wanted.len() || !wanted.iter().zip(&found).all(as_asked) {
            return Err(TiledError::Shape);
        }
        Ok(wanted.into_iter().zip(found).collect())
    }
}

impl<R: TileReader> HashReader for TiledHashes<R> {
    type Error = TiledError<R::Error>;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error> {
        let locate = |id: &NodeId| {
            self.locate(*id).ok_or(TiledError::Outside {
                node: *id,
                size: self.size,
            })
        };
        let places = ids.iter().map(locate).collect::<Result<Vec<_>, _>>()?;
        let tiles = self.read(places.iter().map(|(tile, _)| *tile).collect())?;
        let hash = |(tile, below): (TileId, Range<usize>)| subtree_root(tiles.get(&tile)?.get(below)?);
        places
            .into_iter()
            .map(|place| hash(place).ok_or(TiledError::Shape))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;
    use crate::spec::merkle::naive::Naive;
    use crate::spec::merkle::{consistency_proof, inclusion_proof, range_proof, root};

    /// Tiles of a naive tree; counts how often each was read.
    struct Tiles<'a> {
        tree: &'a Naive,
        reads: RefCell<Vec<TileId>>,
    }

    impl TileReader for Tiles<'_> {
        type Error = std::convert::Infallible;

        fn tiles(&self, tiles: &[TileId]) -> Result<Vec<Vec<Hash>>, Self::Error> {
            self.reads.borrow_mut().extend(tiles);
            let hash = |tile: &TileId, i: u64| self.tree.node(NodeId::new(8 * tile.level(), 256 * tile.index() + i));
            Ok(tiles
                .iter()
                .map(|tile| (0..tile.width().into()).map(|i| hash(tile, i)).collect())
                .collect())
        }
    }

    fn tiled(tree: &Naive) -> TiledHashes<Tiles<'_>> {
        TiledHashes::new(
            Tiles {
                tree,
                reads: RefCell::default(),
            },
            tree.leaves.len() as u64,
        )
    }

    #[test]
    fn each_tile_is_read_once() {
        let tree = Naive::new(70_000);
        let reader = tiled(&tree);
        assert_eq!(root(70_000, &reader).unwrap(), tree.root(70_000));
        let reads = reader.tiles.reads.take();
        assert_eq!(
            reads
                .iter()
                .map(|tile| (tile.level(), tile.width()))
                .collect::<Vec<_>>(),
            [(0, 112), (1, 17), (2, 1)]
        );
        assert_eq!(
            inclusion_proof(300, 70_000, &reader).unwrap(),
            tree.inclusion(300, 70_000)
        );
        let mut reads = reader.tiles.reads.take();
        let read_in_all = reads.len();
        reads.sort_unstable();
        reads.dedup();
        assert_eq!(reads.len(), read_in_all);
    }

    #[test]
    fn a_node_that_is_not_complete_is_refused() {
        let tree = Naive::new(300);
        for node in [
            NodeId::new(0, 300),
            NodeId::new(9, 0),
            NodeId::new(8, 1),
            NodeId::new(64, 0),
            NodeId::new(255, u64::MAX),
        ] {
            assert_eq!(
                tiled(&tree).nodes(&[node]),
                Err(TiledError::Outside { node, size: 300 })
            );
        }
    }

    #[test]
    fn tiles_of_the_wrong_shape_are_refused() {
        struct Bad(Vec<Vec<Hash>>);
        impl TileReader for Bad {
            type Error = std::convert::Infallible;
            fn tiles(&self, _: &[TileId]) -> Result<Vec<Vec<Hash>>, Self::Error> {
                Ok(self.0.clone())
            }
        }
        let leaves = Naive::new(3).leaves;
        for answer in [vec![], vec![leaves[..2].to_vec()], vec![leaves.clone(), leaves.clone()]] {
            assert_eq!(
                TiledHashes::new(Bad(answer), 3).nodes(&[NodeId::new(1, 0)]),
                Err(TiledError::Shape)
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn proofs_from_tiles_are_those_of_the_definition(size in 1..3000u64, a: u64, b: u64) {
            let tree = Naive::new(size);
            let reader = tiled(&tree);
            let (first, from) = (a % size, 1 + a % size);
            let count = 1 + b % (size - first);
            let n = size as usize;
            prop_assert_eq!(root(size, &reader).unwrap(), tree.root(n));
            prop_assert_eq!(inclusion_proof(first, size, &reader).unwrap(), tree.inclusion(first as usize, n));
            prop_assert_eq!(consistency_proof(from, size, &reader).unwrap(), tree.consistency(from as usize, n));
            let range = range_proof(first, count, size, &reader).unwrap();
            prop_assert_eq!(range, tree.range(first as usize, count as usize, n));
        }
    }
}
