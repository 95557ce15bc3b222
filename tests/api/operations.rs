//! What operators rely on: readiness, logs with request ids, and an end that loses nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Data, eventually, files, id};

#[test]
fn an_idle_ledger_is_ready_and_one_without_its_vault_is_not() {
    let data = Data::new();
    let server = data.serve();
    let client = server.stranger();
    assert_eq!(client.get("/healthz").expect(200), json!({"status": "alive"}));
    let ready = client.get("/readyz");
    assert_eq!(ready.expect(200), json!({"status": "ready"}));
    assert_eq!(ready.header("cache-control"), "no-store");
    for file in files(&data.path().join("vault")) {
        let zeros = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        std::fs::write(file, zeros).unwrap();
    }
    eventually("readiness is looked at again", || client.get("/readyz").status == 503);
    let problem = client.get("/readyz").problem(503, "key_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("vault"), "{problem}");
    let folder = data.path();
    assert!(!problem.to_string().contains(folder.to_str().unwrap()), "{problem}");
    eventually("the log says why", || data.log().contains("vault"));
    client.get("/healthz").expect(200);
    let page = server.client().get("/metrics").text();
    assert!(page.contains("\noubliette_ready 0\n"), "{page}");
    assert!(page.contains("\noubliette_measure_failed 0\n"), "{page}");
}

/// The log's lines about requests, as JSON.
fn answered(data: &Data) -> Vec<Value> {
    let lines = data.log();
    lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["fields"]["message"] == "answered")
        .collect()
}

#[test]
fn every_request_has_an_id_and_one_line_without_anything_personal() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG_FORMAT", "json")]);
    let client = server.client();
    let given = client.send("GET", "/healthz", &[("x-request-id", "abc-1.2_Z")], b"");
    assert_eq!(given.header("x-request-id"), "abc-1.2_Z");
    let long = "a".repeat(65);
    for unfit in ["a b", "<script>", "ada@example.com", "", long.as_str()] {
        let answer = client.send("GET", "/healthz", &[("x-request-id", unfit)], b"");
        let fresh = answer.header("x-request-id").to_owned();
        assert!(
            fresh.len() == 32 && fresh.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{unfit}: {fresh}"
        );
    }
    let other = client.get("/healthz").header("x-request-id").to_owned();
    assert_ne!(other, client.get("/healthz").header("x-request-id"));
    client
        .send(
            "POST",
            "streams/private-stream/events",
            &[("x-request-id", "append-1")],
            json!({"events": [{"type": "t", "tags": ["private-tag"],
                "personal": [{"subject": "private-subject", "data": "private-data"}]}]})
            .to_string()
            .as_bytes(),
        )
        .expect(201);
    client.get("events?tag=private-tag").expect(200);
    client.get("/v1/private-path").problem(404, "not_found");
    server
        .stranger()
        .send("GET", "/v1/ledgers", &[("x-request-id", "stranger-1")], b"")
        .problem(401, "unauthenticated");
    let line = |id: &str| answered(&data).into_iter().find(|line| line["span"]["id"] == id);
    eventually("the last request is logged", || line("stranger-1").is_some());
    let append = line("append-1").unwrap();
    let fields = &append["fields"];
    assert_eq!(fields["method"], "POST");
    assert_eq!(fields["route"], "/v1/ledgers/{ledger}/streams/{stream}/events");
    assert_eq!(fields["status"], 201);
    assert!(fields["duration_us"].as_u64().unwrap() > 0);
    assert_eq!(fields["key"], data.key().split('_').nth(1).unwrap());
    assert!(fields["roles"].as_str().unwrap().contains("writer"));
    let stranger = line("stranger-1").unwrap();
    assert_eq!(
        (&stranger["fields"]["status"], &stranger["fields"]["key"]),
        (&json!(401), &json!("-"))
    );
    assert_eq!(answered(&data).len(), 12, "one line a request");
    let log = data.log();
    let secret = data.key().rsplit('_').next().unwrap();
    for private in ["private", "ada@example.com", "<script>", secret] {
        assert!(!log.contains(private), "{private} stands in the log:\n{log}");
    }
}

