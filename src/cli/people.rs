//! People as arguments of commands: by the caller's id, which may come from standard input, or by handle.

use clap::Args;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::failure::Failure;
use super::output::read_stdin;

/// People, by id or by handle.
#[derive(Debug, Args)]
pub(super) struct People {
    /// Your id of the person; - reads ids from standard input, one a line, so that none stands in the process list.
    /// Repeatable.
    #[arg(long, value_name = "ID", conflicts_with = "handle")]
    subject: Vec<String>,
    /// The person's handle instead. Repeatable.
    #[arg(long, value_name = "HANDLE")]
    handle: Vec<String>,
}

/// One person, by id.
#[derive(Debug, Args)]
pub(super) struct Person {
    /// Your id of the person; - reads it from standard input, so that it does not stand in the process list.
    #[arg(long, value_name = "ID")]
    subject: Option<String>,
}

/// The ids of arguments, those of standard input among them.
fn subjects(arguments: &[String]) -> Result<Vec<Zeroizing<String>>, Failure> {
    let mut subjects = Vec::new();
    for argument in arguments {
        if argument == "-" {
            let text = read_stdin()?;
            let lines = text.lines().filter(|line| !line.is_empty());
            subjects.extend(lines.map(|line| Zeroizing::new(line.to_owned())));
        } else {
            subjects.push(Zeroizing::new(argument.clone()));
        }
    }
    if subjects.is_empty() && !arguments.is_empty() {
        return Err(Failure::usage("standard input named nobody"));
    }
    Ok(subjects)
}

impl People {
    /// Adds `subjects` or `handles` to a request, whichever is named.
    pub(super) fn add_to(&self, request: &mut Map<String, Value>) -> Result<(), Failure> {
        if !self.handle.is_empty() {
            request.insert("handles".into(), self.handle.iter().map(String::as_str).collect());
        }
        let subjects = subjects(&self.subject)?;
        if !subjects.is_empty() {
            let subjects = subjects.iter().map(|subject| subject.as_str()).collect();
            request.insert("subjects".into(), subjects);
        }
        Ok(())
    }
}

impl Person {
    /// Adds `subject` to a request, if one is named.
    pub(super) fn add_to(&self, request: &mut Map<String, Value>) -> Result<(), Failure> {
        let mut subjects = subjects(self.subject.as_slice())?;
        match (subjects.pop(), subjects.is_empty()) {
            (None, _) => Ok(()),
            (Some(subject), true) => {
                request.insert("subject".into(), subject.as_str().into());
                Ok(())
            }
            (Some(_), false) => Err(Failure::usage("name one person at a time")),
        }
    }
}

/// Adds a list to a request unless it is empty.
pub(super) fn add_list(request: &mut Map<String, Value>, name: &str, items: &[String]) {
    if !items.is_empty() {
        request.insert(name.into(), items.iter().map(String::as_str).collect());
    }
}

/// What stands in a field, as words.
pub(super) fn word(view: &Value, name: &str) -> String {
    match view.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => {
            let texts = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
            texts.collect::<Vec<_>>().join(", ")
        }
        Some(other) => other.to_string(),
    }
}

/// The items of a page, as rows of words.
pub(super) fn rows<const N: usize>(page: &Value, items: &str, fields: [&str; N]) -> Vec<[String; N]> {
    let items = page.get(items).and_then(Value::as_array);
    let row = |item: &Value| fields.map(|field| word(item, field));
    items.into_iter().flatten().map(row).collect()
}
