//! The saga, the removal of residues, the end of a retired key, a change of epoch.

use std::path::Path;
use std::sync::Arc;

use oubliette::env::System;
use oubliette::keystore::vault::file::FileVault;
use oubliette::keystore::vault::{EpochKey, EpochState, Vault};
use oubliette::spec::ids::Timestamp;
use oubliette::store::rocksdb::RocksStore;
use oubliette::store::{LedgerNumber, LedgerStore};
use serde_json::{Value, json};

use super::{Break, Played, Scene, Stage, asked, at_every_step, awaited, verifies};
use crate::support::people::{erase, erasure, found_in, opened, payloads, purged, sealed, verified};
use crate::support::{Data, copy_folder};

const PROMPT: (&str, &str) = ("OUBLIETTE_ERASURE_PURGE", "prompt");

/// Ada and bob, each alone and both together; with a key copy in some backup, or none.
fn people(backed_up: bool) -> Data {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    let block = |subject: &str, data: &str| json!({"subject": subject, "category": "billing", "data": data});
    client.append(
        "s",
        json!({"type": "t", "personal": [block("ada", "her bill"), block("bob", "his bill")]}),
    );
    server.stop();
    if backed_up {
        let vault = vault(&data.path().join("vault"));
        let ledger = vault.ledgers().unwrap()[0];
        vault.mark_backed_up(ledger, 1, Timestamp(1)).unwrap();
    }
    data
}

fn vault(folder: &Path) -> FileVault {
    let mirrors = ["a", "b"].map(|name| folder.join(name));
    FileVault::open(&mirrors, Arc::new(System)).unwrap()
}

/// The epochs that the vault holds, the retired ones apart from the others.
fn epochs(data: &Data) -> (Vec<u32>, Vec<u32>) {
    // A copy: a process that another test starts at this moment may hold the lock of this one a little longer.
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&data.path().join("vault"), folder.path());
    let vault = vault(folder.path());
    let keys = vault.epochs(vault.ledgers().unwrap()[0]).unwrap();
    let is_retired = |key: &EpochKey| matches!(key.state, EpochState::Retired { .. });
    let (retired, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_retired);
    let numbers = |keys: Vec<EpochKey>| keys.iter().map(|key| key.epoch).collect();
    (numbers(retired), numbers(others))
}

/// The sealed blocks at these places, as they lie in the store of a stopped server.
fn blocks(data: &Data, places: &[(u64, u16)]) -> Vec<Vec<u8>> {
    let store = RocksStore::open_read_only(&data.path().join("ledger")).unwrap();
    let bodies = store.bodies(LedgerNumber(1), 0..1_000).unwrap();
    let of_them = bodies
        .into_iter()
        .filter(|body| places.contains(&(body.index, body.ordinal)));
    of_them.map(|body| body.bytes).collect()
}

