//! One stream of 1,000 events, spread over the first events of the ledger, and its state as of its last version.

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use super::super::super::Failure;
use super::super::client::{Connection, block_on};
use super::super::failed;
use super::super::load::take_ids;
use super::super::payload::event_id;
use super::super::server::Server;
use super::asking::{Asked, ask, fits};

/// Events of the stream.
const EVENTS: u64 = 1_000;
/// Events of one append to it.
const PIECE: u64 = 100;
/// Fields that its events set by turns.
const FIELDS: u64 = 50;

/// How much of the stream is there.
#[derive(Debug, Default)]
pub(super) struct Folded {
    events: u64,
}

impl Folded {
    pub(super) const fn is_whole(&self) -> bool {
        self.events >= EVENTS
    }

    /// Appends the next piece of the stream.
    pub(super) fn append(&mut self, server: &Server) -> Result<(), Failure> {
        let first = take_ids(PIECE);
        let event = |at: u64| {
            let number = self.events + at;
            json!({"id": event_id(first + at), "type": "account.changed", "data": {field(number): number}})
        };
        let body = json!({"expected_version": self.events, "events": (0..PIECE).map(event).collect::<Vec<_>>()});
        block_on(async {
            let mut connection = Connection::open(server).await?;
            let path = "/v1/ledgers/main/streams/folded/events?proof=none";
            connection.post(path, Bytes::from(body.to_string())).await?.success()
        })?;
        self.events += PIECE;
        Ok(())
    }

    /// The state as of the last version, one request in flight; it must be the fold that is known here.
    pub(super) fn ask(&self, server: &Server) -> Result<Asked, Failure> {
        let state = Value::Object((0..self.events).fold(Map::new(), |mut state, number| {
            state.insert(field(number), number.into());
            state
        }));
        let path = format!("/v1/ledgers/main/streams/folded/state?as_of_version={}", self.events);
        ask(
            server,
            1,
            |_| path.clone(),
            |_, body| {
                let answer: Value = serde_json::from_slice(body).map_err(failed)?;
                fits(answer.get("state") == Some(&state), "the state of a stream")
            },
        )
    }
}

fn field(number: u64) -> String {
    format!("field-{}", number % FIELDS)
}
