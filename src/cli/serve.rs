//! `oubliette serve`.

use std::net::SocketAddr;

use clap::Args;
use documented::DocumentedFields;

use super::failure::{Exit, Failure};
use super::{Context, DataDir};
use crate::config::Settings;

/// Serve a data directory over HTTP.
#[derive(Debug, Args)]
pub(super) struct Serve {
    #[command(flatten)]
    data: DataDir,
    /// Address and port; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Check the settings and the files that they name, print what would be used, and stop: exit 0 or 2.
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
        crate::telemetry::check(&context.settings)?;
        if self.check_config {
            return check(&context);
        }
        let scheme = match context.settings.tls_certificate {
            Some(_) => "https",
            None => "http",
        };
        crate::app::serve(&context.settings, |address| {
            let url = format!("{scheme}://{address}");
            // A server whose output nobody reads serves all the same.
            let said = serde_json::json!({"listening": url});
            let _ = context.print(&said, || format!("listening on {url}"));
        })?;
        Ok(Exit::Fine)
    }
}

/// Says what a server would use. Settings hold no secrets: keys are named by their files.
fn check(context: &Context) -> Result<Exit, Failure> {
    crate::app::check(&context.settings).map_err(|error| {
        let mut failure = Failure::from(error);
        failure.exit = Exit::Usage;
        failure
    })?;
    let resolved = context.settings.resolved();
    context.print(&resolved, || {
        let value = serde_json::to_value(&resolved).unwrap_or_default();
        let lines = Settings::FIELD_NAMES
            .iter()
            .filter_map(|name| Some((name, value.get(name)?)))
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| format!("{name} = {value}\n"));
        format!("The configuration is valid.\n{}", lines.collect::<String>().trim_end())
    })?;
    Ok(Exit::Fine)
}
