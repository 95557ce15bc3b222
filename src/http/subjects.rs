//! Data subjects. Their ids travel in bodies only.

use actix_web::HttpResponse;
use actix_web::web::Path;
use serde::Serialize;

use super::auth::{NoQuery, Officer, On, Writer};
use super::body::Body;
use super::problem::{Problem, erased, method_not_allowed};
use crate::service::request::{self, SubjectRequest};
use crate::service::{Code, Error, Role};
use crate::spec::ids::Handle;

/// A person's handle.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct HandleView {
    handle: Handle,
}

pub(super) async fn handle(on: On<Writer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let request: SubjectRequest = request::parse(&body)?;
    let handle = on.service.subject_handle(&on.ledger, request.subject).await?;
    Ok(HttpResponse::Ok().json(HandleView { handle }))
}

pub(super) async fn look_up(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let request: SubjectRequest = request::parse(&body)?;
    let subject = on.blocking(move |service, ledger| service.look_up_subject(ledger, &request.subject));
    Ok(HttpResponse::Ok().json(subject.await?))
}

pub(super) async fn access(on: On<Officer>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    on.also(Role::Revealer)?;
    let request = request::parse(&body)?;
    let view = on.service.subject_access(&on.ledger, &on.caller, request).await?;
    Ok(HttpResponse::Ok().json(view))
}

pub(super) async fn one(on: On<Officer>, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    // No handle, but a route that takes POST alone.
    if ["lookup", "access"].contains(&path.1.as_str()) {
        return Ok(method_not_allowed(&format!(
            "/v1/ledgers/{{ledger}}/subjects/{}",
            path.1
        )));
    }
    let handle = path
        .1
        .parse()
        .map_err(|_| Error::new(Code::SubjectNotFound, "there is no such handle"))?;
    let subject = on
        .blocking(move |service, ledger| service.subject(ledger, handle))
        .await?;
    if subject.state == "erased" {
        return Ok(erased(subject.certificate.as_deref()));
    }
    Ok(HttpResponse::Ok().json(subject))
}
