//! Runs the tour's commands for real, in its folder, and shows them as one would type them.

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use crate::cli::failure::{Exit, Failure};
use crate::cli::output;

/// A command of the tour and what came of it.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    title: String,
    command: String,
    exit: i32,
    output: String,
}

/// What a command printed.
pub(super) struct Printed {
    pub(super) exit: i32,
    pub(super) out: String,
}

/// The folder, the programs, and what was shown.
pub(super) struct Stage {
    pub(super) folder: PathBuf,
    pub(super) steps: Vec<Step>,
    /// Why the words could not be shown.
    pub(super) unheard: Cell<Option<Failure>>,
    json: bool,
    title: String,
    number: usize,
}

/// One command: the program's arguments, and standard input if it has any.
pub(super) struct Line<'a> {
    pub(super) program: &'a str,
    pub(super) arguments: &'a [&'a str],
    pub(super) stdin: Option<&'a str>,
}

impl Stage {
    pub(super) fn new(folder: PathBuf, json: bool) -> Self {
        Self {
            folder,
            steps: Vec::new(),
            unheard: Cell::new(None),
            json,
            title: String::new(),
            number: 0,
        }
    }

    /// Begins a chapter.
    pub(super) fn chapter(&mut self, title: &str, words: &str) {
        self.number += 1;
        self.title = title.to_owned();
        self.say(&format!("\n{}. {title}\n{words}\n", self.number));
    }

    pub(super) fn say(&self, words: &str) {
        if !self.json
            && let Err(failure) = output::say(words)
        {
            self.unheard.set(Some(failure));
        }
    }

    /// Runs a command, shows it, and shows the lines of its output that `keep` chooses.
    pub(super) fn run(&mut self, line: &Line<'_>, keep: impl Fn(&str) -> String) -> Result<Printed, Failure> {
        let shown = shown(line);
        self.say(&format!("   $ {shown}"));
        let printed = self.quietly(line)?;
        let kept = keep(&printed.out);
        kept.lines().for_each(|line| self.say(&format!("     {line}")));
        let (title, exit) = (self.title.clone(), printed.exit);
        self.steps.push(Step {
            title,
            command: shown,
            exit,
            output: kept,
        });
        Ok(printed)
    }

    /// Runs a command and shows nothing.
    pub(super) fn quietly(&self, line: &Line<'_>) -> Result<Printed, Failure> {
        let broken =
            |error: std::io::Error| Failure::new(Exit::Io, "demo_failed", format!("{}: {error}", line.program));
        let mut command = Command::new(program(line.program).map_err(broken)?);
        command
            .args(line.arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped());
        // The tour is about its own ledger, whatever the environment says.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OUBLIETTE_")) {
            command.env_remove(name);
        }
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(broken)?;
        if let (Some(text), Some(stdin)) = (line.stdin, child.stdin.as_mut()) {
            stdin.write_all(text.as_bytes()).map_err(broken)?;
        }
        let output = child.wait_with_output().map_err(broken)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        Ok(Printed {
            exit: output.status.code().unwrap_or(-1),
            out: if out.is_empty() { err } else { out },
        })
    }

    /// Runs a command that must end as expected.
    pub(super) fn expect(
        &mut self,
        exit: i32,
        line: &Line<'_>,
        keep: impl Fn(&str) -> String,
    ) -> Result<Printed, Failure> {
        let printed = self.run(line, keep)?;
        if printed.exit == exit {
            return Ok(printed);
        }
        let detail = format!(
            "`{}` ended with {} instead of {exit}: {}",
            shown(line),
            printed.exit,
            printed.out
        );
        Err(Failure::new(Exit::Io, "demo_failed", detail))
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// This program, or the verifier beside it.
fn program(name: &str) -> std::io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    Ok(if name == "oubliette" {
        own
    } else {
        own.with_file_name(name)
    })
}

/// Whether the offline verifier lies beside this program.
pub(super) fn has_verifier() -> bool {
    program("oubliette-verify").is_ok_and(|path| Path::is_file(&path))
}

/// As one would type it.
fn shown(line: &Line<'_>) -> String {
    let quoted = |argument: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,".contains(c);
        if argument.chars().all(plain) {
            (*argument).to_owned()
        } else {
            format!("'{argument}'")
        }
    };
    let arguments: Vec<_> = line.arguments.iter().map(quoted).collect();
    let input = line
        .stdin
        .map(|text| format!("printf '%s\\n' '{}' | ", text.trim_end()))
        .unwrap_or_default();
    format!("{input}{} {}", line.program, arguments.join(" "))
}
