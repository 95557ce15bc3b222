//! `oubliette retention`: count what is due, erase it, list the runs.

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::people::{rows, word};
use super::target::OnLedger;

/// Run the retention rules of the configuration, or count what is due.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["dry_run", "run", "list"]))]
#[command(after_help = "\
Rules are [[retention]] tables of the server's configuration: name, keep (90d, 7y), and either category or event_type.
Of a category the keys of subjects go whose newest data is older; counts are of subjects. Of an event type the sealed
blocks go that are older, and their keys live: backups of before open them. Counts are of blocks.
With --data they come from --config FILE. A run that is interrupted can be repeated.

Examples:
  oubliette retention --url URL --dry-run
  oubliette retention --data D --config oubliette.toml --run")]
pub(super) struct Retention {
    #[command(flatten)]
    on: OnLedger,
    /// Count what is due, and what holds and restrictions keep. Changes nothing.
    #[arg(long)]
    dry_run: bool,
    /// Erase or remove what is due.
    #[arg(long)]
    run: bool,
    /// List the runs.
    #[arg(long)]
    list: bool,
}

impl Retention {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let session = self.on.open(context)?;
        let path = self.on.path("retention/runs");
        if self.list {
            let answer = session.client.get(&path, &[("limit", "1000")])?;
            let page: Value = answer.parse()?;
            const FIELDS: [&str; 4] = ["id", "state", "started_at", "completed_at"];
            context.print_raw(&answer.text, || table(FIELDS, rows(&page, "runs", FIELDS)))?;
            return Ok(Exit::Fine);
        }
        let bar = context.progress(None, "looking for what is due");
        let answer = session.client.post(&path, &[], &json!({"dry_run": self.dry_run}))?;
        bar.finish_and_clear();
        let view: Value = answer.parse()?;
        const FIELDS: [&str; 9] = [
            "name",
            "category",
            "event_type",
            "keep",
            "due",
            "erased",
            "purged",
            "held",
            "restricted",
        ];
        context.print_raw(&answer.text, || {
            let head = match view.get("id") {
                Some(_) => format!("Run {}: {}", word(&view, "id"), word(&view, "state")),
                None => "Dry run: nothing was changed".to_owned(),
            };
            format!("{head}\n{}", table(FIELDS, rows(&view, "rules", FIELDS)))
        })?;
        Ok(Exit::Fine)
    }
}
