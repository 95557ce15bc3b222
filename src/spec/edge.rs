//! The growing right edge of the tree (RFC 6962 §2.1), as its single writer holds it in memory.
//!
//! The edge keeps every node, of every binary level, of the still partial tiles and of the tiles that filled since the
//! last [`Edge::retire`]. The left siblings of the right edge are among them, so for leaves appended since then, proofs
//! at the current size need no read and, once the right border is folded, no hashing. For older leaves [`Edge::or`] asks
//! the store for what is missing.
//!
//! Invariants: the nodes of a tile stand in the order in which they completed (a leaf, then the parents that it
//! completes), so that the place of each follows from its level and index; a tile that filled never changes. Tiles are
//! shared, and a clone of a drained edge is a few reference counts: publish one after each commit. The first append
//! after that copies the partial tile that it touches, 16 KiB at most.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use thiserror::Error;

use super::hash::{Hash, empty_root, node_hash};
use super::merkle::{BuildError, HashReader, NodeId, ProofPlan, Span, consistency_plan, inclusion_plan, range_plan};
use super::tiles::{NodePlace, TILE_LEVELS, TILE_WIDTH, TileId, full_tiles, partial_tiles};

/// The tree's right edge. See the module.
#[derive(Clone, Default)]
pub struct Edge {
    size: u64,
    levels: [Level; TILE_LEVELS as usize],
    /// Filled and not yet drained.
    full: Vec<FullTile>,
    /// The right border at this size; made when first asked for.
    border: OnceLock<Vec<Hash>>,
}

/// A tile that filled, to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullTile {
    /// Its level and index; it is full.
    pub id: TileId,
    /// Its 256 hashes.
    pub hashes: Vec<Hash>,
}

/// The edge does not hold this node: it is in the store, or not in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("node {} of level {} is not on the right edge", .0.index, .0.level)]
pub struct NotHeld(pub NodeId);

/// Why an edge could not be loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LoadError<E> {
    /// A tile could not be read.
    #[error("a partial tile could not be read")]
    Read(#[source] E),
    /// A tile is not as wide as the size of the tree asks for.
    #[error("{tile} came with {found} hashes")]
    Width {
        /// The tile that was asked for.
        tile: TileId,
        /// Hashes that came.
        found: usize,
    },
}

impl Edge {
    /// The edge of the empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// The edge of a tree of `size` leaves, from its partial tiles, at most one for each level.
    ///
    /// `tiles` answers the hashes of a partial tile: leaf hashes at level 0, above it the roots of full tiles of the
    /// level below ([`subtree_root`](super::tiles::subtree_root)). They are trusted: compare [`Edge::root`] with a
    /// checkpoint.
    ///
    /// # Errors
    /// [`LoadError`] when a tile cannot be read or has another width.
    pub fn load<E>(size: u64, mut tiles: impl FnMut(TileId) -> Result<Vec<Hash>, E>) -> Result<Self, LoadError<E>> {
        let mut edge = Self {
            size,
            ..Self::default()
        };
        for tile in partial_tiles(size) {
            let hashes = tiles(tile).map_err(LoadError::Read)?;
            if hashes.len() != usize::from(tile.width()) {
                return Err(LoadError::Width {
                    tile,
                    found: hashes.len(),
                });
            }
            if let Some(level) = edge.levels.get_mut(usize::from(tile.level())) {
                hashes.into_iter().for_each(|hash| level.push(hash));
            }
        }
        Ok(edge)
    }

    /// Adds a leaf hash on the right. Its index is the size before.
    pub fn append(&mut self, leaf: Hash) {
        self.border.take();
        let mut carry = leaf;
        for (number, level) in (0..TILE_LEVELS).zip(&mut self.levels) {
            level.push(carry);
            let Some((hashes, root)) = level.take_full() else { break };
            self.full.extend(
                TileId::new(number, full_tiles(number, self.size), TILE_WIDTH).map(|id| FullTile { id, hashes }),
            );
            carry = root;
        }
        self.size += 1;
    }

    /// Leaves in the tree.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root hash at this size. O(log size) hashes when first asked for at a size, a lookup after that.
    pub fn root(&self) -> Hash {
        self.border().first().copied().unwrap_or_else(empty_root)
    }

    /// The tiles that filled since the last call, in the order in which they did.
    pub fn drain_full_tiles(&mut self) -> Vec<FullTile> {
        std::mem::take(&mut self.full)
    }

