//! The life of a person's data: restrictions, holds, erasures that wait, reopenings, suppression, retention.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Client, Data, Server, copy_folder, eventually};

fn sealed(subject: &str, category: &str, data: &str) -> Value {
    json!({"type": "t", "data": 1, "personal": [{"subject": subject, "category": category, "data": data}]})
}

fn erasure(subject: &str) -> Value {
    json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"})
}

fn with(mut request: Value, name: &str, value: Value) -> Value {
    request[name] = value;
    request
}

pub(crate) fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap().to_owned()
}

pub(crate) fn handle(client: &Client, subject: &str) -> String {
    let found = client.post("subjects/lookup", &json!({"subject": subject})).expect(200);
    found["handle"].as_str().unwrap().to_owned()
}

/// States of all blocks of a stream, opened where they open.
pub(crate) fn states(client: &Client, stream: &str) -> Vec<String> {
    let read = client.get(&format!("streams/{stream}/events?reveal=true")).expect(200);
    let events = read["events"].as_array().unwrap();
    let blocks = events.iter().flat_map(|event| event["personal"].as_array().unwrap());
    blocks
        .map(|block| block["state"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn types(client: &Client, stream: &str) -> Vec<String> {
    let events = client.read_all(&format!("streams/{stream}/events"), 100);
    events
        .iter()
        .map(|event| event["type"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn verified(client: &Client) {
    let job = client.post("verifications", &json!({})).expect(202);
    let path = format!("verifications/{}", id(&job));
    eventually("the verification ends", || {
        client.get(&path).expect(200)["report"].is_object()
    });
    let job = client.get(&path).expect(200);
    assert_eq!(job["report"]["verdict"], "valid", "{job}");
}

fn state_of(client: &Client, erasure: &str) -> String {
    let view = client.get(&format!("erasures/{erasure}")).expect(200);
    view["state"].as_str().unwrap().to_owned()
}

fn second(server: &Server) -> Client {
    server.client_as(&["officer", "reader"], None)
}

#[test]
fn a_restriction_closes_what_is_there_and_stores_what_comes_and_is_lifted_again() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let id_of_event = "0190163d-8694-739b-8aea-966c26f8ad91";
    let first = with(sealed("ada", "billing", "A"), "id", json!(id_of_event));
    client.append("s", first.clone());
    client.append("s", sealed("bob", "billing", "B"));
    let request = json!({"subject": "ada", "reason": "accuracy_contested"});
    let placed = client.post("restrictions", &request).expect(201);
    assert_eq!(
        (&placed["state"], &placed["handle"]),
        (&json!("active"), &json!(handle(&client, "ada")))
    );
    let found = client.post("subjects/lookup", &json!({"subject": "ada"})).expect(200);
    assert_eq!(found["state"], "restricted");
    assert_eq!(states(&client, "s"), ["restricted", "clear"]);
    // Also without a reveal, and in folded states.
    let sealed_read = client.get("streams/s/events").expect(200);
    assert_eq!(sealed_read["events"][0]["personal"][0]["state"], "restricted");
    // New data is stored; nothing of it opens. A repeat cannot be compared.
    client.append("s", sealed("ada", "never-seen", "more"));
    assert_eq!(states(&client, "s"), ["restricted", "clear", "restricted"]);
    client
        .post("streams/s/events", &json!({"events": [first.clone()]}))
        .problem(409, "subject_restricted");
    // It survives a restart.
    server.kill();
    let server = data.serve();
    let client = server.client();
    assert_eq!(states(&client, "s"), ["restricted", "clear", "restricted"]);
    assert_eq!(client.get("restrictions").expect(200)["restrictions"], json!([placed]));
    let path = format!("restrictions/{}", id(&placed));
    let lifted = client.delete(&path).expect(200);
    assert_eq!(lifted["state"], "lifted");
    assert_eq!(client.delete(&path).expect(200), lifted, "lifting twice");
    assert_eq!(client.get(&path).expect(200), lifted);
    assert_eq!(states(&client, "s"), ["clear", "clear", "clear"]);
    client.post("streams/s/events", &json!({"events": [first]})).expect(200);
    assert_eq!(
        types(&client, "$restrictions"),
        ["restriction.placed", "restriction.lifted"]
    );
    verified(&client);
}

#[test]
fn a_restriction_of_a_category_leaves_the_others_and_keeps_from_erasure() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "billing", "A"));
    client.append("s", sealed("ada", "marketing", "A"));
    let request = json!({"subject": "ada", "categories": ["billing"], "reason": "legal_claims"});
    let placed = client.post("restrictions", &request).expect(201);
    assert_eq!(states(&client, "s"), ["restricted", "clear"]);
    assert_eq!(
        client.post("subjects/lookup", &json!({"subject": "ada"})).expect(200)["state"],
        "active"
    );
    client
        .post("erasures", &erasure("ada"))
        .problem(409, "subject_restricted");
    let marketing = with(erasure("ada"), "categories", json!(["marketing"]));
    assert_eq!(client.post("erasures", &marketing).expect(202)["state"], "completed");
    // The whole person waits, and goes with the restriction's end.
    let waits = client
        .post("erasures", &with(erasure("ada"), "wait", json!(true)))
        .expect(202);
    assert_eq!(
        (&waits["state"], &waits["holds"]),
        (&json!("held"), &json!([placed["id"]]))
    );
    client.delete(&format!("restrictions/{}", id(&placed))).expect(200);
    assert_eq!(state_of(&client, &id(&waits)), "completed");
    assert_eq!(states(&client, "s"), ["erased", "erased"]);
    verified(&client);
}

#[test]
fn a_hold_blocks_an_erasure_and_one_that_waits_runs_on_release() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "billing", "A"));
    let request = json!({"subjects": ["ada"], "ground": "litigation-17", "note": "ask ada-the-person's lawyer"});
    let hold = client.post("holds", &request).expect(201);
    assert_eq!(
        (&hold["state"], &hold["ground"]),
        (&json!("active"), &json!("litigation-17"))
    );
    let refused = client.post("erasures", &erasure("ada")).problem(409, "legal_hold");
    let detail = refused["detail"].as_str().unwrap();
    assert!(
        detail.contains("litigation-17") && detail.contains(&id(&hold)),
        "{detail}"
    );
    let waits = client
        .post("erasures", &with(erasure("ada"), "wait", json!(true)))
        .expect(202);
    assert_eq!(
        (&waits["state"], &waits["holds"]),
        (&json!("held"), &json!([hold["id"]]))
    );
    assert_eq!(waits["subjects"][0]["state"], "active");
    // Nothing is fenced meanwhile: what is held must be readable.
    assert_eq!(states(&client, "s"), ["clear"]);
    client
        .get(&format!("erasures/{}/certificate", id(&waits)))
        .problem(503, "not_ready");
    // A restart changes nothing.
    server.kill();
    let server = data.serve();
    let client = server.client();
    assert_eq!(state_of(&client, &id(&waits)), "held");
    let path = format!("holds/{}", id(&hold));
    let released = client.delete(&path).expect(200);
    assert_eq!(released["state"], "released");
    assert_eq!(client.delete(&path).expect(200), released, "releasing twice");
    let done = client.get(&format!("erasures/{}", id(&waits))).expect(200);
    assert_eq!(done["state"], "completed");
    assert_eq!(
        (&done["requested_at"], &done["due_at"]),
        (&waits["requested_at"], &waits["due_at"])
    );
    assert_eq!(states(&client, "s"), ["erased"]);
    assert_eq!(client.get(&format!("erasures/{}/certificate", id(&waits))).status, 200);
    assert_eq!(
        types(&client, "$erasures"),
        ["erasure.submitted", "erasure.requested", "erasure.completed"]
    );
    assert!(
        !client
            .get("events?reveal=true&limit=100")
            .text()
            .contains("ada-the-person")
    );
    verified(&client);
}

