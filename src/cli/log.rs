//! `oubliette log`: the transparency log as a folder of files that any static file server serves (C2SP tlog-tiles).

mod copy;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::Context;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::target::OnLedger;
use crate::spec::checkpoint::{Checkpoint, open};
use crate::spec::hash::Hash;
use crate::spec::merkle::verify_consistency;
use crate::spec::note::VerifierKey;
use copy::Copy;

/// Copy the transparency log into a folder that any static file server serves.
#[derive(Debug, Subcommand)]
pub(super) enum Log {
    /// Write checkpoint, tiles and, with --entries, entry bundles into a folder, or bring such a folder up to date.
    Export(Export),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  oubliette log export --data D --out public/audit
  oubliette log export --url https://ledger.example.com --out public/audit --entries --key VKEY

Everything is checked before the new checkpoint is written, which comes last: the checkpoint against the one that was in the
folder before, the root of the tiles against the checkpoint, every tile against the one above it, new bundles against tiles. Whoever reads the folder meanwhile sees
the old log or the new one. A folder that holds another log, or one that the server's does not extend, is left alone.

Serve the folder as it is: text/plain for `checkpoint`, application/octet-stream for the rest. It holds hashes; with --entries
headers too, which name types, times and random references, but no person and nothing that a caller wrote.")]
pub(super) struct Export {
    #[command(flatten)]
    on: OnLedger,
    /// The folder; it is made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The entry bundles too; needs the role auditor.
    #[arg(long)]
    entries: bool,
    /// The checkpoint key that the log must be signed with; without it whatever the server says is its key.
    #[arg(long, value_name = "VKEY")]
    key: Option<VerifierKey>,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    role: String,
    vkey: String,
}

#[derive(Deserialize)]
struct Growth {
    hashes: Vec<Hash>,
}

#[derive(Serialize)]
struct Done<'a> {
    origin: String,
    tree_size: u64,
    root: Hash,
    vkey: String,
    pinned: bool,
    /// Files that were not there before.
    files: u64,
    bytes: u64,
    out: &'a Path,
}

impl Log {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let Self::Export(export) = self;
        export.run(context)
    }
}

impl Export {
    fn run(self, context: &Context) -> Result<Exit, Failure> {
        let session = self.on.open(context)?;
        let key = match &self.key {
            Some(key) => key.clone(),
            None => self.checkpoint_key(&session.client)?,
        };
        // Before anything else: what stands there is never taken for what the server says now.
        let before = read_before(&self.out, &key)?;
        let note = session.client.get(&self.on.path("log/checkpoint"), &[])?.text;
        let now = opened(&note, &key).map_err(|why| damaged(format!("the server's checkpoint: {why}")))?;
        if let Some(before) = &before {
            self.expect_growth(&session.client, before, &now)?;
        }
        let mut copy = Copy::new(&session.client, self.on.path("log/"), &self.out, now.size);
        let bar = context.progress(Some(copy.files_due(self.entries)), "files");
        copy.fetch(self.entries, &now, &bar)?;
        copy.finish(&note, before.as_ref().map_or(0, |before| before.size))?;
        bar.finish_and_clear();
        self.tell(context, &now, &key, &copy)?;
        Ok(Exit::Fine)
    }

    /// That the log only grew since the folder was written.
    fn expect_growth(&self, client: &Client, before: &Checkpoint, now: &Checkpoint) -> Result<(), Failure> {
        let refused = |why: String| {
            let (folder, size) = (self.out.display(), before.size);
            let detail = format!(
                "the server's log does not extend the one of {size} events in {folder}: {why}. Keep the folder: its checkpoint \
                 and the server's are evidence"
            );
            Failure::new(Exit::Findings, "log_not_extended", detail)
        };
        if before.size > now.size {
            return Err(refused(format!(
                "it has {} events; it was rolled back or cut",
                now.size
            )));
        }
        let (from, to) = (before.size.to_string(), now.size.to_string());
        let path = self.on.path("proofs/consistency");
        let proof: Growth = client.get(&path, &[("from", &from), ("to", &to)])?.parse()?;
        verify_consistency(before.size, now.size, &before.root, &now.root, &proof.hashes)
            .map_err(|error| refused(error.to_string()))
    }

    fn checkpoint_key(&self, client: &Client) -> Result<VerifierKey, Failure> {
        let published: Published = client.get(&self.on.path("keys"), &[])?.parse()?;
        let key = published.keys.iter().find(|key| key.role == "checkpoint");
        let key = key.and_then(|key| key.vkey.parse().ok());
        key.ok_or_else(|| damaged("the server names no checkpoint key"))
    }

    fn tell(&self, context: &Context, now: &Checkpoint, key: &VerifierKey, copy: &Copy<'_>) -> Result<(), Failure> {
        let done = Done {
            origin: now.origin.to_string(),
            tree_size: now.size,
            root: now.root,
            vkey: key.to_string(),
            pinned: self.key.is_some(),
            files: copy.files,
            bytes: copy.bytes,
            out: &self.out,
        };
        context.print(&done, || {
            let trust = if done.pinned {
                ""
            } else {
                "\nThe key is the server's own word: compare it with what its owner published."
            };
            format!(
                "{} is the log {} of {} events; {} new files, {} bytes.\nIts readers need the key {}{trust}",
                done.out.display(),
                done.origin,
                done.tree_size,
                done.files,
                done.bytes,
                done.vkey
            )
        })
    }
}

/// The checkpoint that the folder holds, if it holds one.
fn read_before(out: &Path, key: &VerifierKey) -> Result<Option<Checkpoint>, Failure> {
    let path = out.join("checkpoint");
    let note = match std::fs::read_to_string(&path) {
        Ok(note) => note,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Failure::file(&path, &error)),
    };
    let before = opened(&note, key).map_err(|why| {
        let detail = format!("{} is not one of this log: {why}. Name another folder", path.display());
        Failure::new(Exit::Findings, "other_log", detail)
    })?;
    Ok(Some(before))
}

fn opened(note: &str, key: &VerifierKey) -> Result<Checkpoint, String> {
    match open(note, key.name(), std::slice::from_ref(key)) {
        Ok(opened) => Ok(opened.checkpoint),
        Err(error) => Err(error.to_string()),
    }
}

/// What was fetched, or lies in the folder, is not the log.
fn damaged(detail: impl Into<String>) -> Failure {
    Failure::new(Exit::Findings, "log_damaged", detail)
}
