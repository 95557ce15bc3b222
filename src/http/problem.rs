//! Errors as `application/problem+json` (RFC 9457): one exhaustive match from code to status.

use actix_web::error::QueryPayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, ResponseError};
use serde::Serialize;

use crate::service::request::without_values;
use crate::service::{Code, Error, FieldError};

/// The body of every error.
#[derive(Debug, Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "Option::is_none")]
    current_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<&'a str>,
}

/// A service error on its way out.
#[derive(Debug)]
pub struct Problem(pub Error);

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: Into<Error>> From<E> for Problem {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// The status of a code.
pub(super) fn status(code: Code) -> StatusCode {
    match code {
        Code::MalformedJson => StatusCode::BAD_REQUEST,
        Code::InvalidField | Code::PersonalDataRefused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
        Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::LedgerNotFound | Code::EventNotFound | Code::StreamNotFound | Code::SubjectNotFound | Code::NotFound => {
            StatusCode::NOT_FOUND
        }
        Code::WrongExpectedVersion
        | Code::IdempotencyConflict
        | Code::SubjectErased
        | Code::SubjectErasing
        | Code::SubjectRestricted
        | Code::LegalHold
        | Code::NotErased
        | Code::ErasureSettled
        | Code::RetentionNotConfigured
        | Code::SecondKeyNeeded
        | Code::LeakNotRedacted
        | Code::BodyPurged
        | Code::LedgerExists
        | Code::LedgerFrozen
        | Code::BackupRunning => StatusCode::CONFLICT,
        Code::Erased => StatusCode::GONE,
        Code::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
        Code::Overloaded | Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::KeyUnavailable | Code::KeyStoreBehind | Code::NotReady | Code::ClockJumped | Code::StorageFailed => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        Code::Damaged | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A person who was erased, and where the certificate is.
pub(super) fn erased(certificate: Option<&str>) -> HttpResponse {
    respond(&Error::new(Code::Erased, "this person was erased"), certificate)
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        status(self.0.code)
    }

    fn error_response(&self) -> HttpResponse {
        respond(&self.0, None)
    }
}

fn respond(error: &Error, certificate: Option<&str>) -> HttpResponse {
    let status = status(error.code);
    if status.is_server_error() {
        tracing::error!(code = error.code.as_str(), detail = %error.detail, cause = ?error.source, "a request failed");
    }
    let mut response = HttpResponse::build(status);
    let overloaded = (error.code == Code::Overloaded).then_some(1);
    if let Some(seconds) = error.retry_after.or(overloaded) {
        response.insert_header((RETRY_AFTER, seconds.to_string()));
    }
    if error.code == Code::RequestTimeout {
        // The rest of the request is on its way or not; either way it must not be taken for the next one.
        response.force_close();
    }
    let body = Body {
        kind: "about:blank",
        title: status.canonical_reason().unwrap_or("error"),
        status: status.as_u16(),
        code: error.code.as_str(),
        detail: &error.detail,
        errors: &error.errors,
        current_version: error.current_version,
        index: error.index,
        certificate,
    };
    response
        .insert_header((CONTENT_TYPE, "application/problem+json"))
        .body(serde_json::to_vec(&body).unwrap_or_default())
}

/// Every path that is no route, and every method that a route does not take.
pub(super) async fn no_such_route(request: HttpRequest) -> HttpResponse {
    match request.match_pattern() {
        Some(pattern) => method_not_allowed(&pattern),
        None => Problem(Error::new(Code::NotFound, "there is no such route; see /docs")).error_response(),
    }
}

/// A method that the route of this pattern does not take: the answer says which it takes.
pub(super) fn method_not_allowed(pattern: &str) -> HttpResponse {
    let detail = "this route does not take this method; see `Allow` and /docs";
    let mut answer = Problem(Error::new(Code::MethodNotAllowed, detail)).error_response();
    let methods = super::openapi::methods(pattern).and_then(|methods| methods.parse().ok());
    if let Some(methods) = methods {
        answer.headers_mut().insert(ALLOW, methods);
    }
    answer
}

/// A query that does not parse: the pointer is the parameter's name where serde tells it.
pub(super) fn query(error: QueryPayloadError, _: &HttpRequest) -> actix_web::Error {
    let message = error.to_string();
    let message = message.strip_prefix("Query deserialize error: ").unwrap_or(&message);
    Problem(Error::field("query", without_values(message))).into()
}
