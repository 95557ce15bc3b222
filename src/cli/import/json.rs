//! A record as a tree that keeps every value as it was written: an audit log must not round numbers or reorder fields.

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep objects and arrays may be nested.
const MAX_DEPTH: usize = 64;

/// A JSON value; what is neither object nor array is kept as its exact text.
#[derive(Debug, Clone)]
pub(super) enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Leaf(Box<RawValue>),
}

impl Json {
    pub(super) fn text(text: &str) -> Self {
        serde_json::value::to_raw_value(text).map_or(Self::Object(Vec::new()), Self::Leaf)
    }

    /// Follows a path of names and array indexes.
    pub(super) fn find(&self, path: &[String]) -> Option<&Self> {
        let Some((name, rest)) = path.split_first() else {
            return Some(self);
        };
        match self {
            Self::Object(fields) => fields.iter().find(|(field, _)| field == name)?.1.find(rest),
            Self::Array(items) => items.get(name.parse::<usize>().ok()?)?.find(rest),
            Self::Leaf(_) => None,
        }
    }

    /// Takes out what lies under a path; in an array `null` keeps its place.
    pub(super) fn take(&mut self, path: &[String]) -> Option<Self> {
        let (name, rest) = path.split_first()?;
        match self {
            Self::Object(fields) => {
                let at = fields.iter().position(|(field, _)| field == name)?;
                if rest.is_empty() {
                    Some(fields.remove(at).1)
                } else {
                    fields.get_mut(at)?.1.take(rest)
                }
            }
            Self::Array(items) => {
                let item = items.get_mut(name.parse::<usize>().ok()?)?;
                if rest.is_empty() {
                    Some(std::mem::replace(item, Self::Leaf(null()?)))
                } else {
                    item.take(rest)
                }
            }
            Self::Leaf(_) => None,
        }
    }

    /// Puts a value under a path of an object; array indexes become names.
    pub(super) fn put(&mut self, path: &[String], value: Self) {
        let (Some((name, rest)), Self::Object(fields)) = (path.split_first(), self) else {
            return;
        };
        let at = fields.iter().position(|(field, _)| field == name).unwrap_or_else(|| {
            fields.push((name.clone(), Self::Object(Vec::new())));
            fields.len() - 1
        });
        if let Some((_, field)) = fields.get_mut(at) {
            if rest.is_empty() {
                *field = value
            } else {
                field.put(rest, value)
            }
        }
    }

    /// A text, number or truth value as words; nothing for null, empty text, objects and arrays.
    pub(super) fn words(&self) -> Option<String> {
        let Self::Leaf(raw) = self else { return None };
        let words = match raw.get().chars().next()? {
            'n' => return None,
            '"' => serde_json::from_str::<String>(raw.get()).ok()?,
            _ => raw.get().to_owned(),
        };
        let words = words.trim();
        (!words.is_empty()).then(|| words.to_owned())
    }

    /// Whether there is anything in it.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Object(fields) => fields.iter().all(|(_, value)| value.is_empty()),
            Self::Array(items) => items.iter().all(Self::is_empty),
            Self::Leaf(_) => self.words().is_none(),
        }
    }

    /// The paths of all leaves, and of all field names, whose text passes `test`.
    pub(super) fn paths_where(&self, test: &dyn Fn(&str) -> bool) -> Vec<Vec<String>> {
        let mut found = Vec::new();
        self.search(test, &mut Vec::new(), &mut found);
        found
    }

    fn search(&self, test: &dyn Fn(&str) -> bool, path: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        let mut child = |name: String, value: &Self, named: bool| {
            path.push(name);
            if named {
                found.push(path.clone())
            } else {
                value.search(test, path, found)
            }
            path.pop();
        };
        match self {
            Self::Object(fields) => fields
                .iter()
                .for_each(|(name, value)| child(name.clone(), value, test(name))),
            Self::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(at, value)| child(at.to_string(), value, false)),
            Self::Leaf(_) => {
                if self.words().is_some_and(|words| test(&words)) {
                    found.push(path.clone());
                }
            }
        }
    }
}

