//! One operation of the document. Roles, query parameters and codes come from the handler's own argument types.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::{Data, Path, Query};
use actix_web::{Handler, HttpRequest};
use serde_json::{Map, Value, json};
use utoipa::openapi::path::ParameterIn;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, ToSchema};

use super::super::auth::{LogReader, NoQuery, On, OnLog, OnStore, Public, Roles, Scraper};
use super::super::body::Body;
use super::super::problem::status;
use crate::service::{Code, Role};

/// Codes that every route may answer that reads the store.
const READ: &[Code] = &[
    Code::Damaged,
    Code::Internal,
    Code::KeyUnavailable,
    Code::NotReady,
    Code::StorageFailed,
];
/// Codes of what appends an event, beside those.
pub(super) const APPENDS: &[Code] = &[Code::ClockJumped, Code::Overloaded, Code::TooLarge];

/// Named schemas, as utoipa collects them.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// An operation under way.
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) path: String,
    pub(super) schemas: Schemas,
    id: &'static str,
    summary: &'static str,
    description: Vec<String>,
    roles: Option<&'static [Role]>,
    tag: &'static str,
    parameters: Vec<Value>,
    body: Option<Value>,
    answers: BTreeMap<u16, Value>,
    codes: BTreeSet<&'static str>,
    by_status: BTreeMap<u16, Vec<Code>>,
}

/// An argument of a handler, as the document shows it.
pub(super) trait Argument {
    /// Adds what it means for callers.
    fn describe(_: &mut Operation) {}
}

/// A handler's arguments.
pub(super) trait Arguments {
    /// Adds what they mean for callers.
    fn describe(operation: &mut Operation);
}

macro_rules! arguments {
    ($($name:ident)+) => {
        impl<$($name: Argument),+> Arguments for ($($name,)+) {
            fn describe(operation: &mut Operation) {
                $($name::describe(operation);)+
            }
        }
    };
}

arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);

impl Argument for Public {}
impl<T> Argument for Path<T> {}
impl Argument for HttpRequest {}
impl<T> Argument for Data<T> {}

impl Argument for Scraper {
    fn describe(operation: &mut Operation) {
        operation.keyed(&[Role::Admin]);
        let open = "With the setting `metrics_public` it needs no key.";
        operation.description.push(open.to_owned());
    }
}

impl<R: Roles> Argument for OnStore<R> {
    fn describe(operation: &mut Operation) {
        operation.keyed(R::ANY_OF);
        operation.add_codes(READ);
    }
}

impl<R: Roles> Argument for On<R> {
    fn describe(operation: &mut Operation) {
        operation.keyed(R::ANY_OF);
        operation.add_codes(READ);
        operation.add_codes(&[Code::LedgerNotFound]);
    }
}

impl Argument for OnLog {
    fn describe(operation: &mut Operation) {
        On::<LogReader>::describe(operation);
        let open = "For the ledgers that the setting `log_public` names it needs no key.";
        operation.description.push(open.to_owned());
    }
}

impl<T: IntoParams> Argument for Query<T> {
    fn describe(operation: &mut Operation) {
        let parameters = T::into_params(|| Some(ParameterIn::Query));
        operation.parameters.extend(
            parameters
                .iter()
                .filter_map(|parameter| serde_json::to_value(parameter).ok())
                .map(there),
        );
        operation.add_codes(&[Code::InvalidField]);
    }
}

impl Argument for NoQuery {
    fn describe(operation: &mut Operation) {
        operation.add_codes(&[Code::InvalidField]);
    }
}

impl Argument for Body {
    fn describe(operation: &mut Operation) {
        operation.add_codes(&[
            Code::InvalidField,
            Code::MalformedJson,
            Code::RequestTimeout,
            Code::TooLarge,
        ]);
    }
}

