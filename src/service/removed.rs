//! Bodies that are not there: removed by an event that says so, or missing.
//!
//! The store names the event that is the authority for each body that was removed; that event is read and must name the
//! position. Removal and authority are one write, so whoever finds a body gone finds its authority, too, even where the
//! authority stands beyond the head that readers see. What nothing excuses is missing: run a verification.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::access::internal;
use super::verify::read_records;
use super::{Error, Ledger, Service};
use crate::spec::event::{BodyKind, Header, Meta};
use crate::spec::system::{Authority, Ground, Position, SystemType};

/// Authorities that are kept in memory, per ledger: some 200 kB each at the most.
const KEPT: usize = 16;

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// With the person's keys.
    Erased,
    /// By retention, or beside an erased person's data.
    Purged,
    /// It should not have been written.
    Redacted,
}

impl Removal {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Erased => "erased",
            Self::Purged => "purged",
            Self::Redacted => "redacted",
        }
    }
}

/// A body that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Removed {
    pub(crate) removal: Removal,
    /// Leaf index of the event that is the authority.
    pub(crate) authority: u64,
}

/// What an event authorised.
#[derive(Debug)]
struct Authorised {
    ground: Option<Ground>,
    positions: HashSet<Position>,
}

impl Authorised {
    fn removal(&self, position: Position, kind: BodyKind) -> Option<Removal> {
        self.positions.contains(&position).then_some(match (self.ground, kind) {
            (Some(Ground::Erasure), BodyKind::Sealed) => Removal::Erased,
            (Some(_), _) => Removal::Purged,
            (None, _) => Removal::Redacted,
        })
    }
}

/// The authorities that were read last.
#[derive(Debug, Default)]
pub(crate) struct Authorities(Mutex<BTreeMap<u64, Arc<Authorised>>>);

impl Service {
    /// What became of bodies that are not there, by place; those that nothing excuses are left out.
    pub(crate) fn removed(
        &self,
        ledger: &Ledger,
        absent: &[(u64, u16, BodyKind)],
    ) -> Result<HashMap<(u64, u16), Removed>, Error> {
        let mut removed = HashMap::new();
        if absent.is_empty() {
            return Ok(removed);
        }
        let places: Vec<_> = absent.iter().map(|(index, ordinal, _)| (*index, *ordinal)).collect();
        let authorities = self.store.removed(ledger.record.number, &places)?;
        for ((index, ordinal, kind), authority) in absent.iter().zip(authorities) {
            let Some(authority) = authority else { continue };
            let position = Position::from((*index, *ordinal));
            let authorised = self.authorised(ledger, authority)?;
            let removal = authorised.and_then(|authorised| authorised.removal(position, *kind));
            if let Some(removal) = removal.filter(|_| authority > *index) {
                removed.insert((*index, *ordinal), Removed { removal, authority });
            }
        }
        Ok(removed)
    }

    /// What the event at an index authorised; `None` for one that authorises no removal.
    fn authorised(&self, ledger: &Ledger, index: u64) -> Result<Option<Arc<Authorised>>, Error> {
        if let Some(known) = ledger.authorities.0.lock().get(&index) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some(authorised) = self.read_authority(ledger, index)?.map(Arc::new) else {
            return Ok(None);
        };
        let mut kept = ledger.authorities.0.lock();
        kept.insert(index, Arc::clone(&authorised));
        while kept.len() > KEPT {
            kept.pop_first();
        }
        Ok(Some(authorised))
    }

    fn read_authority(&self, ledger: &Ledger, index: u64) -> Result<Option<Authorised>, Error> {
        let Some(record) = read_records(&*self.store, ledger.record.number, index..index + 1)?.pop() else {
            return Ok(None);
        };
        let header = Header::decode(&record.header).map_err(internal)?;
        let body = |ordinal| record.bodies.iter().find(|body| body.ordinal == ordinal);
        let of_our_own = body(0)
            .and_then(|meta| Meta::decode(&meta.bytes).ok())
            .is_some_and(|meta| meta.stream.is_system());
        let (Some(known), Some(data), true) = (SystemType::from_type(&header.event_type), body(1), of_our_own) else {
            return Ok(None);
        };
        Ok(match Authority::read(known, &data.bytes) {
            Ok(Authority::Purged(purged)) => Some(Authorised {
                ground: Some(purged.ground),
                positions: purged.positions.into_iter().collect(),
            }),
            Ok(Authority::Redacted(redacted)) => Some(Authorised {
                ground: None,
                positions: redacted.positions.into_iter().collect(),
            }),
            _ => None,
        })
    }
}
