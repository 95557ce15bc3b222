//! The pure layer: formats, hashes, proofs and signatures. No I/O, no clock, no randomness, no async.
//!
//! One module per chapter of `docs/spec/`; everything that the offline verifier needs is here.

pub mod checkpoint;
pub mod edge;
pub mod hash;
pub mod merkle;
pub mod note;
pub mod tiles;
pub mod tlog_proof;
