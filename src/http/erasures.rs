//! Erasures and their certificates.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{ErasureReader, NoQuery, Officer, On};
use super::body::Body;
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
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "erasure")?;
    let signed = on
        .blocking(move |service, ledger| service.certificate(ledger, id))
        .await?;
    Ok(signed_document(signed))
}

/// A signed document (RFC 9052).
pub(super) fn signed_document(bytes: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/cose; cose-type=\"cose-sign1\"")
        .body(bytes)
}
