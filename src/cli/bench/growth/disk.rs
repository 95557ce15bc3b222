//! Bytes on disk, and whether there is room for them.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::super::Failure;
use super::super::failed;
use super::super::payload::mix;

/// Bytes that an event of this load may take at the most, with what compaction needs for a while.
const ROOM: u64 = 1_500;
/// A random read.
const PIECE: usize = 4_096;
/// How long random reads are made.
const TIME: Duration = Duration::from_secs(2);
/// Room for logs and an empty store.
const BASE: u64 = 1 << 30;

/// Bytes on disk an event, of a server at rest.
#[derive(Debug, Clone, Serialize)]
pub(in super::super) struct Disk {
    pub(in super::super) ledger: f64,
    pub(in super::super) keystore: f64,
    pub(in super::super) vault: f64,
    /// The ledger's, by kind of data; `log` is what was written last.
    pub(in super::super) by_kind: BTreeMap<&'static str, f64>,
}

impl Disk {
    /// Of a data directory that nobody serves.
    pub(super) fn measure(data: &Path, events: u64) -> Result<Self, Failure> {
        let each = |bytes: u64| bytes as f64 / events as f64;
        let folder = |name: &str| taken(&data.join(name)).map(each);
        let by_kind = crate::app::disk_bytes(&data.join("ledger"))?;
        Ok(Self {
            ledger: folder("ledger")?,
            keystore: folder("keystore")?,
            vault: folder("vault")?,
            by_kind: by_kind.into_iter().map(|(kind, bytes)| (kind, each(bytes))).collect(),
        })
    }
}

/// Random reads a second that the machine gives of a store's tables, 64 in flight, through the kernel's cache as it stands:
/// what no read by id can beat.
pub(super) fn random_reads(store: &Path) -> Result<f64, Failure> {
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sst") {
            let file = File::open(path)?;
            let pieces = file.metadata()?.len() / PIECE as u64;
            tables.push((file, pieces));
        }
    }
    let all: u64 = tables.iter().map(|(_, pieces)| pieces).sum();
    if all == 0 {
        return Ok(0.0);
    }
    let start = Instant::now();
    let read = |thread: u64| -> Result<u64, Failure> {
        let (mut buffer, mut count) = ([0; PIECE], 0);
        while start.elapsed() < TIME {
            let mut piece = mix(thread << 40 | count) % all;
            for (file, pieces) in &tables {
                if piece < *pieces {
                    file.read_exact_at(&mut buffer, piece * PIECE as u64)?;
                    break;
                }
                piece -= pieces;
            }
            count += 1;
        }
        Ok(count)
    };
    let counts: Result<Vec<u64>, Failure> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64).map(|thread| scope.spawn(move || read(thread))).collect();
        let joined = threads.into_iter().map(|thread| {
            let ended = thread.join();
            ended.unwrap_or_else(|_| Err(failed("a thread that reads broke off")))
        });
        joined.collect()
    });
    Ok(counts?.iter().sum::<u64>() as f64 / start.elapsed().as_secs_f64())
}

/// Bytes that the files under a folder take on the disk.
fn taken(folder: &Path) -> Result<u64, Failure> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() {
            taken(&entry.path())?
        } else {
            // In units of 512 bytes, whatever the file system's block is.
            metadata.blocks() * 512
        };
    }
    Ok(bytes)
}

/// Refuses what would fill the disk.
pub(super) fn check_room(folder: &Path, events: u64) -> Result<(), Failure> {
    let (needed, free) = (needed(events), free(folder)?);
    if free >= needed {
        return Ok(());
    }
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    Err(Failure::usage(format!(
        "growing to {events} events may take {:.1} GB under {}, and {:.1} GB are free there. Free some, name a larger place \
         with --data, or lower --to",
        gigabytes(needed),
        folder.display(),
        gigabytes(free)
    )))
}

const fn needed(events: u64) -> u64 {
    events.saturating_mul(ROOM).saturating_add(BASE)
}

/// Bytes that are free where the folder is, as POSIX `df` tells.
fn free(folder: &Path) -> Result<u64, Failure> {
    let told = Command::new("df").arg("-Pk").arg(folder).output()?;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let blocks = told
        .lines()
        .nth(1)
        .and_then(|line| line.split_whitespace().nth(3)?.parse::<u64>().ok());
    blocks
        .map(|blocks| blocks.saturating_mul(1024))
        .ok_or_else(|| failed(format!("`df` does not tell what is free under {}", folder.display())))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::unwrap_in_result)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_figures_and_a_mend() {
        let folder = std::env::temp_dir();
        assert!(free(&folder).unwrap() > 0);
        let refusal = check_room(&folder, u64::MAX / ROOM).unwrap_err();
        assert_eq!(refusal.code, "usage");
        assert!(refusal.detail.contains("GB are free there") && refusal.detail.contains("--to"));
    }

    #[test]
    fn tables_alone_are_read() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("LOG"), vec![7; 10_000]).unwrap();
        assert_eq!(random_reads(folder.path()).unwrap(), 0.0);
        std::fs::write(folder.path().join("1.sst"), vec![7; 10_000]).unwrap();
        assert!(random_reads(folder.path()).unwrap() > 64.0);
    }

    #[test]
    fn files_count_with_those_in_folders() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let before = taken(folder.path()).unwrap();
        std::fs::write(folder.path().join("inner/file"), vec![7; 100_000]).unwrap();
        assert!(taken(folder.path()).unwrap() >= before + 100_000);
    }
}
