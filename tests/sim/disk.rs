//! A full disk, on a small memory file system of its own. Needs root; says so where it is not.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::receipts::Keys;
use crate::support::{Data, id};

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
