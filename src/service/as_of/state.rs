//! The state of a stream as of a moment: one read of the stream's index, then headers and bodies in batches.

use std::collections::HashMap;
use std::ops::Range;

use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use super::super::pace::Pace;
use super::super::read::{Opened, PersonalState, Reveal, certificate_of};
use super::super::{Code, Error, Ledger, Service};
use super::fold::{Block, Folded, NotFolded, Personal};
use super::{Moment, Standing, Turn, budget, damaged, decode};
use crate::keystore::{KeyRef, Refusal};
use crate::spec::event::{BodyKind, Header};
use crate::spec::ids::{StreamName, StreamRef};
use crate::spec::seal::SealedBlock;
use crate::store::BodyRow;

/// Events that are read at once, at the most.
const CHUNK: u64 = 512;
/// Blocks that one question may open: the record of it names their events.
const MAX_OPENED: usize = 10_000;

/// A stream's state as readers see it (docs/api.md, Time travel).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StreamState {
    /// The stream.
    pub stream: StreamName,
    /// Its random reference.
    pub stream_ref: StreamRef,
    /// The version that the state is of; 0 before the first event.
    pub stream_version: u64,
    /// Where the ledger stood.
    #[serde(flatten)]
    pub standing: Standing,
    /// The folded public data; null before the first event.
    pub state: Value,
    /// The folded personal data, by handle and category.
    #[schema(value_type = std::collections::BTreeMap<crate::spec::ids::Handle, std::collections::BTreeMap<crate::spec::ids::Category, super::fold::Field>>)]
    pub personal: Personal,
    /// Bodies that are not there.
    pub not_folded: Vec<NotFolded>,
    /// What was opened.
    #[serde(skip)]
    pub opened: Opened,
    #[serde(skip)]
    _turn: Turn,
}

/// A version of a stream, and how large the ledger was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) version: u64,
    pub(super) tree_size: u64,
}

/// A fold under way.
pub(super) struct Folding<'a> {
    service: &'a Service,
    ledger: &'a Ledger,
    stream: StreamRef,
    reveal: Reveal,
    pub(super) folded: Folded,
    pub(super) opened: Opened,
    /// Without opening, a key's state is asked for once.
    known: HashMap<KeyRef, Option<Refusal>>,
}

impl Service {
    /// The state of a stream. O(events of the stream up to the moment).
    ///
    /// # Errors
    /// `stream_not_found` for a stream that never was; `too_large` if more than 10,000 blocks would be opened or the state
    /// does not fit its budget; `overloaded`.
    pub fn stream_state(
        &self,
        ledger: &Ledger,
        stream: &StreamName,
        moment: Moment,
        reveal: Reveal,
    ) -> Result<StreamState, Error> {
        let turn = self.turn()?;
        let stream_ref = self.reference_of(ledger, stream)?;
        let place = self.place(ledger, stream_ref, moment)?;
        let mut folding = Folding::new(self, ledger, stream_ref, reveal);
        folding.advance(place.version)?;
        let Folding { mut folded, opened, .. } = folding;
        folded.settle();
        Ok(StreamState {
            stream: stream.clone(),
            stream_ref,
            stream_version: place.version,
            standing: self.standing(ledger, place.tree_size)?,
            state: folded.public,
            personal: folded.personal,
            not_folded: folded.not_folded,
            opened,
            _turn: turn,
        })
    }

    pub(super) fn reference_of(&self, ledger: &Ledger, stream: &StreamName) -> Result<StreamRef, Error> {
        let rows = self
            .store
            .stream_rows(ledger.record.number, std::slice::from_ref(stream))?;
        let row = rows.into_iter().next().flatten();
        let row = row.ok_or_else(|| Error::new(Code::StreamNotFound, "there is no stream of this name"))?;
        Ok(row.stream_ref)
    }

