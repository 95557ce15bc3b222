//! Signed notes, checkpoints and travelling proofs (chapter 04), made here from the formulas.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use oubliette::spec::checkpoint;
use oubliette::spec::hash::{Hash, empty_root, leaf_hash, node_hash};
use oubliette::spec::note::{self, VerifierKey};
use oubliette::spec::tlog_proof::TlogProof;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::keys::public;
use crate::{bad, bytes, good, same, text};

const ORIGIN: &str = "audit.example.com/main";
const LOG: u8 = 12;
const WITNESS: u8 = 21;

fn id(name: &str, kind: u8, seed: u8) -> [u8; 4] {
    let digest = Sha256::digest([name.as_bytes(), &[b'\n', kind], &public(seed).0].concat());
    digest[..4].try_into().unwrap()
}

fn vkey(name: &str, kind: u8, seed: u8) -> String {
    let key = STANDARD.encode([&[kind][..], &public(seed).0].concat());
    format!("{name}+{}+{key}", hex::encode(id(name, kind, seed)))
}

fn line_of(name: &str, id: [u8; 4], signature: &[u8]) -> String {
    format!("— {name} {}\n", STANDARD.encode([&id[..], signature].concat()))
}

fn sign(seed: u8, message: &str) -> Vec<u8> {
    SigningKey::from_bytes(&[seed; 32]).sign(message.as_bytes()).to_vec()
}

fn line(name: &str, seed: u8, text: &str) -> String {
    line_of(name, id(name, 1, seed), &sign(seed, text))
}

fn cosignature(name: &str, seed: u8, seconds: u64, text: &str) -> String {
    let signature = sign(seed, &format!("cosignature/v1\ntime {seconds}\n{text}"));
    line_of(
        name,
        id(name, 4, seed),
        &[&seconds.to_be_bytes()[..], &signature].concat(),
    )
}

fn note(text: &str) -> String {
    format!("{text}\n{}", line(ORIGIN, LOG, text))
}

fn checkpoint_text(size: u64, root: &Hash) -> String {
    format!("{ORIGIN}\n{size}\n{}\n", STANDARD.encode(root))
}

pub(crate) fn vectors() -> Vec<Value> {
    let mut vectors = public_keys();
    vectors.extend(notes());
    vectors.extend(checkpoints());
    vectors.extend(proofs());
    vectors
}

fn public_keys() -> Vec<Value> {
    let field = |text: String| json!({"kind": "key", "vkey": text});
    let full = |name: &str, kind: u8, seed: u8| {
        let more = json!({"name": name, "key_id": hex::encode(id(name, kind, seed)), "type": kind, "public_key": hex::encode(public(seed).0)});
        crate::merge(field(vkey(name, kind, seed)), more)
    };
    let known = vkey(ORIGIN, 1, LOG);
    let (head, base64) = known.rsplit_once('+').unwrap();
    let weak = {
        let bytes = [&[1][..], &[1], &[0; 31]].concat();
        let digest = Sha256::digest([ORIGIN.as_bytes(), b"\n", &bytes[..]].concat());
        format!("{ORIGIN}+{}+{}", hex::encode(&digest[..4]), STANDARD.encode(bytes))
    };
    let mut vectors = vec![
        good("key: Ed25519", full(ORIGIN, 1, LOG)),
        good("key: cosignature", full("witness.example", 4, WITNESS)),
        good("key: name beyond ASCII", full("prüfung.example/ä", 1, LOG)),
    ];
    for (name, reason, text) in [
        ("empty", "not a key", String::new()),
        ("no name", "the name is empty", known.replacen(ORIGIN, "", 1)),
        (
            "name with a space",
            "not a key name",
            known.replacen("main", "ma in", 1),
        ),
        (
            "another name",
            "the id is of another name",
            known.replacen("main", "mail", 1),
        ),
        (
            "id in capitals",
            "hex is lower-case",
            format!(
                "{}+{base64}",
                head.replacen(
                    &hex::encode(id(ORIGIN, 1, LOG)),
                    &hex::encode_upper(id(ORIGIN, 1, LOG)),
                    1
                )
            ),
        ),
        ("another id", "not the key's id", format!("{ORIGIN}+00000000+{base64}")),
        (
            "id of 7 digits",
            "8 hex digits",
            format!("{ORIGIN}+{}+{base64}", &hex::encode(id(ORIGIN, 1, LOG))[1..]),
        ),
        (
            "base64 without padding",
            "base64 is padded",
            known.trim_end_matches('=').to_owned() + "x",
        ),
        ("type 2", "unknown type", vkey(ORIGIN, 2, LOG)),
        ("type 6", "not known to this version", vkey(ORIGIN, 6, LOG)),
        ("weak public key", "not a strict key", weak),
        (
            "key of 31 bytes",
            "wrong length",
            format!("{head}+{}", STANDARD.encode([&[1][..], &public(LOG).0[..31]].concat())),
        ),
        ("two parts", "not a key", head.to_owned()),
        ("trailing newline", "base64 has no line breaks", format!("{known}\n")),
    ] {
        vectors.push(bad(&format!("key: {name}"), reason, field(text)));
    }
    vectors
}

