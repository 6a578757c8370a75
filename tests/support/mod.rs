//! What the integration tests are made of: peers to talk to, and ways to look at what a peer has got.
//!
//! Nothing here uses the crate's own protocol code, so that a mistake made there cannot cancel out.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "several test binaries share this tree, and each uses its own part of it"
)]

pub mod auth_server;
pub mod broker;
pub mod certificates;
pub mod chaos;
pub mod command;
pub mod conversation;
pub mod diskqueue;
pub mod example;
pub mod faulty_stream;
pub mod logs;
pub mod nsqd_program;
pub mod our_process;
pub mod raw_client;
pub mod real_nsqd;
pub mod record;
pub mod script;
pub mod settings;
pub mod small_disk;
pub mod spoken;
pub mod to_nsq;
pub mod trials;
pub mod wait;
pub mod web_server;

/// Whether tests with a longer form run it: `FULL=1`.
pub fn full() -> bool {
    std::env::var_os("FULL").is_some_and(|value| !value.is_empty() && value != "0")
}
