//! Bundles (chapters 10 and 11), written here from the specification, and what a verifier must say of them.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oubliette::spec::bundle::{BundleHead, BundleWriter, README, verify_bundle};
use oubliette::spec::encoding::encode_document;
use oubliette::spec::hash::Hash;
use oubliette::spec::signature::{Kind, Signer};
use oubliette::spec::verify::{self, Options, Trust};
use serde_json::{Value, json};

use crate::cbor::C;
use crate::ledger::{
    CERTIFICATE_KEY, CHECKPOINT_KEY, EVENT_KEY, Event, ORIGIN, Record, STRANGER, chain, checkpoint, cose, events, head,
    leaves, outcome, root, sha256, vkey,
};
use crate::{bad, good, same, text};

/// What a bundle is made of; every part can be made wrong.
#[derive(Clone)]
struct Parts {
    /// Each a run of entries.
    chunks: Vec<Vec<C>>,
    checkpoint: String,
    further: Vec<String>,
    manifest: Value,
    manifest_kind: &'static str,
    manifest_key: u8,
    readme: String,
}

fn event(record: &Record) -> C {
    let body = |(ordinal, salt, bytes): &(u16, [u8; 32], Vec<u8>)| {
        C::A(vec![C::U((*ordinal).into()), C::b(salt), C::b(bytes)])
    };
    let bodies = C::A(record.bodies.iter().map(body).collect());
    C::A(vec![
        C::U(0),
        C::U(record.index),
        C::b(&record.header),
        C::b(&record.signature),
        bodies,
    ])
}

fn gap(records: &[Record]) -> C {
    C::A(vec![C::U(1), C::U(records[0].index), C::B(leaves(records).concat())])
}

impl Parts {
    fn of(records: &[Record]) -> Self {
        let manifest = json!({
            "format": "oubliette/bundle/v1", "origin": ORIGIN, "tree_size": records.len(),
            "root": hex::encode(root(&leaves(records))), "events": records.len(),
        });
        Self {
            chunks: vec![records.iter().map(event).collect()],
            checkpoint: head(records),
            further: Vec::new(),
            manifest,
            manifest_kind: "manifest",
            manifest_key: CERTIFICATE_KEY,
            readme: README.to_owned(),
        }
    }

    fn members(&self) -> Vec<(String, Vec<u8>)> {
        let mut members = vec![
            ("README.txt".to_owned(), self.readme.clone().into_bytes()),
            ("checkpoint".to_owned(), self.checkpoint.clone().into_bytes()),
        ];
        if !self.further.is_empty() {
            let notes: Vec<u8> = self
                .further
                .iter()
                .flat_map(|note| C::b(note.as_bytes()).bytes())
                .collect();
            members.push(("checkpoints.cbor".to_owned(), notes));
        }
        for chunk in &self.chunks {
            let C::A(first) = &chunk[0] else {
                panic!("an entry is an array")
            };
            let C::U(index) = first[1] else {
                panic!("an entry has an index")
            };
            let content = chunk.iter().flat_map(C::bytes).collect();
            members.push((format!("events/{index:020}.cbor"), content));
        }
        members
    }

    fn signed_manifest(&self, members: &[(String, Vec<u8>)]) -> Vec<u8> {
        let entry = |(name, content): &(String, Vec<u8>)| json!({"name": name, "size": content.len(), "sha256": hex::encode(sha256(&[content]))});
        let mut manifest = self.manifest.clone();
        if manifest.get("members").is_none() {
            manifest["members"] = members.iter().map(entry).collect();
        }
        cose(
            self.manifest_kind,
            self.manifest_key,
            &encode_document(&manifest).unwrap(),
            true,
        )
    }

    fn bytes(&self) -> Vec<u8> {
        let mut members = self.members();
        members.push(("manifest.cbor".to_owned(), self.signed_manifest(&members)));
        archive(&members)
    }
}

