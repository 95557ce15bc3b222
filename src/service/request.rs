//! What callers may ask to append, parsed once into valid types (docs/api.md, Append).

use serde::de::{DeserializeOwned, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Code, Error, FieldError};
pub use crate::sequencer::ExpectedVersion;
use crate::spec::ids::{Category, EventType, StreamName, SubjectId, Timestamp};

/// The most events of a request, whatever a configuration says: what is beyond is not even parsed.
pub const MAX_EVENTS: usize = 1_000;
const MAX_PERSONAL: usize = 256;
const MAX_TAGS: usize = 32;

/// Reads a list and stops at its limit, so that a body of empty items does not become a multiple of itself in memory.
fn at_most<'de, const MAX: usize, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    struct Items<const MAX: usize, T>(std::marker::PhantomData<T>);

    impl<'de, const MAX: usize, T: Deserialize<'de>> Visitor<'de> for Items<MAX, T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "a list of at most {MAX}")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
            let mut items = Vec::new();
            while let Some(item) = list.next_element()? {
                if items.len() == MAX {
                    return Err(serde::de::Error::custom(format_args!("{TOO_MANY} {MAX}")));
                }
                items.push(item);
            }
            Ok(items)
        }
    }

    deserializer.deserialize_seq(Items::<MAX, T>(std::marker::PhantomData))
}

/// How the error of a list begins that is too long.
const TOO_MANY: &str = "must hold at most";

/// `POST /streams/{stream}/events`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct AppendRequest {
    /// What the caller knows of the stream.
    pub expected_version: Option<Expected>,
    /// At least one event.
    #[serde(deserialize_with = "at_most::<MAX_EVENTS, _, _>")]
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<EventRequest>,
}

/// `POST /events`: an atomic batch over several streams.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct BatchRequest {
    /// At least one event.
    #[serde(deserialize_with = "at_most::<MAX_EVENTS, _, _>")]
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<StreamEventRequest>,
}

/// An event of a batch, with its stream.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct StreamEventRequest {
    /// The stream.
    pub stream: StreamName,
    /// Checked at the stream's first event in the batch.
    pub expected_version: Option<Expected>,
    // The fields of `EventRequest` once more: serde cannot flatten and refuse unknown fields at once.
    /// See [`EventRequest`].
    pub id: Option<Uuid>,
    /// See [`EventRequest`].
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// See [`EventRequest`].
    #[serde(default = "one")]
    #[schema(minimum = 1)]
    pub schema_version: u32,
    /// See [`EventRequest`].
    pub occurred_at: Option<Timestamp>,
    /// See [`EventRequest`].
    pub actor: Option<ActorRequest>,
    /// See [`EventRequest`].
    #[schema(min_length = 1, max_length = 256)]
    pub correlation_id: Option<Box<str>>,
    /// See [`EventRequest`].
    #[schema(min_length = 1, max_length = 256)]
    pub causation_id: Option<Box<str>>,
    /// See [`EventRequest`].
    #[serde(default, deserialize_with = "at_most::<MAX_TAGS, _, _>")]
    #[schema(max_items = 32)]
    pub tags: Vec<Box<str>>,
    /// See [`EventRequest`].
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// See [`EventRequest`].
    #[serde(default, deserialize_with = "at_most::<MAX_PERSONAL, _, _>")]
    #[schema(max_items = 256)]
    pub personal: Vec<PersonalRequest>,
}

impl StreamEventRequest {
    pub(super) fn split(self) -> (StreamName, Option<Expected>, EventRequest) {
        let Self {
            stream,
            expected_version,
            id,
            event_type,
            schema_version,
            occurred_at,
            ..
        } = self;
        let Self {
            actor,
            correlation_id,
            causation_id,
            tags,
            data,
            personal,
            ..
        } = self;
        let event = EventRequest {
            id,
            event_type,
            schema_version,
            occurred_at,
            actor,
            correlation_id,
            causation_id,
            tags,
            data,
            personal,
        };
        (stream, expected_version, event)
    }
}

/// One event.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct EventRequest {
    /// The caller's id; minted if absent.
    pub id: Option<Uuid>,
    /// What happened.
    #[serde(rename = "type")]
    pub event_type: EventType,
    /// From 1.
    #[serde(default = "one")]
    #[schema(minimum = 1)]
    pub schema_version: u32,
    /// When, as the caller says.
    pub occurred_at: Option<Timestamp>,
    /// Who acted.
    pub actor: Option<ActorRequest>,
    /// What it belongs to.
    #[schema(min_length = 1, max_length = 256)]
    pub correlation_id: Option<Box<str>>,
    /// What caused it.
    #[schema(min_length = 1, max_length = 256)]
    pub causation_id: Option<Box<str>>,
    /// Labels.
    #[serde(default, deserialize_with = "at_most::<MAX_TAGS, _, _>")]
    #[schema(max_items = 32)]
    pub tags: Vec<Box<str>>,
    /// The public payload, kept as the exact bytes received.
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
    /// Personal data, sealed per subject and category.
    #[serde(default, deserialize_with = "at_most::<MAX_PERSONAL, _, _>")]
    #[schema(max_items = 256)]
    pub personal: Vec<PersonalRequest>,
}

