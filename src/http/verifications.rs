//! Verification jobs.

use actix_web::HttpResponse;
use actix_web::web::Path;

use super::auth::{Auditor, On};
use super::body::Body;
use super::problem::Problem;
use crate::service::verify::VerificationRequest;
use crate::service::{Code, Error, request};

pub(super) async fn start(on: On<Auditor>, body: Body) -> Result<HttpResponse, Problem> {
    let asked = if body.is_empty() {
        VerificationRequest::default()
    } else {
        request::parse(&body)?
    };
    let view = on.service.start_verification(&on.ledger, &on.caller, &asked)?;
    Ok(HttpResponse::Accepted().json(view))
}

pub(super) async fn list(on: On<Auditor>) -> Result<HttpResponse, Problem> {
    let views = on.service.verifications(&on.ledger)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"verifications": views, "next": null})))
}

pub(super) async fn one(on: On<Auditor>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let unknown = |_| Error::new(Code::NotFound, "there is no verification of this id");
    let id = path.1.parse().map_err(unknown)?;
    Ok(HttpResponse::Ok().json(on.service.verification(&on.ledger, id)?))
}
