//! Random lives: sequences of whatever callers, officers, admins and accidents do, against the real server with its real
//! files, and beside it against a reference that knows nothing of keys, epochs or logs on disk. After every step the two
//! must tell the same of everybody.
//!
//! `OUBLIETTE_RANDOM_CASES` runs more of them, `OUBLIETTE_RANDOM_SEED` others. What fails is made smaller and printed.

mod real;
mod reference;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use self::real::Real;

/// The people of a case.
const PEOPLE: [&str; 4] = ["ada", "bob", "cyd", "dan"];
/// The categories of their data.
const CATEGORIES: [&str; 2] = ["billing", "marketing"];
const CASES: u32 = 5;

/// A person, and one category or all of them.
#[derive(Debug, Clone, Copy)]
struct Scope {
    person: usize,
    category: Option<usize>,
}

/// What happens. Numbers name one of what there is, whatever their size.
#[derive(Debug, Clone)]
enum Op {
    Append(Vec<(usize, usize)>),
    /// `log`: 0 is the one that grows, others are frozen.
    Erase {
        log: usize,
        scope: Scope,
        wait: bool,
    },
    /// The server is killed so many microseconds after it was asked.
    EraseAndKill {
        person: usize,
        micros: u64,
    },
    Reopen(Scope),
    Hold {
        log: usize,
        scope: Scope,
    },
    Release(usize),
    Restrict {
        log: usize,
        scope: Scope,
    },
    Lift(usize),
    Rotate,
    Renew(usize),
    BackUp,
    /// Puts one of the backups back, after a clean end of the server or after a crash.
    Restore {
        backup: usize,
        crash: bool,
    },
    Stop,
    Kill,
    /// Longer than a short horizon.
    Wait,
}

/// A whole case.
#[derive(Debug, Clone)]
struct Case {
    /// Whether retired keys die within a second, or not at all.
    short_horizon: bool,
    /// Whether blocks leave the store at once, or not at all.
    purge: bool,
    ops: Vec<Op>,
}

fn op() -> impl Strategy<Value = Op> {
    let person = 0..PEOPLE.len();
    let category = prop_oneof![3 => Just(None), 2 => (0..CATEGORIES.len()).prop_map(Some)];
    let scope = (person.clone(), category).prop_map(|(person, category)| Scope { person, category });
    let log = prop_oneof![4 => Just(0_usize), 1 => 1..3_usize];
    let blocks = prop::collection::vec((person.clone(), 0..CATEGORIES.len()), 1..4);
    prop_oneof![
        6 => blocks.prop_map(Op::Append),
        5 => (log.clone(), scope.clone(), any::<bool>()).prop_map(|(log, scope, wait)| Op::Erase { log, scope, wait }),
        1 => (person.clone(), 0..60_000_u64).prop_map(|(person, micros)| Op::EraseAndKill { person, micros }),
        3 => scope.clone().prop_map(Op::Reopen),
        2 => (log.clone(), scope.clone()).prop_map(|(log, scope)| Op::Hold { log, scope }),
        2 => (0..8_usize).prop_map(Op::Release),
        2 => (log, scope).prop_map(|(log, scope)| Op::Restrict { log, scope }),
        2 => (0..8_usize).prop_map(Op::Lift),
        1 => Just(Op::Rotate),
        1 => person.prop_map(Op::Renew),
        2 => Just(Op::BackUp),
        2 => (0..4_usize, any::<bool>()).prop_map(|(backup, crash)| Op::Restore { backup, crash }),
        1 => Just(Op::Stop),
        2 => Just(Op::Kill),
        1 => Just(Op::Wait),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let ops = prop::collection::vec(op(), 8..30);
    (any::<bool>(), any::<bool>(), ops).prop_map(|(short_horizon, purge, ops)| Case {
        short_horizon,
        purge,
        ops,
    })
}

/// Runs a case to its end.
fn run(case: &Case) {
    let mut real = Real::new(case.short_horizon, case.purge);
    // Somebody to talk about.
    real.run(&Op::Append(vec![(0, 0), (1, 0)]));
    real.run(&Op::Append(vec![(2, 1), (0, 1)]));
    for op in &case.ops {
        real.run(op);
    }
    real.end();
}

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

#[test]
fn whatever_happens_the_erased_stay_erased_and_everybody_else_opens() {
    let config = Config {
        cases: number("OUBLIETTE_RANDOM_CASES").map_or(CASES, |cases| u32::try_from(cases).unwrap()),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..Config::default()
    };
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number("OUBLIETTE_RANDOM_SEED").unwrap_or(1).to_be_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let done = runner.run(&case(), |case| {
        run(&case);
        Ok(())
    });
    if let Err(error) = done {
        panic!("{error}");
    }
}
