//! Batches of real rows, made without a server: what a commit writes when 256 bytes are sealed in every event.

use std::collections::HashMap;

use ed25519_dalek::SigningKey;
use rayon::prelude::*;

use super::super::Failure;
use super::failed;
use super::payload::{STREAMS, SUBJECTS, event_id, mix};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::edge::Edge;
use crate::spec::event::{BodyKind, Commitment, Header, Meta};
use crate::spec::hash::{Hash, commitment, leaf_hash};
use crate::spec::ids::{EventRef, Handle, LedgerId, StreamName, StreamRef, Timestamp};
use crate::spec::note::SignerKey;
use crate::spec::signature::{Kind, Signer};
use crate::store::{Batch, Head, HeaderRow, LedgerBatch, LedgerNumber, LedgerRecord, SequencedEvent, StreamRow};

/// Bytes of a sealed block of 256 bytes: padding, tag, and what names its key.
const SEALED: usize = 256 + 16 + 16 + 150;

/// A ledger that grows without a server.
pub(super) struct Filler {
    ledger: LedgerRecord,
    head: Option<Head>,
    edge: Edge,
    versions: HashMap<StreamName, u64>,
    signer: Signer,
    notes: SignerKey,
}

/// A signer of headers with a fixed key.
pub(super) fn signer() -> Result<Signer, Failure> {
    Signer::new(Kind::Header, SigningKey::from_bytes(&[7; 32])).map_err(failed)
}

impl Filler {
    pub(super) fn new() -> Result<Self, Failure> {
        let origin = "bench.example/main";
        Ok(Self {
            ledger: LedgerRecord {
                number: LedgerNumber(1),
                id: LedgerId([1; 16]),
                name: "main".parse().map_err(failed)?,
                origin: origin.parse().map_err(failed)?,
            },
            head: None,
            edge: Edge::new(),
            versions: HashMap::new(),
            signer: signer()?,
            notes: SignerKey::new(origin.parse().map_err(failed)?, SigningKey::from_bytes(&[8; 32])),
        })
    }

    /// The next `count` events, signed.
    pub(super) fn batch(&mut self, count: usize) -> Result<Batch, Failure> {
        let expected = self.head;
        let mut grown = HashMap::new();
        let mut events = (0..count)
            .map(|_| self.event(&mut grown))
            .collect::<Result<Vec<_>, _>>()?;
        let signer = &self.signer;
        events
            .par_iter_mut()
            .for_each(|event| event.row.signature = signer.sign_detached(&event.row.header));
        let head = self.head.ok_or_else(|| failed("an empty batch"))?;
        let origin = self.notes.verifier().name().clone();
        let checkpoint = Checkpoint {
            origin,
            size: head.size,
            root: self.edge.root(),
        };
        let checkpoint = checkpoint.sign(&[&self.notes]).map_err(failed)?.to_string();
        let tiles = self.edge.drain_full_tiles();
        self.edge.retire(head.size);
        let streams = grown.into_iter().collect();
        let ledger = LedgerBatch {
            ledger: self.ledger.clone(),
            expected,
            head,
            events,
            removals: Vec::new(),
            streams,
            tiles,
            checkpoint,
        };
        Ok(Batch {
            ledgers: vec![ledger],
            records: Vec::new(),
        })
    }

    fn event(&mut self, grown: &mut HashMap<StreamName, StreamRow>) -> Result<SequencedEvent, Failure> {
        let index = self.head.map_or(0, |head| head.size);
        let stream: StreamName = format!("stream-{}", mix(index) % STREAMS).parse().map_err(failed)?;
        let version = self.versions.entry(stream.clone()).or_default();
        *version += 1;
        let row = StreamRow {
            stream_ref: StreamRef(reference(&stream)),
            version: *version,
        };
        grown.insert(stream.clone(), row);
        let meta = Meta::new(event_id(index), stream);
        let bodies = vec![
            (BodyKind::Meta, salt(index), meta.encode()),
            (BodyKind::Sealed, salt(!index), noise(index, SEALED)),
        ];
        let header = self.header(index, row, &bodies)?;
        let bytes = header.encode();
        let last = leaf_hash(&bytes);
        self.edge.append(last);
        self.head = Some(Head {
            size: index + 1,
            last,
            recorded_at: header.recorded_at,
        });

        let handle = *event_id(mix(index) % SUBJECTS).as_bytes();
        Ok(SequencedEvent {
            row: HeaderRow {
                index,
                header: bytes,
                signature: Vec::new(),
            },
            bodies,
            meta,
            event_type: header.event_type,
            stream_ref: row.stream_ref,
            stream_version: row.version,
            handles: vec![Handle(handle)],
        })
    }

    fn header(&self, index: u64, row: StreamRow, bodies: &[(BodyKind, [u8; 32], Vec<u8>)]) -> Result<Header, Failure> {
        let commit = |(kind, salt, bytes): &(BodyKind, [u8; 32], Vec<u8>)| Commitment {
            kind: *kind,
            hash: commitment(kind.label(), salt, bytes),
        };
        Ok(Header {
            origin: self.ledger.origin.clone(),
            index,
            previous: self.head.map(|head| head.last),
            event_ref: EventRef(*event_id(!index).as_bytes()),
            stream_ref: row.stream_ref,
            stream_version: row.version,
            event_type: "order.placed".parse().map_err(failed)?,
            schema_version: 1,
            recorded_at: Timestamp(1_800_000_000_000_000 + index),
            bodies: bodies.iter().map(commit).collect(),
        })
    }
}

fn reference(stream: &StreamName) -> [u8; 16] {
    let hash: Hash = leaf_hash(stream.as_str().as_bytes());
    hash.as_bytes().first_chunk().copied().unwrap_or_default()
}

fn salt(number: u64) -> [u8; 32] {
    *leaf_hash(&number.to_be_bytes()).as_bytes()
}

/// Bytes that do not compress, as ciphertext does not.
fn noise(number: u64, length: usize) -> Vec<u8> {
    (0..length.div_ceil(8) as u64)
        .flat_map(|at| mix(mix(number) ^ at).to_be_bytes())
        .take(length)
        .collect()
}