/// An erasure that is over in every respect but for the backups: once, of ada alone, and nothing of her is left.
fn is_erased(data: &Data, ciphertext: &[Vec<u8>], backed_up: bool) {
    let server = data.serve_with(&[PROMPT]);
    let client = server.client();
    let listed = client.get("erasures").expect(200)["erasures"].clone();
    let erasure = match listed.as_array().unwrap().first() {
        Some(erasure) => erasure.clone(),
        None => {
            // It was not recorded: nothing has happened to her, and whoever got no answer asks again.
            let everything = ["Ada", "Bob", "her bill", "his bill"].map(|data| json!(data));
            assert_eq!(opened(&client, "main"), everything);
            erase(&client, "ada")
        }
    };
    assert!(
        ["completed", "final"].contains(&erasure["state"].as_str().unwrap()),
        "{erasure}"
    );
    purged(&client, &erasure);
    let erased = json!({"state": "erased"});
    assert_eq!(
        opened(&client, "main"),
        [erased.clone(), json!("Bob"), erased, json!("his bill")]
    );
    client
        .post("subjects/lookup", &json!({"subject": "ada"}))
        .problem(410, "erased");
    client
        .post("streams/s/events", &json!({"events": [sealed("ada", "again")]}))
        .problem(409, "subject_erased");
    client.append("s", sealed("bob", "more"));
    for (event_type, number) in [
        ("erasure.requested", 1),
        ("erasure.completed", 1),
        ("erasure.residue_removed", 2),
        ("bodies.purged", 1),
    ] {
        let found = payloads(&client, "main", event_type);
        assert_eq!(found.len(), number, "{event_type}: {found:?}");
    }
    let purge = &payloads(&client, "main", "bodies.purged")[0];
    assert_eq!(purge["positions"], json!([[2, 2], [4, 1]]), "{purge}");
    let certificate = client.get(erasure["certificate"].as_str().unwrap());
    verified(&certificate.body);
    verifies(data, server, &["main"]);
    for block in ciphertext {
        let found = found_in(&data.path(), block);
        assert!(found.is_empty(), "{found:?}");
    }
    let (retired, others) = epochs(data);
    assert_eq!((retired, others.len()), (if backed_up { vec![1] } else { vec![] }, 1));
}

struct Erasing {
    before: Data,
    ciphertext: Vec<Vec<u8>>,
    backed_up: bool,
}

impl Erasing {
    fn new(backed_up: bool) -> Self {
        let before = people(backed_up);
        let ciphertext = blocks(&before, &[(2, 2), (4, 1)]);
        assert_eq!(ciphertext.len(), 2);
        assert!(
            ciphertext
                .iter()
                .all(|block| !found_in(&before.path(), block).is_empty())
        );
        Self {
            before,
            ciphertext,
            backed_up,
        }
    }
}

impl Scene for Erasing {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.before, &[], how);
        let played = stage.serve(&[("OUBLIETTE_ERASURE_PURGE_DELAY_SECONDS", "600")], at, |client| {
            asked(client, "erasures", &erasure("ada"), 202);
        });
        is_erased(&stage.data, &self.ciphertext, self.backed_up);
        played
    }
}

#[test]
fn an_erasure_killed_at_any_step_is_carried_out_once() {
    for backed_up in [false, true] {
        at_every_step(&Erasing::new(backed_up), Break::Kill);
    }
}

#[test]
fn an_erasure_survives_a_power_cut_at_any_step() {
    at_every_step(&Erasing::new(true), Break::Power);
}

#[test]
fn an_erasure_survives_a_failing_device_at_any_step() {
    at_every_step(&Erasing::new(true), Break::Fail);
}

/// Removal of what an erasure left behind.
struct Purging(Erasing);

impl Purging {
    fn new() -> Self {
        let scene = Erasing::new(false);
        let server = scene.before.serve();
        erase(&server.client(), "ada");
        server.stop();
        Self(scene)
    }
}

impl Scene for Purging {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.0.before, &[], how);
        let played = stage.serve(&[PROMPT], at, |client| {
            awaited(client, "erasures", |listed| listed["erasures"][0]["state"] == "final");
        });
        is_erased(&stage.data, &self.0.ciphertext, false);
        played
    }
}

#[test]
fn a_purge_killed_at_any_step_removes_everything_once() {
    at_every_step(&Purging::new(), Break::Kill);
}

#[test]
fn a_purge_survives_a_power_cut_at_any_step() {
    at_every_step(&Purging::new(), Break::Power);
}

#[test]
fn a_purge_survives_a_failing_device_at_any_step() {
    at_every_step(&Purging::new(), Break::Fail);
}

/// A change of epoch without an erasure.
struct Rotating {
    before: Data,
    backed_up: bool,
}

