//! The paths of tiles and bundles, relative to the log's prefix, in their one canonical spelling.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{BundleId, TILE_WIDTH, TileId};

/// `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TilePath {
    /// A tile of hashes.
    Tile(TileId),
    /// A bundle of entries.
    Entries(BundleId),
}

/// Not the canonical path of a tile or bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the canonical path of a tile or an entry bundle")]
pub struct ParsePathError;

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tile(tile) => tile.fmt(f),
            Self::Entries(bundle) => bundle.fmt(f),
        }
    }
}

impl fmt::Display for TileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/{}{}", self.level, Groups(self.index), Partial(self.width))
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/entries/{}{}", Groups(self.index), Partial(self.width))
    }
}

impl FromStr for TilePath {
    type Err = ParsePathError;

    /// Reads leniently and compares with what it would write, so that nothing but the canonical spelling passes.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = parse(text).ok_or(ParsePathError)?;
        if path.to_string() == text {
            Ok(path)
        } else {
            Err(ParsePathError)
        }
    }
}

fn parse(text: &str) -> Option<TilePath> {
    let (level, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok()?),
        None => (rest, TILE_WIDTH),
    };
    let index = parse_index(index)?;
    match level {
        "entries" => BundleId::new(index, width).map(TilePath::Entries),
        _ => TileId::new(level.parse().ok()?, index, width).map(TilePath::Tile),
    }
}

fn parse_index(text: &str) -> Option<u64> {
    text.split('/').try_fold(0u64, |index, group| {
        let digits = group.trim_start_matches('x').parse().ok()?;
        index.checked_mul(1000)?.checked_add(digits)
    })
}

/// An index in groups of three digits, all but the last with an `x` before: `x001/x234/067`.
struct Groups(u64);

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1000 {
            Higher(self.0 / 1000).fmt(f)?;
        }
        write!(f, "{:03}", self.0 % 1000)
    }
}

struct Higher(u64);

impl fmt::Display for Higher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1000 {
            Higher(self.0 / 1000).fmt(f)?;
        }
        write!(f, "x{:03}/", self.0 % 1000)
    }
}

struct Partial(u16);

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == TILE_WIDTH {
            Ok(())
        } else {
            write!(f, ".p/{}", self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn tile(level: u8, index: u64, width: u16) -> TilePath {
        TilePath::Tile(TileId::new(level, index, width).unwrap())
    }

    fn entries(index: u64, width: u16) -> TilePath {
        TilePath::Entries(BundleId::new(index, width).unwrap())
    }

    #[test]
    fn canonical_paths_are_written_and_read() {
        for (path, text) in [
            (tile(0, 1_234_067, 256), "tile/0/x001/x234/067"),
            (tile(0, 67, 256), "tile/0/067"),
            (tile(1, 0, 17), "tile/1/000.p/17"),
            (tile(63, 1000, 255), "tile/63/x001/000.p/255"),
            (entries(273, 112), "tile/entries/273.p/112"),
            (entries(1_234_067, 256), "tile/entries/x001/x234/067"),
            (tile(0, u64::MAX, 1), "tile/0/x018/x446/x744/x073/x709/x551/615.p/1"),
        ] {
            assert_eq!(path.to_string(), text);
            assert_eq!(text.parse(), Ok(path));
        }
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for text in [
            "",
            "tile",
            "tile/",
            "tile/0",
            "tile/0/",
            "tile/0/67",
            "tile/0/0067",
            "tile/0/x000/067",
            "tile/0/001/234/067",
            "tile/0/x001/x234/x067",
            "tile/0/x01/234/067",
            "tile/0/xx01/234",
            "tile/0/x1234/067",
            "tile/0/+67",
            "tile/0/-67",
            "tile/0/067/",
            "tile/0//067",
            "tile/0/x001//067",
            "tile/00/067",
            "tile/+0/067",
            "tile/64/067",
            "tile/256/067",
            "tile/-1/067",
            "tile/0/067.p/0",
            "tile/0/067.p/256",
            "tile/0/067.p/257",
            "tile/0/067.p/08",
            "tile/0/067.p/+8",
            "tile/0/067.p/",
            "tile/0/067.p/8/",
            "tile/0/067.p/8.p/8",
            "tile/0/067.p",
            "tile/0/067\n",
            " tile/0/067",
            "/tile/0/067",
            "tile/Entries/067",
            "tile/entries/67",
            "tile/entries/067.p/256",
            "tile/0/x018/x446/x744/x073/x709/x551/616",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert_eq!(text.parse::<TilePath>(), Err(ParsePathError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_tile_survives_its_path(level in 0..64u8, index: u64, width in 1..=256u16) {
            let path = tile(level, index, width);
            prop_assert_eq!(path.to_string().parse(), Ok(path));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(text in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,3}[0-9]{2,3}(\\.p/[0-9]{1,3})?") {
            if let Ok(path) = text.parse::<TilePath>() {
                prop_assert_eq!(path.to_string(), text);
            }
        }
    }
}
