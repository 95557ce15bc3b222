//! Oubliette's own test vectors: `docs/spec/vectors/*.json`, most of them of what must be refused.
//!
//! They are made here from fixed seeds, checked against the code, and compared byte for byte with the committed files. After
//! an intended change write them again:
//!
//! ```text
//! OUBLIETTE_WRITE_VECTORS=1 cargo test --no-default-features --test spec_vectors
//! ```
//!
//! Each area has two functions. `vectors` makes them; where the specification gives a formula it is computed here once more,
//! apart from the library. `check` reads them as a stranger would, from the JSON alone, and asks the library. Only the pure
//! layer is used. The keys in here are test keys: everybody knows their seeds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bundles;
mod cbor;
mod certificates;
mod documents;
mod events;
mod evidence;
mod keys;
mod leaks;
mod ledger;
mod notes;
mod reports;
mod rollback;
mod sealed;
mod signatures;
mod tree;

use std::path::PathBuf;

use serde_json::{Value, json};

/// Makes the vectors of one file.
type Make = fn() -> Vec<Value>;
/// Whether the library accepts the input of one vector; an `Err` says what differs from what the vector states.
type Check = fn(&Value) -> Result<bool, String>;

fn run(name: &str, about: &str, make: Make, check: Check) {
    let vectors = make();
    let refused = vectors.iter().filter(|vector| vector["valid"] == false).count();
    for vector in &vectors {
        let (of, valid) = (&vector["name"], vector["valid"].as_bool().unwrap());
        assert_eq!(
            vector.get("reason").is_some(),
            !valid,
            "{name}, {of}: a reason belongs to a refused vector"
        );
        match check(vector) {
            Ok(accepted) => assert_eq!(accepted, valid, "{name}, {of}"),
            Err(difference) => panic!("{name}, {of}: {difference}"),
        }
    }
    let mut names: Vec<_> = vectors.iter().map(|vector| vector["name"].to_string()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), vectors.len(), "{name}: names are unique");
    let counts = json!({"accept": vectors.len() - refused, "refuse": refused});
    let file = json!({"about": about, "suite": 1, "counts": counts, "vectors": vectors});
    compare(name, &(serde_json::to_string_pretty(&file).unwrap() + "\n"));
}

fn compare(name: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("docs/spec/vectors")
        .join(name);
    if std::env::var_os("OUBLIETTE_WRITE_VECTORS").is_some() {
        return std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(
        committed == made,
        "{name} is not what the code makes: see the head of tests/spec_vectors/main.rs"
    );
}

/// A vector that must be accepted.
fn good(name: &str, fields: Value) -> Value {
    merge(json!({"name": name, "valid": true}), fields)
}

/// A vector that must be refused, and why.
fn bad(name: &str, reason: &str, fields: Value) -> Value {
    merge(json!({"name": name, "valid": false, "reason": reason}), fields)
}

fn merge(mut vector: Value, fields: Value) -> Value {
    let Value::Object(fields) = fields else {
        panic!("fields are an object")
    };
    vector.as_object_mut().unwrap().extend(fields);
    vector
}

/// The bytes of a hex field.
fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(text(vector, field)).unwrap()
}

fn array<const N: usize>(vector: &Value, field: &str) -> [u8; N] {
    bytes(vector, field).try_into().unwrap()
}

fn text<'v>(vector: &'v Value, field: &str) -> &'v str {
    vector[field]
        .as_str()
        .unwrap_or_else(|| panic!("{}: no text {field}", vector["name"]))
}

fn number(vector: &Value, field: &str) -> u64 {
    vector[field]
        .as_u64()
        .unwrap_or_else(|| panic!("{}: no number {field}", vector["name"]))
}

/// An error unless a stated value is the one found.
fn same(what: &str, stated: &Value, found: impl Into<Value>) -> Result<(), String> {
    let found = found.into();
    if *stated == found {
        Ok(())
    } else {
        Err(format!("{what}: the vector states {stated}, the library gives {found}"))
    }
}

macro_rules! files {
    ($($test:ident: $file:literal, $about:literal, $make:path, $check:path;)+) => {
        $(#[test] fn $test() { run($file, $about, $make, $check); })+
    };
}

files! {
    headers: "headers.json", "Chapter 03: header bytes (hex); leaf hash and fields of the good ones.",
        events::headers, events::check_header;
    meta: "meta.json", "Chapter 03: bytes of the body meta (hex); fields of the good ones.", events::metas, events::check_meta;
    commitments: "commitments.json", "Chapter 03: commitments to bodies. Refused: the commitment is not the one of the formula.",
        events::commitments, events::check_commitment;
    documents: "documents.json", "Chapter 02: documents (hex of the CBOR); the JSON value of the good ones.",
        documents::vectors, documents::check;
    signatures: "signatures.json",
        "Chapter 05: keys, detached signatures and signed documents. Kinds: key, detached, document. Seeds are test keys.",
        signatures::vectors, signatures::check;
    ledger_created: "ledger-created.json", "Chapter 06: the data of ledger.created (JSON text), for a header of the stated origin.",
        keys::ledger_created, keys::check_ledger_created;
    own_events: "own-events.json", "Chapter 08: the data (JSON text) of Oubliette's own events as a verifier reads it.",
        keys::own_events, keys::check_own_event;
    sealed_blocks: "sealed-blocks.json", "Chapter 07: sealed blocks (hex), the place at which they are opened, and the key.",
        sealed::blocks, sealed::check_block;
    padding: "padding.json", "Chapter 07: padded lengths. Refused: not the padded length.", sealed::padding, sealed::check_padding;
    tree: "tree.json",
        "Chapter 04: entry i of every tree is the decimal text of i. Kinds: root, inclusion, consistency, range. Hashes are hex.",
        tree::vectors, tree::check;
    notes: "notes.json", "Chapter 04: public keys as text, signed notes, checkpoints, .tlog-proof files. Kinds: key, note, \
        checkpoint, proof.", notes::vectors, notes::check;
    bundles: "bundles.json", "Chapters 10 and 11: bundles (base64, or edits of the first one), what the reader brings, and the \
        expected verdict, trust and finding codes.", bundles::vectors, bundles::check;
    evidence: "evidence.json", "Chapter 09: receipts (JSON text), certificates (hex), their pages and .tlog-proof files of the ledger in \
        bundles.json, what the reader brings, and the expected verdict, trust and finding codes.",
        evidence::vectors, evidence::check;
    reports: "reports.json", "Chapter 12: signed reports (JSON text) of the ledger in bundles.json, what the reader brings, and \
        the expected verdict, trust and finding codes.", reports::vectors, reports::check;
    backups: "backups.json", "Chapter 13: manifests of backups (hex), and the certificate key of a ledger of the store.",
        rollback::backups, rollback::check_backup;
}
