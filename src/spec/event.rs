//! Events: the header that is chained, signed and put into the tree, and the bodies it commits to
//! (docs/spec/03-events.md).
//!
//! ```text
//! header = {1: suite, 2: origin, 3: index, ?4: previous leaf hash, 5: event ref, 6: stream ref, 7: stream version,
//!           8: type, 9: schema version, 10: recorded at (µs), 11: [+ [kind, commitment]]}
//! leaf hash = SHA-256(0x00 || header)            the chain link and the Merkle leaf at once
//! ```
//!
//! A header holds no caller's text but the type, so nothing that names a person is immutable. What a caller wrote stands
//! in bodies beside it: `meta` always first, then `data` if there is any, then sealed blocks. Each body lies beside its
//! own random salt and can be purged alone; the header stays and proves that it was there. Out of scope: who signs
//! (`signature`), how personal data is sealed (`seal`).

use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};
use uuid::Uuid;

use super::encoding::{self, EncodingError, SUITE, Written};
use super::hash::{self, Hash};
use super::ids::{EventRef, EventType, Handle, Origin, StreamName, StreamRef, Timestamp};

/// The longest header, in bytes.
pub const MAX_HEADER: usize = 16 * 1024;
/// The most bodies that an event may have: meta, data and 256 sealed blocks.
pub const MAX_BODIES: usize = 258;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BodyKind {
    /// The envelope: event id, stream name, actor, tags and so on.
    Meta,
    /// The public payload, the exact bytes received.
    Data,
    /// A sealed block of personal data.
    Sealed,
}

impl BodyKind {
    /// The kind's number in headers.
    pub const fn number(self) -> u8 {
        match self {
            Self::Meta => 0,
            Self::Data => 1,
            Self::Sealed => 2,
        }
    }

    /// The kind's label in commitments and reports.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Data => "data",
            Self::Sealed => "sealed",
        }
    }

    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Meta),
            1 => Some(Self::Data),
            2 => Some(Self::Sealed),
            _ => None,
        }
    }
}

/// A body with the salt that hides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    /// What it is.
    pub kind: BodyKind,
    /// 32 random bytes, stored and purged with the body.
    pub salt: [u8; 32],
    /// The committed bytes.
    pub bytes: Vec<u8>,
}

impl Body {
    /// What the header says of it.
    pub fn commitment(&self) -> Commitment {
        Commitment {
            kind: self.kind,
            hash: hash::commitment(self.kind.label(), &self.salt, &self.bytes),
        }
    }
}

/// A header's commitment to one body; its position in the list is the body's ordinal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commitment {
    /// What the body is.
    pub kind: BodyKind,
    /// `SHA-256("oubliette/v1/<kind>\0" || salt || u64be length || bytes)`.
    pub hash: Hash,
}

/// The immutable part of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The ledger's origin.
    pub origin: Origin,
    /// Leaf index, from 0, gapless in commit order.
    pub index: u64,
    /// Leaf hash of the event before; absent at index 0 alone.
    pub previous: Option<Hash>,
    /// The event's random reference.
    pub event_ref: EventRef,
    /// The stream's random reference.
    pub stream_ref: StreamRef,
    /// Position in the stream, from 1, gapless.
    pub stream_version: u64,
    /// What happened.
    pub event_type: EventType,
    /// Version of the payload's schema, from 1.
    pub schema_version: u32,
    /// When it was sequenced by this server's clock; never decreases within a ledger.
    pub recorded_at: Timestamp,
    /// The bodies, in order.
    pub bodies: Vec<Commitment>,
}

