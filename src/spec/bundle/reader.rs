//! Reading a bundle member by member: order, names, canonical archive, decoded chunks. What is wrong becomes a finding, and
//! reading goes on where the next member can still be found.

use std::io::{self, Cursor, Read};

use minicbor::{Decoder, Encoder};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::spec::encoding::EncodingError;
use crate::spec::hash::Hash;
use crate::spec::report::{Finding, FindingCode};
use crate::spec::verify::Entry;

use super::ustar::{self, Archive, BLOCK, Flaw, Next, RawMember};
use super::{
    BundleError, CHECKPOINT_NAME, CHECKPOINTS_NAME, MANIFEST_NAME, MAX_ITEMS, MemberEntry, README_NAME, TITLE,
    certificate_name, chunk, events_name,
};

/// How much of a file tells whether it is a bundle.
pub(super) const PREFIX: usize = BLOCK + TITLE.len();

/// Whether a file that begins like this is a bundle, be it a damaged one: by its first header or by its first line.
pub fn is_bundle(prefix: &[u8]) -> bool {
    let shortest = README_NAME.len();
    let expected = ustar::header(README_NAME, super::README.len() as u64);
    match prefix.split_at_checked(BLOCK) {
        Some((header, text)) => {
            let other_length = header.get(124..135).and_then(|digits| std::str::from_utf8(digits).ok());
            let other_length = other_length.and_then(|digits| u64::from_str_radix(digits, 8).ok());
            other_length.is_some_and(|length| header == ustar::header(README_NAME, length))
                || text.starts_with(TITLE.as_bytes())
        }
        None => prefix.len() >= shortest && expected.starts_with(prefix),
    }
}

/// A member of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// The text for people.
    Readme,
    /// The signed note of the whole.
    Checkpoint(Vec<u8>),
    /// Further signed notes.
    Checkpoints(Vec<Vec<u8>>),
    /// Leaves, in order.
    Events(Vec<Entry>),
    /// A signed certificate.
    Certificate {
        /// The request id that its name states.
        request: Uuid,
        /// The COSE_Sign1 document.
        document: Vec<u8>,
    },
    /// The signed manifest.
    Manifest(Vec<u8>),
    /// Something that has no place here; there is a finding about it.
    Unexpected,
}

/// Where in the order of members a reader is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Start,
    Readme,
    Checkpoint,
    Checkpoints,
    Events(u64),
    Certificate(Uuid),
    Manifest,
}

impl Place {
    fn of(name: &str) -> Option<Self> {
        match name {
            README_NAME => Some(Self::Readme),
            CHECKPOINT_NAME => Some(Self::Checkpoint),
            CHECKPOINTS_NAME => Some(Self::Checkpoints),
            MANIFEST_NAME => Some(Self::Manifest),
            _ => Self::of_numbered(name),
        }
    }

    fn of_numbered(name: &str) -> Option<Self> {
        let (folder, file) = name.strip_suffix(".cbor")?.split_once('/')?;
        let place = match folder {
            "events" => Self::Events(file.parse().ok()?),
            "certificates" => Self::Certificate(file.parse().ok()?),
            _ => return None,
        };
        // One spelling only.
        (place.name() == name).then_some(place)
    }

    fn name(&self) -> String {
        match self {
            Self::Start => "the start".to_owned(),
            Self::Readme => README_NAME.to_owned(),
            Self::Checkpoint => CHECKPOINT_NAME.to_owned(),
            Self::Checkpoints => CHECKPOINTS_NAME.to_owned(),
            Self::Events(first) => events_name(*first),
            Self::Certificate(request) => certificate_name(request),
            Self::Manifest => MANIFEST_NAME.to_owned(),
        }
    }

    /// The member that must stand somewhere before this one and after `last`, if any.
    fn requires_after(&self, last: &Self) -> Option<&'static str> {
        match last {
            Self::Start if *self > Self::Readme => Some(README_NAME),
            Self::Readme if *self > Self::Checkpoint => Some(CHECKPOINT_NAME),
            Self::Checkpoint | Self::Checkpoints if *self > Self::Events(u64::MAX) => Some("events/"),
            _ => None,
        }
    }
}

/// Reads a bundle.
#[derive(Debug)]
pub struct BundleReader<R> {
    archive: Archive<io::Chain<Cursor<Vec<u8>>, R>>,
    last: Place,
    members: Vec<MemberEntry>,
    findings: Vec<Finding>,
    complete: bool,
}

impl<R: Read> BundleReader<R> {
    /// Looks at the beginning.
    ///
    /// # Errors
    /// [`BundleError::NotABundle`] and [`BundleError::Io`].
    pub fn new(mut input: R) -> Result<Self, BundleError> {
        let mut prefix = Vec::with_capacity(PREFIX);
        (&mut input).take(PREFIX as u64).read_to_end(&mut prefix)?;
        if !is_bundle(&prefix) {
            return Err(BundleError::NotABundle);
        }
        Ok(Self {
            archive: Archive::new(Cursor::new(prefix).chain(input)),
            last: Place::Start,
            members: Vec::new(),
            findings: Vec::new(),
            complete: false,
        })
    }

