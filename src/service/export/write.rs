//! Writing an export's content: events in pieces that fit a budget of memory, one form after another.

use std::collections::BTreeMap;
use std::io::Write;

use super::super::access::internal;
use super::super::erase::SignedCertificate;
use super::super::pace::Pace;
use super::super::read::{EventView, Reveal, StoredEvent};
use super::super::verify::{read_records, weight};
use super::super::{Code, Error, Ledger, Service};
use super::csv::Rows;
use super::{ExportView, Format};
use crate::spec::bundle::{BundleHead, BundleWriter};
use crate::spec::event::{Header, Meta};
use crate::spec::system;
use crate::spec::verify::Record;

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
        let size = export.tree_size;
        let certificates = self.certificates_until(ledger, size)?;
        let head = BundleHead {
            origin: ledger.record.origin.clone(),
            tree_size: size,
            root: self.root_of_size(ledger, size)?,
            checkpoint: export.checkpoint.clone(),
            further: checkpoints_of(&certificates, size),
            selection: export.request.selection(size),
        };
        let mut bundle = BundleWriter::new(out, head).map_err(internal)?;
        self.each_record(ledger, size, |record, header, meta| {
            let needed = system::is_reserved(&header.event_type);
            let wanted = export.request.wants(record.index, &header.event_type, meta.as_ref());
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
        while let Some(piece) = pace.next() {
            let events = self.stored_events(ledger, piece)?;
            pace.saw(events.iter().map(StoredEvent::weight).sum());
            for event in events {
                if request.wants(event.index, &event.header.event_type, event.meta.as_ref()) {
                    each(self.event_view(ledger, event, reveal)?)?;
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
