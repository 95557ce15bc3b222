//! The difference of a stream's state between two moments: one fold with a stop on the way, and a JSON patch (RFC 6902).

use std::collections::BTreeMap;

use json_patch::Patch;
use serde::Serialize;
use serde_json::Value;

use super::super::read::{Opened, PersonalState, Reveal};
use super::super::{Error, Ledger, Service};
use super::fold::{Field, Folded, NotFolded, Personal};
use super::state::Folding;
use super::{Moment, Standing};
use crate::spec::ids::{Category, Handle, StreamName, StreamRef};

/// What changed between two moments.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct StateDiff {
    /// The stream.
    pub stream: StreamName,
    /// Its random reference.
    pub stream_ref: StreamRef,
    /// The earlier moment.
    pub from: Position,
    /// The later one.
    pub to: Position,
    /// Turns the public state of `from` into that of `to`.
    #[schema(value_type = Vec<Object>)]
    pub patch: Patch,
    /// The personal fields that have blocks in between.
    pub personal: BTreeMap<Handle, BTreeMap<Category, FieldDiff>>,
    /// Bodies up to `to` that are not there.
    pub not_folded: Vec<NotFolded>,
}

/// A moment of a stream.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Position {
    /// The stream's version then.
    pub stream_version: u64,
    /// Where the ledger stood.
    #[serde(flatten)]
    pub standing: Standing,
}

/// What changed in one person's category.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct FieldDiff {
    /// The state of its last block, by today's keys.
    pub state: PersonalState,
    /// Versions in between that have blocks of it.
    pub stream_versions: Vec<u64>,
    /// Turns the data of `from` into that of `to`, where `state` is `clear`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    pub patch: Option<Patch>,
    /// Where the certificate of its erasure is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Two folds of a stream, before their difference is taken: what is recorded, and what may be withdrawn.
#[derive(Debug)]
pub struct TwoStates {
    stream: StreamName,
    stream_ref: StreamRef,
    from: (Position, Folded),
    to: (Position, Folded),
    /// What was opened.
    pub opened: Opened,
}

impl TwoStates {
    /// The personal data that the difference would show.
    pub fn personal_mut(&mut self) -> &mut Personal {
        &mut self.to.1.personal
    }

    /// The difference.
    pub fn difference(self) -> StateDiff {
        let ((from, before), (to, after)) = (self.from, self.to);
        let mut personal = BTreeMap::<_, BTreeMap<_, _>>::new();
        for (handle, fields) in after.personal {
            for (category, field) in fields {
                let earlier = before.personal.get(&handle).and_then(|fields| fields.get(&category));
                if let Some(changed) = field_diff(earlier, field, before.version) {
                    personal.entry(handle).or_default().insert(category, changed);
                }
            }
        }
        StateDiff {
            stream: self.stream,
            stream_ref: self.stream_ref,
            from,
            to,
            patch: json_patch::diff(&before.public, &after.public),
            personal,
            not_folded: after.not_folded,
        }
    }
}

fn field_diff(earlier: Option<&Field>, field: Field, from_version: u64) -> Option<FieldDiff> {
    let versions = field.seen.iter().map(|(version, _, _)| *version);
    let mut stream_versions: Vec<_> = versions.filter(|version| *version > from_version).collect();
    stream_versions.dedup();
    if stream_versions.is_empty() {
        return None;
    }
    let before = earlier.and_then(|field| field.data.as_ref()).unwrap_or(&Value::Null);
    Some(FieldDiff {
        state: field.state,
        stream_versions,
        patch: field.data.map(|data| json_patch::diff(before, &data)),
        certificate: field.certificate,
    })
}

impl Service {
    /// Folds a stream up to two moments. O(events of the stream up to the later one).
    ///
    /// # Errors
    /// As [`Service::stream_state`], and `invalid_field` if `from` lies after `to`.
    pub fn stream_states(
        &self,
        ledger: &Ledger,
        stream: &StreamName,
        (from, to): (Moment, Moment),
        reveal: Reveal,
    ) -> Result<TwoStates, Error> {
        let stream_ref = self.reference_of(ledger, stream)?;
        let (from, to) = (
            self.place(ledger, stream_ref, from)?,
            self.place(ledger, stream_ref, to)?,
        );
        if from.tree_size > to.tree_size {
            return Err(Error::field("from", "lies after `to`; exchange the two"));
        }
        let mut folding = Folding::new(self, ledger, stream_ref, reveal);
        folding.advance(from.version)?;
        let mut before = folding.folded.clone();
        folding.advance(to.version)?;
        let Folding {
            folded: mut after,
            opened,
            ..
        } = folding;
        before.settle();
        after.settle();
        let position = |version, size| {
            Ok::<_, Error>(Position {
                stream_version: version,
                standing: self.standing(ledger, size)?,
            })
        };
        Ok(TwoStates {
            stream: stream.clone(),
            stream_ref,
            from: (position(from.version, from.tree_size)?, before),
            to: (position(to.version, to.tree_size)?, after),
            opened,
        })
    }
}
