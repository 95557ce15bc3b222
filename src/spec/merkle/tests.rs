//! The arithmetic against the definition: for every size, every leaf, every range.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::naive::Naive;
use super::*;
use crate::spec::hash::{empty_root, leaf_hash};

const CLASSIC_INPUTS: [&str; 8] = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
];

const CLASSIC_ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

#[test]
fn the_classic_inputs_have_the_classic_roots() {
    let leaves = CLASSIC_INPUTS
        .iter()
        .map(|input| leaf_hash(&hex::decode(input).unwrap()))
        .collect();
    let tree = Naive { leaves };
    for (size, expected) in (1..).zip(CLASSIC_ROOTS) {
        assert_eq!(root(size, &tree).unwrap().to_string(), expected);
    }
}

fn sizes() -> std::ops::RangeInclusive<u64> {
    1..=300
}

/// A tree of any size in no memory: all leaves are the same, so that a node's hash follows from its level.
struct Uniform([Hash; 64]);

impl Uniform {
    fn new() -> Self {
        let mut levels = [leaf_hash(b"leaf"); 64];
        for level in 1..64 {
            levels[level] = crate::spec::hash::node_hash(&levels[level - 1], &levels[level - 1]);
        }
        Self(levels)
    }
}

impl HashReader for Uniform {
    type Error = std::convert::Infallible;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Self::Error> {
        Ok(ids.iter().map(|id| self.0[usize::from(id.level)]).collect())
    }
}

#[test]
fn every_inclusion_proof_is_the_one_of_the_rfc() {
    let tree = Naive::new(300);
    for size in sizes() {
        let root_hash = root(size, &tree).unwrap();
        assert_eq!(root_hash, tree.root(size as usize));
        for index in 0..size {
            let proof = inclusion_proof(index, size, &tree).unwrap();
            assert_eq!(
                proof,
                tree.inclusion(index as usize, size as usize),
                "{index} in {size}"
            );
            verify_inclusion(&tree.leaves[index as usize], index, size, &proof, &root_hash).unwrap();
        }
    }
}

#[test]
fn every_consistency_proof_is_the_one_of_the_rfc() {
    let tree = Naive::new(300);
    for to in sizes() {
        for from in 1..=to {
            let proof = consistency_proof(from, to, &tree).unwrap();
            assert_eq!(proof, tree.consistency(from as usize, to as usize), "{from} to {to}");
            verify_consistency(from, to, &tree.root(from as usize), &tree.root(to as usize), &proof).unwrap();
        }
    }
}

#[test]
fn every_range_proof_is_made_of_the_maximal_subtrees_around_it() {
    let tree = Naive::new(70);
    for size in 1..=70 {
        let root_hash = tree.root(size as usize);
        for first in 0..size {
            for count in 1..=size - first {
                let proof = range_proof(first, count, size, &tree).unwrap();
                assert_eq!(
                    proof,
                    tree.range(first as usize, count as usize, size as usize),
                    "{first}+{count} in {size}"
                );
                let leaves = &tree.leaves[first as usize..(first + count) as usize];
                verify_range(leaves, first, size, &proof, &root_hash).unwrap();
            }
        }
    }
}

#[test]
fn a_consistency_proof_from_the_empty_tree_is_empty_and_proves_nothing() {
    let tree = Naive::new(5);
    assert_eq!(consistency_proof(0, 5, &tree), Ok(Vec::new()));
    assert_eq!(
        verify_consistency(0, 5, &empty_root(), &tree.root(5), &[]),
        Err(VerifyError::FromEmpty)
    );
    assert_eq!(
        verify_consistency(0, 0, &empty_root(), &empty_root(), &[]),
        Err(VerifyError::FromEmpty)
    );
}

#[test]
fn of_equal_sizes_the_roots_are_equal_and_the_proof_is_empty() {
    let (root_hash, other) = (Naive::new(5).root(5), empty_root());
    assert_eq!(verify_consistency(5, 5, &root_hash, &root_hash, &[]), Ok(()));
    assert!(matches!(
        verify_consistency(5, 5, &root_hash, &other, &[]),
        Err(VerifyError::Root { .. })
    ));
    assert!(matches!(
        verify_consistency(5, 5, &root_hash, &root_hash, &[other]),
        Err(VerifyError::Length { .. })
    ));
}

#[test]
fn claims_about_impossible_leaves_are_refused() {
    let hash = empty_root();
    assert_eq!(
        verify_inclusion(&hash, 5, 5, &[], &hash),
        Err(VerifyError::Bounds(BoundsError::Index { index: 5, size: 5 }))
    );
    assert!(matches!(
        verify_consistency(6, 5, &hash, &hash, &[]),
        Err(VerifyError::Bounds(_))
    ));
    assert!(matches!(
        verify_range(&[], 0, 5, &[], &hash),
        Err(VerifyError::Bounds(_))
    ));
    assert!(matches!(
        verify_range(&[hash, hash], 4, 5, &[], &hash),
        Err(VerifyError::Bounds(_))
    ));
    assert!(matches!(
        verify_range(&[hash, hash], u64::MAX, u64::MAX, &[], &hash),
        Err(VerifyError::Bounds(_))
    ));
}

