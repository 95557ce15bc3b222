//! The manifest of a backup: what was copied, from when, and under which epoch its keys hang (docs/spec/13-backup.md).
//!
//! ```text
//! document = COSE_Sign1 (certificate key of one of the store's ledgers, kind backup) over the CBOR of [`Manifest`]
//! ```
//!
//! A backup without a whole manifest is none: it is written last. It holds no key and no personal data; files are named by
//! the engine. Out of scope: making a backup (`service::backup`) and putting it back (`app::restore`).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::checkpoint::Checkpoint;
use super::hash::Hash;
use super::ids::{LedgerId, LedgerName, Origin, Timestamp};
use super::note::Note;
use super::signature::{Kind, PublicKey, SignatureError, Verifier};

/// The format that manifests name.
pub const FORMAT: &str = "oubliette/backup/v1";

/// The most files of one backup.
const MAX_FILES: usize = 1 << 20;

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The backup's id.
    pub backup: Uuid,
    /// The store's id, which key store and vault repeat.
    pub store: LedgerId,
    /// When the copy was begun.
    pub taken_at: Timestamp,
    /// Every ledger of the store.
    pub ledgers: Vec<CopiedLedger>,
    /// Every file, by part and path.
    pub files: Vec<CopiedFile>,
}

/// A ledger as it was copied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopiedLedger {
    /// Its id in key store and vault.
    pub id: LedgerId,
    /// Its name.
    pub ledger: LedgerName,
    /// Its origin.
    pub origin: Origin,
    /// Its last checkpoint, a signed note.
    pub checkpoint: String,
    /// The epoch under which its keys hang.
    pub epoch: u32,
    /// The leaf index of the last erasure that the key store had applied; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<u64>,
}

impl CopiedLedger {
    /// The ledger's last checkpoint, its signature not verified.
    ///
    /// # Errors
    /// [`InvalidManifest`].
    pub fn head(&self) -> Result<Checkpoint, InvalidManifest> {
        let invalid = || InvalidManifest("a checkpoint is damaged");
        let note: Note = self.checkpoint.parse().map_err(|_| invalid())?;
        let head: Checkpoint = note.text().parse().map_err(|_| invalid())?;
        if head.origin.as_str() == self.origin.as_str() {
            Ok(head)
        } else {
            Err(InvalidManifest("a checkpoint is of another ledger"))
        }
    }
}

/// The two parts of a backup, which may lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The ledgers' store.
    Ledger,
    /// The key store.
    Keystore,
}

impl Part {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Ledger, Self::Keystore];

    /// The name of its folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Keystore => "keystore",
        }
    }
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopiedFile {
    /// Its part.
    pub part: Part,
    /// Its name in the part's folder: no folders within.
    pub name: Box<str>,
    /// Bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: Hash,
}

/// Why a manifest is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidManifest(pub &'static str);

impl Manifest {
    /// Opens a signed manifest and checks its form.
    ///
    /// # Errors
    /// [`SignatureError`] for another key, a damaged document, or one that breaks a rule.
    pub fn open(document: &[u8], key: &PublicKey) -> Result<Self, SignatureError> {
        let verifier = Verifier::new(Kind::Backup, key.clone());
        let manifest: Self = verifier.open_document(document)?;
        manifest
            .check()
            .map_err(|error| SignatureError::Malformed(error.to_string()))?;
        Ok(manifest)
    }

    /// The rules that the type does not say.
    fn check(&self) -> Result<(), InvalidManifest> {
        if self.format != FORMAT {
            return Err(InvalidManifest("another format"));
        }
        if self.ledgers.is_empty() || self.files.len() > MAX_FILES {
            return Err(InvalidManifest("no ledger, or too many files"));
        }
        self.ledgers.iter().try_for_each(|ledger| ledger.head().map(drop))?;
        // A name that leads elsewhere would be written elsewhere.
        let plain = |file: &CopiedFile| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
            (1..=255).contains(&file.name.len()) && file.name.bytes().all(allowed) && !file.name.starts_with('.')
        };
        if !self.files.iter().all(plain) {
            return Err(InvalidManifest("a file name with a folder or a strange sign in it"));
        }
        let ascending = self
            .files
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if (a.part, &a.name) < (b.part, &b.name)));
        if ascending {
            Ok(())
        } else {
            Err(InvalidManifest("files are not in order, or one stands twice"))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::spec::signature::Signer;
    use crate::spec::testing::TestLedger;

    fn manifest(ledger: &TestLedger) -> Manifest {
        let file = |part, name: &str| CopiedFile {
            part,
            name: name.into(),
            size: 1,
            sha256: Hash::from([3; 32]),
        };
        Manifest {
            format: FORMAT.into(),
            backup: Uuid::from_u128(1),
            store: LedgerId([7; 16]),
            taken_at: Timestamp(1_700_000_000_000_000),
            ledgers: vec![CopiedLedger {
                id: LedgerId([8; 16]),
                ledger: "main".parse().unwrap(),
                origin: ledger.origin.clone(),
                checkpoint: ledger.head(),
                epoch: 1,
                applied: None,
            }],
            files: vec![file(Part::Ledger, "000001.sst"), file(Part::Keystore, "000001.sst")],
        }
    }

    #[test]
    fn a_manifest_opens_under_its_key_alone_and_as_nothing_else() {
        let ledger = TestLedger::sample();
        let signer = Signer::new(Kind::Backup, ledger.certificate.clone()).unwrap();
        let document = signer.sign_document(&manifest(&ledger)).unwrap();
        assert_eq!(Manifest::open(&document, signer.public()).unwrap(), manifest(&ledger));
        let other = Signer::new(Kind::Manifest, ledger.certificate.clone()).unwrap();
        let of_a_bundle = other.sign_document(&manifest(&ledger)).unwrap();
        assert!(Manifest::open(&of_a_bundle, signer.public()).is_err());
        for at in (0..document.len()).step_by(7) {
            let mut flipped = document.clone();
            flipped[at] ^= 1;
            assert!(Manifest::open(&flipped, signer.public()).is_err(), "byte {at}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_and_rules_broken_are_refused() {
        let ledger = TestLedger::sample();
        let signer = Signer::new(Kind::Backup, ledger.certificate.clone()).unwrap();
        let refused = |what: &str, change: &dyn Fn(&mut Manifest)| {
            let mut changed = manifest(&ledger);
            change(&mut changed);
            let document = signer.sign_document(&changed).unwrap();
            assert!(Manifest::open(&document, signer.public()).is_err(), "{what}");
        };
        for name in ["../a", "a/b", "", ".", "..", ".hidden", "a\0", "/etc/passwd"] {
            refused(name, &|manifest| manifest.files[1].name = name.into());
        }
        refused("another format", &|manifest| manifest.format = "x".into());
        refused("no ledger", &|manifest| manifest.ledgers.clear());
        refused("another ledger's checkpoint", &|manifest| {
            manifest.ledgers[0].origin = "other.example/m".parse().unwrap();
        });
        refused("no order", &|manifest| manifest.files.reverse());
        refused("twice", &|manifest| manifest.files[1] = manifest.files[0].clone());
    }
}
