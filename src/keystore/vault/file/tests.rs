//! What only the files can show: damage, foreign and missing mirrors, destroyed keys.

mod moving;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use super::keys::epoch_name;
use super::mirror::vault_refusal;
use super::slots::SIZE as SLOT;
use super::*;
use crate::env::System;
use crate::keystore::KeyStoreError;
use crate::keystore::conformance::vault as conformance;
use crate::keystore::vault::{Epoch, Secret, Vault};
use crate::spec::ids::Timestamp;

const LEDGER: LedgerId = LedgerId([1; 16]);
const NOW: Timestamp = Timestamp(1_000_000);

struct Place {
    _folder: TempDir,
    mirrors: Vec<PathBuf>,
}

fn place() -> Place {
    let folder = TempDir::new().unwrap();
    let mirrors = ["a", "b"].map(|name| folder.path().join(name)).to_vec();
    Place {
        _folder: folder,
        mirrors,
    }
}

impl Place {
    fn create(&self) -> FileVault {
        FileVault::create(&self.mirrors, Arc::new(System)).unwrap()
    }

    fn open(&self) -> Result<FileVault, KeyStoreError> {
        FileVault::open(&self.mirrors, Arc::new(System))
    }

    fn file(&self, mirror: usize, name: &str) -> PathBuf {
        self.mirrors[mirror].join(name)
    }

    fn flip(&self, mirror: usize, name: &str, at: usize) {
        let mut bytes = std::fs::read(self.file(mirror, name)).unwrap();
        bytes[at] ^= 0x10;
        std::fs::write(self.file(mirror, name), bytes).unwrap();
    }

