//! The erasure journal: one append-only file per ledger and mirror, in blocks of 512 bytes.
//!
//! ```text
//! magic "OUBJRNL1" | vault id 16 | ledger id 16 | block number u64 | part u16 | parts u16 | length u16
//!                  | payload up to 426 | zeros | checksum over 0..480           integers big-endian
//! payload, over all parts of a record: CBOR array of entries {1: request, 2: handle, 3: index, 4: [category]}
//! ```
//!
//! One record is one call of `journal`; without field 4 the whole subject is meant. Every block is checked by itself, so
//! a damaged one hides no other. What a crash leaves of the last record is missing, short or zero blocks: those are
//! dropped as a torn tail, the record was never acknowledged. Anything else that is not valid is damage, hence an error,
//! also in the last record. A mirror that is behind is caught up with the longest one before the next append.
//!
//! The journal is read and checked whole when it is first asked for, which every start does. From then on an append knows its
//! [`Head`] and reads nothing but what it wrote; where a mirror's length is not the one known, all of it is read again.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use minicbor::{Decoder, Encoder};
use sha2::{Digest, Sha256};

use super::mirror::{Mirror, vault_error, vault_refusal};
use super::stamp::Stamp;
use crate::keystore::vault::JournalEntry;
use crate::keystore::{ErasureOrder, KeyStoreError, RequestId};
use crate::spec::ids::{Handle, LedgerId};

const MAGIC: &[u8; 8] = b"OUBJRNL1";
const SIZE: usize = 512;
const CONTENT: usize = SIZE - 32;
const HEAD: usize = 54;
const PAYLOAD: usize = CONTENT - HEAD;

/// What one mirror holds: its whole records, and their bytes.
#[derive(Debug, Default, PartialEq, Eq)]
struct Journal {
    bytes: Vec<u8>,
    entries: Vec<JournalEntry>,
}

/// What is known of a journal that is the same on every mirror.
#[derive(Debug)]
pub(super) struct Head {
    bytes: u64,
    /// The first bytes of the hash of each entry: 16 bytes an entry, and not the entry.
    seen: HashSet<[u8; 16]>,
}

/// The heads, as far as the journals were read.
pub(super) type Heads = HashMap<LedgerId, Head>;

impl Head {
    fn of(journal: &Journal) -> Self {
        Self {
            bytes: journal.bytes.len() as u64,
            seen: journal.entries.iter().map(digest).collect(),
        }
    }

    /// Whether every mirror is as long as the journal is known to be.
    fn fits(&self, mirrors: &[Mirror], ledger: LedgerId) -> bool {
        let length = |mirror: &Mirror| std::fs::metadata(mirror.path.join(file(ledger))).map_or(0, |file| file.len());
        mirrors.iter().all(|mirror| length(mirror) == self.bytes)
    }
}

fn digest(entry: &JournalEntry) -> [u8; 16] {
    let hash: [u8; 32] = Sha256::digest(encode(&[entry])).into();
    let (half, _) = hash.split_first_chunk().unwrap_or((&[0; 16], &[]));
    *half
}

fn file(ledger: LedgerId) -> PathBuf {
    PathBuf::from("journal").join(ledger.to_string())
}

/// The journal, from the longest mirror.
pub(super) fn entries(
    mirrors: &[Mirror],
    stamp: &Stamp,
    heads: &mut Heads,
    ledger: LedgerId,
) -> Result<Vec<JournalEntry>, KeyStoreError> {
    heads.remove(&ledger);
    let journal = longest(mirrors, stamp, ledger)?;
    let head = Head::of(&journal);
    if head.fits(mirrors, ledger) {
        heads.insert(ledger, head);
    }
    Ok(journal.entries)
}

/// Appends the entries that are not there yet. Mirrors that are behind are caught up first.
pub(super) fn append(
    mirrors: &mut [Mirror],
    stamp: &Stamp,
    heads: &mut Heads,
    ledger: LedgerId,
    entries: &[JournalEntry],
) -> Result<(), KeyStoreError> {
    // IMPORTANT: taken out, so that whatever fails below has the next call read the files again.
    let mut head = match heads.remove(&ledger) {
        Some(head) if head.fits(mirrors, ledger) => head,
        _ => catch_all_up(mirrors, stamp, ledger)?,
    };
    let new: Vec<_> = entries.iter().filter(|entry| head.seen.insert(digest(entry))).collect();
    if !new.is_empty() {
        let written = blocks(stamp, ledger, head.bytes / SIZE as u64, &encode(&new))?;
        mirrors
            .iter()
            .try_for_each(|mirror| extend(mirror, ledger, head.bytes, &written))?;
        head.bytes += written.len() as u64;
    }
    heads.insert(ledger, head);
    Ok(())
}

