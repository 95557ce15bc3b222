//! Interoperation: programs and libraries of others read our log, check our proofs and sign our checkpoints.
//!
//! Go programs are pinned in `go.mod`, Python's packages in `requirements.txt`. Where Go or Python are missing these tests
//! say so and do nothing, but in CI (`CI` in the environment) they fail.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod export;
mod fsck;
mod oracles;
mod python;
mod tools;
mod trees;
mod witness;
