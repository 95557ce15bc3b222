//! Retention: by event type, and beside erasures and reopenings of people.

use std::time::Duration;

use serde_json::{Value, json};

use crate::life::{handle, id, states, types, verified};
use crate::support::{Client, Data};

const RULES: &str = r#"[{name = "logins", event_type = "login", keep = "3s"}]"#;
const SHORT: &str = r#"[{name = "marketing", category = "marketing", keep = "1s"}]"#;

fn event(event_type: &str, people: &[&str]) -> Value {
    let block = |person: &&str| json!({"subject": person, "category": "account", "data": person});
    json!({"type": event_type, "data": 1, "personal": people.iter().map(block).collect::<Vec<_>>()})
}

fn run(client: &Client, dry: bool) -> Value {
    let status = if dry { 200 } else { 201 };
    client.post("retention/runs", &json!({"dry_run": dry})).expect(status)
}

fn counts(run: &Value) -> [u64; 4] {
    ["due", "purged", "held", "restricted"].map(|name| run["rules"][0][name].as_u64().unwrap())
}

#[test]
fn a_rule_for_an_event_type_removes_its_old_blocks_and_no_key() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_RETENTION", RULES)]);
    let client = server.client();
    let first = client.append("s", event("login", &["ada"]))["index"].as_u64().unwrap();
    for people in [&["held"][..], &["restricted"], &["ada", "held"]] {
        client.append("s", event("login", people));
    }
    client.append("s", event("order", &["ada"]));
    client
        .post("holds", &json!({"subjects": ["held"], "ground": "case"}))
        .expect(201);
    let restriction = json!({"subject": "restricted", "reason": "legal_claims"});
    let restriction = client.post("restrictions", &restriction).expect(201);
    std::thread::sleep(Duration::from_secs(4));
    let young = client.append("s", event("login", &["ada"]));
    let dry = run(&client, true);
    assert_eq!(
        (counts(&dry), &dry["rules"][0]["action"]),
        ([5, 0, 2, 1], &json!("purge_bodies"))
    );
    let ran = run(&client, false);
    assert_eq!(counts(&ran), [5, 2, 2, 1]);
    assert!(ran["scrubbed_at"].is_string() && ran["erasures"] == json!([]), "{ran}");
    client.delete(&format!("restrictions/{}", id(&restriction))).expect(200);
    let expected = ["purged", "clear", "clear", "purged", "clear", "clear", "clear"];
    assert_eq!(states(&client, "s"), expected);
    let read = client.get(&format!("events/{first}")).expect(200);
    assert_eq!(read["personal"][0]["authority"], ran["purges"][0]);
    let authority = client.get(&format!("events/{}", ran["purges"][0])).expect(200);
    assert_eq!(
        authority["data"],
        json!({"ground": "retention", "positions": [[first, 2], [first + 3, 2]]})
    );
    // No key went: the same generation seals on. What led from the person to the events went with their last blocks.
    assert_eq!(young["personal"][0]["generation"], 1);
    let events = client.read_all(&format!("events?handle={}", handle(&client, "ada")), 10);
    assert_eq!(
        events.iter().map(|event| &event["type"]).collect::<Vec<_>>(),
        ["order", "login"]
    );
    // Nothing is left to do, but for what was kept.
    assert_eq!(counts(&run(&client, false)), [3, 1, 2, 0]);
    assert_eq!(types(&client, "$purges"), ["bodies.purged", "bodies.purged"]);
    let recorded = client.get(&format!("retention/runs/{}", id(&ran))).expect(200);
    assert_eq!(
        (&recorded["rules"], &recorded["purges"], &recorded["scrubbed_at"]),
        (&ran["rules"], &ran["purges"], &ran["scrubbed_at"])
    );
    verified(&client);
    server.kill();
    let server = data.serve();
    assert_eq!(states(&server.client(), "s")[0], "purged");
    // A person whose blocks retention removed is erased like any other.
    let erasure = json!({"subjects": ["ada"], "basis": "art17_1_b", "reason": "request"});
    assert_eq!(
        server.client().post("erasures", &erasure).expect(202)["state"],
        "completed"
    );
    verified(&server.client());
}

#[test]
fn a_rule_that_fits_nothing_is_refused_at_start() {
    let data = Data::new();
    for (rules, part) in [
        (r#"[{name = "a", keep = "1y"}]"#, "exactly one"),
        (
            r#"[{name = "a", category = "c", event_type = "t", keep = "1y"}]"#,
            "exactly one",
        ),
        (
            r#"[{name = "a", event_type = "hold.placed", keep = "1y"}]"#,
            "Oubliette's own",
        ),
        (
            r#"[{name = "a", event_type = "t", action = "erase_keys", keep = "1y"}]"#,
            "purge_bodies",
        ),
        (
            r#"[{name = "a", event_type = "t", keep = "1y"}, {name = "b", event_type = "t", keep = "2y"}]"#,
            "two rules",
        ),
    ] {
        let refused = data.refused_with(&[("OUBLIETTE_RETENTION", rules)]);
        assert!(refused.log.contains(part), "{rules}: {refused:?}");
    }
}

/// Whoever erases, reopens or appends beside a run gets an answer that stands.
#[test]
fn runs_beside_erasures_and_reopenings_open_nothing_that_somebody_closed() {
    let data = Data::new();
    let server = data.serve_with(&[("OUBLIETTE_RETENTION", SHORT)]);
    let client = server.client();
    let block =
        |person: &str| json!({"type": "t", "personal": [{"subject": person, "category": "marketing", "data": person}]});
    let names = |prefix: &str| (0..6).map(|n| format!("{prefix}-{n}")).collect::<Vec<_>>();
    let (closed, reopened, others) = (names("closed"), names("reopened"), names("other"));
    for person in closed.iter().chain(&reopened).chain(&others) {
        client.append("s", block(person));
    }
    std::thread::sleep(Duration::from_millis(1_500));
    let erase = |client: &Client, person: &str| {
        let erasure =
            json!({"subjects": [person], "categories": ["marketing"], "basis": "art17_1_b", "reason": "objection"});
        client.post("erasures", &erasure).expect(202);
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..4 {
                run(&client, false);
            }
        });
        scope.spawn(|| closed.iter().for_each(|person| erase(&client, person)));
        scope.spawn(|| {
            for person in &reopened {
                erase(&client, person);
                let reopening = json!({"subject": person, "categories": ["marketing"], "reason": "consent"});
                client.post("reopenings", &reopening).expect(201);
            }
        });
    });
    run(&client, false);
    for person in &closed {
        let refused = json!({"events": [block(person)]});
        client.post("streams/s/events", &refused).problem(409, "subject_erased");
    }
    for person in reopened.iter().chain(&others) {
        client.append("s", block(person));
    }
    let states = states(&client, "s");
    assert!(states[..18].iter().all(|state| state == "erased"), "{states:?}");
    assert!(states[18..].iter().all(|state| state == "clear"), "{states:?}");
    verified(&client);
}
