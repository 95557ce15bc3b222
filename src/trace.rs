//! Spans of traces (docs/operations.md, Traces). Without the feature `otel` they are nothing: no span is made, no field is
//! evaluated.
//!
//! A span's name and fields are route patterns, counts, kinds and random ids of erasures: never a path, a stream, an event,
//! a key, a handle or a person. Only spans of [`TARGET`] leave the process, and no log line does. Out of scope: sending them
//! (`telemetry`).

/// What marks a span that is exported. The log leaves such spans out.
#[cfg(feature = "otel")]
pub(crate) const TARGET: &str = "oubliette::trace";

/// A span under the current one: `span!("name", field = value)`.
#[cfg(feature = "otel")]
macro_rules! span {
    ($($name_and_fields:tt)*) => { tracing::info_span!(target: "oubliette::trace", $($name_and_fields)*) };
}

/// A span under the current one: `span!("name", field = value)`.
#[cfg(not(feature = "otel"))]
macro_rules! span {
    ($($name_and_fields:tt)*) => {
        tracing::Span::none()
    };
}

/// A future within such a span: `traced!(future, "name", field = value)`.
#[cfg(feature = "otel")]
macro_rules! traced {
    ($future:expr, $($name_and_fields:tt)*) => { tracing::Instrument::instrument($future, span!($($name_and_fields)*)) };
}

/// A future within such a span: `traced!(future, "name", field = value)`.
#[cfg(not(feature = "otel"))]
macro_rules! traced {
    ($future:expr, $($name_and_fields:tt)*) => {
        $future
    };
}

/// An append that waits for the writer: its span ends with the answer.
pub(crate) struct Waiting {
    #[cfg(feature = "otel")]
    span: tracing::Span,
}

impl Waiting {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self {
            #[cfg(feature = "otel")]
            span: span!("sequence"),
        }
    }
}

/// A group of appends on its way to the disk. Its span stands under the first of them and is linked to the others.
pub(crate) struct Group {
    #[cfg(feature = "otel")]
    span: tracing::Span,
    #[cfg(feature = "otel")]
    _waiting: Vec<Waiting>,
}

impl Group {
    /// The group of these appends.
    #[cfg(feature = "otel")]
    pub(crate) fn of(waiting: impl Iterator<Item = Waiting>) -> Self {
        let waiting: Vec<_> = waiting.collect();
        let first = waiting.first().and_then(|first| first.span.id());
        let span = tracing::info_span!(target: "oubliette::trace", parent: first, "group", appends = waiting.len());
        for other in waiting.iter().skip(1) {
            span.follows_from(&other.span);
        }
        Self {
            span,
            _waiting: waiting,
        }
    }

    /// The group of these appends.
    #[cfg(not(feature = "otel"))]
    pub(crate) fn of(_: impl Iterator<Item = Waiting>) -> Self {
        Self {}
    }

    /// Its span, to be entered by each thread that works on it.
    pub(crate) fn span(&self) -> tracing::Span {
        #[cfg(feature = "otel")]
        return self.span.clone();
        #[cfg(not(feature = "otel"))]
        tracing::Span::none()
    }
}
