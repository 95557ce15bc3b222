//! As of: the ledger, and the state of a stream, as they stood at a moment.
//!
//! A moment is a time, an index or a stream version, and includes the event that it names. One that lies in the future is
//! clamped to the head. State is folded from the events at each question ([`fold`]); personal data is resolved by today's
//! keys, so what was erased since is erased in every past, too. With the answer comes what proves it: the root of the tree
//! as it was, and the first checkpoint that covers it.

mod diff;
mod fold;
mod ledger;
mod state;

use serde::Serialize;

use super::{Code, Error, Ledger, Service};
use crate::spec::event::Header;
use crate::spec::hash::Hash;
use crate::spec::ids::Timestamp;
pub use diff::{StateDiff, TwoStates};
pub use fold::{Field, Personal};
pub use ledger::LedgerAsOf;
pub use state::StreamState;

/// A moment in the life of a ledger; the event that it names is included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// The head.
    Now,
    /// Everything recorded up to and at this time.
    Time(Timestamp),
    /// Everything up to this index.
    Index(u64),
    /// Everything up to this version of the stream that is asked about.
    Version(u64),
}

/// Where the ledger stood, and what proves it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Standing {
    /// The last index that was looked at; null before the first event.
    pub index: Option<u64>,
    /// Events in the ledger then.
    pub tree_size: u64,
    /// When the event at `index` was recorded.
    pub recorded_at: Option<Timestamp>,
    /// The root of the tree of that size.
    pub root: Hash,
    /// The signed checkpoint of that size, or the first larger one that is stored.
    pub checkpoint: Option<String>,
    /// From `tree_size` to the checkpoint's size, where that is larger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consistency: Option<Consistency>,
}

/// A consistency proof (RFC 6962 §2.1.2).
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Consistency {
    /// The smaller size; 0 needs no hashes.
    pub from: u64,
    /// The larger size.
    pub to: u64,
    /// The proof.
    pub hashes: Vec<Hash>,
}

impl Service {
    /// How many events the ledger had at a moment: O(log n) reads. A stream's version is none of the ledger's moments and
    /// counts as now.
    fn size_at(&self, ledger: &Ledger, moment: Moment) -> Result<u64, Error> {
        let size = self.view(ledger)?.size();
        Ok(match moment {
            Moment::Now | Moment::Version(_) => size,
            Moment::Time(time) => self.first_at_or_after(ledger, Timestamp(time.0.saturating_add(1)))?,
            Moment::Index(index) => index.saturating_add(1).min(size),
        })
    }

    fn standing(&self, ledger: &Ledger, tree_size: u64) -> Result<Standing, Error> {
        let index = tree_size.checked_sub(1);
        let covering = self.store.checkpoint(ledger.record.number, tree_size)?;
        let larger = covering
            .as_ref()
            .map(|(size, _)| *size)
            .filter(|size| *size > tree_size);
        let consistency = larger.map(|to| {
            let hashes = self.consistency_hashes(ledger, tree_size, to)?;
            Ok::<_, Error>(Consistency {
                from: tree_size,
                to,
                hashes,
            })
        });
        Ok(Standing {
            index,
            tree_size,
            recorded_at: index.map(|index| self.recorded_at(ledger, index)).transpose()?,
            root: self.root_of_size(ledger, tree_size)?,
            checkpoint: covering.map(|(_, note)| note),
            consistency: consistency.transpose()?,
        })
    }

    /// When an event was recorded.
    pub(super) fn recorded_at(&self, ledger: &Ledger, index: u64) -> Result<Timestamp, Error> {
        let row = self.store.headers_at(ledger.record.number, &[index])?.pop().flatten();
        let row = row.ok_or_else(|| damaged(index))?;
        Ok(decode(&row.header, index)?.recorded_at)
    }
}

fn decode(header: &[u8], index: u64) -> Result<Header, Error> {
    Header::decode(header).map_err(|error| damaged(index).caused_by(error))
}

fn damaged(index: u64) -> Error {
    Error::new(Code::Damaged, format!("the event at index {index} is damaged"))
}
