//! Erasures and their certificates.

use actix_web::HttpResponse;
use actix_web::web::Path;
use uuid::Uuid;

use super::auth::{ErasureReader, Officer, On};
use super::body::Body;
use super::problem::Problem;
use crate::service::{Code, Error, request};

pub(super) async fn create(on: On<Officer>, body: Body) -> Result<HttpResponse, Problem> {
    let view = on.service.erase(&on.ledger, &on.caller, request::parse(&body)?).await?;
    Ok(HttpResponse::Accepted().json(view))
}

pub(super) async fn list(on: On<ErasureReader>) -> Result<HttpResponse, Problem> {
    let erasures = on.service.erasures(&on.ledger)?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"erasures": erasures, "next": null})))
}

pub(super) async fn one(on: On<ErasureReader>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(on.service.erasure(&on.ledger, id(&path.1)?)?))
}

pub(super) async fn certificate(on: On<ErasureReader>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let signed = on.service.certificate(&on.ledger, id(&path.1)?)?;
    Ok(HttpResponse::Ok()
        .content_type("application/cose; cose-type=\"cose-sign1\"")
        .body(signed))
}

fn id(text: &str) -> Result<Uuid, Problem> {
    text.parse()
        .map_err(|_| Problem(Error::new(Code::NotFound, "there is no erasure of this id")))
}
