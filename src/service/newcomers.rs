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
/// Chunks looked at by a tick: more people than are made known between two of them.
const AT_A_TICK: usize = 32;

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
            let unnamed = service.look_at_newcomers(ledger, &mut None, AT_START)?;
            Ok(service.keystore.forget_new(ledger.record.id, &unnamed)?)
        });
        let forgotten = forgotten.await?;
        if forgotten > 0 {
            tracing::info!(ledger = %ledger.record.name, forgotten, "people of appends that made no event are forgotten");
        }
        Ok(())
    }

    /// Confirms the newcomers that events name, some chunks of them. The chunks after those are for the next call.
    pub(super) async fn confirm_newcomers(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<(), Error> {
        if ledger.is_frozen() {
            return Ok(());
        }
        let look = self.blocking(ledger, |service, ledger| {
            service.look_at_newcomers(ledger, &mut ledger.newcomers.lock(), AT_A_TICK)?;
            Ok(())
        });
        look.await
    }

    /// Looks at so many chunks of newcomers, from `after` on, which becomes the last one looked at, or `None` after the last of
    /// all. Gives those that no event names; the others are confirmed.
    fn look_at_newcomers(
        &self,
        ledger: &Ledger,
        after: &mut Option<Handle>,
        chunks: usize,
    ) -> Result<Vec<Handle>, Error> {
        let mut all = Vec::new();
        for _ in 0..chunks {
            let Some((last, unnamed)) = self.look_at_chunk(ledger, *after)? else {
                *after = None;
                break;
            };
            *after = Some(last);
            all.extend(unnamed);
        }
        Ok(all)
    }

    /// The last of a chunk of newcomers, and those that no event names; the others are confirmed. `None`: there is no more.
    fn look_at_chunk(&self, ledger: &Ledger, after: Option<Handle>) -> Result<Option<(Handle, Vec<Handle>)>, Error> {
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
