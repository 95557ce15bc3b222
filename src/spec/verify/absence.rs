//! Bodies that are not there, and the events that excuse it.
//!
//! A missing body is erased, purged or redacted only if an event after it, in the verified prefix, is the authority and
//! names its position:
//!
//! | authority | kind | state |
//! | --- | --- | --- |
//! | `bodies.purged`, ground erasure, naming an `erasure.requested` before it | sealed | erased |
//! | the same | meta, data | purged: they stood beside the person's data |
//! | `bodies.purged`, ground retention | any | purged |
//! | `bodies.redacted` | any | redacted |
//! | none | any | missing, which is tampering |
//!
//! *Erased* wins over the others, else the first excuse counts. A body that is there although an event removed it
//! contradicts that event. That a block belonged to the erased person cannot be checked once it is gone.

use std::collections::{BTreeMap, HashSet};

use uuid::Uuid;

use crate::spec::event::BodyKind;
use crate::spec::report::{Bodies, Finding, FindingCode, Findings};
use crate::spec::system::{Authority, Ground, Position};

use super::examine::place;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Excuse {
    None,
    Redacted,
    Purged,
    Erased,
}

#[derive(Debug, Clone, Copy)]
struct Absent {
    kind: BodyKind,
    excuse: Excuse,
}

/// All absent bodies seen so far, some 30 bytes each in whatever order they come, and the erasures that were requested.
#[derive(Debug, Default)]
pub(super) struct Absences {
    absent: BTreeMap<Position, Absent>,
    /// Ranges of indexes whose bodies are not known: `first..end`, ascending.
    unknown: Vec<(u64, u64)>,
    requests: HashSet<Uuid>,
}

impl Absences {
    /// Notes an absent body.
    pub(super) fn push(&mut self, position: Position, kind: BodyKind) {
        let excuse = Excuse::None;
        self.absent.entry(position).or_insert(Absent { kind, excuse });
    }

    /// Notes indexes of which no bodies are known, since the events are left out or cannot be read.
    pub(super) fn push_unknown(&mut self, first: u64, end: u64) {
        match self.unknown.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => self.unknown.push((first, end)),
        }
    }

    fn is_unknown(&self, index: u64) -> bool {
        let after = self.unknown.partition_point(|(first, _)| *first <= index);
        after
            .checked_sub(1)
            .and_then(|at| self.unknown.get(at))
            .is_some_and(|(_, end)| index < *end)
    }

    /// Lets the event at `index` excuse what it names.
    pub(super) fn apply(&mut self, index: u64, authority: &Authority, findings: &mut Findings) {
        match authority {
            Authority::ErasureRequested(request) => {
                self.requests.insert(request.request);
            }
            Authority::Purged(purged) => {
                let mut requests = purged.requests.iter().flatten();
                if let Some(request) = requests.find(|request| !self.requests.contains(request)) {
                    return findings.push(unknown_request(index, request));
                }
                self.excuse_all(index, &purged.positions, findings, |kind| match (purged.ground, kind) {
                    (Ground::Erasure, BodyKind::Sealed) => Excuse::Erased,
                    _ => Excuse::Purged,
                });
            }
            Authority::Redacted(redacted) => {
                self.excuse_all(index, &redacted.positions, findings, |_| Excuse::Redacted);
            }
            Authority::ResidueRemoved(removed) => {
                if !self.requests.contains(&removed.request) {
                    findings.push(unknown_request(index, &removed.request));
                }
            }
            Authority::ErasureCompleted(_)
            | Authority::ErasureRecovered(_)
            | Authority::EpochDestroyed(_)
            | Authority::LeakReported(_)
            | Authority::LeakWithdrawn(_)
            | Authority::Nothing => {}
        }
    }

    /// Lets an event beyond the verified prefix excuse what it names and is absent: bodies that left the store while it was
    /// being read. What was still there when it was read contradicts nothing.
    pub(super) fn apply_late(&mut self, authority: &Authority) {
        match authority {
            Authority::Purged(purged) => {
                let erasure = purged.ground == Ground::Erasure;
                for position in &purged.positions {
                    self.excuse(position, |kind| match kind {
                        BodyKind::Sealed if erasure => Excuse::Erased,
                        _ => Excuse::Purged,
                    });
                }
            }
            Authority::Redacted(redacted) => {
                for position in &redacted.positions {
                    self.excuse(position, |_| Excuse::Redacted);
                }
            }
            _ => {}
        }
    }

    /// Whether the position is of an absent body.
    fn excuse(&mut self, position: &Position, excuse: impl Fn(BodyKind) -> Excuse) -> bool {
        let Some(absent) = self.absent.get_mut(position) else {
            return false;
        };
        let excuse = excuse(absent.kind);
        if absent.excuse == Excuse::None || excuse == Excuse::Erased {
            absent.excuse = excuse;
        }
        true
    }

    fn excuse_all(
        &mut self,
        index: u64,
        positions: &[Position],
        findings: &mut Findings,
        excuse: impl Fn(BodyKind) -> Excuse,
    ) {
        for position in positions {
            if !self.excuse(position, &excuse) && !self.is_unknown(position.index) {
                findings.push(Finding::new(
                    Some(position.index),
                    format!("body {}", position.ordinal),
                    FindingCode::PurgedButPresent,
                    format!("absent, since event {index} records its removal"),
                    "present, or never there",
                ));
            }
        }
    }

    /// Counts what became of the bodies and reports what nothing excuses. If the end was not read, an excuse may be there.
    pub(super) fn close(self, whole: bool, bodies: &mut Bodies, findings: &mut Findings) {
        let (code, expected) = match whole {
            true => (FindingCode::Missing, "present, or removed by an event that names it"),
            false => (
                FindingCode::MissingUnresolved,
                "present, or removed by an event that was read",
            ),
        };
        for (Position { index, ordinal }, absent) in self.absent {
            match absent.excuse {
                Excuse::Erased => bodies.erased += 1,
                Excuse::Purged => bodies.purged += 1,
                Excuse::Redacted => bodies.redacted += 1,
                Excuse::None => {
                    bodies.missing += 1;
                    findings.push(Finding::new(
                        Some(index),
                        place(absent.kind, ordinal),
                        code,
                        expected,
                        "absent",
                    ));
                }
            }
        }
    }
}

fn unknown_request(index: u64, request: &Uuid) -> Finding {
    let expected = "the request id of an erasure.requested before it";
    Finding::new(Some(index), "data", FindingCode::AuthorityInvalid, expected, request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_bodies_in_descending_order_cost_no_more() {
        let (mut absences, mut bodies, mut findings) = (Absences::default(), Bodies::default(), Findings::default());
        for index in (0..1_000_000).rev() {
            absences.push(Position { index, ordinal: 0 }, BodyKind::Meta);
        }
        absences.push(Position { index: 7, ordinal: 0 }, BodyKind::Meta);
        absences.close(true, &mut bodies, &mut findings);
        assert_eq!((bodies.missing, findings.count()), (1_000_000, 1_000_000));
    }
}
