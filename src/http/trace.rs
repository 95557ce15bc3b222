//! The span of a request in traces: method, route pattern and status, under the caller's span where `traceparent` names one
//! (W3C Trace Context). Nothing without the feature `otel`.

use actix_web::dev::ServiceRequest;
use tracing::Span;

/// The span of a request that has just come.
#[cfg(feature = "otel")]
pub(super) fn begin(request: &ServiceRequest, method: &'static str) -> Span {
    use opentelemetry::propagation::TextMapPropagator;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use tracing::field::Empty;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    let span = span!(
        "request",
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = Empty,
        http.response.status_code = Empty,
    );
    if !span.is_disabled() {
        let caller = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // Fails only for a span that nobody exports.
        let _ = span.set_parent(caller);
    }
    span
}

/// The span of a request that has just come.
#[cfg(not(feature = "otel"))]
pub(super) fn begin(_: &ServiceRequest, _: &'static str) -> Span {
    Span::none()
}

/// Adds what is known at the end; a request that was given up has no status.
#[cfg(feature = "otel")]
pub(super) fn end(span: &Span, route: &str, method: &'static str, status: Option<u16>) {
    use opentelemetry::trace::TraceContextExt;
    use tracing_opentelemetry::OpenTelemetrySpanExt;

    if span.is_disabled() {
        return;
    }
    // The route is known at the end, and a span that has begun takes no `otel.name`.
    span.context().span().update_name(format!("{method} {route}"));
    span.record("http.route", route);
    if let Some(status) = status {
        span.record("http.response.status_code", i64::from(status));
    }
    if status.is_none_or(|status| status >= 500) {
        span.record("otel.status_code", "ERROR");
    }
}

/// Adds what is known at the end.
#[cfg(not(feature = "otel"))]
pub(super) fn end(_: &Span, _: &str, _: &'static str, _: Option<u16>) {}

#[cfg(feature = "otel")]
struct Headers<'a>(&'a actix_web::http::header::HeaderMap);

#[cfg(feature = "otel")]
impl opentelemetry::propagation::Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}
