//! The writer's two threads: one plans and signs, the other commits, publishes and answers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};
use rayon::prelude::*;
use tokio::sync::oneshot;

use super::clock::Watch;
use super::fences::Standing;
use super::meters::Meters;
use super::plan::{Known, LedgerState, Plan, Planned};
use super::pool::{Pending, Pool, Work};
use super::{Answer, Appended, LedgerKeys, Parts, Placed, Refusal, View, load};
use crate::spec::checkpoint::Checkpoint;
use crate::spec::ids::{StreamRef, Timestamp};
use crate::store::{Batch, Head, LedgerBatch, LedgerNumber, RecordWrite, StoreError};
use crate::trace;

/// How long the writer waits before it reads the heads again after a failed commit.
const RECOVERY_PAUSE: Duration = Duration::from_secs(1);

/// Events up to which a group is signed on the planning thread: a millisecond of work.
const SIGNED_ALONE: usize = 64;

/// A planned and signed group on its way to the disk.
struct Group {
    batch: Batch,
    views: Vec<Arc<View>>,
    replies: Vec<(oneshot::Sender<Answer>, Reply)>,
    trace: trace::Group,
}

/// What to tell once the group is durable.
enum Reply {
    Refused(Refusal),
    Appended { events: Vec<Placed>, view: Arc<View> },
}

/// Every fence that stands, by ledger. A recovery makes the planner's states anew from these, without those whose event did
/// not become durable.
type Fenced = HashMap<LedgerNumber, Standing>;

/// When the writer ends, by whatever way: nobody is let in any more, and nobody waits for ever.
struct End<'a>(&'a Parts, &'a Pool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.poisoned.store(true, Ordering::Release);
        self.1.close();
        refuse(self.1.drain(), &Refusal::Unavailable);
    }
}

/// Runs until the pool is closed and empty.
pub(super) fn run(parts: &Arc<Parts>, pool: &Pool) {
    let _end = End(parts, pool);
    let mut fences = Fenced::new();
    let mut watch = Watch::default();
    loop {
        let (to_committer, groups) = bounded(1);
        let committer = {
            let parts = Arc::clone(parts);
            std::thread::Builder::new()
                .name("committer".into())
                .spawn(move || commit_all(&parts, &groups))
        };
        let closed = Planner {
            parts,
            states: HashMap::new(),
            watch: &mut watch,
        }
        .run(pool, &mut fences, &to_committer);
        drop(to_committer);
        let _ = committer.map(std::thread::JoinHandle::join);
        if closed {
            return;
        }
        if !recover(parts, pool) {
            return;
        }
        for (ledger, standing) in &mut fences {
            standing.recover(parts.view(*ledger).map_or(0, |view| view.size()));
        }
    }
}

/// Reads every head again, as at start, until that works (true) or the pool is closed (false: who waits is refused).
fn recover(parts: &Parts, pool: &Pool) -> bool {
    loop {
        std::thread::sleep(RECOVERY_PAUSE);
        if pool.is_closed() {
            return false;
        }
        let views: Vec<_> = parts.views.read().values().cloned().collect();
        let reloaded = views.iter().try_for_each(|view| {
            let ledger = view.load().ledger.clone();
            load::view(&*parts.store, &ledger).map(|fresh| view.store(Arc::new(fresh)))
        });
        // A disk that still takes nothing would only poison the writer again.
        let reloaded = reloaded.and_then(|()| Ok(parts.store.put_records(&[probe()])?));
        match reloaded {
            Ok(()) => break,
            Err(error) => tracing::error!(error = %error, "the ledger cannot be read again after a failed commit"),
        }
    }
    parts.poisoned.store(false, Ordering::Release);
    tracing::warn!("the heads were read again after a failed commit; appends are taken");
    true
}

/// A record that is written to see whether writing works.
fn probe() -> RecordWrite {
    RecordWrite {
        ledger: None,
        kind: "writer",
        id: "recovered".into(),
        value: Some(Vec::new()),
    }
}

struct Planner<'a> {
    parts: &'a Arc<Parts>,
    states: HashMap<LedgerNumber, LedgerState>,
    watch: &'a mut Watch,
}

