//! Erasures that wait are carried out together: whoever gets the turn takes all that waits, and all of it goes in one
//! change of epoch. So a thousand requests cost a few changes, and none waits longer than for the one that is running.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::super::access::internal;
use super::super::own::By;
use super::super::{Caller, Error, Ledger, Service};
use super::destroy::Deleted;
use super::history::Erasure;
use super::payload::Requested;
use super::waiting::Turn;
use super::{Decision, ErasureRequest, ErasureView};

/// People whose keys go in one change of epoch, unless one request names more.
const MAX_TOGETHER: usize = 1_000;

/// How often completions are looked at that somebody waits for.
const COMPLETION_PAUSE: Duration = Duration::from_millis(5);

/// The erasures of one ledger that wait, and whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<Asked>>,
    pub(in crate::service) turn: tokio::sync::Mutex<()>,
    /// Erasures whose keys are destroyed and that their own request completes, outside of the turn. Grows within it.
    completing: Mutex<HashSet<Uuid>>,
}

/// A request, and who waits for it.
#[derive(Debug)]
struct Asked {
    caller: Caller,
    request: Arc<ErasureRequest>,
    answer: oneshot::Sender<Result<Answer, Error>>,
}

/// One that its own request completes. However that ends, somebody else may from then on.
struct Completing<'a> {
    ledger: &'a Ledger,
    request: Uuid,
    is_done: bool,
}

impl Drop for Completing<'_> {
    fn drop(&mut self) {
        // IMPORTANT: in this order: who takes the flag down looks at what is not completing.
        self.ledger.erasing.completing.lock().remove(&self.request);
        if !self.is_done {
            self.ledger.unfinished.store(true, Ordering::Release);
        }
    }
}

/// What became of it.
#[derive(Debug)]
enum Answer {
    /// Its keys are destroyed.
    Deleted(Box<(Erasure, Deleted)>),
    /// It is recorded and waits.
    Waits(Box<ErasureView>),
}

impl Queue {
    /// The erasures that need nobody else to complete them.
    pub(super) fn completing(&self) -> HashSet<Uuid> {
        self.completing.lock().clone()
    }

    /// Waits until no erasure is being completed by its own request; false if that takes longer. To be called within the
    /// turn, in which no other comes to it.
    pub(in crate::service) async fn completed_within(&self, time: Duration) -> bool {
        let done = async {
            while !self.completing.lock().is_empty() {
                tokio::time::sleep(COMPLETION_PAUSE).await;
            }
        };
        tokio::time::timeout(time, done).await.is_ok()
    }

    /// The requests whose turn it is: at least one if there is any.
    fn take(&self) -> Vec<Asked> {
        let (mut waiting, mut taken, mut people) = (self.waiting.lock(), Vec::new(), 0);
        while let Some(next) = waiting.front() {
            people += next.request.people();
            if people > MAX_TOGETHER && !taken.is_empty() {
                break;
            }
            taken.extend(waiting.pop_front());
        }
        taken
    }
}

impl Service {
    /// Steps 1 to 5 together with all that waits, then the rest of this one alone.
    pub(super) async fn erase_in_turn(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: Caller,
        request: Arc<ErasureRequest>,
    ) -> Result<ErasureView, Error> {
        let (answer, mine) = oneshot::channel();
        ledger.erasing.waiting.lock().push_back(Asked {
            caller,
            request,
            answer,
        });
        {
            // Turns are first come, first served, and each takes one at least: nobody's request is left behind.
            let turn = ledger.erasing.turn.lock().await;
            self.erase_together(ledger, ledger.erasing.take(), &turn).await;
        }
        let (erasure, deleted) = match mine.await.map_err(internal)?? {
            Answer::Deleted(both) => *both,
            Answer::Waits(view) => return Ok(*view),
        };
        let mut completing = Completing {
            ledger,
            request: erasure.requested.payload.request,
            is_done: false,
        };
        let completed = self.complete(ledger, erasure, deleted).await;
        completing.is_done = completed.is_ok();
        drop(completing);
        completed.map(|erasure| erasure.view(ledger))
    }

    async fn erase_together(self: &Arc<Self>, ledger: &Arc<Ledger>, asked: Vec<Asked>, turn: &Turn<'_>) {
        let (mut named, mut requests, mut waits) = (HashSet::new(), Vec::new(), Vec::new());
        for asked in asked {
            let (before, by, request) = (named.clone(), By::of(&asked.caller), Arc::clone(&asked.request));
            let decide = move |service: &Self, ledger: &Ledger| service.decide(ledger, by, &request, &before);
            match self.blocking(ledger, decide).await {
                Ok(Decision::Begin(payload)) => {
                    named.extend(payload.subjects.iter().map(|named| named.handle));
                    requests.push((asked, *payload));
                }
                Ok(Decision::Wait(submitted)) => waits.push((asked.answer, submitted)),
                Err(error) => drop(asked.answer.send(Err(error))),
            }
        }
        self.begin_together(ledger, requests).await;
        // After those that begin: nothing that waits moves on before what was decided earlier is recorded.
        for (answer, submitted) in waits {
            let (submitted, event) = *submitted;
            let view = self.submit_erasure(ledger, submitted, event, turn).await;
            drop(answer.send(view.map(|view| Answer::Waits(Box::new(view)))));
        }
    }

    /// Steps 1 to 5 of requests that begin at once.
    async fn begin_together(self: &Arc<Self>, ledger: &Arc<Ledger>, requests: Vec<(Asked, Requested)>) {
        // The sequencer takes them as one group; each is appended, or refused, by itself.
        let recorded = requests.into_iter().map(async |(asked, payload)| {
            let erasure = self.request_erasure(ledger, &asked.request, payload).await;
            (asked.answer, erasure)
        });
        let (mut waiting, mut erasures) = (Vec::new(), Vec::new());
        for (answer, erasure) in futures_util::future::join_all(recorded).await {
            match erasure {
                Ok(erasure) => {
                    waiting.push(answer);
                    erasures.push(erasure);
                }
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        if erasures.is_empty() {
            return;
        }
        let deleted = match self.delete_together(ledger, &erasures).await {
            Ok(deleted) => deleted,
            Err(error) => erasures.iter().map(|_| Err(not_answered(&error))).collect(),
        };
        if deleted.iter().any(Result::is_err) {
            ledger.unfinished.store(true, Ordering::Release);
        }
        for ((answer, erasure), deleted) in waiting.into_iter().zip(erasures).zip(deleted) {
            let mine = deleted.map(|deleted| Answer::Deleted(Box::new((erasure, deleted))));
            if let Ok(Answer::Deleted(both)) = &mine {
                let request = both.0.requested.payload.request;
                ledger.erasing.completing.lock().insert(request);
            }
            // Nobody who waits goes away: a request is a task of its own.
            drop(answer.send(mine));
        }
    }
}

/// One failure, told to everybody whose erasure was in it.
pub(super) fn not_answered(error: &Error) -> Error {
    Error::new(error.code, error.detail.clone())
}

/// Erasures in parts that go together.
pub(super) fn parts(erasures: Vec<Erasure>) -> Vec<Vec<Erasure>> {
    let (mut parts, mut people) = (Vec::<Vec<Erasure>>::new(), 0);
    for erasure in erasures {
        let more = erasure.requested.payload.subjects.len();
        match parts.last_mut().filter(|_| people + more <= MAX_TOGETHER) {
            Some(part) => {
                people += more;
                part.push(erasure);
            }
            None => {
                people = more;
                parts.push(vec![erasure]);
            }
        }
    }
    parts
}
