//! Settings: defaults, then a TOML file, then `OUBLIETTE_…` variables, then flags. Unknown fields fail.
//!
//! The doc comments of [`Settings`] are the reference (docs/configuration.md), which [`reference::page`] makes.

pub mod reference;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use std::time::Duration;

use documented::DocumentedFields;
use figment::Figment;
use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::{Deserialize, Serialize};

use crate::service::erase::{Purge, Purging};
use crate::service::policy::{MAX_GRACE_SECONDS, Policy, RetentionRule, SuppressionRule};
use crate::spec::ids::LedgerName;

/// Everything that can be set.
#[derive(Debug, Clone, Serialize, Deserialize, DocumentedFields)]
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
    /// Where epoch keys live: `file`, in the folders of `vault_dirs`, or `pkcs11`, in a hardware security module; the folders
    /// then hold the rest.
    pub vault_kind: VaultKind,
    /// The PKCS#11 module (a shared library) of the hardware security module.
    pub vault_module: Option<PathBuf>,
    /// The label of its token.
    pub vault_token: Option<String>,
    /// A file whose first line is the user PIN of that token. Without it `OUBLIETTE_VAULT_PIN` is.
    pub vault_pin_file: Option<PathBuf>,
    /// The signing keys. Default: `<data>/keys`.
    pub keys_dir: Option<PathBuf>,
    /// The folder under which `POST /v1/backups` may write. Unset: backups are made with `oubliette backup --data` only.
    pub backup_dir: Option<PathBuf>,
    /// Address and port to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Whether to listen beyond loopback without TLS (behind a proxy that does it).
    pub allow_plaintext: bool,
    /// The server's certificate chain (PEM), its own first. With `tls_key` it makes the server speak TLS 1.2 and 1.3 only.
    pub tls_certificate: Option<PathBuf>,
    /// The private key (PEM) of `tls_certificate`.
    pub tls_key: Option<PathBuf>,
    /// Certificates (PEM) of the authorities that issue client certificates. If set, every client must show one.
    pub tls_client_ca: Option<PathBuf>,
    /// HTTP worker threads; 0: one a core.
    pub workers: usize,
    /// Whether fields that stay in clear are searched for personal data.
    pub pii_guard: bool,
    /// Seconds for which the key of a past epoch outlives it if a backup of the key store was taken under it. As long such
    /// a backup can be restored, and as long an erased person's keys are in it. 0: not at all; then no backup taken
    /// before an erasure opens anything any more.
    pub erasure_horizon_seconds: u64,
    /// When the sealed blocks of an erased person leave the ledger's store: `deferred` (with those of others, after
    /// `erasure_purge_delay_seconds`), `prompt` (at once, which may list one person's blocks together for ever) or `never`.
    pub erasure_purge: Purge,
    /// Seconds for which erasures are gathered, from the first one, before key store and ledger store are rewritten.
    pub erasure_purge_delay_seconds: u64,
    /// Events that may wait for the writer.
    pub queue_events: usize,
    /// Connections at once; more wait unaccepted. With 1,024 files beside them they must fit under the process's limit on
    /// open files (`ulimit -Hn`).
    pub max_connections: usize,
    /// Seconds in which a new connection must have finished its TLS handshake, and then its first request's head.
    pub header_timeout_seconds: u64,
    /// Seconds in which a request's body must have arrived, counted from the end of its head.
    pub body_timeout_seconds: u64,
    /// Seconds that a client may leave an answer unread before its connection is cut.
    pub write_timeout_seconds: u64,
    /// Seconds that a connection may stay open without a request.
    pub keep_alive_seconds: u64,
    /// Seconds that requests under way have to end after SIGTERM. What the writer accepted is finished in any case.
    pub shutdown_timeout_seconds: u64,
    /// Requests a second that one API key may make; 0: no limit.
    pub rate_limit: u32,
    /// Requests that one API key may make at once before `rate_limit` holds; 0: as many as `rate_limit`.
    pub rate_burst: u32,
    /// Whether `/metrics` answers without an API key. Otherwise it needs one with the role `admin`.
    pub metrics_public: bool,
    /// The ledgers whose checkpoint and tiles of hashes everybody may read, without an API key. They hold no data, but tell how
    /// many events there are and how fast they come. Entry bundles need the role `auditor` all the same.
    pub log_public: Vec<LedgerName>,
    /// Whether every request is logged, at the level `info`.
    pub access_log: bool,
    /// Seconds between the fence of an erasure and the destruction of its keys, in which two API keys together can cancel it; at
    /// most 2592000 (30 days). A request can ask for more.
    pub erasure_grace_seconds: u64,
    /// Whether a second API key must approve every erasure.
    pub erasure_four_eyes: bool,
    /// What is kept of the id of an erased person, as a keyed hash, so that they are not taken for a new one: `forever`, a
    /// period such as `2y`, or `none`.
    pub erasure_suppression: SuppressionRule,
    /// The retention rules: `[[retention]]` tables with `name`, `keep` (a period such as `90d` or `7y`) and either `category`
    /// (whose keys are erased) or `event_type` (whose sealed blocks are removed; their keys live).
    pub retention: Vec<RetentionRule>,
    /// What to log: a level, or `tracing` filter directives.
    pub log: String,
    /// `text` or `json`.
    pub log_format: LogFormat,
    /// Where traces are sent: the URL of an OpenTelemetry collector (OTLP, protobuf over HTTP), such as
    /// `http://127.0.0.1:4318/v1/traces`. Only in programs built with the feature `otel`.
    pub trace_endpoint: Option<String>,
    /// Which share of requests is traced, 0 to 1, where the caller's `traceparent` does not say.
    pub trace_sample_ratio: f64,
}

