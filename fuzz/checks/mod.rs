//! What is checked, whatever the bytes: one function for each target of the fuzzer, which fails by panicking.
//!
//! The fuzzer's targets and `tests/corpus.rs` share them, so that whatever was once found stays found on any machine.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a check fails by panicking, and each of the fuzzer's targets uses one of them"
)]

mod compression;
mod embedded;
mod frames;
mod handshake;
mod input;
mod options;
mod publish;
mod world;

#[path = "../../tests/support/command.rs"]
mod command;
/// The connection in memory that a check disturbs, and what is said on it: those of the tests, which share no code with
/// the crate.
#[path = "../../tests/it/memory/line.rs"]
mod line;
#[path = "../../tests/support/spoken.rs"]
mod spoken;

pub use self::{
    compression::{inflate_reader, snappy_reader},
    embedded::embedded,
    frames::frames,
    handshake::handshake,
    options::options,
    publish::publish,
};
