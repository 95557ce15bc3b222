//! `oubliette erasure`: the erasures and their certificates, and those that wait: approve them or take them back.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::certificate::CertificateFile;
use super::failure::{Exit, Failure};
use super::output::table;
use super::people::{rows, word};
use super::target::OnLedger;

/// List erasures, keep a certificate, approve one under four eyes, or take one back that has not begun.
#[derive(Debug, Subcommand)]
pub(super) enum Erasure {
    /// List the erasures, those that wait among them.
    List(List),
    /// Keep the certificate of an erasure in a file.
    Certificate(Certificate),
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
#[command(after_help = "\
Examples:
  oubliette erasure certificate --data D 0190163d-8694-739b-8aea-966c26f8ad91 --out certificate.html
  oubliette-verify certificate.html --key VKEY")]
pub(super) struct Certificate {
    #[command(flatten)]
    on: OnLedger,
    /// The erasure's id.
    id: uuid::Uuid,
    /// The file: a page if its name ends in .html, else signed (COSE). Both are evidence.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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
            Self::Certificate(certificate) => certificate.run(context)?,
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

impl Certificate {
    fn run(&self, context: &Context) -> Result<(), Failure> {
        let session = self.on.open(context)?;
        let file = CertificateFile::create(&self.out)?;
        let path = self.on.path(&format!("erasures/{}/certificate", self.id));
        file.keep(&session.client, &path)?;
        let done = json!({"file": self.out.display().to_string()});
        context.print(&done, || {
            let out = self.out.display();
            format!("Wrote {out}.\nNext: oubliette-verify {out} --key VKEY   (VKEY from `oubliette key list`)")
        })
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
