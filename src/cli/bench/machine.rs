//! What the machine is, and how much of it a process, or everybody else, used.

use std::time::{Duration, Instant};

use serde::Serialize;

/// The machine, in the words of its kernel.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Machine {
    pub(super) cores: usize,
    pub(super) processor: String,
    pub(super) version: &'static str,
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            cores,
            processor,
            version,
        } = self;
        write!(
            f,
            "oubliette {version} on {cores} cores ({processor}); load and server share them"
        )
    }
}

pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

pub(super) fn describe() -> Machine {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map(|(_, name)| name.trim());
    Machine {
        cores: cores(),
        processor: name.unwrap_or("unknown").to_owned(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// Linux counts processor time in hundredths of a second on every platform that Rust's tier 1 knows.
const TICK: Duration = Duration::from_millis(10);

/// Processor time of a process so far; zero where `/proc` does not tell.
pub(super) fn cpu_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let ticks: u32 = fields
        .split(' ')
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u32>().ok())
        .sum();
    TICK * ticks
}

/// Bytes that a process made the disk give so far; zero where `/proc` does not tell.
fn disk_read(process: u32) -> u64 {
    let told = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap_or_default();
    let bytes = told.lines().find_map(|line| line.strip_prefix("read_bytes: "));
    bytes.and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

/// Processor time of everybody so far.
fn busy_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers: Vec<u64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split(' ')
        .filter_map(|field| field.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal: all but the two that wait.
    let busy: u64 = numbers
        .iter()
        .enumerate()
        .filter(|(at, _)| !matches!(at, 3 | 4) && *at < 8)
        .map(|(_, n)| n)
        .sum();
    TICK * u32::try_from(busy).unwrap_or(u32::MAX)
}

/// What a stretch of time cost.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cost {
    pub(super) seconds: f64,
    /// Cores kept busy by the server.
    pub(super) server_cores: f64,
    /// Cores kept busy by the load.
    pub(super) client_cores: f64,
    /// Cores kept busy by anything else on the machine, the hypervisor's share included.
    pub(super) other_cores: f64,
    /// Bytes that the server read from the disk, not from the kernel's cache.
    pub(super) disk_read: u64,
}

/// Measures a stretch of time.
pub(super) struct Stretch {
    start: Instant,
    server: u32,
    before: [Duration; 3],
    disk_before: u64,
}

impl Stretch {
    pub(super) fn begin(server: u32) -> Self {
        Self {
            start: Instant::now(),
            server,
            before: Self::read(server),
            disk_before: disk_read(server),
        }
    }

    fn read(server: u32) -> [Duration; 3] {
        [cpu_time(server), cpu_time(std::process::id()), busy_time()]
    }

    pub(super) fn end(self) -> Cost {
        let seconds = self.start.elapsed().as_secs_f64();
        let [server_before, client_before, busy_before] = self.before;
        let [server, client, busy] = Self::read(self.server);
        let cores = |now: Duration, before: Duration| now.saturating_sub(before).as_secs_f64() / seconds;
        let (server_cores, client_cores) = (cores(server, server_before), cores(client, client_before));
        let other_cores = (cores(busy, busy_before) - server_cores - client_cores).max(0.0);
        Cost {
            seconds,
            server_cores,
            client_cores,
            other_cores,
            disk_read: disk_read(self.server).saturating_sub(self.disk_before),
        }
    }
}
