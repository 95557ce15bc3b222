//! What an erasure left pending, and what is recorded once it is gone.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::ResidueView;
use super::history::Erasure;
use super::purge::{CIPHERTEXT, KEY_STORE_FILES, Purge};
use crate::spec::event::BodyKind;
use crate::spec::ids::{Handle, Timestamp};
use crate::spec::system::{BodiesPurged, DerivedStore, ErasureResidueRemoved};
use crate::store::Scrub;

impl Erasure {
    /// Whether it is completed, left this pending, and nothing says that it is gone since.
    pub(super) fn has_pending(&self, residue: &str) -> bool {
        self.pending().contains(&residue)
    }

    /// The record that something pending is gone; the first, if there are several.
    pub(super) fn removed(&self, residue: &str) -> Option<&ErasureResidueRemoved> {
        let mut removed = self.removed.iter().map(|removed| &removed.payload);
        removed.find(|removed| &*removed.residue == residue)
    }

    /// The leaf indexes of its events, ascending.
    pub(super) fn indexes(&self) -> BTreeSet<u64> {
        let completed = self.completed.iter().map(|completed| completed.index);
        let removed = self.removed.iter().map(|removed| removed.index);
        let epoch_key = self.epochs_destroyed.iter().map(|destroyed| destroyed.index);
        std::iter::once(self.requested.index)
            .chain(completed)
            .chain(removed)
            .chain(epoch_key)
            .collect()
    }

    /// As those of its events tell it that a reader knows; its completion is one of them.
    pub(super) fn known(mut self, is_known: impl Fn(u64) -> bool) -> Self {
        self.removed.retain(|removed| is_known(removed.index));
        self.epochs_destroyed.retain(|destroyed| is_known(destroyed.index));
        self
    }

    /// What it left pending, and when that was gone.
    pub(super) fn residues(&self) -> Vec<ResidueView> {
        let pending = self.completed.iter().flat_map(|completed| &completed.payload.pending);
        let view = |code: &String| {
            let removed_at = self.gone(code);
            ResidueView {
                residue: code.clone(),
                state: if removed_at.is_some() { "removed" } else { "pending" },
                removed_at,
            }
        };
        pending.map(view).collect()
    }

    pub(super) fn has_work(&self, purge: Purge) -> bool {
        self.has_pending(KEY_STORE_FILES) || (purge != Purge::Never && self.has_pending(CIPHERTEXT))
    }

    pub(super) fn id(&self) -> Uuid {
        self.requested.payload.request
    }
}

pub(super) fn residue_removed(erasure: &Erasure, residue: &str, at: Timestamp) -> ErasureResidueRemoved {
    ErasureResidueRemoved {
        request: erasure.id(),
        residue: residue.into(),
        at,
        purges: None,
        alone: None,
        derived: None,
    }
}

pub(super) fn serves(purge: &BodiesPurged, erasure: &Erasure) -> bool {
    purge.requests.iter().flatten().any(|request| *request == erasure.id())
}

/// Whether a list shows which blocks belonged to one person.
pub(super) fn is_alone(purge: &BodiesPurged, erasure: &Erasure) -> bool {
    purge.requests.iter().flatten().count() == 1 && erasure.requested.payload.subjects.len() == 1
}

pub(super) fn scrub_of(pending: &[Erasure], purges: &[(u64, BodiesPurged)]) -> Scrub {
    let own = purges
        .iter()
        .filter(|(_, purge)| pending.iter().any(|erasure| serves(purge, erasure)));
    let positions = own.flat_map(|(_, purge)| &purge.positions);
    let handles: BTreeSet<Handle> = pending
        .iter()
        .flat_map(Erasure::orders)
        .map(|order| order.handle)
        .collect();
    Scrub {
        bodies: positions
            .map(|position| (position.index, position.ordinal, BodyKind::Sealed))
            .collect(),
        handles: handles.into_iter().collect(),
        names: false,
    }
}

/// Everything that is made from events, and what became of the erased person's part in it.
pub(super) fn derived(erasure: &Erasure, at: Timestamp) -> Vec<DerivedStore> {
    let fenced = erasure.completed.as_ref().map(|completed| completed.payload.fenced_at);
    [
        // Rows stay where the person is the actor, or where an event of Oubliette's own names them.
        ("handle_index", "blocks_purged", Some(at)),
        ("key_caches", "dropped", fenced),
        ("opened_exports", "dropped", fenced),
        ("export_files", "not_kept", None),
        ("folded_states", "not_kept", None),
        ("reports", "not_kept", None),
        ("block_caches", "memory_only", None),
    ]
    .map(|(store, state, at)| DerivedStore {
        store: store.into(),
        state: state.into(),
        at,
    })
    .to_vec()
}
