//! What start and `oubliette restore` refuse, and what a drill proves: stores, vault and keys in every wrong combination.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::backups::{Place, back_up, back_up_as, beside, restore, serve};
use crate::support::people::{erase, opened, sealed};
use crate::support::{Data, Stop, copy_folder, eventually, files};

/// A directory with two states: as it was, in `old`, and as it is, with a person more and one erased.
fn two_states(newcomer: bool) -> (Data, Data) {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    server.stop();
    let old = data.copy();
    let server = data.serve();
    let client = server.client();
    if newcomer {
        client.append("s", sealed("eve", "Eve"));
    }
    erase(&client, "ada");
    client.append("s", sealed("bob", "more"));
    server.stop();
    (data, old)
}

fn put(from: &Data, part: &str, into: &Data) {
    let target = into.path().join(part);
    std::fs::remove_dir_all(&target).unwrap();
    copy_folder(&from.path().join(part), &target);
}

/// Starts it: refused with one of these codes, or nothing of ada opens and all of bob does.
fn harmless(data: &Data, codes: &[&str]) {
    match data.try_serve() {
        Err(refused) => {
            assert!(codes.contains(&refused.code.as_str()), "{refused:?}");
            assert_eq!(refused.exit, Some(3), "{refused:?}");
        }
        Ok(server) => {
            let found = opened(&server.client(), "main");
            assert_eq!(found, [json!({"state": "erased"}), json!("Bob"), json!("more")]);
            server.stop();
        }
    }
}

fn refused(data: &Data, code: &str) {
    let refused = data.refused();
    assert_eq!((refused.code.as_str(), refused.exit), (code, Some(3)), "{refused:?}");
}

#[test]
fn an_old_key_store_under_a_newer_ledger_brings_nobody_back() {
    let (data, old) = two_states(false);
    put(&old, "keystore", &data);
    harmless(&data, &["key_unavailable"]);
    // A key store that never saw a person of the ledger would give that person a second handle.
    let (data, old) = two_states(true);
    put(&old, "keystore", &data);
    match data.try_serve() {
        Ok(_) => panic!("the server started"),
        Err(refused) => assert!(
            ["key_store_behind", "key_unavailable"].contains(&refused.code.as_str()),
            "{refused:?}"
        ),
    }
}

#[test]
fn an_old_ledger_is_refused_with_the_newer_and_with_the_old_key_store() {
    let (data, old) = two_states(false);
    put(&old, "ledger", &data);
    refused(&data, "ledger_rolled_back");
    put(&old, "keystore", &data);
    match data.try_serve() {
        Ok(_) => panic!("the server started"),
        Err(refused) => assert!(
            ["ledger_rolled_back", "key_unavailable"].contains(&refused.code.as_str()),
            "{refused:?}"
        ),
    }
}

#[test]
fn an_old_vault_brings_nobody_back_and_is_brought_up_to_date() {
    let (data, old) = two_states(false);
    put(&old, "vault", &data);
    harmless(&data, &["key_unavailable"]);
    if let Ok(server) = data.try_serve() {
        server.stop();
        // Its journal has the erasure again: an old key store is refused the person by it, whatever the ledger says.
        put(&old, "keystore", &data);
        harmless(&data, &["key_unavailable"]);
    }
}

#[test]
fn what_is_missing_or_foreign_is_named() {
    let (data, _) = two_states(false);
    let foreign = Data::new();
    for (part, missing, other) in [
        ("ledger", "not_a_data_dir", "key_unavailable"),
        ("keystore", "key_unavailable", "key_unavailable"),
        ("vault", "key_unavailable", "key_unavailable"),
        ("keys", "key_unavailable", "key_unavailable"),
    ] {
        let copy = data.copy();
        put(&foreign, part, &copy);
        refused(&copy, other);
        std::fs::remove_dir_all(copy.path().join(part)).unwrap();
        refused(&copy, missing);
    }
}

