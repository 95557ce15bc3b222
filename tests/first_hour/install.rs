//! The unit, its folders and settings, the package's parts: they agree with each other and with the program.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use oubliette::config::Settings;
use serde_json::Value;

use super::{OUBLIETTE, has, oubliette, read, root, succeed};

/// The folders that the package makes.
fn folders() -> Vec<String> {
    read("deploy/oubliette.tmpfile")
        .lines()
        .filter_map(|line| line.strip_prefix("d "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

/// The words of every line `NAME=` of the unit.
fn unit(name: &str) -> Vec<String> {
    read("deploy/oubliette.service")
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .flat_map(str::split_whitespace)
        .map(str::to_owned)
        .collect()
}

/// The sample settings with their folders below another root, made as the package makes them.
fn sample(below: &Path) -> String {
    for folder in folders() {
        std::fs::create_dir_all(below.join(folder.trim_start_matches('/'))).unwrap();
    }
    let moved = format!("\"{}/var/lib/", below.display());
    let file = below.join("oubliette.toml");
    std::fs::write(&file, read("deploy/oubliette.toml").replace("\"/var/lib/", &moved)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_sample_settings_make_and_serve_a_ledger_and_health_tells() {
    let folder = tempfile::tempdir().unwrap();
    let config = sample(folder.path());
    succeed(&mut oubliette(&["init", "--config", &config]));
    // The way back when the admin's key is lost, as docs/operations.md names it.
    succeed(&mut oubliette(&[
        "api-key", "create", "--config", &config, "--name", "ops", "--role", "admin",
    ]));
    let used = succeed(&mut oubliette(&[
        "serve",
        "--check-config",
        "--json",
        "--config",
        &config,
    ]));
    let used: Value = serde_json::from_str(&used).unwrap();
    let vault = used["vault_dirs"].as_array().unwrap();
    for place in [
        &used["ledger_dir"],
        &used["keystore_dir"],
        &used["keys_dir"],
        &vault[0],
        &vault[1],
    ] {
        assert!(
            Path::new(place.as_str().unwrap()).read_dir().unwrap().next().is_some(),
            "{place} is empty"
        );
    }

    let mut server = oubliette(&["serve", "--json", "--listen", "127.0.0.1:0", "--config", &config])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let said: Value = serde_json::from_str(&line).unwrap();
    let url = said["listening"].as_str().unwrap();
    // As the image's health check does: where the settings say, with no flag.
    let listen = url.strip_prefix("http://").unwrap();
    let healthy = oubliette(&["health"]).env("OUBLIETTE_LISTEN", listen).output().unwrap();
    let elsewhere = oubliette(&["health", "--json", "--url", url]).output().unwrap();
    server.kill().unwrap();
    server.wait().unwrap();
    assert_eq!(healthy.status.code(), Some(0), "{}", super::said(&healthy));
    assert_eq!(elsewhere.stdout, b"{\"status\":\"ready\"}\n");
    let gone = oubliette(&["health", "--url", url]).output().unwrap();
    assert_eq!(gone.status.code(), Some(3), "{}", super::said(&gone));
}

#[test]
fn every_setting_in_the_sample_exists_also_those_behind_a_comment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oubliette.toml");
    let sample = read("deploy/oubliette.toml");
    let commented: Vec<&str> = sample
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')))
        .collect();
    assert!(commented.len() >= 4, "{commented:?}");
    for line in commented {
        std::fs::write(&file, line).unwrap();
        Settings::load(Some(&file)).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn unit_folders_and_settings_name_the_same_places() {
    let settings = Settings::load(Some(&root().join("deploy/oubliette.toml"))).unwrap();
    let folders = folders();
    let mut places = vec![settings.data.clone(), settings.keystore_path(), settings.keys_path()];
    places.extend(settings.vault_paths());
    for place in &places {
        let place = place.to_str().unwrap();
        assert!(folders.iter().any(|folder| folder == place), "no folder {place}");
        assert!(unit("RequiresMountsFor").iter().any(|mount| mount == place), "{place}");
        let writable = unit("ReadWritePaths")
            .iter()
            .any(|path| Path::new(place).starts_with(path));
        assert!(writable, "{place} is read-only");
    }
    // Nothing of the key store, the vault or the keys lies in the ledger's folder, nor in another's.
    for place in &places {
        assert!(
            !places.iter().any(|other| other != place && other.starts_with(place)),
            "{place:?}"
        );
    }
    assert!(settings.ledger_path().starts_with(&settings.data));
    let user = unit("User");
    assert!(read("deploy/oubliette.sysusers").contains(&format!("\nu {} ", user[0])));
    let stop: u64 = unit("TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > settings.shutdown_timeout_seconds, "{stop} s to stop");
}

/// What `systemd-analyze verify` says of a unit, and not of others on this machine.
fn faults(unit: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("oubliette.service");
    std::fs::write(&file, unit.replace("=/usr/bin/oubliette ", &format!("={OUBLIETTE} "))).unwrap();
    let mut verify = Command::new("systemd-analyze");
    let said = verify.args(["verify", "--man=no"]).arg(&file).output().unwrap();
    let lines = String::from_utf8(said.stderr).unwrap();
    lines
        .lines()
        .filter(|line| line.contains("oubliette.service"))
        .collect()
}

#[test]
fn the_unit_is_valid_and_hardened() {
    if !has("systemd-analyze") {
        return;
    }
    let text = read("deploy/oubliette.service");
    assert_eq!(faults(&text), "");
    assert_ne!(faults(&text.replace("=strict", "=strictly")), "");
    let security = |file: &Path| {
        let mut analyze = Command::new("systemd-analyze");
        // Exposure at most 1.5 of 10: what is left is the network, which a ledger needs.
        let arguments = ["security", "--no-pager", "--offline=true", "--threshold=15"];
        analyze.args(arguments).arg(file).output().unwrap()
    };
    let hardened = security(&root().join("deploy/oubliette.service"));
    if super::said(&hardened).contains("unrecognized option") {
        super::skipped("this systemd-analyze knows no --offline; exposure");
        return;
    }
    assert!(hardened.status.success(), "{}", super::said(&hardened));
    let folder = tempfile::tempdir().unwrap();
    let soft = folder.path().join("oubliette.service");
    std::fs::write(&soft, text.replace("CapabilityBoundingSet=\n", "")).unwrap();
    assert!(!security(&soft).status.success(), "a unit with every capability passes");
}

#[test]
fn the_files_of_the_package_exist() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut targets = Vec::new();
    for asset in deb["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        targets.push(asset[1].as_str().unwrap().to_owned());
        // These two are made by cargo and by scripts/deb.sh.
        if !source.starts_with("target/") {
            assert!(root().join(source).is_file(), "{source}");
        }
    }
    for program in manifest["bin"].as_array().unwrap() {
        let source = format!("target/release/{}", program["name"].as_str().unwrap());
        assert!(
            deb["assets"]
                .as_array()
                .unwrap()
                .iter()
                .any(|asset| asset[0].as_str() == Some(&source)),
            "{source}"
        );
    }
    // dpkg asks before it replaces what lies in /etc.
    assert!(targets.contains(&"etc/oubliette/oubliette.toml".to_owned()));
}

#[test]
fn completions_and_manual_pages_come_from_the_program() {
    for shell in ["bash", "zsh", "fish"] {
        let script = succeed(&mut oubliette(&["completions", shell]));
        assert!(
            script.contains("check-config") && script.contains("certificate-out"),
            "{shell}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    succeed(oubliette(&["man"]).arg(folder.path()));
    for (page, word) in [
        ("oubliette.1", "append"),
        ("oubliette-serve.1", "check"),
        ("oubliette-api-key-create.1", "role"),
    ] {
        let page = std::fs::read_to_string(folder.path().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(page.contains(".TH ") && page.contains(word), "{page}");
    }
    let nowhere = oubliette(&["man", "/nonexistent"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(3), "{}", super::said(&nowhere));
}

/// The offline verifier's page is written by hand: its program has no more in it than it needs.
#[test]
fn the_verifiers_page_names_its_options() {
    let help = succeed(Command::new(env!("CARGO_BIN_EXE_oubliette-verify")).arg("--help"));
    let page = read("deploy/oubliette-verify.1").replace('\\', "");
    let options = |text: &str| -> std::collections::BTreeSet<String> {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
        words.filter(|word| word.starts_with("--")).map(str::to_owned).collect()
    };
    assert_eq!(options(&help), options(&page));
}
