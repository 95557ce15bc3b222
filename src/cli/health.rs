//! `oubliette health`: what a service manager or a container engine asks with the program alone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use clap::Args;
use zeroize::Zeroizing;

use super::Context;
use super::client::Client;
use super::failure::{Exit, Failure};
use super::tls::TlsFiles;
use crate::config::Settings;

/// Ask a server whether it is ready (`GET /readyz`): exit 0 if it is, 3 with the reason if it is not.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// The server; default: where a server with these settings listens, over loopback.
    #[arg(long, value_name = "URL", env = "OUBLIETTE_URL")]
    url: Option<String>,
    #[command(flatten)]
    tls: TlsFiles,
}

impl Health {
    pub(super) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let url = self.url.unwrap_or_else(|| own(&context.settings));
        // Nothing secret is sent: the route needs no key.
        let client = Client::remote(&url, Zeroizing::default(), &self.tls, context.settings.allow_plaintext)?;
        client.get("/readyz", &[])?;
        context.print(&serde_json::json!({"status": "ready"}), || "ready".to_owned())?;
        Ok(Exit::Fine)
    }
}

/// The URL of a server with these settings, seen from its own machine.
fn own(settings: &Settings) -> String {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let scheme = match settings.tls_certificate {
        Some(_) => "https",
        None => "http",
    };
    format!("{scheme}://{address}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_listens_everywhere_is_asked_over_loopback() {
        let mut settings = Settings {
            listen: "0.0.0.0:81".parse().unwrap(),
            ..Settings::default()
        };
        assert_eq!(own(&settings), "http://127.0.0.1:81");
        settings.listen = "[::]:81".parse().unwrap();
        settings.tls_certificate = Some("server.pem".into());
        assert_eq!(own(&settings), "https://[::1]:81");
    }
}
