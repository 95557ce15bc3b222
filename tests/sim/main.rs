//! Faults: the real binary killed, starved, given wrong or damaged files; and what it must still keep and say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod broken_off;
mod canary;
mod crash;
mod damage;
mod disk;
mod every_step;
mod faulty;
mod forensic;
mod forgetful;
mod hsm;
mod moving;
mod parts;
mod races;
mod random;
mod restore_matrix;
mod scene;
mod unreadable;
mod writer;