/// A directory with a backup of it, stopped, both parts apart.
fn backed_up() -> (Data, std::path::PathBuf, std::path::PathBuf) {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    let (to, apart) = (beside(&data, "backup"), beside(&data, "backup-keys"));
    let request = json!({"to": to, "keystore_to": apart});
    assert_eq!(back_up_as(&client, &request)["state"], "completed");
    server.stop();
    (data, to, apart)
}

fn restore_to(data: &Data, to: &Path, apart: &Path, target: &Path) -> (i32, Value) {
    let (vault, keys) = (data.path().join("vault"), data.path().join("keys"));
    let paths = [("--from", to), ("--keystore-from", apart), ("--data", target)];
    restore(&[], &[&paths[..], &[("--vault", &vault), ("--keys", &keys)]].concat())
}

#[test]
fn a_backup_that_is_damaged_foreign_or_not_whole_is_refused_and_nothing_is_made() {
    let (data, to, apart) = backed_up();
    let target = beside(&data, "target");
    let refused = |what: &str, code: &str, to: &Path, apart: &Path| {
        let (exit, said) = restore_to(&data, to, apart, &target);
        assert_eq!((exit, &said["code"]), (3, &json!(code)), "{what}: {said}");
        assert!(!target.exists(), "{what}");
    };
    let changed = beside(&data, "changed");
    let change = |what: &str, code: &str, part: &Path, change: &dyn Fn(&Path)| {
        let _ = std::fs::remove_dir_all(&changed);
        copy_folder(part, &changed);
        change(&changed);
        if part == to {
            refused(what, code, &changed, &apart);
        } else {
            refused(what, code, &to, &changed);
        }
    };
    let flip = |path: &Path, at: usize| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[at] ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    for part in [&to, &apart] {
        for file in files(part) {
            let name = file.strip_prefix(part).unwrap().to_owned();
            let is_manifest = name == Path::new("manifest.cose");
            if std::fs::metadata(&file).unwrap().len() > 0 {
                // Two manifests that differ are of two backups.
                let code = if is_manifest {
                    "backup_foreign"
                } else {
                    "backup_damaged"
                };
                change("a bit flipped", code, part, &|folder| flip(&folder.join(&name), 0));
            }
            let code = if is_manifest {
                "backup_incomplete"
            } else {
                "backup_damaged"
            };
            change("a file missing", code, part, &|folder| {
                std::fs::remove_file(folder.join(&name)).unwrap();
            });
        }
    }
    change("a file too many", "backup_damaged", &to, &|folder| {
        std::fs::write(folder.join("ledger/extra.sst"), b"x").unwrap();
    });
    let (other, other_to, other_apart) = backed_up();
    refused("of another store", "backup_foreign", &other_to, &other_apart);
    refused("half of another", "backup_foreign", &to, &other_apart);
    let (exit, said) = restore(
        &[],
        &[
            ("--from", &to),
            ("--keystore-from", &apart),
            ("--data", &target),
            ("--vault", &other.path().join("vault")),
            ("--keys", &data.path().join("keys")),
        ],
    );
    assert_eq!((exit, &said["code"]), (3, &json!("backup_foreign")));
    let (exit, said) = restore(
        &[],
        &[
            ("--from", &to),
            ("--keystore-from", &apart),
            ("--data", &target),
            ("--vault", &beside(&data, "no-vault")),
            ("--keys", &data.path().join("keys")),
        ],
    );
    assert_eq!((exit, &said["code"]), (3, &json!("key_unavailable")));
    assert!(!target.exists());
    std::fs::create_dir(&target).unwrap();
    std::fs::write(target.join("mine"), b"x").unwrap();
    let (exit, said) = restore_to(&data, &to, &apart, &target);
    assert_eq!((exit, &said["code"]), (3, &json!("data_dir_used")));
    std::fs::remove_dir_all(&target).unwrap();
    let (exit, said) = restore_to(&data, &to, &apart, &target);
    assert_eq!(exit, 0, "{said}");
}

