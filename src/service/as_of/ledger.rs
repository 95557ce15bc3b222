//! The ledger as it stood.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::{Error, Ledger, Service};
use super::{Moment, Standing, decode};
use crate::spec::ids::{EventType, LedgerName, Origin};

/// Headers that are read at once.
const CHUNK: u64 = 4_096;
/// Types that are told apart; events of any more are counted together.
const MAX_TYPES: usize = 10_000;

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
    /// Events of further types: only the first 10,000 types are told apart.
    pub further: u64,
}

impl Service {
    /// The ledger at a moment. O(log n) without counts; O(events up to the moment) with them.
    ///
    /// # Errors
    /// `overloaded` if counts are asked for while too many questions are being answered.
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
        let _turn = self.turn()?;
        let (mut counts, mut start) = (Counts::default(), 0);
        while start < size {
            let end = size.min(start + CHUNK);
            for row in self.store.headers(ledger.record.number, start..end)? {
                let header = decode(&row.header, row.index)?;
                // Versions of a stream begin with 1 and have no gaps.
                counts.streams += u64::from(header.stream_version == 1);
                counts.add(header.event_type);
            }
            start = end;
        }
        Ok(counts)
    }
}

impl Counts {
    fn add(&mut self, event_type: EventType) {
        let room = self.types.len() < MAX_TYPES;
        match self.types.get_mut(&event_type) {
            Some(count) => *count += 1,
            None if room => drop(self.types.insert(event_type, 1)),
            None => self.further += 1,
        }
    }
}