#[test]
fn a_hold_expires_while_nobody_serves_and_what_waited_runs_at_start() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let appended = client.append("s", sealed("ada", "billing", "A"));
    let now: jiff::Timestamp = appended["recorded_at"].as_str().unwrap().parse().unwrap();
    let end = now + jiff::SignedDuration::from_secs(5);
    let request = json!({"categories": ["billing"], "ground": "audit", "expires_at": end.to_string()});
    let hold = client.post("holds", &request).expect(201);
    let waits = client
        .post("erasures", &with(erasure("ada"), "wait", json!(true)))
        .expect(202);
    assert_eq!(waits["state"], "held");
    server.kill();
    std::thread::sleep(Duration::from_secs(6));
    let server = data.serve();
    let client = server.client();
    assert_eq!(state_of(&client, &id(&waits)), "completed");
    assert_eq!(
        client.get(&format!("holds/{}", id(&hold))).expect(200)["state"],
        "expired"
    );
}

#[test]
fn a_hold_covers_what_fits_all_that_it_names() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for (stream, subject, category) in [
        ("case", "ada", "billing"),
        ("case", "ada", "marketing"),
        ("other", "bob", "billing"),
        ("case", "eve", "marketing"),
    ] {
        client.append(stream, sealed(subject, category, "x"));
    }
    let hold = json!({"streams": ["case"], "categories": ["billing"], "ground": "case-1"});
    client.post("holds", &hold).expect(201);
    client.post("erasures", &erasure("ada")).problem(409, "legal_hold");
    let marketing = with(erasure("ada"), "categories", json!(["marketing"]));
    client.post("erasures", &marketing).expect(202);
    client.post("erasures", &erasure("bob")).expect(202);
    client.post("erasures", &erasure("eve")).expect(202);
    // A person who is named is held before there is any data of the category.
    client.append("case", sealed("dan", "marketing", "x"));
    let hold = json!({"subjects": ["dan"], "categories": ["billing"], "ground": "case-2"});
    client.post("holds", &hold).expect(201);
    client.post("erasures", &erasure("dan")).problem(409, "legal_hold");
}

