//! Clients that ask too often, never end, or never read: over real sockets, with short limits.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Data, Server};

/// No answer may take longer than this.
const PATIENCE: Duration = Duration::from_secs(20);

fn connect(server: &Server) -> TcpStream {
    let socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Everything until the server closes; a reset is an end too, silence is not.
fn until_closed(socket: &mut TcpStream) -> Vec<u8> {
    let (mut all, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match socket.read(&mut piece) {
            Ok(0) => return all,
            Ok(length) => all.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return all,
            Err(error) => panic!("the server does not close: {error}"),
        }
    }
}

#[test]
fn a_key_that_asks_too_often_is_told_to_wait_and_others_are_not() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_RATE_LIMIT", "1"), ("OUBLIETTE_RATE_BURST", "4")]);
    let client = server.client();
    let other = server.client_as(&["reader"], None);
    let answers: Vec<_> = (0..8).map(|_| client.get("events")).collect();
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status != 200).collect();
    assert!(refused.len() >= 3, "{answers:?}");
    for answer in refused {
        answer.problem(429, "rate_limited");
        assert!((1..=2).contains(&answer.header("retry-after").parse::<u64>().unwrap()));
    }
    other.get("events").expect(200);
    // What needs no key is not limited.
    (0..20).for_each(|_| drop(client.get("/healthz").expect(200)));
    std::thread::sleep(Duration::from_millis(1_200));
    client.get("events").expect(200);
}

#[test]
fn a_head_that_never_ends_is_cut_off() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_HEADER_TIMEOUT_SECONDS", "1")]);
    let mut socket = connect(&server);
    let started = Instant::now();
    socket
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ")
        .unwrap();
    // One byte now and then must not put the end off.
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        if socket.write_all(b"a").is_err() {
            break;
        }
    }
    let answer = String::from_utf8_lossy(&until_closed(&mut socket)).into_owned();
    assert!(started.elapsed() < Duration::from_secs(10), "{answer}");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    server.client().get("/healthz").expect(200);
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let data = Data::new();
    let server = data.serve_with(&[
        ("OUBLIETTE_HEADER_TIMEOUT_SECONDS", "1"),
        ("OUBLIETTE_KEEP_ALIVE_SECONDS", "1"),
    ]);
    let mut silent = connect(&server);
    until_closed(&mut silent);
    let mut idle = connect(&server);
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let answer = until_closed(&mut idle);
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}

/// Asks on a fresh connection and gives head and body of the answer, and the connection.
fn ask(server: &Server, request: &str) -> (String, TcpStream) {
    let mut socket = connect(server);
    socket.write_all(request.as_bytes()).unwrap();
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"}") {
        socket.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    (String::from_utf8(answer).unwrap().to_lowercase(), socket)
}

#[test]
fn who_shows_no_valid_key_gets_one_answer_a_connection() {
    let data = Data::new();
    let server = data.serve();
    for (path, key, status) in [
        ("/healthz", "", "200"),
        ("/readyz", "", "200"),
        ("/v1/ledgers", "", "401"),
        ("/v1/ledgers", "authorization: Bearer obl_a_b\r\n", "401"),
        ("/no/route", "", "404"),
    ] {
        let (answer, mut socket) = ask(&server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{key}\r\n"));
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        let started = Instant::now();
        // Half of a second head must not hold it.
        let _ = socket.write_all(b"GET /healthz HTTP/1.1\r\nx-slow: ");
        until_closed(&mut socket);
        assert!(started.elapsed() < Duration::from_secs(8), "{path}");
    }
    let with_key = format!(
        "GET /v1/ledgers/main/events?after=9999 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        data.key()
    );
    let (answer, mut socket) = ask(&server, &with_key);
    assert!(
        answer.starts_with("http/1.1 200") && !answer.contains("connection: close"),
        "{answer}"
    );
    socket.write_all(with_key.as_bytes()).unwrap();
    let mut again = [0; 12];
    socket.read_exact(&mut again).unwrap();
    assert_eq!(&again, b"HTTP/1.1 200");
}

#[test]
fn a_page_of_large_events_ends_early_and_the_next_carries_on() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    let large = "x".repeat(1_000_000);
    for _ in 0..3 {
        let events: Vec<_> = (0..13).map(|_| json!({"type": "t", "data": large})).collect();
        client
            .post("streams/s/events?proof=none", &json!({"events": events}))
            .expect(201);
    }
    for path in [
        "streams/s/events?limit=1000",
        "events?type=t&direction=backward&limit=1000",
    ] {
        let page = client.get(path).expect(200);
        let count = page["events"].as_array().unwrap().len();
        assert!((16..=18).contains(&count), "{path}: {count} events of a megabyte");
        assert!(page["next"].is_string());
        let mut versions: Vec<_> = client
            .read_all(path.trim_end_matches("limit=1000").trim_end_matches(['&', '?']), 1_000)
            .iter()
            .map(|event| event["stream_version"].as_u64().unwrap())
            .collect();
        versions.sort_unstable();
        assert_eq!(versions, (1..=39).collect::<Vec<_>>(), "{path}");
    }
}

