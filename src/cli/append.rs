//! `oubliette append`.

use std::path::PathBuf;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::Context;
use super::failure::{Exit, Failure};
use super::output::{read_file, table, text_argument, write_file};
use super::target::OnLedger;

/// Append one event, or a request from a file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  oubliette append --data D --stream order-7 --type order.placed --payload '{\"total\": 12}' \\
      --personal 'customer-41={\"name\": \"Ada\"}'
  oubliette append --data D --stream order-7 --type order.shipped --personal - < blocks.json
  oubliette append --data D --file events.json      ({\"events\": [{\"stream\": …, \"type\": …}]})")]
pub(super) struct Append {
    #[command(flatten)]
    on: OnLedger,
    /// The stream.
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    stream: Option<String>,
    /// What happened, such as order.placed.
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    event_type: Option<String>,
    /// Public data that stays in clear: JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// Personal data to seal: SUBJECT=JSON; or @FILE or - with objects {"subject", "category"?, "data"}, which keeps
    /// subjects out of the process list. Repeatable.
    #[arg(long, value_name = "SUBJECT=JSON")]
    personal: Vec<String>,
    /// The category of SUBJECT=JSON.
    #[arg(long, value_name = "NAME", requires = "personal")]
    category: Option<String>,
    /// The event's id, for exact retries.
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// any, no_stream, stream_exists, or the version that the stream must have.
    #[arg(long, value_name = "VERSION")]
    expected_version: Option<String>,
    /// When it happened (RFC 3339).
    #[arg(long, value_name = "TIME")]
    occurred_at: Option<String>,
    /// Who acted; stays in clear.
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// What it belongs to.
    #[arg(long, value_name = "ID")]
    correlation_id: Option<String>,
    /// What caused it.
    #[arg(long, value_name = "ID")]
    causation_id: Option<String>,
    /// A label. Repeatable.
    #[arg(long, value_name = "LABEL")]
    tag: Vec<String>,
    /// The version of the payload's schema.
    #[arg(long, value_name = "NUMBER")]
    schema_version: Option<u32>,
    /// A whole request as JSON instead; - for standard input. With --stream the request of that stream.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["event_type", "payload", "personal", "id",
        "expected_version", "occurred_at", "actor", "correlation_id", "causation_id", "tag", "schema_version"])]
    file: Option<PathBuf>,
    /// Keep the receipt in a file, for `oubliette-verify`.
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    receipt_out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Request<'a> {
    events: [Event<'a>; 1],
}

#[derive(Serialize)]
struct Event<'a> {
    stream: &'a str,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected_version: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema_version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    causation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tags: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    personal: Vec<Block>,
}

/// A personal block, as the API takes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<String>,
    data: Box<RawValue>,
}

impl Append {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let (path, body) = match &self.file {
            Some(file) => (self.path_of_file()?, read_file(file)?),
            None => {
                let text =
                    serde_json::to_string(&self.request()?).map_err(|error| Failure::usage(error.to_string()))?;
                (self.on.path("events"), text.into())
            }
        };
        let session = self.on.open(context)?;
        let answer = session.client.post_raw(&path, &[], body.as_bytes())?;
        let receipts: Receipts = answer.parse()?;
        if let Some(file) = &self.receipt_out {
            // With the key events that it rests on, so that it can be checked alone.
            let index = receipts.events.first().map_or(0, |event| event.index);
            let alone = session
                .client
                .get(&self.on.path(&format!("events/{index}/receipt")), &[])?;
            write_file(file, alone.text.as_bytes())?;
        }
        context.print_raw(&answer.text, || receipts.words(answer.status == 200))?;
        Ok(Exit::Fine)
    }

    fn path_of_file(&self) -> Result<String, Failure> {
        match self.stream.as_deref() {
            None => Ok(self.on.path("events")),
            Some("." | ".." | "") => Err(Failure::usage("--stream: not a name that fits into a URL")),
            Some(stream) => Ok(self.on.path(&format!("streams/{}/events", percent_encoded(stream)))),
        }
    }

    fn request(&self) -> Result<Request<'_>, Failure> {
        let from_stdin = self
            .personal
            .iter()
            .chain(&self.payload)
            .filter(|argument| *argument == "-")
            .count();
        if from_stdin > 1 {
            return Err(Failure::usage(
                "standard input can be read once: only one of --payload and --personal may be -",
            ));
        }
        let data = match &self.payload {
            Some(argument) => Some(json_of(&text_argument(argument)?, "--payload")?),
            None => None,
        };
        let mut personal = Vec::new();
        for argument in &self.personal {
            personal.extend(self.blocks(argument)?);
        }
        let version = |text: &String| {
            text.parse::<u64>()
                .map_or_else(|_| text.as_str().into(), serde_json::Value::from)
        };
        let event = Event {
            stream: self.stream.as_deref().unwrap_or_default(),
            event_type: self.event_type.as_deref().unwrap_or_default(),
            expected_version: self.expected_version.as_ref().map(version),
            id: self.id,
            schema_version: self.schema_version,
            occurred_at: self.occurred_at.as_deref(),
            actor: self.actor.as_deref(),
            correlation_id: self.correlation_id.as_deref(),
            causation_id: self.causation_id.as_deref(),
            tags: &self.tag,
            data,
            personal,
        };
        Ok(Request { events: [event] })
    }

    fn blocks(&self, argument: &str) -> Result<Vec<Block>, Failure> {
        if argument == "-" || argument.starts_with('@') {
            return blocks_of(&text_argument(argument)?);
        }
        // A subject id may hold an equals sign itself: what follows the right one is JSON.
        let found = argument.match_indices('=').find_map(|(at, _)| {
            let (subject, json) = (argument.get(..at)?, argument.get(at + 1..)?);
            let data = RawValue::from_string(json.to_owned()).ok()?;
            Some(Block {
                subject: subject.to_owned(),
                category: self.category.clone(),
                data,
            })
        });
        let found = found.ok_or_else(|| {
            Failure::usage("--personal: must be SUBJECT=JSON, such as customer-41='{\"name\": \"Ada\"}'")
        })?;
        Ok(vec![found])
    }
}

