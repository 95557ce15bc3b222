//! How a command ends: exit codes, and failures from every layer with a stable code.

use std::io::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::app::AppError;
use crate::config::ConfigError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Fine.
    Fine = 0,
    /// A verification found something.
    Findings = 1,
    /// What was asked does not make sense.
    Usage = 2,
    /// A file, a directory or a server cannot be read, written or reached.
    Io = 3,
    /// Refused: role, conflict, hold, not found.
    Refused = 4,
}

/// Why a command failed: a stable code, words, and the exit code.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: String,
    pub(super) detail: String,
    pub(super) exit: Exit,
    /// The server's own words, if it refused.
    problem: Option<Value>,
    /// Standard output holds the result already, and with `--json` no second document.
    after_the_result: bool,
}

impl Failure {
    pub(super) fn new(exit: Exit, code: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            detail: detail.into(),
            exit,
            problem: None,
            after_the_result: false,
        }
    }

    /// Of a command that printed its result before it failed.
    pub(super) fn after_the_result(self) -> Self {
        Self {
            after_the_result: true,
            ..self
        }
    }

    /// A file that cannot be read or written, by name.
    pub(super) fn file(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Exit::Io, "file_unusable", format!("{}: {error}", path.display()))
    }

    /// Bad usage that only shows once the arguments are looked at together.
    pub(super) fn usage(detail: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", detail)
    }

    /// From an answer of the server that is not 2xx.
    pub(super) fn from_answer(status: u16, body: &str) -> Self {
        #[derive(Deserialize)]
        struct Problem {
            code: String,
            detail: String,
        }
        let exit = match status {
            401 | 403 | 404 | 409 | 410 | 423 => Exit::Refused,
            400 | 405 | 413 | 415 | 422 => Exit::Usage,
            _ => Exit::Io,
        };
        match serde_json::from_str::<Problem>(body) {
            Ok(Problem { code, detail }) => Self {
                code,
                detail,
                exit,
                problem: serde_json::from_str(body).ok(),
                after_the_result: false,
            },
            Err(_) => {
                let detail = format!("HTTP {status} without an explanation: is the URL that of an oubliette server?");
                Self::new(exit, "unexpected_answer", detail)
            }
        }
    }

    /// Words on standard error; with `json` one document there and on standard output.
    pub(super) fn report(&self, json: bool) {
        if json {
            let own = || json!({"code": self.code, "detail": self.detail});
            let document = self.problem.clone().unwrap_or_else(own);
            // Where these cannot be written either, the exit code is all that is left to say.
            if !self.after_the_result {
                let _ = writeln!(std::io::stdout(), "{document}");
            }
            let _ = writeln!(std::io::stderr(), "{document}");
            return;
        }
        let mut err = std::io::stderr();
        let _ = writeln!(err, "error[{}]: {}", self.code, self.detail);
        let errors = self
            .problem
            .iter()
            .filter_map(|problem| problem.get("errors")?.as_array())
            .flatten();
        for error in errors.skip(1) {
            let text = |name| error.get(name).and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(err, "  {}: {}", text("pointer"), text("detail"));
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
        let exit = if matches!(error, AppError::Tls(_) | AppError::OpenFiles { .. }) {
            Exit::Usage
        } else {
            Exit::Io
        };
        Self::new(exit, error.code(), detail)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Usage, "invalid_configuration", error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Exit::Io, "storage_failed", error.to_string())
    }
}
