//! The subjects that may no longer appear in new events.

use std::collections::HashMap;

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
#[derive(Debug, Default)]
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
}
