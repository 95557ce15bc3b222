//! Data about people: how tests store it, erase it, and look at what is left.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Client, eventually, files};

/// An event with a sealed block about somebody.
pub(crate) fn sealed(subject: &str, data: &str) -> Value {
    json!({"type": "t", "data": 1, "personal": [{"subject": subject, "data": data}]})
}

/// What erases somebody.
pub(crate) fn erasure(subject: &str) -> Value {
    json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"})
}

/// Erases somebody of the ledger `main`.
pub(crate) fn erase(client: &Client, subject: &str) -> Value {
    client.post("erasures", &erasure(subject)).expect(202)
}

/// Waits until no residue of an erasure is pending but those of backups.
pub(crate) fn purged(client: &Client, erasure: &Value) {
    let path = format!("erasures/{}", erasure["id"].as_str().unwrap());
    eventually("key store files and ciphertext are removed", || {
        let view = client.get(&path).expect(200);
        let residues = view["residues"].as_array().unwrap();
        let of_files = |residue: &&Value| residue["residue"] != "epoch_key";
        let mut of_files = residues.iter().filter(of_files).peekable();
        of_files.peek().is_some() && of_files.all(|residue| residue["state"] == "removed")
    });
}

/// What every sealed block of a ledger's events of type `t` opens to, or its state.
pub(crate) fn opened(client: &Client, ledger: &str) -> Vec<Value> {
    let events = client.read_all(&format!("/v1/ledgers/{ledger}/events?type=t&reveal=true"), 1_000);
    let blocks = events
        .iter()
        .flat_map(|event| event["personal"].as_array().unwrap().clone());
    blocks
        .map(|block| match block["state"].as_str().unwrap() {
            "clear" => block["data"].clone(),
            state => json!({ "state": state }),
        })
        .collect()
}

/// The payloads of a ledger's events of a type.
pub(crate) fn payloads(client: &Client, ledger: &str, event_type: &str) -> Vec<Value> {
    let events = client.read_all(&format!("/v1/ledgers/{ledger}/events?type={event_type}"), 1_000);
    events.into_iter().map(|event| event["data"].clone()).collect()
}

/// The report of a full verification by the server.
pub(crate) fn verification(client: &Client, ledger: &str) -> Value {
    let path = format!("/v1/ledgers/{ledger}/verifications");
    let job = client.post(&path, &json!({})).expect(202);
    let path = format!("{path}/{}", job["id"].as_str().unwrap());
    let mut done = Value::Null;
    eventually("the verification ends", || {
        done = client.get(&path).expect(200);
        done["state"] != "running"
    });
    done["report"].clone()
}

/// A file that `oubliette-verify` finds valid; its report.
pub(crate) fn verified(content: &[u8]) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
        .args(["--json", file.path().to_str().unwrap()])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    assert_eq!(report["verdict"], "valid", "{report:#}");
    report
}

/// The files below a folder in which these bytes stand.
pub(crate) fn found_in(folder: &Path, needle: &[u8]) -> Vec<PathBuf> {
    let mut found = files(folder);
    // A running server deletes files that it has written anew.
    found.retain(|file| memchr::memmem::find(&std::fs::read(file).unwrap_or_default(), needle).is_some());
    found
}
