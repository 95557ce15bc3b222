//! Damaged stores: single rows changed through RocksDB itself, and single bytes flipped in its files. Whatever happens,
//! the server refuses to start, or a read says so, or a verification finds it. Never a panic, and never silently other
//! content.

use std::path::Path;

use oubliette::app::{Inspection, inspect};
use oubliette::config::Settings;
use rocksdb::{DB, IteratorMode, Options};
use serde_json::{Value, json};

use crate::support::{Data, Dice, files, id};

/// Enough for a full tile, two streams, tags and people; stopped twice, so that rows lie in sorted files.
fn filled() -> Data {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for batch in 0..3_u128 {
        let event = |n: u128| {
            json!({"stream": format!("s{}", n % 2), "id": id(batch * 100 + n), "type": "t", "correlation_id": "c", "tags": ["g"],
                "data": {"n": n as u64}, "personal": [{"subject": format!("p{}", n % 3), "data": n as u64}]})
        };
        client
            .post(
                "events?proof=none",
                &json!({"events": (0..90).map(event).collect::<Vec<_>>()}),
            )
            .expect(201);
    }
    client
        .post(
            "erasures",
            &json!({"subjects": ["p2"], "basis": "other", "reason": "request"}),
        )
        .expect(202);
    server.stop();
    data.serve().stop();
    data
}

/// The verdict of a verification of everything, indexes included, or that the store cannot even be read.
fn verdict(data: &Data) -> String {
    let settings = Settings {
        data: data.path(),
        ..Settings::default()
    };
    let inspection = Inspection {
        indexes: true,
        ..Inspection::default()
    };
    match inspect(&settings, &"main".parse().unwrap(), inspection, |_, _| ()) {
        Ok(report) => serde_json::to_value(report).unwrap()["verdict"]
            .as_str()
            .unwrap()
            .to_owned(),
        Err(error) => format!("unreadable: {}", error.code()),
    }
}

/// What readers get: every event by itself, or the code of the refusal.
fn read_everything(data: &Data, size: usize) -> Result<Vec<Value>, String> {
    let server = match data.try_serve() {
        Ok(server) => server,
        Err(refused) => {
            assert_eq!(refused.exit, Some(3), "{refused:?}");
            assert!(
                !refused.code.is_empty() && !refused.log.contains("panicked"),
                "{refused:?}"
            );
            return Err(refused.code);
        }
    };
    let client = server.client();
    let mut read = Vec::new();
    for index in 0..size {
        let answer = client.get(&format!("events/{index}"));
        assert!([200, 404, 500, 503].contains(&answer.status), "{answer:?}");
        read.push(if answer.status == 200 {
            answer.json()
        } else {
            json!(answer.json()["code"])
        });
    }
    for path in [
        "events?limit=1000",
        "streams/s0/events?limit=1000",
        "events?tag=g",
        "events?type=t",
        "events?correlation_id=c",
        "streams",
        "log/checkpoint",
        "proofs/consistency?from=1",
        "log/tile/0/000",
        "erasures",
        "proofs/inclusion?index=0",
    ] {
        let answer = client.get(path);
        assert!([200, 404, 500, 503].contains(&answer.status), "{path}: {answer:?}");
    }
    assert!(!data.log().contains("panicked"), "{}", data.log());
    Ok(read)
}

pub(crate) fn open(path: &Path) -> DB {
    let families = DB::list_cf(&Options::default(), path).unwrap();
    DB::open_cf(&Options::default(), path, families).unwrap()
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Flip,
    Halve,
    Delete,
}

/// Changes one row of a column family: the one at `place` tenths of its rows.
fn change_row(data: &Data, family: &str, place: usize, change: Change) -> String {
    let db = open(&data.path().join("ledger"));
    let family = db.cf_handle(family).unwrap();
    let rows: Vec<_> = db
        .iterator_cf(family, IteratorMode::Start)
        .map(Result::unwrap)
        .collect();
    let (key, value) = &rows[(rows.len() - 1) * place / 10];
    match change {
        Change::Delete => db.delete_cf(family, key).unwrap(),
        Change::Halve => db.put_cf(family, key, &value[..value.len() / 2]).unwrap(),
        Change::Flip => {
            let mut value = value.to_vec();
            let middle = value.len() / 2;
            value[middle] ^= 1;
            db.put_cf(family, key, value).unwrap();
        }
    }
    format!("{change:?} of {} in {} rows", hex::encode(key), rows.len())
}

