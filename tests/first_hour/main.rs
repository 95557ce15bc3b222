//! What somebody meets in the first hour: the commands in the pages, run; and what the server is installed with.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod commands;
mod container;
mod install;
mod pages;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// The program under test.
const OUBLIETTE: &str = env!("CARGO_BIN_EXE_oubliette");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The program, without settings of whoever runs the tests.
fn oubliette(arguments: &[&str]) -> Command {
    let mut command = Command::new(OUBLIETTE);
    command.args(arguments);
    forget_settings(&mut command);
    command
}

fn forget_settings(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let own = name.to_str().is_some_and(|name| name.starts_with("OUBLIETTE_"));
        let proxy = name
            .to_str()
            .is_some_and(|name| name.to_lowercase().ends_with("_proxy"));
        if own || proxy {
            command.env_remove(name);
        }
    }
}

/// Standard output of a run that must succeed.
fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Both outputs.
fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Whether a tool is installed.
fn has(tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        skipped(&format!("{tool} is not installed; what it checks"));
    }
    found
}

/// Says so past the test runner, which keeps what tests that pass print.
fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what} was NOT checked");
}
