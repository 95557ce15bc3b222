//! The payloads of Oubliette's own events (chapters 06 and 08).

use ed25519_dalek::SigningKey;
use oubliette::spec::keys::{LedgerCreated, Role};
use oubliette::spec::system::{Authority, SystemType};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{bad, good, text};

const ORIGIN: &str = "audit.example.com/main";

/// The public key of a test seed, and its id by the formula.
pub(crate) fn public(seed: u8) -> ([u8; 32], [u8; 32]) {
    let public = SigningKey::from_bytes(&[seed; 32]).verifying_key().to_bytes();
    (public, key_id(&public))
}

pub(crate) fn key_id(public: &[u8; 32]) -> [u8; 32] {
    Sha256::digest([&hex::decode("a301012006215820").unwrap(), &public[..]].concat()).into()
}

fn announced(role: &str, seed: u8) -> Value {
    let (public, id) = public(seed);
    json!({"role": role, "algorithm": "ed25519", "public_key": hex::encode(public), "key_id": hex::encode(id)})
}

fn created() -> Value {
    let (recovery, _) = public(14);
    json!({
        "ledger": "main", "origin": ORIGIN,
        "keys": [announced("event", 11), announced("checkpoint", 12), announced("certificate", 13)],
        "recovery_key_hash": hex::encode(Sha256::digest(recovery)),
    })
}

fn altered(alter: impl FnOnce(&mut Value)) -> String {
    let mut payload = created();
    alter(&mut payload);
    payload.to_string()
}

fn set(pointer: &str, value: impl Into<Value>) -> String {
    altered(|payload| *payload.pointer_mut(pointer).unwrap() = value.into())
}

fn removed(member: &str) -> String {
    altered(|payload| drop(payload.as_object_mut().unwrap().remove(member)))
}

/// A key's members without their names.
fn values(key: &Value) -> Value {
    json!(["role", "algorithm", "public_key", "key_id"].map(|member| &key[member]))
}

pub(crate) fn ledger_created() -> Vec<Value> {
    let (event, _) = public(11);
    let mut identity = [0; 32];
    identity[0] = 1;
    let weak = |payload: &mut Value| {
        payload["keys"][0]["public_key"] = hex::encode(identity).into();
        payload["keys"][0]["key_id"] = hex::encode(key_id(&identity)).into();
    };
    let plain = created().to_string();
    let cases: Vec<(&str, Option<&str>, String)> = vec![
        ("as the server writes it", None, plain.clone()),
        (
            "keys in another order",
            None,
            altered(|payload| payload["keys"].as_array_mut().unwrap().reverse()),
        ),
        (
            "with white space",
            None,
            serde_json::to_string_pretty(&created()).unwrap(),
        ),
        ("empty", Some("not JSON"), String::new()),
        ("cut short", Some("not JSON"), plain[..plain.len() - 1].to_owned()),
        ("not an object", Some("not an object"), "7".into()),
        ("an array of the values", Some("not an object"), {
            let created = created();
            json!(["ledger", "origin", "keys", "recovery_key_hash"].map(|member| &created[member])).to_string()
        }),
        ("no ledger", Some("a required member is missing"), removed("ledger")),
        ("no origin", Some("a required member is missing"), removed("origin")),
        ("no keys", Some("a required member is missing"), removed("keys")),
        (
            "no recovery key hash",
            Some("a required member is missing"),
            removed("recovery_key_hash"),
        ),
        (
            "an unknown member",
            Some("the object is closed"),
            altered(|payload| payload["note"] = "x".into()),
        ),
        (
            "an unknown member of a key",
            Some("the object is closed"),
            altered(|payload| payload["keys"][0]["to"] = 9.into()),
        ),
        (
            "a member twice",
            Some("a member appears twice"),
            plain.replacen('{', "{\"ledger\":\"main\",", 1),
        ),
        (
            "another origin than the header's",
            Some("the header has another origin"),
            set("/origin", "other.example/main"),
        ),
        (
            "origin with a scheme",
            Some("not an origin"),
            set("/origin", "https://audit.example.com/main"),
        ),
        (
            "ledger name in capitals",
            Some("not a ledger name"),
            set("/ledger", "Main"),
        ),
        ("no keys at all", Some("one key for each role"), set("/keys", json!([]))),
        (
            "no checkpoint key",
            Some("one key for each role"),
            altered(|payload| drop(payload["keys"].as_array_mut().unwrap().remove(1))),
        ),
        (
            "two event keys",
            Some("one key for each role"),
            altered(|payload| payload["keys"].as_array_mut().unwrap().push(announced("event", 15))),
        ),
        (
            "an unknown role",
            Some("unknown role"),
            altered(|payload| payload["keys"].as_array_mut().unwrap().push(announced("recovery", 14))),
        ),
        ("role in capitals", Some("unknown role"), set("/keys/0/role", "Event")),
        (
            "another algorithm",
            Some("unknown algorithm"),
            set("/keys/0/algorithm", "ed448"),
        ),
        (
            "algorithm in capitals",
            Some("unknown algorithm"),
            set("/keys/0/algorithm", "Ed25519"),
        ),
        (
            "the id of another key",
            Some("not the key's id"),
            set("/keys/0/key_id", hex::encode(public(12).1)),
        ),
        (
            "the key as its own id",
            Some("not the key's id"),
            set("/keys/0/key_id", hex::encode(event)),
        ),
        (
            "a key of 31 bytes",
            Some("wrong length"),
            set("/keys/0/public_key", hex::encode(&event[..31])),
        ),
        (
            "a key as an array",
            Some("not an object"),
            altered(|payload| payload["keys"][0] = values(&payload["keys"][0])),
        ),
        (
            "a key in capital hex",
            Some("hex is lower-case"),
            set("/keys/0/public_key", hex::encode_upper(event)),
        ),
        ("a weak key with its right id", Some("not a strict key"), altered(weak)),
        (
            "recovery key hash of 31 bytes",
            Some("wrong length"),
            set("/recovery_key_hash", "00".repeat(31)),
        ),
        (
            "recovery key hash null",
            Some("null"),
            set("/recovery_key_hash", Value::Null),
        ),
    ];
    let vector = |(name, reason, data): (&str, Option<&str>, String)| {
        let fields = json!({"header_origin": ORIGIN, "data": data});
        match reason {
            None => good(name, fields),
            Some(reason) => bad(name, reason, fields),
        }
    };
    let goes_on = crate::rollback::continues(&created());
    cases.into_iter().map(vector).chain(goes_on).collect()
}

