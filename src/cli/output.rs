//! What people and machines see: words or one JSON document on standard output, progress on standard error, and files
//! that appear whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

use super::Context;
use super::failure::{Exit, Failure};
use crate::env::{Entropy, System};

impl Context {
    /// Prints one JSON document, or the words.
    pub(super) fn print(&self, json: &impl serde::Serialize, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            say(&serde_json::to_string(json).unwrap_or_default())
        } else {
            say(&words())
        }
    }

    /// Prints a JSON document that is text already, or the words.
    pub(super) fn print_raw(&self, json: &str, words: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json { say(json.trim()) } else { say(&words()) }
    }

    /// A bar for `length` steps, or a spinner; shown on a terminal only.
    pub(super) fn progress(&self, length: Option<u64>, what: &'static str) -> ProgressBar {
        if self.json || !io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let (bar, template) = match length {
            Some(length) => (
                ProgressBar::new(length),
                "{msg} [{bar:30}] {human_pos}/{human_len} {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {human_pos}"),
        };
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.with_message(what)
    }
}

/// Prints lines on standard output, and says so if nobody can read them.
pub(super) fn say(lines: &str) -> Result<(), Failure> {
    say_to(&mut io::stdout().lock(), lines)
}

fn say_to(out: &mut impl Write, lines: &str) -> Result<(), Failure> {
    let written = writeln!(out, "{lines}").and_then(|()| out.flush());
    written.map_err(|error| Failure::new(Exit::Io, "output_failed", format!("standard output: {error}")))
}

/// A table without frame.
pub(super) fn table<const N: usize>(header: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header);
    for row in rows {
        table.add_row(row);
    }
    table.trim_fmt()
}

/// Reads what an argument names: `-` is standard input, `@FILE` a file, anything else the text itself.
pub(super) fn text_argument(argument: &str) -> Result<Zeroizing<String>, Failure> {
    match (argument, argument.strip_prefix('@')) {
        ("-", _) => read_stdin(),
        (_, Some(path)) => read_file(Path::new(path)),
        _ => Ok(Zeroizing::new(argument.to_owned())),
    }
}

/// A whole file as text; `-` is standard input.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<String>, Failure> {
    if path == Path::new("-") {
        return read_stdin();
    }
    std::fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(|error| Failure::file(path, &error))
}

/// A whole file as bytes.
pub(super) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file(path, &error))
}

/// Standard input to its end.
pub(super) fn read_stdin() -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| Failure::file(Path::new("standard input"), &error))?;
    Ok(text)
}

/// A file that takes its name when it is whole and durable; dropped before that, it leaves nothing. A signal that ends the
/// program leaves the hidden partial file. Only its owner can read it, before and after.
pub(super) struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        Self::create_for(path, 0o600)
    }

    /// Whoever may read it, as far as the process's mask allows.
    fn create_for(path: &Path, mode: u32) -> Result<Self, Failure> {
        let name = path
            .file_name()
            .ok_or_else(|| Failure::usage(format!("{} is no file name", path.display())))?;
        // Nobody can have guessed the name, no link is followed, and nobody else can read what may be personal.
        let entropy: &dyn Entropy = &System;
        let suffix = hex::encode(entropy.bytes::<8>());
        let partial = path.with_file_name(format!(".{}.{suffix}.partial", name.to_string_lossy()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(mode);
        let file = options.open(&partial).map_err(|error| Failure::file(path, &error))?;
        Ok(Self {
            path: path.to_owned(),
            partial,
            file: Some(file),
        })
    }

    /// Copies all of `source`.
    pub(super) fn fill(&mut self, source: &mut dyn Read) -> Result<u64, Failure> {
        let file = self
            .file
            .as_mut()
            .ok_or_else(|| io::Error::other("the file is closed"))?;
        io::copy(source, file).map_err(|error| Failure::file(&self.path, &error))
    }

    /// Makes it durable under its name.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        self.close().map_err(|error| Failure::file(&self.path, &error))
    }

    fn close(&mut self) -> io::Result<()> {
        if let Some(mut file) = self.file.take() {
            file.flush()?;
            file.sync_all()?;
        }
        std::fs::rename(&self.partial, &self.path)?;
        let folder = self
            .path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.partial);
    }
}

/// Writes a whole file, or none.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = NewFile::create(path)?;
    file.fill(&mut &*bytes)?;
    file.finish()
}

/// Writes a whole file for others to read, or none; with the folders above it.
pub(super) fn publish_file(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file(folder, &error))?;
    }
    let mut file = NewFile::create_for(path, 0o666)?;
    file.fill(&mut &*bytes)?;
    file.finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("oubliette-output-{name}-{}", std::process::id()));
            std::fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        fn names(&self) -> usize {
            std::fs::read_dir(&self.0).unwrap().count()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_new_file_is_private_and_replaces_a_link_instead_of_following_it() {
        let folder = Folder::new("whole");
        let (path, other) = (folder.0.join("out"), folder.0.join("other"));
        std::fs::write(&other, "untouched").unwrap();
        symlink(&other, &path).unwrap();
        write_file(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(std::fs::read(&other).unwrap(), b"untouched");
        let written = std::fs::symlink_metadata(&path).unwrap();
        assert!(written.is_file());
        assert_eq!(written.permissions().mode() & 0o777, 0o600);
        assert_eq!(folder.names(), 2);
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = Folder::new("partial");
        let path = folder.0.join("out");
        let mut file = NewFile::create(&path).unwrap();
        file.fill(&mut &b"half"[..]).unwrap();
        assert_eq!(folder.names(), 1);
        drop(file);
        let mut file = NewFile::create(&path).unwrap();
        let mut broken = (&b"half"[..]).chain(Broken);
        assert!(file.fill(&mut broken).is_err());
        drop(file);
        assert_eq!(folder.names(), 0);
    }

    #[test]
    fn output_that_nobody_gets_is_a_failure_and_no_panic() {
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let failure = say_to(&mut full, "words").unwrap_err();
        assert_eq!((failure.code.as_str(), failure.exit), ("output_failed", Exit::Io));
        let mut heard = Vec::new();
        say_to(&mut heard, "words").unwrap();
        assert_eq!(heard, b"words\n");
    }

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::ConnectionReset.into())
        }
    }
}
