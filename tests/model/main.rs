//! A model of saga, change of epoch, backup, restore, vault and rollback, and all that can come of it within small bounds:
//! docs/model.md. Every transition names the function that does it; a test that switches one safeguard off must find what
//! it is there for, so that no property holds because nothing happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod properties;
mod restore;
mod server;
mod world;

use restore::From;
use stateright::{Checker, HasDiscoveries, Model as _};
use world::{ADA, BOB, Fact, Set, Stage, Step, World};

/// A safeguard that is switched off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Off {
    /// None of them.
    Nothing,
    /// The old epoch key goes only after the write of step 4.
    KeyBeforeDestruction,
    /// The order stands in the vault's journal before anything is destroyed.
    Journal,
    /// The old epoch key is destroyed, or retired.
    OldKeyDies,
    /// Erasures that the ledger or the journal know are applied before anything is served.
    Gate,
    /// Sagas that broke off are taken up at start.
    Resume,
    /// Keys that are due are destroyed at start.
    DueAtStart,
    /// A key that is recorded as destroyed goes again when an older vault brings it back.
    RecordedEnds,
    /// A key is destroyed before that is recorded.
    RecordAfterEnd,
    /// The key of a write that failed lives on.
    DoubtfulKeysLive,
    /// A key with a backup is retired, not destroyed.
    Horizon,
    /// A backup marks its epoch first.
    BackupMark,
    /// A backup copies the ledger before the key store.
    LedgerCopiedFirst,
    /// A backup looks at its lease at the end.
    Lease,
    /// Without the mark `closed` a restore takes it that events are missing.
    ClosedMark,
    /// A copy that lacks erasures comes under a key of its own before they are applied.
    OwnKey,
    /// An accepted rollback begins another origin.
    NewOrigin,
    /// Start compares the ledger with the vault's last checkpoint.
    Anchor,
    /// Start refuses a store that lacks a log which the vault knows.
    LostLogs,
}

/// How much of everything may happen.
#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    crashes: u8,
    failures: u8,
    appends: u8,
    rotations: u8,
    backups: u8,
    restores: u8,
    put_backs: u8,
    /// Who may be erased.
    erasable: &'static [u8],
    /// Whether somebody may copy the vault, and put the copy back.
    vault_copy: bool,
    /// Whether time passes beyond the horizon.
    time: bool,
    /// Whether also that is done by hand of which docs/threat-model.md says that nothing inside can tell.
    beyond_limits: bool,
}

#[derive(Clone, Copy, Debug)]
struct Model {
    bounds: Bounds,
    off: Off,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Action {
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
        let locked = run.job.as_ref().is_some_and(|job| (Step::Mint..=Step::Settle).contains(&job.step));
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
        properties::all()
    }
}

/// One ledger that is never put back: every step, every crash, two failed writes.
const SAGA: Bounds = Bounds {
    crashes: 2,
    failures: 2,
    appends: 1,
    rotations: 1,
    erasable: &[ADA, BOB],
    backups: 0,
    restores: 0,
    put_backs: 0,
    vault_copy: false,
    time: false,
    beyond_limits: false,
};

/// Backups beside erasures, and time.
const BACKUP: Bounds = Bounds {
    crashes: 1,
    failures: 0,
    appends: 0,
    erasable: &[ADA],
    backups: 2,
    time: true,
    ..SAGA
};

/// A backup that is put back, and time.
const RESTORE: Bounds = Bounds {
    crashes: 1,
    failures: 0,
    appends: 1,
    rotations: 0,
    erasable: &[ADA],
    backups: 1,
    restores: 1,
    time: true,
    ..SAGA
};

/// One of two backups is put back: the other one's epoch is retired by it.
const TWO_BACKUPS: Bounds = Bounds {
    backups: 2,
    appends: 0,
    time: false,
    ..RESTORE
};

/// One backup that is put back twice: a restore broke off, or was served and is lost.
const TWICE: Bounds = Bounds {
    restores: 2,
    time: false,
    ..RESTORE
};

/// Parts that are put back by hand, also from an older copy of the vault.
const BY_HAND: Bounds = Bounds {
    appends: 0,
    restores: 0,
    put_backs: 1,
    vault_copy: true,
    ..RESTORE
};

/// Parts of the directory before a restore are put back by hand.
const AFTER_A_RESTORE: Bounds = Bounds {
    put_backs: 1,
    time: false,
    ..RESTORE
};

