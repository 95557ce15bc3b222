//! The target of a command: `--url` of a server, or `--data` of a directory that the command serves to itself.

use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::Context;
use super::client::Client;
use super::failure::Failure;
use super::tls::TlsFiles;
use crate::app::LocalServer;
use crate::config::Settings;
use crate::spec::ids::LedgerName;

/// Whom a command talks to.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Target {
    /// A data directory that nobody serves: the command opens it itself.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    pub(super) data: Option<PathBuf>,
    /// A running server, such as https://ledger.example.com or http://127.0.0.1:7171 [env: OUBLIETTE_URL]; its API key from OUBLIETTE_API_KEY.
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    #[command(flatten)]
    pub(super) tls: TlsFiles,
}

/// A target and a ledger on it.
#[derive(Debug, Clone, Args)]
pub(super) struct OnLedger {
    #[command(flatten)]
    pub(super) target: Target,
    /// The ledger.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(super) ledger: LedgerName,
}

/// An open target. Dropping it gives the directory free.
pub(super) struct Session {
    // IMPORTANT: dropped in this order, so that the server has no open connections left when it stops.
    pub(super) client: Client,
    _server: Option<LocalServer>,
}

impl Target {
    /// The server's URL, if the target is one. Flags win over the environment.
    pub(super) fn url(&self) -> Option<String> {
        let from_environment = || std::env::var("OUBLIETTE_URL").ok().filter(|url| !url.is_empty());
        self.url
            .clone()
            .or_else(|| from_environment().filter(|_| self.data.is_none()))
    }

    /// The settings of the data directory, if the target is one.
    pub(super) fn settings(&self, context: &Context) -> Result<Settings, Failure> {
        let mut settings = context.settings.clone();
        if let Some(data) = &self.data {
            settings.data.clone_from(data);
        } else if !settings.ledger_path().is_dir() {
            return Err(Failure::usage(
                "say where the ledger is: --data DIR, or --url URL of a running server",
            ));
        }
        Ok(settings)
    }

    /// Reaches the server, or opens the directory.
    pub(super) fn open(&self, context: &Context) -> Result<Session, Failure> {
        if let Some(url) = self.url() {
            let key = std::env::var("OUBLIETTE_API_KEY").map(Zeroizing::new).map_err(|_| {
                Failure::usage(
                    "set OUBLIETTE_API_KEY to an API key of that server (`oubliette init` printed the first one)",
                )
            })?;
            let client = Client::remote(&url, key, &self.tls, context.settings.allow_plaintext)?;
            return Ok(Session { client, _server: None });
        }
        let settings = self.settings(context)?;
        settings.check_values()?;
        let server = LocalServer::start(&settings)?;
        let client = Client::local(server.address, server.api_key.clone());
        Ok(Session {
            client,
            _server: Some(server),
        })
    }
}

impl OnLedger {
    pub(super) fn open(&self, context: &Context) -> Result<Session, Failure> {
        self.target.open(context)
    }

    /// A path under this ledger.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/v1/ledgers/{}/{rest}", self.ledger)
    }
}
