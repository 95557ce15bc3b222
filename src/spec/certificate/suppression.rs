//! What a certificate says of the ids of erased people, against what its events say.

use super::Certificate;
use super::compare::with_authority;
use crate::spec::evidence::Review;
use crate::spec::ids::Timestamp;
use crate::spec::system::{Authority, DestroyedSubject, Suppressed};
use crate::spec::verify::Examined;

/// Compares what is kept of the subject ids: what `erasure.requested` says, where `erasure.completed` has all identities
/// destroyed. Gives the members that they do not state.
pub(super) fn check(
    review: &mut Review<'_>,
    certificate: &Certificate,
    requested: Option<&Examined>,
    completed: Option<&Examined>,
) -> Vec<&'static str> {
    let Some((event, Authority::ErasureRequested(requested))) = with_authority(requested) else {
        return Vec::new();
    };
    let whole = requested.categories.is_none();
    let identities = match with_authority(completed) {
        _ if !whole => Some(false),
        Some((_, Authority::ErasureCompleted(completed))) => all_destroyed(&completed.subjects),
        _ => None,
    };
    let kept = match (identities, requested.suppression) {
        (_, Some(Suppressed::None)) | (Some(false), _) => Some(words(false, None)),
        (Some(true), None) => Some(words(true, None)),
        (Some(true), Some(Suppressed::Until(time))) => Some(words(true, Some(time))),
        (None, _) => None,
    };
    let stated = words(certificate.suppression.active, certificate.suppression.until);
    match kept {
        Some(kept) => review.compare(Some(event.index), "suppression", &kept, &stated),
        None => return vec!["suppression"],
    }
    Vec::new()
}

/// Whether the identity of every subject was destroyed; `None` if that is not stated of each.
fn all_destroyed(subjects: &[DestroyedSubject]) -> Option<bool> {
    let each = subjects.iter().map(|subject| subject.identity_destroyed);
    match each.clone().any(|destroyed| destroyed == Some(false)) {
        true => Some(false),
        false => each
            .map(|destroyed| destroyed.filter(|destroyed| *destroyed))
            .collect::<Option<Vec<_>>>()
            .map(|_| true),
    }
}

fn words(active: bool, until: Option<Timestamp>) -> String {
    match (active, until) {
        (false, None) => "none".to_owned(),
        (true, None) => "for ever".to_owned(),
        (true, Some(until)) => format!("until {until}"),
        (false, Some(until)) => format!("none, until {until}"),
    }
}
