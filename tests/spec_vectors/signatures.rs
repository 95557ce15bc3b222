//! Keys and COSE signatures (chapter 05). The good signatures are made here from the formula, not by the library.

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use oubliette::spec::encoding::encode_document;
use oubliette::spec::signature::{Kind, PublicKey, Signer, Verifier};
use serde_json::{Value, json};
use sha2::{Digest, Sha512};

use crate::cbor::C;
use crate::keys::{key_id, public};
use crate::{array, bad, bytes, good, same, text};

const SEED: u8 = 1;
const OTHER: u8 = 2;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn content_type(kind: &str) -> String {
    format!("application/vnd.oubliette.{kind}+cbor")
}

/// The protected header: algorithm, content type, key id.
fn protected(kind: &str, seed: u8) -> Vec<(C, C)> {
    vec![
        (C::U(1), C::N(18)),
        (C::U(3), C::T(content_type(kind))),
        (C::U(4), C::b(&public(seed).1)),
    ]
}

struct Parts {
    context: &'static str,
    protected: Vec<u8>,
    aad: Vec<u8>,
    unprotected: C,
    payload: Option<Vec<u8>>,
    message_payload: Vec<u8>,
    signer: u8,
}

impl Parts {
    fn detached(payload: &[u8]) -> Self {
        Self {
            context: "Signature1",
            protected: C::M(protected("header", SEED)).bytes(),
            aad: b"oubliette/v1".to_vec(),
            unprotected: C::M(vec![]),
            payload: None,
            message_payload: payload.to_vec(),
            signer: SEED,
        }
    }

    fn document(kind: &str, payload: &[u8]) -> Self {
        let payload_too = Some(payload.to_vec());
        Self {
            protected: C::M(protected(kind, SEED)).bytes(),
            payload: payload_too,
            ..Self::detached(payload)
        }
    }

    fn message(&self) -> Vec<u8> {
        C::A(vec![
            C::t(self.context),
            C::b(&self.protected),
            C::b(&self.aad),
            C::b(&self.message_payload),
        ])
        .bytes()
    }

    fn object(&self) -> Vec<u8> {
        self.object_with(&key(self.signer).sign(&self.message()).to_bytes())
    }

    fn object_with(&self, signature: &[u8]) -> Vec<u8> {
        let payload = self.payload.as_ref().map_or(C::raw("f6"), |payload| C::b(payload));
        C::A(vec![
            C::b(&self.protected),
            self.unprotected.clone(),
            payload,
            C::b(signature),
        ])
        .bytes()
    }
}

pub(crate) fn vectors() -> Vec<Value> {
    let mut vectors = public_keys();
    vectors.extend(detached());
    vectors.extend(documents());
    vectors
}

fn public_keys() -> Vec<Value> {
    let from_seed = |seed: u8| {
        let (public, id) = public(seed);
        let fields = json!({"kind": "key", "seed": hex::encode([seed; 32]), "public_key": hex::encode(public), "key_id": hex::encode(id)});
        good(&format!("key of seed {seed:02x}…"), fields)
    };
    let mut vectors: Vec<_> = [SEED, OTHER, 0xff].into_iter().map(from_seed).collect();
    let edwards = |bytes: [u8; 32]| VerifyingKey::from_bytes(&bytes).unwrap().to_edwards();
    let little = |n: u8| {
        let mut bytes = [0; 32];
        bytes[0] = n;
        bytes
    };
    let mut not_canonical_identity = [0xff; 32];
    (not_canonical_identity[0], not_canonical_identity[31]) = (0xee, 0x7f);
    let mut sign_of_zero = little(1);
    sign_of_zero[31] = 0x80;
    let mut minus_one = [0xff; 32];
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    let mut top = [0xff; 32];
    top[31] = 0x7f;
    let mixed = (edwards(public(SEED).0) + edwards([0; 32])).compress().to_bytes();
    let order_eight = hex::decode("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05").unwrap();
    let refused: [(&str, &str, Vec<u8>); 9] = [
        ("identity", "small order", little(1).to_vec()),
        ("point of order 2", "small order", minus_one.to_vec()),
        ("point of order 4", "small order", vec![0; 32]),
        ("point of order 8", "small order", order_eight),
        (
            "identity with y = p + 1",
            "not canonical",
            not_canonical_identity.to_vec(),
        ),
        ("identity with the sign bit", "not canonical", sign_of_zero.to_vec()),
        ("y = 2^255 - 1", "not canonical", top.to_vec()),
        ("y = 2", "not on the curve", little(2).to_vec()),
        ("a good key plus a point of order 4", "not torsion-free", mixed.to_vec()),
    ];
    vectors.extend(refused.into_iter().map(|(name, reason, bytes)| {
        bad(
            &format!("key: {name}"),
            reason,
            json!({"kind": "key", "public_key": hex::encode(bytes)}),
        )
    }));
    vectors
}