fn notes() -> Vec<Value> {
    let keys = json!([vkey(ORIGIN, 1, LOG), vkey("witness.example", 4, WITNESS)]);
    let field = |note: String| json!({"kind": "note", "note": note, "keys": keys});
    let text = "first line\n\nafter an empty line\n";
    let (own, seen) = (
        line(ORIGIN, LOG, text),
        cosignature("witness.example", WITNESS, 1_767_225_600, text),
    );
    let stranger = line("stranger.example", 30, text);
    let strange_id = line_of(ORIGIN, [0; 4], &sign(30, text));
    let by = |note: String, signers: Value| crate::merge(field(note), json!({"text": text, "signed_by": signers}));
    let mut vectors = vec![
        good("note: one signature", by(format!("{text}\n{own}"), json!([ORIGIN]))),
        good(
            "note: with a cosignature",
            by(format!("{text}\n{own}{seen}"), json!([ORIGIN, "witness.example"])),
        ),
        good(
            "note: cosignature first",
            by(format!("{text}\n{seen}{own}"), json!(["witness.example", ORIGIN])),
        ),
        good(
            "note: an unknown name is ignored",
            by(format!("{text}\n{stranger}{own}"), json!([ORIGIN])),
        ),
        good(
            "note: an unknown id is ignored",
            by(format!("{text}\n{strange_id}{own}"), json!([ORIGIN])),
        ),
        good(
            "note: the same signature twice",
            by(format!("{text}\n{own}{own}"), json!([ORIGIN])),
        ),
    ];
    let false_line = line_of(ORIGIN, id(ORIGIN, 1, LOG), &sign(30, text));
    let bare = own.trim_start_matches("— ").to_owned();
    let no_padding = own.replace("=\n", "\n");
    let cut = own.trim_end().to_owned();
    let late = cosignature("witness.example", WITNESS, 1 << 63, text);
    for (name, reason, note) in [
        ("empty", "no empty line", String::new()),
        ("no signature", "no signature line", format!("{text}\n")),
        (
            "no empty line",
            "no empty line",
            format!("one line\n{}", line(ORIGIN, LOG, "one line\n")),
        ),
        (
            "only by a stranger",
            "no known key signed",
            format!("{text}\n{stranger}"),
        ),
        (
            "a false signature by a known key",
            "a known key's signature is false",
            format!("{text}\n{false_line}"),
        ),
        (
            "a good and a false signature by a known key",
            "a known key's signature is false",
            format!("{text}\n{own}{false_line}"),
        ),
        (
            "text altered",
            "a known key's signature is false",
            format!("{}\n{own}", text.replacen("first", "First", 1)),
        ),
        (
            "text with a newline more",
            "a known key's signature is false",
            format!("{text}\n\n{own}"),
        ),
        (
            "text with a carriage return",
            "control character",
            format!("a\r\n\n{}", line(ORIGIN, LOG, "a\r\n")),
        ),
        (
            "text with a tab",
            "control character",
            format!("a\tb\n\n{}", line(ORIGIN, LOG, "a\tb\n")),
        ),
        (
            "hyphen for the dash",
            "a signature line is malformed",
            format!("{text}\n{}", own.replace('—', "-")),
        ),
        ("no dash", "a signature line is malformed", format!("{text}\n{bare}")),
        (
            "two spaces",
            "a signature line is malformed",
            format!("{text}\n{}", own.replacen("— ", "—  ", 1)),
        ),
        (
            "signature without padding",
            "a signature line is malformed",
            format!("{text}\n{no_padding}"),
        ),
        (
            "no final newline",
            "each line ends in a newline",
            format!("{text}\n{cut}"),
        ),
        (
            "line of an id alone",
            "a signature line is malformed",
            format!("{text}\n{}", line_of(ORIGIN, id(ORIGIN, 1, LOG), &[])),
        ),
        (
            "signature of 63 bytes",
            "a known key's signature is false",
            format!(
                "{text}\n{}",
                line_of(ORIGIN, id(ORIGIN, 1, LOG), &sign(LOG, text)[..63])
            ),
        ),
        (
            "an empty line among the signatures",
            "a known key's signature is false or the text is another",
            format!("{text}\n{own}\n{own}"),
        ),
        (
            "cosignature as plain signature",
            "a known key's signature is false",
            format!(
                "{text}\n{}",
                line_of(
                    "witness.example",
                    id("witness.example", 4, WITNESS),
                    &sign(WITNESS, text)
                )
            ),
        ),
        (
            "cosignature of another time",
            "a known key's signature is false",
            format!("{text}\n{own}{}", {
                let signature = sign(WITNESS, &format!("cosignature/v1\ntime 1767225600\n{text}"));
                line_of(
                    "witness.example",
                    id("witness.example", 4, WITNESS),
                    &[&1_767_225_601_u64.to_be_bytes()[..], &signature].concat(),
                )
            }),
        ),
        (
            "cosignature at 2^63 seconds",
            "a known key's signature is false",
            format!("{text}\n{own}{late}"),
        ),
        (
            "101 signature lines",
            "at most 100 signatures",
            format!("{text}\n{}", own.repeat(101)),
        ),
    ] {
        vectors.push(bad(&format!("note: {name}"), reason, field(note)));
    }
    vectors
}