/// Each way to spoil a proof by one bit or one hash.
fn spoilt(proof: &[Hash], bit: usize) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for at in 0..proof.len() {
        let mut flipped = proof.to_vec();
        flipped[at] = flip(&proof[at], bit);
        let mut dropped = proof.to_vec();
        dropped.remove(at);
        all.extend([flipped, dropped]);
    }
    for at in 0..=proof.len() {
        let mut added = proof.to_vec();
        added.insert(at, proof.first().copied().unwrap_or_else(empty_root));
        all.push(added);
    }
    all
}

fn flip(hash: &Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8 % 32] ^= 1 << (bit % 8);
    Hash::from(bytes)
}

fn two_sizes() -> impl Strategy<Value = (u64, u64)> {
    (1..=300u64).prop_flat_map(|size| (0..size, Just(size)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_change_of_an_inclusion_proof_is_found((index, size) in two_sizes(), bit in 0..256usize, other in 0..310u64) {
        let tree = Naive::new(size);
        let (leaf, root_hash) = (tree.leaves[index as usize], tree.root(size as usize));
        let proof = inclusion_proof(index, size, &tree).unwrap();
        prop_assert_eq!(&proof, &tree.inclusion(index as usize, size as usize));
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &proof, &root_hash), Ok(()));
        for bad in spoilt(&proof, bit) {
            prop_assert!(verify_inclusion(&leaf, index, size, &bad, &root_hash).is_err());
        }
        prop_assert!(verify_inclusion(&flip(&leaf, bit), index, size, &proof, &root_hash).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof, &flip(&root_hash, bit)).is_err());
        prop_assert!(other == index || verify_inclusion(&leaf, other, size, &proof, &root_hash).is_err());
    }

    #[test]
    fn proofs_in_trees_of_any_size_hold_and_no_change_does(size in 1..=u64::MAX, bits in 0..64u32, at: u64, bit in 0..256usize) {
        let tree = Uniform::new();
        let size = 1.max(size >> bits);
        let (index, root_hash) = (at % size, root(size, &tree).unwrap());
        let proof = inclusion_proof(index, size, &tree).unwrap();
        prop_assert!(proof.len() <= 64);
        prop_assert_eq!(verify_inclusion(&tree.0[0], index, size, &proof, &root_hash), Ok(()));
        let old = root(index + 1, &tree).unwrap();
        let grown = consistency_proof(index + 1, size, &tree).unwrap();
        prop_assert!(grown.len() <= 65);
        prop_assert_eq!(verify_consistency(index + 1, size, &old, &root_hash, &grown), Ok(()));
        for flipped in 0..proof.len() {
            let mut bad = proof.clone();
            bad[flipped] = flip(&bad[flipped], bit);
            prop_assert!(verify_inclusion(&tree.0[0], index, size, &bad, &root_hash).is_err());
        }
        for flipped in 0..grown.len() {
            let mut bad = grown.clone();
            bad[flipped] = flip(&bad[flipped], bit);
            prop_assert!(verify_consistency(index + 1, size, &old, &root_hash, &bad).is_err());
        }
    }

    #[test]
    fn any_change_of_a_consistency_proof_is_found((before, to) in two_sizes(), bit in 0..256usize) {
        let tree = Naive::new(to);
        let from = before + 1;
        let (old, new) = (tree.root(from as usize), tree.root(to as usize));
        let proof = consistency_proof(from, to, &tree).unwrap();
        prop_assert_eq!(&proof, &tree.consistency(from as usize, to as usize));
        prop_assert_eq!(verify_consistency(from, to, &old, &new, &proof), Ok(()));
        for bad in spoilt(&proof, bit) {
            prop_assert!(verify_consistency(from, to, &old, &new, &bad).is_err());
        }
        prop_assert!(verify_consistency(from, to, &flip(&old, bit), &new, &proof).is_err());
        prop_assert!(verify_consistency(from, to, &old, &flip(&new, bit), &proof).is_err());
    }

    #[test]
    fn any_change_of_a_range_proof_is_found((first, size) in two_sizes(), part in 0..300u64, bit in 0..256usize) {
        let tree = Naive::new(size);
        let count = 1 + part % (size - first);
        let root_hash = tree.root(size as usize);
        let mut leaves = tree.leaves[first as usize..(first + count) as usize].to_vec();
        let proof = range_proof(first, count, size, &tree).unwrap();
        prop_assert_eq!(&proof, &tree.range(first as usize, count as usize, size as usize));
        prop_assert_eq!(verify_range(&leaves, first, size, &proof, &root_hash), Ok(()));
        for bad in spoilt(&proof, bit) {
            prop_assert!(verify_range(&leaves, first, size, &bad, &root_hash).is_err());
        }
        prop_assert!(verify_range(&leaves, first, size, &proof, &flip(&root_hash, bit)).is_err());
        prop_assert!(verify_range(&leaves[1..], first, size, &proof, &root_hash).is_err());
        let changed = bit % leaves.len();
        leaves[changed] = flip(&leaves[changed], bit);
        prop_assert!(verify_range(&leaves, first, size, &proof, &root_hash).is_err());
    }
}