fn detached() -> Vec<Value> {
    let payload = b"the bytes of a header stand here".to_vec();
    let fields = |payload: &[u8], signature: Vec<u8>| {
        json!({
            "kind": "detached", "object": "header", "public_key": hex::encode(public(SEED).0),
            "payload": hex::encode(payload), "signature": hex::encode(signature),
        })
    };
    let here = || Parts::detached(&payload);
    let mut vectors: Vec<_> = [0, 23, 24, 255, 256, 65_536]
        .into_iter()
        .map(|length| {
            let payload = vec![7; length];
            good(
                &format!("detached: payload of {length} bytes"),
                fields(&payload, Parts::detached(&payload).object()),
            )
        })
        .collect();
    let message = hex::encode(here().message());
    let explained = crate::merge(fields(&payload, here().object()), json!({"sig_structure": message}));
    vectors.push(good("detached: with its Sig_structure", explained));
    let cases = wrong_signatures(&payload)
        .into_iter()
        .chain(wrong_headers(&payload))
        .chain(wrong_frames(&payload));
    vectors.extend(
        cases.map(|(name, reason, signature)| bad(&format!("detached: {name}"), reason, fields(&payload, signature))),
    );
    let good_signature = here().object();
    vectors.push(bad(
        "detached: another payload",
        "signed over other bytes",
        fields(b"the bytes of a header stand herE", good_signature.clone()),
    ));
    vectors.push(bad(
        "detached: payload with one byte more",
        "signed over other bytes",
        fields(&[&payload[..], &[0]].concat(), good_signature),
    ));
    vectors
}

type Case = (&'static str, &'static str, Vec<u8>);

fn wrong_signatures(payload: &[u8]) -> Vec<Case> {
    let here = || Parts::detached(payload);
    let flipped = |from_end: usize| {
        let mut object = here().object();
        let at = object.len() - from_end;
        object[at] ^= 1;
        object
    };
    let signature = key(SEED).sign(&here().message()).to_bytes();
    let mut identity_r = signature;
    identity_r[..32].copy_from_slice(&[&[1][..], &[0; 31]].concat());
    vec![
        ("R flipped", "does not verify", flipped(64)),
        ("S flipped", "does not verify", flipped(32)),
        ("S plus L", "S is not below L", here().object_with(&plus_l(signature))),
        (
            "R of small order",
            "R is of small order",
            here().object_with(&identity_r),
        ),
        (
            "R plus a point of order 4",
            "holds only with the cofactor",
            here().object_with(&cofactored(&here().message())),
        ),
        ("64 zero bytes", "does not verify", here().object_with(&[0; 64])),
        (
            "signed by another key",
            "does not verify",
            Parts {
                signer: OTHER,
                ..here()
            }
            .object(),
        ),
        (
            "of the bare payload",
            "signed over other bytes",
            here().object_with(&key(SEED).sign(payload).to_bytes()),
        ),
        (
            "no external AAD",
            "signed over other bytes",
            Parts { aad: vec![], ..here() }.object(),
        ),
        (
            "external AAD of version 2",
            "signed over other bytes",
            Parts {
                aad: b"oubliette/v2".to_vec(),
                ..here()
            }
            .object(),
        ),
        (
            "context Signature",
            "signed over other bytes",
            Parts {
                context: "Signature",
                ..here()
            }
            .object(),
        ),
        (
            "context CounterSignature",
            "signed over other bytes",
            Parts {
                context: "CounterSignature",
                ..here()
            }
            .object(),
        ),
    ]
}

