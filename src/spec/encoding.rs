//! Deterministic CBOR (RFC 8949, section 4.2; docs/spec/02-encoding.md).
//!
//! Every signed or committed structure is written in one way only: shortest integers, definite lengths, integer keys
//! ascending, text keys in bytewise order of their encoding, absent instead of null. A reader decodes, encodes again
//! and refuses any difference, so two byte strings never mean the same thing.

use std::str::FromStr;

use minicbor::encode::{self, Write};
use minicbor::{Decoder, Encoder};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

/// The suite of algorithms and formats of this version: SHA-256, Ed25519, AES-256-GCM, HKDF-SHA-256.
pub const SUITE: u64 = 1;

/// How deep a document may nest.
const MAX_DEPTH: usize = 16;

/// How many values a document may hold: scalars, arrays and objects. A value in memory is many times its byte.
const MAX_VALUES: u32 = 1_000_000;

/// Why bytes are not a valid structure.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    /// Not CBOR, or not of the expected shape.
    #[error("malformed: {0}")]
    Malformed(String),
    /// Valid CBOR, but not the one deterministic encoding.
    #[error("not the deterministic encoding")]
    NotCanonical,
    /// A suite that this version does not know.
    #[error("unknown suite {0}; this version knows suite 1")]
    UnknownSuite(u64),
    /// Longer than the format allows.
    #[error("longer than {0} bytes")]
    TooLong(usize),
}

impl From<minicbor::decode::Error> for EncodingError {
    fn from(error: minicbor::decode::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

fn malformed(what: impl ToString) -> EncodingError {
    EncodingError::Malformed(what.to_string())
}

/// Bytes that must be written again: what is left of them.
pub(super) struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    type Error = EncodingError;

    fn write_all(&mut self, written: &[u8]) -> Result<(), EncodingError> {
        self.0 = self.0.strip_prefix(written).ok_or(EncodingError::NotCanonical)?;
        Ok(())
    }
}

/// What a structure's `write` gives for any writer.
pub(super) type Written<W> = Result<(), encode::Error<<W as Write>::Error>>;

/// Whether a structure is written as it was read; without a copy.
pub(super) fn written_again<'a>(
    bytes: &'a [u8],
    write: impl FnOnce(&mut Encoder<Expected<'a>>) -> Written<Expected<'a>>,
) -> Result<(), EncodingError> {
    let mut encoder = Encoder::new(Expected(bytes));
    match write(&mut encoder) {
        Ok(()) if encoder.writer().0.is_empty() => Ok(()),
        _ => Err(EncodingError::NotCanonical),
    }
}

pub(super) fn canonical(bytes: &[u8], again: &[u8]) -> Result<(), EncodingError> {
    if bytes == again {
        Ok(())
    } else {
        Err(EncodingError::NotCanonical)
    }
}

pub(super) fn expect_map(d: &mut Decoder<'_>, length: u64) -> Result<(), EncodingError> {
    match d.map()? {
        Some(found) if found == length => Ok(()),
        _ => Err(malformed(format!("expected a map of {length}"))),
    }
}

pub(super) fn expect_array(d: &mut Decoder<'_>, length: u64) -> Result<(), EncodingError> {
    match d.array()? {
        Some(found) if found == length => Ok(()),
        _ => Err(malformed(format!("expected an array of {length}"))),
    }
}

pub(super) fn expect_key(d: &mut Decoder<'_>, key: u64) -> Result<(), EncodingError> {
    match d.u64()? {
        found if found == key => Ok(()),
        found => Err(malformed(format!("expected key {key}, found {found}"))),
    }
}

pub(super) fn expect_suite(d: &mut Decoder<'_>) -> Result<(), EncodingError> {
    expect_key(d, 1)?;
    match d.u64()? {
        SUITE => Ok(()),
        other => Err(EncodingError::UnknownSuite(other)),
    }
}

pub(super) fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], EncodingError> {
    bytes
        .try_into()
        .map_err(|_| malformed(format!("expected {N} bytes, found {}", bytes.len())))
}

pub(super) fn parse<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, EncodingError> {
    text.parse().map_err(malformed)
}

/// Encodes a document: any serialisable value in the JSON data model without floating point and null.
///
/// # Errors
/// [`EncodingError::Malformed`] for floats, nulls and values nested deeper than 16.
pub fn encode_document<T: Serialize>(document: &T) -> Result<Vec<u8>, EncodingError> {
    let value = serde_json::to_value(document).map_err(malformed)?;
    let mut out = Vec::new();
    write_value(&mut out, &value, MAX_DEPTH)?;
    Ok(out)
}

/// Reads what [`encode_document`] wrote: what was read is written again from its type, so an array of values for an object,
/// or another spelling of a text, is refused as any other encoding is.
///
/// # Errors
/// [`EncodingError`] for anything else.
pub fn decode_document<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, EncodingError> {
    let mut d = Decoder::new(bytes);
    let value = read_value(&mut d, MAX_DEPTH, &mut { MAX_VALUES })?;
    let document = serde_json::from_value(value).map_err(malformed)?;
    canonical(bytes, &encode_document(&document)?)?;
    Ok(document)
}

