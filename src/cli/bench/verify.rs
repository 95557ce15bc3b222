//! Verification of everything from disk, as the server's own job.

use std::time::{Duration, Instant};

use hyper::body::Bytes;
use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::client::{Connection, block_on};
use super::failed;
use super::machine::{Cost, Stretch};
use super::server::Server;

const PATH: &str = "/v1/ledgers/main/verifications";

/// What a verification gave; a verdict other than `valid` is a failure.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verified {
    pub(super) events: u64,
    pub(super) checkpoints: u64,
    pub(super) events_per_second: f64,
    /// Signatures of events and of checkpoints.
    pub(super) signatures_per_second: f64,
    pub(super) cost: Cost,
}

#[derive(Deserialize)]
struct Job {
    id: String,
    state: String,
    report: Option<JobReport>,
}

#[derive(Deserialize)]
struct JobReport {
    verdict: String,
    checked: JobChecked,
}

#[derive(Deserialize)]
struct JobChecked {
    events: u64,
    checkpoints: u64,
}

pub(super) fn measure(server: &Server) -> Result<Verified, Failure> {
    block_on(run(server))
}

async fn run(server: &Server) -> Result<Verified, Failure> {
    let mut connection = Connection::open(server).await?;
    let stretch = Stretch::begin(server.id());
    let started = connection.post(PATH, Bytes::from_static(b"{}")).await?.success()?;
    let started: Job = serde_json::from_slice(&started).map_err(failed)?;
    let patience = Instant::now() + Duration::from_secs(1800);
    loop {
        let job = connection.get(&format!("{PATH}/{}", started.id)).await?.success()?;
        let job: Job = serde_json::from_slice(&job).map_err(failed)?;
        match job.report {
            Some(report) if job.state == "done" => return finish(&report, stretch.end()),
            _ if job.state != "running" => return Err(failed(format!("the verification {}", job.state))),
            _ if Instant::now() > patience => return Err(failed("the verification does not end")),
            _ => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

fn finish(report: &JobReport, cost: Cost) -> Result<Verified, Failure> {
    if report.verdict != "valid" {
        return Err(failed(format!("the ledger is {}", report.verdict)));
    }
    let JobChecked { events, checkpoints } = report.checked;
    Ok(Verified {
        events,
        checkpoints,
        events_per_second: events as f64 / cost.seconds,
        signatures_per_second: (events + checkpoints) as f64 / cost.seconds,
        cost,
    })
}
