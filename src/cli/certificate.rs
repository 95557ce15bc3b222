//! Files of certificates: signed (COSE), or the page, by what the file's name ends in.

use std::path::{Path, PathBuf};

use super::Context;
use super::client::Client;
use super::failure::Failure;
use super::output::{NewFile, say};

/// A file for a certificate, made before anything is asked for.
pub(super) struct CertificateFile {
    path: PathBuf,
    file: NewFile,
}

impl CertificateFile {
    pub(super) fn create(path: &Path) -> Result<Self, Failure> {
        Ok(Self {
            path: path.to_owned(),
            file: NewFile::create(path)?,
        })
    }

    /// Keeps the certificate of this path in it.
    pub(super) fn keep(mut self, client: &Client, path: &str) -> Result<(), Failure> {
        let mut download = client.download(&format!("{path}?format={}", format_of(&self.path)))?;
        self.file.fill(&mut download.reader)?;
        self.file.finish()
    }

    /// As [`CertificateFile::keep`], after a result that was printed, below which the file is named.
    pub(super) fn keep_after(self, context: &Context, client: &Client, path: &str) -> Result<(), Failure> {
        let file = self.path.display().to_string();
        self.keep(client, path).map_err(Failure::after_the_result)?;
        if context.json {
            return Ok(());
        }
        say(&format!("{:<14}{file}", "kept in"))
    }
}

fn format_of(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => "html",
        _ => "cose",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_file_says_in_which_form_it_is() {
        for (name, format) in [
            ("c.cose", "cose"),
            ("c", "cose"),
            ("c.html", "html"),
            ("a/c.htm", "html"),
        ] {
            assert_eq!(format_of(Path::new(name)), format);
        }
    }
}
