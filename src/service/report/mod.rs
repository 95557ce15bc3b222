//! The compliance report: gathers what a ledger shows of a period, signs it, records its hash, and gives it as JSON, HTML or
//! CSV (docs/spec/12-report.md).
//!
//! One pass over the headers of the period, in pieces; bodies are read of Oubliette's own events alone. Memory follows the
//! number of different types, of days, and of listed rows, not the number of events.

mod acts;
mod csv;
mod events;
mod life;
mod period;
mod state;

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

pub use period::PeriodRequest;

use super::access::internal;
use super::{Caller, Code, Error, Ledger, Service};
use crate::spec::compliance::{
    ComplianceReport, FORMAT, KIND, Period, REPORT_CREATED, REPORT_STREAM, ReportCreated, SIGNED_FORMAT, SignedReport,
    Unreadable, limits, render_page,
};
use crate::spec::evidence::Base64;
use crate::spec::hash::Hash;

/// Reports that may be made at once.
pub(super) const MAX_RUNNING: usize = 2;

/// In which form a report is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
#[schema(as = ReportForm)]
pub enum Form {
    /// [`SignedReport`] with the report for readers.
    #[default]
    Json,
    /// One page, the signed report embedded.
    Html,
    /// Rows for a spreadsheet; not signed.
    Csv,
}

impl Form {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Html => "html",
            Self::Csv => "csv",
        }
    }
}

impl Service {
    /// Makes a report, records its hash, and gives it in the form asked for.
    ///
    /// # Errors
    /// `invalid_field` for the period; `overloaded` if two are being made; whatever appending may answer.
    pub async fn compliance_report(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        period: &PeriodRequest,
        form: Form,
    ) -> Result<Vec<u8>, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        let period = period.resolve(self.clock.now())?;
        let overloaded = |_| Error::new(Code::Overloaded, "two reports are being made; wait for one to end");
        let place = Arc::clone(&self.reporting).try_acquire_owned().map_err(overloaded)?;
        let by = caller.clone();
        // The place goes with the work: it runs on when the caller has gone.
        let made = self.blocking(ledger, move |service, ledger| {
            Ok((service.make_report(ledger, &by, period)?, place))
        });
        let ((report, document), place) = made.await?;
        let created = ReportCreated {
            report: report.id,
            kind: KIND.into(),
            from: period.from,
            to: period.to,
            sha256: Hash::from(<[u8; 32]>::from(Sha256::digest(&document))),
            form: form.as_str().into(),
            by: report.by.key.clone(),
            roles: report.by.roles.clone(),
        };
        let event = self.system_event(REPORT_STREAM, REPORT_CREATED, &created, Some(report.id.to_string()))?;
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await?;
        let index = appended.events.first().map(|event| event.index);
        let index = index.ok_or_else(|| Error::new(Code::Internal, "the report was not recorded"))?;
        self.blocking(ledger, move |service, ledger| {
            let _place = place;
            service.write_report(ledger, report, document, index, form)
        })
        .await
    }

    fn make_report(
        &self,
        ledger: &Ledger,
        caller: &Caller,
        period: Period,
    ) -> Result<(ComplianceReport, Vec<u8>), Error> {
        let first = self.first_readable_from(ledger, period.from)?;
        let end = self.first_readable_from(ledger, period.to)?.max(first);
        let made_at = self.clock.now();
        let (events, mut acts) = self.count_events(ledger, first..end)?;
        let verified = self.verifications_by_age(ledger)?;
        let erasures = self.report_erasures(ledger, (period, end), made_at, &mut acts.unreadable)?;
        let mut scope = life::Scope {
            ledger,
            period,
            made_at,
            end,
            unreadable: &mut acts.unreadable,
        };
        let life = self.report_life(&mut scope)?;
        let report = ComplianceReport {
            format: FORMAT.to_owned(),
            id: self.fresh_id(),
            ledger: ledger.record.name.clone(),
            origin: ledger.record.origin.clone(),
            period,
            made_at,
            by: acts::by(&caller.key.id, caller.key.roles.iter().map(|role| role.as_str())),
            integrity: self.integrity(ledger, end, &verified)?,
            anchors: self.anchors(ledger, made_at)?,
            events,
            subjects: self.count_subjects(ledger)?,
            erasures,
            holds: life.holds,
            restrictions: life.restrictions,
            retention: life.retention,
            redactions: life.redactions,
            leaks: life.leaks,
            backups: life.backups,
            rotations: life.rotations,
            keys: self.report_keys(ledger, &mut acts, end)?,
            reveals: acts.reveals,
            exports: acts.exports,
            verifications: state::verifications_in(&verified, period),
            refused: self.report_refused(ledger, period)?,
            unreadable: Unreadable::of(acts.unreadable),
            limits: limits(),
        };
        let document = ledger.reports.sign_document(&report).map_err(internal)?;
        Ok((report, document))
    }

    fn write_report(
        &self,
        ledger: &Ledger,
        report: ComplianceReport,
        document: Vec<u8>,
        index: u64,
        form: Form,
    ) -> Result<Vec<u8>, Error> {
        if form == Form::Csv {
            return csv::write(&report, &document, index);
        }
        let (size, checkpoint) = self.checkpoint_covering(ledger, index)?;
        let consistency = match report.integrity.tree_size {
            0 => Vec::new(),
            from => self.consistency_hashes(ledger, from, size)?,
        };
        let mut signed = SignedReport {
            format: SIGNED_FORMAT.to_owned(),
            report: None,
            document: Base64(document),
            recorded: self.evidence(ledger, index, size)?,
            consistency,
            anchors: vec![self.evidence(ledger, 0, size)?],
            checkpoint,
        };
        if form == Form::Html {
            return Ok(render_page(&report, &signed).into_bytes());
        }
        let shown: Value = serde_json::to_value(&report).map_err(internal)?;
        signed.report = Some(shown);
        serde_json::to_vec(&signed).map_err(internal)
    }
}
