//! The configuration reference, made from the doc comments and defaults of [`Settings`].

use std::fmt::Write;

use documented::DocumentedFields;
use serde_json::Value;

use super::Settings;

/// What stands before the table of docs/configuration.md.
const HEAD: &str = "\
# Configuration

Made from the code by `oubliette config-reference`; a test fails when it is not current. Defaults → TOML file (`--config FILE` or
`OUBLIETTE_CONFIG`) → environment `OUBLIETTE_<NAME>` → flags. Unknown names fail. `oubliette serve --check-config` says what
would be used.

| name | default | |
| --- | --- | --- |
";

/// The page docs/configuration.md.
pub fn page() -> String {
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut page = HEAD.to_owned();
    for (name, text) in Settings::FIELD_NAMES.iter().zip(Settings::FIELD_DOCS) {
        let default = match defaults.get(name) {
            None | Some(Value::Null) => "–".to_owned(),
            Some(Value::String(text)) => format!("`{text}`"),
            Some(value) => format!("`{value}`"),
        };
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let _ = writeln!(page, "| `{name}` | {default} | {text} |");
    }
    page
}

/// The known name that is most like `field`, if one is like it at all.
pub fn nearest<'a>(field: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &&str| strsim::jaro_winkler(field, name);
    let best = known
        .iter()
        .copied()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.75).then_some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_name_and_nonsense_finds_none() {
        let known = Settings::FIELD_NAMES;
        assert_eq!(nearest("que_events", known), Some("queue_events"));
        assert_eq!(nearest("tls_cert", known), Some("tls_certificate"));
        assert_eq!(nearest("zzz", known), None);
    }
}
