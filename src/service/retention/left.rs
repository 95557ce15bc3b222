//! Categories that retention erased and, because the run broke off, did not open again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::super::own::By;
use super::super::reopen::ReopeningReason;
use super::super::{Error, Ledger, Service};
use super::BATCH;
use crate::spec::ids::{Category, Handle};

/// What the runs of one API key left closed.
type Left = BTreeMap<(String, Vec<String>), BTreeSet<(Handle, Category)>>;

impl Service {
    /// Opens again what runs left closed; the caller holds the lock. Gives whether that was all: an erasure that is under
    /// way still closes what it is about.
    pub(in crate::service) async fn reopen_retained(self: &Arc<Self>, ledger: &Arc<Ledger>) -> Result<bool, Error> {
        if ledger.is_frozen() {
            return Ok(true);
        }
        let (left, is_all) = self.blocking(ledger, Self::left_closed).await?;
        for ((by, roles), who) in left {
            let who: Vec<_> = who
                .into_iter()
                .map(|(handle, category)| (handle, vec![category]))
                .collect();
            for who in who.chunks(BATCH) {
                tracing::info!(ledger = %ledger.record.name, subjects = who.len(), "opening again what a run of retention left closed");
                let by = By {
                    by: by.clone(),
                    roles: roles.clone(),
                };
                self.reopen_all(ledger, by, who.to_vec(), ReopeningReason::Retention)
                    .await?;
            }
        }
        Ok(is_all)
    }

    fn left_closed(&self, ledger: &Ledger) -> Result<(Left, bool), Error> {
        let mut of_runs = self.all_erasures(ledger)?;
        of_runs.retain(|erasure| erasure.requested.payload.run.is_some());
        let completed: HashMap<Uuid, bool> = of_runs
            .iter()
            .map(|erasure| (erasure.requested.payload.request, erasure.completed.is_some()))
            .collect();
        let is_over = |request: &Uuid| completed.get(request) == Some(&true);
        let mut left = Left::new();
        for erasure in &of_runs {
            let requested = &erasure.requested.payload;
            for named in &requested.subjects {
                for category in requested.categories.iter().flatten() {
                    if self.is_closed_by(ledger, (named.handle, category), is_over) {
                        let by = (requested.by.clone(), requested.roles.clone());
                        left.entry(by).or_default().insert((named.handle, category.clone()));
                    }
                }
            }
        }
        Ok((left, completed.into_values().all(|completed| completed)))
    }
}
