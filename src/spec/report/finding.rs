//! Findings: where something is not as it must be, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::visible::visible;

/// How many findings a report lists; the rest are counted.
pub const MAX_FINDINGS: usize = 100;

/// How long the text of one side of a finding may be, in bytes.
pub(super) const MAX_TEXT: usize = 256;

macro_rules! finding_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $verdict:ident;)+) => {
        /// Why something is not as it must be. Closed and stable: codes are added, never changed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
    /// A page was made by a renderer that this version does not have: only the data in it is checked.
    PageUnchecked = "page_unchecked", Incomplete;
}

impl fmt::Display for FindingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One place where something is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
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
    /// A finding; its texts are made [`visible`], and long ones are cut.
    pub fn new(
        index: Option<u64>,
        field: impl Into<String>,
        code: FindingCode,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        Self {
            index,
            field: shown(&field.into()),
            code,
            expected: shown(&expected.to_string()),
            found: shown(&found.to_string()),
        }
    }
}

fn shown(text: &str) -> String {
    let mut text = visible(text).into_owned();
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
            self.omitted = self.omitted.saturating_add(1);
        }
    }

    /// Adds all of another list.
    pub fn extend(&mut self, others: impl IntoIterator<Item = Finding>) {
        others.into_iter().for_each(|finding| self.push(finding));
    }

    /// Adds those of another gathering, and what it no longer lists.
    pub(in crate::spec) fn merge(&mut self, others: Self) {
        self.extend(others.list);
        self.omitted = self.omitted.saturating_add(others.omitted);
        self.incomplete |= others.incomplete;
        self.tampered |= others.tampered;
    }

    /// The same findings about a part of something larger: each field begins with the place of the part.
    pub(in crate::spec) fn within(mut self, place: &str) -> Self {
        for finding in &mut self.list {
            finding.field = shown(&format!("{place}, {}", finding.field));
        }
        self
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
        (self.list.len() as u64).saturating_add(self.omitted)
    }

    /// Those that are listed, and how many more there are.
    pub(super) fn into_parts(self) -> (Vec<Finding>, u64) {
        (self.list, self.omitted)
    }
}
