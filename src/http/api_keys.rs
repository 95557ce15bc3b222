//! API keys.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{Admin, NoQuery, OnStore};
use super::body::Body;
use super::page::{ApiKeyPage, PageQuery};
use super::problem::Problem;
use crate::service::request;

pub(super) async fn list(on: OnStore<Admin>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(ApiKeyPage::from(
        query.page(&on.service.api_keys(), |key| key.id.clone())?,
    )))
}

pub(super) async fn create(on: OnStore<Admin>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let shown = on
        .service
        .create_api_key(&on.caller.key.id, request::parse(&body)?)
        .await?;
    Ok(HttpResponse::Created().json(shown))
}

pub(super) async fn revoke(on: OnStore<Admin>, _: NoQuery, path: Path<String>) -> Result<HttpResponse, Problem> {
    on.service.revoke_api_key(&on.caller.key.id, &path).await?;
    Ok(HttpResponse::NoContent().finish())
}
