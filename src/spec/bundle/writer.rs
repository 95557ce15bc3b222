//! Writing a bundle, member by member, with memory for one chunk.

use std::io::{self, Write};

use minicbor::Encoder;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::spec::encoding::EncodingError;
use crate::spec::event::Header;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::ids::Origin;
use crate::spec::system::is_reserved;
use crate::spec::verify::Record;

use super::{
    CHECKPOINT_NAME, CHECKPOINTS_NAME, FORMAT, MANIFEST_NAME, MAX_ITEMS, Manifest, MemberEntry, README, README_NAME,
    Selection, certificate_name, chunk, events_name, ustar,
};

/// Entries in a chunk.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of a chunk, unless its only entry is longer.
const MAX_CHUNK: usize = 4 << 20;
/// Leaf hashes in a gap: 2 MiB.
const MAX_GAP: usize = 1 << 16;

/// What a bundle states before its events.
#[derive(Debug, Clone)]
pub struct BundleHead {
    /// The ledger.
    pub origin: Origin,
    /// Leaves in the tree: all of them must follow.
    pub tree_size: u64,
    /// The root over them.
    pub root: Hash,
    /// The signed note of that size and root.
    pub checkpoint: String,
    /// Further signed notes, none of a larger size.
    pub further: Vec<String>,
    /// What was asked for; `None` if everything.
    pub selection: Option<Selection>,
}

