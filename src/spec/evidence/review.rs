//! What the verifications of receipts, certificates and proofs share: one checkpoint, one set of keys, events under both.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::spec::checkpoint::{self, Checkpoint};
use crate::spec::event::{BodyKind, Header};
use crate::spec::hash::Hash;
use crate::spec::ids::Origin;
use crate::spec::merkle::verify_inclusion;
use crate::spec::note::{KeyName, SignatureType};
use crate::spec::report::{Bodies, Checked, Finding, FindingCode, Findings, Object, Report, TrustState, visible};
use crate::spec::signature::{self, Kind, PublicKey, Verifier};
use crate::spec::verify::{
    Examined, Keyring, Record, Trust, body_place, check_pins, error_chain, examine, read_checkpoint, signature_code,
    verify_note,
};

use super::{Evidence, Inclusion};

/// A verification of an object that holds a few events under one checkpoint.
#[derive(Debug)]
pub(in crate::spec) struct Review<'t> {
    trust: &'t Trust,
    keyring: Option<Keyring>,
    checkpoint: Option<Checkpoint>,
    pinned: bool,
    pub(in crate::spec) findings: Findings,
    pub(in crate::spec) checked: Checked,
    pub(in crate::spec) bodies: Bodies,
}

impl<'t> Review<'t> {
    /// Takes the keys from the anchors, then the checkpoint under those keys or under the pinned ones.
    pub(in crate::spec) fn new(trust: &'t Trust, anchors: &[Evidence], note: &str) -> Self {
        let mut review = Self {
            trust,
            keyring: None,
            checkpoint: None,
            pinned: false,
            findings: Findings::default(),
            checked: Checked::default(),
            bodies: Bodies::default(),
        };
        match anchors.first().map(|anchor| Keyring::from_first(&anchor.record())) {
            Some(Ok(keyring)) => review.keyring = Some(keyring),
            Some(Err(found)) => {
                review.find(
                    None,
                    "anchors",
                    FindingCode::LedgerCreatedInvalid,
                    "ledger.created first",
                    found,
                );
            }
            None => {}
        }
        review.open_checkpoint(note);
        for (number, anchor) in anchors.iter().enumerate() {
            review.evidence(&format!("anchors/{number}"), anchor);
        }
        review.compare_kept_checkpoints();
        review
    }

    /// As [`Review::new`], of an object that must have anchors.
    pub(in crate::spec) fn anchored(trust: &'t Trust, anchors: &[Evidence], note: &str) -> Self {
        let mut review = Self::new(trust, anchors, note);
        if anchors.is_empty() {
            review.find(None, "anchors", FindingCode::EvidenceAbsent, "ledger.created", "none");
        }
        review
    }

    /// Adds a finding.
    pub(in crate::spec) fn find(
        &mut self,
        index: Option<u64>,
        field: impl Into<String>,
        code: FindingCode,
        expected: impl ToString,
        found: impl ToString,
    ) {
        self.findings.push(Finding::new(
            index,
            field,
            code,
            expected.to_string(),
            found.to_string(),
        ));
    }

    /// Compares a stated fact with the signed one.
    pub(in crate::spec) fn compare<T: PartialEq + ToString>(
        &mut self,
        index: Option<u64>,
        field: impl Into<String>,
        signed: &T,
        stated: &T,
    ) {
        if signed != stated {
            self.find(
                index,
                field,
                FindingCode::FactMismatch,
                signed.to_string(),
                stated.to_string(),
            );
        }
    }

    /// The ledger's keys, if anchors name them.
    pub(in crate::spec) fn keyring(&self) -> Option<&Keyring> {
        self.keyring.as_ref()
    }

    /// The checkpoint, verified or not.
    pub(in crate::spec) fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Checks that a document is signed by the key that the anchors name for its kind.
    pub(in crate::spec) fn signed_by<T: DeserializeOwned + Serialize>(
        &mut self,
        key: fn(&Keyring) -> &Verifier,
        document: &[u8],
    ) {
        let Some(key) = self.keyring.as_ref().map(key).cloned() else {
            let expected = "anchors that name the certificate key";
            return self.find(None, "signature", FindingCode::SignatureUnchecked, expected, "none");
        };
        self.checked.signatures += u64::from(self.opens_under::<T>(&key, document));
    }

    /// Whether a document is signed by this key; if not, that is found.
    pub(in crate::spec) fn opens_under<T: DeserializeOwned + Serialize>(
        &mut self,
        key: &Verifier,
        document: &[u8],
    ) -> bool {
        let opened = key.open_document::<T>(document);
        if let Err(error) = &opened {
            let expected = format!("a signature by key {}", key.public().id());
            self.find(None, "signature", signature_code(error), expected, error);
        }
        opened.is_ok()
    }

