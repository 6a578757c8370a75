//! NSQ clients in other languages, unchanged, against the embedded nsqd, the example that runs it as a program, and a real nsqd.
//!
//! Where a client's language is not to be had, or no real nsqd, the trial is reported as ignored, with the reason;
//! `NSQD_REQUIRED=1` makes it fail instead.
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

mod embedded_nsqd;
mod go_nsq;

fn main() {
    let arguments = libtest_mimic::Arguments::from_args();
    let trials = [go_nsq::trials(), embedded_nsqd::trials()];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}
