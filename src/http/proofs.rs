//! Proofs.

use actix_web::HttpResponse;
use actix_web::web::{Path, Query};
use serde::{Deserialize, Serialize};

use super::auth::{LogReader, NoQuery, On};
use super::problem::Problem;
use crate::spec::hash::Hash;

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct InclusionQuery {
    /// The leaf.
    index: u64,
    /// The tree; now by default.
    tree_size: Option<u64>,
}

/// An inclusion proof (RFC 9162, 2.1.3).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct InclusionProof {
    leaf_index: u64,
    tree_size: u64,
    hashes: Vec<Hash>,
    root: Hash,
}

/// A consistency proof (RFC 9162, 2.1.4).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(super) struct ConsistencyProof {
    from: u64,
    to: u64,
    hashes: Vec<Hash>,
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
    Ok(HttpResponse::Ok().json(InclusionProof {
        leaf_index: index,
        tree_size: size,
        hashes,
        root,
    }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyQuery {
    /// The smaller size.
    from: u64,
    /// The larger size; now by default.
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
    Ok(HttpResponse::Ok().json(ConsistencyProof { from, to, hashes }))
}

pub(super) async fn tlog_proof(
    on: On<LogReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let proof = on.blocking(move |service, ledger| service.tlog_proof(ledger, service.index_of(ledger, &path.1)?));
    let proof = proof.await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .body(proof.to_string()))
}

pub(super) async fn receipt(
    on: On<LogReader>,
    _: NoQuery,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let receipt = on.blocking(move |service, ledger| service.receipt(ledger, service.index_of(ledger, &path.1)?));
    Ok(HttpResponse::Ok().json(receipt.await?))
}
