//! Code that the verifier shares with the tests of the crate: a real nsqd, a faulty network, a
//! plain consumer, the record of messages and results, and that of a consumer's bytes. None of it
//! uses the crate's protocol code.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests use more of it, and may panic"
)]

#[path = "../../../tests/support/chaos/mod.rs"]
pub mod chaos;
#[path = "../../../tests/support/command.rs"]
pub mod command;
#[path = "../../../tests/support/diskqueue.rs"]
pub mod diskqueue;
#[path = "../../../tests/support/flow_check.rs"]
pub mod flow_check;
#[path = "../../../tests/support/nsqd_program.rs"]
pub mod nsqd_program;
#[path = "../../../tests/support/nsqd_version.rs"]
pub mod nsqd_version;
#[path = "../../../tests/support/raw_client.rs"]
pub mod raw_client;
#[path = "../../../tests/support/real_nsqd.rs"]
pub mod real_nsqd;
#[path = "../../../tests/support/record.rs"]
pub mod record;
#[path = "../../../tests/support/simulated_host.rs"]
pub mod simulated_host;
#[path = "../../../tests/support/small_disk.rs"]
pub mod small_disk;
#[path = "../../../tests/support/wait.rs"]
pub mod wait;
#[path = "../../../tests/support/wire_log.rs"]
pub mod wire_log;
