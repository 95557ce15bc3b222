//! Ledgers: what an open one is, and how a new one begins.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::append::is_own_type;
use super::epochs::EpochBook;
use super::erase::{Queue, Unended, Waits};
use super::fencing::{Fencing, Stamp};
use super::hold::HoldBook;
use super::own::Kept;
use super::{Code, Error, Service};
use crate::sequencer::{ExpectedVersion, Fence, LedgerKeys, NewEvent};
use crate::spec::cose_receipt::ReceiptSigner;
use crate::spec::event::{BodyKind, Meta};
use crate::spec::hash::Hash;
use crate::spec::ids::{EventRef, EventType, InvalidId, LedgerId, LedgerName, Origin, StreamName};
use crate::spec::keys::{AnnouncedKey, Continued, LEDGER_CREATED, LedgerCreated, Role};
use crate::spec::note::{KeyName, SignatureType, SignerKey, VerifierKey};
use crate::spec::signature::{Kind, PublicKey, Signer};
use crate::spec::system::{SystemType, is_reserved};
use crate::store::{LedgerNumber, LedgerRecord};

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
    /// Signs reports.
    pub(crate) reports: Signer,
    /// Signs backups.
    pub(crate) backups: Signer,
    /// Signs COSE receipts.
    pub(crate) receipts: ReceiptSigner,
    /// Verifies its checkpoints.
    pub(crate) checkpoint_verifier: VerifierKey,
    /// The logs that this one goes on from.
    pub(crate) continues: Vec<Continued>,
    /// The log that goes on from this one.
    pub(crate) heir: Option<Arc<Self>>,
    /// Whether an erasure broke off and must be taken up again.
    pub(crate) unfinished: AtomicBool,
    /// Whether an erasure waits: for an approval, a hold, or the end of its grace.
    pub(crate) waiting: AtomicBool,
    /// The erasures that wait.
    pub(crate) erasing: Queue,
    /// Whether an act may be recorded and not carried out.
    pub(crate) unsettled: AtomicBool,
    /// Whether an epoch key may be destroyed and that not recorded.
    pub(crate) unrecorded: AtomicBool,
    /// Moves with every step that takes keys away.
    pub(crate) fencing: Fencing,
    /// The last newcomer looked at, see `newcomers`.
    pub(super) newcomers: parking_lot::Mutex<Option<crate::spec::ids::Handle>>,
    /// When to look for residues of erasures.
    pub(crate) residues: super::erase::NextLook,
    /// When to look for redactions that are not completed.
    pub(crate) redacted: super::erase::NextLook,
    /// Its legal holds.
    pub(crate) holds: Kept<HoldBook>,
    /// Erasures that wait.
    pub(crate) waits: Kept<Waits>,
    /// Erasures with something still to be done.
    pub(crate) unended: Kept<Unended>,
    /// Its epochs.
    pub(crate) epochs: Kept<EpochBook>,
    /// Held by a run of retention.
    pub(crate) retaining: tokio::sync::Mutex<()>,
    /// What removed bodies, as read last.
    pub(crate) authorities: super::removed::Authorities,
}

/// A public key as `GET /keys` shows it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
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
    /// What was made under one stamp, and leaves under it, was made with the same keys.
    pub fn stamp(&self) -> Stamp {
        self.fencing.stamp()
    }

    /// Whether this log was rolled back and another goes on from it: it is read, and never grows again.
    pub fn is_frozen(&self) -> bool {
        self.heir.is_some()
    }

    /// The log that records what happens to this one: itself, or the last that goes on from it.
    pub(crate) fn log(&self) -> &Self {
        self.heir.as_ref().map_or(self, |heir| heir.log())
    }

    /// The logs that go on from this one, the next first.
    pub(crate) fn heirs(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(self.heir.as_deref(), |ledger| ledger.heir.as_deref())
    }

    /// What whoever would add to this log is told.
    pub(crate) fn frozen(&self) -> Error {
        let log = &self.log().record;
        let detail = format!(
            "this log was rolled back and is frozen; {} ({}) goes on from it",
            log.name, log.origin
        );
        Error::new(Code::LedgerFrozen, detail)
    }

    /// What an own event says about this log: where another records it, its origin stands beside.
    pub(crate) fn told(&self, mut data: serde_json::Value) -> serde_json::Value {
        if let (true, Some(members)) = (self.is_frozen(), data.as_object_mut()) {
            members.insert("origin".into(), self.record.origin.as_str().into());
        }
        data
    }

    /// Makes an answer until no key of this ledger was taken away meanwhile.
    ///
    /// # Errors
    /// Whatever making it may answer.
    pub fn unfenced<T>(&self, make: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        self.fencing.unfenced(make)
    }

    /// The checkpoint key as a note key.
    pub fn vkey(&self) -> String {
        vkey(&self.record.origin, &self.checkpoint_key)
    }

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
fn vkey(origin: &Origin, key: &PublicKey) -> String {
    let name = origin.as_str().parse::<KeyName>();
    let key = name.and_then(|name| VerifierKey::new(name, SignatureType::Ed25519, key.as_bytes()));
    key.map(|key| key.to_string()).unwrap_or_default()
}

