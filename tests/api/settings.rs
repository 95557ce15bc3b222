//! Settings: checked before anything is served, documented from the code, completed in shells.

use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Data, OUBLIETTE, run};

fn check(data: &Data, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(OUBLIETTE)
        .args(["serve", "--check-config", "--data"])
        .arg(data.path())
        .args(arguments)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_good_configuration_is_shown_also_while_it_is_served() {
    let data = Data::new();
    let _server = data.serve();
    let shown = check(&data, &["--json"], &[("OUBLIETTE_RATE_LIMIT", "50")]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(shown["rate_limit"], 50);
    assert_eq!(shown["keystore_dir"], data.path().join("keystore").to_str().unwrap());
    let words = text(&check(&data, &[], &[]).stdout);
    assert!(words.starts_with("The configuration is valid.\n"), "{words}");
    assert!(words.contains("header_timeout_seconds = 10\n"), "{words}");
}

#[test]
fn a_bad_setting_is_named_with_its_mend() {
    let data = Data::new();
    let file = data.path().with_file_name("settings.toml");
    let file = file.to_str().unwrap();
    for (toml, arguments, parts) in [
        (
            "queue_event = 3\n",
            &[][..],
            &["`queue_event`", "did you mean `queue_events`", "settings.toml"][..],
        ),
        ("rate_limit = \"many\"\n", &[], &["rate_limit", "settings.toml"]),
        ("log = \"oubliette=loud\"\n", &[], &["log: ", "level"]),
        ("log = \"loud\"\n", &[], &["log: ", "level"]),
        ("keep_alive_seconds = 0\n", &[], &["keep_alive_seconds", "1 to 86400"]),
        ("max_connections = 0\n", &[], &["max_connections", "at least 1"]),
        (
            "max_connections = 1000000000000\n",
            &[],
            &["max_connections", "open files", "at most"],
        ),
        ("", &["--listen", "0.0.0.0:0"], &["0.0.0.0:0", "tls_certificate"]),
        ("tls_key = \"k.pem\"\n", &[], &["tls_certificate", "is missing"]),
        ("keystore_dir = \"/nowhere/else\"\n", &[], &["/nowhere/else"]),
    ] {
        std::fs::write(file, toml).unwrap();
        let arguments = [&["--config", file], arguments].concat();
        let refused = check(&data, &arguments, &[]);
        let words = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{toml}: {words}");
        for part in parts {
            assert!(words.contains(part), "{toml}: {words}");
        }
    }
    let unknown = check(&data, &[], &[("OUBLIETTE_RATELIMIT", "3")]);
    assert_eq!(unknown.status.code(), Some(2));
    let words = text(&unknown.stderr);
    assert!(
        words.contains("environment") && words.contains("`rate_limit`"),
        "{words}"
    );
    let nowhere = run(&["serve", "--check-config", "--data", "/nowhere/at/all"]);
    assert_eq!(nowhere.status.code(), Some(2));
    assert!(text(&nowhere.stderr).contains("error[not_a_data_dir]"));
}

#[test]
fn the_configuration_reference_is_current() {
    let made = run(&["config-reference"]);
    assert!(made.status.success());
    assert_eq!(
        text(&made.stdout),
        include_str!("../../docs/configuration.md"),
        "make it anew: oubliette config-reference > docs/configuration.md"
    );
}

#[test]
fn shells_get_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]);
        assert!(script.status.success());
        let script = text(&script.stdout);
        for word in ["check-config", "client-cert", "api-key"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
    }
    let bash = Command::new("bash")
        .args([
            "-c",
            "source <(\"$0\" completions bash) && complete -p oubliette",
            OUBLIETTE,
        ])
        .output()
        .unwrap();
    assert!(bash.status.success(), "{}", text(&bash.stderr));
    assert_eq!(run(&["completions", "dos"]).status.code(), Some(2));
}

#[test]
fn values_are_checked_for_a_command_on_a_directory_too() {
    let data = Data::new();
    let append = |environment: (&str, &str)| {
        Command::new(OUBLIETTE)
            .args(["append", "--stream", "s", "--type", "t", "--data"])
            .arg(data.path())
            .envs([environment])
            .output()
            .unwrap()
    };
    for (name, word) in [
        ("OUBLIETTE_MAX_CONNECTIONS", "max_connections"),
        ("OUBLIETTE_BODY_TIMEOUT_SECONDS", "body_timeout_seconds"),
    ] {
        let value = if word == "max_connections" {
            "0"
        } else {
            "18446744073709551615"
        };
        let refused = append((name, value));
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(word), "{}", text(&refused.stderr));
    }
    // Where a server would listen is nothing to such a command.
    assert_eq!(append(("OUBLIETTE_LISTEN", "0.0.0.0:80")).status.code(), Some(0));
}

#[test]
fn a_missing_mirror_is_told_and_no_mirror_is_refused() {
    let data = Data::new();
    std::fs::rename(data.path().join("vault/b"), data.path().join("away")).unwrap();
    let told = check(&data, &[], &[]);
    assert_eq!(told.status.code(), Some(0), "{}", text(&told.stderr));
    assert!(text(&told.stderr).contains("vault/b"), "{}", text(&told.stderr));
    data.serve().stop();
    std::fs::rename(data.path().join("vault/a"), data.path().join("away-too")).unwrap();
    let refused = check(&data, &[], &[]);
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
}
