//! Wrapping keys and sealing identities: AES-256-GCM with a fresh random 96-bit nonce.
//!
//! ```text
//! wrap(K, row, clear, secret) = nonce ‖ AES-256-GCM(K, nonce, aad, secret),   aad = "oubliette/keystore/v1" ‖ row ‖ clear
//! ```
//!
//! Random nonces are safe here because no key wraps much: an epoch key one master, a master 4,096 bucket keys, a bucket
//! key the rows of 1/4,096 of a ledger's subjects within one epoch. Even a million rows under one bucket key collide
//! with probability 2^-57 (n² / 2^97), far below the 2^-32 that NIST SP 800-38D allows; a derived key per wrap would
//! only add a step. The row key in the AAD names table, ledger, bucket, handle, category and generation, `clear` the
//! epoch and the state: a row copied anywhere else does not open.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, Key, KeyInit, Nonce, Tag};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::env::Entropy;

const LABEL: &[u8] = b"oubliette/keystore/v1";

fn cipher(key: &[u8; 32]) -> Aes256Gcm {
    Aes256Gcm::new(&Key::<Aes256Gcm>::from(*key))
}

/// Wraps `secret`; `None` only past 64 GiB.
pub(super) fn wrap(
    key: &[u8; 32],
    (row, clear): (&[u8], &[u8]),
    secret: &[u8],
    entropy: &dyn Entropy,
) -> Option<Vec<u8>> {
    let nonce: [u8; 12] = entropy.bytes();
    let mut out = Vec::with_capacity(12 + secret.len() + 16);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(secret);
    let aad = [LABEL, row, clear].concat();
    let text = out.get_mut(12..)?;
    let tag = cipher(key)
        .encrypt_inout_detached(&Nonce::from(nonce), &aad, text.into())
        .ok()?;
    out.extend_from_slice(&tag);
    Some(out)
}

/// Opens what [`wrap`] made into `out`, which must have the secret's length. On failure `out` holds nothing secret.
pub(super) fn unwrap_into(key: &[u8; 32], (row, clear): (&[u8], &[u8]), wrapped: &[u8], out: &mut [u8]) -> Option<()> {
    let (nonce, rest) = wrapped.split_first_chunk::<12>()?;
    let (text, tag) = rest.split_last_chunk::<16>()?;
    if text.len() != out.len() {
        return None;
    }
    out.copy_from_slice(text);
    let aad = [LABEL, row, clear].concat();
    cipher(key)
        .decrypt_inout_detached(&Nonce::from(*nonce), &aad, out.into(), &Tag::from(*tag))
        .ok()
}

/// Opens what [`wrap`] made, of any length.
pub(super) fn unwrap(key: &[u8; 32], place: (&[u8], &[u8]), wrapped: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut out = Zeroizing::new(vec![0; wrapped.len().checked_sub(28)?]);
    unwrap_into(key, place, wrapped, &mut out)?;
    Some(out)
}

/// HMAC-SHA-256 (RFC 2104) over the parts, one after the other.
pub(super) fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // Padded with zeros to the block of SHA-256, as HMAC itself does: a whole block cannot have a wrong length.
    let mut block = Zeroizing::new([0; 64]);
    block.iter_mut().zip(key).for_each(|(place, byte)| *place = *byte);
    let mut mac = <Hmac<Sha256> as KeyInit>::new((&*block).into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
