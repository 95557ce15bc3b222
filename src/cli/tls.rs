//! TLS of the client: whom it trusts, and the certificate that it shows.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

use super::failure::Failure;

/// Where systems keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// For `--url https://…`.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct TlsFiles {
    /// Authorities (PEM) that the server's certificate must come from; default: those of the system.
    #[arg(long, value_name = "FILE", env = "OUBLIETTE_CA")]
    ca: Option<PathBuf>,
    /// The certificate (PEM) to show to a server that asks for one.
    #[arg(long, value_name = "FILE", env = "OUBLIETTE_CLIENT_CERT")]
    client_cert: Option<PathBuf>,
    /// The private key (PEM) of --client-cert.
    #[arg(long, value_name = "FILE", env = "OUBLIETTE_CLIENT_KEY")]
    client_key: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the files.
    pub(super) fn config(&self) -> Result<TlsConfig, Failure> {
        let own = match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => Some(ClientCert::new_with_certs(
                &certificates("--client-cert", certificate)?,
                private_key(key)?,
            )),
            (None, None) => None,
            _ => return Err(Failure::usage("give both --client-cert and --client-key, or neither")),
        };
        Ok(TlsConfig::builder()
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::Specific(Arc::new(self.authorities()?)))
            .client_cert(own)
            .build())
    }

    fn authorities(&self) -> Result<Vec<Certificate<'static>>, Failure> {
        if let Some(ca) = &self.ca {
            return certificates("--ca", ca);
        }
        let system = SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.is_file());
        let system = system.ok_or_else(|| {
            Failure::usage("this system has no list of authorities; name the server's with --ca FILE")
        })?;
        certificates("the system's authorities", system)
    }
}

fn certificates(flag: &str, path: &Path) -> Result<Vec<Certificate<'static>>, Failure> {
    let pem = std::fs::read(path).map_err(|error| Failure::file(path, &error))?;
    let found: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if found.is_empty() {
        let detail = format!(
            "{flag}: {} holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`)",
            path.display()
        );
        return Err(Failure::usage(detail));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKey<'static>, Failure> {
    let pem = std::fs::read(path).map(zeroize::Zeroizing::new);
    let pem = pem.map_err(|error| Failure::file(path, &error))?;
    PrivateKey::from_pem(&pem).map_err(|_| {
        Failure::usage(format!(
            "--client-key: {} holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`)",
            path.display()
        ))
    })
}
