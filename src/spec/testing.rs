//! Small ledgers with real keys, for the tests of the layer and for those of the offline verifier's command line, which
//! include this file. So it uses what is public alone.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]

use std::collections::HashMap;

use ed25519_dalek::SigningKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use oubliette::spec::bundle::{BundleHead, BundleWriter, Selection};
use oubliette::spec::certificate::{
    self, Certificate, CertifiedSubject, ClearParts, DestructionCheck, Recipients, Residue, Status, Suppression, Times,
};
use oubliette::spec::checkpoint::Checkpoint;
use oubliette::spec::edge::Edge;
use oubliette::spec::event::{Body, BodyKind, Header, Meta};
use oubliette::spec::evidence::{Base64, Evidence, Inclusion, Receipt, ReceiptEvent, Salt, Salts, SealedPlace};
use oubliette::spec::hash::{Hash, leaf_hash};
use oubliette::spec::ids::{Category, EventRef, Handle, Origin, StreamRef, Timestamp};
use oubliette::spec::keys::{AnnouncedKey, LEDGER_CREATED, LedgerCreated, Role};
use oubliette::spec::note::{SignerKey, VerifierKey};
use oubliette::spec::seal::{BlockContext, SubjectKey, seal};
use oubliette::spec::signature::{Kind, Signer, key_id};
use oubliette::spec::system::{Basis, Reason};
use oubliette::spec::verify::{Record, RecordBody};

