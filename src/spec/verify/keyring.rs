//! The keys of a ledger, as its first event announces them (docs/spec/06-keys.md).

use crate::spec::event::{BodyKind, Header};
use crate::spec::ids::Origin;
use crate::spec::keys::{LEDGER_CREATED, LedgerCreated, Role};
use crate::spec::note::{KeyName, SignatureType, VerifierKey};
use crate::spec::signature::{Kind, SignatureError, Verifier};

use super::record::Record;

/// Who may sign what in one ledger. In this version each role has one key for all indexes.
#[derive(Debug, Clone)]
pub struct Keyring {
    origin: Origin,
    name: KeyName,
    event: Verifier,
    certificate: Verifier,
    manifest: Verifier,
    report: Verifier,
    checkpoint: VerifierKey,
}

impl Keyring {
    /// The keys that `ledger.created` announces.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] unless there is one valid key for each role.
    pub fn new(created: &LedgerCreated) -> Result<Self, SignatureError> {
        let certificate = created.key(Role::Certificate)?;
        let name: KeyName = created.origin.as_str().parse().map_err(|_| SignatureError::BadKey)?;
        let checkpoint = created.key(Role::Checkpoint)?;
        let checkpoint = VerifierKey::new(name.clone(), SignatureType::Ed25519, checkpoint.as_bytes());
        Ok(Self {
            origin: created.origin.clone(),
            name,
            event: Verifier::new(Kind::Header, created.key(Role::Event)?),
            manifest: Verifier::new(Kind::Manifest, certificate.clone()),
            report: Verifier::new(Kind::Report, certificate.clone()),
            certificate: Verifier::new(Kind::Certificate, certificate),
            checkpoint: checkpoint.map_err(|_| SignatureError::BadKey)?,
        })
    }

    /// The keys from the event at index 0. What the signature, the commitment and the rest of the event are worth is
    /// checked with all other events.
    ///
    /// # Errors
    /// A sentence that says why this is no `ledger.created`.
    pub fn from_first(record: &Record) -> Result<Self, String> {
        let header = Header::decode(&record.header).map_err(|error| format!("its header is {error}"))?;
        if record.index != 0 || header.index != 0 || header.event_type.as_str() != LEDGER_CREATED {
            return Err(format!("{} at index {}", header.event_type, header.index));
        }
        let ordinal = header.bodies.iter().position(|body| body.kind == BodyKind::Data);
        let data = record
            .bodies
            .iter()
            .find(|body| Some(usize::from(body.ordinal)) == ordinal);
        let data = data.ok_or("its data is absent")?;
        let created = LedgerCreated::read(&data.bytes).map_err(|error| format!("its data: {error}"))?;
        if created.origin != header.origin {
            return Err(format!(
                "its header names {}, its data {}",
                header.origin, created.origin
            ));
        }
        Self::new(&created).map_err(|error| format!("its keys: {error}"))
    }

    /// The ledger.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The ledger, as notes name it.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The key that signs the event at this index.
    pub fn event_key(&self, _index: u64) -> &Verifier {
        &self.event
    }

    /// The key that signs certificates.
    pub fn certificate_key(&self) -> &Verifier {
        &self.certificate
    }

    /// The key that signs manifests.
    pub fn manifest_key(&self) -> &Verifier {
        &self.manifest
    }

    /// The key that signs reports.
    pub fn report_key(&self) -> &Verifier {
        &self.report
    }

    /// The key that signs checkpoints.
    pub fn checkpoint_key(&self) -> &VerifierKey {
        &self.checkpoint
    }

    /// Whether one of these keys, under the ledger's name, is its checkpoint key or its event key.
    ///
    /// Either vouches for all keys: the event key signs `ledger.created`, the checkpoint key the root over it. The
    /// certificate key is only named there, without proof that its owner agrees, and so vouches for nothing.
    pub fn is_among(&self, pinned: &[VerifierKey]) -> bool {
        let own = [self.checkpoint.public_key(), self.event.public().as_bytes()];
        pinned.iter().any(|key| {
            key.signature_type() == SignatureType::Ed25519
                && *key.name() == self.name
                && own.contains(&key.public_key())
        })
    }
}
