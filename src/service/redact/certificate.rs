//! The certificate of a redaction: made from its events, so that it is the same at every request.

use uuid::Uuid;

use super::super::access::internal;
use super::super::erase::CertificateForm;
use super::super::{Error, Ledger, Service};
use crate::spec::certificate::{Backups, REDACTION_FORMAT, RedactionCertificate, render_redaction_page};

const LIMITS: [&str; 4] = [
    "It covers the one ledger that it names, and the bodies that it lists.",
    "Whether the same data stands in other events, or in what callers keep elsewhere, was not examined.",
    "Copies that were read, exported or received before the redaction are outside this system.",
    "The event stays in the history with its type, time, place and commitments; a commitment does not give its body back.",
];

const BACKUPS: &str = "These are the backups that the ledger recorded before its files had been written anew. Each may hold \
                       the bodies in clear until the operator deletes it; none expires by itself. Which of them still exist, \
                       and copies that were made by other means, are not known to this system.";

impl Service {
    /// The certificate of a redaction, in the form asked for.
    ///
    /// # Errors
    /// `not_found`.
    pub fn redaction_certificate(&self, ledger: &Ledger, id: Uuid, form: CertificateForm) -> Result<Vec<u8>, Error> {
        let redaction = self.find_redaction(ledger, id)?;
        let indexes = std::iter::once(redaction.authority).chain(redaction.completed.map(|(index, _)| index));
        let indexes: Vec<_> = indexes.collect();
        let last = indexes.iter().copied().max().unwrap_or(redaction.authority);
        let (size, checkpoint) = self.checkpoint_covering(ledger, last)?;
        let evidence = |index| self.evidence(ledger, index, size);
        let certificate = RedactionCertificate {
            format: REDACTION_FORMAT.to_owned(),
            origin: ledger.record.origin.clone(),
            redaction: redaction.id,
            reason: redaction.payload.ground.clone(),
            role: "officer".into(),
            redacted_at: redaction.redacted_at,
            files_rewritten_at: redaction.completed.map(|(_, completed)| completed.at),
            positions: redaction.payload.positions.clone(),
            backups: Backups {
                known: redaction.backups(&self.begun_backups(ledger)?),
                text: BACKUPS.into(),
            },
            limits: LIMITS.map(Into::into).to_vec(),
            tree_size: size,
            evidence: indexes.into_iter().map(evidence).collect::<Result<_, _>>()?,
            anchors: vec![evidence(0)?],
            checkpoint,
        };
        let document = ledger.certificates.sign_document(&certificate).map_err(internal)?;
        Ok(match form {
            CertificateForm::Cose => document,
            CertificateForm::Html => render_redaction_page(&certificate, &document).into_bytes(),
        })
    }
}
