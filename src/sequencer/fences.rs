//! The subjects that may no longer appear in new events.

use std::collections::HashMap;

use crate::spec::ids::{Category, Handle};

/// Keeps new events from naming a subject, from the moment its erasure is requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The subject.
    pub handle: Handle,
    /// Only these categories, or everything.
    pub categories: Option<Vec<Category>>,
}

/// All fences of a ledger. `None`: everything about the handle.
#[derive(Debug, Default)]
pub(super) struct Fences(HashMap<Handle, Option<Vec<Category>>>);

impl Fences {
    pub(super) fn add(&mut self, fence: Fence) {
        let known = self.0.entry(fence.handle).or_insert_with(|| Some(Vec::new()));
        match (known.as_mut(), fence.categories) {
            (Some(known), Some(categories)) => known.extend(categories),
            _ => *known = None,
        }
    }

    /// Whether a block of this category, or with `None` the bare handle, may still be sequenced.
    pub(super) fn allow(&self, handle: Handle, category: Option<&Category>) -> bool {
        match (self.0.get(&handle), category) {
            (None, _) | (Some(Some(_)), None) => true,
            (Some(None), _) => false,
            (Some(Some(fenced)), Some(category)) => !fenced.contains(category),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_on_the_subject_swallows_those_on_categories() {
        let (handle, billing): (_, Category) = (Handle([1; 16]), "billing".parse().unwrap());
        let mut fences = Fences::default();
        assert!(fences.allow(handle, Some(&billing)));
        fences.add(Fence {
            handle,
            categories: Some(vec![billing.clone()]),
        });
        assert!(!fences.allow(handle, Some(&billing)));
        assert!(fences.allow(handle, Some(&Category::default())));
        assert!(fences.allow(handle, None));
        fences.add(Fence {
            handle,
            categories: None,
        });
        assert!(!fences.allow(handle, Some(&Category::default())));
        assert!(!fences.allow(handle, None));
        fences.add(Fence {
            handle,
            categories: Some(vec![billing.clone()]),
        });
        assert!(!fences.allow(handle, None));
    }
}
