//! Proofs that travel (c2sp.org/tlog-proof): one entry's inclusion proof with the signed checkpoint that it leads to.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! extra <base64>            only if there is extra data
//! index <leaf index>
//! <base64 hash>             the leaf's sibling first, the root's child last
//! <empty line>
//! <the checkpoint's signed note, verbatim>
//! ```
//!
//! File ending `.tlog-proof`. The extra data is not authenticated by the format: ours is the event header, of which the
//! caller computes the leaf hash that it then proves. Reading is strict, so that a proof is written again byte for
//! byte.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use super::checkpoint::{CheckpointError, OpenCheckpoint, open, parse_decimal};
use super::hash::Hash;
use super::merkle::{VerifyError, verify_inclusion};
use super::note::{KeyName, Note, NoteError, VerifierKey};

const VERSION: &str = "c2sp.org/tlog-proof@v1";

/// No tree is deeper.
const MAX_PATH: usize = 64;

/// An inclusion proof and its checkpoint. Nobody verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    /// Opaque data that goes with the proof; empty for none. Not to be trusted but for what its leaf hash proves.
    pub extra: Vec<u8>,
    /// The leaf's index.
    pub index: u64,
    /// The inclusion proof, from the leaf's sibling up.
    pub path: Vec<Hash>,
    /// The checkpoint's note.
    pub checkpoint: Note,
}

/// What is wrong with a proof.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TlogProofError {
    /// The first line is another one.
    #[error("the first line is not {VERSION}")]
    Version,
    /// There is no empty line before a checkpoint.
    #[error("there is no empty line with a checkpoint after it")]
    Format,
    /// The extra line is not canonical base64, or empty.
    #[error("the extra line is not the canonical base64 of some bytes")]
    Extra,
    /// The index line is missing or not a canonical decimal number.
    #[error("the index line is missing or not a decimal number without leading zeros")]
    Index,
    /// A line of the path is not a hash, or there are too many.
    #[error("hash {0} of the path is malformed or one too many")]
    Path(usize),
    /// The checkpoint's note is malformed.
    #[error("the checkpoint is not a signed note")]
    Note(#[source] NoteError),
    /// The checkpoint is not acceptable.
    #[error("the checkpoint is not acceptable")]
    Checkpoint(#[source] CheckpointError),
    /// The leaf is not where the proof puts it.
    #[error("the inclusion proof fails")]
    Inclusion(#[source] VerifyError),
}

impl TlogProof {
    /// Checks that `leaf`, a leaf hash, is at the index of the proof in the log `origin`, whose checkpoint keys and
    /// known witnesses are `keys`. Gives the checkpoint, so that the caller can ask for enough witnesses.
    ///
    /// # Errors
    /// [`TlogProofError::Checkpoint`] and [`TlogProofError::Inclusion`].
    pub fn verify(
        &self,
        leaf: &Hash,
        origin: &KeyName,
        keys: &[VerifierKey],
    ) -> Result<OpenCheckpoint, TlogProofError> {
        let opened = open(&self.checkpoint.to_string(), origin, keys).map_err(TlogProofError::Checkpoint)?;
        let tree = &opened.checkpoint;
        verify_inclusion(leaf, self.index, tree.size, &self.path, &tree.root).map_err(TlogProofError::Inclusion)?;
        Ok(opened)
    }
}

impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{VERSION}")?;
        if !self.extra.is_empty() {
            writeln!(f, "extra {}", STANDARD.encode(&self.extra))?;
        }
        writeln!(f, "index {}", self.index)?;
        self.path
            .iter()
            .try_for_each(|hash| writeln!(f, "{}", hash.to_base64()))?;
        write!(f, "\n{}", self.checkpoint)
    }
}

impl FromStr for TlogProof {
    type Err = TlogProofError;

    fn from_str(text: &str) -> Result<Self, TlogProofError> {
        let (head, checkpoint) = text.split_once("\n\n").ok_or(TlogProofError::Format)?;
        let mut lines = head.split('\n').peekable();
        if lines.next() != Some(VERSION) {
            return Err(TlogProofError::Version);
        }
        let extra = lines
            .next_if(|line| line.starts_with("extra"))
            .map_or(Ok(Vec::new()), parse_extra)?;
        let index = lines
            .next()
            .and_then(|line| line.strip_prefix("index "))
            .and_then(parse_decimal);
        Ok(Self {
            extra,
            index: index.ok_or(TlogProofError::Index)?,
            path: (1..).zip(lines).map(parse_hash).collect::<Result<_, _>>()?,
            checkpoint: checkpoint.parse().map_err(TlogProofError::Note)?,
        })
    }
}

fn parse_extra(line: &str) -> Result<Vec<u8>, TlogProofError> {
    let bytes = line
        .strip_prefix("extra ")
        .and_then(|base64| STANDARD.decode(base64).ok());
    bytes.filter(|bytes| !bytes.is_empty()).ok_or(TlogProofError::Extra)
}