#[test]
fn a_row_changed_in_the_database_itself_is_found() {
    let good = filled();
    assert_eq!(verdict(&good), "valid");
    let size = 1 + 1 + 270 + 2;
    let original = read_everything(&good, size).unwrap();
    assert!(original.iter().all(Value::is_object), "{original:?}");
    let mut missed = Vec::new();
    for family in [
        "headers",
        "bodies",
        "sealed",
        "tiles",
        "checkpoints",
        "ids",
        "streams",
        "stream_events",
        "lookup",
        "system",
    ] {
        for (place, change) in [
            (0, Change::Flip),
            (5, Change::Flip),
            (10, Change::Flip),
            (5, Change::Halve),
            (5, Change::Delete),
        ] {
            let has_values = family != "lookup";
            if !has_values && !matches!(change, Change::Delete) {
                continue;
            }
            let data = good.copy();
            let what = format!("{family}: {}", change_row(&data, family, place, change));
            let found = verdict(&data);
            let read = read_everything(&data, size);
            let is_found = found != "valid" || read.is_err();
            let differs: Vec<_> = read
                .iter()
                .flatten()
                .zip(&original)
                .filter(|(now, before)| now != before && !now.is_string())
                .collect();
            // A past checkpoint is a convenience: whoever holds it can prove it, and a later one covers the same events.
            let is_past_checkpoint = family == "checkpoints" && matches!(change, Change::Delete);
            if !(is_found || is_past_checkpoint && differs.is_empty()) {
                missed.push(format!(
                    "{what}: {} events read otherwise, as {:?}",
                    differs.len(),
                    differs.first()
                ));
            }
        }
    }
    assert!(missed.is_empty(), "called valid and served: {missed:#?}");
}