impl Header {
    /// The deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(192 + self.origin.as_str().len() + 38 * self.bodies.len());
        let _ = self.write(&mut Encoder::new(&mut out));
        out
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.map(10 + u64::from(self.previous.is_some()))?;
        e.u8(1)?.u64(SUITE)?;
        e.u8(2)?.str(self.origin.as_str())?;
        e.u8(3)?.u64(self.index)?;
        if let Some(previous) = &self.previous {
            e.u8(4)?.bytes(previous.as_bytes())?;
        }
        e.u8(5)?.bytes(self.event_ref.as_bytes())?;
        e.u8(6)?.bytes(self.stream_ref.as_bytes())?;
        e.u8(7)?.u64(self.stream_version)?;
        e.u8(8)?.str(self.event_type.as_str())?;
        e.u8(9)?.u32(self.schema_version)?;
        e.u8(10)?.u64(self.recorded_at.0)?;
        e.u8(11)?.array(self.bodies.len() as u64)?;
        for body in &self.bodies {
            e.array(2)?.u8(body.kind.number())?.bytes(body.hash.as_bytes())?;
        }
        Ok(())
    }

    /// Reads the canonical form and checks its inner rules.
    ///
    /// # Errors
    /// [`EncodingError`] for anything that [`Header::encode`] would not have written for a valid header.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        if bytes.len() > MAX_HEADER {
            return Err(EncodingError::TooLong(MAX_HEADER));
        }
        let mut d = Decoder::new(bytes);
        let fields = d.map()?.unwrap_or(0);
        encoding::expect_suite(&mut d)?;
        let header = Self {
            origin: keyed(&mut d, 2, |d| encoding::parse(d.str()?))?,
            index: keyed(&mut d, 3, |d| Ok(d.u64()?))?,
            previous: match fields {
                11 => Some(keyed(&mut d, 4, |d| Ok(Hash::from(encoding::array(d.bytes()?)?)))?),
                _ => None,
            },
            event_ref: keyed(&mut d, 5, |d| Ok(EventRef(encoding::array(d.bytes()?)?)))?,
            stream_ref: keyed(&mut d, 6, |d| Ok(StreamRef(encoding::array(d.bytes()?)?)))?,
            stream_version: keyed(&mut d, 7, |d| Ok(d.u64()?))?,
            event_type: keyed(&mut d, 8, |d| encoding::parse(d.str()?))?,
            schema_version: keyed(&mut d, 9, |d| Ok(d.u32()?))?,
            recorded_at: keyed(&mut d, 10, |d| Ok(Timestamp(d.u64()?)))?,
            bodies: keyed(&mut d, 11, read_commitments)?,
        };
        encoding::written_again(bytes, |e| header.write(e))?;
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), EncodingError> {
        let wrong = |rule: &str| Err(EncodingError::Malformed(rule.to_owned()));
        if self.previous.is_none() != (self.index == 0) {
            return wrong("the previous leaf hash is absent at index 0 and nowhere else");
        }
        if self.stream_version == 0 || self.schema_version == 0 {
            return wrong("versions start at 1");
        }
        let kinds: Vec<_> = self.bodies.iter().map(|body| body.kind).collect();
        if kinds.first() != Some(&BodyKind::Meta) || kinds.iter().filter(|kind| **kind == BodyKind::Meta).count() > 1 {
            return wrong("the first body, and no other, is meta");
        }
        if !kinds.is_sorted() || kinds.iter().filter(|kind| **kind == BodyKind::Data).count() > 1 {
            return wrong("bodies are meta, at most one data, then sealed blocks");
        }
        Ok(())
    }
}

fn keyed<'b, T>(
    d: &mut Decoder<'b>,
    key: u64,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, EncodingError>,
) -> Result<T, EncodingError> {
    encoding::expect_key(d, key)?;
    read(d)
}

fn read_commitments(d: &mut Decoder<'_>) -> Result<Vec<Commitment>, EncodingError> {
    let count = d
        .array()?
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| (1..=MAX_BODIES).contains(n));
    let count = count.ok_or_else(|| EncodingError::Malformed(format!("expected 1 to {MAX_BODIES} bodies")))?;
    (0..count)
        .map(|_| {
            encoding::expect_array(d, 2)?;
            let kind = BodyKind::from_number(d.u8()?);
            let kind = kind.ok_or_else(|| EncodingError::Malformed("unknown kind of body".into()))?;
            Ok(Commitment {
                kind,
                hash: Hash::from(encoding::array(d.bytes()?)?),
            })
        })
        .collect()
}

