//! Into a token, out of one, and within one. Run in a process of their own, for which the library is loaded anew.

use super::*;

fn folder() -> PathBuf {
    std::env::var_os("TOKEN_FOLDER").unwrap().into()
}

fn in_token(settings: &mut Settings) {
    settings.vault_kind = VaultKind::Pkcs11;
    settings.vault_module = Some(softhsm::module().into());
    settings.vault_token = Some(softhsm::LABEL.to_owned());
    settings.vault_pin_file = Some(folder().join("pin"));
}

fn into() -> Scene {
    Scene::new(|_| (), in_token)
}

fn out_of() -> Scene {
    Scene::new(in_token, |_| ())
}

/// As another vault in the same token.
fn within() -> Scene {
    Scene::new(in_token, in_token)
}

type Stopped = (fn() -> Scene, Done);

fn stops(scenes: &[fn() -> Scene], steps: &[Done]) -> Vec<Stopped> {
    let of = |scene: &fn() -> Scene| steps.iter().map(|step| (*scene, *step)).collect::<Vec<_>>();
    scenes.iter().flat_map(of).collect()
}

/// The vault's keys in the token, and no other vault's.
fn keys_left(scene: &Scene, vault: &[PathBuf]) -> usize {
    let device = vault::device(if scene.old.vault_kind == VaultKind::Pkcs11 {
        &scene.old
    } else {
        &scene.new
    });
    let (id, _) = file::identity(vault).unwrap().unwrap();
    let names = device
        .unwrap()
        .unwrap()
        .names(&format!("oubliette {}", hex::encode(id.0)));
    names.unwrap().len()
}

#[test]
#[ignore = "run by into_and_out_of_a_token"]
fn stopped_at_any_step_the_same_command_ends_it_and_leaves_no_key() {
    let mut all = stops(&[into, out_of], &STEPS);
    all.extend(stops(&[within], &[Done::Carried, Done::Emptied]));
    for (scene, step) in all {
        let scene = scene();
        scene.stopped_at(step).unwrap_err();
        scene.moved().unwrap();
        scene.is_at_its_end(0);
        assert_eq!(keys_left(&scene, &scene.old.vault_paths()), 0, "{step:?}");
    }
}

#[test]
#[ignore = "run by into_and_out_of_a_token"]
fn discarding_that_breaks_off_anywhere_leaves_no_key() {
    let scene = into();
    scene.discards_at_last();
    assert_eq!(
        keys_left(&scene, &scene.new.vault_paths()),
        2,
        "an epoch's and the root"
    );
}

#[test]
#[ignore = "run by into_and_out_of_a_token"]
fn what_broke_off_into_a_token_is_not_discarded_without_it() {
    let scene = into();
    let roots = || {
        let device = vault::device(&scene.new).unwrap().unwrap();
        let names = device.names("oubliette ").unwrap();
        names.iter().filter(|name| name.ends_with(" root")).count()
    };
    let before = roots();
    scene.stopped_at(Done::Made).unwrap_err();
    let into_files = Settings {
        vault_kind: VaultKind::File,
        vault_module: None,
        vault_token: None,
        ..scene.new.clone()
    };
    let refused = block_on(move_vault(&scene.old, &into_files, false))
        .unwrap_err()
        .to_string();
    assert!(refused.contains("name that HSM again"), "{refused}");
    scene.moved().unwrap();
    assert_eq!(roots(), before + 1);
    scene.is_at_its_end(0);
}

#[test]
#[ignore = "run by into_and_out_of_a_token"]
fn what_is_carried_beside_a_token_is_the_same_and_cannot_be_read_there() {
    let scene = Scene::new(|_| (), in_token);
    let keys = |settings: &Settings| {
        let vault = open(settings).unwrap();
        [vault.suppression_key(scene.ledger), vault.bucket_hash_key(scene.ledger)].map(Result::unwrap)
    };
    let before = keys(&scene.old);
    scene.moved().unwrap();
    assert_eq!(keys(&scene.new), before);
    for folder in scene.new.vault_paths() {
        let slots = std::fs::read(folder.join("slots")).unwrap();
        for key in &before {
            assert!(!slots.windows(32).any(|window| window == key.as_slice()));
        }
    }
}

#[test]
#[ignore = "run by into_and_out_of_a_token"]
fn a_token_that_goes_away_midway_is_waited_for() {
    let (tokens, away) = (folder().join("tokens"), folder().join("away"));
    let steps = [Done::Settled, Done::Carried, Done::Written, Done::Left];
    for (scene, step) in stops(&[into, out_of], &steps) {
        let scene = scene();
        let gone = AtomicBool::new(false);
        let take_away = |done| {
            if done == step {
                std::fs::rename(&tokens, &away).unwrap();
                gone.store(true, Ordering::Relaxed);
            }
            Ok(())
        };
        let first = block_on(run(&scene.old, &scene.new, false, &take_away));
        assert!(gone.load(Ordering::Relaxed));
        std::fs::rename(&away, &tokens).unwrap();
        assert_eq!(first.unwrap_err().code(), "key_unavailable", "{step:?}");
        scene.moved().unwrap();
        scene.is_at_its_end(0);
    }
}
