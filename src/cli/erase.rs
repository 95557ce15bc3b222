//! `oubliette erase`: asks, waits until the keys are destroyed, and prints the result.
//!
//! An erasure cannot be undone: the file for its certificate is made before it is asked for, and its result is printed
//! before anything else can fail.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::Context;
use super::certificate::CertificateFile;
use super::client::{Answer, Client};
use super::failure::{Exit, Failure};
use super::output::{read_stdin, text_argument};
use super::target::OnLedger;

const BASES: [&str; 8] = [
    "art17_1_a",
    "art17_1_b",
    "art17_1_c",
    "art17_1_d",
    "art17_1_e",
    "art17_1_f",
    "retention",
    "other",
];
/// How long the end of an erasure is waited for.
const PATIENCE: Duration = Duration::from_secs(600);
const REASONS: [&str; 6] = ["request", "objection", "unlawful", "legal_duty", "retention", "other"];

/// Erase people: destroy their keys, and prove it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette erase --data D --subject customer-41 --basis art17_1_a --reason request
  printf '%s\\n' customer-41 | oubliette erase --url URL --subject - --basis art17_1_b --reason objection \\
      --certificate-out certificate.cose

GDPR Article 17(1): a no longer needed, b consent withdrawn, c objection, d unlawful, e legal duty, f a child's.")]
pub(super) struct Erase {
    #[command(flatten)]
    on: OnLedger,
    /// Your id of the person; - reads ids from standard input, one a line, so that none stands in the process list.
    /// Repeatable.
    #[arg(
        long,
        value_name = "ID",
        required_unless_present = "handle",
        conflicts_with = "handle"
    )]
    subject: Vec<String>,
    /// The person's handle instead. Repeatable.
    #[arg(long, value_name = "HANDLE")]
    handle: Vec<String>,
    /// Only this category of the person's data. Repeatable; default: the whole person.
    #[arg(long, value_name = "NAME")]
    category: Vec<String>,
    /// The legal ground.
    #[arg(long, value_parser = PossibleValuesParser::new(BASES))]
    basis: String,
    /// Why.
    #[arg(long, value_parser = PossibleValuesParser::new(REASONS))]
    reason: String,
    /// Free text, sealed under the person's key so that it dies too: text, or @FILE.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    /// Under a legal hold or a restriction, wait for its end instead of failing.
    #[arg(long)]
    wait: bool,
    /// Fence at once, destroy after this many seconds; until then two API keys together can cancel it.
    #[arg(long, value_name = "SECONDS")]
    grace_seconds: Option<u64>,
    /// A group of recipients to notify (GDPR Art. 19), as a word such as payroll-provider, never a person. Repeatable.
    #[arg(long, value_name = "WORD")]
    recipient: Vec<String>,
    /// Keep the certificate in a file, for `oubliette-verify`: a page if its name ends in .html, else signed (COSE).
    #[arg(long, value_name = "FILE")]
    certificate_out: Option<PathBuf>,
}

#[derive(Deserialize)]
struct View {
    id: String,
    state: String,
    subjects: Vec<Subject>,
    due_at: Option<String>,
    completed_at: Option<String>,
    destroy_after: Option<String>,
    #[serde(default)]
    holds: Vec<String>,
    certificate: Option<String>,
}

#[derive(Deserialize)]
struct Subject {
    handle: Option<String>,
    state: String,
}

impl View {
    /// Nothing more happens before somebody or some date makes it.
    fn is_settled(&self) -> bool {
        self.destroy_after.is_some() || !matches!(self.state.as_str(), "requested" | "erasing")
    }
}

impl Erase {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = self.request()?;
        let session = self.on.open(context)?;
        self.erase(context, &session.client, &request)
    }

    fn erase(&self, context: &Context, client: &Client, request: &serde_json::Value) -> Result<Exit, Failure> {
        let file = self
            .certificate_out
            .as_deref()
            .map(CertificateFile::create)
            .transpose()?;
        let bar = context.progress(None, "erasing");
        let answer = client.post(&self.on.path("erasures"), &[], request)?;
        let ask = |id: &str| client.get(&self.on.path(&format!("erasures/{id}")), &[]);
        let (answer, view) = settled(answer, PATIENCE, ask)?;
        bar.finish_and_clear();
        let printed = context.print_raw(&answer.text, || words(&view));
        if let Some(file) = file {
            let path = self.on.path(&format!("erasures/{}/certificate", view.id));
            file.keep_after(context, client, &path)?;
        }
        printed.map(|()| Exit::Fine)
    }

    fn request(&self) -> Result<serde_json::Value, Failure> {
        let mut request = json!({"basis": self.basis, "reason": self.reason, "wait": self.wait});
        let mut set = |name: &str, value: serde_json::Value| {
            if let Some(fields) = request.as_object_mut() {
                fields.insert(name.into(), value);
            }
        };
        if self.handle.is_empty() {
            set(
                "subjects",
                self.subjects()?.iter().map(|subject| subject.as_str()).collect(),
            );
        } else {
            set("handles", self.handle.iter().map(String::as_str).collect());
        }
        if !self.category.is_empty() {
            set("categories", self.category.iter().map(String::as_str).collect());
        }
        if !self.recipient.is_empty() {
            set("recipients", self.recipient.iter().map(String::as_str).collect());
        }
        if let Some(grace) = self.grace_seconds {
            set("grace_seconds", grace.into());
        }
        if let Some(note) = &self.note {
            set("note", text_argument(note)?.as_str().into());
        }
        Ok(request)
    }

    fn subjects(&self) -> Result<Vec<Zeroizing<String>>, Failure> {
        let mut subjects = Vec::new();
        for argument in &self.subject {
            if argument == "-" {
                let text = read_stdin()?;
                subjects.extend(
                    text.lines()
                        .filter(|line| !line.is_empty())
                        .map(|line| Zeroizing::new(line.to_owned())),
                );
            } else {
                subjects.push(Zeroizing::new(argument.clone()));
            }
        }
        if subjects.is_empty() {
            Err(Failure::usage("standard input named nobody"))
        } else {
            Ok(subjects)
        }
    }
}

