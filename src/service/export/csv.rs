//! A table of events (RFC 4180): UTF-8, a header, an event a row, CRLF.
//!
//! Spreadsheets take a cell for a formula that begins with `=`, `+`, `-`, `@`, a tab, a CR or a LF, and what callers wrote
//! can begin with anything. So every such cell gets an apostrophe in front, and so does one that begins with an apostrophe:
//! taking one leading apostrophe off gives the original back.

use std::borrow::Cow;
use std::io::Write;

use csv::{Terminator, Writer, WriterBuilder};

use super::super::read::{ActorView, EventView};

/// The columns, in order.
const COLUMNS: [&str; 19] = [
    "index",
    "id",
    "stream",
    "stream_version",
    "stream_ref",
    "type",
    "schema_version",
    "recorded_at",
    "occurred_at",
    "actor",
    "actor_handle",
    "correlation_id",
    "causation_id",
    "tags",
    "meta_state",
    "data",
    "data_state",
    "personal",
    "leaf_hash",
];

/// A table under way.
pub(super) struct Rows<W: Write>(Writer<W>);

impl<W: Write> Rows<W> {
    pub(super) fn new(out: W) -> csv::Result<Self> {
        let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        writer.write_record(COLUMNS)?;
        Ok(Self(writer))
    }

    pub(super) fn event(&mut self, event: &EventView) -> csv::Result<()> {
        let cells = cells(event).map_err(std::io::Error::other)?;
        self.0.write_record(cells.iter().map(|cell| safe(cell).into_owned()))
    }

    pub(super) fn finish(mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// One cell a column. Nothing is an empty cell; lists and payloads are JSON.
fn cells(event: &EventView) -> serde_json::Result<[String; COLUMNS.len()]> {
    let (actor, handle) = match &event.actor {
        Some(ActorView::Name(name)) => (name.to_string(), String::new()),
        Some(ActorView::Subject { handle }) => (String::new(), handle.to_string()),
        None => Default::default(),
    };
    let state = |state| Ok::<_, serde_json::Error>(serde_json::to_string(&state)?.trim_matches('"').to_owned());
    Ok([
        event.index.to_string(),
        text(event.id.as_ref()),
        text(event.stream.as_ref()),
        event.stream_version.to_string(),
        event.stream_ref.to_string(),
        event.event_type.to_string(),
        event.schema_version.to_string(),
        event.recorded_at.to_string(),
        text(event.occurred_at.as_ref()),
        actor,
        handle,
        text(event.correlation_id.as_ref()),
        text(event.causation_id.as_ref()),
        serde_json::to_string(&event.tags)?,
        state(event.meta_state)?,
        text(event.data.as_ref()),
        event.data_state.map(state).transpose()?.unwrap_or_default(),
        serde_json::to_string(&event.personal)?,
        event.verification.leaf_hash.to_string(),
    ])
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

/// A cell that no spreadsheet takes for a formula.
pub(in crate::service) fn safe(cell: &str) -> Cow<'_, str> {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '\'']) {
        Cow::Owned(format!("'{cell}"))
    } else {
        Cow::Borrowed(cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_begins_a_formula_and_the_original_can_be_had_back() {
        for cell in ["=1+1", "+1", "-5", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "'quoted", "''"] {
            let safe = safe(cell);
            assert_eq!(safe.strip_prefix('\''), Some(cell));
        }
        for cell in ["", "order.placed", "{\"total\":-1}", "5", " =1", "\"=1\""] {
            assert_eq!(safe(cell), cell);
        }
    }
}
