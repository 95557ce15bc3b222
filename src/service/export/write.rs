//! Writing an export's content: events in pieces that fit a budget of memory, one form after another.

use std::collections::BTreeMap;
use std::io::Write;

use super::super::access::internal;
use super::super::erase::SignedCertificate;
use super::super::ledger::system_name;
use super::super::pace::Pace;
use super::super::read::PersonalState::KeyUnavailable;
use super::super::read::{EventView, Reveal, StoredEvent};
use super::super::verify::{absent, read_records, weight};
use super::super::{Code, Error, Ledger, Service};
use super::csv::Rows;
use super::{ExportRequest, ExportView, Format};
use crate::spec::bundle::{BundleHead, BundleWriter};
use crate::spec::event::{Header, Meta};
use crate::spec::system;
use crate::spec::verify::Record;
use crate::store::{Direction, Lookup};

/// Events that are read at once, at the most.
const CHUNK: u64 = 512;

impl Service {
    /// Writes an export's content.
    ///
    /// # Errors
    /// If the store cannot be read or the output fails; the output is of no use then.
    pub fn write_export(&self, ledger: &Ledger, export: &ExportView, out: impl Write) -> Result<(), Error> {
        match export.request.format {
            Format::Bundle => self.write_bundle(ledger, export, out),
            Format::Ndjson => self.write_ndjson(ledger, export, out),
            Format::Csv => self.write_csv(ledger, export, out),
        }
    }

    fn write_bundle(&self, ledger: &Ledger, export: &ExportView, out: impl Write) -> Result<(), Error> {
        let (size, checkpoint) = self.bundle_size(ledger, export)?;
        let certificates = self.certificates_until(ledger, size)?;
        let asked = ExportRequest {
            to_index: match export.request.to_index {
                Some(end) => Some(end.min(export.tree_size)),
                // Everything stays everything.
                None if export.request.from_index == 0 && export.request.filter_words().is_none() => None,
                None => Some(export.tree_size),
            },
            ..export.request.clone()
        };
        let head = BundleHead {
            origin: ledger.record.origin.clone(),
            tree_size: size,
            root: self.root_of_size(ledger, size)?,
            checkpoint,
            further: checkpoints_of(&certificates, size),
            selection: asked.selection(size),
        };
        let mut bundle = BundleWriter::new(out, head).map_err(internal)?;
        self.each_record(ledger, size, |record, header, meta| {
            let needed = system::is_reserved(&header.event_type);
            let wanted = asked.wants(record.index, &header.event_type, meta.as_ref());
            self.refuse_late_removals(ledger, &record, size)?;
            if needed || wanted {
                bundle.include(&record).map_err(internal)
            } else {
                bundle.leave_out(record.index, &record.header).map_err(internal)
            }
        })?;
        for certificate in certificates {
            bundle
                .certificate(certificate.request, &certificate.document)
                .map_err(internal)?;
        }
        bundle
            .finish(|manifest| ledger.manifests.sign_document(manifest))
            .map_err(internal)?;
        Ok(())
    }

    /// The size of a bundle's tree, and its checkpoint: what was asked for, and, where bodies of it were removed later, as
    /// much more as holds the events that say so. Without them the bundle would show tampering.
    fn bundle_size(&self, ledger: &Ledger, export: &ExportView) -> Result<(u64, String), Error> {
        let (number, asked) = (ledger.record.number, export.tree_size);
        let now = self.view(ledger)?.size();
        let mut last = None;
        for removing in ["bodies.purged", "bodies.redacted"] {
            let lookup = Lookup::Type(system_name(removing)?);
            last = last.max(
                self.store
                    .find(number, &lookup, asked..now, Direction::Backward, 1)?
                    .pop(),
            );
        }
        match last {
            None => Ok((asked, export.checkpoint.clone())),
            Some(index) => self.checkpoint_covering(ledger, index),
        }
    }

