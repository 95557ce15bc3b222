//! Everything at once: writers, readers by index and by stream, and verifiers that fetch proofs.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};
use rayon::prelude::*;
use serde::Serialize;

use super::super::Failure;
use super::check::{self, Checked, Keys};
use super::client::{Connection, Reply, block_on};
use super::failed;
use super::load::{Answered, Latency, Load, Sender, Until, take_ids};
use super::machine::{Cost, Stretch};
use super::payload::{STREAMS, mix};
use super::server::Server;

/// Connections of each sort, one request in flight on each.
const WRITERS: u16 = 16;
const READERS: u16 = 8;
const FOLLOWERS: u16 = 4;
const VERIFIERS: u16 = 8;

/// What one sort of connection got.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Part {
    pub(super) what: &'static str,
    pub(super) connections: u16,
    pub(super) per_second: f64,
    pub(super) latency: Latency,
}

/// What the mixture gave.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mixed {
    pub(super) parts: Vec<Part>,
    pub(super) cost: Cost,
    pub(super) checked: Checked,
}

/// What a reader asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    Index,
    Stream,
    Proof,
}

impl Question {
    /// A path, and the number that the answer must be about.
    fn path(self, size: u64) -> (String, u64) {
        let draw = mix(take_ids(1));
        let (index, stream) = (draw % size.max(1), draw % STREAMS);
        match self {
            Self::Index => (format!("/v1/ledgers/main/events/{index}"), index),
            Self::Stream => (
                format!("/v1/ledgers/main/streams/stream-{stream}/events?limit=20"),
                stream,
            ),
            Self::Proof => (format!("/v1/ledgers/main/events/{index}/proof"), index),
        }
    }
}

struct Asked {
    about: u64,
    took: Duration,
    reply: Reply,
}

type Work<T> = Pin<Box<dyn Future<Output = Result<Vec<T>, Failure>>>>;

pub(super) fn measure(server: &Server, keys: &Keys, until: Until) -> Result<Mixed, Failure> {
    let (writes, asked, cost) = block_on(run(server, until))?;
    let checked = check::receipts(keys, &writes)?;
    let took = writes.iter().map(|answered| answered.took).collect();
    let mut parts = vec![part("append, one event, proof=each", WRITERS, took, &cost)];
    for (question, asked) in asked {
        asked
            .par_iter()
            .try_for_each(|asked| check_answer(question, asked, keys))?;
        let (what, connections) = match question {
            Question::Index => ("read an event by index", READERS),
            Question::Stream => ("read 20 events of a stream", FOLLOWERS),
            Question::Proof => ("fetch a proof with its checkpoint", VERIFIERS),
        };
        parts.push(part(
            what,
            connections,
            asked.iter().map(|asked| asked.took).collect(),
            &cost,
        ));
    }
    Ok(Mixed { parts, cost, checked })
}

fn part(what: &'static str, connections: u16, took: Vec<Duration>, cost: &Cost) -> Part {
    Part {
        what,
        connections,
        per_second: took.len() as f64 / cost.seconds,
        latency: Latency::of(took),
    }
}

type Ran = (Vec<Answered>, Vec<(Question, Vec<Asked>)>, Cost);

async fn run(server: &Server, until: Until) -> Result<Ran, Failure> {
    let size = take_size(server).await?;
    let mut writers = Vec::new();
    for number in 0..WRITERS {
        writers.push(Sender::open(server, Load::singles(WRITERS), number).await?);
    }
    let sorts = [
        (Question::Index, READERS),
        (Question::Stream, FOLLOWERS),
        (Question::Proof, VERIFIERS),
    ];
    let mut readers: Vec<(Question, Vec<Connection>)> = Vec::new();
    for (question, count) in sorts {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Connection::open(server).await?);
        }
        readers.push((question, connections));
    }
    let left = Cell::new(until.events);
    let stretch = Stretch::begin(server.id());
    let deadline = Instant::now() + until.time;
    let asking = join_all(readers.into_iter().map(|(question, connections)| async move {
        let all: Vec<Work<Asked>> = connections
            .into_iter()
            .map(|connection| Box::pin(ask(connection, question, size, deadline)) as _)
            .collect();
        try_join_all(all)
            .await
            .map(|asked| (question, asked.into_iter().flatten().collect::<Vec<_>>()))
    }));
    let writing = try_join_all(writers.into_iter().map(|writer| writer.run(deadline, &left)));
    let (writes, asked) = futures_util::future::join(writing, asking).await;
    let cost = stretch.end();
    Ok((
        writes?.into_iter().flatten().collect(),
        asked.into_iter().collect::<Result<_, _>>()?,
        cost,
    ))
}

async fn ask(
    mut connection: Connection,
    question: Question,
    size: u64,
    deadline: Instant,
) -> Result<Vec<Asked>, Failure> {
    let mut asked = Vec::new();
    while Instant::now() < deadline {
        let (path, about) = question.path(size);
        let start = Instant::now();
        let reply = connection.get(&path).await?;
        asked.push(Asked {
            about,
            took: start.elapsed(),
            reply,
        });
    }
    Ok(asked)
}

/// The size of the tree as it stands.
pub(super) async fn take_size(server: &Server) -> Result<u64, Failure> {
    let note = Connection::open(server)
        .await?
        .get("/v1/ledgers/main/log/checkpoint")
        .await?
        .success()?;
    let note = String::from_utf8(note).map_err(failed)?;
    note.lines()
        .nth(1)
        .and_then(|size| size.parse().ok())
        .ok_or_else(|| failed("no size in the checkpoint"))
}

fn check_answer(question: Question, asked: &Asked, keys: &Keys) -> Result<(), Failure> {
    // A stream that nobody has written to yet does not exist.
    if question == Question::Stream && asked.reply.status == hyper::StatusCode::NOT_FOUND {
        return Ok(());
    }
    let body = asked.reply.success()?;
    if question == Question::Proof {
        return keys.check_proof(asked.about, &body);
    }
    let json: serde_json::Value = serde_json::from_slice(&body).map_err(failed)?;
    let fits = match question {
        Question::Index => json.get("index").and_then(serde_json::Value::as_u64) == Some(asked.about),
        _ => json
            .get("events")
            .and_then(serde_json::Value::as_array)
            .is_some_and(|events| {
                let stream = format!("stream-{}", asked.about);
                events
                    .iter()
                    .all(|event| event.get("stream").and_then(serde_json::Value::as_str) == Some(&stream))
            }),
    };
    if fits {
        Ok(())
    } else {
        Err(failed("a read answered something else than was asked for"))
    }
}
