//! What the measurements share: nsqd, growth of memory, CPU time, answers.

use std::io;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::support::nsqd_program::Nsqd;
use crate::support::nsqd_version::Version;
use crate::support::our_process::{allocated_kb, process_cpu_time};
use crate::support::real_nsqd::RealNsqd;
use crate::support::{example, scaled};

/// What is measured, of what, and its value.
pub type Figure = (&'static str, &'static str, f64);

/// Timeout of a step with thousands of connections.
pub const LONG: Duration = Duration::from_secs(60);

/// A duration that no measurement reaches.
pub const HOUR: Duration = Duration::from_secs(3600);

/// The numbers of producers, consumers, topics and pending publishes.
pub fn counts() -> [usize; 4] {
    scaled(
        [500, 100, 1_000, 100_000],
        [5_000, 1_000, 10_000, 1_000_000],
    )
}

/// The heartbeat interval of the connections, and the number of intervals that are measured.
pub fn heartbeats() -> (Duration, u32) {
    scaled((Duration::from_secs(1), 2), (Duration::from_secs(30), 2))
}

/// Number of descriptors that a measurement needs, here and in nsqd.
pub fn descriptors() -> u64 {
    let [producers, consumers, ..] = counts();
    (producers + consumers + 100) as u64
}

/// Raises the limit of open files to the maximum, for this process and nsqd. Returns it.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limits = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limits)?;
    Ok(maximum.unwrap_or(u64::MAX))
}

/// Starts an embedded nsqd in another process.
pub fn nsqd() -> io::Result<RealNsqd> {
    let nsqd = Nsqd {
        program: example::program("embedded_nsqd")?,
        version: Version::LATEST,
    };
    RealNsqd::start_program::<&str>(nsqd, None, &[])
}

/// Bytes that were allocated on this thread and not freed, and bytes that became resident in this
/// process.
pub fn grown(run: impl FnOnce()) -> [f64; 2] {
    let before = allocated_kb();
    let counted = allocation_counter::measure(run);
    let resident = (allocated_kb() - before) * 1024;
    [counted.bytes_current as f64, resident as f64]
}

/// Microseconds of CPU time of this process during this time.
pub async fn cpu_micros(idle: Duration) -> f64 {
    let before = process_cpu_time();
    tokio::time::sleep(idle).await;
    (process_cpu_time() - before).as_secs_f64() * 1e6
}

/// The answers to requests that were sent together, in their order.
pub async fn answers<T>(requests: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let requests: Vec<_> = requests.collect();
    let mut answers = Vec::with_capacity(requests.len());
    for request in requests {
        answers.push(request.await);
    }
    answers
}