#[test]
fn a_grace_fences_at_once_and_two_keys_can_take_the_erasure_back() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_GRACE_SECONDS", "3600")]);
    let (client, other) = (server.client(), second(&server));
    client.append("s", sealed("ada", "billing", "A"));
    let waits = client.post("erasures", &erasure("ada")).expect(202);
    assert_eq!(
        (&waits["state"], &waits["subjects"][0]["state"]),
        (&json!("requested"), &json!("erasing"))
    );
    assert!(waits["destroy_after"].is_string() && waits["due_at"].is_string());
    assert_eq!(states(&client, "s"), ["erasing"]);
    let more = json!({"events": [sealed("ada", "billing", "more")]});
    client.post("streams/s/events", &more).problem(409, "subject_erasing");
    client.post("erasures", &erasure("ada")).problem(409, "subject_erasing");
    // It survives a crash, also under another setting.
    server.kill();
    let server = data.serve();
    let client = server.client();
    assert_eq!(states(&client, "s"), ["erasing"]);
    assert_eq!(state_of(&client, &id(&waits)), "requested");
    let path = format!("erasures/{}/cancellations", id(&waits));
    let first = client.post(&path, &json!({})).expect(202);
    assert_eq!(first["cancellation_by"], json!([data.made["id"]]));
    client.post(&path, &json!({})).problem(409, "second_key_needed");
    assert_eq!(states(&client, "s"), ["erasing"]);
    let other_again = second(&server);
    let cancelled = other_again.post(&path, &json!({})).expect(202);
    assert_eq!(
        (&cancelled["state"], &cancelled["subjects"][0]["state"]),
        (&json!("cancelled"), &json!("active"))
    );
    assert_eq!(cancelled["cancellation_by"].as_array().unwrap().len(), 2);
    other_again.post(&path, &json!({})).problem(409, "erasure_settled");
    assert_eq!(states(&client, "s"), ["clear"]);
    client.post("streams/s/events", &more).expect(201);
    client
        .get(&format!("erasures/{}/certificate", id(&waits)))
        .problem(404, "not_found");
    // A restart does not bring it back.
    server.kill();
    let client = data.serve();
    assert_eq!(states(&client.client(), "s"), ["clear", "clear"]);
    verified(&client.client());
    drop(other);
}

#[test]
fn an_erasure_destroys_when_its_grace_is_over() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "billing", "A"));
    let waits = client
        .post("erasures", &with(erasure("ada"), "grace_seconds", json!(2)))
        .expect(202);
    assert_eq!(waits["state"], "requested");
    eventually("the grace is over", || state_of(&client, &id(&waits)) == "completed");
    assert_eq!(states(&client, "s"), ["erased"]);
    client
        .post(&format!("erasures/{}/cancellations", id(&waits)), &json!({}))
        .problem(409, "erasure_settled");
    client
        .post("subjects/lookup", &json!({"subject": "ada"}))
        .problem(410, "erased");
    // And one whose grace ends while nobody serves.
    client.append("s", sealed("bob", "billing", "B"));
    let waits = client
        .post("erasures", &with(erasure("bob"), "grace_seconds", json!(2)))
        .expect(202);
    server.kill();
    std::thread::sleep(Duration::from_secs(3));
    let server = data.serve();
    assert_eq!(state_of(&server.client(), &id(&waits)), "completed");
    verified(&server.client());
}

