//! What leaves is checked first: a proof that does not hold under a checkpoint that this ledger signed, by the code that
//! verifies it elsewhere, is kept back, logged and counted.

use metrics::counter;

use super::super::{Code, Error, Ledger, Service};
use crate::spec::checkpoint::{Checkpoint, open};
use crate::spec::cose_receipt::Proof;
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::merkle::{verify_consistency, verify_inclusion, verify_range};

/// Counts proofs that did not hold, by ledger.
const KEPT_BACK: &str = "oubliette_proofs_kept_back_total";

/// An inclusion proof that holds.
#[derive(Debug)]
pub struct ProvedLeaf {
    /// From the leaf's sibling up.
    pub hashes: Vec<Hash>,
    /// The root that it leads to.
    pub root: Hash,
}

/// A consistency proof that holds.
#[derive(Debug)]
pub struct ProvedGrowth {
    /// RFC 9162 §2.1.4.
    pub hashes: Vec<Hash>,
    /// The root of the smaller tree.
    pub from_root: Hash,
    /// The root of the larger tree.
    pub root: Hash,
}

impl Service {
    /// The proof that a leaf is in the tree of `size` leaves.
    ///
    /// # Errors
    /// `invalid_field` if there is no such leaf or the ledger is smaller; `damaged` if the proof does not hold.
    pub fn inclusion(&self, ledger: &Ledger, index: u64, size: u64) -> Result<ProvedLeaf, Error> {
        let hashes = self.make_inclusion(ledger, index, size)?;
        let root = self.signed_root(ledger, size)?;
        let leaf = self.leaves(ledger, index, 1)?.pop();
        let leaf = leaf.ok_or_else(|| kept_back(ledger, "the header is missing"))?;
        verify_inclusion(&leaf, index, size, &hashes, &root).map_err(|error| kept_back(ledger, error))?;
        Ok(ProvedLeaf { hashes, root })
    }

    /// The hashes of [`Service::inclusion`].
    ///
    /// # Errors
    /// The same.
    pub fn inclusion_hashes(&self, ledger: &Ledger, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        Ok(self.inclusion(ledger, index, size)?.hashes)
    }

    /// The proof that the tree of `to` leaves extends the one of `from` leaves. From the empty tree it is empty and proves
    /// nothing.
    ///
    /// # Errors
    /// `invalid_field` if the ledger is smaller or `from` is larger than `to`; `damaged` if the proof does not hold.
    pub fn consistency(&self, ledger: &Ledger, from: u64, to: u64) -> Result<ProvedGrowth, Error> {
        let hashes = self.make_consistency(ledger, from, to)?;
        let (from_root, root) = (self.signed_root(ledger, from)?, self.signed_root(ledger, to)?);
        if from > 0 {
            let verified = verify_consistency(from, to, &from_root, &root, &hashes);
            verified.map_err(|error| kept_back(ledger, error))?;
        }
        Ok(ProvedGrowth {
            hashes,
            from_root,
            root,
        })
    }

    /// The hashes of [`Service::consistency`].
    ///
    /// # Errors
    /// The same.
    pub fn consistency_hashes(&self, ledger: &Ledger, from: u64, to: u64) -> Result<Vec<Hash>, Error> {
        Ok(self.consistency(ledger, from, to)?.hashes)
    }

    /// The proof for a run of leaves.
    ///
    /// # Errors
    /// As [`Service::inclusion`].
    pub fn range_hashes(&self, ledger: &Ledger, first: u64, count: u64, size: u64) -> Result<Vec<Hash>, Error> {
        let hashes = self.make_range(ledger, first, count, size)?;
        let (root, leaves) = (self.signed_root(ledger, size)?, self.leaves(ledger, first, count)?);
        verify_range(&leaves, first, size, &hashes, &root).map_err(|error| kept_back(ledger, error))?;
        Ok(hashes)
    }

    /// An inclusion proof as a COSE receipt (RFC 9942).
    ///
    /// # Errors
    /// As [`Service::inclusion`].
    pub fn inclusion_receipt(&self, ledger: &Ledger, index: u64, size: u64) -> Result<Vec<u8>, Error> {
        let ProvedLeaf { hashes: path, root } = self.inclusion(ledger, index, size)?;
        self.cose_receipt(ledger, &Proof::Inclusion { size, index, path }, &root)
    }

    /// A consistency proof as a COSE receipt.
    ///
    /// # Errors
    /// As [`Service::consistency`]; `invalid_field` from the empty tree.
    pub fn consistency_receipt(&self, ledger: &Ledger, from: u64, to: u64) -> Result<Vec<u8>, Error> {
        if from == 0 {
            let detail = "every tree extends the empty one, so there is nothing to sign; begin with 1";
            return Err(Error::field("from", detail));
        }
        let proved = self.consistency(ledger, from, to)?;
        let path = proved.hashes;
        self.cose_receipt(ledger, &Proof::Consistency { from, to, path }, &proved.root)
    }

    fn cose_receipt(&self, ledger: &Ledger, proof: &Proof, root: &Hash) -> Result<Vec<u8>, Error> {
        ledger
            .receipts
            .sign(proof, root)
            .map_err(super::super::access::internal)
    }

    /// Makes the series of the counter known before it counts.
    pub(crate) fn measure_proofs(&self, name: &str) {
        counter!(KEPT_BACK, "ledger" => name.to_owned()).increment(0);
    }

    /// The root of a size, as the first checkpoint that covers it confirms it.
    fn signed_root(&self, ledger: &Ledger, size: u64) -> Result<Hash, Error> {
        let root = self.root_of_size(ledger, size)?;
        let Some(last) = size.checked_sub(1) else {
            return Ok(root);
        };
        let (at, note) = self.checkpoint_covering(ledger, last)?;
        let signed = signed(ledger, &note).filter(|signed| signed.size == at);
        let signed = signed.ok_or_else(|| kept_back(ledger, format!("the checkpoint of {at} events is not valid")))?;
        let path = self.make_consistency(ledger, size, at)?;
        let verified = verify_consistency(size, at, &root, &signed.root, &path);
        verified.map_err(|error| kept_back(ledger, error))?;
        Ok(root)
    }

    fn leaves(&self, ledger: &Ledger, first: u64, count: u64) -> Result<Vec<Hash>, Error> {
        let rows = self.store.headers(ledger.record.number, first..first + count)?;
        Ok(rows.iter().map(|row| leaf_hash(&row.header)).collect())
    }
}

/// The checkpoint in a note, if this ledger signed it.
fn signed(ledger: &Ledger, note: &str) -> Option<Checkpoint> {
    let key = &ledger.checkpoint_verifier;
    let opened = open(note, key.name(), std::slice::from_ref(key));
    opened.ok().map(|opened| opened.checkpoint)
}

/// What whoever asked for the proof is told, and everybody who looks after the server.
pub(super) fn kept_back(ledger: &Ledger, why: impl std::fmt::Display) -> Error {
    let name = &ledger.record.name;
    counter!(KEPT_BACK, "ledger" => name.to_string()).increment(1);
    tracing::error!(ledger = %name, %why, "a proof does not hold and was kept back: verify the ledger");
    let detail =
        "the proof that the server made does not hold, so it is kept back: the store is damaged. Verify the ledger";
    Error::new(Code::Damaged, detail)
}
