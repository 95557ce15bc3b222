//! The pool: appends that wait to be sequenced, bounded in events and bytes.

use std::collections::VecDeque;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use super::{Answer, Append, Fence, Refusal};
use crate::store::LedgerNumber;
use crate::trace::Waiting;

/// How long the writer waits for work before it looks whether a commit failed.
const IDLE: std::time::Duration = std::time::Duration::from_millis(500);

/// Bounds of queue and group.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Events that may wait.
    pub waiting_events: usize,
    /// Bytes of bodies that may wait.
    pub waiting_bytes: usize,
    /// Events after which a group is closed.
    pub group_events: usize,
    /// Bytes after which a group is closed.
    pub group_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting_events: 16_384,
            waiting_bytes: 128 << 20,
            group_events: 1_024,
            group_bytes: 16 << 20,
        }
    }
}

/// An append with the one who waits for it.
pub(super) struct Pending {
    pub(super) append: Append,
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) waiting: Option<Waiting>,
    bytes: usize,
}

/// What the writer takes from the pool.
pub(super) enum Work {
    /// Fences that no append brings along.
    Fence(LedgerNumber, Vec<Fence>),
    /// Appends for the next group.
    Group(Vec<Pending>),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come any more.
    Closed,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    fences: VecDeque<(LedgerNumber, Vec<Fence>)>,
    events: usize,
    bytes: usize,
    closed: bool,
}

/// See the module.
pub(super) struct Pool {
    limits: Limits,
    state: Mutex<State>,
    arrived: Condvar,
}

impl Pool {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    pub(super) fn fence(&self, ledger: LedgerNumber, fences: Vec<Fence>) {
        self.state.lock().fences.push_back((ledger, fences));
        self.arrived.notify_one();
    }

    pub(super) fn push(&self, append: Append) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let events = append.events.len();
        let bytes = append
            .events
            .iter()
            .flat_map(|event| &event.bodies)
            .map(|(body, _)| body.bytes.len() + 128)
            .sum();
        let mut state = self.state.lock();
        if state.closed {
            return Err(Refusal::Unavailable);
        }
        let full =
            state.events + events > self.limits.waiting_events || state.bytes + bytes > self.limits.waiting_bytes;
        // One append that is larger than the whole queue may still pass alone.
        if full && state.events > 0 {
            return Err(Refusal::Overloaded);
        }
        state.events += events;
        state.bytes += bytes;
        let (reply, answer) = oneshot::channel();
        state.waiting.push_back(Pending {
            append,
            reply,
            waiting: Some(Waiting::begin()),
            bytes,
        });
        drop(state);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Waits for work and takes up to one group of it.
    pub(super) fn take(&self) -> Work {
        let mut state = self.state.lock();
        loop {
            if let Some((ledger, fences)) = state.fences.pop_front() {
                return Work::Fence(ledger, fences);
            }
            if !state.waiting.is_empty() {
                return Work::Group(self.take_group(&mut state));
            }
            if state.closed {
                return Work::Closed;
            }
            if self.arrived.wait_for(&mut state, IDLE).timed_out() {
                return Work::Idle;
            }
        }
    }

    fn take_group(&self, state: &mut State) -> Vec<Pending> {
        let (mut group, mut events, mut bytes) = (Vec::new(), 0, 0);
        while let Some(next) = state.waiting.front() {
            let size = next.append.events.len();
            let fits = events + size <= self.limits.group_events && bytes + next.bytes <= self.limits.group_bytes;
            if !group.is_empty() && !fits {
                break;
            }
            events += size;
            bytes += next.bytes;
            group.extend(state.waiting.pop_front());
        }
        state.events = state.events.saturating_sub(events);
        state.bytes = state.bytes.saturating_sub(bytes);
        group
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.arrived.notify_all();
    }

    /// Takes everything that still waits.
    pub(super) fn drain(&self) -> Vec<Pending> {
        self.state.lock().waiting.drain(..).collect()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().events
    }
}
