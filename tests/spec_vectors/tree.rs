//! Roots and proofs (chapter 04), from the definitions of RFC 6962, word for word.

use std::convert::Infallible;

use oubliette::spec::hash::{Hash, empty_root, leaf_hash, node_hash};
use oubliette::spec::merkle::{
    HashReader, NodeId, consistency_proof, inclusion_proof, range_proof, root, verify_consistency, verify_inclusion,
    verify_range,
};
use serde_json::{Value, json};

use crate::{bad, good, number, same, text};

fn leaf(index: u64) -> Hash {
    leaf_hash(index.to_string().as_bytes())
}

fn split(start: u64, end: u64) -> u64 {
    start + (end - start).next_power_of_two() / 2
}

/// `MTH(D[start:end])`.
fn mth(start: u64, end: u64) -> Hash {
    match end - start {
        0 => empty_root(),
        1 => leaf(start),
        _ => node_hash(&mth(start, split(start, end)), &mth(split(start, end), end)),
    }
}

/// `PATH(m, D[start:end])`.
fn path(m: u64, start: u64, end: u64) -> Vec<Hash> {
    if end - start <= 1 {
        return Vec::new();
    }
    let k = split(start, end);
    let (mut below, beside) = if m < k {
        (path(m, start, k), mth(k, end))
    } else {
        (path(m, k, end), mth(start, k))
    };
    below.push(beside);
    below
}

/// `SUBPROOF(m, D[start:end], b)`.
fn subproof(m: u64, start: u64, end: u64, b: bool) -> Vec<Hash> {
    if m == end {
        return if b { Vec::new() } else { vec![mth(start, end)] };
    }
    let k = split(start, end);
    let (mut below, beside) = if m <= k {
        (subproof(m, start, k, b), mth(k, end))
    } else {
        (subproof(m, k, end, false), mth(start, k))
    };
    below.push(beside);
    below
}

/// `RANGE(first, end, lo, hi)` of the chapter.
fn range(first: u64, end: u64, lo: u64, hi: u64) -> Vec<Hash> {
    if hi <= first || end <= lo {
        return vec![mth(lo, hi)];
    }
    if hi - lo == 1 {
        return Vec::new();
    }
    let k = split(lo, hi);
    [range(first, end, lo, k), range(first, end, k, hi)].concat()
}

struct Tree;

impl HashReader for Tree {
    type Error = Infallible;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, Infallible> {
        Ok(ids
            .iter()
            .map(|id| mth(id.index << id.level, (id.index + 1) << id.level))
            .collect())
    }
}

fn texts(hashes: &[Hash]) -> Value {
    hashes.iter().map(ToString::to_string).collect::<Vec<_>>().into()
}

pub(crate) fn vectors() -> Vec<Value> {
    let mut vectors = roots();
    vectors.extend(inclusions());
    vectors.extend(consistencies());
    vectors.extend(ranges());
    vectors
}

fn roots() -> Vec<Value> {
    let sizes = (0..=9).chain([255, 256, 257, 1000]);
    let field = |size: u64, root: Hash| json!({"kind": "root", "size": size, "root": root.to_string()});
    let mut vectors: Vec<_> = sizes
        .map(|size| good(&format!("root of size {size}"), field(size, mth(0, size))))
        .collect();
    let no_prefix = {
        use sha2::{Digest, Sha256};
        let bare = [leaf(0).as_ref(), leaf(1).as_ref()].concat();
        Hash::from(<[u8; 32]>::from(Sha256::digest(bare)))
    };
    let doubled = node_hash(&node_hash(&leaf(0), &leaf(1)), &node_hash(&leaf(2), &leaf(2)));
    let balanced = node_hash(&mth(0, 3), &mth(3, 6));
    vectors.push(bad(
        "root: nodes without a prefix",
        "nodes begin with 0x01",
        field(2, no_prefix),
    ));
    vectors.push(bad("root: last leaf doubled", "nothing is doubled", field(3, doubled)));
    vectors.push(bad(
        "root: split in the middle",
        "split at a power of two",
        field(6, balanced),
    ));
    vectors.push(bad(
        "root: empty tree of zeros",
        "SHA-256 of nothing",
        field(0, Hash::from([0; 32])),
    ));
    vectors
}

