//! The program broken off at every change of a file (`support/steps.rs`): during an erasure, the removal of its residues, a
//! change of epoch, a redaction, a backup, a restore. After the next start, and whatever the caller must ask for again, the
//! end is the same as without the break.
//!
//! Every scene is played once for each step, with `kill -9`, with a power cut, and with one call that fails. Which steps there
//! are is found by playing it unbroken. An engine that writes its files anew takes hundreds of the same kind (a write to a sorted
//! file, the renaming of a manifest): of each kind the first, one in the middle and the last are taken, or, with
//! `OUBLIETTE_EVERY_STEP` in the environment, all.

mod backup;
mod erasure;
mod redaction;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

use crate::support::people::verification;
use crate::support::steps::{Break, Steps};
use crate::support::{Client, Data, run};

/// Scenes that are played at once.
const AT_ONCE: usize = 6;

/// What is broken off, and what must be there afterwards.
trait Scene: Sync {
    /// Plays it on a copy of its own, broken off at one step (0: not at all). Gives the steps that there were, and the one
    /// that was not done. Then looks at the end.
    fn play(&self, how: Break, at: u64) -> Played;
}

/// How a scene went.
struct Played {
    /// What the steps were, if it was not to be broken off.
    steps: Vec<String>,
    /// The step that was not done.
    hit: Option<String>,
}

/// Plays a scene once for each of its steps.
fn at_every_step(scene: &dyn Scene, how: Break) {
    let whole = scene.play(how, 0);
    let count = whole.steps.len();
    assert!(whole.hit.is_none() && count > 3, "{count} steps");
    let all = chosen(&whole.steps);
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let broken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(at) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match catch_unwind(AssertUnwindSafe(|| scene.play(how, *at))) {
                        Ok(played) => {
                            broken.fetch_add(usize::from(played.hit.is_some()), Ordering::Relaxed);
                        }
                        Err(panic) => {
                            let said = panic.downcast_ref::<String>().cloned();
                            failed.lock().unwrap().insert(*at, said.unwrap_or_default());
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    println!(
        "{how:?}: {} of {} steps broken off",
        broken.load(Ordering::Relaxed),
        all.len()
    );
    assert!(failed.is_empty(), "{how:?}, of {} steps: {failed:#?}", all.len());
    // The order of what goes on in the background varies a little.
    let broken = broken.load(Ordering::Relaxed);
    assert!(broken * 2 > all.len(), "{broken} of {}", all.len());
}

/// The steps to break off at, from 1: all, or of each kind the first, one in the middle and the last.
fn chosen(steps: &[String]) -> Vec<u64> {
    let all = (1..).zip(steps);
    if std::env::var_os("OUBLIETTE_EVERY_STEP").is_some() {
        return all.map(|(at, _)| at).collect();
    }
    let mut kinds: BTreeMap<&String, Vec<u64>> = BTreeMap::new();
    all.for_each(|(at, kind)| kinds.entry(kind).or_default().push(at));
    let few = kinds
        .values()
        .flat_map(|places| [places[0], places[places.len() / 2], places[places.len() - 1]]);
    few.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A server on a copy of a directory, to be broken off.
struct Stage {
    data: Data,
    steps: Steps,
}

impl Stage {
    /// A copy of a directory with whatever lies beside it under these names.
    fn new(before: &Data, beside: &[&str], how: Break) -> Self {
        let data = before.copy();
        let folder = |data: &Data| data.path().parent().unwrap().to_owned();
        let mut roots = vec![data.path()];
        for name in beside {
            roots.push(folder(&data).join(name));
        }
        let roots: Vec<_> = roots.iter().map(PathBuf::as_path).collect();
        let steps = Steps::new(&folder(&data), &roots, how);
        Self { data, steps }
    }

    /// Starts the server, arms it, and lets `act` go on until it is done or the server is gone. Then the server is killed,
    /// if it is there still.
    fn serve(&self, settings: &[(&str, &str)], at: u64, act: impl FnOnce(&Client)) -> Played {
        let server = self
            .data
            .serve_with(&[&self.steps.environment()[..], settings].concat());
        let client = server.client();
        self.steps.arm(at);
        act(&client);
        self.steps.disarm();
        server.kill();
        self.played()
    }

    /// Arms it, and starts the server: it may be broken off before it listens.
    fn start(&self, settings: &[(&str, &str)], at: u64) -> Played {
        self.steps.arm(at);
        let server = self
            .data
            .try_serve_with(&[&self.steps.environment()[..], settings].concat());
        self.steps.disarm();
        if let Ok(server) = server {
            server.kill();
        }
        self.played()
    }

    fn played(&self) -> Played {
        let hit = self.steps.hit();
        if hit.is_some() {
            println!("at {}: {hit:?}", self.steps.count());
        }
        Played {
            steps: self.steps.trace(),
            hit,
        }
    }
}

/// The answer's body, if there was one and the status is this: anything else is a server that is gone or a step that failed.
fn asked(client: &Client, path: &str, body: &Value, status: u16) -> Option<Value> {
    let answer = client.try_send("POST", path, &[], body.to_string().as_bytes()).ok()?;
    if answer.status == status {
        return Some(answer.json());
    }
    assert!([429, 500, 503].contains(&answer.status), "{answer:?}");
    None
}

/// Waits until what is read holds, or the server is gone, or it takes too long after a step that failed.
fn awaited(client: &Client, path: &str, mut holds: impl FnMut(&Value) -> bool) {
    for _ in 0..400 {
        match client.try_send("GET", path, &[], b"") {
            Ok(answer) if answer.status == 200 && holds(&answer.json()) => return,
            Ok(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            Err(_) => return,
        }
    }
}

/// The server and, once it has stopped, `fsck` find the ledger valid.
fn verifies(data: &Data, server: crate::support::Server, ledgers: &[&str]) {
    for ledger in ledgers {
        let report = verification(&server.client(), ledger);
        assert_eq!(report["verdict"], "valid", "{report:#}");
    }
    server.stop();
    for ledger in ledgers {
        let output = run(&[
            "fsck",
            "--json",
            "--ledger",
            ledger,
            "--data",
            data.path().to_str().unwrap(),
        ]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(report["verdict"], "valid", "{report:#}");
    }
    assert!(!data.log().contains("panicked"), "{}", data.log());
}
