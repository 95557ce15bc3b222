//! The log as C2SP tlog-tiles.
//!
//! Full tiles and bundles never change. Partial ones do not either, but nobody asks for them once the next checkpoint is
//! out. Answers that needed a key are not for shared caches.

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Path;

use super::auth::{Auditor, NoQuery, On, OnLog};
use super::problem::Problem;
use crate::service::{Code, Error};
use crate::spec::tiles::TilePath;

/// What may be kept how long.
#[derive(Clone, Copy)]
enum Age {
    Newest,
    Partial,
    Full,
}

impl Age {
    const fn of(is_full: bool) -> Self {
        if is_full { Self::Full } else { Self::Partial }
    }

    /// The value of `Cache-Control`; `shared`: also by caches that many people use.
    fn header(self, shared: bool) -> String {
        let whose = if shared { "public" } else { "private" };
        let age = match self {
            Self::Newest => "max-age=1",
            Self::Partial => "max-age=60",
            Self::Full => "max-age=31536000, immutable",
        };
        format!("{whose}, {age}")
    }
}

pub(super) async fn checkpoint(on: OnLog, _: NoQuery) -> Result<HttpResponse, Problem> {
    let (_, note) = on.service.checkpoint(&on.ledger)?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((CACHE_CONTROL, Age::Newest.header(on.is_public)))
        .body(note))
}

pub(super) async fn tile(on: OnLog, _: NoQuery, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let Ok(TilePath::Tile(id)) = format!("tile/{}", path.1).parse() else {
        return Err(unknown().into());
    };
    let bytes = on
        .service
        .blocking(&on.ledger, move |service, ledger| service.tile(ledger, id));
    binary(bytes.await?, Age::of(id.is_full()).header(on.is_public))
}

pub(super) async fn entries(
    on: On<Auditor>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let Ok(TilePath::Entries(id)) = format!("tile/entries/{}", path.1).parse() else {
        return Err(unknown().into());
    };
    let bytes = on.blocking(move |service, ledger| service.entries(ledger, id));
    binary(bytes.await?, Age::of(id.is_full()).header(false))
}

fn binary(bytes: Option<Vec<u8>>, caching: String) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CACHE_CONTROL, caching))
        .body(bytes.ok_or_else(unknown)?))
}

fn unknown() -> Error {
    Error::new(Code::NotFound, "there is no such tile")
}
