//! Who comes at the moment of a fence: appends, reveals, exports, backups; and a horizon that passes under a restore.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use oubliette::env::{Clock, System};
use oubliette::spec::ids::Timestamp;
use serde_json::{Value, json};

use crate::support::backups::{Place, back_up, beside, serve, two_people_backed_up};
use crate::support::people::{erase, opened, payloads, sealed, verification};
use crate::support::steps::{Break, Steps};
use crate::support::{Data, OUBLIETTE, copy_folder, eventually};

/// Lets workers run while something is done in their midst; gives what they returned.
fn beside_workers<T: Send>(number: u64, work: impl Fn(u64, &AtomicBool) -> T + Sync, act: impl FnOnce()) -> Vec<T> {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (work, is_over) = (&work, &is_over);
        let workers: Vec<_> = (0..number).map(|n| scope.spawn(move || work(n, is_over))).collect();
        act();
        is_over.store(true, Ordering::Release);
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn whatever_is_appended_at_the_moment_of_a_fence_is_refused_or_erased() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for round in 0..6 {
        let person = format!("p-{round}");
        client.append("s", sealed(&person, "before"));
        let answered = Mutex::new(None::<Instant>);
        let taken = beside_workers(
            4,
            |worker, is_over| {
                let client = server.client();
                let mut taken = 0;
                while !is_over.load(Ordering::Acquire) {
                    let began = Instant::now();
                    let both = json!({"type": "t", "personal": [{"subject": person, "data": "late"}, {"subject": "bob", "data": "his"}]});
                    let path = format!("streams/s-{worker}/events");
                    let answer = client.post(&path, &json!({"events": [both]}));
                    if answer.status == 201 {
                        let erased = *answered.lock().unwrap();
                        assert!(
                            erased.is_none_or(|erased| began < erased),
                            "taken after the erasure was answered"
                        );
                        taken += 1;
                    } else {
                        let code = answer.json()["code"].as_str().unwrap().to_owned();
                        assert!(["subject_erasing", "subject_erased"].contains(&code.as_str()), "{code}");
                        answer.problem(409, &code);
                    }
                }
                taken
            },
            || {
                std::thread::sleep(Duration::from_millis(30 + round * 10));
                assert_eq!(erase(&client, &person)["state"], "completed");
                *answered.lock().unwrap() = Some(Instant::now());
                std::thread::sleep(Duration::from_millis(60));
            },
        );
        assert!(taken.iter().sum::<u64>() > 0, "nobody came before the fence");
        let events = client.read_all("events?type=t&reveal=true", 1_000);
        for block in events.iter().flat_map(|event| event["personal"].as_array().unwrap()) {
            let is_his = block["data"] == "his" && block["state"] == "clear";
            assert!(is_his || block["state"] == "erased", "{block}");
        }
    }
    // Nothing was stored of anybody after the request that names them.
    let requested = client.read_all("events?type=erasure.requested", 100);
    for event in client.read_all("events?type=t", 1_000) {
        for block in event["personal"].as_array().unwrap() {
            let erased = requested
                .iter()
                .find(|one| one["data"]["subjects"][0]["handle"] == block["handle"]);
            assert!(
                erased.is_none_or(|one| one["index"].as_u64() > event["index"].as_u64()),
                "{event}"
            );
        }
    }
    assert_eq!(verification(&client, "main")["verdict"], "valid");
}

/// A time as answers have it.
fn time(value: &Value) -> Timestamp {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn no_reveal_that_begins_after_the_fence_holds_plaintext_and_what_was_given_is_on_record() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let mut given = 0;
    for round in 0..6 {
        let person = format!("p-{round}");
        let stream = format!("s-{round}");
        for _ in 0..20 {
            client.append(&stream, sealed(&person, "plaintext"));
        }
        let read = format!("streams/{stream}/events?reveal=true");
        let answers = beside_workers(
            6,
            |_, is_over| {
                let client = server.client();
                let mut answers = Vec::new();
                while !is_over.load(Ordering::Acquire) {
                    let began = System.now();
                    let answer = client.get(&read);
                    answers.push((began, answer.status == 200 && answer.text().contains("plaintext")));
                }
                answers
            },
            || {
                std::thread::sleep(Duration::from_millis(40 + round * 7));
                assert_eq!(erase(&client, &person)["state"], "completed");
                std::thread::sleep(Duration::from_millis(60));
            },
        );
        let fenced_at = time(&payloads(&client, "main", "erasure.completed").last().unwrap()["fenced_at"]);
        let answers: Vec<_> = answers.into_iter().flatten().collect();
        assert!(answers.iter().any(|(began, held)| *began < fenced_at && *held));
        assert!(answers.iter().any(|(began, _)| *began > fenced_at));
        for (began, held) in &answers {
            assert!(
                *began <= fenced_at || !held,
                "plaintext at {began}, fenced at {fenced_at}"
            );
        }
        given += answers.iter().filter(|(_, held)| *held).count();
        let records = payloads(&client, "main", "personal_data.revealed").len();
        // One that the fence overtook after its record gives nothing.
        assert!(
            records >= given,
            "{given} answers held plaintext, {records} are on record"
        );
    }
}

