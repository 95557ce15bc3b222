//! The machine's own bounds, measured by the same code that the server runs: signing, strict verification, synced commits
//! of real rows, and the disk's own sync.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Failure;
use super::filler::{self, Filler};
use super::load::Latency;
use super::server::Folder;
use super::{failed, machine};
use crate::spec::signature::{Kind, Verifier};

/// How long each bound is measured.
const TIME: Duration = Duration::from_millis(1_500);

/// What the machine can do at most.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Bounds {
    /// Signatures of event headers a second, all cores; one entry a measurement.
    pub(super) signs_per_second: Vec<f64>,
    /// Strict verifications a second, all cores.
    pub(super) verifies_per_second: Vec<f64>,
    /// Events a second that the store alone takes, by events in a synced commit.
    pub(super) store_events_per_second: Vec<(usize, f64)>,
    /// Appending 4 KiB to a file and waiting for the disk.
    pub(super) sync: Latency,
}

impl Bounds {
    /// The best of the run: noise only ever takes away, so a share of it is not flattered.
    pub(super) fn signs(&self) -> f64 {
        best(&self.signs_per_second)
    }

    pub(super) fn verifies(&self) -> f64 {
        best(&self.verifies_per_second)
    }

    pub(super) fn repeat(&mut self) -> Result<(), Failure> {
        let (signs, verifies) = signatures()?;
        self.signs_per_second.push(signs);
        self.verifies_per_second.push(verifies);
        Ok(())
    }
}

fn best(figures: &[f64]) -> f64 {
    figures.iter().copied().fold(0.0, f64::max)
}

pub(super) fn measure(parent: &Path) -> Result<Bounds, Failure> {
    let (signs, verifies) = signatures()?;
    let store = [100, 1_000]
        .into_iter()
        .map(|events| Ok((events, store(parent, events)?)));
    Ok(Bounds {
        signs_per_second: vec![signs],
        verifies_per_second: vec![verifies],
        store_events_per_second: store.collect::<Result<_, Failure>>()?,
        sync: sync(parent)?,
    })
}

fn signatures() -> Result<(f64, f64), Failure> {
    let signer = filler::signer()?;
    let verifier = Verifier::new(Kind::Header, signer.public().clone());
    let message = [0xa5; 250];
    let signature = signer.sign_detached(&message);
    let signs = on_all_cores(|| drop(std::hint::black_box(signer.sign_detached(&message))));
    let verifies = on_all_cores(|| drop(std::hint::black_box(verifier.verify_detached(&signature, &message))));
    Ok((signs, verifies))
}

/// How often a second all cores together can do it.
fn on_all_cores(work: impl Fn() + Sync) -> f64 {
    let start = Instant::now();
    let count = || {
        let mut done = 0_u64;
        while start.elapsed() < TIME {
            (0..16).for_each(|_| work());
            done += 16;
        }
        done
    };
    let done: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..machine::cores()).map(|_| scope.spawn(count)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).sum()
    });
    done as f64 / start.elapsed().as_secs_f64()
}

/// Only the commits are timed, not the making of what they write.
fn store(parent: &Path, events: usize) -> Result<f64, Failure> {
    let folder = Folder::make(parent, "store")?;
    let store = crate::app::empty_store(&folder.path().join("ledger"))?;
    let mut ledger = Filler::new()?;
    let (start, mut spent, mut done) = (Instant::now(), Duration::ZERO, 0);
    while spent < TIME && start.elapsed() < TIME * 10 {
        let batch = ledger.batch(events)?;
        let before = Instant::now();
        store.commit(&batch).map_err(failed)?;
        spent += before.elapsed();
        done += events;
    }
    Ok(done as f64 / spent.as_secs_f64())
}

fn sync(parent: &Path) -> Result<Latency, Failure> {
    let folder = Folder::make(parent, "sync")?;
    let mut file = std::fs::File::create(folder.path().join("file"))?;
    let mut took = Vec::new();
    let start = Instant::now();
    while start.elapsed() < TIME {
        let before = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        took.push(before.elapsed());
    }
    Ok(Latency::of(took))
}
