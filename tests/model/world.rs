//! What there is: a directory, a vault, copies, a process; and what the world outside has seen.

use std::collections::BTreeMap;

pub(crate) use crate::parts::*;

/// How far a running process is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    /// A restore: files copied; the key to which the copy comes is made next, if it needs one of its own.
    Adopt,
    /// A restore: the copy comes under this key next.
    Rewrap(Key),
    /// A restore: the new log is begun next.
    GoOn,
    /// Stores, vault and heads are compared next.
    Gate,
    /// Open erasures are taken up next.
    Resume,
    /// Erasures that the key store does not have are applied next.
    Apply,
    /// What a change of epoch left is settled, and keys that are due go.
    Settle,
    /// Ends of keys are recorded.
    Record,
    /// The vault is told all heads next.
    Anchor,
    /// Serves.
    Up,
    /// A restore: lost erasures are put on record next.
    Recover,
    /// A restore: the vault is closed next.
    Close,
    /// A restore: the mark `RESTORE-UNFINISHED` goes next.
    Finish,
}

/// A step of the saga, or of a change of epoch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) enum Step {
    Fence,
    Journal,
    Mint,
    Write,
    Settle,
    Complete,
}

/// Why.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Why {
    /// A saga, from a request or taken up again.
    Erase,
    /// What the key store lacks is applied.
    Apply,
    /// A change of epoch alone.
    Rotate,
}

/// What holds the lock of erasures.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Job {
    pub(crate) why: Why,
    pub(crate) who: Set,
    pub(crate) step: Step,
    pub(crate) to: Option<Key>,
    pub(crate) from: u8,
    /// As the completion will name them.
    pub(crate) retired: Set,
}

/// A backup that is being made.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Copying {
    pub(crate) marked: Key,
    pub(crate) lease: Option<(Key, Set, Set)>,
    pub(crate) ledger: Option<Ledger>,
    pub(crate) keystore: Option<KeyStore>,
}

/// A process: all of it is gone after a crash.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Run {
    pub(crate) stage: Stage,
    /// The directory that a restore makes.
    pub(crate) target: Option<Place>,
    /// The newest epoch that a write was tried under.
    pub(crate) attempted: u8,
    /// What a failed write left in the files all the same.
    pub(crate) hidden: Option<KeyStore>,
    pub(crate) job: Option<Job>,
    /// Something broke off, and is to be taken up.
    pub(crate) unfinished: bool,
    pub(crate) copying: Option<Copying>,
    /// Keys that were due when it started.
    pub(crate) overdue: Set,
}

impl Run {
    pub(crate) fn new(stage: Stage) -> Self {
        Self {
            stage,
            target: None,
            attempted: 0,
            hidden: None,
            job: None,
            unfinished: false,
            copying: None,
            overdue: Set::default(),
        }
    }
}

/// What was spent of the [`Bounds`](crate::Bounds).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) crashes: u8,
    pub(crate) failures: u8,
    pub(crate) appends: u8,
    pub(crate) rotations: u8,
    pub(crate) backups: u8,
    pub(crate) restores: u8,
    pub(crate) put_backs: u8,
}

/// Everything.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct World {
    /// The data directory in use.
    pub(crate) place: Place,
    /// The one before the last restore.
    pub(crate) before: Option<Place>,
    pub(crate) vault: Vault,
    /// A copy of the vault that somebody made, of which the system knows nothing.
    pub(crate) vault_copy: Option<Vault>,
    pub(crate) backups: Vec<Backup>,
    pub(crate) run: Option<Run>,
    /// Lines of history so far.
    pub(crate) lines: u8,
    pub(crate) spent: Spent,
    /// Keys whose horizon has passed, as the vault has it.
    pub(crate) due: Set,
    /// Keys whose horizon has passed once.
    pub(crate) passed: Set,
    /// Keys that went with a vault which was put back from an older copy.
    pub(crate) void: Set,
    /// Bytes of rows in directories of restores that broke off, by the keys that they hang under.
    pub(crate) strays: [Set; 2],
    /// A restore went past the point from which the directory before it is another log's.
    pub(crate) superseded: bool,
    /// The longest log of each origin that somebody was shown.
    pub(crate) seen: BTreeMap<u8, Vec<Event>>,
    /// Somebody was shown two roots of one origin and size.
    pub(crate) forked: bool,
    /// Logs that another goes on from, as somebody was shown.
    pub(crate) frozen: Set,
    /// One of them grew after that.
    pub(crate) regrown: bool,
    /// Who asked to be erased.
    pub(crate) asked: Set,
    /// Whose erasure stood in the journal: from there on it is kept.
    pub(crate) begun: Set,
    /// Whose erasure reached T2.
    pub(crate) erased: Set,
    /// Whose certificate was called final.
    pub(crate) certified: Set,
    /// The vault in use is an older copy, and no start has compared it with the newest ledger.
    pub(crate) vault_is_old: bool,
    /// Parts were put back by hand; what no longer starts is refused rightly.
    pub(crate) by_hand: bool,
    /// How often a start was refused.
    pub(crate) refused: bool,
}

impl World {
    /// A ledger with data of these people, stopped.
    pub(crate) fn with(people: &[Who]) -> Self {
        let event = |fact| Event { fact, line: 0 };
        let data = people.iter().map(|who| event(Fact::Data(*who)));
        let events: Vec<_> = std::iter::once(event(Fact::Created)).chain(data).collect();
        let key = Key { epoch: 1, line: 0 };
        let log = Log {
            continues: Vec::new(),
            events: events.clone(),
        };
        let mut under = [Set::default(); 2];
        people
            .iter()
            .for_each(|who| under[usize::from(*who)] = Set::of(&[key.bit()]));
        let slot = Slot {
            line: 0,
            backed_up: false,
            retired: false,
        };
        Self {
            place: Place {
                ledger: BTreeMap::from([(FIRST, log)]),
                keystore: KeyStore {
                    key,
                    rows: Set::of(people),
                    fences: Set::default(),
                    gone: [None; 2],
                    under,
                },
                line: 0,
            },
            before: None,
            vault: Vault {
                slots: BTreeMap::from([(1, slot)]),
                journal: Set::default(),
                known: BTreeMap::from([(FIRST, events.clone())]),
                closed: true,
                line: 0,
            },
            vault_copy: None,
            backups: Vec::new(),
            run: None,
            lines: 0,
            spent: Spent::default(),
            due: Set::default(),
            passed: Set::default(),
            void: Set::default(),
            strays: [Set::default(); 2],
            superseded: false,
            seen: BTreeMap::from([(FIRST, events)]),
            forked: false,
            frozen: Set::default(),
            regrown: false,
            asked: Set::default(),
            begun: Set::default(),
            erased: Set::default(),
            certified: Set::default(),
            vault_is_old: false,
            by_hand: false,
            refused: false,
        }
    }

    /// The directory that the process works in.
    pub(crate) fn here(&self) -> &Place {
        let target = self.run.as_ref().and_then(|run| run.target.as_ref());
        target.unwrap_or(&self.place)
    }

    pub(crate) fn here_mut(&mut self) -> &mut Place {
        let target = self.run.as_mut().and_then(|run| run.target.as_mut());
        target.unwrap_or(&mut self.place)
    }

    /// Whether a server answers callers.
    pub(crate) fn serves(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.stage == Stage::Up)
    }
}
