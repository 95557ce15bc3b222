//! The ledger's own events, remembered as digests: documents beside the ledger (certificates) repeat some of them, and must
//! repeat them to the byte.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::spec::hash::{Hash, leaf_hash};
use crate::spec::ids::Handle;
use crate::spec::system::{Authority, is_reserved};

use super::examine::Examined;
use super::record::Record;

/// Digests of header and signature by leaf index; about 60 bytes for each event of a reserved type.
#[derive(Debug, Default)]
pub(super) struct OwnEvents {
    digests: BTreeMap<u64, Hash>,
    /// Reports of leaks that name people, by their index.
    leaks: Vec<(u64, Vec<Handle>)>,
}

impl OwnEvents {
    /// Remembers an event if its type is reserved. The first one at an index counts.
    pub(super) fn keep(&mut self, record: &Record, event: &Examined) {
        let own = event
            .header
            .as_ref()
            .is_some_and(|header| is_reserved(&header.event_type));
        if own {
            self.digests
                .entry(record.index)
                .or_insert_with(|| digest(&event.leaf, &record.signature));
        }
        if let Some(Authority::LeakReported(leak)) = event.authority.as_ref().filter(|_| event.signed)
            && let Some(handles) = &leak.handles
        {
            self.leaks.push((record.index, handles.clone()));
        }
    }

    /// The indexes of the reports of leaks that name one of these people.
    pub(super) fn leaks_about(&self, handles: &[Handle]) -> Vec<u64> {
        let about = |(_, named): &&(u64, Vec<Handle>)| named.iter().any(|handle| handles.contains(handle));
        self.leaks.iter().filter(about).map(|(index, _)| *index).collect()
    }

    /// Whether this is the event at its index, header and signature alike.
    pub(super) fn holds(&self, record: &Record) -> bool {
        self.digests.get(&record.index) == Some(&digest(&leaf_hash(&record.header), &record.signature))
    }
}

fn digest(leaf: &Hash, signature: &[u8]) -> Hash {
    let mut sha256 = Sha256::new();
    sha256.update(leaf.as_bytes());
    sha256.update(signature);
    Hash::from(<[u8; 32]>::from(sha256.finalize()))
}
