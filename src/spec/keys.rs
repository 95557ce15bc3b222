//! Keys by role, and the range of indexes in which each may sign (docs/spec/06-keys.md).
//!
//! A ledger has an event key, a checkpoint key and a certificate key, and an offline recovery key of which only a hash
//! is public. The event at index 0, `ledger.created`, names them all; later key events (signed by old and new key) end
//! one range and begin the next. A signature outside its key's range is tampering even if it verifies.

use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::hash::Hash;
use super::ids::{LedgerName, Origin};
use super::json;
use super::note::Note;
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
    /// The logs that this one goes on from after a rollback; absent: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub continues: Vec<Continued>,
}

/// A log that was rolled back and is frozen; another goes on from it (docs/spec/13-backup.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continued {
    /// The frozen log's origin.
    pub origin: Origin,
    /// The last of its checkpoints that is known, a signed note: everything from `restored` up to its size is lost.
    pub last_known: String,
    /// What is left of it.
    pub restored: Restored,
}

/// What a restore brought back of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restored {
    /// Its events; 0: nothing.
    pub tree_size: u64,
    /// The root at that size; of the empty tree for nothing.
    pub root: Hash,
}

impl Continued {
    /// The last checkpoint that is known of the frozen log.
    ///
    /// # Errors
    /// What is wrong with the note, in words.
    pub fn checkpoint(&self) -> Result<Checkpoint, String> {
        let note: Note = self
            .last_known
            .parse()
            .map_err(|error| format!("last_known: {error}"))?;
        let checkpoint: Checkpoint = note.text().parse().map_err(|error| format!("last_known: {error}"))?;
        if checkpoint.origin.as_str() != self.origin.as_str() {
            return Err(format!(
                "last_known is of {}, not of {}",
                checkpoint.origin, self.origin
            ));
        }
        if checkpoint.size < self.restored.tree_size {
            return Err("last_known is older than what was restored".into());
        }
        if checkpoint.size == self.restored.tree_size && checkpoint.root != self.restored.root {
            return Err("last_known and what was restored have two roots for one size".into());
        }
        Ok(checkpoint)
    }
}

impl LedgerCreated {
    /// Reads the payload: a JSON object as a writer makes it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read(data: &[u8]) -> Result<Self, String> {
        let created: Self = json::read(data)?;
        let mut origins = vec![&created.origin];
        for continued in &created.continues {
            if origins.contains(&&continued.origin) {
                return Err("continues: an origin stands twice, or is the ledger's own".into());
            }
            origins.push(&continued.origin);
            continued.checkpoint().map_err(|error| format!("continues: {error}"))?;
        }
        Ok(created)
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
            continues: Vec::new(),
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

    #[test]
    fn what_a_log_goes_on_from_is_another_log_with_a_checkpoint_that_is_not_older() {
        let old = crate::spec::testing::TestLedger::sample();
        let new = crate::spec::testing::TestLedger::with("o.example/m/r2", 7).created();
        let continued = |size| Continued {
            origin: old.origin.clone(),
            last_known: old.head(),
            restored: Restored {
                tree_size: size,
                root: old.root(size),
            },
        };
        let read = |continues: Vec<Continued>| {
            let created = LedgerCreated {
                continues,
                ..new.clone()
            };
            LedgerCreated::read(&serde_json::to_vec(&created).unwrap())
        };
        assert_eq!(read(vec![continued(3)]).unwrap().continues, [continued(3)]);
        assert!(read(vec![continued(old.size())]).is_ok());
        let mut longer = continued(3);
        longer.restored.tree_size = old.size() + 1;
        let mut forked = continued(old.size());
        forked.restored.root = old.root(1);
        let mut own = continued(3);
        own.origin = new.origin.clone();
        let mut no_note = continued(3);
        no_note.last_known = "x".into();
        for (what, wrong) in [
            ("more than is known", vec![longer]),
            ("two roots for one size", vec![forked]),
            ("itself", vec![own]),
            ("no checkpoint", vec![no_note]),
            ("twice", vec![continued(3), continued(3)]),
        ] {
            assert!(read(wrong).is_err(), "{what}");
        }
    }
}
