//! The bytes of tiles (hash after hash) and of entry bundles (big-endian `u16` length and entry, over and over).

use super::{BundleId, TileError, TileId};
use crate::spec::hash::Hash;

/// The bytes of a tile: its hashes one after the other.
pub fn encode_tile(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The hashes of the tile `id`.
///
/// # Errors
/// [`TileError::Length`] unless there are exactly 32 bytes for each of its hashes.
pub fn decode_tile(id: TileId, bytes: &[u8]) -> Result<Vec<Hash>, TileError> {
    let expected = usize::from(id.width()) * Hash::LEN;
    let wrong_length = TileError::Length {
        expected,
        found: bytes.len(),
    };
    if bytes.len() != expected {
        return Err(wrong_length);
    }
    let (hashes, _) = bytes.as_chunks::<{ Hash::LEN }>();
    Ok(hashes.iter().copied().map(Hash::from).collect())
}

/// The bytes of a bundle.
///
/// # Errors
/// [`TileError::TooLong`] if an entry has more than 65,535 bytes.
pub fn encode_bundle<'a>(entries: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<u8>, TileError> {
    let mut bytes = Vec::new();
    for entry in entries {
        let length = u16::try_from(entry.len()).map_err(|_| TileError::TooLong(entry.len()))?;
        bytes.extend(length.to_be_bytes());
        bytes.extend(entry);
    }
    Ok(bytes)
}

/// The entries of the bundle `id`, borrowed from its bytes.
///
/// # Errors
/// [`TileError::Entries`] unless the bytes are exactly as many entries as the bundle has.
pub fn decode_bundle(id: BundleId, bytes: &[u8]) -> Result<Vec<&[u8]>, TileError> {
    let malformed = TileError::Entries(id.width());
    let mut rest = bytes;
    let mut next = || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (entry, after) = after.split_at_checked(u16::from_be_bytes(*length).into())?;
        rest = after;
        Some(entry)
    };
    let entries = (0..id.width())
        .map(|_| next().ok_or(malformed))
        .collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(entries) } else { Err(malformed) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;
    use crate::spec::merkle::naive::Naive;

    #[test]
    fn a_full_tile_has_8192_bytes_and_is_read_back() {
        let hashes = Naive::new(256).leaves;
        let bytes = encode_tile(&hashes);
        assert_eq!(bytes.len(), 8192);
        let id = TileId::new(0, 5, 256).unwrap();
        assert_eq!(decode_tile(id, &bytes), Ok(hashes));
        assert_eq!(
            decode_tile(id, &bytes[1..]),
            Err(TileError::Length {
                expected: 8192,
                found: 8191
            })
        );
    }

    #[test]
    fn a_tile_of_another_width_is_refused() {
        let bytes = encode_tile(&Naive::new(3).leaves);
        for width in [1, 2, 4, 256] {
            assert!(decode_tile(TileId::new(0, 0, width).unwrap(), &bytes).is_err());
        }
    }

    #[test]
    fn a_bundle_is_lengths_and_entries() {
        let bytes = encode_bundle([&b"ab"[..], b"", b"c"]).unwrap();
        assert_eq!(bytes, b"\0\x02ab\0\0\0\x01c");
        assert_eq!(
            decode_bundle(BundleId::new(0, 3).unwrap(), &bytes),
            Ok(vec![&b"ab"[..], b"", b"c"])
        );
    }

    #[test]
    fn malformed_bundles_are_refused() {
        let id = BundleId::new(0, 2).unwrap();
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\x01",
            b"\0\x01a",
            b"\0\x01a\0",
            b"\0\x01a\0\x02b",
            b"\0\0\0\0\0",
            b"\0\0\0\0\0\0",
        ] {
            assert_eq!(decode_bundle(id, bytes), Err(TileError::Entries(2)), "{bytes:?}");
        }
    }

    #[test]
    fn an_entry_beyond_16_bits_of_length_is_refused() {
        assert_eq!(encode_bundle([&[0; 65_536][..]]), Err(TileError::TooLong(65_536)));
        assert!(encode_bundle([&[0; 65_535][..]]).is_ok());
    }

    proptest! {
        #[test]
        fn any_bundle_is_read_back(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..=256)) {
            let bytes = encode_bundle(entries.iter().map(Vec::as_slice)).unwrap();
            let id = BundleId::new(0, entries.len() as u16).unwrap();
            prop_assert_eq!(decode_bundle(id, &bytes).unwrap(), entries);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), width in 1..=256u16) {
            let id = BundleId::new(0, width).unwrap();
            if let Ok(entries) = decode_bundle(id, &bytes) {
                prop_assert_eq!(encode_bundle(entries).unwrap(), bytes);
            }
        }
    }
}
