//! Backups of the store as a whole.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};

use super::auth::{Admin, NoQuery, OnStore, blocking};
use super::body::Body;
use super::page::{BackupPage, PageQuery};
use super::path::id;
use super::problem::Problem;
use crate::service::request;

pub(super) async fn create(on: OnStore<Admin>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let view = on.service.start_backup(&on.caller, request::parse(&body)?).await?;
    Ok(HttpResponse::Accepted().json(view))
}

pub(super) async fn list(on: OnStore<Admin>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let service = Arc::clone(&on.service);
    let backups = blocking(move || service.backups()).await??;
    Ok(HttpResponse::Ok().json(BackupPage::from(query.page(&backups, |backup| backup.id.to_string())?)))
}

pub(super) async fn one(on: OnStore<Admin>, _: NoQuery, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id = id(&path, "backup")?;
    let service = Arc::clone(&on.service);
    Ok(HttpResponse::Ok().json(blocking(move || service.backup(id)).await??))
}