fn wrong_headers(payload: &[u8]) -> Vec<Case> {
    let with = |entries: Vec<(C, C)>| {
        Parts {
            protected: C::M(entries).bytes(),
            ..Parts::detached(payload)
        }
        .object()
    };
    let good = || protected("header", SEED);
    let replaced = |at: usize, value: C| {
        let mut entries = good();
        entries[at].1 = value;
        with(entries)
    };
    let dropped = |at: usize| {
        let mut entries = good();
        entries.remove(at);
        with(entries)
    };
    let mut swapped = good();
    swapped.swap(1, 2);
    let extra = |key: C, value: C| {
        let mut entries = good();
        entries.push((key, value));
        with(entries)
    };
    vec![
        ("algorithm -8 (EdDSA)", "another algorithm", replaced(0, C::N(7))),
        ("algorithm -7 (ES256)", "another algorithm", replaced(0, C::N(6))),
        ("algorithm as text", "another algorithm", replaced(0, C::t("Ed25519"))),
        ("no algorithm", "a protected header is missing", dropped(0)),
        (
            "content type of a certificate",
            "another content type",
            replaced(1, C::T(content_type("certificate"))),
        ),
        (
            "content type of a manifest",
            "another content type",
            replaced(1, C::T(content_type("manifest"))),
        ),
        ("content type as number", "another content type", replaced(1, C::U(60))),
        (
            "content type in capitals",
            "another content type",
            replaced(1, C::t("application/vnd.oubliette.Header+cbor")),
        ),
        ("no content type", "a protected header is missing", dropped(1)),
        (
            "key id of another key",
            "another key id",
            replaced(2, C::b(&public(OTHER).1)),
        ),
        (
            "public key as key id",
            "another key id",
            replaced(2, C::b(&public(SEED).0)),
        ),
        (
            "key id cut to 8 bytes",
            "another key id",
            replaced(2, C::b(&public(SEED).1[..8])),
        ),
        ("no key id", "a protected header is missing", dropped(2)),
        ("protected headers swapped", "keys do not ascend", with(swapped)),
        (
            "one more protected header",
            "unknown header",
            extra(C::U(5), C::b(&[0; 12])),
        ),
        ("crit", "unknown header", {
            let mut entries = good();
            entries.insert(1, (C::U(2), C::A(vec![C::U(4)])));
            with(entries)
        }),
    ]
}

