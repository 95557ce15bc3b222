//! The part of a verification that looks at one event alone, so that many run at once: canonical header, signature,
//! commitments, formats of the bodies, leaf hash, and what the event authorises.

use ed25519_dalek::{Signature, VerifyingKey, verify_batch};
use rayon::prelude::*;

use crate::spec::event::{BodyKind, Commitment, Header, Meta};
use crate::spec::hash::{Hash, commitment, leaf_hash};
use crate::spec::report::{Finding, FindingCode};
use crate::spec::seal::SealedBlock;
use crate::spec::signature::{SignatureError, Verifier};
use crate::spec::system::{Authority, SystemType, is_reserved};

use super::keyring::Keyring;
use super::record::{Entry, Record, RecordBody};

/// Signatures in one batch of the fast mode.
const BATCH: usize = 512;

/// What one event turned out to be.
#[derive(Debug)]
pub(crate) struct Examined {
    /// The index under which it was found.
    pub(crate) index: u64,
    /// `SHA-256(0x00 || header)`.
    pub(crate) leaf: Hash,
    /// The header, if it is one.
    pub(crate) header: Option<Header>,
    /// The meta, if it is there and of its format.
    pub(crate) meta: Option<Meta>,
    /// What is wrong with it.
    pub(crate) findings: Vec<Finding>,
    /// Whether the signature holds.
    pub(crate) signed: bool,
    /// How many bodies are there and hold.
    pub(crate) present: u64,
    /// Bodies that are not there, and may be excused.
    pub(crate) absent: Vec<(u16, BodyKind)>,
    /// Bodies that are not there, and cannot be excused.
    pub(crate) lost: u64,
    /// What it authorises.
    pub(crate) authority: Option<Authority>,
}

impl Examined {
    fn add(&mut self, field: impl Into<String>, code: FindingCode, expected: impl ToString, found: impl ToString) {
        self.findings.push(Finding::new(
            Some(self.index),
            field,
            code,
            expected.to_string(),
            found.to_string(),
        ));
    }
}

/// The name of a body's place in findings.
pub(crate) fn place(kind: BodyKind, ordinal: u16) -> String {
    match kind {
        BodyKind::Meta | BodyKind::Data => kind.label().into(),
        BodyKind::Sealed => format!("sealed/{ordinal}"),
    }
}

/// Examines all events of a chunk in parallel. Without a keyring no signature is looked at.
pub(super) fn examine_all(entries: &[Entry], keyring: Option<&Keyring>, fast: bool) -> Vec<Option<Examined>> {
    if fast && let Some(keyring) = keyring {
        return entries
            .par_chunks(BATCH)
            .flat_map_iter(|batch| examine_batch(batch, keyring))
            .collect();
    }
    let one = |entry: &Entry| {
        entry
            .event()
            .map(|record| examine(record, keyring.map(|keyring| keyring.event_key(record.index))))
    };
    entries.par_iter().with_min_len(8).map(one).collect()
}

/// Examines one event; its signature strictly, if there is a key for it.
pub(crate) fn examine(record: &Record, key: Option<&Verifier>) -> Examined {
    let mut examined = examine_unsigned(record);
    if let Some(key) = key {
        check_signature(&mut examined, record, key);
    }
    examined
}

fn check_signature(examined: &mut Examined, record: &Record, key: &Verifier) {
    match key.verify_detached(&record.signature, &record.header) {
        Ok(()) => examined.signed = true,
        Err(error) => {
            let expected = format!("a signature by key {}", key.public().id());
            examined.add("signature", signature_code(&error), expected, error);
        }
    }
}

/// The code of a signature that does not hold.
pub(crate) fn signature_code(error: &SignatureError) -> FindingCode {
    match error {
        SignatureError::UnknownKey(_) | SignatureError::BadKey => FindingCode::SignatureUnknownKey,
        SignatureError::Malformed(_) => FindingCode::SignatureMalformed,
        SignatureError::Invalid => FindingCode::SignatureInvalid,
        SignatureError::Document(_) => FindingCode::DocumentInvalid,
    }
}

/// Examines a batch; its signatures together, and one by one if they do not hold together.
fn examine_batch(entries: &[Entry], keyring: &Keyring) -> Vec<Option<Examined>> {
    let mut all: Vec<_> = entries
        .iter()
        .map(|entry| entry.event().map(examine_unsigned))
        .collect();
    let hold = batch_holds(entries.iter().filter_map(Entry::event), keyring);
    for (entry, examined) in entries.iter().zip(&mut all) {
        match (entry.event(), examined) {
            (Some(_), Some(examined)) if hold => examined.signed = true,
            (Some(record), Some(examined)) => check_signature(examined, record, keyring.event_key(record.index)),
            _ => {}
        }
    }
    all
}

fn batch_holds<'a>(records: impl Iterator<Item = &'a Record>, keyring: &Keyring) -> bool {
    let (mut messages, mut signatures, mut keys) = (Vec::new(), Vec::<Signature>::new(), Vec::<VerifyingKey>::new());
    for record in records {
        let Ok(parts) = keyring
            .event_key(record.index)
            .unverified(&record.signature, &record.header)
        else {
            return false;
        };
        messages.push(parts.message);
        signatures.push(parts.signature);
        keys.push(*parts.key);
    }
    let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    verify_batch(&messages, &signatures, &keys).is_ok()
}

