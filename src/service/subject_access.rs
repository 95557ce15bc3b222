//! Access (GDPR Art. 15): all that a ledger holds about a person, opened, in pages. Recorded like any reveal.
//!
//! Of an event that is about several people only the blocks of the one who asks are in it; the public part is as every
//! reader sees it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::access::internal;
use super::erase::sealed_blocks;
use super::own::never_seen;
use super::read::{Direction, EventView, Filter, PersonalState, Reveal, certificate_of};
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::Resolution;
use crate::spec::ids::{Category, Handle, SubjectId};

/// The longest page, and that without a `limit`.
const MAX_LIMIT: usize = 1_000;
const DEFAULT_LIMIT: usize = 100;

/// `POST /subjects/access`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct AccessRequest {
    /// The caller's id for the person.
    pub subject: SubjectId,
    /// `next` of the page before.
    pub after: Option<u64>,
    /// Events of the page; 100 by default.
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<usize>,
}

/// What the ledger holds about a person.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AccessView {
    /// The person.
    pub handle: Handle,
    /// `active`, `restricted` or `erasing`.
    #[schema(pattern = "^(active|restricted|erasing)$")]
    pub state: &'static str,
    /// The categories under which data is sealed, with live keys.
    pub categories: Vec<Category>,
    /// Restrictions in force.
    pub restrictions: Vec<Uuid>,
    /// Legal holds in force.
    pub holds: Vec<Uuid>,
    /// Events about the person, oldest first, with the person's blocks alone, opened where they open.
    pub events: Vec<EventView>,
    /// `after` of the next page; null at the end.
    pub next: Option<u64>,
}

impl Service {
    /// A page of all that is held about a person. Recorded before it leaves, if anything was opened.
    ///
    /// # Errors
    /// `erased`, `subject_not_found`, `invalid_field`; whatever appending may answer.
    pub async fn subject_access(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: AccessRequest,
    ) -> Result<AccessView, Error> {
        let limit = request.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            return Err(Error::field("/limit", format!("must be 1 to {MAX_LIMIT}")));
        }
        let open = move |service: &Self, ledger: &Ledger| {
            let handle = match service.keystore.resolve(ledger.record.id, &request.subject)? {
                Resolution::Known(handle) => handle,
                Resolution::Erased => return Err(Error::new(Code::Erased, "this person was erased")),
                Resolution::Unknown => return Err(never_seen("/subject")),
            };
            service.tell(ledger, &[handle])?;
            service.access_page(ledger, handle, request.after, limit)
        };
        let mut view = self.blocking(ledger, open).await?;
        self.record_reveal(ledger, caller, &view.events).await?;
        let withdraw = move |service: &Self, ledger: &Ledger| {
            service.withdraw_fenced(ledger, &mut view.events)?;
            Ok(view)
        };
        self.blocking(ledger, withdraw).await
    }

    fn access_page(
        &self,
        ledger: &Ledger,
        handle: Handle,
        after: Option<u64>,
        limit: usize,
    ) -> Result<AccessView, Error> {
        let filter = Filter {
            handle: Some(handle),
            after,
            system: true,
            direction: Direction::Forward,
            ..Filter::default()
        };
        let (events, next) = self.find(ledger, &filter, limit)?;
        let open = |event| self.opened_for(ledger, event, handle);
        let events = events.into_iter().map(open).collect::<Result<_, _>>()?;
        let holds = self.active_holds(ledger)?;
        let holds = self.holds_on(ledger, &holds, handle, None)?;
        let mut categories: Vec<_> = self.keystore.keys_of(ledger.record.id, handle)?;
        categories.dedup_by(|a, b| a.category == b.category);
        Ok(AccessView {
            handle,
            state: self.subject(ledger, handle)?.state,
            categories: categories.into_iter().map(|key| key.category).collect(),
            restrictions: self.restrictions_on(ledger, handle, None),
            holds: holds.into_iter().map(super::hold::Hold::id).collect(),
            events,
            next,
        })
    }

    /// An event with the blocks of one person, opened.
    fn opened_for(&self, ledger: &Ledger, event: super::read::StoredEvent, handle: Handle) -> Result<EventView, Error> {
        let mut opened = std::collections::HashMap::new();
        for (ordinal, block) in sealed_blocks(&event) {
            if block.handle == handle {
                opened.insert(ordinal, self.open_block(ledger, &event.header, ordinal, &block)?);
            }
        }
        let mut view = self.event_view(ledger, event, Reveal::Sealed)?;
        view.personal.retain(|block| opened.contains_key(&block.ordinal));
        for block in &mut view.personal {
            match opened.remove(&block.ordinal) {
                Some(Ok(plaintext)) => {
                    let text = std::str::from_utf8(&plaintext).map_err(internal)?;
                    block.state = PersonalState::Clear;
                    block.data = Some(RawValue::from_string(text.to_owned()).map_err(internal)?);
                }
                Some(Err(refusal)) => {
                    block.state = PersonalState::of(refusal);
                    block.certificate = certificate_of(ledger, &refusal);
                }
                None => {}
            }
        }
        Ok(view)
    }
}
