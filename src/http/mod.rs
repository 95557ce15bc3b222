//! HTTP: parse, call the service, render. All routes stand in [`routes`]; permissions are the first argument of every
//! handler, and a handler without one does not compile.

mod api_keys;
mod as_of;
mod auth;
mod body;
mod cloudevents;
mod erasures;
mod events;
mod exports;
mod health;
mod ledgers;
mod log;
mod page;
mod problem;
mod proofs;
mod range;
mod subjects;
mod verifications;

use std::sync::Arc;

use actix_web::{App, HttpServer, web};

use auth::{delete, get, post};
pub use problem::Problem;

use crate::service::Service;

/// The API on one screen.
fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .service(
            web::scope("/v1")
                .route("/ledgers", get(ledgers::list))
                .route("/ledgers", post(ledgers::create))
                .route("/api-keys", get(api_keys::list))
                .route("/api-keys", post(api_keys::create))
                .route("/api-keys/{id}", delete(api_keys::revoke))
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
                        .route("/log/tile/{path:.*}", get(log::tile))
                        .route("/proofs/inclusion", get(proofs::inclusion))
                        .route("/proofs/consistency", get(proofs::consistency))
                        .route("/subjects", post(subjects::handle))
                        .route("/subjects/lookup", post(subjects::look_up))
                        .route("/subjects/{handle}", get(subjects::one))
                        .route("/erasures", post(erasures::create))
                        .route("/erasures", get(erasures::list))
                        .route("/erasures/{id}", get(erasures::one))
                        .route("/erasures/{id}/certificate", get(erasures::certificate))
                        .route("/verifications", post(verifications::start))
                        .route("/verifications", get(verifications::list))
                        .route("/verifications/{id}", get(verifications::one))
                        .route("/exports", post(exports::create))
                        .route("/exports", get(exports::list))
                        .route("/exports/{id}", get(exports::one))
                        .route("/exports/{id}/content", get(exports::content)),
                ),
        )
        .default_service(web::to(problem::no_such_route));
}

/// Binds the address and serves until told to stop. Gives the server and the address it got.
///
/// # Errors
/// If the address cannot be bound.
pub fn serve(
    service: Arc<Service>,
    listen: std::net::SocketAddr,
    workers: usize,
) -> std::io::Result<(actix_web::dev::Server, std::net::SocketAddr)> {
    let limit = service.limits().batch_bytes;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::from(Arc::clone(&service)))
            .app_data(web::PayloadConfig::new(limit))
            .app_data(web::QueryConfig::default().error_handler(problem::query))
            .configure(routes)
    })
    .workers(workers)
    .client_request_timeout(std::time::Duration::from_secs(30))
    .shutdown_timeout(20)
    .disable_signals()
    .bind(listen)?;
    let address = server.addrs().first().copied().unwrap_or(listen);
    Ok((server.run(), address))
}
