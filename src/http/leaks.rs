//! Leaks: reports that personal data stands in clear.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{ErasureReader, NoQuery, Officer, On};
use super::body::Body;
use super::page::{LeakPage, PageQuery};
use super::path::id;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn report(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let leak = on
        .service
        .report_leak(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(leak))
}

pub(super) async fn list(on: On<ErasureReader>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let leaks = on.blocking(|service, ledger| service.leaks(ledger)).await?;
    let page = query.page(&leaks, |leak| leak.id.to_string())?;
    Ok(HttpResponse::Ok().json(LeakPage::from(page)))
}

pub(super) async fn one(
    on: On<ErasureReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "leak")?;
    let leak = on.blocking(move |service, ledger| service.leak(ledger, id)).await?;
    Ok(HttpResponse::Ok().json(leak))
}

pub(super) async fn withdraw(
    on: On<Officer>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "leak")?;
    let leak = on.service.withdraw_leak(&on.ledger, &on.caller, id).await?;
    Ok(HttpResponse::Ok().json(leak))
}