const fn one() -> u32 {
    1
}

/// `"name"`, or `{"subject": id}` for a person.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "must be a text, or {\"subject\": id} for a person")]
#[derive(utoipa::ToSchema)]
pub enum ActorRequest {
    /// A name that stays in clear.
    Name(Box<str>),
    /// A person.
    Subject(SubjectRequest),
}

/// `{"subject": id}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct SubjectRequest {
    /// The caller's id for the person.
    pub subject: SubjectId,
}

/// Personal data of one subject in one category.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct PersonalRequest {
    /// The caller's id for the person.
    pub subject: SubjectId,
    /// The purpose.
    #[serde(default)]
    pub category: Category,
    /// What to seal.
    #[schema(value_type = Option<serde_json::Value>)]
    pub data: Option<Box<RawValue>>,
}

/// An expected version as callers write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected(pub ExpectedVersion);

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(
            untagged,
            expecting = "must be \"any\", \"no_stream\", \"stream_exists\" or a version from 0"
        )]
        enum Form {
            Version(u64),
            Word(Box<str>),
        }
        let expected = match Form::deserialize(deserializer)? {
            Form::Version(0) => ExpectedVersion::NoStream,
            Form::Version(version) => ExpectedVersion::Exactly(version),
            Form::Word(word) => match &*word {
                "any" => ExpectedVersion::Any,
                "no_stream" => ExpectedVersion::NoStream,
                "stream_exists" => ExpectedVersion::StreamExists,
                _ => {
                    return Err(serde::de::Error::custom(
                        "must be \"any\", \"no_stream\", \"stream_exists\" or a version from 0",
                    ));
                }
            },
        };
        Ok(Self(expected))
    }
}

/// Parses a JSON request and names the field that is wrong.
///
/// # Errors
/// `malformed_json` with the place, or `invalid_field` with the pointer.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::new(
            Code::MalformedJson,
            format!("the body is not UTF-8 after byte {}", error.valid_up_to()),
        )
    })?;
    // Paths are tracked only once it is known that there is something to say about them.
    serde_json::from_str(text).or_else(|_| {
        let mut json = serde_json::Deserializer::from_str(text);
        let value = serde_path_to_error::deserialize(&mut json).map_err(explain)?;
        let trailing = |error| Error::new(Code::MalformedJson, format!("after the JSON value: {error}"));
        json.end().map_err(trailing)?;
        Ok(value)
    })
}

fn explain(error: serde_path_to_error::Error<serde_json::Error>) -> Error {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in error.path().iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } => pointer.push_str(&format!("/{}", if is_name(key) { key } else { "…" })),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let inner = error.inner();
    if pointer == "/events" && inner.to_string().starts_with(TOO_MANY) {
        return Error::new(
            Code::TooLarge,
            format!("a batch holds at most {MAX_EVENTS} events; send several"),
        );
    }
    match inner.classify() {
        serde_json::error::Category::Data => Error::fields(
            Code::InvalidField,
            vec![FieldError {
                pointer,
                detail: without_values(&inner.to_string()),
            }],
        ),
        _ => Error::new(Code::MalformedJson, format!("the body is not JSON: {inner}")),
    }
}

/// A message of serde without what the caller wrote: the type that was found, the type that was expected, the place.
///
/// Serde's forms are ``invalid type: string "…", expected …``, ``unknown variant `…`, expected …`` and the like. A value may
/// hold any of these words itself, so the expectation is what follows the last of them.
pub fn without_values(message: &str) -> String {
    const QUOTING: [&str; 4] = [
        "invalid type: ",
        "invalid value: ",
        "unknown variant ",
        "unknown field ",
    ];
    let quoted = QUOTING
        .iter()
        .find_map(|form| Some((form, message.strip_prefix(form)?)));
    let Some((form, found)) = quoted else {
        return message.to_owned();
    };
    let kind = found.split(['`', '"', ',']).next().unwrap_or_default();
    let expected = found
        .rfind(", expected ")
        .filter(|_| !found.contains("`, there are no "));
    let expected = expected.and_then(|at| found.get(at..)).unwrap_or_default();
    format!("{}{expected}", format!("{form}{kind}").trim_end())
}

