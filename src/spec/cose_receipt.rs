//! COSE receipts (RFC 9942): a proof over the tree, signed in COSE, for verifiers that know nothing of notes
//! (docs/spec/04-tree.md).
//!
//! ```text
//! COSE_Sign1  = [protected, unprotected, nil, signature]                           the payload is the root, detached
//! protected   = {1: -19 (Ed25519), 4: key id, 395: 1 (RFC9162_SHA256)}
//! unprotected = {396: {-1: [<<[size, index, [hash, …]]>>]}}                         inclusion, or
//!               {396: {-2: [<<[old size, new size, [hash, …]]>>]}}                  consistency
//! signed      = ["Signature1", protected, h'', root]                               RFC 9052, section 4.4
//! ```
//!
//! The verifier computes the root from what it holds (the leaf, or the old root) and the proof, and verifies the signature
//! over it. IMPORTANT: only the root is signed. Size and index count as far as no other ones lead to the same root. The log
//! signs with its checkpoint key; the external AAD is empty, as generic verifiers expect it, which sets these signatures
//! apart from all others of Oubliette (`signature`), and the first byte (0x84) from the text of a note.

use coset::cbor::value::Value;
use coset::iana::Algorithm;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, Label};
use ed25519_dalek::{Signature, Signer as _, SigningKey};
use minicbor::{Decoder, Encoder};
use thiserror::Error;

use super::hash::Hash;
use super::merkle::{VerifyError, consistency_root, inclusion_root};
use super::signature::{PublicKey, SignatureError};

/// Header parameter: the structure that the proof is over.
const VDS: i64 = 395;
/// Header parameter: the proofs.
const VDP: i64 = 396;
/// RFC9162_SHA256.
const RFC9162_SHA256: i64 = 1;
/// The kinds of proof.
const INCLUSION: i64 = -1;
const CONSISTENCY: i64 = -2;
/// No tree is deeper; a consistency proof has one hash more.
const MAX_PATH: u64 = 65;

/// A proof as a receipt carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A leaf is in a tree.
    Inclusion {
        /// Leaves in the tree.
        size: u64,
        /// The leaf's index.
        index: u64,
        /// From the leaf's sibling up.
        path: Vec<Hash>,
    },
    /// A tree extends another.
    Consistency {
        /// Leaves in the old tree.
        from: u64,
        /// Leaves in the new one.
        to: u64,
        /// RFC 9162 §2.1.4.
        path: Vec<Hash>,
    },
}

/// Why a receipt does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReceiptError {
    /// Not a receipt of this form, or not in its one encoding.
    #[error("not a COSE receipt of this form: {0}")]
    Malformed(String),
    /// It is signed by another key.
    #[error("it is not signed by the key {0}")]
    OtherKey(Hash),
    /// It proves something else than what was asked.
    #[error("it holds a proof of another kind")]
    OtherKind,
    /// Its proof does not fit.
    #[error("its proof does not hold")]
    Proof(#[from] VerifyError),
    /// The root to which the proof leads is not the signed one.
    #[error("the signature is not over the root {0} to which the proof leads")]
    Signature(Hash),
}

/// Signs roots with a log's checkpoint key.
pub struct ReceiptSigner {
    key: SigningKey,
    public: PublicKey,
}

impl std::fmt::Debug for ReceiptSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReceiptSigner({})", self.public.id())
    }
}

impl ReceiptSigner {
    /// Takes the key.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] if the public half is weak.
    pub fn new(key: SigningKey) -> Result<Self, SignatureError> {
        let public = PublicKey::new(key.verifying_key().as_bytes())?;
        Ok(Self { key, public })
    }

    /// The receipt of a proof that leads to `root`. The caller has checked that it does.
    ///
    /// # Errors
    /// [`ReceiptError::Malformed`] if it cannot be encoded.
    pub fn sign(&self, proof: &Proof, root: &Hash) -> Result<Vec<u8>, ReceiptError> {
        let sign = |message: &[u8]| self.key.sign(message).to_vec();
        let object = frame(&self.public, proof).create_detached_signature(root.as_bytes(), &[], sign);
        object.build().to_vec().map_err(malformed)
    }
}

/// Checks that `leaf`, a leaf hash, is in a tree whose root `key` signed; gives the proof and that root.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_inclusion(receipt: &[u8], key: &PublicKey, leaf: &Hash) -> Result<(Proof, Hash), ReceiptError> {
    let (proof, object) = read(receipt, key)?;
    let Proof::Inclusion { size, index, path } = &proof else {
        return Err(ReceiptError::OtherKind);
    };
    let root = inclusion_root(leaf, *index, *size, path)?;
    expect_signed(&object, key, root)?;
    Ok((proof, root))
}

