//! How a ledger begins: its keys, its rows, and the event at index 0.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::super::access::internal;
use super::super::rollback::family_of;
use super::super::{Code, Error, Service};
use super::{Ledger, system_name};
use crate::sequencer::ExpectedVersion;
use crate::spec::hash::Hash;
use crate::spec::ids::{InvalidId, LedgerId, LedgerName, Origin, StreamName};
use crate::spec::keys::{AnnouncedKey, Continued, LEDGER_CREATED, LedgerCreated, Role};
use crate::spec::signature::PublicKey;
use crate::store::{LedgerNumber, LedgerRecord};

/// A private recovery key, in hex.
pub type RecoveryKey = Zeroizing<String>;

fn hash_of(recovery: &PublicKey) -> Hash {
    Hash::from(<[u8; 32]>::from(Sha256::digest(recovery.as_bytes())))
}

/// What making a ledger gave.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct CreatedLedger {
    /// Its name in paths.
    pub ledger: LedgerName,
    /// Its global name.
    pub origin: Origin,
    /// The checkpoint key as a note key: what auditors pin.
    pub vkey: String,
    /// The private recovery key (hex, 32 bytes), shown once and kept nowhere: store it offline. Absent if the caller
    /// brought its public half.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, pattern = "^[0-9a-f]{64}$")]
    pub recovery_key: Option<Zeroizing<String>>,
}

/// `POST /v1/ledgers`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[derive(utoipa::ToSchema)]
pub struct NewLedger {
    /// Its name in paths.
    pub ledger: LedgerName,
    /// Its global name; by default made from the first ledger's.
    pub origin: Option<Origin>,
    /// The public half (hex, 32 bytes) of a recovery key that was made offline; absent: one is minted.
    pub recovery_public_key: Option<Hash>,
}

impl Service {
    /// Makes a ledger.
    ///
    /// # Errors
    /// `ledger_exists`, `invalid_field`; whatever appending may answer.
    pub async fn create_ledger(&self, new: NewLedger) -> Result<CreatedLedger, Error> {
        self.refuse_existing(&new.ledger)?;
        let origin = match new.origin {
            Some(origin) => origin,
            None => self.default_origin(&new.ledger)?,
        };
        let recovery = new
            .recovery_public_key
            .map(|key| PublicKey::new(key.as_bytes()))
            .transpose();
        let recovery = recovery.map_err(|error| Error::field("/recovery_public_key", error.to_string()))?;
        self.found_ledger(new.ledger, origin, recovery).await
    }

    fn default_origin(&self, name: &LedgerName) -> Result<Origin, Error> {
        let ledgers = self.all_ledgers();
        let first = ledgers
            .iter()
            .find(|ledger| !ledger.is_frozen())
            .ok_or_else(|| Error::field("/origin", "is needed for the first ledger"))?;
        let base = family_of(&first.record.origin).0;
        let base = base.strip_suffix(&format!("/{}", first.record.name)).unwrap_or(base);
        format!("{base}/{name}")
            .parse()
            .map_err(|error: InvalidId| Error::field("/origin", error.to_string()))
    }

    /// Makes a ledger of a valid name and origin: signing keys, key store rows, and the event at index 0.
    ///
    /// # Errors
    /// As [`Service::create_ledger`].
    pub async fn found_ledger(
        &self,
        name: LedgerName,
        origin: Origin,
        recovery: Option<PublicKey>,
    ) -> Result<CreatedLedger, Error> {
        let _turn = self.founding.lock().await;
        self.refuse_existing(&name)?;
        if self.all_ledgers().iter().any(|ledger| ledger.record.origin == origin) {
            return Err(Error::field(
                "/origin",
                "another ledger has this origin; every ledger needs one of its own",
            ));
        }
        let (recovery_key_hash, recovery_key) = match recovery {
            Some(public) => (hash_of(&public), None),
            None => self.mint_recovery_key()?,
        };
        let vkey = self.found(&name, &origin, recovery_key_hash, Vec::new()).await?.vkey();
        Ok(CreatedLedger {
            ledger: name,
            origin,
            vkey,
            recovery_key,
        })
    }

    /// A new recovery key: the hash of its public half, and its private half in hex.
    pub(in crate::service) fn mint_recovery_key(&self) -> Result<(Hash, Option<RecoveryKey>), Error> {
        let secret = Zeroizing::new(self.entropy.bytes());
        let public = PublicKey::new(SigningKey::from_bytes(&secret).verifying_key().as_bytes());
        let public = public.map_err(internal)?;
        Ok((hash_of(&public), Some(Zeroizing::new(hex::encode(*secret)))))
    }

    /// Makes a ledger whose first event announces this hash, and names the logs that it goes on from.
    ///
    /// # Errors
    /// As [`Service::create_ledger`].
    pub(in crate::service) async fn found(
        &self,
        name: &LedgerName,
        origin: &Origin,
        recovery_key_hash: Hash,
        continues: Vec<Continued>,
    ) -> Result<Arc<Ledger>, Error> {
        let number = self.store.ledgers()?.last().map_or(1, |ledger| ledger.number.0 + 1);
        let record = LedgerRecord {
            number: LedgerNumber(number),
            id: LedgerId(self.entropy.bytes()),
            name: name.clone(),
            origin: origin.clone(),
        };
        let keys = self.signing_keys.create(name)?;
        self.keystore.create_ledger(record.id, self.clock.now())?;
        let ledger = Arc::new(Ledger {
            continues,
            ..self.open(record, keys, Vec::new())?
        });
        self.begin_ledger(&ledger, recovery_key_hash).await?;
        let (size, note) = self.checkpoint(&ledger)?;
        self.keystore.vault().keep_checkpoint(ledger.record.id, size, &note)?;
        // IMPORTANT: known only now: nobody else's event may come to stand at index 0.
        self.ledgers.write().insert(name.clone(), Arc::clone(&ledger));
        Ok(ledger)
    }

    fn refuse_existing(&self, name: &LedgerName) -> Result<(), Error> {
        if self.ledgers.read().contains_key(name) {
            return Err(Error::new(
                Code::LedgerExists,
                format!("there is a ledger {name} already"),
            ));
        }
        Ok(())
    }

    /// Writes the event at index 0, which registers the ledger and announces its keys.
    ///
    /// # Errors
    /// Whatever appending may answer.
    async fn begin_ledger(&self, ledger: &Ledger, recovery_key_hash: Hash) -> Result<(), Error> {
        let created = LedgerCreated {
            ledger: ledger.record.name.clone(),
            origin: ledger.record.origin.clone(),
            keys: vec![
                AnnouncedKey::new(Role::Event, &ledger.event_key),
                AnnouncedKey::new(Role::Checkpoint, &ledger.checkpoint_key),
                AnnouncedKey::new(Role::Certificate, ledger.certificates.public()),
            ],
            recovery_key_hash,
            continues: ledger.continues.clone(),
        };
        let stream: StreamName = system_name("$ledger")?;
        let event = self.system_event("$ledger", LEDGER_CREATED, &created, None)?;
        let expected = vec![(stream, ExpectedVersion::NoStream)];
        self.append_system(ledger, expected, vec![event], Vec::new(), Vec::new())
            .await
            .map(drop)
    }
}