#[test]
fn a_body_that_never_ends_is_answered_408_and_the_connection_closed() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_BODY_TIMEOUT_SECONDS", "1")]);
    let path = "/v1/ledgers/main/streams/s/events";
    for length in ["content-length: 1000", "transfer-encoding: chunked"] {
        let mut socket = connect(&server);
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n{length}\r\n\r\n",
            data.key()
        );
        socket.write_all(head.as_bytes()).unwrap();
        let begun: &[u8] = if length.starts_with('c') {
            b"{\"events\":"
        } else {
            b"3\r\n{\"e\r\n"
        };
        socket.write_all(begun).unwrap();
        let started = Instant::now();
        let answer = String::from_utf8(until_closed(&mut socket)).unwrap();
        assert!(started.elapsed() < Duration::from_secs(10));
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.to_lowercase().contains("connection: close"), "{answer}");
        let problem: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(problem["code"], "request_timeout");
        assert!(problem["detail"].as_str().unwrap().contains("body_timeout_seconds"));
    }
    // Nothing was appended.
    server.client().get("streams/s/events").problem(404, "stream_not_found");
}

#[test]
fn a_body_that_nobody_asked_for_ends_with_the_answer() {
    let data = Data::new();
    let server = data.serve();
    for length in ["content-length: 1000000", "transfer-encoding: chunked"] {
        let mut socket = connect(&server);
        let head = format!("POST /v1/ledgers/main/events HTTP/1.1\r\nhost: x\r\n{length}\r\n\r\n3\r\nabc\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let answer = String::from_utf8(until_closed(&mut socket)).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    }
    // A whole one leaves the connection open.
    let mut socket = connect(&server);
    let chunked = format!(
        "POST /v1/ledgers/main/streams/s/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         transfer-encoding: chunked\r\n\r\n1b\r\n{{\"events\":[{{\"type\":\"t.x\"}}]}}\r\n0\r\n\r\n",
        data.key()
    );
    socket.write_all(chunked.as_bytes()).unwrap();
    socket
        .write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .unwrap();
    let answers = String::from_utf8(until_closed(&mut socket)).unwrap();
    assert!(answers.starts_with("HTTP/1.1 201"), "{answers}");
    assert!(answers.contains("HTTP/1.1 200 OK"), "{answers}");
}

#[test]
fn who_does_not_read_is_cut_off_and_who_reads_slowly_is_not() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_WRITE_TIMEOUT_SECONDS", "1")]);
    let client = server.client();
    let large = "x".repeat(1_000_000);
    for _ in 0..3 {
        let events: Vec<_> = (0..10).map(|_| json!({"type": "t", "data": large})).collect();
        client
            .post("streams/s/events?proof=none", &json!({"events": events}))
            .expect(201);
    }
    let whole = client.get("streams/s/events").body.len();
    assert!(whole > 16_000_000);
    let ask = format!(
        "GET /v1/ledgers/main/streams/s/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\n\r\n",
        data.key()
    );
    let mut stuck = connect(&server);
    stuck.write_all(ask.as_bytes()).unwrap();
    let mut slow = connect(&server);
    slow.write_all(ask.as_bytes()).unwrap();
    let (mut read, mut piece) = (0, vec![0; 512 << 10]);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(6) {
        read += slow.read(&mut piece).unwrap();
        std::thread::sleep(Duration::from_millis(300));
    }
    read += until_closed(&mut slow).len();
    assert!(read > whole, "the slow reader got {read} of {whole}");
    let got = until_closed(&mut stuck).len();
    assert!(got < whole, "the answer to a client that did not read was kept ready");
}
