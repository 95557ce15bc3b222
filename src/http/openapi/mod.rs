//! The OpenAPI 3.1 document, made from the handlers and their types, and a page to read it. Both need no key and load
//! nothing from elsewhere.

mod ledger;
mod life;
mod operation;
mod page;
mod parameters;
mod records;
mod schemas;
mod store;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Map, Value, json};

use super::auth::{NoQuery, Public};
use operation::{Operation, Schemas};
pub(super) use schemas::TimeOrDate;

/// What stands at the head of the document.
const ABOUT: &str = "An audit ledger that never loses an event and can prove that it forgot a person.\n\n\
    Times are RFC 3339, written in UTC with six digits; hashes and references lower-case hex. Every `GET` route takes `HEAD` \
    too. Unknown fields and parameters are refused. Errors are problem documents (RFC 9457) with a stable `code`. Every answer \
    has an `x-request-id`. Every route that takes a body may answer before it has read all of it.";

static TEXT: LazyLock<String> = LazyLock::new(text);
static DOCUMENT: LazyLock<Value> = LazyLock::new(document);
static PAGE: LazyLock<String> = LazyLock::new(|| page::render(&DOCUMENT));

/// `GET /openapi.json`.
pub(super) async fn json(_: Public, _: NoQuery) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .body(TEXT.as_str())
}

/// `GET /docs`.
pub(super) async fn docs(_: Public, _: NoQuery) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((CONTENT_SECURITY_POLICY, page::POLICY))
        .body(PAGE.as_str())
}

/// The methods of a route's pattern, for `Allow` (RFC 9110, 10.2.1).
pub(super) fn methods(pattern: &str) -> Option<String> {
    let methods = DOCUMENT.get("paths")?.get(without_patterns(pattern))?.as_object()?;
    let mut names: Vec<_> = methods.keys().map(|method| method.to_uppercase()).collect();
    if names.iter().any(|name| name == "GET") {
        names.push("HEAD".to_owned());
    }
    Some(names.join(", "))
}

/// `/tile/{path:.*}` as `/tile/{path}`.
fn without_patterns(route: &str) -> String {
    route.replace(":.*}", "}")
}

/// The document as docs/openapi.json holds it.
pub fn text() -> String {
    let mut text = serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default();
    text.push('\n');
    text
}

fn operations() -> Vec<Operation> {
    let mut all = store::operations();
    all.extend(ledger::operations());
    all.extend(records::operations());
    all.extend(life::operations());
    all
}

fn document() -> Value {
    let (mut paths, mut schemas) = (Map::new(), Schemas::new());
    for operation in operations() {
        let (method, path, operation, used) = operation.finish();
        schemas.extend(used);
        let item = paths.entry(path).or_insert_with(|| json!({}));
        if let Some(item) = item.as_object_mut() {
            item.insert(method.to_owned(), operation);
        }
    }
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Oubliette", "version": env!("CARGO_PKG_VERSION"), "description": ABOUT,
            "license": {"name": "Apache-2.0 OR MIT", "identifier": "Apache-2.0 OR MIT"},
        },
        "tags": TAGS.map(|(name, description)| json!({"name": name, "description": description})),
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": components(schemas),
            "securitySchemes": {"apiKey": {
                "type": "http", "scheme": "bearer", "bearerFormat": "obl_<16 hex>_<64 hex>",
                "description": "An API key with roles. With the setting `tls_client_ca` the server asks for a client certificate \
                                (mutual TLS), too.",
            }},
        },
    });
    tidy(&mut document);
    for (schema, narrower) in narrower() {
        let pointer = format!("/components/schemas/{schema}");
        if let (Some(Value::Object(members)), Value::Object(narrower)) = (document.pointer_mut(&pointer), narrower) {
            members.extend(narrower);
        }
    }
    document
}

