//! Proofs.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};
use serde::Deserialize;

use super::auth::{LogReader, On};
use super::problem::Problem;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InclusionQuery {
    index: u64,
    tree_size: Option<u64>,
}

pub(super) async fn inclusion(on: On<LogReader>, query: Query<InclusionQuery>) -> Result<HttpResponse, Problem> {
    let size = match query.tree_size {
        Some(size) => size,
        None => on.service.checkpoint(&on.ledger)?.0,
    };
    let index = query.index;
    let proof = on.blocking(move |service, ledger| {
        let hashes = service.inclusion_hashes(ledger, index, size)?;
        Ok((hashes, service.root_of_size(ledger, size)?))
    });
    let (hashes, root) = proof.await?;
    Ok(HttpResponse::Ok()
        .json(serde_json::json!({"leaf_index": index, "tree_size": size, "hashes": hashes, "root": root})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyQuery {
    from: u64,
    to: Option<u64>,
}

pub(super) async fn consistency(on: On<LogReader>, query: Query<ConsistencyQuery>) -> Result<HttpResponse, Problem> {
    let to = match query.to {
        Some(size) => size,
        None => on.service.checkpoint(&on.ledger)?.0,
    };
    let from = query.from;
    let hashes = on
        .blocking(move |service, ledger| service.consistency_hashes(ledger, from, to))
        .await?;
    Ok(HttpResponse::Ok().json(serde_json::json!({"from": from, "to": to, "hashes": hashes})))
}

pub(super) async fn tlog_proof(on: On<LogReader>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let proof = on.blocking(move |service, ledger| service.tlog_proof(ledger, service.index_of(ledger, &path.1)?));
    let proof = proof.await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body(proof.to_string()))
}

pub(super) async fn receipt(on: On<LogReader>, path: Path<(String, String)>) -> Result<HttpResponse, Problem> {
    let receipt = on.blocking(move |service, ledger| service.receipt(ledger, service.index_of(ledger, &path.1)?));
    Ok(HttpResponse::Ok().json(receipt.await?))
}
