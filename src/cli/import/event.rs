//! From a record to an event, or to the reason why not.
//!
//! What the mapping calls personal moves out of the record into sealed blocks, and so does any other value that still
//! holds the person's id: what is left is public for ever.

use serde::Serialize;
use uuid::Uuid;

use super::json::Json;
use super::mapping::{Actor, Field, Mapping, Part, Template, TimeFormat};
use crate::spec::ids::{Category, EventType, StreamName, SubjectId, Timestamp};

/// The namespace of ids that are made from an import's name and a line.
const NAMESPACE: Uuid = Uuid::from_u128(0x3f0d_8a52_6c1e_4f6b_9a7d_51c2_e0b4_7a96);
/// Shorter ids are too common to be looked for in other fields.
const SHORTEST_SOUGHT: usize = 3;

/// Why a record is not imported: a stable code.
pub(super) type Rejection = &'static str;

/// An event as the API takes it.
#[derive(Debug, Serialize)]
pub(super) struct Event {
    id: Uuid,
    stream: StreamName,
    #[serde(rename = "type")]
    event_type: EventType,
    #[serde(skip_serializing_if = "Option::is_none")]
    occurred_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<EventActor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    data: Json,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    personal: Vec<Block>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum EventActor {
    Name(String),
    Person { subject: String },
}

#[derive(Debug, Serialize)]
struct Block {
    subject: String,
    category: Category,
    data: Json,
}

/// Makes an event of the record on a line.
pub(super) fn event(mapping: &Mapping, line: u64, record: Json) -> Result<Event, Rejection> {
    let found = mapping.subject.iter().find_map(|field| words(&record, field));
    let sought = found.clone().filter(|subject| subject.len() >= SHORTEST_SOUGHT);
    let subject = found.or_else(|| mapping.default_subject.clone()).ok_or("no_subject")?;
    if subject.parse::<SubjectId>().is_err() {
        return Err("invalid_subject");
    }
    let event = envelope(mapping, line, &record, &subject)?;
    let names_the_person = |text: &str| sought.as_ref().is_some_and(|sought| holds_word(text, sought));
    if event.clear_texts().any(names_the_person) {
        return Err("subject_in_clear");
    }
    let (data, personal) = split(mapping, record, &subject, &names_the_person);
    Ok(Event {
        data,
        personal,
        ..event
    })
}

/// Everything but the bodies.
fn envelope(mapping: &Mapping, line: u64, record: &Json, subject: &str) -> Result<Event, Rejection> {
    let id = match &mapping.id {
        Some(field) => words(record, field)
            .ok_or("missing_field")?
            .parse()
            .map_err(|_| "invalid_id")?,
        None => Uuid::new_v5(&NAMESPACE, format!("{}\n{line}", mapping.name).as_bytes()),
    };
    let occurred_at = match &mapping.occurred_at {
        Some((field, format)) => words(record, field).map(|text| time(&text, *format)).transpose()?,
        None => None,
    };
    let actor = match &mapping.actor {
        Some(Actor::Subject) => Some(EventActor::Person {
            subject: subject.to_owned(),
        }),
        Some(Actor::Name(template)) => rendered(template, record).map(EventActor::Name),
        None => None,
    };
    let correlation_id = mapping.correlation_id.as_ref();
    Ok(Event {
        id,
        stream: stream_name(&rendered(&mapping.stream, record).ok_or("missing_field")?)?,
        event_type: event_type(&rendered(&mapping.event_type, record).ok_or("missing_field")?)?,
        occurred_at,
        actor,
        correlation_id: correlation_id.and_then(|template| rendered(template, record)),
        tags: mapping.tags.iter().filter_map(|tag| rendered(tag, record)).collect(),
        data: Json::Object(Vec::new()),
        personal: Vec::new(),
    })
}

impl Event {
    fn clear_texts(&self) -> impl Iterator<Item = &str> {
        let actor = match &self.actor {
            Some(EventActor::Name(name)) => Some(name.as_str()),
            _ => None,
        };
        let names = [self.stream.as_str(), self.event_type.as_str()]
            .into_iter()
            .chain(actor);
        names
            .chain(self.correlation_id.as_deref())
            .chain(self.tags.iter().map(String::as_str))
    }
}

/// The public rest of a record, and its sealed blocks.
fn split(
    mapping: &Mapping,
    mut record: Json,
    subject: &str,
    names_the_person: &dyn Fn(&str) -> bool,
) -> (Json, Vec<Block>) {
    mapping.drop.iter().for_each(|field| drop(record.take(&field.path)));
    let mut blocks = Vec::with_capacity(mapping.personal.len().max(1));
    for (category, fields) in &mapping.personal {
        let paths = fields.iter().map(|field| field.path.as_slice());
        blocks.push((category.clone(), moved(&mut record, paths)));
    }
    if blocks.is_empty() {
        blocks.push((Category::default(), Json::Object(Vec::new())));
    }
    let mut rest: Vec<_> = mapping.subject.iter().map(|field| field.path.clone()).collect();
    rest.extend(record.paths_where(names_the_person));
    if let Some((_, block)) = blocks.first_mut() {
        for path in rest {
            if let Some(value) = record.take(&path) {
                block.put(&path, value);
            }
        }
    }
    let full = blocks.into_iter().filter(|(_, data)| !data.is_empty());
    let subject = || subject.to_owned();
    (
        record,
        full.map(|(category, data)| Block {
            subject: subject(),
            category,
            data,
        })
        .collect(),
    )
}

/// Takes what lies under some paths out of a record.
fn moved<'a>(record: &mut Json, paths: impl Iterator<Item = &'a [String]>) -> Json {
    let mut taken = Json::Object(Vec::new());
    for path in paths {
        if let Some(value) = record.take(path) {
            taken.put(path, value);
        }
    }
    taken
}

