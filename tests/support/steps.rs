//! Breaking the program off at a chosen change of a file: every write, sync, rename, removal, one after the other.
//!
//! `steps.c` is compiled by the C compiler that RocksDB needs anyway, and loaded with `LD_PRELOAD` into the real binary. The
//! two halves share a file of memory, through which a test arms the program, tells where to break off, and reads how far it
//! came.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// How the program breaks off, before the chosen step is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// As `kill -9`: what was written is there. Syncs are no steps.
    Kill = 1,
    /// As a power cut at its worst: files hold what was synced last.
    Power = 2,
    /// The one call fails (no room, or an error of the device) and the program goes on.
    Fail = 3,
    /// It stands still until it gets SIGCONT.
    Stop = 4,
}

/// Where each number stands in the control file, as eight bytes.
const ARMED: u64 = 0;
const MODE: u64 = 8;
const AT: u64 = 16;
const COUNT: u64 = 24;
const HIT: u64 = 32;
const WHAT: u64 = 40;
const SIZE: usize = 512;

/// The control of one process.
pub(crate) struct Steps {
    control: PathBuf,
    file: std::fs::File,
    roots: String,
}

impl Steps {
    /// For a process that is started with [`Steps::environment`]: breaks off in this way, once it is armed. Steps are
    /// changes below the roots.
    pub(crate) fn new(folder: &Path, roots: &[&Path], how: Break) -> Self {
        let control = folder.join("steps");
        std::fs::write(&control, [0; SIZE]).unwrap();
        let file = std::fs::File::options().read(true).write(true).open(&control).unwrap();
        let roots: Vec<_> = roots.iter().map(|root| root.to_str().unwrap()).collect();
        let steps = Self {
            control,
            file,
            roots: roots.join(":"),
        };
        steps.put(MODE, how as u64);
        steps
    }

    /// What the process must be started with.
    pub(crate) fn environment(&self) -> [(&str, &str); 3] {
        [
            ("LD_PRELOAD", library().to_str().unwrap()),
            ("STEPS_CONTROL", self.control.to_str().unwrap()),
            ("STEPS_ROOTS", &self.roots),
        ]
    }

    /// From here on steps are counted, and the one of this number is not done.
    pub(crate) fn arm(&self, at: u64) {
        self.put(AT, at);
        self.put(ARMED, 1);
    }

    /// From here on nothing breaks off any more.
    pub(crate) fn disarm(&self) {
        self.put(ARMED, 0);
    }

    /// Steps since it was armed.
    pub(crate) fn count(&self) -> u64 {
        self.read(COUNT)
    }

    /// What each step was, without the roots' own path and with `#` for what differs from run to run; of a run that was not
    /// to break off (0).
    pub(crate) fn trace(&self) -> Vec<String> {
        let lines = std::fs::read_to_string(self.control.with_extension("trace")).unwrap_or_default();
        let folder = self.control.parent().unwrap().to_str().unwrap();
        let plain = |line: &str| {
            let mut kind = String::new();
            for part in line.replace(folder, "").split_inclusive(['/', '.', '-', ' ']) {
                let is_number = part.bytes().any(|byte| byte.is_ascii_digit());
                kind.push_str(if is_number { "#" } else { part });
            }
            kind
        };
        lines.lines().map(plain).collect()
    }

    /// The step that was not done, if it came to it.
    pub(crate) fn hit(&self) -> Option<String> {
        let mut what = [0; SIZE - WHAT as usize];
        self.file.read_exact_at(&mut what, WHAT).unwrap();
        let end = what.iter().position(|byte| *byte == 0).unwrap_or(what.len());
        (self.read(HIT) == 1).then(|| String::from_utf8_lossy(&what[..end]).into_owned())
    }

    fn read(&self, place: u64) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, place).unwrap();
        u64::from_ne_bytes(bytes)
    }

    fn put(&self, place: u64, value: u64) {
        self.file.write_all_at(&value.to_ne_bytes(), place).unwrap();
    }
}

/// The compiled `steps.c`, made once a process.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/steps.c");
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("steps-{}.so", std::process::id()));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
            .args([&made, Path::new(source)])
            .output()
            .unwrap_or_else(|error| panic!("{compiler} compiles tests/support/steps.c: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made
    })
}
