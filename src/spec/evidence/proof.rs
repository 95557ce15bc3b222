//! Travelling proofs (c2sp.org/tlog-proof) whose extra data is the event's header.

use super::{Inclusion, Review};
use crate::spec::event::Header;
use crate::spec::hash::leaf_hash;
use crate::spec::report::{Finding, FindingCode, Findings, Object, Report, TrustState};
use crate::spec::tlog_proof::TlogProof;
use crate::spec::verify::{Trust, error_chain};

/// Whether a file is a travelling proof, be it a damaged one: by its first line, or by the beginning of its second.
pub fn is_proof(file: &[u8]) -> bool {
    file.starts_with(b"c2sp.org/tlog-proof@v1\n") || file.get(22..).is_some_and(|rest| rest.starts_with(b"\nextra "))
}

/// Verifies a `.tlog-proof` file. It carries no keys, so without a pinned one it stays incomplete.
pub fn verify_proof(file: &[u8], trust: &Trust) -> Report {
    let text = String::from_utf8_lossy(file);
    let proof: TlogProof = match text.parse() {
        Ok(proof) => proof,
        Err(error) => {
            let mut findings = Findings::default();
            let found = error_chain::<crate::spec::tlog_proof::TlogProofError>(error);
            findings.push(Finding::new(
                None,
                "proof",
                FindingCode::DocumentInvalid,
                "a c2sp.org/tlog-proof@v1",
                found,
            ));
            return Report::new(Object::Proof, TrustState::SelfConsistent, findings);
        }
    };
    let mut review = Review::new(trust, &[], &proof.checkpoint.to_string());
    check_header(&mut review, &proof);
    if let Some(tree_size) = review.checkpoint().map(|checkpoint| checkpoint.size) {
        let inclusion = Inclusion {
            leaf_index: proof.index,
            tree_size,
            hashes: proof.path.clone(),
        };
        review.inclusion("event", &leaf_hash(&proof.extra), proof.index, &inclusion);
    }
    let notes = vec![
        "It proves that the event with this header is in the tree of this checkpoint, not what came after it."
            .to_owned(),
        "The event's own signature and its bodies are not in a .tlog-proof.".to_owned(),
    ];
    review.finish(Object::Proof, notes)
}

fn check_header(review: &mut Review<'_>, proof: &TlogProof) {
    let index = Some(proof.index);
    match Header::decode(&proof.extra) {
        Ok(header) => {
            review.checked.events += 1;
            review.compare(index, "index", &header.index, &proof.index);
            let origin = review
                .checkpoint()
                .map(|checkpoint| checkpoint.origin.as_str().to_owned());
            if let Some(origin) = origin.filter(|origin| origin != header.origin.as_str()) {
                review.find(index, "origin", FindingCode::OriginMismatch, origin, &header.origin);
            }
        }
        Err(error) => {
            review.find(
                index,
                "extra",
                FindingCode::HeaderInvalid,
                "the event's canonical header",
                error,
            );
        }
    }
}
