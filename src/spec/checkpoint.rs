//! Checkpoints (c2sp.org/tlog-checkpoint): a log's signed statement of its size and root hash.
//!
//! ```text
//! <origin>
//! <size in decimal, no leading zeros>
//! <base64 of the root hash>
//! ```
//!
//! It is the text of a signed note ([`super::note`]) under a key that has the origin as its name. Exactly three lines:
//! extension lines, which the specification permits but advises against, are refused, since nothing here could audit
//! them.
//! IMPORTANT: a log never signs two roots for one size. Nothing pure can see to that: the sequencer does.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::hash::{Hash, empty_root};
use super::note::{
    KeyName, Note, NoteError, SignatureType, SignerKey, VerifiedSignature, VerifierKey, open as open_note,
};

/// A log's size and root hash. Its text form is that of the note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log; the name of its checkpoint keys.
    pub origin: KeyName,
    /// Leaves in the tree.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

/// A checkpoint that its log signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenCheckpoint {
    /// What was signed.
    pub checkpoint: Checkpoint,
    /// The signatures by known keys: at least one by the log, and those of witnesses.
    pub signatures: Vec<VerifiedSignature>,
}

/// What is wrong with a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The note around it is malformed, or a signature is false or missing.
    #[error("the signed note is not acceptable")]
    Note(#[from] NoteError),
    /// Not three lines, each with a newline.
    #[error("a checkpoint has exactly three lines: origin, size and root hash")]
    Lines,
    /// The first line cannot be the name of a key.
    #[error("the origin is not a key name")]
    Origin,
    /// The size is not a canonical decimal number below 2^64.
    #[error("the size is not a decimal number without leading zeros")]
    Size,
    /// The root hash is not the canonical base64 of 32 bytes, or not that of the empty tree where the size is 0.
    #[error("the root hash is malformed or impossible")]
    Root,
    /// It is of another log.
    #[error("the checkpoint is of {found}, not of {expected}")]
    OtherOrigin {
        /// The log that was asked for.
        expected: KeyName,
        /// The log that it names.
        found: KeyName,
    },
    /// Known keys signed it, but none of the log's own.
    #[error("the log itself did not sign the checkpoint")]
    NotByLog,
    /// A key cannot sign for a log of another name.
    #[error("the key of {0} cannot sign for another origin")]
    Signer(KeyName),
}

impl Checkpoint {
    /// The note, signed by keys of the log: more than one while keys overlap.
    ///
    /// # Errors
    /// [`CheckpointError::Signer`] for a key of another name, [`CheckpointError::Root`] for a false empty tree,
    /// [`CheckpointError::Note`] without a key.
    pub fn sign(&self, keys: &[&SignerKey]) -> Result<Note, CheckpointError> {
        self.check_root()?;
        if let Some(stranger) = keys
            .iter()
            .map(|key| key.verifier().name())
            .find(|name| **name != self.origin)
        {
            return Err(CheckpointError::Signer(stranger.clone()));
        }
        Ok(Note::sign(&self.to_string(), keys)?)
    }

    fn check_root(&self) -> Result<(), CheckpointError> {
        if self.size == 0 && self.root != empty_root() {
            Err(CheckpointError::Root)
        } else {
            Ok(())
        }
    }
}

/// Reads the checkpoint of `origin` and verifies its signatures against `keys`, those of the log and of known
/// witnesses, by the rules of [`super::note::open`]. A signature of type Ed25519 by a key named as the origin must be
/// among them.
///
/// # Errors
/// [`CheckpointError`] says what is wrong.
pub fn open(note: &str, origin: &KeyName, keys: &[VerifierKey]) -> Result<OpenCheckpoint, CheckpointError> {
    let note = open_note(note, keys)?;
    let checkpoint: Checkpoint = note.text.parse()?;
    if checkpoint.origin != *origin {
        return Err(CheckpointError::OtherOrigin {
            expected: origin.clone(),
            found: checkpoint.origin,
        });
    }
    let is_by_log = |by: &VerifiedSignature| by.signature_type == SignatureType::Ed25519 && by.name == *origin;
    if !note.signatures.iter().any(is_by_log) {
        return Err(CheckpointError::NotByLog);
    }
    Ok(OpenCheckpoint {
        checkpoint,
        signatures: note.signatures,
    })
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, self.root.to_base64())
    }
}

impl FromStr for Checkpoint {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let mut lines = text.strip_suffix('\n').ok_or(CheckpointError::Lines)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(CheckpointError::Lines);
        };
        let checkpoint = Self {
            origin: origin.parse().map_err(|_| CheckpointError::Origin)?,
            size: parse_decimal(size).ok_or(CheckpointError::Size)?,
            root: Hash::from_base64(root).map_err(|_| CheckpointError::Root)?,
        };
        checkpoint.check_root()?;
        Ok(checkpoint)
    }
}