fn null() -> Option<Box<RawValue>> {
    RawValue::from_string("null".into()).ok()
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Leaf(raw) => raw.serialize(serializer),
            Self::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| list.serialize_element(item))?;
                list.end()
            }
            Self::Object(fields) => {
                let mut map = serializer.serialize_map(Some(fields.len()))?;
                fields
                    .iter()
                    .try_for_each(|(name, value)| map.serialize_entry(name, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    /// Refuses a name that stands twice in an object: readers would differ on which one counts. And what is nested deeper
    /// than [`MAX_DEPTH`]: all that walks the tree does so by recursion.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Within(MAX_DEPTH).deserialize(deserializer)
    }
}

/// A value within which objects and arrays may still be nested so many times.
#[derive(Clone, Copy)]
struct Within(usize);

impl<'de> DeserializeSeed<'de> for Within {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let is_object = raw.get().starts_with('{');
        if !is_object && !raw.get().starts_with('[') {
            return Ok(Json::Leaf(raw));
        }
        let inside = self
            .0
            .checked_sub(1)
            .map(Self)
            .ok_or_else(|| D::Error::custom("is nested too deeply"))?;
        let mut nested = serde_json::Deserializer::from_str(raw.get());
        if is_object {
            nested.deserialize_map(inside).map_err(D::Error::custom)
        } else {
            nested.deserialize_seq(inside).map_err(D::Error::custom)
        }
    }
}

impl<'de> Visitor<'de> for Within {
    type Value = Json;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object or an array")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let (mut fields, mut seen) = (Vec::new(), std::collections::HashSet::new());
        while let Some(name) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom("a name stands twice in an object"));
            }
            fields.push((name, value));
        }
        Ok(Json::Object(fields))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Json::Array(items))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn path(text: &str) -> Vec<String> {
        text.split('/').skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn what_is_not_touched_stays_as_it_was_written() {
        let text = r#"{"z":1.10,"a":[12345678901234567890123,{"b":"\u00e9"}],"n":null}"#;
        let mut json: Json = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&json).unwrap(), text);
        assert!(json.take(&path("/a/1/b")).is_some());
        assert!(json.take(&path("/a/0")).is_some());
        assert!(json.take(&path("/q/0")).is_none());
        assert_eq!(
            serde_json::to_string(&json).unwrap(),
            r#"{"z":1.10,"a":[null,{}],"n":null}"#
        );
    }

    #[test]
    fn a_name_that_stands_twice_is_refused() {
        assert!(serde_json::from_str::<Json>(r#"{"a":{"b":1,"b":2}}"#).is_err());
    }

    #[test]
    fn what_is_nested_too_deeply_is_refused() {
        let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        for text in [lists(MAX_DEPTH), objects(MAX_DEPTH)] {
            let json: Json = serde_json::from_str(&text).unwrap();
            assert_eq!(serde_json::to_string(&json).unwrap(), text);
        }
        for text in [
            lists(MAX_DEPTH + 1),
            objects(MAX_DEPTH + 1),
            lists(1_000_000),
            objects(1_000_000),
            "[".repeat(1_000_000),
        ] {
            assert!(serde_json::from_str::<Json>(&text).is_err());
        }
    }

    #[test]
    fn what_is_put_is_found() {
        let mut json = Json::Object(Vec::new());
        json.put(&path("/a/b"), Json::text("x"));
        json.put(&path("/a/c/0"), Json::text("y"));
        assert_eq!(
            serde_json::to_string(&json).unwrap(),
            r#"{"a":{"b":"x","c":{"0":"y"}}}"#
        );
        assert_eq!(json.find(&path("/a/b")).unwrap().words().unwrap(), "x");
        assert_eq!(json.paths_where(&|text| text == "y"), [path("/a/c/0")]);
    }
}
