//! The saga, the change of epoch, and the end of epoch keys: one durable write a step.

use crate::Off;
use crate::world::*;

impl World {
    /// A write that adds rows; it comes after one that failed and is durable all the same.
    pub(crate) fn put(&mut self, write: impl Fn(&mut KeyStore)) {
        write(&mut self.here_mut().keystore);
        if let Some(hidden) = self.run.as_mut().and_then(|run| run.hidden.as_mut()) {
            write(hidden);
        }
    }

    /// `RocksKeyStore::set_fences`
    pub(crate) fn fence(&mut self, who: Set) {
        self.put(|keystore| keystore.fences = keystore.fences.or(who));
    }

    /// `FileVault::mint_epoch`
    pub(crate) fn mint(&mut self, after: u8) -> Key {
        let slots = &mut self.vault.slots;
        let newest = slots.keys().last().copied().unwrap_or(0);
        let lowest = slots.iter().find(|(_, slot)| !slot.retired).map(|(epoch, _)| *epoch);
        let line = self.vault.line;
        if newest > after && lowest != Some(newest) && slots.get(&newest).is_some_and(|slot| !slot.retired) {
            return Key {
                epoch: newest,
                line: slots[&newest].line,
            };
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

    /// One key of `RocksKeyStore::destroy_untried`; false if there is none.
    fn destroy_untried(&mut self, tried: u8) -> bool {
        let mut slots = self.vault.slots.iter();
        let untried = slots.find(|(epoch, slot)| **epoch > tried && !slot.retired);
        let untried = untried.map(|(epoch, _)| *epoch);
        untried.map(|epoch| self.destroy(epoch)).is_some()
    }

    /// The key store after the write of step 4: `RocksKeyStore::replace`.
    pub(crate) fn turned(&self, job: &Job, to: Key) -> KeyStore {
        let mut next = self.here().keystore.clone();
        let gone = job.who.without(next.gone());
        gone.iter().for_each(|who| next.gone[usize::from(who)] = Some(job.from));
        next.rows = next.rows.without(gone);
        next.rows
            .iter()
            .for_each(|who| next.under[usize::from(who)] = next.under[usize::from(who)].with(to.bit()));
        next.key = to;
        next
    }

    /// One write of `RocksKeyStore::settle_vault`; false if there is none to do.
    pub(crate) fn settle_one(&mut self, off: Off) -> bool {
        let (own, attempted) = (
            self.here().keystore.key,
            self.run.as_ref().map_or(0, |run| run.attempted),
        );
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
            self.destroy(epoch);
        }
        true
    }

    /// `FileVault::destroy_epoch`. What hung under the key is lost, and another key of that number is another key; unless a
    /// copy of the vault keeps this one.
    fn destroy(&mut self, epoch: u8) {
        let Some(Slot { line, .. }) = self.vault.slots.remove(&epoch) else {
            return;
        };
        let key = Key { epoch, line };
        if self.vault_copy.as_ref().is_none_or(|copy| !copy.holds(key)) {
            self.strays = self.strays.map(|under| under.without(Set::of(&[key.bit()])));
        }
    }

    /// A retired key that is due, or that is recorded as destroyed: an older vault brought it back.
    pub(crate) fn doomed(&self, off: Off) -> Option<u8> {
        let recorded = |epoch: u8, line: u8| {
            let events = self.here().ledger.get(&FIRST).into_iter().flat_map(|log| &log.events);
            // Not one of that number that was made later.
            events
                .into_iter()
                .any(|event| event.fact == Fact::Destroyed(epoch) && line <= event.line)
        };
        let doomed = self.vault.slots.iter().find(|(epoch, slot)| {
            let key = Key {
                epoch: **epoch,
                line: slot.line,
            };
            let came_back = off != Off::RecordedEnds && recorded(**epoch, slot.line);
            slot.retired && (self.due.has(key.bit()) || came_back)
        });
        doomed.map(|(epoch, _)| *epoch)
    }

    /// `Service::destroy_due` and `destroy_again`, one key.
    pub(crate) fn destroy_due(&mut self, off: Off) -> bool {
        let doomed = self.doomed(off);
        doomed.map(|epoch| self.destroy(epoch)).is_some()
    }

    /// One end of a key that is not on record: `Service::unrecorded_epochs`.
    pub(crate) fn unrecorded(&self) -> Option<u8> {
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
        retired
            .without(recorded)
            .iter()
            .find(|epoch| !self.vault.slots.contains_key(epoch))
    }

    pub(crate) fn begin_job(&mut self, why: Why, who: Set, step: Step) {
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

    /// The next step of a saga or of a change of epoch: `Service::delete`, `RocksKeyStore::turn`, `Service::complete`.
    pub(crate) fn step(&mut self, off: Off) {
        let Some(mut job) = self.run.as_ref().and_then(|run| run.job.clone()) else {
            return;
        };
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
                if off != Off::UntriedKeysDie && self.destroy_untried(after) {
                    return;
                }
                job.to = Some(self.mint(after));
                job.from = own;
                job.step = Step::Write;
                if off == Off::KeyBeforeDestruction {
                    self.destroy(own);
                }
            }
            Step::Write => {
                let Some(to) = job.to else { return };
                let mut next = self.turned(&job, to);
                if let Some(run) = &mut self.run {
                    run.attempted = to.epoch;
                    if let Some(hidden) = run.hidden.take() {
                        // Its bytes stay in the files.
                        PEOPLE
                            .map(usize::from)
                            .into_iter()
                            .for_each(|who| next.under[who] = next.under[who].or(hidden.under[who]));
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
    pub(crate) fn complete(&mut self, job: Job) -> Option<Job> {
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
        let Some(job) = self.run.as_ref().and_then(|run| run.job.clone()) else {
            return;
        };
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

    /// Time passes, so that every key that is retired now is due.
    pub(crate) fn horizon(&mut self) {
        for (epoch, slot) in &self.vault.slots {
            if slot.retired {
                let key = Key {
                    epoch: *epoch,
                    line: slot.line,
                };
                (self.due, self.passed) = (self.due.with(key.bit()), self.passed.with(key.bit()));
            }
        }
    }

    /// A tick of the running server: a key that is due goes, or one that went is put on record.
    pub(crate) fn tick(&mut self, off: Off) {
        if off == Off::RecordAfterEnd {
            // Recorded, and not destroyed.
            let due = self.vault.slots.iter().find(|(epoch, slot)| {
                let key = Key {
                    epoch: **epoch,
                    line: slot.line,
                };
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
}
