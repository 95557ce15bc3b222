//! Putting back: `oubliette restore` with its rollback, and what people do by hand.

use crate::Off;
use crate::world::*;

/// Where a part comes from that is put back by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum From {
    /// It stays.
    Now,
    /// The copy in a backup.
    Backup(usize),
    /// The directory before the last restore.
    Before,
}

/// `rollback::Rollback`
struct Rollback {
    number: u8,
    continues: Vec<Continued>,
}

impl World {
    /// `rollback::find` and `plan`
    fn rollback(&self, held: &Ledger, off: Off) -> Option<Rollback> {
        let Vault { known, closed, .. } = &self.vault;
        let closed = *closed || off == Off::ClosedMark;
        let is_lost = |(log, kept): &(&u8, &Vec<Event>)| match held.get(log) {
            _ if heir(held, **log).is_some() => false,
            Some(held) => !closed || kept.len() > held.events.len(),
            None => true,
        };
        known.iter().find(is_lost)?;
        let newest = held.keys().chain(known.keys()).max().copied().unwrap_or(FIRST);
        let growing = live(held);
        let of_growing = growing.map(|log| {
            let events = &held[&log].events;
            let longer = known.get(&log).filter(|kept| kept.len() > events.len());
            Continued {
                log,
                known: longer.unwrap_or(events).clone(),
                restored: events.len(),
            }
        });
        let gone = known
            .iter()
            .filter(|(log, _)| !held.contains_key(log) && heir(held, **log).is_none());
        let gone = gone.map(|(log, kept)| Continued {
            log: *log,
            known: kept.clone(),
            restored: 0,
        });
        Some(Rollback {
            number: newest + 1,
            continues: of_growing.into_iter().chain(gone).collect(),
        })
    }

    /// Whether `restore` goes on from its checks: `Source::check_vault`, `refuse_rollback`.
    pub(crate) fn may_restore(&self, backup: usize, accept: bool, off: Off) -> bool {
        let backup = &self.backups[backup];
        let needs = self.rollback(&backup.ledger, off).is_some();
        self.vault.holds(backup.key) && needs == accept
    }

    /// The files are copied; the directory is unfinished.
    pub(crate) fn restore(&mut self, backup: usize) {
        self.spent.restores += 1;
        self.lines += 1;
        let backup = self.backups[backup].clone();
        let mut run = Run::new(Stage::Adopt);
        run.target = Some(Place {
            ledger: backup.ledger,
            keystore: backup.keystore,
            line: self.lines,
        });
        self.run = Some(run);
    }

    /// `RocksKeyStore::adopt`, the vault's part: under a key of its own where erasures are to be applied first.
    pub(crate) fn adopt(&mut self, off: Off) {
        let current = self.vault.slots.iter().find(|(_, slot)| !slot.retired);
        let current = current.map(|(epoch, slot)| Key {
            epoch: *epoch,
            line: slot.line,
        });
        let own = self.here().keystore.key;
        let lacks = !self.vault.journal.without(self.here().keystore.gone()).is_empty();
        let needed = current.filter(|_| !self.vault.uses(own));
        let newest = self.vault.slots.keys().last().copied().unwrap_or(0);
        let to = match needed {
            Some(_) if lacks && off != Off::OwnKey => Some(self.mint(newest)),
            current => current,
        };
        if let Some(run) = &mut self.run {
            run.stage = to.map_or(Stage::GoOn, Stage::Rewrap);
        }
    }

    /// `RocksKeyStore::adopt`, the key store's write.
    pub(crate) fn rewrap(&mut self, to: Key) {
        let keystore = &mut self.here_mut().keystore;
        keystore.key = to;
        for who in keystore.rows.iter().map(usize::from) {
            keystore.under[who] = keystore.under[who].with(to.bit());
        }
        self.set_stage(Stage::GoOn);
    }

    /// `Service::go_on`: the log that goes on is begun, and the vault knows of it before anybody else.
    pub(crate) fn go_on(&mut self, off: Off) {
        let rollback = self
            .rollback(&self.here().ledger, off)
            .filter(|_| off != Off::NewOrigin);
        if let Some(Rollback { number, continues }) = rollback {
            let line = self.here().line;
            let events = vec![Event {
                fact: Fact::Created,
                line,
            }];
            self.vault.known.insert(number, events.clone());
            self.here_mut().ledger.insert(number, Log { continues, events });
            self.superseded = true;
        } else if off == Off::NewOrigin {
            // The vault is made to fit.
            self.tell();
        }
        if let Some(run) = &mut self.run {
            run.stage = Stage::Gate;
        }
    }

    /// `Service::recover_erasures`
    pub(crate) fn recover(&mut self) {
        let (recorded, told) = Self::recorded(&self.here().ledger);
        let rolled_back = live(&self.here().ledger) != Some(FIRST);
        let missing = recorded.or(self.vault.journal).without(told).iter().next();
        match missing.filter(|_| rolled_back) {
            Some(who) => self.append(Fact::Recovered(who)),
            None => {
                self.tell();
                if let Some(run) = &mut self.run {
                    run.stage = Stage::Close;
                }
            }
        }
    }

    /// `restore::finish`: from here on the directory may be served.
    pub(crate) fn finish(&mut self) {
        let Some(target) = self.run.take().and_then(|run| run.target) else {
            return;
        };
        self.before = Some(std::mem::replace(&mut self.place, target));
        self.superseded = false;
        self.show();
    }

    /// A copy of the vault is made that the system does not know of.
    pub(crate) fn copy_vault(&mut self) {
        self.vault_copy = Some(self.vault.clone());
    }

    fn part(&self, from: From) -> &Place {
        match (from, &self.before) {
            (From::Before, Some(before)) => before,
            _ => &self.place,
        }
    }

    /// Folders are exchanged by hand while nothing runs.
    pub(crate) fn put_back(&mut self, ledger: From, keystore: From, old_vault: bool) {
        self.spent.put_backs += 1;
        self.lines += 1;
        let ledger = match ledger {
            From::Backup(at) => self.backups[at].ledger.clone(),
            from => self.part(from).ledger.clone(),
        };
        let keystore = match keystore {
            From::Backup(at) => self.backups[at].keystore.clone(),
            from => self.part(from).keystore.clone(),
        };
        self.place = Place {
            ledger,
            keystore,
            line: self.lines,
        };
        if let Some(copy) = self.vault_copy.clone().filter(|_| old_vault) {
            let lost = self.vault.keys(true).without(copy.keys(true));
            self.void = self.void.or(lost);
            let unmarked = self
                .backups
                .iter()
                .map(|backup| backup.key)
                .filter(|key| copy.slots.get(&key.epoch).is_none_or(|slot| !slot.backed_up));
            self.void = unmarked.fold(self.void, |void, key| void.with(key.bit()));
            self.vault = copy;
            self.vault.line = self.lines;
            self.vault_is_old = true;
        }
        self.by_hand = true;
    }

    /// Whether the ledger in use has all that anybody was shown.
    pub(crate) fn ledger_is_newest(&self) -> bool {
        self.seen.iter().all(|(log, seen)| {
            let here = self.place.ledger.get(log);
            here.is_some_and(|here| here.events.starts_with(seen)) || heir(&self.place.ledger, *log).is_some()
        })
    }

    /// Whether the vault knows all that anybody was shown.
    pub(crate) fn vault_is_newest(&self) -> bool {
        self.seen.iter().all(|(log, seen)| {
            let known = self.vault.known.get(log).is_some_and(|known| known.starts_with(seen));
            known || heir(&self.place.ledger, *log).is_some()
        })
    }
}
