//! Retention: rules say how long a category of personal data is kept; a run erases what is due, with the machinery of
//! erasures and the basis `retention`.
//!
//! A subject's data of a category is due when the newest event with a sealed block of it is older than the rule's `keep`.
//! Keys are per category, so that is the unit: all of the subject's blocks of the category go, and nothing else. Afterwards
//! the category is open for new data under the next generation: the period was over, the person did not object. Holds and
//! restrictions come first. Four eyes and grace are for requests of people, not for rules that are set beforehand.
//!
//! Each run is recorded at its beginning and, with counts, at its end; every erasure of it is one of its own, so a crash
//! leaves a run without an end and each erasure whole.

mod left;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::erase::{ErasureRequest, sealed_blocks};
use super::own::{Act, By, Fold, Recorded, Unreadable, recorded};
use super::policy::{RetentionAction, RetentionRule};
use super::read::StoredEvent;
use super::reopen::ReopeningReason;
use super::{Caller, Code, Error, Ledger, Service};
use crate::keystore::SubjectState;
use crate::spec::ids::{Category, Handle, Timestamp};
use crate::spec::system::{Basis, Reason};
use crate::store::{Direction, Lookup};

const STREAM: &str = "$retention";
const STARTED: &str = "retention.started";
const COMPLETED: &str = "retention.completed";
/// Subjects of one erasure.
const BATCH: usize = 500;
/// Events that are read at once.
const CHUNK: usize = 32;

/// `POST /retention/runs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct RetentionRequest {
    /// Whether to count only what is due. A dry run changes nothing and is not recorded.
    pub dry_run: bool,
}

/// What a rule came to in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuleOutcome {
    /// The rule.
    pub name: String,
    /// The category.
    pub category: Category,
    /// How long it is kept.
    pub keep: String,
    /// What becomes of it.
    pub action: RetentionAction,
    /// What is newer than this stays.
    pub cutoff: Timestamp,
    /// Subjects whose data of the category is due.
    pub due: u64,
    /// Of these, erased by this run; 0 in a dry run.
    pub erased: u64,
    /// Of these, kept by a legal hold.
    pub held: u64,
    /// Of these, kept by a restriction.
    pub restricted: u64,
}

/// The payload of `retention.started`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Started {
    run: Uuid,
    rules: Vec<RetentionRule>,
    #[serde(flatten)]
    by: By,
}

/// The payload of `retention.completed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Completed {
    run: Uuid,
    rules: Vec<RuleOutcome>,
    erasures: Vec<Uuid>,
}

/// A run as officers see it.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct RetentionRunView {
    /// The run; absent for a dry run, which is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// `dry_run`, `started` (still going, or broken off) or `completed`.
    #[schema(pattern = "^(dry_run|started|completed)$")]
    pub state: &'static str,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
    /// What each rule came to, in the order of the configuration.
    pub rules: Vec<RuleOutcome>,
    /// The erasures that it made.
    pub erasures: Vec<Uuid>,
    /// The API key that asked for it.
    pub by: String,
}

/// What is due under a rule.
struct Due {
    outcome: RuleOutcome,
    handles: Vec<Handle>,
}

impl Service {
    /// Runs the rules, or counts what is due.
    ///
    /// # Errors
    /// `retention_not_configured`, `ledger_frozen`; whatever appending may answer.
    pub async fn run_retention(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        caller: &Caller,
        request: RetentionRequest,
    ) -> Result<RetentionRunView, Error> {
        if ledger.is_frozen() {
            return Err(ledger.frozen());
        }
        if self.policy.retention.is_empty() {
            let detail = "no rules are set: add [[retention]] tables to the configuration (docs/operations.md)";
            return Err(Error::new(Code::RetentionNotConfigured, detail));
        }
        let (service, on, by) = (Arc::clone(self), Arc::clone(ledger), By::of(caller));
        // A task of its own: a caller who hangs up must not break a run off.
        let task = tokio::spawn(async move {
            if request.dry_run {
                service.count_due(&on, by).await
            } else {
                service.run_rules(&on, by).await
            }
        });
        task.await.map_err(super::access::internal)?
    }

    async fn count_due(self: &Arc<Self>, ledger: &Arc<Ledger>, by: By) -> Result<RetentionRunView, Error> {
        let started_at = self.clock.now();
        let count = |service: &Self, ledger: &Ledger| {
            let counted = service.policy.retention.iter().map(|rule| {
                let Due { mut outcome, handles } = service.due_under(ledger, rule)?;
                service.unblocked(ledger, rule, handles, &mut outcome)?;
                Ok(outcome)
            });
            counted.collect::<Result<Vec<_>, Error>>()
        };
        let rules = self.blocking(ledger, count).await?;
        Ok(RetentionRunView {
            id: None,
            state: "dry_run",
            started_at,
            completed_at: None,
            rules,
            erasures: Vec::new(),
            by: by.by,
        })
    }

