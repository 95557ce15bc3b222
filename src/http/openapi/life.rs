//! Operations about the life of a person's data: holds, restrictions, reopenings, retention.

use super::super::page::{HoldPage, RestrictionPage, RetentionRunPage};
use super::super::{erasures, holds, retention, subjects};
use super::operation::{APPENDS, Operation, on_ledger as op};
use crate::service::Code;
use crate::service::erase::ErasureView;
use crate::service::hold::{HoldRequest, HoldView};
use crate::service::reopen::{ReopeningRequest, ReopeningView};
use crate::service::restrict::{RestrictionRequest, RestrictionView};
use crate::service::retention::{RetentionRequest, RetentionRunView};
use crate::service::subject_access::{AccessRequest, AccessView};

/// Why a person cannot be named.
const PEOPLE: &[Code] = &[Code::SubjectNotFound, Code::SubjectErased, Code::SubjectErasing];

pub(super) fn operations() -> Vec<Operation> {
    let mut all = of_erasures();
    all.extend(of_holds());
    all.extend(of_restrictions());
    all.extend(of_retention());
    all
}

fn of_erasures() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/subjects/access",
            subjects::access,
            ("people", "subjectAccess"),
            "All that is held about a person, opened (GDPR Art. 15)",
        )
        .note("It needs the role revealer, too, and is recorded. Of other people in the same events nothing is shown.")
        .body::<AccessRequest>()
        .json::<AccessView>(200, "A page, oldest first.")
        .codes(APPENDS)
        .codes(&[Code::SubjectNotFound, Code::Erased]),
        op(
            "post",
            "/erasures/{id}/approvals",
            erasures::approve,
            ("people", "approveErasure"),
            "Approve an erasure under four eyes",
        )
        .note("With another API key than the one that asked for it. Takes no body.")
        .json::<ErasureView>(202, "The erasure.")
        .codes(APPENDS)
        .codes(&[Code::NotFound, Code::ErasureSettled, Code::SecondKeyNeeded]),
        op(
            "post",
            "/erasures/{id}/cancellations",
            erasures::cancel,
            ("people", "cancelErasure"),
            "Take an erasure back that has not begun",
        )
        .note(
            "One key suffices while it waits for an approval; else two different ones must ask. Of a cancellation and the \
             destruction exactly one comes first. Takes no body.",
        )
        .json::<ErasureView>(202, "The erasure.")
        .codes(APPENDS)
        .codes(&[Code::NotFound, Code::ErasureSettled, Code::SecondKeyNeeded]),
    ]
}

fn of_holds() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/holds",
            holds::place,
            ("people", "placeHold"),
            "Place a legal hold",
        )
        .note("It blocks erasures and retention. Data must fit all of people, categories and streams that are named.")
        .body::<HoldRequest>()
        .json::<HoldView>(201, "The hold.")
        .codes(APPENDS)
        .codes(PEOPLE)
        .codes(&[Code::StreamNotFound, Code::PersonalDataRefused]),
        op(
            "get",
            "/holds",
            holds::list,
            ("people", "listHolds"),
            "List the legal holds",
        )
        .json::<HoldPage<'_>>(200, "A page, newest first."),
        op("get", "/holds/{id}", holds::one, ("people", "getHold"), "A legal hold")
            .json::<HoldView>(200, "The hold.")
            .codes(&[Code::NotFound]),
        op(
            "delete",
            "/holds/{id}",
            holds::release,
            ("people", "releaseHold"),
            "Release a legal hold",
        )
        .note("Erasures that waited for it run before this answers.")
        .json::<HoldView>(200, "The hold.")
        .codes(APPENDS)
        .codes(&[Code::NotFound]),
    ]
}

fn of_restrictions() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/restrictions",
            holds::restrict,
            ("people", "restrict"),
            "Restrict a person's data (GDPR Art. 18)",
        )
        .note("Nothing of it is opened until the restriction is lifted; new data is stored, and stays closed.")
        .body::<RestrictionRequest>()
        .json::<RestrictionView>(201, "The restriction.")
        .codes(APPENDS)
        .codes(PEOPLE),
        op(
            "get",
            "/restrictions",
            holds::restrictions,
            ("people", "listRestrictions"),
            "List the restrictions",
        )
        .json::<RestrictionPage<'_>>(200, "A page, newest first."),
        op(
            "get",
            "/restrictions/{id}",
            holds::restriction,
            ("people", "getRestriction"),
            "A restriction",
        )
        .json::<RestrictionView>(200, "The restriction.")
        .codes(&[Code::NotFound]),
        op(
            "delete",
            "/restrictions/{id}",
            holds::lift,
            ("people", "liftRestriction"),
            "Lift a restriction",
        )
        .json::<RestrictionView>(200, "The restriction.")
        .codes(APPENDS)
        .codes(&[Code::NotFound]),
    ]
}

fn of_retention() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/reopenings",
            retention::reopen,
            ("people", "reopen"),
            "Reopen an erased person, or erased categories of a living one",
        )
        .note(
            "An erased person gets a new handle, to which nothing leads from the old one; an erased category of a living \
             person the next generation of its key. What was erased stays erased.",
        )
        .body::<ReopeningRequest>()
        .json::<ReopeningView>(201, "The handle from now on.")
        .codes(APPENDS)
        .codes(PEOPLE)
        .codes(&[Code::NotErased]),
        op(
            "post",
            "/retention/runs",
            retention::run,
            ("people", "runRetention"),
            "Run the retention rules, or count what is due",
        )
        .body::<RetentionRequest>()
        .json::<RetentionRunView>(200, "The counts of a dry run.")
        .json::<RetentionRunView>(201, "The run.")
        .codes(APPENDS)
        .codes(&[Code::RetentionNotConfigured]),
        op(
            "get",
            "/retention/runs",
            retention::list,
            ("people", "listRetentionRuns"),
            "List the retention runs",
        )
        .json::<RetentionRunPage<'_>>(200, "A page, newest first."),
        op(
            "get",
            "/retention/runs/{id}",
            retention::one,
            ("people", "getRetentionRun"),
            "A retention run",
        )
        .json::<RetentionRunView>(200, "The run.")
        .codes(&[Code::NotFound]),
    ]
}