    fn holds(&self, needle: &[u8]) -> usize {
        let slots = (0..self.mirrors.len()).map(|mirror| std::fs::read(self.file(mirror, "slots")).unwrap());
        slots
            .filter(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
            .count()
    }
}

/// Number and key of a ledger's newest epoch.
fn newest(vault: &FileVault, ledger: LedgerId) -> Result<(Epoch, Secret), KeyStoreError> {
    let epoch = vault.epochs(ledger)?.last().map_or(0, |key| key.epoch);
    Ok((epoch, vault.read(epoch_name(ledger, epoch))?))
}

fn journal_file() -> String {
    format!("journal/{LEDGER}")
}

fn reason(result: Result<impl Sized, KeyStoreError>) -> String {
    match result {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_file_vault_keeps_the_contract() {
    conformance::all(&|run| {
        let place = place();
        run(Arc::new(place.create()), &|old| {
            drop(old);
            Arc::new(place.open().unwrap())
        });
    });
}

#[test]
fn files_are_private() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    vault.journal(LEDGER, &[conformance::entry(1, None)]).unwrap();
    vault.keep_checkpoint(LEDGER, 1, "note").unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    for mirror in 0..2 {
        for folder in ["", "journal", "checkpoint"] {
            assert_eq!(mode(&place.file(mirror, folder)), 0o700, "{folder}");
        }
        for file in [
            "vault",
            "lock",
            "slots",
            &journal_file(),
            &format!("checkpoint/{LEDGER}"),
        ] {
            assert_eq!(mode(&place.file(mirror, file)), 0o600, "{file}");
        }
    }
}

#[test]
fn a_missing_vault_is_refused_and_not_created() {
    let place = place();
    assert!(matches!(place.open(), Err(KeyStoreError::Foreign(_))));
    assert!(!place.mirrors[0].exists());
    drop(place.create());
    assert!(matches!(
        FileVault::create(&place.mirrors, Arc::new(System)),
        Err(KeyStoreError::Foreign(_))
    ));
}

#[test]
fn a_mirror_of_another_vault_is_refused() {
    let (one, two) = (place(), place());
    drop((one.create(), two.create()));
    let mixed = [one.mirrors[0].clone(), two.mirrors[1].clone()];
    assert!(matches!(
        FileVault::open(&mixed, Arc::new(System)),
        Err(KeyStoreError::Foreign(_))
    ));
}

#[test]
fn a_vault_in_use_is_refused() {
    let place = place();
    let _held = place.create();
    assert!(matches!(place.open(), Err(KeyStoreError::InUse)));
}

#[test]
fn a_newer_format_is_refused() {
    use sha2::{Digest, Sha256};
    let place = place();
    drop(place.create());
    let mut bytes = std::fs::read(place.file(0, "vault")).unwrap();
    bytes.truncate(28);
    bytes[11] = 9;
    bytes.extend_from_slice(&Sha256::digest(&bytes));
    std::fs::write(place.file(0, "vault"), bytes).unwrap();
    assert!(matches!(
        place.open(),
        Err(KeyStoreError::NewerFormat { found: 9, known: 1 })
    ));
}

#[test]
fn a_missing_mirror_leaves_the_vault_readable_and_refuses_writes() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    let key = newest(&vault, LEDGER).unwrap();
    drop(vault);
    std::fs::rename(&place.mirrors[0], place.mirrors[0].with_extension("away")).unwrap();
    let vault = place.open().unwrap();
    assert_eq!(newest(&vault, LEDGER).unwrap(), key);
    assert!(!vault.health().is_good());
    assert!(reason(vault.journal(LEDGER, &[conformance::entry(1, None)])).contains("copy a good one"));
    assert!(vault.create_ledger(LedgerId([2; 16]), NOW).is_err());
    vault.create_ledger(LEDGER, NOW).unwrap();
}

#[test]
fn a_damaged_slot_is_served_from_the_other_mirror_and_repaired() {
    for mirror in 0..2 {
        for at in [0, 8, 24, 40, 48, 60, 100, 511] {
            let place = place();
            let vault = place.create();
            vault.create_ledger(LEDGER, NOW).unwrap();
            let keys = (newest(&vault, LEDGER).unwrap(), vault.suppression_key(LEDGER).unwrap());
            place.flip(mirror, "slots", 2 * SLOT + at);
            assert_eq!(newest(&vault, LEDGER).unwrap(), keys.0, "while open");
            assert_eq!(vault.health().mirrors[mirror].repaired, 1);
            drop(vault);
            place.flip(mirror, "slots", SLOT + at);
            let vault = place.open().unwrap();
            assert_eq!(vault.health().mirrors[mirror].repaired, 1);
            assert_eq!(
                (newest(&vault, LEDGER).unwrap(), vault.suppression_key(LEDGER).unwrap()),
                keys
            );
            drop(vault);
            assert!(place.open().unwrap().health().is_good(), "it is repaired on disk");
        }
    }
}

#[test]
fn a_slot_damaged_on_both_mirrors_is_an_error_and_nothing_takes_its_place() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    (0..2).for_each(|mirror| place.flip(mirror, "slots", 2 * SLOT + 60));
    assert!(reason(newest(&vault, LEDGER)).contains("damaged on every mirror"));
    drop(vault);
    let vault = place.open().unwrap();
    assert_eq!(vault.health().lost_slots, 1);
    assert!(reason(newest(&vault, LEDGER)).contains("damaged on every mirror"));
    assert!(reason(vault.create_ledger(LEDGER, NOW)).contains("might replace a lost one"));
    assert!(vault.bucket_hash_key(LEDGER).is_ok(), "other slots are served");
}

#[test]
fn a_slot_copied_over_another_is_damaged() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    for mirror in 0..2 {
        let mut bytes = std::fs::read(place.file(mirror, "slots")).unwrap();
        bytes.copy_within(0..SLOT, SLOT);
        std::fs::write(place.file(mirror, "slots"), bytes).unwrap();
    }
    assert!(vault.suppression_key(LEDGER).is_err());
}

#[test]
fn a_lost_slots_file_comes_back_from_the_other_mirror_but_not_from_nowhere() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    let key = newest(&vault, LEDGER).unwrap();
    drop(vault);
    std::fs::remove_file(place.file(0, "slots")).unwrap();
    assert_eq!(newest(&place.open().unwrap(), LEDGER).unwrap(), key);
    assert_eq!(
        std::fs::read(place.file(0, "slots")).unwrap(),
        std::fs::read(place.file(1, "slots")).unwrap()
    );
    (0..2).for_each(|mirror| std::fs::remove_file(place.file(mirror, "slots")).unwrap());
    assert!(reason(place.open()).contains("missing on every mirror"));
}