    async fn run_rules(self: &Arc<Self>, ledger: &Arc<Ledger>, by: By) -> Result<RetentionRunView, Error> {
        let started = Started {
            run: self.fresh_id(),
            rules: self.policy.retention.clone(),
            by: by.clone(),
        };
        let (run, started_at) = (started.run, self.clock.now());
        self.record_run(ledger, STARTED, run, &started).await?;
        let (mut rules, mut erasures) = (Vec::new(), Vec::new());
        for rule in &started.rules {
            let of = rule.clone();
            let due = self.blocking(ledger, move |service, ledger| service.due_under(ledger, &of));
            let Due { mut outcome, handles } = due.await?;
            for batch in handles.chunks(BATCH) {
                let erased = self
                    .erase_due(ledger, (run, &by), rule, batch.to_vec(), &mut outcome)
                    .await?;
                erasures.extend(erased);
            }
            rules.push(outcome);
        }
        let completed = Completed { run, rules, erasures };
        self.record_run(ledger, COMPLETED, run, &completed).await?;
        Ok(RetentionRunView {
            id: Some(run),
            state: "completed",
            started_at,
            completed_at: Some(self.clock.now()),
            rules: completed.rules,
            erasures: completed.erasures,
            by: by.by,
        })
    }

    async fn record_run<T: Serialize>(
        &self,
        ledger: &Ledger,
        event_type: &'static str,
        id: Uuid,
        payload: &T,
    ) -> Result<(), Error> {
        let act = Act {
            stream: STREAM,
            event_type,
            payload,
            id,
            handles: &[],
        };
        self.record_act(ledger, act).await.map(drop)
    }

    /// Erases the category of a batch of subjects, as far as it is still due and nothing holds it.
    async fn erase_due(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        (run, by): (Uuid, &By),
        rule: &RetentionRule,
        handles: Vec<Handle>,
        outcome: &mut RuleOutcome,
    ) -> Result<Option<Uuid>, Error> {
        let _turn = ledger.erasing.turn.lock().await;
        let (of, mut counted) = (rule.clone(), outcome.clone());
        let free = move |service: &Self, ledger: &Ledger| {
            // Once more, now that nothing else erases or holds: data that came since the count stays.
            let still = service.still_due(ledger, &of, handles, counted.cutoff)?;
            let free = service.unblocked(ledger, &of, still, &mut counted)?;
            Ok((free, counted))
        };
        let (free, counted) = self.blocking(ledger, free).await?;
        *outcome = counted;
        if free.is_empty() {
            return Ok(None);
        }
        let done = self.erase_and_reopen(ledger, (run, by), &rule.category, &free).await;
        // What was erased and not reopened is looked after by the tick.
        let id = done.inspect_err(|_| ledger.leave_unsettled())?;
        outcome.erased += free.len() as u64;
        Ok(Some(id))
    }

    async fn erase_and_reopen(
        self: &Arc<Self>,
        ledger: &Arc<Ledger>,
        (run, by): (Uuid, &By),
        category: &Category,
        free: &[Handle],
    ) -> Result<Uuid, Error> {
        let request = Arc::new(ErasureRequest {
            subjects: None,
            handles: Some(free.to_vec()),
            categories: Some(vec![category.clone()]),
            basis: Basis::Retention,
            reason: Reason::Retention,
            note: None,
            wait: false,
            grace_seconds: None,
            recipients: None,
        });
        let id = self.erase_living(ledger, (run, by.clone()), &request, free).await?;
        let reopened = free.iter().map(|handle| (*handle, vec![category.clone()])).collect();
        self.reopen_all(ledger, by.clone(), reopened, ReopeningReason::Retention)
            .await?;
        Ok(id)
    }

    /// The subjects whose data is due under a rule.
    fn due_under(&self, ledger: &Ledger, rule: &RetentionRule) -> Result<Due, Error> {
        let cutoff = rule.keep.before(self.clock.now())?;
        let holders = self.keystore.holders(ledger.record.id, &rule.category)?;
        let handles = self.still_due(ledger, rule, holders, cutoff)?;
        let outcome = RuleOutcome {
            name: rule.name.clone(),
            category: rule.category.clone(),
            keep: rule.keep.to_string(),
            action: rule.action,
            cutoff,
            due: handles.len() as u64,
            erased: 0,
            held: 0,
            restricted: 0,
        };
        Ok(Due { outcome, handles })
    }

