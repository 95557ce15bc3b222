//! The command line: one file per subcommand, each a client of the HTTP API.
//!
//! A command that touches a ledger reaches it through a [`target`]: a running server, or a data directory that the command
//! serves to itself. Exit codes: 0 fine, 1 findings, 2 usage, 3 input or output, 4 refused. With `--json` standard output
//! holds exactly one JSON document, the error included.

mod api_key;
mod append;
mod as_of;
mod backup;
mod bench;
mod certificate;
mod client;
mod demo;
mod erase;
mod erasure;
mod export;
mod failure;
mod health;
mod hold;
mod import;
mod init;
mod key;
mod leak;
mod log;
mod output;
mod people;
mod redact;
mod reopen;
mod report;
mod restore;
mod restrict;
mod resume;
mod retention;
mod serve;
mod target;
mod tls;
mod vault;
mod verify;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::Settings;
use failure::{Exit, Failure};

/// An audit ledger that never loses an event and can prove that it forgot a person.
#[derive(Debug, Parser)]
#[command(
    name = "oubliette",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
)]
#[command(
    after_help = "Exit codes: 0 fine, 1 findings, 2 usage, 3 input or output, 4 refused.\nStart with: oubliette demo"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Print one JSON document instead of words.
    #[arg(long, global = true)]
    json: bool,
    /// A TOML file with settings.
    #[arg(long, global = true, env = "OUBLIETTE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a data directory with the ledger `main` and a first API key.
    Init(init::Init),
    /// Serve a data directory over HTTP.
    Serve(serve::Serve),
    /// Ask a server whether it is ready: exit 0 if it is. For container and service managers.
    Health(health::Health),
    /// Append one event, or a request from a file.
    Append(append::Append),
    /// Import a file of records (NDJSON or CSV) with a mapping.
    Import(import::Import),
    /// Show the ledger, or the state of a stream, as of a moment; or what changed in between.
    AsOf(as_of::AsOf),
    /// Export a ledger as a bundle for auditors, or its events as NDJSON or CSV.
    Export(export::Export),
    /// Copy the transparency log (C2SP tlog-tiles) into a folder that any static file server serves.
    #[command(subcommand)]
    Log(log::Log),
    /// Verify a ledger or a bundle: every signature, link, hash and body. Or a report.
    Verify(verify::Verify),
    /// Check a data directory that nobody serves: all that `verify` checks, and every index.
    Fsck(verify::Fsck),
    /// Erase people: destroy their keys, and prove it.
    Erase(erase::Erase),
    /// List erasures, keep a certificate, approve one under four eyes, or take one back that has not begun.
    #[command(subcommand)]
    Erasure(erasure::Erasure),
    /// Place, list and release legal holds: they block erasures and retention.
    #[command(subcommand)]
    Hold(hold::Hold),
    /// Put on record that events hold personal data in clear, list such leaks, and withdraw mistaken reports.
    #[command(subcommand)]
    Leak(leak::Leak),
    /// Restrict a person's data (GDPR Art. 18), list restrictions, and lift them.
    #[command(subcommand)]
    Restrict(restrict::Restrict),
    /// Reopen an erased person, or erased categories of a living one. What was erased stays erased.
    Reopen(reopen::Reopen),
    /// Run the retention rules of the configuration, or count what is due.
    Retention(retention::Retention),
    /// Redact events: remove `data` or `meta` that should not have been written, and prove it.
    Redact(redact::Redact),
    /// Report on a period: history, erasures against their month, keys, reveals, exports. Signed.
    Report(report::Report),
    /// Show a ledger's public keys.
    #[command(subcommand)]
    Key(key::Key),
    /// Make, list and revoke API keys.
    #[command(subcommand)]
    ApiKey(api_key::ApiKey),
    /// Back up ledgers and key store, while they are in use. Never the vault, never signing keys.
    Backup(backup::Backup),
    /// Put a backup back into a new directory; or prove with --drill that it could be.
    Restore(restore::Restore),
    /// Move the vault: to other folders, into an HSM, or out of one.
    #[command(subcommand)]
    Vault(vault::Vault),
    /// A guided tour on a throw-away ledger.
    Demo(demo::Demo),
    /// Load a throw-away server and report its figures beside the machine's own bounds.
    Bench(bench::Bench),
    /// Print a script that completes commands in a shell: `oubliette completions bash > …/completions/oubliette`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write a manual page for each command into a folder.
    #[command(hide = true)]
    Man {
        /// The folder; it must exist.
        folder: PathBuf,
    },
    /// Print the configuration reference (docs/configuration.md).
    #[command(hide = true)]
    ConfigReference,
    /// Print the OpenAPI document (docs/openapi.json).
    #[command(hide = true)]
    Openapi,
}

