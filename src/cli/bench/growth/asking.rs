//! Reads and proofs, each alone: how many a second, how long one takes, what it costs the server.

use std::cell::Cell;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::super::Failure;
use super::super::check::Keys;
use super::super::client::{Connection, Reply, block_on};
use super::super::failed;
use super::super::load::{Latency, stream_of};
use super::super::machine::Stretch;
use super::super::payload::{SUBJECTS, event_id, mix};
use super::super::server::Server;
use crate::spec::hash::Hash;
use crate::spec::merkle::verify_inclusion;

/// How long each question is asked.
const TIME: Duration = Duration::from_secs(3);
/// One answer in so many is checked.
const SAMPLE: u64 = 64;
/// Events of a page.
const PAGE: usize = 20;
/// People whose pages are read.
const HANDLES: u64 = 64;

/// What asking one thing over and over gave.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in super::super) struct Asked {
    /// Each with one request in flight.
    pub(in super::super) connections: u16,
    pub(in super::super) per_second: f64,
    pub(in super::super) latency: Latency,
    /// Processor time of the server a request, in microseconds.
    pub(in super::super) server_micros: f64,
    /// Read from the disk by the server, a request, in KiB.
    pub(in super::super) disk_kib: f64,
    /// Answers that were checked.
    pub(in super::super) checked: usize,
}

/// A sampled answer, by the draw that the question came from.
type Sample = (u64, Reply);

/// Asks on so many connections. `path` makes a question of a draw, `check` looks at the answer to it.
pub(super) fn ask(
    server: &Server,
    connections: u16,
    path: impl Fn(u64) -> String,
    check: impl Fn(u64, &[u8]) -> Result<(), Failure>,
) -> Result<Asked, Failure> {
    let (took, samples, cost) = block_on(async {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(server).await?);
        }
        let draws = Cell::new(0);
        let stretch = Stretch::begin(server.id());
        let asked = open.into_iter().map(|connection| ask_on(connection, &path, &draws));
        let asked = try_join_all(asked).await?;
        let cost = stretch.end();
        let (took, samples): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        Ok((took.concat(), samples, cost))
    })?;
    let mut checked = 0;
    for (draw, reply) in samples.into_iter().flatten() {
        check(draw, &reply.success()?)?;
        checked += 1;
    }
    let per_second = took.len() as f64 / cost.seconds;
    Ok(Asked {
        connections,
        per_second,
        server_micros: cost.server_cores / per_second * 1e6,
        disk_kib: cost.disk_read as f64 / 1024.0 / took.len() as f64,
        latency: Latency::of(took),
        checked,
    })
}

async fn ask_on(
    mut connection: Connection,
    path: &impl Fn(u64) -> String,
    draws: &Cell<u64>,
) -> Result<(Vec<Duration>, Vec<Sample>), Failure> {
    let (mut took, mut samples) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + TIME;
    while Instant::now() < deadline {
        let number = draws.get();
        draws.set(number + 1);
        let path = path(mix(number));
        let start = Instant::now();
        let reply = connection.get(&path).await?;
        took.push(start.elapsed());
        // A refusal is a failure, whether it would be in the sample or not.
        if number.is_multiple_of(SAMPLE) || !reply.status.is_success() {
            samples.push((mix(number), reply));
        }
    }
    Ok((took, samples))
}

/// One event by its id, 64 in flight.
pub(super) fn by_id(server: &Server, keys: &Keys, firsts: &[u64], batch: u16) -> Result<Asked, Failure> {
    let id = |draw: u64| event_id(pick(firsts, draw) + draw % u64::from(batch));
    let path = |draw| format!("/v1/ledgers/main/events/{}", id(draw));
    ask(server, 64, path, |draw, body| {
        let (found, ..) = keys.check_event(body)?;
        fits(found == id(draw), "a read by id")
    })
}

