//! Proofs.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::{Path, Query};
use serde::{Deserialize, Serialize};

use super::auth::{LogReader, NoQuery, On};
use super::problem::Problem;
use crate::spec::hash::Hash;

/// What a proof is written as.
#[derive(Debug, Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ProofForm {
    /// JSON.
    #[default]
    Json,
    /// A COSE receipt (RFC 9942), signed with the checkpoint key.
    Cose,
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct InclusionQuery {
    /// The leaf.
    index: u64,
    /// The tree; now by default.
    tree_size: Option<u64>,
    /// In which form.
    #[param(inline, required = false)]
    #[serde(default)]
    format: ProofForm,
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
    /// The root of the smaller tree.
    from_root: Hash,
    /// The root of the larger tree.
    root: Hash,
}

pub(super) async fn inclusion(on: On<LogReader>, query: Query<InclusionQuery>) -> Result<HttpResponse, Problem> {
    let size = size_or_now(&on, query.tree_size)?;
    let index = query.index;
    if let ProofForm::Cose = query.format {
        let receipt = on.blocking(move |service, ledger| service.inclusion_receipt(ledger, index, size));
        return Ok(cose(receipt.await?));
    }
    let proof = on.blocking(move |service, ledger| service.inclusion(ledger, index, size));
    let proof = proof.await?;
    Ok(HttpResponse::Ok().json(InclusionProof {
        leaf_index: index,
        tree_size: size,
        hashes: proof.hashes,
        root: proof.root,
    }))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct ConsistencyQuery {
    /// The smaller size.
    from: u64,
    /// The larger size; now by default.
    to: Option<u64>,
    /// In which form.
    #[param(inline, required = false)]
    #[serde(default)]
    format: ProofForm,
}

pub(super) async fn consistency(on: On<LogReader>, query: Query<ConsistencyQuery>) -> Result<HttpResponse, Problem> {
    let (from, to) = (query.from, size_or_now(&on, query.to)?);
    if let ProofForm::Cose = query.format {
        let receipt = on.blocking(move |service, ledger| service.consistency_receipt(ledger, from, to));
        return Ok(cose(receipt.await?));
    }
    let proof = on.blocking(move |service, ledger| service.consistency(ledger, from, to));
    let proof = proof.await?;
    Ok(HttpResponse::Ok().json(ConsistencyProof {
        from,
        to,
        hashes: proof.hashes,
        from_root: proof.from_root,
        root: proof.root,
    }))
}

fn size_or_now(on: &On<LogReader>, size: Option<u64>) -> Result<u64, Problem> {
    Ok(match size {
        Some(size) => size,
        None => on.service.checkpoint(&on.ledger)?.0,
    })
}

fn cose(receipt: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/cose; cose-type=\"cose-sign1\"")
        .body(receipt)
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct TlogProofQuery {
    /// The proof leads to the first checkpoint of at least this size; by default to the first that covers the event.
    tree_size: Option<u64>,
}

pub(super) async fn tlog_proof(
    on: On<LogReader>,
    query: Query<TlogProofQuery>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    let size = query.tree_size;
    let proof =
        on.blocking(move |service, ledger| service.tlog_proof(ledger, service.index_of(ledger, &path.1)?, size));
    let proof = proof.await?;
    Ok(HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((
            CONTENT_DISPOSITION,
            format!("attachment; filename=\"{}.tlog-proof\"", proof.index),
        ))
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
