//! Rotation of the keys under which personal data is sealed.

use actix_web::HttpResponse;
use actix_web::web::Path;

use super::auth::{KeyKeeper, NoQuery, On};
use super::body::Body;
use super::problem::Problem;
use crate::service::{Code, Error, request};

pub(super) async fn rotate(on: On<KeyKeeper>, _: NoQuery) -> Result<HttpResponse, Problem> {
    let changed = on.service.rotate_epoch(&on.ledger, &on.caller).await?;
    Ok(HttpResponse::Created().json(changed))
}

pub(super) async fn renew_keys(
    on: On<KeyKeeper>,
    _: NoQuery,
    path: Path<(String, String)>,
    body: Body,
) -> Result<HttpResponse, Problem> {
    let unknown = |_| Error::new(Code::SubjectNotFound, "there is no such handle");
    let handle = path.1.parse().map_err(unknown)?;
    let request = request::parse(&body)?;
    let renewed = on.service.renew_keys(&on.ledger, &on.caller, handle, request).await?;
    Ok(HttpResponse::Created().json(renewed))
}