#[test]
fn a_destroyed_epoch_key_is_in_no_file_and_does_not_come_back_with_an_old_mirror() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    let (_, old) = newest(&vault, LEDGER).unwrap();
    assert_eq!(place.holds(old.as_slice()), 2);
    let stale = std::fs::read(place.file(1, "slots")).unwrap();
    assert!(
        vault.destroy_epoch(LEDGER, 1).is_err(),
        "the current epoch is never destroyed"
    );
    assert_eq!(vault.mint_epoch(LEDGER, 1, NOW).unwrap(), 2);
    vault.destroy_epoch(LEDGER, 1).unwrap();
    vault.destroy_epoch(LEDGER, 1).unwrap();
    assert_eq!(place.holds(old.as_slice()), 0);
    let current = newest(&vault, LEDGER).unwrap();
    assert_eq!(current.0, 2);
    drop(vault);
    std::fs::write(place.file(1, "slots"), stale).unwrap();
    let vault = place.open().unwrap();
    assert_eq!(newest(&vault, LEDGER).unwrap(), current);
    assert_eq!(place.holds(old.as_slice()), 0, "the old slot is overwritten again");
    assert_eq!(vault.health().mirrors[1].repaired, 2);
}

/// Puts one slot of a mirror as another file had it.
fn put_slot(place: &Place, mirror: usize, slot: usize, from: &[u8]) {
    let range = slot * SLOT..(slot + 1) * SLOT;
    let mut bytes = std::fs::read(place.file(mirror, "slots")).unwrap();
    bytes[range.clone()].copy_from_slice(&from[range]);
    std::fs::write(place.file(mirror, "slots"), bytes).unwrap();
}

/// Each write of a slot reaches one mirror after the other: a crash in between leaves one mirror behind.
#[test]
fn a_change_that_reached_one_mirror_alone_is_finished_at_the_next_start() {
    const KEY: usize = 2;
    const FRESH: usize = 3;
    const NOTE: usize = 4;
    type Step<'a> = (usize, &'a dyn Fn(&FileVault));
    let steps: [Step<'_>; 4] = [
        (FRESH, &|vault| assert_eq!(vault.mint_epoch(LEDGER, 1, NOW).unwrap(), 2)),
        (NOTE, &|vault| vault.mark_backed_up(LEDGER, 1, NOW).unwrap()),
        (NOTE + 1, &|vault| vault.retire_epoch(LEDGER, 1, NOW, NOW).unwrap()),
        (KEY, &|vault| vault.destroy_epoch(LEDGER, 1).unwrap()),
    ];
    for behind in 0..2 {
        for done in 0..steps.len() {
            let place = place();
            let vault = place.create();
            vault.create_ledger(LEDGER, NOW).unwrap();
            let (_, first) = newest(&vault, LEDGER).unwrap();
            steps[..done].iter().for_each(|(_, step)| step(&vault));
            let before = std::fs::read(place.file(behind, "slots")).unwrap();
            let (slot, step) = steps[done];
            step(&vault);
            let after = vault.epochs(LEDGER).unwrap();
            drop(vault);
            put_slot(&place, behind, slot, &before);
            let vault = place.open().unwrap();
            assert_eq!(vault.epochs(LEDGER).unwrap(), after, "step {done}, mirror {behind}");
            let [a, b] = [0, 1].map(|mirror| std::fs::read(place.file(mirror, "slots")).unwrap());
            assert_eq!(a, b);
            assert_eq!(place.holds(first.as_slice()), if slot == KEY { 0 } else { 2 });
        }
    }
}