fn inclusion(index: u64, size: u64, leaf: Hash, proof: &[Hash], root: Hash) -> Value {
    json!({
        "kind": "inclusion", "index": index, "size": size, "leaf": leaf.to_string(), "proof": texts(proof),
        "root": root.to_string(),
    })
}

fn inclusions() -> Vec<Value> {
    let mut vectors: Vec<_> = [
        (0, 1),
        (0, 2),
        (1, 2),
        (0, 7),
        (4, 7),
        (6, 7),
        (5, 8),
        (255, 256),
        (256, 257),
        (299, 300),
    ]
    .into_iter()
    .map(|(index, size)| {
        good(
            &format!("inclusion of {index} in {size}"),
            inclusion(index, size, leaf(index), &path(index, 0, size), mth(0, size)),
        )
    })
    .collect();
    let (proof, root) = (path(4, 0, 7), mth(0, 7));
    // A path does not prove the size: this is why root and size come from one signed checkpoint.
    vectors.push(good(
        "inclusion: a size with paths of the same shape",
        inclusion(4, 8, leaf(4), &proof, root),
    ));
    let reversed: Vec<_> = proof.iter().rev().copied().collect();
    let longer = [&proof[..], &[leaf(9)]].concat();
    let mut flipped = proof.clone();
    flipped[0] = leaf(9);
    let short_root = node_hash(&proof[0], &leaf(4));
    for (name, reason, vector) in [
        (
            "index beyond the tree",
            "no such leaf",
            inclusion(7, 7, leaf(4), &proof, root),
        ),
        (
            "empty tree",
            "no such leaf",
            inclusion(0, 0, leaf(0), &[], empty_root()),
        ),
        (
            "another index",
            "leads to another root",
            inclusion(5, 7, leaf(4), &proof, root),
        ),
        (
            "another size",
            "one hash too many",
            inclusion(4, 6, leaf(4), &proof, root),
        ),
        (
            "another leaf",
            "leads to another root",
            inclusion(4, 7, leaf(5), &proof, root),
        ),
        (
            "a node for a leaf",
            "too short",
            inclusion(2, 4, mth(2, 4), &[mth(0, 2)], mth(0, 4)),
        ),
        (
            "too short",
            "one hash is missing",
            inclusion(4, 7, leaf(4), &proof[..2], root),
        ),
        ("too long", "one hash too many", inclusion(4, 7, leaf(4), &longer, root)),
        ("empty", "hashes are missing", inclusion(4, 7, leaf(4), &[], root)),
        (
            "a prefix and its own root",
            "hashes are missing",
            inclusion(4, 7, leaf(4), &proof[..1], short_root),
        ),
        (
            "reversed",
            "leads to another root",
            inclusion(4, 7, leaf(4), &reversed, root),
        ),
        (
            "a hash exchanged",
            "leads to another root",
            inclusion(4, 7, leaf(4), &flipped, root),
        ),
        (
            "another root",
            "leads to another root",
            inclusion(4, 7, leaf(4), &proof, mth(0, 8)),
        ),
        (
            "one leaf with a hash",
            "one hash too many",
            inclusion(0, 1, leaf(0), &[leaf(0)], leaf(0)),
        ),
        (
            "largest index",
            "leads to another root",
            inclusion(u64::MAX - 1, u64::MAX, leaf(4), &vec![leaf(1); 63], root),
        ),
    ] {
        vectors.push(bad(&format!("inclusion: {name}"), reason, vector));
    }
    vectors
}

fn consistency(from: u64, to: u64, old: Hash, new: Hash, proof: &[Hash]) -> Value {
    json!({
        "kind": "consistency", "from": from, "to": to, "old_root": old.to_string(), "new_root": new.to_string(),
        "proof": texts(proof),
    })
}

