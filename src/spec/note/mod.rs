//! Signed notes (c2sp.org/signed-note): a text and signatures under it.
//!
//! ```text
//! <text, ending in a newline>
//! <empty line>
//! — <key name> base64(4-byte key id ‖ signature)
//! ```
//!
//! What is signed is the text with its final newline and without the empty line. A [`Note`] is read strictly, so that
//! it is written again byte for byte; it is not verified. [`open`] verifies. Signature types: Ed25519 (0x01), and
//! timestamped Ed25519 cosignatures (0x04, c2sp.org/tlog-cosignature), which are verified but not made here. Others are
//! ignored as unknown keys are.

mod key;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

pub use key::{KeyError, KeyId, KeyName, SignatureType, SignerKey, VerifierKey, strict_public_key};

/// Most signatures in a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 100;

/// Most bytes of a note.
pub const MAX_NOTE_BYTES: usize = 1_000_000;

/// A text and signatures that nobody verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

/// One signature line. Its text form is the line without the newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    name: KeyName,
    id: KeyId,
    signature: Vec<u8>,
}

/// A signature that a known key made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSignature {
    /// The key's name.
    pub name: KeyName,
    /// The key's id.
    pub id: KeyId,
    /// The key's type.
    pub signature_type: SignatureType,
    /// POSIX seconds at which a cosigner saw the text.
    pub timestamp: Option<u64>,
}

/// A text that at least one known key signed, and those keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenNote {
    /// The signed text, ending in a newline.
    pub text: String,
    /// At least one; one for each known key that signed, in the order of the note.
    pub signatures: Vec<VerifiedSignature>,
}

/// What is wrong with a note.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoteError {
    /// The text does not end in a newline or has control characters.
    #[error("the text of a note ends in a newline and has no other control characters")]
    Text,
    /// There is no empty line with signature lines after it.
    #[error("a note is a text, an empty line and signature lines, each ending in a newline")]
    Format,
    /// A signature line is malformed.
    #[error("signature line {0} is malformed")]
    Line(usize),
    /// It has too many bytes or signatures.
    #[error("a note has at most {MAX_NOTE_BYTES} bytes and {MAX_SIGNATURES} signatures")]
    TooLarge,
    /// A known key did not make the signature that carries its name and id.
    #[error("the signature by {name} ({id}) is false")]
    BadSignature {
        /// The key's name.
        name: KeyName,
        /// The key's id.
        id: KeyId,
    },
    /// Two different known keys share name and id.
    #[error("more than one known key is {name} ({id})")]
    AmbiguousKey {
        /// The keys' name.
        name: KeyName,
        /// The keys' id.
        id: KeyId,
    },
    /// No known key signed it.
    #[error("no known key signed the note")]
    Unsigned,
}

/// Reads a note and verifies it against the keys that the caller trusts.
///
/// Signatures by unknown keys are ignored: any other name, or another id. Every signature by a known key must verify,
/// else the whole note is rejected; and there must be one.
///
/// # Errors
/// [`NoteError`] says what is wrong.
pub fn open(note: &str, keys: &[VerifierKey]) -> Result<OpenNote, NoteError> {
    let note: Note = note.parse()?;
    let signatures = note.verify(keys)?;
    Ok(OpenNote {
        text: note.text,
        signatures,
    })
}

