//! The integration tests that need no broker: the house rules, and what a scripted peer makes of the client.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod arbiters;
mod bounds;
mod callers;
mod dead_peers;
mod dialling;
mod draining;
mod draining_twice;
mod ending;
mod errors;
mod handshake;
mod handshake_failures;
mod logging;
mod lost_connections;
mod memory;
mod out_of_step;
mod reconnecting;
mod refusals;
mod refused_locally;
mod script_peer;
mod tidy;
mod wire;
