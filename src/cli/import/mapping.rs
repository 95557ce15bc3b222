//! The mapping of an import: which field of a record becomes what. Documented in `docs/examples/README.md`.
//!
//! A mapping is refused, with the field, if it is not known, or if it would write personal data in clear: a template must
//! not name a field that is moved into `personal`, or that names the person.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::spec::ids::{Category, SubjectId};

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    format: Format,
    #[serde(default)]
    delimiter: Option<char>,
    stream: String,
    #[serde(rename = "type")]
    event_type: String,
    id: Option<String>,
    occurred_at: Option<WrittenTime>,
    actor: Option<WrittenActor>,
    correlation_id: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    drop: Vec<String>,
    subject: WrittenSubject,
    #[serde(default)]
    personal: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSubject {
    fields: Vec<String>,
    default: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a field, or {field = \"…\", format = \"rfc3339\" | \"unix\" | \"unix_ms\"}"
)]
enum WrittenTime {
    Field(String),
    Of(TimeOf),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimeOf {
    field: String,
    #[serde(default)]
    format: TimeFormat,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "must be a template, or {subject = true} for the record's person"
)]
enum WrittenActor {
    Name(String),
    Person(Person),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    subject: bool,
}

/// The form of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// One JSON object a line.
    Ndjson,
    /// With a header row.
    Csv,
}

/// How times are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TimeFormat {
    /// Any offset.
    #[default]
    Rfc3339,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
}

/// A field of a record: a JSON pointer, or a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) written: String,
    pub(super) path: Vec<String>,
}

/// Text with fields in braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(pub(super) Vec<Part>);

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Field(Field),
}

/// Who acts.
#[derive(Debug)]
pub(super) enum Actor {
    Name(Template),
    Subject,
}

/// A valid mapping.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) delimiter: u8,
    pub(super) stream: Template,
    pub(super) event_type: Template,
    pub(super) id: Option<Field>,
    pub(super) occurred_at: Option<(Field, TimeFormat)>,
    pub(super) actor: Option<Actor>,
    pub(super) correlation_id: Option<Template>,
    pub(super) tags: Vec<Template>,
    pub(super) drop: Vec<Field>,
    pub(super) subject: Vec<Field>,
    pub(super) default_subject: Option<String>,
    pub(super) personal: Vec<(Category, Vec<Field>)>,
}

impl Mapping {
    /// Reads a mapping.
    ///
    /// # Errors
    /// In words, naming the field.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let written: Written = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let format = written.format;
        let field = |text: &String| Field::parse(text, format);
        let template = |text: &String| Template::parse(text, format);
        let fields = |list: &Vec<String>| list.iter().map(field).collect::<Result<Vec<_>, _>>();
        let delimiter =
            u8::try_from(written.delimiter.unwrap_or(',')).map_err(|_| "delimiter: must be one ASCII character")?;
        let actor = match &written.actor {
            None | Some(WrittenActor::Person(Person { subject: false })) => None,
            Some(WrittenActor::Person(_)) => Some(Actor::Subject),
            Some(WrittenActor::Name(text)) => Some(Actor::Name(template(text)?)),
        };
        let personal = written.personal.iter().map(|(category, list)| {
            let category = category
                .parse()
                .map_err(|error| format!("personal.{category}: {error}"))?;
            Ok::<_, String>((category, fields(list)?))
        });
        let mapping = Self {
            stream: template(&written.stream)?,
            event_type: template(&written.event_type)?,
            id: written.id.as_ref().map(field).transpose()?,
            occurred_at: written
                .occurred_at
                .as_ref()
                .map(|time| time.parse(format))
                .transpose()?,
            actor,
            correlation_id: written.correlation_id.as_ref().map(template).transpose()?,
            tags: written.tags.iter().map(template).collect::<Result<_, _>>()?,
            drop: fields(&written.drop)?,
            subject: fields(&written.subject.fields)?,
            personal: personal.collect::<Result<_, _>>()?,
            default_subject: written.subject.default,
            name: written.name,
            format,
            delimiter,
        };
        mapping.check()?;
        Ok(mapping)
    }

    fn check(&self) -> Result<(), String> {
        if self.name.trim().is_empty() {
            return Err("name: must not be empty; the ids of records without one are made from it".into());
        }
        if let Some(default) = &self.default_subject {
            default
                .parse::<SubjectId>()
                .map_err(|error| format!("subject.default: {error}"))?;
        }
        if self.subject.is_empty() && self.default_subject.is_none() {
            return Err("subject.fields: name at least one field, or give subject.default".into());
        }
        if matches!(self.stream.0.first(), Some(Part::Text(text)) if text.starts_with('$')) {
            return Err("stream: streams that begin with $ are Oubliette's own".into());
        }
        self.check_clear()
    }

    /// What stays in clear must not be what is personal.
    fn check_clear(&self) -> Result<(), String> {
        let actor = match &self.actor {
            Some(Actor::Name(template)) => Some(template),
            _ => None,
        };
        let single = [
            ("stream", Some(&self.stream)),
            ("type", Some(&self.event_type)),
            ("actor", actor),
        ];
        let others = self.tags.iter().map(|tag| ("tags", tag));
        let others = others.chain(self.correlation_id.iter().map(|id| ("correlation_id", id)));
        let in_clear = single
            .into_iter()
            .filter_map(|(name, template)| Some((name, template?)))
            .chain(others);
        let personal = || self.personal.iter().flat_map(|(_, fields)| fields).chain(&self.subject);
        for (name, template) in in_clear {
            for field in template.fields() {
                if let Some(other) = personal().find(|other| field.overlaps(other)) {
                    return Err(format!(
                        "{name}: `{}` would stand in clear for ever, but `{}` is personal; take another field",
                        field.written, other.written
                    ));
                }
            }
        }
        match self.id.iter().find(|id| personal().any(|other| id.overlaps(other))) {
            Some(id) => Err(format!(
                "id: `{}` would stand in clear for ever, but it is personal",
                id.written
            )),
            None => Ok(()),
        }
    }

    /// Every field that it names.
    pub(super) fn fields(&self) -> impl Iterator<Item = &Field> {
        let actor = match &self.actor {
            Some(Actor::Name(template)) => Some(template),
            _ => None,
        };
        let templates = [&self.stream, &self.event_type]
            .into_iter()
            .chain(actor)
            .chain(&self.correlation_id);
        templates
            .chain(&self.tags)
            .flat_map(Template::fields)
            .chain(&self.id)
            .chain(self.occurred_at.iter().map(|(field, _)| field))
            .chain(&self.drop)
            .chain(&self.subject)
            .chain(self.personal.iter().flat_map(|(_, fields)| fields))
    }
}

