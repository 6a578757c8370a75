//! A table of raw bytes and nsqd's reactions, run against the embedded nsqd and a real one; and one
//! for nsqlookupd.
//!
//! A row is a name and steps: bytes to send, frames to expect, and how the connection continues or
//! ends. All bytes are typed by hand, from nsqd's documentation and source, version 1.3.0; texts
//! that depend on the version are in `support/nsqd_version.rs`.
//! `embedded::fin::NAME` and `real::fin::NAME` are the same row. Trials with a real nsqd are
//! ignored, with the reason, if there is none; `NSQD_REQUIRED=1` makes them fail.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    unreachable_pub,
    reason = "`pub` marks the interface of a module; nothing leaves a test binary"
)]

#[path = "../support/mod.rs"]
mod support;

mod auth_server;
mod http;
mod lookupd;
mod peers;
mod rows;
mod step;

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};

use peers::{Peers, Setup};
use step::{Peer, Row};
use support::broker::Kind;
use support::trials;

fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Rows take almost no CPU time.
    arguments.test_threads = arguments.test_threads.or(Some(16));
    let peers = Arc::new(Peers::default());
    let kinds = [Kind::Embedded, Kind::Real];
    let rows = kinds.into_iter().flat_map(|kind| {
        let peers = Arc::clone(&peers);
        let rows = rows::all().enumerate();
        rows.map(move |(number, (group, setup, row))| {
            let name = format!("{kind}::{group}::{}", row.0);
            // Rows share an nsqd, so each has its own topic.
            let topic = format!("row-{number}");
            let peers = Arc::clone(&peers);
            Trial::ignorable_test(name, move || run((kind, setup), row, &topic, &peers))
        })
    });
    let trials = rows
        .chain([http::trial()])
        .chain(lookupd::trials())
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` drops nothing, and a real nsqd must be stopped.
    drop(peers);
    conclusion.exit();
}

fn run(
    (kind, setup): (Kind, Setup),
    row: Row,
    topic: &str,
    peers: &Peers,
) -> Result<Completion, Failed> {
    if let Some(instead) = trials::without_a_real_nsqd(kind) {
        return instead;
    }
    let peer = Peer {
        address: &peers.address(kind, setup)?,
        version: kind.version(),
        post: &|path| peers.post(kind, setup, path),
    };
    step::run(row, &peer, topic)?;
    Ok(Completion::Completed)
}
