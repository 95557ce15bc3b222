//! Operations on a ledger's events, log and streams.

use serde_json::json;

use super::super::ledgers::KeyPage;
use super::super::proofs::{ConsistencyProof, InclusionProof};
use super::super::{as_of, events, ledgers, log, proofs};
use super::operation::{APPENDS, Operation, on_ledger as op};
use crate::service::Code;
use crate::service::append::AppendAnswer;
use crate::service::as_of::{LedgerAsOf, StateDiff, StreamState};
use crate::service::cloudevents::CloudEvent;
use crate::service::read::{EventView, Page, StreamPage};
use crate::service::request::{AppendRequest, BatchRequest};

/// Codes of an append of the caller's own events, beside [`APPENDS`].
const OWN: &[Code] = &[
    Code::PersonalDataRefused,
    Code::WrongExpectedVersion,
    Code::IdempotencyConflict,
    Code::SubjectErased,
    Code::SubjectErasing,
    Code::SubjectRestricted,
    Code::BodyPurged,
];

const NDJSON: &str = "application/x-ndjson";
const TEXT: &str = "text/plain; charset=utf-8";
const BYTES: &str = "application/octet-stream";
const COSE: &str = "application/cose; cose-type=\"cose-sign1\"";
const CACHING: &str = "A year if full, a minute if partial.";

pub(super) fn operations() -> Vec<Operation> {
    let mut all = of_events();
    all.extend(of_moments());
    all.extend(of_log());
    all
}

fn append(operation: Operation) -> Operation {
    operation
        .takes(
            "traceparent",
            "W3C trace context; kept in `meta`.",
            json!({"type": "string"}),
        )
        .json::<AppendAnswer>(201, "The receipt.")
        .json::<AppendAnswer>(200, "An exact repeat: the facts of the first receipts.")
        .codes(APPENDS)
        .codes(OWN)
}

fn reveals(operation: Operation) -> Operation {
    operation.codes(APPENDS).codes(&[Code::PersonalDataRefused])
}

fn page(operation: Operation) -> Operation {
    reveals(operation)
        .note("`Accept: application/x-ndjson`: an event a line.")
        .json::<Page>(200, "A page; it can be shorter than `limit` and still have a `next`.")
        .media(200, "", NDJSON)
        .header(
            200,
            "oubliette-next",
            "With NDJSON: the cursor of the next page.",
            false,
        )
        .codes(&[Code::StreamNotFound])
}

fn of_events() -> Vec<Operation> {
    vec![
        append(
            op(
                "post",
                "/streams/{stream}/events",
                events::append,
                ("events", "append"),
                "Append to a stream",
            )
            .takes(
                "If-Match",
                "The stream's version in quotes, instead of `expected_version`.",
                json!({"type": "string", "pattern": "^\"[0-9]{1,18}\"$", "minLength": 3}),
            )
            .body::<AppendRequest>(),
        ),
        append(
            op(
                "post",
                "/events",
                events::append_batch,
                ("events", "appendBatch"),
                "Append to several streams, or CloudEvents",
            )
            .note("As a whole or not at all. With `ce-` headers (CloudEvents, binary mode) the body is the data.")
            .body::<BatchRequest>()
            .body_as::<CloudEvent>("application/cloudevents+json", true)
            .body_list::<CloudEvent>("application/cloudevents-batch+json"),
        ),
        page(op(
            "get",
            "/events",
            events::list,
            ("events", "listEvents"),
            "Read a page of events",
        )),
        reveals(
            op(
                "get",
                "/events/{event}",
                events::one,
                ("events", "getEvent"),
                "Read an event",
            )
            .json::<EventView>(200, "The event."),
        )
        .codes(&[Code::EventNotFound]),
        op(
            "get",
            "/streams",
            events::streams,
            ("events", "listStreams"),
            "List the streams",
        )
        .json::<StreamPage>(200, "A page of streams."),
        page(op(
            "get",
            "/streams/{stream}/events",
            events::of_stream,
            ("events", "listStreamEvents"),
            "Read a stream",
        )),
    ]
}

fn of_moments() -> Vec<Operation> {
    vec![
        reveals(
            op(
                "get",
                "/streams/{stream}/state",
                as_of::state,
                ("time travel", "streamState"),
                "A stream's state at a moment",
            )
            .note("`data` folded by JSON merge patch (RFC 7396).")
            .json::<StreamState>(200, "The state, and where the ledger stood."),
        )
        .codes(&[Code::StreamNotFound]),
        reveals(
            op(
                "get",
                "/streams/{stream}/state/diff",
                as_of::diff,
                ("time travel", "streamDiff"),
                "The difference of a stream's state between two moments",
            )
            .json::<StateDiff>(200, "A JSON patch (RFC 6902) from one to the other."),
        )
        .codes(&[Code::StreamNotFound]),
        op(
            "get",
            "/as-of",
            as_of::ledger,
            ("time travel", "ledgerAsOf"),
            "The ledger at a moment",
        )
        .json::<LedgerAsOf>(200, "Size, root, checkpoint, counts."),
    ]
}

fn of_log() -> Vec<Operation> {
    vec![
        op(
            "get",
            "/keys",
            ledgers::keys,
            ("proofs", "keys"),
            "The ledger's public keys",
        )
        .json::<KeyPage>(200, "Keys with the ranges of events that they signed."),
        op(
            "get",
            "/log/checkpoint",
            log::checkpoint,
            ("proofs", "checkpoint"),
            "The newest signed checkpoint",
        )
        .media(200, "A signed note (C2SP tlog-checkpoint).", TEXT)
        .header(200, "cache-control", "A second.", true),
        op(
            "get",
            "/log/tile/{path}",
            log::tile,
            ("proofs", "tile"),
            "A tile of the log: hashes",
        )
        .media(200, "C2SP tlog-tiles.", BYTES)
        .header(200, "cache-control", CACHING, true)
        .codes(&[Code::NotFound]),
        op(
            "get",
            "/log/tile/entries/{path}",
            log::entries,
            ("proofs", "entries"),
            "An entry bundle of the log: headers",
        )
        .media(
            200,
            "C2SP tlog-tiles: for each event u16be(length) and its header.",
            BYTES,
        )
        .header(200, "cache-control", CACHING, true)
        .codes(&[Code::NotFound]),
        op(
            "get",
            "/proofs/inclusion",
            proofs::inclusion,
            ("proofs", "inclusionProof"),
            "Prove that an event is in the tree",
        )
        .json::<InclusionProof>(200, "The proof.")
        .media(200, "", COSE),
        op(
            "get",
            "/proofs/consistency",
            proofs::consistency,
            ("proofs", "consistencyProof"),
            "Prove that the tree only grew",
        )
        .json::<ConsistencyProof>(200, "The proof.")
        .media(200, "", COSE),
        op(
            "get",
            "/events/{event}/proof",
            proofs::tlog_proof,
            ("proofs", "eventProof"),
            "An event's `.tlog-proof`",
        )
        .media(200, "C2SP tlog-proof.", TEXT)
        .codes(&[Code::EventNotFound]),
        op(
            "get",
            "/events/{event}/receipt",
            proofs::receipt,
            ("proofs", "receipt"),
            "An event's receipt, with anchors",
        )
        .json::<AppendAnswer>(200, "It verifies alone.")
        .codes(&[Code::EventNotFound, Code::BodyPurged]),
    ]
}
