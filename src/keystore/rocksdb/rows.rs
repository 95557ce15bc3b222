//! Row keys: one table byte, the ledger id, then what the row is about. Integers are big-endian, so that the rows of a
//! bucket, and within it of a subject, lie side by side: re-wrapping a bucket and compacting a subject touch one range.
//!
//! ```text
//! 0 | name                                       format, owner
//! m | ledger                                     epoch master      epoch u32 ‖ wrap
//! b | ledger | page u8                           bucket keys       epoch u32 ‖ wrap of 64 × (born u32 ‖ key 32)
//! k | ledger | bucket | handle | n u8 | category | generation u32   subject key   state u8 ‖ wrap
//! i | ledger | bucket | tag 32                   identity          wrap of handle ‖ n u16 ‖ subject id ‖ zeros
//! h | ledger | handle                            bucket u16 ‖ mac 16
//! f | ledger | handle | request 16               fence: state u8 ‖ scope ‖ mac 16
//! s | ledger | HMAC(suppression key, ledger ‖ 0 ‖ subject id)       empty | until u64 ‖ mac 16
//! e | ledger | request 16                        how it suppresses: 0 not | 1 ‖ until u64, ‖ mac 16
//! w | ledger | handle | id 16                    withheld: why u8 ‖ scope ‖ mac 16
//! g | ledger | handle | n u8 | category          reopened: generation u32 ‖ request 16* ‖ mac 16
//! n | ledger | handle                            new: no event is known to name it yet; empty
//! o | ledger | id 16                             noted reopening: suppression 32 ‖ mac 16
//! a | ledger                                     applied mark u64 ‖ mac 16
//!
//! wrap = nonce 12 ‖ ciphertext ‖ tag 16; mac = see `ledger`; scope = 0 whole subject | 1 ‖ (n u8 ‖ category)*
//! ```

use crate::keystore::vault::Epoch;
use crate::keystore::{Destroyed, ErasureOrder, Fence, RequestId};
use crate::spec::ids::{Category, Handle, LedgerId};

/// The number of a bucket, below [`BUCKETS`].
pub(super) type Bucket = u16;

/// Buckets per ledger: 12 bits.
pub(super) const BUCKETS: Bucket = 4096;

/// The state byte of a subject key that may be used.
pub(super) const ACTIVE: u8 = 1;

/// The rows of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Table {
    Store = 0,
    Applied = b'a',
    Bucket = b'b',
    Suppress = b'e',
    Fence = b'f',
    Reopened = b'g',
    Handle = b'h',
    Identity = b'i',
    Key = b'k',
    Master = b'm',
    New = b'n',
    Reopening = b'o',
    Suppression = b's',
    Withheld = b'w',
}

/// What a ledger that was lost may have left: all that is written under a master that is there.
pub(super) const OF_A_LEDGER: [Table; 12] = [
    Table::Applied,
    Table::Bucket,
    Table::Suppress,
    Table::Fence,
    Table::Reopened,
    Table::Handle,
    Table::Identity,
    Table::Key,
    Table::New,
    Table::Reopening,
    Table::Suppression,
    Table::Withheld,
];

/// The key of a row, or a prefix of several.
pub(super) fn row(table: Table, ledger: LedgerId, parts: &[&[u8]]) -> Vec<u8> {
    let mut row = Vec::with_capacity(17 + parts.iter().map(|part| part.len()).sum::<usize>());
    row.push(table as u8);
    row.extend_from_slice(ledger.as_bytes());
    parts.iter().for_each(|part| row.extend_from_slice(part));
    row
}

/// The key of a row of the store itself.
pub(super) fn store_row(name: &str) -> Vec<u8> {
    [&[Table::Store as u8], name.as_bytes()].concat()
}

/// The ledger in a row key.
pub(super) fn ledger_of(row: &[u8]) -> Option<LedgerId> {
    Some(LedgerId(*row.get(1..)?.first_chunk()?))
}

pub(super) fn page(ledger: LedgerId, page: u8) -> Vec<u8> {
    row(Table::Bucket, ledger, &[&[page]])
}

/// The prefix of a bucket's rows of one kind.
pub(super) fn within(table: Table, ledger: LedgerId, bucket: Bucket) -> Vec<u8> {
    row(table, ledger, &[&bucket.to_be_bytes()])
}

pub(super) fn identity(ledger: LedgerId, bucket: Bucket, tag: &[u8; 32]) -> Vec<u8> {
    row(Table::Identity, ledger, &[&bucket.to_be_bytes(), tag])
}

pub(super) fn handle(ledger: LedgerId, handle: Handle) -> Vec<u8> {
    row(Table::Handle, ledger, &[handle.as_bytes()])
}

