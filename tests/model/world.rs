//! What there is: two people, a family of logs, a key store, a vault, copies of them; and what the world outside has seen.

use std::collections::BTreeMap;

/// A person.
pub(crate) type Who = u8;
/// Has data from the beginning.
pub(crate) const ADA: Who = 0;
/// Comes later, unless nobody appends.
pub(crate) const BOB: Who = 1;
/// Everybody.
pub(crate) const PEOPLE: [Who; 2] = [ADA, BOB];

/// The first log of the family: all people are its people.
pub(crate) const FIRST: u8 = 1;

/// A set of small numbers: people, epochs or keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Set(u32);

impl Set {
    pub(crate) fn of(members: &[u8]) -> Self {
        members.iter().fold(Self::default(), |set, one| set.with(*one))
    }

    pub(crate) fn has(self, one: u8) -> bool {
        self.0 >> one & 1 == 1
    }

    #[must_use]
    pub(crate) fn with(self, one: u8) -> Self {
        Self(self.0 | 1 << one)
    }

    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    #[must_use]
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..32).filter(move |one| self.has(*one))
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        to.debug_set().entries(self.iter()).finish()
    }
}

/// An epoch key: its number, and the line of the vault that made it. A vault that was put back from an older copy makes
/// another key of a number that is in use elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) epoch: u8,
    pub(crate) line: u8,
}

impl Key {
    /// As a member of a [`Set`].
    pub(crate) fn bit(self) -> u8 {
        self.epoch + 8 * self.line
    }
}

/// What an event says. Epochs are numbers here, as the events have them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fact {
    /// `ledger.created`; what it goes on from stands in [`Log::continues`].
    Created,
    /// An event with a sealed block about somebody.
    Data(Who),
    /// An event about nobody.
    Other,
    /// `erasure.requested`
    Requested(Who),
    /// `erasure.completed`, with the retired epochs that it names.
    Completed(Who, Set),
    /// `erasure.recovered`
    Recovered(Who),
    /// `epoch.changed`, and whether it says that the old key was retired.
    Changed(u8, bool),
    /// `epoch.destroyed`
    Destroyed(u8),
    /// `backup.started`
    BackedUp,
}

/// An event, and the line of history in which it was written: written again in another line it has another leaf hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Event {
    pub(crate) fact: Fact,
    pub(crate) line: u8,
}

/// One entry of `continues`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Continued {
    pub(crate) log: u8,
    /// Stands for size and root of `last_known`.
    pub(crate) known: Vec<Event>,
    pub(crate) restored: usize,
}

/// A log. Its events stand for its root.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Log {
    pub(crate) continues: Vec<Continued>,
    pub(crate) events: Vec<Event>,
}

/// The ledgers' store: logs by their number in the family.
pub(crate) type Ledger = BTreeMap<u8, Log>;

/// The key store's rows of [`FIRST`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyStore {
    /// The epoch key that its master hangs under.
    pub(crate) key: Key,
    /// Whose keys and identity are there.
    pub(crate) rows: Set,
    /// Who is fenced.
    pub(crate) fences: Set,
    /// Whose keys were destroyed, and in which epoch they were until then.
    pub(crate) gone: [Option<u8>; 2],
    /// Under which epoch keys bytes of a person's rows lie in the files, deleted ones too: T3 is never reached here.
    pub(crate) under: [Set; 2],
}

impl KeyStore {
    pub(crate) fn gone(&self) -> Set {
        let gone = PEOPLE.into_iter().filter(|who| self.gone[usize::from(*who)].is_some());
        gone.fold(Set::default(), Set::with)
    }

    /// Whether the key of somebody's data would be lent.
    pub(crate) fn opens(&self, who: Who) -> bool {
        self.rows.has(who) && !self.fences.has(who)
    }
}

/// The vault's note on an epoch key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Slot {
    pub(crate) line: u8,
    pub(crate) backed_up: bool,
    pub(crate) retired: bool,
}

/// The vault.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Vault {
    /// The epochs whose keys are there.
    pub(crate) slots: BTreeMap<u8, Slot>,
    /// The erasure journal.
    pub(crate) journal: Set,
    /// The last checkpoint of every log.
    pub(crate) known: BTreeMap<u8, Vec<Event>>,
    pub(crate) closed: bool,
    pub(crate) line: u8,
}

impl Vault {
    pub(crate) fn holds(&self, key: Key) -> bool {
        self.slots.get(&key.epoch).is_some_and(|slot| slot.line == key.line)
    }

    /// Holds it, and not for backups alone.
    pub(crate) fn uses(&self, key: Key) -> bool {
        self.holds(key) && self.slots.get(&key.epoch).is_some_and(|slot| !slot.retired)
    }

    /// The keys that are there, of all or of those that are not retired.
    pub(crate) fn keys(&self, also_retired: bool) -> Set {
        let there = self.slots.iter().filter(|(_, slot)| also_retired || !slot.retired);
        there.fold(Set::default(), |keys, (epoch, slot)| {
            let key = Key { epoch: *epoch, line: slot.line };
            keys.with(key.bit())
        })
    }

    /// The epochs that are retired, by number.
    pub(crate) fn retired(&self) -> Set {
        let retired = self.slots.iter().filter(|(_, slot)| slot.retired);
        retired.fold(Set::default(), |epochs, (epoch, _)| epochs.with(*epoch))
    }
}

/// A data directory.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    pub(crate) ledger: Ledger,
    pub(crate) keystore: KeyStore,
    /// Of what is written in it.
    pub(crate) line: u8,
}

/// A backup with its manifest.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Backup {
    pub(crate) ledger: Ledger,
    pub(crate) keystore: KeyStore,
    /// The epoch key that the manifest names.
    pub(crate) key: Key,
}

/// How far a running process is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    /// A restore: files copied; the copy comes to the present epoch next.
    Adopt,
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
        people.iter().for_each(|who| under[usize::from(*who)] = Set::of(&[key.bit()]));
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

/// Whether a log of this store goes on from another.
pub(crate) fn heir(ledger: &Ledger, log: u8) -> Option<&Continued> {
    let continued = ledger.values().flat_map(|heir| &heir.continues);
    continued.into_iter().find(|continued| continued.log == log)
}

/// The log that grows.
pub(crate) fn live(ledger: &Ledger) -> Option<u8> {
    ledger.keys().copied().find(|log| heir(ledger, *log).is_none())
}

/// Everything that the logs of a store say, oldest log first.
pub(crate) fn facts(ledger: &Ledger) -> impl Iterator<Item = (u8, Fact)> {
    let of = |(log, events): (&u8, &Log)| events.events.iter().map(move |event| event.fact).zip(std::iter::repeat(*log)).collect::<Vec<_>>();
    ledger.iter().flat_map(of).map(|(fact, log)| (log, fact))
}
