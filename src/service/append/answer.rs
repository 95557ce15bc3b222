//! The answer to an append: signed receipts with inclusion proofs, so that a caller can check its own content offline.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::super::access::internal;
use super::super::{Error, Ledger};
use super::prepare::Sketch;
use crate::keystore::KeyRef;
use crate::sequencer::{Appended, Placed, View};
use crate::spec::evidence::Evidence;
use crate::spec::hash::Hash;
use crate::spec::ids::{Category, Handle, StreamName, Timestamp};

/// Which proof comes with the receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
#[schema(as = ProofForm)]
pub enum Proof {
    /// An inclusion proof for each event.
    #[default]
    Each,
    /// One proof for the whole range of the batch.
    Range,
    /// None.
    None,
}

/// The answer to an append, and to its exact repeat.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AppendAnswer {
    /// One receipt an event, in the order of the request.
    pub events: Vec<ReceiptEvent>,
    /// With `proof=range`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub range: Option<RangeProof>,
    /// The signed note that every proof leads to.
    pub checkpoint: String,
    /// The key events that the signatures rest on, so that the receipt can be checked alone. Only with
    /// `GET /events/{event}/receipt`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Evidence>,
    /// Whether the events were there already.
    #[serde(skip)]
    pub repeated: bool,
}

/// An event's receipt.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ReceiptEvent {
    /// Event id.
    pub id: Uuid,
    /// Leaf index.
    pub index: u64,
    /// Stream.
    pub stream: StreamName,
    /// Version in the stream.
    pub stream_version: u64,
    /// When it was sequenced.
    pub recorded_at: Timestamp,
    /// Leaf hash.
    pub leaf_hash: Hash,
    /// The event key.
    pub key_id: Hash,
    /// The header's bytes.
    #[schema(value_type = crate::spec::evidence::Base64)]
    pub header: Base64<Vec<u8>>,
    /// COSE_Sign1 with detached payload.
    #[schema(value_type = crate::spec::evidence::Base64)]
    pub signature: Base64<Vec<u8>>,
    /// The meta body.
    #[schema(value_type = crate::spec::evidence::Base64)]
    pub meta: Base64<Vec<u8>>,
    /// What the commitments to meta and data were made with.
    pub salts: Salts,
    /// The sealed blocks.
    pub personal: Vec<SealedRef>,
    /// With `proof=each`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Inclusion>,
}

/// Salts of the public bodies.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Salts {
    /// Of `meta`.
    #[schema(value_type = crate::spec::evidence::Salt)]
    pub meta: Base64<[u8; 32]>,
    /// Of `data`, if the event has any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::spec::evidence::Salt>)]
    pub data: Option<Base64<[u8; 32]>>,
}

/// Bytes that are written as base64, from a buffer on the stack where they fit: a receipt has five of them.
#[derive(Debug)]
pub struct Base64<T>(pub T);

impl<T: AsRef<[u8]>> Serialize for Base64<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 1024];
        let short = STANDARD
            .encode_slice(&self.0, &mut text)
            .ok()
            .and_then(|length| text.get(..length));
        match short.and_then(|text| std::str::from_utf8(text).ok()) {
            Some(text) => serializer.serialize_str(text),
            None => serializer.serialize_str(&STANDARD.encode(&self.0)),
        }
    }
}

/// A sealed block, by place and key name. The names of the key are absent if the block was removed since.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SealedRef {
    /// Position in the header's list of bodies.
    pub ordinal: u16,
    /// Data subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// Category.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Generation of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

/// An inclusion proof (RFC 9162 §2.1.3).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Inclusion {
    /// Leaf index.
    pub leaf_index: u64,
    /// Size of the tree that it is proved in.
    pub tree_size: u64,
    /// From the leaf's sibling to the root's child.
    pub hashes: Vec<Hash>,
}

/// A proof for a run of leaves (docs/spec/04-tree.md).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct RangeProof {
    /// First leaf.
    pub first: u64,
    /// Number of leaves.
    pub count: u64,
    /// Size of the tree.
    pub tree_size: u64,
    /// The subtrees beside the range, left to right.
    pub hashes: Vec<Hash>,
}

impl AppendAnswer {
    /// About how many bytes it takes as JSON, rather more than fewer.
    pub fn json_size(&self) -> usize {
        let texts = |event: &ReceiptEvent| {
            let bytes = event.header.0.len() + event.signature.0.len() + event.meta.0.len();
            let hashes = event.inclusion.as_ref().map_or(0, |inclusion| inclusion.hashes.len());
            700 + event.stream.as_str().len() + bytes * 4 / 3 + 140 * event.personal.len() + 68 * hashes
        };
        let anchors = 4096 * self.anchors.len();
        8192 + anchors + self.checkpoint.len() + self.events.iter().map(texts).sum::<usize>()
    }

    /// The answer to a first append: the proofs come from the writer's own edge of the tree.
    pub(super) fn first(
        appended: Appended,
        sketches: Vec<Sketch>,
        proof: Proof,
        ledger: &Arc<Ledger>,
    ) -> Result<Self, Error> {
        let Appended { events, view } = appended;
        let key_id = ledger.event_key.id();
        let event = |(placed, sketch): (Placed, Sketch)| -> Result<ReceiptEvent, Error> {
            let inclusion = match proof {
                Proof::Each => Some(Inclusion {
                    leaf_index: placed.index,
                    tree_size: view.size(),
                    hashes: view.edge.inclusion_proof(placed.index).map_err(internal)?,
                }),
                _ => None,
            };
            Ok(ReceiptEvent::new(placed, sketch, key_id, inclusion))
        };
        let events = events
            .into_iter()
            .zip(sketches)
            .map(event)
            .collect::<Result<Vec<_>, _>>()?;
        let range = match proof {
            Proof::Range => Some(range(&view, &events)?),
            _ => None,
        };
        Ok(Self {
            events,
            range,
            checkpoint: view.checkpoint.clone(),
            anchors: Vec::new(),
            repeated: false,
        })
    }
}

fn range(view: &View, events: &[ReceiptEvent]) -> Result<RangeProof, Error> {
    let first = events.first().map_or(0, |event| event.index);
    let count = events.len() as u64;
    let hashes = view.edge.range_proof(first, count).map_err(internal)?;
    Ok(RangeProof {
        first,
        count,
        tree_size: view.size(),
        hashes,
    })
}

impl ReceiptEvent {
    pub(super) fn new(placed: Placed, sketch: Sketch, key_id: Hash, inclusion: Option<Inclusion>) -> Self {
        let block = |(ordinal, key): (u16, Option<KeyRef>)| SealedRef {
            ordinal,
            handle: key.as_ref().map(|key| key.handle),
            generation: key.as_ref().map(|key| key.generation),
            category: key.map(|key| key.category),
        };
        Self {
            id: placed.id,
            index: placed.index,
            stream: sketch.stream,
            stream_version: placed.stream_version,
            recorded_at: placed.recorded_at,
            leaf_hash: placed.leaf_hash,
            key_id,
            header: Base64(placed.header),
            signature: Base64(placed.signature),
            meta: Base64(sketch.meta),
            salts: Salts {
                meta: Base64(sketch.meta_salt),
                data: sketch.data_salt.map(Base64),
            },
            personal: sketch.personal.into_iter().map(block).collect(),
            inclusion,
        }
    }
}