fn consistencies() -> Vec<Value> {
    let of = |from, to| subproof(from, 0, to, true);
    let mut vectors: Vec<_> = [
        (1, 1),
        (7, 7),
        (1, 2),
        (2, 3),
        (3, 7),
        (4, 7),
        (6, 7),
        (6, 8),
        (1, 8),
        (255, 300),
        (256, 300),
    ]
    .into_iter()
    .map(|(from, to)| {
        good(
            &format!("consistency of {from} and {to}"),
            consistency(from, to, mth(0, from), mth(0, to), &of(from, to)),
        )
    })
    .collect();
    let (proof, old, new) = (of(3, 7), mth(0, 3), mth(0, 7));
    vectors.push(good(
        "consistency: a new size with proofs of the same shape",
        consistency(3, 6, old, new, &proof),
    ));
    let longer = [&proof[..], &[leaf(9)]].concat();
    let reversed: Vec<_> = proof.iter().rev().copied().collect();
    for (name, reason, vector) in [
        (
            "from nothing",
            "says nothing",
            consistency(0, 7, empty_root(), new, &[]),
        ),
        (
            "from nothing to nothing",
            "says nothing",
            consistency(0, 0, empty_root(), empty_root(), &[]),
        ),
        (
            "a tree that shrinks",
            "a tree cannot shrink",
            consistency(7, 3, new, old, &proof),
        ),
        (
            "same size, other root",
            "the roots differ",
            consistency(7, 7, old, new, &[]),
        ),
        (
            "same size with a proof",
            "the proof is empty",
            consistency(7, 7, new, new, &proof),
        ),
        (
            "another old root",
            "leads to another old root",
            consistency(3, 7, mth(0, 2), new, &proof),
        ),
        (
            "another new root",
            "leads to another root",
            consistency(3, 7, old, mth(0, 6), &proof),
        ),
        (
            "roots swapped",
            "leads to another old root",
            consistency(3, 7, new, old, &proof),
        ),
        (
            "another old size",
            "leads to another old root",
            consistency(2, 7, old, new, &proof),
        ),
        (
            "another new size",
            "one hash too many",
            consistency(3, 4, old, new, &proof),
        ),
        (
            "too short",
            "one hash is missing",
            consistency(3, 7, old, new, &proof[..proof.len() - 1]),
        ),
        ("too long", "one hash too many", consistency(3, 7, old, new, &longer)),
        ("empty", "hashes are missing", consistency(3, 7, old, new, &[])),
        (
            "reversed",
            "leads to another old root",
            consistency(3, 7, old, new, &reversed),
        ),
        (
            "old root leads although it is a power of two",
            "one hash too many",
            consistency(4, 7, mth(0, 4), new, &[vec![mth(0, 4)], of(4, 7)].concat()),
        ),
    ] {
        vectors.push(bad(&format!("consistency: {name}"), reason, vector));
    }
    vectors
}

fn run(first: u64, leaves: &[Hash], size: u64, proof: &[Hash], root: Hash) -> Value {
    json!({
        "kind": "range", "first": first, "leaves": texts(leaves), "size": size, "proof": texts(proof),
        "root": root.to_string(),
    })
}