#[test]
fn a_hold_placed_within_the_grace_stops_the_destruction() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "billing", "A"));
    let waits = client
        .post("erasures", &with(erasure("ada"), "grace_seconds", json!(2)))
        .expect(202);
    let hold = client
        .post("holds", &json!({"subjects": ["ada"], "ground": "late"}))
        .expect(201);
    std::thread::sleep(Duration::from_secs(9));
    // It does not go on, and its keys stay withheld.
    let view = client.get(&format!("erasures/{}", id(&waits))).expect(200);
    assert_eq!(
        (&view["state"], &view["subjects"][0]["state"]),
        (&json!("held"), &json!("erasing"))
    );
    assert_eq!(states(&client, "s"), ["erasing"]);
    client.delete(&format!("holds/{}", id(&hold))).expect(200);
    assert_eq!(state_of(&client, &id(&waits)), "completed");
    // Afterwards there is nothing to hold.
    client
        .post("holds", &json!({"subjects": ["ada"], "ground": "later"}))
        .problem(409, "subject_erased");
}

#[test]
fn four_eyes_approve_or_cancel() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_FOUR_EYES", "true")]);
    let (client, other) = (server.client(), second(&server));
    for subject in ["ada", "bob"] {
        client.append("s", sealed(subject, "billing", subject));
    }
    let waits = client.post("erasures", &erasure("ada")).expect(202);
    assert_eq!(waits["state"], "pending_approval");
    assert_eq!(states(&client, "s"), ["clear", "clear"]);
    let path = format!("erasures/{}/approvals", id(&waits));
    client.post(&path, &json!({})).problem(409, "second_key_needed");
    server.kill();
    let server = data.serve();
    let other = {
        drop(other);
        second(&server)
    };
    let client = server.client();
    let done = other.post(&path, &json!({})).expect(202);
    assert_eq!(done["state"], "completed");
    assert_eq!(states(&client, "s"), ["erased", "clear"]);
    other.post(&path, &json!({})).problem(409, "erasure_settled");
    server.stop();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_FOUR_EYES", "true")]);
    let client = server.client();
    let waits = client.post("erasures", &erasure("bob")).expect(202);
    let cancelled = client
        .post(&format!("erasures/{}/cancellations", id(&waits)), &json!({}))
        .expect(202);
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(states(&client, "s"), ["erased", "clear"]);
    let listed = client.get("erasures").expect(200);
    let listed: Vec<_> = listed["erasures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|erasure| erasure["state"].clone())
        .collect();
    assert_eq!(listed, ["cancelled", "completed"]);
}

#[test]
fn of_a_cancellation_and_the_destruction_exactly_one_wins() {
    let data = Data::new();
    let server = data.serve();
    let (client, other) = (server.client(), second(&server));
    let mut won = (0, 0);
    for round in 0..6 {
        let subject = format!("s{round}");
        client.append(&subject, sealed(&subject, "billing", "x"));
        let hold = client
            .post("holds", &json!({"subjects": [subject], "ground": "race"}))
            .expect(201);
        let waits = client
            .post("erasures", &with(erasure(&subject), "wait", json!(true)))
            .expect(202);
        let cancel = format!("erasures/{}/cancellations", id(&waits));
        client.post(&cancel, &json!({})).expect(202);
        let release = format!("holds/{}", id(&hold));
        let status = std::thread::scope(|scope| {
            let cancelling = scope.spawn(|| other.post(&cancel, &json!({})).status);
            if round % 2 == 0 {
                std::thread::sleep(Duration::from_millis(2));
            }
            client.delete(&release).expect(200);
            cancelling.join().unwrap()
        });
        let (state, block) = (state_of(&client, &id(&waits)), states(&client, &subject));
        match status {
            202 => {
                assert_eq!((state.as_str(), block), ("cancelled", vec!["clear".to_owned()]));
                won.0 += 1;
            }
            _ => {
                assert_eq!((state.as_str(), block), ("completed", vec!["erased".to_owned()]));
                won.1 += 1;
            }
        }
    }
    assert_eq!(won.0 + won.1, 6);
    verified(&client);
}

#[test]
fn a_hold_and_an_erasure_at_once_never_both_succeed() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for round in 0..8 {
        let subject = format!("s{round}");
        client.append(&subject, sealed(&subject, "billing", "x"));
        let (held, erased) = std::thread::scope(|scope| {
            let holding = scope.spawn(|| {
                client
                    .post("holds", &json!({"subjects": [subject], "ground": "race"}))
                    .status
            });
            let erasing = scope.spawn(|| client.post("erasures", &erasure(&subject)).status);
            (holding.join().unwrap(), erasing.join().unwrap())
        });
        assert!(matches!((held, erased), (201, 409) | (409, 202)), "{held} {erased}");
        let expected = if erased == 202 { "erased" } else { "clear" };
        assert_eq!(states(&client, &subject), [expected]);
    }
}

