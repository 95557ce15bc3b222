//! Appends refused because a person is erased or being erased: counted by day, beside the ledger. No event is made of them,
//! or whoever may append could fill the ledger with refusals. Durable before the refusal is answered; refusals that wait
//! together share one write. Nothing proves these numbers, and the report says so.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::access::internal;
use super::{Code, Error, Ledger, Service};
use crate::spec::compliance::{RefusedDay, day_of};
use crate::spec::ids::Timestamp;
use crate::store::{LedgerNumber, RecordWrite};

const RECORD: &str = "refused-appends";

/// Refused requests of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Count {
    erased: u64,
    erasing: u64,
}

/// The days that were counted since the start, each beginning where the store stands.
#[derive(Default)]
pub(super) struct Counters(Mutex<HashMap<(LedgerNumber, Timestamp), Day>>);

#[derive(Default)]
struct Day {
    count: Count,
    written: Count,
}

impl Service {
    /// Counts an append that was refused with this code, if it is one that the report counts. A counter that cannot be
    /// written does not change the answer; it is logged and written with the next.
    pub(super) async fn count_refusal(self: &Arc<Self>, ledger: &Arc<Ledger>, code: Code) {
        if !matches!(code, Code::SubjectErased | Code::SubjectErasing) {
            return;
        }
        let day = day_of(self.clock.now());
        let count = move |service: &Self, ledger: &Ledger| service.count_on(ledger.record.number, day, code);
        if let Err(error) = self.blocking(ledger, count).await {
            tracing::error!(error = %error, "a refused append could not be counted");
        }
    }

    fn count_on(&self, ledger: LedgerNumber, day: Timestamp, code: Code) -> Result<(), Error> {
        let counted = {
            let mut days = self.refused.0.lock();
            if !days.contains_key(&(ledger, day)) {
                let stored = self.stored_count(ledger, day)?;
                // Days that are over are not counted on; what is not written yet must not be forgotten.
                days.retain(|(of, _), day| *of != ledger || day.count != day.written);
                days.insert(
                    (ledger, day),
                    Day {
                        count: stored,
                        written: stored,
                    },
                );
            }
            let count = &mut days.entry((ledger, day)).or_default().count;
            match code {
                Code::SubjectErased => count.erased = count.erased.saturating_add(1),
                _ => count.erasing = count.erasing.saturating_add(1),
            }
            *count
        };
        // Whoever waited for the lock finds a later count written, and nothing left to do.
        let mut days = self.refused.0.lock();
        let Some(row) = days.get_mut(&(ledger, day)) else {
            return Ok(());
        };
        if row.written.erased < counted.erased || row.written.erasing < counted.erasing {
            let count = row.count;
            let value = Some(serde_json::to_vec(&count).map_err(internal)?);
            let (ledger, id) = (Some(ledger), day.to_string());
            self.store.put_records(&[RecordWrite {
                ledger,
                kind: RECORD,
                id,
                value,
            }])?;
            row.written = count;
        }
        Ok(())
    }

    fn stored_count(&self, ledger: LedgerNumber, day: Timestamp) -> Result<Count, Error> {
        let bytes = self.store.record(Some(ledger), RECORD, &day.to_string())?;
        bytes.map_or_else(|| Ok(Count::default()), |bytes| read(&bytes))
    }

    /// The days with refusals that lie in a period, also in part.
    pub(super) fn refused_days(
        &self,
        ledger: &Ledger,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<RefusedDay>, Error> {
        let mut days = Vec::new();
        for (id, bytes) in self.store.records(Some(ledger.record.number), RECORD)? {
            let damaged = |error| Error::new(Code::Damaged, "a counter of refused appends").caused_by(error);
            let day: Timestamp = id.parse().map_err(damaged)?;
            if from < to && day >= day_of(from) && day < to {
                let Count { erased, erasing } = read(&bytes)?;
                days.push(RefusedDay { day, erased, erasing });
            }
        }
        Ok(days)
    }
}

fn read(bytes: &[u8]) -> Result<Count, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(Code::Damaged, "a counter of refused appends").caused_by(error))
}
