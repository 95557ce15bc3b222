//! `kill -9` under load.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::receipts::Keys;
use crate::support::{Client, Data, Dice, id};

/// What the writers were told, and what they sent without an answer.
#[derive(Default)]
struct Book {
    /// Index and leaf hash of every acknowledged event.
    acknowledged: Vec<(u64, String)>,
    /// Every batch sent: its name, its body, whether it was acknowledged.
    sent: Vec<(String, Value, bool)>,
}

fn batch(writer: u64, number: u64, size: u64) -> (String, Value) {
    let name = format!("batch-{writer}-{number}");
    let event = |n| {
        json!({"stream": format!("w{writer}"), "id": id(u128::from(writer << 40 | number << 16 | n)), "type": "t",
            "correlation_id": name, "data": {"size": size}, "personal": [{"subject": format!("person-{}", number % 50), "data": [writer, number, n]}]})
    };
    let events: Vec<_> = (0..size).map(event).collect();
    (name.clone(), json!({"events": events}))
}

/// Appends until the server is gone.
fn write(client: &Client, writer: u64, round: u64, book: &Mutex<Book>) {
    let mut dice = Dice::new(writer * 1_000 + round);
    for number in round * 10_000.. {
        let (name, body) = batch(writer, number, 1 + dice.below(12));
        let answer = client.try_send("POST", "events?proof=none", &[], body.to_string().as_bytes());
        let mut book = book.lock().unwrap();
        let Ok(answer) = answer else {
            book.sent.push((name, body, false));
            return;
        };
        for receipt in answer.expect(201)["events"].as_array().unwrap() {
            book.acknowledged.push((
                receipt["index"].as_u64().unwrap(),
                receipt["leaf_hash"].as_str().unwrap().to_owned(),
            ));
        }
        book.sent.push((name, body, true));
    }
}

/// Everything acknowledged is there, no batch is there in part, and the whole verifies.
fn check(client: &Client, keys: &Keys, book: &Book) {
    let leaves = keys.ledger(client, "main");
    for (index, leaf) in &book.acknowledged {
        let found = leaves.get(usize::try_from(*index).unwrap()).map(ToString::to_string);
        assert_eq!(
            found.as_ref(),
            Some(leaf),
            "the acknowledged event {index} is lost or another"
        );
    }
    let mut stored: HashMap<String, u64> = HashMap::new();
    for event in client.read_all("events?system=false&reveal=true", 1_000) {
        *stored
            .entry(event["correlation_id"].as_str().unwrap().to_owned())
            .or_default() += 1;
        assert_eq!(event["personal"][0]["state"], "clear", "{event}");
    }
    for (name, body, acknowledged) in &book.sent {
        let size = body["events"].as_array().unwrap().len() as u64;
        match stored.get(name) {
            None => assert!(!acknowledged, "the acknowledged {name} is lost"),
            Some(found) => assert_eq!(*found, size, "{name} was written in part"),
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_to_kill_9_and_nothing_is_half_written() {
    let data = Data::new();
    let mut dice = Dice::new(11);
    let book = Mutex::new(Book::default());
    let mut keys = None;
    for round in 0..6 {
        let server = data.serve();
        let client = server.client();
        let keys = keys.get_or_insert_with(|| Keys::of(&client, "main", data.vkey()));
        check(&client, keys, &book.lock().unwrap());
        // Whoever got no answer asks again, and gets one.
        for (_, body, acknowledged) in &mut book.lock().unwrap().sent {
            if !*acknowledged {
                let answer = client.post("events?proof=none", body);
                assert!([200, 201].contains(&answer.status), "{answer:?}");
                *acknowledged = true;
            }
        }
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (client, book) = (server.client(), &book);
                scope.spawn(move || write(&client, writer, round, book));
            }
            std::thread::sleep(Duration::from_millis(100 + dice.below(400)));
            server.kill();
        });
    }
    let server = data.serve();
    let book = book.into_inner().unwrap();
    check(&server.client(), keys.as_ref().unwrap(), &book);
    assert!(
        book.acknowledged.len() > 50,
        "only {} events were acknowledged at all",
        book.acknowledged.len()
    );
    assert!(!data.log().contains("panicked"), "{}", data.log());
}

