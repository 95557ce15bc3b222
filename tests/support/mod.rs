//! What both black-box suites need: the real binary on a fresh directory, a client, and a checker of receipts that
//! uses the library's verifiers alone.

#![allow(dead_code, reason = "each of the two suites uses its part of it")]

pub(crate) mod backups;
pub(crate) mod people;
pub(crate) mod receipts;
pub(crate) mod softhsm;
pub(crate) mod steps;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

/// The program under test.
pub(crate) const OUBLIETTE: &str = env!("CARGO_BIN_EXE_oubliette");
/// How long a server may take to say that it listens, or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// A data directory that `init` made, and what `init` said.
pub(crate) struct Data {
    /// Shared by directories that lie beside each other.
    folder: Arc<tempfile::TempDir>,
    name: String,
    pub(crate) made: Value,
}

impl Data {
    pub(crate) fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// A data directory that `init` made with settings in the environment.
    pub(crate) fn made_with(environment: &[(&str, &str)]) -> Self {
        Self::make(&std::env::temp_dir(), environment)
    }

    /// A data directory in a folder of the caller's choice.
    pub(crate) fn within(parent: &Path) -> Self {
        Self::make(parent, &[])
    }

    fn make(parent: &Path, environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("oubliette-test-")
            .tempdir_in(parent)
            .unwrap();
        let output = Command::new(OUBLIETTE)
            .args(["init", "--json", "--data"])
            .arg(folder.path().join("data"))
            .envs(environment.iter().copied())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made = serde_json::from_slice(&output.stdout).unwrap();
        Self::named(folder, made)
    }

    /// A place for a directory that something else makes, with the keys of this one.
    pub(crate) fn elsewhere(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("oubliette-test-").tempdir().unwrap();
        Self::named(folder, self.made.clone())
    }

    /// A place beside this directory, with its keys.
    pub(crate) fn beside(&self, name: &str) -> Self {
        Self {
            folder: Arc::clone(&self.folder),
            name: name.into(),
            made: self.made.clone(),
        }
    }

    fn named(folder: tempfile::TempDir, made: Value) -> Self {
        Self {
            folder: Arc::new(folder),
            name: "data".into(),
            made,
        }
    }

    /// A copy of the directory as it lies there, for a server of its own.
    pub(crate) fn copy(&self) -> Self {
        let folder = tempfile::Builder::new().prefix("oubliette-test-").tempdir().unwrap();
        copy_folder(&self.path(), &folder.path().join("data"));
        Self::named(folder, self.made.clone())
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join(&self.name)
    }

    /// Everything that any server of this directory wrote to its standard error.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join(format!("{}.log", self.name))
    }

    pub(crate) fn key(&self) -> &str {
        self.made["api_key"].as_str().unwrap()
    }

    pub(crate) fn vkey(&self) -> &str {
        self.made["vkey"].as_str().unwrap()
    }

    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    pub(crate) fn serve_with(&self, environment: &[(&str, &str)]) -> Server {
        Server::start(self, environment).unwrap_or_else(|refused| panic!("the server did not start: {refused:?}"))
    }

    /// Starts a server that may refuse.
    pub(crate) fn try_serve(&self) -> Result<Server, Refused> {
        self.try_serve_with(&[])
    }

    /// As `try_serve`, with settings in the environment.
    pub(crate) fn try_serve_with(&self, environment: &[(&str, &str)]) -> Result<Server, Refused> {
        Server::start(self, environment)
    }

    /// Starts a server that must refuse: its exit code and the code of its error.
    pub(crate) fn refused(&self) -> Refused {
        self.refused_with(&[])
    }

    /// As `refused`, with settings in the environment.
    pub(crate) fn refused_with(&self, environment: &[(&str, &str)]) -> Refused {
        match Server::start(self, environment) {
            Ok(_) => panic!("the server started"),
            Err(refused) => refused,
        }
    }
}

/// Lets helpers go on until it is dropped, also by a failed assertion.
#[derive(Default)]
pub(crate) struct Stop(std::sync::Arc<std::sync::atomic::AtomicBool>);

impl Stop {
    pub(crate) fn flag(&self) -> std::sync::Arc<std::sync::atomic::AtomicBool> {
        std::sync::Arc::clone(&self.0)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// How a server ended that did not start.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) exit: Option<i32>,
    pub(crate) code: String,
    pub(crate) log: String,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) url: String,
    key: String,
}

