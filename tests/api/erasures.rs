//! Personal data: sealed, revealed and recorded, erased for good.

use serde_json::{Value, json};

use crate::support::receipts::Keys;
use crate::support::{Client, Data, Stop, eventually};

fn erase(client: &Client, subject: &str) -> Value {
    client
        .post(
            "erasures",
            &json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"}),
        )
        .expect(202)
}

fn sealed(subject: &str, data: &str) -> Value {
    json!({"type": "t", "data": 1, "personal": [{"subject": subject, "data": data}]})
}

fn reveals(client: &Client) -> usize {
    client.get("events?type=personal_data.revealed&limit=1000").expect(200)["events"]
        .as_array()
        .unwrap()
        .len()
}

#[test]
fn a_reveal_opens_and_is_recorded_once_a_request_and_only_if_something_was_opened() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    client.append("free", json!({"type": "t", "data": 1}));
    let reader = server.client_as(&["reader"], None);
    for path in [
        "events?reveal=true",
        "events/1?reveal=true",
        "streams/s/events?reveal=true",
    ] {
        reader.get(path).problem(403, "forbidden");
    }
    client.get("events?reveal=false").expect(200);
    client.get("streams/free/events?reveal=true").expect(200);
    assert_eq!(reveals(&client), 0);
    let opened = client.get("streams/s/events?reveal=true").expect(200);
    let blocks: Vec<_> = opened["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                event["personal"][0]["state"].clone(),
                event["personal"][0]["data"].clone(),
            )
        })
        .collect();
    assert_eq!(blocks, [(json!("clear"), json!("Ada")), (json!("clear"), json!("Bob"))]);
    assert_eq!(reveals(&client), 1);
    let record = client.get("events?type=personal_data.revealed").expect(200)["events"][0].clone();
    assert_eq!(
        (&record["stream"], &record["data"]["blocks"]),
        (&json!("$reveals"), &json!(2))
    );
    let concerned: Vec<_> = opened["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["index"].clone())
        .collect();
    assert_eq!(record["data"]["events"], json!(concerned));
    assert_eq!(record["data"]["key"], data.made["id"]);
    assert!(!record.to_string().contains("Ada"));
    client.get(&format!("events/{}?reveal=true", concerned[0])).expect(200);
    assert_eq!(reveals(&client), 2);
    erase(&client, "ada");
    let ada = client.get(&format!("events/{}?reveal=true", concerned[0])).expect(200);
    assert_eq!(ada["personal"][0]["state"], "erased");
    assert_eq!(reveals(&client), 2, "nothing was opened, but a reveal was recorded");
}