fn wrong_frames(payload: &[u8]) -> Vec<Case> {
    let here = || Parts::detached(payload);
    let good = here().object();
    let signature = key(SEED).sign(&here().message()).to_bytes();
    let mut cut = good.clone();
    cut.pop();
    let long_head = {
        // The protected header's length in two bytes instead of one.
        let mut bytes = vec![0x84, 0x59, 0x00];
        bytes.extend(&good[2..]);
        bytes
    };
    let indefinite = [&[0x9f][..], &good[1..], &[0xff]].concat();
    let unprotected = |entries: Vec<(C, C)>| {
        Parts {
            unprotected: C::M(entries),
            ..here()
        }
        .object()
    };
    let unprotected_kid = {
        let protected = C::M(protected("header", SEED)[..2].to_vec()).bytes();
        let unprotected = C::M(vec![(C::U(4), C::b(&public(SEED).1))]);
        Parts {
            protected,
            unprotected,
            ..here()
        }
        .object()
    };
    vec![
        ("empty", "not a COSE_Sign1", vec![]),
        ("bare signature", "not a COSE_Sign1", signature.to_vec()),
        ("truncated by one byte", "not 64 bytes of signature", cut),
        ("trailing byte", "a byte follows", [&good[..], &[0]].concat()),
        (
            "signature of 63 bytes",
            "not 64 bytes of signature",
            here().object_with(&signature[..63]),
        ),
        (
            "signature of 65 bytes",
            "not 64 bytes of signature",
            here().object_with(&[&signature[..], &[0]].concat()),
        ),
        ("tag 18 before it", "a tag", [&[0xd2][..], &good].concat()),
        (
            "payload included",
            "the payload is detached",
            Parts {
                payload: Some(payload.to_vec()),
                ..here()
            }
            .object(),
        ),
        (
            "payload empty instead of nil",
            "the payload is detached",
            Parts {
                payload: Some(vec![]),
                ..here()
            }
            .object(),
        ),
        (
            "unprotected header",
            "the unprotected header is empty",
            unprotected(vec![(C::U(5), C::b(&[0; 12]))]),
        ),
        (
            "key id in the unprotected header",
            "the unprotected header is empty",
            unprotected_kid,
        ),
        (
            "long length of the protected header",
            "length not in its shortest form",
            long_head,
        ),
        ("array of indefinite length", "indefinite length", indefinite),
        ("COSE_Sign instead of COSE_Sign1", "not a COSE_Sign1", {
            let inner = C::A(vec![C::b(&here().protected), C::M(vec![]), C::b(&signature)]);
            C::A(vec![
                C::b(&here().protected),
                C::M(vec![]),
                C::raw("f6"),
                C::A(vec![inner]),
            ])
            .bytes()
        }),
    ]
}

/// `S + L`: the same equation, another byte string.
fn plus_l(mut signature: [u8; 64]) -> [u8; 64] {
    let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
    let mut carry = 0;
    for (byte, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        (*byte, carry) = (sum as u8, sum >> 8);
    }
    signature
}

/// A signature with `R = rB + T`, T of order 4: the equation holds times 8, but not as it stands.
fn cofactored(message: &[u8]) -> [u8; 64] {
    let (nonce, key) = (SigningKey::from_bytes(&[9; 32]), key(SEED));
    let torsion = VerifyingKey::from_bytes(&[0; 32]).unwrap().to_edwards();
    let point = (nonce.verifying_key().to_edwards() + torsion).compress().to_bytes();
    let digest = Sha512::new()
        .chain_update(point)
        .chain_update(key.verifying_key().as_bytes())
        .chain_update(message);
    let challenge = reduce(&key.to_scalar(), &digest.finalize());
    let s = nonce.to_scalar() + challenge * key.to_scalar();
    let mut signature = [0; 64];
    signature[..32].copy_from_slice(&point);
    signature[32..].copy_from_slice(s.as_bytes());
    signature
}

/// A little-endian number modulo L, in the type of `like`.
fn reduce<S: Copy + From<u64> + std::ops::Add<Output = S> + std::ops::Mul<Output = S>>(_like: &S, bytes: &[u8]) -> S {
    bytes
        .iter()
        .rev()
        .fold(S::from(0), |sum, byte| sum * S::from(256) + S::from(u64::from(*byte)))
}

