//! A vault in a hardware security module: SoftHSM2 over PKCS#11, from `init` to an erasure, through restarts, without its
//! token and with a wrong PIN.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{Data, copy_folder, eventually, files};

const PIN: &str = "4711-user-pin";
const LABEL: &str = "oubliette test";

/// A token of its own.
pub(crate) struct Hsm {
    folder: tempfile::TempDir,
    module: String,
    settings: String,
    pin_file: String,
}

impl Hsm {
    pub(crate) fn new() -> Self {
        let module = [
            "/usr/lib/softhsm/libsofthsm2.so",
            "/usr/lib64/softhsm/libsofthsm2.so",
            "/usr/local/lib/softhsm/libsofthsm2.so",
        ];
        let module = module.into_iter().find(|path| Path::new(path).exists());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (settings, pin_file) = (path("softhsm2.conf"), path("pin"));
        std::fs::create_dir(path("tokens")).unwrap();
        std::fs::write(&settings, format!("directories.tokendir = {}\n", path("tokens"))).unwrap();
        std::fs::write(&pin_file, format!("{PIN}\n")).unwrap();
        let made = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                LABEL,
                "--so-pin",
                "so-pin",
                "--pin",
                PIN,
            ])
            .env("SOFTHSM2_CONF", &settings)
            .output()
            .expect("SoftHSM2 is missing; `make test` installs it (Debian: softhsm2)");
        assert!(made.status.success(), "{made:?}");
        Self {
            module: module.expect("the module of SoftHSM2").to_owned(),
            folder,
            settings,
            pin_file,
        }
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.folder.path().join("tokens")
    }

    pub(crate) fn environment(&self) -> [(&str, &str); 5] {
        [
            ("SOFTHSM2_CONF", &self.settings),
            ("OUBLIETTE_VAULT_KIND", "pkcs11"),
            ("OUBLIETTE_VAULT_MODULE", &self.module),
            ("OUBLIETTE_VAULT_TOKEN", LABEL),
            ("OUBLIETTE_VAULT_PIN_FILE", &self.pin_file),
        ]
    }
}

