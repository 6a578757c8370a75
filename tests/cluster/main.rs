//! Many hosts on one machine, in network namespaces: real nsqds and nsqlookupds, pools that publish
//! and consumers that handle messages, while links and hosts fail at times that a seed decides.
//!
//! One campaign is played, and each trial looks at one part of it. Without namespaces or a real
//! nsqd the trials are ignored, with the reason; `CLUSTER_REQUIRED=1` makes that a failure.
//!
//! ```sh
//! cargo test --test cluster                                         # 4 nsqds, 15 s of faults
//! FULL=1 cargo test --test cluster                                  # 10 nsqds, 60 s
//! CLUSTER_SECONDS=1800 CLUSTER_NSQDS=50 cargo test --test cluster
//! CLUSTER_SEED=7 cargo test --test cluster                          # the same faults again
//! ```
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

mod campaign;
mod client;
mod cluster;
mod connections;
mod consumer;
mod faults;
mod layout;
mod messages;
mod network;
mod options;
mod publisher;
mod report;
mod sandbox;

use std::env;

use libtest_mimic::Arguments;

use crate::layout::{CLIENTS, Client};

/// What this process is: unset for the test itself.
const ROLE: &str = "CLUSTER_ROLE";
const CAMPAIGN: &str = "campaign";
const CLIENT: &str = "client";

fn main() {
    match env::var(ROLE).as_deref() {
        Ok(CLIENT) => run_client(&env::args().skip(1).collect::<Vec<_>>()),
        Ok(CAMPAIGN) => report::play_campaign(),
        _ => libtest_mimic::run(&Arguments::from_args(), report::trials()).exit(),
    }
}

fn run_client(arguments: &[String]) {
    let (number, nsqds, lookupds) = client::parse_arguments(arguments);
    actix_rt::System::new().block_on(async {
        match CLIENTS[number] {
            Client::Publisher(kind) => publisher::run(number, kind, nsqds, lookupds).await,
            Client::Consumer => consumer::run(nsqds.len(), lookupds).await,
        }
    });
}
