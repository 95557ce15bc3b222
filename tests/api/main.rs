//! The HTTP API as a black box: the real binary on a fresh directory and a free port, asked over the wire.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../support/mod.rs"]
mod support;

mod append;
mod as_of;
mod backup;
mod certificates;
mod cloudevents;
mod epochs;
mod erasures;
mod evidence;
mod exports;
mod gathered;
mod leaks;
mod ledgers;
mod life;
mod limits;
mod load;
mod log;
mod metrics;
mod openapi;
mod operations;
mod purge;
mod reads;
mod redactions;
mod refusals;
mod repeats;
mod report_life;
mod reports;
mod restore;
mod retention;
mod roles;
mod settings;
mod tls;
