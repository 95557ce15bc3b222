//! Retention: rules say how long personal data is kept. A run carries them out, with counts.
//!
//! | a rule names | due is | what goes | afterwards |
//! | --- | --- | --- | --- |
//! | a category | a subject whose newest event with a sealed block of it is older than `keep` | the subject's keys of the category (`keys`): an erasure with the basis `retention` | open for new data under the next generation: the period was over, the person did not object |
//! | an event type | a sealed block in an event of the type that is older than `keep` | the block itself (`bodies`): `bodies.purged` with the ground `retention` | the key lives, for it opens the category's other blocks: who has a backup of before opens the block with it |
//!
//! Holds and restrictions come first. Four eyes and grace are for requests of people, not for rules that are set beforehand.
//! Each run is recorded at its beginning and, with counts, at its end; every erasure and every purge of it is whole, so a
//! crash leaves a run without an end and nothing half done.

mod bodies;
mod keys;
mod left;
mod runs;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::own::{Act, By};
use super::policy::{RetentionAction, RetentionRule, Scope};
use super::{Caller, Code, Error, Ledger, Service};
use crate::spec::certificate::KnownBackup;
use crate::spec::ids::{Category, EventType, Timestamp};

const STREAM: &str = "$retention";
const STARTED: &str = "retention.started";
const COMPLETED: &str = "retention.completed";
/// Subjects of one erasure.
const BATCH: usize = 500;

/// `POST /retention/runs`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct RetentionRequest {
    /// Whether to count only what is due. A dry run changes nothing and is not recorded.
    pub dry_run: bool,
}

/// What a rule came to in a run. The counts are of subjects; of a rule for an event type, of sealed blocks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RuleOutcome {
    /// The rule.
    pub name: String,
    /// The category, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// The event type, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_type: Option<EventType>,
    /// How long it is kept.
    pub keep: String,
    /// What becomes of it.
    pub action: RetentionAction,
    /// What is newer than this stays.
    pub cutoff: Timestamp,
    /// Subjects or sealed blocks that are due.
    pub due: u64,
    /// Subjects of these that this run erased; 0 in a dry run.
    pub erased: u64,
    /// Sealed blocks of these that this run removed; 0 in a dry run.
    #[serde(default)]
    pub purged: u64,
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
    /// The indexes of its `bodies.purged`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    purges: Vec<u64>,
    /// When the files were found written anew in which purged blocks lay: those of this run and of all before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scrubbed_at: Option<Timestamp>,
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
    /// The indexes of the events by which it removed sealed blocks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub purges: Vec<u64>,
    /// When the files in which those blocks lay had been written anew; absent: nothing was removed, or files were still
    /// held. The next run does it then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrubbed_at: Option<Timestamp>,
    /// Of a run that removed blocks: the backups on record that were begun before the files had been written anew, by it or by
    /// a later run. They may hold the blocks until they are deleted, and the keys of the blocks live.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backups: Vec<KnownBackup>,
    /// The API key that asked for it.
    pub by: String,
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
            let rules = service.policy.retention.iter();
            rules.map(|rule| service.count_rule(ledger, rule)).collect()
        };
        let rules: Vec<RuleOutcome> = self.blocking(ledger, count).await?;
        Ok(RetentionRunView {
            rules,
            ..RetentionRunView::begun(None, "dry_run", started_at, by)
        })
    }

    fn count_rule(&self, ledger: &Ledger, rule: &RetentionRule) -> Result<RuleOutcome, Error> {
        let mut outcome = self.outcome(rule)?;
        match rule.scope() {
            Some(Scope::Category(category)) => {
                let due = self.due_subjects(ledger, category, &mut outcome)?;
                self.unblocked(ledger, category, due, &mut outcome)?;
            }
            Some(Scope::EventType(event_type)) => self.count_bodies(ledger, event_type, &mut outcome)?,
            None => {}
        }
        Ok(outcome)
    }

    /// A rule before anything is counted.
    fn outcome(&self, rule: &RetentionRule) -> Result<RuleOutcome, Error> {
        Ok(RuleOutcome {
            name: rule.name.clone(),
            category: rule.category.clone(),
            event_type: rule.event_type.clone(),
            keep: rule.keep.to_string(),
            action: rule.action(),
            cutoff: rule.keep.before(self.clock.now())?,
            due: 0,
            erased: 0,
            purged: 0,
            held: 0,
            restricted: 0,
        })
    }

    async fn run_rules(self: &Arc<Self>, ledger: &Arc<Ledger>, by: By) -> Result<RetentionRunView, Error> {
        // One at a time: what one removes is in no other's account of the files.
        let _run = ledger.retaining.lock().await;
        let started = Started {
            run: self.fresh_id(),
            rules: self.policy.retention.clone(),
            by: by.clone(),
        };
        let (run, started_at) = (started.run, self.clock.now());
        self.record_run(ledger, STARTED, run, &started).await?;
        let mut completed = Completed {
            run,
            rules: Vec::new(),
            erasures: Vec::new(),
            purges: Vec::new(),
            scrubbed_at: None,
        };
        for rule in &started.rules {
            let mut outcome = self.outcome(rule)?;
            match rule.scope() {
                Some(Scope::Category(category)) => {
                    let erased = self.erase_category(ledger, (run, &by), category, &mut outcome).await?;
                    completed.erasures.extend(erased);
                }
                Some(Scope::EventType(event_type)) => {
                    let purges = self.purge_type(ledger, run, event_type, &mut outcome).await?;
                    completed.purges.extend(purges);
                }
                None => {}
            }
            completed.rules.push(outcome);
        }
        if started.rules.iter().any(|rule| rule.event_type.is_some()) {
            completed.scrubbed_at = self.scrub_purged(ledger).await?;
        }
        self.record_run(ledger, COMPLETED, run, &completed).await?;
        let mut view = RetentionRunView::begun(Some(run), "started", started_at, by);
        view.complete(self.clock.now(), completed);
        let with_backups = move |service: &Self, ledger: &Ledger| service.with_backups(ledger, view);
        self.blocking(ledger, with_backups).await
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
}
