//! The command line: one file per subcommand. Exit codes: 0 fine, 1 findings, 2 usage, 3 input or output, 4 refused.

mod init;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::app::AppError;
use crate::config::{ConfigError, Settings};

/// An audit ledger that never loses an event and can prove that it forgot a person.
#[derive(Debug, Parser)]
#[command(
    name = "oubliette",
    version,
    about,
    propagate_version = true,
    arg_required_else_help = true
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
}

/// Where a data directory is.
#[derive(Debug, Clone, Args)]
struct DataDir {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    /// Fine.
    Fine = 0,
}

/// Why a command failed: a stable code, words, and the exit code.
#[derive(Debug)]
struct Failure {
    code: String,
    detail: String,
    exit: u8,
}

impl Failure {
    fn new(exit: u8, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            detail: detail.into(),
            exit,
        }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        let mut detail = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            let text = cause.to_string();
            if !detail.contains(&text) {
                detail = format!("{detail}: {text}");
            }
            source = cause.source();
        }
        Self::new(3, error.code(), detail)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(2, "invalid_configuration", error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(3, "storage_failed", error.to_string())
    }
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

    /// Prints one JSON document, or the words.
    fn print(&self, json: &impl serde::Serialize, words: impl FnOnce() -> String) {
        if self.json {
            println!("{}", serde_json::to_string(json).unwrap_or_default());
        } else {
            println!("{}", words());
        }
    }
}

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let json = cli.json;
    match Settings::load(cli.config.as_deref())
        .map_err(Failure::from)
        .and_then(|settings| {
            crate::telemetry::start(&settings);
            dispatch(cli.command, Context { json, settings })
        }) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(failure) => {
            report(&failure, json);
            ExitCode::from(failure.exit)
        }
    }
}

fn dispatch(command: Command, context: Context) -> Result<Exit, Failure> {
    match command {
        Command::Init(init) => init.run(context),
        Command::Serve(serve) => serve.run(context),
    }
}

fn report(failure: &Failure, json: bool) {
    if json {
        eprintln!(
            "{}",
            serde_json::json!({"code": failure.code, "detail": failure.detail})
        );
    } else {
        eprintln!("error[{}]: {}", failure.code, failure.detail);
    }
}

/// The asynchronous runtime for commands that need one.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?)
}
