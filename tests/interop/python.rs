//! Oracles in Python: pymerkle over random trees, and COSE receipts read with `cbor2` and `cryptography` alone.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use oubliette::spec::hash::Hash;
use oubliette::spec::merkle::{inclusion_proof, root};
use serde_json::{Value, json};

use crate::support::receipts::binary;
use crate::support::{Data, Dice};
use crate::tools::python;
use crate::trees::{Tree, grow_to};

/// Runs a script of this folder with JSON on its standard input; it must end well.
fn run(python: &Path, script: &str, input: &Value) -> String {
    let mut child = Command::new(python)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(script))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn hexes(hashes: &[Hash]) -> Vec<String> {
    hashes.iter().map(Hash::to_string).collect()
}

#[test]
fn pymerkle_has_our_roots_and_inclusion_proofs_over_random_trees() {
    let Some(python) = python() else { return };
    let mut dice = Dice::new(11);
    let (mut trees, mut checks) = (Vec::new(), 0);
    for size in (1..=40).chain([63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 511, 512, 513, 1_000]) {
        let tree = Tree::random(&mut dice, size);
        let mut proofs = Vec::new();
        for _ in 0..20 {
            let to = 1 + dice.below(size);
            let (index, from) = (dice.below(to), 1 + dice.below(to));
            proofs.push(json!({
                "size": to, "root": root(to, &tree).unwrap().to_string(),
                "index": index, "inclusion": hexes(&inclusion_proof(index, to, &tree).unwrap()),
                "from": from, "from_root": root(from, &tree).unwrap().to_string(),
            }));
            checks += 1;
        }
        let entries: Vec<_> = tree.entries.iter().map(hex::encode).collect();
        trees.push(json!({"entries": entries, "proofs": proofs}));
    }
    assert_eq!(
        run(python, "pymerkle_oracle.py", &json!(trees)),
        format!("{checks} agree")
    );
}

#[test]
fn cose_receipts_are_read_by_generic_tools() {
    let Some(python) = python() else { return };
    let data = Data::new();
    let server = data.serve();
    let client = server.client();
    grow_to(&client, 300);
    let mut dice = Dice::new(5);
    let mut receipts = Vec::new();
    let cose = |path: &str| {
        let answer = client.get(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/cose; cose-type=\"cose-sign1\""),
            "{}",
            answer.text()
        );
        hex::encode(answer.body)
    };
    let root_of = |size: u64| {
        let answer = client
            .get(&format!("proofs/inclusion?index=0&tree_size={size}"))
            .expect(200);
        answer["root"].as_str().unwrap().to_owned()
    };
    for size in [1, 2, 3, 128, 255, 256, 257, 300] {
        let (index, from) = (dice.below(size), 1 + dice.below(size));
        let event = client.get(&format!("events/{index}")).expect(200);
        receipts.push(json!({
            "size": size, "index": index, "entry": hex::encode(binary(&event["verification"]["header"])),
            "inclusion": cose(&format!("proofs/inclusion?index={index}&tree_size={size}&format=cose")),
            "from": from, "from_root": root_of(from), "root": root_of(size),
            "consistency": cose(&format!("proofs/consistency?from={from}&to={size}&format=cose")),
        }));
    }
    let input = json!({"vkey": data.vkey(), "receipts": receipts});
    assert_eq!(run(python, "cose_receipts.py", &input), "8 hold");
    client
        .get("proofs/consistency?from=0&format=cose")
        .problem(422, "invalid_field");
    client
        .get("proofs/consistency?from=1&format=pdf")
        .problem(422, "invalid_field");
}
