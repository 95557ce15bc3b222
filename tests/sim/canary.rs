//! Canaries: neither a subject's id nor sealed data is to be found in any file or log line.

use serde_json::json;

use crate::support::{Data, files, id};

const SUBJECT: &str = "canary-subject-7f3a91";
const SECRET: &str = "canary-secret-5cbe02";
const NOTE: &str = "canary-note-e81d4c";

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

fn expect_no_canary(data: &Data, when: &str) {
    let log = data.log().into_bytes();
    for canary in [SUBJECT, SECRET, NOTE] {
        for form in [canary.as_bytes().to_vec(), hex::encode(canary).into_bytes()] {
            assert!(!contains(&log, &form), "{when}: {canary} is in the log");
            for file in files(&data.path()) {
                // A running server deletes files that it has written anew.
                let content = std::fs::read(&file).unwrap_or_default();
                assert!(!contains(&content, &form), "{when}: {canary} is in {}", file.display());
            }
        }
    }
}

#[test]
fn sealed_data_and_subject_ids_are_in_no_file_and_no_log_line() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_LOG", "debug")]);
    let client = server.client();
    let event = json!({"id": id(1), "type": "t", "data": "public-marker", "actor": {"subject": SUBJECT}, "personal": [{"subject": SUBJECT, "data": {"x": SECRET}}]});
    client.append("s", event.clone());
    assert_eq!(client.post("streams/s/events", &json!({"events": [event]})).status, 200);
    client.get("events?reveal=true").expect(200);
    client.post("subjects", &json!({"subject": SUBJECT})).expect(200);
    client.post("subjects/lookup", &json!({"subject": SUBJECT})).expect(200);
    // Requests that fail must not leave it in the log either, wherever they carry it.
    let mut other = event.clone();
    other["personal"][0]["data"] = json!(SECRET);
    client
        .post("streams/s/events", &json!({"events": [other]}))
        .problem(409, "idempotency_conflict");
    client.post_bytes("streams/s/events", format!("{{\"{SECRET}\": {SUBJECT}").as_bytes());
    client.post(
        "streams/s/events",
        &json!({"events": [{"type": SECRET.repeat(20)}], SUBJECT: 1}),
    );
    client.post(
        "erasures",
        &json!({"subjects": [format!("{SUBJECT}-unknown")], "basis": "other", "reason": "other"}),
    );
    client.get(&format!("streams/{SUBJECT}/events"));
    client.get(&format!("nothing/{SECRET}?x={SUBJECT}"));
    client.get(&format!("events?limit={SECRET}"));
    server.client_with(SECRET).get("events");
    expect_no_canary(&data, "before the erasure");
    let request = json!({"subjects": [SUBJECT], "basis": "art17_1_b", "reason": "request", "note": NOTE});
    client.post("erasures", &request).expect(202);
    client
        .post("subjects/lookup", &json!({"subject": SUBJECT}))
        .problem(410, "erased");
    expect_no_canary(&data, "after the erasure");
    server.kill();
    // Twice: the first start writes what the log held into sorted files.
    for _ in 0..2 {
        let server = data.serve_with(&[("OUBLIETTE_LOG", "debug")]);
        assert_eq!(server.client().get("events?reveal=true").status, 200);
        server.stop();
    }
    expect_no_canary(&data, "after restarts");
    // The search itself works: what is public is found.
    let found = files(&data.path())
        .iter()
        .any(|file| contains(&std::fs::read(file).unwrap(), b"public-marker"));
    assert!(found, "the search finds nothing at all");
}
