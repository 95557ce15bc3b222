//! A full disk, on a small memory file system of its own. Needs root; says so where it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::backups::{Place, back_up, beside, restore, two_people_backed_up};
use crate::support::people::{opened, sealed};
use crate::support::receipts::Keys;
use crate::support::{Data, copy_folder, id};

/// A mounted file system; taken down when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: &Path, size: &str) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(folder)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(folder.to_owned())),
            other => {
                eprintln!("SKIPPED: no small file system can be mounted here ({other:?})");
                None
            }
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_clearly_loses_nothing_and_heals_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(folder.path(), "96m") else {
        return;
    };
    let ballast = folder.path().join("ballast");
    let data = Data::within(folder.path());
    std::fs::write(&ballast, vec![1; 16 << 20]).unwrap();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let payload = "x".repeat(200_000);
    let mut acknowledged = Vec::new();
    let mut refusals = 0;
    for n in 0..2_000 {
        // Every second event concerns somebody new, so that the key store meets the full disk too.
        let person = format!("person-{}", n / 2);
        let event = json!({"id": id(n), "type": "t", "data": payload, "personal": [{"subject": person, "data": n}]});
        let answer = client.post("streams/s/events?proof=none", &json!({"events": [event]}));
        if answer.status == 201 {
            let receipt = &answer.json()["events"][0];
            acknowledged.push((
                receipt["index"].as_u64().unwrap(),
                receipt["leaf_hash"].as_str().unwrap().to_owned(),
            ));
            continue;
        }
        assert_eq!(answer.status, 503, "{answer:?}");
        let code = answer.json()["code"].as_str().unwrap().to_owned();
        answer.problem(503, &code);
        assert!(
            ["not_ready", "storage_failed", "key_unavailable"].contains(&code.as_str()),
            "{code}"
        );
        refusals += 1;
        if refusals > 10 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(150));
    }
    assert!(refusals > 10, "the disk never was full");
    assert!(acknowledged.len() > 20, "only {} events fitted", acknowledged.len());
    // It still reads, and lives.
    assert_eq!(client.get("/healthz").status, 200);
    assert_eq!(client.get("streams/s/events?limit=1").status, 200);
    std::fs::remove_file(&ballast).unwrap();
    server.kill();
    let server = data.serve();
    let client = server.client();
    let leaves = keys.ledger(&client, "main");
    for (index, leaf) in &acknowledged {
        let found = leaves.get(usize::try_from(*index).unwrap()).map(ToString::to_string);
        assert_eq!(
            found.as_ref(),
            Some(leaf),
            "the acknowledged event {index} is lost or another"
        );
    }
    for event in client.read_all("streams/s/events?reveal=true", 100) {
        assert_eq!(event["personal"][0]["state"], "clear", "{}", event["index"]);
    }
    client.append(
        "s",
        json!({"type": "t", "personal": [{"subject": "somebody new", "data": 1}]}),
    );
    assert_eq!(client.get("/readyz").status, 200);
    assert!(!data.log().contains("panicked"), "{}", data.log());
}

#[test]
fn a_disk_that_fills_during_a_backup_leaves_none_and_the_server_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(folder.path(), "2m") else {
        return;
    };
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_BACKUP_DIR", folder.path().to_str().unwrap())]);
    let client = server.client();
    // Different bytes everywhere: what is copied does not become small.
    let noise = |n: u64| {
        (0..60_000)
            .map(|at| char::from(b'a' + ((at * at + n * 7_919) % 25) as u8))
            .collect::<String>()
    };
    for n in 0..40 {
        client.append("s", sealed("ada", &noise(n)));
    }
    let to = folder.path().join("backup");
    for _ in 0..2 {
        let view = back_up(&client, &to);
        assert_eq!(view["state"], "failed", "{view}");
        assert!(view["error"].as_str().is_some_and(|error| !error.is_empty()), "{view}");
        assert!(!to.join("manifest.cose").exists());
        let (exit, said) = restore(
            &["--drill"],
            &[("--from", &to), ("--vault", &data.path().join("vault"))],
        );
        assert_eq!((exit, &said["code"]), (3, &json!("backup_incomplete")), "{said}");
        client.append("s", sealed("bob", "Bob"));
        assert_eq!(client.get("/readyz").status, 200);
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            0,
            "what there was of it is gone"
        );
    }
    drop(_mount);
    let view = back_up(&client, &to);
    assert_eq!(view["state"], "completed", "with room, in the same place: {view}");
    assert!(!data.log().contains("panicked"), "{}", data.log());
}

#[test]
fn a_disk_that_fills_during_a_restore_leaves_what_is_refused() {
    let (data, backup) = two_people_backed_up();
    let folder = beside(&data, "small");
    std::fs::create_dir(&folder).unwrap();
    let mut place = Place::of(&data);
    let mut full = 0;
    for size in ["16k", "64k", "128k", "256k", "64m"] {
        let Some(_mount) = Mount::new(&folder, size) else {
            return;
        };
        place.data = data.beside("small/target");
        let (exit, said) = place.restore(&data, &backup, &[]);
        if exit == 0 {
            let server = place.serve();
            assert_eq!(opened(&server.client(), "main"), [json!("Ada"), json!("Bob")]);
            // Opening is recorded, and the backup lacks that.
            server.stop();
            break;
        }
        full += 1;
        assert_eq!(exit, 3, "{said}");
        assert!(
            ["storage_failed", "key_unavailable"].contains(&said["code"].as_str().unwrap()),
            "{said}"
        );
        let refused = place.refused();
        assert!(
            ["restore_unfinished", "not_a_data_dir"].contains(&refused.code.as_str()),
            "{refused:?}"
        );
    }
    assert!(full > 1, "{full}");
    // The vault was not spoiled by any of them: what is put back elsewhere, and the old directory itself, open.
    let copy = data.copy();
    copy_folder(&backup, &beside(&copy, "backup"));
    let (place, _) = Place::restored(&copy, &backup, &["--accept-rollback"]);
    assert_eq!(opened(&place.serve().client(), "main-r1"), [json!("Ada"), json!("Bob")]);
}
