//! Erasures as the people grow: from the request to T2, what a change of epoch costs, and a thousand people at once.
//!
//! The key store is filled in process, through the same trait that the server uses, while the server is down; the people
//! have a handle and one key each and no events, since an erasure's cost up to T2 does not depend on events. The one with
//! many blocks shows that. T2 is the server's own (`keys_destroyed_at`), and so is the request's time.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::body::Bytes;
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::Failure;
use super::client::{Connection, block_on};
use super::failed;
use super::load::Latency;
use super::server::Server;
use crate::app::App;
use crate::config::Settings;
use crate::keystore::Wanted;
use crate::spec::ids::Timestamp;

/// People at the first mark; each further one has ten times as many.
pub(super) const FIRST: u64 = 10_000;
/// Erasures of one person at each mark, one after the other.
const SINGLES: u64 = 100;
/// Changes of epoch without an erasure at each mark.
const CHANGES: u32 = 20;
/// People of one request.
const TOGETHER: u64 = 1_000;
/// People whose keys are minted in one call.
const GROUP: u64 = 5_000;
/// Events of an append.
const BATCH: u64 = 500;

/// What was measured among so many people.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mark {
    pub(super) people: u64,
    /// From the request to T2, one person at a time.
    pub(super) to_t2: Latency,
    /// From the request to the answer: verified and recorded.
    pub(super) to_answer: Latency,
    /// A change of epoch without an erasure, as the client sees it.
    pub(super) change: Latency,
    /// A thousand people in one request, in seconds: to T2, and to the answer.
    pub(super) together_t2_seconds: f64,
    pub(super) together_seconds: f64,
    /// One person with `blocks` blocks, in milliseconds to T2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) long: Option<Long>,
}

/// An erasure of somebody with many blocks.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Long {
    pub(super) blocks: u64,
    pub(super) to_t2_ms: f64,
    pub(super) to_answer_ms: f64,
}

#[derive(Deserialize)]
struct View {
    requested_at: Timestamp,
    keys_destroyed_at: Timestamp,
}

impl View {
    fn to_t2(&self) -> Duration {
        Duration::from_micros(self.keys_destroyed_at.0.saturating_sub(self.requested_at.0))
    }
}

/// Measures at 10,000 people, 100,000 and so on up to `people`; at the last mark also the one with `blocks` blocks.
pub(super) fn measure(parent: &Path, people: u64, blocks: u64, bar: &ProgressBar) -> Result<Vec<Mark>, Failure> {
    let mut server = Server::start(parent)?;
    let (mut marks, mut there, mut next) = (Vec::new(), 0, FIRST);
    while next <= people {
        server.restart(|data| fill(data, there..next, bar))?;
        let mut mark = block_on(at(&server, next))?;
        if next.saturating_mul(10) > people && blocks > 0 {
            mark.long = Some(block_on(long(&server, blocks))?);
        }
        marks.push(mark);
        (there, next) = (next, next.saturating_mul(10));
    }
    server.stop()?;
    Ok(marks)
}

fn fill(data: &Path, people: std::ops::Range<u64>, bar: &ProgressBar) -> Result<(), Failure> {
    let settings = Settings {
        data: data.to_owned(),
        ..Settings::default()
    };
    block_on(async {
        let app = App::open(&settings).await.map_err(failed)?;
        let ledger = app.service().all_ledgers().first().map(|ledger| ledger.record.id);
        let ledger = ledger.ok_or_else(|| failed("there is no ledger"))?;
        let mut from = people.start;
        while from < people.end {
            let to = people.end.min(from + GROUP);
            let wanted: Result<Vec<_>, Failure> = (from..to).map(wanted).collect();
            let keystore = &app.service().keystore;
            let keys = keystore.provision(ledger, &wanted?).map_err(failed)?;
            let handles: Vec<_> = keys.into_iter().flatten().map(|key| key.handle).collect();
            keystore.confirm(ledger, &handles).map_err(failed)?;
            bar.set_position(to);
            from = to;
        }
        Ok(())
    })
}

fn wanted(number: u64) -> Result<Wanted, Failure> {
    Ok(Wanted {
        subject: person(number).parse().map_err(failed)?,
        category: Default::default(),
    })
}

fn person(number: u64) -> String {
    format!("person-{number}")
}

/// The people are erased from the end of each range, so that none is met twice.
async fn at(server: &Server, people: u64) -> Result<Mark, Failure> {
    let mut connection = Connection::open(server).await?;
    let mut changes = Vec::new();
    for _ in 0..CHANGES {
        let start = Instant::now();
        connection
            .post("/v1/ledgers/main/epochs", Bytes::new())
            .await?
            .success()?;
        changes.push(start.elapsed());
    }
    let (mut to_t2, mut to_answer) = (Vec::new(), Vec::new());
    for number in 1..=SINGLES {
        let (view, took) = erase(&mut connection, &[person(people - number)]).await?;
        to_t2.push(view.to_t2());
        to_answer.push(took);
    }
    let first = people - SINGLES - TOGETHER;
    let together: Vec<_> = (first..first + TOGETHER).map(person).collect();
    let (view, took) = erase(&mut connection, &together).await?;
    Ok(Mark {
        people,
        to_t2: Latency::of(to_t2),
        to_answer: Latency::of(to_answer),
        change: Latency::of(changes),
        together_t2_seconds: view.to_t2().as_secs_f64(),
        together_seconds: took.as_secs_f64(),
        long: None,
    })
}

async fn long(server: &Server, blocks: u64) -> Result<Long, Failure> {
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
    let (view, took) = erase(&mut connection, &["long".to_owned()]).await?;
    Ok(Long {
        blocks,
        to_t2_ms: view.to_t2().as_secs_f64() * 1e3,
        to_answer_ms: took.as_secs_f64() * 1e3,
    })
}

async fn erase(connection: &mut Connection, subjects: &[String]) -> Result<(View, Duration), Failure> {
    let body = json!({"subjects": subjects, "basis": "other", "reason": "other"}).to_string();
    let start = Instant::now();
    let answer = connection.post("/v1/ledgers/main/erasures", Bytes::from(body)).await?;
    let took = start.elapsed();
    Ok((serde_json::from_slice(&answer.success()?).map_err(failed)?, took))
}

/// The figures in words.
pub(super) fn table(marks: &[Mark]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "people",
        "request to T2, p50 / p99",
        "to the answer, p50 / p99",
        "change of epoch, p50 / p99",
        "1,000 at once, T2 / answer",
    ]);
    let pair = |latency: &Latency| format!("{:.1} / {:.1} ms", latency.p50_ms, latency.p99_ms);
    for mark in marks {
        table.add_row([
            super::report::grouped(mark.people as f64),
            pair(&mark.to_t2),
            pair(&mark.to_answer),
            pair(&mark.change),
            format!("{:.2} / {:.2} s", mark.together_t2_seconds, mark.together_seconds),
        ]);
    }
    let long = marks.iter().filter_map(|mark| mark.long).map(|long| {
        let (blocks, t2, answer) = (
            super::report::grouped(long.blocks as f64),
            long.to_t2_ms,
            long.to_answer_ms,
        );
        format!("\none person with {blocks} blocks: {t2:.1} ms to T2, {answer:.1} ms to the answer")
    });
    format!("\nerasures\n{table}{}\n", long.collect::<String>())
}
