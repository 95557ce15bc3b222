//! The command line as a black box: the real binaries, real files, exit codes, and exactly one JSON document a run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const OUBLIETTE: &str = env!("CARGO_BIN_EXE_oubliette");
const VERIFIER: &str = env!("CARGO_BIN_EXE_oubliette-verify");

/// A folder with a ledger in `data`, in which the commands run.
struct Place {
    folder: tempfile::TempDir,
    made: Value,
}

/// How a command ended.
struct Ended {
    line: String,
    exit: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        let mut place = Self {
            folder: tempfile::tempdir().unwrap(),
            made: Value::Null,
        };
        place.made = place.run(&["init", "--data", "data", "--json"]).json(0);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn vkey(&self) -> &str {
        self.made["vkey"].as_str().unwrap()
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.folder.path());
        for name in [
            "OUBLIETTE_URL",
            "OUBLIETTE_API_KEY",
            "OUBLIETTE_CONFIG",
            "OUBLIETTE_DATA",
        ] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(arguments, self.command(OUBLIETTE, arguments).output().unwrap())
    }

    fn run_on(&self, url: &str, key: &str, arguments: &[&str]) -> Ended {
        let mut command = self.command(OUBLIETTE, arguments);
        Ended::of(
            arguments,
            command
                .env("OUBLIETTE_URL", url)
                .env("OUBLIETTE_API_KEY", key)
                .output()
                .unwrap(),
        )
    }

    fn run_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(OUBLIETTE, arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ended::of(arguments, child.wait_with_output().unwrap())
    }

    fn offline(&self, arguments: &[&str]) -> Ended {
        Ended::of(arguments, self.command(VERIFIER, arguments).output().unwrap())
    }

    /// Serves the directory; gives the process and its address.
    fn serve(&self) -> (Served, String) {
        let mut command = self.command(OUBLIETTE, &["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
        let log = std::fs::File::create(self.path("serve.log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("not serving: {line}"))
            .to_owned();
        (Served(child), url)
    }

    /// Every event, with personal data opened.
    fn events(&self) -> Vec<Value> {
        let arguments = [
            "export", "--data", "data", "--format", "ndjson", "--reveal", "--out", "-",
        ];
        let ended = self.run(&arguments);
        assert_eq!(ended.exit, Some(0), "{}", ended.err);
        ended
            .out
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How much there is in the ledger's store.
    fn ledger_bytes(&self) -> u64 {
        let entries = std::fs::read_dir(self.path("data/ledger")).unwrap();
        let length = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.metadata().ok().map(|file| file.len());
        entries.filter_map(length).sum()
    }

    /// The files below `folder` that hold `text`.
    fn files_with(&self, folder: &str, text: &str) -> Vec<PathBuf> {
        let (mut found, mut folders) = (Vec::new(), vec![self.path(folder)]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if std::fs::read(&path)
                    .unwrap()
                    .windows(text.len())
                    .any(|window| window == text.as_bytes())
                {
                    found.push(path);
                }
            }
        }
        found
    }
}

/// A server; killed when dropped.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Ended {
    fn of(arguments: &[&str], output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            line: arguments.join(" "),
            exit: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.exit,
            Some(code),
            "{}\nout: {}\nerr: {}",
            self.line,
            self.out,
            self.err
        );
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    fn json(self, code: i32) -> Value {
        let ended = self.exits(code);
        assert_eq!(ended.out.trim_end().lines().count(), 1, "{}: {}", ended.line, ended.out);
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{}: {error}: {}", ended.line, ended.out))
    }

    /// That the command failed with this exit and code.
    #[track_caller]
    fn fails(self, exit: i32, code: &str) -> String {
        let ended = self.exits(exit);
        assert!(
            ended.err.contains(&format!("error[{code}]")),
            "{}: {}",
            ended.line,
            ended.err
        );
        ended.err
    }
}

fn append<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [
        &[
            "append",
            "--data",
            "data",
            "--stream",
            "order-7",
            "--type",
            "order.placed",
        ],
        more,
    ]
    .concat()
}

/// The sample logs beside the project, or a word on why a test is skipped.
fn sample(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("../shared/data").join(name);
    if !path.is_file() {
        eprintln!("skipped: {} is not there", path.display());
    }
    path.is_file().then_some(path)
}

fn mapping(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs/examples")
        .join(name)
        .display()
        .to_string()
}

#[test]
fn an_event_is_appended_repeated_and_refused() {
    let place = Place::new();
    let id = "7b4f6f3e-9d0b-4c1c-8a41-3f6f2f2f9a01";
    let arguments = append(&[
        "--payload",
        r#"{"total":12}"#,
        "--personal",
        r#"customer=41={"name":"Ada"}"#,
        "--category",
        "billing",
        "--id",
        id,
        "--expected-version",
        "no_stream",
        "--tag",
        "test",
        "--actor",
        "shop",
        "--json",
    ]);
    let first = place.run(&arguments).json(0);
    assert_eq!(
        (&first["events"][0]["stream_version"], &first["events"][0]["id"]),
        (&json!(1), &json!(id))
    );
    let again = place.run(&arguments).json(0);
    assert_eq!(again["events"][0]["index"], first["events"][0]["index"]);
    let problem = place.run(&append(&["--expected-version", "7", "--json"])).json(4);
    assert_eq!(
        (&problem["code"], &problem["current_version"]),
        (&json!("wrong_expected_version"), &json!(1))
    );
    let other = append(&["--payload", r#"{"total":13}"#, "--id", id]);
    place.run(&other).fails(4, "idempotency_conflict");
    place.run(&append(&["--payload", "{"])).fails(2, "usage");
    place.run(&append(&["--personal", "nobody"])).fails(2, "usage");
    place
        .run(&append(&["--actor", "ada@example.com"]))
        .fails(2, "personal_data_refused");
    place
        .run(&["append", "--data", "data", "--stream", "s", "--type", "not a type"])
        .fails(2, "invalid_field");
    place
        .run(&[
            "append", "--data", "data", "--ledger", "other", "--stream", "s", "--type", "t",
        ])
        .fails(4, "ledger_not_found");
}

#[test]
fn subjects_and_requests_come_from_files_and_standard_input() {
    let place = Place::new();
    let block = r#"{"subject":"customer-41","category":"billing","data":{"name":"Ada"}}"#;
    place
        .run_with_input(&append(&["--personal", "-"]), &format!("{block}\n{block}"))
        .exits(0);
    place.write(
        "request.json",
        r#"{"events":[{"stream":"a","type":"t"},{"stream":"b","type":"t","data":[1]}]}"#,
    );
    place
        .run(&["append", "--data", "data", "--file", "request.json"])
        .exits(0);
    place.write("events.json", r#"{"expected_version":1,"events":[{"type":"t"}]}"#);
    place
        .run(&["append", "--data", "data", "--stream", "a", "--file", "events.json"])
        .exits(0);
    place
        .run(&["append", "--data", "data", "--stream", "b/c", "--file", "events.json"])
        .fails(4, "wrong_expected_version");
    place
        .run(&["append", "--data", "data", "--file", "none.json"])
        .fails(3, "file_unusable");
    let events = place.events();
    assert_eq!(events[2]["personal"][1]["data"]["name"], "Ada");
    assert_eq!(events[5]["stream_version"], 2);
}

#[test]
fn a_receipt_a_bundle_and_a_certificate_are_verified_offline() {
    let place = Place::new();
    place
        .run(&append(&[
            "--personal",
            r#"customer-41={"name":"Ada"}"#,
            "--receipt-out",
            "receipt.json",
        ]))
        .exits(0);
    place.offline(&["receipt.json", "--key", place.vkey()]).exits(0);
    let erase = [
        "erase",
        "--data",
        "data",
        "--subject",
        "customer-41",
        "--basis",
        "art17_1_a",
        "--reason",
        "request",
    ];
    let done = place
        .run(&[&erase[..], &["--certificate-out", "certificate.cose", "--json"]].concat())
        .json(0);
    assert_eq!(
        (&done["state"], &done["subjects"][0]["state"]),
        (&json!("completed"), &json!("erased"))
    );
    place.offline(&["certificate.cose", "--key", place.vkey()]).exits(0);
    let export = place
        .run(&["export", "--data", "data", "--out", "ledger.oubliette", "--json"])
        .json(0);
    assert_eq!(
        export["bytes"],
        std::fs::metadata(place.path("ledger.oubliette")).unwrap().len()
    );
    for arguments in [
        vec!["verify", "ledger.oubliette"],
        vec!["verify", "--data", "data"],
        vec!["fsck", "--data", "data"],
    ] {
        let report = place.run(&[&arguments[..], &["--json"]].concat()).json(0);
        assert_eq!(
            (&report["verdict"], &report["trust"]),
            (&json!("valid"), &json!("self_consistent"))
        );
    }
    let pinned = place
        .run(&["verify", "ledger.oubliette", "--key", place.vkey(), "--json"])
        .json(0);
    assert_eq!(pinned["trust"], "pinned");
    place
        .run(&["verify", "ledger.oubliette", "--origin", "other.example/main"])
        .exits(1);
    let mut bytes = std::fs::read(place.path("ledger.oubliette")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(place.path("forged.oubliette"), bytes).unwrap();
    let report = place.run(&["verify", "forged.oubliette", "--json"]).json(1);
    assert_eq!(report["verdict"], "tampered");
    place.run(&["verify", "receipt.json"]).fails(2, "not_a_bundle");
    place.run(&["verify", "none"]).fails(3, "file_unusable");
}

#[test]
fn erasing_waits_refuses_and_stays_erased() {
    let place = Place::new();
    let erase = |subject| {
        [
            "erase",
            "--data",
            "data",
            "--subject",
            subject,
            "--basis",
            "art17_1_b",
            "--reason",
            "objection",
        ]
    };
    place.run(&erase("customer-41")).fails(4, "subject_not_found");
    place
        .run(&append(&["--personal", r#"customer-41={"name":"Ada"}"#]))
        .exits(0);
    place
        .run(&append(&["--personal", r#"customer-42={"name":"Bob"}"#]))
        .exits(0);
    place.run_with_input(&erase("-"), "customer-41\ncustomer-42\n").exits(0);
    let again = place.run(&[&erase("customer-41")[..], &["--json"]].concat()).json(0);
    assert_eq!(again["subjects"][0], json!({"state": "already_erased"}));
    place
        .run(&append(&["--personal", r#"customer-41={"name":"Ada"}"#]))
        .fails(4, "subject_erased");
    place.run_with_input(&erase("-"), "\n").fails(2, "usage");
    place
        .run(&[
            "erase",
            "--data",
            "data",
            "--subject",
            "x",
            "--basis",
            "gdpr",
            "--reason",
            "request",
        ])
        .exits(2);
    place.run(&["verify", "--data", "data", "--key", place.vkey()]).exits(0);
}

#[test]
fn holds_restrictions_reopenings_and_retention_from_the_command_line() {
    let place = Place::new();
    let on = |words: &[&'static str], more: &[&'static str]| [words, &["--data", "data"], more].concat();
    place
        .run(&append(&["--personal", r#"customer-41={"name":"Ada"}"#]))
        .exits(0);
    let hold = place
        .run_with_input(
            &on(&["hold", "place"], &["--subject", "-", "--ground", "case-1", "--json"]),
            "customer-41\n",
        )
        .json(0);
    let erase = [
        "erase",
        "--data",
        "data",
        "--subject",
        "customer-41",
        "--basis",
        "art17_1_b",
        "--reason",
        "request",
    ];
    place.run(&erase).fails(4, "legal_hold");
    let waits = place.run(&[&erase[..], &["--wait", "--json"]].concat()).json(0);
    assert_eq!(waits["state"], "held");
    let listed = place.run(&on(&["hold", "list"], &[])).exits(0);
    assert!(
        listed.out.contains("case-1") && listed.out.contains("active"),
        "{}",
        listed.out
    );
    let (hold, waits) = (hold["id"].as_str().unwrap(), waits["id"].as_str().unwrap());
    let released = place.run(&["hold", "release", "--data", "data", hold]).exits(0);
    assert!(released.out.contains("released"), "{}", released.out);
    let erasures = place.run(&on(&["erasure", "list"], &[])).exits(0);
    assert!(
        erasures.out.contains(waits) && erasures.out.contains("completed"),
        "{}",
        erasures.out
    );
    place
        .run(&["erasure", "cancel", "--data", "data", waits])
        .fails(4, "erasure_settled");
    let reopen = on(
        &["reopen"],
        &["--subject", "customer-41", "--reason", "new_relationship"],
    );
    let told = place.run(&reopen).exits(0);
    assert!(
        told.out.contains("handle") && !told.out.contains("customer-41"),
        "{}",
        told.out
    );
    place.run(&reopen).fails(4, "not_erased");
    place.run(&on(&["reopen"], &["--reason", "consent"])).fails(2, "usage");
    let restrict = on(
        &["restrict", "place"],
        &["--subject", "customer-41", "--reason", "objection", "--json"],
    );
    let restriction = place.run(&restrict).json(0);
    place
        .run(&on(&["restrict", "place"], &["--reason", "objection"]))
        .exits(2);
    let id = restriction["id"].as_str().unwrap();
    place.run(&["restrict", "lift", "--data", "data", id]).exits(0);
    let listed = place.run(&on(&["restrict", "list"], &[])).exits(0);
    assert!(listed.out.contains("lifted"), "{}", listed.out);
    // A rule, first without and then with the configuration.
    place
        .run(&append(&["--personal", r#"customer-41={"name":"Ada"}"#]))
        .exits(0);
    place
        .run(&on(&["retention"], &["--run"]))
        .fails(4, "retention_not_configured");
    place.write(
        "rules.toml",
        "[[retention]]\nname = \"old\"\ncategory = \"default\"\nkeep = \"1s\"\n",
    );
    std::thread::sleep(std::time::Duration::from_millis(1_200));
    let with_rules = |what| on(&["retention"], &["--config", "rules.toml", what]);
    let dry = place.run(&with_rules("--dry-run")).exits(0);
    assert!(dry.out.contains("nothing was changed"), "{}", dry.out);
    let ran = place.run(&[&with_rules("--run")[..], &["--json"]].concat()).json(0);
    assert_eq!(
        (&ran["rules"][0]["due"], &ran["rules"][0]["erased"]),
        (&json!(1), &json!(1))
    );
    place.run(&with_rules("--list")).exits(0);
    place.run(&on(&["retention"], &[])).exits(2);
    for (text, part) in [
        ("keep = \"soon\"", "period"),
        ("keep = \"1y\"\naction = \"burn\"", "action"),
        ("keep = \"1y\"\ntypes = [\"a\"]", "types"),
    ] {
        let rule = format!("[[retention]]\nname = \"x\"\ncategory = \"default\"\n{text}\n");
        place.write("wrong.toml", &rule);
        let refused = place.run(&["serve", "--check-config", "--config", "wrong.toml"]);
        assert_ne!(refused.exit, Some(0));
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    place.run(&["verify", "--data", "data", "--key", place.vkey()]).exits(0);
}

#[test]
fn api_keys_are_made_listed_used_and_revoked() {
    let place = Place::new();
    let create = [
        "api-key",
        "create",
        "--data",
        "data",
        "--name",
        "collector",
        "--role",
        "writer,reader",
        "--json",
    ];
    let made = place.run(&create).json(0);
    let (key, id) = (made["api_key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let listed = place.run(&["api-key", "list", "--data", "data", "--json"]).json(0);
    let names: Vec<_> = listed["api_keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| &key["name"])
        .collect();
    assert_eq!(
        names,
        ["first key, made by init", "collector"],
        "the local command line is no stored key"
    );
    place
        .run(&["api-key", "create", "--data", "data", "--name", "x", "--role", "king"])
        .exits(2);
    let (_served, url) = place.serve();
    place
        .run_on(&url, key, &["append", "--stream", "s", "--type", "t"])
        .exits(0);
    place.run_on(&url, key, &["api-key", "list"]).fails(4, "forbidden");
    place.run_on(&url, key, &["verify"]).fails(4, "forbidden");
    let admin = place.made["api_key"].as_str().unwrap();
    place.run_on(&url, admin, &["api-key", "revoke", id]).exits(0);
    place
        .run_on(&url, admin, &["api-key", "revoke", id])
        .fails(4, "not_found");
    place.run_on(&url, admin, &["api-key", "revoke", key]).fails(2, "usage");
    place
        .run_on(&url, key, &["append", "--stream", "s", "--type", "t"])
        .fails(4, "unauthenticated");
}

#[test]
fn a_served_directory_is_reached_by_url_only() {
    let place = Place::new();
    let admin = place.made["api_key"].as_str().unwrap().to_owned();
    let (served, url) = place.serve();
    for arguments in [
        append(&[]),
        vec!["verify", "--data", "data"],
        vec!["fsck", "--data", "data"],
        vec!["key", "list", "--data", "data"],
    ] {
        let words = place.run(&arguments).fails(3, "data_dir_in_use");
        assert!(words.contains("--url"), "{words}");
    }
    let keys = place.run_on(&url, &admin, &["key", "list", "--json"]).json(0);
    assert!(
        keys["keys"]
            .as_array()
            .unwrap()
            .iter()
            .any(|key| key["vkey"] == *place.vkey())
    );
    assert_eq!(
        place.run_on(&url, &admin, &["verify", "--json"]).json(0)["verdict"],
        "valid"
    );
    place
        .run_on(&url, &admin, &["export", "--out", "remote.oubliette"])
        .exits(0);
    place.offline(&["remote.oubliette", "--key", place.vkey()]).exits(0);
    place
        .run_on(&url, &admin, &["verify", "--key", place.vkey()])
        .fails(2, "usage");
    place.run(&["key", "list", "--url", &url]).fails(2, "usage");
    let port = url.strip_prefix("http://").unwrap();
    let other = Place::new();
    other
        .run(&["serve", "--data", "data", "--listen", port])
        .fails(3, "address_unavailable");
    drop(served);
    place
        .run_on(&url, &admin, &["key", "list"])
        .fails(3, "server_unreachable");
    place
        .run_on("http://192.0.2.1:7171", &admin, &["key", "list"])
        .fails(2, "usage");
    place
        .run_on("https://localhost", &admin, &["key", "list", "--ca", "missing.pem"])
        .fails(3, "file_unusable");
}

#[test]
fn what_makes_no_sense_is_told_and_changes_nothing() {
    let place = Place::new();
    let before = place.run(&["verify", "--data", "data", "--json"]).json(0);
    place.run(&["init", "--data", "data"]).fails(3, "data_dir_used");
    assert_eq!(
        place.run(&["init", "--data", "data", "--json"]).json(3)["code"],
        "data_dir_used"
    );
    place.write("oubliette.toml", "listn = \"127.0.0.1:1\"\n");
    let words = place
        .run(&["serve", "--check-config", "--config", "oubliette.toml"])
        .fails(2, "invalid_configuration");
    assert!(words.contains("listn"), "{words}");
    place
        .run(&["serve", "--check-config", "--config", "none.toml"])
        .fails(2, "invalid_configuration");
    place
        .run(&["serve", "--data", "data", "--listen", "0.0.0.0:0"])
        .fails(2, "invalid_configuration");
    place.run(&["serve", "--check-config"]).exits(0);
    assert_eq!(place.run(&["append", "--json"]).json(2)["code"], "usage");
    place.run(&["nonsense"]).exits(2);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut lost = place.command(OUBLIETTE, &["key", "list"]);
    Ended::of(&["key", "list"], lost.current_dir(elsewhere.path()).output().unwrap()).fails(2, "usage");
    place.run(&["key", "list", "--data", "none"]).fails(3, "not_a_data_dir");
    place.run(&["verify", "--data", "none"]).exits(3);
    place
        .run(&["export", "--data", "data", "--out", "no/such/folder"])
        .fails(3, "file_unusable");
    place.run(&["--help"]).exits(0);
    place.run(&["--version"]).exits(0);
    let after = place.run(&["verify", "--data", "data", "--json"]).json(0);
    assert_eq!(
        (&after["root"], &after["tree_size"]),
        (&before["root"], &before["tree_size"])
    );
}

const MAPPING: &str = r#"
name = "test"
format = "ndjson"
stream = "log-{/region}"
type = "log.{/what}"
occurred_at = "/at"
[subject]
fields = ["/user/name", "/user/id"]
[personal]
identity = ["/user", "/ip"]
"#;

#[test]
fn a_bad_mapping_is_refused_with_the_field() {
    let place = Place::new();
    place.write("records.ndjson", "{}\n");
    let import = ["import", "records.ndjson", "--data", "data", "--mapping", "bad.toml"];
    for (from, to, named) in [
        ("stream =", "straem =", "straem"),
        ("[\"/user\", \"/ip\"]", "[\"user\"]", "`user`"),
        ("log-{/region}", "log-{/user/id}", "stream"),
        ("\"ndjson\"", "\"csv\"", "`/region`"),
    ] {
        place.write("bad.toml", &MAPPING.replace(from, to));
        let ended = place.run(&import).exits(2);
        assert!(ended.err.contains(named), "{to}: {}", ended.err);
    }
    place
        .run(&["import", "none", "--data", "data", "--mapping", "bad.toml"])
        .fails(3, "file_unusable");
    place
        .run(&["import", "records.ndjson", "--data", "data", "--mapping", "none.toml"])
        .fails(3, "file_unusable");
    let ours = |event: &Value| !event["stream"].as_str().unwrap().starts_with('$');
    assert_eq!(place.events().iter().filter(|event| ours(event)).count(), 0);
}

#[test]
fn records_that_cannot_be_imported_are_named_by_line_and_code() {
    let place = Place::new();
    place.write("map.toml", MAPPING);
    place.write(
        "records.ndjson",
        concat!(
            r#"{"region":"eu","what":"login","at":"2026-01-31T13:00:00+01:00","user":{"name":"ada-41"},"ip":"10.9.8.7"}"#, "\n",
            "\n",
            "nonsense\n",
            r#"{"region":"eu","what":"login","user":{"name":""}}"#, "\n",
            r#"{"what":"login","user":{"name":"ada-41"}}"#, "\n",
            r#"{"region":"ada-41","what":"login","user":{"name":"ada-41"}}"#, "\n",
            r#"{"region":"bob@example.com","what":"login","user":{"name":"ada-41"}}"#, "\n",
            r#"{"region":"eu","what":"log out","user":{"id":17},"note":"about ada-41"}"#, "\n",
        ),
    );
    let done = place
        .run(&[
            "import",
            "records.ndjson",
            "--data",
            "data",
            "--mapping",
            "map.toml",
            "--json",
        ])
        .json(1);
    let rejected = |line, code| json!({"line": line, "code": code});
    let expected = json!({"read": 7, "appended": 2, "repeated": 0, "rejected": [
        rejected(3, "malformed_json"), rejected(4, "no_subject"), rejected(5, "missing_field"),
        rejected(6, "subject_in_clear"), rejected(7, "personal_data_refused")]});
    assert_eq!(done, expected);
    let events = place.events();
    assert_eq!(
        (&events[2]["type"], &events[2]["occurred_at"]),
        (&json!("log.login"), &json!("2026-01-31T12:00:00.000000Z"))
    );
    assert_eq!(
        events[2]["personal"][0]["data"],
        json!({"user": {"name": "ada-41"}, "ip": "10.9.8.7"})
    );
    assert_eq!(events[3]["type"], "log.log-out");
    assert_eq!(
        events[3]["data"]["note"], "about ada-41",
        "another person's record is not searched for this one"
    );
}

#[test]
fn both_real_logs_are_imported_once_and_leave_no_person_in_clear() {
    let (Some(trail), Some(access)) = (sample("cloudtrail.ndjson"), sample("s3-access.csv")) else {
        return;
    };
    let place = Place::new();
    let (trail, access) = (trail.display().to_string(), access.display().to_string());
    for (file, map, count) in [
        (&trail, "cloudtrail.mapping.toml", 103),
        (&access, "s3-access.mapping.toml", 301),
    ] {
        let import = ["import", file, "--data", "data", "--mapping", &mapping(map), "--json"];
        assert_eq!(
            place.run(&import).json(0),
            json!({"read": count, "appended": count, "repeated": 0, "rejected": []})
        );
        assert_eq!(
            place.run(&import).json(0),
            json!({"read": count, "appended": 0, "repeated": count, "rejected": []})
        );
    }
    let (served, url) = place.serve();
    let admin = place.made["api_key"].as_str().unwrap().to_owned();
    let erase = [
        "erase",
        "--subject",
        "pedro",
        "--subject",
        "212.83.184.15",
        "--basis",
        "art17_1_a",
        "--reason",
        "request",
    ];
    let told = place.run_on(&url, &admin, &erase).exits(0);
    let import = [
        "import",
        &trail,
        "--mapping",
        &mapping("cloudtrail.mapping.toml"),
        "--json",
    ];
    let again = place.run_on(&url, &admin, &import).json(1);
    assert_eq!(
        (&again["repeated"], again["rejected"].as_array().unwrap().len()),
        (&json!(16), 87)
    );
    assert!(
        again["rejected"]
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["code"] == "subject_erased")
    );
    drop(served);
    place
        .run(&["export", "--data", "data", "--out", "ledger.oubliette"])
        .exits(0);
    let people = [
        "pedro",
        "AIDAICAK2CN5MGHIIDIHA",
        "212.83.184.15",
        "177.131.167.145",
        "Boto3",
        "Mozilla/5.0",
        "1.2.3.4",
    ];
    for text in people {
        // The sealed blocks of the living are ciphertext, so nobody may be found at all.
        assert_eq!(place.files_with("data", text), Vec::<PathBuf>::new(), "{text}");
        for file in ["serve.log", "ledger.oubliette"] {
            let bytes = std::fs::read(place.path(file)).unwrap();
            assert!(
                !bytes.windows(text.len()).any(|window| window == text.as_bytes()),
                "{text} in {file}"
            );
        }
        assert!(!told.out.contains(text) && !told.err.contains(text), "{text}");
    }
    place.offline(&["ledger.oubliette", "--key", place.vkey()]).exits(0);
}

#[test]
fn an_import_that_was_killed_is_resumed_without_doubles() {
    let place = Place::new();
    place.write("map.toml", MAPPING);
    let record = |number: usize| {
        let person = number % 50;
        format!(r#"{{"region":"eu","what":"seen","n":{number},"user":{{"name":"person-{person}"}}}}"#) + "\n"
    };
    const COUNT: usize = 20_000;
    place.write("records.ndjson", &(0..COUNT).map(record).collect::<String>());
    let import = [
        "import",
        "records.ndjson",
        "--data",
        "data",
        "--mapping",
        "map.toml",
        "--json",
    ];
    let mut child = place
        .command(OUBLIETTE, &import)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while place.ledger_bytes() < 4 << 20 && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing is imported");
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = place.events().len();
    let done = place.run(&import).json(0);
    eprintln!("killed after {before} events; then {done}");
    assert!(before > 2, "killed before anything was imported");
    assert_eq!(
        done["appended"].as_u64().unwrap() + done["repeated"].as_u64().unwrap(),
        COUNT as u64
    );
    let mut numbers: Vec<_> = place
        .events()
        .iter()
        .filter_map(|event| event["data"]["n"].as_u64())
        .collect();
    let in_order = numbers.is_sorted();
    numbers.sort_unstable();
    numbers.dedup();
    assert!(
        in_order && numbers.len() == COUNT,
        "{} different records",
        numbers.len()
    );
    place.run(&["fsck", "--data", "data"]).exits(0);
}

#[test]
fn the_past_is_shown_in_words_and_as_json_and_opened_only_when_asked() {
    let place = Place::new();
    place
        .run(&append(&[
            "--payload",
            r#"{"total": 1}"#,
            "--personal",
            r#"ada={"name": "Ada Example"}"#,
        ]))
        .exits(0);
    place
        .run(&append(&["--payload", r#"{"total": 2, "paid": true}"#]))
        .exits(0);
    let as_of = |more: &[&str]| place.run(&[&["as-of", "--data", "data"], more].concat());
    let stream = |more: &[&str]| as_of(&[&["--stream", "order-7"], more].concat());
    let first = stream(&["--version", "1", "--json"]).json(0);
    assert_eq!(
        (&first["stream_version"], &first["state"]),
        (&json!(1), &json!({"total": 1}))
    );
    let words = stream(&["--version", "1"]).exits(0).out;
    assert!(
        words.contains("Stream order-7, version 1") && words.contains("sealed (1 blocks)"),
        "{words}"
    );
    assert!(!words.contains("Ada Example"));
    let opened = stream(&["--reveal"]).exits(0).out;
    assert!(
        opened.contains("Ada Example") && opened.contains("\"paid\": true"),
        "{opened}"
    );
    let changed = stream(&["--diff-from-version", "1"]).exits(0).out;
    assert!(
        changed.contains("replace /total = 2") && changed.contains("add     /paid = true"),
        "{changed}"
    );
    let ledger = as_of(&[]).exits(0).out;
    assert!(
        ledger.starts_with("Ledger main as of index") && ledger.contains("2  order.placed"),
        "{ledger}"
    );
    let bare = as_of(&["--no-counts", "--json"]).json(0);
    assert!(bare.get("types").is_none() && bare["tree_size"].as_u64() > Some(3));
    assert!(
        as_of(&["--time", "1970-01-01T00:00:00Z"])
            .exits(0)
            .out
            .contains("before the first event")
    );

    as_of(&["--stream", "never"]).fails(4, "stream_not_found");
    as_of(&["--time", "yesterday"]).fails(2, "invalid_field");
    as_of(&["--index", "1", "--time", "2026-01-01T00:00:00Z"]).exits(2);
    as_of(&["--version", "1"]).exits(2);
    as_of(&["--reveal"]).exits(2);
    stream(&["--diff-from-version", "2", "--version", "1"]).fails(2, "invalid_field");
}

#[test]
fn a_table_of_a_period_is_exported_to_a_file() {
    let place = Place::new();
    place.run(&append(&["--payload", r#"{"total": 1}"#])).exits(0);
    let export = |more: &[&str]| place.run(&[&["export", "--data", "data", "--format", "csv"], more].concat());
    export(&["--out", "all.csv", "--type", "order.placed"]).exits(0);
    let table = std::fs::read_to_string(place.path("all.csv")).unwrap();
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.starts_with("index,id,stream,"));
    let none = export(&["--out", "-", "--to", "2000-01-01T00:00:00Z"]).exits(0).out;
    assert_eq!(none.lines().count(), 1);
    export(&[
        "--out",
        "x.csv",
        "--from",
        "2026-02-01T00:00:00Z",
        "--to",
        "2026-01-01T00:00:00Z",
    ])
    .fails(2, "invalid_field");
    assert!(!place.path("x.csv").exists());
}

#[test]
fn a_report_is_written_whole_verified_offline_and_recorded() {
    let place = Place::new();
    let month = ["--from", "2026-01-01", "--to", "2100-01-01"];
    let report = |more: &[&str]| place.run(&[&["report", "--data", "data"], more].concat());
    let told = report(&[&month[..], &["--verify", "--out", "report.html", "--json"]].concat()).json(0);
    assert_eq!((&told["format"], &told["verified"]), (&json!("html"), &json!("valid")));
    report(&[&month[..], &["--out", "report.json"]].concat()).exits(0);
    report(&[&month[..], &["--out", "report.csv"]].concat()).exits(0);
    for file in ["report.html", "report.json"] {
        let verifier = place
            .command(VERIFIER, &[file, "--key", place.vkey()])
            .output()
            .unwrap();
        assert_eq!(
            verifier.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&verifier.stdout)
        );
        assert_eq!(
            place.run(&["verify", file, "--key", place.vkey(), "--json"]).json(0)["verdict"],
            "valid"
        );
    }
    let forged = std::fs::read_to_string(place.path("report.html"))
        .unwrap()
        .replace("ledger.created", "ledger.deleted");
    place.write("forged.html", &forged);
    let found = place.run(&["verify", "forged.html", "--json"]).json(1);
    assert_eq!(found["verdict"], "tampered");
    assert!(
        found["findings"][0]["field"]
            .as_str()
            .unwrap()
            .starts_with("page, events"),
        "{found}"
    );
    assert!(
        report(&["--out", "-", "--format", "csv"])
            .exits(0)
            .out
            .starts_with("section,")
    );
    report(&["--from", "2026-02-01", "--to", "2026-01-01", "--out", "none.html"]).fails(2, "invalid_field");
    report(&["--from", "2026-02-01", "--out", "none.html"]).exits(2);
    assert!(!place.path("none.html").exists());
}

#[test]
fn the_demo_tells_its_story_and_leaves_only_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let demo = |arguments: &[&str]| {
        let mut command = Command::new(OUBLIETTE);
        Ended::of(
            arguments,
            command
                .arg("demo")
                .args(arguments)
                .current_dir(folder.path())
                .output()
                .unwrap(),
        )
    };
    let words = demo(&[]).exits(0).out;
    for word in ["VALID", "TAMPERED", "erased", "made up", "as-of", "Old Street 1"] {
        assert!(words.contains(word), "{word}: {words}");
    }
    // Time travel: the same question before and after the erasure.
    let question = "as-of --data data --stream contract-1 --version 1 --reveal";
    let answers: Vec<_> = words.split(question).skip(1).collect();
    assert_eq!(answers.len(), 2, "{words}");
    assert!(answers[0].contains("clear (1 blocks)") && answers[0].contains("M. Example"));
    assert!(answers[1].contains("erased (1 blocks)") && !answers[1].contains("M. Example"));
    // An old backup put back: the erased person stays erased, somebody else opens, the certificate still verifies.
    let (_, after) = words.split_once("--accept-rollback").unwrap();
    let (erased, others) = after.split_once("Everybody else opens").unwrap();
    assert!(erased.contains("personal, ") && erased.contains("erased") && !erased.contains("clear"));
    assert!(
        others.contains("clear") && others.contains("checked offline"),
        "{others}"
    );
    let told = demo(&["--data", "tour", "--json"]).json(0);
    assert!(told["steps"].as_array().unwrap().len() > 10);
    assert!(folder.path().join("tour/data").is_dir());
    assert!(folder.path().join("tour/report.html").is_file());
    demo(&["--data", "tour"]).fails(3, "data_dir_used");
}

/// Passes connections on to a server. The first `cuts` answers of more than 64 KiB are cut off there; one that dies takes no
/// further connection then.
fn cutting_proxy(server: String, cuts: usize, dies: bool) -> (String, std::sync::Arc<std::sync::atomic::AtomicUsize>) {
    use std::io::Read;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cut = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&cut);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            if dies && cut.load(Ordering::Relaxed) == cuts {
                continue;
            }
            let (mut client, mut upstream) = (client.unwrap(), std::net::TcpStream::connect(&server).unwrap());
            let (mut from_client, mut to_upstream) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_upstream);
            });
            let cut = std::sync::Arc::clone(&cut);
            std::thread::spawn(move || {
                let (mut passed, mut piece) = (0, [0; 4096]);
                while let Ok(count @ 1..) = upstream.read(&mut piece) {
                    passed += count;
                    if passed > 64 * 1024 && cut.load(Ordering::Relaxed) < cuts {
                        cut.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    if client.write_all(&piece[..count]).is_err() {
                        break;
                    }
                }
                let _ = client.shutdown(std::net::Shutdown::Both);
                let _ = upstream.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    (url, counted)
}

#[test]
fn an_export_goes_on_where_its_connection_broke() {
    let place = Place::new();
    let payload = format!(r#"{{"text": "{}"}}"#, "x".repeat(100_000));
    for _ in 0..4 {
        place.run(&append(&["--payload", &payload])).exits(0);
    }
    let (_served, url) = place.serve();
    let key = place.made["api_key"].as_str().unwrap().to_owned();
    let (proxy, cut) = cutting_proxy(url.strip_prefix("http://").unwrap().to_owned(), 3, false);
    let export = |url: &str, out: &str| place.run_on(url, &key, &["export", "--format", "ndjson", "--out", out]);
    export(&proxy, "through.ndjson").exits(0);
    assert_eq!(cut.load(std::sync::atomic::Ordering::Relaxed), 3, "it was cut thrice");
    let through = std::fs::read(place.path("through.ndjson")).unwrap();
    export(&url, "direct.ndjson").exits(0);
    let direct = std::fs::read_to_string(place.path("direct.ndjson")).unwrap();
    // The second one has the record of the first, too.
    assert!(
        direct.as_bytes().starts_with(&through),
        "the same bytes, none twice and none missing"
    );
    assert!(through.len() > 400_000);
    let (proxy, _) = cutting_proxy(url.strip_prefix("http://").unwrap().to_owned(), 1, true);
    let given_up = export(&proxy, "never.ndjson");
    assert_eq!(given_up.exit, Some(3), "{}", given_up.err);
    assert!(given_up.err.contains("broken off after"), "{}", given_up.err);
    assert!(!place.path("never.ndjson").exists());
}