#[test]
fn a_restore_that_breaks_off_leaves_what_is_refused_and_can_be_repeated_elsewhere() {
    let (data, to, apart) = backed_up();
    let place = Place::of(&data);
    let mut broken = 0;
    // No file may grow beyond so many blocks: the process dies while it writes one.
    for blocks in [0, 1, 4, 16, 64] {
        let target = place.data.path();
        let _ = std::fs::remove_dir_all(&target);
        let script = format!(
            "ulimit -f {blocks}; exec {} restore --keep-api-keys --from {} --keystore-from {} --data {} --vault {} --keys {}",
            env!("CARGO_BIN_EXE_oubliette"),
            to.display(),
            apart.display(),
            target.display(),
            data.path().join("vault").display(),
            data.path().join("keys").display()
        );
        let status = Command::new("sh").args(["-c", &script]).output().unwrap().status;
        if status.success() {
            continue;
        }
        if target.join("LOCK").exists() {
            broken += 1;
            let refused = place.refused();
            assert_eq!(
                (refused.code.as_str(), refused.exit),
                ("restore_unfinished", Some(3)),
                "{refused:?}"
            );
            let (exit, said) = restore_to(&data, &to, &apart, &target);
            assert_eq!((exit, &said["code"]), (3, &json!("restore_unfinished")));
        }
    }
    assert!(broken > 1, "{broken}");
    let target = place.data.path();
    std::fs::remove_dir_all(&target).unwrap();
    let (exit, said) = restore_to(&data, &to, &apart, &target);
    assert_eq!(exit, 0, "{said}");
    assert_eq!(opened(&place.serve().client(), "main"), [json!("Ada"), json!("Bob")]);
}

#[test]
fn a_drill_proves_a_backup_beside_the_running_server_and_changes_nothing() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    let to = beside(&data, "backup");
    back_up(&client, &to);
    erase(&client, "ada");
    let scratch = beside(&data, "scratch");
    std::fs::create_dir(&scratch).unwrap();
    let vault = data.path().join("vault");
    let contents =
        |folder: &Path| -> Vec<_> { files(folder).iter().map(|file| std::fs::read(file).unwrap()).collect() };
    let drill = |arguments: &[&str]| {
        let all = [&["--drill"], arguments].concat();
        restore(&all, &[("--from", &to), ("--vault", &vault), ("--scratch", &scratch)])
    };
    // The vault hears of new events within a second.
    eventually("the vault is two events ahead", || {
        drill(&[]).1["ledgers"][0]["behind"] == 2
    });
    let before = (contents(&vault), contents(&to));
    let (exit, said) = drill(&["--key", data.vkey()]);
    assert_eq!((exit, &said["proven"]), (0, &json!(true)), "{said}");
    let main = &said["ledgers"][0];
    assert_eq!(
        (&main["report"]["verdict"], &main["report"]["trust"]),
        (&json!("valid"), &json!("pinned"))
    );
    assert_eq!(main["behind"], 2);
    let sample = &main["sample"];
    assert_eq!(
        (&sample["opened"], &sample["erased"], &sample["unavailable"]),
        (&json!(1), &json!(1), &json!(0))
    );
    assert_eq!(before, (contents(&vault), contents(&to)));
    assert!(std::fs::read_dir(&scratch).unwrap().next().is_none());
    // A key that is not the ledger's speaks against it.
    let (exit, said) = drill(&["--key", Data::new().vkey()]);
    assert_eq!((exit, &said["proven"]), (1, &json!(false)), "{said}");
    let file = files(&to.join("keystore"))
        .into_iter()
        .find(|file| file.extension().is_some_and(|e| e == "sst"));
    let file = file.unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[0] ^= 1;
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, bytes).unwrap();
    let (exit, said) = drill(&[]);
    assert_eq!((exit, &said["code"]), (3, &json!("backup_damaged")));
}

