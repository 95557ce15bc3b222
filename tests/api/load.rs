//! Many at once.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::support::receipts::Keys;
use crate::support::{Data, Stop, id};

#[test]
fn of_many_writers_who_expect_the_same_version_exactly_one_wins() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let conflicts = AtomicUsize::new(0);
    let won: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let (client, conflicts) = (&client, &conflicts);
                scope.spawn(move || {
                    let (mut won, mut version) = (Vec::new(), 0);
                    while version < 60 {
                        let event = json!({"expected_version": version, "events": [{"type": "t", "data": writer}]});
                        let answer = client.post("streams/contested/events", &event);
                        if answer.status == 201 {
                            version += 1;
                            assert_eq!(answer.json()["events"][0]["stream_version"], version);
                            won.push(version);
                        } else {
                            let current = answer.problem(409, "wrong_expected_version")["current_version"]
                                .as_u64()
                                .unwrap();
                            assert!(current > version, "refused at the very version it expected");
                            conflicts.fetch_add(1, Ordering::Relaxed);
                            version = current;
                        }
                    }
                    won
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    let mut all = won.concat();
    all.sort_unstable();
    assert_eq!(
        all,
        (1..=all.len() as u64).collect::<Vec<_>>(),
        "a version has no winner, or two"
    );
    assert!(conflicts.load(Ordering::Relaxed) > 0, "nobody contended");
    let events = client.read_all("streams/contested/events", 100);
    for event in &events {
        let winner = won
            .iter()
            .position(|versions| versions.contains(&event["stream_version"].as_u64().unwrap()));
        assert_eq!(event["data"], json!(winner.unwrap()));
    }
    keys.ledger(&client, "main");
}

#[test]
fn what_was_acknowledged_can_be_read_at_once() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    std::thread::scope(|scope| {
        for writer in 0..6_u128 {
            let client = &client;
            scope.spawn(move || {
                for n in 0..40 {
                    let event_id = id(writer * 1_000 + n);
                    let receipt = client.append(&format!("w{writer}"), json!({"id": event_id, "type": "t", "data": n}));
                    let read = client.get(&format!("events/{event_id}")).expect(200);
                    assert_eq!(read["verification"]["leaf_hash"], receipt["leaf_hash"]);
                    let last = client
                        .get(&format!("streams/w{writer}/events?direction=backward&limit=1"))
                        .expect(200);
                    assert_eq!(last["events"][0]["id"], event_id);
                }
            });
        }
    });
}

#[test]
fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_QUEUE_EVENTS", "2")]);
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let refused = AtomicUsize::new(0);
    let taken: Vec<Vec<String>> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..12_u128)
            .map(|writer| {
                let (client, refused) = (&client, &refused);
                scope.spawn(move || {
                    let mut taken = Vec::new();
                    for n in 0..40 {
                        let event_id = id(writer * 1_000 + n);
                        let answer = client.post(
                            &format!("streams/w{writer}/events"),
                            &json!({"events": [{"id": event_id, "type": "t"}]}),
                        );
                        if answer.status == 201 {
                            taken.push(event_id);
                        } else {
                            answer.problem(429, "overloaded");
                            assert!(
                                answer
                                    .header("retry-after")
                                    .parse::<u64>()
                                    .is_ok_and(|seconds| seconds > 0)
                            );
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                    taken
                })
            })
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(refused.load(Ordering::Relaxed) > 0, "the queue was never full");
    let stored = client.read_all("events?system=false", 1_000);
    let mut stored: Vec<_> = stored
        .iter()
        .map(|event| event["id"].as_str().unwrap().to_owned())
        .collect();
    let mut taken = taken.concat();
    stored.sort_unstable();
    taken.sort_unstable();
    assert_eq!(stored, taken, "what was taken and what is stored differ");
    assert_eq!(client.get("/readyz").status, 200);
    keys.ledger(&client, "main");
}

#[test]
fn a_ledger_begins_with_its_founding_whoever_hurries() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    std::thread::scope(|scope| {
        let stop = Stop::default();
        for _ in 0..4 {
            let (client, stop) = (&client, stop.flag());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    for n in 0..8 {
                        client.post(
                            &format!("/v1/ledgers/new-{n}/streams/s/events"),
                            &json!({"events": [{"type": "t"}]}),
                        );
                    }
                }
            });
        }
        for n in 0..8 {
            client
                .post("/v1/ledgers", &json!({"ledger": format!("new-{n}")}))
                .expect(201);
        }
    });
    for n in 0..8 {
        assert_eq!(
            client.get(&format!("/v1/ledgers/new-{n}/events/0")).expect(200)["type"],
            "ledger.created"
        );
    }
    server.stop();
    drop(data.serve());
}

#[test]
fn a_ledger_whose_founding_was_refused_is_not_there() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_QUEUE_EVENTS", "1")]);
    let client = server.client();
    std::thread::scope(|scope| {
        let stop = Stop::default();
        for writer in 0..8 {
            let (client, stop) = (&client, stop.flag());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    client.post(
                        &format!("streams/w{writer}/events"),
                        &json!({"events": [{"type": "t"}]}),
                    );
                }
            });
        }
        let mut refused = 0;
        for n in 0..40 {
            let (name, wanted) = (format!("/v1/ledgers/n{n}/events"), json!({"ledger": format!("n{n}")}));
            let answer = client.post("/v1/ledgers", &wanted);
            if answer.status == 201 {
                continue;
            }
            answer.problem(429, "overloaded");
            refused += 1;
            client.get(&name).problem(404, "ledger_not_found");
            client
                .post(&name, &json!({"events": [{"stream": "s", "type": "t"}]}))
                .problem(404, "ledger_not_found");
            if refused >= 3 {
                break;
            }
        }
        assert!(refused > 0, "no founding was refused");
    });
    server.stop();
    drop(data.serve());
}
