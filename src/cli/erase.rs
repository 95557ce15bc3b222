//! `oubliette erase`: asks, waits until the keys are destroyed, and prints the result.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::Context;
use super::client::{Answer, Client};
use super::failure::{Exit, Failure};
use super::output::{NewFile, read_stdin, text_argument};
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
const REASONS: [&str; 6] = ["request", "objection", "unlawful", "legal_duty", "retention", "other"];

/// Erase people: destroy their keys, and prove it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette erase --data D --subject customer-41 --basis art17_1_a --reason request
  printf '%s\\n' customer-41 | oubliette erase --url URL --subject - --basis art17_1_b --reason objection \\
      --certificate-out certificate.json

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
    /// Under a legal hold, wait for its release instead of failing.
    #[arg(long)]
    wait: bool,
    /// Keep the certificate in a file: JSON for `oubliette-verify`, or a page for people if it ends in .html.
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
        !matches!(self.state.as_str(), "requested" | "erasing")
    }
}

impl Erase {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let request = self.request()?;
        let session = self.on.open(context)?;
        let bar = context.progress(None, "erasing");
        let answer = session.client.post(&self.on.path("erasures"), &[], &request)?;
        let (answer, view) = self.settled(&session.client, answer)?;
        bar.finish_and_clear();
        if let Some(file) = &self.certificate_out {
            self.keep_certificate(&session.client, &view, file)?;
        }
        context.print_raw(&answer.text, || self.words(&view))?;
        Ok(Exit::Fine)
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

    fn settled(&self, client: &Client, answer: Answer) -> Result<(Answer, View), Failure> {
        let mut answer = answer;
        loop {
            let view: View = answer.parse()?;
            if view.is_settled() {
                return Ok((answer, view));
            }
            std::thread::sleep(Duration::from_millis(200));
            answer = client.get(&self.on.path(&format!("erasures/{}", view.id)), &[])?;
        }
    }

    fn keep_certificate(&self, client: &Client, view: &View, file: &Path) -> Result<(), Failure> {
        let html = file.extension().is_some_and(|extension| extension == "html");
        let accept = if html { "text/html" } else { "application/json" };
        let path = self.on.path(&format!("erasures/{}/certificate", view.id));
        let mut download = client.download(&path, Some(accept))?;
        let mut file = NewFile::create(file)?;
        file.fill(&mut download.reader)?;
        file.finish()
    }

    fn words(&self, view: &View) -> String {
        let subjects = view.subjects.iter().map(|subject| {
            let handle = subject
                .handle
                .as_deref()
                .unwrap_or("(erased before; nothing leads there any more)");
            format!("\n  {}  {handle}", subject.state)
        });
        let line =
            |name: &str, value: Option<&str>| value.map(|value| format!("\n{name:<14}{value}")).unwrap_or_default();
        let kept = self.certificate_out.as_ref().map(|file| file.display().to_string());
        format!(
            "Erasure {}: {}{}{}{}{}",
            view.id,
            view.state,
            subjects.collect::<String>(),
            line("completed at", view.completed_at.as_deref()),
            line("due at", view.due_at.as_deref().filter(|_| view.completed_at.is_none())),
            line("certificate", kept.as_deref().or(view.certificate.as_deref())),
        )
    }
}
