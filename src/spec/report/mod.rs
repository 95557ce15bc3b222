//! The one report of every verification: server job, command line and offline verifier alike
//! (docs/spec/11-verification.md).
//!
//! A failed verification is a value, not an error: a list of findings, each naming the place (leaf index and field), what
//! was expected and what was found. The verdict follows from the findings alone and fails closed: *tampered* if any of
//! them contradicts the evidence, else *incomplete* if any of them says that something could not be checked, else
//! *valid*. `trust` says against what: `pinned` to a key or checkpoint that the reader brought, or `self_consistent`,
//! which a forger with keys of his own can also reach; the text then names the key to compare.
//!
//! Out of scope: exit codes (the command lines), and which findings are made when (`verify`, `bundle`, `evidence`).

mod finding;
mod text;
mod visible;

pub use finding::{Finding, FindingCode, Findings, MAX_FINDINGS};

pub(super) use visible::visible;

use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::ids::Origin;

/// What was found, over all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub enum TrustState {
    /// A key or checkpoint that the reader brought along.
    Pinned,
    /// The object's own keys: a forger with other keys can reach this too.
    SelfConsistent,
}

/// `Object` would be any object to the schema.
#[cfg(feature = "server")]
type VerifiedObject = Object;

/// What was verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = VerifiedObject))]
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
    /// A compliance report.
    ComplianceReport,
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
            Self::ComplianceReport => "report",
        }
    }
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = VerificationReport))]
pub struct Report {
    /// What was found, over all.
    pub verdict: Verdict,
    /// What the verdict rests on.
    pub trust: TrustState,
    /// What was verified.
    #[cfg_attr(feature = "server", schema(value_type = VerifiedObject))]
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
        let verdict = findings.verdict();
        let (findings, findings_omitted) = findings.into_parts();
        Self {
            verdict,
            trust,
            object,
            origin: None,
            tree_size: 0,
            root: None,
            checked: Checked::default(),
            bodies: Bodies::default(),
            findings,
            findings_omitted,
            events_not_included: 0,
            fast: false,
            key: None,
            notes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::finding::MAX_TEXT;
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
    fn no_text_from_outside_steers_the_terminal() {
        let evil = "x\u{1b}[2J\r\n\u{202e}\u{2028}\u{9b}y";
        let shown = r"x\u{1b}[2J\u{d}\u{a}\u{202e}\u{2028}\u{9b}y";
        let made = Finding::new(None, evil, FindingCode::MemberUnexpected, evil, evil);
        assert_eq!([&made.field, &made.expected, &made.found], [shown; 3]);
        let mut findings = Findings::default();
        // As one that was read from JSON: nothing was made visible yet.
        findings.push(Finding {
            field: evil.into(),
            expected: evil.into(),
            found: evil.into(),
            ..made
        });
        let mut report = Report::new(Object::Bundle, TrustState::SelfConsistent, findings);
        (report.key, report.notes) = (Some(evil.into()), vec![evil.into()]);
        let text = report.to_string();
        assert!(
            text.chars().all(|c| c == '\n' || c == ' ' || c.is_ascii_graphic()),
            "{text:?}"
        );
        assert_eq!(text.matches(shown).count(), 5);
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let found = Finding::new(None, "x", FindingCode::BodyInvalid, "", "ü".repeat(1000)).found;
        assert!(found.len() <= MAX_TEXT + 3 && found.ends_with('…'));
        let field = Finding::new(None, "x".repeat(1000), FindingCode::UnknownField, "", "").field;
        assert!(field.len() <= MAX_TEXT + 3);
    }
}
