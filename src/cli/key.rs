//! `oubliette key`: a ledger's public keys, for auditors to pin, and a new epoch for its secret ones.

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::target::OnLedger;

/// Show a ledger's public keys, or change the epoch of its secret ones.
#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// List the public keys with the range of events that each signs.
    List(List),
    /// Wrap all keys of the key store anew, under a new epoch key. Erases nobody; no proof changes.
    RotateEpoch(RotateEpoch),
}

#[derive(Debug, Args)]
pub(super) struct RotateEpoch {
    #[command(flatten)]
    on: OnLedger,
}

#[derive(Deserialize)]
struct Changed {
    from: u32,
    to: u32,
    epoch_key_due_at: Option<String>,
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
        let list = match self {
            Self::List(list) => list,
            Self::RotateEpoch(rotate) => return rotate.run(context),
        };
        let session = list.on.open(context)?;
        let answer = session.client.get(&list.on.path("keys"), &[])?;
        let page: Page = answer.parse()?;
        context.print_raw(&answer.text, || page.words())?;
        Ok(Exit::Fine)
    }
}

impl RotateEpoch {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let session = self.on.open(context)?;
        let answer = session.client.post_raw(&self.on.path("epochs"), &[], b"")?;
        let changed: Changed = answer.parse()?;
        context.print_raw(&answer.text, || changed.words())?;
        Ok(Exit::Fine)
    }
}

impl Changed {
    fn words(&self) -> String {
        let old = match &self.epoch_key_due_at {
            Some(due) => format!("retired until {due}, for the backups taken under it"),
            None => "destroyed".to_owned(),
        };
        format!("epoch {} since now; the key of epoch {} is {old}", self.to, self.from)
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
