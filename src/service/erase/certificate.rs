//! The certificate of an erasure: made from its events, so that it is the same at every request.
//!
//! It is provisional as long as anything is pending: residue in the key store's files, ciphertext, and the old epoch key
//! if it was retired for the sake of backups. What closes a part is an event, which it then carries as evidence: the part is
//! dated, and stands among the residues no more.

mod words;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde::Deserialize;
use uuid::Uuid;

use super::super::access::internal;
use super::super::leak::not_redacted;
use super::super::own::Recorded;
use super::super::verify::read_records;
use super::super::{Code, Error, Ledger, Service};
use super::history::Erasure;
use super::payload::{Completed, EPOCH_KEY, Outcome};
use super::purge::{CIPHERTEXT, KEY_STORE_FILES};
use super::recipients::Disclosures;
use crate::spec::certificate::{
    AskedBy, Certificate, CertifiedSubject, ClearParts, DestructionCheck, FORMAT, LeakRecord, Recipients, Residue,
    Status, Suppression, Times, render_page,
};
use crate::spec::evidence::{Evidence, Inclusion};
use crate::spec::ids::Origin;
use words::{CHECK, CLEAR, FROZEN, LISTED_ALONE, RESIDUES, limits};

/// What a certificate says beside the events of its erasure.
struct Known {
    leaks: LeakRecord,
    /// What stands in clear in the frozen logs whose people were erased.
    frozen: HashMap<Origin, LeakRecord>,
    recipients: HashMap<Uuid, Recipients>,
}

/// A signed certificate, and the checkpoint under which its events are proved.
#[derive(Debug)]
pub(crate) struct SignedCertificate {
    /// The erasure's request id.
    pub(crate) request: Uuid,
    /// The COSE_Sign1 document.
    pub(crate) document: Vec<u8>,
    /// The size of the checkpoint's tree.
    pub(crate) size: u64,
    /// The checkpoint's signed note.
    pub(crate) checkpoint: String,
}

/// In which form a certificate is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
pub enum CertificateForm {
    /// The signed document (COSE_Sign1).
    #[default]
    Cose,
    /// One page to read and print, the signed document in it.
    Html,
}

impl Service {
    /// The certificate of an erasure, in the form asked for.
    ///
    /// # Errors
    /// `not_found`; `not_ready` while the erasure is under way; `leak_not_redacted`.
    pub fn certificate(&self, ledger: &Ledger, id: Uuid, form: CertificateForm) -> Result<Vec<u8>, Error> {
        // In this order: one that begins in between is found by the second look.
        if let Some(waiting) = self.waiting_view(ledger, id)? {
            return Err(match waiting.state {
                "cancelled" => Error::new(
                    Code::NotFound,
                    "this erasure was cancelled: there is nothing to certify",
                ),
                _ => Error::new(Code::NotReady, "the erasure has not begun; see its state"),
            });
        }
        let erasure = self.find_erasure(ledger, id)?;
        let erasure = erasure.ok_or_else(|| Error::new(Code::NotFound, "there is no erasure of this id"))?;
        // Its events stand in the log that recorded it.
        let log = match erasure.heirs.checked_sub(1) {
            Some(further) => ledger.heirs().nth(further).unwrap_or(ledger),
            None => ledger,
        };
        if erasure.recovered.is_some() {
            let detail =
                "the end of this erasure was lost in a rollback; the log that goes on has it as `erasure.recovered`";
            return Err(Error::new(Code::NotFound, detail));
        }
        if erasure.is_of_nobody() {
            let detail =
                "every person of this erasure was erased before: it destroyed nothing, and there is nothing to certify";
            return Err(Error::new(Code::NotFound, detail));
        }
        let known = self.known(log, u64::MAX, std::slice::from_ref(&erasure))?;
        let signed = self.sign_certificate(log, &erasure, &known)?;
        let not_ready = || Error::new(Code::NotReady, "the erasure is under way; ask again in a moment");
        let (certificate, document) = signed.ok_or_else(not_ready)?;
        Ok(match form {
            CertificateForm::Cose => document,
            CertificateForm::Html => render_page(&certificate, &document).into_bytes(),
        })
    }