#[test]
fn a_reopened_person_has_a_new_handle_and_nothing_leads_from_the_old_one() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada-the-person", "billing", "A"));
    let old = handle(&client, "ada-the-person");
    let request = json!({"subject": "ada-the-person", "reason": "new_relationship"});
    client.post("reopenings", &request).problem(409, "not_erased");
    client
        .post("reopenings", &json!({"subject": "nobody", "reason": "consent"}))
        .problem(404, "subject_not_found");
    client.post("erasures", &erasure("ada-the-person")).expect(202);
    let categories = with(request.clone(), "categories", json!(["billing"]));
    client.post("reopenings", &categories).problem(409, "subject_erased");
    let reopened = client.post("reopenings", &request).expect(201);
    let new = reopened["handle"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    assert_eq!(handle(&client, "ada-the-person"), new);
    client.append("s", sealed("ada-the-person", "billing", "again"));
    assert_eq!(states(&client, "s"), ["erased", "clear"]);
    client.get(&format!("subjects/{old}")).problem(410, "erased");
    let event = client.get("events?type=subject.reopened&reveal=true").expect(200)["events"][0].to_string();
    for name in [&old, &new, "ada-the-person"] {
        assert!(!event.contains(name), "{event}");
    }
    // Only from outside it can be said who came back.
    assert_eq!(client.read_all(&format!("events?handle={old}"), 10).len(), 2);
    assert_eq!(client.read_all(&format!("events?handle={new}"), 10).len(), 1);
    // It survives a restart, and can be erased again.
    server.kill();
    let server = data.serve();
    let client = server.client();
    assert_eq!(states(&client, "s"), ["erased", "clear"]);
    client.append("s", sealed("ada-the-person", "billing", "third"));
    client.post("erasures", &erasure("ada-the-person")).expect(202);
    assert_eq!(states(&client, "s"), ["erased", "erased", "erased"]);
    client
        .post("subjects", &json!({"subject": "ada-the-person"}))
        .problem(409, "subject_erased");
    verified(&client);
}

#[test]
fn a_reopened_category_has_the_next_generation_and_the_old_one_stays_erased() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let marketing = with(erasure("ada"), "categories", json!(["marketing"]));
    client.append("s", sealed("ada", "billing", "B"));
    let request = json!({"subject": "ada", "categories": ["marketing"], "reason": "consent"});
    for generation in 2..4 {
        client.append("s", sealed("ada", "marketing", "M"));
        client.post("erasures", &marketing).expect(202);
        client
            .post(
                "streams/s/events",
                &json!({"events": [sealed("ada", "marketing", "no")]}),
            )
            .problem(409, "subject_erased");
        let reopened = client.post("reopenings", &request).expect(201);
        let expected = json!([{"category": "marketing", "generation": generation}]);
        assert_eq!(reopened["categories"], expected);
        assert_eq!(reopened["handle"], handle(&client, "ada"));
        client.post("reopenings", &request).problem(409, "not_erased");
    }
    let last = client.append("s", sealed("ada", "marketing", "M"));
    assert_eq!(last["personal"][0]["generation"], 3);
    let expected = ["clear", "erased", "erased", "clear"];
    assert_eq!(states(&client, "s"), expected);
    server.kill();
    let server = data.serve();
    let client = server.client();
    assert_eq!(states(&client, "s"), expected);
    client.append("s", sealed("ada", "marketing", "M"));
    // The erasure of everything reaches every generation.
    client.post("erasures", &erasure("ada")).expect(202);
    assert_eq!(states(&client, "s"), ["erased"; 5]);
    verified(&client);
}

#[test]
fn appends_during_erasures_and_reopenings_are_whole_or_refused() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let marketing = with(erasure("ada"), "categories", json!(["marketing"]));
    let request = json!({"subject": "ada", "categories": ["marketing"], "reason": "consent"});
    client.append("s", sealed("ada", "marketing", "0"));
    std::thread::scope(|scope| {
        let appending = scope.spawn(|| {
            let mut codes = Vec::new();
            for _ in 0..150 {
                let body = json!({"events": [sealed("ada", "marketing", "x")]});
                codes.push(client.post("streams/s/events", &body).status);
            }
            codes
        });
        for _ in 0..10 {
            client.post("erasures", &marketing).expect(202);
            client.post("reopenings", &request).expect(201);
        }
        let codes = appending.join().unwrap();
        assert!(codes.iter().all(|code| matches!(code, 201 | 409)), "{codes:?}");
    });
    client.append("s", sealed("ada", "marketing", "last"));
    let events = client.read_all("streams/s/events?reveal=true", 50);
    let newest = events.last().unwrap()["personal"][0]["generation"].clone();
    assert_eq!(newest, 11);
    for event in &events {
        let block = &event["personal"][0];
        let expected = if block["generation"] == newest {
            "clear"
        } else {
            "erased"
        };
        assert_eq!(block["state"], expected, "{block}");
    }
    verified(&client);
}

