//! What a certificate says against what its events say (docs/spec/09-evidence.md).
//!
//! Every stated fact that an event states too must be the same, and present if the event has it. What the event does not
//! state stays on the word of the certificate; the report names it.

use std::collections::BTreeSet;
use std::fmt::Display;

use super::{Certificate, CertifiedLeak, CertifiedSubject, KeyCopies, LeakRecord};
use crate::spec::evidence::Review;
use crate::spec::ids::{Category, Handle, Timestamp};
use crate::spec::report::FindingCode;
use crate::spec::system::{
    Authority, DestroyedSubject, EpochDestroyed, ErasureCompleted, ErasureRequested, ErasureResidueRemoved,
};
use crate::spec::verify::Examined;

/// What the events after `erasure.completed` record as gone.
#[derive(Debug, Default)]
pub(super) struct Removed {
    residues: Vec<(u64, ErasureResidueRemoved)>,
    epoch_keys: Vec<(u64, EpochDestroyed)>,
    leaks: LeakRecord,
}

impl Removed {
    /// Takes an event's word, if its signature holds. One of another erasure does not belong here.
    pub(super) fn add(&mut self, review: &mut Review<'_>, certificate: &Certificate, event: Examined) {
        match with_authority(Some(&event)) {
            Some((event, Authority::ResidueRemoved(removed))) => {
                review.compare(Some(event.index), "request", &removed.request, &certificate.request);
                self.residues.push((event.index, removed.clone()));
            }
            Some((event, Authority::EpochDestroyed(destroyed))) => self.epoch_keys.push((event.index, *destroyed)),
            Some((event, authority)) => {
                if let Some(header) = &event.header {
                    self.leaks.add(event.index, header.recorded_at, authority);
                }
            }
            None => {}
        }
    }

    /// When a residue was removed, as an event after the completion, at `index`, says.
    fn at(&self, residue: &str, index: u64) -> Option<Timestamp> {
        let mut later = self.later(index);
        later
            .find(|removed| &*removed.residue == residue)
            .map(|removed| removed.at)
    }

    fn later(&self, index: u64) -> impl Iterator<Item = &ErasureResidueRemoved> {
        let later = self.residues.iter().filter(move |(at, _)| *at > index);
        later.map(|(_, removed)| removed)
    }

    /// When no epoch key was left any more under which a backup has the erased keys: at once, or when the last of the
    /// retired ones was destroyed, of each of which an event after the completion, at `index`, says so.
    fn epoch_key(&self, index: u64, completed: &ErasureCompleted) -> Option<Timestamp> {
        completed.epochs?;
        match (completed.epoch_key_due_at, completed.retired_epochs.is_empty()) {
            (None, true) => return completed.keys_destroyed_at,
            (Some(_), false) => {}
            (None, false) | (Some(_), true) => return None,
        }
        let copies = self.key_copies(index, completed);
        let all: Option<Vec<_>> = copies.iter().map(|copies| copies.destroyed_at).collect();
        all?.into_iter().max()
    }

    /// The epochs under whose keys backups have the erased keys, and when each key was destroyed.
    fn key_copies(&self, index: u64, completed: &ErasureCompleted) -> Vec<KeyCopies> {
        let copies = |epoch: &u32| {
            let mut later = self.epoch_keys.iter().filter(|(at, _)| *at > index);
            let gone = later.find(|(_, destroyed)| destroyed.epoch == *epoch);
            KeyCopies {
                epoch: *epoch,
                destroyed_at: gone.map(|(_, destroyed)| destroyed.destroyed_at),
            }
        };
        completed.retired_epochs.iter().map(copies).collect()
    }

