//! Copies of the key store's files, made before and after an erasure: what opens them, and what never does.

use super::*;

#[test]
fn a_copy_of_the_files_from_before_opens_with_no_key_that_is_left() {
    let scene = Scene::new(false);
    let old = scene
        .store()
        .db
        .get(&rows::row(Table::Master, ONE, &[]))
        .unwrap()
        .unwrap();
    scene.destroy().unwrap();
    let (epoch, wrapped) = rows::split_epoch(&old).unwrap();
    assert_eq!(epoch, 1);
    for key in scene.vault.epochs(ONE).unwrap() {
        for aad in [epoch, key.epoch] {
            let aad = [rows::row(Table::Master, ONE, &[]).as_slice(), &aad.to_be_bytes()].concat();
            assert!(scene.vault.unwrap_master(ONE, key.epoch, &aad, wrapped).is_err());
        }
    }
}

#[test]
fn a_backup_put_back_opens_until_its_horizon_and_only_once_adopted() {
    let mut scene = Scene::new(true).restart();
    let (copy, late) = (scene.path.with_extension("copy"), scene.path.with_extension("late"));
    drop(scene.store.take());
    copy_files(&scene.path, &copy);
    copy_files(&scene.path, &late);
    scene = scene.restart();
    scene.destroy().unwrap();
    drop(scene.store.take());
    let vault: Arc<dyn Vault> = scene.vault.clone();
    let live = RocksKeyStore::open(&copy, Arc::clone(&vault), Arc::new(System));
    assert!(matches!(live, Err(KeyStoreError::Foreign(_))), "its epoch is retired");
    for _ in 0..2 {
        RocksKeyStore::adopt(&copy, &*vault, &System, Timestamp(1)).unwrap();
    }
    let store = RocksKeyStore::open(&copy, Arc::clone(&vault), Arc::new(System)).unwrap();
    assert_eq!(store.epoch(ONE).unwrap(), 2, "the vault's present one");
    let order = [order(1, scene.ada.handle, None)];
    store.fence(ONE, &order).unwrap();
    store.destroy(ONE, &order, 7, &HORIZON).unwrap();
    assert_eq!(store.epoch(ONE).unwrap(), 3);
    scene.store = Some(store);
    scene.is_at_its_end(true);
    drop(scene.store.take());
    let refused = |path: &Path| {
        RocksKeyStore::adopt(path, &*vault, &System, Timestamp(1))
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&scene.path).contains("epoch 2"), "the replaced one's key went");
    vault.destroy_epoch(ONE, 1).unwrap();
    assert!(refused(&late).contains("epoch 1"), "its horizon has passed");
}

#[test]
fn a_copy_that_lacks_an_erasure_never_comes_under_the_key_in_use() {
    let (mut scene, copy) = erased_since_a_copy();
    let (late, now) = (scene.path.with_extension("late"), Timestamp(1));
    scene.vault.mark_backed_up(ONE, 2, now).unwrap();
    drop(scene.store.take());
    copy_files(&scene.path, &late);
    scene = scene.restart();
    scene.store().renew_epoch(ONE, &HORIZON).unwrap();
    for (path, lacks) in [(&copy, true), (&late, false)] {
        let before = scene.vault.epochs(ONE).unwrap();
        RocksKeyStore::adopt(path, &*scene.vault, &System, now).unwrap();
        assert_eq!(
            scene.vault.epochs(ONE).unwrap().len(),
            before.len() + usize::from(lacks)
        );
        // It breaks off here, and the live one is started again.
        scene = scene.restart();
        scene.store().settle_epochs(ONE, &HORIZON).unwrap();
        assert_eq!(scene.vault.epochs(ONE).unwrap(), before);
        let opened = RocksKeyStore::open(path, scene.vault.clone(), Arc::new(System));
        assert_eq!(opened.is_err(), lacks, "{path:?}");
    }
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Somebody was erased since the copy, by the journal too, and the copy's key is retired.
fn erased_since_a_copy() -> (Scene, PathBuf) {
    let mut scene = Scene::new(true).restart();
    let copy = scene.path.with_extension("copy");
    drop(scene.store.take());
    copy_files(&scene.path, &copy);
    scene = scene.restart();
    let (order, index) = (order(1, scene.ada.handle, None), 7);
    scene.vault.journal(ONE, &[JournalEntry { order, index }]).unwrap();
    scene.destroy().unwrap();
    (scene, copy)
}

/// What a restore left that broke off.
fn adopted(scene: &Scene, copy: &Path) {
    RocksKeyStore::adopt(copy, &*scene.vault, &System, Timestamp(1)).unwrap();
    let opened = RocksKeyStore::open(copy, scene.vault.clone(), Arc::new(System)).unwrap();
    assert_eq!(opened.epoch(ONE).unwrap(), 3, "under a fresh key");
}

#[test]
fn a_change_before_anything_is_settled_does_not_take_the_key_of_a_restore_that_broke_off() {
    let (scene, copy) = erased_since_a_copy();
    adopted(&scene, &copy);
    let mut scene = scene.restart();
    let order = [order(2, scene.others.remove(0).1.handle, None)];
    scene.store().fence(ONE, &order).unwrap();
    scene.store().destroy(ONE, &order, 8, &HORIZON).unwrap();
    let opened = RocksKeyStore::open(&copy, scene.vault.clone(), Arc::new(System));
    assert!(
        opened.is_err(),
        "the key under which an erased person's rows lie is in use"
    );
    scene.is_at_its_end(true);
}

#[test]
fn changes_that_break_off_before_their_write_leave_one_key_however_often() {
    let scene = Scene::new(true);
    // The call that wraps the new master: after the list and the fresh key, and from then on after the last one's end.
    for call in [3, 4, 4] {
        scene.vault.hit.store(false, SeqCst);
        scene.vault.left.store(call, SeqCst);
        assert!(scene.destroy().is_err() && scene.vault.hit.load(SeqCst));
        scene.vault.left.store(0, SeqCst);
        let epochs = scene.vault.epochs(ONE).unwrap();
        assert_eq!(epochs.iter().map(|key| key.epoch).collect::<Vec<_>>(), [1, 2]);
    }
    scene.destroy().unwrap();
    scene.is_at_its_end(true);
}