    /// Forgets the tiles that were full at `committed_size`. Proofs for leaves before that size may need the store from
    /// now on, and the store has what they need.
    pub fn retire(&mut self, committed_size: u64) {
        let committed = committed_size.min(self.size);
        for (number, level) in (0..TILE_LEVELS).zip(&mut self.levels) {
            let still_open = full_tiles(number, self.size) - full_tiles(number, committed);
            level.keep_last(still_open);
        }
    }

    /// The hash of `id`, if the edge holds it.
    pub fn node(&self, id: NodeId) -> Option<Hash> {
        let place = NodePlace::from(id);
        self.nodes_of(place.level, place.tile)?
            .get(place.inner_level, place.inner_index)
    }

    /// The hashes of the tile `id`, cut to its width, if the edge holds them: so every partial tile of the current
    /// size.
    pub fn tile(&self, id: TileId) -> Option<Vec<Hash>> {
        self.nodes_of(id.level(), id.index())?.leaves(id.width())
    }

    /// The inclusion proof of leaf `index` at the current size.
    ///
    /// # Errors
    /// [`BuildError::Bounds`] if there is no such leaf, [`BuildError::Read`] if it is older than what the edge holds.
    pub fn inclusion_proof(&self, index: u64) -> Result<Vec<Hash>, BuildError<NotHeld>> {
        self.prove(&inclusion_plan(index, self.size)?)
    }

    /// The consistency proof from the tree of `from` leaves to the current one.
    ///
    /// # Errors
    /// [`BuildError::Bounds`] if `from` exceeds the size, [`BuildError::Read`] if it is older than what the edge holds.
    pub fn consistency_proof(&self, from: u64) -> Result<Vec<Hash>, BuildError<NotHeld>> {
        self.prove(&consistency_plan(from, self.size)?)
    }

    /// The range proof of `count` leaves from `first` on at the current size.
    ///
    /// # Errors
    /// [`BuildError::Bounds`] if that is no range in the tree, [`BuildError::Read`] if it is older than what the edge
    /// holds.
    pub fn range_proof(&self, first: u64, count: u64) -> Result<Vec<Hash>, BuildError<NotHeld>> {
        self.prove(&range_plan(first, count, self.size)?)
    }

    /// A reader that asks `store` for what the edge does not hold, at once.
    pub const fn or<'a, R: HashReader>(&'a self, store: &'a R) -> EdgeOr<'a, R> {
        EdgeOr { edge: self, store }
    }

    /// A plan for the current size: complete subtrees looked up, the incomplete one at the right edge from the border.
    fn prove(&self, plan: &ProofPlan) -> Result<Vec<Hash>, BuildError<NotHeld>> {
        plan.spans()
            .iter()
            .map(|span| self.span_root(*span).map_err(BuildError::Read))
            .collect()
    }

    fn span_root(&self, span: Span) -> Result<Hash, NotHeld> {
        if let Some(id) = span.node() {
            return self.node(id).ok_or(NotHeld(id));
        }
        // Its start is the sum of the peaks before it, each a set bit of it.
        let peaks_before = span.start().count_ones() as usize;
        self.border()
            .get(peaks_before)
            .copied()
            .ok_or(NotHeld(NodeId::new(0, span.start())))
    }

    /// For each peak of the tree, from left to right, the root over it and all after it: the first is that of the tree.
    fn border(&self) -> &[Hash] {
        self.border.get_or_init(|| {
            let peaks = Span::whole(self.size).into_iter().flat_map(Span::peaks);
            // The partial tiles hold every peak, so none is missing.
            let peaks: Vec<Hash> = peaks.filter_map(|id| self.node(id)).collect();
            let mut border: Vec<Hash> = Vec::with_capacity(peaks.len());
            for peak in peaks.iter().rev() {
                border.push(border.last().map_or(*peak, |right| node_hash(peak, right)));
            }
            border.reverse();
            border
        })
    }

    fn nodes_of(&self, level: u8, tile: u64) -> Option<&TileNodes> {
        let partial = full_tiles(level, self.size);
        self.levels
            .get(usize::from(level))?
            .tile_before_partial(partial.checked_sub(tile)?)
    }
}

