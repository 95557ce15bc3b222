//! What acts recorded and did not carry out: restrictions that are not withheld, reopenings that opened nothing, categories
//! that a retention run left closed. The ledger says what was meant; here the key store is brought to it, at start, and by a
//! tick where an act broke off while the server ran on (a full disk, a writer that failed).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Error, Ledger, Service};

impl Ledger {
    /// An act broke off: what it recorded may not be carried out.
    pub(super) fn leave_unsettled(&self) {
        self.unsettled.store(true, Ordering::Release);
    }
}

impl Service {
    /// Looks after what broke off, after erasures that wait, and after what has expired; called every few seconds.
    pub async fn tick(self: &Arc<Self>) {
        for ledger in self.all_ledgers() {
            self.settle_acts(&ledger).await;
            if ledger.waiting.load(Ordering::Acquire) {
                let turn = ledger.erasing.turn.lock().await;
                self.advance_waiting(&ledger, &turn).await;
            }
            if let Err(error) = self.blocking(&ledger, Self::forget_suppressed).await {
                tracing::error!(ledger = %ledger.record.name, error = %error, "expired suppressions cannot be deleted");
            }
            if let Err(error) = self.confirm_newcomers(&ledger).await {
                tracing::error!(ledger = %ledger.record.name, error = %error, "it cannot be looked whether events name new people");
            }
        }
    }

    async fn settle_acts(self: &Arc<Self>, ledger: &Arc<Ledger>) {
        if !ledger.unsettled.load(Ordering::Acquire) {
            return;
        }
        let _turn = ledger.erasing.turn.lock().await;
        // IMPORTANT: what a failed commit made durable all the same is seen only once the writer has recovered. And an
        // erasure that broke off closes first what a reopening before it opens.
        if !self.is_ready() || ledger.unfinished.load(Ordering::Acquire) {
            return;
        }
        ledger.unsettled.store(false, Ordering::Release);
        let settled = match self.blocking(ledger, Self::catch_up).await {
            Ok(()) => self.reopen_retained(ledger).await,
            Err(error) => Err(error),
        };
        if let Err(error) = &settled {
            tracing::error!(ledger = %ledger.record.name, error = %error, "acts that broke off cannot be carried out; trying again");
        }
        if !settled.unwrap_or(false) {
            ledger.leave_unsettled();
        }
    }

    fn catch_up(&self, ledger: &Ledger) -> Result<(), Error> {
        let opened = self.carry_over_reopenings(ledger)?;
        self.open_again(ledger, opened);
        self.carry_over_restrictions(ledger)
    }

    fn forget_suppressed(&self, ledger: &Ledger) -> Result<(), Error> {
        let forgotten = self.keystore.forget_suppressed(ledger.record.id, self.clock.now())?;
        if forgotten > 0 {
            tracing::info!(ledger = %ledger.record.name, forgotten, "suppressions of erased people have expired");
        }
        Ok(())
    }

    /// Brings the key store to what the ledger says of reopenings and restrictions, and drops expired suppressions. Before
    /// erasures are taken up, and before anything is served.
    ///
    /// # Errors
    /// If store or key store fails.
    pub async fn carry_over(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        let carry_over = |service: &Self, ledger: &Ledger| {
            service.forget_suppressed(ledger)?;
            service.carry_over_reopenings(ledger)?;
            // The writer knows fences alone so far.
            service.open_again(ledger, service.keystore.reopened(ledger.record.id));
            service.carry_over_restrictions(ledger)
        };
        self.blocking(ledger, carry_over).await
    }

    /// Opens again what runs of retention left closed when they broke off. After the erasures are taken up; what cannot be
    /// opened now is logged and tried again.
    pub async fn resume_retention(self: &Arc<Self>, ledger: &Arc<Ledger>) {
        let _turn = ledger.erasing.turn.lock().await;
        let reopened = self.reopen_retained(ledger).await;
        if let Err(error) = &reopened {
            tracing::error!(ledger = %ledger.record.name, error = %error, "categories that retention erased stay closed; trying again");
        }
        if !reopened.unwrap_or(false) {
            ledger.leave_unsettled();
        }
    }
}