#[test]
fn a_ledger_lives_on_a_token_through_restarts_and_an_erasure() {
    let hsm = Hsm::new();
    let data = Data::made_with(&hsm.environment());
    let server = data.serve_with(&hsm.environment());
    let client = server.client();
    for subject in ["ada", "bob"] {
        let event = json!({"type": "t", "personal": [{"subject": subject, "data": {"name": "Ada Example"}}]});
        client.append("s", event);
    }
    let states = |client: &crate::support::Client| {
        let page = client.get("streams/s/events?reveal=true").expect(200);
        let events = page["events"].as_array().unwrap();
        events
            .iter()
            .map(|event| event["personal"][0]["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&client), ["clear", "clear"]);
    server.kill();

    let server = data.serve_with(&hsm.environment());
    let client = server.client();
    assert_eq!(
        states(&client),
        ["clear", "clear"],
        "the keys outlive a process that was killed"
    );
    let erase = json!({"subjects": ["ada"], "basis": "other", "reason": "request"});
    let erasure = client.post("erasures", &erase).expect(202);
    let path = format!("erasures/{}", erasure["id"].as_str().unwrap());
    eventually("it is completed", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    server.stop();

    let server = data.serve_with(&hsm.environment());
    assert_eq!(states(&server.client()), ["erased", "clear"]);
    server.stop();
    for file in files(&data.path()).into_iter().filter(|file| file.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        assert!(
            !bytes.windows(PIN.len()).any(|window| window == PIN.as_bytes()),
            "{}",
            file.display()
        );
    }
    assert!(!data.log().contains(PIN));
}

#[test]
fn without_its_token_or_with_a_wrong_pin_nothing_is_served() {
    let hsm = Hsm::new();
    let data = Data::made_with(&hsm.environment());
    let refused = |environment: &[(&str, &str)], words: &str| {
        let refused = data.refused_with(environment);
        assert_eq!(
            (refused.exit, refused.code.as_str()),
            (Some(3), "key_unavailable"),
            "{}",
            refused.log
        );
        assert!(refused.log.contains(words), "{}", refused.log);
        assert!(!refused.log.contains("a-wrong-pin"), "{}", refused.log);
    };
    refused(&[], "vault_kind = \\\"pkcs11\\\"");
    let mut other = hsm.environment();
    other[3].1 = "another token";
    refused(&other, "another token");
    let wrong = hsm.folder.path().join("wrong").to_str().unwrap().to_owned();
    std::fs::write(&wrong, "a-wrong-pin").unwrap();
    let mut other = hsm.environment();
    other[4].1 = &wrong;
    refused(&other, "cannot log in");
    let mut other = hsm.environment();
    other[2].1 = "/nowhere/module.so";
    refused(&other, "/nowhere/module.so");
    std::fs::rename(hsm.tokens(), hsm.folder.path().join("away")).unwrap();
    std::fs::create_dir(hsm.tokens()).unwrap();
    refused(&hsm.environment(), LABEL);
    std::fs::remove_dir(hsm.tokens()).unwrap();
    std::fs::rename(hsm.folder.path().join("away"), hsm.tokens()).unwrap();
    data.serve_with(&hsm.environment()).stop();
}

#[test]
fn an_erasure_waits_for_an_hsm_that_is_away_and_goes_on_when_it_is_back() {
    let hsm = Hsm::new();
    let data = Data::made_with(&hsm.environment());
    let server = data.serve_with(&hsm.environment());
    let client = server.client();
    client.append("s", json!({"type": "t", "personal": [{"subject": "ada", "data": 1}]}));
    let away = hsm.folder.path().join("away");
    std::fs::rename(hsm.tokens(), &away).unwrap();
    let erase = json!({"subjects": ["ada"], "basis": "other", "reason": "request"});
    let refused = client.post("erasures", &erase);
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["code"], "key_unavailable");
    let listed = client.get("erasures").expect(200);
    assert_eq!(
        listed["erasures"][0]["state"], "erasing",
        "it stands in the ledger, and is seen to wait"
    );
    let read = client.get("streams/s/events?reveal=true").expect(200);
    assert_eq!(
        read["events"][0]["personal"][0]["state"], "erasing",
        "fenced all the same"
    );
    client.append("s", json!({"type": "t"}));
    std::fs::rename(&away, hsm.tokens()).unwrap();
    eventually("the erasure is completed", || {
        client.get("erasures").expect(200)["erasures"][0]["state"] == "completed"
    });
    server.stop();
    let server = data.serve_with(&hsm.environment());
    let read = server.client().get("streams/s/events?reveal=true").expect(200);
    assert_eq!(read["events"][0]["personal"][0]["state"], "erased");
}

#[test]
fn an_older_copy_of_the_folders_is_refused_and_costs_no_key() {
    let hsm = Hsm::new();
    let data = Data::made_with(&hsm.environment());
    let server = data.serve_with(&hsm.environment());
    server
        .client()
        .append("s", json!({"type": "t", "personal": [{"subject": "ada", "data": 1}]}));
    server.stop();
    let vault = data.path().join("vault");
    let aside = |name: &str| hsm.folder.path().join(name);
    copy_folder(&vault, &aside("older"));
    let server = data.serve_with(&hsm.environment());
    server.client().send("POST", "epochs", &[], b"").expect(201);
    server.stop();
    let refused = || {
        let refused = data.refused_with(&hsm.environment());
        assert_eq!(
            (refused.exit, refused.code.as_str()),
            (Some(3), "key_unavailable"),
            "{}",
            refused.log
        );
    };
    std::fs::rename(&vault, aside("right")).unwrap();
    copy_folder(&aside("older"), &vault);
    refused();
    // One older mirror, the other away.
    std::fs::remove_dir_all(vault.join("b")).unwrap();
    refused();
    std::fs::remove_dir_all(&vault).unwrap();
    std::fs::rename(aside("right"), &vault).unwrap();
    let server = data.serve_with(&hsm.environment());
    let read = server.client().get("streams/s/events?reveal=true").expect(200);
    assert_eq!(read["events"][0]["personal"][0]["state"], "clear");
    server.stop();
}

#[test]
fn a_backup_is_drilled_and_restored_with_the_keys_on_the_token() {
    let hsm = Hsm::new();
    let data = Data::made_with(&hsm.environment());
    let beside = |name: &str| data.path().parent().unwrap().join(name);
    let root = data.path().parent().unwrap().to_str().unwrap().to_owned();
    let server = data.serve_with(&[&hsm.environment()[..], &[("OUBLIETTE_BACKUP_DIR", root.as_str())]].concat());
    let client = server.client();
    for subject in ["ada", "bob"] {
        let event = json!({"type": "t", "personal": [{"subject": subject, "data": subject}]});
        client.append("s", event);
    }
    let started = client.post("/v1/backups", &json!({"to": beside("backup")})).expect(202);
    let path = format!("/v1/backups/{}", started["id"].as_str().unwrap());
    eventually("the backup ends", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    let erase = json!({"subjects": ["ada"], "basis": "other", "reason": "request"});
    client.post("erasures", &erase).expect(202);
    // The drill reads the vault and the token beside the server that has both open.
    let restore = |arguments: &[&str], paths: &[(&str, PathBuf)]| {
        let mut restore = Command::new(env!("CARGO_BIN_EXE_oubliette"));
        restore
            .args(["restore", "--json"])
            .args(arguments)
            .envs(hsm.environment());
        for (flag, path) in paths {
            restore.arg(flag).arg(path);
        }
        let output = restore.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let from = [("--from", beside("backup")), ("--vault", data.path().join("vault"))];
    let drilled = restore(&["--drill"], &from);
    let sample = &drilled["ledgers"][0]["sample"];
    assert_eq!(
        (&drilled["proven"], &sample["opened"], &sample["erased"]),
        (&json!(true), &json!(1), &json!(1)),
        "{drilled}"
    );
    server.stop();
    let place = data.elsewhere();
    let to = [("--data", place.path()), ("--keys", data.path().join("keys"))];
    restore(&["--accept-rollback", "--keep-api-keys"], &[from, to].concat());
    let (vault, keys) = (data.path().join("vault"), data.path().join("keys"));
    let (vault, keys) = (
        format!("[{:?}, {:?}]", vault.join("a"), vault.join("b")),
        keys.display().to_string(),
    );
    let places = [
        ("OUBLIETTE_VAULT_DIRS", vault.as_str()),
        ("OUBLIETTE_KEYS_DIR", keys.as_str()),
    ];
    let server = place.serve_with(&[&hsm.environment()[..], &places].concat());
    let read = server
        .client()
        .get("/v1/ledgers/main-r1/streams/s/events?reveal=true")
        .expect(200);
    let states: Vec<_> = read["events"].as_array().unwrap().iter().collect();
    let states: Vec<_> = states.iter().map(|event| &event["personal"][0]["state"]).collect();
    assert_eq!(states, [&json!("erased"), &json!("clear")]);
}