impl HashReader for Edge {
    type Error = NotHeld;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, NotHeld> {
        ids.iter().map(|id| self.node(*id).ok_or(NotHeld(*id))).collect()
    }
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("size", &self.size).finish_non_exhaustive()
    }
}

/// The edge first, the store for the rest. Made by [`Edge::or`].
#[derive(Debug)]
pub struct EdgeOr<'a, R> {
    edge: &'a Edge,
    store: &'a R,
}

impl<R: HashReader> HashReader for EdgeOr<'_, R> {
    type Error = R::Error;

    fn nodes(&self, ids: &[NodeId]) -> Result<Vec<Hash>, R::Error> {
        let held: Vec<_> = ids.iter().map(|id| self.edge.node(*id)).collect();
        let missing: Vec<_> = ids
            .iter()
            .zip(&held)
            .filter(|(_, hash)| hash.is_none())
            .map(|(id, _)| *id)
            .collect();
        let stored = if missing.is_empty() {
            Vec::new()
        } else {
            self.store.nodes(&missing)?
        };
        let mut stored = stored.into_iter();
        // A store that answers too few leaves too few here, which the builder reports.
        Ok(held
            .into_iter()
            .filter_map(|hash| hash.or_else(|| stored.next()))
            .collect())
    }
}

/// The tiles of one level: those that filled and are still held, then the partial one.
#[derive(Clone, Default)]
struct Level {
    filled: VecDeque<Arc<TileNodes>>,
    partial: Arc<TileNodes>,
}

impl Level {
    fn push(&mut self, hash: Hash) {
        Arc::make_mut(&mut self.partial).push(hash);
    }

    /// If the partial tile just filled: starts the next one, and gives its hashes and its root.
    fn take_full(&mut self) -> Option<(Vec<Hash>, Hash)> {
        let hashes = self.partial.leaves(TILE_WIDTH)?;
        let root = *self.partial.nodes.last()?;
        self.filled.push_back(std::mem::take(&mut self.partial));
        Some((hashes, root))
    }

    /// The partial tile for 0, the last one that filled for 1, and so on, as long as they are held.
    fn tile_before_partial(&self, distance: u64) -> Option<&TileNodes> {
        if distance == 0 {
            return Some(&self.partial);
        }
        let at = self.filled.len().checked_sub(usize::try_from(distance).ok()?)?;
        self.filled.get(at).map(Arc::as_ref)
    }

    fn keep_last(&mut self, count: u64) {
        while self.filled.len() as u64 > count {
            self.filled.pop_front();
        }
    }
}

/// Every node of one tile, up to its root, in the order in which they completed.
#[derive(Default)]
struct TileNodes {
    nodes: Vec<Hash>,
    width: usize,
}

impl TileNodes {
    const FULL: usize = 2 * TILE_WIDTH as usize - 1;

    fn push(&mut self, hash: Hash) {
        let leaf = self.width;
        self.width += 1;
        self.nodes.push(hash);
        let mut right = hash;
        // One parent for each trailing set bit of the leaf's index.
        for level in 0..leaf.trailing_ones() as u8 {
            let Some(left) = self.get(level, (leaf >> level) - 1) else {
                break;
            };
            right = node_hash(&left, &right);
            self.nodes.push(right);
        }
    }

    /// The node over hashes `index·2^level .. (index+1)·2^level` of the tile, if it is complete.
    fn get(&self, level: u8, index: usize) -> Option<Hash> {
        self.nodes.get(Self::position(level, index)).copied()
    }

    fn leaves(&self, width: u16) -> Option<Vec<Hash>> {
        let width = usize::from(width);
        (width <= self.width).then(|| (0..width).filter_map(|index| self.get(0, index)).collect())
    }

    /// Leaf `i` comes after `i` leaves and the `i − popcount(i)` parents that they completed; a node comes as many
    /// places after its last leaf as it is high.
    fn position(level: u8, index: usize) -> usize {
        let last_leaf = ((index + 1) << level) - 1;
        2 * last_leaf - last_leaf.count_ones() as usize + usize::from(level)
    }
}

impl Clone for TileNodes {
    /// With room to grow: a tile is cloned to be appended to.
    fn clone(&self) -> Self {
        let mut nodes = Vec::with_capacity((2 * self.nodes.len()).clamp(16, Self::FULL));
        nodes.extend_from_slice(&self.nodes);
        Self {
            nodes,
            width: self.width,
        }
    }
}

#[cfg(test)]
mod tests;
