//! Ledger, key store and vault, each as it is, old, missing, or of another store: what is said of each combination, and that
//! nothing is opened or signed by a server that refuses. And backups: used twice, twice in a row, expired.

use serde_json::json;

use oubliette::store::rocksdb::RocksStore;
use oubliette::store::{LedgerNumber, LedgerStore};

use crate::support::backups::{Place, back_up, beside, drill, serve, two_people_backed_up};
use crate::support::people::{erase, opened, payloads, sealed, verification};
use crate::support::{Data, copy_folder, eventually};

/// How a part of a data directory stands to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// As it is.
    Now,
    /// From before an erasure and an event.
    Old,
    Missing,
    /// Of another store.
    Foreign,
}

use Part::{Foreign, Missing, Now, Old};

const PARTS: [Part; 4] = [Now, Old, Missing, Foreign];

/// What is said of ledger, key store and vault; `None`: it is served.
fn said(ledger: Part, keystore: Part, vault: Part) -> Option<&'static str> {
    match (ledger, keystore, vault) {
        (Now, Now, Now) => None,
        (Missing, _, _) => Some("not_a_data_dir"),
        (_, Missing, _) | (_, _, Missing) => Some("key_unavailable"),
        // Of three parts two are of one store, or all are of another than the signing keys.
        (Foreign, _, _) | (_, Foreign, _) | (_, _, Foreign) => Some("key_unavailable"),
        // Its epoch's key was destroyed by the erasure.
        (_, Old, Now) => Some("key_unavailable"),
        (Old, Now, Now) => Some("ledger_rolled_back"),
        // The vault of before lacks the key of the epoch that the erasure began.
        (_, Now, Old) => Some("key_unavailable"),
        // The ledger tells of the erasure, and it is carried out again before anything is served.
        (Now, Old, Old) => None,
        // Everything is old: a machine that was put back whole. Nothing within it can tell (docs/threat-model.md).
        (Old, Old, Old) => None,
    }
}

/// As it was, and as it is: ada erased, and more about bob.
fn two_states() -> (Data, Data) {
    let data = Data::new();
    let server = data.serve();
    server.client().append("s", sealed("ada", "Ada"));
    server.client().append("s", sealed("bob", "Bob"));
    server.stop();
    let old = data.copy();
    let server = data.serve();
    erase(&server.client(), "ada");
    server.client().append("s", sealed("bob", "more"));
    server.stop();
    (data, old)
}

fn tree_size(data: &Data) -> Option<u64> {
    let store = RocksStore::open_read_only(&data.path().join("ledger")).ok()?;
    Some(store.head(LedgerNumber(1)).unwrap().unwrap().size)
}

