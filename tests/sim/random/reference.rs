//! What should be so: people, blocks and acts, without a key.

use std::collections::BTreeMap;

use super::Scope;

/// What a subject id leads to in a log. One that is not named was never seen.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Person {
    /// With its handle.
    Known(String),
    Erased,
}

/// A block of personal data.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) handle: String,
    pub(super) category: usize,
    pub(super) text: String,
    pub(super) erased: bool,
}

/// A hold or a restriction.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    pub(super) id: String,
    pub(super) handle: String,
    pub(super) category: Option<usize>,
    pub(super) is_hold: bool,
}

/// An erasure by its request id.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Erasure {
    pub(super) id: String,
    pub(super) handle: String,
    pub(super) category: Option<usize>,
}

/// A log with its people.
#[derive(Debug, Clone, Default)]
pub(super) struct Log {
    /// In its family, from 1.
    pub(super) number: u32,
    pub(super) name: String,
    pub(super) vkey: String,
    pub(super) people: BTreeMap<usize, Person>,
    pub(super) blocks: Vec<Block>,
    /// Closed categories.
    pub(super) closed: Vec<(String, usize)>,
    pub(super) bars: Vec<Bar>,
    pub(super) waiting: Vec<Erasure>,
    pub(super) done: Vec<Erasure>,
}

fn meets(one: Option<usize>, other: Option<usize>) -> bool {
    one.is_none() || other.is_none() || one == other
}

impl Log {
    pub(super) fn person(&self, person: usize) -> Option<&Person> {
        self.people.get(&person)
    }

    pub(super) fn handle(&self, person: usize) -> Option<&String> {
        match self.person(person) {
            Some(Person::Known(handle)) => Some(handle),
            _ => None,
        }
    }

    pub(super) fn is_closed(&self, handle: &str, category: usize) -> bool {
        self.closed
            .iter()
            .any(|(of, closed)| of == handle && *closed == category)
    }

    /// The hold, or else the restriction, that keeps data from being erased.
    pub(super) fn barred(&self, handle: &str, category: Option<usize>) -> Option<&Bar> {
        let own = || {
            self.bars
                .iter()
                .filter(|bar| bar.handle == handle && meets(bar.category, category))
        };
        own().find(|bar| bar.is_hold).or_else(|| own().next())
    }

    pub(super) fn is_restricted(&self, handle: &str, category: Option<usize>) -> bool {
        let covers = |bar: &Bar| bar.category.is_none() || bar.category == category;
        self.bars
            .iter()
            .any(|bar| !bar.is_hold && bar.handle == handle && covers(bar))
    }

    /// The answer to an append: the code of a refusal.
    pub(super) fn refuses(&self, person: usize, category: usize) -> Option<&'static str> {
        match self.person(person) {
            Some(Person::Erased) => Some("subject_erased"),
            Some(Person::Known(handle)) if self.is_closed(handle, category) => Some("subject_erased"),
            _ => None,
        }
    }

    /// How a block reads: its state, and the text if it is clear.
    pub(super) fn reads(&self, block: &Block) -> (&'static str, Option<String>) {
        if block.erased {
            ("erased", None)
        } else if self.is_restricted(&block.handle, Some(block.category)) {
            ("restricted", None)
        } else {
            ("clear", Some(block.text.clone()))
        }
    }

    /// An erasure is carried out.
    pub(super) fn erase(&mut self, erasure: Erasure) {
        let Erasure { handle, category, .. } = &erasure;
        let mut own = self.blocks.iter_mut().filter(|block| block.handle == *handle);
        own.by_ref()
            .filter(|block| category.is_none_or(|category| category == block.category))
            .for_each(|block| block.erased = true);
        match category {
            Some(category) => self.closed.push((handle.clone(), *category)),
            None => {
                let known = Person::Known(handle.clone());
                self.people
                    .values_mut()
                    .filter(|person| **person == known)
                    .for_each(|person| *person = Person::Erased);
            }
        }
        self.waiting.retain(|waiting| waiting.id != erasure.id);
        self.done.push(erasure);
    }

    /// Carries out what waited and is barred no more.
    pub(super) fn advance(&mut self) {
        while let Some(free) = self
            .waiting
            .iter()
            .find(|waiting| self.barred(&waiting.handle, waiting.category).is_none())
            .cloned()
        {
            self.erase(free);
        }
    }

    pub(super) fn scope(&self, scope: Scope) -> (Option<&Person>, Option<usize>) {
        (self.person(scope.person), scope.category)
    }
}

/// The logs: the one that grows first.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    pub(super) logs: Vec<Log>,
}

impl Reference {
    /// What an accepted rollback to this state leaves: the old log is frozen, erasures that were begun since are carried out
    /// in it, and a new log begins.
    pub(super) fn rolled_back(mut self, number: u32, vkey: &str, carried_out: &[(u32, Erasure)]) -> Self {
        let frozen = &mut self.logs[0];
        frozen.name = format!("main-r{}", frozen.number);
        for log in &mut self.logs {
            let of = log.number;
            for (_, erasure) in carried_out.iter().filter(|(number, _)| *number == of) {
                if !log.done.iter().any(|done| done.id == erasure.id) {
                    log.erase(erasure.clone());
                }
            }
        }
        let fresh = Log {
            number,
            name: "main".to_owned(),
            vkey: vkey.to_owned(),
            ..Log::default()
        };
        self.logs.insert(0, fresh);
        self
    }
}
