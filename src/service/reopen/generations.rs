//! What erasures closed of living people, and the generations of their keys.

use uuid::Uuid;

use super::super::append::subject_erased;
use super::super::erase::sealed_blocks;
use super::super::own::at;
use super::super::{Code, Error, Ledger, Service};
use super::{Named, Person, ReopenedCategory};
use crate::keystore::Fence;
use crate::spec::ids::{Category, Handle};
use crate::spec::seal::SealedBlock;
use crate::store::{Direction, Lookup};

/// Events that are read at once.
const CHUNK: usize = 128;
/// How many generations are left out where an event cannot be read that may have a block of a later one than is known. No
/// generation may come twice: what its old key sealed would be taken for unavailable, not for erased.
const GAP: u32 = 1_024;

impl Service {
    pub(super) fn to_reopen(&self, ledger: &Ledger, who: &[(Handle, Vec<Category>)]) -> Result<Vec<Person>, Error> {
        let person = |(handle, categories): &(Handle, Vec<Category>)| {
            Ok(Person {
                handle: *handle,
                categories: self.next_generations(ledger, *handle, categories)?,
            })
        };
        who.iter().map(person).collect()
    }

    /// The next generations of erased categories, and what closed them.
    fn next_generations(&self, ledger: &Ledger, handle: Handle, categories: &[Category]) -> Result<Vec<Named>, Error> {
        let id = ledger.record.id;
        let (fences, reopened) = (
            self.keystore.fences_of(id, handle),
            self.keystore.reopened_of(id, handle),
        );
        let mut named = Vec::new();
        for (place, category) in categories.iter().enumerate() {
            let pointer = format!("/categories/{place}");
            let before = reopened.iter().find(|reopened| reopened.category == *category);
            let over = before.map(|before| before.over.as_slice()).unwrap_or_default();
            let closing: Vec<_> = fences.iter().filter(|fence| closes(fence, category, over)).collect();
            if closing.is_empty() {
                return Err(at(
                    Code::NotErased,
                    &pointer,
                    "this category of the person is not erased",
                ));
            }
            if closing.iter().any(|fence| fence.destroyed.is_none()) {
                let detail = "this category of the person is being erased";
                return Err(at(Code::SubjectErasing, &pointer, detail));
            }
            for fence in &closing {
                // Until it is completed it may be taken up again, and would miss the end of what is new.
                let erasure = self.find_erasure(ledger, fence.order.request)?;
                if erasure.is_some_and(|erasure| erasure.completed.is_none()) {
                    let detail = "this category of the person is being erased";
                    return Err(at(Code::SubjectErasing, &pointer, detail));
                }
            }
            if closing.iter().any(|fence| fence.order.categories.is_none()) {
                return Err(subject_erased(&pointer));
            }
            let known = before.map_or(1, |before| before.generation);
            let used = self.newest_generation(ledger, handle, category)?.max(known);
            let requests = closing.iter().map(|fence| fence.order.request);
            named.push(Named {
                reopened: ReopenedCategory {
                    category: category.clone(),
                    generation: used.saturating_add(1),
                },
                over: over.iter().copied().chain(requests).collect(),
            });
        }
        Ok(named)
    }

    /// The newest generation of a category under which anything is sealed; 0 if nothing is; [`GAP`] more where that is not
    /// certain.
    fn newest_generation(&self, ledger: &Ledger, handle: Handle, category: &Category) -> Result<u32, Error> {
        let size = self.view(ledger)?.size();
        let lookup = Lookup::Handle(handle);
        let number = ledger.record.number;
        let indexes = self
            .store
            .find(number, &lookup, 0..size, Direction::Backward, usize::MAX)?;
        let (mut newest, mut unread) = (0_u32, Vec::new());
        for chunk in indexes.chunks(CHUNK) {
            for event in self.readable_events(ledger, chunk, &mut unread)? {
                let blocks = sealed_blocks(&event);
                let own = blocks.filter(|(_, block)| block.handle == handle && block.category == *category);
                newest = own.map(|(_, block)| block.generation).fold(newest, u32::max);
            }
        }
        Ok(newest.saturating_add(if unread.is_empty() { 0 } else { GAP }))
    }

    /// Whether an erasure took the key of a block, or is about to.
    pub(in crate::service) fn is_erased(&self, ledger: &Ledger, block: &SealedBlock) -> bool {
        let id = ledger.record.id;
        let mut reopened = self.keystore.reopened_of(id, block.handle).into_iter();
        let over = reopened.find(|reopened| reopened.category == block.category);
        let over = over.filter(|reopened| block.generation >= reopened.generation);
        let over = over.map(|reopened| reopened.over).unwrap_or_default();
        let fences = self.keystore.fences_of(id, block.handle);
        fences.iter().any(|fence| closes(fence, &block.category, &over))
    }

    /// Whether a category is closed, and that by some of these erasures alone, whose keys are destroyed.
    pub(in crate::service) fn is_closed_by(
        &self,
        ledger: &Ledger,
        category: (Handle, &Category),
        is_one: impl Fn(&Uuid) -> bool,
    ) -> bool {
        let closing = self.closing(ledger, category);
        let by_one = |fence: &Fence| fence.destroyed.is_some() && is_one(&fence.order.request);
        !closing.is_empty() && closing.iter().all(by_one)
    }

    /// The erasures that close a category of a subject, those under way among them.
    pub(in crate::service) fn closing(&self, ledger: &Ledger, (handle, category): (Handle, &Category)) -> Vec<Fence> {
        let id = ledger.record.id;
        let reopened = self.keystore.reopened_of(id, handle).into_iter();
        let mut over = reopened.filter(|reopened| reopened.category == *category);
        let over = over.next().map(|reopened| reopened.over).unwrap_or_default();
        let fences = self.keystore.fences_of(id, handle).into_iter();
        fences.filter(|fence| closes(fence, category, &over)).collect()
    }
}

/// Whether an erasure closes a category, those aside that a reopening is over.
pub(super) fn closes(fence: &Fence, category: &Category, over: &[Uuid]) -> bool {
    let covers = fence
        .order
        .categories
        .as_ref()
        .is_none_or(|categories| categories.contains(category));
    covers && !over.contains(&fence.order.request)
}
