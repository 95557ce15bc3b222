//! The move stopped at every step, by a failure and by a token that is away; and what it refuses. What a crash leaves is what
//! a failure leaves: nothing is written on the way out.

mod with_a_token;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::app::tests::{append_about, block_on};
use crate::config::VaultKind;
use crate::keystore::Wanted;
use crate::keystore::vault::pkcs11::softhsm;
use crate::spec::ids::LedgerId;

const STEPS: [Done; 7] = [
    Done::Settled,
    Done::Made,
    Done::Carried,
    Done::Written,
    Done::Left,
    Done::Emptied,
    Done::Recorded,
];

/// A data directory with a person in it.
struct Scene {
    folder: TempDir,
    old: Settings,
    new: Settings,
    ledger: LedgerId,
    size: u64,
    key: [u8; 32],
}

impl Scene {
    fn new(old: impl Fn(&mut Settings), new: impl Fn(&mut Settings)) -> Self {
        let folder = TempDir::new().unwrap();
        let mut of = Settings {
            data: folder.path().join("data"),
            ..Settings::default()
        };
        old(&mut of);
        let mut to = Settings {
            vault_dirs: Some(["c", "d"].map(|name| folder.path().join("new").join(name)).to_vec()),
            ..Settings {
                data: of.data.clone(),
                ..Settings::default()
            }
        };
        new(&mut to);
        let (app, _) = block_on(App::init(&of, None)).unwrap();
        let ledger = app.service().all_ledgers()[0].record.id;
        block_on(append_about(&app, "ada"));
        let (size, key) = (size(&app), key(&app, ledger));
        block_on(app.close());
        Self {
            folder,
            old: of,
            new: to,
            ledger,
            size,
            key,
        }
    }

    fn files() -> Self {
        Self::new(|_| (), |_| ())
    }

    fn stopped_at(&self, step: Done) -> Result<MovedVault, AppError> {
        let stop = |done| {
            if done == step {
                Err(foreign("stopped by the test"))
            } else {
                Ok(())
            }
        };
        block_on(run(&self.old, &self.new, false, &stop))
    }

    fn moved(&self) -> Result<MovedVault, AppError> {
        block_on(move_vault(&self.old, &self.new, false))
    }

    fn refused(&self, settings: &Settings) -> String {
        match block_on(App::open(settings)) {
            Ok(_) => panic!("it was opened"),
            Err(error) => {
                assert_eq!(error.code(), "key_unavailable");
                error.to_string()
            }
        }
    }

    /// Discarding what is carried breaks off before everything that goes, and is gone on with.
    fn discards_at_last(&self) {
        let carried = |steps: Steps<'_>| {
            block_on(run(&self.old, &self.new, false, steps))
                .unwrap_err()
                .to_string()
        };
        self.stopped_at(Done::Carried).unwrap_err();
        for stop in 1.. {
            let left = AtomicUsize::new(stop);
            let said = carried(&|done| match done {
                Done::Discarding if left.fetch_sub(1, Ordering::Relaxed) == 1 => Err(foreign("stopped within")),
                Done::Carried => Err(foreign("carried anew")),
                _ => Ok(()),
            });
            if said.contains("carried anew") {
                assert!(stop > 10, "{stop}");
                break;
            }
            assert!(said.contains("stopped within"), "{stop}: {said}");
            let again = self.stopped_at(Done::Carried).unwrap_err().to_string();
            assert!(again.contains("stopped by the test"), "{stop}: {again}");
        }
        self.moved().unwrap();
        self.is_at_its_end(0);
    }

    /// Everything is there, under the new vault alone, and on record once.
    fn is_at_its_end(&self, changed_before: u32) {
        assert!(
            self.refused(&self.old).contains("was moved"),
            "{}",
            self.refused(&self.old)
        );
        let app = block_on(App::open(&self.new)).unwrap();
        assert_eq!(key(&app, self.ledger), self.key);
        assert_eq!(size(&app), self.size + 1, "one event more");
        let epochs = app.vault.epochs(self.ledger).unwrap();
        let told: Vec<_> = epochs.iter().map(|key| (key.epoch, key.state)).collect();
        assert_eq!(told, [(2 + changed_before, EpochState::Current)]);
        let changed = app.service().keystore.renew_epoch(
            self.ledger,
            &crate::keystore::Horizon {
                clock: &System,
                length: std::time::Duration::ZERO,
            },
        );
        assert_eq!(changed.unwrap().0.to, 3 + changed_before);
        block_on(app.close());
        let app = block_on(App::open(&self.new)).unwrap();
        assert_eq!(key(&app, self.ledger), self.key);
        block_on(app.close());
        if self.old.vault_kind == VaultKind::File {
            let empty = open(&self.old).unwrap();
            assert!(empty.epochs(self.ledger).unwrap().is_empty());
            assert!(empty.suppression_key(self.ledger).is_err() && empty.bucket_hash_key(self.ledger).is_err());
        }
        let again = self.moved().unwrap_err().to_string();
        assert!(again.contains("moved there already"), "{again}");
    }
}