fn checkpoints() -> Vec<Value> {
    let root = leaf_hash(b"x");
    let witness = "witness.example";
    let keys = json!([vkey(ORIGIN, 1, LOG), vkey(witness, 4, WITNESS)]);
    let field = |note: String| json!({"kind": "checkpoint", "note": note, "origin": ORIGIN, "keys": keys});
    let full = |size: u64, root: Hash, more: &str| {
        let text = checkpoint_text(size, &root);
        let fields = field(note(&text) + &more.replace("TEXT", &text));
        crate::merge(fields, json!({"size": size, "root": root.to_string()}))
    };
    let plain = checkpoint_text(7, &root);
    let seen = cosignature(witness, WITNESS, 5, &plain);
    let mut vectors = vec![
        good("checkpoint: of size 7", full(7, root, "")),
        good("checkpoint: of the empty tree", full(0, empty_root(), "")),
        good("checkpoint: of the largest size", full(u64::MAX, root, "")),
        good("checkpoint: cosigned", full(7, root, &seen)),
    ];
    let base64 = STANDARD.encode(root);
    let signed = |text: String| note(&text);
    for (name, reason, note) in [
        (
            "an extension line",
            "exactly three lines",
            signed(format!("{plain}extension\n")),
        ),
        ("two lines", "exactly three lines", signed(format!("{ORIGIN}\n7\n"))),
        (
            "size with a leading zero",
            "not a decimal number",
            signed(format!("{ORIGIN}\n07\n{base64}\n")),
        ),
        (
            "size with a sign",
            "not a decimal number",
            signed(format!("{ORIGIN}\n+7\n{base64}\n")),
        ),
        (
            "size with a space",
            "not a decimal number",
            signed(format!("{ORIGIN}\n7 \n{base64}\n")),
        ),
        (
            "size 2^64",
            "not below 2^64",
            signed(format!("{ORIGIN}\n18446744073709551616\n{base64}\n")),
        ),
        (
            "size empty",
            "not a decimal number",
            signed(format!("{ORIGIN}\n\n{base64}\n")),
        ),
        (
            "root without padding",
            "base64 is padded",
            signed(format!("{ORIGIN}\n7\n{}\n", base64.trim_end_matches('='))),
        ),
        (
            "root of 31 bytes",
            "wrong length",
            signed(format!("{ORIGIN}\n7\n{}\n", STANDARD.encode(&root.as_ref()[..31]))),
        ),
        (
            "root in hex",
            "not base64 of 32 bytes",
            signed(format!("{ORIGIN}\n7\n{root}\n")),
        ),
        (
            "empty tree with another root",
            "not the empty root",
            signed(checkpoint_text(0, &root)),
        ),
        (
            "of another origin",
            "another log",
            signed(plain.replacen(ORIGIN, "other.example/main", 1)),
        ),
        ("origin empty", "not a key name", signed(plain.replacen(ORIGIN, "", 1))),
        (
            "only cosigned",
            "the log itself did not sign",
            format!("{plain}\n{seen}"),
        ),
        (
            "signed by nobody known",
            "no known key signed",
            format!("{plain}\n{}", line(ORIGIN, 30, &plain)),
        ),
        (
            "root altered",
            "a known key's signature is false",
            format!(
                "{}\n{}",
                checkpoint_text(7, &leaf_hash(b"y")),
                line(ORIGIN, LOG, &plain)
            ),
        ),
        (
            "size altered",
            "a known key's signature is false",
            format!("{}\n{}", checkpoint_text(8, &root), line(ORIGIN, LOG, &plain)),
        ),
    ] {
        vectors.push(bad(&format!("checkpoint: {name}"), reason, field(note)));
    }
    vectors
}

