//! `oubliette backup`: a copy of the ledgers' store and of the key store, taken while both are in use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::target::Target;

/// How often a running backup is asked for.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Between looks, once it takes longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Back up ledgers and key store, while they are in use. Never the vault, never signing keys.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  oubliette backup --data D --to /backup/2026-11-21
  oubliette backup --url URL --to 2026-11-21 --keystore-to keys/2026-11-21
  oubliette backup list --url URL

With --url the folders are the server's, under its setting backup_dir."
)]
pub(super) struct Backup {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    target: Target,
    /// A new or empty folder for the backup.
    #[arg(long, value_name = "DIR", required = true)]
    to: Option<PathBuf>,
    /// Another new or empty folder for the key store's part, so that the two lie apart.
    #[arg(long, value_name = "DIR")]
    keystore_to: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the backups that the store knows of, and when the keys in them die.
    List(List),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Deserialize)]
struct View {
    id: String,
    state: String,
    started_at: String,
    to: String,
    keystore_to: String,
    files: u64,
    bytes: u64,
    attempts: u32,
    error: Option<String>,
    ledgers: Vec<Ledger>,
}

#[derive(Deserialize)]
struct Ledger {
    ledger: String,
    epoch: u32,
    tree_size: Option<u64>,
    epoch_dies_at: Option<String>,
    expired: bool,
}

#[derive(Deserialize)]
struct Page {
    backups: Vec<View>,
}

impl Backup {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match (self.command, self.to) {
            (Some(Command::List(list)), _) => list.run(context)?,
            (None, Some(to)) => make(context, &self.target, &to, self.keystore_to.as_deref())?,
            (None, None) => return Err(Failure::usage("say where the backup goes: --to DIR")),
        }
        Ok(Exit::Fine)
    }
}

fn make(context: &Context, target: &Target, to: &Path, keystore_to: Option<&Path>) -> Result<(), Failure> {
    let is_remote = target.url().is_some();
    let place = |path: &Path| -> Result<PathBuf, Failure> {
        if is_remote {
            return Ok(path.to_owned());
        }
        std::path::absolute(path).map_err(|error| Failure::file(path, &error))
    };
    let request = json!({"to": place(to)?, "keystore_to": keystore_to.map(place).transpose()?});
    let session = target.open(context)?;
    let started: View = session.client.post("/v1/backups", &[], &request)?.parse()?;
    let path = format!("/v1/backups/{}", started.id);
    let mut pause = FIRST_PAUSE;
    let done = loop {
        let answer = session.client.get(&path, &[])?;
        let view: View = answer.parse()?;
        if view.state != "running" {
            break (view, answer);
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    };
    let (view, answer) = done;
    if view.state != "completed" {
        let detail = view.error.unwrap_or_else(|| format!("the backup is {}", view.state));
        return Err(Failure::new(Exit::Io, "backup_failed", detail));
    }
    context.print_raw(&answer.text, || words(&view))
}

fn words(view: &View) -> String {
    let apart = if view.keystore_to == view.to {
        String::new()
    } else {
        format!(" and {}", view.keystore_to)
    };
    let ledgers = view.ledgers.iter().map(|ledger| {
        let events = ledger.tree_size.unwrap_or_default();
        format!(
            "\n  {}: {events} events, keys under epoch {}",
            ledger.ledger, ledger.epoch
        )
    });
    let again = if view.attempts > 1 {
        format!(", at attempt {}", view.attempts)
    } else {
        String::new()
    };
    format!(
        "Backed up to {}{apart}: {} files, {} bytes{again}.{}\n\nVault and signing keys are not in it; they are mirrored on their \
         own (docs/operations.md).\nNext: oubliette restore --drill --from {} --vault VAULT",
        view.to,
        view.files,
        view.bytes,
        ledgers.collect::<String>(),
        view.to
    )
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.target.open(context)?;
        let answer = session.client.get("/v1/backups", &[("limit", "1000")])?;
        let page: Page = answer.parse()?;
        context.print_raw(&answer.text, || {
            let row = |view: View| {
                let dies = |ledger: &Ledger| match (ledger.expired, &ledger.epoch_dies_at) {
                    (true, _) => format!("{}: expired", ledger.ledger),
                    (false, Some(at)) => format!("{}: {at}", ledger.ledger),
                    (false, None) => format!("{}: epoch {} in use", ledger.ledger, ledger.epoch),
                };
                let keys: Vec<_> = view.ledgers.iter().map(dies).collect();
                [view.id, view.started_at, view.state, view.to, keys.join(", ")]
            };
            table(
                ["id", "begun at", "state", "where", "keys die"],
                page.backups.into_iter().map(row),
            )
        })
    }
}
