//! The redaction of a leak.

use serde_json::{Value, json};

use super::{Break, Played, Scene, Stage, asked, at_every_step, awaited, verifies};
use crate::support::people::{found_in, payloads, verified};
use crate::support::{Data, eventually};

const LEAK: &str = "leak-91ab3f-in-clear";

/// Two events of which something leaves: the data of one, and the whole of another with the name of its stream.
struct Redacting(Data);

impl Redacting {
    fn new() -> Self {
        let data = Data::new();
        let server = data.serve();
        let client = server.client();
        client.append("s", json!({"type": "t", "data": {"iban": LEAK}, "tags": ["kept"]}));
        client.append(
            &format!("stream-{LEAK}"),
            json!({"type": "t", "data": LEAK, "correlation_id": LEAK}),
        );
        client.append("s", json!({"type": "t", "data": "stays"}));
        server.stop();
        assert!(!found_in(&data.path(), LEAK.as_bytes()).is_empty());
        Self(data)
    }
}

fn request() -> Value {
    json!({"reason": "personal_data", "events": [{"index": 1 + FIRST, "bodies": ["data"]},
        {"index": 2 + FIRST, "bodies": ["meta", "data"]}]})
}

/// Events before the first of the scene: the ledger's own, and its first API key.
const FIRST: u64 = 1;

impl Scene for Redacting {
    fn play(&self, how: Break, at: u64) -> Played {
        let stage = Stage::new(&self.0, &[], how);
        let played = stage.serve(&[], at, |client| {
            asked(client, "redactions", &request(), 202);
            awaited(client, "redactions", |listed| {
                listed["redactions"][0]["state"] == "completed"
            });
        });
        let server = stage.data.serve();
        let client = server.client();
        let listed = client.get("redactions").expect(200);
        let redaction = match listed["redactions"].as_array().unwrap().first() {
            Some(redaction) => redaction.clone(),
            None => client.post("redactions", &request()).expect(202),
        };
        let path = format!("redactions/{}", redaction["id"].as_str().unwrap());
        eventually("the redaction is completed", || {
            client.get(&path).expect(200)["state"] == "completed"
        });
        for (event_type, number) in [
            ("bodies.redacted", 1),
            ("redaction.recorded", 1),
            ("redaction.completed", 1),
        ] {
            let found = payloads(&client, "main", event_type);
            assert_eq!(found.len(), number, "{event_type}: {found:?}");
        }
        let certificate = client.get(redaction["certificate"].as_str().unwrap());
        verified(&certificate.body);
        let event = client.get(&format!("events/{}", FIRST + 3)).expect(200);
        assert_eq!(event["data"], "stays");
        verifies(&stage.data, server, &["main"]);
        let found = found_in(&stage.data.path(), LEAK.as_bytes());
        assert!(found.is_empty(), "{found:?}");
        played
    }
}

#[test]
fn a_redaction_killed_at_any_step_is_made_once_and_leaves_nothing() {
    at_every_step(&Redacting::new(), Break::Kill);
}

#[test]
fn a_redaction_survives_power_cuts_and_failing_devices_at_any_step() {
    let scene = Redacting::new();
    for how in [Break::Power, Break::Fail] {
        at_every_step(&scene, how);
    }
}
