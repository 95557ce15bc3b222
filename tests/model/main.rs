//! A model of saga, change of epoch, backup, restore, vault and rollback, and all that can come of it within small bounds:
//! docs/model.md. Every transition names the function that does it; a test that switches one safeguard off must find what
//! it is there for, so that no property holds because nothing happens.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod actions;
mod epochs;
mod parts;
mod properties;
mod restore;
mod server;
mod world;

use actions::Action;
use stateright::{Checker, HasDiscoveries, Model as _};
use world::{ADA, BOB, World};

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
    /// A fresh key that no write was tried under goes before the next change of epoch.
    UntriedKeysDie,
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

/// A restore breaks off, and the old directory goes on with an erasure that was under way.
const BROKEN_OFF: Bounds = Bounds {
    crashes: 2,
    appends: 0,
    erasable: &[ADA, BOB],
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
    let checked = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
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
    holds("broken off", BROKEN_OFF, &[]);
}

#[test]
fn parts_put_back_by_hand_bring_nobody_back() {
    holds(
        "by hand",
        BY_HAND,
        &["a start is refused", "an older vault is brought up to date"],
    );
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
        (Off::UntriedKeysDie, BROKEN_OFF, HANGS),
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
