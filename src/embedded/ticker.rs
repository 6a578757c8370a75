//! A beat that is kept.

use std::time::Duration;

use tokio::time::Instant;

/// Go's ticker: it keeps its beat, and what it missed it does not make up for.
#[derive(Debug)]
pub(super) struct Ticker {
    pub(super) next: Instant,
    interval: Duration,
}

impl Ticker {
    pub(super) fn new(now: Instant, interval: Duration) -> Option<Self> {
        now.checked_add(interval)
            .map(|next| Self { next, interval })
    }

    pub(super) fn tick(&mut self, now: Instant) -> bool {
        let due = self.next <= now;
        while self.next <= now {
            self.next += self.interval;
        }
        due
    }
}
