//! What a verification is fed with: events with their bodies, or the bare leaf hashes of events that are left out.

use crate::spec::event::Body;
use crate::spec::hash::Hash;

/// One event as it is stored or carried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The leaf index under which it was found.
    pub index: u64,
    /// The header's bytes.
    pub header: Vec<u8>,
    /// The detached COSE_Sign1 over them.
    pub signature: Vec<u8>,
    /// The bodies that are there, ordinals ascending.
    pub bodies: Vec<RecordBody>,
}

/// A body as it is stored or carried; its kind is in the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordBody {
    /// Its place in the header's list.
    pub ordinal: u16,
    /// The salt of its commitment.
    pub salt: [u8; 32],
    /// The committed bytes.
    pub bytes: Vec<u8>,
}

impl RecordBody {
    /// A body at a place.
    pub fn new(ordinal: u16, body: &Body) -> Self {
        Self {
            ordinal,
            salt: body.salt,
            bytes: body.bytes.clone(),
        }
    }
}

/// What stands at one or more leaf indexes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// An event.
    Event(Record),
    /// Events that are left out: of them only the leaf hashes.
    Gap {
        /// The first leaf index.
        first: u64,
        /// One hash for each event.
        leaves: Vec<Hash>,
    },
}

impl Entry {
    /// The event, if it is one.
    pub fn event(&self) -> Option<&Record> {
        match self {
            Self::Event(record) => Some(record),
            Self::Gap { .. } => None,
        }
    }

    /// The first leaf index.
    pub fn first(&self) -> u64 {
        match self {
            Self::Event(record) => record.index,
            Self::Gap { first, .. } => *first,
        }
    }
}