    /// The certificates of all erasures that were completed within the first `size` events, by request id.
    pub(crate) fn certificates_until(&self, ledger: &Ledger, size: u64) -> Result<Vec<SignedCertificate>, Error> {
        let mut certificates = Vec::new();
        let erasures = self.all_erasures(ledger)?;
        let beside = self.known(ledger, size, &erasures)?;
        for erasure in erasures {
            let Some(completed) = erasure.completed.as_ref().filter(|_| !erasure.is_of_nobody()) else {
                continue;
            };
            if self.checkpoint_covering(ledger, completed.index)?.0 > size {
                continue;
            }
            // What came of it later is not for these readers: they get the certificate as it stood.
            let mut known = BTreeSet::new();
            for index in erasure.indexes() {
                if self.checkpoint_covering(ledger, index)?.0 <= size {
                    known.insert(index);
                }
            }
            let erasure = erasure.known(|index| known.contains(&index));
            match self.sign_certificate(ledger, &erasure, &beside) {
                // The bundle has the report of the leak in its place.
                Err(error) if error.code == Code::LeakNotRedacted => {}
                signed => certificates.extend(signed?.map(|(certificate, document)| SignedCertificate {
                    request: certificate.request,
                    document,
                    size: certificate.tree_size_after,
                    checkpoint: certificate.checkpoint,
                })),
            }
        }
        certificates.sort_by_key(|certificate| certificate.request);
        Ok(certificates)
    }

    /// What is told beside the events of erasures, by the first `until` events of their log.
    fn known(&self, ledger: &Ledger, until: u64, erasures: &[Erasure]) -> Result<Known, Error> {
        let mut frozen = HashMap::new();
        for origin in erasures
            .iter()
            .filter_map(|erasure| erasure.requested.payload.origin.as_ref())
        {
            if !frozen.contains_key(origin) {
                frozen.insert(origin.clone(), self.leak_record(&*self.frozen_log(origin)?, u64::MAX)?);
            }
        }
        Ok(Known {
            leaks: self.leak_record(ledger, until)?,
            frozen,
            recipients: self.recipients(ledger, erasures)?,
        })
    }

    /// A log that was rolled back, by its origin.
    fn frozen_log(&self, origin: &Origin) -> Result<Arc<Ledger>, Error> {
        let mut all = self.all_ledgers().into_iter();
        let lost = || {
            Error::new(
                Code::Damaged,
                format!("the frozen log {origin} of these people is not open"),
            )
        };
        all.find(|ledger| ledger.record.origin == *origin).ok_or_else(lost)
    }

    fn sign_certificate(
        &self,
        ledger: &Ledger,
        erasure: &Erasure,
        known: &Known,
    ) -> Result<Option<(Certificate, Vec<u8>)>, Error> {
        let Some(completed) = &erasure.completed else {
            return Ok(None);
        };
        let certificate = self.make_certificate(ledger, erasure, completed, known)?;
        let document = ledger.certificates.sign_document(&certificate).map_err(internal)?;
        Ok(Some((certificate, document)))
    }

