//! Receipts: the answer to an append, checked without the server.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{Base64, Evidence, Inclusion, Review, Salt};
use crate::spec::event::{BodyKind, Header};
use crate::spec::hash::{Hash, commitment};
use crate::spec::ids::{Category, Handle, StreamName, Timestamp};
use crate::spec::json;
use crate::spec::merkle::verify_range;
use crate::spec::report::{Finding, FindingCode, Findings, Object, Report, TrustState, Verdict};
use crate::spec::signature;
use crate::spec::verify::{Examined, Record, RecordBody, Trust};

/// The answer to an append.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// One for each event, in the order of the request.
    pub events: Vec<ReceiptEvent>,
    /// One proof for all events, if it was asked for instead of one for each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ReceiptRange>,
    /// The signed note that every proof leads to.
    pub checkpoint: String,
    /// The key events that it needs to be checked alone: `ledger.created` first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub anchors: Vec<Evidence>,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// What a receipt says of one event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptEvent {
    /// The event id.
    pub id: Uuid,
    /// The leaf index.
    pub index: u64,
    /// The stream.
    pub stream: StreamName,
    /// The version in the stream.
    pub stream_version: u64,
    /// When it was sequenced.
    pub recorded_at: Timestamp,
    /// The leaf hash.
    pub leaf_hash: Hash,
    /// The event key.
    pub key_id: Hash,
    /// The header's bytes.
    pub header: Base64,
    /// The detached COSE_Sign1 over them.
    pub signature: Base64,
    /// The body `meta`.
    pub meta: Base64,
    /// The salts of the public bodies.
    pub salts: Salts,
    /// The sealed blocks.
    #[serde(default)]
    pub personal: Vec<SealedPlace>,
    /// The proof for this event alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inclusion: Option<Inclusion>,
    /// Fields of a newer version.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// The salts of the public bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Salts {
    /// Of `meta`.
    pub meta: Salt,
    /// Of `data`, if the event has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Salt>,
}

/// A sealed block, by place and key. The names of the key are absent if the block was removed since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedPlace {
    /// Its place in the header's list.
    pub ordinal: u16,
    /// The data subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
    /// The category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// The generation of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

/// A proof for a run of leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRange {
    /// The first leaf index.
    pub first: u64,
    /// Leaves in the run.
    pub count: u64,
    /// Leaves in the tree that it is proved in.
    pub tree_size: u64,
    /// The subtrees beside the run, from left to right.
    pub hashes: Vec<Hash>,
}

/// Whether a file looks like a receipt, be it a damaged one: JSON that has two of the three names of its parts.
pub fn is_receipt(file: &[u8]) -> bool {
    let text = String::from_utf8_lossy(file);
    let names = ["\"events\"", "\"checkpoint\"", "\"header\""];
    text.trim_start().starts_with('{') && names.iter().filter(|name| text.contains(**name)).count() > 1
}

/// Verifies a receipt. `data` is public content that the holder supplies: the exact bytes sent as an event's `data`.
pub fn verify_receipt(file: &[u8], data: Option<&[u8]>, trust: &Trust) -> Report {
    let receipt: Receipt = match json::read(file) {
        Ok(receipt) => receipt,
        Err(error) => return unreadable(&error),
    };
    let mut review = Review::new(trust, &receipt.anchors, &receipt.checkpoint);
    unknown(&mut review, None, &receipt.unknown);
    if receipt.events.is_empty() {
        review.find(
            None,
            "events",
            FindingCode::EvidenceAbsent,
            "at least one event",
            "none",
        );
    }
    let mut leaves = Vec::new();
    for event in &receipt.events {
        unknown(&mut review, Some(event.index), &event.unknown);
        leaves.push(check_event(&mut review, event).leaf);
        match (&event.inclusion, &receipt.range) {
            (Some(proof), _) => {
                review.inclusion("event", leaves.last().unwrap_or(&event.leaf_hash), event.index, proof)
            }
            (None, Some(_)) => {}
            (None, None) => {
                review.find(
                    Some(event.index),
                    "inclusion",
                    FindingCode::ProofAbsent,
                    "an inclusion proof",
                    "none",
                );
            }
        }
    }
    if let Some(range) = &receipt.range {
        check_range(&mut review, &receipt.events, range, &leaves);
    }
    let compared = data.map(|data| check_data(&mut review, &receipt.events, data));
    let holds = review.findings.verdict() != Verdict::Tampered;
    let notes = if holds {
        notes(&receipt, compared.as_deref())
    } else {
        Vec::new()
    };
    review.finish(Object::Receipt, notes)
}

fn unreadable(error: &str) -> Report {
    let mut findings = Findings::default();
    let expected = "a receipt: events and a checkpoint in JSON";
    findings.push(Finding::new(
        None,
        "receipt",
        FindingCode::DocumentInvalid,
        expected,
        error,
    ));
    Report::new(Object::Receipt, TrustState::SelfConsistent, findings)
}

fn unknown(review: &mut Review<'_>, index: Option<u64>, fields: &BTreeMap<String, Value>) {
    for name in fields.keys() {
        review.find(
            index,
            name.clone(),
            FindingCode::UnknownField,
            "the fields of this version",
            "one more",
        );
    }
}