impl Planner<'_> {
    /// Plans until the pool is closed (true) or a commit failed (false).
    fn run(mut self, pool: &Pool, fences: &mut Fenced, to_committer: &Sender<Group>) -> bool {
        loop {
            let pending = match pool.take() {
                Work::Closed => return true,
                Work::Fence(ledger, opened) => {
                    if let Some(state) = self.states.get_mut(&ledger) {
                        opened.iter().for_each(|fence| state.fences.add(fence.clone()));
                    }
                    let standing = fences.entry(ledger).or_default();
                    opened.into_iter().for_each(|fence| standing.add(None, fence));
                    standing.settle(self.parts.view(ledger).map_or(0, |view| view.size()));
                    continue;
                }
                Work::Group(pending) => pending,
                Work::Idle => Vec::new(),
            };
            if self.parts.poisoned.load(Ordering::Acquire) {
                refuse(pending, &Refusal::Unavailable);
                return false;
            }
            if pending.is_empty() {
                continue;
            }
            match self.group(pending, fences) {
                Ok(group) => {
                    if let Err(unsent) = to_committer.send(group) {
                        fail(unsent.into_inner());
                        return false;
                    }
                }
                Err(error) => {
                    tracing::error!(error = %error, "the ledger's store cannot be read");
                    self.parts.poisoned.store(true, Ordering::Release);
                    return false;
                }
            }
        }
    }

    /// Plans and signs one group over all ledgers for which something waits.
    fn group(&mut self, mut pending: Vec<Pending>, fences: &mut Fenced) -> Result<Group, StoreError> {
        let mut group = Group {
            batch: Batch::default(),
            views: Vec::new(),
            replies: Vec::new(),
            trace: trace::Group::of(pending.iter_mut().filter_map(|pending| pending.waiting.take())),
        };
        let span = group.trace.span();
        let _group = span.enter();
        let mut ledgers: BTreeMap<LedgerNumber, Vec<Pending>> = BTreeMap::new();
        for pending in pending {
            ledgers.entry(pending.append.ledger).or_default().push(pending);
        }
        for (ledger, pending) in ledgers {
            match self.plannable(ledger, fences) {
                Ok(now) => {
                    let own = fences.entry(ledger).or_default();
                    self.plan_ledger(ledger, pending, now, &mut group, own)?;
                }
                Err(refusal) => {
                    let refused = pending
                        .into_iter()
                        .map(|pending| (pending.reply, Reply::Refused(refusal.clone())));
                    group.replies.extend(refused);
                }
            }
        }
        Ok(group)
    }

    /// Makes the ledger's state if need be and reads the clock.
    fn plannable(&mut self, ledger: LedgerNumber, fences: &mut Fenced) -> Result<Timestamp, Refusal> {
        let view = self.parts.view(ledger).ok_or(Refusal::UnknownLedger)?;
        let standing = fences.entry(ledger).or_default();
        let state = self.states.entry(ledger).or_insert_with(|| {
            let mut state = LedgerState::new(&view);
            state.fences = standing.fences();
            state
        });
        state.retire(view.size());
        standing.settle(view.size());
        let newest = state.head.map_or(Timestamp(0), |head| head.recorded_at);
        self.watch
            .check(self.parts.clock.read(), newest)
            .map_err(|seconds| Refusal::ClockJumped { seconds })
    }

    fn plan_ledger(
        &mut self,
        ledger: LedgerNumber,
        pending: Vec<Pending>,
        now: Timestamp,
        group: &mut Group,
        fences: &mut Standing,
    ) -> Result<(), StoreError> {
        let keys = self.parts.keys.read().get(&ledger).cloned();
        let (Some(state), Some(keys)) = (self.states.get_mut(&ledger), keys) else {
            return Ok(());
        };
        let expected = state.head;
        let known = look_up(&*self.parts.store, state, &pending)?;
        let (mut appends, mut replies, mut extras) = (Vec::new(), Vec::new(), Vec::new());
        for mut pending in pending {
            extras.push((
                std::mem::take(&mut pending.append.records),
                pending.append.fences.clone(),
            ));
            replies.push(pending.reply);
            appends.push(pending.append);
        }
        let entropy = &*self.parts.entropy;
        let plan = span!("plan", appends = appends.len())
            .in_scope(|| state.plan(appends.into_iter(), known, now, &mut || StreamRef(entropy.bytes())));
        let Plan {
            mut events,
            answers,
            streams,
            removals,
        } = plan;
        let view = match state.head {
            Some(head) if !events.is_empty() => {
                let span = span!("sign", events = events.len());
                let checkpoint = span.in_scope(|| {
                    sign_all(&keys, &mut events);
                    sign_checkpoint(&keys, state)
                });
                let tiles = state.edge.drain_full_tiles();
                let view = View {
                    ledger: state.ledger.clone(),
                    head: Some(head),
                    edge: state.edge.clone(),
                    checkpoint,
                };
                add_to_batch(group, &view, head, expected, tiles, streams);
                Arc::new(view)
            }
            _ => Arc::new(View {
                ledger: state.ledger.clone(),
                head: state.head,
                edge: state.edge.clone(),
                checkpoint: String::new(),
            }),
        };
        for ((answer, reply), (records, begun)) in answers.into_iter().zip(replies).zip(extras) {
            let reply_with = match answer {
                Err(refusal) => Reply::Refused(refusal),
                Ok(range) => {
                    group.batch.records.extend(records);
                    let first = events.get(range.start).map_or(0, |planned| planned.event.row.index);
                    begun.into_iter().for_each(|fence| fences.add(Some(first), fence));
                    let placed = |planned: &Planned| Placed::of(&planned.event, planned.leaf_hash, planned.recorded_at);
                    let events = events.get(range).unwrap_or_default().iter().map(placed).collect();
                    Reply::Appended {
                        events,
                        view: Arc::clone(&view),
                    }
                }
            };
            group.replies.push((reply, reply_with));
        }
        if let Some(batch) = group
            .batch
            .ledgers
            .last_mut()
            .filter(|batch| batch.ledger.number == ledger)
        {
            batch.removals = removals;
            batch.events = events.into_iter().map(|planned| planned.event).collect();
            group.views.push(view);
        }
        Ok(())
    }
}

