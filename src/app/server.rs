//! The server around an open data directory: served to the network, or to this process alone.

use std::net::SocketAddr;
use std::sync::{Arc, Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::{App, AppError, tls};
use crate::config::Settings;
use crate::http::Serving;
use crate::service::Service;

/// How long closing waits for work on other threads: 20 seconds in all.
const CLOSING_WAIT: Duration = Duration::from_millis(5);
const CLOSING_WAITS: u32 = 4_000;

/// Files that are open beside connections: 512 tables of the ledgers' store, 256 of the key store, and 256 for logs, mirrors,
/// exports, and connections that are being accepted.
const OTHER_FILES: usize = 512 + 256 + 256;

/// How often erasures that broke off are taken up again.
const RETRY: Duration = Duration::from_secs(5);

/// How often it is looked whether residues of erasures are due. A look costs nothing where nothing is pending.
const LOOK_FOR_RESIDUES: Duration = Duration::from_millis(500);

/// Whether a server with these settings would find what it needs, without opening or changing any of it: the files of
/// TLS, and the data directory's parts.
///
/// # Errors
/// [`AppError`], naming the part.
pub fn check(settings: &Settings) -> Result<(), AppError> {
    check_open_files(settings)?;
    tls::load(settings)?;
    if !settings.ledger_path().join("CURRENT").exists() {
        return Err(crate::store::StoreError::Missing(settings.ledger_path()).into());
    }
    for path in [settings.keystore_path(), settings.keys_path()] {
        std::fs::read_dir(&path).map_err(|source| AppError::Io { path, source })?;
    }
    check_mirrors(settings)
}

/// A server starts with one mirror left, and so do its checks succeed.
fn check_mirrors(settings: &Settings) -> Result<(), AppError> {
    let paths = settings.vault_paths();
    let count = paths.len();
    let unreadable = paths.into_iter().filter_map(|path| {
        let source = std::fs::read_dir(&path).err()?;
        Some(AppError::Io { path, source })
    });
    let mut unreadable: Vec<_> = unreadable.collect();
    if unreadable.len() == count {
        return unreadable.pop().map_or(Ok(()), Err);
    }
    for error in unreadable {
        tracing::warn!(error = %error, "a mirror of the vault cannot be read; the server would start without it");
    }
    Ok(())
}

/// Strangers hold connections: they must never take the files that the stores write to.
fn check_open_files(settings: &Settings) -> Result<(), AppError> {
    fits(settings.max_connections, crate::env::raise_open_files())
}

fn fits(connections: usize, limit: u64) -> Result<(), AppError> {
    let needed = connections.saturating_add(OTHER_FILES) as u64;
    if needed <= limit {
        return Ok(());
    }
    Err(AppError::OpenFiles {
        connections,
        others: OTHER_FILES,
        limit,
        fitting: limit.saturating_sub(OTHER_FILES as u64),
    })
}

/// Opens the data directory and serves it until SIGTERM or SIGINT; what was accepted is finished then. SIGHUP reads
/// certificate and key again.
///
/// # Errors
/// [`AppError`]; nothing is served then.
pub fn serve(settings: &Settings, ready: impl FnOnce(SocketAddr)) -> Result<(), AppError> {
    actix_web::rt::System::new().block_on(async {
        let io = |source| AppError::Io {
            path: settings.data.clone(),
            source,
        };
        // From here on no signal kills it: opening a data directory can take a while.
        let hangup = signal(SignalKind::hangup()).map_err(io)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(io)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(io)?;
        check_open_files(settings)?;
        // Before anything takes a handle of a meter.
        let metrics = crate::telemetry::metrics();
        let (tls, certificate) = match tls::load(settings)? {
            Some(tls::Tls { config, certificate }) => (Some(config), Some(certificate)),
            None => (None, None),
        };
        let app = App::open(settings).await?;
        let workers = match settings.workers {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            workers => workers,
        };
        let serving = Serving {
            listen: settings.listen,
            workers,
            tls,
            metrics: metrics.clone(),
        };
        let (server, address) = bind(&app, settings, serving)?;
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::info!("stopping: finishing what was accepted");
            handle.stop(true).await;
        });
        actix_web::rt::spawn(retry_erasures(Arc::downgrade(app.service())));
        actix_web::rt::spawn(remove_residues(Arc::downgrade(app.service())));
        actix_web::rt::spawn(reload(hangup, certificate));
        actix_web::rt::spawn(tidy_metrics(metrics));
        ready(address);
        server.await.map_err(io)?;
        app.close().await;
        tracing::info!("stopped");
        Ok(())
    })
}

impl App {
    /// Gives the directory free once nothing works on it: exports and verifications run on threads of their own, and a
    /// store must not be torn down under them.
    pub(super) async fn close(self) {
        self.service.stop_background();
        let mut waits = 0_u32;
        while Arc::strong_count(&self.service) > 1 && waits < CLOSING_WAITS {
            waits += 1;
            tokio::time::sleep(CLOSING_WAIT).await;
        }
        if Arc::strong_count(&self.service) > 1 {
            tracing::warn!("stopping although an export or a verification still runs");
        }
    }
}