fn parse_hash((number, line): (usize, &str)) -> Result<Hash, TlogProofError> {
    let hash = Hash::from_base64(line).ok().filter(|_| number <= MAX_PATH);
    hash.ok_or(TlogProofError::Path(number))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use ed25519_dalek::SigningKey;

    use super::*;
    use crate::spec::checkpoint::Checkpoint;
    use crate::spec::merkle::naive::Naive;
    use crate::spec::note::SignerKey;

    fn key() -> SignerKey {
        SignerKey::new(origin(), SigningKey::from_bytes(&[1; 32]))
    }

    fn origin() -> KeyName {
        "log.example".parse().unwrap()
    }

    fn proof(index: usize, size: usize) -> (Hash, TlogProof) {
        let tree = Naive::new(size as u64);
        let checkpoint = Checkpoint {
            origin: origin(),
            size: size as u64,
            root: tree.root(size),
        };
        let proof = TlogProof {
            extra: b"header".to_vec(),
            index: index as u64,
            path: tree.inclusion(index, size),
            checkpoint: checkpoint.sign(&[&key()]).unwrap(),
        };
        (tree.leaves[index], proof)
    }

    #[test]
    fn a_proof_is_written_read_and_verified() {
        for (index, size) in [(0, 1), (0, 2), (4, 7), (6, 7), (299, 300)] {
            let (leaf, proof) = proof(index, size);
            let read: TlogProof = proof.to_string().parse().unwrap();
            assert_eq!(read, proof);
            let opened = read.verify(&leaf, &origin(), &[key().verifier().clone()]).unwrap();
            assert_eq!(opened.checkpoint.size, size as u64);
        }
    }

    #[test]
    fn the_layout_is_that_of_the_specification() {
        let (_, mut proof) = proof(1, 2);
        let text = proof.to_string();
        let hash = proof.path[0].to_base64();
        let head = format!("c2sp.org/tlog-proof@v1\nextra aGVhZGVy\nindex 1\n{hash}\n\nlog.example\n2\n");
        assert!(text.starts_with(&head), "{text}");
        proof.extra.clear();
        assert_eq!(proof.to_string(), text.replace("extra aGVhZGVy\n", ""));
        assert_eq!(proof.to_string().parse(), Ok(proof));
    }

    #[test]
    fn another_leaf_index_path_or_key_does_not_verify() {
        let (leaf, good) = proof(4, 7);
        let keys = [key().verifier().clone()];
        let other_leaf = Naive::new(1).leaves[0];
        assert!(matches!(
            good.verify(&other_leaf, &origin(), &keys),
            Err(TlogProofError::Inclusion(_))
        ));
        for index in [5, 7] {
            let moved = TlogProof { index, ..good.clone() };
            assert!(matches!(
                moved.verify(&leaf, &origin(), &keys),
                Err(TlogProofError::Inclusion(_))
            ));
        }
        let shortened = TlogProof {
            path: good.path[1..].to_vec(),
            ..good.clone()
        };
        assert!(matches!(
            shortened.verify(&leaf, &origin(), &keys),
            Err(TlogProofError::Inclusion(_))
        ));
        assert!(matches!(
            good.verify(&leaf, &origin(), &[]),
            Err(TlogProofError::Checkpoint(_))
        ));
        let elsewhere = "other.example".parse().unwrap();
        assert!(matches!(
            good.verify(&leaf, &elsewhere, &keys),
            Err(TlogProofError::Checkpoint(_))
        ));
    }

    #[test]
    fn malformed_proofs_are_refused() {
        let (_, good) = proof(1, 2);
        let (text, hash) = (good.to_string(), good.path[0].to_base64());
        let many = format!("index 1\n{}", format!("{hash}\n").repeat(65));
        for (bad, error) in [
            (String::new(), TlogProofError::Format),
            (text.replace("\n\n", "\n"), TlogProofError::Format),
            (text.replace("@v1", "@v2"), TlogProofError::Version),
            (format!("\n{text}"), TlogProofError::Version),
            (format!(" {text}"), TlogProofError::Version),
            (text.replace("extra aGVhZGVy", "extra "), TlogProofError::Extra),
            (text.replace("extra aGVhZGVy", "extra"), TlogProofError::Extra),
            (text.replace("aGVhZGVy", "aGVhZGV"), TlogProofError::Extra),
            (
                text.replace("extra aGVhZGVy", "extra aGVhZGVy\nextra aGVhZGVy"),
                TlogProofError::Index,
            ),
            (text.replace("index 1", "index 01"), TlogProofError::Index),
            (text.replace("index 1", "index +1"), TlogProofError::Index),
            (text.replace("index 1", "index"), TlogProofError::Index),
            (text.replace("index 1\n", ""), TlogProofError::Index),
            (text.replace("index 1", "Index 1"), TlogProofError::Index),
            (text.replace("index 1\n", "index 1\nAAAA\n"), TlogProofError::Path(1)),
            (text.replace(&hash, hash.trim_end_matches('=')), TlogProofError::Path(1)),
            (text.replace("index 1\n", &many), TlogProofError::Path(65)),
            (text.replace("\n\nlog", "\r\n\nlog"), TlogProofError::Path(1)),
            (text.trim_end().to_owned(), TlogProofError::Note(NoteError::Format)),
        ] {
            assert_eq!(bad.parse::<TlogProof>(), Err(error), "{bad}");
        }
    }
}
