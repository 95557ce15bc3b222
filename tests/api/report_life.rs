//! The life of personal data in compliance reports: what was open or ended in the period, as it stood at its end.

use oubliette::env::{Clock, System};
use oubliette::spec::ids::Timestamp;
use serde_json::{Value, json};

use crate::support::{Client, Data, eventually};

const PERIOD: &str = "from=2020-01-01&to=2100-01-01";

fn sealed(subject: &str) -> Value {
    json!({"type": "t", "data": 1, "personal": [{"subject": subject, "data": "Ada Example"}]})
}

fn report(client: &Client, period: &str) -> Value {
    client.get(&format!("reports/compliance?{period}")).expect(200)["report"].take()
}

fn id(answer: &Value) -> &str {
    answer["id"].as_str().unwrap()
}

fn verified(data: &Data, file: &[u8]) {
    let trust = oubliette::spec::verify::Trust {
        keys: vec![data.vkey().parse().unwrap()],
        ..Default::default()
    };
    let found = oubliette::spec::compliance::verify_report(file, &trust);
    assert_eq!(found.verdict, oubliette::spec::report::Verdict::Valid, "{found}");
}

#[test]
fn holds_restrictions_retention_redactions_leaks_backups_and_rotations_are_in_it() {
    let data = Data::new();
    let backups = tempfile::tempdir().unwrap();
    let server = data.serve_with(&[
        ("OUBLIETTE_BACKUP_DIR", backups.path().to_str().unwrap()),
        (
            "OUBLIETTE_RETENTION",
            r#"[{name = "marketing", category = "marketing", keep = "10y"}]"#,
        ),
    ]);
    let client = server.client();
    for subject in ["ada", "bob", "eve"] {
        client.append("s", sealed(subject));
    }
    let leaking = client.append("s", json!({"type": "t", "data": "call Ada"}))["index"].clone();
    let hold = json!({"subjects": ["ada"], "ground": "litigation-17"});
    let hold = client.post("holds", &hold).expect(201);
    client
        .post("holds", &json!({"subjects": ["eve"], "ground": "audit-3"}))
        .expect(201);
    client.delete(&format!("holds/{}", id(&hold))).expect(200);
    let restriction = json!({"subject": "bob", "reason": "objection"});
    let restriction = client.post("restrictions", &restriction).expect(201);
    client.delete(&format!("restrictions/{}", id(&restriction))).expect(200);
    client.post("retention/runs", &json!({"dry_run": false})).expect(201);
    let bodies = json!([{"index": leaking, "bodies": ["data"]}]);
    client
        .post("leaks", &json!({"events": bodies, "subjects": ["ada"]}))
        .expect(201);
    client
        .post("redactions", &json!({"events": bodies, "reason": "personal_data"}))
        .expect(202);
    client.post("epochs", &json!({}));
    let backup = client.post("/v1/backups", &json!({"to": "b1"})).expect(202);
    eventually("the backup is whole", || {
        client.get(&format!("/v1/backups/{}", id(&backup))).expect(200)["state"] == "completed"
    });
    let erasure = json!({"subjects": ["eve"], "basis": "art17_1_b", "reason": "request", "wait": true});
    let waits = client.post("erasures", &erasure).expect(202);

    let answer = client.get(&format!("reports/compliance?{PERIOD}"));
    verified(&data, &answer.body);
    let report = answer.expect(200)["report"].take();
    let totals = |section: &str| {
        let of = &report[section];
        [&of["total"], &of["begun"], &of["open"]].map(|number| number.as_u64().unwrap_or(u64::MAX))
    };
    assert_eq!(totals("holds"), [2, 2, 1], "{}", report["holds"]);
    assert_eq!(totals("restrictions"), [1, 1, 0]);
    assert_eq!(totals("retention"), [1, 1, 0]);
    assert_eq!(totals("redactions")[..2], [1, 1]);
    assert_eq!(totals("leaks"), [1, 1, 0], "{}", report["leaks"]);
    let first = &report["holds"]["list"][0];
    assert_eq!(
        (&first["state"], &first["code"], &first["counts"]),
        (&json!("released"), &json!("litigation-17"), &json!({"people": 1}))
    );
    assert_eq!(report["leaks"]["list"][0]["state"], "redacted");
    assert_eq!(report["redactions"]["list"][0]["by"]["key"], data.made["id"]);
    assert_eq!(report["retention"]["list"][0]["counts"]["people_due"], 0);
    let copy = &report["backups"]["list"][0];
    assert_eq!(
        (&copy["backup"], &copy["known"]["state"]),
        (&backup["id"], &json!("completed"))
    );
    assert_eq!(copy["known"]["expired"], false);
    assert!(report["rotations"]["changed"].as_u64().unwrap() >= 1);
    let waiting = &report["erasures"]["list"][0];
    assert_eq!(
        (&waiting["request"], &waiting["state"], &report["erasures"]["waiting"]),
        (&waits["id"], &json!("open"), &json!(1))
    );
    assert!(waiting.get("begun_at").is_none());
    client
        .post(&format!("erasures/{}/cancellations", id(&waits)), &json!({}))
        .expect(202);
    let other = server.client_as(&["officer"], None);
    other
        .post(&format!("erasures/{}/cancellations", id(&waits)), &json!({}))
        .expect(202);

    let page = client.get(&format!("reports/compliance?{PERIOD}&format=html"));
    verified(&data, &page.body);
    let page = page.text();
    for words in [
        "Legal holds",
        "litigation-17",
        "Retention runs",
        "Changes of keys",
        "cancelled",
    ] {
        assert!(page.contains(words), "{words}");
    }
    let rows = client.get(&format!("reports/compliance?{PERIOD}&format=csv")).text();
    for words in ["holds,", "leaks,", "backup,", "rotation,", "litigation-17"] {
        assert!(rows.contains(words), "{words}: {rows}");
    }
    assert!(!page.contains("Ada Example") && !rows.contains("Ada Example"));
    let report = self::report(&client, PERIOD);
    assert_eq!(
        [&report["erasures"]["cancelled"], &report["erasures"]["waiting"]],
        [1, 0]
    );
    // Before all that: nothing was open.
    let report = self::report(&client, "from=2020-01-01&to=2020-02-01");
    for section in ["holds", "restrictions", "retention", "redactions", "leaks", "backups"] {
        assert_eq!(report[section]["total"], 0, "{section}");
    }
}

