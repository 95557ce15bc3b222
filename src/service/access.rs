//! API keys, roles and who is calling.
//!
//! A key is `obl_<id>_<secret>`: 8 random bytes that name it and 32 that prove it, in hex. Only the SHA-256 of the secret
//! is stored, compared in constant time. Roles are a plain set, none implies another, and a key may be bound to ledgers.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Code, Error, Service};
use crate::spec::hash::Hash;
use crate::spec::ids::{LedgerName, Timestamp};
use crate::store::{LedgerStore, RecordWrite};

const RECORD: &str = "api-key";

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[derive(utoipa::ToSchema)]
pub enum Role {
    /// Append.
    Writer,
    /// Read what is in clear.
    Reader,
    /// Open personal data; recorded.
    Revealer,
    /// Verify, export, report.
    Auditor,
    /// Erase, look subjects up.
    Officer,
    /// Make ledgers and keys.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::Writer,
        Self::Reader,
        Self::Revealer,
        Self::Auditor,
        Self::Officer,
        Self::Admin,
    ];

    /// The role's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Revealer => "revealer",
            Self::Auditor => "auditor",
            Self::Officer => "officer",
            Self::Admin => "admin",
        }
    }
}

/// A key as it is stored and listed; the secret is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ApiKey {
    /// 16 hex digits.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub roles: BTreeSet<Role>,
    /// Where; absent: in every ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledgers: Option<BTreeSet<LedgerName>>,
    /// When it was made.
    pub created_at: Timestamp,
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    key: ApiKey,
    secret_sha256: Hash,
}

/// Who is calling, once the key is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key.
    pub key: ApiKey,
}

impl Caller {
    /// Whether the caller may act in a role on a ledger (`None`: on the store as a whole).
    ///
    /// # Errors
    /// `forbidden`, naming the role that is missing.
    pub fn require(&self, any_of: &[Role], ledger: Option<&LedgerName>) -> Result<(), Error> {
        if !any_of.iter().any(|role| self.key.roles.contains(role)) {
            let wanted: Vec<_> = any_of.iter().map(|role| role.as_str()).collect();
            let detail = format!("this needs an API key with the role {}", wanted.join(" or "));
            return Err(Error::new(Code::Forbidden, detail));
        }
        match (&self.key.ledgers, ledger) {
            (Some(ledgers), Some(ledger)) if !ledgers.contains(ledger) => Err(Error::new(
                Code::Forbidden,
                format!("this API key is not for the ledger {ledger}"),
            )),
            (Some(_), None) => Err(Error::new(Code::Forbidden, "this API key is bound to single ledgers")),
            _ => Ok(()),
        }
    }
}

/// All keys, in memory.
pub(super) struct Keys {
    stored: RwLock<HashMap<String, Stored>>,
    /// Of this process only: neither stored nor listed.
    local: OnceLock<Stored>,
}

/// The key id, and the name in records, of whoever can open the data directory itself.
const LOCAL: &str = "local-command-line";

impl Keys {
    pub(super) fn load(store: &dyn LedgerStore) -> Result<Self, Error> {
        let parse = |(id, bytes): (String, Vec<u8>)| {
            let stored = serde_json::from_slice(&bytes);
            stored
                .map(|stored| (id, stored))
                .map_err(|error| Error::new(Code::Damaged, "an API key").caused_by(error))
        };
        let keys = store
            .records(None, RECORD)?
            .into_iter()
            .map(parse)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            stored: RwLock::new(keys),
            local: OnceLock::new(),
        })
    }
}

/// What a new key is to be.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct NewApiKey {
    /// What people call it.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// At least one.
    #[schema(min_items = 1)]
    pub roles: BTreeSet<Role>,
    /// Where; absent: in every ledger.
    pub ledgers: Option<BTreeSet<LedgerName>>,
}

/// A new key, the one time that it is shown.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ShownApiKey {
    /// The whole key.
    #[schema(value_type = String, pattern = "^obl_[0-9a-f]{16}_[0-9a-f]{64}$")]
    pub api_key: Zeroizing<String>,
    /// What it is.
    #[serde(flatten)]
    pub key: ApiKey,
}

impl Service {
    /// Checks a key as it came with a request.
    ///
    /// # Errors
    /// `unauthenticated`.
    pub fn authenticate(&self, presented: &str) -> Result<Caller, Error> {
        let refused = || {
            Error::new(
                Code::Unauthenticated,
                "unknown or malformed API key; send `Authorization: Bearer obl_…`",
            )
        };
        let (id, secret) = presented
            .strip_prefix("obl_")
            .and_then(|rest| rest.split_once('_'))
            .ok_or_else(refused)?;
        let digest = Sha256::digest(secret.as_bytes());
        let keys = self.access.stored.read();
        let local = self.access.local.get().filter(|local| local.key.id == id);
        let stored = keys.get(id).or(local).ok_or_else(refused)?;
        if bool::from(stored.secret_sha256.as_bytes().ct_eq(digest.as_slice())) {
            Ok(Caller {
                key: stored.key.clone(),
            })
        } else {
            Err(refused())
        }
    }

