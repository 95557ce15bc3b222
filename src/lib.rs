//! Oubliette: an audit ledger that never loses an event and can prove that it forgot a person.
//!
//! Directory = layer, downward only. [`spec`] is the pure ground layer: formats, hashes, proofs and signatures.

pub mod spec;
