//! Scenarios that run against the embedded nsqd and against a real one.
//!
//! Without a real nsqd, the `real::` scenarios are ignored, with the reason; `NSQD_REQUIRED=1`
//! makes them fail instead. `FULL=1` runs the exhaustive form of those that sample by default, and
//! `TIMES=1` prints how long each scenario took.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(
    unreachable_pub,
    reason = "`pub` marks what a module offers to the others of this binary"
)]

#[path = "../support/mod.rs"]
mod support;

mod event_log;
mod fixture;
mod harness;
mod load;

mod admin;
mod auth;
mod backpressure;
mod batching;
mod campaign;
mod compression;
mod connection;
mod consume;
mod cuts;
mod discovery;
mod disk;
mod drain;
mod events;
mod leaks;
mod lookupd;
mod metrics_endpoint;
mod nsq_stat;
mod nsq_tail;
mod nsq_to_file;
mod nsq_to_nsq;
mod output_buffer;
mod pool;
mod publish;
mod reconnect;
mod rejection;
mod tls;
mod to_nsq;
mod to_nsq_pool;
mod tools;
mod verifier;
mod web;

fn main() {
    let mut arguments = libtest_mimic::Arguments::from_args();
    // Most scenarios wait more than they compute.
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(2 * cores);
    let modules = [
        admin::scenarios(),
        auth::scenarios(),
        backpressure::scenarios(),
        batching::scenarios(),
        campaign::scenarios(),
        compression::scenarios(),
        connection::scenarios(),
        consume::scenarios(),
        cuts::scenarios(),
        disk::scenarios(),
        drain::scenarios(),
        events::scenarios(),
        leaks::scenarios(),
        discovery::scenarios(),
        lookupd::scenarios(),
        metrics_endpoint::scenarios(),
        nsq_stat::scenarios(),
        nsq_tail::scenarios(),
        nsq_to_file::scenarios(),
        nsq_to_nsq::scenarios(),
        output_buffer::scenarios(),
        pool::scenarios(),
        publish::scenarios(),
        reconnect::scenarios(),
        rejection::scenarios(),
        tls::scenarios(),
        to_nsq::scenarios(),
        to_nsq_pool::scenarios(),
        tools::scenarios(),
        verifier::scenarios(),
        web::scenarios(),
    ];
    let scenarios = modules.iter().flatten();
    let trials = scenarios.flat_map(|scenario| scenario.trials()).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