#[test]
fn a_proof_that_does_not_hold_is_kept_back_and_counted() {
    let data = filled();
    change_row(&data, "headers", 5, Change::Flip);
    let server = data.serve();
    let client = server.client();
    let kept_back = || {
        let page = client.get("/metrics").text();
        let line = page
            .lines()
            .find(|line| line.starts_with("oubliette_proofs_kept_back_total{ledger=\"main\"}"));
        line.unwrap_or_else(|| panic!("{page}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .to_owned()
    };
    assert_eq!(kept_back(), "0");
    let size = client.get("proofs/inclusion?index=0").expect(200)["tree_size"]
        .as_u64()
        .unwrap();
    let index = (size - 1) * 5 / 10;
    for path in [
        format!("proofs/inclusion?index={index}"),
        format!("proofs/inclusion?index={index}&format=cose"),
        format!("events/{index}/proof"),
    ] {
        client.get(&path).problem(500, "damaged");
    }
    assert_eq!(kept_back(), "3");
    // Its neighbours are proved all the same.
    client.get(&format!("proofs/inclusion?index={}", index - 1)).expect(200);
    client.get(&format!("proofs/consistency?from={index}")).expect(200);
    assert_eq!(kept_back(), "3");
    assert!(
        data.log().contains("a proof does not hold and was kept back"),
        "{}",
        data.log()
    );
    server.stop();

    // A false past checkpoint confirms nothing.
    change_row(&data, "checkpoints", 5, Change::Flip);
    let server = data.serve();
    let client = server.client();
    let answers = (1..size).map(|size| client.get(&format!("proofs/inclusion?index=0&tree_size={size}")).status);
    let answers: std::collections::BTreeSet<_> = answers.collect();
    assert_eq!(answers, [200, 500].into());
}

#[test]
fn an_erased_block_that_is_overwritten_or_a_live_one_that_is_moved_is_found() {
    let good = filled();
    let data = good.copy();
    {
        let db = open(&data.path().join("ledger"));
        let family = db.cf_handle("sealed").unwrap();
        let rows: Vec<_> = db
            .iterator_cf(family, IteratorMode::Start)
            .map(Result::unwrap)
            .collect();
        // Two people's blocks change places.
        db.put_cf(family, &rows[0].0, &rows[1].1).unwrap();
        db.put_cf(family, &rows[1].0, &rows[0].1).unwrap();
    }
    assert_ne!(verdict(&data), "valid");
    let server = data.serve();
    let events = server.client().read_all("events?tag=g&reveal=true", 10);
    for event in &events[..2] {
        assert_eq!(event["personal"][0]["state"], "key_unavailable", "{event}");
    }
    drop(server);
    let data = good.copy();
    {
        let db = open(&data.path().join("ledger"));
        let family = db.cf_handle("headers").unwrap();
        let rows: Vec<_> = db
            .iterator_cf(family, IteratorMode::Start)
            .map(Result::unwrap)
            .collect();
        db.put_cf(family, &rows[10].0, &rows[11].1).unwrap();
        db.put_cf(family, &rows[11].0, &rows[10].1).unwrap();
    }
    assert_ne!(verdict(&data), "valid");
}

#[test]
fn a_byte_flipped_in_a_file_is_never_silently_other_content() {
    let good = filled();
    let size = 274;
    let original = read_everything(&good, size).unwrap();
    let mut dice = Dice::new(3);
    for round in 0..28 {
        let data = good.copy();
        let folder = data.path().join(if round % 4 == 3 { "keystore" } else { "ledger" });
        let stored: Vec<_> = files(&folder)
            .into_iter()
            .filter(|file| {
                file.extension()
                    .is_some_and(|ending| ending == "sst" || ending == "log")
                    && file.metadata().unwrap().len() > 0
            })
            .collect();
        let file = &stored[usize::try_from(dice.below(stored.len() as u64)).unwrap()];
        let mut bytes = std::fs::read(file).unwrap();
        let at = usize::try_from(dice.below(bytes.len() as u64)).unwrap();
        bytes[at] ^= 1 << dice.below(8);
        std::fs::write(file, bytes).unwrap();
        let what = format!("byte {at} of {}", file.strip_prefix(data.path()).unwrap().display());
        let Ok(read) = read_everything(&data, size) else {
            continue;
        };
        for (now, before) in read.iter().zip(&original) {
            let mut now = now.clone();
            // A key that cannot be had is a state of its own; it must never read as erased, and nothing else may differ.
            if now["personal"][0]["state"] == "key_unavailable" {
                now["personal"][0]["state"] = before["personal"][0]["state"].clone();
                now["personal"][0]["certificate"] = before["personal"][0]["certificate"].clone();
                if now["personal"][0]["certificate"].is_null() {
                    now["personal"][0].as_object_mut().unwrap().remove("certificate");
                }
            }
            assert!(now.is_string() || now == *before, "{what}: {now} instead of {before}");
        }
    }
}

#[test]
fn a_damaged_record_of_the_ledger_is_named_by_the_report_and_denies_nothing() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    client.append("s", json!({"type": "t", "personal": [{"subject": "ada", "data": 1}]}));
    for _ in 0..2 {
        client.get("events?type=t&reveal=true").expect(200);
    }
    server.stop();
    {
        let db = open(&data.path().join("ledger"));
        let family = db.cf_handle("bodies").unwrap();
        let of_reveal = |row: &(Box<[u8]>, Box<[u8]>)| row.1.windows(11).any(|window| window == b"\"handles\":[");
        let rows = db.iterator_cf(family, IteratorMode::Start).map(Result::unwrap);
        let (key, _) = rows.into_iter().find(of_reveal).unwrap();
        db.delete_cf(family, key).unwrap();
    }
    let server = data.serve();
    let made = server.client().get("reports/compliance?from=2020-01-01&to=2100-01-01");
    let report = &made.expect(200)["report"];
    assert_eq!(report["reveals"]["requests"], 1, "{report}");
    let index = &report["unreadable"]["list"][0]["index"];
    assert!(index.as_u64().is_some());
    assert_eq!(
        report["unreadable"],
        json!({"total": 1, "list": [{"index": index, "section": "reveals"}], "omitted": 0})
    );
    let page = server
        .client()
        .get("reports/compliance?from=2020-01-01&to=2100-01-01&format=html");
    assert!(page.text().contains("Damaged records"));
    let table = server
        .client()
        .get("reports/compliance?from=2020-01-01&to=2100-01-01&format=csv");
    assert!(table.text().contains("unreadable"));
}

/// Headers are keyed by ledger and index, in order; one in the middle of the first tile is cut, and one is gone. Those beyond
/// it are the tree's edge, without which nothing starts.
#[test]
fn events_without_a_readable_header_are_named_and_counted_by_the_report() {
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    for n in 0..300 {
        client.append("s", json!({"type": "t", "data": n}));
    }
    server.stop();
    change_row(&data, "headers", 5, Change::Halve);
    change_row(&data, "headers", 3, Change::Delete);
    let server = data.serve();
    let client = server.client();
    let made = client.get("reports/compliance?from=2020-01-01&to=2100-01-01");
    let report = &made.expect(200)["report"];
    assert_eq!(report["events"]["unreadable"], 2, "{}", report["events"]);
    let named = report["unreadable"]["list"].as_array().unwrap();
    assert_eq!((named.len(), &named[0]["section"]), (2, &json!("events")));
    let of_type = report["events"]["by_type"].as_array().unwrap();
    assert!(
        of_type.contains(&json!({"type": "t", "count": 298, "own": false})),
        "{of_type:?}"
    );
    let trust = oubliette::spec::verify::Trust::default();
    let found = oubliette::spec::compliance::verify_report(&made.body, &trust);
    assert_eq!(found.verdict, oubliette::spec::report::Verdict::Valid, "{found}");
    let page = client.get("reports/compliance?from=2020-01-01&to=2100-01-01&format=html");
    assert!(page.text().contains("whose header cannot be read"));
    // The bounds of a period are found around them.
    let before = client
        .get("reports/compliance?from=2020-01-01&to=2020-02-01")
        .expect(200);
    assert_eq!(before["report"]["events"]["total"], 0);
}
