//! Exports as tables, filtered by time, and downloads that go on where they broke off.

use serde_json::{Value, json};

use crate::support::{Client, Data};

/// Events whose words begin formulas, and sealed data about two people.
fn fill(client: &Client) {
    for n in 0..40_u64 {
        let mut event = json!({"type": if n % 2 == 0 { "even" } else { "odd" }, "actor": "=cmd|' /C calc'!A0",
            "tags": ["all"], "correlation_id": "@SUM(A1)", "data": {"n": n, "text": "a,\"b\"\nc"}});
        if n % 4 == 0 {
            event["personal"] = json!([{"subject": format!("p{}", n % 8), "data": format!("secret of {}", n % 8)}]);
        }
        client.append(&format!("s{}", n % 3), event);
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    client.append("minus", json!({"type": "odd", "data": -5, "actor": "'quoted"}));
}

/// Makes an export and gives the path of its content.
fn made(client: &Client, request: &Value) -> String {
    let view = client.post("exports", request).expect(201);
    view["content"].as_str().unwrap().to_owned()
}

fn rows(text: &[u8]) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader = csv::Reader::from_reader(text);
    reader.deserialize().map(Result::unwrap).collect()
}

#[test]
fn a_table_holds_what_reads_hold_and_no_cell_is_a_formula() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    let all = client.read_all("events", 1_000);
    let answer = client.get(&made(&client, &json!({"format": "csv"})));
    assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
    assert!(answer.header("content-disposition").ends_with(".csv\""));
    let text = answer.text();
    assert!(text.starts_with("index,id,stream,stream_version,") && text.ends_with("\r\n"));
    let rows = rows(&answer.body);
    // The export's own record is in it, too.
    assert_eq!(rows.len(), all.len() + 1);
    for (row, event) in rows.iter().zip(&all) {
        for (name, cell) in row {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']),
                "{name}: {cell}"
            );
        }
        let cell = |name: &str| row[name].strip_prefix('\'').unwrap_or(&row[name]).to_owned();
        let parsed = |name: &str| serde_json::from_str::<Value>(&cell(name)).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        for name in [
            "id",
            "stream",
            "type",
            "recorded_at",
            "actor",
            "correlation_id",
            "stream_ref",
            "data_state",
        ] {
            assert_eq!(cell(name), text(&event[name]), "{name} of {event}");
        }
        for name in ["index", "stream_version", "tags", "data", "personal"] {
            assert_eq!(parsed(name), event[name], "{name} of {event}");
        }
        assert_eq!(cell("leaf_hash"), text(&event["verification"]["leaf_hash"]));
    }
    assert!(rows.iter().any(|row| row["actor"] == "'=cmd|' /C calc'!A0"));
    assert!(
        rows.iter()
            .any(|row| row["data"] == "'-5" && row["actor"] == "''quoted")
    );
    assert!(!text.contains("secret of"), "sealed unless asked for");
}

#[test]
fn opened_tables_need_a_revealer_are_recorded_and_bring_nobody_back() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    let opened = json!({"format": "csv", "reveal": true, "stream": "s1"});
    let auditor = server.client_as(&["auditor"], None);
    auditor.post("exports", &opened).problem(403, "forbidden");
    let content = made(&client, &opened);
    auditor.get(&content).problem(403, "forbidden");
    let before = client.get(&content);
    assert!(before.text().contains("secret of 4") && before.text().contains("secret of 0"));
    let order = json!({"subjects": ["p4"], "basis": "other", "reason": "request"});
    client.post("erasures", &order).expect(202);
    let after = client.get(&content);
    assert!(!after.text().contains("secret of 4") && after.text().contains("secret of 0"));
    assert_ne!(before.header("etag"), after.header("etag"));
    // Half of the old content and half of the new one must never be put together.
    let headers = [("range", "bytes=100-"), ("if-range", before.header("etag"))];
    let answer = client.send("GET", &content, &headers, b"");
    assert_eq!((answer.status, &answer.body), (200, &after.body));
    let downloads = client.read_all("events?type=export.downloaded", 100);
    assert_eq!(downloads.len(), 3);
    assert!(downloads.iter().all(|event| event["data"]["reveal"] == true));
}

