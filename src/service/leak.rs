//! Leaks: an officer puts on record that `data` or `meta` of events, which stay in clear, hold personal data, and whose it
//! is (docs/spec/08-erasure.md, `leak.reported`).
//!
//! While a leak names a person and the bodies stand, no certificate of an erasure of that person is given: it would say less
//! than the operator knows. The mend is to redact the bodies, or to withdraw a report that was mistaken; both are events, and
//! the certificate carries them. Out of scope: finding leaks. The PII guard refuses what it knows before it is stored, and
//! nobody reads `data`.

use std::collections::HashMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::own::{Act, By, at, never_seen, recorded};
use super::redact::{self, RedactedEvent, events_of};
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::{Resolution, SubjectState};
use crate::spec::certificate::{LeakOutcome, LeakRecord, ReportedLeak};
use crate::spec::ids::{Handle, SubjectId, Timestamp};
use crate::spec::system::{Authority, LeakReported, LeakWithdrawn, Position, SystemType};

/// The stream of the reports.
pub(super) const STREAM: &str = "$leaks";
const REPORTED: &str = "leak.reported";
const WITHDRAWN: &str = "leak.withdrawn";
/// The most people of a report.
const MAX_PEOPLE: usize = 1_000;

/// `POST /leaks`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct LeakRequest {
    /// Where personal data stands in clear.
    #[schema(min_items = 1, max_items = 1000)]
    pub events: Vec<RedactedEvent>,
    /// Whose it is, by the caller's ids, as far as that is known; this, `handles` or neither.
    #[schema(min_items = 1, max_items = 1000)]
    pub subjects: Option<Vec<SubjectId>>,
    /// Whose it is, by handles, also of people who were erased.
    #[schema(min_items = 1, max_items = 1000)]
    pub handles: Option<Vec<Handle>>,
}

/// A leak as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct LeakView {
    /// Which.
    pub id: Uuid,
    /// `open`: bodies that it names stand; `redacted`: all of them left; `withdrawn`: it was mistaken.
    #[schema(pattern = "^(open|redacted|withdrawn)$")]
    pub state: &'static str,
    /// When it was put on record.
    pub reported_at: Timestamp,
    /// Where personal data stands, or stood, in clear.
    pub events: Vec<RedactedEvent>,
    /// Of these, what still stands.
    pub standing: Vec<RedactedEvent>,
    /// Whose it is; absent: nobody is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handles: Option<Vec<Handle>>,
    /// When the last body left, or the report was withdrawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// The API key that reported it.
    pub by: String,
}

/// The payload of `leak.reported`.
#[derive(Debug, Serialize, Deserialize)]
struct Reported {
    #[serde(flatten)]
    leak: LeakReported,
    #[serde(flatten)]
    by: By,
}

/// The payload of `leak.withdrawn`.
#[derive(Debug, Serialize)]
struct Withdrawn {
    #[serde(flatten)]
    leak: LeakWithdrawn,
    #[serde(flatten)]
    by: By,
}