#[test]
fn a_suppression_expires_or_is_off() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_SUPPRESSION", "2s")]);
    let client = server.client();
    client.append("s", sealed("ada", "billing", "A"));
    client.post("erasures", &erasure("ada")).expect(202);
    client
        .post("subjects", &json!({"subject": "ada"}))
        .problem(409, "subject_erased");
    let gone = || client.post("subjects/lookup", &json!({"subject": "ada"})).status == 404;
    eventually("the suppression expires", gone);
    client.append("s", sealed("ada", "billing", "new"));
    assert_eq!(states(&client, "s"), ["erased", "clear"]);
    server.stop();
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_SUPPRESSION", "none")]);
    let client = server.client();
    client.post("erasures", &erasure("ada")).expect(202);
    client
        .post("subjects/lookup", &json!({"subject": "ada"}))
        .problem(404, "subject_not_found");
    client.append("s", sealed("ada", "billing", "newer"));
    assert_eq!(states(&client, "s"), ["erased", "erased", "clear"]);
    server.stop();
    // And one that expires while nobody serves.
    let server = data.serve_with(&[("OUBLIETTE_ERASURE_SUPPRESSION", "2s")]);
    let client = server.client();
    client.post("erasures", &erasure("ada")).expect(202);
    server.kill();
    std::thread::sleep(Duration::from_secs(5));
    let server = data.serve();
    server
        .client()
        .post("subjects/lookup", &json!({"subject": "ada"}))
        .problem(404, "subject_not_found");
    verified(&server.client());
}

const RULES: &str = r#"[{name = "marketing", category = "marketing", keep = "4s"}, {name = "invoices", category = "invoice", keep = "10y"}]"#;

#[test]
fn retention_erases_what_is_due_and_what_nothing_holds() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_RETENTION", RULES)]);
    let client = server.client();
    for subject in ["old", "held", "restricted", "young"] {
        client.append("s", sealed(subject, "marketing", subject));
    }
    client.append("s", sealed("old", "invoice", "kept by law"));
    client
        .post("holds", &json!({"subjects": ["held"], "ground": "case"}))
        .expect(201);
    let restriction = json!({"subject": "restricted", "reason": "legal_claims"});
    let restriction = client.post("restrictions", &restriction).expect(201);
    std::thread::sleep(Duration::from_secs(5));
    client.append("s", sealed("young", "marketing", "again"));
    let dry = client.post("retention/runs", &json!({"dry_run": true})).expect(200);
    let rule = &dry["rules"][0];
    let counts = |rule: &Value| ["due", "erased", "held", "restricted"].map(|name| rule[name].as_u64().unwrap());
    assert_eq!((counts(rule), counts(&dry["rules"][1])), ([3, 0, 1, 1], [0, 0, 0, 0]));
    assert_eq!((&dry["state"], dry.get("id")), (&json!("dry_run"), None));
    assert_eq!(client.get("retention/runs").expect(200)["runs"], json!([]));
    let run = client.post("retention/runs", &json!({"dry_run": false})).expect(201);
    assert_eq!(counts(&run["rules"][0]), [3, 1, 1, 1]);
    client.delete(&format!("restrictions/{}", id(&restriction))).expect(200);
    let expected = ["erased", "clear", "clear", "clear", "clear", "clear"];
    assert_eq!(states(&client, "s"), expected);
    let erasure = client
        .get(&format!("erasures/{}", run["erasures"][0].as_str().unwrap()))
        .expect(200);
    assert_eq!(
        (&erasure["state"], &erasure["categories"]),
        (&json!("completed"), &json!(["marketing"]))
    );
    let recorded = client.get(&format!("retention/runs/{}", id(&run))).expect(200);
    assert_eq!(
        (&recorded["state"], &recorded["rules"]),
        (&json!("completed"), &run["rules"])
    );
    assert_eq!(
        types(&client, "$retention"),
        ["retention.started", "retention.completed"]
    );
    // The period was over; the person did not object: new data may come.
    let new = client.append("s", sealed("old", "marketing", "new"));
    assert_eq!(new["personal"][0]["generation"], 2);
    let again = client.post("retention/runs", &json!({"dry_run": true})).expect(200);
    assert_eq!(again["rules"][0]["held"], 1);
    verified(&client);
}

