//! Sealed blocks and padding (chapter 07). Keys and ciphertexts are derived here once more, apart from the library.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use oubliette::spec::ids::{Category, EventRef, Handle, Origin};
use oubliette::spec::seal::{
    BlockContext, BlockKey, SealedBlock, SubjectKey, block_key, open, open_with_block_key, padded_length, seal,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::cbor::{C, Map, indefinite_map};
use crate::{array, bad, bytes, good, number, same, text};

#[derive(Clone)]
struct Place {
    origin: &'static str,
    event_ref: [u8; 16],
    ordinal: u64,
    handle: [u8; 16],
    category: &'static str,
    generation: u64,
}

const HERE: Place = Place {
    origin: "audit.example.com/main",
    event_ref: [0x55; 16],
    ordinal: 2,
    handle: [0x0a; 16],
    category: "billing",
    generation: 1,
};
const SUBJECT_KEY: [u8; 32] = [0x77; 32];
const SALT: [u8; 32] = [0x99; 32];
const DATA: &[u8] = br#"{"name":"Ada Example","iban":"none"}"#;

impl Place {
    fn aad(&self) -> Vec<u8> {
        C::A(vec![
            C::U(1),
            C::t(self.origin),
            C::b(&self.event_ref),
            C::U(self.ordinal),
            C::b(&self.handle),
            C::t(self.category),
            C::U(self.generation),
        ])
        .bytes()
    }

    fn json(&self) -> Value {
        json!({
            "origin": self.origin, "event_ref": hex::encode(self.event_ref), "ordinal": self.ordinal,
            "handle": hex::encode(self.handle), "category": self.category, "generation": self.generation,
        })
    }
}

struct Derived {
    block_key: [u8; 32],
    nonce: [u8; 12],
    commitment: [u8; 32],
}

fn expand<const N: usize>(prk: &Hkdf<Sha256>, label: &str, digest: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    prk.expand(&[label.as_bytes(), digest].concat(), &mut out).unwrap();
    out
}

fn derive(place: &Place) -> Derived {
    let digest = Sha256::digest(place.aad());
    let block_key = expand(&Hkdf::new(Some(&SALT), &SUBJECT_KEY), "oubliette/v1/block-key", &digest);
    let prk = Hkdf::from_prk(&block_key).unwrap();
    let nonce = expand(&prk, "oubliette/v1/block-nonce", &digest);
    Derived {
        block_key,
        nonce,
        commitment: expand(&prk, "oubliette/v1/block-commitment", &digest),
    }
}

fn encrypt(place: &Place, padded: &[u8]) -> Vec<u8> {
    let derived = derive(place);
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(derived.block_key));
    cipher
        .encrypt(
            &Nonce::from(derived.nonce),
            Payload {
                msg: padded,
                aad: &place.aad(),
            },
        )
        .unwrap()
}

fn pad(data: &[u8], length: usize) -> Vec<u8> {
    let mut padded = [data, &[0x80]].concat();
    padded.resize(length, 0);
    padded
}

/// By the formula of the chapter, in other words than the library's.
fn length_by_formula(length: u64) -> u64 {
    let m = (length + 1).max(64);
    let e = u64::from(63 - m.leading_zeros());
    let s = u64::from(63 - e.leading_zeros()) + 1;
    m.div_ceil(1 << (e - s)) << (e - s)
}

fn block_map(place: &Place, ciphertext: Vec<u8>) -> Map {
    Map::new(vec![
        (1, C::U(1)),
        (2, C::b(&place.handle)),
        (3, C::t(place.category)),
        (4, C::U(place.generation)),
        (5, C::b(&SALT)),
        (6, C::b(&derive(place).commitment)),
        (7, C::B(ciphertext)),
    ])
}

fn fields(place: &Place, block: &[u8]) -> Value {
    json!({"place": place.json(), "subject_key": hex::encode(SUBJECT_KEY), "block": hex::encode(block)})
}

fn opened(name: &str, place: &Place, data: &[u8]) -> Value {
    let padded = pad(data, length_by_formula(data.len() as u64) as usize);
    let block = block_map(place, encrypt(place, &padded)).bytes();
    let derived = derive(place);
    let more = json!({
        "data": hex::encode(data), "aad": hex::encode(place.aad()), "block_key": hex::encode(derived.block_key),
        "nonce": hex::encode(derived.nonce), "key_commitment": hex::encode(derived.commitment),
    });
    good(name, crate::merge(fields(place, &block), more))
}

