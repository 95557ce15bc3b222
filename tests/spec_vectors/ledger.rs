//! A small ledger from fixed seeds, by the formulas of the chapters: what bundles and evidence are made of.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cbor::{C, Map};
use crate::keys::public;

pub(crate) const ORIGIN: &str = "audit.example.com/main";
pub(crate) const EVENT_KEY: u8 = 11;
pub(crate) const CHECKPOINT_KEY: u8 = 12;
pub(crate) const CERTIFICATE_KEY: u8 = 13;
/// A key that is not the ledger's.
pub(crate) const STRANGER: u8 = 31;
pub(crate) const REQUEST: &str = "0190163d-8694-739b-8aea-966c26f8ad91";
pub(crate) const HANDLE: [u8; 16] = [0x0a; 16];
const START: u64 = 1_767_225_600_000_000;

/// An event before it is chained and signed; every field can be made wrong.
#[derive(Clone)]
pub(crate) struct Event {
    pub(crate) origin: String,
    /// Instead of its place.
    pub(crate) index: Option<u64>,
    /// Instead of the leaf hash before it.
    pub(crate) previous: Option<[u8; 32]>,
    pub(crate) stream: &'static str,
    pub(crate) version: u64,
    pub(crate) event_type: &'static str,
    pub(crate) time: u64,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) blocks: usize,
    /// Ordinals of bodies that are not there.
    pub(crate) absent: Vec<u16>,
    pub(crate) signer: u8,
}

impl Event {
    pub(crate) fn new(stream: &'static str, version: u64, event_type: &'static str, data: Option<Value>) -> Self {
        Self {
            origin: ORIGIN.to_owned(),
            index: None,
            previous: None,
            stream,
            version,
            event_type,
            time: START,
            data: data.map(|data| data.to_string().into_bytes()),
            blocks: 0,
            absent: Vec::new(),
            signer: EVENT_KEY,
        }
    }

    pub(crate) fn blocks(self, blocks: usize) -> Self {
        Self { blocks, ..self }
    }
}

/// An event as it is carried.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) index: u64,
    pub(crate) header: Vec<u8>,
    pub(crate) signature: Vec<u8>,
    pub(crate) bodies: Vec<(u16, [u8; 32], Vec<u8>)>,
}

impl Record {
    pub(crate) fn leaf(&self) -> [u8; 32] {
        sha256(&[&[0], &self.header])
    }

    pub(crate) fn body(&mut self, ordinal: u16) -> &mut Vec<u8> {
        &mut self.bodies.iter_mut().find(|(found, ..)| *found == ordinal).unwrap().2
    }
}

pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    Sha256::digest(parts.concat()).into()
}

fn announced(role: &str, seed: u8) -> Value {
    let (public, id) = public(seed);
    json!({"role": role, "algorithm": "ed25519", "public_key": hex::encode(public), "key_id": hex::encode(id)})
}

pub(crate) fn created() -> Value {
    json!({
        "ledger": "main", "origin": ORIGIN,
        "keys": [announced("event", EVENT_KEY), announced("checkpoint", CHECKPOINT_KEY),
                 announced("certificate", CERTIFICATE_KEY)],
        "recovery_key_hash": hex::encode(sha256(&[&public(14).0])),
    })
}

/// Eight events: orders, an erasure, the purge of the two blocks that it reached, and life after it.
pub(crate) fn events() -> Vec<Event> {
    let handle = hex::encode(HANDLE);
    let time = |seconds: u32| format!("2026-01-01T00:00:{seconds:02}.000000Z");
    let requested = json!({
        "request": REQUEST, "subjects": [{"handle": handle}], "basis": "art17_1_a", "reason": "request",
        "due_at": "2026-02-01T00:00:04.000000Z", "already_erased": 0, "by": "00ff", "roles": ["officer"],
    });
    let completed = json!({
        "request": REQUEST,
        "subjects": [{"handle": handle, "keys_destroyed": 2, "identity_destroyed": true, "events": 3, "blocks": 2}],
        "fenced_at": time(4), "keys_deleted_at": time(5),
        "verification": {"sampled": 2, "opened": 0, "identity_resolves": false}, "pending": ["epoch_key"],
    });
    let purged = json!({"ground": "erasure", "requests": [REQUEST], "positions": [[1, 2], [3, 1]]});
    let mut events = vec![
        Event::new("$ledger", 1, "ledger.created", Some(created())),
        Event::new("order-7", 1, "order.placed", Some(json!({"total": 12}))).blocks(1),
        Event::new("order-7", 2, "order.paid", Some(json!({"total": 12}))),
        Event::new("customer-1", 1, "customer.renamed", None).blocks(1),
        Event::new("$erasures", 1, "erasure.requested", Some(requested)),
        Event::new("$erasures", 2, "erasure.completed", Some(completed)),
        Event::new("$purges", 1, "bodies.purged", Some(purged)),
        Event::new("order-8", 1, "order.placed", Some(json!({"total": 7}))).blocks(1),
    ];
    for (second, event) in (0..).zip(&mut events) {
        event.time += second * 1_000_000;
    }
    events[1].absent = vec![2];
    events[3].absent = vec![1];
    events
}

/// Commits, chains and signs.
pub(crate) fn chain(events: &[Event]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    for event in events {
        let place = records.len() as u64;
        let previous = event.previous.or_else(|| records.last().map(Record::leaf));
        records.push(record(event, place, previous));
    }
    records
}

