//! The copy itself: what is missing is fetched, everything is checked, and the checkpoint is written last.

use std::io::Read;
use std::path::Path;

use indicatif::ProgressBar;

use super::super::client::Client;
use super::super::failure::Failure;
use super::super::output::{publish_file, read_bytes};
use super::damaged;
use crate::spec::checkpoint::Checkpoint;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::merkle::root;
use crate::spec::tiles::{
    BundleId, TILE_LEVELS, TILE_WIDTH, TileId, TileReader, TiledHashes, decode_bundle, decode_tile, full_tiles,
    partial_tiles, subtree_root,
};

/// A folder on its way to the tree of a size.
pub(super) struct Copy<'a> {
    client: &'a Client,
    /// The path of the log on the server.
    log: String,
    out: &'a Path,
    size: u64,
    /// New files.
    pub(super) files: u64,
    /// Bytes in them.
    pub(super) bytes: u64,
}

impl<'a> Copy<'a> {
    pub(super) fn new(client: &'a Client, log: String, out: &'a Path, size: u64) -> Self {
        Self {
            client,
            log,
            out,
            size,
            files: 0,
            bytes: 0,
        }
    }

    /// How many files the log has.
    pub(super) fn files_due(&self, entries: bool) -> u64 {
        let tiles = |level| full_tiles(level, self.size) + u64::from(self.partial(level).is_some());
        (0..TILE_LEVELS).map(tiles).sum::<u64>() + if entries { tiles(0) } else { 0 }
    }

    fn partial(&self, level: u8) -> Option<TileId> {
        partial_tiles(self.size).find(|tile| tile.level() == level)
    }

    /// Fetches what is not there and checks all hashes, and new bundles.
    pub(super) fn fetch(&mut self, entries: bool, now: &Checkpoint, bar: &ProgressBar) -> Result<(), Failure> {
        let (mut below, size) = (Vec::new(), self.size);
        for level in 0..TILE_LEVELS {
            let mut roots = Vec::new();
            for tile in (0..).map_while(|index| TileId::at(level, index, size)) {
                let hashes = self.tile(tile)?;
                if level > 0 {
                    self.expect_roots(tile, &hashes, &below)?;
                }
                if entries && let Some(bundle) = BundleId::new(tile.index(), tile.width()).filter(|_| level == 0) {
                    self.bundle(bundle, &hashes)?;
                    bar.inc(1);
                }
                roots.extend(tile.is_full().then(|| subtree_root(&hashes)).flatten());
                bar.inc(1);
            }
            below = roots;
        }
        self.expect_root(now)
    }

    /// Writes the checkpoint, and removes partial tiles that are full now.
    pub(super) fn finish(&self, note: &str, before: u64) -> Result<(), Failure> {
        publish_file(&self.out.join("checkpoint"), note.as_bytes())?;
        for old in partial_tiles(before) {
            let Some(now) = TileId::at(old.level(), old.index(), self.size).filter(|now| now.is_full()) else {
                continue;
            };
            let bundle = BundleId::new(now.index(), now.width()).filter(|_| now.level() == 0);
            for full in [Some(now.to_string()), bundle.map(|bundle| bundle.to_string())]
                .into_iter()
                .flatten()
            {
                remove_folder(&self.out.join(format!("{full}.p")))?;
            }
        }
        Ok(())
    }

    fn tile(&mut self, tile: TileId) -> Result<Vec<Hash>, Failure> {
        let (bytes, is_new) = self.file(&tile.to_string())?;
        let hashes = decode_tile(tile, &bytes).map_err(|error| self.unfit(tile, error))?;
        if is_new {
            self.keep(&tile.to_string(), &bytes)?;
        }
        Ok(hashes)
    }

    fn bundle(&mut self, bundle: BundleId, leaves: &[Hash]) -> Result<(), Failure> {
        let (bytes, is_new) = self.file(&bundle.to_string())?;
        if !is_new {
            return Ok(());
        }
        let entries = decode_bundle(bundle, &bytes).map_err(|error| self.unfit(bundle, error))?;
        if !entries.into_iter().map(leaf_hash).eq(leaves.iter().copied()) {
            return Err(self.unfit(bundle, "does not hold the entries of its tile"));
        }
        self.keep(&bundle.to_string(), &bytes)
    }

    /// Compares a tile with the roots of all full tiles of the level below.
    fn expect_roots(&self, tile: TileId, hashes: &[Hash], below: &[Hash]) -> Result<(), Failure> {
        let under = (tile.index() * u64::from(TILE_WIDTH)..).zip(hashes);
        for (index, hash) in under {
            let root = usize::try_from(index).ok().and_then(|index| below.get(index));
            if root != Some(hash) {
                let under = TileId::new(tile.level() - 1, index, TILE_WIDTH).map(|under| under.to_string());
                let under = under.unwrap_or_default();
                return Err(self.unfit(tile, format!("does not fit {under}; one of them is false")));
            }
        }
        Ok(())
    }

    /// A file of the log from the folder, or fetched; and whether it was.
    fn file(&self, name: &str) -> Result<(Vec<u8>, bool), Failure> {
        let path = self.out.join(name);
        if path.is_file() {
            return Ok((read_bytes(&path)?, false));
        }
        let mut bytes = Vec::new();
        let mut download = self.client.download(&format!("{}{name}", self.log))?;
        download.reader.read_to_end(&mut bytes)?;
        Ok((bytes, true))
    }

    fn keep(&mut self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        publish_file(&self.out.join(name), bytes)?;
        self.files += 1;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// The way back is to fetch it again; nothing is repaired in silence.
    fn unfit(&self, file: impl std::fmt::Display, why: impl std::fmt::Display) -> Failure {
        let path = self.out.join(file.to_string());
        damaged(format!(
            "{}: {why}. Delete what is false to have it fetched again",
            path.display()
        ))
    }

    fn expect_root(&self, now: &Checkpoint) -> Result<(), Failure> {
        match root(now.size, &TiledHashes::new(self, now.size)) {
            Ok(found) if found == now.root => Ok(()),
            Ok(found) => Err(damaged(format!(
                "the tiles give the root {found}, the checkpoint {}; delete the partial ones to have them fetched again",
                now.root
            ))),
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}

/// The folder's tiles; narrower ones are prefixes of what is there.
impl TileReader for &Copy<'_> {
    type Error = std::io::Error;

    fn tiles(&self, tiles: &[TileId]) -> Result<Vec<Vec<Hash>>, Self::Error> {
        let read = |tile: &TileId| {
            let there = TileId::at(tile.level(), tile.index(), self.size).unwrap_or(*tile);
            let bytes = std::fs::read(self.out.join(there.to_string()))?;
            let mut hashes = decode_tile(there, &bytes).map_err(std::io::Error::other)?;
            hashes.truncate(tile.width().into());
            Ok(hashes)
        };
        tiles.iter().map(read).collect()
    }
}

fn remove_folder(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Failure::file(folder, &error)),
        _ => Ok(()),
    }
}
