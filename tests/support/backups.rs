//! Backups and where they are put back.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::people::{opened, sealed};
use super::{Client, Data, Refused, Server, eventually, run};

/// A folder beside the data directory, for backups.
pub(crate) fn beside(data: &Data, name: &str) -> PathBuf {
    data.path().parent().unwrap().join(name)
}

/// Backs up through a running server, to its end.
pub(crate) fn back_up(client: &Client, to: &Path) -> Value {
    back_up_as(client, &json!({ "to": to }))
}

/// As [`back_up`], with a request of the caller's.
pub(crate) fn back_up_as(client: &Client, request: &Value) -> Value {
    let started = client.post("/v1/backups", request).expect(202);
    let path = format!("/v1/backups/{}", started["id"].as_str().unwrap());
    let mut view = Value::Null;
    eventually("the backup ends", || {
        view = client.get(&path).expect(200);
        view["state"] != "running"
    });
    view
}

/// A server that may write backups beside its directory.
pub(crate) fn serve(data: &Data) -> Server {
    let root = data.path().parent().unwrap().to_owned();
    data.serve_with(&[("OUBLIETTE_BACKUP_DIR", root.to_str().unwrap())])
}

/// Runs `restore` and gives its exit code and its document.
pub(crate) fn restore(arguments: &[&str], paths: &[(&str, &Path)]) -> (i32, Value) {
    let mut all = vec!["restore", "--json"];
    all.extend(arguments);
    if !arguments.contains(&"--drill") {
        all.push("--keep-api-keys");
    }
    for (flag, path) in paths {
        all.extend([*flag, path.to_str().unwrap()]);
    }
    let output = run(&all);
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| {
        panic!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    (output.status.code().unwrap(), said)
}

/// Tries a backup with the vault of a data directory, without putting it back.
pub(crate) fn drill(data: &Data, from: &Path) -> (i32, Value) {
    restore(
        &["--drill"],
        &[("--from", from), ("--vault", &data.path().join("vault"))],
    )
}

/// Where a data directory was put back: its own stores, and the vault and keys of the old one.
pub(crate) struct Place {
    pub(crate) data: Data,
    pub(crate) environment: Vec<(&'static str, String)>,
}

impl Place {
    /// Puts a backup back beside the old directory.
    pub(crate) fn restored(data: &Data, from: &Path, arguments: &[&str]) -> (Self, Value) {
        let place = Self::of(data);
        let (exit, said) = place.restore(data, from, arguments);
        assert_eq!(exit, 0, "{said}");
        (place, said)
    }

    pub(crate) fn of(data: &Data) -> Self {
        let vault = data.path().join("vault");
        let vault = format!("[{:?}, {:?}]", vault.join("a"), vault.join("b"));
        let environment = vec![
            ("OUBLIETTE_VAULT_DIRS", vault),
            ("OUBLIETTE_KEYS_DIR", data.path().join("keys").display().to_string()),
            (
                "OUBLIETTE_BACKUP_DIR",
                data.path().parent().unwrap().display().to_string(),
            ),
        ];
        Self {
            data: data.elsewhere(),
            environment,
        }
    }

    /// As [`Place::of`], in a folder beside the old directory.
    pub(crate) fn within(data: &Data, name: &str) -> Self {
        Self {
            data: data.beside(name),
            ..Self::of(data)
        }
    }

    /// The command line that puts a backup back here.
    pub(crate) fn arguments(&self, data: &Data, from: &Path, arguments: &[&str]) -> Vec<std::ffi::OsString> {
        let mut all: Vec<_> = ["restore", "--json", "--keep-api-keys"].map(Into::into).to_vec();
        all.extend(arguments.iter().map(Into::into));
        for (flag, path) in [
            ("--from", from.to_owned()),
            ("--data", self.data.path()),
            ("--vault", data.path().join("vault")),
            ("--keys", data.path().join("keys")),
        ] {
            all.extend([flag.into(), path.into()]);
        }
        all
    }

    pub(crate) fn try_serve(&self) -> Result<Server, Refused> {
        self.data.try_serve_with(&self.variables())
    }

    pub(crate) fn restore(&self, data: &Data, from: &Path, arguments: &[&str]) -> (i32, Value) {
        let target = self.data.path();
        let (vault, keys) = (data.path().join("vault"), data.path().join("keys"));
        restore(
            arguments,
            &[
                ("--from", from),
                ("--data", &target),
                ("--vault", &vault),
                ("--keys", &keys),
            ],
        )
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        let pairs = self.environment.iter();
        pairs.map(|(name, value)| (*name, value.as_str())).collect()
    }

    pub(crate) fn serve(&self) -> Server {
        self.data.serve_with(&self.variables())
    }

    pub(crate) fn refused(&self) -> Refused {
        self.data.refused_with(&self.variables())
    }
}

/// A stopped directory with a block each about ada and bob, and a backup of that.
pub(crate) fn two_people_backed_up() -> (Data, PathBuf) {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    // First: opening is recorded, and a backup that lacks it is older than the ledger.
    assert_eq!(opened(&client, "main"), [json!("Ada"), json!("Bob")]);
    let to = beside(&data, "backup");
    assert_eq!(back_up(&client, &to)["state"], "completed");
    server.stop();
    (data, to)
}
