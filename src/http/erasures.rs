//! Erasures and their certificates.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{ErasureReader, NoQuery, Officer, On};
use super::body::Body;
use super::certificates::CertificateQuery;
use super::page::{ErasurePage, PageQuery};
use super::path::id;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn create(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let view = on.service.erase(&on.ledger, &on.caller, request::parse(&body)?).await?;
    Ok(HttpResponse::Accepted().json(view))
}

pub(super) async fn list(on: On<ErasureReader>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let erasures = on.blocking(|service, ledger| service.erasures(ledger)).await?;
    Ok(HttpResponse::Ok().json(ErasurePage::from(
        query.page(&erasures, |erasure| erasure.id.to_string())?,
    )))
}

pub(super) async fn one(
    on: On<ErasureReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "erasure")?;
    let erasure = on.blocking(move |service, ledger| service.erasure(ledger, id)).await?;
    Ok(HttpResponse::Ok().json(erasure))
}

pub(super) async fn approve(
    on: On<Officer>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let erasure = on
        .service
        .approve_erasure(&on.ledger, &on.caller, id(&path.1, "erasure")?)
        .await?;
    Ok(HttpResponse::Accepted().json(erasure))
}

pub(super) async fn cancel(on: On<Officer>, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let erasure = on
        .service
        .cancel_erasure(&on.ledger, &on.caller, id(&path.1, "erasure")?)
        .await?;
    Ok(HttpResponse::Accepted().json(erasure))
}

pub(super) async fn certificate(
    on: On<ErasureReader>,
    query: Query<CertificateQuery>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, form) = (id(&path.1, "erasure")?, query.format);
    let certificate = on
        .blocking(move |service, ledger| service.certificate(ledger, id, form))
        .await?;
    Ok(super::certificates::certificate(form, certificate))
}
