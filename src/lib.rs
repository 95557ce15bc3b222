//! Oubliette: an audit ledger that never loses an event and can prove that it forgot a person.
//!
//! Directory = layer, downward only: `main → cli → app → http → service → { sequencer → store | keystore } → env → spec`.
//! `docs/architecture.md` tells the life of an event and of an erasure through them; `tests/layers.rs` holds the rule.

#[cfg(feature = "server")]
#[macro_use]
mod trace;

pub mod spec;

#[cfg(feature = "server")]
pub mod app;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "server")]
pub mod config;
#[cfg(feature = "server")]
pub mod env;
#[cfg(feature = "server")]
pub mod http;
#[cfg(feature = "server")]
pub mod keystore;
#[cfg(feature = "server")]
pub mod sequencer;
#[cfg(feature = "server")]
pub mod service;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod telemetry;

// So that the test ledgers of `spec` serve the tests in `tests/` too.
#[cfg(test)]
extern crate self as oubliette;