fn size(app: &App) -> u64 {
    let service = app.service();
    service.checkpoint(&service.all_ledgers()[0]).unwrap().0
}

/// Of one person, who is known.
fn key(app: &App, ledger: LedgerId) -> [u8; 32] {
    let keystore = &app.service().keystore;
    let wanted = Wanted {
        subject: "ada".parse().unwrap(),
        category: Default::default(),
    };
    let named = keystore.provision(ledger, &[wanted]).unwrap().remove(0).unwrap();
    let lent = keystore.key(ledger, &named).unwrap().unwrap();
    *lent.expose()
}

#[test]
fn stopped_at_any_step_the_old_vault_serves_or_the_same_command_ends_it() {
    for step in STEPS {
        let scene = Scene::files();
        let stopped = scene.stopped_at(step).unwrap_err().to_string();
        assert!(stopped.contains("stopped by the test"), "{stopped}");
        if [Done::Settled, Done::Made, Done::Carried].contains(&step) {
            let app = block_on(App::open(&scene.old)).unwrap();
            assert_eq!(
                (key(&app, scene.ledger), size(&app)),
                (scene.key, scene.size),
                "{step:?}"
            );
            block_on(app.close());
        } else {
            let refused = scene.refused(&scene.old);
            assert!(refused.contains("`oubliette vault move`"), "{step:?}: {refused}");
            assert!(refused.contains("run it again"), "{step:?}: {refused}");
        }
        if ![Done::Settled].contains(&step) {
            let refused = scene.refused(&scene.new);
            assert!(refused.contains("not finished"), "{step:?}: {refused}");
        }
        let moved = scene.moved().unwrap();
        assert_eq!((moved.ledgers[0].from, moved.ledgers[0].to), (1, 2), "{step:?}");
        scene.is_at_its_end(0);
    }
}

#[test]
fn discarding_that_breaks_off_anywhere_is_gone_on_with() {
    Scene::files().discards_at_last();
}

#[test]
fn no_key_is_destroyed_while_the_new_vault_is_not_whole() {
    let scene = Scene::files();
    scene.stopped_at(Done::Left).unwrap_err();
    let (mirror, away) = (scene.folder.path().join("new/d"), scene.folder.path().join("away"));
    std::fs::rename(&mirror, &away).unwrap();
    let waits = scene.moved().unwrap_err().to_string();
    assert!(waits.contains("the new vault"), "{waits}");
    let old = open(&scene.old).unwrap();
    assert_eq!(old.epochs(scene.ledger).unwrap().len(), 1);
    drop(old);
    std::fs::rename(&away, &mirror).unwrap();
    scene.moved().unwrap();
    scene.is_at_its_end(0);
}

#[test]
fn an_epoch_that_changes_after_a_move_broke_off_is_not_taken_for_the_new_vaults() {
    let scene = Scene::files();
    scene.stopped_at(Done::Carried).unwrap_err();
    let app = block_on(App::open(&scene.old)).unwrap();
    let at_once = crate::keystore::Horizon {
        clock: &System,
        length: std::time::Duration::ZERO,
    };
    let (change, _) = app.service().keystore.renew_epoch(scene.ledger, &at_once).unwrap();
    assert_eq!(change.to, 2, "the number that the new vault has made a key for, too");
    block_on(app.close());
    scene.moved().unwrap();
    scene.is_at_its_end(1);
}