fn json_of(text: &str, argument: &str) -> Result<Box<RawValue>, Failure> {
    RawValue::from_string(text.trim().to_owned())
        .map_err(|error| Failure::usage(format!("{argument}: is not JSON: {error}")))
}

/// One block after another, or arrays of them.
fn blocks_of(text: &str) -> Result<Vec<Block>, Failure> {
    let unusable = |error: serde_json::Error| {
        Failure::usage(format!(
            "--personal: must hold objects {{\"subject\", \"category\"?, \"data\"}}: {error}"
        ))
    };
    let mut blocks = Vec::new();
    for value in serde_json::Deserializer::from_str(text).into_iter::<Box<RawValue>>() {
        let value = value.map_err(unusable)?;
        if value.get().starts_with('[') {
            blocks.extend(serde_json::from_str::<Vec<Block>>(value.get()).map_err(unusable)?);
        } else {
            blocks.push(serde_json::from_str(value.get()).map_err(unusable)?);
        }
    }
    Ok(blocks)
}

/// A path segment (RFC 3986).
fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[derive(Deserialize)]
struct Receipts {
    events: Vec<Receipt>,
}

#[derive(Deserialize)]
struct Receipt {
    index: u64,
    stream: String,
    stream_version: u64,
    recorded_at: String,
    id: Uuid,
    personal: Vec<serde::de::IgnoredAny>,
}

impl Receipts {
    fn words(&self, repeated: bool) -> String {
        let row = |event: &Receipt| {
            let Receipt {
                index,
                stream,
                stream_version,
                recorded_at,
                id,
                personal,
            } = event;
            let sealed = personal.len().to_string();
            [
                index.to_string(),
                stream.clone(),
                stream_version.to_string(),
                recorded_at.clone(),
                sealed,
                id.to_string(),
            ]
        };
        let header = ["index", "stream", "version", "recorded at", "sealed", "id"];
        let what = if repeated {
            "Was there already, unchanged; the first receipts:"
        } else {
            "Appended:"
        };
        format!("{what}\n{}", table(header, self.events.iter().map(row)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_as_objects_lines_or_arrays() {
        let one = r#"{"subject":"a","data":1}"#;
        for (text, count) in [
            (one.to_owned(), 1),
            (format!("{one}\n{one}"), 2),
            (format!("[{one},{one}]{one}"), 3),
        ] {
            assert_eq!(blocks_of(&text).unwrap().len(), count, "{text}");
        }
        for text in [
            "nonsense",
            r#"{"subject":"a"}"#,
            r#"{"subject":"a","data":1,"more":2}"#,
            "[1]",
        ] {
            assert_eq!(blocks_of(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }

    #[test]
    fn a_path_segment_holds_any_name() {
        assert_eq!(percent_encoded("order-7/é %"), "order-7%2F%C3%A9%20%25");
    }
}