#[test]
fn times_choose_the_same_events_in_every_form_as_in_reads() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    let all = client.read_all("events", 1_000);
    let time = |at: usize| all[at]["recorded_at"].as_str().unwrap().to_owned();
    for (from, to) in [(10, 20), (0, 5), (12, 12), (3, 30)] {
        let read = client.read_all(&format!("events?from={}&to={}&type=even", time(from), time(to)), 100);
        let expected: Vec<_> = read.iter().map(|event| event["index"].to_string()).collect();
        let request = |format: &str| json!({"format": format, "from": time(from), "to": time(to), "type": "even"});
        let table = client.get(&made(&client, &request("csv")));
        let indexes: Vec<_> = rows(&table.body).iter().map(|row| row["index"].clone()).collect();
        assert_eq!(indexes, expected);
        let lines = client.get(&made(&client, &request("ndjson"))).text();
        let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        assert_eq!(
            lines.map(|event| event["index"].to_string()).collect::<Vec<_>>(),
            expected
        );
        let bundle = client.get(&made(&client, &request("bundle")));
        assert_eq!(bundle.status, 200);
    }
    for request in [
        json!({"format": "csv", "from": "9999-01-01T00:00:00Z"}),
        json!({"format": "csv", "to": "1970-01-01T00:00:00Z"}),
        json!({"format": "csv", "from_index": 5, "to": "1970-01-01T00:00:00Z"}),
    ] {
        let table = client.get(&made(&client, &request));
        assert_eq!((table.status, rows(&table.body).len()), (200, 0), "{request}");
    }
    for (request, pointer) in [
        (json!({"format": "csv", "from": time(9), "to": time(3)}), "/from"),
        (json!({"format": "csv", "from": "yesterday"}), "/from"),
        (json!({"format": "csv", "to": 5}), "/to"),
    ] {
        let problem = client.post("exports", &request).problem(422, "invalid_field");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    fill(&client);
    for format in ["csv", "ndjson", "bundle"] {
        let content = made(&client, &json!({"format": format}));
        let records = || client.read_all("events?type=export.downloaded", 100).len();
        let before = records();
        let head = client.send("HEAD", &content, &[], b"");
        assert_eq!(
            (head.status, head.header("accept-ranges"), head.body.len()),
            (200, "bytes", 0)
        );
        assert_eq!(records(), before, "nothing left");
        let tag = head.header("etag").to_owned();
        // Before anybody had it whole, so the server has to measure it.
        let first = client.send("GET", &content, &[("range", "bytes=0-99")], b"");
        assert_eq!(
            (first.status, first.body.len(), first.header("etag")),
            (206, 100, tag.as_str())
        );
        let whole = client.get(&content);
        assert_eq!((whole.status, whole.header("etag")), (200, tag.as_str()));
        let length = whole.body.len();
        assert!(length > 1_000);
        assert_eq!(first.header("content-range"), format!("bytes 0-99/{length}"));
        assert_eq!(whole.body[..100], first.body);
        for (range, from, to) in [
            ("bytes=100-".to_owned(), 100, length),
            (format!("bytes={}-", length - 1), length - 1, length),
            ("bytes=-7".to_owned(), length - 7, length),
            (format!("bytes=500-{}", length * 2), 500, length),
            ("bytes=700-700".to_owned(), 700, 701),
        ] {
            let headers = [("range", range.as_str()), ("if-range", tag.as_str())];
            let part = client.send("GET", &content, &headers, b"");
            assert_eq!(part.status, 206, "{range}");
            assert_eq!(part.body, whole.body[from..to], "{format} {range}");
            assert_eq!(
                part.header("content-range"),
                format!("bytes {from}-{}/{length}", to - 1)
            );
        }
        for (name, value) in [("range", "bytes=0-1,5-6"), ("range", "lines=1-2"), ("range", "bytes=x")] {
            let answer = client.send("GET", &content, &[(name, value)], b"");
            assert_eq!((answer.status, &answer.body), (200, &whole.body), "{value}");
        }
        let stale = [("range", "bytes=100-"), ("if-range", "\"another\"")];
        assert_eq!(client.send("GET", &content, &stale, b"").status, 200);
        let before = records();
        let beyond = client.send("GET", &content, &[("range", &format!("bytes={length}-"))], b"");
        beyond.problem(416, "range_not_satisfiable");
        assert_eq!(beyond.header("content-range"), format!("bytes */{length}"));
        assert_eq!(records(), before, "nothing left");
    }
    let parts = client.read_all("events?type=export.downloaded", 100);
    assert!(parts.iter().any(|event| event["data"]["bytes"] == json!([700, 700])));
}

/// What waits in the server for a slow reader does not leave once a person is being erased.
#[test]
fn an_opened_download_breaks_off_when_an_erasure_is_fenced() {
    use std::io::{Read, Write};
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for at in 0..30 {
        let text = format!("{}secret {at}", "x".repeat(900_000));
        client.append(
            "s",
            json!({"type": "t", "personal": [{"subject": "p", "data": {"text": text}}]}),
        );
    }
    let content = made(&client, &json!({"format": "ndjson", "reveal": true}));
    let mut socket = std::net::TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "GET {content} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n",
        data.key()
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut begin = vec![0; 4_096];
    socket.read_exact(&mut begin).unwrap();
    assert!(String::from_utf8_lossy(&begin).starts_with("HTTP/1.1 200"));
    // The pieces that wait are made before the erasure.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let order = json!({"subjects": ["p"], "basis": "other", "reason": "request"});
    client.post("erasures", &order).expect(202);
    let mut rest = Vec::new();
    let _ = socket.read_to_end(&mut rest);
    let rest = String::from_utf8_lossy(&rest);
    assert!(!rest.ends_with("0\r\n\r\n"), "it looks whole");
    assert!(!rest.contains("secret 29"));
    // What was made before may be in the connection; what was not is not opened, nor is it sent.
    assert!(rest.len() < 26_000_000, "{}", rest.len());
}
