//! Events that are read for what must go on without those that are damaged: one event of a caller that cannot be read stops
//! nobody else's erasure, purge or retention.

use std::ops::Range;

use super::super::{Code, Error, Ledger, Service};
use super::StoredEvent;
use crate::store::{HeaderRow, StoreError};

impl Service {
    /// As [`Service::stored_events_at`], an answer for each index: an event that is damaged, or not there, takes no other
    /// with it.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(in crate::service) fn events_apart(
        &self,
        ledger: &Ledger,
        indexes: &[u64],
    ) -> Result<Vec<Result<StoredEvent, u64>>, Error> {
        let whole = self.stored_events_at(ledger, indexes).ok();
        if let Some(events) = whole.filter(|events| events.len() == indexes.len()) {
            return Ok(events.into_iter().map(Ok).collect());
        }
        let alone = |index: &u64| match self.stored_event(ledger, *index) {
            Err(error) if !matches!(error.code, Code::Damaged | Code::EventNotFound) => Err(error),
            event => Ok(event.map_err(|_| *index)),
        };
        indexes.iter().map(alone).collect()
    }

    /// The events that can be read; the indexes of the others are added to `unread`, logged and counted.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(in crate::service) fn readable_events(
        &self,
        ledger: &Ledger,
        indexes: &[u64],
        unread: &mut Vec<u64>,
    ) -> Result<Vec<StoredEvent>, Error> {
        let mut readable = Vec::with_capacity(indexes.len());
        for event in self.events_apart(ledger, indexes)? {
            match event {
                Ok(event) => readable.push(event),
                Err(index) => {
                    tracing::error!(ledger = %ledger.record.name, index, "an event cannot be read and is left out: verify the ledger");
                    metrics::counter!("oubliette_unread_events_total", "ledger" => ledger.record.name.to_string())
                        .increment(1);
                    unread.push(index);
                }
            }
        }
        Ok(readable)
    }

    /// The headers of a range of indexes, as far as their rows can be read.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(in crate::service) fn headers_apart(
        &self,
        ledger: &Ledger,
        range: Range<u64>,
    ) -> Result<Vec<HeaderRow>, Error> {
        let number = ledger.record.number;
        match self.store.headers(number, range.clone()) {
            Err(StoreError::Damaged { .. }) => {}
            rows => return Ok(rows?),
        }
        let mut readable = Vec::new();
        for index in range {
            match self.store.headers_at(number, &[index]) {
                Err(StoreError::Damaged { .. }) => {}
                rows => readable.extend(rows?.into_iter().flatten()),
            }
        }
        Ok(readable)
    }
}
