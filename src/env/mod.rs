//! Clock and entropy: the only wall clock and the only source of randomness in the program.
//!
//! Everything above takes them as traits, so that tests can set the time and repeat a run. The system clock answers
//! twice: the wall clock, which an operator or an attacker can move, and the boot-time clock, which only runs forward
//! and also counts while the machine is suspended; a jump between the two refuses appends (docs/spec/01-conventions.md).

use rand::Rng;

use crate::spec::ids::Timestamp;

/// Two readings of time taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub wall: Timestamp,
    /// Microseconds since boot, suspension included; never decreases while the machine is up.
    pub boot: u64,
}

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Reads both clocks.
    fn read(&self) -> Reading;

    /// The wall clock alone.
    fn now(&self) -> Timestamp {
        self.read().wall
    }
}

/// Gives unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` from a cryptographically secure generator.
    fn fill(&self, bytes: &mut [u8]);
}

impl dyn Entropy + '_ {
    /// An array of fresh random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }
}

/// The operating system's clocks and generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn read(&self) -> Reading {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        let wall = Timestamp(u64::try_from(since_epoch.as_micros()).unwrap_or(u64::MAX));
        Reading {
            wall,
            boot: boot_time_micros(),
        }
    }
}

#[allow(unsafe_code, reason = "clock_gettime has no safe wrapper in std")]
fn boot_time_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, writable timespec for the duration of the call.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000
}

impl Entropy for System {
    /// A thread-local ChaCha generator, seeded and reseeded by the operating system.
    #[allow(clippy::disallowed_methods, reason = "the one place that makes randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        rand::rng().fill_bytes(bytes);
    }
}

/// Bytes of all files below a folder. What vanishes while it is counted is left out.
///
/// # Errors
/// If the folder itself cannot be read.
pub fn folder_bytes(folder: &std::path::Path) -> std::io::Result<u64> {
    let mut bytes = 0_u64;
    for entry in std::fs::read_dir(folder)?.flatten() {
        bytes = bytes.saturating_add(match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => folder_bytes(&entry.path()).unwrap_or(0),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        });
    }
    Ok(bytes)
}

/// How long [`wait_until_gone`] waits, and how often it looks.
const GONE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(20);

/// The names of the files in a folder, folders left out.
///
/// # Errors
/// If the folder cannot be read.
pub fn file_names(folder: &std::path::Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Waits, some seconds at the most, until none of these files is in the folder any more: databases delete in the background,
/// and not while a reader has a file open. Whether they are gone.
///
/// # Errors
/// If the folder cannot be read.
pub fn wait_until_gone(folder: &std::path::Path, names: &[String]) -> std::io::Result<bool> {
    let deadline = std::time::Instant::now() + GONE_WITHIN;
    loop {
        if names.iter().all(|name| !folder.join(name).exists()) {
            return Ok(true);
        }
        if std::time::Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Raises this process's limit on open files as far as the system lets it, and gives what it is then (`RLIMIT_NOFILE`).
#[allow(unsafe_code, reason = "getrlimit and setrlimit have no safe wrapper in std")]
pub fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid, writable rlimit for the duration of each call. A refusal leaves the limit as it was.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            let raised = libc::rlimit {
                rlim_cur: limit.rlim_max,
                ..limit
            };
            if libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) == 0 {
                limit = raised;
            }
        }
    }
    limit.rlim_cur
}
