//! `oubliette serve`.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, DataDir, Exit, Failure};
use crate::app::App;

/// Serve a data directory over HTTP.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    data: DataDir,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Check the configuration and stop.
    #[arg(long)]
    check_config: bool,
}

impl Serve {
    pub(super) fn run(self, mut context: Context) -> Result<Exit, Failure> {
        context.with_data(&self.data);
        if let Some(listen) = self.listen {
            context.settings.listen = listen;
        }
        context.settings.check()?;
        if self.check_config {
            context.print(&context.settings, || "The configuration is valid.".into());
            return Ok(Exit::Fine);
        }
        if let Err(error) = crate::app::harden_process() {
            tracing::warn!(error = %error, "core dumps could not be switched off");
        }
        actix_web::rt::System::new().block_on(serve(context))?;
        Ok(Exit::Fine)
    }
}

async fn serve(context: Context) -> Result<(), Failure> {
    let settings = &context.settings;
    let app = App::open(settings).await?;
    let workers = match settings.workers {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        workers => workers,
    };
    let (server, address) =
        crate::http::serve(Arc::clone(app.service()), settings.listen, workers).map_err(|error| {
            let detail = format!(
                "cannot listen on {}: {error}; choose another address with --listen",
                settings.listen
            );
            Failure::new(3, "address_unavailable", detail)
        })?;
    println!("listening on http://{address}");
    std::io::stdout().flush()?;
    let handle = server.handle();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    actix_web::rt::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: finishing what was accepted");
        handle.stop(true).await;
    });
    server.await?;
    drop(app);
    tracing::info!("stopped");
    Ok(())
}