fn add_to_batch(
    group: &mut Group,
    view: &View,
    head: Head,
    expected: Option<Head>,
    tiles: Vec<crate::spec::edge::FullTile>,
    streams: HashMap<crate::spec::ids::StreamName, crate::store::StreamRow>,
) {
    group.batch.ledgers.push(LedgerBatch {
        ledger: view.ledger.clone(),
        expected,
        head,
        events: Vec::new(),
        removals: Vec::new(),
        streams: streams.into_iter().collect(),
        tiles,
        checkpoint: view.checkpoint.clone(),
    });
}

/// A small group is signed on this thread: waking others costs more than it saves.
fn sign_all(keys: &LedgerKeys, events: &mut [Planned]) {
    if events.len() <= SIGNED_ALONE {
        events.iter_mut().for_each(|planned| sign(keys, planned));
    } else {
        events
            .par_iter_mut()
            .with_min_len(4)
            .for_each(|planned| sign(keys, planned));
    }
}

fn sign(keys: &LedgerKeys, planned: &mut Planned) {
    planned.event.row.signature = keys.event.sign_detached(&planned.event.row.header);
}

fn sign_checkpoint(keys: &LedgerKeys, state: &LedgerState) -> String {
    let origin = keys.checkpoint.verifier().name().clone();
    let checkpoint = Checkpoint {
        origin,
        size: state.edge.size(),
        root: state.edge.root(),
    };
    // Signing fails only for a key of another name or an empty tree; neither can be here.
    checkpoint
        .sign(&[&keys.checkpoint])
        .map(|note| note.to_string())
        .unwrap_or_default()
}

/// Reads from the store what the plan must know of it.
fn look_up(
    store: &dyn crate::store::LedgerStore,
    state: &LedgerState,
    pending: &[Pending],
) -> Result<Known, StoreError> {
    let (ids, streams) = state.unknown(pending.iter().map(|pending| &pending.append));
    let ledger = state.ledger.number;
    let indexes = if ids.is_empty() {
        Vec::new()
    } else {
        store.indexes_of(ledger, &ids)?
    };
    let rows = if streams.is_empty() {
        Vec::new()
    } else {
        store.stream_rows(ledger, &streams)?
    };
    let ids = ids
        .into_iter()
        .zip(indexes)
        .filter_map(|(id, index)| Some((id, index?)))
        .collect();
    let streams = streams
        .into_iter()
        .zip(rows)
        .filter_map(|(name, row)| Some((name, row?)))
        .collect();
    Ok(Known { ids, streams })
}

fn commit_all(parts: &Parts, groups: &Receiver<Group>) {
    let meters = Meters::default();
    for group in groups {
        if parts.poisoned.load(Ordering::Acquire) {
            fail(group);
            continue;
        }
        let span = group.trace.span();
        let _group = span.enter();
        let written = if group.batch.ledgers.is_empty() {
            Ok(())
        } else {
            span!("commit").in_scope(|| meters.commit(&group.batch, || parts.store.commit(&group.batch)))
        };
        match written {
            Ok(()) => span!("publish").in_scope(|| publish(parts, group)),
            Err(error) => {
                tracing::error!(error = %error, cause = ?error, "a commit failed; the writer is poisoned");
                parts.poisoned.store(true, Ordering::Release);
                fail(group);
            }
        }
    }
}

/// IMPORTANT: readers get the new view before anybody is told that an append succeeded, so that whoever was told can read.
fn publish(parts: &Parts, group: Group) {
    for view in &group.views {
        if let Some(published) = parts.views.read().get(&view.ledger.number) {
            ArcSwap::store(published, Arc::clone(view));
        }
        parts.publish.published(view);
    }
    for (reply, with) in group.replies {
        let _ = reply.send(match with {
            Reply::Refused(refusal) => Err(refusal),
            Reply::Appended { events, view } => Ok(Appended { events, view }),
        });
    }
}

fn fail(group: Group) {
    for (reply, _) in group.replies {
        let _ = reply.send(Err(Refusal::Unavailable));
    }
}

fn refuse(pending: Vec<Pending>, refusal: &Refusal) {
    for pending in pending {
        let _ = pending.reply.send(Err(refusal.clone()));
    }
}
