//! SHA-256 values and the three ways in which this ledger makes them (RFC 6962 §2.1, RFC 9162 §2.1.1).
//!
//! - leaf: `SHA-256(0x00 ‖ data)`, also the link of the event chain;
//! - interior node: `SHA-256(0x01 ‖ left ‖ right)`;
//! - commitment to a body: `SHA-256("oubliette/v1/<kind>\0" ‖ salt ‖ u64be length ‖ bytes)`.
//!
//! The first bytes `0x00`, `0x01` and `o` keep the three apart. A hash is written as 64 lower-case hex digits
//! everywhere but in the C2SP formats, which use base64: both readers refuse every other spelling.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash([u8; Hash::LEN]);

/// The text or the bytes are not a hash in its one accepted spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseHashError {
    /// Not 64 lower-case hex digits.
    #[error("a hash is 64 lower-case hex digits")]
    Hex,
    /// Not the canonical, padded standard base64 of 32 bytes.
    #[error("a hash is the canonical base64 of 32 bytes")]
    Base64,
    /// Not 32 bytes.
    #[error("a hash is 32 bytes, not {0}")]
    Length(usize),
}

impl Hash {
    /// Bytes in a hash.
    pub const LEN: usize = 32;

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// Standard base64 with padding, as the C2SP formats write it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// Reads what [`Hash::to_base64`] writes.
    ///
    /// # Errors
    /// [`ParseHashError::Base64`] for every other spelling, such as missing padding or set trailing bits.
    pub fn from_base64(text: &str) -> Result<Self, ParseHashError> {
        let bytes = STANDARD.decode(text).map_err(|_| ParseHashError::Base64)?;
        Self::try_from(bytes.as_slice()).map_err(|_| ParseHashError::Base64)
    }
}

impl From<[u8; Hash::LEN]> for Hash {
    fn from(bytes: [u8; Hash::LEN]) -> Self {
        Self(bytes)
    }
}

impl TryFrom<&[u8]> for Hash {
    type Error = ParseHashError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        let array = bytes.try_into().map_err(|_| ParseHashError::Length(bytes.len()))?;
        Ok(Self(array))
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 2 * Self::LEN];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(std::str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hash({self})")
    }
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseHashError::Hex);
        }
        let mut bytes = [0; Self::LEN];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseHashError::Hex)?;
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut digits = [0; 2 * Self::LEN];
        hex::encode_to_slice(self.0, &mut digits).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(std::str::from_utf8(&digits).map_err(serde::ser::Error::custom)?)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// `SHA-256(0x00 ‖ data)`: the hash of a leaf (RFC 6962 §2.1) and the link of the event chain.
pub fn leaf_hash(data: &[u8]) -> Hash {
    finish(Sha256::new().chain_update([0x00]).chain_update(data))
}

/// `SHA-256(0x01 ‖ left ‖ right)`: the hash of an interior node (RFC 6962 §2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    finish(
        Sha256::new()
            .chain_update([0x01])
            .chain_update(left.0)
            .chain_update(right.0),
    )
}

/// `SHA-256("")`: the root of the tree without leaves (RFC 6962 §2.1).
pub fn empty_root() -> Hash {
    finish(Sha256::new())
}

/// `SHA-256("oubliette/v1/<kind>\0" ‖ salt ‖ u64be length ‖ bytes)`: a commitment that hides `bytes` while `salt` is
/// secret and binds them once it is shown.
///
/// `kind` names the sort of body and holds no NUL, so that no two kinds share a prefix. The salt is 32 fresh random
/// bytes for each body; it lives with the body and dies with it.
pub fn commitment(kind: &str, salt: &[u8; 32], bytes: &[u8]) -> Hash {
    let length = bytes.len() as u64;
    let domain = Sha256::new()
        .chain_update("oubliette/v1/")
        .chain_update(kind)
        .chain_update([0]);
    finish(
        domain
            .chain_update(salt)
            .chain_update(length.to_be_bytes())
            .chain_update(bytes),
    )
}

fn finish(hasher: Sha256) -> Hash {
    Hash(hasher.finalize().into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    const EMPTY_LEAF: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";

    #[test]
    fn the_empty_tree_and_the_empty_leaf_have_their_public_values() {
        assert_eq!(empty_root().to_string(), EMPTY);
        assert_eq!(leaf_hash(b"").to_string(), EMPTY_LEAF);
    }

    #[test]
    fn two_leaves_hash_to_the_public_root() {
        let root = node_hash(&leaf_hash(b""), &leaf_hash(&[0]));
        assert_eq!(
            root.to_string(),
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
        );
    }

    #[test]
    fn every_spelling_of_a_hash_is_read_back() {
        let hash = leaf_hash(b"x");
        assert_eq!(hash.to_string().parse(), Ok(hash));
        assert_eq!(Hash::from_base64(&hash.to_base64()), Ok(hash));
        assert_eq!(Hash::try_from(hash.as_ref()), Ok(hash));
        let json = serde_json::to_string(&hash).unwrap();
        assert_eq!(json, format!("\"{hash}\""));
        assert_eq!(serde_json::from_str::<Hash>(&json).unwrap(), hash);
    }

    #[test]
    fn other_spellings_of_hex_are_refused() {
        for text in [
            "",
            "e3",
            &EMPTY.to_uppercase(),
            &format!("{EMPTY}00"),
            &format!(" {EMPTY}"),
            &EMPTY.replace('e', "g"),
        ] {
            assert_eq!(text.parse::<Hash>(), Err(ParseHashError::Hex), "{text}");
        }
        assert!(serde_json::from_str::<Hash>("\"E3\"").is_err());
        assert!(serde_json::from_str::<Hash>("7").is_err());
    }

    #[test]
    fn other_spellings_of_base64_are_refused() {
        let good = empty_root().to_base64();
        assert_eq!(good, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let set_trailing_bits = good.replace("FU=", "FV=");
        for text in [
            "",
            good.trim_end_matches('='),
            &set_trailing_bits,
            &format!("{good}\n"),
            &good.replace('+', "-"),
            "AAAA",
        ] {
            assert_eq!(Hash::from_base64(text), Err(ParseHashError::Base64), "{text}");
        }
    }

    #[test]
    fn bytes_of_another_length_are_no_hash() {
        assert_eq!(Hash::try_from(&[0; 31][..]), Err(ParseHashError::Length(31)));
    }

    #[test]
    fn a_commitment_depends_on_kind_salt_and_bytes() {
        let base = commitment("data", &[7; 32], b"abc");
        assert_eq!(base, commitment("data", &[7; 32], b"abc"));
        for other in [
            commitment("meta", &[7; 32], b"abc"),
            commitment("data", &[8; 32], b"abc"),
            commitment("data", &[7; 32], b"abd"),
            commitment("data", &[7; 32], b"abc\0"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_commitment_is_the_formula_of_the_specification() {
        let mut input = b"oubliette/v1/data\0".to_vec();
        input.extend([7; 32]);
        input.extend([0, 0, 0, 0, 0, 0, 0, 3]);
        input.extend(b"abc");
        let expected: [u8; 32] = Sha256::digest(&input).into();
        assert_eq!(commitment("data", &[7; 32], b"abc"), Hash::from(expected));
    }
}
