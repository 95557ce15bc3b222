//! Leaks: personal data that stands in clear, as the ledger's own events tell of it (docs/spec/08-erasure.md,
//! `leak.reported`).
//!
//! A report is settled when every body that it names was redacted, or when it was withdrawn as mistaken. Server and verifier
//! ask the same fold. Out of scope: leaks that nobody reported.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::spec::ids::{Handle, Timestamp};
use crate::spec::system::{Authority, LeakReported, Position};

/// A leak that names people of a certificate, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CertifiedLeak {
    /// The report's id.
    pub leak: Uuid,
    /// The recorded time of `leak.reported`.
    pub reported_at: Timestamp,
    /// The events of which it names bodies.
    pub events: Vec<u64>,
    /// How it ended.
    pub outcome: LeakOutcome,
    /// When: the recorded time of the last `bodies.redacted`, or of `leak.withdrawn`.
    pub settled_at: Timestamp,
}

/// A leak of a frozen log that names people of a certificate. The log that goes on has none of its events: it stands on the
/// word of the certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrozenLeak {
    /// The report's id.
    pub leak: Uuid,
    /// The recorded time of `leak.reported`.
    pub reported_at: Timestamp,
    /// The events of the frozen log of which it names bodies.
    pub events: Vec<u64>,
    /// How it ended; absent: it did not, and the bodies stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<LeakOutcome>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
}

/// How a report of a leak ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeakOutcome {
    /// Every body that it names was redacted.
    Redacted,
    /// It was mistaken.
    Withdrawn,
}

impl fmt::Display for LeakOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redacted => "redacted",
            Self::Withdrawn => "withdrawn",
        })
    }
}

/// A report of a leak as the ledger has it.
#[derive(Debug, Clone)]
pub struct ReportedLeak {
    /// The index of `leak.reported`.
    pub index: u64,
    /// Its recorded time.
    pub reported_at: Timestamp,
    /// What it says.
    pub payload: LeakReported,
}

impl ReportedLeak {
    /// The events of which it names bodies, each once, ascending.
    pub fn events(&self) -> Vec<u64> {
        let indexes: BTreeSet<_> = self.payload.positions.iter().map(|position| position.index).collect();
        indexes.into_iter().collect()
    }

    /// Whether it names one of these people.
    pub fn names(&self, handles: &[Handle]) -> bool {
        let mut named = self.payload.handles.iter().flatten();
        named.any(|handle| handles.contains(handle))
    }
}

/// How a report ended, and by which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// How.
    pub outcome: LeakOutcome,
    /// When.
    pub at: Timestamp,
    /// The events that say so.
    pub by: BTreeSet<u64>,
}

/// An event that says something of leaks: its index and recorded time.
type Said = (u64, Timestamp);

/// All that events tell of leaks.
#[derive(Debug, Clone, Default)]
pub struct LeakRecord {
    reported: Vec<ReportedLeak>,
    redacted: BTreeMap<Position, Said>,
    withdrawn: BTreeMap<Uuid, Said>,
}

impl LeakRecord {
    /// Takes an event's word; in any order.
    pub fn add(&mut self, index: u64, recorded_at: Timestamp, authority: &Authority) {
        let said = (index, recorded_at);
        match authority {
            Authority::LeakReported(payload) => self.reported.push(ReportedLeak {
                index,
                reported_at: recorded_at,
                payload: payload.clone(),
            }),
            Authority::LeakWithdrawn(withdrawn) => drop(self.withdrawn.entry(withdrawn.leak).or_insert(said)),
            Authority::Redacted(redacted) => {
                for position in &redacted.positions {
                    self.redacted.entry(*position).or_insert(said);
                }
            }
            _ => {}
        }
    }

    /// All reports, in the order in which they came.
    pub fn reports(&self) -> &[ReportedLeak] {
        &self.reported
    }

    /// How a report ended; `None`: bodies that it names stand.
    pub fn settled(&self, leak: &ReportedLeak) -> Option<Settled> {
        if let Some((index, at)) = self.withdrawn.get(&leak.payload.leak) {
            return Some(Settled {
                outcome: LeakOutcome::Withdrawn,
                at: *at,
                by: BTreeSet::from([*index]),
            });
        }
        let positions = leak.payload.positions.iter();
        let removals: Option<Vec<Said>> = positions.map(|position| self.redacted.get(position).copied()).collect();
        let removals = removals?;
        Some(Settled {
            outcome: LeakOutcome::Redacted,
            at: removals.iter().map(|(_, at)| *at).max()?,
            by: removals.into_iter().map(|(index, _)| index).collect(),
        })
    }

    /// The bodies that a report names and that nothing removed, whatever became of the report.
    pub fn standing(&self, leak: &ReportedLeak) -> Vec<Position> {
        let positions = leak.payload.positions.iter().copied();
        positions
            .filter(|position| !self.redacted.contains_key(position))
            .collect()
    }

