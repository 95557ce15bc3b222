//! The document as one page: no scripts, nothing from elsewhere.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde_json::{Map, Value};

/// Nothing is loaded; the style stands in the page.
pub(super) const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("page.css");

/// Renders the document.
pub(super) fn render(document: &Value) -> String {
    let info = &document["info"];
    let schemas = members(at(document, "/components/schemas"));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Oubliette: HTTP API" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    h1 { "Oubliette: HTTP API" }
                    p.version { "Version " (text(&info["version"])) " · " a href="/openapi.json" { "OpenAPI 3.1 document" } }
                    (prose(text(&info["description"])))
                    (prose(text(at(document, "/components/securitySchemes/apiKey/description"))))
                    p { code { "Authorization: Bearer obl_…" } }
                }
                nav { @for tag in items(&document["tags"]) { a href=(format!("#{}", anchor(text(&tag["name"])))) { (text(&tag["name"])) } }
                    a href="#schemas" { "schemas" } }
                main {
                    @for tag in items(&document["tags"]) { (section(document, tag)) }
                    section id="schemas" {
                        h2 { "schemas" }
                        @for (name, schema) in schemas.into_iter().flatten() { (named(name, schema)) }
                    }
                }
            }
        }
    }
    .into_string()
}

fn section(document: &Value, tag: &Value) -> Markup {
    let name = text(&tag["name"]);
    let paths = members(&document["paths"]);
    let operations = paths.into_iter().flatten().flat_map(|(path, item)| {
        let methods = members(item).into_iter().flatten();
        methods.map(move |(method, operation)| (path, method, operation))
    });
    html! {
        section id=(anchor(name)) {
            h2 { (name) }
            p { (text(&tag["description"])) }
            @for (path, method, operation) in operations.filter(|(_, _, operation)| text(at(operation, "/tags/0")) == name) {
                (one(path, method, operation))
            }
        }
    }
}

fn one(path: &str, method: &str, operation: &Value) -> Markup {
    let parameters = items(&operation["parameters"]);
    let body = members(at(operation, "/requestBody/content"));
    html! {
        details.operation id=(text(&operation["operationId"])) {
            summary {
                span class=(format!("method {method}")) { (method.to_uppercase()) }
                code.path { (path) }
                span.words { (inline(text(&operation["summary"]))) }
            }
            p { (inline(text(&operation["description"]))) }
            @if !parameters.is_empty() {
                h3 { "Parameters" }
                div.wide { table {
                    tr { th { "name" } th { "in" } th { "form" } th { "" } }
                    @for parameter in parameters {
                        tr {
                            td { code { (text(&parameter["name"])) } @if parameter["required"] == true { " " b title="required" { "*" } } }
                            td { (text(&parameter["in"])) }
                            td { (form(&parameter["schema"])) }
                            td { (inline(text(&parameter["description"]))) }
                        }
                    }
                } }
            }
            @if let Some(body) = body {
                h3 { "Body" }
                ul { @for (media, content) in body { li { code { (media) } ": " (form(&content["schema"])) } } }
            }
            h3 { "Answers" }
            div.wide { table {
                tr { th { "status" } th { "form" } th { "" } }
                @for (status, answer) in members(&operation["responses"]).into_iter().flatten() { (answered(status, answer)) }
            } }
        }
    }
}

fn answered(status: &str, answer: &Value) -> Markup {
    html! {
        tr {
            td { b { (status) } }
            td { @for (media, content) in members(&answer["content"]).into_iter().flatten() {
                div { @if media == "application/problem+json" { a href="#Problem" { "Problem" } }
                    @else { code { (media) } @if content["schema"].get("$ref").is_some() { ": " (form(&content["schema"])) } } }
            } }
            td {
                (inline(text(&answer["description"])))
                @for (name, header) in members(&answer["headers"]).into_iter().flatten() {
                    div.header { code { (name) } ": " (text(&header["description"])) }
                }
            }
        }
    }
}

