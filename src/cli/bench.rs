//! `oubliette bench`: loads a real server over HTTP and reports its figures beside the machine's own bounds.
//!
//! The server is another process of this program on a temporary data directory, with every check and every sync on; load
//! and server share the machine. The bounds are measured in the same run, so that their ratio means something on a noisy
//! machine. After the clock stops every receipt is verified, not a sample of them. Out of scope: networks, many ledgers.

mod bounds;
mod check;
mod client;
mod erase;
mod filler;
mod growth;
mod load;
mod machine;
mod mixed;
mod payload;
mod postgres;
mod removal;
mod report;
mod server;
mod verify;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::NewFile;
use check::Keys;
use load::{Load, Until};
use report::Report;
use server::Server;

/// Load a throw-away server and report its figures beside the machine's own bounds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette bench --seconds 4 --phases bounds,batch
  oubliette bench --phases grow --to 10000000 --svg growth.svg
  oubliette bench --phases erase --people 100000")]
pub(super) struct Bench {
    /// Where the temporary data directory is made; by default the system's temporary folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long each phase loads the server.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// End a phase after this many events, if that comes first.
    #[arg(long)]
    events: Option<u64>,
    /// Connections that append batches, each with one request in flight.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    in_flight: u16,
    /// Events in a batch.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    batch: u16,
    /// What to measure; everything but `grow`, `erase` and `postgres` by default.
    #[arg(long, value_enum, value_delimiter = ',')]
    phases: Vec<Phase>,
    /// Also let a ledger grow, and measure everything at 10,000, 100,000, 1,000,000 events and so on.
    #[arg(long)]
    grow: bool,
    /// How far it grows. 10,000,000 events take a quarter of an hour and some 12 GB.
    #[arg(long, value_name = "EVENTS", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(growth::FIRST..=1_000_000_000))]
    to: u64,
    /// How many people the phase `erase` goes up to, from 10,000 by tens.
    #[arg(long, value_name = "PEOPLE", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(erase::FIRST..=100_000_000))]
    people: u64,
    /// Blocks of the one person with many, in the phase `erase`; 0: leave that out.
    #[arg(long, value_name = "BLOCKS", default_value_t = 100_000)]
    blocks: u64,
    /// Draw the growth as a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Also measure a bare append table in PostgreSQL, if it is installed here.
    #[arg(long)]
    postgres: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Phase {
    /// The machine's own bounds.
    Bounds,
    /// Durable appends in batches.
    Batch,
    /// Durable appends, one event a request, 64 in flight.
    Single,
    /// Writers, readers and verifiers at once.
    Mixed,
    /// Verification of the whole ledger from disk.
    Verify,
    /// Everything, as the ledger grows.
    Grow,
    /// Erasures and changes of epoch, as the people grow.
    Erase,
    /// A bare append table in PostgreSQL.
    Postgres,
}

impl Bench {
    pub(super) fn run(self, context: Context) -> Result<Exit, Failure> {
        let svg = self.svg.as_deref().map(|path| self.picture(path)).transpose()?;
        let report = self.measure(&context)?;
        if let Some(mut file) = svg {
            file.fill(&mut growth::chart(&report.growth, &report.machine.to_string()).as_bytes())?;
            file.finish()?;
        }
        context.print(&report, || report.to_string())?;
        Ok(Exit::Fine)
    }

    /// Opened first: a file that cannot be written must not show at the end.
    fn picture(&self, path: &Path) -> Result<NewFile, Failure> {
        if !self.wants(Phase::Grow) {
            return Err(Failure::usage("--svg draws the growth; add --grow, or leave --svg out"));
        }
        NewFile::create(path)
    }

    fn wants(&self, phase: Phase) -> bool {
        match phase {
            Phase::Grow if self.grow => true,
            Phase::Postgres if self.postgres => true,
            Phase::Grow | Phase::Erase | Phase::Postgres => self.phases.contains(&phase),
            _ => self.phases.is_empty() || self.phases.contains(&phase),
        }
    }

    fn until(&self) -> Until {
        Until {
            time: Duration::from_secs(self.seconds),
            events: self.events.unwrap_or(u64::MAX),
        }
    }

    fn measure(&self, context: &Context) -> Result<Report, Failure> {
        let parent = self.data.clone().unwrap_or_else(std::env::temp_dir);
        let mut report = Report::new(machine::describe());
        if self.wants(Phase::Bounds) {
            say("bounds: signing, verifying, the store");
            report.bounds = Some(bounds::measure(&parent)?);
        }
        if [Phase::Batch, Phase::Single, Phase::Mixed, Phase::Verify]
            .into_iter()
            .any(|phase| self.wants(phase))
        {
            self.load_server(&parent, &mut report)?;
        }
        if self.wants(Phase::Grow) {
            say("grow: everything, as a ledger of its own grows");
            let load = Load::batches(self.in_flight, self.batch);
            let bar = context.progress(Some(self.to), "growing");
            report.growth = growth::measure(&parent, self.to, load, &bar)?;
            bar.finish_and_clear();
        }
        if self.wants(Phase::Erase) {
            say("erase: erasures and changes of epoch, as the people grow");
            let bar = context.progress(Some(self.people), "filling the key store");
            report.erasures = erase::measure(&parent, self.people, self.blocks, &bar)?;
            bar.finish_and_clear();
        }
        repeat_bounds(&mut report)?;
        if self.wants(Phase::Postgres) {
            say("postgres: a bare append table, 64 clients");
            report.postgres = Some(postgres::measure(&parent, self.seconds)?);
        }
        Ok(report)
    }

    fn load_server(&self, parent: &Path, report: &mut Report) -> Result<(), Failure> {
        let server = Server::start(parent)?;
        let keys = Keys::fetch(&server)?;
        load::warm_up(&server)?;
        repeat_bounds(report)?;
        if self.wants(Phase::Batch) {
            say("batch: durable appends in batches, proof=range");
            let load = Load::batches(self.in_flight, self.batch);
            report.batch = Some(load::measure(&server, &keys, &load, self.until())?);
        }
        if self.wants(Phase::Single) {
            say("single: durable appends, one event a request, 64 in flight, proof=each");
            report.single = Some(load::measure(&server, &keys, &Load::singles(64), self.until())?);
        }
        repeat_bounds(report)?;
        if self.wants(Phase::Mixed) {
            say("mixed: writers, readers and verifiers at once");
            report.mixed = Some(mixed::measure(&server, &keys, self.until())?);
        }
        if self.wants(Phase::Verify) {
            say("verify: the whole ledger from disk, every signature strictly");
            report.verified = Some(verify::measure(&server)?);
        }
        report.server_memory = Some(server.memory());
        server.stop()
    }
}

fn repeat_bounds(report: &mut Report) -> Result<(), Failure> {
    match &mut report.bounds {
        Some(bounds) => bounds.repeat(),
        None => Ok(()),
    }
}

fn say(what: &str) {
    eprintln!("bench: {what}");
}

/// A failure that only a benchmark can have.
fn failed(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Io, "bench_failed", what.to_string())
}
