//! Verifying a bundle: its members, the ledger in them, and that both are what the manifest signs.
//!
//! What an auditor may expect of the verdict:
//!
//! - *valid*: every byte was read and holds, every event is there, and the events give the signed root.
//! - *incomplete*: nothing is wrong with what is there, but the file ends early, or the manifest declares a selection.
//!   A selection is the operator's choice of what to show: a declared filter could hide the one event that matters, so it is
//!   not valid unless the reader says that a selection was asked for ([`Options::selection`]). Then it is valid *for what it
//!   includes*: the report counts what is left out, and says that nothing is known about it.
//! - *tampered*: anything else, even a byte of padding; also events left out that the manifest does not declare.

use std::io::Read;

use super::reader::{BundleReader, Member};
use super::{BundleError, FORMAT, MANIFEST_NAME, Manifest, MemberEntry, Selection, certificate_name};
use crate::spec::certificate::{Surrounding, check_in_bundle};
use crate::spec::hash::Hash;
use crate::spec::ids::Handle;
use crate::spec::report::{Finding, FindingCode, Object, Report, visible};
use crate::spec::verify::{End, Entry, Options, Progress, Record, Trust, Verification, signature_code};

/// Entries that are examined at once: enough to keep all processors busy, and bounded whatever a member holds.
const FEED: usize = 2_048;

