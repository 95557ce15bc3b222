//! The one report of every verification: server job, command line and offline verifier alike
//! (docs/spec/12-verification.md).
//!
//! A failed verification is a value, not an error: a list of findings, each naming the place (leaf index and field), what
//! was expected and what was found. The verdict follows from the findings alone and fails closed: *tampered* if any of
//! them contradicts the evidence, else *incomplete* if any of them says that something could not be checked, else
//! *valid*. `trust` says against what: `pinned` to a key or checkpoint that the reader brought, or `self_consistent`,
//! which a forger with keys of his own can also reach; the text then names the key to compare.
//!
//! Out of scope: exit codes (the command lines), and which findings are made when (`verify`, `bundle`, `evidence`).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::ids::Origin;

/// How many findings a report lists; the rest are counted.
pub const MAX_FINDINGS: usize = 100;

/// How long the text of one side of a finding may be, in bytes.
const MAX_TEXT: usize = 256;

/// What was found, over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// All that the object claims was checked and holds.
    Valid,
    /// Nothing contradicts the evidence, but something could not be checked.
    Incomplete,
    /// Something contradicts the evidence.
    Tampered,
}

/// What the verdict rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrustState {
    /// A key or checkpoint that the reader brought along.
    Pinned,
    /// The object's own keys: a forger with other keys can reach this too.
    SelfConsistent,
}

/// What was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// A ledger in its store.
    Ledger,
    /// An exported bundle.
    Bundle,
    /// The answer to an append.
    Receipt,
    /// A certificate of erasure.
    Certificate,
    /// A `.tlog-proof` file.
    Proof,
}

impl Object {
    /// The word for it in text.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Bundle => "bundle",
            Self::Receipt => "receipt",
            Self::Certificate => "certificate",
            Self::Proof => "proof",
        }
    }
}

macro_rules! finding_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $verdict:ident;)+) => {
        /// Why something is not as it must be. Closed and stable: codes are added, never changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum FindingCode {
            $($(#[$doc])* #[serde(rename = $code)] $name,)+
        }

        impl FindingCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as reports write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The best verdict that is left beside it.
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)+ }
            }
        }
    };
}

