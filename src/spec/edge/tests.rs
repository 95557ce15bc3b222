//! The edge against the definition of the tree, at every size and with everything forgotten that may be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::cell::RefCell;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::spec::merkle::naive::{Naive, mth};
use crate::spec::merkle::{consistency_proof, inclusion_proof, verify_inclusion};

fn grown(tree: &Naive, size: u64) -> Edge {
    let mut edge = Edge::new();
    tree.leaves[..size as usize].iter().for_each(|leaf| edge.append(*leaf));
    edge
}

/// The tiles of a naive tree, as a store would answer them.
fn tile_of(tree: &Naive, tile: TileId) -> Vec<Hash> {
    let first = 256 * tile.index();
    (first..first + u64::from(tile.width()))
        .map(|index| tree.node(NodeId::new(8 * tile.level(), index)))
        .collect()
}

fn loaded(tree: &Naive, size: u64) -> Edge {
    Edge::load(size, |tile| Ok::<_, Infallible>(tile_of(tree, tile))).unwrap()
}

/// Every node of the tree as a table, so that comparing is cheap.
struct Table(Vec<Vec<Hash>>);

impl Table {
    fn new(tree: &Naive) -> Self {
        let mut levels = vec![tree.leaves.clone()];
        while levels.last().unwrap().len() > 1 {
            let below = levels.last().unwrap().as_chunks::<2>().0;
            levels.push(below.iter().map(|[left, right]| node_hash(left, right)).collect());
        }
        Self(levels)
    }
}

impl HashReader for Table {
    type Error = Infallible;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(ids
            .iter()
            .map(|id| self.0[usize::from(id.level)][id.index as usize])
            .collect())
    }
}

#[test]
fn at_every_size_root_and_proofs_are_those_of_the_definition() {
    let tree = Naive::new(1100);
    let table = Table::new(&tree);
    let mut edge = Edge::new();
    for size in 1..=1100 {
        edge.append(tree.leaves[size as usize - 1]);
        assert_eq!(edge.size(), size);
        assert_eq!(edge.root(), tree.root(size as usize));
        for index in (0..size).step_by(37).chain([size - 1]) {
            assert_eq!(
                edge.inclusion_proof(index),
                Ok(inclusion_proof(index, size, &table).unwrap())
            );
            assert_eq!(
                edge.consistency_proof(index),
                Ok(consistency_proof(index, size, &table).unwrap())
            );
        }
    }
}

#[test]
fn every_leaf_since_the_last_retirement_is_proved_without_the_store() {
    let tree = Naive::new(1100);
    let table = Table::new(&tree);
    for (committed, size) in [
        (0, 3),
        (1, 2),
        (255, 256),
        (256, 257),
        (255, 700),
        (300, 1100),
        (512, 1100),
        (1099, 1100),
    ] {
        let mut edge = loaded(&tree, committed);
        tree.leaves[committed as usize..size as usize]
            .iter()
            .for_each(|leaf| edge.append(*leaf));
        edge.retire(committed);
        let root = edge.root();
        assert_eq!(root, tree.root(size as usize));
        for index in committed..size {
            let proof = edge.inclusion_proof(index).unwrap();
            assert_eq!(
                proof,
                inclusion_proof(index, size, &table).unwrap(),
                "{index} in {size}"
            );
            verify_inclusion(&tree.leaves[index as usize], index, size, &proof, &root).unwrap();
            assert_eq!(
                edge.consistency_proof(index),
                Ok(consistency_proof(index, size, &table).unwrap())
            );
        }
        let count = size - committed;
        assert_eq!(
            edge.range_proof(committed, count),
            Ok(tree.range(committed as usize, count as usize, size as usize))
        );
    }
}

#[test]
fn a_retired_leaf_is_proved_with_the_help_of_the_store_alone() {
    let tree = Naive::new(1100);
    let mut edge = grown(&tree, 1100);
    edge.retire(1100);
    let missing = edge.inclusion_proof(5).unwrap_err();
    assert_eq!(missing, BuildError::Read(NotHeld(NodeId::new(0, 4))));
    assert_eq!(
        inclusion_proof(5, 1100, &edge.or(&tree)).unwrap(),
        tree.inclusion(5, 1100)
    );

    struct Asked<'a>(&'a Naive, RefCell<Vec<NodeId>>);
    impl HashReader for Asked<'_> {
        type Error = Infallible;
        fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
            self.1.borrow_mut().extend(ids);
            self.0.nodes(ids)
        }
    }
    let store = Asked(&tree, RefCell::default());
    inclusion_proof(5, 1100, &edge.or(&store)).unwrap();
    assert!(
        store.1.take().iter().all(|id| id.level < 8),
        "the edge holds the higher nodes"
    );
    inclusion_proof(1099, 1100, &edge.or(&store)).unwrap();
    assert_eq!(store.1.take(), []);
}

#[test]
fn a_store_that_answers_too_little_is_caught() {
    struct Mute;
    impl HashReader for Mute {
        type Error = Infallible;
        fn nodes(&self, _: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
            Ok(Vec::new())
        }
    }
    let tree = Naive::new(600);
    let edge = loaded(&tree, 600);
    assert!(matches!(
        inclusion_proof(5, 600, &edge.or(&Mute)),
        Err(BuildError::Count { .. })
    ));
}

