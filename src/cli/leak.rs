//! `oubliette leak`: reports that personal data stands in clear.

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::people::{People, rows, word};
use super::target::OnLedger;

/// Put on record that events hold personal data in clear: certificates wait until it is redacted.
#[derive(Debug, Subcommand)]
pub(super) enum Leak {
    /// Report a leak: where personal data stands in clear, and whose it is, if that is known.
    Report(Box<Report>),
    /// List the leaks.
    List(List),
    /// Withdraw a report that was mistaken.
    Withdraw(Withdraw),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  printf '%s\\n' customer-41 | oubliette leak report --data D --event 41 --body data --subject -

The report stays in the ledger for ever and links the events with the person's handle. Redact them next:
  oubliette redact --data D --event 41 --body data --reason personal_data")]
pub(super) struct Report {
    #[command(flatten)]
    on: OnLedger,
    #[command(flatten)]
    people: People,
    /// The index of the event. Repeatable.
    #[arg(long, value_name = "INDEX", required = true)]
    event: Vec<u64>,
    /// Where it stands, in each of these events. Repeatable.
    #[arg(long, required = true, value_parser = PossibleValuesParser::new(["data", "meta"]))]
    body: Vec<String>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    on: OnLedger,
}

#[derive(Debug, Args)]
pub(super) struct Withdraw {
    #[command(flatten)]
    on: OnLedger,
    /// The leak's id.
    id: uuid::Uuid,
}

impl Leak {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Report(report) => report.run(context)?,
            Self::List(list) => list.run(context)?,
            Self::Withdraw(withdraw) => withdraw.run(context)?,
        }
        Ok(Exit::Fine)
    }
}

impl Report {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut request = Map::new();
        self.people.add_to(&mut request)?;
        let events = self.event.iter();
        let events: Vec<_> = events
            .map(|index| json!({"index": index, "bodies": self.body}))
            .collect();
        request.insert("events".into(), events.into());
        let session = self.on.open(context)?;
        let answer = session.client.post(&self.on.path("leaks"), &[], &request)?;
        print(context, &answer.text, &answer.parse()?)
    }
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let answer = session.client.get(&self.on.path("leaks"), &[("limit", "1000")])?;
        let page: Value = answer.parse()?;
        const FIELDS: [&str; 5] = ["id", "state", "handles", "reported_at", "settled_at"];
        context.print_raw(&answer.text, || table(FIELDS, rows(&page, "leaks", FIELDS)))
    }
}

impl Withdraw {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let answer = session.client.delete(&self.on.path(&format!("leaks/{}", self.id)))?;
        print(context, &answer.text, &answer.parse()?)
    }
}

fn print(context: &Context, text: &str, leak: &Value) -> Result<(), Failure> {
    context.print_raw(text, || format!("Leak {}: {}", word(leak, "id"), word(leak, "state")))
}
