//! Ledgers: what an open one is, and the events that it records of its own.

mod founding;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ed25519_dalek::SigningKey;
pub use founding::{CreatedLedger, NewLedger, RecoveryKey};
use serde::Serialize;

use super::append::is_own_type;
use super::epochs::EpochBook;
use super::erase::{Queue, Unended, Waits};
use super::fencing::{Fencing, Stamp};
use super::hold::HoldBook;
use super::own::Kept;
use super::{Code, Error, Service};
use crate::sequencer::{Fence, LedgerKeys, NewEvent};
use crate::spec::cose_receipt::ReceiptSigner;
use crate::spec::event::{BodyKind, Meta};
use crate::spec::ids::{EventRef, EventType, LedgerId, LedgerName, Origin};
use crate::spec::keys::{AnnouncedKey, Continued, LedgerCreated, Role};
use crate::spec::note::{KeyName, SignatureType, SignerKey, VerifierKey};
use crate::spec::signature::{Kind, PublicKey, Signer};
use crate::spec::system::{SystemType, is_reserved};
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
    /// Erasures whose blocks cannot all be found, because an event cannot be read: not looked for again before a new start.
    pub(crate) unpurged: parking_lot::Mutex<std::collections::HashSet<uuid::Uuid>>,
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
    /// To whom data of erased people went.
    pub(crate) recipients: super::erase::KnownRecipients,
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

impl Service {
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
            unpurged: parking_lot::Mutex::default(),
            redacted: super::erase::NextLook::default(),
            holds: Kept::default(),
            waits: Kept::default(),
            unended: Kept::new(Unended::under(self.purging.purge)),
            epochs: Kept::default(),
            recipients: super::erase::KnownRecipients::default(),
            retaining: tokio::sync::Mutex::new(()),
            authorities: super::removed::Authorities::default(),
        };
        self.sequencer
            .open_ledger(record, LedgerKeys { event, checkpoint }, fences)
            .map_err(|error| Error::new(Code::Damaged, error.to_string()).caused_by(error))?;
        Ok(ledger)
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
