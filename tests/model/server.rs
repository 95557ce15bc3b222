//! What a server does besides: records, starts, backups; and what a crash leaves of it.

use crate::Off;
use crate::world::*;

impl World {
    /// Appends to the log that grows. Who is served is shown the new checkpoint: `Sequencer`'s commit and publish. What a
    /// restore writes is shown to nobody before the directory may be served.
    pub(crate) fn append(&mut self, fact: Fact) {
        let line = self.here().line;
        let shown = self.run.as_ref().is_some_and(|run| run.target.is_none());
        let Some(log) = live(&self.here().ledger) else { return };
        if let Some(growing) = self.here_mut().ledger.get_mut(&log) {
            growing.events.push(Event { fact, line });
        }
        if shown {
            self.show();
        }
    }

    /// The log that grows is shown to somebody, who remembers it.
    pub(crate) fn show(&mut self) {
        let Some(log) = live(&self.here().ledger) else { return };
        let Log { continues, events: now } = self.here().ledger[&log].clone();
        continues
            .iter()
            .for_each(|continued| self.frozen = self.frozen.with(continued.log));
        let seen = self.seen.entry(log).or_default();
        if now.starts_with(seen) {
            self.regrown |= self.frozen.has(log) && now != *seen;
            *seen = now;
        } else if !seen.starts_with(&now) {
            self.forked = true;
        }
    }

    /// Whose erasures a store's logs record, and which of those tell their end: `erasures_about`.
    pub(crate) fn recorded(ledger: &Ledger) -> (Set, Set) {
        facts(ledger).fold(Default::default(), |(asked, ended), (_, fact)| match fact {
            Fact::Requested(who) => (asked.with(who), ended),
            Fact::Completed(who, _) | Fact::Recovered(who) => (asked, ended.with(who)),
            _ => (asked, ended),
        })
    }

    /// Erasures without an end that `resume_erasures` takes up: those that were open when a log was frozen are left to
    /// `apply_erasures`.
    pub(crate) fn open_erasures(&self) -> Set {
        let ledger = &self.here().ledger;
        let (_, ended) = Self::recorded(ledger);
        let growing = live(ledger);
        let open = facts(ledger).filter_map(|(log, fact)| match fact {
            Fact::Requested(who) if growing == Some(log) => Some(who),
            _ => None,
        });
        open.fold(Set::default(), Set::with).without(ended)
    }

    pub(crate) fn is_first_frozen(&self) -> bool {
        heir(&self.here().ledger, FIRST).is_some()
    }

    /// Whether every certificate of somebody's erasure says by now that nothing is pending: `Erasure::pending`, with what
    /// `with_epochs` finds. T3 and T4 are taken as reached.
    pub(crate) fn is_final(&self, who: Who) -> bool {
        let ledger = &self.here().ledger;
        facts(ledger).enumerate().any(|(at, (log, fact))| match fact {
            Fact::Completed(of, retired) if of == who => retired.iter().all(|epoch| {
                // A log that goes on counts epochs of its own.
                let later = facts(ledger).skip(at + 1);
                log == FIRST && later.into_iter().any(|next| next == (FIRST, Fact::Destroyed(epoch)))
            }),
            _ => false,
        })
    }

    /// Whether a directory may be served: `FileVault`, `Ledger::load`, `anchor::check`, `anchor::check_registered`,
    /// `check_keys_known`.
    pub(crate) fn passes_gate(&self, off: Off) -> bool {
        let Place { ledger, keystore, .. } = self.here();
        let anchored = ledger.iter().all(|(number, log)| {
            let (now, kept, continued) = (&log.events, self.vault.known.get(number), heir(ledger, *number));
            if continued.is_some_and(|continued| continued.restored != now.len()) {
                return false;
            }
            match kept {
                None => now.len() <= 1 || continued.is_some(),
                Some(kept) if now.len() < kept.len() => continued.is_some_and(|continued| continued.known == *kept),
                Some(kept) => now.starts_with(kept),
            }
        });
        let registered = self
            .vault
            .known
            .iter()
            .filter(|(log, _)| !ledger.contains_key(log))
            .all(|(log, kept)| {
                heir(ledger, *log).is_some_and(|continued| continued.restored == 0 && continued.known == *kept)
            });
        let known = facts(ledger).all(|(_, fact)| match fact {
            Fact::Data(who) => keystore.rows.has(who) || keystore.fences.has(who),
            _ => true,
        });
        self.vault.uses(keystore.key)
            && known
            && (anchored || off == Off::Anchor)
            && (registered || off == Off::LostLogs)
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        if let Some(run) = &mut self.run {
            run.stage = stage;
        }
    }