    /// Gives a key with every role that lives as long as this process: for the command line, which could open the stores
    /// anyway. A second call replaces nothing and gives a key that is refused.
    pub fn register_local_caller(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(hex::encode(*Zeroizing::new(self.entropy.bytes::<32>())));
        let key = ApiKey {
            id: LOCAL.into(),
            name: "local command line".into(),
            roles: Role::ALL.into_iter().collect(),
            ledgers: None,
            created_at: self.clock.now(),
        };
        let secret_sha256 = digest(&secret);
        let _ = self.access.local.set(Stored { key, secret_sha256 });
        Zeroizing::new(format!("obl_{LOCAL}_{}", *secret))
    }

    /// Makes a key and records that, without the secret.
    ///
    /// # Errors
    /// `invalid_field`; whatever appending may answer.
    pub async fn create_api_key(&self, by: &str, new: NewApiKey) -> Result<ShownApiKey, Error> {
        let name_fits = matches!(new.name.chars().count(), 1..=100) && !new.name.chars().any(char::is_control);
        if !name_fits {
            return Err(Error::field("/name", "must be 1 to 100 characters"));
        }
        if self.guard && super::guard::personal_data_in(&new.name).is_some() {
            return Err(Error::field(
                "/name",
                "seems to name a person; name the system or the post instead",
            ));
        }
        if new.roles.is_empty() {
            return Err(Error::field("/roles", "must name at least one role"));
        }
        for ledger in new.ledgers.iter().flatten() {
            self.ledger(ledger)?;
        }
        let id = hex::encode(self.entropy.bytes::<8>());
        let secret = Zeroizing::new(hex::encode(*Zeroizing::new(self.entropy.bytes::<32>())));
        let NewApiKey { name, roles, ledgers } = new;
        let key = ApiKey {
            id: id.clone(),
            name,
            roles,
            ledgers,
            created_at: self.clock.now(),
        };
        let secret_sha256 = digest(&secret);
        let stored = Stored {
            key: key.clone(),
            secret_sha256,
        };
        let value = serde_json::to_vec(&stored).map_err(internal)?;
        let record = RecordWrite {
            ledger: None,
            kind: RECORD,
            id: id.clone(),
            value: Some(value),
        };
        let data = serde_json::json!({"by": by, "key": key});
        self.record_access("api_key.created", &data, record).await?;
        self.access.stored.write().insert(id.clone(), stored);
        Ok(ShownApiKey {
            api_key: Zeroizing::new(format!("obl_{id}_{}", *secret)),
            key,
        })
    }

    /// The keys, without secrets.
    pub fn api_keys(&self) -> Vec<ApiKey> {
        let mut keys: Vec<_> = self
            .access
            .stored
            .read()
            .values()
            .map(|stored| stored.key.clone())
            .collect();
        keys.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        keys
    }

    /// Revokes a key at once and for good.
    ///
    /// # Errors
    /// `not_found`; whatever appending may answer.
    pub async fn revoke_api_key(&self, by: &str, id: &str) -> Result<(), Error> {
        // Out of memory first: a caller who hangs up must not leave a key that the log calls revoked in use.
        let removed = self.access.stored.write().remove(id);
        let revoked = removed.ok_or_else(|| Error::new(Code::NotFound, "there is no such API key"))?;
        let record = RecordWrite {
            ledger: None,
            kind: RECORD,
            id: id.to_owned(),
            value: None,
        };
        let data = serde_json::json!({"by": by, "key": {"id": id}});
        let recorded = self.record_access("api_key.revoked", &data, record).await;
        if recorded.is_err() {
            self.access.stored.write().insert(id.to_owned(), revoked);
        }
        recorded
    }

    /// Events about access go to the store's first ledger, with the record in the same write.
    async fn record_access(
        &self,
        event_type: &'static str,
        data: &serde_json::Value,
        record: RecordWrite,
    ) -> Result<(), Error> {
        let ledgers = self.all_ledgers();
        let ledger = ledgers
            .iter()
            .find(|ledger| !ledger.is_frozen())
            .ok_or_else(|| Error::new(Code::LedgerNotFound, "there is no ledger yet"))?;
        let event = self.system_event("$access", event_type, data, None)?;
        self.append_system(ledger, Vec::new(), vec![event], Vec::new(), vec![record])
            .await
            .map(drop)
    }
}

fn digest(secret: &str) -> Hash {
    Hash::from(<[u8; 32]>::from(Sha256::digest(secret.as_bytes())))
}

pub(super) fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Code::Internal, "an unexpected fault; see the server's log").caused_by(error)
}
