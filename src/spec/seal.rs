//! Sealed blocks: personal data under a subject's key (docs/spec/07-sealed-blocks.md).
//!
//! ```text
//! aad        = CBOR [suite, origin, event ref, ordinal, handle, category, generation]
//! PRK        = HKDF-Extract(salt, subject key)                                   RFC 5869, SHA-256
//! block key  = HKDF-Expand(PRK,       "oubliette/v1/block-key"        || SHA-256(aad), 32)
//! nonce      = HKDF-Expand(block key, "oubliette/v1/block-nonce"      || SHA-256(aad), 12)
//! commitment = HKDF-Expand(block key, "oubliette/v1/block-commitment" || SHA-256(aad), 32)
//! ciphertext = AES-256-GCM(block key, nonce, aad, pad(plaintext)), tag last
//! ```
//!
//! The random salt makes every block key fresh, so a nonce is never used twice under one key. The key commitment is
//! checked before anything is decrypted, since AES-GCM alone does not bind a ciphertext to one key. A subject's keys
//! are never derived: whoever destroys the subject key has destroyed every block key. Out of scope: where keys live
//! (`keystore`).

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use hkdf::Hkdf;
use minicbor::encode::Write;
use minicbor::{Decoder, Encoder};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::encoding::{self, EncodingError, SUITE, Written};
use super::ids::{Category, EventRef, Handle, Origin};

/// The length of an AES-GCM tag.
const TAG: usize = 16;
/// The shortest padded text.
const MIN_PADDED: usize = 64;

/// A subject's key for one category and generation: 32 random bytes.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(transparent)]
pub struct SubjectKey([u8; 32]);

/// The key of a single block, derived. Handing it over discloses that block and no other.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct BlockKey([u8; 32]);

macro_rules! secret {
    ($name:ident) => {
        impl $name {
            /// Takes the 32 secret bytes.
            pub const fn new(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The secret bytes, for wrapping and derivation only.
            pub const fn expose(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}
secret!(SubjectKey);
secret!(BlockKey);

/// Where a block stands; bound as AAD, so that no block can be moved.
#[derive(Debug, Clone, Copy)]
pub struct BlockContext<'a> {
    /// The ledger's origin.
    pub origin: &'a Origin,
    /// The event that carries the block.
    pub event_ref: EventRef,
    /// The block's position in the header's list of bodies, from 0.
    pub ordinal: u16,
    /// The data subject.
    pub handle: Handle,
    /// The category of the data.
    pub category: &'a Category,
    /// The generation of the subject's key in this category, from 1.
    pub generation: u32,
}

impl BlockContext<'_> {
    fn aad(&self) -> Vec<u8> {
        let mut aad = Vec::with_capacity(96 + self.origin.as_str().len());
        let _ = Encoder::new(&mut aad)
            .array(7)
            .and_then(|e| e.u64(SUITE))
            .and_then(|e| e.str(self.origin.as_str()))
            .and_then(|e| e.bytes(self.event_ref.as_bytes()))
            .and_then(|e| e.u16(self.ordinal))
            .and_then(|e| e.bytes(self.handle.as_bytes()))
            .and_then(|e| e.str(self.category.as_str()))
            .and_then(|e| e.u32(self.generation));
        aad
    }
}

/// A sealed block, the body that a header commits to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBlock {
    /// The data subject.
    pub handle: Handle,
    /// The category of the data.
    pub category: Category,
    /// The generation of the subject's key, from 1.
    pub generation: u32,
    /// The HKDF salt.
    pub salt: [u8; 32],
    /// The key commitment.
    pub commitment: [u8; 32],
    /// Padded ciphertext with its 16-byte tag.
    pub ciphertext: Vec<u8>,
}

impl SealedBlock {
    /// Deterministic CBOR `{1: suite, 2: handle, 3: category, 4: generation, 5: salt, 6: commitment, 7: ciphertext}`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(160 + self.ciphertext.len());
        let _ = self.write(&mut Encoder::new(&mut out));
        out
    }

    fn write<W: Write>(&self, e: &mut Encoder<W>) -> Written<W> {
        e.map(7)?;
        e.u8(1)?.u64(SUITE)?;
        e.u8(2)?.bytes(self.handle.as_bytes())?;
        e.u8(3)?.str(self.category.as_str())?;
        e.u8(4)?.u32(self.generation)?;
        e.u8(5)?.bytes(&self.salt)?;
        e.u8(6)?.bytes(&self.commitment)?;
        e.u8(7)?.bytes(&self.ciphertext)?;
        Ok(())
    }

    /// Reads the canonical form.
    ///
    /// # Errors
    /// [`EncodingError`] for anything that `encode` would not have written of a block that [`seal`] made.
    pub fn decode(bytes: &[u8]) -> Result<Self, EncodingError> {
        let mut d = Decoder::new(bytes);
        encoding::expect_map(&mut d, 7)?;
        encoding::expect_suite(&mut d)?;
        encoding::expect_key(&mut d, 2)?;
        let handle = Handle(encoding::array(d.bytes()?)?);
        encoding::expect_key(&mut d, 3)?;
        let category = encoding::parse(d.str()?)?;
        encoding::expect_key(&mut d, 4)?;
        let generation = d.u32()?;
        encoding::expect_key(&mut d, 5)?;
        let salt = encoding::array(d.bytes()?)?;
        encoding::expect_key(&mut d, 6)?;
        let commitment = encoding::array(d.bytes()?)?;
        encoding::expect_key(&mut d, 7)?;
        let ciphertext = d.bytes()?.to_vec();
        if generation == 0 {
            return Err(EncodingError::Malformed("generation 0: they count from 1".into()));
        }
        if !is_padded(ciphertext.len()) {
            let what = format!("a ciphertext of {} bytes, which is no padded length", ciphertext.len());
            return Err(EncodingError::Malformed(what));
        }
        let block = Self {
            handle,
            category,
            generation,
            salt,
            commitment,
            ciphertext,
        };
        encoding::written_again(bytes, |e| block.write(e))?;
        Ok(block)
    }
}

