//! The gates: upper bounds of allocations, system calls and instructions per message.
//!
//! `bounds.rs` has all bounds, each with its reason. A gate that needs strace, valgrind or a real
//! nsqd is ignored without it, or fails with `GATES_REQUIRED=1`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(unreachable_pub, reason = "modules of a test binary")]

#[path = "../support/mod.rs"]
mod support;

mod allocations;
mod bounds;
mod measure;
mod peer;
mod sink;
mod source;

use std::io;
use std::net::SocketAddr;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::bounds::{Bound, Cost, Peer};
use crate::measure::Count;
use crate::sink::Sink;
use crate::source::Source;
use crate::support::nsqd_program::{self, Found};
use crate::support::real_nsqd::RealNsqd;

/// The messages of the shorter and of the longer run. Tables and buffers grow in both.
const MESSAGES: [usize; 2] = [8_192, 32_768];

/// The same with a peer that responds always alike: counting is slow.
const FEWER_MESSAGES: [usize; 2] = [4_096, 12_288];

fn main() {
    let mut arguments = Arguments::from_args();
    // Another trial at the same time would change how many publishes share a command.
    arguments.test_threads.get_or_insert(1);
    let trials = bounds::bounds().into_iter().map(|bound| {
        let name = bound.name();
        Trial::ignorable_test(name, move || holds(&bound))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn holds(bound: &Bound) -> Result<Completion, Failed> {
    if !cfg!(target_arch = "x86_64") && matches!(bound.cost, Cost::Counted(Count::Instructions)) {
        return Ok(Completion::ignored_with(
            "the bounds of instructions are for x86-64",
        ));
    }
    if let Some(reason) = missing(bound) {
        return match is_required() {
            true => Err(format!("GATES_REQUIRED is set: {reason}").into()),
            false => Ok(Completion::ignored_with(reason)),
        };
    }
    let each = match bound.peer {
        Peer::Sink => cost(bound, &[Sink::start(bound.load.round())?.address])?,
        Peer::Sinks => {
            // Each responds at once: a member that is tried gets a single publish.
            let sinks = [Sink::start(1)?, Sink::start(1)?, Sink::start(1)?];
            cost(bound, &sinks.map(|sink| sink.address))?
        }
        Peer::Nsqd => {
            let nsqd = RealNsqd::start::<&str>(&[])?;
            cost(bound, &[nsqd.address().parse()?])?
        }
        Peer::Source => cost(bound, &[Source::start()?.address])?,
    };
    println!("{}: {each:.4} per message", bound.name());
    match bound.each.contains(&each) {
        true => Ok(Completion::Completed),
        false => Err(format!("{each:.4} per message, and not {:?}", bound.each).into()),
    }
}

/// The cost per message. The number of messages does not depend on the load.
fn cost(bound: &Bound, addresses: &[SocketAddr]) -> io::Result<f64> {
    let messages = match bound.peer {
        Peer::Nsqd => MESSAGES,
        Peer::Sink | Peer::Sinks | Peer::Source => FEWER_MESSAGES,
    };
    let rounds = messages.map(|messages| messages / bound.load.round());
    match bound.cost {
        Cost::Allocations => allocations::each(addresses, bound.load, rounds),
        Cost::Counted(count) => count.each(addresses, bound.load, rounds),
    }
}

/// What this bound needs and is missing.
fn missing(bound: &Bound) -> Option<String> {
    let tool = match bound.cost {
        Cost::Counted(count) => count.missing(),
        Cost::Allocations => None,
    };
    let nsqd = || match (bound.peer, nsqd_program::find()) {
        (Peer::Nsqd, Found::Missing(reason)) => Some(reason.clone()),
        _ => None,
    };
    tool.or_else(nsqd)
}

/// Whether missing tools are failures: `GATES_REQUIRED=1`.
fn is_required() -> bool {
    std::env::var_os("GATES_REQUIRED").is_some_and(|value| !value.is_empty() && value != "0")
}