impl Scene for Rotating {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.before, &[], how);
        let played = stage.serve(&[], at, |client| {
            asked(client, "epochs", &Value::Null, 201);
        });
        let everything = ["Ada", "Bob", "her bill", "his bill"].map(|data| json!(data));
        let server = stage.data.serve();
        assert_eq!(opened(&server.client(), "main"), everything);
        let changed = payloads(&server.client(), "main", "epoch.changed");
        server.stop();
        let (retired, others) = epochs(&stage.data);
        let [now] = others[..] else { panic!("{others:?}") };
        assert!(now <= 3, "{now}");
        // A change that is durable is on record, however it broke off.
        assert_eq!(changed.len(), usize::from(now > 1), "{changed:?}");
        assert!(changed.iter().all(|changed| changed["to"] == now), "{changed:?}");
        assert_eq!(retired, if self.backed_up && now > 1 { vec![1] } else { vec![] });
        let server = stage.data.serve();
        server.client().post("epochs", &Value::Null).expect(201);
        assert_eq!(opened(&server.client(), "main"), everything);
        verifies(&stage.data, server, &["main"]);
        played
    }
}

#[test]
fn a_change_of_epoch_killed_at_any_step_is_made_whole_or_not_at_all() {
    for backed_up in [false, true] {
        let before = people(backed_up);
        at_every_step(&Rotating { before, backed_up }, Break::Kill);
    }
}

#[test]
fn a_change_of_epoch_survives_power_cuts_and_failing_devices_at_any_step() {
    for how in [Break::Power, Break::Fail] {
        let (before, backed_up) = (people(true), true);
        at_every_step(&Rotating { before, backed_up }, how);
    }
}

/// The start after an erasure that broke off in its middle, broken off as well.
struct Resuming(Erasing);

impl Resuming {
    /// Killed when the key of the next epoch is in the vault, and nothing says yet which of the two is in use.
    fn new() -> Self {
        let scene = Erasing::new(true);
        for at in 1.. {
            let stage = Stage::new(&scene.before, &[], Break::Kill);
            stage.serve(&[], at, |client| drop(asked(client, "erasures", &erasure("ada"), 202)));
            if epochs(&stage.data).1.len() == 2 {
                let before = stage.data;
                return Self(Erasing { before, ..scene });
            }
        }
        panic!("the epochs never overlapped")
    }
}

impl Scene for Resuming {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.0.before, &[], how);
        let played = stage.start(&[], at);
        is_erased(&stage.data, &self.0.ciphertext, true);
        played
    }
}

#[test]
fn an_erasure_that_broke_off_is_finished_however_often_the_start_breaks_off() {
    let scene = Resuming::new();
    for how in [Break::Kill, Break::Power, Break::Fail] {
        at_every_step(&scene, how);
    }
}

/// The end of a retired key at its horizon, at the start after it.
struct Expiring(Data);

impl Scene for Expiring {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.0, &[], how);
        let played = stage.start(&[], at);
        let server = stage.data.serve();
        let gone = payloads(&server.client(), "main", "epoch.destroyed");
        assert_eq!(gone.len(), 1, "{gone:?}");
        assert_eq!(gone[0]["epoch"], 1);
        let listed = server.client().get("erasures").expect(200);
        let certificate = listed["erasures"][0]["certificate"].as_str().unwrap();
        let report = verified(&server.client().get(certificate).body);
        assert!(!report["notes"].to_string().contains("epoch_key"), "{report}");
        verifies(&stage.data, server, &["main"]);
        assert_eq!(epochs(&stage.data), (vec![], vec![2]));
        played
    }
}

#[test]
fn a_retired_key_dies_once_and_on_record_wherever_the_start_after_its_horizon_breaks_off() {
    let before = people(true);
    let server = before.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "1")]);
    erase(&server.client(), "ada");
    server.kill();
    std::thread::sleep(std::time::Duration::from_secs(1));
    assert_eq!(epochs(&before).0, [1]);
    for how in [Break::Kill, Break::Power, Break::Fail] {
        at_every_step(&Expiring(before.copy()), how);
    }
}