/// Why a block does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The block names another subject, category or generation than its place.
    #[error("the block does not belong in this place")]
    WrongPlace,
    /// The key is not the one that sealed the block, or the block was moved.
    #[error("the key does not match the block's key commitment")]
    WrongKey,
    /// The ciphertext does not authenticate.
    #[error("the ciphertext was altered")]
    Altered,
}

/// Derives the key of one block.
pub fn block_key(key: &SubjectKey, context: &BlockContext<'_>, salt: &[u8; 32]) -> BlockKey {
    derive_block_key(key, salt, &Sha256::digest(context.aad()).into())
}

/// Seals `plaintext` under a subject's key. `salt` must be fresh random bytes for every block.
pub fn seal(key: &SubjectKey, context: &BlockContext<'_>, salt: [u8; 32], plaintext: &[u8]) -> SealedBlock {
    let aad = context.aad();
    let digest: [u8; 32] = Sha256::digest(&aad).into();
    let block_key = derive_block_key(key, &salt, &digest);
    let (nonce, commitment) = derive_nonce_and_commitment(&block_key, &digest);
    let padded = pad(plaintext);
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(block_key.0));
    // AES-GCM fails only past 64 GiB, far above any limit of this format; an empty ciphertext opens nowhere.
    let ciphertext = cipher
        .encrypt(
            &Nonce::from(nonce),
            Payload {
                msg: &padded,
                aad: &aad,
            },
        )
        .unwrap_or_default();
    SealedBlock {
        handle: context.handle,
        category: context.category.clone(),
        generation: context.generation,
        salt,
        commitment,
        ciphertext,
    }
}

/// Opens a block with its subject's key.
///
/// # Errors
/// [`OpenError`]; nothing of the plaintext leaves on failure.
pub fn open(
    key: &SubjectKey,
    context: &BlockContext<'_>,
    block: &SealedBlock,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    open_with_block_key(&block_key(key, context, &block.salt), context, block)
}

