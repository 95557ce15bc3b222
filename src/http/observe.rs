//! Around every request: an id, a log line, and the counts of docs/operations.md. Of the path only the route's pattern is
//! ever written down; of the caller only the API key's id and roles.

use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, web};
use metrics::{counter, gauge, histogram};
use tracing::Instrument;

use super::unread::{Kept, Sent};
use crate::service::{Caller, Service};

/// The header of the request's id, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over.
const MAX_ID: usize = 64;

/// Whether requests are logged.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLog(pub(super) bool);

/// Who asked, left behind by the check of the API key.
#[derive(Debug, Clone)]
pub(super) struct Asker {
    key: String,
    roles: String,
}

impl Asker {
    pub(super) fn of(caller: &Caller) -> Self {
        let roles: Vec<_> = caller.key.roles.iter().map(|role| role.as_str()).collect();
        Self {
            key: caller.key.id.clone(),
            roles: roles.join(","),
        }
    }
}

/// Counted from the start of a request until its head is made, also when the client hangs up.
struct UnderWay;

impl UnderWay {
    fn begin() -> Self {
        gauge!("oubliette_http_requests_in_flight").increment(1.0);
        Self
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        gauge!("oubliette_http_requests_in_flight").decrement(1.0);
    }
}

pub(super) async fn request(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<Sent<BoxBody>>, actix_web::Error> {
    let kept = Kept::of(&mut request);
    let started = Instant::now();
    let _under_way = UnderWay::begin();
    let logged = request.app_data::<AccessLog>().is_some_and(|log| log.0);
    let id = given_id(&request).unwrap_or_else(|| fresh_id(&request));
    let span = tracing::info_span!("request", id = %id);
    let method = method(request.method());
    let mut response = next.call(request).instrument(span.clone()).await?;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let took = started.elapsed();
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    count(&route, method, response.status().as_u16(), took);
    if logged {
        span.in_scope(|| log(&response, &route, method, took));
    }
    Ok(response.map_body(|_, body| kept.until_sent(body)))
}

/// The client's own id: 1 to 64 of `[A-Za-z0-9._-]`; anything else is replaced.
fn given_id(request: &ServiceRequest) -> Option<String> {
    let id = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let fits = (1..=MAX_ID).contains(&id.len())
        && id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    fits.then(|| id.to_owned())
}

fn fresh_id(request: &ServiceRequest) -> String {
    let service = request.app_data::<web::Data<Service>>();
    service.map_or_else(String::new, |service| service.request_id())
}

/// Methods are a closed list: a label must not grow with what clients think of.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn count(route: &str, method: &'static str, status: u16, took: Duration) {
    counter!("oubliette_http_requests_total",
        "route" => route.to_owned(), "method" => method, "status" => status.to_string())
    .increment(1);
    histogram!("oubliette_http_request_seconds", "route" => route.to_owned(), "method" => method).record(took);
}

fn log<B>(response: &ServiceResponse<B>, route: &str, method: &'static str, took: Duration) {
    let extensions = response.request().extensions();
    let asker = extensions.get::<Asker>();
    tracing::info!(
        method,
        route,
        status = response.status().as_u16(),
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        key = asker.map_or("-", |asker| asker.key.as_str()),
        roles = asker.map_or("-", |asker| asker.roles.as_str()),
        "answered"
    );
}
