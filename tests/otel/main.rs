//! Traces: a real server sends them to a collector on loopback, which reads them as OTLP says. Every step of an append and of
//! an erasure is there, under the caller's trace, and nothing that a caller named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;

use support::{Data, eventually};

/// What callers name in these tests.
const NAMES: [&str; 6] = [
    "private-stream",
    "private-subject",
    "private-tag",
    "private-request-id",
    "private-correlation",
    "Ada Example",
];
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Takes OTLP over HTTP and keeps what came, as bytes and as spans.
#[derive(Clone, Default)]
struct Collector {
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let collector = Self::default();
        let own = collector.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let own = own.clone();
                std::thread::spawn(move || own.take(connection.unwrap()));
            }
        });
        (collector, endpoint)
    }

    fn take(&self, mut connection: std::net::TcpStream) {
        let mut reader = BufReader::new(connection.try_clone().unwrap());
        loop {
            let (mut line, mut length) = (String::new(), 0);
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            assert!(line.starts_with("POST /v1/traces "), "{line}");
            let mut is_protobuf = false;
            loop {
                line.clear();
                reader.read_line(&mut line).unwrap();
                let header = line.to_ascii_lowercase();
                if header.trim().is_empty() {
                    break;
                }
                is_protobuf |= header.trim() == "content-type: application/x-protobuf";
                if let Some(value) = header.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
            }
            assert!(is_protobuf);
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            self.bodies.lock().unwrap().push(body);
            connection
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
        }
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let requests = bodies
            .iter()
            .map(|body| ExportTraceServiceRequest::decode(&body[..]).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).collect()
    }

    fn names(&self) -> BTreeSet<String> {
        self.spans().into_iter().map(|span| span.name).collect()
    }
}

fn event() -> serde_json::Value {
    json!({"type": "t", "tags": ["private-tag"], "correlation_id": "private-correlation",
        "personal": [{"subject": "private-subject", "data": {"name": "Ada Example"}}]})
}

#[test]
fn a_collector_gets_every_step_and_no_name() {
    let (collector, endpoint) = Collector::start();
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_TRACE_ENDPOINT", &endpoint), ("OUBLIETTE_LOG", "trace")]);
    let client = server.client();
    let headers = [
        ("traceparent", &*format!("00-{TRACE}-{PARENT}-01")),
        ("x-request-id", "private-request-id"),
    ];
    let body = json!({"events": [event()]}).to_string();
    let appended = client.send("POST", "streams/private-stream/events", &headers, body.as_bytes());
    appended.expect(201);
    client.get("events?reveal=true&tag=private-tag").expect(200);
    client.get("events/99").problem(404, "event_not_found");
    let erase = json!({"subjects": ["private-subject"], "basis": "other", "reason": "request"});
    let erasure = client.post("erasures", &erase).expect(202);
    server.stop();

    let names = collector.names();
    for name in [
        "POST /v1/ledgers/{ledger}/streams/{stream}/events",
        "GET /v1/ledgers/{ledger}/events",
        "GET /v1/ledgers/{ledger}/events/{event}",
        "POST /v1/ledgers/{ledger}/erasures",
        "append",
        "prepare",
        "keystore.provision",
        "keystore.open",
        "seal",
        "sequence",
        "group",
        "plan",
        "sign",
        "commit",
        "publish",
        "erase",
        "erasure.fence",
        "erasure.journal",
        "erasure.destroy",
        "erasure.verify",
        "erasure.complete",
    ] {
        assert!(names.contains(name), "no {name} in {names:?}");
    }
    the_append_is_under_the_caller(&collector.spans());
    let handle = erasure["subjects"][0]["handle"].as_str().unwrap();
    for body in collector.bodies.lock().unwrap().iter() {
        for name in NAMES.iter().copied().chain([handle, data.key()]) {
            let found = body.windows(name.len()).any(|window| window == name.as_bytes());
            assert!(!found, "{name} left the server");
        }
    }
    assert!(!data.log().contains("keystore.provision"), "spans stay out of the log");
}

fn the_append_is_under_the_caller(spans: &[Span]) {
    let of_caller: Vec<_> = spans
        .iter()
        .filter(|span| hex::encode(&span.trace_id) == TRACE)
        .collect();
    let by_name: HashMap<_, _> = of_caller.iter().map(|span| (span.name.as_str(), *span)).collect();
    let route = "POST /v1/ledgers/{ledger}/streams/{stream}/events";
    assert_eq!(hex::encode(&by_name[route].parent_span_id), PARENT);
    for (child, parent) in [
        ("append", route),
        ("prepare", "append"),
        ("seal", "prepare"),
        ("keystore.provision", "prepare"),
        ("sequence", "append"),
        ("group", "sequence"),
        ("plan", "group"),
        ("sign", "group"),
        ("commit", "group"),
        ("publish", "group"),
    ] {
        assert_eq!(
            by_name[child].parent_span_id, by_name[parent].span_id,
            "{child} under {parent}"
        );
    }
    let attributes: BTreeSet<_> = by_name[route].attributes.iter().map(|pair| pair.key.as_str()).collect();
    let expected = ["http.request.method", "http.response.status_code", "http.route"];
    assert_eq!(attributes, BTreeSet::from(expected));
}

#[test]
fn the_share_of_traced_requests_can_be_set_and_the_caller_decides_for_its_own() {
    let (collector, endpoint) = Collector::start();
    let data = Data::new();
    let server = data.serve_with(&[
        ("OUBLIETTE_TRACE_ENDPOINT", &endpoint),
        ("OUBLIETTE_TRACE_SAMPLE_RATIO", "0"),
    ]);
    let client = server.client();
    client.append("s", event());
    let traced = |flags: &str| {
        let parent = format!("00-{TRACE}-{PARENT}-{flags}");
        client.send("GET", "keys", &[("traceparent", &parent)], b"").expect(200);
    };
    traced("00");
    traced("01");
    server.stop();
    assert_eq!(
        collector.names(),
        BTreeSet::from(["GET /v1/ledgers/{ledger}/keys".to_owned()])
    );
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_TRACE_ENDPOINT", "http://127.0.0.1:1/v1/traces")]);
    server.client().append("s", event());
    eventually("the log says so", || data.log().contains("traces cannot be sent"));
    server.client().append("s", json!({"type": "t"}));
    server.stop();
}

#[test]
fn what_is_no_endpoint_is_refused_by_name() {
    let data = Data::new();
    for (name, value, field) in [
        ("OUBLIETTE_TRACE_ENDPOINT", "127.0.0.1:4318", "trace_endpoint"),
        (
            "OUBLIETTE_TRACE_ENDPOINT",
            "https://collector/v1/traces",
            "trace_endpoint",
        ),
        ("OUBLIETTE_TRACE_SAMPLE_RATIO", "2", "trace_sample_ratio"),
    ] {
        let refused = data.refused_with(&[(name, value)]);
        assert_eq!(
            (refused.exit, refused.code.as_str()),
            (Some(2), "invalid_configuration")
        );
        assert!(refused.log.contains(field), "{}", refused.log);
    }
}
