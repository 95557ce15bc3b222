//! Exports of the whole ledger: bytes a second, and whether the server's memory stays flat.

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::super::super::Failure;
use super::super::check::Keys;
use super::super::client::{Connection, block_on};
use super::super::failed;
use super::super::machine::Stretch;
use super::super::server::Server;

/// Ledgers up to this size are verified as a bundle.
const VERIFIED: u64 = 110_000;

/// A download of everything.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in super::super) struct Exported {
    pub(in super::super) format: &'static str,
    pub(in super::super) bytes: u64,
    /// 10⁶ bytes a second.
    pub(in super::super) mb_per_second: f64,
    /// Of the server, before and at its highest.
    pub(in super::super) resident_mib: u64,
    pub(in super::super) peak_mib: u64,
    /// Cores kept busy by the server, and by others.
    pub(in super::super) server_cores: f64,
    pub(in super::super) other_cores: f64,
}

#[derive(Deserialize)]
struct Created {
    content: String,
    tree_size: u64,
}

pub(super) fn measure(server: &Server, keys: &Keys) -> Result<Vec<Exported>, Failure> {
    ["bundle", "ndjson"]
        .into_iter()
        .map(|format| one(server, keys, format))
        .collect()
}

fn one(server: &Server, keys: &Keys, format: &'static str) -> Result<Exported, Failure> {
    server.forget_peak();
    let before = server.memory();
    let (created, bytes, lines, cost) = block_on(async {
        let mut connection = Connection::open(server).await?;
        let asked = Bytes::from(format!("{{\"format\":\"{format}\"}}"));
        let created = connection.post("/v1/ledgers/main/exports", asked).await?.success()?;
        let created: Created = serde_json::from_slice(&created).map_err(failed)?;
        let (mut bytes, mut lines) = (0, 0);
        let stretch = Stretch::begin(server.id());
        let status = connection.drain(&created.content, |part| {
            bytes += part.len() as u64;
            if format == "ndjson" {
                lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            }
        });
        let status = status.await?;
        if !status.is_success() {
            return Err(failed(format!("the server answered {status} to an export")));
        }
        Ok((created, bytes, lines, stretch.end()))
    })?;
    let peak_mib = server.memory().peak_mib;
    if format == "ndjson" && lines != created.tree_size {
        return Err(failed(format!(
            "an export of {} events has {lines} lines",
            created.tree_size
        )));
    }
    if format == "bundle" && created.tree_size <= VERIFIED {
        verify(server, keys, &created, bytes)?;
    }
    Ok(Exported {
        format,
        bytes,
        mb_per_second: bytes as f64 / 1e6 / cost.seconds,
        resident_mib: before.resident_mib,
        peak_mib,
        server_cores: cost.server_cores,
        other_cores: cost.other_cores,
    })
}

/// Downloads it once more: the same length, and a valid bundle.
fn verify(server: &Server, keys: &Keys, created: &Created, bytes: u64) -> Result<(), Failure> {
    let bundle = block_on(async { Connection::open(server).await?.get(&created.content).await?.success() })?;
    if bundle.len() as u64 != bytes {
        return Err(failed("two downloads of one export differ in length"));
    }
    keys.check_bundle(&bundle)
}