    /// A leak that names people of the certificate and that its evidence tells of is settled, and listed.
    pub(super) fn check_leaks(&self, review: &mut Review<'_>, certificate: &Certificate) {
        let handles: Vec<_> = certificate.subjects.iter().map(|subject| subject.handle).collect();
        let words = |leaks: &[CertifiedLeak]| {
            let words = |leak: &CertifiedLeak| {
                format!(
                    "{} reported at {} of events {:?}, {} at {}",
                    leak.leak, leak.reported_at, leak.events, leak.outcome, leak.settled_at
                )
            };
            leaks.iter().map(words).collect::<Vec<_>>().join("; ")
        };
        match self.leaks.certified(&handles) {
            Ok(shown) => review.compare(None, "clear, leaks", &words(&shown), &words(&certificate.clear.leaks)),
            Err(open) => {
                for leak in open {
                    let (expected, found) = ("redacted, or withdrawn", "open: it names people of this certificate");
                    review.find(
                        Some(leak.index),
                        "clear, leaks",
                        FindingCode::ErasureNotShown,
                        expected,
                        found,
                    );
                }
            }
        }
        review.compare(None, "clear, examined", &false, &certificate.clear.examined);
    }

    fn derived(&self, index: u64) -> Option<String> {
        let derived = self.later(index).find_map(|removed| removed.derived.as_ref())?;
        Some(format!("{derived:?}"))
    }
}

/// Compares with `erasure.requested`. Gives the names of members that the event does not state.
pub(super) fn check_requested(
    review: &mut Review<'_>,
    certificate: &Certificate,
    event: Option<&Examined>,
) -> Vec<&'static str> {
    let Some((event, Authority::ErasureRequested(requested))) = with_authority(event) else {
        let expected = "a valid erasure.requested";
        review.find(None, "evidence/0", FindingCode::EvidenceAbsent, expected, "none");
        return Vec::new();
    };
    let index = Some(event.index);
    review.compare(index, "request", &requested.request, &certificate.request);
    review.compare(index, "tree_size_before", &event.index, &certificate.tree_size_before);
    if let Some(header) = &event.header {
        review.compare(index, "requested_at", &header.recorded_at, &certificate.requested_at);
    }
    let handles = requested.subjects.iter().map(|subject| subject.handle);
    compare_handles(review, event.index, handles, certificate);
    let (signed, stated) = (
        optional(requested.origin.as_ref()),
        optional(certificate.covers.as_ref()),
    );
    review.compare(index, "covers", &signed, &stated);
    let (signed, stated) = (optional(requested.due_at), optional(certificate.due_at));
    review.compare(index, "due_at", &signed, &stated);
    let (signed, stated) = (optional(requested.submitted_at), optional(certificate.submitted_at));
    review.compare(index, "submitted_at", &signed, &stated);
    let signed = words(requested.recipients.as_deref().unwrap_or_default());
    review.compare(
        index,
        "recipients, named",
        &signed,
        &words(&certificate.recipients.named),
    );
    let signed = categories(requested.categories.as_deref());
    for subject in &certificate.subjects {
        review.compare(index, "categories", &signed, &categories(subject.categories.as_deref()));
    }
    let mut facts = Facts::new(review, event.index);
    facts.codes(requested, certificate);
    facts.before(requested, certificate);
    facts.unshown.into_iter().collect()
}

fn words<T: Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn categories(categories: Option<&[Category]>) -> String {
    categories.map_or("all".to_owned(), |categories| format!("{categories:?}"))
}

/// Compares with `erasure.completed` and what came of it. Gives the names of members that the events do not state.
pub(super) fn check_completed(
    review: &mut Review<'_>,
    certificate: &Certificate,
    event: Option<&Examined>,
    removed: &Removed,
) -> Vec<&'static str> {
    let Some((event, Authority::ErasureCompleted(completed))) = with_authority(event) else {
        let expected = "a valid erasure.completed";
        review.find(None, "evidence/1", FindingCode::EvidenceAbsent, expected, "none");
        return Vec::new();
    };
    let index = Some(event.index);
    review.compare(index, "request", &completed.request, &certificate.request);
    let handles = completed.subjects.iter().map(|subject| subject.handle);
    compare_handles(review, event.index, handles, certificate);
    let recorded = event.header.as_ref().map(|header| header.recorded_at);
    let (signed, stated) = (optional(recorded), optional(certificate.completed_at));
    review.compare(index, "completed_at", &signed, &stated);
    let mut facts = Facts::new(review, event.index);
    facts.completed(completed, certificate, removed);
    facts.unshown.into_iter().collect()
}

