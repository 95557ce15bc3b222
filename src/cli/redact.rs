//! `oubliette redact`: bodies in clear that should not have been written leave for good.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::certificate::CertificateFile;
use super::failure::{Exit, Failure};
use super::target::OnLedger;

/// Redact events: remove `data` or `meta` that should not have been written, and prove it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette redact --data D --event 41 --body data --reason personal_data
  oubliette redact --url URL --event 41 --event 42 --body data --body meta --reason secret --certificate-out r.cose

It cannot be undone. Proofs stay valid; reads show `redacted`. Backups of before may still hold the bodies.")]
pub(super) struct Redact {
    #[command(flatten)]
    on: OnLedger,
    /// The index of the event. Repeatable.
    #[arg(long, value_name = "INDEX", required = true)]
    event: Vec<u64>,
    /// What leaves, of each of these events. Repeatable.
    #[arg(long, required = true, value_parser = PossibleValuesParser::new(["data", "meta"]))]
    body: Vec<String>,
    /// Why.
    #[arg(long, value_parser = PossibleValuesParser::new(["personal_data", "secret", "unlawful", "other"]))]
    reason: String,
    /// Keep the certificate in a file, for `oubliette-verify`: a page if its name ends in .html, else signed (COSE).
    #[arg(long, value_name = "FILE")]
    certificate_out: Option<PathBuf>,
}

#[derive(Deserialize)]
struct View {
    id: String,
    state: String,
    authority: u64,
    removed: Removed,
    certificate: String,
}

#[derive(Deserialize)]
struct Removed {
    meta: u64,
    data: u64,
}

impl Redact {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let events = self.event.iter();
        let events: Vec<_> = events
            .map(|index| json!({"index": index, "bodies": self.body}))
            .collect();
        let request = json!({"events": events, "reason": self.reason});
        let session = self.on.open(context)?;
        let file = self
            .certificate_out
            .as_deref()
            .map(CertificateFile::create)
            .transpose()?;
        let answer = session.client.post(&self.on.path("redactions"), &[], &request)?;
        let view: View = answer.parse()?;
        let printed = context.print_raw(&answer.text, || words(&view));
        if let Some(file) = file {
            let path = self.on.path(&format!("redactions/{}/certificate", view.id));
            file.keep_after(context, &session.client, &path)?;
        }
        printed.map(|()| Exit::Fine)
    }
}

fn words(view: &View) -> String {
    format!(
        "Redaction {}: {}\n{:<14}{} data, {} meta\n{:<14}event {}\n{:<14}{}",
        view.id,
        view.state,
        "removed",
        view.removed.data,
        view.removed.meta,
        "authority",
        view.authority,
        "certificate",
        view.certificate
    )
}
