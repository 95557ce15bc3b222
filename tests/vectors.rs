//! The public test vectors of proof checkers, most of them of proofs that must be rejected.
//!
//! They stand beside the package in `shared/vectors`; where they are absent the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oubliette::spec::hash::{Hash, leaf_hash};
use oubliette::spec::merkle::{verify_consistency, verify_inclusion};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    name: String,
    leaf_idx: u64,
    tree_size: u64,
    root: String,
    leaf_hash: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    name: String,
    size1: u64,
    size2: u64,
    root1: String,
    root2: String,
    proof: Option<Vec<String>>,
    want_err: bool,
}

fn vectors<T: DeserializeOwned>(file: &str) -> Vec<T> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/vectors")
        .join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is absent", path.display());
        return Vec::new();
    };
    let vectors: Vec<T> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), 98, "{file}");
    vectors
}

/// Bytes that are no hash are part of no proof: such a vector is rejected where it is read.
fn hash(base64: &str) -> Option<Hash> {
    Hash::try_from(STANDARD.decode(base64).unwrap().as_slice()).ok()
}

/// One consistency vector that must pass has a few words as both its roots, which of equal sizes are only compared: the
/// hash of such words stands for them, so that equal ones stay equal.
fn root(base64: &str) -> Hash {
    hash(base64).unwrap_or_else(|| leaf_hash(base64.as_bytes()))
}

fn hashes(proof: Option<&Vec<String>>) -> Option<Vec<Hash>> {
    proof.into_iter().flatten().map(|base64| hash(base64)).collect()
}

fn inclusion_holds(vector: &Inclusion) -> Option<()> {
    let proof = hashes(vector.proof.as_ref())?;
    let (leaf, root) = (hash(&vector.leaf_hash)?, hash(&vector.root)?);
    verify_inclusion(&leaf, vector.leaf_idx, vector.tree_size, &proof, &root).ok()
}

fn consistency_holds(vector: &Consistency) -> Option<()> {
    let proof = hashes(vector.proof.as_ref())?;
    verify_consistency(
        vector.size1,
        vector.size2,
        &root(&vector.root1),
        &root(&vector.root2),
        &proof,
    )
    .ok()
}

#[test]
fn inclusion_proofs_are_judged_as_the_vectors_say() {
    for vector in vectors::<Inclusion>("rfc6962-inclusion.ndjson") {
        assert_eq!(inclusion_holds(&vector).is_none(), vector.want_err, "{}", vector.name);
    }
}

#[test]
fn consistency_proofs_are_judged_as_the_vectors_say() {
    for vector in vectors::<Consistency>("rfc6962-consistency.ndjson") {
        assert_eq!(consistency_holds(&vector).is_none(), vector.want_err, "{}", vector.name);
    }
}
