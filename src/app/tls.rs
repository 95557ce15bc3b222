//! TLS for the listener (rustls with ring): certificate, key and, for mutual TLS, the authorities of the clients.
//!
//! What would fail at the first handshake fails at start: a missing file, one without PEM, a key of another certificate, a
//! certificate that is not valid now. Out of scope: revocation lists.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Settings;
use crate::env::{Clock, System};
use crate::spec::ids::Timestamp;

/// A certificate that ends sooner is warned about: two weeks, in seconds.
const SOON: i64 = 14 * 86_400;

/// Why TLS cannot be had: the setting, its file, and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: {path}: {mend}")]
pub struct TlsError {
    setting: &'static str,
    path: PathBuf,
    mend: String,
}

/// The listener's TLS.
pub(super) struct Tls {
    pub(super) config: ServerConfig,
    pub(super) certificate: Arc<Certificate>,
}

/// The certificate that is shown now, and where it comes from.
pub(super) struct Certificate {
    now: ArcSwap<CertifiedKey>,
    chain: PathBuf,
    key: PathBuf,
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.chain.display())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now.load_full())
    }
}

impl Certificate {
    /// Reads both files again; connections made from now on get the new certificate.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate stays in use then.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.now.store(Arc::new(certified(&self.chain, &self.key)?));
        Ok(())
    }
}

/// The listener's TLS, if the settings ask for it.
///
/// # Errors
/// [`TlsError`].
pub(super) fn load(settings: &Settings) -> Result<Option<Tls>, TlsError> {
    let (Some(chain), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let certificate = Arc::new(Certificate {
        now: ArcSwap::from_pointee(certified(chain, key)?),
        chain: chain.clone(),
        key: key.clone(),
    });
    let unusable = |error: &dyn std::fmt::Display| TlsError {
        setting: "tls_certificate",
        path: chain.clone(),
        mend: error.to_string(),
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match &settings.tls_client_ca {
        Some(authorities) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authorities)?), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(|error| unusable(&error))?)
        }
        None => builder.with_no_client_auth(),
    };
    let config = builder.with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    Ok(Some(Tls { config, certificate }))
}

/// A chain with its key, both valid now.
fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let certificates = certificates("tls_certificate", chain)?;
    let expires = certificates
        .iter()
        .map(|(_, expires)| *expires)
        .min()
        .unwrap_or(i64::MAX);
    let refused = |mend: &str| TlsError {
        setting: "tls_key",
        path: key.to_owned(),
        mend: mend.to_owned(),
    };
    let bytes = zeroize::Zeroizing::new(read("tls_key", key)?);
    let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        refused(
            "holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`); is it the certificate, or encrypted?",
        )
    })?;
    let chained = certificates.into_iter().map(|(certificate, _)| certificate).collect();
    let provider: CryptoProvider = ring::default_provider();
    let certified = CertifiedKey::from_der(chained, private, &provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => refused(&format!(
            "is not the key of the certificate in {}; name the pair that belongs together",
            chain.display()
        )),
        other => refused(&format!("cannot be used: {other}")),
    })?;
    tell_expiry(chain, expires);
    Ok(certified)
}

#[allow(clippy::cast_precision_loss)]
fn tell_expiry(chain: &Path, expires: i64) {
    metrics::gauge!("oubliette_tls_certificate_expiry_timestamp_seconds").set(expires as f64);
    if expires < now() + SOON {
        tracing::warn!(file = %chain.display(), expires = %instant(expires),
            "the TLS certificate expires soon; put a new one in its place and send SIGHUP");
    }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (certificate, _) in certificates("tls_client_ca", path)? {
        roots.add(certificate).map_err(|error| TlsError {
            setting: "tls_client_ca",
            path: path.to_owned(),
            mend: format!("holds a certificate that cannot be an authority: {error}"),
        })?;
    }
    Ok(roots)
}

/// The certificates of a file with the second in which each expires; all valid now, at least one.
fn certificates(setting: &'static str, path: &Path) -> Result<Vec<(CertificateDer<'static>, i64)>, TlsError> {
    let refused = |mend: String| TlsError {
        setting,
        path: path.to_owned(),
        mend,
    };
    let bytes = read(setting, path)?;
    let broken =
        |what: &dyn std::fmt::Display| refused(format!("holds a damaged certificate ({what}); get a fresh copy"));
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| broken(&error))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).map_err(|error| broken(&error))?;
        let validity = parsed.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if to < now() {
            return Err(refused(format!(
                "expired at {}; put a renewed certificate there",
                instant(to)
            )));
        }
        if from > now() {
            return Err(refused(format!(
                "is not valid before {}; use another one until then, or set the clock",
                instant(from)
            )));
        }
        found.push((certificate, to));
    }
    if found.is_empty() {
        return Err(refused(
            "holds no certificate in PEM form (`-----BEGIN CERTIFICATE-----`); convert it, or name the right file"
                .into(),
        ));
    }
    Ok(found)
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| {
        let mend = match error.kind() {
            std::io::ErrorKind::NotFound => "there is no such file; check the path".to_owned(),
            std::io::ErrorKind::PermissionDenied => {
                "may not be read by the user of this process; change its owner or mode".to_owned()
            }
            _ => format!("cannot be read: {error}"),
        };
        TlsError {
            setting,
            path: path.to_owned(),
            mend,
        }
    })
}

/// Seconds since 1970.
fn now() -> i64 {
    i64::try_from(System.now().0 / 1_000_000).unwrap_or(i64::MAX)
}

fn instant(seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000))
}