finding_codes! {
    /// A header is not the canonical encoding of a valid header.
    HeaderInvalid = "header_invalid", Tampered;
    /// An event's leaf index is not the next one: events are missing, repeated or swapped.
    IndexMismatch = "index_mismatch", Tampered;
    /// Something names another origin than the ledger.
    OriginMismatch = "origin_mismatch", Tampered;
    /// An event does not link to the leaf hash of the event before it.
    PreviousMismatch = "previous_mismatch", Tampered;
    /// Recorded time went backwards.
    TimeDecreased = "time_decreased", Tampered;
    /// A stream version is not the next one of its stream.
    StreamVersionMismatch = "stream_version_mismatch", Tampered;
    /// A signature is not of the one form that it must have.
    SignatureMalformed = "signature_malformed", Tampered;
    /// Signed by a key that may not sign this.
    SignatureUnknownKey = "signature_unknown_key", Tampered;
    /// A signature does not verify.
    SignatureInvalid = "signature_invalid", Tampered;
    /// No key is known under which a signature could be checked.
    SignatureUnchecked = "signature_unchecked", Incomplete;
    /// A body is not the one that the header commits to.
    BodyMismatch = "body_mismatch", Tampered;
    /// A body to which no commitment exists, or a body given twice or out of order.
    BodyUnexpected = "body_unexpected", Tampered;
    /// A body holds to its commitment but is not of its format.
    BodyInvalid = "body_invalid", Tampered;
    /// A body is absent and no event authorises that.
    Missing = "missing", Tampered;
    /// A body is absent; the event that would excuse it may be in the part that was not read.
    MissingUnresolved = "missing_unresolved", Incomplete;
    /// A body is present although the ledger records that it was purged.
    PurgedButPresent = "purged_but_present", Tampered;
    /// One of Oubliette's own events is not what it must be, so it authorises nothing.
    AuthorityInvalid = "authority_invalid", Tampered;
    /// One of Oubliette's own events is of a type that this version does not know.
    UnknownSystemEvent = "unknown_system_event", Incomplete;
    /// The first event is not a valid `ledger.created`.
    LedgerCreatedInvalid = "ledger_created_invalid", Tampered;
    /// The root hash differs from a signed one.
    RootMismatch = "root_mismatch", Tampered;
    /// Not a signed checkpoint.
    CheckpointMalformed = "checkpoint_malformed", Tampered;
    /// No valid signature by the ledger's checkpoint key.
    CheckpointSignature = "checkpoint_signature", Tampered;
    /// A checkpoint that could not be checked.
    CheckpointUnchecked = "checkpoint_unchecked", Incomplete;
    /// There is no checkpoint where one is needed.
    CheckpointAbsent = "checkpoint_absent", Incomplete;
    /// There are fewer events than a signed checkpoint counts.
    TooFewEvents = "too_few_events", Tampered;
    /// There are more events than the newest checkpoint covers.
    TooManyEvents = "too_many_events", Tampered;
    /// The ledger is shorter than a checkpoint that the reader holds.
    RolledBack = "rolled_back", Tampered;
    /// None of the pinned keys is a key of this ledger.
    KeyNotPinned = "key_not_pinned", Tampered;
    /// A key destroyed or unreachable without a record of it: sealed data is there and cannot be opened.
    KeyUnavailable = "key_unavailable", Incomplete;
    /// An inclusion or range proof does not hold.
    ProofInvalid = "proof_invalid", Tampered;
    /// There is no proof where one is needed.
    ProofAbsent = "proof_absent", Incomplete;
    /// A bundle's archive is not the one canonical archive of its members.
    ArchiveInvalid = "archive_invalid", Tampered;
    /// A member of a bundle is absent, unexpected or out of order.
    MemberUnexpected = "member_unexpected", Tampered;
    /// A member of a bundle is not the one that the manifest lists.
    MemberMismatch = "member_mismatch", Tampered;
    /// A member of a bundle is not of its format.
    MemberInvalid = "member_invalid", Tampered;
    /// The file ends before its end.
    Truncated = "truncated", Incomplete;
    /// Bytes follow after the end.
    TrailingBytes = "trailing_bytes", Tampered;
    /// Events are left out that the manifest does not declare as left out.
    UndeclaredGap = "undeclared_gap", Tampered;
    /// Events are left out by a declared selection.
    NotIncluded = "not_included", Incomplete;
    /// A signed document is not of its format.
    DocumentInvalid = "document_invalid", Tampered;
    /// A stated fact differs from the signed one.
    FactMismatch = "fact_mismatch", Tampered;
    /// A field that this version does not know.
    UnknownField = "unknown_field", Incomplete;
    /// Data supplied by the reader is not the data committed to.
    DataMismatch = "data_mismatch", Tampered;
    /// An event that the object needs as evidence is not in it.
    EvidenceAbsent = "evidence_absent", Incomplete;
    /// A certificate records a check that failed.
    ErasureNotShown = "erasure_not_shown", Tampered;
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place where something is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The event's leaf index, if the place is in an event.
    pub index: Option<u64>,
    /// The field of the event, the member of the bundle or the part of the document.
    pub field: String,
    /// Why.
    pub code: FindingCode,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
}

impl Finding {
    /// A finding; long texts are cut.
    pub fn new(
        index: Option<u64>,
        field: impl Into<String>,
        code: FindingCode,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            index,
            field: field.into(),
            code,
            expected: cut(expected.to_string()),
            found: cut(found.to_string()),
        }
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_TEXT {
        let end = (0..=MAX_TEXT).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Gathers findings: the first hundred in full, the rest as a number. The verdict counts them all.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    list: Vec<Finding>,
    omitted: u64,
    incomplete: bool,
    tampered: bool,
}

impl Findings {
    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        match finding.code.verdict() {
            Verdict::Tampered => self.tampered = true,
            Verdict::Incomplete => self.incomplete = true,
            Verdict::Valid => {}
        }
        if self.list.len() < MAX_FINDINGS {
            self.list.push(finding);
        } else {
            self.omitted += 1;
        }
    }

