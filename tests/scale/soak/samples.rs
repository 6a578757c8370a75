//! Memory, descriptors and threads of this process over time.

use std::time::Duration;

use super::faults::CYCLE;
use crate::support::our_process::{allocated_kb, descriptors, threads};

/// Number of samples, one per second, of which the least counts: a leak raises it, and a backlog
/// after a fault does not.
const WINDOW: usize = 15;

/// Shortest run, in which the first and the last samples are apart.
pub const SHORTEST: Duration = Duration::from_secs(CYCLE.as_secs() + 2 * WINDOW as u64);

/// What is sampled: memory in kB, descriptors, and threads.
pub type Sample = [i64; 3];

#[derive(Default)]
pub struct Samples(Vec<Sample>);

pub fn now() -> Sample {
    [allocated_kb(), descriptors() as i64, threads() as i64]
}

/// What `later` has more than `earlier`.
pub fn growth(earlier: Sample, later: Sample) -> [f64; 3] {
    std::array::from_fn(|number| (later[number] - earlier[number]) as f64)
}

impl Samples {
    /// Takes the sample that is due at this time, once each fault has occurred.
    pub fn take(&mut self, time: Duration) {
        let due = CYCLE.as_secs() + self.0.len() as u64;
        if time.as_secs() >= due {
            self.0.push(now());
        }
    }

    /// How much the last samples are above the first ones.
    pub fn growth(&self) -> [f64; 3] {
        let least = |window: &[Sample]| {
            std::array::from_fn(|number| window.iter().map(|it| it[number]).min().unwrap())
        };
        growth(
            least(&self.0[..WINDOW]),
            least(&self.0[self.0.len() - WINDOW..]),
        )
    }
}