/// Opens a block with its own key alone (selective disclosure).
///
/// # Errors
/// As [`open`].
pub fn open_with_block_key(
    block_key: &BlockKey,
    context: &BlockContext<'_>,
    block: &SealedBlock,
) -> Result<Zeroizing<Vec<u8>>, OpenError> {
    let same_place =
        context.handle == block.handle && *context.category == block.category && context.generation == block.generation;
    if !same_place {
        return Err(OpenError::WrongPlace);
    }
    let aad = context.aad();
    let (nonce, commitment) = derive_nonce_and_commitment(block_key, &Sha256::digest(&aad).into());
    if commitment != block.commitment {
        return Err(OpenError::WrongKey);
    }
    let cipher = Aes256Gcm::new(&Key::<Aes256Gcm>::from(block_key.0));
    let padded = cipher
        .decrypt(
            &Nonce::from(nonce),
            Payload {
                msg: &block.ciphertext,
                aad: &aad,
            },
        )
        .map_err(|_| OpenError::Altered)?;
    unpad(Zeroizing::new(padded)).ok_or(OpenError::Altered)
}

fn derive_block_key(key: &SubjectKey, salt: &[u8; 32], digest: &[u8; 32]) -> BlockKey {
    let prk = Hkdf::<Sha256>::new(Some(salt), &key.0);
    let mut block_key = BlockKey([0; 32]);
    expand(&prk, b"oubliette/v1/block-key", digest, &mut block_key.0);
    block_key
}

fn derive_nonce_and_commitment(block_key: &BlockKey, digest: &[u8; 32]) -> ([u8; 12], [u8; 32]) {
    let mut nonce = [0; 12];
    let mut commitment = [0; 32];
    // 32 bytes are exactly one SHA-256 output, which is what Expand takes as its pseudo-random key.
    if let Ok(prk) = Hkdf::<Sha256>::from_prk(&block_key.0) {
        expand(&prk, b"oubliette/v1/block-nonce", digest, &mut nonce);
        expand(&prk, b"oubliette/v1/block-commitment", digest, &mut commitment);
    }
    (nonce, commitment)
}

fn expand(prk: &Hkdf<Sha256>, label: &[u8], digest: &[u8; 32], out: &mut [u8]) {
    // Expand fails only past 255 blocks of output; ours are one.
    let _ = prk.expand_multi_info(&[label, digest], out);
}

/// The padded length for `length` bytes of plaintext: ISO/IEC 7816-4 marker included, at least 64, then rounded up as
/// PADME does (at most 12 % more; leaks O(log log length) bits; Nikitin et al., PETS 2019).
pub fn padded_length(length: usize) -> usize {
    let needed = length.saturating_add(1).max(MIN_PADDED);
    let exponent = needed.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1_usize << (exponent - kept)) - 1;
    needed.saturating_add(mask) & !mask
}

/// Whether a ciphertext with its tag is as long as one of a padded text.
fn is_padded(ciphertext: usize) -> bool {
    let padded = ciphertext.checked_sub(TAG).filter(|padded| *padded >= MIN_PADDED);
    padded.is_some_and(|padded| padded_length(padded - 1) == padded)
}

fn pad(plaintext: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = padded_length(plaintext.len());
    let mut padded = Zeroizing::new(Vec::with_capacity(length));
    padded.extend_from_slice(plaintext);
    padded.push(0x80);
    padded.resize(length, 0);
    padded
}