impl WrittenTime {
    fn parse(&self, format: Format) -> Result<(Field, TimeFormat), String> {
        match self {
            Self::Field(field) => Ok((Field::parse(field, format)?, TimeFormat::Rfc3339)),
            Self::Of(of) => Ok((Field::parse(&of.field, format)?, of.format)),
        }
    }
}

impl Field {
    fn parse(text: &str, format: Format) -> Result<Self, String> {
        let path = match (format, text.strip_prefix('/')) {
            (_, _) if text.is_empty() => return Err("a field must not be empty".into()),
            (Format::Csv, _) => vec![text.to_owned()],
            (Format::Ndjson, None) => {
                return Err(format!(
                    "`{text}`: a field of NDJSON is a JSON pointer, such as /user/name"
                ));
            }
            (Format::Ndjson, Some(rest)) => rest
                .split('/')
                .map(|name| name.replace("~1", "/").replace("~0", "~"))
                .collect(),
        };
        Ok(Self {
            written: text.to_owned(),
            path,
        })
    }

    /// Whether one lies in the other.
    fn overlaps(&self, other: &Self) -> bool {
        self.path.starts_with(&other.path) || other.path.starts_with(&self.path)
    }
}

impl Template {
    fn parse(text: &str, format: Format) -> Result<Self, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (field, after) = after
                .split_once('}')
                .ok_or_else(|| format!("`{text}`: a brace is not closed"))?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Field(Field::parse(field, format)?));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        if parts.is_empty() {
            Err("a template must not be empty".into())
        } else {
            Ok(Self(parts))
        }
    }

    fn fields(&self) -> impl Iterator<Item = &Field> {
        self.0.iter().filter_map(|part| match part {
            Part::Field(field) => Some(field),
            Part::Text(_) => None,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        name = "test"
        format = "ndjson"
        stream = "s-{/region}"
        type = "{/what}"
        [subject]
        fields = ["/user/name"]
        [personal]
        identity = ["/user"]
    "#;

    #[test]
    fn a_good_mapping_is_read() {
        let mapping = Mapping::parse(GOOD).unwrap();
        assert_eq!(mapping.fields().count(), 4);
    }

    #[test]
    fn a_bad_mapping_is_refused_with_the_field() {
        for (from, to, named) in [
            ("stream =", "straem =", "straem"),
            ("fields =", "feilds =", "feilds"),
            ("\"ndjson\"", "\"xml\"", "xml"),
            ("\"/user\"", "\"user\"", "`user`"),
            ("{/region}", "{/region", "brace"),
            ("identity =", "\"\" =", "personal."),
            ("s-{/region}", "s-{/user/name}", "stream: `/user/name`"),
            ("s-{/region}", "$own", "stream"),
            ("{/what}", "{/user}", "type: `/user`"),
            ("[\"/user/name\"]", "[]", "subject.fields"),
            ("format =", "id = \"/user/id\"\nformat =", "id: `/user/id`"),
            ("format =", "occurred_at = 3\nformat =", "occurred_at"),
            ("format =", "actor = {person = true}\nformat =", "actor"),
        ] {
            let error = Mapping::parse(&GOOD.replace(from, to)).unwrap_err();
            assert!(error.contains(named), "{to}: {error}");
        }
    }
}