    /// Compares the origin that a document states with that of its checkpoint, and the tree size where it states one.
    pub(in crate::spec) fn stands_under(&mut self, origin: (&str, &Origin), tree_size: Option<(&str, u64)>) {
        let Some(checkpoint) = self.checkpoint.clone() else {
            return;
        };
        self.compare(None, origin.0, &checkpoint.origin.as_str(), &origin.1.as_str());
        if let Some((place, stated)) = tree_size {
            self.compare(None, place, &checkpoint.size, &stated);
        }
    }

    fn open_checkpoint(&mut self, note: &str) {
        let unverified = match read_checkpoint(note.as_bytes()) {
            Ok((_, checkpoint)) => checkpoint,
            Err(error) => {
                let expected = "a signed checkpoint";
                return self.find(None, "checkpoint", FindingCode::CheckpointMalformed, expected, error);
            }
        };
        let opened = match &self.keyring {
            Some(keyring) => verify_note(note, "checkpoint", keyring).map(drop),
            None => self.open_with_pinned(note, &unverified.origin),
        };
        match opened {
            Ok(()) => self.checked.checkpoints += 1,
            Err(finding) => self.findings.push(finding),
        }
        self.checkpoint = Some(unverified);
    }

    fn open_with_pinned(&mut self, note: &str, origin: &KeyName) -> Result<(), Finding> {
        let keys = &self.trust.keys;
        let no_key = |expected: &str, found: String| {
            Err(Finding::new(
                None,
                "checkpoint",
                FindingCode::SignatureUnchecked,
                expected,
                found,
            ))
        };
        if keys.is_empty() {
            return no_key("anchors, or a key passed with --key", "neither".to_owned());
        }
        if let Err(error) = checkpoint::open(note, origin, keys) {
            let expected = "a checkpoint signed by a pinned key";
            let found = error_chain(error);
            return Err(Finding::new(
                None,
                "checkpoint",
                FindingCode::CheckpointSignature,
                expected,
                found,
            ));
        }
        self.pinned = true;
        Ok(())
    }

    /// Checkpoints that the reader kept say something about this one only if they are of the same size.
    fn compare_kept_checkpoints(&mut self) {
        let trust = self.trust;
        for (number, note) in (1..).zip(&trust.against) {
            let place = format!("--against {number}");
            match (read_checkpoint(note), &self.checkpoint) {
                (Err(error), _) => {
                    self.find(
                        None,
                        place,
                        FindingCode::CheckpointMalformed,
                        "a signed checkpoint",
                        error,
                    );
                }
                (Ok((note, kept)), Some(own)) if kept.size == own.size => {
                    let (own, kept) = (own.clone(), kept);
                    self.compare_kept(&place, &note, &kept, &own);
                }
                (Ok((_, kept)), _) => {
                    let expected = format!("a checkpoint of size {}, to compare roots", kept.size);
                    let found = "another size: only a bundle or the ledger can connect the two";
                    self.find(None, place, FindingCode::CheckpointUnchecked, expected, found);
                }
            }
        }
    }

    fn compare_kept(&mut self, place: &str, note: &str, kept: &Checkpoint, own: &Checkpoint) {
        if kept.origin != own.origin {
            return self.find(None, place, FindingCode::OriginMismatch, &kept.origin, &own.origin);
        }
        if kept.root != own.root {
            return self.find(None, place, FindingCode::RootMismatch, kept.root, own.root);
        }
        match self.keyring.as_ref().map(|keyring| verify_note(note, place, keyring)) {
            Some(Ok(_)) => {
                self.checked.checkpoints += 1;
                self.pinned |= kept.size > 0;
            }
            Some(Err(finding)) => self.findings.push(finding),
            None => {}
        }
    }

    /// Checks an event whose public bodies are all there. Sealed blocks, such as the note of an erasure, may be gone.
    pub(in crate::spec) fn evidence(&mut self, place: &str, evidence: &Evidence) -> Examined {
        let record = evidence.record();
        let event = self.event(place, &record);
        for (ordinal, _) in event.absent.iter().filter(|(_, kind)| *kind != BodyKind::Sealed) {
            let expected = "the public bodies of the event";
            self.find(
                Some(event.index),
                place,
                FindingCode::EvidenceAbsent,
                expected,
                format!("no body {ordinal}"),
            );
        }
        self.inclusion(place, &event.leaf, event.index, &evidence.inclusion);
        event
    }

    /// Checks an event of a receipt: receipts carry no data, so that its absence says nothing, be the event one of
    /// Oubliette's own.
    pub(in crate::spec) fn receipted_event(&mut self, place: &str, record: &Record) -> Examined {
        let key = self.key_for(record);
        let mut event = examine(record, key.as_ref());
        let before = event.findings.len();
        let data = body_place(BodyKind::Data, 1);
        event
            .findings
            .retain(|finding| finding.code != FindingCode::Missing || finding.field != data);
        event.lost = event.lost.saturating_sub((before - event.findings.len()) as u64);
        self.note(place, record, key.is_some(), event)
    }

    /// Checks header, signature and the bodies that are there.
    pub(in crate::spec) fn event(&mut self, place: &str, record: &Record) -> Examined {
        let key = self.key_for(record);
        let event = examine(record, key.as_ref());
        self.note(place, record, key.is_some(), event)
    }

