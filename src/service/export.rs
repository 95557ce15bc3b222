//! Export: evidence and data to take away, streamed with constant memory, recorded before anything leaves.
//!
//! An export is fixed when it is asked for: the events up to the checkpoint of that moment. Its content is made anew at
//! each download and is the same bytes every time, until something is erased: [`Service::export_tag`] says until when, so
//! that a download which broke off can go on. Personal data stays sealed unless opening it was asked for, by a caller who
//! may; then each block is opened for this download alone. An erasure that is fenced meanwhile breaks an opened download
//! off: pieces that wait for the reader are dropped. What the server has already handed to the connection has left.

pub(super) mod csv;
mod write;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::erase::{PURGES, STREAM};
use super::fencing::Stamp;
use super::ledger::system_name;
use super::redact::STREAM as REDACTIONS;
use super::{Caller, Error, Ledger, Role, Service};
use crate::spec::bundle::Selection;
use crate::spec::event::Meta;
use crate::spec::ids::{EventType, StreamName, Timestamp};

const RECORD: &str = "export";

/// What an export is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
#[schema(as = ExportFormat)]
pub enum Format {
    /// One file with all evidence, verified offline by `oubliette-verify` (docs/spec/10-bundle.md).
    Bundle,
    /// One JSON event a line, as reads give it.
    Ndjson,
    /// A table (RFC 4180), an event a row.
    Csv,
}

/// `POST /exports`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct ExportRequest {
    /// Which form.
    pub format: Format,
    /// First index; 0 by default. What the times come to is put here when the export is made.
    #[serde(default)]
    pub from_index: u64,
    /// First index after the range; by default up to now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_index: Option<u64>,
    /// Recorded at or after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Recorded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// Only events of this stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
    /// Only events of this type.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// Only events with this tag.
    #[schema(min_length = 1, max_length = 256)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<Box<str>>,
    /// Whether personal data is opened (not in a bundle; needs the role `revealer` too).
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

    /// What was asked for, in words that name nothing of the ledger.
    pub(super) fn words(&self) -> String {
        let format = match self.format {
            Format::Bundle => "bundle",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
        };
        let range = match (self.from_index, self.to_index) {
            (0, None) => String::new(),
            (from, None) => format!(", from index {from}"),
            (from, Some(to)) => format!(", indexes {from} to {to}"),
        };
        let fields = [
            self.stream.as_ref().map(|_| "stream"),
            self.event_type.as_ref().map(|_| "type"),
            self.tag.as_ref().map(|_| "tag"),
        ];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        let filter = if fields.is_empty() {
            String::new()
        } else {
            format!(", filtered by {}", fields.join(" and "))
        };
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
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
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
        mut request: ExportRequest,
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
                    "a bundle carries sealed blocks as they are; open data with ndjson or csv",
                ));
            }
        }
        self.check_words(&request)?;
        self.resolve_times(ledger, &mut request)?;
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

    /// Times never decrease along the ledger, so they come to a range of indexes: binary search.
    fn resolve_times(&self, ledger: &Ledger, request: &mut ExportRequest) -> Result<(), Error> {
        if let (Some(from), Some(to)) = (request.from, request.to)
            && from > to
        {
            return Err(Error::field("/from", "lies after `to`"));
        }
        if request.from.is_none() && request.to.is_none() {
            return Ok(());
        }
        let index =
            |time: Option<Timestamp>, without| time.map_or(Ok(without), |time| self.first_at_or_after(ledger, time));
        // The export's own record comes after both.
        let end = index(request.to, self.view(ledger)?.size())?;
        let end = request.to_index.map_or(end, |given| given.min(end));
        let start = request.from_index.max(index(request.from, 0)?);
        (request.from_index, request.to_index) = (start.min(end), Some(end));
        Ok(())
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
            if !(1..=256).contains(&text.len()) {
                return Err(Error::field(pointer, "must be 1 to 256 bytes"));
            }
            self.refuse_personal(pointer, text)?;
        }
        Ok(())
    }

    /// Records that an export's content is about to leave, or the part of it from `first` to `last`, and with whose key.
    ///
    /// # Errors
    /// Whatever appending may answer; then nothing may leave.
    pub async fn record_download(
        &self,
        ledger: &Ledger,
        caller: &Caller,
        export: &ExportView,
        bytes: Option<(u64, u64)>,
    ) -> Result<(), Error> {
        let mut data = serde_json::json!({
            "export": export.id, "by": caller.key.id, "roles": caller.key.roles, "reveal": export.request.reveal,
        });
        if let (Some((first, last)), Some(fields)) = (bytes, data.as_object_mut()) {
            fields.insert("bytes".into(), serde_json::json!([first, last]));
        }
        let event = self.system_event("$exports", "export.downloaded", &data, Some(export.id.to_string()))?;
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await
            .map(drop)
    }

    /// Names the content as it would be written now: the same tag, the same bytes. It changes with every recorded step of
    /// every erasure, every removal of bodies and with the program's version; for tables and events, which say what can be opened, with each fence and
    /// each destruction of keys, too, when a key could not be had while the content was written, and with a restart.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn export_tag(&self, ledger: &Ledger, export: &ExportView) -> Result<String, Error> {
        let streams = [STREAM, PURGES, REDACTIONS].map(system_name);
        let streams = streams.into_iter().collect::<Result<Vec<_>, _>>()?;
        let rows = self.store.stream_rows(ledger.record.number, &streams)?;
        let versions = rows.into_iter().map(|row| row.map_or(0, |row| row.version).to_string());
        let version = versions.collect::<Vec<_>>().join(".");
        let stamp = match export.request.format {
            Format::Bundle => String::new(),
            Format::Ndjson | Format::Csv => {
                let Stamp { steps, unavailable } = ledger.stamp();
                format!("-{steps:x}.{unavailable}")
            }
        };
        Ok(format!("{}-{version}{stamp}-{}", export.id, env!("CARGO_PKG_VERSION")))
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
}
