//! `oubliette-verify` as a black box: what it takes, what it answers, how it exits.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

#[allow(dead_code)]
#[path = "../src/spec/testing.rs"]
mod testing;

use std::path::{Path, PathBuf};
use std::process::Command;

use oubliette::spec::bundle::Selection;
use oubliette::spec::tlog_proof::TlogProof;
use serde_json::Value;
use tempfile::TempDir;
use testing::TestLedger;

struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Answer {
    let output = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"))
        .args(arguments)
        .output()
        .unwrap();
    Answer {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn report(arguments: &[&str]) -> (Option<i32>, Value) {
    let answer = run(&[arguments, &["--json"]].concat());
    (answer.code, serde_json::from_str(&answer.out).unwrap())
}

struct Files {
    directory: TempDir,
    ledger: TestLedger,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            ledger: TestLedger::sample(),
        }
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn vkey(&self) -> String {
        self.ledger.vkey().to_string()
    }
}

#[test]
fn a_bundle_is_valid_and_without_a_key_it_says_which_one_to_compare() {
    let files = Files::new();
    let bundle = files.write("ledger.bundle", files.ledger.bundle());
    let answer = run(&[&bundle]);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(
        answer.out.contains("ONLY CONSISTENT WITH ITSELF") && answer.out.contains(&files.vkey()),
        "{}",
        answer.out
    );
    for more in [&[][..], &["--fast"], &["--origin", "audit.example.com/main"]] {
        let (code, report) = report(&[&[bundle.as_str(), "--key", &files.vkey()], more].concat());
        assert_eq!(
            (code, &report["verdict"], &report["trust"]),
            (Some(0), &"valid".into(), &"pinned".into())
        );
        assert_eq!(report["fast"], more.contains(&"--fast"));
    }
}

#[test]
fn a_damaged_or_cut_bundle_is_1_and_the_place_is_named() {
    let files = Files::new();
    let good = files.ledger.bundle();
    let header = &files.ledger.records[2].header;
    let at = good.windows(header.len()).position(|window| window == header).unwrap();
    let mut bad = good.clone();
    bad[at + header.len() - 1] ^= 1;
    let (code, damaged) = report(&[&files.write("bad.bundle", bad)]);
    assert_eq!((code, &damaged["verdict"]), (Some(1), &"tampered".into()));
    assert!(
        damaged["findings"]
            .as_array()
            .unwrap()
            .iter()
            .any(|finding| finding["index"] == 2),
        "{damaged}"
    );
    let (code, cut) = report(&[&files.write("cut.bundle", &good[..good.len() / 2])]);
    assert_eq!((code, &cut["verdict"]), (Some(1), &"incomplete".into()));
    assert_eq!(cut["findings"][0]["code"], "truncated");
}

#[test]
fn other_keys_origins_and_checkpoints_are_1() {
    let files = Files::new();
    let bundle = files.write("ledger.bundle", files.ledger.bundle());
    let other = TestLedger::with("audit.example.com/main", 2).vkey().to_string();
    let mut longer = TestLedger::sample();
    longer.append("s", "t", None, 0);
    let later = files.write("later", longer.head());
    for arguments in [["--key", &other], ["--origin", "x.example/y"], ["--against", &later]] {
        let (code, report) = report(&[&bundle, arguments[0], arguments[1]]);
        assert_eq!(
            (code, &report["verdict"]),
            (Some(1), &"tampered".into()),
            "{arguments:?}"
        );
    }
    let earlier = files.write("earlier", files.ledger.checkpoint_at(3));
    let (code, report) = report(&[&bundle, "--against", &earlier]);
    assert_eq!((code, &report["trust"]), (Some(0), &"pinned".into()));
}

#[test]
fn a_selection_is_1_unless_it_was_asked_for() {
    let files = Files::new();
    let selection = Selection {
        first: 1,
        end: 3,
        filter: None,
    };
    let bundle = files
        .ledger
        .bundle_of(Some(selection), &[], |index| (1..3).contains(&index));
    let bundle = files.write("range.bundle", bundle);
    assert_eq!(report(&[&bundle]).0, Some(1));
    let (code, report) = report(&[&bundle, "--selection"]);
    assert_eq!((code, &report["events_not_included"]), (Some(0), &1.into()));
}

#[test]
fn certificates_and_proofs_are_recognised_by_their_content() {
    let files = Files::new();
    let (ledger, vkey) = (&files.ledger, files.vkey());
    let document = ledger.sign_certificate(&ledger.certificate());
    let certificate = files.write("a", &document);
    let (code, valid) = report(&[&certificate, "--key", &vkey]);
    assert_eq!(
        (code, &valid["object"], &valid["trust"]),
        (Some(0), &"certificate".into(), &"pinned".into())
    );
    let mut bad = document;
    bad[0] ^= 1;
    assert_eq!(report(&[&files.write("b", bad)]).0, Some(1));
    let proof = TlogProof {
        extra: ledger.records[3].header.clone(),
        index: 3,
        path: ledger.inclusion(3).hashes,
        checkpoint: ledger.head().parse().unwrap(),
    };
    let proof = files.write("c", proof.to_string());
    let (code, valid) = report(&[&proof, "--key", &vkey]);
    assert_eq!(
        (code, &valid["object"], &valid["verdict"]),
        (Some(0), &"proof".into(), &"valid".into())
    );
    assert_eq!(report(&[&proof]).0, Some(1), "a proof carries no key");
}

#[test]
fn a_receipt_is_compared_with_the_data_that_was_sent() {
    let files = Files::new();
    let receipt = files.write("receipt.json", serde_json::to_vec(&files.ledger.receipt(&[1])).unwrap());
    let (code, valid) = report(&[&receipt, "--key", &files.vkey()]);
    assert_eq!(
        (code, &valid["object"], &valid["trust"]),
        (Some(0), &"receipt".into(), &"pinned".into())
    );
    let same = files.write("same", r#"{"total":3}"#);
    let other = files.write("other", r#"{"total":4}"#);
    assert_eq!(report(&[&receipt, "--data", &same]).0, Some(0));
    let (code, tampered) = report(&[&receipt, "--data", &other]);
    assert_eq!(
        (code, &tampered["findings"][0]["code"]),
        (Some(1), &"data_mismatch".into())
    );
}

#[test]
fn wrong_usage_and_other_files_are_2() {
    let files = Files::new();
    let bundle = files.write("ledger.bundle", files.ledger.bundle());
    for content in ["", "hello", "{}", r#"{"events": []}"#] {
        let answer = run(&[&files.write("other", content)]);
        assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""), "{content}");
        assert!(answer.err.contains("neither a bundle"), "{}", answer.err);
    }
    assert_eq!(run(&[]).code, Some(2));
    assert_eq!(run(&[&bundle, "--key", "no key"]).code, Some(2));
    assert_eq!(run(&[&bundle, "--unknown"]).code, Some(2));
    assert_eq!(run(&[&bundle, "--data", &bundle]).code, Some(2));
}

#[test]
fn a_document_that_is_too_large_is_2_and_not_called_damaged() {
    let files = Files::new();
    let bundle = files.write("ledger.bundle", files.ledger.bundle());
    let large = files.write("large", "{\"events\": [], \"checkpoint\": \"");
    let file = std::fs::OpenOptions::new().write(true).open(&large).unwrap();
    file.set_len((64 << 20) + 1).unwrap();
    for arguments in [&[large.as_str()][..], &[bundle.as_str(), "--against", &large]] {
        let answer = run(arguments);
        assert_eq!((answer.code, answer.out.as_str()), (Some(2), ""));
        assert!(answer.err.contains("too large"), "{}", answer.err);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_bundle_may_come_through_a_pipe() {
    use std::io::Write;
    use std::process::Stdio;
    let ledger = TestLedger::sample();
    for (content, code) in [(ledger.bundle(), 0), (b"hello".to_vec(), 2)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_oubliette-verify"));
        command.arg("/dev/stdin").stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&content).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn what_cannot_be_read_is_3() {
    let files = Files::new();
    let bundle = files.write("ledger.bundle", files.ledger.bundle());
    let absent = files.directory.path().join("absent");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    assert_eq!(run(&[&text(&absent)]).code, Some(3));
    assert_eq!(run(&[&text(files.directory.path())]).code, Some(3));
    assert_eq!(run(&[&bundle, "--against", &text(&absent)]).code, Some(3));
}
