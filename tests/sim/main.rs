//! Faults: the real binary killed, starved, given wrong or damaged files; and what it must still keep and say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod canary;
mod crash;
mod damage;
mod disk;
mod hsm;
mod parts;
mod random;
mod writer;
