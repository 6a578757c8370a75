//! Programs: NSQ clients in other languages, NSQ's own tools, the example `embedded_nsqd`, and the
//! services of a `compose.yaml`.
//!
//! The clients run unchanged against the embedded nsqd, the example and a real nsqd. A trial is
//! ignored, with the reason, if Go or a real nsqd is missing; `NSQD_REQUIRED=1` makes it fail.
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

mod beside_go_nsq;
mod compose;
mod embedded_nsqd;
mod embedded_nsqlookupd;
mod go_nsq;
mod nsq_tools;
mod tool_cases;
mod tools_compared;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = [
        go_nsq::trials(),
        nsq_tools::trials(),
        tools_compared::trials(),
        beside_go_nsq::trials(),
        embedded_nsqd::trials(),
        embedded_nsqlookupd::trials(),
        compose::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}