/// A person in the tests.
pub(crate) const ADA: Handle = Handle([0xad; 16]);
/// A request id in the tests.
pub(crate) const REQUEST: Uuid = Uuid::from_u128(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

/// A ledger being written.
pub(crate) struct TestLedger {
    pub(crate) origin: Origin,
    pub(crate) event: Signer,
    pub(crate) checkpoint: SignerKey,
    pub(crate) certificate: SigningKey,
    pub(crate) records: Vec<Record>,
    streams: HashMap<String, (StreamRef, u64)>,
    pub(crate) time: u64,
}

impl TestLedger {
    /// A ledger with `ledger.created` alone.
    pub(crate) fn new() -> Self {
        Self::with("audit.example.com/main", 1)
    }

    /// The same with another origin or other keys.
    pub(crate) fn with(origin: &str, seed: u8) -> Self {
        let key = |role: u8| SigningKey::from_bytes(&[seed * 16 + role; 32]);
        let mut ledger = Self {
            origin: origin.parse().unwrap(),
            event: Signer::new(Kind::Header, key(1)).unwrap(),
            checkpoint: SignerKey::new(origin.parse().unwrap(), key(2)),
            certificate: key(3),
            records: Vec::new(),
            streams: HashMap::new(),
            time: 1_700_000_000_000_000,
        };
        let created = ledger.created();
        ledger.system(LEDGER_CREATED, &serde_json::to_value(created).unwrap());
        ledger
    }

    pub(crate) fn created(&self) -> LedgerCreated {
        let certificate = Signer::new(Kind::Certificate, self.certificate.clone()).unwrap();
        let checkpoint = oubliette::spec::signature::PublicKey::new(self.checkpoint.verifier().public_key()).unwrap();
        LedgerCreated {
            ledger: "main".parse().unwrap(),
            origin: self.origin.clone(),
            keys: vec![
                AnnouncedKey::new(Role::Event, self.event.public()),
                AnnouncedKey::new(Role::Checkpoint, &checkpoint),
                AnnouncedKey::new(Role::Certificate, certificate.public()),
            ],
            recovery_key_hash: Hash::from([9; 32]),
            continues: Vec::new(),
        }
    }

    /// A ledger of seven events: two orders with sealed blocks, an erasure, its purge.
    pub(crate) fn sample() -> Self {
        let mut ledger = Self::new();
        ledger.append("order-1", "order.placed", Some(r#"{"total":3}"#), 1);
        ledger.append("order-1", "order.paid", None, 2);
        ledger.append("order-2", "order.placed", Some("[]"), 0);
        ledger.erase();
        ledger.purge(&[(1, 2), (2, 1), (2, 2)]);
        ledger
    }

    /// A ledger of four events: an order with a sealed block, the request to erase it, its purge.
    pub(crate) fn small() -> Self {
        let mut ledger = Self::new();
        ledger.append("order-1", "order.placed", Some("3"), 1);
        ledger.system(
            "erasure.requested",
            &json!({"request": REQUEST, "subjects": [{"handle": ADA}]}),
        );
        ledger.purge(&[(1, 2)]);
        ledger
    }

    /// Appends an event of a caller.
    pub(crate) fn append(&mut self, stream: &str, event_type: &str, data: Option<&str>, blocks: u8) -> u64 {
        self.append_as(stream, event_type, data, blocks, |_| {})
    }

    /// The same, with a hand in the header before it is signed.
    pub(crate) fn append_as(
        &mut self,
        stream: &str,
        event_type: &str,
        data: Option<&str>,
        blocks: u8,
        tweak: impl FnOnce(&mut Header),
    ) -> u64 {
        let index = self.records.len() as u64;
        let mut bodies = vec![self.body(BodyKind::Meta, 0, self.meta(index, stream))];
        bodies.extend(data.map(|data| self.body(BodyKind::Data, 1, data.as_bytes().to_vec())));
        for _ in 0..blocks {
            let ordinal = bodies.len() as u8;
            bodies.push(self.body(BodyKind::Sealed, ordinal, self.block(index, ordinal)));
        }
        let (stream_ref, version) = self
            .streams
            .entry(stream.to_owned())
            .or_insert_with(|| (stream_ref(stream), 0));
        *version += 1;
        self.time += 1_000;
        let mut header = Header {
            origin: self.origin.clone(),
            index,
            previous: self.records.last().map(|record| leaf_hash(&record.header)),
            event_ref: event_ref(index),
            stream_ref: *stream_ref,
            stream_version: *version,
            event_type: event_type.parse().unwrap(),
            schema_version: 1,
            recorded_at: Timestamp(self.time),
            bodies: bodies.iter().map(Body::commitment).collect(),
        };
        tweak(&mut header);
        let bytes = header.encode();
        let bodies = (0..)
            .zip(&bodies)
            .map(|(ordinal, body)| RecordBody::new(ordinal, body))
            .collect();
        self.records.push(Record {
            index,
            signature: self.event.sign_detached(&bytes),
            header: bytes,
            bodies,
        });
        index
    }

    /// Appends events of a caller to a few streams.
    pub(crate) fn append_many(&mut self, count: u64) {
        for number in 0..count {
            self.append(&format!("stream-{}", number % 7), "thing.happened", Some("1"), 0);
        }
    }

    /// Appends one of Oubliette's own events.
    pub(crate) fn system(&mut self, event_type: &str, data: &Value) -> u64 {
        let stream = format!("${}", event_type.split('.').next().unwrap());
        self.append(&stream, event_type, Some(&data.to_string()), 0)
    }

    /// Appends the two events of an erasure of [`ADA`].
    pub(crate) fn erase(&mut self) {
        let data =
            json!({"request": REQUEST, "subjects": [{"handle": ADA}], "basis": "art17_1_a", "reason": "request"});
        self.system("erasure.requested", &data);
        let data = json!({
            "request": REQUEST,
            "subjects": [{"handle": ADA, "keys_destroyed": 1, "identity_destroyed": true, "events": 3, "blocks": 3}],
            "fenced_at": Timestamp(self.time),
            "verification": {"sampled": 3, "opened": 0, "identity_resolves": false},
            "pending": ["backups"],
        });
        self.system("erasure.completed", &data);
    }

    /// Removes bodies and appends the event that says so, with the erasure as its ground.
    pub(crate) fn purge(&mut self, positions: &[(u64, u16)]) -> u64 {
        self.remove(positions);
        let data = json!({"ground": "erasure", "requests": [REQUEST], "positions": positions});
        self.system("bodies.purged", &data)
    }

    /// Removes bodies without a word.
    pub(crate) fn remove(&mut self, positions: &[(u64, u16)]) {
        for (index, ordinal) in positions {
            self.records[*index as usize]
                .bodies
                .retain(|body| body.ordinal != *ordinal);
        }
    }

    pub(crate) fn size(&self) -> u64 {
        self.records.len() as u64
    }

    pub(crate) fn root(&self, size: u64) -> Hash {
        self.tree(size).root()
    }

    fn tree(&self, size: u64) -> Edge {
        let mut tree = Edge::new();
        self.records[..size as usize]
            .iter()
            .for_each(|record| tree.append(leaf_hash(&record.header)));
        tree
    }

    /// The signed checkpoint of the first `size` events.
    pub(crate) fn checkpoint_at(&self, size: u64) -> String {
        let origin = self.checkpoint.verifier().name().clone();
        let checkpoint = Checkpoint {
            origin,
            size,
            root: self.root(size),
        };
        checkpoint.sign(&[&self.checkpoint]).unwrap().to_string()
    }

    /// The signed checkpoint of all.
    pub(crate) fn head(&self) -> String {
        self.checkpoint_at(self.size())
    }

    pub(crate) fn vkey(&self) -> VerifierKey {
        self.checkpoint.verifier().clone()
    }

    pub(crate) fn inclusion(&self, index: u64) -> Inclusion {
        let hashes = self.tree(self.size()).inclusion_proof(index).unwrap();
        Inclusion {
            leaf_index: index,
            tree_size: self.size(),
            hashes,
        }
    }

    pub(crate) fn evidence(&self, index: u64) -> Evidence {
        Evidence::new(&self.records[index as usize], self.inclusion(index))
    }

    /// The receipt that an append would have answered, with its anchor.
    pub(crate) fn receipt(&self, indexes: &[u64]) -> Receipt {
        Receipt {
            events: indexes.iter().map(|index| self.receipt_event(*index)).collect(),
            range: None,
            checkpoint: self.head(),
            anchors: vec![self.evidence(0)],
            unknown: Default::default(),
        }
    }

    fn receipt_event(&self, index: u64) -> ReceiptEvent {
        let record = &self.records[index as usize];
        let header = Header::decode(&record.header).unwrap();
        let meta = Meta::decode(&record.bodies[0].bytes).unwrap();
        let of_kind = |kind| (0_u16..).zip(&header.bodies).filter(move |(_, body)| body.kind == kind);
        let (category, generation) = (Category::default(), 1);
        let block = |(ordinal, _)| SealedPlace {
            ordinal,
            handle: Some(ADA),
            category: Some(category.clone()),
            generation: Some(generation),
        };
        ReceiptEvent {
            id: meta.id,
            index,
            stream: meta.stream,
            stream_version: header.stream_version,
            recorded_at: header.recorded_at,
            leaf_hash: leaf_hash(&record.header),
            key_id: key_id(&record.signature).unwrap(),
            header: Base64(record.header.clone()),
            signature: Base64(record.signature.clone()),
            meta: Base64(record.bodies[0].bytes.clone()),
            salts: Salts {
                meta: Salt(record.bodies[0].salt),
                data: of_kind(BodyKind::Data).map(|_| Salt(record.bodies[1].salt)).next(),
            },
            personal: of_kind(BodyKind::Sealed).map(block).collect(),
            inclusion: Some(self.inclusion(index)),
            unknown: Default::default(),
        }
    }

    pub(crate) fn bundle_head(&self) -> BundleHead {
        BundleHead {
            origin: self.origin.clone(),
            tree_size: self.size(),
            root: self.root(self.size()),
            checkpoint: self.head(),
            further: vec![self.checkpoint_at(1), self.checkpoint_at(self.size() - 1)],
            selection: None,
        }
    }

    /// A bundle of everything.
    pub(crate) fn bundle(&self) -> Vec<u8> {
        self.bundle_of(None, &[], |_| true)
    }

    /// A bundle with what is wanted and what must be there.
    pub(crate) fn bundle_of(
        &self,
        selection: Option<Selection>,
        certificates: &[(Uuid, Vec<u8>)],
        wanted: impl Fn(u64) -> bool,
    ) -> Vec<u8> {
        let head = BundleHead {
            selection,
            ..self.bundle_head()
        };
        self.bundle_from(head, certificates, wanted)
    }

    /// The same with a head of its own.
    pub(crate) fn bundle_from(
        &self,
        head: BundleHead,
        certificates: &[(Uuid, Vec<u8>)],
        wanted: impl Fn(u64) -> bool,
    ) -> Vec<u8> {
        let mut writer = BundleWriter::new(Vec::new(), head).unwrap();
        for record in &self.records {
            if wanted(record.index) || writer.leave_out(record.index, &record.header).is_err() {
                writer.include(record).unwrap();
            }
        }
        for (request, document) in certificates {
            writer.certificate(*request, document).unwrap();
        }
        let signer = Signer::new(Kind::Manifest, self.certificate.clone()).unwrap();
        writer.finish(|manifest| signer.sign_document(manifest)).unwrap()
    }

    /// The certificate of the erasure in [`TestLedger::sample`].
    pub(crate) fn certificate(&self) -> Certificate {
        let requested = self
            .records
            .iter()
            .position(|record| is_type(record, "erasure.requested"))
            .unwrap() as u64;
        let time = |index: u64| {
            Header::decode(&self.records[index as usize].header)
                .unwrap()
                .recorded_at
        };
        let (requested_at, completed_at) = (time(requested), time(requested + 1));
        Certificate {
            format: certificate::FORMAT.into(),
            status: Status::Provisional,
            origin: self.origin.clone(),
            request: REQUEST,
            basis: Basis::Art17_1A,
            reason: Reason::Request,
            role: "officer".into(),
            by: None,
            submitted_at: None,
            requested_at,
            due_at: None,
            completed_at: Some(completed_at),
            covers: None,
            already_erased: None,
            subjects: vec![CertifiedSubject {
                handle: ADA,
                categories: None,
                keys_destroyed: Some(1),
                identity_destroyed: true,
                blocks_sealed: 3,
            }],
            times: Times {
                t1: Some(requested_at),
                t2: Some(completed_at),
                ..Times::default()
            },
            epochs: None,
            epoch_key_due_at: None,
            key_copies: Vec::new(),
            algorithms: vec!["AES-256-GCM".into(), "Ed25519".into()],
            key_bits: None,
            verification: DestructionCheck {
                sampled: 3,
                opened: 0,
                identity_resolves: false,
                keys_left: None,
                epoch: None,
                text: None,
            },
            residues: vec![Residue {
                code: "backups".into(),
                text: "until they expire".into(),
            }],
            derived: Vec::new(),
            recipients: Recipients {
                named: Vec::new(),
                disclosed: Vec::new(),
                omitted: 0,
                unreadable: 0,
                text: "As far as the ledger knows.".into(),
            },
            clear: ClearParts {
                frozen: Vec::new(),
                examined: false,
                leaks: Vec::new(),
                nameless: 0,
                text: "Fields in clear.".into(),
            },
            suppression: Suppression {
                active: true,
                until: None,
                basis: Some("art17_3_b".into()),
            },
            other_ledgers_examined: false,
            limits: vec!["Exported copies were not examined.".into()],
            tree_size_before: requested,
            tree_size_after: self.size(),
            evidence: vec![self.evidence(requested), self.evidence(requested + 1)],
            anchors: vec![self.evidence(0)],
            checkpoint: self.head(),
        }
    }

    /// A certificate, signed.
    pub(crate) fn sign_certificate(&self, certificate: &impl serde::Serialize) -> Vec<u8> {
        let signer = Signer::new(Kind::Certificate, self.certificate.clone()).unwrap();
        signer.sign_document(certificate).unwrap()
    }

    fn meta(&self, index: u64, stream: &str) -> Vec<u8> {
        Meta::new(Uuid::from_u128(u128::from(index)), stream.parse().unwrap()).encode()
    }

    fn body(&self, kind: BodyKind, ordinal: u8, bytes: Vec<u8>) -> Body {
        Body {
            kind,
            salt: digest(&[self.records.len() as u8, ordinal, 0x5a]),
            bytes,
        }
    }

    fn block(&self, index: u64, ordinal: u8) -> Vec<u8> {
        let context = BlockContext {
            origin: &self.origin,
            event_ref: event_ref(index),
            ordinal: ordinal.into(),
            handle: ADA,
            category: &Category::default(),
            generation: 1,
        };
        seal(
            &SubjectKey::new([7; 32]),
            &context,
            digest(&[index as u8, ordinal]),
            b"{\"name\":\"Ada\"}",
        )
        .encode()
    }
}

fn is_type(record: &Record, event_type: &str) -> bool {
    Header::decode(&record.header).unwrap().event_type.as_str() == event_type
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn event_ref(index: u64) -> EventRef {
    EventRef(digest(&index.to_be_bytes())[..16].try_into().unwrap())
}

fn stream_ref(stream: &str) -> StreamRef {
    StreamRef(digest(stream.as_bytes())[..16].try_into().unwrap())
}