pub(crate) fn blocks() -> Vec<Value> {
    let mut vectors = vec![
        opened("a block", &HERE, DATA),
        opened("no data", &HERE, b""),
        opened("63 bytes: the last in the smallest class", &HERE, &[b'7'; 63]),
        opened("64 bytes: the first in the next class", &HERE, &[b'7'; 64]),
        opened("data that ends like padding", &HERE, &[0x80, 0, 0]),
        opened("1,000 bytes", &HERE, &[b'7'; 1000]),
        opened(
            "largest ordinal and generation",
            &Place {
                ordinal: 257,
                generation: u32::MAX.into(),
                ..HERE
            },
            DATA,
        ),
    ];
    vectors.extend(wrong_places());
    vectors.extend(wrong_contents());
    vectors.extend(wrong_forms());
    vectors
}

fn sealed_here() -> Vec<u8> {
    block_map(&HERE, encrypt(&HERE, &pad(DATA, 64))).bytes()
}

fn wrong_places() -> Vec<Value> {
    let moved = |name: &str, reason: &str, place: Place| bad(name, reason, fields(&place, &sealed_here()));
    let mut other_key = fields(&HERE, &sealed_here());
    other_key["subject_key"] = hex::encode([0x78; 32]).into();
    vec![
        moved(
            "moved to another event",
            "wrong key commitment",
            Place {
                event_ref: [0x56; 16],
                ..HERE
            },
        ),
        moved(
            "moved to another ordinal",
            "wrong key commitment",
            Place { ordinal: 3, ..HERE },
        ),
        moved(
            "moved to another ledger",
            "wrong key commitment",
            Place {
                origin: "audit.example.com/other",
                ..HERE
            },
        ),
        moved(
            "opened as another subject's",
            "another handle",
            Place {
                handle: [0x0b; 16],
                ..HERE
            },
        ),
        moved(
            "opened in another category",
            "another category",
            Place {
                category: "marketing",
                ..HERE
            },
        ),
        moved(
            "opened in another generation",
            "another generation",
            Place { generation: 2, ..HERE },
        ),
        bad("another subject key", "wrong key commitment", other_key),
    ]
}

fn wrong_contents() -> Vec<Value> {
    let map = block_map(&HERE, encrypt(&HERE, &pad(DATA, 64)));
    let altered = |name: &str, reason: &str, map: Map| bad(name, reason, fields(&HERE, &map.bytes()));
    let flipped = |bytes: Vec<u8>, at: usize| {
        let mut bytes = bytes;
        bytes[at] ^= 1;
        C::B(bytes)
    };
    let good = encrypt(&HERE, &pad(DATA, 64));
    let padded =
        |name: &str, padded: Vec<u8>| altered(name, "not the exact padding", block_map(&HERE, encrypt(&HERE, &padded)));
    vec![
        altered("ciphertext flipped", "altered", map.with(7, flipped(good.clone(), 0))),
        altered("tag flipped", "altered", map.with(7, flipped(good.clone(), 79))),
        altered("tag left out", "altered", map.with(7, C::b(&good[..64]))),
        altered(
            "tag first",
            "altered",
            map.with(7, C::B([&good[64..], &good[..64]].concat())),
        ),
        altered("ciphertext empty", "altered", map.with(7, C::B(vec![]))),
        altered("ciphertext of 15 bytes", "altered", map.with(7, C::B(vec![0; 15]))),
        altered(
            "salt flipped",
            "wrong key commitment",
            map.with(5, flipped(SALT.to_vec(), 31)),
        ),
        altered(
            "key commitment flipped",
            "wrong key commitment",
            map.with(6, flipped(derive(&HERE).commitment.to_vec(), 0)),
        ),
        altered("handle exchanged", "another handle", map.with(2, C::B(vec![0x0b; 16]))),
        altered("category exchanged", "another category", map.with(3, C::t("marketing"))),
        altered("generation exchanged", "another generation", map.with(4, C::U(2))),
        padded("no padding", DATA.to_vec()),
        padded(
            "padding of another marker",
            [DATA, &[0x01][..], &vec![0; 63 - DATA.len()][..]].concat(),
        ),
        padded("only zeros", vec![0; 64]),
        padded("padded to another class", pad(DATA, 128)),
        padded("padded to 65 bytes", pad(DATA, 65)),
        padded("not padded to the full class", pad(DATA, DATA.len() + 1)),
        padded("nothing at all", vec![]),
    ]
}

