//! Planning: what waits becomes a group of headers, or refusals. Pure: no store, no clock, no key.
//!
//! The state runs ahead of the store: it already holds what earlier groups planned, whether or not they are durable yet.
//! That is sound because a group is answered only after everything before it was committed, and a failed commit throws
//! the whole state away.

use std::collections::HashMap;
use std::ops::Range;

use uuid::Uuid;

use super::fences::Fences;
use super::{Append, ExpectedVersion, NewEvent, Refusal, View};
use crate::spec::edge::Edge;
use crate::spec::event::{BodyKind, Commitment, Header, MAX_HEADER};
use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::ids::{StreamName, StreamRef, Timestamp};
use crate::store::{Head, HeaderRow, LedgerRecord, Removal, SequencedEvent, StreamRow};

/// Stream rows kept in memory, per ledger.
const MAX_STREAMS: usize = 65_536;

/// A stream row and the index of its last event, planned or stored.
#[derive(Debug, Clone, Copy)]
struct KnownStream {
    row: StreamRow,
    last_index: u64,
}

/// A ledger as planned so far.
pub(super) struct LedgerState {
    pub(super) ledger: LedgerRecord,
    pub(super) head: Option<Head>,
    pub(super) edge: Edge,
    pub(super) fences: Fences,
    streams: HashMap<StreamName, KnownStream>,
    taken: HashMap<Uuid, u64>,
}

/// What the store knew, read before planning, of the ids and streams that [`LedgerState::unknown`] named.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) ids: HashMap<Uuid, u64>,
    pub(super) streams: HashMap<StreamName, StreamRow>,
}

/// A planned event, still without signature.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) event: SequencedEvent,
    pub(super) leaf_hash: Hash,
    pub(super) recorded_at: Timestamp,
}

/// A ledger's part of the next group.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) events: Vec<Planned>,
    /// For each append, in order: its events, or why not.
    pub(super) answers: Vec<Result<Range<usize>, Refusal>>,
    /// Name rows of the streams that grew.
    pub(super) streams: HashMap<StreamName, StreamRow>,
    /// Bodies that leave, each with the leaf index of its authority.
    pub(super) removals: Vec<(u64, Removal)>,
}

impl LedgerState {
    pub(super) fn new(view: &View) -> Self {
        Self {
            ledger: view.ledger.clone(),
            head: view.head,
            edge: view.edge.clone(),
            fences: Fences::default(),
            streams: HashMap::new(),
            taken: HashMap::new(),
        }
    }

    /// Forgets what the store now answers: ids, tiles, and streams beyond the bound. `committed` is the durable size.
    pub(super) fn retire(&mut self, committed: u64) {
        self.edge.retire(committed);
        if !self.taken.is_empty() {
            self.taken.retain(|_, index| *index >= committed);
        }
        if self.streams.len() > MAX_STREAMS {
            self.streams.retain(|_, stream| stream.last_index >= committed);
        }
    }

