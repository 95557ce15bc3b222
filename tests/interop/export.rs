//! `oubliette log export`: a folder that is a log, brought up to date, and never a false one.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::receipts::root_of;
use crate::support::{Data, OUBLIETTE, Server, files};
use crate::trees::grow_to;
use oubliette::spec::hash::Hash;

fn run(server: &Server, data: &Data, out: &Path, more: &[&str]) -> Output {
    Command::new(OUBLIETTE)
        .args(["log", "export", "--json", "--url"])
        .arg(format!("http://{}", server.address()))
        .arg("--out")
        .arg(out)
        .args(more)
        .env("OUBLIETTE_API_KEY", data.key())
        .output()
        .unwrap()
}

/// Exports, and gives what the command says.
#[track_caller]
pub(crate) fn export(server: &Server, data: &Data, out: &Path, more: &[&str]) -> Value {
    let output = run(server, data, out, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Exports in vain: the exit code and the code of the error.
fn refused(server: &Server, data: &Data, out: &Path, more: &[&str]) -> (Option<i32>, String) {
    let output = run(server, data, out, more);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code(), said["code"].as_str().unwrap().to_owned())
}

fn names(out: &Path) -> Vec<String> {
    let name = |path: std::path::PathBuf| path.strip_prefix(out).unwrap().to_str().unwrap().to_owned();
    files(out).into_iter().map(name).collect()
}

#[test]
fn a_folder_is_brought_up_to_date_and_holds_what_the_specification_asks_for() {
    let (folder, data) = (tempfile::tempdir().unwrap(), Data::new());
    let server = data.serve();
    let client = server.client();
    let out = folder.path().join("public/log");
    grow_to(&client, 255);
    let done = export(&server, &data, &out, &["--key", data.vkey()]);
    assert_eq!((&done["tree_size"], &done["files"]), (&255.into(), &1.into()));
    assert_eq!((&done["vkey"], &done["pinned"]), (&data.vkey().into(), &true.into()));
    assert_eq!(names(&out), ["checkpoint", "tile/0/000.p/255"]);
    grow_to(&client, 256);
    assert_eq!(export(&server, &data, &out, &["--entries"])["files"], 3);
    // The partial tile has become full.
    assert_eq!(
        names(&out),
        ["checkpoint", "tile/0/000", "tile/1/000.p/1", "tile/entries/000"]
    );
    grow_to(&client, 1_100);
    assert_eq!(export(&server, &data, &out, &[])["files"], 3 + 1 + 1);
    let tiles =
        ["000", "001", "002", "003", "004.p/76"].map(|tile| std::fs::read(out.join("tile/0").join(tile)).unwrap());
    let leaves: Vec<Hash> = tiles
        .concat()
        .chunks_exact(32)
        .map(|hash| Hash::try_from(hash).unwrap())
        .collect();
    let note = std::fs::read_to_string(out.join("checkpoint")).unwrap();
    assert_eq!(note, client.get("log/checkpoint").text());
    assert_eq!(note.lines().nth(2), Some(root_of(&leaves).to_base64().as_str()));
    // Once more: nothing is missing.
    assert_eq!(export(&server, &data, &out, &["--entries"])["files"], 4);
    assert_eq!(export(&server, &data, &out, &["--entries"])["files"], 0);
    // Without a server, from the data directory.
    server.stop();
    let again = folder.path().join("again");
    let output = Command::new(OUBLIETTE)
        .args(["log", "export", "--entries", "--data"])
        .arg(data.path())
        .arg("--out")
        .arg(&again)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains(data.vkey()));
    for name in names(&again) {
        assert_eq!(
            std::fs::read(again.join(&name)).unwrap(),
            std::fs::read(out.join(&name)).unwrap(),
            "{name}"
        );
    }
}

#[test]
fn a_false_folder_is_named_and_left_alone() {
    let (folder, data) = (tempfile::tempdir().unwrap(), Data::new());
    let server = data.serve();
    let client = server.client();
    let out = folder.path().join("log");
    grow_to(&client, 300);
    server.stop();
    let young = data.copy();
    let server = data.serve();
    let client = server.client();
    grow_to(&client, 600);
    export(&server, &data, &out, &["--entries"]);
    let checkpoint = std::fs::read(out.join("checkpoint")).unwrap();

    // One false byte in a tile.
    let tile = out.join("tile/0/001");
    let good = std::fs::read(&tile).unwrap();
    let mut bad = good.clone();
    bad[77] ^= 1;
    std::fs::write(&tile, &bad).unwrap();
    grow_to(&client, 601);
    assert_eq!(refused(&server, &data, &out, &[]), (Some(1), "log_damaged".into()));
    std::fs::write(&tile, &good[1..]).unwrap();
    assert_eq!(refused(&server, &data, &out, &[]), (Some(1), "log_damaged".into()));
    std::fs::write(&tile, good).unwrap();
    assert_eq!(std::fs::read(out.join("checkpoint")).unwrap(), checkpoint);

    // The server with the store of before: shorter, and, once it has grown, another one.
    let other = young.serve();
    assert_eq!(refused(&other, &young, &out, &[]), (Some(1), "log_not_extended".into()));
    grow_to(&other.client(), 700);
    assert_eq!(refused(&other, &young, &out, &[]), (Some(1), "log_not_extended".into()));
    assert_eq!(std::fs::read(out.join("checkpoint")).unwrap(), checkpoint);

    // Another ledger, and another key than the pinned one.
    let stranger = Data::new();
    let strangers = stranger.serve();
    assert_eq!(refused(&strangers, &stranger, &out, &[]), (Some(1), "other_log".into()));
    let fresh = folder.path().join("fresh");
    let pinned = refused(&strangers, &stranger, &fresh, &["--key", data.vkey()]);
    assert_eq!(pinned, (Some(1), "log_damaged".into()));
    assert!(!fresh.exists());
    // What is sound goes on.
    assert_eq!(export(&server, &data, &out, &[])["tree_size"], 601);
}