/// Takes up erasures that broke off and destroys epoch keys that are due, as long as the service lives.
async fn retry_erasures(service: Weak<Service>) {
    loop {
        tokio::time::sleep(RETRY).await;
        let Some(service) = service.upgrade() else { return };
        service.retry_erasures().await;
        service.tick().await;
        service.expire_epochs().await;
    }
}

/// Removes what erasures and redactions left pending, as long as the service lives.
async fn remove_residues(service: Weak<Service>) {
    loop {
        tokio::time::sleep(LOOK_FOR_RESIDUES).await;
        let Some(service) = service.upgrade() else { return };
        // Erasures first: they have a month.
        service.remove_residues().await;
        service.complete_redactions().await;
    }
}

/// Reads certificate and key again at every SIGHUP.
async fn reload(mut hangup: Signal, certificate: Option<Arc<tls::Certificate>>) {
    while hangup.recv().await.is_some() {
        match certificate.as_ref().map(|certificate| certificate.reload()) {
            Some(Ok(())) => tracing::info!("the TLS certificate was read again"),
            Some(Err(error)) => tracing::error!(error = %error, "the TLS certificate stays as it was"),
            None => tracing::info!("SIGHUP: there is nothing to read again"),
        }
    }
}

/// Sorts what histograms took in into their buckets, so that nothing grows while nobody asks.
async fn tidy_metrics(metrics: Option<PrometheusHandle>) {
    let Some(metrics) = metrics else { return };
    loop {
        crate::telemetry::count_lost_lines();
        tokio::time::sleep(RETRY).await;
        metrics.run_upkeep();
    }
}

fn bind(app: &App, settings: &Settings, serving: Serving) -> Result<(actix_web::dev::Server, SocketAddr), AppError> {
    let address = serving.listen;
    crate::http::serve(Arc::clone(app.service()), settings, serving)
        .map_err(|source| AppError::Listen { address, source })
}

/// The settings of a server for this process alone: nobody else can reach it, so nobody is held back.
fn for_one_process(settings: &Settings) -> Settings {
    Settings {
        rate_limit: 0,
        rate_burst: 0,
        access_log: false,
        backup_dir: Some("/".into()),
        ..settings.clone()
    }
}

/// The very same server on a loopback port of this process, for one command on a directory that nobody serves.
pub struct LocalServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// A key with every role that lives as long as this process.
    pub api_key: Zeroizing<String>,
    handle: actix_web::dev::ServerHandle,
    thread: Option<JoinHandle<()>>,
}

struct Started {
    address: SocketAddr,
    api_key: Zeroizing<String>,
    handle: actix_web::dev::ServerHandle,
}

impl LocalServer {
    /// Opens the data directory and serves it to this process.
    ///
    /// # Errors
    /// [`AppError`].
    pub fn start(settings: &Settings) -> Result<Self, AppError> {
        let (started, starting) = mpsc::sync_channel(1);
        let own = settings.clone();
        let io = |source| AppError::Io {
            path: settings.data.clone(),
            source,
        };
        let thread = std::thread::Builder::new()
            .name("local-server".into())
            .spawn(move || run_local(&own, &started));
        let thread = thread.map_err(io)?;
        let stopped = || io(std::io::Error::other("the server's thread ended before it served"));
        let Started {
            address,
            api_key,
            handle,
        } = starting.recv().map_err(|_| stopped())??;
        Ok(Self {
            address,
            api_key,
            handle,
            thread: Some(thread),
        })
    }
}

fn run_local(settings: &Settings, started: &mpsc::SyncSender<Result<Started, AppError>>) {
    actix_web::rt::System::new().block_on(async {
        crate::env::raise_open_files();
        let opened = async {
            let settings = &for_one_process(settings);
            let app = App::open(settings).await?;
            let api_key = app.service().register_local_caller();
            let serving = Serving {
                listen: SocketAddr::from(([127, 0, 0, 1], 0)),
                workers: 2,
                tls: None,
                metrics: None,
            };
            let (server, address) = bind(&app, settings, serving)?;
            Ok((app, server, address, api_key))
        };
        match opened.await {
            Err(error) => drop(started.send(Err(error))),
            Ok((app, server, address, api_key)) => {
                let handle = server.handle();
                if started
                    .send(Ok(Started {
                        address,
                        api_key,
                        handle,
                    }))
                    .is_ok()
                    && let Err(error) = server.await
                {
                    tracing::error!(%error, "the local server failed");
                }
                app.close().await;
            }
        }
    });
}

impl Drop for LocalServer {
    /// Waits until the directory is given free. The caller has its answers: open connections are cut.
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_connections_than_files_are_refused_with_the_number_that_fits() {
        assert!(fits(8_192, 9_216).is_ok());
        let refused = fits(8_192, 9_215).unwrap_err().to_string();
        assert!(refused.starts_with("max_connections: 8192"), "{refused}");
        assert!(refused.contains("at most 8191"), "{refused}");
        assert!(fits(usize::MAX, u64::MAX - 1).is_err() && fits(1, 0).is_err());
    }
}
