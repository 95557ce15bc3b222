//! Operations about people, and those of auditors.

use serde_json::json;

use super::super::page::{ErasurePage, ExportPage, LeakPage, RedactionPage, VerificationPage};
use super::super::subjects::HandleView;
use super::super::{epochs, erasures, exports, leaks, redactions, reports, subjects, verifications};
use super::operation::{APPENDS, Operation, on_ledger as op};
use crate::service::Code;
use crate::service::epochs::{EpochChanged, KeysRenewed, RenewRequest};
use crate::service::erase::{ErasureRequest, ErasureView};
use crate::service::export::{ExportRequest, ExportView};
use crate::service::leak::{LeakRequest, LeakView};
use crate::service::redact::{RedactionRequest, RedactionView};
use crate::service::request::SubjectRequest;
use crate::service::subject::SubjectView;
use crate::service::verify::{VerificationRequest, VerificationView};
use crate::spec::compliance::SignedReport;

pub(super) fn operations() -> Vec<Operation> {
    let mut all = of_people();
    all.extend(of_leaks());
    all.extend(of_redactions());
    all.extend(of_auditors());
    all
}

fn of_people() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/subjects",
            subjects::handle,
            ("people", "subjectHandle"),
            "A person's handle, minted if new",
        )
        .body::<SubjectRequest>()
        .json::<HandleView>(200, "The handle.")
        .codes(&[Code::SubjectErased, Code::SubjectErasing]),
        op(
            "post",
            "/subjects/lookup",
            subjects::look_up,
            ("people", "lookUpSubject"),
            "Look a person up",
        )
        .body::<SubjectRequest>()
        .json::<SubjectView>(200, "Handle and state.")
        .codes(&[Code::SubjectNotFound, Code::Erased]),
        op(
            "get",
            "/subjects/{handle}",
            subjects::one,
            ("people", "getSubject"),
            "The state of a handle",
        )
        .json::<SubjectView>(200, "Handle and state.")
        .codes(&[Code::SubjectNotFound, Code::Erased]),
        op(
            "post",
            "/subjects/{handle}/rotations",
            epochs::renew_keys,
            ("people", "renewKeys"),
            "A new generation of a subject's keys",
        )
        .note("What was sealed before stays open.")
        .body::<RenewRequest>()
        .json::<KeysRenewed>(201, "The keys that seal from now on, by name.")
        .codes(APPENDS)
        .codes(&[
            Code::SubjectNotFound,
            Code::SubjectErasing,
            Code::SubjectRestricted,
            Code::Erased,
        ]),
        op(
            "post",
            "/epochs",
            epochs::rotate,
            ("people", "rotateEpoch"),
            "Wrap all keys under a new epoch key",
        )
        .note("Erases nobody and changes no proof.")
        .json::<EpochChanged>(201, "The change of epoch.")
        .codes(APPENDS),
        op(
            "post",
            "/erasures",
            erasures::create,
            ("people", "erase"),
            "Erase people",
        )
        .note(
            "Answers when the keys are destroyed and that is recorded, or that it waits: for an approval, a hold, or the end \
             of its grace.",
        )
        .body::<ErasureRequest>()
        .json::<ErasureView>(202, "The erasure.")
        .codes(APPENDS)
        .codes(&[
            Code::SubjectNotFound,
            Code::SubjectErasing,
            Code::SubjectRestricted,
            Code::LegalHold,
            Code::PersonalDataRefused,
        ]),
        op(
            "get",
            "/erasures",
            erasures::list,
            ("people", "listErasures"),
            "List the erasures",
        )
        .json::<ErasurePage<'_>>(200, "A page, newest first."),
        op(
            "get",
            "/erasures/{id}",
            erasures::one,
            ("people", "getErasure"),
            "An erasure",
        )
        .json::<ErasureView>(200, "The erasure.")
        .codes(&[Code::NotFound]),
        op(
            "get",
            "/erasures/{id}/certificate",
            erasures::certificate,
            ("people", "certificate"),
            "An erasure's certificate",
        )
        .note(
            "Made anew at each request; the same until another event comes of the erasure. There is none of an erasure whose \
             people were all erased before it. Refused while a leak that names \
             its people is not redacted.",
        )
        .media(200, "A COSE_Sign1, or a page that carries it.", "application/cose; cose-type=\"cose-sign1\"")
        .media(200, "", "text/html; charset=utf-8")
        .codes(&[Code::NotFound, Code::LeakNotRedacted]),
    ]
}

fn of_leaks() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/leaks",
            leaks::report,
            ("people", "reportLeak"),
            "Put on record that personal data stands in clear",
        )
        .note("While the bodies stand, no certificate of an erasure of the people named is given.")
        .body::<LeakRequest>()
        .json::<LeakView>(201, "The leak.")
        .codes(APPENDS)
        .codes(&[
            Code::EventNotFound,
            Code::BodyPurged,
            Code::SubjectNotFound,
            Code::SubjectErased,
            Code::LedgerFrozen,
        ]),
        op("get", "/leaks", leaks::list, ("people", "listLeaks"), "List the leaks")
            .json::<LeakPage<'_>>(200, "A page, newest first."),
        op("get", "/leaks/{id}", leaks::one, ("people", "getLeak"), "A leak")
            .json::<LeakView>(200, "The leak.")
            .codes(&[Code::NotFound]),
        op(
            "delete",
            "/leaks/{id}",
            leaks::withdraw,
            ("people", "withdrawLeak"),
            "Withdraw a report that was mistaken",
        )
        .note("The report stays on record, and the certificate tells of both. One that is settled stays as it is.")
        .json::<LeakView>(200, "The leak.")
        .codes(APPENDS)
        .codes(&[Code::NotFound, Code::LedgerFrozen]),
    ]
}

