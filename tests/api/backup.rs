//! Backups: made while the store is in use, whole or not at all, put back by `oubliette restore`.

use oubliette::spec::certificate::{Certificate, Disclosed};
use oubliette::spec::signature::read_unverified;
use serde_json::{Value, json};

use crate::support::backups::{Place, back_up, beside, serve, two_people_backed_up};
use crate::support::people::{erase, opened, sealed, verification, verified};
use crate::support::{Client, Data, eventually, files};

#[test]
fn a_backup_of_an_idle_ledger_is_put_back_whole() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    let to = beside(&data, "backup");
    let view = back_up(&client, &to);
    assert_eq!((&view["state"], &view["attempts"]), (&json!("completed"), &json!(1)));
    assert_eq!(view["ledgers"][0]["ledger"], "main");
    assert!(view["files"].as_u64().unwrap() > 4 && view["bytes"].as_u64().unwrap() > 1_000);
    let listed = client.get("/v1/backups").expect(200);
    assert_eq!(listed["backups"], json!([view]));
    let record = client.get("events?type=backup.started").expect(200)["events"][0].clone();
    assert_eq!(
        (&record["stream"], &record["data"]["backup"]),
        (&json!("$backups"), &view["id"])
    );
    let checkpoint = client.get("log/checkpoint").text();
    server.stop();
    let names: Vec<_> = files(&to).iter().map(|file| file.display().to_string()).collect();
    for secret in ["vault", "pem", "slots"] {
        assert!(!names.iter().any(|name| name.ends_with(secret)), "{names:?}");
    }
    let (place, said) = Place::restored(&data, &to, &[]);
    assert_eq!(
        (&said["rollbacks"], &said["ledgers"][0]["frozen"]),
        (&json!([]), &json!(false))
    );
    let server = place.serve();
    let client = server.client();
    assert_eq!(client.get("log/checkpoint").text(), checkpoint);
    assert_eq!(opened(&client, "main"), [json!("Ada"), json!("Bob")]);
    client.append("s", sealed("ada", "more"));
}

#[test]
fn a_backup_from_before_an_erasure_opens_nothing_of_the_erased_and_everything_of_the_others() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    client.append("s", sealed("bob", "Bob"));
    let to = beside(&data, "backup");
    assert_eq!(back_up(&client, &to)["state"], "completed");
    let erased = erase(&client, "ada");
    client.append("s", sealed("eve", "lost"));
    let old = client.get("log/checkpoint").text();
    let origin = old.lines().next().unwrap().to_owned();
    server.stop();

    let refused = Place::of(&data);
    let (exit, said) = refused.restore(&data, &to, &[]);
    assert_eq!((exit, &said["code"]), (3, &json!("rollback_not_accepted")));
    assert!(!refused.data.path().exists());

    let (place, said) = Place::restored(&data, &to, &["--accept-rollback"]);
    let rollback = &said["rollbacks"][0];
    assert_eq!(rollback["origin"], format!("{origin}/r2"));
    assert_eq!(
        (&rollback["lost"], &rollback["erasures_recovered"]),
        (&json!(3), &json!(1))
    );
    let server = place.serve();
    let client = server.client();
    assert_eq!(opened(&client, "main-r1"), [json!({"state": "erased"}), json!("Bob")]);
    let first = client.get("events?limit=3").expect(200);
    let created = &first["events"][0];
    assert_eq!(
        (&created["type"], &created["data"]["origin"]),
        (&json!("ledger.created"), &rollback["origin"])
    );
    let continues = &created["data"]["continues"][0];
    assert_eq!(
        (&continues["origin"], &continues["last_known"]),
        (&json!(origin), &json!(old))
    );
    let recovered = &first["events"][1];
    assert_eq!(
        (&recovered["type"], &recovered["data"]["request"]),
        (&json!("erasure.recovered"), &erased["id"])
    );
    // The old log is read and grows no more; what happens to it stands in the new one.
    let frozen = client.post(
        "/v1/ledgers/main-r1/streams/s/events",
        &json!({"events": [{"type": "t"}]}),
    );
    frozen.problem(409, "ledger_frozen");
    let reveals = client.get("events?type=personal_data.revealed").expect(200);
    assert_eq!(reveals["events"][0]["data"]["origin"], json!(origin));
    client.append("s", sealed("bob", "again"));
    assert_eq!(opened(&client, "main"), [json!("again")]);
    for ledger in ["main", "main-r1"] {
        assert_eq!(verification(&client, ledger)["verdict"], "valid", "{ledger}");
    }
    server.stop();
    place.serve().stop();
}

