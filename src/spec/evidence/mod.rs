//! Single events with all that proves them: receipts, certificates and proofs that are checked alone
//! (docs/spec/09-evidence.md).
//!
//! ```text
//! evidence = header · signature · bodies with salts · inclusion proof under a checkpoint that stands beside it
//! anchors  = the evidence of `ledger.created`, which names the keys of everything else
//! ```
//!
//! What holds such an object together is its one checkpoint: every event in it, anchors too, has an inclusion proof for
//! exactly that tree, and the checkpoint key that the anchor announces has signed it. So an object with anchors is at least
//! consistent with itself, and a single pinned key or checkpoint turns that into proof. Without anchors only what the
//! pinned keys cover is checked, and the report is incomplete.
//!
//! The encoding is the JSON data model: as text in receipts, as deterministic CBOR in certificates. Bytes are base64 there,
//! hashes hex.

mod proof;
mod receipt;
mod review;

#[cfg(test)]
mod tests;

pub use proof::{is_proof, verify_proof};
pub use receipt::{Receipt, ReceiptEvent, ReceiptRange, Salts, SealedPlace, is_receipt, verify_receipt};

pub(super) use review::Review;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::hash::Hash;
use super::verify::{Record, RecordBody};

/// Bytes, written as canonical, padded standard base64.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        STANDARD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

/// A salt: 32 bytes, written as base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u8; 32]);

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Base64(bytes) = Base64::deserialize(deserializer)?;
        bytes
            .try_into()
            .map(Self)
            .map_err(|_| serde::de::Error::custom("a salt is 32 bytes"))
    }
}

/// An inclusion proof (RFC 9162, section 2.1.3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = EvidenceInclusion))]
pub struct Inclusion {
    /// The leaf index.
    pub leaf_index: u64,
    /// Leaves in the tree that it is proved in.
    pub tree_size: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
}

/// A body of an event in evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct EvidenceBody {
    /// Its place in the header's list.
    pub ordinal: u16,
    /// The salt of its commitment.
    pub salt: Salt,
    /// The committed bytes.
    pub bytes: Base64,
}

/// An event with what proves it under a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct Evidence {
    /// The header's bytes.
    pub header: Base64,
    /// The detached COSE_Sign1 over them.
    pub signature: Base64,
    /// The bodies, ordinals ascending.
    pub bodies: Vec<EvidenceBody>,
    /// Where it is in the tree.
    pub inclusion: Inclusion,
}

impl Evidence {
    /// The evidence of a stored event.
    pub fn new(record: &Record, inclusion: Inclusion) -> Self {
        let body = |body: &RecordBody| EvidenceBody {
            ordinal: body.ordinal,
            salt: Salt(body.salt),
            bytes: Base64(body.bytes.clone()),
        };
        Self {
            header: Base64(record.header.clone()),
            signature: Base64(record.signature.clone()),
            bodies: record.bodies.iter().map(body).collect(),
            inclusion,
        }
    }

    /// The event as a verification is fed with it.
    pub fn record(&self) -> Record {
        let body = |body: &EvidenceBody| RecordBody {
            ordinal: body.ordinal,
            salt: body.salt.0,
            bytes: body.bytes.0.clone(),
        };
        Record {
            index: self.inclusion.leaf_index,
            header: self.header.0.clone(),
            signature: self.signature.0.clone(),
            bodies: self.bodies.iter().map(body).collect(),
        }
    }
}