/// A parameter that is absent is absent: none is null.
fn there(mut parameter: Value) -> Value {
    let Some(schema) = parameter.get_mut("schema") else {
        return parameter;
    };
    if let Some(kind) = schema.get_mut("type")
        && let Some(types) = kind.as_array()
    {
        let mut real = types.iter().filter(|name| *name != "null");
        *kind = real.next().cloned().unwrap_or_default();
    }
    let one = schema.get("oneOf").and_then(Value::as_array).map(|items| {
        let mut real = items.iter().filter(|item| item.get("type") != Some(&json!("null")));
        real.next().cloned().unwrap_or_default()
    });
    if let Some(one) = one {
        *schema = one;
    }
    parameter
}

/// An operation on the ledger of the path.
pub(super) fn on_ledger<F, Args>(
    method: &'static str,
    path: &str,
    handler: F,
    names: (&'static str, &'static str),
    summary: &'static str,
) -> Operation
where
    F: actix_web::Handler<Args>,
    Args: Arguments,
{
    Operation::of(
        (method, &format!("/v1/ledgers/{{ledger}}{path}")),
        handler,
        names,
        summary,
    )
}

impl Operation {
    /// The operation that a handler does on a route; `{path:.*}` is written `{path}`.
    pub(super) fn of<F, Args>(
        (method, route): (&'static str, &str),
        _: F,
        (tag, id): (&'static str, &'static str),
        summary: &'static str,
    ) -> Self
    where
        F: Handler<Args>,
        Args: Arguments,
    {
        let mut operation = Self {
            method,
            path: super::without_patterns(route),
            schemas: Vec::new(),
            id,
            summary,
            description: Vec::new(),
            roles: None,
            tag,
            parameters: Vec::new(),
            body: None,
            answers: BTreeMap::new(),
            codes: BTreeSet::new(),
            by_status: BTreeMap::new(),
        };
        let names: Vec<String> = operation
            .path
            .split(['{', '}'])
            .skip(1)
            .step_by(2)
            .map(Into::into)
            .collect();
        for name in names {
            let schema = super::parameters::of_path(&name, id);
            operation
                .parameters
                .push(json!({"name": name, "in": "path", "required": true, "schema": schema}));
        }
        Args::describe(&mut operation);
        operation
    }

    fn keyed(&mut self, roles: &'static [Role]) {
        self.roles = Some(roles);
        self.add_codes(&[
            Code::Unauthenticated,
            Code::Forbidden,
            Code::RateLimited,
            Code::Internal,
        ]);
    }

    fn add_codes(&mut self, codes: &[Code]) {
        for code in codes.iter().filter(|code| self.codes.insert(code.as_str())) {
            self.by_status.entry(status(*code).as_u16()).or_default().push(*code);
        }
    }

    /// A reference to a type's schema, which is put among the named ones.
    fn reference<T: ToSchema>(&mut self) -> Value {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }

    /// A sentence for people.
    pub(super) fn note(mut self, text: &str) -> Self {
        self.description.push(text.to_owned());
        self
    }

    /// The codes that it may answer, beside those of its arguments.
    pub(super) fn codes(mut self, codes: &[Code]) -> Self {
        self.add_codes(codes);
        self
    }

    /// A JSON body that must be there.
    pub(super) fn body<T: ToSchema>(self) -> Self {
        self.body_as::<T>("application/json", true)
    }

    /// A body of one more media type.
    pub(super) fn body_as<T: ToSchema>(mut self, media: &str, required: bool) -> Self {
        let schema = self.reference::<T>();
        self.body_of(media, required, schema)
    }

    /// A list as a body of one more media type.
    pub(super) fn body_list<T: ToSchema>(mut self, media: &str) -> Self {
        let items = self.reference::<T>();
        self.body_of(
            media,
            true,
            json!({"type": "array", "items": items, "minItems": 1, "maxItems": 1000}),
        )
    }

    fn body_of(mut self, media: &str, required: bool, schema: Value) -> Self {
        let body = self.body.get_or_insert_with(|| json!({"content": {}}));
        if let Some(body) = body.as_object_mut() {
            body.insert("required".to_owned(), required.into());
            if let Some(content) = body.get_mut("content").and_then(Value::as_object_mut) {
                content.insert(media.to_owned(), json!({"schema": schema}));
            }
        }
        self
    }

    /// An answer as JSON.
    pub(super) fn json<T: ToSchema>(mut self, status: u16, description: &str) -> Self {
        let schema = self.reference::<T>();
        self.answer(status, description, "application/json", schema)
    }

    /// A JSON object of a form that another document defines.
    pub(super) fn object(self, status: u16, description: &str) -> Self {
        self.answer(status, description, "application/json", json!({"type": "object"}))
    }

    /// An answer in another form.
    pub(super) fn media(self, status: u16, description: &str, media: &str) -> Self {
        let schema = json!({"type": "string"});
        self.answer(status, description, media, schema)
    }

    /// An answer without a body.
    pub(super) fn empty(mut self, status: u16, description: &str) -> Self {
        self.answers.insert(status, json!({"description": description}));
        self
    }

    fn answer(mut self, status: u16, description: &str, media: &str, schema: Value) -> Self {
        let answer = self
            .answers
            .entry(status)
            .or_insert_with(|| json!({"description": description, "content": {}}));
        if let Some(content) = answer.get_mut("content").and_then(Value::as_object_mut) {
            content.insert(media.to_owned(), json!({"schema": schema}));
        }
        self
    }

    /// A header of an answer that was added before.
    pub(super) fn header(mut self, status: u16, name: &str, description: &str, required: bool) -> Self {
        if let Some(answer) = self.answers.get_mut(&status).and_then(Value::as_object_mut) {
            let headers = answer.entry("headers").or_insert_with(|| json!({}));
            if let Some(headers) = headers.as_object_mut() {
                let header = json!({"description": description, "required": required, "schema": {"type": "string"}});
                headers.insert(name.to_owned(), header);
            }
        }
        self
    }

    /// A header that the request may have.
    pub(super) fn takes(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters
            .push(json!({"name": name, "in": "header", "description": description, "schema": schema}));
        self
    }

    /// The operation object (OpenAPI 3.1, 4.8.10).
    pub(super) fn finish(mut self) -> (&'static str, String, Value, Schemas) {
        for (status, codes) in std::mem::take(&mut self.by_status) {
            let problem = self.problem(&codes);
            self.answers.entry(status).or_insert(problem);
        }
        let mut description = self.description;
        let mut operation = Map::new();
        if let Some(roles) = self.roles {
            let names: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
            description.push(if roles.len() == Role::ALL.len() {
                "Needs any API key of the ledger.".to_owned()
            } else {
                format!("Needs the role {}.", names.join(" or "))
            });
            operation.insert("x-roles".to_owned(), json!(names));
        } else {
            description.push("Needs no API key.".to_owned());
            operation.insert("security".to_owned(), json!([]));
        }
        operation.insert("operationId".to_owned(), self.id.into());
        operation.insert("tags".to_owned(), json!([self.tag]));
        operation.insert("summary".to_owned(), self.summary.into());
        operation.insert("description".to_owned(), description.join(" ").into());
        operation.insert("parameters".to_owned(), self.parameters.into());
        if let Some(body) = self.body {
            operation.insert("requestBody".to_owned(), body);
        }
        let answers: Map<_, _> = self
            .answers
            .into_iter()
            .map(|(status, answer)| (status.to_string(), answer))
            .collect();
        operation.insert("responses".to_owned(), answers.into());
        (self.method, self.path, operation.into(), self.schemas)
    }

    fn problem(&self, codes: &[Code]) -> Value {
        let names: Vec<_> = codes.iter().map(|code| code.as_str()).collect();
        let schema = json!({
            "allOf": [{"$ref": "#/components/schemas/Problem"}],
            "properties": {"code": {"enum": names}},
        });
        let mut answer = json!({
            "description": names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            "content": {"application/problem+json": {"schema": schema}},
        });
        let waits = codes
            .iter()
            .any(|code| matches!(code, Code::Overloaded | Code::RateLimited));
        if let (true, Some(answer)) = (waits, answer.as_object_mut()) {
            let header = json!({"description": "Seconds to wait.", "required": true, "schema": {"type": "string", "pattern": "^[0-9]+$"}});
            answer.insert("headers".to_owned(), json!({"Retry-After": header}));
        }
        answer
    }
}
