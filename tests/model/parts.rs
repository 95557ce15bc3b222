//! The parts: logs, key store, vault, and copies of them.

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
            let key = Key {
                epoch: *epoch,
                line: slot.line,
            };
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
    let of = |(log, events): (&u8, &Log)| {
        events
            .events
            .iter()
            .map(move |event| event.fact)
            .zip(std::iter::repeat(*log))
            .collect::<Vec<_>>()
    };
    ledger.iter().flat_map(of).map(|(fact, log)| (log, fact))
}
