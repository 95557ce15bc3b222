//! `oubliette as-of`: the ledger as it stood, the state of a stream then, or what changed in it between two moments.

use std::borrow::Cow;
use std::fmt::Write;

use clap::Args;
use serde_json::Value;

use super::Context;
use super::failure::{Exit, Failure};
use super::target::OnLedger;
use crate::spec::report::visible;

/// Show the ledger, or the state of a stream, as of a moment.
#[derive(Debug, Args)]
#[command(
    disable_version_flag = true,
    after_help = "\
Examples:
  oubliette as-of --data D --time 2026-01-31T12:00:00Z
  oubliette as-of --data D --stream order-7 --index 41 --reveal
  oubliette as-of --data D --stream order-7 --diff-from-version 1

A moment includes the event that it names; without one it is now. Personal data is resolved by today's keys: what was
erased since is erased in every past."
)]
pub(super) struct AsOf {
    #[command(flatten)]
    on: OnLedger,
    /// The stream whose state is shown; without it, the ledger as a whole.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// As of this time (RFC 3339).
    #[arg(long, value_name = "TIME", group = "moment")]
    time: Option<String>,
    /// As of this index.
    #[arg(long, value_name = "INDEX", group = "moment")]
    index: Option<String>,
    /// As of this version of the stream.
    #[arg(long, value_name = "VERSION", group = "moment", requires = "stream")]
    version: Option<String>,
    /// Show what changed since this time.
    #[arg(long, value_name = "TIME", group = "diff", requires = "stream")]
    diff_from_time: Option<String>,
    /// Show what changed since this index.
    #[arg(long, value_name = "INDEX", group = "diff", requires = "stream")]
    diff_from_index: Option<String>,
    /// Show what changed since this version of the stream.
    #[arg(long, value_name = "VERSION", group = "diff", requires = "stream")]
    diff_from_version: Option<String>,
    /// Open personal data (recorded; needs the role revealer).
    #[arg(long, requires = "stream")]
    reveal: bool,
    /// Count neither streams nor types: faster on a large ledger.
    #[arg(long, conflicts_with = "stream")]
    no_counts: bool,
}

/// The parameters of a request.
type Parameters = Vec<(&'static str, String)>;

impl AsOf {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let session = self.on.open(context)?;
        let (path, query, show) = self.question();
        let query: Vec<_> = query.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let answer = session.client.get(&self.on.path(&path), &query)?;
        let document: Value = answer.parse()?;
        context.print_raw(&answer.text, || show(&document))?;
        Ok(Exit::Fine)
    }

    /// Where to ask, with which parameters, and how the answer is told.
    fn question(&self) -> (String, Parameters, fn(&Value) -> String) {
        let Some(stream) = &self.stream else {
            let mut query = given(["time", "index"], [&self.time, &self.index]);
            query.extend(self.no_counts.then(|| ("counts", "false".into())));
            return ("as-of".into(), query, ledger);
        };
        let mut query = given(
            ["from_time", "from_index", "from_version"],
            [&self.diff_from_time, &self.diff_from_index, &self.diff_from_version],
        );
        let is_diff = !query.is_empty();
        let names = if is_diff {
            ["to_time", "to_index", "to_version"]
        } else {
            ["as_of_time", "as_of_index", "as_of_version"]
        };
        query.extend(given(names, [&self.time, &self.index, &self.version]));
        query.extend(self.reveal.then(|| ("reveal", "true".into())));
        let path = format!("streams/{}/state", segment(stream));
        if is_diff {
            (format!("{path}/diff"), query, difference)
        } else {
            (path, query, state)
        }
    }
}

/// The parameters that were given.
fn given<const N: usize>(names: [&'static str; N], values: [&Option<String>; N]) -> Parameters {
    let pairs = names.into_iter().zip(values);
    pairs.filter_map(|(name, text)| Some((name, text.clone()?))).collect()
}

/// A path segment, percent-encoded (RFC 3986 §2.3).
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A member's text, shown as it is: it neither steers the terminal nor begins a line.
fn text<'a>(document: &'a Value, name: &str) -> Cow<'a, str> {
    visible(document.get(name).and_then(Value::as_str).unwrap_or_default())
}

fn number(document: &Value, name: &str) -> u64 {
    document.get(name).and_then(Value::as_u64).unwrap_or_default()
}

/// Where the ledger stood, in words.
fn moment(document: &Value) -> String {
    match document.get("index").and_then(Value::as_u64) {
        Some(index) => format!("index {index}, recorded {}", text(document, "recorded_at")),
        None => "before the first event".into(),
    }
}

fn proof(document: &Value) -> String {
    let covering = document.pointer("/consistency/to").and_then(Value::as_u64);
    let checkpoint = covering.map_or_else(
        || "signed checkpoint of this size".into(),
        |size| format!("signed checkpoint of size {size}, with a consistency proof"),
    );
    let (size, root) = (number(document, "tree_size"), text(document, "root"));
    format!("Tree size {size}, root {root}\n({checkpoint}: see --json)")
}