    fn make_certificate(
        &self,
        ledger: &Ledger,
        erasure: &Erasure,
        completed: &Recorded<Completed>,
        known: &Known,
    ) -> Result<Certificate, Error> {
        let requested = &erasure.requested.payload;
        let handles: Vec<_> = requested.subjects.iter().map(|named| named.handle).collect();
        let leaks = known.leaks.certified(&handles);
        let leaks = leaks.map_err(|open| not_redacted(ledger, &known.leaks, &open))?;
        let frozen = requested.origin.as_ref().and_then(|origin| known.frozen.get(origin));
        let indexes = evidence_of(erasure, completed.index, known.leaks.evidence(&handles));
        let last = indexes.iter().copied().max().unwrap_or(completed.index);
        let (size, checkpoint) = self.checkpoint_covering(ledger, last)?;
        let evidence = |index| self.evidence(ledger, index, size);
        let subject = |outcome: &Outcome| CertifiedSubject {
            handle: outcome.handle,
            categories: requested.categories.clone(),
            keys_destroyed: Some(outcome.keys_destroyed),
            identity_destroyed: outcome.identity_destroyed,
            blocks_sealed: outcome.blocks,
        };
        let checked = completed.payload.verification;
        let subjects = &completed.payload.subjects;
        let suppressed = !subjects.is_empty() && subjects.iter().all(|outcome| outcome.identity_destroyed);
        let residue = |(code, text): &(&str, &str)| Residue {
            code: (*code).into(),
            text: (*text).into(),
        };
        let pending = |(code, _): &&(&str, &str)| erasure.has_pending(code);
        let keys = &completed.payload;
        let removed_at = |residue| erasure.removed(residue).map(|removed| removed.at);
        let ciphertext = erasure.removed(CIPHERTEXT);
        let recipients = known.recipients.get(&requested.request).cloned();
        let mut limits = limits(requested.identifiers);
        if ciphertext.is_some_and(|removed| removed.alone == Some(true)) {
            limits.push(LISTED_ALONE.into());
        }
        if requested.origin.is_some() {
            limits.push(FROZEN.into());
        }
        Ok(Certificate {
            format: FORMAT.to_owned(),
            status: if erasure.pending().is_empty() {
                Status::Final
            } else {
                Status::Provisional
            },
            origin: ledger.record.origin.clone(),
            request: requested.request,
            basis: requested.basis,
            reason: requested.reason,
            role: "officer".into(),
            by: Some(AskedBy {
                key: requested.by.as_str().into(),
                roles: requested.roles.iter().map(|role| role.as_str().into()).collect(),
            }),
            submitted_at: requested.submitted_at,
            requested_at: erasure.requested.recorded_at,
            due_at: Some(requested.due_at),
            completed_at: Some(completed.recorded_at),
            covers: requested.origin.clone(),
            subjects: completed.payload.subjects.iter().map(subject).collect(),
            already_erased: Some(requested.already_erased).filter(|before| *before > 0),
            times: Times {
                t1: Some(keys.fenced_at),
                t2: Some(keys.keys_destroyed_at),
                t3: removed_at(KEY_STORE_FILES),
                t4: removed_at(CIPHERTEXT),
                t5: match keys.epoch_key_due_at {
                    None => Some(keys.keys_destroyed_at),
                    Some(_) => erasure.gone(EPOCH_KEY),
                },
            },
            epochs: Some(keys.epochs),
            epoch_key_due_at: keys.epoch_key_due_at,
            key_copies: erasure.key_copies(),
            algorithms: keys.algorithms.iter().map(|name| name.as_str().into()).collect(),
            key_bits: Some(keys.key_bits),
            verification: DestructionCheck {
                sampled: checked.sampled,
                opened: checked.opened,
                identity_resolves: checked.identity_resolves,
                keys_left: Some(checked.keys_left),
                epoch: Some(keys.epochs.to),
                text: Some(CHECK.into()),
            },
            residues: RESIDUES.iter().filter(pending).map(residue).collect(),
            derived: ciphertext
                .and_then(|removed| removed.derived.clone())
                .unwrap_or_default(),
            recipients: recipients.unwrap_or_else(|| Disclosures::default().of(requested, completed.index)),
            clear: ClearParts {
                examined: false,
                leaks,
                frozen: frozen.map(|record| record.frozen(&handles)).unwrap_or_default(),
                nameless: known.leaks.nameless(size) + frozen.map_or(0, |record| record.nameless(u64::MAX)),
                text: CLEAR.into(),
            },
            suppression: suppression(suppressed, requested.suppression()),
            other_ledgers_examined: false,
            limits,
            tree_size_before: erasure.requested.index,
            tree_size_after: size,
            evidence: indexes.into_iter().map(evidence).collect::<Result<_, _>>()?,
            anchors: vec![evidence(0)?],
            checkpoint,
        })
    }

    /// An event with its proof in the tree of `size`. Bodies of Oubliette's own events only: meta and data.
    pub(crate) fn evidence(&self, ledger: &Ledger, index: u64, size: u64) -> Result<Evidence, Error> {
        let record = read_records(&*self.store, ledger.record.number, index..index + 1)?.pop();
        let mut record =
            record.ok_or_else(|| Error::new(Code::EventNotFound, format!("there is no event at index {index}")))?;
        record.bodies.retain(|body| body.ordinal < 2);
        let hashes = self.inclusion_hashes(ledger, index, size)?;
        Ok(Evidence::new(
            &record,
            Inclusion {
                leaf_index: index,
                tree_size: size,
                hashes,
            },
        ))
    }
}

/// The events of an erasure and of what came of it, in the order of the evidence.
fn evidence_of(erasure: &Erasure, completed: u64, leaks: BTreeSet<u64>) -> Vec<u64> {
    let first = [erasure.requested.index, completed];
    let mut later: BTreeSet<_> = erasure.indexes().into_iter().chain(leaks).collect();
    later.retain(|index| !first.contains(index));
    first.into_iter().chain(later).collect()
}

fn suppression(identity_destroyed: bool, kept: crate::keystore::Suppression) -> Suppression {
    use crate::keystore::Suppression as Kept;
    let active = identity_destroyed && kept != Kept::None;
    Suppression {
        active,
        until: match kept {
            Kept::Until(time) if active => Some(time),
            _ => None,
        },
        basis: active.then(|| {
            "a keyed hash of the subject id is kept so that the erased person is not taken for a new one".into()
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::system;

    #[test]
    fn the_events_of_an_erasure_are_never_left_out_of_a_bundle() {
        for event_type in [
            "erasure.requested",
            "erasure.completed",
            "erasure.residue_removed",
            "bodies.purged",
        ] {
            assert!(system::is_reserved(&event_type.parse().unwrap()));
        }
    }

    #[test]
    fn every_pending_code_has_its_words() {
        for code in super::super::payload::PENDING.into_iter().chain([EPOCH_KEY]) {
            assert!(RESIDUES.iter().any(|(known, _)| *known == code), "{code}");
        }
    }
}