fn documents() -> Vec<Value> {
    let document = json!({"count": 3, "list": ["a", true]});
    let payload = encode_document(&document).unwrap();
    let fields = |kind: &str, object: Vec<u8>| json!({"kind": "document", "object": kind, "public_key": hex::encode(public(SEED).0), "signed": hex::encode(object)});
    let mut vectors: Vec<_> = ["certificate", "manifest", "report", "backup"]
        .into_iter()
        .map(|kind| {
            let object = Parts::document(kind, &payload).object();
            good(
                &format!("document: {kind}"),
                crate::merge(fields(kind, object), json!({"value": document})),
            )
        })
        .collect();
    let here = || Parts::document("certificate", &payload);
    let not_canonical = hex::decode("a265636f756e7403646c697374826161f5").unwrap();
    let mut flipped = here().object();
    let middle = flipped.len() - 70;
    flipped[middle] ^= 1;
    let cases: Vec<Case> = vec![
        (
            "a manifest for a certificate",
            "another content type",
            Parts::document("manifest", &payload).object(),
        ),
        (
            "a report for a certificate",
            "another content type",
            Parts::document("report", &payload).object(),
        ),
        (
            "a backup for a certificate",
            "another content type",
            Parts::document("backup", &payload).object(),
        ),
        (
            "a header for a certificate",
            "another content type",
            Parts::document("header", &payload).object(),
        ),
        (
            "detached",
            "the payload is included",
            Parts {
                payload: None,
                ..here()
            }
            .object(),
        ),
        ("payload flipped", "does not verify", flipped),
        (
            "payload exchanged",
            "does not verify",
            Parts {
                payload: Some(encode_document(&json!({"count": 4})).unwrap()),
                ..here()
            }
            .object(),
        ),
        (
            "payload unsorted",
            "the payload is not deterministic",
            Parts::document("certificate", &not_canonical).object(),
        ),
        (
            "payload is no document",
            "the payload is not a document",
            Parts::document("certificate", &[0xf6]).object(),
        ),
        (
            "payload empty",
            "the payload is not a document",
            Parts::document("certificate", &[]).object(),
        ),
        (
            "signed by another key",
            "does not verify",
            Parts {
                signer: OTHER,
                ..here()
            }
            .object(),
        ),
        ("tag 18 before it", "a tag", [&[0xd2][..], &here().object()].concat()),
        ("trailing byte", "a byte follows", [&here().object()[..], &[0]].concat()),
        (
            "unprotected header",
            "the unprotected header is empty",
            Parts {
                unprotected: C::M(vec![(C::U(5), C::b(&[0]))]),
                ..here()
            }
            .object(),
        ),
        ("payload in two chunks", "indefinite length", {
            let (first, second) = payload.split_at(4);
            let chunks = [&[0x5f][..], &C::b(first).bytes(), &C::b(second).bytes(), &[0xff]].concat();
            let signature = key(SEED).sign(&here().message()).to_bytes();
            C::A(vec![
                C::b(&here().protected),
                C::M(vec![]),
                C::Raw(chunks),
                C::b(&signature),
            ])
            .bytes()
        }),
    ];
    vectors.extend(
        cases
            .into_iter()
            .map(|(name, reason, object)| bad(&format!("document: {name}"), reason, fields("certificate", object))),
    );
    vectors
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    let Ok(public) = PublicKey::new(&array(vector, "public_key")) else {
        return Ok(false);
    };
    if text(vector, "kind") == "key" {
        same("key_id", &vector["key_id"], public.id().to_string())?;
        same(
            "key_id by the formula",
            &vector["key_id"],
            hex::encode(key_id(public.as_bytes())),
        )?;
        return Ok(true);
    }
    let kind = match text(vector, "object") {
        "header" => Kind::Header,
        "certificate" => Kind::Certificate,
        "report" => Kind::Report,
        "backup" => Kind::Backup,
        _ => Kind::Manifest,
    };
    let verifier = Verifier::new(kind, public);
    let signer = Signer::new(kind, key(SEED)).unwrap();
    if text(vector, "kind") == "document" {
        let Ok(value) = verifier.open_document::<Value>(&bytes(vector, "signed")) else {
            return Ok(false);
        };
        same("value", &vector["value"], value.clone())?;
        same(
            "signed",
            &vector["signed"],
            hex::encode(signer.sign_document(&value).unwrap()),
        )?;
        return Ok(true);
    }
    let payload = bytes(vector, "payload");
    if verifier.verify_detached(&bytes(vector, "signature"), &payload).is_err() {
        return Ok(false);
    }
    same(
        "signature",
        &vector["signature"],
        hex::encode(signer.sign_detached(&payload)),
    )?;
    Ok(true)
}
