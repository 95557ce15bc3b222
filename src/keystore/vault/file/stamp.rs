//! Whose a file of the vault is: the vault's id in it, and a checksum, which is a MAC where a device keeps the keys.
//!
//! ```text
//! checksum = SHA-256(parts)                      without a device: finds damage
//! checksum = HMAC-SHA-256(K, parts)              with one: finds forgery too
//! K        = HMAC-SHA-256(root key in the device, "oubliette/vault/files/v1")
//! ```

use sha2::{Digest, Sha256};

use crate::keystore::vault::{Secret, VaultId};
use crate::keystore::wrap;

/// What every block of a vault carries.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    pub(super) owner: VaultId,
    /// `None` without a device.
    pub(super) key: Option<Secret>,
}

impl Stamp {
    /// Of a vault without a device.
    #[cfg(test)]
    pub(super) const fn plain(owner: VaultId) -> Self {
        Self { owner, key: None }
    }

    /// Over the parts, one after the other.
    pub(super) fn checksum(&self, parts: &[&[u8]]) -> [u8; 32] {
        match &self.key {
            Some(key) => wrap::mac(key, parts),
            None => {
                let mut hash = Sha256::new();
                parts.iter().for_each(|part| hash.update(part));
                hash.finalize().into()
            }
        }
    }
}
