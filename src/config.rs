//! Settings: defaults, then a TOML file, then `OUBLIETTE_…` variables, then flags. Unknown fields fail.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The data directory; it holds the four folders below unless they are set apart.
    pub data: PathBuf,
    /// The ledgers' database. Default: `<data>/ledger`.
    pub ledger_dir: Option<PathBuf>,
    /// The key store's database. Default: `<data>/keystore`.
    pub keystore_dir: Option<PathBuf>,
    /// The vault's mirrors; put them on devices of their own. Default: `<data>/vault/a` and `<data>/vault/b`.
    pub vault_dirs: Option<Vec<PathBuf>>,
    /// The signing keys. Default: `<data>/keys`.
    pub keys_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback without TLS (behind a proxy that does it).
    pub allow_plaintext: bool,
    /// HTTP worker threads; 0: one a core.
    pub workers: usize,
    /// Whether fields that stay in clear are searched for personal data.
    pub pii_guard: bool,
    /// Events that may wait for the writer.
    pub queue_events: usize,
    /// What to log: a level, or `tracing` filter directives.
    pub log: String,
    /// `text` or `json`.
    pub log_format: LogFormat,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            ledger_dir: None,
            keystore_dir: None,
            vault_dirs: None,
            keys_dir: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7171)),
            allow_plaintext: false,
            workers: 0,
            pii_guard: true,
            queue_events: 16_384,
            log: "info".into(),
            log_format: LogFormat::Text,
        }
    }
}

/// Why settings are not valid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or variable does not fit.
    #[error("the configuration is not valid: {0}")]
    Invalid(#[from] Box<figment::Error>),
    /// The file is missing.
    #[error("there is no configuration file {0}")]
    Missing(PathBuf),
    /// A listener that everybody could read along.
    #[error(
        "refusing to listen on {0} without TLS: API keys and personal data would travel in clear. Listen on 127.0.0.1, \
         or put a TLS proxy in front and set allow_plaintext = true"
    )]
    Plaintext(SocketAddr),
}

impl Settings {
    /// Reads the file, if one is named, and the environment.
    ///
    /// # Errors
    /// [`ConfigError`], naming the field.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Self::default()));
        if let Some(file) = file {
            if !file.is_file() {
                return Err(ConfigError::Missing(file.to_owned()));
            }
            figment = figment.merge(Toml::file_exact(file));
        }
        // These two belong to the command line, not to the settings.
        let environment = Env::prefixed("OUBLIETTE_").ignore(&["api_key", "url", "cache", "config"]);
        figment
            .merge(environment)
            .extract()
            .map_err(|error| ConfigError::Invalid(Box::new(error)))
    }

    /// Refuses what is valid but not safe.
    ///
    /// # Errors
    /// [`ConfigError::Plaintext`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.listen.ip().is_loopback() || self.allow_plaintext {
            Ok(())
        } else {
            Err(ConfigError::Plaintext(self.listen))
        }
    }

    /// Where the ledgers' database lies.
    pub fn ledger_path(&self) -> PathBuf {
        self.ledger_dir.clone().unwrap_or_else(|| self.data.join("ledger"))
    }

    /// Where the key store's database lies.
    pub fn keystore_path(&self) -> PathBuf {
        self.keystore_dir.clone().unwrap_or_else(|| self.data.join("keystore"))
    }

    /// Where the vault's mirrors lie.
    pub fn vault_paths(&self) -> Vec<PathBuf> {
        let vault = self.data.join("vault");
        self.vault_dirs
            .clone()
            .unwrap_or_else(|| vec![vault.join("a"), vault.join("b")])
    }

    /// Where the signing keys lie.
    pub fn keys_path(&self) -> PathBuf {
        self.keys_dir.clone().unwrap_or_else(|| self.data.join("keys"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("oubliette.toml");
        std::fs::write(&file, "listn = \"127.0.0.1:1\"\n").unwrap();
        let error = Settings::load(Some(&file)).unwrap_err().to_string();
        assert!(error.contains("listn"), "{error}");
    }

    #[test]
    fn listening_beyond_loopback_needs_a_word() {
        let open = Settings {
            listen: "0.0.0.0:80".parse().unwrap(),
            ..Settings::default()
        };
        assert!(matches!(open.check(), Err(ConfigError::Plaintext(_))));
        assert!(
            Settings {
                allow_plaintext: true,
                ..open
            }
            .check()
            .is_ok()
        );
    }
}