impl Note {
    /// `text` signed by `keys`, in their order.
    ///
    /// # Errors
    /// [`NoteError::Text`], and [`NoteError::Unsigned`] without a key.
    pub fn sign(text: &str, keys: &[&SignerKey]) -> Result<Self, NoteError> {
        check_text(text)?;
        let mut note = Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        };
        for key in keys {
            note.add(key.sign(text))?;
        }
        if note.signatures.is_empty() {
            Err(NoteError::Unsigned)
        } else {
            Ok(note)
        }
    }

    /// Adds a signature, such as a witness's, below the others. It is not verified.
    ///
    /// # Errors
    /// [`NoteError::TooLarge`]; the note is unchanged then.
    pub fn add(&mut self, signature: NoteSignature) -> Result<(), NoteError> {
        self.signatures.push(signature);
        if self.signatures.len() <= MAX_SIGNATURES && self.to_string().len() <= MAX_NOTE_BYTES {
            return Ok(());
        }
        self.signatures.pop();
        Err(NoteError::TooLarge)
    }

    /// The text, ending in a newline. Nobody verified it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in the order of the note. Nobody verified them.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Which of `keys` signed, by the rules of [`open`].
    ///
    /// # Errors
    /// [`NoteError::BadSignature`], [`NoteError::AmbiguousKey`] and [`NoteError::Unsigned`].
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<Vec<VerifiedSignature>, NoteError> {
        let mut verified: Vec<VerifiedSignature> = Vec::new();
        for signature in &self.signatures {
            let Some(key) = signature.known_among(keys)? else {
                continue;
            };
            let found = key.verify(&self.text, signature).ok_or_else(|| signature.bad())?;
            let is_new = verified
                .iter()
                .all(|earlier| (&earlier.name, earlier.id) != (&found.name, found.id));
            verified.extend(is_new.then_some(found));
        }
        if verified.is_empty() {
            Err(NoteError::Unsigned)
        } else {
            Ok(verified)
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures
            .iter()
            .try_for_each(|signature| writeln!(f, "{signature}"))
    }
}

impl FromStr for Note {
    type Err = NoteError;

    fn from_str(note: &str) -> Result<Self, NoteError> {
        if note.len() > MAX_NOTE_BYTES {
            return Err(NoteError::TooLarge);
        }
        // The last empty line separates: the text may have empty lines of its own.
        let (text, lines) = note.rsplit_once("\n\n").ok_or(NoteError::Format)?;
        let lines = lines.strip_suffix('\n').ok_or(NoteError::Format)?;
        let text = format!("{text}\n");
        check_text(&text)?;
        if lines.split('\n').nth(MAX_SIGNATURES).is_some() {
            return Err(NoteError::TooLarge);
        }
        let parse = |(number, line): (usize, &str)| line.parse().map_err(|_| NoteError::Line(number));
        let signatures = (1..).zip(lines.split('\n')).map(parse).collect::<Result<_, _>>()?;
        Ok(Self { text, signatures })
    }
}

impl NoteSignature {
    /// The name of the key that is said to have signed.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id of the key that is said to have signed.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The bytes after the key id; for a cosignature they start with its timestamp.
    pub fn bytes(&self) -> &[u8] {
        &self.signature
    }

    fn known_among<'a>(&self, keys: &'a [VerifierKey]) -> Result<Option<&'a VerifierKey>, NoteError> {
        let mut known = keys
            .iter()
            .filter(|key| *key.name() == self.name && key.id() == self.id);
        let first = known.next();
        if known.all(|other| Some(other) == first) {
            return Ok(first);
        }
        Err(NoteError::AmbiguousKey {
            name: self.name.clone(),
            id: self.id,
        })
    }

    fn bad(&self) -> NoteError {
        NoteError::BadSignature {
            name: self.name.clone(),
            id: self.id,
        }
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [self.id.as_bytes(), self.signature.as_slice()].concat();
        write!(f, "— {} {}", self.name, STANDARD.encode(bytes))
    }
}

impl FromStr for NoteSignature {
    type Err = NoteError;

    fn from_str(line: &str) -> Result<Self, NoteError> {
        parse_signature(line).ok_or(NoteError::Line(1))
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, base64) = line.strip_prefix("— ")?.split_once(' ')?;
    let bytes = STANDARD.decode(base64).ok()?;
    let (id, signature) = bytes.split_first_chunk()?;
    let name = name.parse().ok()?;
    (!signature.is_empty()).then(|| NoteSignature {
        name,
        id: KeyId::from(*id),
        signature: signature.to_vec(),
    })
}

fn check_text(text: &str) -> Result<(), NoteError> {
    let is_clean = text.bytes().all(|byte| byte >= 0x20 || byte == b'\n');
    if is_clean && text.ends_with('\n') {
        Ok(())
    } else {
        Err(NoteError::Text)
    }
}

#[cfg(test)]
mod tests;