/// What the attributes of the types do not reach: bounds inside of lists and alternatives, and the like.
fn narrower() -> [(&'static str, Value); 8] {
    let tag = json!({"minLength": 1, "maxLength": 128});
    [
        ("EventRequest/properties/tags/items", tag.clone()),
        ("StreamEventRequest/properties/tags/items", tag),
        ("ActorRequest/oneOf/0", json!({"minLength": 1, "maxLength": 256})),
        // What is sealed is something.
        ("PersonalRequest", json!({"required": ["subject", "data"]})),
        (
            "PersonalRequest/properties/data",
            json!({"type": ["object", "array", "string", "number", "boolean"]}),
        ),
        // A published key has members beside these.
        ("AnnouncedKey", json!({"additionalProperties": true})),
        // Said twice is said once.
        ("NewApiKey/properties/roles", json!({"uniqueItems": false})),
        ("NewApiKey/properties/ledgers", json!({"uniqueItems": false})),
    ]
}

const TAGS: [(&str, &str); 7] = [
    ("events", "Append and read."),
    ("time travel", "The ledger and its streams as of a moment."),
    ("proofs", "The log, its proofs and its keys."),
    ("people", "Handles, erasures, redactions, certificates."),
    ("audit", "Verifications, exports, reports."),
    ("administration", "Ledgers and API keys."),
    ("server", "Health, metrics, this document."),
];

fn components(used: Schemas) -> Map<String, Value> {
    let mut named: Vec<(String, Value)> = used
        .into_iter()
        .filter_map(|(name, schema)| Some((name, serde_json::to_value(schema).ok()?)))
        .collect();
    named.extend(schemas::problem().map(|(name, schema)| (name.to_owned(), schema)));
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named.into_iter().collect()
}

/// Bounds that follow from a number's width; doc comments without links.
fn tidy(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(tidy),
        Value::Object(members) => {
            // As OpenAPI's registry of formats writes them.
            let width = match members.get("format").and_then(Value::as_str) {
                Some("u-int64") => Some(("uint64", json!(u64::MAX))),
                Some("u-int32") => Some(("uint32", json!(u32::MAX))),
                Some("u-int16") => Some(("uint16", json!(u16::MAX))),
                _ => None,
            };
            if let Some((format, most)) = width {
                members.insert("format".to_owned(), format.into());
                members.entry("maximum").or_insert(most);
            }
            if let Some(Value::String(text)) = members.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            members.values_mut().for_each(tidy);
        }
        _ => {}
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The routing table as it is written: path and method of every `.route(…)` in `http::routes`.
    fn routed() -> BTreeSet<(String, String)> {
        let (mut prefix, mut found) = (String::new(), BTreeSet::new());
        for line in include_str!("../mod.rs").lines().map(str::trim) {
            let quoted = || line.split('"').nth(1).unwrap();
            if line.starts_with("web::scope(\"") {
                prefix.push_str(quoted());
            } else if line.starts_with(".route(\"") {
                let method = line.split("\", ").nth(1).unwrap().split('(').next().unwrap();
                found.insert((without_patterns(&format!("{prefix}{}", quoted())), method.to_owned()));
            }
        }
        found
    }

    #[test]
    fn every_route_is_documented_and_nothing_else() {
        let paths = DOCUMENT["paths"].as_object().unwrap();
        let documented: BTreeSet<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| (path.clone(), method.clone()))
            })
            .collect();
        assert!(documented.len() > 35, "{documented:?}");
        assert_eq!(routed(), documented);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn check(value: &Value) {
            match value {
                Value::Array(items) => items.iter().for_each(check),
                Value::Object(members) => {
                    if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').unwrap();
                        assert!(DOCUMENT.pointer(pointer).is_some(), "{target}");
                    }
                    members.values().for_each(check);
                }
                _ => {}
            }
        }
        check(&DOCUMENT);
    }

    #[test]
    fn operations_have_names_of_their_own_roles_and_refuse_unknown_fields() {
        let mut names = BTreeSet::new();
        for item in DOCUMENT["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                assert!(names.insert(operation["operationId"].as_str().unwrap()), "{operation}");
                let keyed = operation.get("security").is_none();
                assert_eq!(keyed, operation["x-roles"].is_array(), "{operation}");
                assert_eq!(keyed, operation["responses"].get("401").is_some(), "{operation}");
                let body = operation.pointer("/requestBody/content/application~1json/schema/$ref");
                if let Some(body) = body.and_then(Value::as_str) {
                    let schema = DOCUMENT.pointer(body.strip_prefix('#').unwrap()).unwrap();
                    assert_eq!(schema["additionalProperties"], false, "{body}");
                }
            }
        }
    }

    #[test]
    fn allow_names_the_methods_of_a_route() {
        let events = methods("/v1/ledgers/{ledger}/events").unwrap();
        assert_eq!(events, "GET, POST, HEAD");
        assert_eq!(methods("/v1/ledgers/{ledger}/log/tile/{path:.*}").unwrap(), "GET, HEAD");
        assert_eq!(methods("/nowhere"), None);
    }
}
