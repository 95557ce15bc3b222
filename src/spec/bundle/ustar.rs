//! The archive: POSIX ustar (IEEE Std 1003.1-2017, pax, "ustar Interchange Format"), in one canonical form.
//!
//! Regular files only, mode 0644, owner and group 0 without names, modification time 0, names of at most 100 bytes; zero
//! padding; exactly two zero blocks, then the end. So name and content of the members fix every byte of the archive. Any
//! `tar` unpacks it. The reader makes each header again and compares; what differs is a [`Flaw`] with its offset.

use std::io::{self, Read, Write};

/// The unit of the archive, in bytes.
pub(super) const BLOCK: usize = 512;
/// The longest member that a reader takes into memory.
pub(super) const MAX_MEMBER: u64 = 64 << 20;

/// A header and everything that it fixes.
pub(super) fn header(name: &str, size: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    put(&mut block, 0, name.as_bytes());
    put(&mut block, 100, b"0000644\0");
    put(&mut block, 108, b"0000000\0");
    put(&mut block, 116, b"0000000\0");
    put(&mut block, 124, format!("{size:011o}\0").as_bytes());
    put(&mut block, 136, b"00000000000\0");
    put(&mut block, 148, b"        ");
    put(&mut block, 156, b"0");
    put(&mut block, 257, b"ustar\x0000");
    put(&mut block, 329, b"0000000\0");
    put(&mut block, 337, b"0000000\0");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    put(&mut block, 148, format!("{sum:06o}\0 ").as_bytes());
    block
}

fn put(block: &mut [u8; BLOCK], at: usize, bytes: &[u8]) {
    if let Some(field) = block.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

fn padding(size: u64) -> usize {
    // Below 512, so the cast loses nothing.
    (size.wrapping_neg() % BLOCK as u64) as usize
}

/// Writes one member.
pub(super) fn write_member(out: &mut impl Write, name: &str, content: &[u8]) -> io::Result<()> {
    out.write_all(&header(name, content.len() as u64))?;
    out.write_all(content)?;
    let zeros = [0; BLOCK];
    out.write_all(zeros.get(..padding(content.len() as u64)).unwrap_or_default())
}

/// Writes the end of the archive.
pub(super) fn write_end(out: &mut impl Write) -> io::Result<()> {
    out.write_all(&[0; 2 * BLOCK])
}

/// A byte that is not what name and content call for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Flaw {
    /// Its offset in the file.
    pub(super) at: u64,
    /// Where that is, in words.
    pub(super) place: String,
}

/// A member as it was read.
#[derive(Debug)]
pub(super) struct RawMember {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    pub(super) flaws: Vec<Flaw>,
}

/// What comes next in an archive.
#[derive(Debug)]
pub(super) enum Next {
    /// A member.
    Member(RawMember),
    /// The two zero blocks; whether bytes follow after them.
    End { trailing: bool, flaws: Vec<Flaw> },
    /// The file ends before its end.
    Truncated { at: u64, place: String, flaws: Vec<Flaw> },
    /// A header of which not even name and size can be read, so that nothing after it can be found.
    Lost(Flaw),
}

/// Reads an archive from the first byte to the last.
#[derive(Debug)]
pub(super) struct Archive<R> {
    input: R,
    at: u64,
    place: String,
}

impl<R: Read> Archive<R> {
    pub(super) fn new(input: R) -> Self {
        Self {
            input,
            at: 0,
            place: "the first header".into(),
        }
    }

    /// The next member, or why there is none.
    ///
    /// # Errors
    /// [`io::Error`] of the reader; an early end is no error but [`Next::Truncated`].
    pub(super) fn next(&mut self) -> io::Result<Next> {
        let start = self.at;
        let mut block = [0; BLOCK];
        if self.fill(&mut block)? < BLOCK {
            return Ok(self.truncated(Vec::new()));
        }
        if block.iter().all(|byte| *byte == 0) {
            return self.end();
        }
        let Some((name, size)) = name_and_size(&block) else {
            return Ok(Next::Lost(Flaw {
                at: start,
                place: format!("the header after {}", self.place),
            }));
        };
        let mut flaws = Vec::new();
        if let Some(offset) = first_difference(&block, &header(&name, size)) {
            flaws.push(Flaw {
                at: start + offset,
                place: format!("the header of {name}"),
            });
        }
        self.place.clone_from(&name);
        self.member(name, size, flaws)
    }