fn unpad(mut padded: Zeroizing<Vec<u8>>) -> Option<Zeroizing<Vec<u8>>> {
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    if padded.get(end) != Some(&0x80) || padded.len() != padded_length(end) {
        return None;
    }
    padded.truncate(end);
    Some(padded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn context<'a>(origin: &'a Origin, category: &'a Category) -> BlockContext<'a> {
        BlockContext {
            origin,
            event_ref: EventRef([1; 16]),
            ordinal: 2,
            handle: Handle([2; 16]),
            category,
            generation: 1,
        }
    }

    #[test]
    fn a_block_opens_only_in_its_own_place_and_under_its_own_key() {
        let (origin, category) = ("o.example/m".parse().unwrap(), Category::default());
        let (key, here) = (SubjectKey::new([7; 32]), context(&origin, &category));
        let block = seal(&key, &here, [9; 32], b"{\"name\":\"Ada\"}");
        assert_eq!(open(&key, &here, &block).unwrap().as_slice(), b"{\"name\":\"Ada\"}");
        let other_event = BlockContext {
            event_ref: EventRef([3; 16]),
            ..here
        };
        assert_eq!(open(&key, &other_event, &block), Err(OpenError::WrongKey));
        let other_ordinal = BlockContext { ordinal: 1, ..here };
        assert_eq!(open(&key, &other_ordinal, &block), Err(OpenError::WrongKey));
        let other_person = BlockContext {
            handle: Handle([3; 16]),
            ..here
        };
        assert_eq!(open(&key, &other_person, &block), Err(OpenError::WrongPlace));
        assert_eq!(open(&SubjectKey::new([8; 32]), &here, &block), Err(OpenError::WrongKey));
    }

    #[test]
    fn a_block_key_alone_discloses_one_block() {
        let (origin, category) = ("o.example/m".parse().unwrap(), Category::default());
        let (key, here) = (SubjectKey::new([7; 32]), context(&origin, &category));
        let there = BlockContext { ordinal: 3, ..here };
        let (one, two) = (seal(&key, &here, [9; 32], b"one"), seal(&key, &there, [8; 32], b"two"));
        let disclosed = block_key(&key, &here, &one.salt);
        assert_eq!(open_with_block_key(&disclosed, &here, &one).unwrap().as_slice(), b"one");
        assert_eq!(open_with_block_key(&disclosed, &there, &two), Err(OpenError::WrongKey));
    }

    #[test]
    fn a_block_that_no_writer_makes_is_not_one() {
        let (origin, category) = ("o.example/m".parse().unwrap(), Category::default());
        let block = seal(&SubjectKey::new([7; 32]), &context(&origin, &category), [9; 32], b"1");
        assert_eq!(block.ciphertext.len(), 80);
        for length in [80, 88, 96, 144, 1_040] {
            let ciphertext = vec![0; length];
            let other = SealedBlock {
                ciphertext,
                ..block.clone()
            };
            assert_eq!(SealedBlock::decode(&other.encode()), Ok(other));
        }
        for length in [0, 15, 16, 17, 79, 81, 87, 1_041] {
            let ciphertext = vec![0; length];
            let other = SealedBlock {
                ciphertext,
                ..block.clone()
            };
            assert!(SealedBlock::decode(&other.encode()).is_err(), "{length}");
        }
        let other = SealedBlock { generation: 0, ..block };
        assert!(SealedBlock::decode(&other.encode()).is_err());
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_block_is_found(data in proptest::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0..8_u8) {
            let (origin, category) = ("o.example/m".parse().unwrap(), Category::default());
            let (key, here) = (SubjectKey::new([7; 32]), context(&origin, &category));
            let block = seal(&key, &here, [9; 32], &data);
            prop_assert_eq!(block.ciphertext.len(), padded_length(data.len()) + 16);
            let mut bytes = block.encode();
            prop_assert_eq!(SealedBlock::decode(&bytes).unwrap(), block);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(altered) = SealedBlock::decode(&bytes) {
                prop_assert!(open(&key, &here, &altered).is_err());
            }
        }

        #[test]
        fn padding_costs_at_most_an_eighth(length in 64_usize..10_000_000) {
            prop_assert!(padded_length(length) > length);
            prop_assert!(padded_length(length) <= length + length / 8 + 1);
        }
    }
}
