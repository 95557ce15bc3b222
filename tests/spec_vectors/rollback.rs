//! What a log that goes on says of the frozen one (chapters 06 and 13), and the manifests of backups.

use oubliette::spec::backup::Manifest;
use oubliette::spec::encoding::encode_document;
use oubliette::spec::signature::PublicKey;
use serde_json::{Value, json};

use crate::evidence::{with, without};
use crate::keys::public;
use crate::ledger::{
    CERTIFICATE_KEY, CHECKPOINT_KEY, EVENT_KEY, HANDLE, ORIGIN, REQUEST, STRANGER, chain, checkpoint, cose, events,
    head, sha256,
};
use crate::{array, bad, bytes, good};

/// The frozen log.
const FROZEN: &str = "audit.example.com/frozen";

fn root(of: u8) -> [u8; 32] {
    sha256(&[&[of]])
}

/// 90 events are left of 95.
fn continued() -> Value {
    json!({
        "origin": FROZEN, "last_known": checkpoint(FROZEN, 95, &root(95), CHECKPOINT_KEY),
        "restored": {"tree_size": 90, "root": hex::encode(root(90))},
    })
}

/// Vectors of `ledger-created.json`: payloads of a log that goes on.
pub(crate) fn continues(created: &Value) -> Vec<Value> {
    let all = |continues: Value| {
        let mut payload = created.clone();
        payload["continues"] = continues;
        payload
    };
    let one = |pointer: &str, value: Value| all(json!([with(&continued(), pointer, value)]));
    let second = with(
        &with(&continued(), "/origin", "audit.example.com/older"),
        "/last_known",
        checkpoint("audit.example.com/older", 95, &root(95), CHECKPOINT_KEY),
    );
    let accepted = [
        ("goes on from a frozen log", all(json!([continued()]))),
        ("goes on from two", all(json!([continued(), second]))),
        (
            "goes on from a log of which nothing is known to be lost",
            one("/restored", json!({"tree_size": 95, "root": hex::encode(root(95))})),
        ),
        (
            "goes on from a log of which nothing is left",
            one("/restored", json!({"tree_size": 0, "root": hex::encode(sha256(&[]))})),
        ),
    ];
    let refused = [
        ("goes on from itself", "another log", one("/origin", json!(ORIGIN))),
        (
            "goes on from one log twice",
            "each once",
            all(json!([continued(), continued()])),
        ),
        (
            "a checkpoint of another log",
            "of the frozen log",
            one("/last_known", json!(checkpoint(ORIGIN, 95, &root(95), CHECKPOINT_KEY))),
        ),
        (
            "a checkpoint that is older than what is left",
            "not smaller",
            one("/restored/tree_size", json!(96)),
        ),
        (
            "two roots for one size",
            "equal roots",
            one("/restored/tree_size", json!(95)),
        ),
        (
            "a checkpoint that is no note",
            "a signed note",
            one("/last_known", json!("95")),
        ),
        (
            "an unknown member of what it goes on from",
            "the object is closed",
            one("/note", json!("x")),
        ),
        (
            "no root of what is left",
            "a required member is missing",
            all(json!([without(&continued(), "/restored/root")])),
        ),
        ("continues is no list", "wrong type", all(continued())),
    ];
    let fields = |data: &Value| json!({"data": data.to_string(), "header_origin": ORIGIN});
    let accepted = accepted.map(|(name, data)| good(name, fields(&data)));
    let refused = refused.map(|(name, reason, data)| bad(name, reason, fields(&data)));
    accepted.into_iter().chain(refused).collect()
}

/// Vectors of `own-events.json`.
pub(crate) fn recovered() -> Vec<Value> {
    let plain =
        json!({"origin": FROZEN, "index": 92, "request": REQUEST, "subjects": [{"handle": hex::encode(HANDLE)}]});
    let fields = |data: &Value| json!({"type": "erasure.recovered", "data": data.to_string()});
    let accepted = [
        ("as the server writes it", plain.clone()),
        ("of one category", with(&plain, "/categories", json!(["billing"]))),
        ("with more", with(&plain, "/note", json!("x"))),
    ];
    let refused = [
        ("no origin", "a required member is missing", without(&plain, "/origin")),
        ("no index", "a required member is missing", without(&plain, "/index")),
        (
            "no subjects",
            "a required member is missing",
            without(&plain, "/subjects"),
        ),
        (
            "origin with a scheme",
            "not an origin",
            with(&plain, "/origin", json!("https://audit.example.com/frozen")),
        ),
        ("index as text", "wrong type", with(&plain, "/index", json!("92"))),
        (
            "subject without handle",
            "a required member is missing",
            with(&plain, "/subjects", json!([{}])),
        ),
    ];
    let accepted = accepted.map(|(name, data)| good(&format!("erasure.recovered: {name}"), fields(&data)));
    let refused = refused.map(|(name, reason, data)| bad(&format!("erasure.recovered: {name}"), reason, fields(&data)));
    accepted.into_iter().chain(refused).collect()
}

