//! Codes in words.

use crate::spec::system::{Basis, Reason};

/// The legal ground.
pub(super) const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Art17_1A => "GDPR Art. 17(1)(a): no longer necessary",
        Basis::Art17_1B => "GDPR Art. 17(1)(b): consent withdrawn",
        Basis::Art17_1C => "GDPR Art. 17(1)(c): objection",
        Basis::Art17_1D => "GDPR Art. 17(1)(d): unlawfully processed",
        Basis::Art17_1E => "GDPR Art. 17(1)(e): a legal obligation to erase",
        Basis::Art17_1F => "GDPR Art. 17(1)(f): collected from a child",
        Basis::Retention => "the retention period is over",
        Basis::Other => "another ground",
    }
}

/// Why it was made.
pub(super) const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Request => "the person asked",
        Reason::Objection => "the person objected",
        Reason::Unlawful => "the data was held unlawfully",
        Reason::LegalDuty => "a law demands it",
        Reason::Retention => "the retention period is over",
        Reason::Other => "another reason",
    }
}

/// A code with its words, for codes that this renderer does not know: the code alone.
pub(super) fn store(code: &str) -> String {
    let words = match code {
        "handle_index" => "index of events by person",
        "block_caches" => "caches of sealed blocks",
        "key_store_files" => "the key store's files",
        "ciphertext" => "sealed blocks in the ledger's files",
        "epoch_key" => "key copies in backups",
        _ => return code.replace('_', " "),
    };
    words.to_owned()
}

/// What became of it.
pub(super) fn state(code: &str) -> String {
    code.replace('_', " ")
}
