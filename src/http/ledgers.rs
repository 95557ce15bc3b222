//! Ledgers and their public keys.

use actix_web::HttpResponse;
use actix_web::web::Query;
use serde::Serialize;

use super::auth::{Admin, AnyKey, On, OnStore};
use super::body::Body;
use super::page::PageQuery;
use super::problem::Problem;
use crate::service::request;
use crate::spec::ids::{LedgerName, Origin};

#[derive(Debug, Serialize)]
struct LedgerView {
    ledger: LedgerName,
    origin: Origin,
    tree_size: u64,
    vkey: String,
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
    Ok(HttpResponse::Ok().json(query.page("ledgers", &ledgers, |view| view.ledger.to_string())?))
}

pub(super) async fn create(on: OnStore<Admin>, body: Body) -> Result<HttpResponse, Problem> {
    let created = on.service.create_ledger(request::parse(&body)?).await?;
    Ok(HttpResponse::Created().json(created))
}

pub(super) async fn keys(on: On<AnyKey>) -> Result<HttpResponse, Problem> {
    let keys = on.ledger.keys();
    Ok(HttpResponse::Ok().json(serde_json::json!({"origin": on.ledger.record.origin, "keys": keys, "next": null})))
}