/// A number as the C2SP formats write it: ASCII decimal, no sign, no leading zeros.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::spec::hash::leaf_hash;

    const EMPTY: &str = "log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    fn signer(of: &str, seed: u8) -> SignerKey {
        SignerKey::new(name(of), SigningKey::from_bytes(&[seed; 32]))
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            origin: name("log.example"),
            size: 7,
            root: leaf_hash(b"x"),
        }
    }

    #[test]
    fn a_signed_checkpoint_opens() {
        let (old, new) = (signer("log.example", 1), signer("log.example", 2));
        let note = checkpoint().sign(&[&old, &new]).unwrap().to_string();
        for keys in [
            vec![old.verifier().clone()],
            vec![new.verifier().clone(), old.verifier().clone()],
        ] {
            let opened = open(&note, &name("log.example"), &keys).unwrap();
            assert_eq!(opened.checkpoint, checkpoint());
            assert_eq!(opened.signatures.len(), keys.len());
        }
    }

    #[test]
    fn the_empty_log_has_the_empty_root() {
        let empty: Checkpoint = EMPTY.parse().unwrap();
        assert_eq!((empty.size, empty.root), (0, empty_root()));
        assert_eq!(empty.to_string(), EMPTY);
        let false_root = Checkpoint {
            root: leaf_hash(b"x"),
            ..empty
        };
        assert_eq!(false_root.to_string().parse::<Checkpoint>(), Err(CheckpointError::Root));
        assert_eq!(
            false_root.sign(&[&signer("log.example", 1)]),
            Err(CheckpointError::Root)
        );
    }

    #[test]
    fn a_key_of_another_name_does_not_sign() {
        let result = checkpoint().sign(&[&signer("log.example", 1), &signer("other.example", 1)]);
        assert_eq!(result, Err(CheckpointError::Signer(name("other.example"))));
        assert_eq!(checkpoint().sign(&[]), Err(CheckpointError::Note(NoteError::Unsigned)));
    }

    #[test]
    fn a_checkpoint_of_another_log_is_refused() {
        let key = signer("log.example", 1);
        let note = checkpoint().sign(&[&key]).unwrap().to_string();
        let result = open(&note, &name("other.example"), &[key.verifier().clone()]);
        assert!(matches!(result, Err(CheckpointError::OtherOrigin { .. })));
    }

    #[test]
    fn a_checkpoint_that_only_a_stranger_signed_is_refused() {
        let stranger = signer("witness.example", 3);
        let note = Note::sign(&checkpoint().to_string(), &[&stranger]).unwrap().to_string();
        let result = open(&note, &name("log.example"), &[stranger.verifier().clone()]);
        assert_eq!(result, Err(CheckpointError::NotByLog));
    }

    #[test]
    fn malformed_checkpoints_are_refused() {
        let good = checkpoint().to_string();
        let root = checkpoint().root.to_base64();
        for (text, error) in [
            (String::new(), CheckpointError::Lines),
            ("log.example\n7\n".into(), CheckpointError::Lines),
            (good.trim_end().into(), CheckpointError::Lines),
            (format!("{good}\n"), CheckpointError::Lines),
            (format!("{good}extension\n"), CheckpointError::Lines),
            (format!("\n{good}"), CheckpointError::Lines),
            (format!("\n7\n{root}\n"), CheckpointError::Origin),
            (format!("log example\n7\n{root}\n"), CheckpointError::Origin),
            (format!("log.example\n07\n{root}\n"), CheckpointError::Size),
            (format!("log.example\n+7\n{root}\n"), CheckpointError::Size),
            (format!("log.example\n-7\n{root}\n"), CheckpointError::Size),
            (format!("log.example\n7 \n{root}\n"), CheckpointError::Size),
            (format!("log.example\n\n{root}\n"), CheckpointError::Size),
            (
                format!("log.example\n18446744073709551616\n{root}\n"),
                CheckpointError::Size,
            ),
            (
                format!("log.example\n7\n{}\n", root.trim_end_matches('=')),
                CheckpointError::Root,
            ),
            (format!("log.example\n7\n{root}\r\n"), CheckpointError::Root),
            ("log.example\n7\nAAAA\n".into(), CheckpointError::Root),
        ] {
            assert_eq!(text.parse::<Checkpoint>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn an_extension_line_is_refused_even_if_the_log_signed_it() {
        let key = signer("log.example", 1);
        let note = Note::sign(&format!("{}extension\n", checkpoint()), &[&key])
            .unwrap()
            .to_string();
        let result = open(&note, &name("log.example"), &[key.verifier().clone()]);
        assert_eq!(result, Err(CheckpointError::Lines));
    }

    proptest! {
        #[test]
        fn any_checkpoint_is_read_back(size in 1..=u64::MAX, root: [u8; 32]) {
            let checkpoint = Checkpoint { origin: name("log.example/a"), size, root: root.into() };
            prop_assert_eq!(checkpoint.to_string().parse(), Ok(checkpoint));
        }
    }
}