/// Why a bundle could not be written. It is of no use then.
#[derive(Debug, thiserror::Error)]
pub enum BundleWriteError {
    /// The output failed.
    #[error("the bundle could not be written")]
    Io(#[from] io::Error),
    /// Not the next leaf index, or none at all any more.
    #[error("expected leaf {expected}, got {found}")]
    OutOfOrder {
        /// The index that is due; the tree size if all are there.
        expected: u64,
        /// The one that came; the tree size for the end.
        found: u64,
    },
    /// An event may not be left out: it is one of Oubliette's own, or the selection covers it.
    #[error("event {0} may not be left out")]
    Needed(u64),
    /// A header that is none.
    #[error("the header of event {index} is not valid")]
    Header {
        /// Its leaf index.
        index: u64,
        /// Why.
        #[source]
        source: EncodingError,
    },
    /// Certificates come in the order of their request ids, each once.
    #[error("certificate {0} is out of order")]
    CertificateOrder(Uuid),
    /// More further notes than a reader takes.
    #[error("{0} further checkpoints are more than a bundle holds")]
    TooManyCheckpoints(usize),
    /// The manifest could not be signed.
    #[error("the manifest could not be signed")]
    Manifest(#[source] EncodingError),
}

/// Writes a bundle. Give it every leaf in order, either [`include`](Self::include)d or [left out](Self::leave_out), then
/// the certificates, then [`finish`](Self::finish).
#[derive(Debug)]
pub struct BundleWriter<W> {
    out: W,
    head: BundleHead,
    members: Vec<MemberEntry>,
    next: u64,
    included: u64,
    chunk: Chunk,
    gap: Gap,
    last_certificate: Option<Uuid>,
}

#[derive(Debug, Default)]
struct Chunk {
    first: u64,
    entries: usize,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Gap {
    first: u64,
    leaves: Vec<Hash>,
}

impl<W: Write> BundleWriter<W> {
    /// Writes what comes before the events.
    ///
    /// # Errors
    /// [`BundleWriteError::TooManyCheckpoints`] and [`BundleWriteError::Io`].
    pub fn new(out: W, head: BundleHead) -> Result<Self, BundleWriteError> {
        if head.further.len() > MAX_ITEMS {
            return Err(BundleWriteError::TooManyCheckpoints(head.further.len()));
        }
        let (members, chunk, gap) = (Vec::new(), Chunk::default(), Gap::default());
        let mut writer = Self {
            out,
            head,
            members,
            next: 0,
            included: 0,
            chunk,
            gap,
            last_certificate: None,
        };
        writer.member(README_NAME.to_owned(), README.as_bytes())?;
        let checkpoint = std::mem::take(&mut writer.head.checkpoint);
        writer.member(CHECKPOINT_NAME.to_owned(), checkpoint.as_bytes())?;
        let further = std::mem::take(&mut writer.head.further);
        if !further.is_empty() {
            let mut bytes = Vec::new();
            for note in further {
                let _ = Encoder::new(&mut bytes).bytes(note.as_bytes());
            }
            writer.member(CHECKPOINTS_NAME.to_owned(), &bytes)?;
        }
        Ok(writer)
    }

    /// Adds an event.
    ///
    /// # Errors
    /// [`BundleWriteError::OutOfOrder`] and [`BundleWriteError::Io`].
    pub fn include(&mut self, record: &Record) -> Result<(), BundleWriteError> {
        self.step(record.index)?;
        self.flush_gap()?;
        let mut entry = Vec::with_capacity(record.header.len() + 512);
        chunk::write_event(&mut entry, record);
        self.included += 1;
        self.entry(record.index, &entry)
    }

    /// Leaves an event out: only its leaf hash is written.
    ///
    /// # Errors
    /// [`BundleWriteError::Needed`] if it must be included, else as [`include`](Self::include).
    pub fn leave_out(&mut self, index: u64, header: &[u8]) -> Result<(), BundleWriteError> {
        let decoded = Header::decode(header).map_err(|source| BundleWriteError::Header { index, source })?;
        let may = self
            .head
            .selection
            .as_ref()
            .is_some_and(|selection| selection.may_leave_out(index));
        if !may || is_reserved(&decoded.event_type) {
            return Err(BundleWriteError::Needed(index));
        }
        self.step(index)?;
        if self.gap.leaves.is_empty() {
            self.gap.first = index;
        }
        self.gap.leaves.push(leaf_hash(header));
        if self.gap.leaves.len() == MAX_GAP {
            self.flush_gap()
        } else {
            Ok(())
        }
    }

    /// Adds a signed certificate of erasure. After all events, in the order of the request ids.
    ///
    /// # Errors
    /// [`BundleWriteError::CertificateOrder`], [`BundleWriteError::OutOfOrder`] before the last event, and
    /// [`BundleWriteError::Io`].
    pub fn certificate(&mut self, request: Uuid, document: &[u8]) -> Result<(), BundleWriteError> {
        self.end_events()?;
        if self.last_certificate.is_some_and(|last| last >= request) {
            return Err(BundleWriteError::CertificateOrder(request));
        }
        self.last_certificate = Some(request);
        self.member(certificate_name(&request), document)
    }

    /// Writes the manifest, signed by `sign`, and the end. The caller flushes and syncs the output.
    ///
    /// # Errors
    /// [`BundleWriteError::OutOfOrder`] before the last event, [`BundleWriteError::Manifest`] and [`BundleWriteError::Io`].
    pub fn finish(
        mut self,
        sign: impl FnOnce(&Manifest) -> Result<Vec<u8>, EncodingError>,
    ) -> Result<W, BundleWriteError> {
        self.end_events()?;
        let manifest = Manifest {
            format: FORMAT.to_owned(),
            origin: self.head.origin,
            tree_size: self.head.tree_size,
            root: self.head.root,
            events: self.included,
            selection: self.head.selection,
            members: self.members,
        };
        let signed = sign(&manifest).map_err(BundleWriteError::Manifest)?;
        ustar::write_member(&mut self.out, MANIFEST_NAME, &signed)?;
        ustar::write_end(&mut self.out)?;
        Ok(self.out)
    }

    fn step(&mut self, found: u64) -> Result<(), BundleWriteError> {
        let expected = self.next;
        if found != expected || found >= self.head.tree_size {
            return Err(BundleWriteError::OutOfOrder { expected, found });
        }
        self.next += 1;
        Ok(())
    }

    fn end_events(&mut self) -> Result<(), BundleWriteError> {
        let (expected, found) = (self.next, self.head.tree_size);
        if expected != found {
            return Err(BundleWriteError::OutOfOrder { expected, found });
        }
        self.flush_gap()?;
        self.flush_chunk()
    }

    fn flush_gap(&mut self) -> Result<(), BundleWriteError> {
        let Gap { first, leaves } = std::mem::take(&mut self.gap);
        if leaves.is_empty() {
            return Ok(());
        }
        let mut entry = Vec::with_capacity(32 * leaves.len() + 16);
        chunk::write_gap(&mut entry, first, &leaves);
        self.entry(first, &entry)
    }

    fn entry(&mut self, first: u64, entry: &[u8]) -> Result<(), BundleWriteError> {
        let full = self.chunk.entries == MAX_ENTRIES || self.chunk.bytes.len() + entry.len() > MAX_CHUNK;
        if full {
            self.flush_chunk()?;
        }
        if self.chunk.entries == 0 {
            self.chunk.first = first;
        }
        self.chunk.entries += 1;
        self.chunk.bytes.extend_from_slice(entry);
        Ok(())
    }

    fn flush_chunk(&mut self) -> Result<(), BundleWriteError> {
        let chunk = std::mem::take(&mut self.chunk);
        if chunk.entries == 0 {
            return Ok(());
        }
        self.member(events_name(chunk.first), &chunk.bytes)?;
        self.chunk.bytes = chunk.bytes;
        self.chunk.bytes.clear();
        Ok(())
    }

    fn member(&mut self, name: String, content: &[u8]) -> Result<(), BundleWriteError> {
        ustar::write_member(&mut self.out, &name, content)?;
        let sha256 = Hash::from(<[u8; 32]>::from(Sha256::digest(content)));
        self.members.push(MemberEntry {
            name,
            size: content.len() as u64,
            sha256,
        });
        Ok(())
    }
}