#[test]
fn an_erasure_leaves_tombstones_and_everybody_else_readable() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    let both = json!({"type": "t", "personal": [{"subject": "ada", "data": "A"}, {"subject": "bob", "data": "B"}]});
    client.append("s", both);
    client.append("s", sealed("ada", "more"));
    client.append("s", json!({"type": "acted", "actor": {"subject": "ada"}}));
    let ada = client.post("subjects/lookup", &json!({"subject": "ada"})).expect(200);
    assert_eq!(ada["state"], "active");
    let handle = ada["handle"].as_str().unwrap();
    let leaves = keys.ledger(&client, "main");
    let done = erase(&client, "ada");
    assert_eq!(
        (&done["state"], &done["subjects"]),
        (&json!("completed"), &json!([{"handle": handle, "state": "erased"}]))
    );
    assert!(done["requested_at"].is_string() && done["due_at"].is_string() && done["completed_at"].is_string());
    let id = done["id"].as_str().unwrap();
    assert_eq!(
        done["certificate"],
        format!("/v1/ledgers/main/erasures/{id}/certificate")
    );
    assert_eq!(client.get(&format!("erasures/{id}")).expect(200), done);
    assert_eq!(client.get("erasures").expect(200)["erasures"], json!([done]));
    let events = client.get("streams/s/events?reveal=true").expect(200);
    let block = |event: usize, at: usize| &events["events"][event]["personal"][at];
    for erased in [block(0, 0), block(1, 0)] {
        assert_eq!(
            (&erased["state"], &erased["certificate"]),
            (&json!("erased"), &done["certificate"])
        );
        assert!(erased.get("data").is_none());
    }
    assert_eq!(
        (&block(0, 1)["state"], &block(0, 1)["data"]),
        (&json!("clear"), &json!("B"))
    );
    client
        .post("subjects/lookup", &json!({"subject": "ada"}))
        .problem(410, "erased");
    assert_eq!(
        client
            .post("subjects/lookup", &json!({"subject": "ada"}))
            .json()
            .get("certificate"),
        None,
        "it leads somewhere"
    );
    let page = client.get(&format!("subjects/{handle}")).problem(410, "erased");
    assert_eq!(page["certificate"], done["certificate"]);
    assert_eq!(
        client.post("subjects/lookup", &json!({"subject": "bob"})).expect(200)["state"],
        "active"
    );
    // Nothing new about the erased person, in any form.
    for event in [
        sealed("ada", "again"),
        json!({"type": "t", "actor": {"subject": "ada"}}),
    ] {
        client
            .post("streams/s/events", &json!({"events": [event]}))
            .problem(409, "subject_erased");
    }
    client
        .post("subjects", &json!({"subject": "ada"}))
        .problem(409, "subject_erased");
    client.append("s", sealed("bob", "still"));
    // History stays verifiable, and what was there is what is there.
    assert!(keys.ledger(&client, "main").starts_with(&leaves));
    // And a second erasure says so, without a handle.
    let again = erase(&client, "ada");
    assert_eq!(again["subjects"], json!([{"state": "already_erased"}]));
}

#[test]
fn the_events_of_an_erasure_are_found_by_the_handle_and_name_nobody() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let handle = client.append("s", sealed("ada-the-person", "A"))["personal"][0]["handle"]
        .as_str()
        .unwrap()
        .to_owned();
    let done = client.post("erasures", &json!({"subjects": ["ada-the-person"], "basis": "art17_1_b", "reason": "request", "note": "asked by ada-the-person"})).expect(202);
    let id = done["id"].as_str().unwrap();
    let types = |path: String| -> Vec<String> {
        client
            .read_all(&path, 10)
            .iter()
            .map(|event| event["type"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        types(format!("events?correlation_id={id}")),
        ["erasure.requested", "erasure.completed"]
    );
    assert_eq!(types(format!("events?handle={handle}")), ["t", "erasure.requested"]);
    assert!(!client.get("events?reveal=true").text().contains("ada-the-person"));
}

#[test]
fn the_events_of_an_erasure_without_a_note_are_found_by_the_handle_too() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let handle = client.append("s", sealed("ada", "A"))["personal"][0]["handle"]
        .as_str()
        .unwrap()
        .to_owned();
    erase(&client, "ada");
    let found = client.read_all(&format!("events?handle={handle}"), 10);
    let types: Vec<_> = found.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["t", "erasure.requested"]);
}

#[test]
fn erasing_one_category_leaves_the_person_and_the_other_categories() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let event = json!({"type": "t", "personal": [{"subject": "ada", "category": "marketing", "data": 1}, {"subject": "ada", "category": "invoice", "data": 2}]});
    client.append("s", event);
    let request =
        json!({"subjects": ["ada"], "categories": ["marketing"], "basis": "art17_1_b", "reason": "objection"});
    let done = client.post("erasures", &request).expect(202);
    assert_eq!(
        (&done["state"], &done["categories"]),
        (&json!("completed"), &json!(["marketing"]))
    );
    let read = client.get("streams/s/events?reveal=true").expect(200);
    let blocks = &read["events"][0]["personal"];
    assert_eq!(
        (&blocks[0]["state"], &blocks[1]["state"], &blocks[1]["data"]),
        (&json!("erased"), &json!("clear"), &json!(2))
    );
    assert_eq!(
        client.post("subjects/lookup", &json!({"subject": "ada"})).expect(200)["state"],
        "active"
    );
    let again =
        json!({"events": [{"type": "t", "personal": [{"subject": "ada", "category": "marketing", "data": 3}]}]});
    client.post("streams/s/events", &again).problem(409, "subject_erased");
    client.append(
        "s",
        json!({"type": "t", "personal": [{"subject": "ada", "category": "invoice", "data": 4}]}),
    );
    client.append("s", json!({"type": "t", "actor": {"subject": "ada"}}));
    // Then the whole person.
    erase(&client, "ada");
    let read = client.get("streams/s/events?reveal=true").expect(200).to_string();
    assert!(!read.contains("\"clear\""), "{read}");
}