/// Who acted: a name for a machine or a role, or a person by handle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A name, given in clear.
    Name(Box<str>),
    /// A data subject.
    Subject(Handle),
}

/// The body `meta`: what the caller said around the payload. Purgeable.
///
/// `{1: event id, 2: stream name, ?3: occurred at (µs), ?4: actor (text, or handle as bytes), ?5: correlation id,
///   ?6: causation id, ?7: trace parent, ?8: [+ tag]}`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The caller's id, unique per ledger for ever.
    pub id: Uuid,
    /// The stream's name.
    pub stream: StreamName,
    /// When it happened, as the caller says.
    pub occurred_at: Option<Timestamp>,
    /// Who acted.
    pub actor: Option<Actor>,
    /// What the event belongs to.
    pub correlation_id: Option<Box<str>>,
    /// What caused it.
    pub causation_id: Option<Box<str>>,
    /// W3C trace context of the request.
    pub trace_parent: Option<Box<str>>,
    /// Free labels, in the caller's order.
    pub tags: Vec<Box<str>>,
}

impl Meta {
    /// A meta with nothing but the two required fields.
    pub fn new(id: Uuid, stream: StreamName) -> Self {
        let (occurred_at, actor, correlation_id, causation_id, trace_parent) = (None, None, None, None, None);
        Self {
            id,
            stream,
            occurred_at,
            actor,
            correlation_id,
            causation_id,
            trace_parent,
            tags: Vec::new(),
        }
    }

    /// The deterministic encoding.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.stream.as_str().len());
        let _ = self.write(&mut Encoder::new(&mut out));
        out
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        let optional = [
            self.occurred_at.is_some(),
            self.actor.is_some(),
            self.correlation_id.is_some(),
            self.causation_id.is_some(),
            self.trace_parent.is_some(),
            !self.tags.is_empty(),
        ];
        e.map(2 + optional.into_iter().map(u64::from).sum::<u64>())?;
        e.u8(1)?.bytes(self.id.as_bytes())?;
        e.u8(2)?.str(self.stream.as_str())?;
        if let Some(time) = self.occurred_at {
            e.u8(3)?.u64(time.0)?;
        }
        match &self.actor {
            Some(Actor::Name(name)) => drop(e.u8(4)?.str(name)?),
            Some(Actor::Subject(handle)) => drop(e.u8(4)?.bytes(handle.as_bytes())?),
            None => {}
        }
        for (key, text) in [
            (5, &self.correlation_id),
            (6, &self.causation_id),
            (7, &self.trace_parent),
        ] {
            if let Some(text) = text {
                e.u8(key)?.str(text)?;
            }
        }
        if !self.tags.is_empty() {
            e.u8(8)?.array(self.tags.len() as u64)?;
            for tag in &self.tags {
                e.str(tag)?;
            }
        }
        Ok(())
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    /// [`EncodingError`] for anything that [`Meta::encode`] would not have written.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        use minicbor::data::Type;
        let mut d = Decoder::new(bytes);
        let fields = d.map()?.filter(|n| (2..=8).contains(n));
        let fields = fields.ok_or_else(|| EncodingError::Malformed("expected a map of 2 to 8".into()))?;
        let id = keyed(&mut d, 1, |d| Ok(Uuid::from_bytes(encoding::array(d.bytes()?)?)))?;
        let mut meta = Self::new(id, keyed(&mut d, 2, |d| encoding::parse(d.str()?))?);
        for _ in 2..fields {
            match d.u64()? {
                3 => meta.occurred_at = Some(Timestamp(d.u64()?)),
                4 if d.datatype()? == Type::Bytes => {
                    meta.actor = Some(Actor::Subject(Handle(encoding::array(d.bytes()?)?)));
                }
                4 => meta.actor = Some(Actor::Name(d.str()?.into())),
                5 => meta.correlation_id = Some(d.str()?.into()),
                6 => meta.causation_id = Some(d.str()?.into()),
                7 => meta.trace_parent = Some(d.str()?.into()),
                8 => meta.tags = read_texts(&mut d)?,
                other => return Err(EncodingError::Malformed(format!("unknown key {other}"))),
            }
        }
        encoding::written_again(bytes, |e| meta.write(e))?;
        Ok(meta)
    }
}

