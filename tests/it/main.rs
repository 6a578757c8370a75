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
mod auth;
mod auth_server;
mod batching;
mod bounds;
mod callers;
mod chaos;
mod compressed;
mod dead_peers;
mod dialling;
mod docs;
mod draining;
mod draining_twice;
mod ending;
mod errors;
mod events;
mod handles;
mod handshake;
mod handshake_failures;
mod hostile;
mod layers;
mod logging;
mod logs;
mod lost_connections;
mod memory;
mod out_of_step;
mod pinging;
mod reconnect_storm;
mod reconnecting;
mod reconnecting_on_demand;
mod refusals;
mod refused_locally;
mod script_peer;
mod secrets;
mod states;
mod statistics;
mod tidy;
mod tls;
mod trickles;
mod unheard;
mod waiting;
mod wire;