#[test]
fn erasures_of_several_people_by_id_or_by_handle() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let handle = |person: &str| client.append("s", sealed(person, person))["personal"][0]["handle"].clone();
    let handles: Vec<_> = ["a", "b", "c", "d"].into_iter().map(handle).collect();
    let grounds = |who: Value| {
        let mut request = who;
        request["basis"] = json!("retention");
        request["reason"] = json!("retention");
        request
    };
    let done = client
        .post("erasures", &grounds(json!({"subjects": ["a", "b", "a"]})))
        .expect(202);
    assert_eq!(done["subjects"].as_array().unwrap().len(), 2);
    let done = client
        .post("erasures", &grounds(json!({"handles": [handles[2], handles[0]]})))
        .expect(202);
    let states: Vec<_> = done["subjects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|subject| subject["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["erased", "already_erased"]);
    let read = client.get("streams/s/events?reveal=true").expect(200);
    let states: Vec<_> = read["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["personal"][0]["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["erased", "erased", "erased", "clear"]);
    let erasures = client.get("erasures").expect(200)["erasures"].as_array().unwrap().len();
    for (wrong, status, code) in [
        (json!({}), 422, "invalid_field"),
        (json!({"subjects": []}), 422, "invalid_field"),
        (
            json!({"subjects": ["d"], "handles": [handles[3]]}),
            422,
            "invalid_field",
        ),
        (json!({"subjects": ["d"], "categories": []}), 422, "invalid_field"),
        (
            json!({"subjects": ["d"], "note": "n".repeat(4_097)}),
            422,
            "invalid_field",
        ),
        (json!({"subjects": ["d"], "unknown": 1}), 422, "invalid_field"),
        (json!({"handles": ["xyz"]}), 422, "invalid_field"),
        (json!({"subjects": ["d", "never seen"]}), 404, "subject_not_found"),
        (
            json!({"handles": ["00000000000000000000000000000000"]}),
            404,
            "subject_not_found",
        ),
    ] {
        client.post("erasures", &grounds(wrong)).problem(status, code);
    }
    client
        .post(
            "erasures",
            &json!({"subjects": ["d"], "basis": "because", "reason": "request"}),
        )
        .problem(422, "invalid_field");
    client
        .post("erasures", &json!({"subjects": ["d"], "basis": "other"}))
        .problem(422, "invalid_field");
    assert_eq!(
        client.get("erasures").expect(200)["erasures"].as_array().unwrap().len(),
        erasures,
        "a refused request was recorded"
    );
    assert_eq!(
        client.post("subjects/lookup", &json!({"subject": "d"})).expect(200)["state"],
        "active"
    );
}

