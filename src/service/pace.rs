//! How many events to read at once: as many as there were before if they are small, few if they are large, so that memory
//! follows a budget and not what callers wrote.

use std::ops::Range;

/// Bytes of bodies that one read may hold, about.
const BUDGET: u64 = 16 << 20;
/// Events of the first read: an event may have 16 MiB.
const FIRST: u64 = 32;

/// Walks a range of indexes in pieces.
#[derive(Debug)]
pub(super) struct Pace {
    left: Range<u64>,
    piece: u64,
    most: u64,
}

impl Pace {
    /// Over `indexes`, at most `most` at once.
    pub(super) fn new(indexes: Range<u64>, most: u64) -> Self {
        Self {
            left: indexes,
            piece: FIRST.min(most),
            most,
        }
    }

    /// As [`Pace::new`], but the first piece is one event: nothing is known of their size.
    pub(super) fn careful(indexes: Range<u64>, most: u64) -> Self {
        Self {
            piece: 1,
            ..Self::new(indexes, most)
        }
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> Option<Range<u64>> {
        let end = self.left.end.min(self.left.start.saturating_add(self.piece));
        let piece = self.left.start..end;
        self.left.start = end;
        (!piece.is_empty()).then_some(piece)
    }

    /// Tells how many bytes the last piece had.
    pub(super) fn saw(&mut self, bytes: usize) {
        let each = (bytes as u64 / self.piece.max(1)).max(1);
        self.piece = (BUDGET / each).clamp(1, self.piece.saturating_mul(2)).min(self.most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_the_range_and_follow_the_budget() {
        let mut pace = Pace::new(5..5_000, 2_048);
        let (mut next, mut largest) = (5, 0);
        while let Some(piece) = pace.next() {
            assert_eq!(piece.start, next);
            next = piece.end;
            largest = largest.max(piece.end - piece.start);
            pace.saw(usize::try_from(piece.end - piece.start).unwrap_or(0) * 600);
        }
        assert_eq!((next, largest), (5_000, 2_048));
        let mut pace = Pace::new(0..100, 2_048);
        pace.next();
        pace.saw(32 << 24);
        assert_eq!(pace.next(), Some(32..33), "events of 16 MiB come one by one");
        let mut pace = Pace::careful(0..10, 4);
        let pieces: Vec<_> = std::iter::from_fn(|| {
            pace.saw(1);
            pace.next()
        })
        .collect();
        assert_eq!(pieces, [0..2, 2..6, 6..10]);
    }
}