#[test]
fn an_erasure_cut_off_by_kill_9_is_finished_at_the_next_start() {
    let data = Data::new();
    let mut dice = Dice::new(5);
    let mut erased: Vec<String> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    let mut people = vec!["bystander".to_owned()];
    let mut keys = None;
    for round in 0..8 {
        let server = data.serve();
        let client = server.client();
        let keys = keys.get_or_insert_with(|| Keys::of(&client, "main", data.vkey()));
        if round == 0 {
            client.append(
                "bystander",
                json!({"type": "t", "personal": [{"subject": "bystander", "data": "bystander"}]}),
            );
        }
        expect_states(&client, &people, &asked, &erased);
        keys.ledger(&client, "main");
        let fresh: Vec<_> = (0..12).map(|n| format!("p{round}-{n}")).collect();
        for person in &fresh {
            let block = |subject: &str| json!({"subject": subject, "data": subject});
            client.append(
                person,
                json!({"type": "t", "personal": [block(person), block("bystander")]}),
            );
        }
        people.extend(fresh.iter().cloned());
        let answered = std::thread::scope(|scope| {
            let eraser = scope.spawn(|| {
                let mut answered = Vec::new();
                for person in &fresh {
                    let request = json!({"subjects": [person], "basis": "art17_1_b", "reason": "request"}).to_string();
                    match client.try_send("POST", "erasures", &[], request.as_bytes()) {
                        Ok(answer) => {
                            assert_eq!(answer.expect(202)["state"], "completed");
                            answered.push(person.clone());
                        }
                        Err(_) => return (answered, Some(person.clone())),
                    }
                }
                (answered, None)
            });
            std::thread::sleep(Duration::from_micros(1_000 + dice.below(400_000)));
            server.kill();
            eraser.join().unwrap()
        });
        erased.extend(answered.0);
        asked.extend(answered.1);
    }
    let server = data.serve();
    expect_states(&server.client(), &people, &asked, &erased);
    assert!(
        !erased.is_empty() && !asked.is_empty(),
        "no kill came during an erasure"
    );
    assert!(!data.log().contains("panicked"), "{}", data.log());
}

/// Erased stays erased, who was never named stays readable, and no erasure is left open.
fn expect_states(client: &Client, people: &[String], asked: &[String], erased: &[String]) {
    let erasures = client.get("erasures").expect(200);
    let erasures = erasures["erasures"].as_array().unwrap();
    assert!(
        erasures.iter().all(|erasure| erasure["state"] == "completed"),
        "{erasures:?}"
    );
    let recorded: Vec<_> = erasures
        .iter()
        .map(|erasure| erasure["subjects"][0]["handle"].as_str().unwrap())
        .collect();
    for person in people {
        let Ok(read) = client.try_send("GET", &format!("streams/{person}/events?reveal=true"), &[], b"") else {
            panic!("the server is gone")
        };
        if read.status == 404 && person == "bystander" {
            continue; // before the first round
        }
        let read = read.expect(200);
        let block = &read["events"][0]["personal"][0];
        let is_erased = block["state"] == "erased";
        let is_recorded = recorded.contains(&block["handle"].as_str().unwrap());
        assert_eq!(is_erased, is_recorded, "{person}: {block}");
        if erased.contains(person) {
            assert!(is_erased, "{person} was erased, and is back");
            client
                .post("subjects/lookup", &json!({"subject": person}))
                .problem(410, "erased");
        } else if !asked.contains(person) {
            assert_eq!(
                (&block["state"], &block["data"]),
                (&json!("clear"), &json!(person)),
                "{person} was never named"
            );
        }
        if let Some(other) = read["events"][0]["personal"].get(1) {
            assert_eq!(
                (&other["state"], &other["data"]),
                (&json!("clear"), &json!("bystander"))
            );
        }
    }
}
