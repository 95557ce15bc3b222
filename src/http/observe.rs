//! Around every request: an id, a log line, and the counts of docs/operations.md. Of the path only the route's pattern is
//! ever written down; of the caller only the API key's id and roles.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method};
use actix_web::middleware::Next;
use actix_web::{HttpMessage, HttpRequest, web};
use metrics::{counter, gauge, histogram};
use tracing::{Instrument, Span};

use super::trace;
use super::unread::{Kept, Sent};
use crate::service::{Caller, Service};

/// The header of the request's id, in and out.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over.
const MAX_ID: usize = 64;

/// The status of a request whose client hung up before the answer.
const CANCELLED: &str = "cancelled";

/// Whether requests are logged.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccessLog(pub(super) bool);

/// What was found out about a request on its way: kept apart from it, so that it outlives one that is given up.
#[derive(Debug, Clone, Default)]
struct Trail(Rc<RefCell<Option<Asker>>>);

/// Who asked, and for what.
#[derive(Debug)]
struct Asker {
    key: String,
    roles: String,
    route: String,
}

/// Notes who makes a request, once the API key was checked.
pub(super) fn remember(request: &HttpRequest, caller: &Caller) {
    if let Some(trail) = request.extensions().get::<Trail>() {
        let roles: Vec<_> = caller.key.roles.iter().map(|role| role.as_str()).collect();
        *trail.0.borrow_mut() = Some(Asker {
            key: caller.key.id.clone(),
            roles: roles.join(","),
            route: route(request),
        });
    }
}

fn route(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| "none".to_owned())
}

/// A request from its start until its head is made. One whose client hangs up before is counted and logged, too.
struct UnderWay {
    started: Instant,
    method: &'static str,
    logged: bool,
    span: Span,
    traced: Span,
    trail: Trail,
    answered: bool,
}

impl UnderWay {
    fn begin(request: &ServiceRequest, id: &str) -> Self {
        gauge!("oubliette_http_requests_in_flight").increment(1.0);
        let trail = Trail::default();
        request.extensions_mut().insert(trail.clone());
        let method = method(request.method());
        Self {
            started: Instant::now(),
            method,
            traced: trace::begin(request, method),
            logged: request.app_data::<AccessLog>().is_some_and(|log| log.0),
            // At the level of errors, so that it is there at every level of the log.
            span: tracing::error_span!("request", id = %id),
            trail,
            answered: false,
        }
    }

    /// Counts and logs, once.
    fn end(&mut self, route: Option<String>, status: Option<u16>) {
        self.answered = true;
        let took = self.started.elapsed();
        let asker = self.trail.0.borrow();
        let known = || asker.as_ref().map(|asker| asker.route.clone());
        let route = route.or_else(known).unwrap_or_else(|| "none".to_owned());
        count(&route, self.method, status, took);
        trace::end(&self.traced, &route, self.method, status);
        if self.logged {
            self.span
                .in_scope(|| log(asker.as_ref(), &route, self.method, status, took));
        }
    }

    fn has_valid_key(&self) -> bool {
        self.trail.0.borrow().is_some()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        gauge!("oubliette_http_requests_in_flight").decrement(1.0);
        if !self.answered {
            self.end(None, None);
        }
    }
}

pub(super) async fn request(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<Sent<BoxBody>>, actix_web::Error> {
    let kept = Kept::of(&mut request);
    let id = given_id(&request).unwrap_or_else(|| fresh_id(&request));
    let mut under_way = UnderWay::begin(&request, &id);
    let (span, traced) = (under_way.span.clone(), under_way.traced.clone());
    let mut response = next.call(request).instrument(traced).instrument(span).await?;
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let route = route(response.request());
    // What may be kept says so itself: answers are about people, keys, or this moment.
    if !response.headers().contains_key(CACHE_CONTROL) {
        response
            .headers_mut()
            .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if !under_way.has_valid_key() {
        // The time for a head is limited for a connection's first one alone: a stranger gets no second.
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
    under_way.end(Some(route), Some(response.status().as_u16()));
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

fn count(route: &str, method: &'static str, status: Option<u16>, took: Duration) {
    let text = status.map_or_else(|| CANCELLED.to_owned(), |status| status.to_string());
    counter!("oubliette_http_requests_total", "route" => route.to_owned(), "method" => method, "status" => text)
        .increment(1);
    histogram!("oubliette_http_request_seconds", "route" => route.to_owned(), "method" => method).record(took);
}

fn log(asker: Option<&Asker>, route: &str, method: &'static str, status: Option<u16>, took: Duration) {
    let duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    let key = asker.map_or("-", |asker| asker.key.as_str());
    let roles = asker.map_or("-", |asker| asker.roles.as_str());
    match status {
        Some(status) => tracing::info!(method, route, status, duration_us, key, roles, "answered"),
        None => tracing::info!(method, route, status = CANCELLED, duration_us, key, roles, "hung up"),
    }
}