#[test]
fn tiles_are_drained_once_as_they_fill() {
    let tree = Naive::new(600);
    let mut edge = grown(&tree, 255);
    assert_eq!(edge.drain_full_tiles(), []);
    edge.append(tree.leaves[255]);
    let first = edge.drain_full_tiles();
    assert_eq!(
        first,
        [FullTile {
            id: TileId::new(0, 0, 256).unwrap(),
            hashes: tree.leaves[..256].to_vec()
        }]
    );
    tree.leaves[256..].iter().for_each(|leaf| edge.append(*leaf));
    let second = edge.drain_full_tiles();
    assert_eq!(
        second,
        [FullTile {
            id: TileId::new(0, 1, 256).unwrap(),
            hashes: tree.leaves[256..512].to_vec()
        }]
    );
    assert_eq!(edge.drain_full_tiles(), []);
}

#[test]
fn a_tile_of_the_second_level_fills_after_65_536_leaves() {
    let tree = Naive::new(65_600);
    let mut edge = grown(&tree, 65_535);
    edge.retire(65_535);
    assert_eq!(edge.drain_full_tiles().len(), 255);
    edge.append(tree.leaves[65_535]);
    let ids: Vec<_> = edge.drain_full_tiles().into_iter().map(|tile| tile.id).collect();
    assert_eq!(
        ids,
        [TileId::new(0, 255, 256).unwrap(), TileId::new(1, 0, 256).unwrap()]
    );
    assert_eq!(edge.root(), tree.root(65_536));
    tree.leaves[65_536..].iter().for_each(|leaf| edge.append(*leaf));
    assert_eq!(edge.inclusion_proof(65_535).unwrap(), tree.inclusion(65_535, 65_600));
}

#[test]
fn a_clone_stays_at_its_size() {
    let tree = Naive::new(600);
    let mut edge = grown(&tree, 300);
    let published = edge.clone();
    tree.leaves[300..].iter().for_each(|leaf| edge.append(*leaf));
    edge.retire(600);
    assert_eq!((published.size(), published.root()), (300, tree.root(300)));
    assert_eq!(published.inclusion_proof(299).unwrap(), tree.inclusion(299, 300));
    assert_eq!(edge.root(), tree.root(600));
}

#[test]
fn partial_tiles_are_served_at_every_width_up_to_the_current_one() {
    let tree = Naive::new(600);
    let edge = loaded(&tree, 600);
    for tile in partial_tiles(600)
        .chain(TileId::new(0, 2, 1))
        .chain(TileId::new(1, 0, 1))
    {
        assert_eq!(edge.tile(tile), Some(tile_of(&tree, tile)));
    }
    assert_eq!(edge.tile(TileId::new(0, 2, 89).unwrap()), None);
    assert_eq!(edge.tile(TileId::new(0, 0, 256).unwrap()), None);
    assert_eq!(edge.tile(TileId::new(0, 3, 1).unwrap()), None);
}

#[test]
fn questions_outside_the_tree_are_refused() {
    let edge = grown(&Naive::new(3), 3);
    assert!(matches!(edge.inclusion_proof(3), Err(BuildError::Bounds(_))));
    assert!(matches!(edge.consistency_proof(4), Err(BuildError::Bounds(_))));
    assert!(matches!(edge.range_proof(1, 3), Err(BuildError::Bounds(_))));
    for id in [
        NodeId::new(0, 3),
        NodeId::new(2, 0),
        NodeId::new(64, 0),
        NodeId::new(255, u64::MAX),
    ] {
        assert_eq!(edge.node(id), None);
    }
    assert_eq!(Edge::new().root(), empty_root());
}

#[test]
fn loading_a_tile_of_another_width_fails() {
    let tree = Naive::new(600);
    let result = Edge::load(600, |tile| Ok::<_, Infallible>(tile_of(&tree, tile)[1..].to_vec()));
    assert!(matches!(result, Err(LoadError::Width { found: 87, .. })));
    assert!(matches!(Edge::load(1, |_| Err("gone")), Err(LoadError::Read("gone"))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn batches_of_any_size_keep_edge_and_definition_together(batches in prop::collection::vec(1..900u64, 1..6)) {
        let total: u64 = batches.iter().sum();
        let tree = Naive::new(total);
        let table = Table::new(&tree);
        let (mut edge, mut full) = (Edge::new(), Vec::new());
        for batch in batches {
            let committed = edge.size();
            for _ in 0..batch {
                edge.append(tree.leaves[edge.size() as usize]);
            }
            full.extend(edge.drain_full_tiles());
            let size = edge.size();
            prop_assert_eq!(edge.root(), mth(&tree.leaves[..size as usize]));
            for index in (committed..size).step_by(7) {
                prop_assert_eq!(edge.inclusion_proof(index).unwrap(), inclusion_proof(index, size, &table).unwrap());
            }
            edge = edge.clone();
            edge.retire(size);
            prop_assert_eq!(edge.root(), loaded(&tree, size).root());
        }
        prop_assert_eq!(full.len() as u64, full_tiles(0, total));
        for (index, tile) in (0..).zip(full) {
            prop_assert_eq!(tile.id, TileId::new(0, index, 256).unwrap());
            prop_assert_eq!(tile.hashes, tile_of(&tree, tile.id));
        }
    }
}
