//! Legal holds, and restrictions of processing.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{ErasureReader, NoQuery, Officer, On};
use super::body::Body;
use super::page::{HoldPage, PageQuery, RestrictionPage};
use super::path::id;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn place(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let hold = on
        .service
        .place_hold(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(hold))
}

pub(super) async fn list(on: On<ErasureReader>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let holds = on.blocking(|service, ledger| service.holds(ledger)).await?;
    let page = query.page(&holds, |hold| hold.id.to_string())?;
    Ok(HttpResponse::Ok().json(HoldPage::from(page)))
}

pub(super) async fn one(
    on: On<ErasureReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "hold")?;
    let hold = on.blocking(move |service, ledger| service.hold(ledger, id)).await?;
    Ok(HttpResponse::Ok().json(hold))
}

pub(super) async fn release(
    on: On<Officer>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "hold")?;
    let hold = on.service.release_hold(&on.ledger, &on.caller, id).await?;
    Ok(HttpResponse::Ok().json(hold))
}

pub(super) async fn restrict(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let restriction = on
        .service
        .restrict(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(restriction))
}

pub(super) async fn restrictions(on: On<ErasureReader>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let restrictions = on.blocking(|service, ledger| service.restrictions(ledger)).await?;
    let page = query.page(&restrictions, |restriction| restriction.id.to_string())?;
    Ok(HttpResponse::Ok().json(RestrictionPage::from(page)))
}

pub(super) async fn restriction(
    on: On<ErasureReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "restriction")?;
    let restriction = on
        .blocking(move |service, ledger| service.restriction(ledger, id))
        .await?;
    Ok(HttpResponse::Ok().json(restriction))
}

pub(super) async fn lift(on: On<Officer>, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "restriction")?;
    let restriction = on.service.lift_restriction(&on.ledger, &on.caller, id).await?;
    Ok(HttpResponse::Ok().json(restriction))
}
