//! A device that makes keys, uses them, and never gives them out.

use super::Secret;
use crate::keystore::KeyStoreError;

/// Keys by name. Every method may be repeated after a failure. Engine: [`super::pkcs11`].
pub trait Device: Send + Sync {
    /// Makes an AES-256 key that wraps, never leaves the device, and outlives this process. One that stood under the name
    /// before is destroyed.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the device is away, refuses, or makes a key that could leave it.
    fn make_key(&self, name: &str) -> Result<(), KeyStoreError>;

    /// Whether a key stands under the name.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the device is away.
    fn holds(&self, name: &str) -> Result<bool, KeyStoreError>;

    /// As [`Device::make_key`], of a key for [`Device::mac`].
    ///
    /// # Errors
    /// As there.
    fn make_root(&self, name: &str) -> Result<(), KeyStoreError>;

    /// AES-256-GCM in the device: nonce ‖ ciphertext ‖ tag, bound to `aad`. The device may choose a nonce of its own.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if there is no such key or the device is away.
    fn encrypt(&self, name: &str, nonce: [u8; 12], aad: &[u8], secret: &[u8; 32]) -> Result<Vec<u8>, KeyStoreError>;

    /// Opens what [`Device::encrypt`] made.
    ///
    /// # Errors
    /// As there; [`KeyStoreError::Damaged`] if it is not its own or bound to something else.
    fn decrypt(&self, name: &str, aad: &[u8], wrapped: &[u8]) -> Result<Secret, KeyStoreError>;

    /// HMAC-SHA-256 in the device.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if there is no such key or the device is away.
    fn mac(&self, name: &str, text: &[u8]) -> Result<Secret, KeyStoreError>;

    /// Destroys whatever stands under the name, and looks that nothing does any more. Nothing there is no error.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the device is away, or something is left.
    fn destroy(&self, name: &str) -> Result<(), KeyStoreError>;

    /// The names of keys that begin with `prefix`.
    ///
    /// # Errors
    /// [`KeyStoreError::Vault`] if the device is away.
    fn names(&self, prefix: &str) -> Result<Vec<String>, KeyStoreError>;
}
