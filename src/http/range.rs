//! A part of a download (RFC 9110 §14): what is asked for, and the bytes that it comes to.

use std::sync::LazyLock;

use actix_web::HttpRequest;
use actix_web::http::header::{ByteRangeSpec, IF_RANGE, RANGE, Range};
use quick_cache::sync::Cache;

/// Lengths of contents that were written to their end, by tag.
static LENGTHS: LazyLock<Cache<String, u64>> = LazyLock::new(|| Cache::new(256));

/// The one range that the request asks for, if `tag` is still what it has a part of. Several ranges, other units and what
/// cannot be parsed are answered in full, as is allowed.
pub(super) fn asked(request: &HttpRequest, tag: &str) -> Option<ByteRangeSpec> {
    let header = |name| request.headers().get(name)?.to_str().ok();
    if header(IF_RANGE).is_some_and(|wanted| wanted != tag) {
        return None;
    }
    match header(RANGE)?.parse() {
        Ok(Range::Bytes(ranges)) => <[_; 1]>::try_from(ranges).ok().map(|[range]| range),
        _ => None,
    }
}

/// The length of the content with this tag, if it is known.
pub(super) fn known_length(tag: &str) -> Option<u64> {
    LENGTHS.get(tag)
}

/// Remembers a length.
pub(super) fn remember_length(tag: &str, length: u64) {
    LENGTHS.insert(tag.to_owned(), length);
}

/// Which bytes of a content go out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    skip: u64,
    left: u64,
}

impl Window {
    /// All of them.
    pub(super) const WHOLE: Self = Self {
        skip: 0,
        left: u64::MAX,
    };

    /// From the first to the last, both included.
    pub(super) fn of((first, last): (u64, u64)) -> Self {
        Self {
            skip: first,
            left: last.saturating_sub(first).saturating_add(1),
        }
    }

    /// What of the next bytes goes out.
    pub(super) fn cut<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        let rest = bytes.get(skipped..).unwrap_or_default();
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
        self.left -= taken as u64;
        rest.get(..taken).unwrap_or_default()
    }

    /// Whether it has no end of its own.
    pub(super) fn is_whole(&self) -> bool {
        self.left > u64::MAX / 2
    }

    /// Whether nothing more goes out.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_window_cuts_the_same_bytes_out_of_pieces_of_any_length() {
        let content: Vec<u8> = (0..=99).collect();
        for (first, last) in [(0, 99), (0, 0), (99, 99), (10, 20), (7, 98)] {
            for length in [1, 3, 10, 100] {
                let mut window = Window::of((first, last));
                let cut: Vec<u8> = content
                    .chunks(length)
                    .flat_map(|piece| window.cut(piece))
                    .copied()
                    .collect();
                let (from, to) = (usize::try_from(first).unwrap_or(0), usize::try_from(last).unwrap_or(0));
                assert_eq!(cut, content[from..=to], "{first}-{last} by {length}");
                assert!(window.is_done());
            }
        }
        let mut whole = Window::WHOLE;
        assert_eq!(whole.cut(&content), content);
        assert!(!whole.is_done());
    }
}