#[test]
fn people_of_a_frozen_log_are_erased_in_the_log_that_goes_on() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("bob", "Bob"));
    let to = beside(&data, "backup");
    back_up(&client, &to);
    client.append("s", sealed("eve", "lost"));
    server.stop();
    let (place, _) = Place::restored(&data, &to, &["--accept-rollback"]);
    let server = place.serve();
    let client = server.client();
    assert_eq!(opened(&client, "main-r1"), [json!("Bob")]);
    let request =
        |note: Option<&str>| json!({"subjects": ["bob"], "basis": "art17_1_b", "reason": "request", "note": note});
    let path = "/v1/ledgers/main-r1/erasures";
    client.post(path, &request(Some("x"))).problem(422, "invalid_field");
    let done = client.post(path, &request(None)).expect(202);
    assert_eq!(done["state"], "completed");
    assert_eq!(opened(&client, "main-r1"), [json!({"state": "erased"})]);
    let listed = client.get(path).expect(200);
    assert_eq!(listed["erasures"], json!([done]));
    let certificate = client.get(done["certificate"].as_str().unwrap());
    assert_eq!(certificate.status, 200);
    verified(&certificate.body);
    let requested = client.get("events?type=erasure.requested").expect(200);
    assert!(
        requested["events"][0]["data"]["origin"]
            .as_str()
            .unwrap()
            .ends_with("/main")
    );
    client.get("erasures").expect(200);
    server.stop();
    let server = place.serve();
    assert_eq!(opened(&server.client(), "main-r1"), [json!({"state": "erased"})]);
}