fn ranges() -> Vec<Value> {
    let leaves = |first: u64, count: u64| (first..first + count).map(leaf).collect::<Vec<_>>();
    let of = |first: u64, count: u64, size: u64| range(first, first + count, 0, size);
    let mut vectors: Vec<_> = [
        (0, 1, 1),
        (0, 7, 7),
        (4, 1, 7),
        (2, 3, 7),
        (0, 3, 7),
        (3, 4, 7),
        (6, 1, 7),
        (1, 6, 8),
        (250, 12, 300),
        (299, 1, 300),
    ]
    .into_iter()
    .map(|(first, count, size)| {
        let vector = run(
            first,
            &leaves(first, count),
            size,
            &of(first, count, size),
            mth(0, size),
        );
        good(&format!("range of {count} from {first} in {size}"), vector)
    })
    .collect();
    let (good_leaves, proof, root) = (leaves(2, 3), of(2, 3, 7), mth(0, 7));
    let reversed: Vec<_> = proof.iter().rev().copied().collect();
    let longer = [&proof[..], &[leaf(9)]].concat();
    let swapped = [leaf(3), leaf(2), leaf(4)];
    for (name, reason, vector) in [
        ("no leaves", "at least one leaf", run(2, &[], 7, &proof, root)),
        (
            "no leaves in the empty tree",
            "at least one leaf",
            run(0, &[], 0, &[], empty_root()),
        ),
        (
            "beyond the tree",
            "the range leaves the tree",
            run(5, &good_leaves, 7, &proof, root),
        ),
        (
            "an end beyond 2^64",
            "the range leaves the tree",
            run(u64::MAX, &good_leaves, u64::MAX, &proof, root),
        ),
        (
            "another start",
            "leads to another root",
            run(3, &good_leaves, 7, &proof, root),
        ),
        (
            "another size",
            "one hash too many",
            run(2, &good_leaves, 6, &proof, root),
        ),
        (
            "leaves swapped",
            "leads to another root",
            run(2, &swapped, 7, &proof, root),
        ),
        (
            "a leaf less",
            "hashes are missing",
            run(2, &good_leaves[..2], 7, &proof, root),
        ),
        (
            "too short",
            "one hash is missing",
            run(2, &good_leaves, 7, &proof[1..], root),
        ),
        ("too long", "one hash too many", run(2, &good_leaves, 7, &longer, root)),
        (
            "right to left",
            "left to right",
            run(2, &good_leaves, 7, &reversed, root),
        ),
        (
            "one leaf with the order of an inclusion proof",
            "left to right",
            run(4, &leaves(4, 1), 7, &path(4, 0, 7), root),
        ),
        (
            "another root",
            "leads to another root",
            run(2, &good_leaves, 7, &proof, mth(0, 6)),
        ),
    ] {
        vectors.push(bad(&format!("range: {name}"), reason, vector));
    }
    vectors
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    let hash = |field: &str| -> Hash { text(vector, field).parse().unwrap() };
    let hashes = |field: &str| -> Vec<Hash> {
        vector[field]
            .as_array()
            .unwrap()
            .iter()
            .map(|hash| hash.as_str().unwrap().parse().unwrap())
            .collect()
    };
    let number = |field: &str| number(vector, field);
    match text(vector, "kind") {
        "root" => Ok(root(number("size"), &Tree).unwrap() == hash("root")),
        "inclusion" => {
            let (index, size, proof) = (number("index"), number("size"), hashes("proof"));
            if verify_inclusion(&hash("leaf"), index, size, &proof, &hash("root")).is_err() {
                return Ok(false);
            }
            if root(size, &Tree).unwrap() != hash("root") {
                return Ok(true); // the root of another size: nothing to compare the proof with
            }
            same(
                "proof",
                &vector["proof"],
                texts(&inclusion_proof(index, size, &Tree).unwrap()),
            )
            .map(|()| true)
        }
        "consistency" => {
            let (from, to, proof) = (number("from"), number("to"), hashes("proof"));
            if verify_consistency(from, to, &hash("old_root"), &hash("new_root"), &proof).is_err() {
                return Ok(false);
            }
            if root(to, &Tree).unwrap() != hash("new_root") {
                return Ok(true);
            }
            same(
                "proof",
                &vector["proof"],
                texts(&consistency_proof(from, to, &Tree).unwrap()),
            )
            .map(|()| true)
        }
        _ => {
            let (first, leaves, size) = (number("first"), hashes("leaves"), number("size"));
            if verify_range(&leaves, first, size, &hashes("proof"), &hash("root")).is_err() {
                return Ok(false);
            }
            let proof = range_proof(first, leaves.len() as u64, size, &Tree).unwrap();
            same("proof", &vector["proof"], texts(&proof)).map(|()| true)
        }
    }
}
