//! A data directory whose parts are missing, foreign or old.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Client, Data, copy_folder, files, run};

fn erase(client: &Client, subject: &str) -> crate::support::Answer {
    client.post(
        "erasures",
        &json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"}),
    )
}

fn sealed(client: &Client, subject: &str) {
    client.append(
        "s",
        json!({"type": "t", "personal": [{"subject": subject, "data": subject}]}),
    );
}

fn states(client: &Client) -> Vec<String> {
    let events = client.read_all("streams/s/events?reveal=true", 100);
    events
        .iter()
        .map(|event| event["personal"][0]["state"].as_str().unwrap().to_owned())
        .collect()
}

/// A stopped directory with one sealed event each about ada and bob.
fn two_people() -> Data {
    let data = Data::new();
    let server = data.serve();
    sealed(&server.client(), "ada");
    sealed(&server.client(), "bob");
    server.stop();
    data
}

fn replace(target: &Path, source: &Path) {
    std::fs::remove_dir_all(target).unwrap();
    copy_folder(source, target);
}

fn remove(path: &Path) {
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_directory_in_use_is_refused_and_its_server_is_not_disturbed() {
    let data = Data::new();
    let server = data.serve();
    let refused = data.refused();
    assert_eq!(
        (refused.exit, refused.code.as_str()),
        (Some(3), "data_dir_in_use"),
        "{refused:?}"
    );
    assert!(refused.log.contains("--url"), "{}", refused.log);
    sealed(&server.client(), "ada");
    server.stop();
    drop(data.serve());
}

#[test]
fn init_changes_nothing_in_a_directory_that_holds_anything() {
    let data = two_people();
    let content = |data: &Data| {
        files(&data.path())
            .into_iter()
            .map(|file| (file.clone(), std::fs::read(file).unwrap()))
            .collect::<Vec<_>>()
    };
    let before = content(&data);
    let output = run(&["init", "--json", "--data", data.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let problem: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(problem["code"], "data_dir_used");
    assert!(content(&data) == before, "init changed a used directory");
}

#[test]
fn missing_and_foreign_parts_are_refused_by_name_and_nothing_is_served() {
    let (own, other) = (two_people(), two_people());
    type Change = fn(&Path, &Path);
    let cases: [(&str, Change, &str); 16] = [
        (
            "no ledger store",
            |own, _| remove(&own.join("ledger")),
            "not_a_data_dir",
        ),
        (
            "no key store",
            |own, _| remove(&own.join("keystore")),
            "key_unavailable",
        ),
        ("no vault", |own, _| remove(&own.join("vault")), "key_unavailable"),
        (
            "an empty vault",
            |own, _| {
                remove(&own.join("vault"));
                std::fs::create_dir_all(own.join("vault/a")).unwrap();
            },
            "key_unavailable",
        ),
        ("no signing keys", |own, _| remove(&own.join("keys")), "key_unavailable"),
        (
            "no event key",
            |own, _| std::fs::remove_file(own.join("keys/main/event.pem")).unwrap(),
            "key_unavailable",
        ),
        (
            "no checkpoint key",
            |own, _| std::fs::remove_file(own.join("keys/main/checkpoint.pem")).unwrap(),
            "key_unavailable",
        ),
        (
            "no certificate key",
            |own, _| std::fs::remove_file(own.join("keys/main/certificate.pem")).unwrap(),
            "key_unavailable",
        ),
        (
            "another ledger store",
            |own, other| replace(&own.join("ledger"), &other.join("ledger")),
            "key_unavailable",
        ),
        (
            "another key store",
            |own, other| replace(&own.join("keystore"), &other.join("keystore")),
            "key_unavailable",
        ),
        (
            "another vault",
            |own, other| replace(&own.join("vault"), &other.join("vault")),
            "key_unavailable",
        ),
        (
            "another's second mirror",
            |own, other| replace(&own.join("vault/b"), &other.join("vault/b")),
            "key_unavailable",
        ),
        (
            "another key store with its vault",
            |own, other| {
                replace(&own.join("keystore"), &other.join("keystore"));
                replace(&own.join("vault"), &other.join("vault"));
            },
            "key_unavailable",
        ),
        (
            "another's signing keys",
            |own, other| replace(&own.join("keys"), &other.join("keys")),
            "key_unavailable",
        ),
        (
            "keys in each other's place",
            |own, _| {
                std::fs::copy(own.join("keys/main/event.pem"), own.join("keys/main/checkpoint.pem")).unwrap();
            },
            "key_unavailable",
        ),
        (
            "a signing key that is none",
            |own, _| std::fs::write(own.join("keys/main/event.pem"), "nonsense").unwrap(),
            "key_unavailable",
        ),
    ];
    for (what, change, code) in cases {
        let copy = own.copy();
        change(&copy.path(), &other.path());
        let refused = copy.refused();
        assert_eq!(
            (refused.exit, refused.code.as_str()),
            (Some(3), code),
            "{what}: {}",
            refused.log
        );
        assert!(!refused.log.contains("panicked"), "{what}: {}", refused.log);
    }
    // The control: an untouched copy serves, and so does the original still.
    for data in [own.copy(), own] {
        assert_eq!(states(&data.serve().client()), ["clear", "clear"]);
    }
}

#[test]
fn with_one_mirror_of_the_vault_left_everything_reads_and_an_erasure_waits_for_the_other() {
    for lost in ["a", "b"] {
        let data = two_people();
        let mirror = data.path().join("vault").join(lost);
        remove(&mirror);
        let server = data.serve();
        let client = server.client();
        assert_eq!(states(&client), ["clear", "clear"]);
        sealed(&client, "carol");
        erase(&client, "ada").problem(503, "key_unavailable");
        assert_ne!(
            states(&client)[0],
            "erased",
            "erased without the journal being durable everywhere"
        );
        assert_eq!(states(&client)[1..], ["clear", "clear"]);
        server.stop();
        // A good mirror in its place, as the vault's page says: the erasure that was recorded is finished.
        let remaining = data.path().join("vault").join(if lost == "a" { "b" } else { "a" });
        copy_folder(&remaining, &mirror);
        let server = data.serve();
        let client = server.client();
        let erasures = client.get("erasures").expect(200);
        for erasure in erasures["erasures"].as_array().unwrap() {
            assert_eq!(erasure["state"], "completed");
        }
        assert_eq!(erase(&client, "ada").expect(202)["state"], "completed");
        assert_eq!(states(&client), ["erased", "clear", "clear"]);
    }
}

#[test]
fn an_older_ledger_under_a_newer_vault_is_refused() {
    let data = two_people();
    let old = data.copy();
    let server = data.serve();
    sealed(&server.client(), "carol");
    server.stop();
    replace(&data.path().join("ledger"), &old.path().join("ledger"));
    let refused = data.refused();
    assert_eq!(
        (refused.exit, refused.code.as_str()),
        (Some(3), "ledger_rolled_back"),
        "{refused:?}"
    );
    // Refusing changed nothing: the right ledger would do. And with the old key store it is refused as well.
    replace(&data.path().join("keystore"), &old.path().join("keystore"));
    assert_eq!(data.refused().code, "ledger_rolled_back");
}

#[test]
fn a_ledger_that_went_another_way_is_refused() {
    let one = two_people();
    let other = one.copy();
    for (data, subjects) in [(&one, ["x", "y"]), (&other, ["v", "w"])] {
        let server = data.serve();
        subjects.iter().for_each(|subject| sealed(&server.client(), subject));
        server.stop();
    }
    // The same origin, the same size, another history.
    replace(&one.path().join("ledger"), &other.path().join("ledger"));
    assert_eq!(one.refused().code, "ledger_rolled_back");
}

#[test]
fn a_key_store_copied_before_an_erasure_opens_with_nothing_that_is_left() {
    let data = two_people();
    let old = data.copy();
    let server = data.serve();
    erase(&server.client(), "ada").expect(202);
    server.stop();
    let new = data.copy();
    replace(&data.path().join("keystore"), &old.path().join("keystore"));
    let refused = data.refused();
    assert_eq!(
        (refused.exit, refused.code.as_str()),
        (Some(3), "key_unavailable"),
        "{refused:?}"
    );
    assert!(refused.log.contains("the vault has no key of it"), "{}", refused.log);
    replace(&data.path().join("keystore"), &new.path().join("keystore"));
    let server = data.serve();
    let client = server.client();
    assert_eq!(states(&client), ["erased", "clear"]);
    client
        .post("subjects/lookup", &json!({"subject": "ada"}))
        .problem(410, "erased");
    client
        .post("subjects", &json!({"subject": "ada"}))
        .problem(409, "subject_erased");
    let again = json!({"events": [{"type": "t", "personal": [{"subject": "ada", "data": 1}]}]});
    client.post("streams/s/events", &again).problem(409, "subject_erased");
}

#[test]
fn the_first_thing_after_a_start_may_be_an_erasure() {
    let data = two_people();
    let server = data.serve();
    assert_eq!(erase(&server.client(), "ada").expect(202)["state"], "completed");
    server.stop();
    let server = data.serve();
    assert_eq!(erase(&server.client(), "bob").expect(202)["state"], "completed");
    assert_eq!(states(&server.client()), ["erased", "erased"]);
}

#[test]
fn a_key_store_that_forgot_a_person_says_unavailable_and_never_erased() {
    let data = two_people();
    let old = data.copy();
    let server = data.serve();
    sealed(&server.client(), "carol");
    server.stop();
    let newer = data.copy();
    replace(&data.path().join("keystore"), &old.path().join("keystore"));
    assert_eq!(data.try_serve().err().unwrap().code, "key_store_behind");
    // Behind more events than the start looks at, the person is missed by the first reader only.
    replace(&data.path().join("keystore"), &newer.path().join("keystore"));
    let server = data.serve();
    let others: Vec<_> = (0..300).map(|_| json!({"type": "t", "data": 1})).collect();
    let batch = json!({"events": others});
    server
        .client()
        .post("streams/other/events?proof=none", &batch)
        .expect(201);
    server.stop();
    replace(&data.path().join("keystore"), &old.path().join("keystore"));
    let server = data.serve();
    assert_eq!(states(&server.client()), ["clear", "clear", "key_unavailable"]);
}

#[test]
fn verify_and_fsck_write_nothing_and_refuse_a_directory_in_use() {
    let data = two_people();
    let content = |data: &Data| {
        let read = |file: std::path::PathBuf| (file.clone(), std::fs::read(file).unwrap());
        files(&data.path()).into_iter().map(read).collect::<Vec<_>>()
    };
    let before = content(&data);
    for command in ["verify", "fsck"] {
        let output = run(&[command, "--json", "--data", data.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["verdict"], "valid", "{report}");
        let after = content(&data);
        let names = |content: &[(std::path::PathBuf, Vec<u8>)]| {
            content.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&after), names(&before), "{command} made or removed files");
        let changed: Vec<_> = after
            .iter()
            .zip(&before)
            .filter(|(now, before)| now != before)
            .map(|(now, _)| &now.0)
            .collect();
        assert!(changed.is_empty(), "{command} wrote {changed:?}");
    }
    let server = data.serve();
    for command in ["verify", "fsck"] {
        let output = run(&[command, "--json", "--data", data.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let problem: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(problem["code"], "data_dir_in_use");
    }
    sealed(&server.client(), "carol");
}

#[test]
fn a_verification_of_an_older_ledger_under_a_newer_vault_finds_what_is_lost() {
    let data = two_people();
    let old = data.copy();
    let server = data.serve();
    sealed(&server.client(), "carol");
    server.stop();
    replace(&data.path().join("ledger"), &old.path().join("ledger"));
    for command in ["verify", "fsck"] {
        let output = run(&[command, "--json", "--data", data.path().to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_ne!(report["verdict"], "valid");
        assert!(!report["findings"].as_array().unwrap().is_empty());
    }
}

#[test]
fn who_is_named_by_a_refused_append_alone_is_forgotten_at_the_next_start() {
    let data = two_people();
    let server = data.serve();
    let client = server.client();
    let named = json!({
        "expected_version": 7,
        "events": [{"type": "t", "personal": [{"subject": "cyd", "data": "c"}], "actor": {"subject": "dan"}}],
    });
    client
        .post("streams/s/events", &named)
        .problem(409, "wrong_expected_version");
    let told = client.post("subjects", &json!({"subject": "eve"})).expect(200)["handle"].clone();
    let look_up = |client: &Client, subject: &str| client.post("subjects/lookup", &json!({"subject": subject}));
    // Whoever is told a handle, or has it put on record, finds it again.
    let named = ["fay", "gus", "hal"].map(|subject| json!({"subject": subject, "data": 1}));
    let refused = json!({"expected_version": 7, "events": [{"type": "t", "personal": named}]});
    client
        .post("streams/s/events", &refused)
        .problem(409, "wrong_expected_version");
    let looked_up = look_up(&client, "fay").expect(200)["handle"].clone();
    let access = client.post("subjects/access", &json!({"subject": "gus"})).expect(200);
    client.append("s", json!({"type": "t", "data": {"note": "Hal's"}}));
    let index = client.get("streams/s/events").expect(200)["events"][2]["index"].clone();
    let leak = json!({"events": [{"index": index, "bodies": ["data"]}], "subjects": ["hal"]});
    let leak = client.post("leaks", &leak).expect(201);
    server.stop();
    let server = data.serve();
    let client = server.client();
    for subject in ["ada", "bob"] {
        look_up(&client, subject).expect(200);
    }
    for (subject, handle) in [
        ("eve", &told),
        ("fay", &looked_up),
        ("gus", &access["handle"]),
        ("hal", &leak["handles"][0]),
    ] {
        assert_eq!(look_up(&client, subject).expect(200)["handle"], *handle, "{subject}");
    }
    for subject in ["cyd", "dan"] {
        look_up(&client, subject).problem(404, "subject_not_found");
    }
    sealed(&client, "cyd");
    assert_eq!(states(&client), ["clear", "clear", "clear"]);
}
