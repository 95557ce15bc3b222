//! Erasures that wait move on: the keys of a grace are withheld, what is due begins.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::{Code, Error, Ledger, Service};
use super::ErasureView;
use super::payload::{Named, Requested};
use super::waiting::{Stage, Submitted, Turn, Waiting, Waits};
use crate::keystore::{SubjectState, Withheld};
use crate::sequencer::NewEvent;

impl Service {
    /// Records an erasure that waits, and moves it on as far as it goes now.
    pub(super) async fn submit_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        submitted: Submitted,
        event: NewEvent,
        turn: &Turn<'_>,
    ) -> Result<ErasureView, Error> {
        let id = submitted.requested.request;
        // Before it is known whether it is recorded: an append that failed may be durable all the same; the tick looks.
        ledger.waiting.store(true, Ordering::Release);
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), Vec::new())
            .await?;
        self.advance_waiting(ledger, turn).await;
        self.blocking(ledger, move |service, ledger| service.erasure(ledger, id))
            .await
    }

    /// Moves on every erasure that waits: withholds keys for a grace, begins what is due. What cannot be moved on now is
    /// logged and tried again.
    pub(in crate::service) async fn advance_waiting(self: &Arc<Self>, ledger: &Arc<Ledger>, _: &Turn<'_>) {
        // IMPORTANT: what a failed commit made durable all the same, a cancellation too, is seen only once the writer has
        // recovered.
        if !ledger.waiting.load(Ordering::Acquire) || !self.is_ready() {
            return;
        }
        let staged = self.blocking(ledger, Self::staged).await;
        match staged {
            Ok((staged, graces_left)) => {
                let waits = self.advance_all(ledger, staged).await;
                ledger.waiting.store(waits || graces_left, Ordering::Release);
            }
            Err(error) => {
                tracing::error!(ledger = %ledger.record.name, error = %error, "erasures that wait cannot be moved on; trying again");
            }
        }
    }

    /// Whether any still waits afterwards.
    async fn advance_all(self: &Arc<Self>, ledger: &Arc<Ledger>, staged: Vec<(Waiting, Stage)>) -> bool {
        let mut waits = false;
        for (waiting, stage) in staged {
            let moved = match stage {
                Stage::Grace(_) => self.withhold(ledger, &waiting).await.map(|()| false),
                Stage::Due => self.begin(ledger, &waiting).await,
                Stage::Unclear(index) => Err(unclear(index)),
                _ => Ok(false),
            };
            if let Err(error) = &moved {
                let request = waiting.id();
                tracing::error!(%request, error = %error, "an erasure that waits cannot be moved on; trying again");
            }
            waits |= !moved.unwrap_or(false);
        }
        waits
    }

    /// Where all stand that wait; what was withheld for others is given back. And whether that is left to be done for some
    /// that have begun and did not come to their end.
    fn staged(&self, ledger: &Ledger) -> Result<(Vec<(Waiting, Stage)>, bool), Error> {
        let open = |waits: &Waits| waits.all().filter(|waiting| waiting.is_open()).cloned().collect();
        let open: Vec<Waiting> = self.fold_now(ledger, &ledger.waits, open)?;
        let graces_left = self.end_graces(ledger, &open)?;
        let holds = self.active_holds(ledger)?;
        let staged = open.into_iter().map(|waiting| {
            let stage = self.stage(ledger, &holds, &waiting)?;
            Ok((waiting, stage))
        });
        Ok((staged.collect::<Result<_, Error>>()?, graces_left))
    }

    async fn withhold(self: &Arc<Self>, ledger: &Arc<Ledger>, waiting: &Waiting) -> Result<(), Error> {
        let withholdings = waiting.withholdings();
        let withhold = move |service: &Self, ledger: &Ledger| {
            let id = ledger.record.id;
            let known = service.keystore.withheld(id);
            let missing: Vec<_> = withholdings.into_iter().filter(|new| !known.contains(new)).collect();
            if !missing.is_empty() {
                ledger.fencing.step(|| service.keystore.withhold(id, &missing))?;
            }
            Ok(())
        };
        self.blocking(ledger, withhold).await
    }

    /// Gives back what was withheld for erasures that are cancelled or over. Whether there are some that are under way.
    fn end_graces(&self, ledger: &Ledger, open: &[Waiting]) -> Result<bool, Error> {
        let open: HashSet<_> = open.iter().map(Waiting::id).collect();
        let withheld = self.keystore.withheld(ledger.record.id).into_iter();
        let graces = withheld.filter(|withheld| withheld.why == Withheld::Grace);
        let graces: HashSet<_> = graces.map(|withheld| withheld.id).collect();
        let mut left = false;
        for id in graces.difference(&open) {
            let over = match self.find_waiting(ledger, *id) {
                Ok(Some(waiting)) if waiting.started => {
                    let erasure = self.find_erasure(ledger, *id)?;
                    let is_over = erasure.is_some_and(|erasure| erasure.completed.is_some());
                    left |= !is_over;
                    is_over
                }
                Ok(Some(waiting)) => waiting.cancelled.is_some() || waiting.recovered.is_some(),
                // Nothing in this ledger says that it may be given back.
                Ok(None) => false,
                Err(error) if error.code == Code::Damaged => false,
                Err(error) => return Err(error),
            };
            if over {
                self.give_back(ledger, *id)?;
            }
        }
        Ok(left)
    }

    /// The point of no return. Gives whether it begun: not while another erasure of one of its people is under way.
    async fn begin(self: &Arc<Self>, ledger: &Arc<Ledger>, waiting: &Waiting) -> Result<bool, Error> {
        let of = waiting.clone();
        let requested = move |service: &Self, ledger: &Ledger| service.requested_now(ledger, &of);
        let Some(payload) = self.blocking(ledger, requested).await? else {
            return Ok(false);
        };
        let event = self.requested_event(&payload)?;
        let erasure = self.record_request(ledger, payload, event).await?;
        let done = match ledger.is_frozen() {
            // What the frozen log lost may have carried it out before.
            true => self.finish(ledger, vec![erasure]).await,
            false => self.run_saga(ledger, erasure).await.map(drop),
        };
        let id = waiting.id();
        if let Err(error) = done {
            ledger.unfinished.store(true, Ordering::Release);
            tracing::error!(request = %id, error = %error, "an erasure cannot be finished; trying again");
            return Ok(false);
        }
        self.blocking(ledger, move |service, ledger| service.give_back(ledger, id))
            .await?;
        Ok(true)
    }

    /// What `erasure.requested` says now: people who were erased in between are counted, not named again.
    fn requested_now(&self, ledger: &Ledger, waiting: &Waiting) -> Result<Option<Requested>, Error> {
        let mut payload = waiting.submitted.payload.requested.clone();
        let mut subjects = Vec::new();
        for handle in waiting.handles() {
            match self.keystore.state(ledger.record.id, handle)? {
                SubjectState::Erased(request) if request != waiting.id() => payload.already_erased += 1,
                SubjectState::Erasing(request)
                    if request != waiting.id() && !self.is_grace(ledger, handle, request) =>
                {
                    return Ok(None);
                }
                _ => subjects.push(Named { handle }),
            }
        }
        payload.subjects = subjects;
        payload.submitted_at = Some(waiting.submitted.recorded_at);
        payload.origin = ledger.is_frozen().then(|| ledger.record.origin.clone());
        Ok(Some(payload))
    }

    /// Takes up erasures that wait. After [`Service::carry_over`], before anything is served.
    ///
    /// # Errors
    /// If the store cannot be read, or the keys of a grace cannot be withheld.
    pub async fn resume_waiting(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let _turn = ledger.erasing.turn.lock().await;
        let (staged, graces_left) = self.blocking(ledger, Self::staged).await?;
        // IMPORTANT: first of all and for all of them: without it nothing may be served.
        for (waiting, stage) in &staged {
            if matches!(stage, Stage::Grace(_)) {
                self.withhold(ledger, waiting).await?;
            }
        }
        let waits = self.advance_all(ledger, staged).await;
        ledger.waiting.store(waits || graces_left, Ordering::Release);
        Ok(())
    }
}

fn unclear(index: u64) -> Error {
    let detail = format!("the event at index {index} cannot be read and may be its cancellation; verify the ledger");
    Error::new(Code::Damaged, detail)
}
