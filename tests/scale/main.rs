//! What thousands of producers, consumers, topics and publishes cost in one process, and what a
//! long time with faults leaves behind (`soak`).
//!
//! `bounds.rs` has all bounds. nsqd is another process: the example `embedded_nsqd`, for `soak` a
//! real one. `FULL=1` measures the numbers of docs/scale.md, by default it is a tenth. Each
//! measurement has a process of its own and prints its figures.
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

mod bounds;
mod connections;
mod measure;
mod queue;
mod reconnect;
mod soak;

use std::io;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::bounds::BOUNDS;
use crate::measure::Figure;
use crate::support::broker::Kind;
use crate::support::trials;

type Measure = fn() -> io::Result<Vec<Figure>>;

const MEASUREMENTS: [(&str, Measure); 6] = [
    ("producers", connections::producers),
    ("consumers", connections::consumers),
    ("reconnect", reconnect::all),
    ("topics", queue::topics),
    ("publishes", queue::publishes),
    ("soak", soak::run),
];

fn main() {
    let mut arguments = Arguments::from_args();
    // Another trial at the same time would take CPU time from nsqd.
    arguments.test_threads.get_or_insert(1);
    let trials = MEASUREMENTS
        .map(|(name, measure)| Trial::ignorable_test(name, move || holds(name, measure)));
    libtest_mimic::run(&arguments, trials.into()).exit();
}

fn holds(name: &str, measure: Measure) -> Result<Completion, Failed> {
    let (limit, needed) = (measure::raise_descriptor_limit()?, measure::descriptors());
    if limit < needed {
        let reason = format!("the limit of open files is {limit}, {needed} are needed");
        return Ok(Completion::ignored_with(reason));
    }
    if name == "soak" {
        if soak::duration().is_none() {
            return Ok(Completion::ignored_with("with FULL=1 or SOAK_SECONDS only"));
        }
        if let Some(instead) = trials::without_a_real_nsqd(Kind::Real) {
            return instead;
        }
    }
    if !trials::is_own_process() {
        return trials::run_process(name);
    }
    let mut problems = Vec::new();
    for (subject, figure, value) in measure()? {
        let mut bounds = BOUNDS.iter();
        let bound = bounds.find(|it| (it.subject, it.figure) == (subject, figure));
        let bound = bound.ok_or_else(|| format!("{subject}, {figure}: no bound"))?;
        let text = format!(
            "{subject}, {figure}: {value:.2} ({:.2} in the docs)",
            bound.measured
        );
        eprintln!("{text}");
        if !bound.range.contains(&value) {
            problems.push(format!("{text}, and not {:?}", bound.range));
        }
    }
    match problems.is_empty() {
        true => Ok(Completion::Completed),
        false => Err(problems.join("\n").into()),
    }
}
