//! Redactions and their certificates.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{ErasureReader, NoQuery, Officer, On};
use super::body::Body;
use super::certificates::CertificateQuery;
use super::page::{PageQuery, RedactionPage};
use super::path::id;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn create(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let view = on
        .service
        .redact(&on.ledger, &on.caller, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Accepted().json(view))
}

pub(super) async fn list(on: On<ErasureReader>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let redactions = on.blocking(|service, ledger| service.redactions(ledger)).await?;
    Ok(HttpResponse::Ok().json(RedactionPage::from(
        query.page(&redactions, |redaction| redaction.id.to_string())?,
    )))
}

pub(super) async fn one(
    on: On<ErasureReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "redaction")?;
    let redaction = on
        .blocking(move |service, ledger| service.redaction(ledger, id))
        .await?;
    Ok(HttpResponse::Ok().json(redaction))
}

pub(super) async fn certificate(
    on: On<ErasureReader>,
    query: Query<CertificateQuery>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let (id, form) = (id(&path.1, "redaction")?, query.format);
    let certificate = on
        .blocking(move |service, ledger| service.redaction_certificate(ledger, id, form))
        .await?;
    Ok(super::certificates::certificate(form, certificate))
}