fn examine_unsigned(record: &Record) -> Examined {
    let mut examined = Examined {
        index: record.index,
        leaf: leaf_hash(&record.header),
        header: None,
        meta: None,
        findings: Vec::new(),
        signed: false,
        present: 0,
        absent: Vec::new(),
        lost: 0,
        authority: None,
    };
    match Header::decode(&record.header) {
        Ok(header) => {
            check_bodies(&mut examined, &header, record);
            examined.header = Some(header);
        }
        Err(error) => examined.add("header", FindingCode::HeaderInvalid, "a canonical header", error),
    }
    examined
}

fn check_bodies(examined: &mut Examined, header: &Header, record: &Record) {
    let reserved = is_reserved(&header.event_type);
    let mut bodies = record.bodies.iter().peekable();
    let mut data = None;
    for (ordinal, commitment) in (0..).zip(&header.bodies) {
        match bodies.next_if(|body| body.ordinal == ordinal) {
            Some(body) => {
                check_body(examined, commitment, body);
                if commitment.kind == BodyKind::Data {
                    data = Some(body.bytes.as_slice());
                }
            }
            None if reserved && commitment.kind != BodyKind::Sealed => {
                examined.lost += 1;
                let expected = "present: of Oubliette's own events it is never removed";
                examined.add(
                    place(commitment.kind, ordinal),
                    FindingCode::Missing,
                    expected,
                    "absent",
                );
            }
            None => examined.absent.push((ordinal, commitment.kind)),
        }
    }
    if let Some(body) = bodies.next() {
        let expected = format!(
            "the {} bodies of the header, each once and in order",
            header.bodies.len()
        );
        examined.add(
            "bodies",
            FindingCode::BodyUnexpected,
            expected,
            format!("body {} here", body.ordinal),
        );
    }
    if reserved {
        read_authority(examined, header, data);
    }
}

fn check_body(examined: &mut Examined, committed: &Commitment, body: &RecordBody) {
    let found = commitment(committed.kind.label(), &body.salt, &body.bytes);
    if found != committed.hash {
        let place = place(committed.kind, body.ordinal);
        return examined.add(place, FindingCode::BodyMismatch, committed.hash, found);
    }
    let format = match committed.kind {
        BodyKind::Meta => Meta::decode(&body.bytes).map(|meta| examined.meta = Some(meta)),
        BodyKind::Data => Ok(()),
        BodyKind::Sealed => SealedBlock::decode(&body.bytes).map(drop),
    };
    match format {
        Ok(()) => examined.present += 1,
        Err(error) => {
            let expected = format!("a body of kind {}", committed.kind.label());
            examined.add(
                place(committed.kind, body.ordinal),
                FindingCode::BodyInvalid,
                expected,
                error,
            );
        }
    }
}

/// Reads what one of Oubliette's own events authorises; an event with any flaw authorises nothing.
fn read_authority(examined: &mut Examined, header: &Header, data: Option<&[u8]>) {
    if let Some(meta) = examined.meta.as_ref().filter(|meta| !meta.stream.is_system()) {
        let found = format!("{} in the stream {}", header.event_type, meta.stream);
        return examined.add(
            "meta",
            FindingCode::AuthorityInvalid,
            "a stream of Oubliette's own ($...)",
            found,
        );
    }
    let Some(system_type) = SystemType::from_type(&header.event_type) else {
        let expected = "a type that this version knows";
        return examined.add("type", FindingCode::UnknownSystemEvent, expected, &header.event_type);
    };
    if system_type == SystemType::LedgerCreated && header.index != 0 {
        return examined.add(
            "type",
            FindingCode::LedgerCreatedInvalid,
            "at index 0 and nowhere else",
            header.index,
        );
    }
    match data.map(|data| Authority::read(system_type, data)) {
        Some(Ok(authority)) if authority.named().iter().any(|named| named.index >= header.index) => {
            let late = authority.named().iter().find(|named| named.index >= header.index);
            let found = late
                .map(|late| format!("[{}, {}]", late.index, late.ordinal))
                .unwrap_or_default();
            examined.add(
                "data",
                FindingCode::AuthorityInvalid,
                "positions before this event",
                found,
            );
        }
        Some(Ok(authority)) if examined.findings.is_empty() => examined.authority = Some(authority),
        Some(Ok(_)) => {}
        Some(Err(error)) => {
            examined.add(
                "data",
                FindingCode::AuthorityInvalid,
                format!("a payload of {system_type}"),
                error,
            );
        }
        // An absent body that the header names is reported as missing already.
        None if header.bodies.iter().any(|body| body.kind == BodyKind::Data) => {}
        None => examined.add(
            "data",
            FindingCode::AuthorityInvalid,
            format!("a payload of {system_type}"),
            "no data",
        ),
    }
}
