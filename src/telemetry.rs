//! Logs and metrics. Logs go to standard error and carry route patterns and references, never paths, queries or bodies;
//! metrics are kept in memory and shown at `/metrics`.

use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{ConfigError, LogFormat, Settings};

/// Bounds of the buckets of durations, in seconds.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
/// Bounds of the buckets of events in a group.
const EVENTS: [f64; 9] = [1.0, 4.0, 16.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 2_048.0];

/// Starts logging. Calling it twice changes nothing.
pub fn start(settings: &Settings) {
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A line that cannot be written is lost. Saying so on the same standard error would panic in the middle of a request.
        .log_internal_errors(false)
        .with_target(false);
    // At debug, and below, the HTTP library logs requests with their paths, whatever `log` says.
    let without_paths = filter_fn(|record| *record.level() <= Level::INFO || !record.target().starts_with("actix"));
    let _ = match settings.log_format {
        LogFormat::Text => builder.with_ansi(false).finish().with(without_paths).try_init(),
        LogFormat::Json => builder.json().finish().with(without_paths).try_init(),
    };
}

/// Whether the log's filter is understood.
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
    if understood {
        return Ok(());
    }
    Err(ConfigError::Value {
        field: "log",
        mend: "is not a level (off, error, warn, info, debug, trace) or a list of filter directives",
    })
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
    describe_gauge!("oubliette_erasures", "Erasures by state");
    describe_gauge!("oubliette_erasures_overdue", "Erasures not completed within one month");
    describe_gauge!("oubliette_residues_pending", "Completed erasures with a residue that is not recorded as gone");
    describe_counter!("oubliette_purged_bodies_total", "Sealed blocks removed from the ledger's store after erasures");
    describe_histogram!("oubliette_scrub_seconds", "Writing files anew so that deleted bytes leave them");
    describe_gauge!("oubliette_verifications_running", "Verifications under way");
    describe_gauge!("oubliette_verification_done_events", "Events that verifications under way have done");
    describe_gauge!("oubliette_verification_goal_events", "Events that verifications under way have to do");
    describe_gauge!("oubliette_verification_timestamp_seconds", "When the last verification ended");
    describe_gauge!("oubliette_verification_verdict", "1 at the verdict of the last verification, 0 at the others");
    describe_gauge!("oubliette_disk_bytes", "Bytes on disk by kind of data");
    describe_gauge!("oubliette_tls_certificate_expiry_timestamp_seconds", "When the server's certificate expires");
    describe_counter!("oubliette_http_requests_total", "Requests by route pattern, method and status");
    describe_histogram!("oubliette_http_request_seconds", "Requests by route pattern and method, until the answer begins");
    describe_gauge!("oubliette_http_requests_in_flight", "Requests under way");
}
