//! The chapter on backups: taken before the erasure, put back after it.

use std::path::Path;

use super::excerpt::first_lines;
use super::stage::Line;
use super::tour::{Tour, opened};
use crate::cli::failure::{Exit, Failure};

/// Where vault and keys of the restored ledger lie.
const SETTINGS: &str = "vault_dirs = [\"elsewhere/vault/a\", \"elsewhere/vault/b\"]\nkeys_dir = \"elsewhere/keys\"\n";

impl Tour {
    /// Before the erasure.
    pub(super) fn back_up(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "A backup, from when everybody could still be read",
            "   Events and the keys of people, but neither the vault nor a signing key.",
        );
        let arguments = ["backup", "--data", "data", "--to", "backup"];
        self.run(&arguments, |out| first_lines(out, 1))
    }

    /// After it.
    pub(super) fn put_back(&mut self) -> Result<(), Failure> {
        self.stage.chapter(
            "And if somebody puts the old backup back?",
            "   It is older than what the vault remembers: that must be said, and auditors will see it. So that the tour's own\n   \
             ledger stays as it is, this happens beside it, with copies of its vault and its keys as they are now.",
        );
        for part in ["vault", "keys"] {
            let (from, to) = (
                self.stage.path("data").join(part),
                self.stage.path("elsewhere").join(part),
            );
            copy(&from, &to).map_err(|error| Failure::file(&to, &error))?;
        }
        self.write("elsewhere.toml", SETTINGS.as_bytes())?;
        let restore = [
            "restore",
            "--config",
            "elsewhere.toml",
            "--from",
            "backup",
            "--data",
            "restored",
        ];
        self.stage.expect(Exit::Io as i32, &line(&restore), |_| {
            "(refused: events that the vault remembers would be lost)".into()
        })?;
        let accepted = [&restore[..], &["--accept-rollback"]].concat();
        self.run(&accepted, restored)?;
        self.stage
            .say("   The person is still erased: the backup has the keys, but the vault's journal does not let them be lent.");
        let question = opened("restored", &["--config", "elsewhere.toml", "--ledger", "main-r1"]);
        self.ask_for(&line(&question), "erased")?;
        self.stage.say("   Everybody else opens:");
        self.ask_for(&line(&question), "clear")?;
        self.check_certificate()
    }

    fn run(&mut self, arguments: &[&str], keep: impl Fn(&str) -> String) -> Result<(), Failure> {
        self.stage.expect(0, &line(arguments), keep).map(drop)
    }
}

/// What was restored, and what was lost.
fn restored(out: &str) -> String {
    let matters = |line: &&str| {
        line.starts_with("Restored") || line.starts_with("Rolled back") || line.contains("on record again")
    };
    out.lines().filter(matters).collect::<Vec<_>>().join("\n")
}

fn line<'a>(arguments: &'a [&'a str]) -> Line<'a> {
    Line {
        program: "oubliette",
        arguments,
        stdin: None,
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    std::fs::set_permissions(to, std::fs::metadata(from)?.permissions())?;
    for entry in std::fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            std::fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