impl Service {
    /// Puts a leak on record.
    ///
    /// # Errors
    /// `invalid_field`, `event_not_found`, `body_purged`, `subject_not_found`, `subject_erased`, `ledger_frozen` (nothing is
    /// recorded then); whatever appending may answer.
    pub async fn report_leak(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: LeakRequest,
    ) -> Result<LeakView, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        redact::check(&request.events)?;
        let leak = self.fresh_id();
        let payload = self
            .blocking(ledger, move |service, ledger| {
                Ok(LeakReported {
                    leak,
                    positions: service.clear_positions(ledger, &request.events)?,
                    handles: service.leaked_of(ledger, &request)?,
                })
            })
            .await?;
        let payload = Reported {
            leak: payload,
            by: By::of(caller),
        };
        self.record_leak(ledger, REPORTED, &payload, leak).await
    }

    /// Withdraws a report that was mistaken. One that is settled stays as it is.
    ///
    /// # Errors
    /// `not_found`, `ledger_frozen`; whatever appending may answer.
    pub async fn withdraw_leak(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<LeakView, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        let view = self
            .blocking(ledger, move |service, ledger| service.leak(ledger, id))
            .await?;
        if view.state != "open" {
            return Ok(view);
        }
        let payload = Withdrawn {
            leak: LeakWithdrawn { leak: id },
            by: By::of(caller),
        };
        self.record_leak(ledger, WITHDRAWN, &payload, id).await
    }

    /// Appends an event of a leak. It names people in its payload alone: those who are erased may be among them.
    async fn record_leak(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        event_type: &'static str,
        payload: &impl Serialize,
        id: Uuid,
    ) -> Result<LeakView, Error> {
        let act = Act {
            stream: STREAM,
            event_type,
            payload,
            id,
            handles: &[],
        };
        self.record_act(ledger, act).await?;
        self.blocking(ledger, move |service, ledger| service.leak(ledger, id))
            .await
    }

    /// The bodies that a report names, each of which must be there.
    fn clear_positions(&self, ledger: &Ledger, events: &[RedactedEvent]) -> Result<Vec<Position>, Error> {
        let size = self.view(ledger)?.size();
        let mut positions = std::collections::BTreeSet::new();
        for (at, event) in events.iter().enumerate() {
            self.clear_event(ledger, size, at, event)?;
            positions.extend(event.positions());
        }
        Ok(positions.into_iter().collect())
    }

    /// The handles of the people whom a report names.
    fn leaked_of(&self, ledger: &Ledger, request: &LeakRequest) -> Result<Option<Vec<Handle>>, Error> {
        let mut handles = Vec::new();
        match (&request.subjects, &request.handles) {
            (Some(_), Some(_)) => {
                return Err(Error::field(
                    "/subjects",
                    "give either `subjects` or `handles`, or neither",
                ));
            }
            (None, None) => return Ok(None),
            (Some(subjects), None) => {
                for (number, subject) in subjects.iter().enumerate() {
                    let pointer = format!("/subjects/{number}");
                    match self.keystore.resolve(ledger.record.id, subject)? {
                        Resolution::Known(handle) => handles.push(handle),
                        Resolution::Unknown => return Err(never_seen(&pointer)),
                        Resolution::Erased => {
                            let detail = "this person was erased: name the handle, which the certificate has";
                            return Err(at(Code::SubjectErased, &pointer, detail));
                        }
                    }
                }
            }
            (None, Some(given)) => {
                for (number, handle) in given.iter().enumerate() {
                    if self.keystore.state(ledger.record.id, *handle)? == SubjectState::Unknown {
                        return Err(never_seen(&format!("/handles/{number}")));
                    }
                    handles.push(*handle);
                }
            }
        }
        handles.sort_unstable();
        handles.dedup();
        if !(1..=MAX_PEOPLE).contains(&handles.len()) {
            let pointer = if request.subjects.is_some() {
                "/subjects"
            } else {
                "/handles"
            };
            let detail = format!("must name 1 to {MAX_PEOPLE} people, or be absent if nobody is known");
            return Err(Error::field(pointer, detail));
        }
        self.tell(ledger, &handles)?;
        Ok(Some(handles))
    }

    /// All that the first `until` events tell of leaks.
    pub(super) fn leak_record(&self, ledger: &Ledger, until: u64) -> Result<LeakRecord, Error> {
        let mut record = LeakRecord::default();
        for stream in [STREAM, redact::STREAM] {
            for event in self.own_events(ledger, stream)? {
                let known = SystemType::from_type(&event.header.event_type);
                let Some(known) = known.filter(|_| event.index < until) else {
                    continue;
                };
                let damaged = || {
                    let detail = format!("the {known} at index {} cannot be read", event.index);
                    Error::new(Code::Damaged, detail)
                };
                let data = event.data().ok_or_else(damaged)?;
                let authority = Authority::read(known, &data.bytes).map_err(|error| damaged().caused_by(error))?;
                record.add(event.index, event.header.recorded_at, &authority);
            }
            if record.reports().is_empty() {
                break;
            }
        }
        Ok(record)
    }

    /// One leak.
    ///
    /// # Errors
    /// `not_found`.
    pub fn leak(&self, ledger: &Ledger, id: Uuid) -> Result<LeakView, Error> {
        let mut all = self.leaks(ledger)?.into_iter();
        all.find(|leak| leak.id == id)
            .ok_or_else(|| Error::new(Code::NotFound, "there is no leak of this id"))
    }

    /// All leaks, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn leaks(&self, ledger: &Ledger) -> Result<Vec<LeakView>, Error> {
        let record = self.leak_record(ledger, u64::MAX)?;
        let events = self.own_events(ledger, STREAM)?;
        let reported = events
            .iter()
            .filter(|event| event.header.event_type.as_str() == REPORTED);
        let by: HashMap<u64, String> = reported
            .map(|event| Ok((event.index, recorded::<Reported>(event)?.payload.by.by)))
            .collect::<Result<_, Error>>()?;
        let view = |leak: &ReportedLeak| {
            let settled = record.settled(leak);
            LeakView {
                id: leak.payload.leak,
                state: match settled.as_ref().map(|end| end.outcome) {
                    None => "open",
                    Some(LeakOutcome::Redacted) => "redacted",
                    Some(LeakOutcome::Withdrawn) => "withdrawn",
                },
                reported_at: leak.reported_at,
                events: events_of(&leak.payload.positions),
                standing: events_of(&record.standing(leak)),
                handles: leak.payload.handles.clone(),
                settled_at: settled.map(|end| end.at),
                by: by.get(&leak.index).cloned().unwrap_or_default(),
            }
        };
        Ok(record.reports().iter().rev().map(view).collect())
    }
}

/// Why no certificate is given: bodies stand that are known to hold data of its people in clear.
pub(super) fn not_redacted(ledger: &Ledger, record: &LeakRecord, open: &[&ReportedLeak]) -> Error {
    let standing: std::collections::BTreeSet<_> = open
        .iter()
        .flat_map(|leak| record.standing(leak))
        .map(|position| position.index)
        .collect();
    let words = |items: Vec<String>| items.join(", ");
    let leaks = words(open.iter().map(|leak| leak.payload.leak.to_string()).collect());
    let events = words(standing.iter().map(u64::to_string).collect());
    let mend = if ledger.is_frozen() {
        "this log is frozen and takes neither a redaction nor a withdrawal: no certificate of this erasure is given"
    } else {
        "redact them (POST /redactions, reason `personal_data`), or withdraw the report if it was mistaken (DELETE \
         /leaks/{id})"
    };
    let detail = format!(
        "a leak on record ({leaks}) says that data of people of this erasure stands in clear, in the events {events}; {mend}"
    );
    Error {
        index: standing.first().copied(),
        ..Error::new(Code::LeakNotRedacted, detail)
    }
}
