//! Whom the data of erased people went to, as far as the ledger recorded it (GDPR Art. 19).
//!
//! One pass over the records of reveals and downloads. What is counted stands before `erasure.completed`, so it is the same at
//! every request, and is kept; by then access was fenced.

use std::collections::{BTreeMap, HashMap, HashSet};

use parking_lot::Mutex;
use serde::Deserialize;
use uuid::Uuid;

use super::super::own::recorded;
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use super::history::Erasure;
use super::payload::Requested;
use crate::spec::certificate::{Disclosed, Disclosure, Recipients};
use crate::spec::ids::{Handle, Origin, Timestamp};

const REVEALS: &str = "$reveals";
const EXPORTS: &str = "$exports";
const DOWNLOADED: &str = "export.downloaded";
/// Erasures whose recipients are kept in memory.
const MAX_KNOWN: usize = 256;
/// API keys that a certificate lists.
const MAX_LISTED: usize = 1_000;

const TEXT: &str = "As far as the ledger knows: API keys that opened data of these people before access was fenced (reads, states, \
                    answers to the person), and keys that took exports with personal data opened, of which it is not recorded \
                    whose data was in them. What a caller did with it, and who reads what it was copied into, is not known here. \
                    The words named with the request are the requester's own. Whether anybody was notified is not recorded.";

/// The payload of `personal_data.revealed`.
#[derive(Deserialize)]
struct Revealed {
    key: Box<str>,
    roles: Vec<Box<str>>,
    handles: Vec<Handle>,
    #[serde(default)]
    origin: Option<Origin>,
}

/// The payload of `export.downloaded`.
#[derive(Deserialize)]
struct Downloaded {
    by: Box<str>,
    roles: Vec<Box<str>>,
    #[serde(default)]
    reveal: bool,
    #[serde(default)]
    origin: Option<Origin>,
}

/// One record of data that left in clear.
struct Seen {
    /// Where it stands, if it is in the log that records the erasure.
    index: Option<u64>,
    at: Timestamp,
    what: Disclosed,
    key: Box<str>,
    roles: Vec<Box<str>>,
    /// Those of the people asked about whose data it was; empty for an export.
    handles: Vec<Handle>,
    origin: Option<Origin>,
}

/// The recipients of the erasures that were asked about last, with the index of the completion up to which they count.
#[derive(Debug, Default)]
pub(crate) struct KnownRecipients(Mutex<BTreeMap<Uuid, (u64, Recipients)>>);

impl KnownRecipients {
    /// Ids are in the order of time: the oldest erasure leaves first.
    fn keep(&self, request: Uuid, completed: u64, recipients: &Recipients) {
        let mut known = self.0.lock();
        known.insert(request, (completed, recipients.clone()));
        while known.len() > MAX_KNOWN {
            known.pop_first();
        }
    }
}

/// What the records tell of some people.
#[derive(Default)]
pub(super) struct Disclosures {
    seen: Vec<Seen>,
    /// Records that are damaged, as [`Seen::index`].
    unreadable: Vec<Option<u64>>,
}

impl Disclosures {
    /// The recipients of an erasure that was completed at an index.
    pub(super) fn of(&self, requested: &Requested, completed: u64) -> Recipients {
        let named: HashSet<_> = requested.subjects.iter().map(|named| named.handle).collect();
        let before = |index: &Option<u64>| index.is_none_or(|index| index < completed);
        let about = |seen: &&Seen| {
            let theirs = seen.what == Disclosed::Exported || seen.handles.iter().any(|handle| named.contains(handle));
            before(&seen.index) && theirs
        };
        let mut by_key: BTreeMap<(Disclosed, &str), Disclosure> = BTreeMap::new();
        for seen in self.seen.iter().filter(about) {
            let line = by_key.entry((seen.what, &seen.key)).or_insert_with(|| Disclosure {
                what: seen.what,
                key: seen.key.clone(),
                roles: Vec::new(),
                times: 0,
                first_at: seen.at,
                last_at: seen.at,
            });
            line.times += 1;
            line.first_at = line.first_at.min(seen.at);
            if seen.at >= line.last_at {
                line.last_at = seen.at;
                line.roles.clone_from(&seen.roles);
            }
        }
        let all = by_key.len();
        Recipients {
            named: requested.recipients.clone().unwrap_or_default(),
            disclosed: by_key.into_values().take(MAX_LISTED).collect(),
            omitted: all.saturating_sub(MAX_LISTED) as u64,
            unreadable: self.unreadable.iter().filter(|index| before(index)).count() as u64,
            text: TEXT.into(),
        }
    }