fn wrong_forms() -> Vec<Value> {
    let map = block_map(&HERE, encrypt(&HERE, &pad(DATA, 64)));
    let good_bytes = map.bytes();
    let cases: Vec<(&str, &str, Vec<u8>)> = vec![
        ("empty", "no CBOR item", vec![]),
        ("trailing byte", "a byte follows", [&good_bytes[..], &[0]].concat()),
        ("suite 2", "unknown suite", map.with(1, C::U(2)).bytes()),
        ("no suite", "a required field is missing", map.without(1).bytes()),
        (
            "no key commitment",
            "a required field is missing",
            map.without(6).bytes(),
        ),
        ("key 8", "unknown key", map.and(C::U(8), C::U(0)).bytes()),
        ("keys 5 and 6 swapped", "keys do not ascend", map.swapped(5, 6).bytes()),
        (
            "handle of 15 bytes",
            "wrong length",
            map.with(2, C::B(vec![0x0a; 15])).bytes(),
        ),
        (
            "category in capitals",
            "not a category",
            map.with(3, C::t("Billing")).bytes(),
        ),
        ("category empty", "not a category", map.with(3, C::t("")).bytes()),
        (
            "category of 65 bytes",
            "not a category",
            map.with(3, C::T("c".repeat(65))).bytes(),
        ),
        (
            "generation in long form",
            "integer not in its shortest form",
            map.with(4, C::raw("1801")).bytes(),
        ),
        (
            "generation 2^32",
            "does not fit 32 bits",
            map.with(4, C::U(1 << 32)).bytes(),
        ),
        (
            "salt of 16 bytes",
            "wrong length",
            map.with(5, C::B(vec![0x99; 16])).bytes(),
        ),
        (
            "key commitment of 16 bytes",
            "wrong length",
            map.with(6, C::B(vec![0; 16])).bytes(),
        ),
        ("ciphertext as text", "wrong type", map.with(7, C::t("x")).bytes()),
        (
            "ciphertext of a tag alone",
            "not a padded length",
            map.with(7, C::B(vec![0; 16])).bytes(),
        ),
        (
            "ciphertext of 81 bytes",
            "not a padded length",
            map.with(7, C::B(vec![0; 81])).bytes(),
        ),
        ("map of indefinite length", "indefinite length", indefinite_map(&map.0)),
    ];
    let form =
        |(name, reason, block): (&str, &str, Vec<u8>)| bad(&format!("form: {name}"), reason, fields(&HERE, &block));
    let mut vectors: Vec<_> = cases.into_iter().map(form).collect();
    // Sealed for generation 0, so that nothing but the rule refuses it.
    let zero = Place { generation: 0, ..HERE };
    let block = block_map(&zero, encrypt(&zero, &pad(DATA, 64))).bytes();
    vectors.push(bad(
        "form: generation 0",
        "generations count from 1",
        fields(&zero, &block),
    ));
    vectors
}

pub(crate) fn check_block(vector: &Value) -> Result<bool, String> {
    let place = &vector["place"];
    let origin: Origin = text(place, "origin").parse().unwrap();
    let category: Category = text(place, "category").parse().unwrap();
    let context = BlockContext {
        origin: &origin,
        event_ref: EventRef(array(place, "event_ref")),
        ordinal: number(place, "ordinal") as u16,
        handle: Handle(array(place, "handle")),
        category: &category,
        generation: number(place, "generation") as u32,
    };
    let Ok(block) = SealedBlock::decode(&bytes(vector, "block")) else {
        return Ok(false);
    };
    let key = SubjectKey::new(array(vector, "subject_key"));
    let Ok(data) = open(&key, &context, &block) else {
        return Ok(false);
    };
    same("data", &vector["data"], hex::encode(&*data))?;
    same(
        "block_key",
        &vector["block_key"],
        hex::encode(block_key(&key, &context, &block.salt).expose()),
    )?;
    let disclosed = BlockKey::new(array(vector, "block_key"));
    let by_block_key = open_with_block_key(&disclosed, &context, &block).map_err(|error| error.to_string())?;
    same("data by the block key", &vector["data"], hex::encode(&*by_block_key))?;
    same(
        "block",
        &vector["block"],
        hex::encode(seal(&key, &context, block.salt, &data).encode()),
    )?;
    Ok(true)
}

pub(crate) fn padding() -> Vec<Value> {
    let lengths = [
        0,
        1,
        62,
        63,
        64,
        71,
        72,
        127,
        128,
        255,
        256,
        1000,
        1023,
        1024,
        10_000,
        65_535,
        65_536,
        1 << 20,
    ];
    let mut vectors: Vec<_> = lengths
        .into_iter()
        .map(|length| {
            good(
                &format!("{length} bytes"),
                json!({"length": length, "padded_length": length_by_formula(length)}),
            )
        })
        .collect();
    for (name, reason, length, padded) in [
        ("no minimum", "at least 64", 0, 1),
        ("to 32", "at least 64", 10, 32),
        ("no room for the marker", "the marker counts", 64, 64),
        ("to a power of two", "rounded up as PADME does", 1024, 2048),
        ("to a multiple of 64", "rounded up as PADME does", 10_000, 10_048),
        ("not rounded", "rounded up as PADME does", 1000, 1001),
    ] {
        vectors.push(bad(name, reason, json!({"length": length, "padded_length": padded})));
    }
    vectors
}

pub(crate) fn check_padding(vector: &Value) -> Result<bool, String> {
    Ok(padded_length(number(vector, "length") as usize) as u64 == number(vector, "padded_length"))
}