/// A page of a stream, from its beginning and from its end in turn.
pub(super) fn stream_page(server: &Server, firsts: &[u64]) -> Result<Asked, Failure> {
    let stream = |draw: u64| stream_of(pick(firsts, draw));
    let path = |draw| {
        format!(
            "/v1/ledgers/main/streams/{}/events?limit={PAGE}&{}",
            stream(draw),
            direction(draw)
        )
    };
    ask(server, 8, path, |draw, body| {
        let stream = stream(draw);
        check_page(body, |event| {
            event.get("stream").and_then(Value::as_str) == Some(&stream)
        })
    })
}

/// A page of the events about a person, from the first and from the last in turn.
pub(super) fn handle_page(server: &Server) -> Result<Asked, Failure> {
    let handles = handles(server)?;
    let handle = |draw: u64| handles.get((draw % HANDLES) as usize).map_or("", String::as_str);
    let path = |draw| {
        format!(
            "/v1/ledgers/main/events?handle={}&limit={PAGE}&{}",
            handle(draw),
            direction(draw >> 8)
        )
    };
    ask(server, 8, path, |draw, body| {
        check_page(body, |event| {
            let about = event.get("personal").and_then(Value::as_array).into_iter().flatten();
            about
                .filter_map(|block| block.get("handle")?.as_str())
                .any(|found| found == handle(draw))
        })
    })
}

fn handles(server: &Server) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Known {
        handle: String,
    }
    block_on(async {
        let mut connection = Connection::open(server).await?;
        let mut handles = Vec::new();
        for number in 0..HANDLES {
            let body = format!("{{\"subject\":\"customer-{}\"}}", mix(number) % SUBJECTS);
            let known = connection
                .post("/v1/ledgers/main/subjects", Bytes::from(body))
                .await?
                .success()?;
            handles.push(serde_json::from_slice::<Known>(&known).map_err(failed)?.handle);
        }
        Ok(handles)
    })
}

/// An inclusion proof at the size of now, one in flight.
pub(super) fn inclusion_proof(server: &Server, keys: &Keys) -> Result<Asked, Failure> {
    #[derive(Deserialize)]
    struct Proof {
        leaf_index: u64,
        tree_size: u64,
        hashes: Vec<Hash>,
    }
    let now = keys.checkpoint(server)?;
    let path = |draw| {
        format!(
            "/v1/ledgers/main/proofs/inclusion?index={}&tree_size={}",
            draw % now.size,
            now.size
        )
    };
    ask(server, 1, path, |draw, body| {
        let proof: Proof = serde_json::from_slice(body).map_err(failed)?;
        let event = block_on(async {
            let mut connection = Connection::open(server).await?;
            connection
                .get(&format!("/v1/ledgers/main/events/{}", proof.leaf_index))
                .await?
                .success()
        })?;
        let (_, index, leaf) = keys.check_event(&event)?;
        fits(
            index == draw % now.size && proof.tree_size == now.size,
            "a proof by index",
        )?;
        verify_inclusion(&leaf, index, now.size, &proof.hashes, &now.root).map_err(failed)
    })
}

fn pick(firsts: &[u64], draw: u64) -> u64 {
    let at = (draw >> 16) % (firsts.len() as u64).max(1);
    firsts.get(at as usize).copied().unwrap_or_default()
}

fn direction(draw: u64) -> &'static str {
    if draw & 1 == 0 {
        "direction=forward"
    } else {
        "direction=backward"
    }
}

/// A page has events, and each is of those asked for.
fn check_page(body: &[u8], wanted: impl Fn(&Value) -> bool) -> Result<(), Failure> {
    let page: Value = serde_json::from_slice(body).map_err(failed)?;
    let events = page.get("events").and_then(Value::as_array);
    let fitting = events.is_some_and(|events| (1..=PAGE).contains(&events.len()) && events.iter().all(wanted));
    fits(fitting, "a page")
}

pub(super) fn fits(fits: bool, what: &str) -> Result<(), Failure> {
    if fits {
        Ok(())
    } else {
        Err(failed(format!("{what} answered something else than was asked for")))
    }
}
