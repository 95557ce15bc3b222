//! Export: evidence and data to take away, streamed with constant memory, recorded before anything leaves.
//!
//! An export is fixed when it is asked for: the events up to the checkpoint of that moment. Its content is made anew at
//! each download, so a bundle is the same bytes every time, until something in it is erased. Personal data stays sealed
//! unless opening it was asked for, by a caller who may; then each block is opened as it leaves, and what has been erased
//! since does not leave.

use std::collections::BTreeMap;
use std::io::Write;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::access::internal;
use super::erase::SignedCertificate;
use super::pace::Pace;
use super::read::{Reveal, StoredEvent};
use super::verify::{read_records, weight};
use super::{Caller, Code, Error, Ledger, Role, Service};
use crate::spec::bundle::{BundleHead, BundleWriter, Selection};
use crate::spec::event::{Header, Meta};
use crate::spec::ids::{EventType, StreamName, Timestamp};
use crate::spec::system;
use crate::spec::verify::Record;

const RECORD: &str = "export";
/// Events that are read at once, at the most.
const CHUNK: u64 = 512;

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One file with all evidence, verified offline by `oubliette-verify` (docs/spec/10-bundle.md).
    Bundle,
    /// One JSON event a line, as reads give it.
    Ndjson,
}

/// `POST /exports`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportRequest {
    /// Which form.
    pub format: Format,
    /// First index; 0 by default.
    #[serde(default)]
    pub from_index: u64,
    /// First index after the range; by default up to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_index: Option<u64>,
    /// Only events of this stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Only events of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// Only events with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
    /// Whether personal data is opened (`ndjson` alone; needs the role `revealer` too).
    #[serde(default)]
    pub reveal: bool,
}

impl ExportRequest {
    fn filter_words(&self) -> Option<String> {
        let words: Vec<_> = [
            self.stream.as_ref().map(|stream| format!("stream = {stream}")),
            self.event_type
                .as_ref()
                .map(|event_type| format!("type = {event_type}")),
            self.tag.as_ref().map(|tag| format!("tag = {tag}")),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!words.is_empty()).then(|| words.join(" and "))
    }

    fn wants(&self, index: u64, event_type: &EventType, meta: Option<&Meta>) -> bool {
        index >= self.from_index
            && self.to_index.is_none_or(|end| index < end)
            && self
                .stream
                .as_ref()
                .is_none_or(|stream| meta.is_some_and(|meta| meta.stream == *stream))
            && self.event_type.as_ref().is_none_or(|wanted| wanted == event_type)
            && self
                .tag
                .as_ref()
                .is_none_or(|tag| meta.is_some_and(|meta| meta.tags.contains(tag)))
    }

    /// What was asked for, in words.
    pub(super) fn words(&self) -> String {
        let format = match self.format {
            Format::Bundle => "bundle",
            Format::Ndjson => "ndjson",
        };
        let range = match (self.from_index, self.to_index) {
            (0, None) => String::new(),
            (from, None) => format!(", from index {from}"),
            (from, Some(to)) => format!(", indexes {from} to {to}"),
        };
        let filter = self
            .filter_words()
            .map(|words| format!(", {words}"))
            .unwrap_or_default();
        format!("{format}{range}{filter}")
    }

    fn selection(&self, size: u64) -> Option<Selection> {
        let filter = self.filter_words();
        let end = self.to_index.map_or(size, |end| end.min(size));
        let whole = self.from_index == 0 && end == size && filter.is_none();
        (!whole).then(|| Selection {
            first: self.from_index.min(end),
            end,
            filter,
        })
    }
}

/// An export as auditors see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExportView {
    /// Which.
    pub id: Uuid,
    /// What was asked for.
    pub request: ExportRequest,
    /// The API key that asked.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// Events in the ledger as exported.
    pub tree_size: u64,
    /// Where the content is.
    pub content: String,
    /// The checkpoint of that size.
    pub checkpoint: String,
}