/// What ends by itself ends once: not after somebody ended it, and not before its time.
#[test]
fn a_hold_that_expires_ends_by_whichever_end_comes_first() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", sealed("ada"));
    let second = server.client_as(&["officer"], None);
    let far = "2090-01-01T00:00:00Z";
    let place = |ground: &str, expires_at: &str| {
        let hold = json!({"subjects": ["ada"], "ground": ground, "expires_at": expires_at});
        client.post("holds", &hold).expect(201)
    };
    let soon = Timestamp(System.now().0 + 700_000).to_string();
    place("stands", far);
    let released = place("released", far);
    second.delete(&format!("holds/{}", id(&released))).expect(200);
    place("expires", &soon);
    let both = place("expires-then-released", &soon);
    std::thread::sleep(std::time::Duration::from_millis(900));
    let late = second.delete(&format!("holds/{}", id(&both)));
    let answer = client.get(&format!("reports/compliance?{PERIOD}"));
    verified(&data, &answer.body);
    let report = answer.expect(200)["report"].take();
    let made_at = report["made_at"].as_str().unwrap().to_owned();
    let states: Vec<_> = report["holds"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            assert!(
                line["ended_at"].as_str().is_none_or(|end| end <= made_at.as_str()),
                "{line}"
            );
            assert_eq!(line["by"]["key"], data.made["id"], "by whom it was placed");
            line["state"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(states, ["active", "released", "expired", "expired"], "{}", late.text());
    assert_eq!(report["holds"]["open"], 1);
}

/// People and sealed blocks are counted apart.
#[test]
fn a_run_of_retention_tells_people_from_sealed_blocks() {
    let data = Data::new();
    let server = data.serve_with(&[(
        "OUBLIETTE_RETENTION",
        r#"[{name = "logins", event_type = "t", keep = "1s"}, {name = "m", category = "marketing", keep = "1s"}]"#,
    )]);
    let client = server.client();
    for _ in 0..3 {
        client.append("s", sealed("ada"));
    }
    let personal = json!([{"subject": "bob", "category": "marketing", "data": "B"}]);
    client.append("s", json!({"type": "order", "data": 1, "personal": personal}));
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    client.post("retention/runs", &json!({"dry_run": false})).expect(201);
    let report = report(&client, PERIOD);
    let counts = &report["retention"]["list"][0]["counts"];
    let number = |name: &str| counts[name].as_u64();
    assert_eq!(
        ["people_due", "people_erased", "people_held", "people_restricted"].map(number),
        [Some(1), Some(1), Some(0), Some(0)],
        "{counts}"
    );
    assert_eq!(
        ["blocks_due", "blocks_purged", "blocks_held", "blocks_restricted"].map(number),
        [Some(3), Some(3), Some(0), Some(0)],
        "{counts}"
    );
    let page = client.get(&format!("reports/compliance?{PERIOD}&format=html")).text();
    assert!(page.contains("blocks purged 3") && page.contains("people erased 1"));
}
