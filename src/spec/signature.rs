//! Signatures: COSE_Sign1 with Ed25519 over every header and every document (docs/spec/05-signatures.md).
//!
//! ```text
//! protected     = {1: -19 (Ed25519, RFC 9864), 3: content type, 4: key id}
//! Sig_structure = ["Signature1", protected, "oubliette/v1", payload]              RFC 9052, section 4.4
//! key id        = SHA-256({1: 1, -1: 6, -2: public key})                          RFC 9679 thumbprint
//! ```
//!
//! Everything before the 64 signature bytes is fixed by the key and the kind of object, so a verifier compares it with
//! what it must be: a foreign algorithm, an extra header or a signature made for another kind of object does not pass.
//! Verification is `verify_strict` under a canonical, torsion-free key. Batches accept another set of signatures and
//! serve only where a caller says so. Out of scope: which key may sign which index (`keys`).

use coset::iana::Algorithm;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use minicbor::Encoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::encoding::{self, EncodingError};
use super::hash::Hash;
use super::note::strict_public_key;

/// The external AAD of every signature.
const AAD: &[u8] = b"oubliette/v1";

/// The kinds of object that are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An event's header; the payload is detached.
    Header,
    /// A certificate of erasure.
    Certificate,
    /// A bundle's manifest.
    Manifest,
    /// A compliance report.
    Report,
    /// A backup's manifest.
    Backup,
}

impl Kind {
    /// The COSE content type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Header => "application/vnd.oubliette.header+cbor",
            Self::Certificate => "application/vnd.oubliette.certificate+cbor",
            Self::Manifest => "application/vnd.oubliette.manifest+cbor",
            Self::Report => "application/vnd.oubliette.report+cbor",
            Self::Backup => "application/vnd.oubliette.backup+cbor",
        }
    }
}

/// Why a signature does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A public key that is not canonical, weak, or not torsion-free.
    #[error("not a valid Ed25519 public key")]
    BadKey,
    /// Not a COSE_Sign1 of the expected form.
    #[error("not a signature of this kind: {0}")]
    Malformed(String),
    /// Signed by a key that is not among the known ones.
    #[error("signed by the unknown key {0}")]
    UnknownKey(String),
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Invalid,
    /// The signed payload is not a valid document.
    #[error("the signed document is not valid")]
    Document(#[from] EncodingError),
}

/// An Ed25519 public key that passed the checks, with its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: Hash,
}

impl PublicKey {
    /// Takes 32 bytes.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] unless they are the canonical encoding of a torsion-free point that is not weak.
    pub fn new(bytes: &[u8; 32]) -> Result<Self, SignatureError> {
        let key = strict_public_key(bytes).map_err(|_| SignatureError::BadKey)?;
        Ok(Self {
            key,
            id: thumbprint(bytes),
        })
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The COSE key thumbprint.
    pub fn id(&self) -> Hash {
        self.id
    }

    /// The dalek form.
    pub fn verifying_key(&self) -> &VerifyingKey {
        &self.key
    }
}

/// The COSE key thumbprint of an Ed25519 key (RFC 9679).
fn thumbprint(public: &[u8; 32]) -> Hash {
    let mut cose_key = Vec::with_capacity(42);
    let _ = Encoder::new(&mut cose_key)
        .map(3)
        .and_then(|e| e.i8(1)?.i8(1))
        .and_then(|e| e.i8(-1)?.i8(6))
        .and_then(|e| e.i8(-2)?.bytes(public));
    Hash::from(<[u8; 32]>::from(Sha256::digest(&cose_key)))
}

/// The bytes around payload and signature that (kind, key) fix, made once by the COSE library.
#[derive(Debug, Clone)]
struct Frame {
    /// Sig_structure up to, without, the payload's byte string.
    to_sign: Vec<u8>,
    /// Detached COSE_Sign1 up to, without, the 64 signature bytes.
    detached: Vec<u8>,
}

impl Frame {
    fn new(kind: Kind, key_id: &Hash) -> Self {
        let empty = cose(kind, key_id).signature(vec![0; 64]).build();
        let mut to_sign = empty.tbs_detached_data(&[], AAD);
        to_sign.pop(); // the empty byte string that stands for the payload
        let mut detached = empty.to_vec().unwrap_or_default();
        detached.truncate(detached.len().saturating_sub(64));
        Self { to_sign, detached }
    }

