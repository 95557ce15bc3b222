//! The log as C2SP tlog-tiles.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Path;

use super::auth::{LogReader, NoQuery, On};
use super::problem::Problem;
use crate::service::{Code, Error, Role};
use crate::spec::tiles::TilePath;

pub(super) async fn checkpoint(on: On<LogReader>, _: NoQuery) -> Result<HttpResponse, Problem> {
    let (_, note) = on.service.checkpoint(&on.ledger)?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((CACHE_CONTROL, "max-age=1"))
        .body(note))
}

pub(super) async fn tile(on: On<LogReader>, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let unknown = || Error::new(Code::NotFound, "there is no such tile");
    let tile: TilePath = format!("tile/{}", path.1).parse().map_err(|_| unknown())?;
    if matches!(tile, TilePath::Entries(_)) {
        on.also(Role::Auditor)?;
    }
    let bytes = on.blocking(move |service, ledger| match tile {
        TilePath::Tile(id) => service.tile(ledger, id),
        TilePath::Entries(id) => service.entries(ledger, id),
    });
    let bytes = bytes.await?;
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CACHE_CONTROL, "max-age=31536000, immutable"))
        .body(bytes.ok_or_else(unknown)?))
}
