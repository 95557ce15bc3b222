//! Oubliette: an audit ledger that never loses an event and can prove that it forgot a person.
//!
//! Directory = layer, downward only: `main → cli → app → http → service → { sequencer → store | keystore } → env → spec`.

#[cfg(feature = "server")]
pub mod env;
#[cfg(feature = "server")]
pub mod keystore;
#[cfg(feature = "server")]
pub mod sequencer;
#[cfg(feature = "server")]
pub mod service;
pub mod spec;
#[cfg(feature = "server")]
pub mod store;
