//! The ledger as it stood.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{Error, Ledger, Service};
use super::{Moment, Standing, decode};
use crate::spec::ids::{EventType, LedgerName, Origin};

/// Headers that are read at once.
const CHUNK: u64 = 4_096;

/// The ledger as it stood at a moment (docs/api.md, Time travel).
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct LedgerAsOf {
    /// The ledger.
    pub ledger: LedgerName,
    /// Its global name.
    pub origin: Origin,
    /// Where it stood.
    #[serde(flatten)]
    pub standing: Standing,
    /// What was in it, if asked for.
    #[serde(flatten)]
    pub counts: Option<Counts>,
}

/// What was in a ledger, counted over the headers.
#[derive(Debug, Default, Serialize, utoipa::ToSchema)]
pub struct Counts {
    /// Streams with at least one event, Oubliette's own included.
    pub streams: u64,
    /// Events by type, Oubliette's own included.
    pub types: BTreeMap<EventType, u64>,
}

impl Service {
    /// The ledger at a moment. O(log n) without counts; O(events up to the moment) with them.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn ledger_as_of(&self, ledger: &Ledger, moment: Moment, counts: bool) -> Result<LedgerAsOf, Error> {
        let size = self.size_at(ledger, moment)?;
        Ok(LedgerAsOf {
            ledger: ledger.record.name.clone(),
            origin: ledger.record.origin.clone(),
            standing: self.standing(ledger, size)?,
            counts: counts.then(|| self.counts(ledger, size)).transpose()?,
        })
    }

    fn counts(&self, ledger: &Ledger, size: u64) -> Result<Counts, Error> {
        let (mut counts, mut start) = (Counts::default(), 0);
        while start < size {
            let end = size.min(start + CHUNK);
            for row in self.store.headers(ledger.record.number, start..end)? {
                let header = decode(&row.header, row.index)?;
                // Versions of a stream begin with 1 and have no gaps.
                counts.streams += u64::from(header.stream_version == 1);
                *counts.types.entry(header.event_type).or_default() += 1;
            }
            start = end;
        }
        Ok(counts)
    }
}
