//! Logs and metrics. Logs go to standard error and carry route patterns and references, never paths, queries or bodies;
//! metrics are kept in memory and shown at `/metrics`.
//!
//! Traces go to a collector, if the settings name one and the program has the feature `otel`.
//!
//! Lines are written by a thread of their own: whoever logs never waits for whoever reads. Lines that find its queue full are
//! lost and counted.

#[cfg(feature = "otel")]
mod otel;

use std::io::Write;
use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
#[cfg(feature = "otel")]
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, registry};

use crate::config::{ConfigError, LogFormat, Settings};

/// Bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
/// Bounds of the buckets of events in a group.
const EVENTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0];

/// Lines that may wait to be written.
const WAITING_LINES: usize = 16_384;
/// Counts lines that were lost.
static LOST: OnceLock<ErrorCounter> = OnceLock::new();

/// Telemetry under way. Dropping it writes the lines that wait, for a second at the most.
#[derive(Debug)]
pub struct Telemetry {
    // The spans before the lines: that they cannot be sent is a line.
    #[cfg(feature = "otel")]
    _sending: Option<otel::Sending>,
    _writer: WorkerGuard,
}

fn writer(out: impl Write + Send + 'static, lines: usize) -> (NonBlocking, WorkerGuard) {
    NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(lines)
        .thread_name("log")
        .finish(out)
}

/// Starts logging. Calling it twice changes nothing.
#[must_use = "lines that wait are lost when it is dropped early"]
pub fn start(settings: &Settings) -> Telemetry {
    let (writer, guard) = writer(std::io::stderr(), WAITING_LINES);
    let _ = LOST.set(writer.error_counter());
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_else(|_| EnvFilter::new("info"));
    // At debug, and below, the HTTP library logs requests with their paths, whatever `log` says.
    let without_paths = filter_fn(|record| *record.level() <= Level::INFO || !record.target().starts_with("actix"));
    #[cfg(feature = "otel")]
    {
        let endpoint = settings.trace_endpoint.as_deref();
        let (spans, sending) = endpoint
            .and_then(|endpoint| otel::layer(endpoint, settings.trace_sample_ratio))
            .unzip();
        let without_spans = filter_fn(|record| record.target() != crate::trace::TARGET);
        let lines = lines(settings, writer).with_filter(filter.and(without_paths).and(without_spans));
        let _ = registry().with(spans).with(lines).try_init();
        Telemetry {
            _sending: sending,
            _writer: guard,
        }
    }
    #[cfg(not(feature = "otel"))]
    {
        let lines = lines(settings, writer);
        let _ = registry().with(lines).with(filter).with(without_paths).try_init();
        Telemetry { _writer: guard }
    }
}

/// Writes lines.
fn lines<S>(settings: &Settings, writer: NonBlocking) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        // A line that cannot be written is lost. Saying so on the same standard error would panic in the middle of a request.
        .log_internal_errors(false)
        .with_target(false);
    match settings.log_format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    }
}

/// Brings the count of lost lines up to date.
pub fn count_lost_lines() {
    let lost = LOST.get().map_or(0, ErrorCounter::dropped_lines);
    counter!("oubliette_log_lines_lost_total").absolute(lost as u64);
}

/// Whether the log's filter and the traces' settings are understood.
///
/// # Errors
/// [`ConfigError::Value`].
pub fn check(settings: &Settings) -> Result<(), ConfigError> {
    // One word alone would be taken for the name of a module, and everything else would fall silent.
    let is_word = settings.log.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let understood = if is_word {
        settings.log.parse::<LevelFilter>().is_ok()
    } else {
        EnvFilter::try_new(&settings.log).is_ok()
    };
    if !understood {
        return Err(ConfigError::Value {
            field: "log",
            mend: "is not a level (off, error, warn, info, debug, trace) or a list of filter directives",
        });
    }
    check_traces(settings)
}

fn check_traces(settings: &Settings) -> Result<(), ConfigError> {
    if !(0.0..=1.0).contains(&settings.trace_sample_ratio) {
        return Err(ConfigError::Value {
            field: "trace_sample_ratio",
            mend: "must be 0 to 1",
        });
    }
    let Some(endpoint) = &settings.trace_endpoint else {
        return Ok(());
    };
    let refused = |mend| {
        Err(ConfigError::Value {
            field: "trace_endpoint",
            mend,
        })
    };
    if cfg!(not(feature = "otel")) {
        return refused("this program sends no traces; build it with `cargo build --features otel`, or leave it out");
    }
    let url: Option<ureq::http::Uri> = endpoint.parse().ok();
    if url.is_none_or(|url| url.scheme_str() != Some("http") || url.host().is_none()) {
        return refused(
            "must be a URL such as http://127.0.0.1:4318/v1/traces; for TLS let a collector beside the server pass them on",
        );
    }
    Ok(())
}