#[test]
fn every_combination_of_old_missing_and_foreign_parts_is_refused_by_name_or_brings_nobody_back() {
    let (now, old) = two_states();
    let (foreign, _) = two_states();
    let mut wrong = Vec::new();
    for ledger in PARTS {
        for keystore in PARTS {
            for vault in PARTS {
                let data = now.copy();
                for (name, part) in [("ledger", ledger), ("keystore", keystore), ("vault", vault)] {
                    let folder = data.path().join(name);
                    std::fs::remove_dir_all(&folder).unwrap();
                    match part {
                        Now => copy_folder(&now.path().join(name), &folder),
                        Old => copy_folder(&old.path().join(name), &folder),
                        Foreign => copy_folder(&foreign.path().join(name), &folder),
                        Missing => {}
                    }
                }
                let size = tree_size(&data);
                let what = format!("ledger {ledger:?}, key store {keystore:?}, vault {vault:?}");
                let expected = said(ledger, keystore, vault);
                match (data.try_serve(), expected) {
                    (Err(refused), expected) => {
                        if expected != Some(refused.code.as_str()) || refused.exit != Some(3) {
                            wrong.push(format!("{what}: {expected:?}, but {refused:?}"));
                        }
                        assert_eq!(tree_size(&data), size, "{what}: something was signed");
                        assert!(!refused.log.contains("panicked"), "{}", refused.log);
                    }
                    (Ok(_), Some(code)) => wrong.push(format!("{what}: served instead of {code}")),
                    (Ok(server), None) => {
                        let found = opened(&server.client(), "main");
                        let erased = json!({"state": "erased"});
                        let right = if ledger == Now {
                            found == [erased, json!("Bob"), json!("more")]
                        } else {
                            found == [json!("Ada"), json!("Bob")]
                        };
                        if !right {
                            wrong.push(format!("{what}: {found:?}"));
                        }
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn a_restore_with_a_vault_that_is_older_than_the_backup_brings_nobody_back() {
    let (data, old) = two_states();
    let server = serve(&data);
    let to = beside(&data, "backup");
    assert_eq!(back_up(&server.client(), &to)["state"], "completed");
    server.stop();
    std::fs::remove_dir_all(data.path().join("vault")).unwrap();
    copy_folder(&old.path().join("vault"), &data.path().join("vault"));
    let place = Place::of(&data);
    for arguments in [&[][..], &["--accept-rollback"]] {
        let (exit, said) = place.restore(&data, &to, arguments);
        assert_eq!((exit, &said["code"]), (3, &json!("backup_expired")), "{said}");
        assert!(!place.data.path().exists());
    }
}

#[test]
fn after_two_rollbacks_in_a_row_three_logs_prove_and_the_erased_stay_erased() {
    let (data, first) = two_people_backed_up();
    let server = serve(&data);
    let client = server.client();
    erase(&client, "ada");
    client.append("s", sealed("eve", "lost"));
    server.stop();
    let (once, said) = Place::restored(&data, &first, &["--accept-rollback"]);
    assert!(
        said["rollbacks"][0]["origin"].as_str().unwrap().ends_with("/r2"),
        "{said}"
    );
    let server = once.serve();
    let client = server.client();
    client.append("s", sealed("bob", "second"));
    let second = beside(&data, "second");
    assert_eq!(back_up(&client, &second)["state"], "completed");
    let bob = client.get("/v1/ledgers/main-r1/events?type=t").expect(200)["events"][1]["personal"][0].clone();
    let request = json!({"handles": [bob["handle"]], "basis": "art17_1_b", "reason": "request"});
    client.post("/v1/ledgers/main-r1/erasures", &request).expect(202);
    client.append("s", sealed("eve", "lost too"));
    server.stop();

    // The second one: of the log that went on from the first. What was erased since stays erased in the oldest log, too.
    let twice = Place {
        data: data.elsewhere(),
        environment: once.environment.clone(),
    };
    let (exit, said) = twice.restore(&data, &second, &[]);
    assert_eq!((exit, &said["code"]), (3, &json!("rollback_not_accepted")), "{said}");
    let (exit, said) = twice.restore(&data, &second, &["--accept-rollback"]);
    assert_eq!(exit, 0, "{said}");
    assert!(
        said["rollbacks"][0]["origin"].as_str().unwrap().ends_with("/r3"),
        "{said}"
    );
    let server = twice.serve();
    let client = server.client();
    let erased = json!({"state": "erased"});
    assert_eq!(opened(&client, "main-r1"), [erased.clone(), erased]);
    assert_eq!(opened(&client, "main-r2"), [json!("second")]);
    client.append("s", sealed("bob", "third"));
    assert_eq!(opened(&client, "main"), [json!("third")]);
    let recovered = payloads(&client, "main", "erasure.recovered");
    assert_eq!(recovered.len(), 1, "the one that the second log lost: {recovered:?}");
    for ledger in ["main", "main-r1", "main-r2"] {
        assert_eq!(verification(&client, ledger)["verdict"], "valid", "{ledger}");
    }
    server.stop();
    twice.serve().stop();
}

#[test]
fn a_backup_is_put_back_a_second_time_as_another_log_or_not_at_all() {
    let (data, backup) = two_people_backed_up();
    // With nothing lost, the same log twice would be two roots for one size as soon as both grow.
    let (first, said) = Place::restored(&data, &backup, &[]);
    assert_eq!(said["rollbacks"], json!([]));
    let server = first.serve();
    server.client().append("s", sealed("bob", "more"));
    server.stop();
    let second = Place::of(&data);
    let (exit, said) = second.restore(&data, &backup, &[]);
    assert_eq!((exit, &said["code"]), (3, &json!("rollback_not_accepted")), "{said}");
    let (exit, said) = second.restore(&data, &backup, &["--accept-rollback"]);
    assert_eq!(exit, 0, "{said}");
    let server = second.serve();
    assert_eq!(opened(&server.client(), "main-r1"), [json!("Ada"), json!("Bob")]);
    server.client().append("s", sealed("bob", "other"));
    server.stop();
    // The first is refused from here on: the vault knows a log that it does not hold.
    assert_eq!(first.refused().code, "ledger_rolled_back");
}

#[test]
fn an_expired_backup_is_shown_as_such_over_http_and_refused_by_a_restore() {
    let (data, backup) = two_people_backed_up();
    let root = data.path().parent().unwrap().to_str().unwrap().to_owned();
    let server = data.serve_with(&[
        ("OUBLIETTE_BACKUP_DIR", root.as_str()),
        ("OUBLIETTE_ERASURE_HORIZON_SECONDS", "2"),
    ]);
    let client = server.client();
    let ledger = || client.get("/v1/backups").expect(200)["backups"][0]["ledgers"][0].clone();
    assert_eq!(
        (&ledger()["expired"], &ledger()["epoch_dies_at"]),
        (&json!(false), &json!(null))
    );
    let erased = erase(&client, "ada");
    assert_eq!(ledger()["epoch_dies_at"], erased["epoch_key_due_at"]);
    eventually("the backup is expired", || ledger()["expired"] == true);
    eventually("that is recorded", || {
        payloads(&client, "main", "epoch.destroyed").len() == 1
    });
    server.stop();
    let place = Place::of(&data);
    let refusals = [&[][..], &["--accept-rollback"]].map(|arguments| place.restore(&data, &backup, arguments));
    for (exit, said) in refusals.into_iter().chain([drill(&data, &backup)]) {
        assert_eq!((exit, &said["code"]), (3, &json!("backup_expired")), "{said}");
        assert!(said["detail"].as_str().unwrap().contains("epoch 1"), "{said}");
    }
    assert!(!place.data.path().exists());
}
