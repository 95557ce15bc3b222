//! The vault that the settings name.

use std::path::PathBuf;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::config::{Settings, VaultKind};
use crate::env::Entropy;
use crate::keystore::KeyStoreError;
use crate::keystore::vault::device::Device;
use crate::keystore::vault::file::FileVault;
use crate::keystore::vault::pkcs11::{PinSource, Token};

/// Makes it.
pub(super) fn create(settings: &Settings, entropy: Arc<dyn Entropy>) -> Result<FileVault, KeyStoreError> {
    FileVault::create_with(&settings.vault_paths(), device(settings)?, entropy)
}

/// Opens it.
pub(super) fn open(settings: &Settings, entropy: Arc<dyn Entropy>) -> Result<FileVault, KeyStoreError> {
    FileVault::open_with(&settings.vault_paths(), device(settings)?, entropy)
}

/// Opens it to read alone, also beside a server that has it open.
pub(super) fn open_to_read(settings: &Settings, entropy: Arc<dyn Entropy>) -> Result<FileVault, KeyStoreError> {
    FileVault::open_to_read(&settings.vault_paths(), device(settings)?, entropy)
}

/// The device that keeps its keys, if one does.
pub(super) fn device(settings: &Settings) -> Result<Option<Arc<dyn Device>>, KeyStoreError> {
    let (VaultKind::Pkcs11, Some(module), Some(label)) =
        (settings.vault_kind, &settings.vault_module, &settings.vault_token)
    else {
        return Ok(None);
    };
    let token = Token::open(module, label, pin(settings.vault_pin_file.clone()))?;
    Ok(Some(Arc::new(token)))
}

/// Read each time, so that it is never kept.
fn pin(file: Option<PathBuf>) -> PinSource {
    Box::new(move || {
        let Some(file) = &file else {
            let pin = std::env::var("OUBLIETTE_VAULT_PIN").map(Zeroizing::new);
            return pin.map_err(|_| std::io::Error::other("set vault_pin_file, or OUBLIETTE_VAULT_PIN"));
        };
        let text = Zeroizing::new(std::fs::read_to_string(file)?);
        Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()))
    })
}
