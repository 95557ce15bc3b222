//! Whether a key store fits a ledger: asked at every start, and of a backup before it is needed.

use std::collections::HashSet;

use serde::Serialize;

use super::erase::sealed_blocks;
use super::{Code, Error, Ledger, Service};
use crate::keystore::{Refusal, SubjectState};

/// The newest events that are looked at, at start.
const NEWEST: u64 = 256;
/// Events read at once: each may be large.
const AT_ONCE: u64 = 16;

/// What a sample of sealed blocks, the newest first, gave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Blocks that were tried.
    pub blocks: u64,
    /// People they are about.
    pub people: u64,
    /// Blocks that opened.
    pub opened: u64,
    /// Blocks of erased people, which must not open.
    pub erased: u64,
    /// Blocks that are kept but not to be opened.
    pub restricted: u64,
    /// Blocks whose key is not there although nothing says that it was erased.
    pub unavailable: u64,
}

impl Service {
    /// Refuses a key store that never saw people of whom the newest events tell: it is older than the ledger. Served all the
    /// same, those people would get a second handle, and an erasure would miss their first.
    ///
    /// # Errors
    /// `key_store_behind`.
    pub fn check_keys_known(&self, ledger: &Ledger) -> Result<(), Error> {
        let size = self.view(ledger)?.size();
        let mut first = size;
        let mut seen = HashSet::new();
        while first > size.saturating_sub(NEWEST) {
            let end = first;
            first = end.saturating_sub(AT_ONCE);
            let events = match self.stored_events(ledger, first..end) {
                // One that is damaged tells of nobody, and must not keep the others' server from starting.
                Err(error) if error.code == Code::Damaged => {
                    self.readable_events(ledger, &(first..end).collect::<Vec<_>>(), &mut Vec::new())?
                }
                events => events?,
            };
            for event in events {
                for (_, block) in sealed_blocks(&event) {
                    let is_new = seen.insert(block.handle);
                    if is_new && self.keystore.state(ledger.record.id, block.handle)? == SubjectState::Unknown {
                        return Err(behind(ledger, event.index));
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries the newest sealed blocks, at most `limit`.
    ///
    /// # Errors
    /// If the stores cannot be read.
    pub fn sample_keys(&self, ledger: &Ledger, limit: u64) -> Result<Sample, Error> {
        let (mut sample, mut people) = (Sample::default(), HashSet::new());
        let mut end = self.view(ledger)?.size();
        while end > 0 && sample.blocks < limit {
            let first = end.saturating_sub(AT_ONCE);
            for event in self.stored_events(ledger, first..end)?.iter().rev() {
                for (ordinal, block) in sealed_blocks(event) {
                    people.insert(block.handle);
                    sample.blocks += 1;
                    match self.open_block(ledger, &event.header, ordinal, &block)?.map(drop) {
                        Ok(()) => sample.opened += 1,
                        Err(Refusal::Erased(_) | Refusal::Erasing(_)) => sample.erased += 1,
                        Err(Refusal::Restricted) => sample.restricted += 1,
                        Err(Refusal::Unavailable) => sample.unavailable += 1,
                    }
                }
            }
            end = first;
        }
        sample.people = people.len() as u64;
        Ok(sample)
    }

    /// How many people the key store knows of a ledger, by state.
    ///
    /// # Errors
    /// If the key store cannot be read.
    pub fn census(&self, ledger: &Ledger) -> Result<crate::keystore::Census, Error> {
        Ok(self.keystore.census(ledger.record.id)?)
    }
}

fn behind(ledger: &Ledger, index: u64) -> Error {
    let detail = format!(
        "the key store is older than the ledger {}: it never saw a person of whom the event at index {index} tells. Nothing was \
         changed and nothing is served. Put back the key store that belongs to it, or restore both from one backup",
        ledger.record.name
    );
    Error::new(Code::KeyStoreBehind, detail)
}
