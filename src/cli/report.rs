//! `oubliette report`: the compliance report of a period, as a file that appears when it is whole.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::Context;
use super::failure::{Exit, Failure};
use super::output::{NewFile, say};
use super::target::OnLedger;
use super::verify::run_job;
use crate::spec::report::{Report as Verification, Verdict};

/// Report on a period: history, erasures against their month, keys, reveals, exports. Signed.
#[derive(Debug, Args)]
#[command(after_help = "\
The period is half-open: --from is in it, --to is not. Both are RFC 3339 times or dates (UTC); without them the
report is about the last full calendar month. The making of a report is recorded in the ledger, with its hash.

Examples:
  oubliette report --data D --out september.html --from 2026-09-01 --to 2026-10-01 --verify
  oubliette-verify september.html --key VKEY")]
pub(super) struct Report {
    #[command(flatten)]
    on: OnLedger,
    /// The first moment of the period.
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<String>,
    /// The first moment after it.
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<String>,
    /// What to write; by default what the file's name ends in, else html.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file; - for standard output.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Verify the whole ledger first, so that the report has a verdict of now.
    #[arg(long)]
    verify: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The signed report for programs; evidence.
    Json,
    /// One page to read and print, the signed report in it; evidence.
    Html,
    /// Rows for a spreadsheet; not signed.
    Csv,
}

impl Format {
    const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Csv => "csv",
        }
    }

    fn of(path: &Path) -> Self {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => Self::Json,
            Some("csv") => Self::Csv,
            _ => Self::Html,
        }
    }
}

impl Report {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let to_stdout = self.out == Path::new("-");
        if to_stdout && context.json {
            return Err(Failure::usage("--json and --out - would share standard output"));
        }
        let format = self.format.unwrap_or_else(|| Format::of(&self.out));
        let session = self.on.open(context)?;
        let mut file = if to_stdout {
            None
        } else {
            Some(NewFile::create(&self.out)?)
        };
        let verified = self
            .verify
            .then(|| run_job(context, &session.client, &self.on, false))
            .transpose()?;
        let mut query = vec![("format", format.word())];
        query.extend(self.from.as_deref().map(|from| ("from", from)));
        query.extend(self.to.as_deref().map(|to| ("to", to)));
        let text = session.client.get(&self.on.path("reports/compliance"), &query)?.text;
        match file.take() {
            None => say(text.trim_end())?,
            Some(mut file) => {
                let bytes = file.fill(&mut text.as_bytes())?;
                file.finish()?;
                self.tell(context, format, bytes, verified.as_ref())?;
            }
        }
        // A report is written also of a ledger that does not hold; whoever runs this from a script learns of it.
        let holds = verified.is_none_or(|report| report.verdict == Verdict::Valid);
        Ok(if holds { Exit::Fine } else { Exit::Findings })
    }

    fn tell(
        &self,
        context: &Context,
        format: Format,
        bytes: u64,
        verified: Option<&Verification>,
    ) -> Result<(), Failure> {
        let out = self.out.display().to_string();
        let verdict = verified.map_or(Value::Null, |report| json!(report.verdict));
        let done = json!({"file": out, "format": format.word(), "bytes": bytes, "verified": verdict});
        context.print(&done, || {
            let next = match format {
                Format::Csv => "\nIt is not signed: for evidence take json or html.".to_owned(),
                _ => format!("\nNext: oubliette-verify {out} --key VKEY   (VKEY from `oubliette key list`)"),
            };
            format!("Wrote {out}: {bytes} bytes.{next}")
        })
    }
}
