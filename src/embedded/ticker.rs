//! A ticker with a fixed period.

use std::time::Duration;

use tokio::time::Instant;

/// Behaves like Go's ticker: it keeps its period, and drops the ticks that it missed.
#[derive(Debug)]
pub(super) struct Ticker {
    pub(super) next: Instant,
    interval: Duration,
}

impl Ticker {
    /// `None` if the first tick is later than the clock can represent.
    pub(super) fn new(now: Instant, interval: Duration) -> Option<Self> {
        now.checked_add(interval)
            .map(|next| Self { next, interval })
    }

    /// Whether at least one tick was due since the last call.
    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        while self.next <= now {
            self.next += self.interval;
        }
        due
    }
}
