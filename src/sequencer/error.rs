//! Why an append is refused, and why a ledger does not open.

use uuid::Uuid;

use crate::spec::ids::{Handle, StreamName};
use crate::store::StoreError;

/// Why events were not appended. Nothing of the append was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is full.
    #[error("too many events are waiting; retry in a second")]
    Overloaded,
    /// The last commit failed, or the writer is stopping.
    #[error("the writer takes no events now")]
    Unavailable,
    /// The wall clock jumped.
    #[error("the wall clock jumped by {seconds} s against the boot-time clock; set it right or restart the server")]
    ClockJumped {
        /// The jump; negative: back.
        seconds: i64,
    },
    /// No such ledger is open.
    #[error("no such ledger")]
    UnknownLedger,
    /// A stream is not where the caller expects it.
    #[error("the stream is at version {current}")]
    WrongExpectedVersion {
        /// The stream.
        stream: StreamName,
        /// Its version; 0 if it does not exist.
        current: u64,
    },
    /// Ids are taken by stored events. One entry an event of the append, in order.
    #[error("an event id is taken")]
    IdsTaken(Vec<Option<u64>>),
    /// The same id twice in one append.
    #[error("the id {0} stands twice in this request")]
    IdRepeated(Uuid),
    /// A subject was fenced after the block was sealed.
    #[error("the subject is being erased or is erased")]
    Fenced(Handle),
    /// The header would be longer than 16 KiB.
    #[error("the event's header is too long")]
    HeaderTooLong,
    /// A body that is to leave does not stand before the event that would say so.
    #[error("a body can be removed only by an event after it")]
    RemovalAhead,
}

/// Why a ledger does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The store failed.
    #[error("the ledger cannot be read")]
    Store(#[from] StoreError),
    /// Head, tiles, headers and checkpoint contradict each other.
    #[error("the ledger is damaged: {0}. Run `oubliette verify`; nothing was changed")]
    Damaged(String),
}