fn of_redactions() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/redactions",
            redactions::create,
            ("people", "redact"),
            "Remove bodies that should not have been written",
        )
        .note("Answers when no read gives them any more. Proofs stay valid.")
        .body::<RedactionRequest>()
        .json::<RedactionView>(202, "The redaction.")
        .codes(APPENDS)
        .codes(&[Code::EventNotFound, Code::BodyPurged]),
        op(
            "get",
            "/redactions",
            redactions::list,
            ("people", "listRedactions"),
            "List the redactions",
        )
        .json::<RedactionPage<'_>>(200, "A page, newest first."),
        op(
            "get",
            "/redactions/{id}",
            redactions::one,
            ("people", "getRedaction"),
            "A redaction",
        )
        .json::<RedactionView>(200, "The redaction.")
        .codes(&[Code::NotFound]),
        op(
            "get",
            "/redactions/{id}/certificate",
            redactions::certificate,
            ("people", "redactionCertificate"),
            "A redaction's certificate",
        )
        .media(
            200,
            "A COSE_Sign1, or a page that carries it.",
            "application/cose; cose-type=\"cose-sign1\"",
        )
        .media(200, "", "text/html; charset=utf-8")
        .codes(&[Code::NotFound]),
    ]
}

fn of_auditors() -> Vec<Operation> {
    vec![
        op(
            "post",
            "/verifications",
            verifications::start,
            ("audit", "startVerification"),
            "Verify the ledger",
        )
        .note("A job; at most two run at once.")
        .body_as::<VerificationRequest>("application/json", false)
        .json::<VerificationView>(202, "The job.")
        .codes(&[Code::Overloaded]),
        op(
            "get",
            "/verifications",
            verifications::list,
            ("audit", "listVerifications"),
            "List the verifications",
        )
        .json::<VerificationPage<'_>>(200, "A page, newest first."),
        op(
            "get",
            "/verifications/{id}",
            verifications::one,
            ("audit", "getVerification"),
            "A verification",
        )
        .json::<VerificationView>(200, "How far it is; at the end its report.")
        .codes(&[Code::NotFound]),
        op(
            "post",
            "/exports",
            exports::create,
            ("audit", "createExport"),
            "Export the ledger as of now",
        )
        .note("With `reveal` it needs the role revealer, too. Recorded.")
        .body::<ExportRequest>()
        .json::<ExportView>(201, "Where the content is.")
        .codes(APPENDS)
        .codes(&[Code::PersonalDataRefused]),
        op(
            "get",
            "/exports",
            exports::list,
            ("audit", "listExports"),
            "List the exports",
        )
        .json::<ExportPage<'_>>(200, "A page, newest first."),
        op(
            "get",
            "/exports/{id}",
            exports::one,
            ("audit", "getExport"),
            "An export",
        )
        .json::<ExportView>(200, "The export.")
        .codes(&[Code::NotFound]),
        content(op(
            "get",
            "/exports/{id}/content",
            exports::content,
            ("audit", "exportContent"),
            "An export's content",
        )),
        op(
            "get",
            "/reports/compliance",
            reports::compliance,
            ("audit", "complianceReport"),
            "A compliance report of a period",
        )
        .note("Signed, and recorded.")
        .json::<SignedReport>(200, "The report, in the form asked for.")
        .media(200, "", "text/html; charset=utf-8")
        .media(200, "", "text/csv; charset=utf-8")
        .codes(APPENDS),
    ]
}

fn content(operation: Operation) -> Operation {
    const FORMS: [&str; 3] = [
        "application/vnd.oubliette.bundle",
        "application/x-ndjson",
        "text/csv; charset=utf-8; header=present",
    ];
    let mut operation = operation
        .note("Streamed, resumable, recorded. Opened personal data needs the role revealer, too.")
        .takes(
            "Range",
            "One range of bytes.",
            json!({"type": "string", "pattern": "^bytes=[0-9]{1,9}-$"}),
        )
        .takes(
            "If-Range",
            "The `ETag` of the part that is there.",
            json!({"type": "string", "pattern": "^\"[0-9a-f-]{1,64}\"$"}),
        );
    for form in FORMS {
        operation = operation
            .media(200, "The content.", form)
            .media(206, "The part that was asked for.", form);
    }
    operation
        .header(200, "ETag", "Of the content.", true)
        .header(206, "ETag", "Of the content.", true)
        .header(206, "Content-Range", "Which part it is.", true)
        .codes(APPENDS)
        .codes(&[Code::NotFound, Code::RangeNotSatisfiable])
}
