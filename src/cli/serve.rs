//! `oubliette serve`.

use std::net::SocketAddr;

use clap::Args;

use super::failure::{Exit, Failure};
use super::{Context, DataDir};

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
            context.print(&context.settings, || "The configuration is valid.".into())?;
            return Ok(Exit::Fine);
        }
        crate::app::serve(&context.settings, |address| {
            let url = format!("http://{address}");
            // A server whose output nobody reads serves all the same.
            let said = serde_json::json!({"listening": url});
            let _ = context.print(&said, || format!("listening on {url}"));
        })?;
        Ok(Exit::Fine)
    }
}
