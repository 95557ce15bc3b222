//! Documents (chapter 02).

use oubliette::spec::encoding::{decode_document, encode_document};
use serde_json::{Value, json};

use crate::{bad, bytes, good, same};

fn nested(depth: usize) -> Value {
    (1..depth).fold(json!([]), |inner, _| json!([inner]))
}

pub(crate) fn vectors() -> Vec<Value> {
    let accepted = [
        (
            "keys by length, then bytewise",
            json!({"bb": 1, "c": -1, "a": [true, "x"], "aa": false}),
        ),
        ("empty object", json!({})),
        ("empty array", json!([])),
        ("empty text", json!("")),
        ("text beyond ASCII", json!("Löschung ☂ 𝄞")),
        ("0, 23, 24, 255, 256", json!([0, 23, 24, 255, 256])),
        (
            "65535, 65536, 2^32 - 1, 2^32",
            json!([65_535, 65_536, 4_294_967_295_u64, 4_294_967_296_u64]),
        ),
        ("2^64 - 1", json!(u64::MAX)),
        ("-1, -24, -25, -2^63", json!([-1, -24, -25, i64::MIN])),
        ("an empty key", json!({"": 0, "a": 1})),
        ("keys beyond ASCII", json!({"ü": 1, "zz": 2, "z": 3})),
        ("16 levels", nested(16)),
    ];
    let mut vectors: Vec<_> = accepted
        .into_iter()
        .map(|(name, value)| {
            good(
                name,
                json!({"value": value, "cbor": hex::encode(encode_document(&value).unwrap())}),
            )
        })
        .collect();
    let refused = [
        ("empty", "no CBOR item", String::new()),
        ("long integer", "integer not in its shortest form", "1801".into()),
        ("long text length", "length not in its shortest form", "780161".into()),
        ("unsorted keys", "keys do not ascend", "a2616301616101".into()),
        (
            "keys bytewise without length",
            "shorter keys come first",
            "a26261610161620 2".replace(' ', ""),
        ),
        ("repeated key", "a key appears twice", "a2616101616101".into()),
        ("indefinite array", "indefinite length", "9f01ff".into()),
        ("indefinite map", "indefinite length", "bf616101ff".into()),
        ("indefinite text", "indefinite length", "7f6161ff".into()),
        ("trailing byte", "a byte follows", "0100".into()),
        ("truncated", "ends within an item", "8201".into()),
        ("half float", "floating point", "f93c00".into()),
        ("double", "floating point", "fb3ff0000000000000".into()),
        ("null", "null", "f6".into()),
        ("null in an object", "null instead of absent", "a16161f6".into()),
        ("null in an array", "null", "81f6".into()),
        ("undefined", "undefined", "f7".into()),
        ("simple value 32", "unknown simple value", "f820".into()),
        ("byte string", "byte strings do not exist in documents", "4161".into()),
        ("integer key", "keys are text", "a10102".into()),
        ("tag", "a tag", "c074323032362d30312d30315430303a30303a30305a".into()),
        ("bignum", "a tag", "c249010000000000000000".into()),
        ("-2^63 - 1", "below -2^63", "3b8000000000000000".into()),
        ("text not UTF-8", "not UTF-8", "62c328".into()),
        (
            "17 levels",
            "nested too deeply",
            hex::encode([&[0x81; 16][..], &[0x80]].concat()),
        ),
        (
            "a scalar at level 17",
            "nested too deeply",
            hex::encode([&[0x81; 16][..], &[0x01]].concat()),
        ),
        (
            "array that claims 2^32 items",
            "ends within an item",
            "9affffffff".into(),
        ),
    ];
    vectors.extend(
        refused
            .into_iter()
            .map(|(name, reason, cbor)| bad(name, reason, json!({"cbor": cbor}))),
    );
    vectors
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    let Ok(value) = decode_document::<Value>(&bytes(vector, "cbor")) else {
        return Ok(false);
    };
    same("value", &vector["value"], value.clone())?;
    same("cbor", &vector["cbor"], hex::encode(encode_document(&value).unwrap()))?;
    Ok(true)
}
