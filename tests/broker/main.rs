//! The scenarios that need a broker, each run against the embedded nsqd and against a real one.
//!
//! A module of scenarios has a `pub fn scenarios()` with its table, and is named once more in `main`. Where there is no real
//! nsqd, the `real::` scenarios are reported as ignored, with the reason; `NSQD_REQUIRED=1` makes them fail instead.
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

mod harness;
mod load;
mod recorded;
mod told;

mod batches;
mod callers;
mod campaign;
mod clear_text;
mod connection;
mod cuts;
mod disk;
mod drain;
mod floods;
mod innocents;
mod layered_cuts;
mod layers;
mod leaks;
mod limits;
mod lives;
mod loops;
mod nsq_bench;
mod pieces;
mod publish;
mod reconnects;
mod refusals;
mod restarts;
mod rig;
mod secrets;
mod seeing;
mod stalls;
mod tls;
mod to_nsq;
mod unsaid;
mod verifier;
mod web;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let tables = [
        rig::scenarios(),
        publish::scenarios(),
        callers::scenarios(),
        refusals::scenarios(),
        batches::scenarios(),
        restarts::scenarios(),
        stalls::scenarios(),
        clear_text::scenarios(),
        connection::scenarios(),
        cuts::scenarios(),
        pieces::scenarios(),
        unsaid::scenarios(),
        drain::scenarios(),
        floods::scenarios(),
        layered_cuts::scenarios(),
        layers::scenarios(),
        leaks::scenarios(),
        reconnects::scenarios(),
        lives::scenarios(),
        secrets::scenarios(),
        seeing::scenarios(),
        tls::scenarios(),
        to_nsq::scenarios(),
        campaign::scenarios(),
        disk::scenarios(),
        innocents::scenarios(),
        limits::scenarios(),
        loops::scenarios(),
        verifier::scenarios(),
        nsq_bench::scenarios(),
        web::scenarios(),
    ];
    let trials = tables
        .iter()
        .flatten()
        .flat_map(|scenario| scenario.trials())
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