    fn member(&mut self, name: String, size: u64, mut flaws: Vec<Flaw>) -> io::Result<Next> {
        let mut content = Vec::new();
        let read = (&mut self.input).take(size).read_to_end(&mut content)? as u64;
        self.at += read;
        if read < size {
            return Ok(self.truncated(flaws));
        }
        let start = self.at;
        let mut block = [0; BLOCK];
        let padding = block.get_mut(..padding(size)).unwrap_or_default();
        let due = padding.len();
        let found = fill(&mut self.input, padding)?;
        self.at += found as u64;
        if found < due {
            return Ok(self.truncated(flaws));
        }
        if let Some(offset) = first_difference(&block, &[0; BLOCK]) {
            flaws.push(Flaw {
                at: start + offset,
                place: format!("the padding of {name}"),
            });
        }
        Ok(Next::Member(RawMember { name, content, flaws }))
    }

    fn end(&mut self) -> io::Result<Next> {
        self.place = "the end blocks".into();
        let start = self.at;
        let mut block = [0; BLOCK];
        if self.fill(&mut block)? < BLOCK {
            return Ok(self.truncated(Vec::new()));
        }
        let flaw = first_difference(&block, &[0; BLOCK]);
        let flaws = flaw.map(|offset| Flaw {
            at: start + offset,
            place: self.place.clone(),
        });
        let trailing = fill(&mut self.input, &mut [0])? > 0;
        Ok(Next::End {
            trailing,
            flaws: flaws.into_iter().collect(),
        })
    }

    fn fill(&mut self, block: &mut [u8; BLOCK]) -> io::Result<usize> {
        let found = fill(&mut self.input, block)?;
        self.at += found as u64;
        Ok(found)
    }

    fn truncated(&self, flaws: Vec<Flaw>) -> Next {
        Next::Truncated {
            at: self.at,
            place: self.place.clone(),
            flaws,
        }
    }
}

fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match input.read(rest) {
            Ok(0) => break,
            Ok(more) => filled += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn name_and_size(block: &[u8; BLOCK]) -> Option<(String, u64)> {
    let name = block.get(..100)?;
    let name = name.split(|byte| *byte == 0).next()?;
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty())?;
    let size = std::str::from_utf8(block.get(124..135)?).ok()?;
    let size = u64::from_str_radix(size, 8).ok().filter(|size| *size <= MAX_MEMBER)?;
    Some((name.to_owned(), size))
}

fn first_difference(found: &[u8; BLOCK], expected: &[u8; BLOCK]) -> Option<u64> {
    found
        .iter()
        .zip(expected)
        .position(|(found, expected)| found != expected)
        .map(|at| at as u64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn archive() -> Vec<u8> {
        let mut out = Vec::new();
        write_member(&mut out, "a.txt", b"hello").unwrap();
        write_member(&mut out, "b/c", &[7; 1024]).unwrap();
        write_member(&mut out, "empty", b"").unwrap();
        write_end(&mut out).unwrap();
        out
    }

    /// The members, and whether anything at all was wrong.
    fn read(bytes: &[u8]) -> (Vec<(String, Vec<u8>)>, bool) {
        let (mut archive, mut members, mut wrong) = (Archive::new(bytes), Vec::new(), false);
        loop {
            match archive.next().unwrap() {
                Next::Member(member) => {
                    wrong |= !member.flaws.is_empty();
                    members.push((member.name, member.content));
                }
                Next::End { trailing, flaws } => return (members, wrong || trailing || !flaws.is_empty()),
                Next::Truncated { .. } | Next::Lost(_) => return (members, true),
            }
        }
    }

    #[test]
    fn members_read_back() {
        let (members, wrong) = read(&archive());
        assert!(!wrong);
        let names: Vec<_> = members
            .iter()
            .map(|(name, content)| (name.as_str(), content.len()))
            .collect();
        assert_eq!(names, [("a.txt", 5), ("b/c", 1024), ("empty", 0)]);
    }

    #[test]
    fn every_flipped_byte_is_a_flaw_or_in_the_content() {
        let good = archive();
        let (members, _) = read(&good);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x20;
            let (found, wrong) = read(&bad);
            assert!(wrong || found != members, "byte {at}");
        }
    }

    #[test]
    fn every_cut_and_every_trailing_byte_is_seen() {
        let good = archive();
        for length in 0..good.len() {
            assert!(read(&good[..length]).1, "cut to {length}");
        }
        assert!(read(&[good.as_slice(), &[0]].concat()).1);
    }

    #[test]
    fn a_size_beyond_the_limit_is_not_read() {
        let block = header("big", MAX_MEMBER + 1);
        assert!(matches!(Archive::new(block.as_slice()).next().unwrap(), Next::Lost(_)));
    }
}