    fn still_due(
        &self,
        ledger: &Ledger,
        rule: &RetentionRule,
        handles: Vec<Handle>,
        cutoff: Timestamp,
    ) -> Result<Vec<Handle>, Error> {
        let end = self.first_at_or_after(ledger, cutoff)?;
        let mut due = Vec::new();
        for handle in handles {
            let state = self.keystore.state(ledger.record.id, handle)?;
            if !matches!(state, SubjectState::Active | SubjectState::Restricted) {
                continue;
            }
            let reopened = self.keystore.reopened_of(ledger.record.id, handle).into_iter();
            let mut generations = reopened.filter(|reopened| reopened.category == rule.category);
            let from = generations.next().map_or(1, |reopened| reopened.generation);
            let block = (handle, &rule.category, from);
            // A key without any block is of an append that is under way, or never was used: it is not due.
            if !self.has_block(ledger, block, end..u64::MAX)? && self.has_block(ledger, block, 0..end)? {
                due.push(handle);
            }
        }
        Ok(due)
    }

    /// Whether an event in the range has a block of the subject's category, of this key generation or a later one.
    fn has_block(
        &self,
        ledger: &Ledger,
        (handle, category, generation): (Handle, &Category, u32),
        range: std::ops::Range<u64>,
    ) -> Result<bool, Error> {
        let end = range.end.min(self.view(ledger)?.size());
        let lookup = Lookup::Handle(handle);
        let number = ledger.record.number;
        let range = range.start.min(end)..end;
        let indexes = self
            .store
            .find(number, &lookup, range, Direction::Backward, usize::MAX)?;
        for chunk in indexes.chunks(CHUNK) {
            for event in self.stored_events_at(ledger, chunk)? {
                let mut blocks = sealed_blocks(&event);
                if blocks.any(|(_, block)| {
                    block.handle == handle && block.category == *category && block.generation >= generation
                }) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Those whom neither hold nor restriction keeps; the others are counted.
    fn unblocked(
        &self,
        ledger: &Ledger,
        rule: &RetentionRule,
        handles: Vec<Handle>,
        outcome: &mut RuleOutcome,
    ) -> Result<Vec<Handle>, Error> {
        let (holds, categories) = (self.active_holds(ledger)?, std::slice::from_ref(&rule.category));
        let mut free = Vec::new();
        for handle in handles {
            if !self.holds_on(ledger, &holds, handle, Some(categories))?.is_empty() {
                outcome.held += 1;
            } else if !self.restrictions_on(ledger, handle, Some(categories)).is_empty() {
                outcome.restricted += 1;
            } else {
                free.push(handle);
            }
        }
        Ok(free)
    }

    /// All recorded runs, newest first.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn retention_runs(&self, ledger: &Ledger) -> Result<Vec<RetentionRunView>, Error> {
        let mut runs = self.fold_own(ledger, Runs::default())?.all;
        runs.reverse();
        Ok(runs)
    }

    /// One recorded run.
    ///
    /// # Errors
    /// `not_found`.
    pub fn retention_run(&self, ledger: &Ledger, id: Uuid) -> Result<RetentionRunView, Error> {
        let runs = self.fold_of(ledger, id, Runs::default())?;
        let found = runs.all.into_iter().find(|run| run.id == Some(id));
        match (found, runs.unreadable.first()) {
            (Some(run), _) => Ok(run),
            (None, Some(event)) => Err(event.error()),
            (None, None) => Err(Error::new(Code::NotFound, "there is no run of this id")),
        }
    }
}

/// All runs, in the order of their events. One whose end cannot be read stands as started.
#[derive(Default)]
struct Runs {
    all: Vec<RetentionRunView>,
    unreadable: Vec<Unreadable>,
}

impl Fold for Runs {
    const STREAM: &'static str = STREAM;

    fn add(&mut self, event: &StoredEvent) -> Result<(), Error> {
        match event.header.event_type.as_str() {
            STARTED => {
                let started: Recorded<Started> = recorded(event)?;
                self.all.push(RetentionRunView {
                    id: Some(started.payload.run),
                    state: "started",
                    started_at: started.recorded_at,
                    completed_at: None,
                    rules: Vec::new(),
                    erasures: Vec::new(),
                    by: started.payload.by.by,
                });
            }
            COMPLETED => {
                let completed: Recorded<Completed> = recorded(event)?;
                let run = self.all.iter_mut().find(|run| run.id == Some(completed.payload.run));
                if let Some(run) = run {
                    run.state = "completed";
                    run.completed_at = Some(completed.recorded_at);
                    run.rules = completed.payload.rules;
                    run.erasures = completed.payload.erasures;
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
