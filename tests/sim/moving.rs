//! `oubliette vault move`: killed wherever it is, into a token and out of it; and what an erasure and its certificate say then.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::softhsm::{LABEL, SoftToken, module};
use crate::support::{Client, Data, OUBLIETTE, eventually};

/// The folders of a vault that is moved to `place`.
struct Place(Vec<PathBuf>);

impl Place {
    fn new(data: &Data, name: &str) -> Self {
        let folder = data.path().parent().unwrap().join(name);
        Self(["a", "b"].map(|mirror| folder.join(mirror)).to_vec())
    }

    /// For the setting.
    fn dirs(&self) -> String {
        format!("{:?}", self.0)
    }

    fn command(&self, data: &Data, more: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(OUBLIETTE);
        command.args(["vault", "move", "--json", "--data"]).arg(data.path());
        for folder in &self.0 {
            command.arg("--to").arg(folder);
        }
        command.args(more).envs(environment.iter().copied());
        command
    }

    fn moved(&self, data: &Data, more: &[&str], environment: &[(&str, &str)]) -> Result<Value, Value> {
        let output = self.command(data, more, environment).output().unwrap();
        let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

fn append_two(client: &Client) {
    for subject in ["ada", "bob"] {
        let event = json!({"type": "t", "personal": [{"subject": subject, "data": {"name": "Ada Example"}}]});
        client.append("s", event);
    }
}

fn states(client: &Client) -> Vec<String> {
    let page = client.get("streams/s/events?reveal=true").expect(200);
    let events = page["events"].as_array().unwrap().iter();
    let state = |event: &Value| event["personal"][0]["state"].as_str().unwrap().to_owned();
    events.map(state).collect()
}

/// The payloads of the ledger's own events of a type.
fn payloads(client: &Client, event_type: &str) -> Vec<Value> {
    let events = client.read_all("streams/$epochs/events", 100).into_iter();
    let of_type = events.filter(|event| event["type"] == event_type);
    of_type.map(|event| event["data"].clone()).collect()
}

#[test]
fn a_move_that_is_killed_is_ended_by_the_same_command() {
    let marks = [
        "new/a/moving",
        "new/b/vault",
        "new/b/closed",
        "data/vault/a/moved",
        "data/vault/b/moved",
    ];
    for mark in marks {
        let data = Data::new();
        let server = data.serve();
        append_two(&server.client());
        server.stop();
        let place = Place::new(&data, "new");
        let mark = data.path().parent().unwrap().join(mark);
        let mut moving = place.command(&data, &[], &[]).stdout(Stdio::null()).spawn().unwrap();
        while !mark.exists() && moving.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        moving.kill().unwrap();
        let ended = moving.wait().unwrap().success();
        match place.moved(&data, &[], &[]) {
            Ok(moved) => assert_eq!(moved["ledgers"], json!([{"ledger": "main", "from": 1, "to": 2}])),
            Err(refused) => assert!(
                ended || refused["detail"].as_str().unwrap().contains("already"),
                "{refused}"
            ),
        }
        assert_eq!(data.refused().code, "key_unavailable", "the old vault is left");
        let server = data.serve_with(&[("OUBLIETTE_VAULT_DIRS", &place.dirs())]);
        let client = server.client();
        assert_eq!(states(&client), ["clear", "clear"], "{}", mark.display());
        let changed = payloads(&client, "epoch.changed");
        assert_eq!(changed.len(), 1, "{changed:?}");
        assert_eq!(changed[0]["vault"], json!({"from": "file", "to": "file"}));
        assert_eq!((&changed[0]["from"], &changed[0]["to"]), (&json!(1), &json!(2)));
        append_two(&client);
        assert_eq!(states(&client).len(), 4);
        server.stop();
    }
}

#[test]
fn where_the_vault_is_told_whatever_the_working_directory() {
    let data = Data::new();
    let place = Place::new(&data, "new");
    let relative = Place(["a", "b"].map(|mirror| Path::new("new").join(mirror)).to_vec());
    let mut command = relative.command(&data, &[], &[]);
    let output = command.current_dir(data.path().parent().unwrap()).output().unwrap();
    let moved: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(moved["vault_dirs"], json!(place.0), "{moved}");
    assert_eq!(moved["vault_shares_device"], true);
    data.serve_with(&[("OUBLIETTE_VAULT_DIRS", &place.dirs())]).stop();
}

#[test]
fn erased_stays_erased_into_a_token_and_out_of_it_again() {
    let (data, token) = (Data::new(), SoftToken::new());
    let root = data.path().parent().unwrap().to_str().unwrap().to_owned();
    let server = data.serve_with(&[("OUBLIETTE_BACKUP_DIR", &root)]);
    let client = server.client();
    append_two(&client);
    let handle = |client: &Client| {
        let found = client.post("subjects/lookup", &json!({"subject": "bob"}));
        found.json()["handle"].clone()
    };
    let bob = handle(&client);
    let backup = Path::new(&root).join("backup");
    let started = client.post("/v1/backups", &json!({"to": backup})).expect(202);
    let path = format!("/v1/backups/{}", started["id"].as_str().unwrap());
    eventually("the backup ends", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    let erase = json!({"subjects": ["ada"], "basis": "other", "reason": "request"});
    let erasure = client.post("erasures", &erase).expect(202);
    assert!(
        erasure["epoch_key_due_at"].is_string(),
        "a backup keeps the key: {erasure}"
    );
    let erasure = format!("erasures/{}", erasure["id"].as_str().unwrap());
    server.stop();

    let pin_file = token.environment()[4].1.to_owned();
    let to_token = [
        "--to-kind",
        "pkcs11",
        "--to-module",
        module(),
        "--to-token",
        LABEL,
        "--to-pin-file",
        &pin_file,
    ];
    let place = Place::new(&data, "beside-the-token");
    let refused = place.moved(&data, &to_token, &[token.found_by()]).unwrap_err();
    assert_eq!(refused["code"], "backups_would_expire");
    let refused = place.moved(&data, &to_token[..2], &[token.found_by()]).unwrap_err();
    assert_eq!(refused["code"], "invalid_configuration", "{refused}");
    let forget = [&to_token[..], &["--forget-backups"]].concat();
    let moved = place.moved(&data, &forget, &[token.found_by()]).unwrap();
    assert_eq!((&moved["from"], &moved["to"]), (&json!("file"), &json!("pkcs11")));

    let dirs = place.dirs();
    let more = [
        ("OUBLIETTE_VAULT_DIRS", dirs.as_str()),
        ("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "0"),
    ];
    let settings = [&token.environment()[..], &more].concat();
    assert_eq!(data.refused_with(&token.environment()).code, "key_unavailable");
    let server = data.serve_with(&settings);
    let client = server.client();
    assert_eq!(states(&client), ["erased", "clear"]);
    assert_eq!(handle(&client), bob);
    let again = json!({"type": "t", "personal": [{"subject": "ada", "data": 1}]});
    let refused = client.post("streams/s/events", &json!({"events": [again]}));
    assert_eq!(
        refused.json()["code"],
        "subject_erased",
        "her suppression row is found: {refused:?}"
    );
    let destroyed = payloads(&client, "epoch.destroyed");
    assert_eq!(
        destroyed.len(),
        1,
        "the retired key went with the old vault: {destroyed:?}"
    );
    assert_eq!(destroyed[0]["epoch"], 1);
    eventually("nothing is pending", || {
        client.get(&erasure).expect(200)["state"] == "final"
    });
    server.stop();
    // What the manifest's epoch hangs under is gone, whatever the vault's folders say.
    let restore = Command::new(OUBLIETTE)
        .args(["restore", "--json", "--drill", "--from"])
        .arg(&backup)
        .envs(settings.iter().copied())
        .output()
        .unwrap();
    let said: Value = serde_json::from_slice(&restore.stdout).unwrap();
    assert_eq!(said["code"], "backup_expired", "{said}");

    let place = Place::new(&data, "files-again");
    let moved = place.moved(&data, &[], &settings).unwrap();
    assert_eq!((&moved["from"], &moved["to"]), (&json!("pkcs11"), &json!("file")));
    let server = data.serve_with(&[("OUBLIETTE_VAULT_DIRS", &place.dirs())]);
    let client = server.client();
    assert_eq!(states(&client), ["erased", "clear"]);
    assert_eq!(handle(&client), bob);
    assert_eq!(payloads(&client, "epoch.changed").len(), 2);
    let erase = json!({"subjects": ["bob"], "basis": "other", "reason": "request"});
    let erasure = client.post("erasures", &erase).expect(202);
    assert!(
        erasure["epoch_key_due_at"].is_null(),
        "no backup was taken since: {erasure}"
    );
    assert_eq!(states(&client), ["erased", "erased"]);
    server.stop();
}