#[test]
fn bad_requests_name_the_field_and_record_nothing() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada", "billing", "A"));
    let before = client.get("events?limit=1000").text();
    let past = "2020-01-01T00:00:00Z";
    for (path, body, code) in [
        ("holds", json!({"ground": "x"}), "invalid_field"),
        ("holds", json!({"subjects": ["ada"]}), "invalid_field"),
        (
            "holds",
            json!({"subjects": ["ada"], "ground": "Mr Smith"}),
            "invalid_field",
        ),
        ("holds", json!({"subjects": [], "ground": "x"}), "invalid_field"),
        (
            "holds",
            json!({"subjects": ["ada"], "ground": "x", "expires_at": past}),
            "invalid_field",
        ),
        (
            "holds",
            json!({"categories": ["a"], "ground": "x", "note": "n"}),
            "invalid_field",
        ),
        (
            "holds",
            json!({"subjects": ["ada"], "ground": "x", "unknown": 1}),
            "invalid_field",
        ),
        (
            "holds",
            json!({"streams": ["ada@example.com"], "ground": "x"}),
            "personal_data_refused",
        ),
        ("restrictions", json!({"reason": "objection"}), "invalid_field"),
        ("restrictions", json!({"subject": "ada"}), "invalid_field"),
        (
            "restrictions",
            json!({"subject": "ada", "reason": "whim"}),
            "invalid_field",
        ),
        (
            "restrictions",
            json!({"subject": "ada", "categories": [], "reason": "objection"}),
            "invalid_field",
        ),
        (
            "restrictions",
            json!({"subject": "ada", "handle": "5f0c6a1e9b3d4c2f8e7a6b5c4d3e2f10", "reason": "objection"}),
            "invalid_field",
        ),
        ("reopenings", json!({"subject": "ada"}), "invalid_field"),
        (
            "reopenings",
            json!({"subject": "ada", "reason": "consent", "categories": ["a", "a"]}),
            "invalid_field",
        ),
        (
            "erasures",
            with(erasure("ada"), "grace_seconds", json!(2_592_001)),
            "invalid_field",
        ),
        ("retention/runs", json!({}), "invalid_field"),
    ] {
        let problem = client.post(path, &body).problem(422, code);
        assert!(problem["errors"][0]["pointer"].is_string(), "{path} {body}: {problem}");
        assert!(!problem.to_string().contains("ada"), "{path} {body}: {problem}");
    }
    for (path, body, status, code) in [
        (
            "holds",
            json!({"subjects": ["nobody"], "ground": "x"}),
            404,
            "subject_not_found",
        ),
        (
            "holds",
            json!({"streams": ["none"], "ground": "x"}),
            404,
            "stream_not_found",
        ),
        (
            "restrictions",
            json!({"subject": "nobody", "reason": "objection"}),
            404,
            "subject_not_found",
        ),
        (
            "retention/runs",
            json!({"dry_run": true}),
            409,
            "retention_not_configured",
        ),
        (
            "erasures/0190163d-8694-739b-8aea-966c26f8ad91/approvals",
            json!({}),
            404,
            "not_found",
        ),
        ("erasures/nonsense/cancellations", json!({}), 404, "not_found"),
    ] {
        client.post(path, &body).problem(status, code);
    }
    for path in [
        "holds/nonsense",
        "restrictions/0190163d-8694-739b-8aea-966c26f8ad91",
        "retention/runs/x",
    ] {
        client.get(path).problem(404, "not_found");
    }
    client
        .delete("holds/0190163d-8694-739b-8aea-966c26f8ad91")
        .problem(404, "not_found");
    assert_eq!(client.get("events?limit=1000").text(), before);
    for name in ["hold.placed", "restriction.x", "subject.reopened", "retention.started"] {
        let event = json!({"events": [{"type": name, "data": 1}]});
        client.post("streams/s/events", &event).problem(422, "invalid_field");
    }
    // Officers only; auditors may look.
    let writer = server.client_as(&["writer", "reader"], None);
    let auditor = server.client_as(&["auditor"], None);
    let hold = json!({"subjects": ["ada"], "ground": "x"});
    for stranger in [&writer, &auditor] {
        stranger.post("holds", &hold).problem(403, "forbidden");
        stranger
            .post("retention/runs", &json!({"dry_run": true}))
            .problem(403, "forbidden");
    }
    auditor.get("holds").expect(200);
    writer.get("holds").problem(403, "forbidden");
}