fn record(event: &Event, place: u64, previous: Option<[u8; 32]>) -> Record {
    let stream_ref = sha256(&[b"stream", event.stream.as_bytes()]);
    let id = sha256(&[b"id", &place.to_be_bytes()]);
    let meta = Map::new(vec![(1, C::b(&id[..16])), (2, C::t(event.stream))]).bytes();
    let mut bodies = vec![(0_u8, meta)];
    bodies.extend(event.data.iter().map(|data| (1, data.clone())));
    bodies.extend((0..event.blocks).map(|_| (2, block())));
    let salted: Vec<_> = (0_u16..)
        .zip(bodies)
        .map(|(ordinal, (kind, bytes))| {
            (
                ordinal,
                kind,
                sha256(&[b"salt", &place.to_be_bytes(), &ordinal.to_be_bytes()]),
                bytes,
            )
        })
        .collect();
    let commitments = salted
        .iter()
        .map(|(_, kind, salt, bytes)| C::A(vec![C::U((*kind).into()), C::b(&commitment(*kind, salt, bytes))]));
    let mut fields = vec![
        (1, C::U(1)),
        (2, C::t(&event.origin)),
        (3, C::U(event.index.unwrap_or(place))),
    ];
    fields.extend(previous.map(|previous| (4, C::b(&previous))));
    fields.extend([
        (5, C::b(&sha256(&[b"event", &place.to_be_bytes()])[..16])),
        (6, C::b(&stream_ref[..16])),
        (7, C::U(event.version)),
        (8, C::t(event.event_type)),
        (9, C::U(1)),
        (10, C::U(event.time)),
        (11, C::A(commitments.collect())),
    ]);
    let header = Map::new(fields).bytes();
    let signature = cose("header", event.signer, &header, false);
    let there = salted
        .into_iter()
        .filter(|(ordinal, ..)| !event.absent.contains(ordinal));
    let bodies = there.map(|(ordinal, _, salt, bytes)| (ordinal, salt, bytes)).collect();
    Record {
        index: place,
        header,
        signature,
        bodies,
    }
}

fn commitment(kind: u8, salt: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    let label = ["meta", "data", "sealed"][usize::from(kind)];
    let domain = format!("oubliette/v1/{label}\0");
    sha256(&[domain.as_bytes(), salt, &(bytes.len() as u64).to_be_bytes(), bytes])
}

/// A block of the right form; nobody has its key.
fn block() -> Vec<u8> {
    Map::new(vec![
        (1, C::U(1)),
        (2, C::b(&HANDLE)),
        (3, C::t("billing")),
        (4, C::U(1)),
        (5, C::B(vec![0x99; 32])),
        (6, C::B(vec![0x88; 32])),
        (7, C::B(vec![0x77; 80])),
    ])
    .bytes()
}

/// A COSE_Sign1 by the formula, detached or with its payload.
pub(crate) fn cose(kind: &str, seed: u8, payload: &[u8], included: bool) -> Vec<u8> {
    let content_type = C::T(format!("application/vnd.oubliette.{kind}+cbor"));
    let protected = Map::new(vec![(1, C::N(18)), (3, content_type), (4, C::b(&public(seed).1))]).bytes();
    let message = C::A(vec![
        C::t("Signature1"),
        C::b(&protected),
        C::b(b"oubliette/v1"),
        C::b(payload),
    ])
    .bytes();
    let signature = SigningKey::from_bytes(&[seed; 32]).sign(&message).to_bytes();
    let payload = if included { C::b(payload) } else { C::raw("f6") };
    C::A(vec![C::b(&protected), C::M(vec![]), payload, C::b(&signature)]).bytes()
}

/// `MTH` over leaf hashes.
pub(crate) fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            sha256(&[&[1], &root(left), &root(right)])
        }
    }
}

/// `PATH` over leaf hashes.
pub(crate) fn path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let (mut below, beside) = if index < left.len() {
        (path(index, left), root(right))
    } else {
        (path(index - left.len(), right), root(left))
    };
    below.push(beside);
    below
}

pub(crate) fn leaves(records: &[Record]) -> Vec<[u8; 32]> {
    records.iter().map(Record::leaf).collect()
}

pub(crate) fn vkey(seed: u8) -> String {
    let bytes = [&[1][..], &public(seed).0].concat();
    let id = sha256(&[ORIGIN.as_bytes(), b"\n", &bytes]);
    format!("{ORIGIN}+{}+{}", hex::encode(&id[..4]), STANDARD.encode(bytes))
}

/// A signed checkpoint.
pub(crate) fn checkpoint(origin: &str, size: u64, root: &[u8; 32], seed: u8) -> String {
    let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root));
    let key = [&[1][..], &public(seed).0].concat();
    let id = sha256(&[origin.as_bytes(), b"\n", &key]);
    let signature = SigningKey::from_bytes(&[seed; 32]).sign(text.as_bytes()).to_bytes();
    format!(
        "{text}\n— {origin} {}\n",
        STANDARD.encode([&id[..4], &signature].concat())
    )
}

/// The checkpoint of all records.
pub(crate) fn head(records: &[Record]) -> String {
    checkpoint(ORIGIN, records.len() as u64, &root(&leaves(records)), CHECKPOINT_KEY)
}

/// The names and numbers of a report that a second verifier must reach too.
pub(crate) fn outcome(report: &oubliette::spec::report::Report) -> Value {
    let mut codes: Vec<_> = report.findings.iter().map(|finding| finding.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    json!({"verdict": report.verdict, "trust": report.trust, "codes": codes})
}