/// Checks that a tree whose root `key` signed extends the one under `old_root`; gives the proof and the new root.
///
/// # Errors
/// [`ReceiptError`].
pub fn verify_consistency(receipt: &[u8], key: &PublicKey, old_root: &Hash) -> Result<(Proof, Hash), ReceiptError> {
    let (proof, object) = read(receipt, key)?;
    let Proof::Consistency { from, to, path } = &proof else {
        return Err(ReceiptError::OtherKind);
    };
    let root = consistency_root(*from, *to, old_root, path)?;
    expect_signed(&object, key, root)?;
    Ok((proof, root))
}

fn expect_signed(object: &CoseSign1, key: &PublicKey, root: Hash) -> Result<(), ReceiptError> {
    let wrong = || ReceiptError::Signature(root);
    let signature = Signature::from_slice(&object.signature).map_err(|_| wrong())?;
    let message = object.tbs_detached_data(root.as_bytes(), &[]);
    let verified = key.verifying_key().verify_strict(&message, &signature);
    verified.map_err(|_| wrong())
}

/// Reads leniently and compares with what the key would have written, so that nothing else passes.
fn read(receipt: &[u8], key: &PublicKey) -> Result<(Proof, CoseSign1), ReceiptError> {
    let object = CoseSign1::from_slice(receipt).map_err(malformed)?;
    let proof = proof_of(&object).ok_or_else(|| malformed("no single proof over RFC9162_SHA256"))?;
    if object.protected.header.key_id != key.id().as_bytes() {
        return Err(ReceiptError::OtherKey(key.id()));
    }
    let due = frame(key, &proof).signature(object.signature.clone()).build();
    if due.to_vec().map_err(malformed)? == receipt {
        Ok((proof, object))
    } else {
        Err(malformed("other headers, or another encoding, than required"))
    }
}

fn malformed(error: impl ToString) -> ReceiptError {
    ReceiptError::Malformed(error.to_string())
}

/// All of a receipt but its signature.
fn frame(key: &PublicKey, proof: &Proof) -> CoseSign1Builder {
    let protected = HeaderBuilder::new()
        .algorithm(Algorithm::Ed25519)
        .key_id(key.id().as_bytes().to_vec())
        .value(VDS, RFC9162_SHA256.into());
    let (kind, first, second, path) = match proof {
        Proof::Inclusion { size, index, path } => (INCLUSION, size, index, path),
        Proof::Consistency { from, to, path } => (CONSISTENCY, from, to, path),
    };
    let proofs = Value::Array(vec![Value::Bytes(encode(*first, *second, path))]);
    let unprotected = HeaderBuilder::new().value(VDP, Value::Map(vec![(kind.into(), proofs)]));
    CoseSign1Builder::new()
        .protected(protected.build())
        .unprotected(unprotected.build())
}

fn encode(first: u64, second: u64, path: &[Hash]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20 + 34 * path.len());
    let mut encoder = Encoder::new(&mut bytes);
    // Writing into memory does not fail.
    let _ = encoder
        .array(3)
        .and_then(|e| e.u64(first)?.u64(second)?.array(path.len() as u64))
        .and_then(|e| path.iter().try_fold(e, |e, hash| e.bytes(hash.as_bytes())));
    bytes
}

fn proof_of(object: &CoseSign1) -> Option<Proof> {
    let [(Label::Int(VDP), Value::Map(proofs))] = object.unprotected.rest.as_slice() else {
        return None;
    };
    let [(Value::Integer(kind), Value::Array(proofs))] = proofs.as_slice() else {
        return None;
    };
    let [Value::Bytes(bytes)] = proofs.as_slice() else {
        return None;
    };
    let (first, second, path) = decode(bytes)?;
    match i128::from(*kind) {
        kind if kind == i128::from(INCLUSION) => Some(Proof::Inclusion {
            size: first,
            index: second,
            path,
        }),
        kind if kind == i128::from(CONSISTENCY) => Some(Proof::Consistency {
            from: first,
            to: second,
            path,
        }),
        _ => None,
    }
}