fn ledger(document: &Value) -> String {
    let mut out = format!(
        "Ledger {} as of {}\n{}",
        text(document, "ledger"),
        moment(document),
        proof(document)
    );
    if let Some(types) = document.get("types").and_then(Value::as_object) {
        let _ = write!(out, "\n{} streams. Events by type:", number(document, "streams"));
        for (name, count) in types {
            let _ = write!(out, "\n  {count:>10}  {}", visible(name));
        }
    }
    out
}

fn state(document: &Value) -> String {
    let (stream, version) = (text(document, "stream"), number(document, "stream_version"));
    let mut out = format!("Stream {stream}, version {version}, as of {}\n", moment(document));
    let _ = write!(out, "State: {}", pretty(document.get("state")));
    personal(&mut out, document, |field| {
        let data = field.get("data").map(|data| format!(": {}", pretty(Some(data))));
        let blocks = number(field, "blocks");
        format!("{} ({blocks} blocks){}", text(field, "state"), data.unwrap_or_default())
    });
    not_folded(&mut out, document);
    let _ = write!(out, "\n{}", proof(document));
    out
}

fn difference(document: &Value) -> String {
    let side = |name| document.get(name).unwrap_or(&Value::Null);
    let (from, to) = (side("from"), side("to"));
    let mut out = format!(
        "Stream {}, from version {} ({})\n  to version {} ({})\nState:",
        text(document, "stream"),
        number(from, "stream_version"),
        moment(from),
        number(to, "stream_version"),
        moment(to)
    );
    changes(&mut out, document.get("patch"), "  ");
    personal(&mut out, document, |field| {
        let mut words = text(field, "state").into_owned();
        if let Some(patch) = field.get("patch") {
            changes(&mut words, Some(patch), "    ");
        }
        words
    });
    not_folded(&mut out, document);
    out
}

/// A JSON patch, an operation a line.
fn changes(out: &mut String, patch: Option<&Value>, indent: &str) {
    let operations = patch.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if operations.is_empty() {
        out.push_str(" unchanged");
    }
    for operation in operations {
        let value = operation
            .get("value")
            .map(|value| format!(" = {}", visible(&value.to_string())))
            .unwrap_or_default();
        let path = text(operation, "path");
        let path = if path.is_empty() { "(all of it)".into() } else { path };
        let _ = write!(out, "\n{indent}{:<8}{path}{value}", text(operation, "op"));
    }
}

fn personal(out: &mut String, document: &Value, words: impl Fn(&Value) -> String) {
    let people = document.get("personal").and_then(Value::as_object);
    for (handle, fields) in people.into_iter().flatten() {
        for (category, field) in fields.as_object().into_iter().flatten() {
            let (handle, category) = (visible(handle), visible(category));
            let _ = write!(out, "\nPersonal, {handle}, {category}: {}", words(field));
        }
    }
}

fn not_folded(out: &mut String, document: &Value) {
    let bodies = document.get("not_folded").and_then(Value::as_array);
    for body in bodies.into_iter().flatten() {
        let (version, index) = (number(body, "stream_version"), number(body, "index"));
        let _ = write!(
            out,
            "\nNot folded: version {version} (index {index}), {} body is {}",
            text(body, "body"),
            text(body, "state")
        );
    }
}

fn pretty(value: Option<&Value>) -> String {
    let text = value.and_then(|value| serde_json::to_string_pretty(value).ok());
    let text = text.unwrap_or_default();
    // Within JSON text a line ends only between values.
    let lines: Vec<_> = text.split('\n').map(visible).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_of_the_ledger_steers_the_terminal_or_begins_a_line() {
        let hostile = "x\u{1b}[2J\nVALID\u{202e}";
        let shown = difference(&serde_json::json!({
            "stream": hostile,
            "patch": [{"op": "add", "path": hostile, "value": {hostile: hostile}}],
            "personal": {"h": {"c": {"state": hostile}}},
            "not_folded": [{"body": hostile, "state": hostile}],
        }));
        let state = state(&serde_json::json!({"stream": "s", "state": {hostile: hostile}}));
        let ledger = ledger(&serde_json::json!({"ledger": hostile, "types": {hostile: 1}}));
        for shown in [shown, state, ledger] {
            assert!(
                !shown.contains(['\u{1b}', '\u{202e}']) && !shown.contains("\nVALID"),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_stream_name_of_any_characters_is_one_path_segment() {
        assert_eq!(segment("order-7"), "order-7");
        assert_eq!(segment("a/b?c=d&e#f %é"), "a%2Fb%3Fc%3Dd%26e%23f%20%25%C3%A9");
    }
}
