//! How evenly times are spread.

use std::time::Duration;

/// The largest number of times within any window of this length. The times are sorted.
pub fn most_within(window: Duration, times: &[Duration]) -> usize {
    let mut first = 0;
    let counts = times.iter().enumerate().map(|(last, time)| {
        while times[first] + window <= *time {
            first += 1;
        }
        last + 1 - first
    });
    counts.max().unwrap_or(0)
}