fn proofs() -> Vec<Value> {
    let entries: [&[u8]; 3] = [b"zero", b"one", b"two"];
    let leaves = entries.map(leaf_hash);
    let pair = node_hash(&leaves[0], &leaves[1]);
    let signed = note(&checkpoint_text(3, &node_hash(&pair, &leaves[2])));
    let base64 = |hash: &Hash| STANDARD.encode(hash);
    let path = format!("{}\n{}\n", base64(&leaves[0]), base64(&leaves[2]));
    let good_proof = format!(
        "c2sp.org/tlog-proof@v1\nextra {}\nindex 1\n{path}\n{signed}",
        STANDARD.encode(entries[1])
    );
    let keys = json!([vkey(ORIGIN, 1, LOG)]);
    let field = |proof: String, entry: &[u8]| json!({"kind": "proof", "proof": proof, "origin": ORIGIN, "keys": keys, "entry": hex::encode(entry)});
    let last = format!("c2sp.org/tlog-proof@v1\nindex 2\n{}\n\n{signed}", base64(&pair));
    let mut vectors = vec![
        good("proof: entry 1 of 3 with extra", field(good_proof.clone(), entries[1])),
        good("proof: entry 2 of 3 without extra", field(last, entries[2])),
    ];
    let lines = good_proof.split_once("index").unwrap();
    let many = format!("index 1\n{}", format!("{}\n", base64(&leaves[0])).repeat(63));
    for (name, reason, proof) in [
        ("version 2", "another first line", good_proof.replacen("@v1", "@v2", 1)),
        (
            "extra empty",
            "extra needs bytes",
            good_proof.replacen(&STANDARD.encode(entries[1]), "", 1),
        ),
        (
            "extra without padding",
            "base64 is padded",
            good_proof.replacen("b25l", "b25", 1),
        ),
        ("no index", "index is required", good_proof.replacen("index 1\n", "", 1)),
        (
            "index with a leading zero",
            "not a decimal number",
            good_proof.replacen("index 1", "index 01", 1),
        ),
        (
            "another index",
            "leads to another root",
            good_proof.replacen("index 1", "index 0", 1),
        ),
        (
            "index beyond the tree",
            "no such leaf",
            good_proof.replacen("index 1", "index 3", 1),
        ),
        (
            "a hash less",
            "one hash is missing",
            good_proof.replacen(&format!("{}\n", base64(&leaves[0])), "", 1),
        ),
        (
            "hashes in another order",
            "leads to another root",
            good_proof.replacen(&path, &format!("{}\n{}\n", base64(&leaves[2]), base64(&leaves[0])), 1),
        ),
        (
            "65 hashes",
            "at most 64 hashes",
            good_proof.replacen("index 1\n", &many, 1),
        ),
        (
            "hash in hex",
            "not base64 of 32 bytes",
            good_proof.replacen(&base64(&leaves[0]), &leaves[0].to_string(), 1),
        ),
        ("no empty line", "no empty line", good_proof.replace("\n\n", "\n")),
        (
            "index before extra",
            "another order of lines",
            format!("c2sp.org/tlog-proof@v1\nindex 1\nextra b25l\n{path}\n{signed}"),
        ),
        (
            "no checkpoint",
            "no signed note",
            format!("{}index 1\n{path}\n", lines.0),
        ),
        (
            "checkpoint altered",
            "a known key's signature is false",
            good_proof.replacen("\n3\n", "\n4\n", 1),
        ),
    ] {
        vectors.push(bad(&format!("proof: {name}"), reason, field(proof, entries[1])));
    }
    vectors.push(bad(
        "proof: of another entry",
        "leads to another root",
        field(good_proof, b"other"),
    ));
    vectors
}

