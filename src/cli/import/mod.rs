//! `oubliette import`: records of other systems become events, exactly once.
//!
//! Every event has an id that a second run makes again, so an import that was repeated, or killed and resumed, adds
//! nothing twice. Records are sent in the order of the file, while the next ones are read. A batch that is refused is
//! halved until the records that are meant stand alone.

mod event;
mod json;
mod mapping;
mod records;

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Context;
use super::client::{Answer, Client};
use super::failure::{Exit, Failure};
use super::output::{read_file, table};
use super::target::OnLedger;
use mapping::Mapping;
use records::Records;

/// Events in a request.
const BATCH_EVENTS: usize = 500;
/// Bytes of a request, about.
const BATCH_BYTES: usize = 4 << 20;
/// The longest wait before an overloaded server is asked again.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How often it is asked.
const MAX_TRIES: u32 = 60;
/// Rejected records that people see.
const SHOWN: usize = 20;

/// Import a file of records (NDJSON or CSV) with a mapping.
#[derive(Debug, Args)]
#[command(after_help = "\
The mapping says which field becomes what, and which ones are personal: docs/examples/README.md describes it, and beside
it lie mappings for AWS CloudTrail and S3 access alerts.

Repeating an import, or resuming one that was interrupted, adds nothing twice. Exit code 1: some records were rejected.

Example:
  oubliette import cloudtrail.ndjson --data D --mapping docs/examples/cloudtrail.mapping.toml")]
pub(super) struct Import {
    #[command(flatten)]
    on: OnLedger,
    /// The file; - for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The mapping.
    #[arg(long, value_name = "FILE")]
    mapping: PathBuf,
    /// The import's name instead of the mapping's: records without an id of their own need one for each file.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// What an import did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Imported {
    pub(super) read: u64,
    pub(super) appended: u64,
    pub(super) repeated: u64,
    pub(super) rejected: Vec<Rejected>,
}

/// A record that was not imported.
#[derive(Debug, Serialize)]
pub(super) struct Rejected {
    line: u64,
    code: String,
}

/// A record on its way, as JSON of the API.
struct Prepared {
    line: u64,
    event: Box<RawValue>,
}

#[derive(Serialize)]
struct Request<'a> {
    events: Vec<&'a RawValue>,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let mut mapping = read_mapping(&self.mapping)?;
        if let Some(name) = &self.name {
            mapping.name.clone_from(name);
        }
        let session = self.on.open(context)?;
        let imported = import(context, &session.client, &self.on.path("events"), &self.file, &mapping)?;
        context.print(&imported, || imported.words())?;
        Ok(if imported.rejected.is_empty() {
            Exit::Fine
        } else {
            Exit::Findings
        })
    }
}

fn read_mapping(path: &Path) -> Result<Mapping, Failure> {
    let refused = |why: String| Failure::new(Exit::Usage, "invalid_mapping", format!("{}: {why}", path.display()));
    Mapping::parse(&read_file(path)?).map_err(refused)
}

fn import(context: &Context, client: &Client, to: &str, file: &Path, mapping: &Mapping) -> Result<Imported, Failure> {
    let bar = context.progress(Some(0), "bytes");
    let records = Records::open(file, mapping, &bar)?;
    let (sender, receiver) = sync_channel(2);
    let (read, sent) = std::thread::scope(|scope| {
        let sending = scope.spawn(move || send_all(client, to, &receiver));
        let read = read_all(records, file, mapping, sender);
        (read, sending.join())
    });
    bar.finish_and_clear();
    let sent = sent.map_err(|_| Failure::new(Exit::Io, "internal", "the sending thread broke off"))??;
    let mut imported = read?;
    (imported.appended, imported.repeated) = (sent.appended, sent.repeated);
    imported.rejected.extend(sent.rejected);
    imported.rejected.sort_by_key(|rejected| rejected.line);
    Ok(imported)
}