/// What an event establishes, if its signature holds.
pub(super) fn with_authority(event: Option<&Examined>) -> Option<(&Examined, &Authority)> {
    let event = event.filter(|event| event.signed)?;
    Some((event, event.authority.as_ref()?))
}

/// As sets; but a certificate names each handle once, so that nothing is said of it twice.
fn compare_handles(
    review: &mut Review<'_>,
    index: u64,
    signed: impl Iterator<Item = Handle>,
    certificate: &Certificate,
) {
    let text = |handles: Vec<Handle>| handles.iter().map(Handle::to_string).collect::<Vec<_>>().join(", ");
    let signed: BTreeSet<_> = signed.collect();
    let mut stated: Vec<_> = certificate.subjects.iter().map(|subject| subject.handle).collect();
    stated.sort_unstable();
    let signed = text(signed.into_iter().collect());
    review.compare(Some(index), "subjects", &signed, &text(stated));
}

fn optional(value: Option<impl Display>) -> String {
    value.map_or("absent".to_owned(), |value| value.to_string())
}

/// Facts that an event may state.
struct Facts<'r, 't> {
    review: &'r mut Review<'t>,
    index: u64,
    unshown: BTreeSet<&'static str>,
}

impl<'r, 't> Facts<'r, 't> {
    fn new(review: &'r mut Review<'t>, index: u64) -> Self {
        let unshown = BTreeSet::new();
        Self { review, index, unshown }
    }

    /// Compares a fact: what is signed must be stated. What is stated and not signed is only remembered.
    fn compare(&mut self, field: &'static str, signed: Option<impl Display>, stated: Option<impl Display>) {
        let (signed, stated) = (signed.map(|fact| fact.to_string()), stated.map(|fact| fact.to_string()));
        match (signed, stated) {
            (Some(signed), stated) => {
                self.review.compare(Some(self.index), field, &signed, &optional(stated));
            }
            (None, Some(_)) => drop(self.unshown.insert(field)),
            (None, None) => {}
        }
    }

    fn codes(&mut self, requested: &ErasureRequested, certificate: &Certificate) {
        let basis = requested.basis.map(|basis| format!("{basis:?}"));
        self.compare("basis", basis, Some(format!("{:?}", certificate.basis)));
        let reason = requested.reason.map(|reason| format!("{reason:?}"));
        self.compare("reason", reason, Some(format!("{:?}", certificate.reason)));
        let stated = certificate.by.as_ref();
        self.compare("by, key", requested.by.as_ref(), stated.map(|by| &by.key));
        let signed = requested.roles.as_deref().map(words);
        self.compare("by, roles", signed, stated.map(|by| words(&by.roles)));
    }

    /// People who were erased before: told where there are any.
    fn before(&mut self, requested: &ErasureRequested, certificate: &Certificate) {
        let stated = certificate.already_erased;
        let signed = requested
            .already_erased
            .filter(|before| *before > 0 || stated.is_some());
        self.compare("already_erased", signed, stated);
    }

    fn completed(&mut self, completed: &ErasureCompleted, certificate: &Certificate, removed: &Removed) {
        for stated in &certificate.subjects {
            let mut signed = completed.subjects.iter();
            if let Some(signed) = signed.find(|signed| signed.handle == stated.handle) {
                self.subject(signed, stated);
            }
        }
        self.compare("times, t1", completed.fenced_at, certificate.times.t1);
        let signed = completed.verification;
        let stated = &certificate.verification;
        self.compare(
            "verification, sampled",
            signed.and_then(|check| check.sampled),
            Some(stated.sampled),
        );
        self.compare(
            "verification, opened",
            signed.and_then(|check| check.opened),
            Some(stated.opened),
        );
        self.compare(
            "verification, identity_resolves",
            signed.and_then(|check| check.identity_resolves),
            Some(stated.identity_resolves),
        );
        self.compare(
            "verification, keys_left",
            signed.and_then(|check| check.keys_left),
            stated.keys_left,
        );
        self.compare(
            "verification, epoch",
            completed.epochs.map(|epochs| epochs.to),
            stated.epoch,
        );
        let (due, retired) = (completed.epoch_key_due_at, &completed.retired_epochs);
        if due.is_some() == retired.is_empty() {
            let (expected, found) = ("an end of the retired epochs, or none and no end", optional(due));
            let found = format!("end {found}, epochs {retired:?}");
            let code = FindingCode::AuthorityInvalid;
            self.review
                .find(Some(self.index), "epoch_key_due_at", code, expected, found);
        }
        self.keys(completed, certificate, removed.epoch_key(self.index, completed));
        let copies = words(&removed.key_copies(self.index, completed));
        let index = Some(self.index);
        self.review
            .compare(index, "key_copies", &copies, &words(&certificate.key_copies));
        self.residues(completed, certificate, removed);
        self.later_times(completed, certificate, removed);
        let stated = (!certificate.derived.is_empty()).then(|| format!("{:?}", certificate.derived));
        self.compare("derived", removed.derived(self.index), stated);
    }

