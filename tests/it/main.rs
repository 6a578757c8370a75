//! Integration tests without a broker: the client against a scripted peer, repository rules and
//! generated pages.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod auth;
mod backpressure;
mod batching;
mod cancellation;
mod chaos;
mod compression;
mod config;
mod connection;
mod consume;
mod docs;
mod drain;
mod errors;
mod events;
mod handle;
mod handshake;
mod harness;
mod lifecycle;
mod liveness;
mod logging;
mod lookup;
mod metrics;
mod ping;
mod pool;
mod publish;
mod reconnect;
mod rejection;
mod sink;
mod support_tests;
mod tidy;
mod timeouts;
mod tls;
