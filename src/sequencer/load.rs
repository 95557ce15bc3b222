//! Reads where a ledger stands: the one way to start, and to recover after a failed commit.

use super::{OpenError, View};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::edge::Edge;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::note::Note;
use crate::spec::tiles::{TILE_WIDTH, TileId, decode_tile, subtree_root};
use crate::store::{LedgerRecord, LedgerStore};

/// Loads head, edge and last checkpoint, and refuses what does not fit together.
pub(super) fn view(store: &dyn LedgerStore, ledger: &LedgerRecord) -> Result<View, OpenError> {
    let Some(head) = store.head(ledger.number)? else {
        return Ok(View {
            ledger: ledger.clone(),
            head: None,
            edge: Edge::new(),
            checkpoint: String::new(),
        });
    };
    let edge = Edge::load(head.size, |tile| partial_tile(store, ledger, tile))
        .map_err(|error| OpenError::Damaged(format!("the tree's edge: {error}")))?;
    let last = store.headers(ledger.number, head.size.saturating_sub(1)..head.size)?;
    if last.last().map(|row| leaf_hash(&row.header)) != Some(head.last) {
        return Err(OpenError::Damaged(format!(
            "the last header is not the one that the head of size {} names",
            head.size
        )));
    }
    let (size, checkpoint) = store
        .checkpoint(ledger.number, head.size)?
        .ok_or_else(|| OpenError::Damaged(format!("no checkpoint of size {}", head.size)))?;
    // Its signature is for `verify`; here it is one of four records of the head that must agree.
    let note: Note = checkpoint
        .parse()
        .map_err(|error| OpenError::Damaged(format!("the checkpoint: {error}")))?;
    let stated: Checkpoint = note
        .text()
        .parse()
        .map_err(|error| OpenError::Damaged(format!("the checkpoint: {error}")))?;
    let same_origin = stated.origin.as_str() == ledger.origin.as_str();
    if size != head.size || stated.size != head.size || stated.root != edge.root() || !same_origin {
        return Err(OpenError::Damaged(format!(
            "the checkpoint of size {size} does not fit the tree"
        )));
    }
    Ok(View {
        ledger: ledger.clone(),
        head: Some(head),
        edge,
        checkpoint,
    })
}

/// A partial tile is not stored: at level 0 it is the last headers' leaf hashes, above it the roots of full tiles below.
fn partial_tile(store: &dyn LedgerStore, ledger: &LedgerRecord, tile: TileId) -> Result<Vec<Hash>, OpenError> {
    let width = u64::from(TILE_WIDTH);
    let first = tile.index() * width;
    let end = first + u64::from(tile.width());
    if tile.level() == 0 {
        let headers = store.headers(ledger.number, first..end)?;
        return Ok(headers.iter().map(|row| leaf_hash(&row.header)).collect());
    }
    let below: Vec<_> = (first..end)
        .filter_map(|index| TileId::new(tile.level() - 1, index, TILE_WIDTH))
        .collect();
    let tiles = store.tiles(ledger.number, &below)?;
    below
        .iter()
        .zip(tiles)
        .map(|(id, bytes)| {
            let missing = || OpenError::Damaged(format!("{id} is missing or damaged"));
            let hashes = decode_tile(*id, &bytes.ok_or_else(missing)?).map_err(|_| missing())?;
            subtree_root(&hashes).ok_or_else(missing)
        })
        .collect()
}
