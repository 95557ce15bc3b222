//! Ledgers: what an open one is, and how a new one begins.

use ed25519_dalek::SigningKey;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{Code, Error, Service};
use crate::sequencer::{ExpectedVersion, Fence, LedgerKeys, NewEvent};
use crate::spec::event::{Body, BodyKind, Meta};
use crate::spec::hash::Hash;
use crate::spec::ids::{EventRef, LedgerName, Origin, StreamName};
use crate::spec::keys::{AnnouncedKey, LEDGER_CREATED, LedgerCreated, Role};
use crate::spec::note::SignerKey;
use crate::spec::signature::{Kind, PublicKey, Signer, Verifier};
use crate::store::LedgerRecord;

/// A ledger's private keys, by role.
pub struct SigningKeys {
    /// Signs headers.
    pub event: SigningKey,
    /// Signs checkpoints.
    pub checkpoint: SigningKey,
    /// Signs certificates and manifests.
    pub certificate: SigningKey,
}

/// An open ledger: its names and the keys that the service itself needs.
#[derive(Debug)]
pub struct Ledger {
    /// As registered.
    pub record: LedgerRecord,
    /// The event key.
    pub event_key: PublicKey,
    /// The checkpoint key.
    pub checkpoint_key: PublicKey,
    /// Signs certificates.
    pub(crate) certificates: Signer,
    /// Signs manifests.
    pub(crate) manifests: Signer,
    /// Verifies headers.
    pub(crate) headers: Verifier,
}

/// A public key as `GET /keys` shows it.
#[derive(Debug, Serialize)]
pub struct PublishedKey {
    /// As `ledger.created` announces it.
    #[serde(flatten)]
    pub key: AnnouncedKey,
    /// First index in its range.
    pub from: u64,
    /// First index after its range; absent: still in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
    /// As a note key: `name+id+base64`. Checkpoints are verified with the checkpoint key's.
    pub vkey: String,
}

impl Ledger {
    /// The public keys.
    pub fn keys(&self) -> Vec<PublishedKey> {
        let roles = [
            (Role::Event, &self.event_key),
            (Role::Checkpoint, &self.checkpoint_key),
            (Role::Certificate, self.certificates.public()),
        ];
        let published = |(role, key): (Role, &PublicKey)| PublishedKey {
            key: AnnouncedKey::new(role, key),
            from: 0,
            to: None,
            vkey: vkey(&self.record.origin, key),
        };
        roles.into_iter().map(published).collect()
    }
}

/// A public key as a note key named by the origin.
pub fn vkey(origin: &Origin, key: &PublicKey) -> String {
    crate::spec::note::VerifierKey::ed25519(origin.as_str(), key).map(|key| key.to_string()).unwrap_or_default()
}

impl Service {
    /// Makes a ledger known, registered or new: key store rows, writer, name.
    ///
    /// # Errors
    /// If the store's rows contradict each other, or a key is not valid.
    pub fn open_ledger(&self, record: LedgerRecord, keys: SigningKeys, fences: Vec<Fence>) -> Result<(), Error> {
        let bad = |error| Error::new(Code::KeyUnavailable, "a signing key is not valid").caused_by(error);
        self.keystore.create_ledger(record.id)?;
        let event = Signer::new(Kind::Header, keys.event).map_err(bad)?;
        let checkpoint_key = PublicKey::new(keys.checkpoint.verifying_key().as_bytes()).map_err(bad)?;
        let checkpoint = SignerKey::new(record.origin.as_str(), keys.checkpoint)
            .map_err(|error| Error::new(Code::KeyUnavailable, "the checkpoint key is not valid").caused_by(error))?;
        let ledger = Ledger {
            event_key: event.public().clone(),
            headers: Verifier::new(Kind::Header, event.public().clone()),
            checkpoint_key,
            certificates: Signer::new(Kind::Certificate, keys.certificate.clone()).map_err(bad)?,
            manifests: Signer::new(Kind::Manifest, keys.certificate).map_err(bad)?,
            record: record.clone(),
        };
        self.sequencer
            .open_ledger(record.clone(), LedgerKeys { event, checkpoint }, fences)
            .map_err(|error| Error::new(Code::Damaged, error.to_string()).caused_by(error))?;
        self.ledgers.write().insert(record.name, std::sync::Arc::new(ledger));
        Ok(())
    }

    /// Writes the event at index 0, which registers the ledger and announces its keys.
    ///
    /// # Errors
    /// Whatever appending may answer.
    pub async fn begin_ledger(&self, name: &LedgerName, recovery_key: &PublicKey) -> Result<(), Error> {
        let ledger = self.ledger(name)?;
        let created = LedgerCreated {
            ledger: name.clone(),
            origin: ledger.record.origin.clone(),
            keys: vec![
                AnnouncedKey::new(Role::Event, &ledger.event_key),
                AnnouncedKey::new(Role::Checkpoint, &ledger.checkpoint_key),
                AnnouncedKey::new(Role::Certificate, ledger.certificates.public()),
            ],
            recovery_key_hash: Hash::from(<[u8; 32]>::from(Sha256::digest(recovery_key.as_bytes()))),
        };
        let stream: StreamName = system_name("$ledger")?;
        let event = self.system_event("$ledger", LEDGER_CREATED, &created, None)?;
        let expected = vec![(stream, ExpectedVersion::NoStream)];
        self.append_system(&ledger, expected, vec![event], Vec::new(), Vec::new()).await.map(drop)
    }

    /// One of Oubliette's own events, public data only.
    pub(crate) fn system_event(
        &self,
        stream: &'static str,
        event_type: &'static str,
        data: &impl Serialize,
        correlation_id: Option<String>,
    ) -> Result<NewEvent, Error> {
        let data = serde_json::to_vec(data).map_err(super::access::internal)?;
        let mut meta = Meta::new(self.fresh_id(), system_name(stream)?);
        meta.actor = Some(crate::spec::event::Actor::Name("oubliette".into()));
        meta.correlation_id = correlation_id.map(Into::into);
        let body = |kind, bytes| {
            let body = Body { kind, salt: self.entropy.bytes(), bytes };
            let hash = body.commitment().hash;
            (body, hash)
        };
        Ok(NewEvent {
            event_ref: EventRef(self.entropy.bytes()),
            event_type: system_name(event_type)?,
            schema_version: 1,
            bodies: vec![body(BodyKind::Meta, meta.encode()), body(BodyKind::Data, data)],
            meta,
            subjects: Vec::new(),
            caller_chose_id: false,
        })
    }

    /// A fresh event id: UUIDv7 of our own clock and generator.
    pub(crate) fn fresh_id(&self) -> uuid::Uuid {
        let millis = self.clock.now().0 / 1_000;
        uuid::Builder::from_unix_timestamp_millis(millis, &self.entropy.bytes()).into_uuid()
    }
}

/// Our own names are valid; the type says so all the same.
pub(crate) fn system_name<T: std::str::FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    name: &'static str,
) -> Result<T, Error> {
    name.parse().map_err(super::access::internal)
}
