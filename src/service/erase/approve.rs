//! Second keys: an erasure that waits is approved, or taken back before it has begun.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::super::own::{Act, By};
use super::super::{Caller, Code, Error, Ledger, Service};
use super::ErasureView;
use super::payload::STREAM;
use super::waiting::{APPROVED, CANCELLATION_REQUESTED, CANCELLED, Cancelled, Signed, Stage, Waiting};

impl Service {
    /// Approves an erasure under four eyes.
    ///
    /// # Errors
    /// `not_found`, `second_key_needed`, `erasure_settled`; whatever appending may answer.
    pub async fn approve_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ErasureView, Error> {
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let turn = on.erasing.turn.lock().await;
            let (waiting, stage) = service.waiting_now(&on, id).await?;
            if stage != Stage::PendingApproval {
                return Err(settled("this erasure waits for no approval"));
            }
            if waiting.submitted.payload.requested.by == by.by {
                return Err(second_key(
                    "the API key that asked for an erasure cannot approve it; use another one",
                ));
            }
            service.sign(&on, APPROVED, id, by).await?;
            service.advance_waiting(&on, &turn).await;
            drop(turn);
            let view = move |service: &Self, ledger: &Ledger| service.erasure(ledger, id);
            service.blocking(&on, view).await
        });
        task.await.map_err(super::super::access::internal)?
    }

    /// Takes an erasure back before it has begun: at once while it waits for an approval, else with the second of two
    /// different keys.
    ///
    /// # Errors
    /// `not_found`, `second_key_needed`, `erasure_settled` once it has begun or was cancelled; whatever appending may
    /// answer.
    pub async fn cancel_erasure(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        id: Uuid,
    ) -> Result<ErasureView, Error> {
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        let task = tokio::spawn(async move {
            let turn = on.erasing.turn.lock().await;
            let (waiting, stage) = service.waiting_now(&on, id).await?;
            let keys = match (&stage, &waiting.cancellation) {
                (Stage::Started | Stage::Recovered, _) => {
                    return Err(settled("this erasure has begun and cannot be taken back"));
                }
                (Stage::Cancelled, _) => return Err(settled("this erasure was cancelled")),
                (Stage::PendingApproval, _) => vec![by.by],
                (_, None) => {
                    service.sign(&on, CANCELLATION_REQUESTED, id, by).await?;
                    drop(turn);
                    let view = move |service: &Self, ledger: &Ledger| service.erasure(ledger, id);
                    return service.blocking(&on, view).await;
                }
                (_, Some(first)) if first.payload.by.by == by.by => {
                    return Err(second_key("a second, different API key must ask for it, too"));
                }
                (_, Some(first)) => vec![first.payload.by.by.clone(), by.by],
            };
            let cancelled = service.cancel_and_give_back(&on, id, keys).await;
            drop(turn);
            cancelled.inspect_err(|_| on.waiting.store(true, Ordering::Release))
        });
        task.await.map_err(super::super::access::internal)?
    }

    /// IMPORTANT: what breaks off in between leaves the keys withheld; the tick and the start give them back.
    async fn cancel_and_give_back(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        id: Uuid,
        by: Vec<String>,
    ) -> Result<ErasureView, Error> {
        let payload = Cancelled { request: id, by };
        let act = Act {
            stream: STREAM,
            event_type: CANCELLED,
            payload: &payload,
            id,
            handles: &[],
        };
        self.record_act(ledger, act).await?;
        let give_back = move |service: &Self, ledger: &Ledger| {
            service.give_back(ledger, id)?;
            service.erasure(ledger, id)
        };
        self.blocking(ledger, give_back).await
    }

    async fn waiting_now(self: &Arc<Self>, ledger: &Arc<Ledger>, id: Uuid) -> Result<(Waiting, Stage), Error> {
        let find = move |service: &Self, ledger: &Ledger| match service.find_waiting(ledger, id)? {
            Some(waiting) => {
                let stage = service.stage(ledger, &service.active_holds(ledger)?, &waiting)?;
                Ok((waiting, stage))
            }
            None if service.find_erasure(ledger, id)?.is_some() => {
                Err(settled("this erasure has begun and cannot be taken back"))
            }
            None => Err(Error::new(Code::NotFound, "there is no erasure of this id")),
        };
        self.blocking(ledger, find).await
    }

    async fn sign(&self, ledger: &Ledger, event_type: &'static str, request: Uuid, by: By) -> Result<(), Error> {
        let payload = Signed { request, by };
        let act = Act {
            stream: STREAM,
            event_type,
            payload: &payload,
            id: request,
            handles: &[],
        };
        self.record_act(ledger, act).await.map(drop)
    }
}

fn settled(detail: &str) -> Error {
    Error::new(Code::ErasureSettled, detail)
}

fn second_key(detail: &str) -> Error {
    Error::new(Code::SecondKeyNeeded, detail)
}
