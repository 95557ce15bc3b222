//! The bytes of one key slot.
//!
//! ```text
//! magic "OUBSLOT1" | vault id 16 | ledger id 16 | sequence u64 | kind u8 | 0 0 0 | epoch u32 | key 32
//!                  | time u64 | time u64 | zeros | checksum
//! checksum over slot number u64 ‖ bytes 0..480: see `stamp`    integers big-endian, times in microseconds
//! kind: 0 destroyed, 1 epoch key (made at), 2 bucket-hash key, 3 suppression key,
//!       4 the epoch was backed up (at), 5 the epoch is retired (since, until)
//! ```

use zeroize::Zeroizing;

use super::stamp::Stamp;
use crate::keystore::vault::{Epoch, Secret};
use crate::spec::ids::LedgerId;

const MAGIC: &[u8; 8] = b"OUBSLOT1";
pub(super) const SIZE: usize = 512;
const CONTENT: usize = SIZE - 32;

pub(super) type Bytes = Zeroizing<[u8; SIZE]>;

/// What a key is for. The order is the one of the byte on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Destroyed = 0,
    Epoch = 1,
    BucketHash = 2,
    Suppression = 3,
    BackedUp = 4,
    Retired = 5,
}

impl Kind {
    fn parse(byte: u8) -> Option<Self> {
        let all = [
            Self::Destroyed,
            Self::Epoch,
            Self::BucketHash,
            Self::Suppression,
            Self::BackedUp,
            Self::Retired,
        ];
        all.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The names of a key in the vault; `epoch` is 0 for kinds that have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) ledger: LedgerId,
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
}

/// Where a key stands, in the version that is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: u64,
    pub(super) sequence: u64,
    pub(super) times: Times,
}

/// Two moments, in microseconds; 0 where there is none.
pub(super) type Times = [u64; 2];

/// What a slot holds.
pub(super) enum Content {
    Empty,
    Damaged,
    Valid(Name, u64, Times, Secret),
}

pub(super) fn encode(stamp: &Stamp, place: Place, name: Name, key: &Secret) -> Bytes {
    let mut bytes = Bytes::new([0; SIZE]);
    let parts: [&[u8]; 10] = [
        MAGIC,
        &stamp.owner.0,
        name.ledger.as_bytes(),
        &place.sequence.to_be_bytes(),
        &[name.kind as u8, 0, 0, 0],
        &name.epoch.to_be_bytes(),
        key.as_slice(),
        &place.times[0].to_be_bytes(),
        &place.times[1].to_be_bytes(),
        &[0; CONTENT - 100],
    ];
    let mut at = bytes.iter_mut();
    parts
        .into_iter()
        .flatten()
        .zip(&mut at)
        .for_each(|(byte, place)| *place = *byte);
    let sum = checksum(stamp, place.slot, &bytes);
    bytes
        .iter_mut()
        .rev()
        .zip(sum.iter().rev())
        .for_each(|(place, byte)| *place = *byte);
    bytes
}

fn checksum(stamp: &Stamp, slot: u64, bytes: &Bytes) -> [u8; 32] {
    let content = bytes.first_chunk::<CONTENT>().map_or(&[] as &[u8], |content| content);
    stamp.checksum(&[&slot.to_be_bytes(), content])
}

pub(super) fn decode(stamp: &Stamp, slot: u64, bytes: &Bytes) -> Content {
    if bytes.iter().all(|byte| *byte == 0) {
        return Content::Empty;
    }
    parse(stamp, slot, bytes).map_or(Content::Damaged, |(name, sequence, times, key)| {
        Content::Valid(name, sequence, times, key)
    })
}

fn parse(stamp: &Stamp, slot: u64, bytes: &Bytes) -> Option<(Name, u64, Times, Secret)> {
    if bytes.last_chunk::<32>()? != &checksum(stamp, slot, bytes) {
        return None;
    }
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (vault, rest) = rest.split_first_chunk::<16>()?;
    let (ledger, rest) = rest.split_first_chunk::<16>()?;
    let (sequence, rest) = rest.split_first_chunk::<8>()?;
    let ([kind, ..], rest) = rest.split_first_chunk::<4>()?;
    let (epoch, rest) = rest.split_first_chunk::<4>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (first, rest) = rest.split_first_chunk::<8>()?;
    let (second, _) = rest.split_first_chunk::<8>()?;
    let name = Name {
        ledger: LedgerId(*ledger),
        kind: Kind::parse(*kind)?,
        epoch: Epoch::from_be_bytes(*epoch),
    };
    let times = [first, second].map(|time| u64::from_be_bytes(*time));
    (magic == MAGIC && *vault == stamp.owner.0).then(|| (name, u64::from_be_bytes(*sequence), times, Secret::new(*key)))
}
