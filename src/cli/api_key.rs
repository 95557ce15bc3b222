//! `oubliette api-key`. With `--data` it needs no key: the way back when the admin's is lost.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::failure::{Exit, Failure};
use super::output::table;
use super::target::Target;
use crate::service::Role;
use crate::spec::ids::LedgerName;

/// Make, list and revoke API keys.
#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Make a key; it is shown this once.
    Create(Create),
    /// List the keys, without their secrets.
    List(List),
    /// Revoke a key at once and for good.
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    target: Target,
    /// The system or post that will use it, no person.
    #[arg(long)]
    name: String,
    /// writer, reader, revealer, auditor, officer or admin. Repeatable; none implies another.
    #[arg(long, value_name = "ROLE", required = true, value_delimiter = ',', value_parser = role)]
    role: Vec<Role>,
    /// Only these ledgers. Repeatable; default: all.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    ledgers: Vec<LedgerName>,
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    target: Target,
    /// The key's id, as `list` shows it: the part after obl_, not the secret.
    id: String,
}

fn role(text: &str) -> Result<Role, String> {
    let known = Role::ALL.map(Role::as_str).join(", ");
    Role::ALL
        .into_iter()
        .find(|role| role.as_str() == text)
        .ok_or_else(|| format!("must be one of {known}"))
}

#[derive(Deserialize)]
struct Listed {
    id: String,
    name: String,
    roles: Vec<String>,
    ledgers: Option<Vec<String>>,
    created_at: String,
}

#[derive(Deserialize)]
struct Shown {
    api_key: zeroize::Zeroizing<String>,
    #[serde(flatten)]
    key: Listed,
}

#[derive(Deserialize)]
struct Page {
    api_keys: Vec<Listed>,
}

impl ApiKey {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        match self {
            Self::Create(create) => create.run(context)?,
            Self::List(list) => list.run(context)?,
            Self::Revoke(revoke) => revoke.run(context)?,
        }
        Ok(Exit::Fine)
    }
}

impl Create {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let ledgers = Some(&self.ledgers).filter(|ledgers| !ledgers.is_empty());
        let request = json!({"name": self.name, "roles": self.role, "ledgers": ledgers});
        let session = self.target.open(context)?;
        let answer = session.client.post("/v1/api-keys", &[], &request)?;
        let Shown { api_key, key } = answer.parse()?;
        context.print_raw(&answer.text, || {
            format!(
                "API key   {}\n          (shown this once)\nid        {}\nroles     {}\nledgers   {}",
                *api_key,
                key.id,
                key.roles.join(", "),
                key.in_ledgers()
            )
        })
    }
}

impl List {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.target.open(context)?;
        let answer = session.client.get("/v1/api-keys", &[])?;
        let page: Page = answer.parse()?;
        context.print_raw(&answer.text, || {
            let row = |key: Listed| {
                let ledgers = key.in_ledgers();
                [key.id, key.name, key.roles.join(", "), ledgers, key.created_at]
            };
            table(
                ["id", "name", "roles", "ledgers", "made at"],
                page.api_keys.into_iter().map(row),
            )
        })
    }
}

impl Revoke {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let is_id = !self.id.is_empty() && self.id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(Failure::usage(
                "give the id of a key, as `oubliette api-key list` shows it, not the key itself",
            ));
        }
        let session = self.target.open(context)?;
        session.client.delete(&format!("/v1/api-keys/{}", self.id))?;
        context.print(&json!({"revoked": self.id}), || format!("Revoked {}.", self.id))
    }
}

impl Listed {
    fn in_ledgers(&self) -> String {
        self.ledgers
            .as_ref()
            .map_or_else(|| "all".into(), |ledgers| ledgers.join(", "))
    }
}
