//! `oubliette reopen`: what was erased stays erased; from now on there may be new data.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value};

use super::Context;
use super::failure::{Exit, Failure};
use super::people::{Person, add_list, word};
use super::target::OnLedger;

const REASONS: [&str; 6] = [
    "new_relationship",
    "consent",
    "legal_duty",
    "mistake",
    "retention",
    "other",
];

/// Reopen an erased person, or erased categories of a living one. What was erased stays erased.
#[derive(Debug, Args)]
pub(super) struct Reopen {
    #[command(flatten)]
    on: OnLedger,
    #[command(flatten)]
    person: Person,
    /// An erased category of a living person. Repeatable; default: an erased person, who gets a new handle.
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,
    /// Why.
    #[arg(long, value_parser = PossibleValuesParser::new(REASONS))]
    reason: String,
}

impl Reopen {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut request = Map::new();
        self.person.add_to(&mut request)?;
        if request.is_empty() {
            return Err(Failure::usage(
                "name the person: --subject ID, or --subject - for standard input",
            ));
        }
        add_list(&mut request, "categories", &self.category);
        request.insert("reason".into(), self.reason.as_str().into());
        let session = self.on.open(context)?;
        let answer = session.client.post(&self.on.path("reopenings"), &[], &request)?;
        let reopened: Value = answer.parse()?;
        context.print_raw(&answer.text, || {
            format!("Reopened. The handle from now on: {}", word(&reopened, "handle"))
        })?;
        Ok(Exit::Fine)
    }
}
