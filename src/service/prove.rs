//! Proofs for any past size of the tree, from the edge in memory and the tiles in the store.

mod checked;

pub use checked::{ProvedGrowth, ProvedLeaf};

use crate::sequencer::View;
use crate::spec::edge::Edge;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::merkle::{BoundsError, BuildError, consistency_proof, inclusion_proof, range_proof, root};
use crate::spec::tiles::{
    BundleId, TILE_WIDTH, TileId, TileReader, TiledHashes, decode_tile, encode_bundle, encode_tile,
};
use crate::spec::tlog_proof::TlogProof;
use crate::store::{LedgerNumber, LedgerStore, StoreError};

use super::access::internal;
use super::{Code, Error, Ledger, Service};

/// The store's tiles. What is not stored is still partial, and the edge holds it.
pub(crate) struct StoredTiles<'a> {
    pub(crate) store: &'a dyn LedgerStore,
    pub(crate) ledger: LedgerNumber,
    pub(crate) edge: &'a Edge,
}

impl TileReader for StoredTiles<'_> {
    type Error = StoreError;

    fn tiles(&self, tiles: &[TileId]) -> Result<Vec<Vec<Hash>>, StoreError> {
        let full: Vec<_> = tiles
            .iter()
            .filter_map(|id| TileId::new(id.level(), id.index(), TILE_WIDTH))
            .collect();
        let stored = self.store.tiles(self.ledger, &full)?;
        tiles
            .iter()
            .zip(full.iter().zip(stored))
            .map(|(wanted, (full, bytes))| self.one(*wanted, *full, bytes))
            .collect()
    }
}

impl StoredTiles<'_> {
    fn one(&self, wanted: TileId, full: TileId, bytes: Option<Vec<u8>>) -> Result<Vec<Hash>, StoreError> {
        let damaged = |what: String| StoreError::Damaged { table: "tiles", what };
        let mut hashes = match bytes {
            Some(bytes) => decode_tile(full, &bytes).map_err(|error| damaged(format!("{full}: {error}")))?,
            None => self
                .partial(wanted)?
                .ok_or_else(|| damaged(format!("{wanted} is missing")))?,
        };
        hashes.truncate(usize::from(wanted.width()));
        Ok(hashes)
    }

    fn partial(&self, wanted: TileId) -> Result<Option<Vec<Hash>>, StoreError> {
        if let Some(hashes) =
            TileId::at(wanted.level(), wanted.index(), self.edge.size()).and_then(|id| self.edge.tile(id))
        {
            return Ok(Some(hashes));
        }
        if wanted.level() > 0 {
            return Ok(None);
        }
        // The edge moved on between the two reads: leaf hashes can always be had from the headers.
        let first = wanted.index() * u64::from(TILE_WIDTH);
        let rows = self
            .store
            .headers(self.ledger, first..first + u64::from(wanted.width()))?;
        Ok(Some(rows.iter().map(|row| leaf_hash(&row.header)).collect()))
    }
}

impl Service {
    fn hashes<'a>(&'a self, ledger: &Ledger, view: &'a View, size: u64) -> TiledHashes<StoredTiles<'a>> {
        TiledHashes::new(
            StoredTiles {
                store: &*self.store,
                ledger: ledger.record.number,
                edge: &view.edge,
            },
            size,
        )
    }

    fn make_inclusion(&self, ledger: &Ledger, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        let view = self.view_of_size(ledger, size)?;
        inclusion_proof(index, size, &view.edge.or(&self.hashes(ledger, &view, size))).map_err(build_error)
    }

    fn make_consistency(&self, ledger: &Ledger, from: u64, to: u64) -> Result<Vec<Hash>, Error> {
        let view = self.view_of_size(ledger, to)?;
        consistency_proof(from, to, &view.edge.or(&self.hashes(ledger, &view, to))).map_err(build_error)
    }

    fn make_range(&self, ledger: &Ledger, first: u64, count: u64, size: u64) -> Result<Vec<Hash>, Error> {
        let view = self.view_of_size(ledger, size)?;
        range_proof(first, count, size, &view.edge.or(&self.hashes(ledger, &view, size))).map_err(build_error)
    }

    /// The root of the tree of `size` leaves.
    ///
    /// # Errors
    /// `invalid_field` if the ledger is smaller.
    pub fn root_of_size(&self, ledger: &Ledger, size: u64) -> Result<Hash, Error> {
        let view = self.view_of_size(ledger, size)?;
        root(size, &view.edge.or(&self.hashes(ledger, &view, size))).map_err(build_error)
    }

