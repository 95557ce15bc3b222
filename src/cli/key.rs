//! `oubliette key`: a ledger's public keys, for auditors to pin.

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::target::OnLedger;

/// Show a ledger's public keys.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// List the public keys with the range of events that each signs.
    List(List),
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    on: OnLedger,
}

#[derive(Deserialize)]
struct Page {
    origin: String,
    keys: Vec<Published>,
}

#[derive(Deserialize)]
struct Published {
    role: String,
    from: u64,
    to: Option<u64>,
    vkey: String,
}

impl Key {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self::List(list) = self;
        let session = list.on.open(context)?;
        let answer = session.client.get(&list.on.path("keys"), &[])?;
        let page: Page = answer.parse()?;
        context.print_raw(&answer.text, || page.words())?;
        Ok(Exit::Fine)
    }
}

impl Page {
    fn words(&self) -> String {
        let row = |key: &Published| {
            let to = key.to.map_or_else(String::new, |to| to.to_string());
            [key.role.clone(), format!("{}..{to}", key.from), key.vkey.clone()]
        };
        let keys = table(["role", "events", "vkey"], self.keys.iter().map(row));
        format!(
            "{}\n\n{keys}\n\nAuditors pin the checkpoint key: oubliette-verify FILE --key VKEY",
            self.origin
        )
    }
}
