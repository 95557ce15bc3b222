//! HTTP: parse, call the service, render. All routes stand in [`routes`]; permissions are the first argument of every
//! handler, its query the second, and a handler without them does not compile.

mod api_keys;
mod as_of;
mod auth;
mod backups;
mod body;
mod certificates;
mod cloudevents;
mod epochs;
mod erasures;
mod events;
mod exports;
mod health;
mod holds;
mod leaks;
mod ledgers;
mod limits;
mod log;
mod observe;
pub mod openapi;
mod page;
mod path;
mod problem;
mod proofs;
mod range;
mod redactions;
mod reports;
mod retention;
mod subjects;
mod trace;
mod unread;
mod verifications;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App, HttpServer, web};
use metrics_exporter_prometheus::PrometheusHandle;

use auth::{delete, get, post};
pub use problem::Problem;

use crate::config::Settings;
use crate::service::Service;

/// Threads of each worker for work that waits for the disk: each may hold a page of events, and more than a few get in each
/// other's way (reads by id: 13,000/s with 16, 19,000/s with 4 on 2 cores).
const BLOCKING_THREADS: usize = 4;

/// The API on one screen.
fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::json))
        .route("/docs", get(openapi::docs))
        .service(
            web::scope("/v1")
                .route("/ledgers", get(ledgers::list))
                .route("/ledgers", post(ledgers::create))
                .route("/api-keys", get(api_keys::list))
                .route("/api-keys", post(api_keys::create))
                .route("/api-keys/{id}", delete(api_keys::revoke))
                .route("/backups", get(backups::list))
                .route("/backups", post(backups::create))
                .route("/backups/{id}", get(backups::one))
                .service(
                    web::scope("/ledgers/{ledger}")
                        // Routes are tried in this order, and appends are most of the load.
                        .route("/streams/{stream}/events", post(events::append))
                        .route("/events", post(events::append_batch))
                        .route("/events", get(events::list))
                        .route("/events/{event}", get(events::one))
                        .route("/events/{event}/proof", get(proofs::tlog_proof))
                        .route("/events/{event}/receipt", get(proofs::receipt))
                        .route("/streams", get(events::streams))
                        .route("/streams/{stream}/events", get(events::of_stream))
                        .route("/streams/{stream}/state", get(as_of::state))
                        .route("/streams/{stream}/state/diff", get(as_of::diff))
                        .route("/as-of", get(as_of::ledger))
                        .route("/keys", get(ledgers::keys))
                        .route("/log/checkpoint", get(log::checkpoint))
                        .route("/log/tile/entries/{path:.*}", get(log::entries))
                        .route("/log/tile/{path:.*}", get(log::tile))
                        .route("/proofs/inclusion", get(proofs::inclusion))
                        .route("/proofs/consistency", get(proofs::consistency))
                        .route("/subjects", post(subjects::handle))
                        .route("/subjects/lookup", post(subjects::look_up))
                        .route("/subjects/access", post(subjects::access))
                        .route("/subjects/{handle}", get(subjects::one))
                        .route("/subjects/{handle}/rotations", post(epochs::renew_keys))
                        .route("/epochs", post(epochs::rotate))
                        .route("/erasures", post(erasures::create))
                        .route("/erasures", get(erasures::list))
                        .route("/erasures/{id}", get(erasures::one))
                        .route("/erasures/{id}/certificate", get(erasures::certificate))
                        .route("/erasures/{id}/approvals", post(erasures::approve))
                        .route("/erasures/{id}/cancellations", post(erasures::cancel))
                        .route("/holds", post(holds::place))
                        .route("/holds", get(holds::list))
                        .route("/holds/{id}", get(holds::one))
                        .route("/holds/{id}", delete(holds::release))
                        .route("/restrictions", post(holds::restrict))
                        .route("/restrictions", get(holds::restrictions))
                        .route("/restrictions/{id}", get(holds::restriction))
                        .route("/restrictions/{id}", delete(holds::lift))
                        .route("/reopenings", post(retention::reopen))
                        .route("/retention/runs", post(retention::run))
                        .route("/retention/runs", get(retention::list))
                        .route("/retention/runs/{id}", get(retention::one))
                        .route("/leaks", post(leaks::report))
                        .route("/leaks", get(leaks::list))
                        .route("/leaks/{id}", get(leaks::one))
                        .route("/leaks/{id}", delete(leaks::withdraw))
                        .route("/redactions", post(redactions::create))
                        .route("/redactions", get(redactions::list))
                        .route("/redactions/{id}", get(redactions::one))
                        .route("/redactions/{id}/certificate", get(redactions::certificate))
                        .route("/verifications", post(verifications::start))
                        .route("/verifications", get(verifications::list))
                        .route("/verifications/{id}", get(verifications::one))
                        .route("/reports/compliance", get(reports::compliance))
                        .route("/exports", post(exports::create))
                        .route("/exports", get(exports::list))
                        .route("/exports/{id}", get(exports::one))
                        .route("/exports/{id}/content", get(exports::content)),
                ),
        )
        .default_service(web::to(problem::no_such_route));
}

/// How the API is served, beside its settings.
pub struct Serving {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Threads.
    pub workers: usize,
    /// Certificate and key; `None`: in clear.
    pub tls: Option<rustls::ServerConfig>,
    /// What `/metrics` shows.
    pub metrics: Option<PrometheusHandle>,
}

/// Binds the address and serves until told to stop. Gives the server and the address it got.
///
/// # Errors
/// If the address cannot be bound.
pub fn serve(
    service: Arc<Service>,
    settings: &Settings,
    serving: Serving,
) -> std::io::Result<(actix_web::dev::Server, SocketAddr)> {
    let limit = service.limits().batch_bytes;
    let body_timeout = limits::BodyTimeout(settings.body_timeout());
    let rates = web::Data::new(limits::RateLimit::of(settings));
    let metrics = web::Data::new(serving.metrics);
    let metrics_public = auth::MetricsPublic(settings.metrics_public);
    let public_logs = auth::PublicLogs(Arc::new(settings.log_public.iter().cloned().collect()));
    let access_log = observe::AccessLog(settings.access_log);
    let header_timeout = Duration::from_secs(settings.header_timeout_seconds);
    let workers = serving.workers.max(1);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&service)))
            .app_data(rates.clone())
            .app_data(metrics.clone())
            .app_data(metrics_public)
            .app_data(public_logs.clone())
            .app_data(access_log)
            .app_data(body_timeout)
            .app_data(web::PayloadConfig::new(limit))
            .app_data(web::QueryConfig::default().error_handler(problem::query))
            .configure(routes)
            .wrap(from_fn(observe::request))
    })
    .workers(workers)
    .worker_max_blocking_threads(BLOCKING_THREADS)
    .max_connections(settings.max_connections.div_ceil(workers))
    .keep_alive(Duration::from_secs(settings.keep_alive_seconds))
    .client_request_timeout(header_timeout)
    .tls_handshake_timeout(header_timeout)
    .shutdown_timeout(settings.shutdown_timeout_seconds)
    .disable_signals();
    let listener = limits::listen(serving.listen, Duration::from_secs(settings.write_timeout_seconds))?;
    let address = listener.local_addr()?;
    let server = match serving.tls {
        Some(tls) => server.listen_rustls_0_23(listener, tls)?,
        None => server.listen(listener)?,
    };
    Ok((server.run(), address))
}