#[test]
fn holds_restrictions_and_waiting_erasures_of_a_frozen_log_go_on_in_the_log_that_goes_on() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    for subject in ["ada", "bob", "cyd"] {
        client.append("s", sealed(subject, subject));
    }
    let named = |subject: &str, name: &str, value: Value| {
        let mut request = json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"});
        request[name] = value;
        request
    };
    let old = client
        .post("holds", &json!({"subjects": ["ada"], "ground": "old"}))
        .expect(201);
    let waits = client.post("erasures", &named("ada", "wait", json!(true))).expect(202);
    let restricted = client
        .post("restrictions", &json!({"subject": "bob", "reason": "objection"}))
        .expect(201);
    let to = beside(&data, "backup");
    back_up(&client, &to);
    client.append("s", sealed("eve", "lost"));
    server.stop();
    let (place, _) = Place::restored(&data, &to, &["--accept-rollback"]);
    let server = place.serve();
    let client = server.client();
    let path = |rest: &str| format!("/v1/ledgers/main-r1/{rest}");
    let state = |client: &Client, erasure: &Value| {
        let view = client.get(&path(&format!("erasures/{}", erasure["id"].as_str().unwrap())));
        view.expect(200)["state"].clone()
    };
    let (ada, bob, cyd) = (json!("ada"), json!({"state": "restricted"}), json!("cyd"));
    assert_eq!(opened(&client, "main-r1"), [ada, bob, cyd.clone()]);

    // A hold on the frozen log holds, and is none of the log that goes on.
    let mut hold = json!({"subjects": ["cyd"], "ground": "new", "note": "x"});
    client.post(&path("holds"), &hold).problem(422, "invalid_field");
    hold["note"] = Value::Null;
    let hold = client.post(&path("holds"), &hold).expect(201);
    let erasure = |subject| named(subject, "wait", json!(false));
    client
        .post(&path("erasures"), &erasure("cyd"))
        .problem(409, "legal_hold");
    assert_eq!(client.get("holds").expect(200)["holds"], json!([]));
    assert_eq!(client.get("restrictions").expect(200)["restrictions"], json!([]));
    // Those from before it was frozen end, and what waited runs, once.
    assert_eq!(state(&client, &waits), "held");
    client
        .post(&path("erasures"), &erasure("ada"))
        .problem(409, "legal_hold");
    let released = |hold: &Value| path(&format!("holds/{}", hold["id"].as_str().unwrap()));
    assert_eq!(client.delete(&released(&old)).expect(200)["state"], "released");
    assert_eq!(state(&client, &waits), "completed");
    let lifted = path(&format!("restrictions/{}", restricted["id"].as_str().unwrap()));
    assert_eq!(client.delete(&lifted).expect(200)["state"], "lifted");
    let in_grace = client
        .post(&path("erasures"), &named("bob", "grace_seconds", json!(2)))
        .expect(202);
    assert_eq!(in_grace["state"], "requested");
    let states = [json!({"state": "erased"}), json!({"state": "erasing"}), cyd.clone()];
    assert_eq!(opened(&client, "main-r1"), states);
    server.kill();

    let server = place.serve();
    let client = server.client();
    eventually("the grace is over", || state(&client, &in_grace) == "completed");
    client
        .post(&path("erasures"), &erasure("cyd"))
        .problem(409, "legal_hold");
    client.delete(&released(&hold)).expect(200);
    assert_eq!(
        client.post(&path("erasures"), &erasure("cyd")).expect(202)["state"],
        "completed"
    );
    assert_eq!(opened(&client, "main-r1"), vec![json!({"state": "erased"}); 3]);
    let requested = client.get("events?type=erasure.requested").expect(200);
    let requested = requested["events"].as_array().unwrap();
    assert_eq!(requested.len(), 3);
    let of_old = |event: &Value| {
        event["data"]["origin"]
            .as_str()
            .is_some_and(|origin| origin.ends_with("/main"))
    };
    assert!(requested.iter().all(of_old), "{requested:?}");
    assert_eq!(client.get("erasures").expect(200)["erasures"], json!([]));
    // What adds to a log, or has no end in one that grows no more, is refused.
    let reopening = json!({"subject": "ada", "reason": "mistake"});
    client
        .post(&path("reopenings"), &reopening)
        .problem(409, "ledger_frozen");
    let run = json!({"dry_run": false});
    client.post(&path("retention/runs"), &run).problem(409, "ledger_frozen");
    server.stop();
    place.serve().stop();
}

#[test]
fn what_waits_for_a_frozen_log_cannot_be_ended_by_the_name_of_the_log_that_goes_on() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    for subject in ["ada", "bob"] {
        client.append("s", sealed(subject, subject));
    }
    let to = beside(&data, "backup");
    back_up(&client, &to);
    client.append("s", sealed("eve", "lost"));
    server.stop();
    let (mut place, _) = Place::restored(&data, &to, &["--accept-rollback"]);
    place
        .environment
        .push(("OUBLIETTE_ERASURE_FOUR_EYES", "true".to_owned()));
    let server = place.serve();
    let client = server.client();
    let second = server.client_as(&["officer", "reader"], None);
    let of_frozen = |rest: &str| format!("/v1/ledgers/main-r1/{rest}");
    let request = json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request", "grace_seconds": 600});
    let waits = client.post(&of_frozen("erasures"), &request).expect(202);
    let erasure = format!("erasures/{}", waits["id"].as_str().unwrap());
    let restriction = json!({"subject": "bob", "reason": "objection"});
    let restricted = client.post(&of_frozen("restrictions"), &restriction).expect(201);
    let restriction = format!("restrictions/{}", restricted["id"].as_str().unwrap());

    // The log that goes on records them. They are none of its own.
    let (approval, cancellation) = (format!("{erasure}/approvals"), format!("{erasure}/cancellations"));
    let none = json!({});
    client.get(&erasure).problem(404, "not_found");
    second.post(&approval, &none).problem(404, "not_found");
    client.post(&cancellation, &none).problem(404, "not_found");
    client.get(&restriction).problem(404, "not_found");
    client.delete(&restriction).problem(404, "not_found");
    let states = |client: &Client| opened(client, "main-r1");
    assert_eq!(states(&client), [json!("ada"), json!({"state": "restricted"})]);

    let approved = second.post(&of_frozen(&approval), &none).expect(202);
    assert_eq!(approved["state"], "requested", "{approved}");
    client.post(&cancellation, &none).problem(404, "not_found");
    client.post(&of_frozen(&cancellation), &none).expect(202);
    second.post(&cancellation, &none).problem(404, "not_found");
    let cancelled = second.post(&of_frozen(&cancellation), &none).expect(202);
    assert_eq!(cancelled["state"], "cancelled", "{cancelled}");
    client.delete(&of_frozen(&restriction)).expect(200);
    assert_eq!(states(&client), [json!("ada"), json!("bob")]);
    server.stop();
    assert_eq!(states(&place.serve().client()), [json!("ada"), json!("bob")]);
}

