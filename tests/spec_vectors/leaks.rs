//! Leaks: their events, and the certificates of people whom they name (chapters 08 and 09).

use serde_json::{Value, json};

use crate::certificates::{certificate, signed};
use crate::evidence::{evidence, shows, with};
use crate::ledger::{CERTIFICATE_KEY, Event, HANDLE, REQUEST, Record, chain, events};
use crate::{bad, good};

const LEAK: &str = "0190163d-8694-739b-8aea-966c26f8ad93";

fn reported() -> Value {
    json!({"leak": LEAK, "positions": [[2, 1]], "handles": [hex::encode(HANDLE)], "by": "00ff", "roles": ["officer"]})
}

/// Vectors of `own-events.json`.
pub(crate) fn own_events() -> Vec<Value> {
    let fields = |kind: &str, data: &Value| json!({"type": kind, "data": data.to_string()});
    let without = |member: &str| {
        let mut payload = reported();
        payload.as_object_mut().unwrap().remove(member);
        payload
    };
    let accepted = [
        ("leak.reported", "as the server writes it", reported()),
        ("leak.reported", "that names nobody", without("handles")),
        (
            "leak.withdrawn",
            "as the server writes it",
            json!({"leak": LEAK, "by": "00ff", "roles": ["officer"]}),
        ),
        (
            "subject.keys_renewed",
            "binds nobody",
            json!({"handle": hex::encode(HANDLE), "keys": [], "by": "00ff"}),
        ),
    ];
    let refused = [
        (
            "leak.reported",
            "no id",
            "a required member is missing",
            without("leak"),
        ),
        (
            "leak.reported",
            "no positions member",
            "a required member is missing",
            without("positions"),
        ),
        (
            "leak.reported",
            "no position",
            "at least one position",
            with(&reported(), "/positions", json!([])),
        ),
        (
            "leak.reported",
            "handles as text",
            "wrong type",
            with(&reported(), "/handles", json!("all")),
        ),
        (
            "leak.reported",
            "a subject id for a handle",
            "not a handle",
            with(&reported(), "/handles", json!(["ada"])),
        ),
        (
            "leak.withdrawn",
            "no id",
            "a required member is missing",
            json!({"by": "00ff"}),
        ),
    ];
    let accepted = accepted.map(|(kind, name, data)| good(&format!("{kind}: {name}"), fields(kind, &data)));
    let refused =
        refused.map(|(kind, name, reason, data)| bad(&format!("{kind}: {name}"), reason, fields(kind, &data)));
    accepted.into_iter().chain(refused).collect()
}

/// The ledger with a report about the erased person, and what came of it.
fn leaked(end: Option<(&'static str, &'static str, Value)>) -> Vec<Record> {
    let mut all = events();
    let mut next = |stream, event_type, data| {
        let mut event = Event::new(stream, 1, event_type, Some(data));
        event.time += all.len() as u64 * 1_000_000;
        all.push(event);
    };
    next("$leaks", "leak.reported", reported());
    if let Some((stream, event_type, data)) = end {
        next(stream, event_type, data);
        if event_type == "bodies.redacted" {
            all[2].absent = vec![1];
        }
    }
    chain(&all)
}

pub(crate) fn certificates() -> Vec<Value> {
    let by = |certificate: &Value| signed("certificate", CERTIFICATE_KEY, certificate);
    let told = |records: &[Record], outcome: &str| {
        let evidence: Vec<_> = [4, 5, 8, 9].iter().map(|index| evidence(records, *index)).collect();
        let line = json!({"leak": LEAK, "reported_at": "2026-01-01T00:00:08.000000Z", "events": [2], "outcome": outcome,
            "settled_at": "2026-01-01T00:00:09.000000Z"});
        with(
            &with(&certificate(records), "/evidence", evidence),
            "/clear/leaks",
            json!([line]),
        )
    };
    let redacted = leaked(Some((
        "$redactions",
        "bodies.redacted",
        json!({"ground": "personal_data", "positions": [[2, 1]]}),
    )));
    let withdrawn = leaked(Some(("$leaks", "leak.withdrawn", json!({"leak": LEAK}))));
    let other = leaked(Some(("$leaks", "leak.withdrawn", json!({"leak": REQUEST}))));
    let (plain, open) = (told(&redacted, "redacted"), leaked(None));
    let of_open: Vec<_> = [4, 5, 8].iter().map(|index| evidence(&open, *index)).collect();
    vec![
        good("certificate: a leak that was redacted", by(&plain)),
        good(
            "certificate: a report that was withdrawn",
            by(&told(&withdrawn, "withdrawn")),
        ),
        shows(
            "certificate: a leak that is open",
            "erasure_not_shown",
            "its people's data stands in clear",
            by(&with(&certificate(&open), "/evidence", of_open)),
        ),
        shows(
            "certificate: another report was withdrawn",
            "erasure_not_shown",
            "its people's data stands in clear",
            by(&told(&other, "withdrawn")),
        ),
        shows(
            "certificate: a leak that is not told",
            "fact_mismatch",
            "the evidence has it",
            by(&with(&plain, "/clear/leaks", json!([]))),
        ),
        shows(
            "certificate: a leak that is told otherwise",
            "fact_mismatch",
            "it was redacted",
            by(&with(&plain, "/clear/leaks/0/outcome", json!("withdrawn"))),
        ),
        shows(
            "certificate: an unknown outcome of a leak",
            "document_invalid",
            "unknown code",
            by(&with(&plain, "/clear/leaks/0/outcome", json!("ignored"))),
        ),
    ]
}
