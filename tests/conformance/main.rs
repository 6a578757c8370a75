//! One table of raw bytes, and what nsqd does with them: played to the embedded nsqd and to a real one, which must agree.
//!
//! A row is a name and steps: bytes that are sent, frames that come, whether the connection is closed or serves on. All of it was
//! typed by hand, after nsqd's documentation and source; the version is 1.3.0. `embedded::fin::...` and `real::fin::...` are the same row. Where there is no
//! real nsqd, its trials are reported as ignored, with the reason; `NSQD_REQUIRED=1` makes them fail instead.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    unreachable_pub,
    reason = "`pub` says here what a module offers to its neighbours; nothing leaves a test binary"
)]

#[path = "../support/mod.rs"]
mod support;

mod auth_server;
mod peers;
mod rows;
mod step;

use std::sync::Arc;

use libtest_mimic::{Completion, Failed, Trial};

use peers::{Peers, Setup};
use step::Row;
use support::broker::Kind;
use support::trials;

fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Most rows take no time at all, and the others only wait.
    arguments.test_threads = arguments.test_threads.or(Some(16));
    let peers = Arc::new(Peers::default());
    let kinds = [Kind::Embedded, Kind::Real];
    let trials = kinds
        .into_iter()
        .flat_map(|kind| {
            let peers = Arc::clone(&peers);
            let rows = rows::all().enumerate();
            rows.map(move |(number, (group, setup, row))| {
                let name = format!("{kind}::{group}::{}", row.0);
                // A topic of its own: many rows are played to one nsqd.
                let topic = format!("row-{number}");
                let peers = Arc::clone(&peers);
                Trial::ignorable_test(name, move || run((kind, setup), row, &topic, &peers))
            })
        })
        .collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` drops nothing, and a real nsqd shall not outlive its rows.
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
    let address = peers.address(kind, setup)?;
    step::play(row, &address, topic)?;
    Ok(Completion::Completed)
}
