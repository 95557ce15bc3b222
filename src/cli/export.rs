//! `oubliette export`: a bundle for auditors, or the events as NDJSON or CSV. The file appears when it is whole.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Context;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::NewFile;
use super::resume::Resumed;
use super::target::OnLedger;

/// Export a ledger as a bundle for auditors, or its events as NDJSON or CSV.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  oubliette export --data D --format bundle --out ledger.oubliette
  oubliette-verify ledger.oubliette --key VKEY
  oubliette export --data D --format csv --from 2026-01-01T00:00:00Z --to 2026-02-01T00:00:00Z --out january.csv

A connection that breaks is taken up again where it broke, five times without a further byte at the most.

In CSV a cell that begins with = + - @ ' tab CR or LF gets an apostrophe in front, so that no spreadsheet runs it.")]
pub(super) struct Export {
    #[command(flatten)]
    on: OnLedger,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Bundle)]
    format: Format,
    /// The file; - for standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// First index.
    #[arg(long, value_name = "INDEX")]
    from_index: Option<u64>,
    /// First index after the range.
    #[arg(long, value_name = "INDEX")]
    to_index: Option<u64>,
    /// Only events recorded at or after this time (RFC 3339).
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only events recorded before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Only events of this stream.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only events of this type.
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Only events with this tag.
    #[arg(long, value_name = "LABEL")]
    tag: Option<String>,
    /// Open personal data (not in a bundle; recorded; needs the role revealer).
    #[arg(long)]
    reveal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// One file with all evidence, verified offline by `oubliette-verify`.
    Bundle,
    /// One JSON event a line.
    Ndjson,
    /// A table (RFC 4180), an event a row.
    Csv,
}

#[derive(Deserialize)]
struct View {
    id: String,
    tree_size: u64,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        if self.out == Path::new("-") {
            return self.to_stdout(context);
        }
        let session = self.on.open(context)?;
        let mut file = NewFile::create(&self.out)?;
        let (view, download) = self.begin(&session.client)?;
        let bar = context.progress(download.length(), "bytes");
        let bytes = file.fill(&mut bar.wrap_read(download))?;
        file.finish()?;
        bar.finish_and_clear();
        self.tell(context, &view, bytes)?;
        Ok(Exit::Fine)
    }

    fn begin(&self, client: &Client) -> Result<(View, Resumed), Failure> {
        let view: View = client.post(&self.on.path("exports"), &[], &self.request())?.parse()?;
        let path = self.on.path(&format!("exports/{}/content", view.id));
        Ok((view, Resumed::begin(client, path)?))
    }

    fn to_stdout(&self, context: &Context) -> Result<Exit, Failure> {
        if context.json {
            return Err(Failure::usage("--json and --out - would share standard output"));
        }
        let session = self.on.open(context)?;
        let (_, mut download) = self.begin(&session.client)?;
        let mut out = std::io::stdout().lock();
        std::io::copy(&mut download, &mut out)?;
        out.flush()?;
        Ok(Exit::Fine)
    }

    fn tell(&self, context: &Context, view: &View, bytes: u64) -> Result<(), Failure> {
        let out = self.out.display().to_string();
        let done = json!({"export": view.id, "format": self.format, "tree_size": view.tree_size, "bytes": bytes,
            "file": out});
        context.print(&done, || {
            let next = match self.format {
                Format::Bundle => {
                    format!("\nNext: oubliette-verify {out} --key VKEY   (VKEY from `oubliette key list`)")
                }
                Format::Ndjson | Format::Csv => String::new(),
            };
            format!(
                "Wrote {out}: a ledger of {} events, {bytes} bytes.{next}",
                view.tree_size
            )
        })
    }

    fn request(&self) -> serde_json::Value {
        let mut request = json!({"format": self.format, "reveal": self.reveal});
        let optional = [
            ("from_index", self.from_index.map(Into::into)),
            ("to_index", self.to_index.map(Into::into)),
            ("from", self.from.clone().map(Into::into)),
            ("to", self.to.clone().map(Into::into)),
            ("stream", self.stream.clone().map(Into::into)),
            ("type", self.event_type.clone().map(Into::into)),
            ("tag", self.tag.clone().map(Into::into)),
        ];
        if let Some(fields) = request.as_object_mut() {
            fields.extend(
                optional
                    .into_iter()
                    .filter_map(|(name, value)| Some((name.to_owned(), value?))),
            );
        }
        request
    }
}
