//! The contract of a vault. `reopen` closes and opens the same vault again.

use std::sync::Arc;

use crate::keystore::vault::{JournalEntry, Vault};
use crate::keystore::{ErasureOrder, RequestId};
use crate::spec::ids::{Category, Handle, LedgerId};

const ONE: LedgerId = LedgerId([1; 16]);
const TWO: LedgerId = LedgerId([2; 16]);

/// A new vault, and how to close and open it again.
pub(crate) type Reopen<'a> = &'a dyn Fn(Option<Arc<dyn Vault>>) -> Arc<dyn Vault>;

/// One test.
pub(crate) type Test<'a> = &'a dyn Fn(Arc<dyn Vault>, Reopen<'_>);

/// Runs all of them; each on a new vault.
pub(crate) fn all(fresh: &dyn Fn(Test<'_>)) {
    fresh(&keys_are_made_once_and_outlive_a_reopening);
    fresh(&keys_differ_by_ledger_and_purpose);
    fresh(&an_unknown_ledger_has_no_keys);
    fresh(&the_journal_keeps_order_and_takes_an_entry_once);
    fresh(&the_checkpoint_never_shrinks);
}

fn keys_are_made_once_and_outlive_a_reopening(vault: Arc<dyn Vault>, reopen: Reopen<'_>) {
    vault.create_ledger(ONE).unwrap();
    let keys = |v: &Arc<dyn Vault>| {
        (
            v.epoch_key(ONE).unwrap(),
            v.bucket_hash_key(ONE).unwrap(),
            v.suppression_key(ONE).unwrap(),
            v.owner(),
        )
    };
    let before = keys(&vault);
    assert_eq!(before.0.0, 1, "the first epoch is 1");
    vault.create_ledger(ONE).unwrap();
    assert_eq!(keys(&vault), before, "creating a ledger again changes nothing");
    let vault = reopen(Some(vault));
    assert_eq!(keys(&vault), before);
    vault.create_ledger(ONE).unwrap();
    assert_eq!(keys(&vault), before);
}

fn keys_differ_by_ledger_and_purpose(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    let mut keys = Vec::new();
    for ledger in [ONE, TWO] {
        vault.create_ledger(ledger).unwrap();
        keys.push(*vault.epoch_key(ledger).unwrap().1);
        keys.push(*vault.bucket_hash_key(ledger).unwrap());
        keys.push(*vault.suppression_key(ledger).unwrap());
    }
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}

fn an_unknown_ledger_has_no_keys(vault: Arc<dyn Vault>, _: Reopen<'_>) {
    vault.create_ledger(ONE).unwrap();
    assert!(vault.epoch_key(TWO).is_err());
    assert!(vault.bucket_hash_key(TWO).is_err());
    assert!(vault.suppression_key(TWO).is_err());
    assert_eq!(vault.journaled(TWO).unwrap(), []);
    assert_eq!(vault.checkpoint(TWO).unwrap(), None);
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
