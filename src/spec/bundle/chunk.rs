//! The content of `events/...`: a CBOR sequence (RFC 8742) of deterministic CBOR items, in the order of leaf indexes.
//!
//! ```text
//! event = [0, index, header bytes, signature bytes, [* [ordinal, salt, bytes]]]
//! gap   = [1, first index, leaf hashes (n * 32 bytes, n >= 1)]
//! ```

use std::convert::Infallible;

use minicbor::{Decoder, Encoder};

use crate::spec::encoding::{self, EncodingError};
use crate::spec::event::MAX_BODIES;
use crate::spec::hash::Hash;
use crate::spec::verify::{Entry, Record, RecordBody};

use super::MAX_ITEMS;

type Written = Result<(), minicbor::encode::Error<Infallible>>;

/// Appends an event.
pub(super) fn write_event(out: &mut Vec<u8>, record: &Record) {
    let _ = try_write_event(&mut Encoder::new(out), record);
}

fn try_write_event(e: &mut Encoder<&mut Vec<u8>>, record: &Record) -> Written {
    e.array(5)?
        .u8(0)?
        .u64(record.index)?
        .bytes(&record.header)?
        .bytes(&record.signature)?;
    e.array(record.bodies.len() as u64)?;
    for body in &record.bodies {
        e.array(3)?.u16(body.ordinal)?.bytes(&body.salt)?.bytes(&body.bytes)?;
    }
    Ok(())
}

/// Appends a gap of at least one leaf.
pub(super) fn write_gap(out: &mut Vec<u8>, first: u64, leaves: &[Hash]) {
    let hashes: Vec<u8> = leaves.iter().flat_map(|leaf| leaf.as_bytes()).copied().collect();
    let _ = Encoder::new(out)
        .array(3)
        .and_then(|e| e.u8(1)?.u64(first)?.bytes(&hashes));
}

/// Reads all items. After the first bad one nothing more can be found: its offset and what is wrong come beside the good
/// ones.
pub(super) fn read(bytes: &[u8]) -> (Vec<Entry>, Option<(usize, EncodingError)>) {
    let (mut entries, mut again) = (Vec::new(), Vec::new());
    let mut d = Decoder::new(bytes);
    while d.position() < bytes.len() {
        let start = d.position();
        if entries.len() == MAX_ITEMS {
            let error = EncodingError::Malformed(format!("more than {MAX_ITEMS} entries"));
            return (entries, Some((start, error)));
        }
        match read_entry(&mut d).and_then(|entry| canonical(bytes, start, d.position(), entry, &mut again)) {
            Ok(entry) => entries.push(entry),
            Err(error) => return (entries, Some((start, error))),
        }
    }
    (entries, None)
}

fn canonical(
    bytes: &[u8],
    start: usize,
    end: usize,
    entry: Entry,
    again: &mut Vec<u8>,
) -> Result<Entry, EncodingError> {
    again.clear();
    match &entry {
        Entry::Event(record) => write_event(again, record),
        Entry::Gap { first, leaves } => write_gap(again, *first, leaves),
    }
    encoding::canonical(bytes.get(start..end).unwrap_or_default(), again)?;
    Ok(entry)
}

fn read_entry(d: &mut Decoder<'_>) -> Result<Entry, EncodingError> {
    let length = d.array()?;
    match (length, d.u8()?) {
        (Some(5), 0) => Ok(Entry::Event(Record {
            index: d.u64()?,
            header: d.bytes()?.to_vec(),
            signature: d.bytes()?.to_vec(),
            bodies: read_bodies(d)?,
        })),
        (Some(3), 1) => Ok(Entry::Gap {
            first: d.u64()?,
            leaves: read_leaves(d.bytes()?)?,
        }),
        _ => Err(EncodingError::Malformed("neither an event nor a gap".into())),
    }
}

fn read_bodies(d: &mut Decoder<'_>) -> Result<Vec<RecordBody>, EncodingError> {
    let count = d.array()?.filter(|count| *count <= MAX_BODIES as u64);
    let count = count.ok_or_else(|| EncodingError::Malformed(format!("expected at most {MAX_BODIES} bodies")))?;
    (0..count)
        .map(|_| {
            encoding::expect_array(d, 3)?;
            let (ordinal, salt) = (d.u16()?, encoding::array(d.bytes()?)?);
            Ok(RecordBody {
                ordinal,
                salt,
                bytes: d.bytes()?.to_vec(),
            })
        })
        .collect()
}

fn read_leaves(bytes: &[u8]) -> Result<Vec<Hash>, EncodingError> {
    let (leaves, rest) = bytes.as_chunks::<32>();
    if leaves.is_empty() || !rest.is_empty() {
        return Err(EncodingError::Malformed(
            "leaf hashes are one or more times 32 bytes".into(),
        ));
    }
    Ok(leaves.iter().copied().map(Hash::from).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..40);
        let body = (any::<u16>(), any::<[u8; 32]>(), bytes()).prop_map(|(ordinal, salt, bytes)| RecordBody {
            ordinal,
            salt,
            bytes,
        });
        let event = (any::<u64>(), bytes(), bytes(), proptest::collection::vec(body, 0..4)).prop_map(
            |(index, header, signature, bodies)| {
                Entry::Event(Record {
                    index,
                    header,
                    signature,
                    bodies,
                })
            },
        );
        let leaves = proptest::collection::vec(any::<[u8; 32]>().prop_map(Hash::from), 1..4);
        prop_oneof![
            event,
            (any::<u64>(), leaves).prop_map(|(first, leaves)| Entry::Gap { first, leaves })
        ]
    }

    fn write(entries: &[Entry]) -> Vec<u8> {
        let mut out = Vec::new();
        for entry in entries {
            match entry {
                Entry::Event(record) => write_event(&mut out, record),
                Entry::Gap { first, leaves } => write_gap(&mut out, *first, leaves),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn entries_read_back_and_every_other_byte_string_means_something_else(
            entries in proptest::collection::vec(entry(), 0..5), at: prop::sample::Index, xor in 1..=255_u8,
        ) {
            let mut bytes = write(&entries);
            prop_assert_eq!(read(&bytes), (entries.clone(), None));
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] ^= xor;
                prop_assert_ne!(read(&bytes), (entries, None));
            }
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let mut bytes = Vec::new();
        for first in 0..MAX_ITEMS as u64 {
            write_gap(&mut bytes, first, &[Hash::from([1; 32])]);
        }
        assert!(read(&bytes).1.is_none());
        let end = bytes.len();
        write_gap(&mut bytes, MAX_ITEMS as u64, &[Hash::from([1; 32])]);
        let (entries, error) = read(&bytes);
        assert_eq!((entries.len(), error.unwrap().0), (MAX_ITEMS, end));
    }

    #[test]
    fn a_bad_item_is_named_by_its_offset() {
        let gap = Entry::Gap {
            first: 3,
            leaves: vec![Hash::from([1; 32])],
        };
        let mut bytes = write(&[gap.clone(), gap.clone()]);
        let second = bytes.len() / 2;
        bytes[second] = 0;
        let (entries, error) = read(&bytes);
        assert_eq!((entries, error.unwrap().0), (vec![gap], second));
        assert!(read(&[0x83, 1, 0, 0x40]).1.is_some(), "an empty gap");
    }
}
