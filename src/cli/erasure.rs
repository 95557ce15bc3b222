//! `oubliette erasure`: the erasures, and those that wait: approve them or take them back.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::people::{rows, word};
use super::target::OnLedger;

/// List erasures, approve one under four eyes, or take one back that has not begun.
#[derive(Debug, Subcommand)]
pub(super) enum Erasure {
    /// List the erasures, those that wait among them.
    List(List),
    /// Approve an erasure, with another API key than the one that asked for it.
    Approve(One),
    /// Take an erasure back before it has begun; in its grace, or under a hold, two API keys must ask.
    Cancel(One),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    on: OnLedger,
}

#[derive(Debug, Args)]
pub(super) struct One {
    #[command(flatten)]
    on: OnLedger,
    /// The erasure's id.
    id: uuid::Uuid,
}

impl Erasure {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::List(list) => list.run(context)?,
            Self::Approve(one) => one.act(context, "approvals")?,
            Self::Cancel(one) => one.act(context, "cancellations")?,
        }
        Ok(Exit::Fine)
    }
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let answer = session.client.get(&self.on.path("erasures"), &[("limit", "1000")])?;
        let page: Value = answer.parse()?;
        const FIELDS: [&str; 6] = ["id", "state", "requested_at", "due_at", "destroy_after", "completed_at"];
        context.print_raw(&answer.text, || table(FIELDS, rows(&page, "erasures", FIELDS)))
    }
}

impl One {
    fn act(&self, context: &Context, what: &str) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let path = self.on.path(&format!("erasures/{}/{what}", self.id));
        let answer = session.client.post(&path, &[], &json!({}))?;
        let erasure: Value = answer.parse()?;
        context.print_raw(&answer.text, || {
            let asked = match erasure.get("cancellation_by").and_then(Value::as_array).map(Vec::len) {
                Some(1) if word(&erasure, "state") != "cancelled" => "; a second API key must ask for it, too",
                _ => "",
            };
            format!("Erasure {}: {}{asked}", self.id, word(&erasure, "state"))
        })
    }
}