    /// The next member; `None` at the end, or where nothing more can be found.
    ///
    /// # Errors
    /// [`io::Error`] of the input. Damage is no error but a finding.
    pub fn next_member(&mut self) -> io::Result<Option<Member>> {
        match self.archive.next()? {
            Next::Member(member) => Ok(Some(self.place(member))),
            Next::End { trailing, flaws } => {
                self.flaws(flaws);
                if trailing {
                    self.find(
                        "archive",
                        FindingCode::TrailingBytes,
                        "the end of the file",
                        "more bytes",
                    );
                }
                if self.last != Place::Manifest {
                    self.find(
                        MANIFEST_NAME,
                        FindingCode::MemberUnexpected,
                        "the last member",
                        "absent",
                    );
                }
                self.complete = true;
                Ok(None)
            }
            Next::Truncated { at, place, flaws } => {
                self.flaws(flaws);
                let found = format!("the end of the file at byte {at}, in {place}");
                self.find("archive", FindingCode::Truncated, "a complete archive", found);
                Ok(None)
            }
            Next::Lost(flaw) => {
                let found = format!(
                    "at byte {} one without name and size; nothing after it can be read",
                    flaw.at
                );
                self.find(flaw.place, FindingCode::ArchiveInvalid, "a header", found);
                Ok(None)
            }
        }
    }

    /// The findings since the last call.
    pub fn take_findings(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.findings)
    }

    /// The members before the manifest, as they were read.
    pub fn members(&self) -> &[MemberEntry] {
        &self.members
    }

    /// Whether the archive was read to its end.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    fn find(&mut self, field: impl Into<String>, code: FindingCode, expected: impl ToString, found: impl ToString) {
        self.findings
            .push(Finding::new(None, field, code, expected.to_string(), found.to_string()));
    }

    fn flaws(&mut self, flaws: Vec<Flaw>) {
        for Flaw { at, place } in flaws {
            self.find(
                place,
                FindingCode::ArchiveInvalid,
                "the canonical archive",
                format!("another byte at {at}"),
            );
        }
    }

    fn place(&mut self, member: RawMember) -> Member {
        self.flaws(member.flaws);
        let place = Place::of(&member.name);
        if place != Some(Place::Manifest) {
            let sha256 = Hash::from(<[u8; 32]>::from(Sha256::digest(&member.content)));
            let (name, size) = (member.name.clone(), member.content.len() as u64);
            self.members.push(MemberEntry { name, size, sha256 });
        }
        let Some(place) = place.filter(|place| *place > self.last) else {
            let expected = format!("a member that comes after {}", self.last.name());
            self.find(
                member.name.clone(),
                FindingCode::MemberUnexpected,
                expected,
                member.name,
            );
            return Member::Unexpected;
        };
        if let Some(absent) = place.requires_after(&self.last) {
            self.find(
                absent,
                FindingCode::MemberUnexpected,
                format!("before {}", member.name),
                "absent",
            );
        }
        self.last = place.clone();
        self.read(place, member.content)
    }

    fn read(&mut self, place: Place, content: Vec<u8>) -> Member {
        match place {
            Place::Start | Place::Readme => Member::Readme,
            Place::Checkpoint => Member::Checkpoint(content),
            Place::Checkpoints => match read_notes(&content) {
                Ok(notes) => Member::Checkpoints(notes),
                Err(error) => {
                    self.find(CHECKPOINTS_NAME, FindingCode::MemberInvalid, "byte strings", error);
                    Member::Unexpected
                }
            },
            Place::Events(first) => self.read_events(first, &content),
            Place::Certificate(request) => Member::Certificate {
                request,
                document: content,
            },
            Place::Manifest => Member::Manifest(content),
        }
    }

    fn read_events(&mut self, first: u64, content: &[u8]) -> Member {
        let (entries, error) = chunk::read(content);
        let name = events_name(first);
        if let Some((at, error)) = error {
            let last = entries
                .last()
                .map_or_else(|| "the start".to_owned(), |entry| format!("leaf {}", entry.first()));
            let found = format!("at byte {at}, after {last}: {error}");
            self.find(
                &*name,
                FindingCode::MemberInvalid,
                "events and gaps in canonical CBOR",
                found,
            );
        }
        if let Some(found) = entries.first().map(Entry::first).filter(|found| *found != first) {
            self.find(
                &*name,
                FindingCode::MemberInvalid,
                format!("leaf {first} first"),
                format!("leaf {found}"),
            );
        }
        if content.is_empty() {
            self.find(&*name, FindingCode::MemberInvalid, "at least one entry", "none");
        }
        Member::Events(entries)
    }
}

fn read_notes(content: &[u8]) -> Result<Vec<Vec<u8>>, EncodingError> {
    let (mut notes, mut again) = (Vec::new(), Vec::with_capacity(content.len()));
    let mut d = Decoder::new(content);
    while d.position() < content.len() {
        if notes.len() == MAX_ITEMS {
            return Err(EncodingError::Malformed(format!("more than {MAX_ITEMS} notes")));
        }
        let note = d.bytes()?.to_vec();
        let _ = Encoder::new(&mut again).bytes(&note);
        notes.push(note);
    }
    crate::spec::encoding::canonical(content, &again)?;
    Ok(notes)
}
