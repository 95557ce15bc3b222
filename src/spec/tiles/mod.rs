//! Tiles (c2sp.org/tlog-tiles): the static, cacheable form in which a log shows its tree and its entries.
//!
//! A tile of level `l` holds up to 256 neighbouring hashes of complete subtrees of `256^l` leaves: leaf hashes at level
//! 0, roots of full tiles of the level below above it. A tile never changes but for growing to the right, so a partial
//! tile is a prefix of the full one: only full tiles are stored, partial ones are sliced on request. Inner nodes are
//! not stored;
//! [`TiledHashes`] recomputes them.
//!
//! Here: which tiles a tree has, their paths ([`TilePath`]) and their bytes. Out of scope: fetching and caching.

mod bytes;
mod path;
mod reader;

use thiserror::Error;

pub use bytes::{decode_bundle, decode_tile, encode_bundle, encode_tile};
pub use path::{ParsePathError, TilePath};
pub use reader::{TileReader, TiledError, TiledHashes};

use super::hash::{Hash, node_hash};
use super::merkle::NodeId;

/// Hashes in a full tile.
pub const TILE_WIDTH: u16 = 256;

/// Binary levels of the tree that one level of tiles spans.
pub const TILE_HEIGHT: u8 = 8;

/// Levels of tiles that a tree can have whose size is a `u64`.
pub const TILE_LEVELS: u8 = 8;

/// A tile of hashes, full or partial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    level: u8,
    index: u64,
    width: u16,
}

/// A bundle of entries, full or partial: the entries whose leaf hashes are the tile of level 0 with the same index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BundleId {
    index: u64,
    width: u16,
}

/// The bytes are not those of the tile or bundle that was asked for, or cannot become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TileError {
    /// A tile has 32 bytes for each hash.
    #[error("the tile has {found} bytes where {expected} are due")]
    Length {
        /// Bytes of a tile of that width.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// A bundle ends within an entry, or before or after the last one due.
    #[error("the bundle does not consist of {0} entries")]
    Entries(u16),
    /// The length of an entry has 16 bits.
    #[error("an entry of {0} bytes does not fit a bundle")]
    TooLong(usize),
}

impl TileId {
    /// The tile `index` of `level` with its first `width` hashes. `None` unless `level` is at most 63 and `width` in
    /// `1..=256`.
    pub fn new(level: u8, index: u64, width: u16) -> Option<Self> {
        (level <= 63 && (1..=TILE_WIDTH).contains(&width)).then_some(Self { level, index, width })
    }

    /// The tile `index` of `level`, as wide as it is in a tree of `size` leaves: `min(256, ⌊size/256^level⌋ −
    /// 256·index)`. `None` if that is nothing.
    pub fn at(level: u8, index: u64, size: u64) -> Option<Self> {
        let before = index.checked_mul(TILE_WIDTH.into())?;
        let width = hashes_of_level(level, size).checked_sub(before)?.min(TILE_WIDTH.into());
        Self::new(level, index, width as u16)
    }

    /// Its level; above level 7 no tree has tiles, although a path can name them.
    pub const fn level(self) -> u8 {
        self.level
    }

    /// Its place in its level, counted from the left.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many hashes it has, `1..=256`.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all 256 hashes and will never change.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }
}

impl BundleId {
    /// The bundle `index` with its first `width` entries. `None` unless `width` is in `1..=256`.
    pub fn new(index: u64, width: u16) -> Option<Self> {
        (1..=TILE_WIDTH).contains(&width).then_some(Self { index, width })
    }

    /// The bundle `index`, as wide as it is in a tree of `size` leaves; `None` if that is nothing.
    pub fn at(index: u64, size: u64) -> Option<Self> {
        TileId::at(0, index, size).map(|tile| Self {
            index,
            width: tile.width,
        })
    }

    /// Its place, counted from the left.
    pub const fn index(self) -> u64 {
        self.index
    }

    /// How many entries it has, `1..=256`.
    pub const fn width(self) -> u16 {
        self.width
    }

    /// Whether it has all 256 entries and will never change.
    pub const fn is_full(self) -> bool {
        self.width == TILE_WIDTH
    }

    /// The index of its first leaf; `None` beyond the last tree.
    pub fn first_leaf(self) -> Option<u64> {
        self.index.checked_mul(TILE_WIDTH.into())
    }
}

/// How many full tiles of `level` a tree of `size` leaves has: `⌊size/256^(level+1)⌋`.
pub fn full_tiles(level: u8, size: u64) -> u64 {
    hashes_of_level(level, size) >> TILE_HEIGHT
}