fn words(record: &Json, field: &Field) -> Option<String> {
    record.find(&field.path)?.words()
}

fn rendered(template: &Template, record: &Json) -> Option<String> {
    let part = |part: &Part| match part {
        Part::Text(text) => Some(text.clone()),
        Part::Field(field) => words(record, field),
    };
    template.0.iter().map(part).collect()
}

/// Control characters become dashes; too long a name is cut.
fn stream_name(text: &str) -> Result<StreamName, Rejection> {
    let clean: String = text.chars().map(|c| if c.is_control() { '-' } else { c }).collect();
    let clean = if clean.starts_with('$') {
        format!("_{clean}")
    } else {
        clean
    };
    cut(&clean, 256).parse().map_err(|_| "invalid_stream")
}

/// What is not of a type's alphabet becomes one dash.
fn event_type(text: &str) -> Result<EventType, Rejection> {
    let mut clean = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii_alphanumeric() || "._:/-".contains(c) {
            clean.push(c);
        } else if !clean.ends_with('-') {
            clean.push('-');
        }
    }
    cut(clean.trim_matches('-'), 128).parse().map_err(|_| "invalid_type")
}

fn cut(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len()))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn time(text: &str, format: TimeFormat) -> Result<Timestamp, Rejection> {
    let micros = |factor: f64| {
        text.parse::<f64>()
            .ok()
            .filter(|number| *number >= 0.0)
            .map(|number| number * factor)
    };
    let whole = |factor: u64| text.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let time = match format {
        TimeFormat::Rfc3339 => return text.parse().map_err(|_| "invalid_time"),
        TimeFormat::Unix => whole(1_000_000).or_else(|| micros(1_000_000.0).map(|micros| micros.round() as u64)),
        TimeFormat::UnixMs => whole(1_000).or_else(|| micros(1_000.0).map(|micros| micros.round() as u64)),
    };
    let time = Timestamp(time.ok_or("invalid_time")?);
    if time > Timestamp::MAX {
        Err("invalid_time")
    } else {
        Ok(time)
    }
}

/// Whether `word` stands in `text` between characters that belong to no word, whatever the case.
fn holds_word(text: &str, word: &str) -> bool {
    let (text, word) = (text.to_lowercase(), word.to_lowercase());
    text.match_indices(&word).any(|(at, _)| {
        let before = text.get(..at).and_then(|before| before.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|after| after.chars().next());
        [before, after].into_iter().flatten().all(|c| !c.is_alphanumeric())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MAPPING: &str = r#"
        name = "test"
        format = "ndjson"
        stream = "s-{/region}"
        type = "{/what}"
        occurred_at = "/at"
        [subject]
        fields = ["/user/name", "/user/id"]
        [personal]
        identity = ["/user"]
        network = ["/ip"]
    "#;

    fn made(record: &str) -> Result<serde_json::Value, Rejection> {
        let mapping = Mapping::parse(MAPPING).unwrap();
        let event = event(&mapping, 7, serde_json::from_str(record).unwrap());
        event.map(|event| serde_json::to_value(&event).unwrap())
    }

    #[test]
    fn personal_fields_move_into_blocks_and_leave_nothing_behind() {
        let record = r#"{"region":"eu","what":"Log In!","at":"2026-01-31T13:00:00+01:00",
            "user":{"name":"","id":"ada-41"},"ip":"10.0.0.1","note":"by ADA-41.","n":1.50}"#;
        let event = made(record).unwrap();
        assert_eq!(event["type"], "Log-In");
        assert_eq!(event["occurred_at"], "2026-01-31T12:00:00.000000Z");
        assert_eq!(
            event["data"].as_object().unwrap().keys().collect::<Vec<_>>(),
            ["at", "n", "region", "what"]
        );
        let personal = event["personal"].as_array().unwrap();
        assert_eq!(
            (&personal[0]["subject"], &personal[1]["data"]["ip"]),
            (&"ada-41".into(), &"10.0.0.1".into())
        );
        assert_eq!(personal[0]["data"]["note"], "by ADA-41.");
    }

    #[test]
    fn ids_come_from_the_name_and_the_line_alone() {
        let (one, other) = (
            r#"{"region":"eu","what":"a","user":{"name":"ada"}}"#,
            r#"{"region":"x","what":"b","user":{"id":9}}"#,
        );
        assert_eq!(made(one).unwrap()["id"], made(other).unwrap()["id"]);
    }

    #[test]
    fn what_cannot_be_imported_has_a_code() {
        for (record, code) in [
            (r#"{"region":"eu","what":"a","user":{"name":""}}"#, "no_subject"),
            (r#"{"what":"a","user":{"name":"ada"}}"#, "missing_field"),
            (r#"{"region":"eu","what":"!","user":{"name":"ada"}}"#, "invalid_type"),
            (
                r#"{"region":"eu","what":"a","at":"noon","user":{"name":"ada"}}"#,
                "invalid_time",
            ),
            (
                r#"{"region":"home-of-ada","what":"a","user":{"name":"ada"}}"#,
                "subject_in_clear",
            ),
        ] {
            assert_eq!(made(record).unwrap_err(), code, "{record}");
        }
    }

    #[test]
    fn unix_times_are_read() {
        assert_eq!(time("1", TimeFormat::Unix).unwrap(), Timestamp(1_000_000));
        assert_eq!(time("1.5", TimeFormat::Unix).unwrap(), Timestamp(1_500_000));
        assert_eq!(time("1500", TimeFormat::UnixMs).unwrap(), Timestamp(1_500_000));
        assert!(time("-1", TimeFormat::Unix).is_err());
    }
}