impl Server {
    fn start(data: &Data, environment: &[(&str, &str)]) -> Result<Self, Refused> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data.log_file())
            .unwrap();
        let before = log.metadata().unwrap().len();
        let mut child = Command::new(OUBLIETTE)
            .args(["serve", "--json", "--listen", "127.0.0.1:0", "--data"])
            .arg(data.path())
            .envs(environment.iter().copied())
            .env("RUST_BACKTRACE", "0")
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        // Ends with the first line, or when the process does; a server that hangs is caught by the suite's own limit.
        stdout.read_line(&mut line).unwrap();
        let said = serde_json::from_str::<Value>(&line).unwrap_or_default();
        let Some(url) = said["listening"].as_str() else {
            let exit = child.wait().unwrap().code();
            let log = data
                .log()
                .get(usize::try_from(before).unwrap()..)
                .unwrap_or_default()
                .to_owned()
                + &line;
            let code = said["code"].as_str().unwrap_or_default().to_owned();
            return Err(Refused { exit, code, log });
        };
        Ok(Self {
            url: url.to_owned(),
            child,
            key: data.key().to_owned(),
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until the process is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{name}"), &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> &str {
        self.url.rsplit('/').next().unwrap()
    }

    /// SIGTERM; the server must end well.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "the server ended with {status}");
                return;
            }
            assert!(started.elapsed() < PATIENCE, "the server does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A client with the key that has every role.
    pub(crate) fn client(&self) -> Client {
        self.client_with(&self.key)
    }

    pub(crate) fn client_with(&self, key: &str) -> Client {
        Client::new(&self.url, Some(key))
    }

    pub(crate) fn stranger(&self) -> Client {
        Client::new(&self.url, None)
    }

    /// A client whose new key has only these roles, and only these ledgers if any are named.
    pub(crate) fn client_as(&self, roles: &[&str], ledgers: Option<&[&str]>) -> Client {
        let mut wanted = json!({"name": "test key", "roles": roles});
        if let Some(ledgers) = ledgers {
            wanted["ledgers"] = json!(ledgers);
        }
        let made = self.client().post("/v1/api-keys", &wanted).expect(201);
        self.client_with(made["api_key"].as_str().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(OUBLIETTE).args(arguments).output().unwrap()
}

/// A blocking client. Paths that do not begin with `/` are of the ledger `main`.
#[derive(Clone)]
pub(crate) struct Client {
    agent: ureq::Agent,
    url: String,
    key: Option<String>,
}

impl Client {
    fn new(url: &str, key: Option<&str>) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(60)))
            .max_idle_connections(16)
            .build()
            .into();
        Self {
            agent,
            url: url.to_owned(),
            key: key.map(str::to_owned),
        }
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, &[], body.to_string().as_bytes())
    }

    pub(crate) fn post_bytes(&self, path: &str, body: &[u8]) -> Answer {
        self.send("POST", path, &[], body)
    }

    pub(crate) fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], b"")
    }

    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// As `send`, but a connection that breaks is an answer too.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Answer, ureq::Error> {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/v1/ledgers/main/{path}")
        };
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = if method == "GET" || method == "HEAD" {
            self.agent.run(request.body(()).unwrap())?
        } else {
            self.agent.run(request.body(body).unwrap())?
        };
        let text = |(name, value): (&ureq::http::HeaderName, &ureq::http::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
        Ok(Answer {
            what: format!("{method} {path}"),
            status: response.status().as_u16(),
            headers: response.headers().iter().map(text).collect(),
            body: response.body_mut().with_config().limit(512 << 20).read_to_vec()?,
        })
    }

    /// Appends one event and gives its receipt.
    pub(crate) fn append(&self, stream: &str, event: Value) -> Value {
        let mut answer = self
            .post(&format!("streams/{stream}/events"), &json!({"events": [event]}))
            .expect(201);
        answer["events"][0].take()
    }

    /// Every event of a read, page by page.
    pub(crate) fn read_all(&self, path: &str, limit: usize) -> Vec<Value> {
        let (mut events, mut cursor) = (Vec::new(), String::new());
        let separator = if path.contains('?') { '&' } else { '?' };
        loop {
            let mut page = self.get(&format!("{path}{separator}limit={limit}{cursor}")).expect(200);
            let Value::Array(found) = page["events"].take() else {
                panic!("no list of events: {page}")
            };
            assert!(
                found.len() <= limit,
                "{path}: a page of {} with limit {limit}",
                found.len()
            );
            events.extend(found);
            assert!(events.len() < 1_000_000, "{path}: paging does not end");
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return events,
            }
        }
    }
}

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    what: String,
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{}: {} is no JSON ({error}): {}",
                self.what,
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    /// The JSON body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}: {}",
            self.what,
            String::from_utf8_lossy(&self.body)
        );
        self.json()
    }

    /// The problem of an answer that must be one, of this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let shown = format!("{}: {} {}", self.what, self.status, String::from_utf8_lossy(&self.body));
        assert_eq!(self.status, status, "{shown}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{shown}");
        let problem = self.json();
        assert_eq!(problem["code"], code, "{shown}");
        assert_eq!(problem["status"], status, "{shown}");
        assert!(
            problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()),
            "{shown}"
        );
        assert!(problem["title"].is_string() && problem["type"].is_string(), "{shown}");
        problem
    }
}

/// A UUID of a number, for ids that a test chooses.
pub(crate) fn id(number: u128) -> String {
    Uuid::from_u128(0x0bbb_0000_0000_4000_8000_0000_0000_0000 | number).to_string()
}

/// A repeatable sequence of numbers (xorshift64*).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % end
    }
}

/// Waits until something holds, at most a minute.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < PATIENCE, "still not so: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Copies a folder with everything in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a folder.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()))
        } else {
            found.push(entry.path())
        }
    }
    found.sort();
    found
}
