//! What others made, installed once for this machine.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// Where the pins are.
fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop")
}

/// Says that a test does nothing, past the test runner's capture. In CI it fails.
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    let _ = writeln!(std::io::stderr(), "\nSKIPPED, nothing was tested: {why}");
}

/// The folder with the Go programs; `None` where there is no Go.
pub(crate) fn go_programs() -> Option<&'static Path> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = FOLDER.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            return None;
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-programs");
        let build = Command::new("go")
            .args(["build", "-mod=readonly", "-o"])
            .arg(format!("{}/", folder.display()))
            .args([
                "github.com/transparency-dev/tessera/cmd/fsck",
                "filippo.io/torchwood/cmd/litewitness",
            ])
            .current_dir(here())
            .output()
            .unwrap();
        assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
        Some(folder)
    });
    if built.is_none() {
        skip("Go is missing");
    }
    built.as_deref()
}

/// A Python with the packages of `requirements.txt`; `None` where there is none.
pub(crate) fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = PYTHON.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
        let python = folder.join("bin/python");
        let complete = folder.join("complete");
        let wanted = std::fs::read(here().join("requirements.txt")).unwrap();
        if std::fs::read(&complete).is_ok_and(|made| made == wanted) {
            return Some(python);
        }
        let venv = Command::new("python3").args(["-m", "venv"]).arg(&folder).output();
        if !venv.is_ok_and(|made| made.status.success()) {
            return None;
        }
        let install = Command::new(&python)
            .args(["-m", "pip", "--quiet", "--disable-pip-version-check", "install", "-r"])
            .arg(here().join("requirements.txt"))
            .output()
            .unwrap();
        assert!(install.status.success(), "{}", String::from_utf8_lossy(&install.stderr));
        std::fs::write(&complete, wanted).unwrap();
        Some(python)
    });
    if made.is_none() {
        skip("Python 3 with venv is missing");
    }
    made.as_deref()
}

/// A process that is ended with its test.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A plain static file server over a folder, which knows nothing of logs. `None` where there is no Python.
pub(crate) fn static_server(folder: &Path) -> Option<(Running, String)> {
    let started = Command::new("python3")
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0", "--directory"])
        .arg(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = started else {
        skip("Python 3 is missing");
        return None;
    };
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    // Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ...
    let url = line.split(['(', ')']).nth(1).unwrap().to_owned();
    Some((Running(child), url))
}