/// Reads and maps; batches end at fixed places, so that a second run makes the same ones.
fn read_all(
    mut records: Records,
    file: &Path,
    mapping: &Mapping,
    sender: SyncSender<Vec<Prepared>>,
) -> Result<Imported, Failure> {
    let mut imported = Imported::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while let Some((line, record)) = records.next(file)? {
        imported.read += 1;
        let event = record.and_then(|record| event::event(mapping, line, record));
        let event = event.and_then(|event| serde_json::value::to_raw_value(&event).map_err(|_| "malformed_json"));
        match event {
            Ok(event) => {
                bytes += event.get().len();
                batch.push(Prepared { line, event });
            }
            Err(code) => imported.rejected.push(Rejected {
                line,
                code: code.into(),
            }),
        }
        if (batch.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES) && sender.send(std::mem::take(&mut batch)).is_err() {
            return Ok(imported); // the sender says why
        } else if batch.is_empty() {
            bytes = 0;
        }
    }
    let _ = sender.send(batch);
    Ok(imported)
}

fn send_all(client: &Client, to: &str, batches: &Receiver<Vec<Prepared>>) -> Result<Imported, Failure> {
    let mut imported = Imported::default();
    while let Ok(batch) = batches.recv() {
        send(client, to, &batch, &mut imported)?;
    }
    Ok(imported)
}

/// Sends a batch; if it is refused for what is in it, its halves.
fn send(client: &Client, to: &str, batch: &[Prepared], imported: &mut Imported) -> Result<(), Failure> {
    if batch.is_empty() {
        return Ok(());
    }
    match post(client, to, batch) {
        Ok(answer) => {
            let count = if answer.status == 200 {
                &mut imported.repeated
            } else {
                &mut imported.appended
            };
            *count += batch.len() as u64;
            Ok(())
        }
        Err(failure) if !is_about_events(&failure) => Err(failure),
        Err(failure) => match batch {
            [one] => {
                imported.rejected.push(Rejected {
                    line: one.line,
                    code: failure.code,
                });
                Ok(())
            }
            _ => {
                let (left, right) = batch.split_at(batch.len() / 2);
                send(client, to, left, imported)?;
                send(client, to, right, imported)
            }
        },
    }
}

/// Waits out an overloaded server.
fn post(client: &Client, to: &str, batch: &[Prepared]) -> Result<Answer, Failure> {
    let request = Request {
        events: batch.iter().map(|prepared| &*prepared.event).collect(),
    };
    let mut wait = Duration::from_millis(50);
    for _ in 0..MAX_TRIES {
        match client.post(to, &[("proof", "none")], &request) {
            Err(failure) if failure.code == "overloaded" => {
                std::thread::sleep(wait);
                wait = (wait * 2).min(MAX_WAIT);
            }
            outcome => return outcome,
        }
    }
    Err(Failure::new(
        Exit::Io,
        "overloaded",
        "the server stayed overloaded; import again to resume",
    ))
}

/// Whether other events would be taken.
fn is_about_events(failure: &Failure) -> bool {
    const ABOUT_EVENTS: [&str; 9] = [
        "invalid_field",
        "personal_data_refused",
        "unknown_schema",
        "too_large",
        "idempotency_conflict",
        "subject_erased",
        "subject_erasing",
        "subject_restricted",
        "body_purged",
    ];
    ABOUT_EVENTS.contains(&failure.code.as_str())
}

impl Imported {
    pub(super) fn words(&self) -> String {
        let Self {
            read,
            appended,
            repeated,
            rejected,
        } = self;
        let summary = format!(
            "Read {read} records: {appended} appended, {repeated} were there already, {} rejected.",
            rejected.len()
        );
        if rejected.is_empty() {
            return summary;
        }
        let rows = rejected
            .iter()
            .take(SHOWN)
            .map(|rejected| [rejected.line.to_string(), rejected.code.clone()]);
        let more = rejected.len().saturating_sub(SHOWN);
        let more = if more > 0 {
            format!("\n… and {more} more; --json lists them all")
        } else {
            String::new()
        };
        format!("{summary}\n\nRejected:\n{}{more}", table(["line", "code"], rows))
    }
}
