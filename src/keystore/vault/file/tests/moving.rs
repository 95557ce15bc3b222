//! What a move leaves in the files, wherever it breaks off.

use sha2::{Digest, Sha256};

use super::*;
use crate::keystore::conformance::keystore::order;
use crate::keystore::vault::{JournalEntry, KeyPlace, StoreId, VaultId};
use crate::spec::ids::Handle;

/// A vault with a ledger, and the keys that lie in its slots.
fn with_keys(place: &Place) -> (FileVault, Vec<Secret>) {
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    let kept = [vault.bucket_hash_key(LEDGER), vault.suppression_key(LEDGER)].map(Result::unwrap);
    let (_, epoch) = newest(&vault, LEDGER).unwrap();
    let secrets = kept.into_iter().chain([epoch]).collect();
    (vault, secrets)
}

fn departure(to: VaultId) -> Departure {
    let folders = Vec::new();
    Departure { to, folders }
}

#[test]
fn an_emptied_vault_holds_no_key_in_a_slot_that_is_lost_or_hidden() {
    let place = place();
    let (vault, secrets) = with_keys(&place);
    drop(vault);
    for mirror in 0..2 {
        // The first is damaged beside its key, on both mirrors; the second stands in another slot once more.
        place.flip(mirror, "slots", 400);
        let mut slots = std::fs::read(place.file(mirror, "slots")).unwrap();
        slots.copy_within(SLOT..2 * SLOT, 9 * SLOT);
        let sum = Sha256::new_with_prefix(9_u64.to_be_bytes()).chain_update(&slots[9 * SLOT..10 * SLOT - 32]);
        slots[10 * SLOT - 32..10 * SLOT].copy_from_slice(&sum.finalize());
        std::fs::write(place.file(mirror, "slots"), slots).unwrap();
    }
    assert_eq!(place.open().unwrap().health().lost_slots, 1);
    assert!(reason(empty(&place.mirrors, None)).contains("was not moved away"));
    leave(&place.mirrors, &departure(VaultId([9; 16]))).unwrap();
    for _ in 0..2 {
        empty(&place.mirrors, None).unwrap();
        assert_eq!(secrets.iter().map(|key| place.holds(key.as_slice())).max(), Some(0));
    }
}

#[test]
fn what_is_discarded_is_overwritten_first_and_never_taken_for_a_whole_vault() {
    let (old, new) = (place(), place());
    let (from, secrets) = with_keys(&old);
    let vault = FileVault::create_to_move(&new.mirrors, None, Arc::new(System), &from).unwrap();
    let unfinished = vault.take_over(&from, &[LEDGER], NOW).unwrap();
    drop(vault);
    assert_eq!(new.holds(secrets[0].as_slice()), 2);
    let in_token = Move {
        place: KeyPlace::Pkcs11,
        ..unfinished.clone()
    };
    let discard_until = |left: &mut usize, unfinished: &Move| {
        discard(&new.mirrors, None, unfinished, || {
            *left -= 1;
            if *left > 0 {
                Ok(())
            } else {
                Err(vault_refusal("stopped"))
            }
        })
    };
    assert!(
        reason(discard_until(&mut 1, &in_token)).contains("HSM"),
        "its keys stay there"
    );
    assert!(reason(discard_until(&mut 3, &unfinished)).contains("stopped"));
    for mirror in &new.mirrors {
        let found = arriving(std::slice::from_ref(mirror)).unwrap().unwrap();
        assert_eq!(found.changes, [], "{}", mirror.display());
    }
    assert!(std::fs::read(new.file(0, "slots")).is_ok_and(|slots| slots.iter().all(|byte| *byte == 0)));
    // Stopped at any of the rest it is gone on with.
    while discard_until(&mut 2, &unfinished).is_err() {}
    assert!(new.mirrors.iter().all(|mirror| is_free(mirror).unwrap()));
}

#[test]
fn a_journal_longer_than_a_record_is_carried() {
    let (old, new) = (place(), place());
    let (from, _) = with_keys(&old);
    let long = |number: usize| format!("{number:02}{}", "c".repeat(60));
    let categories: Vec<_> = (0..64).map(long).collect();
    let categories: Vec<_> = categories.iter().map(String::as_str).collect();
    let entry = |number: u32| JournalEntry {
        order: order(1, Handle(u128::from(number).to_be_bytes()), Some(&categories)),
        index: 1,
    };
    let entries: Vec<_> = (0..7_300).map(entry).collect();
    for part in entries.chunks(1_000) {
        from.journal(LEDGER, part).unwrap();
    }
    let vault = FileVault::create_to_move(&new.mirrors, None, Arc::new(System), &from).unwrap();
    vault.take_over(&from, &[LEDGER], NOW).unwrap();
    assert_eq!(vault.journaled(LEDGER).unwrap(), entries);
}

#[test]
fn a_vault_of_the_first_format_has_its_stores_id() {
    let place = place();
    let (vault, _) = with_keys(&place);
    let id = vault.id();
    drop(vault);
    for mirror in 0..2 {
        let mut owner = [b"OUBVAULT".as_slice(), &1_u32.to_be_bytes(), &id.0].concat();
        owner.extend_from_slice(&Sha256::digest(&owner));
        std::fs::write(place.file(mirror, "vault"), owner).unwrap();
    }
    let vault = place.open().unwrap();
    assert_eq!((vault.id(), vault.store()), (id, StoreId(id.0)));
    assert_eq!(vault.epochs(LEDGER).unwrap().len(), 1);
}

#[test]
fn every_folder_that_gets_an_entry_is_synced_when_a_folder_is_made() {
    let root = TempDir::new().unwrap();
    let at = |path: &str| root.path().join(path);
    let folder = at("x/y/z");
    assert_eq!(
        mirror::holders_of_new(&folder),
        [at("x/y").as_path(), &at("x"), root.path()]
    );
    mirror::make_folder(&folder).unwrap();
    assert_eq!(mirror::holders_of_new(&folder), [at("x/y").as_path()]);
    assert_eq!(
        mirror::holders_of_new(Path::new("not/there")),
        [Path::new("not"), Path::new(".")]
    );
}
