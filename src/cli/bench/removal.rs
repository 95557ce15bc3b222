//! What is left in the files after T2: how long it takes to go (T3, T4), beside the time that reading and writing as many bytes
//! takes on this disk, and what appends feel of it.
//!
//! The server removes without delay here. One person has many blocks; she is erased, and from the answer until nothing of
//! her is pending the same writers append as before, when nothing was removed. Both stretches are of one run.

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::{join, try_join_all};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Failure;
use super::client::{Connection, block_on};
use super::erase::{View, erase};
use super::load::{Answered, Latency, Load, Sender, Until};
use super::server::{Folder, Server};
use super::{failed, load};

/// Connections that append meanwhile, one event a request.
const WRITERS: u16 = 16;
/// How long they append while nothing is removed.
const QUIET: Duration = Duration::from_secs(5);
/// How often it is looked whether something is pending, and how long at the most.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(600);
/// Events of an append of hers.
const BATCH: u64 = 500;

/// An erasure of somebody with many blocks, to its end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Long {
    pub(super) blocks: u64,
    pub(super) to_t2_ms: f64,
    pub(super) to_answer_ms: f64,
    pub(super) keystore: Rewritten,
    pub(super) ledger: Rewritten,
    pub(super) quiet: Stretch,
    pub(super) removing: Stretch,
}

/// A store whose files were written anew.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Rewritten {
    /// All of its files, before.
    pub(super) bytes: u64,
    /// From the erasure's completion until the residue was found gone.
    pub(super) seconds: f64,
    /// Copying all of its files, synced.
    pub(super) bound_seconds: f64,
}

/// Appends over some time.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Stretch {
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) latency: Latency,
}

#[derive(Deserialize)]
struct Stored {
    residues: Vec<Residue>,
}

#[derive(Deserialize)]
struct Residue {
    residue: String,
    removed_at: Option<crate::spec::ids::Timestamp>,
}

impl Stretch {
    fn of(answers: &[Answered], took: Duration) -> Self {
        Self {
            seconds: took.as_secs_f64(),
            per_second: answers.len() as f64 / took.as_secs_f64(),
            latency: Latency::of(answers.iter().map(|answered| answered.took).collect()),
        }
    }
}

/// Measures on a server that removes without delay; `before` is an erasure whose residues, with those of all others, go first.
pub(super) fn measure(server: &Server, parent: &Path, before: &str, blocks: u64) -> Result<Long, Failure> {
    block_on(ended(server, before))?;
    block_on(append(server, blocks))?;
    load::introduce(server)?;
    let until = Until {
        time: QUIET,
        events: u64::MAX,
    };
    let start = Instant::now();
    let (answers, _) = block_on(load::send(server, Load::singles(WRITERS), until))?;
    let quiet = Stretch::of(&checked(answers)?, start.elapsed());
    let folders = ["keystore", "ledger"].map(|name| server.data().join(name));
    let copied = folders.map(|folder| copy(parent, folder));
    let (view, to_answer, removed, removing) = block_on(removal(server))?;
    let rewritten = |copied: Result<(u64, Duration), Failure>, residue: &str| {
        let (bytes, bound) = copied?;
        let found = removed.residues.iter().find(|found| found.residue == residue);
        let at = found.and_then(|found| found.removed_at);
        let at = at.ok_or_else(|| failed(format!("{residue} was not removed")))?;
        Ok::<_, Failure>(Rewritten {
            bytes,
            seconds: Duration::from_micros(at.0.saturating_sub(view.completed_at.0)).as_secs_f64(),
            bound_seconds: bound.as_secs_f64(),
        })
    };
    let [keystore, ledger] = copied;
    Ok(Long {
        blocks,
        to_t2_ms: view.to_t2().as_secs_f64() * 1e3,
        to_answer_ms: to_answer.as_secs_f64() * 1e3,
        keystore: rewritten(keystore, "key_store_files")?,
        ledger: rewritten(ledger, "ciphertext")?,
        quiet,
        removing,
    })
}

async fn append(server: &Server, blocks: u64) -> Result<(), Failure> {
    let mut connection = Connection::open(server).await?;
    let mut left = blocks;
    while left > 0 {
        let count = left.min(BATCH);
        let event = json!({"type": "bench.block", "personal": [{"subject": "long", "data": "a block of data"}]});
        let events: Vec<_> = (0..count).map(|_| event.clone()).collect();
        let body = Bytes::from(json!({"events": events}).to_string());
        let path = "/v1/ledgers/main/streams/long/events?proof=none";
        connection.post(path, body).await?.success()?;
        left -= count;
    }
    Ok(())
}

