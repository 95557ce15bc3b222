//! Growth: what everything costs at 10,000 events, at ten times as many, and so on. A figure that follows the number of
//! events is a fault, unless it is the disk's.
//!
//! One server on a directory of its own. At each mark the load stops, and each measure has the server for itself; processor
//! time of an append counts whatever the server did since the mark before, compaction included. Receipts are all checked
//! up to a million events and every tenth answer beyond; of other answers one in 64.

mod asking;
mod chart;
mod disk;
mod export;
mod fold;
mod measures;

use std::path::Path;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;

use super::super::Failure;
use super::check::{self, Checked, Keys};
use super::client::block_on;
use super::load::{self, Answered, Load, Until};
use super::server::{Memory, Server};
use super::{machine, say};
pub(super) use asking::Asked;
pub(super) use chart::chart;
pub(super) use disk::Disk;
pub(super) use export::Exported;
use fold::Folded;
pub(super) use measures::table;

/// The first mark; each further one is ten times as large.
pub(super) const FIRST: u64 = 10_000;
/// Events between two looks at answers: what the client itself holds stays small.
const STEP: u64 = 50_000;
/// Events between two appends to the stream that is folded: it is spread over the first mark.
const FOLD_STEP: u64 = 800;
/// Size up to which every receipt is checked; beyond it one answer in ten.
const ALL_CHECKED: u64 = 1_000_000;
/// The largest ledger that is exported: an export goes through all of it.
const EXPORTED: u64 = 1_000_000;

/// What everything costs at one size.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Mark {
    /// Events in the ledger.
    pub(super) events: u64,
    pub(super) append: Appending,
    pub(super) by_id: Asked,
    pub(super) stream_page: Asked,
    pub(super) handle_page: Asked,
    pub(super) inclusion_proof: Asked,
    pub(super) state: Asked,
    /// From the start of the process until it answers that it is ready.
    pub(super) start_ms: f64,
    /// After the reads.
    pub(super) memory: Memory,
    pub(super) disk: Disk,
    /// Random reads of the ledger's files a second: the disk's bound.
    pub(super) random_reads: f64,
    /// Empty where the ledger is too large to be exported in passing.
    pub(super) exports: Vec<Exported>,
}

/// Appends since the mark before.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Appending {
    pub(super) events: u64,
    /// While they were sent.
    pub(super) events_per_second: f64,
    /// Processor time of the server an event, in microseconds, until it had come to rest.
    pub(super) server_micros: f64,
    /// Cores kept busy by others meanwhile.
    pub(super) other_cores: f64,
    pub(super) receipts_checked: u64,
}

/// A ledger that grows.
struct Grown<'a> {
    keys: &'a Keys,
    load: Load,
    bar: &'a ProgressBar,
    /// Numbers of the first ids of all requests.
    firsts: Vec<u64>,
    folded: Folded,
    size: u64,
}

/// Grows a ledger to `to` events and measures on the way.
pub(super) fn measure(parent: &Path, to: u64, load: Load, bar: &ProgressBar) -> Result<Vec<Mark>, Failure> {
    disk::check_room(parent, to)?;
    let mut server = Server::start(parent)?;
    let keys = Keys::fetch(&server)?;
    load::introduce(&server)?;
    let mut grown = Grown {
        keys: &keys,
        load,
        bar,
        firsts: Vec::new(),
        folded: Folded::default(),
        size: keys.checkpoint(&server)?.size,
    };
    let marks = marks(to).into_iter().map(|mark| grown.mark(&mut server, mark));
    let marks = marks.collect::<Result<_, _>>()?;
    server.stop()?;
    Ok(marks)
}

/// 10,000, 100,000 and so on, and `to` itself.
fn marks(to: u64) -> Vec<u64> {
    let powers = std::iter::successors(Some(FIRST), |mark| mark.checked_mul(10));
    let mut marks: Vec<u64> = powers.take_while(|mark| *mark < to).collect();
    marks.push(to);
    marks
}

impl Grown<'_> {
    fn mark(&mut self, server: &mut Server, mark: u64) -> Result<Mark, Failure> {
        self.bar.set_message(format!("growing to {mark} events"));
        let append = self.grow(server, mark)?;
        let events = self.size;
        say(&format!("grow: measuring at {events} events"));
        self.bar.set_message(format!("measuring at {events} events"));
        let by_id = asking::by_id(server, self.keys, &self.firsts, self.load.batch)?;
        let stream_page = asking::stream_page(server, &self.firsts)?;
        let handle_page = asking::handle_page(server)?;
        let inclusion_proof = asking::inclusion_proof(server, self.keys)?;
        let state = self.folded.ask(server)?;
        let memory = server.memory();
        let ((disk, random_reads), start) = server.restart(|data| {
            let disk = Disk::measure(data, events)?;
            Ok((disk, disk::random_reads(&data.join("ledger"))?))
        })?;
        let exports = if events <= EXPORTED + STEP {
            export::measure(server, self.keys)?
        } else {
            Vec::new()
        };
        self.size = self.keys.checkpoint(server)?.size;
        Ok(Mark {
            events,
            append,
            by_id,
            stream_page,
            handle_page,
            inclusion_proof,
            state,
            start_ms: start.as_secs_f64() * 1e3,
            memory,
            disk,
            random_reads,
            exports,
        })
    }

    /// Appends until the ledger has `mark` events, and waits until the server has nothing more to do.
    fn grow(&mut self, server: &Server, mark: u64) -> Result<Appending, Failure> {
        let (before, size) = (machine::cpu_time(server.id()), self.size);
        let (mut sent, mut seconds, mut others, mut receipts_checked) = (0, 0.0, 0.0, 0);
        while self.size < mark {
            let step = if self.folded.is_whole() {
                STEP
            } else {
                self.folded.append(server)?;
                FOLD_STEP
            };
            let until = Until {
                time: Duration::from_secs(3_600),
                events: step.min(mark - self.size),
            };
            let (answers, cost) = block_on(load::send(server, self.load, until))?;
            self.firsts.extend(answers.iter().map(|answered| answered.first));
            sent += answers.iter().map(|answered| u64::from(answered.count)).sum::<u64>();
            seconds += cost.seconds;
            others += cost.other_cores * cost.seconds;
            receipts_checked += self.check(answers)?.receipts;
            self.size = self.keys.checkpoint(server)?.size;
            self.bar.set_position(self.size);
        }
        settle(server);
        let spent = machine::cpu_time(server.id()).saturating_sub(before);
        let events = self.size - size;
        Ok(Appending {
            events,
            events_per_second: sent as f64 / seconds,
            server_micros: spent.as_secs_f64() * 1e6 / events as f64,
            other_cores: others / seconds,
            receipts_checked,
        })
    }

    fn check(&self, answers: Vec<Answered>) -> Result<Checked, Failure> {
        if let Some(refused) = answers.iter().find(|answered| !answered.reply.status.is_success()) {
            refused.reply.success()?;
        }
        let every = if self.size < ALL_CHECKED { 1 } else { 10 };
        let sample: Vec<_> = answers.into_iter().step_by(every).collect();
        check::receipts(self.keys, &sample)
    }
}

/// Waits until the server is at rest, half a minute at most: compaction belongs to the appends before it.
fn settle(server: &Server) {
    const LOOK: Duration = Duration::from_millis(500);
    for _ in 0..60 {
        let before = machine::cpu_time(server.id());
        std::thread::sleep(LOOK);
        if machine::cpu_time(server.id()).saturating_sub(before) < LOOK / 20 {
            return;
        }
    }
}