/// Writes a record behind the last one, and reads it back.
fn extend(mirror: &Mirror, ledger: LedgerId, at: u64, record: &[u8]) -> Result<(), KeyStoreError> {
    let name = file(ledger);
    let failed = |e| vault_error(format!("cannot write {}", mirror.context(&name)), e);
    let edited = mirror.edit(&name)?;
    let mut back = vec![0; record.len()];
    edited.write_all_at(record, at).map_err(failed)?;
    edited.sync_all().map_err(failed)?;
    edited.read_exact_at(&mut back, at).map_err(failed)?;
    if back == record {
        Ok(())
    } else {
        Err(unlike(mirror, &name))
    }
}

fn unlike(mirror: &Mirror, name: &std::path::Path) -> KeyStoreError {
    vault_refusal(format!("{} does not read back as written", mirror.context(name)))
}

/// Reads the journal whole and makes every mirror equal.
fn catch_all_up(mirrors: &mut [Mirror], stamp: &Stamp, ledger: LedgerId) -> Result<Head, KeyStoreError> {
    let journal = longest(mirrors, stamp, ledger)?;
    mirrors
        .iter_mut()
        .try_for_each(|mirror| catch_up(mirror, ledger, &journal.bytes))?;
    Ok(Head::of(&journal))
}

/// Makes a mirror's file equal to `bytes`, of which it holds a beginning and perhaps a torn record.
fn catch_up(mirror: &mut Mirror, ledger: LedgerId, bytes: &[u8]) -> Result<(), KeyStoreError> {
    let name = file(ledger);
    let there = mirror.read(&name)?.unwrap_or_default();
    if there == bytes {
        return Ok(());
    }
    let failed = |e| vault_error(format!("cannot write {}", mirror.context(&name)), e);
    let same = there.iter().zip(bytes).take_while(|(a, b)| a == b).count() / SIZE * SIZE;
    let edited = mirror.edit(&name)?;
    // The torn end goes first, so that no crash leaves it behind a whole record.
    edited
        .set_len(same as u64)
        .and_then(|()| edited.sync_data())
        .map_err(failed)?;
    edited
        .write_all_at(bytes.get(same..).unwrap_or_default(), same as u64)
        .map_err(failed)?;
    edited.sync_all().map_err(failed)?;
    match mirror.read(&name)? {
        Some(back) if back == bytes => Ok(()),
        _ => Err(unlike(mirror, &name)),
    }
}

fn longest(mirrors: &[Mirror], stamp: &Stamp, ledger: LedgerId) -> Result<Journal, KeyStoreError> {
    let mut longest = Journal::default();
    for mirror in mirrors {
        let bytes = mirror.read(&file(ledger))?.unwrap_or_default();
        let journal = parse(stamp, ledger, bytes).ok_or_else(|| {
            let name = mirror.context(&file(ledger));
            vault_refusal(format!(
                "the erasure journal {name} is damaged; put its copy from another mirror in its place"
            ))
        })?;
        let (short, long) = if journal.bytes.len() > longest.bytes.len() {
            (longest, journal)
        } else {
            (journal, longest)
        };
        if !long.bytes.starts_with(&short.bytes) {
            return Err(vault_refusal(format!(
                "the mirrors' erasure journals of ledger {ledger} contradict each other"
            )));
        }
        longest = long;
    }
    Ok(longest)
}

/// `None` if the file is damaged anywhere but in its last record.
fn parse(stamp: &Stamp, ledger: LedgerId, mut bytes: Vec<u8>) -> Option<Journal> {
    let blocks: Vec<_> = (0..)
        .zip(bytes.chunks(SIZE))
        .map(|(at, block)| classify(stamp, ledger, at, block))
        .collect();
    let mut entries = Vec::new();
    let mut whole = 0;
    while let Some(rest) = blocks.get(whole..).filter(|rest| !rest.is_empty()) {
        match record(rest) {
            Some((parts, payload)) => {
                entries.extend(decode(&payload)?);
                whole += parts;
            }
            None if torn(rest) => break,
            None => return None,
        }
    }
    bytes.truncate(whole * SIZE);
    Some(Journal { bytes, entries })
}