    /// Which version of the stream a moment means: O(log n) reads.
    pub(super) fn place(&self, ledger: &Ledger, stream: StreamRef, moment: Moment) -> Result<Place, Error> {
        let tree_size = self.size_at(ledger, moment)?;
        let version = self.versions_until(ledger, stream, tree_size)?;
        let Moment::Version(asked) = moment else {
            return Ok(Place { version, tree_size });
        };
        if asked > version {
            return Ok(Place { version, tree_size });
        }
        // Version 0 is the ledger right before the stream's first event.
        let index = self.index_of_version(ledger, stream, asked.max(1))?;
        let index =
            index.ok_or_else(|| Error::new(Code::Damaged, format!("version {asked} of a stream is missing")))?;
        Ok(Place {
            version: asked,
            tree_size: index + u64::from(asked > 0),
        })
    }

    fn versions_until(&self, ledger: &Ledger, stream: StreamRef, tree_size: u64) -> Result<u64, Error> {
        let Some(last) = self.last_version(ledger, stream)? else {
            return Ok(0);
        };
        Ok(self.first_version_from(ledger, stream, last, tree_size)? - 1)
    }

    /// Takes back what was fenced while the reveal was being recorded, as [`Service::withdraw_fenced`] does for events.
    ///
    /// # Errors
    /// If the key store cannot be read.
    pub fn withdraw_fenced_state(&self, ledger: &Ledger, personal: &mut Personal) -> Result<(), Error> {
        for (handle, fields) in personal {
            for (category, field) in fields {
                for generation in field.generations() {
                    let key = KeyRef {
                        handle: *handle,
                        category: category.clone(),
                        generation,
                    };
                    if let Err(refusal) = self.keystore.key(ledger.record.id, &key)?.map(drop) {
                        field.withdraw(generation, PersonalState::of(refusal), certificate_of(ledger, &refusal));
                    }
                }
            }
        }
        Ok(())
    }
}

impl<'a> Folding<'a> {
    pub(super) fn new(service: &'a Service, ledger: &'a Ledger, stream: StreamRef, reveal: Reveal) -> Self {
        Self {
            service,
            ledger,
            stream,
            reveal,
            folded: Folded::default(),
            opened: Opened::default(),
            known: HashMap::new(),
        }
    }

    /// Folds on, up to and with a version.
    pub(super) fn advance(&mut self, version: u64) -> Result<(), Error> {
        let mut pace = Pace::new(self.folded.version + 1..version.saturating_add(1), CHUNK);
        while let Some(piece) = pace.next() {
            let events = self.load(piece)?;
            pace.saw(events.iter().map(weight).sum());
            for (header, bodies) in events {
                self.event(&header, bodies)?;
            }
        }
        self.folded.version = version;
        Ok(())
    }

    /// Events of the stream with the bodies that a fold needs, in three reads.
    fn load(&self, versions: Range<u64>) -> Result<Vec<(Header, Vec<Body>)>, Error> {
        let (store, number) = (&self.service.store, self.ledger.record.number);
        let count = versions.end - versions.start;
        let indexes = store.stream_events(
            number,
            self.stream,
            versions,
            super::super::read::Direction::Forward,
            usize::MAX,
        )?;
        if indexes.len() as u64 != count {
            return Err(Error::new(Code::Damaged, "a stream's index has gaps"));
        }
        let rows = store.headers_at(number, &indexes)?;
        let header = |(row, index): (Option<crate::store::HeaderRow>, &u64)| {
            decode(&row.ok_or_else(|| damaged(*index))?.header, *index)
        };
        let headers = rows
            .into_iter()
            .zip(&indexes)
            .map(header)
            .collect::<Result<Vec<_>, _>>()?;
        let wanted: Vec<_> = headers.iter().flat_map(wanted).collect();
        let mut rows = store.bodies_at(number, &wanted)?.into_iter();
        let with_bodies = |header: Header| {
            let bodies = wanted_of(&header).map(|(ordinal, kind)| (ordinal, kind, rows.next().flatten()));
            let bodies = bodies.collect();
            (header, bodies)
        };
        Ok(headers.into_iter().map(with_bodies).collect())
    }

