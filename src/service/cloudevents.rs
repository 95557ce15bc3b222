//! CloudEvents 1.0 as a way to append: structured, batch and binary mode (github.com/cloudevents/spec, JSON format).
//!
//! | CloudEvents | here |
//! | --- | --- |
//! | `id` | the event id if it is a UUID, else UUIDv5 of `source` and `id`, after the PII guard has seen both |
//! | `stream` (extension), else `subject`, else `source` | stream |
//! | `type`, `time`, `data` | type, occurred_at, data; `data_base64` becomes `{"data_base64": …}` |
//! | `correlationid`, `causationid` (extensions) | correlation_id, causation_id |
//! | `source`, `dataschema`, `datacontenttype` | tags `source:…`, `dataschema:…`, `datacontenttype:…` |
//! | `traceparent`, `tracestate` (extensions) | not kept: the trace is that of the request's own header `traceparent` |
//!
//! Any other attribute is refused. Personal data has no place in CloudEvents attributes; append it in our own form.
//! In binary mode the attributes arrive decoded, so that both modes give the same stream and the same id.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::append::{AppendCall, Proof};
use super::guard::personal_data_in;
use super::request::{EventRequest, parse};
use super::{Code, Error, FieldError, Service};
use crate::spec::ids::{EventType, InvalidId, StreamName, Timestamp};

/// The media type of one event.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of several.
pub const BATCH: &str = "application/cloudevents-batch+json";

/// Bytes of `id` and `subject`.
const MAX_NAME: usize = 256;
/// Bytes of a tag; what becomes one is shorter by `<attribute>:`.
const MAX_TAG: usize = 128;

/// A CloudEvent, parsed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct CloudEvent {
    #[schema(pattern = "^1\\.0$")]
    specversion: Box<str>,
    #[schema(min_length = 1, max_length = 256)]
    id: Box<str>,
    #[schema(min_length = 1, max_length = 121)]
    source: Box<str>,
    #[serde(rename = "type")]
    event_type: EventType,
    #[schema(min_length = 1, max_length = 256)]
    subject: Option<Box<str>>,
    time: Option<Timestamp>,
    #[schema(max_length = 112)]
    datacontenttype: Option<Box<str>>,
    #[schema(max_length = 117)]
    dataschema: Option<Box<str>>,
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<Box<RawValue>>,
    data_base64: Option<Box<str>>,
    #[schema(min_length = 1, max_length = 256)]
    stream: Option<Box<str>>,
    #[schema(min_length = 1, max_length = 256)]
    correlationid: Option<Box<str>>,
    #[schema(min_length = 1, max_length = 256)]
    causationid: Option<Box<str>>,
    #[serde(rename = "traceparent")]
    _trace_parent: Option<Box<str>>,
    #[serde(rename = "tracestate")]
    _trace_state: Option<Box<str>>,
}

impl Service {
    /// A request of media type [`STRUCTURED`] or [`BATCH`].
    ///
    /// # Errors
    /// `malformed_json`, `invalid_field`, `personal_data_refused`.
    pub fn cloud_events(&self, body: &[u8], batch: bool, proof: Proof) -> Result<AppendCall, Error> {
        let events: Vec<CloudEvent> = if batch { parse(body)? } else { vec![parse(body)?] };
        self.from_cloud_events(events, proof)
    }

    /// A request in binary mode: attributes as the caller meant them, each once, and the body as data.
    ///
    /// # Errors
    /// As [`Service::cloud_events`].
    pub fn binary_cloud_event(
        &self,
        attributes: Vec<(String, String)>,
        content_type: Option<&str>,
        body: &[u8],
        proof: Proof,
    ) -> Result<AppendCall, Error> {
        let mut fields: serde_json::Map<_, _> = attributes
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        fields.extend(content_type.map(|value| ("datacontenttype".to_owned(), value.into())));
        let json = serde_json::to_vec(&fields).map_err(super::access::internal)?;
        let mut event: CloudEvent = parse(&json)?;
        event.data = match (body.is_empty(), event.is_json()) {
            (true, _) => None,
            (false, true) => Some(parse(body)?),
            (false, false) => {
                use base64::Engine;
                event.data_base64 = Some(base64::engine::general_purpose::STANDARD.encode(body).into());
                None
            }
        };
        self.from_cloud_events(vec![event], proof)
    }

    #[allow(
        clippy::wrong_self_convention,
        reason = "it converts from CloudEvents, for this service"
    )]
    fn from_cloud_events(&self, events: Vec<CloudEvent>, proof: Proof) -> Result<AppendCall, Error> {
        let mut found = Vec::new();
        for (at, event) in events.iter().enumerate() {
            event.refuse_long_names(at)?;
            if !self.guard {
                continue;
            }
            for (name, text) in [("id", &event.id), ("source", &event.source)] {
                if let Some(pattern) = personal_data_in(text) {
                    let detail = format!("holds what looks like {pattern}; this field stays in clear for ever");
                    found.push(FieldError {
                        pointer: format!("/{at}/{name}"),
                        detail,
                    });
                }
            }
        }
        if !found.is_empty() {
            return Err(Error::fields(Code::PersonalDataRefused, found));
        }
        let events = events.into_iter().enumerate().map(|(at, event)| event.into_request(at));
        Ok(AppendCall {
            expected: Vec::new(),
            events: events.collect::<Result<_, _>>()?,
            trace_parent: None,
            proof,
        })
    }
}