    fn message(&self, payload: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(self.to_sign.len() + payload.len() + 9);
        message.extend_from_slice(&self.to_sign);
        let _ = Encoder::new(&mut message).bytes(payload);
        message
    }
}

fn cose(kind: Kind, key_id: &Hash) -> CoseSign1Builder {
    let protected = HeaderBuilder::new()
        .algorithm(Algorithm::Ed25519)
        .content_type(kind.content_type().to_owned())
        .key_id(key_id.as_bytes().to_vec());
    CoseSign1Builder::new().protected(protected.build())
}

/// Signs one kind of object with one key.
pub struct Signer {
    key: SigningKey,
    public: PublicKey,
    kind: Kind,
    frame: Frame,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signer({:?}, {})", self.kind, self.public.id)
    }
}

impl Signer {
    /// Binds a key to a kind of object.
    ///
    /// # Errors
    /// [`SignatureError::BadKey`] if the public half is weak.
    pub fn new(kind: Kind, key: SigningKey) -> Result<Self, SignatureError> {
        let public = PublicKey::new(key.verifying_key().as_bytes())?;
        Ok(Self {
            frame: Frame::new(kind, &public.id),
            key,
            public,
            kind,
        })
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// A COSE_Sign1 over a payload that stands elsewhere.
    pub fn sign_detached(&self, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.frame.detached.len() + 64);
        out.extend_from_slice(&self.frame.detached);
        out.extend_from_slice(&self.key.sign(&self.frame.message(payload)).to_bytes());
        out
    }

    /// A COSE_Sign1 that carries the document.
    ///
    /// # Errors
    /// [`EncodingError`] if the document holds a float or null.
    pub fn sign_document<T: Serialize>(&self, document: &T) -> Result<Vec<u8>, EncodingError> {
        let payload = encoding::encode_document(document)?;
        let signature = self.key.sign(&self.frame.message(&payload)).to_bytes().to_vec();
        let object = cose(self.kind, &self.public.id)
            .payload(payload)
            .signature(signature)
            .build();
        object
            .to_vec()
            .map_err(|error| EncodingError::Malformed(error.to_string()))
    }
}

/// Verifies one kind of object under one key.
#[derive(Debug, Clone)]
pub struct Verifier {
    public: PublicKey,
    frame: Frame,
}

/// What a batch needs of one signature.
#[derive(Debug)]
pub struct Unverified<'k> {
    /// The signed bytes.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: Signature,
    /// The key.
    pub key: &'k VerifyingKey,
}

impl Verifier {
    /// Binds a public key to a kind of object.
    pub fn new(kind: Kind, public: PublicKey) -> Self {
        Self {
            frame: Frame::new(kind, &public.id),
            public,
        }
    }

    /// The public key.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Takes a detached signature apart after checking that it is by this key and for this kind.
    ///
    /// # Errors
    /// [`SignatureError::Malformed`] or [`SignatureError::UnknownKey`].
    pub fn unverified(&self, signature: &[u8], payload: &[u8]) -> Result<Unverified<'_>, SignatureError> {
        let bytes = signature
            .strip_prefix(self.frame.detached.as_slice())
            .and_then(|rest| rest.try_into().ok());
        let bytes: [u8; 64] = bytes.ok_or_else(|| self.diagnose(signature))?;
        Ok(Unverified {
            message: self.frame.message(payload),
            signature: Signature::from_bytes(&bytes),
            key: &self.public.key,
        })
    }

    /// Verifies a detached signature, strictly.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify_detached(&self, signature: &[u8], payload: &[u8]) -> Result<(), SignatureError> {
        let parts = self.unverified(signature, payload)?;
        parts
            .key
            .verify_strict(&parts.message, &parts.signature)
            .map_err(|_| SignatureError::Invalid)
    }

    /// Verifies a signed document and reads it.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn open_document<T: DeserializeOwned + Serialize>(&self, bytes: &[u8]) -> Result<T, SignatureError> {
        let (mut object, payload) = take_apart(bytes)?;
        object.payload = None;
        let detached = object
            .to_vec()
            .map_err(|error| SignatureError::Malformed(error.to_string()))?;
        self.verify_detached(&detached, &payload)?;
        Ok(encoding::decode_document(&payload)?)
    }

    fn diagnose(&self, signature: &[u8]) -> SignatureError {
        match key_id(signature) {
            Ok(id) if id != self.public.id => SignatureError::UnknownKey(id.to_string()),
            Ok(_) => SignatureError::Malformed("other algorithm, content type or headers than required".into()),
            Err(error) => error,
        }
    }
}

