//! The server under load: this program once more, on a data directory of its own that goes when it stops.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::Failure;
use super::client::{Connection, block_on};
use super::failed;

/// How long a start may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running server.
pub(super) struct Server {
    child: Child,
    folder: Folder,
    pub(super) address: SocketAddr,
    pub(super) made: Made,
    /// Settings of the next start, in its environment.
    settings: Vec<(&'static str, &'static str)>,
}

/// What `init` printed.
#[derive(Debug, Deserialize)]
pub(super) struct Made {
    pub(super) api_key: String,
    pub(super) origin: String,
    pub(super) vkey: String,
}

/// Memory of a process, in MiB.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Memory {
    pub(super) resident_mib: u64,
    pub(super) peak_mib: u64,
}

/// A temporary folder; it goes with its owner.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn make(parent: &Path, purpose: &str) -> Result<Self, Failure> {
        let path = parent.join(format!("oubliette-bench-{}-{purpose}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Server {
    pub(super) fn start(parent: &Path) -> Result<Self, Failure> {
        let program = std::env::current_exe()?;
        let folder = Folder::make(parent, "server")?;
        let data = folder.path().join("data");
        let made = Command::new(&program)
            .arg("init")
            .arg("--json")
            .arg("--data")
            .arg(&data)
            .stderr(Stdio::null())
            .output()?;
        if !made.status.success() {
            return Err(failed("`oubliette init` failed"));
        }
        let made: Made = serde_json::from_slice(&made.stdout).map_err(failed)?;
        let (child, address) = serve(folder.path(), &[])?;
        Ok(Self {
            child,
            folder,
            address,
            made,
            settings: Vec::new(),
        })
    }

    /// Ends the server, does what is to be done `between` on its data directory, and starts it again on it. Tells how long
    /// that start took: from the start of the process until the server answers that it is ready.
    pub(super) fn restart<T>(
        &mut self,
        between: impl FnOnce(&Path) -> Result<T, Failure>,
    ) -> Result<(T, Duration), Failure> {
        self.end()?;
        let done = between(&self.data())?;
        let start = Instant::now();
        (self.child, self.address) = serve(self.folder.path(), &self.settings)?;
        while !block_on(async { Connection::open(self).await?.get("/readyz").await })?
            .status
            .is_success()
        {
            if start.elapsed() > PATIENCE {
                return Err(failed(format!("the server is not ready; its log:\n{}", self.log())));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok((done, start.elapsed()))
    }

    /// Sets something from the next start on.
    pub(super) fn set(&mut self, variable: &'static str, value: &'static str) {
        self.settings.push((variable, value));
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok())
                .unwrap_or_default()
                / 1024
        };
        Memory {
            resident_mib: mib("VmRSS:"),
            peak_mib: mib("VmHWM:"),
        }
    }

    /// From now on the peak is that of what comes.
    pub(super) fn forget_peak(&self) {
        // Where that cannot be had, the peak stays that of the whole process: never flattered.
        let _ = std::fs::write(format!("/proc/{}/clear_refs", self.id()), "5");
    }

    /// Ends the server as an operator would; an unclean end is a failure.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        self.end()
    }

    fn end(&mut self) -> Result<(), Failure> {
        let asked = Command::new("kill").args(["-TERM", &self.id().to_string()]).status()?;
        let ended = self.child.wait()?;
        if asked.success() && ended.success() {
            return Ok(());
        }
        Err(failed(format!(
            "the server ended with {ended}; its log:\n{}",
            self.log()
        )))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the server on the folder's data directory and waits until it listens.
fn serve(folder: &Path, settings: &[(&str, &str)]) -> Result<(Child, SocketAddr), Failure> {
    let log = std::fs::File::create(folder.join("server.log"))?;
    let mut serve = Command::new(std::env::current_exe()?);
    serve
        .arg("serve")
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--listen", "127.0.0.1:0"])
        .env("OUBLIETTE_ACCESS_LOG", "false")
        .envs(settings.iter().copied());
    let mut child = serve.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
    match address(&mut child) {
        Ok(address) => Ok((child, address)),
        Err(failure) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failure)
        }
    }
}

/// Reads `listening on http://ADDR`, then drains what else comes, so that the server never waits for a reader.
fn address(child: &mut Child) -> Result<SocketAddr, Failure> {
    let mut lines = BufReader::new(child.stdout.take().ok_or_else(|| failed("the server has no output"))?).lines();
    let line = lines
        .next()
        .ok_or_else(|| failed("the server ended before it listened"))??;
    std::thread::spawn(move || lines.for_each(drop));
    let address = line
        .strip_prefix("listening on http://")
        .and_then(|address| address.parse().ok());
    address.ok_or_else(|| failed(format!("the server said: {line}")))
}