fn write_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), EncodingError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(malformed("nested too deeply"));
    };
    match value {
        Value::Null => Err(malformed("null")),
        Value::Bool(b) => ok(Encoder::new(out).bool(*b)),
        Value::Number(n) => write_integer(out, n),
        Value::String(s) => ok(Encoder::new(out).str(s)),
        Value::Array(items) => {
            ok(Encoder::new(&mut *out).array(items.len() as u64))?;
            items.iter().try_for_each(|item| write_value(out, item, depth))
        }
        Value::Object(map) => write_map(out, map, depth),
    }
}

fn write_integer(out: &mut Vec<u8>, n: &Number) -> Result<(), EncodingError> {
    match (n.as_u64(), n.as_i64()) {
        (Some(n), _) => ok(Encoder::new(out).u64(n)),
        (None, Some(n)) => ok(Encoder::new(out).i64(n)),
        _ => Err(malformed("a number that is no integer")),
    }
}

fn write_map(out: &mut Vec<u8>, map: &Map<String, Value>, depth: usize) -> Result<(), EncodingError> {
    // Bytewise order of encoded text keys is: shorter first, then bytewise.
    let mut entries: Vec<_> = map.iter().filter(|(_, value)| !value.is_null()).collect();
    entries.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
    ok(Encoder::new(&mut *out).map(entries.len() as u64))?;
    entries.into_iter().try_for_each(|(key, value)| {
        ok(Encoder::new(&mut *out).str(key))?;
        write_value(out, value, depth)
    })
}

fn ok<T, E>(written: Result<T, E>) -> Result<(), EncodingError> {
    written.map(drop).map_err(|_| malformed("cannot be written"))
}

/// Reads a value; `left` counts how many more there may be.
fn read_value(d: &mut Decoder<'_>, depth: usize, left: &mut u32) -> Result<Value, EncodingError> {
    use minicbor::data::Type;
    let Some(depth) = depth.checked_sub(1) else {
        return Err(malformed("nested too deeply"));
    };
    *left = left
        .checked_sub(1)
        .ok_or_else(|| malformed(format!("more than {MAX_VALUES} values")))?;
    match d.datatype()? {
        Type::Bool => Ok(d.bool()?.into()),
        Type::U8 | Type::U16 | Type::U32 | Type::U64 => Ok(d.u64()?.into()),
        Type::I8 | Type::I16 | Type::I32 | Type::I64 => Ok(d.i64()?.into()),
        Type::String => Ok(d.str()?.into()),
        Type::Array => {
            let length = d.array()?.ok_or_else(|| malformed("indefinite length"))?;
            (0..length).map(|_| read_value(d, depth, left)).collect()
        }
        Type::Map => {
            let length = d.map()?.ok_or_else(|| malformed("indefinite length"))?;
            (0..length)
                .map(|_| Ok((d.str()?.to_owned(), read_value(d, depth, left)?)))
                .collect()
        }
        other => Err(malformed(format!("unexpected {other}"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_have_one_encoding_with_sorted_keys() {
        let bytes = encode_document(&json!({"bb": 1, "c": -1, "a": [true, "x"], "gone": null})).unwrap();
        assert_eq!(hex::encode(&bytes), "a3616182f5617861632062626201");
        assert_eq!(
            decode_document::<Value>(&bytes).unwrap(),
            json!({"a": [true, "x"], "bb": 1, "c": -1})
        );
    }

    #[test]
    fn other_encodings_of_the_same_value_are_refused() {
        for (what, bytes) in [
            ("long integer", "1817".replace("17", "01")),
            ("unsorted keys", "a2616301616101".into()),
            ("repeated key", "a2616101616101".into()),
            ("indefinite array", "9f01ff".into()),
            ("trailing byte", "0100".into()),
            ("float", "f93c00".into()),
            ("null", "f6".into()),
        ] {
            assert!(
                decode_document::<Value>(&hex::decode(bytes).unwrap()).is_err(),
                "{what}"
            );
        }
    }

    #[test]
    fn a_type_has_one_encoding_too() {
        #[derive(Debug, Serialize, serde::Deserialize)]
        struct Named {
            id: uuid::Uuid,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            count: Option<u8>,
        }
        let id = "0190163d-8694-739b-8aea-966c26f8ad91";
        let read = |value: Value| decode_document::<Named>(&encode_document(&value).unwrap());
        assert_eq!(read(json!({"id": id, "count": 1})).unwrap().count, Some(1));
        assert!(read(json!({"id": id})).is_ok());
        for bad in [
            json!([id, 1]),
            json!({"id": id.to_uppercase()}),
            json!({"id": id.replace('-', "")}),
        ] {
            assert_eq!(read(bad).unwrap_err(), EncodingError::NotCanonical);
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let of = |count: u32| [&[0x9a][..], &count.to_be_bytes(), &vec![0; count as usize]].concat();
        assert!(decode_document::<Value>(&of(MAX_VALUES - 1)).is_ok());
        assert!(
            decode_document::<Value>(&of(MAX_VALUES))
                .unwrap_err()
                .to_string()
                .contains("values")
        );
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(decode_document::<Value>(&[0x81; 1000]).is_err());
    }
}
