//! Peers, brokers, proxies and records for the tests.
//!
//! Uses none of the crate's protocol code: client and peer must not share a mistake.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part of it"
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
pub mod flow_check;
pub mod logs;
pub mod lookupd;
pub mod nsqd_program;
pub mod nsqd_version;
pub mod our_process;
pub mod raw_client;
pub mod real_lookupd;
pub mod real_nsqd;
pub mod record;
pub mod samples;
pub mod script;
pub mod settings;
pub mod simulated_host;
pub mod small_disk;
pub mod spoken;
pub mod spread;
pub mod to_nsq;
pub mod tool;
pub mod trials;
pub mod wait;
pub mod web_server;
pub mod wire_log;

/// Whether `FULL=1` asks for the exhaustive form of tests that sample by default.
pub fn full() -> bool {
    std::env::var_os("FULL").is_some_and(|value| !value.is_empty() && value != "0")
}

/// The size of a test: `sample` by default, `all` with `FULL=1`.
pub fn scaled<T>(sample: T, all: T) -> T {
    if full() { all } else { sample }
}
