//! The checks: one function per fuzz target, which panics if an input violates a property.
//!
//! The fuzz targets and `tests/corpus.rs` share them, so that every input found once is replayed by
//! `cargo test`.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a check fails by panicking, and each fuzz target uses one of them"
)]

mod compression;
mod consumer_session;
mod embedded;
mod frames;
mod handshake;
mod input;
mod lookup;
mod options;
mod publish;
mod world;

// Shared with the tests. They share no code with the crate, so that both cannot make one mistake.
#[path = "../../tests/support/command.rs"]
mod command;
#[path = "../../tests/support/faulty_stream.rs"]
mod faulty_stream;
#[path = "../../tests/support/spoken.rs"]
mod spoken;

pub use self::{
    compression::{inflate_reader, snappy_reader},
    consumer_session::consumer_session,
    embedded::embedded,
    frames::frames,
    handshake::handshake,
    lookup::lookup,
    options::options,
    publish::publish,
};