/// The row that says that a handle is new.
pub(super) fn new(ledger: LedgerId, handle: Handle) -> Vec<u8> {
    row(Table::New, ledger, &[handle.as_bytes()])
}

/// The prefix of a subject's key rows.
pub(super) fn keys(ledger: LedgerId, bucket: Bucket, handle: Handle) -> Vec<u8> {
    row(Table::Key, ledger, &[&bucket.to_be_bytes(), handle.as_bytes()])
}

/// The prefix of a category's key rows, one per generation.
pub(super) fn category(ledger: LedgerId, bucket: Bucket, handle: Handle, category: &Category) -> Vec<u8> {
    let mut row = keys(ledger, bucket, handle);
    push_category(&mut row, category);
    row
}

pub(super) fn key(ledger: LedgerId, bucket: Bucket, handle: Handle, of: &Category, generation: u32) -> Vec<u8> {
    let mut row = category(ledger, bucket, handle, of);
    row.extend_from_slice(&generation.to_be_bytes());
    row
}

/// Category and generation, from the part of a key row after [`keys`].
pub(super) fn parse_key(row: &[u8], prefix: &[u8]) -> Option<(Category, u32)> {
    let (category, rest) = take_category(row.strip_prefix(prefix)?)?;
    Some((category, u32::from_be_bytes(rest.try_into().ok()?)))
}

pub(super) fn fence(ledger: LedgerId, order: &ErasureOrder) -> Vec<u8> {
    row(
        Table::Fence,
        ledger,
        &[order.handle.as_bytes(), order.request.as_bytes()],
    )
}

/// The clear value of a fence row.
pub(super) fn encode_fence(fence: &Fence) -> Vec<u8> {
    let mut value = vec![
        if fence.destroyed.is_some() { 2 } else { 1 },
        u8::from(fence.order.categories.is_some()),
    ];
    if let Some(destroyed) = fence.destroyed {
        value.extend_from_slice(&destroyed.keys.to_be_bytes());
        value.extend_from_slice(&destroyed.identities.to_be_bytes());
        value.extend_from_slice(&destroyed.from.to_be_bytes());
        value.extend_from_slice(&destroyed.to.to_be_bytes());
    }
    fence
        .order
        .categories
        .iter()
        .flatten()
        .for_each(|category| push_category(&mut value, category));
    value
}

/// Reads row key and clear value of a fence.
pub(super) fn parse_fence(row: &[u8], value: &[u8]) -> Option<Fence> {
    let (handle, request) = row.get(17..)?.split_first_chunk::<16>()?;
    let (destroyed, scoped, mut rest) = match value {
        [1, scope @ (0 | 1), rest @ ..] => (None, *scope == 1, rest),
        [2, scope @ (0 | 1), rest @ ..] => {
            let (keys, rest) = rest.split_first_chunk()?;
            let (identities, rest) = rest.split_first_chunk()?;
            let (from, rest) = rest.split_first_chunk()?;
            let (to, rest) = rest.split_first_chunk()?;
            let destroyed = Destroyed {
                keys: u64::from_be_bytes(*keys),
                identities: u64::from_be_bytes(*identities),
                from: Epoch::from_be_bytes(*from),
                to: Epoch::from_be_bytes(*to),
            };
            (Some(destroyed), *scope == 1, rest)
        }
        _ => return None,
    };
    let mut categories = Vec::new();
    while !rest.is_empty() {
        let category;
        (category, rest) = take_category(rest)?;
        categories.push(category);
    }
    if !scoped && !categories.is_empty() {
        return None;
    }
    let order = ErasureOrder {
        request: RequestId::from_slice(request).ok()?,
        handle: Handle(*handle),
        categories: scoped.then_some(categories),
    };
    Some(Fence { order, destroyed })
}

/// The bucket, from the clear value of a handle row.
pub(super) fn parse_handle(value: &[u8]) -> Option<Bucket> {
    value.try_into().ok().map(Bucket::from_be_bytes)
}

/// The handle in the row key of a subject key, and what comes before its category.
pub(super) fn split_key(row: &[u8]) -> Option<(Handle, &[u8])> {
    let prefix = row.get(..35)?;
    Some((Handle(*prefix.last_chunk()?), prefix))
}

/// The epoch in front of a wrap.
pub(super) fn split_epoch(value: &[u8]) -> Option<(Epoch, &[u8])> {
    value
        .split_first_chunk()
        .map(|(epoch, wrap)| (Epoch::from_be_bytes(*epoch), wrap))
}

pub(super) fn push_category(row: &mut Vec<u8>, category: &Category) {
    // A category has at most 64 bytes.
    row.push(category.as_str().len() as u8);
    row.extend_from_slice(category.as_str().as_bytes());
}

pub(super) fn take_category(bytes: &[u8]) -> Option<(Category, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (category, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(category).ok()?.parse().ok()?, rest))
}
