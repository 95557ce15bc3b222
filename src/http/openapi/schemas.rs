//! Schemas of types whose JSON form is written by hand: identifiers, hashes, bytes, problems.

use std::borrow::Cow;

use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{KnownFormat, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::service::request::Expected;
use crate::service::{Code, FieldError};
use crate::spec::evidence::{Base64, Salt};
use crate::spec::hash::Hash;
use crate::spec::ids::{Category, EventType, Handle, LedgerName, Origin, StreamName, StreamRef, SubjectId, Timestamp};

/// A text of this form.
fn text(description: &str, pattern: Option<&str>, lengths: Option<(usize, usize)>, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(pattern)
        .min_length(lengths.map(|(least, _)| least))
        .max_length(lengths.map(|(_, most)| most))
        .examples([example])
}

macro_rules! texts {
    ($($type:ty, $name:literal: $schema:expr;)*) => {$(
        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )*};
}

texts! {
    LedgerName, "LedgerName": text("A ledger's name in paths.", Some("^[a-z0-9][a-z0-9-]{0,62}$"), None, "main");
    Origin, "Origin": text(
        "A ledger's global name: a URL without a scheme.", Some("^[!-*,-~]{1,200}$"), None, "audit.example.com/main");
    EventType, "EventType": text(
        "What happened: a vocabulary word, never a person. Those that begin with `ledger.`, `key.`, `epoch.`, `erasure.`, \
         `bodies.`, `hold.`, `leak.`, `restriction.`, `subject.`, `retention.`, `api_key.`, `backup.`, `export.`, \
         `personal_data.`, `redaction.` or `report.` are the ledger's own.", Some("^[A-Za-z0-9._:/-]{1,128}$"), None, "order.placed");
    Category, "Category": text(
        "A purpose under which a person's data is sealed.", Some("^[a-z0-9][a-z0-9._-]{0,63}$"), None, "billing");
    StreamName, "StreamName": text(
        "A stream's name: 1 to 256 bytes of UTF-8 without control characters. Those that begin with `$` are the ledger's own; \
         what seems to name a person is refused.",
        Some("^[^\\u0000-\\u001f\\u007f-\\u009f]+$"), Some((1, 256)), "order-7");
    SubjectId, "SubjectId": text(
        "The caller's id for a person: 1 to 256 bytes of UTF-8. In bodies only.", None, Some((1, 256)), "customer-17");
    Handle, "Handle": text(
        "A person within one ledger: random, leads to nobody after an erasure.",
        Some("^[0-9a-f]{32}$"), None, "5f0c6a1e9b3d4c2f8e7a6b5c4d3e2f10");
    StreamRef, "StreamRef": text(
        "A stream's random reference.", Some("^[0-9a-f]{32}$"), None, "0a1b2c3d4e5f60718293a4b5c6d7e8f9");
    Hash, "Hash": text(
        "32 bytes, lower-case hex.", Some("^[0-9a-f]{64}$"), None,
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    Timestamp, "Timestamp": text(
        "A time since 1970 (RFC 3339); written in UTC with six digits.", None, None, "2026-01-31T12:00:00.000000Z")
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    Base64, "Base64": text("Bytes in base64.", None, None, "AAEC").content_encoding("base64");
    Salt, "Salt": text("32 bytes in base64.", None, None, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        .content_encoding("base64");
}

impl PartialSchema for Expected {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["any", "no_stream", "stream_exists"].map(Value::from)));
        let version = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::UInt64)))
            .minimum(Some(0));
        let both = utoipa::openapi::OneOfBuilder::new().item(word).item(version);
        both.description(Some("What the caller knows of the stream; 0 is `no_stream`."))
            .into()
    }
}

impl ToSchema for Expected {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("ExpectedVersion")
    }
}

/// A bound of a report's period.
pub(in super::super) struct TimeOrDate;

impl PartialSchema for TimeOrDate {
    fn schema() -> RefOr<Schema> {
        let of = |format| {
            ObjectBuilder::new()
                .schema_type(Type::String)
                .format(Some(SchemaFormat::KnownFormat(format)))
        };
        let both = utoipa::openapi::schema::AnyOfBuilder::new()
            .item(of(KnownFormat::DateTime))
            .item(of(KnownFormat::Date));
        both.description(Some("A time (RFC 3339), or a date (UTC); since 1970."))
            .into()
    }
}

impl ToSchema for TimeOrDate {}

/// `Problem`: the body of every error (RFC 9457), and `Code`, its closed list of codes.
pub(super) fn problem() -> [(&'static str, Value); 4] {
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let meanings = Code::ALL
        .iter()
        .map(|code| format!("- `{}`: {}", code.as_str(), code.meaning()));
    let meanings = meanings.collect::<Vec<_>>().join("\n");
    let problem = json!({
        "type": "object",
        "description": "What went wrong, and how to mend it (RFC 9457).",
        "required": ["type", "title", "status", "code", "detail"],
        "properties": {
            "type": {"type": "string", "const": "about:blank"},
            "title": {"type": "string", "description": "The status in words."},
            "status": {"type": "integer", "format": "uint16", "minimum": 400, "maximum": 599},
            "code": {"$ref": "#/components/schemas/Code"},
            "detail": {"type": "string", "description": "For people. Never personal data."},
            "errors": {
                "type": "array", "description": "The fields that are wrong.",
                "items": {"$ref": "#/components/schemas/FieldError"},
            },
            "current_version": {"type": "integer", "format": "uint64", "minimum": 0,
                "description": "The stream's version, for `wrong_expected_version`."},
            "index": {"type": "integer", "format": "uint64", "minimum": 0,
                "description": "The event that stands in the way."},
            "certificate": {"type": "string", "description": "For `erased`: where the certificate of erasure is."},
        },
        "additionalProperties": false,
    });
    [
        ("Problem", problem),
        (
            "Code",
            json!({"type": "string", "description": meanings, "enum": codes}),
        ),
        (
            "TimeOrDate",
            serde_json::to_value(TimeOrDate::schema()).unwrap_or_default(),
        ),
        (
            "FieldError",
            serde_json::to_value(FieldError::schema()).unwrap_or_default(),
        ),
    ]
}
