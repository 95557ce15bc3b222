//! API keys.

use actix_web::HttpResponse;
use actix_web::web::Path;

use super::auth::{Admin, OnStore};
use super::body::Body;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn list(on: OnStore<Admin>) -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"api_keys": on.service.api_keys(), "next": null}))
}

pub(super) async fn create(on: OnStore<Admin>, body: Body) -> Result<HttpResponse, Problem> {
    let shown = on
        .service
        .create_api_key(&on.caller.key.id, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(shown))
}

pub(super) async fn revoke(on: OnStore<Admin>, path: Path<String>) -> Result<HttpResponse, Problem> {
    on.service.revoke_api_key(&on.caller.key.id, &path).await?;
    Ok(HttpResponse::NoContent().finish())
}