#[test]
fn access_shows_all_of_one_person_and_nothing_of_others() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let both = json!({"type": "t", "personal": [{"subject": "ada", "data": "A"}, {"subject": "bob", "data": "Secret of Bob"}]});
    client.append("s", both);
    for n in 0..4 {
        client.append("s", sealed("ada", "billing", &format!("A{n}")));
        client.append("s", sealed("bob", "billing", "Secret of Bob"));
    }
    let hold = client
        .post("holds", &json!({"subjects": ["ada"], "ground": "case"}))
        .expect(201);
    let reveals = || client.read_all("streams/$reveals/events", 100).len();
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let mut request = json!({"subject": "ada", "limit": 3});
        if !after.is_null() {
            request["after"] = after;
        }
        let page = client.post("subjects/access", &request).expect(200);
        assert!(!page.to_string().contains("Bob"), "{page}");
        assert_eq!(
            (&page["state"], &page["holds"]),
            (&json!("active"), &json!([hold["id"]]))
        );
        assert_eq!(page["categories"], json!(["billing", "default"]));
        for event in page["events"].as_array().unwrap() {
            let blocks = event["personal"].as_array().unwrap();
            seen.extend(blocks.iter().map(|block| block["data"].clone()));
        }
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(seen, ["A", "A0", "A1", "A2", "A3"]);
    assert_eq!(reveals(), 2);
    let restriction = json!({"subject": "ada", "categories": ["billing"], "reason": "objection"});
    client.post("restrictions", &restriction).expect(201);
    let page = client.post("subjects/access", &json!({"subject": "ada"})).expect(200);
    assert_eq!(page["events"][1]["personal"][0]["state"], "restricted");
    server
        .client_as(&["officer"], None)
        .post("subjects/access", &json!({"subject": "ada"}))
        .problem(403, "forbidden");
    client
        .post("subjects/access", &json!({"subject": "nobody"}))
        .problem(404, "subject_not_found");
    client
        .post("subjects/access", &json!({"subject": "ada", "limit": 0}))
        .problem(422, "invalid_field");
    client.post("erasures", &erasure("bob")).expect(202);
    client
        .post("subjects/access", &json!({"subject": "bob"}))
        .problem(410, "erased");
    client.get("subjects/access").problem(405, "method_not_allowed");
}

#[test]
fn an_older_key_store_is_brought_to_what_the_ledger_says() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for subject in ["ada", "bob", "eve"] {
        client.append("s", sealed(subject, "billing", subject));
    }
    server.stop();
    let old = data.copy();
    let server = data.serve();
    let client = server.client();
    let restriction = json!({"subject": "ada", "reason": "objection"});
    client.post("restrictions", &restriction).expect(201);
    client
        .post("erasures", &with(erasure("bob"), "grace_seconds", json!(3_600)))
        .expect(202);
    let expected = ["restricted", "erasing", "clear"];
    assert_eq!(states(&client, "s"), expected);
    server.stop();
    let keys = |data: &Data| data.path().join("keystore");
    std::fs::remove_dir_all(keys(&data)).unwrap();
    copy_folder(&keys(&old), &keys(&data));
    let server = data.serve();
    let client = server.client();
    assert_eq!(states(&client, "s"), expected);
    client
        .post("streams/s/events", &json!({"events": [sealed("bob", "billing", "no")]}))
        .problem(409, "subject_erasing");
    verified(&client);
}

#[test]
fn two_who_erase_one_person_make_one_erasure_of_them() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for round in 0..5 {
        let subject = format!("s{round}");
        client.append(&subject, sealed(&subject, "billing", "x"));
        let request = json!({"subjects": [subject, subject], "basis": "art17_1_b", "reason": "request"});
        let answers = std::thread::scope(|scope| {
            let threads = [(); 3].map(|()| scope.spawn(|| client.post("erasures", &request)));
            threads.map(|thread| thread.join().unwrap())
        });
        let named = answers
            .iter()
            .filter(|answer| answer.status == 202 && answer.json()["subjects"][0]["handle"].is_string());
        assert_eq!(named.count(), 1);
        assert!(answers.iter().all(|answer| matches!(answer.status, 202 | 409)));
    }
    // The certificate says how many identifiers were given.
    client.append("s", sealed("a", "billing", "x"));
    client.append("s", sealed("b", "billing", "x"));
    let done = client
        .post(
            "erasures",
            &json!({"subjects": ["a", "b"], "basis": "art17_1_a", "reason": "request"}),
        )
        .expect(202);
    let certificate = client.get(&format!("erasures/{}/certificate", id(&done))).body;
    let text = String::from_utf8_lossy(&certificate).into_owned();
    assert!(text.contains("Identifiers given: 2."));
    verified(&client);
}