impl Command {
    /// Whether the log is meant to be read along: a short command logs warnings only.
    fn is_service(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

/// Where a data directory is.
#[derive(Debug, Clone, Args)]
struct DataDir {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What every command gets.
struct Context {
    json: bool,
    settings: Settings,
}

impl Context {
    fn with_data(&mut self, data: &DataDir) {
        if let Some(data) = &data.data {
            self.settings.data.clone_from(data);
        }
    }
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let json = cli.json;
    match start(cli) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn start(cli: Cli) -> Result<Exit, Failure> {
    match cli.command {
        Command::Completions { shell } => {
            return print_page(|out| {
                clap_complete::generate(shell, &mut Cli::command(), "oubliette", out);
            });
        }
        Command::Man { folder } => {
            let written = clap_mangen::generate_to(Cli::command(), &folder);
            written
                .map_err(|error| Failure::new(Exit::Io, "output_failed", format!("{}: {error}", folder.display())))?;
            return Ok(Exit::Fine);
        }
        Command::ConfigReference => {
            return print_page(|out| out.extend(crate::config::reference::page().into_bytes()));
        }
        Command::Openapi => return print_page(|out| out.extend(crate::app::openapi().into_bytes())),
        _ => {}
    }
    let mut settings = Settings::load(cli.config.as_deref())?;
    if settings.log == Settings::default().log && !cli.command.is_service() {
        settings.log = "warn".into();
    }
    if !cli.command.is_service() {
        settings.trace_endpoint = None;
    }
    // Until the command has ended: then what was logged is written.
    let _telemetry = crate::telemetry::start(&settings);
    let context = Context {
        json: cli.json,
        settings,
    };
    match cli.command {
        Command::Init(command) => command.run(context),
        Command::Serve(command) => command.run(context),
        Command::Health(command) => command.run(&context),
        Command::Append(command) => command.run(&context),
        Command::Import(command) => command.run(&context),
        Command::AsOf(command) => command.run(&context),
        Command::Export(command) => command.run(&context),
        Command::Log(command) => command.run(&context),
        Command::Verify(command) => command.run(&context),
        Command::Fsck(command) => command.run(&context),
        Command::Erase(command) => command.run(&context),
        Command::Erasure(command) => command.run(&context),
        Command::Hold(command) => command.run(&context),
        Command::Leak(command) => command.run(&context),
        Command::Restrict(command) => command.run(&context),
        Command::Reopen(command) => command.run(&context),
        Command::Retention(command) => command.run(&context),
        Command::Redact(command) => command.run(&context),
        Command::Report(command) => command.run(&context),
        Command::Key(command) => command.run(&context),
        Command::ApiKey(command) => command.run(&context),
        Command::Backup(command) => command.run(&context),
        Command::Restore(command) => command.run(context),
        Command::Vault(command) => command.run(context),
        Command::Demo(command) => command.run(&context),
        Command::Bench(command) => command.run(context),
        Command::Completions { .. } | Command::Man { .. } | Command::ConfigReference | Command::Openapi => {
            Ok(Exit::Fine)
        }
    }
}

/// Text that needs no settings, whole on standard output.
fn print_page(make: impl FnOnce(&mut Vec<u8>)) -> Result<Exit, Failure> {
    let mut page = Vec::new();
    make(&mut page);
    let printed = std::io::stdout().write_all(&page);
    printed.map_err(|error| Failure::new(Exit::Io, "output_failed", error.to_string()))?;
    Ok(Exit::Fine)
}

/// Help and version are fine; all else is usage.
fn usage(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        Failure::new(Exit::Usage, "usage", error.to_string().trim()).report(true);
    } else {
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { Exit::Usage } else { Exit::Fine } as u8)
}
