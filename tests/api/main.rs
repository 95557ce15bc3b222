//! The HTTP API as a black box: the real binary on a fresh directory and a free port, asked over the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod append;
mod cloudevents;
mod erasures;
mod evidence;
mod ledgers;
mod load;
mod log;
mod reads;
mod refusals;
mod repeats;
mod reports;
mod roles;
