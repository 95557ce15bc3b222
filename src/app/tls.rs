//! TLS for the listener (rustls with ring): certificate, key and, for mutual TLS, the authorities of the clients.
//!
//! What would fail at the first handshake fails at start: a missing file, one without PEM, a key of another certificate, a
//! certificate that is not valid now. Out of scope: revocation lists.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier};
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
    let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
    if settings.tls_client_ca.is_some() {
        // IMPORTANT: a resumed session is not asked for its certificate again, which may have expired since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Some(Tls { config, certificate }))
}

/// A chain with its key, both valid now.
fn certified(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let certificates = parse("tls_certificate", chain)?;
    for certificate in &certificates {
        certificate.valid_now().map_err(|mend| TlsError {
            setting: "tls_certificate",
            path: chain.to_owned(),
            mend,
        })?;
    }
    let expires = certificates.iter().map(|one| one.to).min().unwrap_or(i64::MAX);
    let refused = |mend: &str| TlsError {
        setting: "tls_key",
        path: key.to_owned(),
        mend: mend.to_owned(),
    };
    let bytes = zeroize::Zeroizing::new(read("tls_key", key)?);
    if std::fs::metadata(key).is_ok_and(|about| about.permissions().mode() & 0o007 != 0) {
        tracing::warn!(file = %key.display(), "every user of this machine may use the TLS key; take its mode back (chmod o=)");
    }
    let private = PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        refused(
            "holds no private key in PEM form (`-----BEGIN PRIVATE KEY-----`); is it the certificate, or encrypted?",
        )
    })?;
    let chained = certificates.into_iter().map(|one| one.certificate).collect();
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

/// The authorities that are valid now; one that is not is left out with a warning while another is.
fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let refused = |mend: String| TlsError {
        setting: "tls_client_ca",
        path: path.to_owned(),
        mend,
    };
    let (mut roots, mut last) = (RootCertStore::empty(), None);
    for authority in parse("tls_client_ca", path)? {
        if !authority.is_authority {
            return Err(refused(
                "holds a certificate that is not an authority's (CA: TRUE is missing); name the file of those who issue \
                 client certificates"
                    .into(),
            ));
        }
        if let Err(mend) = authority.valid_now() {
            tracing::warn!(file = %path.display(), "an authority for client certificates is left out: it {mend}");
            last = Some(mend);
            continue;
        }
        roots
            .add(authority.certificate)
            .map_err(|error| refused(format!("holds a certificate that cannot be an authority: {error}")))?;
    }
    match last {
        Some(mend) if roots.is_empty() => Err(refused(mend)),
        _ => Ok(roots),
    }
}

/// A certificate of a file, and what of it counts here. Times are seconds since 1970.
struct Parsed {
    certificate: CertificateDer<'static>,
    from: i64,
    to: i64,
    is_authority: bool,
}

impl Parsed {
    /// What to do about one that is not valid now.
    fn valid_now(&self) -> Result<(), String> {
        if self.to < now() {
            let expired = instant(self.to);
            return Err(format!("expired at {expired}; put a renewed certificate there"));
        }
        if self.from > now() {
            let from = instant(self.from);
            return Err(format!(
                "is not valid before {from}; use another one until then, or set the clock"
            ));
        }
        Ok(())
    }
}

/// The certificates of a file, at least one.
fn parse(setting: &'static str, path: &Path) -> Result<Vec<Parsed>, TlsError> {
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
        let is_authority = parsed.is_ca();
        found.push(Parsed {
            certificate,
            from,
            to,
            is_authority,
        });
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