pub(crate) fn check_ledger_created(vector: &Value) -> Result<bool, String> {
    let Ok(created) = LedgerCreated::read(text(vector, "data").as_bytes()) else {
        return Ok(false);
    };
    let keys = [Role::Event, Role::Checkpoint, Role::Certificate]
        .into_iter()
        .all(|role| created.key(role).is_ok());
    Ok(keys && created.origin.as_str() == text(vector, "header_origin"))
}

pub(crate) fn own_events() -> Vec<Value> {
    let id = "0190163d-8694-739b-8aea-966c26f8ad91";
    let handle = "0a".repeat(16);
    let requested = json!({
        "request": id, "subjects": [{"handle": handle}], "categories": ["billing"], "basis": "art17_1_a",
        "reason": "request", "due_at": "2026-12-21T10:00:00.000000Z", "already_erased": 0, "by": "00ff", "roles": ["officer"],
    });
    let completed = json!({
        "request": id,
        "subjects": [{"handle": handle, "keys_destroyed": 2, "identity_destroyed": true, "events": 5}],
        "fenced_at": "2026-11-21T10:00:00.000000Z", "destroyed_at": "2026-11-21T10:00:00.100000Z",
        "verification": {"sampled": 4, "opened": 0, "identity_resolves": false}, "pending": ["ciphertext"],
    });
    let purged = json!({"ground": "erasure", "requests": [id], "positions": [[7, 2], [9, 0]]});
    let removed = json!({
        "request": id, "residue": "ciphertext", "at": "2026-11-21T10:10:00.000000Z", "purges": [12], "alone": false,
        "derived": [{"store": "handle_index", "state": "purged", "at": "2026-11-21T10:10:00.000000Z"},
            {"store": "block_caches", "state": "memory_only"}],
    });
    let retention = json!({"ground": "retention", "positions": [[7, 1]]});
    let redacted = json!({"ground": "leak", "positions": [[7, 1]]});
    let with = |base: &Value, member: &str, value: Value| {
        let mut payload = base.clone();
        payload[member] = value;
        payload
    };
    let without = |base: &Value, member: &str| {
        let mut payload = base.clone();
        payload.as_object_mut().unwrap().remove(member);
        payload
    };
    let many = |count: u64| Value::from((0..count).map(|index| json!([index, 0])).collect::<Vec<_>>());
    let accepted = [
        ("erasure.requested", "as the server writes it", requested.clone()),
        ("erasure.requested", "the least", json!({"request": id, "subjects": []})),
        (
            "erasure.requested",
            "every known code",
            with(
                &with(&requested, "basis", json!("other")),
                "reason",
                json!("legal_duty"),
            ),
        ),
        ("erasure.completed", "as the server writes it", completed.clone()),
        (
            "erasure.completed",
            "the least",
            json!({"request": id, "subjects": [{"handle": handle}]}),
        ),
        ("erasure.residue_removed", "as the server writes it", removed.clone()),
        (
            "erasure.residue_removed",
            "the least, with more",
            json!({"request": id, "residue": "epoch_key", "at": "2026-11-21T10:10:00.000000Z", "epoch": 2}),
        ),
        ("bodies.purged", "after an erasure", purged.clone()),
        ("bodies.purged", "by retention", retention.clone()),
        (
            "bodies.purged",
            "10,000 positions",
            with(&retention, "positions", many(10_000)),
        ),
        ("bodies.redacted", "one position", redacted.clone()),
        (
            "erasure.requested",
            "after it waited, with an expiring suppression",
            with(
                &with(&requested, "submitted_at", json!("2026-11-21T10:00:00.000000Z")),
                "suppression",
                json!({"until": "2028-12-01T00:00:00.000000Z"}),
            ),
        ),
        (
            "erasure.submitted",
            "binds nobody",
            with(&with(&requested, "four_eyes", json!(true)), "grace_seconds", json!(0)),
        ),
        (
            "hold.placed",
            "binds nobody",
            json!({"hold": id, "handles": [handle], "ground": "case-1", "by": "00ff", "roles": ["officer"]}),
        ),
        (
            "restriction.placed",
            "binds nobody",
            json!({"restriction": id, "handle": handle, "reason": "objection", "by": "00ff", "roles": ["officer"]}),
        ),
        (
            "subject.reopened",
            "an erased person: no handle",
            json!({"reopening": id, "reason": "consent", "by": "00ff", "roles": ["officer"]}),
        ),
        (
            "retention.completed",
            "binds nobody",
            json!({"run": id, "rules": [], "erasures": []}),
        ),
    ];
    let refused = [
        (
            "erasure.requested",
            "no request",
            "a required member is missing",
            without(&requested, "request"),
        ),
        (
            "erasure.requested",
            "no subjects",
            "a required member is missing",
            without(&requested, "subjects"),
        ),
        (
            "erasure.requested",
            "request is no UUID",
            "not a UUID",
            with(&requested, "request", json!("7")),
        ),
        (
            "erasure.requested",
            "handle of 15 bytes",
            "wrong length",
            with(&requested, "subjects", json!([{"handle": "0a".repeat(15)}])),
        ),
        (
            "erasure.requested",
            "handle in capital hex",
            "hex is lower-case",
            with(&requested, "subjects", json!([{"handle": "0A".repeat(16)}])),
        ),
        (
            "erasure.requested",
            "subject without handle",
            "a required member is missing",
            with(&requested, "subjects", json!([{}])),
        ),
        (
            "erasure.requested",
            "unknown basis",
            "unknown code",
            with(&requested, "basis", json!("art17_1_g")),
        ),
        (
            "erasure.requested",
            "unknown reason",
            "unknown code",
            with(&requested, "reason", json!("whim")),
        ),
        (
            "erasure.requested",
            "category in capitals",
            "not a category",
            with(&requested, "categories", json!(["Billing"])),
        ),
        (
            "erasure.requested",
            "due at is no time",
            "not a time",
            with(&requested, "due_at", json!("soon")),
        ),
        (
            "erasure.completed",
            "no request",
            "a required member is missing",
            without(&completed, "request"),
        ),
        (
            "erasure.completed",
            "subjects is no list",
            "wrong type",
            with(&completed, "subjects", json!({"handle": handle})),
        ),
        (
            "bodies.purged",
            "erasure without requests",
            "an erasure names its requests",
            without(&purged, "requests"),
        ),
        (
            "bodies.purged",
            "erasure of no request",
            "at least one request",
            with(&purged, "requests", json!([])),
        ),
        (
            "bodies.purged",
            "requests is no list",
            "wrong type",
            with(&purged, "requests", json!(id)),
        ),
        (
            "bodies.purged",
            "1,001 requests",
            "at most 1,000 requests",
            with(&purged, "requests", json!(vec![id; 1_001])),
        ),
        (
            "erasure.residue_removed",
            "no residue",
            "a required member is missing",
            without(&removed, "residue"),
        ),
        (
            "erasure.residue_removed",
            "no time",
            "a required member is missing",
            without(&removed, "at"),
        ),
        (
            "erasure.residue_removed",
            "purges as text",
            "wrong type",
            with(&removed, "purges", json!("all")),
        ),
        (
            "erasure.residue_removed",
            "an unknown member of a derived store",
            "the object is closed",
            with(
                &removed,
                "derived",
                json!([{"store": "x", "state": "purged", "by": "y"}]),
            ),
        ),
        (
            "bodies.purged",
            "retention with requests",
            "retention names no request",
            with(&retention, "requests", json!([id])),
        ),
        (
            "bodies.purged",
            "unknown ground",
            "unknown code",
            with(&retention, "ground", json!("whim")),
        ),
        (
            "bodies.purged",
            "no positions member",
            "a required member is missing",
            without(&retention, "positions"),
        ),
        (
            "bodies.purged",
            "no position",
            "at least one position",
            with(&retention, "positions", json!([])),
        ),
        (
            "bodies.purged",
            "10,001 positions",
            "at most 10,000 positions",
            with(&retention, "positions", many(10_001)),
        ),
        (
            "bodies.purged",
            "position of one number",
            "wrong shape",
            with(&retention, "positions", json!([[7]])),
        ),
        (
            "bodies.purged",
            "position of three numbers",
            "wrong shape",
            with(&retention, "positions", json!([[7, 1, 0]])),
        ),
        (
            "bodies.purged",
            "ordinal 65,536",
            "does not fit 16 bits",
            with(&retention, "positions", json!([[7, 65_536]])),
        ),
        (
            "bodies.purged",
            "negative index",
            "not an unsigned integer",
            with(&retention, "positions", json!([[-7, 1]])),
        ),
        (
            "bodies.purged",
            "index with a fraction",
            "not an integer",
            with(&retention, "positions", json!([[7.0, 1]])),
        ),
        (
            "bodies.purged",
            "index as text",
            "wrong type",
            with(&retention, "positions", json!([["7", 1]])),
        ),
        (
            "bodies.purged",
            "an unknown member",
            "the object is closed",
            with(&retention, "note", json!("x")),
        ),
        (
            "bodies.redacted",
            "no ground",
            "a required member is missing",
            without(&redacted, "ground"),
        ),
        (
            "bodies.redacted",
            "no position",
            "at least one position",
            with(&redacted, "positions", json!([])),
        ),
        (
            "bodies.redacted",
            "with a request",
            "the object is closed",
            with(&redacted, "request", json!(id)),
        ),
        (
            "erasure.requested",
            "an array of the values",
            "not an object",
            json!([id, [{"handle": handle}]]),
        ),
        (
            "erasure.requested",
            "suppression for ever, as a word",
            "no member says that",
            with(&requested, "suppression", json!("forever")),
        ),
        (
            "erasure.requested",
            "already erased as a text",
            "not a number",
            with(&requested, "already_erased", json!("0")),
        ),
        (
            "erasure.requested",
            "a subject as an array",
            "not an object",
            with(&requested, "subjects", json!([[handle]])),
        ),
        (
            "erasure.requested",
            "request in capitals",
            "a UUID of another form",
            with(&requested, "request", json!(id.to_uppercase())),
        ),
        (
            "erasure.requested",
            "due at in another offset",
            "a time of another form",
            with(&requested, "due_at", json!("2026-12-21T11:00:00.000000+01:00")),
        ),
        (
            "erasure.completed",
            "an array of the values",
            "not an object",
            json!([id, [{"handle": handle}]]),
        ),
        (
            "erasure.completed",
            "verification as an array",
            "not an object",
            with(&completed, "verification", json!([4, 0, false])),
        ),
        (
            "bodies.purged",
            "an array of the values",
            "not an object",
            json!(["retention", null, [[7, 1]]]),
        ),
        (
            "bodies.purged",
            "a position as an object",
            "wrong shape",
            with(&retention, "positions", json!([{"index": 7, "ordinal": 1}])),
        ),
        (
            "bodies.redacted",
            "an array of the values",
            "not an object",
            json!(["leak", [[7, 1]]]),
        ),
    ];
    let doubled = r#"{"ground":"retention","positions":[[7,2]],"positions":[[8,2]]}"#;
    let mut vectors: Vec<_> = accepted
        .into_iter()
        .map(|(kind, name, data)| {
            good(
                &format!("{kind}: {name}"),
                json!({"type": kind, "data": data.to_string()}),
            )
        })
        .collect();
    vectors.extend(refused.into_iter().map(|(kind, name, reason, data)| {
        bad(
            &format!("{kind}: {name}"),
            reason,
            json!({"type": kind, "data": data.to_string()}),
        )
    }));
    vectors.push(bad(
        "bodies.purged: positions twice",
        "a member appears twice",
        json!({"type": "bodies.purged", "data": doubled}),
    ));
    vectors.push(bad(
        "bodies.purged: not JSON",
        "not JSON",
        json!({"type": "bodies.purged", "data": "{"}),
    ));
    vectors.extend(crate::leaks::own_events());
    vectors.extend(crate::rollback::recovered());
    vectors
}

pub(crate) fn check_own_event(vector: &Value) -> Result<bool, String> {
    let kind = SystemType::from_type(&text(vector, "type").parse().unwrap()).unwrap();
    Ok(Authority::read(kind, text(vector, "data").as_bytes()).is_ok())
}