/// A year.
const MAX_HORIZON_SECONDS: u64 = 31_536_000;

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Where epoch keys live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VaultKind {
    /// In files, mirrored.
    File,
    /// In a hardware security module, over PKCS#11.
    Pkcs11,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data: PathBuf::from("data"),
            ledger_dir: None,
            keystore_dir: None,
            vault_dirs: None,
            vault_kind: VaultKind::File,
            vault_module: None,
            vault_token: None,
            vault_pin_file: None,
            keys_dir: None,
            backup_dir: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 7171)),
            allow_plaintext: false,
            tls_certificate: None,
            tls_key: None,
            tls_client_ca: None,
            workers: 0,
            pii_guard: true,
            erasure_horizon_seconds: 7 * 86_400,
            erasure_purge: Purge::Deferred,
            erasure_purge_delay_seconds: 600,
            queue_events: 16_384,
            max_connections: 2_048,
            header_timeout_seconds: 10,
            body_timeout_seconds: 60,
            write_timeout_seconds: 60,
            keep_alive_seconds: 15,
            shutdown_timeout_seconds: 20,
            rate_limit: 0,
            rate_burst: 0,
            metrics_public: false,
            log_public: Vec::new(),
            access_log: true,
            erasure_grace_seconds: 0,
            erasure_four_eyes: false,
            erasure_suppression: SuppressionRule::Forever,
            retention: Vec::new(),
            log: "info".into(),
            log_format: LogFormat::Text,
            trace_endpoint: None,
            trace_sample_ratio: 1.0,
        }
    }
}

/// Why settings are not valid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or variable does not fit.
    #[error("the configuration is not valid: {0}")]
    Invalid(Box<figment::Error>),
    /// A field that there is not.
    #[error("{place}: there is no setting `{field}`{hint} (all of them: docs/configuration.md)")]
    Unknown {
        /// The field as written.
        field: String,
        /// The file, or the environment.
        place: String,
        /// The nearest name, in words.
        hint: String,
    },
    /// The file is missing.
    #[error("there is no configuration file {0}")]
    Missing(PathBuf),
    /// A listener that everybody could read along.
    #[error(
        "refusing to listen on {0} without TLS: API keys and personal data would travel in clear. Set tls_certificate and \
         tls_key, or listen on 127.0.0.1, or put a TLS proxy in front and set allow_plaintext = true"
    )]
    Plaintext(SocketAddr),
    /// Settings that contradict each other, or a value out of range.
    #[error("{field}: {mend}")]
    Value {
        /// The setting.
        field: &'static str,
        /// What to set it to.
        mend: &'static str,
    },
}

