//! Whether the process lives, whether it takes events, and what it measured.

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use super::auth::{Public, Scraper, blocking};
use super::problem::Problem;
use crate::service::{Code, Error};

/// The Prometheus text format.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How the process is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    #[schema(pattern = "^(alive|ready)$")]
    status: &'static str,
}

pub(super) async fn alive(_: Public) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(Health { status: "alive" })
}

pub(super) async fn ready(public: Public) -> Result<HttpResponse, Problem> {
    let service = public.service;
    blocking(move || service.readiness()).await??;
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(Health { status: "ready" }))
}

pub(super) async fn metrics(
    scraper: Scraper,
    recorded: web::Data<Option<PrometheusHandle>>,
) -> Result<HttpResponse, Problem> {
    let Some(handle) = recorded.get_ref().clone() else {
        return Err(Problem(Error::new(
            Code::NotFound,
            "this server keeps no metrics; `oubliette serve` does",
        )));
    };
    let service = scraper.service;
    let page = blocking(move || {
        service.measure();
        handle.render()
    });
    let page = page.await?;
    Ok(HttpResponse::Ok()
        .content_type(EXPOSITION)
        .insert_header((CACHE_CONTROL, "no-store"))
        .body(page))
}
