//! The server's memory as its ledger grows: it must not follow the number of events.

use std::time::Duration;

use serde::Serialize;

use super::super::Failure;
use super::check::Keys;
use super::load::{self, Load, Until};
use super::server::{Memory, Server};

/// Where memory is read.
const MARKS: [u64; 4] = [100_000, 300_000, 1_000_000, 3_000_000];
/// Events between two checks of receipts: what the client itself holds stays small.
const STEP: u64 = 50_000;

/// Memory at a size.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct At {
    pub(super) events: u64,
    pub(super) memory: Memory,
}

pub(super) fn grow(server: &Server, keys: &Keys) -> Result<Vec<At>, Failure> {
    let (mut readings, mut size) = (Vec::new(), 0);
    for mark in MARKS {
        while size < mark {
            let left = if size == 0 { 100 } else { STEP.min(mark - size) };
            let until = Until {
                time: Duration::from_secs(3600),
                events: left,
            };
            size = load::measure(server, keys, &Load::batches(8, 100), until)?
                .checked
                .tree_size;
        }
        readings.push(At {
            events: size,
            memory: server.memory(),
        });
    }
    Ok(readings)
}
