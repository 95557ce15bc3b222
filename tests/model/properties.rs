//! What must hold in every state, and what must come to pass in some.

use stateright::Property;

use crate::Model;
use crate::world::*;

/// A property and its condition.
pub(crate) type Named = (&'static str, fn(&Model, &World) -> bool);

/// Hold in every state.
pub(crate) const ALWAYS: [Named; 10] = [
    ("an erased person never opens", erased_never_opens),
    (
        "an erased person hangs under no key in use",
        erased_hangs_under_no_key_in_use,
    ),
    ("a final certificate is never contradicted", final_is_never_contradicted),
    ("everybody else opens", everybody_else_opens),
    ("a backup opens until its horizon", backups_open_until_their_horizon),
    ("an origin has one root of a size", one_root_of_a_size),
    ("a log that another goes on from does not grow", frozen_logs_do_not_grow),
    ("no erasure is left open", no_erasure_is_left_open),
    (
        "a key that is due does not outlive the next start",
        due_keys_die_at_start,
    ),
    ("what nobody touched starts again", untouched_starts),
];

/// Come to pass in some state, of a scope that allows it.
const SOMETIMES: [Named; 5] = [
    ("an erasure is final", |_, world| !world.certified.is_empty()),
    ("a start is refused", |_, world| world.refused),
    ("an old backup is put back, and the erased stay erased", |_, world| {
        let erased_since = facts(&world.place.ledger).any(|(_, fact)| fact == Fact::Recovered(ADA));
        world.serves() && erased_since && world.place.keystore.opens(BOB)
    }),
    ("a log goes on from two", |_, world| {
        world.serves() && world.place.ledger.values().any(|log| log.continues.len() == 2)
    }),
    ("an older vault is brought up to date", |_, world| {
        world.serves() && world.vault.line > 0 && world.begun.has(ADA) && world.vault.journal.has(ADA)
    }),
];

pub(crate) fn all() -> Vec<Property<Model>> {
    let always = ALWAYS
        .iter()
        .map(|(name, condition)| Property::always(name, *condition));
    let sometimes = SOMETIMES
        .iter()
        .map(|(name, condition)| Property::sometimes(name, *condition));
    always.chain(sometimes).collect()
}

/// Whoever serves lends no key of a person whose erasure once stood in the journal, wherever the directory came from.
fn erased_never_opens(_: &Model, world: &World) -> bool {
    !world.serves()
        || world
            .begun
            .iter()
            .all(|who| !world.place.keystore.opens(who) || begins_again(world, who))
}

/// Between the first record and the fence of a request in this very run nobody was told anything.
fn begins_again(world: &World, who: Who) -> bool {
    let job = world.run.as_ref().and_then(|run| run.job.as_ref());
    job.is_some_and(|job| job.why == Why::Erase && job.who.has(who) && job.step == Step::Fence)
}

/// After T2 nothing in the files in use leads to a key that is in use, deleted rows included, and nothing in what a restore left
/// that broke off. A retired key opens them until T5, as the certificate says.
fn erased_hangs_under_no_key_in_use(_: &Model, world: &World) -> bool {
    let in_use = world.vault.keys(false);
    let open = |who: usize| world.place.keystore.under[who].or(world.strays[who]).and(in_use);
    !world.serves() || world.erased.iter().all(|who| open(usize::from(who)).is_empty())
}

/// Of somebody whose certificate was final no copy that the product made opens with any key of the vault.
fn final_is_never_contradicted(_: &Model, world: &World) -> bool {
    if world.vault_is_old {
        return true; // compared at the next start
    }
    let keys = world.vault.keys(true);
    let copies = || {
        let places = std::iter::once(&world.place).chain(&world.before);
        let target = world.run.iter().filter_map(|run| run.target.as_ref());
        let stores = places.chain(target).map(|place| &place.keystore);
        stores
            .chain(world.backups.iter().map(|backup| &backup.keystore))
            .map(|keystore| keystore.under)
    };
    let opens = |who: Who| {
        copies()
            .chain([world.strays])
            .any(|under| !under[usize::from(who)].and(keys).is_empty())
    };
    world.certified.iter().all(|who| !opens(who))
}

/// Whoever never asked to be erased and has data in a directory that is served is opened there.
fn everybody_else_opens(_: &Model, world: &World) -> bool {
    let Place { ledger, keystore, .. } = &world.place;
    !world.serves()
        || facts(ledger).all(|(_, fact)| match fact {
            Fact::Data(who) => world.asked.has(who) || keystore.opens(who) && world.vault.uses(keystore.key),
            _ => true,
        })
}

/// The key of a whole backup lives until its horizon has passed.
fn backups_open_until_their_horizon(_: &Model, world: &World) -> bool {
    let gone_rightly = world.passed.or(world.void);
    let kept = |backup: &Backup| world.vault.holds(backup.key) || gone_rightly.has(backup.key.bit());
    let whole = |backup: &Backup| {
        facts(&backup.ledger).all(|(_, fact)| match fact {
            Fact::Data(who) => backup.keystore.rows.has(who) || backup.keystore.fences.has(who),
            _ => true,
        })
    };
    world.backups.iter().all(|backup| kept(backup) && whole(backup))
}

fn one_root_of_a_size(_: &Model, world: &World) -> bool {
    !world.forked
}

fn frozen_logs_do_not_grow(_: &Model, world: &World) -> bool {
    !world.regrown
}

/// Whoever serves and has nothing under way has ended every erasure that the log which grows asks for.
fn no_erasure_is_left_open(_: &Model, world: &World) -> bool {
    let idle = world
        .run
        .as_ref()
        .is_some_and(|run| run.job.is_none() && !run.unfinished);
    let (_, ended) = World::recorded(&world.place.ledger);
    let growing = live(&world.place.ledger);
    let open = facts(&world.place.ledger).any(|(log, fact)| match fact {
        Fact::Requested(who) => growing == Some(log) && !ended.has(who),
        _ => false,
    });
    !(world.serves() && idle && open)
}

fn due_keys_die_at_start(_: &Model, world: &World) -> bool {
    let overdue = world.run.as_ref().map_or(Set::default(), |run| run.overdue);
    !world.serves() || overdue.and(world.vault.keys(true)).is_empty()
}

/// A directory that nobody touched by hand, and that no restore replaced, is served again after any crash.
fn untouched_starts(model: &Model, world: &World) -> bool {
    world.run.is_some() || world.by_hand || world.superseded || world.passes_gate(model.off)
}
