//! What may happen in which state.

use crate::Model;
use crate::restore::From;
use crate::world::{self, ADA, BOB, Fact, Set, Stage, Step, World};

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Action {
    /// The server is started: comparisons first.
    Start,
    /// The next step of a start or a restore.
    Go,
    /// The next step of a saga or of a change of epoch.
    Step,
    /// The write of step 4 fails, and is durable or not.
    Fail(bool),
    /// The completion cannot be recorded.
    FailLast,
    /// What broke off is taken up.
    Retry,
    Stop,
    Crash,
    Append(Fact),
    Erase(Set),
    Rotate,
    /// The vault hears of the last checkpoint.
    Tell,
    /// The horizon of all retired keys passes.
    Horizon,
    /// The tick that destroys what is due, and records it.
    Tick,
    Mark,
    CopyFirst,
    CopySecond,
    Restore {
        backup: usize,
        accept: bool,
    },
    CopyVault,
    PutBack {
        ledger: From,
        keystore: From,
        old_vault: bool,
    },
}

impl Model {
    fn at_rest(&self, world: &World, actions: &mut Vec<Action>) {
        let (bounds, spent) = (&self.bounds, &world.spent);
        actions.push(Action::Start);
        for backup in 0..world.backups.len() {
            let may = spent.restores < bounds.restores && (!world.vault_is_old || bounds.beyond_limits);
            for accept in [false, true] {
                if may && world.may_restore(backup, accept, self.off) {
                    actions.push(Action::Restore { backup, accept });
                }
            }
        }
        if bounds.vault_copy && world.vault_copy.is_none() {
            actions.push(Action::CopyVault);
        }
        if spent.put_backs < bounds.put_backs {
            self.put_backs(world, actions);
        }
    }

    /// Every combination of parts, but for those that nothing inside can tell from what was never changed.
    fn put_backs(&self, world: &World, actions: &mut Vec<Action>) {
        let backups = (0..world.backups.len()).map(From::Backup);
        let before = world.before.iter().map(|_| From::Before);
        let sources: Vec<_> = std::iter::once(From::Now).chain(backups).chain(before).collect();
        for ledger in &sources {
            for keystore in &sources {
                for old_vault in [false, true] {
                    if old_vault && world.vault_copy.is_none() {
                        continue;
                    }
                    let mut after = world.clone();
                    after.put_back(*ledger, *keystore, old_vault);
                    if self.bounds.beyond_limits || after.ledger_is_newest() || after.vault_is_newest() {
                        actions.push(Action::PutBack {
                            ledger: *ledger,
                            keystore: *keystore,
                            old_vault,
                        });
                    }
                }
            }
        }
    }

    fn while_up(&self, world: &World, actions: &mut Vec<Action>) {
        let (bounds, spent) = (&self.bounds, &world.spent);
        let Some(run) = &world.run else { return };
        let growing = world::live(&world.place.ledger);
        if spent.appends < bounds.appends && run.job.is_none() {
            let knows_bob = world::facts(&world.place.ledger).any(|(_, fact)| fact == Fact::Data(BOB));
            let bob_may = growing == Some(world::FIRST) && !world.place.keystore.fences.has(BOB);
            let is_bob = !knows_bob && bob_may;
            actions.push(Action::Append(if is_bob { Fact::Data(BOB) } else { Fact::Other }));
        }
        // Where nothing is put back nobody looks at how far the vault was told.
        let matters = bounds.restores + bounds.put_backs > 0;
        if matters && growing.is_some_and(|log| world.vault.known.get(&log) != Some(&world.place.ledger[&log].events)) {
            actions.push(Action::Tell);
        }
        if run.job.is_none() {
            actions.push(Action::Stop);
            if world.ticks(self.off) {
                actions.push(Action::Tick);
            }
            if run.unfinished {
                actions.push(Action::Retry);
            }
            self.new_jobs(world, actions);
        }
        self.backup_steps(world, actions);
    }

    fn new_jobs(&self, world: &World, actions: &mut Vec<Action>) {
        let (bounds, spent) = (&self.bounds, &world.spent);
        let living = |who: &&u8| world.place.keystore.opens(**who);
        let who: Vec<u8> = bounds.erasable.iter().filter(living).copied().collect();
        actions.extend(who.iter().map(|who| Action::Erase(Set::of(&[*who]))));
        if who.len() > 1 {
            actions.push(Action::Erase(Set::of(&who)));
        }
        if spent.rotations < bounds.rotations {
            actions.push(Action::Rotate);
        }
    }

    fn backup_steps(&self, world: &World, actions: &mut Vec<Action>) {
        let Some(run) = &world.run else { return };
        // The admin lock of the key store is held from step 3's key to the end of step 5.
        let locked = run
            .job
            .as_ref()
            .is_some_and(|job| (Step::Mint..=Step::Settle).contains(&job.step));
        match &run.copying {
            None if world.spent.backups < self.bounds.backups && !locked => actions.push(Action::Mark),
            None => {}
            Some(copying) if copying.lease.is_none() => actions.push(Action::CopyFirst),
            Some(_) => actions.push(Action::CopySecond),
        }
    }
}

impl stateright::Model for Model {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::with(if self.bounds.appends == 0 { &[ADA, BOB] } else { &[ADA] })]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let late = world.vault.slots.iter().any(|(epoch, slot)| {
            let key = world::Key {
                epoch: *epoch,
                line: slot.line,
            };
            slot.retired && !world.due.has(key.bit())
        });
        if self.bounds.time && late {
            actions.push(Action::Horizon);
        }
        let Some(run) = &world.run else {
            return self.at_rest(world, actions);
        };
        if world.spent.crashes < self.bounds.crashes {
            actions.push(Action::Crash);
        }
        match &run.job {
            Some(job) => {
                actions.push(Action::Step);
                let may_fail = run.stage == Stage::Up && world.spent.failures < self.bounds.failures;
                match job.step {
                    Step::Write if may_fail => actions.extend([Action::Fail(false), Action::Fail(true)]),
                    Step::Complete if may_fail => actions.push(Action::FailLast),
                    _ => {}
                }
            }
            None if run.stage != Stage::Up => actions.push(Action::Go),
            None => {}
        }
        if run.stage == Stage::Up {
            self.while_up(world, actions);
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let (mut world, off) = (last.clone(), self.off);
        match action {
            Action::Start => world.run = Some(world::Run::new(Stage::Gate)),
            Action::Go => world.go(off),
            Action::Step => world.step(off),
            Action::Fail(is_durable) => world.fail(is_durable),
            Action::FailLast => world.fail_last(),
            Action::Retry => world.retry(),
            Action::Stop => world.stop(),
            Action::Crash => world.crash(),
            Action::Append(fact) => world.append_data(fact),
            Action::Erase(who) => world.erase(who),
            Action::Rotate => world.rotate(),
            Action::Tell => world.tell(),
            Action::Horizon => world.horizon(),
            Action::Tick => world.tick(off),
            Action::Mark => world.mark(off),
            Action::CopyFirst => world.copy_first(off),
            Action::CopySecond => world.copy_second(off),
            Action::Restore { backup, .. } => world.restore(backup),
            Action::CopyVault => world.copy_vault(),
            Action::PutBack {
                ledger,
                keystore,
                old_vault,
            } => world.put_back(ledger, keystore, old_vault),
        }
        world.look();
        Some(world)
    }

    fn properties(&self) -> Vec<stateright::Property<Self>> {
        crate::properties::all()
    }
}