fn manifest() -> Value {
    let file = |part: &str, name: &str, of: u8| json!({"part": part, "name": name, "size": of, "sha256": hex::encode(root(of))});
    let records = chain(&events());
    json!({
        "format": "oubliette/backup/v1", "backup": REQUEST, "store": "07".repeat(16), "taken_at": "2026-01-01T00:00:09.000000Z",
        "ledgers": [{"id": "08".repeat(16), "ledger": "main", "origin": ORIGIN, "checkpoint": head(&records), "epoch": 5, "applied": 4}],
        "files": [file("ledger", "000012.sst", 12), file("ledger", "CURRENT", 13), file("keystore", "000007.sst", 7)],
    })
}

/// Vectors of `backups.json`.
pub(crate) fn backups() -> Vec<Value> {
    let fields = |kind: &str, seed: u8, manifest: &Value| {
        let object = cose(kind, seed, &encode_document(manifest).unwrap(), true);
        json!({"object": hex::encode(object), "public_key": hex::encode(public(CERTIFICATE_KEY).0)})
    };
    let by = |manifest: &Value| fields("backup", CERTIFICATE_KEY, manifest);
    let plain = manifest();
    let altered = |pointer: &str, value: Value| by(&with(&plain, pointer, value));
    let files = &plain["files"];
    let mut vectors = vec![
        good("as the server writes it", by(&plain)),
        good(
            "before any erasure, of nothing yet",
            by(&without(&with(&plain, "/files", json!([])), "/ledgers/0/applied")),
        ),
        bad(
            "signed by a stranger",
            "not the certificate key",
            fields("backup", STRANGER, &plain),
        ),
        bad(
            "signed by the event key",
            "not the certificate key",
            fields("backup", EVENT_KEY, &plain),
        ),
        bad(
            "signed as a manifest of a bundle",
            "another content type",
            fields("manifest", CERTIFICATE_KEY, &plain),
        ),
        bad(
            "signed as a certificate",
            "another content type",
            fields("certificate", CERTIFICATE_KEY, &plain),
        ),
    ];
    let refused = [
        (
            "another format",
            "from another version",
            "/format",
            json!("oubliette/backup/v2"),
        ),
        ("no ledger", "at least one", "/ledgers", json!([])),
        (
            "a checkpoint of another ledger",
            "of the ledger's origin",
            "/ledgers/0/origin",
            json!(FROZEN),
        ),
        (
            "a checkpoint that is no note",
            "a signed note",
            "/ledgers/0/checkpoint",
            json!("8"),
        ),
        ("an unknown member", "the object is closed", "/note", json!("x")),
        (
            "an unknown member of a ledger",
            "the object is closed",
            "/ledgers/0/note",
            json!("x"),
        ),
        ("an unknown part", "unknown code", "/files/0/part", json!("vault")),
        (
            "a name with a folder",
            "leads elsewhere",
            "/files/0/name",
            json!("../CURRENT"),
        ),
        (
            "a name that begins with a dot",
            "leads elsewhere",
            "/files/0/name",
            json!(".hidden"),
        ),
        ("an empty name", "1 to 255 signs", "/files/0/name", json!("")),
        (
            "a name of 256 signs",
            "1 to 255 signs",
            "/files/0/name",
            json!("0".repeat(256)),
        ),
        (
            "files not in order",
            "ascending by part and name",
            "/files",
            json!([files[1], files[0], files[2]]),
        ),
        ("a file twice", "each once", "/files", json!([files[0], files[0]])),
    ];
    vectors.extend(refused.map(|(name, reason, pointer, value)| bad(name, reason, altered(pointer, value))));
    let mut flipped = hex::decode(by(&plain)["object"].as_str().unwrap()).unwrap();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let mut fields = by(&plain);
    fields["object"] = hex::encode(flipped).into();
    vectors.push(bad("a byte flipped", "does not verify", fields));
    vectors
}

pub(crate) fn check_backup(vector: &Value) -> Result<bool, String> {
    let key = PublicKey::new(&array(vector, "public_key")).unwrap();
    Ok(Manifest::open(&bytes(vector, "object"), &key).is_ok())
}
