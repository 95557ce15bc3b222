//! Durable appends: connections that each send, wait for the receipts, and send again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use serde::Serialize;

use super::super::Failure;
use super::check::{self, Checked, Keys};
use super::client::{Connection, Reply, block_on};
use super::machine::{Cost, Stretch};
use super::payload::{STREAMS, SUBJECTS, Template, mix};
use super::server::Server;

/// Bodies that each connection takes turns with.
const TEMPLATES: u64 = 16;

/// Who sends what.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Load {
    /// Each has one request in flight.
    pub(super) connections: u16,
    /// Events in a request.
    pub(super) batch: u16,
    pub(super) proof: &'static str,
}

/// When a phase ends: by whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until {
    pub(super) time: Duration,
    pub(super) events: u64,
}

/// An append with its answer, not yet looked at.
#[derive(Debug)]
pub(super) struct Answered {
    /// The number of the first id.
    pub(super) first: u64,
    /// Events sent.
    pub(super) count: u16,
    pub(super) took: Duration,
    pub(super) reply: Reply,
}

/// How long requests took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Latency {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) p999_ms: f64,
    pub(super) max_ms: f64,
}

impl Latency {
    pub(super) fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |share: f64| {
            let rank = (took.len() as f64 * share).ceil() as usize;
            took.get(rank.saturating_sub(1))
                .map_or(0.0, |took| took.as_secs_f64() * 1e3)
        };
        Self {
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: at(1.0),
        }
    }
}

/// What a phase of appends gave.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Appends {
    pub(super) load: Load,
    pub(super) events: u64,
    pub(super) events_per_second: f64,
    pub(super) latency: Latency,
    pub(super) cost: Cost,
    /// Every receipt, after the clock stopped.
    pub(super) checked: Checked,
}

impl Load {
    pub(super) const fn batches(connections: u16, batch: u16) -> Self {
        Self {
            connections,
            batch,
            proof: "range",
        }
    }

    pub(super) const fn singles(connections: u16) -> Self {
        Self {
            connections,
            batch: 1,
            proof: "each",
        }
    }

    fn templates(self, sender: u16) -> Vec<Template> {
        let seed = |turn| u64::from(sender) * TEMPLATES + turn;
        (0..TEMPLATES)
            .map(|turn| Template::new(self.batch, seed(turn)))
            .collect()
    }
}

/// Makes every subject and most streams known, so that the clock sees the ordinary case.
pub(super) fn warm_up(server: &Server) -> Result<(), Failure> {
    introduce(server)?;
    let until = Until {
        time: Duration::from_secs(1),
        events: u64::MAX,
    };
    block_on(send(server, Load::singles(16), until)).map(drop)
}

/// Makes every subject known: an event for each.
pub(super) fn introduce(server: &Server) -> Result<(), Failure> {
    block_on(async {
        let mut connection = Connection::open(server).await?;
        for round in 0..SUBJECTS.div_ceil(100) {
            let body = Template::warming(round * 100, 100).with_ids(take_ids(100));
            connection.post(&path(round, "none"), body).await?.success()?;
        }
        Ok(())
    })
}

/// Runs a load and checks every receipt.
pub(super) fn measure(server: &Server, keys: &Keys, load: &Load, until: Until) -> Result<Appends, Failure> {
    let (answers, cost) = block_on(send(server, *load, until))?;
    let checked = check::receipts(keys, &answers)?;
    let events = checked.receipts;
    let latency = Latency::of(answers.iter().map(|answered| answered.took).collect());
    let events_per_second = events as f64 / cost.seconds;
    Ok(Appends {
        load: *load,
        events,
        events_per_second,
        latency,
        cost,
        checked,
    })
}

/// Runs a load; no answer is looked at.
pub(super) async fn send(server: &Server, load: Load, until: Until) -> Result<(Vec<Answered>, Cost), Failure> {
    let mut senders = Vec::new();
    for number in 0..load.connections {
        senders.push(Sender::open(server, load, number).await?);
    }
    let left = Cell::new(until.events);
    let stretch = Stretch::begin(server.id());
    let deadline = Instant::now() + until.time;
    let answers = try_join_all(senders.into_iter().map(|sender| sender.run(deadline, &left))).await?;
    Ok((answers.into_iter().flatten().collect(), stretch.end()))
}

/// One connection with its bodies.
pub(super) struct Sender {
    load: Load,
    connection: Connection,
    templates: Vec<Template>,
}

impl Sender {
    pub(super) async fn open(server: &Server, load: Load, number: u16) -> Result<Self, Failure> {
        Ok(Self {
            load,
            connection: Connection::open(server).await?,
            templates: load.templates(number),
        })
    }

    /// Appends until the deadline, or until nothing is `left`.
    pub(super) async fn run(mut self, deadline: Instant, left: &Cell<u64>) -> Result<Vec<Answered>, Failure> {
        let (mut answers, count) = (Vec::new(), self.load.batch);
        for template in self.templates.iter().cycle() {
            if Instant::now() >= deadline || left.get() == 0 {
                break;
            }
            left.set(left.get().saturating_sub(u64::from(count)));
            let first = take_ids(u64::from(count));
            let (path, body) = (path(first, self.load.proof), template.with_ids(first));
            let start = Instant::now();
            let reply = self.connection.post(&path, body).await?;
            answers.push(Answered {
                first,
                count,
                took: start.elapsed(),
                reply,
            });
        }
        Ok(answers)
    }
}

/// The stream is drawn by the number of the first id.
fn path(number: u64, proof: &str) -> String {
    format!("/v1/ledgers/main/streams/{}/events?proof={proof}", stream_of(number))
}

/// The stream of the request whose first id has this number.
pub(super) fn stream_of(number: u64) -> String {
    format!("stream-{}", mix(number) % STREAMS)
}

/// Numbers for ids that nobody else has.
pub(super) fn take_ids(count: u64) -> u64 {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    NEXT.fetch_add(count, std::sync::atomic::Ordering::Relaxed)
}