/// The partial tiles of a tree of `size` leaves, at most one for each level: `⌊size/256^level⌋ mod 256` hashes wide.
pub fn partial_tiles(size: u64) -> impl Iterator<Item = TileId> {
    (0..TILE_LEVELS).filter_map(move |level| {
        let tile = TileId::at(level, full_tiles(level, size), size)?;
        (!tile.is_full()).then_some(tile)
    })
}

/// The root of the complete subtree over neighbouring hashes, such as those of a full tile: its hash in the level
/// above. `None` unless there are a power of two of them.
pub fn subtree_root(hashes: &[Hash]) -> Option<Hash> {
    match hashes {
        [hash] => Some(*hash),
        _ if !hashes.len().is_power_of_two() => None,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            Some(node_hash(&subtree_root(left)?, &subtree_root(right)?))
        }
    }
}

/// Where a node stands: the tile level and index, and which hashes of that tile it is the root of.
pub(crate) struct NodePlace {
    /// Level of the tile.
    pub(crate) level: u8,
    /// Index of the tile.
    pub(crate) tile: u64,
    /// Binary level above the hashes of the tile, `0..8`.
    pub(crate) inner_level: u8,
    /// Index of the node among those of its inner level in the tile.
    pub(crate) inner_index: usize,
}

impl From<NodeId> for NodePlace {
    fn from(node: NodeId) -> Self {
        let inner_level = node.level % TILE_HEIGHT;
        let bits = TILE_HEIGHT - inner_level;
        Self {
            level: node.level / TILE_HEIGHT,
            tile: node.index >> bits,
            inner_level,
            inner_index: (node.index & ((1 << bits) - 1)) as usize,
        }
    }
}

fn hashes_of_level(level: u8, size: u64) -> u64 {
    let shift = u32::from(level) * u32::from(TILE_HEIGHT);
    size.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;
    use crate::spec::merkle::naive::Naive;

    fn widths(size: u64) -> Vec<(u8, u64, u16)> {
        partial_tiles(size)
            .map(|tile| (tile.level(), full_tiles(tile.level(), size), tile.width()))
            .collect()
    }

    #[test]
    fn a_tree_of_70_000_has_the_tiles_of_the_specification() {
        assert_eq!(widths(70_000), [(0, 273, 112), (1, 1, 17), (2, 0, 1)]);
        assert_eq!(TileId::at(0, 272, 70_000).map(TileId::width), Some(256));
        assert_eq!(TileId::at(0, 273, 70_000).map(TileId::width), Some(112));
        assert_eq!(TileId::at(0, 274, 70_000), None);
        assert_eq!(TileId::at(1, 0, 70_000).map(TileId::width), Some(256));
        assert_eq!(TileId::at(3, 0, 70_000), None);
    }

    #[test]
    fn a_full_tile_starts_a_partial_one_above_it() {
        assert_eq!(widths(0), []);
        assert_eq!(widths(255), [(0, 0, 255)]);
        assert_eq!(widths(256), [(1, 0, 1)]);
        assert_eq!(widths(65_536), [(2, 0, 1)]);
    }

    #[test]
    fn the_largest_tree_has_eight_partial_tiles_and_nothing_overflows() {
        assert_eq!(widths(u64::MAX).len(), 8);
        assert_eq!(TileId::at(0, u64::MAX, u64::MAX), None);
        assert_eq!(TileId::at(255, 0, u64::MAX), None);
    }

    #[test]
    fn impossible_tiles_and_bundles_cannot_be_made() {
        assert_eq!(TileId::new(64, 0, 1), None);
        assert_eq!(TileId::new(0, 0, 0), None);
        assert_eq!(TileId::new(0, 0, 257), None);
        assert_eq!(BundleId::new(0, 0), None);
        assert_eq!(BundleId::at(1, 256), None);
        assert_eq!(BundleId::at(1, 257), BundleId::new(1, 1));
        assert_eq!(BundleId::new(1, 1).unwrap().first_leaf(), Some(256));
    }

    #[test]
    fn the_root_of_a_subtree_needs_a_power_of_two_of_hashes() {
        let tree = Naive::new(8);
        assert_eq!(subtree_root(&tree.leaves), Some(tree.root(8)));
        assert_eq!(subtree_root(&tree.leaves[..7]), None);
        assert_eq!(subtree_root(&[]), None);
    }
}