fn read_texts(d: &mut Decoder<'_>) -> Result<Vec<Box<str>>, EncodingError> {
    let count = d
        .array()?
        .ok_or_else(|| EncodingError::Malformed("indefinite length".into()))?;
    (0..count).map(|_| Ok(d.str()?.into())).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        let body = |kind| {
            Body {
                kind,
                salt: [1; 32],
                bytes: b"{}".to_vec(),
            }
            .commitment()
        };
        Header {
            origin: "audit.example.com/main".parse().unwrap(),
            index: 7,
            previous: Some(Hash::from([9; 32])),
            event_ref: EventRef([2; 16]),
            stream_ref: StreamRef([3; 16]),
            stream_version: 1,
            event_type: "order.placed".parse().unwrap(),
            schema_version: 1,
            recorded_at: Timestamp(1_700_000_000_000_000),
            bodies: vec![body(BodyKind::Meta), body(BodyKind::Data), body(BodyKind::Sealed)],
        }
    }

    #[test]
    fn a_header_reads_back_and_breaks_its_rules_nowhere() {
        let good = header();
        assert_eq!(Header::decode(&good.encode()).unwrap(), good);
        for (rule, broken) in [
            (
                "previous at 0",
                Header {
                    index: 0,
                    ..good.clone()
                },
            ),
            (
                "no previous",
                Header {
                    previous: None,
                    ..good.clone()
                },
            ),
            (
                "stream version 0",
                Header {
                    stream_version: 0,
                    ..good.clone()
                },
            ),
            (
                "schema version 0",
                Header {
                    schema_version: 0,
                    ..good.clone()
                },
            ),
            (
                "no bodies",
                Header {
                    bodies: vec![],
                    ..good.clone()
                },
            ),
            (
                "no meta",
                Header {
                    bodies: good.bodies[1..].to_vec(),
                    ..good.clone()
                },
            ),
            (
                "two metas",
                Header {
                    bodies: vec![good.bodies[0]; 2],
                    ..good.clone()
                },
            ),
            (
                "two datas",
                Header {
                    bodies: [&good.bodies[..2], &good.bodies[1..2]].concat(),
                    ..good.clone()
                },
            ),
            (
                "too many",
                Header {
                    bodies: [&good.bodies[..1], &vec![good.bodies[2]; 300]].concat(),
                    ..good.clone()
                },
            ),
        ] {
            assert!(Header::decode(&broken.encode()).is_err(), "{rule}");
        }
    }

    #[test]
    fn kinds_of_bodies_do_not_share_commitments() {
        let body = |kind| {
            Body {
                kind,
                salt: [1; 32],
                bytes: b"{}".to_vec(),
            }
            .commitment()
            .hash
        };
        assert_ne!(body(BodyKind::Meta), body(BodyKind::Data));
        assert_ne!(body(BodyKind::Sealed), body(BodyKind::Data));
    }

    #[test]
    fn meta_reads_back_with_every_field() {
        let mut meta = Meta::new(Uuid::from_bytes([5; 16]), "order-7".parse().unwrap());
        assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
        meta.occurred_at = Some(Timestamp(5));
        meta.actor = Some(Actor::Subject(Handle([4; 16])));
        meta.correlation_id = Some("c".into());
        meta.tags = vec!["b".into(), "a".into()];
        assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
        meta.actor = Some(Actor::Name("billing".into()));
        assert_eq!(Meta::decode(&meta.encode()).unwrap(), meta);
    }

    proptest! {
        #[test]
        fn what_decodes_is_canonical(flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..3)) {
            let mut bytes = header().encode();
            for (at, value) in flips {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(header.encode(), bytes);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::decode(&bytes);
            let _ = Meta::decode(&bytes);
        }
    }
}