    /// What was removed since the bundle was begun cannot be explained in it: it breaks off, and the next download of this
    /// export is a larger one.
    fn refuse_late_removals(&self, ledger: &Ledger, record: &Record, size: u64) -> Result<(), Error> {
        let absent = absent(record);
        if absent.is_empty() {
            return Ok(());
        }
        let authorities = self.store.removed(ledger.record.number, &absent)?;
        if authorities.into_iter().flatten().any(|authority| authority >= size) {
            let detail = "bodies were removed while the bundle was written; download it again";
            return Err(Error::new(Code::BodyPurged, detail));
        }
        Ok(())
    }

    fn each_record(
        &self,
        ledger: &Ledger,
        size: u64,
        mut each: impl FnMut(Record, Header, Option<Meta>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut pace = Pace::new(0..size, CHUNK);
        while let Some(piece) = pace.next() {
            let records = read_records(&*self.store, ledger.record.number, piece)?;
            pace.saw(records.iter().map(weight).sum());
            for record in records {
                let damaged =
                    |error| Error::new(Code::Damaged, format!("the event at index {}", record.index)).caused_by(error);
                let header = Header::decode(&record.header).map_err(damaged)?;
                let meta = record.bodies.first().filter(|body| body.ordinal == 0);
                let meta = meta
                    .map(|body| Meta::decode(&body.bytes))
                    .transpose()
                    .map_err(damaged)?;
                each(record, header, meta)?;
            }
        }
        Ok(())
    }

    fn write_ndjson(&self, ledger: &Ledger, export: &ExportView, mut out: impl Write) -> Result<(), Error> {
        // A line is written at once: it comes in many small pieces.
        let mut line = Vec::new();
        self.each_view(ledger, export, |view| {
            line.clear();
            serde_json::to_writer(&mut line, &view).map_err(internal)?;
            line.push(b'\n');
            out.write_all(&line).map_err(internal)
        })?;
        out.flush().map_err(internal)
    }

    fn write_csv(&self, ledger: &Ledger, export: &ExportView, out: impl Write) -> Result<(), Error> {
        let mut rows = Rows::new(out).map_err(internal)?;
        self.each_view(ledger, export, |view| rows.event(&view).map_err(internal))?;
        rows.finish().map_err(internal)
    }

    /// Every event that the export wants, as readers see it.
    fn each_view(
        &self,
        ledger: &Ledger,
        export: &ExportView,
        mut each: impl FnMut(EventView) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let request = &export.request;
        let reveal = if request.reveal { Reveal::Open } else { Reveal::Sealed };
        let end = request
            .to_index
            .map_or(export.tree_size, |end| end.min(export.tree_size));
        let mut pace = Pace::new(request.from_index..end, CHUNK);
        let mut met_unavailable = false;
        while let Some(piece) = pace.next() {
            let events = self.stored_events(ledger, piece)?;
            pace.saw(events.iter().map(StoredEvent::weight).sum());
            for event in events {
                if request.wants(event.index, &event.header.event_type, event.meta.as_ref()) {
                    let view = self.event_view(ledger, event, reveal)?;
                    if !met_unavailable && view.personal.iter().any(|block| block.state == KeyUnavailable) {
                        // The content may be another as soon as the key is back.
                        met_unavailable = true;
                        ledger.fencing.met_unavailable();
                    }
                    each(view)?;
                }
            }
        }
        Ok(())
    }
}

/// The checkpoints that a bundle needs for its certificates besides its own, each size once, ascending.
fn checkpoints_of(certificates: &[SignedCertificate], size: u64) -> Vec<String> {
    let smaller = certificates.iter().filter(|certificate| certificate.size < size);
    let by_size: BTreeMap<_, _> = smaller
        .map(|certificate| (certificate.size, &certificate.checkpoint))
        .collect();
    by_size.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn each_checkpoint_of_the_certificates_comes_once_in_the_order_of_sizes() {
        let certificate = |size: u64| SignedCertificate {
            request: Uuid::from_u128(u128::from(size)),
            document: Vec::new(),
            size,
            checkpoint: size.to_string(),
        };
        // By request id, as they come; 12 is the bundle's own.
        let certificates = [7, 3, 12, 7, 5].map(certificate);
        assert_eq!(checkpoints_of(&certificates, 12), ["3", "5", "7"]);
        assert!(checkpoints_of(&[], 12).is_empty());
    }
}