    /// The current checkpoint: a signed note.
    ///
    /// # Errors
    /// If the ledger is not open.
    pub fn checkpoint(&self, ledger: &Ledger) -> Result<(u64, String), Error> {
        let view = self.view(ledger)?;
        Ok((view.size(), view.checkpoint.clone()))
    }

    /// The first checkpoint that covers an index, with its size.
    ///
    /// # Errors
    /// `event_not_found` if none does.
    pub fn checkpoint_covering(&self, ledger: &Ledger, index: u64) -> Result<(u64, String), Error> {
        let found = self.store.checkpoint(ledger.record.number, index.saturating_add(1))?;
        found.ok_or_else(|| Error::new(Code::EventNotFound, format!("there is no event at index {index}")))
    }

    /// The event's proof as a `.tlog-proof` file (c2sp.org/tlog-proof), its header in `extra`, under the first checkpoint of
    /// at least `size` events; by default under the first that covers the event.
    ///
    /// # Errors
    /// `event_not_found`; `invalid_field` if the ledger has fewer events than `size`, or the event stands beyond; `damaged`
    /// if the proof does not hold.
    pub fn tlog_proof(&self, ledger: &Ledger, index: u64, size: Option<u64>) -> Result<TlogProof, Error> {
        let row = self.store.headers(ledger.record.number, index..index + 1)?.pop();
        let row = row.ok_or_else(|| Error::new(Code::EventNotFound, format!("there is no event at index {index}")))?;
        let size = size.unwrap_or(index + 1);
        self.view_of_size(ledger, size)?;
        if size <= index {
            let detail = format!("a tree of {size} events does not hold the event at index {index}");
            return Err(Error::field("tree_size", detail));
        }
        let (at, note) = self.checkpoint_covering(ledger, size - 1)?;
        let proof = TlogProof {
            index,
            path: self.make_inclusion(ledger, index, at)?,
            checkpoint: note.parse().map_err(internal)?,
            extra: row.header,
        };
        let key = &ledger.checkpoint_verifier;
        let verified = proof.verify(&leaf_hash(&proof.extra), key.name(), std::slice::from_ref(key));
        verified.map_err(|error| checked::kept_back(ledger, error))?;
        Ok(proof)
    }

    /// A tile as it is at the width asked for; `None` if the tree does not have it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn tile(&self, ledger: &Ledger, id: TileId) -> Result<Option<Vec<u8>>, Error> {
        let view = self.view(ledger)?;
        let known = TileId::at(id.level(), id.index(), view.size()).is_some_and(|now| now.width() >= id.width());
        if !known {
            return Ok(None);
        }
        let tiles = StoredTiles {
            store: &*self.store,
            ledger: ledger.record.number,
            edge: &view.edge,
        };
        Ok(tiles.tiles(&[id])?.pop().map(|hashes| encode_tile(&hashes)))
    }

    /// An entry bundle: the headers of up to 256 events.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn entries(&self, ledger: &Ledger, id: BundleId) -> Result<Option<Vec<u8>>, Error> {
        let size = self.view(ledger)?.size();
        let known = BundleId::at(id.index(), size).is_some_and(|now| now.width() >= id.width());
        let Some(first) = id.first_leaf().filter(|_| known) else {
            return Ok(None);
        };
        let rows = self
            .store
            .headers(ledger.record.number, first..first + u64::from(id.width()))?;
        encode_bundle(rows.iter().map(|row| row.header.as_slice()))
            .map(Some)
            .map_err(internal)
    }

    fn view_of_size(&self, ledger: &Ledger, size: u64) -> Result<std::sync::Arc<View>, Error> {
        let view = self.view(ledger)?;
        if size > view.size() {
            return Err(Error::field(
                "tree_size",
                format!("the ledger has {} events", view.size()),
            ));
        }
        Ok(view)
    }
}

fn build_error<E: std::error::Error + Send + Sync + 'static>(error: BuildError<E>) -> Error {
    match error {
        BuildError::Bounds(BoundsError::Shrinks { .. }) => Error::field("from", error.to_string()),
        BuildError::Bounds(_) => Error::field("index", error.to_string()),
        error => internal(error),
    }
}
