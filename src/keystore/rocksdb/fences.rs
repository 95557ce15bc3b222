//! The fences in memory: every erasure ordered or carried out, what is withheld for a time, and what was opened again, by
//! subject. Loaded at start, asked before every key.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::withhold::Life;
use crate::keystore::{ErasureOrder, Fence, Refusal, SubjectState};
use crate::spec::ids::{Category, Handle, LedgerId};

/// All fences. A subject may have several: one for some categories, a later one for the whole.
#[derive(Debug, Default)]
pub(super) struct Fences {
    of: RwLock<HashMap<(LedgerId, Handle), Vec<Fence>>>,
    /// What is withheld, and what was opened again.
    pub(super) life: Life,
}

/// Whether an order covers data of a category, or with `None` the subject as a whole.
pub(super) fn covers(order: &ErasureOrder, category: Option<&Category>) -> bool {
    match (&order.categories, category) {
        (None, _) => true,
        (Some(named), Some(category)) => named.contains(category),
        (Some(_), None) => false,
    }
}

impl Fences {
    /// Sets a fence, or moves it to destroyed; never back.
    pub(super) fn set(&self, ledger: LedgerId, fence: Fence) {
        let mut all = self.of.write();
        let fences = all.entry((ledger, fence.order.handle)).or_default();
        match fences
            .iter_mut()
            .find(|known| known.order.request == fence.order.request)
        {
            Some(known) => known.destroyed = known.destroyed.or(fence.destroyed),
            None => fences.push(fence),
        }
    }

    /// Why no key of this category (`None`: no handle) may be given to seal with. What is destroyed counts before what is
    /// fenced, and that before what is withheld.
    pub(super) fn refusal(&self, ledger: LedgerId, handle: Handle, category: Option<&Category>) -> Option<Refusal> {
        self.refusal_of(ledger, handle, category, u32::MAX)
    }

    /// As [`Fences::refusal`], for a key of this generation: a reopening opens the later ones only.
    pub(super) fn refusal_of(
        &self,
        ledger: LedgerId,
        handle: Handle,
        category: Option<&Category>,
        generation: u32,
    ) -> Option<Refusal> {
        let fenced = self.fenced(ledger, handle, category, generation);
        fenced.or_else(|| self.life.grace(ledger, handle, category).map(Refusal::Erasing))
    }

    /// As [`Fences::refusal_of`], without what is withheld for a time.
    pub(super) fn fenced(
        &self,
        ledger: LedgerId,
        handle: Handle,
        category: Option<&Category>,
        generation: u32,
    ) -> Option<Refusal> {
        let all = self.of.read();
        let fences = all.get(&(ledger, handle))?;
        let over = category.and_then(|category| self.life.reopened(ledger, handle, category));
        let over = over.filter(|reopened| generation >= reopened.generation);
        let is_over = |fence: &Fence| {
            let named = over
                .as_ref()
                .is_some_and(|over| over.over.contains(&fence.order.request));
            named && fence.order.categories.is_some()
        };
        let mut covering = fences
            .iter()
            .filter(|fence| covers(&fence.order, category) && !is_over(fence))
            .peekable();
        let first = covering.peek()?.order.request;
        Some(match covering.find(|fence| fence.destroyed.is_some()) {
            Some(fence) => Refusal::Erased(Some(fence.order.request)),
            None => Refusal::Erasing(first),
        })
    }

    /// The state that fences of the whole subject give it; `None` if there is none.
    pub(super) fn state(&self, ledger: LedgerId, handle: Handle) -> Option<SubjectState> {
        match self.refusal(ledger, handle, None)? {
            Refusal::Erased(Some(request)) => Some(SubjectState::Erased(request)),
            Refusal::Erasing(request) => Some(SubjectState::Erasing(request)),
            Refusal::Erased(None) | Refusal::Restricted | Refusal::Unavailable => None,
        }
    }

    /// Whether anything was ever ordered about a subject.
    pub(super) fn knows(&self, ledger: LedgerId, handle: Handle) -> bool {
        self.of.read().contains_key(&(ledger, handle)) || self.life.knows(ledger, handle)
    }

    /// The fence of this request for this subject.
    pub(super) fn find(&self, ledger: LedgerId, order: &ErasureOrder) -> Option<Fence> {
        let all = self.of.read();
        let fences = all.get(&(ledger, order.handle))?;
        fences
            .iter()
            .find(|fence| fence.order.request == order.request)
            .cloned()
    }

    /// All fences of a ledger, ordered by subject and request.
    pub(super) fn all(&self, ledger: LedgerId) -> Vec<Fence> {
        let all = self.of.read();
        let mut fences: Vec<_> = all
            .iter()
            .filter(|((of, _), _)| *of == ledger)
            .flat_map(|(_, fences)| fences.iter().cloned())
            .collect();
        fences.sort_unstable_by_key(|fence| (fence.order.handle, fence.order.request));
        fences
    }
}
