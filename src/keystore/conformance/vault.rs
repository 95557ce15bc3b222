//! The contract of a vault. `reopen` closes and opens the same vault again.

use std::sync::Arc;

use crate::keystore::vault::{Epoch, EpochKey, EpochState, JournalEntry, Vault};
use crate::keystore::{ErasureOrder, KeyStoreError, RequestId};
use crate::spec::ids::{Category, Handle, LedgerId, Timestamp};

const ONE: LedgerId = LedgerId([1; 16]);
const TWO: LedgerId = LedgerId([2; 16]);
const MASTER: [u8; 32] = [7; 32];

fn at(seconds: u64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

fn retired(since: u64, until: u64) -> EpochState {
    let (since, until) = (at(since), at(until));
    EpochState::Retired { since, until }
}

/// Number and state of each epoch.
fn states(vault: &dyn Vault) -> Vec<(Epoch, EpochState)> {
    let epochs = vault.epochs(ONE).unwrap();
    epochs.iter().map(|key| (key.epoch, key.state)).collect()
}

fn opens(vault: &dyn Vault, epoch: Epoch, wrapped: &[u8]) -> bool {
    let opened = vault.unwrap_master(ONE, epoch, b"place", wrapped);
    opened.is_ok_and(|master| *master == MASTER)
}

/// A new vault, and how to close and open it again.
pub(crate) type Reopen<'a> = &'a dyn Fn(Option<Arc<dyn Vault>>) -> Arc<dyn Vault>;

/// One test.
pub(crate) type Test<'a> = &'a dyn Fn(Arc<dyn Vault>, Reopen<'_>);

/// Runs all of them; each on a new vault.
pub(crate) fn all(fresh: &dyn Fn(Test<'_>)) {
    fresh(&keys_are_made_once_and_outlive_a_reopening);
    fresh(&keys_differ_by_ledger_and_purpose);
    fresh(&an_unknown_ledger_has_no_keys);
    fresh(&a_master_opens_under_its_epoch_and_place_alone);
    fresh(&an_epoch_is_fresh_until_the_one_before_it_goes);
    fresh(&minting_gives_the_fresh_epoch_again_unless_a_later_one_is_wanted);
    fresh(&a_retired_epoch_opens_what_it_wrapped_until_it_is_destroyed);
    fresh(&retiring_again_keeps_the_first_times);
    fresh(&a_destroyed_epoch_opens_nothing_and_its_notes_go_with_it);
    fresh(&the_only_epoch_in_use_is_never_retired_or_destroyed);
    fresh(&a_backup_is_noted_once_for_its_epoch);
    fresh(&epochs_of_one_ledger_leave_the_others_alone);
    fresh(&the_journal_keeps_order_and_takes_an_entry_once);
    fresh(&the_checkpoint_never_shrinks);
}

fn keys_are_made_once_and_outlive_a_reopening(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(5)).unwrap();
    let wrapped = vault.wrap_master(ONE, 1, b"place", &MASTER).unwrap();
    let keys = |v: &Arc<dyn Vault>| {
        assert!(opens(&**v, 1, &wrapped));
        (
            v.epochs(ONE).unwrap(),
            v.bucket_hash_key(ONE).unwrap(),
            v.suppression_key(ONE).unwrap(),
            v.store(),
        )
    };
    let before = keys(&vault);
    let first = EpochKey {
        epoch: 1,
        state: EpochState::Current,
        born: at(5),
        backed_up: None,
    };
    assert_eq!(before.0, [first], "the first epoch is 1");
    vault.create_ledger(ONE, at(6)).unwrap();
    assert_eq!(keys(&vault), before, "creating a ledger again changes nothing");
    let vault = reopen(Some(vault));
    assert_eq!(keys(&vault), before);
    vault.create_ledger(ONE, at(7)).unwrap();
    assert_eq!(keys(&vault), before);
}

fn keys_differ_by_ledger_and_purpose(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    let mut keys = Vec::new();
    for ledger in [ONE, TWO] {
        vault.create_ledger(ledger, at(1)).unwrap();
        keys.push(*vault.bucket_hash_key(ledger).unwrap());
        keys.push(*vault.suppression_key(ledger).unwrap());
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    let wrapped = vault.wrap_master(ONE, 1, b"place", &MASTER).unwrap();
    assert!(vault.unwrap_master(TWO, 1, b"place", &wrapped).is_err());
}

fn an_unknown_ledger_has_no_keys(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    assert_eq!(vault.epochs(TWO).unwrap(), []);
    assert!(vault.mint_epoch(TWO, 0, at(1)).is_err());
    assert!(vault.wrap_master(TWO, 1, b"place", &MASTER).is_err());
    assert!(vault.mark_backed_up(TWO, 1, at(1)).is_err());
    assert!(vault.bucket_hash_key(TWO).is_err());
    assert!(vault.suppression_key(TWO).is_err());
    assert_eq!(vault.journaled(TWO).unwrap(), []);
    assert_eq!(vault.checkpoint(TWO).unwrap(), None);
}

fn a_master_opens_under_its_epoch_and_place_alone(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    vault.mint_epoch(ONE, 1, at(2)).unwrap();
    let wrapped = vault.wrap_master(ONE, 1, b"place", &MASTER).unwrap();
    assert!(!wrapped.windows(32).any(|window| window == MASTER));
    assert!(opens(&*vault, 1, &wrapped));
    assert!(!opens(&*vault, 2, &wrapped), "another epoch");
    assert!(!opens(&*vault, 3, &wrapped), "no epoch");
    assert!(vault.unwrap_master(ONE, 1, b"elsewhere", &wrapped).is_err());
    let mut altered = wrapped.clone();
    *altered.last_mut().unwrap() ^= 1;
    let damaged = vault.unwrap_master(ONE, 1, b"place", &altered);
    assert!(matches!(damaged, Err(KeyStoreError::Damaged(_))));
    assert!(vault.unwrap_master(ONE, 1, b"place", b"").is_err());
}

fn an_epoch_is_fresh_until_the_one_before_it_goes(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    assert_eq!(vault.mint_epoch(ONE, 1, at(9)).unwrap(), 2);
    assert_eq!(states(&*vault), [(1, EpochState::Current), (2, EpochState::Fresh)]);
    let vault = reopen(Some(vault));
    assert_eq!(states(&*vault), [(1, EpochState::Current), (2, EpochState::Fresh)]);
    assert_eq!(vault.epochs(ONE).unwrap()[1].born, at(9));
    vault.destroy_epoch(ONE, 1).unwrap();
    assert_eq!(states(&*vault), [(2, EpochState::Current)]);
    assert_eq!(states(&*reopen(Some(vault))), [(2, EpochState::Current)]);
}

fn minting_gives_the_fresh_epoch_again_unless_a_later_one_is_wanted(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    assert_eq!(vault.mint_epoch(ONE, 1, at(2)).unwrap(), 2);
    let wrapped = vault.wrap_master(ONE, 2, b"place", &MASTER).unwrap();
    assert_eq!(vault.mint_epoch(ONE, 1, at(3)).unwrap(), 2);
    let vault = reopen(Some(vault));
    assert_eq!(vault.mint_epoch(ONE, 1, at(3)).unwrap(), 2);
    assert!(opens(&*vault, 2, &wrapped), "the same key");
    assert_eq!(vault.mint_epoch(ONE, 2, at(4)).unwrap(), 3);
    let fresh = EpochState::Fresh;
    assert_eq!(states(&*vault), [(1, EpochState::Current), (2, fresh), (3, fresh)]);
    vault.destroy_epoch(ONE, 2).unwrap();
    assert_eq!(
        states(&*vault),
        [(1, EpochState::Current), (3, fresh)],
        "a fresh one may go"
    );
}

fn a_retired_epoch_opens_what_it_wrapped_until_it_is_destroyed(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    let wrapped = vault.wrap_master(ONE, 1, b"place", &MASTER).unwrap();
    vault.mint_epoch(ONE, 1, at(2)).unwrap();
    vault.retire_epoch(ONE, 1, at(3), at(90)).unwrap();
    assert_eq!(states(&*vault), [(1, retired(3, 90)), (2, EpochState::Current)]);
    let vault = reopen(Some(vault));
    assert_eq!(states(&*vault), [(1, retired(3, 90)), (2, EpochState::Current)]);
    assert!(opens(&*vault, 1, &wrapped));
    vault.destroy_epoch(ONE, 1).unwrap();
    assert!(!opens(&*vault, 1, &wrapped));
    assert_eq!(states(&*reopen(Some(vault))), [(2, EpochState::Current)]);
}

fn retiring_again_keeps_the_first_times(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    vault.mint_epoch(ONE, 1, at(2)).unwrap();
    vault.retire_epoch(ONE, 1, at(3), at(90)).unwrap();
    vault.retire_epoch(ONE, 1, at(50), at(900)).unwrap();
    assert_eq!(
        states(&*vault)[0],
        (1, retired(3, 90)),
        "a key does not live longer by repeating"
    );
}

fn a_destroyed_epoch_opens_nothing_and_its_notes_go_with_it(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    let wrapped = vault.wrap_master(ONE, 1, b"place", &MASTER).unwrap();
    vault.mark_backed_up(ONE, 1, at(2)).unwrap();
    vault.mint_epoch(ONE, 1, at(3)).unwrap();
    vault.destroy_epoch(ONE, 1).unwrap();
    vault.destroy_epoch(ONE, 1).unwrap();
    vault.destroy_epoch(ONE, 99).unwrap();
    assert!(!opens(&*vault, 1, &wrapped));
    assert!(!vault.backed_up(ONE, 1).unwrap());
    assert!(vault.mark_backed_up(ONE, 1, at(4)).is_err());
    assert!(vault.retire_epoch(ONE, 1, at(4), at(5)).is_err());
    let vault = reopen(Some(vault));
    assert!(!opens(&*vault, 1, &wrapped));
    assert_eq!(states(&*vault), [(2, EpochState::Current)]);
}

fn the_only_epoch_in_use_is_never_retired_or_destroyed(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    assert!(vault.destroy_epoch(ONE, 1).is_err());
    assert!(vault.retire_epoch(ONE, 1, at(2), at(3)).is_err());
    vault.mint_epoch(ONE, 1, at(2)).unwrap();
    vault.retire_epoch(ONE, 1, at(2), at(3)).unwrap();
    assert!(
        vault.destroy_epoch(ONE, 2).is_err(),
        "the other one opens backups alone"
    );
    assert_eq!(states(&*vault), [(1, retired(2, 3)), (2, EpochState::Current)]);
}

fn a_backup_is_noted_once_for_its_epoch(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    vault.mint_epoch(ONE, 1, at(2)).unwrap();
    assert!(!vault.backed_up(ONE, 1).unwrap());
    vault.mark_backed_up(ONE, 1, at(3)).unwrap();
    vault.mark_backed_up(ONE, 1, at(4)).unwrap();
    let vault = reopen(Some(vault));
    let noted: Vec<_> = vault.epochs(ONE).unwrap().iter().map(|key| key.backed_up).collect();
    assert_eq!(noted, [Some(at(3)), None]);
    assert!(vault.backed_up(ONE, 1).unwrap() && !vault.backed_up(ONE, 2).unwrap());
}

fn epochs_of_one_ledger_leave_the_others_alone(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE, at(1)).unwrap();
    vault.create_ledger(TWO, at(1)).unwrap();
    let wrapped = vault.wrap_master(TWO, 1, b"place", &MASTER).unwrap();
    let before = vault.epochs(TWO).unwrap();
    vault.mark_backed_up(ONE, 1, at(2)).unwrap();
    vault.mint_epoch(ONE, 1, at(3)).unwrap();
    vault.retire_epoch(ONE, 1, at(3), at(4)).unwrap();
    vault.destroy_epoch(ONE, 1).unwrap();
    let vault = reopen(Some(vault));
    assert_eq!(vault.epochs(TWO).unwrap(), before);
    assert_eq!(*vault.unwrap_master(TWO, 1, b"place", &wrapped).unwrap(), MASTER);
}

pub(crate) fn entry(n: u8, categories: Option<&[&str]>) -> JournalEntry {
    let categories: Option<Vec<Category>> = categories.map(|names| names.iter().map(|c| c.parse().unwrap()).collect());
    let order = ErasureOrder {
        request: RequestId::from_bytes([n; 16]),
        handle: Handle([n; 16]),
        categories,
    };
    JournalEntry {
        order,
        index: u64::from(n),
    }
}

fn the_journal_keeps_order_and_takes_an_entry_once(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    let entries = [
        entry(3, None),
        entry(1, Some(&["invoice", "marketing"])),
        entry(2, Some(&[])),
    ];
    vault.journal(ONE, &entries[..2]).unwrap();
    vault.journal(ONE, &entries[1..]).unwrap();
    vault.journal(ONE, &entries).unwrap();
    vault.journal(TWO, &entries[..1]).unwrap();
    assert_eq!(vault.journaled(ONE).unwrap(), entries);
    let vault = reopen(Some(vault));
    assert_eq!(vault.journaled(ONE).unwrap(), entries);
    assert_eq!(vault.journaled(TWO).unwrap(), entries[..1]);
}

fn the_checkpoint_never_shrinks(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.keep_checkpoint(ONE, 7, "seven").unwrap();
    vault.keep_checkpoint(ONE, 5, "five").unwrap();
    assert_eq!(vault.checkpoint(ONE).unwrap(), Some((7, "seven".into())));
    let vault = reopen(Some(vault));
    vault.keep_checkpoint(ONE, 6, "six").unwrap();
    assert_eq!(vault.checkpoint(ONE).unwrap(), Some((7, "seven".into())));
    vault.keep_checkpoint(ONE, 7, "seven, cosigned").unwrap();
    vault.keep_checkpoint(TWO, 1, "one").unwrap();
    let vault = reopen(Some(vault));
    assert_eq!(vault.checkpoint(ONE).unwrap(), Some((7, "seven, cosigned".into())));
    assert_eq!(vault.checkpoint(TWO).unwrap(), Some((1, "one".into())));
}
