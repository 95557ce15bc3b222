//! The keys of signed notes: their names, ids and text forms.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::{NoteSignature, VerifiedSignature};

/// The name of a key and, equal to it, the origin of a log: by custom a URL without its scheme. Not empty, no Unicode
/// spaces, no `+`, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(String);

/// What tells a signer's keys apart: `SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]`. Too short to be a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 4]);

/// The algorithm of a key and what it signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum SignatureType {
    /// Ed25519 over the text of the note.
    Ed25519 = 0x01,
    /// Ed25519 over a time and the text of a checkpoint (c2sp.org/tlog-cosignature, `cosignature/v1`).
    Cosignature = 0x04,
}

/// A public key. Its text form is `<name>+<8 hex digits of the id>+<base64(type ‖ public key)>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    signature_type: SignatureType,
    key: VerifyingKey,
}

/// A private Ed25519 key (type 0x01) with its name. The secret is wiped when it is dropped, and never printed.
pub struct SignerKey {
    verifier: VerifierKey,
    key: SigningKey,
}

/// Why something is not a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Empty, or with a character that a key name cannot have.
    #[error("a key name is not empty and has no spaces, no + and no control characters")]
    Name,
    /// Not the canonical text form of a public key.
    #[error("a public key reads <name>+<8 lower-case hex digits>+<base64>")]
    Format,
    /// The id is not the one that name, type and public key give.
    #[error("the key id is {found}, but name and key give {expected}")]
    Id {
        /// The id that was computed.
        expected: KeyId,
        /// The id in the text.
        found: KeyId,
    },
    /// Neither Ed25519 nor an Ed25519 cosignature.
    #[error("signature type {0:#04x} is not supported")]
    Type(u8),
    /// Not a point, not canonically encoded, of small order or with a torsion component.
    #[error("the public key is not a canonical Ed25519 key of prime order")]
    PublicKey,
}