    /// Adds all of another list.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Finding>) {
        others.into_iter().for_each(|finding| self.push(finding));
    }

    /// What is left to say, over all.
    pub fn verdict(&self) -> Verdict {
        match (self.tampered, self.incomplete) {
            (true, _) => Verdict::Tampered,
            (false, true) => Verdict::Incomplete,
            (false, false) => Verdict::Valid,
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.list.len() as u64 + self.omitted
    }

    /// The findings that are listed.
    pub fn list(&self) -> &[Finding] {
        &self.list
    }
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Events whose header was read.
    pub events: u64,
    /// Event and document signatures that hold.
    pub signatures: u64,
    /// Bodies that hold to their commitments.
    pub bodies: u64,
    /// Checkpoints whose signature and root hold.
    pub checkpoints: u64,
}

/// What became of the bodies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bodies {
    /// There, and holding to their commitments.
    pub present: u64,
    /// Sealed blocks removed by a recorded erasure.
    pub erased: u64,
    /// Removed by a recorded retention run, or beside an erasure.
    pub purged: u64,
    /// Removed by a recorded redaction.
    pub redacted: u64,
    /// Absent without any record of it.
    pub missing: u64,
    /// There, but the key is neither there nor recorded as destroyed. Only a server can tell.
    pub key_unavailable: u64,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What was found, over all.
    pub verdict: Verdict,
    /// What the verdict rests on.
    pub trust: TrustState,
    /// What was verified.
    pub object: Object,
    /// The ledger, as far as it could be read.
    pub origin: Option<Origin>,
    /// For ledgers and bundles the number of leaves that were read, else the size that the checkpoint states.
    pub tree_size: u64,
    /// For ledgers and bundles the root computed from the leaves, else the one that the checkpoint states.
    pub root: Option<Hash>,
    /// How much was checked.
    pub checked: Checked,
    /// What became of the bodies.
    pub bodies: Bodies,
    /// What is not as it must be: at most a hundred.
    pub findings: Vec<Finding>,
    /// Findings beyond the hundred.
    pub findings_omitted: u64,
    /// Events of which only the leaf hash is there.
    pub events_not_included: u64,
    /// Whether signatures were verified in batches, which accept some signatures that the strict check refuses.
    pub fast: bool,
    /// The checkpoint key that the object itself names, as a note key: what a reader compares.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// What the verdict does not say, in plain words.
    pub notes: Vec<String>,
}

impl Report {
    /// A report without counts; the verdict is that of the findings.
    pub fn new(object: Object, trust: TrustState, findings: Findings) -> Self {
        Self {
            verdict: findings.verdict(),
            trust,
            object,
            origin: None,
            tree_size: 0,
            root: None,
            checked: Checked::default(),
            bodies: Bodies::default(),
            findings: findings.list,
            findings_omitted: findings.omitted,
            events_not_included: 0,
            fast: false,
            key: None,
            notes: Vec::new(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        writeln!(f)?;
        self.write_facts(f)?;
        self.write_trust(f)?;
        self.write_findings(f)?;
        self.write_notes(f)
    }
}

impl Report {
    fn headline(&self) -> String {
        let what = self.object.word();
        match (self.verdict, self.trust) {
            (Verdict::Valid, TrustState::Pinned) => {
                format!("VALID: this {what} is intact and comes from the ledger that you pinned.")
            }
            (Verdict::Valid, TrustState::SelfConsistent) => {
                format!("VALID, BUT ONLY CONSISTENT WITH ITSELF: nothing in this {what} contradicts itself.")
            }
            (Verdict::Incomplete, _) => {
                format!(
                    "INCOMPLETE: nothing in this {what} contradicts the evidence, but not all of it could be checked."
                )
            }
            (Verdict::Tampered, _) => {
                format!("TAMPERED: this {what} is not what was signed. The places are listed below.")
            }
        }
    }

    fn write_facts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            writeln!(f, "Ledger    {origin}")?;
        }
        if let Some(root) = &self.root {
            writeln!(f, "Tree      {} events, root {root}", self.tree_size)?;
        }
        let (checked, bodies) = (&self.checked, &self.bodies);
        let how = if self.fast {
            "in batches (--fast)"
        } else {
            "each strictly"
        };
        writeln!(
            f,
            "Checked   {} events, {} signatures ({how}), {} bodies, {} checkpoints",
            checked.events, checked.signatures, checked.bodies, checked.checkpoints
        )?;
        write!(
            f,
            "Bodies    {} present, {} erased, {} purged",
            bodies.present, bodies.erased, bodies.purged
        )?;
        writeln!(
            f,
            ", {} redacted, {} missing, {} with their key unavailable",
            bodies.redacted, bodies.missing, bodies.key_unavailable
        )
    }