impl From<figment::Error> for ConfigError {
    fn from(error: figment::Error) -> Self {
        let Kind::UnknownField(field, known) = &error.kind else {
            return Self::Invalid(Box::new(error));
        };
        let metadata = error.metadata.as_ref();
        let place = metadata.map_or_else(
            || "the configuration".to_owned(),
            |metadata| match &metadata.source {
                Some(source) => source.to_string(),
                None => metadata.name.to_string(),
            },
        );
        Self::Unknown {
            hint: reference::nearest(field, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?")),
            field: field.clone(),
            place,
        }
    }
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
        // These belong to the command line, not to the settings.
        let own = [
            "api_key",
            "url",
            "cache",
            "config",
            "ca",
            "client_cert",
            "client_key",
            "vault_pin",
        ];
        let environment = Env::prefixed("OUBLIETTE_").ignore(&own);
        Ok(figment.merge(environment).extract()?)
    }

    /// Refuses what contradicts itself, and what is valid but not safe to serve to a network.
    ///
    /// # Errors
    /// [`ConfigError::Plaintext`], [`ConfigError::Value`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_values()?;
        if self.listen.ip().is_loopback() || self.allow_plaintext || self.tls_certificate.is_some() {
            Ok(())
        } else {
            Err(ConfigError::Plaintext(self.listen))
        }
    }

    /// Refuses what contradicts itself or is out of range, whoever the server is for.
    ///
    /// # Errors
    /// [`ConfigError::Value`].
    pub fn check_values(&self) -> Result<(), ConfigError> {
        let value = |field, mend| Err(ConfigError::Value { field, mend });
        match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => {
                return value(
                    "tls_key",
                    "is missing; tls_certificate needs the file of its private key",
                );
            }
            (None, Some(_)) => {
                return value(
                    "tls_certificate",
                    "is missing; tls_key needs the file of its certificate",
                );
            }
            (None, None) if self.tls_client_ca.is_some() => {
                return value("tls_client_ca", "needs tls_certificate and tls_key too");
            }
            _ => {}
        }
        let of_token = [
            ("vault_module", self.vault_module.is_some()),
            ("vault_token", self.vault_token.is_some()),
            ("vault_pin_file", self.vault_pin_file.is_some()),
        ];
        match self.vault_kind {
            VaultKind::File => {
                if let Some((field, _)) = of_token.into_iter().find(|(_, is_set)| *is_set) {
                    return value(field, "has no meaning without vault_kind = \"pkcs11\"; set both");
                }
            }
            VaultKind::Pkcs11 if self.vault_module.is_none() => {
                return value(
                    "vault_module",
                    "is missing; vault_kind = \"pkcs11\" needs the HSM's library",
                );
            }
            VaultKind::Pkcs11 if self.vault_token.is_none() => {
                return value(
                    "vault_token",
                    "is missing; vault_kind = \"pkcs11\" needs the label of a token",
                );
            }
            VaultKind::Pkcs11 => {}
        }
        for (field, seconds) in [
            ("header_timeout_seconds", self.header_timeout_seconds),
            ("body_timeout_seconds", self.body_timeout_seconds),
            ("write_timeout_seconds", self.write_timeout_seconds),
            ("keep_alive_seconds", self.keep_alive_seconds),
            ("shutdown_timeout_seconds", self.shutdown_timeout_seconds),
        ] {
            if !(1..=86_400).contains(&seconds) {
                return value(field, "must be 1 to 86400 seconds");
            }
        }
        if self.erasure_horizon_seconds > MAX_HORIZON_SECONDS {
            return value("erasure_horizon_seconds", "must be at most 31536000 (a year)");
        }
        if self.erasure_purge_delay_seconds > 2_592_000 {
            return value(
                "erasure_purge_delay_seconds",
                "must be at most 2592000 seconds (30 days)",
            );
        }
        if self.max_connections == 0 {
            return value("max_connections", "must be at least 1");
        }
        if self.rate_limit == 0 && self.rate_burst > 0 {
            return value("rate_burst", "has no meaning without rate_limit; set both");
        }
        if self.erasure_grace_seconds > MAX_GRACE_SECONDS {
            return value(
                "erasure_grace_seconds",
                "must be at most 2592000 (30 days): an erasure is due within a month",
            );
        }
        let names: std::collections::HashSet<_> = self.retention.iter().map(|rule| &rule.name).collect();
        let about = |rule: &RetentionRule| (rule.category.clone(), rule.event_type.clone());
        let scopes: std::collections::HashSet<_> = self.retention.iter().map(about).collect();
        if names.len() < self.retention.len() || scopes.len() < self.retention.len() {
            return value(
                "retention",
                "has two rules of one name, for one category or for one event type; keep one of them",
            );
        }
        if let Some(wrong) = self.retention.iter().find_map(|rule| rule.check().err()) {
            return value("retention", wrong);
        }
        Ok(())
    }

    /// The settings with every default place spelt out.
    pub fn resolved(&self) -> Self {
        Self {
            ledger_dir: Some(self.ledger_path()),
            keystore_dir: Some(self.keystore_path()),
            vault_dirs: Some(self.vault_paths()),
            keys_dir: Some(self.keys_path()),
            ..self.clone()
        }
    }

    /// What is set about the life of personal data.
    pub fn policy(&self) -> Policy {
        Policy {
            grace_seconds: self.erasure_grace_seconds,
            four_eyes: self.erasure_four_eyes,
            suppression: self.erasure_suppression.clone(),
            retention: self.retention.clone(),
        }
    }

    /// How residues of erasures are removed.
    pub fn purging(&self) -> Purging {
        Purging {
            purge: self.erasure_purge,
            delay: Duration::from_secs(self.erasure_purge_delay_seconds),
        }
    }

    /// How long a request's body may take.
    pub fn body_timeout(&self) -> Duration {
        Duration::from_secs(self.body_timeout_seconds)
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
        for part in ["`listn`", "did you mean `listen`?", "oubliette.toml"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn listening_beyond_loopback_needs_a_word() {
        let open = Settings {
            listen: "0.0.0.0:80".parse().unwrap(),
            ..Settings::default()
        };
        assert!(matches!(open.check(), Err(ConfigError::Plaintext(_))));
        let with_tls = Settings {
            tls_certificate: Some("a.pem".into()),
            tls_key: Some("b.pem".into()),
            ..open.clone()
        };
        assert!(with_tls.check().is_ok());
        assert!(
            Settings {
                allow_plaintext: true,
                ..open
            }
            .check()
            .is_ok()
        );
    }

    #[test]
    fn what_contradicts_itself_is_refused_by_name() {
        let half = Settings {
            tls_certificate: Some("a.pem".into()),
            ..Settings::default()
        };
        let no_server = Settings {
            tls_client_ca: Some("ca.pem".into()),
            ..Settings::default()
        };
        let never = Settings {
            body_timeout_seconds: 0,
            ..Settings::default()
        };
        let burst = Settings {
            rate_burst: 5,
            ..Settings::default()
        };
        let stray = Settings {
            vault_token: Some("t".into()),
            ..Settings::default()
        };
        let no_module = Settings {
            vault_kind: VaultKind::Pkcs11,
            ..Settings::default()
        };
        for (settings, field) in [
            (half, "tls_key"),
            (no_server, "tls_client_ca"),
            (never, "body_timeout_seconds"),
            (burst, "rate_burst"),
            (stray, "vault_token"),
            (no_module, "vault_module"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
    }
}
