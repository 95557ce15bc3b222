//! Ledgers and their public keys.

use actix_web::HttpResponse;
use actix_web::web::Query;
use serde::Serialize;

use super::auth::{Admin, AnyKey, NoQuery, On, OnStore};
use super::body::Body;
use super::page::{LedgerPage, PageQuery};
use super::problem::Problem;
use crate::service::ledger::PublishedKey;
use crate::service::request;
use crate::spec::ids::{LedgerName, Origin};

/// A ledger.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct LedgerView {
    /// Its name in paths.
    ledger: LedgerName,
    /// Its global name.
    origin: Origin,
    /// Events in it.
    tree_size: u64,
    /// The checkpoint key as a note key.
    vkey: String,
}

/// A ledger's public keys.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct KeyPage {
    origin: Origin,
    keys: Vec<PublishedKey>,
    /// Always null: all keys are there.
    next: Option<String>,
}

pub(super) async fn list(on: OnStore<Admin>, query: Query<PageQuery>) -> Result<HttpResponse, Problem> {
    let view = |ledger: &std::sync::Arc<crate::service::Ledger>| -> Result<LedgerView, Problem> {
        Ok(LedgerView {
            ledger: ledger.record.name.clone(),
            origin: ledger.record.origin.clone(),
            tree_size: on.service.checkpoint(ledger)?.0,
            vkey: ledger.vkey(),
        })
    };
    let ledgers = on
        .service
        .all_ledgers()
        .iter()
        .map(view)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(HttpResponse::Ok().json(LedgerPage::from(query.page(&ledgers, |view| view.ledger.to_string())?)))
}

pub(super) async fn create(on: OnStore<Admin>, _: NoQuery, body: Body) -> Result<HttpResponse, Problem> {
    let created = on.service.create_ledger(request::parse(&body)?).await?;
    Ok(HttpResponse::Created().json(created))
}

pub(super) async fn keys(on: On<AnyKey>, _: NoQuery) -> Result<HttpResponse, Problem> {
    Ok(HttpResponse::Ok().json(KeyPage {
        origin: on.ledger.record.origin.clone(),
        keys: on.ledger.keys(),
        next: None,
    }))
}
