//! Whether the process lives, whether it takes events, and what it measured.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use super::auth::{NoQuery, Public, Scraper, blocking};
use super::problem::Problem;
use crate::service::{Code, Error};

/// How long anybody waits here: a vault may hang, and whoever looks after this process must learn it.
const LIMIT: Duration = Duration::from_secs(5);

/// The Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the process is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    #[schema(pattern = "^(alive|ready)$")]
    status: &'static str,
}

/// Gives up waiting; the work itself runs on.
async fn within<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let waited = tokio::time::timeout(LIMIT, work).await;
    waited.unwrap_or_else(|_| {
        let detail = format!("key store or vault did not answer within {} seconds", LIMIT.as_secs());
        Err(Error::new(Code::KeyUnavailable, detail))
    })
}

pub(super) async fn alive(_: Public, _: NoQuery) -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "alive" })
}

pub(super) async fn ready(public: Public, _: NoQuery) -> Result<HttpResponse, Problem> {
    let service = public.service;
    within(blocking(move || service.readiness())).await??;
    Ok(HttpResponse::Ok().json(Health { status: "ready" }))
}

pub(super) async fn metrics(
    scraper: Scraper,
    _: NoQuery,
    recorded: web::Data<Option<PrometheusHandle>>,
) -> Result<HttpResponse, Problem> {
    let Some(handle) = recorded.get_ref().clone() else {
        return Err(Problem(Error::new(
            Code::NotFound,
            "this server keeps no metrics; `oubliette serve` does",
        )));
    };
    let service = scraper.service;
    let measuring = service.clone();
    let measured = within(blocking(move || measuring.measure())).await;
    if !matches!(measured, Ok(Ok(()))) {
        service.unmeasured();
    }
    let page = blocking(move || handle.render()).await?;
    Ok(HttpResponse::Ok().content_type(EXPOSITION).body(page))
}