    fn add(&mut self, index: Option<u64>, event: &StoredEvent, wanted: &HashSet<Handle>) -> Result<(), Error> {
        let at = event.header.recorded_at;
        if event.header.event_type.as_str() == DOWNLOADED {
            let payload = recorded::<Downloaded>(event)?.payload;
            if payload.reveal {
                self.seen.push(Seen {
                    index,
                    at,
                    what: Disclosed::Exported,
                    key: payload.by,
                    roles: payload.roles,
                    handles: Vec::new(),
                    origin: payload.origin,
                });
            }
            return Ok(());
        }
        let payload = recorded::<Revealed>(event)?.payload;
        let handles: Vec<_> = payload
            .handles
            .into_iter()
            .filter(|handle| wanted.contains(handle))
            .collect();
        if !handles.is_empty() {
            self.seen.push(Seen {
                index,
                at,
                what: Disclosed::Revealed,
                key: payload.key,
                roles: payload.roles,
                handles,
                origin: payload.origin,
            });
        }
        Ok(())
    }
}

impl Service {
    /// To whom the data went of the people of each erasure that is completed.
    pub(super) fn recipients(&self, log: &Ledger, erasures: &[Erasure]) -> Result<HashMap<Uuid, Recipients>, Error> {
        let mut found = HashMap::new();
        let mut unknown: HashMap<Option<&Origin>, Vec<(&Requested, u64)>> = HashMap::new();
        for erasure in erasures {
            let (requested, completed) = (&erasure.requested.payload, &erasure.completed);
            let Some(completed) = completed.as_ref().map(|completed| completed.index) else {
                continue;
            };
            match log.recipients.0.lock().get(&requested.request) {
                Some((index, known)) if *index == completed => {
                    found.insert(requested.request, known.clone());
                }
                _ => unknown
                    .entry(requested.origin.as_ref())
                    .or_default()
                    .push((requested, completed)),
            }
        }
        for (covers, requests) in unknown {
            let named = requests.iter().flat_map(|(requested, _)| &requested.subjects);
            let wanted = named.map(|named| named.handle).collect();
            let disclosures = self.disclosures(log, covers, &wanted)?;
            for (requested, completed) in requests {
                let recipients = disclosures.of(requested, completed);
                log.recipients.keep(requested.request, completed, &recipients);
                found.insert(requested.request, recipients);
            }
        }
        Ok(found)
    }

    /// Reads the records about people of a log, or of the frozen log that it goes on from.
    fn disclosures(
        &self,
        log: &Ledger,
        covers: Option<&Origin>,
        wanted: &HashSet<Handle>,
    ) -> Result<Disclosures, Error> {
        let mut disclosures = Disclosures::default();
        let ledgers = self.all_ledgers();
        let frozen = covers.and_then(|covers| ledgers.iter().find(|ledger| ledger.record.origin == *covers));
        if let Some(frozen) = frozen {
            self.read_disclosures(frozen, false, wanted, &mut disclosures)?;
            for seen in &mut disclosures.seen {
                seen.origin.get_or_insert_with(|| frozen.record.origin.clone());
            }
            // Between the frozen log and this one others may have gone on, and been frozen, too.
            let between = frozen
                .heirs()
                .take_while(|heir| heir.record.number != log.record.number);
            for heir in between {
                self.read_disclosures(heir, false, wanted, &mut disclosures)?;
            }
        }
        self.read_disclosures(log, true, wanted, &mut disclosures)?;
        // What a log records of another one's people names that.
        disclosures.seen.retain(|seen| seen.origin.as_ref() == covers);
        Ok(disclosures)
    }

    fn read_disclosures(
        &self,
        log: &Ledger,
        recording: bool,
        wanted: &HashSet<Handle>,
        found: &mut Disclosures,
    ) -> Result<(), Error> {
        for stream in [REVEALS, EXPORTS] {
            for index in self.own_indexes(log, stream, 0)? {
                let place = recording.then_some(index);
                let event = self.stored_event(log, index);
                let wants = |event: &StoredEvent| stream == REVEALS || event.header.event_type.as_str() == DOWNLOADED;
                let read = event.and_then(|event| match wants(&event) {
                    true => found.add(place, &event, wanted),
                    false => Ok(()),
                });
                match read {
                    Err(error) if error.code == Code::Damaged => found.unreadable.push(place),
                    read => read?,
                }
            }
        }
        Ok(())
    }
}
