//! What people and machines see: words or one JSON document on standard output, progress on standard error, and files
//! that appear whole or not at all.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use zeroize::Zeroizing;

use super::Context;
use super::failure::Failure;

impl Context {
    /// Prints one JSON document, or the words.
    pub(super) fn print(&self, json: &impl serde::Serialize, words: impl FnOnce() -> String) {
        if self.json {
            println!("{}", serde_json::to_string(json).unwrap_or_default());
        } else {
            println!("{}", words());
        }
    }

    /// Prints a JSON document that is text already, or the words.
    pub(super) fn print_raw(&self, json: &str, words: impl FnOnce() -> String) {
        if self.json {
            println!("{}", json.trim());
        } else {
            println!("{}", words());
        }
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

/// A file that takes its name when it is whole and durable; dropped before that, it leaves nothing.
pub(super) struct NewFile {
    path: PathBuf,
    partial: PathBuf,
    file: Option<File>,
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        let name = path
            .file_name()
            .ok_or_else(|| Failure::usage(format!("{} is no file name", path.display())))?;
        let partial = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        let file = File::create(&partial).map_err(|error| Failure::file(path, &error))?;
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