impl CloudEvent {
    fn refuse_long_names(&self, at: usize) -> Result<(), Error> {
        let names = [
            ("id", Some(&self.id), MAX_NAME),
            ("subject", self.subject.as_ref(), MAX_NAME),
            ("source", Some(&self.source), MAX_TAG - "source:".len()),
            ("dataschema", self.dataschema.as_ref(), MAX_TAG - "dataschema:".len()),
            (
                "datacontenttype",
                self.datacontenttype.as_ref(),
                MAX_TAG - "datacontenttype:".len(),
            ),
        ];
        let long = names
            .into_iter()
            .find(|(_, text, most)| text.is_some_and(|text| text.len() > *most));
        long.map_or(Ok(()), |(name, _, most)| {
            let detail = format!("must be at most {most} bytes");
            Err(Error::field(format!("/{at}/{name}"), detail))
        })
    }

    fn is_json(&self) -> bool {
        self.datacontenttype.as_deref().is_none_or(|media| {
            let essence = media.split(';').next().unwrap_or_default().trim();
            essence == "application/json" || essence.ends_with("+json")
        })
    }

    fn into_request(self, at: usize) -> Result<(StreamName, EventRequest), Error> {
        let wrong = |name: &str, detail: String| Error::field(format!("/{at}/{name}"), detail);
        if &*self.specversion != "1.0" {
            return Err(wrong("specversion", "must be 1.0".into()));
        }
        if self.id.is_empty() || self.source.is_empty() {
            return Err(wrong("id", "id and source must not be empty".into()));
        }
        let stream = self
            .stream
            .as_deref()
            .or(self.subject.as_deref())
            .unwrap_or(&self.source);
        let stream = stream
            .parse()
            .map_err(|error: InvalidId| wrong("subject", error.to_string()))?;
        let of_source = Uuid::new_v5(&Uuid::NAMESPACE_URL, self.source.as_bytes());
        let id = self
            .id
            .parse()
            .unwrap_or_else(|_| Uuid::new_v5(&of_source, self.id.as_bytes()));
        let data = match (self.data, self.data_base64) {
            (Some(_), Some(_)) => return Err(wrong("data_base64", "stands beside data; send one of the two".into())),
            (Some(data), None) => Some(data),
            (None, Some(bytes)) => {
                let json = serde_json::json!({"data_base64": bytes}).to_string();
                Some(RawValue::from_string(json).map_err(super::access::internal)?)
            }
            (None, None) => None,
        };
        let tags = [
            ("source", Some(self.source)),
            ("dataschema", self.dataschema),
            ("datacontenttype", self.datacontenttype),
        ];
        let tags = tags
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}:{}", value?).into()));
        let event = EventRequest {
            id: Some(id),
            event_type: self.event_type,
            schema_version: 1,
            occurred_at: self.time,
            actor: None,
            correlation_id: self.correlationid,
            causation_id: self.causationid,
            tags: tags.collect(),
            data,
            personal: Vec::new(),
        };
        Ok((stream, event))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<(StreamName, EventRequest), Error> {
        parse::<CloudEvent>(json.as_bytes())?.into_request(0)
    }

    #[test]
    fn an_id_that_is_no_uuid_is_made_one_from_source_and_id() {
        let of = |source: &str, id: &str| {
            let json = format!(r#"{{"specversion":"1.0","id":"{id}","source":"{source}","type":"a"}}"#);
            request(&json).unwrap().1.id.unwrap()
        };
        let uuid = "7f3d9a52-1c6e-4b1a-9a4e-2f6b8f0d1c11";
        assert_eq!(of("/a", uuid).to_string(), uuid);
        assert_eq!(of("/a", "1"), of("/a", "1"));
        assert_ne!(of("/a", "1"), of("/b", "1"));
        assert_ne!(of("/a", "1"), of("/a", "2"));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/a","type":"a""#;
        assert!(request(&format!("{event}}}")).is_ok());
        assert!(request(&format!("{event},\"comexample\":1}}")).is_err());
        assert!(request(&format!("{event},\"data\":1,\"data_base64\":\"AA==\"}}")).is_err());
        assert!(request(&event.replace("1.0", "0.3").replace("\"type\":\"a\"", "\"type\":\"a\"}")).is_err());
    }

    #[test]
    fn the_stream_is_the_extension_or_the_subject_or_the_source() {
        let event = r#"{"specversion":"1.0","id":"1","source":"/a","type":"a","data":{"x":1}"#;
        assert_eq!(request(&format!("{event}}}")).unwrap().0.as_str(), "/a");
        assert_eq!(
            request(&format!("{event},\"subject\":\"s\"}}")).unwrap().0.as_str(),
            "s"
        );
        let (stream, event) = request(&format!("{event},\"subject\":\"s\",\"stream\":\"t\"}}")).unwrap();
        assert_eq!((stream.as_str(), event.data.unwrap().get()), ("t", "{\"x\":1}"));
        assert_eq!(event.tags, vec!["source:/a".into()]);
    }
    #[test]
    fn names_are_bounded() {
        for (name, most) in [
            ("id", 256),
            ("subject", 256),
            ("source", 121),
            ("dataschema", 117),
            ("datacontenttype", 112),
        ] {
            let of = |length: usize| {
                let mut event = serde_json::json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "a"});
                event[name] = "x".repeat(length).into();
                let event: CloudEvent = parse(event.to_string().as_bytes()).unwrap();
                event.refuse_long_names(3)
            };
            assert!(of(most).is_ok(), "{name}");
            let error = of(most + 1).unwrap_err();
            assert_eq!(error.errors[0].pointer, format!("/3/{name}"));
        }
    }
}