#[test]
fn a_log_of_warnings_names_the_request_also_for_work_on_other_threads() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG_FORMAT", "json"), ("OUBLIETTE_LOG", "warn")]);
    // One mirror differs: reading a key repairs it, on the thread that reads.
    let slots: Vec<_> = files(&data.path().join("vault/b"));
    for file in slots.iter().filter(|file| file.ends_with("slots")) {
        let zeros = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        std::fs::write(file, zeros).unwrap();
    }
    server
        .client()
        .send("GET", "/readyz", &[("x-request-id", "ready-1")], b"")
        .expect(200);
    let repair = || {
        let log = data.log();
        let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| {
            line["fields"]["message"]
                .as_str()
                .unwrap_or_default()
                .contains("repaired")
        })
    };
    // The log is written beside the work.
    eventually("the repair is logged", || repair().is_some());
    let repair = repair();
    assert_eq!(repair.unwrap()["span"]["id"], "ready-1", "{}", data.log());
    assert_eq!(answered(&data).len(), 0);
}

#[test]
fn paths_stay_out_of_the_log_at_every_level() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG", "trace,actix_web=trace,actix_http=trace")]);
    let client = server.client();
    client.append("private-stream", json!({"type": "t"}));
    client.get("events?tag=private-tag").expect(200);
    client
        .get("streams/private-stream/events?limit=private-limit")
        .problem(422, "invalid_field");
    client.get("/v1/private-path").problem(404, "not_found");
    client
        .post("streams/private-stream/events", &json!({"private-field": 1}))
        .problem(422, "invalid_field");
    server.stop();
    let log = data.log();
    assert!(log.contains("TRACE") && log.contains("answered"), "{log}");
    assert!(!log.contains("private"), "{log}");
}

#[test]
fn opened_data_stays_out_of_caches() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"type": "t", "personal": [{"subject": "p", "data": 1}]}));
    for path in [
        "events?reveal=true",
        "events/1?reveal=true",
        "streams/s/events",
        "events/none",
        "erasures",
    ] {
        assert_eq!(client.get(path).header("cache-control"), "no-store", "{path}");
    }
}

#[test]
fn the_access_log_can_be_switched_off() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG_FORMAT", "json"), ("OUBLIETTE_ACCESS_LOG", "false")]);
    server.client().get("/v1/ledgers").expect(200);
    server.stop();
    assert_eq!(answered(&data).len(), 0);
}

#[test]
fn a_stop_finishes_what_was_accepted() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let begun = AtomicBool::new(false);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..6_u128)
            .map(|writer| {
                let (client, begun) = (&client, &begun);
                scope.spawn(move || {
                    let mut acknowledged = Vec::new();
                    for n in 0..100_000 {
                        let event_id = id(writer * 1_000_000 + n);
                        let event = json!({"events": [{"id": event_id, "type": "t"}]}).to_string();
                        let path = format!("streams/w{writer}/events?proof=none");
                        match client.try_send("POST", &path, &[], event.as_bytes()) {
                            Ok(answer) if answer.status == 201 => acknowledged.push(event_id),
                            // Refused or cut off by the stop: never acknowledged, and never half done.
                            Ok(_) | Err(_) => break,
                        }
                        begun.store(true, Ordering::Relaxed);
                    }
                    acknowledged
                })
            })
            .collect();
        eventually("appends are under way", || begun.load(Ordering::Relaxed));
        std::thread::sleep(Duration::from_millis(300));
        server.stop();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    assert!(acknowledged.len() > 20);
    let server = data.serve();
    let client = server.client();
    let stored = client.read_all("events?system=false", 1_000);
    let stored: std::collections::HashSet<_> = stored.iter().map(|event| event["id"].as_str().unwrap()).collect();
    for event_id in &acknowledged {
        assert!(
            stored.contains(event_id.as_str()),
            "{event_id} was acknowledged and is lost"
        );
    }
}