/// The record at the start of `blocks`: its number of parts and its payload.
fn record(blocks: &[Block]) -> Option<(usize, Vec<u8>)> {
    let Block::Valid(first) = blocks.first()? else {
        return None;
    };
    let mut payload = Vec::new();
    for (number, block) in (0..).zip(blocks.get(..usize::from(first.parts))?) {
        match block {
            Block::Valid(part) if part.number == number && part.parts == first.parts => {
                payload.extend_from_slice(&part.payload);
            }
            _ => return None,
        }
    }
    Some((usize::from(first.parts), payload))
}

/// Whether all that is left can be one record that was being written: every valid block sits where that record has it.
fn torn(blocks: &[Block]) -> bool {
    let mut parts = None;
    (0..).zip(blocks).all(|(number, block)| match block {
        Block::Unwritten => true,
        Block::Damaged => false,
        Block::Valid(part) => {
            let same_record = *parts.get_or_insert(part.parts) == part.parts;
            same_record && part.number == number && blocks.len() <= usize::from(part.parts)
        }
    })
}

enum Block {
    Valid(Part),
    /// Zero, or cut off by the end of the file: what a torn write leaves.
    Unwritten,
    Damaged,
}

struct Part {
    number: u16,
    parts: u16,
    payload: Vec<u8>,
}

fn blocks(stamp: &Stamp, ledger: LedgerId, first: u64, payload: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
    let chunks = payload.chunks(PAYLOAD);
    let parts = u16::try_from(chunks.len()).map_err(|_| vault_refusal("too many erasures for one journal record"))?;
    let mut out = Vec::with_capacity(usize::from(parts) * SIZE);
    for (part, chunk) in (0..parts).zip(chunks) {
        let mut block = Vec::with_capacity(SIZE);
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&stamp.owner.0);
        block.extend_from_slice(ledger.as_bytes());
        block.extend_from_slice(&(first + u64::from(part)).to_be_bytes());
        block.extend_from_slice(&part.to_be_bytes());
        block.extend_from_slice(&parts.to_be_bytes());
        block.extend_from_slice(&(chunk.len() as u16).to_be_bytes());
        block.extend_from_slice(chunk);
        block.resize(CONTENT, 0);
        block.extend_from_slice(&stamp.checksum(&[&block]));
        out.append(&mut block);
    }
    Ok(out)
}

fn classify(stamp: &Stamp, ledger: LedgerId, at: u64, bytes: &[u8]) -> Block {
    match <&[u8; SIZE]>::try_from(bytes) {
        Ok(block) if block.iter().any(|byte| *byte != 0) => {
            parse_block(stamp, ledger, at, block).map_or(Block::Damaged, Block::Valid)
        }
        _ => Block::Unwritten,
    }
}

fn parse_block(stamp: &Stamp, ledger: LedgerId, expected: u64, block: &[u8; SIZE]) -> Option<Part> {
    let (content, checksum) = block.split_last_chunk::<32>()?;
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (vault, rest) = rest.split_first_chunk::<16>()?;
    let (of, rest) = rest.split_first_chunk::<16>()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (number, rest) = rest.split_first_chunk::<2>()?;
    let (parts, rest) = rest.split_first_chunk::<2>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let here = *vault == stamp.owner.0 && *of == ledger.0 && *at == expected.to_be_bytes();
    if magic != MAGIC || !here || stamp.checksum(&[content]) != *checksum {
        return None;
    }
    let payload = rest.get(..usize::from(u16::from_be_bytes(*length)))?.to_vec();
    Some(Part {
        number: u16::from_be_bytes(*number),
        parts: u16::from_be_bytes(*parts),
        payload,
    })
}

