//! A bare append table in PostgreSQL on the same disk, for comparison: unique ids and stream versions, a synced commit an
//! event, and nothing else of what a ledger does. The cluster is temporary and listens on a local socket alone.

use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::Failure;
use super::failed;
use super::server::Folder;

const CLIENTS: u32 = 64;
const TABLE: &str = "create table events (id uuid primary key, stream text not null, version bigint not null, \
     type text not null, recorded_at timestamptz not null default now(), payload text not null, unique (stream, version))";
const INSERT: &str = "\\set version :version + 1\n\
     insert into events (id, stream, version, type, payload) \
     values (gen_random_uuid(), 'stream-' || :client_id, :version, 'order.placed', :payload);\n";

/// What PostgreSQL gave, or why it was not asked.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Postgres {
    pub(super) version: String,
    pub(super) clients: u32,
    pub(super) events_per_second: f64,
    pub(super) mean_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) not_available: Option<String>,
}

/// Measures, or says that there is no PostgreSQL here.
pub(super) fn measure(parent: &Path, seconds: u64) -> Result<Postgres, Failure> {
    let Some(programs) = programs() else {
        let why = Some("initdb, postgres and pgbench were not found".into());
        return Ok(Postgres {
            version: String::new(),
            clients: CLIENTS,
            events_per_second: 0.0,
            mean_ms: 0.0,
            not_available: why,
        });
    };
    let folder = Folder::make(parent, "postgres")?;
    let cluster = Cluster::start(&programs, folder.path())?;
    let script = folder.path().join("insert.sql");
    std::fs::write(&script, INSERT)?;
    cluster.run(Command::new(programs.join("psql")).args(["-d", "postgres", "-qc", TABLE]))?;
    let mut bench = Command::new(programs.join("pgbench"));
    bench.args([
        "-n",
        "-M",
        "prepared",
        "-c",
        &CLIENTS.to_string(),
        "-j",
        "2",
        "-T",
        &seconds.to_string(),
    ]);
    bench
        .args(["-D", "version=0", "-D", &format!("payload={}", "x".repeat(256)), "-f"])
        .arg(&script)
        .arg("postgres");
    let said = cluster.run(&mut bench)?;
    let version = Command::new(programs.join("postgres")).arg("--version").output()?;
    Ok(Postgres {
        version: String::from_utf8_lossy(&version.stdout)
            .trim()
            .replace("postgres (PostgreSQL) ", ""),
        clients: CLIENTS,
        events_per_second: number_after(&said, "tps = ")?,
        mean_ms: number_after(&said, "latency average = ")?,
        not_available: None,
    })
}

/// The folder that holds all four programs.
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::env::var_os("PATH")
        .iter()
        .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
        .collect();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(installed.map(|version| version.path().join("bin")));
    let complete = |folder: &PathBuf| {
        ["initdb", "postgres", "pgbench", "psql"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    folders.into_iter().find(complete)
}

fn number_after(text: &str, label: &str) -> Result<f64, Failure> {
    let rest = text.split_once(label).map(|(_, rest)| rest).unwrap_or_default();
    let number = rest.split_whitespace().next().and_then(|number| number.parse().ok());
    number.ok_or_else(|| failed(format!("pgbench said: {text}")))
}

/// A temporary cluster; it stops with its owner.
struct Cluster {
    server: Child,
    folder: PathBuf,
    user: Option<(u32, u32)>,
}

impl Cluster {
    fn start(programs: &Path, folder: &Path) -> Result<Self, Failure> {
        let (user, data) = (other_user(), folder.join("data"));
        if let Some((uid, gid)) = user {
            chown(folder, Some(uid), Some(gid))?;
        }
        let mut make = Command::new(programs.join("initdb"));
        make.args(["--auth=trust", "--username=bench", "--no-instructions", "-D"])
            .arg(&data);
        quietly(&mut make, user);
        if !make.status()?.success() {
            return Err(failed("initdb failed"));
        }
        let mut serve = Command::new(programs.join("postgres"));
        serve
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder)
            .args(["-c", "listen_addresses=", "-c", "max_connections=100"]);
        serve.args(["-c", "fsync=on", "-c", "synchronous_commit=on"]);
        quietly(&mut serve, user);
        let cluster = Self {
            server: serve.spawn()?,
            folder: folder.to_owned(),
            user,
        };
        let start = Instant::now();
        while cluster
            .run(Command::new(programs.join("psql")).args(["-d", "postgres", "-qc", "select 1"]))
            .is_err()
        {
            if start.elapsed() > Duration::from_secs(30) {
                return Err(failed("PostgreSQL did not start"));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(cluster)
    }

    /// Runs a client program and gives what it printed.
    fn run(&self, client: &mut Command) -> Result<String, Failure> {
        client.env("PGHOST", &self.folder).env("PGUSER", "bench");
        if let Some((uid, gid)) = self.user {
            client.uid(uid).gid(gid);
        }
        let output = client.current_dir("/").stdin(Stdio::null()).output()?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(failed(String::from_utf8_lossy(&output.stderr)))
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // SIGINT is a fast and clean stop; the folder is removed right after.
        let _ = Command::new("kill")
            .args(["-INT", &self.server.id().to_string()])
            .status();
        let _ = self.server.wait();
    }
}

fn quietly(command: &mut Command, user: Option<(u32, u32)>) {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
}

/// PostgreSQL refuses to run as root: root uses the user `postgres`, or `nobody`.
fn other_user() -> Option<(u32, u32)> {
    if std::fs::metadata("/proc/self").ok()?.uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let find = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    find("postgres").or_else(|| find("nobody"))
}
