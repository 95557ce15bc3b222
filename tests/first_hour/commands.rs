//! Every command in the pages is run: the blocks of a page in order, in one shell, in a folder of its own, against the
//! built programs, on loopback. An answer with an error status fails like a command.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::pages::{Block, Kind, before, blocks, pages};
use super::{OUBLIETTE, forget_settings, has, oubliette, read};

/// How long the commands of one page may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// The address in the pages.
const ADDRESS: &str = "127.0.0.1:7171";

/// An answer with an error status fails, and every answer has its time. Curl reads it from the home folder.
const CURL_SETTINGS: &str = "fail-with-body\nmax-time = 60\n";

/// Before the first block: any failure ends the shell, servers end with it.
const PROLOGUE: &str = r#"
set -eEuo pipefail
trap 'echo "at $place: $BASH_COMMAND" >&2' ERR
trap 'for job in $(jobs -p); do kill "$job" || true; done; wait' EXIT
"#;

fn runnable(page: &str) -> Vec<Block> {
    let run = |block: &Block| block.kind() == Ok(Kind::Run);
    blocks(page).into_iter().filter(run).collect()
}

/// Everything that a page's shell is given.
fn script(page: &str, address: &str) -> String {
    let mut blocks = runnable(page);
    if let Some(earlier) = before(page) {
        let first = runnable(&earlier).into_iter().next();
        blocks.insert(0, first.unwrap_or_else(|| panic!("{earlier} has no commands")));
    }
    let commands: String = blocks
        .iter()
        .map(|block| format!("place={}\n{}\n", block.place, block.text))
        .collect();
    format!("{PROLOGUE}{}", commands.replace(ADDRESS, address))
}

/// Runs a script in a folder; what it said, if it failed or did not end.
fn run(script: &str, folder: &Path, address: &str, patience: Duration) -> Result<(), String> {
    std::fs::write(folder.join(".curlrc"), CURL_SETTINGS).unwrap();
    let said = folder.join(".said");
    let out = File::create(&said).unwrap();
    let programs = Path::new(OUBLIETTE).parent().unwrap().display();
    let mut command = Command::new("bash");
    forget_settings(&mut command);
    let mut child = command
        .args(["--noprofile", "--norc", "-c", script])
        .env("PATH", format!("{programs}:{}", std::env::var("PATH").unwrap()))
        .env("HOME", folder)
        .env_remove("CURL_HOME")
        .env_remove("XDG_CONFIG_HOME")
        // For servers whose commands do not say where they listen.
        .env("OUBLIETTE_LISTEN", address)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .process_group(0)
        .spawn()
        .unwrap();
    let started = Instant::now();
    let ended = loop {
        match child.try_wait().unwrap() {
            Some(status) if status.success() => return Ok(()),
            Some(status) => break status.to_string(),
            None if started.elapsed() > patience => {
                // The shell and what it started: a group of their own.
                let group = format!("-{}", child.id());
                let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
                let _ = child.wait();
                break format!("did not end within {patience:?}");
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    Err(format!("{ended}\n{}", std::fs::read_to_string(said).unwrap()))
}

/// An address that was free a moment ago.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string()
}

#[test]
fn every_block_is_marked() {
    let faults: Vec<String> = pages()
        .iter()
        .flat_map(|page| blocks(page))
        .filter_map(|block| block.kind().err())
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_command_in_the_pages_works() {
    if !has("curl") {
        return;
    }
    let mut ran = 0;
    let mut faults = Vec::new();
    for page in pages() {
        let count = runnable(&page).len();
        if count == 0 {
            continue;
        }
        ran += count;
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        if let Err(fault) = run(&script(&page, &address), folder.path(), &address, PATIENCE) {
            faults.push(format!("{page}: {fault}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(ran >= 8, "only {ran} blocks were run");
}

/// What is not run is read at least: as shell, and for commands that do not exist.
#[test]
fn commands_that_are_not_run_exist() {
    let makefile = read("Makefile");
    for page in pages() {
        for block in blocks(&page).iter().filter(|block| block.kind() == Ok(Kind::NotRun)) {
            let place = &block.place;
            let read = Command::new("bash").args(["-n", "-c", &block.text]).output().unwrap();
            assert!(read.status.success(), "{place}: {}", super::said(&read));
            for line in block.text.lines().map(|line| line.split('#').next().unwrap()) {
                let words: Vec<&str> = line.split_whitespace().collect();
                for pair in words.windows(2) {
                    match pair {
                        ["make", target] => {
                            assert!(makefile.contains(&format!("\n{target}: ")), "{place}: make {target}");
                        }
                        [program, command]
                            if program.rsplit('/').next() == Some("oubliette")
                                && command.starts_with(char::is_alphabetic) =>
                        {
                            let help = oubliette(&[command, "--help"]).output().unwrap();
                            assert!(help.status.success(), "{place}: oubliette {command}");
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

#[test]
fn a_failing_command_an_error_answer_and_an_endless_one_are_noticed() {
    if !has("curl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let listener = TcpListener::bind(&address).unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut socket, b"HTTP/1.1 500 Fault\r\nContent-Length: 0\r\n\r\n").unwrap();
        // Read to the end, so that the answer is not cut by a reset.
        let _ = std::io::copy(&mut socket, &mut std::io::sink());
    });
    for (commands, fault) in [
        ("true\nfalse\ntrue", "at page:1: false"),
        ("echo $NOBODY_SET_THIS", "NOBODY_SET_THIS"),
        ("false | true", "at page:1: "),
        ("sleep 100 & oubliette verify nothing.oubliette", "at page:1: oubliette"),
        ("curl -s http://127.0.0.1:7171/", "at page:1: curl"),
        ("sleep 1000", "did not end"),
    ] {
        let patience = Duration::from_secs(if commands == "sleep 1000" { 1 } else { 60 });
        let script = format!("{PROLOGUE}place=page:1\n{}\n", commands.replace(ADDRESS, &address));
        let said = run(&script, folder.path(), &address, patience).unwrap_err();
        assert!(said.contains(fault), "{commands}: {said}");
    }
    server.join().unwrap();
}