    /// T2, and T5 once an event says so: a key that is retired is not gone because the certificate says it.
    fn keys(&mut self, completed: &ErasureCompleted, certificate: &Certificate, gone: Option<Timestamp>) {
        let times = &certificate.times;
        self.compare("times, t2", completed.keys_destroyed_at, times.t2);
        self.compare("epochs", completed.epochs, certificate.epochs);
        let (signed, stated) = (completed.epoch_key_due_at, certificate.epoch_key_due_at);
        if completed.epochs.is_some() {
            let index = Some(self.index);
            self.review
                .compare(index, "epoch_key_due_at", &optional(signed), &optional(stated));
            self.review
                .compare(index, "times, t5", &optional(gone), &optional(times.t5));
        } else {
            self.compare("epoch_key_due_at", signed, stated);
            self.compare("times, t5", gone, times.t5);
        }
        let set = |names: &[Box<str>]| {
            let names: BTreeSet<&str> = names.iter().map(AsRef::as_ref).collect();
            names.into_iter().collect::<Vec<_>>().join(", ")
        };
        self.compare(
            "algorithms",
            completed.algorithms.as_deref().map(set),
            Some(set(&certificate.algorithms)),
        );
        self.compare("key_bits", completed.key_bits, certificate.key_bits);
    }

    fn subject(&mut self, signed: &DestroyedSubject, stated: &CertifiedSubject) {
        self.compare("keys_destroyed", signed.keys_destroyed, stated.keys_destroyed);
        self.compare(
            "identity_destroyed",
            signed.identity_destroyed,
            Some(stated.identity_destroyed),
        );
        self.compare("blocks_sealed", signed.blocks, Some(stated.blocks_sealed));
    }

    /// A certificate lists all that was pending and is not recorded as gone, also one that calls itself final.
    fn residues(&mut self, completed: &ErasureCompleted, certificate: &Certificate, removed: &Removed) {
        let codes = |codes: BTreeSet<&str>| codes.into_iter().collect::<Vec<_>>().join(", ");
        let gone = |code: &str| match code {
            "epoch_key" => removed.epoch_key(self.index, completed).is_some(),
            code => removed.at(code, self.index).is_some(),
        };
        let left = |pending: &[Box<str>]| codes(pending.iter().map(AsRef::as_ref).filter(|code| !gone(code)).collect());
        let signed = completed.pending.as_deref().map(left);
        let stated = codes(certificate.residues.iter().map(|residue| &*residue.code).collect());
        self.compare("residues", signed, Some(stated));
    }

    /// When the later steps were done. Of what was pending, an event must say so.
    fn later_times(&mut self, completed: &ErasureCompleted, certificate: &Certificate, removed: &Removed) {
        let times = &certificate.times;
        for (field, code, time) in [
            ("times, t3", "key_store_files", times.t3),
            ("times, t4", "ciphertext", times.t4),
        ] {
            let signed = removed.at(code, self.index);
            let pending = completed.pending.iter().flatten().any(|pending| &**pending == code);
            if pending {
                let index = Some(self.index);
                self.review.compare(index, field, &optional(signed), &optional(time));
            } else {
                self.compare(field, signed, time);
            }
        }
    }
}
