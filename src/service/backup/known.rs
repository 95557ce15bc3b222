//! The backups that are known here, as they are now.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;
use uuid::Uuid;

use super::super::own::{Recorded, recorded};
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use super::{BackedUpLedger, BackupState, BackupView, RECORD, STREAM, read_manifest};
use crate::keystore::vault::{EpochKey, EpochState};
use crate::spec::backup::Manifest;
use crate::spec::certificate::KnownBackup;
use crate::spec::ids::LedgerId;

/// The epochs of each ledger, asked of the vault once.
type Epochs = HashMap<LedgerId, Vec<EpochKey>>;

impl Service {
    /// All backups that are known here, newest first, with what became of their epochs.
    ///
    /// # Errors
    /// If the store or the vault cannot be read.
    pub fn backups(&self) -> Result<Vec<BackupView>, Error> {
        let running = self.backups.running.lock().clone();
        let (mut views, mut epochs) = (Vec::new(), Epochs::new());
        for (_, bytes) in self.store.records(None, RECORD)?.into_iter().rev() {
            views.push(self.as_it_is(&bytes, running.as_ref(), &mut epochs)?);
        }
        Ok(views)
    }

    /// As [`Service::backups`], for what must not fail with one: without those whose record is damaged, or of whose epochs the
    /// vault cannot tell.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub(in crate::service) fn readable_backups(&self) -> Result<Vec<BackupView>, Error> {
        let running = self.backups.running.lock().clone();
        let (mut views, mut epochs) = (Vec::new(), Epochs::new());
        for (id, bytes) in self.store.records(None, RECORD)? {
            match self.as_it_is(&bytes, running.as_ref(), &mut epochs) {
                Ok(view) => views.push(view),
                Err(error) => {
                    tracing::error!(backup = %id, error = %error, "what became of a backup cannot be told");
                }
            }
        }
        Ok(views)
    }

    /// A record, with how the backup does and what became of its epochs.
    fn as_it_is(&self, bytes: &[u8], running: Option<&BackupView>, epochs: &mut Epochs) -> Result<BackupView, Error> {
        let damaged = |error| Error::new(Code::Damaged, "a backup's record").caused_by(error);
        let mut view: BackupView = serde_json::from_slice(bytes).map_err(damaged)?;
        if view.state == BackupState::Running {
            match running {
                Some(running) if running.id == view.id => view = running.clone(),
                _ => self.settle(&mut view),
            }
        }
        for ledger in &mut view.ledgers {
            self.look_up_epoch(ledger, epochs)?;
        }
        Ok(view)
    }

    /// All backups that a ledger has on record, oldest first, whatever became of them.
    pub(in crate::service) fn begun_backups(&self, ledger: &Ledger) -> Result<Vec<KnownBackup>, Error> {
        #[derive(Deserialize)]
        struct Started {
            backup: Uuid,
        }
        let known = |event: &StoredEvent| {
            let started: Recorded<Started> = recorded(event)?;
            Ok(KnownBackup {
                id: started.payload.backup,
                started_at: started.recorded_at,
                index: started.index,
            })
        };
        self.own_events(ledger, STREAM)?.iter().map(known).collect()
    }

    /// One backup.
    ///
    /// # Errors
    /// `not_found`.
    pub fn backup(&self, id: Uuid) -> Result<BackupView, Error> {
        let running = self.backups.running.lock().clone();
        let found = self.store.record(None, RECORD, &id.to_string())?;
        let bytes = found.ok_or_else(|| Error::new(Code::NotFound, "there is no backup of this id"))?;
        self.as_it_is(&bytes, running.as_ref(), &mut Epochs::new())
    }

    /// How a backup ended during which the server did: it is whole if its manifest was written, which comes last.
    fn settle(&self, view: &mut BackupView) {
        view.state = BackupState::BrokenOff;
        let Ok(Some(document)) = read_manifest(&view.to) else {
            return;
        };
        let ledgers = self.all_ledgers().into_iter();
        let mut opened = ledgers.filter_map(|ledger| Manifest::open(&document, ledger.backups.public()).ok());
        if let Some(manifest) = opened.find(|manifest| manifest.backup == view.id) {
            view.state = BackupState::Completed;
            view.hold(&manifest);
        }
    }

    /// What became of the epoch of a copy.
    fn look_up_epoch(&self, ledger: &mut BackedUpLedger, known: &mut Epochs) -> Result<(), Error> {
        let Some(id) = ledger.id else { return Ok(()) };
        let epochs = match known.entry(id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(self.keystore.vault().epochs(id)?),
        };
        let key = epochs.iter().find(|key| key.epoch == ledger.epoch);
        ledger.expired = key.is_none();
        ledger.epoch_dies_at = key.and_then(|key| match key.state {
            EpochState::Retired { until, .. } => Some(until),
            EpochState::Fresh | EpochState::Current => None,
        });
        Ok(())
    }
}