impl Service {
    /// Fixes an export and records it.
    ///
    /// # Errors
    /// `invalid_field`, `forbidden`; whatever appending may answer.
    pub async fn create_export(
        &self,
        ledger: &Ledger,
        caller: &Caller,
        request: ExportRequest,
    ) -> Result<ExportView, Error> {
        let size = self.view(ledger)?.size();
        if request.to_index.is_some_and(|end| end < request.from_index) {
            return Err(Error::field("/to_index", "lies before from_index"));
        }
        if request.from_index > size {
            return Err(Error::field("/from_index", format!("the ledger has {size} events")));
        }
        if request.reveal {
            caller.require(&[Role::Revealer], Some(&ledger.record.name))?;
            if request.format == Format::Bundle {
                return Err(Error::field(
                    "/reveal",
                    "a bundle carries sealed blocks as they are; open data with ndjson",
                ));
            }
        }
        self.check_words(&request)?;
        let id = self.fresh_id();
        let data =
            serde_json::json!({"export": id, "by": caller.key.id, "roles": caller.key.roles, "request": request});
        let event = self.system_event("$exports", "export.created", &data, Some(id.to_string()))?;
        let appended = self
            .append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await?;
        let view = ExportView {
            id,
            request,
            by: caller.key.id.clone(),
            created_at: self.clock.now(),
            tree_size: appended.view.size(),
            content: format!("/v1/ledgers/{}/exports/{id}/content", ledger.record.name),
            checkpoint: appended.view.checkpoint.clone(),
        };
        self.keep_record(ledger, RECORD, id, &view)?;
        Ok(view)
    }

    /// The filter's words are recorded in clear.
    fn check_words(&self, request: &ExportRequest) -> Result<(), Error> {
        let stream = request.stream.as_ref().map(|stream| ("/stream", stream.as_str()));
        let event_type = request
            .event_type
            .as_ref()
            .map(|event_type| ("/type", event_type.as_str()));
        let tag = request.tag.as_deref().map(|tag| ("/tag", tag));
        for (pointer, text) in [stream, event_type, tag].into_iter().flatten() {
            if text.len() > 256 {
                return Err(Error::field(pointer, "must be at most 256 bytes"));
            }
            self.refuse_personal(pointer, text)?;
        }
        Ok(())
    }

    /// Records that an export's content is about to leave, and with whose key.
    ///
    /// # Errors
    /// Whatever appending may answer; then nothing may leave.
    pub async fn record_download(&self, ledger: &Ledger, caller: &Caller, export: &ExportView) -> Result<(), Error> {
        let data = serde_json::json!({
            "export": export.id, "by": caller.key.id, "roles": caller.key.roles, "reveal": export.request.reveal,
        });
        let event = self.system_event("$exports", "export.downloaded", &data, Some(export.id.to_string()))?;
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await
            .map(drop)
    }

    /// One export.
    ///
    /// # Errors
    /// `not_found`.
    pub fn export(&self, ledger: &Ledger, id: Uuid) -> Result<ExportView, Error> {
        self.kept_record(ledger, RECORD, id)
    }

    /// All exports, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn exports(&self, ledger: &Ledger) -> Result<Vec<ExportView>, Error> {
        let mut views: Vec<ExportView> = self.kept_records(ledger, RECORD)?;
        views.reverse();
        Ok(views)
    }

    /// Writes an export's content.
    ///
    /// # Errors
    /// If the store cannot be read or the output fails; the output is of no use then.
    pub fn write_export(&self, ledger: &Ledger, export: &ExportView, out: impl Write) -> Result<(), Error> {
        match export.request.format {
            Format::Bundle => self.write_bundle(ledger, export, out),
            Format::Ndjson => self.write_ndjson(ledger, export, out),
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
        let reveal = if export.request.reveal {
            Reveal::Open
        } else {
            Reveal::Sealed
        };
        let end = export
            .request
            .to_index
            .map_or(export.tree_size, |end| end.min(export.tree_size));
        let mut pace = Pace::new(export.request.from_index..end, CHUNK);
        while let Some(piece) = pace.next() {
            let events = self.stored_events(ledger, piece)?;
            pace.saw(events.iter().map(StoredEvent::weight).sum());
            for event in events {
                if export
                    .request
                    .wants(event.index, &event.header.event_type, event.meta.as_ref())
                {
                    self.write_line(ledger, event, reveal, &mut out)?;
                }
            }
        }
        out.flush().map_err(internal)
    }

    fn write_line(
        &self,
        ledger: &Ledger,
        event: StoredEvent,
        reveal: Reveal,
        out: &mut impl Write,
    ) -> Result<(), Error> {
        let view = self.event_view(ledger, event, reveal)?;
        serde_json::to_writer(&mut *out, &view).map_err(internal)?;
        out.write_all(b"\n").map_err(internal)
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