    /// The settled reports that name these people, as a certificate lists them.
    ///
    /// # Errors
    /// The reports that are not settled.
    pub fn certified(&self, handles: &[Handle]) -> Result<Vec<CertifiedLeak>, Vec<&ReportedLeak>> {
        let (mut settled, mut open) = (Vec::new(), Vec::new());
        for leak in self.reported.iter().filter(|leak| leak.names(handles)) {
            match self.settled(leak) {
                Some(end) => settled.push(CertifiedLeak {
                    leak: leak.payload.leak,
                    reported_at: leak.reported_at,
                    events: leak.events(),
                    outcome: end.outcome,
                    settled_at: end.at,
                }),
                None => open.push(leak),
            }
        }
        if open.is_empty() { Ok(settled) } else { Err(open) }
    }

    /// The reports of a frozen log that name these people, however they ended.
    pub fn frozen(&self, handles: &[Handle]) -> Vec<FrozenLeak> {
        let about = self.reported.iter().filter(|leak| leak.names(handles));
        about
            .map(|leak| {
                let end = self.settled(leak);
                FrozenLeak {
                    leak: leak.payload.leak,
                    reported_at: leak.reported_at,
                    events: leak.events(),
                    outcome: end.as_ref().map(|end| end.outcome),
                    settled_at: end.map(|end| end.at),
                }
            })
            .collect()
    }

    /// The events that tell of the reports which name these people: evidence of a certificate.
    pub fn evidence(&self, handles: &[Handle]) -> BTreeSet<u64> {
        let about = self.reported.iter().filter(|leak| leak.names(handles));
        about
            .flat_map(|leak| {
                let end = self.settled(leak).map(|end| end.by).unwrap_or_default();
                end.into_iter().chain([leak.index])
            })
            .collect()
    }

    /// Reports among the first `size` events that name nobody and were not settled by then.
    pub fn nameless(&self, size: u64) -> u64 {
        let nameless = |leak: &&ReportedLeak| leak.payload.handles.as_ref().is_none_or(Vec::is_empty);
        let known = self.reported.iter().filter(|leak| leak.index < size);
        let settled = |leak: &ReportedLeak| {
            let end = self.settled(leak);
            end.is_some_and(|end| end.by.iter().all(|index| *index < size))
        };
        known.filter(nameless).filter(|leak| !settled(leak)).count() as u64
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::system::{BodiesRedacted, LeakWithdrawn};
    use crate::spec::testing::ADA;

    fn reported(leak: u128, positions: &[(u64, u16)], handles: Option<Vec<Handle>>) -> Authority {
        Authority::LeakReported(LeakReported {
            leak: Uuid::from_u128(leak),
            positions: positions.iter().copied().map(Into::into).collect(),
            handles,
        })
    }

    fn redacted(positions: &[(u64, u16)]) -> Authority {
        Authority::Redacted(BodiesRedacted {
            ground: "personal_data".into(),
            positions: positions.iter().copied().map(Into::into).collect(),
        })
    }

    fn record(events: &[Authority]) -> LeakRecord {
        let mut record = LeakRecord::default();
        for (index, authority) in (10..).zip(events) {
            record.add(index, Timestamp(index), authority);
        }
        record
    }

    #[test]
    fn a_leak_is_settled_when_every_body_is_redacted_or_it_was_withdrawn() {
        let leak = || reported(1, &[(3, 0), (3, 1), (5, 1)], Some(vec![ADA]));
        let open = record(&[leak(), redacted(&[(3, 0), (3, 1)])]);
        let standing = open.certified(&[ADA]).unwrap_err();
        assert_eq!(
            (standing.len(), open.standing(standing.first().unwrap())),
            (1, vec![(5, 1).into()])
        );
        let done = record(&[leak(), redacted(&[(3, 0), (3, 1)]), redacted(&[(5, 1)])]);
        let certified = done.certified(&[ADA]).unwrap();
        let one = certified.first().unwrap();
        assert_eq!(
            (one.outcome, one.settled_at, one.events.as_slice()),
            (LeakOutcome::Redacted, Timestamp(12), [3, 5].as_slice())
        );
        assert_eq!(Vec::from_iter(done.evidence(&[ADA])), [10, 11, 12]);
        let withdrawn = Authority::LeakWithdrawn(LeakWithdrawn {
            leak: Uuid::from_u128(1),
        });
        let mistaken = record(&[leak(), withdrawn]);
        let certified = mistaken.certified(&[ADA]).unwrap();
        assert_eq!(certified.first().unwrap().outcome, LeakOutcome::Withdrawn);
    }

    #[test]
    fn a_leak_of_another_person_or_of_nobody_stands_in_no_ones_way() {
        let other = Handle([9; 16]);
        let record = record(&[
            reported(1, &[(3, 1)], Some(vec![other])),
            reported(2, &[(4, 1)], None),
            reported(3, &[(5, 1)], Some(Vec::new())),
            redacted(&[(5, 1)]),
        ]);
        assert!(record.certified(&[ADA]).unwrap().is_empty());
        assert!(record.certified(&[other]).is_err() && record.evidence(&[ADA]).is_empty());
        assert_eq!(
            (record.nameless(11), record.nameless(13), record.nameless(14)),
            (0, 2, 1)
        );
    }
}