#[test]
fn a_half_written_slot_of_a_new_epoch_is_no_epoch_and_a_half_overwritten_key_is_overwritten_again() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    let before = std::fs::read(place.file(0, "slots")).unwrap();
    vault.mint_epoch(LEDGER, 1, NOW).unwrap();
    let (_, fresh) = newest(&vault, LEDGER).unwrap();
    drop(vault);
    // Torn on the first mirror, and never begun on the second: nobody has it, so it is damage that asks for a look.
    let mut torn = std::fs::read(place.file(0, "slots")).unwrap();
    torn[3 * SLOT + 200..4 * SLOT].fill(0);
    std::fs::write(place.file(0, "slots"), torn).unwrap();
    put_slot(&place, 1, 3, &before);
    let vault = place.open().unwrap();
    assert_eq!(vault.epochs(LEDGER).unwrap().len(), 1);
    assert_eq!(vault.health().lost_slots, 1);
    drop(vault);
    let place = self::place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    vault.mint_epoch(LEDGER, 1, NOW).unwrap();
    let (_, second) = newest(&vault, LEDGER).unwrap();
    let old = std::fs::read(place.file(0, "slots")).unwrap();
    vault.destroy_epoch(LEDGER, 1).unwrap();
    drop(vault);
    // The tombstone is whole on the second mirror; on the first its second half is still the old slot's.
    let mut torn = std::fs::read(place.file(0, "slots")).unwrap();
    torn[2 * SLOT + 40..3 * SLOT].copy_from_slice(&old[2 * SLOT + 40..3 * SLOT]);
    std::fs::write(place.file(0, "slots"), torn).unwrap();
    let vault = place.open().unwrap();
    assert_eq!(newest(&vault, LEDGER).unwrap(), (2, second));
    let [a, b] = [0, 1].map(|mirror| std::fs::read(place.file(mirror, "slots")).unwrap());
    assert_eq!(a, b);
    assert_ne!(fresh, Secret::default());
}

#[test]
fn destroying_needs_every_mirror_and_succeeds_once_they_are_back() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    let (_, old) = newest(&vault, LEDGER).unwrap();
    vault.mint_epoch(LEDGER, 1, NOW).unwrap();
    drop(vault);
    let away = place.mirrors[1].with_extension("away");
    std::fs::rename(&place.mirrors[1], &away).unwrap();
    let vault = place.open().unwrap();
    assert!(reason(vault.destroy_epoch(LEDGER, 1)).contains("copy a good one"));
    assert!(reason(vault.mint_epoch(LEDGER, 2, NOW)).contains("copy a good one"));
    assert_eq!(vault.epochs(LEDGER).unwrap().len(), 2, "it is still listed");
    drop(vault);
    std::fs::rename(&away, &place.mirrors[1]).unwrap();
    let vault = place.open().unwrap();
    vault.destroy_epoch(LEDGER, 1).unwrap();
    assert_eq!(place.holds(old.as_slice()), 0);
}

#[test]
fn a_slot_is_used_again_after_its_key_was_destroyed() {
    let place = place();
    let vault = place.create();
    vault.create_ledger(LEDGER, NOW).unwrap();
    for epoch in 2..40 {
        assert_eq!(vault.mint_epoch(LEDGER, epoch - 1, NOW).unwrap(), epoch);
        vault.destroy_epoch(LEDGER, epoch - 1).unwrap();
    }
    let key = newest(&vault, LEDGER).unwrap();
    drop(vault);
    assert_eq!(newest(&place.open().unwrap(), LEDGER).unwrap(), key);
    let used = std::fs::read(place.file(0, "slots")).unwrap();
    let used = used
        .chunks(SLOT)
        .filter(|slot| slot.iter().any(|byte| *byte != 0))
        .count();
    assert_eq!(used, 4, "two slots take turns");
}

#[test]
fn slots_grow_when_all_are_taken() {
    let mut place = place();
    place.mirrors.truncate(1);
    let vault = place.create();
    let ledgers: Vec<_> = (0..345_u16).map(|n| LedgerId(u128::from(n).to_be_bytes())).collect();
    ledgers
        .iter()
        .for_each(|ledger| vault.create_ledger(*ledger, NOW).unwrap());
    let keys: Vec<_> = ledgers.iter().map(|ledger| newest(&vault, *ledger).unwrap()).collect();
    drop(vault);
    let vault = place.open().unwrap();
    assert!(ledgers.iter().map(|ledger| newest(&vault, *ledger).unwrap()).eq(keys));
}

#[test]
fn a_torn_journal_tail_is_dropped_and_written_over() {
    let place = place();
    let vault = place.create();
    let entries: Vec<_> = (1..=3).map(|n| conformance::entry(n, None)).collect();
    entries
        .iter()
        .for_each(|entry| vault.journal(LEDGER, std::slice::from_ref(entry)).unwrap());
    for mirror in 0..2 {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(place.file(mirror, &journal_file()))
            .unwrap();
        file.set_len(2 * 512 + 100).unwrap();
    }
    assert_eq!(vault.journaled(LEDGER).unwrap(), entries[..2]);
    vault.journal(LEDGER, &[conformance::entry(9, None)]).unwrap();
    assert_eq!(vault.journaled(LEDGER).unwrap().len(), 3);
    assert_eq!(std::fs::read(place.file(0, &journal_file())).unwrap().len(), 3 * 512);
}

