//! L0, the pure layer: formats, hashing, proofs, sealing, verification. No I/O, no clock, no randomness, no async.
//!
//! It mirrors `docs/spec/` chapter by chapter, and everything in it builds without RocksDB, tokio and actix: the offline
//! verifier is this layer and a command line.

pub mod backup;
pub mod bundle;
pub mod certificate;
pub mod checkpoint;
pub mod compliance;
pub mod cose_receipt;
pub mod edge;
pub mod encoding;
pub mod event;
pub mod evidence;
pub mod hash;
pub mod ids;
mod json;
pub mod keys;
pub mod merkle;
pub mod note;
mod page;
pub mod report;
pub mod seal;
pub mod signature;
pub mod system;
pub mod tiles;
pub mod tlog_proof;
pub mod verify;

#[cfg(test)]
pub(crate) mod testing;