/// Where signing keys live.
pub trait SigningKeyStore: Send + Sync {
    /// The keys of a registered ledger.
    ///
    /// # Errors
    /// `key_unavailable`, naming the file.
    fn load(&self, ledger: &LedgerName) -> Result<SigningKeys, Error>;

    /// Mints keys for a new ledger; durable when it returns. Keys that are there already are not replaced.
    ///
    /// # Errors
    /// `key_unavailable`, naming the file.
    fn create(&self, ledger: &LedgerName) -> Result<SigningKeys, Error>;
}

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
        let base = super::rollback::family_of(&first.record.origin).0;
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
    pub(super) fn mint_recovery_key(&self) -> Result<(Hash, Option<RecoveryKey>), Error> {
        let secret = Zeroizing::new(self.entropy.bytes());
        let public = PublicKey::new(SigningKey::from_bytes(&secret).verifying_key().as_bytes());
        let public = public.map_err(super::access::internal)?;
        Ok((hash_of(&public), Some(Zeroizing::new(hex::encode(*secret)))))
    }

    /// Makes a ledger whose first event announces this hash, and names the logs that it goes on from.
    ///
    /// # Errors
    /// As [`Service::create_ledger`].
    pub(super) async fn found(
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

    /// The ledgers in the store, open or not.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn registered_ledgers(&self) -> Result<Vec<LedgerRecord>, Error> {
        Ok(self.store.ledgers()?)
    }

    /// The key store's fences of a ledger.
    ///
    /// # Errors
    /// If the key store cannot be read.
    pub fn key_fences(&self, ledger: LedgerId) -> Result<Vec<crate::keystore::Fence>, Error> {
        Ok(self.keystore.fences(ledger)?)
    }

    /// The checkpoint that the vault keeps of a ledger.
    ///
    /// # Errors
    /// If the vault cannot be read.
    pub fn kept_checkpoint(&self, ledger: &Ledger) -> Result<Option<(u64, String)>, Error> {
        Ok(self.keystore.vault().checkpoint(ledger.record.id)?)
    }

    /// Opens a registered ledger with its signing keys. A log that goes on from another must be open before that one, which
    /// has no keys of its own any more.
    ///
    /// # Errors
    /// If the store's rows contradict each other, or a key is not the announced one.
    pub fn open_ledger(&self, record: LedgerRecord, fences: Vec<Fence>) -> Result<(), Error> {
        let heir = self.heir_of(&record.origin);
        let name = record.name.clone();
        let keys = match &heir {
            Some(heir) => self.signing_keys.load(&heir.log().record.name)?,
            None => self.signing_keys.load(&name)?,
        };
        let mut ledger = self.open(record, keys, fences)?;
        ledger.heir = heir;
        let announced = self.announced_keys(&ledger)?;
        let own = [
            (Role::Event, &ledger.event_key),
            (Role::Checkpoint, &ledger.checkpoint_key),
            (Role::Certificate, ledger.certificates.public()),
        ];
        for (role, key) in own {
            if announced.key(role).ok().as_ref() != Some(key) {
                let detail = format!(
                    "the {role:?} key of ledger {name} in the keys folder is not the one that the ledger announces"
                );
                return Err(Error::new(Code::KeyUnavailable, detail));
            }
        }
        ledger.continues = announced.continues;
        self.ledgers.write().insert(name, Arc::new(ledger));
        Ok(())
    }

    /// Opens a registered ledger with keys that are not its own: it can be read, and nothing that is signed with them is ever
    /// taken for its own.
    ///
    /// # Errors
    /// If the store's rows contradict each other.
    pub fn open_to_read(&self, record: LedgerRecord, keys: SigningKeys) -> Result<(), Error> {
        let name = record.name.clone();
        let ledger = self.open(record, keys, Vec::new())?;
        self.ledgers.write().insert(name, Arc::new(ledger));
        Ok(())
    }

    /// The open log that goes on from a log of this origin.
    pub(super) fn heir_of(&self, origin: &Origin) -> Option<Arc<Ledger>> {
        let ledgers = self.ledgers.read();
        let goes_on = |ledger: &&Arc<Ledger>| ledger.continues.iter().any(|continued| continued.origin == *origin);
        ledgers.values().find(goes_on).cloned()
    }

    fn announced_keys(&self, ledger: &Ledger) -> Result<LedgerCreated, Error> {
        let first = self.stored_event(ledger, 0)?;
        let damaged = || Error::new(Code::Damaged, "the event at index 0 is damaged");
        let data = first.data().ok_or_else(damaged)?;
        serde_json::from_slice(&data.bytes).map_err(|error| damaged().caused_by(error))
    }

    fn open(&self, record: LedgerRecord, keys: SigningKeys, fences: Vec<Fence>) -> Result<Ledger, Error> {
        let bad = |error| Error::new(Code::KeyUnavailable, "a signing key is not valid").caused_by(error);
        let event = Signer::new(Kind::Header, keys.event).map_err(bad)?;
        let checkpoint_key = PublicKey::new(keys.checkpoint.verifying_key().as_bytes()).map_err(bad)?;
        let name = record.origin.as_str().parse().map_err(super::access::internal)?;
        let receipts = ReceiptSigner::new(keys.checkpoint.clone()).map_err(bad)?;
        let checkpoint = SignerKey::new(name, keys.checkpoint);
        let ledger = Ledger {
            event_key: event.public().clone(),
            checkpoint_key,
            certificates: Signer::new(Kind::Certificate, keys.certificate.clone()).map_err(bad)?,
            manifests: Signer::new(Kind::Manifest, keys.certificate.clone()).map_err(bad)?,
            reports: Signer::new(Kind::Report, keys.certificate.clone()).map_err(bad)?,
            backups: Signer::new(Kind::Backup, keys.certificate).map_err(bad)?,
            receipts,
            checkpoint_verifier: checkpoint.verifier().clone(),
            record: record.clone(),
            continues: Vec::new(),
            heir: None,
            unfinished: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            erasing: Queue::default(),
            unsettled: AtomicBool::new(false),
            unrecorded: AtomicBool::new(false),
            newcomers: parking_lot::Mutex::default(),
            fencing: Fencing::new(self.clock.now()),
            residues: super::erase::NextLook::default(),
            redacted: super::erase::NextLook::default(),
            holds: Kept::default(),
            waits: Kept::default(),
            unended: Kept::new(Unended::under(self.purging.purge)),
            epochs: Kept::default(),
            retaining: tokio::sync::Mutex::new(()),
            authorities: super::removed::Authorities::default(),
        };
        self.sequencer
            .open_ledger(record, LedgerKeys { event, checkpoint }, fences)
            .map_err(|error| Error::new(Code::Damaged, error.to_string()).caused_by(error))?;
        Ok(ledger)
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

    /// One of Oubliette's own events, public data only.
    pub(crate) fn system_event(
        &self,
        stream: &'static str,
        event_type: &'static str,
        data: &impl Serialize,
        correlation_id: Option<String>,
    ) -> Result<NewEvent, Error> {
        let event_type: EventType = system_name(event_type)?;
        // What callers could write too says nothing, and a reserved type that verifiers do not know spoils their verdict.
        let is_known = !is_reserved(&event_type) || SystemType::from_type(&event_type).is_some();
        if !is_own_type(&event_type) || !is_known {
            let detail = format!("{event_type} is no type of Oubliette's own");
            return Err(Error::new(Code::Internal, detail));
        }
        let data = serde_json::to_vec(data).map_err(super::access::internal)?;
        let mut meta = Meta::new(self.fresh_id(), system_name(stream)?);
        meta.actor = Some(crate::spec::event::Actor::Name("oubliette".into()));
        meta.correlation_id = correlation_id.map(Into::into);
        Ok(NewEvent {
            event_ref: EventRef(self.entropy.bytes()),
            event_type,
            schema_version: 1,
            bodies: vec![
                self.body(BodyKind::Meta, meta.encode()),
                self.body(BodyKind::Data, data),
            ],
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
