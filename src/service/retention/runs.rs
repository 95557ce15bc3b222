//! The runs that a log has on record.

use std::collections::HashMap;

use uuid::Uuid;

use super::super::own::{By, Fold, Recorded, Unreadable, recorded};
use super::super::read::StoredEvent;
use super::super::{Code, Error, Ledger, Service};
use super::{COMPLETED, Completed, RetentionRunView, STARTED, STREAM, Started};
use crate::spec::certificate::KnownBackup;
use crate::spec::ids::Timestamp;

impl Service {
    /// All recorded runs, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn retention_runs(&self, ledger: &Ledger) -> Result<Vec<RetentionRunView>, Error> {
        let mut runs = self.fold_own(ledger, Runs::default())?.all;
        runs.reverse();
        let with_backups = |run| self.with_backups(ledger, run);
        runs.into_iter().map(with_backups).collect()
    }

    /// One recorded run.
    ///
    /// # Errors
    /// `not_found`.
    pub fn retention_run(&self, ledger: &Ledger, id: Uuid) -> Result<RetentionRunView, Error> {
        let runs = self.fold_of(ledger, id, Runs::default())?;
        let found = runs.all.into_iter().find(|run| run.id == Some(id));
        match (found, runs.unreadable.first()) {
            (Some(run), _) => self.with_backups(ledger, run),
            (None, Some(event)) => Err(event.error()),
            (None, None) => Err(Error::new(Code::NotFound, "there is no run of this id")),
        }
    }

    /// Up to which index purged blocks have left the files.
    pub(super) fn scrubbed_until(&self, ledger: &Ledger) -> Result<u64, Error> {
        Ok(self.fold_own(ledger, Runs::default())?.scrubbed_until)
    }

    /// Adds the backups that may hold what a run removed.
    pub(super) fn with_backups(&self, ledger: &Ledger, mut run: RetentionRunView) -> Result<RetentionRunView, Error> {
        if !run.purges.is_empty() {
            let end = run.files_clean_at(&self.fold_own(ledger, Runs::default())?.scrubs);
            let before = |backup: &KnownBackup| end.is_none_or(|end| backup.started_at < end);
            run.backups = self.begun_backups(ledger)?.into_iter().filter(before).collect();
        }
        Ok(run)
    }
}

impl RetentionRunView {
    pub(super) fn begun(id: Option<Uuid>, state: &'static str, started_at: Timestamp, by: By) -> Self {
        Self {
            id,
            state,
            started_at,
            completed_at: None,
            rules: Vec::new(),
            erasures: Vec::new(),
            purges: Vec::new(),
            scrubbed_at: None,
            backups: Vec::new(),
            by: by.by,
        }
    }

    /// By when what it removed had left the files: until then it lay in them, and the next run that came to writing them anew
    /// did that for it. `scrubs`: when such runs ended, ascending.
    fn files_clean_at(&self, scrubs: &[Timestamp]) -> Option<Timestamp> {
        let own = self.completed_at?;
        match self.scrubbed_at {
            Some(_) => Some(own),
            None => scrubs.iter().copied().find(|scrub| own < *scrub),
        }
    }

    pub(super) fn complete(&mut self, at: Timestamp, completed: Completed) {
        self.state = "completed";
        self.completed_at = Some(at);
        self.rules = completed.rules;
        self.erasures = completed.erasures;
        self.purges = completed.purges;
        self.scrubbed_at = completed.scrubbed_at;
    }
}

/// All runs, in the order of their events. One whose end cannot be read stands as started.
#[derive(Default)]
struct Runs {
    all: Vec<RetentionRunView>,
    /// The index of the last end of a run before which the files were written anew.
    scrubbed_until: u64,
    /// When runs ended that wrote them anew.
    scrubs: Vec<Timestamp>,
    places: HashMap<Uuid, usize>,
    unreadable: Vec<Unreadable>,
}

impl Fold for Runs {
    const STREAM: &'static str = STREAM;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match event.header.event_type.as_str() {
            STARTED => {
                let started: Recorded<Started> = recorded(event)?;
                let Started { run, by, .. } = started.payload;
                self.places.insert(run, self.all.len());
                self.all
                    .push(RetentionRunView::begun(Some(run), "started", started.recorded_at, by));
            }
            COMPLETED => {
                let completed: Recorded<Completed> = recorded(event)?;
                if completed.payload.scrubbed_at.is_some() {
                    self.scrubbed_until = completed.index;
                    self.scrubs.push(completed.recorded_at);
                }
                let place = self.places.get(&completed.payload.run);
                if let Some(run) = place.and_then(|place| self.all.get_mut(*place)) {
                    run.complete(completed.recorded_at, completed.payload);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn unreadable(&mut self, event: Unreadable) {
        self.unreadable.push(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_left_in_the_files_lies_there_until_a_later_run_writes_them_anew() {
        let by = By {
            by: "key".into(),
            roles: Vec::new(),
        };
        let mut run = RetentionRunView::begun(None, "completed", Timestamp(1), by);
        let scrubs = [Timestamp(2), Timestamp(9), Timestamp(12)];
        assert_eq!(run.files_clean_at(&scrubs), None);
        run.completed_at = Some(Timestamp(5));
        assert_eq!(run.files_clean_at(&scrubs), Some(Timestamp(9)));
        assert_eq!(run.files_clean_at(&scrubs[..1]), None);
        run.scrubbed_at = Some(Timestamp(4));
        assert_eq!(run.files_clean_at(&scrubs), Some(Timestamp(5)));
    }
}
