//! `oubliette restrict`: restriction of processing (GDPR Art. 18).

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::people::{Person, add_list, rows, word};
use super::target::OnLedger;

const REASONS: [&str; 5] = ["accuracy_contested", "unlawful", "legal_claims", "objection", "other"];

/// Restrict a person's data (GDPR Art. 18), list restrictions, and lift them.
#[derive(Debug, Subcommand)]
pub(super) enum Restrict {
    /// Restrict: nothing of the data is opened until it is lifted; new data is stored.
    Place(Place),
    /// List the restrictions.
    List(List),
    /// Lift a restriction. Tell the person first (GDPR Art. 18(3)).
    Lift(Lift),
}

#[derive(Debug, Args)]
pub(super) struct Place {
    #[command(flatten)]
    on: OnLedger,
    #[command(flatten)]
    person: Person,
    /// The person's handle instead.
    #[arg(
        long,
        value_name = "HANDLE",
        conflicts_with = "subject",
        required_unless_present = "subject"
    )]
    handle: Option<String>,
    /// Only this category. Repeatable; default: the whole person.
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,
    /// Why.
    #[arg(long, value_parser = PossibleValuesParser::new(REASONS))]
    reason: String,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    on: OnLedger,
}

#[derive(Debug, Args)]
pub(super) struct Lift {
    #[command(flatten)]
    on: OnLedger,
    /// The restriction's id.
    id: uuid::Uuid,
}

impl Restrict {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Place(place) => place.run(context)?,
            Self::List(list) => list.run(context)?,
            Self::Lift(lift) => lift.run(context)?,
        }
        Ok(Exit::Fine)
    }
}

impl Place {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let mut request = Map::new();
        self.person.add_to(&mut request)?;
        if let Some(handle) = &self.handle {
            request.insert("handle".into(), handle.as_str().into());
        }
        add_list(&mut request, "categories", &self.category);
        request.insert("reason".into(), self.reason.as_str().into());
        let session = self.on.open(context)?;
        let answer = session.client.post(&self.on.path("restrictions"), &[], &request)?;
        let placed: Value = answer.parse()?;
        context.print_raw(&answer.text, || {
            format!("Restriction {}: {}", word(&placed, "id"), word(&placed, "state"))
        })
    }
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let answer = session
            .client
            .get(&self.on.path("restrictions"), &[("limit", "1000")])?;
        let page: Value = answer.parse()?;
        const FIELDS: [&str; 6] = ["id", "state", "handle", "categories", "reason", "placed_at"];
        context.print_raw(&answer.text, || table(FIELDS, rows(&page, "restrictions", FIELDS)))
    }
}

impl Lift {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let path = self.on.path(&format!("restrictions/{}", self.id));
        let answer = session.client.delete(&path)?;
        let lifted: Value = answer.parse()?;
        context.print_raw(&answer.text, || {
            format!("Restriction {}: {}", self.id, word(&lifted, "state"))
        })
    }
}
