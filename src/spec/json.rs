//! Reading JSON in the one form in which it is written (docs/spec/02-encoding.md).
//!
//! `serde` takes a struct as an array of its values too, and some texts in several spellings. So what was read is written
//! again and compared with what stands there, member by member: objects are objects, and every value that was read has the
//! spelling that a writer gives it. Whitespace, the order of members, and members that the type does not read are free, as
//! long as all of it is UTF-8.

use std::fmt;

use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Reads a value that stands there as it would be written.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn read<T: DeserializeOwned + Serialize>(text: &[u8]) -> Result<T, String> {
    // `serde_json` would leave the bytes of members that the type does not read unchecked.
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let read: T = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    let mut given = serde_json::Deserializer::from_str(text);
    Like(&written)
        .deserialize(&mut given)
        .map_err(|error| error.to_string())?;
    Ok(read)
}

/// Compares what comes with what would be written. It keeps nothing, so hostile input costs no memory here.
struct Like<'w>(&'w Value);

impl Like<'_> {
    fn same<E: Error>(&self, same: bool) -> Result<(), E> {
        let other = || E::custom(format_args!("not in the form in which it is written: {}", self.kind()));
        if same { Ok(()) } else { Err(other()) }
    }

    fn kind(&self) -> &'static str {
        match self.0 {
            Value::Object(_) => "an object",
            Value::Array(_) => "an array",
            Value::String(_) => "a text of one spelling",
            _ => "a plain value",
        }
    }
}

impl<'de> DeserializeSeed<'de> for Like<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Like<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }

    fn visit_bool<E: Error>(self, given: bool) -> Result<(), E> {
        self.same(self.0.as_bool() == Some(given))
    }

    fn visit_u64<E: Error>(self, given: u64) -> Result<(), E> {
        self.same(self.0.as_u64() == Some(given))
    }

    fn visit_i64<E: Error>(self, given: i64) -> Result<(), E> {
        self.same(self.0.as_i64() == Some(given))
    }

    fn visit_f64<E: Error>(self, given: f64) -> Result<(), E> {
        self.same(self.0.as_f64() == Some(given))
    }

    fn visit_str<E: Error>(self, given: &str) -> Result<(), E> {
        self.same(self.0.as_str() == Some(given))
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.same(self.0.is_null())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut given: A) -> Result<(), A::Error> {
        let Value::Array(written) = self.0 else {
            return self.same(false);
        };
        for value in written {
            let element = given.next_element_seed(Like(value))?;
            self.same(element.is_some())?;
        }
        self.same(given.next_element::<IgnoredAny>()?.is_none())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut given: A) -> Result<(), A::Error> {
        let Value::Object(written) = self.0 else {
            return self.same(false);
        };
        while let Some(name) = given.next_key::<String>()? {
            match written.get(&name) {
                Some(value) => given.next_value_seed(Like(value))?,
                None => drop(given.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde::Deserialize;
    use uuid::Uuid;

    use super::*;
    use crate::spec::ids::Timestamp;
    use crate::spec::system::Position;

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Inner {
        id: Uuid,
    }

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Outer {
        inner: Vec<Inner>,
        at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place: Option<Position>,
    }

    const ID: &str = "0190163d-8694-739b-8aea-966c26f8ad91";
    const AT: &str = "2026-11-21T10:00:00.000000Z";

    #[test]
    fn order_whitespace_and_unread_members_are_free() {
        let text =
            format!(r#" {{"more":[1.5,null,{{}}], "at":"{AT}", "place":[1,2], "inner":[{{"id":"{ID}","x":0}}]}} "#);
        let outer: Outer = read(text.as_bytes()).unwrap();
        assert_eq!(outer.place, Some(Position { index: 1, ordinal: 2 }));
    }

    #[test]
    fn arrays_for_objects_and_other_spellings_are_refused() {
        let good = format!(r#"{{"inner":[{{"id":"{ID}"}}],"at":"{AT}","place":[1,2]}}"#);
        assert!(read::<Outer>(good.as_bytes()).is_ok());
        for (what, bad) in [
            ("an array for all", format!(r#"[[{{"id":"{ID}"}}],"{AT}",[1,2]]"#)),
            (
                "an array within",
                good.replace(&format!(r#"{{"id":"{ID}"}}"#), &format!(r#"["{ID}"]"#)),
            ),
            ("a UUID in capitals", good.replace(ID, &ID.to_uppercase())),
            ("a UUID without hyphens", good.replace(ID, &ID.replace('-', ""))),
            (
                "a time with another offset",
                good.replace(AT, "2026-11-21T11:00:00+01:00"),
            ),
            ("a time with fewer digits", good.replace(AT, "2026-11-21T10:00:00Z")),
        ] {
            assert!(
                serde_json::from_slice::<Outer>(bad.as_bytes()).is_ok(),
                "{what}: serde takes it"
            );
            assert!(read::<Outer>(bad.as_bytes()).is_err(), "{what}");
        }
        assert!(read::<Outer>(b"x").is_err());
    }

    #[test]
    fn bytes_that_are_not_utf_8_are_refused_wherever_they_stand() {
        for (more, good) in [
            (&b"\xc3\xa9"[..], true),
            (b"\xff", false),
            (b"\xed\xa0\x80", false),
            (b"\xc0\xaf", false),
        ] {
            let text = [
                &b"{\"more\":\""[..],
                more,
                format!("\",\"inner\":[],\"at\":\"{AT}\"}}").as_bytes(),
            ]
            .concat();
            assert_eq!(read::<Outer>(&text).is_ok(), good, "{more:?}");
        }
    }
}
