//! Keys by role, and the range of indexes in which each may sign (docs/spec/06-keys.md).
//!
//! A ledger has an event key, a checkpoint key and a certificate key, and an offline recovery key of which only a hash
//! is public. The event at index 0, `ledger.created`, names them all; later key events (signed by old and new key) end
//! one range and begin the next. A signature outside its key's range is tampering even if it verifies.

use serde::{Deserialize, Serialize};

use super::hash::Hash;
use super::ids::{LedgerName, Origin};
use super::json;
use super::signature::{PublicKey, SignatureError};

/// The type of the event at index 0.
pub const LEDGER_CREATED: &str = "ledger.created";

/// What a key may sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema), schema(as = KeyRole))]
pub enum Role {
    /// Event headers.
    Event,
    /// Checkpoints (as a signed note).
    Checkpoint,
    /// Certificates and manifests.
    Certificate,
}

/// A key as `ledger.created` announces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "server", derive(utoipa::ToSchema))]
pub struct AnnouncedKey {
    /// What it may sign.
    pub role: Role,
    /// Always `ed25519` in suite 1.
    pub algorithm: String,
    /// 32 bytes, hex.
    pub public_key: Hash,
    /// The COSE key thumbprint.
    pub key_id: Hash,
}

impl AnnouncedKey {
    /// Announces a key.
    pub fn new(role: Role, key: &PublicKey) -> Self {
        Self {
            role,
            algorithm: "ed25519".into(),
            public_key: Hash::from(*key.as_bytes()),
            key_id: key.id(),
        }
    }

    /// The key, checked.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] if it is weak, of another algorithm, or does not have the id it claims.
    pub fn public(&self) -> Result<PublicKey, SignatureError> {
        let key = PublicKey::new(self.public_key.as_bytes())?;
        if self.algorithm == "ed25519" && key.id() == self.key_id {
            Ok(key)
        } else {
            Err(SignatureError::BadKey)
        }
    }
}

/// The payload (`data`) of `ledger.created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerCreated {
    /// The ledger's name on its server.
    pub ledger: LedgerName,
    /// The ledger's global name.
    pub origin: Origin,
    /// The event, checkpoint and certificate keys.
    pub keys: Vec<AnnouncedKey>,
    /// SHA-256 of the recovery key's 32 public bytes.
    pub recovery_key_hash: Hash,
}

impl LedgerCreated {
    /// Reads the payload: a JSON object as a writer makes it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(data: &[u8]) -> Result<Self, String> {
        json::read(data)
    }

    /// The announced key of a role.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] if there is not exactly one, or it is not valid.
    pub fn key(&self, role: Role) -> Result<PublicKey, SignatureError> {
        let mut keys = self.keys.iter().filter(|key| key.role == role);
        match (keys.next(), keys.next()) {
            (Some(key), None) => key.public(),
            _ => Err(SignatureError::BadKey),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ed25519_dalek::SigningKey;

    #[test]
    fn an_announced_key_must_have_the_id_it_claims_and_stand_alone_in_its_role() {
        let public = |seed| PublicKey::new(SigningKey::from_bytes(&[seed; 32]).verifying_key().as_bytes()).unwrap();
        let good = AnnouncedKey::new(Role::Event, &public(1));
        let created = |keys| LedgerCreated {
            ledger: "main".parse().unwrap(),
            origin: "o.example/m".parse().unwrap(),
            keys,
            recovery_key_hash: Hash::from([0; 32]),
        };
        assert_eq!(created(vec![good.clone()]).key(Role::Event).unwrap(), public(1));
        assert!(created(vec![good.clone()]).key(Role::Checkpoint).is_err());
        assert!(created(vec![good.clone(), good.clone()]).key(Role::Event).is_err());
        let lying = AnnouncedKey {
            key_id: public(2).id(),
            ..good
        };
        assert!(created(vec![lying]).key(Role::Event).is_err());
    }
}
