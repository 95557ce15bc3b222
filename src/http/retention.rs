//! Runs of the retention rules, and reopenings.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{ErasureReader, NoQuery, Officer, On};
use super::body::Body;
use super::page::{PageQuery, RetentionRunPage};
use super::path::id;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn run(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let run = on
        .service
        .run_retention(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    let mut answer = match run.id {
        Some(_) => HttpResponse::Created(),
        None => HttpResponse::Ok(),
    };
    Ok(answer.json(run))
}

pub(super) async fn list(on: On<ErasureReader>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let runs = on.blocking(|service, ledger| service.retention_runs(ledger)).await?;
    let page = query.page(&runs, |run| run.id.unwrap_or_default().to_string())?;
    Ok(HttpResponse::Ok().json(RetentionRunPage::from(page)))
}

pub(super) async fn one(
    on: On<ErasureReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "run")?;
    let run = on
        .blocking(move |service, ledger| service.retention_run(ledger, id))
        .await?;
    Ok(HttpResponse::Ok().json(run))
}

pub(super) async fn reopen(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let reopened = on
        .service
        .reopen(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(reopened))
}