    fn event(&mut self, header: &Header, bodies: Vec<Body>) -> Result<(), Error> {
        let absent = bodies.iter().filter(|(_, _, row)| row.is_none());
        let absent: Vec<_> = absent
            .map(|(ordinal, kind, _)| (header.index, *ordinal, *kind))
            .collect();
        let removed = self.service.removed(self.ledger, &absent)?;
        for (ordinal, kind, row) in bodies {
            let not_folded = |state| NotFolded {
                stream_version: header.stream_version,
                index: header.index,
                ordinal,
                body: if kind == BodyKind::Sealed { "personal" } else { "data" },
                state,
            };
            match row {
                None => {
                    let removed = removed.get(&(header.index, ordinal));
                    let state = removed.map_or("missing", |removed| removed.removal.as_str());
                    self.folded.leave_out(not_folded(state));
                }
                Some(row) if kind == BodyKind::Sealed => self.block(header, ordinal, &row.bytes)?,
                // What is accepted as JSON may be beyond what a fold can hold: 1e999, half a surrogate pair, great depth.
                Some(row) => match serde_json::from_slice(&row.bytes) {
                    Ok(data) => self.folded.merge(&data),
                    Err(_) => self.folded.leave_out(not_folded("not_foldable")),
                },
            }
            if !self.folded.fits() {
                let detail = format!(
                    "the state of this stream takes more than {} bytes; read its events in pages",
                    budget::MAX_STATE
                );
                return Err(Error::new(Code::TooLarge, detail));
            }
        }
        Ok(())
    }

    fn block(&mut self, header: &Header, ordinal: u16, bytes: &[u8]) -> Result<(), Error> {
        let block = SealedBlock::decode(bytes).map_err(|error| damaged(header.index).caused_by(error))?;
        let (state, data, certificate) = match self.open(header, ordinal, &block)? {
            Err(refusal) => (PersonalState::of(refusal), None, certificate_of(self.ledger, &refusal)),
            Ok(None) => (PersonalState::Sealed, None, None),
            Ok(Some(plaintext)) => match serde_json::from_slice(&plaintext) {
                Ok(data) => (PersonalState::Clear, Some(data), None),
                Err(_) => (PersonalState::NotFoldable, None, None),
            },
        };
        let block = Block {
            handle: block.handle,
            category: block.category,
            generation: block.generation,
            state,
            data,
            certificate,
        };
        self.folded.block(header.stream_version, block);
        Ok(())
    }

    fn open(&mut self, header: &Header, ordinal: u16, block: &SealedBlock) -> Result<Opening, Error> {
        if self.reveal == Reveal::Sealed {
            return Ok(self.refusal(block)?.map_or(Ok(None), Err));
        }
        let plaintext = match self.service.open_block(self.ledger, header, ordinal, block)? {
            Ok(plaintext) => plaintext,
            Err(refusal) => return Ok(Err(refusal)),
        };
        self.opened.add(header.index, Some(block.handle));
        if self.opened.blocks() > MAX_OPENED {
            let detail = format!(
                "more than {MAX_OPENED} blocks of personal data would be opened at once; read the events in pages"
            );
            return Err(Error::new(Code::TooLarge, detail));
        }
        Ok(Ok(Some(plaintext)))
    }

    fn refusal(&mut self, block: &SealedBlock) -> Result<Option<Refusal>, Error> {
        let key = KeyRef {
            handle: block.handle,
            category: block.category.clone(),
            generation: block.generation,
        };
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let refusal = self.service.keystore.key(self.ledger.record.id, &key)?.map(drop).err();
        self.known.insert(key, refusal);
        Ok(refusal)
    }
}

/// What a block holds, if it was to be opened, or why it cannot be.
type Opening = Result<Option<Zeroizing<Vec<u8>>>, Refusal>;

type Body = (u16, BodyKind, Option<BodyRow>);

fn wanted_of(header: &Header) -> impl Iterator<Item = (u16, BodyKind)> + '_ {
    let bodies = (0_u16..)
        .zip(&header.bodies)
        .map(|(ordinal, body)| (ordinal, body.kind));
    bodies.filter(|(_, kind)| *kind != BodyKind::Meta)
}

fn wanted(header: &Header) -> impl Iterator<Item = (u64, u16, BodyKind)> + '_ {
    wanted_of(header).map(|(ordinal, kind)| (header.index, ordinal, kind))
}

fn weight((_, bodies): &(Header, Vec<Body>)) -> usize {
    let rows = bodies.iter().filter_map(|(_, _, row)| row.as_ref());
    rows.map(|row| row.bytes.len()).sum()
}