#[test]
fn an_erasure_that_waited_in_the_backup_and_was_carried_out_since_is_told_to_its_end() {
    let data = Data::new();
    let server = serve(&data);
    let client = server.client();
    client.append("s", sealed("ada", "Ada"));
    let request = json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request", "grace_seconds": 4});
    let waits = client.post("erasures", &request).expect(202);
    let to = beside(&data, "backup");
    back_up(&client, &to);
    let path = format!("erasures/{}", waits["id"].as_str().unwrap());
    eventually("the grace is over", || {
        client.get(&path).expect(200)["state"] == "completed"
    });
    server.stop();
    let (place, _) = Place::restored(&data, &to, &["--accept-rollback"]);
    let server = place.serve();
    let client = server.client();
    let view = client.get(&format!("/v1/ledgers/main-r1/{path}")).expect(200);
    assert_eq!(
        (&view["state"], &view["subjects"]),
        (
            &json!("completed"),
            &json!([{"handle": waits["subjects"][0]["handle"], "state": "erased"}])
        )
    );
    assert_eq!(opened(&client, "main-r1"), [json!({"state": "erased"})]);
    let requested = client.get("events?type=erasure.requested").expect(200);
    assert_eq!(requested["events"].as_array().unwrap().len(), 1);
}

#[test]
fn exports_of_a_log_in_between_are_not_taken_for_those_of_the_frozen_log_before_it() {
    let (data, first) = two_people_backed_up();
    let server = serve(&data);
    server.client().append("s", sealed("eve", "lost"));
    server.stop();
    let (once, _) = Place::restored(&data, &first, &["--accept-rollback"]);
    let server = once.serve();
    let client = server.client();
    client.append("s", sealed("bob", "second"));
    let export = |ledger: &str| {
        let request = json!({"format": "ndjson", "reveal": true});
        let export = client.post(&format!("/v1/ledgers/{ledger}/exports"), &request);
        let content = export.expect(201)["content"].as_str().unwrap().to_owned();
        assert_eq!(client.get(&content).status, 200);
    };
    export("main");
    let second = beside(&data, "second");
    back_up(&client, &second);
    client.append("s", sealed("eve", "lost too"));
    server.stop();
    let twice = Place {
        data: data.elsewhere(),
        environment: once.environment.clone(),
    };
    let (exit, said) = twice.restore(&data, &second, &["--accept-rollback"]);
    assert_eq!(exit, 0, "{said}");
    let server = twice.serve();
    let client = server.client();
    let recipients = |subject: &str, ledger: &str| {
        let request = json!({"subjects": [subject], "basis": "art17_1_b", "reason": "request"});
        let erased = client
            .post(&format!("/v1/ledgers/{ledger}/erasures"), &request)
            .expect(202);
        let document = client.get(erased["certificate"].as_str().unwrap()).body;
        let certificate: Certificate = read_unverified(&document).unwrap();
        let kinds = certificate
            .recipients
            .disclosed
            .into_iter()
            .map(|disclosed| disclosed.what);
        kinds.collect::<Vec<_>>()
    };
    // Whoever took the second log took nothing of the first.
    assert_eq!(recipients("ada", "main-r1"), [Disclosed::Revealed]);
    assert_eq!(recipients("bob", "main-r2"), [Disclosed::Exported]);
}