#[test]
fn a_place_that_is_used_or_another_s_is_refused_and_nothing_changes() {
    let scene = Scene::files();
    let code = |new: &Settings| block_on(move_vault(&scene.old, new, false)).unwrap_err().code();
    let at = |folders: &[PathBuf]| Settings {
        vault_dirs: Some(folders.to_vec()),
        ..scene.new.clone()
    };
    let free = scene.folder.path().join("free");
    let within = [
        scene.old.data.join("vault/a"),
        scene.old.data.join("vault/a/x"),
        scene.old.data.join("keystore/x"),
    ];
    for place in within {
        assert_eq!(code(&at(&[free.clone(), place])), "vault_place_refused");
    }
    assert_eq!(code(&at(&[free.clone(), free.join("x")])), "vault_place_refused");
    assert_eq!(code(&at(std::slice::from_ref(&scene.old.data))), "vault_place_refused");
    let used = scene.folder.path().join("used");
    std::fs::create_dir(&used).unwrap();
    std::fs::write(used.join("note"), "mine").unwrap();
    assert_eq!(code(&at(&[free.clone(), used.clone()])), "data_dir_used");
    assert_eq!(std::fs::read(used.join("note")).unwrap(), b"mine");
    let other = Scene::files();
    assert_eq!(code(&at(&other.old.vault_paths())), "data_dir_used");
    other.stopped_at(Done::Written).unwrap_err();
    assert_eq!(code(&other.new), "key_unavailable", "another vault is on its way there");
    assert!(!free.exists());
    // Begun to one place, it is not finished to another.
    scene.stopped_at(Done::Left).unwrap_err();
    assert_eq!(code(&at(std::slice::from_ref(&free))), "key_unavailable");
    scene.moved().unwrap();
    scene.is_at_its_end(0);
    other.moved().unwrap();
}

#[test]
fn a_served_directory_and_a_vault_that_is_not_whole_are_not_moved() {
    let scene = Scene::files();
    let app = block_on(App::open(&scene.old)).unwrap();
    assert_eq!(scene.moved().unwrap_err().code(), "data_dir_in_use");
    block_on(app.close());
    let (mirror, away) = (scene.old.data.join("vault/b"), scene.folder.path().join("away"));
    std::fs::rename(&mirror, &away).unwrap();
    assert_eq!(scene.moved().unwrap_err().code(), "key_unavailable");
    std::fs::rename(&away, &mirror).unwrap();
    // After the write, a mirror that is away may hold keys: it is waited for.
    scene.stopped_at(Done::Written).unwrap_err();
    std::fs::rename(&mirror, &away).unwrap();
    let waits = scene.moved().unwrap_err().to_string();
    assert!(waits.contains("vault/b"), "{waits}");
    std::fs::rename(&away, &mirror).unwrap();
    scene.moved().unwrap();
    scene.is_at_its_end(0);
}

#[test]
fn backups_that_would_die_are_asked_for() {
    let scene = Scene::files();
    let app = block_on(App::open(&scene.old)).unwrap();
    app.service()
        .keystore
        .mark_backed_up(scene.ledger, System.now())
        .unwrap();
    block_on(app.close());
    assert_eq!(scene.moved().unwrap_err().code(), "backups_would_expire");
    block_on(move_vault(&scene.old, &scene.new, true)).unwrap();
    scene.is_at_its_end(0);
}

#[test]
fn a_copy_of_the_old_vault_does_not_open_what_came_after() {
    let scene = Scene::files();
    let copy = scene.folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(scene.old.data.join("vault/a"))
        .unwrap()
        .map(Result::unwrap)
    {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
        }
    }
    scene.moved().unwrap();
    let refused = scene.refused(&Settings {
        vault_dirs: Some(vec![copy]),
        ..scene.old.clone()
    });
    assert!(refused.contains("has no key of it"), "{refused}");
}

#[test]
fn into_and_out_of_a_token() {
    let token = softhsm::SoftToken::new();
    let (name, value) = token.found_by();
    let ran = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "app::moving::tests::with_a_token",
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(name, value)
        .env("TOKEN_FOLDER", token.folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("5 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}