/// Asks until nothing more happens by itself, or patience ends; the erasure itself goes on.
fn settled(
    mut answer: Answer,
    patience: Duration,
    ask: impl Fn(&str) -> Result<Answer, Failure>,
) -> Result<(Answer, View), Failure> {
    let begun = Instant::now();
    loop {
        let view: View = answer.parse()?;
        if view.is_settled() {
            return Ok((answer, view));
        }
        if begun.elapsed() >= patience {
            let detail = format!(
                "erasure {} is `{}` after {} seconds; the server goes on with it: ask for it by this id",
                view.id,
                view.state,
                patience.as_secs()
            );
            return Err(Failure::new(Exit::Io, "erasure_pending", detail));
        }
        std::thread::sleep(Duration::from_millis(200));
        answer = ask(&view.id)?;
    }
}

fn words(view: &View) -> String {
    let subjects = view.subjects.iter().map(|subject| {
        let handle = subject
            .handle
            .as_deref()
            .unwrap_or("(erased before; nothing leads there any more)");
        format!("\n  {}  {handle}", subject.state)
    });
    let line = |name: &str, value: Option<&str>| value.map(|value| format!("\n{name:<14}{value}")).unwrap_or_default();
    format!(
        "Erasure {}: {}{}{}{}{}{}{}",
        view.id,
        view.state,
        subjects.collect::<String>(),
        line("completed at", view.completed_at.as_deref()),
        line(
            "held by",
            Some(view.holds.join(", ")).filter(|holds| !holds.is_empty()).as_deref()
        ),
        line("destroy after", view.destroy_after.as_deref()),
        line("due at", view.due_at.as_deref().filter(|_| view.completed_at.is_none())),
        line("certificate", view.certificate.as_deref()),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::cli::Context;
    use crate::cli::target::Target;
    use crate::config::Settings;

    fn answer(state: &str) -> Answer {
        Answer {
            status: 200,
            text: json!({"id": "7f3d", "state": state, "subjects": []}).to_string(),
        }
    }

    #[test]
    fn waiting_ends_with_the_erasure_or_with_patience() {
        let (_, view) = settled(answer("requested"), PATIENCE, |id| {
            assert_eq!(id, "7f3d");
            Ok(answer("completed"))
        })
        .unwrap();
        assert_eq!(view.state, "completed");
        let failure = settled(answer("erasing"), Duration::ZERO, |_| Ok(answer("erasing")))
            .err()
            .unwrap();
        assert_eq!((failure.code.as_str(), failure.exit), ("erasure_pending", Exit::Io));
        assert!(failure.detail.contains("7f3d"));
    }

    #[test]
    fn nothing_is_asked_for_if_the_certificate_could_not_be_written() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let data = std::env::temp_dir().join(format!("oubliette-erase-{}", std::process::id()));
        let client = Client::local(listener.local_addr().unwrap(), Zeroizing::new("key".into()));
        let erase = Erase {
            on: OnLedger {
                target: Target::default(),
                ledger: "main".parse().unwrap(),
            },
            subject: vec!["a".into()],
            handle: Vec::new(),
            category: Vec::new(),
            basis: "other".into(),
            reason: "other".into(),
            note: None,
            wait: false,
            grace_seconds: None,
            recipient: Vec::new(),
            certificate_out: Some(data.join("not-there").join("c.cose")),
        };
        let context = Context {
            json: true,
            settings: Settings::default(),
        };
        let failure = erase.erase(&context, &client, &json!({})).unwrap_err();
        assert_eq!((failure.code.as_str(), failure.exit), ("file_unusable", Exit::Io));
        // Nobody came.
        assert!(listener.accept().is_err());
    }
}
