//! `/metrics`: who may see it, what stands in it, and what never does.

use std::io::{Read, Write};

use serde_json::json;

use crate::support::{Client, Data, eventually};

fn page(client: &Client) -> String {
    let answer = client.get("/metrics");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    answer.text()
}

/// The value of a series whose name and labels all stand in its line.
#[track_caller]
fn value(page: &str, name: &str, labels: &[&str]) -> f64 {
    let series = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let line = page.lines().find(series);
    let line = line.unwrap_or_else(|| panic!("no {name} with {labels:?} in\n{page}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Sends what the client library would not.
fn raw(address: &str, request: &str) {
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
}

#[test]
fn metrics_need_an_admin_unless_they_are_public() {
    let data = Data::new();
    let server = data.serve();
    server.stranger().get("/metrics").problem(401, "unauthenticated");
    server
        .client_as(&["reader", "auditor"], None)
        .get("/metrics")
        .problem(403, "forbidden");
    assert!(page(&server.client_as(&["admin"], None)).contains("oubliette_build_info"));
    server.stop();
    let open = data.serve_with(&[("OUBLIETTE_METRICS_PUBLIC", "true")]);
    assert_eq!(value(&page(&open.stranger()), "oubliette_ready", &[]), 1.0);
    open.stranger().get("/v1/ledgers").problem(401, "unauthenticated");
}

#[test]
fn what_happens_is_counted_and_nobody_is_named() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let event = json!({"type": "t", "tags": ["private-tag"], "data": {"n": 1},
        "personal": [{"subject": "private-subject", "data": "x"}]});
    let receipt = client.append("private-stream", event.clone());
    client.append("private-stream", event);
    let handle = receipt["personal"][0]["handle"].as_str().unwrap().to_owned();
    client
        .post(
            "streams/private-stream/events",
            &json!({"expected_version": 9, "events": [{"type": "t"}]}),
        )
        .problem(409, "wrong_expected_version");
    client.get("streams/private-stream/events?tag=private-tag").expect(200);
    client.get("/v1/private-path").problem(404, "not_found");
    raw(
        server.address(),
        "BREW /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    );
    client
        .post(
            "erasures",
            &json!({"subjects": ["private-subject"], "basis": "other", "reason": "request"}),
        )
        .expect(202);
    client.post("verifications", &json!({"fast": true})).expect(202);
    let main = "ledger=\"main\"";
    eventually("the verification is counted", || {
        let page = page(&client);
        page.contains("oubliette_verification_verdict")
            && page.contains("oubliette_verifications_running{ledger=\"main\"} 0")
    });
    let page = page(&client);
    for (name, labels, expected) in [
        ("oubliette_ready", &[][..], 1.0),
        ("oubliette_vault_healthy", &[], 1.0),
        ("oubliette_measure_failed", &[], 0.0),
        ("oubliette_queue_events", &[], 0.0),
        ("oubliette_events_appended_total", &[], 2.0),
        ("oubliette_append_seconds_count", &[], 2.0),
        (
            "oubliette_appends_refused_total",
            &["code=\"wrong_expected_version\""],
            1.0,
        ),
        ("oubliette_erasures", &[main, "state=\"completed\""], 1.0),
        ("oubliette_erasures", &[main, "state=\"erasing\""], 0.0),
        ("oubliette_erasures_overdue", &[main], 0.0),
        ("oubliette_verifications_running", &[main], 0.0),
        ("oubliette_verification_verdict", &[main, "verdict=\"valid\""], 1.0),
        ("oubliette_verification_verdict", &[main, "verdict=\"tampered\""], 0.0),
        (
            "oubliette_http_requests_total",
            &[
                "route=\"/v1/ledgers/{ledger}/streams/{stream}/events\"",
                "method=\"POST\"",
                "status=\"201\"",
            ],
            2.0,
        ),
        (
            "oubliette_http_requests_total",
            &["route=\"none\"", "status=\"404\""],
            1.0,
        ),
        (
            "oubliette_http_requests_total",
            &["route=\"/healthz\"", "method=\"other\"", "status=\"405\""],
            1.0,
        ),
        ("oubliette_http_requests_in_flight", &[], 1.0),
    ] {
        assert_eq!(value(&page, name, labels), expected, "{name} {labels:?}");
    }
    let size = client.get("log/checkpoint").text().lines().nth(1).unwrap().to_owned();
    let shown = value(&page, "oubliette_checkpoint_size_events", &[main]);
    assert_eq!(shown.to_string(), size);
    assert!(value(&page, "oubliette_checkpoint_timestamp_seconds", &[main]) > 1.7e9);
    let commits = value(&page, "oubliette_commit_seconds_count", &[]);
    assert!(commits >= 4.0 && commits == value(&page, "oubliette_commit_events_count", &[]));
    assert!(value(&page, "oubliette_commit_seconds_sum", &[]) > 0.0);
    assert!(value(&page, "oubliette_disk_bytes", &["kind=\"log\""]) > 0.0);
    assert!(value(&page, "oubliette_disk_bytes", &["kind=\"keystore\""]) > 0.0);
    assert!(value(&page, "oubliette_disk_bytes", &["kind=\"vault\""]) > 0.0);
    for private in ["private", handle.as_str(), data.key()] {
        assert!(!page.contains(private), "{private} stands in\n{page}");
    }
}

#[test]
fn who_hangs_up_before_the_answer_is_counted_too() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG_FORMAT", "json")]);
    let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "POST /v1/ledgers/main/streams/private/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-length: 1000\r\n\r\n{{",
        data.key()
    );
    socket.write_all(head.as_bytes()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(200));
    // A reset, not an orderly end.
    socket2::SockRef::from(&socket)
        .set_linger(Some(std::time::Duration::ZERO))
        .unwrap();
    drop(socket);
    let labels = [
        "route=\"/v1/ledgers/{ledger}/streams/{stream}/events\"",
        "method=\"POST\"",
        "status=\"cancelled\"",
    ];
    let client = server.client();
    eventually("the request is counted", || {
        let page = page(&client);
        page.lines().any(|line| labels.iter().all(|label| line.contains(label)))
    });
    assert_eq!(value(&page(&client), "oubliette_http_requests_in_flight", &[]), 1.0);
    eventually("it has a line in the log", || data.log().contains("hung up"));
    assert!(!data.log().contains("private"));
}

#[test]
fn the_last_verdict_is_known_after_a_restart() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let job = client.post("verifications", &json!({})).expect(202);
    let path = format!("verifications/{}", job["id"].as_str().unwrap());
    eventually("the verification ends", || {
        client.get(&path).expect(200)["state"] == "done"
    });
    server.stop();
    let server = data.serve();
    let page = page(&server.client());
    assert_eq!(
        value(&page, "oubliette_verification_verdict", &["verdict=\"valid\""]),
        1.0
    );
    assert!(value(&page, "oubliette_verification_timestamp_seconds", &[]) > 1.7e9);
}

#[test]
fn every_metric_stands_in_the_operations_guide() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"type": "t"}));
    let guide = include_str!("../../docs/operations.md");
    let page = page(&client);
    let names = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let mut count = 0;
    for name in names {
        assert!(guide.contains(&format!("`{name}`")), "docs/operations.md lacks {name}");
        assert!(page.contains(&format!("# HELP {name} ")), "{name} has no HELP");
        count += 1;
    }
    assert!(count > 15, "{page}");
}

#[test]
fn erasures_are_counted_on_from_what_was_counted() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let counted = || value(&page(&client), "oubliette_erasures", &["completed"]);
    for (n, subject) in ["ada", "bob", "eve"].into_iter().enumerate() {
        client.append("s", json!({"type": "t", "personal": [{"subject": subject, "data": 1}]}));
        let request = json!({"subjects": [subject], "basis": "other", "reason": "request"});
        client.post("erasures", &request).expect(202);
        eventually("the erasure is counted", || counted() == (n + 1) as f64);
    }
    assert_eq!(value(&page(&client), "oubliette_erasures", &["erasing"]), 0.0);
}
