//! Against SoftHSM2. Its library reads its configuration from the environment when it is loaded, so the tests run in a
//! process of their own, with a new token.

use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::softhsm::{LABEL, PIN, SoftToken, module};
use super::*;
use crate::env::System;
use crate::keystore::conformance::vault as conformance;
use crate::keystore::vault::file::FileVault;
use crate::keystore::vault::{Vault, VaultId};
use crate::spec::ids::{LedgerId, Timestamp};

const LEDGER: LedgerId = LedgerId([1; 16]);

#[test]
fn against_softhsm() {
    let token = SoftToken::new();
    let (name, value) = token.found_by();
    let ran = Command::new(std::env::current_exe().unwrap())
        .args([
            "keystore::vault::pkcs11::tests::with_a_token",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(name, value)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("8 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

mod with_a_token {
    use super::*;

    fn token() -> Arc<Token> {
        let pin = || Ok(Zeroizing::new(PIN.to_owned()));
        Arc::new(Token::open(Path::new(module()), LABEL, Box::new(pin)).unwrap())
    }

    struct Place(TempDir);

    impl Place {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn mirrors(&self) -> [PathBuf; 2] {
            ["a", "b"].map(|name| self.0.path().join(name))
        }

        fn create(&self) -> FileVault {
            FileVault::create_with(&self.mirrors(), Some(token()), Arc::new(System)).unwrap()
        }

        fn open(&self) -> Result<FileVault, KeyStoreError> {
            FileVault::open_with(&self.mirrors(), Some(token()), Arc::new(System))
        }
    }

    fn name(vault: VaultId, epoch: u32) -> String {
        format!("oubliette {} epoch {LEDGER} {epoch}", hex::encode(vault.0))
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn it_keeps_the_contract_of_a_vault() {
        conformance::all(&|test| {
            let place = Place::new();
            test(Arc::new(place.create()), &|old| {
                drop(old);
                Arc::new(place.open().unwrap())
            });
        });
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn no_key_leaves_the_token_or_lies_beside_it() {
        let (place, token) = (Place::new(), token());
        let vault = place.create();
        vault.create_ledger(LEDGER, Timestamp(1)).unwrap();
        let key = name(vault.id(), 1);
        let told = token.with_key("look", &key, |session, key| {
            let asked = [
                AttributeType::Value,
                AttributeType::Sensitive,
                AttributeType::Extractable,
                AttributeType::Token,
            ];
            session.get_attributes(key, &asked)
        });
        let told = told.unwrap();
        assert!(
            !told.iter().any(|attribute| matches!(attribute, Attribute::Value(_))),
            "{told:?}"
        );
        for needed in [
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Token(true),
        ] {
            assert!(told.contains(&needed), "{told:?}");
        }
        for secret in [
            vault.bucket_hash_key(LEDGER).unwrap(),
            vault.suppression_key(LEDGER).unwrap(),
        ] {
            for mirror in place.mirrors() {
                let slots = std::fs::read(mirror.join("slots")).unwrap();
                assert!(!slots.windows(32).any(|window| window == secret.as_slice()));
            }
        }
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn a_destroyed_epoch_is_gone_from_the_token_and_so_is_what_a_crash_left() {
        let (place, token) = (Place::new(), token());
        let vault = place.create();
        let (prefix, owner) = (format!("oubliette {} epoch ", hex::encode(vault.id().0)), vault.id());
        vault.create_ledger(LEDGER, Timestamp(1)).unwrap();
        vault.mint_epoch(LEDGER, 1, Timestamp(2)).unwrap();
        assert_eq!(token.names(&prefix).unwrap().len(), 2);
        vault.destroy_epoch(LEDGER, 1).unwrap();
        assert_eq!(token.names(&prefix).unwrap(), [name(owner, 2)]);
        token.make_key(&name(owner, 1)).unwrap();
        token.make_key(&name(owner, 1)).unwrap();
        // Made, and the slot never written; and destroyed, and the slot never overwritten.
        token.make_key(&name(owner, 9)).unwrap();
        vault.mint_epoch(LEDGER, 2, Timestamp(3)).unwrap();
        token.destroy(&name(owner, 3)).unwrap();
        drop(vault);
        let vault = place.open().unwrap();
        let held = || {
            let mut names = token.names(&prefix).unwrap();
            names.sort();
            names
        };
        assert_eq!(held(), [1, 2, 9].map(|epoch| name(owner, epoch)), "each once");
        vault.destroy_unnamed(LEDGER, 2).unwrap();
        assert_eq!(
            held(),
            [2, 9].map(|epoch| name(owner, epoch)),
            "a newer one may be in use"
        );
        let lost = vault.wrap_master(LEDGER, 3, b"", &[7; 32]).unwrap_err();
        assert!(lost.to_string().contains("0 keys"), "{lost}");
        vault.destroy_epoch(LEDGER, 3).unwrap();
        assert_eq!(vault.epochs(LEDGER).unwrap().len(), 1);
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn with_an_older_copy_of_its_folders_no_key_is_destroyed_or_made_over() {
        let place = Place::new();
        let slots = |mirror: &Path| std::fs::read(mirror.join("slots")).unwrap();
        let put = |all: &[Vec<u8>]| {
            for (mirror, bytes) in place.mirrors().iter().zip(all) {
                std::fs::write(mirror.join("slots"), bytes).unwrap();
            }
        };
        let vault = place.create();
        vault.create_ledger(LEDGER, Timestamp(1)).unwrap();
        let older = place.mirrors().map(|mirror| slots(&mirror));
        assert_eq!(vault.mint_epoch(LEDGER, 1, Timestamp(2)).unwrap(), 2);
        let wrapped = vault.wrap_master(LEDGER, 2, b"place", &[7; 32]).unwrap();
        drop(vault);
        let newer = place.mirrors().map(|mirror| slots(&mirror));
        put(&older);
        let vault = place.open().unwrap();
        vault.destroy_unnamed(LEDGER, 2).unwrap();
        vault.destroy_unnamed(LEDGER, 1).unwrap();
        assert_eq!(vault.mint_epoch(LEDGER, 1, Timestamp(3)).unwrap(), 3);
        drop(vault);
        put(&newer);
        let away = place.0.path().join("away");
        std::fs::rename(&place.mirrors()[1], &away).unwrap();
        let vault = place.open().unwrap();
        vault.destroy_unnamed(LEDGER, 2).unwrap();
        drop(vault);
        std::fs::rename(&away, &place.mirrors()[1]).unwrap();
        let vault = place.open().unwrap();
        let opened = vault.unwrap_master(LEDGER, 2, b"place", &wrapped).unwrap();
        assert_eq!(*opened, [7; 32]);
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn a_lost_slot_hides_derived_keys_from_nobody_and_carried_ones_alone() {
        let damage = |mirrors: &[PathBuf; 2], slot: usize| {
            for mirror in mirrors {
                let mut slots = std::fs::read(mirror.join("slots")).unwrap();
                slots[slot * 512 + 40] ^= 1;
                std::fs::write(mirror.join("slots"), slots).unwrap();
            }
        };
        let place = Place::new();
        let vault = place.create();
        vault.create_ledger(LEDGER, Timestamp(1)).unwrap();
        let before = [vault.bucket_hash_key(LEDGER), vault.suppression_key(LEDGER)].map(Result::unwrap);
        vault.mint_epoch(LEDGER, 1, Timestamp(1)).unwrap();
        drop(vault);
        damage(&place.mirrors(), 1);
        let vault = place.open().unwrap();
        assert_eq!(vault.health().lost_slots, 1);
        let after = [vault.bucket_hash_key(LEDGER), vault.suppression_key(LEDGER)].map(Result::unwrap);
        assert_eq!(after, before);
        // Moved there, the first slot is the bucket-hash key's.
        let carried = Place::new();
        let new = FileVault::create_to_move(&carried.mirrors(), Some(token()), Arc::new(System), &vault).unwrap();
        new.take_over(&vault, &[LEDGER], Timestamp(1)).unwrap();
        drop(new);
        damage(&carried.mirrors(), 0);
        let new = FileVault::open_to_move(&carried.mirrors(), Some(token()), Arc::new(System)).unwrap();
        assert!(
            new.bucket_hash_key(LEDGER).is_err(),
            "another would take everybody for new"
        );
        assert_eq!(new.suppression_key(LEDGER).unwrap(), before[1]);
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn files_that_somebody_made_without_the_token_are_damaged() {
        use sha2::{Digest, Sha256};
        let place = Place::new();
        let vault = place.create();
        vault.create_ledger(LEDGER, Timestamp(1)).unwrap();
        drop(vault);
        for mirror in place.mirrors() {
            let file = mirror.join("slots");
            let mut slots = std::fs::read(&file).unwrap();
            // The time at which the key of the first slot was made, under a checksum that anybody can compute.
            slots[95] ^= 1;
            let sum = Sha256::new()
                .chain_update(0_u64.to_be_bytes())
                .chain_update(&slots[..480])
                .finalize();
            slots[480..512].copy_from_slice(&sum);
            std::fs::write(&file, slots).unwrap();
        }
        let vault = place.open().unwrap();
        assert_eq!(
            (vault.health().lost_slots, vault.epochs(LEDGER).unwrap()),
            (1, Vec::new())
        );
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn a_vault_is_opened_with_its_own_keys_alone() {
        let place = Place::new();
        drop(place.create());
        let without = FileVault::open(&place.mirrors(), Arc::new(System)).err().unwrap();
        assert!(without.to_string().contains("vault_kind = \"pkcs11\""), "{without}");
        let owner = place.open().unwrap().id();
        token()
            .destroy(&format!("oubliette {} root", hex::encode(owner.0)))
            .unwrap();
        assert!(matches!(place.open(), Err(KeyStoreError::Vault { .. })));
        let files = Place::new();
        drop(FileVault::create(&files.mirrors(), Arc::new(System)).unwrap());
        let with = files.open().err().unwrap();
        assert!(with.to_string().contains("vault_kind = \"file\""), "{with}");
    }

    #[test]
    #[ignore = "run by against_softhsm"]
    fn a_session_that_was_lost_is_opened_anew_and_a_refused_pin_is_tried_once() {
        let token = token();
        token.make_key("a key").unwrap();
        let wrapped = token.encrypt("a key", [1; 12], b"place", &[7; 32]).unwrap();
        // As a device that was reset: private keys cannot be seen.
        let log_out = || token.state.lock().session.as_ref().unwrap().logout().unwrap();
        log_out();
        assert_eq!(*token.decrypt("a key", b"place", &wrapped).unwrap(), [7; 32]);
        log_out();
        token.destroy("a key").unwrap();
        assert!(
            token.decrypt("a key", b"place", &wrapped).is_err(),
            "destroyed, and not only out of sight"
        );
        let tries = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        token.state.lock().session = None;
        let counted = Arc::clone(&tries);
        let wrong = Token {
            path: module().into(),
            label: LABEL.to_owned(),
            pin: Box::new(move || {
                counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                Ok(Zeroizing::new("wrong-pin".to_owned()))
            }),
            state: Mutex::default(),
        };
        for _ in 0..3 {
            let refused = wrong.names("").unwrap_err().to_string();
            assert!(!refused.contains("wrong-pin"), "{refused}");
        }
        assert_eq!(tries.load(std::sync::atomic::Ordering::Relaxed), 1);
    }
}
