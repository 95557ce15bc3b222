//! `litewitness` of filippo.io/torchwood: a witness of others follows our log by our checkpoints and consistency proofs, and
//! we verify its cosignatures.

use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oubliette::spec::checkpoint;
use oubliette::spec::note::{SignatureType, VerifierKey};

use crate::support::{Client, Data, eventually};
use crate::tools::{Running, go_programs};
use crate::trees::grow_to;

/// Its database as its own tool `witnessctl` makes it, with one log at size 0.
const DATABASE: &str = "
import sqlite3, sys
path, origin, vkey = sys.argv[1:]
db = sqlite3.connect(path)
db.executescript('''
    CREATE TABLE log (origin TEXT PRIMARY KEY, tree_size INTEGER NOT NULL, tree_hash TEXT NOT NULL);
    CREATE TABLE key (origin TEXT NOT NULL, key TEXT NOT NULL, FOREIGN KEY(origin) REFERENCES log(origin));
''')
db.execute('INSERT INTO log VALUES (?, 0, ?)', (origin, '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='))
db.execute('INSERT INTO key VALUES (?, ?)', (origin, vkey))
db.commit()
";

struct Witness {
    _agent: Running,
    _witness: Running,
    url: String,
    key: VerifierKey,
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

impl Witness {
    /// With a key of its own in an agent of its own.
    fn start(programs: &Path, folder: &Path, origin: &str, vkey: &str) -> Self {
        let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
        run(Command::new("python3").args(["-c", DATABASE, &path("witness.db"), origin, vkey]));
        run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", &path("key")]));
        let agent = Running::start(
            Command::new("ssh-agent")
                .args(["-D", "-a", &path("agent")])
                .stdout(Stdio::null()),
        );
        eventually("the agent listens", || folder.join("agent").exists());
        run(Command::new("ssh-add")
            .args(["-q", &path("key")])
            .env("SSH_AUTH_SOCK", path("agent")));
        let print = run(Command::new("ssh-keygen").args(["-l", "-f", &path("key")]));
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let log = std::fs::File::create(folder.join("witness.log")).unwrap();
        let witness = Running::start(
            Command::new(programs.join("litewitness"))
                .args([
                    "-name",
                    "witness.example/w1",
                    "-db",
                    &path("witness.db"),
                    "-ssh-agent",
                    &path("agent"),
                ])
                .args([
                    "-key",
                    print.split(' ').nth(1).unwrap(),
                    "-listen",
                    &format!("127.0.0.1:{port}"),
                ])
                .stdout(log.try_clone().unwrap())
                .stderr(log),
        );
        let said = || std::fs::read_to_string(folder.join("witness.log")).unwrap();
        eventually("the witness listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let said = said();
        let key = said
            .split("vkey=")
            .nth(1)
            .and_then(|rest| rest.split_whitespace().next());
        Self {
            _agent: agent,
            _witness: witness,
            url: format!("http://127.0.0.1:{port}/add-checkpoint"),
            key: key.unwrap_or_else(|| panic!("{said}")).parse().unwrap(),
        }
    }

    /// Shows it a checkpoint; status and body.
    fn add(&self, old: u64, proof: &[String], note: &str) -> (u16, String) {
        let lines: String = proof.iter().map(|line| format!("{line}\n")).collect();
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let answer = agent.post(&self.url).send(format!("old {old}\n{lines}\n{note}"));
        let mut answer = answer.unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }
}

/// Our consistency proof as the witness protocol writes it.
fn proof(client: &Client, from: u64, to: u64) -> Vec<String> {
    let answer = client
        .get(&format!("proofs/consistency?from={from}&to={to}"))
        .expect(200);
    let line = |hash: &serde_json::Value| STANDARD.encode(hex::decode(hash.as_str().unwrap()).unwrap());
    answer["hashes"].as_array().unwrap().iter().map(line).collect()
}

#[test]
fn litewitness_follows_our_log_and_we_verify_what_it_signs() {
    let Some(programs) = go_programs() else { return };
    let (folder, data) = (tempfile::tempdir().unwrap(), Data::new());
    let server = data.serve();
    let client = server.client();
    let ours: VerifierKey = data.vkey().parse().unwrap();
    let witness = Witness::start(programs, folder.path(), ours.name().as_str(), data.vkey());
    let keys = [ours.clone(), witness.key.clone()];
    let mut seen = 0;
    for size in [5, 6, 7, 255, 256, 257, 700] {
        grow_to(&client, size);
        let note = client.get("log/checkpoint").text();
        let path = if seen == 0 {
            Vec::new()
        } else {
            proof(&client, seen, size)
        };
        let (status, cosignature) = witness.add(seen, &path, &note);
        assert_eq!(status, 200, "{seen} to {size}: {cosignature}");
        let opened = checkpoint::open(&format!("{note}{cosignature}"), ours.name(), &keys).unwrap();
        let by = opened
            .signatures
            .iter()
            .find(|by| by.name == *witness.key.name())
            .unwrap();
        assert_eq!(by.signature_type, SignatureType::Cosignature);
        seen = size;
    }
    grow_to(&client, 900);
    let note = client.get("log/checkpoint").text();
    let good = proof(&client, 700, 900);
    assert_eq!(
        witness.add(699, &proof(&client, 699, 900), &note),
        (409, "700\n".to_owned())
    );
    let mut bad = good.clone();
    bad.swap(0, 1);
    assert_eq!(witness.add(700, &bad, &note).0, 422);
    assert_eq!(witness.add(700, &good, &note.replace("\n900\n", "\n901\n")).0, 403);
    assert_eq!(witness.add(700, &good, &note).0, 200);
}
