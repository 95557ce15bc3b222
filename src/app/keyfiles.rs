//! Signing keys as files: PKCS#8 PEM, mode 0600, one folder a ledger.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use zeroize::Zeroizing;

use super::lock::create_private;
use crate::env::Entropy;
use crate::service::ledger::{SigningKeyStore, SigningKeys};
use crate::service::{Code, Error};
use crate::spec::ids::LedgerName;

pub(super) struct KeyFiles {
    folder: PathBuf,
    entropy: Arc<dyn Entropy>,
}

impl KeyFiles {
    pub(super) fn new(folder: PathBuf, entropy: Arc<dyn Entropy>) -> Self {
        Self { folder, entropy }
    }

    fn path(&self, ledger: &LedgerName, role: &str) -> PathBuf {
        self.folder.join(ledger.as_str()).join(format!("{role}.pem"))
    }

    fn read(&self, ledger: &LedgerName, role: &str) -> Result<SigningKey, Error> {
        let path = self.path(ledger, role);
        let text = std::fs::read_to_string(&path)
            .map(Zeroizing::new)
            .map_err(|error| unusable(&path, error))?;
        SigningKey::from_pkcs8_pem(&text).map_err(|error| unusable(&path, error))
    }

    fn mint(&self, ledger: &LedgerName, role: &str) -> Result<SigningKey, Error> {
        let path = self.path(ledger, role);
        if path.exists() {
            return self.read(ledger, role); // a crash came between the keys and the ledger's first event
        }
        let key = SigningKey::from_bytes(&Zeroizing::new(self.entropy.bytes()));
        let pem = key
            .to_pkcs8_pem(LineEnding::LF)
            .map_err(|error| unusable(&path, error))?;
        write_new(&path, pem.as_bytes()).map_err(|error| unusable(&path, error))?;
        Ok(key)
    }
}

impl SigningKeyStore for KeyFiles {
    fn load(&self, ledger: &LedgerName) -> Result<SigningKeys, Error> {
        Ok(SigningKeys {
            event: self.read(ledger, "event")?,
            checkpoint: self.read(ledger, "checkpoint")?,
            certificate: self.read(ledger, "certificate")?,
        })
    }

    fn create(&self, ledger: &LedgerName) -> Result<SigningKeys, Error> {
        let folder = self.folder.join(ledger.as_str());
        create_private(&folder).map_err(|error| unusable(&folder, error))?;
        Ok(SigningKeys {
            event: self.mint(ledger, "event")?,
            checkpoint: self.mint(ledger, "checkpoint")?,
            certificate: self.mint(ledger, "certificate")?,
        })
    }
}

/// Whole and durable, or not there: a file beside it, synced, renamed, and every folder on the way synced.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("pem.new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folders = path.ancestors().skip(1).take(3).filter(|folder| folder.is_dir());
    folders
        .map(std::fs::File::open)
        .try_for_each(|folder| folder?.sync_all())
}

fn unusable(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let detail = format!("the signing key {} cannot be used: {error}", path.display());
    Error::new(Code::KeyUnavailable, detail).caused_by(error)
}