#[test]
fn an_opened_export_made_and_fetched_beside_an_erasure_holds_nothing_once_it_is_answered() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for round in 0..4 {
        let person = format!("p-{round}");
        let secret = format!("plaintext-{round}-");
        for _ in 0..30 {
            client.append("s", sealed(&person, &secret));
        }
        let answered = Mutex::new(None::<Instant>);
        let fetched = beside_workers(
            3,
            |_, is_over| {
                let client = server.client();
                let mut held = 0;
                while !is_over.load(Ordering::Acquire) {
                    let began = Instant::now();
                    let made = client.post("exports", &json!({"format": "ndjson", "reveal": true, "type": "t"}));
                    let content = made.expect(201)["content"].as_str().unwrap().to_owned();
                    // A download that the fence meets breaks off.
                    let Ok(answer) = client.try_send("GET", &content, &[], b"") else {
                        continue;
                    };
                    let holds = answer.text().contains(&secret);
                    let erased = *answered.lock().unwrap();
                    assert!(
                        !holds || erased.is_none_or(|erased| began < erased),
                        "opened after the erasure"
                    );
                    held += u64::from(holds);
                }
                held
            },
            || {
                std::thread::sleep(Duration::from_millis(150));
                assert_eq!(erase(&client, &person)["state"], "completed");
                *answered.lock().unwrap() = Some(Instant::now());
                std::thread::sleep(Duration::from_millis(150));
            },
        );
        assert!(fetched.iter().sum::<u64>() > 0, "no export opened anything before");
    }
}

#[test]
fn a_backup_during_erasures_is_whole_and_brings_nobody_back() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    let people: Vec<_> = (0..30).map(|n| format!("p-{n}")).collect();
    people
        .iter()
        .for_each(|person| drop(client.append("s", sealed(person, person))));
    client.append("s", sealed("bob", "Bob"));
    let mut whole = Vec::new();
    beside_workers(
        1,
        |_, _| {
            for person in &people {
                erase(&server.client(), person);
                std::thread::sleep(Duration::from_millis(40));
            }
        },
        || {
            for number in 0..6 {
                let to = beside(&data, &format!("backup-{number}"));
                match back_up(&client, &to)["state"].as_str().unwrap() {
                    "completed" => whole.push(to),
                    state => assert_eq!((state, to.join("manifest.cose").exists()), ("failed", false)),
                }
            }
        },
    );
    assert_eq!(payloads(&client, "main", "erasure.completed").len(), people.len());
    server.stop();
    assert!(!whole.is_empty(), "no backup was ever whole");
    for backup in &whole {
        let copy = data.copy();
        let (place, said) = Place::restored(&copy, backup, &["--accept-rollback"]);
        let old = if said["rollbacks"].as_array().unwrap().is_empty() {
            "main"
        } else {
            "main-r1"
        };
        let server = place.serve();
        let found = opened(&server.client(), old);
        let (bob, others) = found.split_last().unwrap();
        assert_eq!((bob, others.len()), (&json!("Bob"), people.len()));
        assert!(
            others.iter().all(|one| *one == json!({"state": "erased"})),
            "{others:?}"
        );
        server.stop();
    }
}

/// Waits until a process stands still.
fn stands_still(id: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    status
        .rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('T'))
}

#[test]
fn a_horizon_that_passes_under_a_restore_kills_the_key_all_the_same() {
    let (before, backup) = two_people_backed_up();
    let server = before.serve_with(&[("OUBLIETTE_ERASURE_HORIZON_SECONDS", "8")]);
    let erased = erase(&server.client(), "ada");
    let due = time(&erased["epoch_key_due_at"]);
    server.stop();
    let expire = || {
        while System.now() <= due {
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    // Begun while the key lives, and stopped early, in its middle, and late.
    let stages: Vec<_> = [2, 12, 24, 60, 140].map(|at| (at, before.copy())).into_iter().collect();
    let restores: Vec<_> = stages
        .iter()
        .map(|(at, data)| {
            let (from, folder) = (beside(data, "backup"), data.path().parent().unwrap().to_owned());
            copy_folder(&backup, &from);
            let place = Place::within(data, "target");
            let steps = Steps::new(&folder, &[&place.data.path(), &data.path()], Break::Stop);
            steps.arm(*at);
            let child = Command::new(OUBLIETTE)
                .args(place.arguments(data, &from, &["--accept-rollback"]))
                .envs(steps.environment())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            (place, steps, child)
        })
        .collect();
    for (_, steps, child) in &restores {
        eventually("the restore stands still", || stands_still(child.id()));
        assert!(steps.hit().is_some());
    }
    assert!(System.now() < due, "the machine is too slow for this test");
    expire();
    for ((_, data), (place, steps, child)) in stages.iter().zip(restores) {
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-CONT", &id]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(output.status.success(), "{:?}: {said}", steps.hit());
        let server = place.serve();
        assert_eq!(
            opened(&server.client(), "main-r1"),
            [json!({"state": "erased"}), json!("Bob")]
        );
        server.stop();
        // What could be begun while the key lived cannot be begun again.
        let (exit, said) = Place::within(data, "again").restore(data, &backup, &["--accept-rollback"]);
        assert_eq!((exit, &said["code"]), (3, &json!("backup_expired")), "{said}");
    }
}
