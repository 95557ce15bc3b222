//! What the service answers when it cannot do what was asked: a stable code, and words that name the mend.

use crate::keystore::KeyStoreError;
use crate::sequencer::Refusal;
use crate::store::StoreError;

/// Coarse kinds: a caller acts differently on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The request is not valid as it stands.
    Invalid,
    /// What is asked for does not exist.
    NotFound,
    /// It contradicts the present state.
    Conflict,
    /// It was erased.
    Erased,
    /// The caller may not.
    Forbidden,
    /// Not now; retry.
    Unavailable,
    /// Stored rows contradict each other.
    Integrity,
    /// A fault of ours.
    Internal,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $code:ident => $text:literal, $kind:ident;)*) => {
        /// The stable codes of errors; the table of the API guide is made from them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $($(#[doc = $doc])* $code,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$code),*];

            /// The code as callers see it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$code => $text,)* }
            }

            /// When it is answered, in words.
            pub fn meaning(self) -> &'static str {
                match self { $(Code::$code => concat!($($doc),*).trim(),)* }
            }

            /// Its kind.
            pub const fn kind(self) -> Kind {
                match self { $(Code::$code => Kind::$kind,)* }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    MalformedJson => "malformed_json", Invalid;
    /// A field is missing, unknown, or not of its form.
    InvalidField => "invalid_field", Invalid;
    /// A field that must not name a person seems to.
    PersonalDataRefused => "personal_data_refused", Invalid;
    /// Larger than a limit.
    TooLarge => "too_large", Invalid;
    /// The content has no such bytes.
    RangeNotSatisfiable => "range_not_satisfiable", Invalid;
    /// No or a wrong API key.
    Unauthenticated => "unauthenticated", Forbidden;
    /// The API key lacks the role, or the ledger.
    Forbidden => "forbidden", Forbidden;
    /// No such ledger.
    LedgerNotFound => "ledger_not_found", NotFound;
    /// No such event.
    EventNotFound => "event_not_found", NotFound;
    /// No such stream.
    StreamNotFound => "stream_not_found", NotFound;
    /// No such person here.
    SubjectNotFound => "subject_not_found", NotFound;
    /// No such route, job, erasure or key.
    NotFound => "not_found", NotFound;
    /// The route does not take the method.
    MethodNotAllowed => "method_not_allowed", Invalid;
    /// The stream moved.
    WrongExpectedVersion => "wrong_expected_version", Conflict;
    /// The id is taken by other content.
    IdempotencyConflict => "idempotency_conflict", Conflict;
    /// The person was erased.
    SubjectErased => "subject_erased", Conflict;
    /// The person is being erased.
    SubjectErasing => "subject_erasing", Conflict;
    /// The person's data is restricted.
    SubjectRestricted => "subject_restricted", Conflict;
    /// A legal hold keeps the data.
    LegalHold => "legal_hold", Conflict;
    /// The person, or the category, is not erased.
    NotErased => "not_erased", Conflict;
    /// The erasure has begun, was cancelled, or waits for no approval.
    ErasureSettled => "erasure_settled", Conflict;
    /// No retention rules are set.
    RetentionNotConfigured => "retention_not_configured", Conflict;
    /// It needs a second, different API key.
    SecondKeyNeeded => "second_key_needed", Conflict;
    /// Data of the person is known to stand in clear.
    LeakNotRedacted => "leak_not_redacted", Conflict;
    /// A body that a repeat would be compared with is gone.
    BodyPurged => "body_purged", Conflict;
    /// A ledger of this name exists.
    LedgerExists => "ledger_exists", Conflict;
    /// The log is frozen: another goes on from it.
    LedgerFrozen => "ledger_frozen", Conflict;
    /// Another backup is being made.
    BackupRunning => "backup_running", Conflict;
    /// What is asked about was erased.
    Erased => "erased", Erased;
    /// The request did not arrive in time.
    RequestTimeout => "request_timeout", Unavailable;
    /// The queue is full.
    Overloaded => "overloaded", Unavailable;
    /// The API key makes more requests than it may.
    RateLimited => "rate_limited", Unavailable;
    /// A key or the key store cannot be had.
    KeyUnavailable => "key_unavailable", Unavailable;
    /// The key store is older than the ledger.
    KeyStoreBehind => "key_store_behind", Unavailable;
    /// The writer takes nothing now.
    NotReady => "not_ready", Unavailable;
    /// The wall clock jumped.
    ClockJumped => "clock_jumped", Unavailable;
    /// The disk is full or fails.
    StorageFailed => "storage_failed", Unavailable;
    /// Stored rows contradict each other.
    Damaged => "damaged", Integrity;
    /// A fault of ours.
    Internal => "internal", Internal;
}

/// One field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct FieldError {
    /// JSON pointer (RFC 6901) into the request.
    pub pointer: String,
    /// What is wrong and how to mend it.
    pub detail: String,
}

/// An error of the service.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub struct Error {
    /// The stable code.
    pub code: Code,
    /// What happened and how to mend it, for people. Never personal data: what a caller wrote where it does not belong is
    /// not quoted ([`super::request::without_values`]).
    pub detail: String,
    /// The fields that are wrong.
    pub errors: Vec<FieldError>,
    /// The stream's version, for `wrong_expected_version`.
    pub current_version: Option<u64>,
    /// The index of the event that stands in the way.
    pub index: Option<u64>,
    /// Seconds after which to try again.
    pub retry_after: Option<u64>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with its words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            current_version: None,
            index: None,
            retry_after: None,
            source: None,
        }
    }

    /// One wrong field.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(
            Code::InvalidField,
            vec![FieldError {
                pointer: pointer.into(),
                detail: detail.into(),
            }],
        )
    }

    /// Several wrong fields.
    pub fn fields(code: Code, errors: Vec<FieldError>) -> Self {
        let first = errors
            .first()
            .map(|error| format!("{}: {}", error.pointer, error.detail));
        Self {
            errors,
            ..Self::new(code, first.unwrap_or_default())
        }
    }

    pub(crate) fn caused_by(self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..self
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        let code = match error {
            StoreError::Damaged { .. } => Code::Damaged,
            _ => Code::StorageFailed,
        };
        Self::new(code, error.to_string()).caused_by(error)
    }
}

impl From<KeyStoreError> for Error {
    fn from(error: KeyStoreError) -> Self {
        Self::new(Code::KeyUnavailable, error.to_string()).caused_by(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            Refusal::Overloaded => Self::new(Code::Overloaded, detail),
            Refusal::Unavailable => Self::new(
                Code::NotReady,
                "the writer takes no events now: it is stopping, or its last write failed (see the server's log and \
                 the free space of the disk); nothing that was acknowledged is lost",
            ),
            Refusal::ClockJumped { .. } => Self::new(Code::ClockJumped, detail),
            Refusal::UnknownLedger => Self::new(Code::LedgerNotFound, detail),
            Refusal::WrongExpectedVersion { ref stream, current } => Self {
                current_version: Some(current),
                ..Self::new(
                    Code::WrongExpectedVersion,
                    format!("stream {stream}: {detail}; read it and decide again"),
                )
            },
            Refusal::IdsTaken(_) => Self::new(Code::IdempotencyConflict, detail),
            Refusal::IdRepeated(_) => Self::field("/events", detail),
            Refusal::Fenced(_) => Self::new(Code::SubjectErasing, detail),
            Refusal::HeaderTooLong => Self::new(Code::TooLarge, detail),
            Refusal::RemovalAhead => Self::new(Code::Internal, detail),
        }
    }
}