#[test]
fn a_mirror_behind_is_caught_up_before_the_next_entry() {
    let place = place();
    let vault = place.create();
    let entries: Vec<_> = (1..=3).map(|n| conformance::entry(n, None)).collect();
    vault.journal(LEDGER, &entries[..1]).unwrap();
    vault.journal(LEDGER, &entries[1..2]).unwrap();
    std::fs::OpenOptions::new()
        .write(true)
        .open(place.file(0, &journal_file()))
        .unwrap()
        .set_len(512)
        .unwrap();
    assert_eq!(
        vault.journaled(LEDGER).unwrap(),
        entries[..2],
        "the longest mirror counts"
    );
    vault.journal(LEDGER, &entries[2..]).unwrap();
    assert_eq!(vault.journaled(LEDGER).unwrap(), entries);
    let [a, b] = [0, 1].map(|mirror| std::fs::read(place.file(mirror, &journal_file())).unwrap());
    assert_eq!(a, b);
}

#[test]
fn journal_damage_is_an_error_even_with_a_good_mirror() {
    let place = place();
    let vault = place.create();
    (1..=3).for_each(|n| vault.journal(LEDGER, &[conformance::entry(n, None)]).unwrap());
    place.flip(1, &journal_file(), 700);
    assert!(reason(vault.journaled(LEDGER)).contains("is damaged"));
    assert!(vault.journal(LEDGER, &[conformance::entry(9, None)]).is_err());
    std::fs::copy(place.file(0, &journal_file()), place.file(1, &journal_file())).unwrap();
    assert_eq!(vault.journaled(LEDGER).unwrap().len(), 3);
}

#[test]
fn mirrors_whose_journals_contradict_each_other_are_an_error() {
    let place = place();
    let vault = place.create();
    vault.journal(LEDGER, &[conformance::entry(1, None)]).unwrap();
    let fork = std::fs::read(place.file(0, &journal_file())).unwrap();
    (0..2).for_each(|mirror| std::fs::remove_file(place.file(mirror, &journal_file())).unwrap());
    vault.journal(LEDGER, &[conformance::entry(2, None)]).unwrap();
    std::fs::write(place.file(1, &journal_file()), fork).unwrap();
    assert!(reason(vault.journaled(LEDGER)).contains("contradict"));
}

#[test]
fn a_damaged_checkpoint_is_served_from_the_other_mirror() {
    let place = place();
    let vault = place.create();
    vault.keep_checkpoint(LEDGER, 4, "four").unwrap();
    let file = format!("checkpoint/{LEDGER}");
    place.flip(0, &file, 50);
    assert_eq!(vault.checkpoint(LEDGER).unwrap(), Some((4, "four".into())));
    place.flip(1, &file, 50);
    assert!(vault.checkpoint(LEDGER).is_err());
}

#[test]
fn an_append_that_failed_on_one_mirror_is_caught_up_by_the_next_and_stands_once() {
    let place = place();
    let vault = place.create();
    let entries: Vec<_> = (1..=3).map(|n| conformance::entry(n, None)).collect();
    vault.journal(LEDGER, &entries[..1]).unwrap();
    let (file, aside) = (place.file(1, &journal_file()), place.file(1, "aside"));
    std::fs::rename(&file, &aside).unwrap();
    std::fs::create_dir(&file).unwrap();
    assert!(
        vault.journal(LEDGER, &entries[1..2]).is_err(),
        "a mirror cannot be written"
    );
    std::fs::remove_dir(&file).unwrap();
    std::fs::rename(&aside, &file).unwrap();
    for _ in 0..2 {
        vault.journal(LEDGER, &entries[1..]).unwrap();
    }
    assert_eq!(vault.journaled(LEDGER).unwrap(), entries);
    vault.journal(LEDGER, &entries).unwrap();
    let [a, b] = [0, 1].map(|mirror| std::fs::read(place.file(mirror, &journal_file())).unwrap());
    assert!(a == b && a.len() % SLOT == 0);
    drop(vault);
    assert_eq!(place.open().unwrap().journaled(LEDGER).unwrap(), entries);
}