/// Verifies a bundle from its first byte to its last, with memory for two chunks. `progress` is called after each chunk.
///
/// # Errors
/// [`BundleError`] only if the file is no bundle or cannot be read; everything else is in the report.
pub fn verify_bundle<R: Read + Send>(
    input: R,
    trust: Trust,
    options: Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, BundleError> {
    let mut reader = BundleReader::new(input)?;
    let mut audit = Audit {
        verification: Verification::new(Object::Bundle, trust, options),
        gaps: Vec::new(),
        manifest: None,
        declared: None,
    };
    let mut next = reader.next_member()?;
    loop {
        for finding in reader.take_findings() {
            audit.verification.add(finding);
        }
        let Some(member) = next else { break };
        // The next member is read and decoded while this one is verified.
        let (verified, read) = rayon::join(|| audit.member(member), || reader.next_member());
        next = read?;
        if verified {
            progress(audit.verification.progress());
        }
    }
    audit.close(reader.members(), reader.is_complete());
    let end = if reader.is_complete() {
        End::Reached
    } else {
        End::CutShort
    };
    let declared = audit.declared.take();
    let mut report = audit.verification.finish(end);
    report.notes.extend(declared);
    Ok(report)
}

struct Audit {
    verification: Verification,
    /// Ranges of left-out leaves, `first..end`, neighbours merged.
    gaps: Vec<(u64, u64)>,
    manifest: Option<Vec<u8>>,
    /// The selection that the manifest declares, in words.
    declared: Option<String>,
}

impl Audit {
    /// Takes a member; whether it held events.
    fn member(&mut self, member: Member) -> bool {
        match member {
            Member::Readme | Member::Unexpected => false,
            Member::Checkpoint(note) => {
                self.verification.expect_head("checkpoint", &note);
                false
            }
            Member::Checkpoints(notes) => {
                for (number, note) in (1..).zip(notes) {
                    self.verification
                        .expect_checkpoint(&format!("checkpoints.cbor, note {number}"), &note);
                }
                false
            }
            Member::Events(entries) => {
                self.note_gaps(&entries);
                entries.chunks(FEED).for_each(|entries| self.verification.feed(entries));
                true
            }
            Member::Certificate { request, document } => {
                self.certificate(&request, &document);
                false
            }
            Member::Manifest(document) => {
                self.manifest = Some(document);
                false
            }
        }
    }

    fn note_gaps(&mut self, entries: &[Entry]) {
        for entry in entries {
            let Entry::Gap { first, leaves } = entry else { continue };
            let end = first.saturating_add(leaves.len() as u64);
            match self.gaps.last_mut() {
                Some(last) if last.1 == *first => last.1 = end,
                _ => self.gaps.push((*first, end)),
            }
        }
    }

    fn certificate(&mut self, request: &uuid::Uuid, document: &[u8]) {
        let name = certificate_name(request);
        let Some(keyring) = self.verification.keyring() else {
            let expected = "the ledger's certificate key";
            return self.find(name, FindingCode::SignatureUnchecked, expected, "no valid keys");
        };
        let (findings, signatures) = check_in_bundle(document, request, keyring, &self.verification, &name);
        self.verification.add_signatures(signatures);
        self.verification.add_all(findings);
    }

    fn find(
        &mut self,
        field: impl Into<String>,
        code: FindingCode,
        expected: impl std::fmt::Display,
        found: impl std::fmt::Display,
    ) {
        self.verification.add(Finding::new(None, field, code, expected, found));
    }

    /// Compares all that was read with the manifest. Where the file was cut short there is a finding already.
    fn close(&mut self, members: &[MemberEntry], complete: bool) {
        let Some(document) = self.manifest.take() else { return };
        let Some(keyring) = self.verification.keyring() else {
            let expected = "the ledger's certificate key";
            return self.find(
                MANIFEST_NAME,
                FindingCode::SignatureUnchecked,
                expected,
                "no valid keys",
            );
        };
        let key = keyring.manifest_key();
        let (id, origin) = (key.public().id(), keyring.origin().clone());
        match key.open_document::<Manifest>(&document) {
            Ok(manifest) => {
                self.verification.add_signatures(1);
                self.fact("format", FORMAT, &manifest.format);
                self.fact("origin", &origin, &manifest.origin);
                self.compare_members(&manifest.members, members);
                if complete {
                    self.compare_ledger(&manifest);
                }
            }
            Err(error) => {
                let expected = format!("a manifest signed by key {id}");
                self.find(MANIFEST_NAME, signature_code(&error), expected, error);
            }
        }
    }

    fn fact(&mut self, field: &str, read: impl ToString, signed: impl ToString) {
        let (read, signed) = (read.to_string(), signed.to_string());
        if read != signed {
            self.find(
                format!("{MANIFEST_NAME}, {field}"),
                FindingCode::FactMismatch,
                signed,
                read,
            );
        }
    }

    fn compare_members(&mut self, signed: &[MemberEntry], read: &[MemberEntry]) {
        for (signed, read) in signed.iter().zip(read) {
            if signed.name != read.name {
                return self.find(&*read.name, FindingCode::MemberMismatch, &signed.name, &read.name);
            }
            if signed != read {
                let text = |entry: &MemberEntry| format!("{} bytes, SHA-256 {}", entry.size, entry.sha256);
                self.find(&*read.name, FindingCode::MemberMismatch, text(signed), text(read));
            }
        }
        if signed.len() != read.len() {
            let (expected, found) = (format!("{} members", signed.len()), format!("{} members", read.len()));
            self.find(MANIFEST_NAME, FindingCode::MemberMismatch, expected, found);
        }
    }

    fn compare_ledger(&mut self, manifest: &Manifest) {
        let (size, root) = self.verification.tree();
        let (included, _) = self.verification.counts();
        self.fact("tree_size", size, manifest.tree_size);
        self.fact("events", included, manifest.events);
        if let Some(root) = root {
            self.fact("root", root, manifest.root);
        }
        self.compare_selection(size, manifest.selection.as_ref());
    }

    fn compare_selection(&mut self, size: u64, selection: Option<&Selection>) {
        let everything = Selection {
            first: 0,
            end: size,
            filter: None,
        };
        let declared = selection.unwrap_or(&everything);
        let gaps = std::mem::take(&mut self.gaps);
        let undeclared = gaps.iter().find_map(|(first, end)| needed(declared, *first, *end));
        if let Some(index) = undeclared {
            let expected = "every event that the manifest does not declare as left out";
            let finding = Finding::new(
                Some(index),
                "event",
                FindingCode::UndeclaredGap,
                expected,
                "its leaf hash alone",
            );
            self.verification.add(finding);
        }
        self.declared = selection.map(describe);
    }
}

impl Surrounding for Verification {
    fn holds(&self, event: &Record) -> bool {
        self.holds_own(event)
    }

    fn size(&self) -> u64 {
        self.progress().leaves
    }

    fn leaks_about(&self, handles: &[Handle]) -> Vec<u64> {
        self.own_leaks_about(handles)
    }

    fn root(&self, size: u64) -> Option<Hash> {
        self.met_root(size)
    }
}

/// The first index of a gap that the selection does not let be left out.
fn needed(selection: &Selection, first: u64, end: u64) -> Option<u64> {
    let inside = first.max(selection.first);
    (selection.filter.is_none() && inside < end.min(selection.end)).then_some(inside)
}

fn describe(selection: &Selection) -> String {
    let (first, end) = (selection.first, selection.end);
    let range = format!("The manifest declares a selection: the leaves from {first} up to, without, {end}");
    match &selection.filter {
        Some(filter) => {
            let filter = visible(filter);
            format!("{range}, with the filter: {filter}. Whether it was applied as stated cannot be checked.")
        }
        None => format!("{range}."),
    }
}
