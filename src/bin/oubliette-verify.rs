//! `oubliette-verify`: checks a bundle, a receipt, a certificate, a report or a `.tlog-proof` offline and trusts nobody.
//!
//! Exit: 0 valid, 1 findings (tampered or incomplete), 2 usage or a file that is none of these, 3 unreadable.

use std::fs::File;
use std::io::{self, BufReader, Cursor, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use oubliette::spec::bundle::{BundleError, is_bundle, verify_bundle};
use oubliette::spec::certificate::{is_certificate, verify_certificate};
use oubliette::spec::compliance::{is_report, verify_report};
use oubliette::spec::evidence::{is_proof, is_receipt, verify_proof, verify_receipt};
use oubliette::spec::ids::Origin;
use oubliette::spec::note::VerifierKey;
use oubliette::spec::report::{Report, Verdict};
use oubliette::spec::verify::{Options, Progress, Trust};

/// The longest file that is read into memory as a whole: everything but a bundle.
const MAX_DOCUMENT: u64 = 64 << 20;
/// How much of a file tells what it is.
const PREFIX: u64 = 1024;

/// Checks evidence from an Oubliette ledger, offline: a bundle, a receipt, a certificate of erasure, a compliance
/// report (JSON or HTML) or a .tlog-proof.
///
/// Exit: 0 valid; 1 tampered or incomplete; 2 wrong usage, or a file that is none of these; 3 a file that cannot be read.
#[derive(Debug, Parser)]
#[command(name = "oubliette-verify", version)]
struct Arguments {
    /// The bundle, receipt, certificate, report or .tlog-proof, as received.
    file: PathBuf,
    /// A key of the ledger that you know from elsewhere: name+id+base64. Several: one of them must be its.
    #[arg(long = "key", value_name = "VKEY")]
    keys: Vec<VerifierKey>,
    /// The origin that the ledger must have.
    #[arg(long)]
    origin: Option<Origin>,
    /// A signed checkpoint of the ledger that you kept from earlier: it must have grown out of it.
    #[arg(long, value_name = "FILE")]
    against: Vec<PathBuf>,
    /// For a receipt: the exact public data that you sent, to compare with what was recorded.
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Verify event signatures in batches: faster, and not the strict check. The report says so.
    #[arg(long)]
    fast: bool,
    /// You asked for a selection of events: what the bundle declares as left out does not make it incomplete.
    #[arg(long)]
    selection: bool,
    /// Write the report as JSON.
    #[arg(long)]
    json: bool,
}

/// Why there is no report.
#[derive(Debug)]
enum Failure {
    /// The file, or how it was asked for, makes no sense: exit 2.
    Usage(String),
    /// A file could not be read: exit 3.
    Unreadable(PathBuf, io::Error),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match verify(&arguments).and_then(|report| print(&report, arguments.json).map(|()| report.verdict)) {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Incomplete | Verdict::Tampered) => ExitCode::from(1),
        Err(Failure::Usage(why)) => fail(2, &why),
        Err(Failure::Unreadable(path, error)) => fail(3, &format!("{}: {error}", path.display())),
    }
}

fn fail(code: u8, why: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "oubliette-verify: {why}");
    ExitCode::from(code)
}

fn print(report: &Report, json: bool) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(report).map_err(|error| Failure::Usage(error.to_string()))? + "\n"
    } else {
        report.to_string()
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Unreadable("standard output".into(), error))
        }
        _ => Ok(()),
    }
}

fn verify(arguments: &Arguments) -> Result<Report, Failure> {
    let path = &arguments.file;
    let unreadable = |error| Failure::Unreadable(path.clone(), error);
    let trust = trust(arguments)?;
    let mut file = File::open(path).map_err(unreadable)?;
    let mut prefix = Vec::new();
    (&mut file).take(PREFIX).read_to_end(&mut prefix).map_err(unreadable)?;
    if is_bundle(&prefix) {
        // Chained and not rewound, so that a pipe will do.
        return verify_file(Cursor::new(prefix).chain(file), trust, arguments);
    }
    let document = read_all(path, Cursor::new(prefix).chain(file))?;
    verify_document(&document, &trust, arguments)
}

fn trust(arguments: &Arguments) -> Result<Trust, Failure> {
    let against = arguments
        .against
        .iter()
        .map(|path| read(path))
        .collect::<Result<_, _>>()?;
    Ok(Trust {
        keys: arguments.keys.clone(),
        origin: arguments.origin.clone(),
        against,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = File::open(path).map_err(|error| Failure::Unreadable(path.to_owned(), error))?;
    read_all(path, file)
}

/// Reads to the end. A longer file is refused: cut, it would only seem damaged.
fn read_all(path: &Path, file: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    file.take(MAX_DOCUMENT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::Unreadable(path.to_owned(), error))?;
    if bytes.len() as u64 > MAX_DOCUMENT {
        let why = format!("too large: all but bundles are at most {} MiB", MAX_DOCUMENT >> 20);
        return Err(Failure::Usage(format!("{}: {why}", path.display())));
    }
    Ok(bytes)
}

fn verify_file(file: impl Read + Send, trust: Trust, arguments: &Arguments) -> Result<Report, Failure> {
    if arguments.data.is_some() {
        return Err(Failure::Usage(
            "--data belongs to a receipt, and this is a bundle".to_owned(),
        ));
    }
    let options = Options {
        fast: arguments.fast,
        selection: arguments.selection,
    };
    let mut shown = Shown {
        enabled: io::stderr().is_terminal(),
        percent: None,
    };
    let result = verify_bundle(BufReader::with_capacity(1 << 18, file), trust, options, &mut |p| {
        shown.update(p)
    });
    shown.clear();
    result.map_err(|error| match error {
        BundleError::NotABundle => not_known(&arguments.file),
        BundleError::Io(error) => Failure::Unreadable(arguments.file.clone(), error),
    })
}

fn verify_document(document: &[u8], trust: &Trust, arguments: &Arguments) -> Result<Report, Failure> {
    let report = is_report(document);
    let receipt = !report && is_receipt(document);
    if arguments.data.is_some() && !receipt {
        return Err(Failure::Usage(
            "--data belongs to a receipt, and this is none".to_owned(),
        ));
    }
    if report {
        return Ok(verify_report(document, trust));
    }
    if is_proof(document) {
        return Ok(verify_proof(document, trust));
    }
    if receipt {
        let data = arguments.data.as_deref().map(read).transpose()?;
        return Ok(verify_receipt(document, data.as_deref(), trust));
    }
    if is_certificate(document) {
        return Ok(verify_certificate(document, trust));
    }
    Err(not_known(&arguments.file))
}

fn not_known(path: &Path) -> Failure {
    let kinds = "neither a bundle, nor a receipt, a certificate, a report or a .tlog-proof of Oubliette";
    Failure::Usage(format!("{}: {kinds}", path.display()))
}

/// Progress on a terminal.
struct Shown {
    enabled: bool,
    percent: Option<u64>,
}

impl Shown {
    fn update(&mut self, progress: Progress) {
        let of = progress.of.unwrap_or(0).max(1);
        let percent = Some(progress.leaves.saturating_mul(100) / of);
        if self.enabled && percent != self.percent {
            self.percent = percent;
            let _ = write!(
                io::stderr(),
                "\r{} of {of} events, {} findings ",
                progress.leaves,
                progress.findings
            );
        }
    }

    fn clear(&self) {
        if self.percent.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[2K");
        }
    }
}