#[test]
fn a_backup_cut_while_everybody_works_is_consistent_and_opens() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    let stop = Stop::default();
    let workers: Vec<_> = (0..3)
        .map(|worker| {
            let (client, flag) = (client.clone(), stop.flag());
            std::thread::spawn(move || {
                let mut number = 0;
                while !flag.load(std::sync::atomic::Ordering::Relaxed) {
                    client.append(&format!("s-{worker}"), sealed(&format!("p-{worker}-{number}"), "data"));
                    if number % 9 == 8 {
                        erase(&client, &format!("p-{worker}-{}", number - 4));
                    }
                    number += 1;
                }
            })
        })
        .collect();
    let mut whole = Vec::new();
    for number in 0..4 {
        let to = beside(&data, &format!("backup-{number}"));
        let view = back_up(&client, &to);
        match view["state"].as_str().unwrap() {
            "completed" => whole.push(to),
            // Erasures changed the keys every time: it says so, and nothing is left that looks like a backup.
            state => {
                assert_eq!(state, "failed", "{view}");
                assert!(view["error"].as_str().unwrap().contains("erasures"), "{view}");
                assert!(!to.join("manifest.cose").exists());
            }
        }
    }
    drop(stop);
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    let quiet = beside(&data, "quiet");
    assert_eq!(back_up(&client, &quiet)["state"], "completed");
    whole.push(quiet);
    let vault = data.path().join("vault");
    for to in &whole {
        let (exit, said) = restore(&["--drill"], &[("--from", to), ("--vault", &vault)]);
        assert_eq!((exit, &said["proven"]), (0, &json!(true)), "{said}");
        let sample = &said["ledgers"][0]["sample"];
        assert_eq!(sample["unavailable"], 0, "{said}");
        assert!(sample["opened"].as_u64().unwrap() > 0, "{said}");
    }
    server.stop();
    let (place, _) = Place::restored(&data, &whole[0], &["--accept-rollback"]);
    place.serve().stop();
}

#[test]
fn a_backup_under_a_server_that_is_killed_is_whole_or_none() {
    let data = Data::new();
    for round in 0..6_u64 {
        let server = serve(&data);
        let client = server.client();
        client.append("s", sealed(&format!("p-{round}"), "data"));
        let to = beside(&data, &format!("backup-{round}"));
        client.post("/v1/backups", &json!({"to": to})).expect(202);
        std::thread::sleep(std::time::Duration::from_millis(round * 8));
        server.kill();
        let server = serve(&data);
        let client = server.client();
        let view = client.get("/v1/backups").expect(200)["backups"][0].clone();
        let is_whole = to.join("manifest.cose").exists();
        assert!(
            ["completed", "broken_off"].contains(&view["state"].as_str().unwrap()),
            "{view}"
        );
        assert!(is_whole || view["state"] == "broken_off", "{view}");
        let (exit, said) = restore(
            &["--drill"],
            &[("--from", &to), ("--vault", &data.path().join("vault"))],
        );
        if is_whole {
            assert_eq!((exit, &said["proven"]), (0, &json!(true)), "{said}");
        } else {
            assert_eq!((exit, &said["code"]), (3, &json!("backup_incomplete")), "{said}");
        }
        let again = beside(&data, &format!("again-{round}"));
        assert_eq!(back_up(&client, &again)["state"], "completed");
        server.stop();
    }
}

