//! The records of a file, one after another, with their lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

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
        input: csv::Reader<Input>,
        columns: Vec<String>,
    },
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
        let mut input = csv::ReaderBuilder::new()
            .delimiter(mapping.delimiter)
            .flexible(true)
            .from_reader(input);
        let header = input.headers().map_err(|error| csv_failure(path, error))?;
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
            Self::Csv { input, columns } => next_row(input, columns).map_err(|error| csv_failure(path, error)),
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

fn next_row(input: &mut csv::Reader<Input>, columns: &[String]) -> Result<Option<Record>, csv::Error> {
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

fn csv_failure(path: &Path, error: csv::Error) -> Failure {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Failure::file(path, &error),
        _ => Failure::usage(format!("{}: is not CSV in UTF-8", path.display())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
