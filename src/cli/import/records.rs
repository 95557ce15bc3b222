//! The records of a file, one after another, with their lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::ProgressBar;

use super::event::Rejection;
use super::json::Json;
use super::mapping::{Format, Mapping};
use crate::cli::failure::Failure;

/// The longest record.
const MAX_RECORD: usize = 8 << 20;

type Input = Box<dyn Read + Send>;

/// Reads records in the order of the file.
pub(super) enum Records {
    Ndjson {
        input: BufReader<Input>,
        line: u64,
    },
    Csv {
        input: csv::Reader<Bounded>,
        columns: Vec<String>,
    },
}

/// Ends with an error where one row takes more than [`MAX_RECORD`]: after a quote that is never closed, the rest of the
/// file would be one row.
pub(super) struct Bounded {
    input: Input,
    /// Bytes read since the row began, and what the reader had read ahead.
    row: Arc<AtomicUsize>,
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.row.load(Ordering::Relaxed) > MAX_RECORD {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let read = self.input.read(buffer)?;
        self.row.fetch_add(read, Ordering::Relaxed);
        Ok(read)
    }
}

/// A record with its line, or why it is none.
pub(super) type Record = (u64, Result<Json, Rejection>);

impl Records {
    /// Opens the file. In CSV the columns that the mapping names must be there.
    pub(super) fn open(path: &Path, mapping: &Mapping, bar: &ProgressBar) -> Result<Self, Failure> {
        let input: Input = if path == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            let file = File::open(path).map_err(|error| Failure::file(path, &error))?;
            bar.set_length(file.metadata().map_or(0, |metadata| metadata.len()));
            Box::new(bar.wrap_read(file))
        };
        match mapping.format {
            Format::Ndjson => Ok(Self::Ndjson {
                input: BufReader::with_capacity(1 << 18, input),
                line: 0,
            }),
            Format::Csv => Self::open_csv(path, input, mapping),
        }
    }

    fn open_csv(path: &Path, input: Input, mapping: &Mapping) -> Result<Self, Failure> {
        let row = Arc::new(AtomicUsize::new(0));
        let mut input = csv::ReaderBuilder::new()
            .delimiter(mapping.delimiter)
            .flexible(true)
            .from_reader(Bounded { input, row });
        let header = input.headers().map_err(|error| csv_failure(path, 1, error))?;
        let mut columns: Vec<String> = header.iter().map(str::to_owned).collect();
        if let Some(first) = columns.first_mut() {
            *first = first.trim_start_matches('\u{feff}').to_owned();
        }
        if let Some(field) = mapping
            .fields()
            .find(|field| !field.path.iter().all(|name| columns.contains(name)))
        {
            let detail = format!(
                "{}: has no column `{}`, which the mapping names",
                path.display(),
                field.written
            );
            return Err(Failure::usage(detail));
        }
        let mut sorted: Vec<_> = columns.iter().collect();
        sorted.sort();
        if let Some([twice, _]) = sorted.array_windows().find(|[a, b]| a == b) {
            return Err(Failure::usage(format!("{}: has two columns `{twice}`", path.display())));
        }
        Ok(Self::Csv { input, columns })
    }

    /// The next record.
    pub(super) fn next(&mut self, path: &Path) -> Result<Option<Record>, Failure> {
        match self {
            Self::Ndjson { input, line } => next_line(input, line).map_err(|error| Failure::file(path, &error)),
            Self::Csv { input, columns } => {
                input.get_ref().row.store(0, Ordering::Relaxed);
                let begun = input.position().line();
                next_row(input, columns).map_err(|error| csv_failure(path, begun, error))
            }
        }
    }
}

/// Blank lines are no records. No more of a line is held than a record may have.
fn next_line(input: &mut impl BufRead, line: &mut u64) -> std::io::Result<Option<Record>> {
    loop {
        let mut bytes = Vec::new();
        if input
            .by_ref()
            .take(MAX_RECORD as u64 + 1)
            .read_until(b'\n', &mut bytes)?
            == 0
        {
            return Ok(None);
        }
        *line += 1;
        if bytes.len() > MAX_RECORD {
            if !bytes.ends_with(b"\n") {
                input.skip_until(b'\n')?;
            }
            return Ok(Some((*line, Err("too_large"))));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let record = match serde_json::from_slice::<Json>(&bytes) {
            Ok(record @ Json::Object(_)) => Ok(record),
            _ => Err("malformed_json"),
        };
        return Ok(Some((*line, record)));
    }
}

fn next_row(input: &mut csv::Reader<Bounded>, columns: &[String]) -> Result<Option<Record>, csv::Error> {
    let mut row = csv::ByteRecord::new();
    if !input.read_byte_record(&mut row)? {
        return Ok(None);
    }
    let line = row.position().map_or(0, csv::Position::line);
    if row.len() != columns.len() {
        return Ok(Some((line, Err("malformed_row"))));
    }
    let field = |(name, cell): (&String, &[u8])| Some((name.clone(), Json::text(std::str::from_utf8(cell).ok()?)));
    let fields: Option<Vec<_>> = columns.iter().zip(row.iter()).map(field).collect();
    Ok(Some((line, fields.map(Json::Object).ok_or("malformed_row"))))
}

/// `begun`: the line in which the row began.
fn csv_failure(path: &Path, begun: u64, error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) if error.kind() == std::io::ErrorKind::FileTooLarge => Failure::usage(format!(
            "{}: the row that begins in line {begun} is longer than {MAX_RECORD} bytes; look for a quote that is not closed",
            path.display()
        )),
        csv::ErrorKind::Io(error) => Failure::file(path, &error),
        _ => Failure::usage(format!("{}: is not CSV in UTF-8", path.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_that_is_never_closed_does_not_take_the_whole_file_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv");
        let text = format!("id,text\n1,a\n2,\"open\n{}", "3,b\n".repeat(MAX_RECORD));
        std::fs::write(&path, text).unwrap();
        let mapping = "name = 'rows'\nformat = 'csv'\nstream = 's'\ntype = 't'\nsubject = {fields = ['id']}";
        let mapping = Mapping::parse(mapping).unwrap();
        let mut records = Records::open(&path, &mapping, &ProgressBar::hidden()).unwrap();
        assert!(records.next(&path).unwrap().unwrap().1.is_ok());
        let failure = records.next(&path).unwrap_err();
        assert!(failure.detail.contains("begins in line 3"), "{}", failure.detail);
    }

    #[test]
    fn a_line_that_is_too_long_is_rejected_and_the_next_one_read() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD));
        let fits = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD - 9));
        let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
        let text = format!("{long}\n\n{{\"b\":1}}\n{fits}\n{deep}\n{long}");
        let (mut input, mut line, mut found) = (BufReader::with_capacity(1 << 18, text.as_bytes()), 0, Vec::new());
        while let Some((line, record)) = next_line(&mut input, &mut line).unwrap() {
            found.push((line, record.err()));
        }
        assert_eq!(
            found,
            [
                (1, Some("too_large")),
                (3, None),
                (4, None),
                (5, Some("malformed_json")),
                (6, Some("too_large"))
            ]
        );
    }
}
