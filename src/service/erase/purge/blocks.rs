//! The sealed blocks that erasures cover: found, and removed with their authority in the same write.
//!
//! Bounded in what is held in memory, by number and by bytes: events are read in pieces that follow a budget, and removed as
//! soon as enough blocks are gathered, whether of many people or of one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use metrics::counter;
use uuid::Uuid;

use super::super::super::pace::Pace;
use super::super::super::read::StoredEvent;
use super::super::super::{Error, Ledger, Service};
use super::super::history::Erasure;
use super::super::saga::sealed_blocks;
use super::{CIPHERTEXT, PART_PAUSE, PURGED, PURGES};
use crate::keystore::ErasureOrder;
use crate::spec::event::{Actor, BodyKind};
use crate::spec::ids::Handle;
use crate::spec::seal::SealedBlock;
use crate::spec::system::{BodiesPurged, Ground, MAX_POSITIONS, is_reserved};
use crate::store::{Direction, Lookup, Removal};

/// Blocks after which they are removed before more are gathered.
const ENOUGH_BLOCKS: usize = 100_000;
/// Places of events that are looked up at once, and events that are read at once at the most: each has up to 256 blocks.
const LOOKED_UP: usize = 10_000;
const MOST: u64 = 64;

/// Blocks to remove, by place, each with the erasures that cover it.
type Covered = BTreeMap<(u64, u16), (Removal, BTreeSet<Uuid>)>;

/// Where the look for an erasure's blocks goes on.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// Which of its subjects.
    order: usize,
    /// From which leaf index on.
    index: u64,
}

impl Service {
    /// Part after part, until no block of these erasures is left.
    pub(super) async fn purge_blocks(self: &Arc<Self>, ledger: &Arc<Ledger>, open: &[Erasure]) -> Result<(), Error> {
        let _turn = self.removing.lock().await;
        let pending = open.iter().filter(|erasure| erasure.has_pending(CIPHERTEXT));
        let mut pending = pending.map(|erasure| (erasure, Place::default()));
        let mut look = pending.next();
        while look.is_some() {
            let mut covered = Covered::new();
            while let Some((erasure, place)) = look.take() {
                let looked_at = erasure.clone();
                let (gathered, next) = self
                    .blocking(ledger, move |service, on| {
                        service.covered_blocks(on, &looked_at, place, covered)
                    })
                    .await?;
                covered = gathered;
                look = next.map(|place| (erasure, place)).or_else(|| pending.next());
                if covered.len() >= ENOUGH_BLOCKS {
                    break;
                }
            }
            self.purge_covered(ledger, covered).await?;
        }
        Ok(())
    }

    /// The blocks of an erasure that are still there, from a place on: of its subjects and categories, sealed before the
    /// fence. Gives where to go on if there are enough.
    fn covered_blocks(
        &self,
        ledger: &Ledger,
        erasure: &Erasure,
        from: Place,
        mut covered: Covered,
    ) -> Result<(Covered, Option<Place>), Error> {
        let end = erasure.requested.index.saturating_add(1);
        for (at, order) in erasure.orders().iter().enumerate().skip(from.order) {
            let mut indexes = if at == from.order { from.index } else { 0 }..end;
            let lookup = Lookup::Handle(order.handle);
            loop {
                let (number, within) = (ledger.record.number, indexes.clone());
                let found = self
                    .store
                    .find(number, &lookup, within, Direction::Forward, LOOKED_UP)?;
                if found.is_empty() {
                    break;
                }
                let mut pace = Pace::careful(0..found.len() as u64, MOST);
                while let Some(piece) = pace.next() {
                    let piece = usize::try_from(piece.start).unwrap_or(usize::MAX)
                        ..usize::try_from(piece.end).unwrap_or(usize::MAX);
                    let piece = found.get(piece).unwrap_or_default();
                    let mut unread = Vec::new();
                    let events = self.readable_events(ledger, piece, &mut unread)?;
                    if !unread.is_empty() {
                        ledger.unpurged.lock().insert(erasure.id());
                    }
                    pace.saw(events.iter().map(StoredEvent::weight).sum());
                    events
                        .iter()
                        .for_each(|event| cover(&mut covered, event, order, erasure.id()));
                    indexes.start = piece.last().map_or(end, |last| last.saturating_add(1));
                    if covered.len() >= ENOUGH_BLOCKS {
                        let index = indexes.start;
                        return Ok((covered, Some(Place { order: at, index })));
                    }
                }
            }
        }
        Ok((covered, None))
    }

