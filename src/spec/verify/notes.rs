//! What the verdict over a ledger does not say, in plain words.

use crate::spec::report::Report;

/// The notes that this report needs.
pub(super) fn notes(report: &Report) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Events after the first {} are not covered, and neither is whether others were shown another history: \
             compare the root with a checkpoint from elsewhere.",
            report.tree_size
        ),
        "Recorded times are the server's own; they never decrease, but no outside clock confirms them.".to_owned(),
        "Sealed blocks were compared with their commitments, not opened.".to_owned(),
        "Whether event ids are unique was not looked at.".to_owned(),
    ];
    if report.bodies.erased > 0 {
        notes.push(
            "Erased means: a signed event records the erasure and names the block. That every copy of the key is gone \
             cannot be seen from here."
                .to_owned(),
        );
    }
    if report.events_not_included > 0 {
        notes.push(format!(
            "{} events are left out: of them only the leaf hashes are there. Nothing is said about their signatures, \
             streams, times and bodies.",
            report.events_not_included
        ));
    }
    if report.fast {
        notes.push(
            "Signatures were verified in batches (--fast), which accept some signatures that the strict check refuses: \
             repeat without --fast for a verdict that others can reproduce."
                .to_owned(),
        );
    }
    notes
}
