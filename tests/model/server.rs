//! What a server does, one durable write a step, and what a crash leaves of it.

use crate::world::*;
use crate::Off;

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
        continues.iter().for_each(|continued| self.frozen = self.frozen.with(continued.log));
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
    fn open_erasures(&self) -> Set {
        let ledger = &self.here().ledger;
        let (_, ended) = Self::recorded(ledger);
        let growing = live(ledger);
        let open = facts(ledger).filter_map(|(log, fact)| match fact {
            Fact::Requested(who) if growing == Some(log) => Some(who),
            _ => None,
        });
        open.fold(Set::default(), Set::with).without(ended)
    }

    fn is_first_frozen(&self) -> bool {
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

    /// A write that adds rows; it comes after one that failed and is durable all the same.
    fn put(&mut self, write: impl Fn(&mut KeyStore)) {
        write(&mut self.here_mut().keystore);
        if let Some(hidden) = self.run.as_mut().and_then(|run| run.hidden.as_mut()) {
            write(hidden);
        }
    }

    /// `RocksKeyStore::set_fences`
    fn fence(&mut self, who: Set) {
        self.put(|keystore| keystore.fences = keystore.fences.or(who));
    }

    /// `FileVault::mint_epoch`
    pub(crate) fn mint(&mut self, after: u8) -> Key {
        let slots = &mut self.vault.slots;
        let newest = slots.keys().last().copied().unwrap_or(0);
        let lowest = slots.iter().find(|(_, slot)| !slot.retired).map(|(epoch, _)| *epoch);
        let line = self.vault.line;
        if newest > after && lowest != Some(newest) && slots.get(&newest).is_some_and(|slot| !slot.retired) {
            return Key { epoch: newest, line: slots[&newest].line };
        }
        let epoch = newest.max(after) + 1;
        let fresh = Slot {
            line,
            backed_up: false,
            retired: false,
        };
        slots.insert(epoch, fresh);
        Key { epoch, line }
    }

    /// The key store after the write of step 4: `RocksKeyStore::replace`.
    fn turned(&self, job: &Job, to: Key) -> KeyStore {
        let mut next = self.here().keystore.clone();
        let gone = job.who.without(next.gone());
        gone.iter().for_each(|who| next.gone[usize::from(who)] = Some(job.from));
        next.rows = next.rows.without(gone);
        next.rows.iter().for_each(|who| next.under[usize::from(who)] = next.under[usize::from(who)].with(to.bit()));
        next.key = to;
        next
    }

    /// One write of `RocksKeyStore::settle_vault`; false if there is none to do.
    fn settle_one(&mut self, off: Off) -> bool {
        let (own, attempted) = (self.here().keystore.key, self.run.as_ref().map_or(0, |run| run.attempted));
        let open = self.vault.slots.iter().find(|(epoch, slot)| {
            let in_doubt = **epoch > own.epoch && **epoch <= attempted && off != Off::DoubtfulKeysLive;
            **epoch != own.epoch && !in_doubt && !slot.retired
        });
        let open = open.filter(|_| off != Off::OldKeyDies);
        let Some((epoch, slot)) = open.map(|(epoch, slot)| (*epoch, *slot)) else {
            return false;
        };
        if epoch < own.epoch && slot.backed_up && off != Off::Horizon {
            self.vault.slots.insert(epoch, Slot { retired: true, ..slot });
            // Its horizon begins now.
            let key = Key { epoch, line: slot.line };
            self.due = self.due.without(Set::of(&[key.bit()]));
        } else {
            self.vault.slots.remove(&epoch);
        }
        true
    }

    /// A retired key that is due, or that is recorded as destroyed: an older vault brought it back.
    fn doomed(&self, off: Off) -> Option<u8> {
        let recorded = |epoch: u8, line: u8| {
            let events = self.here().ledger.get(&FIRST).into_iter().flat_map(|log| &log.events);
            // Not one of that number that was made later.
            events.into_iter().any(|event| event.fact == Fact::Destroyed(epoch) && line <= event.line)
        };
        let doomed = self.vault.slots.iter().find(|(epoch, slot)| {
            let key = Key { epoch: **epoch, line: slot.line };
            let came_back = off != Off::RecordedEnds && recorded(**epoch, slot.line);
            slot.retired && (self.due.has(key.bit()) || came_back)
        });
        doomed.map(|(epoch, _)| *epoch)
    }

    /// `Service::destroy_due` and `destroy_again`, one key.
    fn destroy_due(&mut self, off: Off) -> bool {
        let doomed = self.doomed(off);
        doomed.is_some_and(|epoch| self.vault.slots.remove(&epoch).is_some())
    }

    /// One end of a key that is not on record: `Service::unrecorded_epochs`.
    fn unrecorded(&self) -> Option<u8> {
        if self.is_first_frozen() {
            return None;
        }
        let (mut retired, mut recorded) = (Set::default(), Set::default());
        for (log, fact) in facts(&self.here().ledger) {
            match fact {
                Fact::Completed(_, epochs) if log == FIRST => retired = retired.or(epochs),
                Fact::Changed(from, true) => retired = retired.with(from),
                Fact::Destroyed(epoch) => recorded = recorded.with(epoch),
                _ => {}
            }
        }
        retired.without(recorded).iter().find(|epoch| !self.vault.slots.contains_key(epoch))
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
        let registered = self.vault.known.iter().filter(|(log, _)| !ledger.contains_key(log)).all(|(log, kept)| {
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

    fn begin_job(&mut self, why: Why, who: Set, step: Step) {
        let job = Job {
            why,
            who,
            step,
            to: None,
            from: 0,
            retired: Set::default(),
        };
        if let Some(run) = &mut self.run {
            run.job = Some(job);
        }
    }

    fn set_stage(&mut self, stage: Stage) {
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

    /// The next step of a saga or of a change of epoch: `Service::delete`, `RocksKeyStore::turn`, `Service::complete`.
    pub(crate) fn step(&mut self, off: Off) {
        let Some(mut job) = self.run.as_ref().and_then(|run| run.job.clone()) else { return };
        match job.step {
            Step::Fence => {
                self.fence(job.who);
                job.step = Step::Journal;
            }
            Step::Journal => {
                if off != Off::Journal {
                    self.vault.journal = self.vault.journal.or(job.who);
                }
                self.begun = self.begun.or(job.who);
                // `RocksKeyStore::pending`: what was carried out before is not repeated.
                let is_done = job.who.without(self.here().keystore.gone()).is_empty();
                job.step = if is_done { Step::Settle } else { Step::Mint };
            }
            Step::Mint => {
                let own = self.here().keystore.key.epoch;
                let after = self.run.as_ref().map_or(0, |run| run.attempted).max(own);
                job.to = Some(self.mint(after));
                job.from = own;
                job.step = Step::Write;
                if off == Off::KeyBeforeDestruction {
                    self.vault.slots.remove(&own);
                }
            }
            Step::Write => {
                let Some(to) = job.to else { return };
                let mut next = self.turned(&job, to);
                if let Some(run) = &mut self.run {
                    run.attempted = to.epoch;
                    if let Some(hidden) = run.hidden.take() {
                        // Its bytes stay in the files.
                        PEOPLE.map(usize::from).into_iter().for_each(|who| next.under[who] = next.under[who].or(hidden.under[who]));
                    }
                }
                self.here_mut().keystore = next;
                job.step = Step::Settle;
            }
            Step::Settle => {
                if !self.settle_one(off) {
                    job.retired = self.vault.retired();
                    job.step = Step::Complete;
                    self.erased = self.erased.or(job.who);
                }
            }
            Step::Complete => {
                let job = self.complete(job);
                if let Some(run) = &mut self.run {
                    run.job = job;
                }
                return;
            }
        }
        if let Some(run) = &mut self.run {
            run.job = Some(job);
        }
    }

    /// One record of what a job did; the job, unless it was the last.
    fn complete(&mut self, job: Job) -> Option<Job> {
        match job.why {
            Why::Apply => return None,
            Why::Rotate => {
                self.append(Fact::Changed(job.from, job.retired.has(job.from)));
                return None;
            }
            Why::Erase => {}
        }
        let (_, ended) = Self::recorded(&self.here().ledger);
        let mut open = job.who.without(ended).iter();
        let who = open.next()?;
        let from = self.here().keystore.gone[usize::from(who)].unwrap_or(0);
        let reach = job.retired.iter().filter(|epoch| *epoch <= from);
        self.append(Fact::Completed(who, reach.fold(Set::default(), Set::with)));
        open.next().is_some().then_some(job)
    }

    /// The write of step 4 fails: nobody knows whether it is durable. `Ledger::attempted`
    pub(crate) fn fail(&mut self, is_durable: bool) {
        let Some(job) = self.run.as_ref().and_then(|run| run.job.clone()) else { return };
        let Some(to) = job.to else { return };
        self.spent.failures += 1;
        let hidden = is_durable.then(|| self.turned(&job, to));
        if let Some(run) = &mut self.run {
            (run.attempted, run.job, run.hidden) = (to.epoch, None, hidden);
            run.unfinished |= job.why != Why::Rotate;
        }
    }

    /// What a job did is not recorded, for now.
    pub(crate) fn fail_last(&mut self) {
        self.spent.failures += 1;
        if let Some(run) = &mut self.run {
            let job = run.job.take();
            run.unfinished |= job.is_some_and(|job| job.why != Why::Rotate);
        }
    }

    /// `Service::retry_erasures`: the same as a start does.
    pub(crate) fn retry(&mut self) {
        let (recorded, _) = Self::recorded(&self.here().ledger);
        let missing = recorded.or(self.vault.journal).without(self.here().keystore.gone());
        let open = self.open_erasures();
        if let Some(run) = &mut self.run {
            run.unfinished = false;
        }
        if !open.is_empty() {
            self.begin_job(Why::Erase, open, Step::Fence);
        } else if !missing.is_empty() {
            self.begin_job(Why::Apply, missing, Step::Fence);
        }
    }

    /// Somebody asks for erasures: `Service::request_erasure`, then the saga.
    pub(crate) fn erase(&mut self, who: Set) {
        who.iter().for_each(|who| self.append(Fact::Requested(who)));
        self.asked = self.asked.or(who);
        self.begin_job(Why::Erase, who, Step::Fence);
    }

    pub(crate) fn rotate(&mut self) {
        self.spent.rotations += 1;
        self.begin_job(Why::Rotate, Set::default(), Step::Mint);
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
    fn lease(&self) -> (Key, Set, Set) {
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
        let Some(copying) = self.run.as_mut().and_then(|run| run.copying.take()) else { return };
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

    /// Time passes, so that every key that is retired now is due.
    pub(crate) fn horizon(&mut self) {
        for (epoch, slot) in &self.vault.slots {
            if slot.retired {
                let key = Key { epoch: *epoch, line: slot.line };
                (self.due, self.passed) = (self.due.with(key.bit()), self.passed.with(key.bit()));
            }
        }
    }

    /// A tick of the running server: a key that is due goes, or one that went is put on record.
    pub(crate) fn tick(&mut self, off: Off) {
        if off == Off::RecordAfterEnd {
            // Recorded, and not destroyed.
            let due = self.vault.slots.iter().find(|(epoch, slot)| {
                let key = Key { epoch: **epoch, line: slot.line };
                let recorded = facts(&self.place.ledger).any(|(_, fact)| fact == Fact::Destroyed(**epoch));
                slot.retired && self.due.has(key.bit()) && !recorded
            });
            if let Some(epoch) = due.map(|(epoch, _)| *epoch) {
                self.append(Fact::Destroyed(epoch));
            }
        } else if !self.destroy_due(off)
            && let Some(epoch) = self.unrecorded()
        {
            self.append(Fact::Destroyed(epoch));
        }
    }

    /// Whether the tick has anything to do.
    pub(crate) fn ticks(&self, off: Off) -> bool {
        self.doomed(off).is_some() || self.unrecorded().is_some()
    }

    /// What stands in front of somebody who looks is taken down: which certificates call themselves final.
    pub(crate) fn look(&mut self) {
        if self.serves() {
            let certified = PEOPLE.into_iter().filter(|who| self.is_final(*who));
            self.certified = certified.fold(self.certified, Set::with);
        }
    }
}
