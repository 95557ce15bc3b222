//! What the reader knows from elsewhere, and whether the ledger meets it.

use crate::spec::ids::Origin;
use crate::spec::note::VerifierKey;
use crate::spec::report::{Finding, FindingCode, Findings};

use super::Keyring;

/// What the reader knows from elsewhere.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Checkpoint or event keys, one of which must be the ledger's.
    pub keys: Vec<VerifierKey>,
    /// The origin that it must have.
    pub origin: Option<Origin>,
    /// Signed checkpoints of the ledger, kept from earlier: it must have grown out of each.
    pub against: Vec<Vec<u8>>,
}

/// Compares the ledger with what the reader pinned; whether a pinned key is the ledger's.
pub(in crate::spec) fn check_pins(trust: &Trust, keyring: Option<&Keyring>, findings: &mut Findings) -> bool {
    let found = keyring.map_or_else(
        || "no valid keys".to_owned(),
        |keyring| keyring.checkpoint_key().to_string(),
    );
    let origin = keyring.map(Keyring::origin);
    if let Some(expected) = trust.origin.as_ref().filter(|expected| origin != Some(*expected)) {
        let found = origin.map_or("unknown", Origin::as_str);
        findings.push(Finding::new(
            None,
            "origin",
            FindingCode::OriginMismatch,
            expected,
            found,
        ));
    }
    let pinned = keyring.is_some_and(|keyring| keyring.is_among(&trust.keys));
    if !pinned && !trust.keys.is_empty() {
        let keys: Vec<_> = trust.keys.iter().map(ToString::to_string).collect();
        findings.push(Finding::new(
            None,
            "keys",
            FindingCode::KeyNotPinned,
            keys.join(" or "),
            found,
        ));
    }
    pinned
}