/// Erases her, and appends from the answer on until nothing is pending.
async fn removal(server: &Server) -> Result<(View, Duration, Stored, Stretch), Failure> {
    let mut connection = Connection::open(server).await?;
    let mut senders = Vec::new();
    for number in 0..WRITERS {
        senders.push(Sender::open(server, Load::singles(WRITERS), number).await?);
    }
    let (view, to_answer) = erase(&mut connection, &["long".to_owned()]).await?;
    let (left, start) = (Cell::new(u64::MAX), Instant::now());
    let writing = try_join_all(senders.into_iter().map(|sender| sender.run(start + PATIENCE, &left)));
    let removing = async {
        let removed = until_gone(&mut connection, &view.id).await;
        left.set(0);
        removed
    };
    let (answers, removed) = join(writing, removing).await;
    let answers: Vec<_> = answers?.into_iter().flatten().collect();
    Ok((
        view,
        to_answer,
        removed?,
        Stretch::of(&checked(answers)?, start.elapsed()),
    ))
}

async fn ended(server: &Server, erasure: &str) -> Result<(), Failure> {
    until_gone(&mut Connection::open(server).await?, erasure)
        .await
        .map(drop)
}

async fn until_gone(connection: &mut Connection, erasure: &str) -> Result<Stored, Failure> {
    let (path, start) = (format!("/v1/ledgers/main/erasures/{erasure}"), Instant::now());
    while start.elapsed() < PATIENCE {
        let stored: Stored = serde_json::from_slice(&connection.get(&path).await?.success()?).map_err(failed)?;
        if stored.residues.iter().all(|residue| residue.removed_at.is_some()) {
            return Ok(stored);
        }
        tokio::time::sleep(LOOK).await;
    }
    Err(failed("residues of an erasure do not go"))
}

/// An append that was refused must not look fast.
fn checked(answers: Vec<Answered>) -> Result<Vec<Answered>, Failure> {
    answers
        .iter()
        .try_for_each(|answered| answered.reply.success().map(drop))?;
    Ok(answers)
}

/// Bytes of all files of a folder, and how long it takes to copy them, each synced.
fn copy(parent: &Path, from: PathBuf) -> Result<(u64, Duration), Failure> {
    let to = Folder::make(parent, "copy")?;
    let (mut bytes, start) = (0, Instant::now());
    for entry in std::fs::read_dir(from)?.flatten() {
        // Files come and go in a database that is in use.
        let Ok(mut file) = std::fs::File::open(entry.path()) else {
            continue;
        };
        if file.metadata()?.is_file() {
            let mut copied = std::fs::File::create(to.path().join(entry.file_name()))?;
            bytes += std::io::copy(&mut file, &mut copied)?;
            copied.flush()?;
            copied.sync_all()?;
        }
    }
    Ok((bytes, start.elapsed()))
}

/// The figures in words.
pub(super) fn table(long: &Long) -> String {
    let grouped = super::report::grouped;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "residue gone",
        "after completion",
        "files",
        "copying them",
        "times the bound",
    ]);
    for (what, store) in [("T3, key store", long.keystore), ("T4, ledger store", long.ledger)] {
        table.add_row([
            what.to_owned(),
            format!("{:.2} s", store.seconds),
            format!("{:.1} MiB", mib(store.bytes)),
            format!("{:.2} s", store.bound_seconds),
            format!("{:.1}", store.seconds / store.bound_seconds),
        ]);
    }
    let stretch = |what: &str, stretch: &Stretch| {
        format!(
            "\nappends, {WRITERS} connections, {what}: {} a second, p50 {:.1} ms, p99 {:.1} ms ({:.1} s)",
            grouped(stretch.per_second),
            stretch.latency.p50_ms,
            stretch.latency.p99_ms,
            stretch.seconds
        )
    };
    format!(
        "\none person with {} blocks: {:.1} ms to T2, {:.1} ms to the answer\n{table}{}{}",
        grouped(long.blocks as f64),
        long.to_t2_ms,
        long.to_answer_ms,
        stretch("nothing removed", &long.quiet),
        stretch("until all is removed", &long.removing)
    )
}
