//! The holds of a log, as its events tell them.

use std::collections::HashMap;

use uuid::Uuid;

use super::super::Error;
use super::super::own::{Fold, Recorded, Unreadable, recorded};
use super::super::read::StoredEvent;
use super::{HoldView, PLACED, Placed, RELEASED, Released, STREAM, Scope};
use crate::spec::ids::Timestamp;

/// A hold as the ledger tells it.
#[derive(Debug, Clone)]
pub(in crate::service) struct Hold {
    id: Uuid,
    /// Of the event that placed it.
    index: u64,
    placed_at: Option<Timestamp>,
    /// `None`: its event cannot be read.
    terms: Option<Placed>,
    pub(super) released: Option<Recorded<Released>>,
}

impl Hold {
    pub(super) fn placed(placed: Recorded<Placed>) -> Self {
        Self {
            id: placed.payload.hold,
            index: placed.index,
            placed_at: Some(placed.recorded_at),
            terms: Some(placed.payload),
            released: None,
        }
    }

    fn unreadable(event: &Unreadable) -> Self {
        Self {
            id: event.id.unwrap_or_else(|| Uuid::from_u64_pair(0, event.index)),
            index: event.index,
            placed_at: event.recorded_at,
            terms: None,
            released: None,
        }
    }

    pub(in crate::service) fn id(&self) -> Uuid {
        self.id
    }

    /// What it covers; `None`: everybody.
    pub(super) fn scope(&self) -> Option<&Scope> {
        self.terms.as_ref().map(|terms| &terms.scope)
    }

    /// Which hold it is, in words.
    pub(in crate::service) fn named(&self) -> String {
        match &self.terms {
            Some(terms) => format!("the legal hold {} ({})", self.id, terms.ground),
            None => format!(
                "the legal hold {}, whose event at index {} cannot be read, so that it holds everybody",
                self.id, self.index
            ),
        }
    }

    /// The event that says what it covers, if that cannot be read.
    pub(in crate::service) fn unreadable_event(&self) -> Option<u64> {
        self.terms.is_none().then_some(self.index)
    }

    pub(super) fn is_active(&self, now: Timestamp) -> bool {
        matches!(self.state(now), "active" | "unreadable")
    }

    fn state(&self, now: Timestamp) -> &'static str {
        let ends = self.terms.as_ref().map(|terms| terms.expires_at);
        match (&self.released, ends) {
            (Some(_), _) => "released",
            (None, None) => "unreadable",
            (None, Some(Some(end))) if end <= now => "expired",
            (None, Some(_)) => "active",
        }
    }

    pub(super) fn view(&self, now: Timestamp) -> HoldView {
        let (scope, terms) = (self.scope().cloned().unwrap_or_default(), self.terms.as_ref());
        HoldView {
            id: self.id,
            state: self.state(now),
            handles: scope.handles,
            categories: scope.categories,
            streams: scope.streams,
            ground: terms.map(|terms| terms.ground.clone()),
            index: self.index,
            placed_at: self.placed_at,
            expires_at: terms.and_then(|terms| terms.expires_at),
            released_at: self.released.as_ref().map(|released| released.recorded_at),
            by: terms.map(|terms| terms.by.by.clone()),
        }
    }
}

/// All holds, in the order of their events.
#[derive(Debug, Default)]
pub(crate) struct HoldBook {
    holds: Vec<Hold>,
    places: HashMap<Uuid, usize>,
}

impl HoldBook {
    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Hold> {
        self.holds.iter()
    }

    pub(super) fn find(&self, id: Uuid) -> Option<&Hold> {
        self.places.get(&id).and_then(|place| self.holds.get(*place))
    }

    fn put(&mut self, hold: Hold) {
        self.places.insert(hold.id, self.holds.len());
        self.holds.push(hold);
    }
}

impl Fold for HoldBook {
    const STREAM: &'static str = STREAM;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match event.header.event_type.as_str() {
            PLACED => self.put(Hold::placed(recorded(event)?)),
            RELEASED => {
                let released: Recorded<Released> = recorded(event)?;
                let place = self.places.get(&released.payload.hold);
                if let Some(hold) = place.and_then(|place| self.holds.get_mut(*place)) {
                    hold.released = Some(released);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A release that cannot be read releases nothing, and can be repeated.
    fn unreadable(&mut self, event: Unreadable) {
        if event.event_type.is_none() || event.is(PLACED) {
            self.put(Hold::unreadable(&event));
        }
    }
}