#[test]
fn bad_requests_for_a_backup_are_refused_by_name() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let to = beside(&data, "backup");
    let unset = client
        .post("/v1/backups", &json!({"to": to}))
        .problem(422, "invalid_field");
    assert!(unset["detail"].as_str().unwrap().contains("backup_dir"));
    server.stop();
    let server = serve(&data);
    let client = server.client();
    for body in [
        json!({}),
        json!({"to": 1}),
        json!({"to": ""}),
        json!({"to": "../x"}),
        json!({"to": "/elsewhere"}),
        json!({"to": data.path().join("vault/a/x")}),
        json!({"to": "data/ledger"}),
        json!({"to": "x", "keystore_to": "data/keys/x"}),
        json!({"to": "x", "more": 1}),
    ] {
        client.post("/v1/backups", &body).problem(422, "invalid_field");
    }
    client
        .post("/v1/backups", &json!({"to": "ada@example.com"}))
        .problem(422, "personal_data_refused");
    let reader = server.client_as(&["reader", "auditor", "officer", "writer"], None);
    reader
        .post("/v1/backups", &json!({"to": "x"}))
        .problem(403, "forbidden");
    reader.get("/v1/backups").problem(403, "forbidden");
    server.stranger().get("/v1/backups").problem(401, "unauthenticated");
    client.get("/v1/backups/x").problem(404, "not_found");
    client
        .get(&format!("/v1/backups/{}", crate::support::id(1)))
        .problem(404, "not_found");
    assert_eq!(client.get("/v1/backups").expect(200)["backups"], json!([]));
    // Two at once: one of them is made.
    let answers: Vec<_> = std::thread::scope(|threads| {
        let client = &client;
        let both: Vec<_> = ["one", "two"]
            .map(|name| threads.spawn(move || client.post("/v1/backups", &json!({ "to": name }))))
            .into_iter()
            .collect();
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(answers.iter().any(|answer| answer.status == 202));
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        answer.problem(409, "backup_running");
    }
}

#[test]
fn a_vault_that_was_not_closed_may_have_missed_events_and_a_restore_must_accept_that() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    let to = beside(&data, "backup");
    assert_eq!(back_up(&client, &to)["state"], "completed");
    server.kill();
    let place = Place::of(&data);
    let (exit, said) = place.restore(&data, &to, &[]);
    assert_eq!((exit, &said["code"]), (3, &json!("rollback_not_accepted")), "{said}");
    assert!(said.to_string().contains("was not closed"), "{said}");
    assert!(!place.data.path().exists());
    let copy = data.copy();
    let (place, said) = Place::restored(&copy, &to, &["--accept-rollback"]);
    assert_eq!(said["rollbacks"][0]["lost"], 0, "{said}");
    let server = place.serve();
    assert_eq!(opened(&server.client(), "main-r1"), [json!("Ada")]);
    server.client().append("s", sealed("ada", "again"));
    server.stop();
    place.serve().stop();
    // Whoever starts the old directory and stops it tells the vault the rest: the backup has all of it.
    serve(&data).stop();
    let (_, said) = Place::restored(&data, &to, &[]);
    assert_eq!(said["rollbacks"], json!([]), "{said}");
}

#[test]
fn a_restore_revokes_the_api_keys_of_the_backup_and_makes_one_for_an_admin() {
    let (data, to, apart) = backed_up();
    let place = Place::of(&data);
    let paths = [
        ("--from", to),
        ("--keystore-from", apart),
        ("--data", place.data.path()),
        ("--vault", data.path().join("vault")),
        ("--keys", data.path().join("keys")),
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette"));
    command.args(["restore", "--json"]);
    for (flag, path) in &paths {
        command.arg(flag).arg(path);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["api_keys"], &said["api_keys_revoked"]),
        (&json!(0), &json!(1)),
        "{said}"
    );
    let key = said["api_key"]["api_key"].as_str().unwrap();
    let server = place.serve();
    assert_eq!(server.client().get("/v1/ledgers").status, 401);
    let admin = server.client_with(key);
    let keys = admin.get("/v1/api-keys").expect(200);
    assert_eq!(keys["api_keys"][0]["roles"], json!(["admin"]), "{keys}");
    assert_eq!(keys["api_keys"].as_array().unwrap().len(), 1, "{keys}");
}