/// The key id that a COSE_Sign1 names, unverified.
///
/// # Errors
/// [`SignatureError::Malformed`].
pub fn key_id(signature: &[u8]) -> Result<Hash, SignatureError> {
    let object = CoseSign1::from_slice(signature).map_err(|error| SignatureError::Malformed(error.to_string()))?;
    Hash::try_from(object.protected.header.key_id.as_slice())
        .map_err(|_| SignatureError::Malformed("the key id is not 32 bytes".into()))
}

/// Reads a signed document without verifying it, to find out whose keys are needed.
///
/// # Errors
/// [`SignatureError::Malformed`] or [`SignatureError::Document`].
pub fn read_unverified<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, SignatureError> {
    Ok(encoding::decode_document(&take_apart(bytes)?.1)?)
}

fn take_apart(bytes: &[u8]) -> Result<(CoseSign1, Vec<u8>), SignatureError> {
    let malformed = |what: String| SignatureError::Malformed(what);
    let object = CoseSign1::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    if object.clone().to_vec().ok().as_deref() != Some(bytes) {
        return Err(malformed("not the deterministic encoding".into()));
    }
    let payload = object.payload.clone().ok_or_else(|| malformed("no payload".into()))?;
    Ok((object, payload))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn pair(kind: Kind, seed: u8) -> (Signer, Verifier) {
        let signer = Signer::new(kind, SigningKey::from_bytes(&[seed; 32])).unwrap();
        let verifier = Verifier::new(kind, signer.public().clone());
        (signer, verifier)
    }

    #[test]
    fn the_frame_is_what_the_cose_library_writes() {
        let (signer, _) = pair(Kind::Header, 1);
        for length in [0, 23, 24, 255, 256, 70_000] {
            let payload = vec![7; length];
            let object = cose(Kind::Header, &signer.public().id())
                .create_detached_signature(&payload, AAD, |message| signer.key.sign(message).to_bytes().to_vec())
                .build();
            assert_eq!(signer.sign_detached(&payload), object.to_vec().unwrap());
        }
    }

    #[test]
    fn a_signature_holds_for_its_payload_kind_and_key_alone() {
        let (signer, verifier) = pair(Kind::Header, 1);
        let signature = signer.sign_detached(b"header");
        assert_eq!(verifier.verify_detached(&signature, b"header"), Ok(()));
        assert_eq!(
            verifier.verify_detached(&signature, b"other"),
            Err(SignatureError::Invalid)
        );
        let (_, other_kind) = pair(Kind::Certificate, 1);
        assert!(matches!(
            other_kind.verify_detached(&signature, b"header"),
            Err(SignatureError::Malformed(_))
        ));
        let (_, other_key) = pair(Kind::Header, 2);
        assert!(matches!(
            other_key.verify_detached(&signature, b"header"),
            Err(SignatureError::UnknownKey(_))
        ));
    }

    #[test]
    fn every_flipped_bit_of_a_signature_is_found() {
        let (signer, verifier) = pair(Kind::Header, 1);
        let signature = signer.sign_detached(b"header");
        for bit in 0..signature.len() * 8 {
            let mut flipped = signature.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(verifier.verify_detached(&flipped, b"header").is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_document_opens_under_its_key_and_every_flipped_bit_is_found() {
        let (signer, verifier) = pair(Kind::Certificate, 1);
        let document = serde_json::json!({"subjects": [{"handle": "00"}], "count": 3});
        let signed = signer.sign_document(&document).unwrap();
        assert_eq!(verifier.open_document::<serde_json::Value>(&signed).unwrap(), document);
        for bit in 0..signed.len() * 8 {
            let mut flipped = signed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(
                verifier.open_document::<serde_json::Value>(&flipped).is_err(),
                "bit {bit}"
            );
        }
    }

    #[test]
    fn weak_and_mixed_order_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(PublicKey::new(&identity), Err(SignatureError::BadKey));
        let mut high = [0xff; 32];
        high[31] = 0x7f;
        assert_eq!(PublicKey::new(&high), Err(SignatureError::BadKey));
        let good = SigningKey::from_bytes(&[1; 32]).verifying_key().to_edwards();
        let torsion = ed25519_dalek::VerifyingKey::from_bytes(&[0; 32]).unwrap().to_edwards();
        assert_eq!(
            PublicKey::new((good + torsion).compress().as_bytes()),
            Err(SignatureError::BadKey)
        );
    }
}