fn named(name: &str, schema: &Value) -> Markup {
    html! {
        details.schema id=(name) {
            summary { code.path { (name) } span.words { (inline(text(&schema["description"]).lines().next().unwrap_or_default())) } }
            (prose(text(&schema["description"])))
            @let parts = if schema["allOf"].is_array() { items(&schema["allOf"]) } else { std::slice::from_ref(schema) };
            @for part in parts { (body_of(part)) }
        }
    }
}

fn body_of(schema: &Value) -> Markup {
    let needed = items(&schema["required"]);
    html! {
        @match members(&schema["properties"]) {
            Some(properties) => { div.wide { table {
                tr { th { "member" } th { "form" } th { "" } }
                @for (name, property) in properties {
                    tr {
                        td { code { (name) } @if needed.iter().any(|known| known == name) { " " b title="always there" { "*" } } }
                        td { (form(property)) }
                        td { (inline(text(described(property)))) }
                    }
                }
            } } }
            None => { p { (form(schema)) } }
        }
    }
}

/// A property's description: its own, or that of its one alternative beside null.
fn described(schema: &Value) -> &Value {
    let own = &schema["description"];
    if own.is_string() {
        own
    } else {
        at(schema, "/oneOf/0/description")
    }
}

/// A schema in a few words.
fn form(schema: &Value) -> Markup {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        return html! { a href=(format!("#{name}")) { (name) } };
    }
    for (word, joint) in [("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")] {
        let parts = items(&schema[word]);
        if !parts.is_empty() {
            return html! { @for (at, part) in parts.iter().enumerate() { @if at > 0 { (joint) } (form(part)) } };
        }
    }
    if let Value::Array(_) = schema["enum"] {
        return html! { @for (at, word) in items(&schema["enum"]).iter().enumerate() { @if at > 0 { ", " } code { (text(word)) } } };
    }
    if schema.get("items").is_some() {
        return html! { "list of " (form(&schema["items"])) (bounds(schema, "minItems", "maxItems")) };
    }
    if schema["additionalProperties"].is_object() {
        return html! { "map of " (form(&schema["additionalProperties"])) };
    }
    let kind = match &schema["type"] {
        Value::Array(types) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
        Value::String(kind) => kind.clone(),
        _ => "any JSON".to_owned(),
    };
    html! {
        (kind)
        @if let Some(format) = schema["format"].as_str() { " (" (format) ")" }
        (bounds(schema, "minLength", "maxLength"))
        @if schema["format"].is_null() { (bounds(schema, "minimum", "maximum")) }
        @if let Some(pattern) = schema["pattern"].as_str() { " " code.pattern { (pattern) } }
        @if let Some(coding) = schema["contentEncoding"].as_str() { " (" (coding) ")" }
    }
}

fn bounds(schema: &Value, least: &str, most: &str) -> Markup {
    html! {
        @match (schema.get(least), schema.get(most)) {
            (None, None) => {}
            (least, most) => { ", " (least.map(Value::to_string).unwrap_or_default()) "…" (most.map(Value::to_string).unwrap_or_default()) }
        }
    }
}

/// Paragraphs and lists.
fn prose(text: &str) -> Markup {
    html! {
        @for block in text.split("\n\n") {
            @if block.starts_with("- ") {
                ul { @for line in block.lines() { li { (inline(line.trim_start_matches("- "))) } } }
            } @else { p { (inline(block)) } }
        }
    }
}

/// A text with `code` in it.
fn inline(text: &str) -> Markup {
    html! { @for (at, part) in text.split('`').enumerate() { @if at % 2 == 1 { code { (part) } } @else { (part) } } }
}

fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn members(value: &Value) -> Option<&Map<String, Value>> {
    value.as_object()
}

fn anchor(name: &str) -> String {
    name.replace(' ', "-")
}