    fn key_for(&self, record: &Record) -> Option<Verifier> {
        match &self.keyring {
            Some(keyring) => Some(keyring.event_key(record.index).clone()),
            None => self.pinned_event_key(record),
        }
    }

    fn note(&mut self, place: &str, record: &Record, has_key: bool, mut event: Examined) -> Examined {
        self.checked.events += 1;
        self.checked.signatures += u64::from(event.signed);
        self.checked.bodies += event.present;
        self.bodies.present += event.present;
        self.bodies.missing += event.lost;
        if !has_key {
            let expected = "anchors, or the event key passed with --key";
            self.find(
                Some(record.index),
                "signature",
                FindingCode::SignatureUnchecked,
                expected,
                "neither",
            );
        }
        for mut finding in std::mem::take(&mut event.findings) {
            finding.field = format!("{place}, {}", finding.field);
            self.findings.push(finding);
        }
        if let Some(header) = &event.header {
            self.compare(
                Some(record.index),
                format!("{place}, index"),
                &header.index,
                &record.index,
            );
            self.check_origin(place, header);
        }
        event
    }

    fn check_origin(&mut self, place: &str, header: &Header) {
        let expected = self
            .checkpoint
            .as_ref()
            .map(|checkpoint| checkpoint.origin.as_str().to_owned());
        if let Some(expected) = expected.filter(|expected| expected != header.origin.as_str()) {
            let place = format!("{place}, origin");
            self.find(
                Some(header.index),
                place,
                FindingCode::OriginMismatch,
                expected,
                &header.origin,
            );
        }
    }

    /// Checks that a leaf is in the checkpoint's tree.
    pub(in crate::spec) fn inclusion(&mut self, place: &str, leaf: &Hash, index: u64, proof: &Inclusion) {
        let Some(checkpoint) = &self.checkpoint else { return };
        let (size, root) = (checkpoint.size, checkpoint.root);
        let place = format!("{place}, inclusion");
        if proof.leaf_index != index || proof.tree_size != size {
            let found = format!("leaf {} in a tree of {}", proof.leaf_index, proof.tree_size);
            let expected = format!("leaf {index} in a tree of {size}");
            return self.find(Some(index), place, FindingCode::ProofInvalid, expected, found);
        }
        if let Err(error) = verify_inclusion(leaf, index, size, &proof.hashes, &root) {
            let expected = format!("a proof that leads to root {root}");
            self.find(Some(index), place, FindingCode::ProofInvalid, expected, error);
        }
    }

    /// Ends as a part of something larger that reports: the findings, and how many signatures hold.
    pub(in crate::spec) fn into_findings(mut self) -> (Findings, u64) {
        check_pins(self.trust, self.keyring.as_ref(), &mut self.findings);
        (self.findings, self.checked.signatures)
    }

    /// Ends and reports; `notes` say what the verdict does not.
    pub(in crate::spec) fn finish(mut self, object: Object, notes: Vec<String>) -> Report {
        let pinned = match &self.keyring {
            Some(keyring) => check_pins(self.trust, Some(keyring), &mut self.findings) || self.pinned,
            None => {
                self.check_origin_pin();
                self.pinned
            }
        };
        let trust = if pinned {
            TrustState::Pinned
        } else {
            TrustState::SelfConsistent
        };
        let mut report = Report::new(object, trust, self.findings);
        report.key = self
            .keyring
            .as_ref()
            .map(|keyring| keyring.checkpoint_key().to_string());
        if let Some(checkpoint) = self.checkpoint {
            report.origin = checkpoint.origin.as_str().parse().ok();
            (report.tree_size, report.root) = (checkpoint.size, Some(checkpoint.root));
        }
        (report.checked, report.bodies) = (self.checked, self.bodies);
        report.notes = notes.iter().map(|note| visible(note).into_owned()).collect();
        report
    }

    /// The pinned key that a signature names, as an event key: one under the name of the checkpoint's ledger, and of the
    /// type that signs plainly.
    fn pinned_event_key(&self, record: &Record) -> Option<Verifier> {
        let origin = &self.checkpoint.as_ref()?.origin;
        let id = signature::key_id(&record.signature).ok()?;
        let mut keys = self.trust.keys.iter();
        let key = keys.find_map(|key| {
            let own = key.signature_type() == SignatureType::Ed25519 && key.name() == origin;
            let public = own.then(|| PublicKey::new(key.public_key()).ok()).flatten()?;
            (public.id() == id).then_some(public)
        });
        key.map(|key| Verifier::new(Kind::Header, key))
    }

    fn check_origin_pin(&mut self) {
        let Some(expected) = &self.trust.origin else { return };
        let found = self
            .checkpoint
            .as_ref()
            .map_or("unknown", |checkpoint| checkpoint.origin.as_str());
        if found != expected.as_str() {
            let found = found.to_owned();
            self.find(None, "origin", FindingCode::OriginMismatch, expected, found);
        }
    }
}
