//! Verification jobs.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{Auditor, NoQuery, On};
use super::body::Body;
use super::page::{PageQuery, VerificationPage};
use super::path::id;
use super::problem::Problem;
use crate::service::request;
use crate::service::verify::VerificationRequest;

pub(super) async fn start(on: On<Auditor>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let asked = if body.is_empty() {
        VerificationRequest::default()
    } else {
        request::parse(&body)?
    };
    let view = on.service.start_verification(&on.ledger, &on.caller, &asked)?;
    Ok(HttpResponse::Accepted().json(view))
}

pub(super) async fn list(on: On<Auditor>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let views = on.blocking(|service, ledger| service.verifications(ledger)).await?;
    Ok(HttpResponse::Ok().json(VerificationPage::from(query.page(&views, |view| view.id.to_string())?)))
}

pub(super) async fn one(on: On<Auditor>, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let id = id(&path.1, "verification")?;
    let view = on
        .blocking(move |service, ledger| service.verification(ledger, id))
        .await?;
    Ok(HttpResponse::Ok().json(view))
}