/// What a field may be called; anything else could be a value in the wrong place.
fn is_name(key: &str) -> bool {
    matches!(key.len(), 1..=64) && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn error(body: &str) -> Error {
        parse::<AppendRequest>(body.as_bytes()).unwrap_err()
    }

    #[test]
    fn a_wrong_field_is_named_by_its_pointer() {
        for (body, pointer) in [
            (r#"{"events":[{"type":"a","id":"x"}]}"#, "/events/0/id"),
            (r#"{"events":[{"type":"a b"}]}"#, "/events/0/type"),
            (
                r#"{"events":[{"type":"a"},{"type":"a","personal":[{"subject":""}]}]}"#,
                "/events/1/personal/0/subject",
            ),
            (
                r#"{"events":[{"type":"a","occurred_at":"noon"}]}"#,
                "/events/0/occurred_at",
            ),
            (r#"{"expected_version":"soon","events":[]}"#, "/expected_version"),
            (r#"{"expected_version":-1,"events":[]}"#, "/expected_version"),
        ] {
            let error = error(body);
            assert_eq!(error.code, Code::InvalidField, "{body}");
            assert_eq!(error.errors.first().unwrap().pointer, pointer, "{body}");
        }
        assert_eq!(error(r#"{"events":[{"type":"a","extra":1}]}"#).code, Code::InvalidField);
        assert_eq!(
            error(r#"{"events":[{"type":"a","type":"b"}]}"#).code,
            Code::InvalidField
        );
    }

    #[test]
    fn what_was_sent_in_a_wrong_place_is_not_quoted() {
        let person = r#"ada@example.com, expected \"x\"`, expected `ada"#;
        for body in [
            format!(r#"{{"events":[{{"type":"a","schema_version":"{person}"}}]}}"#),
            format!(r#"{{"events":[{{"type":"a","tags":"{person}"}}]}}"#),
            format!(r#"{{"events":[{{"type":"a","personal":"{person}"}}]}}"#),
            format!(r#"{{"events":[{{"type":"a","id":"{person}"}}]}}"#),
            format!(r#"{{"events":[{{"type":"{person}"}}]}}"#),
            format!(r#"{{"events":[{{"type":"a","occurred_at":"{person}"}}]}}"#),
            format!(r#"{{"events":[{{"type":"a","actor":{{"{person}":1}}}}]}}"#),
            format!(r#"{{"events":[{{"type":"a","{person}":1}}]}}"#),
            format!(r#"{{"{person}":1,"events":[]}}"#),
            format!(r#"{{"expected_version":"{person}","events":[]}}"#),
            format!(r#""{person}""#),
        ] {
            let error = error(&body);
            assert_eq!(error.code, Code::InvalidField, "{body}");
            let field = error.errors.first().unwrap();
            let said = format!("{} {} {}", error.detail, field.pointer, field.detail);
            assert!(!said.contains("ada"), "{body}: {said}");
        }
        assert!(!error(r#"{"events":[{"type":4915112345678}]}"#).detail.contains("49151"));
    }

    #[test]
    fn the_type_and_the_place_are_still_told() {
        for (message, kept) in [
            (
                r#"invalid type: string "x, expected y", expected u32 at line 1 column 9"#,
                "invalid type: string, expected u32 at line 1 column 9",
            ),
            (
                "invalid type: integer `7`, expected a text",
                "invalid type: integer, expected a text",
            ),
            (
                "invalid type: map, expected a text",
                "invalid type: map, expected a text",
            ),
            (
                "unknown variant `x`, expected `a` or `b`",
                "unknown variant, expected `a` or `b`",
            ),
            ("unknown field `x`, there are no fields", "unknown field"),
            ("missing field `type`", "missing field `type`"),
        ] {
            assert_eq!(without_values(message), kept);
        }
    }

    #[test]
    fn what_is_no_json_is_malformed() {
        for body in ["", "{", "{\"events\":[]} x", "nonsense"] {
            assert_eq!(error(body).code, Code::MalformedJson, "{body}");
        }
        assert_eq!(
            parse::<AppendRequest>(b"{\"events\":[{\"type\":\"\xff\"}]}")
                .unwrap_err()
                .code,
            Code::MalformedJson
        );
    }

    #[test]
    fn expected_version_zero_means_no_stream() {
        let request: AppendRequest = parse(br#"{"expected_version":0,"events":[]}"#).unwrap();
        assert_eq!(request.expected_version, Some(Expected(ExpectedVersion::NoStream)));
    }
}
