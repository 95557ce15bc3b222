//! People minted for an append that made no event: refused, or broken off. Their keys sealed nothing that was kept, and the
//! ledger has no reason to know them.

use std::sync::Arc;

use super::{Error, Ledger, Service};
use crate::spec::ids::Handle;
use crate::store::{Direction, Lookup};

/// Handles looked at in one go.
const CHUNK: usize = 1_024;
/// Chunks looked at before anything is served: a start must not last; the rest is looked at by the next one.
const AT_START: usize = 32;

impl Service {
    /// Forgets the newcomers that no event names, and confirms the others. Only before anything is served: what is being
    /// appended has no event yet.
    ///
    /// # Errors
    /// If the ledger or the key store cannot be read or written.
    pub async fn forget_newcomers(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        if ledger.is_frozen() {
            return Ok(());
        }
        let forgotten = self.blocking(ledger, |service, ledger| {
            let (mut after, mut forgotten) = (None, 0);
            for _ in 0..AT_START {
                let Some((last, unnamed)) = service.look_at_newcomers(ledger, after)? else {
                    break;
                };
                forgotten += service.keystore.forget_new(ledger.record.id, &unnamed)?;
                after = Some(last);
            }
            Ok(forgotten)
        });
        let forgotten = forgotten.await?;
        if forgotten > 0 {
            tracing::info!(ledger = %ledger.record.name, forgotten, "people of appends that made no event are forgotten");
        }
        Ok(())
    }

    /// Confirms a chunk of the newcomers that events name. The chunk after it is for the next call.
    pub(super) async fn confirm_newcomers(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        if ledger.is_frozen() {
            return Ok(());
        }
        let look = self.blocking(ledger, |service, ledger| {
            let mut after = ledger.newcomers.lock();
            while let Some((last, unnamed)) = service.look_at_newcomers(ledger, *after)? {
                *after = Some(last);
                if !unnamed.is_empty() {
                    return Ok(());
                }
            }
            *after = None;
            Ok(())
        });
        look.await
    }

    /// The last of a chunk of newcomers, and those that no event names; the others are confirmed. `None`: there is no more.
    fn look_at_newcomers(
        &self,
        ledger: &Ledger,
        after: Option<Handle>,
    ) -> Result<Option<(Handle, Vec<Handle>)>, Error> {
        let new = self.keystore.new_handles(ledger.record.id, after, CHUNK)?;
        let Some(last) = new.last().copied() else {
            return Ok(None);
        };
        let size = self.view(ledger)?.size();
        let (mut named, mut unnamed) = (Vec::new(), Vec::new());
        for handle in new {
            let lookup = Lookup::Handle(handle);
            let found = self
                .store
                .find(ledger.record.number, &lookup, 0..size, Direction::Forward, 1)?;
            if found.is_empty() { &mut unnamed } else { &mut named }.push(handle);
        }
        self.keystore.confirm(ledger.record.id, &named)?;
        Ok(Some((last, unnamed)))
    }
}