#[test]
fn erasures_and_appends_about_one_person_at_once_leave_nothing_readable_and_nothing_torn() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let keys = Keys::of(&client, "main", data.vkey());
    for round in 0..5 {
        let person = format!("person-{round}");
        client.append("s", sealed(&person, "first"));
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let (client, person) = (&client, &person);
                scope.spawn(move || {
                    for n in 0..60 {
                        let event = json!({"type": "t", "personal": [{"subject": person, "data": n}, {"subject": "bystander", "data": n}]});
                        let answer = client.post(&format!("streams/w{writer}/events"), &json!({"events": [event]}));
                        if answer.status != 201 {
                            let code = answer.json()["code"].as_str().unwrap().to_owned();
                            assert!(["subject_erasing", "subject_erased"].contains(&code.as_str()), "{answer:?}");
                        }
                    }
                });
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
            erase(&client, &person);
        });
    }
    for event in client.read_all("events?reveal=true&system=false", 1_000) {
        for block in event["personal"].as_array().unwrap() {
            assert!(
                ["erased", "clear"].contains(&block["state"].as_str().unwrap()),
                "{event}"
            );
        }
        if event["personal"].as_array().unwrap().len() == 2 {
            assert_eq!(
                (&event["personal"][0]["state"], &event["personal"][1]["state"]),
                (&json!("erased"), &json!("clear")),
                "{event}"
            );
        }
    }
    keys.ledger(&client, "main");
}

#[test]
fn an_erasure_completes_even_if_its_caller_hangs_up() {
    use std::io::Write;
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let address = server.url.strip_prefix("http://").unwrap();
    for n in 0..20_u64 {
        client.append("s", sealed(&format!("p{n}"), "x"));
        let body = json!({"subjects": [format!("p{n}")], "basis": "other", "reason": "request"}).to_string();
        // The answer to the first request is never read, so that closing resets the connection.
        let request = format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nPOST /v1/ledgers/main/erasures HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n{body}",
            data.key(),
            body.len()
        );
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(500 + n * 400));
        drop(socket);
    }
    eventually("every erasure that began is completed", || {
        let erasures = client.get("erasures").expect(200);
        let erasures = erasures["erasures"].as_array().unwrap();
        !erasures.is_empty() && erasures.iter().all(|erasure| erasure["state"] == "completed")
    });
}

#[test]
fn a_revoked_key_is_dead_even_if_its_revoker_hangs_up() {
    use std::io::Write;
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let address = server.url.strip_prefix("http://").unwrap();
    let mut keys = Vec::new();
    for n in 0..20_u64 {
        let made = client
            .post("/v1/api-keys", &json!({"name": "x", "roles": ["reader"]}))
            .expect(201);
        let id = made["id"].as_str().unwrap().to_owned();
        let request = format!(
            "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\nDELETE /v1/api-keys/{id} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
            data.key()
        );
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_micros(300 + n * 100));
        drop(socket);
        keys.push((id, made["api_key"].as_str().unwrap().to_owned()));
    }
    client.append("s", json!({"type": "t"})); // comes after all of them
    let revoked = client.get("events?type=api_key.revoked&limit=1000").expect(200);
    let revoked: Vec<_> = revoked["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["data"]["key"]["id"].as_str().unwrap().to_owned())
        .collect();
    assert!(!revoked.is_empty(), "no revocation got through");
    for (id, key) in keys.iter().filter(|(id, _)| revoked.contains(id)) {
        assert_eq!(
            server.client_with(key).get("events").status,
            401,
            "{id} is revoked, and works"
        );
    }
}

#[test]
fn an_erasure_completes_while_the_queue_is_full() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_QUEUE_EVENTS", "1")]);
    let client = server.client();
    for n in 0..10 {
        client.append("s", sealed(&format!("p{n}"), "x"));
    }
    std::thread::scope(|scope| {
        let stop = Stop::default();
        for writer in 0..6 {
            let (client, stop) = (&client, stop.flag());
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    client.post(
                        &format!("streams/w{writer}/events"),
                        &json!({"events": [{"type": "t"}]}),
                    );
                }
            });
        }
        for n in 0..10 {
            client.post(
                "erasures",
                &json!({"subjects": [format!("p{n}")], "basis": "other", "reason": "request"}),
            );
        }
    });
    eventually("every erasure that began is completed", || {
        let erasures = client.get("erasures").expect(200);
        erasures["erasures"]
            .as_array()
            .unwrap()
            .iter()
            .all(|erasure| erasure["state"] == "completed")
    });
}