    fn write_trust(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trust == TrustState::Pinned {
            return Ok(());
        }
        writeln!(f)?;
        writeln!(
            f,
            "!!! NO TRUSTED KEY: whoever makes a forgery with keys of their own gets the same answer."
        )?;
        match &self.key {
            Some(key) => {
                writeln!(
                    f,
                    "!!! Compare this key with the one that you know from elsewhere, or pass yours with --key:"
                )?;
                writeln!(f, "!!!     {key}")
            }
            None => writeln!(f, "!!! It names no valid key either. Pass the ledger's key with --key."),
        }
    }

    fn write_findings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.findings.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nFindings")?;
        for finding in &self.findings {
            match finding.index {
                Some(index) => write!(f, "  event {index}, {}", finding.field)?,
                None => write!(f, "  {}", finding.field)?,
            }
            writeln!(f, ": {}", finding.code)?;
            writeln!(f, "      expected  {}", finding.expected)?;
            writeln!(f, "      found     {}", finding.found)?;
        }
        match self.findings_omitted {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more"),
        }
    }

    fn write_notes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.notes.is_empty() {
            return Ok(());
        }
        writeln!(f, "\nWhat this does not say")?;
        self.notes.iter().try_for_each(|note| writeln!(f, "  - {note}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(code: FindingCode) -> Finding {
        Finding::new(Some(7), "data", code, "this", "that")
    }

    #[test]
    fn the_worst_finding_decides_even_when_it_is_no_longer_listed() {
        let mut findings = Findings::default();
        assert_eq!(findings.verdict(), Verdict::Valid);
        for _ in 0..150 {
            findings.push(finding(FindingCode::NotIncluded));
        }
        assert_eq!(findings.verdict(), Verdict::Incomplete);
        findings.push(finding(FindingCode::Missing));
        assert_eq!(findings.verdict(), Verdict::Tampered);
        let report = Report::new(Object::Ledger, TrustState::Pinned, findings);
        assert_eq!((report.findings.len(), report.findings_omitted), (MAX_FINDINGS, 51));
    }

    #[test]
    fn no_finding_leaves_a_valid_verdict_and_every_code_is_written_once() {
        let mut codes: Vec<_> = FindingCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(FindingCode::ALL.iter().all(|code| code.verdict() != Verdict::Valid));
        assert!(
            FindingCode::ALL
                .iter()
                .all(|code| serde_json::to_value(code).unwrap() == code.as_str())
        );
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), FindingCode::ALL.len());
    }

    #[test]
    fn the_json_has_the_agreed_names() {
        let mut findings = Findings::default();
        findings.push(Finding::new(None, "checkpoint", FindingCode::RootMismatch, "a", "b"));
        let report = Report::new(Object::Bundle, TrustState::SelfConsistent, findings);
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["verdict"], "tampered");
        assert_eq!(json["trust"], "self_consistent");
        assert_eq!(
            json["findings"][0],
            serde_json::json!({"index": null, "field": "checkpoint", "code": "root_mismatch", "expected": "a", "found": "b"})
        );
    }

    #[test]
    fn a_self_consistent_report_names_the_key_to_compare() {
        let mut report = Report::new(Object::Bundle, TrustState::SelfConsistent, Findings::default());
        report.key = Some("o.example/m+12345678+AAAA".into());
        let text = report.to_string();
        assert!(text.contains("ONLY CONSISTENT WITH ITSELF"), "{text}");
        assert!(text.contains("o.example/m+12345678+AAAA"), "{text}");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let found = Finding::new(None, "x", FindingCode::BodyInvalid, "", "ü".repeat(1000)).found;
        assert!(found.len() <= MAX_TEXT + 3 && found.ends_with('…'));
    }
}