fn encode(entries: &[&JournalEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut e = Encoder::new(&mut out);
    let _ = e.array(entries.len() as u64);
    for JournalEntry { order, index } in entries {
        let fields = if order.categories.is_some() { 4 } else { 3 };
        let _ = e
            .map(fields)
            .and_then(|e| e.u8(1)?.bytes(order.request.as_bytes()))
            .and_then(|e| e.u8(2)?.bytes(order.handle.as_bytes()))
            .and_then(|e| e.u8(3)?.u64(*index));
        if let Some(categories) = &order.categories {
            let _ = e.u8(4).and_then(|e| e.array(categories.len() as u64));
            categories.iter().for_each(|category| drop(e.str(category.as_str())));
        }
    }
    out
}

fn decode(payload: &[u8]) -> Option<Vec<JournalEntry>> {
    let mut d = Decoder::new(payload);
    let count = d.array().ok()??;
    let entries: Vec<_> = (0..count).map(|_| decode_entry(&mut d)).collect::<Option<_>>()?;
    // One encoding only: what encodes differently was not written by this code.
    (encode(&entries.iter().collect::<Vec<_>>()) == payload).then_some(entries)
}

fn decode_entry(d: &mut Decoder<'_>) -> Option<JournalEntry> {
    let fields = d.map().ok()??;
    d.u8().ok()?;
    let request = RequestId::from_slice(d.bytes().ok()?).ok()?;
    d.u8().ok()?;
    let handle = Handle::try_from(d.bytes().ok()?).ok()?;
    d.u8().ok()?;
    let index = d.u64().ok()?;
    let mut categories = None;
    if fields == 4 {
        d.u8().ok()?;
        let count = d.array().ok()??;
        categories = Some((0..count).map(|_| d.str().ok()?.parse().ok()).collect::<Option<_>>()?);
    }
    Some(JournalEntry {
        order: ErasureOrder {
            request,
            handle,
            categories,
        },
        index,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keystore::vault::VaultId;
    use proptest::prelude::*;

    const OWNER: &Stamp = &Stamp::plain(VaultId([1; 16]));
    const LEDGER: LedgerId = LedgerId([2; 16]);

    fn entry(n: u8, categories: usize) -> JournalEntry {
        let categories = (0..categories).map(|i| format!("{i:064}").parse().unwrap()).collect();
        let order = ErasureOrder {
            request: RequestId::from_bytes([n; 16]),
            handle: Handle([n; 16]),
            categories: Some(categories),
        };
        JournalEntry {
            order,
            index: u64::from(n) << 40,
        }
    }

    /// Three records: of one, of four and of two blocks.
    fn three() -> (Vec<u8>, Vec<JournalEntry>) {
        let entries = [entry(1, 0), entry(2, 20), entry(3, 10)];
        let mut bytes = Vec::new();
        for entry in &entries {
            bytes.extend(blocks(OWNER, LEDGER, (bytes.len() / SIZE) as u64, &encode(&[entry])).unwrap());
        }
        assert_eq!(bytes.len(), 7 * SIZE);
        (bytes, entries.into())
    }

    #[test]
    fn a_journal_cut_anywhere_gives_back_its_whole_records() {
        let (bytes, entries) = three();
        for cut in 0..=bytes.len() {
            let whole = [1, 5, 7].iter().filter(|end| **end * SIZE <= cut).count();
            let read = parse(OWNER, LEDGER, bytes[..cut].to_vec()).unwrap();
            assert_eq!(read.entries, entries[..whole], "cut at {cut}");
        }
    }

    #[test]
    fn a_record_torn_in_its_first_block_is_a_torn_tail_all_the_same() {
        let (mut bytes, entries) = three();
        bytes[5 * SIZE..6 * SIZE].fill(0);
        assert_eq!(parse(OWNER, LEDGER, bytes).unwrap().entries, entries[..2]);
    }

    #[test]
    fn a_record_lost_in_the_middle_is_damage() {
        let (mut bytes, _) = three();
        bytes[SIZE..2 * SIZE].fill(0);
        assert_eq!(parse(OWNER, LEDGER, bytes), None);
    }

    #[test]
    fn a_journal_of_another_vault_or_ledger_or_order_is_damaged() {
        let (bytes, _) = three();
        assert_eq!(parse(&Stamp::plain(VaultId([9; 16])), LEDGER, bytes.clone()), None);
        assert_eq!(parse(OWNER, LedgerId([9; 16]), bytes.clone()), None);
        let mut swapped = bytes.clone();
        swapped.rotate_left(SIZE);
        assert_eq!(parse(OWNER, LEDGER, swapped), None);
        let without_the_first = bytes[SIZE..].to_vec();
        assert_eq!(parse(OWNER, LEDGER, without_the_first), None);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_is_damage(at in 0..7 * SIZE, bit in 0..8_u8) {
            let (mut bytes, _) = three();
            bytes[at] ^= 1 << bit;
            prop_assert_eq!(parse(OWNER, LEDGER, bytes), None);
        }
    }
}