fn decode(bytes: &[u8]) -> Option<(u64, u64, Vec<Hash>)> {
    let mut decoder = Decoder::new(bytes);
    if decoder.array().ok()?? != 3 {
        return None;
    }
    let (first, second) = (decoder.u64().ok()?, decoder.u64().ok()?);
    let length = decoder.array().ok()?.filter(|length| *length <= MAX_PATH)?;
    let mut hash = || Hash::try_from(decoder.bytes().ok()?).ok();
    let path = (0..length).map(|_| hash()).collect::<Option<_>>()?;
    (decoder.position() == bytes.len()).then_some((first, second, path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::spec::merkle::naive::Naive;

    fn signer(seed: u8) -> ReceiptSigner {
        ReceiptSigner::new(SigningKey::from_bytes(&[seed; 32])).unwrap()
    }

    fn inclusion(tree: &Naive, index: usize, size: usize) -> Proof {
        Proof::Inclusion {
            size: size as u64,
            index: index as u64,
            path: tree.inclusion(index, size),
        }
    }

    fn consistency(tree: &Naive, from: usize, to: usize) -> Proof {
        Proof::Consistency {
            from: from as u64,
            to: to as u64,
            path: tree.consistency(from, to),
        }
    }

    #[test]
    fn receipts_of_both_kinds_are_signed_and_verified() {
        let (tree, signer) = (Naive::new(40), signer(1));
        for (index, size) in [(0, 1), (0, 2), (4, 7), (39, 40), (31, 32)] {
            let proof = inclusion(&tree, index, size);
            let receipt = signer.sign(&proof, &tree.root(size)).unwrap();
            let verified = verify_inclusion(&receipt, &signer.public, &tree.leaves[index]);
            assert_eq!(verified, Ok((proof, tree.root(size))));
        }
        for (from, to) in [(1, 2), (3, 7), (4, 8), (7, 7), (32, 40)] {
            let proof = consistency(&tree, from, to);
            let receipt = signer.sign(&proof, &tree.root(to)).unwrap();
            let verified = verify_consistency(&receipt, &signer.public, &tree.root(from));
            assert_eq!(verified, Ok((proof, tree.root(to))));
        }
    }

    #[test]
    fn the_layout_is_that_of_rfc_9942() {
        let (tree, signer) = (Naive::new(2), signer(1));
        let receipt = signer.sign(&inclusion(&tree, 1, 2), &tree.root(2)).unwrap();
        let text = hex::encode(&receipt);
        let protected = format!("a3013204 5820{} 19018b01", signer.public.id()).replace(' ', "");
        let proof = format!("83020181 5820{}", tree.leaves[0]).replace(' ', "");
        let head = format!("84582a{protected}a119018ca120815826{proof}f65840");
        assert!(text.starts_with(&head), "{text}\n{head}");
        assert_eq!(text.len(), head.len() + 128);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_found() {
        let (tree, signer) = (Naive::new(7), signer(1));
        let receipt = signer.sign(&inclusion(&tree, 4, 7), &tree.root(7)).unwrap();
        for bit in 0..receipt.len() * 8 {
            let mut changed = receipt.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let verified = verify_inclusion(&changed, &signer.public, &tree.leaves[4]);
            // Leaf 4 has the same siblings in trees of 7 and of 8 leaves, and only the root is signed.
            let other_size = matches!(&verified, Ok((Proof::Inclusion { size, .. }, _)) if *size != 7);
            assert!(verified.is_err() || other_size, "bit {bit}: {verified:?}");
        }
        for length in 0..receipt.len() {
            assert!(verify_inclusion(&receipt[..length], &signer.public, &tree.leaves[4]).is_err());
        }
        let longer = [receipt.as_slice(), &[0]].concat();
        assert!(verify_inclusion(&longer, &signer.public, &tree.leaves[4]).is_err());
    }

    #[test]
    fn another_leaf_root_key_or_kind_is_refused() {
        let (tree, signer, other) = (Naive::new(7), signer(1), signer(2));
        let receipt = signer.sign(&inclusion(&tree, 4, 7), &tree.root(7)).unwrap();
        assert!(matches!(
            verify_inclusion(&receipt, &signer.public, &tree.leaves[5]),
            Err(ReceiptError::Signature(_))
        ));
        assert_eq!(
            verify_inclusion(&receipt, &other.public, &tree.leaves[4]),
            Err(ReceiptError::OtherKey(other.public.id()))
        );
        assert_eq!(
            verify_consistency(&receipt, &signer.public, &tree.root(4)),
            Err(ReceiptError::OtherKind)
        );
        let grown = signer.sign(&consistency(&tree, 3, 7), &tree.root(7)).unwrap();
        assert_eq!(
            verify_inclusion(&grown, &signer.public, &tree.leaves[4]),
            Err(ReceiptError::OtherKind)
        );
        assert!(matches!(
            verify_consistency(&grown, &signer.public, &tree.root(2)),
            Err(ReceiptError::Proof(VerifyError::OldRoot { .. }))
        ));
        // A root that the proof does not lead to.
        let false_root = signer.sign(&inclusion(&tree, 4, 7), &tree.root(6)).unwrap();
        assert_eq!(
            verify_inclusion(&false_root, &signer.public, &tree.leaves[4]),
            Err(ReceiptError::Signature(tree.root(7)))
        );
    }
}