/// All states: no property fails, and what is named comes to pass somewhere.
fn holds(name: &str, bounds: Bounds, comes_to_pass: &[&'static str]) {
    let model = Model {
        bounds,
        off: Off::Nothing,
    };
    let started = std::time::Instant::now();
    let checked = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name}: {} states, {} transitions, depth {}, {:.1?}",
        checked.unique_state_count(),
        checked.state_count(),
        checked.max_depth(),
        started.elapsed()
    );
    for property in properties::ALWAYS {
        if let Some(path) = checked.discovery(property.0) {
            panic!("{name}: not so: {}\n{}", property.0, shown(path));
        }
    }
    for property in comes_to_pass {
        assert!(checked.discovery(property).is_some(), "{name}: never so: {property}");
    }
}

/// With a safeguard switched off this property fails.
fn needed(off: Off, bounds: Bounds, broken: &'static str) {
    let model = Model { bounds, off };
    let is_broken = HasDiscoveries::AnyOf([broken].into());
    let checked = model.checker().threads(2).finish_when(is_broken).spawn_bfs().join();
    let found = checked.discovery(broken).map(|path| path.into_actions().len());
    let steps = found.unwrap_or_else(|| panic!("{off:?} is not missed: {broken}"));
    println!("without {off:?} in {steps} steps it is not so: {broken}");
}

fn shown(path: stateright::Path<World, Action>) -> String {
    let last = format!("{:?}", path.last_state());
    let actions: Vec<_> = path.into_actions().iter().map(|action| format!("{action:?}")).collect();
    format!("{}\n{last}", actions.join("\n"))
}

#[test]
fn a_saga_ends_whatever_breaks_off() {
    holds("saga", SAGA, &["an erasure is final"]);
}

#[test]
fn backups_live_until_their_horizon_and_then_nothing_opens_them() {
    holds("backup", BACKUP, &["an erasure is final"]);
}

#[test]
fn what_is_put_back_brings_nobody_back() {
    let comes_back = "an old backup is put back, and the erased stay erased";
    holds("restore", RESTORE, &["an erasure is final", comes_back]);
    holds("two backups", TWO_BACKUPS, &[comes_back]);
    holds("twice", TWICE, &["a log goes on from two"]);
}

#[test]
fn parts_put_back_by_hand_bring_nobody_back() {
    holds("by hand", BY_HAND, &["a start is refused", "an older vault is brought up to date"]);
    holds("after a restore", AFTER_A_RESTORE, &["a start is refused"]);
}

#[test]
fn every_safeguard_is_needed() {
    const OPENS: &str = "an erased person never opens";
    const HANGS: &str = "an erased person hangs under no key in use";
    const CONTRADICTED: &str = "a final certificate is never contradicted";
    const DEAD: &str = "a backup opens until its horizon";
    const FORKED: &str = "an origin has one root of a size";
    const OPEN: &str = "no erasure is left open";
    const OVERDUE: &str = "a key that is due does not outlive the next start";
    const STUCK: &str = "what nobody touched starts again";
    const REGROWN: &str = "a log that another goes on from does not grow";
    for (off, bounds, broken) in [
        (Off::KeyBeforeDestruction, SAGA, STUCK),
        (Off::DoubtfulKeysLive, SAGA, STUCK),
        (Off::OldKeyDies, SAGA, HANGS),
        (Off::Resume, SAGA, OPEN),
        (Off::Journal, RESTORE, OPENS),
        (Off::Gate, RESTORE, OPENS),
        (Off::DueAtStart, BACKUP, OVERDUE),
        (Off::RecordAfterEnd, BACKUP, CONTRADICTED),
        (Off::Horizon, BACKUP, DEAD),
        (Off::BackupMark, BACKUP, DEAD),
        (Off::Lease, BACKUP, DEAD),
        (Off::LedgerCopiedFirst, RESTORE, DEAD),
        (Off::ClosedMark, RESTORE, FORKED),
        (Off::NewOrigin, RESTORE, FORKED),
        (Off::OwnKey, RESTORE, CONTRADICTED),
        (Off::RecordedEnds, BY_HAND, CONTRADICTED),
        (Off::Anchor, AFTER_A_RESTORE, FORKED),
        (Off::LostLogs, AFTER_A_RESTORE, REGROWN),
    ] {
        needed(off, bounds, broken);
    }
}

/// Ledger, key store and vault rolled back together, and a ledger put back within the lag of the vault's checkpoint: only
/// somebody outside can tell.
#[test]
fn the_limits_that_are_stated_are_limits() {
    let beyond = Bounds {
        beyond_limits: true,
        ..BY_HAND
    };
    needed(Off::Nothing, beyond, "an erased person never opens");
    needed(Off::Nothing, beyond, "an origin has one root of a size");
}