    /// The next step of a start, or of a restore once its files are there: `App::open_ledgers`.
    pub(crate) fn go(&mut self, off: Off) {
        let Some(run) = &self.run else { return };
        let is_restore = run.target.is_some();
        match run.stage {
            Stage::Adopt => self.adopt(off),
            Stage::Rewrap(to) => self.rewrap(to),
            Stage::GoOn => self.go_on(off),
            Stage::Gate if !self.passes_gate(off) => {
                // Nothing was changed.
                self.run = None;
                self.refused = true;
            }
            Stage::Gate => {
                // `Keeper::begin`; a restore leaves the mark alone.
                self.vault.closed &= is_restore;
                let overdue = self.vault.keys(true).without(self.vault.keys(false)).and(self.due);
                if let Some(run) = &mut self.run {
                    (run.stage, run.overdue) = (Stage::Resume, overdue);
                }
            }
            Stage::Resume => {
                let open = self.open_erasures();
                self.set_stage(Stage::Apply);
                if !open.is_empty() && off != Off::Resume {
                    self.begin_job(Why::Erase, open, Step::Fence);
                }
            }
            Stage::Apply => {
                let (recorded, _) = Self::recorded(&self.here().ledger);
                self.vault.journal = self.vault.journal.or(recorded);
                let missing = recorded.or(self.vault.journal).without(self.here().keystore.gone());
                self.set_stage(Stage::Settle);
                if !missing.is_empty() && off != Off::Gate {
                    self.begin_job(Why::Apply, missing, Step::Fence);
                }
            }
            Stage::Settle => {
                if !self.settle_one(off) && (off == Off::DueAtStart || !self.destroy_due(off)) {
                    self.set_stage(Stage::Record);
                }
            }
            Stage::Record => match self.unrecorded() {
                Some(epoch) => self.append(Fact::Destroyed(epoch)),
                None => self.set_stage(Stage::Anchor),
            },
            Stage::Anchor => {
                self.tell();
                self.set_stage(if is_restore { Stage::Recover } else { Stage::Up });
                if !is_restore {
                    self.vault_is_old = false;
                }
            }
            Stage::Recover => self.recover(),
            Stage::Close => {
                self.vault.closed = true;
                self.set_stage(Stage::Finish);
            }
            Stage::Finish => self.finish(),
            Stage::Up => {}
        }
    }

    /// The vault is told how far the log that grows has come: `Keeper`.
    pub(crate) fn tell(&mut self) {
        if let Some(log) = live(&self.here().ledger) {
            let events = self.here().ledger[&log].events.clone();
            let is_news = self.vault.known.get(&log) != Some(&events);
            self.vault.known.insert(log, events);
            // From here on the directory before is behind.
            self.superseded |= is_news && self.run.as_ref().is_some_and(|run| run.target.is_some());
        }
    }

    /// An event about somebody, whose keys are durable before it, or about nobody.
    pub(crate) fn append_data(&mut self, fact: Fact) {
        self.spent.appends += 1;
        if let Fact::Data(who) = fact {
            self.put(|keystore| {
                keystore.rows = keystore.rows.with(who);
                keystore.under[usize::from(who)] = keystore.under[usize::from(who)].with(keystore.key.bit());
            });
        }
        self.append(fact);
    }

    /// `kill -9`. A restore leaves a directory that is refused, with what was written into it.
    pub(crate) fn crash(&mut self) {
        self.spent.crashes += 1;
        let Some(run) = self.run.take() else { return };
        match run.target {
            Some(target) => {
                for who in PEOPLE.map(usize::from) {
                    self.strays[who] = self.strays[who].or(target.keystore.under[who]);
                }
            }
            None => {
                if let Some(hidden) = run.hidden {
                    self.place.keystore = hidden;
                }
            }
        }
    }

    /// A clean end: `Keeper::drop`.
    pub(crate) fn stop(&mut self) {
        self.tell();
        self.vault.closed = true;
        self.run = None;
    }

    /// `Service::mark_epochs`
    pub(crate) fn mark(&mut self, off: Off) {
        let key = self.place.keystore.key;
        if off != Off::BackupMark
            && let Some(slot) = self.vault.slots.get_mut(&key.epoch)
        {
            slot.backed_up = true;
        }
        self.spent.backups += 1;
        let copying = Copying {
            marked: key,
            lease: None,
            ledger: None,
            keystore: None,
        };
        if let Some(run) = &mut self.run {
            run.copying = Some(copying);
        }
    }

    /// `Service::lease`
    pub(crate) fn lease(&self) -> (Key, Set, Set) {
        let keystore = &self.place.keystore;
        (keystore.key, keystore.gone(), keystore.fences)
    }

    /// The record, the lease, and the first of the two copies: `Service::attempt_backup`.
    pub(crate) fn copy_first(&mut self, off: Off) {
        self.append(Fact::BackedUp);
        let (lease, place) = (self.lease(), self.place.clone());
        if let Some(copying) = self.run.as_mut().and_then(|run| run.copying.as_mut()) {
            copying.lease = Some(lease);
            match off {
                Off::LedgerCopiedFirst => copying.keystore = Some(place.keystore),
                _ => copying.ledger = Some(place.ledger),
            }
        }
    }

    /// The second copy, the look at the lease, and the manifest.
    pub(crate) fn copy_second(&mut self, off: Off) {
        let (lease, place) = (self.lease(), self.place.clone());
        let Some(copying) = self.run.as_mut().and_then(|run| run.copying.take()) else {
            return;
        };
        let disturbed = copying.lease != Some(lease) || copying.marked != place.keystore.key;
        if disturbed && off != Off::Lease {
            return;
        }
        let keystore = copying.keystore.unwrap_or(place.keystore);
        self.backups.push(Backup {
            ledger: copying.ledger.unwrap_or(place.ledger),
            key: keystore.key,
            keystore,
        });
    }

    /// What stands in front of somebody who looks is taken down: which certificates call themselves final.
    pub(crate) fn look(&mut self) {
        if self.serves() {
            let certified = PEOPLE.into_iter().filter(|who| self.is_final(*who));
            self.certified = certified.fold(self.certified, Set::with);
        }
    }
}