    /// The ids and streams that must be looked up in the store before these appends can be planned.
    pub(super) fn unknown<'a>(
        &self,
        appends: impl Iterator<Item = &'a Append> + Clone,
    ) -> (Vec<Uuid>, Vec<StreamName>) {
        let events = appends.clone().flat_map(|append| &append.events);
        let ids = events.filter(|event| event.caller_chose_id).map(|event| event.meta.id);
        let ids: Vec<_> = ids.filter(|id| !self.taken.contains_key(id)).collect();
        let named = appends
            .clone()
            .flat_map(|append| append.expected.iter().map(|(name, _)| name));
        let used = appends.flat_map(|append| append.events.iter().map(|event| &event.meta.stream));
        let mut streams: Vec<_> = named
            .chain(used)
            .filter(|name| !self.streams.contains_key(*name))
            .collect();
        streams.sort_unstable();
        streams.dedup();
        (ids, streams.into_iter().cloned().collect())
    }

    /// Plans appends in order, each as a whole or not at all.
    pub(super) fn plan(
        &mut self,
        appends: impl Iterator<Item = Append>,
        known: Known,
        now: Timestamp,
        mint: &mut dyn FnMut() -> StreamRef,
    ) -> Plan {
        for (name, row) in known.streams {
            self.streams.entry(name).or_insert(KnownStream { row, last_index: 0 });
        }
        let mut plan = Plan::default();
        for append in appends {
            let answer = self.check(&append, &known.ids).map(|()| {
                let first = plan.events.len();
                self.remove(append.removals, &mut plan);
                append.fences.into_iter().for_each(|fence| self.fences.add(fence));
                for event in append.events {
                    let planned = self.place(event, now, mint, &mut plan.streams);
                    plan.events.push(planned);
                }
                first..plan.events.len()
            });
            plan.answers.push(answer);
        }
        plan
    }

    fn check(&self, append: &Append, stored: &HashMap<Uuid, u64>) -> Result<(), Refusal> {
        self.check_ids(append, stored)?;
        for (stream, expected) in &append.expected {
            let current = self.streams.get(stream).map_or(0, |known| known.row.version);
            let fits = match expected {
                ExpectedVersion::Any => true,
                ExpectedVersion::NoStream => current == 0,
                ExpectedVersion::StreamExists => current > 0,
                ExpectedVersion::Exactly(version) => current == *version,
            };
            if !fits {
                return Err(Refusal::WrongExpectedVersion {
                    stream: stream.clone(),
                    current,
                });
            }
        }
        self.check_removals(append)?;
        append.events.iter().try_for_each(|event| self.check_event(event))
    }

    fn check_removals(&self, append: &Append) -> Result<(), Refusal> {
        let size = self.head.map_or(0, |head| head.size);
        let sound = append.removals.iter().all(|removal| removal.index < size) && !append.events.is_empty();
        if sound || append.removals.is_empty() {
            Ok(())
        } else {
            Err(Refusal::RemovalAhead)
        }
    }

    /// An id that is taken is told before a wrong version: an exact retry must find its first answer.
    fn check_ids(&self, append: &Append, stored: &HashMap<Uuid, u64>) -> Result<(), Refusal> {
        let mut seen = HashMap::with_capacity(append.events.len());
        for event in append.events.iter().filter(|event| event.caller_chose_id) {
            if seen.insert(event.meta.id, ()).is_some() {
                return Err(Refusal::IdRepeated(event.meta.id));
            }
        }
        let index = |event: &NewEvent| {
            let id = &event.meta.id;
            event
                .caller_chose_id
                .then(|| self.taken.get(id).or_else(|| stored.get(id)).copied())
                .flatten()
        };
        let taken: Vec<_> = append.events.iter().map(index).collect();
        if taken.iter().any(Option::is_some) {
            Err(Refusal::IdsTaken(taken))
        } else {
            Ok(())
        }
    }

    fn check_event(&self, event: &NewEvent) -> Result<(), Refusal> {
        let refused = event
            .subjects
            .iter()
            .find(|(handle, category)| !self.fences.allow(*handle, category.as_ref()));
        if let Some((handle, _)) = refused {
            return Err(Refusal::Fenced(*handle));
        }
        // Integers and framing take at most 200 bytes; each commitment 37.
        let names = self.ledger.origin.as_str().len() + event.event_type.as_str().len();
        if 200 + names + 37 * event.bodies.len() > MAX_HEADER {
            Err(Refusal::HeaderTooLong)
        } else {
            Ok(())
        }
    }

    /// The next event is the authority. A stream that nothing names any more begins anew with its next event.
    fn remove(&mut self, removals: Vec<Removal>, plan: &mut Plan) {
        let authority = self.head.map_or(0, |head| head.size);
        for removal in removals {
            if let Some(name) = &removal.stream {
                self.streams.remove(name);
                plan.streams.remove(name);
            }
            plan.removals.push((authority, removal));
        }
    }

    fn place(
        &mut self,
        event: NewEvent,
        now: Timestamp,
        mint: &mut dyn FnMut() -> StreamRef,
        grown: &mut HashMap<StreamName, StreamRow>,
    ) -> Planned {
        let index = self.head.map_or(0, |head| head.size);
        let recorded_at = now.max(self.head.map_or(now, |head| head.recorded_at));
        let row = self.grow(&event.meta.stream, index, mint);
        grown.insert(event.meta.stream.clone(), row);
        let commitment = |(body, hash): &(crate::spec::event::Body, Hash)| Commitment {
            kind: body.kind,
            hash: *hash,
        };
        let header = Header {
            origin: self.ledger.origin.clone(),
            index,
            previous: self.head.map(|head| head.last),
            event_ref: event.event_ref,
            stream_ref: row.stream_ref,
            stream_version: row.version,
            event_type: event.event_type,
            schema_version: event.schema_version,
            recorded_at,
            bodies: event.bodies.iter().map(commitment).collect(),
        };
        let bytes = header.encode();
        let last = leaf_hash(&bytes);
        self.edge.append(last);
        self.head = Some(Head {
            size: index + 1,
            last,
            recorded_at,
        });
        if event.caller_chose_id {
            self.taken.insert(event.meta.id, index); // nobody knows a fresh id before it is durable
        }
        let mut handles: Vec<_> = event.subjects.iter().map(|(handle, _)| *handle).collect();
        handles.sort_unstable();
        handles.dedup();
        let bodies = event
            .bodies
            .into_iter()
            .map(|(body, _)| (body.kind, body.salt, body.bytes));
        let event = SequencedEvent {
            row: HeaderRow {
                index,
                header: bytes,
                signature: Vec::new(),
            },
            bodies: bodies.collect::<Vec<(BodyKind, _, _)>>(),
            meta: event.meta,
            event_type: header.event_type,
            stream_ref: row.stream_ref,
            stream_version: row.version,
            handles,
        };
        Planned {
            event,
            leaf_hash: last,
            recorded_at,
        }
    }

    fn grow(&mut self, name: &StreamName, index: u64, mint: &mut dyn FnMut() -> StreamRef) -> StreamRow {
        if let Some(known) = self.streams.get_mut(name) {
            known.row.version += 1;
            known.last_index = index;
            return known.row;
        }
        let row = StreamRow {
            stream_ref: mint(),
            version: 1,
        };
        self.streams
            .insert(name.clone(), KnownStream { row, last_index: index });
        row
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::sequencer::Fence;
    use crate::spec::event::{Body, Meta};
    use crate::spec::ids::{Category, EventRef, Handle, LedgerId};
    use crate::store::LedgerNumber;

    fn state() -> LedgerState {
        let ledger = LedgerRecord {
            number: LedgerNumber(1),
            id: LedgerId([0; 16]),
            name: "main".parse().unwrap(),
            origin: "o.example/m".parse().unwrap(),
        };
        LedgerState::new(&View {
            ledger,
            head: None,
            edge: Edge::new(),
            checkpoint: String::new(),
        })
    }

    fn event(stream: &str, id: u8) -> NewEvent {
        let meta = Meta::new(Uuid::from_bytes([id; 16]), stream.parse().unwrap());
        let body = Body {
            kind: BodyKind::Meta,
            salt: [id; 32],
            bytes: meta.encode(),
        };
        let hash = body.commitment().hash;
        NewEvent {
            event_ref: EventRef([id; 16]),
            event_type: "t".parse().unwrap(),
            schema_version: 1,
            meta,
            bodies: vec![(body, hash)],
            subjects: vec![],
            caller_chose_id: true,
        }
    }

    fn append(stream: &str, ids: &[u8], expected: ExpectedVersion) -> Append {
        Append {
            ledger: LedgerNumber(1),
            expected: vec![(stream.parse().unwrap(), expected)],
            events: ids.iter().map(|id| event(stream, *id)).collect(),
            fences: vec![],
            records: vec![],
            removals: vec![],
        }
    }

    fn plan(state: &mut LedgerState, appends: Vec<Append>, now: u64) -> Plan {
        state.plan(appends.into_iter(), Known::default(), Timestamp(now), &mut || {
            StreamRef([9; 16])
        })
    }

    #[test]
    fn positions_are_gapless_and_headers_chain() {
        let mut state = state();
        let plan = plan(
            &mut state,
            vec![
                append("a", &[1, 2], ExpectedVersion::NoStream),
                append("a", &[3], ExpectedVersion::Exactly(2)),
            ],
            5,
        );
        assert_eq!(plan.answers, vec![Ok(0..2), Ok(2..3)]);
        let headers: Vec<_> = plan
            .events
            .iter()
            .map(|p| Header::decode(&p.event.row.header).unwrap())
            .collect();
        assert_eq!(
            headers.iter().map(|h| (h.index, h.stream_version)).collect::<Vec<_>>(),
            [(0, 1), (1, 2), (2, 3)]
        );
        assert_eq!(headers[1].previous, Some(plan.events[0].leaf_hash));
        assert_eq!(plan.streams[&"a".parse().unwrap()].version, 3);
        assert_eq!(state.edge.size(), 3);
    }

    #[test]
    fn a_refused_append_leaves_no_trace() {
        let mut state = state();
        plan(&mut state, vec![append("a", &[1], ExpectedVersion::Any)], 5);
        let second = plan(
            &mut state,
            vec![
                append("a", &[2], ExpectedVersion::NoStream),
                append("b", &[3], ExpectedVersion::StreamExists),
                append("a", &[4, 1], ExpectedVersion::Exactly(7)),
                append("a", &[5, 5], ExpectedVersion::Any),
            ],
            5,
        );
        assert!(matches!(
            second.answers[0],
            Err(Refusal::WrongExpectedVersion { current: 1, .. })
        ));
        assert!(matches!(
            second.answers[1],
            Err(Refusal::WrongExpectedVersion { current: 0, .. })
        ));
        assert_eq!(second.answers[2], Err(Refusal::IdsTaken(vec![None, Some(0)])));
        assert!(matches!(second.answers[3], Err(Refusal::IdRepeated(_))));
        assert_eq!(state.head.unwrap().size, 1);
    }

    #[test]
    fn recorded_time_never_decreases() {
        let mut state = state();
        plan(&mut state, vec![append("a", &[1], ExpectedVersion::Any)], 50);
        let later = plan(&mut state, vec![append("a", &[2], ExpectedVersion::Any)], 40);
        assert_eq!(
            Header::decode(&later.events[0].event.row.header).unwrap().recorded_at,
            Timestamp(50)
        );
    }

    fn removal(index: u64, stream: Option<&str>) -> Removal {
        Removal {
            index,
            ordinal: 0,
            kind: BodyKind::Meta,
            lookups: vec![],
            stream: stream.map(|name| name.parse().unwrap()),
        }
    }

    #[test]
    fn bodies_leave_with_the_event_that_says_so_and_never_ahead_of_it() {
        let mut state = state();
        plan(&mut state, vec![append("a", &[1], ExpectedVersion::Any)], 5);
        let purge = |id, index| Append {
            removals: vec![removal(index, None)],
            ..append("$purges", &[id], ExpectedVersion::Any)
        };
        let nothing = Append {
            events: vec![],
            ..purge(9, 0)
        };
        let group = vec![
            append("b", &[2], ExpectedVersion::Any),
            purge(3, 0),
            purge(4, 3),
            nothing,
        ];
        let plan = plan(&mut state, group, 5);
        assert_eq!(plan.removals, [(2, removal(0, None))]);
        assert_eq!(
            plan.answers[2..],
            [Err(Refusal::RemovalAhead), Err(Refusal::RemovalAhead)]
        );
    }

    #[test]
    fn a_stream_whose_name_leaves_begins_anew() {
        let mut state = state();
        plan(&mut state, vec![append("a", &[1], ExpectedVersion::Any)], 5);
        let redaction = Append {
            expected: vec![("a".parse().unwrap(), ExpectedVersion::Exactly(1))],
            removals: vec![removal(0, Some("a"))],
            ..append("$redactions", &[2], ExpectedVersion::Any)
        };
        let mut refs = 0;
        let group = vec![redaction, append("a", &[3], ExpectedVersion::NoStream)];
        let plan = state.plan(group.into_iter(), Known::default(), Timestamp(5), &mut || {
            refs += 1;
            StreamRef([refs; 16])
        });
        assert!(plan.answers.iter().all(Result::is_ok), "{:?}", plan.answers);
        let row = plan.streams[&"a".parse().unwrap()];
        assert_eq!((row.version, row.stream_ref), (1, StreamRef([2; 16])));
    }

    #[test]
    fn a_block_sealed_before_the_fence_and_sequenced_after_is_refused() {
        let mut state = state();
        let handle = Handle([7; 16]);
        let mut request = append("$erasures", &[1], ExpectedVersion::Any);
        request.fences = vec![Fence {
            handle,
            categories: None,
        }];
        let mut late = append("a", &[2], ExpectedVersion::Any);
        late.events[0].subjects = vec![(handle, Some(Category::default()))];
        let plan = plan(&mut state, vec![request, late], 5);
        assert_eq!(plan.answers, vec![Ok(0..1), Err(Refusal::Fenced(handle))]);
    }
}
