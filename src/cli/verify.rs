//! `oubliette verify` and `oubliette fsck`. They never write: a data directory is read without opening it for service, a
//! server is asked for a verification job, a file is verified offline.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde::Deserialize;
use serde_json::json;

use super::client::Client;
use super::failure::{Exit, Failure};
use super::output::read_bytes;
use super::target::{OnLedger, Target};
use super::{Context, DataDir};
use crate::app::{Inspection, inspect};
use crate::spec::bundle::{BundleError, is_bundle, verify_bundle};
use crate::spec::compliance::{is_report, verify_report};
use crate::spec::ids::{LedgerName, Origin};
use crate::spec::note::VerifierKey;
use crate::spec::report::{Report, Verdict};
use crate::spec::verify::{Options, Progress, Trust};

/// How much of a file tells whether it is a bundle.
const PREFIX: u64 = 1024;
/// The longest report that is read into memory.
const MAX_DOCUMENT: u64 = 64 << 20;

/// Verify a ledger or a bundle: every signature, link, hash and body. Or a compliance report.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette verify --data D
  oubliette verify --url URL
  oubliette verify ledger.oubliette --key VKEY --against old-checkpoint.txt")]
pub(super) struct Verify {
    #[command(flatten)]
    on: OnLedger,
    /// A bundle, or a compliance report (JSON or HTML), to verify offline instead.
    #[arg(value_name = "BUNDLE", conflicts_with_all = ["data", "url"])]
    bundle: Option<PathBuf>,
    /// A key of the ledger that you know from elsewhere: name+id+base64. Repeatable: one of them must be its.
    #[arg(long = "key", value_name = "VKEY")]
    keys: Vec<VerifierKey>,
    /// The origin that the ledger must have.
    #[arg(long)]
    origin: Option<Origin>,
    /// A signed checkpoint that you kept from earlier: the ledger must have grown out of it. Repeatable.
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// Verify signatures in batches: faster, and not the strict check. The report says so.
    #[arg(long)]
    fast: bool,
    /// You asked for a selection of events: what the bundle declares as left out does not make it incomplete.
    #[arg(long, requires = "bundle")]
    selection: bool,
}

/// Check a data directory that nobody serves: all that `verify` checks, and every index of the store.
#[derive(Debug, Args)]
pub(super) struct Fsck {
    #[command(flatten)]
    data: DataDir,
    /// Only this ledger.
    #[arg(long, value_name = "NAME", default_value = "main")]
    ledger: LedgerName,
}

impl Verify {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let options = Options {
            fast: self.fast,
            selection: self.selection,
        };
        let report = match (&self.bundle, self.on.target.url()) {
            (Some(bundle), _) => verify_file(context, bundle, self.trust()?, options)?,
            (None, Some(_)) => self.verify_remote(context)?,
            (None, None) => {
                let inspection = Inspection {
                    trust: self.trust()?,
                    options,
                    indexes: false,
                };
                let target = Target {
                    data: self.on.target.data.clone(),
                    ..Target::default()
                };
                inspect_with_progress(context, &target, &self.on.ledger, inspection)?
            }
        };
        conclude(context, &report)
    }

    fn trust(&self) -> Result<Trust, Failure> {
        let against = self
            .against
            .iter()
            .map(|path| read_bytes(path))
            .collect::<Result<_, _>>()?;
        Ok(Trust {
            keys: self.keys.clone(),
            origin: self.origin.clone(),
            against,
        })
    }

    /// The server verifies itself. Whoever does not trust it exports a bundle: so pins are refused here, not ignored.
    fn verify_remote(&self, context: &Context) -> Result<Report, Failure> {
        if !self.keys.is_empty() || self.origin.is_some() || !self.against.is_empty() {
            return Err(Failure::usage(
                "--key, --origin and --against would be checked by the very server that you do not trust. Run \
                 `oubliette export --format bundle`, then `oubliette verify BUNDLE` with them",
            ));
        }
        let session = self.on.open(context)?;
        run_job(context, &session.client, &self.on, self.fast)
    }
}