fn check_event(review: &mut Review<'_>, event: &ReceiptEvent) -> Examined {
    let meta = RecordBody {
        ordinal: 0,
        salt: event.salts.meta.0,
        bytes: event.meta.0.clone(),
    };
    let record = Record {
        index: event.index,
        header: event.header.0.clone(),
        signature: event.signature.0.clone(),
        bodies: vec![meta],
    };
    let examined = review.receipted_event("event", &record);
    let index = Some(event.index);
    review.compare(index, "leaf_hash", &examined.leaf, &event.leaf_hash);
    if let Ok(key_id) = signature::key_id(&event.signature.0) {
        review.compare(index, "key_id", &key_id, &event.key_id);
    }
    if let Some(header) = &examined.header {
        review.compare(index, "stream_version", &header.stream_version, &event.stream_version);
        review.compare(index, "recorded_at", &header.recorded_at, &event.recorded_at);
        check_places(review, event, header);
    }
    if let Some(meta) = &examined.meta {
        review.compare(index, "id", &meta.id, &event.id);
        review.compare(index, "stream", &meta.stream, &event.stream);
    }
    examined
}

fn check_places(review: &mut Review<'_>, event: &ReceiptEvent, header: &Header) {
    let of_kind = |kind| (0_u16..).zip(&header.bodies).filter(move |(_, body)| body.kind == kind);
    let list = |ordinals: &[u16]| ordinals.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let sealed: Vec<_> = of_kind(BodyKind::Sealed).map(|(ordinal, _)| ordinal).collect();
    let stated: Vec<_> = event.personal.iter().map(|block| block.ordinal).collect();
    review.compare(Some(event.index), "personal", &list(&sealed), &list(&stated));
    let has_data = of_kind(BodyKind::Data).count() > 0;
    review.compare(Some(event.index), "salts, data", &has_data, &event.salts.data.is_some());
}

fn check_range(review: &mut Review<'_>, events: &[ReceiptEvent], range: &ReceiptRange, leaves: &[Hash]) {
    let Some((size, root)) = review.checkpoint().map(|checkpoint| (checkpoint.size, checkpoint.root)) else {
        return;
    };
    let run = (0..)
        .zip(events)
        .all(|(offset, event)| range.first.checked_add(offset) == Some(event.index));
    if !run || range.count != leaves.len() as u64 || range.tree_size != size {
        let found = format!(
            "{} leaves from {} on in a tree of {}",
            range.count, range.first, range.tree_size
        );
        let expected = format!("the {} events of this receipt in a tree of {size}", leaves.len());
        return review.find(None, "range", FindingCode::ProofInvalid, expected, found);
    }
    if let Err(error) = verify_range(leaves, range.first, size, &range.hashes, &root) {
        let expected = format!("a proof that leads to root {root}");
        review.find(None, "range", FindingCode::ProofInvalid, expected, error);
    }
}

/// Compares the holder's bytes with the commitments; gives a sentence about what was compared.
fn check_data(review: &mut Review<'_>, events: &[ReceiptEvent], data: &[u8]) -> String {
    let without_newline = data
        .strip_suffix(b"\n")
        .map(|data| data.strip_suffix(b"\r").unwrap_or(data));
    let forms = [
        (Some(data), "as it is"),
        (without_newline, "without its final line break"),
    ];
    for (form, how) in forms {
        let holds =
            |event: &&ReceiptEvent| form.is_some_and(|data| data_commitments(event, data).is_some_and(|(a, b)| a == b));
        if let Some(event) = events.iter().find(holds) {
            review.checked.bodies += 1;
            review.bodies.present += 1;
            return format!(
                "The file passed with --data was compared with event {}, {how}.",
                event.index
            );
        }
    }
    let only = if let [event] = events { Some(event) } else { None };
    let (expected, found) = only.and_then(|event| data_commitments(event, data)).map_or_else(
        || {
            (
                "the data of an event of this receipt".to_owned(),
                "the data of none".to_owned(),
            )
        },
        |(committed, found)| (committed.to_string(), found.to_string()),
    );
    review.find(
        only.map(|event| event.index),
        "data",
        FindingCode::DataMismatch,
        expected,
        found,
    );
    "The file passed with --data is not the data of any event here.".to_owned()
}

/// The commitment in the header, and the one that these bytes would have.
fn data_commitments(event: &ReceiptEvent, data: &[u8]) -> Option<(Hash, Hash)> {
    let header = Header::decode(&event.header.0).ok()?;
    let committed = header.bodies.iter().find(|body| body.kind == BodyKind::Data)?;
    Some((
        committed.hash,
        commitment(BodyKind::Data.label(), &event.salts.data?.0, data),
    ))
}

fn notes(receipt: &Receipt, compared: Option<&str>) -> Vec<String> {
    let mut notes = vec![
        "It proves that these events are in the tree of this checkpoint, not what came after it.".to_owned(),
        "Recorded times are the server's own; no outside clock confirms them.".to_owned(),
    ];
    match compared {
        Some(compared) => notes.push(compared.to_owned()),
        None if receipt.events.iter().any(|event| event.salts.data.is_some()) => notes.push(
            "The events' data is not in a receipt: pass what you sent with --data FILE to compare it.".to_owned(),
        ),
        None => {}
    }
    if receipt.events.iter().any(|event| !event.personal.is_empty()) {
        notes.push(
            "Sealed blocks are not in a receipt: their number and places are proved, their handles, categories and \
             generations are not."
                .to_owned(),
        );
    }
    notes
}