pub(crate) fn check(vector: &Value) -> Result<bool, String> {
    if text(vector, "kind") == "key" {
        let Ok(key) = text(vector, "vkey").parse::<VerifierKey>() else {
            return Ok(false);
        };
        same("vkey", &vector["vkey"], key.to_string())?;
        same("name", &vector["name"], key.name().as_str())?;
        same("key_id", &vector["key_id"], key.id().to_string())?;
        same("type", &vector["type"], key.signature_type() as u8)?;
        return same("public_key", &vector["public_key"], hex::encode(key.public_key())).map(|()| true);
    }
    let keys: Vec<VerifierKey> = vector["keys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|key| key.as_str().unwrap().parse().unwrap())
        .collect();
    match text(vector, "kind") {
        "note" => {
            let Ok(opened) = note::open(text(vector, "note"), &keys) else {
                return Ok(false);
            };
            same("text", &vector["text"], opened.text)?;
            let signers: Vec<_> = opened
                .signatures
                .iter()
                .map(|signature| signature.name.as_str())
                .collect();
            same("signed_by", &vector["signed_by"], signers).map(|()| true)
        }
        "checkpoint" => {
            let origin = text(vector, "origin").parse().unwrap();
            let Ok(opened) = checkpoint::open(text(vector, "note"), &origin, &keys) else {
                return Ok(false);
            };
            same("size", &vector["size"], opened.checkpoint.size)?;
            same("root", &vector["root"], opened.checkpoint.root.to_string()).map(|()| true)
        }
        _ => {
            let Ok(proof) = text(vector, "proof").parse::<TlogProof>() else {
                return Ok(false);
            };
            let leaf = leaf_hash(&bytes(vector, "entry"));
            Ok(proof
                .verify(&leaf, &text(vector, "origin").parse().unwrap(), &keys)
                .is_ok())
        }
    }
}