/// A verification by the server, to its end.
pub(super) fn run_job(context: &Context, client: &Client, on: &OnLedger, fast: bool) -> Result<Report, Failure> {
    let answer = client.post(&on.path("verifications"), &[], &json!({"fast": fast}))?;
    let mut job: Job = answer.parse()?;
    let bar = context.progress(Some(job.of), "events");
    while job.state == "running" {
        bar.set_position(job.done);
        std::thread::sleep(Duration::from_millis(100));
        job = client
            .get(&on.path(&format!("verifications/{}", job.id)), &[])?
            .parse()?;
    }
    bar.finish_and_clear();
    let failed = || {
        Failure::new(
            Exit::Io,
            "storage_failed",
            job.error.unwrap_or_else(|| "no report".into()),
        )
    };
    job.report.ok_or_else(failed)
}

#[derive(Deserialize)]
struct Job {
    id: String,
    state: String,
    done: u64,
    of: u64,
    report: Option<Report>,
    error: Option<String>,
}

impl Fsck {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let target = Target {
            data: self.data.data.clone(),
            ..Target::default()
        };
        let inspection = Inspection {
            indexes: true,
            ..Inspection::default()
        };
        let report = inspect_with_progress(context, &target, &self.ledger, inspection)?;
        conclude(context, &report)
    }
}

fn inspect_with_progress(
    context: &Context,
    target: &Target,
    ledger: &LedgerName,
    inspection: Inspection,
) -> Result<Report, Failure> {
    let settings = target.settings(context)?;
    let bar = context.progress(Some(0), "events");
    let report = inspect(&settings, ledger, inspection, |done, of| {
        bar.set_length(of);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    Ok(report?)
}

/// Verifies a bundle, or a compliance report, offline.
pub(super) fn verify_file(context: &Context, path: &Path, trust: Trust, options: Options) -> Result<Report, Failure> {
    if let Some(document) = report_file(path)? {
        return Ok(verify_report(&document, &trust));
    }
    let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
    let bar = context.progress(Some(0), "events");
    let report = verify_bundle(
        BufReader::with_capacity(1 << 18, file),
        trust,
        options,
        &mut |progress: Progress| {
            bar.set_length(progress.of.unwrap_or_default());
            bar.set_position(progress.leaves);
        },
    );
    bar.finish_and_clear();
    report.map_err(|error| match error {
        BundleError::Io(error) => Failure::file(path, &error),
        BundleError::NotABundle => Failure::new(
            Exit::Usage,
            "not_a_bundle",
            format!(
                "{}: is neither a bundle nor a report; for receipts, certificates and proofs use oubliette-verify",
                path.display()
            ),
        ),
    })
}

/// The whole file, if it is a compliance report.
fn report_file(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let unusable = |error: std::io::Error| Failure::file(path, &error);
    let mut file = File::open(path).map_err(unusable)?;
    // A pipe is read once, and a bundle is what comes through pipes.
    if !file.metadata().map_err(unusable)?.is_file() {
        return Ok(None);
    }
    let mut document = Vec::new();
    (&mut file).take(PREFIX).read_to_end(&mut document).map_err(unusable)?;
    if is_bundle(&document) {
        return Ok(None);
    }
    // One byte more than may be: what is longer is refused, never read in part.
    let read = file
        .take(MAX_DOCUMENT + 1)
        .read_to_end(&mut document)
        .map_err(unusable)?;
    if read as u64 > MAX_DOCUMENT && is_report(&document) {
        return Err(unusable(std::io::Error::other(format!(
            "a report of more than {MAX_DOCUMENT} bytes"
        ))));
    }
    Ok(Some(document).filter(|document| is_report(document)))
}

fn conclude(context: &Context, report: &Report) -> Result<Exit, Failure> {
    context.print(report, || report.to_string().trim_end().to_owned())?;
    Ok(match report.verdict {
        Verdict::Valid => Exit::Fine,
        Verdict::Incomplete | Verdict::Tampered => Exit::Findings,
    })
}
