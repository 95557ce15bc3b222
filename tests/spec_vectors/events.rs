//! Headers, meta, commitments (chapter 03).

use oubliette::spec::event::{Actor, BodyKind, Commitment, Header, Meta};
use oubliette::spec::hash::{Hash, commitment, leaf_hash};
use oubliette::spec::ids::{EventRef, Handle, StreamRef, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cbor::{C, Map, indefinite_map};
use crate::{array, bad, bytes, good, same, text};

const ORIGIN: &str = "audit.example.com/main";

fn body(kind: u64) -> C {
    C::A(vec![C::U(kind), C::B(vec![0xb0 + kind as u8; 32])])
}

fn bodies(kinds: &[u64]) -> C {
    C::A(kinds.iter().map(|kind| body(*kind)).collect())
}

fn map() -> Map {
    Map::new(vec![
        (1, C::U(1)),
        (2, C::t(ORIGIN)),
        (3, C::U(7)),
        (4, C::B(vec![0x44; 32])),
        (5, C::B(vec![0x55; 16])),
        (6, C::B(vec![0x66; 16])),
        (7, C::U(3)),
        (8, C::t("order.placed")),
        (9, C::U(1)),
        (10, C::U(1_767_225_600_000_000)),
        (11, bodies(&[0, 1, 2, 2])),
    ])
}

pub(crate) fn headers() -> Vec<Value> {
    let mut vectors = good_headers();
    for (name, reason, bytes) in bad_forms().into_iter().chain(bad_fields()).chain(bad_bodies()) {
        vectors.push(bad(name, reason, json!({"header": hex::encode(bytes)})));
    }
    vectors
}

fn good_headers() -> Vec<Value> {
    let many: Vec<u64> = std::iter::once(0).chain(std::iter::repeat_n(2, 257)).collect();
    let long = format!("{}/x", "a".repeat(198));
    let cases = [
        ("event at index 7 with all kinds of bodies", map()),
        (
            "event at index 0",
            map()
                .without(4)
                .with(3, C::U(0))
                .with(7, C::U(1))
                .with(11, bodies(&[0, 1])),
        ),
        ("no data", map().with(11, bodies(&[0, 2]))),
        ("meta alone", map().with(11, bodies(&[0]))),
        ("258 bodies", map().with(11, bodies(&many))),
        ("largest index, stream version and schema version", {
            map()
                .with(3, C::U(u64::MAX))
                .with(7, C::U(u64::MAX))
                .with(9, C::U(u32::MAX.into()))
        }),
        (
            "origin of 200 bytes, type of 128",
            map().with(2, C::t(&long)).with(8, C::T("t".repeat(128))),
        ),
        ("every character of a type", map().with(8, C::t("AZaz09._:/-"))),
        ("time 0", map().with(10, C::U(0))),
    ];
    cases
        .into_iter()
        .map(|(name, map)| good_header(name, &map.bytes()))
        .collect()
}

fn good_header(name: &str, bytes: &[u8]) -> Value {
    let leaf = hex::encode(Sha256::digest([&[0], bytes].concat()));
    let fields = header_fields(&Header::decode(bytes).unwrap());
    good(
        name,
        json!({"header": hex::encode(bytes), "leaf_hash": leaf, "fields": fields}),
    )
}

fn header_fields(header: &Header) -> Value {
    let bodies: Vec<_> = header
        .bodies
        .iter()
        .map(|body| json!([body.kind.label(), body.hash.to_string()]))
        .collect();
    let mut fields = json!({
        "origin": header.origin.as_str(), "index": header.index, "event_ref": header.event_ref.to_string(),
        "stream_ref": header.stream_ref.to_string(), "stream_version": header.stream_version,
        "type": header.event_type.as_str(), "schema_version": header.schema_version,
        "recorded_at": header.recorded_at.0, "bodies": bodies,
    });
    if let Some(previous) = header.previous {
        fields["previous"] = previous.to_string().into();
    }
    fields
}

type Case = (&'static str, &'static str, Vec<u8>);

fn bad_forms() -> Vec<Case> {
    let (map, good) = (map(), map().bytes());
    let tagged = [&[0xd8, 24][..], &C::B(good.clone()).bytes()].concat();
    let mut cut = good.clone();
    cut.pop();
    vec![
        ("empty", "no CBOR item", vec![]),
        ("truncated by one byte", "ends within an item", cut),
        (
            "trailing byte",
            "a byte follows after the map",
            [&good[..], &[0]].concat(),
        ),
        ("two headers", "a second item follows", [&good[..], &good[..]].concat()),
        (
            "array instead of map",
            "not a map",
            C::A(map.0.iter().map(|(_, value)| value.clone()).collect()).bytes(),
        ),
        ("byte string around it", "not a map", C::B(good.clone()).bytes()),
        ("tag 24 around it", "a tag", tagged),
        (
            "tag 55799 before it",
            "a tag",
            [&[0xd9, 0xd9, 0xf7][..], &good].concat(),
        ),
        ("map of indefinite length", "indefinite length", indefinite_map(&map.0)),
        (
            "map head in long form",
            "length not in its shortest form",
            [&[0xb8, 11][..], &good[1..]].concat(),
        ),
        (
            "map head counts one more",
            "ends within the map",
            [&[0xac][..], &good[1..]].concat(),
        ),
        (
            "map head counts one less",
            "a byte follows after the map",
            [&[0xaa][..], &good[1..]].concat(),
        ),
        ("keys 5 and 6 swapped", "keys do not ascend", map.swapped(5, 6).bytes()),
        (
            "keys 9 and 10 swapped",
            "keys do not ascend",
            map.swapped(9, 10).bytes(),
        ),
        ("key 7 twice", "a key appears twice", map.twice(7).bytes()),
        (
            "key 3 in long form",
            "integer not in its shortest form",
            map.rekeyed(3, C::raw("1803")).bytes(),
        ),
        ("key 3 as text", "unknown key", map.rekeyed(3, C::t("3")).bytes()),
        ("key 12", "unknown key", map.and(C::U(12), C::U(0)).bytes()),
        ("key -1", "unknown key", map.and(C::N(0), C::U(0)).bytes()),
        ("text key", "unknown key", map.and(C::t("note"), C::t("x")).bytes()),
    ]
}

fn bad_fields() -> Vec<Case> {
    let map = map();
    let with = |key, value: C| map.with(key, value).bytes();
    let mut cases = vec![
        ("suite 0", "unknown suite", with(1, C::U(0))),
        ("suite 2", "unknown suite", with(1, C::U(2))),
        ("suite as text", "wrong type", with(1, C::t("1"))),
        (
            "index in long form",
            "integer not in its shortest form",
            with(3, C::raw("1807")),
        ),
        (
            "index in 8 bytes",
            "integer not in its shortest form",
            with(3, C::raw("1b0000000000000007")),
        ),
        ("index negative", "wrong type", with(3, C::N(0))),
        ("index as float", "floating point", with(3, C::raw("f94700"))),
        ("index as bignum", "a tag", with(3, C::raw("c24107"))),
        ("index null", "null", with(3, C::raw("f6"))),
        (
            "previous at index 0",
            "the first event has no previous",
            with(3, C::U(0)),
        ),
        ("no previous at index 7", "previous is required", map.without(4).bytes()),
        ("previous null", "null instead of absent", with(4, C::raw("f6"))),
        (
            "previous null at index 0",
            "null instead of absent",
            map.with(3, C::U(0)).with(4, C::raw("f6")).bytes(),
        ),
        ("previous of 31 bytes", "wrong length", with(4, C::B(vec![0x44; 31]))),
        ("previous of 33 bytes", "wrong length", with(4, C::B(vec![0x44; 33]))),
        ("previous as text", "wrong type", with(4, C::T("4".repeat(32)))),
        (
            "previous in two chunks",
            "indefinite length",
            with(
                4,
                C::Raw([&[0x5f, 0x50][..], &[0x44; 16], &[0x50], &[0x44; 16], &[0xff]].concat()),
            ),
        ),
        ("event ref of 15 bytes", "wrong length", with(5, C::B(vec![0x55; 15]))),
        ("stream ref of 17 bytes", "wrong length", with(6, C::B(vec![0x66; 17]))),
        ("stream version 0", "versions start at 1", with(7, C::U(0))),
        ("schema version 0", "versions start at 1", with(9, C::U(0))),
        ("schema version 2^32", "does not fit 32 bits", with(9, C::U(1 << 32))),
        ("time with tag 1", "a tag", with(10, C::raw("c11b000647c6eb4a8000"))),
        ("time as text", "wrong type", with(10, C::t("2026-01-01T00:00:00Z"))),
        ("type empty", "not an event type", with(8, C::t(""))),
        ("type of 129 bytes", "not an event type", with(8, C::T("t".repeat(129)))),
        ("type with a space", "not an event type", with(8, C::t("order placed"))),
        (
            "type beyond ASCII",
            "not an event type",
            with(8, C::t("bestellung.gelöscht")),
        ),
        ("type as bytes", "wrong type", with(8, C::b(b"order.placed"))),
        (
            "type in chunks",
            "indefinite length",
            with(8, C::raw("7f656f726465726161ff")),
        ),
        ("origin empty", "not an origin", with(2, C::t(""))),
        ("origin of 201 bytes", "not an origin", with(2, C::T("a".repeat(201)))),
        (
            "origin with a scheme",
            "not an origin",
            with(2, C::t("https://audit.example.com")),
        ),
        (
            "origin with a plus",
            "not an origin",
            with(2, C::t("audit.example.com/a+b")),
        ),
        (
            "origin with a space",
            "not an origin",
            with(2, C::t("audit.example.com/a b")),
        ),
        (
            "origin with DEL",
            "not an origin",
            with(2, C::t("audit.example.com/\u{7f}")),
        ),
        (
            "origin beyond ASCII",
            "not an origin",
            with(2, C::t("prüfung.example/main")),
        ),
        ("origin not UTF-8", "not UTF-8", with(2, C::raw("62c328"))),
    ];
    for (name, key) in [
        ("no suite", 1),
        ("no origin", 2),
        ("no index", 3),
        ("no event ref", 5),
        ("no time", 10),
    ] {
        cases.push((name, "a required field is missing", map.without(key).bytes()));
    }
    cases
}

fn bad_bodies() -> Vec<Case> {
    let with = |value: C| map().with(11, value).bytes();
    let hash = |length| C::B(vec![0xb0; length]);
    let many: Vec<u64> = std::iter::once(0).chain(std::iter::repeat_n(2, 258)).collect();
    let mut indefinite = vec![0x9f];
    indefinite.extend(body(0).bytes());
    indefinite.push(0xff);
    vec![
        (
            "no list of bodies",
            "a required field is missing",
            map().without(11).bytes(),
        ),
        ("list of bodies empty", "at least one body", with(C::A(vec![]))),
        ("259 bodies", "at most 258 bodies", with(bodies(&many))),
        ("first body is data", "the first body is meta", with(bodies(&[1]))),
        ("first body is sealed", "the first body is meta", with(bodies(&[2, 2]))),
        ("two metas", "one meta", with(bodies(&[0, 0]))),
        ("two datas", "at most one data", with(bodies(&[0, 1, 1]))),
        (
            "data after a sealed block",
            "kinds never decrease",
            with(bodies(&[0, 2, 1])),
        ),
        (
            "meta after data",
            "the first body, and no other, is meta",
            with(bodies(&[0, 1, 0])),
        ),
        ("kind 3", "unknown kind", with(bodies(&[0, 3]))),
        (
            "kind 256",
            "unknown kind",
            with(C::A(vec![C::A(vec![C::raw("190100"), hash(32)])])),
        ),
        (
            "kind in long form",
            "integer not in its shortest form",
            with(C::A(vec![C::A(vec![C::raw("1800"), hash(32)])])),
        ),
        (
            "commitment of 31 bytes",
            "wrong length",
            with(C::A(vec![C::A(vec![C::U(0), hash(31)])])),
        ),
        (
            "commitment of 64 bytes",
            "wrong length",
            with(C::A(vec![C::A(vec![C::U(0), hash(64)])])),
        ),
        (
            "commitment without kind",
            "wrong shape",
            with(C::A(vec![C::A(vec![hash(32)])])),
        ),
        (
            "commitment with a third item",
            "wrong shape",
            with(C::A(vec![C::A(vec![C::U(0), hash(32), C::U(0)])])),
        ),
        (
            "commitment as map",
            "wrong shape",
            with(C::A(vec![C::M(vec![(C::U(0), hash(32))])])),
        ),
        (
            "list of indefinite length",
            "indefinite length",
            with(C::Raw(indefinite)),
        ),
        ("list as map", "wrong type", with(C::M(vec![]))),
    ]
}

pub(crate) fn check_header(vector: &Value) -> Result<bool, String> {
    let given = bytes(vector, "header");
    let Ok(header) = Header::decode(&given) else {
        return Ok(false);
    };
    same("leaf_hash", &vector["leaf_hash"], leaf_hash(&given).to_string())?;
    same("fields", &vector["fields"], header_fields(&header))?;
    same(
        "the encoding of its fields",
        &vector["header"],
        hex::encode(read_fields(&vector["fields"]).encode()),
    )?;
    Ok(true)
}

fn read_fields(fields: &Value) -> Header {
    let hash = |value: &Value| -> Hash { value.as_str().unwrap().parse().unwrap() };
    let kind = |label: &Value| {
        [BodyKind::Meta, BodyKind::Data, BodyKind::Sealed]
            .into_iter()
            .find(|kind| *label == kind.label())
    };
    let body = |body: &Value| Commitment {
        kind: kind(&body[0]).unwrap(),
        hash: hash(&body[1]),
    };
    Header {
        origin: text(fields, "origin").parse().unwrap(),
        index: fields["index"].as_u64().unwrap(),
        previous: fields.get("previous").map(hash),
        event_ref: EventRef(array(fields, "event_ref")),
        stream_ref: StreamRef(array(fields, "stream_ref")),
        stream_version: fields["stream_version"].as_u64().unwrap(),
        event_type: text(fields, "type").parse().unwrap(),
        schema_version: fields["schema_version"].as_u64().unwrap() as u32,
        recorded_at: Timestamp(fields["recorded_at"].as_u64().unwrap()),
        bodies: fields["bodies"].as_array().unwrap().iter().map(body).collect(),
    }
}

fn meta_map() -> Map {
    let id = hex::decode("0190163d8694739b8aea966c26f8ad91").unwrap();
    Map::new(vec![
        (1, C::B(id)),
        (2, C::t("order-7")),
        (3, C::U(1_767_225_600_000_000)),
        (4, C::t("billing")),
        (5, C::t("checkout-9")),
        (6, C::t("click-3")),
        (7, C::t("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        (8, C::A(vec![C::t("b"), C::t("a")])),
    ])
}

pub(crate) fn metas() -> Vec<Value> {
    let map = meta_map();
    let least = Map(map.0[..2].to_vec());
    let accepted = [
        ("every field", map.clone()),
        ("the two required fields", least.clone()),
        ("actor by handle", map.with(4, C::B(vec![0x0a; 16]))),
        (
            "stream name of 256 bytes beyond ASCII",
            map.with(2, C::T("ü".repeat(128))),
        ),
        ("a system stream", map.with(2, C::t("$ledger"))),
    ];
    let mut vectors: Vec<_> = accepted
        .into_iter()
        .map(|(name, map)| {
            let fields = meta_fields(&Meta::decode(&map.bytes()).unwrap());
            good(name, json!({"meta": hex::encode(map.bytes()), "fields": fields}))
        })
        .collect();
    let good_bytes = map.bytes();
    let refused: Vec<Case> = vec![
        ("empty", "no CBOR item", vec![]),
        ("no event id", "a required field is missing", map.without(1).bytes()),
        ("no stream", "a required field is missing", map.without(2).bytes()),
        (
            "event id of 15 bytes",
            "wrong length",
            map.with(1, C::B(vec![1; 15])).bytes(),
        ),
        (
            "event id as text",
            "wrong type",
            map.with(1, C::t("0190163d-8694-739b-8aea-966c26f8ad91")).bytes(),
        ),
        ("stream name empty", "not a stream name", map.with(2, C::t("")).bytes()),
        (
            "stream name of 257 bytes",
            "not a stream name",
            map.with(2, C::T("s".repeat(257))).bytes(),
        ),
        (
            "stream name with a newline",
            "not a stream name",
            map.with(2, C::t("a\nb")).bytes(),
        ),
        (
            "stream name with U+0085",
            "not a stream name",
            map.with(2, C::t("a\u{85}b")).bytes(),
        ),
        ("time negative", "wrong type", map.with(3, C::N(0)).bytes()),
        (
            "actor of 15 bytes",
            "wrong length",
            map.with(4, C::B(vec![1; 15])).bytes(),
        ),
        ("actor as number", "wrong type", map.with(4, C::U(4)).bytes()),
        (
            "correlation id null",
            "null instead of absent",
            map.with(5, C::raw("f6")).bytes(),
        ),
        ("correlation id as bytes", "wrong type", map.with(5, C::b(b"c")).bytes()),
        (
            "no tags as empty list",
            "an empty list instead of absent",
            map.with(8, C::A(vec![])).bytes(),
        ),
        ("tag as number", "wrong type", map.with(8, C::A(vec![C::U(1)])).bytes()),
        (
            "tags of indefinite length",
            "indefinite length",
            map.with(8, C::raw("9f6161ff")).bytes(),
        ),
        ("keys 5 and 6 swapped", "keys do not ascend", map.swapped(5, 6).bytes()),
        ("key 5 twice", "a key appears twice", map.twice(5).bytes()),
        ("key 9", "unknown key", map.and(C::U(9), C::U(0)).bytes()),
        (
            "key 0",
            "unknown key",
            Map([&[(C::U(0), C::U(0))], &least.0[..]].concat()).bytes(),
        ),
        ("map of indefinite length", "indefinite length", indefinite_map(&map.0)),
        (
            "trailing byte",
            "a byte follows after the map",
            [&good_bytes[..], &[0]].concat(),
        ),
    ];
    vectors.extend(
        refused
            .into_iter()
            .map(|(name, reason, bytes)| bad(name, reason, json!({"meta": hex::encode(bytes)}))),
    );
    vectors
}

fn meta_fields(meta: &Meta) -> Value {
    let mut fields = json!({"id": meta.id.to_string(), "stream": meta.stream.as_str()});
    let mut put = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields[name] = value;
        }
    };
    put("occurred_at", meta.occurred_at.map(|time| time.0.into()));
    put(
        "actor",
        meta.actor.as_ref().map(|actor| match actor {
            Actor::Name(name) => json!(name),
            Actor::Subject(handle) => json!({"handle": handle.to_string()}),
        }),
    );
    put("correlation_id", meta.correlation_id.as_ref().map(|text| json!(text)));
    put("causation_id", meta.causation_id.as_ref().map(|text| json!(text)));
    put("trace_parent", meta.trace_parent.as_ref().map(|text| json!(text)));
    put("tags", (!meta.tags.is_empty()).then(|| json!(meta.tags)));
    fields
}

pub(crate) fn check_meta(vector: &Value) -> Result<bool, String> {
    let given = bytes(vector, "meta");
    let Ok(meta) = Meta::decode(&given) else {
        return Ok(false);
    };
    let fields = &vector["fields"];
    same("fields", fields, meta_fields(&meta))?;
    let id: Uuid = text(fields, "id").parse().unwrap();
    let mut again = Meta::new(id, text(fields, "stream").parse().unwrap());
    let optional = |name: &str| fields.get(name).and_then(Value::as_str).map(Into::into);
    again.occurred_at = fields.get("occurred_at").and_then(Value::as_u64).map(Timestamp);
    again.actor = fields.get("actor").map(|actor| match actor.as_str() {
        Some(name) => Actor::Name(name.into()),
        None => Actor::Subject(Handle(array(actor, "handle"))),
    });
    again.correlation_id = optional("correlation_id");
    again.causation_id = optional("causation_id");
    again.trace_parent = optional("trace_parent");
    let tags = fields.get("tags").and_then(Value::as_array);
    again.tags = tags
        .into_iter()
        .flatten()
        .map(|tag| tag.as_str().unwrap().into())
        .collect();
    same(
        "the encoding of its fields",
        &vector["meta"],
        hex::encode(again.encode()),
    )?;
    Ok(true)
}

pub(crate) fn commitments() -> Vec<Value> {
    let salt = [0x5a; 32];
    let text = br#"{"total": 12.50}"#;
    let input =
        |domain: &str, salt: &[u8], length: &[u8], bytes: &[u8]| [domain.as_bytes(), salt, length, bytes].concat();
    let length = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
    let vector = |kind: &str, bytes: &[u8], input: Vec<u8>| {
        let commitment = hex::encode(Sha256::digest(input));
        json!({"kind": kind, "salt": hex::encode(salt), "bytes": hex::encode(bytes), "commitment": commitment})
    };
    let formula = |kind: &str, bytes: &[u8]| input(&format!("oubliette/v1/{kind}\0"), &salt, &length(bytes), bytes);
    let mut other_salt = salt;
    other_salt[31] ^= 1;
    let domain = "oubliette/v1/data\0";
    let little = (text.len() as u64).to_le_bytes();
    let four = (text.len() as u32).to_be_bytes();
    vec![
        good("data", vector("data", text, formula("data", text))),
        good("meta", vector("meta", text, formula("meta", text))),
        good("sealed", vector("sealed", text, formula("sealed", text))),
        good("no bytes", vector("data", b"", formula("data", b""))),
        good("300 bytes", vector("data", &[7; 300], formula("data", &[7; 300]))),
        bad(
            "of another kind",
            "made for meta",
            vector("data", text, formula("meta", text)),
        ),
        bad(
            "another byte",
            "made for other bytes",
            vector("data", text, formula("data", br#"{"total": 12.51}"#)),
        ),
        bad(
            "one byte more",
            "made for other bytes",
            vector("data", text, formula("data", &[&text[..], b" "].concat())),
        ),
        bad(
            "another salt",
            "made with another salt",
            vector("data", text, input(domain, &other_salt, &length(text), text)),
        ),
        bad(
            "no length",
            "the length is left out",
            vector("data", text, input(domain, &salt, &[], text)),
        ),
        bad(
            "length little-endian",
            "the length is big-endian",
            vector("data", text, input(domain, &salt, &little, text)),
        ),
        bad(
            "length in 4 bytes",
            "the length has 8 bytes",
            vector("data", text, input(domain, &salt, &four, text)),
        ),
        bad(
            "no zero byte",
            "the label ends in a zero byte",
            vector("data", text, input("oubliette/v1/data", &salt, &length(text), text)),
        ),
        bad(
            "no salt",
            "the salt is left out",
            vector("data", text, input(domain, &[], &length(text), text)),
        ),
        bad(
            "bare hash",
            "neither label nor salt",
            vector("data", text, text.to_vec()),
        ),
        bad(
            "leaf hash",
            "the prefix of leaves",
            vector("data", text, [&[0][..], text].concat()),
        ),
    ]
}

pub(crate) fn check_commitment(vector: &Value) -> Result<bool, String> {
    let found = commitment(text(vector, "kind"), &array(vector, "salt"), &bytes(vector, "bytes"));
    Ok(found.to_string() == text(vector, "commitment"))
}
