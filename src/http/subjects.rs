//! Data subjects. Their ids travel in bodies only.

use actix_web::HttpResponse;
use actix_web::web::Path;

use super::auth::{Officer, On, Writer};
use super::body::Body;
use super::problem::Problem;
use crate::service::request::{self, SubjectRequest};
use crate::service::{Code, Error};

pub(super) async fn handle(on: On<Writer>, body: Body) -> Result<HttpResponse, Problem> {
    let request: SubjectRequest = request::parse(&body)?;
    let handle = on.service.subject_handle(&on.ledger, request.subject).await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"handle": handle})))
}

pub(super) async fn look_up(on: On<Officer>, body: Body) -> Result<HttpResponse, Problem> {
    let request: SubjectRequest = request::parse(&body)?;
    let subject = on.blocking(move |service, ledger| service.look_up_subject(ledger, &request.subject));
    Ok(HttpResponse::Ok().json(subject.await?))
}

pub(super) async fn one(on: On<Officer>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let handle = path
        .1
        .parse()
        .map_err(|_| Error::new(Code::SubjectNotFound, "there is no such handle"))?;
    let subject = on
        .blocking(move |service, ledger| service.subject(ledger, handle))
        .await?;
    if subject.state == "erased" {
        return Ok(HttpResponse::Gone().content_type("application/problem+json").json(
            serde_json::json!({"type": "about:blank", "title": "Gone", "status": 410, "code": "erased",
                "detail": "this person was erased", "certificate": subject.certificate}),
        ));
    }
    Ok(HttpResponse::Ok().json(subject))
}
