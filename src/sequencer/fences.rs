//! The subjects that may no longer appear in new events.

use std::collections::{HashMap, VecDeque};

use crate::spec::ids::{Category, Handle};

/// The generation from which a category that is closed for good is open: never.
const NEVER: u32 = u32::MAX;

/// Keeps new events from naming a subject, from the moment its erasure is requested; or opens an erased category of a
/// living subject again. The later one counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The subject.
    pub handle: Handle,
    /// Only these categories, or everything.
    pub categories: Option<Vec<Category>>,
    /// The categories are open again from this generation of their key on; `None`: closed. Without categories it has no
    /// meaning: a whole subject is never opened again under its handle.
    pub open_from: Option<u32>,
}

impl Fence {
    /// A fence of an erasure.
    pub fn closed(handle: Handle, categories: Option<Vec<Category>>) -> Self {
        Self {
            handle,
            categories,
            open_from: None,
        }
    }
}

/// All fences of a ledger: by category the first generation that is open. `None`: everything about the handle is closed.
#[derive(Debug, Clone, Default)]
pub(super) struct Fences(HashMap<Handle, Option<HashMap<Category, u32>>>);

impl Fences {
    pub(super) fn add(&mut self, fence: Fence) {
        let known = self.0.entry(fence.handle).or_insert_with(|| Some(HashMap::new()));
        match (known.as_mut(), fence.categories) {
            (Some(known), Some(categories)) => {
                let from = fence.open_from.unwrap_or(NEVER);
                known.extend(categories.into_iter().map(|category| (category, from)));
            }
            _ => *known = None,
        }
    }

    /// Whether a block of this category and generation, or with `None` the bare handle, may still be sequenced.
    pub(super) fn allow(&self, handle: Handle, block: Option<&(Category, u32)>) -> bool {
        match (self.0.get(&handle), block) {
            (None, _) | (Some(Some(_)), None) => true,
            (Some(None), _) => false,
            (Some(Some(fenced)), Some((category, generation))) => {
                fenced.get(category).is_none_or(|open_from| generation >= open_from)
            }
        }
    }
}

/// The fences of a ledger as the writer needs them after a failed commit: those that stand whatever happens, one for each
/// category, and behind them, in order, those whose event may still be lost.
#[derive(Debug, Default)]
pub(super) struct Standing {
    durable: Fences,
    /// Each with the index of the event that began it; `None`: no event did.
    begun: VecDeque<(Option<u64>, Fence)>,
}

impl Standing {
    /// Adds the newest fence.
    pub(super) fn add(&mut self, index: Option<u64>, fence: Fence) {
        self.begun.push_back((index, fence));
    }

    /// The first `size` events are durable: what they began stands.
    pub(super) fn settle(&mut self, size: u64) {
        while let Some((_, fence)) = self
            .begun
            .pop_front_if(|(index, _)| index.is_none_or(|index| index < size))
        {
            self.durable.add(fence);
        }
    }

    /// Of all events only the first `size` are there: what others began never stood.
    pub(super) fn recover(&mut self, size: u64) {
        self.begun.retain(|(index, _)| index.is_none_or(|index| index < size));
        self.settle(size);
    }

    /// All of them.
    pub(super) fn fences(&self) -> Fences {
        let mut all = self.durable.clone();
        self.begun.iter().for_each(|(_, fence)| all.add(fence.clone()));
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn billing() -> Category {
        "billing".parse().unwrap()
    }

    #[test]
    fn a_fence_on_the_subject_swallows_those_on_categories() {
        let (handle, first) = (Handle([1; 16]), Some((billing(), 1)));
        let of_billing = Fence::closed(handle, Some(vec![billing()]));
        let mut fences = Fences::default();
        assert!(fences.allow(handle, first.as_ref()));
        fences.add(of_billing.clone());
        assert!(!fences.allow(handle, first.as_ref()));
        assert!(fences.allow(handle, Some(&(Category::default(), 1))));
        assert!(fences.allow(handle, None));
        fences.add(Fence::closed(handle, None));
        assert!(!fences.allow(handle, Some(&(Category::default(), 1))));
        assert!(!fences.allow(handle, None));
        fences.add(of_billing);
        assert!(!fences.allow(handle, None));
    }

    #[test]
    fn a_reopened_category_takes_new_generations_only_until_it_is_closed_again() {
        let handle = Handle([1; 16]);
        let mut fences = Fences::default();
        let allow = |fences: &Fences| [1, 2, 3].map(|generation| fences.allow(handle, Some(&(billing(), generation))));
        fences.add(Fence::closed(handle, Some(vec![billing()])));
        assert_eq!(allow(&fences), [false, false, false]);
        fences.add(Fence {
            open_from: Some(2),
            ..Fence::closed(handle, Some(vec![billing()]))
        });
        // What was sealed before the erasure and comes late is refused all the same.
        assert_eq!(allow(&fences), [false, true, true]);
        fences.add(Fence::closed(handle, Some(vec![billing()])));
        assert_eq!(allow(&fences), [false, false, false]);
    }

    #[test]
    fn what_is_opened_and_closed_a_thousand_times_is_kept_once() {
        let (handle, mut standing) = (Handle([1; 16]), Standing::default());
        for round in 0..1_000 {
            standing.add(Some(round * 2 + 1), Fence::closed(handle, Some(vec![billing()])));
            standing.add(
                None,
                Fence {
                    open_from: Some(2),
                    ..Fence::closed(handle, Some(vec![billing()]))
                },
            );
            standing.settle(round * 2 + 2);
        }
        assert_eq!((standing.begun.len(), standing.durable.0.len()), (0, 1));
        assert!(standing.fences().allow(handle, Some(&(billing(), 2))));
    }

    #[test]
    fn a_lost_event_takes_its_fence_along_and_nothing_else() {
        let [lost, kept, opened] = [1, 2, 3].map(|n| Handle([n; 16]));
        let mut standing = Standing::default();
        standing.add(Some(7), Fence::closed(kept, None));
        standing.add(Some(8), Fence::closed(lost, None));
        standing.add(None, Fence::closed(opened, None));
        // Nothing passes what is in doubt: the later one counts.
        standing.settle(8);
        assert_eq!((standing.begun.len(), standing.durable.0.len()), (2, 1));
        let allow = |standing: &Standing| [lost, kept, opened].map(|handle| standing.fences().allow(handle, None));
        assert_eq!(allow(&standing), [false, false, false]);
        standing.recover(8);
        assert_eq!(allow(&standing), [true, false, false]);
        assert!(standing.begun.is_empty());
    }
}