fn archive(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        out.extend(header(name, content.len()));
        out.extend(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    out
}

fn header(name: &str, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name.as_bytes());
    put(100, b"0000644\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, b"00000000000\0");
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(329, b"0000000\0");
    put(337, b"0000000\0");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// The good bundle, also the base of edits.
static BASE: LazyLock<Vec<u8>> = LazyLock::new(|| Parts::of(&chain(&events())).bytes());

/// What the reader brings.
fn pinned() -> Value {
    json!({"keys": [vkey(CHECKPOINT_KEY)], "against": [], "selection": false})
}

fn fields(bundle: Value, reader: Value) -> Value {
    let mut fields = json!({"bundle": bundle, "reader": reader});
    fields["expected"] = outcome(&report(&fields));
    fields
}

/// The bundle as one replacement within the good one.
fn whole(parts: &Parts) -> Value {
    difference(&parts.bytes())
}

fn difference(bytes: &[u8]) -> Value {
    let from = BASE.iter().zip(bytes).take_while(|(old, new)| old == new).count();
    let rest = BASE.len().min(bytes.len()) - from;
    let tail = BASE
        .iter()
        .rev()
        .zip(bytes.iter().rev())
        .take(rest)
        .take_while(|(old, new)| old == new)
        .count();
    let new = STANDARD.encode(&bytes[from..bytes.len() - tail]);
    json!({"edit_of": "a ledger with an erasure", "edits": [{"from": from, "to": BASE.len() - tail, "base64": new}]})
}

/// A vector that must show this code, alone or among others.
fn shows(name: &str, code: &str, reason: &str, fields: Value) -> Value {
    let codes = fields["expected"]["codes"].as_array().unwrap();
    assert!(codes.iter().any(|found| found == code), "{name}: {codes:?}");
    bad(name, reason, fields)
}

pub(crate) fn vectors() -> Vec<Value> {
    let mut vectors = vec![good(
        "a ledger with an erasure",
        fields(STANDARD.encode(&*BASE).into(), pinned()),
    )];
    vectors.extend(readers());
    vectors.extend(ledgers());
    vectors.extend(contents());
    vectors.extend(selections());
    vectors.extend(edits());
    vectors
}

fn base() -> Value {
    json!({"edit_of": "a ledger with an erasure", "edits": []})
}

fn readers() -> Vec<Value> {
    let records = chain(&events());
    let size_of = |size: usize, seed: u8| checkpoint(ORIGIN, size as u64, &root(&leaves(&records[..size])), seed);
    let against = |note: String| fields(base(), json!({"keys": [], "against": [note], "selection": false}));
    let keys = |keys: Vec<String>| fields(base(), json!({"keys": keys, "against": [], "selection": false}));
    let ahead = checkpoint(ORIGIN, 9, &[7; 32], CHECKPOINT_KEY);
    let other = checkpoint(ORIGIN, 4, &[7; 32], CHECKPOINT_KEY);
    vec![
        good("reader: brings nothing", keys(vec![])),
        good("reader: pins the event key", keys(vec![vkey(EVENT_KEY)])),
        good(
            "reader: pins a stranger's key and the ledger's",
            keys(vec![vkey(STRANGER), vkey(CHECKPOINT_KEY)]),
        ),
        good(
            "reader: kept the checkpoint of size 4",
            against(size_of(4, CHECKPOINT_KEY)),
        ),
        shows(
            "reader: pins a stranger's key",
            "key_not_pinned",
            "another ledger",
            keys(vec![vkey(STRANGER)]),
        ),
        shows(
            "reader: pins the certificate key",
            "key_not_pinned",
            "it vouches for nothing",
            keys(vec![vkey(CERTIFICATE_KEY)]),
        ),
        shows(
            "reader: kept a checkpoint of size 9",
            "rolled_back",
            "the ledger has shrunk",
            against(ahead),
        ),
        shows(
            "reader: kept another root of size 4",
            "root_mismatch",
            "another history",
            against(other),
        ),
        shows(
            "reader: kept a stranger's checkpoint",
            "checkpoint_signature",
            "not by this ledger",
            against(size_of(4, STRANGER)),
        ),
        shows(
            "reader: kept no checkpoint",
            "checkpoint_malformed",
            "not a note",
            against("x\n".into()),
        ),
    ]
}

/// Ledgers that their own keys signed, and that are wrong all the same.
fn ledgers() -> Vec<Value> {
    let made = |alter: &dyn Fn(&mut Vec<Event>)| {
        let mut events = events();
        alter(&mut events);
        fields(whole(&Parts::of(&chain(&events))), pinned())
    };
    let data = |at: usize, data: Value| made(&move |events| events[at].data = Some(data.to_string().into_bytes()));
    let purge =
        |request: &str, positions: Value| json!({"ground": "erasure", "request": request, "positions": positions});
    let unknown = "0190163d-8694-739b-8aea-966c26f8ad92";
    vec![
        shows(
            "ledger: time goes backwards",
            "time_decreased",
            "time never decreases",
            made(&|events| events[2].time -= 2_000_000),
        ),
        shows(
            "ledger: a stream version is left out",
            "stream_version_mismatch",
            "versions are gapless",
            made(&|events| events[2].version = 3),
        ),
        shows(
            "ledger: a stream version twice",
            "stream_version_mismatch",
            "versions are gapless",
            made(&|events| events[2].version = 1),
        ),
        shows(
            "ledger: a wrong link",
            "previous_mismatch",
            "not the leaf hash before",
            made(&|events| events[2].previous = Some([7; 32])),
        ),
        shows(
            "ledger: another origin in a header",
            "origin_mismatch",
            "one origin",
            made(&|events| events[2].origin = "other.example/main".into()),
        ),
        shows(
            "ledger: another index in a header",
            "index_mismatch",
            "not its place",
            made(&|events| events[2].index = Some(3)),
        ),
        shows(
            "ledger: signed by a stranger",
            "signature_unknown_key",
            "not the event key",
            made(&|events| events[2].signer = STRANGER),
        ),
        shows(
            "ledger: signed by the checkpoint key",
            "signature_unknown_key",
            "not the event key",
            made(&|events| events[2].signer = CHECKPOINT_KEY),
        ),
        shows(
            "ledger: the first event signed by a stranger",
            "signature_unknown_key",
            "not the event key",
            made(&|events| events[0].signer = STRANGER),
        ),
        shows(
            "ledger: the first event is another",
            "ledger_created_invalid",
            "no ledger.created",
            made(&|events| events[0].event_type = "order.placed"),
        ),
        shows(
            "ledger: created twice",
            "ledger_created_invalid",
            "at index 0 and nowhere else",
            made(&|events| events[6].event_type = "ledger.created"),
        ),
        shows(
            "ledger: an unknown own event",
            "unknown_system_event",
            "from a newer version",
            made(&|events| events[5].event_type = "key.rotated"),
        ),
        shows(
            "ledger: an own type in a caller's stream",
            "authority_invalid",
            "not in a $ stream",
            made(&|events| events[6].stream = "purges"),
        ),
        shows(
            "ledger: a body missing without a word",
            "missing",
            "nothing excuses it",
            made(&|events| events[2].absent = vec![1]),
        ),
        shows(
            "ledger: a meta missing without a word",
            "missing",
            "nothing excuses it",
            made(&|events| events[2].absent = vec![0]),
        ),
        shows(
            "ledger: the purge names one block less",
            "missing",
            "nothing excuses it",
            data(6, purge(crate::ledger::REQUEST, json!([[1, 2]]))),
        ),
        shows(
            "ledger: the purge names another ordinal",
            "missing",
            "nothing excuses it",
            data(6, purge(crate::ledger::REQUEST, json!([[1, 1], [3, 1]]))),
        ),
        shows(
            "ledger: the purge names an unknown erasure",
            "authority_invalid",
            "no such request before it",
            data(6, purge(unknown, json!([[1, 2], [3, 1]]))),
        ),
        shows(
            "ledger: the purge names a later event",
            "authority_invalid",
            "positions stand before it",
            data(6, purge(crate::ledger::REQUEST, json!([[1, 2], [3, 1], [7, 2]]))),
        ),
        shows(
            "ledger: the purge is not of its form",
            "authority_invalid",
            "not a payload",
            data(6, json!({"ground": "erasure"})),
        ),
        shows(
            "ledger: a purged block is there",
            "purged_but_present",
            "its removal is recorded",
            made(&|events| events[1].absent.clear()),
        ),
        shows(
            "ledger: an own event's data purged",
            "missing",
            "never removed",
            made(&|events| {
                events[4].absent = vec![1];
                events[6].data = Some(
                    purge(crate::ledger::REQUEST, json!([[1, 2], [3, 1], [4, 1]]))
                        .to_string()
                        .into_bytes(),
                );
            }),
        ),
        good(
            "ledger: purged by retention",
            data(6, json!({"ground": "retention", "positions": [[1, 2], [3, 1]]})),
        ),
        good(
            "ledger: redacted",
            made(&|events| {
                events[2].absent = vec![1];
                let mut redacted = Event::new(
                    "$redactions",
                    1,
                    "bodies.redacted",
                    Some(json!({"ground": "leak", "positions": [[2, 1]]})),
                );
                redacted.time = events[7].time;
                events.push(redacted);
            }),
        ),
    ]
}

/// Bundles around a good ledger that are wrong all the same.
fn contents() -> Vec<Value> {
    let records = chain(&events());
    let made = |alter: &dyn Fn(&mut Parts)| {
        let mut parts = Parts::of(&records);
        alter(&mut parts);
        fields(whole(&parts), pinned())
    };
    let carried = |alter: &dyn Fn(&mut Vec<Record>)| {
        let mut carried = records.clone();
        alter(&mut carried);
        made(&|parts| parts.chunks = vec![carried.iter().map(event).collect()])
    };
    let note = |size: u64, root: [u8; 32], seed: u8| checkpoint(ORIGIN, size, &root, seed);
    let real = root(&leaves(&records));
    let manifest = |member: &'static str, value: Value| made(&move |parts| parts.manifest[member] = value.clone());
    vec![
        good(
            "bundle: events in two members",
            made(&|parts| {
                let rest = parts.chunks[0].split_off(5);
                parts.chunks.push(rest);
            }),
        ),
        good(
            "bundle: with a further checkpoint",
            made(&|parts| parts.further = vec![note(4, root(&leaves(&records[..4])), CHECKPOINT_KEY)]),
        ),
        shows(
            "bundle: an event left out",
            "index_mismatch",
            "events are gapless",
            carried(&|records| drop(records.remove(2))),
        ),
        shows(
            "bundle: an event twice",
            "index_mismatch",
            "events are gapless",
            carried(&|records| records.insert(2, records[2].clone())),
        ),
        shows(
            "bundle: two events swapped",
            "index_mismatch",
            "events are in order",
            carried(&|records| records.swap(1, 2)),
        ),
        shows(
            "bundle: the last event left out",
            "too_few_events",
            "the checkpoint counts more",
            carried(&|records| drop(records.pop())),
        ),
        shows(
            "bundle: a header altered",
            "signature_invalid",
            "not what was signed",
            carried(&|records| {
                let at = records[2].header.len() - 1;
                records[2].header[at] ^= 1;
            }),
        ),
        shows(
            "bundle: a header that is none",
            "header_invalid",
            "no header",
            carried(&|records| records[2].header = vec![0xa0]),
        ),
        shows(
            "bundle: a signature flipped",
            "signature_invalid",
            "does not verify",
            carried(&|records| *records[2].signature.last_mut().unwrap() ^= 1),
        ),
        shows(
            "bundle: a signature of another kind",
            "signature_malformed",
            "another content type",
            carried(&|records| {
                records[2].signature = cose("certificate", EVENT_KEY, &records[2].header, false);
            }),
        ),
        shows(
            "bundle: data altered",
            "body_mismatch",
            "not the committed bytes",
            carried(&|records| *records[2].body(1) = b"{\"total\":13}".to_vec()),
        ),
        shows(
            "bundle: a salt altered",
            "body_mismatch",
            "not the committed bytes",
            carried(&|records| records[2].bodies[1].1[0] ^= 1),
        ),
        shows(
            "bundle: a body too many",
            "body_unexpected",
            "no commitment",
            carried(&|records| records[2].bodies.push((2, [0; 32], vec![]))),
        ),
        shows(
            "bundle: bodies out of order",
            "body_unexpected",
            "ordinals ascend",
            carried(&|records| records[2].bodies.swap(0, 1)),
        ),
        shows(
            "bundle: a body removed",
            "missing",
            "nothing excuses it",
            carried(&|records| drop(records[2].bodies.pop())),
        ),
        shows(
            "bundle: checkpoint of another root",
            "root_mismatch",
            "not the root of the events",
            made(&|parts| parts.checkpoint = note(8, [7; 32], CHECKPOINT_KEY)),
        ),
        shows(
            "bundle: checkpoint of a larger size",
            "too_few_events",
            "it counts more",
            made(&|parts| parts.checkpoint = note(9, real, CHECKPOINT_KEY)),
        ),
        shows(
            "bundle: checkpoint of a smaller size",
            "too_many_events",
            "it counts fewer",
            made(&|parts| parts.checkpoint = note(7, root(&leaves(&records[..7])), CHECKPOINT_KEY)),
        ),
        shows(
            "bundle: checkpoint by a stranger",
            "checkpoint_signature",
            "not by the ledger",
            made(&|parts| parts.checkpoint = note(8, real, STRANGER)),
        ),
        shows(
            "bundle: checkpoint by the event key",
            "checkpoint_signature",
            "not by the checkpoint key",
            made(&|parts| parts.checkpoint = note(8, real, EVENT_KEY)),
        ),
        shows(
            "bundle: checkpoint is no note",
            "checkpoint_malformed",
            "not a note",
            made(&|parts| parts.checkpoint = "x\n".into()),
        ),
        shows(
            "bundle: a further checkpoint of another root",
            "root_mismatch",
            "not the root at that size",
            made(&|parts| parts.further = vec![note(4, [7; 32], CHECKPOINT_KEY)]),
        ),
        shows(
            "bundle: manifest by a stranger",
            "signature_unknown_key",
            "not the certificate key",
            made(&|parts| parts.manifest_key = STRANGER),
        ),
        shows(
            "bundle: manifest by the event key",
            "signature_unknown_key",
            "not the certificate key",
            made(&|parts| parts.manifest_key = EVENT_KEY),
        ),
        shows(
            "bundle: manifest signed as a certificate",
            "signature_malformed",
            "another content type",
            made(&|parts| parts.manifest_kind = "certificate"),
        ),
        shows(
            "bundle: manifest of another size",
            "fact_mismatch",
            "not what was read",
            manifest("tree_size", json!(9)),
        ),
        shows(
            "bundle: manifest of another root",
            "fact_mismatch",
            "not what was read",
            manifest("root", json!("07".repeat(32))),
        ),
        shows(
            "bundle: manifest of another number of events",
            "fact_mismatch",
            "not what was read",
            manifest("events", json!(7)),
        ),
        shows(
            "bundle: manifest of another origin",
            "fact_mismatch",
            "not what was read",
            manifest("origin", json!("other.example/main")),
        ),
        shows(
            "bundle: manifest of another format",
            "fact_mismatch",
            "not what was read",
            manifest("format", json!("oubliette/bundle/v2")),
        ),
        shows(
            "bundle: manifest with an unknown member",
            "document_invalid",
            "the document is closed",
            manifest("note", json!("x")),
        ),
        shows(
            "bundle: manifest lists no members",
            "member_mismatch",
            "every member is listed",
            manifest("members", json!([])),
        ),
        shows("bundle: README altered", "member_mismatch", "not the digest", {
            let mut parts = Parts::of(&records);
            let signed = parts.signed_manifest(&parts.members());
            parts.readme = README.replacen("version 1", "version l", 1);
            let mut members = parts.members();
            members.push(("manifest.cbor".into(), signed));
            fields(difference(&archive(&members)), pinned())
        }),
    ]
}

fn selections() -> Vec<Value> {
    let records = chain(&events());
    let left_out = |first: usize, end: usize, selection: Option<Value>| {
        let mut parts = Parts::of(&records);
        let chunk = &mut parts.chunks[0];
        chunk.splice(first..end, [gap(&records[first..end])]);
        parts.manifest["events"] = (records.len() - (end - first)).into();
        if let Some(selection) = selection {
            parts.manifest["selection"] = selection;
        }
        whole(&parts)
    };
    let asked = || json!({"keys": [vkey(CHECKPOINT_KEY)], "against": [], "selection": true});
    let tail = || Some(json!({"first": 0, "end": 7}));
    let filter = || Some(json!({"first": 0, "end": 8, "filter": "stream = order-7"}));
    vec![
        good("selection: a range, asked for", fields(left_out(7, 8, tail()), asked())),
        good(
            "selection: a filter, asked for",
            fields(left_out(7, 8, filter()), asked()),
        ),
        shows(
            "selection: a range, not asked for",
            "not_included",
            "the reader wanted everything",
            fields(left_out(7, 8, tail()), pinned()),
        ),
        shows(
            "selection: undeclared",
            "undeclared_gap",
            "the manifest declares none",
            fields(left_out(7, 8, None), asked()),
        ),
        shows(
            "selection: outside what is declared",
            "undeclared_gap",
            "the range covers it",
            fields(left_out(2, 3, tail()), asked()),
        ),
        shows(
            "selection: hides the purge",
            "missing",
            "what excuses the blocks is left out",
            fields(left_out(6, 7, filter()), asked()),
        ),
        shows(
            "selection: hides the first event",
            "ledger_created_invalid",
            "it is always included",
            fields(left_out(0, 1, filter()), asked()),
        ),
    ]
}

/// Byte edits of the good bundle: `[offset, hex]` overwrites, `"cut"` shortens, `"append"` lengthens, `"from"`, `"to"`,
/// `"base64"` replaces a range.
fn edits() -> Vec<Value> {
    let edited = |edits: Value| fields(json!({"edit_of": "a ledger with an erasure", "edits": edits}), pinned());
    let length = BASE.len();
    let readme_padding = 512 + README.len();
    let manifest = length - 1024;
    vec![
        shows(
            "edit: mode of a member",
            "archive_invalid",
            "not the canonical archive",
            edited(json!([[106, "35"]])),
        ),
        shows(
            "edit: time of a member",
            "archive_invalid",
            "not the canonical archive",
            edited(json!([[146, "31"]])),
        ),
        shows(
            "edit: checksum of a member",
            "archive_invalid",
            "not the canonical archive",
            edited(json!([[148, "31"]])),
        ),
        shows(
            "edit: owner's name",
            "archive_invalid",
            "not the canonical archive",
            edited(json!([[265, "72"]])),
        ),
        shows(
            "edit: padding",
            "archive_invalid",
            "padding is zero",
            edited(json!([[readme_padding, "01"]])),
        ),
        shows(
            "edit: first end block",
            "archive_invalid",
            "two zero blocks",
            edited(json!([[manifest, "01"]])),
        ),
        shows(
            "edit: second end block",
            "archive_invalid",
            "two zero blocks",
            edited(json!([[length - 1, "01"]])),
        ),
        shows(
            "edit: one more byte",
            "trailing_bytes",
            "nothing follows",
            edited(json!([{"append": "00"}])),
        ),
        shows(
            "edit: one block more",
            "trailing_bytes",
            "nothing follows",
            edited(json!([{"append": "00".repeat(512)}])),
        ),
        shows(
            "edit: one end block",
            "truncated",
            "two zero blocks",
            edited(json!([{"cut": length - 512}])),
        ),
        shows(
            "edit: cut before the end blocks",
            "truncated",
            "no end",
            edited(json!([{"cut": manifest}])),
        ),
        shows(
            "edit: cut within the events",
            "truncated",
            "no end, and no keys to compare",
            edited(json!([{"cut": 6000}])),
        ),
        shows(
            "edit: a name",
            "member_unexpected",
            "no such member",
            edited(json!([[0, "72"]])),
        ),
    ]
}

fn bundle(vector: &Value) -> Vec<u8> {
    let Some(edits) = vector["bundle"].get("edits") else {
        return STANDARD.decode(vector["bundle"].as_str().unwrap()).unwrap();
    };
    let mut bytes = BASE.clone();
    for edit in edits.as_array().unwrap() {
        if let Some(new) = edit.get("base64") {
            let place = |name: &str| edit[name].as_u64().unwrap() as usize;
            bytes.splice(
                place("from")..place("to"),
                STANDARD.decode(new.as_str().unwrap()).unwrap(),
            );
        } else if let Some(end) = edit.get("cut") {
            bytes.truncate(end.as_u64().unwrap() as usize);
        } else if let Some(more) = edit.get("append") {
            bytes.extend(hex::decode(more.as_str().unwrap()).unwrap());
        } else {
            let at = edit[0].as_u64().unwrap() as usize;
            let new = hex::decode(edit[1].as_str().unwrap()).unwrap();
            bytes[at..at + new.len()].copy_from_slice(&new);
        }
    }
    bytes
}

pub(crate) fn trust(reader: &Value) -> Trust {
    let list = |name: &str| {
        reader[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item.as_str().unwrap().to_owned())
    };
    Trust {
        keys: list("keys").map(|key| key.parse().unwrap()).collect(),
        origin: None,
        against: list("against").map(String::into_bytes).collect(),
    }
}

fn report(vector: &Value) -> oubliette::spec::report::Report {
    let reader = &vector["reader"];
    let options = Options {
        selection: reader["selection"] == true,
        ..Options::default()
    };
    verify_bundle(bundle(vector).as_slice(), trust(reader), options, &mut |_| ()).unwrap()
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    if text(vector, "name") == "a ledger with an erasure" {
        same(
            "the library's own bundle",
            &vector["bundle"],
            STANDARD.encode(written_by_the_library()),
        )?;
    }
    let found = outcome(&report(vector));
    same("expected", &vector["expected"], found.clone())?;
    Ok(found["verdict"] == "valid")
}

fn written_by_the_library() -> Vec<u8> {
    let records = chain(&events());
    let head = BundleHead {
        origin: ORIGIN.parse().unwrap(),
        tree_size: records.len() as u64,
        root: Hash::from(root(&leaves(&records))),
        checkpoint: head(&records),
        further: Vec::new(),
        selection: None,
    };
    let mut writer = BundleWriter::new(Vec::new(), head).unwrap();
    for record in &records {
        let body = |(ordinal, salt, bytes): &(u16, [u8; 32], Vec<u8>)| verify::RecordBody {
            ordinal: *ordinal,
            salt: *salt,
            bytes: bytes.clone(),
        };
        let record = verify::Record {
            index: record.index,
            header: record.header.clone(),
            signature: record.signature.clone(),
            bodies: record.bodies.iter().map(body).collect(),
        };
        writer.include(&record).unwrap();
    }
    let key = ed25519_dalek::SigningKey::from_bytes(&[CERTIFICATE_KEY; 32]);
    let signer = Signer::new(Kind::Manifest, key).unwrap();
    writer.finish(|manifest| signer.sign_document(manifest)).unwrap()
}