    async fn purge_covered(&self, ledger: &Ledger, covered: Covered) -> Result<(), Error> {
        let mut covered = covered.into_values().peekable();
        while covered.peek().is_some() {
            let part: Vec<_> = covered.by_ref().take(MAX_POSITIONS).collect();
            let requests: BTreeSet<Uuid> = part.iter().flat_map(|(_, requests)| requests).copied().collect();
            let requests = Some(requests.into_iter().collect());
            let removals = part.into_iter().map(|(removal, _)| removal).collect();
            self.append_purge(ledger, (Ground::Erasure, requests), None, removals)
                .await?;
            tokio::time::sleep(PART_PAUSE).await;
        }
        Ok(())
    }

    /// Removes at most [`MAX_POSITIONS`] blocks, with their authority in the same write. Gives its index.
    pub(in crate::service) async fn append_purge(
        &self,
        ledger: &Ledger,
        (ground, requests): (Ground, Option<Vec<Uuid>>),
        correlation_id: Option<String>,
        removals: Vec<Removal>,
    ) -> Result<Option<u64>, Error> {
        let positions = removals.iter().map(|removal| (removal.index, removal.ordinal).into());
        let payload = BodiesPurged {
            ground,
            requests,
            positions: positions.collect(),
        };
        let event = self.system_event(PURGES, PURGED, &payload, correlation_id)?;
        let count = removals.len() as u64;
        let appended = self.append_removal(ledger, vec![event], removals).await?;
        counter!("oubliette_purged_bodies_total", "ledger" => ledger.record.name.to_string()).increment(count);
        Ok(appended.events.first().map(|placed| placed.index))
    }
}

/// The blocks of one event that an order covers. IMPORTANT: with those of it that are gathered already, so that the row which
/// leads to the event goes with the last of them, whoever covers it.
fn cover(covered: &mut Covered, event: &StoredEvent, order: &ErasureOrder, request: Uuid) {
    let covers = |block: &SealedBlock| {
        let named = order.categories.as_ref();
        block.handle == order.handle && named.is_none_or(|named| named.contains(&block.category))
    };
    let own: Vec<_> = sealed_blocks(event).filter(|(_, block)| covers(block)).collect();
    let leaves = |ordinal| {
        let is_own = own.iter().any(|(own, _)| *own == ordinal);
        is_own || covered.contains_key(&(event.index, ordinal))
    };
    for removal in removals_of(event, |ordinal, _| leaves(ordinal)) {
        let is_own = own.iter().any(|(ordinal, _)| *ordinal == removal.ordinal);
        let (known, requests) = covered
            .entry((removal.index, removal.ordinal))
            .or_insert_with(|| (removal.clone(), BTreeSet::new()));
        *known = removal;
        if is_own {
            requests.insert(request);
        }
    }
}

/// The removals of some sealed blocks of an event. IMPORTANT: the row that leads from a subject to the event goes with the
/// subject's last block, so that no block is left that nothing leads to; it stays where the subject acts, or the event is one
/// of Oubliette's own.
pub(in crate::service) fn removals_of(event: &StoredEvent, leaves: impl Fn(u16, &SealedBlock) -> bool) -> Vec<Removal> {
    let blocks: Vec<_> = sealed_blocks(event).collect();
    let mut last: BTreeMap<Handle, Option<u16>> = BTreeMap::new();
    for (ordinal, block) in &blocks {
        let last = last.entry(block.handle).or_insert(Some(*ordinal));
        *last = last.filter(|_| leaves(*ordinal, block)).map(|_| *ordinal);
    }
    let acts = event.meta.as_ref().and_then(|meta| meta.actor.as_ref());
    let own = is_reserved(&event.header.event_type);
    let stays = |handle| own || acts == Some(&Actor::Subject(handle));
    let doomed = blocks.into_iter().filter(|(ordinal, block)| leaves(*ordinal, block));
    let removal = |(ordinal, block): (u16, SealedBlock)| {
        let is_last = last.get(&block.handle) == Some(&Some(ordinal));
        Removal {
            index: event.index,
            ordinal,
            kind: BodyKind::Sealed,
            lookups: match is_last && !stays(block.handle) {
                true => vec![Lookup::Handle(block.handle)],
                false => Vec::new(),
            },
            stream: None,
        }
    };
    doomed.map(removal).collect()
}