impl KeyName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = KeyError;

    fn from_str(name: &str) -> Result<Self, KeyError> {
        let is_bad = |c: char| c.is_whitespace() || c < ' ' || c == '+';
        if name.is_empty() || name.contains(is_bad) {
            Err(KeyError::Name)
        } else {
            Ok(Self(name.to_owned()))
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl KeyId {
    /// `SHA-256(name ‖ 0x0A ‖ type ‖ public key)[:4]`.
    pub fn of(name: &KeyName, signature_type: SignatureType, public_key: &[u8; 32]) -> Self {
        let input = Sha256::new()
            .chain_update(name.as_str())
            .chain_update([b'\n', signature_type as u8]);
        let hash: [u8; 32] = input.chain_update(public_key).finalize().into();
        let [a, b, c, d, ..] = hash;
        Self([a, b, c, d])
    }

    /// The four bytes, big-endian.
    pub const fn as_bytes(&self) -> &[u8; 4] {
        &self.0
    }
}

impl From<[u8; 4]> for KeyId {
    fn from(bytes: [u8; 4]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl TryFrom<u8> for SignatureType {
    type Error = KeyError;

    fn try_from(byte: u8) -> Result<Self, KeyError> {
        match byte {
            0x01 => Ok(Self::Ed25519),
            0x04 => Ok(Self::Cosignature),
            other => Err(KeyError::Type(other)),
        }
    }
}

/// A public key that means the same to every verifier: canonically encoded, of prime order.
///
/// # Errors
/// [`KeyError::PublicKey`] for every other: such keys let one signature verify here and fail there.
pub fn strict_public_key(bytes: &[u8; 32]) -> Result<VerifyingKey, KeyError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::PublicKey)?;
    let point = key.to_edwards();
    // Decoding reduces the encoded coordinate, so only encoding it again shows whether it was canonical.
    let is_canonical = point.compress().as_bytes() == bytes;
    if is_canonical && point.is_torsion_free() && !key.is_weak() {
        Ok(key)
    } else {
        Err(KeyError::PublicKey)
    }
}

impl VerifierKey {
    /// The key `public_key` of `name`.
    ///
    /// # Errors
    /// [`KeyError::PublicKey`], see [`strict_public_key`].
    pub fn new(name: KeyName, signature_type: SignatureType, public_key: &[u8; 32]) -> Result<Self, KeyError> {
        let key = strict_public_key(public_key)?;
        Ok(Self {
            id: KeyId::of(&name, signature_type, public_key),
            name,
            signature_type,
            key,
        })
    }

    /// Its name.
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Its id.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Its type.
    pub const fn signature_type(&self) -> SignatureType {
        self.signature_type
    }

    /// Its 32 bytes.
    pub fn public_key(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// A collision of ids, which takes 2^32 attempts to find.
    #[cfg(test)]
    pub(super) const fn set_id_for_test(&mut self, id: KeyId) {
        self.id = id;
    }

    /// What `signature` says about `text`, if this key made it: `None` if it did not.
    pub(super) fn verify(&self, text: &str, signature: &NoteSignature) -> Option<VerifiedSignature> {
        let timestamp = match self.signature_type {
            SignatureType::Ed25519 => self.verify_bytes(text, signature.bytes()).map(|()| None),
            SignatureType::Cosignature => self.verify_cosignature(text, signature.bytes()).map(Some),
        }?;
        Some(VerifiedSignature {
            name: self.name.clone(),
            id: self.id,
            signature_type: self.signature_type,
            timestamp,
        })
    }

    /// `u64be seconds ‖ Ed25519("cosignature/v1\ntime <seconds>\n" ‖ text)`, the seconds below 2^63. Gives the seconds.
    fn verify_cosignature(&self, text: &str, bytes: &[u8]) -> Option<u64> {
        let (seconds, signature) = bytes.split_first_chunk()?;
        let seconds = u64::from_be_bytes(*seconds);
        i64::try_from(seconds).ok()?;
        self.verify_bytes(&format!("cosignature/v1\ntime {seconds}\n{text}"), signature)?;
        Some(seconds)
    }

    fn verify_bytes(&self, message: &str, signature: &[u8]) -> Option<()> {
        let signature = Signature::from_slice(signature).ok()?;
        self.key.verify_strict(message.as_bytes(), &signature).ok()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[self.signature_type as u8], self.public_key().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, STANDARD.encode(bytes))
    }
}

impl FromStr for VerifierKey {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let (name, rest) = text.split_once('+').ok_or(KeyError::Format)?;
        let (id, key) = rest.split_once('+').ok_or(KeyError::Format)?;
        let found = parse_id(id).ok_or(KeyError::Format)?;
        let bytes = STANDARD.decode(key).map_err(|_| KeyError::Format)?;
        let (signature_type, public_key) = bytes.split_first().ok_or(KeyError::Format)?;
        let signature_type = SignatureType::try_from(*signature_type)?;
        let public_key = public_key.try_into().map_err(|_| KeyError::PublicKey)?;
        let key = Self::new(name.parse()?, signature_type, public_key)?;
        if key.id == found {
            Ok(key)
        } else {
            Err(KeyError::Id {
                expected: key.id,
                found,
            })
        }
    }
}

fn parse_id(text: &str) -> Option<KeyId> {
    let id = KeyId(u32::from_str_radix(text, 16).ok()?.to_be_bytes());
    (id.to_string() == text).then_some(id)
}

impl SignerKey {
    /// The key `key` under `name`.
    pub fn new(name: KeyName, key: SigningKey) -> Self {
        let public_key = key.verifying_key();
        let signature_type = SignatureType::Ed25519;
        let id = KeyId::of(&name, signature_type, public_key.as_bytes());
        Self {
            verifier: VerifierKey {
                name,
                id,
                signature_type,
                key: public_key,
            },
            key,
        }
    }

    /// The public half.
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Its signature of `text`. Whether that may be the text of a note is for [`Note::sign`](super::Note::sign) to
    /// check.
    pub(super) fn sign(&self, text: &str) -> NoteSignature {
        let signature = self.key.sign(text.as_bytes()).to_vec();
        NoteSignature {
            name: self.verifier.name.clone(),
            id: self.verifier.id,
            signature,
        }
    }
}

impl fmt::Debug for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerKey")
            .field("verifier", &self.verifier.to_string())
            .finish_non_exhaustive()
    }
}