/// Starts keeping metrics, once a process. `None` if the bounds of a histogram are empty or metrics are kept already.
pub fn metrics() -> Option<PrometheusHandle> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .ok()?
        .set_buckets_for_metric(Matcher::Full("oubliette_commit_events".into()), &EVENTS)
        .ok()?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder).ok()?;
    describe();
    gauge!("oubliette_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Some(handle)
}

#[rustfmt::skip]
fn describe() {
    describe_gauge!("oubliette_build_info", "1, with the version as a label");
    describe_gauge!("oubliette_ready", "1 if events are taken and keys can be had");
    describe_gauge!("oubliette_vault_healthy", "1 if every mirror of the vault is in use and nothing was lost");
    describe_histogram!("oubliette_append_seconds", "Appends that succeeded, from the parsed request to the receipt");
    describe_counter!("oubliette_events_appended_total", "Events of callers that became durable");
    describe_counter!("oubliette_appends_refused_total", "Appends refused, by code");
    describe_gauge!("oubliette_measure_failed", "Parts of the last measurement that failed; their series are old");
    describe_gauge!("oubliette_queue_events", "Events that wait for the writer");
    describe_histogram!("oubliette_commit_seconds", "Synced writes of the ledger store");
    describe_histogram!("oubliette_commit_events", "Events in one synced write");
    describe_counter!("oubliette_commits_failed_total", "Synced writes that failed");
    describe_gauge!("oubliette_checkpoint_size_events", "Size of the newest checkpoint");
    describe_gauge!("oubliette_checkpoint_timestamp_seconds", "When the newest event was recorded");
    describe_counter!("oubliette_proofs_kept_back_total", "Proofs that did not hold when the server checked them, and were not given");
    describe_gauge!("oubliette_erasures", "Erasures by state");
    describe_gauge!("oubliette_erasures_overdue", "Erasures not completed within one month");
    describe_gauge!("oubliette_residues_pending", "Completed erasures with a residue that is not recorded as gone");
    describe_counter!("oubliette_purged_bodies_total", "Sealed blocks removed from the ledger's store after erasures");
    describe_counter!("oubliette_unread_events_total", "Damaged events that erasure and retention went on without");
    describe_histogram!("oubliette_scrub_seconds", "Writing files anew so that deleted bytes leave them");
    describe_gauge!("oubliette_verifications_running", "Verifications under way");
    describe_gauge!("oubliette_verification_done_events", "Events that verifications under way have done");
    describe_gauge!("oubliette_verification_goal_events", "Events that verifications under way have to do");
    describe_gauge!("oubliette_verification_timestamp_seconds", "When the last verification ended");
    describe_gauge!("oubliette_verification_verdict", "1 at the verdict of the last verification, 0 at the others");
    describe_gauge!("oubliette_disk_bytes", "Bytes on disk by kind of data");
    describe_gauge!("oubliette_tls_certificate_expiry_timestamp_seconds", "When the server's certificate expires");
    describe_counter!("oubliette_log_lines_lost_total", "Log lines lost because whoever reads them is too slow");
    describe_counter!("oubliette_http_requests_total", "Requests by route pattern, method and status");
    describe_histogram!("oubliette_http_request_seconds", "Requests by route pattern and method, until the answer begins");
    describe_gauge!("oubliette_http_requests_in_flight", "Requests under way");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Takes a line only when it is let.
    struct Slow(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let _ = self.0.recv();
            self.1.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_is_lost_is_counted() {
        let ((go, wait), (written, read)) = (channel(), channel());
        let (mut log, guard) = writer(Slow(wait, written), 4);
        for line in 0..20 {
            log.write_all(format!("{line}\n").as_bytes()).unwrap();
        }
        // Four in the queue, and perhaps one in the writer's hands.
        let lost = log.error_counter().dropped_lines();
        assert!((15..=16).contains(&lost), "{lost}");
        drop(go);
        drop(guard);
        assert_eq!(read.iter().count(), 20 - lost, "what waits is written at the end");
    }
}
